//! Judging a bundle, offline, with nothing but its files and what the reader trusts.

use std::collections::BTreeMap;
use std::path::Path;

use event::Kind;
use ledger::{
    Checkpoint, Disclosure, Erasures, KeyChain, KeyChainError, LEAF_BYTES, Membership, Policy, SignedNote, TlogProof, Tombstone,
    TsaRoots, Verdict, Verified, VerifierKey,
};
use serde::Serialize;

use crate::bag::{Bag, BagError, INFO};
use crate::export::{CERTIFICATE, CHECKPOINT, CUSTODY, INDEX, KEYS, POLICY, RECORDS, STATEMENT, TOMBSTONES, VKEY};
use crate::page::{rfc3339, rfc3339_of_seconds};
use crate::stamps::{self, Stamp, TIMESTAMPS};
use crate::statement::{self, Predicate};

/// Longest line that shows an item of a tombstone: a path, and 64 hashes.
const MEMBER_BYTES_MAX: usize = 16 * 1024;

/// What the reader trusts, and demands. Without a key the bundle is judged by the key that it brings itself: then it proves that it
/// is whole and by whoever holds that key, and not by whom.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// A key of the log, from somewhere else than the bundle.
    pub key: Option<VerifierKey>,
    /// Who must have cosigned the checkpoint, and, where it lists logs, signed it.
    pub policy: Option<Policy>,
    /// The authorities whose time stamps count. Given, each time stamp must be of one of them, and there must be one.
    pub tsa_roots: Option<TsaRoots>,
}

/// All of it in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Overall {
    /// All that is shown is what was recorded, and nothing is missing without a reason.
    Intact,
    /// All that is shown is what was recorded; something is missing and no tombstone says why, or the selection is not complete.
    Incomplete,
    /// Nothing is wrong with what is here, and it does not prove what the reader demands: [`Report::unmet`].
    NotProved,
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

/// What verification says of a bundle. After a fault all that can still be judged is there: what is called disclosed does lead to
/// the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// All of it in one word.
    pub overall: Overall,
    /// The first thing that is wrong.
    pub fault: Option<Fault>,
    /// What the reader demands, or needs to know whose record this is, and the bundle does not prove.
    pub unmet: Vec<String>,
    /// The log's first key, which names it in every leaf.
    pub log: Option<String>,
    /// Whether the log's key is one that the reader brought.
    pub key_was_trusted: bool,
    /// The size of the tree that the proofs are for.
    pub tree_size: Option<u64>,
    /// The witnesses of the reader's policy that cosigned the checkpoint.
    pub witnesses: Vec<Cosigned>,
    /// Those that only the bundle's own policy names: whoever exported may have invented them.
    pub witnesses_claimed: Vec<Cosigned>,
    /// The time stamps.
    pub timestamps: Vec<Stamp>,
    /// What the signed statement says.
    pub statement: Option<Predicate>,
    /// Whether the bundle has every record of its selection, by the word of who signed.
    pub complete: bool,
    /// The records.
    pub records: Vec<RecordReport>,
    /// The records of custody.
    pub custody: Vec<RecordReport>,
}

