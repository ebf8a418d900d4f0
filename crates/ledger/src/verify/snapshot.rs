//! What the ledger's directory holds, read between two seals.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};

use super::{Stop, VerifyError};
use crate::checkpoint::{CHECKPOINT_BYTES_MAX, Checkpoint, History};
use crate::disk::{TEMPORARY_SUFFIX, read_at_most, walk};
use crate::key_chain::{KEYS_BYTES_MAX, KeyChain, KeyChainError, VKEY_FILE_BYTES_MAX};
use crate::ledger::{CHECKPOINT, HISTORY, KEYS, VKEY, is_file_of_ledger};
use crate::minimum::{MINIMUM, MINIMUM_BYTES_MAX, Minimum, pruned_meanwhile};
use crate::note::NOTE_BYTES_MAX;
use crate::tile::{LEVELS, TILE_WIDTH, TileId, TileKind};
use crate::timestamp::TIMESTAMP_BYTES_MAX;
use crate::witnessed::{TIMESTAMPS, WITNESSED, timestamp_file, timestamp_size};

/// Most partial tiles that a crash can leave: those of the published tree, of the one before and of the one to come.
const PARTIAL_TILES_MAX: usize = 3 * (LEVELS as usize + 1);

/// Most time stamps: one each minute for two years.
const TIMESTAMPS_MAX: usize = 1 << 20;

/// The small and mutable parts of a ledger. Full tiles never change and are read later.
pub(super) struct Snapshot {
    pub(super) ledger: PathBuf,
    pub(super) keys: KeyChain,
    /// The published checkpoint and its bytes.
    pub(super) published: Option<(Checkpoint, Vec<u8>)>,
    /// The newest witnessed checkpoint.
    pub(super) witnessed: Option<Vec<u8>>,
    /// Each partial tile that lies there, the published ones and others.
    pub(super) partials: BTreeMap<TileId, Vec<u8>>,
    /// The first record of which the leaf must be there: 0 in a log that was never pruned.
    pub(super) first_leaf: u64,
    /// Full tiles of leaf hashes and entry bundles below that, which are needed still.
    pub(super) kept: BTreeSet<TileId>,
    /// Of each kind of tile the last full one that lies there.
    pub(super) last_full: BTreeMap<TileKind, u64>,
    /// The sizes of the checkpoints that have a time stamp.
    pub(super) timestamps: BTreeSet<u64>,
    history: Option<(File, u64)>,
}

impl Snapshot {
    /// Reads it; `None` when there is no ledger, or nothing in it.
    pub(super) fn take(data_dir: &Path, notes: &mut Vec<String>) -> Result<Option<Self>, Stop> {
        let ledger = data_dir.join("ledger");
        if std::fs::symlink_metadata(&ledger).is_ok_and(|metadata| metadata.is_symlink()) {
            return Err(Stop::fault("ledger", "is a link, and no part of a ledger is one"));
        }
        let dir = match File::open(&ledger) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(Stop::unreadable(&ledger))?,
        };
        // A copy on a medium that knows no locks has no writer.
        if let Err(error) = dir.lock_shared() {
            notes.push(format!("ledger could not be locked against a running server: {error}"));
        }
        if ledger.is_dir() && is_empty(&ledger).map_err(Stop::unreadable(&ledger))? {
            return Ok(None);
        }
        let keys = read_keys(&ledger)?;
        let path = ledger.join(CHECKPOINT);
        let published = match read_at_most(&path, CHECKPOINT_BYTES_MAX).map_err(Stop::unreadable(&path))? {
            Some(note) => {
                let checkpoint = keys.open_published(&note);
                let checkpoint = checkpoint.map_err(|error| Stop::fault(place(CHECKPOINT), error.to_string()))?;
                Some((checkpoint, note))
            }
            None => None,
        };
        let size = published.as_ref().map_or(0, |(checkpoint, _): &(Checkpoint, Vec<u8>)| checkpoint.size);
        let minimum = minimum(&ledger, &keys, size)?;
        if minimum.as_ref().is_some_and(|minimum| minimum.index > size) {
            return Err(Stop::fault(
                place(MINIMUM),
                format!("is beyond the {size} records that the published checkpoint covers"),
            ));
        }
        let first_leaf = minimum.map_or(0, |minimum| minimum.first_leaf());
        let Listing { partials, kept, last_full, timestamps } = list(&ledger, first_leaf, notes)?;
        let path = ledger.join(HISTORY);
        let history = match files::open_regular(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            other => {
                let file = other.map_err(Stop::unreadable(&path))?;
                let length = file.metadata().map_err(Stop::unreadable(&path))?.len();
                Some((file, length))
            }
        };
        let witnessed = ledger.join(WITNESSED);
        let witnessed = read_at_most(&witnessed, NOTE_BYTES_MAX).map_err(Stop::unreadable(&witnessed))?;
        drop(dir);
        Ok(Some(Self { ledger, keys, published, witnessed, partials, first_leaf, kept, last_full, timestamps, history }))
    }

    /// The history up to where it went when the snapshot was taken.
    pub(super) fn history(&mut self) -> Option<History<impl io::BufRead + use<>>> {
        self.history.take().map(|(file, length)| History::new(BufReader::new(file.take(length))))
    }

    /// How many leaves the published checkpoint covers.
    pub(super) fn sealed(&self) -> u64 {
        self.published.as_ref().map_or(0, |(checkpoint, _)| checkpoint.size)
    }

    /// The bytes of a tile, if it lies there; one byte more than it should have at most.
    pub(super) fn load(&self, tile: TileId) -> Result<Option<Vec<u8>>, Stop> {
        if let Some(bytes) = self.partials.get(&tile) {
            return Ok(Some(bytes.clone()));
        }
        let path = self.ledger.join(tile.to_string());
        read_at_most(&path, tile.bytes()).map_err(Stop::unreadable(&path))
    }
}

