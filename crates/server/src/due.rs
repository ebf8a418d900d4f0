//! When something that is done again and again is done next: at its interval, and sooner where it failed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long is slept at most: a clock that is set must not make anybody sleep for a month.
const NAP: Duration = Duration::from_secs(60);

/// When something is done next. Times are in seconds since 1970.
#[derive(Debug, Clone)]
pub(crate) struct Due {
    at_s: u64,
    every_s: u64,
    retry_s: u64,
    failures: u32,
}

/// What the clock says, in seconds since 1970.
pub(crate) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Due {
    /// Due at once, then at an interval. What failed is done again after `retry` at the least, which each failure in a row doubles, up to
    /// the interval.
    pub(crate) fn new(every: Duration, retry: Duration) -> Self {
        Self { at_s: 0, every_s: every.max(retry).as_secs(), retry_s: retry.as_secs(), failures: 0 }
    }

    /// Due an interval after it was done last, as somebody else knows.
    pub(crate) fn after(self, last_s: u64) -> Self {
        Self { at_s: last_s.saturating_add(self.every_s), ..self }
    }

    /// Makes it due.
    pub(crate) fn now(&mut self) {
        self.at_s = 0;
    }

    pub(crate) fn is_due(&self, now_s: u64) -> bool {
        self.at_s <= now_s
    }

    /// How long to sleep before it is looked at again.
    pub(crate) fn wait(&self, now_s: u64) -> Duration {
        Duration::from_secs(self.at_s.saturating_sub(now_s)).min(NAP)
    }

    /// It was done, from `began_s` to `now_s`. The interval runs from where it began.
    pub(crate) fn done(&mut self, began_s: u64, now_s: u64, has_failed: bool) {
        let wait =
            if has_failed { self.retry_s.saturating_mul(1 << self.failures.min(12)).min(self.every_s) } else { self.every_s };
        self.failures = if has_failed { self.failures.saturating_add(1) } else { 0 };
        self.at_s = began_s.saturating_add(wait).max(now_s.saturating_add(self.retry_s));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds from a beginning, at which something was done that took `took_s`, until it is done again.
    fn wait(due: &mut Due, took_s: u64, has_failed: bool) -> u64 {
        let began_s = due.at_s.max(1_000);
        due.done(began_s, began_s + took_s, has_failed);
        assert!(!due.is_due(due.at_s - 1) && due.is_due(due.at_s));
        due.at_s - began_s
    }

    #[test]
    fn what_fails_is_tried_soon_and_then_less_and_less_often() {
        let mut due = Due::new(Duration::from_secs(600), Duration::from_secs(30));
        assert!(due.is_due(0));
        assert_eq!(wait(&mut due, 7, false), 600);
        let waits: Vec<u64> = (0..7).map(|_| wait(&mut due, 1, true)).collect();
        assert_eq!(waits, [31, 60, 120, 240, 480, 600, 600]);
        for _ in 0..100 {
            assert_eq!(wait(&mut due, 0, true), 600);
        }
        assert_eq!((wait(&mut due, 1, false), wait(&mut due, 1, true)), (600, 31));
        // What takes longer than its interval is not done without a rest; nor is what has none.
        assert_eq!(wait(&mut due, 700, false), 730);
        assert_eq!(wait(&mut Due::new(Duration::ZERO, Duration::from_secs(30)), 0, false), 30);
    }

    #[test]
    fn nobody_sleeps_for_long_and_what_was_done_elsewhere_counts() {
        let mut due = Due::new(Duration::from_secs(600), Duration::from_secs(30)).after(1_000);
        assert_eq!((due.is_due(1_599), due.is_due(1_600)), (false, true));
        assert_eq!((due.wait(1_000), due.wait(1_590), due.wait(9_999)), (NAP, Duration::from_secs(10), Duration::ZERO));
        due.now();
        assert!(due.is_due(1));
    }
}
