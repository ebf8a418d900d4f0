//! Sessions, those that were heard of last first.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use serde::Serialize;
use utoipa::ToSchema;

use super::cursor::Cursor;
use super::detections::{asked_severity, severity};
use super::merge::{Arm, Looked, each};
use super::shorten::{Room, Shorten as _};
use super::{Grade, PAGE_ROWS_MAX, Page, Severity};
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
    #[schema(value_type = Option<Severity>)]
    pub severity: Option<String>,
    /// How far an injection got.
    #[schema(value_type = Option<Grade>)]
    pub grade: Option<String>,
    /// Whether nothing but the server's own administration happened in it: somebody signed in to the console, say.
    pub own: bool,
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
    /// Whose id has this in its first 256 characters.
    pub q: Option<String>,
    /// But for those in which nothing but the server's own administration happened.
    pub without_own: bool,
}

/// Agents of a session that are told.
const AGENTS_MAX: usize = 16;

/// How long sessions are looked at for one page.
const LOOK_MAX: Duration = Duration::from_millis(200);

/// How much of that goes by for a look at how many may have a part in their ids, in all partitions. Where that was not seen in time, sessions
/// are gone through in their order.
const COUNT_MAX: Duration = Duration::from_millis(100);

/// Sessions of all partitions together that are looked up one by one for a part of their ids; where more may have it, a page is full soon.
const LOOKED_UP_MAX: usize = 2_000;

/// Characters of a part that the index of parts has.
const PART_CHARS: usize = 3;

/// Parts of a part that are looked up: more narrow it no further.
const PARTS_MAX: usize = 16;

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
            let mut arms = Vec::with_capacity(attached.schemas.len());
            let mut looked_up = LookedUp::new(COUNT_MAX);
            for schema in &attached.schemas {
                asked.arms(&attached.connection, schema, &mut looked_up, &mut arms)?;
            }
            let mut told = HashSet::new();
            let mut ids = Vec::new();
            let limit = limit.clamp(1, PAGE_ROWS_MAX);
            // A session that goes on over midnight stands in two partitions. It is told where it was heard of last.
            let next = each(
                &attached.connection,
                arms.into_iter(),
                LOOK_MAX.saturating_sub(looked_up.began.elapsed()),
                &mut |row| {
                    let place = Cursor { time_ns: row.get(0)?, seq: row.get(1)? };
                    Ok((place, if row.get(2)? { Looked::Taken((place, row.get::<_, String>(3)?)) } else { Looked::Passed }))
                },
                &mut |(place, id)| {
                    if told.insert(id.clone()) {
                        ids.push((place, id));
                    }
                    ids.len() < limit
                },
            )?;
            let (mut rows, mut room) = (Vec::with_capacity(ids.len()), Room::new());
            let mut ids = ids.into_iter().peekable();
            while let Some((place, id)) = ids.next() {
                // Where a newer row of it passes, too, it was told on an earlier page.
                if cursor.is_some() && asked.passes_later(attached, &id, place.time_ns)? {
                    continue;
                }
                let mut row = whole(attached, &id)?.shortened();
                let is_room = room.take(&mut row);
                rows.push(row);
                if !is_room && ids.peek().is_some_and(|(next, _)| *next != place) {
                    return Ok(Page { rows, next: Some(place.to_string()) });
                }
            }
            Ok(Page { rows, next: next.map(|next| next.to_string()) })
        })
    }
}

