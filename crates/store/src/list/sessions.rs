//! Sessions, those that were heard of last first.

use std::collections::HashSet;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use serde::Serialize;
use utoipa::ToSchema;

use super::cursor::Cursor;
use super::detections::{asked_severity, severity};
use super::merge::{Arm, Looked, each};
use super::{PAGE_ROWS_MAX, Page};
use crate::attached::{Attached, Reader};
use crate::error::QueryError;
use crate::text::iso;

/// A session or conversation.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct SessionRow {
    /// The session.
    pub session_id: String,
    /// Its first event, by the source's clock (RFC 3339).
    pub first: String,
    /// Its newest event.
    pub last: String,
    /// The end user.
    pub user_id: Option<String>,
    /// The application.
    pub application: Option<String>,
    /// The agents that took part, the first 16 of them.
    pub agents: Vec<String>,
    /// Its events.
    pub events: i64,
    /// Calls of models.
    pub model_calls: i64,
    /// Calls of tools.
    pub tool_calls: i64,
    /// Tokens read and written.
    pub tokens: i64,
    /// Highest score of inspection.
    pub score: Option<f64>,
    /// Detections.
    pub detections: i64,
    /// The worst of them.
    pub severity: Option<String>,
    /// How far an injection got: `seen`, `acted_on` or `reached`.
    pub grade: Option<String>,
}

/// Which sessions a list has.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SessionFilter {
    /// With an event from this time on, in nanoseconds since 1970.
    pub since_ns: Option<i64>,
    /// Begun before this time.
    pub until_ns: Option<i64>,
    /// Of this user.
    pub user: Option<String>,
    /// Of this application.
    pub application: Option<String>,
    /// In which this agent took part.
    pub agent: Option<String>,
    /// With a detection at least so bad.
    pub severity: Option<String>,
    /// Whose id has this in it.
    pub q: Option<String>,
}

/// Agents of a session that are told.
const AGENTS_MAX: usize = 16;

/// How long sessions are looked at for one page.
const LOOK_MAX: std::time::Duration = std::time::Duration::from_millis(200);

