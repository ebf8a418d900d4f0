//! A record as an attacker has it before them, with all that they may have collected beside it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use event::Timestamp;
use journal::{Append, DerivedKeys, FrameKeys, Journal, Options, Seq};
use ledger::{Ledger, LogKey, Trust, VerifierKey};
use server::{DataDir, pin};

use super::Target;
use super::files::{Files, collect, copy, with_change};
use super::log::{again, call};
use super::mutations::{changes, part_of};
use crate::faults::{CONFIG, Trail};
use crate::support::{Server, watchkeeper};

/// The parts of a data directory that are evidence, and what is needed to read them.
const PARTS: [&str; 4] = ["format", "journal", "keys", "ledger"];

/// Small files of the journal, so that there are several.
const SEGMENT_BYTES: u64 = 128 * 1024;

/// Records of the library's specimen: two full tiles and a partial one.
const RECORDS: u64 = 540;

/// The secret of the journal's keys in the library's specimens.
const JOURNAL_SECRET: [u8; 32] = [9; 32];

/// Where the pin lies.
pub(super) const PIN: &str = "keys/log.checkpoint";

/// A specimen and what belongs to it.
pub(super) struct World {
    dir: PathBuf,
    /// The specimen.
    pub(super) now: Files,
    /// What it was before, oldest first.
    pub(super) older: Vec<Files>,
    /// Another history that goes on from an older state, signed with the keys that the log has now.
    pub(super) fork: Files,
    /// Another history that goes on from before the keys were changed, signed with the retired keys.
    pub(super) retired: Option<Files>,
    /// The specimen's published checkpoint, signed with the retired key alone.
    pub(super) retired_signature: Option<Vec<u8>>,
    /// A log with other keys.
    pub(super) other: Files,
    /// A checkpoint that somebody kept elsewhere.
    kept: PathBuf,
    how: How,
}

enum How {
    Library { keys: Vec<VerifierKey>, journal: Arc<dyn FrameKeys> },
    Binary { keys: PathBuf },
}

impl World {
    /// Made and verified by the library, with keys at hand: so quick that thousands of changes can be tried.
    pub(super) fn of_the_library(dir: &Path) -> Self {
        let make = |name: &str| dir.join(name);
        let origin = "example.com/specimen";
        let old_key = LogKey::generate(origin).unwrap();
        let mut new_key = again(&old_key);
        new_key.add_generation().unwrap();

        let (specimen, retired, fork, other) = (make("specimen"), make("retired"), make("fork"), make("other"));
        let mut state = State::open(&specimen, again(&old_key), "ours");
        state.go_on(&[40, 90, 130]);
        drop(state);
        let first = read(&specimen);
        copy(&specimen, &retired);
        State::open(&retired, again(&old_key), "retired").go_on(&[150, 220, RECORDS]);

        let mut ledger = Ledger::open(&specimen, again(&old_key)).unwrap();
        ledger.rotate(again(&new_key), 20).unwrap();
        drop(ledger);
        let mut state = State::open(&specimen, again(&new_key), "ours");
        state.go_on(&[170, 256, 300]);
        drop(state);
        let second = read(&specimen);
        copy(&specimen, &fork);
        State::open(&fork, again(&new_key), "fork").go_on(&[330, 400, RECORDS]);
        State::open(&specimen, again(&new_key), "ours").go_on(&[360, 480, RECORDS]);
        State::open(&other, LogKey::generate("example.com/other").unwrap(), "other").go_on(&[100, RECORDS]);

        let now = read(&specimen);
        let kept = dir.join("kept");
        std::fs::write(&kept, &now["ledger/checkpoint"]).unwrap();
        let text = String::from_utf8(now["ledger/checkpoint"].clone()).unwrap();
        let text = format!("{}\n", text.split_once("\n\n").unwrap().0);
        let retired_signature = old_key.sign(&text).unwrap().encode().into_bytes();
        Self {
            dir: specimen,
            older: vec![first, second],
            fork: read(&fork),
            retired: Some(read(&retired)),
            retired_signature: Some(retired_signature),
            other: read(&other),
            kept,
            how: How::Library { keys: old_key.verifiers(), journal: Arc::new(DerivedKeys::new(&JOURNAL_SECRET)) },
            now,
        }
    }

    /// Made by the running server and verified by the command line.
    pub(super) fn of_the_binary(dir: &Path) -> Self {
        let (specimen, fork, other) = (dir.join("specimen/data"), dir.join("fork/data"), dir.join("other/data"));
        let mut older = Vec::new();
        for (session, batches) in [("first", 20), ("second", 40)] {
            serve(&specimen, session, batches);
            older.push(read(&specimen));
        }
        copy(&specimen, &fork);
        serve(&fork, "fork", 25);
        serve(&specimen, "third", 25);
        serve(&other, "other", 85);
        let now = read(&specimen);
        let kept = dir.join("kept");
        std::fs::write(&kept, &now["ledger/checkpoint"]).unwrap();
        let keys = dir.join("vkey");
        std::fs::write(&keys, &now["ledger/vkey"]).unwrap();
        let (fork, other) = (read(&fork), read(&other));
        Self { dir: specimen, older, fork, retired: None, retired_signature: None, other, kept, how: How::Binary { keys }, now }
    }

