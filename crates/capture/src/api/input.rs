//! The plain form of an event, and how it becomes the canonical one.

use std::collections::BTreeMap;
use std::fmt;

use event::{
    Client, Direction, Event, EventId, Key, Kind, Part, Phase, Piece, PieceMeta, Principal, Role, Source, SourcePath, SpanId,
    Status, Timestamp, Trace, TraceId, Value, attr, limits,
};
use serde_json::value::RawValue;

use crate::bound::bound;
use crate::gateway::json::{self, Object};
use crate::reserved::{is_reserved_application, is_reserved_name};
use crate::{Raw, RawEvent};

/// Most events in one request.
pub const EVENTS_MAX: usize = 10_000;

/// Longest identifier (user, session, agent ...), in bytes.
const ID_BYTES_MAX: usize = 1_024;

/// Every field that an event may have; anything else is kept as unmapped.
const FIELDS: &[&str] = &[
    "id",
    "kind",
    "time",
    "name",
    "phase",
    "source",
    "session.id",
    "turn",
    "user.id",
    "application",
    "agent",
    "delegation",
    "client",
    "trace_id",
    "span_id",
    "parent_span_id",
    "status",
    "duration_ms",
    "attributes",
    "messages",
    "tool",
];

/// What is wrong with the input. None of its events is taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct InputError {
    /// Which event, from 0; `None` when it is the body as a whole.
    pub index: Option<usize>,
    /// Which field, as a path (`messages[2].role`).
    pub field: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl InputError {
    pub(super) fn body(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { index: None, field: None, message: message.into(), remedy: remedy.into() }
    }

    fn field(field: impl Into<String>, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { index: None, field: Some(field.into()), message: message.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(index) = self.index {
            write!(f, "event {index}: ")?;
        }
        if let Some(field) = &self.field {
            write!(f, "{field}: ")?;
        }
        write!(f, "{}; {}", self.message, self.remedy)
    }
}

/// What only Watchkeeper itself can say.
const RESERVED: [Kind; 2] = [Kind::Detection, Kind::ResponseAction];

/// The name of what a sensor itself says that it lost.
const SENSOR_GAP: &str = "sensor.lost";

/// How the reason of a sensor's gap begins, so that none is taken for one of the recorder.
const SENSOR_REASON: &str = "sensor_";

/// Reads one event, an array of them, or one a line.
///
/// | field | what |
/// |---|---|
/// | `kind` | required: `model_call`, `tool_call`, `retrieval` ... ([`Kind`], but for what only Watchkeeper itself says) |
/// | `id` | a UUID; the same event with the same id again is a retry and is recorded once. Without it every event is new |
/// | `time` | RFC 3339 text or nanoseconds since 1970; default: now |
/// | `name` | what the operation is called; default: the kind |
/// | `phase` | `complete`, `request` or `response`; the two halves of one call have one `watchkeeper.call.id` |
/// | `source` | `{"path"?, "dialect"?, "scope"?, "scope_version"?}`: where the sensor got it from; `path` is `api`, `mcp` or `hook` |
/// | `session.id`, `turn` | text |
/// | `user.id`, `application`, `agent` | text, or `{"id", "name"?, "version"?}` |
/// | `delegation` | a list of agents that `agent` acts for, nearest first |
/// | `client` | `{"address"?, "user_agent"?}` |
/// | `trace_id`, `span_id`, `parent_span_id` | hexadecimal, as in W3C Trace Context |
/// | `status` | `ok`, `error` or `unset` |
/// | `duration_ms` | a number |
/// | `attributes` | an object; keys of [`event::attr`] become attributes, all others are kept as unmapped |
/// | `messages` | `[{"role", "content", "direction"?, "part"?, "message"?, "history"?, "name"?, "call_id"?, "score"?, "failed"?}]`; `direction` is `output` for the role `assistant` and else `input`; `part` follows the role; `message` is its place, by default that in the list |
/// | `tool` | `{"name", "arguments"?, "result"?, "call_id"?, "failed"?}` |
///
/// Other fields are kept as unmapped. A `gap` is what the sensor itself lost: it has no `name`, a `watchkeeper.gap.reason` that
/// begins with `sensor_`, and a `watchkeeper.gap.count`.
pub fn decode_events(bytes: &[u8]) -> Result<Vec<RawEvent>, InputError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        InputError::body(format!("the body is not UTF-8 from offset {}", error.valid_up_to()), "send JSON in UTF-8")
    })?;
    let mut events = Vec::new();
    let mut take = |raw: &RawValue| {
        let index = events.len();
        if index >= EVENTS_MAX {
            return Err(InputError::body(format!("more than {EVENTS_MAX} events"), "send them in several requests"));
        }
        events.push(event(raw).map_err(|error| InputError { index: Some(index), ..error })?);
        Ok(())
    };
    let wrong = |error: &serde_json::Error| {
        InputError::body(format!("not JSON: {error}"), "send one event, an array of events, or one event a line")
    };
    for value in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        let value = value.map_err(|error| wrong(&error))?;
        match json::items(value) {
            Some(items) => items.into_iter().try_for_each(&mut take)?,
            None => take(value)?,
        }
    }
    if events.is_empty() {
        return Err(InputError::body("no events", "send at least one"));
    }
    Ok(events)
}

