//! Leaving sources out: what the classifier makes of texts whose source it never saw, and the model that is trained on all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use event::Verdict;
use inspect::Inspector;
use inspect::classifier::{Head, Model, ModelError, Origin, OriginHead};

use serde::Serialize;

use crate::calibrate::{self, Weighed};
use crate::corpus::{Row, Split};
use crate::figures::wilson;
use crate::sample::{Sample, Samples};
use crate::train::{Options, Weights, sample_weights, train as fit};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// What the product does: the classifier, which knows what signatures matched, and the signatures.
    Product,
    /// The classifier alone. Signatures were written with texts of these corpora at hand; this was not.
    ClassifierAlone,
    /// The signatures alone.
    SignaturesAlone,
    /// Logistic regression over single words: the usual baseline.
    BagOfWords,
}

/// An inspector without a classifier: what signatures find of a text is a feature of the classifier that is trained.
#[derive(Debug)]
pub struct Signatures(Inspector);

impl From<Inspector> for Signatures {
    fn from(inspector: Inspector) -> Self {
        Self(inspector.with_model(None))
    }
}

/// Outcome of a measurement, row by row.
#[derive(Debug)]
pub struct Evaluation {
    outcomes: Vec<Outcome>,
    /// Rows that were to be measured and could not be.
    left_out: Vec<usize>,
    /// Sums of benign texts of sources not trained on, by origin: what the calibration is made of.
    benign: BTreeMap<Origin, Vec<Weighed>>,
}

#[derive(Debug, Clone, Copy)]
struct Outcome {
    row: usize,
    score: f32,
}

/// Rows of one kind that were not measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Why.
    pub why: String,
    /// Attacks among them.
    pub attacks: usize,
    /// Benign texts among them.
    pub benign: usize,
}

/// A share with its 95 % interval.
pub type Share = (f32, (f32, f32));

/// How many texts of a group are above the scores of the verdicts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rate {
    /// Which texts.
    pub name: String,
    /// How many there are.
    pub rows: usize,
    /// Above the score that one benign text in a hundred is promised to be above.
    pub at_warn: usize,
    /// Above the score that one in a thousand is.
    pub at_deny: usize,
}

impl Rate {
    /// Share at `warn`; `None` where there are no texts.
    #[must_use]
    pub fn warn(&self) -> Option<Share> {
        self.share(self.at_warn)
    }

    /// Share at `deny`; `None` where there are no texts.
    #[must_use]
    pub fn deny(&self) -> Option<Share> {
        self.share(self.at_deny)
    }

    fn share(&self, hits: usize) -> Option<Share> {
        (self.rows > 0).then(|| (hits as f32 / self.rows as f32, wilson(hits, self.rows)))
    }
}

impl Evaluation {
    /// Rates of attacks or of benign rows, grouped by what `name` says of a row.
    #[must_use]
    pub fn rates(&self, rows: &[Row], attacks: bool, name: impl Fn(&Row) -> String) -> Vec<Rate> {
        let mut groups: BTreeMap<String, Rate> = BTreeMap::new();
        for outcome in &self.outcomes {
            let row = &rows[outcome.row];
            if row.is_attack != attacks {
                continue;
            }
            let name = name(row);
            let group = groups.entry(name.clone()).or_insert(Rate { name, rows: 0, at_warn: 0, at_deny: 0 });
            group.rows += 1;
            group.at_warn += usize::from(outcome.score >= Verdict::WARN_SCORE_MIN);
            group.at_deny += usize::from(outcome.score >= Verdict::DENY_SCORE_MIN);
        }
        groups.into_values().collect()
    }

    /// What was not measured, and why.
    #[must_use]
    pub fn left_out(&self, rows: &[Row]) -> Vec<LeftOut> {
        let mut groups: BTreeMap<String, LeftOut> = BTreeMap::new();
        for row in self.left_out.iter().map(|row| &rows[*row]) {
            let why = match Origin::of(row.channel) {
                None => format!("the classifier does not read the channel {}", row.channel.as_str()),
                Some(_) => "there are no words in it".to_owned(),
            };
            let group = groups.entry(why.clone()).or_insert(LeftOut { why, attacks: 0, benign: 0 });
            *if row.is_attack { &mut group.attacks } else { &mut group.benign } += 1;
        }
        groups.into_values().collect()
    }

