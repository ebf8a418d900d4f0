//! From attributes to pieces of content: one reader per [`Shape`].

use std::collections::BTreeMap;

use event::{Direction, Part, PieceMeta, Role};
use opentelemetry_proto::tonic::common::v1::AnyValue;

use super::messages::{self, ChatMessage, ChatPart};
use super::pieces::Pieces;
use super::table::{ContentRule, Shape};
use super::value;

/// The content attributes of one event, as they are found.
#[derive(Debug, Default)]
pub(super) struct Found<'d> {
    whole: Vec<(usize, &'d ContentRule, AnyValue)>,
    indexed: BTreeMap<usize, (&'d ContentRule, Vec<Field>)>,
}

/// One attribute of an indexed shape: `PREFIX.index.path`.
#[derive(Debug)]
struct Field {
    key: String,
    /// Where the path begins in the key.
    path: usize,
    index: u32,
    value: AnyValue,
}

impl<'d> Found<'d> {
    /// Takes an attribute that a content rule names. Gives it back when its key is not of the shape.
    pub(super) fn add(
        &mut self,
        order: usize,
        rule: &'d ContentRule,
        key: String,
        any: AnyValue,
    ) -> Result<(), (String, AnyValue)> {
        if !rule.shape.is_indexed() {
            self.whole.push((order, rule, any));
            return Ok(());
        }
        let rest = key.get(rule.key.len() + 1..).unwrap_or_default();
        let (index, path) = rest.split_once('.').unwrap_or((rest, ""));
        let Ok(index) = index.parse() else { return Err((key, any)) };
        let path = key.len() - path.len();
        self.indexed.entry(order).or_insert_with(|| (rule, Vec::new())).1.push(Field { key, path, index, value: any });
        Ok(())
    }

    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.indexed.is_empty()
    }

    /// Writes the pieces, in the order of the rules, and gives back the attributes that no shape knew.
    pub(super) fn write(mut self, pieces: &mut Pieces) -> Vec<(String, AnyValue)> {
        let mut leftover = Vec::new();
        self.whole.sort_by_key(|(order, ..)| *order);
        let mut whole = self.whole.into_iter().peekable();
        let mut indexed = self.indexed.into_iter().peekable();
        loop {
            let whole_order = whole.peek().map(|(order, ..)| *order);
            let indexed_order = indexed.peek().map(|(order, _)| *order);
            let whole_is_next = match (whole_order, indexed_order) {
                (None, None) => return leftover,
                (Some(whole), Some(indexed)) => whole <= indexed,
                (whole, _) => whole.is_some(),
            };
            if whole_is_next {
                if let Some((_, rule, any)) = whole.next() {
                    write_whole(rule, any, pieces);
                }
            } else if let Some((_, (rule, fields))) = indexed.next() {
                write_indexed(rule, fields, pieces, &mut leftover);
            }
        }
    }
}

fn write_whole(rule: &ContentRule, any: AnyValue, pieces: &mut Pieces) {
    if rule.fallback && pieces.has(rule.direction) {
        pieces.losses.duplicates_dropped += 1;
        return;
    }
    let text = value::text(any);
    if text.is_empty() && !matches!(rule.shape, Shape::Text | Shape::ToolOutput) {
        return;
    }
    match rule.shape {
        Shape::GenaiMessages => {
            messages::read_messages(&text, |message| pieces.push_message(message, rule.direction, rule.role));
        }
        Shape::GenaiMessage => match serde_json::from_str(&text) {
            Ok(element) => pieces.push_message(messages::read_message(element), rule.direction, rule.role),
            Err(_) => pieces.push_alone(rule.direction, rule.role, Part::Text, text),
        },
        Shape::GenaiParts => {
            let message = ChatMessage { parts: messages::read_parts(&text), ..ChatMessage::default() };
            pieces.push_message(message, rule.direction, rule.role);
        }
        Shape::GenaiDocuments => {
            for (index, document) in (0..).zip(messages::read_documents(&text)) {
                push_document(pieces, rule, index, document);
            }
        }
        Shape::ToolOutput => {
            let part = messages::read_tool_output(text);
            let message = ChatMessage { parts: vec![part], ..ChatMessage::default() };
            pieces.push_message(message, rule.direction, rule.role);
        }
        Shape::ToolDefinitions => {
            for (name, definition) in messages::read_tool_definitions(&text) {
                push_definition(pieces, rule, name, definition);
            }
        }
        _ if rule.part == Part::ToolDefinition => push_definition(pieces, rule, None, text),
        _ => pieces.push_alone(rule.direction, rule.role, rule.part, text),
    }
}

