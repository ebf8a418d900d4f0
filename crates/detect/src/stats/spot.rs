//! Thresholds that set themselves: peaks over threshold in a stream (SPOT; Siffer, Fouque, Termier, Largouet, KDD 2017), with
//! a generalised Pareto tail that is fitted by Grimshaw's profile likelihood.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::taken;

/// Values from which the first threshold is made.
const CALIBRATE: usize = 200;
/// Share of values below the first threshold: what lies above are peaks.
const LEVEL: f64 = 0.98;
/// Most peaks that are kept, the newest: the fit is of them, and their number bounds its cost.
const PEAKS_MAX: usize = 64;
/// Peaks after which the tail is fitted anew, once it was fitted: each fit takes some 10 microseconds.
const FIT_EVERY: u32 = 4;
/// Values after which counts are halved, so that an old calm does not make each new peak a wonder.
const FADE_AT: f64 = 10_000.0;

/// A generalised Pareto distribution of what exceeds a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Gpd {
    /// Its shape; heavy tails have a positive one.
    pub shape: f64,
    /// Its scale.
    pub scale: f64,
}

impl Gpd {
    /// The distribution under which the excesses (all positive) are likeliest. `None` for fewer than two different ones.
    #[must_use]
    pub fn fit(excesses: &[f64]) -> Option<Self> {
        let max = excesses.iter().copied().fold(0.0, f64::max);
        let mean = excesses.iter().sum::<f64>() / excesses.len().max(1) as f64;
        if excesses.len() < 2
            || !mean.is_finite()
            || excesses.iter().any(|excess| *excess <= 0.0)
            || excesses.iter().all(|one| *one == max)
        {
            return None;
        }
        // Grimshaw (1993): with t = shape / scale the best shape for a t is the mean of ln(1 + t excess), so one dimension is left.
        // A shape below -1 has no likeliest distribution, and t is bounded below by -1 / max.
        let shape_of = |t: f64| excesses.iter().map(|excess| (1.0 + t * excess).ln()).sum::<f64>() / excesses.len() as f64;
        let likelihood = |t: f64| {
            if t.abs() * mean < 1e-9 {
                return -mean.ln() - 1.0;
            }
            let shape = shape_of(t);
            if shape / t <= 0.0 || shape < -0.95 { f64::NEG_INFINITY } else { -(shape / t).ln() - shape - 1.0 }
        };
        let below = (1..40).map(|step| -(1.0 - 0.75_f64.powi(step)) / max * (1.0 - 1e-9));
        let above = (-30..30).map(|step| 1.4_f64.powi(step) / mean);
        let candidates: Vec<f64> = {
            let mut all: Vec<f64> = below.chain([0.0]).chain(above).collect();
            all.sort_by(f64::total_cmp);
            all
        };
        let best = (0..candidates.len()).max_by(|a, b| likelihood(candidates[*a]).total_cmp(&likelihood(candidates[*b])))?;
        let (mut low, mut high) = (candidates[best.saturating_sub(1)], candidates[(best + 1).min(candidates.len() - 1)]);
        for _ in 0..60 {
            let (a, b) = (low + (high - low) * 0.382, low + (high - low) * 0.618);
            if likelihood(a) < likelihood(b) { low = a } else { high = b }
        }
        let t = f64::midpoint(low, high);
        if t.abs() * mean < 1e-9 {
            return Some(Self { shape: 0.0, scale: mean });
        }
        let shape = shape_of(t);
        let fitted = Self { shape, scale: shape / t };
        (fitted.shape.is_finite() && fitted.scale.is_finite()).then_some(fitted)
    }

    /// What is exceeded with probability `ratio`, given that the threshold is.
    #[must_use]
    pub fn exceeded(&self, ratio: f64) -> f64 {
        if self.shape.abs() < 1e-9 { -self.scale * ratio.ln() } else { self.scale / self.shape * (ratio.powf(-self.shape) - 1.0) }
    }
}

/// A stream and the value that it exceeds with a given probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spot {
    risk: f64,
    first: Vec<f32>,
    level: f64,
    peaks: VecDeque<f32>,
    values: f64,
    peaks_seen: f64,
    unfitted: u32,
    extreme: Option<f64>,
}

impl Spot {
    /// A stream of which nothing is known. `risk` is the probability with which a value of an ordinary stream is extreme.
    #[must_use]
    pub fn new(risk: f64) -> Self {
        Self {
            risk,
            first: Vec::new(),
            level: 0.0,
            peaks: VecDeque::new(),
            values: 0.0,
            peaks_seen: 0.0,
            unfitted: 0,
            extreme: None,
        }
    }

