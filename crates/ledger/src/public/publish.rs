//! Copies the ledger of a data directory to a place where anybody can read it.
//!
//! Order, so that whoever reads meanwhile can verify what the checkpoint says, and a process that ends anywhere leaves what the next
//! one goes on from: keys; tiles and entries, which never change; the checkpoint; what others said of checkpoints; heartbeats; at
//! last the removal of what a longer tile or the pruning has made needless. The checkpoint that is published is the place from
//! which the next round goes on, so that nothing is left out, whatever was lost here.

use std::io;
use std::path::{Path, PathBuf};

use event::Kind;
use serde::{Deserialize, Serialize};

use super::{
    HEARTBEAT_INDEX, INDEX_BYTES_MAX, PlaceError, PublicPlace, TIMESTAMP_INDEX, encode_index, heartbeat_name, parse_index,
    read_tile, timestamp_name,
};
use crate::checkpoint::{CHECKPOINT_BYTES_MAX, Checkpoint};
use crate::disk::read_at_most;
use crate::key_chain::{KEYS_BYTES_MAX, KeyChain, VKEY_FILE_BYTES_MAX};
use crate::leaf::Leaf;
use crate::ledger::{CHECKPOINT, KEYS, VKEY};
use crate::minimum::{MINIMUM, MINIMUM_BYTES_MAX, Minimum, upper};
use crate::note::NOTE_BYTES_MAX;
use crate::proof::{self, TileReader, verify_consistency};
use crate::tile::{ENTRY_BYTES, LEVELS, TILE_WIDTH, TileBuilder, TileId, TileKind, entry};
use crate::witnessed::{WITNESSED, stamped_checkpoints, stamped_sizes};

/// Files that are put at once.
const FILES_AT_ONCE: usize = 32;

/// How far publication is: what is there need not be asked for again. All of it can be lost; then more is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// Records that the published checkpoint covers.
    pub size: u64,
    /// Time stamps of checkpoints of up to so many records are there.
    pub stamped: u64,
    /// Heartbeats among the records before this one are there.
    pub heartbeats: u64,
    /// Entries below this index are gone where retention let them go.
    pub minimum: u64,
}

/// Why nothing, or not all, was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The place.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// A file here.
    #[error("ledger: {path}: {source}")]
    File {
        /// What was read.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The ledger here is not whole: what is not proved here is not published.
    #[error("ledger/{file} {what}; it is not published: run `watchkeeper verify`")]
    Damaged {
        /// Which file.
        file: String,
        /// What is wrong with it.
        what: String,
    },
    /// What is published is not this log's.
    #[error(
        "the published {file} is not of this log ({what}): another log is published there, or it was changed; nothing is put over it"
    )]
    OtherLog {
        /// Which file.
        file: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// The ledger here is older than what was published.
    #[error(
        "this ledger was rolled back: it has {here} records, and a checkpoint of {published} is published, signed by this log; bring \
         back what is missing, or keep this directory as evidence"
    )]
    RolledBack {
        /// Records that are sealed here.
        here: u64,
        /// Records that the published checkpoint covers.
        published: u64,
    },
    /// Two histories.
    #[error(
        "this log has forked: its first {size} records are not those of the published checkpoint, which this log signed; nothing is \
         put over it: keep both as evidence"
    )]
    Forked {
        /// Records that the published checkpoint covers.
        size: u64,
    },
    /// A record that was to be published.
    #[error("record {seq} cannot be read to be published: {what}")]
    Record {
        /// Which.
        seq: u64,
        /// Why.
        what: String,
    },
}

impl PublishError {
    /// Whether it may be over at the next try: somebody else's service, or this machine, did not do what it should. Else the two do
    /// not agree, and somebody must look.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Place(PlaceError::Failed { .. }) | Self::File { .. } | Self::Record { .. })
    }
}

/// Gives the disclosure of a record as JSON if it is a heartbeat. It is asked for records of the kind `admin` alone.
pub type Heartbeat<'h> = &'h mut dyn FnMut(u64) -> Result<Option<Vec<u8>>, String>;

