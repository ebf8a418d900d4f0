//! Tokens and cost, by who used them.

use std::collections::HashMap;

use rusqlite::params;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::overview::Buckets;
use crate::attached::Reader;
use crate::error::QueryError;

/// By what usage is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UsageBy {
    /// End users.
    User,
    /// Models.
    Model,
    /// Applications.
    Application,
    /// Agents.
    Agent,
}

/// What was used in a span of time.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct UsagePoint {
    /// When it begins (RFC 3339).
    pub time: String,
    /// Calls of models.
    pub calls: u64,
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Tokens read from the provider's cache.
    pub cached_tokens: u64,
    /// What the sources say that it cost, in US dollars; none where none of them says it.
    pub cost: Option<f64>,
    /// Calls that say what they cost.
    pub calls_with_cost: u64,
}

/// Who used how much.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct UsageRow {
    /// Who; empty: calls that name nobody.
    pub name: String,
    /// In all.
    #[serde(flatten)]
    pub total: UsagePoint,
    /// Over time.
    pub over_time: Vec<UsagePoint>,
}

impl UsageBy {
    /// Its number in the table. Never changed.
    pub(crate) fn code(self) -> i64 {
        match self {
            Self::User => 0,
            Self::Model => 1,
            Self::Application => 2,
            Self::Agent => 3,
        }
    }
}

impl UsagePoint {
    fn at(time: String) -> Self {
        Self { time, calls: 0, input_tokens: 0, output_tokens: 0, cached_tokens: 0, cost: None, calls_with_cost: 0 }
    }

    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.cached_tokens = self.cached_tokens.saturating_add(other.cached_tokens);
        self.calls_with_cost += other.calls_with_cost;
        self.cost = match (self.cost, other.cost) {
            (None, other) => other,
            (own, None) => own,
            (Some(own), Some(other)) => Some(own + other),
        };
    }
}

impl UsageRow {
    fn empty(name: String, buckets: &Buckets) -> Self {
        let over_time: Vec<UsagePoint> = buckets.times().map(UsagePoint::at).collect();
        let first = over_time.first().map(|point| point.time.clone()).unwrap_or_default();
        Self { name, total: UsagePoint::at(first), over_time }
    }

    fn add(&mut self, place: usize, used: &UsagePoint) {
        self.total.add(used);
        if let Some(point) = self.over_time.get_mut(place) {
            point.add(used);
        }
    }

    fn add_row(&mut self, other: &Self) {
        self.total.add(&other.total);
        for (own, other) in self.over_time.iter_mut().zip(&other.over_time) {
            own.add(other);
        }
    }
}

/// Who used how much: the rows that are asked for, what all others used, and all of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Usage {
    /// Those who used the most.
    pub rows: Vec<UsageRow>,
    /// What the others used together, where there are others.
    pub others: Option<UsageRow>,
    /// In all.
    pub total: UsageRow,
}

impl Reader {
    /// Tokens and cost over time, by who used them; the `limit` who used the most.
    ///
    /// # Errors
    /// What the store says.
    pub fn usage(&self, by: UsageBy, buckets: &Buckets, limit: usize) -> Result<Usage, QueryError> {
        let mut used: HashMap<String, HashMap<usize, UsagePoint>> = HashMap::new();
        self.with(|attached| {
            for schema in &attached.schemas {
                let sql = format!(
                    "SELECT slot, name, calls, input_tokens, output_tokens, cached_tokens, cost, costed
                     FROM {schema}.usage WHERE seconds = ?1 AND dimension = ?2 AND slot >= ?3 AND slot < ?4"
                );
                let mut statement = attached.connection.prepare_cached(&sql)?;
                let mut rows =
                    statement.query(params![buckets.slot_seconds(), by.code(), buckets.first_ns(), buckets.end_ns()])?;
                while let Some(row) = rows.next()? {
                    let Some(place) = buckets.place(row.get(0)?) else { continue };
                    let count = |column: usize| row.get::<_, i64>(column).map(i64::unsigned_abs);
                    let costed = count(7)?;
                    let point = UsagePoint {
                        time: String::new(),
                        calls: count(2)?,
                        input_tokens: count(3)?,
                        output_tokens: count(4)?,
                        cached_tokens: count(5)?,
                        cost: if costed > 0 { row.get(6)? } else { None },
                        calls_with_cost: costed,
                    };
                    let name = row.get_ref(1)?.as_str().unwrap_or_default();
                    if !used.contains_key(name) {
                        used.insert(name.to_owned(), HashMap::new());
                    }
                    if let Some(points) = used.get_mut(name) {
                        points.entry(place).or_insert_with(|| UsagePoint::at(String::new())).add(&point);
                    }
                }
            }
            Ok::<_, QueryError>(())
        })?;
        let tokens = |points: &HashMap<usize, UsagePoint>| -> u64 {
            points.values().map(|point| point.input_tokens.saturating_add(point.output_tokens)).fold(0, u64::saturating_add)
        };
        let mut used: Vec<_> = used.into_iter().map(|(name, points)| (tokens(&points), name, points)).collect();
        used.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        let (mut total, mut others) = (UsageRow::empty(String::new(), buckets), UsageRow::empty(String::new(), buckets));
        let mut rows = Vec::new();
        let has_others = used.len() > limit;
        for (place, (_, name, points)) in used.into_iter().enumerate() {
            if place < limit {
                let mut row = UsageRow::empty(name, buckets);
                points.iter().for_each(|(place, point)| row.add(*place, point));
                total.add_row(&row);
                rows.push(row);
            } else {
                points.iter().for_each(|(place, point)| others.add(*place, point));
            }
        }
        total.add_row(&others);
        Ok(Usage { rows, others: has_others.then_some(others), total })
    }
}
