//! `agent_actions`: one row per tool call, put together from all who tell of it.
//!
//! A model's output asks for a call; a span or a hook tells that it ran; the result comes back as input of a later
//! model call. Each of them fills what the row does not have yet and overwrites nothing. A report that contradicts the
//! row (another tool, other arguments, a second outcome) gets a row of its own: reusing an id hides nothing. Nobody but
//! the application that made a call, and its user where both reports name one, can tell of it: an id of a session, a
//! trace or a call is a claim that anybody can make.

mod columns;

use std::borrow::Cow;

use event::{ContentRef, Direction, Kind, Part, Phase, Status, attr};
use rusqlite::{Connection, Result, Row, params};

use self::columns::{insert, update};
use crate::arguments::hash_of;
use crate::cut;
use crate::partition::Partition;
use crate::row::{EventPiece, EventRow, Fnv, round};

/// Rows with the call id of a report that are compared with it, newest first. Only an id that is used again and again
/// has more; what is beyond them gets a row of its own.
const CANDIDATES_MAX: i64 = 64;

/// Two instrumentations report one call with clocks of their own; so far apart may their spans be.
const OVERLAP_SLACK_NS: i64 = 2_000_000_000;

/// Who told of a call, as bits of `origins`.
const OUTPUT: i64 = 1;
const EVENT: i64 = 2;
const RESULT: i64 = 4;
/// A result that contradicts the one of its call: nothing is ever joined to it.
const CONFLICT: i64 = 8;

/// What the row of such a result has as its error.
const CONFLICTING: &str = "conflicting result";

/// Gives the texts of the event at hand.
pub(crate) trait Texts {
    /// The text, when the record of the event brought it.
    fn text(&self, content: &ContentRef) -> Option<Cow<'_, str>>;
}

/// What one report says of one call.
struct Report<'e> {
    origin: i64,
    call_id: Option<Cow<'e, str>>,
    /// Joins the two phases of a call.
    exchange: Option<Cow<'e, str>>,
    tool: Option<Cow<'e, str>>,
    arguments: Option<&'e ContentRef>,
    args_hash: Option<i64>,
    result: Option<&'e ContentRef>,
    /// Whether an event of the tool tells how it ended.
    done: bool,
    status: &'static str,
    error: Option<Cow<'e, str>>,
    score: Option<f64>,
    risk: Option<&'static str>,
    /// Whether this very result of the call was told before.
    repeated: bool,
}

/// A row that may be of the same call.
struct Candidate {
    id: i64,
    seq: i64,
    tool: Option<String>,
    args_hash: Option<i64>,
    origins: i64,
    done: bool,
    has_call_id: bool,
    source: String,
    time_ns: i64,
    end_ns: i64,
    exchange: Option<String>,
    result: Option<i64>,
    joined_by: &'static str,
}

/// What stands of a call already.
struct Found {
    /// The row that the report belongs to.
    row: Option<Candidate>,
    /// Whether any row has its id.
    known: bool,
    /// Whether one of these has the very result.
    told: bool,
}

/// Whether the event can tell of tool calls at all.
pub(crate) fn concerns(row: &EventRow<'_>) -> bool {
    match row.event.kind {
        Kind::ToolCall => true,
        // What was derived from a call tells of no other one.
        Kind::Installation if row.event.attributes.contains_key(attr::CAUSE_EVENT_ID.as_str()) => false,
        Kind::ModelCall => row.event.pieces.iter().any(|piece| matches!(piece.meta.part, Part::ToolCall | Part::ToolResult)),
        Kind::Installation | Kind::DataAccess | Kind::Retrieval | Kind::ExternalCall | Kind::Guardrail => {
            row.event.attributes.contains_key(attr::GEN_AI_TOOL_NAME.as_str())
                || row.event.attributes.contains_key(attr::GEN_AI_TOOL_CALL_ID.as_str())
        }
        _ => false,
    }
}

/// Records what an event says of tool calls. `previous` is the partition before, for a call whose outcome comes after
/// midnight; `settled` remembers calls whose result is known, because histories repeat them.
pub(crate) fn record(
    current: &mut Partition,
    mut previous: Option<&mut Partition>,
    row: &EventRow<'_>,
    texts: &dyn Texts,
    settled: &mut lru::LruCache<i64, ()>,
) -> Result<()> {
    if row.event.kind != Kind::ModelCall {
        for report in Report::of_event(current, row, texts)? {
            merge(current, previous.as_deref_mut(), row, &report, texts, true)?;
        }
        return Ok(());
    }
    for piece in &row.event.pieces {
        let meta = &piece.meta;
        match (meta.direction, meta.part) {
            (Direction::Output, Part::ToolCall) if !meta.history => {
                let report = Report::of_output(current, piece, texts)?;
                merge(current, None, row, &report, texts, true)?;
            }
            (Direction::Input, Part::ToolResult) => {
                let key = settled_key(row, piece);
                let is_settled = settled.contains(&key);
                if meta.history && (meta.call_id.is_none() || is_settled) {
                    continue;
                }
                // Without an id it can only complete a call that is there.
                let alone = !meta.history && meta.call_id.is_some();
                let report = Report { repeated: is_settled, ..Report::of_result(piece) };
                merge(current, previous.as_deref_mut(), row, &report, texts, alone)?;
                settled.put(key, ());
            }
            _ => {}
        }
    }
    Ok(())
}

