//! What detection left out because something went beyond its bounds, told in gaps (invariant I4).
//!
//! A gap is an event itself, which rules see and which takes its place in what is bounded: so there is one at most every ten seconds,
//! whatever is left out meanwhile is in the next, and nothing is left out of the numbers: up to which record they are told is stored, and
//! what was not told when the program ended is counted anew when detection reads its epoch anew. Only where a state was lost, and reading
//! begins behind that record, are some records' numbers not known: the gap says of how many.

use std::time::{Duration, Instant};

use detect::Skipped;
use event::{Event, Key, Kind, attr};

use crate::node::internal;

/// How often it is told at the most: where a clock was ahead once every event is late for as long, and where windows are full every event
/// drives out another.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// How many numbers there are.
const COUNTS: usize = 12;

/// What was left out and is not told of yet.
#[derive(Default)]
pub(super) struct LeftOut {
    /// The numbers of the engine that were taken.
    taken: Skipped,
    untold: [u64; COUNTS],
    /// Records of which it is not known what was left out.
    uncounted: u64,
    told: Option<Instant>,
}

/// The numbers, with the attribute that each has in the gap.
fn counts(skipped: &Skipped) -> [(Key, u64); COUNTS] {
    [
        (Key::of("watchkeeper.gap.calls"), skipped.calls),
        (Key::of("watchkeeper.gap.bytes"), skipped.bytes),
        (Key::of("watchkeeper.gap.values"), skipped.values),
        (Key::of("watchkeeper.gap.flow_bytes"), skipped.flow_bytes),
        (Key::of("watchkeeper.gap.flow_forgotten"), skipped.flow_forgotten),
        (Key::of("watchkeeper.gap.turn_values"), skipped.turn_values),
        (Key::of("watchkeeper.gap.evidence_bytes"), skipped.unsearched),
        (Key::of("watchkeeper.gap.detections"), skipped.detections),
        (Key::of("watchkeeper.gap.late"), skipped.late),
        (Key::of("watchkeeper.gap.implausible"), skipped.implausible),
        (Key::of("watchkeeper.gap.correlation_groups"), skipped.correlation_groups),
        (Key::of("watchkeeper.gap.correlation_events"), skipped.correlation_events),
    ]
}

impl LeftOut {
    /// Goes on from the numbers of an engine: what it left out before is told already, or is not to be.
    pub(super) fn begin(&mut self, now: Skipped) {
        self.taken = now;
    }

    /// Takes what an engine left out since the last time.
    pub(super) fn take(&mut self, now: Skipped) {
        let before = counts(&std::mem::replace(&mut self.taken, now));
        for ((untold, (_, now)), (_, before)) in self.untold.iter_mut().zip(counts(&now)).zip(before) {
            *untold = untold.saturating_add(now.saturating_sub(before));
        }
    }

    /// Notes records of which nobody knows any more what was left out.
    pub(super) fn miss(&mut self, records: u64) {
        self.uncounted = self.uncounted.saturating_add(records);
    }

    /// The gap that tells it, if there is anything to tell, and if it is time or is to be told `at_once`. It is not told until
    /// [`told`](Self::told) says so.
    pub(super) fn gap(&self, at_once: bool) -> Option<Event<String>> {
        let is_time = at_once || self.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY);
        if !is_time || (self.uncounted == 0 && self.untold.iter().all(|count| *count == 0)) {
            return None;
        }
        let mut gap = internal(Kind::Gap, "detection.bounds");
        gap.set(attr::GAP_REASON, "detection_bounds");
        let counts = counts(&self.taken).into_iter().map(|(key, _)| key).zip(self.untold);
        for (key, count) in counts.chain([(Key::of("watchkeeper.gap.uncounted"), self.uncounted)]) {
            if count > 0 {
                gap.set(key, i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
        Some(gap)
    }

    /// What the last gap says is recorded.
    pub(super) fn told(&mut self) {
        (self.untold, self.uncounted, self.told) = ([0; COUNTS], 0, Some(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(left: &mut LeftOut, at_once: bool) -> Option<(Option<i64>, Option<i64>)> {
        let gap = left.gap(at_once)?;
        assert!(left.gap(at_once).is_some(), "until it is recorded");
        left.told();
        let number = |name: &str| gap.attribute(name).and_then(event::Value::as_int);
        Some((number("watchkeeper.gap.correlation_groups"), number("watchkeeper.gap.late")))
    }

    #[test]
    fn one_gap_in_ten_seconds_tells_all_and_another_engine_loses_none() {
        let mut left = LeftOut::default();
        let of = |correlation_groups, late| Skipped { correlation_groups, late, ..Skipped::default() };
        left.begin(of(7, 0));
        left.take(of(7, 0));
        assert_eq!(told(&mut left, true), None);
        left.take(of(9, 0));
        assert_eq!(told(&mut left, false), Some((Some(2), None)));
        left.take(of(10, 5));
        assert_eq!(told(&mut left, false), None, "it is not time");
        // The engine of the next epoch counts from its own beginning.
        left.begin(of(1, 5));
        left.take(of(3, 6));
        assert_eq!(told(&mut left, false), None);
        left.told = Instant::now().checked_sub(TOLD_EVERY);
        assert_eq!(told(&mut left, false), Some((Some(3), Some(6))));
        left.take(of(4, 6));
        assert_eq!((told(&mut left, true), told(&mut left, true)), (Some((Some(1), None)), None));
        left.miss(9);
        let gap = left.gap(true).unwrap();
        assert_eq!(gap.attribute("watchkeeper.gap.uncounted").and_then(event::Value::as_int), Some(9));
    }
}
