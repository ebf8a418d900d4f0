//! Requests and notifications: which kind of event each method is, and what its parameters leave in it.

use event::{Key, Kind, Part, PieceMeta, Role, Value, attr};
use serde_json::value::RawValue;

use super::message::Params;
use super::pieces::Pieces;
use super::session::with_pieces;
use super::sides::Side;
use crate::gateway::json::{self, Object};
use crate::{Raw, RawEvent};

/// Attributes of a request that its answer has, too.
pub(super) const SHARED: [Key; 7] = [
    attr::GEN_AI_OPERATION_NAME,
    attr::GEN_AI_TOOL_NAME,
    attr::GEN_AI_TOOL_TYPE,
    attr::GEN_AI_PROMPT_NAME,
    attr::MCP_RESOURCE_URI,
    attr::EVENT_ACTION,
    attr::GEN_AI_DATA_SOURCE_ID,
];

/// Entries of `_meta` that are read elsewhere, or say nothing.
const META_READ: [&str; 5] = [
    "traceparent",
    "progressToken",
    "io.modelcontextprotocol/clientInfo",
    "io.modelcontextprotocol/serverInfo",
    "io.modelcontextprotocol/protocolVersion",
];

/// What a request or notification is about.
pub(super) fn kind(sender: Side, method: &str) -> Kind {
    match (sender, method) {
        (Side::Client, "tools/call") => Kind::ToolCall,
        (
            Side::Client,
            "resources/read"
            | "resources/list"
            | "resources/templates/list"
            | "resources/subscribe"
            | "resources/unsubscribe"
            | "prompts/list",
        ) => Kind::DataAccess,
        (Side::Client, "prompts/get") => Kind::SystemPrompt,
        (Side::Server, "sampling/createMessage") => Kind::ModelCall,
        _ => Kind::AgentStep,
    }
}

/// Puts the parameters into the event.
pub(super) fn request(event: &mut RawEvent, sender: Side, method: &str, params: Params<'_>) {
    let Some(members) = params.object() else {
        if let Some(raw) = params.0 {
            with_pieces(event, |pieces| pieces.value(body(sender), raw));
        }
        return;
    };
    meta(event, &members);
    match (sender, method) {
        (Side::Client, "tools/call") => tool_call(event, &members),
        (Side::Client, "resources/read" | "resources/subscribe" | "resources/unsubscribe") => {
            resource(event, &members, if method == "resources/unsubscribe" { "unsubscribe" } else { "read" });
            rest(event, &members, &["uri"]);
        }
        (Side::Client, "resources/list" | "resources/templates/list" | "prompts/list") => {
            resource(event, &members, "list");
            rest(event, &members, &["uri"]);
        }
        (Side::Client, "prompts/get") => prompt(event, &members),
        (Side::Server, "sampling/createMessage") => sampling(event, &members),
        (Side::Server, "elicitation/create") => {
            with_pieces(event, |pieces| {
                // What a server asks a person is text of the server.
                pieces.push(piece(sender, Role::Tool, Part::Text), members.text("message").unwrap_or_default());
                if let Some(schema) = members.get("requestedSchema") {
                    pieces.value(piece(sender, Role::Tool, Part::Body), schema);
                }
            });
            rest(event, &members, &["message", "requestedSchema"]);
        }
        (Side::Server, "notifications/message") => {
            with_pieces(event, |pieces| {
                if let Some(data) = members.get("data") {
                    pieces.value(piece(sender, Role::Tool, Part::Body), data);
                }
            });
            rest(event, &members, &["data"]);
        }
        _ => generic(event, sender, &members, params),
    }
}

fn tool_call(event: &mut RawEvent, members: &Object<'_>) {
    let name = members.text("name").unwrap_or_default();
    event.name = Raw::from(format!("tools/call {name}"));
    event.set(attr::GEN_AI_OPERATION_NAME, "execute_tool");
    event.set(attr::GEN_AI_TOOL_TYPE, "mcp");
    event.set(attr::GEN_AI_TOOL_NAME, name.as_str());
    with_pieces(event, |pieces| {
        if let Some(arguments) = members.get("arguments") {
            let meta = PieceMeta { name: Some(Raw::from(name.as_str())), ..piece(Side::Client, Role::Assistant, Part::ToolCall) };
            pieces.value(meta, arguments);
        }
    });
    rest(event, members, &["name", "arguments", "inputResponses"]);
}

