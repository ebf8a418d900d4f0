//! A log with sessions, an erasure and records of custody, the same for the same seed but for its keys.

use std::collections::HashMap;
use std::process::Command;

use aws_lc_rs::hmac;
use event::{
    ContentId, ContentRef, Direction, Event, EventId, Key, Kind, Part, Piece, PieceMeta, Principal, Role, Source, SourcePath,
    SubjectId, Timestamp,
};
use journal::{ContentEntry, Record, Seq};
use ledger::{
    Algorithm, ErasedItem, ErasedItems, ErasedTokens, Ledger, LogKey, Redaction, Selection, SigningKey, StoredContent,
    StoredRecord, TOMBSTONE_EVENT, TimestampRequest,
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
    /// The checkpoint as witnesses cosigned it, and the policy with these.
    pub(crate) cosigned: Option<(String, String)>,
    /// How many records the selection is said not to have looked at.
    pub(crate) not_searched: u64,
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
            let what = Redaction {
                event: leaf % SESSIONS == 2,
                field: &|_, _| false,
                content: &|_, subject| ledger::Cut::all_if(is_erased(subject)),
                tokens: &tokens,
            };
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
        Self { dir, key: key(), stored, list, tombstone, custody, contents, cosigned: None, not_searched: 0 }
    }

    /// Has the newest checkpoint cosigned by two of three witnesses, one for each algorithm, and asks for two.
    pub(crate) fn cosign(&mut self) {
        let algorithms = [Algorithm::Ed25519Cosignature, Algorithm::MlDsa44, Algorithm::Ed25519Cosignature];
        let keys: Vec<SigningKey> = (1..)
            .zip(algorithms)
            .map(|(n, algorithm)| SigningKey::generate(algorithm, &format!("w{n}.example")).unwrap())
            .collect();
        let note = ledger::published_checkpoint(self.dir.path()).unwrap().unwrap();
        let cosignatures: Vec<_> = keys[..2].iter().map(|key| key.sign(note.text(), 1_700_000_123).unwrap()).collect();
        let mut policy = "# of a test\n\n".to_owned();
        for (n, key) in (1..).zip(&keys) {
            policy += &format!("witness w{n} {} https://w{n}.example/\n", key.verifier());
        }
        policy += "group two 2 w1 w3\ngroup some any two w2\nquorum some\n";
        self.cosigned = Some((note.with(cosignatures).unwrap().encode(), policy));
    }

    /// Has the checkpoints of these sizes stamped by an authority, made with OpenSSL, and gives its root.
    pub(crate) fn stamp(&self, sizes: &[u64]) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let openssl = |arguments: &str| {
            let output = Command::new("openssl").args(arguments.split(' ')).current_dir(dir.path()).output().unwrap();
            assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        };
        let config = "[tsa]\ndefault_tsa=t\n[t]\nserial=serial\ndefault_policy=1.2.3.4\ndigests=sha256\nsigner_digest=sha256\n\
                      ess_cert_id_chain=no\n[stamps]\nextendedKeyUsage=critical,timeStamping\n";
        std::fs::write(dir.path().join("tsa.cnf"), config).unwrap();
        std::fs::write(dir.path().join("serial"), "01\n").unwrap();
        for name in ["root", "tsa"] {
            openssl(&format!("genpkey -out {name}.key -algorithm EC -pkeyopt ec_paramgen_curve:P-256"));
        }
        openssl(
            "req -x509 -new -key root.key -subj /CN=root -days 30 -out root.pem -config /dev/null -addext basicConstraints=critical,CA:TRUE",
        );
        openssl("req -new -key tsa.key -subj /CN=tsa -out tsa.csr -config /dev/null");
        openssl(
            "x509 -req -in tsa.csr -CA root.pem -CAkey root.key -CAcreateserial -days 30 -extfile tsa.cnf -extensions stamps -out tsa.pem",
        );
        let history = std::fs::read_to_string(self.dir.path().join("ledger/checkpoints")).unwrap();
        for size in sizes {
            let blocks: Vec<&str> = history.split_inclusive("\n\n").collect();
            let note = blocks.chunks(2).find(|note| note[0].lines().nth(1) == Some(&size.to_string())).unwrap().concat();
            let request = TimestampRequest::new(note.strip_suffix('\n').unwrap().as_bytes()).unwrap();
            std::fs::write(dir.path().join("q.tsq"), request.encode()).unwrap();
            openssl("ts -reply -queryfile q.tsq -config tsa.cnf -signer tsa.pem -inkey tsa.key -out a.tsr");
            let answer = std::fs::read(dir.path().join("a.tsr")).unwrap();
            request.check(&answer).unwrap();
            ledger::publish_timestamp(self.dir.path(), *size, &answer).unwrap();
        }
        std::fs::read(dir.path().join("root.pem")).unwrap()
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
            show_custody: Selection::all(),
            contents: &|id| self.contents.get(&id).cloned(),
            custody: std::slice::from_ref(&self.custody),
            tombstones,
            checkpoint: self.cosigned.as_ref().map(|(note, _)| note.as_bytes()),
            policy: self.cosigned.as_ref().map(|(_, policy)| policy.as_bytes()),
            about: About {
                exported_by: "auditor <ann>".to_owned(),
                operator: None,
                reason: "case 12 & more".to_owned(),
                withheld: Vec::new(),
                witnessed: self.cosigned.as_ref().map(|_| true),
                at: Timestamp::from_unix_ns(1_700_000_000_000_000_000),
                chosen: Chosen::Session(format!("session-{session}")),
                records_selected: self.session(session).len() as u64,
                not_searched: self.not_searched,
                dropped: 0,
            },
        })
    }
}
