//! Detections, newest first, with what people have decided about them. They go by when Watchkeeper recorded them: whoever sends events says
//! when these happened, and would have theirs stand below everything that somebody looks at.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::types::Value;
use rusqlite::{ErrorCode, Row};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::cursor::Cursor;
use super::merge::{Arm, Looked, each, merge};
use super::shorten::{NameUse, Room, Shorten as _};
use super::{Grade, PAGE_ROWS_MAX, Page, Severity};
use crate::attached::{Attached, Reader};
use crate::error::QueryError;
use crate::rollups::{SEVERITIES, severity_code};
use crate::sql::STEPS_PER_LOOK;
use crate::text::iso;

/// What people have made of a detection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nobody has yet.
    #[default]
    Open,
    /// Somebody looks at it.
    Acknowledged,
    /// It is done.
    Closed,
}

/// How people have marked a detection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marked {
    /// Its state.
    pub state: State,
    /// Who looks at it.
    pub assignee: Option<String>,
    /// When it was changed last (RFC 3339).
    pub changed: Option<String>,
}

/// What people have decided, wherever that is kept.
pub trait Marks {
    /// How a detection is marked.
    fn of(&self, detection_id: &str) -> Marked;

    /// The suppression that covers it, if one does.
    fn suppression(&self, detection: &DetectionRecord) -> Option<Arc<str>>;
}

/// A detection, as it is recorded.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct DetectionRecord {
    /// The detection: an event.
    pub detection_id: String,
    /// Its place in the journal, and of its leaf in the ledger.
    pub seq: u64,
    /// When what was detected happened, by the source's clock (RFC 3339).
    pub time: String,
    /// When it was recorded, by Watchkeeper's clock (RFC 3339). Lists go by it.
    pub observed: String,
    /// By how many seconds `observed` is later than `time`, where they are more than 10 minutes apart: the source sent late, or its clock is
    /// wrong. Negative where the source's time lies ahead.
    pub late_s: Option<i64>,
    /// The rule that fired.
    pub rule: Option<String>,
    /// Its title.
    pub title: String,
    /// MITRE ATLAS technique.
    pub technique: Option<String>,
    /// Its name.
    pub technique_name: Option<String>,
    /// How bad.
    #[schema(value_type = Severity)]
    pub severity: String,
    /// How sure, 0 to 1.
    pub confidence: Option<f64>,
    /// Of an injection: how far it got.
    #[schema(value_type = Option<Grade>)]
    pub grade: Option<String>,
    /// The session.
    pub session_id: Option<String>,
    /// The trace.
    pub trace_id: Option<String>,
    /// The end user.
    pub user_id: Option<String>,
    /// The application.
    pub application: Option<String>,
    /// The agent.
    pub agent: Option<String>,
    /// The tool.
    pub tool: Option<String>,
    /// What ties it to others that belong to the same incident: its session, or else its trace, its user, its agent, its application.
    pub correlation: String,
}

/// A detection with what people have made of it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct DetectionRow {
    /// As it is recorded.
    #[serde(flatten)]
    pub detection: DetectionRecord,
    /// Its state.
    pub state: State,
    /// Who looks at it.
    pub assignee: Option<String>,
    /// When people changed it last (RFC 3339).
    pub changed: Option<String>,
    /// The suppression that covers it. It is recorded and counted all the same.
    #[schema(value_type = Option<String>)]
    pub suppressed_by: Option<Arc<str>>,
}

/// Which detections a list has.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DetectionFilter {
    /// Recorded from this time on, in nanoseconds since 1970.
    pub since_ns: Option<i64>,
    /// Recorded before this time.
    pub until_ns: Option<i64>,
    /// In one of these states; all when empty.
    pub states: Vec<State>,
    /// At least so bad.
    pub severity: Option<String>,
    /// Of this rule.
    pub rule: Option<String>,
    /// Of this technique, or one below it.
    pub technique: Option<String>,
    /// Of this user.
    pub user: Option<String>,
    /// Of this session.
    pub session: Option<String>,
    /// Of this application.
    pub application: Option<String>,
    /// Of this agent.
    pub agent: Option<String>,
    /// Of this tool.
    pub tool: Option<String>,
    /// Of this model.
    pub model: Option<String>,
    /// With this grade.
    pub grade: Option<String>,
    /// At whom somebody looks; empty: at which nobody looks.
    pub assignee: Option<String>,
    /// With this correlation.
    pub correlation: Option<String>,
    /// With this in the title, the rule's id or the names of those involved.
    pub q: Option<String>,
    /// Whether those that are suppressed are in it, too.
    pub with_suppressed: bool,
}

