//! What the providers' requests and responses are read into.

use std::collections::{BTreeMap, HashMap, VecDeque};

use event::{Attributes, Direction, Key, Part, Piece, PieceMeta, Role, Value, attr, limits};
use serde_json::value::RawValue;

use super::json::{self, Object};
use crate::Raw;

/// A request to a model, as far as it could be read. What could not be is in `unmapped`, or a piece of part `body`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelRequest {
    /// The model that is asked for.
    pub model: Option<String>,
    /// The models that the requests of a batch ask for, each once; an empty name where one could not be read.
    pub batched: Vec<String>,
    /// The model that the body names though the path names another.
    pub other_model: Option<String>,
    /// Whether the response is asked for as a stream.
    pub stream: bool,
    /// The end user, where the body names one.
    pub user: Option<String>,
    /// The conversation, where the body names one.
    pub session: Option<String>,
    /// Sampling parameters and counts, under canonical keys.
    pub attributes: Attributes<Raw>,
    /// Top-level fields that no canonical key stands for.
    pub unmapped: BTreeMap<Raw, Value<Raw>>,
    /// The messages and the tools.
    pub pieces: Vec<Piece<Raw>>,
}

impl ModelRequest {
    /// Every model that is asked for; none where the body names none.
    pub(super) fn models(&self) -> Vec<&str> {
        if self.batched.is_empty() {
            self.model.as_deref().filter(|model| !model.is_empty()).into_iter().collect()
        } else {
            self.batched.iter().map(String::as_str).collect()
        }
    }

    /// Takes over a request of a batch.
    pub(super) fn add_batched(&mut self, one: Option<Self>, pieces: &mut Pieces) {
        let one = one.unwrap_or_default();
        let model = one.model.filter(|_| self.batched.len() < BATCHED_MODELS_MAX).unwrap_or_default();
        if !self.batched.contains(&model) {
            self.batched.push(model.clone());
        }
        self.model = self.model.take().or_else(|| Some(model).filter(|model| !model.is_empty()));
        self.user = self.user.take().or(one.user);
        add_left_out(&mut self.attributes, &one.attributes);
        for piece in one.pieces {
            pieces.push(piece.meta, piece.content.expose().to_owned());
        }
    }
}

/// A response of a model, as far as it could be read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelResponse {
    /// Model, id, finish reasons, usage, under canonical keys.
    pub attributes: Attributes<Raw>,
    /// Top-level fields that no canonical key stands for.
    pub unmapped: BTreeMap<Raw, Value<Raw>>,
    /// What the model said.
    pub pieces: Vec<Piece<Raw>>,
    /// The provider's type of error, when it reported one.
    pub error: Option<String>,
    /// Whether the model refused to answer.
    pub refused: bool,
    /// How many events of a stream could not be read.
    pub malformed_events: u64,
}

/// Why a body cannot be read as a request or a response at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not UTF-8.
    #[error("the body is not UTF-8: the first wrong byte is at offset {offset}; send JSON in UTF-8")]
    NotUtf8 {
        /// Where.
        offset: usize,
    },
    /// Not a form.
    #[error("the body is not a form (multipart/form-data) that can be read: {reason}")]
    NotForm {
        /// What is wrong.
        reason: String,
    },
    /// Not one JSON object.
    #[error("the body is not a JSON object that can be read one way only: {reason}")]
    NotJson {
        /// What is wrong, and where.
        reason: String,
    },
}

/// The end of a response that came as a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More may come.
    More,
    /// That was the final event.
    Last,
}

/// Reads a body as one JSON object.
pub(super) fn body_object(bytes: &[u8]) -> Result<Object<'_>, DecodeError> {
    let text = std::str::from_utf8(bytes).map_err(|error| DecodeError::NotUtf8 { offset: error.valid_up_to() })?;
    Object::parse(text).map_err(|error| DecodeError::NotJson { reason: error.to_string() })
}

