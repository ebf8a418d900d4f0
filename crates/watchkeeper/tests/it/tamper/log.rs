//! A log whose keys were rotated, made by the library: its records in memory, its ledger on disk.

use std::path::Path;

use aws_lc_rs::hmac;
use event::{
    ContentRef, Direction, Event, EventId, Key, Kind, Part, Piece, PieceMeta, Principal, Role, Source, SourcePath, SubjectId,
    Timestamp,
};
use journal::{ContentEntry, Record, Seq};
use ledger::{Ledger, LogKey};
use sanitize::Clean;

/// Sessions of a log; record `n` is of session `n % SESSIONS`, which has a user and a subject of its own.
pub(super) const SESSIONS: u64 = 4;

/// How many records are sealed when the keys are rotated, and until how many the old ones still sign.
pub(super) const ROTATED: u64 = 16;
const OVERLAP: u64 = 4;

/// The keys of a log: those that it began with, and those with the ones that follow them.
pub(super) struct Keys {
    pub(super) old: LogKey,
    pub(super) new: LogKey,
}

impl Keys {
    pub(super) fn new(origin: &str) -> Self {
        let old = LogKey::generate(origin).unwrap();
        let mut new = again(&old);
        new.add_generation().unwrap();
        Self { old, new }
    }
}

pub(super) fn again(key: &LogKey) -> LogKey {
    LogKey::from_text(&key.to_text()).unwrap()
}

/// Seals records below `dir` at each of the sizes.
pub(super) fn seal(dir: &Path, keys: &Keys, records: &[Record], sizes: &[u64]) {
    let mut ledger = Ledger::open(dir, again(&keys.old)).unwrap();
    for size in sizes {
        while ledger.size() < *size {
            ledger.append(&records[usize::try_from(ledger.size()).unwrap()]).unwrap();
        }
        ledger.seal(Timestamp::from_unix_ns(1)).unwrap();
        if *size == ROTATED {
            ledger.rotate(again(&keys.new), OVERLAP).unwrap();
        }
    }
}

pub(super) fn subject(session: u64) -> SubjectId {
    SubjectId::from_bytes([u8::try_from(session + 1).unwrap(); 16]).unwrap()
}

/// The token that stands for the user of a session.
pub(super) fn token(session: u64) -> String {
    let id = String::from(char::from(b'a' + u8::try_from(session).unwrap())).repeat(26);
    format!("<EMAIL:v26:{id}zzzzzz@example.com>")
}

/// An event without contents.
pub(super) fn event(seq: u64, kind: Kind, name: &str, way_in: SourcePath) -> Event<Clean, ContentRef> {
    let mut event = Event::new(kind, Clean::recorded(name), Source::new(way_in, Key::of("watchkeeper")));
    event.time = Timestamp::from_unix_ns(1_700_000_000_000_000_000 + seq * 1_000_000_007);
    event.observed = event.time;
    event.id = EventId::derived(event.time, &[7; 32]);
    event
}

/// A call in which the users of two other sessions are named. `book` says in every text whose history it is.
pub(super) fn call(book: &str, seq: u64) -> (Event<Clean, ContentRef>, Vec<ContentEntry>) {
    let session = seq % SESSIONS;
    let (next, after) = (token((session + 1) % SESSIONS), token((session + 2) % SESSIONS));
    let texts = [
        (Direction::Input, Role::User, format!("What do {next} and {after} say of {seq}, in the book of {book}?")),
        (Direction::Output, Role::Assistant, format!("Of {seq} they say nothing to {}.", token(session))),
    ];
    let mut event = event(seq, Kind::ModelCall, "chat", SourcePath::Api);
    event.session = Some(Clean::recorded(&format!("session-{session}")));
    event.identity.user = Some(Principal::asserted(Clean::recorded(&token(session))));
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[u8::try_from(session).unwrap(); 32]);
    let mut contents = Vec::new();
    for (direction, role, text) in texts {
        let content = ContentEntry::commit(subject(session), &key, Clean::recorded(&text));
        event.pieces.push(Piece::new(PieceMeta::new(direction, role, Part::Text), content.reference()));
        contents.push(content);
    }
    (event, contents)
}

pub(super) fn record(seq: u64, event: &Event<Clean, ContentRef>, contents: Vec<ContentEntry>) -> Record {
    let (mut commitment_key, mut blind) = ([3; 32], [4; 16]);
    commitment_key[..8].copy_from_slice(&seq.to_be_bytes());
    blind[..8].copy_from_slice(&seq.to_be_bytes());
    Record { seq: Seq(seq), commitment_key, blind, event_json: serde_json::to_vec(event).unwrap(), contents }
}

/// Calls from the first seq to before the end.
pub(super) fn calls(book: &str, seqs: std::ops::Range<u64>) -> Vec<Record> {
    let of = |seq| {
        let (event, contents) = call(book, seq);
        record(seq, &event, contents)
    };
    seqs.map(of).collect()
}
