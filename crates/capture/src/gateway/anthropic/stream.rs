//! The stream of a message: content blocks put together again.

use std::collections::BTreeMap;

use event::{Direction, Part, PieceMeta, Role};
use serde_json::value::RawValue;

use super::super::api::StreamDecode;
use super::super::decode::{MALFORMED_EVENTS, ModelResponse, Pieces, Progress, Text, add, map_fields};
use super::super::json::Object;
use super::{RESPONSE_FIELDS, RESPONSE_HANDLED, Usage, block, finish, read_error};
use crate::Raw;

/// Most content blocks of one response that are put together.
const BLOCKS_MAX: usize = 4_096;

/// Puts the events of a streamed message together. Memory is bounded by the limits of an event.
#[derive(Debug, Default)]
pub struct StreamDecoder {
    response: ModelResponse,
    blocks: BTreeMap<i64, Block>,
    stop_reason: Option<String>,
    usage: Usage,
    pieces: Pieces,
    malformed: usize,
    dropped: usize,
}

/// A content block: how it started, and what was added.
#[derive(Debug)]
struct Block {
    start: Box<RawValue>,
    text: Text,
    thinking: Text,
    input: Text,
}

impl StreamDecode for StreamDecoder {
    /// The event's name says nothing that its data does not (`type`), and is not needed.
    fn event(&mut self, _name: &[u8], data: &[u8]) -> Progress {
        let object = std::str::from_utf8(data).ok().and_then(|text| Object::parse(text).ok());
        let kind = object.as_ref().and_then(|object| object.text("type"));
        let (Some(object), Some(kind)) = (object, kind) else {
            self.malformed += 1;
            let text = String::from_utf8_lossy(data).into_owned();
            self.pieces.push(PieceMeta::new(Direction::Output, Role::Assistant, Part::Body), text);
            return Progress::More;
        };
        match kind.as_str() {
            "message_start" => {
                if let Some(message) = object.object("message") {
                    let response = &mut self.response;
                    map_fields(&message, RESPONSE_FIELDS, RESPONSE_HANDLED, &mut response.attributes, &mut response.unmapped);
                    if let Some(usage) = message.object("usage") {
                        self.usage.read(&usage);
                    }
                }
            }
            "content_block_start" => {
                if let (Some(index), Some(start)) = (object.int("index"), object.get("content_block")) {
                    if self.blocks.len() >= BLOCKS_MAX {
                        self.dropped += 1;
                    } else {
                        let block = Block::starting(start);
                        // A block that starts twice would take the first one out of the record: keep both.
                        if let Some(earlier) = self.blocks.insert(index, block) {
                            earlier.write(&mut self.pieces);
                        }
                    }
                }
            }
            "content_block_delta" => self.delta(&object),
            "message_delta" => {
                if let Some(reason) = object.object("delta").and_then(|delta| delta.text("stop_reason")) {
                    self.stop_reason = Some(reason);
                }
                if let Some(usage) = object.object("usage") {
                    self.usage.read(&usage);
                }
            }
            "error" => {
                if let Some(error) = object.get("error") {
                    self.response.error = Some(read_error(error, &mut self.pieces));
                }
            }
            "message_stop" => return Progress::Last,
            _ => {}
        }
        Progress::More
    }

    fn is_last(&self, name: &[u8], _data: &[u8]) -> bool {
        name == b"message_stop"
    }

    fn has_finished(&self) -> bool {
        self.stop_reason.is_some()
    }

    fn take(&mut self) -> ModelResponse {
        let this = std::mem::take(self);
        let mut pieces = this.pieces;
        for block in this.blocks.into_values() {
            block.write(&mut pieces);
        }
        pieces.note_dropped(this.dropped);
        let mut response = this.response;
        finish(&mut response, this.stop_reason, &this.usage);
        add(&mut response.attributes, MALFORMED_EVENTS, this.malformed);
        response.malformed_events = this.malformed as u64;
        response.pieces = pieces.finish(&mut response.attributes);
        response
    }
}

impl StreamDecoder {
    fn delta(&mut self, object: &Object<'_>) {
        let block = object.int("index").and_then(|index| self.blocks.get_mut(&index));
        let (Some(block), Some(delta)) = (block, object.object("delta")) else {
            self.dropped += 1;
            return;
        };
        for (text, key) in [(&mut block.text, "text"), (&mut block.thinking, "thinking"), (&mut block.input, "partial_json")] {
            if let Some(more) = delta.text(key) {
                text.add(&more);
            }
        }
    }
}

impl Block {
    fn starting(start: &RawValue) -> Self {
        let mut block =
            Self { start: start.to_owned(), text: Text::default(), thinking: Text::default(), input: Text::default() };
        let object = Object::of(start);
        let field = |key: &str| object.as_ref().and_then(|object| object.text(key)).unwrap_or_default();
        match field("type").as_str() {
            "text" => block.text.add(&field("text")),
            "thinking" => block.thinking.add(&field("thinking")),
            _ => {}
        }
        block
    }

    fn write(mut self, pieces: &mut Pieces) {
        let meta = |part| PieceMeta::new(Direction::Output, Role::Assistant, part);
        let start = Object::of(&self.start);
        let kind = start.as_ref().and_then(|start| start.text("type")).unwrap_or_default();
        if kind.ends_with("tool_use") {
            let field = |key: &str| start.as_ref().and_then(|start| start.text(key)).map(Raw::from);
            let meta = PieceMeta { name: field("name"), call_id: field("id"), ..meta(Part::ToolCall) };
            if self.input.is_empty() {
                let input = start.as_ref().and_then(|start| start.get("input"));
                self.input.add(input.map_or("{}", RawValue::get));
            }
            return pieces.push_text(meta, &mut self.input);
        }
        if !matches!(kind.as_str(), "text" | "thinking") {
            block(&self.start, Direction::Output, Role::Assistant, 0, pieces);
        }
        pieces.push_text(meta(Part::Reasoning), &mut self.thinking);
        pieces.push_text(meta(Part::Text), &mut self.text);
        pieces.push_text(meta(Part::Body), &mut self.input);
    }
}
