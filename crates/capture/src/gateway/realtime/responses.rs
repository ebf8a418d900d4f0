//! The responses that are under way on a connection, and what waits for the next.

use event::{Direction, Value, attr};

use super::super::api::REALTIME_RESPONSE;
use super::super::call::Call;
use super::super::decode::{ModelRequest, ModelResponse};
use super::super::openai::realtime::Conversation;
use super::super::openai::responses::StreamDecoder;
use super::super::policy::Ruling;
use super::super::relay::where_it_may_wait;
use crate::recording::{Pending, text_bytes};

/// What is known of a connection between two messages.
pub(super) struct State {
    /// The connection itself.
    pub(super) call: Call,
    /// The model that its policy was chosen by.
    pub(super) model: Option<String>,
    pub(super) conversation: Conversation,
    pub(super) open: Vec<Open>,
    /// What was decided on what waits for a response.
    pub(super) ruling: Option<Ruling>,
}

/// A response that is under way.
pub(super) struct Open {
    pub(super) call: Call,
    /// The record of its request, until it is known to be on disk.
    pub(super) pending: Option<Pending>,
    pub(super) id: Option<String>,
    /// The id of the client's event that asked for it.
    pub(super) asked_by: Option<String>,
    /// Characters of sound in it.
    pub(super) sound: usize,
}

impl State {
    /// A call on this connection that has one event.
    pub(super) fn within(&self) -> Call {
        let mut call = self.call.within(&REALTIME_RESPONSE);
        let model = self.conversation.model().map(str::to_owned);
        call.describe(ModelRequest { model, stream: true, ..ModelRequest::default() });
        call
    }

    /// Begins the record of a response with its request.
    pub(super) fn begin(&mut self, request: ModelRequest, bytes: usize) -> (Call, Pending) {
        let mut call = self.call.within(&REALTIME_RESPONSE);
        call.ruling = self.ruling.take();
        let text = usize::try_from(text_bytes(&request.pieces)).unwrap_or(usize::MAX);
        where_it_may_wait(text, || call.note_instructions(&request.pieces));
        call.decoder = Some(Box::<StreamDecoder>::default());
        let pending = call.record_request(Some(request), Some(bytes as u64));
        (call, pending)
    }

    /// Starts recording what was said and never answered.
    pub(super) fn rest(&mut self) -> Option<Pending> {
        let rest = self.conversation.rest()?;
        let mut call = self.call.within(&REALTIME_RESPONSE);
        call.ruling = self.ruling.take();
        call.record_alone(rest, None)
    }

    pub(super) fn find(&mut self, id: Option<&str>) -> Option<&mut Open> {
        self.open.iter_mut().find(|open| open.is(id))
    }

    /// Adds an event to the response that it belongs to.
    pub(super) fn add(&mut self, id: Option<&str>, data: &[u8]) {
        let Some(open) = self.find(id) else { return };
        open.note(data.len());
        if let Some(decoder) = &mut open.call.decoder {
            decoder.event(b"", data);
        }
    }

    pub(super) fn add_sound(&mut self, id: Option<&str>, bytes: usize, characters: usize) {
        let Some(open) = self.find(id) else { return };
        open.note(bytes);
        open.sound = open.sound.saturating_add(characters);
    }

    pub(super) fn take(&mut self, id: Option<&str>) -> Option<Open> {
        let at = self.open.iter().position(|open| open.is(id))?;
        Some(self.open.remove(at))
    }

    /// The response that an error is about: the one that was asked for by this event, or, where the error names none, the one that
    /// has not begun and has no id to be named by.
    pub(super) fn take_failed(&mut self, event_id: Option<&str>) -> Option<Open> {
        let at = self.open.iter().position(|open| open.id.is_none() && open.asked_by.as_deref() == event_id)?;
        Some(self.open.remove(at))
    }

    /// A response's call, with what came of it.
    pub(super) fn with_response(&self, open: Open) -> Call {
        let Open { mut call, sound, .. } = open;
        let mut response: ModelResponse = call.decoder.as_mut().map(|decoder| decoder.take()).unwrap_or_default();
        response.pieces.extend(self.conversation.sound_piece(Direction::Output, sound));
        if let Some(model) = self.conversation.model() {
            response.attributes.entry(attr::GEN_AI_RESPONSE_MODEL).or_insert_with(|| Value::from(model));
        }
        call.outcome.response = Some(response);
        call
    }
}

impl Open {
    pub(super) fn is(&self, id: Option<&str>) -> bool {
        self.id.is_some() && self.id.as_deref() == id
    }

    pub(super) fn note(&mut self, bytes: usize) {
        self.call.outcome.response_bytes = self.call.outcome.response_bytes.saturating_add(bytes as u64);
        let elapsed = self.call.elapsed();
        self.call.outcome.first_chunk.get_or_insert(elapsed);
    }
}
