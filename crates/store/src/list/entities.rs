//! Entities: users, agents, applications, tools and models, with the risk to which their detections add up.

use std::collections::{BTreeSet, HashMap};

use rusqlite::params;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::cursor::offset;
use super::detections::{ALERT_BUDGET, DetectionEvidence, RISK_THRESHOLD, evidence};
use super::{PAGE_ROWS_MAX, Page};
use crate::attached::{Attached, Reader};
use crate::error::QueryError;
use crate::text::iso;

/// What an entity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntityKind {
    /// An end user.
    User,
    /// An agent.
    Agent,
    /// An application or service.
    Application,
    /// A tool.
    Tool,
    /// A model.
    Model,
}

impl EntityKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::User, Self::Agent, Self::Application, Self::Tool, Self::Model];

    /// The name that JSON and the table use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Agent => "agent",
            Self::Application => "application",
            Self::Tool => "tool",
            Self::Model => "model",
        }
    }
}

/// An entity.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EntityRow {
    /// What it is.
    pub kind: EntityKind,
    /// Which.
    pub name: String,
    /// The risk as it is now: severity (1, 5, 15, 40, 80) times confidence, halved each day, at most 60 of one rule and 70 of one technique.
    pub risk: f64,
    /// MITRE ATLAS techniques behind it.
    pub techniques: Vec<String>,
    /// How many rules are behind it.
    pub rules: u64,
    /// Detections.
    pub detections: u64,
    /// Events.
    pub events: u64,
    /// Its first event in the hot store, by the source's clock (RFC 3339); none where only detections name it.
    pub first_seen: Option<String>,
    /// Its newest event, or detection.
    pub last_seen: Option<String>,
    /// Its newest detection.
    pub last_detection: Option<String>,
}

/// The risk of an entity at a time.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EntityRisk {
    /// When (RFC 3339).
    pub time: String,
    /// The risk.
    pub risk: f64,
}

/// What behaviour said about an entity, in the evidence of a detection.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EntityInsight {
    /// The detection that rests on it.
    pub detection_id: String,
    /// When (RFC 3339).
    pub time: String,
    /// Its rule.
    pub rule: Option<String>,
    /// The statement: `user_volume_spike` ... (see `docs/reference/behaviour.md`).
    pub insight: String,
    /// What was observed.
    pub observed: Option<f64>,
    /// What was expected.
    pub expected: Option<f64>,
    /// On how much that rests.
    pub support: Option<f64>,
    /// The same of the entity's peers.
    pub peers: Option<f64>,
    /// What is new: the tool, the place, the subject.
    pub what: Option<String>,
}

/// An entity with what is known of it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EntityDetail {
    /// The row.
    #[serde(flatten)]
    pub row: EntityRow,
    /// Its risk over time, at each detection and now.
    pub risk_over_time: Vec<EntityRisk>,
    /// What behaviour said about it, newest first.
    pub insights: Vec<EntityInsight>,
}

/// A day, in nanoseconds: risk halves in that time.
const DAY_NS: f64 = 8.64e13;

/// Most that one rule adds to the risk, and most that one technique does.
const RULE_MAX: f64 = 60.0;
/// See [`RULE_MAX`].
const TECHNIQUE_MAX: f64 = 70.0;

/// What a detection of each severity adds, where it is sure.
const POINTS: [f64; 5] = [1.0, 5.0, 15.0, 40.0, 80.0];

/// Letters of a technique's id without what names the one below it: `AML.T0051.000` counts as `AML.T0051`.
const TECHNIQUE_CHARS: usize = 9;

/// Points of the line that a detail draws.
const LINE_MAX: usize = 200;

/// Detections whose evidence is looked through for insights.
const INSIGHT_DETECTIONS_MAX: usize = 100;

/// Entities that a summary can hold; those of which nothing was detected are left out beyond it.
const ENTITIES_MAX: usize = 200_000;

/// Where evidence names a statement of behaviour.
const INSIGHT: &str = "watchkeeper.insight.";

