//! OpenAI's realtime API: the events of a client and of a server, and the conversation that they make. Its names of the beta and those
//! that followed.
//!
//! A response is a model call. What it is asked with is what the client said since the one before, beside the session's instructions and
//! tools. Sound is counted, in characters of its base64; what was said in it comes as a transcript.

use std::collections::VecDeque;

use event::{Attributes, Direction, Part, Piece, PieceMeta, Role, attr};
use serde_json::value::RawValue;

use super::super::decode::{DecodeError, Field, ModelRequest, ModelResponse, Pieces, add, body_object, map_fields};
use super::super::json::{self, Object};
use super::responses::{item, read_usage};
use super::{read_error, tool_definition};
use crate::Raw;
use crate::recording::text_bytes;

/// Text that waits for a response at the most, in bytes. Beyond it what was said is recorded without one.
pub(in super::super) const WAITING_BYTES_MAX: u64 = 1024 * 1024;

/// Pieces that wait for a response at the most.
const WAITING_PIECES_MAX: usize = 1_024;

/// Text of a session's instructions and tools that is kept, in bytes: far more than the API takes.
const SESSION_BYTES_MAX: u64 = 1024 * 1024;

/// Calls of tools whose names are known to their results.
const TOOL_NAMES_MAX: usize = 256;

/// Characters of an id that are looked at. The API's have some thirty.
const ID_CHARS_MAX: usize = 200;

const REQUEST_FIELDS: &[Field] = &[
    ("temperature", attr::GEN_AI_REQUEST_TEMPERATURE),
    ("max_output_tokens", attr::GEN_AI_REQUEST_MAX_TOKENS),
    ("max_response_output_tokens", attr::GEN_AI_REQUEST_MAX_TOKENS),
];

/// Fields of `response.create` that are read elsewhere, or say nothing about what was asked.
const REQUEST_HANDLED: &[&str] = &[
    "instructions",
    "input",
    "tools",
    "tool_choice",
    "conversation",
    "metadata",
    "modalities",
    "output_modalities",
    "audio",
    "voice",
    "output_audio_format",
    "parallel_tool_calls",
    "prompt",
    "reasoning",
];

/// Events of a client that say nothing to the model.
const SILENT: &[&str] = &[
    "input_audio_buffer.commit",
    "input_audio_buffer.clear",
    "output_audio_buffer.clear",
    "conversation.item.delete",
    "conversation.item.truncate",
    "conversation.item.retrieve",
    "response.cancel",
];

/// An event of a client.
#[derive(Debug)]
pub struct Said {
    /// Its own id, where it has one: errors name it.
    pub(in super::super) event_id: Option<String>,
    /// The model that a session asks for.
    pub(in super::super) model: Option<String>,
    /// What it says.
    pub(in super::super) pieces: Vec<Piece<Raw>>,
    /// What of it was left out or has no place.
    pub(in super::super) attributes: Attributes<Raw>,
    pub(in super::super) step: Step,
}

/// What an event of a client does.
#[derive(Debug)]
pub(in super::super) enum Step {
    /// Changes the session.
    Session(Settings),
    /// Adds to the conversation.
    Input,
    /// Asks for a response.
    Ask(Box<Ask>),
    /// Sends sound, so many characters of it. `alone`: it says nothing else.
    Sound { characters: usize, alone: bool },
    /// Nothing that the model is told.
    Nothing,
}

/// What a session is, as far as it is known.
#[derive(Debug, Default)]
pub(in super::super) struct Settings {
    instructions: Option<String>,
    tools: Option<Vec<Box<RawValue>>>,
    attributes: Attributes<Raw>,
    sound_format: Option<String>,
    is_transcription: Option<bool>,
}

/// What a response is asked with beside the conversation.
#[derive(Debug)]
pub(in super::super) struct Ask {
    settings: Settings,
    request: ModelRequest,
    /// Whether it brings what it is about itself, and leaves the conversation alone.
    is_apart: bool,
}

