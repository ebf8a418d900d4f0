//! What others say of the log's checkpoints. `ledger/timestamps/<size>.tsr`: RFC 3161 answers. `ledger/witnessed`: the newest
//! checkpoint that witnesses countersigned, with their cosignatures. It is a file of its own, so that sealing never waits for
//! anybody, and the published checkpoint never changes behind its signing.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use crate::checkpoint::{Checkpoint, History, HistoryItem};
use crate::disk::{Disk, read_at_most};
use crate::ledger::{CHECKPOINT, HISTORY};
use crate::note::{NOTE_BYTES_MAX, SignedNote};
use crate::timestamp::TIMESTAMP_BYTES_MAX;
use crate::tlog_proof::canonical;

pub(crate) const WITNESSED: &str = "witnessed";
pub(crate) const TIMESTAMPS: &str = "timestamps";

/// The checkpoint that the ledger of a data directory publishes, as it stands there; not verified. `None` before the first one.
pub fn published_checkpoint(data_dir: &Path) -> io::Result<Option<SignedNote>> {
    read_note(data_dir, CHECKPOINT)
}

/// The newest checkpoint with cosignatures, as it stands there; not verified. `None` when nobody has witnessed one yet.
pub fn witnessed_checkpoint(data_dir: &Path) -> io::Result<Option<SignedNote>> {
    read_note(data_dir, WITNESSED)
}

/// Publishes a checkpoint of the log with the cosignatures that witnesses gave it. One of a smaller tree than the one that is
/// there is passed over.
pub fn publish_witnessed(data_dir: &Path, note: &SignedNote) -> io::Result<()> {
    let size = |note: &SignedNote| Checkpoint::parse(note.text()).map(|checkpoint| checkpoint.size).map_err(io::Error::other);
    if witnessed_checkpoint(data_dir)?.is_some_and(|known| size(&known).ok() > size(note).ok()) {
        return Ok(());
    }
    put(data_dir, WITNESSED, note.encode().as_bytes())
}

/// Where the time stamp of the checkpoint of so many records lies.
pub(crate) fn timestamp_file(size: u64) -> String {
    format!("{TIMESTAMPS}/{size}.tsr")
}

/// The size in the name of a time stamp's file.
pub(crate) fn timestamp_size(path: &str) -> Option<u64> {
    canonical(path.strip_prefix(TIMESTAMPS)?.strip_prefix('/')?.strip_suffix(".tsr")?)
}

/// Keeps an authority's answer for the checkpoint of so many records. It was asked for the checkpoint as the history keeps it
/// ([`history_form`](crate::history_form)), and the answer was checked.
pub fn publish_timestamp(data_dir: &Path, size: u64, answer: &[u8]) -> io::Result<()> {
    put(data_dir, &timestamp_file(size), answer)
}

/// A checkpoint that an authority put a time on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StampedCheckpoint {
    /// How many records it covers.
    pub size: u64,
    /// The checkpoint as the history keeps it ([`history_form`](crate::history_form)), which is what the time stamp is of.
    pub note: Vec<u8>,
    /// The authority's answer.
    pub answer: Vec<u8>,
}

/// The sizes of the checkpoints that have a time stamp.
pub fn stamped_sizes(data_dir: &Path) -> io::Result<BTreeSet<u64>> {
    let entries = match std::fs::read_dir(data_dir.join("ledger").join(TIMESTAMPS)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        entries => entries?,
    };
    let mut sizes = BTreeSet::new();
    for entry in entries {
        let name = entry?.file_name();
        sizes.extend(timestamp_size(&format!("{TIMESTAMPS}/{}", name.to_string_lossy())));
    }
    Ok(sizes)
}

/// Those of the checkpoints of these sizes that have a time stamp, smallest first; nothing of them is verified. The history is
/// read up to the largest of them.
pub fn stamped_checkpoints(data_dir: &Path, sizes: &BTreeSet<u64>) -> io::Result<Vec<StampedCheckpoint>> {
    let Some(&last) = sizes.last() else { return Ok(Vec::new()) };
    let ledger = data_dir.join("ledger");
    let mut history = History::new(BufReader::new(files::open_regular(&ledger.join(HISTORY))?));
    let mut found = Vec::new();
    while let Some(HistoryItem::Note { note, .. }) = history.next()? {
        let parsed = SignedNote::parse(&note).ok().and_then(|note| Checkpoint::parse(note.text()).ok());
        let size = parsed.map_or(0, |checkpoint| checkpoint.size);
        if sizes.contains(&size)
            && let Some(answer) = read_at_most(&ledger.join(timestamp_file(size)), TIMESTAMP_BYTES_MAX)?
        {
            found.push(StampedCheckpoint { size, note, answer });
        }
        if size >= last {
            break;
        }
    }
    Ok(found)
}

/// Puts a file beside the ledger's own, between two seals.
pub(crate) fn put(data_dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let ledger = data_dir.join("ledger");
    let lock = File::open(&ledger)?;
    match lock.lock() {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
        other => other?,
    }
    let mut disk = Disk::default();
    disk.replace(&ledger.join(name), bytes)?;
    disk.sync_dirs()
}

fn read_note(data_dir: &Path, name: &str) -> io::Result<Option<SignedNote>> {
    let Some(bytes) = read_at_most(&data_dir.join("ledger").join(name), NOTE_BYTES_MAX)? else { return Ok(None) };
    let note = SignedNote::parse(&bytes);
    note.map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("ledger/{name}: {error}")))
}