/// How many there are of each severity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Severities {
    /// Context for an investigation.
    pub informational: u64,
    /// Of note when it keeps coming.
    pub low: u64,
    /// Worth a look.
    pub medium: u64,
    /// Somebody should look today.
    pub high: u64,
    /// Somebody should look now.
    pub critical: u64,
}

/// One fact that shows a detection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct DetectionEvidence {
    /// What it is: `match`, `finding`, `count`, `indicator`, `risk` ...; of content flow `source`, `call`, `answer`, `destination`, `data` ...
    pub what: String,
    /// The field that matched, or the rule of the finding.
    pub field: Option<String>,
    /// The value, or the part of it that shows the match; only for who may read contents.
    pub value: Option<String>,
    /// What the rule looked for.
    pub pattern: Option<String>,
    /// First code point of the match in the content.
    pub start: Option<u32>,
    /// One past its last code point.
    pub end: Option<u32>,
    /// The content that holds it.
    pub content: Option<String>,
    /// The event that brought it.
    pub event: Option<String>,
    /// That event's place in the journal.
    pub seq: Option<u64>,
    /// Where the text entered.
    pub channel: Option<String>,
    /// The indicator of threat intelligence that says it.
    #[schema(value_type = Option<Object>)]
    pub indicator: Option<serde_json::Value>,
}

/// How far the source's time and that of recording are apart before a row says so, in seconds.
const LATE_S: i64 = 600;

/// How long detections are gone through for a summary of all of them.
const SUMMARY_TIME_MAX: Duration = Duration::from_secs(2);

/// Detections of models that are held for one answer.
const MODEL_DETECTIONS_MAX: usize = 10_000;

/// Rule by which spent alert budgets are told: it is about a rule, and about nobody.
pub(super) const ALERT_BUDGET: &str = "alert-budget";

/// Rule by which risk is told: it adds nothing to the risk.
pub(super) const RISK_THRESHOLD: &str = "risk-threshold";

/// The columns of a detection.
pub(super) const COLUMNS: &str = "d.seq, d.id, d.time_ns, d.observed_ns, d.rule, d.title, d.technique, d.severity, d.confidence, d.grade, \
                                  d.session_id, d.trace_id, d.user_id, d.application, d.agent, d.tool, technique_name(d.technique)";

/// The place behind them, where a list has whether a row passes.
pub(super) const PASSES: usize = 17;

impl Severities {
    /// Counts one.
    pub fn add(&mut self, severity: &str) {
        let count = match severity {
            "critical" => &mut self.critical,
            "high" => &mut self.high,
            "medium" => &mut self.medium,
            "low" => &mut self.low,
            _ => &mut self.informational,
        };
        *count += 1;
    }
}

impl DetectionRow {
    fn of(detection: DetectionRecord, marks: &dyn Marks) -> Self {
        let Marked { state, assignee, changed } = marks.of(&detection.detection_id);
        let suppressed_by = marks.suppression(&detection);
        Self { detection, state, assignee, changed, suppressed_by }
    }
}

