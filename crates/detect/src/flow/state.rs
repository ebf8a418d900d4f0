//! What is remembered of a conversation, within bounds.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;

use event::{Channel, ContentId, EventId};
use journal::Seq;
use serde::{Deserialize, Serialize};

use super::answer::Said;
use super::verbs::{self, Classes};
use super::{fingerprint, text};
use crate::detection::{Evidence, stored_evidence};
use crate::session::hash;

/// Most instructions of untrusted text that are remembered of one conversation; the oldest unmarked ones go first.
const INSTRUCTIONS_REMEMBERED_MAX: usize = 256;
/// Most distinct words and addresses of one conversation's texts that are remembered.
const WORDS_REMEMBERED_MAX: usize = 16_384;
/// Most fingerprints of one conversation's untrusted texts, and of its trusted ones: some 40 KB of text each.
const PRINTS_REMEMBERED_MAX: usize = 8_192;
/// Most untrusted texts of one conversation that are known again by their fingerprints.
const PLACES_REMEMBERED_MAX: usize = 1_024;
/// Most calls that wait for their result.
const PENDING_MAX: usize = 64;
/// Most alarms of one conversation: beyond, nothing new is learnt from one more.
const ALARMS_MAX: usize = 256;

/// A conversation.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Conversation {
    /// Words and addresses that the user or the operator used.
    trusted: Words,
    /// Words and addresses of untrusted text outside of instructions.
    told: Words,
    /// The same of sentences that only want something said.
    dictated: Words,
    /// What the user asked for, in classes of verbs.
    pub(crate) asked: Classes,
    /// Kinds of addresses that the user named.
    pub(crate) named: HashSet<Cow<'static, str>>,
    /// Instructions in untrusted text.
    pub(crate) instructions: VecDeque<Source>,
    /// Calls that follow an instruction and have not come back.
    pub(crate) pending: VecDeque<Pending>,
    /// Untrusted texts, by their fingerprints.
    pub(crate) texts: Texts,
    /// Who acts, as far as it was told: hashes of agent and user, each with their application.
    pub(crate) agent: Option<u64>,
    pub(crate) user: Option<u64>,
    /// What has been reported.
    reported: HashSet<u64>,
}

/// An instruction in untrusted text.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Source {
    pub(crate) place: Place,
    /// The instruction, in lower case.
    pub(crate) text: String,
    /// Its beginning as it was written: evidence quotes, it does not retell.
    pub(crate) quote: String,
    /// Its addresses, in normal form.
    pub(crate) addresses: Vec<String>,
    pub(crate) verbs: Classes,
    /// Whether it wants something done, and not only said.
    pub(crate) acts: bool,
    /// The text around a marked one, in lower case: addresses in parts stand in sentences of their own.
    pub(crate) around: String,
    /// What it wants an answer to say.
    pub(crate) says: Vec<Said>,
    pub(crate) marked: bool,
    /// Where it stands in its content, in code points.
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// How it was hidden there, if it was: `base64`, `tags` ...
    pub(crate) view: Option<Cow<'static, str>>,
    /// How it came here, when it came by the agent's memory: where it was read first, and the call that kept it.
    #[serde(with = "stored_evidence")]
    pub(crate) path: Vec<Evidence>,
}

/// Where a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) event: EventId,
    pub(crate) seq: Seq,
    pub(crate) content: ContentId,
    pub(crate) channel: Channel,
}

/// A call that follows an instruction and has not come back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Pending {
    /// Hash of the call's id.
    pub(crate) call_id: Option<u64>,
    /// Hash of the tool's name.
    pub(crate) tool: u64,
    pub(crate) key: u64,
    pub(crate) alarm: super::call::Alarm,
}

/// A bounded set of words.
#[derive(Debug, Default, Serialize, Deserialize)]
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
        verbs::words(text).for_each(|word| self.insert(&word));
    }

    fn know(&self, value: &str) -> bool {
        if self.contains(value) || value.split_once('/').is_some_and(|(host, _)| self.contains(host)) {
            return true;
        }
        // An address is one thing; a phrase is known when all its words are.
        let is_address = text::addresses(value).next().is_some();
        let mut words = verbs::words(value).peekable();
        !is_address && words.peek().is_some() && words.all(|word| self.contains(&word))
    }
}

/// Untrusted texts of a conversation, and what the user and the operator said themselves.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Texts {
    by_print: HashMap<u64, u16>,
    places: Vec<Place>,
    own: HashSet<u64>,
}

impl Texts {
    fn learn(&mut self, text: &str, place: Place) {
        let Ok(index) = u16::try_from(self.places.len()) else { return };
        if self.places.len() == PLACES_REMEMBERED_MAX {
            return;
        }
        let before = self.by_print.len();
        for (print, _) in fingerprint::prints(text) {
            if self.by_print.len() < PRINTS_REMEMBERED_MAX && !self.own.contains(&print) {
                self.by_print.entry(print).or_insert(index);
            }
        }
        if self.by_print.len() > before {
            self.places.push(place);
        }
    }

