//! The pieces of one event, as they are collected: positions, history, limits.

use std::collections::HashMap;

use event::limits::PIECES_MAX;
use event::{Direction, Part, Piece, PieceMeta, Role};

use super::messages::ChatMessage;
use super::value::Losses;
use crate::Raw;

/// The pieces of one event, as they are collected.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// The pieces so far.
    pub(super) pieces: Vec<Piece<Raw>>,
    /// What was lost at a limit.
    pub(super) losses: Losses,
    /// Why the model stopped, as its messages tell it.
    pub(super) finish_reasons: Vec<String>,
    /// The position of the next message.
    next_message: u32,
    /// Of the last input message of the assistant, and of the one before it.
    assistant_turns: [Option<u32>; 2],
    last_input: Option<u32>,
}

impl Pieces {
    /// Adds a piece. Empty text says nothing and is left out; an empty call or result of a tool is a fact.
    pub(super) fn push(&mut self, meta: PieceMeta<Raw>, text: String) {
        if text.is_empty() && !matches!(meta.part, Part::ToolCall | Part::ToolResult) {
            return;
        }
        if self.pieces.len() >= PIECES_MAX {
            self.losses.items_dropped += 1;
            return;
        }
        let text = self.losses.cut(text);
        self.pieces.push(Piece::new(meta, text.into()));
    }

    /// Adds a text that stands alone, at a message position of its own.
    pub(super) fn push_alone(&mut self, direction: Direction, role: Role, part: Part, text: String) {
        let message = self.take_position(direction, role);
        self.push(PieceMeta { message, ..PieceMeta::new(direction, role, part) }, text);
    }

    /// Adds the parts of a message at the next position of the conversation.
    pub(super) fn push_message(&mut self, message: ChatMessage, direction: Direction, role_default: Role) {
        let role = message.role.unwrap_or(role_default);
        let position = self.take_position(direction, role);
        if let Some(reason) = message.finish_reason {
            self.finish_reasons.push(reason);
        }
        for part in message.parts {
            let (role, part_kind) = match part.part {
                Part::ToolCall => (Role::Assistant, Part::ToolCall),
                Part::ToolResult => (Role::Tool, Part::ToolResult),
                Part::Document => (Role::Document, Part::Document),
                Part::Text if role == Role::Tool => (Role::Tool, Part::ToolResult),
                other => (role, other),
            };
            let is_result = part_kind == Part::ToolResult;
            let mut meta = PieceMeta::new(direction, role, part_kind);
            meta.message = position;
            meta.name = part.name.or_else(|| message.name.clone()).map(Raw::from);
            meta.call_id = part.call_id.or_else(|| if is_result { message.call_id.clone() } else { None }).map(Raw::from);
            meta.failed = part.failed;
            self.push(meta, part.text);
        }
    }

    /// Adds the pieces of another event: each of its messages at the next position of the conversation.
    pub(super) fn push_again(&mut self, pieces: Vec<Piece<Raw>>) {
        let mut position = None;
        for Piece { mut meta, content, .. } in pieces {
            // Definitions and documents are numbered by themselves and take no turn.
            if !matches!(meta.part, Part::ToolDefinition | Part::Document) {
                let (of, at) = match position {
                    Some((of, at)) if of == meta.message => (of, at),
                    _ => (meta.message, self.take_position(meta.direction, meta.role)),
                };
                position = Some((of, at));
                meta.message = at;
            }
            self.push(meta, content.expose().to_owned());
        }
    }

    /// Whether there is content in that direction.
    pub(super) fn has(&self, direction: Direction) -> bool {
        self.pieces.iter().any(|piece| piece.meta.direction == direction && piece.meta.part != Part::ToolDefinition)
    }

    /// Ends the collection: marks what the conversation had brought before, and gives results the name of their call.
    ///
    /// The newest turn is what stands after the last message of the assistant, or, when the input ends with one
    /// (a prefilled answer), after the one before it.
    pub(super) fn finish(mut self) -> Self {
        let [last, before] = self.assistant_turns;
        let newest_after = if last.is_some() && last == self.last_input { before } else { last };
        if let Some(position) = newest_after {
            for piece in &mut self.pieces {
                piece.meta.history = piece.meta.direction == Direction::Input && piece.meta.message <= position;
            }
        }
        self.name_results();
        self
    }

    fn name_results(&mut self) {
        let nameless =
            |piece: &Piece<Raw>| piece.meta.part == Part::ToolResult && piece.meta.name.is_none() && piece.meta.call_id.is_some();
        if !self.pieces.iter().any(nameless) {
            return;
        }
        let calls: HashMap<Raw, Raw> = self
            .pieces
            .iter()
            .filter(|piece| piece.meta.part == Part::ToolCall)
            .filter_map(|piece| Some((piece.meta.call_id.clone()?, piece.meta.name.clone()?)))
            .collect();
        for piece in self.pieces.iter_mut().filter(|piece| nameless(piece)) {
            piece.meta.name = piece.meta.call_id.as_ref().and_then(|id| calls.get(id)).cloned();
        }
    }

    fn take_position(&mut self, direction: Direction, role: Role) -> u32 {
        let position = self.next_message;
        self.next_message = self.next_message.saturating_add(1);
        if direction == Direction::Input {
            self.last_input = Some(position);
            if role == Role::Assistant {
                // Messages of one turn that follow each other are one answer.
                self.assistant_turns = match self.assistant_turns[0] {
                    Some(last) if last + 1 == position => [Some(position), self.assistant_turns[1]],
                    last => [Some(position), last],
                };
            }
        }
        position
    }
}
