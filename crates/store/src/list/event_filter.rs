//! Which events a list has, and along which index each partition gives them.

use std::fmt::Write as _;
use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::cursor::Cursor;
use super::events::EventRow;
use super::merge::{Arm, Clock};
use super::shorten::NameUse;
use crate::error::QueryError;
use crate::text::iso;

/// Which events a list has.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EventFilter {
    /// From this time on, in nanoseconds since 1970.
    pub since_ns: Option<i64>,
    /// Before this time.
    pub until_ns: Option<i64>,
    /// Of this kind.
    pub kind: Option<String>,
    /// Of this user.
    pub user: Option<String>,
    /// Of this agent.
    pub agent: Option<String>,
    /// Of this application.
    pub application: Option<String>,
    /// Of this model.
    pub model: Option<String>,
    /// Of this tool.
    pub tool: Option<String>,
    /// Of this session.
    pub session: Option<String>,
    /// Of this trace.
    pub trace: Option<String>,
    /// With this status.
    pub status: Option<String>,
    /// With this category among its risks.
    pub risk: Option<String>,
    /// With a score of inspection of at least that.
    pub score: Option<f64>,
    /// But for those that Watchkeeper records of its own administration.
    pub without_own: bool,
}

/// The index along which events go where nothing narrows them. It is on the time as text: texts of one length sort as the times do.
const BY_TIME: &str = "events_time";

/// Rows of each index that are gone through to see which condition narrows most.
const PROBED_ROWS_MAX: usize = 2_000;

/// How long that may take, in one partition.
const PROBE_MAX: Duration = Duration::from_millis(20);

/// A condition that has an index of its own, which goes on by time.
struct Indexed<'f> {
    /// With `{e}` for the table and `?` for the value.
    condition: &'static str,
    value: &'f str,
    index: &'static str,
}

impl Indexed<'_> {
    /// The condition on a table whose value is bound at a place.
    fn on(&self, table: &str, place: usize) -> String {
        self.condition.replace("{e}", table).replace('?', &format!("?{place}"))
    }
}

/// What is bound, and where.
#[derive(Default)]
struct Bound(Vec<Value>);

impl Bound {
    /// The place of a value.
    fn add(&mut self, value: Value) -> usize {
        self.0.push(value);
        self.0.len()
    }
}

impl EventFilter {
    /// The statement of a partition: time, place in the journal, whether it passes, and `number`. One condition goes along an index. The
    /// others are looked at row by row, so that the clock can be, too: in their own index, whose pages are few, where they have one.
    ///
    /// # Errors
    /// What the store says.
    pub(super) fn arm(&self, connection: &Connection, schema: &str, number: u32, from: Cursor) -> Result<Arm, QueryError> {
        let mut indexed = self.indexed();
        let along = self.narrowest(connection, schema, &indexed, from)?.map(|place| indexed.swap_remove(place));
        let mut bound = Bound::default();
        let bounds = self.bounds(along.as_ref(), from, &mut bound);
        let mut passes = vec!["1".to_owned()];
        for other in indexed {
            let place = bound.add(Value::Text(other.value.to_owned()));
            passes.push(format!(
                "EXISTS (SELECT 1 FROM {schema}.events x INDEXED BY {} WHERE {} AND x.time_ns = e.time_ns AND x.seq = e.seq)",
                other.index,
                other.on("x", place)
            ));
        }
        if let Some(status) = self.status.as_ref().filter(|status| !is_error(status)) {
            passes.push(format!("e.status = ?{}", bound.add(Value::Text(status.clone()))));
        }
        if let Some(risk) = &self.risk {
            // The index has those with any risk: which one is looked at row by row.
            let place = bound.add(Value::Text(risk.clone()));
            passes.push(format!("ifnull(instr(', ' || e.risks || ',', ', ' || ?{place} || ',') > 0, 0)"));
        }
        if let Some(score) = self.score {
            passes.push(format!("ifnull(e.score >= ?{}, 0)", bound.add(Value::Real(score))));
        }
        let (index, column) = along.map_or((BY_TIME, "e.time"), |along| (along.index, "e.time_ns"));
        let sql = format!(
            "SELECT e.time_ns, e.seq, {}, {number} FROM {schema}.events e INDEXED BY {index} WHERE {bounds} \
             ORDER BY {column} DESC, e.seq DESC",
            passes.join(" AND ")
        );
        Ok(Arm { sql, values: bound.0 })
    }

