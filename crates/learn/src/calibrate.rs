//! From sums to scores: what share of benign texts of sources that were not trained on is above a sum.

use event::Verdict;

/// Shares of benign texts, and the score that the sum above which they are stands for.
const KNOTS: [(f32, f32); 6] = [
    (0.5, 0.02),
    (0.1, 0.12),
    (0.03, 0.25),
    (WARN_SHARE, Verdict::WARN_SCORE_MIN),
    (0.003, 0.6),
    (DENY_SHARE, Verdict::DENY_SCORE_MIN),
];

/// Promised share of benign texts of a new source that are warned about.
pub(crate) const WARN_SHARE: f32 = 0.01;
/// Promised share of benign texts of a new source that would be denied.
pub(crate) const DENY_SHARE: f32 = 0.001;

/// Least distance between the sums of two knots.
const GAP_MIN: f32 = 1e-3;

/// A benign text: its sum, and what it weighs.
pub(crate) type Weighed = (f32, f32);

/// Sums and scores, rising.
pub(crate) fn knots(mut benign: Vec<Weighed>) -> Vec<(f32, f32)> {
    benign.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut knots: Vec<(f32, f32)> = Vec::new();
    for (share, score) in KNOTS {
        let sum = threshold(&benign, share);
        let sum = knots.last().map_or(sum, |last| sum.max(last.0 + GAP_MIN));
        knots.push((sum, score));
    }
    let (Some(&first), Some(&last)) = (knots.first(), knots.last()) else { return knots };
    let spread = (last.0 - first.0).max(1.0);
    knots.insert(0, (first.0 - spread, 0.0));
    // Beyond all benign texts the score rises on: how far is a matter of taste, and changes no verdict.
    knots.push((last.0 + spread, 0.99));
    knots
}

/// The sum that this share of benign texts (sorted, greatest first) is at or above.
fn threshold(benign: &[Weighed], share: f32) -> f32 {
    let total: f32 = benign.iter().map(|(_, weight)| weight).sum();
    let mut above = 0.0;
    for &(sum, weight) in benign {
        above += weight;
        if above > share * total {
            return sum + f32::EPSILON * sum.abs().max(1.0);
        }
    }
    benign.last().map_or(0.0, |last| last.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_above_a_score_as_it_promises() {
        let benign: Vec<Weighed> = (0..10_000).map(|n| (n as f32 / 100.0, 1.0)).collect();
        let knots = knots(benign);
        let sum_at = |score: f32| knots.iter().find(|knot| (knot.1 - score).abs() < 1e-6).unwrap().0;
        assert!((sum_at(Verdict::WARN_SCORE_MIN) - 99.0).abs() < 0.1, "{knots:?}");
        assert!((sum_at(Verdict::DENY_SCORE_MIN) - 99.9).abs() < 0.1, "{knots:?}");
        assert!(knots.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1));
    }
}
