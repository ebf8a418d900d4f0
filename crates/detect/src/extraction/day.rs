//! A day of an account's prompts: it ends when the account pauses by night, not when the clock strikes.
//!
//! Counts of a day that ended at midnight would count what goes on over midnight in halves, each of which may be too few. So a
//! day goes on after midnight (UTC) until the first pause, as it does for people. A machine that never pauses has days, too:
//! they end at noon.

use serde::{Deserialize, Serialize};

/// Seconds of a day of the clock.
const CLOCK_DAY_S: i64 = 86_400;
/// Seconds after midnight at which a day ends that no pause has ended.
const NOON_S: i64 = CLOCK_DAY_S / 2;
/// Seconds without a prompt that are a pause.
const PAUSE_S: i64 = 30 * 60;

/// The day that runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Day {
    /// The day of the clock on which it began (since 1970, UTC); 0 before the first. Two days never have the same.
    number: u32,
    /// The latest time (seconds since 1970) at which something came.
    latest_s: i64,
}

impl Day {
    /// Something comes at `time_s` (seconds since 1970): whether another day begins with it. What comes late, or by a clock that
    /// was set back, belongs to the day that runs, and is no pause.
    pub(super) fn turn_to(&mut self, time_s: i64) -> bool {
        let Ok(today) = u32::try_from(time_s.div_euclid(CLOCK_DAY_S)) else { return false };
        let has_paused = time_s.saturating_sub(self.latest_s) >= PAUSE_S;
        self.latest_s = self.latest_s.max(time_s);
        let noon_s = (i64::from(self.number) + 1) * CLOCK_DAY_S + NOON_S;
        let is_over = today > self.number && (has_paused || time_s >= noon_s);
        if is_over {
            self.number = today;
        }
        is_over
    }

    /// The day of the clock on which it began (since 1970, UTC); 0 before the first.
    pub(super) fn number(self) -> u32 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Monday, 2026-01-05.
    const MONDAY: i64 = 20_458;
    const MINUTE_S: i64 = 60;

    /// `day` days after that Monday, at a time of the clock.
    fn at(day: i64, hour: i64, minute: i64) -> i64 {
        (MONDAY + day) * CLOCK_DAY_S + (hour * 60 + minute) * MINUTE_S
    }

    /// The times at which days begin, of what comes at these times.
    fn begun(times: impl IntoIterator<Item = i64>) -> Vec<i64> {
        let mut day = Day::default();
        times.into_iter().filter(|time_s| day.turn_to(*time_s)).collect()
    }

    /// From one time to the next, so many seconds apart.
    fn every(from_s: i64, to_s: i64, step_s: i64) -> impl Iterator<Item = i64> {
        (0..=(to_s - from_s) / step_s).map(move |index| from_s + index * step_s)
    }

    #[test]
    fn a_sweep_that_goes_on_over_midnight_is_of_one_day() {
        assert_eq!(begun(every(at(0, 23, 20), at(1, 0, 20), 4)), [at(0, 23, 20)]);
        // After a day's work, too, and until the morning.
        let work = every(at(0, 9, 0), at(0, 17, 0), 600);
        assert_eq!(begun(work.chain(every(at(0, 22, 0), at(1, 7, 0), 60))), [at(0, 9, 0)]);
    }

    #[test]
    fn work_before_and_after_a_nights_pause_is_of_two_days() {
        let work = (0..5).flat_map(|day| every(at(day, 9, 0), at(day, 17, 0), 900));
        assert_eq!(begun(work), [0, 1, 2, 3, 4].map(|day| at(day, 9, 0)));
        // Up late, and the pause begins after midnight.
        let late = every(at(0, 20, 0), at(1, 1, 30), 600).chain(every(at(1, 8, 0), at(1, 12, 0), 600));
        assert_eq!(begun(late), [at(0, 20, 0), at(1, 8, 0)]);
    }

    #[test]
    fn the_first_pause_that_ends_after_midnight_ends_the_day_and_a_shorter_one_does_not() {
        let around = |after_s: i64| begun([at(0, 23, 0), at(0, 23, 20), at(0, 23, 45), at(0, 23, 45) + after_s]);
        assert_eq!(around(PAUSE_S - 1), [at(0, 23, 0)]);
        assert_eq!(around(PAUSE_S), [at(0, 23, 0), at(1, 0, 15)]);
        // Pauses before midnight end no day, and of those after it the first one does alone.
        assert_eq!(begun([at(0, 1, 0), at(0, 9, 0), at(0, 23, 0)]), [at(0, 1, 0)]);
        assert_eq!(begun([at(0, 23, 50), at(1, 0, 30), at(1, 3, 0), at(1, 23, 0)]), [at(0, 23, 50), at(1, 0, 30)]);
    }

    #[test]
    fn who_never_pauses_has_days_that_end_at_noon() {
        let always = every(at(0, 15, 0), at(3, 18, 0), 60);
        assert_eq!(begun(always), [at(0, 15, 0), at(1, 12, 0), at(2, 12, 0), at(3, 12, 0)]);
    }

    #[test]
    fn what_comes_late_or_by_a_clock_set_back_belongs_to_the_day_that_runs() {
        // Of the day before, when the next one has begun; and what goes on then has not paused.
        let late = [at(0, 10, 0), at(1, 9, 0), at(0, 23, 50), at(1, 9, 10), at(0, 10, 0), at(1, 9, 20)];
        assert_eq!(begun(late), [at(0, 10, 0), at(1, 9, 0)]);
        // Late ones between those that go on over midnight make no pause of them.
        let mixed = [at(0, 23, 40), at(0, 23, 59), at(0, 22, 0), at(1, 0, 10), at(0, 23, 0), at(1, 0, 30)];
        assert_eq!(begun(mixed), [at(0, 23, 40)]);
        // A clock that is set back by a day: its days count on when it has caught up.
        let set_back = every(at(1, 9, 0), at(1, 17, 0), 600).chain(every(at(0, 17, 0), at(1, 17, 0), 600)).chain(every(
            at(2, 9, 0),
            at(2, 17, 0),
            600,
        ));
        assert_eq!(begun(set_back), [at(1, 9, 0), at(2, 9, 0)]);
        // What lies before 1970, or at the end of time, is no time.
        assert_eq!(begun([-5, i64::MIN, at(0, 9, 0), i64::MAX, at(1, 9, 0)]), [at(0, 9, 0), at(1, 9, 0)]);
    }

    #[test]
    fn a_stored_day_goes_on() {
        let mut day = Day::default();
        let begun: Vec<i64> = every(at(0, 21, 0), at(2, 3, 0), 300)
            .filter(|time_s| {
                let stored = postcard::to_extend(&day, Vec::new()).unwrap();
                day = postcard::from_bytes(&stored).unwrap();
                day.turn_to(*time_s)
            })
            .collect();
        assert_eq!(begun, [at(0, 21, 0), at(1, 12, 0)]);
    }

    proptest! {
        #[test]
        fn a_day_has_one_midnight_and_ends_by_noon(steps in proptest::collection::vec(0..2 * 3_600_i64, 1..300)) {
            let (mut day, mut time_s, mut before) = (Day::default(), at(0, 0, 0), 0);
            for step_s in steps {
                time_s += step_s;
                let turned = day.turn_to(time_s);
                prop_assert!(!turned || day.number() > before, "no number comes twice");
                prop_assert!(time_s < (i64::from(day.number()) + 1) * CLOCK_DAY_S + NOON_S);
                before = day.number();
            }
        }
    }
}