impl Reader {
    /// Sessions, those that were heard of last first, by the source's clock.
    ///
    /// # Errors
    /// A cursor or a severity that is none, and what the store says.
    pub fn sessions(&self, filter: &SessionFilter, limit: usize, cursor: Option<&str>) -> Result<Page<SessionRow>, QueryError> {
        let from = Cursor::parse(cursor)?;
        let worst = filter.severity.as_deref().map(asked_severity).transpose()?;
        self.with(|attached| {
            let asked = filter.asked(worst, from);
            let arms = attached.schemas.iter().map(|schema| asked.arm(schema)).collect::<Vec<_>>();
            let mut told = HashSet::new();
            let mut ids = Vec::new();
            let limit = limit.clamp(1, PAGE_ROWS_MAX);
            // A session that goes on over midnight stands in two partitions. It is told where it was heard of last.
            let next = each(
                &attached.connection,
                arms.into_iter(),
                LOOK_MAX,
                &mut |row| {
                    let (last_ns, tie, id): (i64, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
                    let taken = if row.get(3)? { Looked::Taken((last_ns, id)) } else { Looked::Passed };
                    Ok((Cursor { time_ns: last_ns, seq: tie }, taken))
                },
                &mut |(last_ns, id)| {
                    if told.insert(id.clone()) {
                        ids.push((last_ns, id));
                    }
                    ids.len() < limit
                },
            )?;
            let mut rows = Vec::with_capacity(ids.len());
            for (last_ns, id) in ids {
                // Where a newer row of it passes, too, it was told on an earlier page.
                if cursor.is_some() && asked.passes_later(attached, &id, last_ns)? {
                    continue;
                }
                rows.push(whole(attached, &id)?);
            }
            Ok(Page { rows, next: next.map(|next| next.to_string()) })
        })
    }
}

impl SessionFilter {
    /// The statement of a partition, with what is bound.
    fn asked(&self, worst: Option<i64>, from: Cursor) -> Asked {
        let mut bounds = String::from("s.last_ns <= ?1 AND (s.last_ns < ?1 OR tie_of(s.session_id) < ?2)");
        let mut passes = vec!["1".to_owned()];
        let mut values = vec![Value::Integer(from.time_ns), Value::Integer(from.seq)];
        if let Some(since) = self.since_ns {
            values.push(Value::Integer(since));
            bounds.push_str(&format!(" AND s.last_ns >= ?{}", values.len()));
        }
        let mut index = "sessions_last";
        if let Some(user) = &self.user {
            // Among the bounds it leads along an index; a row of another day is asked whether it passes.
            index = "sessions_user";
            values.push(Value::Text(user.clone()));
            bounds.push_str(&format!(" AND s.user_id = ?{}", values.len()));
            passes.push(format!("ifnull(s.user_id = ?{}, 0)", values.len()));
        }
        let mut pass = |condition: &str, value: Value| {
            values.push(value);
            passes.push(format!("ifnull({}, 0)", condition.replace('?', &format!("?{}", values.len()))));
        };
        if let Some(until) = self.until_ns {
            pass("s.first_ns < ?", Value::Integer(until));
        }
        if let Some(application) = &self.application {
            pass("s.application = ?", Value::Text(application.clone()));
        }
        if let Some(agent) = &self.agent {
            let condition = "EXISTS (SELECT 1 FROM {schema}.session_agents a WHERE a.session_id = s.session_id AND a.agent = ?)";
            pass(condition, Value::Text(agent.clone()));
        }
        if let Some(worst) = worst {
            let condition = "EXISTS (SELECT 1 FROM {schema}.detections d WHERE d.session_id = s.session_id AND d.severity >= ?)";
            pass(condition, Value::Integer(worst));
        }
        if let Some(q) = &self.q {
            pass("instr(lower(s.session_id), ?) > 0", Value::Text(q.to_lowercase()));
        }
        Asked { index, bounds, passes: passes.join(" AND "), values }
    }
}

/// A statement for one partition: between which bounds, and which of the rows there pass.
struct Asked {
    index: &'static str,
    bounds: String,
    /// With `{schema}` where the partition's name belongs.
    passes: String,
    values: Vec<Value>,
}

impl Asked {
    fn arm(&self, schema: &str) -> Arm {
        let sql = format!(
            "SELECT s.last_ns, tie_of(s.session_id), s.session_id, {} FROM {schema}.sessions s INDEXED BY {} \
             WHERE {} ORDER BY s.last_ns DESC, tie_of(s.session_id) DESC",
            self.passes.replace("{schema}", schema),
            self.index,
            self.bounds
        );
        Arm { sql, values: self.values.clone() }
    }

