//! What a window comes to, and what a correlation asks of it.

use std::collections::HashMap;

use rsigma_parser::{ConditionExpr, ConditionOperator, CorrelationType};

use super::window::Window;

/// What a correlation asks for.
pub(super) enum Test {
    /// Every predicate holds.
    Threshold(Vec<(ConditionOperator, f64)>),
    /// Every rule fired.
    All,
    /// This holds of the rules that fired.
    Expression(Expression),
}

/// What has to hold of the rules that fired, by their places in the list.
pub(super) enum Expression {
    Rule(usize),
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Not(Box<Expression>),
}

impl Window {
    /// How many or how much there is.
    pub(super) fn amount(&self, kind: CorrelationType, rules: usize, percent: f64) -> Option<f64> {
        match kind {
            CorrelationType::EventCount => Some(self.events() as f64),
            CorrelationType::ValueCount => Some(self.different() as f64),
            CorrelationType::Temporal | CorrelationType::TemporalOrdered => Some(self.fired(rules) as f64),
            CorrelationType::ValueSum => Some(self.sum()),
            CorrelationType::ValueAvg => Some(self.sum() / self.events() as f64),
            CorrelationType::ValueMedian => self.percentile(50.0),
            CorrelationType::ValuePercentile => self.percentile(percent),
        }
    }

    /// Whether that is what the correlation asks for.
    pub(super) fn holds(&self, kind: CorrelationType, test: &Test, rules: usize, amount: f64) -> bool {
        let holds = match test {
            Test::Threshold(predicates) => predicates.iter().all(|(operator, wanted)| compare(*operator, amount, *wanted)),
            Test::All => self.fired(rules) == rules,
            Test::Expression(expression) => expression.holds(self),
        };
        holds && (kind != CorrelationType::TemporalOrdered || self.is_in_order(rules))
    }

    /// How many of the rules fired.
    fn fired(&self, rules: usize) -> usize {
        (0..rules).filter(|rule| self.has(*rule)).count()
    }
}

fn compare(operator: ConditionOperator, value: f64, wanted: f64) -> bool {
    match operator {
        ConditionOperator::Lt => value < wanted,
        ConditionOperator::Lte => value <= wanted,
        ConditionOperator::Gt => value > wanted,
        ConditionOperator::Gte => value >= wanted,
        ConditionOperator::Eq => (value - wanted).abs() < f64::EPSILON,
        ConditionOperator::Neq => (value - wanted).abs() >= f64::EPSILON,
    }
}

impl Expression {
    pub(super) fn compile(expression: &ConditionExpr, places: &HashMap<&str, usize>) -> Result<Self, String> {
        let all = |parts: &[ConditionExpr]| parts.iter().map(|part| Self::compile(part, places)).collect::<Result<Vec<_>, _>>();
        Ok(match expression {
            ConditionExpr::Identifier(name) => match places.get(name.as_str()) {
                Some(place) => Self::Rule(*place),
                None => return Err(format!("correlation.condition: {name} is none of correlation.rules")),
            },
            ConditionExpr::And(parts) => Self::All(all(parts)?),
            ConditionExpr::Or(parts) => Self::Any(all(parts)?),
            ConditionExpr::Not(part) => Self::Not(Box::new(Self::compile(part, places)?)),
            ConditionExpr::Selector { .. } => {
                return Err("correlation.condition: name the rules; `1 of` is for selections".to_owned());
            }
        })
    }

    fn holds(&self, window: &Window) -> bool {
        match self {
            Self::Rule(place) => window.has(*place),
            Self::All(parts) => parts.iter().all(|part| part.holds(window)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(window)),
            Self::Not(part) => !part.holds(window),
        }
    }
}
