//! A recorded conversation and the events that must have happened for it to come about.

use event::{
    Attributes, Direction, EventId, Key, Kind, Part, Piece, PieceMeta, Principal, Role, Source, SourcePath, SpanId, Status,
    Timestamp, Trace, TraceId, Value, attr,
};

use crate::{Raw, RawEvent};

/// Says where the time of an event comes from, when it is not from the event's source.
const TIME_SOURCE: Key = Key::of("watchkeeper.time.source");

/// A conversation as a file holds it.
pub(super) struct Conversation {
    pub(super) session: String,
    pub(super) model: Option<String>,
    pub(super) application: Option<String>,
    pub(super) user: Option<String>,
    pub(super) dialect: Key,
    pub(super) messages: Vec<Message>,
}

/// A message of a conversation.
pub(super) struct Message {
    pub(super) role: Role,
    pub(super) text: String,
    /// What an assistant's message asks for.
    pub(super) calls: Vec<Call>,
    /// What a tool's message answers: the tool's name, the call's id, whether it failed.
    pub(super) tool: Option<String>,
    pub(super) call_id: Option<String>,
    pub(super) failed: bool,
}

/// A tool call that an assistant's message asks for.
pub(super) struct Call {
    pub(super) id: Option<String>,
    pub(super) tool: String,
    pub(super) arguments: String,
}

impl Conversation {
    /// One `model_call` for each assistant message, with all that stood before it as its input, and one `tool_call` for
    /// each call that it asks for, with the result that follows.
    pub(super) fn into_events(mut self, base: Timestamp) -> Vec<RawEvent> {
        self.name_calls();
        let digest = sha256(self.session.as_bytes());
        let trace_id = TraceId::from_slice(&digest[..16]);
        let mut clock = Clock { base, ticks: 0 };
        let mut events = Vec::new();
        let mut index = 0;
        while let Some(message) = self.messages.get(index) {
            if message.role == Role::Assistant {
                let span = span_id(&self.session, index, None);
                events.push(self.model_call(index, trace(trace_id, span, None), clock.tick()));
                for (nth, call) in message.calls.iter().enumerate() {
                    let place = trace(trace_id, span_id(&self.session, index, Some(nth)), span);
                    events.push(self.tool_call(call, index, place, clock.tick()));
                }
            }
            index += 1;
        }
        // What was asked and never answered happened, too.
        if let Some(last) = self.messages.len().checked_sub(1)
            && self.messages[last].role != Role::Assistant
            && self.messages[last].role != Role::System
        {
            let span = span_id(&self.session, last + 1, None);
            events.push(self.model_call(last + 1, trace(trace_id, span, None), clock.tick()));
        }
        events
    }

    /// Gives every call an id and every tool result the id of the call that it answers: the next one of the same tool that
    /// has no result yet, else the next one at all.
    fn name_calls(&mut self) {
        let mut open: Vec<(String, String)> = Vec::new();
        for (index, message) in self.messages.iter_mut().enumerate() {
            for (nth, call) in message.calls.iter_mut().enumerate() {
                let id = call.id.get_or_insert_with(|| format!("call-{index}-{nth}"));
                open.push((id.clone(), call.tool.clone()));
            }
            if message.role == Role::Tool {
                let place = match (&message.call_id, &message.tool) {
                    (Some(id), _) => open.iter().position(|(open_id, _)| open_id == id),
                    (None, Some(tool)) => {
                        open.iter().position(|(_, open_tool)| open_tool == tool).or((!open.is_empty()).then_some(0))
                    }
                    (None, None) => (!open.is_empty()).then_some(0),
                };
                if let Some(place) = place {
                    let (id, tool) = open.remove(place);
                    message.call_id.get_or_insert(id);
                    message.tool.get_or_insert(tool);
                }
            }
        }
    }

    fn model_call(&self, index: usize, place: Option<Trace>, time: Timestamp) -> RawEvent {
        let model = self.model.as_deref().unwrap_or("unknown");
        let mut event = self.event(Kind::ModelCall, format!("chat {model}"), place, time);
        event.set(attr::GEN_AI_OPERATION_NAME, "chat");
        let before = &self.messages[..index.min(self.messages.len())];
        let newest = before.iter().rposition(|message| message.role == Role::Assistant).map_or(0, |last| last + 1);
        for (at, message) in before.iter().enumerate() {
            event.pieces.extend(message.pieces(Direction::Input, at, at < newest));
        }
        if let Some(message) = self.messages.get(index) {
            event.pieces.extend(message.pieces(Direction::Output, index, false));
        }
        self.derive_id(&mut event, index, None);
        event
    }

