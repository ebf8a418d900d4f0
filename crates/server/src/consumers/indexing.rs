//! The consumer that writes the hot store, and builds its days anew where they are to change or are missing.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use event::{Timestamp, attr};
use journal::Seq;
use keys::DataKeys;
use store::{Rebuild, Store};

use super::{IDLE, INDEX_BATCH_MAX, Shared, StoreJob, read_batch};
use crate::data_dir::DataDir;
use crate::lifecycle::lifecycle_event;
use crate::lifecycle::restore::Restored;
use crate::lifecycle::spine::Spine;
use crate::pipeline::Pipeline;
use crate::room::Failure;

/// How often a store with nothing to do looks whether its days are there, which costs a listing and a row of the keyring.
const DAYS_LOOK: Duration = Duration::from_secs(5);

/// An empty store is built aside when there are at least so many records: that is faster several times over, but nobody sees
/// anything of it before its end.
const ASIDE_MIN: u64 = 50_000;

/// How long a store that lags behind goes on when it is time to stop. It continues from its cursor at the next start.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// How far the order of the record and that of its times can be apart: the longest that an event waits between being stamped and
/// being written.
pub(super) const RECEIVED_SLACK_NS: u64 = 60 * 1_000_000_000;

/// Writes the store from the record.
pub(super) struct Indexer<'a> {
    pub(super) shared: &'a Shared,
    pub(super) spine: &'a Spine,
    pub(super) data: &'a DataDir,
    pub(super) keys: &'a DataKeys,
    pub(super) pipeline: &'a Pipeline,
}