/// A witness that cosigned the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cosigned {
    /// The name in its key.
    pub name: String,
    /// The time that it states, RFC 3339.
    pub time: String,
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
    /// The earliest time that a time stamp over it states: it was there then.
    pub stamped: Option<String>,
    /// Each part, by its path where it is shown and else by its name in the format, with its verdict. One part `record`
    /// that is tampered where the record does not lead to the checkpoint.
    pub parts: Vec<(String, Verdict)>,
    /// What is disclosed, by the name of its part.
    #[serde(skip)]
    pub values: BTreeMap<String, String>,
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
        unmet: Vec::new(),
        log: None,
        key_was_trusted: false,
        tree_size: None,
        witnesses: Vec::new(),
        witnesses_claimed: Vec::new(),
        timestamps: Vec::new(),
        statement: None,
        complete: false,
        records: Vec::new(),
        custody: Vec::new(),
    };
    let judged = report.judge(bag, trust);
    report.hold(judged);
    // A bundle that is whole by another key is of another log; in one that is not the key was changed.
    if let (Some(fault), Some(key), Some(log)) = (&mut report.fault, &trust.key, &report.log)
        && !report.key_was_trusted
    {
        let what = format!(
            "the log has other keys than the one trusted, {} {:08x}, and is not whole by its own, {log}",
            key.name(),
            key.id()
        );
        *fault = Fault { file: VKEY.to_owned(), what: format!("{what}: {}: {}", fault.file, fault.what) };
    }
    if report.fault.is_none() {
        let parts = report.records.iter().chain(&report.custody).flat_map(|record| &record.parts);
        let unknown = parts.into_iter().any(|(_, verdict)| *verdict == Verdict::Unknown);
        report.overall = if !report.unmet.is_empty() {
            Overall::NotProved
        } else if unknown || !report.complete {
            Overall::Incomplete
        } else {
            Overall::Intact
        };
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
    /// Keeps the first fault.
    fn hold<T>(&mut self, result: Result<T, Fault>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(fault) => {
                self.fault.get_or_insert(fault);
                None
            }
        }
    }

    fn judge(&mut self, bag: &Bag, trust: &Trust) -> Result<(), Fault> {
        self.hold(bag.check().map_err(|(file, what)| fault(&file, what)));
        let log = self.judge_log(bag, trust)?;
        self.judge_witnesses(bag, trust, &log.note);
        let is_subject = |name: &str| name == INFO || name == "bagit.txt" || (name.starts_with("data/") && name != STATEMENT);
        let statement = need(bag, STATEMENT).and_then(|envelope| {
            let opened = statement::open(envelope, &log.chain, log.checkpoint.size, bag, is_subject);
            opened.map_err(|error| fault(STATEMENT, error))
        });
        let statement = self.hold(statement);
        let mut groups = Groups::default();
        let grouped = groups.fill(bag);
        self.hold(grouped);
        self.judge_stamps(bag, trust, &log, &groups);
        let erasures = self.judge_tombstones(bag, &log, &groups);
        for (below, group) in [(RECORDS, &groups.records), (CUSTODY, &groups.custody)] {
            for (&seq, suffixes) in group {
                let record = self.judge_record(bag, &log, below, seq, suffixes, &erasures);
                if below == RECORDS { self.records.push(record) } else { self.custody.push(record) }
            }
        }
        if let Some(statement) = statement {
            let checked = check_statement(&statement, &log, &groups);
            let is_whole = statement.records == statement.records_selected && statement.not_searched == 0;
            self.complete = self.hold(checked).is_some() && is_whole;
            self.statement = Some(statement);
        }
        Ok(())
    }

    fn judge_log(&mut self, bag: &Bag, trust: &Trust) -> Result<Log, Fault> {
        let chain = KeyChain::parse(need(bag, VKEY)?, bag.get(KEYS)).map_err(|error| match error {
            KeyChainError::Rotation { .. } => fault(KEYS, format_args!("does not go on from {VKEY}: {error}")),
            _ => fault(VKEY, error),
        })?;
        self.log = Some(chain.first().to_string());
        self.key_was_trusted = trust.key.as_ref().is_some_and(|key| chain.contains(key));
        match &trust.key {
            None => self
                .unmet
                .push("whose record it is: no key of the log was given, and anybody can make a log of their own".to_owned()),
            Some(key) if !self.key_was_trusted => self.unmet.push(format!(
                "that it is of the log whose key is {}+{:08x}: {VKEY} is of another log, {}",
                key.name(),
                key.id(),
                chain.first()
            )),
            Some(_) => {}
        }
        let note_bytes = need(bag, CHECKPOINT)?;
        let checkpoint = chain.open(note_bytes).map_err(|error| fault(CHECKPOINT, error))?;
        let note = SignedNote::parse(note_bytes).map_err(|error| fault(CHECKPOINT, error))?;
        self.tree_size = Some(checkpoint.size);
        Ok(Log { chain, checkpoint, note })
    }

    /// By the bundle's policy, which is the word of who exported, and by the reader's.
    fn judge_witnesses(&mut self, bag: &Bag, trust: &Trust, note: &SignedNote) {
        let refused = |error| fault(CHECKPOINT, error);
        let own = bag.get(POLICY).map(|policy| {
            let policy = Policy::parse(policy).map_err(|error| fault(POLICY, error))?;
            policy.check_witnesses(note).map_err(refused)
        });
        let check = |policy: &Policy| if policy.logs().is_empty() { policy.check_witnesses(note) } else { policy.check(note) };
        let trusted = trust.policy.as_ref().map(check);
        let cosigned = |(key, time): (VerifierKey, u64)| Cosigned { name: key.name().to_owned(), time: rfc3339_of_seconds(time) };
        if let Some(witnessed) = own.and_then(|own| self.hold(own)) {
            self.witnesses_claimed = witnessed.witnesses.into_iter().map(cosigned).collect();
        }
        match trusted {
            Some(Ok(witnessed)) => self.witnesses = witnessed.witnesses.into_iter().map(cosigned).collect(),
            Some(Err(error)) if !error.is_unmet() => {
                self.fault.get_or_insert(refused(error));
            }
            Some(Err(error)) => {
                self.unmet.push(format!("that the checkpoint is witnessed as the policy given asks: {CHECKPOINT}: {error}"))
            }
            None => {}
        }
    }

    fn judge_stamps(&mut self, bag: &Bag, trust: &Trust, log: &Log, groups: &Groups) {
        for &size in groups.timestamps.keys() {
            let stamp = stamps::judge(bag, size, &log.chain, &log.checkpoint, trust.tsa_roots.as_ref());
            let stamp = self.hold(stamp.map_err(|(file, what)| fault(&file, what)));
            if trust.tsa_roots.is_some() && stamp.as_ref().is_some_and(|stamp| !stamp.verified) {
                self.unmet.push(format!("that {TIMESTAMPS}{size}.{} is of an authority whose root was given", stamps::ANSWER));
            }
            self.timestamps.extend(stamp);
        }
        if trust.tsa_roots.is_some() && groups.timestamps.is_empty() {
            self.unmet.push("when it was there: it has no time stamp, and roots of authorities were given".to_owned());
        }
    }

    /// What the tombstones cover. One that is wrong covers nothing.
    fn judge_tombstones(&mut self, bag: &Bag, log: &Log, groups: &Groups) -> Erasures {
        let mut erasures = Erasures::default();
        for (&seq, suffixes) in &groups.tombstones {
            let covered = cover(bag, log, seq, suffixes, &mut erasures);
            self.hold(covered);
        }
        erasures
    }

    fn judge_record(
        &mut self,
        bag: &Bag,
        log: &Log,
        below: &str,
        seq: u64,
        suffixes: &Suffixes,
        erasures: &Erasures,
    ) -> RecordReport {
        let stamped = self.timestamps.iter().filter(|stamp| stamp.size > seq).map(|stamp| stamp.time.clone()).min();
        let judged = prove_record(bag, log, below, seq, suffixes, erasures);
        let Some((shown, verified)) = self.hold(judged) else {
            let parts = vec![("record".to_owned(), Verdict::Tampered)];
            let values = BTreeMap::new();
            return RecordReport { seq, time: String::new(), kind: String::new(), stamped: None, parts, values };
        };
        let parts = named(&shown, &verified);
        if let Some((part, _)) = parts.iter().find(|(_, verdict)| *verdict == Verdict::Tampered) {
            let what = format!("{part} is not what was recorded");
            self.hold::<()>(Err(fault(&format!("{below}{seq}.json"), what)));
        }
        let kind = Kind::ALL.into_iter().find(|kind| kind.code() == verified.leaf.kind);
        RecordReport {
            seq: verified.leaf.seq,
            time: rfc3339(verified.leaf.time),
            kind: kind.map_or_else(|| verified.leaf.kind.to_string(), |kind| kind.as_str().to_owned()),
            stamped,
            parts,
            values: values(&shown),
        }
    }
}

