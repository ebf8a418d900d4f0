//! Amazon Bedrock: Converse and its stream. `InvokeModel`, whose bodies are the model's own, is in [`invoke`].

pub mod event_stream;
pub mod invoke;

use std::collections::BTreeMap;

use event::{Direction, Key, Part, PieceMeta, Role, Value, attr};
use serde_json::value::RawValue;

use super::api::StreamDecode;
use super::decode::{
    DecodeError, MALFORMED_EVENTS, ModelRequest, ModelResponse, Pieces, Progress, REFUSED, STOP_SEQUENCES, TOP_P, Text, add,
    body_object, list, map_fields, position, session_of,
};
use super::json::{self, Object};
use super::shape::each;
use crate::Raw;

/// Most content blocks of one response that are put together.
const BLOCKS_MAX: usize = 4_096;

/// Paths below `inferenceConfig` and the attributes that they become.
const CONFIG: &[(&str, Key)] = &[
    ("temperature", attr::GEN_AI_REQUEST_TEMPERATURE),
    ("topP", TOP_P),
    ("maxTokens", attr::GEN_AI_REQUEST_MAX_TOKENS),
    ("stopSequences", STOP_SEQUENCES),
];

const REQUEST_HANDLED: &[&str] = &["messages", "system", "inferenceConfig", "toolConfig", "requestMetadata"];

const RESPONSE_HANDLED: &[&str] = &["output", "stopReason", "usage", "metrics", "message", "Message", "__type"];

const USAGE: &[(&str, Key)] = &[
    ("usage.inputTokens", attr::GEN_AI_USAGE_INPUT_TOKENS),
    ("usage.outputTokens", attr::GEN_AI_USAGE_OUTPUT_TOKENS),
    ("usage.cacheReadInputTokens", attr::GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS),
    ("usage.cacheWriteInputTokens", attr::GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS),
];

/// Reads the body of `converse` and `converse-stream`.
pub fn decode_request(body: &[u8]) -> Result<ModelRequest, DecodeError> {
    let object = body_object(body)?;
    let mut request =
        ModelRequest { session: object.object("requestMetadata").as_ref().and_then(session_of), ..ModelRequest::default() };
    map_fields(&object, &[], REQUEST_HANDLED, &mut request.attributes, &mut request.unmapped);
    if let Some(config) = object.object("inferenceConfig") {
        for (name, key) in CONFIG {
            if let Some(raw) = config.get(name) {
                request.attributes.insert(key.clone(), json::value(raw));
            }
        }
    }
    let mut pieces = Pieces::default();
    each(&object, "toolConfig.tools[]", &mut |_, raw| {
        let name = Object::of(raw).and_then(|tool| tool.object("toolSpec")).and_then(|spec| spec.text("name"));
        let meta =
            PieceMeta { name: name.map(Raw::from), ..PieceMeta::new(Direction::Input, Role::System, Part::ToolDefinition) };
        pieces.push(meta, raw.get().to_owned());
    });
    let mut first = 0;
    let system = object.items("system");
    if !system.is_empty() {
        pieces.message(0, Role::System);
        first = 1;
    }
    for raw in system {
        block(raw, Direction::Input, Role::System, 0, &mut pieces);
    }
    for (index, raw) in object.items("messages").into_iter().enumerate() {
        let index = position(index).saturating_add(first);
        let Some(message) = Object::of(raw) else {
            pieces.push_unread(Direction::Input, Role::User, index, raw);
            continue;
        };
        let role = if message.text("role").as_deref() == Some("assistant") { Role::Assistant } else { Role::User };
        pieces.message(index, role);
        for raw in message.items("content") {
            block(raw, Direction::Input, role, index, &mut pieces);
        }
    }
    request.pieces = pieces.finish(&mut request.attributes);
    Ok(request)
}

/// Reads an answer that came in one piece, an error included.
pub fn decode_response(body: &[u8]) -> Result<ModelResponse, DecodeError> {
    let object = body_object(body)?;
    let mut response = ModelResponse::default();
    map_fields(&object, &[], RESPONSE_HANDLED, &mut response.attributes, &mut response.unmapped);
    let mut pieces = Pieces::default();
    read_error(&object, &mut response, &mut pieces);
    each(&object, "output.message.content[]", &mut |_, raw| block(raw, Direction::Output, Role::Assistant, 0, &mut pieces));
    counts(&object, &mut response);
    finish(&mut response, object.text("stopReason"));
    response.pieces = pieces.finish(&mut response.attributes);
    Ok(response)
}