/// Every entity of the hot store, with its risk at a time.
#[derive(Debug, Default)]
pub struct Entities {
    /// Those with the highest risk first, then those heard of last.
    rows: Vec<EntityRow>,
}

impl Entities {
    /// A page of those that are asked for.
    ///
    /// # Errors
    /// A cursor that is none.
    pub fn page(
        &self,
        kind: Option<EntityKind>,
        q: Option<&str>,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<EntityRow>, QueryError> {
        let from = offset(cursor)?;
        let lower = q.map(str::to_lowercase);
        let is_asked = |row: &&EntityRow| {
            kind.is_none_or(|kind| row.kind == kind) && lower.as_ref().is_none_or(|q| row.name.to_lowercase().contains(q))
        };
        let limit = limit.clamp(1, PAGE_ROWS_MAX);
        let mut rows: Vec<EntityRow> = self.rows.iter().filter(is_asked).skip(from).take(limit + 1).cloned().collect();
        let next = (rows.len() > limit).then(|| format!("o{}", from + limit));
        rows.truncate(limit);
        Ok(Page { rows, next })
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, kind: EntityKind, name: &str) -> Option<&EntityRow> {
        self.rows.iter().find(|row| row.kind == kind && row.name == name)
    }
}

/// A detection, as far as risk needs it.
struct Hit {
    time_ns: i64,
    points: f64,
    rule: String,
    technique: String,
}

/// What adds up for an entity.
#[derive(Default)]
struct Sum {
    detections: u64,
    hits: Vec<Hit>,
    first_ns: Option<i64>,
    last_ns: Option<i64>,
    last_detection_ns: Option<i64>,
    events: u64,
}

impl Reader {
    /// Every entity, with its risk at `now_ns`.
    ///
    /// # Errors
    /// What the store says.
    pub fn entities(&self, now_ns: i64) -> Result<Entities, QueryError> {
        self.with(|attached| {
            let mut sums: HashMap<(EntityKind, String), Sum> = HashMap::new();
            hits(attached, None, &mut |kind, name, hit| {
                let sum = sums.entry((kind, name.to_owned())).or_default();
                sum.add(hit);
            })?;
            for schema in &attached.schemas {
                let sql = format!("SELECT kind, name, first_ns, last_ns, events FROM {schema}.entities");
                let mut statement = attached.connection.prepare_cached(&sql)?;
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    let code = row.get_ref(0)?.as_str().unwrap_or_default();
                    let Some(kind) = EntityKind::ALL.into_iter().find(|kind| kind.as_str() == code) else { continue };
                    let key = (kind, row.get(1)?);
                    if sums.len() >= ENTITIES_MAX && !sums.contains_key(&key) {
                        continue;
                    }
                    let (first, last): (i64, i64) = (row.get(2)?, row.get(3)?);
                    let sum = sums.entry(key).or_default();
                    sum.first_ns = Some(sum.first_ns.map_or(first, |known| known.min(first)));
                    sum.last_ns = Some(sum.last_ns.map_or(last, |known| known.max(last)));
                    sum.events += row.get::<_, i64>(4)?.unsigned_abs();
                }
            }
            let mut rows: Vec<EntityRow> = sums.into_iter().map(|((kind, name), sum)| sum.row(kind, name, now_ns)).collect();
            rows.sort_by(|a, b| {
                b.risk
                    .total_cmp(&a.risk)
                    .then_with(|| b.last_seen.cmp(&a.last_seen))
                    .then_with(|| (a.kind, &a.name).cmp(&(b.kind, &b.name)))
            });
            Ok(Entities { rows })
        })
    }

