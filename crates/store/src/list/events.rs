//! Events as rows, newest first, and one of them with everything that is no content.

use rusqlite::types::ToSql;
use rusqlite::{Connection, Row};
use serde::Serialize;
use utoipa::ToSchema;

use super::cursor::Cursor;
use super::event_filter::EventFilter;
use super::merge::{Arm, Look, Looked, merge};
use super::shorten::{Room, Shorten as _};
use super::shown::shown;
use super::{DirectionWord, KindWord, PAGE_ROWS_MAX, Page, PartWord, PhaseWord, RoleWord, Severity, StatusWord, VerdictWord};
use crate::attached::Reader;
use crate::error::QueryError;
use crate::schema::{PARTS, ROLES};
use crate::text::iso;

/// An event as a row. It holds no contents.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EventRow {
    /// Its place in the journal, and of its leaf in the ledger.
    pub seq: u64,
    /// The event.
    pub event_id: String,
    /// When it began, by the source's clock (RFC 3339).
    pub time: String,
    /// When Watchkeeper received it, by its own clock (RFC 3339).
    pub observed: String,
    /// Its kind.
    #[schema(value_type = KindWord)]
    pub kind: String,
    /// Which part of the operation it tells of.
    #[schema(value_type = PhaseWord)]
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
    /// The model that answered, or else the one asked for.
    pub model: Option<String>,
    /// The tool.
    pub tool: Option<String>,
    /// How it went.
    #[schema(value_type = StatusWord)]
    pub status: String,
    /// Why it failed.
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<f64>,
    /// Highest score of inspection, 0 to 1; none where nothing was inspected.
    pub score: Option<f64>,
    /// What inspection advises.
    #[schema(value_type = Option<VerdictWord>)]
    pub verdict: Option<String>,
    /// Every risk category that was found.
    pub risks: Vec<String>,
    /// Tokens read.
    pub input_tokens: Option<i64>,
    /// Tokens written.
    pub output_tokens: Option<i64>,
    /// Of a detection: its rule's title.
    pub title: Option<String>,
    /// Of a detection: how bad it is.
    #[schema(value_type = Option<Severity>)]
    pub severity: Option<String>,
    /// Whether Watchkeeper records it of its own administration: that it was started, administered, signed in to, or read. Nobody who sends
    /// events can say so.
    pub own: bool,
}

/// A finding of inspection: what matched, and where.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EventFinding {
    /// Piece of the event, from 0.
    pub ord: i64,
    /// Risk category.
    pub risk: String,
    /// MITRE ATLAS technique.
    pub technique: Option<String>,
    /// What matched.
    pub rule: String,
    /// How sure, 0 to 1.
    pub score: f64,
    /// First code point of the match.
    pub start: u32,
    /// One past its last code point.
    pub end: u32,
    /// View in which it matched, when that is not the text as it stands.
    pub view: Option<String>,
}

/// A piece of content: where it stood, and how long it is.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EventPiece {
    /// Its place in the event, from 0.
    pub ord: i64,
    /// Which way it went.
    #[schema(value_type = DirectionWord)]
    pub direction: String,
    /// Who says it.
    #[schema(value_type = RoleWord)]
    pub role: String,
    /// What it is.
    #[schema(value_type = PartWord)]
    pub part: String,
    /// Whether an earlier call brought it already.
    pub history: bool,
    /// Its length in bytes (UTF-8); none where nobody has it any more.
    pub bytes: Option<i64>,
    /// Id of the text: equal when the text is equal.
    pub content_id: Option<String>,
}

/// An event with everything that is known of it but its contents.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EventDetail {
    /// The row.
    #[serde(flatten)]
    pub row: EventRow,
    /// The span.
    pub span_id: Option<String>,
    /// The span that caused it.
    pub parent_span_id: Option<String>,
    /// Joins the request and the response of one gateway call.
    pub call_id: Option<String>,
    /// Turn of the conversation.
    pub turn: Option<String>,
    /// How the user was proved.
    pub user_proof: Option<String>,
    /// How the agent was proved.
    pub agent_proof: Option<String>,
    /// Agents that it acts for, nearest first.
    pub delegation: Vec<String>,
    /// Credential that was presented (a keyed hash).
    pub credential: Option<String>,
    /// Network address of the client.
    pub client_address: Option<String>,
    /// The way in.
    pub source: String,
    /// Dialect that its attributes were read with.
    pub dialect: String,
    /// Provider of the model.
    pub provider: Option<String>,
    /// Bytes of text that were inspected.
    pub scanned_bytes: Option<i64>,
    /// Bytes of text that were not.
    pub unscanned_bytes: Option<i64>,
    /// Attributes that name and measure; those that may hold contents are not among them.
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    pub attributes: serde_json::Map<String, serde_json::Value>,
    /// Attributes that are left out because they may hold contents: the trace has them, for who may read contents.
    pub withheld: Vec<String>,
    /// How many values of each type the sanitiser replaced.
    #[schema(value_type = Option<Object>)]
    pub sanitized: Option<serde_json::Value>,
    /// Its pieces.
    pub pieces: Vec<EventPiece>,
    /// What inspection found.
    pub findings: Vec<EventFinding>,
}

