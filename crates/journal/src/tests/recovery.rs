//! Crashes: of the process, of the power, of the disk.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::examples::*;
use crate::disk::Disk;
use crate::format::BLOCK_BYTES;
use crate::simulation::{SimDisk, Trouble};
use crate::{AppendError, OpenError, Seq};

/// A journal of three groups that was not closed, in `dir`. Returns where the last frame begins and ends.
fn crashed(dir: &Path) -> (usize, usize) {
    let live = tempfile::tempdir().unwrap();
    let (journal, _) = open(live.path());
    append(&journal, [example(0), example(1)]);
    append(&journal, [example(2)]);
    append(&journal, [example(3), large(4, 5_000)]);
    copy(live.path(), dir);
    let block = usize::try_from(BLOCK_BYTES).unwrap();
    (3 * block, 5 * block)
}

/// Opens what a crash has left, and checks that exactly the first `kept` events are there and more can be added.
fn assert_recovers(dir: &Path, kept: u32, note: &str) {
    let (journal, recovery) = open_with(dir, small()).unwrap_or_else(|error| panic!("{note}: {error}"));
    assert_eq!(recovery.records(), u64::from(kept), "{note}");
    append(&journal, [example(77)]);
    journal.close().unwrap();
    let mut expected: Vec<_> = (0..kept).map(json).collect();
    expected.push(json(77));
    let found: Vec<_> = records(dir).into_iter().map(|record| record.event_json).collect();
    assert_eq!(found, expected, "{note}");
    check(dir, |_| {}).unwrap_or_else(|fault| panic!("{note}: {fault}"));
}

#[test]
fn a_last_frame_that_is_cut_anywhere_is_cut_off_and_reported() {
    let (dir, copied) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = crashed(dir.path());
    let file = segment_files(dir.path()).remove(0);
    let good = std::fs::read(&file).unwrap();
    let end = from + good[from..to].iter().rposition(|byte| *byte != 0).unwrap() + 1;
    assert!(good[to..].iter().all(|byte| *byte == 0));
    for cut in (from..end).step_by(37).chain([from + 1, from + 79, from + 80, end - 1]) {
        copy(dir.path(), copied.path());
        let mut bytes = good.clone();
        bytes[cut..].fill(0);
        let file = segment_files(copied.path()).remove(0);
        std::fs::write(&file, bytes).unwrap();

        let checked = check(copied.path(), |_| {}).unwrap();
        assert_eq!((checked.records(), checked.torn.is_some()), (3, cut > from), "cut at {cut}");
        assert_eq!(records(copied.path()).len(), 3);
        let (journal, recovery) = open(copied.path());
        assert_eq!(recovery.torn_at, checked.torn);
        assert_eq!(recovery.torn_bytes > 0, cut > from);
        drop(journal);
        assert_recovers(copied.path(), 3, &format!("cut at {cut}"));
    }
    assert_recovers(dir.path(), 5, "nothing cut");
}

#[test]
fn a_closed_journal_is_never_torn() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    append(&journal, [example(0)]);
    append(&journal, [example(1)]);
    journal.close().unwrap();
    let file = segment_files(dir.path()).remove(0);
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert!(check(dir.path(), |_| {}).is_err());
    assert!(matches!(open_with(dir.path(), small()), Err(OpenError::Damaged(_))));
}

#[test]
fn damage_before_whole_frames_is_refused_with_its_place_and_nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    crashed(dir.path());
    let file = segment_files(dir.path()).remove(0);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[2 * 4096 + 100] ^= 4;
    std::fs::write(&file, &bytes).unwrap();
    let error = open_with(dir.path(), small()).unwrap_err();
    let OpenError::Damaged(fault) = &error else { panic!("{error}") };
    assert_eq!((fault.offset, fault.seq), (8192, Some(Seq(2))));
    assert!(error.to_string().contains("byte 8192 (record 2)") && error.to_string().contains("verify"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    assert!(offline(dir.path(), Seq(2)).next().is_err(), "never skipped");
}

#[test]
fn text_that_looks_like_a_frame_is_not_one() {
    // The bytes of a whole frame of another journal, planted in a content, at every alignment that a block can have.
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, _) = crashed(other.path());
    let planted = std::fs::read(segment_files(other.path()).remove(0)).unwrap()[from..from + 80].to_vec();
    let (journal, _) = open(dir.path());
    append(&journal, [example(0)]);
    append(&journal, [large(1, 20_000)]);
    let crash = tempfile::tempdir().unwrap();
    copy(dir.path(), crash.path());
    let file = segment_files(crash.path()).remove(0);
    let mut bytes = std::fs::read(&file).unwrap();
    // The torn group: its first block never came to the disk, and a later one begins with the planted bytes.
    bytes[8192..12288].fill(0);
    bytes[12288..12288 + 80].copy_from_slice(&planted);
    std::fs::write(&file, bytes).unwrap();
    assert_recovers(crash.path(), 1, "planted frame");
}

