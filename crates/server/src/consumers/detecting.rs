//! The consumer that detects: it shows each record to the rules, and records what they find.

use std::time::{Duration, Instant};

use capture::RecordError;
use detect::behaviour::Behaviour;
use detect::{Engine, RuleSet, Skipped};
use event::{ContentId, ContentRef, Event, Key, Kind, attr};
use journal::{Cursor, Journal, Record, Seq};
use keys::Keyring;
use lru::LruCache;
use sanitize::Clean;

use super::behaviour_state::BehaviourState;
use super::{IDLE, Shared, open_cursor, read_batch};
use crate::data_dir::DataDir;
use crate::lifecycle::cold::Step;
use crate::lifecycle::spine::Spine;
use crate::node::{NodeError, internal};
use crate::pipeline::Pipeline;
use crate::room::Failure;

/// Records after which the detector begins anew, warmed up with the records before: what it knows at any record depends on the
/// journal alone and not on when the program was started, so that a replay gives the same detections (invariant I3).
///
/// Tests have short ones, to get from one to the next.
pub(super) const DETECT_EPOCH_RECORDS: u64 = if cfg!(test) { 1 << 7 } else { 1 << 17 };

/// Records before an epoch that the detector reads, without speaking, to know the sessions that are open.
const DETECT_WARM_UP_RECORDS: u64 = DETECT_EPOCH_RECORDS / 8;

/// Records that the detector takes at once.
const DETECT_BATCH_MAX: usize = 1_024;

/// How often the detector writes its cursor: that takes two syncs of the disk on which callers wait for theirs. What it saw since then is
/// seen again after a crash, and what it finds again has the same id.
const CURSOR_EVERY: Duration = Duration::from_secs(1);

/// Bytes of contents that the detector keeps at hand: more than a segment of the journal (64 MiB) holds, and a segment brings every
/// content that its events refer to.
const DETECT_CONTENT_BYTES_MAX: usize = 128 * 1024 * 1024;

/// What a content takes beside its text: its id, its place in the list and in the table, and what the allocator rounds up. Of short texts
/// that is more than they are.
const CONTENT_OVERHEAD: usize = 200;

/// Records from which behaviour is learnt anew where what was known of it is lost: some minutes of reading. Less than a large record has,
/// so that detection goes on within the hour; more than a small one has in a quarter.
const BEHAVIOUR_RECORDS_MAX: u64 = 1 << 25;

/// How often events that came too late are told of at the most: where a clock was ahead once, every event is late for as long.
const LATE_TOLD_EVERY: Duration = Duration::from_secs(10);

/// Detections in one append: bounded, so that a burst fits into a commit.
const DETECT_APPEND_MAX: usize = 64;

/// The detector's cursor below `state/`.
pub(super) const DETECT_CURSOR: &str = "detect.cursor";

/// Why the detector ended.
pub(super) enum Ran {
    /// The program stops.
    Stopped,
    /// It was made to wait, and begins anew.
    Held,
}

pub(super) struct Detector {
    rules: RuleSet,
    engine: Engine,
    /// Contents by id, the most recently met; see [`DETECT_CONTENT_BYTES_MAX`].
    contents: LruCache<ContentId, Clean>,
    content_bytes: usize,
    unreadable: u64,
    /// What has been told of what the engine left out.
    told: Skipped,
    /// When late events were told of.
    late_told: Option<Instant>,
    /// What is known of behaviour at the beginning of the epoch, until the engine is there.
    behaviour: Option<Behaviour>,
    state: BehaviourState,
}

impl Detector {
    pub(super) fn new(rules: RuleSet, state: BehaviourState) -> Result<Self, Failure> {
        let mut engine = Engine::new(rules.again()?);
        engine.exchange_behaviour(None);
        Ok(Self {
            rules,
            engine,
            contents: LruCache::unbounded(),
            content_bytes: 0,
            unreadable: 0,
            told: Skipped::default(),
            late_told: None,
            behaviour: None,
            state,
        })
    }

