//! A journal in memory.

use std::collections::HashSet;
use std::sync::Arc;

use aws_lc_rs::hmac;
use event::{ContentId, Direction, Event, Finding, Identity, Inspection, Key, Kind, Part, Phase, Piece, PieceMeta, Principal};
use event::{Risk, Role, RuleId, Source, SourcePath, Status, SubjectId, Timestamp, Trace, Value, Verdict};
use journal::{ContentEntry, Record, Seq};
use keys::{DataKeys, FileRootKey, Keyring, Purpose, Secret};
use sanitize::Clean;
use store::{Cell, QueryLimits, Reader, Store};

/// 2025-11-20T12:00:00Z.
pub(crate) const NOON: u64 = 1_763_640_000;

/// An event as it is written by hand.
pub(crate) type Ev = Event<String>;

pub(crate) struct Journal {
    pub(crate) records: Vec<Record>,
    known: HashSet<ContentId>,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self { records: Vec::new(), known: HashSet::new() }
    }

    /// Appends an event as the journal would: each content once.
    pub(crate) fn push(&mut self, event: Ev) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
        let subject = SubjectId::from_bytes([1; 16]).unwrap();
        let mut contents = Vec::new();
        let recorded = event.map(
            &mut |text: String| Clean::recorded(&text),
            &mut |_, text: String| {
                let entry = ContentEntry::commit(subject, &key, Clean::recorded(&text));
                let reference = entry.reference();
                if self.known.insert(entry.id) {
                    contents.push(entry);
                }
                reference
            },
            &|text, n| text.numbered(n),
        );
        self.records.push(Record {
            seq: Seq(self.records.len() as u64),
            commitment_key: [0; 32],
            blind: [0; 16],
            event_json: serde_json::to_vec(&recorded).unwrap(),
            contents,
        });
        recorded.id.to_string()
    }

    pub(crate) fn extend(&mut self, events: impl IntoIterator<Item = Ev>) {
        for event in events {
            self.push(event);
        }
    }
}

/// An event `seconds` after noon, seen at once.
pub(crate) fn event(kind: Kind, seconds: u64) -> Ev {
    let mut event = Event::new(kind, kind.as_str().to_owned(), Source::new(SourcePath::OtlpGrpc, Key::of("otel")));
    at(&mut event, seconds);
    event
}

pub(crate) fn at(event: &mut Ev, seconds: u64) {
    event.time = Timestamp::from_unix_ns((NOON + seconds) * 1_000_000_000);
    event.observed = event.time;
}

/// The same with what a good source tells of who and where.
pub(crate) fn known(kind: Kind, seconds: u64) -> Ev {
    let mut event = event(kind, seconds);
    event.session = Some("s1".to_owned());
    event.trace =
        Some(Trace { trace_id: "0af7651916cd43dd8448eb211c80319c".parse().unwrap(), span_id: None, parent_span_id: None });
    event.identity = Identity {
        user: Some(Principal::asserted("ada")),
        application: Some(Principal::asserted("shop")),
        agent: Some(Principal { version: Some("2".to_owned()), ..Principal::asserted("buyer") }),
        ..Identity::default()
    };
    event.set(event::attr::GEN_AI_RESPONSE_MODEL, "gpt-x");
    event
}

pub(crate) trait With: Sized {
    fn with(self, change: impl FnOnce(&mut Self)) -> Self;
}

