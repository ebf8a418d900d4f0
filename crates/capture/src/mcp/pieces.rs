//! What messages carry, as pieces of an event: bounded, and what is cut is counted.

use event::{Direction, Part, Piece, PieceMeta, Role, attr, limits};
use serde_json::value::RawValue;

use crate::bound::{add, escaped_char};
use crate::gateway::json::{self, Object};
use crate::{Raw, RawEvent};

/// Most content of one event, in bytes as escaped JSON: as such it goes to the server, which takes 16 MiB in one request.
const EVENT_CONTENT_BYTES_MAX: usize = 12 * 1024 * 1024;

/// How much of a message that is not read is kept as evidence, in bytes.
pub(super) const EVIDENCE_BYTES_MAX: usize = 64 * 1024;

/// Collects the pieces of an event.
pub(super) struct Pieces {
    pieces: Vec<Piece<Raw>>,
    left: usize,
    bytes_cut: usize,
    dropped: usize,
}

impl Pieces {
    pub(super) fn new() -> Self {
        Self { pieces: Vec::new(), left: EVENT_CONTENT_BYTES_MAX, bytes_cut: 0, dropped: 0 }
    }

    /// Adds a piece. Nothing is not a piece.
    pub(super) fn push(&mut self, meta: PieceMeta<Raw>, text: String) {
        if text.is_empty() {
            return;
        }
        if self.pieces.len() >= limits::PIECES_MAX {
            self.dropped += 1;
            self.bytes_cut += text.len();
            return;
        }
        let (mut text, mut cut) = json::cut(text);
        let mut taken = 0;
        let fits = text.char_indices().find_map(|(at, character)| {
            taken += escaped_char(character);
            (taken > self.left).then_some(at)
        });
        if let Some(at) = fits {
            cut += text.len() - at;
            text.truncate(at);
        }
        self.left = self.left.saturating_sub(taken);
        self.bytes_cut += cut;
        if text.is_empty() {
            self.dropped += 1;
        } else {
            self.pieces.push(Piece::new(meta, Raw::from(text)));
        }
    }

    /// Adds any JSON value: a text as it reads, everything else as its JSON.
    pub(super) fn value(&mut self, meta: PieceMeta<Raw>, raw: &RawValue) {
        self.push(meta, json::text_or_json(raw));
    }

    /// Adds the content blocks of a result or message. Texts go together into one piece of `meta`, because they are one
    /// answer; pictures and sounds leave a reference, never their bytes.
    pub(super) fn blocks(&mut self, meta: &PieceMeta<Raw>, blocks: &[&RawValue]) {
        let texts: Vec<String> = blocks.iter().filter_map(|raw| text_block(raw)).collect();
        self.push(meta.clone(), texts.join("\n"));
        for raw in blocks.iter().filter(|raw| text_block(raw).is_none()) {
            self.block(meta, raw);
        }
    }

    fn block(&mut self, meta: &PieceMeta<Raw>, raw: &RawValue) {
        let part = |part: Part| PieceMeta { part, ..meta.clone() };
        let Some(block) = Object::of(raw) else { return self.value(part(Part::Body), raw) };
        match block.text("type").as_deref() {
            Some("image" | "audio") => self.push(part(Part::Media), reference(&block, "data")),
            Some("resource") => match block.object("resource") {
                Some(resource) => self.resource(&part(Part::Document), &resource),
                None => self.value(part(Part::Body), raw),
            },
            Some("tool_use") => {
                let meta = PieceMeta {
                    name: block.text("name").map(Raw::from),
                    call_id: block.text("id").map(Raw::from),
                    ..part(Part::ToolCall)
                };
                self.push(meta, block.get("input").map_or_else(|| "{}".to_owned(), json::text_or_json));
            }
            Some("tool_result") => {
                let meta = PieceMeta {
                    role: Role::Tool,
                    call_id: block.text("toolUseId").map(Raw::from),
                    failed: block.get("isError").and_then(json::boolean),
                    ..part(Part::ToolResult)
                };
                let texts: Vec<String> = block.items("content").iter().filter_map(|raw| text_block(raw)).collect();
                self.push(meta, texts.join("\n"));
            }
            // `resource_link`, and what is not known yet.
            _ => self.value(part(Part::Body), raw),
        }
    }

    /// Adds what was read of a resource.
    pub(super) fn resource(&mut self, meta: &PieceMeta<Raw>, resource: &Object<'_>) {
        let name = resource.text("uri").map(Raw::from);
        match resource.text("text") {
            Some(text) => self.push(PieceMeta { name, ..meta.clone() }, text),
            None => self.push(PieceMeta { name, part: Part::Media, ..meta.clone() }, reference(resource, "blob")),
        }
    }