    /// Whether a row of a session passes that tells of something later.
    fn passes_later(&self, attached: &Attached, id: &str, last_ns: i64) -> Result<bool, QueryError> {
        let place = self.values.len();
        let mut values = self.values.clone();
        values.extend([Value::Text(id.to_owned()), Value::Integer(last_ns)]);
        for schema in &attached.schemas {
            let sql = format!(
                "SELECT 1 FROM {schema}.sessions s WHERE s.session_id = ?{} AND s.last_ns > ?{} AND {}",
                place + 1,
                place + 2,
                self.passes.replace("{schema}", schema)
            );
            if attached.connection.prepare_cached(&sql)?.exists(params_from_iter(&values))? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What all partitions know of a session.
fn whole(attached: &Attached, id: &str) -> Result<SessionRow, QueryError> {
    let mut row = SessionRow {
        session_id: id.to_owned(),
        first: String::new(),
        last: String::new(),
        user_id: None,
        application: None,
        agents: Vec::new(),
        events: 0,
        model_calls: 0,
        tool_calls: 0,
        tokens: 0,
        score: None,
        detections: 0,
        severity: None,
        grade: None,
    };
    let (mut first_ns, mut last_ns, mut worst) = (i64::MAX, i64::MIN, None);
    for schema in &attached.schemas {
        let connection = &attached.connection;
        let sql = format!(
            "SELECT first_ns, last_ns, user_id, application, events, model_calls, tool_calls, tokens, score
             FROM {schema}.sessions WHERE session_id = ?1"
        );
        let found = connection.prepare_cached(&sql)?.query_row([id], |found| {
            first_ns = first_ns.min(found.get(0)?);
            last_ns = last_ns.max(found.get(1)?);
            row.user_id = row.user_id.take().or(found.get(2)?);
            row.application = row.application.take().or(found.get(3)?);
            row.events += found.get::<_, i64>(4)?;
            row.model_calls += found.get::<_, i64>(5)?;
            row.tool_calls += found.get::<_, i64>(6)?;
            row.tokens = row.tokens.saturating_add(found.get(7)?);
            let score: Option<f64> = found.get(8)?;
            row.score = row.score.into_iter().chain(score).reduce(f64::max);
            Ok(())
        });
        found.optional()?;
        agents(connection, schema, id, &mut row.agents)?;
        let sql = format!(
            "SELECT count(*), max(severity), max(CASE grade WHEN 'reached' THEN 3 WHEN 'acted_on' THEN 2 WHEN 'seen' THEN 1 END)
             FROM {schema}.detections WHERE session_id = ?1"
        );
        connection.prepare_cached(&sql)?.query_row([id], |found| {
            row.detections += found.get::<_, i64>(0)?;
            worst = worst.max(found.get::<_, Option<i64>>(1)?);
            let grade = found.get::<_, Option<i64>>(2)?.and_then(|grade| GRADES.get(usize::try_from(grade - 1).ok()?));
            let known = row.grade.as_deref().and_then(|known| GRADES.iter().position(|grade| *grade == known));
            if grade.is_some() && grade.and_then(|grade| GRADES.iter().position(|known| known == grade)) > known {
                row.grade = grade.map(|grade| (*grade).to_owned());
            }
            Ok(())
        })?;
    }
    row.first = iso(first_ns);
    row.last = iso(last_ns);
    row.severity = worst.map(|worst| severity(worst).to_owned());
    Ok(row)
}

/// Grades, the least first.
const GRADES: [&str; 3] = ["seen", "acted_on", "reached"];

fn agents(connection: &Connection, schema: &str, id: &str, known: &mut Vec<String>) -> Result<(), QueryError> {
    let sql = format!("SELECT agent FROM {schema}.session_agents WHERE session_id = ?1 LIMIT ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![id, crate::row::integer(AGENTS_MAX as u64)], |row| row.get::<_, String>(0))?;
    for agent in rows {
        let agent = agent?;
        if known.len() < AGENTS_MAX && !known.contains(&agent) {
            known.push(agent);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a hundred thousand sessions that do not pass, each look into the table would be a page of its own.
    #[test]
    fn sessions_are_passed_over_without_a_look_into_their_table() {
        let connection = Connection::open_in_memory().unwrap();
        crate::text::register(&connection).unwrap();
        connection.execute_batch(&crate::schema::create()).unwrap();
        let text = || Some("x".to_owned());
        for (filter, index) in [
            (SessionFilter::default(), "sessions_last"),
            (SessionFilter { since_ns: Some(1), until_ns: Some(2), ..SessionFilter::default() }, "sessions_last"),
            (SessionFilter { application: text(), q: text(), ..SessionFilter::default() }, "sessions_last"),
            (
                SessionFilter { user: text(), application: text(), q: text(), ..SessionFilter::default() },
                "sessions_user (user_id=?",
            ),
        ] {
            let Arm { sql, values } = filter.asked(None, Cursor::START).arm("main");
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let plan: Vec<String> = statement
                .query_map(rusqlite::params_from_iter(&values), |row| row.get("detail"))
                .unwrap()
                .collect::<rusqlite::Result<_>>()
                .unwrap();
            let wanted = format!("USING COVERING INDEX {index}");
            assert!(plan.iter().any(|line| line.contains(&wanted)), "{filter:?}: {plan:?}");
        }
    }
}
