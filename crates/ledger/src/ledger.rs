//! The writer of the ledger.
//!
//! Order of a seal, so that a process that ends anywhere leaves what the next one can go on from:
//! 1. tiles and entry bundles, durable in their places (they may go beyond the published checkpoint, never against it);
//! 2. the signed checkpoint behind the history, durable;
//! 3. the checkpoint in its place, durable: from here on it is published;
//! 4. partial tiles that a longer one has replaced are removed.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use event::Timestamp;
use journal::Record;
use serde::Serialize;

use crate::checkpoint::{
    CHECKPOINT_BYTES_MAX, Checkpoint, CheckpointError, HISTORY_NOTE_BYTES_MAX, History, HistoryItem, can_be_torn,
};
use crate::disk::{Disk, TEMPORARY_SUFFIX, read_at_most, walk};
use crate::key::LogKey;
use crate::key_chain::{Generation, KEYS_BYTES_MAX, KeyChain, KeyChainError, VKEY_FILE_BYTES_MAX, history_form};
use crate::leaf::{Leaf, LeafError};
use crate::minimum::{MINIMUM, MINIMUM_BYTES_MAX, Minimum};
use crate::note::SignedNote;
use crate::tile::{TileBuilder, TileId};
use crate::vkey::VerifierKey;
use crate::witnessed::{WITNESSED, timestamp_size};

pub(crate) const CHECKPOINT: &str = "checkpoint";
pub(crate) const HISTORY: &str = "checkpoints";
pub(crate) const VKEY: &str = "vkey";
pub(crate) const KEYS: &str = "keys";

/// Full tiles that may wait for a seal; more are written at once. 1,024 tiles are 131,072 leaves, 17 MB.
const WAITING_TILES_MAX: usize = 1024;

/// The log of one data directory. One process at a time may have it open.
#[derive(Debug)]
pub struct Ledger {
    disk: Disk,
    dir: PathBuf,
    key: LogKey,
    keys: KeyChain,
    log_id: [u8; 16],
    tiles: TileBuilder,
    /// Full tiles that are not on disk yet.
    waiting: Vec<(TileId, Vec<u8>)>,
    checkpoint: Option<Checkpoint>,
    sealed_at: Option<Timestamp>,
    /// Set by a write error. What is on disk is then unknown until it is read back.
    stopped: bool,
}

/// A change of the log's keys: what the event about it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rotation {
    /// Counted from 1.
    pub number: u64,
    /// Checkpoints from this size on are signed by the new keys.
    pub from: u64,
    /// Checkpoints up to this size are signed by the old keys, too.
    pub last: u64,
    /// The new keys, as verifier keys.
    pub keys: Vec<String>,
}