fn event(raw: &RawValue) -> Result<RawEvent, InputError> {
    if !raw.get().starts_with('{') {
        return Err(InputError::body("the event is not a JSON object", "send an object with at least the field kind"));
    }
    let fields =
        Object::parse(raw.get()).map_err(|error| InputError::body(error.to_string(), "send each key once, as Unicode text"))?;
    let kind = required_text(&fields, "kind")?;
    let kind = Kind::from_name(&kind).filter(|kind| !RESERVED.contains(kind)).ok_or_else(|| {
        let kinds: Vec<_> = Kind::ALL.iter().filter(|kind| !RESERVED.contains(kind)).map(|kind| kind.as_str()).collect();
        InputError::field("kind", "no kind that can be sent", format!("use one of {}", kinds.join(", ")))
    })?;
    let name = text(&fields, "name", limits::CONTENT_BYTES_MAX)?;
    let name = match (kind, name) {
        (Kind::Gap, None) => SENSOR_GAP.to_owned(),
        (Kind::Gap, Some(_)) => return Err(InputError::field("name", "a gap has no name of its own", "leave it out")),
        (_, name) => name.unwrap_or_else(|| kind.as_str().to_owned()),
    };
    if is_reserved_name(&name) {
        return Err(InputError::field(
            "name",
            "only Watchkeeper itself records events of this name",
            "put the name of your application before it, or choose another one",
        ));
    }
    let mut event: RawEvent = Event::new(kind, name, source(&fields)?);
    event.phase = phase(&fields)?;
    let time = fields.get("time").map(timestamp).transpose()?;
    event.time = time.unwrap_or(event.time);
    event.session = text(&fields, "session.id", ID_BYTES_MAX)?.map(Raw::from);
    event.turn = text(&fields, "turn", ID_BYTES_MAX)?.map(Raw::from);
    event.identity.user = principal(&fields, "user.id")?;
    event.identity.application = principal(&fields, "application")?;
    if event.identity.application.as_ref().is_some_and(|application| is_reserved_application(application.id.expose())) {
        return Err(InputError::field("application", "this is Watchkeeper itself", "send the name of your own application"));
    }
    event.identity.agent = principal(&fields, "agent")?;
    event.identity.delegation = delegation(&fields)?;
    event.identity.client = client(&fields)?;
    event.trace = trace(&fields)?;
    event.status = status(&fields)?;
    event.duration_ns = duration(&fields)?;
    attributes(&fields, &mut event)?;
    if kind == Kind::Gap {
        sensor_gap(&event)?;
    }
    if let Some(id) = text(&fields, "id", ID_BYTES_MAX)? {
        let id: EventId = id.parse().map_err(|_| InputError::field("id", "not a UUID", "send a UUID, or leave it out"))?;
        event.id = retried_id(id, time.unwrap_or_default(), raw.get());
        event.unmapped.insert(Raw::from("id"), Value::Text(Raw::from(id.to_string())));
    }
    tool(&fields, &mut event)?;
    messages(&fields, &mut event)?;
    if kind == Kind::DataAccess {
        crate::sql::tell(&event.pieces, &mut event.attributes);
    }
    bound(&mut event);
    Ok(event)
}

