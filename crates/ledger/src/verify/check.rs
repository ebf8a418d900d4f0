//! The pass over the journal: leaves, tiles and roots are computed and compared as they come.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::path::Path;

use super::leaves::{Computed, Leaves};
use super::signed::{by_stranger, cosigned, known_keys, not_cosigned, stamped_at};
use super::snapshot::{Snapshot, place};
use super::{Journaled, Report, Source, Stop, Trust, VerifyError, blame};
use crate::checkpoint::{Checkpoint, History, HistoryItem, can_be_torn};
use crate::key_chain::{KeyChain, history_form};
use crate::leaf::{Leaf, LeafError};
use crate::ledger::{CHECKPOINT, HISTORY, KEYS, VKEY};
use crate::minimum::upper;
use crate::policy::Policy;
use crate::tile::{ENTRY_BYTES, TILE_WIDTH, TileBuilder, TileId, TileKind, entry};
use crate::timestamp::TsaRoots;
use crate::witnessed::{TIMESTAMPS, WITNESSED, timestamp_file};

/// Most time stamps that are told one by one.
const UNMET_MAX: usize = 10;

pub(super) fn run(
    data_dir: &Path,
    trust: &Trust,
    sealed_leaves: bool,
    source: Source<'_>,
    report: &mut Report,
) -> Result<(), Stop> {
    let mut stranger = None;
    let passed = pass(data_dir, trust, sealed_leaves, source, report, &mut stranger);
    by_stranger(passed, stranger, &place(VKEY), &place(KEYS))
}

fn pass(
    data_dir: &Path,
    trust: &Trust,
    sealed_leaves: bool,
    source: Source<'_>,
    report: &mut Report,
    stranger: &mut Option<String>,
) -> Result<(), Stop> {
    let Some(mut snapshot) = Snapshot::take(data_dir, &mut report.notes)? else {
        if !data_dir.join("journal").is_dir() {
            return Err(Stop::Error(VerifyError::NoDataDirectory(data_dir.to_owned())));
        }
        return not_begun(trust, source, report);
    };
    *stranger = known_keys(&place(VKEY), &snapshot.keys, trust, report);
    let history = snapshot.history();
    let mut check = Check {
        sealed_leaves,
        log_id: snapshot.keys.first().log_id(),
        sealed: snapshot.sealed(),
        tiles: first_tiles(&snapshot)?,
        kept: None,
        history: Checkpoints {
            path: snapshot.ledger.join(HISTORY),
            reader: history,
            next: None,
            last: None,
            torn: None,
            verified: 0,
            witnessed: None,
            unproved: 0,
        },
        stamps: Stamps {
            due: std::mem::take(&mut snapshot.timestamps),
            roots: trust.tsa_roots.clone(),
            unmet: Vec::new(),
            verified: 0,
            newest: None,
        },
        snapshot,
    };
    check.witnessed(trust.policy.as_ref(), report)?;
    let result = check.all(source, report);
    report.checkpoints = check.history.verified;
    report.first_leaf = check.snapshot.first_leaf;
    if report.first_leaf > 0 {
        report.notes.push(format!(
            "the log was pruned: entries before {} are gone where retention let them go; every checkpoint of as many records or more was \
             proved, and of {} smaller ones the signatures alone",
            report.first_leaf, check.history.unproved
        ));
    }
    (report.timestamps, report.timestamped) = (check.stamps.verified, check.stamps.newest);
    if report.timestamps > 0 && trust.tsa_roots.is_none() {
        let what = "time stamps fit their checkpoints; who gave them was not verified: give the roots with --tsa-roots";
        report.notes.push(format!("{} {what}", report.timestamps));
    }
    report.unmet.append(&mut check.stamps.unmet);
    result
}

/// There is no ledger. A first start that ended before it made one leaves a journal without records; whoever knows of a log, by
/// its keys or otherwise, is told that it is gone.
fn not_begun(trust: &Trust, source: Source<'_>, report: &mut Report) -> Result<(), Stop> {
    let records = source(&mut |_| {})?.records.unwrap_or_default();
    if records > 0 {
        return Err(Stop::fault("ledger", format!("is missing, and the journal goes to record {records}")));
    }
    let known = trust.policy.as_ref().is_some_and(Policy::needs_witnesses) || trust.tsa_roots.is_some();
    if known || !trust.keys.is_empty() {
        return Err(Stop::fault("ledger", "is missing: there is nothing of the log that you know"));
    }
    report.notes.push("nothing is recorded here: a first start did not come to its end, and the next one goes on".to_owned());
    Ok(())
}

