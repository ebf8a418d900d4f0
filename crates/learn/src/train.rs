//! Logistic regression by AdaGrad, over windows of texts of which only the label of the whole is known.
//!
//! An attack in a long text stands in some place of it: after the first round the window that says most is the one that learns
//! (multiple-instance learning). Features are left out at random, so that no single word carries an attack.

use inspect::classifier::{Origin, Region, WEIGHTS};

use crate::corpus::Random;
use crate::sample::Sample;

/// How a model is trained.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Options {
    /// Times that every sample is learnt from.
    pub(crate) rounds: usize,
    /// Size of steps.
    pub(crate) rate: f32,
    /// Share of features that are left out, each time others.
    pub(crate) left_out: f32,
    /// Blocks of a window.
    pub(crate) window: usize,
    /// See [`inspect::classifier::Head::prior`].
    pub(crate) prior: f32,
    /// What a named feature counts for.
    pub(crate) named: f32,
    /// How fast weights of the regions grow, in the order of [`Region::ALL`]: less for what should carry less.
    pub(crate) regions: [f32; 4],
    /// The same for what an origin adds to the weights that all origins share.
    pub(crate) crossed: [f32; 4],
    /// A source of n rows weighs n to this power.
    pub(crate) source_power: f32,
}

impl Options {
    /// What was chosen by leaving sources out.
    pub(crate) const CHOSEN: Self = Self {
        rounds: 4,
        rate: 0.15,
        left_out: 0.7,
        window: 2,
        prior: 20.0,
        named: 0.2,
        regions: [0.7, 0.7, 0.7, 1.0],
        crossed: [0.0, 0.7, 0.5, 1.0],
        source_power: 0.5,
    };

    /// The usual baseline: logistic regression over the words of the whole text.
    pub(crate) const BAG_OF_WORDS: Self = Self {
        rate: 0.3,
        left_out: 0.0,
        window: usize::MAX / 2,
        named: 0.0,
        regions: [0.0, 1.0, 0.0, 0.0],
        crossed: [0.0; 4],
        ..Self::CHOSEN
    };
}

/// A trained model, before rounding.
#[derive(Debug)]
pub(crate) struct Weights {
    /// What all origins share, then what each of them adds, in the order of [`Origin::ALL`].
    pub(crate) hashed: Vec<f32>,
    pub(crate) named: Vec<f32>,
    pub(crate) bias: [f32; 2],
}

impl Weights {
    fn of(&self, index: u32, origin: Origin) -> f32 {
        self.hashed[index as usize] + self.hashed[crossed(index, origin)]
    }

    /// The tables that a model has: what counts for each origin.
    pub(crate) fn tables(&self) -> Vec<f32> {
        Origin::ALL.into_iter().flat_map(|origin| (0..WEIGHTS as u32).map(move |index| self.of(index, origin))).collect()
    }

    /// The sum of a sample: its best window, and what its named features add.
    pub(crate) fn sum(&self, sample: &Sample, options: &Options) -> f32 {
        let blocks = block_sums(sample, |index| self.of(index, sample.origin), |_| true);
        let best = sample
            .windows(options.window)
            .map(|window| value(&blocks, window, options.prior).0)
            .max_by(f32::total_cmp)
            .unwrap_or_default();
        let named: f32 = sample.named.iter().map(|&index| self.named[index as usize]).sum();
        best + named * options.named + self.bias[sample.origin as usize]
    }
}

/// Where what an origin adds to a weight is.
fn crossed(index: u32, origin: Origin) -> usize {
    (1 + origin as usize) * WEIGHTS + index as usize
}

/// Learns from samples, each with its weight.
pub(crate) fn train(samples: &[(&Sample, f32)], names: usize, options: &Options) -> Weights {
    let mut weights = Weights { hashed: vec![0.0; 3 * WEIGHTS], named: vec![0.0; names], bias: [0.0; 2] };
    let mut steps = Steps { hashed: vec![0.0; 3 * WEIGHTS], named: vec![0.0; names], bias: [0.0; 2] };
    let mut random = Random::new(0);
    let mut order: Vec<usize> = (0..samples.len()).collect();
    for round in 0..options.rounds {
        for at in (1..order.len()).rev() {
            order.swap(at, random.below(at + 1));
        }
        let rate = options.rate * (1.0 - 0.7 * round as f32 / options.rounds as f32);
        for &at in &order {
            let (sample, weight) = samples[at];
            let mut lesson = Lesson { sample, options, rate, salt: random.next() };
            lesson.learn(&mut weights, &mut steps, weight, round, &mut random);
        }
    }
    weights
}

/// Least sum of squared gradients: bounds the first step.
const STEP_MIN: f32 = 1e-6;

/// Gradients smaller than this change nothing.
const GRADIENT_MIN: f32 = 1e-5;

/// Sums of squared gradients.
struct Steps {
    hashed: Vec<f32>,
    named: Vec<f32>,
    bias: [f32; 2],
}

/// One sample in one round.
struct Lesson<'s> {
    sample: &'s Sample,
    options: &'s Options,
    rate: f32,
    /// Which features are left out.
    salt: u64,
}

