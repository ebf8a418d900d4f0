//! Which rules of a set work together.

use std::collections::HashMap;

use super::check::Problem;
use super::{Rule, RuleError, RuleKind};
use crate::sigma::{self, Names};

/// How many correlations may stand on each other. SigmaHQ has none that do.
const CORRELATION_DEPTH_MAX: usize = 8;
/// Most memory of a set, in bytes, as far as it can be told. The 4,000 rules of SigmaHQ take a quarter of that.
const SET_BYTES_MAX: usize = 768 * 1024 * 1024;
/// Most memory of the rules of a request, in bytes, beside those in force: the 4,000 rules of SigmaHQ, and some.
const REQUEST_BYTES_MAX: usize = 256 * 1024 * 1024;

const NAME_RULES: &str = "refer to rules by the id or name that they have";

/// A problem of a rule in its set.
pub(super) struct Found {
    pub(super) problem: Problem,
    /// The rule that is left out for it, if one is.
    pub(super) out: Option<(String, Out)>,
}

/// Why a rule is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Out {
    /// It is wrong itself.
    Itself,
    /// What it refers to is not there.
    WithOthers,
}

impl Found {
    fn out(rule: &Rule, out: Out, problem: Problem) -> Self {
        Self { problem, out: Some((rule.info.id.clone(), out)) }
    }

    fn told(problem: Problem) -> Self {
        Self { problem, out: None }
    }
}

/// Leaves out correlations and filters that speak of rules that are not there, or of each other in a circle, and what is too much for the
/// memory. The ids of the rules are unique, and each compiles by itself.
///
/// # Errors
/// [`RuleError::Stopped`], when `stopping` says so.
pub(super) fn settle(rules: &mut Vec<Rule>, stopping: &dyn Fn() -> bool) -> Result<Vec<Found>, RuleError> {
    let mut found = Vec::new();
    let references = References::of(rules);
    let mut kept: Vec<bool> = rules.iter().map(|rule| rule.info.kind == RuleKind::Rule).collect();
    keep_correlations(rules, &references, &mut kept, &mut found);
    let resolved = keep_filters(rules, &references, &mut kept, &mut found);
    for (place, ids) in resolved {
        if let Some(rule) = rules.get_mut(place) {
            rule.parsed.resolve(|name| ids.get(name).cloned());
        }
    }
    keep_what_fits(rules, &mut kept, &mut found, [SET_BYTES_MAX, REQUEST_BYTES_MAX], stopping)?;
    let mut kept = kept.into_iter();
    rules.retain(|_| kept.next().unwrap_or(false));
    Ok(found)
}

/// By what the rules of a set are referred to.
struct References {
    names: Names,
    /// Where several rules have one title, the first.
    titles: HashMap<String, usize>,
}

impl References {
    fn of(rules: &[Rule]) -> Self {
        let mut titles = HashMap::new();
        for (place, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.info.kind != RuleKind::Filter) {
            titles.entry(rule.info.title.clone()).or_insert(place);
        }
        Self { names: Names::of(rules.iter().map(|rule| &rule.parsed)), titles }
    }

    /// The place of what is referred to; filters are not.
    fn place(&self, rules: &[Rule], name: &str) -> Option<usize> {
        self.names.position(name).filter(|place| rules[*place].info.kind != RuleKind::Filter)
    }

    /// The names as they stand in a message; titles with what is to be written in their place.
    fn told(&self, rules: &[Rule], names: &[&str]) -> String {
        let told = names.iter().map(|name| match self.titles.get(*name).filter(|_| self.place(rules, name).is_none()) {
            Some(place) => format!("{name:?} is a title, write the id {}", rules[*place].info.id),
            None => (*name).to_owned(),
        });
        told.take(TOLD_MAX).collect::<Vec<_>>().join(", ")
    }

    /// Names that several rules have.
    fn doubled(&self, rule: &Rule, field: &str, names: &[String]) -> Option<Found> {
        let doubled: Vec<&str> =
            names.iter().map(String::as_str).filter(|name| self.names.is_doubled(name)).take(TOLD_MAX).collect();
        let message = || format!("several rules have the name {}, and the first is meant", doubled.join(", "));
        (!doubled.is_empty()).then(|| Found::told(Problem::on(&rule.info, field, message(), "give each rule a name of its own")))
    }
}

