use std::path::Path;

use journal::Record;
use tempfile::TempDir;

use super::*;
use crate::key::LogKey;
use crate::ledger::tests::{files, key, records, seal_at, sealed};

fn fault(dir: &TempDir, records: &[Record]) -> Fault {
    verify_memory(dir.path(), records).unwrap().fault.unwrap_or_else(|| panic!("no fault was found"))
}

fn trust(keys: &[VerifierKey]) -> Trust {
    Trust { keys: keys.to_vec(), ..Trust::default() }
}

/// Changes a file; the answer puts it back.
fn changed<T: FnOnce(&mut Vec<u8>)>(path: &Path, change: T) -> impl FnOnce() + use<T> {
    let before = std::fs::read(path).unwrap();
    let mut after = before.clone();
    change(&mut after);
    std::fs::write(path, after).unwrap();
    let path = path.to_owned();
    move || std::fs::write(path, before).unwrap()
}

#[test]
fn every_flip_of_a_byte_is_found_and_its_file_is_named() {
    let records = records(5);
    let dir = sealed(&records, &[2, 4, 5]);
    for file in files(dir.path()) {
        let path = dir.path().join("ledger").join(&file);
        let length = std::fs::read(&path).unwrap().len();
        for index in 0..length {
            for bits in [0x01, 0x20, 0xff] {
                let restore = changed(&path, |bytes| bytes[index] ^= bits);
                let fault = fault(&dir, &records);
                // Where only the other file can tell, it is named: a torn end of the history, a root, a key.
                let named = fault.place.contains(&format!("ledger/{file}"));
                let of_key = file == "vkey" && fault.place.starts_with("ledger/");
                assert!(named || of_key, "byte {index} of {file}: {fault}");
                restore();
            }
        }
    }
    assert_eq!(verify_memory(dir.path(), &records).unwrap().fault, None);
}

#[test]
fn every_file_that_is_cut_lengthened_removed_or_added_is_found() {
    let records = records(515);
    let dir = sealed(&records, &[2, 300, 514]);
    for file in files(dir.path()) {
        let path = dir.path().join("ledger").join(&file);
        for (what, change) in [
            ("cut", (|bytes| bytes.truncate(bytes.len() - 1)) as fn(&mut Vec<u8>)),
            ("lengthened", |bytes| bytes.push(b'\n')),
            ("emptied", Vec::clear),
        ] {
            let restore = changed(&path, change);
            let found = fault(&dir, &records);
            assert!(found.place.starts_with("ledger/"), "{file} {what}: {found}");
            restore();
        }
        let restore = changed(&path, |_| ());
        std::fs::remove_file(&path).unwrap();
        let found = fault(&dir, &records);
        assert!(
            found.place.starts_with("ledger/") && found.what.contains("missing") || file == "checkpoints",
            "{file} removed: {found}"
        );
        restore();
    }
    for file in [
        "x",
        "tile/x",
        "tile/0/002",
        "tile/0/003",
        "tile/entries/002.p/1",
        "tile/0/001.p/4",
        "tile/0/000.p/3",
        "checkpoint.bak",
        "tile/0/000~",
    ] {
        let path = dir.path().join("ledger").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, b"smuggled").unwrap();
        let found = fault(&dir, &records);
        assert!(found.place.contains(file), "{file} added: {found}");
        std::fs::remove_file(&path).unwrap();
    }
    std::fs::create_dir(dir.path().join("ledger/tile/0/x")).unwrap();
    assert!(fault(&dir, &records).place.contains("tile/0/x"));
    std::fs::remove_dir(dir.path().join("ledger/tile/0/x")).unwrap();
    std::os::unix::fs::symlink("vkey", dir.path().join("ledger/link")).unwrap();
    assert!(fault(&dir, &records).place.contains("link"));
    std::fs::remove_file(dir.path().join("ledger/link")).unwrap();
    assert_eq!(verify_memory(dir.path(), &records).unwrap().fault, None);
}

#[test]
fn a_first_start_that_ended_before_the_ledger_was_made_is_no_tampering() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("journal")).unwrap();
    for begin in [&|| {}, &|| std::fs::create_dir(dir.path().join("ledger")).unwrap(), &|| {
        std::fs::write(dir.path().join("ledger/vkey.tmp"), b"exa").unwrap();
    }] as [&dyn Fn(); 3]
    {
        begin();
        let report = verify_memory(dir.path(), &[]).unwrap();
        assert_eq!((report.fault, report.records), (None, 0));
        assert!(report.notes[0].contains("nothing is recorded"), "{:?}", report.notes);
        // With records, or for somebody who knows the log, the ledger is gone.
        assert!(fault(&dir, &records(2)).place.starts_with("ledger"));
        let known = Trust { keys: vec![LogKey::generate("known.example/log").unwrap().verifier()], ..Trust::default() };
        assert!(verify_memory_against(dir.path(), &[], &known).unwrap().fault.is_some());
    }
}