    /// Recall over all attacks at the scores that 1 % and 0.1 % of the benign rows measured here are above. `None` where there are none of
    /// either: no score would be above any of them.
    #[must_use]
    pub fn matched(&self, rows: &[Row]) -> Option<Rate> {
        let (attacks, benign): (Vec<&Outcome>, Vec<&Outcome>) =
            self.outcomes.iter().partition(|outcome| rows[outcome.row].is_attack);
        if attacks.is_empty() || benign.is_empty() {
            return None;
        }
        let mut scores: Vec<f32> = benign.iter().map(|outcome| outcome.score).collect();
        scores.sort_by(|a, b| b.total_cmp(a));
        let above = |share: f32| {
            let limit = scores.get((share * scores.len() as f32) as usize).copied().unwrap_or_default();
            attacks.iter().filter(|outcome| outcome.score > limit).count()
        };
        let (at_warn, at_deny) = (above(calibrate::WARN_SHARE), above(calibrate::DENY_SHARE));
        Some(Rate { name: "all".to_owned(), rows: attacks.len(), at_warn, at_deny })
    }
}

/// Measures an inspector as it is: its score of each row.
#[must_use]
pub fn measure(rows: &[Row], inspector: &Inspector) -> Evaluation {
    let outcome = |(row, of): (usize, &Row)| Outcome { row, score: inspector.inspect(&of.text, of.channel, None).score };
    Evaluation { outcomes: rows.iter().enumerate().map(outcome).collect(), left_out: Vec::new(), benign: BTreeMap::new() }
}

/// Measures by leaving each family of sources out in turn: its rows are scored by a model of all others, with a calibration by the benign
/// rows of all others. Rows of [`Split::Always`] are trained on and not measured; others that have no features are left out, and counted.
/// `tell` hears of each family that is done.
#[must_use]
pub fn evaluate(rows: &[Row], signatures: &Signatures, setting: Setting, tell: &(dyn Fn(usize, usize) + Sync)) -> Evaluation {
    let with_signatures = setting == Setting::Product;
    let samples = Samples::of(rows, &signatures.0, with_signatures);
    let options = if setting == Setting::BagOfWords { Options::BAG_OF_WORDS } else { Options::CHOSEN };
    let sums = if setting == Setting::SignaturesAlone {
        let is_measured = |sample: &Sample| rows[sample.row].split != Split::Always;
        samples.list.iter().map(|sample| is_measured(sample).then_some(sample.signature_score)).collect()
    } else {
        left_out_sums(rows, &samples, &options, tell)
    };
    let mut benign: BTreeMap<(Origin, &str), Vec<Weighed>> = BTreeMap::new();
    let measured = || samples.list.iter().zip(&sums).filter_map(|(sample, sum)| Some((sample, (*sum)?)));
    let mut sources: BTreeMap<(Origin, &str), f32> = BTreeMap::new();
    for (sample, _) in measured().filter(|(sample, _)| !sample.is_attack) {
        *sources.entry((sample.origin, &rows[sample.row].source)).or_default() += 1.0;
    }
    for (sample, sum) in measured().filter(|(sample, _)| !sample.is_attack) {
        let row = &rows[sample.row];
        // Each source weighs alike: the next one to come is as likely to be like a small one as like a large one.
        let weight = 1.0 / sources[&(sample.origin, row.source.as_str())];
        benign.entry((sample.origin, &row.family)).or_default().push((sum, weight));
    }
    // A family's texts say nothing about the scores that they get.
    let heads: BTreeMap<(Origin, &str), OriginHead> = measured()
        .map(|(sample, _)| (sample.origin, rows[sample.row].family.as_str()))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(|(origin, family)| {
            let others = benign.iter().filter(|((of, other), _)| *of == origin && *other != family);
            let calibration = calibrate::knots(others.flat_map(|(_, sums)| sums.iter().copied()).collect());
            ((origin, family), OriginHead { bias: 0.0, named: BTreeMap::new(), calibration })
        })
        .collect();
    let outcomes = measured()
        .map(|(sample, sum)| {
            let row = &rows[sample.row];
            let score = heads[&(sample.origin, row.family.as_str())].score(sum);
            let own = if with_signatures { sample.signature_score } else { 0.0 };
            Outcome { row: sample.row, score: score.max(own) }
        })
        .collect();
    let mut by_origin: BTreeMap<Origin, Vec<Weighed>> = BTreeMap::new();
    for ((origin, _), sums) in benign {
        by_origin.entry(origin).or_default().extend(sums);
    }
    let read: BTreeSet<usize> = samples.list.iter().map(|sample| sample.row).collect();
    let is_left_out = |row: &usize| rows[*row].split != Split::Always && !read.contains(row);
    Evaluation { outcomes, left_out: (0..rows.len()).filter(is_left_out).collect(), benign: by_origin }
}

