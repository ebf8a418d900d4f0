//! `check` accounts for every byte.

use std::path::Path;

use super::examples::*;
use crate::{Fault, OpenError, Options, Wrong};

/// A closed journal of two segments.
fn closed(dir: &Path) {
    let (journal, _) = open_with(dir, Options { segment_bytes: 20 * 1024, ..Options::default() }).unwrap();
    append(&journal, [example(0), example(1)]);
    append(&journal, [large(2, 5_000)]);
    append(&journal, [large(3, 5_000)]);
    append(&journal, [example(4)]);
    journal.close().unwrap();
    assert_eq!(segment_files(dir).len(), 2);
}

fn fault(dir: &Path) -> Option<Fault> {
    check(dir, |_| {}).err()
}

#[test]
fn a_whole_journal_is_visited_in_order() {
    let dir = tempfile::tempdir().unwrap();
    closed(dir.path());
    let mut seqs = Vec::new();
    let checked = check(dir.path(), |record| seqs.push(record.seq.0)).unwrap();
    assert_eq!(seqs, [0, 1, 2, 3, 4]);
    assert_eq!((checked.records(), checked.segments, checked.closed, checked.torn), (5, 2, true, None));
    let on_disk: u64 = segment_files(dir.path()).iter().map(|file| file.metadata().unwrap().len()).sum();
    assert_eq!(checked.bytes, on_disk);
}

#[test]
fn a_change_of_any_byte_is_found_in_its_file() {
    let dir = tempfile::tempdir().unwrap();
    closed(dir.path());
    for file in segment_files(dir.path()) {
        let good = std::fs::read(&file).unwrap();
        let handle = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
        let set = |at: usize, byte: u8| std::os::unix::fs::FileExt::write_all_at(&handle, &[byte], at as u64).unwrap();
        for (at, byte) in good.iter().enumerate() {
            set(at, byte ^ (1 << (at % 8)));
            let fault = fault(dir.path()).unwrap_or_else(|| panic!("byte {at} of {} was changed unnoticed", file.display()));
            assert_eq!(fault.file, file);
            assert!(fault.offset <= at as u64, "{fault}");
            set(at, *byte);
        }
        assert!(fault(dir.path()).is_none());
    }
}

#[test]
fn missing_foreign_cut_and_swapped_files_are_found() {
    type Tamper = fn(&Path);
    type Expected = fn(&Wrong) -> bool;
    let cases: [(&str, Tamper, Expected); 8] = [
        (
            "foreign file",
            |dir| std::fs::write(dir.join("journal/notes"), "x").unwrap(),
            |wrong| matches!(wrong, Wrong::UnknownFile),
        ),
        (
            "foreign directory",
            |dir| std::fs::create_dir(dir.join("journal/00000000000000000099.wkj")).unwrap(),
            |wrong| matches!(wrong, Wrong::UnknownFile),
        ),
        (
            "lock with bytes",
            |dir| std::fs::write(dir.join("journal/lock"), "x").unwrap(),
            |wrong| matches!(wrong, Wrong::LockNotEmpty),
        ),
        (
            "next with bytes",
            |dir| std::fs::write(dir.join("journal/next.tmp"), [[0; 100], [1; 100]].concat()).unwrap(),
            |wrong| matches!(wrong, Wrong::NotZero),
        ),
        ("last byte cut", |dir| truncate(&segment_files(dir)[1], 1), |wrong| matches!(wrong, Wrong::Cut)),
        ("last frame cut from the middle", |dir| truncate(&segment_files(dir)[0], 4096), |wrong| matches!(wrong, Wrong::Cut)),
        (
            "whole frames cut from the middle",
            |dir| truncate(&segment_files(dir)[0], 8192),
            |wrong| matches!(wrong, Wrong::Gap { .. }),
        ),
        (
            "segment under another name",
            |dir| std::fs::rename(&segment_files(dir)[1], dir.join("journal/00000000000000000007.wkj")).unwrap(),
            |wrong| matches!(wrong, Wrong::Name(_)),
        ),
    ];
    for (name, tamper, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        closed(dir.path());
        tamper(dir.path());
        let fault = fault(dir.path()).unwrap_or_else(|| panic!("{name} was not found"));
        assert!(expected(&fault.wrong), "{name}: {fault}");
        assert!(!fault.is_unreadable());
    }
    let nothing = tempfile::tempdir().unwrap();
    assert!(fault(nothing.path()).unwrap().is_unreadable());
}

#[test]
fn a_journal_whose_first_file_is_gone_says_where_it_begins_and_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    closed(dir.path());
    let second = check(dir.path(), |_| {}).unwrap().end.0 - 1;
    std::fs::remove_file(&segment_files(dir.path())[0]).unwrap();
    let checked = check(dir.path(), |_| {}).unwrap();
    assert!(checked.first > crate::Seq(0) && checked.first.0 <= second);
    let Err(OpenError::Damaged(fault)) = open_with(dir.path(), small()) else { panic!("opened") };
    assert!(matches!(fault.wrong, Wrong::Gap { expected: 0, found } if found == checked.first.0), "{fault}");
}

fn truncate(file: &Path, by: u64) {
    let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
    file.set_len(file.metadata().unwrap().len() - by).unwrap();
}

#[test]
fn what_has_right_checksums_is_still_held_to_what_it_must_mean() {
    // Written through the journal itself, so that every checksum is right.
    let wrong = |append: crate::Append| {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = open_with(dir.path(), small()).unwrap();
        super::examples::append(&journal, [append]);
        journal.close().unwrap();
        fault(dir.path()).unwrap().wrong
    };
    let forged = crate::ContentEntry { text: sanitize::Clean::recorded("other"), ..content("text") };
    assert!(matches!(wrong(crate::Append { event_json: json(2), ..example(1) }), Wrong::EventId));
    assert!(matches!(wrong(crate::Append { event_json: b"{".to_vec(), ..example(1) }), Wrong::Record(_)));
    assert!(matches!(wrong(crate::Append { contents: vec![content("a"), forged], ..example(1) }), Wrong::Content(1)));
}
