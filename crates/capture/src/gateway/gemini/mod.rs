//! Gemini: `generateContent` and its stream, `countTokens`, `embedContent`. Vertex AI speaks the same.
//!
//! The API takes field names in camel case and in snake case; each is looked for under both.

use event::{Attributes, Direction, Key, Part, PieceMeta, Role, Value, attr};
use serde_json::value::RawValue;

use super::api::StreamDecode;
use super::decode::{
    DecodeError, MALFORMED_EVENTS, ModelRequest, ModelResponse, OUTPUT_TYPE, Pieces, Progress, REFUSED, STOP_SEQUENCES, TOP_K,
    TOP_P, Text, add, body_object, list, map_fields, media_reference, position, session_of,
};
use super::json::{self, Object};
use super::shape::{self, Shape, Side, each};
use crate::Raw;

/// Most parts of a streamed answer that are put together.
const PARTS_MAX: usize = 4_096;

/// Paths below `generationConfig` and the attributes that they become.
const CONFIG: &[(&str, Key)] = &[
    ("temperature", attr::GEN_AI_REQUEST_TEMPERATURE),
    ("topP", TOP_P),
    ("topK", TOP_K),
    ("maxOutputTokens", attr::GEN_AI_REQUEST_MAX_TOKENS),
    ("candidateCount", Key::of("gen_ai.request.choice.count")),
    ("seed", Key::of("gen_ai.request.seed")),
    ("stopSequences", STOP_SEQUENCES),
    ("frequencyPenalty", Key::of("gen_ai.request.frequency_penalty")),
    ("presencePenalty", Key::of("gen_ai.request.presence_penalty")),
    ("responseLogprobs", Key::of("watchkeeper.request.logprobs")),
];

const REQUEST_HANDLED: &[&str] =
    &["model", "contents", "systemInstruction", "system_instruction", "tools", "generationConfig", "generation_config", "labels"];

const RESPONSE_HANDLED: &[&str] =
    &["candidates", "usageMetadata", "promptFeedback", "error", "modelVersion", "responseId", "createTime", "sdkHttpResponse"];

