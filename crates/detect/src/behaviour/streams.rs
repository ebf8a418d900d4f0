//! How a model or a tool serves: latency, failures, refusals, length of answers.

use serde::{Deserialize, Serialize};

use super::entity::EntityKind;
use super::facts::Facts;
use super::insight::{Insight, Name};
use crate::stats::{Quantiles, Shift, Shifted};

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

/// The least change of a share that depends on what is asked as much as on the model: what answers look like.
const FORM_CHANGE_MIN: f32 = 0.2;
/// Calls of which the slowest of 20 are known before the tail is looked at.
const TAIL_SUPPORT_MIN: u32 = 400;
const TAIL: f64 = 0.95;

/// The measures.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Streams {
    latency: Shift,
    errors: Shift,
    /// Those of a model alone.
    of_model: Option<Box<OfModel>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct OfModel {
    refusals: Shift,
    output: Shift,
    first_chunk: Shift,
    latencies: Quantiles,
    tail: Shift,
    input: Shift,
    cost: Shift,
    cut_off: Shift,
    format: Shift,
    tool_calls: Shift,
}

/// What an event says of them.
pub(crate) struct Served {
    latency_ms: Option<f64>,
    failed: f32,
    of_model: Option<ServedByModel>,
}

struct ServedByModel {
    refused: f32,
    output: Option<f32>,
    first_chunk: Option<f32>,
    input: Option<f32>,
    cost: Option<f32>,
    cut_off: Option<f32>,
    structured: Option<f32>,
    calls_tools: Option<f32>,
}

impl Streams {
    /// What an event says of how an entity of the kind serves; nothing, where it does not serve or the outcome is not known.
    pub(crate) fn of(kind: EntityKind, facts: &Facts) -> Option<Served> {
        let serves = match kind {
            EntityKind::Route => facts.answers,
            EntityKind::Tool => facts.runs_tool,
            _ => false,
        };
        let answered = !facts.failed && !facts.refused;
        let when_answered = |value: Option<f64>| value.filter(|_| answered).map(log);
        serves.then(|| Served {
            latency_ms: facts.latency_ms.filter(|_| !facts.failed),
            failed: share(facts.failed),
            of_model: (kind == EntityKind::Route).then(|| ServedByModel {
                refused: share(facts.refused),
                output: when_answered(facts.output_tokens),
                first_chunk: when_answered(facts.first_chunk_ms),
                input: facts.input_tokens.map(log),
                // Calls cost fractions of a cent: by the thousand they are numbers that logarithms tell apart.
                cost: facts.cost.filter(|_| !facts.failed).map(|cost| log(cost * 1e3)),
                cut_off: facts.is_cut_off.filter(|_| answered).map(share),
                structured: facts.is_structured.filter(|_| answered).map(share),
                calls_tools: facts.calls_tools.filter(|_| answered).map(share),
            }),
        })
    }

    pub(crate) fn observe(&mut self, served: &Served, hour: u32, out: &mut Vec<Insight>) {
        let is_model = served.of_model.is_some();
        let mut told = Telling { hour, out };
        if let Some(latency) = served.latency_ms {
            told.size(
                if is_model { Name::ModelLatencyShift } else { Name::ToolLatencyShift },
                &mut self.latency,
                Some(log(latency)),
            );
        }
        told.share(
            if is_model { Name::ModelErrorShift } else { Name::ToolErrorShift },
            &mut self.errors,
            Some(served.failed),
            SHARE_CHANGE_MIN,
        );
        let Some(now) = &served.of_model else { return };
        let known = self.of_model.get_or_insert_default();
        told.share(Name::ModelRefusalShift, &mut known.refusals, Some(now.refused), SHARE_CHANGE_MIN);
        told.size(Name::ModelOutputShift, &mut known.output, now.output);
        told.size(Name::ModelFirstChunkShift, &mut known.first_chunk, now.first_chunk);
        told.size(Name::ModelInputShift, &mut known.input, now.input);
        told.size(Name::ModelCostShift, &mut known.cost, now.cost);
        told.share(Name::ModelCutOffShift, &mut known.cut_off, now.cut_off, SHARE_CHANGE_MIN);
        told.share(Name::ModelFormatShift, &mut known.format, now.structured, FORM_CHANGE_MIN);
        told.share(Name::ModelToolCallShift, &mut known.tool_calls, now.calls_tools, FORM_CHANGE_MIN);
        if let Some(latency) = served.latency_ms {
            // What the slowest are is learnt from the calls themselves, so a lasting change is told once and is the rule from then on.
            if known.latencies.support() >= TAIL_SUPPORT_MIN {
                let is_slow = known.latencies.quantile(TAIL).map(|limit| share(latency > limit));
                told.share(Name::ModelTailShift, &mut known.tail, is_slow, SHARE_CHANGE_MIN);
            }
            known.latencies.add(latency);
        }
    }
}

