//! The pass over the journal: leaves, tiles and roots are computed and compared as they come.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::path::Path;

use super::leaves::{Computed, Leaves};
use super::snapshot::{Snapshot, place};
use super::{Journaled, Report, Source, Stop, Trust, VerifyError, blame};
use crate::checkpoint::{Checkpoint, History, HistoryItem, can_be_torn};
use crate::key_chain::{KeyChain, history_form};
use crate::leaf::{Leaf, LeafError};
use crate::ledger::{CHECKPOINT, HISTORY, KEYS, VKEY};
use crate::note::SignedNote;
use crate::policy::Policy;
use crate::tile::{ENTRY_BYTES, TILE_WIDTH, TileBuilder, TileId, TileKind};
use crate::timestamp::{TsaRoots, claimed_time, verify_timestamp};
use crate::vkey::VerifierKey;
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
    match pass(data_dir, trust, sealed_leaves, source, report, &mut stranger) {
        // A log that is whole by another key is another log; one that is not had its key changed.
        Err(Stop::Fault(fault)) if fault.place != place(KEYS) => Err(match stranger {
            Some(what) => Stop::fault(place(VKEY), what),
            None => Stop::Fault(fault),
        }),
        other => other,
    }
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
    report.key = snapshot.keys.first().to_string();
    for expected in trust.keys.iter().filter(|expected| !snapshot.keys.contains(expected)) {
        stranger.get_or_insert(format!("is the key {}, and {expected} was expected", report.key));
        report.unmet.push(format!(
            "that this is the log whose key is {expected}: {} is another one, {}",
            place(VKEY),
            report.key
        ));
    }
    let rotations = snapshot.keys.generations().len() - 1;
    if rotations > 0 {
        let newest: Vec<String> = snapshot.keys.newest().iter().map(|key| format!("{:08x}", key.id())).collect();
        report.notes.push(format!("the log's keys were rotated {rotations} times; the newest are {}", newest.join(" and ")));
    }
    let history = snapshot.history();
    let mut check = Check {
        sealed_leaves,
        log_id: snapshot.keys.first().log_id(),
        sealed: snapshot.sealed(),
        tiles: TileBuilder::default(),
        history: Checkpoints {
            path: snapshot.ledger.join(HISTORY),
            reader: history,
            next: None,
            last: None,
            torn: None,
            verified: 0,
            witnessed: None,
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
        let fault = |what: String| Stop::fault(place(WITNESSED), what);
        let Some(bytes) = &self.snapshot.witnessed else {
            return match policy {
                Some(policy) if policy.needs_witnesses() => {
                    report
                        .unmet
                        .push(format!("that the log is witnessed: {} is missing, and the policy asks for it", place(WITNESSED)));
                    Ok(())
                }
                _ => Ok(()),
            };
        };
        let checkpoint = self.snapshot.keys.open(bytes).map_err(|error| fault(error.to_string()))?;
        let note = SignedNote::parse(bytes).map_err(|error| fault(error.to_string()))?;
        report.witnessed = checkpoint.size;
        match policy {
            None => report.notes.push(format!(
                "{} records are countersigned by witnesses whose signatures were not verified; give their keys with --policy",
                checkpoint.size
            )),
            Some(policy) => {
                let checked = if policy.logs().is_empty() { policy.check_witnesses(&note) } else { policy.check(&note) };
                match checked {
                    Ok(checked) => {
                        let name = |(key, time): (VerifierKey, u64)| (key.name().to_owned(), time);
                        report.witnesses = checked.witnesses.into_iter().map(name).collect();
                    }
                    Err(error) if !error.is_unmet() => return Err(fault(error.to_string())),
                    Err(error) => {
                        report.unmet.push(format!("that {} is witnessed as the policy asks: {error}", place(WITNESSED)))
                    }
                }
                if let Some(more) = self.sealed.checked_sub(checkpoint.size).filter(|more| *more > 0) {
                    report.notes.push(format!("{more} records are sealed and not yet witnessed"));
                }
            }
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
            let Some(bundle) = self.snapshot.load(tile)? else { return Err(Stop::fault(place(tile), "is missing")) };
            let entries = bundle.as_chunks::<ENTRY_BYTES>().0;
            for seq in from..(index * width + items).min(end) {
                let leaf = usize::try_from(seq % width).ok().and_then(|at| entries.get(at)).and_then(blame::entry);
                let ours = leaf.and_then(Leaf::decode).filter(|leaf| leaf.seq == seq && leaf.log_id == self.log_id);
                let Some(leaf) = ours else {
                    return Err(Stop::fault(place(tile), format!("has no leaf of this log for record {seq}")));
                };
                self.next_leaf(&leaf)?;
            }
        }
        Ok(())
    }

    fn leaf(&mut self, got: u64, leaf: Result<Leaf, LeafError>) -> Result<(), Stop> {
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
        if let Some(stop) = stop {
            return Err(stop);
        }
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
        let claimed = claimed_time(&answer, note).map_err(|error| Stop::fault(place(timestamp_file(size)), error.to_string()))?;
        self.due.remove(&size);
        let time = match &self.roots {
            None => claimed,
            // One that is whole and of a stranger is nothing that anybody changed; it counts for nothing.
            Some(roots) => match verify_timestamp(&answer, note, roots) {
                Ok(stamped) => stamped.time,
                Err(error) if !error.is_unmet() => {
                    return Err(Stop::fault(place(timestamp_file(size)), error.to_string()));
                }
                Err(error) => {
                    if self.unmet.len() < UNMET_MAX {
                        self.unmet.push(format!(
                            "that {} is of an authority whose root was given: {error}",
                            place(timestamp_file(size))
                        ));
                    }
                    return Ok(());
                }
            },
        };
        self.verified += 1;
        self.newest = Some((size, time));
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
        if self.witnessed.as_ref() == Some(&checkpoint) {
            self.witnessed = None;
        }
        let size = checkpoint.size;
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
        None if must_be_there => Err(Stop::fault(place(tile), "is missing")),
        None => Ok(()),
    }
}