impl Reader {
    /// Detections, those that were recorded last first, with names cut as lists show them.
    ///
    /// # Errors
    /// A cursor or a severity that is none, and what the store says.
    pub fn detections(
        &self,
        filter: &DetectionFilter,
        marks: &dyn Marks,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<DetectionRow>, QueryError> {
        let asked = filter.asked(Cursor::parse(cursor)?)?;
        self.with(|attached| {
            let arms = attached.schemas.iter().map(|schema| asked.arm(schema));
            let mut room = Room::new();
            let look = &mut |row: &Row<'_>| look(row, filter, marks);
            merge(&attached.connection, arms, limit.clamp(1, PAGE_ROWS_MAX), look, &mut |row| room.take(row))
        })
    }

    /// Gives every detection that passes to `take`, newest first, as long as that wants more. Whether it came to the end.
    ///
    /// # Errors
    /// As [`Reader::detections`].
    pub fn each_detection(
        &self,
        filter: &DetectionFilter,
        marks: &dyn Marks,
        take: &mut dyn FnMut(DetectionRow) -> bool,
    ) -> Result<bool, QueryError> {
        let asked = filter.asked(Cursor::START)?;
        self.with(|attached| {
            let arms = attached.schemas.iter().map(|schema| asked.arm(schema));
            let look = &mut |row: &Row<'_>| look(row, filter, marks);
            Ok(each(&attached.connection, arms, SUMMARY_TIME_MAX, look, take)?.is_none())
        })
    }

    /// How many detections of each rule were recorded from a time on, and whether all of them were counted: what cannot be counted within two
    /// seconds is not.
    ///
    /// # Errors
    /// What the store says.
    pub fn detections_by_rule(&self, since_ns: i64) -> Result<(HashMap<String, u64>, bool), QueryError> {
        let mut counts = HashMap::new();
        self.with(|attached| {
            let began = Instant::now();
            let is_late = move || began.elapsed() > SUMMARY_TIME_MAX;
            attached.connection.progress_handler(STEPS_PER_LOOK, Some(is_late))?;
            let counted = count_rules(attached, since_ns, &mut counts);
            attached.connection.progress_handler(0, None::<fn() -> bool>)?;
            let is_whole = match counted {
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => false,
                counted => {
                    counted?;
                    true
                }
            };
            Ok((counts, is_whole))
        })
    }

    /// The newest detections by some rules of each model, at most `limit` of one; and whether all were looked at.
    ///
    /// # Errors
    /// What the store says.
    pub fn detections_of_models(
        &self,
        rules: &BTreeSet<String>,
        marks: &dyn Marks,
        limit: usize,
    ) -> Result<(HashMap<String, Vec<DetectionRow>>, bool), QueryError> {
        let mut found: HashMap<String, Vec<DetectionRow>> = HashMap::new();
        let mut room = MODEL_DETECTIONS_MAX;
        let rules = serde_json::to_string(rules).unwrap_or_default();
        self.with(|attached| {
            let arms = attached.schemas.iter().map(|schema| Arm {
                sql: format!(
                    "SELECT {COLUMNS}, d.model IS NOT NULL AND d.rule IN (SELECT value FROM json_each(?1)), d.model \
                     FROM {schema}.detections d INDEXED BY detections_observed ORDER BY d.observed_ns DESC, d.seq DESC"
                ),
                values: vec![Value::Text(rules.clone())],
            });
            let rest = each(
                &attached.connection,
                arms,
                SUMMARY_TIME_MAX,
                &mut |row| {
                    let place = place(row)?;
                    let passes = row.get::<_, Option<bool>>(PASSES)?.unwrap_or(false);
                    let taken =
                        if passes { Looked::Taken((row.get::<_, String>(PASSES + 1)?, read(row)?)) } else { Looked::Passed };
                    Ok((place, taken))
                },
                &mut |(model, detection)| {
                    let of = found.entry(model).or_default();
                    if of.len() < limit {
                        of.push(DetectionRow::of(detection, marks).shortened());
                        room = room.saturating_sub(1);
                    }
                    room > 0
                },
            )?;
            Ok::<_, QueryError>(rest.is_none())
        })
        .map(|is_whole| (found, is_whole))
    }

    /// One detection.
    ///
    /// # Errors
    /// [`QueryError::NotFound`] when none has that id.
    pub fn detection(&self, id: &str, marks: &dyn Marks) -> Result<DetectionRow, QueryError> {
        let lower = id.trim().to_ascii_lowercase();
        self.with(|attached| {
            for schema in &attached.schemas {
                let sql = format!("SELECT {COLUMNS} FROM {schema}.detections d WHERE d.id = ?1 ORDER BY d.seq LIMIT 1");
                let mut statement = attached.connection.prepare_cached(&sql)?;
                if let Some(row) = statement.query([&lower])?.next()? {
                    return Ok(DetectionRow::of(read(row)?, marks));
                }
            }
            Err(QueryError::NotFound(id.chars().take(80).collect()))
        })
    }

    /// What shows a detection, the events that it rests on, and the digest of its rule.
    ///
    /// # Errors
    /// [`QueryError::NotFound`] when none has that id.
    pub fn detection_evidence(&self, id: &str) -> Result<Shown, QueryError> {
        let lower = id.trim().to_ascii_lowercase();
        self.with(|attached| {
            for schema in &attached.schemas {
                let sql = format!("SELECT e.attributes FROM {schema}.events e WHERE e.id = ?1 AND e.kind = 'detection' LIMIT 1");
                let mut statement = attached.connection.prepare_cached(&sql)?;
                if let Some(row) = statement.query([&lower])?.next()? {
                    return Ok(evidence(&row.get::<_, String>(0)?));
                }
            }
            Err(QueryError::NotFound(id.chars().take(80).collect()))
        })
    }
}

fn count_rules(attached: &Attached, since_ns: i64, counts: &mut HashMap<String, u64>) -> rusqlite::Result<()> {
    for schema in &attached.schemas {
        let sql =
            format!("SELECT rule, count(*) FROM {schema}.detections WHERE observed_ns >= ?1 AND rule IS NOT NULL GROUP BY rule");
        let mut statement = attached.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([since_ns])?;
        while let Some(row) = rows.next()? {
            *counts.entry(row.get(0)?).or_default() += row.get::<_, i64>(1)?.unsigned_abs();
        }
    }
    Ok(())
}

/// What shows a detection.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shown {
    /// The facts.
    pub evidence: Vec<DetectionEvidence>,
    /// Ids of the events that it rests on.
    pub events: Vec<String>,
    /// Digest of the rule's text.
    pub rule_digest: Option<String>,
    /// Techniques of MITRE ATLAS.
    pub techniques: Vec<String>,
    /// Name of the runbook that says what to do.
    pub runbook: Option<String>,
}

