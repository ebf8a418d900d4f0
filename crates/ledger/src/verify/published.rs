//! The pass over a public log: leaves are read from its entry bundles, tiles and root are computed and compared as they come.

use std::collections::BTreeMap;
use std::mem::take;

use event::{Kind, Timestamp};

use super::signed::{by_stranger, cosigned, known_keys, not_cosigned, stamped_at};
use super::{Report, Stop, Trust, VerifyError};
use crate::checkpoint::{Checkpoint, HISTORY_NOTE_BYTES_MAX};
use crate::disclosure::Disclosure;
use crate::key_chain::{KEYS_BYTES_MAX, KeyChain, KeyChainError, VKEY_FILE_BYTES_MAX};
use crate::leaf::{LEAF_BYTES, Leaf};
use crate::ledger::{CHECKPOINT, KEYS, VKEY};
use crate::minimum::{MINIMUM, MINIMUM_BYTES_MAX, Minimum, upper};
use crate::note::NOTE_BYTES_MAX;
use crate::public::{
    HEARTBEAT_BYTES_MAX, HEARTBEAT_INDEX, INDEX_BYTES_MAX, PlaceError, PublicFiles, TIMESTAMP_INDEX, heartbeat_name, parse_index,
    timestamp_name,
};
use crate::tile::{ENTRY_BYTES, TILE_WIDTH, TileBuilder, TileId, TileKind, entry};
use crate::timestamp::TIMESTAMP_BYTES_MAX;
use crate::tombstone::Erasures;
use crate::tree::Hash;
use crate::witnessed::{TIMESTAMPS, WITNESSED};

/// Files that are asked for at once: enough to hide the way over a network, and 2 MB at the most.
const FILES_AT_ONCE: usize = 32;

/// The name of a heartbeat's event, as JSON.
const HEARTBEAT_EVENT: &str = "\"recorder.heartbeat\"";

/// The way into the record that nothing from outside has.
const INTERNAL: &str = "internal";

const WIDTH: u64 = TILE_WIDTH as u64;

const HASH_BYTES: usize = 32;

/// What faults name when the checkpoint that the verifier kept and the log do not agree.
const KEPT: &str = "the checkpoint that you kept";

pub(super) fn run(place: &dyn PublicFiles, trust: &Trust, kept: Option<&[u8]>, report: &mut Report) -> Result<(), Stop> {
    let mut stranger = None;
    let passed = pass(place, trust, kept, report, &mut stranger);
    by_stranger(passed, stranger, VKEY, KEYS)
}

