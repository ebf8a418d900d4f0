//! The hold window of a streamed answer: its texts are scanned before they are handed out, and what is sensitive in them is replaced,
//! also where it stands across two events.
//!
//! The pieces of each text (a choice, a block, a call's arguments) are joined again. Of the joined text everything but the last
//! [`OVERLAP_BYTES`] is safe to go, back to the last white space, and of these the words that cannot be a part of a value (see [`words`]);
//! what goes ends where a sensitive value begins that reaches into what is held. An event goes when all of its pieces may; events keep their order. In an event that goes only the pieces that changed are
//! written anew, the rest of it stays byte for byte. What else an event says (a text repeated in the final event, say) is scanned by itself.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use event::{Direction, Part, Piece, PieceMeta, Role};
use serde_json::value::RawValue;

use super::bedrock::event_stream;
use super::guard::{Edit, Guard, Judgement, edited, is_opaque};
use super::json::{self, Object};
use super::judging::{joined, spelled_out};
use super::policy::{Action, OnGuardFailure, Policy, Ruling};
use crate::Raw;

/// Text that is held where a value may have begun: longer than any value that has spaces in it (cards, IBANs, telephone numbers, `password: ...`).
const OVERLAP_BYTES: usize = 128;

/// Most text that is held because a value may go on: private keys take some 4 KiB. What is longer is cut, and masked in parts.
const HOLD_BYTES_MAX: usize = 16 * 1024;

/// Text before the window that is scanned again with it: words before a value say what it is.
const CONTEXT_BYTES: usize = 256;

/// Where answers are judged before they go, they go in steps of this many bytes, so that judging stays cheap.
const STEP_BYTES: usize = 256;

/// Text of others that comes while a text stands still, until it counts as ended where plain words are all that is held of it: the thoughts of
/// a chat completion end without a sign, and the answer that follows must not wait for its own end.
const STILL_BYTES_MAX: u64 = 128;

/// Most bytes of events that wait behind a text that is held.
const QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Held text from which on it is scanned again only when it has grown by an eighth: a text without white space is held long, and must
/// not be scanned with each event.
const RESCAN_BYTES_MIN: usize = 512;

/// Most texts of one answer that are told apart; further ones are scanned event by event.
const CHANNELS_MAX: usize = 4_096;

/// Fields of an event that say which text a piece belongs to.
const PLACES: [&str; 8] =
    ["type", "index", "output_index", "content_index", "summary_index", "contentBlockIndex", "item_id", "thought"];

/// How the names of events end that say that a text is over: `content_block_stop`, `contentBlockStop`, `response.output_text.done`.
const ENDS: [&str; 3] = ["_stop", "Stop", ".done"];

/// How the events of a stream are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    /// Server-sent events.
    ServerSent,
    /// Amazon's binary messages.
    Amazon,
}

/// The window.
pub(super) struct Mask {
    guard: Arc<dyn Guard>,
    policy: Arc<Policy>,
    frame: Frame,
    /// Where the pieces of texts stand in an event.
    deltas: &'static [&'static str],
    channels: HashMap<String, Channel>,
    queue: VecDeque<Held>,
    queued_bytes: usize,
    /// Text of all channels so far.
    text_bytes: u64,
    judgement: Judgement,
    latency: Duration,
    redactions: usize,
    scanned_bytes: u64,
    unscanned_bytes: u64,
    is_blocked: bool,
    /// Why it could not be masked to its end.
    failure: Option<&'static str>,
}

/// A text that comes in pieces.
#[derive(Default)]
struct Channel {
    /// What was handed out last, and what is held.
    text: String,
    /// Where in the whole text `text` begins.
    base: u64,
    /// Up to where in `text` everything may go.
    released: usize,
    /// Up to where in the whole text was looked at last.
    scanned_to: u64,
    masks: VecDeque<MaskedRange>,
    /// The block that it is the text of, as its events number it.
    block: String,
    /// How much text of all channels had come when it grew last.
    grown_at: u64,
}

struct MaskedRange {
    range: Range<u64>,
    text: String,
}

