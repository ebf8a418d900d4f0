//! Bundles of real logs: whole they are judged intact, and no change passes.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Log, token};
use ledger::{Algorithm, LogKey, Policy, Selection, SigningKey, TsaRoots, Verdict};
use proptest::prelude::*;
use watchkeeper_evidence::{Bag, BagError, Export, Overall, Report, Trust, verify, verify_bag};

/// By the key that the bundle brings, as somebody does who has it from elsewhere.
fn judged(bag: &Bag) -> Report {
    verify_bag(bag, &own(bag))
}

fn own(bag: &Bag) -> Trust {
    let key = bag.get("data/vkey").and_then(|vkey| std::str::from_utf8(vkey).ok()?.lines().next()?.parse().ok());
    Trust { key, ..Trust::default() }
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
    let in_part = Log { not_searched: 1, ..log };
    let report = judged(&in_part.export(3, Selection::all()));
    assert_eq!((report.overall, report.complete, report.fault), (Overall::Incomplete, false, None));
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
        assert_eq!(verify(path, &own(&bag)).unwrap().overall, Overall::Intact);
    }
}

#[test]
fn whose_record_it_is_takes_a_key_of_the_readers() {
    let log = Log::new(10);
    let other = LogKey::generate("test.example/log").unwrap();
    let bag = log.export(0, Selection::all());
    for (key, unmet) in [(None, "no key of the log was given"), (Some(other.verifier()), "another log")] {
        let report = verify_bag(&bag, &Trust { key, ..Trust::default() });
        assert_eq!((report.overall, &report.fault, report.key_was_trusted), (Overall::NotProved, &None, false));
        assert!(report.unmet.len() == 1 && report.unmet[0].contains(unmet), "{:?}", report.unmet);
    }
    // A bundle that somebody else signs with a key of their own for the same records.
    let forged = Log { key: other, ..Log::new(10) };
    assert_eq!(judged(&forged.export(0, Selection::all())).fault.unwrap().file, "data/statement.dsse.json");
}

/// The bytes of a `.tar.gz` with these entries, each `bag/NAME`, a directory where it has no bytes, and what follows them.
fn packed(entries: &[(&str, Option<&[u8]>)], end: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (name, bytes) in entries {
        let mut header = [0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        let size = format!("{:011o}", bytes.map_or(0, <[u8]>::len));
        header[124..135].copy_from_slice(size.as_bytes());
        header[148..156].fill(b' ');
        header[156] = if bytes.is_some() { b'0' } else { b'5' };
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        tar.extend_from_slice(&header);
        if let Some(bytes) = bytes {
            tar.extend_from_slice(bytes);
            tar.resize(tar.len().next_multiple_of(512), 0);
        }
    }
    tar.extend_from_slice(end);
    gzip(&tar)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn an_archive_is_the_same_to_every_program() {
    let end = [0; 1024];
    let file = ("bag/data/x", Some(b"content".as_slice()));
    let plain = packed(&[("bag/", None), ("bag/data/", None), file], &end);
    assert_eq!(Bag::from_tar_gz(&plain).unwrap().get("data/x"), Some(b"content".as_slice()));
    assert!(Bag::from_tar_gz(&packed(&[file], &[0; 10_240])).is_ok(), "tar fills up to ten KiB");
    // One block of zeros, and another file behind it: `tar --ignore-zeros` and others read on.
    let hidden: Vec<u8> = {
        let mut unpacked = Vec::new();
        let more = packed(&[("bag/data/y", Some(b"more"))], &end);
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(more.as_slice()), &mut unpacked).unwrap();
        unpacked
    };
    for end in [[vec![0; 512], hidden.clone()].concat(), [vec![0; 1024], hidden].concat(), vec![0; 512], Vec::new()] {
        assert!(Bag::from_tar_gz(&packed(&[file], &end)).is_err(), "{}", end.len());
    }
    for behind in [gzip(b"more"), b"x".to_vec()] {
        assert!(Bag::from_tar_gz(&[plain.clone(), behind].concat()).is_err(), "a second member, or what is none");
    }
    for directory in ["bag/../../etc", "other/", "bag/data/empty/", "bag/.x/", "bag/data/x/", "bag/data/x", "..", "/"] {
        assert!(Bag::from_tar_gz(&packed(&[file, (directory, None)], &end)).is_err(), "{directory}");
    }
}

#[test]
fn each_file_is_bounded_before_it_is_read() {
    let long = vec![0; 2048];
    let refused = Bag::from_tar_gz(&packed(&[("bag/data/records/1.leaf", Some(&long))], &[0; 1024])).unwrap_err();
    assert!(matches!(refused, BagError::FileTooLarge(ref name) if name.ends_with("1.leaf")), "{refused}");
    // A header that promises more than there can be costs nothing.
    let mut bag = Bag::default();
    assert!(matches!(bag.put("data/records/1.leaf", long.clone()), Err(BagError::FileTooLarge(_))));
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("data")).unwrap();
    let file = std::fs::File::create(dir.path().join("data/index.html")).unwrap();
    file.set_len(watchkeeper_evidence::FILE_BYTES_MAX + 1).unwrap();
    assert!(matches!(Bag::read(dir.path()), Err(BagError::FileTooLarge(_))));
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
    let claimed = &report.witnesses_claimed;
    let names: Vec<&str> = claimed.iter().map(|by| by.name.as_str()).collect();
    assert!(names == ["w1.example", "w2.example"] && claimed[0].time == "2023-11-14T22:15:23Z", "{claimed:?}");
    assert!(report.witnesses.is_empty(), "nobody whom the reader trusts named them");

    let policy = |text: &str| Some(Policy::parse(text.as_bytes()).unwrap());
    let roots = |pem: &[u8]| Some(TsaRoots::from_pem(pem).unwrap());
    let own = log.cosigned.as_ref().unwrap().1.clone();
    let trust = Trust { key: Some(log.key.verifier()), policy: policy(&own), tsa_roots: roots(&root) };
    let report = verify_bag(&bag, &trust);
    assert!(
        report.overall == Overall::Intact && report.timestamps[0].verified && report.witnesses.len() == 2,
        "{:?} {:?}",
        report.fault,
        report.unmet
    );

    let stranger = SigningKey::generate(Algorithm::MlDsa44, "w9.example").unwrap();
    let asks = policy(&format!("witness w9 {}\nquorum w9\n", stranger.verifier()));
    // What is asked for and not there is not proved, and nobody tampered with anything.
    let unmet = |bag: &Bag, trust: &Trust, demand: &str| {
        let report = verify_bag(bag, trust);
        assert_eq!((report.overall, &report.fault), (Overall::NotProved, &None), "{demand}");
        assert!(report.unmet.len() == 1 && report.unmet[0].contains(demand), "{demand}: {:?}", report.unmet);
    };
    unmet(&bag, &Trust { policy: asks.clone(), ..trust.clone() }, "witnessed as the policy");
    let another = Log::new(10).stamp(&[]);
    unmet(&bag, &Trust { tsa_roots: roots(&another), ..trust.clone() }, "data/timestamps/40.tsr");
    let none = Log::new(10);
    let trust = Trust { key: Some(none.key.verifier()), policy: None, ..trust };
    let bare = none.export(3, Selection::all());
    unmet(&bare, &trust, "no time stamp");
    unmet(&bare, &Trust { policy: asks, tsa_roots: None, ..trust }, "witnessed as the policy");

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
