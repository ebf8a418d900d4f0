use tempfile::TempDir;

use super::*;
use crate::leaf::tests::record;
use crate::proof::{self, TileReader};
use crate::tree::leaf_hash;
use crate::verify::{Report, verify_memory};

pub(crate) fn key() -> LogKey {
    ["PRIVATE", "KEY", "PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"].join("+").parse().unwrap()
}

pub(crate) fn records(count: u64) -> Vec<Record> {
    (0..count).map(record).collect()
}

const NOW: Timestamp = Timestamp::from_unix_ns(1);

/// Takes the records up to each of the sizes and seals there.
pub(crate) fn seal_at(ledger: &mut Ledger, records: &[Record], sizes: &[usize]) -> Result<(), LedgerError> {
    for size in sizes {
        let from = usize::try_from(ledger.size()).unwrap();
        for record in records.get(from..*size).unwrap_or_default() {
            ledger.append(record)?;
        }
        ledger.seal(NOW)?;
    }
    Ok(())
}

pub(crate) fn sealed(records: &[Record], sizes: &[usize]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    seal_at(&mut Ledger::open(dir.path(), key()).unwrap(), records, sizes).unwrap();
    dir
}

pub(crate) fn files(dir: &Path) -> Vec<String> {
    let mut files = Vec::new();
    walk(&dir.join("ledger"), &mut |path, is_dir| {
        if !is_dir {
            files.push(path.to_owned());
        }
        Ok(())
    })
    .unwrap();
    files
}

fn intact(dir: &Path, records: &[Record]) -> Report {
    let report = verify_memory(dir, records).unwrap();
    assert_eq!(report.fault, None);
    report
}

#[test]
fn a_seal_publishes_the_tree_in_the_layout_of_the_specification() {
    let records = records(259);
    let dir = sealed(&records, &[2, 258, 259]);
    let expected = [
        "checkpoint",
        "checkpoints",
        "tile/0/000",
        "tile/0/001.p/3",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/3",
        "vkey",
    ];
    assert_eq!(files(dir.path()), expected, "stale partial tiles are gone");
    let report = intact(dir.path(), &records);
    assert_eq!((report.records, report.sealed, report.unsealed, report.checkpoints), (259, 259, 0, 3));
    assert!(report.notes.is_empty(), "{:?}", report.notes);
    assert_eq!(report.key, key().verifier().to_string());
}

#[test]
fn a_ledger_goes_on_at_any_size_as_if_it_had_never_ended() {
    let records = records(520);
    let dir = tempfile::tempdir().unwrap();
    for size in [1, 2, 3, 255, 256, 257, 511, 512, 513, 520] {
        let mut ledger = Ledger::open(dir.path(), key()).unwrap();
        seal_at(&mut ledger, &records, &[size]).unwrap();
        assert_eq!(ledger.checkpoint().unwrap().size, size as u64);
        assert!(ledger.seal(NOW).unwrap().is_none(), "nothing new");
    }
    let report = intact(dir.path(), &records);
    let whole = sealed(&records, &[520]);
    assert_eq!(intact(whole.path(), &records).root, report.root);
    assert_eq!(files(whole.path()), files(dir.path()));
}

#[test]
fn an_empty_ledger_is_intact_and_seals_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path(), key()).unwrap();
    assert!(ledger.seal(NOW).unwrap().is_none());
    let report = intact(dir.path(), &records(2));
    assert_eq!((report.records, report.sealed, report.unsealed), (2, 0, 2));
}

#[test]
fn records_must_come_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path(), key()).unwrap();
    assert!(matches!(ledger.append(&record(1)), Err(LedgerError::Order { expected: 0, got: 1 })));
    ledger.append(&record(0)).unwrap();
    assert!(matches!(ledger.append(&record(0)), Err(LedgerError::Order { expected: 1, got: 0 })));
    let bad = Record { event_json: b"{}".to_vec(), ..record(1) };
    assert!(matches!(ledger.append(&bad), Err(LedgerError::Leaf { seq: 1, .. })));
    ledger.append(&record(1)).unwrap();
    assert_eq!(ledger.size(), 2);
}

#[test]
fn a_backlog_is_written_in_bounded_memory() {
    let records = records(300);
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path(), key()).unwrap();
    for record in &records {
        ledger.append(record).unwrap();
    }
    assert_eq!(ledger.waiting.len(), 2);
    ledger.write_waiting().unwrap();
    let report = intact(dir.path(), &records);
    assert_eq!((report.sealed, report.notes.len()), (0, 1), "tiles beyond the checkpoint agree with the journal");
    let fewer = verify_memory(dir.path(), &records[..200]).unwrap().fault.unwrap();
    assert!(fewer.what.contains("end of the journal"), "{fewer}");
    drop(ledger);
    let mut ledger = Ledger::open(dir.path(), key()).unwrap();
    assert_eq!((ledger.size(), files(dir.path())), (0, vec!["vkey".to_owned()]));
    seal_at(&mut ledger, &records, &[300]).unwrap();
    intact(dir.path(), &records);
}

#[test]
fn another_key_does_not_open_the_ledger() {
    let dir = sealed(&records(1), &[1]);
    assert!(matches!(Ledger::open(dir.path(), LogKey::generate("PeterNeumann").unwrap()), Err(LedgerError::OtherKey { .. })));
    std::fs::remove_file(dir.path().join("ledger/vkey")).unwrap();
    assert!(matches!(Ledger::open(dir.path(), key()), Err(LedgerError::Damaged { .. })));
}