#[test]
fn a_changed_cut_swapped_or_missing_record_is_found_and_named() {
    let good = records(260);
    let dir = sealed(&good, &[3, 258]);
    let found = |change: &dyn Fn(&mut Vec<Record>)| {
        let mut records = good.clone();
        change(&mut records);
        fault(&dir, &records).to_string()
    };
    type Tamper<'a> = &'a dyn Fn(&mut Vec<Record>);
    let cases: [(&str, Tamper<'_>); 7] = [
        ("journal, record 7: is not the record that was sealed", &|records| records[7].blind[3] ^= 1),
        ("journal, record 257: is not the record that was sealed", &|records| records[257].commitment_key[3] ^= 1),
        ("journal, record 100: is not the record that was sealed", &|records| {
            let json = String::from_utf8(records[100].event_json.clone()).unwrap().replace("\"api\"", "\"otlp_grpc\"");
            records[100].event_json = json.into_bytes();
        }),
        ("journal, record 3: content 0 of the record does not have the id", &|records| records[3].contents[0].salt[0] ^= 1),
        ("journal, record 3: is not the record that was sealed", &|records| records[3].contents.clear()),
        ("journal: has 200 records, and a checkpoint signs 258", &|records| records.truncate(200)),
        ("journal, record 6: record 5 should stand here", &|records| {
            records.remove(5);
        }),
    ];
    for (expected, change) in cases {
        let found = found(change);
        assert!(found.starts_with(expected), "{found}, not {expected}");
    }
    assert!(found(&|records| records.truncate(257)).starts_with("journal: has 257 records"));
    // Behind the checkpoint nothing is signed yet.
    assert_eq!(verify_memory(dir.path(), &good[..258]).unwrap().fault, None);
    let report = verify_memory(dir.path(), &good).unwrap();
    assert_eq!((report.records, report.unsealed, report.fault), (260, 2, None));
}

#[test]
fn two_histories_of_one_log_are_told_apart() {
    let good = records(10);
    let mut other = good.clone();
    other[9].blind = [99; 16];
    let dir = sealed(&good, &[5, 8, 10]);
    let fork = sealed(&other, &[5, 9, 10]);
    let history = |dir: &TempDir| std::fs::read_to_string(dir.path().join("ledger/checkpoints")).unwrap();
    let notes: Vec<String> = history(&dir).split_inclusive("\n\n").map(str::to_owned).collect();
    assert_eq!(notes.len(), 6, "text and signature of three checkpoints");
    // A signed checkpoint of the fork slipped into the history.
    let put = |text: &str| {
        let text = text.as_bytes().to_vec();
        changed(&dir.path().join("ledger/checkpoints"), |bytes| *bytes = text)
    };
    let restore = put(&history(&fork));
    assert!(fault(&dir, &good).place.contains("checkpoints at byte"));
    restore();
    // Checkpoints swapped, one repeated, one rolled back.
    for order in [[2, 3, 0, 1, 4, 5].as_slice(), &[0, 1, 0, 1, 2, 3, 4, 5], &[0, 1, 2, 3]] {
        let restore = put(&order.iter().map(|index| notes[*index].as_str()).collect::<String>());
        assert!(fault(&dir, &good).place.contains("checkpoints"), "{order:?}");
        restore();
    }
    // The newest one published by nobody: what a crash leaves, and no more than a note.
    let published = notes[2..4].concat().into_bytes();
    let restore = changed(&dir.path().join("ledger/checkpoint"), |bytes| *bytes = published[..published.len() - 1].to_vec());
    // Its partial tiles are gone, though, which no crash leaves.
    assert!(fault(&dir, &good).what.contains("missing"));
    restore();
    assert_eq!(verify_memory(dir.path(), &good).unwrap().fault, None);
}

#[test]
fn a_log_of_another_key_is_not_the_expected_one() {
    let dir = sealed(&records(2), &[2]);
    let good = records(2);
    let source: Source<'_> = &mut |visit| {
        good.iter().cloned().map(|record| StoredRecord::whole(record).into()).for_each(visit);
        Ok(Journaled { records: Some(2), torn: None })
    };
    assert_eq!(verify_from(dir.path(), &trust(&[key().verifier()]), false, source).unwrap().fault, None);
    let other = LogKey::generate("PeterNeumann").unwrap().verifier();
    // Nobody tampered with anything, and it is not the log that was meant.
    let report = verify_from(dir.path(), &trust(&[other]), false, source).unwrap();
    assert!(report.fault.is_none() && report.unmet.len() == 1 && report.unmet[0].contains("another one"), "{:?}", report.unmet);
}