impl With for Ev {
    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

pub(crate) fn piece(direction: Direction, role: Role, part: Part, text: &str) -> Piece<String> {
    Piece::new(PieceMeta::new(direction, role, part), text.to_owned())
}

pub(crate) fn said(text: &str) -> Piece<String> {
    piece(Direction::Input, Role::User, Part::Text, text)
}

pub(crate) fn answer(text: &str) -> Piece<String> {
    piece(Direction::Output, Role::Assistant, Part::Text, text)
}

pub(crate) fn old(mut piece: Piece<String>) -> Piece<String> {
    piece.meta.history = true;
    piece
}

pub(crate) fn call(id: &str, tool: &str, arguments: &str) -> Piece<String> {
    let mut piece = piece(Direction::Output, Role::Assistant, Part::ToolCall, arguments);
    piece.meta.call_id = (!id.is_empty()).then(|| id.to_owned());
    piece.meta.name = Some(tool.to_owned());
    piece
}

/// A call as a later request repeats it.
pub(crate) fn old_call(id: &str, tool: &str, arguments: &str) -> Piece<String> {
    let mut piece = old(call(id, tool, arguments));
    piece.meta.direction = Direction::Input;
    piece
}

pub(crate) fn result(id: &str, text: &str) -> Piece<String> {
    let mut piece = piece(Direction::Input, Role::Tool, Part::ToolResult, text);
    piece.meta.call_id = (!id.is_empty()).then(|| id.to_owned());
    piece
}

pub(crate) fn finding(risk: Risk, score: f32, start: u32, end: u32) -> Finding {
    Finding { risk, technique: "AML.T0051.000".parse().ok(), rule: RuleId::new("test.rule"), score, start, end, view: None }
}

pub(crate) fn inspected(score: f32) -> Option<Inspection> {
    Some(Inspection { score, verdict: Verdict::of_score(score), scanned_bytes: 10, unscanned_bytes: 0 })
}

pub(crate) fn failed(event: &mut Ev) {
    event.status = Status::Error;
    event.set(event::attr::ERROR_TYPE, "timeout");
}

pub(crate) fn gateway(phase: Phase, seconds: u64, exchange: &str) -> Ev {
    event(Kind::ModelCall, seconds).with(|event| {
        event.source = Source::new(SourcePath::Gateway, Key::of("openai.chat"));
        event.phase = phase;
        event.identity.application = Some(Principal::asserted("shop"));
        event.identity.user = Some(Principal::asserted("ada"));
        event.set(event::attr::CALL_ID, exchange);
        event.set(event::attr::GEN_AI_REQUEST_MODEL, "gpt-x");
    })
}

pub(crate) fn list(items: &[&str]) -> Value<String> {
    Value::List(items.iter().map(|item| Value::from(*item)).collect())
}

/// A store with the records of the journal, and a reader of it.
pub(crate) struct Indexed {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) keys: DataKeys,
    pub(crate) store: Store,
    pub(crate) reader: Reader,
}

pub(crate) fn indexed(journal: &Journal) -> Indexed {
    let dir = tempfile::tempdir().unwrap();
    let keys = data_keys(dir.path());
    let mut store = Store::open(dir.path(), &keys).unwrap();
    store.index(&journal.records).unwrap();
    let reader = Reader::open(dir.path(), &keys).unwrap();
    Indexed { dir, keys, store, reader }
}

/// A keyring in the directory, under a root key that is forgotten with the test.
pub(crate) fn data_keys(dir: &std::path::Path) -> DataKeys {
    let root = FileRootKey::new(&Secret::random().unwrap()).unwrap();
    DataKeys::new(Arc::new(Keyring::open(&dir.join("keys"), Arc::new(root)).unwrap()), Purpose::Store)
}

pub(crate) fn index_all(events: impl IntoIterator<Item = Ev>) -> Indexed {
    let mut journal = Journal::new();
    journal.extend(events);
    indexed(&journal)
}

impl Indexed {
    /// The answer with cells as text, NULL as `-`.
    pub(crate) fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        rows(&self.reader, sql)
    }
}

pub(crate) fn rows(reader: &Reader, sql: &str) -> Vec<Vec<String>> {
    let table = reader.sql(sql, &QueryLimits::default()).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let show = |cell: &Cell| if *cell == Cell::Null { "-".to_owned() } else { cell.to_string() };
    table.rows.iter().map(|row| row.iter().map(show).collect()).collect()
}

/// Asserts an answer, given as rows of cells with `|` between them.
#[track_caller]
pub(crate) fn check(indexed: &Indexed, sql: &str, expected: &[&str]) {
    let found: Vec<String> = indexed.rows(sql).into_iter().map(|row| row.join("|")).collect();
    assert_eq!(found, expected, "{sql}");
}
