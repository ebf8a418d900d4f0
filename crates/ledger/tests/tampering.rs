//! A data directory that a real journal and the ledger have written: whole it is intact, and every change is found.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::hmac;
use event::{ContentRef, Direction, Event, Key, Kind, Part, Piece, PieceMeta, Role, Source, SourcePath, SubjectId, Timestamp};
use journal::{Append, ContentEntry, DerivedKeys, FrameKeys, Journal, Options, Seq};
use sanitize::Clean;
use watchkeeper_ledger::{
    ErasedTokens, Fault, Ledger, LogKey, Redaction, StoredRecord, Trust, verify, verify_against, verify_archived,
};

fn keys() -> Arc<dyn FrameKeys> {
    Arc::new(DerivedKeys::new(&[7; 32]))
}

fn example(number: u64, says: &str) -> Append {
    let subject = SubjectId::from_bytes([1; 16]).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    let content = ContentEntry::commit(subject, &key, Clean::recorded(says));
    let mut event: Event<Clean, ContentRef> =
        Event::new(Kind::ModelCall, Clean::literal("chat"), Source::new(SourcePath::Api, Key::of("watchkeeper")));
    event.time = Timestamp::from_unix_ns(number);
    event.pieces.push(Piece::new(PieceMeta::new(Direction::Input, Role::User, Part::Text), content.reference()));
    Append::of(&event, vec![content]).unwrap()
}

/// Records a group of events and seals after it, as the server does.
fn record(dir: &Path, groups: &[&[&str]]) -> LogKey {
    let key = LogKey::load_or_generate(&dir.join("log.key"), "test.example/log").unwrap();
    let (journal, _) = Journal::open(dir, Options { segment_bytes: 16 * 1024, ..Options::default() }, keys()).unwrap();
    let mut ledger = Ledger::open(dir, LogKey::load(&dir.join("log.key")).unwrap()).unwrap();
    let mut reader = journal.reader(Seq(ledger.size())).unwrap();
    for group in groups {
        let number = ledger.size();
        journal.append(group.iter().map(|says| example(number, says)).collect()).unwrap().wait().unwrap();
        while let Some(record) = reader.next().unwrap() {
            ledger.append(&record).unwrap();
        }
        ledger.seal(Timestamp::now()).unwrap().unwrap();
    }
    journal.close().unwrap();
    key
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn fault(dir: &Path) -> Option<Fault> {
    verify(dir, &*keys()).unwrap().fault
}

#[test]
fn a_real_data_directory_is_intact_and_every_changed_byte_is_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let key = record(dir.path(), &[&["one", "two"], &["three"]]);
    let report = verify_against(dir.path(), &Trust { keys: key.verifiers(), ..Trust::default() }, &*keys()).unwrap();
    assert_eq!((report.records, report.sealed, report.unsealed, report.checkpoints), (3, 3, 0, 2));
    assert_eq!((report.fault, report.notes), (None, Vec::new()));
    let mut bytes = 0;
    for part in ["journal", "ledger"] {
        for path in files(&dir.path().join(part)) {
            let good = std::fs::read(&path).unwrap();
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            let set = |at: usize, byte: u8| std::os::unix::fs::FileExt::write_all_at(&file, &[byte], at as u64).unwrap();
            for (at, byte) in good.iter().enumerate() {
                set(at, byte ^ (1 << (at % 8)));
                let fault = fault(dir.path()).unwrap_or_else(|| panic!("byte {at} of {} was changed unnoticed", path.display()));
                assert!(fault.place.starts_with(part), "byte {at} of {}: {fault}", path.display());
                set(at, *byte);
            }
            bytes += good.len();
        }
    }
    assert!(bytes > 8_000, "{bytes}");
    assert_eq!(fault(dir.path()), None);
}

/// Somebody with the code, who writes a journal with the right checksums and another content.
#[test]
fn a_journal_that_was_written_anew_is_found_and_the_record_named() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), &[&["one", "two"], &["three"]]);
    let other = tempfile::tempdir().unwrap();
    record(other.path(), &[&["one", "two"], &["THREE"]]);
    std::fs::remove_dir_all(dir.path().join("journal")).unwrap();
    std::fs::rename(other.path().join("journal"), dir.path().join("journal")).unwrap();
    let found = fault(dir.path()).unwrap();
    assert!(found.place.starts_with("journal, record 0"), "{found}");
    assert!(found.what.contains("not the record that was sealed"), "{found}");
}