    /// What is known of one entity: its risk over time, and what behaviour said about it.
    ///
    /// # Errors
    /// [`QueryError::NotFound`] where neither an event nor a detection names it.
    pub fn entity(&self, kind: EntityKind, name: &str, now_ns: i64) -> Result<EntityDetail, QueryError> {
        self.with(|attached| {
            let mut sum = Sum::default();
            hits(attached, Some((kind, name)), &mut |found, of, hit| {
                if found == kind && of == name {
                    sum.add(hit);
                }
            })?;
            for schema in &attached.schemas {
                let sql = format!("SELECT first_ns, last_ns, events FROM {schema}.entities WHERE kind = ?1 AND name = ?2");
                let mut statement = attached.connection.prepare_cached(&sql)?;
                let mut rows = statement.query(params![kind.as_str(), name])?;
                while let Some(row) = rows.next()? {
                    let (first, last): (i64, i64) = (row.get(0)?, row.get(1)?);
                    sum.first_ns = Some(sum.first_ns.map_or(first, |known| known.min(first)));
                    sum.last_ns = Some(sum.last_ns.map_or(last, |known| known.max(last)));
                    sum.events += row.get::<_, i64>(2)?.unsigned_abs();
                }
            }
            if sum.events == 0 && sum.detections == 0 {
                return Err(QueryError::NotFound(name.chars().take(80).collect()));
            }
            sum.hits.sort_by_key(|hit| hit.time_ns);
            let risk_over_time = line(&sum.hits, now_ns);
            let insights = insights(attached, kind, name)?;
            Ok(EntityDetail { row: sum.row(kind, name.to_owned(), now_ns), risk_over_time, insights })
        })
    }
}

/// The column of `detections` that names entities of a kind.
fn column(kind: EntityKind) -> &'static str {
    match kind {
        EntityKind::User => "user_id",
        EntityKind::Agent => "agent",
        EntityKind::Application => "application",
        EntityKind::Tool => "tool",
        EntityKind::Model => "model",
    }
}

/// Gives every detection with each of the entities that it names; of one entity, its own.
fn hits(
    attached: &Attached,
    of: Option<(EntityKind, &str)>,
    take: &mut dyn FnMut(EntityKind, &str, Hit),
) -> Result<(), QueryError> {
    let which = of.map_or("", |(kind, _)| column(kind));
    for schema in &attached.schemas {
        let condition = if which.is_empty() { "?1 IS NULL".to_owned() } else { format!("{which} = ?1") };
        let sql = format!(
            "SELECT time_ns, severity, confidence, rule, technique, user_id, agent, application, tool, model FROM {schema}.detections
             WHERE {condition}"
        );
        let mut statement = attached.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([of.map(|(_, name)| name)])?;
        while let Some(row) = rows.next()? {
            let rule = row.get_ref(3)?.as_str().unwrap_or_default();
            if rule == ALERT_BUDGET {
                continue;
            }
            let severity = usize::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
            let confidence = row.get::<_, Option<f64>>(2)?.unwrap_or(0.5);
            let technique: String = row.get_ref(4)?.as_str().unwrap_or_default().chars().take(TECHNIQUE_CHARS).collect();
            for (place, kind) in EntityKind::ALL.into_iter().enumerate() {
                let Some(name) = row.get_ref(5 + place)?.as_str().ok().filter(|name| !name.is_empty()) else { continue };
                let hit = Hit {
                    time_ns: row.get(0)?,
                    points: POINTS.get(severity).copied().unwrap_or(1.0) * confidence,
                    rule: rule.to_owned(),
                    technique: technique.clone(),
                };
                take(kind, name, hit);
            }
        }
    }
    Ok(())
}

impl Sum {
    fn add(&mut self, hit: Hit) {
        self.last_detection_ns = self.last_detection_ns.max(Some(hit.time_ns));
        self.last_ns = self.last_ns.max(Some(hit.time_ns));
        if hit.rule != RISK_THRESHOLD {
            self.detections += 1;
            self.hits.push(hit);
        }
    }

