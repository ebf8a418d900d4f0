//! One trace or session as one picture: which prompt, which tool, which data, what came back.

mod shown;

use std::collections::{BTreeMap, HashMap};

use journal::Seq;
use rusqlite::{Connection, Row, params};

pub use self::shown::{TraceAction, TraceDetection, TraceEdge, TraceEvent, TraceFinding, TracePiece, TraceView};
use crate::attached::{Attached, Reader};
use crate::error::QueryError;
use crate::list::{Grade, Severity};
use crate::schema::{PARTS, ROLES};
use crate::text::{iso, unpack};
use crate::views::flow::FLOW_EDGES;

/// Most events of one view. A longer session is cut, and says so.
const EVENTS_MAX: usize = 5_000;

/// Longest text of one piece in the view, in bytes; `content_id` leads to the whole.
const TEXT_BYTES_MAX: usize = 32 * 1024;

/// Most bytes of texts in the view.
const VIEW_BYTES_MAX: usize = 32 * 1024 * 1024;

impl Reader {
    /// Everything of a trace, a session, or the session or trace of an event.
    ///
    /// # Errors
    /// [`QueryError::NotFound`] when nothing has that id.
    pub fn trace(&self, id: &str) -> Result<TraceView, QueryError> {
        self.with(|attached| {
            let (id_kind, column, value) = resolve(attached, id)?;
            let mut view = TraceView { id: id.to_owned(), id_kind, ..TraceView::default() };
            let mut found = Vec::new();
            let mut bytes_left = VIEW_BYTES_MAX;
            // Oldest partition first: events in the order of the journal.
            for schema in attached.schemas.iter().rev() {
                events(&attached.connection, schema, column, &value, &mut view, &mut found, &mut bytes_left)?;
                if column != "id" {
                    actions(&attached.connection, schema, column, &value, &mut view, &mut bytes_left)?;
                }
                edges(&attached.connection, schema, column, &value, &mut view)?;
            }
            view.events = tree(found);
            view.actions.sort_by(|a, b| a.time.cmp(&b.time));
            Ok(view)
        })
    }
}

/// What the id is of, the column that has it, and its value there.
fn resolve(attached: &Attached, id: &str) -> Result<(&'static str, &'static str, String), QueryError> {
    let id = id.trim();
    let lower = id.to_ascii_lowercase();
    for schema in &attached.schemas {
        for (kind, column, value) in [("session", "session_id", id), ("trace", "trace_id", lower.as_str())] {
            let sql = format!("SELECT 1 FROM {schema}.events WHERE {column} = ?1 LIMIT 1");
            if attached.connection.prepare_cached(&sql)?.exists([value])? {
                return Ok((kind, column, value.to_owned()));
            }
        }
        let sql = format!("SELECT session_id, trace_id FROM {schema}.events WHERE id = ?1 LIMIT 1");
        let mut statement = attached.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([&lower])?;
        if let Some(row) = rows.next()? {
            let (session, trace): (Option<String>, Option<String>) = (row.get(0)?, row.get(1)?);
            return Ok(match (session, trace) {
                (Some(session), _) => ("event", "session_id", session),
                (None, Some(trace)) => ("event", "trace_id", trace),
                (None, None) => ("event", "id", lower),
            });
        }
    }
    Err(QueryError::NotFound(id.chars().take(80).collect()))
}

/// An event, and the span that it says it comes from.
struct Found {
    event: TraceEvent,
    parent_span: Option<String>,
}

