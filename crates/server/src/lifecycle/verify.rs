//! Verification of a whole data directory: ledger, journal, archive, erasures.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use archive::{ArchiveError, ArchiveReport, Dropped, Item, ManifestError, ObjectName, Purpose, View};
use files::open_regular;
use journal::Seq;
use keys::Keyring;
use ledger::{
    Disclosure, ErasedItems, Erasures, Fault, Report, Selection, StoredBody, StoredContent, StoredField, StoredRecord,
    StoredSpan, SupplyError, Tombstone, TombstoneError, Trust, VerifyError, Visit,
};

use super::archiver::Stretch;
use super::cold::{ARCHIVE_DIR, ColdError, EVIDENCE, FORENSIC, Which, archive_of, forensic_of};
use super::erase::{LIST_SUFFIX, PENDING_SUFFIX, TOMBSTONES_DIR};
use super::job::items_under_way;
use super::place::Place;
use super::told::{DropTold, Listener, Readable, Told};
use crate::data_dir::DataDir;
use crate::frame_keys::frame_keys;
use crate::log_keys::key_chain;

/// The file that is named when the archive's manifest is not what it should be.
const MANIFEST: &str = "archive/manifest";

/// Where the objects of the archives lie, as the server's configuration says.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Those of the archive of evidence.
    pub evidence: Place,
    /// Those of the forensic archive, where one is configured.
    pub forensic: Option<Place>,
}

/// How much is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// Each record of the journal and of the archive, field by field.
    #[default]
    Records,
    /// Each record of the journal, and the digests of the archive's objects against its signed manifest. Who has the log's key could
    /// have written others.
    Digests,
}

/// What verification found.
#[derive(Debug, Default)]
pub struct Verified {
    /// The ledger and the journal. `fault` is the first of all.
    pub report: Report,
    /// The archive, where there is one. Its records were compared with their leaves where the journal has them no more.
    pub archive: Option<ArchiveReport>,
    /// The forensic archive, where there is one.
    pub forensic: Option<ArchiveReport>,
    /// Things that are gone and that a tombstone covers.
    pub erased: u64,
    /// Things that are gone by an erasure that has not come to its tombstone.
    pub under_way: u64,
    /// What the record says of what is not in it; of records that were not read, nothing.
    pub told: Told,
}

impl Verified {
    /// What is lawful, or may be, and yet leaves a part of the record to trust: every gap, an erasure that has not ended, ends of
    /// retention that no event tells of, and records that were not read.
    #[must_use]
    pub fn doubts(&self, reach: Option<Depth>) -> Vec<String> {
        let mut doubts = Vec::new();
        if reach != Some(Depth::Records) {
            doubts.push("not every record was read, so gaps and erasures are not known".to_owned());
        }
        if let Some(gap) = self.told.gaps.list.first() {
            doubts.push(format!("{} gaps, the first told by record {}: {}", self.told.gaps.count(), gap.record, gap.reason));
        }
        if self.under_way > 0 {
            doubts.push(format!("{} fields and texts are gone by an erasure that has not ended", self.under_way));
        }
        let untold = self.told.drops.list.iter().filter(|drop| drop.told.is_none() && reach == Some(Depth::Records));
        for DropTold { span, .. } in untold {
            let Stretch { first, end, class } = span;
            doubts.push(format!("records {first} to {end} of class {class} were dropped, and no event tells of it"));
        }
        doubts
    }
}

