//! Bundles of real logs: whole they are judged intact, and no change passes.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Log, token};
use ledger::{Algorithm, LogKey, Policy, Selection, SigningKey, TsaRoots, Verdict};
use proptest::prelude::*;
use watchkeeper_evidence::{Bag, BagError, Export, Overall, Report, Trust, verify, verify_bag};

fn judged(bag: &Bag) -> Report {
    verify_bag(bag, &Trust::default())
}

#[test]
fn a_session_is_intact_and_each_part_has_its_verdict() {
    let log = Log::new(600);
    for session in 0..common::SESSIONS {
        let bag = log.export(session, Selection::all());
        let trust = Trust { key: Some(log.key.verifier()), ..Trust::default() };
        let report = verify_bag(&bag, &trust);
        assert_eq!((report.overall, &report.fault), (Overall::Intact, &None), "session {session}");
        assert!(report.key_was_trusted && report.complete && report.timestamps.is_empty());
        assert_eq!(report.records.len(), log.session(session).len());
        let erased = report
            .records
            .iter()
            .flat_map(|record| &record.parts)
            .filter(|(_, v)| *v == Verdict::Erased { tombstone: 600 })
            .count();
        // Session 1 speaks of the user of session 2 in each message; of session 2 itself nearly everything is gone.
        match session {
            1 => assert_eq!(erased, report.records.len()),
            2 => assert!(erased > 10 * report.records.len()),
            _ => assert_eq!(erased, 0),
        }
        let all: Vec<u8> = bag.files().flat_map(|(_, bytes)| bytes.to_vec()).collect();
        let all = String::from_utf8_lossy(&all).into_owned();
        assert!(!all.contains(&token(2)[..37]), "nothing of the erased person is in a bundle");
    }
}

#[test]
fn without_the_tombstone_it_is_incomplete_and_withheld_is_said_to_be() {
    let log = Log::new(20);
    let records = log.session(2);
    let bag = log.exporting(2, &records, Selection::all(), &[], |export| export.bag().unwrap().0);
    let report = judged(&bag);
    assert_eq!((report.overall, report.fault), (Overall::Incomplete, None));

    let show = Selection { field: &|path, _| path != "/identity", ..Selection::all() };
    let report = judged(&log.export(3, show));
    assert_eq!(report.overall, Overall::Intact);
    let withheld = report.records[0].parts.iter().filter(|(_, verdict)| *verdict == Verdict::Withheld).count();
    assert_eq!(withheld, 1);

    let fewer = &log.session(3)[1..];
    let report = judged(&log.exporting(3, fewer, Selection::all(), &[], |export| export.bag().unwrap().0));
    assert_eq!((report.overall, report.complete), (Overall::Incomplete, false));
}

#[test]
fn directories_and_archives_are_read_back_and_equal_bundles_are_equal_bytes() {
    let log = Log::new(20);
    let to = tempfile::tempdir().unwrap();
    let (dir, archive, again) = (to.path().join("bag"), to.path().join("bag.tar.gz"), to.path().join("again.tar.gz"));
    let records = log.session(4);
    log.exporting(4, &records, Selection::all(), &[], |export: &Export<'_>| {
        export.write_dir(&dir).unwrap();
        assert!(export.write_dir(&dir).is_err(), "nothing is written over");
    });
    let bag = Bag::read(&dir).unwrap();
    bag.write_tar_gz(&archive, "evidence").unwrap();
    bag.write_tar_gz(&again, "evidence").unwrap();
    assert_eq!(std::fs::read(&archive).unwrap(), std::fs::read(&again).unwrap());
    assert_eq!(Bag::read(&archive).unwrap(), bag);
    let tar = std::process::Command::new("tar").arg("-tzf").arg(&archive).output().unwrap();
    assert_eq!(String::from_utf8(tar.stdout).unwrap().lines().count(), bag.files().count(), "tar reads it, too");
    for path in [&dir, &archive] {
        assert_eq!(verify(path, &Trust::default()).unwrap().overall, Overall::Intact);
    }
}

#[test]
fn another_logs_key_is_not_trusted() {
    let log = Log::new(10);
    let other = LogKey::generate("test.example/log").unwrap();
    let report = verify_bag(&log.export(0, Selection::all()), &Trust { key: Some(other.verifier()), ..Trust::default() });
    assert_eq!(report.overall, Overall::Tampered);
    assert_eq!(report.fault.unwrap().file, "data/vkey");
    // A bundle that somebody else signs with a key of their own for the same records.
    let forged = Log { key: other, ..Log::new(10) };
    assert_eq!(judged(&forged.export(0, Selection::all())).fault.unwrap().file, "data/statement.dsse.json");
}