/// The id that the same event gets when it is sent again. It rests on everything that was sent: who knows another's id, or can
/// tell the id of what Watchkeeper will record itself, cannot take its place with something else.
fn retried_id(id: EventId, time: Timestamp, sent: &str) -> EventId {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    context.update(b"watchkeeper events api 1");
    context.update(id.as_bytes());
    context.update(sent.as_bytes());
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    EventId::derived(time, &digest)
}

fn required_text(fields: &Object<'_>, key: &'static str) -> Result<String, InputError> {
    text(fields, key, ID_BYTES_MAX)?
        .ok_or_else(|| InputError::field(key, "missing", format!("every event needs the field {key}")))
}

fn text(fields: &Object<'_>, key: &str, bytes_max: usize) -> Result<Option<String>, InputError> {
    text_at(fields, key, key, bytes_max)
}

fn text_at(fields: &Object<'_>, key: &str, path: &str, bytes_max: usize) -> Result<Option<String>, InputError> {
    fields.get(key).map(|raw| bounded_text(raw, path, bytes_max)).transpose()
}

fn bounded_text(raw: &RawValue, path: &str, bytes_max: usize) -> Result<String, InputError> {
    let text = json::text(raw).ok_or_else(|| InputError::field(path, "not a text", "send a JSON string"))?;
    if text.is_empty() {
        return Err(InputError::field(path, "empty", "give it a value, or leave it out"));
    }
    if text.len() > bytes_max {
        let message = format!("{} bytes long, at most {bytes_max} can be", text.len());
        return Err(InputError::field(path, message, "shorten it"));
    }
    Ok(text)
}

fn flag_at(fields: &Object<'_>, key: &str, path: &str) -> Result<Option<bool>, InputError> {
    let wrong = || InputError::field(path, "neither true nor false", "send true or false");
    fields.get(key).map(|raw| json::boolean(raw).ok_or_else(wrong)).transpose()
}

fn source(fields: &Object<'_>) -> Result<Source<Raw>, InputError> {
    let mut source = Source::new(SourcePath::Api, Key::of("watchkeeper.events"));
    let Some(raw) = fields.get("source") else { return Ok(source) };
    let given = Object::of(raw)
        .ok_or_else(|| InputError::field("source", "not an object with distinct keys", "send {\"path\", \"dialect\"}"))?;
    source.path = match text_at(&given, "path", "source.path", ID_BYTES_MAX)?.as_deref() {
        None | Some("api") => SourcePath::Api,
        Some("mcp") => SourcePath::Mcp,
        Some("hook") => SourcePath::Hook,
        Some(_) => return Err(InputError::field("source.path", "no way in that a sensor has", "use one of api, mcp, hook")),
    };
    if let Some(dialect) = text_at(&given, "dialect", "source.dialect", ID_BYTES_MAX)? {
        source.dialect =
            Key::parse(&dialect).map_err(|error| InputError::field("source.dialect", error.to_string(), "correct it"))?;
    }
    source.scope = text_at(&given, "scope", "source.scope", ID_BYTES_MAX)?.map(Raw::from);
    source.scope_version = text_at(&given, "scope_version", "source.scope_version", ID_BYTES_MAX)?.map(Raw::from);
    Ok(source)
}

fn phase(fields: &Object<'_>) -> Result<Phase, InputError> {
    match text(fields, "phase", ID_BYTES_MAX)?.as_deref() {
        None | Some("complete") => Ok(Phase::Complete),
        Some("request") => Ok(Phase::Request),
        Some("response") => Ok(Phase::Response),
        Some(_) => Err(InputError::field("phase", "no such phase", "use one of complete, request, response")),
    }
}

fn principal(fields: &Object<'_>, key: &'static str) -> Result<Option<Principal<Raw>>, InputError> {
    fields.get(key).map(|raw| principal_of(raw, key)).transpose()
}

/// A text, or an object with an id.
fn principal_of(raw: &RawValue, path: &str) -> Result<Principal<Raw>, InputError> {
    let missing = || InputError::field(format!("{path}.id"), "missing", "say who it is");
    let Some(object) = Object::of(raw) else {
        return bounded_text(raw, path, ID_BYTES_MAX).map(|id| Principal::asserted(Raw::from(id)));
    };
    let field = |key: &str| text_at(&object, key, &format!("{path}.{key}"), ID_BYTES_MAX);
    let mut principal = Principal::asserted(Raw::from(field("id")?.ok_or_else(missing)?));
    principal.name = field("name")?.map(Raw::from);
    principal.version = field("version")?.map(Raw::from);
    Ok(principal)
}