    fn row(&self, kind: EntityKind, name: String, now_ns: i64) -> EntityRow {
        let techniques: BTreeSet<&String> = self.hits.iter().map(|hit| &hit.technique).filter(|id| !id.is_empty()).collect();
        let rules: BTreeSet<&String> = self.hits.iter().map(|hit| &hit.rule).collect();
        EntityRow {
            kind,
            name,
            risk: risk(&self.hits, now_ns),
            techniques: techniques.into_iter().cloned().collect(),
            rules: rules.len() as u64,
            detections: self.detections,
            events: self.events,
            first_seen: self.first_ns.map(iso),
            last_seen: self.last_ns.map(iso),
            last_detection: self.last_detection_ns.map(iso),
        }
    }
}

/// How much of something is left after a time. What lies ahead counts whole.
fn left(from_ns: i64, to_ns: i64) -> f64 {
    // Centuries are exact enough in a double.
    #[allow(clippy::cast_precision_loss)]
    let days = to_ns.saturating_sub(from_ns).max(0) as f64 / DAY_NS;
    (-days).exp2()
}

/// What detections add up to: as of the newest of them, and halved for each day since, as the view `entity_risk` says.
fn risk(hits: &[Hit], now_ns: i64) -> f64 {
    let Some(newest) = hits.iter().map(|hit| hit.time_ns).max() else { return 0.0 };
    let mut by_rule: HashMap<(&str, &str), f64> = HashMap::new();
    for hit in hits {
        *by_rule.entry((&hit.technique, &hit.rule)).or_default() += hit.points * left(hit.time_ns, newest);
    }
    let mut by_technique: HashMap<&str, f64> = HashMap::new();
    for ((technique, _), points) in by_rule {
        *by_technique.entry(technique).or_default() += points.min(RULE_MAX);
    }
    let sum: f64 = by_technique.values().map(|points| points.min(TECHNIQUE_MAX)).sum();
    (sum * left(newest, now_ns) * 10.0).round() / 10.0
}

/// The risk after each detection, and now. Of many detections some are left out, never the last. `hits` are sorted by time.
fn line(hits: &[Hit], now_ns: i64) -> Vec<EntityRisk> {
    let step = hits.len().div_ceil(LINE_MAX).max(1);
    let mut ends: Vec<usize> = (1..=hits.len()).rev().step_by(step).collect();
    ends.reverse();
    let mut line: Vec<EntityRisk> = ends
        .into_iter()
        .map(|end| (hits[end - 1].time_ns, end))
        .map(|(at, end)| EntityRisk { time: iso(at), risk: risk(&hits[..end], at) })
        .collect();
    if hits.last().is_some_and(|last| last.time_ns < now_ns) {
        line.push(EntityRisk { time: iso(now_ns), risk: risk(hits, now_ns) });
    }
    line
}

/// What behaviour said about it, from the evidence of its newest detections.
fn insights(attached: &Attached, kind: EntityKind, name: &str) -> Result<Vec<EntityInsight>, QueryError> {
    let mut found = Vec::new();
    let mut looked = 0;
    for schema in &attached.schemas {
        let sql = format!(
            "SELECT d.id, d.time_ns, d.rule, e.attributes FROM {schema}.detections d JOIN {schema}.events e ON e.seq = d.seq
             WHERE d.{} = ?1 ORDER BY d.time_ns DESC LIMIT ?2",
            column(kind)
        );
        let mut statement = attached.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![name, crate::row::integer((INSIGHT_DETECTIONS_MAX - looked) as u64)])?;
        while let Some(row) = rows.next()? {
            looked += 1;
            let (id, time_ns): (String, i64) = (row.get(0)?, row.get(1)?);
            let shown = evidence(&row.get::<_, String>(3)?);
            for insight in told(&shown.evidence) {
                found.push((
                    time_ns,
                    EntityInsight { detection_id: id.clone(), time: iso(time_ns), rule: row.get(2)?, ..insight },
                ));
            }
        }
        if looked >= INSIGHT_DETECTIONS_MAX {
            break;
        }
    }
    found.sort_by_key(|(time_ns, _)| std::cmp::Reverse(*time_ns));
    Ok(found.into_iter().map(|(_, insight)| insight).collect())
}

