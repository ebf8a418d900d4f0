//! Building some days of the store anew, when records of theirs were dropped.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use store::Store;

use super::indexing::{Built, Indexer, RECEIVED_SLACK_NS};
use super::{Shared, StoreJob};
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
pub(super) fn rebuild(indexer: &Indexer<'_>, store: Store, days: &BTreeSet<String>) -> Result<Built, Failure> {
    let Indexer { spine, data, keys, .. } = indexer;
    let (Some(first), Some(last)) = (days.first(), days.last()) else { return Ok((store, true)) };
    let begin = store::start_of(first).unwrap_or_default();
    let mut rebuild = store::Rebuild::begin(data.path(), first, keys)?;
    let mut reader = spine.reader(spine.start_of_day(begin)?);
    // What came meanwhile is indexed afterwards.
    let is_whole = indexer.build(&mut rebuild, &mut reader, store.next(), &mut |records| {
        let observed = records.iter().filter_map(|record| record.event().ok()).map(|event| event.observed.unix_ns()).min();
        // The day behind the last one is far enough on: callers are stamped side by side.
        observed.is_some_and(|observed| store::day_of(observed.saturating_sub(RECEIVED_SLACK_NS)) > *last)
    })?;
    Ok(if is_whole { (rebuild.replace(store, days)?, true) } else { (store, false) })
}