    /// The conditions that have an index. Those that narrow most, as a rule, come first.
    fn indexed(&self) -> Vec<Indexed<'_>> {
        let conditions = [
            ("{e}.session_id = ?", self.session.as_deref(), "events_session"),
            ("{e}.trace_id = lower(?)", self.trace.as_deref(), "events_trace"),
            ("{e}.user_id = ?", self.user.as_deref(), "events_user"),
            ("{e}.status = 'error' AND ? IS NOT NULL", self.status.as_deref().filter(|status| is_error(status)), "events_error"),
            ("{e}.tool_name = ?", self.tool.as_deref(), "events_tool"),
            ("{e}.agent = ?", self.agent.as_deref(), "events_agent"),
            ("{e}.risks IS NOT NULL AND ? IS NOT NULL", self.risk.as_deref(), "events_risk"),
            ("coalesce({e}.response_model, {e}.request_model) = ?", self.model.as_deref(), "events_model"),
            ("{e}.application = ?", self.application.as_deref(), "events_application"),
            ("{e}.kind = ?", self.kind.as_deref(), "events_kind"),
            // As a rule nearly all events are others'.
            ("{e}.own = 0 AND ? IS NOT NULL", self.without_own.then_some(""), "events_others"),
        ];
        let asked =
            conditions.into_iter().filter_map(|(condition, value, index)| Some(Indexed { condition, value: value?, index }));
        asked.collect()
    }

    /// The place of the condition that the fewest rows of a partition meet, as far as it matters.
    fn narrowest(
        &self,
        connection: &Connection,
        schema: &str,
        indexed: &[Indexed<'_>],
        from: Cursor,
    ) -> Result<Option<usize>, QueryError> {
        if indexed.len() < 2 {
            return Ok(indexed.first().map(|_| 0));
        }
        let mut bounds = Vec::with_capacity(indexed.len());
        let mut statements = Vec::with_capacity(indexed.len());
        for along in indexed {
            let mut bound = Bound::default();
            let between = self.bounds(Some(along), from, &mut bound);
            let sql =
                format!("SELECT 1 FROM {schema}.events e INDEXED BY {} WHERE {between} LIMIT {PROBED_ROWS_MAX}", along.index);
            statements.push(connection.prepare_cached(&sql)?);
            bounds.push(bound.0);
        }
        let mut probes = Vec::with_capacity(indexed.len());
        for (statement, values) in statements.iter_mut().zip(&bounds) {
            probes.push(statement.query(params_from_iter(values))?);
        }
        // A row of each in turn: the one that ends first is the narrowest, and the others were read no further than it.
        let mut clock = Clock::start(PROBE_MAX);
        for _ in 0..PROBED_ROWS_MAX {
            for (place, probe) in probes.iter_mut().enumerate() {
                if probe.next()?.is_none() {
                    return Ok(Some(place));
                }
                // On a slow disk each row may be a page.
                if clock.is_over() {
                    return Ok(Some(0));
                }
            }
        }
        // All are wide. The first one is the narrowest as a rule.
        Ok(Some(0))
    }

    /// Between which rows of an index the list goes on.
    fn bounds(&self, along: Option<&Indexed<'_>>, from: Cursor, bound: &mut Bound) -> String {
        let time = |ns: i64| if along.is_some() { Value::Integer(ns) } else { Value::Text(iso(ns)) };
        let column = if along.is_some() { "e.time_ns" } else { "e.time" };
        // One bound above: of two SQLite would take one for the index, and pass over everything between them.
        let end = self.until_ns.map_or(from, |until_ns| from.min(Cursor { time_ns: until_ns, seq: -1 }));
        let (end_ns, end_seq) = (bound.add(time(end.time_ns)), bound.add(Value::Integer(end.seq)));
        let mut bounds = format!("{column} <= ?{end_ns} AND ({column} < ?{end_ns} OR e.seq < ?{end_seq})");
        if let Some(along) = along {
            let place = bound.add(Value::Text(along.value.to_owned()));
            let _ = write!(bounds, " AND {}", along.on("e", place));
        }
        if let Some(ns) = self.since_ns {
            let _ = write!(bounds, " AND {column} >= ?{}", bound.add(time(ns)));
        }
        bounds
    }

    /// Whether a row passes, for whoever has rows already: names are compared as far as lists show them.
    #[must_use]
    pub fn passes(&self, row: &EventRow) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found.is_some_and(|found| NameUse::Names.is_same(wanted, found)))
        };
        is(&self.kind, Some(&row.kind))
            && is(&self.user, row.user_id.as_deref())
            && is(&self.agent, row.agent.as_deref())
            && is(&self.application, row.application.as_deref())
            && is(&self.model, row.model.as_deref())
            && is(&self.tool, row.tool.as_deref())
            && is(&self.session, row.session_id.as_deref())
            && is(&self.trace, row.trace_id.as_deref())
            && is(&self.status, Some(&row.status))
            && self.risk.as_ref().is_none_or(|risk| row.risks.contains(risk))
            && self.score.is_none_or(|score| row.score.is_some_and(|found| found >= score))
            && !(self.without_own && row.own)
    }
}