    /// The value beyond which one is extreme. `None` while too little is known.
    #[must_use]
    pub fn extreme(&self) -> Option<f64> {
        self.extreme
    }

    /// How many values it rests on.
    #[must_use]
    pub fn support(&self) -> u32 {
        self.values.min(f64::from(u32::MAX)) as u32
    }

    /// Adds a value and says whether it is extreme. One that is is not learnt from. What is no number is passed over.
    pub fn add(&mut self, value: f64) -> bool {
        let Some(value) = taken(value) else { return false };
        let Some(extreme) = self.extreme else {
            self.first.push(value as f32);
            if self.first.len() >= CALIBRATE {
                self.calibrate();
            }
            return false;
        };
        if value > extreme {
            return true;
        }
        self.values += 1.0;
        if value > self.level {
            self.peaks_seen += 1.0;
            self.peaks.push_back((value - self.level) as f32);
            if self.peaks.len() > PEAKS_MAX {
                self.peaks.pop_front();
            }
            self.unfitted += 1;
            if self.unfitted >= FIT_EVERY {
                self.fit();
            }
        }
        if self.values > FADE_AT {
            self.values /= 2.0;
            self.peaks_seen /= 2.0;
        }
        false
    }

    fn calibrate(&mut self) {
        let mut first = std::mem::take(&mut self.first);
        first.sort_by(f32::total_cmp);
        let at = ((first.len() as f64 * LEVEL) as usize).min(first.len().saturating_sub(2));
        self.level = f64::from(first[at]);
        self.values = first.len() as f64;
        self.peaks = first[at..].iter().map(|value| (f64::from(*value) - self.level) as f32).filter(|one| *one > 0.0).collect();
        self.peaks_seen = self.peaks.len().max(1) as f64;
        self.fit();
    }

    fn fit(&mut self) {
        self.unfitted = 0;
        let peaks: Vec<f64> = self.peaks.iter().map(|peak| f64::from(*peak)).collect();
        let tail = Gpd::fit(&peaks).unwrap_or_else(|| {
            let mean = peaks.iter().sum::<f64>() / peaks.len().max(1) as f64;
            Gpd { shape: 0.0, scale: mean.max(self.level.abs() * 0.1).max(1e-6) }
        });
        // A tail of few peaks is fitted too short now and then; an exponential one is the least that is believed.
        let mean = peaks.iter().sum::<f64>() / peaks.len().max(1) as f64;
        let ratio = (self.risk * self.values / self.peaks_seen).min(1.0);
        let least = Gpd { shape: 0.0, scale: mean.max(1e-6) };
        let extreme = self.level + tail.exceeded(ratio).max(least.exceeded(ratio));
        // The last threshold stands where a fit gives none.
        self.extreme = Some(extreme).filter(|extreme| extreme.is_finite()).or(self.extreme);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quantiles of a distribution at evenly spaced places: a sample without chance.
    fn sample(count: u32, quantile: impl Fn(f64) -> f64) -> Vec<f64> {
        (0..count).map(|index| quantile((f64::from(index) + 0.5) / f64::from(count))).collect()
    }

    #[test]
    fn a_fit_finds_the_parameters_of_what_was_drawn() {
        for (shape, scale) in [(0.3, 2.0), (0.0, 1.0), (-0.2, 5.0), (0.8, 0.1)] {
            let drawn = Gpd { shape, scale };
            let fitted = Gpd::fit(&sample(2_000, |p| drawn.exceeded(1.0 - p))).unwrap();
            assert!((fitted.shape - shape).abs() < 0.03 && (fitted.scale / scale - 1.0).abs() < 0.03, "{drawn:?} {fitted:?}");
        }
        assert_eq!(Gpd::fit(&[1.0, 1.0]), None);
        assert_eq!(Gpd::fit(&[1.0, -1.0]), None);
    }

    #[test]
    fn what_exceeds_the_tail_is_extreme_and_not_learnt() {
        let mut spot = Spot::new(1e-4);
        let mut values = sample(1_000, |p| -(1.0 - p).ln());
        // In an order that is not that of size.
        values.sort_by_key(|value| (value * 1e6) as u64 * 2_654_435_761 % 1_000_003);
        let alarms = values.iter().filter(|value| spot.add(**value)).count();
        assert!(alarms <= 1, "{alarms}");
        let extreme = spot.extreme().unwrap();
        assert!((6.0..25.0).contains(&extreme), "{extreme}");
        assert!((0..100).all(|_| spot.add(extreme * 2.0)));
        assert_eq!(spot.extreme().unwrap(), extreme);
    }
}
