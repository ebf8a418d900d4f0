//! OpenAI chat completions: the request, the response, the stream. Also what the many servers speak that follow it.

pub(super) mod batch;
pub(super) mod others;
pub mod realtime;
pub mod responses;
mod stream;

use event::{Attributes, Direction, Key, Part, PieceMeta, Role, Value, attr};
use serde_json::value::RawValue;

use super::decode::{
    DecodeError, Field, ModelRequest, ModelResponse, OUTPUT_TYPE, Pieces, REFUSED, STOP_SEQUENCES, TOP_P, body_object, list,
    map_fields, media_reference, position, session_of,
};
use super::json::{self, Object};
use crate::Raw;

pub use stream::StreamDecoder;

/// Scalars of a request and the attributes that they become.
const REQUEST_FIELDS: &[Field] = &[
    ("temperature", attr::GEN_AI_REQUEST_TEMPERATURE),
    ("max_tokens", attr::GEN_AI_REQUEST_MAX_TOKENS),
    ("max_completion_tokens", attr::GEN_AI_REQUEST_MAX_TOKENS),
    ("top_p", TOP_P),
    ("n", Key::of("gen_ai.request.choice.count")),
    ("seed", Key::of("gen_ai.request.seed")),
    ("frequency_penalty", Key::of("gen_ai.request.frequency_penalty")),
    ("presence_penalty", Key::of("gen_ai.request.presence_penalty")),
    ("stop", STOP_SEQUENCES),
    ("service_tier", Key::of("openai.request.service_tier")),
    ("reasoning_effort", Key::of("openai.request.reasoning_effort")),
    ("logprobs", Key::of("watchkeeper.request.logprobs")),
    ("top_logprobs", Key::of("watchkeeper.request.top_logprobs")),
    ("logit_bias", Key::of("watchkeeper.request.logit_bias")),
];

/// Fields of a request that are read elsewhere, or say nothing about what was asked.
const REQUEST_HANDLED: &[&str] =
    &["model", "messages", "stream", "stream_options", "user", "safety_identifier", "tools", "functions", "response_format"];

/// Scalars of a response and the attributes that they become.
const RESPONSE_FIELDS: &[Field] = &[
    ("id", attr::GEN_AI_RESPONSE_ID),
    ("model", attr::GEN_AI_RESPONSE_MODEL),
    ("system_fingerprint", Key::of("openai.response.system_fingerprint")),
    ("service_tier", Key::of("openai.response.service_tier")),
];

/// Fields of a response that are read elsewhere.
const RESPONSE_HANDLED: &[&str] = &["object", "created", "choices", "usage", "error", "obfuscation"];

