//! Days of the hot store that hold rows of records which were dropped. They are noted before the records go, and built anew from what is
//! left: at once where somebody asks for the end of the retention, else within a day, so that each day is built anew once and not with
//! each of its segments.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use archive::Segment;
use event::Timestamp;
use keys::Keyring;

use super::archiver::ArchiverError;
use super::cold::Cold;
use super::kept_policy::later;
use super::noted_days::{NotedDays, NotedDaysError};
use super::plan::observed_of;

/// The days, and since when each waits.
const WAITING: NotedDays = NotedDays("days of dropped records");

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
    let noted = WAITING.read(keyring)?;
    let new: Vec<&String> = days.intersection(&there).filter(|day| !noted.contains_key(*day)).collect();
    if !new.is_empty() {
        WAITING.change(keyring, |noted| noted.extend(new.into_iter().map(|day| (day.clone(), now))))?;
    }
    Ok(())
}

/// The days that are to be built anew now: all of them, or those that have waited.
pub(crate) fn due(keyring: &Keyring, now: Timestamp, all: bool) -> Result<BTreeSet<String>, NotedDaysError> {
    let is_due = |noted: &Timestamp| all || now >= later(*noted, WAITS);
    Ok(WAITING.read(keyring)?.into_iter().filter(|(_, noted)| is_due(noted)).map(|(day, _)| day).collect())
}

/// Forgets days that were built anew.
pub(crate) fn done(keyring: &Keyring, days: &BTreeSet<String>) -> Result<(), NotedDaysError> {
    WAITING.change(keyring, |noted| noted.retain(|day, _| !days.contains(day)))
}
