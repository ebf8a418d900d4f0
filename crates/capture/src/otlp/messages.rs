//! Chat messages, in whichever shape: read into [`ChatMessage`], written as pieces.
//!
//! Reads the message schema of OTel GenAI (`parts`), and what people put in its place: OpenAI's (`content`,
//! `tool_calls`) and Anthropic's (content blocks). What cannot be read as a message is kept as the text that it is:
//! content is never lost because an SDK cut a JSON string in the middle.

use std::borrow::Cow;

use aws_lc_rs::digest::{SHA256, digest};
use event::{Part, Role};
use serde::Deserialize;
use serde_json::value::RawValue;

/// One message of a conversation.
#[derive(Debug, Default)]
pub(super) struct ChatMessage {
    /// Who says it, where that is told.
    pub(super) role: Option<Role>,
    /// Name of the participant or tool.
    pub(super) name: Option<String>,
    /// The tool call that it answers.
    pub(super) call_id: Option<String>,
    /// Why the model stopped, on output messages.
    pub(super) finish_reason: Option<String>,
    /// What it holds.
    pub(super) parts: Vec<ChatPart>,
}

/// One part of a message.
#[derive(Debug)]
pub(super) struct ChatPart {
    /// What it is.
    pub(super) part: Part,
    /// Its text.
    pub(super) text: String,
    /// The tool's name.
    pub(super) name: Option<String>,
    /// The tool call's id.
    pub(super) call_id: Option<String>,
    /// Whether the tool says that it failed.
    pub(super) failed: Option<bool>,
}

impl ChatPart {
    /// A part of which only the text is known.
    pub(super) fn new(part: Part, text: String) -> Self {
        Self { part, text, name: None, call_id: None, failed: None }
    }
}

/// The role of that name.
pub(super) fn role(name: &str) -> Option<Role> {
    Some(match name {
        "system" | "developer" => Role::System,
        "user" | "human" => Role::User,
        "assistant" | "model" | "ai" => Role::Assistant,
        "tool" | "function" | "ipython" => Role::Tool,
        _ => return None,
    })
}

/// Reads a conversation: a JSON list of messages, one message, or plain text.
pub(super) fn read_messages(text: &str, mut each: impl FnMut(ChatMessage)) {
    match text.trim_start().as_bytes().first() {
        Some(b'[') => {
            if let Ok(messages) = serde_json::from_str::<Vec<PlainMessage<'_>>>(text)
                && messages.iter().all(PlainMessage::is_plain)
            {
                messages.into_iter().map(ChatMessage::from).for_each(each);
                return;
            }
            if let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(text) {
                elements.into_iter().for_each(|element| each(read_message(element)));
                return;
            }
        }
        Some(b'{') => {
            if let Ok(wrapped) = serde_json::from_str::<Wrapped<'_>>(text)
                && let Some(elements) = wrapped.messages.or(wrapped.choices)
            {
                if let Some(system) = optional(wrapped.system) {
                    each(ChatMessage { role: Some(Role::System), ..plain(system) });
                }
                elements.into_iter().for_each(|element| each(read_message(element)));
                return;
            }
            if let Ok(element) = serde_json::from_str::<&RawValue>(text) {
                each(read_message(element));
                return;
            }
        }
        _ => {}
    }
    each(plain(text.to_owned()));
}

/// Reads what a message may hold: a JSON list of parts, or plain text.
pub(super) fn read_parts(text: &str) -> Vec<ChatPart> {
    if text.trim_start().starts_with('[')
        && let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(text)
        && !elements.is_empty()
        && elements.iter().all(|element| element.get().starts_with(['{', '"']))
    {
        return elements.into_iter().map(read_part).collect();
    }
    if text.trim_start().starts_with('{')
        && let Ok(one) = serde_json::from_str::<PartIn<'_>>(text)
        && one.r#type.is_some()
        && let Ok(element) = serde_json::from_str::<&RawValue>(text)
    {
        return vec![read_part(element)];
    }
    vec![ChatPart::new(Part::Text, text.to_owned())]
}

