//! Appending, reading, group commit.

use std::time::Duration;

use super::examples::*;
use crate::{AppendError, Appended, Cursor, OpenError, Options, Seq};

#[test]
fn what_was_appended_is_read_live_offline_and_after_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, recovery) = open(dir.path());
    assert_eq!((recovery.records(), recovery.was_closed), (0, true));
    let mut live = journal.reader(Seq(0)).unwrap();
    assert_eq!(live.next().unwrap(), None);
    for n in 0..50 {
        let appended = append(&journal, [example(n)]);
        assert_eq!(appended, [Appended { seq: Seq(u64::from(n)), duplicate: false }]);
    }
    let seen = read_to_end(&mut live);
    assert_eq!(seen.len(), 50);
    assert_eq!(seen[7].event_json, json(7));
    assert_eq!(seen[7].contents, [content("text 7")], "the system prompt was in record 0");
    assert_eq!(seen[0].contents, [content("text 0"), content("system prompt")]);
    assert_ne!(seen[1].commitment_key, seen[2].commitment_key);
    assert_ne!(seen[1].blind, [0; 16]);
    assert_eq!(records(dir.path()), seen);
    journal.close().unwrap();
    assert!(live.is_finished());
    assert!(matches!(journal.append(vec![example(99)]), Err(AppendError::Closed)));
    assert_eq!(records(dir.path()), seen);

    let (journal, recovery) = open(dir.path());
    assert_eq!((recovery.records(), recovery.was_closed, recovery.torn_bytes), (50, true, 0));
    let mut reader = journal.reader(Seq(48)).unwrap();
    append(&journal, [example(50)]);
    let tail = read_to_end(&mut reader);
    assert_eq!(tail.iter().map(|record| record.seq.0).collect::<Vec<_>>(), [48, 49, 50]);
    assert_eq!(tail[2].contents.len(), 2, "contents are written again after a reopen");
    assert!(matches!(journal.reader(Seq(52)), Err(crate::ReadError::BehindEnd { .. })));
}

#[test]
fn segments_rotate_and_readers_cross_them_from_every_place() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let mut live = journal.reader(Seq(0)).unwrap();
    for n in 0..60 {
        append(&journal, (n * 3..n * 3 + 3).map(|n| large(n, 3_000)));
        assert_eq!(read_to_end(&mut live).len(), 3);
    }
    assert!(segment_files(dir.path()).len() > 5);
    for from in 0..=180 {
        let read = read_to_end(&mut journal.reader(Seq(from)).unwrap());
        assert_eq!(read.first().map(|record| record.seq.0), (from < 180).then_some(from));
        assert_eq!(read.len() as u64, 180 - from);
        assert_eq!(read_to_end(&mut offline(dir.path(), Seq(from))), read);
    }
    drop(journal);
    let checked = check(dir.path(), |_| {}).unwrap();
    assert_eq!((checked.records(), checked.closed, checked.torn), (180, true, None));
}

#[test]
fn a_frame_larger_than_a_segment_gets_one_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    append(&journal, [example(0)]);
    append(&journal, [large(1, 1_000_000)]);
    append(&journal, [example(2)]);
    journal.close().unwrap();
    assert_eq!(records(dir.path()).len(), 3);
    assert_eq!(check(dir.path(), |_| {}).unwrap().records(), 3);
}

#[test]
fn a_batch_above_the_frame_limit_is_refused_and_the_next_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let part = large(0, 8 * 1024 * 1024);
    let batch = (0..8).map(|n| crate::Append { id: id(n), ..part.clone() }).collect();
    assert!(matches!(journal.append(batch), Err(AppendError::TooLarge { .. })));
    let contents = vec![content("x"); crate::RECORD_CONTENTS_MAX + 1];
    let many = crate::Append { id: id(1), event_json: json(1), contents };
    assert!(matches!(journal.append(vec![many]), Err(AppendError::TooManyContents { .. })));
    assert_eq!(append(&journal, [example(3)])[0].seq, Seq(0));
    assert_eq!(append(&journal, []), []);
}

