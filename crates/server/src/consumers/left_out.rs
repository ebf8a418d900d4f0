//! What detection left out because something went beyond its bounds, told in gaps (invariant I4).
//!
//! A gap is an event itself, which rules see and which takes its place in what is bounded: so there is one at most every ten seconds,
//! whatever is left out meanwhile is in the next, and nothing is left out of the numbers.

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

    /// The gap that tells it, if there is anything to tell, and if it is time or is to be told `at_once`.
    pub(super) fn gap(&mut self, at_once: bool) -> Option<Event<String>> {
        let is_time = at_once || self.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY);
        if !is_time || self.untold.iter().all(|count| *count == 0) {
            return None;
        }
        self.told = Some(Instant::now());
        let mut gap = internal(Kind::Gap, "detection.bounds");
        gap.set(attr::GAP_REASON, "detection_bounds");
        for ((key, _), count) in counts(&self.taken).into_iter().zip(std::mem::take(&mut self.untold)) {
            if count > 0 {
                gap.set(key, i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
        Some(gap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(left: &mut LeftOut, at_once: bool) -> Option<(Option<i64>, Option<i64>)> {
        let gap = left.gap(at_once)?;
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
    }
}
