//! Judging a bundle, offline, with nothing but its files and what the reader trusts.

use std::collections::BTreeMap;
use std::path::Path;

use event::Kind;
use ledger::{
    Checkpoint, Disclosure, Erasures, KeyChain, LEAF_BYTES, Membership, Policy, SignedNote, TlogProof, Tombstone, Verdict,
    Verified, VerifierKey,
};
use serde::Serialize;

use crate::bag::{Bag, BagError, INFO};
use crate::export::{CERTIFICATE, CHECKPOINT, CUSTODY, INDEX, KEYS, POLICY, RECORDS, STATEMENT, TIMESTAMPS, TOMBSTONES, VKEY};
use crate::page::rfc3339;
use crate::statement::{self, Predicate};

/// Longest line that shows an item of a tombstone: a path, and 64 hashes.
const MEMBER_BYTES_MAX: usize = 16 * 1024;

/// What the reader trusts. Without a key the bundle is judged by the key that it brings itself: then it proves that it is whole and
/// by whoever holds that key, and not by whom.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// A key of the log, from somewhere else than the bundle.
    pub key: Option<VerifierKey>,
    /// Who must have signed and cosigned the checkpoint.
    pub policy: Option<Policy>,
}

/// All of it in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Overall {
    /// All that is shown is what was recorded, and nothing is missing without a reason.
    Intact,
    /// All that is shown is what was recorded; something is missing and no tombstone says why, or the selection is not complete.
    Incomplete,
    /// Something is not what it should be: [`Report::fault`].
    Tampered,
}

/// The first thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file.
    pub file: String,
    /// What is wrong with it.
    pub what: String,
}

/// What verification says of a bundle. After a fault only what was judged before it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// All of it in one word.
    pub overall: Overall,
    /// The first thing that is wrong.
    pub fault: Option<Fault>,
    /// The log's first key, which names it in every leaf.
    pub log: Option<String>,
    /// Whether the log's key is one that the reader brought.
    pub key_was_trusted: bool,
    /// The size of the tree that the proofs are for.
    pub tree_size: Option<u64>,
    /// The names of the witnesses, of the reader's policy or the bundle's, that cosigned the checkpoint.
    pub witnesses: Vec<String>,
    /// How many timestamps lie in the bundle. They are bound by the statement; this does not judge them.
    pub timestamps: usize,
    /// What the signed statement says.
    pub statement: Option<Predicate>,
    /// Whether the bundle has every record of its selection, by the word of who signed.
    pub complete: bool,
    /// The records.
    pub records: Vec<RecordReport>,
    /// The records of custody.
    pub custody: Vec<RecordReport>,
}

/// What verification says of one record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordReport {
    /// Its place in the log.
    pub seq: u64,
    /// When the event began, RFC 3339.
    pub time: String,
    /// What kind of event it is.
    pub kind: String,
    /// Each part, by its path where it is shown and else by its name in the format, with its verdict.
    pub parts: Vec<(String, Verdict)>,
}

/// Verifies a bundle: a directory or a `.tar.gz`.
///
/// # Errors
///
/// What could not be read at all, or holds what a bundle never does (links, names that lead elsewhere, more than its bounds).
pub fn verify(path: &Path, trust: &Trust) -> Result<Report, BagError> {
    Ok(verify_bag(&Bag::read(path)?, trust))
}

/// Verifies a bundle that was read.
#[must_use]
pub fn verify_bag(bag: &Bag, trust: &Trust) -> Report {
    let mut report = Report {
        overall: Overall::Tampered,
        fault: None,
        log: None,
        key_was_trusted: false,
        tree_size: None,
        witnesses: Vec::new(),
        timestamps: 0,
        statement: None,
        complete: false,
        records: Vec::new(),
        custody: Vec::new(),
    };
    match report.judge(bag, trust) {
        Ok(()) => {
            let parts = report.records.iter().chain(&report.custody).flat_map(|record| &record.parts);
            let unknown = parts.into_iter().any(|(_, verdict)| *verdict == Verdict::Unknown);
            report.overall = if unknown || !report.complete { Overall::Incomplete } else { Overall::Intact };
        }
        Err(fault) => report.fault = Some(fault),
    }
    report
}

/// The log's side of a bundle, once it is believed.
struct Log {
    chain: KeyChain,
    checkpoint: Checkpoint,
    note: SignedNote,
}

fn fault(file: &str, what: impl std::fmt::Display) -> Fault {
    Fault { file: file.to_owned(), what: what.to_string() }
}

fn need<'b>(bag: &'b Bag, name: &str) -> Result<&'b [u8], Fault> {
    bag.get(name).ok_or_else(|| fault(name, "is missing"))
}