struct Check<R> {
    /// Whether leaves of records that are not given come from the entry bundles.
    sealed_leaves: bool,
    snapshot: Snapshot,
    history: Checkpoints<R>,
    stamps: Stamps,
    log_id: [u8; 16],
    sealed: u64,
    tiles: TileBuilder,
    /// The newest entry bundle of a pruned log below its first leaf of which a record was given.
    kept: Option<(TileId, Vec<u8>)>,
}

/// The signed checkpoints in the order of their sizes.
struct Checkpoints<R> {
    path: std::path::PathBuf,
    reader: Option<History<R>>,
    /// Signed, and not yet compared with the tree.
    next: Option<Signed>,
    /// The last two that were read.
    last: Option<(Option<Vec<u8>>, Vec<u8>)>,
    torn: Option<(u64, usize)>,
    verified: u64,
    /// Those of trees that were pruned: nobody can compute their roots here.
    unproved: u64,
    /// The witnessed checkpoint, until it is met in the history.
    witnessed: Option<Checkpoint>,
}

/// Time stamps, until the checkpoint of each is met in the history.
struct Stamps {
    due: BTreeSet<u64>,
    roots: Option<TsaRoots>,
    /// Those that are whole, and of no authority that the verifier knows.
    unmet: Vec<String>,
    verified: u64,
    newest: Option<(u64, u64)>,
}

struct Signed {
    checkpoint: Checkpoint,
    offset: u64,
}

impl<R: BufRead> Check<R> {
    /// Verifies the signatures of the witnessed checkpoint; that it is one of the log's comes with the history.
    fn witnessed(&mut self, policy: Option<&Policy>, report: &mut Report) -> Result<(), Stop> {
        let Some(bytes) = &self.snapshot.witnessed else {
            not_cosigned(&place(WITNESSED), policy, report);
            return Ok(());
        };
        let checkpoint = cosigned(&place(WITNESSED), bytes, &self.snapshot.keys, policy, report)?;
        if let Some(more) = self.sealed.checked_sub(checkpoint.size).filter(|more| *more > 0 && policy.is_some()) {
            report.notes.push(format!("{more} records are sealed and not yet witnessed"));
        }
        self.history.witnessed = Some(checkpoint);
        Ok(())
    }

    fn all(&mut self, source: Source<'_>, report: &mut Report) -> Result<(), Stop> {
        if let Some((published, _)) = &self.snapshot.published {
            report.sealed = published.size;
            report.root = published.root;
        }
        self.history.advance(&self.snapshot.keys)?;
        self.pass_over()?;
        let mut leaves = 0;
        let mut stop = None;
        let log_id = self.log_id;
        let journaled = std::thread::scope(|scope| {
            let mut pool = Leaves::start(scope, log_id);
            let mut take = |computed: Computed| {
                for (seq, leaf) in computed {
                    if stop.is_none() {
                        stop = self.leaf(seq, leaf).err();
                        leaves += u64::from(stop.is_none());
                    }
                }
                stop.is_some()
            };
            let mut stopped = false;
            let journaled = source(&mut |given| {
                if !stopped && let Some(computed) = pool.take(given) {
                    stopped = take(computed);
                }
            });
            // What the source stopped at comes after the records that it gave.
            while let Some(computed) = pool.finish() {
                take(computed);
            }
            journaled
        });
        report.records = leaves;
        if let Some(stop) = stop {
            return Err(stop);
        }
        let journaled = journaled?;
        if self.sealed_leaves {
            self.leaves_until(journaled.records.unwrap_or(u64::MAX))?;
        }
        let records = journaled.records.unwrap_or_else(|| {
            report.notes.push("there is no journal: the ledger was verified alone, by its own leaves".to_owned());
            self.tiles.size()
        });
        report.records = records;
        self.end(records, &journaled, &mut report.notes)
    }

    /// Takes the leaves up to `end` from the entry bundles.
    fn leaves_until(&mut self, end: u64) -> Result<(), Stop> {
        let width = u64::from(TILE_WIDTH);
        let end = end.min(self.sealed);
        while self.tiles.size() < end {
            let from = self.tiles.size();
            let index = from / width;
            let items = (self.sealed - index * width).min(width);
            let tile = TileId { kind: TileKind::Entries, index, width: u16::try_from(items).unwrap_or(TILE_WIDTH) };
            let Some(bundle) = self.snapshot.load(tile)? else { return Err(self.snapshot.missing(tile)) };
            let entries = bundle.as_chunks::<ENTRY_BYTES>().0;
            for seq in from..(index * width + items).min(end) {
                let leaf = usize::try_from(seq % width).ok().and_then(|at| entries.get(at)).and_then(entry);
                let ours = leaf.and_then(Leaf::decode).filter(|leaf| leaf.seq == seq && leaf.log_id == self.log_id);
                let Some(leaf) = ours else {
                    return Err(Stop::fault(place(tile), format!("has no leaf of this log for record {seq}")));
                };
                self.next_leaf(&leaf)?;
            }
        }
        Ok(())
    }

