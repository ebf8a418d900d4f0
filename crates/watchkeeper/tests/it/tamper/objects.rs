//! An archive by itself, as an object store has it, of a log whose keys were rotated meanwhile.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use archive::{
    Archive, Class, Digest, DirObjects, Kept, KeyStoreError, Objects, Pin, Purpose, Sealing, SegmentKey, SegmentKeys, Span,
    VerifyArchiveError, View, leaves_of,
};
use event::{ContentRef, KeyId, Timestamp};
use journal::Record;
use ledger::{LogKey, StoredBody, StoredContent, StoredRecord, VerifierKey};

use super::Target;
use super::archives::{Collected, all_of, changes, is_archive, name_of};
use super::files::{Files, collect, copy, with_change};
use super::log::{Keys, again, calls, seal};

/// Records of the log; the archive has spans of [`SPAN`] of them.
const RECORDS: u64 = 60;
const SPAN: u64 = 15;

const NOW: Timestamp = Timestamp::from_unix_ns(1_800_000_000_000_000_000);

/// A specimen and what belongs to it.
pub(super) struct ObjectStore {
    dir: PathBuf,
    now: Files,
    older: Vec<Files>,
    fork: Files,
    other: Files,
    /// Goes on from the specimen, signed with the log's key, of which the attacker has got hold with all others.
    forged: Vec<(Files, Vec<String>)>,
    /// Goes on from the specimen, signed with a key that was retired before.
    retired: Vec<(Files, Vec<String>)>,
    keys: Hoard,
    log_keys: Vec<Vec<VerifierKey>>,
    log_id: [u8; 16],
    pin: Pin,
}

/// The keys of segments, in memory.
#[derive(Clone, Default)]
struct Hoard {
    keys: Arc<Mutex<BTreeMap<KeyId, [u8; 32]>>>,
    /// Whether nothing is ever destroyed: an attacker keeps what they have.
    keeps: bool,
}

impl SegmentKeys for Hoard {
    fn create(&self) -> Result<(KeyId, SegmentKey), KeyStoreError> {
        let (mut id, mut secret) = ([0; 16], [0; 32]);
        aws_lc_rs::rand::fill(&mut id).unwrap();
        aws_lc_rs::rand::fill(&mut secret).unwrap();
        let id = KeyId::from_bytes(id).unwrap();
        self.keys.lock().unwrap().insert(id, secret);
        Ok((id, SegmentKey::new(secret)))
    }

    fn get(&self, id: KeyId) -> Result<Option<SegmentKey>, KeyStoreError> {
        Ok(self.keys.lock().unwrap().get(&id).copied().map(SegmentKey::new))
    }

    fn destroy(&self, ids: &[KeyId]) -> Result<(), KeyStoreError> {
        if !self.keeps {
            self.keys.lock().unwrap().retain(|id, _| !ids.contains(id));
        }
        Ok(())
    }

    fn tag(&self, bytes: &[u8]) -> Result<[u8; 32], KeyStoreError> {
        Ok(Digest::of(bytes).0)
    }
}

fn class(seq: u64) -> Class {
    if seq.is_multiple_of(3) { "pci" } else { "soc2" }.parse().unwrap()
}

fn span(first: u64, class: &str) -> Span {
    Span { first, end: first + SPAN, class: class.parse().unwrap() }
}

/// Opens the archive in a directory, does something with it, and gives the files.
fn change(dir: &Path, hoard: &Hoard, key: &LogKey, log_keys: &[Vec<VerifierKey>], change: impl FnOnce(&mut Archive)) -> Files {
    let objects: Arc<dyn Objects> = Arc::new(DirObjects::open(&dir.join("archive/objects"), false).unwrap());
    let keys = Arc::new(hoard.clone());
    let mut archive =
        Archive::open(&dir.join("archive"), Purpose::Evidence, objects, keys, Arc::new(again(key)), &log_keys.concat(), None)
            .unwrap();
    change(&mut archive);
    drop(archive);
    let mut files = Files::new();
    collect(dir, dir, &mut files);
    files.retain(|path, _| is_archive(path));
    files
}

