//! Days of the hot store that hold rows of records which were dropped. They are noted before the records go, and built anew from what is
//! left: at once where somebody asks for the end of the retention, else within a day, so that each day is built anew once and not with
//! each of its segments.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use archive::Segment;
use event::Timestamp;
use keys::Keyring;

use super::archiver::ArchiverError;
use super::cold::Cold;
use super::kept_policy::{PolicyError, later};
use super::plan::observed_of;

/// The keyring's name of the list.
const NAME: &str = "days of dropped records";

/// How long a day waits for the rest of its segments.
const WAITS: Duration = Duration::from_secs(86_400);

/// Notes the days that hold something of a segment that is about to be dropped.
pub(crate) fn note(keyring: &Keyring, data: &Path, cold: &Cold, segment: &Segment, now: Timestamp) -> Result<(), ArchiverError> {
    let there = store::days(data)?;
    // A segment was sealed after the last of its records had been received.
    if there.range(..=store::day_of(segment.sealed_at.unix_ns())).next().is_none() {
        return Ok(());
    }
    let days: BTreeSet<String> =
        cold.segment(&segment.span())?.iter().map(|stored| store::day_of(observed_of(stored).unix_ns())).collect();
    let mut noted = list(keyring)?;
    let before = noted.len();
    for day in days.intersection(&there) {
        noted.entry(day.clone()).or_insert(now);
    }
    if noted.len() > before {
        write(keyring, &noted)?;
    }
    Ok(())
}

/// The days that are to be built anew now: all of them, or those that have waited.
pub(crate) fn due(keyring: &Keyring, now: Timestamp, all: bool) -> Result<BTreeSet<String>, PolicyError> {
    let is_due = |noted: &Timestamp| all || now >= later(*noted, WAITS);
    Ok(list(keyring)?.into_iter().filter(|(_, noted)| is_due(noted)).map(|(day, _)| day).collect())
}

/// Forgets days that were built anew.
pub(crate) fn done(keyring: &Keyring, days: &BTreeSet<String>) -> Result<(), PolicyError> {
    let mut noted = list(keyring)?;
    noted.retain(|day, _| !days.contains(day));
    write(keyring, &noted)
}

fn list(keyring: &Keyring) -> Result<BTreeMap<String, Timestamp>, PolicyError> {
    match keyring.named(NAME)? {
        Some(bytes) => Ok(serde_json::from_slice(&bytes)?),
        None => Ok(BTreeMap::new()),
    }
}

fn write(keyring: &Keyring, noted: &BTreeMap<String, Timestamp>) -> Result<(), PolicyError> {
    Ok(keyring.put_named(NAME, &serde_json::to_vec(noted)?)?)
}
