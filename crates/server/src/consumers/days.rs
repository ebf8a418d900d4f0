//! Building some days of the store anew, when records of theirs were dropped.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use store::Store;

use super::indexing::{Indexer, RECEIVED_SLACK_NS};
use super::{INDEX_BATCH_MAX, Shared, StoreJob, read_batch};
use crate::room::Failure;

/// How often whoever waits for days of the store looks whether it is time to stop.
const DAYS_LOOK: Duration = Duration::from_millis(200);

impl Shared {
    /// Has the store's writer build some days anew, and waits for that.
    pub(super) fn rebuild_days(&self, days: BTreeSet<String>, timeout: Duration) -> Result<(), String> {
        let (done, waits) = std::sync::mpsc::channel();
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).push_back(StoreJob::Days { days, done });
        let until = Instant::now() + timeout;
        loop {
            match waits.recv_timeout(DAYS_LOOK) {
                Ok(outcome) => return outcome,
                Err(RecvTimeoutError::Timeout) if !self.stopping() && Instant::now() < until => {}
                Err(_) => return Err("days of the store could not be built anew in time; it is tried again".to_owned()),
            }
        }
    }
}

/// Builds some days of the store anew, out of what is left of their records.
pub(super) fn rebuild(indexer: &Indexer<'_>, store: Store, days: &BTreeSet<String>) -> Result<Store, Failure> {
    let Indexer { spine, data, keys, .. } = indexer;
    let (Some(first), Some(last)) = (days.first(), days.last()) else { return Ok(store) };
    let begin = store::start_of(first).unwrap_or_default();
    let mut rebuild = store::Rebuild::begin(data.path(), first, keys)?;
    let mut reader = spine.reader(spine.start_of_day(begin)?);
    let end = store.next();
    loop {
        let batch = read_batch(&mut reader, INDEX_BATCH_MAX)?;
        let observed = batch.records.iter().filter_map(|record| record.event().ok()).map(|event| event.observed.unix_ns()).min();
        // The day behind the last one is far enough on: callers are stamped side by side.
        let is_behind = observed.is_some_and(|observed| store::day_of(observed.saturating_sub(RECEIVED_SLACK_NS)) > *last);
        if batch.is_empty() || is_behind {
            break;
        }
        rebuild.index(&batch.records)?;
        if let Some(to) = batch.skip {
            rebuild.skip(to);
        }
        // What came meanwhile is indexed afterwards.
        if rebuild.next() >= end {
            break;
        }
    }
    Ok(rebuild.replace(store, days)?)
}