/// Whether the statement speaks of this log and these numbers.
fn check_statement(statement: &Predicate, log: &Log, groups: &Groups) -> Result<(), Fault> {
    let counts = [groups.records.len(), groups.custody.len(), groups.tombstones.len()].map(|count| count as u64);
    let range = (groups.records.keys().next().copied(), groups.records.keys().next_back().copied());
    let said = [statement.records, statement.custody, statement.tombstones];
    let names_log = statement.origin == log.chain.origin()
        && statement.log_id == event::hex::encode(&log.chain.first().log_id())
        && statement.tree_size == log.checkpoint.size;
    if counts != said
        || range != (statement.first, statement.last)
        || !names_log
        || statement.records > statement.records_selected
    {
        return Err(fault(STATEMENT, "says other numbers of records, or another log, than the bundle has"));
    }
    Ok(())
}

/// Takes in what one tombstone covers.
fn cover(bag: &Bag, log: &Log, seq: u64, suffixes: &Suffixes, erasures: &mut Erasures) -> Result<(), Fault> {
    let (shown, verified) = prove_record(bag, log, TOMBSTONES, seq, suffixes, &Erasures::default())?;
    let name = format!("{TOMBSTONES}{seq}.json");
    if let Some((part, _)) = named(&shown, &verified).into_iter().find(|(_, verdict)| *verdict == Verdict::Tampered) {
        return Err(fault(&name, format_args!("{part} is not what was recorded")));
    }
    let tombstone = Tombstone::of(&shown, &verified).map_err(|error| fault(&name, error))?;
    let name = format!("{TOMBSTONES}{seq}.members.jsonl");
    for line in need(bag, &name)?.split_inclusive(|byte| *byte == b'\n') {
        let member = if line.len() <= MEMBER_BYTES_MAX { serde_json::from_slice::<Membership>(line).ok() } else { None };
        let member = member.ok_or_else(|| fault(&name, "has a line that shows no item of a list"))?;
        erasures.add(seq, &tombstone, &member).map_err(|error| fault(&name, error))?;
    }
    Ok(())
}

