//! The minimum index of a pruned log (C2SP tlog-tiles, "Pruning"), and pruning itself.
//!
//! Entry bundles and tiles of leaf hashes that end at or below the minimum index are removed. The tiles above them stay (a 256th of
//! the size): with them each checkpoint of as many records or more is computed, and tied to every later one. What below the
//! minimum index is still needed stays, too: the bundles of records that are kept, and the hashes beside a time-stamped checkpoint.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, read_at_most, walk};
use crate::key::LogKey;
use crate::key_chain::{KeyChain, in_history};
use crate::ledger::{LedgerError, at, damaged, locked};
use crate::note::{NoteError, SignedNote};
use crate::tile::{TILE_WIDTH, TileId, TileKind};
use crate::tlog_proof::canonical;
use crate::vkey::VerifierKey;
use crate::witnessed::{published_checkpoint, stamped_sizes};
use crate::{Checkpoint, CheckpointError};

pub(crate) const MINIMUM: &str = "minimum";

/// Longest such note: a name twice, a number, a signature.
pub(crate) const MINIMUM_BYTES_MAX: usize = 2 * 1024;

/// First line of the note.
const HEADER: &str = "watchkeeper/minimum/1";

/// From which index on a log has its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minimum {
    /// The log's name.
    pub origin: String,
    /// Entries below it may be gone.
    pub index: u64,
}

/// Why a note is not the log's minimum index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MinimumError {
    /// No note, or not signed.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The text.
    #[error("must have three lines: `{HEADER}`, the log's name, the minimum index")]
    Form,
    /// Another log's.
    #[error("is of the log {0}")]
    Origin(String),
    /// Signed by nobody who may.
    #[error("is not signed by a key of the log that signs checkpoints of {0} records or more")]
    Unsigned(u64),
}

/// What pruning took, or would take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Pruned {
    /// Entries below it may be gone.
    pub minimum: u64,
    /// Tiles and entry bundles that went.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Tiles and entry bundles below the minimum index that stay.
    pub kept: u64,
}

impl Minimum {
    fn text(&self) -> String {
        format!("{HEADER}\n{}\n{}\n", self.origin, self.index)
    }

    /// Signs it with the newest key, which every later checkpoint is signed with until the keys are rotated; then it is signed anew.
    pub(crate) fn sign(&self, key: &LogKey) -> Result<SignedNote, NoteError> {
        key.sign(&self.text())
    }

    /// Reads and verifies the note of a log whose published checkpoint covers `size` records: an Ed25519 key that signs checkpoints of
    /// that size or larger ones has signed it, as all that the log signs beside its checkpoints.
    pub(crate) fn open(note: &[u8], keys: &KeyChain, size: u64) -> Result<Self, MinimumError> {
        let note = SignedNote::parse(note)?;
        let mut lines = note.text().lines();
        let (Some(HEADER), Some(origin), Some(index), None) =
            (lines.next(), lines.next(), lines.next().and_then(canonical), lines.next())
        else {
            return Err(MinimumError::Form);
        };
        let minimum = Self { origin: origin.to_owned(), index };
        if minimum.text() != note.text() {
            return Err(MinimumError::Form);
        }
        if origin != keys.origin() {
            return Err(MinimumError::Origin(minimum.origin));
        }
        let is_by = |key: &&VerifierKey| note.signatures().iter().any(|by| by.is_by(key));
        let signer = keys.since(size).filter(|key| in_history(key)).find(is_by).ok_or(MinimumError::Unsigned(size))?;
        note.verify(signer)?;
        Ok(minimum)
    }

    /// The first record from which on every leaf is there: the minimum index, down to where a tile begins.
    pub(crate) fn first_leaf(&self) -> u64 {
        first_leaf(self.index)
    }
}

fn first_leaf(index: u64) -> u64 {
    index - index % u64::from(TILE_WIDTH)
}

/// The minimum index of the ledger of a data directory; 0 for a log that was never pruned.
///
/// # Errors
/// [`LedgerError`] when the note cannot be read or is not the log's.
pub fn minimum_index(data_dir: &Path, keys: &KeyChain) -> Result<u64, LedgerError> {
    let path = data_dir.join("ledger").join(MINIMUM);
    let Some(note) = read_at_most(&path, MINIMUM_BYTES_MAX).map_err(at(&path))? else { return Ok(0) };
    let minimum = Minimum::open(&note, keys, sealed(data_dir)?).map_err(|error| damaged(MINIMUM, error.to_string()))?;
    Ok(minimum.index)
}