/// Seals spans of records.
fn take_in(archive: &mut Archive, records: &[Record]) {
    let nobody = |_: &ContentRef| Ok(None);
    let how = Sealing { contents: &nobody, lock_until: &|_: &Class| None, keeps: &|_: &Class| None, root: None, now: NOW };
    for records in records.chunks(usize::try_from(SPAN).unwrap()) {
        let first = records[0].seq.0;
        let classed =
            records.iter().map(|record| Ok::<_, Infallible>((class(record.seq.0), StoredRecord::whole(record.clone()))));
        archive.seal(first, first + SPAN, classed, &how).unwrap();
    }
}

/// The whole records of a segment, changed all at once and written anew.
fn forge(archive: &mut Archive, span: &Span, forge: impl Fn(&mut [Record])) {
    let mut records: Vec<Record> = Vec::new();
    for item in archive.view().reader(span.first) {
        let archive::Item::Record(stored) = item.unwrap() else { continue };
        if let StoredBody::Whole(record) = stored.body
            && record.seq.0 < span.end
            && class(record.seq.0) == span.class
        {
            records.push(record);
        }
    }
    forge(&mut records);
    let mut forged = records.into_iter();
    let contents: BTreeMap<_, _> =
        forged.as_slice().iter().flat_map(|record| &record.contents).map(|content| (content.id, content.clone())).collect();
    let change = |kept: Kept<'_>| {
        match kept {
            Kept::Content(content) => {
                if let Some(forged) = contents.get(&content.id()) {
                    *content = StoredContent::Whole(forged.clone());
                }
            }
            Kept::Record(record) => record.body = StoredBody::Whole(forged.next().unwrap()),
        }
        Ok(true)
    };
    archive.rewrite(span, "retention", NOW, change).unwrap().unwrap();
}

impl ObjectStore {
    pub(super) fn new(root: &Path) -> Self {
        let make = |name: &str| root.join(name);
        let dir = make("store");
        let (keys, other_keys) = (Keys::new("example.com/specimen"), Keys::new("example.com/other"));
        let log_keys = vec![keys.old.verifiers(), keys.new.verifiers()];
        let (hoard, end) = (Hoard::default(), RECORDS);
        let attacker = Hoard { keeps: true, ..hoard.clone() };
        let records = calls("ours", 0..end);
        let of = |from: u64, to: u64| &records[usize::try_from(from * SPAN).unwrap()..usize::try_from(to * SPAN).unwrap()];
        seal(&dir, &keys, &records, &[8, 16, 40, end]);

        // Two spans under the old keys, two under the new ones; one segment written anew, one dropped, one held.
        let first = change(&dir, &hoard, &keys.old, &log_keys, |archive| take_in(archive, of(0, 2)));
        let second = change(&dir, &hoard, &keys.new, &log_keys, |archive| {
            take_in(archive, of(2, 3));
            archive.drop_segment(&span(0, "pci"), "retention", NOW).unwrap();
        });
        copy(&dir, &make("fork"));
        let now = change(&dir, &hoard, &keys.new, &log_keys, |archive| {
            let erase = |kept: Kept<'_>| match kept {
                Kept::Record(record) if record.seq.0 == 22 => {
                    let what = ledger::Redaction {
                        event: true,
                        field: &|_, _| false,
                        content: &|_, _| ledger::Cut::Tokens,
                        tokens: &ledger::ErasedTokens::none(),
                    };
                    Ok(!record.redact(&what)?.is_empty())
                }
                _ => Ok(false),
            };
            archive.rewrite(&span(15, "soc2"), "erasure-1", NOW, erase).unwrap().unwrap();
            take_in(archive, of(3, 4));
            archive.hold(&span(30, "soc2"), true, "case 17", NOW).unwrap();
        });
        let fork_records = calls("fork", 0..end);
        let fork = change(&make("fork"), &attacker, &keys.new, &log_keys, |archive| {
            take_in(archive, &fork_records[usize::try_from(3 * SPAN).unwrap()..]);
            archive.hold(&span(30, "soc2"), true, "case 17", NOW).unwrap();
            archive.hold(&span(30, "soc2"), false, "case 17", NOW).unwrap();
        });
        let other = change(&make("other"), &attacker, &other_keys.new, &[], |archive| {
            take_in(archive, &calls("other", 0..end));
        });

