//! The newest events, for `tail` and the live page.

use journal::Seq;
use rusqlite::{Connection, Row, params};
use serde::Serialize;

use crate::attached::Reader;
use crate::error::QueryError;
use crate::text::{iso, unpack};

/// Length of the summary of an event, in characters: a line of a wide terminal.
const SUMMARY_CHARS_MAX: usize = 160;

/// Most events of one answer.
const ROWS_MAX: usize = 10_000;

/// An event as a line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TailRow {
    /// Its place in the journal.
    pub seq: Seq,
    /// The event.
    pub event_id: String,
    /// When it began, by the source's clock (ISO 8601).
    pub time: String,
    /// When Watchkeeper received it (ISO 8601).
    pub observed: String,
    /// Its kind.
    pub kind: String,
    /// `complete`, `request` or `response`.
    pub phase: String,
    /// Name of the operation.
    pub name: String,
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
    /// The model.
    pub model: Option<String>,
    /// The tool.
    pub tool: Option<String>,
    /// `unset`, `ok` or `error`.
    pub status: String,
    /// Highest score of inspection, 0 to 1.
    pub score: Option<f64>,
    /// What inspection advises.
    pub verdict: Option<String>,
    /// Every risk category that was found.
    pub risks: Option<String>,
    /// Tokens read and written.
    pub tokens: Option<i64>,
    /// The beginning of what is new in it.
    pub summary: String,
}

impl Reader {
    /// Events in the order of the journal: those that follow `after`, or the newest ones when that is `None`.
    pub fn tail(&self, after: impl Into<Option<Seq>>, limit: usize) -> Result<Vec<TailRow>, QueryError> {
        let after = after.into().map(|seq| crate::row::integer(seq.0));
        let limit = limit.min(ROWS_MAX);
        self.with(|attached| {
            let mut rows = Vec::new();
            let oldest_first = after.is_some();
            let mut schemas: Vec<&String> = attached.schemas.iter().collect();
            if oldest_first {
                schemas.reverse();
            }
            for schema in schemas {
                if rows.len() >= limit {
                    break;
                }
                let order = if oldest_first { "" } else { "DESC" };
                let sql = format!("{} WHERE e.seq > ?1 ORDER BY e.seq {order} LIMIT ?2", SELECT.replace("{p}", schema));
                let mut statement = attached.connection.prepare_cached(&sql)?;
                let missing = crate::row::integer((limit - rows.len()) as u64);
                let mut found = statement.query(params![after.unwrap_or(-1), missing])?;
                while let Some(row) = found.next()? {
                    let mut line = read(row)?;
                    if line.summary.is_empty() {
                        line.summary = summary(&attached.connection, schema, line.seq)?;
                    }
                    rows.push(line);
                }
            }
            rows.sort_unstable_by_key(|row| row.seq);
            Ok(rows)
        })
    }
}

const SELECT: &str = "SELECT e.seq, e.id, e.time_ns, e.observed_ns, e.kind, e.phase, e.name, e.session_id, e.trace_id, e.user_id, \
                      e.application, e.agent, coalesce(e.response_model, e.request_model), e.tool_name, e.status, e.score, \
                      e.verdict, e.risks, coalesce(e.input_tokens + coalesce(e.output_tokens, 0), e.output_tokens), \
                      e.attributes ->> '$.\"watchkeeper.detection.title\"' FROM {p}.events e";

fn read(row: &Row<'_>) -> rusqlite::Result<TailRow> {
    Ok(TailRow {
        seq: Seq(row.get::<_, i64>(0)?.unsigned_abs()),
        event_id: row.get(1)?,
        time: iso(row.get(2)?),
        observed: iso(row.get(3)?),
        kind: row.get(4)?,
        phase: row.get(5)?,
        name: row.get(6)?,
        session_id: row.get(7)?,
        trace_id: row.get(8)?,
        user_id: row.get(9)?,
        application: row.get(10)?,
        agent: row.get(11)?,
        model: row.get(12)?,
        tool: row.get(13)?,
        status: row.get(14)?,
        score: row.get(15)?,
        verdict: row.get(16)?,
        risks: row.get(17)?,
        tokens: row.get(18)?,
        summary: row.get::<_, Option<String>>(19)?.unwrap_or_default(),
    })
}

/// The beginning of the last new text: the output where there is one, or else the newest input.
fn summary(connection: &Connection, schema: &str, seq: Seq) -> Result<String, QueryError> {
    let sql = format!(
        "SELECT c.data FROM {schema}.pieces p JOIN {schema}.contents c ON c.id = p.content
         WHERE p.seq = ?1 AND p.history = 0 AND p.part <> 6 ORDER BY p.role = 0, p.direction DESC, p.ord DESC LIMIT 1"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([crate::row::integer(seq.0)])?;
    let Some(row) = rows.next()? else { return Ok(String::new()) };
    let text = unpack(row.get_ref(0)?)?.unwrap_or_default();
    let mut line: String = text.split_whitespace().flat_map(|word| word.chars().chain([' '])).take(SUMMARY_CHARS_MAX).collect();
    line.truncate(line.trim_end().len());
    Ok(line)
}