/// Verifies a data directory, or a copy of one, from its files. Without a keyring the journal and the archive are not decrypted: what
/// is proved then is said in the notes.
///
/// # Errors
/// When something could not be read, so that neither "intact" nor "tampered" can be said.
pub fn verify(
    dir: &Path,
    trust: &Trust,
    keyring: Option<&Arc<Keyring>>,
    depth: Depth,
    places: Option<&Places>,
) -> Result<Verified, VerifyError> {
    let place = places.map(|places| &places.evidence);
    let mut drops = Vec::new();
    let Some(keyring) = keyring else {
        let mut verified = Verified { report: ledger::verify_public(dir, trust)?, ..Verified::default() };
        verified
            .report
            .notes
            .push("without the root key no record was read: tree, checkpoints, digests and checksums were verified".to_owned());
        if verified.report.fault.is_none() {
            let view = opened(dir, None, place)?;
            verified.report.fault = match view {
                Ok(view) => {
                    drops.extend(view.iter().flat_map(dropped));
                    objects(dir, view.as_ref(), &mut verified)?
                }
                Err(fault) => Some(fault),
            };
        }
        if verified.report.fault.is_none() {
            verified.report.fault = copies(dir, None, places, &mut verified, None, &mut drops)?;
        }
        verified.told = Listener::default().end(drops);
        return Ok(verified);
    };
    let view = opened(dir, Some(keyring), place)?;
    let mut erased = Erased::expecting(dir)?;
    let (from_journal, compared) = (Cell::new(0), Cell::new(0));
    let mut archive = |until: Seq, visit: Visit<'_>| -> Result<(), SupplyError> {
        from_journal.set(until.0);
        let view = match &view {
            Ok(view) => view.as_ref(),
            Err(fault) => return Err(SupplyError::Fault(fault.clone())),
        };
        let archived = view.map_or(0, |view| view.manifest().end());
        if archived < until.0 {
            let what = format!("records {archived} to {} are neither in the journal nor in archive/manifest", until.0 - 1);
            return Err(SupplyError::Fault(fault("journal", what)));
        }
        let Some(view) = view.filter(|_| depth == Depth::Records) else { return Ok(()) };
        let mut given = 0;
        for item in view.reader(0) {
            match item.map_err(unsupplied)? {
                // What the journal still holds, too, is taken from there.
                Item::Record(stored) if stored.seq >= until => break,
                Item::Record(stored) => {
                    given += 1;
                    visit(*stored);
                }
                Item::Dropped(_) => {}
            }
        }
        // A record that is left out has its leaf taken from the ledger: that must be one that was dropped.
        let listed: u64 =
            view.manifest().segments().filter(|segment| segment.end <= until.0).map(|segment| segment.records).sum();
        if given < listed {
            let what = format!("has {given} records, and its manifest lists {listed}");
            return Err(SupplyError::Fault(fault(ARCHIVE_DIR, what)));
        }
        compared.set(given);
        Ok(())
    };
    // Objects first: the digest of a changed one says more than that it does not decrypt.
    let mut early = Verified::default();
    let broken = match &view {
        Ok(view) => objects(dir, view.as_ref(), &mut early)?,
        Err(_) => None,
    };
    if let Some(fault) = broken {
        early.report.fault = Some(fault);
        return Ok(early);
    }
    let keys = frame_keys(keyring.clone());
    let mut report = ledger::verify_archived(dir, trust, &*keys, &mut archive, &mut |stored| erased.look(stored))?;
    if let Ok(Some(view)) = &view {
        name_segment(&mut report, view, from_journal.get());
    }
    let mut verified = Verified { report, ..early };
    if let Some(archive) = verified.archive.as_mut().filter(|_| verified.report.fault.is_none()) {
        archive.compared = compared.get();
    }
    if let Ok(Some(view)) = &view
        && verified.report.fault.is_none()
    {
        if view.manifest().end() > verified.report.records {
            let what = format!("goes to record {}, and the log has {}", view.manifest().end(), verified.report.records);
            verified.report.fault = Some(fault(MANIFEST, what));
        } else if depth == Depth::Digests {
            verified.report.notes.push("of the archive the digests were verified, and not each record".to_owned());
        }
    }
    if verified.report.fault.is_none() {
        let records = (depth == Depth::Records).then_some(&mut erased);
        drops.extend(view.iter().flatten().flat_map(dropped));
        verified.report.fault = copies(dir, Some(keyring), places, &mut verified, records, &mut drops)?;
    }
    if verified.report.fault.is_none() && depth == Depth::Records {
        let is_whole = !matches!(&view, Ok(Some(view)) if view.manifest().dropped().next().is_some());
        let items = items_under_way(keyring).map_err(|error| VerifyError::Archive(Box::new(error)))?;
        erased.under_way.add_items(&items);
        verified.report.fault = erased.judge(dir, is_whole, &mut verified.erased, &mut verified.under_way)?;
        if verified.under_way > 0 {
            let under_way = verified.under_way;
            let note =
                format!("{under_way} fields and texts are gone by an erasure that has not ended: its tombstone is still to come");
            verified.report.notes.push(note);
        }
        verified.told = erased.listener.end(drops);
        if let Some(Readable { request, record, path }) = verified.told.readable.list.first() {
            let what = format!(
                "{} items are readable that a tombstone calls erased; the first is {path} of record {record}, by {request}: erase again, \
                 and find out who brought it back",
                verified.told.readable.count()
            );
            verified.report.unmet.push(what);
        }
        if let Ok(Some(view)) = &view {
            name_segment(&mut verified.report, view, from_journal.get());
        }
    } else {
        verified.told = Listener::default().end(drops);
    }
    Ok(verified)
}