#[test]
fn an_id_is_recorded_once_within_a_batch_across_batches_and_across_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let answers = append(&journal, [example(1), example(2), example(1)]);
    let places: Vec<_> = answers.iter().map(|answer| (answer.seq.0, answer.duplicate)).collect();
    assert_eq!(places, [(0, false), (1, false), (0, true)]);
    // Enough to go on in further segments.
    for n in 10..100 {
        append(&journal, [large(n, 3_000)]);
    }
    assert_eq!(append(&journal, [example(2)]), [Appended { seq: Seq(1), duplicate: true }]);
    journal.close().unwrap();
    drop(journal);

    let (journal, _) = open(dir.path());
    assert_eq!(append(&journal, [example(2)]), [Appended { seq: Seq(1), duplicate: true }]);
    assert_eq!(append(&journal, [large(99, 1)]), [Appended { seq: Seq(91), duplicate: true }]);
    assert_eq!(journal.end(), Seq(92));
    journal.close().unwrap();

    let forgetful = Options { ids_remembered: 10, ..small() };
    let (journal, _) = open_with(dir.path(), forgetful).unwrap();
    assert!(append(&journal, [large(95, 1)])[0].duplicate);
    assert!(!append(&journal, [example(2)])[0].duplicate, "forgotten");
}

#[test]
fn forgotten_contents_are_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open_with(dir.path(), Options { contents_remembered: 2, ..small() }).unwrap();
    for n in 0..4 {
        append(&journal, [example(n)]);
    }
    let inlined: Vec<_> = records(dir.path()).iter().map(|record| record.contents.len()).collect();
    assert_eq!(inlined, [2, 1, 2, 1]);
}

#[test]
fn many_threads_are_committed_in_groups_and_each_gets_its_own_answer() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let mut follower = journal.reader(Seq(0)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let journal = &journal;
            scope.spawn(move || {
                for round in 0..40 {
                    let first = thread * 1_000 + round * 3;
                    let seqs = append(journal, (first..first + 3).map(example));
                    assert!(seqs.windows(2).all(|pair| pair[1].seq.0 == pair[0].seq.0 + 1), "a batch stands together");
                    let mut reader = journal.reader(seqs[0].seq).unwrap();
                    assert_eq!(reader.next().unwrap().unwrap().event_json, json(first));
                }
            });
        }
        let mut read = 0;
        while read < 960 {
            assert!(follower.wait(Duration::from_secs(60)));
            read += read_to_end(&mut follower).len();
        }
    });
    assert!(counts(&records(dir.path())).values().all(|count| *count == 1));
    assert!(!follower.wait(Duration::ZERO));
}

#[test]
fn the_queue_is_bounded_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open_with(dir.path(), Options { queue_bytes_max: 100_000, ..small() }).unwrap();
    // Faster than any disk: 1,000 times 50 KB without waiting.
    let answers: Vec<_> = (0..1_000).map(|n| journal.append(vec![large(n, 50_000)])).collect();
    assert!(answers.iter().any(|answer| matches!(answer, Err(AppendError::Busy { bytes_max: 100_000, .. }))));
    let taken: usize = answers.into_iter().filter_map(Result::ok).map(|ticket| ticket.wait().unwrap().len()).sum();
    assert_eq!(journal.end(), Seq(taken as u64));
    // What is larger than the queue goes when nothing else waits.
    append(&journal, [large(5_000, 200_000)]);
}

#[test]
fn a_second_writer_is_refused_until_the_first_has_closed() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let error = open_with(dir.path(), small()).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }));
    assert!(error.to_string().contains("another process"), "{error}");
    append(&journal, [example(0)]);
    let clone = journal.clone();
    drop(journal);
    assert!(open_with(dir.path(), small()).is_err());
    drop(clone);
    assert_eq!(open(dir.path()).1.records(), 1);
}

#[test]
fn closing_writes_what_waits_and_gives_the_space_back() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open_with(dir.path(), Options { segment_bytes: 8 << 20, ..small() }).unwrap();
    let tickets: Vec<_> = (0..100).map(|n| journal.append(vec![example(n)]).unwrap()).collect();
    journal.close().unwrap();
    journal.close().unwrap();
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    let bytes: u64 =
        std::fs::read_dir(dir.path().join("journal")).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes < 1 << 20, "{bytes}");
    assert_eq!(records(dir.path()).len(), 100);
}

#[test]
fn a_consumer_goes_on_where_its_cursor_stands() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    append(&journal, (0..10).map(example));
    let path = dir.path().join("store.cursor");
    for expected in [0, 4, 8] {
        let mut cursor = Cursor::open(&path, std::sync::Arc::new(|_| [7; 32])).unwrap();
        let mut reader = journal.reader(cursor.get()).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().seq, Seq(expected));
        cursor.set(Seq(expected + 4)).unwrap();
    }
}