/// A message as JSON: one of a list, or the body of a log record.
pub(super) fn read_message(element: &RawValue) -> ChatMessage {
    let json = element.get();
    if !json.starts_with('{') {
        return plain(text_of(element).into_owned());
    }
    let Ok(fields) = serde_json::from_str::<MessageIn<'_>>(json) else {
        return plain(json.to_owned());
    };
    let mut message = match fields.message {
        // A choice of a response: {"index", "finish_reason", "message": {...}}.
        Some(inner) if inner.get().starts_with('{') => read_message(inner),
        _ => ChatMessage::default(),
    };
    if let Some(raw) = fields.role {
        message.role = role(&text_of(raw));
    }
    message.name = optional(fields.name).or(message.name);
    message.call_id = optional(fields.tool_call_id).or_else(|| optional(fields.id)).or(message.call_id);
    message.finish_reason = optional(fields.finish_reason).or(message.finish_reason);
    if let Some(reasoning) = optional(fields.reasoning_content).or_else(|| optional(fields.reasoning)) {
        message.parts.push(ChatPart::new(Part::Reasoning, reasoning));
    }
    for holder in [fields.parts, fields.content].into_iter().flatten() {
        match holder.get().as_bytes().first() {
            Some(b'[') => match serde_json::from_str::<Vec<&RawValue>>(holder.get()) {
                Ok(elements) => message.parts.extend(elements.into_iter().map(read_part)),
                Err(_) => message.parts.push(ChatPart::new(Part::Text, holder.get().to_owned())),
            },
            Some(b'{') => message.parts.push(read_part(holder)),
            _ => message.parts.push(ChatPart::new(Part::Text, text_of(holder).into_owned())),
        }
    }
    if let Some(refusal) = optional(fields.refusal) {
        message.parts.push(ChatPart::new(Part::Text, refusal));
    }
    if let Some(calls) = fields.tool_calls {
        match serde_json::from_str::<Vec<&RawValue>>(calls.get()) {
            Ok(calls) => message.parts.extend(calls.into_iter().map(read_tool_call)),
            Err(_) if calls.get() == "null" => {}
            Err(_) => message.parts.push(ChatPart::new(Part::ToolCall, calls.get().to_owned())),
        }
    }
    if let Some(call) = fields.function_call.filter(|call| call.get() != "null") {
        message.parts.push(read_tool_call(call));
    }
    if message.parts.is_empty() && json.len() > EMPTY_MESSAGE_BYTES_MAX {
        // A message that holds something, and nothing of what we know: keep it whole.
        message.parts.push(ChatPart::new(Part::Body, json.to_owned()));
    }
    message
}

/// A message of this length at most is a role and nothing else.
const EMPTY_MESSAGE_BYTES_MAX: usize = 48;

/// Reads what a tool returned: LangChain writes the message that it makes of it, `{"type": "tool", "data": {"content": ...}}`.
pub(super) fn read_tool_output(text: String) -> ChatPart {
    #[derive(Deserialize)]
    struct Output<'a> {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
        #[serde(borrow)]
        data: ToolMessage<'a>,
    }
    #[derive(Deserialize)]
    struct ToolMessage<'a> {
        #[serde(borrow)]
        content: &'a RawValue,
        #[serde(borrow, default)]
        tool_call_id: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        status: Option<Cow<'a, str>>,
    }
    match serde_json::from_str::<Output<'_>>(&text) {
        Ok(Output { r#type, data }) if r#type == "tool" => ChatPart {
            part: Part::ToolResult,
            text: result_text(data.content).into_owned(),
            name: None,
            call_id: data.tool_call_id.map(Cow::into_owned),
            failed: data.status.map(|status| status == "error"),
        },
        _ => ChatPart::new(Part::ToolResult, text),
    }
}

/// The name and JSON text of each tool definition of a list.
pub(super) fn read_tool_definitions(text: &str) -> Vec<(Option<String>, String)> {
    #[derive(Deserialize)]
    struct Definition<'a> {
        #[serde(borrow, default)]
        name: Option<&'a RawValue>,
        #[serde(borrow, default)]
        function: Option<&'a RawValue>,
    }
    fn name(json: &str, depth: usize) -> Option<String> {
        let definition: Definition<'_> = serde_json::from_str(json).ok()?;
        optional(definition.name).or_else(|| definition.function.filter(|_| depth == 0).and_then(|inner| name(inner.get(), 1)))
    }
    match serde_json::from_str::<Vec<&RawValue>>(text) {
        Ok(elements) => elements
            .into_iter()
            .map(|element| {
                // Some emitters encode each definition as a string of JSON.
                let json = text_of(element).into_owned();
                (name(&json, 0), json)
            })
            .collect(),
        Err(_) if text.is_empty() => Vec::new(),
        Err(_) => vec![(name(text, 0), text.to_owned())],
    }
}