/// Most names that a message tells.
const TOLD_MAX: usize = 16;

fn keep_correlations(rules: &[Rule], references: &References, kept: &mut [bool], found: &mut Vec<Found>) {
    let id_of = |name: &str| references.place(rules, name).map(|place| rules[place].info.id.clone());
    let is_correlation = |rule: &Rule| rule.info.kind == RuleKind::Correlation;
    // Where all that one refers to is there, and it cannot be used all the same.
    let mut wrong: HashMap<usize, String> = HashMap::new();
    let mut places: HashMap<usize, Vec<usize>> = HashMap::new();
    for (own, rule) in rules.iter().enumerate().filter(|(_, rule)| is_correlation(rule)) {
        let names = rule.parsed.references().unwrap_or(&[]);
        found.extend(references.doubled(rule, "correlation.rules", names));
        let all: Option<Vec<usize>> = names.iter().map(|name| references.place(rules, name)).collect();
        let Some(all) = all else { continue };
        match sigma::correlation_error(&rule.parsed, id_of) {
            Some(error) => drop(wrong.insert(own, error)),
            None => drop(places.insert(own, all)),
        }
    }
    // Each round keeps those whose rules are all kept already; what never gets there refers to something else in a circle.
    for _ in 0..CORRELATION_DEPTH_MAX {
        let more: Vec<usize> = places
            .iter()
            .filter(|(own, all)| !kept[**own] && all.iter().all(|place| kept[*place]))
            .map(|(own, _)| *own)
            .collect();
        if more.is_empty() {
            break;
        }
        more.into_iter().for_each(|own| kept[own] = true);
    }
    for (own, rule) in rules.iter().enumerate().filter(|(own, rule)| is_correlation(rule) && !kept[*own]) {
        if let Some(error) = wrong.remove(&own) {
            let problem = Problem::on(&rule.info, "correlation", error, "correct the rule; it is left out until then");
            found.push(Found::out(rule, Out::Itself, problem));
            continue;
        }
        let is_missing = |name: &&str| references.place(rules, name).is_none_or(|place| !kept[place]);
        let names: Vec<&str> = rule.parsed.references().unwrap_or(&[]).iter().map(String::as_str).filter(is_missing).collect();
        let message = format!(
            "refers to rules that are not in the set, or in a circle, or that stand on more than {} correlations: {}",
            CORRELATION_DEPTH_MAX - 1,
            references.told(rules, &names)
        );
        found.push(Found::out(rule, Out::WithOthers, Problem::on(&rule.info, "correlation.rules", message, NAME_RULES)));
    }
}

/// Gives the ids that names in each filter stand for.
fn keep_filters(
    rules: &[Rule],
    references: &References,
    kept: &mut [bool],
    found: &mut Vec<Found>,
) -> Vec<(usize, HashMap<String, String>)> {
    let mut resolved = Vec::new();
    for (own, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.info.kind == RuleKind::Filter) {
        let Some(names) = rule.parsed.references() else {
            kept[own] = true;
            continue;
        };
        found.extend(references.doubled(rule, "filter.rules", names));
        let is_kept = |place: &usize| kept[*place];
        let mut ids = HashMap::new();
        let (mut missing, mut by_title) = (Vec::new(), Vec::new());
        for name in names {
            // An exclusion that is lost is a flood of false alarms: what is meant is clear, so it is done, and told.
            let titled = || references.titles.get(name).copied();
            match references.place(rules, name).filter(is_kept).or_else(|| titled().filter(is_kept)) {
                Some(place) => {
                    if references.place(rules, name).is_none() {
                        by_title.push(name.as_str());
                    }
                    ids.insert(name.clone(), rules[place].info.id.clone());
                }
                None => missing.push(name.as_str()),
            }
        }
        if !by_title.is_empty() {
            let message = format!("refers to rules by title: {}", references.told(rules, &by_title));
            found.push(Found::told(Problem::on(&rule.info, "filter.rules", message, NAME_RULES)));
        }
        kept[own] = !ids.is_empty();
        if !missing.is_empty() {
            // It goes on for those that are there.
            let message = format!("refers to rules that are not in the set: {}", references.told(rules, &missing));
            let problem = Problem::on(&rule.info, "filter.rules", message, NAME_RULES);
            found.push(if kept[own] { Found::told(problem) } else { Found::out(rule, Out::WithOthers, problem) });
        }
        resolved.push((own, ids));
    }
    resolved
}