    /// The checkpoints of trees that are smaller than the first one that can be computed.
    fn pass_over(&mut self) -> Result<(), Stop> {
        while let Some(checkpoint) = self.history.next.as_ref().map(|next| next.checkpoint.clone()) {
            if checkpoint.size >= self.tiles.size() {
                break;
            }
            let stamped = self.history.stamped(&self.stamps, checkpoint.size);
            self.history.unproved += 1;
            self.history.behind(&checkpoint, &self.snapshot.keys)?;
            if let Some(note) = stamped {
                self.stamps.verify(&self.snapshot, checkpoint.size, &note)?;
            }
        }
        if self.tiles.size() > 0 { self.at_size() } else { Ok(()) }
    }

    /// A record of which the leaf lies below what was pruned: its bundle was kept for it, and was compared with the tree.
    fn kept_leaf(&mut self, seq: u64, leaf: Result<Leaf, LeafError>) -> Result<(), Stop> {
        let leaf = leaf.map_err(|error| Stop::record(seq, error.to_string()))?;
        let width = u64::from(TILE_WIDTH);
        let tile = TileId { kind: TileKind::Entries, index: seq / width, width: TILE_WIDTH };
        if self.kept.as_ref().is_none_or(|(held, _)| *held != tile) {
            let Some(bundle) = self.snapshot.load(tile)? else { return Err(self.snapshot.missing(tile)) };
            self.kept = Some((tile, bundle));
        }
        let at = usize::try_from(seq % width).unwrap_or(0);
        let sealed = self.kept.as_ref().and_then(|(_, bundle)| bundle.as_chunks::<ENTRY_BYTES>().0.get(at)).and_then(entry);
        if sealed == Some(&leaf.encode()) {
            Ok(())
        } else {
            Err(Stop::record(seq, "is not the record that was sealed: its leaf differs from the sealed one"))
        }
    }

    fn leaf(&mut self, got: u64, leaf: Result<Leaf, LeafError>) -> Result<(), Stop> {
        if got < self.snapshot.first_leaf {
            return self.kept_leaf(got, leaf);
        }
        if self.sealed_leaves {
            self.leaves_until(got)?;
        }
        let seq = self.tiles.size();
        if got != seq {
            return Err(Stop::record(got, format!("record {seq} should stand here")));
        }
        self.next_leaf(&leaf.map_err(|error| Stop::record(seq, error.to_string()))?)
    }

    fn next_leaf(&mut self, leaf: &Leaf) -> Result<(), Stop> {
        let (snapshot, sealed) = (&self.snapshot, self.sealed);
        let mut stop = None;
        self.tiles.push(&leaf.encode(), |tile, bytes| {
            // A partial tile is compared at its own width; a full one always, as long as it must be there or is.
            if stop.is_none() && (tile.is_full() || snapshot.partials.contains_key(&tile)) {
                stop = compare(snapshot, sealed, tile, bytes).err();
            }
        });
        stop.map_or_else(|| self.at_size(), Err)
    }

    /// Compares what is said of the tree as it is now.
    fn at_size(&mut self) -> Result<(), Stop> {
        let stamped = self.history.stamped(&self.stamps, self.tiles.size());
        match self.history.compare(&self.tiles, &self.snapshot.keys) {
            Err(Stop::Fault(fault)) => Err(self.changed_leaf()?.unwrap_or(Stop::Fault(fault))),
            Ok(()) => stamped.map_or(Ok(()), |note| self.stamps.verify(&self.snapshot, self.tiles.size(), &note)),
            other => other,
        }
    }

    /// The first leaf of the unfinished entry bundle that is not the one on disk: when a root is wrong, the record that
    /// was changed can be named before its tile is complete.
    fn changed_leaf(&self) -> Result<Option<Stop>, Stop> {
        let Some((unfinished, ours)) = self.tiles.partials().find(|(tile, _)| tile.kind == TileKind::Entries) else {
            return Ok(None);
        };
        let of_same = |tile: &&TileId| tile.kind == unfinished.kind && tile.index == unfinished.index;
        let partial = self.snapshot.partials.keys().rev().find(of_same).copied();
        let tile = partial.unwrap_or(TileId { width: TILE_WIDTH, ..unfinished });
        let Some(found) = self.snapshot.load(tile)? else { return Ok(None) };
        match found.get(..ours.len()) {
            Some(found) if found != ours => Ok(Some(blame::tile(&self.snapshot, tile, ours, found)?)),
            _ => Ok(None),
        }
    }

