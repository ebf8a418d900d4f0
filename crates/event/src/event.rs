//! The event itself.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::attributes::map_entries;
use crate::finding::Inspection;
use crate::{Attributes, ContentRef, EventId, Identity, Key, Kind, Phase, Piece, PieceMeta, SpanId, Timestamp, TraceId, Value};

/// An event as the journal and everything after it knows it.
pub type RecordedEvent<T> = Event<T, ContentRef>;

/// One thing that happened. See the [crate documentation](crate) for the stages that `T` and `C` stand for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(bound(serialize = "T: Serialize + Ord, C: Serialize", deserialize = "T: Deserialize<'de> + Ord, C: Deserialize<'de>"))]
pub struct Event<T, C = T> {
    /// Identifies the event.
    pub id: EventId,
    /// What kind of thing happened.
    pub kind: Kind,
    /// Which part of it this tells of.
    #[serde(default)]
    pub phase: Phase,
    /// The operation's name (a span's name, a log's event name).
    pub name: T,
    /// When it began, by the source's clock.
    pub time: Timestamp,
    /// How long it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ns: Option<u64>,
    /// When Watchkeeper received it, by its own clock.
    pub observed: Timestamp,
    /// Where it stands in a distributed trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
    /// The conversation that it belongs to (`gen_ai.conversation.id`, `session.id`).
    #[serde(rename = "session.id", default, skip_serializing_if = "Option::is_none")]
    pub session: Option<T>,
    /// The turn of the conversation, where the source tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<T>,
    /// How it went.
    #[serde(default)]
    pub status: Status,
    /// Who did it, for whom.
    #[serde(default)]
    pub identity: Identity<T>,
    /// How Watchkeeper came to know.
    pub source: Source<T>,
    /// What is known of it, under canonical keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: Attributes<T>,
    /// What the source said and no dialect knows: kept as it came, and counted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unmapped: BTreeMap<T, Value<T>>,
    /// What was said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pieces: Vec<Piece<T, C>>,
    /// What inspection says of it. Absent when nothing was inspected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inspection: Option<Inspection>,
    /// How many values of each type the sanitiser replaced.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sanitized: BTreeMap<std::borrow::Cow<'static, str>, u32>,
}

/// Where an event stands in a W3C trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Trace {
    /// The trace.
    pub trace_id: TraceId,
    /// The span that the event is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_id: Option<SpanId>,
    /// The span that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_span_id: Option<SpanId>,
}

/// How an operation went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The source does not say.
    #[default]
    Unset,
    /// It went well.
    Ok,
    /// It failed; `error.type` says how.
    Error,
}

/// How Watchkeeper came to know of an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
pub struct Source<T> {
    /// The way in.
    pub path: SourcePath,
    /// The dialect that its attributes were read with.
    pub dialect: Key,
    /// The instrumentation scope, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<T>,
    /// The version of the scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope_version: Option<T>,
}

/// The way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SourcePath {
    /// OTLP over gRPC.
    OtlpGrpc,
    /// OTLP over HTTP.
    OtlpHttp,
    /// The LLM gateway.
    Gateway,
    /// `POST /v1/events`.
    Api,
    /// The MCP proxy.
    Mcp,
    /// The egress proxy.
    Egress,
    /// A coding agent's hook.
    Hook,
    /// `watchkeeper import`.
    Import,
    /// Watchkeeper itself.
    Internal,
}

impl<T> Source<T> {
    /// A source without an instrumentation scope.
    #[must_use]
    pub fn new(path: SourcePath, dialect: Key) -> Self {
        Self { path, dialect, scope: None, scope_version: None }
    }
}

impl<T, C> Event<T, C> {
    /// An event that begins now and of which only this much is known. Set the other fields as they are read.
    pub fn new(kind: Kind, name: impl Into<T>, source: Source<T>) -> Self {
        let now = Timestamp::now();
        Self {
            id: EventId::random(),
            kind,
            phase: Phase::Complete,
            name: name.into(),
            time: now,
            duration_ns: None,
            observed: now,
            trace: None,
            session: None,
            turn: None,
            status: Status::Unset,
            identity: Identity::default(),
            source,
            attributes: BTreeMap::new(),
            unmapped: BTreeMap::new(),
            pieces: Vec::new(),
            inspection: None,
            sanitized: BTreeMap::new(),
        }
    }

    /// Takes the event from one stage to the next: every text goes through `text`, every content through `content`.
    ///
    /// This is the only way from one type of text to another, and it destructures every field, so that a field that
    /// is added to [`Event`] cannot be forgotten here. `distinct` gives a map key that has become equal to another
    /// one a name of its own.
    pub fn map<U: Ord + Clone, D>(
        self,
        text: &mut impl FnMut(T) -> U,
        content: &mut impl FnMut(&PieceMeta<U>, C) -> D,
        distinct: &impl Fn(U, usize) -> U,
    ) -> Event<U, D> {
        let Self {
            id,
            kind,
            phase,
            name,
            time,
            duration_ns,
            observed,
            trace,
            session,
            turn,
            status,
            identity,
            source,
            attributes,
            unmapped,
            pieces,
            inspection,
            sanitized,
        } = self;
        Event {
            id,
            kind,
            phase,
            name: text(name),
            time,
            duration_ns,
            observed,
            trace,
            session: session.map(&mut *text),
            turn: turn.map(&mut *text),
            status,
            identity: identity.map(text),
            source: Source {
                path: source.path,
                dialect: source.dialect,
                scope: source.scope.map(&mut *text),
                scope_version: source.scope_version.map(&mut *text),
            },
            attributes: attributes.into_iter().map(|(key, value)| (key, value.map(text, distinct))).collect(),
            unmapped: map_entries(unmapped, text, distinct),
            pieces: pieces
                .into_iter()
                .map(|piece| {
                    let meta = piece.meta.map(text);
                    let content = content(&meta, piece.content);
                    Piece { meta, content, findings: piece.findings }
                })
                .collect(),
            inspection,
            sanitized,
        }
    }

    /// The value of a canonical attribute.
    pub fn attribute(&self, key: &str) -> Option<&Value<T>> {
        self.attributes.get(key)
    }

    /// Sets a canonical attribute.
    pub fn set(&mut self, key: Key, value: impl Into<Value<T>>) {
        self.attributes.insert(key, value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Direction, Part, Role, attr};

    fn sample() -> Event<String> {
        let mut event = Event::new(Kind::ModelCall, "chat gpt-4o", Source::new(SourcePath::OtlpGrpc, Key::of("otel")));
        event.set(attr::GEN_AI_REQUEST_MODEL, "gpt-4o");
        event.session = Some("s1".to_owned());
        event.unmapped.insert("x".to_owned(), Value::Int(1));
        event.pieces.push(Piece::new(PieceMeta::new(Direction::Input, Role::User, Part::Text), "hello".to_owned()));
        event
    }

    #[test]
    fn json_round_trips() {
        let event = sample();
        let json = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event<String>>(&json).unwrap(), event);
    }

    #[test]
    fn map_reaches_every_text_and_every_content() {
        let mut texts = 0;
        let mut contents = 0;
        let mapped = sample().map(
            &mut |text: String| {
                texts += 1;
                text.to_uppercase()
            },
            &mut |_, content: String| {
                contents += 1;
                content.len()
            },
            &|key, n| format!("{key}#{n}"),
        );
        assert_eq!((texts, contents), (4, 1));
        assert_eq!(mapped.name, "CHAT GPT-4O");
        assert_eq!(mapped.pieces[0].content, 5);
    }
}