impl Snapshot {
    /// A tile, or the beginning of a wider one that is there.
    pub(super) fn load_prefix(&self, tile: TileId) -> Result<Option<Vec<u8>>, Stop> {
        let is_wider = |there: &TileId| (there.kind, there.index) == (tile.kind, tile.index) && there.width >= tile.width;
        let wider = self.partials.keys().find(|there| is_wider(there)).copied();
        let there = wider.unwrap_or(TileId { width: TILE_WIDTH, ..tile });
        let Some(mut bytes) = self.load(there)? else { return Ok(None) };
        if bytes.len() == there.bytes() {
            bytes.truncate(tile.bytes());
        }
        Ok(Some(bytes))
    }

    /// What a tile that is missing means: a fault, unless the log was pruned since the snapshot was taken.
    pub(super) fn missing(&self, tile: TileId) -> Stop {
        match minimum(&self.ledger, &self.keys, self.sealed()) {
            Ok(Some(now)) if now.first_leaf() > self.first_leaf => {
                Stop::Error(VerifyError::File { path: self.ledger.join(tile.to_string()), source: pruned_meanwhile() })
            }
            _ => Stop::fault(place(tile), "is missing"),
        }
    }

    /// The time stamp of the checkpoint of that size.
    pub(super) fn timestamp(&self, size: u64) -> Result<Vec<u8>, Stop> {
        let path = self.ledger.join(timestamp_file(size));
        let answer = read_at_most(&path, TIMESTAMP_BYTES_MAX).map_err(Stop::unreadable(&path))?;
        answer.ok_or_else(|| Stop::fault(place(timestamp_file(size)), "is missing"))
    }
}

/// Whether nothing was ever put there, but for what an interrupted write leaves.
fn is_empty(ledger: &Path) -> io::Result<bool> {
    let mut any = false;
    walk(ledger, &mut |path, _| {
        any |= !path.ends_with(TEMPORARY_SUFFIX);
        Ok(())
    })?;
    Ok(!any)
}

/// The place of a file in the ledger, as faults name it.
pub(super) fn place(file: impl std::fmt::Display) -> String {
    format!("ledger/{file}")
}

fn read_keys(ledger: &Path) -> Result<KeyChain, Stop> {
    let (vkey, rotations) = (ledger.join(VKEY), ledger.join(KEYS));
    let first = read_at_most(&vkey, VKEY_FILE_BYTES_MAX)
        .map_err(Stop::unreadable(&vkey))?
        .ok_or_else(|| Stop::fault(place(VKEY), "is missing"))?;
    let rotations = read_at_most(&rotations, KEYS_BYTES_MAX).map_err(Stop::unreadable(&rotations))?;
    if rotations.as_ref().is_some_and(Vec::is_empty) {
        return Err(Stop::fault(place(KEYS), "is empty, and no rotation leaves it so"));
    }
    KeyChain::parse(&first, rotations.as_deref()).map_err(|error| match &error {
        KeyChainError::First(_) => Stop::fault(place(VKEY), error.to_string()),
        _ => Stop::fault(place(KEYS), error.to_string()),
    })
}