    pub(super) fn run(mut self, shared: &Shared, spine: &Spine, pipeline: &Pipeline, cursor: Cursor) -> Result<Ran, Failure> {
        let done = cursor.get();
        let mut place = Place { cursor, next: done, written: Instant::now() };
        // The state at `done` is that of its epoch, so it is built the way it was built when the epoch began.
        let mut epoch = Epoch::of(done);
        if !self.learn_behaviour(shared, spine, epoch.begin)? {
            return Ok(Ran::Stopped);
        }
        let mut to_store: Option<(Seq, Vec<u8>)> = None;
        let mut reader = spine.reader_with_contents(epoch.warm_up)?;
        loop {
            if shared.is_detector_to_wait() {
                // Before it waits: what is erased meanwhile is to be known nowhere.
                self.state.forget()?;
                if shared.hold_detector() {
                    place.write()?;
                    return Ok(Ran::Held);
                }
            }
            let taken = Instant::now();
            let batch = read_batch(&mut reader, DETECT_BATCH_MAX)?;
            let before = |to: Seq| Seq(to.0.saturating_sub(1));
            let Some(last) = batch.skip.map(before).or_else(|| batch.records.last().map(|record| record.seq)) else {
                if shared.stopping() {
                    place.write()?;
                    return Ok(Ran::Stopped);
                }
                place.write_in_time()?;
                reader.wait(IDLE);
                continue;
            };
            let mut detections = Vec::new();
            for record in &batch.records {
                if record.seq.0 >= epoch.end {
                    epoch = Epoch::of(record.seq);
                    self.behaviour = self.engine.exchange_behaviour(None);
                    if let Some(behaviour) = self.behaviour.as_ref().filter(|_| self.state.is_due()) {
                        to_store = Some((Seq(epoch.begin), behaviour.to_bytes()?));
                    }
                    self.warm_up(spine, &epoch)?;
                }
                if record.seq.0 >= epoch.begin
                    && let Some(behaviour) = self.behaviour.take()
                {
                    self.told.late = behaviour.late();
                    self.engine.exchange_behaviour(Some(behaviour));
                }
                let found = self.observe(record, epoch.warm_up);
                // What stands before the cursor was detected in an earlier run; it is read for the state alone.
                if record.seq >= done && record.seq.0 >= epoch.begin {
                    detections.extend(found.into_iter().map(detect::Detection::into_event));
                }
            }
            if last >= done {
                detections.extend(self.left_out());
            }
            record_detections(pipeline, detections, &|| shared.stopping())?;
            if last >= done {
                place.next = Seq(last.0 + 1);
                place.write_in_time()?;
                shared.moved(&shared.detected, place.next.0);
            }
            if let Some((at, bytes)) = to_store.take() {
                // The cursor first: a state that is ahead of it is of no use.
                place.write()?;
                self.state.store(at, &bytes)?;
            }
            if batch.records.len() < DETECT_BATCH_MAX {
                shared.gather(taken);
            }
        }
    }

    /// What the rules were not shown since the last time, because an event went beyond their bounds: told in a gap.
    fn left_out(&mut self) -> Option<Event<String>> {
        let mut now = self.engine.skipped();
        if now.late > self.told.late {
            if self.late_told.is_some_and(|at| at.elapsed() < LATE_TOLD_EVERY) {
                now.late = self.told.late;
            } else {
                self.late_told = Some(Instant::now());
            }
        }
        let counts = [
            (Key::of("watchkeeper.gap.calls"), now.calls, self.told.calls),
            (Key::of("watchkeeper.gap.bytes"), now.bytes, self.told.bytes),
            (Key::of("watchkeeper.gap.values"), now.values, self.told.values),
            (Key::of("watchkeeper.gap.flow_bytes"), now.flow_bytes, self.told.flow_bytes),
            (Key::of("watchkeeper.gap.flow_forgotten"), now.flow_forgotten, self.told.flow_forgotten),
            (Key::of("watchkeeper.gap.turn_values"), now.turn_values, self.told.turn_values),
            (Key::of("watchkeeper.gap.evidence_bytes"), now.unsearched, self.told.unsearched),
            (Key::of("watchkeeper.gap.detections"), now.detections, self.told.detections),
            (Key::of("watchkeeper.gap.late"), now.late, self.told.late),
        ];
        self.told = now;
        let mut gap = internal(Kind::Gap, "detection.bounds");
        gap.set(attr::GAP_REASON, "detection_bounds");
        let mut any = false;
        for (key, now, told) in counts {
            if now > told {
                any = true;
                gap.set(key, i64::try_from(now - told).unwrap_or(i64::MAX));
            }
        }
        any.then_some(gap)
    }