/// An event that waits.
struct Held {
    raw: Bytes,
    data: String,
    name: Vec<u8>,
    pieces: Vec<Delta>,
    edits: Vec<Edit>,
}

/// A piece of a text in an event.
struct Delta {
    channel: String,
    /// Where in the whole text.
    range: Range<u64>,
    text: String,
    /// Where its literal stands in the event's data.
    literal: Range<usize>,
}

impl Mask {
    pub(super) fn new(guard: Arc<dyn Guard>, policy: Arc<Policy>, frame: Frame, deltas: &'static [&'static str]) -> Self {
        Self {
            guard,
            policy,
            frame,
            deltas,
            channels: HashMap::new(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            text_bytes: 0,
            judgement: Judgement::default(),
            latency: Duration::ZERO,
            redactions: 0,
            scanned_bytes: 0,
            unscanned_bytes: 0,
            is_blocked: false,
            failure: None,
        }
    }

    /// Takes an event: its bytes as they came, its name and its data.
    pub(super) fn push(&mut self, raw: Bytes, name: &[u8], data: &[u8]) {
        let started = Instant::now();
        let data = String::from_utf8_lossy(data).into_owned();
        let mut held = Held { raw, name: name.to_vec(), pieces: Vec::new(), edits: Vec::new(), data };
        let ended = self.read(&mut held);
        self.queued_bytes += held.raw.len();
        let touched: Vec<String> = held.pieces.iter().map(|piece| piece.channel.clone()).collect();
        self.queue.push_back(held);
        for name in touched {
            self.advance(&name, false);
        }
        for name in ended.into_iter().chain(self.still()) {
            self.advance(&name, true);
        }
        if self.queued_bytes > QUEUE_BYTES_MAX && self.is_stuck() {
            self.give_up_waiting();
        }
        self.latency += started.elapsed();
    }

    /// The events that may go by now.
    pub(super) fn ready(&mut self) -> Vec<Bytes> {
        let mut ready = Vec::new();
        while !self.is_blocked && self.queue.front().is_some_and(|held| held.pieces.iter().all(|piece| self.is_released(piece))) {
            let Some(held) = self.queue.pop_front() else { break };
            self.queued_bytes = self.queued_bytes.saturating_sub(held.raw.len());
            ready.push(self.write(held));
        }
        ready
    }

    /// Nothing more comes: everything is scanned, and may go.
    pub(super) fn finish(&mut self) -> Vec<Bytes> {
        let started = Instant::now();
        self.release_all();
        self.latency += started.elapsed();
        self.ready()
    }

    /// Whether the answer must not go on.
    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// The answer must not go on, because it cannot be masked any further.
    pub(super) fn stop(&mut self, failure: &'static str) {
        self.is_blocked = true;
        self.failure = Some(failure);
    }

    /// Bytes that go on unread from here.
    pub(super) fn note_unscanned(&mut self, bytes: usize) {
        self.unscanned_bytes += bytes as u64;
    }

    /// Bytes of text that were scanned before they were handed out, and that were handed out without.
    pub(super) fn coverage(&self) -> (u64, u64) {
        (self.scanned_bytes, self.unscanned_bytes)
    }

    /// The decision, as far as it has come.
    pub(super) fn ruling(&self) -> Ruling {
        let action = if self.is_blocked {
            Action::Block
        } else if self.redactions > 0 {
            Action::Redact
        } else {
            Action::Observe
        };
        self.policy.ruled(action, self.judgement.clone(), self.failure, self.latency, self.redactions)
    }

    /// Finds the pieces of texts in an event, and what is sensitive in the rest of it. What is returned are the texts that end with it:
    /// what is held of them would hold what comes after them until the answer ends.
    fn read(&mut self, held: &mut Held) -> Vec<String> {
        let Ok(object) = Object::parse(&held.data) else {
            // No JSON, such as `[DONE]`: a text by itself.
            held.edits = self.guard.text_edits(&held.data);
            self.note(&held.edits);
            return Vec::new();
        };
        let block = block_of(&object);
        let is_end = object.text("type").is_some_and(|name| ENDS.iter().any(|end| name.ends_with(end)))
            || ENDS.iter().any(|end| held.name.ends_with(end.as_bytes()));
        let start = held.data.as_ptr() as usize;
        let mut found: Vec<(String, String, Range<usize>)> = Vec::new();
        for path in self.deltas {
            pieces_at(&object, path, (*path).to_owned(), &mut |place, raw| {
                if let Some(text) = json::text(raw) {
                    // The literal is a part of the data: where it begins is the distance of the two.
                    let at = (raw.get().as_ptr() as usize).saturating_sub(start);
                    found.push((place, text, at..at + raw.get().len()));
                }
            });
        }
        let spelled = spelled_out(&held.data);
        let edits = self.guard.json_edits(&held.data, &is_opaque).unwrap_or_default();
        let is_apart = |edit: &Edit| {
            let overlaps = |other: &Range<usize>| edit.start < other.end && other.start < edit.end;
            !found.iter().any(|(_, _, literal)| overlaps(literal))
                && !spelled.iter().any(|other| overlaps(&(other.start..other.end)))
        };
        let edits: Vec<Edit> = edits.into_iter().filter(is_apart).collect();
        self.note(&edits);
        held.edits = joined(spelled, edits);
        for (place, text, literal) in found {
            if self.channels.len() >= CHANNELS_MAX && !self.channels.contains_key(&place) {
                // Too many texts to join: this piece stands for itself.
                let edits = self.guard.text_edits(&text);
                self.note(&edits);
                self.scanned_bytes += text.len() as u64;
                if !edits.is_empty() {
                    held.edits.push(Edit { start: literal.start, end: literal.end, text: quoted(&edited(&text, &edits)) });
                }
                continue;
            }
            let channel =
                self.channels.entry(place.clone()).or_insert_with(|| Channel { block: block.clone(), ..Channel::default() });
            let from = channel.base + channel.text.len() as u64;
            channel.text.push_str(&text);
            self.text_bytes += text.len() as u64;
            channel.grown_at = self.text_bytes;
            held.pieces.push(Delta { channel: place, range: from..from + text.len() as u64, text, literal });
        }
        if !is_end || block.is_empty() {
            return Vec::new();
        }
        let ends = |channel: &Channel| channel.block == block && channel.released < channel.text.len();
        self.channels.iter().filter(|(_, channel)| ends(channel)).map(|(name, _)| name.clone()).collect()
    }

    /// The texts that the first event waits for, and that stand still while others go on, with plain words at their end.
    fn still(&self) -> Vec<String> {
        let is_over = |channel: &Channel| {
            self.text_bytes - channel.grown_at > STILL_BYTES_MAX && words::is_plain(&channel.text, channel.released)
        };
        let is_still = |piece: &&Delta| !self.is_released(piece) && self.channels.get(&piece.channel).is_some_and(is_over);
        let first = self.queue.front().into_iter().flat_map(|held| &held.pieces);
        first.filter(is_still).map(|piece| piece.channel.clone()).collect()
    }

    /// Counts what is replaced, or stops the answer for it.
    fn note(&mut self, edits: &[Edit]) {
        if edits.is_empty() {
            return;
        }
        self.judgement.sensitive_values =
            self.judgement.sensitive_values.saturating_add(u32::try_from(edits.len()).unwrap_or(u32::MAX));
        self.judgement.sensitive.extend(edits.iter().map(|edit| edit.kind().to_owned()));
        if self.policy.answers == Action::Block {
            self.is_blocked = true;
        } else {
            self.redactions += edits.len();
        }
    }

    fn is_released(&self, piece: &Delta) -> bool {
        self.channels.get(&piece.channel).is_none_or(|channel| channel.base + channel.released as u64 >= piece.range.end)
    }

    /// Whether what waits in front waits for a text to go on.
    fn is_stuck(&self) -> bool {
        self.queue.front().is_some_and(|held| !held.pieces.iter().all(|piece| self.is_released(piece)))
    }

    /// Too much waits behind a text that does not go on. Let out as it is, it could be the first half of a value: a closed policy stops
    /// the answer for that.
    fn give_up_waiting(&mut self) {
        if self.policy.on_guard_failure == OnGuardFailure::Closed {
            return self.stop("guardrail_incomplete");
        }
        let held: usize = self.channels.values().map(|channel| channel.text.len() - channel.released).sum();
        self.unscanned_bytes += held as u64;
        self.release_all();
        self.scanned_bytes = self.scanned_bytes.saturating_sub(held as u64);
    }

    fn release_all(&mut self) {
        let names: Vec<String> = self.channels.keys().cloned().collect();
        for name in names {
            self.advance(&name, true);
        }
    }

    /// Lets go of as much of a text as is safe; all of it when nothing more is waited for.
    fn advance(&mut self, name: &str, all: bool) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        let held = channel.text.len() - channel.released;
        let end = channel.base + channel.text.len() as u64;
        if !all && held > RESCAN_BYTES_MIN && held <= HOLD_BYTES_MAX && end - channel.scanned_to < held as u64 / 8 {
            return;
        }
        if held == 0 || (!all && channel.may_go(&*self.guard) <= channel.released) {
            channel.scanned_to = if held > RESCAN_BYTES_MIN { end } else { channel.scanned_to };
            return;
        }
        channel.scanned_to = end;
        let edits = self.guard.text_edits(&channel.text);
        let cut = channel.safe(&edits, all, &*self.guard);
        let is_judged = self.policy.answers == Action::Block;
        if cut <= channel.released || (is_judged && !all && cut - channel.released < STEP_BYTES) {
            return;
        }
        if is_judged {
            let meta = PieceMeta::new(Direction::Output, Role::Assistant, Part::Text);
            let judged = self.guard.judge(&[Piece::new(meta, Raw::from(channel.text.as_str()))]);
            if judged.score > self.judgement.score {
                self.judgement.score = judged.score;
                self.judgement.findings = judged.findings;
            }
            self.judgement.scanned_bytes += (cut - channel.released) as u64;
            if self.judgement.score >= self.policy.score_min {
                self.is_blocked = true;
            }
        }
        self.scanned_bytes += (cut - channel.released) as u64;
        let gone: Vec<Edit> = edits.into_iter().filter(|edit| edit.start < cut && edit.end > channel.released).collect();
        for edit in &gone {
            let range = channel.base + edit.start.max(channel.released) as u64..channel.base + edit.end as u64;
            channel.masks.push_back(MaskedRange { range, text: edit.text.clone() });
        }
        channel.released = cut;
        channel.forget();
        self.note(&gone);
    }

    fn write(&mut self, held: Held) -> Bytes {
        let mut edits = held.edits;
        for piece in &held.pieces {
            let Some(channel) = self.channels.get_mut(&piece.channel) else { continue };
            if let Some(text) = channel.masked(piece) {
                edits.push(Edit { start: piece.literal.start, end: piece.literal.end, text: quoted(&text) });
            }
        }
        if edits.is_empty() {
            return held.raw;
        }
        edits.sort_by_key(|edit| edit.start);
        let data = edited(&held.data, &edits);
        match self.frame {
            Frame::Amazon => event_stream::with_payload(&held.raw, data.as_bytes()).into(),
            Frame::ServerSent => match memchr::memmem::find(&held.raw, held.data.as_bytes()) {
                Some(at) => [&held.raw[..at], data.as_bytes(), &held.raw[at + held.data.len()..]].concat().into(),
                // Data on several lines, or not UTF-8: the event is written anew.
                None => {
                    let mut out = Vec::new();
                    if !held.name.is_empty() {
                        out.extend_from_slice(b"event: ");
                        out.extend_from_slice(&held.name);
                        out.push(b'\n');
                    }
                    for line in data.split(['\n', '\r']) {
                        out.extend_from_slice(b"data: ");
                        out.extend_from_slice(line.as_bytes());
                        out.push(b'\n');
                    }
                    out.push(b'\n');
                    out.into()
                }
            },
        }
    }
}

