//! The journal on a disk that does its worst, over and over: what was acknowledged is there, once, with its bytes, and
//! nothing that is damaged is served as good.
//!
//! `WATCHKEEPER_SIM_CYCLES=2000` runs more cycles; `WATCHKEEPER_SIM_SEED=N` begins with another history. A failure names
//! the seed of its history; with it, and as many cycles as it says, the failure comes again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use event::{EventId, Timestamp};

use super::examples::{check, content, keys, offline, open_with, segment_files, small};
use crate::disk::Disk;
use crate::format::BLOCK_BYTES;
use crate::simulation::{Rng, SimDisk, Trouble};
use crate::{Append, AppendError, Journal, OpenError, Options, Record, Seq, Ticket};

/// Cycles of the ordinary run.
const CYCLES: u64 = 100;
/// Cycles over one directory, each going on with what the one before has left.
const CYCLES_EACH: u64 = 5;
const SEED: u64 = 20_261_121;
/// Operations of a cycle, about: trouble comes to one of the first so many.
const OPERATIONS: u64 = 60;

/// A thing that should not be.
type Violation = String;

macro_rules! demand {
    ($condition:expr, $($what:tt)*) => {
        if !$condition {
            return Err(format!($($what)*));
        }
    };
}

/// What must be in the journal, as those know who have used it.
#[derive(Default)]
struct Model {
    /// Acknowledged, or found there after a crash.
    known: BTreeMap<u64, Append>,
    /// Batches without an answer: wholly there or not at all.
    open: Vec<Vec<Append>>,
    /// Everything before is kept elsewhere.
    retired: u64,
    /// Numbers the events.
    next: u32,
}

/// What a run has met.
#[derive(Debug, Default)]
struct Met {
    cycles: u64,
    power_cuts: u64,
    errors: u64,
    stopped: u64,
    not_opened: u64,
    disk_full: u64,
    retirements: u64,
    found_unacknowledged: u64,
    rot: u64,
    misdirected: u64,
}

struct History {
    dir: tempfile::TempDir,
    rng: Rng,
    model: Model,
    /// Whether files are retired on the way.
    retires: bool,
    ignores_sync: bool,
    ignores_dir_sync: bool,
}

impl History {
    fn new(seed: u64) -> Self {
        let (dir, rng) = (tempfile::tempdir().unwrap(), Rng::new(seed));
        Self { dir, rng, model: Model::default(), retires: true, ignores_sync: false, ignores_dir_sync: false }
    }

    /// Opens the journal on a disk with some trouble ahead, uses it, cuts the power, and looks at what is left.
    fn cycle(&mut self, met: &mut Met) -> Result<(), Violation> {
        met.cycles += 1;
        let rng = &mut self.rng;
        let somewhere = rng.below(OPERATIONS);
        let trouble = Trouble {
            power_cut_at: rng.one_in(2).then_some(somewhere),
            error_at: rng.one_in(3).then(|| rng.below(OPERATIONS)),
            misdirected_from: None,
            short_writes: rng.one_in(3),
            slow: rng.one_in(8),
            ignores_sync: self.ignores_sync,
            ignores_dir_sync: self.ignores_dir_sync,
            threads: rng.one_in(5),
        };
        met.power_cuts += u64::from(trouble.power_cut_at.is_some());
        met.errors += u64::from(trouble.error_at.is_some());
        let disk = Arc::new(SimDisk::new(self.dir.path(), rng.next(), trouble));
        self.load(&disk, met)?;
        disk.cut_power();
        self.look(met)
    }

    fn options(&self) -> Options {
        Options { first: Seq(self.model.retired), ..small() }
    }