/// What an event of a server is.
#[derive(Debug)]
pub enum Heard {
    /// Something about a session: its id.
    Session(Option<String>),
    /// A response began.
    Began(Option<String>),
    /// A part of a response.
    Part(Option<String>),
    /// Sound of a response, so many characters.
    Sound(Option<String>, usize),
    /// A response is over.
    Ended(Option<String>),
    /// An error, of this event of the client.
    Failed(Option<String>),
    /// A transcript that nobody answers.
    Transcribed(Box<ModelResponse>),
    /// Anything else.
    Other,
    /// It could not be read.
    Malformed,
}

/// What is known of a conversation. Memory is bounded.
#[derive(Debug, Default)]
pub struct Conversation {
    model: Option<String>,
    session: Settings,
    /// Changes of the session that the server has not confirmed: until then it tells of what was before.
    updates: u32,
    /// What was said since the last response was asked for.
    waiting: Vec<Piece<Raw>>,
    attributes: Attributes<Raw>,
    items: u32,
    /// Characters of sound that no item has yet.
    sound: usize,
    /// Calls of tools: id and name.
    tools: VecDeque<(String, String)>,
}

/// Reads an event of a client.
pub fn read_client(bytes: &[u8]) -> Result<Said, DecodeError> {
    let object = body_object(bytes)?;
    let mut pieces = Pieces::default();
    let mut said = Said {
        event_id: id(&object, "event_id"),
        model: None,
        pieces: Vec::new(),
        attributes: Attributes::new(),
        step: Step::Nothing,
    };
    let kind = object.text("type").unwrap_or_default();
    match (kind.as_str(), object.object("session"), object.get("item"), object.get("audio")) {
        ("session.update" | "transcription_session.update", Some(session), _, _) => {
            said.model = session.text("model");
            let settings = Settings::of(&session, kind.starts_with("transcription"));
            settings.write(&mut pieces);
            said.step = Step::Session(settings);
        }
        ("conversation.item.create", _, Some(raw), _) => {
            item(raw, Direction::Input, 0, &mut pieces);
            said.step = Step::Input;
        }
        ("input_audio_buffer.append" | "session.input_audio_buffer.append", _, _, Some(audio)) => {
            let alone = object.entries().all(|(name, value)| match name {
                "type" => true,
                "event_id" => value.get().len() <= ID_CHARS_MAX,
                "audio" => is_base64(value),
                _ => false,
            });
            said.step = Step::Sound { characters: audio.get().len().saturating_sub(2), alone };
        }
        ("response.create", ..) => {
            let ask = Ask::of(object.object("response").as_ref(), &mut pieces);
            said.step = Step::Ask(Box::new(ask));
        }
        (silent, ..) if SILENT.contains(&silent) => {}
        _ => match serde_json::from_slice::<&RawValue>(bytes) {
            Ok(raw) => {
                pieces.push_unread(Direction::Input, Role::User, 0, raw);
                said.step = Step::Input;
            }
            Err(error) => return Err(DecodeError::NotJson { reason: error.to_string() }),
        },
    }
    said.pieces = pieces.finish(&mut said.attributes);
    Ok(said)
}

impl Conversation {
    /// A conversation with a model, where the connection names one.
    #[must_use]
    pub fn new(model: Option<String>) -> Self {
        Self { model, ..Self::default() }
    }

    /// The model, as far as it is known.
    pub(in super::super) fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Takes over what the client said, once it may go on. A response that it asks for is given as a request.
    pub fn say(&mut self, said: Said) -> Option<ModelRequest> {
        match said.step {
            Step::Session(settings) => {
                add_counts(&mut self.attributes, &said.attributes);
                self.updates = self.updates.saturating_add(1);
                self.session.take_over(settings);
            }
            Step::Input => self.wait(said.pieces, &said.attributes),
            Step::Sound { characters, .. } => self.sound = self.sound.saturating_add(characters),
            Step::Ask(ask) => return Some(self.ask(Some(*ask))),
            Step::Nothing => {}
        }
        None
    }

    /// Adds what was found beside the pieces of an event.
    pub(in super::super) fn add(&mut self, pieces: Vec<Piece<Raw>>) {
        self.wait(pieces, &Attributes::new());
    }

    /// The request of a response that began: of its own, where nobody asked for it.
    pub fn ask_by_itself(&mut self) -> ModelRequest {
        self.ask(None)
    }

