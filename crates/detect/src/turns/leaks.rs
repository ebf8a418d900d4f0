//! Answers and calls that give away the system prompt of their own conversation.

use std::sync::Arc;

use event::{Channel, ContentId, ContentRef, Part, RecordedEvent};
use inspect::{Overlap, Prompt};
use lru::LruCache;
use sanitize::Clean;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// Most system prompts of a conversation that an answer is compared with: the newest. Agents that hand over have a few.
const PROMPTS_MAX: usize = 4;
/// Most memory for prompts in the form in which they are compared, in bytes; the least recently used go first, and are read
/// anew when they are needed.
const PROMPTS_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What an entry takes beside the prompt.
const ENTRY_BYTES: usize = 128;

/// The system prompts of a conversation, the newest last.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Prompts(Vec<ContentRef>);

/// Prompts in the form in which they are compared. Applications send the same one with every call.
pub(super) struct Leaks {
    /// `None`: too little of it is its own to be recognised.
    known: LruCache<ContentId, Option<Arc<Prompt>>>,
    bytes: usize,
}

impl Prompts {
    /// Notes the system prompts that an event was called with, whether they are new or not.
    pub(super) fn learn(&mut self, event: &RecordedEvent<Clean>) {
        let is_prompt = |part: Part| matches!(part, Part::Text | Part::Body);
        let prompts = event.pieces.iter().filter(|piece| piece.meta.channel() == Channel::System && is_prompt(piece.meta.part));
        let newest: Vec<ContentRef> = prompts.rev().take(PROMPTS_MAX).map(|piece| piece.content).collect();
        for content in newest.into_iter().rev() {
            self.0.retain(|known| known.id != content.id);
            self.0.push(content);
        }
        let over = self.0.len().saturating_sub(PROMPTS_MAX);
        self.0.drain(..over);
    }
}

impl Leaks {
    pub(super) fn new() -> Self {
        Self { known: LruCache::unbounded(), bytes: 0 }
    }

    /// The surest leak of one of the prompts in a text.
    pub(super) fn find(
        &mut self,
        prompts: &Prompts,
        text: &str,
        contents: &mut dyn FnMut(&ContentRef) -> Option<Clean>,
    ) -> Option<Overlap> {
        let found = prompts.0.iter().filter_map(|prompt| self.prompt(prompt, contents)?.overlap(text));
        found.max_by(|a, b| a.score().total_cmp(&b.score()).then(a.run_chars.cmp(&b.run_chars)))
    }

    fn prompt(&mut self, content: &ContentRef, contents: &mut dyn FnMut(&ContentRef) -> Option<Clean>) -> Option<Arc<Prompt>> {
        if let Some(known) = self.known.get(&content.id) {
            return known.clone();
        }
        let prompt = Prompt::new(&contents(content)?).map(Arc::new);
        self.bytes += bytes(prompt.as_ref());
        self.known.put(content.id, prompt.clone());
        while self.bytes > PROMPTS_BYTES_MAX {
            let Some((_, old)) = self.known.pop_lru() else { break };
            self.bytes = self.bytes.saturating_sub(bytes(old.as_ref()));
        }
        prompt
    }
}

fn bytes(prompt: Option<&Arc<Prompt>>) -> usize {
    ENTRY_BYTES + prompt.map_or(0, |prompt| prompt.bytes())
}

/// What a leak is in fields.
pub(super) fn tell(found: &Overlap, tell: &mut dyn FnMut(&'static str, Json)) {
    let how = if found.is_whole() {
        "whole"
    } else if found.is_retold() {
        "retold"
    } else {
        "part"
    };
    tell("watchkeeper.leak.prompt", Json::from(how));
    tell("watchkeeper.leak.prompt.chars", Json::from(found.run_chars));
    tell("watchkeeper.leak.prompt.share", rounded(found.share.max(found.retold)));
    if let Some(view) = found.view {
        tell("watchkeeper.leak.prompt.view", Json::from(view));
    }
}

/// Two digits are what a share says.
fn rounded(share: f32) -> Json {
    Json::from((f64::from(share) * 100.0).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use event::{Direction, Event, Key, Kind, Piece, PieceMeta, Role, Source, SourcePath, SubjectId};

    use super::*;

    #[test]
    fn the_newest_prompts_of_an_event_are_known() {
        let prompt = |number: u8| {
            let id = ContentId::from_bytes([number; 32]).unwrap();
            let content = ContentRef { id, subject: SubjectId::from_bytes([1; 16]).unwrap(), bytes: 0 };
            Piece { meta: PieceMeta::new(Direction::Input, Role::System, Part::Text), content, findings: Vec::new() }
        };
        let mut event = Event::new(Kind::ModelCall, Clean::literal("op"), Source::new(SourcePath::Api, Key::of("test")));
        event.pieces = [1, 2, 3, 4, 5, 6, 2].map(prompt).to_vec();
        let mut prompts = Prompts::default();
        prompts.learn(&event);
        let known = |prompts: &Prompts| prompts.0.iter().map(|prompt| prompt.id.as_bytes()[0]).collect::<Vec<_>>();
        assert_eq!(known(&prompts), [4, 5, 6, 2]);
        event.pieces = vec![prompt(5), prompt(7)];
        prompts.learn(&event);
        assert_eq!(known(&prompts), [6, 2, 5, 7]);
    }
}
