//! Pieces of content: what was said, by whom, and where it stood.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::finding::Finding;
use crate::id::{ContentId, SubjectId};

/// One piece of content of an event: a message part, the arguments of a tool call, a retrieved document.
///
/// `C` is the text itself before recording and a [`ContentRef`] after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(bound(deserialize = "T: Deserialize<'de>, C: Deserialize<'de>"))]
pub struct Piece<T, C = T> {
    /// What the piece is and where it stood.
    #[serde(flatten)]
    pub meta: PieceMeta<T>,
    /// The content, or a reference to it.
    pub content: C,
    /// What inspection found in this piece. Offsets are Unicode code points of the clean text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

/// What a piece of content is and where it stood.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
pub struct PieceMeta<T> {
    /// Whether it went into the operation or came out of it.
    pub direction: Direction,
    /// Who says it.
    pub role: Role,
    /// What it is.
    pub part: Part,
    /// Position of the message in the conversation (or of the document in the result), from 0.
    #[serde(default)]
    pub message: u32,
    /// Whether it repeats what an earlier call of the conversation already brought: input that stands before the
    /// newest turn. Inspected and recorded all the same; only not counted as new.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub history: bool,
    /// Name of the tool, document or participant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<T>,
    /// The id that ties a tool's call to its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<T>,
    /// Similarity score of a retrieved document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Whether the tool reported that it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<bool>,
}

/// Refers to a content that is stored once, beside the event that brought it first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ContentRef {
    /// The salted commitment to the clean text.
    pub id: ContentId,
    /// Whose key gives the salt; destroying it makes the id meaningless.
    pub subject: SubjectId,
    /// Length of the clean text in bytes (UTF-8).
    pub bytes: u32,
}

/// Into the operation, or out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Given to the model, tool or store.
    Input,
    /// Returned by it.
    Output,
}

/// Who says it, in the sense of chat messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The operator: system or developer instructions, tool definitions.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// A tool's result.
    Tool,
    /// A retrieved document.
    Document,
}

/// What a piece of content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Part {
    /// Plain text of a message.
    Text,
    /// The model's reasoning.
    Reasoning,
    /// The arguments of a tool call, as JSON text.
    ToolCall,
    /// The result of a tool call, as text or JSON text.
    ToolResult,
    /// A retrieved document.
    Document,
    /// The query of a retrieval or of a data store.
    Query,
    /// A tool's definition, as JSON text.
    ToolDefinition,
    /// A reference to an image, audio or file (never its bytes).
    Media,
    /// A command line.
    Command,
    /// The body of a log record or anything else that is text.
    Body,
}

/// Where a text entered, which decides what it may rightly contain: an instruction is a request from a user and an
/// attack in a tool's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// From the person.
    User,
    /// From the model.
    Assistant,
    /// From a tool's result, a web page, an e-mail.
    Tool,
    /// From a retrieved document.
    Document,
    /// From the operator.
    System,
}

impl Channel {
    /// The name that JSON, the command line and rules use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
            Self::Document => "document",
            Self::System => "system",
        }
    }

    /// Whether text of this channel comes from outside the conversation's two parties and the operator.
    #[must_use]
    pub const fn is_untrusted(self) -> bool {
        matches!(self, Self::Tool | Self::Document)
    }
}

impl std::str::FromStr for Channel {
    type Err = UnknownChannel;

    fn from_str(name: &str) -> Result<Self, UnknownChannel> {
        [Self::User, Self::Assistant, Self::Tool, Self::Document, Self::System]
            .into_iter()
            .find(|channel| channel.as_str() == name)
            .ok_or(UnknownChannel)
    }
}

/// A channel must be one of the five.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("channel must be one of user, assistant, tool, document, system")]
pub struct UnknownChannel;

impl From<Role> for Channel {
    fn from(role: Role) -> Self {
        match role {
            Role::System => Self::System,
            Role::User => Self::User,
            Role::Assistant => Self::Assistant,
            Role::Tool => Self::Tool,
            Role::Document => Self::Document,
        }
    }
}

impl<T> PieceMeta<T> {
    /// A new piece at the start of a conversation; set the other fields as needed.
    #[must_use]
    pub fn new(direction: Direction, role: Role, part: Part) -> Self {
        Self { direction, role, part, message: 0, history: false, name: None, call_id: None, score: None, failed: None }
    }

    /// Where the text entered. Tool definitions are the operator's even when a server sends them.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.role.into()
    }

    /// The same description with another type of text.
    pub fn map<U>(self, text: &mut impl FnMut(T) -> U) -> PieceMeta<U> {
        PieceMeta {
            direction: self.direction,
            role: self.role,
            part: self.part,
            message: self.message,
            history: self.history,
            name: self.name.map(&mut *text),
            call_id: self.call_id.map(text),
            score: self.score,
            failed: self.failed,
        }
    }
}

impl<T, C> Piece<T, C> {
    /// A piece that nobody has inspected yet.
    #[must_use]
    pub fn new(meta: PieceMeta<T>, content: C) -> Self {
        Self { meta, content, findings: Vec::new() }
    }
}
