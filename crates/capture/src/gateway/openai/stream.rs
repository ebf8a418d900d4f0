//! The stream of a chat completion: deltas put together again.

use std::collections::BTreeMap;

use event::{Direction, Part, PieceMeta, Role};

use super::super::api::StreamDecode;
use super::super::decode::{MALFORMED_EVENTS, ModelResponse, Pieces, Progress, Text, add, map_fields};
use super::super::json::{self, Object};
use super::super::shape::each;
use super::{Logprobs, RESPONSE_FIELDS, RESPONSE_HANDLED, finish, read_error, read_usage};
use crate::Raw;

/// Most choices of one response that are put together. OpenAI allows 128.
const CHOICES_MAX: usize = 128;

/// Most tool calls of one choice. OpenAI allows 128 tools.
const TOOL_CALLS_MAX: usize = 1_024;

/// Most finish reasons kept: one a choice, whatever a broken upstream repeats.
const FINISH_REASONS_MAX: usize = CHOICES_MAX;

/// Puts the deltas of a streamed chat completion together. Memory is bounded by the limits of an event.
#[derive(Debug, Default)]
pub struct StreamDecoder {
    response: ModelResponse,
    choices: BTreeMap<i64, Choice>,
    finish_reasons: Vec<String>,
    logprobs: Logprobs,
    pieces: Pieces,
    malformed: usize,
    dropped: usize,
    seen_head: bool,
}

#[derive(Debug, Default)]
struct Choice {
    content: Text,
    refusal: Text,
    reasoning: Text,
    calls: BTreeMap<i64, Call>,
}

#[derive(Debug, Default)]
struct Call {
    id: Option<String>,
    name: Text,
    arguments: Text,
}

impl StreamDecode for StreamDecoder {
    fn event(&mut self, _name: &[u8], data: &[u8]) -> Progress {
        if data == b"[DONE]" {
            return Progress::Last;
        }
        let object = std::str::from_utf8(data).ok().and_then(|text| Object::parse(text).ok());
        match object {
            Some(chunk) => self.chunk(&chunk),
            None => {
                self.malformed += 1;
                let text = String::from_utf8_lossy(data).into_owned();
                self.pieces.push(PieceMeta::new(Direction::Output, Role::Assistant, Part::Body), text);
            }
        }
        Progress::More
    }

    fn is_last(&self, _name: &[u8], data: &[u8]) -> bool {
        data == b"[DONE]"
    }

    fn has_finished(&self) -> bool {
        !self.finish_reasons.is_empty()
    }

    fn take(&mut self) -> ModelResponse {
        let mut this = std::mem::take(self);
        let mut pieces = this.pieces;
        for (index, mut choice) in this.choices {
            let message = u32::try_from(index).unwrap_or(0);
            let meta = |part| PieceMeta { message, ..PieceMeta::new(Direction::Output, Role::Assistant, part) };
            this.response.refused |= !choice.refusal.is_empty();
            pieces.push_text(meta(Part::Reasoning), &mut choice.reasoning);
            pieces.push_text(meta(Part::Text), &mut choice.content);
            pieces.push_text(meta(Part::Text), &mut choice.refusal);
            for (_, mut call) in choice.calls {
                let (name, _) = call.name.take();
                let name = Some(name).filter(|name| !name.is_empty()).map(Raw::from);
                if call.arguments.is_empty() {
                    call.arguments.add("{}");
                }
                let meta = PieceMeta { name, call_id: call.id.map(Raw::from), ..meta(Part::ToolCall) };
                pieces.push_text(meta, &mut call.arguments);
            }
        }
        let mut response = this.response;
        response.refused |= this.finish_reasons.iter().any(|reason| reason == "content_filter");
        pieces.note_dropped(this.dropped);
        finish(&mut response, this.finish_reasons, &this.logprobs);
        add(&mut response.attributes, MALFORMED_EVENTS, this.malformed);
        response.malformed_events = this.malformed as u64;
        response.pieces = pieces.finish(&mut response.attributes);
        response
    }
}

impl StreamDecoder {
    fn chunk(&mut self, chunk: &Object<'_>) {
        if !self.seen_head {
            self.seen_head = true;
            let response = &mut self.response;
            map_fields(chunk, RESPONSE_FIELDS, RESPONSE_HANDLED, &mut response.attributes, &mut response.unmapped);
        }
        if let Some(error) = chunk.get("error") {
            self.response.error = Some(read_error(error, &mut self.pieces));
        }
        if let Some(usage) = chunk.object("usage") {
            read_usage(&usage, &mut self.response.attributes);
        }
        for choice in chunk.items("choices").into_iter().filter_map(Object::of) {
            let index = choice.int("index").unwrap_or(0);
            if self.choices.len() >= CHOICES_MAX && !self.choices.contains_key(&index) {
                self.dropped += 1;
                continue;
            }
            if let Some(reason) = choice.text("finish_reason")
                && self.finish_reasons.len() < FINISH_REASONS_MAX
            {
                self.finish_reasons.push(reason);
            }
            self.logprobs.read(&choice);
            let entry = self.choices.entry(index).or_default();
            // Completions of the older kind have their text in the choice itself.
            if let Some(text) = choice.text("text") {
                entry.content.add(&text);
            }
            if let Some(delta) = choice.object("delta") {
                self.dropped += entry.add(&delta);
            }
        }
    }
}

impl Choice {
    /// Adds a delta; returns how many of its parts had no room.
    fn add(&mut self, delta: &Object<'_>) -> usize {
        let mut dropped = 0;
        for (text, keys) in [
            (&mut self.content, &["content"][..]),
            (&mut self.refusal, &["refusal"]),
            (&mut self.reasoning, &["reasoning_content", "reasoning"]),
        ] {
            for key in keys {
                if let Some(more) = delta.text(key) {
                    text.add(&more);
                }
            }
        }
        // Parts in the place of a text, and what was said in sound.
        for (path, is_reasoning) in [
            ("content[].text", false),
            ("content[].thinking[].text", true),
            ("audio.transcript", false),
            ("reasoning_details[].text", true),
            ("reasoning_details[].summary", true),
        ] {
            let text = if is_reasoning { &mut self.reasoning } else { &mut self.content };
            each(delta, path, &mut |_, raw| {
                if let Some(more) = json::text(raw) {
                    text.add(&more);
                }
            });
        }
        for raw in delta.items("tool_calls") {
            let Some(call) = Object::of(raw) else { continue };
            let index = call.int("index").unwrap_or(0);
            if self.calls.len() >= TOOL_CALLS_MAX && !self.calls.contains_key(&index) {
                dropped += 1;
                continue;
            }
            let entry = self.calls.entry(index).or_default();
            if let Some(id) = call.text("id").filter(|id| !id.is_empty()) {
                entry.id = Some(json::cut_at(id, 1_024).0);
            }
            if let Some(function) = call.object("function").or_else(|| call.object("custom")) {
                entry.add(&function);
            }
        }
        if let Some(function) = delta.object("function_call") {
            self.calls.entry(-1).or_default().add(&function);
        }
        dropped
    }
}

impl Call {
    fn add(&mut self, function: &Object<'_>) {
        if let Some(name) = function.text("name") {
            self.name.add(&name);
        }
        for key in ["arguments", "input"] {
            if let Some(arguments) = function.get(key) {
                self.arguments.add(&json::text_or_json(arguments));
            }
        }
    }
}
