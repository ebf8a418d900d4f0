//! Correlations as rule files write them, made ready.

use std::collections::HashMap;

use rsigma_parser::{ConditionExpr, ConditionOperator, CorrelationCondition, CorrelationRule, CorrelationType, WindowMode};

use super::Correlation;
use super::condition::{Expression, Test};
use super::window::{ENTRIES_MAX, Span};
use crate::behaviour::Bounded;

/// Longest list of rules of a correlation.
const RULES_MAX: usize = 256;

/// Why a correlation cannot be used. `resolve` gives the id of a rule by its id or name.
pub(crate) fn error_of(rule: &CorrelationRule, resolve: impl Fn(&str) -> Option<String>) -> Option<String> {
    Correlation::compile(rule, 0, &places(rule, resolve)).err()
}

impl Correlation {
    pub(super) fn compile(rule: &CorrelationRule, position: usize, places: &HashMap<&str, usize>) -> Result<Self, String> {
        let kind = rule.correlation_type;
        if rule.rules.is_empty() || rule.rules.len() > RULES_MAX {
            return Err(format!("correlation.rules has {} rules; name 1 to {RULES_MAX}", rule.rules.len()));
        }
        if rule.timespan.seconds == 0 {
            return Err("correlation.timespan is 0; write how long the window is, as in 10m".to_owned());
        }
        let temporal = matches!(kind, CorrelationType::Temporal | CorrelationType::TemporalOrdered);
        let (test, fields, percent) = match &rule.condition {
            CorrelationCondition::Extended(expression) if temporal => {
                (Test::Expression(Expression::compile(expression, places)?), Vec::new(), 0.0)
            }
            CorrelationCondition::Extended(_) => {
                return Err("correlation.condition: only temporal correlations have conditions over rules".to_owned());
            }
            // What the parser makes of no condition at all, which the standard says means all of them.
            CorrelationCondition::Threshold { predicates, .. } if temporal && predicates[..] == [(ConditionOperator::Gte, 1)] => {
                (Test::All, Vec::new(), 0.0)
            }
            CorrelationCondition::Threshold { predicates, field, percentile } => {
                let predicates: Vec<(ConditionOperator, f64)> =
                    predicates.iter().map(|(operator, value)| (*operator, *value as f64)).collect();
                (Test::Threshold(predicates), field.clone().unwrap_or_default(), percentile.unwrap_or(50) as f64)
            }
        };
        let fields_needed = match kind {
            CorrelationType::EventCount | CorrelationType::Temporal | CorrelationType::TemporalOrdered => 0..=usize::MAX,
            CorrelationType::ValueCount => 1..=16,
            _ => 1..=1,
        };
        if !fields_needed.contains(&fields.len()) {
            let kind = kind.as_str();
            return Err(format!(
                "correlation.condition.field: {kind} takes a field (value_count several), and has {}",
                fields.len()
            ));
        }
        if !(0.0..=100.0).contains(&percent) {
            return Err(format!("correlation.condition.percentile is {percent}; it is from 0 to 100"));
        }
        if kind == CorrelationType::ValueCount
            && let Test::Threshold(predicates) = &test
            && let Some((_, most)) = predicates.iter().find(|(operator, most)| {
                matches!(operator, ConditionOperator::Gt | ConditionOperator::Gte | ConditionOperator::Eq)
                    && *most >= ENTRIES_MAX as f64
            })
        {
            return Err(format!("correlation.condition asks for {most} values; a window holds {ENTRIES_MAX}"));
        }
        for alias in &rule.aliases {
            if let Some(unknown) = alias.mapping.keys().find(|name| !places.contains_key(name.as_str())) {
                return Err(format!("correlation.aliases.{}: {unknown} is none of correlation.rules", alias.alias));
            }
        }
        let group_by = rule
            .group_by
            .iter()
            .map(|own| {
                let mut theirs = vec![own.clone(); rule.rules.len()];
                for (name, field) in rule.aliases.iter().filter(|alias| alias.alias == *own).flat_map(|alias| &alias.mapping) {
                    if let Some(slot) = places.get(name.as_str()).and_then(|place| theirs.get_mut(*place)) {
                        slot.clone_from(field);
                    }
                }
                (own.clone(), theirs)
            })
            .collect();
        let seconds = i64::try_from(rule.timespan.seconds).unwrap_or(i64::MAX).min(i64::MAX / 4);
        let gap = rule.gap.as_ref().map_or(seconds, |gap| i64::try_from(gap.seconds).unwrap_or(i64::MAX / 4));
        let mode = if rule.window == WindowMode::Session && rule.gap.is_none() { WindowMode::Sliding } else { rule.window };
        Ok(Self {
            position,
            kind,
            group_by,
            fields,
            span: Span { mode, seconds, gap },
            test,
            rules: rule.rules.len(),
            percent,
            groups: Bounded::new(usize::MAX),
            bytes: 0,
        })
    }
}

/// The places in the list of a correlation's rules, by every name that the correlation calls them by: a condition may call a rule by its
/// name where the list has its id.
pub(super) fn places(rule: &CorrelationRule, resolve: impl Fn(&str) -> Option<String>) -> HashMap<&str, usize> {
    let ids: Vec<Option<String>> = rule.rules.iter().map(|name| resolve(name)).collect();
    let mut places: HashMap<&str, usize> = rule.rules.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
    for name in names_of(rule) {
        if !places.contains_key(name)
            && let Some(id) = resolve(name)
            && let Some(place) = ids.iter().position(|known| known.as_ref() == Some(&id))
        {
            places.insert(name, place);
        }
    }
    places
}

/// The rules that a condition names.
fn names_of(rule: &CorrelationRule) -> Vec<&str> {
    fn walk<'a>(expression: &'a ConditionExpr, names: &mut Vec<&'a str>) {
        match expression {
            ConditionExpr::Identifier(name) => names.push(name),
            ConditionExpr::And(parts) | ConditionExpr::Or(parts) => parts.iter().for_each(|part| walk(part, names)),
            ConditionExpr::Not(part) => walk(part, names),
            ConditionExpr::Selector { .. } => {}
        }
    }
    let mut names = Vec::new();
    if let CorrelationCondition::Extended(expression) = &rule.condition {
        walk(expression, &mut names);
    }
    names.extend(rule.aliases.iter().flat_map(|alias| alias.mapping.keys().map(String::as_str)));
    names
}