    /// Reads an event of the server.
    pub fn hear(&mut self, bytes: &[u8]) -> Heard {
        let Some(object) = std::str::from_utf8(bytes).ok().and_then(|text| Object::parse(text).ok()) else {
            return Heard::Malformed;
        };
        let Some(kind) = object.text("type") else { return Heard::Malformed };
        let response = || object.object("response").and_then(|response| id(&response, "id"));
        let of_response = || id(&object, "response_id");
        match kind.as_str() {
            "session.created" | "session.updated" | "transcription_session.created" | "transcription_session.updated" => {
                let Some(session) = object.object("session") else { return Heard::Other };
                let told = Settings::of(&session, kind.starts_with("transcription"));
                self.updates = self.updates.saturating_sub(u32::from(kind.ends_with("updated")));
                if self.updates == 0 {
                    self.session.take_over(told);
                } else {
                    let newer = std::mem::replace(&mut self.session, told);
                    self.session.take_over(newer);
                }
                self.model = session.text("model").map(|model| json::cut_at(model, ID_CHARS_MAX).0).or(self.model.take());
                Heard::Session(id(&session, "id"))
            }
            "response.created" => Heard::Began(response()),
            "response.done" => {
                if let Some(response) = object.object("response") {
                    self.note_tools(&response);
                }
                Heard::Ended(response())
            }
            "error" => {
                // It may have been a change of the session that was refused.
                self.updates = self.updates.saturating_sub(1);
                Heard::Failed(object.object("error").and_then(|error| id(&error, "event_id")))
            }
            "input_audio_buffer.committed" => {
                let sound = self.take_sound();
                self.wait(sound, &Attributes::new());
                Heard::Other
            }
            "conversation.item.input_audio_transcription.completed" => self.transcribed(&object),
            "conversation.item.done" => {
                // Tools that a server of MCP offers, as the provider listed them.
                let listed = object.get("item").filter(|raw| {
                    let kind = Object::of(raw).and_then(|item| item.text("type"));
                    kind.as_deref() == Some("mcp_list_tools")
                });
                if let Some(raw) = listed {
                    let (mut pieces, mut attributes) = (Pieces::default(), Attributes::new());
                    item(raw, Direction::Input, 0, &mut pieces);
                    let pieces = pieces.finish(&mut attributes);
                    self.wait(pieces, &attributes);
                }
                Heard::Other
            }
            kind if kind.ends_with("audio.delta") => {
                Heard::Sound(of_response(), object.get("delta").map_or(0, |delta| delta.get().len().saturating_sub(2)))
            }
            kind if kind.starts_with("response.") => Heard::Part(of_response()),
            _ => Heard::Other,
        }
    }