/// The archive, or what is wrong with its manifest.
fn opened(dir: &Path, keyring: Option<&Arc<Keyring>>, place: Option<&Place>) -> Result<Result<Option<View>, Fault>, VerifyError> {
    judged(archive_of(&DataDir::unchecked(dir), keyring, place), EVIDENCE)
}

fn judged(view: Result<Option<View>, ColdError>, which: Which) -> Result<Result<Option<View>, Fault>, VerifyError> {
    let pin = format!("keys/{}", which.pin);
    match view {
        Ok(view) => Ok(Ok(view)),
        Err(ColdError::Pin { path, what }) => Err(VerifyError::File { path, source: std::io::Error::other(what) }),
        Err(error @ (ColdError::Place { .. } | ColdError::Remote(_) | ColdError::Objects(_))) => {
            Err(VerifyError::Archive(Box::new(error)))
        }
        Err(ColdError::BadPin { what, .. }) => Ok(Err(fault(&pin, what))),
        Err(error) => {
            let is_by_pin = match &error {
                ColdError::Archive(ArchiveError::NoManifest(..)) => true,
                ColdError::Archive(ArchiveError::Manifest(error)) => {
                    matches!(error, ManifestError::RolledBack { .. } | ManifestError::Forked(_))
                }
                _ => false,
            };
            let by = if is_by_pin { format!(" (by {pin})") } else { String::new() };
            Ok(Err(fault(&format!("{}/manifest", which.dir), format!("{error}{by}"))))
        }
    }
}