impl Report {
    fn judge(&mut self, bag: &Bag, trust: &Trust) -> Result<(), Fault> {
        bag.check().map_err(|(file, what)| fault(&file, what))?;
        let log = self.judge_log(bag, trust)?;
        let is_subject = |name: &str| name == INFO || name == "bagit.txt" || (name.starts_with("data/") && name != STATEMENT);
        let statement = statement::open(need(bag, STATEMENT)?, &log.chain, log.checkpoint.size, bag, is_subject)
            .map_err(|error| fault(STATEMENT, error))?;
        let groups = Groups::of(bag)?;
        self.timestamps = groups.timestamps;
        let log_id = log.chain.first().log_id();

        let mut erasures = Erasures::default();
        for (&seq, files) in &groups.tombstones {
            let (shown, verified) = judge_record(bag, &log, TOMBSTONES, seq, files, &Erasures::default())?;
            let name = format!("{TOMBSTONES}{seq}.json");
            let tombstone = Tombstone::of(&shown, &verified).map_err(|error| fault(&name, error))?;
            let name = format!("{TOMBSTONES}{seq}.members.jsonl");
            for line in need(bag, &name)?.split_inclusive(|byte| *byte == b'\n') {
                let member = if line.len() <= MEMBER_BYTES_MAX { serde_json::from_slice::<Membership>(line).ok() } else { None };
                let member = member.ok_or_else(|| fault(&name, "has a line that shows no item of a list"))?;
                erasures.add(seq, &tombstone, &member).map_err(|error| fault(&name, error))?;
            }
        }
        for (&seq, files) in &groups.records {
            let (shown, verified) = judge_record(bag, &log, RECORDS, seq, files, &erasures)?;
            self.records.push(RecordReport::of(&shown, &verified));
        }
        for (&seq, files) in &groups.custody {
            let (shown, verified) = judge_record(bag, &log, CUSTODY, seq, files, &erasures)?;
            self.custody.push(RecordReport::of(&shown, &verified));
        }
        let counts = [groups.records.len(), groups.custody.len(), groups.tombstones.len()].map(|count| count as u64);
        let range = (groups.records.keys().next().copied(), groups.records.keys().next_back().copied());
        let said = [statement.records, statement.custody, statement.tombstones];
        let names_log = statement.origin == log.chain.origin()
            && statement.log_id == crate::bag::hex(&log_id)
            && statement.tree_size == log.checkpoint.size;
        if counts != said
            || range != (statement.first, statement.last)
            || !names_log
            || statement.records > statement.records_selected
        {
            return Err(fault(STATEMENT, "says other numbers of records, or another log, than the bundle has"));
        }
        self.complete = statement.records == statement.records_selected;
        self.statement = Some(statement);
        Ok(())
    }

    fn judge_log(&mut self, bag: &Bag, trust: &Trust) -> Result<Log, Fault> {
        let chain = KeyChain::parse(need(bag, VKEY)?, bag.get(KEYS)).map_err(|error| fault(VKEY, error))?;
        self.log = Some(chain.first().to_string());
        if let Some(key) = &trust.key {
            if !chain.contains(key) {
                return Err(fault(
                    VKEY,
                    format_args!("the log has other keys than the one trusted, {} {:08x}", key.name(), key.id()),
                ));
            }
            self.key_was_trusted = true;
        }
        let note_bytes = need(bag, CHECKPOINT)?;
        let checkpoint = chain.open(note_bytes).map_err(|error| fault(CHECKPOINT, error))?;
        let note = SignedNote::parse(note_bytes).map_err(|error| fault(CHECKPOINT, error))?;
        self.tree_size = Some(checkpoint.size);
        if let Some(policy) = bag.get(POLICY) {
            let policy = Policy::parse(policy).map_err(|error| fault(POLICY, error))?;
            let witnessed = policy.check_witnesses(&note).map_err(|error| fault(CHECKPOINT, error))?;
            self.witnesses = witnessed.witnesses.iter().map(|(key, _)| key.name().to_owned()).collect();
        }
        if let Some(policy) = &trust.policy {
            let witnessed = policy.check(&note).map_err(|error| fault(CHECKPOINT, error))?;
            self.witnesses = witnessed.witnesses.iter().map(|(key, _)| key.name().to_owned()).collect();
        }
        Ok(Log { chain, checkpoint, note })
    }
}

/// The suffixes of the files of one record that are there.
type Suffixes = Vec<String>;

/// The records of a bundle by what they are for; every file of it is one that belongs there.
#[derive(Default)]
struct Groups {
    records: BTreeMap<u64, Suffixes>,
    custody: BTreeMap<u64, Suffixes>,
    tombstones: BTreeMap<u64, Suffixes>,
    timestamps: usize,
}

