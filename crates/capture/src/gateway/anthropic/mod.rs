//! Anthropic messages: the request, the response, the stream.

pub(super) mod batch;
mod stream;

use event::{Attributes, Direction, Key, Part, PieceMeta, Role, Value, attr};
use serde_json::value::RawValue;

use super::decode::{
    DecodeError, Field, ModelRequest, ModelResponse, Pieces, REFUSED, STOP_SEQUENCES, TOP_K, TOP_P, body_object, list,
    map_fields, media_reference, position, session_of,
};
use super::json::{self, Object};
use crate::Raw;

pub use stream::StreamDecoder;

/// Scalars of a request and the attributes that they become.
const REQUEST_FIELDS: &[Field] = &[
    ("temperature", attr::GEN_AI_REQUEST_TEMPERATURE),
    ("max_tokens", attr::GEN_AI_REQUEST_MAX_TOKENS),
    ("top_p", TOP_P),
    ("top_k", TOP_K),
    ("stop_sequences", STOP_SEQUENCES),
    ("service_tier", Key::of("anthropic.request.service_tier")),
];

/// Fields of a request that are read elsewhere.
const REQUEST_HANDLED: &[&str] = &["model", "messages", "system", "stream", "tools", "metadata"];

/// Scalars of a response and the attributes that they become.
const RESPONSE_FIELDS: &[Field] = &[("id", attr::GEN_AI_RESPONSE_ID), ("model", attr::GEN_AI_RESPONSE_MODEL)];

/// Fields of a response that are read elsewhere.
const RESPONSE_HANDLED: &[&str] = &["type", "role", "content", "stop_reason", "stop_sequence", "usage", "error", "request_id"];

/// Reads the body of `POST /v1/messages`.
pub fn decode_request(body: &[u8]) -> Result<ModelRequest, DecodeError> {
    let object = body_object(body)?;
    let mut request = ModelRequest {
        model: object.text("model"),
        stream: object.get("stream").and_then(json::boolean).unwrap_or(false),
        ..ModelRequest::default()
    };
    if let Some(metadata) = object.object("metadata") {
        let user = metadata.text("user_id").map(read_user_id);
        request.session = session_of(&metadata).or_else(|| user.as_ref().and_then(|(_, session)| session.clone()));
        request.user = user.map(|(user, _)| user);
    }
    map_fields(&object, REQUEST_FIELDS, REQUEST_HANDLED, &mut request.attributes, &mut request.unmapped);
    let mut pieces = Pieces::default();
    for tool in object.items("tools") {
        let name = Object::of(tool).and_then(|tool| tool.text("name")).map(Raw::from);
        let meta = PieceMeta { name, ..PieceMeta::new(Direction::Input, Role::System, Part::ToolDefinition) };
        pieces.push(meta, tool.get().to_owned());
    }
    // The system prompt is the first message of the conversation, as it is everywhere else.
    let first = match object.get("system") {
        Some(system) => {
            pieces.message(0, Role::System);
            content(system, Direction::Input, Role::System, 0, &mut pieces);
            1
        }
        None => 0,
    };
    match object.get("messages") {
        Some(messages) => match json::items(messages) {
            Some(messages) => {
                for (index, message) in messages.into_iter().enumerate() {
                    input_message(message, position(index + first), &mut pieces);
                }
            }
            None => pieces.push_unread(Direction::Input, Role::User, position(first), messages),
        },
        None => pieces.note_unmapped(),
    }
    request.pieces = pieces.finish(&mut request.attributes);
    Ok(request)
}

/// Reads the body of a response that came in one piece, an error included.
pub fn decode_response(body: &[u8]) -> Result<ModelResponse, DecodeError> {
    let object = body_object(body)?;
    let mut response = ModelResponse::default();
    map_fields(&object, RESPONSE_FIELDS, RESPONSE_HANDLED, &mut response.attributes, &mut response.unmapped);
    let mut pieces = Pieces::default();
    if let Some(error) = object.get("error") {
        response.error = Some(read_error(error, &mut pieces));
    }
    let mut usage = Usage::default();
    if let Some(object) = object.object("usage") {
        usage.read(&object);
    }
    if let Some(raw) = object.get("content") {
        content(raw, Direction::Output, Role::Assistant, 0, &mut pieces);
    }
    finish(&mut response, object.text("stop_reason"), &usage);
    response.pieces = pieces.finish(&mut response.attributes);
    Ok(response)
}