fn delegation(fields: &Object<'_>) -> Result<Vec<Principal<Raw>>, InputError> {
    let Some(raw) = fields.get("delegation") else { return Ok(Vec::new()) };
    let agents = json::items(raw).ok_or_else(|| InputError::field("delegation", "not an array", "send a list of agents"))?;
    if agents.len() > limits::DELEGATION_MAX {
        let message = format!("more than {} agents", limits::DELEGATION_MAX);
        return Err(InputError::field("delegation", message, "leave out the farthest"));
    }
    agents.into_iter().enumerate().map(|(index, raw)| principal_of(raw, &format!("delegation[{index}]"))).collect()
}

fn client(fields: &Object<'_>) -> Result<Option<Client<Raw>>, InputError> {
    let Some(raw) = fields.get("client") else { return Ok(None) };
    let given = Object::of(raw)
        .ok_or_else(|| InputError::field("client", "not an object with distinct keys", "send {\"address\", \"user_agent\"}"))?;
    let address = text_at(&given, "address", "client.address", ID_BYTES_MAX)?.map(Raw::from);
    let user_agent = text_at(&given, "user_agent", "client.user_agent", ID_BYTES_MAX)?.map(Raw::from);
    Ok((address.is_some() || user_agent.is_some()).then_some(Client { address, user_agent }))
}

/// That a sensor speaks of its own losses only.
fn sensor_gap(event: &RawEvent) -> Result<(), InputError> {
    let reason = event.attribute(attr::GAP_REASON.as_str()).and_then(Value::as_text);
    if !reason.is_some_and(|reason| reason.expose().starts_with(SENSOR_REASON)) {
        let remedy = format!("give a reason that begins with {SENSOR_REASON}: a sensor can tell of its own losses only");
        return Err(InputError::field("attributes.watchkeeper.gap.reason", "not a sensor's reason", remedy));
    }
    match event.attribute(attr::GAP_COUNT.as_str()).and_then(Value::as_int) {
        Some(count) if count > 0 => Ok(()),
        _ => {
            Err(InputError::field("attributes.watchkeeper.gap.count", "not a number above 0", "say how many events are missing"))
        }
    }
}

fn timestamp(raw: &RawValue) -> Result<Timestamp, InputError> {
    let remedy = "send RFC 3339 text such as 2026-01-31T12:00:00Z, or nanoseconds since 1970-01-01";
    let nanoseconds = match json::text(raw) {
        Some(text) => text
            .parse::<jiff::Timestamp>()
            .map_err(|error| InputError::field("time", format!("not a time: {error}"), remedy))?
            .as_nanosecond(),
        None => i128::from(json::int(raw).ok_or_else(|| InputError::field("time", "not a time", remedy))?),
    };
    u64::try_from(nanoseconds)
        .map(Timestamp::from_unix_ns)
        .map_err(|_| InputError::field("time", "before 1970 or beyond what 64 bits of nanoseconds hold", remedy))
}

fn trace(fields: &Object<'_>) -> Result<Option<Trace>, InputError> {
    let wrong =
        |key: &'static str| move |error: event::IdError| InputError::field(key, error.to_string(), "correct it, or leave it out");
    let span =
        |key: &'static str| text(fields, key, ID_BYTES_MAX)?.map(|id| id.parse::<SpanId>().map_err(wrong(key))).transpose();
    let (span_id, parent_span_id) = (span("span_id")?, span("parent_span_id")?);
    match text(fields, "trace_id", ID_BYTES_MAX)? {
        Some(id) => {
            let trace_id: TraceId = id.parse().map_err(wrong("trace_id"))?;
            Ok(Some(Trace { trace_id, span_id, parent_span_id }))
        }
        None if span_id.is_some() || parent_span_id.is_some() => {
            Err(InputError::field("trace_id", "missing while a span is named", "send the trace id, too"))
        }
        None => Ok(None),
    }
}