/// Publishes what is new in the ledger of a data directory, and moves `reached` with each step. A server may seal meanwhile.
///
/// # Errors
/// [`PublishError`]; what was put before stays, and the next call goes on.
pub fn publish(
    data_dir: &Path,
    place: &dyn PublicPlace,
    reached: &mut Published,
    heartbeat: Heartbeat<'_>,
) -> Result<(), PublishError> {
    let mut log = Log { dir: data_dir, ledger: data_dir.join("ledger"), place, keys: None, minimum: None };
    let Some((checkpoint, note)) = log.here()? else { return Ok(()) };
    let (before, note_before) = log.there()?.unzip();
    reached.size = before.as_ref().map_or(0, |before| before.size);
    log.go_on(before.as_ref(), &checkpoint)?;
    log.put_keys()?;
    if reached.size < checkpoint.size {
        log.put_tiles(reached.size, &checkpoint)?;
        // Only over the one that this goes on from: who else publishes here meanwhile would make a fork of it.
        place.exchange(CHECKPOINT, note_before.as_deref(), &note)?;
        let was = std::mem::replace(&mut reached.size, checkpoint.size);
        log.remove_partials(was, checkpoint.size)?;
    }
    log.put_witnessed(&checkpoint)?;
    log.put_timestamps(&checkpoint, &mut reached.stamped)?;
    log.put_heartbeats(&checkpoint, &mut reached.heartbeats, heartbeat)?;
    log.prune(&mut reached.minimum)
}

/// Takes a tile that is full now.
type Full<'f> = &'f mut dyn FnMut(TileId, &[u8]) -> Result<(), PublishError>;

struct Log<'p> {
    dir: &'p Path,
    ledger: PathBuf,
    place: &'p dyn PublicPlace,
    keys: Option<Keys>,
    /// The minimum index of the ledger here, where it was pruned, and the note that says so.
    minimum: Option<(Minimum, Vec<u8>)>,
}

struct Keys {
    chain: KeyChain,
    first: Vec<u8>,
    rotations: Option<Vec<u8>>,
}