fn finish(response: &mut ModelResponse, stop_reason: Option<String>, usage: &Usage) {
    if let Some(reason) = stop_reason {
        response.refused |= reason == "refusal";
        response.attributes.insert(attr::GEN_AI_RESPONSE_FINISH_REASONS, list([reason]));
    }
    if response.refused {
        response.attributes.insert(REFUSED, Value::Bool(true));
    }
    usage.write(&mut response.attributes);
}

/// The end user, and the session where the client puts one into `metadata.user_id`: Claude Code writes
/// `user_<hash>_account_<uuid>_session_<uuid>`, later versions a JSON object as text.
fn read_user_id(user_id: String) -> (String, Option<String>) {
    if let Ok(object) = Object::parse(&user_id) {
        let session = object.text("session_id");
        if let Some(user) = object.text("account_uuid").filter(|id| !id.is_empty()).or_else(|| object.text("device_id")) {
            return (user, session);
        }
    }
    match user_id.rsplit_once("_session_") {
        Some((user, session)) if user.starts_with("user_") => (user.to_owned(), Some(session.to_owned())),
        _ => (user_id, None),
    }
}

/// Reads `{"type", "message"}`; the message becomes a piece, the type is returned.
fn read_error(error: &RawValue, pieces: &mut Pieces) -> String {
    let object = Object::of(error);
    let text = |key: &str| object.as_ref().and_then(|object| object.text(key));
    let meta = PieceMeta::new(Direction::Output, Role::System, Part::Body);
    pieces.push(meta, text("message").unwrap_or_else(|| json::text_or_json(error)));
    json::cut_at(text("type").unwrap_or_else(|| "upstream_error".to_owned()), 100).0
}

fn input_message(raw: &RawValue, index: u32, pieces: &mut Pieces) {
    let Some(message) = Object::of(raw) else {
        pieces.message(index, Role::User);
        return pieces.push_unread(Direction::Input, Role::User, index, raw);
    };
    let role = match message.text("role").as_deref() {
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("system") => Role::System,
        _ => {
            pieces.note_unmapped();
            Role::User
        }
    };
    pieces.message(index, role);
    if let Some(raw) = message.get("content") {
        content(raw, Direction::Input, role, index, pieces);
    }
}

/// A text, or content blocks.
fn content(raw: &RawValue, direction: Direction, role: Role, index: u32, pieces: &mut Pieces) {
    if let Some(text) = json::text(raw) {
        return pieces.push(PieceMeta { message: index, ..PieceMeta::new(direction, role, Part::Text) }, text);
    }
    match json::items(raw) {
        Some(blocks) => blocks.into_iter().for_each(|raw| block(raw, direction, role, index, pieces)),
        None => pieces.push_unread(direction, role, index, raw),
    }
}

fn block(raw: &RawValue, direction: Direction, role: Role, index: u32, pieces: &mut Pieces) {
    let Some(block) = Object::of(raw) else {
        return pieces.push_unread(direction, role, index, raw);
    };
    let meta = |role, part| PieceMeta { message: index, ..PieceMeta::new(direction, role, part) };
    let kind = block.text("type").unwrap_or_default();
    let read = match kind.as_str() {
        "text" => block.text("text").map(|text| (meta(role, Part::Text), text)),
        "thinking" => block.text("thinking").map(|text| (meta(role, Part::Reasoning), text)),
        // Encrypted: only that it was there can be told.
        "redacted_thinking" => Some((meta(role, Part::Reasoning), "[redacted_thinking]".to_owned())),
        "image" => block.object("source").map(|source| (meta(role, Part::Media), source_reference(&source))),
        "document" => block.object("source").map(|source| {
            let name = block.text("title").map(Raw::from);
            match source.text("type").as_deref() {
                Some("text") => {
                    (PieceMeta { name, ..meta(Role::Document, Part::Document) }, source.text("data").unwrap_or_default())
                }
                Some("content") => {
                    let text = source.get("content").map(result_text).unwrap_or_default();
                    (PieceMeta { name, ..meta(Role::Document, Part::Document) }, text)
                }
                _ => (PieceMeta { name, ..meta(Role::Document, Part::Media) }, source_reference(&source)),
            }
        }),
        "search_result" => block.get("content").map(|content| {
            let name = block.text("source").map(Raw::from);
            (PieceMeta { name, ..meta(Role::Document, Part::Document) }, result_text(content))
        }),
        "tool_use" | "server_tool_use" | "mcp_tool_use" => {
            let meta = PieceMeta {
                name: block.text("name").map(Raw::from),
                call_id: block.text("id").map(Raw::from),
                ..meta(Role::Assistant, Part::ToolCall)
            };
            Some((meta, block.get("input").map_or_else(|| "{}".to_owned(), |input| input.get().to_owned())))
        }
        // `tool_result`, and what the provider's own tools return: `web_search_tool_result`, `mcp_tool_result` ...
        kind if kind.ends_with("tool_result") => {
            let meta = PieceMeta {
                call_id: block.text("tool_use_id").map(Raw::from),
                failed: block.get("is_error").and_then(json::boolean),
                ..meta(Role::Tool, Part::ToolResult)
            };
            if let Some(content) = block.get("content") {
                media_in(content, &PieceMeta { part: Part::Media, ..meta.clone() }, pieces);
            }
            Some((
                meta,
                block.get("content").map(result_text).filter(|text| !text.is_empty()).unwrap_or_else(|| "null".to_owned()),
            ))
        }
        _ => None,
    };
    match read {
        Some((meta, text)) => pieces.push(meta, text),
        None => pieces.push_unread(direction, role, index, raw),
    }
}

