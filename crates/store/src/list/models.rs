//! How models do: calls, errors, latency, refusals, what they answer, and what evaluations say of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Row, params};
use serde::Serialize;
use utoipa::ToSchema;

use super::cursor::Cursor;
use super::merge::{Arm, Looked, each};
use super::overview::Buckets;
use super::usage::UsageBy;
use super::words::{ChangeWord, JudgementWord, OutcomeWord};
use crate::attached::{Attached, Reader};
use crate::error::QueryError;
use crate::rollups::step_ms;
use crate::text::iso;

/// Runs of evaluations that are told of a model.
const EVALUATIONS_MAX: usize = 50;

/// How long runs of evaluations are gone through.
const EVALUATIONS_TIME_MAX: Duration = Duration::from_secs(2);

/// Providers that are told of a model.
const PROVIDERS_MAX: usize = 100;

/// How a model did in a span of time.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ModelPoint {
    /// When it begins (RFC 3339).
    pub time: String,
    /// Calls that are over.
    pub calls: u64,
    /// Those that failed.
    pub errors: u64,
    /// Those that were refused.
    pub refusals: u64,
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Half of the calls took no longer, in milliseconds; from a histogram whose steps are 9 %.
    pub latency_ms_p50: Option<f64>,
    /// 95 of 100 calls took no longer.
    pub latency_ms_p95: Option<f64>,
}

/// A run of an evaluation of a model.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ModelEvaluation {
    /// The event.
    pub event_id: String,
    /// When (RFC 3339).
    pub time: String,
    /// The evaluation.
    pub name: String,
    /// The benchmark set.
    pub evaluation_set: Option<String>,
    /// The mean score of its items, 0 to 1.
    pub score: Option<f64>,
    /// That of the baseline.
    pub score_before: Option<f64>,
    /// What became of it.
    #[schema(value_type = Option<OutcomeWord>)]
    pub outcome: Option<String>,
    /// What that says of the model.
    #[schema(value_type = Vec<JudgementWord>)]
    pub verdict: Vec<String>,
    /// What changed.
    #[schema(value_type = Vec<ChangeWord>)]
    pub changes: Vec<String>,
    /// Probability of such a change of the score where there is none.
    pub p: Option<f64>,
    /// Items with a score.
    pub items: Option<i64>,
    /// Items without one.
    pub failed: Option<i64>,
    /// Why it failed.
    pub problem: Option<String>,
}

/// A model.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ModelRow {
    /// The model that answered, or else the one asked for.
    pub model: String,
    /// Its providers.
    pub providers: Vec<String>,
    /// In all.
    #[serde(flatten)]
    pub total: ModelPoint,
    /// Share of the calls that failed, 0 to 1.
    pub error_rate: Option<f64>,
    /// What its answers were: `text`, `tool_call`, `refusal`, `error` ... and how many.
    pub categories: BTreeMap<String, u64>,
    /// Over time.
    pub over_time: Vec<ModelPoint>,
    /// Runs of evaluations, newest first.
    pub evaluations: Vec<ModelEvaluation>,
}

/// A histogram of durations: how many calls fell into which step.
type Histogram = BTreeMap<i64, u64>;

/// What is counted of a model.
struct Counted {
    row: ModelRow,
    providers: BTreeSet<String>,
    all: Histogram,
    /// By bucket, of those with calls.
    over_time: HashMap<usize, Histogram>,
}

impl Counted {
    fn new(model: &str, buckets: &Buckets) -> Self {
        let over_time: Vec<ModelPoint> = buckets.times().map(ModelPoint::at).collect();
        let first = over_time.first().map(|point| point.time.clone()).unwrap_or_default();
        let row = ModelRow {
            model: model.to_owned(),
            providers: Vec::new(),
            total: ModelPoint::at(first),
            error_rate: None,
            categories: BTreeMap::new(),
            evaluations: Vec::new(),
            over_time,
        };
        Self { row, providers: BTreeSet::new(), all: Histogram::new(), over_time: HashMap::new() }
    }

    fn finish(self) -> ModelRow {
        let mut row = self.row;
        row.total.set_latency(&self.all);
        for (place, histogram) in &self.over_time {
            if let Some(point) = row.over_time.get_mut(*place) {
                point.set_latency(histogram);
            }
        }
        row.providers = self.providers.into_iter().collect();
        let calls = row.total.calls;
        // Calls of years are exact in a double.
        #[allow(clippy::cast_precision_loss)]
        let rate = (calls > 0).then(|| row.total.errors as f64 / calls as f64);
        row.error_rate = rate;
        row
    }
}

impl ModelPoint {
    fn at(time: String) -> Self {
        Self {
            time,
            calls: 0,
            errors: 0,
            refusals: 0,
            input_tokens: 0,
            output_tokens: 0,
            latency_ms_p50: None,
            latency_ms_p95: None,
        }
    }