/// Most bytes of events that are given at once to whoever watches them come in.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// The columns of a row.
pub(super) const COLUMNS: &str = "e.seq, e.id, e.time_ns, e.observed_ns, e.kind, e.phase, e.name, e.session_id, e.trace_id, e.user_id, \
    e.application, e.agent, coalesce(e.response_model, e.request_model), e.tool_name, e.status, e.error_type, e.duration_ns, e.score, \
    e.verdict, e.risks, e.input_tokens, e.output_tokens, \
    CASE e.kind WHEN 'detection' THEN e.attributes ->> '$.\"watchkeeper.detection.title\"' END, \
    CASE e.kind WHEN 'detection' THEN e.attributes ->> '$.\"watchkeeper.detection.severity\"' END, e.own";

impl Reader {
    /// Events, newest first by the source's clock.
    ///
    /// A filter that few events pass may end a page early: its `next` goes on where it stopped looking.
    ///
    /// # Errors
    /// A cursor that is none, and what the store says.
    pub fn events(&self, filter: &EventFilter, limit: usize, cursor: Option<&str>) -> Result<Page<EventRow>, QueryError> {
        let from = Cursor::parse(cursor)?;
        self.with(|attached| {
            let connection = &attached.connection;
            let arms = attached.schemas.iter().zip(0_u32..).map(|(schema, place)| filter.arm(connection, schema, place, from));
            let arms: Vec<Arm> = arms.collect::<Result<_, _>>()?;
            let look: &mut Look<'_, (u32, Cursor)> = &mut |row| {
                let cursor = Cursor { time_ns: row.get(0)?, seq: row.get(1)? };
                Ok((cursor, if row.get(2)? { Looked::Taken((row.get::<_, u32>(3)?, cursor)) } else { Looked::Passed }))
            };
            let page = merge(connection, arms.into_iter(), limit.clamp(1, PAGE_ROWS_MAX), look, &mut |_| true)?;
            // Columns are read of those that pass alone: rows are wide, and hardly any may pass.
            let (mut rows, mut room) = (Vec::with_capacity(page.rows.len()), Room::new());
            let mut passed = page.rows.into_iter().peekable();
            while let Some((place, cursor)) = passed.next() {
                let Some(schema) = attached.schemas.get(place as usize) else { continue };
                let sql = format!("SELECT {COLUMNS} FROM {schema}.events e WHERE e.seq = ?1");
                let mut row = connection.prepare_cached(&sql)?.query_row([cursor.seq], read)?.shortened();
                let is_room = room.take(&mut row);
                rows.push(row);
                if !is_room && passed.peek().is_some() {
                    return Ok(Page { rows, next: Some(cursor.to_string()) });
                }
            }
            Ok(Page { rows, next: page.next })
        })
    }

    /// Events in the order of the journal, from a place on and before `end`, for whoever watches them come in: `limit` of them, or
    /// fewer where they are long, and whether these are all that there are. `end` is how far whoever
    /// asks knows the store to be: what was written since then is for the next time.
    ///
    /// # Errors
    /// What the store says.
    pub fn events_from(&self, from: u64, end: u64, limit: usize) -> Result<(Vec<EventRow>, bool), QueryError> {
        let (from, end) = (crate::row::integer(from), crate::row::integer(end));
        let rows_max = crate::row::integer(limit as u64);
        self.with(|attached| {
            let mut found: Vec<EventRow> = Vec::new();
            // Days are by the sources' clocks: records of several days lie between each other in the journal.
            for schema in attached.schemas.iter().rev() {
                let sql =
                    format!("SELECT {COLUMNS} FROM {schema}.events e WHERE e.seq >= ?1 AND e.seq < ?2 ORDER BY e.seq LIMIT ?3");
                let mut statement = attached.connection.prepare_cached(&sql)?;
                let mut rows = statement.query((from, end, rows_max))?;
                let mut bytes = 0;
                while bytes <= BATCH_BYTES_MAX
                    && let Some(row) = rows.next()?
                {
                    let mut row = read(row)?.shortened();
                    bytes += row.weight();
                    found.push(row);
                }
                // Never more than a batch of two days is held, with the row that ends it: what lies behind that is for the next time.
                found.sort_unstable_by_key(|row: &EventRow| row.seq);
                let batch_max = over(&mut found).map_or(limit, |over| limit.min(over + 1));
                found.truncate(batch_max);
            }
            let over = over(&mut found);
            let is_whole = over.is_none() && found.len() < limit;
            // One at least, or nobody would come further.
            if let Some(over) = over {
                found.truncate(over.max(1));
            }
            Ok((found, is_whole))
        })
    }

    /// An event with everything that is known of it but its contents.
    ///
    /// # Errors
    /// [`QueryError::NotFound`] when nothing has that id.
    pub fn event(&self, id: &str) -> Result<EventDetail, QueryError> {
        let lower = id.trim().to_ascii_lowercase();
        self.with(|attached| {
            for schema in &attached.schemas {
                if let Some(detail) = detail(&attached.connection, schema, &lower)? {
                    return Ok(detail);
                }
            }
            Err(QueryError::NotFound(id.chars().take(80).collect()))
        })
    }
}