/// What the attributes of a detection say of its evidence, its events and its rule.
pub(super) fn evidence(attributes: &str) -> Shown {
    let mut attributes: serde_json::Value = serde_json::from_str(attributes).unwrap_or_default();
    let mut take = |key: event::Key| attributes.get_mut(key.as_str()).map(serde_json::Value::take).unwrap_or_default();
    let evidence = match take(event::attr::DETECTION_EVIDENCE) {
        serde_json::Value::Array(items) => items.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect(),
        _ => Vec::new(),
    };
    let events = serde_json::from_value(take(event::attr::DETECTION_EVENTS)).unwrap_or_default();
    let rule_digest = take(event::attr::DETECTION_RULE_DIGEST).as_str().map(str::to_owned);
    let techniques = serde_json::from_value(take(event::attr::DETECTION_TECHNIQUES)).unwrap_or_default();
    let runbook = take(event::attr::DETECTION_RUNBOOK).as_str().map(str::to_owned);
    Shown { evidence, events, rule_digest, techniques, runbook }
}

/// A statement for one partition: along which index, between which bounds, and which of the rows there pass.
struct Asked {
    index: &'static str,
    bounds: String,
    passes: String,
    values: Vec<Value>,
}

impl Asked {
    fn arm(&self, schema: &str) -> Arm {
        let Self { index, bounds, passes, values } = self;
        let sql = format!(
            "SELECT {COLUMNS}, {passes} FROM {schema}.detections d INDEXED BY {index} WHERE {bounds} \
             ORDER BY d.observed_ns DESC, d.seq DESC"
        );
        Arm { sql, values: values.clone() }
    }
}

/// Where a detection stands in a list.
pub(super) fn place(row: &Row<'_>) -> rusqlite::Result<Cursor> {
    Ok(Cursor { time_ns: row.get(3)?, seq: row.get(0)? })
}

/// How far the two times of a detection are apart, where that is to be said.
fn late_s(time_ns: i64, observed_ns: i64) -> Option<i64> {
    let late_s = observed_ns.saturating_sub(time_ns) / 1_000_000_000;
    (late_s.abs() > LATE_S).then_some(late_s)
}

fn look(row: &Row<'_>, filter: &DetectionFilter, marks: &dyn Marks) -> rusqlite::Result<(Cursor, Looked<DetectionRow>)> {
    let place = place(row)?;
    if !row.get::<_, bool>(PASSES)? {
        return Ok((place, Looked::Passed));
    }
    let detection = read(row)?;
    if !filter.is_of(&detection) {
        return Ok((place, Looked::Passed));
    }
    // Suppressions go by whole names.
    let found = DetectionRow::of(detection, marks).shortened();
    Ok((place, if filter.is_marked(&found) { Looked::Taken(found) } else { Looked::Passed }))
}

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<DetectionRecord> {
    let session_id: Option<String> = row.get(10)?;
    let trace_id: Option<String> = row.get(11)?;
    let user_id: Option<String> = row.get(12)?;
    let application: Option<String> = row.get(13)?;
    let agent: Option<String> = row.get(14)?;
    let detection_id: String = row.get(1)?;
    let named =
        [("session", &session_id), ("trace", &trace_id), ("user", &user_id), ("agent", &agent), ("application", &application)];
    let correlation = named.into_iter().find_map(|(kind, name)| Some(format!("{kind}:{}", name.as_ref()?)));
    Ok(DetectionRecord {
        seq: row.get::<_, i64>(0)?.unsigned_abs(),
        time: iso(row.get(2)?),
        observed: iso(row.get(3)?),
        late_s: late_s(row.get(2)?, row.get(3)?),
        rule: row.get(4)?,
        title: row.get(5)?,
        technique: row.get(6)?,
        severity: severity(row.get(7)?).to_owned(),
        confidence: row.get(8)?,
        grade: row.get::<_, Option<String>>(9)?.filter(|grade| Grade::known(grade)),
        tool: row.get(15)?,
        technique_name: row.get(16)?,
        correlation: correlation.unwrap_or_else(|| format!("detection:{detection_id}")),
        detection_id,
        session_id,
        trace_id,
        user_id,
        application,
        agent,
    })
}

