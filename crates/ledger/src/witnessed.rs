//! What others say of the log's checkpoints. `ledger/timestamps/<size>.tsr`: RFC 3161 answers. `ledger/witnessed`: the newest checkpoint that witnesses countersigned, with their cosignatures. It is a file of its own, so
//! that sealing never waits for anybody, and the published checkpoint never changes behind its signing.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::checkpoint::Checkpoint;
use crate::files::{Disk, read_at_most};
use crate::ledger::CHECKPOINT;
use crate::note::{NOTE_BYTES_MAX, SignedNote};
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