impl Indexer<'_> {
    pub(super) fn run(&self, store: Store) -> Result<(), Failure> {
        let Self { shared, spine, .. } = self;
        let mut store = self.mended(store)?;
        if store.next() == Seq(0) && spine.journal.end().0 >= ASIDE_MIN {
            store = self.filled(store)?;
            shared.moved(&shared.indexed, store.next().0);
        }
        let mut reader = spine.reader(store.next());
        let mut looked = Instant::now();
        let mut stopping: Option<Instant> = None;
        loop {
            if shared.stopping() && stopping.get_or_insert_with(Instant::now).elapsed() > STOP_WITHIN {
                tracing::warn!(next = store.next().0, "the store is behind the record; it goes on at the next start");
                return Ok(());
            }
            let job = shared.jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            // Whoever asked may have gone: what is sent then is dropped.
            match job {
                Some(StoreJob::Rebuild { from, done }) => {
                    store = self.rebuild(store, from)?;
                    reader = spine.reader(store.next());
                    shared.moved(&shared.indexed, store.next().0);
                    drop(done.send(Ok(())));
                }
                Some(StoreJob::Days { days, done }) => {
                    store = super::days::rebuild(self, store, &days)?;
                    reader = spine.reader(store.next());
                    shared.moved(&shared.indexed, store.next().0);
                    drop(done.send(Ok(())));
                }
                Some(StoreJob::Restore { from, to, done }) => {
                    drop(done.send(self.restore(from, to).map_err(|error| error.to_string())));
                }
                None => {}
            }
            let batch = read_batch(&mut reader, INDEX_BATCH_MAX)?;
            if batch.is_empty() {
                if shared.stopping() {
                    return Ok(());
                }
                if looked.elapsed() >= DAYS_LOOK {
                    if !store.is_there()? {
                        store = self.mended(store.reopen()?)?;
                        reader = spine.reader(store.next());
                        shared.moved(&shared.indexed, store.next().0);
                    }
                    looked = Instant::now();
                }
                reader.wait(IDLE);
                continue;
            }
            store.index(&batch.records)?;
            if let Some(to) = batch.skip {
                store.skip(to);
            }
            shared.moved(&shared.indexed, store.next().0);
        }
    }

    /// Fills an empty store with what is recorded by now. When it is time to stop it stays empty, and is filled at the next start.
    fn filled(&self, store: Store) -> Result<Store, Failure> {
        let Self { spine, data, keys, .. } = self;
        let end = spine.journal.end();
        tracing::info!(records = end.0, "the store is empty: it is built from the record, and can be read when that is done");
        let mut rebuild = Rebuild::begin(data.path(), &store::day_of(0), keys)?;
        let mut reader = spine.reader(Seq(0));
        while rebuild.next() < end {
            let batch = read_batch(&mut reader, INDEX_BATCH_MAX)?;
            if batch.is_empty() {
                break;
            }
            if self.shared.stopping() {
                return Ok(store);
            }
            rebuild.index(&batch.records)?;
            if let Some(to) = batch.skip {
                rebuild.skip(to);
            }
        }
        Ok(rebuild.finish(store)?)
    }

    /// Builds the days that are missing, and says so in the record: the store is derived, but whoever looked meanwhile saw less.
    fn mended(&self, store: Store) -> Result<Store, Failure> {
        if store.missing().is_empty() {
            return Ok(store);
        }
        let missing = store.missing().clone();
        let days = missing.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        tracing::error!(days, "days of the store were removed or replaced; they are built again from the record");
        for (day, end) in &missing {
            self.mend(day, *end)?;
        }
        let mut event = lifecycle_event("store.mended", "restore", &days);
        event.set(attr::EVENT_OUTCOME, "success");
        self.pipeline.record_blocking(vec![event], &|| self.shared.stopping())?;
        Ok(store.reopen()?)
    }

    /// Builds a day from its records before `end`.
    fn mend(&self, day: &str, end: Seq) -> Result<(), Failure> {
        let from =
            store::start_of(day).ok_or_else(|| format!("the keyring's list of the store's days has {day:?}, which is none"))?;
        let mut rebuild = Rebuild::begin(self.data.path(), day, self.keys)?;
        let mut reader = self.spine.reader(self.spine.start_of_day(from)?);
        while rebuild.next() < end {
            let mut batch = read_batch(&mut reader, INDEX_BATCH_MAX)?;
            let is_last = batch.is_empty() || batch.records.last().is_some_and(|last| last.seq >= end);
            batch.records.retain(|record| record.seq < end);
            rebuild.index(&batch.records)?;
            if let Some(to) = batch.skip {
                rebuild.skip(to);
            }
            if is_last {
                break;
            }
        }
        Ok(rebuild.mend(self.data.path())?)
    }

    /// Builds days of the store anew, from that of `from` on.
    fn rebuild(&self, store: Store, from: Timestamp) -> Result<Store, Failure> {
        let Self { spine, data, keys, .. } = self;
        let day = store::day_of(from.unix_ns());
        let mut rebuild = Rebuild::begin(data.path(), &day, keys)?;
        let mut reader = spine.reader(spine.start_of_day(from)?);
        let end = store.next();
        loop {
            let batch = read_batch(&mut reader, INDEX_BATCH_MAX)?;
            if batch.is_empty() {
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
        Ok(rebuild.finish(store)?)
    }

    /// Builds days that have left the store, with what was received between `from` and `to`.
    fn restore(&self, from: Timestamp, to: Timestamp) -> Result<Restored, Failure> {
        let Self { spine, data, keys, .. } = self;
        let mut rebuild = Rebuild::begin(data.path(), &store::day_of(from.unix_ns()), keys)?;
        let mut reader = spine.reader(spine.received_from(from));
        let mut records = 0;
        loop {
            let batch = read_batch(&mut reader, INDEX_BATCH_MAX)?;
            if batch.is_empty() {
                break;
            }
            let times = batch.records.iter().filter_map(|record| record.event().ok()).map(|event| event.observed);
            // Callers are stamped side by side: a little later in the record may be a little earlier in time.
            if times.clone().min().is_some_and(|first| first.unix_ns() > to.unix_ns().saturating_add(RECEIVED_SLACK_NS)) {
                break;
            }
            records += times.filter(|observed| *observed >= from && *observed < to).count() as u64;
            rebuild.index(&batch.records)?;
            if let Some(to) = batch.skip {
                rebuild.skip(to);
            }
        }
        Ok(Restored { days: rebuild.install(data.path())?, records, there: Vec::new(), without: 0 })
    }
}