/// The suffixes of the files of one record that are there.
type Suffixes = Vec<String>;

/// The records of a bundle by what they are for; every file of it is one that belongs there.
#[derive(Default)]
struct Groups {
    records: BTreeMap<u64, Suffixes>,
    custody: BTreeMap<u64, Suffixes>,
    tombstones: BTreeMap<u64, Suffixes>,
    timestamps: BTreeMap<u64, Suffixes>,
}

impl Groups {
    /// Takes in every file that belongs into a bundle; the first that does not is the fault.
    fn fill(&mut self, bag: &Bag) -> Result<(), Fault> {
        let mut strangers = bag.files().map(|(name, _)| name).filter(|name| !self.take(name));
        let first = strangers.next().map(|name| fault(name, "does not belong into a bundle"));
        strangers.for_each(drop);
        first.map_or(Ok(()), Err)
    }

    fn take(&mut self, name: &str) -> bool {
        let known = [VKEY, KEYS, CHECKPOINT, POLICY, STATEMENT, INDEX, CERTIFICATE];
        // What stands beside `data/` is listed in the tag manifest: which of it belongs there is known, too.
        let tags = ["bagit.txt", INFO, "manifest-sha256.txt", "tagmanifest-sha256.txt"];
        if known.contains(&name) || tags.contains(&name) {
            return true;
        }
        let record = ["json", "leaf", "tlog-proof"].as_slice();
        let below: [(&str, &[&str], &mut BTreeMap<u64, Suffixes>); 4] = [
            (RECORDS, record, &mut self.records),
            (CUSTODY, record, &mut self.custody),
            (TOMBSTONES, &["json", "leaf", "tlog-proof", "members.jsonl"], &mut self.tombstones),
            (TIMESTAMPS, &[stamps::ANSWER, stamps::NOTE, stamps::PROOF], &mut self.timestamps),
        ];
        let found = below.into_iter().find_map(|(prefix, suffixes, group)| Some((name.strip_prefix(prefix)?, suffixes, group)));
        let Some((rest, suffixes, group)) = found else { return false };
        let Some((number, suffix)) = rest.split_once('.') else { return false };
        let Some(canonical) = number.parse::<u64>().ok().filter(|parsed| parsed.to_string() == number) else { return false };
        if !suffixes.contains(&suffix) {
            return false;
        }
        group.entry(canonical).or_default().push(suffix.to_owned());
        true
    }
}

/// One record: its leaf is in the log. What is shown of it is judged, too, and may be tampered.
fn prove_record(
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
    Ok((shown, verified))
}

/// What a record shows, by the names that [`named`] gives.
fn values(shown: &Disclosure) -> BTreeMap<String, String> {
    let fields = shown.fields().iter().filter(|field| field.r#type == 1).map(|field| (field.path.clone(), field.value.clone()));
    let texts = shown
        .contents()
        .iter()
        .filter_map(|content| Some((format!("content/{}", content.id()), content.text()?.as_str().to_owned())));
    fields.chain(texts).collect()
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