impl<'e> Report<'e> {
    fn of_output(partition: &mut Partition, piece: &'e EventPiece, texts: &dyn Texts) -> Result<Self> {
        let worst = piece.findings.iter().max_by(|a, b| a.score.total_cmp(&b.score));
        Ok(Self {
            origin: OUTPUT,
            call_id: piece.meta.call_id.as_deref().filter(|id| !id.is_empty()).map(cut::text).map(Cow::Borrowed),
            exchange: None,
            tool: piece.meta.name.as_deref().map(cut::text).map(Cow::Borrowed),
            arguments: Some(&piece.content),
            args_hash: hash_of(partition, Some(&piece.content), texts)?,
            result: None,
            done: false,
            status: "requested",
            error: None,
            score: worst.map(|finding| round(finding.score)),
            risk: worst.map(|finding| finding.risk.as_str()),
            repeated: false,
        })
    }

    fn of_result(piece: &'e EventPiece) -> Self {
        Self {
            origin: RESULT,
            call_id: piece.meta.call_id.as_deref().filter(|id| !id.is_empty()).map(cut::text).map(Cow::Borrowed),
            exchange: None,
            tool: piece.meta.name.as_deref().map(cut::text).map(Cow::Borrowed),
            arguments: None,
            args_hash: None,
            result: Some(&piece.content),
            done: false,
            status: if piece.meta.failed == Some(true) { "error" } else { "ok" },
            error: None,
            score: None,
            risk: None,
            repeated: false,
        }
    }

    /// The calls that an event of a tool tells of: one for each piece with arguments, one where there is none.
    fn of_event(partition: &mut Partition, row: &EventRow<'e>, texts: &dyn Texts) -> Result<Vec<Self>> {
        let event = row.event;
        let input = |part: Part| {
            event.pieces.iter().filter(move |piece| piece.meta.direction == Direction::Input && piece.meta.part == part)
        };
        let is_call = |piece: &&EventPiece| piece.meta.part == Part::ToolCall;
        let mut calls: Vec<&EventPiece> = event.pieces.iter().filter(is_call).collect();
        if calls.is_empty() {
            calls.extend(input(Part::Command).next().or_else(|| input(Part::Query).next()).or_else(|| input(Part::Body).next()));
        }
        let results: Vec<&EventPiece> = event
            .pieces
            .iter()
            .filter(|piece| piece.meta.part == Part::ToolResult || (piece.meta.direction == Direction::Output && !is_call(piece)))
            .collect();
        let id = row.text(&attr::GEN_AI_TOOL_CALL_ID).filter(|id| !id.is_empty());
        let exchange = row.text(&attr::CALL_ID);
        let tool = row.text(&attr::GEN_AI_TOOL_NAME);
        let approval = row.text(&attr::APPROVAL_STATUS);
        let denied = approval.as_deref().is_some_and(is_denial);
        let reports = if calls.is_empty() { vec![None] } else { calls.into_iter().map(Some).collect() };
        let one = reports.len() == 1;
        reports
            .into_iter()
            .map(|arguments| {
                let own_id = arguments.and_then(|piece| piece.meta.call_id.as_deref()).filter(|id| !id.is_empty());
                let result = results.iter().find(|piece| one || (own_id.is_some() && piece.meta.call_id.as_deref() == own_id));
                let failed = event.status == Status::Error || result.is_some_and(|piece| piece.meta.failed == Some(true));
                let decision = event.kind == Kind::Guardrail;
                let done = !decision && (failed || event.status == Status::Ok || result.is_some() || event.duration_ns.is_some());
                Ok(Self {
                    origin: EVENT,
                    call_id: own_id.map(cut::text).map(Cow::Borrowed).or_else(|| id.clone()),
                    exchange: exchange.clone(),
                    tool: arguments
                        .and_then(|piece| piece.meta.name.as_deref())
                        .map(cut::text)
                        .map(Cow::Borrowed)
                        .or_else(|| tool.clone()),
                    arguments: arguments.map(|piece| &piece.content),
                    args_hash: hash_of(partition, arguments.map(|piece| &piece.content), texts)?,
                    result: result.map(|piece| &piece.content),
                    done: done && event.phase != Phase::Request,
                    status: match (denied, done && event.phase != Phase::Request, failed) {
                        (true, _, _) => "denied",
                        (_, false, _) => "requested",
                        (_, true, true) => "error",
                        (_, true, false) => "ok",
                    },
                    error: row.text(&attr::ERROR_TYPE),
                    score: event.inspection.map(|inspection| round(inspection.score)),
                    risk: None,
                    repeated: false,
                })
            })
            .collect()
    }

