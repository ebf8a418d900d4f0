//! The arithmetic of risk: what detections add up to.
//!
//! A detection adds the weight of its severity, times its confidence. What it added halves every day. What one rule and what one technique
//! can add is capped. The detector adds up as detections come; the view `entity_risk` adds up those that are recorded.

use std::collections::BTreeMap;

/// Time in which risk halves, in seconds: what happened yesterday counts half, what happened a week ago nothing.
pub const HALF_LIFE_S: f64 = 86_400.0;
/// The most that one rule adds: less than the threshold.
pub const RULE_MAX: f64 = 60.0;
/// The most that one technique adds, whatever number of rules sees it: less than the threshold.
pub const TECHNIQUE_MAX: f64 = 70.0;
/// From here on somebody is a risk.
pub const THRESHOLD: f64 = 80.0;
/// What a severity weighs, by its name in events.
pub const WEIGHTS: [(&str, f64); 5] =
    [("informational", 1.0), ("low", 5.0), ("medium", 15.0), ("high", 40.0), ("critical", 80.0)];

/// What a severity weighs; one that is not known as little as any.
#[must_use]
pub fn weight(severity: &str) -> f64 {
    WEIGHTS.iter().find(|(name, _)| *name == severity).map_or(WEIGHTS[0].1, |(_, weight)| *weight)
}

/// What is left of a whole after some seconds. Time that goes back takes nothing, and gives nothing.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "seconds; what is lost beyond 2^53 of them is nothing after a half-life")]
pub fn left_after(seconds: i64) -> f64 {
    0.5_f64.powf(seconds.max(0) as f64 / HALF_LIFE_S)
}

/// What a rule has added, once it adds more.
#[must_use]
pub fn added(amount: f64, more: f64) -> f64 {
    (amount + more).min(RULE_MAX)
}

/// What techniques have added, of what rules have: a technique and its parts (`AML.T0051`, `AML.T0051.000`) are one.
pub fn by_technique<'a>(rules: impl IntoIterator<Item = (&'a str, f64)>) -> BTreeMap<&'a str, f64> {
    let mut all: BTreeMap<&str, f64> = BTreeMap::new();
    for (technique, amount) in rules {
        let whole = technique.char_indices().filter(|(_, c)| *c == '.').nth(1).map_or(technique, |(at, _)| &technique[..at]);
        *all.entry(whole).or_default() += amount;
    }
    all.values_mut().for_each(|amount| *amount = amount.min(TECHNIQUE_MAX));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_rule_and_no_technique_makes_a_risk_alone() {
        assert_eq!(added(added(0.0, weight("critical")), weight("critical")), RULE_MAX);
        let of = [("AML.T0051.000", 60.0), ("AML.T0051.001", 60.0), ("AML.T0051", 60.0), ("AML.T0057", 5.0), ("", 1.0)];
        let of = by_technique(of);
        assert_eq!(of, BTreeMap::from([("", 1.0), ("AML.T0051", TECHNIQUE_MAX), ("AML.T0057", 5.0)]));
        const { assert!(RULE_MAX < THRESHOLD && TECHNIQUE_MAX < THRESHOLD) };
    }

    #[test]
    fn risk_halves_every_day_and_severities_are_in_order() {
        assert_eq!((left_after(0), left_after(86_400), left_after(2 * 86_400), left_after(-5)), (1.0, 0.5, 0.25, 1.0));
        assert!(WEIGHTS.windows(2).all(|pair| pair[0].1 < pair[1].1));
        assert_eq!((weight("high"), weight("unheard of")), (40.0, 1.0));
    }
}
