//! Drills of the record itself: what somebody does to a copy of it, and whether `verify` names it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use assure::drill::{Outcome, RECORD_DRILLS, StepOutcome, Told, Verdict, Wording};
use ledger::Trust;
use serde_json::json;
use server::lifecycle::verify::{Depth, verify};
use server::{DataDir, RootKeyPlace};

use super::target::Target;

/// Frames of the journal begin at multiples of this.
const BLOCK_BYTES: usize = 4_096;

/// Commits that are made for these drills. Each takes a block at least.
const FRAMES_MIN: usize = 16;

/// Blocks of a file in which one can be cut out, and two exchanged, behind its header and before its end.
const BLOCKS_MIN: usize = 6;

/// What is done to a file, of which so many bytes are in use.
pub(super) type Change = fn(&[u8], usize) -> Vec<u8>;

const CHANGES: [Change; 3] = [flip, cut, swap];

/// Whether a drill of the record has this name.
pub(super) fn is_drill(id: &str) -> bool {
    RECORD_DRILLS.iter().any(|(known, _)| *known == id)
}

/// The drills of the record that are asked for, with what is done in each.
pub(super) fn drills_of(asked: impl Fn(&str) -> bool) -> impl Iterator<Item = (&'static str, &'static str, Change)> {
    let every = RECORD_DRILLS.into_iter().zip(CHANGES);
    every.map(|((id, title), change)| (id, title, change)).filter(move |(id, _, _)| asked(id))
}

/// Those that are asked for of a server whose files are elsewhere.
pub(super) fn left_out(asked: impl Fn(&str) -> bool) -> Vec<Outcome> {
    let why =
        "it changes a copy of the record's files, and those of the server that is drilled are not here; drill without --server";
    drills_of(asked).map(|(id, title, _)| Outcome { why: Some(why.to_owned()), ..outcome(id, title, Verdict::LeftOut) }).collect()
}

/// Records some events one after the other: a record of a few commits has nothing to cut out or to exchange.
pub(super) async fn fill(target: &Target) -> anyhow::Result<()> {
    for number in 0..FRAMES_MIN {
        let session = format!("drill.{}.setup.record.{number}", target.run);
        let application = format!("drill.{}.setup", target.run);
        target.record(&[json!({ "kind": "agent_step", "session.id": session, "application": application })]).await?;
    }
    Ok(())
}

/// Does each to a copy of its own, and verifies it. The twin is a copy that nobody has touched.
pub(super) fn drills(dir: &Path, data: &Path, root: &RootKeyPlace, asked: impl Fn(&str) -> bool) -> anyhow::Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for (id, title, change) in drills_of(asked) {
        let copy = dir.join(id);
        copy_dir(data, &copy).with_context(|| format!("copying the record for {id}"))?;
        let untouched = fault(&copy, root)?;
        let twin = untouched.into_iter().map(|found| told(id, &found.0, found.1)).collect();
        let file = tamper(&copy, change)?;
        let found = fault(&copy, root)?;
        let is_named = found.as_ref().is_some_and(|(fault, _)| fault.contains(&file));
        let told: Vec<Told> = found.iter().map(|(fault, ms)| told(id, fault, *ms)).collect();
        let step = StepOutcome {
            step: 1,
            atlas: Vec::new(),
            expect: Vec::new(),
            rules: Vec::new(),
            is_seen: is_named,
            told: told.clone(),
        };
        let verdict = if is_named { Verdict::Caught } else { Verdict::Missed };
        outcomes.push(Outcome {
            detected_at: is_named.then_some(1),
            evidence: told.into_iter().next(),
            steps: vec![step],
            twin,
            ..outcome(id, title, verdict)
        });
        fs::remove_dir_all(&copy)?;
    }
    Ok(outcomes)
}

fn outcome(id: &str, title: &str, verdict: Verdict) -> Outcome {
    Outcome {
        scenario: id.to_owned(),
        wording: Wording::First,
        subject: "record".to_owned(),
        title: title.to_owned(),
        via: "verify".to_owned(),
        verdict,
        why: None,
        first_observable: Some(1),
        detected_at: None,
        is_as_played: None,
        evidence: None,
        steps: Vec::new(),
        twin: Vec::new(),
    }
}

/// What is wrong with a record, and how many milliseconds it took to say so.
fn fault(copy: &Path, root: &RootKeyPlace) -> anyhow::Result<Option<(String, f64)>> {
    let began = Instant::now();
    let keyring = server::read_keyring(&DataDir::unchecked(copy), root)?;
    let verified = verify(copy, &Trust::default(), Some(&keyring), Depth::Records, None)?;
    Ok(verified.report.fault.map(|fault| (fault.to_string(), began.elapsed().as_secs_f64() * 1e3)))
}

fn told(id: &str, fault: &str, ms: f64) -> Told {
    Told {
        detection: id.to_owned(),
        rule: "verify".to_owned(),
        title: fault.to_owned(),
        techniques: Vec::new(),
        severity: "critical".to_owned(),
        grade: None,
        latency_ms: Some(ms),
    }
}

/// Changes the first file of the journal, and gives its name.
fn tamper(copy: &Path, change: Change) -> anyhow::Result<String> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(copy.join("journal"))?.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "wkj"));
    files.sort();
    let file = files.first().context("the journal has no file")?;
    let bytes = fs::read(file)?;
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let blocks = used.div_ceil(BLOCK_BYTES);
    ensure!(blocks >= BLOCKS_MIN, "the first file of the journal has {blocks} blocks, and {BLOCKS_MIN} are needed");
    fs::write(file, change(&bytes, used))?;
    let name = file.file_name().context("a file without a name")?;
    Ok(name.to_string_lossy().into_owned())
}

fn flip(bytes: &[u8], used: usize) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    // A byte that says something, and not one of the zeros behind a frame.
    if let Some(byte) = changed[..used].iter_mut().skip(used / 2).find(|byte| **byte != 0) {
        *byte ^= 1;
    }
    changed
}

fn cut(bytes: &[u8], used: usize) -> Vec<u8> {
    let from = block_at(used / 2);
    [&bytes[..from], &bytes[from + BLOCK_BYTES..]].concat()
}

fn swap(bytes: &[u8], used: usize) -> Vec<u8> {
    let from = block_at(used / 3);
    let (one, other) = (from + BLOCK_BYTES, from + 2 * BLOCK_BYTES);
    [&bytes[..from], &bytes[one..other], &bytes[from..one], &bytes[other..]].concat()
}

/// Where the block of a byte begins.
fn block_at(byte: usize) -> usize {
    byte / BLOCK_BYTES * BLOCK_BYTES
}

fn copy_dir(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, to) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_dir(&entry.path(), &to)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &to)?;
        }
    }
    Ok(())
}