    /// Whether the row may be of the same call.
    fn fits(&self, row: &EventRow<'_>, candidate: &Candidate) -> bool {
        let differs = |a: Option<&str>, b: Option<&str>| matches!((a, b), (Some(a), Some(b)) if a != b);
        if candidate.origins & CONFLICT != 0 {
            return false;
        }
        // A result is of the call whose id it has, whatever name it gives the tool.
        let by_id = self.origin == RESULT && self.call_id.is_some();
        if (!by_id && differs(self.tool.as_deref(), candidate.tool.as_deref()))
            || matches!((self.args_hash, candidate.args_hash), (Some(a), Some(b)) if a != b)
        {
            return false;
        }
        let same_exchange = self.exchange.is_some() && self.exchange.as_deref() == candidate.exchange.as_deref();
        // Another instrumentation that saw the same thing at the same time.
        let elsewhere = candidate.source != row.source
            && row.time_ns <= candidate.end_ns.saturating_add(OVERLAP_SLACK_NS)
            && candidate.time_ns <= row.end_ns.saturating_add(OVERLAP_SLACK_NS);
        match self.origin {
            OUTPUT => candidate.origins & OUTPUT == 0 || (candidate.seq != row.seq && elsewhere),
            EVENT => {
                candidate.origins & EVENT == 0
                    || same_exchange
                    || (candidate.seq != row.seq && (!(self.done && candidate.done) || elsewhere))
            }
            _ => candidate.origins & RESULT == 0,
        }
    }
}