    fn tool_call(&self, call: &Call, index: usize, place: Option<Trace>, time: Timestamp) -> RawEvent {
        let mut event = self.event(Kind::ToolCall, format!("execute_tool {}", call.tool), place, time);
        event.set(attr::GEN_AI_OPERATION_NAME, "execute_tool");
        event.set(attr::GEN_AI_TOOL_NAME, call.tool.as_str());
        if let Some(id) = &call.id {
            event.set(attr::GEN_AI_TOOL_CALL_ID, id.as_str());
        }
        let at = u32::try_from(index).unwrap_or(u32::MAX);
        event.pieces.push(call.piece(Direction::Input, at));
        let answer = self.messages[index..].iter().find(|message| message.role == Role::Tool && message.call_id == call.id);
        if let Some(answer) = answer {
            event.status = if answer.failed { Status::Error } else { Status::Ok };
            if answer.failed {
                event.set(attr::ERROR_TYPE, "tool_error");
            }
            event.pieces.extend(answer.pieces(Direction::Output, index + 1, false));
        }
        self.derive_id(&mut event, index, call.id.as_deref());
        event
    }

    fn event(&self, kind: Kind, name: String, place: Option<Trace>, time: Timestamp) -> RawEvent {
        let mut event = RawEvent::new(kind, name, Source::new(SourcePath::Import, self.dialect.clone()));
        event.time = time;
        event.trace = place;
        event.session = Some(Raw::from(self.session.as_str()));
        event.identity.application = self.application.as_deref().map(Principal::asserted);
        event.identity.user = self.user.as_deref().map(Principal::asserted);
        event.attributes = Attributes::from([(TIME_SOURCE, Value::from("file"))]);
        if let Some(model) = &self.model {
            event.set(attr::GEN_AI_REQUEST_MODEL, model.as_str());
        }
        event
    }

    /// The id that the same event of the same conversation gets when the file is imported again: from the session and
    /// from what was said, so that a changed conversation is another one.
    fn derive_id(&self, event: &mut RawEvent, index: usize, call: Option<&str>) {
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        let mut part = |bytes: &[u8]| {
            context.update(&(bytes.len() as u64).to_le_bytes());
            context.update(bytes);
        };
        part(b"watchkeeper import 1");
        part(self.session.as_bytes());
        part(self.model.as_deref().unwrap_or_default().as_bytes());
        part(&(index as u64).to_le_bytes());
        part(call.unwrap_or_default().as_bytes());
        for piece in &event.pieces {
            part(piece.content.expose().as_bytes());
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        // Without the time: it is the file's, and a file that was touched holds the same conversation.
        event.id = EventId::derived(Timestamp::default(), &digest);
    }
}

impl Message {
    fn pieces(&self, direction: Direction, index: usize, history: bool) -> Vec<Piece<Raw>> {
        let at = u32::try_from(index).unwrap_or(u32::MAX);
        let mut pieces = Vec::new();
        if !self.text.is_empty() || self.calls.is_empty() {
            let part = if self.role == Role::Tool { Part::ToolResult } else { Part::Text };
            let mut meta = PieceMeta::new(direction, self.role, part);
            meta.message = at;
            meta.name = self.tool.as_deref().map(Raw::from);
            meta.call_id = self.call_id.as_deref().map(Raw::from);
            meta.failed = self.failed.then_some(true);
            pieces.push(Piece::new(meta, Raw::from(self.text.as_str())));
        }
        pieces.extend(self.calls.iter().map(|call| call.piece(direction, at)));
        for piece in &mut pieces {
            piece.meta.history = history;
        }
        pieces
    }
}

impl Call {
    fn piece(&self, direction: Direction, at: u32) -> Piece<Raw> {
        let mut meta = PieceMeta::new(direction, Role::Assistant, Part::ToolCall);
        meta.message = at;
        meta.name = Some(Raw::from(self.tool.as_str()));
        meta.call_id = self.id.as_deref().map(Raw::from);
        Piece::new(meta, Raw::from(self.arguments.as_str()))
    }
}

/// Gives the events of a conversation times that keep their order.
struct Clock {
    base: Timestamp,
    ticks: u64,
}

impl Clock {
    fn tick(&mut self) -> Timestamp {
        self.ticks += 1;
        Timestamp::from_unix_ns(self.base.unix_ns().saturating_add(self.ticks * 1_000))
    }
}

fn trace(trace_id: Option<TraceId>, span_id: Option<SpanId>, parent_span_id: Option<SpanId>) -> Option<Trace> {
    trace_id.map(|trace_id| Trace { trace_id, span_id, parent_span_id })
}

fn span_id(session: &str, message: usize, call: Option<usize>) -> Option<SpanId> {
    SpanId::from_slice(&sha256(format!("{session}\n{message}\n{call:?}").as_bytes())[..8])
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    digest
}