/// The first row of a batch for which it has no room.
fn over(batch: &mut [EventRow]) -> Option<usize> {
    let mut bytes = 0;
    batch.iter_mut().position(|row| {
        bytes += row.weight();
        bytes > BATCH_BYTES_MAX
    })
}

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<EventRow> {
    let risks: Option<String> = row.get(19)?;
    Ok(EventRow {
        seq: row.get::<_, i64>(0)?.unsigned_abs(),
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
        error: row.get(15)?,
        // Milliseconds of a duration fit a double.
        #[allow(clippy::cast_precision_loss)]
        duration_ms: row.get::<_, Option<i64>>(16)?.map(|ns| ns as f64 / 1e6),
        score: row.get(17)?,
        verdict: row.get(18)?,
        risks: risks.iter().flat_map(|risks| risks.split(", ")).map(str::to_owned).collect(),
        input_tokens: row.get(20)?,
        output_tokens: row.get(21)?,
        title: row.get(22)?,
        severity: row.get::<_, Option<String>>(23)?.filter(|severity| Severity::known(severity)),
        own: row.get(24)?,
    })
}

fn detail(connection: &Connection, schema: &str, id: &str) -> Result<Option<EventDetail>, QueryError> {
    let sql = format!(
        "SELECT {COLUMNS}, e.span_id, e.parent_span_id, e.call_id, e.turn, e.user_proof, e.agent_proof, e.delegation, e.credential,
           e.client_address, e.source_path, e.dialect, e.provider, e.scanned_bytes, e.unscanned_bytes, e.attributes, e.sanitized
         FROM {schema}.events e WHERE e.id = ?1 ORDER BY e.seq LIMIT 1"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([id])?;
    let Some(found) = rows.next()? else { return Ok(None) };
    let row = read(found)?;
    let at = |place: usize| 25 + place;
    let json = |place: usize| -> rusqlite::Result<Option<serde_json::Value>> {
        Ok(found.get::<_, Option<String>>(at(place))?.and_then(|text| serde_json::from_str(&text).ok()))
    };
    let all =
        json(14)?.and_then(|value| if let serde_json::Value::Object(map) = value { Some(map) } else { None }).unwrap_or_default();
    let (attributes, withheld) = shown(all);
    let seq = crate::row::integer(row.seq);
    Ok(Some(EventDetail {
        span_id: found.get(at(0))?,
        parent_span_id: found.get(at(1))?,
        call_id: found.get(at(2))?,
        turn: found.get(at(3))?,
        user_proof: found.get(at(4))?,
        agent_proof: found.get(at(5))?,
        delegation: json(6)?.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default(),
        credential: found.get(at(7))?,
        client_address: found.get(at(8))?,
        source: found.get(at(9))?,
        dialect: found.get(at(10))?,
        provider: found.get(at(11))?,
        scanned_bytes: found.get(at(12))?,
        unscanned_bytes: found.get(at(13))?,
        sanitized: json(15)?,
        attributes,
        withheld,
        pieces: pieces(connection, schema, seq)?,
        findings: findings(connection, schema, seq)?,
        row,
    }))
}

fn pieces(connection: &Connection, schema: &str, seq: i64) -> Result<Vec<EventPiece>, QueryError> {
    let sql = format!(
        "SELECT p.ord, p.direction, p.role, p.part, p.history, c.bytes, lower(hex(c.content_id))
         FROM {schema}.pieces p LEFT JOIN {schema}.contents c ON c.id = p.content WHERE p.seq = ?1 ORDER BY p.ord"
    );
    let name = |names: &[&str], code: i64| {
        usize::try_from(code).ok().and_then(|code| names.get(code)).map_or("", |name| name).to_owned()
    };
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([seq], |row| {
        Ok(EventPiece {
            ord: row.get(0)?,
            direction: if row.get::<_, i64>(1)? == 0 { "input" } else { "output" }.to_owned(),
            role: name(&ROLES, row.get(2)?),
            part: name(&PARTS, row.get(3)?),
            history: row.get(4)?,
            bytes: row.get(5)?,
            content_id: row.get::<_, Option<String>>(6)?.filter(|id| !id.is_empty()),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn findings(connection: &Connection, schema: &str, seq: i64) -> Result<Vec<EventFinding>, QueryError> {
    let sql = format!(
        "SELECT ord, risk, technique, rule, score, start, \"end\", view FROM {schema}.findings WHERE seq = ?1 ORDER BY ord, n"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([&seq as &dyn ToSql], |row| {
        Ok(EventFinding {
            ord: row.get(0)?,
            risk: row.get(1)?,
            technique: row.get(2)?,
            rule: row.get(3)?,
            score: row.get(4)?,
            start: row.get(5)?,
            end: row.get(6)?,
            view: row.get(7)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
