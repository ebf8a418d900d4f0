//! Verification of a whole data directory: ledger, journal, archive, erasures.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use archive::{ArchiveError, ArchiveReport, Item, ManifestError, ObjectName, View};
use files::open_regular;
use journal::{FrameKeys, Seq};
use keys::Keyring;
use ledger::{
    Disclosure, ErasedItems, Erasures, Fault, Report, Selection, StoredBody, StoredContent, StoredField, StoredRecord,
    StoredSpan, SupplyError, Tombstone, Trust, VerifyError, Visit,
};

use super::cold::{ARCHIVE_DIR, ColdError, EVIDENCE, FORENSIC, Which, archive_of, forensic_of};
use super::erase::{LIST_SUFFIX, PENDING_SUFFIX, TOMBSTONES_DIR};
use super::job::items_under_way;
use super::place::Place;
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
#[derive(Debug)]
pub struct Verified {
    /// The ledger and the journal. `fault` is the first of all.
    pub report: Report,
    /// The archive, where there is one.
    pub archive: Option<ArchiveReport>,
    /// The forensic archive, where there is one.
    pub forensic: Option<ArchiveReport>,
    /// Things that are gone and that a tombstone covers.
    pub erased: u64,
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
    let Some(keyring) = keyring else {
        let mut verified = Verified { report: ledger::verify_public(dir, trust)?, archive: None, forensic: None, erased: 0 };
        verified
            .report
            .notes
            .push("without the root key no record was read: tree, checkpoints, digests and checksums were verified".to_owned());
        if verified.report.fault.is_none() {
            let view = opened(dir, None, place)?;
            verified.report.fault = match view {
                Ok(view) => objects(dir, view.as_ref(), &mut verified)?,
                Err(fault) => Some(fault),
            };
        }
        if verified.report.fault.is_none() {
            verified.report.fault = copies(dir, None, places, &mut verified, None)?;
        }
        return Ok(verified);
    };
    let view = opened(dir, Some(keyring), place)?;
    let mut erased = Erased::default();
    let from_journal = Cell::new(0);
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
                    erased.look(&stored);
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
        Ok(())
    };
    // Objects first: the digest of a changed one says more than that it does not decrypt.
    let mut early = Verified { report: Report::default(), archive: None, forensic: None, erased: 0 };
    let broken = match &view {
        Ok(view) => objects(dir, view.as_ref(), &mut early)?,
        Err(_) => None,
    };
    if let Some(fault) = broken {
        early.report.fault = Some(fault);
        return Ok(early);
    }
    let keys = frame_keys(keyring.clone());
    let mut report = ledger::verify_archived(dir, trust, &*keys, &mut archive)?;
    if let Ok(Some(view)) = &view {
        name_segment(&mut report, view, from_journal.get());
    }
    let mut verified = Verified { report, ..early };
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
        verified.report.fault = copies(dir, Some(keyring), places, &mut verified, records)?;
    }
    if verified.report.fault.is_none() && depth == Depth::Records {
        let is_whole = !matches!(&view, Ok(Some(view)) if view.manifest().dropped().next().is_some());
        let items = items_under_way(keyring).map_err(|error| VerifyError::Archive(Box::new(error)))?;
        erased.under_way.add_items(&items);
        let mut under_way = 0;
        verified.report.fault = erased.judge(dir, &*keys, is_whole, &mut verified.erased, &mut under_way)?;
        if under_way > 0 {
            let note = format!("{under_way} things are gone by an erasure that has not ended: its tombstone is still to come");
            verified.report.notes.push(note);
        }
        if let Ok(Some(view)) = &view {
            name_segment(&mut verified.report, view, from_journal.get());
        }
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
) -> Result<Option<Fault>, VerifyError> {
    let place = places.and_then(|places| places.forensic.as_ref());
    let view = match judged(forensic_of(&DataDir::unchecked(dir), keyring, place), FORENSIC)? {
        Ok(Some(view)) => view,
        Ok(None) => return Ok(None),
        Err(fault) => return Ok(Some(fault)),
    };
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
}

impl Erased {
    fn look(&mut self, stored: &StoredRecord) {
        self.gone.extend(missing(stored).into_iter().map(|what| (stored.seq.0, what)));
        if let StoredBody::Whole(record) = &stored.body
            && names_tombstone(&record.event_json)
        {
            self.tombstones.push(stored.clone());
        }
    }

    /// What is gone must be covered by a tombstone of the log, and each list must be one that a tombstone commits to. A tombstone
    /// can only be missed where `is_whole` says that nothing was dropped at the end of its retention.
    fn judge(
        mut self,
        dir: &Path,
        keys: &dyn FrameKeys,
        is_whole: bool,
        erased: &mut u64,
        under_way: &mut u64,
    ) -> Result<Option<Fault>, VerifyError> {
        // A record and its copies lack the same.
        self.gone.sort_unstable();
        self.gone.dedup();
        let mut lists = lists(dir)?;
        if self.gone.is_empty() && self.tombstones.is_empty() && lists.is_empty() {
            return Ok(None);
        }
        let in_journal = journal::check(dir, Some(keys), |record| {
            if names_tombstone(&record.event_json) {
                self.tombstones.push(StoredRecord::whole(record.clone()));
            }
        });
        in_journal.map_err(VerifyError::Journal)?;
        let log_id = match log_id(dir) {
            Ok(log_id) => log_id,
            Err(fault) => return Ok(Some(fault)),
        };
        let mut covered = Erasures::default();
        for (leaf, tombstone) in self.tombstones.iter().filter_map(|stored| tombstone(stored, log_id)) {
            let name = format!("{ARCHIVE_DIR}/{TOMBSTONES_DIR}/{}{LIST_SUFFIX}", tombstone.request);
            lists.remove(&name);
            // An erasure that ends between its tombstone and the last name of its list leaves that under the name before.
            let before = format!("{ARCHIVE_DIR}/{TOMBSTONES_DIR}/{}{PENDING_SUFFIX}", tombstone.request);
            let file = match open_regular(&dir.join(&name)).or_else(|error| open_regular(&dir.join(before)).map_err(|_| error)) {
                Ok(file) => file,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Ok(Some(fault(&name, format!("is missing, and the tombstone of record {leaf} commits to it"))));
                }
                Err(source) => return Err(VerifyError::File { path: dir.join(name), source }),
            };
            let list = ErasedItems::read(&mut BufReader::new(file));
            if let Err(error) = list.and_then(|list| covered.add_list(leaf, &tombstone, &list)) {
                return Ok(Some(fault(&name, error.to_string())));
            }
        }
        if let Some(name) = lists.first().filter(|_| is_whole) {
            return Ok(Some(fault(name, "is the list of an erasure that no tombstone of the log tells of".to_owned())));
        }
        for (leaf, what) in self.gone {
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
    use event::{Proof, Timestamp};

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
            node.note_read("ann", "query", &format!("SELECT {number}")).unwrap();
        }
        // An erasure of nobody archives everything.
        let nobody = Erasure { subject: "nobody-at-all".to_owned(), ..Erasure::default() };
        node.erase(&Asker { id: "ann".to_owned(), proof: Proof::Local }, &nobody).unwrap();
        let intact = |node: Node| {
            node.close().unwrap();
            let keyring = read_keyring(&DataDir::unchecked(&data), &root).unwrap();
            verify(&data, &Trust::default(), Some(&keyring), Depth::Records, None).unwrap().report.fault
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