    /// Whether so much waits that it is recorded without waiting any longer.
    pub(in super::super) fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_PIECES_MAX || text_bytes(&self.waiting) >= WAITING_BYTES_MAX
    }

    /// What was said and never answered.
    pub fn rest(&mut self) -> Option<ModelRequest> {
        let sound = self.take_sound();
        self.wait(sound, &Attributes::new());
        (!self.waiting.is_empty()).then(|| {
            self.items = 0;
            ModelRequest {
                model: self.model.clone(),
                stream: true,
                attributes: std::mem::take(&mut self.attributes),
                pieces: std::mem::take(&mut self.waiting),
                ..ModelRequest::default()
            }
        })
    }

    /// How sound is written, as far as it is known.
    pub(in super::super) fn sound_piece(&self, direction: Direction, characters: usize) -> Option<Piece<Raw>> {
        let role = if direction == Direction::Input { Role::User } else { Role::Assistant };
        let format = self.session.sound_format.as_deref().unwrap_or("audio");
        (characters > 0).then(|| {
            Piece::new(PieceMeta::new(direction, role, Part::Media), Raw::from(format!("{format}, {characters} characters")))
        })
    }

    fn take_sound(&mut self) -> Vec<Piece<Raw>> {
        let characters = std::mem::take(&mut self.sound);
        self.sound_piece(Direction::Input, characters).into_iter().collect()
    }

    /// Adds an item to what waits.
    fn wait(&mut self, pieces: Vec<Piece<Raw>>, attributes: &Attributes<Raw>) {
        if pieces.is_empty() {
            return;
        }
        self.items = self.items.saturating_add(1);
        for mut piece in pieces {
            piece.meta.message = self.items;
            if piece.meta.part == Part::ToolResult && piece.meta.name.is_none() {
                let id = piece.meta.call_id.as_ref().map(Raw::expose);
                let known = self.tools.iter().find(|(call, _)| Some(call.as_str()) == id);
                piece.meta.name = known.map(|(_, name)| Raw::from(name.as_str()));
            }
            self.waiting.push(piece);
        }
        add_counts(&mut self.attributes, attributes);
    }

    fn ask(&mut self, ask: Option<Ask>) -> ModelRequest {
        let (settings, mut request, is_apart) = match ask {
            Some(ask) => (Some(ask.settings), ask.request, ask.is_apart),
            None => (None, ModelRequest::default(), false),
        };
        request.model.clone_from(&self.model);
        request.stream = true;
        for (key, value) in &self.session.attributes {
            request.attributes.entry(key.clone()).or_insert_with(|| value.clone());
        }
        let mut pieces = Pieces::default();
        let of_ask = settings.as_ref();
        let tools = of_ask.and_then(|settings| settings.tools.as_deref()).or(self.session.tools.as_deref());
        let instructions = of_ask.and_then(|settings| settings.instructions.as_deref()).or(self.session.instructions.as_deref());
        write_settings(instructions, tools, &mut pieces);
        let mut all = pieces.finish(&mut request.attributes);
        all.append(&mut request.pieces);
        if !is_apart {
            let sound = self.take_sound();
            self.wait(sound, &Attributes::new());
            self.items = 0;
            all.append(&mut self.waiting);
            add_counts(&mut request.attributes, &std::mem::take(&mut self.attributes));
        }
        request.pieces = all;
        request
    }

    /// Remembers the names of the tools that a response calls, for their results.
    fn note_tools(&mut self, response: &Object<'_>) {
        for call in response.items("output").into_iter().filter_map(Object::of) {
            if let (Some(id), Some(name)) = (id(&call, "call_id"), call.text("name")) {
                if self.tools.len() >= TOOL_NAMES_MAX {
                    self.tools.pop_front();
                }
                self.tools.push_back((id, json::cut_at(name, ID_CHARS_MAX).0));
            }
        }
    }

    /// What the user said, as the provider understood it: a part of what the next response is about, or, where there are none, a result
    /// by itself.
    fn transcribed(&mut self, object: &Object<'_>) -> Heard {
        let Some(transcript) = object.text("transcript") else { return Heard::Other };
        let (transcript, cut) = json::cut(transcript);
        let mut attributes = Attributes::new();
        add(&mut attributes, attr::CONTENT_BYTES_CUT, cut);
        if self.session.is_transcription != Some(true) {
            let meta = PieceMeta::new(Direction::Input, Role::User, Part::Text);
            self.wait(vec![Piece::new(meta, Raw::from(transcript))], &attributes);
            return Heard::Other;
        }
        read_usage(object, &mut attributes);
        let sound = self.take_sound();
        self.wait(sound, &Attributes::new());
        let mut pieces = std::mem::take(&mut self.waiting);
        pieces.push(Piece::new(PieceMeta::new(Direction::Output, Role::Assistant, Part::Text), Raw::from(transcript)));
        Heard::Transcribed(Box::new(ModelResponse { attributes, pieces, ..ModelResponse::default() }))
    }
}

/// Reads the error of a server's `error` event.
pub(in super::super) fn error_of(bytes: &[u8]) -> Option<ModelResponse> {
    let object = std::str::from_utf8(bytes).ok().and_then(|text| Object::parse(text).ok())?;
    let mut pieces = Pieces::default();
    let mut response = ModelResponse { error: Some(read_error(object.get("error")?, &mut pieces)), ..ModelResponse::default() };
    response.pieces = pieces.finish(&mut response.attributes);
    Some(response)
}