fn status(fields: &Object<'_>) -> Result<Status, InputError> {
    match text(fields, "status", ID_BYTES_MAX)?.as_deref() {
        None | Some("unset") => Ok(Status::Unset),
        Some("ok") => Ok(Status::Ok),
        Some("error") => Ok(Status::Error),
        Some(_) => Err(InputError::field("status", "no such status", "use one of ok, error, unset")),
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn duration(fields: &Object<'_>) -> Result<Option<u64>, InputError> {
    let Some(raw) = fields.get("duration_ms") else { return Ok(None) };
    let wrong = || InputError::field("duration_ms", "not a length of time", "send milliseconds as a number, 0 or more");
    let milliseconds = json::number(raw).filter(|number| *number >= 0.0).ok_or_else(wrong)?;
    // The cast saturates.
    Ok(Some((milliseconds * 1e6) as u64))
}

/// Known keys become attributes, unknown ones and unknown fields stay beside them.
fn attributes(fields: &Object<'_>, event: &mut RawEvent) -> Result<(), InputError> {
    let mut unknown: BTreeMap<Raw, Value<Raw>> = BTreeMap::new();
    if let Some(raw) = fields.get("attributes") {
        let entries = Object::of(raw)
            .ok_or_else(|| InputError::field("attributes", "not an object with distinct keys", "send an object"))?;
        for (key, raw) in entries.entries() {
            match attr::ALL.iter().find(|known| known.as_str() == key) {
                Some(known) => {
                    event.attributes.insert(known.clone(), json::value(raw));
                }
                None => {
                    unknown.insert(Raw::from(key), json::value(raw));
                }
            }
            bounded(event.attributes.len() + unknown.len())?;
        }
    }
    for (key, raw) in fields.entries().filter(|(key, _)| !FIELDS.contains(key)) {
        unknown.insert(Raw::from(key), json::value(raw));
        bounded(event.attributes.len() + unknown.len())?;
    }
    if !unknown.is_empty() {
        event.set(attr::UNMAPPED_COUNT, i64::try_from(unknown.len()).unwrap_or(i64::MAX));
    }
    event.unmapped = unknown;
    Ok(())
}

fn bounded(count: usize) -> Result<(), InputError> {
    if count < limits::ATTRIBUTES_MAX {
        return Ok(());
    }
    let message = format!("more than {} attributes and unknown fields", limits::ATTRIBUTES_MAX - 1);
    Err(InputError::field("attributes", message, "send fewer"))
}

fn tool(fields: &Object<'_>, event: &mut RawEvent) -> Result<(), InputError> {
    let Some(raw) = fields.get("tool") else { return Ok(()) };
    let tool = Object::of(raw).ok_or_else(|| InputError::field("tool", "not an object with distinct keys", "send an object"))?;
    let name = text_at(&tool, "name", "tool.name", ID_BYTES_MAX)?
        .ok_or_else(|| InputError::field("tool.name", "missing", "say which tool it was"))?;
    let call_id = text_at(&tool, "call_id", "tool.call_id", ID_BYTES_MAX)?;
    let failed = flag_at(&tool, "failed", "tool.failed")?;
    event.set(attr::GEN_AI_TOOL_NAME, name.as_str());
    if let Some(call_id) = &call_id {
        event.set(attr::GEN_AI_TOOL_CALL_ID, call_id.as_str());
    }
    let sides = [
        ("arguments", Direction::Input, Role::Assistant, Part::ToolCall),
        ("result", Direction::Output, Role::Tool, Part::ToolResult),
    ];
    for (key, direction, role, part) in sides {
        let Some(raw) = tool.get(key) else { continue };
        let meta = PieceMeta {
            name: Some(Raw::from(name.as_str())),
            call_id: call_id.as_deref().map(Raw::from),
            failed: failed.filter(|_| part == Part::ToolResult),
            ..PieceMeta::new(direction, role, part)
        };
        push(event, meta, json::text_or_json(raw), &format!("tool.{key}"))?;
    }
    if event.kind == Kind::ToolCall {
        event.attributes.entry(attr::GEN_AI_OPERATION_NAME).or_insert_with(|| "execute_tool".into());
    }
    Ok(())
}

fn messages(fields: &Object<'_>, event: &mut RawEvent) -> Result<(), InputError> {
    let Some(raw) = fields.get("messages") else { return Ok(()) };
    let items = json::items(raw).ok_or_else(|| InputError::field("messages", "not an array", "send a list of messages"))?;
    for (index, raw) in items.into_iter().enumerate() {
        let path = |key: &str| format!("messages[{index}].{key}");
        let message = Object::of(raw).ok_or_else(|| {
            InputError::field(format!("messages[{index}]"), "not an object with distinct keys", "send {\"role\", \"content\"}")
        })?;
        let role = text_at(&message, "role", &path("role"), ID_BYTES_MAX)?;
        let role = match role.as_deref() {
            Some("system" | "developer") => Role::System,
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            Some("tool") => Role::Tool,
            Some("document") => Role::Document,
            Some(_) => {
                return Err(InputError::field(
                    path("role"),
                    "no such role",
                    "use one of system, user, assistant, tool, document",
                ));
            }
            None => return Err(InputError::field(path("role"), "missing", "say who speaks")),
        };
        let direction = match text_at(&message, "direction", &path("direction"), ID_BYTES_MAX)?.as_deref() {
            Some("input") => Direction::Input,
            Some("output") => Direction::Output,
            Some(_) => return Err(InputError::field(path("direction"), "no such direction", "use input or output")),
            None if role == Role::Assistant => Direction::Output,
            None => Direction::Input,
        };
        let part = part(&message, role, &path("part"))?;
        let content = message.get("content").ok_or_else(|| InputError::field(path("content"), "missing", "say what was said"))?;
        let place = |raw: &RawValue| {
            let wrong = || InputError::field(path("message"), "not a place", "send its place in the conversation, from 0");
            json::int(raw).and_then(|place| u32::try_from(place).ok()).ok_or_else(wrong)
        };
        let score = |raw: &RawValue| {
            json::number(raw).ok_or_else(|| InputError::field(path("score"), "not a number", "send a number, or leave it out"))
        };
        let meta = PieceMeta {
            message: message.get("message").map(place).transpose()?.unwrap_or_else(|| u32::try_from(index).unwrap_or(u32::MAX)),
            history: flag_at(&message, "history", &path("history"))?.unwrap_or(false),
            score: message.get("score").map(score).transpose()?,
            failed: flag_at(&message, "failed", &path("failed"))?,
            name: text_at(&message, "name", &path("name"), ID_BYTES_MAX)?.map(Raw::from),
            call_id: text_at(&message, "call_id", &path("call_id"), ID_BYTES_MAX)?.map(Raw::from),
            ..PieceMeta::new(direction, role, part)
        };
        push(event, meta, json::text_or_json(content), &path("content"))?;
    }
    Ok(())
}

fn part(message: &Object<'_>, role: Role, path: &str) -> Result<Part, InputError> {
    Ok(match text_at(message, "part", path, ID_BYTES_MAX)?.as_deref() {
        None => match role {
            Role::Tool => Part::ToolResult,
            Role::Document => Part::Document,
            Role::System | Role::User | Role::Assistant => Part::Text,
        },
        Some("text") => Part::Text,
        Some("reasoning") => Part::Reasoning,
        Some("tool_call") => Part::ToolCall,
        Some("tool_result") => Part::ToolResult,
        Some("document") => Part::Document,
        Some("query") => Part::Query,
        Some("tool_definition") => Part::ToolDefinition,
        Some("media") => Part::Media,
        Some("command") => Part::Command,
        Some("body") => Part::Body,
        Some(_) => {
            let remedy =
                "use one of text, reasoning, tool_call, tool_result, document, query, tool_definition, media, command, body";
            return Err(InputError::field(path, "no such part", remedy));
        }
    })
}

fn push(event: &mut RawEvent, meta: PieceMeta<Raw>, content: String, path: &str) -> Result<(), InputError> {
    if event.pieces.len() >= limits::PIECES_MAX {
        let message = format!("more than {} pieces of content", limits::PIECES_MAX);
        return Err(InputError::field(path, message, "send several events"));
    }
    if content.len() > limits::CONTENT_BYTES_MAX {
        let message = format!("{} bytes long, at most {} can be", content.len(), limits::CONTENT_BYTES_MAX);
        return Err(InputError::field(path, message, "send it in parts"));
    }
    if !content.is_empty() {
        event.pieces.push(Piece::new(meta, Raw::from(content)));
    }
    Ok(())
}
