//! Runs the examples that rules bring.

use super::check::Problem;
use super::extension::Example;
use super::{Rule, RuleKind};
use crate::sigma::{Parsed, Sigma};

/// What came of an example.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ExampleResult {
    /// The rule's id.
    pub rule: String,
    /// Its title.
    pub title: String,
    /// The example's name; of one that has none `#` and its number among those of its kind.
    pub example: String,
    /// Whether the rule should fire.
    pub expected: bool,
    /// Whether it did.
    pub fired: bool,
}

impl ExampleResult {
    /// Whether it came out as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.expected == self.fired
    }
}

/// Examples that did not come out as expected.
pub(crate) fn problems(rules: &[Rule]) -> Vec<Problem> {
    rules.iter().flat_map(|rule| problems_of(rule, rules)).collect()
}

/// Those of one rule, in its set.
pub(crate) fn problems_of(rule: &Rule, rules: &[Rule]) -> Vec<Problem> {
    run_rule(rule, rules)
        .into_iter()
        .filter(|(result, _)| !result.passed())
        .map(|(result, field)| {
            let did = if result.fired { "fires, and should not" } else { "does not fire" };
            Problem::on(
                &rule.info,
                field,
                format!("example {:?}: the rule {did}", result.example),
                "correct the rule or the example",
            )
        })
        .collect()
}

/// Runs the examples of one rule of a set. Each result comes with the field that holds the example.
pub(crate) fn run_rule(rule: &Rule, rules: &[Rule]) -> Vec<(ExampleResult, &'static str)> {
    run_rule_until(rule, rules, &|| false).unwrap_or_default()
}

/// As [`run_rule`]; nothing when it is to stop, which is asked at each event.
pub(crate) fn run_rule_until(
    rule: &Rule,
    rules: &[Rule],
    stopping: &dyn Fn() -> bool,
) -> Option<Vec<(ExampleResult, &'static str)>> {
    let examples = &rule.extension.examples;
    let run_all = |examples: &[Example], expected: bool, field: &'static str| {
        let run = examples.iter().enumerate().map(|(number, example)| {
            let result = ExampleResult {
                rule: rule.info.id.clone(),
                title: rule.info.title.clone(),
                example: if example.name.is_empty() { format!("#{}", number + 1) } else { example.name.clone() },
                expected,
                fired: fires(rule, rules, example, stopping)?,
            };
            Some((result, field))
        });
        run.collect::<Option<Vec<_>>>()
    };
    let positive = run_all(&examples.positive, true, "watchkeeper.examples.positive")?;
    let negative = run_all(&examples.negative, false, "watchkeeper.examples.negative")?;
    Some([positive, negative].concat())
}

/// Whether the rule fires on the example. Only the rule itself, what it refers to, and the filters are compiled.
fn fires(rule: &Rule, rules: &[Rule], example: &Example, stopping: &dyn Fn() -> bool) -> Option<bool> {
    let needed = needed(rule, rules);
    let Ok(mut sigma) = Sigma::compile(needed.iter().copied()) else { return Some(false) };
    let Some(position) = needed.iter().position(|one| std::ptr::eq(*one, &rule.parsed)) else {
        return Some(false);
    };
    let mut fired = false;
    for (time_s, event) in example.timeline() {
        if stopping() {
            return None;
        }
        let matches = sigma.matches(event, None);
        fired |= rule.info.kind == RuleKind::Rule && sigma.positions(&matches).contains(&position);
        fired |= sigma.correlate(event, None, matches, time_s).iter().any(|hit| hit.rule == position);
    }
    Some(fired)
}

/// The rule, what it refers to, and the filters that work on either.
pub(crate) fn needed<'a>(rule: &'a Rule, rules: &'a [Rule]) -> Vec<&'a Parsed> {
    let mut needed: Vec<&Rule> = vec![rule];
    let mut next = 0;
    while let Some(one) = needed.get(next).copied() {
        next += 1;
        for name in one.parsed.references().unwrap_or(&[]) {
            let found = rules.iter().find(|rule| rule.info.id == *name || rule.parsed.name() == Some(name.as_str()));
            if let Some(found) = found
                && !needed.iter().any(|known| known.info.id == found.info.id)
            {
                needed.push(found);
            }
        }
    }
    let ids: Vec<&str> = needed.iter().map(|rule| rule.info.id.as_str()).collect();
    let filters = rules.iter().filter(|filter| {
        filter.info.kind == RuleKind::Filter
            && filter.parsed.references().is_none_or(|names| names.iter().any(|name| ids.contains(&name.as_str())))
    });
    needed.iter().copied().chain(filters).map(|rule| &rule.parsed).collect()
}
