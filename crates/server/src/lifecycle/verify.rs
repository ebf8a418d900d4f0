//! Verification of a whole data directory: ledger, journal, archive, erasures.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use archive::{ArchiveReport, Item, View, leaves_of};
use journal::FrameKeys;
use keys::Keyring;
use ledger::{
    Disclosure, ErasedItems, Erasures, Fault, KeyChain, Report, Selection, StoredBody, StoredContent, StoredField, StoredRecord,
    StoredSpan, Tombstone, Trust, VerifyError,
};

use super::cold::{ARCHIVE_DIR, ColdError, archive_of};
use super::erase::TOMBSTONES_DIR;
use crate::data_dir::DataDir;
use crate::frame_keys::frame_keys;

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
    /// Things that are gone and that a tombstone covers.
    pub erased: u64,
}

/// Verifies a data directory, or a copy of one, from its files. Without a keyring the journal and the archive are not decrypted: what
/// is proved then is said in the notes.
///
/// # Errors
/// When something could not be read, so that neither "intact" nor "tampered" can be said.
pub fn verify(dir: &Path, trust: &Trust, keyring: Option<&Arc<Keyring>>, depth: Depth) -> Result<Verified, VerifyError> {
    let frame_keys = keyring.map(|keyring| frame_keys(keyring.clone()));
    let report = ledger::verify_against(dir, trust, frame_keys.as_deref())?;
    let mut verified = Verified { report, archive: None, erased: 0 };
    if verified.report.fault.is_some() {
        return Ok(verified);
    }
    if keyring.is_none() {
        verified
            .report
            .notes
            .push("without the root key no record was read: tree, checkpoints, digests and checksums were verified".to_owned());
    }
    verified.report.fault = archive(dir, keyring, frame_keys.as_deref(), depth, &mut verified)?;
    Ok(verified)
}

fn archive(
    dir: &Path,
    keyring: Option<&Arc<Keyring>>,
    frame_keys: Option<&dyn FrameKeys>,
    depth: Depth,
    verified: &mut Verified,
) -> Result<Option<Fault>, VerifyError> {
    let fault = |place: &str, what: String| Ok(Some(Fault { place: place.to_owned(), what }));
    let data = DataDir::unchecked(dir);
    let view = match archive_of(&data, keyring) {
        Ok(view) => view,
        Err(ColdError::Pin { path, what }) => {
            return Err(VerifyError::File { path, source: std::io::Error::other(what) });
        }
        Err(error) => return fault("archive/manifest", error.to_string()),
    };
    let archived = view.as_ref().map_or(0, |view| view.manifest().end());
    let first = verified.report.journal_first;
    if frame_keys.is_some() && first > archived {
        let what = format!("records {archived} to {} are neither in the journal nor in the archive", first.saturating_sub(1));
        return fault("journal", what);
    }
    let Some(view) = view else { return Ok(None) };
    if archived > verified.report.records {
        return fault("archive/manifest", format!("goes to record {archived}, and the log has {}", verified.report.records));
    }
    let log_id = match chain(dir) {
        Ok(chain) => chain.first().log_id(),
        Err(what) => return fault("ledger/vkey", what),
    };
    let mut leaf_of = leaves_of(&dir.join("ledger"), verified.report.sealed);
    let deep = keyring.is_some() && depth == Depth::Records;
    match view.verify(log_id, if deep { Some(&mut leaf_of) } else { None }) {
        Ok(report) => verified.archive = Some(report),
        Err(archive::VerifyArchiveError::Fault(found)) => return fault("archive", found.to_string()),
        Err(error) => {
            return Err(VerifyError::File { path: dir.join(ARCHIVE_DIR), source: std::io::Error::other(error.to_string()) });
        }
    }
    if !deep {
        verified.report.notes.push("of the archive the digests were verified, and not each record".to_owned());
        return Ok(None);
    }
    erasures(dir, &view, frame_keys, log_id, verified)
}

/// What is gone must be covered by a tombstone of the log.
fn erasures(
    dir: &Path,
    view: &View,
    frame_keys: Option<&dyn FrameKeys>,
    log_id: [u8; 16],
    verified: &mut Verified,
) -> Result<Option<Fault>, VerifyError> {
    let unreadable = |path: &str, what: String| VerifyError::File { path: dir.join(path), source: std::io::Error::other(what) };
    let mut gone: Vec<(u64, String)> = Vec::new();
    let mut tombstones: Vec<(u64, Tombstone)> = Vec::new();
    for item in view.reader(0) {
        match item.map_err(|error| unreadable(ARCHIVE_DIR, error.to_string()))? {
            Item::Record(stored) => {
                gone.extend(missing(&stored).into_iter().map(|what| (stored.seq.0, what)));
                tombstones.extend(tombstone(&stored, log_id));
            }
            Item::Dropped(_) => {}
        }
    }
    if gone.is_empty() {
        return Ok(None);
    }
    let in_journal = journal::check(dir, frame_keys, |record| {
        // Few records of the journal are tombstones, and most do not even hold the word.
        if record.event_json.windows(ledger::TOMBSTONE_EVENT.len()).any(|window| window == ledger::TOMBSTONE_EVENT.as_bytes()) {
            tombstones.extend(tombstone(&StoredRecord::whole(record.clone()), log_id));
        }
    });
    in_journal.map_err(VerifyError::Journal)?;
    let mut covered = Erasures::default();
    for (leaf, tombstone) in &tombstones {
        let name = format!("{ARCHIVE_DIR}/{TOMBSTONES_DIR}/{}.jsonl", tombstone.request);
        let file = match File::open(dir.join(&name)) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Some(Fault {
                    place: name,
                    what: format!("is missing, and the tombstone of record {leaf} commits to it"),
                }));
            }
            Err(source) => return Err(VerifyError::File { path: dir.join(name), source }),
        };
        let list = ErasedItems::read(&mut BufReader::new(file));
        let added = list.and_then(|list| covered.add_list(*leaf, tombstone, &list));
        if let Err(error) = added {
            return Ok(Some(Fault { place: name, what: error.to_string() }));
        }
    }
    for (leaf, what) in gone {
        if covered.covers(leaf, &what).is_none() && covered.covers(leaf, "event").is_none() {
            let what = format!("{what} is gone, and no tombstone says so: it was not erased, it is missing");
            return Ok(Some(Fault { place: format!("archive, record {leaf}"), what }));
        }
        verified.erased += 1;
    }
    Ok(None)
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
    let named = stored.for_reading().is_some_and(|record| {
        record.event_json.windows(ledger::TOMBSTONE_EVENT.len()).any(|window| window == ledger::TOMBSTONE_EVENT.as_bytes())
    });
    if !named {
        return None;
    }
    let shown = Disclosure::of(stored, log_id, &Selection::all()).ok()?;
    let verified = shown.verify(log_id, &Erasures::default()).ok()?;
    Some((stored.seq.0, Tombstone::of(&shown, &verified).ok()?))
}

fn chain(dir: &Path) -> Result<KeyChain, String> {
    let read = |name: &str| std::fs::read(dir.join("ledger").join(name));
    let first = read("vkey").map_err(|error| error.to_string())?;
    KeyChain::parse(&first, read("keys").ok().as_deref()).map_err(|error| error.to_string())
}