        let goes_on = |name: &str, key: &LogKey, what: &dyn Fn(&mut Archive)| {
            let dir = make(name);
            copy(&make("store"), &dir);
            change(&dir, &attacker, key, &log_keys, |archive| what(archive))
        };
        let last = span(45, "soc2");
        let forgery = |name: &str, what: &dyn Fn(&mut [Record]), of: &[u64]| {
            let files = goes_on(name, &keys.new, &|archive| forge(archive, &last, what));
            (files, of.iter().map(|seq| format!("record {seq} in segment {last}")).collect())
        };
        let forged = vec![
            forgery("forged-blind", &|records| records[3].blind[0] ^= 1, &[50]),
            forgery("forged-key", &|records| records[0].commitment_key[9] ^= 1, &[46]),
            forgery("forged-event", &|records| records[4].event_json = calls("forged", 52..53).remove(0).event_json, &[52]),
            forgery("forged-text", &|records| records[5].contents = calls("forged", 53..54).remove(0).contents, &[53]),
            forgery(
                "leaves",
                &|records| {
                    let (left, right) = records.split_at_mut(3);
                    std::mem::swap(&mut left[1], &mut right[2]);
                    std::mem::swap(&mut left[1].seq, &mut right[2].seq);
                },
                &[47, 53],
            ),
            forgery(
                "commitments",
                &|records| {
                    let (left, right) = records.split_at_mut(3);
                    std::mem::swap(&mut left[1].commitment_key, &mut right[2].commitment_key);
                },
                &[47, 53],
            ),
        ];
        let by_retired = |name: &str, what: &dyn Fn(&mut Archive)| (goes_on(name, &keys.old, what), Vec::new());
        let retired = vec![
            by_retired("retired-drop", &|archive| drop(archive.drop_segment(&last, "retention", NOW).unwrap())),
            by_retired("retired-hold", &|archive| archive.hold(&span(30, "soc2"), false, "over", NOW).unwrap()),
            by_retired("retired-erasure", &|archive| forge(archive, &last, |_| ())),
        ];
        let pin = View::open(
            &dir.join("archive"),
            Purpose::Evidence,
            Arc::new(DirObjects::for_reading(&dir, false)),
            None,
            &log_keys.concat(),
            None,
        )
        .unwrap()
        .pin();
        let log_id = keys.old.verifier().log_id();
        Self { dir, now, older: vec![first, second], fork, other, forged, retired, keys: attacker, log_keys, log_id, pin }
    }

    pub(super) fn target(&self, name: &'static str) -> Target<'_> {
        let collected = Collected { now: &self.now, older: &self.older, fork: &self.fork, other: &self.other };
        let mut changes = changes(collected);
        changes.push(("segment forged with all keys", all_of(&self.forged)));
        changes.push(("manifest signed by a retired key", all_of(&self.retired)));
        let verify = |files: &Files| with_change(&self.dir, &self.now, files, || self.verify());
        Target { name, now: &self.now, changes, verify: Box::new(verify), name_of, is_made_anew: |_| false }
    }

    fn verify(&self) -> Result<Option<String>, String> {
        let objects: Arc<dyn Objects> = Arc::new(DirObjects::for_reading(&self.dir.join("archive/objects"), false));
        let (dir, keys) = (self.dir.join("archive"), Arc::new(self.keys.clone()));
        let view = match View::open(&dir, Purpose::Evidence, objects, Some(keys), &self.log_keys.concat(), Some(&self.pin)) {
            Ok(view) => view,
            Err(error) => return Ok(Some(format!("archive/manifest: {error}"))),
        };
        match view.verify(self.log_id, Some(&mut leaves_of(&self.dir.join("ledger"), RECORDS))) {
            Ok(_) => Ok(None),
            Err(VerifyArchiveError::Fault(fault)) => Ok(Some(fault.to_string())),
            Err(error) => Err(error.to_string()),
        }
    }
}