    /// Learns what was known of behaviour when an epoch began: from the state that was stored, and the records since. `false` when it is
    /// time to stop.
    fn learn_behaviour(&mut self, shared: &Shared, spine: &Spine, begin: u64) -> Result<bool, Failure> {
        let (mut at, mut behaviour) = match self.state.load()? {
            Some((at, behaviour)) if at.0 <= begin => (at, behaviour),
            // An earlier run knew more than the cursor says that it saw: it is of another journal, or was put here.
            _ => (Seq(begin.saturating_sub(BEHAVIOUR_RECORDS_MAX)), Behaviour::new()),
        };
        if at.0 >= begin {
            self.behaviour = Some(behaviour);
            return Ok(true);
        }
        tracing::info!(from = at.0, to = begin, "reading the record anew to learn behaviour");
        let mut reader = spine.reader_with_contents(at)?;
        while at.0 < begin {
            if shared.stopping() {
                return Ok(false);
            }
            match reader.next()? {
                Some(Step::Record(record)) => {
                    self.take_contents(&record);
                    if record.seq >= at && record.seq.0 < begin {
                        at = Seq(record.seq.0 + 1);
                        if let Ok(event) = record.event() {
                            behaviour.observe(&event, &mut |reference| self.contents.get(&reference.id).cloned());
                        }
                    } else if record.seq.0 >= begin {
                        break;
                    }
                }
                Some(Step::Skip(to)) => at = at.max(to),
                None => break,
            }
        }
        self.behaviour = Some(behaviour);
        Ok(true)
    }

    /// Begins anew with what comes before an epoch.
    fn warm_up(&mut self, spine: &Spine, epoch: &Epoch) -> Result<(), Failure> {
        self.engine = Engine::new(self.rules.again()?);
        self.engine.exchange_behaviour(None);
        let mut reader = spine.reader_with_contents(epoch.warm_up)?;
        while let Some(step) = reader.next()? {
            match step {
                Step::Record(record) if record.seq.0 < epoch.begin => drop(self.observe(&record, epoch.warm_up)),
                Step::Skip(to) if to.0 < epoch.begin => {}
                _ => break,
            }
        }
        // What these records went beyond was told when they came.
        self.told = self.engine.skipped();
        Ok(())
    }

    /// What the record shows; nothing for records before `from`, which only bring contents.
    fn observe(&mut self, record: &Record, from: Seq) -> Vec<detect::Detection> {
        self.take_contents(record);
        if record.seq < from {
            return Vec::new();
        }
        match record.event() {
            Ok(event) => {
                self.engine.observe(record.seq, &event, &mut |reference: &ContentRef| self.contents.get(&reference.id).cloned())
            }
            Err(error) => {
                // The store makes a gap of it; the others go on.
                self.unreadable += 1;
                tracing::error!(seq = record.seq.0, %error, unreadable = self.unreadable, "rules do not see this record");
                Vec::new()
            }
        }
    }

    /// Keeps the contents that a record brings.
    fn take_contents(&mut self, record: &Record) {
        for content in &record.contents {
            self.content_bytes += content.text.len() + CONTENT_OVERHEAD;
            if let Some((_, old)) = self.contents.push(content.id, content.text.clone()) {
                self.content_bytes -= old.len() + CONTENT_OVERHEAD;
            }
        }
        while self.content_bytes > DETECT_CONTENT_BYTES_MAX {
            let Some((_, old)) = self.contents.pop_lru() else { break };
            self.content_bytes -= old.len() + CONTENT_OVERHEAD;
        }
    }
}

