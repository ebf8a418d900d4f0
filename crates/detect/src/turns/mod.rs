//! What no single event shows: how the turns of a conversation follow from each other.
//!
//! It detects nothing by itself. What it sees becomes fields of the documents that rules read (`watchkeeper.leak.*`,
//! `watchkeeper.returned.*`, `watchkeeper.turn.*`, `watchkeeper.conversation.*`), so that thresholds, techniques and examples
//! stand in rules as everywhere. Like all of detection it rests on the journal alone: no clock, no order but the journal's.

mod leaks;
mod pressure;
mod signs;
mod values;

use std::num::NonZeroUsize;
use std::sync::Arc;

use event::{Channel, ContentRef, Direction, Kind, Part, Piece, RecordedEvent};
use lru::LruCache;
use sanitize::Clean;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::flow::drained;
use crate::skipped::Skipped;
use leaks::Leaks;
use pressure::Pressure;
pub(crate) use signs::Signs;
use values::Values;

/// Most conversations that are remembered: some kilobytes each, 64 at worst.
const CONVERSATIONS_MAX: usize = 8_192;
/// Most of them that one engine hands on to the next, which is stored.
const HANDED_ON_MAX: usize = 2_048;
/// Longest text that is compared with others; of longer text the beginning.
const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// The conversations.
pub(crate) struct Turns {
    conversations: LruCache<u64, Conversation>,
    leaks: Leaks,
    signs: Arc<Signs>,
}

/// Conversations as they are handed on, the one used least recently first.
pub(crate) type Handed = Vec<(u64, Conversation)>;

/// What is remembered of a conversation.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Conversation {
    prompts: leaks::Prompts,
    values: Values,
    pressure: Pressure,
}

/// Something that the turns show, as a field of a document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fact {
    /// Which of the new pieces shows it.
    pub(crate) piece: usize,
    pub(crate) field: &'static str,
    pub(crate) value: Json,
}

type New<'a> = [(&'a Piece<Clean, ContentRef>, Clean)];

impl Turns {
    pub(crate) fn new(signs: Arc<Signs>) -> Self {
        Self {
            conversations: LruCache::new(NonZeroUsize::new(CONVERSATIONS_MAX).unwrap_or(NonZeroUsize::MIN)),
            leaks: Leaks::new(),
            signs,
        }
    }

    /// What the next one goes on with: the conversations that were used last.
    pub(crate) fn hand_on(mut self) -> Handed {
        while self.conversations.len() > HANDED_ON_MAX {
            self.conversations.pop_lru();
        }
        drained(&mut self.conversations)
    }

    /// Goes on with what was handed on, in the place of what it knows itself.
    pub(crate) fn go_on(&mut self, handed: Handed) {
        self.conversations.clear();
        handed.into_iter().for_each(|(session, conversation)| drop(self.conversations.put(session, conversation)));
    }

    /// Reads an event whose pieces `new` are new to the conversation. `contents` gives the text of any content of the event.
    pub(crate) fn observe(
        &mut self,
        session: u64,
        event: &RecordedEvent<Clean>,
        new: &New<'_>,
        contents: &mut dyn FnMut(&ContentRef) -> Option<Clean>,
        skipped: &mut Skipped,
    ) -> Vec<Fact> {
        let mut facts = Vec::new();
        if event.pieces.is_empty() {
            return facts;
        }
        let conversation = self.conversations.get_or_insert_mut(session, Conversation::default);
        conversation.prompts.learn(event);
        let mut user_spoke = false;
        for (index, (piece, text)) in new.iter().enumerate() {
            let text = crate::skipped::head(text, TEXT_BYTES_MAX);
            let mut tell = |field, value| facts.push(Fact { piece: index, field, value });
            if is_said(event, piece) {
                if let Some(found) = self.leaks.find(&conversation.prompts, text, contents) {
                    leaks::tell(&found, &mut tell);
                }
                conversation.values.returned(text, &mut tell);
            }
            match (piece.meta.part, piece.meta.channel()) {
                (Part::Text, Channel::User) => {
                    // The parts of one message are one turn.
                    let goes_on = std::mem::replace(&mut user_spoke, true);
                    conversation.pressure.user(text, score_of(piece), self.signs.of(text), goes_on, &mut tell);
                }
                (Part::Text, Channel::Assistant) => {
                    user_spoke = false;
                    conversation.pressure.assistant(inspect::is_refusal(text));
                }
                _ => {}
            }
            conversation.values.learn(piece, text, skipped);
        }
        if refuses(event) {
            conversation.pressure.assistant(true);
        }
        facts
    }
}

/// Whether a piece goes out: what the model answers, and what it calls tools with. Its reasoning is not shown to those it talks
/// to, and speaks of its instructions all the time.
fn is_said(event: &RecordedEvent<Clean>, piece: &Piece<Clean, ContentRef>) -> bool {
    match piece.meta.part {
        Part::Text => piece.meta.direction == Direction::Output && piece.meta.channel() == Channel::Assistant,
        Part::ToolCall => true,
        Part::Query | Part::Command | Part::Body => matches!(event.kind, Kind::ExternalCall | Kind::DataAccess),
        _ => false,
    }
}

fn score_of(piece: &Piece<Clean, ContentRef>) -> f32 {
    piece.findings.iter().map(|finding| finding.score).fold(0.0, f32::max)
}

/// Whether the provider says that the answer was refused, whatever its text.
fn refuses(event: &RecordedEvent<Clean>) -> bool {
    let reasons = event.attribute(event::attr::GEN_AI_RESPONSE_FINISH_REASONS.as_str());
    let is_refusal = |value: &event::Value<Clean>| value.as_text().is_some_and(|reason| event::attr::is_refusal_reason(reason));
    match reasons {
        Some(event::Value::List(list)) => list.iter().any(is_refusal),
        Some(one) => is_refusal(one),
        None => false,
    }
}