/// Verifies the forensic archive, if there is one: its objects, and with keys that each copy is of a record that the log sealed.
fn copies(
    dir: &Path,
    keyring: Option<&Arc<Keyring>>,
    places: Option<&Places>,
    verified: &mut Verified,
    erased: Option<&mut Erased>,
    drops: &mut Vec<(Purpose, Dropped)>,
) -> Result<Option<Fault>, VerifyError> {
    let place = places.and_then(|places| places.forensic.as_ref());
    let view = match judged(forensic_of(&DataDir::unchecked(dir), keyring, place), FORENSIC)? {
        Ok(Some(view)) => view,
        Ok(None) => return Ok(None),
        Err(fault) => return Ok(Some(fault)),
    };
    drops.extend(dropped(&view));
    let unreadable = |error: &dyn std::fmt::Display| VerifyError::File {
        path: dir.join(FORENSIC.dir),
        source: std::io::Error::other(error.to_string()),
    };
    let log_id = match log_id(dir) {
        Ok(log_id) => log_id,
        Err(fault) => return Ok(Some(fault)),
    };
    let mut leaves = archive::leaves_of(&dir.join("ledger"), verified.report.sealed);
    let compared = erased.is_some().then_some(&mut leaves as &mut archive::LeafOf<'_>);
    match view.verify(log_id, compared) {
        Ok(report) => verified.forensic = Some(report),
        Err(archive::VerifyArchiveError::Fault(found)) => return Ok(Some(fault(FORENSIC.dir, found.to_string()))),
        Err(error) => return Err(unreadable(&error)),
    }
    let Some(erased) = erased else { return Ok(None) };
    for segment in view.manifest().segments() {
        for stored in view.segment(&segment.span()).map_err(|error| unreadable(&error))? {
            erased.look(&stored);
        }
    }
    Ok(None)
}

/// A place that does not answer says nothing of what lies there.
fn unsupplied(error: ArchiveError) -> SupplyError {
    if error.may_pass() {
        SupplyError::Unreadable(Box::new(error))
    } else {
        let place = if matches!(error, ArchiveError::NoKey { .. }) { MANIFEST } else { ARCHIVE_DIR };
        SupplyError::Fault(fault(place, error.to_string()))
    }
}

/// Names the segment where the fault is of a record that came from the archive.
fn name_segment(report: &mut Report, view: &View, from_journal: u64) {
    if let Some(fault) = &mut report.fault
        && let Some(seq) = fault.record.filter(|seq| *seq < from_journal)
    {
        fault.place = place_of(view, seq);
    }
}

/// Where an archived record lies: its segment, and the object as the archive names it.
fn place_of(view: &View, seq: u64) -> String {
    // What cannot be read a second time was read a moment ago: then the archive is as near as can be told.
    match view.segment_of(seq) {
        Ok(Some(segment)) => {
            let archive::Segment { first, end, class, .. } = segment;
            let last = end.saturating_sub(1);
            let object = ObjectName::Segment(segment.events.digest);
            format!("{ARCHIVE_DIR}, segment {first} to {last} of class {}: {object}, record {seq}", class.as_str())
        }
        _ => format!("{ARCHIVE_DIR}, record {seq}"),
    }
}

/// What an archive's manifest says of ends of retention.
fn dropped(view: &View) -> impl Iterator<Item = (Purpose, Dropped)> {
    let purpose = view.manifest().purpose();
    view.manifest().dropped().map(move |dropped| (purpose, dropped.clone()))
}

/// Verifies the archive's objects against its manifest.
fn objects(dir: &Path, view: Option<&View>, verified: &mut Verified) -> Result<Option<Fault>, VerifyError> {
    let Some(view) = view else { return Ok(None) };
    match view.verify([0; 16], None) {
        Ok(report) => verified.archive = Some(report),
        Err(archive::VerifyArchiveError::Fault(found)) => return Ok(Some(fault(ARCHIVE_DIR, found.to_string()))),
        Err(error) => {
            return Err(VerifyError::File { path: dir.join(ARCHIVE_DIR), source: std::io::Error::other(error.to_string()) });
        }
    }
    Ok(None)
}

fn fault(place: &str, what: String) -> Fault {
    Fault { place: place.to_owned(), what, record: None }
}

/// The log's id, by its first key.
fn log_id(dir: &Path) -> Result<[u8; 16], Fault> {
    match key_chain(&DataDir::unchecked(dir)) {
        Ok(Some(chain)) => Ok(chain.first().log_id()),
        Ok(None) => Err(fault("ledger/vkey", "is missing".to_owned())),
        Err(error) => Err(fault("ledger/vkey", error.to_string())),
    }
}

/// What is gone, and what the log says of it.
#[derive(Default)]
struct Erased {
    gone: Vec<(u64, String)>,
    /// Records that may be tombstones.
    tombstones: Vec<StoredRecord>,
    /// What erasures take that have not come to their tombstone, as the keyring says.
    under_way: Erasures,
    /// The lists of what was erased, by their names below the data directory; nobody has vouched for them yet.
    lists: BTreeMap<String, Result<ErasedItems, TombstoneError>>,
    listener: Listener,
}

impl Erased {
    /// With the lists that are there, so that what they name can be looked for.
    fn expecting(dir: &Path) -> Result<Self, VerifyError> {
        let mut erased = Self::default();
        for name in lists(dir)? {
            let list = read_list(dir, &name)?;
            if let Some(Ok(list)) = &list {
                erased.listener.expect_gone(request_of(&name), list);
            }
            erased.lists.extend(list.map(|list| (name, list)));
        }
        Ok(erased)
    }

    fn look(&mut self, stored: &StoredRecord) {
        self.listener.look(stored);
        self.gone.extend(missing(stored).into_iter().map(|what| (stored.seq.0, what)));
        if let StoredBody::Whole(record) = &stored.body
            && names_tombstone(&record.event_json)
        {
            self.tombstones.push(stored.clone());
        }
    }

    /// What is gone must be covered by a tombstone of the log, and each list must be one that a tombstone commits to. A tombstone
    /// can only be missed where `is_whole` says that nothing was dropped at the end of its retention.
    fn judge(&mut self, dir: &Path, is_whole: bool, erased: &mut u64, under_way: &mut u64) -> Result<Option<Fault>, VerifyError> {
        // A record and its copies lack the same.
        self.gone.sort_unstable();
        self.gone.dedup();
        if self.gone.is_empty() && self.tombstones.is_empty() && self.lists.is_empty() {
            return Ok(None);
        }
        let log_id = match log_id(dir) {
            Ok(log_id) => log_id,
            Err(fault) => return Ok(Some(fault)),
        };
        let mut covered = Erasures::default();
        for (leaf, tombstone) in self.tombstones.iter().filter_map(|stored| tombstone(stored, log_id)) {
            let name = format!("{ARCHIVE_DIR}/{TOMBSTONES_DIR}/{}{LIST_SUFFIX}", tombstone.request);
            // An erasure that ends between its tombstone and the last name of its list leaves that under the name before.
            let before = format!("{ARCHIVE_DIR}/{TOMBSTONES_DIR}/{}{PENDING_SUFFIX}", tombstone.request);
            let list = match self.lists.remove(&name) {
                Some(list) => Some(list),
                // One that came meanwhile.
                None => read_list(dir, &name)?.map_or_else(|| read_list(dir, &before), |list| Ok(Some(list)))?,
            };
            let Some(list) = list else {
                return Ok(Some(fault(&name, format!("is missing, and the tombstone of record {leaf} commits to it"))));
            };
            if let Err(error) = list.and_then(|list| covered.add_list(leaf, &tombstone, &list)) {
                return Ok(Some(fault(&name, error.to_string())));
            }
            self.listener.believe(tombstone.request);
        }
        if let Some((name, _)) = self.lists.first_key_value().filter(|_| is_whole) {
            return Ok(Some(fault(name, "is the list of an erasure that no tombstone of the log tells of".to_owned())));
        }
        for (leaf, what) in std::mem::take(&mut self.gone) {
            if covered.covers(leaf, &what).is_none() && covered.covers(leaf, "event").is_none() {
                if self.under_way.covers(leaf, &what).is_some() || self.under_way.covers(leaf, "event").is_some() {
                    *under_way += 1;
                    continue;
                }
                let what = format!("{what} is gone, and no tombstone says so: it was not erased, it is missing");
                return Ok(Some(Fault { record: Some(leaf), ..fault(&format!("{ARCHIVE_DIR}, record {leaf}"), what) }));
            }
            *erased += 1;
        }
        Ok(None)
    }
}

/// The lists of what was erased, by their paths below the data directory. Those of erasures that were interrupted have other names.
fn lists(dir: &Path) -> Result<BTreeSet<String>, VerifyError> {
    let path = dir.join(ARCHIVE_DIR).join(TOMBSTONES_DIR);
    let failed = |source| VerifyError::File { path: path.clone(), source };
    let entries = match std::fs::read_dir(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        entries => entries.map_err(failed)?,
    };
    let mut lists = BTreeSet::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if name.ends_with(LIST_SUFFIX) {
            lists.insert(format!("{ARCHIVE_DIR}/{TOMBSTONES_DIR}/{name}"));
        }
    }
    Ok(lists)
}