    /// Uses the journal until it stops, or long enough. It is dropped at the end, in most cases after the power has gone.
    fn load(&mut self, disk: &Arc<SimDisk>, met: &mut Met) -> Result<(), Violation> {
        let opened = Journal::open_on(Disk { simulated: Some(Arc::clone(disk)) }, self.dir.path(), self.options(), keys());
        let (journal, _) = match opened {
            Ok(opened) => opened,
            Err(OpenError::Io { .. }) => {
                met.not_opened += 1;
                return Ok(());
            }
            Err(error) => return Err(format!("what was found to be good is not opened: {error}")),
        };
        demand!(
            matches!(open_with(self.dir.path(), self.options()), Err(OpenError::Locked { .. })),
            "a second writer was let in"
        );
        for _ in 0..4 + self.rng.below(16) {
            match self.rng.below(16) {
                0 => disk.full.store(self.rng.one_in(2), Ordering::SeqCst),
                1 => drop(journal.rotate()),
                2 if self.retires => self.retire(&journal, met),
                3 => self.send_again(&journal)?,
                4 => self.follow(&journal)?,
                _ => self.append(&journal, met)?,
            }
        }
        if journal.stopped().is_some() {
            met.stopped += 1;
            demand!(
                matches!(journal.append(vec![self.event(10)]), Err(AppendError::Stopped { .. })),
                "a journal that has stopped takes more"
            );
        }
        if !self.rng.one_in(4) {
            disk.cut_after(0);
        }
        Ok(())
    }

