//! OpenAI responses: items in, items out, and their stream.

use std::collections::BTreeMap;

use event::{Attributes, Direction, Key, Part, PieceMeta, Role, Value, attr};
use serde_json::value::RawValue;

use super::super::api::StreamDecode;
use super::super::decode::{
    DecodeError, Field, MALFORMED_EVENTS, ModelRequest, ModelResponse, OUTPUT_TYPE, Pieces, Progress, REFUSED, TOP_P, Text, add,
    body_object, list, map_fields, position, session_of,
};
use super::super::json::{self, Object};
use super::super::shape::{each, media_text};
use super::{content_parts, read_error, tool_definition};
use crate::Raw;

/// Most items of one response that a stream is put together from.
const ITEMS_MAX: usize = 4_096;

const REQUEST_FIELDS: &[Field] = &[
    ("temperature", attr::GEN_AI_REQUEST_TEMPERATURE),
    ("max_output_tokens", attr::GEN_AI_REQUEST_MAX_TOKENS),
    ("top_p", TOP_P),
    ("top_logprobs", Key::of("watchkeeper.request.top_logprobs")),
    ("service_tier", Key::of("openai.request.service_tier")),
];

const REQUEST_HANDLED: &[&str] =
    &["model", "input", "instructions", "stream", "stream_options", "user", "safety_identifier", "tools", "text", "conversation"];

const RESPONSE_FIELDS: &[Field] = &[
    ("id", attr::GEN_AI_RESPONSE_ID),
    ("model", attr::GEN_AI_RESPONSE_MODEL),
    ("service_tier", Key::of("openai.response.service_tier")),
];

/// Fields of a response that are read elsewhere, or that repeat the request.
const RESPONSE_HANDLED: &[&str] = &[
    "object",
    "created_at",
    "completed_at",
    "output",
    "usage",
    "error",
    "status",
    "incomplete_details",
    "instructions",
    "tools",
    "text",
    "temperature",
    "top_p",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "previous_response_id",
    "reasoning",
    "store",
    "tool_choice",
    "top_logprobs",
    "truncation",
    "user",
    "safety_identifier",
    "background",
    "input_tokens",
    // Of the realtime API.
    "status_details",
    "conversation_id",
    "modalities",
    "output_modalities",
    "voice",
    "audio",
    "output_audio_format",
];

/// How an item that is no message is read: its type, what it is, where its text stands, its tool's name, its id. An item that brings
/// a call and its result stands twice.
struct Item {
    kind: &'static str,
    part: Part,
    text: &'static str,
    tool: Tool,
    call_id: &'static str,
}