/// How a top-level number, text or flag becomes an attribute: the provider's name for it and ours.
pub(super) type Field = (&'static str, Key);

/// Most models of one batch that are told apart: batches are made for one. Further ones count as not readable.
const BATCHED_MODELS_MAX: usize = 256;

/// `gen_ai.request.top_p`
pub(super) const TOP_P: Key = Key::of("gen_ai.request.top_p");
/// `gen_ai.request.top_k`
pub(super) const TOP_K: Key = Key::of("gen_ai.request.top_k");
/// `gen_ai.request.stop_sequences`
pub(super) const STOP_SEQUENCES: Key = Key::of("gen_ai.request.stop_sequences");
/// `gen_ai.output.type`
pub(super) const OUTPUT_TYPE: Key = Key::of("gen_ai.output.type");
/// Whether the model declined to answer.
pub(super) const REFUSED: Key = Key::of("watchkeeper.response.refused");
/// Events of a stream that could not be read.
pub(super) const MALFORMED_EVENTS: Key = Key::of("watchkeeper.stream.malformed_events");

/// Sets the attributes that `table` names; what neither the table nor `handled` knows is kept as unmapped.
pub(super) fn map_fields(
    object: &Object<'_>,
    table: &[Field],
    handled: &[&str],
    attributes: &mut Attributes<Raw>,
    unmapped: &mut BTreeMap<Raw, Value<Raw>>,
) {
    let mut dropped = 0;
    let mut unknown = 0;
    for (name, raw) in object.entries() {
        if raw.get() == "null" || handled.contains(&name) {
            continue;
        }
        if let Some((_, key)) = table.iter().find(|(field, _)| *field == name) {
            attributes.insert(key.clone(), json::value(raw));
        } else if unmapped.len() >= limits::ATTRIBUTES_MAX / 2 {
            dropped += 1;
        } else {
            unknown += 1;
            unmapped.insert(Raw::from(name), json::value(raw));
        }
    }
    add(attributes, attr::UNMAPPED_COUNT, unknown + dropped);
    add(attributes, attr::ITEMS_DROPPED, dropped);
}

/// Adds to a counter among the attributes; zero leaves none.
pub(super) fn add(attributes: &mut Attributes<Raw>, key: Key, count: usize) {
    if count == 0 {
        return;
    }
    let before = attributes.get(&key).and_then(Value::as_int).unwrap_or(0);
    attributes.insert(key, Value::Int(before.saturating_add(i64::try_from(count).unwrap_or(i64::MAX))));
}

/// Carries over what was left out of one of many bodies in a file.
pub(super) fn add_left_out(all: &mut Attributes<Raw>, one: &Attributes<Raw>) {
    for key in [attr::ITEMS_DROPPED, attr::CONTENT_BYTES_CUT] {
        let count = one.get(&key).and_then(Value::as_int).and_then(|count| usize::try_from(count).ok());
        add(all, key, count.unwrap_or(0));
    }
}

/// Collects pieces within the limits of an event. When there are too many, the oldest give way: the newest turn is
/// what has not been recorded before.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    pieces: VecDeque<Piece<Raw>>,
    dropped: usize,
    bytes_cut: usize,
    unmapped: usize,
    last_assistant: Option<u32>,
    assistant_before: Option<u32>,
    last_message: u32,
}

impl Pieces {
    /// Notes who speaks in a message of the input. Messages are announced in their order.
    pub(super) fn message(&mut self, index: u32, role: Role) {
        self.last_message = index;
        if role == Role::Assistant {
            self.assistant_before = self.last_assistant.replace(index);
        }
    }

    /// Adds a piece; one without text is none.
    pub(super) fn push(&mut self, meta: PieceMeta<Raw>, content: String) {
        if content.is_empty() {
            return;
        }
        let (content, cut) = json::cut(content);
        self.bytes_cut += cut;
        if self.pieces.len() >= limits::PIECES_MAX {
            self.pieces.pop_front();
            self.dropped += 1;
        }
        self.pieces.push_back(Piece::new(meta, Raw::from(content)));
    }

    /// Adds what could not be read, as it was.
    pub(super) fn push_unread(&mut self, direction: Direction, role: Role, message: u32, raw: &RawValue) {
        self.unmapped += 1;
        self.push(PieceMeta { message, ..PieceMeta::new(direction, role, Part::Body) }, raw.get().to_owned());
    }

    /// Counts something that was left out.
    pub(super) fn note_dropped(&mut self, count: usize) {
        self.dropped += count;
    }

    /// Counts something that has no canonical place.
    pub(super) fn note_unmapped(&mut self) {
        self.unmapped += 1;
    }

    /// The pieces; the counters go to the attributes. Input that stands before the newest turn is marked as history,
    /// and results of tools get the name of the tool that was called.
    ///
    /// The newest turn is what follows the last message of the model; when the model's message is the very last (a
    /// prefilled answer), what follows the one before it.
    pub(super) fn finish(self, attributes: &mut Attributes<Raw>) -> Vec<Piece<Raw>> {
        let prefilled = self.last_assistant == Some(self.last_message);
        let before = if prefilled { self.assistant_before } else { self.last_assistant };
        let newest = before.map_or(0, |index| index.saturating_add(1));
        let mut pieces = Vec::from(self.pieces);
        let mut names: HashMap<Raw, Raw> = HashMap::new();
        for piece in &mut pieces {
            let meta = &mut piece.meta;
            meta.history = meta.direction == Direction::Input && meta.message < newest;
            let Some(call_id) = &meta.call_id else { continue };
            match (meta.part, &meta.name) {
                (Part::ToolCall, Some(name)) => {
                    names.insert(call_id.clone(), name.clone());
                }
                (Part::ToolResult, None) => meta.name = names.get(call_id).cloned(),
                _ => {}
            }
        }
        add(attributes, attr::ITEMS_DROPPED, self.dropped);
        add(attributes, attr::CONTENT_BYTES_CUT, self.bytes_cut);
        add(attributes, attr::UNMAPPED_COUNT, self.unmapped);
        pieces
    }
}

