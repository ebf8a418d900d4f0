//! Days of a drill: weeks that are over, so that habits can be told of before what is unlike them.

use serde::{Deserialize, Deserializer};

/// Seconds of a day.
pub const DAY_S: u64 = 86_400;

/// Weeks between the first day of the calendar and this week.
const WEEKS: u64 = 5;

/// Days since 1970 of a Monday (1970-01-05).
const A_MONDAY: u64 = 4;

/// Last day that can be named: all of them are over.
const DAY_MAX: u64 = WEEKS * 7 - 1;

/// The days of a drill. Day 0 is a Monday five weeks ago, in UTC.
#[derive(Debug, Clone, Copy)]
pub struct Calendar {
    begin_s: u64,
}

impl Calendar {
    /// The calendar of a drill that is held now (seconds since 1970).
    #[must_use]
    pub fn of(now_s: u64) -> Self {
        let days = now_s / DAY_S;
        let monday = days - (days.saturating_sub(A_MONDAY)) % 7;
        Self { begin_s: monday.saturating_sub(WEEKS * 7) * DAY_S }
    }

    /// Where a time of a day lies, in seconds since 1970.
    #[must_use]
    pub const fn time_s(self, day: u64, second: u64) -> u64 {
        self.begin_s + day * DAY_S + second
    }
}

/// Days of the calendar and a time of day: `day 28 10:00`, `days 0-24 09:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days {
    /// The first day.
    pub first: u64,
    /// The last one.
    pub last: u64,
    /// Seconds of the day.
    pub second: u64,
}

impl Days {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (days, time) = match (words.next()?, words.next()?, words.next()?, words.next()) {
            ("day" | "days", days, time, None) => (days, time),
            _ => return None,
        };
        let (first, last) = days.split_once('-').unwrap_or((days, days));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        let (hour, minute) = time.split_once(':')?;
        let (hour, minute): (u64, u64) = (hour.parse().ok()?, minute.parse().ok()?);
        let is_valid = first <= last && last <= DAY_MAX && hour < 24 && minute < 60;
        is_valid.then_some(Self { first, last, second: hour * 3_600 + minute * 60 })
    }

    /// The days, with or without Saturdays and Sundays.
    pub fn days(self, workdays: bool) -> impl Iterator<Item = u64> {
        (self.first..=self.last).filter(move |day| !workdays || day % 7 < 5)
    }
}

impl<'de> Deserialize<'de> for Days {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "{text:?} is no day; write `day 28 10:00` or `days 0-24 09:00`, with days to {DAY_MAX}"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_and_lie_in_the_past() {
        assert_eq!(Days::parse("days 0-24 09:30"), Some(Days { first: 0, last: 24, second: 34_200 }));
        assert_eq!(Days::parse("day 3 00:00"), Some(Days { first: 3, last: 3, second: 0 }));
        for wrong in ["day 3", "day 35 10:00", "days 4-3 10:00", "day 1 24:00", "day 1 10:00 x", "3 10:00"] {
            assert_eq!(Days::parse(wrong), None, "{wrong}");
        }
        // 2026-11-22, a Sunday: day 0 is Monday, 2026-10-12.
        let calendar = Calendar::of(1_795_305_600);
        assert_eq!(calendar.time_s(0, 0), 1_791_763_200);
        assert!(calendar.time_s(DAY_MAX, DAY_S) <= 1_795_305_600);
        assert_eq!(Days::parse("days 3-8 10:00").unwrap().days(true).collect::<Vec<_>>(), [3, 4, 7, 8]);
    }
}
