//! Sudden shifts of a mean: the test of Page and Hinkley, with a sum that forgets, as `river` has it.

use serde::{Deserialize, Serialize};

use super::taken;

/// What is expected of values, and what counts as a shift.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PageHinkley {
    /// Values before anything is said.
    pub instances_min: u32,
    /// Change of the mean that is borne.
    pub delta: f64,
    /// The sum that is a shift.
    pub threshold: f64,
    /// What of the sum is kept from value to value.
    pub alpha: f64,
    count: u32,
    mean: f64,
    up: f64,
    up_min: f64,
    down: f64,
    down_max: f64,
}

impl PageHinkley {
    /// A test that has seen nothing.
    #[must_use]
    pub fn new(instances_min: u32, delta: f64, threshold: f64, alpha: f64) -> Self {
        // Values as in `river`, where the sums begin at 0 and their bounds at infinity and at -1.
        Self { instances_min, delta, threshold, alpha, count: 0, mean: 0.0, up: 0.0, up_min: f64::MAX, down: 0.0, down_max: -1.0 }
    }

    /// Adds a value. `Some(true)`: the mean has gone up; `Some(false)`: down. The test then begins anew.
    pub fn add(&mut self, value: f64) -> Option<bool> {
        let value = taken(value)?;
        self.count = self.count.saturating_add(1);
        self.mean += (value - self.mean) / f64::from(self.count);
        let off = value - self.mean;
        self.up = self.alpha * self.up + off - self.delta;
        self.down = self.alpha * self.down + off + self.delta;
        self.up_min = self.up_min.min(self.up);
        self.down_max = self.down_max.max(self.down);
        if self.count < self.instances_min {
            return None;
        }
        let (rise, fall) = (self.up - self.up_min, self.down_max - self.down);
        if rise <= self.threshold && fall <= self.threshold {
            return None;
        }
        *self = Self::new(self.instances_min, self.delta, self.threshold, self.alpha);
        Some(rise > fall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_are_told_and_a_level_is_not() {
        for (after, expected) in [(0.0, None), (3.0, Some(true)), (-3.0, Some(false))] {
            let mut test = PageHinkley::new(30, 0.005, 20.0, 0.9999);
            let told = (0..200).find_map(|index| test.add(if index < 100 { 0.0 } else { after }));
            assert_eq!(told, expected, "{after}");
        }
    }
}