/// The minimum index of a log whose published checkpoint covers `size` records, where it was pruned.
fn minimum(ledger: &Path, keys: &KeyChain, size: u64) -> Result<Option<Minimum>, Stop> {
    let path = ledger.join(MINIMUM);
    let Some(note) = read_at_most(&path, MINIMUM_BYTES_MAX).map_err(Stop::unreadable(&path))? else { return Ok(None) };
    Minimum::open(&note, keys, size).map(Some).map_err(|error| Stop::fault(place(MINIMUM), error.to_string()))
}

struct Listing {
    partials: BTreeMap<TileId, Vec<u8>>,
    kept: BTreeSet<TileId>,
    last_full: BTreeMap<TileKind, u64>,
    timestamps: BTreeSet<u64>,
}

/// Lists the directory; a file that no ledger writes is a fault, because nobody would verify its bytes.
fn list(ledger: &Path, first_leaf: u64, notes: &mut Vec<String>) -> Result<Listing, Stop> {
    let mut partials = Vec::new();
    let mut kept = BTreeSet::new();
    let below = first_leaf / u64::from(TILE_WIDTH);
    let mut last_full = BTreeMap::new();
    let mut timestamps = BTreeSet::new();
    let mut temporaries = 0_u64;
    let mut unexpected = None;
    let mut too_many = false;
    walk(ledger, &mut |path, is_dir| {
        if is_dir {
            if !is_dir_of_ledger(path) {
                unexpected.get_or_insert((path.to_owned(), "directory"));
            }
        } else if let Some(tile) = TileId::parse(path) {
            if tile.is_full() {
                let last = last_full.entry(tile.kind).or_insert(0);
                *last = tile.index.max(*last);
                if tile.index < below && matches!(tile.kind, TileKind::Entries | TileKind::Hashes(0)) {
                    kept.insert(tile);
                }
            } else if partials.len() < PARTIAL_TILES_MAX {
                partials.push(tile);
            } else {
                too_many = true;
            }
        } else if let Some(size) = timestamp_size(path) {
            too_many |= timestamps.len() == TIMESTAMPS_MAX;
            if !too_many {
                timestamps.insert(size);
            }
        } else if path.strip_suffix(TEMPORARY_SUFFIX).is_some_and(is_file_of_ledger) {
            temporaries += 1;
        } else if !is_file_of_ledger(path) {
            unexpected.get_or_insert((path.to_owned(), "file"));
        }
        Ok(())
    })
    .map_err(Stop::unreadable(ledger))?;
    if let Some((path, what)) = unexpected {
        return Err(Stop::fault(place(path), format!("unexpected {what}: a ledger has none of that name")));
    }
    if too_many {
        return Err(Stop::fault(
            place("tile"),
            format!(
                "has more than the {PARTIAL_TILES_MAX} partial tiles that a crash can leave, or {TIMESTAMPS_MAX} time stamps"
            ),
        ));
    }
    if temporaries > 0 {
        notes.push(format!("{temporaries} temporary files are left over from an interrupted write; the next start removes them"));
    }
    let mut contents = BTreeMap::new();
    for tile in partials {
        let path = ledger.join(tile.to_string());
        let bytes = read_at_most(&path, tile.bytes()).map_err(Stop::unreadable(&path))?;
        contents
            .insert(tile, bytes.ok_or_else(|| Stop::Error(VerifyError::File { path, source: io::ErrorKind::NotFound.into() }))?);
    }
    Ok(Listing { partials: contents, kept, last_full, timestamps })
}

/// `tile`, `tile/0`, `tile/entries/x001`, `tile/entries/x001/234.p` and their like.
fn is_dir_of_ledger(path: &str) -> bool {
    // A directory is right if a tile could lie in it: the first of a thousand, or a partial one.
    path == "tile"
        || path == TIMESTAMPS
        || TileId::parse(&format!("{path}/000")).is_some()
        || path.ends_with(".p") && TileId::parse(&format!("{path}/1")).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_those_in_which_tiles_lie() {
        for good in
            ["tile", "tile/0", "tile/7", "tile/entries", "tile/0/x001", "tile/0/x001/x000", "tile/0/000.p", "tile/0/x001/234.p"]
        {
            assert!(is_dir_of_ledger(good), "{good}");
        }
        for bad in [
            "",
            "til",
            "tile/8",
            "tile/x",
            "tile/0/000",
            "tile/0/x000",
            "tile/0/x001/x00",
            "tile/0/000.p/1",
            "tile/.p",
            "tile/0/.p",
        ] {
            assert!(!is_dir_of_ledger(bad), "{bad}");
        }
    }
}
