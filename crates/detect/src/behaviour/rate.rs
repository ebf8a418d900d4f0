//! Counts of an entity hour by hour (or day by day), against its own habit and that of its peers.

use serde::{Deserialize, Serialize};

use crate::stats::Quantiles;

/// The probability with which an ordinary period is beyond the tail.
const RISK: f64 = 1e-5;
/// The highest ordinary value: one period in a hundred is beyond it.
const HIGH: f64 = 0.99;
/// How many times that is the least, and the most, that can be unusual where much is known.
const LEAST: f64 = 1.5;
/// See [`LEAST`].
const MOST: f64 = 2.0;
/// How far above what all peers do somebody must be of whom nothing is known.
const STRANGER: f64 = 2.0;
/// Days on which the same is flagged, after which it is the habit: what somebody did not stop is looked at by now.
const ACCEPT_DAYS: u8 = 7;

/// How long the periods are that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Period {
    Hour,
    Day,
}

impl Period {
    /// Periods of its own on which a habit rests before anything is said of it.
    const fn own_min(self) -> u32 {
        match self {
            Self::Hour => 24,
            Self::Day => 10,
        }
    }

    /// Periods of peers that stand in for those of an entity that is new.
    pub(crate) const fn peers_min(self) -> u32 {
        match self {
            Self::Hour => 500,
            Self::Day => 150,
        }
    }
}

/// What is counted in a period, and how it was in periods before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rate {
    current: f32,
    flagged: bool,
    /// Different days on which it was flagged lately.
    flagged_days: u8,
    flagged_day: u32,
    habit: Quantiles,
    /// The value beyond which a period is unusual, by its own habit; 0 while too little is known.
    beyond: f32,
}

/// A count that is beyond what is usual.
pub(crate) struct Beyond {
    pub(crate) observed: f64,
    pub(crate) expected: f64,
    pub(crate) support: u32,
    pub(crate) peers: f64,
}

impl Rate {
    /// Counts.
    pub(crate) fn add(&mut self, value: f64) {
        self.current += value as f32;
    }

    /// Counts what is known as a whole.
    pub(crate) fn set(&mut self, value: f64) {
        self.current = value as f32;
    }

    pub(crate) fn current(&self) -> f64 {
        f64::from(self.current)
    }

    /// Whether the count of the running period is beyond what is usual, and at least `least`. `learns`: too little is known of the
    /// entity, so that only its peers can say.
    pub(crate) fn check(&mut self, period: Period, least: f64, learns: bool, peers: &Quantiles, day: u32) -> Option<Beyond> {
        let observed = self.current();
        if observed < least {
            return None;
        }
        let of_peers = || beyond(peers, period.peers_min());
        let own = f64::from(self.beyond);
        let (support, expected) = if !learns {
            // Whoever is not new is judged by themselves, and not before enough is known.
            if own == 0.0 || observed <= own {
                return None;
            }
            (self.habit.support(), self.habit.quantile(0.5).unwrap_or(0.0))
        } else {
            if of_peers().is_none_or(|usual| observed <= usual * STRANGER) {
                return None;
            }
            (peers.support(), peers.quantile(0.5).unwrap_or(0.0))
        };
        if !self.flagged {
            self.flagged = true;
            if self.flagged_day != day {
                // A month without one, and it is no habit that is coming.
                self.flagged_days = if day > self.flagged_day + 30 { 1 } else { self.flagged_days.saturating_add(1) };
                self.flagged_day = day;
            }
        }
        (self.flagged_days <= ACCEPT_DAYS).then(|| Beyond { observed, expected, support, peers: of_peers().unwrap_or(0.0) })
    }

    /// The period is over. It is learnt, unless it was flagged and is no habit by now.
    pub(crate) fn close(&mut self, period: Period, peers: &mut Quantiles) {
        let value = self.current();
        if !self.flagged || self.flagged_days >= ACCEPT_DAYS {
            self.habit.add(value);
            peers.add(value);
            self.beyond = beyond(&self.habit, period.own_min()).unwrap_or(0.0) as f32;
        }
        self.current = 0.0;
        self.flagged = false;
    }

    /// The most that is usual, for those who show it.
    pub(crate) fn usual(&self) -> f64 {
        f64::from(self.beyond)
    }
}

/// The value beyond which a period is unusual: the tail's, which is believed as far as it lies between once and a half and some times
/// the highest ordinary value. The less is known, the more times.
fn beyond(habit: &Quantiles, support_min: u32) -> Option<f64> {
    if habit.support() < support_min {
        return None;
    }
    let high = 1.0 + habit.quantile(HIGH)?;
    let most = high * (MOST + f64::from(support_min) * 2.0 / f64::from(habit.support()));
    let tail = habit.tail(RISK).map_or(most, |tail| (1.0 + tail).clamp(high * LEAST, most));
    Some(tail - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUPPORT_MIN: u32 = Period::Hour.own_min();

    fn habit(count: u32, value: impl Fn(u32) -> f64) -> (Rate, Quantiles) {
        let (mut rate, mut peers) = (Rate::default(), Quantiles::default());
        for index in 0..count {
            rate.add(value(index));
            rate.close(Period::Hour, &mut peers);
        }
        (rate, peers)
    }

    #[test]
    fn nothing_is_said_without_support() {
        let (mut rate, peers) = habit(SUPPORT_MIN - 1, |_| 5.0);
        rate.add(1e6);
        assert!(rate.check(Period::Hour, 20.0, false, &peers, 1).is_none());
        let (mut rate, peers) = habit(SUPPORT_MIN, |_| 5.0);
        rate.add(1e6);
        let beyond = rate.check(Period::Hour, 20.0, false, &peers, 1).unwrap();
        assert_eq!((beyond.observed, beyond.support), (1e6, SUPPORT_MIN));
        assert!((4.0..6.5).contains(&beyond.expected));
    }

    #[test]
    fn peers_speak_for_who_is_new() {
        let mut peers = Quantiles::default();
        (0..1_000).for_each(|index| peers.add(f64::from(index % 20)));
        for (value, says) in [(60.0, false), (2_000.0, true)] {
            let mut new = Rate::default();
            new.add(value);
            assert_eq!(new.check(Period::Hour, 20.0, true, &peers, 1).is_some(), says, "{value}");
        }
    }

    #[test]
    fn what_was_flagged_is_not_learnt_until_it_is_a_habit() {
        let (mut rate, mut peers) = habit(100, |index| f64::from(index % 10));
        let usual = rate.usual();
        for day in 0..20 {
            rate.add(1e4);
            let said = rate.check(Period::Hour, 20.0, false, &peers, 100 + day).is_some();
            assert_eq!(said, day < u32::from(ACCEPT_DAYS), "{day}");
            if day < u32::from(ACCEPT_DAYS) - 1 {
                rate.close(Period::Hour, &mut peers);
                assert_eq!(rate.usual(), usual, "{day}");
            } else {
                rate.close(Period::Hour, &mut peers);
            }
        }
    }
}
