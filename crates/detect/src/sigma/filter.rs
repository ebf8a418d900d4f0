//! Filters of Sigma 2.1: what a site takes out of rules without changing them.
//!
//! A filter becomes a selection of the rule, with the filter's own condition in it, and every condition of the rule is joined with it by
//! AND. (`rsigma`'s own way puts the filter's selections beside the rule's, where `1 of them` means the rule's.)

use std::collections::HashMap;

use rsigma_eval::compiler::compile_detection;
use rsigma_parser::{ConditionExpr, Detection, FilterRule, FilterRuleTarget, LogSource, SelectorPattern, SigmaRule};

/// Begins the name of the selection that a filter becomes. The underscore hides it from `them`, and nobody writes a pattern that has the
/// rest of it.
pub(super) const SELECTION: &str = "_filter\u{1f}";

/// Why a filter cannot be used.
pub(super) fn error_of(filter: &FilterRule) -> Option<String> {
    let named = &filter.detection.named;
    if let Some(unknown) = filter.detection.conditions.iter().find_map(|condition| unknown_name(condition, named)) {
        return Some(format!("filter.condition: there is no selection {unknown}"));
    }
    compile_detection(&selection(filter)).err().map(|error| error.to_string())
}

fn unknown_name<'a>(condition: &'a ConditionExpr, named: &HashMap<String, Detection>) -> Option<&'a str> {
    match condition {
        ConditionExpr::Identifier(name) => (!named.contains_key(name)).then_some(name),
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => parts.iter().find_map(|part| unknown_name(part, named)),
        ConditionExpr::Not(part) => unknown_name(part, named),
        ConditionExpr::Selector { .. } => None,
    }
}

/// Whether the filter is meant for the rule. Its `rules` are ids by now.
pub(super) fn is_for(filter: &FilterRule, rule: &SigmaRule) -> bool {
    let named = match &filter.rules {
        FilterRuleTarget::Any => true,
        FilterRuleTarget::Specific(ids) => rule.id.as_ref().is_some_and(|id| ids.contains(id)),
    };
    named && filter.logsource.as_ref().is_none_or(|wanted| covers(wanted, &rule.logsource))
}

/// Whether a log source is one of those that `wanted` means: what it leaves open is any.
fn covers(wanted: &LogSource, source: &LogSource) -> bool {
    let same = |wanted: &Option<String>, source: &Option<String>| match (wanted, source) {
        (None, _) => true,
        (Some(wanted), Some(source)) => wanted.eq_ignore_ascii_case(source),
        (Some(_), None) => false,
    };
    same(&wanted.category, &source.category) && same(&wanted.product, &source.product) && same(&wanted.service, &source.service)
}

/// The rule with the filter. `number` tells the filters of a rule apart.
pub(super) fn apply(rule: &mut SigmaRule, filter: &FilterRule, number: usize) {
    let name = format!("{SELECTION}{number}\u{1f}{}", filter.title);
    // `*` alone would mean the filter, too.
    let hidden = rule.detection.named.keys().any(|name| name.starts_with('_'));
    let names: Vec<String> = rule.detection.named.keys().filter(|name| !name.starts_with(SELECTION)).cloned().collect();
    for condition in &mut rule.detection.conditions {
        keep_apart(condition, hidden, &names);
        let own = std::mem::replace(condition, ConditionExpr::And(Vec::new()));
        *condition = ConditionExpr::And(vec![own, ConditionExpr::Identifier(name.clone())]);
    }
    rule.detection.named.insert(name, selection(filter));
}

/// Gives patterns that mean every selection another form, which does not mean the filter.
fn keep_apart(condition: &mut ConditionExpr, hidden: bool, names: &[String]) {
    use rsigma_parser::Quantifier;
    match condition {
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => {
            parts.iter_mut().for_each(|part| keep_apart(part, hidden, names));
        }
        ConditionExpr::Not(part) => keep_apart(part, hidden, names),
        ConditionExpr::Identifier(_) => {}
        ConditionExpr::Selector { quantifier, pattern } => {
            if !matches!(pattern, SelectorPattern::Pattern(text) if text.chars().all(|character| character == '*')) {
                return;
            }
            let all = || names.iter().cloned().map(ConditionExpr::Identifier).collect();
            match quantifier {
                _ if !hidden => *pattern = SelectorPattern::Them,
                Quantifier::Any => *condition = ConditionExpr::Or(all()),
                Quantifier::All => *condition = ConditionExpr::And(all()),
                // A number of all selections, some of which are hidden: nobody writes that, and it means the visible ones then.
                Quantifier::Count(_) => *pattern = SelectorPattern::Them,
            }
        }
    }
}

/// The filter as one selection. Without a condition all of its selections must hold, and several conditions are alternatives, as in rules.
fn selection(filter: &FilterRule) -> Detection {
    let named = filter.detection.named.clone();
    let condition = match &filter.detection.conditions[..] {
        [] => ConditionExpr::And(named.keys().cloned().map(ConditionExpr::Identifier).collect()),
        [one] => one.clone(),
        several => ConditionExpr::Or(several.to_vec()),
    };
    Detection::Conditional { named, condition }
}
