//! What is usual at an hour of the week.

use serde::{Deserialize, Serialize};

/// Hours of a week.
pub const HOURS_OF_WEEK: u32 = 168;
/// How fast the level of an hour of the week follows: a quarter from week to week.
const FOLLOW: f32 = 0.25;
/// How fast the level of all hours follows.
const FOLLOW_LEVEL: f32 = 1.0 / 72.0;

/// The hour of the week, Monday's first hour (UTC) being 0, of an hour since 1970.
#[must_use]
pub fn hour_of_week(hour: u32) -> u32 {
    // 1970 began on a Thursday.
    (hour + 72) % HOURS_OF_WEEK
}

/// The usual value of each hour of the week, from what came in it; of hours that have not been there yet that of the hour of
/// the day, and then that of all hours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Season {
    /// By hour of the week; NaN where nothing is known.
    week: Vec<f32>,
    /// By hour of the day, on working days and at weekends.
    day: Vec<f32>,
    level: f32,
    count: u32,
}

impl Default for Season {
    fn default() -> Self {
        Self { week: vec![f32::NAN; HOURS_OF_WEEK as usize], day: vec![f32::NAN; 48], level: 0.0, count: 0 }
    }
}

impl Season {
    /// What is usual in that hour since 1970. `None` before anything came.
    #[must_use]
    pub fn expected(&self, hour: u32) -> Option<f32> {
        let (slot, of_day) = slots(hour);
        let known = [self.week[slot], self.day[of_day], self.level].into_iter().find(|value| !value.is_nan());
        known.filter(|_| self.count > 0)
    }

    /// How many hours it rests on.
    #[must_use]
    pub fn support(&self) -> u32 {
        self.count
    }

    /// Learns the value of that hour. What is no number is passed over.
    pub fn learn(&mut self, hour: u32, value: f32) {
        let Some(value) = super::taken_f32(value) else { return };
        let (slot, of_day) = slots(hour);
        for old in [&mut self.week[slot], &mut self.day[of_day]] {
            *old = if old.is_nan() { value } else { *old + FOLLOW * (value - *old) };
        }
        self.count = self.count.saturating_add(1);
        self.level += (value - self.level) * FOLLOW_LEVEL.max(1.0 / self.count as f32);
    }
}

fn slots(hour: u32) -> (usize, usize) {
    let slot = hour_of_week(hour) as usize;
    (slot, slot % 24 + if slot >= 120 { 24 } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_of_the_week_that_calendars_have() {
        // 2026-11-23 is a Monday: 20,780 days after 1970-01-01.
        assert_eq!(hour_of_week(20_780 * 24), 0);
        assert_eq!(hour_of_week(20_779 * 24 + 23), 167);
    }

    #[test]
    fn an_hour_is_expected_as_it_was_and_a_new_one_as_others_of_its_kind() {
        let mut season = Season::default();
        assert_eq!(season.expected(5), None);
        let monday = 20_780 * 24;
        for hour in 0..24 {
            season.learn(monday + hour, hour as f32);
        }
        assert_eq!(season.expected(monday + 9), Some(9.0));
        assert_eq!(season.expected(monday + 24 + 9), Some(9.0), "a Tuesday");
        let saturday = season.expected(monday + 5 * 24 + 9).unwrap();
        assert!((saturday - 11.5).abs() < 1.0, "{saturday}");
    }
}