/// How far the detector is, and how far its cursor says.
struct Place {
    cursor: Cursor,
    next: Seq,
    /// When the cursor was written last.
    written: Instant,
}

impl Place {
    fn write_in_time(&mut self) -> Result<(), Failure> {
        if self.written.elapsed() < CURSOR_EVERY { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> Result<(), Failure> {
        if self.next != self.cursor.get() {
            self.cursor.set(self.next)?;
        }
        self.written = Instant::now();
        Ok(())
    }
}

/// A stretch of the journal that the detector sees with one state.
struct Epoch {
    warm_up: Seq,
    begin: u64,
    end: u64,
}

impl Epoch {
    fn of(seq: Seq) -> Self {
        let begin = seq.0 - seq.0 % DETECT_EPOCH_RECORDS;
        Self { warm_up: Seq(begin.saturating_sub(DETECT_WARM_UP_RECORDS)), begin, end: begin + DETECT_EPOCH_RECORDS }
    }
}

/// Records detections. One that an earlier run recorded just before it ended has the same id and is not recorded again; one
/// that no commit can hold is told in a gap.
fn record_detections(
    pipeline: &Pipeline,
    mut detections: Vec<Event<String>>,
    stopping: &dyn Fn() -> bool,
) -> Result<(), Failure> {
    while !detections.is_empty() {
        let rest = detections.split_off(detections.len().min(DETECT_APPEND_MAX));
        match pipeline.record_blocking(detections.clone(), stopping) {
            Ok(_) => {}
            Err(RecordError::TooLarge { .. }) if detections.len() > 1 => {
                for one in detections {
                    record_detections(pipeline, vec![one], stopping)?;
                }
            }
            Err(RecordError::TooLarge { .. }) => {
                let mut gap = internal(Kind::Gap, "detection.too_large");
                gap.set(attr::GAP_REASON, "detection_too_large");
                gap.set(attr::GAP_COUNT, 1);
                pipeline.record_blocking(vec![gap], stopping)?;
            }
            Err(error) => return Err(error.into()),
        }
        detections = rest;
    }
    Ok(())
}

/// The detector's cursor. One that stands behind the journal's end has seen records that are no more. Detection begins anew then, and
/// the record says so.
pub(super) fn detect_cursor(
    data: &DataDir,
    keyring: &Keyring,
    journal: &Journal,
    pipeline: &Pipeline,
) -> Result<Cursor, NodeError> {
    let mut cursor = open_cursor(data, keyring, DETECT_CURSOR)?;
    let beyond = cursor.get().0.saturating_sub(journal.end().0);
    if beyond > 0 {
        tracing::error!(
            cursor = cursor.get().0,
            end = journal.end().0,
            "detection was further than the record goes; it begins anew"
        );
        let mut gap = internal(Kind::Gap, "detection.rewound");
        gap.set(attr::GAP_REASON, "detection_beyond_record");
        gap.set(attr::GAP_COUNT, i64::try_from(beyond).unwrap_or(i64::MAX));
        let recorded = pipeline.record_blocking(vec![gap], &|| false);
        recorded.map_err(|error| NodeError::Consumer(format!("cannot record that detection begins anew: {error}")))?;
        cursor.set(Seq(0))?;
    }
    Ok(cursor)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_cursor_is_written_in_time_and_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Cursor::open(dir.path().join("cursor"), Arc::new(|_| [7; 32])).unwrap();
        let never = Instant::now() + Duration::from_secs(3_600);
        let mut place = Place { cursor: open(), next: Seq(5), written: never };
        place.write_in_time().unwrap();
        assert_eq!(open().get(), Seq(0), "it is not time yet");
        place.write().unwrap();
        assert_eq!(open().get(), Seq(5));
        place.next = Seq(9);
        place.written = Instant::now().checked_sub(CURSOR_EVERY).unwrap();
        place.write_in_time().unwrap();
        assert_eq!(open().get(), Seq(9));
    }
}
