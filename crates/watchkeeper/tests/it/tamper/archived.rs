//! A data directory whose record lies partly in the archive: segments, tombstones of erasures, a hold, and the rest in the journal.

use std::path::{Path, PathBuf};

use ledger::Trust;
use server::lifecycle::verify::{Depth, verify};
use server::{DataDir, RootKeyPlace, read_keyring};

use super::archives::{self, Collected, is_archive};
use super::files::{Files, any_of, collect, copy, delete_in, flip_in, replace, swap_in, with_change};
use super::world::{PIN, by_the_binary, pins};
use super::{Change, Target};
use crate::faults::{CONFIG, Rng};
use crate::lifecycle::call;
use crate::support::{Server, export, root_key, run};

/// What pins the archive's manifest.
const ARCHIVE_PIN: &str = "keys/archive.pin";

/// The lists of what was erased.
const TOMBSTONES: &str = "archive/tombstones/";

/// The parts of a data directory that are evidence, and what is needed to read them.
const PARTS: [&str; 5] = ["archive", "format", "journal", "keys", "ledger"];

/// A specimen and what belongs to it.
pub(super) struct Archived {
    dir: PathBuf,
    now: Files,
    older: Vec<Files>,
    fork: Files,
    other: Files,
    /// A checkpoint, and the log's keys, that somebody kept elsewhere.
    kept: PathBuf,
    keys: PathBuf,
    trust: Trust,
}