/// The statements of behaviour that evidence names, with their measures.
fn told(evidence: &[DetectionEvidence]) -> Vec<EntityInsight> {
    let mut insights: Vec<EntityInsight> = Vec::new();
    for (name, value) in
        evidence.iter().filter_map(|one| Some((one.field.as_deref()?.strip_prefix(INSIGHT)?, one.value.as_deref())))
    {
        let (name, measure) = name.split_once('.').unwrap_or((name, ""));
        let place = insights.iter().position(|insight| insight.insight == name).unwrap_or_else(|| {
            insights.push(EntityInsight {
                detection_id: String::new(),
                time: String::new(),
                rule: None,
                insight: name.to_owned(),
                observed: None,
                expected: None,
                support: None,
                peers: None,
                what: None,
            });
            insights.len() - 1
        });
        let insight = &mut insights[place];
        let number = value.and_then(|value| value.trim_matches('"').parse::<f64>().ok());
        match measure {
            "observed" => insight.observed = number,
            "expected" => insight.expected = number,
            "support" => insight.support = number,
            "peers" => insight.peers = number,
            "what" => insight.what = value.map(str::to_owned),
            _ => {}
        }
    }
    insights
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(days: f64, points: f64, rule: &str, technique: &str) -> Hit {
        Hit { time_ns: (days * DAY_NS) as i64, points, rule: rule.to_owned(), technique: technique.to_owned() }
    }

    #[test]
    fn risk_adds_up_as_the_view_says() {
        let day = DAY_NS as i64;
        for (hits, now, expected) in [
            (vec![], day, 0.0),
            (vec![hit(0.0, 40.0, "a", "AML.T0051")], 0, 40.0),
            (vec![hit(0.0, 40.0, "a", "AML.T0051")], day, 20.0),
            // At most 60 of a rule, and 70 of a technique.
            (vec![hit(0.0, 80.0, "a", "AML.T0051")], 0, 60.0),
            (vec![hit(0.0, 50.0, "a", "AML.T0051"), hit(0.0, 50.0, "b", "AML.T0051")], 0, 70.0),
            (vec![hit(0.0, 50.0, "a", "AML.T0051"), hit(0.0, 50.0, "b", "AML.T0057")], 0, 100.0),
            // The older one is half as much at the newer one.
            (vec![hit(0.0, 40.0, "a", "AML.T0051"), hit(1.0, 40.0, "b", "AML.T0057")], day, 60.0),
        ] {
            assert!((risk(&hits, now) - expected).abs() < 1e-9, "{} is not {expected}", risk(&hits, now));
        }
    }

    #[test]
    fn a_line_ends_now_and_is_bounded() {
        let hits: Vec<Hit> = (0..1_000).map(|n| hit(f64::from(n) / 100.0, 5.0, "a", "AML.T0051")).collect();
        let line = line(&hits, 20 * DAY_NS as i64);
        assert!(line.len() <= LINE_MAX + 1 && line.windows(2).all(|pair| pair[0].time < pair[1].time));
        assert_eq!(line.last().unwrap().time, iso(20 * DAY_NS as i64));
    }

    #[test]
    fn what_behaviour_said_is_read_out_of_evidence() {
        let of = |field: &str, value: &str| DetectionEvidence {
            field: Some(field.to_owned()),
            value: Some(value.to_owned()),
            ..DetectionEvidence::default()
        };
        let shown = [
            of("watchkeeper.insight.user_volume_spike", "true"),
            of("watchkeeper.insight.user_volume_spike.observed", "120"),
            of("watchkeeper.insight.user_volume_spike.expected", "4.5"),
            of("user.id", "x"),
        ];
        let told = told(&shown);
        assert_eq!(told.len(), 1);
        assert_eq!(
            (told[0].insight.as_str(), told[0].observed, told[0].expected, told[0].peers),
            ("user_volume_spike", Some(120.0), Some(4.5), None)
        );
    }
}