fn pass(
    place: &dyn PublicFiles,
    trust: &Trust,
    kept: Option<&[u8]>,
    report: &mut Report,
    stranger: &mut Option<String>,
) -> Result<(), Stop> {
    // In the order against that in which they are put: what is read first is never ahead of what is read later.
    let heartbeats = index(place, HEARTBEAT_INDEX)?;
    let stamps = index(place, TIMESTAMP_INDEX)?;
    let witnessed = get(place, WITNESSED, NOTE_BYTES_MAX)?;
    let published = get(place, CHECKPOINT, NOTE_BYTES_MAX)?;
    let keys = keys(place, published.is_some())?;
    *stranger = known_keys(VKEY, &keys, trust, report);
    let published = published.ok_or_else(|| Stop::fault(CHECKPOINT, "is missing"))?;
    let checkpoint = keys.open(&published).map_err(|error| Stop::fault(CHECKPOINT, error.to_string()))?;
    (report.sealed, report.records, report.root) = (checkpoint.size, checkpoint.size, checkpoint.root);
    let minimum = match get(place, MINIMUM, MINIMUM_BYTES_MAX)? {
        None => 0,
        Some(note) => {
            // A checkpoint that came since may have made room for a larger one.
            let minimum =
                Minimum::open(&note, &keys, checkpoint.size).map_err(|error| Stop::fault(MINIMUM, error.to_string()))?;
            minimum.first_leaf().min(checkpoint.size - checkpoint.size % WIDTH)
        }
    };
    report.first_leaf = minimum;
    let mut log = Public { place, keys, size: checkpoint.size, first: minimum, due: BTreeMap::new(), disclosed: BTreeMap::new() };
    match &witnessed {
        None => not_cosigned(WITNESSED, trust.policy.as_ref(), report),
        Some(note) => {
            let witnessed = cosigned(WITNESSED, note, &log.keys, trust.policy.as_ref(), report)?;
            log.due(WITNESSED, witnessed)?;
        }
    }
    if let Some(kept) = kept {
        // As it is published, or as the history and time stamps have it.
        let opened = log.keys.open(kept).or_else(|error| log.keys.open_history(kept).map_err(|_| error));
        let kept = opened.map_err(|error| Stop::fault(KEPT, error.to_string()))?;
        if kept.size < minimum {
            report
                .unmet
                .push(format!("that the log goes on from {KEPT}: it covers {} records, and the log was pruned", kept.size));
        }
        log.due(KEPT, kept)?;
    }
    log.stamps(&stamps, trust, report)?;
    log.heartbeats(&heartbeats, report)?;
    let behind = log.due.range(..minimum).count();
    let root = log.tiles(minimum)?;
    if root != checkpoint.root {
        return Err(Stop::fault(CHECKPOINT, "signs another root than that of the published leaves"));
    }
    report.checkpoints = 1 + log.due.range(minimum..).filter(|(size, _)| **size < checkpoint.size).count() as u64;
    if minimum > 0 {
        report.notes.push(format!(
            "the log was pruned: it proves every entry from {minimum} on, and those before it by the tiles above them; of {behind} \
             checkpoints of fewer records the signatures alone were verified"
        ));
    }
    Ok(())
}

/// A file; one that is longer than it may be is a fault.
fn get(place: &dyn PublicFiles, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, Stop> {
    match place.get(name, bytes_max).map_err(unreadable)? {
        Some(bytes) if bytes.len() > bytes_max => Err(Stop::fault(name, format!("has more than {bytes_max} bytes"))),
        bytes => Ok(bytes),
    }
}

fn index(place: &dyn PublicFiles, name: &str) -> Result<Vec<u64>, Stop> {
    let bytes = get(place, name, INDEX_BYTES_MAX)?.unwrap_or_default();
    parse_index(&bytes).ok_or_else(|| Stop::fault(name, "is no list of numbers, each smaller than the one before"))
}

fn keys(place: &dyn PublicFiles, is_published: bool) -> Result<KeyChain, Stop> {
    let first = match get(place, VKEY, VKEY_FILE_BYTES_MAX)? {
        Some(first) => first,
        None if is_published => return Err(Stop::fault(VKEY, "is missing")),
        None => return Err(Stop::Error(VerifyError::NothingPublished)),
    };
    KeyChain::parse(&first, get(place, KEYS, KEYS_BYTES_MAX)?.as_deref()).map_err(|error| match &error {
        KeyChainError::First(_) => Stop::fault(VKEY, error.to_string()),
        _ => Stop::fault(KEYS, error.to_string()),
    })
}

struct Public<'p> {
    place: &'p dyn PublicFiles,
    keys: KeyChain,
    size: u64,
    /// The first record of which the leaf must be there.
    first: u64,
    /// The roots of smaller trees that something signs, and what does.
    due: BTreeMap<u64, (Hash, String)>,
    /// The leaves of records that are disclosed.
    disclosed: BTreeMap<u64, [u8; LEAF_BYTES]>,
}