fn write_indexed(rule: &ContentRule, fields: Vec<Field>, pieces: &mut Pieces, leftover: &mut Vec<(String, AnyValue)>) {
    if rule.fallback && pieces.has(rule.direction) {
        pieces.losses.duplicates_dropped += fields.len() as u64;
        return;
    }
    let mut items: BTreeMap<u32, Vec<Field>> = BTreeMap::new();
    for field in fields {
        items.entry(field.index).or_default().push(field);
    }
    for (index, fields) in items {
        let mut fields = Fields { fields, leftover };
        match rule.shape {
            Shape::OpeninferenceIndexed => pieces.push_message(openinference_message(&mut fields), rule.direction, rule.role),
            Shape::OpenllmetryIndexed => pieces.push_message(openllmetry_message(&mut fields), rule.direction, rule.role),
            Shape::OpeninferenceDocuments => push_document(pieces, rule, index, openinference_document(&mut fields)),
            Shape::OpeninferenceTools => {
                let definition = fields.take("tool.json_schema").unwrap_or_default();
                let name = messages::read_tool_definitions(&definition).into_iter().find_map(|(name, _)| name);
                push_definition(pieces, rule, name, definition);
            }
            Shape::OpeninferenceEmbeddings => {
                // The vector is the text again, in numbers.
                pieces.losses.duplicates_dropped += u64::from(fields.take("embedding.vector").is_some());
                let text = fields.take("embedding.text").unwrap_or_default();
                pieces.push_alone(rule.direction, rule.role, rule.part, text);
            }
            Shape::OpenllmetryResults => push_document(pieces, rule, index, openllmetry_result(&mut fields)),
            Shape::OpenllmetryFunctions => {
                let name = fields.take("name");
                let definition = serde_json::json!({
                    "name": name,
                    "description": fields.take("description"),
                    "parameters": fields.take("parameters").map(|text| serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text))),
                });
                push_definition(pieces, rule, name, definition.to_string());
            }
            _ => {}
        }
        fields.give_back();
    }
}

/// The attributes of one indexed item, taken by path.
struct Fields<'a> {
    fields: Vec<Field>,
    leftover: &'a mut Vec<(String, AnyValue)>,
}

impl Fields<'_> {
    fn take_any(&mut self, path: &str) -> Option<AnyValue> {
        let position = self.fields.iter().position(|field| field.key.get(field.path..) == Some(path))?;
        Some(self.fields.swap_remove(position).value)
    }

    fn take(&mut self, path: &str) -> Option<String> {
        self.take_any(path).map(value::text)
    }

    /// Takes every field under `prefix.K.`, by K, with the key cut down to what follows.
    fn take_group(&mut self, prefix: &str) -> BTreeMap<u32, Vec<Field>> {
        let mut group: BTreeMap<u32, Vec<Field>> = BTreeMap::new();
        let mut index = 0;
        while index < self.fields.len() {
            let field = &self.fields[index];
            let found = field.key[field.path..].strip_prefix(prefix).and_then(|rest| {
                let (number, rest) = rest.split_once('.')?;
                Some((number.parse::<u32>().ok()?, field.key.len() - rest.len()))
            });
            match found {
                Some((number, path)) => {
                    let field = self.fields.swap_remove(index);
                    group.entry(number).or_default().push(Field { path, ..field });
                }
                None => index += 1,
            }
        }
        group
    }

    /// Ends the item: what nobody took is not of the shape.
    fn give_back(self) {
        self.leftover.extend(self.fields.into_iter().map(|field| (field.key, field.value)));
    }

    fn sub(&mut self, fields: Vec<Field>) -> Fields<'_> {
        Fields { fields, leftover: self.leftover }
    }
}