#[test]
fn a_ledger_that_is_published_alone_is_verified_alone() {
    let dir = sealed(&records(300), &[2, 300]);
    let report = verify_public(dir.path(), &Trust::default()).unwrap();
    assert_eq!((&report.fault, report.records, report.sealed), (&None, 300, 300));
    assert!(report.notes.iter().any(|note| note.contains("alone")), "{:?}", report.notes);
    let restore = changed(&dir.path().join("ledger/tile/entries/000"), |bytes| bytes[500] ^= 1);
    assert!(verify_public(dir.path(), &Trust::default()).unwrap().fault.is_some());
    restore();
    // In a data directory a journal that is gone is gone.
    std::fs::write(dir.path().join("format"), b"2\n").unwrap();
    assert_eq!(verify_public(dir.path(), &Trust::default()).unwrap().fault.unwrap().place, "journal");
}

#[test]
fn a_directory_that_is_none_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(verify_memory(dir.path(), &[]), Err(VerifyError::NoDataDirectory(_))));
    std::fs::create_dir(dir.path().join("journal")).unwrap();
    assert_eq!(fault(&dir, &records(1)).to_string(), "ledger: is missing, and the journal goes to record 1");
    std::fs::write(dir.path().join("ledger"), b"").unwrap();
    assert_eq!(fault(&dir, &[]).to_string(), "ledger/vkey: is missing");
}

#[test]
fn what_a_torn_write_leaves_is_noted_and_no_fault() {
    let good = records(5);
    let dir = sealed(&good, &[2, 5]);
    let history = std::fs::read(dir.path().join("ledger/checkpoints")).unwrap();
    let first = history.len() / 2;
    for cut in 0..first {
        let torn = [&history[..], &history[..cut]].concat();
        let restore = changed(&dir.path().join("ledger/checkpoints"), |bytes| *bytes = torn);
        let report = verify_memory(dir.path(), &good).unwrap();
        assert_eq!((report.fault, report.notes.len()), (None, usize::from(cut > 0)), "{cut}");
        restore();
    }
    std::fs::write(dir.path().join("ledger/tile/0/000.p/6.tmp"), b"half").unwrap();
    let report = verify_memory(dir.path(), &good).unwrap();
    assert_eq!((report.fault, report.notes.len()), (None, 1));
}

#[test]
fn both_signatures_of_a_published_checkpoint_are_needed() {
    let good = records(3);
    let dir = tempfile::tempdir().unwrap();
    let key = LogKey::generate("test.example/log").unwrap();
    seal_at(&mut crate::Ledger::open(dir.path(), key).unwrap(), &good, &[2, 3]).unwrap();
    let report = verify_memory(dir.path(), &good).unwrap();
    assert_eq!((report.fault, report.checkpoints), (None, 2));
    let path = dir.path().join("ledger/checkpoint");
    let note = std::fs::read_to_string(&path).unwrap();
    assert_eq!(note.lines().count(), 6, "text, empty line, Ed25519 and ML-DSA-44");
    let history = std::fs::read_to_string(dir.path().join("ledger/checkpoints")).unwrap();
    assert!(history.len() < 600, "the history keeps Ed25519 alone: {} bytes", history.len());
    for index in (0..note.len()).step_by(61) {
        let restore = changed(&path, |bytes| bytes[index] ^= 1);
        assert!(fault(&dir, &good).place.contains("ledger/checkpoint"), "byte {index}");
        restore();
    }
    for left_out in [4, 5] {
        let lines: String =
            note.split_inclusive('\n').enumerate().filter(|(at, _)| *at != left_out).map(|(_, line)| line).collect();
        let restore = changed(&path, |bytes| *bytes = lines.into_bytes());
        assert!(fault(&dir, &good).what.contains("not signed by"));
        restore();
    }
    // Without its ML-DSA-44 line the file of keys is another log's: its first checkpoints have a signature that nobody may give.
    let restore = changed(&dir.path().join("ledger/vkey"), |bytes| {
        let first = bytes.iter().position(|byte| *byte == b'\n').unwrap();
        bytes.truncate(first + 1);
    });
    assert!(fault(&dir, &good).place.contains("ledger/checkpoint"));
    restore();
}

