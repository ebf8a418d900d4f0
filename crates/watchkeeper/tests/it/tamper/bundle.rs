//! Evidence bundles of a log whose keys were rotated and whose checkpoints a witness countersigns, as somebody has them who wants to
//! pass off others.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use event::{ContentId, Kind, SourcePath, Timestamp};
use evidence::{About, Bag, Chosen, Export, Overall, Trust, verify_bag};
use journal::Record;
use ledger::{
    Algorithm, ErasedItem, ErasedItems, ErasedTokens, Policy, Redaction, Selection, SignedNote, SigningKey, StoredContent,
    StoredRecord, TOMBSTONE_EVENT,
};

use super::Target;
use super::bundle_changes::{changes, is_made_anew, name_of};
use super::files::{Files, with_change};
use super::log::{Keys, ROTATED, SESSIONS, calls, event, record, seal, subject, token};
use super::world::said;
use crate::support::watchkeeper;

/// Calls of the log; behind them stand two tombstones and a record of custody.
const CALLS: u64 = 40;

/// Records of the log when it was young.
const YOUNG: u64 = 30;

/// The session that is taken out. Its users are not erased, and it speaks of those who are.
const SESSION: u64 = 1;

/// The sessions whose users are erased, one after the other.
const ERASED: [u64; 2] = [2, 3];

/// When the witness countersigns, in seconds since 1970.
const WITNESSED: u64 = 1_700_000_100;

/// A bundle and what belongs to it.
pub(super) struct Bundles {
    dir: PathBuf,
    pub(super) now: Files,
    /// A bundle of the same session from when the log was younger.
    pub(super) older: Files,
    /// A bundle of another session.
    pub(super) neighbour: Files,
    /// Of another history, signed with the log's key, that no witness saw.
    pub(super) fork: Files,
    /// Of another log, whose checkpoints the same witness countersigns.
    pub(super) other: Files,
    pub(super) keys: Keys,
    /// The checkpoint of the bundle, signed with the retired key alone and countersigned.
    pub(super) retired_checkpoint: Vec<u8>,
    trust: Trust,
    key_file: PathBuf,
    policy_file: PathBuf,
}

/// A log on disk with all that its bundles need.
struct Log<'k> {
    dir: PathBuf,
    keys: &'k Keys,
    stored: Vec<StoredRecord>,
    contents: HashMap<ContentId, StoredContent>,
    tombstones: Vec<(StoredRecord, ErasedItems)>,
    custody: Vec<StoredRecord>,
}

impl<'k> Log<'k> {
    /// The log before anybody was erased.
    fn young(dir: PathBuf, keys: &'k Keys, book: &str) -> Self {
        let records = calls(book, 0..YOUNG);
        seal(&dir, keys, &records, &[8, ROTATED, YOUNG]);
        Self::of(dir, keys, &records, Vec::new(), Vec::new())
    }

    fn new(dir: PathBuf, keys: &'k Keys, book: &str) -> Self {
        let mut records = calls(book, 0..CALLS);
        let mut stored: Vec<StoredRecord> = records.iter().cloned().map(StoredRecord::whole).collect();
        let mut tombstones = Vec::new();
        for (seq, erased) in (CALLS..).zip(ERASED) {
            let (tokens, is_erased) = (ErasedTokens::from_iter([token(erased)]), |candidate| candidate == subject(erased));
            let mut items = Vec::new();
            for record in &mut stored {
                let leaf = record.seq.0;
                let what = Redaction {
                    event: leaf % SESSIONS == erased,
                    field: &|_, _| false,
                    content: &|_, subject| ledger::Cut::all_if(is_erased(subject)),
                    tokens: &tokens,
                };
                items.extend(record.redact(&what).unwrap().into_iter().map(|path| ErasedItem { leaf, path }));
            }
            let (list, mut done) = (ErasedItems::new(items), event(seq, Kind::Admin, TOMBSTONE_EVENT, SourcePath::Internal));
            done.attributes.extend(list.tombstone(&format!("request-{erased}")).unwrap().attributes());
            let tombstone = record(seq, &done, Vec::new());
            tombstones.push((StoredRecord::whole(tombstone.clone()), list));
            records.push(tombstone);
        }
        let seq = records.len() as u64;
        let custody = record(seq, &event(seq, Kind::DataAccess, "record.export", SourcePath::Internal), Vec::new());
        records.push(custody.clone());
        seal(&dir, keys, &records, &[8, ROTATED, YOUNG, seq + 1]);
        let mut log = Self::of(dir, keys, &records, tombstones, vec![StoredRecord::whole(custody)]);
        for stored in &stored {
            if let ledger::StoredBody::Redacted(left) = &stored.body {
                log.contents.extend(left.contents.iter().map(|content| (content.id(), content.clone())));
            }
        }
        log.stored = stored;
        log
    }

    fn of(
        dir: PathBuf,
        keys: &'k Keys,
        records: &[Record],
        tombstones: Vec<(StoredRecord, ErasedItems)>,
        custody: Vec<StoredRecord>,
    ) -> Self {
        let whole = |content: &journal::ContentEntry| (content.id, StoredContent::Whole(content.clone()));
        let contents = records.iter().flat_map(|record| &record.contents).map(whole).collect();
        let stored = records.iter().cloned().map(StoredRecord::whole).collect();
        Self { dir, keys, stored, contents, tombstones, custody }
    }