/// The sum of each sample by a model that saw no row of its family; `None` for samples that are not measured.
fn left_out_sums(rows: &[Row], samples: &Samples, options: &Options, tell: &(dyn Fn(usize, usize) + Sync)) -> Vec<Option<f32>> {
    let of = |sample: &Sample| &rows[sample.row];
    let families: Vec<&str> = samples
        .list
        .iter()
        .filter(|sample| of(sample).split != Split::Always)
        .map(|sample| of(sample).family.as_str())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let sums = Mutex::new(vec![None; samples.list.len()]);
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        while let Some(family) = families.get(next.fetch_add(1, Ordering::Relaxed)) {
            let is_out = |sample: &Sample| of(sample).split != Split::Always && of(sample).family == *family;
            let weights = fit_rows(rows, samples, options, &|sample| !is_out(sample) && of(sample).split != Split::Dev);
            let found: Vec<(usize, f32)> = samples
                .list
                .iter()
                .enumerate()
                .filter(|(_, sample)| is_out(sample))
                .map(|(at, sample)| (at, weights.sum(sample, options)))
                .collect();
            let mut sums = sums.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            for (at, sum) in found {
                sums[at] = Some(sum);
            }
            tell(done.fetch_add(1, Ordering::Relaxed) + 1, families.len());
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    sums.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Each thread has tables of weights and of steps: 16 MB.
const THREADS_MAX: usize = 8;

fn fit_rows(rows: &[Row], samples: &Samples, options: &Options, is_in: &dyn Fn(&Sample) -> bool) -> Weights {
    let chosen: Vec<&Sample> = samples.list.iter().filter(|sample| is_in(sample)).collect();
    let weights = sample_weights(&chosen, |sample| rows[sample.row].source.clone(), options);
    let weighed: Vec<(&Sample, f32)> = chosen.into_iter().zip(weights).collect();
    fit(&weighed, samples.names.len(), options)
}

/// Trains the model that the product ships: on all rows but those of [`Split::Dev`], with the calibration of an [`Evaluation`] of
/// [`Setting::Product`].
pub fn train(rows: &[Row], signatures: &Signatures, name: &str, evaluation: &Evaluation) -> Result<Model, ModelError> {
    let options = Options::CHOSEN;
    let samples = Samples::of(rows, &signatures.0, true);
    let weights = fit_rows(rows, &samples, &options, &|sample| rows[sample.row].split != Split::Dev);
    let mut origins = BTreeMap::new();
    for origin in [Origin::User, Origin::Data] {
        let Some(benign) = evaluation.benign.get(&origin) else { continue };
        let named = samples
            .names
            .iter()
            .zip(&weights.named)
            .filter(|((of, _), weight)| *of == origin && **weight != 0.0)
            .map(|((_, name), weight)| (name.clone(), weight * options.named))
            .collect();
        let calibration = calibrate::knots(benign.clone());
        origins.insert(origin.name().to_owned(), OriginHead { bias: weights.bias[origin as usize], named, calibration });
    }
    let tables = weights.tables();
    let step = step_of(&tables);
    let head = Head { name: name.to_owned(), step, window_blocks: options.window, prior: options.prior, origins };
    Model::quantised(head, &tables)
}

/// The step at which all but one weight in ten thousand fit a byte.
fn step_of(weights: &[f32]) -> f32 {
    let mut sizes: Vec<f32> = weights.iter().map(|weight| weight.abs()).filter(|size| *size > 0.0).collect();
    sizes.sort_by(f32::total_cmp);
    let at = sizes.len().saturating_sub(1 + sizes.len() / 10_000);
    sizes.get(at).map_or(1.0, |size| size / 127.0)
}
