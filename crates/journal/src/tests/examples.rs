//! Small journals for the tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::hmac;
use event::{EventId, SubjectId};
use sanitize::Clean;

use crate::disk::Disk;
use crate::segment::DIRECTORY;
use crate::{
    Append, Checked, ContentEntry, DerivedKeys, Fault, FrameKeys, Journal, OpenError, Options, Reader, Record, Recovery, Seq,
};

pub(super) fn small() -> Options {
    Options { segment_bytes: 64 * 1024, ..Options::default() }
}

/// The keyring of all tests.
pub(super) fn keys() -> Arc<dyn FrameKeys> {
    Arc::new(DerivedKeys::new(&[7; 32]))
}

pub(super) fn open(dir: &Path) -> (Journal, Recovery) {
    open_with(dir, small()).unwrap()
}

pub(super) fn open_with(dir: &Path, options: Options) -> Result<(Journal, Recovery), OpenError> {
    Journal::open(dir, options, keys())
}

pub(super) fn open_on(disk: Disk, dir: &Path) -> Result<(Journal, Recovery), OpenError> {
    Journal::open_on(disk, dir, small(), keys())
}

pub(super) fn check(dir: &Path, visit: impl FnMut(&Record)) -> Result<Checked, Fault> {
    crate::check(dir, Some(&*keys()), visit)
}

pub(super) fn offline(dir: &Path, from: Seq) -> Reader {
    Reader::offline(dir, keys(), from).unwrap()
}

pub(super) fn id(n: u32) -> EventId {
    EventId::derived(event::Timestamp::from_unix_ns(1_700_000_000_000_000_000), &{
        let mut digest = [1; 32];
        digest[..4].copy_from_slice(&n.to_be_bytes());
        digest
    })
}

pub(super) fn content(text: &str) -> ContentEntry {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    ContentEntry::commit(SubjectId::from_bytes([1; 16]).unwrap(), &key, Clean::recorded(text))
}

/// The `n`-th example event.
pub(super) fn example(n: u32) -> Append {
    Append { id: id(n), event_json: json(n), contents: vec![content(&format!("text {n}")), content("system prompt")] }
}

pub(super) fn json(n: u32) -> Vec<u8> {
    format!(r#"{{"id":"{}","n":{n}}}"#, id(n)).into_bytes()
}

/// An event of about so many bytes.
pub(super) fn large(n: u32, bytes: usize) -> Append {
    Append { id: id(n), event_json: json(n), contents: vec![content(&format!("{n} {}", "x".repeat(bytes)))] }
}

pub(super) fn append(journal: &Journal, events: impl IntoIterator<Item = Append>) -> Vec<crate::Appended> {
    journal.append(events.into_iter().collect()).unwrap().wait().unwrap()
}

pub(super) fn read_to_end(reader: &mut Reader) -> Vec<Record> {
    std::iter::from_fn(|| reader.next().unwrap()).collect()
}

/// Every record of the directory by its event, from an offline reader, and that seqs have no gap.
pub(super) fn records(dir: &Path) -> Vec<Record> {
    let records = read_to_end(&mut offline(dir, Seq(0)));
    assert!(records.iter().zip(0..).all(|(record, seq)| record.seq == Seq(seq)));
    records
}

/// How often each event is recorded.
pub(super) fn counts(records: &[Record]) -> BTreeMap<Vec<u8>, usize> {
    records.iter().fold(BTreeMap::new(), |mut counts, record| {
        *counts.entry(record.event_json.clone()).or_default() += 1;
        counts
    })
}

pub(super) fn segment_files(dir: &Path) -> Vec<PathBuf> {
    let journal = dir.join(DIRECTORY);
    crate::segment::list(&journal).unwrap().into_iter().map(|first| journal.join(crate::segment::file_name(first))).collect()
}

/// Copies a data directory, as a crash would leave it.
pub(super) fn copy(from: &Path, to: &Path) {
    let to = to.join(DIRECTORY);
    let _ = std::fs::remove_dir_all(&to);
    std::fs::create_dir_all(&to).unwrap();
    for entry in std::fs::read_dir(from.join(DIRECTORY)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