impl Channel {
    /// Up to where the text may go, with what is sensitive in it known.
    fn safe(&self, edits: &[Edit], all: bool, guard: &dyn Guard) -> usize {
        let length = self.text.len();
        if all {
            return length;
        }
        let is_forced = self.is_forced();
        let cut = self.may_go(guard);
        match edits.iter().find(|edit| edit.start < cut && edit.end > cut) {
            Some(edit) if is_forced => edit.end,
            Some(edit) => edit.start.max(self.released),
            None => cut,
        }
    }

    /// Whether more is held than may be, so that what is held must go whatever it is.
    fn is_forced(&self) -> bool {
        self.text.len() - self.released > HOLD_BYTES_MAX
    }

    /// Up to where the text may go as far as its words tell.
    fn may_go(&self, guard: &dyn Guard) -> usize {
        let window = self.text.floor_char_boundary(self.text.len().saturating_sub(OVERLAP_BYTES)).max(self.released);
        if self.is_forced() {
            return window;
        }
        // A word that has not ended may be the beginning of a key.
        let held = &self.text[self.released..window];
        let end = |at: usize| at + held[at..].chars().next().map_or(1, char::len_utf8);
        words::settled(&self.text, self.released + held.rfind(char::is_whitespace).map_or(0, end), guard)
    }