    fn end(&mut self, records: u64, journaled: &Journaled, notes: &mut Vec<String>) -> Result<(), Stop> {
        let signed = self.history.next.as_ref().map_or(self.sealed, |next| next.checkpoint.size.max(self.sealed));
        if records < signed {
            return Err(match &journaled.torn {
                Some(torn) => {
                    Stop::fault(&torn.place, format!("is damaged: {records} records are whole, and a checkpoint signs {signed}"))
                }
                None => Stop::fault(
                    "journal",
                    format!("has {records} records, and a checkpoint signs {signed}: the end of the journal is missing"),
                ),
            });
        }
        if let Some(torn) = &journaled.torn {
            notes.push(format!(
                "{}: {} bytes of a group of records that was torn while it was written and never acknowledged",
                torn.place, torn.bytes
            ));
        }
        self.compare_published(notes)?;
        if let Some(size) = self.stamps.due.first() {
            let what = format!("is of a checkpoint of {size} records, and the history has none of that size");
            return Err(Stop::fault(place(timestamp_file(*size)), what));
        }
        if self.stamps.roots.is_some() && self.stamps.verified == 0 {
            let what = format!(
                "when the records were there: {} has no time stamp of an authority whose root was given",
                place(TIMESTAMPS)
            );
            self.stamps.unmet.insert(0, what);
        }
        if let Some(other) = &self.history.witnessed {
            let what =
                format!("signs {} records with a root that no checkpoint of the history has: the log has forked", other.size);
            return Err(Stop::fault(place(WITNESSED), what));
        }
        for tile in TileId::partials(self.sealed) {
            if !self.snapshot.partials.contains_key(&tile) {
                return Err(Stop::fault(place(tile), "is missing"));
            }
        }
        let published: Vec<TileId> = TileId::partials(self.sealed).collect();
        let beyond = self.snapshot.partials.keys().filter(|tile| !published.contains(tile));
        let mut unpublished = 0;
        for tile in beyond {
            let items = tile.index * 256 + u64::from(tile.width);
            // It was compared above if the journal goes as far.
            if tile.kind.items(records) < items {
                return Err(Stop::fault(place(tile), "goes on behind the end of the journal"));
            }
            unpublished += 1;
        }
        for (kind, last) in &self.snapshot.last_full {
            if *last >= kind.full(records) {
                let tile = TileId { kind: *kind, index: *last, width: TILE_WIDTH };
                return Err(Stop::fault(place(tile), "goes on behind the end of the journal"));
            }
            unpublished += (*last + 1).saturating_sub(kind.full(self.sealed));
        }
        if unpublished > 0 {
            notes.push(format!("{unpublished} tiles are left over from an interrupted seal; they agree with the journal"));
        }
        Ok(())
    }

    /// The published checkpoint must be the last one of the history, or the one before if a crash came in between.
    fn compare_published(&self, notes: &mut Vec<String>) -> Result<(), Stop> {
        // The history keeps the same checkpoint with fewer signatures.
        let published = self.snapshot.published.as_ref().and_then(|(_, note)| history_form(note)).map(String::into_bytes);
        match (&self.history.last, published.as_ref()) {
            (None, None) => {}
            (Some((_, last)), Some(published)) if last == published => {}
            (Some((before, _)), published) if before.as_ref() == published && self.history.torn.is_none() => {
                notes.push("the newest checkpoint is signed and not yet published; the next start publishes it".to_owned());
            }
            (Some(_), None) => return Err(Stop::fault(place(CHECKPOINT), "is missing")),
            (_, Some(_)) => {
                return Err(Stop::fault(place(HISTORY), "does not end with the checkpoint that ledger/checkpoint publishes"));
            }
        }
        if let Some((offset, bytes)) = self.history.torn {
            notes.push(format!(
                "{} ends at byte {offset} with {bytes} bytes of a checkpoint that was torn while it was written and never published",
                place(HISTORY)
            ));
        }
        Ok(())
    }
}

impl Stamps {
    fn verify(&mut self, snapshot: &Snapshot, size: u64, note: &[u8]) -> Result<(), Stop> {
        let answer = snapshot.timestamp(size)?;
        let stamped = stamped_at(&place(timestamp_file(size)), &answer, note, self.roots.as_ref())?;
        self.due.remove(&size);
        match stamped {
            Ok(time) => {
                self.verified += 1;
                self.newest = Some((size, time));
            }
            Err(unmet) if self.unmet.len() < UNMET_MAX => self.unmet.push(unmet),
            Err(_) => {}
        }
        Ok(())
    }
}

