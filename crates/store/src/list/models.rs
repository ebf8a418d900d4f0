//! How models do: calls, errors, latency, refusals, what they answer, and what evaluations say of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rusqlite::params;
use serde::Serialize;
use utoipa::ToSchema;

use super::overview::Buckets;
use crate::attached::{Attached, Reader};
use crate::error::QueryError;
use crate::rollups::step_ms;
use crate::text::iso;

/// Runs of evaluations that are told of a model.
const EVALUATIONS_MAX: usize = 50;

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
    /// `not_compared`, `no_change`, `changed` or `failed`.
    pub outcome: Option<String>,
    /// `no_change`, `drift`, `tampering_or_swap`.
    pub verdict: Vec<String>,
    /// What changed: `score`, `model_name`, `system_fingerprint`, `input_tokens`, `answers`.
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
    all: Histogram,
    over_time: Vec<Histogram>,
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
        Self { all: Histogram::new(), over_time: vec![Histogram::new(); row.over_time.len()], row }
    }

    fn finish(self) -> ModelRow {
        let mut row = self.row;
        row.total.set_latency(&self.all);
        for (point, histogram) in row.over_time.iter_mut().zip(&self.over_time) {
            point.set_latency(histogram);
        }
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
    /// How models did, those with the most calls first; at most `limit`.
    ///
    /// # Errors
    /// What the store says.
    pub fn models(&self, buckets: &Buckets, limit: usize) -> Result<Vec<ModelRow>, QueryError> {
        self.with(|attached| {
            let mut models: HashMap<String, Counted> = HashMap::new();
            let mut providers: HashMap<String, BTreeSet<String>> = HashMap::new();
            let span = (buckets.first_ns(), buckets.end_ns());
            for schema in &attached.schemas {
                let connection = &attached.connection;
                let sql = format!(
                    "SELECT slot, model, provider, sum(calls), sum(errors), sum(refusals), sum(input_tokens), sum(output_tokens)
                     FROM {schema}.usage WHERE slot >= ?1 AND slot < ?2 GROUP BY 1, 2, 3"
                );
                let mut statement = connection.prepare_cached(&sql)?;
                let mut rows = statement.query(span)?;
                while let Some(row) = rows.next()? {
                    let Some(place) = buckets.place(row.get(0)?) else { continue };
                    let (model, provider): (String, String) = (row.get(1)?, row.get(2)?);
                    let count = |column: usize| row.get::<_, i64>(column).map(i64::unsigned_abs);
                    let counts = [count(3)?, count(4)?, count(5)?, count(6)?, count(7)?];
                    if !provider.is_empty() {
                        providers.entry(model.clone()).or_default().insert(provider);
                    }
                    let counted = models.entry(model).or_insert_with_key(|model| Counted::new(model, buckets));
                    counted.row.total.add(counts);
                    counted.row.over_time[place].add(counts);
                }
                let sql = format!("SELECT slot, model, step, calls FROM {schema}.latencies WHERE slot >= ?1 AND slot < ?2");
                let mut statement = connection.prepare_cached(&sql)?;
                let mut rows = statement.query(span)?;
                while let Some(row) = rows.next()? {
                    let Some(place) = buckets.place(row.get(0)?) else { continue };
                    let Some(counted) = models.get_mut(row.get_ref(1)?.as_str().unwrap_or_default()) else { continue };
                    let (step, calls) = (row.get(2)?, row.get::<_, i64>(3)?.unsigned_abs());
                    *counted.all.entry(step).or_default() += calls;
                    *counted.over_time[place].entry(step).or_default() += calls;
                }
                let sql = format!(
                    "SELECT model, output, sum(calls) FROM {schema}.outputs WHERE slot >= ?1 AND slot < ?2 GROUP BY 1, 2"
                );
                let mut statement = connection.prepare_cached(&sql)?;
                let mut rows = statement.query(span)?;
                while let Some(row) = rows.next()? {
                    let Some(counted) = models.get_mut(row.get_ref(0)?.as_str().unwrap_or_default()) else { continue };
                    *counted.row.categories.entry(row.get(1)?).or_default() += row.get::<_, i64>(2)?.unsigned_abs();
                }
            }
            let mut rows: Vec<ModelRow> = models.into_values().map(Counted::finish).collect();
            rows.sort_by(|a, b| b.total.calls.cmp(&a.total.calls).then_with(|| a.model.cmp(&b.model)));
            rows.truncate(limit);
            for row in &mut rows {
                row.providers = providers.remove(&row.model).unwrap_or_default().into_iter().collect();
                row.evaluations = evaluations(attached, &row.model)?;
            }
            Ok(rows)
        })
    }
}

/// The newest runs of evaluations of a model.
fn evaluations(attached: &Attached, model: &str) -> Result<Vec<ModelEvaluation>, QueryError> {
    let mut found = Vec::new();
    for schema in &attached.schemas {
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
        .map(get);
        let sql = format!(
            "SELECT e.id, e.time_ns, e.name, {} FROM {schema}.events e INDEXED BY events_kind WHERE e.kind = 'evaluation'
             AND coalesce(e.response_model, e.request_model) = ?1 AND {} IS NOT NULL ORDER BY e.time_ns DESC LIMIT ?2",
            columns.join(", "),
            get("watchkeeper.evaluation.outcome")
        );
        let mut statement = attached.connection.prepare_cached(&sql)?;
        let rows = statement.query_map(params![model, crate::row::integer(EVALUATIONS_MAX as u64)], |row| {
            let list = |column: usize| -> rusqlite::Result<Vec<String>> {
                Ok(row.get::<_, Option<String>>(column)?.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
            };
            let time_ns: i64 = row.get(1)?;
            let evaluation = ModelEvaluation {
                event_id: row.get(0)?,
                time: iso(time_ns),
                name: row.get::<_, Option<String>>(3)?.map_or_else(|| row.get(2), Ok)?,
                evaluation_set: row.get(4)?,
                score: row.get(5)?,
                score_before: row.get(6)?,
                outcome: row.get(7)?,
                verdict: list(8)?,
                changes: list(9)?,
                p: row.get(10)?,
                items: row.get(11)?,
                failed: row.get(12)?,
                problem: row.get(13)?,
            };
            Ok((time_ns, evaluation))
        })?;
        found.extend(rows.collect::<rusqlite::Result<Vec<_>>>()?);
    }
    found.sort_by_key(|(time_ns, _)| std::cmp::Reverse(*time_ns));
    found.truncate(EVALUATIONS_MAX);
    Ok(found.into_iter().map(|(_, evaluation)| evaluation).collect())
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
