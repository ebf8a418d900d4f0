//! SIGKILL in the middle of a load, many times over one data directory: what was acknowledged is there, once.
//!
//! The child is this test binary itself, and says on its standard output what was acknowledged.

#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use event::{Event, EventId, Key, Kind, Source, SourcePath, Timestamp};
use sanitize::Clean;
use watchkeeper_journal::{Append, DerivedKeys, FrameKeys, Journal, Options, Reader, Seq, check};

const DIR: &str = "WATCHKEEPER_JOURNAL_KILL_DIR";
const RUN: &str = "WATCHKEEPER_JOURNAL_KILL_RUN";
const RUNS: u64 = 20;
const THREADS: u64 = 4;

fn options() -> Options {
    Options { segment_bytes: 1024 * 1024, ..Options::default() }
}

/// Parent and child know the same keys.
fn keys() -> Arc<dyn FrameKeys> {
    Arc::new(DerivedKeys::new(&[7; 32]))
}

fn append(n: u64) -> Append {
    let mut digest = [0xee; 32];
    digest[..8].copy_from_slice(&n.to_be_bytes());
    let id = EventId::derived(Timestamp::from_unix_ns(1_700_000_000_000_000_000), &digest);
    let filling = Clean::recorded(&"x".repeat(usize::try_from(n * 7_919 % 3_000).unwrap()));
    let mut event = Event::new(Kind::ModelCall, filling, Source::new(SourcePath::Api, Key::of("watchkeeper")));
    (event.id, event.time, event.observed) = (id, Timestamp::from_unix_ns(n), Timestamp::from_unix_ns(n));
    Append::of(&event, Vec::new()).unwrap()
}

/// Not a test: the child. Appends until it is killed, each batch after what it has seen acknowledged.
#[test]
#[ignore = "run by the test below"]
fn child() {
    let (Ok(dir), Ok(run)) = (std::env::var(DIR), std::env::var(RUN)) else { return };
    let run: u64 = run.parse().unwrap();
    let (journal, _) = Journal::open(dir.as_ref(), options(), keys()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let journal = &journal;
            scope.spawn(move || {
                for round in 0.. {
                    let first = (run << 40) | (thread << 32) | (round * 8);
                    let answers = journal.append((first..first + 8).map(append).collect()).unwrap().wait().unwrap();
                    let line: String = (first..first + 8).zip(answers).map(|(n, at)| format!("ack {n} {}\n", at.seq.0)).collect();
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            });
        }
    });
}

#[test]
fn what_was_acknowledged_survives_sigkill_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: BTreeMap<u64, u64> = BTreeMap::new();
    for run in 0..RUNS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture", "--test-threads", "1"])
            .env(DIR, dir.path())
            .env(RUN, run.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        // Killed after a number of acknowledgements that differs from run to run, so at another moment each time.
        let kill_after = 200 + run * 397 % 3_000;
        let (mut seen, mut line) = (0, String::new());
        while lines.read_line(&mut line).unwrap() > 0 {
            let complete = line.ends_with('\n');
            let parts: Vec<_> = line.split_whitespace().rev().collect();
            if let ([seq, n, ack], true) = (parts.get(..3).unwrap_or_default(), complete)
                && ack.ends_with("ack")
            {
                acknowledged.insert(n.parse().unwrap(), seq.parse().unwrap());
                seen += 1;
                if seen == kill_after {
                    child.kill().unwrap();
                }
            }
            line.clear();
        }
        assert!(!child.wait().unwrap().success());
        assert!(seen >= kill_after, "the child ended by itself");

        let checked = check(dir.path(), Some(&*keys()), |_| {}).unwrap_or_else(|fault| panic!("run {run}: {fault}"));
        assert!(!checked.closed);
        let mut places: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        let mut reader = Reader::offline(dir.path(), keys(), Seq(0)).unwrap();
        while let Some(record) = reader.next().unwrap() {
            assert_eq!(places.insert(record.event_json, record.seq.0), None, "run {run}: recorded twice");
        }
        for (n, seq) in &acknowledged {
            assert_eq!(places.get(append(*n).event_json()), Some(seq), "run {run}: event {n} is lost or has moved");
        }
    }

    // What was acknowledged before all the kills is still recognised.
    let (journal, recovery) = Journal::open(dir.path(), options(), keys()).unwrap();
    let (n, seq) = acknowledged.first_key_value().unwrap();
    let answer = journal.append(vec![append(*n)]).unwrap().wait().unwrap();
    assert_eq!((answer[0].seq.0, answer[0].duplicate), (*seq, true));
    assert!(recovery.records() >= acknowledged.len() as u64);
}