/// A retrieved document.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// Its id.
    pub(super) id: Option<String>,
    /// Its text.
    pub(super) text: String,
    /// How similar it is to the query.
    pub(super) score: Option<f64>,
}

/// Reads a JSON list of documents, or plain text.
pub(super) fn read_documents(text: &str) -> Vec<Document> {
    #[derive(Deserialize)]
    struct DocumentIn<'a> {
        #[serde(borrow, default)]
        id: Option<&'a RawValue>,
        #[serde(borrow, default)]
        content: Option<&'a RawValue>,
        #[serde(borrow, default)]
        text: Option<&'a RawValue>,
        #[serde(borrow, default)]
        page_content: Option<&'a RawValue>,
        #[serde(borrow, default)]
        score: Option<&'a RawValue>,
    }
    let read = |element: &RawValue| {
        let known = serde_json::from_str::<DocumentIn<'_>>(element.get()).ok();
        match known {
            Some(known) => Document {
                id: optional(known.id),
                score: known.score.and_then(|raw| text_of(raw).parse().ok()).filter(|score: &f64| score.is_finite()),
                text: optional(known.content)
                    .or_else(|| optional(known.text))
                    .or_else(|| optional(known.page_content))
                    .unwrap_or_else(|| element.get().to_owned()),
            },
            None => Document { text: text_of(element).into_owned(), ..Document::default() },
        }
    };
    match serde_json::from_str::<Vec<&RawValue>>(text) {
        Ok(elements) => elements.into_iter().map(read).collect(),
        Err(_) if text.is_empty() => Vec::new(),
        Err(_) => vec![Document { text: text.to_owned(), ..Document::default() }],
    }
}

/// A reference to an image, audio or file: its address, or what its bytes are, never the bytes.
pub(super) fn media_reference(mime_type: Option<&str>, data: &str) -> String {
    if let Some(rest) = data.strip_prefix("data:") {
        let (mime, body) = rest.split_once(',').unwrap_or(("", rest));
        return blob_reference(mime.split(';').next().unwrap_or_default(), body);
    }
    if data.len() <= MEDIA_ADDRESS_BYTES_MAX && (data.contains("://") || mime_type.is_none()) {
        return data.to_owned();
    }
    blob_reference(mime_type.unwrap_or_default(), data)
}

/// An address is not longer than this; what is, is the bytes themselves.
const MEDIA_ADDRESS_BYTES_MAX: usize = 4 * 1024;

fn blob_reference(mime_type: &str, data: &str) -> String {
    let mime_type = if mime_type.is_empty() { "application/octet-stream" } else { mime_type };
    let mime_type = &mime_type[..mime_type.floor_char_boundary(128)];
    let digest = digest(&SHA256, data.as_bytes());
    let short = event::hex::encode(&digest.as_ref()[..16]);
    format!("blob:{mime_type};{} bytes encoded;sha256={short}", data.len())
}

/// A message as OTel GenAI has it and nothing else, read in one pass; what does not fit is read field by field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainMessage<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow)]
    parts: Vec<PlainPart<'a>>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainPart<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, default)]
    response: Option<&'a RawValue>,
}

impl PlainMessage<'_> {
    /// Whether every part is of a type that has only these fields.
    fn is_plain(&self) -> bool {
        !self.parts.is_empty()
            && self.parts.iter().all(|part| match &*part.r#type {
                "text" | "reasoning" => part.content.is_some() && part.arguments.is_none() && part.response.is_none(),
                "tool_call" => part.content.is_none() && part.response.is_none(),
                "tool_call_response" => part.content.is_none() && part.arguments.is_none(),
                _ => false,
            })
    }
}

