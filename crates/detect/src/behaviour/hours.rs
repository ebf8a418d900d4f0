//! At which hours of the week an entity is active.

use serde::{Deserialize, Serialize};

use crate::stats::{HOURS_OF_WEEK, hour_of_week};

/// What an hour of activity counts for: eighths, so that halves fade and do not vanish.
const UNIT: u8 = 8;
/// Active hours on which a habit rests.
pub(super) const SUPPORT_MIN: u32 = 50;
/// The share of active hours at a time of day below which it is unusual. An even spread gives each of 48 times (24 hours, on
/// working days and at weekends) 0.02.
pub(super) const UNUSUAL: f64 = 0.005;
/// Weeks after which all counts fade by a quarter: half of a habit is from the last ten weeks or so.
const FADE_WEEKS: u32 = 4;
/// Different days with an unusual hour after which such hours are learnt, and no longer told: what goes on for so long has been looked
/// at.
const ACCEPT_DAYS: u8 = 4;
/// Days without one after which counting them begins anew.
const ODD_WITHIN_DAYS: u32 = 35;
/// What the first hour at a time counts for when it is not certain that it never comes.
const PRIOR: f64 = 0.25;

/// Active hours, by hour of the week.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hours {
    grid: Vec<u8>,
    /// The last hour that was counted.
    last: u32,
    /// The week of the last fade.
    week: u32,
    /// Weeks known, in units, faded like the counts.
    weeks: u8,
    /// Different days of late with an unusual hour, and the last of them.
    odd_days: u8,
    odd_day: u32,
}

impl Hours {
    pub(crate) fn new(hour: u32) -> Self {
        Self { grid: vec![0; HOURS_OF_WEEK as usize], last: 0, week: week_of(hour), weeks: 0, odd_days: 0, odd_day: 0 }
    }

    /// Counts an hour, once.
    pub(crate) fn learn(&mut self, hour: u32) {
        self.pass(hour);
        if self.last == hour {
            return;
        }
        self.last = hour;
        let slot = &mut self.grid[hour_of_week(hour) as usize];
        *slot = slot.saturating_add(UNIT);
    }

    /// An hour of that day was unusual. Whether there have been so many such days by now that they are a habit, to be learnt.
    pub(crate) fn is_accepted(&mut self, day: u32) -> bool {
        if self.odd_day != day {
            self.odd_days = if day > self.odd_day + ODD_WITHIN_DAYS { 1 } else { self.odd_days.saturating_add(1) };
            self.odd_day = day;
        }
        self.odd_days > ACCEPT_DAYS
    }

    /// Lets weeks pass.
    pub(crate) fn pass(&mut self, hour: u32) {
        let week = week_of(hour);
        while self.week < week {
            self.week += 1;
            self.weeks = self.weeks.saturating_add(UNIT);
            if self.week.is_multiple_of(FADE_WEEKS) {
                self.grid.iter_mut().for_each(|count| *count = faded(*count));
                self.weeks = faded(self.weeks);
            }
            // Nothing is left after that long.
            if week - self.week > 200 {
                self.week = week - 200;
            }
        }
    }

    /// The share of its active hours that lies at this time of day, on days of this kind, hours beside it counting half; and on how many
    /// hours that rests.
    pub(crate) fn share(&self, hour: u32) -> (f64, u32) {
        let slot = hour_of_week(hour) as usize;
        self.share_on(if slot >= 120 { 5..7 } else { 0..5 }, slot % 24)
    }

    /// The share at the same time of day on days of the other kind.
    pub(crate) fn share_otherwise(&self, hour: u32) -> f64 {
        let slot = hour_of_week(hour) as usize;
        self.share_on(if slot >= 120 { 0..5 } else { 5..7 }, slot % 24).0
    }

    fn share_on(&self, days: std::ops::Range<usize>, of_day: usize) -> (f64, u32) {
        let at = |hour: usize| -> f64 { days.clone().map(|day| f64::from(self.grid[day * 24 + hour])).sum::<f64>() };
        let near = (at(of_day) + (at((of_day + 1) % 24) + at((of_day + 23) % 24)) / 2.0) / f64::from(UNIT);
        let total = self.grid.iter().map(|count| f64::from(*count)).sum::<f64>() / f64::from(UNIT);
        ((near / 2.0 + PRIOR) / (total + 48.0 * PRIOR), total as u32)
    }

    /// The probability of being active in that hour, from the same hour on days of its kind (working days, weekends). Never quite 1:
    /// one more day is taken to have been without.
    pub(crate) fn probability(&self, hour: u32) -> f64 {
        let slot = hour_of_week(hour) as usize;
        let days = if slot >= 120 { 5..7_usize } else { 0..5 };
        let known = days.len() as f64 * f64::from(self.weeks) / f64::from(UNIT);
        let active = days.map(|day| f64::from(self.grid[day * 24 + slot % 24])).sum::<f64>() / f64::from(UNIT);
        // Days of the week that runs are counted and their week is not.
        active.min(known) / (known + 1.0)
    }

    /// Weeks that the counts are of, faded.
    pub(crate) fn weeks(&self) -> u32 {
        u32::from(self.weeks / UNIT)
    }
}

fn faded(count: u8) -> u8 {
    count - count.div_ceil(4)
}

fn week_of(hour: u32) -> u32 {
    (hour + 72) / HOURS_OF_WEEK
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Monday's first hour.
    const MONDAY: u32 = 20_780 * 24;

    fn office(weeks: u32) -> Hours {
        let mut hours = Hours::new(MONDAY);
        for day in 0..weeks * 7 {
            if day % 7 < 5 {
                (9..17).for_each(|hour| hours.learn(MONDAY + day * 24 + hour));
            }
        }
        hours
    }

    #[test]
    fn nights_and_weekends_are_unusual_for_an_office() {
        let hours = office(3);
        let later = MONDAY + 3 * 168;
        for (hour, unusual) in [(10, false), (8, false), (17, false), (3, true), (22, true), (5 * 24 + 11, true)] {
            let (share, support) = hours.share(later + hour);
            assert!(support >= SUPPORT_MIN);
            assert_eq!(share < UNUSUAL, unusual, "{hour}: {share}");
            assert_eq!(hours.share_otherwise(later + hour) >= UNUSUAL, hour == 5 * 24 + 11, "{hour}");
        }
    }

    #[test]
    fn one_night_a_week_is_a_habit() {
        let mut hours = office(3);
        (0..3).for_each(|week| hours.learn(MONDAY + week * 168 + 3));
        assert!(hours.share(MONDAY + 3 * 168 + 3).0 > UNUSUAL);
    }

    #[test]
    fn old_habits_fade() {
        let mut hours = office(8);
        let before = hours.share(MONDAY).1;
        hours.pass(MONDAY + 60 * 168);
        assert!(hours.share(MONDAY).1 < before / 4);
        let habit = {
            let mut habit = office(8);
            habit.pass(MONDAY + 8 * 168);
            habit
        };
        assert!(habit.probability(MONDAY + 8 * 168 + 10) > 0.9);
        assert!(habit.probability(MONDAY + 8 * 168 + 2) < 0.01);
        assert!(office(2).weeks() < 2 && office(9).weeks() >= 4);
    }
}
