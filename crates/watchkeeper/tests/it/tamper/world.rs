//! A record as an attacker has it before them, with all that they may have collected beside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::hmac;
use event::{ContentRef, Direction, Event, Key, Kind, Part, Piece, PieceMeta, Role, Source, SourcePath, SubjectId, Timestamp};
use journal::{Append, ContentEntry, DerivedKeys, FrameKeys, Journal, Options, Seq};
use ledger::{Ledger, LogKey, Trust, VerifierKey};
use sanitize::Clean;
use server::{DataDir, pin};

use crate::faults::{CONFIG, Trail};
use crate::support::{Server, watchkeeper};

/// Files by their path below the data directory.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

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
        let mut new_key = LogKey::from_text(&old_key.to_text()).unwrap();
        new_key.add_generation().unwrap();
        let again = |key: &LogKey| LogKey::from_text(&key.to_text()).unwrap();

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

    /// Whether a mutation that cannot be done here is a mistake of the suite.
    pub(super) fn must_apply(&self, name: &str) -> bool {
        self.retired.is_some() || !name.contains("retired")
    }

    /// What verification says: the fault, if there is one.
    pub(super) fn verify(&self) -> Result<Option<String>, String> {
        match &self.how {
            How::Library { keys, journal } => {
                let trust = Trust { keys: keys.clone(), ..Trust::default() };
                let report = ledger::verify_against(&self.dir, &trust, &**journal).map_err(|error| error.to_string())?;
                if let Some(fault) = report.fault {
                    return Ok(Some(fault.to_string()));
                }
                let data = DataDir::unchecked(&self.dir);
                let kept = std::fs::read(&self.kept).map_err(|error| error.to_string())?;
                if !pin::holds(&data, &kept).map_err(|error| error.to_string())? {
                    return Ok(Some("ledger/checkpoints: does not hold the checkpoint that was kept".to_owned()));
                }
                match pin::check(&data) {
                    Ok(()) => Ok(None),
                    Err(fault @ pin::PinError::Replaced) => Ok(Some(fault.to_string())),
                    Err(error) => Err(error.to_string()),
                }
            }
            How::Binary { keys } => {
                let mut verify = watchkeeper();
                let output =
                    verify.arg("verify").arg(&self.dir).arg("--key").arg(keys).arg("--checkpoint").arg(&self.kept).output();
                let output = output.unwrap();
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                match output.status.code() {
                    Some(0) => Ok(None),
                    Some(1) => Ok(Some(said)),
                    _ => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
                }
            }
        }
    }

    /// Puts a changed state in the specimen's place.
    pub(super) fn write(&self, files: &Files) {
        for (path, bytes) in files.iter().filter(|(path, bytes)| self.now.get(*path) != Some(*bytes)) {
            put(&self.dir, path, bytes);
        }
        for path in self.now.keys().filter(|path| !files.contains_key(*path)) {
            std::fs::remove_file(self.dir.join(path)).unwrap();
        }
    }

    /// Puts the specimen back.
    pub(super) fn restore(&self, touched: &[String]) {
        for path in touched {
            match self.now.get(path) {
                Some(bytes) => put(&self.dir, path, bytes),
                None => {
                    std::fs::remove_file(self.dir.join(path)).unwrap();
                    // A directory that the change has made goes, too; one that is not empty stays.
                    let mut dir = self.dir.join(path);
                    while dir.pop() && std::fs::remove_dir(&dir).is_ok() {}
                }
            }
        }
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
                let batch = (from..(from + 7).min(*size)).map(|seq| append(self.name, seq)).collect();
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

fn append(name: &str, seq: u64) -> Append {
    let subject = SubjectId::from_bytes([1; 16]).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    let content =
        ContentEntry::commit(subject, &key, Clean::recorded(&format!("What is {seq} plus {seq}, in the book of {name}?")));
    let source = Source::new(SourcePath::Api, Key::of("watchkeeper"));
    let mut event: Event<Clean, ContentRef> = Event::new(Kind::ModelCall, Clean::literal("chat"), source);
    event.time = Timestamp::from_unix_ns(1_700_000_000_000_000_000 + seq);
    event.observed = event.time;
    event.pieces.push(Piece::new(PieceMeta::new(Direction::Input, Role::User, Part::Text), content.reference()));
    Append::of(&event, vec![content]).unwrap()
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

fn collect(root: &Path, path: &Path, files: &mut Files) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            collect(root, &entry.unwrap().path(), files);
        }
    } else if path.exists() {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        files.insert(name, std::fs::read(path).unwrap());
    }
}

fn put(dir: &Path, path: &str, bytes: &[u8]) {
    let path = dir.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn copy(from: &Path, to: &Path) {
    let mut files = Files::new();
    collect(from, from, &mut files);
    files.iter().for_each(|(path, bytes)| put(to, path, bytes));
}