    /// Drops what has gone, except for the context of what comes.
    fn forget(&mut self) {
        let Some(gone) = self.released.checked_sub(2 * CONTEXT_BYTES) else { return };
        let gone = self.text.floor_char_boundary(gone + CONTEXT_BYTES);
        self.text.drain(..gone);
        self.base += gone as u64;
        self.released -= gone;
    }

    /// A piece with its masked ranges replaced; `None` when nothing in it changes.
    fn masked(&mut self, piece: &Delta) -> Option<String> {
        while self.masks.front().is_some_and(|mask| mask.range.end <= piece.range.start) {
            self.masks.pop_front();
        }
        let offset = |at: u64| usize::try_from(at.saturating_sub(piece.range.start)).unwrap_or(0).min(piece.text.len());
        let mut text = None;
        let mut from = 0;
        for mask in &self.masks {
            if mask.range.start >= piece.range.end {
                break;
            }
            if mask.range.end <= piece.range.start {
                continue;
            }
            let out: &mut String = text.get_or_insert_with(String::new);
            let (start, end) = (offset(mask.range.start), offset(mask.range.end));
            out.push_str(piece.text.get(from..start).unwrap_or_default());
            // What stands in the place of a value is written once, where the value begins.
            if mask.range.start >= piece.range.start {
                out.push_str(&mask.text);
            }
            from = end;
        }
        if let Some(out) = &mut text {
            out.push_str(piece.text.get(from..).unwrap_or_default());
        }
        text
    }
}