    /// What is to be changed.
    pub(super) fn target(&self, name: &'static str) -> Target<'_> {
        let verify = |files: &Files| with_change(&self.dir, &self.now, files, || self.verify());
        Target {
            name,
            now: &self.now,
            changes: changes(self),
            verify: Box::new(verify),
            name_of: part_of,
            is_made_anew: |_| false,
        }
    }

    fn verify(&self) -> Result<Option<String>, String> {
        match &self.how {
            How::Library { keys, journal } => {
                let trust = Trust { keys: keys.clone(), ..Trust::default() };
                let report = ledger::verify_against(&self.dir, &trust, &**journal).map_err(|error| error.to_string())?;
                match report.fault {
                    Some(fault) => Ok(Some(fault.to_string())),
                    None if !report.unmet.is_empty() => Ok(Some(report.unmet.join("; "))),
                    None => pins(&self.dir, &self.kept),
                }
            }
            How::Binary { keys } => by_the_binary(&self.dir, keys, &self.kept),
        }
    }
}

/// What the checkpoints say that are known from elsewhere.
pub(super) fn pins(dir: &Path, kept: &Path) -> Result<Option<String>, String> {
    let data = DataDir::unchecked(dir);
    let kept = std::fs::read(kept).map_err(|error| error.to_string())?;
    if !pin::holds(&data, &kept).map_err(|error| error.to_string())? {
        return Ok(Some("ledger/checkpoints: does not hold the checkpoint that was kept".to_owned()));
    }
    match pin::check(&data) {
        Ok(()) => Ok(None),
        Err(fault @ pin::PinError::Replaced(_)) => Ok(Some(fault.to_string())),
        Err(error) => Err(error.to_string()),
    }
}

/// What `watchkeeper verify` says to somebody who has the log's key and one of its checkpoints from elsewhere.
pub(super) fn by_the_binary(dir: &Path, keys: &Path, kept: &Path) -> Result<Option<String>, String> {
    said(watchkeeper().arg("verify").arg(dir).arg("--key").arg(keys).arg("--checkpoint").arg(kept))
}

/// The fault that a command found, by its exit code.
pub(super) fn said(command: &mut Command) -> Result<Option<String>, String> {
    let output = command.output().unwrap();
    match output.status.code() {
        Some(0) => Ok(None),
        Some(1 | 3) => Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned())),
        _ => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// A journal and a ledger that are being written.
struct State {
    dir: PathBuf,
    journal: Journal,
    ledger: Ledger,
    /// Says in every text whose history this is.
    name: &'static str,
}

impl State {
    fn open(dir: &Path, key: LogKey, name: &'static str) -> Self {
        let options = Options { segment_bytes: SEGMENT_BYTES, ..Options::default() };
        std::fs::create_dir_all(dir.join("keys")).unwrap();
        let (journal, _) = Journal::open(dir, options, Arc::new(DerivedKeys::new(&JOURNAL_SECRET))).unwrap();
        Self { dir: dir.to_owned(), journal, ledger: Ledger::open(dir, key).unwrap(), name }
    }

    /// Records up to each of the sizes, and seals there.
    fn go_on(&mut self, sizes: &[u64]) {
        for size in sizes {
            while self.journal.end().0 < *size {
                let from = self.journal.end().0;
                let append = |seq| {
                    let (event, contents) = call(self.name, seq);
                    Append::of(&event, contents).unwrap()
                };
                let batch = (from..(from + 7).min(*size)).map(append).collect();
                self.journal.append(batch).unwrap().wait().unwrap();
            }
            let mut reader = self.journal.reader(Seq(self.ledger.size())).unwrap();
            while self.ledger.size() < *size {
                self.ledger.append(&reader.next().unwrap().unwrap()).unwrap();
            }
            self.ledger.seal(Timestamp::from_unix_ns(1)).unwrap();
        }
        self.journal.close().unwrap();
        std::fs::copy(self.dir.join("ledger/checkpoint"), self.dir.join(PIN)).unwrap();
    }
}

/// Lets a server record and seal some batches, and stops it.
fn serve(data: &Path, session: &str, batches: u64) {
    std::fs::create_dir_all(data.parent().unwrap()).unwrap();
    let server = Server::start_with(data, CONFIG);
    let trail = Trail::new(session);
    for batch in 0..batches {
        assert_eq!(trail.send(&server, 4).status, 200);
        if batch % 10 == 9 {
            server.settle();
        }
    }
    server.stop();
}

fn read(dir: &Path) -> Files {
    let mut files = Files::new();
    for part in PARTS {
        collect(dir, &dir.join(part), &mut files);
    }
    files
}