    /// An event whose clock may have been set back.
    fn event(&mut self, bytes: u64) -> Append {
        let n = self.model.next;
        self.model.next += 1;
        let mut digest = [1; 32];
        digest[..4].copy_from_slice(&n.to_be_bytes());
        let time = 1_700_000_000_000_000_000 + self.rng.below(1 << 50);
        let id = EventId::derived(Timestamp::from_unix_ns(time), &digest);
        let text = format!("{n} {}", "x".repeat(usize::try_from(bytes).unwrap()));
        Append { id, event_json: format!(r#"{{"id":"{id}","n":{n}}}"#).into_bytes(), contents: vec![content(&text)] }
    }

    fn append(&mut self, journal: &Journal, met: &mut Met) -> Result<(), Violation> {
        let bytes = if self.rng.one_in(10) { 70_000 } else { 9_000 };
        let batch: Vec<_> = (0..1 + self.rng.below(4))
            .map(|_| {
                let bytes = self.rng.below(bytes);
                self.event(bytes)
            })
            .collect();
        match journal.append(batch.clone()).and_then(Ticket::wait) {
            Ok(places) => {
                let first = self.model.known.last_key_value().map_or(self.model.retired, |(seq, _)| seq + 1);
                for ((place, event), expected) in places.into_iter().zip(batch).zip(first..) {
                    // Whatever the clock says, the order is that of the appends.
                    demand!(place.seq == Seq(expected) && !place.duplicate, "record {expected} was put at {place:?}");
                    self.model.known.insert(place.seq.0, event);
                }
            }
            Err(AppendError::DiskFull { .. }) => {
                met.disk_full += 1;
                demand!(journal.stopped().is_none(), "a full disk has stopped the journal");
            }
            Err(AppendError::Stopped { .. }) => self.model.open.push(batch),
            Err(error) => return Err(format!("an append was refused: {error}")),
        }
        Ok(())
    }

    /// What was acknowledged before comes back as a duplicate with its place.
    fn send_again(&mut self, journal: &Journal) -> Result<(), Violation> {
        let there: Vec<_> = self.model.known.range(journal.first().0..).collect();
        let Some((seq, event)) = there.get(self.rng.below(there.len() as u64) as usize) else { return Ok(()) };
        if let Ok(places) = journal.append(vec![(*event).clone()]).and_then(Ticket::wait) {
            demand!(places[0].duplicate && places[0].seq.0 == **seq, "record {seq} was recorded again at {:?}", places[0]);
        }
        Ok(())
    }

    fn follow(&mut self, journal: &Journal) -> Result<(), Violation> {
        let from = journal.first().0 + self.rng.below(journal.end().0 - journal.first().0 + 1);
        let mut reader = journal.reader(Seq(from)).map_err(|error| format!("no reader: {error}"))?;
        let mut read = 0;
        while let Some(record) = reader.next().map_err(|error| format!("reading the open journal: {error}"))? {
            self.is_right(&record, from + read)?;
            read += 1;
        }
        demand!(from + read == journal.end().0, "the reader ended at {} of {}", from + read, journal.end().0);
        Ok(())
    }

    fn retire(&mut self, journal: &Journal, met: &mut Met) {
        let ends: Vec<_> = journal.closed().into_iter().map(|span| span.end.0).collect();
        let Some(end) = ends.get(self.rng.below(ends.len() as u64) as usize) else { return };
        self.model.retired = self.model.retired.max(*end);
        met.retirements += u64::from(journal.retire(Seq(self.model.retired)).is_ok());
    }

    fn is_right(&self, record: &Record, seq: u64) -> Result<(), Violation> {
        demand!(record.seq.0 == seq, "record {} came where {seq} should", record.seq.0);
        let Some(expected) = self.model.known.get(&seq) else { return Err(format!("nobody has appended record {seq}")) };
        let text = record.contents.first().map(|content| &content.text);
        let same = record.event_json == expected.event_json && text == expected.contents.first().map(|content| &content.text);
        demand!(same, "record {seq} has other bytes");
        Ok(())
    }

    /// Checks what is there after a crash: nothing acknowledged is lost or changed, of the rest whole batches or nothing.
    fn look(&mut self, met: &mut Met) -> Result<(), Violation> {
        let dir = self.dir.path().to_owned();
        if !dir.join("journal").exists() {
            return Ok(());
        }
        let checked = check(&dir, |_| {}).map_err(|fault| format!("check after the crash: {fault}"))?;
        let (journal, recovery) = open_with(&dir, self.options()).map_err(|error| format!("open after the crash: {error}"))?;
        demand!(
            checked.segments == 0 || recovery.end == checked.end,
            "check ends at {:?}, open at {:?}",
            checked.end,
            recovery.end
        );
        demand!(recovery.first.0 <= self.model.retired, "the journal begins with {:?}, too late", recovery.first);
        journal.close().map_err(|error| error.to_string())?;
        drop(journal);

        let (mut reader, mut events) = (offline(&dir, recovery.first), BTreeSet::new());
        let mut found = Vec::new();
        while let Some(record) = reader.next().map_err(|error| format!("reading after the crash: {error}"))? {
            demand!(events.insert(record.event_json.clone()), "record {} is there twice", record.seq.0);
            found.push(record);
        }
        demand!(recovery.first.0 + found.len() as u64 == recovery.end.0, "{} records were read", found.len());
        if let Some((last, _)) = self.model.known.last_key_value() {
            demand!(*last < recovery.end.0, "acknowledged record {last} is lost: the journal ends before {}", recovery.end.0);
        }
        for batch in std::mem::take(&mut self.model.open) {
            let there = batch.iter().filter(|event| events.contains(&event.event_json)).count();
            demand!(there == 0 || there == batch.len(), "{there} of a batch of {} are there", batch.len());
            for event in batch.into_iter().take(there) {
                let place = found.iter().find(|record| record.event_json == event.event_json);
                met.found_unacknowledged += 1;
                self.model.known.extend(place.map(|record| (record.seq.0, event)));
            }
        }
        for (record, seq) in found.iter().zip(recovery.first.0..) {
            self.is_right(record, seq)?;
        }
        let checked = check(&dir, |_| {}).map_err(|fault| format!("check after the recovery: {fault}"))?;
        demand!(checked.end == recovery.end && checked.torn.is_none(), "the recovery left {checked:?}");
        Ok(())
    }

    /// Damages one block of what is acknowledged, in one of the ways in which disks do it, and sees that it is noticed,
    /// named and not served.
    fn rot(&mut self, met: &mut Met) -> Result<(), Violation> {
        let files = segment_files(self.dir.path());
        let at = self.rng.below(files.len() as u64) as usize;
        let Some(file) = files.get(at) else { return Ok(()) };
        let good = std::fs::read(file).unwrap();
        let mut bad = good.clone();
        let blocks = good.len() as u64 / BLOCK_BYTES;
        let block = |n: u64| (n * BLOCK_BYTES) as usize..((n + 1) * BLOCK_BYTES) as usize;
        let (one, other) = (self.rng.below(blocks), self.rng.below(blocks));
        match self.rng.below(4) {
            0 => bad[(one * BLOCK_BYTES + self.rng.below(BLOCK_BYTES)) as usize] ^= 1 << self.rng.below(8),
            1 => bad[block(one)].fill(0),
            2 => bad.copy_within(block(one), block(other).start),
            _ => bad[block(one)].iter_mut().for_each(|byte| *byte = self.rng.next() as u8),
        }
        if bad == good {
            return Ok(());
        }
        met.rot += 1;
        std::fs::write(file, &bad).unwrap();
        // A frame that is missing at a file's end is noticed where the next file begins too late.
        self.is_noticed(&files[at..files.len().min(at + 2)])?;
        std::fs::write(file, &good).unwrap();
        Ok(())
    }

    /// That one of these files is named as damaged, and that no reader gets anything wrong from it.
    fn is_noticed(&self, files: &[PathBuf]) -> Result<(), Violation> {
        let dir = self.dir.path();
        match check(dir, |_| {}) {
            Ok(checked) => return Err(format!("damage was not noticed: {checked:?}")),
            Err(fault) => demand!(files.contains(&fault.file), "damage was looked for in {files:?} and found in {fault}"),
        }
        let before = snapshot(dir);
        if let Err(error) = open_with(dir, self.options()) {
            demand!(matches!(error, OpenError::Damaged(_)), "{error}");
            demand!(snapshot(dir) == before, "opening what is damaged has changed it");
        }
        let first = crate::segment::list(&dir.join("journal")).unwrap()[0];
        let (mut reader, mut seq) = (offline(dir, first), first.0);
        while let Ok(Some(record)) = reader.next() {
            self.is_right(&record, seq)?;
            seq += 1;
        }
        Ok(())
    }

    /// One write of a frame goes to another place of the file, and the disk says that all is well. The history ends here.
    fn misdirect(mut self, met: &mut Met) -> Result<(), Violation> {
        let trouble = Trouble { misdirected_from: Some(self.rng.below(OPERATIONS / 2)), ..Trouble::default() };
        // With its file the damage would go.
        self.retires = false;
        let disk = Arc::new(SimDisk::new(self.dir.path(), self.rng.next(), trouble));
        self.load(&disk, met)?;
        disk.cut_power();
        if disk.misdirected.load(Ordering::SeqCst) {
            met.misdirected += 1;
            let files = segment_files(self.dir.path());
            self.is_noticed(&files)?;
        }
        Ok(())
    }
}

fn snapshot(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    segment_files(dir).into_iter().map(|file| (file.clone(), std::fs::read(file).unwrap())).collect()
}

/// A history of some cycles, with damage at its end.
fn history(seed: u64, cycles: u64, met: &mut Met) -> Result<(), Violation> {
    let mut history = History::new(seed);
    for cycle in 0..cycles {
        let named = |violation| format!("cycle {cycle}: {violation}");
        history.cycle(met).map_err(named)?;
        history.rot(met).map_err(named)?;
    }
    history.misdirect(met).map_err(|violation| format!("misdirected write: {violation}"))
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

#[test]
fn whatever_the_disk_does_nothing_acknowledged_is_lost_and_nothing_damaged_is_served() {
    let cycles = variable("WATCHKEEPER_SIM_CYCLES").unwrap_or(CYCLES);
    let first = variable("WATCHKEEPER_SIM_SEED").unwrap_or(SEED);
    let mut met = Met::default();
    for seed in (first..).take_while({
        let histories = cycles.div_ceil(CYCLES_EACH);
        move |seed| seed - first < histories
    }) {
        if let Err(violation) = history(seed, CYCLES_EACH, &mut met) {
            panic!("{violation}\nTo repeat it: WATCHKEEPER_SIM_SEED={seed} WATCHKEEPER_SIM_CYCLES={CYCLES_EACH}");
        }
    }
    println!("{met:?}");
    // A run that meets none of these would show nothing.
    let each = [met.power_cuts, met.errors, met.stopped, met.disk_full, met.retirements, met.rot, met.misdirected];
    assert!(cycles < CYCLES || each.iter().all(|met| *met > 0), "{met:?}");
}

/// Whether the suite finds that something acknowledged is lost, within a few histories.
fn loses(ignores_sync: bool, ignores_dir_sync: bool) -> bool {
    (SEED..SEED + 10).any(|seed| {
        let (mut history, mut met) = (History::new(seed), Met::default());
        (history.ignores_sync, history.ignores_dir_sync) = (ignores_sync, ignores_dir_sync);
        (0..CYCLES_EACH).any(|_| history.cycle(&mut met).is_err())
    })
}

#[test]
fn the_suite_fails_on_a_disk_that_ignores_fsync() {
    assert!(!loses(false, false));
    assert!(loses(true, false), "files that are not synced");
    assert!(loses(false, true), "names that are not synced");
}
