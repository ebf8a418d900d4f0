//! Erasures that are under way, as the keyring keeps them: encrypted and authenticated, whatever lies in the data directory.
//!
//! The list of them says only how far each is; whom it is about, and what goes, lies in a secret of its own that is
//! destroyed with the last step.

use std::collections::{BTreeSet, HashSet};

use event::{ContentId, EventId, SubjectId, Timestamp};
use keys::{Keyring, KeysError};
use ledger::ErasedItem;
use serde::{Deserialize, Serialize};

use super::erase::Stay;
use super::target::Target;

/// The keyring's name of the list.
const LIST: &str = "erasures";

/// What the names of the secrets with the plans begin with; the request's id follows.
const JOB: &str = "erasure ";

/// How far an erasure is: what it says has been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// It was asked for.
    Requested,
    /// A line is drawn through the record.
    Begun,
    /// What goes is known.
    Planned,
    /// The archive's segments are written anew.
    Rewritten,
    /// The days of the hot store are built anew.
    Rebuilt,
    /// The person's keys are destroyed.
    Forgotten,
    /// The tombstone is recorded.
    Tombstoned,
}

/// An erasure in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The request's id.
    pub(crate) request: String,
    /// How far it is.
    pub(crate) phase: Phase,
}

/// Whom an erasure is about, and what goes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) target: Target,
    /// Whether it may take more out of records of others than the person has of their own.
    pub(crate) wide: bool,
    /// What was about to be destroyed at the line; there before it is.
    pub(crate) begun: Option<Begun>,
    pub(crate) plan: Option<Plan>,
}

/// Whose keys a line through the record destroys: once they are, the keyring does not tell any more.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Begun {
    /// The person's subjects, and those of their sessions.
    pub(crate) subjects: HashSet<SubjectId>,
    /// Sessions in which nobody but the person takes part.
    pub(crate) sessions: BTreeSet<String>,
}

/// What goes, as it was found before anything did.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The first record behind the line: of what lies there, only detections go, and those rest on what goes.
    pub(crate) line: u64,
    /// The places of what goes.
    pub(crate) items: Vec<ErasedItem>,
    /// The segments that hold something of it: first record, end and class.
    pub(crate) segments: BTreeSet<(u64, u64, String)>,
    /// The records that lose something.
    pub(crate) touched: BTreeSet<u64>,
    /// The person's own records among them.
    pub(crate) owned: BTreeSet<u64>,
    /// The ids of their events.
    pub(crate) ids: HashSet<EventId>,
    /// The texts that go.
    pub(crate) texts: HashSet<ContentId>,
    /// Texts that stay as they are, whatever stands in them.
    pub(crate) kept: HashSet<ContentId>,
    /// Whose texts go: their keys are destroyed.
    pub(crate) subjects: HashSet<SubjectId>,
    /// Sessions in which nobody but the person takes part.
    pub(crate) sessions: BTreeSet<String>,
    /// What stays.
    pub(crate) stays: Vec<Stay>,
    /// Records that name the person, or are theirs.
    pub(crate) found: u64,
    /// When the earliest touched record was received.
    pub(crate) earliest: Option<Timestamp>,
}

/// Why the keyring's erasures cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The keyring.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// What it holds.
    #[error("erasures in the keyring: {0}; the events erasure.requested and erasure.done of the record say which did not end")]
    Parse(#[from] serde_json::Error),
}

/// The erasures that have not ended, oldest first.
pub(crate) fn list(keyring: &Keyring) -> Result<Vec<Entry>, JobError> {
    match keyring.named(LIST)? {
        Some(bytes) => Ok(serde_json::from_slice(&bytes)?),
        None => Ok(Vec::new()),
    }
}

/// Whom an erasure is about, and what goes. `None` when that is destroyed already.
pub(crate) fn read(keyring: &Keyring, request: &str) -> Result<Option<Job>, JobError> {
    match keyring.named(&name(request))? {
        Some(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        None => Ok(None),
    }
}

/// Keeps it. It is durable when this returns, and stands in the list behind it.
pub(crate) fn write(keyring: &Keyring, request: &str, job: &Job) -> Result<(), JobError> {
    Ok(keyring.put_named(&name(request), &serde_json::to_vec(job)?)?)
}

/// Notes how far an erasure is.
pub(crate) fn reached(keyring: &Keyring, request: &str, phase: Phase) -> Result<(), JobError> {
    let mut entries = list(keyring)?;
    match entries.iter_mut().find(|entry| entry.request == request) {
        Some(entry) => entry.phase = phase,
        None => entries.push(Entry { request: request.to_owned(), phase }),
    }
    write_list(keyring, &entries)
}

/// Destroys what was kept of an erasure.
pub(crate) fn end(keyring: &Keyring, request: &str) -> Result<(), JobError> {
    let mut entries = list(keyring)?;
    entries.retain(|entry| entry.request != request);
    Ok(keyring.replace_named(&[(LIST, &serde_json::to_vec(&entries)?)], &[&name(request)])?)
}

/// What is about to go, or has gone, by erasures that have not come to their tombstone.
pub(crate) fn items_under_way(keyring: &Keyring) -> Result<Vec<ErasedItem>, JobError> {
    let mut items = Vec::new();
    for entry in list(keyring)? {
        items.extend(read(keyring, &entry.request)?.and_then(|job| job.plan).into_iter().flat_map(|plan| plan.items));
    }
    Ok(items)
}

fn write_list(keyring: &Keyring, entries: &[Entry]) -> Result<(), JobError> {
    Ok(keyring.put_named(LIST, &serde_json::to_vec(entries)?)?)
}

fn name(request: &str) -> String {
    format!("{JOB}{request}")
}