impl Lesson<'_> {
    fn keeps(&self, index: u32) -> bool {
        let draw = (u64::from(index) ^ self.salt).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        draw as f32 >= self.options.left_out * (1 << 24) as f32
    }

    fn learn(&mut self, weights: &mut Weights, steps: &mut Steps, weight: f32, round: usize, random: &mut Random) {
        let sample = self.sample;
        let origin = sample.origin as usize;
        let blocks = block_sums(sample, |index| weights.of(index, sample.origin), |index| self.keeps(index));
        let windows: Vec<(usize, usize)> = sample.windows(self.options.window).collect();
        let values: Vec<(f32, f32)> = windows.iter().map(|&window| value(&blocks, window, self.options.prior)).collect();
        let named: f32 =
            sample.named.iter().filter(|&&index| self.keeps(index)).map(|&index| weights.named[index as usize]).sum();
        let rest = named * self.options.named + weights.bias[origin];
        let chosen = choose(&values, sample.is_attack, round, random);
        let share = weight / chosen.len() as f32;
        let label = if sample.is_attack { 1.0 } else { 0.0 };
        for at in chosen {
            let (sum, factor) = values[at];
            let gradient = (1.0 / (1.0 + (-(sum + rest)).exp()) - label) * share;
            if gradient.abs() < GRADIENT_MIN {
                continue;
            }
            let (start, end) = windows[at];
            for &index in sample.of_blocks(start, end).iter().filter(|&&index| self.keeps(index)) {
                let region = Region::of(index) as usize;
                let paces = [
                    (index as usize, self.options.regions[region]),
                    (crossed(index, sample.origin), self.options.crossed[region]),
                ];
                for (at, pace) in paces.into_iter().filter(|(_, pace)| *pace > 0.0) {
                    step(&mut weights.hashed[at], &mut steps.hashed[at], gradient * factor * pace, self.rate * pace);
                }
            }
            for &index in sample.named.iter().filter(|&&index| self.keeps(index)) {
                let at = index as usize;
                step(&mut weights.named[at], &mut steps.named[at], gradient * self.options.named, self.rate);
            }
            step(&mut weights.bias[origin], &mut steps.bias[origin], gradient, self.rate * 0.1);
        }
    }
}

/// Which windows learn: of an attack the one that says most (in the first round any, too), of a benign text that one and another.
fn choose(values: &[(f32, f32)], is_attack: bool, round: usize, random: &mut Random) -> Vec<usize> {
    let best = (0..values.len()).max_by(|&a, &b| values[a].0.total_cmp(&values[b].0)).unwrap_or(0);
    let other = random.below(values.len());
    if best == other || is_attack && round > 0 { vec![best] } else { vec![best, other] }
}

/// Sum of weights and number of features, for each block.
fn block_sums(sample: &Sample, weight: impl Fn(u32) -> f32, keeps: impl Fn(u32) -> bool) -> Vec<(f32, u32)> {
    (0..sample.blocks.len())
        .map(|block| {
            let kept = sample.of_blocks(block, block + 1).iter().filter(|&&index| keeps(index));
            kept.fold((0.0, 0), |(sum, features), &index| (sum + weight(index), features + 1))
        })
        .collect()
}

/// The sum of a window, and what each of its features counts for.
fn value(blocks: &[(f32, u32)], (start, end): (usize, usize), prior: f32) -> (f32, f32) {
    let (sum, features) = blocks[start..end].iter().fold((0.0, 0), |(sum, features), block| (sum + block.0, features + block.1));
    let factor = 1.0 / (features as f32 + prior).sqrt();
    (sum * factor, factor)
}

fn step(weight: &mut f32, squares: &mut f32, gradient: f32, rate: f32) {
    *squares += gradient * gradient;
    *weight -= rate * gradient / (*squares + STEP_MIN).sqrt();
}

/// What each sample weighs: sources evenly by a power of their rows, attacks and benign texts of an origin alike.
pub(crate) fn sample_weights(samples: &[&Sample], source: impl Fn(&Sample) -> String, options: &Options) -> Vec<f32> {
    let mut rows: std::collections::BTreeMap<(String, bool), f32> = std::collections::BTreeMap::new();
    let key = |sample: &Sample| (source(sample), sample.is_attack);
    for sample in samples {
        *rows.entry(key(sample)).or_default() += 1.0;
    }
    let raw: Vec<f32> = samples.iter().map(|sample| rows[&key(sample)].powf(options.source_power - 1.0)).collect();
    let class = |sample: &Sample| usize::from(sample.is_attack) + 2 * usize::from(sample.origin == Origin::Data);
    let mut totals = [0.0_f32; 4];
    let mut counts = [0.0_f32; 2];
    for (sample, weight) in samples.iter().zip(&raw) {
        totals[class(sample)] += weight;
        counts[sample.origin as usize] += 1.0;
    }
    let even = |(sample, weight): (&&Sample, f32)| weight * counts[sample.origin as usize] / 2.0 / totals[class(sample)];
    samples.iter().zip(raw).map(even).collect()
}