impl Log<'_> {
    fn read(&self, file: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, PublishError> {
        let path = self.ledger.join(file);
        let bytes = read_at_most(&path, bytes_max).map_err(|source| PublishError::File { path, source })?;
        match bytes {
            Some(bytes) if bytes.len() > bytes_max => Err(damaged(file, "is too long")),
            bytes => Ok(bytes),
        }
    }

    /// The checkpoint that the ledger has, and its bytes.
    fn here(&mut self) -> Result<Option<(Checkpoint, Vec<u8>)>, PublishError> {
        let Some(note) = self.read(CHECKPOINT, CHECKPOINT_BYTES_MAX)? else { return Ok(None) };
        // Behind the checkpoint: the keys that sign it are there before it is.
        let first = self.read(VKEY, VKEY_FILE_BYTES_MAX)?.ok_or_else(|| damaged(VKEY, "is missing"))?;
        let rotations = self.read(KEYS, KEYS_BYTES_MAX)?;
        let chain = KeyChain::parse(&first, rotations.as_deref()).map_err(|error| damaged(KEYS, error))?;
        let checkpoint = chain.open_published(&note).map_err(|error| damaged(CHECKPOINT, error))?;
        if let Some(note) = self.read(MINIMUM, MINIMUM_BYTES_MAX)? {
            // A seal and a pruning may have come since the checkpoint was read.
            let minimum = Minimum::open(&note, &chain, checkpoint.size).map_err(|error| damaged(MINIMUM, error))?;
            self.minimum = Some((minimum, note)).filter(|(minimum, _)| minimum.index <= checkpoint.size);
        }
        self.keys = Some(Keys { chain, first, rotations });
        Ok(Some((checkpoint, note)))
    }

    fn keys(&self) -> Result<&Keys, PublishError> {
        self.keys.as_ref().ok_or_else(|| damaged(VKEY, "is missing"))
    }

    /// The checkpoint that is published, if one is, and its bytes.
    fn there(&self) -> Result<Option<(Checkpoint, Vec<u8>)>, PublishError> {
        let Some(note) = self.published(CHECKPOINT, NOTE_BYTES_MAX)? else { return Ok(None) };
        let opened = self.keys()?.chain.open(&note).map_err(|error| other_log(CHECKPOINT, error))?;
        Ok(Some((opened, note)))
    }

    /// The bytes of a published file that changes.
    fn published(&self, file: &'static str, bytes_max: usize) -> Result<Option<Vec<u8>>, PublishError> {
        let bytes = self.place.get(file, bytes_max)?;
        if bytes.as_ref().is_some_and(|bytes| bytes.len() > bytes_max) {
            return Err(other_log(file, format!("it has more than {bytes_max} bytes")));
        }
        Ok(bytes)
    }

    /// That the ledger's tree goes on from the published one.
    fn go_on(&self, before: Option<&Checkpoint>, checkpoint: &Checkpoint) -> Result<(), PublishError> {
        let Some(before) = before else { return Ok(()) };
        if before.size > checkpoint.size {
            return Err(PublishError::RolledBack { here: checkpoint.size, published: before.size });
        }
        if self.tree_of(before.size)?.root() == before.root { Ok(()) } else { Err(PublishError::Forked { size: before.size }) }
    }

    fn tile(&self, tile: TileId) -> Result<Vec<u8>, PublishError> {
        let bytes = read_tile(&self.ledger, tile)
            .map_err(|source| PublishError::File { path: self.ledger.join(tile.to_string()), source })?;
        bytes.ok_or_else(|| damaged(tile, "is missing or has a wrong length"))
    }

    /// The tree over the first records, as the tiles have it.
    fn tree_of(&self, size: u64) -> Result<TileBuilder, PublishError> {
        let built = TileBuilder::resume(size, |tile| self.tile(tile))?;
        built.ok_or_else(|| damaged("tile", "has a partial tile of a wrong length"))
    }

    /// What never changes of the keys, and the rotations, which only grow.
    fn put_keys(&self) -> Result<(), PublishError> {
        let Keys { first, rotations, .. } = self.keys()?;
        match self.place.create(VKEY, first) {
            Err(PlaceError::Differs(_)) => return Err(other_log(VKEY, "it names other keys")),
            other => other?,
        }
        let Some(rotations) = rotations else { return Ok(()) };
        let there = self.published(KEYS, KEYS_BYTES_MAX)?;
        if there.as_ref() == Some(rotations) {
            return Ok(());
        }
        if !rotations.starts_with(there.as_deref().unwrap_or_default()) {
            return Err(other_log(KEYS, "it tells of other rotations"));
        }
        Ok(self.place.exchange(KEYS, there.as_deref(), rotations)?)
    }

    /// The tiles that the tree of `checkpoint` has and that of `from` records had not. They are computed from the leaves, and nothing
    /// is put that does not lead to the root that is signed: what is put stays for good.
    fn put_tiles(&self, from: u64, checkpoint: &Checkpoint) -> Result<(), PublishError> {
        let pruned = self.minimum.as_ref().map_or(0, |(minimum, _)| minimum.first_leaf());
        let from = from.max(pruned);
        let checked = self.grow(from, checkpoint.size, &mut |_, _| Ok(()))?;
        if checked.root() != checkpoint.root {
            return Err(damaged("tile", "does not have the root that the checkpoint signs"));
        }
        if from == pruned && from > 0 {
            self.put_pruned(from)?;
        }
        let mut waiting: Vec<(String, Vec<u8>)> = Vec::new();
        let grown = self.grow(from, checkpoint.size, &mut |tile, bytes| {
            waiting.push((tile.to_string(), bytes.to_vec()));
            if waiting.len() >= FILES_AT_ONCE {
                self.place.create_all(&std::mem::take(&mut waiting))?;
            }
            Ok(())
        })?;
        waiting.extend(grown.partials().map(|(tile, bytes)| (tile.to_string(), bytes.to_vec())));
        Ok(self.place.create_all(&waiting)?)
    }

    /// A log that was pruned before it is published at a new place: what is still there of the tree below its first leaf.
    fn put_pruned(&self, first: u64) -> Result<(), PublishError> {
        let mut load = |tile: TileId| {
            let read = read_tile(&self.ledger, tile);
            read.map_err(|source| PublishError::File { path: self.ledger.join(tile.to_string()), source })
        };
        if let Some((tile, what)) = upper::check(first, &mut load)? {
            return Err(damaged(tile, what));
        }
        let kinds = std::iter::once(TileKind::Entries).chain((0..LEVELS).map(TileKind::Hashes));
        for tile in kinds.flat_map(|kind| (0..kind.full(first)).map(move |index| TileId { kind, index, width: TILE_WIDTH })) {
            let Some(bytes) = load(tile)? else { continue };
            if matches!(tile.kind, TileKind::Entries | TileKind::Hashes(0))
                && let Some((tile, what)) = upper::check_one(tile, &mut load)?
            {
                return Err(damaged(tile, what));
            }
            self.place.create(&tile.to_string(), &bytes)?;
        }
        Ok(())
    }

    /// Lets the tree of `from` records grow to `to`, and tells of each tile that is full then.
    fn grow(&self, from: u64, to: u64, full: Full<'_>) -> Result<TileBuilder, PublishError> {
        let log_id = self.keys()?.chain.first().log_id();
        let mut tree = self.tree_of(from)?;
        while tree.size() < to {
            let first = tree.size();
            let end = to.min((first / WIDTH + 1) * WIDTH);
            let bundle = TileId::at(TileKind::Entries, end - 1);
            let bytes = self.tile(bundle)?;
            let entries = bytes.as_chunks::<ENTRY_BYTES>().0.iter().map(entry);
            for (leaf, seq) in entries.skip(usize::try_from(first % WIDTH).unwrap_or(0)).zip(first..end) {
                let ours = |leaf: &Leaf| leaf.seq == seq && leaf.log_id == log_id;
                let leaf = leaf.filter(|leaf| Leaf::decode(leaf).is_some_and(|leaf| ours(&leaf)));
                let leaf = leaf.ok_or_else(|| damaged(bundle, format!("has no leaf of this log for record {seq}")))?;
                let mut outcome = Ok(());
                tree.push(leaf, |tile, bytes| {
                    if tile.is_full() && outcome.is_ok() {
                        outcome = full(tile, bytes);
                    }
                });
                outcome?;
            }
        }
        Ok(tree)
    }

    /// Partial tiles whose full one is there now. Those of other sizes stay, as the specification asks.
    fn remove_partials(&self, was: u64, size: u64) -> Result<(), PublishError> {
        for tile in TileId::partials(was).filter(|tile| tile.index < tile.kind.full(size)) {
            let full = TileId { width: TILE_WIDTH, ..tile };
            let dir = format!("{full}.p");
            for name in self.place.list(&dir)? {
                let is_ours = TileId::parse(&name).is_some_and(|there| (there.kind, there.index) == (tile.kind, tile.index));
                if is_ours {
                    self.place.remove(&name)?;
                }
            }
        }
        Ok(())
    }

    fn put_witnessed(&self, checkpoint: &Checkpoint) -> Result<(), PublishError> {
        let Some(note) = self.read(WITNESSED, NOTE_BYTES_MAX)? else { return Ok(()) };
        let keys = &self.keys()?.chain;
        let witnessed = keys.open(&note).map_err(|error| damaged(WITNESSED, error))?;
        // One of a checkpoint that came while this one was published waits for the next round.
        if witnessed.size > checkpoint.size {
            return Ok(());
        }
        let there = self.published(WITNESSED, NOTE_BYTES_MAX)?;
        if let Some(there) = &there {
            let known = keys.open(there).map_err(|error| other_log(WITNESSED, error))?;
            if *there == note || known.size > witnessed.size {
                return Ok(());
            }
        }
        let hashes = proof::consistency(&TileReader::new(self.dir, checkpoint.size), witnessed.size, checkpoint.size)
            .map_err(|error| damaged("tile", error))?;
        verify_consistency(witnessed.size, &witnessed.root, checkpoint.size, &checkpoint.root, &hashes)
            .map_err(|_| damaged(WITNESSED, "signs a root that this log does not have"))?;
        Ok(self.place.exchange(WITNESSED, there.as_deref(), &note)?)
    }

    fn put_timestamps(&self, checkpoint: &Checkpoint, reached: &mut u64) -> Result<(), PublishError> {
        let file = |source| PublishError::File { path: self.ledger.join("timestamps"), source };
        let mut sizes = stamped_sizes(self.dir).map_err(file)?;
        sizes.retain(|size| *size <= checkpoint.size);
        let new = sizes.split_off(&(*reached + 1));
        let Some(&last) = new.last() else { return Ok(()) };
        for stamped in stamped_checkpoints(self.dir, &new).map_err(file)? {
            let name = timestamp_name(stamped.size);
            self.place.create(&format!("{name}.checkpoint"), &stamped.note)?;
            self.place.create(&format!("{name}.tsr"), &stamped.answer)?;
        }
        let index = encode_index(new.iter().rev().chain(sizes.iter().rev()).copied());
        let there = self.published(TIMESTAMP_INDEX, INDEX_BYTES_MAX)?;
        self.place.exchange(TIMESTAMP_INDEX, there.as_deref(), index.as_bytes())?;
        *reached = last;
        Ok(())
    }

    fn put_heartbeats(&self, checkpoint: &Checkpoint, reached: &mut u64, heartbeat: Heartbeat<'_>) -> Result<(), PublishError> {
        let mut new = Vec::new();
        let pruned = self.minimum.as_ref().map_or(0, |(minimum, _)| minimum.first_leaf());
        let mut at = pruned.max(*reached);
        while at < checkpoint.size {
            let end = checkpoint.size.min((at / WIDTH + 1) * WIDTH);
            let bytes = self.tile(TileId::at(TileKind::Entries, end - 1))?;
            let entries = bytes.as_chunks::<ENTRY_BYTES>().0.iter().map(entry);
            for (leaf, seq) in entries.skip(usize::try_from(at % WIDTH).unwrap_or(0)).zip(at..end) {
                if leaf.and_then(Leaf::decode).is_some_and(|leaf| leaf.kind == Kind::Admin.code())
                    && let Some(json) = heartbeat(seq).map_err(|what| PublishError::Record { seq, what })?
                {
                    self.place.create(&heartbeat_name(seq), &json)?;
                    new.push(seq);
                }
            }
            at = end;
        }
        if !new.is_empty() {
            let there = self.published(HEARTBEAT_INDEX, INDEX_BYTES_MAX)?;
            let known = parse_index(there.as_deref().unwrap_or_default())
                .ok_or_else(|| other_log(HEARTBEAT_INDEX, "it is no list of records"))?;
            let known = known.into_iter().filter(|seq| new.first().is_some_and(|first| seq < first));
            let index = encode_index(new.iter().rev().copied().chain(known));
            self.place.exchange(HEARTBEAT_INDEX, there.as_deref(), index.as_bytes())?;
        }
        *reached = at;
        Ok(())
    }

    /// Takes away what was pruned here, behind the note that says so.
    fn prune(&self, reached: &mut u64) -> Result<(), PublishError> {
        let Some((minimum, note)) = &self.minimum else { return Ok(()) };
        let there = self.published(MINIMUM, MINIMUM_BYTES_MAX)?;
        if there.as_ref() != Some(note) {
            self.place.exchange(MINIMUM, there.as_deref(), note)?;
        }
        for index in *reached / WIDTH..minimum.index / WIDTH {
            for kind in [TileKind::Entries, TileKind::Hashes(0)] {
                let name = TileId { kind, index, width: TILE_WIDTH }.to_string();
                let path = self.ledger.join(&name);
                if !path.try_exists().map_err(|source| PublishError::File { path, source })? {
                    self.place.remove(&name)?;
                }
            }
        }
        *reached = minimum.index;
        Ok(())
    }
}

const WIDTH: u64 = TILE_WIDTH as u64;

fn damaged(file: impl ToString, what: impl ToString) -> PublishError {
    PublishError::Damaged { file: file.to_string(), what: what.to_string() }
}

fn other_log(file: &'static str, what: impl ToString) -> PublishError {
    PublishError::OtherLog { file, what: what.to_string() }
}