/// Fills the row of the call, or makes one.
fn merge(
    current: &mut Partition,
    previous: Option<&mut Partition>,
    row: &EventRow<'_>,
    report: &Report<'_>,
    texts: &dyn Texts,
    alone: bool,
) -> Result<()> {
    let found = find(current, row, report)?;
    if let Some(candidate) = found.row {
        return update(current, row, report, &candidate, texts);
    }
    // A result that has its row already says nothing new; another one for the same call does.
    if report.origin == RESULT && found.known {
        let is_conflict = alone && !report.repeated && !found.told;
        return if is_conflict { insert(current, row, report, texts, true) } else { Ok(()) };
    }
    if report.origin != OUTPUT
        && let Some(previous) = previous
    {
        let found = find(previous, row, report)?;
        if let Some(candidate) = found.row {
            // A file of its own: committed, and on disk, before the cursor of the current one passes the event. Told
            // again after a crash, it fills nothing twice.
            previous.connection.execute_batch("BEGIN IMMEDIATE")?;
            let outcome = update(previous, row, report, &candidate, texts);
            if outcome.is_err() {
                previous.forget();
            }
            previous.connection.execute_batch(if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
            return outcome;
        }
        if report.origin == RESULT && found.known {
            let is_conflict = alone && !report.repeated && !found.told;
            return if is_conflict { insert(current, row, report, texts, true) } else { Ok(()) };
        }
    }
    if alone { insert(current, row, report, texts, false) } else { Ok(()) }
}

/// The `+` keeps SQLite from the index of scopes: applications number their calls alike (`call-0`), so that one scope has as many
/// of one id as it has sessions, and looking through them all takes time with the square of the sessions.
const CANDIDATE: &str = "SELECT id, seq, tool, args_hash, origins, done, call_id IS NOT NULL, source, time_ns, \
                         end_ns, exchange, result FROM actions WHERE \
                         +scope = ?3 AND (?4 IS NULL OR user_id IS NULL OR user_id = ?4) AND ";

const BY_SESSION: &str = "session_id = ?1 AND call_id IS ?2";
const BY_TRACE: &str = "trace_id = ?1 AND call_id IS ?2";

/// What stands of the call that the report tells of.
fn find(partition: &mut Partition, row: &EventRow<'_>, report: &Report<'_>) -> Result<Found> {
    let result = report.result.map(|content| partition.content(&content.id)).transpose()?.flatten();
    let connection: &Connection = &partition.connection;
    let scope = row.scope();
    let user = row.user();
    let session = row.session();
    let trace = row.trace_id.as_deref();
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut look = |joined_by: &'static str, condition: &str, values: &[&dyn rusqlite::ToSql]| -> Result<()> {
        let sql = format!("{CANDIDATE}{condition} ORDER BY id DESC LIMIT {CANDIDATES_MAX}");
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(values)?;
        while let Some(found) = rows.next()? {
            let candidate = Candidate::read(found, joined_by)?;
            if !candidates.iter().any(|known| known.id == candidate.id) {
                candidates.push(candidate);
            }
        }
        Ok(())
    };
    let id = report.call_id.as_deref();
    if id.is_some() || report.origin == RESULT {
        if let Some(session) = session {
            look("session", BY_SESSION, &[&session, &id, &scope, &user])?;
        }
        if let Some(trace) = trace {
            look("trace", BY_TRACE, &[&trace, &id, &scope, &user])?;
        }
        if session.is_none() && id.is_some() {
            look("application", "session_id IS NULL AND scope = ?1 AND call_id = ?2", &[&scope, &id, &scope, &user])?;
        }
    }
    if let Some(exchange) = &report.exchange {
        look("exchange", "exchange = ?1 AND scope = ?2", &[exchange, &scope, &scope, &user])?;
    }
    let known = !candidates.is_empty() && id.is_some();
    let told = result.is_some() && candidates.iter().any(|candidate| candidate.result == result);
    // One side has no id: the same tool with the same arguments, of which only the other side has told.
    if let Some(hash) = report.args_hash
        && report.origin != RESULT
    {
        let mut unnamed = std::mem::take(&mut candidates);
        let mut look = |joined_by: &'static str, condition: &str, key: &str| -> Result<()> {
            let sql = format!("{CANDIDATE}{condition} ORDER BY id DESC LIMIT {CANDIDATES_MAX}");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params![key, hash, scope, user])?;
            while let Some(found) = rows.next()? {
                let candidate = Candidate::read(found, joined_by)?;
                let other = candidate.has_call_id != id.is_some() && candidate.origins & report.origin == 0;
                if other && candidate.tool.is_some() && !unnamed.iter().any(|known: &Candidate| known.id == candidate.id) {
                    unnamed.push(candidate);
                }
            }
            Ok(())
        };
        if let Some(session) = session {
            look("session", "session_id = ?1 AND args_hash = ?2", session)?;
        }
        if let Some(trace) = trace {
            look("trace", "trace_id = ?1 AND args_hash = ?2", trace)?;
        }
        candidates = unnamed;
    }
    // Results come in the order of the calls, so the oldest one that still waits; anything else is of the newest.
    let fits = |candidate: &Candidate| report.fits(row, candidate);
    let position = if report.origin == RESULT && row.session().or(trace).is_some() {
        candidates.iter().rposition(fits)
    } else {
        candidates.iter().position(fits)
    };
    Ok(Found { row: position.map(|index| candidates.swap_remove(index)), known, told })
}

impl Candidate {
    fn read(row: &Row<'_>, joined_by: &'static str) -> Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            seq: row.get(1)?,
            tool: row.get(2)?,
            args_hash: row.get(3)?,
            origins: row.get(4)?,
            done: row.get(5)?,
            has_call_id: row.get(6)?,
            source: row.get(7)?,
            time_ns: row.get(8)?,
            end_ns: row.get(9)?,
            exchange: row.get(10)?,
            result: row.get(11)?,
            joined_by,
        })
    }
}

/// A result of a call, told by one application for one user.
fn settled_key(row: &EventRow<'_>, piece: &EventPiece) -> i64 {
    let mut hash = Fnv::default();
    for text in [Some(row.scope()), row.user(), row.session().or(row.trace_id.as_deref()), piece.meta.call_id.as_deref()] {
        hash.field(text.unwrap_or_default().as_bytes());
    }
    hash.field(piece.content.id.as_bytes());
    hash.finish()
}

fn is_denial(status: &str) -> bool {
    ["denied", "deny", "reject", "rejected", "block", "blocked"].contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_looked_up_in_its_session_or_trace_and_not_in_its_whole_application() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(&crate::schema::create()).unwrap();
        for (condition, index) in [(BY_SESSION, "actions_session"), (BY_TRACE, "actions_trace")] {
            let sql = format!("EXPLAIN QUERY PLAN {CANDIDATE}{condition} ORDER BY id DESC LIMIT {CANDIDATES_MAX}");
            let plan: String = connection.query_row(&sql, params!["a", "b", "c", "d"], |row| row.get(3)).unwrap();
            assert!(plan.contains(index), "{plan}");
        }
    }
}