    fn export(&self, session: u64, witness: Option<&SigningKey>, policy: Option<&[u8]>) -> Files {
        let records: Vec<_> = self.stored.iter().filter(|record| record.seq.0 % SESSIONS == session).cloned().collect();
        let published = std::fs::read(self.dir.join("ledger/checkpoint")).unwrap();
        let checkpoint = witness.map(|witness| countersigned(&published, witness));
        let export = Export {
            data_dir: &self.dir,
            key: &self.keys.new,
            records: &records,
            show: Selection { field: &|path, _| path != "/identity", ..Selection::all() },
            show_custody: Selection::all(),
            contents: &|id| self.contents.get(&id).cloned(),
            custody: &self.custody,
            tombstones: &self.tombstones,
            checkpoint: checkpoint.as_deref(),
            policy,
            about: About {
                exported_by: "auditor".to_owned(),
                operator: None,
                reason: "case 17".to_owned(),
                at: Timestamp::from_unix_ns(1_700_000_000_000_000_000),
                chosen: Chosen::Session(format!("session-{session}")),
                withheld: vec!["/identity".to_owned()],
                witnessed: witness.map(|_| true),
                records_selected: records.len() as u64,
                not_searched: 0,
                dropped: 0,
            },
        };
        files_of(&export.bag().unwrap().0)
    }
}

fn countersigned(note: &[u8], witness: &SigningKey) -> Vec<u8> {
    let note = SignedNote::parse(note).unwrap();
    let by = witness.sign(note.text(), WITNESSED).unwrap();
    note.with([by]).unwrap().encode().into_bytes()
}

fn files_of(bag: &Bag) -> Files {
    bag.files().map(|(name, bytes)| (name.to_owned(), bytes.to_vec())).collect()
}

/// The files as a bundle, with whatever manifests are among them.
pub(super) fn bag_of(files: &Files) -> Bag {
    bag_if_any(files).unwrap()
}

/// `None` where no bundle can hold them: a large file under the name of a small one is refused before anything is read of it.
pub(super) fn bag_if_any(files: &Files) -> Option<Bag> {
    let mut bag = Bag::default();
    files.iter().try_for_each(|(name, bytes)| bag.put(name, bytes.clone())).ok()?;
    Some(bag)
}

impl Bundles {
    pub(super) fn new(root: &Path) -> Self {
        let (keys, other_keys) = (Keys::new("example.com/specimen"), Keys::new("example.com/other"));
        let witness = SigningKey::generate(Algorithm::Ed25519Cosignature, "witness.example/1").unwrap();
        let policy = format!("log {}\nwitness one {}\nquorum one\n", keys.new.verifier(), witness.verifier());
        let policy = policy.as_bytes();
        let log = Log::new(root.join("ours"), &keys, "ours");
        let now = log.export(SESSION, Some(&witness), Some(policy));
        let neighbour = log.export(0, Some(&witness), Some(policy));
        let fork = Log::new(root.join("fork"), &keys, "fork").export(SESSION, None, None);
        let other = Log::new(root.join("other"), &other_keys, "other").export(SESSION, Some(&witness), Some(policy));
        let text = SignedNote::parse(&now["data/checkpoint"]).unwrap().text().to_owned();
        let retired_checkpoint = countersigned(keys.old.sign(&text).unwrap().encode().as_bytes(), &witness);
        let older = Log::young(root.join("older"), &keys, "ours").export(SESSION, Some(&witness), Some(policy));
        let (dir, key_file, policy_file) = (root.join("bundle"), root.join("vkey"), root.join("policy"));
        bag_of(&now).write_dir(&dir).unwrap();
        // The key that the reader knows is the log's first; the bundle leads from there to the present one.
        std::fs::write(&key_file, format!("{}\n", keys.old.verifier())).unwrap();
        std::fs::write(&policy_file, policy).unwrap();
        let trust = Trust { key: Some(keys.old.verifier()), policy: Some(Policy::parse(policy).unwrap()), tsa_roots: None };
        Self { dir, now, older, neighbour, fork, other, keys, retired_checkpoint, trust, key_file, policy_file }
    }

    pub(super) fn target(&self, name: &'static str) -> Target<'_> {
        self.verified(name, |files| self.verify(&bag_of(files)))
    }

    pub(super) fn by_the_binary(&self, name: &'static str) -> Target<'_> {
        self.verified(name, |files| {
            with_change(&self.dir, &self.now, files, || {
                let mut verify = watchkeeper();
                verify.args(["evidence", "verify"]).arg(&self.dir);
                said(verify.arg("--key").arg(&self.key_file).arg("--policy").arg(&self.policy_file))
            })
        })
    }

    fn verified<'w>(&'w self, name: &'static str, verify: impl Fn(&Files) -> Result<Option<String>, String> + 'w) -> Target<'w> {
        Target { name, now: &self.now, changes: changes(self), verify: Box::new(verify), name_of, is_made_anew }
    }

    fn verify(&self, bag: &Bag) -> Result<Option<String>, String> {
        let report = verify_bag(bag, &self.trust);
        match (report.overall, report.fault) {
            (Overall::Intact, _) => Ok(None),
            (_, Some(fault)) => Ok(Some(format!("{}: {}", fault.file, fault.what))),
            (overall, None) => Ok(Some(format!("{overall:?}: {}", report.unmet.join("; ")))),
        }
    }
}