    fn own(&mut self, text: &str) {
        for (print, _) in fingerprint::prints(text) {
            if self.own.len() < PRINTS_REMEMBERED_MAX {
                self.own.insert(print);
            }
        }
    }

    /// The untrusted texts of which something stands in `text`, those with the most first, and where that stands in `text`.
    pub(crate) fn carried(&self, text: &str) -> Vec<(Place, Range<usize>)> {
        let mut found: HashMap<u16, (usize, Range<usize>)> = HashMap::new();
        for (print, range) in fingerprint::prints(text) {
            let Some(index) = self.by_print.get(&print).filter(|_| !self.own.contains(&print)) else { continue };
            let (count, whole) = found.entry(*index).or_insert((0, range.clone()));
            *count += 1;
            whole.end = range.end;
        }
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_by_key(|(index, (count, _))| (std::cmp::Reverse(*count), *index));
        found.into_iter().filter_map(|(index, (_, range))| Some((*self.places.get(usize::from(index))?, range))).collect()
    }

    fn bytes(&self) -> usize {
        18 * slots(self.by_print.len()) + 10 * slots(self.own.len()) + size_of::<Place>() * self.places.len().next_power_of_two()
    }
}

/// About how many places a table of so many entries has. By the number of entries and not by what the allocator made of how they came: what
/// is bounded by it lets go of the same after a restart.
pub(super) const fn slots(entries: usize) -> usize {
    if entries == 0 { 0 } else { (entries + entries / 7 + 1).next_power_of_two() }
}

impl Conversation {
    /// Learns what the user (or the operator) said.
    pub(crate) fn trust(&mut self, text: &str, user: bool) {
        self.trusted.learn(text);
        self.texts.own(text);
        if user {
            self.asked |= verbs::classes(text);
            self.named.extend(text::addresses(text).map(|(address, _)| Cow::Borrowed(text::form(&address))));
        }
    }

    /// Learns what an untrusted text tells, outside of its instructions.
    pub(crate) fn tell(&mut self, text: &str) {
        self.told.learn(text);
    }

    /// Learns a sentence of an untrusted text that only wants something said.
    pub(crate) fn dictate(&mut self, text: &str) {
        self.dictated.learn(text);
    }

    /// Learns an untrusted text as a whole, so that parts of it are known again.
    pub(crate) fn learn(&mut self, text: &str, place: Place) {
        self.texts.learn(text, place);
    }

    /// Whether the user or the operator named the value.
    pub(crate) fn is_trusted(&self, value: &str) -> bool {
        self.trusted.know(value)
    }

    /// Whether untrusted text has the value outside of what it wants done.
    pub(crate) fn is_told(&self, value: &str) -> bool {
        self.told.know(value) || self.dictated.know(value)
    }

    /// Whether untrusted text has the value outside of what it wants done or said.
    pub(crate) fn is_plainly_told(&self, value: &str) -> bool {
        self.told.know(value)
    }

    /// Whether untrusted text has the address, anywhere.
    pub(crate) fn is_foreign(&self, address: &str) -> bool {
        !self.is_trusted(address)
            && (self.is_told(address) || self.instructions.iter().any(|one| super::follow::has_address(one, address)))
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
        let words = [self.trusted.0.len(), self.told.0.len(), self.dictated.0.len(), self.reported.len()].map(slots);
        let instructions: usize = self.instructions.iter().map(Source::bytes).sum();
        640 + 10 * words.iter().sum::<usize>() + instructions + 1_024 * self.pending.len() + self.texts.bytes()
    }
}

impl Source {
    /// About how many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.text.len()
            + self.around.len()
            + self.quote.len()
            + 40 * self.addresses.len()
            + 200 * self.says.len()
            + 600 * self.path.len()
            + 240
    }

    /// What shows it: where it was read, and how it came there.
    pub(crate) fn evidence(&self) -> Vec<Evidence> {
        let what = if self.path.is_empty() { "source" } else { "recalled" };
        let own = Evidence {
            what: what.to_owned(),
            value: Some(self.quote.clone()),
            pattern: self.view.as_deref().map(str::to_owned),
            start: Some(self.start),
            end: Some(self.end),
            ..self.place.evidence()
        };
        self.path.iter().cloned().chain([own]).collect()
    }
}

impl Place {
    /// Evidence that names the place.
    pub(crate) fn evidence(&self) -> Evidence {
        Evidence {
            content: Some(self.content),
            event: Some(self.event),
            seq: Some(self.seq),
            channel: Some(self.channel),
            ..Evidence::default()
        }
    }
}