/// Reads the body of `POST /v1/chat/completions`.
pub fn decode_request(body: &[u8]) -> Result<ModelRequest, DecodeError> {
    let object = body_object(body)?;
    let mut request = ModelRequest {
        model: object.text("model"),
        stream: object.get("stream").and_then(json::boolean).unwrap_or(false),
        user: object.text("user").or_else(|| object.text("safety_identifier")),
        session: object.object("metadata").as_ref().and_then(session_of),
        ..ModelRequest::default()
    };
    map_fields(&object, REQUEST_FIELDS, REQUEST_HANDLED, &mut request.attributes, &mut request.unmapped);
    if let Some(format) = object.object("response_format").and_then(|format| format.text("type")) {
        let kind = if format.starts_with("json") { "json" } else { "text" };
        request.attributes.insert(OUTPUT_TYPE, kind.into());
    }
    let mut pieces = Pieces::default();
    for key in ["tools", "functions"] {
        for tool in object.items(key) {
            tool_definition(tool, &mut pieces);
        }
    }
    match object.get("messages") {
        Some(messages) => match json::items(messages) {
            Some(messages) => {
                for (index, message) in messages.into_iter().enumerate() {
                    input_message(message, position(index), &mut pieces);
                }
            }
            None => pieces.push_unread(Direction::Input, Role::User, 0, messages),
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
    if let Some(usage) = object.object("usage") {
        read_usage(&usage, &mut response.attributes);
    }
    let mut finish_reasons = Vec::new();
    let mut logprobs = Logprobs::default();
    for (at, raw) in object.items("choices").into_iter().enumerate() {
        let at = position(at);
        let Some(choice) = Object::of(raw) else {
            pieces.push_unread(Direction::Output, Role::Assistant, at, raw);
            continue;
        };
        let index = choice.int("index").and_then(|index| u32::try_from(index).ok()).unwrap_or(at);
        finish_reasons.extend(choice.text("finish_reason"));
        logprobs.read(&choice);
        match choice.object("message") {
            Some(message) => {
                response.refused |= message.text("refusal").is_some_and(|refusal| !refusal.is_empty());
                assistant_parts(&message, Direction::Output, Role::Assistant, index, &mut pieces);
            }
            None => pieces.push_unread(Direction::Output, Role::Assistant, index, raw),
        }
    }
    response.refused |= finish_reasons.iter().any(|reason| reason == "content_filter");
    finish(&mut response, finish_reasons, &logprobs);
    response.pieces = pieces.finish(&mut response.attributes);
    Ok(response)
}

fn finish(response: &mut ModelResponse, finish_reasons: Vec<String>, logprobs: &Logprobs) {
    if !finish_reasons.is_empty() {
        response.attributes.insert(attr::GEN_AI_RESPONSE_FINISH_REASONS, list(finish_reasons));
    }
    if let Some(mean) = logprobs.mean() {
        response.attributes.insert(attr::LOGPROB_MEAN, Value::double(mean));
    }
    if response.refused {
        response.attributes.insert(REFUSED, Value::Bool(true));
    }
}

fn read_usage(usage: &Object<'_>, attributes: &mut Attributes<Raw>) {
    let mut set = |key: Key, value: Option<i64>| {
        if let Some(value) = value {
            attributes.insert(key, Value::Int(value));
        }
    };
    set(attr::GEN_AI_USAGE_INPUT_TOKENS, usage.int("prompt_tokens"));
    set(attr::GEN_AI_USAGE_OUTPUT_TOKENS, usage.int("completion_tokens"));
    let detail = |object: &str, key: &str| usage.object(object).and_then(|details| details.int(key));
    set(attr::GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS, detail("prompt_tokens_details", "cached_tokens"));
    set(attr::GEN_AI_USAGE_REASONING_OUTPUT_TOKENS, detail("completion_tokens_details", "reasoning_tokens"));
}

/// Reads `{"error": {"message", "type", "code"}}`; the message becomes a piece, its type is returned.
pub(super) fn read_error(error: &RawValue, pieces: &mut Pieces) -> String {
    let meta = PieceMeta::new(Direction::Output, Role::System, Part::Body);
    match Object::of(error) {
        Some(object) => {
            pieces.push(meta, object.text("message").unwrap_or_else(|| error.get().to_owned()));
            let kind = object.text("type").or_else(|| object.text("code")).unwrap_or_else(|| "upstream_error".to_owned());
            json::cut_at(kind, 100).0
        }
        None => {
            pieces.push(meta, json::text_or_json(error));
            "upstream_error".to_owned()
        }
    }
}

pub(super) fn tool_definition(tool: &RawValue, pieces: &mut Pieces) {
    let object = Object::of(tool);
    let name = object
        .as_ref()
        .and_then(|object| object.object("function").and_then(|function| function.text("name")).or_else(|| object.text("name")));
    let meta = PieceMeta { name: name.map(Raw::from), ..PieceMeta::new(Direction::Input, Role::System, Part::ToolDefinition) };
    pieces.push(meta, tool.get().to_owned());
}

fn input_message(raw: &RawValue, index: u32, pieces: &mut Pieces) {
    let Some(message) = Object::of(raw) else {
        pieces.message(index, Role::User);
        return pieces.push_unread(Direction::Input, Role::User, index, raw);
    };
    let role = match message.text("role").as_deref() {
        Some("system" | "developer") => Role::System,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("tool" | "function") => Role::Tool,
        _ => {
            pieces.note_unmapped();
            Role::User
        }
    };
    pieces.message(index, role);
    match role {
        Role::Tool => {
            let meta = PieceMeta {
                message: index,
                name: message.text("name").map(Raw::from),
                call_id: message.text("tool_call_id").map(Raw::from),
                ..PieceMeta::new(Direction::Input, Role::Tool, Part::ToolResult)
            };
            content_parts(&message, &meta, pieces);
        }
        _ => assistant_parts(&message, Direction::Input, role, index, pieces),
    }
}

/// The parts of a message that any role may have and the assistant's does: content, refusal, reasoning, calls.
fn assistant_parts(message: &Object<'_>, direction: Direction, role: Role, index: u32, pieces: &mut Pieces) {
    let meta = |part| PieceMeta { message: index, ..PieceMeta::new(direction, role, part) };
    for key in ["reasoning_content", "reasoning"] {
        if let Some(reasoning) = message.text(key) {
            pieces.push(meta(Part::Reasoning), reasoning);
        }
    }
    let named = PieceMeta { name: message.text("name").map(Raw::from), ..meta(Part::Text) };
    content_parts(message, &named, pieces);
    if let Some(refusal) = message.text("refusal") {
        pieces.push(meta(Part::Text), refusal);
    }
    if let Some(transcript) = message.object("audio").and_then(|audio| audio.text("transcript")) {
        pieces.push(meta(Part::Text), transcript);
    }
    for call in message.items("tool_calls") {
        let Some(object) = Object::of(call) else {
            pieces.push_unread(direction, role, index, call);
            continue;
        };
        let id = object.text("id");
        let (function, arguments) = match (object.object("function"), object.object("custom")) {
            (Some(function), _) => (function, "arguments"),
            (None, Some(custom)) => (custom, "input"),
            (None, None) => {
                pieces.push_unread(direction, role, index, call);
                continue;
            }
        };
        tool_call(&function, arguments, id, meta(Part::ToolCall), pieces);
    }
    if let Some(function) = message.object("function_call") {
        tool_call(&function, "arguments", None, meta(Part::ToolCall), pieces);
    }
}

fn tool_call(function: &Object<'_>, arguments: &str, id: Option<String>, meta: PieceMeta<Raw>, pieces: &mut Pieces) {
    let meta = PieceMeta { name: function.text("name").map(Raw::from), call_id: id.map(Raw::from), ..meta };
    // A call without arguments is still a call.
    let arguments = function.get(arguments).map(json::text_or_json).filter(|text| !text.is_empty());
    pieces.push(meta, arguments.unwrap_or_else(|| "{}".to_owned()));
}

/// The `content` of a message: a text, or parts.
pub(super) fn content_parts(message: &Object<'_>, meta: &PieceMeta<Raw>, pieces: &mut Pieces) {
    let Some(content) = message.get("content") else { return };
    if let Some(text) = json::text(content) {
        return pieces.push(meta.clone(), text);
    }
    let Some(parts) = json::items(content) else {
        return pieces.push_unread(meta.direction, meta.role, meta.message, content);
    };
    for raw in parts {
        let part = Object::of(raw);
        let kind = part.as_ref().and_then(|part| part.text("type"));
        let read = match (part, kind.as_deref()) {
            (Some(part), Some("text" | "input_text" | "output_text")) => part.text("text").map(|text| (meta.part, text)),
            (Some(part), Some("refusal")) => part.text("refusal").map(|text| (meta.part, text)),
            (Some(part), Some("image_url")) => {
                let url = part.object("image_url").and_then(|image| image.text("url")).or_else(|| part.text("image_url"));
                url.map(|url| (Part::Media, media_reference(&url)))
            }
            (Some(part), Some("input_audio")) => match part.text("transcript") {
                Some(transcript) => Some((meta.part, transcript)),
                None => Some((Part::Media, audio_reference(&part.object("input_audio").unwrap_or(part)))),
            },
            (Some(part), Some("file")) => part.object("file").map(|file| (Part::Media, file_reference(&file))),
            (Some(part), Some("input_image")) => {
                let url = part.text("image_url").map(|url| media_reference(&url));
                url.or_else(|| part.text("file_id").map(|file| format!("file {file}"))).map(|reference| (Part::Media, reference))
            }
            (Some(part), Some("input_file")) => Some((Part::Media, file_reference(&part))),
            // Of sound, what was said in it.
            (Some(part), Some("output_audio" | "audio")) => part.text("transcript").map(|text| (meta.part, text)),
            (Some(part), Some("summary_text" | "reasoning_text")) => part.text("text").map(|text| (Part::Reasoning, text)),
            _ => json::text(raw).map(|text| (meta.part, text)),
        };
        match read {
            Some((part, text)) => pieces.push(PieceMeta { part, ..meta.clone() }, text),
            None => pieces.push_unread(meta.direction, meta.role, meta.message, raw),
        }
    }
}

fn audio_reference(audio: &Object<'_>) -> String {
    let format = audio.text("format").unwrap_or_default();
    format!(
        "audio/{format}, {} characters",
        audio.get("data").or_else(|| audio.get("audio")).map_or(0, |data| data.get().len().saturating_sub(2))
    )
}

fn file_reference(file: &Object<'_>) -> String {
    let name = ["filename", "file_id", "file_url"].into_iter().find_map(|key| file.text(key)).unwrap_or_default();
    match file.get("file_data") {
        Some(data) => format!("file {name}, {} characters", data.get().len().saturating_sub(2)),
        None => format!("file {name}"),
    }
}

/// Averages the tokens' log-probabilities.
#[derive(Debug, Default)]
struct Logprobs {
    sum: f64,
    tokens: u32,
}

impl Logprobs {
    fn read(&mut self, choice: &Object<'_>) {
        let Some(logprobs) = choice.object("logprobs") else { return };
        for token in logprobs.items("content") {
            if let Some(logprob) = Object::of(token).and_then(|token| token.get("logprob").and_then(json::number)) {
                self.sum += logprob;
                self.tokens = self.tokens.saturating_add(1);
            }
        }
    }

    fn mean(&self) -> Option<f64> {
        (self.tokens > 0).then(|| self.sum / f64::from(self.tokens))
    }
}

#[cfg(test)]
mod tests;