/// Why the ledger cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The system could not read or write.
    #[error("ledger: {path}: {source}")]
    File {
        /// What was read or written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Records must come in order, none left out.
    #[error("ledger: record {got} came where {expected} should; feed the ledger from the journal at its own size")]
    Order {
        /// The seq that should come.
        expected: u64,
        /// The one that came.
        got: u64,
    },
    /// A record that no writer of ours makes.
    #[error("ledger: record {seq} has no leaf: {source}")]
    Leaf {
        /// The record.
        seq: u64,
        /// What is wrong with it.
        source: LeafError,
    },
    /// The directory is another log's.
    #[error("ledger: its checkpoints must be signed by the key {found}, and the private key given is that of {given}")]
    OtherKey {
        /// As `ledger/vkey` or `ledger/keys` has it.
        found: String,
        /// The public half of the newest key that was given.
        given: String,
    },
    /// The public keys.
    #[error("ledger/keys: {0}")]
    Keys(#[from] KeyChainError),
    /// The files are not as any run of this program leaves them.
    #[error("ledger: {file} {what}; do not start over it: run `watchkeeper verify`, and restore a copy")]
    Damaged {
        /// Which file, relative to the ledger's directory.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// Signing.
    #[error("ledger: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// After a write error nothing more is written over it.
    #[error("ledger: stopped by an earlier write error; open it anew")]
    Stopped,
}

impl Ledger {
    /// Opens the ledger of a data directory (`DIR/ledger`), made where there is none, and takes up where the last
    /// process ended: at the size of its newest checkpoint. Left-overs of a crash are removed; tiles that do not agree
    /// with the checkpoint are an error.
    pub fn open(dir: &Path, key: LogKey) -> Result<Self, LedgerError> {
        Self::open_on(Disk::default(), dir, key)
    }

    fn open_on(mut disk: Disk, dir: &Path, key: LogKey) -> Result<Self, LedgerError> {
        let dir = dir.join("ledger");
        disk.create_dirs(&dir).and_then(|()| disk.sync_dirs()).map_err(at(&dir))?;
        let keys = KeyChain::begin(key.verifiers())?;
        let mut ledger = Self {
            disk,
            dir,
            key,
            log_id: keys.first().log_id(),
            keys,
            tiles: TileBuilder::default(),
            waiting: Vec::new(),
            checkpoint: None,
            sealed_at: None,
            stopped: false,
        };
        let lock = ledger.lock()?;
        ledger.read_keys()?;
        ledger.recover_checkpoint()?;
        ledger.check_key()?;
        ledger.sign_minimum()?;
        ledger.clean()?;
        drop(lock);
        Ok(ledger)
    }

    /// How many records it has taken: the seq of the record that it needs next.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.tiles.size()
    }

    /// The newest checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
    }

    /// When this process last sealed. A checkpoint itself states no time: a log's own clock is no evidence.
    #[must_use]
    pub fn sealed_at(&self) -> Option<Timestamp> {
        self.sealed_at
    }

    /// Takes the next record, which must be durable in the journal already. Nothing of it is published before
    /// [`Ledger::seal`].
    pub fn append(&mut self, record: &Record) -> Result<(), LedgerError> {
        if self.stopped {
            return Err(LedgerError::Stopped);
        }
        let (expected, got) = (self.size(), record.seq.0);
        if got != expected {
            return Err(LedgerError::Order { expected, got });
        }
        let leaf = Leaf::of(record, self.log_id).map_err(|source| LedgerError::Leaf { seq: got, source })?;
        let waiting = &mut self.waiting;
        self.tiles.push(&leaf.encode(), |tile, bytes| {
            if tile.is_full() {
                waiting.push((tile, bytes.to_vec()));
            }
        });
        if self.waiting.len() >= WAITING_TILES_MAX { self.stopping(Self::write_waiting) } else { Ok(()) }
    }

    /// Publishes a checkpoint over all records taken so far; `None` when there is nothing new since the last one.
    pub fn seal(&mut self, now: Timestamp) -> Result<Option<Checkpoint>, LedgerError> {
        if self.stopped {
            return Err(LedgerError::Stopped);
        }
        if self.size() == self.sealed_size() {
            return Ok(None);
        }
        let checkpoint = self.stopping(Self::publish)?;
        self.sealed_at = Some(now);
        tracing::debug!(size = checkpoint.size, "sealed");
        Ok(Some(checkpoint))
    }

    fn publish(&mut self) -> Result<Checkpoint, LedgerError> {
        let lock = self.lock()?;
        self.write_waiting()?;
        for (tile, bytes) in self.tiles.partials() {
            let path = self.dir.join(tile.to_string());
            self.disk.replace(&path, bytes).map_err(at(&path))?;
        }
        self.disk.sync_dirs().map_err(at(&self.dir))?;
        let checkpoint = Checkpoint { origin: self.keys.origin().to_owned(), size: self.size(), root: self.tiles.root() };
        let note = self.sign(&checkpoint)?.encode();
        let kept = history_form(note.as_bytes()).ok_or(CheckpointError::Form)?;
        let history = self.dir.join(HISTORY);
        self.disk.append(&history, format!("{kept}\n").as_bytes()).map_err(at(&history))?;
        self.put_checkpoint(note.as_bytes())?;
        let replaced = self.sealed_size();
        self.checkpoint = Some(checkpoint.clone());
        let size = checkpoint.size;
        for tile in TileId::partials(replaced).filter(|old| TileId::partials(size).all(|new| new != *old)) {
            let path = self.dir.join(tile.to_string());
            self.disk.remove(&path).map_err(at(&path))?;
        }
        drop(lock);
        Ok(checkpoint)
    }

    fn write_waiting(&mut self) -> Result<(), LedgerError> {
        for (tile, bytes) in std::mem::take(&mut self.waiting) {
            let path = self.dir.join(tile.to_string());
            self.disk.replace(&path, &bytes).map_err(at(&path))?;
        }
        Ok(())
    }

    fn put_checkpoint(&mut self, note: &[u8]) -> Result<(), LedgerError> {
        let path = self.dir.join(CHECKPOINT);
        self.disk.replace(&path, note).and_then(|()| self.disk.sync_dirs()).map_err(at(&path))
    }

    /// Runs something that writes; an error stops the ledger for good.
    fn stopping<T>(&mut self, write: impl FnOnce(&mut Self) -> Result<T, LedgerError>) -> Result<T, LedgerError> {
        let result = write(self);
        self.stopped = result.is_err();
        result
    }

    fn sealed_size(&self) -> u64 {
        self.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size)
    }

    /// Held while files change, so that a verifier beside a running server reads them between two seals.
    fn lock(&self) -> Result<File, LedgerError> {
        locked(&self.dir)
    }

    fn sign(&self, checkpoint: &Checkpoint) -> Result<SignedNote, LedgerError> {
        Ok(self.key.sign_by(&checkpoint.text(), self.keys.at(checkpoint.size)).map_err(CheckpointError::from)?)
    }

    /// Reads the public keys, or writes them for a new log.
    fn read_keys(&mut self) -> Result<(), LedgerError> {
        let (vkey, rotations) = (self.dir.join(VKEY), self.dir.join(KEYS));
        let kept = read_at_most(&rotations, KEYS_BYTES_MAX).map_err(at(&rotations))?;
        match read_at_most(&vkey, VKEY_FILE_BYTES_MAX).map_err(at(&vkey))? {
            Some(first) => self.keys = KeyChain::parse(&first, kept.as_deref())?,
            None if kept.is_some() || self.dir.join(HISTORY).exists() => return Err(damaged(VKEY, "is missing")),
            None => {
                let text: String = self.keys.newest().iter().map(|key| format!("{key}\n")).collect();
                self.disk.replace(&vkey, text.as_bytes()).and_then(|()| self.disk.sync_dirs()).map_err(at(&vkey))?;
            }
        }
        self.log_id = self.keys.first().log_id();
        Ok(())
    }

    /// That the private keys are here that the next checkpoint needs.
    fn check_key(&self) -> Result<(), LedgerError> {
        match self.keys.at(self.sealed_size() + 1).find(|key| !self.key.holds(key)) {
            None => Ok(()),
            Some(missing) => Err(LedgerError::OtherKey { found: missing.to_string(), given: self.key.verifier().to_string() }),
        }
    }

    /// The public keys of the log.
    #[must_use]
    pub fn keys(&self) -> &KeyChain {
        &self.keys
    }

    /// Whether a key of the log may still be needed to sign. What is not needed is to be forgotten
    /// ([`LogKey::forget`]), in every copy of it.
    #[must_use]
    pub fn needs(&self, key: &VerifierKey) -> bool {
        self.keys.since(self.sealed_size() + 1).any(|needed| needed == key)
    }

    /// Whether private keys are held that are not needed any more: then they are to be destroyed wherever they are kept.
    #[must_use]
    pub fn holds_retired(&self) -> bool {
        let retired = |known: &Generation| known.keys.iter().any(|key| !self.needs(key) && self.key.holds(key));
        self.keys.generations().iter().any(retired)
    }

    /// Forgets the private keys that are not needed any more.
    pub fn forget_retired(&mut self) {
        let next = self.sealed_size() + 1;
        self.key.forget(|key| self.keys.since(next).any(|needed| needed == key));
    }

    /// Changes the log's keys: the newest pair of `key` follows the newest of the ledger. From the next checkpoint on the new keys
    /// sign, and the old ones with them until `overlap` more records are sealed, so that a verifier has time to learn the new ones.
    /// `key` holds old and new keys, and is kept durably before. Record an event with what this returns.
    ///
    /// # Errors
    /// [`LedgerError::Keys`] when the overlap of the rotation before is not over, or the newest keys are not new.
    pub fn rotate(&mut self, key: LogKey, overlap: u64) -> Result<Rotation, LedgerError> {
        if self.stopped {
            return Err(LedgerError::Stopped);
        }
        let from = self.sealed_size() + 1;
        let last = self.sealed_size().saturating_add(overlap);
        let mut keys = self.keys.clone();
        let statement = keys.rotate(&key, from, last)?;
        let number = keys.generations().len() as u64 - 1;
        let new: Vec<String> = keys.newest().iter().map(ToString::to_string).collect();
        self.stopping(|ledger| {
            let lock = ledger.lock()?;
            let path = ledger.dir.join(KEYS);
            let mut file = read_at_most(&path, KEYS_BYTES_MAX).map_err(at(&path))?.unwrap_or_default();
            file.extend_from_slice(statement.as_bytes());
            ledger.disk.replace(&path, &file).and_then(|()| ledger.disk.sync_dirs()).map_err(at(&path))?;
            (ledger.keys, ledger.key) = (keys, key);
            ledger.sign_minimum()?;
            drop(lock);
            Ok(())
        })?;
        tracing::info!(number, from, last, "the log's keys were rotated");
        Ok(Rotation { number, from, last, keys: new })
    }

    /// Has the minimum index of a pruned log signed by the newest key: the one that signed it before may have retired.
    fn sign_minimum(&mut self) -> Result<(), LedgerError> {
        let path = self.dir.join(MINIMUM);
        let Some(note) = read_at_most(&path, MINIMUM_BYTES_MAX).map_err(at(&path))? else { return Ok(()) };
        // Not in force for the newest key, and in force for an older one: signed before the keys were rotated.
        if Minimum::open(&note, &self.keys, u64::MAX).is_ok() {
            return Ok(());
        }
        let minimum =
            Minimum::open(&note, &self.keys, self.sealed_size()).map_err(|error| damaged(MINIMUM, error.to_string()))?;
        let signed = minimum.sign(&self.key).map_err(CheckpointError::from)?;
        self.disk.replace(&path, signed.encode().as_bytes()).and_then(|()| self.disk.sync_dirs()).map_err(at(&path))
    }

    /// Finds the newest checkpoint and the tiles of its tree, and ends the step in which the last process ended.
    fn recover_checkpoint(&mut self) -> Result<(), LedgerError> {
        let path = self.dir.join(CHECKPOINT);
        let published = read_at_most(&path, CHECKPOINT_BYTES_MAX).map_err(at(&path))?;
        let mut kept = None;
        if let Some(note) = &published {
            let checkpoint = self.keys.open_published(note).map_err(|error| damaged(CHECKPOINT, error.to_string()))?;
            self.checkpoint = Some(checkpoint);
            kept = history_form(note);
        }
        let (offset, behind) = self.behind_in_history(kept.as_deref().map(str::as_bytes))?;
        let mut history = History::new(behind.as_slice());
        match history.next().map_err(at(&self.dir.join(HISTORY)))? {
            None => {}
            Some(HistoryItem::Torn { note, .. }) if can_be_torn(&note, self.keys.origin()) => {
                tracing::warn!(bytes = behind.len(), "removed a checkpoint that was torn while it was written");
                let path = self.dir.join(HISTORY);
                self.disk.truncate(&path, offset).map_err(at(&path))?;
            }
            // Signed and durable, so all its tiles are; only its publication is missing.
            Some(HistoryItem::Note { note, .. }) if behind.len() == note.len() + 1 => {
                let signed = self.keys.open_history(&note).map_err(|error| damaged(HISTORY, error.to_string()))?;
                if signed.size <= self.sealed_size() {
                    return Err(damaged(HISTORY, "goes on with a checkpoint that is not larger than the published one"));
                }
                let published = self.sign(&signed)?.encode();
                self.checkpoint = Some(signed);
                self.resume_tiles()?;
                return self.put_checkpoint(published.as_bytes());
            }
            Some(_) => return Err(damaged(HISTORY, "goes on behind the published checkpoint")),
        }
        self.resume_tiles()
    }

    /// What stands in the history behind the published checkpoint, and where that begins.
    fn behind_in_history(&self, published: Option<&[u8]>) -> Result<(u64, Vec<u8>), LedgerError> {
        /// Longest end of the history that can matter: the published checkpoint and the one behind it.
        const TAIL_BYTES: u64 = 2 * (HISTORY_NOTE_BYTES_MAX as u64 + 1);
        let path = self.dir.join(HISTORY);
        let mut file = match files::open_regular(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && published.is_none() => return Ok((0, Vec::new())),
            other => other.map_err(at(&path))?,
        };
        let length = file.metadata().map_err(at(&path))?.len();
        let start = length.saturating_sub(TAIL_BYTES);
        let mut tail = Vec::new();
        file.seek(SeekFrom::Start(start)).and_then(|_| file.take(TAIL_BYTES).read_to_end(&mut tail)).map_err(at(&path))?;
        let Some(published) = published else {
            return if start == 0 { Ok((0, tail)) } else { Err(damaged(CHECKPOINT, "is missing")) };
        };
        let note = [published, b"\n"].concat();
        let found = tail.windows(note.len()).rposition(|window| window == note);
        let behind = found.ok_or_else(|| damaged(HISTORY, "does not end with the published checkpoint"))? + note.len();
        Ok((start + behind as u64, tail.split_off(behind)))
    }

    fn resume_tiles(&mut self) -> Result<(), LedgerError> {
        let Some(checkpoint) = &self.checkpoint else { return Ok(()) };
        let load = |tile: TileId| {
            let path = self.dir.join(tile.to_string());
            let bytes = read_at_most(&path, tile.bytes()).map_err(at(&path))?;
            bytes.ok_or_else(|| damaged(tile.to_string(), "is missing"))
        };
        let tiles =
            TileBuilder::resume(checkpoint.size, load)?.ok_or_else(|| damaged("tile", "has a partial tile of a wrong length"))?;
        if tiles.root() != checkpoint.root {
            return Err(damaged("tile", "does not have the root that the checkpoint signs"));
        }
        self.tiles = tiles;
        Ok(())
    }

    /// Removes what a crash left: temporary files, and tiles that the newest checkpoint does not speak of. They are
    /// written again when their leaves come again.
    fn clean(&mut self) -> Result<(), LedgerError> {
        let size = self.sealed_size();
        let mut left_over = Vec::new();
        walk(&self.dir, &mut |path, is_dir| {
            let is_temporary = path.strip_suffix(TEMPORARY_SUFFIX).is_some_and(is_file_of_ledger);
            let is_beyond = TileId::parse(path).is_some_and(|tile| {
                if tile.is_full() {
                    tile.index >= tile.kind.full(size)
                } else {
                    TileId::partials(size).all(|partial| partial != tile)
                }
            });
            if !is_dir && (is_temporary || is_beyond) {
                left_over.push(path.to_owned());
            }
            Ok(())
        })
        .map_err(at(&self.dir))?;
        if !left_over.is_empty() {
            tracing::info!(files = left_over.len(), "removing files that were not published when the last process ended");
        }
        for path in left_over {
            let path = self.dir.join(path);
            self.disk.remove(&path).map_err(at(&path))?;
        }
        Ok(())
    }
}

/// Locks the ledger's directory for whoever changes its files.
pub(crate) fn locked(ledger: &Path) -> Result<File, LedgerError> {
    let dir = File::open(ledger).map_err(at(ledger))?;
    match dir.lock() {
        // Not every file system knows locks; then only one process may look at a time.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
        other => other.map_err(at(ledger))?,
    }
    Ok(dir)
}

/// Whether a path (relative to the ledger's directory) is one that a ledger writes.
pub(crate) fn is_file_of_ledger(path: &str) -> bool {
    [CHECKPOINT, HISTORY, VKEY, KEYS, WITNESSED, MINIMUM].contains(&path)
        || timestamp_size(path).is_some()
        || TileId::parse(path).is_some()
}

pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> LedgerError + use<> {
    let path = path.to_owned();
    move |source| LedgerError::File { path, source }
}

pub(crate) fn damaged(file: impl Into<String>, what: impl Into<String>) -> LedgerError {
    LedgerError::Damaged { file: file.into(), what: what.into() }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
pub(crate) mod tests;