/// Lets a server record calls of some users, does something to it, lets it record some more, and stops it.
fn live(data: &Path, session: &str, from: u64, commands: &[&[&str]]) -> Files {
    std::fs::create_dir_all(data.parent().unwrap()).unwrap();
    let server = Server::start_with(data, CONFIG);
    let calls = |numbers: std::ops::Range<u64>| {
        for number in numbers {
            let user = ["ann.marlow@example.org", "bo", "cy.lund@example.org", "dee"][usize::try_from(number % 4).unwrap()];
            let text = format!("number {number} of {session}: ask cy.lund@example.org and ann.marlow@example.org");
            assert!(export(&server.otlp_http, &call(&format!("{session}-{}", number % 3), user, number, &text, "they know")));
        }
        server.settle();
    };
    calls(from..from + 8);
    for command in commands {
        let output = run(command, data);
        // 3: no record names the person.
        let done = matches!(output.status.code(), Some(0 | 3));
        assert!(done, "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    calls(from + 8..from + 12);
    server.stop();
    read(data)
}

fn read(data: &Path) -> Files {
    let mut files = Files::new();
    for part in PARTS {
        collect(data, &data.join(part), &mut files);
    }
    files
}

impl Archived {
    pub(super) fn new(root: &Path) -> Self {
        let (dir, forked, other) = (root.join("specimen/data"), root.join("fork/data"), root.join("other/data"));
        // An erasure of nobody archives everything.
        let archive: &[&str] = &["erase", "--subject", "nobody"];
        let erase_ann: &[&str] = &["erase", "--subject", "ann.marlow@example.org"];
        let erase_cy: &[&str] = &["erase", "--subject", "cy.lund@example.org"];
        let hold: &[&str] = &["hold", "place", "case-17", "--reason", "letter of 3 March", "--user", "bo"];
        let first = live(&dir, "first", 0, &[archive]);
        let second = live(&dir, "second", 20, &[erase_ann]);
        copy(&dir, &forked);
        let fork = live(&forked, "fork", 40, &[erase_cy]);
        // The hold last: it keeps the segments that it covers from being written anew.
        let now = live(&dir, "third", 60, &[erase_cy, hold]);
        let other = live(&other, "other", 80, &[erase_ann, erase_cy]);
        let (kept, keys) = (root.join("kept"), root.join("vkey"));
        std::fs::write(&kept, &now["ledger/checkpoint"]).unwrap();
        std::fs::write(&keys, &now["ledger/vkey"]).unwrap();
        let vkeys = String::from_utf8(now["ledger/vkey"].clone()).unwrap();
        let trust = Trust { keys: vkeys.lines().map(|key| key.parse().unwrap()).collect(), ..Trust::default() };
        Self { dir, now, older: vec![first, second], fork, other, kept, keys, trust }
    }

    /// Verified by the library.
    pub(super) fn target(&self, name: &'static str) -> Target<'_> {
        self.verified(name, || self.verify())
    }

    /// Verified by the command line.
    pub(super) fn by_the_binary(&self, name: &'static str) -> Target<'_> {
        self.verified(name, || by_the_binary(&self.dir, &self.keys, &self.kept))
    }

    fn verified<'w>(&'w self, name: &'static str, look: impl Fn() -> Result<Option<String>, String> + 'w) -> Target<'w> {
        let verify = move |files: &Files| with_change(&self.dir, &self.now, files, &look);
        let collected = Collected { now: &self.now, older: &self.older, fork: &self.fork, other: &self.other };
        let changes = archives::changes(collected).into_iter().chain(changes(self)).collect();
        Target { name, now: &self.now, changes, verify: Box::new(verify), name_of, is_made_anew: |_| false }
    }

    fn verify(&self) -> Result<Option<String>, String> {
        let root = RootKeyPlace::new(Some(&root_key())).unwrap();
        let keyring = read_keyring(&DataDir::unchecked(&self.dir), &root).map_err(|error| error.to_string())?;
        let verified = verify(&self.dir, &self.trust, Some(&keyring), Depth::Records, None).map_err(|error| error.to_string())?;
        match verified.report.fault {
            Some(fault) => Ok(Some(fault.to_string())),
            None if !verified.report.unmet.is_empty() => Ok(Some(verified.report.unmet.join("; "))),
            None => pins(&self.dir, &self.kept),
        }
    }
}

/// What must be named: objects by what they are called in the store, and of journal and ledger the part where only a file
/// beside the one that was touched can tell.
fn name_of(path: &str) -> &str {
    if is_archive(path) { archives::name_of(path) } else { super::mutations::part_of(path) }
}

fn is_evidence(path: &str) -> bool {
    (["journal/", "ledger/", TOMBSTONES].iter().any(|part| path.starts_with(part)) && path != "journal/lock")
        || is_archive(path)
        || path == PIN
        || path == ARCHIVE_PIN
}

/// The changes that only a whole data directory has.
fn changes(archived: &Archived) -> Vec<(&'static str, Change<'_>)> {
    type Make = fn(&mut Rng, &Archived, &mut Files) -> bool;
    let kinds: [(&'static str, Make); 15] = [
        ("bit flipped", |rng, _, files| flip_in(rng, files, is_evidence)),
        // Without a pin nothing is pinned: that takes the attacker no further, the record is as it was.
        ("file deleted", |rng, _, files| delete_in(rng, files, |path| is_evidence(path) && path != PIN && path != ARCHIVE_PIN)),
        ("two files swapped", |rng, _, files| swap_in(rng, files, is_evidence)),
        ("bit flipped in the archive's pin", |rng, _, files| flip_in(rng, files, |path| path == ARCHIVE_PIN)),
        ("bit flipped in a list of erased items", |rng, _, files| flip_in(rng, files, |path| path.starts_with(TOMBSTONES))),
        ("list of erased items deleted", |rng, _, files| delete_in(rng, files, |path| path.starts_with(TOMBSTONES))),
        ("lists of erased items swapped", |rng, _, files| swap_in(rng, files, |path| path.starts_with(TOMBSTONES))),
        ("list of erased items forged", forge_list),
        ("line of a list of erased items dropped, doubled or for another leaf", edit_list),
        ("archive and its pin rolled back", |rng, archived, files| {
            replace(files, &archived.older[rng.index(2)], |path| path.starts_with("archive/") || path == ARCHIVE_PIN)
        }),
        ("manifest and its pin taken away", |_, _, files| {
            files.retain(|path, _| path != "archive/manifest" && path != ARCHIVE_PIN);
            true
        }),
        ("record, archive, pins and keys rolled back", |rng, archived, files| {
            replace(files, &archived.older[rng.index(2)], |_| true)
        }),
        ("archive and its pin of a fork", |_, archived, files| {
            replace(files, &archived.fork, |path| path.starts_with("archive/") || path == ARCHIVE_PIN)
        }),
        ("fork in its place, with its keys", |_, archived, files| replace(files, &archived.fork, |_| true)),
        ("another log in its place, with its keys", |_, archived, files| replace(files, &archived.other, |_| true)),
    ];
    let change = |(name, make): (&'static str, Make)| -> (&'static str, Change<'_>) {
        (name, Box::new(move |rng: &mut Rng, files: &mut Files| make(rng, archived, files).then(Vec::new)))
    };
    kinds.into_iter().map(change).collect()
}

/// A list that no tombstone of the log commits to: of another log, or a copy of one of ours under another request.
fn forge_list(rng: &mut Rng, archived: &Archived, files: &mut Files) -> bool {
    let is_list = |path: &str| path.starts_with(TOMBSTONES);
    let (Some(theirs), Some(ours)) = (any_of(rng, &archived.other, is_list), any_of(rng, files, is_list)) else { return false };
    let (name, list) = match rng.below(3) {
        0 => (theirs.clone(), archived.other[&theirs].clone()),
        1 => (format!("{TOMBSTONES}erasure-0190a0a0-0000-7000-8000-000000000000.jsonl"), files[&ours].clone()),
        _ => (ours, archived.other[&theirs].clone()),
    };
    files.insert(name, list);
    true
}

fn edit_list(rng: &mut Rng, _: &Archived, files: &mut Files) -> bool {
    let Some(path) = any_of(rng, files, |path| path.starts_with(TOMBSTONES)) else { return false };
    let text = String::from_utf8(files[&path].clone()).unwrap();
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let (a, b) = (rng.index(lines.len()), rng.index(lines.len()));
    match rng.below(4) {
        0 => drop(lines.remove(a)),
        1 => lines.insert(b, lines[a].clone()),
        2 => lines.swap(a, b),
        // The same of another record: sorted, as it must be.
        _ => {
            let place = |line: &str| {
                let item: serde_json::Value = serde_json::from_str(line).unwrap();
                (item["leaf"].as_u64().unwrap(), item["path"].as_str().unwrap().to_owned())
            };
            let (leaf, _) = place(&lines[a]);
            lines[a] = lines[a].replacen(&format!("\"leaf\":{leaf}"), &format!("\"leaf\":{}", leaf + 1), 1);
            lines.sort_by_key(|line| place(line));
            lines.dedup();
        }
    }
    files.insert(path, lines.concat().into_bytes());
    true
}