impl From<PlainMessage<'_>> for ChatMessage {
    fn from(message: PlainMessage<'_>) -> Self {
        let parts = message.parts.into_iter().map(|part| {
            let (kind, text) = match &*part.r#type {
                "reasoning" => (Part::Reasoning, part.content),
                "tool_call" => (Part::ToolCall, part.arguments.map(|raw| text_of(raw).into_owned())),
                "tool_call_response" => (Part::ToolResult, part.response.map(|raw| result_text(raw).into_owned())),
                _ => (Part::Text, part.content),
            };
            ChatPart { part: kind, text: text.unwrap_or_default(), name: part.name, call_id: part.id, failed: None }
        });
        let (name, finish_reason) = (message.name, message.finish_reason);
        Self { role: role(&message.role), name, call_id: None, finish_reason, parts: parts.collect() }
    }
}

#[derive(Deserialize)]
struct Wrapped<'a> {
    /// A request.
    #[serde(borrow, default)]
    messages: Option<Vec<&'a RawValue>>,
    /// A response.
    #[serde(borrow, default)]
    choices: Option<Vec<&'a RawValue>>,
    /// Anthropic's and Vercel's system prompt, beside the messages.
    #[serde(borrow, default)]
    system: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct MessageIn<'a> {
    #[serde(borrow, default)]
    role: Option<&'a RawValue>,
    #[serde(borrow, default)]
    parts: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_calls: Option<&'a RawValue>,
    #[serde(borrow, default)]
    function_call: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_call_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct PartIn<'a> {
    #[serde(borrow, default)]
    r#type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    thinking: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    call_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_use_id: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "toolCallId")]
    tool_call_id: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "toolName")]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    function: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "args")]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
    #[serde(borrow, default)]
    server_tool_call: Option<&'a RawValue>,
    #[serde(borrow, default)]
    server_tool_call_response: Option<&'a RawValue>,
    #[serde(borrow, default)]
    response: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    output: Option<&'a RawValue>,
    #[serde(borrow, default)]
    is_error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    mime_type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    media_type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    uri: Option<&'a RawValue>,
    #[serde(borrow, default)]
    url: Option<&'a RawValue>,
    #[serde(borrow, default)]
    file_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    image_url: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    source: Option<&'a RawValue>,
}

fn read_part(element: &RawValue) -> ChatPart {
    let json = element.get();
    if !json.starts_with('{') {
        return ChatPart::new(Part::Text, text_of(element).into_owned());
    }
    let Ok(part) = serde_json::from_str::<PartIn<'_>>(json) else {
        return ChatPart::new(Part::Body, json.to_owned());
    };
    let kind = part.r#type.map(text_of).unwrap_or_default();
    let text = || optional(part.content).or_else(|| optional(part.text));
    match &*kind {
        "text" | "input_text" | "output_text" | "" if text().is_some() => ChatPart::new(Part::Text, text().unwrap_or_default()),
        "text" | "input_text" | "output_text" => ChatPart::new(Part::Text, String::new()),
        "refusal" => ChatPart::new(Part::Text, optional(part.refusal).or_else(text).unwrap_or_default()),
        "reasoning" | "thinking" => {
            ChatPart::new(Part::Reasoning, text().or_else(|| optional(part.thinking)).unwrap_or_default())
        }
        "tool_call" | "tool-call" | "tool_use" | "function_call" | "function" | "server_tool_call" | "server_tool_use" => {
            read_tool_call(element)
        }
        // Vercel's list of calls has no types.
        "" if part.tool_call_id.is_some() && part.name.is_some() => read_tool_call(element),
        "tool_call_response" | "tool-result" | "tool_result" | "function_call_output" | "server_tool_call_response" => ChatPart {
            part: Part::ToolResult,
            text: [part.response, part.result, part.server_tool_call_response, part.content, part.output]
                .into_iter()
                .flatten()
                .next()
                .map(|raw| result_text(raw).into_owned())
                .unwrap_or_default(),
            name: optional(part.name),
            call_id: [part.tool_use_id, part.tool_call_id, part.call_id, part.id].into_iter().find_map(optional),
            failed: part.is_error.and_then(|raw| serde_json::from_str(raw.get()).ok()),
        },
        "blob" | "file" | "uri" | "image" | "image_url" | "input_image" | "audio" | "input_audio" | "input_file" | "video"
        | "document" | "media" => read_media(&part, element),
        _ => ChatPart::new(Part::Body, json.to_owned()),
    }
}