/// Leaves out what is too much for the memory. A filter becomes a part of every rule that it is for. The rules of a request, the second of
/// `bytes_max`, have room of their own, in which what becomes of them with the filters in force is, too.
fn keep_what_fits(
    rules: &[Rule],
    kept: &mut [bool],
    found: &mut Vec<Found>,
    bytes_max: [usize; 2],
    stopping: &dyn Fn() -> bool,
) -> Result<(), RuleError> {
    let mut sums = [0_usize; 2];
    let is_filter = |rule: &&Rule| rule.info.kind == RuleKind::Filter;
    for (place, rule) in rules.iter().enumerate() {
        if !kept[place] {
            continue;
        }
        if stopping() {
            return Err(RuleError::Stopped);
        }
        let is_for = |other: &&Rule| rule.is_of_request || !other.is_of_request;
        let bytes = match rule.info.kind {
            RuleKind::Filter => {
                let filtered = rules.iter().filter(is_for).filter(|other| sigma::filters(&rule.parsed, &other.parsed)).count();
                rule.weight.saturating_mul(filtered)
            }
            _ if rule.is_of_request => {
                let others = rules.iter().filter(is_filter).filter(|filter| !filter.is_of_request);
                let filters = others.filter(|filter| sigma::filters(&filter.parsed, &rule.parsed));
                filters.fold(rule.weight, |sum, filter| sum.saturating_add(filter.weight))
            }
            _ => rule.weight,
        };
        let whose = usize::from(rule.is_of_request);
        let with = sums[whose].saturating_add(bytes);
        if with <= bytes_max[whose] {
            sums[whose] = with;
            continue;
        }
        kept[place] = false;
        let of = if rule.is_of_request { " of the request" } else { "" };
        let message = format!("with it the rules{of} would take more than {} bytes of memory", bytes_max[whose]);
        let problem =
            Problem::on(&rule.info, "detection", message, "leave rules, values or patterns out; it is left out until then");
        found.push(Found::out(rule, Out::Itself, problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::RuleSet;

    /// Two rules and a filter on both in force, two rules and a filter on all of a request; each takes 10 bytes.
    fn rules() -> Vec<Rule> {
        let rule =
            |title: &str| format!("title: {title}\nlogsource: {{product: ai}}\ndetection:\n  s: {{k: a}}\n  condition: s\n---\n");
        let filter = |title: &str| {
            format!("title: {title}\nlogsource: {{product: ai}}\nfilter:\n  rules: any\n  s: {{k: b}}\n  condition: not s\n---\n")
        };
        let text = [rule("a"), rule("b"), filter("f"), rule("of c"), rule("of d"), filter("of f")].concat();
        let set = RuleSet::of_files(vec![("r.yml".into(), text)]).unwrap();
        assert_eq!(set.problems(), []);
        let mut rules = set.all().to_vec();
        for rule in &mut rules {
            (rule.weight, rule.is_of_request) = (10, rule.info.title.starts_with("of"));
        }
        rules
    }

    #[test]
    fn rules_of_a_request_leave_out_none_that_is_in_force() {
        let rules = rules();
        let out = |bytes_max: [usize; 2]| -> Vec<String> {
            let (mut kept, mut found) = (vec![true; rules.len()], Vec::new());
            keep_what_fits(&rules, &mut kept, &mut found, bytes_max, &|| false).unwrap();
            let of = |problem: &Problem| problem.message.contains("of the request");
            assert!(found.iter().all(|one| of(&one.problem) == one.problem.rule.starts_with("of")));
            found.into_iter().map(|one| one.problem.rule).collect()
        };
        // In force: two rules, and the filter twice. Of the request: two rules with the filter in force, and a filter in four rules.
        assert_eq!(out([40, 80]), [] as [&str; 0]);
        assert_eq!(out([40, 79]), ["of f"]);
        assert_eq!(out([40, 0]), ["of c", "of d", "of f"]);
        assert_eq!(out([39, 80]), ["f"]);
        let stopped = keep_what_fits(&rules, &mut [true; 6], &mut Vec::new(), [40, 80], &|| true);
        assert!(matches!(stopped, Err(RuleError::Stopped)));
    }
}
