//! What is remembered of a conversation, within bounds.

use std::collections::{HashSet, VecDeque};

use event::{Channel, ContentId, EventId};
use journal::Seq;

use super::text;
use crate::session::hash;

/// Most instructions of untrusted text that are remembered of one conversation; the oldest unmarked ones go first.
const INSTRUCTIONS_REMEMBERED_MAX: usize = 256;
/// Most distinct words and addresses of one conversation's texts that are remembered.
const WORDS_REMEMBERED_MAX: usize = 16_384;
/// Most calls that wait for their result.
const PENDING_MAX: usize = 64;
/// Most alarms of one conversation: beyond, nothing new is learnt from one more.
const ALARMS_MAX: usize = 256;

/// A conversation.
#[derive(Default)]
pub(crate) struct Conversation {
    /// Words and addresses that the user or the operator used.
    trusted: Words,
    /// Words and addresses of untrusted text outside of instructions.
    told: Words,
    /// What the user asked for, in classes of verbs.
    pub(crate) asked: u32,
    /// Instructions in untrusted text.
    pub(crate) instructions: VecDeque<Source>,
    /// Calls that follow an instruction and have not come back.
    pub(crate) pending: VecDeque<Pending>,
    /// What has been reported.
    reported: HashSet<u64>,
}

/// An instruction in untrusted text.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) event: EventId,
    pub(crate) seq: Seq,
    pub(crate) content: ContentId,
    pub(crate) channel: Channel,
    /// The instruction, in lower case.
    pub(crate) text: String,
    /// Its beginning as it was written: evidence quotes, it does not retell.
    pub(crate) quote: String,
    /// Its addresses, in normal form.
    pub(crate) addresses: Vec<String>,
    pub(crate) verbs: u32,
    pub(crate) marked: bool,
    /// Where it stands in its content, in code points.
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// A call that follows an instruction and has not come back.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    /// Hash of the call's id.
    pub(crate) call_id: Option<u64>,
    /// Hash of the tool's name.
    pub(crate) tool: u64,
    pub(crate) key: u64,
    pub(crate) alarm: super::Alarm,
}

/// A bounded set of words.
#[derive(Default)]
struct Words(HashSet<u64>);

impl Words {
    fn insert(&mut self, word: &str) {
        if self.0.len() < WORDS_REMEMBERED_MAX {
            self.0.insert(hash(&[word.as_bytes()]));
        }
    }

    fn contains(&self, word: &str) -> bool {
        self.0.contains(&hash(&[word.as_bytes()]))
    }

    fn learn(&mut self, text: &str) {
        for (address, _) in text::addresses(text) {
            // A site that the user named stays named whatever page of it is called.
            if let Some((host, _)) = address.split_once('/') {
                self.insert(host);
            }
            self.insert(&address);
        }
        text::words(text).for_each(|word| self.insert(&word));
    }

    fn know(&self, value: &str) -> bool {
        if self.contains(value) || value.split_once('/').is_some_and(|(host, _)| self.contains(host)) {
            return true;
        }
        // An address is one thing; a phrase is known when all its words are.
        let is_address = text::addresses(value).next().is_some();
        let mut words = text::words(value).peekable();
        !is_address && words.peek().is_some() && words.all(|word| self.contains(&word))
    }
}

impl Conversation {
    /// Learns what the user (or the operator) said.
    pub(crate) fn trust(&mut self, text: &str, user: bool) {
        self.trusted.learn(text);
        if user {
            self.asked |= text::verb_classes(text);
        }
    }

    /// Learns what an untrusted text tells, outside of its instructions.
    pub(crate) fn tell(&mut self, text: &str) {
        self.told.learn(text);
    }

    /// Whether the user or the operator named the value.
    pub(crate) fn is_trusted(&self, value: &str) -> bool {
        self.trusted.know(value)
    }

    /// Whether untrusted text has the value outside of instructions.
    pub(crate) fn is_told(&self, value: &str) -> bool {
        self.told.know(value)
    }

    pub(crate) fn remember(&mut self, source: Source) {
        if self.instructions.len() >= INSTRUCTIONS_REMEMBERED_MAX {
            let unmarked = self.instructions.iter().position(|one| !one.marked).unwrap_or(0);
            self.instructions.remove(unmarked);
        }
        self.instructions.push_back(source);
    }

    pub(crate) fn wait_for(&mut self, pending: Pending) {
        if self.pending.len() >= PENDING_MAX {
            self.pending.pop_front();
        }
        self.pending.push_back(pending);
    }

    /// Whether this is the first report of `key`.
    pub(crate) fn report(&mut self, key: u64) -> bool {
        self.reported.len() < ALARMS_MAX && self.reported.insert(key)
    }

    /// About how many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        let words = self.trusted.0.capacity() + self.told.0.capacity() + self.reported.capacity();
        let instructions: usize = self.instructions.iter().map(|one| one.text.len() + 40 * one.addresses.len() + 200).sum();
        512 + 10 * words + instructions + 1_024 * self.pending.len()
    }
}
