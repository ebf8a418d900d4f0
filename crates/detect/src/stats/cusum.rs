//! Slow ramps: a cumulative sum (Page 1954) against a baseline that is not learnt from while the sum is up.

use serde::{Deserialize, Serialize};

use super::taken_f32;

/// Values from which the baseline is learnt plainly before anything is said.
const LEARN: u16 = 10;
/// How fast it follows later: each value is a thirtieth of it.
const FOLLOW: f32 = 1.0 / 30.0;
/// Deviations that a value may be above the baseline without adding to the sum.
const SLACK: f32 = 0.5;
/// Most that one value adds: one day, however high, is a spike and no ramp.
const STEP_MAX: f32 = 2.0;
/// The sum that is a ramp.
const ALARM: f32 = 9.0;
/// The sum from which the baseline no longer follows.
const SUSPICIOUS: f32 = 2.0;

/// The least deviation that is believed where no caller asks for more.
const FLOOR: f32 = 1e-6;

/// A level and how far values have crept away from it, upwards.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cusum {
    count: u16,
    mean: f32,
    deviation: f32,
    sum: f32,
    /// Mean of what came since the sum was last at 0.
    recent: f32,
    recent_count: u16,
}

/// A ramp: where values are, and where they were.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ramp {
    /// Mean since the ramp began.
    pub observed: f32,
    /// The level before.
    pub expected: f32,
    /// Values that the level rests on.
    pub support: u16,
}

impl Cusum {
    /// Adds a value; `floor` is the least deviation that is believed. A ramp is told once, and the level is then learnt anew.
    pub fn add(&mut self, value: f32, floor: f32) -> Option<Ramp> {
        let value = taken_f32(value)?;
        if self.count < LEARN {
            self.count += 1;
            let weight = 1.0 / f32::from(self.count);
            self.learn(value, weight);
            return None;
        }
        let scale = (self.deviation * 1.25).max(floor.min(f32::MAX)).max(FLOOR);
        let step = ((value - self.mean) / scale - SLACK).clamp(-STEP_MAX, STEP_MAX);
        self.sum = (self.sum + step).max(0.0);
        if self.sum == 0.0 {
            (self.recent, self.recent_count) = (0.0, 0);
        } else {
            self.recent_count = self.recent_count.saturating_add(1);
            self.recent += (value - self.recent) / f32::from(self.recent_count);
        }
        if self.sum > ALARM {
            let ramp = Ramp { observed: self.recent, expected: self.mean, support: self.count };
            *self = Self { count: LEARN, mean: self.recent, deviation: self.deviation, ..Self::default() };
            return Some(ramp);
        }
        if self.sum <= SUSPICIOUS {
            self.count = self.count.saturating_add(1);
            self.learn(value, FOLLOW);
        }
        None
    }

    /// The level, and how many values it rests on.
    #[must_use]
    pub fn level(&self) -> (f32, u16) {
        (self.mean, self.count)
    }

    fn learn(&mut self, value: f32, weight: f32) {
        let off = value - self.mean;
        self.mean += weight * off;
        if self.count > 1 {
            self.deviation += weight * (off.abs() - self.deviation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A noise without a generator: the fractional parts of multiples of the golden ratio, as deviations around 0.
    fn noise(index: u32) -> f32 {
        ((f64::from(index) * 0.618_033_988_75).fract() - 0.5) as f32
    }

    #[test]
    fn a_level_that_stays_is_no_ramp_and_one_that_creeps_is() {
        let mut steady = Cusum::default();
        assert!((0..2_000).all(|day| steady.add(3.0 + noise(day), 0.1).is_none()));
        let mut creeping = Cusum::default();
        let told = (0..200).find(|day| creeping.add(3.0 + noise(*day) + 0.05 * day.saturating_sub(40) as f32, 0.1).is_some());
        let day = told.unwrap();
        assert!((45..75).contains(&day), "{day}");
    }

    #[test]
    fn a_single_high_day_is_none() {
        let mut one = Cusum::default();
        assert!((0..200).all(|day| one.add(if day % 50 == 49 { 9.0 } else { 3.0 + noise(day) }, 0.1).is_none()));
    }
}