/// Puts values to their measures, and tells of those that shift.
struct Telling<'a> {
    hour: u32,
    out: &'a mut Vec<Insight>,
}

impl Telling<'_> {
    /// A size: a time, a length, a cost, by its logarithm.
    fn size(&mut self, name: Name, known: &mut Shift, value: Option<f32>) {
        let Some(value) = value else { return };
        let shifted = known.add(value, self.hour, LOG_DEVIATION_MIN, LEARN_HOURS);
        self.tell(name, shifted, LOG_CHANGE_MIN, |log| f64::from(log).exp() - 1.0);
    }

    fn share(&mut self, name: Name, known: &mut Shift, value: Option<f32>, least: f32) {
        let Some(value) = value else { return };
        let shifted = known.add(value, self.hour, SHARE_DEVIATION_MIN, LEARN_HOURS);
        self.tell(name, shifted, least, f64::from);
    }

    fn tell(&mut self, name: Name, shifted: Option<Shifted>, least: f32, value: impl Fn(f32) -> f64) {
        if let Some(shifted) = shifted.filter(|shifted| (shifted.observed - shifted.expected).abs() >= least) {
            let (observed, expected) = (value(shifted.observed), value(shifted.expected));
            let what = if shifted.up { "up" } else { "down" };
            self.out.push(Insight::new(name, observed, expected, shifted.support, 0.0).of(what));
        }
    }
}

fn share(is: bool) -> f32 {
    if is { 1.0 } else { 0.0 }
}

fn log(value: f64) -> f32 {
    (1.0 + value).ln() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(index: u32) -> Facts {
        Facts {
            answers: true,
            latency_ms: Some(800.0 + f64::from(index * 37 % 400)),
            output_tokens: Some(120.0 + f64::from(index * 13 % 60)),
            input_tokens: Some(900.0 + f64::from(index * 29 % 300)),
            first_chunk_ms: Some(200.0 + f64::from(index * 7 % 60)),
            cost: Some(0.004),
            is_cut_off: Some(index.is_multiple_of(50)),
            is_structured: Some(index.is_multiple_of(3)),
            calls_tools: Some(index.is_multiple_of(4)),
            ..Facts::default()
        }
    }

    /// What is told when calls change in one way after a fortnight of forty calls an hour, and what before.
    fn told(change: impl Fn(u32, &mut Facts)) -> (usize, Vec<&'static str>) {
        let mut streams = Streams::default();
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for hour in 1..=18 * 24 {
            for call in 0..40 {
                let mut facts = facts(hour * 40 + call);
                let out = if hour > 14 * 24 {
                    change(hour * 40 + call, &mut facts);
                    &mut after
                } else {
                    &mut before
                };
                if let Some(served) = Streams::of(EntityKind::Route, &facts) {
                    streams.observe(&served, hour, out);
                }
            }
        }
        let mut names: Vec<&'static str> = after.iter().map(|insight: &Insight| insight.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        (before.len(), names)
    }

    #[test]
    fn each_layer_of_performance_is_told_when_it_shifts_and_only_then() {
        type Change = fn(u32, &mut Facts);
        let cases: [(Change, &[&str]); 10] = [
            (|_, _| {}, &[]),
            (|_, facts| facts.first_chunk_ms = facts.first_chunk_ms.map(|ms| ms * 2.0), &["model_first_chunk_shift"]),
            (
                |index, facts| facts.latency_ms = facts.latency_ms.filter(|_| !index.is_multiple_of(5)).or(Some(1_500.0)),
                &["model_tail_shift"],
            ),
            (|_, facts| facts.input_tokens = facts.input_tokens.map(|tokens| tokens * 2.0), &["model_input_shift"]),
            (|_, facts| facts.cost = Some(0.012), &["model_cost_shift"]),
            (|index, facts| facts.is_cut_off = Some(index.is_multiple_of(4)), &["model_cut_off_shift"]),
            (|_, facts| facts.is_structured = Some(false), &["model_format_shift"]),
            (|_, facts| facts.calls_tools = Some(true), &["model_tool_call_shift"]),
            (|index, facts| facts.refused = index.is_multiple_of(5), &["model_refusal_shift"]),
            (|index, facts| facts.failed = index.is_multiple_of(6), &["model_error_shift"]),
        ];
        for (change, expected) in cases {
            assert_eq!(told(change), (0, expected.to_vec()));
        }
    }
}
