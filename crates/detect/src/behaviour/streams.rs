//! How a model or a tool serves: latency, failures, refusals, length of answers.

use serde::{Deserialize, Serialize};

use super::entity::EntityKind;
use super::facts::Facts;
use super::insight::{Insight, Name};
use crate::stats::{Shift, Shifted};

/// Hours in which nothing is said: three days, so that nights and days have been seen.
const LEARN_HOURS: u32 = 72;
/// The least deviations that are believed: in ln of milliseconds and of tokens, and in shares.
const LOG_DEVIATION_MIN: f32 = 0.08;
/// See [`LOG_DEVIATION_MIN`].
const SHARE_DEVIATION_MIN: f32 = 0.03;
/// The least change that is told: a quarter more or less of a length or a time, and so much of a share.
const LOG_CHANGE_MIN: f32 = 0.25;
/// See [`LOG_CHANGE_MIN`].
const SHARE_CHANGE_MIN: f32 = 0.08;

/// The measures.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Streams {
    latency: Shift,
    errors: Shift,
    refusals: Shift,
    output: Shift,
}

/// What an event says of them.
pub(crate) struct Served {
    latency: Option<f32>,
    failed: f32,
    refused: f32,
    output: Option<f32>,
}

impl Streams {
    /// What an event says of how an entity of the kind serves; nothing, where it does not serve or the outcome is not known.
    pub(crate) fn of(kind: EntityKind, facts: &Facts) -> Option<Served> {
        let serves = match kind {
            EntityKind::Model => facts.answers,
            EntityKind::Tool => facts.runs_tool,
            _ => false,
        };
        let share = |is: bool| if is { 1.0 } else { 0.0 };
        let log = |value: f64| (1.0 + value).ln() as f32;
        serves.then(|| Served {
            latency: facts.latency_ms.filter(|_| !facts.failed).map(log),
            failed: share(facts.failed),
            refused: share(facts.refused),
            output: facts.output_tokens.filter(|_| !facts.failed && !facts.refused).map(log),
        })
    }

    pub(crate) fn observe(&mut self, served: &Served, kind: EntityKind, hour: u32, out: &mut Vec<Insight>) {
        let is_model = kind == EntityKind::Model;
        let mut tell = |name: Name, shifted: Option<Shifted>, least: f32, value: &dyn Fn(f32) -> f64| {
            if let Some(shifted) = shifted.filter(|shifted| (shifted.observed - shifted.expected).abs() >= least) {
                let (observed, expected) = (value(shifted.observed), value(shifted.expected));
                let what = if shifted.up { "up" } else { "down" };
                out.push(Insight::new(name, observed, expected, shifted.support, 0.0).of(what));
            }
        };
        let back = |log: f32| f64::from(log).exp() - 1.0;
        if let Some(latency) = served.latency {
            let name = if is_model { Name::ModelLatencyShift } else { Name::ToolLatencyShift };
            tell(name, self.latency.add(latency, hour, LOG_DEVIATION_MIN, LEARN_HOURS), LOG_CHANGE_MIN, &back);
        }
        let name = if is_model { Name::ModelErrorShift } else { Name::ToolErrorShift };
        let errors = self.errors.add(served.failed, hour, SHARE_DEVIATION_MIN, LEARN_HOURS);
        tell(name, errors, SHARE_CHANGE_MIN, &f64::from);
        if !is_model {
            return;
        }
        let refusals = self.refusals.add(served.refused, hour, SHARE_DEVIATION_MIN, LEARN_HOURS);
        tell(Name::ModelRefusalShift, refusals, SHARE_CHANGE_MIN, &f64::from);
        if let Some(output) = served.output {
            tell(Name::ModelOutputShift, self.output.add(output, hour, LOG_DEVIATION_MIN, LEARN_HOURS), LOG_CHANGE_MIN, &back);
        }
    }
}