/// An error of AWS: `{"message"}`, at times with `__type`.
pub(super) fn read_error(object: &Object<'_>, response: &mut ModelResponse, pieces: &mut Pieces) {
    let message = object.text("message").or_else(|| object.text("Message"));
    if object.get("output").is_none()
        && let Some(message) = message
    {
        pieces.push(PieceMeta::new(Direction::Output, Role::System, Part::Body), message);
        // `com.amazon.coral.service#ThrottlingException`
        let kind = object.text("__type").map(|kind| kind.rsplit('#').next().unwrap_or_default().to_owned());
        response.error = Some(json::cut_at(kind.unwrap_or_else(|| "upstream_error".to_owned()), 100).0);
    }
}

fn counts(object: &Object<'_>, response: &mut ModelResponse) {
    for (path, key) in USAGE {
        each(object, path, &mut |_, raw| {
            if let Some(count) = json::int(raw) {
                response.attributes.insert(key.clone(), Value::Int(count));
            }
        });
    }
}

fn finish(response: &mut ModelResponse, reason: Option<String>) {
    if let Some(reason) = reason {
        response.refused |= matches!(reason.as_str(), "guardrail_intervened" | "content_filtered");
        response.attributes.insert(attr::GEN_AI_RESPONSE_FINISH_REASONS, list([json::cut_at(reason, 100).0]));
    }
    if response.refused {
        response.attributes.insert(REFUSED, Value::Bool(true));
    }
}

/// A content block: what it is stands in the name of its only field.
fn block(raw: &RawValue, direction: Direction, role: Role, index: u32, pieces: &mut Pieces) {
    let meta = |role, part| PieceMeta { message: index, ..PieceMeta::new(direction, role, part) };
    let object = Object::of(raw);
    let field = object.as_ref().and_then(|object| object.entries().next().map(|(name, value)| (name.to_owned(), value)));
    let Some((field, inner)) = field else {
        return pieces.push_unread(direction, role, index, raw);
    };
    let inside = Object::of(inner);
    let text = |key: &str| inside.as_ref().and_then(|inside| inside.text(key));
    match field.as_str() {
        "text" => pieces.push(meta(role, Part::Text), json::text_or_json(inner)),
        "toolUse" => {
            let meta = PieceMeta {
                name: text("name").map(Raw::from),
                call_id: text("toolUseId").map(Raw::from),
                ..meta(Role::Assistant, Part::ToolCall)
            };
            let input = inside.as_ref().and_then(|inside| inside.get("input"));
            pieces.push(meta, input.map_or_else(|| "{}".to_owned(), |input| input.get().to_owned()));
        }
        "toolResult" => {
            let meta = PieceMeta {
                call_id: text("toolUseId").map(Raw::from),
                failed: text("status").map(|status| status == "error"),
                ..meta(Role::Tool, Part::ToolResult)
            };
            let Some(inside) = inside else { return pieces.push_unread(direction, role, index, raw) };
            let mut texts = Vec::new();
            for part in inside.items("content") {
                let object = Object::of(part);
                match object.as_ref().map(|part| (part.text("text"), part.get("json"))) {
                    Some((Some(text), _)) => texts.push(text),
                    Some((None, Some(json))) => texts.push(json.get().to_owned()),
                    _ => pieces.push(PieceMeta { part: Part::Media, ..meta.clone() }, source(object.as_ref())),
                }
            }
            pieces.push(meta, if texts.is_empty() { "null".to_owned() } else { texts.join("\n") });
        }
        "reasoningContent" => {
            let said = inside.and_then(|inside| inside.object("reasoningText")).and_then(|reasoning| reasoning.text("text"));
            // Encrypted: only that it was there can be told.
            pieces.push(meta(role, Part::Reasoning), said.unwrap_or_else(|| "[redacted reasoning]".to_owned()));
        }
        "guardContent" => {
            let said = inside.and_then(|inside| inside.object("text")).and_then(|text| text.text("text"));
            pieces.push(meta(role, Part::Text), said.unwrap_or_else(|| inner.get().to_owned()));
        }
        "image" | "video" | "audio" => pieces.push(meta(role, Part::Media), format!("{field} {}", source(inside.as_ref()))),
        "document" => {
            let name = text("name").map(Raw::from);
            let mut said = None;
            if let Some(inside) = &inside {
                each(inside, "source.text", &mut |_, raw| said = json::text(raw));
            }
            match said {
                Some(said) => pieces.push(PieceMeta { name, ..meta(Role::Document, Part::Document) }, said),
                None => pieces.push(
                    PieceMeta { name, ..meta(Role::Document, Part::Media) },
                    format!("document {}", source(inside.as_ref())),
                ),
            }
        }
        "cachePoint" => {}
        _ => pieces.push_unread(direction, role, index, raw),
    }
}