/// Reasons for which the API keeps an answer to itself.
const REFUSALS: &[&str] = &["SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "RECITATION", "IMAGE_SAFETY"];

/// `POST models/*:countTokens`, the answer.
pub(super) static COUNT: Shape = Shape {
    asks: Side::NONE,
    answers: Side {
        handled: &["totalBillableCharacters", "promptTokensDetails"],
        counts: &[
            ("totalTokens", attr::GEN_AI_USAGE_INPUT_TOKENS),
            ("cachedContentTokenCount", attr::GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS),
        ],
        ..Side::NONE
    },
};

/// `POST models/*:embedContent`, `batchEmbedContents`. Vectors are not recorded.
pub(super) static EMBED: Shape = Shape {
    asks: Side {
        fields: &[("outputDimensionality", Key::of("gen_ai.embeddings.dimension.count"))],
        handled: &["model", "taskType"],
        texts: &[
            shape::Text { path: "content.parts[].text", role: Role::User, part: Part::Text },
            shape::Text { path: "requests[].content.parts[].text", role: Role::User, part: Part::Text },
        ],
        ..Side::NONE
    },
    answers: Side {
        handled: &["embedding", "embeddings"],
        counts: &[("usageMetadata.promptTokenCount", attr::GEN_AI_USAGE_INPUT_TOKENS)],
        ..Side::NONE
    },
};

/// Reads the body of `generateContent` and `streamGenerateContent`.
pub fn decode_request(body: &[u8]) -> Result<ModelRequest, DecodeError> {
    Ok(read_request(&body_object(body)?))
}

/// Reads the body of `countTokens`: contents, or a whole request.
pub(super) fn decode_count(body: &[u8]) -> Result<ModelRequest, DecodeError> {
    let object = body_object(body)?;
    Ok(read_request(&either(&object, "generateContentRequest").and_then(Object::of).unwrap_or(object)))
}

fn read_request(object: &Object<'_>) -> ModelRequest {
    let mut request = ModelRequest {
        model: object.text("model").map(|model| model.strip_prefix("models/").map(str::to_owned).unwrap_or(model)),
        session: object.object("labels").as_ref().and_then(session_of),
        ..ModelRequest::default()
    };
    map_fields(object, &[], REQUEST_HANDLED, &mut request.attributes, &mut request.unmapped);
    if let Some(config) = either(object, "generationConfig").and_then(Object::of) {
        for (name, key) in CONFIG {
            if let Some(raw) = either(&config, name) {
                request.attributes.insert(key.clone(), json::value(raw));
            }
        }
        if let Some(kind) = either(&config, "responseMimeType").and_then(json::text) {
            request.attributes.insert(OUTPUT_TYPE, if kind.ends_with("json") { "json" } else { "text" }.into());
        }
    }
    let mut pieces = Pieces::default();
    for raw in object.get("tools").map(listed).unwrap_or_default() {
        let functions: Option<Vec<&RawValue>> = Object::of(raw)
            .map(|tool| both(&tool, "functionDeclarations").flat_map(listed).collect())
            .filter(|functions: &Vec<_>| !functions.is_empty());
        let definition = |name: Option<String>| PieceMeta {
            name: name.map(Raw::from),
            ..PieceMeta::new(Direction::Input, Role::System, Part::ToolDefinition)
        };
        match functions {
            Some(functions) => {
                for function in functions {
                    let name = Object::of(function).and_then(|function| function.text("name"));
                    pieces.push(definition(name), function.get().to_owned());
                }
            }
            // `{"googleSearch": {}}`: the tool is its key.
            None => {
                let name = Object::of(raw).and_then(|tool| tool.entries().next().map(|(name, _)| name.to_owned()));
                pieces.push(definition(name), raw.get().to_owned());
            }
        }
    }
    let mut first = 0;
    for system in both(object, "systemInstruction") {
        pieces.message(0, Role::System);
        content(system, Direction::Input, Some(Role::System), 0, &mut pieces);
        first = 1;
    }
    if let Some(contents) = object.get("contents") {
        for (index, raw) in listed(contents).into_iter().enumerate() {
            content(raw, Direction::Input, None, position(index).saturating_add(first), &mut pieces);
        }
    }
    request.pieces = pieces.finish(&mut request.attributes);
    request
}

/// Reads an answer that came in one piece, an error included.
pub fn decode_response(body: &[u8]) -> Result<ModelResponse, DecodeError> {
    let text = std::str::from_utf8(body).map_err(|error| DecodeError::NotUtf8 { offset: error.valid_up_to() })?;
    let mut decoder = StreamDecoder::default();
    // Without `alt=sse` a stream is a list of answers.
    if text.trim_start().starts_with('[') {
        let parts: Vec<&RawValue> =
            serde_json::from_str(text).map_err(|error| DecodeError::NotJson { reason: error.to_string() })?;
        for part in parts {
            decoder.event(b"", part.get().as_bytes());
        }
    } else {
        decoder.chunk(&body_object(body)?);
    }
    Ok(decoder.take())
}

/// A field under its name, or under its name in snake case.
fn either<'a>(object: &Object<'a>, name: &str) -> Option<&'a RawValue> {
    both(object, name).next()
}

/// A field under its name, and under its name in snake case: which of the two the API takes is not known here.
fn both<'a>(object: &Object<'a>, name: &str) -> impl Iterator<Item = &'a RawValue> + use<'a> {
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    let second = if snake == name { None } else { object.get(&snake) };
    object.get(name).into_iter().chain(second)
}

/// The items of a list. What is none is the only one: the API takes it so.
fn listed(raw: &RawValue) -> Vec<&RawValue> {
    json::items(raw).unwrap_or_else(|| vec![raw])
}

/// A `Content`: `{"role", "parts"}`; a bare text counts as one of the user.
fn content(raw: &RawValue, direction: Direction, role: Option<Role>, index: u32, pieces: &mut Pieces) {
    let object = Object::of(raw);
    let role = role.unwrap_or_else(|| match object.as_ref().and_then(|object| object.text("role")).as_deref() {
        Some("model") => Role::Assistant,
        Some("function" | "tool") => Role::Tool,
        _ => Role::User,
    });
    if direction == Direction::Input {
        pieces.message(index, role);
    }
    let meta = PieceMeta { message: index, ..PieceMeta::new(direction, role, Part::Text) };
    match object {
        Some(object) => {
            for part in object.get("parts").map(listed).unwrap_or_default() {
                match read_part(part, &meta) {
                    Some((meta, text)) => pieces.push(meta, text),
                    None => pieces.push_unread(direction, role, index, part),
                }
            }
        }
        None => match json::text(raw) {
            Some(text) => pieces.push(meta, text),
            None => pieces.push_unread(direction, role, index, raw),
        },
    }
}

