//! An event as `POST /v1/events` takes it, built so that the server cannot refuse it for its size.

use std::collections::BTreeMap;

use event::{Direction, EventId, Kind, Part, Phase, Role, SourcePath, SpanId, Status, Timestamp, TraceId, attr, limits};
use serde::Serialize;
use serde_json::Value;

/// Longest identifier that the server takes, in bytes. Longer ones are cut: a stranger's long name must not keep an event out.
const ID_BYTES_MAX: usize = 1_024;

/// Most attributes of an event; the server refuses more, and needs some of its own.
const ATTRIBUTES_MAX: usize = limits::ATTRIBUTES_MAX - 16;

/// Most messages of an event, beside what its tool brings.
const MESSAGES_MAX: usize = limits::PIECES_MAX - 2;

/// Something that happened. It has an id and a time from the moment it is made, so that it can be sent twice and is recorded once.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    id: EventId,
    kind: Kind,
    time: Timestamp,
    #[serde(skip_serializing_if = "is_complete")]
    phase: Phase,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
    #[serde(rename = "session.id", skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<String>,
    #[serde(rename = "user.id", skip_serializing_if = "Option::is_none")]
    user: Option<Party>,
    #[serde(skip_serializing_if = "Option::is_none")]
    application: Option<Party>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<Party>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    delegation: Vec<Party>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<TraceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<SpanId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<SpanId>,
    #[serde(skip_serializing_if = "is_unset")]
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<f64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<Tool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    messages: Vec<Message>,
    #[serde(skip)]
    bytes_cut: u64,
    #[serde(skip)]
    items_dropped: u64,
}

/// Where the sensor got it from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The way in: [`SourcePath::Api`], [`SourcePath::Mcp`] or [`SourcePath::Hook`]; the server takes no other from a sensor.
    pub path: SourcePath,
    /// What the sensor reads: `mcp`, `claude_code.hook` ... (letters, digits, `_`, `.`, `-`).
    pub dialect: String,
    /// What did the reading, where that has a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope_version: Option<String>,
}

/// A user, an application or an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Party {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
}

/// One message of a conversation, or one document of a result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Message {
    role: Role,
    content: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<Direction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<Part>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    history: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<bool>,
    #[serde(skip)]
    bytes_cut: u64,
}

/// The tool that was called.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tool {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<bool>,
    #[serde(skip)]
    bytes_cut: u64,
}

