//! A journal whose oldest files are gone because their records are kept elsewhere.

use std::path::Path;
use std::sync::Arc;

use super::examples::*;
use crate::disk::Disk;
use crate::simulation::{SimDisk, Trouble};
use crate::{AppendError, Journal, OpenError, Options, ReadError, Seq, Wrong};

fn from(first: u64) -> Options {
    Options { first: Seq(first), ..small() }
}

/// Appends and begins a new file after it, `files` times, three records in each.
fn filled(journal: &Journal, files: u32) {
    for file in 0..files {
        let begins = journal.end();
        append(journal, (0..3).map(|n| example(u32::try_from(begins.0).unwrap() + n)));
        assert_eq!(journal.rotate().unwrap(), Seq(begins.0 + 3), "file {file}");
    }
}

fn spans(journal: &Journal) -> Vec<(u64, u64)> {
    journal.closed().into_iter().map(|span| (span.start.0, span.end.0)).collect()
}

#[test]
fn rotating_closes_what_is_there_and_does_nothing_where_nothing_is() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    assert_eq!(journal.rotate().unwrap(), Seq(0));
    assert!(segment_files(dir.path()).is_empty());
    filled(&journal, 2);
    assert_eq!(journal.rotate().unwrap(), Seq(6), "the newest file has no record");
    assert_eq!(spans(&journal), [(0, 3), (3, 6)]);
    assert_eq!(segment_files(dir.path()).len(), 3);
    assert_eq!(read_to_end(&mut journal.reader(Seq(0)).unwrap()).len(), 6);
    journal.close().unwrap();
    assert!(matches!(journal.rotate(), Err(AppendError::Closed)));
    assert_eq!(check(dir.path(), |_| {}).unwrap().records(), 6);
    let (journal, recovery) = open(dir.path());
    assert_eq!((recovery.records(), recovery.segments), (6, 3));
    assert_eq!(spans(&journal), [(0, 3), (3, 6)]);
    assert_eq!(append(&journal, [example(6)])[0].seq, Seq(6));
}

#[test]
fn rotation_comes_to_its_turn_under_load() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let journal = &journal;
            scope.spawn(move || (0..60).for_each(|n| drop(append(journal, [example(thread * 1_000 + n)]))));
        }
        for _ in 0..5 {
            let acknowledged = journal.end();
            assert!(journal.rotate().unwrap() >= acknowledged);
            assert!(spans(&journal).last().is_none_or(|span| span.1 >= acknowledged.0));
        }
    });
    journal.close().unwrap();
    assert_eq!(check(dir.path(), |_| {}).unwrap().records(), 120);
}

#[test]
fn retired_files_are_gone_with_their_keys_named_and_the_rest_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    filled(&journal, 4);
    append(&journal, [example(12)]);
    let all = crate::segment::list(&dir.path().join("journal")).unwrap();
    let keys_of = |firsts: &[Seq]| -> Vec<_> {
        let key = |first: &Seq| crate::segment::Segment::open_sealed(&dir.path().join("journal"), *first).unwrap().header.key;
        firsts.iter().map(key).collect()
    };
    let (keys, mut standing) = (keys_of(&all), journal.reader(Seq(1)).unwrap());
    standing.next().unwrap();

    assert!(journal.retire(Seq(2)).unwrap().is_empty(), "a file goes as a whole");
    assert_eq!(journal.retire(Seq(8)).unwrap(), keys[..2]);
    assert_eq!((journal.first(), spans(&journal)), (Seq(6), vec![(6, 9), (9, 12)]));
    assert_eq!(segment_files(dir.path()).len(), 3);
    // It stands in a file that it has open, and then does not find the next one.
    assert_eq!(standing.next().unwrap().unwrap().seq, Seq(2));
    let error = standing.next().unwrap_err();
    assert!(matches!(error, ReadError::Retired { from: Seq(3), first: Seq(6) }), "{error}");
    assert!(error.to_string().contains("record 3 was retired") && error.to_string().contains("archive"), "{error}");
    assert!(matches!(journal.reader(Seq(5)), Err(ReadError::Retired { .. })));
    assert_eq!(journal.segment_start(Seq(2)).unwrap(), Seq(6));
    assert_eq!(read_to_end(&mut journal.reader(Seq(6)).unwrap()).len(), 7);

    assert_eq!(journal.retire(Seq(u64::MAX)).unwrap(), keys[2..4], "the newest file stays");
    assert_eq!((journal.first(), journal.end()), (Seq(12), Seq(13)));
    append(&journal, [example(13)]);
    journal.close().unwrap();
    let checked = check(dir.path(), |_| {}).unwrap();
    assert_eq!((checked.first, checked.end, checked.segments), (Seq(12), Seq(14), 1));

    // A journal that must begin earlier has lost something.
    let error = open_with(dir.path(), from(5)).unwrap_err();
    assert!(matches!(&error, OpenError::Damaged(fault) if matches!(fault.wrong, Wrong::Gap { expected: 5, found: 12 })));
    assert!(error.to_string().contains("record 5") && error.to_string().contains("12"), "{error}");
    let (journal, recovery) = open_with(dir.path(), from(12)).unwrap();
    assert_eq!((recovery.first, recovery.end, recovery.retired.len()), (Seq(12), Seq(14), 0));
    assert_eq!(recovery.keys, keys[4..]);
    assert_eq!(append(&journal, [example(14), example(13)]).iter().map(|at| at.seq.0).collect::<Vec<_>>(), [14, 13]);
}

