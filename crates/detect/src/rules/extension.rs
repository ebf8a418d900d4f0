//! The `watchkeeper:` block of a rule: what Sigma has no word for.

use serde::Deserialize;
use serde_json::Value as Json;

use crate::budget::AlertBudget;

/// The block as written. Unknown keys are refused: a misspelt `positve` must not pass for no example.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Extension {
    /// ATLAS technique ids.
    pub(crate) techniques: Vec<String>,
    /// OWASP entries; from the techniques where left out.
    pub(crate) owasp: Vec<String>,
    /// NIST entries; from the techniques where left out.
    pub(crate) nist: Vec<String>,
    /// The runbook, a file of `content/runbooks` without its ending.
    pub(crate) runbook: Option<String>,
    /// How sure the rule is, 0 to 1.
    pub(crate) confidence: Option<f32>,
    /// How many of its detections are told of in an hour, where that is not as for every rule.
    pub(crate) budget: Option<AlertBudget>,
    /// Events on which it must fire and must not.
    pub(crate) examples: Examples,
}

/// Examples of both kinds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Examples {
    pub(crate) positive: Vec<Example>,
    pub(crate) negative: Vec<Example>,
}

/// One example: an event under the flattened field names, or several for a correlation.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Example {
    /// What it shows.
    pub(crate) name: String,
    /// The event.
    pub(crate) event: Option<Json>,
    /// Or the events, in order.
    pub(crate) events: Vec<Json>,
    /// How often the whole of it comes, for rates; 1 where left out.
    pub(crate) repeat: Option<u32>,
    /// Seconds between two events; 1 where left out.
    pub(crate) every_s: Option<u32>,
}

/// Most events that an example can come to.
pub(crate) const EXAMPLE_EVENTS_MAX: usize = 10_000;

/// Most examples of a rule.
pub(crate) const EXAMPLES_MAX: usize = 256;

/// How sure a rule is that does not say so.
pub(crate) const CONFIDENCE_DEFAULT: f32 = 0.6;

impl Extension {
    pub(crate) fn parse(block: Option<&Json>) -> Result<Self, String> {
        match block {
            None => Ok(Self::default()),
            Some(block) => {
                let block: Self = serde_json::from_value(block.clone()).map_err(|error| error.to_string())?;
                match block.examples.positive.len() + block.examples.negative.len() {
                    0..=EXAMPLES_MAX => Ok(block),
                    count => Err(format!("examples: {count}; at most {EXAMPLES_MAX} are taken")),
                }
            }
        }
    }
}

impl Example {
    /// Its events with the second at which each happens.
    pub(crate) fn timeline(&self) -> impl Iterator<Item = (i64, &Json)> {
        let every_s = i64::from(self.every_s.unwrap_or(1));
        let once = self.event.iter().chain(&self.events);
        let repeats = usize::try_from(self.repeat.unwrap_or(1)).unwrap_or(usize::MAX).min(EXAMPLE_EVENTS_MAX);
        std::iter::repeat_n(once, repeats)
            .flatten()
            .take(EXAMPLE_EVENTS_MAX)
            .zip(0_i64..)
            .map(move |(event, index)| (index * every_s, event))
    }
}