    fn add(&mut self, [calls, errors, refusals, input, output]: [u64; 5]) {
        self.calls += calls;
        self.errors += errors;
        self.refusals += refusals;
        self.input_tokens = self.input_tokens.saturating_add(input);
        self.output_tokens = self.output_tokens.saturating_add(output);
    }

    fn set_latency(&mut self, histogram: &Histogram) {
        self.latency_ms_p50 = quantile(histogram, 50);
        self.latency_ms_p95 = quantile(histogram, 95);
    }
}

/// The middle of the step below which so many of a hundred lie.
fn quantile(histogram: &Histogram, percent: u64) -> Option<f64> {
    let all: u64 = histogram.values().sum();
    let rank = (all * percent).div_ceil(100).max(1);
    let mut seen = 0;
    for (step, calls) in histogram {
        seen += calls;
        if seen >= rank {
            return Some((step_ms(*step) * 1e3).round() / 1e3);
        }
    }
    None
}

impl Reader {
    /// How models did, those with the most calls first; at most `limit`. And whether all runs of evaluations were looked at: those that
    /// cannot be within two seconds are left out, the oldest.
    ///
    /// # Errors
    /// What the store says.
    pub fn models(&self, buckets: &Buckets, limit: usize) -> Result<(Vec<ModelRow>, bool), QueryError> {
        self.with(|attached| {
            let span = params![buckets.slot_seconds(), buckets.first_ns(), buckets.end_ns(), UsageBy::Model.code()];
            let mut calls: HashMap<String, u64> = HashMap::new();
            for schema in &attached.schemas {
                let sql = format!(
                    "SELECT name, calls FROM {schema}.usage WHERE seconds = ?1 AND dimension = ?4 AND slot >= ?2 AND slot < ?3"
                );
                let mut statement = attached.connection.prepare_cached(&sql)?;
                let mut rows = statement.query(span)?;
                while let Some(row) = rows.next()? {
                    *calls.entry(row.get(0)?).or_default() += row.get::<_, i64>(1)?.unsigned_abs();
                }
            }
            let mut most: Vec<(String, u64)> = calls.into_iter().collect();
            most.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            most.truncate(limit);
            // Names are as many as whoever calls likes; buckets are made for those that are told.
            let mut models: HashMap<String, Counted> =
                most.iter().map(|(model, _)| (model.clone(), Counted::new(model, buckets))).collect();
            for schema in &attached.schemas {
                count(attached, schema, buckets, &mut models)?;
            }
            let mut evaluations = Evaluations { of: HashMap::new(), is_whole: true };
            if !models.is_empty() {
                evaluations.read(attached, &models)?;
            }
            let rows = most.iter().filter_map(|(model, _)| {
                let mut row = models.remove(model)?.finish();
                row.evaluations = evaluations.of.remove(model).unwrap_or_default();
                Some(row)
            });
            Ok((rows.collect(), evaluations.is_whole))
        })
    }
}