impl Groups {
    fn of(bag: &Bag) -> Result<Self, Fault> {
        let mut groups = Self::default();
        for (name, _) in bag.files() {
            let stranger = || fault(name, "does not belong into a bundle");
            let known = [VKEY, KEYS, CHECKPOINT, POLICY, STATEMENT, INDEX, CERTIFICATE];
            if known.contains(&name) || !name.starts_with("data/") {
                // What stands beside `data/` is listed in the tag manifest: which of it belongs there is known, too.
                let tags = ["bagit.txt", INFO, "manifest-sha256.txt", "tagmanifest-sha256.txt"];
                if !name.starts_with("data/") && !tags.contains(&name) {
                    return Err(stranger());
                }
                continue;
            }
            if name.strip_prefix(TIMESTAMPS).is_some_and(|name| name.ends_with(".tsr")) {
                groups.timestamps += 1;
                continue;
            }
            let below = [(RECORDS, &mut groups.records), (CUSTODY, &mut groups.custody), (TOMBSTONES, &mut groups.tombstones)];
            let found = below.into_iter().find_map(|(prefix, group)| Some((prefix, name.strip_prefix(prefix)?, group)));
            let (prefix, rest, group) = found.ok_or_else(stranger)?;
            let (seq, suffix) = rest.split_once('.').ok_or_else(stranger)?;
            let number: u64 = seq.parse().map_err(|_| stranger())?;
            let is_known =
                matches!(suffix, "json" | "leaf" | "tlog-proof") || (prefix == TOMBSTONES && suffix == "members.jsonl");
            if number.to_string() != seq || !is_known {
                return Err(stranger());
            }
            group.entry(number).or_default().push(suffix.to_owned());
        }
        Ok(groups)
    }
}

/// One record: its leaf is in the log, and all that is shown of it is what the leaf holds.
fn judge_record(
    bag: &Bag,
    log: &Log,
    below: &str,
    seq: u64,
    suffixes: &Suffixes,
    erasures: &Erasures,
) -> Result<(Disclosure, Verified), Fault> {
    let name = |suffix: &str| format!("{below}{seq}.{suffix}");
    for suffix in ["json", "leaf", "tlog-proof"] {
        if !suffixes.iter().any(|there| there == suffix) {
            return Err(fault(&name(suffix), "is missing"));
        }
    }
    let json = name("json");
    let shown = Disclosure::parse(need(bag, &json)?).map_err(|error| fault(&json, error))?;
    let verified = shown.verify(log.chain.first().log_id(), erasures).map_err(|error| fault(&json, error))?;
    let leaf: Result<&[u8; LEAF_BYTES], _> = need(bag, &name("leaf"))?.try_into();
    if leaf.ok() != Some(shown.leaf_bytes()) {
        return Err(fault(&name("leaf"), "is not the leaf of the record beside it"));
    }
    let file = name("tlog-proof");
    let proof = TlogProof::parse(need(bag, &file)?).map_err(|error| fault(&file, error))?;
    // One checkpoint for all of them, whose signatures are verified once.
    if *proof.checkpoint() != log.note {
        return Err(fault(&file, "is for another checkpoint than the bundle's"));
    }
    let Checkpoint { size, root, .. } = &log.checkpoint;
    ledger::proof::verify_inclusion(&verified.leaf_hash, proof.index(), *size, proof.path(), root)
        .map_err(|error| fault(&file, error))?;
    if proof.index() != seq || verified.leaf.seq != seq {
        return Err(fault(&file, "is the proof of another place in the log"));
    }
    if let Some((part, _)) = named(&shown, &verified).into_iter().find(|(_, verdict)| *verdict == Verdict::Tampered) {
        return Err(fault(&json, format_args!("{part} is not what was recorded")));
    }
    Ok((shown, verified))
}

impl RecordReport {
    fn of(shown: &Disclosure, verified: &Verified) -> Self {
        let kind = Kind::ALL.into_iter().find(|kind| kind.code() == verified.leaf.kind);
        Self {
            seq: verified.leaf.seq,
            time: rfc3339(verified.leaf.time),
            kind: kind.map_or_else(|| verified.leaf.kind.to_string(), |kind| kind.as_str().to_owned()),
            parts: named(shown, verified),
        }
    }
}

fn named(shown: &Disclosure, verified: &Verified) -> Vec<(String, Verdict)> {
    let paths: BTreeMap<u32, &str> = shown.fields().iter().map(|field| (field.index, field.path.as_str())).collect();
    let mut parts: Vec<(String, Verdict)> = (0_u32..)
        .zip(&verified.fields)
        .map(|(index, verdict)| (paths.get(&index).map_or_else(|| format!("field/{index}"), |path| (*path).to_owned()), *verdict))
        .collect();
    for content in &verified.contents {
        let name = format!("content/{}", content.id);
        parts.extend(content.spans.iter().enumerate().map(|(index, verdict)| (format!("{name}/span/{index}"), *verdict)));
        parts.push((name, content.verdict));
    }
    parts
}