    /// Puts everything into the event.
    pub(super) fn into_event(self, event: &mut RawEvent) {
        event.pieces.extend(self.pieces);
        for (key, count) in [(attr::CONTENT_BYTES_CUT, self.bytes_cut), (attr::ITEMS_DROPPED, self.dropped)] {
            add(&mut event.attributes, key, count);
        }
    }
}

/// The beginning of bytes that are not read.
pub(super) fn evidence(event: &mut RawEvent, direction: Direction, bytes: &[u8]) {
    let kept = &bytes[..bytes.len().min(EVIDENCE_BYTES_MAX)];
    let role = if direction == Direction::Input { Role::Assistant } else { Role::Tool };
    let mut pieces = Pieces::new();
    pieces.push(PieceMeta::new(direction, role, Part::Body), String::from_utf8_lossy(kept).into_owned());
    pieces.bytes_cut += bytes.len() - kept.len();
    pieces.into_event(event);
}

fn text_block(raw: &RawValue) -> Option<String> {
    let block = Object::of(raw)?;
    if block.text("type").as_deref() == Some("text") { block.text("text") } else { None }
}

/// What stands for bytes that are not kept.
fn reference(object: &Object<'_>, key: &str) -> String {
    let mut told = serde_json::Map::new();
    for name in ["type", "uri", "mimeType"] {
        if let Some(text) = object.text(name) {
            told.insert(name.to_owned(), text.into());
        }
    }
    // Base64 without its quotes: four characters for three bytes.
    let encoded = object.get(key).map_or(0, |raw| raw.get().len().saturating_sub(2));
    told.insert("bytes".to_owned(), (encoded / 4 * 3).into());
    serde_json::Value::Object(told).to_string()
}

#[cfg(test)]
mod tests {
    use event::{Event, Kind, Source, SourcePath, Value};

    use super::*;

    fn event() -> RawEvent {
        Event::new(Kind::ToolCall, "x", Source::new(SourcePath::Mcp, event::Key::of("mcp")))
    }

    fn meta() -> PieceMeta<Raw> {
        PieceMeta::new(Direction::Output, Role::Tool, Part::ToolResult)
    }

    #[test]
    fn blocks_become_pieces_and_bytes_become_references() {
        let blocks = serde_json::value::to_raw_value(&serde_json::json!([
            { "type": "text", "text": "one" },
            { "type": "image", "data": "QUJD", "mimeType": "image/png" },
            { "type": "text", "text": "two" },
            { "type": "resource", "resource": { "uri": "file:///a", "text": "inside" } },
            { "type": "resource", "resource": { "uri": "file:///b", "blob": "QUJDREVG" } },
            { "type": "resource_link", "uri": "file:///c", "name": "c" },
            7
        ]))
        .unwrap();
        let mut pieces = Pieces::new();
        pieces.blocks(&meta(), &json::items(&blocks).unwrap());
        let mut event = event();
        pieces.into_event(&mut event);
        let told: Vec<_> = event.pieces.iter().map(|piece| (piece.meta.part, piece.content.expose().to_owned())).collect();
        assert_eq!(told[0], (Part::ToolResult, "one\ntwo".to_owned()));
        assert_eq!(told[1].0, Part::Media);
        assert!(told[1].1.contains("\"bytes\":3") && !told[1].1.contains("QUJD"), "{}", told[1].1);
        assert_eq!(told[2], (Part::Document, "inside".to_owned()));
        assert_eq!(event.pieces[2].meta.name.as_ref().unwrap().expose(), "file:///a");
        assert!(told[3].1.contains("\"bytes\":6"));
        assert!(told[4].1.contains("resource_link"));
        assert_eq!(told[5], (Part::Body, "7".to_owned()));
    }

    #[test]
    fn one_event_stays_within_what_the_server_takes() {
        let mut pieces = Pieces::new();
        for _ in 0..4 {
            pieces.push(meta(), "\u{1}".repeat(6 << 20));
        }
        let mut event = event();
        pieces.into_event(&mut event);
        let kept: usize = event.pieces.iter().map(|piece| piece.content.expose().len()).sum();
        assert!(kept * 6 <= EVENT_CONTENT_BYTES_MAX);
        let cut = event.attribute(attr::CONTENT_BYTES_CUT.as_str()).and_then(Value::as_int).unwrap();
        assert_eq!(usize::try_from(cut).unwrap() + kept, 24 << 20);
    }
}