fn events(
    connection: &Connection,
    schema: &str,
    column: &str,
    value: &str,
    view: &mut TraceView,
    found: &mut Vec<Found>,
    bytes_left: &mut usize,
) -> Result<(), QueryError> {
    // Spans of databases and of HTTP clients tell no session: those of the session's traces belong to it, as far as they are of the
    // same application and tell none of another.
    let which = match column {
        "session_id" => format!(
            "seq IN (SELECT seq FROM {schema}.events WHERE session_id = ?1 UNION SELECT t.seq FROM (SELECT DISTINCT trace_id, application \
             FROM {schema}.events WHERE session_id = ?1 AND trace_id IS NOT NULL) s JOIN {schema}.events t ON t.trace_id = s.trace_id \
             WHERE t.session_id IS NULL AND t.application IS s.application)"
        ),
        column => format!("{column} = ?1"),
    };
    let sql = format!(
        "SELECT seq, id, time_ns, duration_ns, kind, phase, name, trace_id, span_id, parent_span_id, session_id, user_id,
           application, agent, coalesce(response_model, request_model), tool_name, status, error_type, input_tokens,
           output_tokens, score, verdict, attributes
         FROM {schema}.events WHERE {which} ORDER BY seq LIMIT ?2"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![value, crate::row::integer(EVENTS_MAX as u64 + 1)])?;
    while let Some(row) = rows.next()? {
        if found.len() >= EVENTS_MAX {
            view.truncated = true;
            return Ok(());
        }
        let mut event = read_event(row)?;
        let parent_span = row.get(9)?;
        view.sessions.extend(event.session_id.clone());
        view.traces.extend(event.trace_id.clone());
        view.users.extend(event.user_id.clone());
        if event.kind == "detection" {
            view.detections.push(detection(&event));
            continue;
        }
        pieces(connection, schema, &mut event, view, bytes_left)?;
        found.push(Found { event, parent_span });
    }
    Ok(())
}

fn read_event(row: &Row<'_>) -> rusqlite::Result<TraceEvent> {
    let time_ns = row.get(2)?;
    Ok(TraceEvent {
        depth: 0,
        parent_event_id: None,
        seq: Seq(row.get::<_, i64>(0)?.unsigned_abs()),
        event_id: row.get(1)?,
        time: iso(time_ns),
        time_ns,
        // Milliseconds of a duration fit a double.
        #[allow(clippy::cast_precision_loss)]
        duration_ms: row.get::<_, Option<i64>>(3)?.map(|ns| ns as f64 / 1e6),
        kind: row.get(4)?,
        phase: row.get(5)?,
        name: row.get(6)?,
        trace_id: row.get(7)?,
        span_id: row.get(8)?,
        session_id: row.get(10)?,
        user_id: row.get(11)?,
        application: row.get(12)?,
        agent: row.get(13)?,
        model: row.get(14)?,
        tool: row.get(15)?,
        status: row.get(16)?,
        error: row.get(17)?,
        input_tokens: row.get(18)?,
        output_tokens: row.get(19)?,
        score: row.get(20)?,
        verdict: row.get(21)?,
        attributes: serde_json::from_str(&row.get::<_, String>(22)?).unwrap_or_default(),
        pieces: Vec::new(),
        history: 0,
    })
}

fn pieces(
    connection: &Connection,
    schema: &str,
    event: &mut TraceEvent,
    view: &mut TraceView,
    bytes_left: &mut usize,
) -> Result<(), QueryError> {
    let seq = crate::row::integer(event.seq.0);
    let mut findings: BTreeMap<i64, Vec<TraceFinding>> = BTreeMap::new();
    let sql = format!(
        "SELECT ord, risk, technique, rule, score, start, \"end\", view FROM {schema}.findings WHERE seq = ?1 ORDER BY ord, n"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([seq])?;
    while let Some(row) = rows.next()? {
        findings.entry(row.get(0)?).or_default().push(TraceFinding {
            risk: row.get(1)?,
            technique: row.get(2)?,
            rule: row.get(3)?,
            score: row.get(4)?,
            start: row.get(5)?,
            end: row.get(6)?,
            view: row.get(7)?,
        });
    }
    let sql = format!("SELECT count(*) FROM {schema}.pieces WHERE seq = ?1 AND history = 1");
    let history: i64 = connection.prepare_cached(&sql)?.query_row([seq], |row| row.get(0))?;
    event.history = usize::try_from(history).unwrap_or(0);
    let sql = format!(
        "SELECT p.ord, p.direction, p.role, p.part, p.name, p.call_id, p.score, p.failed, c.data, lower(hex(c.content_id))
         FROM {schema}.pieces p LEFT JOIN {schema}.contents c ON c.id = p.content WHERE p.seq = ?1 AND p.history = 0 ORDER BY p.ord"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([seq])?;
    while let Some(row) = rows.next()? {
        let name = |names: &[&str], code: i64| {
            usize::try_from(code).ok().and_then(|code| names.get(code)).map_or("", |name| name).to_owned()
        };
        let (text, cut) = shown(unpack(row.get_ref(8)?)?.as_deref(), bytes_left);
        view.truncated |= cut;
        event.pieces.push(TracePiece {
            findings: findings.remove(&row.get(0)?).unwrap_or_default(),
            direction: if row.get::<_, i64>(1)? == 0 { "input" } else { "output" },
            role: name(&ROLES, row.get(2)?),
            part: name(&PARTS, row.get(3)?),
            name: row.get(4)?,
            call_id: row.get(5)?,
            score: row.get(6)?,
            failed: row.get(7)?,
            text,
            cut,
            content_id: row.get::<_, Option<String>>(9)?.filter(|id| !id.is_empty()),
        });
    }
    Ok(())
}

/// The beginning of a text, and whether something of it is missing.
fn shown(text: Option<&str>, bytes_left: &mut usize) -> (Option<String>, bool) {
    let Some(text) = text else { return (None, false) };
    let end = text.floor_char_boundary(text.len().min(TEXT_BYTES_MAX).min(*bytes_left));
    *bytes_left -= end;
    (text.get(..end).map(str::to_owned), end < text.len())
}

fn actions(
    connection: &Connection,
    schema: &str,
    column: &str,
    value: &str,
    view: &mut TraceView,
    bytes_left: &mut usize,
) -> Result<(), QueryError> {
    let sql = format!(
        "SELECT a.time_ns, a.event_id, a.result_event_id, a.tool, a.call_id, a.agent,
           (SELECT data FROM {schema}.contents WHERE id = a.arguments), (SELECT data FROM {schema}.contents WHERE id = a.result),
           a.status, a.approval_status, a.risk_score
         FROM {schema}.actions a WHERE a.{column} = ?1 ORDER BY a.id LIMIT ?2"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![value, crate::row::integer(EVENTS_MAX as u64)])?;
    while let Some(row) = rows.next()? {
        let (arguments, arguments_cut) = shown(unpack(row.get_ref(6)?)?.as_deref(), bytes_left);
        let (result, result_cut) = shown(unpack(row.get_ref(7)?)?.as_deref(), bytes_left);
        view.truncated |= arguments_cut || result_cut;
        view.actions.push(TraceAction {
            time: iso(row.get(0)?),
            event_id: row.get(1)?,
            result_event_id: row.get(2)?,
            tool: row.get(3)?,
            call_id: row.get(4)?,
            agent: row.get(5)?,
            arguments,
            result,
            status: row.get(8)?,
            approval_status: row.get(9)?,
            risk_score: row.get(10)?,
        });
    }
    Ok(())
}

fn edges(connection: &Connection, schema: &str, column: &str, value: &str, view: &mut TraceView) -> Result<(), QueryError> {
    let sql = format!("{} AND e.{column} = ?1 ORDER BY e.seq, a.key, b.key LIMIT ?2", FLOW_EDGES.select(schema));
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![value, crate::row::integer(EVENTS_MAX as u64 + 1)])?;
    while let Some(row) = rows.next()? {
        if view.edges.len() >= EVENTS_MAX {
            view.truncated = true;
            return Ok(());
        }
        view.edges.push(TraceEdge {
            detection_id: row.get("detection_id")?,
            edge: row.get("edge")?,
            from_event: told(row, "from_event")?,
            from_channel: told(row, "from_channel")?,
            from_content: told(row, "from_content")?,
            from_start: row.get::<_, rusqlite::types::Value>("from_start").map(whole)?,
            from_end: row.get::<_, rusqlite::types::Value>("from_end").map(whole)?,
            from_value: told(row, "from_value")?,
            to_event: told(row, "to_event")?,
            tool: told(row, "tool")?,
            destination: told(row, "destination")?,
            destination_kind: told(row, "destination_kind")?,
            first_seen: row.get::<_, Option<bool>>("first_seen")?.unwrap_or(false),
            shared_value: told(row, "shared_value")?,
            ground: told(row, "ground")?,
        });
    }
    Ok(())
}

/// A text of the evidence. Whoever else sends detections may have put something else there.
fn told(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<String>> {
    Ok(match row.get(column)? {
        rusqlite::types::Value::Text(text) => Some(text),
        _ => None,
    })
}

fn whole(value: rusqlite::types::Value) -> Option<i64> {
    match value {
        rusqlite::types::Value::Integer(number) => Some(number),
        _ => None,
    }
}

fn detection(event: &TraceEvent) -> TraceDetection {
    let get = |key: event::Key| event.attributes.get(key.as_str());
    let text = |key: event::Key| get(key).and_then(|value| value.as_str()).map(str::to_owned);
    TraceDetection {
        time: event.time.clone(),
        detection_id: event.event_id.clone(),
        rule: text(event::attr::DETECTION_RULE),
        title: text(event::attr::DETECTION_TITLE),
        technique: text(event::attr::DETECTION_TECHNIQUE),
        severity: text(event::attr::DETECTION_SEVERITY).filter(|severity| Severity::known(severity)),
        confidence: get(event::attr::DETECTION_CONFIDENCE).and_then(serde_json::Value::as_f64),
        grade: text(event::attr::DETECTION_GRADE).filter(|grade| Grade::known(grade)),
        evidence: get(event::attr::DETECTION_EVIDENCE).cloned().unwrap_or_default(),
        events: get(event::attr::DETECTION_EVENTS)
            .and_then(serde_json::Value::as_array)
            .map(|ids| ids.iter().filter_map(|id| id.as_str().map(str::to_owned)).collect())
            .unwrap_or_default(),
    }
}

/// Events from the top, each after its parent. Spans whose parents form a circle, or are missing, stand at the top.
fn tree(found: Vec<Found>) -> Vec<TraceEvent> {
    let mut by_span: HashMap<(String, String), usize> = HashMap::new();
    for (index, item) in found.iter().enumerate() {
        if let (Some(trace), Some(span)) = (&item.event.trace_id, &item.event.span_id) {
            by_span.entry((trace.clone(), span.clone())).or_insert(index);
        }
    }
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); found.len()];
    let mut parents: Vec<Option<usize>> = vec![None; found.len()];
    for (index, item) in found.iter().enumerate() {
        let parent = match (&item.event.trace_id, &item.parent_span) {
            (Some(trace), Some(span)) => by_span.get(&(trace.clone(), span.clone())).copied().filter(|parent| *parent != index),
            _ => None,
        };
        if let Some(parent) = parent {
            children[parent].push(index);
            parents[index] = Some(parent);
        }
    }
    let order = |index: &usize| (found[*index].event.time_ns, found[*index].event.seq);
    let mut roots: Vec<usize> = (0..found.len()).filter(|index| parents[*index].is_none()).collect();
    roots.sort_by_key(order);
    for siblings in &mut children {
        siblings.sort_by_key(order);
    }
    let ids: Vec<String> = found.iter().map(|item| item.event.event_id.clone()).collect();
    let mut slots: Vec<Option<TraceEvent>> = found.into_iter().map(|item| Some(item.event)).collect();
    let mut events = Vec::with_capacity(slots.len());
    // What is left after the roots is in circles: each of them is entered at its first event.
    let mut starts: Vec<usize> = (0..slots.len()).rev().collect();
    starts.extend(roots.into_iter().rev());
    let mut stack: Vec<(usize, usize)> = Vec::new();
    while let Some(start) = starts.pop() {
        stack.push((start, 0));
        while let Some((index, depth)) = stack.pop() {
            let Some(mut event) = slots[index].take() else { continue };
            event.depth = depth;
            event.parent_event_id = parents[index].filter(|_| depth > 0).map(|parent| ids[parent].clone());
            events.push(event);
            stack.extend(children[index].iter().rev().map(|child| (*child, depth + 1)));
        }
    }
    events
}