/// The text of a tool's result or of a document: a string as it is, text blocks joined by newlines, anything else as JSON.
fn result_text(raw: &RawValue) -> String {
    if let Some(text) = json::text(raw) {
        return text;
    }
    let Some(blocks) = json::items(raw) else { return raw.get().to_owned() };
    let mut texts = Vec::new();
    for raw in blocks {
        let block = Object::of(raw);
        let kind = block.as_ref().and_then(|block| block.text("type"));
        match (block.as_ref().and_then(|block| block.text("text")), kind.as_deref()) {
            (Some(text), Some("text")) => texts.push(text),
            (_, Some("image")) => {}
            _ => texts.push(raw.get().to_owned()),
        }
    }
    texts.join("\n")
}

/// The pictures in a tool's result.
fn media_in(raw: &RawValue, meta: &PieceMeta<Raw>, pieces: &mut Pieces) {
    for block in json::items(raw).unwrap_or_default().into_iter().filter_map(Object::of) {
        if block.text("type").as_deref() == Some("image")
            && let Some(source) = block.object("source")
        {
            pieces.push(meta.clone(), source_reference(&source));
        }
    }
}

fn source_reference(source: &Object<'_>) -> String {
    if let Some(url) = source.text("url") {
        return media_reference(&url);
    }
    if let Some(file) = source.text("file_id") {
        return format!("file {file}");
    }
    let kind = source.text("media_type").unwrap_or_else(|| "application/octet-stream".to_owned());
    let characters = source.get("data").map_or(0, |data| data.get().len().saturating_sub(2));
    format!("data:{}, {characters} characters", json::cut_at(kind, 100).0)
}

/// Token counts. `input_tokens` of Anthropic leaves out what was read from or written to the cache; OpenTelemetry's
/// counts all of it, so they are added up.
#[derive(Debug, Default)]
struct Usage {
    input: Option<i64>,
    output: Option<i64>,
    cache_read: Option<i64>,
    cache_creation: Option<i64>,
}

impl Usage {
    /// Takes over what an object tells; later events of a stream correct earlier ones.
    fn read(&mut self, usage: &Object<'_>) {
        for (count, key) in [
            (&mut self.input, "input_tokens"),
            (&mut self.output, "output_tokens"),
            (&mut self.cache_read, "cache_read_input_tokens"),
            (&mut self.cache_creation, "cache_creation_input_tokens"),
        ] {
            *count = usage.int(key).or(*count);
        }
    }

    fn write(&self, attributes: &mut Attributes<Raw>) {
        let input = self
            .input
            .map(|input| input.saturating_add(self.cache_read.unwrap_or(0)).saturating_add(self.cache_creation.unwrap_or(0)));
        for (count, key) in [
            (input, attr::GEN_AI_USAGE_INPUT_TOKENS),
            (self.output, attr::GEN_AI_USAGE_OUTPUT_TOKENS),
            (self.cache_read, attr::GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS),
            (self.cache_creation, attr::GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS),
        ] {
            if let Some(count) = count {
                attributes.insert(key, Value::Int(count));
            }
        }
    }
}

#[cfg(test)]
mod tests;