fn resource(event: &mut RawEvent, members: &Object<'_>, action: &str) {
    event.set(attr::EVENT_ACTION, action);
    let server = event.attributes.get(attr::MCP_PROXY_SERVER.as_str()).cloned();
    if let Some(server) = server {
        event.attributes.insert(attr::GEN_AI_DATA_SOURCE_ID, server);
    }
    if let Some(uri) = members.text("uri") {
        event.set(attr::MCP_RESOURCE_URI, uri.as_str());
    }
}

fn prompt(event: &mut RawEvent, members: &Object<'_>) {
    let name = members.text("name").unwrap_or_default();
    event.name = Raw::from(format!("prompts/get {name}"));
    event.set(attr::GEN_AI_PROMPT_NAME, name.as_str());
    event.set(attr::EVENT_ACTION, "read");
    event.set(attr::ADMIN_OBJECT, name.as_str());
    with_pieces(event, |pieces| {
        if let Some(arguments) = members.get("arguments") {
            pieces.value(piece(Side::Client, Role::User, Part::Body), arguments);
        }
    });
    rest(event, members, &["name", "arguments", "inputResponses"]);
}

/// A server that asks the client's model: the prompt is the server's.
fn sampling(event: &mut RawEvent, members: &Object<'_>) {
    event.set(attr::GEN_AI_OPERATION_NAME, "chat");
    event.set(attr::GEN_AI_REQUEST_STREAM, false);
    if let Some(tokens) = members.int("maxTokens") {
        event.set(attr::GEN_AI_REQUEST_MAX_TOKENS, tokens);
    }
    if let Some(temperature) = members.get("temperature").and_then(json::number) {
        event.attributes.insert(attr::GEN_AI_REQUEST_TEMPERATURE, Value::double(temperature));
    }
    with_pieces(event, |pieces| {
        let meta = |role, part| PieceMeta::new(event::Direction::Input, role, part);
        pieces.push(meta(Role::System, Part::Text), members.text("systemPrompt").unwrap_or_default());
        for raw in members.items("tools") {
            let name = Object::of(raw).and_then(|tool| tool.text("name")).map(Raw::from);
            pieces.value(PieceMeta { name, ..meta(Role::System, Part::ToolDefinition) }, raw);
        }
        messages(pieces, &members.items("messages"), event::Direction::Input);
    });
    rest(event, members, &["systemPrompt", "messages", "maxTokens", "temperature", "tools"]);
}

/// Messages of a prompt or of sampling: a role and one content block, or several.
pub(super) fn messages(pieces: &mut Pieces, messages: &[&RawValue], direction: event::Direction) {
    for (index, raw) in messages.iter().enumerate() {
        let Some(message) = Object::of(raw) else { continue };
        let role = if message.text("role").as_deref() == Some("assistant") { Role::Assistant } else { Role::User };
        let meta = PieceMeta { message: u32::try_from(index).unwrap_or(u32::MAX), ..PieceMeta::new(direction, role, Part::Text) };
        let Some(content) = message.get("content") else { continue };
        match json::items(content) {
            Some(blocks) => pieces.blocks(&meta, &blocks),
            None => pieces.blocks(&meta, &[content]),
        }
    }
}

/// What no method that is known has: kept whole, as text.
fn generic(event: &mut RawEvent, sender: Side, members: &Object<'_>, params: Params<'_>) {
    let says_something = members.entries().any(|(key, _)| key != "_meta");
    if let (true, Some(raw)) = (says_something, params.0) {
        with_pieces(event, |pieces| pieces.value(body(sender), raw));
    }
}

/// Parameters beyond those that were read.
fn rest(event: &mut RawEvent, members: &Object<'_>, read: &[&str]) {
    for (key, raw) in members.entries().filter(|(key, _)| *key != "_meta" && !read.contains(key)) {
        keep(event, key, raw);
    }
}

fn meta(event: &mut RawEvent, members: &Object<'_>) {
    let Some(meta) = members.object("_meta") else { return };
    for (key, raw) in meta.entries().filter(|(key, _)| !META_READ.contains(key)) {
        keep(event, &format!("_meta.{key}"), raw);
    }
}

fn keep(event: &mut RawEvent, key: &str, raw: &RawValue) {
    if event.unmapped.len() < event::limits::ATTRIBUTES_MAX / 2 {
        event.unmapped.insert(Raw::from(key), json::value(raw));
    }
    crate::bound::add(&mut event.attributes, attr::UNMAPPED_COUNT, 1);
}

fn body(sender: Side) -> PieceMeta<Raw> {
    piece(sender, if sender == Side::Client { Role::Assistant } else { Role::Tool }, Part::Body)
}

fn piece(sender: Side, role: Role, part: Part) -> PieceMeta<Raw> {
    PieceMeta::new(sender.direction(), role, part)
}
