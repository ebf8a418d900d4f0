//! The consumer that writes the hot store, and builds its days anew where they are to change or are missing.

use std::sync::PoisonError;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use event::{Timestamp, attr};
use journal::{Record, Seq};
use keys::DataKeys;
use store::{Rebuild, Store};

use super::{IDLE, INDEX_BATCH_MAX, Shared, StoreJob, read_batch};
use crate::data_dir::DataDir;
use crate::lifecycle::lifecycle_event;
use crate::lifecycle::restore::Restored;
use crate::lifecycle::spine::{Spine, SpineReader};
use crate::pipeline::Pipeline;
use crate::room::Failure;

/// How often a store with nothing to do looks whether its days are there, which costs a listing and a row of the keyring.
const DAYS_LOOK: Duration = Duration::from_secs(5);

/// An empty store is built aside when there are at least so many records: that is faster several times over, but nobody sees
/// anything of it before its end.
const ASIDE_MIN: u64 = 50_000;

/// How long a store that lags behind goes on when it is time to stop. It continues from its cursor at the next start.
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// What whoever waits for days of the store is told when the server stops meanwhile.
const STOPPED: &str = "the server stopped before the days of the store were built; it is tried again";

/// The store, and whether what was asked of it was done: it is not when it was time to stop.
pub(super) type Built = (Store, bool);

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
            store = self.filled(store)?.0;
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
                    let built = self.rebuild(store, from)?;
                    store = self.taken(built, &mut reader, &done);
                }
                Some(StoreJob::Days { days, done }) => {
                    let built = super::days::rebuild(self, store, &days)?;
                    store = self.taken(built, &mut reader, &done);
                }
                Some(StoreJob::Restore { from, to, done }) => {
                    drop(done.send(self.restore(from, to).map_err(|error| error.to_string())));
                }
                None => {}
            }
            let taken = Instant::now();
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
            if batch.records.len() < INDEX_BATCH_MAX {
                shared.gather(taken);
            }
        }
    }

    /// Goes on with a store of which days were built anew, and tells whoever waits.
    fn taken(&self, (store, is_whole): Built, reader: &mut SpineReader, done: &Sender<Result<(), String>>) -> Store {
        *reader = self.spine.reader(store.next());
        self.shared.moved(&self.shared.indexed, store.next().0);
        // Whoever asked may have gone.
        drop(done.send(if is_whole { Ok(()) } else { Err(STOPPED.to_owned()) }));
        store
    }

    /// Builds from the records before `end`, as far as `is_behind` says of none of a batch's that it lies behind what is built. `false`
    /// when it was time to stop: then nothing is built.
    pub(super) fn build(
        &self,
        rebuild: &mut Rebuild,
        reader: &mut SpineReader,
        end: Seq,
        is_behind: &mut dyn FnMut(&[Record]) -> bool,
    ) -> Result<bool, Failure> {
        while rebuild.next() < end {
            if self.shared.stopping() {
                return Ok(false);
            }
            let mut batch = read_batch(reader, INDEX_BATCH_MAX)?;
            batch.records.retain(|record| record.seq < end);
            if batch.is_empty() || is_behind(&batch.records) {
                break;
            }
            rebuild.index(&batch.records)?;
            if let Some(to) = batch.skip {
                rebuild.skip(to);
            }
        }
        Ok(true)
    }

    /// Fills an empty store with what is recorded by now. When it is time to stop it stays empty, and is filled at the next start.
    fn filled(&self, store: Store) -> Result<Built, Failure> {
        let end = self.spine.journal.end();
        tracing::info!(records = end.0, "the store is empty: it is built from the record, and can be read when that is done");
        let mut rebuild = Rebuild::begin(self.data.path(), &store::day_of(0), self.keys)?;
        let is_whole = self.build(&mut rebuild, &mut self.spine.reader(Seq(0)), end, &mut |_| false)?;
        Ok(if is_whole { (rebuild.finish(store)?, true) } else { (store, false) })
    }

    /// Builds the days that are missing, and says so in the record: the store is derived, but whoever looked meanwhile saw less.
    fn mended(&self, store: Store) -> Result<Store, Failure> {
        if store.missing().is_empty() {
            return Ok(store);
        }
        let missing = store.missing().clone();
        let days = missing.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        tracing::error!(
            days,
            "days of the store were removed, replaced or written by an older version of the program; they are built again from the record"
        );
        for (day, end) in &missing {
            if !self.mend(day, *end)? {
                // They are missed again at the next start.
                return Ok(store);
            }
        }
        let mut event = lifecycle_event("store.mended", "restore", &days);
        event.set(attr::EVENT_OUTCOME, "success");
        self.pipeline.record_blocking(vec![event], &|| self.shared.stopping())?;
        Ok(store.reopen()?)
    }

    /// Builds a day from its records before `end`. `false` when it was time to stop.
    fn mend(&self, day: &str, end: Seq) -> Result<bool, Failure> {
        let from =
            store::start_of(day).ok_or_else(|| format!("the keyring's list of the store's days has {day:?}, which is none"))?;
        let mut rebuild = Rebuild::begin(self.data.path(), day, self.keys)?;
        let mut reader = self.spine.reader(self.spine.start_of_day(from)?);
        let is_whole = self.build(&mut rebuild, &mut reader, end, &mut |_| false)?;
        if is_whole {
            rebuild.mend(self.data.path())?;
        }
        Ok(is_whole)
    }

    /// Builds days of the store anew, from that of `from` on.
    fn rebuild(&self, store: Store, from: Timestamp) -> Result<Built, Failure> {
        let mut rebuild = Rebuild::begin(self.data.path(), &store::day_of(from.unix_ns()), self.keys)?;
        let mut reader = self.spine.reader(self.spine.start_of_day(from)?);
        // What came meanwhile is indexed afterwards.
        let is_whole = self.build(&mut rebuild, &mut reader, store.next(), &mut |_| false)?;
        Ok(if is_whole { (rebuild.finish(store)?, true) } else { (store, false) })
    }

    /// Builds days that have left the store, with what was received between `from` and `to`.
    fn restore(&self, from: Timestamp, to: Timestamp) -> Result<Restored, Failure> {
        let mut rebuild = Rebuild::begin(self.data.path(), &store::day_of(from.unix_ns()), self.keys)?;
        let mut reader = self.spine.reader(self.spine.received_from(from));
        let mut restored = 0;
        let is_whole = self.build(&mut rebuild, &mut reader, self.spine.journal.end(), &mut |records| {
            let times = records.iter().filter_map(|record| record.event().ok()).map(|event| event.observed);
            // Callers are stamped side by side: a little later in the record may be a little earlier in time.
            if times.clone().min().is_some_and(|first| first.unix_ns() > to.unix_ns().saturating_add(RECEIVED_SLACK_NS)) {
                return true;
            }
            restored += times.filter(|observed| *observed >= from && *observed < to).count() as u64;
            false
        })?;
        if !is_whole {
            return Err(STOPPED.into());
        }
        Ok(Restored { days: rebuild.install(self.data.path())?, records: restored, there: Vec::new(), without: 0 })
    }
}