#[test]
fn what_a_crash_leaves_of_a_segment_in_preparation_is_removed() {
    for leftover in [vec![0; 8192], vec![0; 5], std::fs::read(example_segment().1).unwrap()[..4096].to_vec()] {
        let dir = tempfile::tempdir().unwrap();
        crashed(dir.path());
        std::fs::write(dir.path().join("journal/next.tmp"), &leftover).unwrap();
        assert_eq!(check(dir.path(), |_| {}).unwrap().records(), 5);
        assert_recovers(dir.path(), 5, "next.tmp");
        assert!(!dir.path().join("journal/next.tmp").exists());
    }
}

fn example_segment() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    crashed(dir.path());
    let file = segment_files(dir.path()).remove(0);
    (dir, file)
}

#[test]
fn a_segment_that_was_begun_and_got_no_record_is_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    append(&journal, [example(0)]);
    journal.close().unwrap();
    // Rotation came as far as the rename.
    let (key, _) = keys().create(Seq(1)).unwrap();
    let header = crate::format::SegmentHeader { first: Seq(1), allocated_bytes: 64 * 1024, marker: [9; 16], key };
    let mut bytes = vec![0; 64 * 1024];
    bytes[..80].copy_from_slice(&header.encode());
    std::fs::write(dir.path().join("journal").join(crate::segment::file_name(Seq(1))), bytes).unwrap();
    assert_eq!(check(dir.path(), |_| {}).unwrap().records(), 1);
    assert_recovers(dir.path(), 1, "empty last segment");
    assert_eq!(segment_files(dir.path()).len(), 2);
}

/// Runs a load on a disk in trouble, cuts the power, and checks what is found then. Returns how many operations the disk
/// has seen.
fn survives(seed: u64, trouble: &Trouble) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let simulated = Arc::new(SimDisk::new(dir.path(), seed, trouble.clone()));
    let disk = Disk { simulated: Some(Arc::clone(&simulated)) };
    let mut acknowledged = Vec::new();
    if let Ok((journal, _)) = open_on(disk, dir.path()) {
        // Batches of different sizes, some of several blocks, over several segments.
        for n in 0..24_u32 {
            let batch: Vec<_> = (0..n % 3 + 1).map(|part| large(n * 10 + part, (n as usize * 977) % 9_000)).collect();
            let events: Vec<_> = batch.iter().map(|append| append.event_json.clone()).collect();
            match journal.append(batch).and_then(crate::Ticket::wait) {
                Ok(_) => acknowledged.extend(events),
                Err(AppendError::Stopped { .. }) => {
                    assert!(journal.stopped().is_some());
                    assert!(matches!(journal.append(vec![example(9)]), Err(AppendError::Stopped { .. })), "stopped for good");
                }
                Err(error) => panic!("{error}"),
            }
        }
        let _ = journal.close();
    }
    simulated.cut_power();

    let at = format!("seed {seed}, {trouble:?}");
    if !dir.path().join(crate::segment::DIRECTORY).exists() {
        assert!(acknowledged.is_empty());
        return simulated.operations();
    }
    let checked = check(dir.path(), |_| {}).unwrap_or_else(|fault| panic!("{at}: {fault}"));
    let (journal, recovery) = open(dir.path());
    assert_eq!(recovery.records(), checked.records());
    let found = records(dir.path());
    let counts = counts(&found);
    assert!(counts.values().all(|count| *count == 1), "{at}: recorded twice");
    assert!(acknowledged.iter().all(|event| counts.contains_key(event)), "{at}: an acknowledged event is lost");
    // Whole batches or nothing.
    for n in 0..24 {
        let parts = (0..n % 3 + 1).filter(|part| counts.contains_key(&json(n * 10 + part))).count();
        assert!(parts == 0 || parts == n as usize % 3 + 1, "{at}: a batch is there in part");
    }
    append(&journal, [example(7_777)]);
    journal.close().unwrap();
    check(dir.path(), |_| {}).unwrap();
    simulated.operations()
}

