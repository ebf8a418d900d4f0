//! The schema of a dialect table: what `content/dialects/*.toml` may say.

use std::collections::BTreeMap;

use event::{Direction, Kind, Part, Phase, Role};
use serde::Deserialize;

/// A dialect table, as written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    /// Its name, as `source.dialect` has it.
    pub(super) name: String,
    /// What it is, in a sentence or two, for the reference.
    pub(super) about: String,
    /// Tables whose entries hold here, too, where this one says nothing else.
    #[serde(default)]
    pub(super) extends: Vec<String>,
    /// Beginnings of scope names that are its own; a `$` at the end stands for the end of the name.
    #[serde(default)]
    pub(super) scopes: Vec<String>,
    /// `service.name`s that are its own.
    #[serde(default)]
    pub(super) services: Vec<String>,
    /// Beginnings of attribute keys that are its own, asked when the scope says nothing.
    #[serde(default)]
    pub(super) keys: Vec<String>,
    /// Beginnings of event names that are its own, asked when the scope says nothing.
    #[serde(default)]
    pub(super) events: Vec<String>,
    /// What to take off the front of an event name before it is looked at.
    #[serde(default)]
    pub(super) event_prefix: Option<String>,
    /// The kind of what no rule names.
    #[serde(default)]
    pub(super) kind_default: Option<Kind>,
    /// Whether the service that reports is itself the agent.
    #[serde(default)]
    pub(super) agent_is_service: bool,
    /// How to tell the kind; the first that fits.
    #[serde(default, rename = "kind")]
    pub(super) kinds: Vec<KindRule>,
    /// Source key to canonical key.
    #[serde(default)]
    pub(super) attributes: BTreeMap<String, String>,
    /// Keys that are canonical as they are.
    #[serde(default)]
    pub(super) keep: Vec<String>,
    /// Canonical key to (source value to canonical value).
    #[serde(default)]
    pub(super) values: BTreeMap<String, BTreeMap<String, String>>,
    /// Attribute that holds a JSON object to (its field to canonical key), set where the source does not say it otherwise.
    #[serde(default)]
    pub(super) json: BTreeMap<String, BTreeMap<String, String>>,
    /// Who, which conversation, how long: the first key of each list that is there.
    #[serde(default)]
    pub(super) identity: BTreeMap<Slot, Vec<String>>,
    /// Where the content is, in the order in which it stands in a conversation.
    #[serde(default, rename = "content")]
    pub(super) contents: Vec<ContentRule>,
    /// Beginnings of the names of metrics that are recorded.
    #[serde(default)]
    pub(super) metrics: Vec<String>,
    /// Span events that carry attributes of their span.
    #[serde(default)]
    pub(super) inline_span_events: Vec<String>,
    /// Span events that are events of their own, read as log records of their name.
    #[serde(default)]
    pub(super) own_span_events: Vec<String>,
    /// Span events of which each is an item of a list: the attribute `NAME.field` of the nth becomes `NAME.n.field`.
    #[serde(default)]
    pub(super) listed_span_events: Vec<String>,
    /// Whether texts are JSON strings, with quotes.
    #[serde(default)]
    pub(super) texts_are_json: bool,
    /// Span events that are dropped and counted; a `*` at the end stands for any ending.
    #[serde(default)]
    pub(super) drop_span_events: Vec<String>,
}

/// How to tell the kind of an event. Every condition that is there must hold.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KindRule {
    /// An attribute that must be there.
    #[serde(default)]
    pub(super) key: Option<String>,
    /// The values of which it must have one; any value when empty.
    #[serde(default)]
    pub(super) values: Vec<String>,
    /// Event names (of log records), of which it must be one.
    #[serde(default)]
    pub(super) events: Vec<String>,
    /// Span names, of which it must be one; a `*` at the end stands for any ending, one at the front for any beginning.
    #[serde(default)]
    pub(super) names: Vec<String>,
    /// Span kinds, of which it must be one: `internal`, `server`, `client`, `producer`, `consumer`.
    #[serde(default)]
    pub(super) span_kinds: Vec<String>,
    /// The kind.
    pub(super) kind: Kind,
    /// The phase.
    #[serde(default)]
    pub(super) phase: Phase,
    /// Canonical attributes to set where the source does not.
    #[serde(default)]
    pub(super) set: BTreeMap<String, String>,
    /// Canonical attributes to copy (from, to) where the source does not set the second: what a general name means for
    /// this kind.
    #[serde(default)]
    pub(super) copy: BTreeMap<String, String>,
    /// Canonical attributes of a log record that its span has, too: kept aside where there is a span, so that what they
    /// count is counted once.
    #[serde(default)]
    pub(super) left_to_span: Vec<String>,
    /// Canonical attributes that another record of the same thing has, too: kept aside, so that they count once.
    #[serde(default)]
    pub(super) aside: Vec<String>,
    /// Whether the content of a log record belongs to the event of its span.
    #[serde(default)]
    pub(super) joins_span: bool,
}