impl SessionFilter {
    /// What is asked of each partition.
    fn asked(&self, worst: Option<i64>, from: Cursor) -> Asked {
        let mut bounds = String::from("s.last_ns <= ?1 AND (s.last_ns < ?1 OR s.tie < ?2)");
        let mut passes = vec!["1".to_owned()];
        let mut values = vec![Value::Integer(from.time_ns), Value::Integer(from.seq)];
        if let Some(since) = self.since_ns {
            values.push(Value::Integer(since));
            bounds.push_str(&format!(" AND s.last_ns >= ?{}", values.len()));
        }
        let mut along = Along::Last { with_own: !self.without_own };
        if self.without_own {
            passes.push("s.others = 1".to_owned());
        }
        if let Some(worst) = worst {
            // Few sessions have any detection.
            along = Along::Found;
            values.push(Value::Integer(worst));
            passes.push(format!("ifnull(s.severity >= ?{}, 0)", values.len()));
        }
        if let Some(user) = &self.user {
            // Among the bounds it leads along an index; a row of another day is asked whether it passes.
            values.push(Value::Text(user.clone()));
            along = Along::User(format!("s.user_id = ?{}", values.len()));
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
        let part = self.q.as_ref().map(|q| q.to_ascii_lowercase()).filter(|part| !part.is_empty());
        if let Some(part) = &part {
            pass("has_part(s.session_id, ?)", Value::Text(part.clone()));
        }
        Asked { along, bounds, passes: passes.join(" AND "), values, parts: part.as_deref().and_then(parts) }
    }
}

/// What must be in the index of parts for a session that has a part in its id, in FTS5's language. The index takes more letters for the same
/// in both cases than those of ASCII, so that only these are asked for. None where the part is too short.
fn parts(part: &str) -> Option<String> {
    let chars: Vec<char> = part.chars().collect();
    let is_asked = |window: &&[char]| window.iter().all(|c| c.is_ascii() && *c != '\0');
    let windows = chars.windows(PART_CHARS).filter(is_asked).take(PARTS_MAX);
    let quoted = windows.map(|window| format!("\"{}\"", window.iter().collect::<String>().replace('"', "\"\"")));
    let quoted: Vec<String> = quoted.collect();
    (!quoted.is_empty()).then(|| quoted.join(" AND "))
}

/// Along which index sessions go.
enum Along {
    /// By when they were heard of last, with or without the server's own.
    Last { with_own: bool },
    /// The same of those with detections.
    Found,
    /// The same of one user: the condition on it.
    User(String),
}

/// What is asked of each partition: between which bounds, and which of the rows there pass.
struct Asked {
    along: Along,
    bounds: String,
    /// With `{schema}` where the partition's name belongs.
    passes: String,
    values: Vec<Value>,
    /// What to look for in the index of parts.
    parts: Option<String>,
}

/// What is left of [`LOOKED_UP_MAX`] and of the time.
struct LookedUp {
    began: Instant,
    time_max: Duration,
    left: usize,
}

impl LookedUp {
    fn new(time_max: Duration) -> Self {
        Self { began: Instant::now(), time_max, left: LOOKED_UP_MAX }
    }

    /// Whether so few sessions of a partition may have the part that they are looked up one by one.
    fn are_few(&mut self, connection: &Connection, schema: &str, parts: &str) -> Result<bool, QueryError> {
        if self.began.elapsed() >= self.time_max {
            return Ok(false);
        }
        let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {schema}.session_ids WHERE session_ids MATCH ?1 LIMIT ?2)");
        let most = crate::row::integer(self.left as u64 + 1);
        let rows: i64 = connection.prepare_cached(&sql)?.query_row(params![parts, most], |row| row.get(0))?;
        let left = usize::try_from(rows).ok().and_then(|rows| self.left.checked_sub(rows));
        self.left = left.unwrap_or(self.left);
        Ok(left.is_some())
    }
}

impl Asked {
    /// The statements of a partition.
    fn arms(
        &self,
        connection: &Connection,
        schema: &str,
        looked_up: &mut LookedUp,
        arms: &mut Vec<Arm>,
    ) -> Result<(), QueryError> {
        if let Some(parts) = &self.parts
            && looked_up.are_few(connection, schema, parts)?
        {
            let place = self.values.len() + 1;
            let from = format!("{schema}.session_ids f CROSS JOIN {schema}.sessions s ON s.id = f.rowid");
            let mut arm = self.arm(schema, &from, &format!("f.session_ids MATCH ?{place}"));
            arm.values.push(Value::Text(parts.clone()));
            arms.push(arm);
            return Ok(());
        }
        let mut add = |index: &str, only: &str| {
            arms.push(self.arm(schema, &format!("{schema}.sessions s INDEXED BY {index}"), only));
        };
        match &self.along {
            Along::Last { with_own } => {
                add("sessions_last", "s.others = 1");
                if *with_own {
                    add("sessions_last", "s.others = 0");
                }
            }
            Along::Found => add("sessions_found", "s.severity IS NOT NULL"),
            Along::User(is_of) => add("sessions_user", is_of),
        }
        Ok(())
    }