/// Every operation of the load in its turn: `trouble` makes it fail.
fn each_operation(trouble: impl Fn(u64) -> Trouble) {
    let mut operation = 0;
    while survives(operation, &trouble(operation)) > operation {
        operation += 1;
        assert!(operation < 10_000);
    }
    assert!(operation > 50, "the load has {operation} operations");
}

#[test]
fn a_power_cut_at_any_operation_loses_nothing_acknowledged() {
    each_operation(|operation| Trouble { power_cut_at: Some(operation), ..Trouble::default() });
}

#[test]
fn an_error_of_any_operation_followed_by_a_power_cut_loses_nothing_acknowledged() {
    each_operation(|operation| Trouble { error_at: Some(operation), ..Trouble::default() });
}

#[test]
fn a_full_disk_refuses_what_needs_a_segment_and_takes_it_when_there_is_space_again() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = Arc::new(SimDisk::new(dir.path(), 0, Trouble { threads: true, ..Trouble::default() }));
    let disk = Disk { simulated: Some(Arc::clone(&simulated)) };
    let full = |is| simulated.full.store(is, Ordering::SeqCst);
    full(true);
    let (journal, _) = open_on(disk.clone(), dir.path()).unwrap();
    let refused = |n| matches!(journal.append(vec![large(n, 20_000)]).unwrap().wait(), Err(AppendError::DiskFull { .. }));
    assert!(refused(0) && refused(1));
    full(false);
    for n in 0..2 {
        assert_eq!(append(&journal, [large(n, 20_000)])[0].seq, Seq(u64::from(n)));
    }
    // The third begins a segment. One may have been prepared in time; the others cannot be.
    full(true);
    let taken = (2..20).take_while(|n| !refused(*n)).count() as u64;
    assert!(taken < 18 && journal.stopped().is_none());
    assert_eq!(journal.end(), Seq(2 + taken), "what was taken is there, and nothing of what was refused");
    journal.close().unwrap();
    assert_eq!(check(dir.path(), |_| {}).unwrap().records(), 2 + taken);

    // It opens on a full disk, so that what is there can be read.
    let (journal, recovery) = open_on(disk, dir.path()).unwrap();
    assert_eq!(read_to_end(&mut journal.reader(Seq(0)).unwrap()).len() as u64, recovery.records());
    assert!(matches!(journal.append(vec![large(50, 60_000)]).unwrap().wait(), Err(AppendError::DiskFull { .. })));
    full(false);
    assert_eq!(append(&journal, [large(50, 60_000)])[0].seq, Seq(2 + taken));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_power_cut_at_any_time_while_a_thread_prepares_loses_nothing_acknowledged(operation in 0u64..90, seed: u64) {
        survives(seed, &Trouble { power_cut_at: Some(operation), threads: true, ..Trouble::default() });
    }

    #[test]
    fn flips_in_the_last_frame_cost_that_frame_and_nothing_before_it(flips in proptest::collection::vec((0usize..9_000, 1u8..=255), 1..8)) {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = crashed(dir.path());
        let file = segment_files(dir.path()).remove(0);
        let good = std::fs::read(&file).unwrap();
        let mut bytes = good.clone();
        for (at, with) in flips {
            bytes[from + at % (to - from)] ^= with;
        }
        std::fs::write(&file, &bytes).unwrap();
        // Flips that only touch the padding leave the frame whole.
        let (journal, recovery) = open(dir.path());
        prop_assert!(recovery.records() == 3 || recovery.records() == 5);
        prop_assert!(bytes != good || recovery.records() == 5);
        journal.close().unwrap();
        let found: Vec<_> = records(dir.path()).into_iter().map(|record| record.event_json).collect();
        let expected: Vec<_> = (0..u32::try_from(recovery.records()).unwrap()).map(json).collect();
        prop_assert_eq!(found, expected);
    }
}