/// What a part is by the field that it has: the field, what it is, whose it is, where its text and its tool's name stand.
struct Kind {
    field: &'static str,
    part: Part,
    role: Option<Role>,
    text: &'static str,
    name: &'static str,
}

static KINDS: &[Kind] = &[
    Kind { field: "functionCall", part: Part::ToolCall, role: None, text: "args", name: "name" },
    Kind { field: "functionResponse", part: Part::ToolResult, role: Some(Role::Tool), text: "response", name: "name" },
    Kind { field: "executableCode", part: Part::ToolCall, role: None, text: "code", name: "language" },
    Kind { field: "codeExecutionResult", part: Part::ToolResult, role: Some(Role::Tool), text: "output", name: "" },
    Kind { field: "toolCall", part: Part::ToolCall, role: None, text: "args", name: "toolType" },
    Kind { field: "toolResponse", part: Part::ToolResult, role: Some(Role::Tool), text: "response", name: "toolType" },
];

fn read_part(raw: &RawValue, meta: &PieceMeta<Raw>) -> Option<(PieceMeta<Raw>, String)> {
    let object = Object::of(raw)?;
    if let Some(text) = object.text("text") {
        let part = if object.get("thought").is_some_and(|raw| raw.get() == "true") { Part::Reasoning } else { Part::Text };
        return Some((PieceMeta { part, ..meta.clone() }, text));
    }
    for kind in KINDS {
        let Some(inner) = either(&object, kind.field).and_then(Object::of) else { continue };
        let meta = PieceMeta {
            role: kind.role.unwrap_or(meta.role),
            part: kind.part,
            name: inner.text(kind.name).map(Raw::from),
            call_id: inner.text("id").map(Raw::from),
            ..meta.clone()
        };
        return Some((meta, inner.get(kind.text).map_or_else(|| "{}".to_owned(), json::text_or_json)));
    }
    let media = PieceMeta { part: Part::Media, ..meta.clone() };
    if let Some(data) = either(&object, "inlineData").and_then(Object::of) {
        let kind = either(&data, "mimeType").and_then(json::text).unwrap_or_else(|| "application/octet-stream".to_owned());
        let characters = data.get("data").map_or(0, |data| data.get().len().saturating_sub(2));
        return Some((media, format!("data:{}, {characters} characters", json::cut_at(kind, 100).0)));
    }
    if let Some(file) = either(&object, "fileData").and_then(Object::of) {
        return Some((media, media_reference(&either(&file, "fileUri").and_then(json::text).unwrap_or_default())));
    }
    None
}

/// Puts the answers of a stream together; each has the shape of a whole one.
#[derive(Debug, Default)]
pub struct StreamDecoder {
    response: ModelResponse,
    /// The parts so far, by candidate; texts of one kind that follow each other are one.
    parts: Vec<(PieceMeta<Raw>, Text)>,
    finish_reasons: Vec<String>,
    pieces: Pieces,
    malformed: usize,
    dropped: usize,
}

impl StreamDecode for StreamDecoder {
    fn event(&mut self, _name: &[u8], data: &[u8]) -> Progress {
        match std::str::from_utf8(data).ok().and_then(|text| Object::parse(text).ok()) {
            Some(object) => self.chunk(&object),
            None => {
                self.malformed += 1;
                let text = String::from_utf8_lossy(data).into_owned();
                self.pieces.push(PieceMeta::new(Direction::Output, Role::Assistant, Part::Body), text);
            }
        }
        // A stream has no end marker: it ends with the body.
        Progress::More
    }

    fn is_last(&self, _name: &[u8], _data: &[u8]) -> bool {
        false
    }

    fn has_finished(&self) -> bool {
        !self.finish_reasons.is_empty() || self.response.refused
    }

    fn take(&mut self) -> ModelResponse {
        let this = std::mem::take(self);
        let (mut response, mut pieces) = (this.response, this.pieces);
        for (meta, mut text) in this.parts {
            pieces.push_text(meta, &mut text);
        }
        pieces.note_dropped(this.dropped);
        response.refused |= this.finish_reasons.iter().any(|reason| REFUSALS.contains(&reason.as_str()));
        if !this.finish_reasons.is_empty() {
            response.attributes.insert(attr::GEN_AI_RESPONSE_FINISH_REASONS, list(this.finish_reasons));
        }
        if response.refused {
            response.attributes.insert(REFUSED, Value::Bool(true));
        }
        add(&mut response.attributes, MALFORMED_EVENTS, this.malformed);
        response.malformed_events = this.malformed as u64;
        response.pieces = pieces.finish(&mut response.attributes);
        response
    }
}

