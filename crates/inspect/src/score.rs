//! From findings to one score.

use std::collections::BTreeMap;

use event::Finding;

/// How much findings of one family can add to the strongest of them: they are hardly independent.
const FAMILY_GAIN_MAX: f32 = 0.15;

/// Noisy-or over families; within a family, noisy-or over its rules, capped. A rule counts once however often it matched.
pub(crate) fn combine<'f>(findings: impl Iterator<Item = (&'f str, &'f Finding)>) -> f32 {
    let mut families: BTreeMap<&str, BTreeMap<&str, f32>> = BTreeMap::new();
    for (family, finding) in findings {
        let best = families.entry(family).or_default().entry(finding.rule.as_str()).or_default();
        *best = best.max(finding.score);
    }
    let missed: f32 = families
        .values()
        .map(|rules| {
            let strongest = rules.values().fold(0.0_f32, |strongest, &score| strongest.max(score));
            let together = 1.0 - rules.values().map(|score| 1.0 - score).product::<f32>();
            1.0 - together.min(strongest + FAMILY_GAIN_MAX).min(1.0)
        })
        .product();
    (1.0 - missed).clamp(0.0, 1.0)
}

/// The score of a match that was found under a disguise: nobody disguises text that is harmless.
pub(crate) fn disguised(score: f32) -> f32 {
    1.0 - (1.0 - score) * 0.6
}

#[cfg(test)]
mod tests {
    use event::{Risk, RuleId};

    use super::*;

    fn score(of: &[(&str, &str, f32)]) -> f32 {
        let findings: Vec<(&str, Finding)> = of
            .iter()
            .map(|&(family, rule, score)| {
                let rule = RuleId::new(rule);
                (family, Finding { risk: Risk::Jailbreak, technique: None, rule, score, start: 0, end: 1, view: None })
            })
            .collect();
        combine(findings.iter().map(|(family, finding)| (*family, finding)))
    }

    #[test]
    fn families_add_up_and_repeats_do_not() {
        let near = |a: f32, b: f32| assert!((a - b).abs() < 1e-5, "{a} {b}");
        near(score(&[]), 0.0);
        near(score(&[("a", "1", 0.5)]), 0.5);
        near(score(&[("a", "1", 0.5), ("a", "1", 0.4)]), 0.5);
        near(score(&[("a", "1", 0.5), ("a", "2", 0.5)]), 0.65);
        near(score(&[("a", "1", 0.5), ("b", "2", 0.5)]), 0.75);
    }
}
