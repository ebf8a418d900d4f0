//! One byte changed anywhere in the record is found, named, and answered with exit code 1.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Server, chat_spans, export, verify};

/// Changes in the ordinary suite. `WATCHKEEPER_TAMPERS=2000` is the long run (`cargo xtask tamper`).
const CHANGES: u64 = 150;

#[test]
fn every_changed_byte_is_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    // More than 256 records, so that there are full tiles as well as partial ones.
    for batch in 0..12 {
        assert!(export(&server.otlp_http, &chat_spans("tamper", batch * 25, 25)));
    }
    server.settle();
    server.stop();
    let (code, text) = verify(&data);
    assert_eq!(code, 0, "{text}");

    let mut files = Vec::new();
    walk(&data.join("journal"), &mut files);
    walk(&data.join("ledger"), &mut files);
    files.retain(|file| file.file_name().is_none_or(|name| name != "lock") && fs::metadata(file).unwrap().len() > 0);
    files.sort();
    assert!(files.len() > 5, "{files:?}");

    let changes = std::env::var("WATCHKEEPER_TAMPERS").ok().and_then(|changes| changes.parse().ok()).unwrap_or(CHANGES);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for change in 0..changes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Every file has its turn: the journal is by far the largest, and the small ones matter most.
        let file = &files[change as usize % files.len()];
        let original = fs::read(file).unwrap();
        let place = (state >> 20) as usize % original.len();
        let mut changed = original.clone();
        changed[place] ^= 1 << (state >> 60 & 7);
        fs::write(file, &changed).unwrap();
        let (code, text) = verify(&data);
        fs::write(file, &original).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(code, 1, "byte {place} of {}: {text}", file.display());
        assert!(
            text.contains("TAMPERED") && (text.contains(&name) || text.contains("checkpoint") || text.contains("tile")),
            "{}: {text}",
            file.display()
        );
    }
    let (code, text) = verify(&data);
    assert_eq!(code, 0, "{text}");
    println!("{changes} changes in {} files, all found", files.len());
}

#[test]
fn a_cut_a_missing_and_a_foreign_file_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    // Two seals: with one, a missing checkpoint could be one that a crash kept from being published.
    for batch in 0..2 {
        assert!(export(&server.otlp_http, &chat_spans("tamper", batch * 25, 25)));
        server.settle();
    }
    server.stop();
    let mut files = Vec::new();
    walk(&data.join("journal"), &mut files);
    let journal = files.iter().find(|file| file.extension().is_some_and(|kind| kind == "wkj")).unwrap();

    let original = fs::read(journal).unwrap();
    fs::write(journal, &original[..original.len() / 2]).unwrap();
    assert_eq!(verify(&data).0, 1, "a cut journal");
    fs::remove_file(journal).unwrap();
    assert_eq!(verify(&data).0, 1, "a missing journal");
    fs::write(journal, &original).unwrap();

    let checkpoint = data.join("ledger/checkpoint");
    let note = fs::read(&checkpoint).unwrap();
    fs::remove_file(&checkpoint).unwrap();
    assert_eq!(verify(&data).0, 1, "a missing checkpoint");
    fs::write(&checkpoint, &note).unwrap();

    let foreign = data.join("ledger/tile/0/999");
    fs::write(&foreign, "x").unwrap();
    assert_eq!(verify(&data).0, 1, "a foreign tile");
    fs::remove_file(&foreign).unwrap();
    assert_eq!(verify(&data).0, 0);
    assert_eq!(verify(&dir.path().join("nothing")).0, 2);
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, files) } else { files.push(path) }
    }
}