/// Prunes the ledger of a data directory: sets its minimum index, and removes the full entry bundles and tiles of leaf hashes that
/// end at or below it, but for those that hold a leaf of `kept`. A server may seal meanwhile. With an index that is set already, what
/// an interrupted pruning left is removed. Without `key` nothing is done, and what it would be is told.
///
/// Whoever calls answers for it that nobody needs the entries any more.
///
/// # Errors
/// [`LedgerError`]; the note is durable before anything is removed.
pub fn prune(
    data_dir: &Path,
    keys: &KeyChain,
    key: Option<&LogKey>,
    index: u64,
    kept: &BTreeSet<u64>,
) -> Result<Pruned, LedgerError> {
    let ledger = data_dir.join("ledger");
    let size = sealed(data_dir)?;
    let known = minimum_index(data_dir, keys)?;
    if index > size {
        return Err(damaged(MINIMUM, format!("would be {index}, and {size} records are sealed")));
    }
    let index = index.max(known);
    let width = u64::from(TILE_WIDTH);
    let full = first_leaf(index) / width;
    let of_kept: BTreeSet<u64> = kept.iter().map(|seq| seq / width).collect();
    // A proof that the log went on from a time-stamped checkpoint takes the hashes at its end.
    let stamped: BTreeSet<u64> = stamped_sizes(data_dir).map_err(at(&ledger))?.iter().map(|size| size / width).collect();
    let stays =
        |tile: &TileId| of_kept.contains(&tile.index) || tile.kind == TileKind::Hashes(0) && stamped.contains(&tile.index);
    let mut pruned = Pruned { minimum: index, ..Pruned::default() };
    let mut disk = Disk::default();
    if let Some(key) = key.filter(|_| index > known) {
        let note = Minimum { origin: keys.origin().to_owned(), index }.sign(key).map_err(CheckpointError::from)?;
        let lock = locked(&ledger)?;
        let path = ledger.join(MINIMUM);
        disk.replace(&path, note.encode().as_bytes()).and_then(|()| disk.sync_dirs()).map_err(at(&path))?;
        drop(lock);
    }
    let mut gone: Vec<PathBuf> = Vec::new();
    walk(&ledger, &mut |path, is_dir| {
        let below =
            |tile: &TileId| tile.is_full() && tile.index < full && matches!(tile.kind, TileKind::Entries | TileKind::Hashes(0));
        if let Some(tile) = TileId::parse(path).filter(|tile| !is_dir && below(tile)) {
            if stays(&tile) {
                pruned.kept += 1;
            } else {
                pruned.files += 1;
                pruned.bytes += tile.bytes() as u64;
                gone.push(ledger.join(path));
            }
        }
        Ok(())
    })
    .map_err(at(&ledger))?;
    if key.is_some() {
        for path in gone {
            disk.remove(&path).map_err(at(&path))?;
        }
    }
    Ok(pruned)
}

fn sealed(data_dir: &Path) -> Result<u64, LedgerError> {
    let path = data_dir.join("ledger");
    let Some(note) = published_checkpoint(data_dir).map_err(at(&path))? else { return Ok(0) };
    Ok(Checkpoint::parse(note.text()).map_err(|error| damaged("checkpoint", error.to_string()))?.size)
}

/// What of the tiles below the first leaf of a pruned log is not what the tile above it says. `load` gives a tile, or the beginning
/// of a wider one; `below` are the tiles of leaf hashes and the entry bundles that are there.
pub(crate) mod upper {
    use super::*;
    use crate::tile::{ENTRY_BYTES, LEVELS, TILE_HEIGHT, entry};
    use crate::tree::{Hash, leaf_hash, root_of};

    /// A tile that is wrong, and how.
    pub(crate) type Wrong = (TileId, String);

    /// Compares each tile of the levels above the leaves that ends at or below `first` with the one above it.
    pub(crate) fn check<E>(first: u64, load: &mut impl FnMut(TileId) -> Result<Option<Vec<u8>>, E>) -> Result<Option<Wrong>, E> {
        for level in 1..LEVELS {
            let full = first.checked_shr(TILE_HEIGHT * (u32::from(level) + 1)).unwrap_or(0);
            for index in 0..full {
                let tile = TileId { kind: TileKind::Hashes(level), index, width: TILE_WIDTH };
                if let Some(wrong) = check_one(tile, load)? {
                    return Ok(Some(wrong));
                }
            }
        }
        Ok(None)
    }

    /// Compares one full tile, or an entry bundle, with the hash that the tile above it has of it.
    pub(crate) fn check_one<E>(
        tile: TileId,
        load: &mut impl FnMut(TileId) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Option<Wrong>, E> {
        let wrong = |what: &str| Ok(Some((tile, what.to_owned())));
        let Some(bytes) = load(tile)? else { return wrong("is missing") };
        if bytes.len() != tile.bytes() {
            return wrong("has a wrong length");
        }
        let (level, root) = match tile.kind {
            TileKind::Hashes(level) => (level, root_of(bytes.as_chunks().0.iter().copied())),
            TileKind::Entries => {
                let hashes: Option<Vec<Hash>> =
                    bytes.as_chunks::<ENTRY_BYTES>().0.iter().map(|bytes| entry(bytes).map(|leaf| leaf_hash(leaf))).collect();
                let Some(hashes) = hashes else { return wrong("has an entry that is no leaf") };
                (0, root_of(hashes))
            }
        };
        let above = TileId::at(TileKind::Hashes(level + 1), tile.index);
        let Some(hashes) = load(above)? else { return Ok(Some((above, "is missing".to_owned()))) };
        let item = usize::from(above.width) - 1;
        if hashes.as_chunks::<32>().0.get(item) == Some(&root) {
            Ok(None)
        } else {
            wrong("does not have the root that the tile above it says")
        }
    }
}

/// What is said of a tile that a pruning took while it was to be read.
pub(crate) fn pruned_meanwhile() -> io::Error {
    io::Error::other("the log was pruned while it was read; run it again")
}