/// The pieces of texts at a path, each with the place that says which text it belongs to.
fn pieces_at<'a>(object: &Object<'a>, path: &str, mut place: String, found: &mut dyn FnMut(String, &'a RawValue)) {
    for name in PLACES {
        if let Some(value) = object.get(name).filter(|value| value.get().len() <= 200) {
            place.push('/');
            place.push_str(value.get());
        }
    }
    let (name, rest) = path.split_at(path.find(['.', '[']).unwrap_or(path.len()));
    let Some(raw) = object.get(name) else { return };
    if rest.is_empty() {
        return found(place, raw);
    }
    let rest = rest.strip_prefix("[]").map_or(rest, |rest| rest);
    let items = if raw.get().starts_with('[') { json::items(raw).unwrap_or_default() } else { vec![raw] };
    for inner in items.into_iter().filter_map(Object::of) {
        pieces_at(&inner, rest.trim_start_matches('.'), place.clone(), found);
    }
}

/// The block that an event belongs to, whatever the event says of it.
fn block_of(object: &Object<'_>) -> String {
    let values = PLACES.iter().filter(|name| **name != "type").filter_map(|name| object.get(name));
    values.map(|value| value.get()).filter(|value| value.len() <= 200).fold(String::new(), |block, value| block + "/" + value)
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

mod words;

#[cfg(test)]
mod tests;