#[test]
fn a_closed_file_that_is_full_can_be_retired_after_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    // The file has no room left, so the journal opens without going on with it.
    append(&journal, [large(0, 52_000)]);
    journal.close().unwrap();
    drop(journal);
    let (journal, _) = open(dir.path());
    assert_eq!(spans(&journal), [], "the newest file is not retired");
    assert!(journal.retire(Seq(1)).unwrap().is_empty());
    assert_eq!(journal.rotate().unwrap(), Seq(1));
    assert_eq!(spans(&journal), [(0, 1)]);
    assert_eq!(journal.retire(Seq(1)).unwrap().len(), 1);
    journal.close().unwrap();
    drop(journal);
    let (journal, recovery) = open_with(dir.path(), from(1)).unwrap();
    assert_eq!((recovery.first, recovery.end), (Seq(1), Seq(1)));
    assert_eq!(append(&journal, [example(1)])[0].seq, Seq(1));
}

#[test]
fn a_file_that_was_begun_again_for_a_larger_frame_is_not_retired_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    filled(&journal, 1);
    // Too large for the file that was begun with record 3.
    append(&journal, [large(3, 70_000)]);
    assert_eq!(spans(&journal), [(0, 3)]);
    assert_eq!(journal.retire(Seq(3)).unwrap().len(), 1);
    assert_eq!(read_to_end(&mut journal.reader(Seq(3)).unwrap()).len(), 1);
    journal.close().unwrap();
    assert_eq!(check(dir.path(), |_| {}).unwrap().first, Seq(3));
}

#[test]
fn a_new_journal_begins_where_it_must_and_an_old_one_that_ends_before_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, recovery) = open_with(dir.path(), from(40)).unwrap();
    assert_eq!((recovery.first, recovery.end, recovery.records()), (Seq(40), Seq(40), 0));
    assert_eq!(append(&journal, [example(0)])[0].seq, Seq(40));
    journal.close().unwrap();
    drop(journal);
    assert_eq!(check(dir.path(), |_| {}).unwrap().first, Seq(40));
    assert_eq!(read_to_end(&mut offline(dir.path(), Seq(40))).len(), 1);
    assert!(offline(dir.path(), Seq(39)).next().is_err());

    let before = copied(dir.path());
    let error = open_with(dir.path(), from(50)).unwrap_err();
    assert!(matches!(error, OpenError::EndsBefore { end: Seq(41), first: Seq(50), .. }), "{error}");
    assert!(error.to_string().contains("records 41 to 49"), "{error}");
    assert_eq!(copied(dir.path()), before, "nothing was changed");
    // What must begin within a file begins with the file.
    assert_eq!(open_with(dir.path(), from(41)).unwrap().1.first, Seq(40));
}

fn copied(dir: &Path) -> Vec<Vec<u8>> {
    segment_files(dir).iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// The power goes at each operation of a retirement.
#[test]
fn an_interrupted_retirement_is_finished_by_the_next_open() {
    let mut all_done = false;
    for fail_at in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = open(dir.path());
        filled(&journal, 4);
        journal.close().unwrap();
        drop(journal);

        let simulated = Arc::new(SimDisk::new(dir.path(), fail_at, Trouble::default()));
        let (journal, opened) = open_on(Disk { simulated: Some(Arc::clone(&simulated)) }, dir.path()).unwrap();
        simulated.cut_after(fail_at);
        let retired = journal.retire(Seq(9));
        all_done = retired.as_ref().is_ok_and(|keys| keys.len() == 3);
        let gone = retired.unwrap_or_default();
        assert!(opened.keys.starts_with(&gone));
        drop(journal);
        simulated.cut_power();

        let (journal, recovery) = open_with(dir.path(), from(9)).unwrap();
        assert_eq!((recovery.first, recovery.end), (Seq(9), Seq(12)), "operation {fail_at}");
        let kept: Vec<_> = opened.keys.iter().filter(|key| !gone.contains(key) && !recovery.retired.contains(key)).collect();
        assert!(recovery.keys.iter().eq(kept[kept.len() - recovery.keys.len()..].iter().copied()));
        append(&journal, [example(12)]);
        journal.close().unwrap();
        assert_eq!(check(dir.path(), |_| {}).unwrap().first, Seq(9));
        if all_done {
            break;
        }
    }
    assert!(all_done);
}

#[test]
fn a_file_that_was_closed_and_lost_its_last_frame_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    append(&journal, [example(0)]);
    append(&journal, [example(1)]);
    journal.close().unwrap();
    drop(journal);
    let file = segment_files(dir.path()).remove(0);
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 4096;
    bytes[last..].fill(0);
    std::fs::write(&file, bytes).unwrap();
    let fault = check(dir.path(), |_| {}).unwrap_err();
    assert!(matches!(fault.wrong, Wrong::Lost) && fault.offset == 8192, "{fault}");
    assert!(matches!(open_with(dir.path(), small()), Err(OpenError::Damaged(_))));
}
