//! A log with sessions, an erasure and records of custody, the same for the same seed but for its keys.

use std::collections::HashMap;

use aws_lc_rs::hmac;
use event::{
    ContentId, ContentRef, Direction, Event, EventId, Key, Kind, Part, Piece, PieceMeta, Principal, Role, Source, SourcePath,
    SubjectId, Timestamp,
};
use journal::{ContentEntry, Record, Seq};
use ledger::{
    ErasedItem, ErasedItems, ErasedTokens, Ledger, LogKey, Redaction, Selection, StoredContent, StoredRecord, TOMBSTONE_EVENT,
};
use sanitize::Clean;
use watchkeeper_evidence::{About, Bag, Chosen, Export};

/// Sessions of the log; record `n` is of session `n % SESSIONS`.
pub(crate) const SESSIONS: u64 = 7;

/// A log on disk.
pub(crate) struct Log {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) key: LogKey,
    pub(crate) stored: Vec<StoredRecord>,
    pub(crate) list: ErasedItems,
    pub(crate) tombstone: StoredRecord,
    pub(crate) custody: StoredRecord,
    pub(crate) contents: HashMap<ContentId, StoredContent>,
}

fn subject(of: u64) -> SubjectId {
    SubjectId::from_bytes([u8::try_from(of + 1).unwrap(); 16]).unwrap()
}

/// The token that stands for the user of a session.
pub(crate) fn token(session: u64) -> String {
    let id: String = std::iter::repeat_n(char::from(b'a' + u8::try_from(session).unwrap()), 26).collect();
    format!("<EMAIL:v26:{id}zzzzzz@example.com>")
}

fn event(seq: u64, kind: Kind, name: &str, way_in: SourcePath) -> Event<Clean, ContentRef> {
    let mut event = Event::new(kind, Clean::recorded(name), Source::new(way_in, Key::of("watchkeeper")));
    event.time = Timestamp::from_unix_ns(1_700_000_000_000_000_000 + seq * 1_000_000_007);
    event.observed = event.time;
    event.id = EventId::derived(event.time, &[7; 32]);
    event
}

fn record(seq: u64, event: &Event<Clean, ContentRef>, contents: Vec<ContentEntry>) -> Record {
    let mut commitment_key = [3; 32];
    commitment_key[..8].copy_from_slice(&seq.to_be_bytes());
    let mut blind = [4; 16];
    blind[..8].copy_from_slice(&seq.to_be_bytes());
    Record { seq: Seq(seq), commitment_key, blind, event_json: serde_json::to_vec(event).unwrap(), contents }
}

fn call(seq: u64, said: &mut HashMap<ContentId, StoredContent>) -> Record {
    let session = seq % SESSIONS;
    let key = |of: u64| hmac::Key::new(hmac::HMAC_SHA256, &[u8::try_from(of).unwrap(); 32]);
    let system = ContentEntry::commit(subject(100), &key(100), Clean::literal("You are a <helpful> assistant & \"kind\"."));
    let text = format!("Message {seq}: tell {} about {} 中文", token(session), token((session + 1) % SESSIONS));
    let message = ContentEntry::commit(subject(session), &key(session), Clean::recorded(&text));
    let mut event = event(seq, Kind::ModelCall, "chat m", SourcePath::Api);
    event.session = Some(Clean::recorded(&format!("session-{session}")));
    event.identity.user = Some(Principal::asserted(Clean::recorded(&token(session))));
    event.set(event::attr::GEN_AI_USAGE_INPUT_TOKENS, i64::try_from(seq).unwrap());
    for (role, content) in [(Role::System, &system), (Role::User, &message)] {
        event.pieces.push(Piece::new(PieceMeta::new(Direction::Input, role, Part::Text), content.reference()));
    }
    let brought: Vec<ContentEntry> = [system, message]
        .into_iter()
        .filter(|content| said.insert(content.id, StoredContent::Whole(content.clone())).is_none())
        .collect();
    record(seq, &event, brought)
}

impl Log {
    /// A log of `calls` calls; then the user of session 2 is erased, which is recorded, and somebody exports.
    pub(crate) fn new(calls: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let text = LogKey::generate("test.example/log").unwrap().to_text();
        let key = || LogKey::from_text(&text).unwrap();
        let mut ledger = Ledger::open(dir.path(), key()).unwrap();
        let mut contents = HashMap::new();
        let records: Vec<Record> = (0..calls).map(|seq| call(seq, &mut contents)).collect();
        records.iter().for_each(|record| ledger.append(record).unwrap());
        ledger.seal(Timestamp::now()).unwrap();

        let mut items = Vec::new();
        let tokens = ErasedTokens::from_iter([token(2)]);
        let is_erased = |candidate| candidate == subject(2);
        let mut stored: Vec<StoredRecord> = records.into_iter().map(StoredRecord::whole).collect();
        for record in &mut stored {
            let leaf = record.seq.0;
            let what = Redaction { event: leaf % SESSIONS == 2, field: &|_, _| false, subject: &is_erased, tokens: &tokens };
            items.extend(record.redact(&what).unwrap().into_iter().map(|path| ErasedItem { leaf, path }));
        }
        for record in &stored {
            if let ledger::StoredBody::Redacted(record) = &record.body {
                record.contents.iter().for_each(|content| {
                    contents.insert(content.id(), content.clone());
                });
            }
        }
        let list = ErasedItems::new(items);
        let mut done = event(calls, Kind::Admin, TOMBSTONE_EVENT, SourcePath::Internal);
        done.attributes.extend(list.tombstone("request-1").unwrap().attributes());
        let tombstone = record(calls, &done, Vec::new());
        let custody = record(calls + 1, &event(calls + 1, Kind::DataAccess, "record.export", SourcePath::Internal), Vec::new());
        ledger.append(&tombstone).unwrap();
        ledger.append(&custody).unwrap();
        ledger.seal(Timestamp::now()).unwrap();
        let (tombstone, custody) = (StoredRecord::whole(tombstone), StoredRecord::whole(custody));
        Self { dir, key: key(), stored, list, tombstone, custody, contents }
    }

    /// The records of a session.
    pub(crate) fn session(&self, session: u64) -> Vec<StoredRecord> {
        self.stored.iter().filter(|record| record.seq.0 % SESSIONS == session).cloned().collect()
    }

    /// Exports a session.
    pub(crate) fn export(&self, session: u64, show: Selection<'_>) -> Bag {
        let records = self.session(session);
        self.exporting(session, &records, show, &[(self.tombstone.clone(), self.list.clone())], |export| export.bag().unwrap().0)
    }

    /// Exports with the tombstones given, in the way given.
    pub(crate) fn exporting<T>(
        &self,
        session: u64,
        records: &[StoredRecord],
        show: Selection<'_>,
        tombstones: &[(StoredRecord, ErasedItems)],
        how: impl Fn(&Export<'_>) -> T,
    ) -> T {
        how(&Export {
            data_dir: self.dir.path(),
            key: &self.key,
            records,
            show,
            contents: &|id| self.contents.get(&id).cloned(),
            custody: std::slice::from_ref(&self.custody),
            tombstones,
            timestamps: &[("0.tsr".to_owned(), b"a timestamp".to_vec())],
            checkpoint: None,
            policy: None,
            about: About {
                exported_by: "auditor <ann>".to_owned(),
                reason: "case 12 & more".to_owned(),
                at: Timestamp::from_unix_ns(1_700_000_000_000_000_000),
                chosen: Chosen::Session(format!("session-{session}")),
                records_selected: self.session(session).len() as u64,
            },
        })
    }
}
