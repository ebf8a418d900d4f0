//! Quantiles of counts and sums: a DDSketch (Masson, Rim, Lee 2019) with few buckets and a memory that fades, and the tail
//! beyond them.

use serde::{Deserialize, Serialize};

/// Width of a bucket in ln(1 + value): every quantile is within 10 % of 1 + the true one.
const WIDTH: f64 = 0.2;
/// Values after which all counts are halved: old habits fade, and a count fits 16 bits.
const FADE_AT: u32 = 2_000;
/// Where the tail begins.
const TAIL_FROM: f64 = 0.9;
/// The largest ln(1 + value) that a tail is continued to: what is beyond is not finite.
const LOG_MAX: f64 = 600.0;
/// Fewest values beyond that for its shape to be estimated.
const TAIL_MIN: u32 = 8;

/// How often values of each size came.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Buckets that are not empty, in their order, each with its count.
    buckets: Vec<(u8, u16)>,
    total: u32,
}

impl Quantiles {
    /// Adds a value, which counts as 0 where it is negative. What is no number is passed over.
    pub fn add(&mut self, value: f64) {
        let Some(value) = super::taken(value) else { return };
        let index = index_of(value);
        match self.buckets.binary_search_by_key(&index, |bucket| bucket.0) {
            Ok(at) => self.buckets[at].1 += 1,
            Err(at) => self.buckets.insert(at, (index, 1)),
        }
        self.total += 1;
        if self.total >= FADE_AT {
            for bucket in &mut self.buckets {
                bucket.1 /= 2;
            }
            self.buckets.retain(|bucket| bucket.1 > 0);
            self.total = self.buckets.iter().map(|bucket| u32::from(bucket.1)).sum();
        }
    }

    /// How many values it rests on; those that have faded count no more.
    #[must_use]
    pub fn support(&self) -> u32 {
        self.total
    }

    /// The value below which a share `q` of all values lies. `None` when there is none.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        self.log_quantile(q).map(|log| log.exp() - 1.0)
    }

    /// The same as ln(1 + value).
    #[must_use]
    pub fn log_quantile(&self, q: f64) -> Option<f64> {
        self.bucket_of(q).map(|index| f64::from(index) * WIDTH)
    }

    /// The value that is exceeded with probability `risk`, by the peaks over the 0.9 quantile: their excess in ln(1 + value)
    /// is taken to be exponential (Hill 1975, Weissman 1978). `None` when there are too few peaks.
    #[must_use]
    pub fn tail(&self, risk: f64) -> Option<f64> {
        let from = self.bucket_of(TAIL_FROM)?;
        let beyond = self.buckets.iter().filter(|bucket| bucket.0 > from);
        let (mut count, mut excess) = (0, 0.0);
        for (index, times) in beyond {
            count += u32::from(*times);
            excess += (f64::from(index - from) - 0.5) * WIDTH * f64::from(*times);
        }
        if count < TAIL_MIN {
            return None;
        }
        let share = f64::from(count) / f64::from(self.total);
        let log = (f64::from(from) + 0.5) * WIDTH + excess / f64::from(count) * (share / risk).clamp(1.0, 1e300).ln();
        Some(log.min(LOG_MAX).exp() - 1.0)
    }

    fn bucket_of(&self, q: f64) -> Option<u8> {
        let rank = (q * f64::from(self.total.saturating_sub(1))).round();
        let mut seen = 0.0;
        for (index, count) in &self.buckets {
            seen += f64::from(*count);
            if seen > rank {
                return Some(*index);
            }
        }
        None
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float is held between 0 and 255 first")]
fn index_of(value: f64) -> u8 {
    ((1.0 + value.max(0.0)).ln() / WIDTH).round().min(255.0) as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_quantile_is_near_the_true_one(mut values in proptest::collection::vec(0.0..1e6_f64, 1..500), q in 0.0..1.0_f64) {
            let mut sketch = Quantiles::default();
            values.iter().for_each(|value| sketch.add(*value));
            values.sort_by(f64::total_cmp);
            let rank = (q * (values.len() - 1) as f64).round() as usize;
            let (found, expected) = (sketch.quantile(q).unwrap() + 1.0, values[rank] + 1.0);
            prop_assert!((found / expected).ln().abs() <= WIDTH / 2.0 + 1e-9, "{found} {expected}");
        }
    }

    #[test]
    fn a_pareto_tail_is_continued() {
        // P(X > x) = (1 + x)^-2 has the 1e-4 quantile at 99; every value here is a quantile of it.
        let mut sketch = Quantiles::default();
        for index in 0..1_900 {
            sketch.add(((f64::from(index) + 0.5) / 1_900.0).powf(-0.5) - 1.0);
        }
        let tail = sketch.tail(1e-4).unwrap();
        assert!((60.0..160.0).contains(&tail), "{tail}");
    }

    #[test]
    fn old_values_fade_and_memory_stays_small() {
        let mut sketch = Quantiles::default();
        (0..10_000).for_each(|_| sketch.add(1_000.0));
        (0..10_000).for_each(|_| sketch.add(10.0));
        assert!(sketch.quantile(0.99).unwrap() < 12.0);
        assert!(sketch.support() <= FADE_AT && sketch.buckets.len() <= 2);
        (0..100_000).for_each(|value| sketch.add(f64::from(value) * f64::from(value)));
        assert!(sketch.buckets.len() < 256);
        assert_eq!(Quantiles::default().quantile(0.5), None);
    }
}
