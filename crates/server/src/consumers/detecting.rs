//! The consumer that detects: it shows each record to the rules, and records what they find.

use std::sync::Arc;
use std::time::{Duration, Instant};

use capture::RecordError;
use detect::behaviour::Behaviour;
use detect::{Carried, InForce, RuleSet};
use event::{Event, Kind, attr};
use journal::{Cursor, Journal, Seq};
use keys::Keyring;

use super::stored::{LeftOutTold, Stored};
use super::watching::{Known, Watching};
use super::{IDLE, Shared, open_cursor, read_batch};
use crate::data_dir::DataDir;
use crate::lifecycle::spine::Spine;
use crate::node::{NodeError, internal};
use crate::pipeline::Pipeline;
use crate::room::Failure;

/// Records that the detector takes at once.
const DETECT_BATCH_MAX: usize = 1_024;

/// How often the detector writes its cursor: that takes two syncs of the disk on which callers wait for theirs. What it saw since then is
/// seen again after a crash, and what it finds again has the same id.
const CURSOR_EVERY: Duration = Duration::from_secs(1);

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
    /// There are other rules, with which it begins anew.
    Exchanged,
}

pub(super) struct Detector {
    watching: Watching,
    /// How often the rules had been exchanged when these were taken.
    exchange: u64,
    behaviour: Stored<Behaviour>,
    carried: Stored<Carried>,
    left_out_told: Stored<LeftOutTold>,
}

impl Detector {
    /// A detector that goes on at `done`. Which rules came when is noted before it says anything by them.
    pub(super) fn new(rules: RuleSet, exchange: u64, data: &DataDir, keyring: &Arc<Keyring>, done: Seq) -> Result<Self, Failure> {
        let mut noted = Stored::<InForce>::new(data, keyring.clone());
        let before = noted.load()?.map(|(_, before)| before);
        let in_force = InForce::of(&rules, before.as_ref(), done);
        if before.as_ref() != Some(&in_force) {
            noted.store(done, serde_json::to_vec(&in_force)?)?;
        }
        let mut watching = Watching::new(rules);
        watching.put_in_force(in_force);
        let (behaviour, carried) = (Stored::new(data, keyring.clone()), Stored::new(data, keyring.clone()));
        Ok(Self { watching, exchange, behaviour, carried, left_out_told: Stored::new(data, keyring.clone()) })
    }

    pub(super) fn run(mut self, shared: &Shared, spine: &Spine, pipeline: &Pipeline, cursor: Cursor) -> Result<Ran, Failure> {
        let done = cursor.get();
        let mut place = Place { cursor, next: done, written: Instant::now() };
        // The state at `done` is that of its epoch, so it is built the way it was built when the epoch began.
        let known = Known { behaviour: self.behaviour.load()?, carried: self.carried.load()? };
        if !self.watching.begin(spine, done, Some(known), &|| shared.stopping())? {
            return Ok(Ran::Stopped);
        }
        // What was left out and not told when the last run ended is counted anew.
        match self.left_out_told.load()? {
            Some((told, _)) => self.watching.count_from(told),
            None => self.left_out_told.store(done, Vec::new())?,
        }
        let mut to_store: Option<ToStore> = None;
        let mut reader = spine.reader_with_contents(self.watching.start())?;
        loop {
            if shared.is_detector_to_wait() {
                // Before it waits: what is erased meanwhile is to be known nowhere.
                self.behaviour.forget()?;
                self.carried.forget()?;
                if shared.hold_detector() {
                    self.tell_rest(pipeline, shared);
                    place.write()?;
                    return Ok(Ran::Held);
                }
            }
            if shared.rules_exchanged() != self.exchange {
                self.tell_rest(pipeline, shared);
                place.write()?;
                return Ok(Ran::Exchanged);
            }
            if shared.stopping() && self.watching.is_silent() {
                // It only reads what it has told of already.
                return Ok(Ran::Stopped);
            }
            let taken = Instant::now();
            let batch = read_batch(&mut reader, DETECT_BATCH_MAX)?;
            let before = |to: Seq| Seq(to.0.saturating_sub(1));
            let Some(last) = batch.skip.map(before).or_else(|| batch.records.last().map(|record| record.seq)) else {
                if shared.stopping() {
                    self.tell_rest(pipeline, shared);
                    place.write()?;
                    return Ok(Ran::Stopped);
                }
                self.tell(pipeline, shared, Vec::new(), Some(false))?;
                place.write_in_time()?;
                reader.wait(IDLE);
                continue;
            };
            let mut detections = Vec::new();
            let mut is_of_next = false;
            for record in &batch.records {
                let found = self.watching.take(spine, record, &mut |at, ended| {
                    is_of_next = true;
                    let is_due = self.behaviour.is_due();
                    if is_due || self.carried.is_due() {
                        let behaviour = if is_due { Some(ended.behaviour.to_bytes()?) } else { None };
                        to_store = Some(ToStore { at, behaviour, carried: ended.carried.to_bytes()? });
                    }
                    Ok(())
                })?;
                // What stands before the cursor was detected in an earlier run; it is read for the state alone.
                if record.seq >= done {
                    detections.extend(found.into_iter().map(detect::Detection::into_event));
                }
            }
            // An epoch leaves nothing untold: whoever begins in the next does not read it.
            self.tell(pipeline, shared, detections, (last >= done).then_some(is_of_next))?;
            if last >= done {
                place.next = Seq(last.0 + 1);
                place.write_in_time()?;
                shared.moved(&shared.detected, place.next.0);
            }
            if let Some(ToStore { at, behaviour, carried }) = to_store.take() {
                // The cursor first: a state that is ahead of it is of no use. And behaviour last, on which the other rests.
                place.write()?;
                self.carried.store(at, carried)?;
                if let Some(behaviour) = behaviour {
                    self.behaviour.store(at, behaviour)?;
                }
            }
            if batch.records.len() < DETECT_BATCH_MAX {
                shared.gather(taken);
            }
        }
    }

    /// Records detections, and what was left out, if that is to be told: when it is time, or at once. Up to which record it is told is
    /// stored then.
    fn tell(
        &mut self,
        pipeline: &Pipeline,
        shared: &Shared,
        mut detections: Vec<Event<String>>,
        left_out: Option<bool>,
    ) -> Result<(), Failure> {
        let gap = left_out.and_then(|at_once| self.watching.left_out(at_once));
        let is_told = gap.is_some();
        detections.extend(gap);
        record_detections(pipeline, detections, &|| shared.stopping())?;
        if is_told {
            self.watching.told_left_out();
        }
        match self.watching.counted_to().filter(|_| is_told || left_out == Some(true)) {
            Some(to) => Ok(self.left_out_told.store(to, Vec::new())?),
            None => Ok(()),
        }
    }

    /// Tells what was left out and was not to be told yet: whoever comes next does not know of it.
    fn tell_rest(&mut self, pipeline: &Pipeline, shared: &Shared) {
        if let Err(error) = self.tell(pipeline, shared, Vec::new(), Some(true)) {
            tracing::error!(%error, "what detection left out last cannot be recorded; it is counted anew at the next start");
        }
    }
}

/// What is known at a place of the journal, to be stored.
struct ToStore {
    at: Seq,
    behaviour: Option<Vec<u8>>,
    carried: Vec<u8>,
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
