//! The algorithms of `stats` beside those of others: golden values of `river`, `scipy`, `numpy` and `rrcf`, which
//! `tests/clients/behaviour/golden.py` makes.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use serde::Deserialize;
use watchkeeper_detect::stats::{Gpd, PageHinkley, Quantiles, Spot};

#[derive(Deserialize)]
struct Golden {
    page_hinkley: Vec<Drift>,
    genpareto: Vec<Tail>,
    quantiles: Vec<Ranks>,
    forest: Forest,
}

#[derive(Deserialize)]
struct Drift {
    seed: u64,
    level: String,
    min_instances: u32,
    delta: f64,
    threshold: f64,
    alpha: f64,
    found: Vec<usize>,
}

#[derive(Deserialize)]
struct Tail {
    seed: u64,
    count: usize,
    shape: f64,
    scale: f64,
    fitted_shape: f64,
    fitted_scale: f64,
    likelihood: f64,
    extreme: f64,
}

#[derive(Deserialize)]
struct Ranks {
    seed: u64,
    values: std::collections::BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct Forest {
    seed: u64,
    count: usize,
    spikes: std::collections::BTreeMap<usize, f64>,
    scores: String,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/stats.json")).unwrap()
}

/// Values between 0 and 1, as the script makes them.
fn uniform(seed: u64, count: usize) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / (1_u64 << 31) as f64
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn page_hinkley_finds_what_river_finds() {
    let mut all = 0;
    for drift in golden().page_hinkley {
        let level = |index: usize| match drift.level.as_str() {
            "steady" => 0.0,
            "step" => f64::from(u8::from(index >= 600)) * 1.5,
            "down" => f64::from(u8::from(index >= 500)) * -0.8,
            "ramp" => index as f64 / 400.0,
            _ => (index / 300 % 3) as f64,
        };
        let mut test = PageHinkley::new(drift.min_instances, drift.delta, drift.threshold, drift.alpha);
        let values = uniform(drift.seed, 1_500).into_iter().enumerate().map(|(index, value)| value + level(index));
        let found: Vec<usize> = values.enumerate().filter_map(|(index, value)| test.add(value).map(|_| index)).collect();
        assert_eq!(found, drift.found, "{} {}", drift.level, drift.threshold);
        all += found.len();
    }
    assert!(all > 20, "{all}");
}

#[test]
fn tails_are_fitted_at_least_as_well_as_scipy_fits_them() {
    for tail in golden().genpareto {
        let excess = |value: f64| match tail.shape {
            0.0 => -tail.scale * (1.0 - value).ln(),
            shape => tail.scale / shape * ((1.0 - value).powf(-shape) - 1.0),
        };
        let excesses: Vec<f64> = uniform(tail.seed, tail.count).into_iter().map(excess).collect();
        let fitted = Gpd::fit(&excesses).unwrap();
        let each =
            |excess: &f64| -fitted.scale.ln() - (1.0 + 1.0 / fitted.shape) * (1.0 + fitted.shape * excess / fitted.scale).ln();
        let likelihood: f64 = excesses.iter().map(each).sum();
        assert!(likelihood >= tail.likelihood - 1e-3, "{likelihood} {}", tail.likelihood);
        assert!((fitted.shape - tail.fitted_shape).abs() < 0.01, "{fitted:?} {}", tail.fitted_shape);
        assert!((fitted.scale / tail.fitted_scale - 1.0).abs() < 0.01, "{fitted:?} {}", tail.fitted_scale);
        assert!((fitted.exceeded(1e-3) / tail.extreme - 1.0).abs() < 0.02, "{} {}", fitted.exceeded(1e-3), tail.extreme);
    }
}

#[test]
fn quantiles_are_within_their_bound_of_numpy_s() {
    for ranks in golden().quantiles {
        let mut sketch = Quantiles::default();
        uniform(ranks.seed, 1_500).into_iter().for_each(|value| sketch.add((1.0 / (1.0 - value) - 1.0) * 10.0));
        for (q, expected) in ranks.values {
            let found = sketch.quantile(q.parse().unwrap()).unwrap();
            assert!(((1.0 + found) / (1.0 + expected)).ln().abs() <= 0.1 + 1e-6, "{q}: {found} {expected}");
        }
    }
}

/// Values of one stream that a random cut forest gives for how far, and a threshold that sets itself: which spikes does each tell, and
/// what else?
#[test]
fn thresholds_tell_what_a_random_cut_forest_tells() {
    /// Values with the one before them that a score of the forest is of.
    const SHINGLE: usize = 4;
    let Forest { seed, count, spikes, scores } = golden().forest;
    let scores: Vec<f64> = scores.split(' ').map(|score| score.parse().unwrap()).collect();
    assert_eq!(scores.len(), count);
    let values = uniform(seed, 4 * count);
    let values = values.as_chunks::<4>().0.iter().enumerate();
    let values = values.map(|(place, four)| four.iter().sum::<f64>() + spikes.get(&place).copied().unwrap_or(0.0));
    // Both sides learn, whichever speaks, as in `nab.rs`.
    let (mut above, mut below) = (Spot::new(1e-4), Spot::new(1e-4));
    let ours: Vec<usize> = values
        .enumerate()
        .filter_map(|(place, value)| {
            let (high, low) = (above.add(value), below.add(-value));
            (high || low).then_some(place)
        })
        .collect();
    // The spikes that alarms tell, and the alarms that tell none.
    let told = |alarms: &[usize]| -> (Vec<usize>, usize) {
        let tells = |alarm: usize, spike: usize| (spike..spike + SHINGLE).contains(&alarm);
        let found = spikes.keys().copied().filter(|spike| alarms.iter().any(|alarm| tells(*alarm, *spike))).collect();
        (found, alarms.iter().filter(|alarm| !spikes.keys().any(|spike| tells(**alarm, *spike))).count())
    };
    let (found, others) = told(&ours);
    // The forest with the threshold that suits it best, at no more other alarms: from where the thresholds here begin to speak.
    let of_forest = |threshold: f64| told(&(200..count).filter(|place| scores[*place] > threshold).collect::<Vec<_>>());
    let best = scores.iter().map(|threshold| of_forest(*threshold)).filter(|(_, more)| *more <= others);
    let best = best.map(|(found, _)| found).max_by_key(Vec::len).unwrap();
    let all: Vec<usize> = spikes.keys().copied().collect();
    assert_eq!((&found, others), (&all, 0));
    // Of the golden scores no threshold tells more without another alarm.
    assert_eq!(best, all.iter().copied().filter(|spike| *spike != 750).collect::<Vec<_>>());
}