/// Where content is and how it is laid out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ContentRule {
    /// The attribute's key, the beginning of its keys for indexed shapes, or [`BODY`].
    pub(super) key: String,
    /// How it is laid out.
    pub(super) shape: Shape,
    /// Into the operation or out of it.
    pub(super) direction: Direction,
    /// Who says it, where the content does not tell.
    pub(super) role: Role,
    /// What it is, for shapes that do not tell.
    #[serde(default = "text_part")]
    pub(super) part: Part,
    /// The kinds of event for which this holds; all when empty.
    #[serde(default)]
    pub(super) kinds: Vec<Kind>,
    /// Event names for which this holds; all when empty.
    #[serde(default)]
    pub(super) events: Vec<String>,
    /// Whether this is only read when nothing before it gave content of its direction.
    #[serde(default)]
    pub(super) fallback: bool,
}

/// The key that stands for the body of a log record.
pub(super) const BODY: &str = "@body";

/// How content is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Shape {
    /// One text (what is not a text, as JSON).
    Text,
    /// A list of messages with parts: JSON text or structured.
    GenaiMessages,
    /// One message: the body of a legacy log record.
    GenaiMessage,
    /// A list of parts of one message: JSON text or structured.
    GenaiParts,
    /// What a tool returned: a text, or a message of LangChain that holds it, with the id of its call.
    ToolOutput,
    /// A list of documents: JSON text or structured.
    GenaiDocuments,
    /// A list of tool definitions: JSON text or structured.
    ToolDefinitions,
    /// `PREFIX.N.message.role`, `.message.content`, `.message.tool_calls.K.tool_call.function.name` ...
    OpeninferenceIndexed,
    /// `PREFIX.N.document.content` ...
    OpeninferenceDocuments,
    /// `PREFIX.N.tool.json_schema`.
    OpeninferenceTools,
    /// `PREFIX.N.embedding.text`.
    OpeninferenceEmbeddings,
    /// `PREFIX.N.role`, `.content`, `.tool_calls.K.name` ...
    OpenllmetryIndexed,
    /// `PREFIX.N.name`, `.description`, `.parameters`.
    OpenllmetryFunctions,
    /// `PREFIX.N.document`, `.id`, `.distance` or `.score`.
    OpenllmetryResults,
}

impl Shape {
    /// Whether the content is spread over many keys with a common beginning.
    pub(super) const fn is_indexed(self) -> bool {
        matches!(
            self,
            Self::OpeninferenceIndexed
                | Self::OpeninferenceDocuments
                | Self::OpeninferenceTools
                | Self::OpeninferenceEmbeddings
                | Self::OpenllmetryIndexed
                | Self::OpenllmetryFunctions
                | Self::OpenllmetryResults
        )
    }
}

/// A place in the event that is not an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Slot {
    /// The end user's id.
    User,
    /// The end user's name.
    UserName,
    /// The conversation.
    Session,
    /// The turn.
    Turn,
    /// The agent's id.
    Agent,
    /// The agent's name.
    AgentName,
    /// The agent's version.
    AgentVersion,
    /// The agent for which the agent acts: it handed over, or delegated.
    Delegator,
    /// The client's address.
    ClientAddress,
    /// The client's user agent.
    UserAgent,
    /// How long it took, in milliseconds (log records; spans have their times).
    DurationMs,
}

impl Slot {
    /// How many there are.
    pub(super) const COUNT: usize = 11;
}

fn text_part() -> Part {
    Part::Text
}