/// Ends the process at every operation of a rotation, with and without a seal behind it.
#[test]
fn a_rotation_that_ends_anywhere_leaves_a_ledger_that_opens_with_both_keys() {
    let records = records(4);
    let mut old = LogKey::generate("test.example/log").unwrap();
    let copy = |key: &LogKey| LogKey::from_text(&key.to_text()).unwrap();
    let first = copy(&old);
    old.add_generation().unwrap();
    let both = old;
    for operations in 0.. {
        let dir = tempfile::tempdir().unwrap();
        seal_at(&mut Ledger::open(dir.path(), copy(&first)).unwrap(), &records, &[2]).unwrap();
        let disk = Disk::ending_after(operations);
        let rotated = Ledger::open_on(disk, dir.path(), copy(&first)).and_then(|mut ledger| {
            ledger.rotate(copy(&both), 1)?;
            seal_at(&mut ledger, &records, &[3])
        });
        assert_eq!(intact(dir.path(), &records).records, 4);
        let mut ledger = Ledger::open(dir.path(), copy(&both)).unwrap();
        if ledger.keys().generations().len() == 1 {
            ledger.rotate(copy(&both), 1).unwrap();
        }
        assert!(matches!(ledger.rotate(copy(&both), 1), Err(LedgerError::Keys(_))), "not new, or not yet over");
        seal_at(&mut ledger, &records, &[3, 4]).unwrap();
        intact(dir.path(), &records);
        if rotated.is_ok() {
            assert!(operations > 5, "{operations}");
            break;
        }
    }
}

#[test]
fn damage_that_the_next_seal_would_build_on_is_refused() {
    let records = records(260);
    for file in ["checkpoint", "checkpoints", "tile/0/001.p/4", "tile/1/000.p/1"] {
        let dir = sealed(&records, &[100, 260]);
        let path = dir.path().join("ledger").join(file);
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 10;
        bytes[last] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(matches!(Ledger::open(dir.path(), key()), Err(LedgerError::Damaged { .. })), "{file} changed");
        std::fs::remove_file(&path).unwrap();
        assert!(Ledger::open(dir.path(), key()).is_err(), "{file} removed");
    }
}

/// Ends the process at every operation on the disk, also while it recovers from the end before.
#[test]
fn a_process_that_ends_anywhere_leaves_an_intact_ledger_and_the_next_one_goes_on() {
    let records = records(262);
    let sizes = [3, 258, 260];
    let run = |dir: &Path, operations: u64| {
        let disk = Disk::ending_after(operations);
        Ledger::open_on(disk, dir, key()).and_then(|mut ledger| {
            let result = seal_at(&mut ledger, &records, &sizes);
            if result.is_err() {
                assert!(matches!(ledger.seal(NOW), Err(LedgerError::Stopped)));
                assert!(matches!(ledger.append(&records[0]), Err(LedgerError::Stopped)));
            }
            result
        })
    };
    let mut ends = 0;
    for operations in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let ended = run(dir.path(), operations).is_err();
        let sealed = if dir.path().join("ledger/vkey").exists() { intact(dir.path(), &records).sealed } else { 0 };
        // Every end of the recovery, too, spread over the ends before it.
        for again in [operations % 11, operations % 7] {
            let _ = run(dir.path(), again);
            if dir.path().join("ledger/vkey").exists() {
                let report = intact(dir.path(), &records);
                assert!(report.sealed >= sealed, "what was published stays published");
            }
        }
        let mut ledger = Ledger::open(dir.path(), key()).unwrap();
        seal_at(&mut ledger, &records, &[3, 258, 260, 262]).unwrap();
        let report = intact(dir.path(), &records);
        assert_eq!((report.sealed, report.notes.len()), (262, 0), "{:?}", report.notes);
        if !ended {
            break;
        }
        ends += 1;
    }
    assert!(ends > 60, "{ends}");
}

#[test]
fn proofs_come_from_the_tiles() {
    let records = records(600);
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path(), key()).unwrap();
    let mut old = None;
    for size in [1, 255, 256, 257, 512, 600] {
        seal_at(&mut ledger, &records, &[size]).unwrap();
        let new = ledger.checkpoint().unwrap().clone();
        let nodes = TileReader::new(dir.path(), new.size);
        for index in [0, 1, 127, 255, 256, 300, 599].into_iter().filter(|index| *index < new.size) {
            let leaf = Leaf::of(&records[usize::try_from(index).unwrap()], key().verifier().log_id()).unwrap();
            let path = proof::inclusion(&nodes, index, new.size).unwrap();
            proof::verify_inclusion(&leaf_hash(&leaf.encode()), index, new.size, &path, &new.root).unwrap();
        }
        if let Some(Checkpoint { size, root, .. }) = old.replace(new.clone()) {
            let path = proof::consistency(&nodes, size, new.size).unwrap();
            proof::verify_consistency(size, &root, new.size, &new.root, &path).unwrap();
        }
    }
    assert!(proof::inclusion(&TileReader::new(dir.path(), 5000), 4000, 5000).is_err(), "there are no such tiles");
}