fn is_error(status: &str) -> bool {
    status == "error"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A partition with 5,000 events.
    fn partition() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        crate::text::register(&connection).unwrap();
        connection.execute_batch(&crate::schema::create()).unwrap();
        let mut insert = connection
            .prepare(
                "INSERT INTO events (seq, id, variant, kind, phase, name, time, time_ns, observed_ns, source_path, dialect, status,
                   has_prompt, attributes, tool_name, request_model, user_id, own)
                 VALUES (?1, ?1, 0, ?2, '', '', '', ?1, ?1, '', '', ?3, 0, '{}', 'shell', 'm', ?4, ?1 % 500 <> 3)",
            )
            .unwrap();
        for seq in 0..5_000_i64 {
            let (kind, status) =
                (if seq % 2 == 0 { "tool_call" } else { "model_call" }, if seq % 1_000 == 7 { "error" } else { "ok" });
            insert.execute(rusqlite::params![seq, kind, status, format!("user-{}", seq % 10)]).unwrap();
        }
        drop(insert);
        connection
    }

    /// The plan of a filter's statement.
    fn plan(connection: &Connection, Arm { sql, values }: &Arm) -> Vec<String> {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let plan = statement.query_map(params_from_iter(values), |row| row.get("detail")).unwrap();
        plan.collect::<rusqlite::Result<_>>().unwrap()
    }

    #[test]
    fn where_nearly_all_events_are_others_that_leads_nowhere() {
        let connection = partition();
        connection.execute("UPDATE events SET own = 0", []).unwrap();
        let of_kind = EventFilter { without_own: true, kind: Some("tool_call".to_owned()), ..EventFilter::default() };
        for (filter, along) in
            [(of_kind.clone(), "events_kind"), (EventFilter { model: Some("m".to_owned()), ..of_kind }, "events_model")]
        {
            let plan = plan(&connection, &filter.arm(&connection, "main", 0, Cursor::START).unwrap());
            assert!(plan[0].contains(along), "{filter:?}: {plan:?}");
        }
    }

    /// A row that is passed over must not be read: rows are wide, and there may be a hundred thousand of them.
    #[test]
    fn rows_are_passed_over_in_indexes_alone_along_the_narrowest_one() {
        let connection = partition();
        let text = |text: &str| Some(text.to_owned());
        let all = EventFilter { tool: text("shell"), ..EventFilter::default() };
        for (filter, along, found) in [
            (all.clone(), "events_tool", 5_000),
            (EventFilter { model: text("m"), ..all.clone() }, "events_tool", 5_000),
            (EventFilter { status: text("error"), ..all.clone() }, "events_error", 5),
            (EventFilter { user: text("user-7"), model: text("m"), ..all.clone() }, "events_user", 500),
            (EventFilter { kind: text("retrieval"), ..all.clone() }, "events_kind", 0),
            (EventFilter { without_own: true, ..EventFilter::default() }, "events_others", 10),
            (EventFilter { without_own: true, ..all.clone() }, "events_others", 10),
            (EventFilter { without_own: true, status: text("error"), ..all.clone() }, "events_error", 0),
            (EventFilter { kind: text("tool_call"), model: text("m"), ..all.clone() }, "events_tool", 2_500),
            (
                EventFilter { since_ns: Some(4_000), until_ns: Some(4_100), user: text("user-7"), ..all.clone() },
                "events_user",
                10,
            ),
        ] {
            let arm = filter.arm(&connection, "main", 0, Cursor::START).unwrap();
            let plan = plan(&connection, &arm);
            assert!(plan[0].starts_with("SEARCH e USING") && plan[0].contains(along), "{filter:?}: {plan:?}");
            let in_indexes = |step: &String| !step.starts_with("SEARCH") || step.contains("COVERING INDEX");
            assert!(plan.iter().all(in_indexes), "{filter:?}: {plan:?}");
            assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{filter:?}: {plan:?}");
            let mut statement = connection.prepare(&arm.sql).unwrap();
            let rows = statement.query_map(params_from_iter(&arm.values), |row| row.get::<_, bool>(2)).unwrap();
            assert_eq!(rows.filter(|row| *row.as_ref().unwrap()).count(), found, "{filter:?}");
        }
    }
}