impl Public<'_> {
    /// Notes that a file signs a root, to be compared with the tree.
    fn due(&mut self, file: &str, checkpoint: Checkpoint) -> Result<(), Stop> {
        let Checkpoint { size, root, .. } = checkpoint;
        if size > self.size {
            let what = format!("signs {size} records, and the published checkpoint {}: that one was rolled back", self.size);
            return Err(Stop::fault(file, what));
        }
        match self.due.insert(size, (root, file.to_owned())) {
            Some((other, before)) if other != root => {
                Err(Stop::fault(file, format!("signs another root of {size} records than {before}: the log has forked")))
            }
            _ => Ok(()),
        }
    }

    fn all(&self, wanted: &[(String, usize)]) -> Result<Vec<Vec<u8>>, Stop> {
        let got = self.place.get_all(wanted).map_err(unreadable)?;
        let files = wanted.iter().zip(got).map(|((name, bytes_max), bytes)| match bytes {
            None => Err(Stop::fault(name, "is missing")),
            Some(bytes) if bytes.len() > *bytes_max => Err(Stop::fault(name, format!("has more than {bytes_max} bytes"))),
            Some(bytes) => Ok(bytes),
        });
        files.collect()
    }

    fn stamps(&mut self, sizes: &[u64], trust: &Trust, report: &mut Report) -> Result<(), Stop> {
        let mut unmet = Vec::new();
        for size in sizes {
            let name = timestamp_name(*size);
            let (note_name, answer_name) = (format!("{name}.checkpoint"), format!("{name}.tsr"));
            let wanted = [(note_name.clone(), HISTORY_NOTE_BYTES_MAX), (answer_name.clone(), TIMESTAMP_BYTES_MAX)];
            let files = self.all(&wanted)?;
            let [note, answer] = files.as_slice() else { continue };
            let checkpoint = self.keys.open_history(note).map_err(|error| Stop::fault(&note_name, error.to_string()))?;
            if checkpoint.size != *size {
                return Err(Stop::fault(note_name, format!("signs {} records", checkpoint.size)));
            }
            self.due(&note_name, checkpoint)?;
            match stamped_at(&answer_name, answer, note, trust.tsa_roots.as_ref())? {
                Ok(time) => {
                    report.timestamps += 1;
                    // The largest comes first.
                    report.timestamped = report.timestamped.or(Some((*size, time)));
                }
                Err(what) => unmet.push(what),
            }
        }
        if trust.tsa_roots.is_some() && report.timestamps == 0 {
            let what =
                format!("when the records were there: {TIMESTAMPS} has no time stamp of an authority whose root was given");
            report.unmet.push(what);
            report.unmet.extend(unmet.into_iter().next());
        }
        if report.timestamps > 0 && trust.tsa_roots.is_none() {
            let what = "time stamps fit their checkpoints; who gave them was not verified: give the roots with --tsa-roots";
            report.notes.push(format!("{} {what}", report.timestamps));
        }
        Ok(())
    }

    fn heartbeats(&mut self, seqs: &[u64], report: &mut Report) -> Result<(), Stop> {
        let log_id = self.keys.first().log_id();
        for some in seqs.chunks(FILES_AT_ONCE) {
            let wanted: Vec<(String, usize)> = some.iter().map(|seq| (heartbeat_name(*seq), HEARTBEAT_BYTES_MAX)).collect();
            for ((name, _), (seq, json)) in wanted.iter().zip(some.iter().zip(self.all(&wanted)?)) {
                let fault = |what: String| Stop::fault(name, what);
                let shown = Disclosure::parse(&json).map_err(|error| fault(error.to_string()))?;
                let verified = shown.verify(log_id, &Erasures::default()).map_err(|error| fault(error.to_string()))?;
                let leaf = &verified.leaf;
                if !verified.is_untampered() || leaf.seq != *seq {
                    return Err(fault("is not the record that it says".to_owned()));
                }
                if leaf.kind != Kind::Admin.code() || !is_heartbeat(&shown) {
                    return Err(fault("is no heartbeat of the recorder".to_owned()));
                }
                if *seq >= self.size {
                    return Err(fault(format!("is of record {seq}, and the published checkpoint covers {}", self.size)));
                }
                report.heartbeats += 1;
                report.heartbeat = report.heartbeat.or(Some((*seq, Timestamp::unix_ns(leaf.observed))));
                self.disclosed.insert(*seq, *shown.leaf_bytes());
            }
        }
        Ok(())
    }

    /// Computes the tree from the first leaf that must be there, compares every tile, and gives the root.
    fn tiles(&mut self, first: u64) -> Result<Hash, Stop> {
        let mut tree = self.first_tiles(first)?;
        self.compare_root(&tree)?;
        let log_id = self.keys.first().log_id();
        // Half of what is asked for at once is entries, half is the leaf hashes beside them.
        for indexes in chunks(first / WIDTH, self.size.div_ceil(WIDTH), FILES_AT_ONCE as u64 / 2) {
            let tiles = indexes.flat_map(|index| {
                let width = u16::try_from((self.size - index * WIDTH).min(WIDTH)).unwrap_or(TILE_WIDTH);
                [TileKind::Entries, TileKind::Hashes(0)].map(|kind| TileId { kind, index, width })
            });
            let tiles: Vec<TileId> = tiles.collect();
            let found = self.load(&tiles)?;
            for ((tile, bytes), (hashes, found)) in pairs(&tiles, &found) {
                for (at, bytes) in bytes.as_chunks::<ENTRY_BYTES>().0.iter().enumerate() {
                    let seq = tree.size();
                    let ours = |leaf: &&[u8; LEAF_BYTES]| {
                        Leaf::decode(leaf).is_some_and(|leaf| leaf.seq == seq && leaf.log_id == log_id)
                    };
                    let leaf = entry(bytes).filter(ours);
                    let leaf =
                        leaf.ok_or_else(|| Stop::fault(tile.to_string(), format!("has no leaf of this log as item {at}")))?;
                    if self.disclosed.remove(&seq).is_some_and(|disclosed| disclosed != *leaf) {
                        return Err(Stop::fault(heartbeat_name(seq), format!("is not the record that was sealed as {seq}")));
                    }
                    let mut full = Vec::new();
                    let mut is_hashed = true;
                    tree.push(leaf, |grown, bytes| match grown.kind {
                        TileKind::Entries => {}
                        TileKind::Hashes(0) => {
                            is_hashed = found.get(at * HASH_BYTES..(at + 1) * HASH_BYTES)
                                == bytes.last_chunk::<HASH_BYTES>().map(|hash| hash.as_slice())
                        }
                        TileKind::Hashes(_) if grown.is_full() => full.push((grown, bytes.to_vec())),
                        TileKind::Hashes(_) => {}
                    });
                    if !is_hashed {
                        let what = format!("has another hash of leaf {seq} than the one of its entry in {tile}");
                        return Err(Stop::fault(hashes.to_string(), what));
                    }
                    for (tile, ours) in full {
                        if self.load(&[tile])?.first() != Some(&ours) {
                            return Err(Stop::fault(tile.to_string(), "is not what the published leaves give"));
                        }
                    }
                    self.compare_root(&tree)?;
                }
            }
        }
        if tree.size() != self.size {
            return Err(Stop::fault(CHECKPOINT, format!("signs {} records, and {} are published", self.size, tree.size())));
        }
        for (tile, ours) in tree.partials().filter(|(tile, _)| !matches!(tile.kind, TileKind::Entries | TileKind::Hashes(0))) {
            if self.load(&[tile])?.first().map(Vec::as_slice) != Some(ours) {
                return Err(Stop::fault(tile.to_string(), "is not what the published leaves give"));
            }
        }
        Ok(tree.root())
    }

    /// The tree over what was pruned, out of the tiles above the leaves.
    fn first_tiles(&self, first: u64) -> Result<TileBuilder, Stop> {
        if first == 0 {
            return Ok(TileBuilder::default());
        }
        let mut load = |tile: TileId| {
            let items = tile.kind.items(self.size).saturating_sub(tile.index * WIDTH).min(WIDTH);
            let there = TileId { width: u16::try_from(items).unwrap_or(TILE_WIDTH), ..tile };
            let mut bytes = take(&mut self.load(&[there])?[0]);
            bytes.truncate(tile.bytes());
            Ok(Some(bytes))
        };
        if let Some((tile, what)) = upper::check(first, &mut load)? {
            return Err(Stop::fault(tile.to_string(), what));
        }
        let built = TileBuilder::resume(first, |tile| Ok(load(tile)?.unwrap_or_default()))?;
        built.ok_or_else(|| Stop::fault("tile", "has a tile of a wrong length"))
    }

    /// Compares a root that something signs with that of the tree at its size.
    fn compare_root(&self, tree: &TileBuilder) -> Result<(), Stop> {
        match self.due.get(&tree.size()) {
            Some((root, file)) if *root != tree.root() => {
                let what =
                    format!("signs a root of {} records that the published leaves do not have: the log has forked", tree.size());
                Err(Stop::fault(file, what))
            }
            _ => Ok(()),
        }
    }

    /// What a tile that is missing means: a fault, unless the log was pruned while it was read.
    fn missing(&self, tile: TileId) -> Result<Stop, Stop> {
        let now = get(self.place, MINIMUM, MINIMUM_BYTES_MAX)?.and_then(|note| Minimum::open(&note, &self.keys, self.size).ok());
        let is_of_leaves = matches!(tile.kind, TileKind::Entries | TileKind::Hashes(0));
        Ok(match now.filter(|now| is_of_leaves && tile.index * WIDTH < now.first_leaf() && now.first_leaf() > self.first) {
            Some(_) => unreadable(PlaceError::Failed {
                name: tile.to_string(),
                what: "was pruned while it was read; run it again".to_owned(),
            }),
            None => Stop::fault(tile.to_string(), "is missing"),
        })
    }

    /// Tiles of the tree. A partial one whose full one has come since may be gone: the specification asks for that one then.
    fn load(&self, tiles: &[TileId]) -> Result<Vec<Vec<u8>>, Stop> {
        let wanted: Vec<(String, usize)> = tiles.iter().map(|tile| (tile.to_string(), tile.bytes())).collect();
        let got = self.place.get_all(&wanted).map_err(unreadable)?;
        let mut loaded = Vec::new();
        for (tile, bytes) in tiles.iter().zip(got) {
            let full = TileId { width: TILE_WIDTH, ..*tile };
            let bytes = match bytes {
                None if !tile.is_full() => match self.place.get(&full.to_string(), full.bytes()).map_err(unreadable)? {
                    Some(mut bytes) if bytes.len() == full.bytes() => {
                        bytes.truncate(tile.bytes());
                        Some(bytes)
                    }
                    _ => None,
                },
                bytes => bytes,
            };
            let Some(bytes) = bytes else { return Err(self.missing(*tile)?) };
            if bytes.len() != tile.bytes() {
                return Err(Stop::fault(tile.to_string(), format!("has not the {} bytes that it must have", tile.bytes())));
            }
            loaded.push(bytes);
        }
        Ok(loaded)
    }
}