/// `{"format", "source": {"bytes"} | {"s3Location": {"uri"}}}`: never the bytes.
fn source(object: Option<&Object<'_>>) -> String {
    let Some(object) = object else { return "unread".to_owned() };
    let format = json::cut_at(object.text("format").unwrap_or_default(), 100).0;
    let mut place = None;
    each(object, "source.s3Location.uri", &mut |_, raw| place = json::text(raw));
    let mut characters = 0;
    each(object, "source.bytes", &mut |_, raw| characters = raw.get().len().saturating_sub(2));
    place.unwrap_or_else(|| format!("{format}, {characters} characters"))
}

/// Puts the events of a streamed answer together. An event's name is its type.
#[derive(Debug, Default)]
pub struct StreamDecoder {
    response: ModelResponse,
    blocks: BTreeMap<i64, Block>,
    stop_reason: Option<String>,
    pieces: Pieces,
    malformed: usize,
    dropped: usize,
}

#[derive(Debug, Default)]
struct Block {
    name: Option<String>,
    call_id: Option<String>,
    text: Text,
    reasoning: Text,
    input: Text,
}

impl StreamDecode for StreamDecoder {
    fn event(&mut self, name: &[u8], data: &[u8]) -> Progress {
        let Some(object) = std::str::from_utf8(data).ok().and_then(|text| Object::parse(text).ok()) else {
            self.malformed += 1;
            let text = String::from_utf8_lossy(data).into_owned();
            self.pieces.push(PieceMeta::new(Direction::Output, Role::Assistant, Part::Body), text);
            return Progress::More;
        };
        match name {
            b"contentBlockStart" | b"contentBlockDelta" => self.block(&object),
            b"messageStop" => self.stop_reason = object.text("stopReason"),
            b"metadata" => {
                counts(&object, &mut self.response);
                return Progress::Last;
            }
            b"messageStart" | b"contentBlockStop" => {}
            _ => {
                read_error(&object, &mut self.response, &mut self.pieces);
                if self.response.error.is_some() && self.response.error.as_deref() == Some("upstream_error") {
                    // The name of an exception is that of its event.
                    let kind = String::from_utf8_lossy(name).into_owned();
                    self.response.error = Some(json::cut_at(kind, 100).0);
                }
            }
        }
        Progress::More
    }

    fn is_last(&self, name: &[u8], _data: &[u8]) -> bool {
        name == b"metadata"
    }

    fn has_finished(&self) -> bool {
        self.stop_reason.is_some()
    }

    fn take(&mut self) -> ModelResponse {
        let this = std::mem::take(self);
        let (mut response, mut pieces) = (this.response, this.pieces);
        for mut block in this.blocks.into_values() {
            let meta = |part| PieceMeta::new(Direction::Output, Role::Assistant, part);
            pieces.push_text(meta(Part::Reasoning), &mut block.reasoning);
            pieces.push_text(meta(Part::Text), &mut block.text);
            if block.name.is_some() || !block.input.is_empty() {
                if block.input.is_empty() {
                    block.input.add("{}");
                }
                let meta =
                    PieceMeta { name: block.name.map(Raw::from), call_id: block.call_id.map(Raw::from), ..meta(Part::ToolCall) };
                pieces.push_text(meta, &mut block.input);
            }
        }
        pieces.note_dropped(this.dropped);
        finish(&mut response, this.stop_reason);
        add(&mut response.attributes, MALFORMED_EVENTS, this.malformed);
        response.malformed_events = this.malformed as u64;
        response.pieces = pieces.finish(&mut response.attributes);
        response
    }
}

impl StreamDecoder {
    fn block(&mut self, object: &Object<'_>) {
        let index = object.int("contentBlockIndex").unwrap_or(0);
        if self.blocks.len() >= BLOCKS_MAX && !self.blocks.contains_key(&index) {
            self.dropped += 1;
            return;
        }
        let block = self.blocks.entry(index).or_default();
        if let Some(tool) = object.object("start").and_then(|start| start.object("toolUse")) {
            block.name = tool.text("name").map(|name| json::cut_at(name, 1_024).0);
            block.call_id = tool.text("toolUseId").map(|id| json::cut_at(id, 1_024).0);
        }
        for (text, path) in [
            (&mut block.text, "delta.text"),
            (&mut block.reasoning, "delta.reasoningContent.text"),
            (&mut block.input, "delta.toolUse.input"),
        ] {
            each(object, path, &mut |_, raw| {
                if let Some(more) = json::text(raw) {
                    text.add(&more);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests;