/// A reference to a picture, sound or file: where it is, or what it is and how large. Never its bytes.
pub(super) fn media_reference(url: &str) -> String {
    match url.strip_prefix("data:") {
        Some(data) => {
            let (kind, body) = data.split_once(',').unwrap_or(("", data));
            let kind = kind.split(';').next().filter(|kind| !kind.is_empty()).unwrap_or("application/octet-stream");
            format!("data:{}, {} characters", json::cut_at(kind.to_owned(), 100).0, body.len())
        }
        None => url.to_owned(),
    }
}

/// A position as the event counts it.
pub(super) fn position(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// What a session may be called in a body's `metadata`.
pub(super) fn session_of(metadata: &Object<'_>) -> Option<String> {
    ["session_id", "session.id", "conversation_id"].into_iter().find_map(|key| metadata.text(key))
}

/// Text that is collected over a stream, within a bound.
#[derive(Debug, Default)]
pub(super) struct Text {
    text: String,
    cut: usize,
}

impl Text {
    /// Adds to the text; beyond the limit of a content it is counted only.
    pub(super) fn add(&mut self, delta: &str) {
        let room = limits::CONTENT_BYTES_MAX.saturating_sub(self.text.len());
        let taken = if delta.len() <= room { delta } else { &delta[..delta.floor_char_boundary(room)] };
        self.text.push_str(taken);
        self.cut += delta.len() - taken.len();
    }

    /// Whether nothing was said.
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The text, and how many bytes of it are missing.
    pub(super) fn take(&mut self) -> (String, usize) {
        (std::mem::take(&mut self.text), std::mem::take(&mut self.cut))
    }
}

impl Pieces {
    /// Adds a text that a stream brought.
    pub(super) fn push_text(&mut self, meta: PieceMeta<Raw>, text: &mut Text) {
        let (text, cut) = text.take();
        self.bytes_cut += cut;
        self.push(meta, text);
    }
}

/// Joins texts as list attribute.
pub(super) fn list(texts: impl IntoIterator<Item = String>) -> Value<Raw> {
    Value::List(texts.into_iter().map(|text| Value::Text(text.into())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(message: u32) -> PieceMeta<Raw> {
        PieceMeta { message, ..PieceMeta::new(Direction::Input, Role::User, Part::Text) }
    }

    #[test]
    fn history_is_what_stands_before_the_newest_turn() {
        // (roles, index of the first message that is new)
        let cases: &[(&[Role], u32)] = &[
            (&[Role::System, Role::User], 0),
            (&[Role::User, Role::Assistant, Role::User], 2),
            (&[Role::User, Role::Assistant, Role::Tool, Role::Assistant, Role::Tool, Role::Tool], 4),
            (&[Role::User, Role::Assistant], 0),
            (&[Role::User, Role::Assistant, Role::User, Role::Assistant], 2),
            (&[], 0),
        ];
        for (roles, newest) in cases {
            let mut pieces = Pieces::default();
            for (index, role) in (0..).zip(*roles) {
                pieces.message(index, *role);
                pieces.push(user(index), "x".to_owned());
            }
            for piece in pieces.finish(&mut Attributes::new()) {
                assert_eq!(piece.meta.history, piece.meta.message < *newest, "{roles:?} {}", piece.meta.message);
            }
        }
    }

    #[test]
    fn too_many_pieces_drop_the_oldest_and_say_so() {
        let mut pieces = Pieces::default();
        for index in 0..limits::PIECES_MAX + 3 {
            pieces.push(user(position(index)), index.to_string());
        }
        let mut attributes = Attributes::new();
        let pieces = pieces.finish(&mut attributes);
        assert_eq!(pieces.len(), limits::PIECES_MAX);
        assert_eq!(pieces[0].content.expose(), "3");
        assert_eq!(attributes[&attr::ITEMS_DROPPED], Value::Int(3));
    }

    #[test]
    fn media_is_named_and_never_kept() {
        assert_eq!(media_reference("data:image/png;base64,AAAA"), "data:image/png, 4 characters");
        assert_eq!(media_reference("https://example.com/a.png"), "https://example.com/a.png");
    }
}