/// Whether a record is the recorder's own and tells that nothing happened.
fn is_heartbeat(shown: &Disclosure) -> bool {
    let source = shown.open("/source").and_then(|field| serde_json::from_str::<serde_json::Value>(&field.value).ok());
    let is_own = source.is_some_and(|source| source["path"] == INTERNAL);
    is_own && shown.open("/name").is_some_and(|field| field.value == HEARTBEAT_EVENT)
}

fn unreadable(error: PlaceError) -> Stop {
    Stop::Error(VerifyError::Place(error))
}

/// The numbers from `from` to before `to`, some at a time.
fn chunks(from: u64, to: u64, some: u64) -> impl Iterator<Item = std::ops::Range<u64>> {
    let mut at = from;
    std::iter::from_fn(move || {
        let chunk = at..to.min(at.saturating_add(some));
        at = chunk.end;
        (!chunk.is_empty()).then_some(chunk)
    })
}

type Loaded<'l> = (TileId, &'l [u8]);

/// Entry bundles with the tiles of leaf hashes beside them.
fn pairs<'l>(tiles: &'l [TileId], found: &'l [Vec<u8>]) -> impl Iterator<Item = (Loaded<'l>, Loaded<'l>)> {
    let loaded = |at: usize| (tiles[at], found[at].as_slice());
    (0..tiles.len() / 2).map(move |pair| (loaded(2 * pair), loaded(2 * pair + 1)))
}