impl StreamDecoder {
    fn chunk(&mut self, object: &Object<'_>) {
        let response = &mut self.response;
        response.unmapped.clear();
        response.attributes.remove(&attr::UNMAPPED_COUNT);
        map_fields(object, &[], RESPONSE_HANDLED, &mut response.attributes, &mut response.unmapped);
        for (name, key) in [("modelVersion", attr::GEN_AI_RESPONSE_MODEL), ("responseId", attr::GEN_AI_RESPONSE_ID)] {
            if let Some(text) = either(object, name).and_then(json::text) {
                response.attributes.insert(key, Value::from(json::cut_at(text, 1_024).0.as_str()));
            }
        }
        if let Some(error) = object.get("error") {
            response.error = Some(read_error(error, &mut self.pieces));
        }
        if let Some(usage) = either(object, "usageMetadata").and_then(Object::of) {
            read_usage(&usage, &mut response.attributes);
        }
        if let Some(reason) =
            either(object, "promptFeedback").and_then(Object::of).and_then(|feedback| feedback.text("blockReason"))
        {
            response.refused = true;
            response
                .attributes
                .insert(Key::of("gemini.response.block_reason"), Value::from(json::cut_at(reason, 100).0.as_str()));
        }
        for (at, raw) in object.items("candidates").into_iter().enumerate() {
            let Some(candidate) = Object::of(raw) else {
                self.pieces.push_unread(Direction::Output, Role::Assistant, position(at), raw);
                continue;
            };
            let index = candidate.int("index").and_then(|index| u32::try_from(index).ok()).unwrap_or(position(at));
            if let Some(reason) = either(&candidate, "finishReason").and_then(json::text)
                && self.finish_reasons.len() < 128
            {
                self.finish_reasons.push(json::cut_at(reason, 100).0);
            }
            let mut parts = Vec::new();
            each(&candidate, "content.parts[]", &mut |_, part| parts.push(part));
            for part in parts {
                let meta = PieceMeta { message: index, ..PieceMeta::new(Direction::Output, Role::Assistant, Part::Text) };
                match read_part(part, &meta) {
                    Some((meta, text)) => self.part(meta, &text),
                    None => self.pieces.push_unread(Direction::Output, Role::Assistant, index, part),
                }
            }
        }
    }

    fn part(&mut self, meta: PieceMeta<Raw>, text: &str) {
        let joins = matches!(meta.part, Part::Text | Part::Reasoning);
        if joins
            && let Some((_, last)) = self
                .parts
                .iter_mut()
                .rev()
                .find(|(last, _)| last.message == meta.message)
                .filter(|(last, _)| last.part == meta.part)
        {
            return last.add(text);
        }
        if self.parts.len() >= PARTS_MAX {
            self.dropped += 1;
            return;
        }
        let mut begun = Text::default();
        begun.add(text);
        self.parts.push((meta, begun));
    }
}

fn read_usage(usage: &Object<'_>, attributes: &mut Attributes<Raw>) {
    let count = |name: &str| either(usage, name).and_then(json::int);
    // Tokens of thinking are written by the model, too, and counted apart.
    let thoughts = count("thoughtsTokenCount");
    let output = count("candidatesTokenCount").map(|written| written.saturating_add(thoughts.unwrap_or(0))).or(thoughts);
    for (key, value) in [
        (attr::GEN_AI_USAGE_INPUT_TOKENS, count("promptTokenCount")),
        (attr::GEN_AI_USAGE_OUTPUT_TOKENS, output),
        (attr::GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS, count("cachedContentTokenCount")),
        (attr::GEN_AI_USAGE_REASONING_OUTPUT_TOKENS, thoughts),
    ] {
        if let Some(value) = value {
            attributes.insert(key, Value::Int(value));
        }
    }
}

/// Reads `{"code", "message", "status"}`.
fn read_error(error: &RawValue, pieces: &mut Pieces) -> String {
    let object = Object::of(error);
    let text = |key: &str| object.as_ref().and_then(|object| object.text(key));
    pieces.push(
        PieceMeta::new(Direction::Output, Role::System, Part::Body),
        text("message").unwrap_or_else(|| json::text_or_json(error)),
    );
    json::cut_at(text("status").unwrap_or_else(|| "upstream_error".to_owned()), 100).0
}

#[cfg(test)]
mod tests;