#[test]
fn records_that_are_not_sealed_or_given_twice_are_refused() {
    let log = Log::new(10);
    let mut records = log.session(0);
    records.push(records[0].clone());
    let twice = log.exporting(0, &records, Selection::all(), &[], |export| export.bag().err().unwrap().to_string());
    assert!(twice.contains("twice"), "{twice}");
    let far = Log::new(30);
    let unsealed = log.exporting(0, &far.session(1), Selection::all(), &[], |export| export.bag().err().unwrap().to_string());
    assert!(unsealed.contains("proof") || unsealed.contains("not under"), "{unsealed}");
}

/// With manifests made anew after it, so that only signatures and proofs can find it, or left as they were.
fn is_found(bag: &Bag, change: impl Fn(&mut Bag)) -> bool {
    [false, true].into_iter().all(|close| {
        let mut changed = bag.clone();
        change(&mut changed);
        if close {
            changed.close().unwrap();
        }
        changed == *bag || judged(&changed).overall == Overall::Tampered
    })
}

#[test]
fn time_stamps_and_cosignatures_come_along_and_are_judged_by_what_the_reader_trusts() {
    let mut log = Log::new(40);
    let root = log.stamp(&[40, 42]);
    log.cosign();
    let bag = log.export(3, Selection::all());
    let report = judged(&bag);
    assert_eq!((report.overall, &report.fault), (Overall::Intact, &None));
    // The first one over the records is enough.
    assert!(report.timestamps.len() == 1 && report.timestamps[0].size == 40 && !report.timestamps[0].verified);
    assert!(report.records.iter().all(|record| record.stamped.as_ref() == Some(&report.timestamps[0].time)));
    assert!(report.custody.iter().all(|record| record.stamped.is_none()), "that came later");
    let names: Vec<&str> = report.witnesses.iter().map(|by| by.name.as_str()).collect();
    assert!(
        names == ["w1.example", "w2.example"] && report.witnesses[0].time == "2023-11-14T22:15:23Z",
        "{:?}",
        report.witnesses
    );
    assert!(!report.policy_was_trusted);

    let policy = |text: &str| Some(Policy::parse(text.as_bytes()).unwrap());
    let roots = |pem: &[u8]| Some(TsaRoots::from_pem(pem).unwrap());
    let own = log.cosigned.as_ref().unwrap().1.clone();
    let trust = Trust { key: Some(log.key.verifier()), policy: policy(&own), tsa_roots: roots(&root) };
    let report = verify_bag(&bag, &trust);
    assert!(
        report.overall == Overall::Intact && report.timestamps[0].verified && report.policy_was_trusted,
        "{:?}",
        report.fault
    );

    let stranger = SigningKey::generate(Algorithm::MlDsa44, "w9.example").unwrap();
    let asks = policy(&format!("witness w9 {}\nquorum w9\n", stranger.verifier()));
    let report = verify_bag(&bag, &Trust { policy: asks, ..trust.clone() });
    assert_eq!(report.fault.unwrap().file, "data/checkpoint");
    let another = Log::new(10).stamp(&[]);
    let report = verify_bag(&bag, &Trust { tsa_roots: roots(&another), ..trust.clone() });
    assert_eq!(report.fault.unwrap().file, "data/timestamps/40.tsr");
    let none = Log::new(10);
    let trust = Trust { key: None, policy: None, ..trust };
    assert_eq!(verify_bag(&none.export(3, Selection::all()), &trust).fault.unwrap().file, "data/timestamps/");

    // A stamp that does not fit is no evidence, and is not put into a bundle.
    std::fs::copy(log.dir.path().join("ledger/timestamps/42.tsr"), log.dir.path().join("ledger/timestamps/40.tsr")).unwrap();
    let records = log.session(3);
    let refused = log.exporting(3, &records, Selection::all(), &[], |export| export.bag().err().unwrap().to_string());
    assert!(refused.contains("timestamps/40.tsr"), "{refused}");
}