#[test]
fn a_rotated_log_is_verified_from_its_first_key_or_any_later_one() {
    let good = records(12);
    let dir = tempfile::tempdir().unwrap();
    let mut key = LogKey::generate("test.example/log").unwrap();
    let first = key.verifiers();
    let mut ledger = crate::Ledger::open(dir.path(), LogKey::from_text(&key.to_text()).unwrap()).unwrap();
    seal_at(&mut ledger, &good, &[2, 4]).unwrap();
    key.add_generation().unwrap();
    let rotation = ledger.rotate(LogKey::from_text(&key.to_text()).unwrap(), 3).unwrap();
    assert_eq!((rotation.number, rotation.from, rotation.last, rotation.keys.len()), (1, 5, 7, 2));
    seal_at(&mut ledger, &good, &[6]).unwrap();
    assert!(ledger.needs(&first[0]) && !ledger.holds_retired());
    seal_at(&mut ledger, &good, &[7]).unwrap();
    assert!(!ledger.needs(&first[0]) && ledger.needs(&key.verifier()) && ledger.holds_retired());
    ledger.forget_retired();
    assert!(!ledger.holds_retired());
    // The old keys are not needed any more, so they go; without the new ones the ledger does not open.
    drop(ledger);
    assert!(crate::Ledger::open(dir.path(), LogKey::generate("test.example/log").unwrap()).is_err());
    let mut kept = LogKey::from_text(&key.to_text()).unwrap();
    kept.forget(|_| false);
    assert_eq!(kept.to_text().lines().count(), 2);
    let mut ledger = crate::Ledger::open(dir.path(), kept).unwrap();
    seal_at(&mut ledger, &good, &[9, 12]).unwrap();
    let against = |keys: &[VerifierKey]| {
        let source: Source<'_> = &mut |visit| {
            good.iter().cloned().map(|record| StoredRecord::whole(record).into()).for_each(visit);
            Ok(Journaled { records: Some(12), torn: None })
        };
        verify_from(dir.path(), &trust(keys), false, source).unwrap()
    };
    let report = against(&[]);
    assert_eq!((report.fault, report.checkpoints, report.notes.len()), (None, 6, 1), "{:?}", report.notes);
    assert_eq!(against(&first).fault, None);
    assert_eq!(against(&key.verifiers()).fault, None);
    assert_eq!(against(&LogKey::generate("test.example/log").unwrap().verifiers()).unmet.len(), 2);
    // The file of rotations gone, emptied, or changed.
    let keys = dir.path().join("ledger/keys");
    for (change, place) in [
        ((|bytes| bytes.clear()) as fn(&mut Vec<u8>), "ledger/keys"),
        (|bytes| bytes.truncate(bytes.len() / 2), "ledger/keys"),
        (|bytes| bytes[30] ^= 1, "ledger/keys"),
    ] {
        let restore = changed(&keys, change);
        assert_eq!(fault(&dir, &good).place, place);
        restore();
    }
    let text = std::fs::read(&keys).unwrap();
    std::fs::remove_file(&keys).unwrap();
    assert!(fault(&dir, &good).place.contains("ledger/checkpoint"), "checkpoints by keys that nobody vouched for");
    std::fs::write(&keys, text).unwrap();
    // Signed by the retired pair, as a thief of it would sign: it is not the key of that size.
    let note = std::fs::read_to_string(dir.path().join("ledger/checkpoint")).unwrap();
    let text = note.split_inclusive("\n\n").next().unwrap().strip_suffix('\n').unwrap();
    let forged = key.sign_by(text, first.iter()).unwrap().encode();
    let restore = changed(&dir.path().join("ledger/checkpoint"), |bytes| *bytes = forged.into_bytes());
    let found = fault(&dir, &good);
    assert_eq!(found.place, "ledger/checkpoint");
    assert!(found.what.contains(&format!("{:08x}", first[0].id())) && found.what.contains("12 records"), "{found}");
    restore();
    assert_eq!(verify_memory(dir.path(), &good).unwrap().fault, None);
}