impl Event {
    /// An event of a kind that happens now.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        Self {
            id: EventId::random(),
            kind,
            time: Timestamp::now(),
            phase: Phase::Complete,
            name: None,
            source: None,
            session: None,
            turn: None,
            user: None,
            application: None,
            agent: None,
            delegation: Vec::new(),
            trace_id: None,
            span_id: None,
            parent_span_id: None,
            status: Status::Unset,
            duration_ms: None,
            attributes: BTreeMap::new(),
            tool: None,
            messages: Vec::new(),
            bytes_cut: 0,
            items_dropped: 0,
        }
    }

    /// The id that it is sent with.
    #[must_use]
    pub fn id(&self) -> EventId {
        self.id
    }

    /// When it happened.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// It happened at another time.
    #[must_use]
    pub fn at(mut self, time: Timestamp) -> Self {
        self.time = time;
        self
    }

    /// What of the thing it tells of. A request and its response need one `watchkeeper.call.id` ([`attr::CALL_ID`]).
    #[must_use]
    pub fn phase(mut self, phase: Phase) -> Self {
        self.phase = phase;
        self
    }

    /// What the operation is called.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = self.identifier(name);
        self
    }

    /// Where the sensor got it from.
    #[must_use]
    pub fn source(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
    }

    /// The session or conversation.
    #[must_use]
    pub fn session(mut self, id: &str) -> Self {
        self.session = self.identifier(id);
        self
    }

    /// The turn of the conversation.
    #[must_use]
    pub fn turn(mut self, id: &str) -> Self {
        self.turn = self.identifier(id);
        self
    }

    /// The end user on whose behalf it happened.
    #[must_use]
    pub fn user(mut self, user: impl Into<Party>) -> Self {
        self.user = self.party(user.into());
        self
    }

    /// The application or service.
    #[must_use]
    pub fn application(mut self, application: impl Into<Party>) -> Self {
        self.application = self.party(application.into());
        self
    }

    /// The agent that acted.
    #[must_use]
    pub fn agent(mut self, agent: impl Into<Party>) -> Self {
        self.agent = self.party(agent.into());
        self
    }

    /// An agent for which the one before acts.
    #[must_use]
    pub fn on_behalf_of(mut self, agent: impl Into<Party>) -> Self {
        if self.delegation.len() < limits::DELEGATION_MAX {
            let agent = self.party(agent.into());
            self.delegation.extend(agent);
        } else {
            self.items_dropped += 1;
        }
        self
    }

    /// Where it stands in a trace (W3C Trace Context).
    #[must_use]
    pub fn trace(mut self, trace: TraceId, span: Option<SpanId>, parent: Option<SpanId>) -> Self {
        (self.trace_id, self.span_id, self.parent_span_id) = (Some(trace), span, parent);
        self
    }

    /// How it went.
    #[must_use]
    pub fn status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    /// How long it took.
    #[must_use]
    pub fn duration(mut self, duration: std::time::Duration) -> Self {
        self.duration_ms = Some(duration.as_secs_f64() * 1e3);
        self
    }

    /// An attribute. Those under keys of [`event::attr`] are known to views and rules; others are kept beside them.
    #[must_use]
    pub fn attribute(mut self, key: &str, value: impl Into<Value>) -> Self {
        if self.attributes.len() < ATTRIBUTES_MAX || self.attributes.contains_key(key) {
            self.attributes.insert(key.to_owned(), value.into());
        } else {
            self.items_dropped += 1;
        }
        self
    }

    /// An attribute, where there is one.
    #[must_use]
    pub fn attribute_if(self, key: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.attribute(key, value),
            None => self,
        }
    }

    /// One more message.
    #[must_use]
    pub fn message(mut self, message: Message) -> Self {
        if self.messages.len() < MESSAGES_MAX {
            self.bytes_cut += message.bytes_cut;
            self.messages.push(message);
        } else {
            self.items_dropped += 1;
        }
        self
    }

    /// The tool that was called.
    #[must_use]
    pub fn tool(mut self, tool: Tool) -> Self {
        self.bytes_cut += tool.bytes_cut;
        self.tool = Some(tool);
        self
    }

    /// What was left out on the way here, in bytes and in items, beyond what this builder itself counts.
    #[must_use]
    pub fn cut(mut self, bytes: u64, items: u64) -> Self {
        self.bytes_cut = self.bytes_cut.saturating_add(bytes);
        self.items_dropped = self.items_dropped.saturating_add(items);
        self
    }

    /// The JSON that is sent, on one line.
    pub(crate) fn to_json(&self) -> Result<String, serde_json::Error> {
        let counts = [(attr::CONTENT_BYTES_CUT, self.bytes_cut), (attr::ITEMS_DROPPED, self.items_dropped)];
        if counts.iter().all(|(_, count)| *count == 0) {
            return serde_json::to_string(self);
        }
        let mut counted = self.clone();
        for (key, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            counted.attributes.insert(key.as_str().to_owned(), Value::from(count));
        }
        serde_json::to_string(&counted)
    }

    fn identifier(&mut self, text: &str) -> Option<String> {
        let kept = &text[..text.floor_char_boundary(ID_BYTES_MAX)];
        self.bytes_cut += (text.len() - kept.len()) as u64;
        (!kept.is_empty()).then(|| kept.to_owned())
    }

    fn party(&mut self, party: Party) -> Option<Party> {
        let id = self.identifier(&party.id)?;
        let name = party.name.as_deref().and_then(|name| self.identifier(name));
        let version = party.version.as_deref().and_then(|version| self.identifier(version));
        Some(Party { id, name, version })
    }
}

impl Party {
    /// A name for people.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Its version, for agents and applications.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        self.version = Some(version.to_owned());
        self
    }
}

impl From<&str> for Party {
    fn from(id: &str) -> Self {
        Self { id: id.to_owned(), name: None, version: None }
    }
}

impl From<String> for Party {
    fn from(id: String) -> Self {
        Self { id, name: None, version: None }
    }
}

impl Source {
    /// A source with nothing but a way in and a dialect.
    #[must_use]
    pub fn new(path: SourcePath, dialect: &str) -> Self {
        Self { path, dialect: dialect.to_owned(), scope: None, scope_version: None }
    }
}

impl Message {
    /// What somebody said. Text beyond what the server keeps of one content is cut, and the event says so.
    #[must_use]
    pub fn new(role: Role, content: &str) -> Self {
        let (content, bytes_cut) = cut(content);
        Self {
            role,
            content,
            direction: None,
            part: None,
            message: None,
            history: false,
            name: None,
            call_id: None,
            score: None,
            failed: None,
            bytes_cut,
        }
    }