/// Where a tool's name stands.
enum Tool {
    At(&'static str),
    Named(&'static str),
}

const fn call(kind: &'static str, text: &'static str, tool: Tool, call_id: &'static str) -> Item {
    Item { kind, part: Part::ToolCall, text, tool, call_id }
}

const fn result(kind: &'static str, text: &'static str, tool: Tool, call_id: &'static str) -> Item {
    Item { kind, part: Part::ToolResult, text, tool, call_id }
}

static ITEMS: &[Item] = &[
    call("function_call", "arguments", Tool::At("name"), "call_id"),
    result("function_call_output", "output", Tool::At("name"), "call_id"),
    call("custom_tool_call", "input", Tool::At("name"), "call_id"),
    result("custom_tool_call_output", "output", Tool::At("name"), "call_id"),
    call("mcp_call", "arguments", Tool::At("name"), "id"),
    result("mcp_call", "output", Tool::At("name"), "id"),
    result("mcp_call", "error", Tool::At("name"), "id"),
    call("mcp_approval_request", "arguments", Tool::At("name"), "id"),
    call("web_search_call", "action", Tool::Named("web_search"), "id"),
    call("file_search_call", "queries", Tool::Named("file_search"), "id"),
    result("file_search_call", "results", Tool::Named("file_search"), "id"),
    call("code_interpreter_call", "code", Tool::Named("code_interpreter"), "id"),
    result("code_interpreter_call", "outputs", Tool::Named("code_interpreter"), "id"),
    call("computer_call", "action", Tool::Named("computer"), "call_id"),
    call("computer_call", "actions", Tool::Named("computer"), "call_id"),
    call("local_shell_call", "action", Tool::Named("local_shell"), "call_id"),
    result("local_shell_call_output", "output", Tool::Named("local_shell"), "id"),
    call("shell_call", "action", Tool::Named("shell"), "call_id"),
    result("shell_call_output", "output", Tool::Named("shell"), "call_id"),
    call("apply_patch_call", "operation", Tool::Named("apply_patch"), "call_id"),
    result("apply_patch_call_output", "output", Tool::Named("apply_patch"), "call_id"),
    call("program", "code", Tool::Named("program"), "call_id"),
    result("program_output", "result", Tool::Named("program"), "call_id"),
    call("tool_search_call", "arguments", Tool::Named("tool_search"), "call_id"),
    call("image_generation_call", "revised_prompt", Tool::Named("image_generation"), "id"),
    Item {
        kind: "image_generation_call",
        part: Part::Media,
        text: "result",
        tool: Tool::Named("image_generation"),
        call_id: "id",
    },
    Item {
        kind: "computer_call_output",
        part: Part::Media,
        text: "output.image_url",
        tool: Tool::Named("computer"),
        call_id: "call_id",
    },
    Item {
        kind: "computer_call_output",
        part: Part::Media,
        text: "output.file_id",
        tool: Tool::Named("computer"),
        call_id: "call_id",
    },
    Item { kind: "mcp_list_tools", part: Part::ToolDefinition, text: "tools[]", tool: Tool::At("server_label"), call_id: "id" },
    Item {
        kind: "tool_search_output",
        part: Part::ToolDefinition,
        text: "tools[]",
        tool: Tool::Named("tool_search"),
        call_id: "call_id",
    },
    Item {
        kind: "additional_tools",
        part: Part::ToolDefinition,
        text: "tools[]",
        tool: Tool::Named("additional_tools"),
        call_id: "id",
    },
    Item { kind: "reasoning", part: Part::Reasoning, text: "summary[].text", tool: Tool::Named(""), call_id: "id" },
    Item { kind: "reasoning", part: Part::Reasoning, text: "content[].text", tool: Tool::Named(""), call_id: "id" },
];

/// Items without anything to read: references, and what only the provider can open.
const SILENT: &[&str] = &["item_reference", "compaction", "compaction_trigger", "reasoning", "configuration_update"];

/// Reads the body of `POST /v1/responses`.
pub fn decode_request(body: &[u8]) -> Result<ModelRequest, DecodeError> {
    let object = body_object(body)?;
    // A conversation is named by its id, or is an object with one.
    let conversation = || object.text("conversation").or_else(|| object.object("conversation")?.text("id"));
    let mut request = ModelRequest {
        model: object.text("model"),
        stream: object.get("stream").and_then(json::boolean).unwrap_or(false),
        user: object.text("user").or_else(|| object.text("safety_identifier")),
        session: object.object("metadata").as_ref().and_then(session_of).or_else(conversation),
        ..ModelRequest::default()
    };
    map_fields(&object, REQUEST_FIELDS, REQUEST_HANDLED, &mut request.attributes, &mut request.unmapped);
    let format = object.object("text").and_then(|text| text.object("format")).and_then(|format| format.text("type"));
    if let Some(format) = format {
        request.attributes.insert(OUTPUT_TYPE, if format.starts_with("json") { "json" } else { "text" }.into());
    }
    let mut pieces = Pieces::default();
    for tool in object.items("tools") {
        tool_definition(tool, &mut pieces);
    }
    let mut first = 0;
    if let Some(instructions) = object.get("instructions") {
        pieces.message(0, Role::System);
        pieces.push(PieceMeta::new(Direction::Input, Role::System, Part::Text), json::text_or_json(instructions));
        first = 1;
    }
    if let Some(input) = object.get("input") {
        match (json::text(input), json::items(input)) {
            (Some(text), _) => {
                pieces.message(first, Role::User);
                pieces.push(PieceMeta { message: first, ..PieceMeta::new(Direction::Input, Role::User, Part::Text) }, text);
            }
            (None, Some(items)) => {
                for (index, raw) in items.into_iter().enumerate() {
                    item(raw, Direction::Input, position(index).saturating_add(first), &mut pieces);
                }
            }
            (None, None) => pieces.push_unread(Direction::Input, Role::User, first, input),
        }
    }
    request.pieces = pieces.finish(&mut request.attributes);
    Ok(request)
}

/// Reads a response that came in one piece, an error included.
pub fn decode_response(body: &[u8]) -> Result<ModelResponse, DecodeError> {
    Ok(read_response(&body_object(body)?))
}

/// Reads the object of a response.
pub(in super::super) fn read_response(object: &Object<'_>) -> ModelResponse {
    let mut response = ModelResponse::default();
    map_fields(object, RESPONSE_FIELDS, RESPONSE_HANDLED, &mut response.attributes, &mut response.unmapped);
    let mut pieces = Pieces::default();
    let details = object.object("status_details");
    if let Some(error) = object.get("error").or_else(|| details.as_ref().and_then(|details| details.get("error"))) {
        response.error = Some(read_error(error, &mut pieces));
    }
    read_usage(object, &mut response.attributes);
    for (index, raw) in object.items("output").into_iter().enumerate() {
        response.refused |= item(raw, Direction::Output, position(index), &mut pieces);
    }
    let reason = object.object("incomplete_details").or(details).and_then(|details| details.text("reason"));
    let reason = reason.or_else(|| object.text("status"));
    finish(&mut response, reason);
    response.pieces = pieces.finish(&mut response.attributes);
    response
}

fn finish(response: &mut ModelResponse, reason: Option<String>) {
    response.refused |= reason.as_deref() == Some("content_filter");
    if let Some(reason) = reason {
        response.attributes.insert(attr::GEN_AI_RESPONSE_FINISH_REASONS, list([json::cut_at(reason, 100).0]));
    }
    if response.refused {
        response.attributes.insert(REFUSED, Value::Bool(true));
    }
}

pub(in super::super) fn read_usage(object: &Object<'_>, attributes: &mut Attributes<Raw>) {
    for (path, key) in [
        // `POST /v1/responses/input_tokens` counts at the top.
        ("input_tokens", attr::GEN_AI_USAGE_INPUT_TOKENS),
        ("usage.input_tokens", attr::GEN_AI_USAGE_INPUT_TOKENS),
        ("usage.output_tokens", attr::GEN_AI_USAGE_OUTPUT_TOKENS),
        ("usage.input_tokens_details.cached_tokens", attr::GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS),
        ("usage.input_token_details.cached_tokens", attr::GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS),
        ("usage.input_tokens_details.cache_write_tokens", attr::GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS),
        ("usage.output_tokens_details.reasoning_tokens", attr::GEN_AI_USAGE_REASONING_OUTPUT_TOKENS),
    ] {
        each(object, path, &mut |_, raw| {
            if let Some(count) = json::int(raw) {
                attributes.insert(key.clone(), Value::Int(count));
            }
        });
    }
}

/// Reads an item of a conversation; whether the model refused in it.
pub(in super::super) fn item(raw: &RawValue, direction: Direction, index: u32, pieces: &mut Pieces) -> bool {
    let Some(object) = Object::of(raw) else {
        pieces.push_unread(direction, Role::User, index, raw);
        return false;
    };
    let kind = object.text("type");
    let kind = kind.as_deref().unwrap_or(if object.get("role").is_some() { "message" } else { "" });
    if kind == "message" {
        return message(&object, direction, index, pieces);
    }
    let mut is_read = SILENT.contains(&kind);
    for known in ITEMS.iter().filter(|known| known.kind == kind) {
        is_read = true;
        let role = match known.part {
            Part::ToolResult | Part::Media => Role::Tool,
            Part::ToolDefinition => Role::System,
            _ => Role::Assistant,
        };
        if direction == Direction::Input {
            pieces.message(index, role);
        }
        let name = match known.tool {
            Tool::At(field) => object.text(field),
            Tool::Named(name) => (!name.is_empty()).then(|| name.to_owned()),
        };
        let meta = PieceMeta {
            message: index,
            name: name.map(Raw::from),
            call_id: object.text(known.call_id).filter(|_| known.part != Part::Reasoning).map(Raw::from),
            failed: (known.text == "error").then_some(true),
            ..PieceMeta::new(direction, role, known.part)
        };
        let mut found = false;
        each(&object, known.text, &mut |_, raw| {
            found = true;
            let text = match known.part {
                Part::Media => media_text(raw),
                Part::ToolResult => result_text(raw),
                _ => json::text_or_json(raw),
            };
            pieces.push(meta.clone(), text);
        });
        // A call whose arguments are not there is still a call.
        if !found && known.part == Part::ToolCall && !ITEMS.iter().any(|other| other.kind == kind && other.text != known.text) {
            pieces.push(meta, "{}".to_owned());
        }
    }
    if !is_read {
        pieces.push_unread(direction, Role::Assistant, index, raw);
    }
    false
}

fn message(object: &Object<'_>, direction: Direction, index: u32, pieces: &mut Pieces) -> bool {
    let role = match object.text("role").as_deref() {
        Some("system" | "developer") => Role::System,
        Some("assistant") => Role::Assistant,
        Some("tool") => Role::Tool,
        _ => Role::User,
    };
    if direction == Direction::Input {
        pieces.message(index, role);
    }
    content_parts(object, &PieceMeta { message: index, ..PieceMeta::new(direction, role, Part::Text) }, pieces);
    let parts = object.items("content").into_iter().filter_map(Object::of);
    parts.into_iter().any(|part| part.text("type").as_deref() == Some("refusal"))
}

/// The output of a tool: a text as it is, text parts joined, anything else as JSON.
fn result_text(raw: &RawValue) -> String {
    if let Some(text) = json::text(raw) {
        return text;
    }
    let Some(parts) = json::items(raw) else { return raw.get().to_owned() };
    let texts =
        parts.iter().map(|part| Object::of(part).filter(|part| part.get("text").is_some()).and_then(|part| part.text("text")));
    match texts.collect::<Option<Vec<_>>>() {
        Some(texts) if !texts.is_empty() => texts.join("\n"),
        _ => raw.get().to_owned(),
    }
}

/// Puts the events of a streamed response together: the final event brings all of it; until then, items that are done, and the deltas
/// of those that are not.
#[derive(Debug, Default)]
pub struct StreamDecoder {
    head: Option<ModelResponse>,
    items: BTreeMap<i64, Begun>,
    end: Option<ModelResponse>,
    error: Option<(String, Pieces)>,
    malformed: usize,
    dropped: usize,
    unread: Pieces,
}

/// An item that has begun.
#[derive(Debug)]
struct Begun {
    /// As it was announced, or, when it is done, as it is.
    raw: Box<RawValue>,
    done: bool,
    text: Text,
    arguments: Text,
    reasoning: Text,
}

/// The end of an event's type, and what its `delta` belongs to.
const DELTAS: &[(&str, DeltaOf)] = &[
    ("output_text.delta", DeltaOf::Text),
    ("response.text.delta", DeltaOf::Text),
    ("refusal.delta", DeltaOf::Text),
    ("audio_transcript.delta", DeltaOf::Text),
    ("audio.transcript.delta", DeltaOf::Text),
    ("reasoning_summary_text.delta", DeltaOf::Reasoning),
    ("reasoning_text.delta", DeltaOf::Reasoning),
    ("function_call_arguments.delta", DeltaOf::Arguments),
    ("mcp_call_arguments.delta", DeltaOf::Arguments),
    ("custom_tool_call_input.delta", DeltaOf::Arguments),
    ("code_interpreter_call_code.delta", DeltaOf::Arguments),
];

#[derive(Debug, Clone, Copy)]
enum DeltaOf {
    Text,
    Reasoning,
    Arguments,
}

/// Events after which nothing follows.
const LAST: &[&str] = &["response.completed", "response.failed", "response.incomplete", "response.done", "error"];

impl StreamDecode for StreamDecoder {
    fn event(&mut self, _name: &[u8], data: &[u8]) -> Progress {
        if data == b"[DONE]" {
            return Progress::Last;
        }
        let object = std::str::from_utf8(data).ok().and_then(|text| Object::parse(text).ok());
        let kind = object.as_ref().and_then(|object| object.text("type"));
        let (Some(object), Some(kind)) = (object, kind) else {
            self.malformed += 1;
            let text = String::from_utf8_lossy(data).into_owned();
            self.unread.push(PieceMeta::new(Direction::Output, Role::Assistant, Part::Body), text);
            return Progress::More;
        };
        let index = object.int("output_index").unwrap_or(0);
        match kind.as_str() {
            "response.created" | "response.queued" | "response.in_progress" => {
                self.head = object.object("response").map(|response| read_response(&response));
            }
            "response.completed" | "response.failed" | "response.incomplete" | "response.done" => {
                self.end = object.object("response").map(|response| read_response(&response));
            }
            "error" => {
                let mut pieces = Pieces::default();
                let inner = object.get("error");
                let kind = match inner {
                    Some(error) => read_error(error, &mut pieces),
                    None => {
                        pieces.push(
                            PieceMeta::new(Direction::Output, Role::System, Part::Body),
                            object.text("message").unwrap_or_default(),
                        );
                        json::cut_at(object.text("code").unwrap_or_else(|| "upstream_error".to_owned()), 100).0
                    }
                };
                self.error = Some((kind, pieces));
            }
            "response.output_item.added" | "response.output_item.done" => {
                if let Some(raw) = object.get("item") {
                    self.begin(index, raw, kind.ends_with("done"));
                }
            }
            kind => {
                let of = DELTAS.iter().find(|(end, _)| kind.ends_with(end)).map(|(_, of)| *of);
                if let (Some(of), Some(delta)) = (of, object.text("delta")) {
                    match self.items.get_mut(&index) {
                        Some(item) => item.add(of, &delta),
                        None => self.dropped += 1,
                    }
                }
            }
        }
        if LAST.contains(&kind.as_str()) { Progress::Last } else { Progress::More }
    }

    fn is_last(&self, name: &[u8], data: &[u8]) -> bool {
        data == b"[DONE]" || LAST.iter().any(|last| last.as_bytes() == name)
    }

    fn has_finished(&self) -> bool {
        self.end.is_some()
    }

    fn take(&mut self) -> ModelResponse {
        let this = std::mem::take(self);
        let mut response = this.end.unwrap_or_else(|| {
            let mut response = this.head.unwrap_or_default();
            let mut pieces = Pieces::default();
            for (index, mut begun) in this.items {
                response.refused |= begun.write(u32::try_from(index).unwrap_or(0), &mut pieces);
            }
            pieces.note_dropped(this.dropped);
            // It said "in progress", and nothing since.
            response.attributes.remove(&attr::GEN_AI_RESPONSE_FINISH_REASONS);
            response.pieces = pieces.finish(&mut response.attributes);
            response
        });
        if let Some((kind, pieces)) = this.error {
            response.error = Some(kind);
            response.pieces.extend(pieces.finish(&mut response.attributes));
        }
        response.pieces.extend(this.unread.finish(&mut response.attributes));
        add(&mut response.attributes, MALFORMED_EVENTS, this.malformed);
        response.malformed_events = this.malformed as u64;
        response
    }
}

impl StreamDecoder {
    fn begin(&mut self, index: i64, raw: &RawValue, done: bool) {
        if self.items.len() >= ITEMS_MAX && !self.items.contains_key(&index) {
            self.dropped += 1;
            return;
        }
        let begun =
            Begun { raw: raw.to_owned(), done, text: Text::default(), arguments: Text::default(), reasoning: Text::default() };
        self.items.insert(index, begun);
    }
}

impl Begun {
    fn add(&mut self, of: DeltaOf, delta: &str) {
        match of {
            DeltaOf::Text => self.text.add(delta),
            DeltaOf::Reasoning => self.reasoning.add(delta),
            DeltaOf::Arguments => self.arguments.add(delta),
        }
    }

    fn write(&mut self, index: u32, pieces: &mut Pieces) -> bool {
        if self.done || (self.text.is_empty() && self.arguments.is_empty() && self.reasoning.is_empty()) {
            return item(&self.raw, Direction::Output, index, pieces);
        }
        let object = Object::of(&self.raw);
        let field = |key: &str| object.as_ref().and_then(|object| object.text(key)).map(Raw::from);
        let meta = |part| PieceMeta { message: index, ..PieceMeta::new(Direction::Output, Role::Assistant, part) };
        pieces.push_text(meta(Part::Reasoning), &mut self.reasoning);
        pieces.push_text(meta(Part::Text), &mut self.text);
        let meta = PieceMeta { name: field("name"), call_id: field("call_id").or_else(|| field("id")), ..meta(Part::ToolCall) };
        pieces.push_text(meta, &mut self.arguments);
        false
    }
}

#[cfg(test)]
mod tests;