#[test]
fn a_policy_demands_its_witnesses_and_a_witnessed_fork_is_found() {
    use crate::signing::SigningKey;
    use crate::vkey::Algorithm;
    let good = records(5);
    let dir = sealed(&good, &[3]);
    let witnesses = ["w1", "w2", "w3"].map(|name| SigningKey::generate(Algorithm::MlDsa44, name).unwrap());
    let mut policy = String::new();
    for witness in &witnesses {
        policy += &format!("witness {} {}\n", witness.verifier().name(), witness.verifier());
    }
    policy += "group all-three 2 w1 w2 w3\nquorum all-three\n";
    let verify = |policy: &str| {
        let trust = Trust { policy: Some(policy.parse().unwrap()), ..Trust::default() };
        let source: Source<'_> = &mut |visit| {
            good.iter().cloned().map(|record| StoredRecord::whole(record).into()).for_each(visit);
            Ok(Journaled { records: Some(5), torn: None })
        };
        verify_from(dir.path(), &trust, false, source).unwrap()
    };
    let note = crate::published_checkpoint(dir.path()).unwrap().unwrap();
    let cosigned = |count: usize| {
        let by = witnesses[..count].iter().map(|witness| witness.sign(note.text(), 77).unwrap());
        note.clone().with(by).unwrap()
    };
    let unmet = |policy: &str, why: &str| {
        let report = verify(policy);
        assert!(report.fault.is_none() && report.unmet.len() == 1 && report.unmet[0].contains(why), "{why}: {:?}", report.unmet);
    };
    unmet(&policy, "is missing, and the policy asks for it");
    assert_eq!(verify("quorum none\n").fault, None);
    crate::publish_witnessed(dir.path(), &cosigned(1)).unwrap();
    unmet(&policy, "quorum");
    crate::publish_witnessed(dir.path(), &cosigned(2)).unwrap();
    seal_at(&mut crate::Ledger::open(dir.path(), key()).unwrap(), &good, &[5]).unwrap();
    let report = verify(&policy);
    assert_eq!((report.fault, report.unmet.len(), report.witnessed, report.sealed), (None, 0, 3, 5));
    assert_eq!(report.witnesses, [("w1".to_owned(), 77), ("w2".to_owned(), 77)]);
    assert!(report.notes.iter().any(|note| note.contains("2 records are sealed and not yet witnessed")), "{:?}", report.notes);
    // A policy that lists another log.
    let other = LogKey::generate("other.example").unwrap().verifier();
    unmet(&format!("log {other}\n{policy}"), "as the policy asks");
    assert!(verify(&format!("log {}\n{policy}", key().verifier())).unmet.is_empty());
    // A smaller checkpoint does not take the place of a larger one.
    let larger = crate::published_checkpoint(dir.path()).unwrap().unwrap();
    let larger = larger.clone().with([witnesses[2].sign(larger.text(), 78).unwrap()]).unwrap();
    crate::publish_witnessed(dir.path(), &larger).unwrap();
    crate::publish_witnessed(dir.path(), &cosigned(3)).unwrap();
    assert_eq!(crate::witnessed_checkpoint(dir.path()).unwrap().unwrap(), larger);
    // What the witnesses saw and the directory does not hold: another history of the same log.
    let mut other = good.clone();
    other[4].blind = [99; 16];
    let fork = sealed(&other, &[3, 5]);
    let shown = crate::published_checkpoint(fork.path()).unwrap().unwrap();
    let shown = shown.clone().with(witnesses.iter().map(|witness| witness.sign(shown.text(), 79).unwrap())).unwrap();
    let restore = changed(&dir.path().join("ledger/witnessed"), |bytes| *bytes = shown.encode().into_bytes());
    let fault = verify(&policy).fault.unwrap();
    assert!(fault.place == "ledger/witnessed" && fault.what.contains("forked"), "{fault}");
    restore();
}

/// Leaves are computed on several threads; what is wrong first is named all the same.
#[test]
fn of_many_records_the_first_wrong_one_is_named() {
    let good = records(2_000);
    let dir = sealed(&good, &[1_000, 2_000]);
    assert_eq!(verify_memory(dir.path(), &good).unwrap().fault, None);
    for wrong in [[0, 1_999], [255, 256], [1_400, 1_401]] {
        let mut changed = good.clone();
        for seq in wrong {
            changed[seq].event_json.push(b' ');
        }
        let report = verify_memory(dir.path(), &changed).unwrap();
        assert_eq!(report.fault.unwrap().place, format!("journal, record {}", wrong[0]));
        assert_eq!(report.records, wrong[0] as u64);
    }
}