/// A list of what was erased, if it is there.
fn read_list(dir: &Path, name: &str) -> Result<Option<Result<ErasedItems, TombstoneError>>, VerifyError> {
    match open_regular(&dir.join(name)) {
        Ok(file) => Ok(Some(ErasedItems::read(&mut BufReader::new(file)))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(VerifyError::File { path: dir.join(name), source }),
    }
}

/// The request of a list, which is its name.
fn request_of(name: &str) -> &str {
    let file = name.rsplit_once('/').map_or(name, |(_, file)| file);
    file.strip_suffix(LIST_SUFFIX).unwrap_or(file)
}

/// Few records are tombstones, and most do not even hold the word.
fn names_tombstone(event_json: &[u8]) -> bool {
    let word = ledger::TOMBSTONE_EVENT.as_bytes();
    event_json.windows(word.len()).any(|window| window == word)
}

/// What is gone of a record.
fn missing(stored: &StoredRecord) -> Vec<String> {
    let StoredBody::Redacted(record) = &stored.body else { return Vec::new() };
    let fields = record.fields.iter().enumerate().filter(|(_, field)| matches!(field, StoredField::Gone { .. }));
    let mut missing: Vec<String> = fields.map(|(index, _)| format!("field/{index}")).collect();
    for content in &record.contents {
        match content {
            StoredContent::Whole(_) => {}
            StoredContent::Gone { id } => missing.push(format!("content/{id}")),
            StoredContent::Redacted { id, spans, .. } => {
                let gone = spans.iter().enumerate().filter(|(_, span)| matches!(span, StoredSpan::Gone { .. }));
                missing.extend(gone.map(|(index, _)| format!("content/{id}/span/{index}")));
            }
        }
    }
    missing
}

/// What a record says, if it is a tombstone.
fn tombstone(stored: &StoredRecord, log_id: [u8; 16]) -> Option<(u64, Tombstone)> {
    let shown = Disclosure::of(stored, log_id, &Selection::all()).ok()?;
    let verified = shown.verify(log_id, &Erasures::default()).ok()?;
    Some((stored.seq.0, Tombstone::of(&shown, &verified).ok()?))
}

#[cfg(test)]
mod tests {
    use archive::{Kept, Segment};
    use event::Timestamp;

    use super::*;
    use crate::lifecycle::{Asker, Erasure};
    use crate::{Node, NodeSettings, RootKeyPlace, read_keyring};

    #[test]
    fn a_record_that_was_changed_in_the_archive_is_named_with_its_segment() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let root = RootKeyPlace::new(Some(&dir.path().join("root.key"))).unwrap();
        let node = Node::open(&data, &root, &NodeSettings::default()).unwrap();
        for number in 0..3 {
            node.note_read(&Asker::of_process(), "query", &format!("SELECT {number}")).unwrap();
        }
        // An erasure of nobody archives everything.
        let nobody = Erasure { subject: "nobody-at-all".to_owned(), ..Erasure::default() };
        node.erase(&Asker::of_process(), &nobody).unwrap();
        let intact = |node: Node| {
            node.close().unwrap();
            let keyring = read_keyring(&DataDir::unchecked(&data), &root).unwrap();
            let verified = verify(&data, &Trust::default(), Some(&keyring), Depth::Records, None).unwrap();
            if verified.report.fault.is_none() {
                let archive = verified.archive.unwrap();
                assert!(archive.records > 3 && archive.compared == archive.records, "{archive:?}");
                let digests = verify(&data, &Trust::default(), Some(&keyring), Depth::Digests, None).unwrap();
                assert_eq!(digests.archive.unwrap().compared, 0);
            }
            verified.report.fault
        };
        assert_eq!(intact(node), None);

        // Whoever has all the keys writes the segment anew, with another record in it.
        let node = Node::open(&data, &root, &NodeSettings::default()).unwrap();
        let cold = &node.lifecycle().cold;
        let span =
            cold.lock().view().manifest().segments().map(Segment::span).find(|span| span.class.as_str() != "record").unwrap();
        let change = |kept: Kept<'_>| match kept {
            Kept::Record(StoredRecord { seq: Seq(1), body: StoredBody::Whole(record) }) => {
                record.blind[0] ^= 1;
                Ok(true)
            }
            _ => Ok(false),
        };
        let rewritten = cold.change(|archive| archive.rewrite(&span, "test", Timestamp::now(), change).map_err(ColdError::from));
        assert!(rewritten.unwrap().is_some());
        let fault = intact(node).unwrap();
        let named =
            [format!("archive, segment {} to {} of class ", span.first, span.end - 1), ".parquet.age, record 1".to_owned()];
        assert!(named.iter().all(|part| fault.place.contains(part.as_str())), "{fault}");
        assert_eq!(fault.record, Some(1));
    }
}