/// Counts what a partition has of models.
fn count(attached: &Attached, schema: &str, buckets: &Buckets, models: &mut HashMap<String, Counted>) -> Result<(), QueryError> {
    let connection = &attached.connection;
    let span = (buckets.slot_seconds(), buckets.first_ns(), buckets.end_ns());
    let sql = format!(
        "SELECT slot, name, provider, calls, errors, refusals, input_tokens, output_tokens
         FROM {schema}.usage WHERE seconds = ?1 AND dimension = ?4 AND slot >= ?2 AND slot < ?3"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query((span.0, span.1, span.2, UsageBy::Model.code()))?;
    while let Some(row) = rows.next()? {
        let Some(place) = buckets.place(row.get(0)?) else { continue };
        let Some(counted) = models.get_mut(row.get_ref(1)?.as_str().unwrap_or_default()) else { continue };
        let count = |column: usize| row.get::<_, i64>(column).map(i64::unsigned_abs);
        let counts = [count(3)?, count(4)?, count(5)?, count(6)?, count(7)?];
        let provider = row.get_ref(2)?.as_str().unwrap_or_default();
        if !provider.is_empty() && !counted.providers.contains(provider) && counted.providers.len() < PROVIDERS_MAX {
            counted.providers.insert(provider.to_owned());
        }
        counted.row.total.add(counts);
        counted.row.over_time[place].add(counts);
    }
    let sql = format!("SELECT slot, model, step, calls FROM {schema}.latencies WHERE seconds = ?1 AND slot >= ?2 AND slot < ?3");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(span)?;
    while let Some(row) = rows.next()? {
        let Some(place) = buckets.place(row.get(0)?) else { continue };
        let Some(counted) = models.get_mut(row.get_ref(1)?.as_str().unwrap_or_default()) else { continue };
        let (step, calls) = (row.get(2)?, row.get::<_, i64>(3)?.unsigned_abs());
        *counted.all.entry(step).or_default() += calls;
        *counted.over_time.entry(place).or_default().entry(step).or_default() += calls;
    }
    let sql = format!(
        "SELECT model, output, sum(calls) FROM {schema}.outputs WHERE seconds = ?1 AND slot >= ?2 AND slot < ?3 GROUP BY 1, 2"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(span)?;
    while let Some(row) = rows.next()? {
        let Some(counted) = models.get_mut(row.get_ref(0)?.as_str().unwrap_or_default()) else { continue };
        *counted.row.categories.entry(row.get(1)?).or_default() += row.get::<_, i64>(2)?.unsigned_abs();
    }
    Ok(())
}

/// The newest runs of evaluations of models.
struct Evaluations {
    of: HashMap<String, Vec<ModelEvaluation>>,
    is_whole: bool,
}

impl Evaluations {
    /// Reads those of some models: once for all of them, however many they are.
    fn read(&mut self, attached: &Attached, models: &HashMap<String, Counted>) -> Result<(), QueryError> {
        let get = |name: &str| format!("e.attributes ->> '$.\"{name}\"'");
        let columns = [
            "gen_ai.evaluation.name",
            "watchkeeper.evaluation.set",
            "gen_ai.evaluation.score.value",
            "watchkeeper.evaluation.score_before",
            "watchkeeper.evaluation.outcome",
            "watchkeeper.evaluation.verdict",
            "watchkeeper.evaluation.changes",
            "watchkeeper.evaluation.p",
            "watchkeeper.evaluation.items",
            "watchkeeper.evaluation.failed",
            "watchkeeper.evaluation.problem",
        ]
        .map(get)
        .join(", ");
        let arms = attached.schemas.iter().map(|schema| Arm {
            sql: format!(
                "SELECT e.seq, e.time_ns, coalesce(e.response_model, e.request_model), e.id, e.name, {columns} \
                 FROM {schema}.events e INDEXED BY events_kind WHERE e.kind = 'evaluation' ORDER BY e.time_ns DESC, e.seq DESC"
            ),
            values: Vec::new(),
        });
        // Models of which there is still room for runs.
        let mut wanted = models.len();
        let rest = each(
            &attached.connection,
            arms,
            EVALUATIONS_TIME_MAX,
            &mut |row| {
                let place = Cursor { time_ns: row.get(1)?, seq: row.get(0)? };
                // Scores of single answers have no outcome.
                let model = row.get_ref(2)?.as_str().unwrap_or_default();
                if !models.contains_key(model) || row.get_ref(9)? == ValueRef::Null {
                    return Ok((place, Looked::Passed));
                }
                Ok((place, Looked::Taken((model.to_owned(), evaluation(row)?))))
            },
            &mut |(model, run)| {
                let of = self.of.entry(model).or_default();
                if of.len() < EVALUATIONS_MAX {
                    of.push(run);
                    wanted -= usize::from(of.len() == EVALUATIONS_MAX);
                }
                wanted > 0
            },
        )?;
        // Where all have as many as are told, the others are not missed.
        self.is_whole = rest.is_none() || wanted == 0;
        Ok(())
    }
}

fn evaluation(row: &Row<'_>) -> rusqlite::Result<ModelEvaluation> {
    // Whoever sends evaluations of their own may say anything.
    let list = |column: usize, is_known: fn(&str) -> bool| -> rusqlite::Result<Vec<String>> {
        let words = row.get::<_, Option<String>>(column)?.and_then(|text| serde_json::from_str::<Vec<String>>(&text).ok());
        Ok(words.into_iter().flatten().filter(|word| is_known(word)).collect())
    };
    Ok(ModelEvaluation {
        event_id: row.get(3)?,
        time: iso(row.get(1)?),
        name: row.get::<_, Option<String>>(5)?.map_or_else(|| row.get(4), Ok)?,
        evaluation_set: row.get(6)?,
        score: row.get(7)?,
        score_before: row.get(8)?,
        outcome: row.get::<_, Option<String>>(9)?.filter(|outcome| OutcomeWord::known(outcome)),
        verdict: list(10, JudgementWord::known)?,
        changes: list(11, ChangeWord::known)?,
        p: row.get(12)?,
        items: row.get(13)?,
        failed: row.get(14)?,
        problem: row.get(15)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_ranks() {
        assert_eq!(quantile(&Histogram::new(), 50), None);
        let histogram: Histogram = [(200, 50), (210, 45), (300, 5)].into_iter().collect();
        let near = |found: Option<f64>, step| (found.unwrap() - step_ms(step)).abs() < 1e-3;
        assert!(
            near(quantile(&histogram, 50), 200) && near(quantile(&histogram, 95), 210) && near(quantile(&histogram, 96), 300)
        );
    }
}