fn read_media(part: &PartIn<'_>, element: &RawValue) -> ChatPart {
    let nested = [part.source, part.image_url].into_iter().flatten().find(|raw| raw.get().starts_with('{'));
    if let Some(inner) = nested.and_then(|raw| serde_json::from_str::<PartIn<'_>>(raw.get()).ok()) {
        if inner.r#type.is_some_and(|kind| kind.get() == "\"text\"") {
            return ChatPart::new(Part::Document, optional(inner.data).unwrap_or_default());
        }
        let mime = optional(inner.media_type).or_else(|| optional(inner.mime_type));
        let data = [inner.url, inner.uri, inner.file_id, inner.data].into_iter().find_map(optional).unwrap_or_default();
        return ChatPart::new(Part::Media, media_reference(mime.as_deref(), &data));
    }
    let mime = optional(part.mime_type).or_else(|| optional(part.media_type));
    let address = [part.uri, part.url, part.image_url, part.file_id].into_iter().find_map(optional);
    let text = match (address, optional(part.content).or_else(|| optional(part.data))) {
        (Some(address), _) => media_reference(None, &address),
        (None, Some(data)) => blob_reference(mime.as_deref().unwrap_or_default(), &data),
        (None, None) => blob_reference(mime.as_deref().unwrap_or_default(), element.get()),
    };
    ChatPart::new(Part::Media, text)
}

fn read_tool_call(element: &RawValue) -> ChatPart {
    let Ok(call) = serde_json::from_str::<PartIn<'_>>(element.get()) else {
        return ChatPart::new(Part::ToolCall, element.get().to_owned());
    };
    let function = call.function.and_then(|raw| serde_json::from_str::<PartIn<'_>>(raw.get()).ok());
    let (name, arguments) = match &function {
        Some(function) => (optional(function.name), function.arguments),
        None => (optional(call.name), [call.arguments, call.input, call.server_tool_call].into_iter().flatten().next()),
    };
    ChatPart {
        part: Part::ToolCall,
        text: arguments.map(|raw| text_of(raw).into_owned()).unwrap_or_default(),
        name,
        call_id: [call.call_id, call.id, call.tool_call_id].into_iter().find_map(optional),
        failed: None,
    }
}

/// The text of a tool's result: of a list of text blocks their texts, else the text or JSON that it is.
fn result_text(raw: &RawValue) -> Cow<'_, str> {
    // Vercel's: {"type": "json" or "text", "value": ...}.
    if raw.get().starts_with('{')
        && let Ok(typed) = serde_json::from_str::<TypedValue<'_>>(raw.get())
    {
        return text_of(typed.value);
    }
    if raw.get().starts_with('[')
        && let Ok(blocks) = serde_json::from_str::<Vec<&RawValue>>(raw.get())
        && !blocks.is_empty()
        && blocks.iter().all(|block| block.get().starts_with('{'))
    {
        let texts: Vec<ChatPart> = blocks.into_iter().map(read_part).collect();
        if texts.iter().all(|part| part.part == Part::Text) {
            return Cow::Owned(texts.into_iter().map(|part| part.text).collect::<Vec<_>>().join("\n"));
        }
    }
    text_of(raw)
}

/// A JSON string as its text, `null` as nothing, anything else as JSON text.
fn text_of(raw: &RawValue) -> Cow<'_, str> {
    let json = raw.get();
    match json.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<Borrowed<'_>>(json).map_or(Cow::Borrowed(json), |text| text.0),
        Some(b'n') => Cow::Borrowed(""),
        _ => Cow::Borrowed(json),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TypedValue<'a> {
    #[serde(borrow, rename = "type")]
    _type: Cow<'a, str>,
    #[serde(borrow)]
    value: &'a RawValue,
}

#[derive(Deserialize)]
struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);

fn optional(raw: Option<&RawValue>) -> Option<String> {
    raw.filter(|raw| raw.get() != "null").map(|raw| text_of(raw).into_owned())
}

fn plain(text: String) -> ChatMessage {
    ChatMessage { parts: vec![ChatPart::new(Part::Text, text)], ..ChatMessage::default() }
}