#[test]
fn a_journal_that_is_cut_or_gone_is_found() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), &[&["one"], &["two"]]);
    let segments = files(&dir.path().join("journal"));
    let segment = segments.iter().find(|path| path.metadata().unwrap().len() > 0).unwrap();
    let good = std::fs::read(segment).unwrap();
    std::fs::write(segment, &good[..good.len() - 4096]).unwrap();
    assert!(fault(dir.path()).unwrap().what.contains("a checkpoint signs 2"));
    std::fs::write(segment, good).unwrap();
    assert_eq!(fault(dir.path()), None);
    std::fs::remove_dir_all(dir.path().join("journal")).unwrap();
    assert!(fault(dir.path()).unwrap().what.contains("a checkpoint signs 2"));
}

#[test]
fn records_behind_the_checkpoint_are_counted_as_unsealed_and_sealed_by_the_next_run() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), &[&["one"]]);
    let (journal, _) = Journal::open(dir.path(), Options::default(), keys()).unwrap();
    journal.append(vec![example(9, "two")]).unwrap().wait().unwrap();
    drop(journal);
    let report = verify(dir.path(), &*keys()).unwrap();
    assert_eq!((report.sealed, report.unsealed, report.fault), (1, 1, None));
    record(dir.path(), &[&["three"]]);
    let report = verify(dir.path(), &*keys()).unwrap();
    assert_eq!((report.sealed, report.unsealed, report.checkpoints, report.fault), (3, 0, 2, None));
}

#[test]
fn records_that_left_the_journal_are_verified_as_the_archive_gives_them() {
    let dir = tempfile::tempdir().unwrap();
    let long = "a sentence that fills the segment ".repeat(40);
    let says: Vec<String> = (0..60).map(|number| format!("{number} {long}")).collect();
    let groups: Vec<Vec<&str>> = says.chunks(5).map(|group| group.iter().map(String::as_str).collect()).collect();
    record(dir.path(), &groups.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let mut all: Vec<StoredRecord> = Vec::new();
    journal::check(dir.path(), Some(&*keys()), |record| all.push(StoredRecord::whole(record.clone()))).unwrap();
    let segments = files(&dir.path().join("journal"));
    let mut segments: Vec<_> =
        segments.iter().filter(|path| path.extension().is_some_and(|extension| extension == "wkj")).collect();
    assert!(segments.len() > 2);
    std::fs::remove_file(segments.remove(0)).unwrap();
    let first: usize = segments[0].file_stem().unwrap().to_str().unwrap().parse().unwrap();

    let given = |records: &[StoredRecord]| {
        let mut archived = |until: Seq, visit: watchkeeper_ledger::Visit<'_>| {
            assert_eq!(until, Seq(first as u64));
            records.iter().cloned().for_each(visit);
            Ok(())
        };
        let mut seen = 0;
        let report = verify_archived(dir.path(), &Trust::default(), &*keys(), &mut archived, &mut |_| seen += 1).unwrap();
        if report.fault.is_none() {
            assert_eq!(seen, report.records - (first - records.len()) as u64);
        }
        report
    };
    let report = given(&all[..first]);
    assert_eq!((report.fault, report.records, report.checkpoints), (None, 60, 12));
    let all_of_them = |_| true;
    let none = ErasedTokens::none();
    let what = Redaction {
        event: true,
        field: &|_, _| false,
        content: &|_, subject| watchkeeper_ledger::Cut::all_if(all_of_them(subject)),
        tokens: &none,
    };
    let mut erased = all.clone();
    erased[..first].iter_mut().for_each(|record| drop(record.redact(&what).unwrap()));
    assert_eq!(given(&erased[..first]).fault, None);

    let place = |records: &[StoredRecord]| given(records).fault.unwrap().place;
    assert_eq!(given(&all[..first - 1]).fault, None, "for a record that is left out its leaf in the entry bundle stands");
    let mut swapped = all.clone();
    swapped.swap(1, 2);
    assert!(place(&swapped[..first]).contains("record 1"), "{}", place(&swapped[..first]));
    let mut changed = erased;
    if let watchkeeper_ledger::StoredBody::Redacted(record) = &mut changed[3].body {
        record.blind[0] ^= 1;
    }
    given(&changed[..first]).fault.unwrap();
    assert!(verify(dir.path(), &*keys()).unwrap().fault.is_some(), "the journal alone is not the whole record");
}