/// The severity of a number in the table.
pub(super) fn severity(code: i64) -> &'static str {
    usize::try_from(code).ok().and_then(|code| SEVERITIES.get(code)).unwrap_or(&SEVERITIES[0])
}

/// The number of a severity that somebody asks for.
pub(super) fn asked_severity(name: &str) -> Result<i64, QueryError> {
    severity_code(name).ok_or_else(|| QueryError::Severity(name.chars().take(40).collect()))
}

impl DetectionFilter {
    /// The statement of a partition, with what is bound. Detections go along the time of recording, those of a session by themselves. The other
    /// conditions are looked at row by row, so that the clock can be, too.
    fn asked(&self, from: Cursor) -> Result<Asked, QueryError> {
        let mut bounds = String::from("d.observed_ns <= ?1 AND (d.observed_ns < ?1 OR d.seq < ?2)");
        // One bound above, as with events.
        let end = self.until_ns.map_or(from, |until_ns| from.min(Cursor { time_ns: until_ns, seq: -1 }));
        let mut values = vec![Value::Integer(end.time_ns), Value::Integer(end.seq)];
        if let Some(since) = self.since_ns {
            values.push(Value::Integer(since));
            bounds.push_str(&format!(" AND d.observed_ns >= ?{}", values.len()));
        }
        let mut index = "detections_observed";
        if let Some(session) = &self.session {
            values.push(Value::Text(session.clone()));
            bounds.push_str(&format!(" AND d.session_id = ?{}", values.len()));
            index = "detections_session";
        }
        let mut passes = vec!["1".to_owned()];
        let mut pass = |condition: &str, value: Value| {
            values.push(value);
            passes.push(format!("ifnull({condition} ?{}, 0)", values.len()));
        };
        if let Some(severity) = &self.severity {
            pass("d.severity >=", Value::Integer(asked_severity(severity)?));
        }
        for (condition, value) in [
            ("d.rule =", &self.rule),
            ("d.user_id =", &self.user),
            ("d.application =", &self.application),
            ("d.agent =", &self.agent),
            ("d.tool =", &self.tool),
            ("d.model =", &self.model),
            ("d.grade =", &self.grade),
        ] {
            if let Some(value) = value {
                pass(condition, Value::Text(value.clone()));
            }
        }
        Ok(Asked { index, bounds, passes: passes.join(" AND "), values })
    }

    /// Whether a detection is one that is asked for, as far as the statement does not say.
    fn is_of(&self, detection: &DetectionRecord) -> bool {
        let of_technique = |technique: &String| {
            let found = detection.technique.as_deref();
            found == Some(technique)
                || found.is_some_and(|found| found.strip_prefix(technique.as_str()).is_some_and(|rest| rest.starts_with('.')))
        };
        self.technique.as_ref().is_none_or(of_technique)
            && self.correlation.as_ref().is_none_or(|asked| NameUse::Correlates.is_same(asked, &detection.correlation))
            && self.q.as_ref().is_none_or(|q| detection.has(&q.to_lowercase()))
    }

    /// Whether people have marked it as is asked for.
    fn is_marked(&self, row: &DetectionRow) -> bool {
        (self.states.is_empty() || self.states.contains(&row.state))
            && (self.with_suppressed || row.suppressed_by.is_none())
            && self.assignee.as_deref().is_none_or(|wanted| row.assignee.as_deref().unwrap_or_default() == wanted)
    }
}

impl DetectionRecord {
    /// Whether a text, in lower case, is in what names it.
    fn has(&self, lower: &str) -> bool {
        let named = [
            &self.rule,
            &self.technique,
            &self.technique_name,
            &self.session_id,
            &self.user_id,
            &self.application,
            &self.agent,
            &self.tool,
        ];
        let names = named.into_iter().flatten().chain([&self.title, &self.detection_id]);
        names.into_iter().any(|name| name.to_lowercase().contains(lower))
    }
}