impl Settings {
    fn of(session: &Object<'_>, is_transcription: bool) -> Self {
        let kept = |text: &str| (text.len() as u64) <= SESSION_BYTES_MAX;
        let mut room = SESSION_BYTES_MAX;
        let tools = session.get("tools").and_then(json::items).map(|tools| {
            let fits = |tool: &&RawValue| {
                let size = tool.get().len() as u64;
                let fits = size <= room;
                room = room.saturating_sub(size);
                fits
            };
            tools.into_iter().filter(fits).map(ToOwned::to_owned).collect()
        });
        let mut attributes = Attributes::new();
        for (name, key) in REQUEST_FIELDS {
            if let Some(raw) = session.get(name).filter(|raw| raw.get().len() <= ID_CHARS_MAX) {
                attributes.insert(key.clone(), json::value(raw));
            }
        }
        let input = session.object("audio").and_then(|audio| audio.object("input")).and_then(|input| input.object("format"));
        let format = input.and_then(|format| format.text("type"));
        let format = format.or_else(|| session.text("input_audio_format").map(|format| format!("audio/{format}")));
        Self {
            instructions: session.text("instructions").map(|text| {
                if kept(&text) { text } else { json::cut_at(text, usize::try_from(SESSION_BYTES_MAX).unwrap_or(0)).0 }
            }),
            tools,
            attributes,
            sound_format: format.map(|format| json::cut_at(format, 100).0),
            is_transcription: (is_transcription || session.text("type").is_some())
                .then(|| is_transcription || session.text("type").as_deref() == Some("transcription")),
        }
    }

    /// What stands in the other counts; what does not, stays.
    fn take_over(&mut self, other: Self) {
        self.instructions = other.instructions.or(self.instructions.take());
        self.tools = other.tools.or(self.tools.take());
        self.attributes.extend(other.attributes);
        self.sound_format = other.sound_format.or(self.sound_format.take());
        self.is_transcription = other.is_transcription.or(self.is_transcription);
    }

    fn write(&self, pieces: &mut Pieces) {
        write_settings(self.instructions.as_deref(), self.tools.as_deref(), pieces);
    }
}

impl Ask {
    fn of(response: Option<&Object<'_>>, pieces: &mut Pieces) -> Self {
        let mut ask = Self { settings: Settings::default(), request: ModelRequest::default(), is_apart: false };
        let Some(response) = response else { return ask };
        ask.settings = Settings::of(response, false);
        ask.settings.write(pieces);
        let request = &mut ask.request;
        map_fields(response, REQUEST_FIELDS, REQUEST_HANDLED, &mut request.attributes, &mut request.unmapped);
        if let Some(input) = response.get("input") {
            ask.is_apart = true;
            let mut own = Pieces::default();
            for target in [&mut own, pieces] {
                match json::items(input) {
                    Some(items) => {
                        for (index, raw) in items.into_iter().enumerate() {
                            let index = u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1);
                            item(raw, Direction::Input, index, target);
                        }
                    }
                    None => target.push_unread(Direction::Input, Role::User, 1, input),
                }
            }
            request.pieces = own.finish(&mut request.attributes);
        }
        ask
    }
}

fn write_settings(instructions: Option<&str>, tools: Option<&[Box<RawValue>]>, pieces: &mut Pieces) {
    for tool in tools.unwrap_or_default() {
        tool_definition(tool, pieces);
    }
    if let Some(instructions) = instructions {
        pieces.push(PieceMeta::new(Direction::Input, Role::System, Part::Text), instructions.to_owned());
    }
}

/// Adds what was left out or has no place.
fn add_counts(all: &mut Attributes<Raw>, one: &Attributes<Raw>) {
    for key in [attr::UNMAPPED_COUNT, attr::ITEMS_DROPPED, attr::CONTENT_BYTES_CUT] {
        let count = one.get(&key).and_then(event::Value::as_int).and_then(|count| usize::try_from(count).ok());
        add(all, key, count.unwrap_or(0));
    }
}

/// An id, cut: what is longer is none of the API's.
fn id(object: &Object<'_>, key: &str) -> Option<String> {
    object.text(key).map(|id| json::cut_at(id, ID_CHARS_MAX).0)
}

/// Whether a value is a text of base64 alone.
fn is_base64(raw: &RawValue) -> bool {
    let text = raw.get().trim_matches('"');
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'='))
}

#[cfg(test)]
mod tests;