    /// Into the operation or out of it; without it, what the assistant says comes out and everything else goes in.
    #[must_use]
    pub fn direction(mut self, direction: Direction) -> Self {
        self.direction = Some(direction);
        self
    }

    /// What it is; without it, that follows from the role.
    #[must_use]
    pub fn part(mut self, part: Part) -> Self {
        self.part = Some(part);
        self
    }

    /// Its place in the conversation or in the result, from 0; without it, its place in the event.
    #[must_use]
    pub fn place(mut self, place: u32) -> Self {
        self.message = Some(place);
        self
    }

    /// It repeats what an earlier call of the conversation brought.
    #[must_use]
    pub fn history(mut self) -> Self {
        self.history = true;
        self
    }

    /// The tool's, document's or participant's name.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = (!name.is_empty()).then(|| bounded(name));
        self
    }

    /// The id that ties a tool's call to its result.
    #[must_use]
    pub fn call_id(mut self, id: &str) -> Self {
        self.call_id = (!id.is_empty()).then(|| bounded(id));
        self
    }

    /// How similar a retrieved document is.
    #[must_use]
    pub fn score(mut self, score: f64) -> Self {
        self.score = Some(score).filter(|score| score.is_finite());
        self
    }

    /// Whether the tool reported that it failed.
    #[must_use]
    pub fn failed(mut self, failed: bool) -> Self {
        self.failed = Some(failed);
        self
    }
}

impl Tool {
    /// A tool by its name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let name = if name.is_empty() { "unnamed".to_owned() } else { bounded(name) };
        Self { name, call_id: None, arguments: None, result: None, failed: None, bytes_cut: 0 }
    }

    /// The id that ties the call to its result.
    #[must_use]
    pub fn call_id(mut self, id: &str) -> Self {
        self.call_id = (!id.is_empty()).then(|| bounded(id));
        self
    }

    /// Its arguments: JSON text where they are JSON.
    #[must_use]
    pub fn arguments(mut self, arguments: &str) -> Self {
        let (arguments, bytes_cut) = cut(arguments);
        self.bytes_cut += bytes_cut;
        self.arguments = Some(arguments);
        self
    }

    /// What it returned.
    #[must_use]
    pub fn result(mut self, result: &str) -> Self {
        let (result, bytes_cut) = cut(result);
        self.bytes_cut += bytes_cut;
        self.result = Some(result);
        self
    }

    /// Whether it reported that it failed.
    #[must_use]
    pub fn failed(mut self, failed: bool) -> Self {
        self.failed = Some(failed);
        self
    }
}

fn cut(text: &str) -> (String, u64) {
    let kept = &text[..text.floor_char_boundary(limits::CONTENT_BYTES_MAX)];
    (kept.to_owned(), (text.len() - kept.len()) as u64)
}

fn bounded(id: &str) -> String {
    id[..id.floor_char_boundary(ID_BYTES_MAX)].to_owned()
}

fn is_complete(phase: &Phase) -> bool {
    *phase == Phase::Complete
}

fn is_unset(status: &Status) -> bool {
    *status == Status::Unset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_not_sent() {
        let event = Event::of(Kind::ToolCall).session("").user("").tool(Tool::new("t"));
        let json: Value = serde_json::from_str(&event.to_json().unwrap()).unwrap();
        let keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["id", "kind", "time", "tool"]);
        assert_eq!(json["id"], event.id().to_string());
    }

    #[test]
    fn what_a_stranger_makes_long_is_cut_and_counted() {
        let long = "é".repeat(1_000);
        let mut event = Event::of(Kind::ToolCall).session(&long).agent(Party::from("a").version(&long));
        event = event.message(Message::new(Role::Tool, &"x".repeat(limits::CONTENT_BYTES_MAX + 5)).name(&long));
        for n in 0..limits::ATTRIBUTES_MAX {
            event = event.attribute(&format!("k{n}"), 1);
        }
        let json: Value = serde_json::from_str(&event.to_json().unwrap()).unwrap();
        assert_eq!(json["session.id"].as_str().unwrap().len(), ID_BYTES_MAX);
        assert_eq!(json["messages"][0]["content"].as_str().unwrap().len(), limits::CONTENT_BYTES_MAX);
        assert_eq!(json["attributes"]["watchkeeper.content.bytes_cut"], 2 * (2_000 - ID_BYTES_MAX) + 5);
        assert_eq!(json["attributes"]["watchkeeper.items.dropped"], 16);
    }
}