    fn arm(&self, schema: &str, from: &str, only: &str) -> Arm {
        let sql = format!(
            "SELECT s.last_ns, s.tie, {}, s.session_id FROM {from} WHERE {only} AND {} ORDER BY s.last_ns DESC, s.tie DESC",
            self.passes.replace("{schema}", schema),
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
        own: true,
    };
    let (mut first_ns, mut last_ns, mut worst) = (i64::MAX, i64::MIN, None);
    for schema in &attached.schemas {
        let connection = &attached.connection;
        let sql = format!(
            "SELECT first_ns, last_ns, user_id, application, events, model_calls, tool_calls, tokens, score, others
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
            row.own &= !found.get::<_, bool>(9)?;
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
        let of_user = || SessionFilter { user: text(), ..SessionFilter::default() };
        for (filter, worst, index) in [
            (SessionFilter::default(), None, "sessions_last (others=? AND last_ns"),
            (SessionFilter { without_own: true, ..SessionFilter::default() }, None, "sessions_last (others=? AND last_ns"),
            (
                SessionFilter { since_ns: Some(1), until_ns: Some(2), ..SessionFilter::default() },
                None,
                "sessions_last (others=? AND last_ns",
            ),
            (SessionFilter { application: text(), q: text(), ..SessionFilter::default() }, None, "sessions_last (others=?"),
            (SessionFilter { without_own: true, ..SessionFilter::default() }, Some(3), "sessions_found (last_ns"),
            (SessionFilter { application: text(), q: text(), ..of_user() }, None, "sessions_user (user_id=?"),
            (SessionFilter { without_own: true, ..of_user() }, Some(3), "sessions_user (user_id=?"),
        ] {
            let mut arms = Vec::new();
            filter.asked(worst, Cursor::START).arms(&connection, "main", &mut LookedUp::new(LOOK_MAX), &mut arms).unwrap();
            for Arm { sql, values } in arms {
                let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
                let plan: Vec<String> = statement
                    .query_map(rusqlite::params_from_iter(&values), |row| row.get("detail"))
                    .unwrap()
                    .collect::<rusqlite::Result<_>>()
                    .unwrap();
                let wanted = format!("USING COVERING INDEX {index}");
                assert!(plan.iter().any(|line| line.contains(&wanted)), "{filter:?}: {plan:?}");
                assert!(!plan.iter().any(|line| line.contains("TEMP B-TREE")), "{filter:?}: {plan:?}");
            }
        }
    }

    #[test]
    fn partitions_share_how_many_sessions_are_looked_up_and_the_time_for_it() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(&crate::schema::create()).unwrap();
        let mut insert = connection.prepare("INSERT INTO session_ids(rowid, id) VALUES (?1, 'chat')").unwrap();
        for id in 0..700 {
            insert.execute([id]).unwrap();
        }
        let mut looked_up = LookedUp::new(Duration::from_secs(60));
        let mut few = |parts: &str| looked_up.are_few(&connection, "main", parts).unwrap();
        assert!(few("cha") && few("hat") && !few("cha"));
        // Nothing to look up costs nothing.
        assert!(few("xyz"));
        assert!(!LookedUp::new(Duration::ZERO).are_few(&connection, "main", "xyz").unwrap());
    }

    #[test]
    fn parts_of_a_part_are_looked_up_as_far_as_the_index_has_them() {
        for (part, found) in [
            ("ab", None),
            ("abc", Some("\"abc\"")),
            ("a\"bc", Some("\"a\"\"b\" AND \"\"\"bc\"")),
            ("abäcde", Some("\"cde\"")),
            ("äöü", None),
            ("a\0bcd", Some("\"bcd\"")),
        ] {
            assert_eq!(parts(part).as_deref(), found, "{part}");
        }
        assert_eq!(parts(&"x".repeat(1_000)).unwrap().matches("AND").count(), PARTS_MAX - 1);
    }
}