#[test]
fn a_tampered_record_is_told_from_those_beside_it() {
    let log = Log::new(40);
    let bag = log.export(3, Selection::all());
    let mut changed = bag.clone();
    let json = String::from_utf8(changed.remove("data/records/10.json").unwrap()).unwrap();
    changed.put("data/records/10.json", json.replace("Message 10", "Message 99").into_bytes()).unwrap();
    changed.put("data/records/3.txt", Vec::new()).unwrap();
    let report = judged(&changed);
    assert_eq!(report.overall, Overall::Tampered);
    let tampered = |record: &&watchkeeper_evidence::RecordReport| {
        record.parts.iter().filter(|(_, verdict)| *verdict == Verdict::Tampered).count()
    };
    let places: Vec<(u64, usize)> = report.records.iter().map(|record| (record.seq, tampered(&record))).collect();
    assert_eq!(places[..3], [(3, 0), (10, 1), (17, 0)], "the text, and nothing else");
}

#[test]
fn every_file_flipped_removed_added_or_swapped_is_found() {
    let mut log = Log::new(40);
    log.stamp(&[40]);
    log.cosign();
    let bag = log.export(1, Selection::all());
    let other = Log::new(40).export(1, Selection::all());
    let third = log.export(3, Selection::all());
    assert_eq!(judged(&bag).overall, Overall::Intact);
    let names: Vec<String> =
        bag.files().map(|(name, _)| name.to_owned()).filter(|name| !name.contains("manifest-sha256")).collect();
    assert!(names.len() > 25);
    for name in &names {
        let length = bag.get(name).unwrap().len();
        assert!(length > 0, "{name}");
        for at in [0, length / 3, length / 2, length - 1] {
            let flip = |bag: &mut Bag| {
                let mut bytes = bag.remove(name).unwrap();
                bytes[at] ^= 1;
                bag.put(name, bytes).unwrap();
            };
            assert!(is_found(&bag, flip), "{name}: byte {at}");
        }
        assert!(is_found(&bag, |bag| drop(bag.remove(name))), "{name} removed");
        for donor in [&other, &third] {
            let Some(bytes) = donor.get(name) else { continue };
            let swap = |bag: &mut Bag| {
                bag.remove(name);
                bag.put(name, bytes.to_vec()).unwrap();
            };
            assert!(is_found(&bag, swap), "{name} swapped");
        }
    }
    for name in [
        "data/more",
        "data/records/77.json",
        "data/records/1.txt",
        "data/timestamps/1.tsr",
        "data/timestamps/40.txt",
        "more.txt",
        "data/custody/1.leaf",
    ] {
        assert!(is_found(&bag, |bag| bag.put(name, b"more".to_vec()).unwrap()), "{name} added");
    }
    for (record, files) in [("data/records/1.", "data/records/8."), ("data/records/1.", "data/custody/41.")] {
        let exchange = |bag: &mut Bag| {
            for suffix in ["json", "leaf", "tlog-proof"] {
                let (one, two) = (format!("{record}{suffix}"), format!("{files}{suffix}"));
                let (first, second) = (bag.remove(&one).unwrap(), bag.remove(&two).unwrap());
                bag.put(&one, second).unwrap();
                bag.put(&two, first).unwrap();
            }
        };
        assert!(is_found(&bag, exchange), "{record} and {files}");
    }
}

#[test]
fn links_and_names_that_lead_elsewhere_are_never_followed() {
    let log = Log::new(10);
    let to = tempfile::tempdir().unwrap();
    let dir = to.path().join("bag");
    log.export(0, Selection::all()).write_dir(&dir).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.join("data/policy")).unwrap();
    assert!(matches!(Bag::read(&dir), Err(BagError::Kind(_))));
    for name in ["../x", "/x", "data//x", "data/../x", ".x", "data/.x", "a b", "é", "data/a/b/c/d", ""] {
        assert!(matches!(Bag::default().put(name, Vec::new()), Err(BagError::Name(_))), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_archive_makes_the_reader_panic(bytes in any::<Vec<u8>>(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar.gz");
        std::fs::write(&path, &bytes).unwrap();
        prop_assert!(Bag::read(&path).is_err());
        let mut bag = Bag::default();
        bag.put("data/x", b"content".to_vec()).unwrap();
        std::fs::remove_file(&path).unwrap();
        bag.write_tar_gz(&path, "bag").unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = to;
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(bag) = Bag::read(&path) {
            let _ = judged(&bag);
        }
    }
}