fn openinference_message(fields: &mut Fields<'_>) -> ChatMessage {
    let mut message = ChatMessage {
        role: fields.take("message.role").as_deref().and_then(messages::role),
        name: fields.take("message.name"),
        call_id: fields.take("message.tool_call_id"),
        ..ChatMessage::default()
    };
    if let Some(content) = fields.take("message.content").or_else(|| fields.take("prompt.text")) {
        message.parts.push(ChatPart::new(Part::Text, content));
    }
    for (_, group) in fields.take_group("message.contents.") {
        let mut content = fields.sub(group);
        let kind = content.take("message_content.type").unwrap_or_default();
        if let Some(text) = content.take("message_content.text") {
            let part = if matches!(&*kind, "reasoning" | "thinking") { Part::Reasoning } else { Part::Text };
            message.parts.push(ChatPart::new(part, text));
        }
        for path in ["message_content.image.image.url", "message_content.audio.audio.url", "message_content.file.file.url"] {
            if let Some(url) = content.take(path) {
                message.parts.push(ChatPart::new(Part::Media, messages::media_reference(None, &url)));
            }
        }
        content.give_back();
    }
    for (_, group) in fields.take_group("message.tool_calls.") {
        let mut call = fields.sub(group);
        message.parts.push(ChatPart {
            part: Part::ToolCall,
            text: call.take("tool_call.function.arguments").unwrap_or_default(),
            name: call.take("tool_call.function.name"),
            call_id: call.take("tool_call.id"),
            failed: None,
        });
        call.give_back();
    }
    if let Some(name) = fields.take("message.function_call_name") {
        message.parts.push(ChatPart {
            part: Part::ToolCall,
            text: fields.take("message.function_call_arguments_json").unwrap_or_default(),
            name: Some(name),
            call_id: None,
            failed: None,
        });
    }
    message
}

fn openllmetry_message(fields: &mut Fields<'_>) -> ChatMessage {
    let mut message = ChatMessage {
        role: fields.take("role").as_deref().and_then(messages::role),
        name: fields.take("name"),
        call_id: fields.take("tool_call_id"),
        finish_reason: fields.take("finish_reason"),
        ..ChatMessage::default()
    };
    if let Some(reasoning) = fields.take("reasoning") {
        message.parts.push(ChatPart::new(Part::Reasoning, reasoning));
    }
    if let Some(content) = fields.take("content") {
        message.parts.extend(messages::read_parts(&content));
    }
    // LiteLLM's, of one call and without its id.
    if let Some(name) = fields.take("function_call.name") {
        message.parts.push(ChatPart {
            part: Part::ToolCall,
            text: fields.take("function_call.arguments").unwrap_or_default(),
            name: Some(name),
            call_id: None,
            failed: None,
        });
    }
    if let Some(refusal) = fields.take("refusal") {
        message.parts.push(ChatPart::new(Part::Text, refusal));
    }
    for (_, group) in fields.take_group("tool_calls.") {
        let mut call = fields.sub(group);
        message.parts.push(ChatPart {
            part: Part::ToolCall,
            text: call.take("arguments").or_else(|| call.take("function.arguments")).unwrap_or_default(),
            name: call.take("name").or_else(|| call.take("function.name")),
            call_id: call.take("id"),
            failed: None,
        });
        call.give_back();
    }
    message
}

fn openinference_document(fields: &mut Fields<'_>) -> messages::Document {
    messages::Document {
        id: fields.take("document.id"),
        text: fields.take("document.content").unwrap_or_default(),
        score: fields.take("document.score").and_then(|score| score.parse().ok()).filter(|score: &f64| score.is_finite()),
    }
}

fn openllmetry_result(fields: &mut Fields<'_>) -> messages::Document {
    // A distance is the other way round; it is the source's own measure all the same.
    let score = fields.take("score").or_else(|| fields.take("distance"));
    messages::Document {
        id: fields.take("id"),
        text: fields.take("document").or_else(|| fields.take("metadata")).unwrap_or_default(),
        score: score.and_then(|score| score.parse().ok()).filter(|score: &f64| score.is_finite()),
    }
}

fn push_document(pieces: &mut Pieces, rule: &ContentRule, index: u32, document: messages::Document) {
    let mut meta = PieceMeta::new(rule.direction, Role::Document, Part::Document);
    meta.message = index;
    meta.name = document.id.map(Into::into);
    meta.score = document.score;
    pieces.push(meta, document.text);
}

fn push_definition(pieces: &mut Pieces, rule: &ContentRule, name: Option<String>, definition: String) {
    let mut meta = PieceMeta::new(Direction::Input, rule.role, Part::ToolDefinition);
    meta.name = name.map(Into::into);
    pieces.push(meta, definition);
}