impl<R: BufRead> Checkpoints<R> {
    /// The checkpoint that is due at this size, if it has a time stamp.
    fn stamped(&self, stamps: &Stamps, size: u64) -> Option<Vec<u8>> {
        let is_due = self.next.as_ref().is_some_and(|next| next.checkpoint.size == size);
        // The one that is due is the one that was read last.
        (is_due && stamps.due.contains(&size)).then(|| self.last.as_ref().map(|(_, note)| note.clone()))?
    }

    /// Compares the checkpoint that is due at this size of the tree.
    fn compare(&mut self, tiles: &TileBuilder, keys: &KeyChain) -> Result<(), Stop> {
        let Some(Signed { checkpoint, offset }) = self.next.take_if(|next| next.checkpoint.size == tiles.size()) else {
            return Ok(());
        };
        if checkpoint.root != tiles.root() {
            let what = format!("the journal's first {} records do not have the root that this checkpoint signs", checkpoint.size);
            return Err(Stop::fault(format!("{} at byte {offset}", place(HISTORY)), what));
        }
        self.verified += 1;
        self.behind(&checkpoint, keys)
    }

    /// Goes on behind a checkpoint.
    fn behind(&mut self, checkpoint: &Checkpoint, keys: &KeyChain) -> Result<(), Stop> {
        if self.witnessed.as_ref() == Some(checkpoint) {
            self.witnessed = None;
        }
        let size = checkpoint.size;
        self.next = None;
        self.advance(keys)?;
        match &self.next {
            Some(next) if next.checkpoint.size <= size => {
                let what = format!("signs {} records after a checkpoint that signs {size}", next.checkpoint.size);
                Err(Stop::fault(format!("{} at byte {}", place(HISTORY), next.offset), what))
            }
            _ => Ok(()),
        }
    }

    /// Reads the next checkpoint and verifies its signature.
    fn advance(&mut self, keys: &KeyChain) -> Result<(), Stop> {
        let Some(reader) = &mut self.reader else { return Ok(()) };
        let at = |offset| format!("{} at byte {offset}", place(HISTORY));
        match reader.next().map_err(Stop::unreadable(&self.path))? {
            None => {}
            Some(HistoryItem::Torn { offset, note }) if can_be_torn(&note, keys.origin()) => {
                self.torn = Some((offset, note.len()))
            }
            Some(HistoryItem::Torn { offset, .. }) => {
                return Err(Stop::fault(at(offset), "is not the beginning of a checkpoint"));
            }
            Some(HistoryItem::Malformed { offset }) => return Err(Stop::fault(at(offset), "is not a checkpoint")),
            Some(HistoryItem::Note { offset, note }) => {
                let checkpoint = keys.open_history(&note).map_err(|error| Stop::fault(at(offset), error.to_string()))?;
                if checkpoint.size == 0 {
                    return Err(Stop::fault(at(offset), "signs an empty tree, which no ledger does"));
                }
                let before = self.last.take().map(|(_, last)| last);
                self.last = Some((before, note));
                self.next = Some(Signed { checkpoint, offset });
            }
        }
        Ok(())
    }
}

fn compare(snapshot: &Snapshot, sealed: u64, tile: TileId, bytes: &[u8]) -> Result<(), Stop> {
    let must_be_there = tile.is_full() && tile.index < tile.kind.full(sealed);
    match snapshot.load(tile)? {
        Some(found) if found == bytes => Ok(()),
        Some(found) => Err(blame::tile(snapshot, tile, bytes, &found)?),
        None if must_be_there => Err(snapshot.missing(tile)),
        None => Ok(()),
    }
}

/// The tree over what was pruned, out of the tiles above the leaves; what of it is there still is compared with them.
fn first_tiles(snapshot: &Snapshot) -> Result<TileBuilder, Stop> {
    let first = snapshot.first_leaf;
    if first == 0 {
        return Ok(TileBuilder::default());
    }
    let mut load = |tile| snapshot.load_prefix(tile);
    let mut wrong = upper::check(first, &mut load)?;
    for tile in &snapshot.kept {
        if wrong.is_none() {
            wrong = upper::check_one(*tile, &mut load)?;
        }
    }
    if let Some((tile, what)) = wrong {
        return Err(Stop::fault(place(tile), what));
    }
    let load = |tile| snapshot.load_prefix(tile)?.ok_or_else(|| Stop::fault(place(tile), "is missing"));
    TileBuilder::resume(first, load)?.ok_or_else(|| Stop::fault(place("tile"), "has a tile of a wrong length"))
}
