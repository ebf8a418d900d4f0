use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::config::Seal;
use crate::node::{Node, NodeSettings};
use crate::root_key::{RootKeyPlace, open_keyring};

fn root(dir: &Path) -> RootKeyPlace {
    RootKeyPlace::new(Some(&dir.join("root.key"))).unwrap()
}

fn node(dir: &Path) -> Node {
    let settings = NodeSettings { seal: Seal { interval_ms: 10 }, ..NodeSettings::default() };
    Node::open(&dir.join("data"), &root(dir), &settings).unwrap()
}

fn note(node: &Node) {
    node.note_read(&asker(), "read", "something").unwrap();
    assert!(node.flush(std::time::Duration::from_secs(60)));
}

/// A directory whose server has sealed something.
fn begun() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path());
    note(&node);
    node.close().unwrap();
    dir
}

fn copy(from: &Path, to: &Path) {
    assert!(std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

/// What is in the keyring, by name of the secret.
fn secret(dir: &Path, name: &str) -> Option<LogKey> {
    let data = DataDir::existing(&dir.join("data")).unwrap();
    named(&crate::read_keyring(&data, &root(dir)).unwrap(), name).unwrap()
}

fn infos(dir: &Path) -> Vec<LogKeyInfo> {
    let data = DataDir::existing(&dir.join("data")).unwrap();
    log_keys(&data, Some(&crate::read_keyring(&data, &root(dir)).unwrap())).unwrap()
}

fn events(node: &Node, name: &str) -> usize {
    let sql = format!("SELECT count(*) AS n FROM events WHERE name = '{name}'");
    assert!(node.flush(std::time::Duration::from_secs(60)));
    let table = node.reader().unwrap().sql(&sql, &store::QueryLimits::default()).unwrap();
    match table.rows[0][0] {
        store::Cell::Int(count) => usize::try_from(count).unwrap(),
        ref other => panic!("{other:?}"),
    }
}

fn verified(dir: &Path) {
    let data = DataDir::existing(&dir.join("data")).unwrap();
    let keyring = crate::read_keyring(&data, &root(dir)).unwrap();
    let depth = crate::lifecycle::verify::Depth::Records;
    let verified = crate::lifecycle::verify::verify(data.path(), &ledger::Trust::default(), Some(&keyring), depth, None).unwrap();
    assert!(verified.report.fault.is_none(), "{:?}", verified.report.fault);
}

/// Moves what is recorded to the archive.
fn archive(node: &Node) {
    assert!(node.flush(std::time::Duration::from_secs(60)));
    let mut archiver = node.lifecycle().archiver.lock().unwrap();
    let end = archiver.journal.rotate().unwrap();
    assert!(archiver.archive(end, event::Timestamp::now()).unwrap());
}

fn asker() -> Asker {
    Asker::of_process()
}

/// Copies the directory between all steps of a rotation: what a process leaves that ends there.
#[test]
fn a_rotation_that_ends_anywhere_leaves_a_directory_that_starts_and_verifies_and_can_be_rotated() {
    for overlap in [0, 3] {
        let dir = begun();
        // An archive, whose manifest is signed, too.
        let archived = node(dir.path());
        archive(&archived);
        archived.close().unwrap();
        let copies = tempfile::tempdir().unwrap();
        let mut steps = Vec::new();
        {
            let data = DataDir::create(&dir.path().join("data")).unwrap();
            let (keyring, _) = open_keyring(&data, &root(dir.path())).unwrap();
            let key = settle(&data, &keyring).unwrap();
            let cold = Cold::open(crate::lifecycle::cold::EVIDENCE, &data, &keyring, &key, None).unwrap();
            let mut ledger = Ledger::open(data.path(), key).unwrap();
            let mut take = |step: &str| {
                let at = copies.path().join(steps.len().to_string());
                std::fs::create_dir(&at).unwrap();
                copy(&dir.path().join("data"), &at);
                copy(&dir.path().join("root.key"), &at);
                steps.push(step.to_owned());
            };
            take("nothing is done");
            rotate(&keyring, &mut ledger, &[std::sync::Arc::new(cold)], overlap, &mut take).unwrap();
            take("nothing is recorded");
        }
        assert_eq!(steps.len(), 6, "{steps:?}");
        for (number, step) in steps.iter().enumerate() {
            let at = copies.path().join(number.to_string());
            verified(&at);
            let stands = number >= 2;
            let node = node(&at);
            assert_eq!(events(&node, "log_key.rotate"), usize::from(stands), "{step}");
            note(&node);
            assert_eq!(infos(&at).len(), 1 + usize::from(stands), "{step}");
            assert!(secret(&at, NEXT).is_none(), "{step}");
            if !stands {
                node.rotate_log_keys(&asker(), overlap).unwrap();
            }
            for _ in 0..4 {
                note(&node);
            }
            let pairs = infos(&at);
            assert_eq!(
                pairs.iter().map(|pair| (pair.state, pair.held)).collect::<Vec<_>>(),
                [("retired", Some(false)), ("signs", Some(true))]
            );
            assert_eq!(events(&node, "log_key.rotate"), 1, "{step}");
            assert_eq!(events(&node, "log_key.retire"), usize::from(overlap > 0 || number == 2), "{step}");
            node.close().unwrap();
            verified(&at);
            // And again, with the pair that the rotation made.
            let node = self::node(&at);
            assert_eq!(node.rotate_log_keys(&asker(), 0).unwrap().number, 2);
            note(&node);
            node.close().unwrap();
            verified(&at);
        }
    }
}

#[test]
fn a_rotation_before_the_overlap_is_over_is_refused_and_changes_nothing() {
    let dir = begun();
    let node = node(dir.path());
    node.rotate_log_keys(&asker(), 1_000).unwrap();
    let before = infos(dir.path());
    assert_eq!(before.iter().map(|pair| pair.state).collect::<Vec<_>>(), ["overlap", "signs"]);
    assert!(before.iter().all(|pair| pair.held == Some(true) && pair.vkeys.len() == 2));
    let refused = node.rotate_log_keys(&asker(), 0).unwrap_err();
    assert!(matches!(refused, LogKeyError::Ledger(LedgerError::Keys(_))), "{refused}");
    assert!(matches!(node.rotate_log_keys(&asker(), OVERLAP_RECORDS_MAX + 1), Err(LogKeyError::Overlap)));
    assert!(secret(dir.path(), NEXT).is_none());
    note(&node);
    assert_eq!(infos(dir.path()), before);
    node.close().unwrap();
    verified(dir.path());
}

#[test]
fn rotations_that_were_cut_off_the_ledger_are_missed() {
    let dir = begun();
    let node = node(dir.path());
    node.rotate_log_keys(&asker(), 5).unwrap();
    node.close().unwrap();
    std::fs::remove_file(dir.path().join("data/ledger/keys")).unwrap();
    let error = Node::open(&dir.path().join("data"), &root(dir.path()), &NodeSettings::default()).err().unwrap().to_string();
    assert!(error.contains("ledger/keys") && error.contains("1 were made"), "{error}");
}

#[test]
fn a_manifest_that_a_retired_key_signed_is_not_believed() {
    let dir = begun();
    let opened = node(dir.path());
    archive(&opened);
    opened.close().unwrap();
    let old = secret(dir.path(), LOG_KEY).unwrap();
    let opened = node(dir.path());
    opened.rotate_log_keys(&asker(), 0).unwrap();
    note(&opened);
    opened.close().unwrap();
    let at = dir.path().join("data/archive");
    let data = DataDir::existing(&dir.path().join("data")).unwrap();
    let believed = || crate::lifecycle::cold::archive_of(&data, None, None).map(|view| view.unwrap().pin().generation);
    assert_eq!(believed().unwrap(), 2);
    // As a thief of the retired key would go on: from the manifest as it is.
    let (keyring, _) = open_keyring(&data, &root(dir.path())).unwrap();
    let objects = Arc::new(archive::DirObjects::open(&at.join("objects"), false).unwrap());
    let keys = Arc::new(crate::lifecycle::cold::KeyringSegmentKeys(keys::DataKeys::new(keyring, keys::Purpose::Segment)));
    let known = [old.verifiers(), key_chain(&data).unwrap().unwrap().newest().to_vec()].concat();
    let purpose = archive::Purpose::Evidence;
    archive::Archive::open(&at, purpose, objects, keys, Arc::new(old), &known, None).unwrap();
    let error = believed().unwrap_err().to_string();
    assert!(error.contains("generation 3"), "{error}");
}
