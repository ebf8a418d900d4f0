//! The consumers of the journal: seal, index, detect. Each is a thread with a durable cursor of its own; none of them
//! stands between a caller and its acknowledgement, and each continues after a restart where it stopped.

mod archiving;
#[cfg(test)]
mod behaviour_tests;
#[cfg(test)]
mod carried_tests;
mod days;
mod detecting;
mod indexing;
mod left_out;
mod stored;
pub(crate) mod watching;

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use detect::{RuleSet, Uncompiled};
use event::Timestamp;
use journal::{Cursor, Record, Seq};
use keys::{DataKeys, Keyring, Purpose};
use ledger::Rotation;
use store::Store;

use self::detecting::{DETECT_CURSOR, Detector, Ran, detect_cursor};
use crate::data_dir::DataDir;
use crate::lifecycle::cold::{Cold, Step};
use crate::lifecycle::restore::Restored;
use crate::lifecycle::spine::{Spine, SpineReader};
use crate::log_keys::LogKeyError;
use crate::node::{NodeError, NodeSettings, Progress};
use crate::pin;
use crate::pipeline::Pipeline;
use crate::room::{Failure, when_there_is_room};
use crate::sealer::{RotationJob, Sealer};
use crate::watchman;

/// Records in one transaction of the store, when so many wait: each transaction writes every page that it has touched, so a
/// store that lags behind catches up sooner with large ones.
const INDEX_BATCH_MAX: usize = 16_384;

/// Bytes of records in one transaction of the store.
const INDEX_BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How often whoever waits for other keys of the log looks whether anybody still seals.
const ROTATION_LOOK: Duration = Duration::from_millis(500);

/// How often a detector that waits looks whether it may go on.
const HOLD_LOOK: Duration = Duration::from_millis(20);

/// How long a consumer gathers records after it has taken some: a transaction, a wake-up and a sync cost as much for one record as
/// for a hundred. One that comes after a pause is taken at once, and whoever waits for the consumers is not kept waiting.
const GATHER: Duration = Duration::from_millis(50);

/// How long a consumer sleeps when there is nothing to do; a new record wakes it sooner.
const IDLE: Duration = Duration::from_millis(200);

/// The running consumers.
pub(crate) struct Consumers {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Whether nobody detects here: what is recorded waits for somebody who does.
    detects_not: AtomicBool,
    /// The sealer stops last: what the others record while they stop is sealed, too.
    stop_sealing: AtomicBool,
    sealed: AtomicU64,
    indexed: AtomicU64,
    detected: AtomicU64,
    detector: Mutex<Holding>,
    /// The rules that detection goes by, and how often they were exchanged.
    rules: Mutex<Option<Uncompiled>>,
    exchanges: AtomicU64,
    failure: Mutex<Option<String>>,
    archive_waits: Mutex<Option<String>>,
    changed: Condvar,
    gate: Mutex<()>,
    /// Wakes those that gather when somebody waits for them.
    awaited: Condvar,
    /// How many wait.
    waiting: Mutex<usize>,
    /// What somebody waits for the store's writer to do.
    jobs: Mutex<VecDeque<StoreJob>>,
    /// What somebody waits for the sealer to do.
    rotations: Arc<Mutex<VecDeque<RotationJob>>>,
}

/// The name of the sealer and its thread.
const SEALER: &str = "seal";

/// Whether the detector is to wait, and does.
#[derive(Default)]
struct Holding {
    from: Option<u64>,
    waits: bool,
}

/// The detector, waiting. When this goes it goes on, and remembers nothing but what it reads anew.
pub(crate) struct DetectorHeld(Arc<Shared>);

impl Drop for DetectorHeld {
    fn drop(&mut self) {
        *self.0.holding() = Holding::default();
        self.0.changed.notify_all();
    }
}

/// Gives the detector other rules.
pub(crate) struct RuleExchange(Arc<Shared>);

impl RuleExchange {
    /// The detector begins anew with these rules, as soon as it has recorded what it found with those before.
    pub(crate) fn exchange(&self, rules: RuleSet) {
        *self.0.rules() = Some(rules.into_uncompiled());
        self.0.exchanges.fetch_add(1, Ordering::AcqRel);
    }

    /// The record up to which the detector has come.
    pub(crate) fn detected(&self) -> u64 {
        self.0.detected.load(Ordering::Acquire)
    }
}

/// Work for the one writer of the store, between two batches.
pub(crate) enum StoreJob {
    /// Build the days anew, from that of this time on.
    Rebuild { from: Timestamp, done: Sender<Result<(), String>> },
    /// Build these days anew.
    Days { days: BTreeSet<String>, done: Sender<Result<(), String>> },
    /// Bring back days that have left, with what was received in this time.
    Restore { from: Timestamp, to: Timestamp, done: Sender<Result<Restored, String>> },
}

/// Consumers that may come later when the processor is short: what is recorded is safe without them, and an attack is to be told of
/// while it happens.
const GIVE_WAY: [&str; 3] = ["index", "archive", "forensic"];

/// The niceness of these: a third of the weight of the others.
const NICENESS: i32 = 5;

/// Lowers the priority of the calling thread (on Linux niceness is a thread's own).
fn give_way(name: &str) {
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(name, %error, "the consumer keeps its priority");
    }
}

impl Consumers {
    pub(crate) fn start(
        data: &DataDir,
        keyring: &Arc<Keyring>,
        archives: Vec<Arc<Cold>>,
        spine: &Spine,
        pipeline: Arc<Pipeline>,
        rules: Uncompiled,
        settings: &NodeSettings,
    ) -> Result<Self, NodeError> {
        let (journal, store_keys) = (&spine.journal, &DataKeys::new(keyring.clone(), Purpose::Store));
        let heartbeat = settings.heartbeat;
        let shared = Arc::new(Shared::default());
        let sealer = Sealer {
            journal: journal.clone(),
            data: data.clone(),
            keyring: keyring.clone(),
            archives,
            pipeline: pipeline.clone(),
            interval: settings.seal.interval(),
            jobs: shared.rotations.clone(),
        };
        let ledger = sealer.open()?;
        pin::check_with(data, keyring)?;
        let store = Store::open(data.path(), store_keys)?;
        let cursor = detect_cursor(data, keyring, journal, &pipeline)?;
        shared.sealed.store(ledger.size(), Ordering::Release);
        shared.indexed.store(store.next().0, Ordering::Release);
        shared.detected.store(cursor.get().0, Ordering::Release);
        shared.detects_not.store(!settings.detects, Ordering::Release);
        *shared.rules() = Some(rules);
        let consumers = Self { shared: shared.clone(), threads: Mutex::new(Vec::new()) };
        consumers.spawn(SEALER, {
            let shared = shared.clone();
            let mut opened = Some(ledger);
            move || {
                let stopping = || shared.stop_sealing.load(Ordering::Acquire);
                when_there_is_room(SEALER, &stopping, || {
                    let ledger = match opened.take() {
                        Some(ledger) => ledger,
                        None => sealer.open()?,
                    };
                    sealer.run(ledger, &stopping, &|taken| shared.gather(taken), &|to| shared.moved(&shared.sealed, to))
                })
            }
        })?;
        consumers.spawn("index", {
            let (shared, spine, data, keys) = (shared.clone(), spine.clone(), data.clone(), store_keys.clone());
            let pipeline = pipeline.clone();
            let mut opened = Some(store);
            move || {
                when_there_is_room("index", &|| shared.stopping(), || {
                    let store = match opened.take() {
                        Some(store) => store,
                        None => Store::open(data.path(), &keys)?,
                    };
                    indexing::Indexer { shared: &shared, spine: &spine, data: &data, keys: &keys, pipeline: &pipeline }.run(store)
                })
            }
        })?;
        let detects = settings.detects;
        consumers.spawn("detect", {
            let (shared, spine, pipeline) = (shared.clone(), spine.clone(), pipeline.clone());
            let (data, keyring) = (data.clone(), keyring.clone());
            let mut opened = Some(cursor);
            move || {
                if !detects {
                    return Ok(());
                }
                when_there_is_room("detect", &|| shared.stopping(), || {
                    loop {
                        let cursor = match opened.take() {
                            Some(cursor) => cursor,
                            None => open_cursor(&data, &keyring, DETECT_CURSOR)?,
                        };
                        // Before the rules are taken: those that come now are seen to have come.
                        let exchange = shared.rules_exchanged();
                        let in_force = shared.rules().clone();
                        let rules = in_force.map_or_else(RuleSet::builtin, |rules| rules.compile())?;
                        let detector = Detector::new(rules, exchange, &data, &keyring, cursor.get())?;
                        match detector.run(&shared, &spine, &pipeline, cursor)? {
                            Ran::Stopped => return Ok(()),
                            Ran::Held | Ran::Exchanged => {}
                        }
                    }
                })
            }
        })?;
        consumers.spawn("watch", {
            let journal = journal.clone();
            move || Ok(watchman::watch(&journal, &pipeline, heartbeat, &|| shared.stopping())?)
        })?;
        Ok(consumers)
    }

    fn spawn(&self, name: &'static str, work: impl FnOnce() -> Result<(), Failure> + Send + 'static) -> Result<(), NodeError> {
        let shared = self.shared.clone();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            if GIVE_WAY.contains(&name) {
                give_way(name);
            }
            // A consumer that fails stops alone. What is recorded stays recorded; the failure is shown and the consumer
            // continues from its cursor at the next start.
            let mut report = Report { shared: &shared, name, outcome: Some("panicked; please report this".to_owned()) };
            report.outcome = work().err().map(|error| error.to_string());
        });
        let thread = thread.map_err(|source| NodeError::Io { what: format!("thread {name}"), source })?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    /// Starts to look after something every so often, until the stop.
    pub(crate) fn start_looking(
        &self,
        name: &'static str,
        every: Duration,
        look: impl Fn() + Send + 'static,
    ) -> Result<(), NodeError> {
        let shared = self.shared.clone();
        self.spawn(name, move || {
            while !shared.stopping() {
                look();
                shared.sleep(every);
            }
            Ok(())
        })
    }

    pub(crate) fn progress(&self, recorded: u64) -> Progress {
        Progress {
            recorded,
            sealed: self.shared.sealed.load(Ordering::Acquire),
            indexed: self.shared.indexed.load(Ordering::Acquire),
            detected: self.shared.detected.load(Ordering::Acquire),
        }
    }

    /// By which the detector gets other rules.
    pub(crate) fn rule_exchange(&self) -> RuleExchange {
        RuleExchange(self.shared.clone())
    }

    /// The rules that detection goes by, as they are known, without compiling them anew.
    pub(crate) fn rules_in_force(&self) -> Option<Uncompiled> {
        self.shared.rules().clone()
    }

    /// The rules that detection goes by.
    pub(crate) fn rules(&self) -> Result<Uncompiled, detect::RuleError> {
        let in_force = self.shared.rules().clone();
        in_force.map_or_else(|| Ok(RuleSet::builtin()?.into_uncompiled()), Ok)
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until a consumer has moved, at most for `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) {
        let _awaited = Awaited::by(&self.shared);
        let gate = self.shared.gate.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.shared.changed.wait_timeout(gate, timeout));
    }

    /// Has the detector wait once it has seen the records before `end`: what it found in them is recorded then. `None` when it was not
    /// within `timeout`.
    pub(crate) fn hold_detector(&self, end: Seq, timeout: Duration) -> Option<DetectorHeld> {
        let until = Instant::now() + timeout;
        *self.shared.holding() = Holding { from: Some(end.0), waits: false };
        let held = DetectorHeld(self.shared.clone());
        while !self.shared.holding().waits {
            if Instant::now() >= until || self.failure().is_some() {
                return None;
            }
            self.wait(Duration::from_millis(50));
        }
        Some(held)
    }

    /// Waits until the records before `end` are sealed and in the store. `false` when it was not within `timeout`.
    pub(crate) fn keep_to(&self, end: Seq, timeout: Duration) -> bool {
        self.wait_for(timeout, |Progress { sealed, indexed, .. }| sealed.min(indexed) >= end.0)
    }

    /// Waits until every consumer has seen the records before `end`. `false` when it was not within `timeout`.
    pub(crate) fn flush_to(&self, end: Seq, timeout: Duration) -> bool {
        self.wait_for(timeout, |_| self.have_seen(end.0))
    }

    /// Whether every consumer has seen the records before `end`: of detection, if anybody detects here.
    pub(crate) fn have_seen(&self, end: u64) -> bool {
        let Progress { sealed, indexed, detected, .. } = self.progress(0);
        let detects_not = self.shared.detects_not.load(Ordering::Acquire);
        sealed.min(indexed) >= end && (detects_not || detected >= end)
    }

    fn wait_for(&self, timeout: Duration, is_there: impl Fn(Progress) -> bool) -> bool {
        let until = Instant::now() + timeout;
        loop {
            if is_there(self.progress(0)) {
                return true;
            }
            if Instant::now() >= until || self.failure().is_some() {
                return false;
            }
            self.wait(Duration::from_millis(50));
        }
    }

    /// Builds the days of the store anew, from that of `from` on, out of what the archive and the journal hold now.
    pub(crate) fn rebuild_store(&self, from: Timestamp, timeout: Duration) -> Result<(), String> {
        let (done, waits) = std::sync::mpsc::channel();
        self.ask(StoreJob::Rebuild { from, done });
        match waits.recv_timeout(timeout) {
            Ok(outcome) => outcome,
            Err(_) => Err(self.failure().unwrap_or_else(|| "the store could not be built anew in time".to_owned())),
        }
    }

    /// Builds some days of the store anew.
    pub(crate) fn rebuild_days(&self, days: BTreeSet<String>, timeout: Duration) -> Result<(), String> {
        self.shared.rebuild_days(days, timeout)
    }

    /// Lets the log have other keys.
    pub(crate) fn rotate_log_keys(&self, overlap: u64) -> Result<Rotation, LogKeyError> {
        let (done, waits) = std::sync::mpsc::channel();
        self.shared.rotations.lock().unwrap_or_else(PoisonError::into_inner).push_back(RotationJob { overlap, done });
        // A sealer that has ended takes nothing any more, and one that ends leaves what it has not taken.
        loop {
            match waits.recv_timeout(ROTATION_LOOK) {
                Ok(outcome) => return outcome,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if self.failure().is_some() || self.shared.stopping() => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        self.shared.rotations.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Err(LogKeyError::Stopped(self.failure().unwrap_or_else(|| "the server stops".to_owned())))
    }

    /// Gives the store's writer something to do.
    pub(crate) fn ask(&self, job: StoreJob) {
        self.shared.jobs.lock().unwrap_or_else(PoisonError::into_inner).push_back(job);
    }

    /// Asks the consumers to stop, waits for them, and says what failed.
    pub(crate) fn stop(&self) -> Option<String> {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.awaited.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let (sealer, others): (Vec<_>, Vec<_>) = threads.into_iter().partition(|thread| thread.thread().name() == Some(SEALER));
        // A panic has been noted by the thread itself.
        others.into_iter().for_each(|thread| drop(thread.join()));
        self.shared.stop_sealing.store(true, Ordering::Release);
        sealer.into_iter().for_each(|thread| drop(thread.join()));
        self.failure()
    }
}

impl Drop for Consumers {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Somebody waits for the consumers: as long as this is there they gather nothing.
struct Awaited<'a>(&'a Shared);

impl<'a> Awaited<'a> {
    fn by(shared: &'a Shared) -> Self {
        *shared.waiting() += 1;
        shared.awaited.notify_all();
        Self(shared)
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        *self.0.waiting() -= 1;
    }
}

/// A consumer's cursor, with a tag of the keyring: whoever could move it on would keep records from the consumer.
fn open_cursor(data: &DataDir, keyring: &Keyring, name: &str) -> Result<Cursor, NodeError> {
    let tags = keyring.authenticator(name)?;
    Ok(Cursor::open(data.state(name), Arc::new(move |bytes| tags.tag(bytes)))?)
}

/// Says what became of a consumer when its thread ends, however it ends.
struct Report<'a> {
    shared: &'a Shared,
    name: &'static str,
    outcome: Option<String>,
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        if let Some(outcome) = self.outcome.take() {
            tracing::error!(consumer = self.name, outcome, "consumer stopped");
            let mut failure = self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert_with(|| format!("consumer {}: {outcome}", self.name));
        }
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn rules(&self) -> MutexGuard<'_, Option<Uncompiled>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often the rules were exchanged.
    fn rules_exchanged(&self) -> u64 {
        self.exchanges.load(Ordering::Acquire)
    }

    fn waiting(&self) -> MutexGuard<'_, usize> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets records gather after a consumer has taken some at `taken`.
    fn gather(&self, taken: Instant) {
        let mut waiting = self.waiting();
        loop {
            let left = GATHER.saturating_sub(taken.elapsed());
            if *waiting > 0 || left.is_zero() || self.stopping() {
                return;
            }
            waiting = self.awaited.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn holding(&self) -> MutexGuard<'_, Holding> {
        self.detector.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the detector is to wait here.
    fn is_detector_to_wait(&self) -> bool {
        self.holding().from.is_some_and(|from| self.detected.load(Ordering::Acquire) >= from)
    }

    /// Waits as long as the detector is to wait here. Whether it was.
    fn hold_detector(&self) -> bool {
        let place = self.detected.load(Ordering::Acquire);
        let is_due = |holding: &Holding| holding.from.is_some_and(|from| place >= from);
        let mut waited = false;
        loop {
            {
                let mut holding = self.holding();
                if !is_due(&holding) {
                    return waited;
                }
                holding.waits = true;
            }
            self.changed.notify_all();
            waited = true;
            if self.stopping() {
                return false;
            }
            std::thread::sleep(HOLD_LOOK);
        }
    }

    /// The place up to which every consumer has seen the records.
    fn seen(&self) -> Seq {
        let places = [&self.sealed, &self.indexed, &self.detected].map(|place| place.load(Ordering::Acquire));
        Seq(places.into_iter().min().unwrap_or(0))
    }

    /// Waits, and less long when it is time to stop.
    fn sleep(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.stopping() && Instant::now() < until {
            std::thread::sleep(IDLE.min(time));
        }
    }

    fn moved(&self, what: &AtomicU64, to: u64) {
        what.store(to, Ordering::Release);
        self.changed.notify_all();
    }
}

/// Records that follow each other, and where to go on when what follows is gone.
struct Batch {
    records: Vec<Record>,
    skip: Option<Seq>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.skip.is_none()
    }
}

fn read_batch(reader: &mut SpineReader, most: usize) -> Result<Batch, Failure> {
    let mut batch = Batch { records: Vec::new(), skip: None };
    let mut bytes = 0;
    while batch.records.len() < most && bytes < INDEX_BATCH_BYTES_MAX && batch.skip.is_none() {
        match reader.next()? {
            None => break,
            Some(Step::Skip(to)) => batch.skip = Some(to),
            Some(Step::Record(record)) => {
                bytes += record.event_json.len() + record.contents.iter().map(|content| content.text.len()).sum::<usize>();
                batch.records.push(record);
            }
        }
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_for_the_consumers_ends_their_gathering() {
        let shared = Shared::default();
        // So that time alone never ends it.
        let taken = Instant::now() + Duration::from_secs(3_600);
        std::thread::scope(|scope| {
            let gathers = scope.spawn(|| shared.gather(taken));
            let awaited = Awaited::by(&shared);
            gathers.join().unwrap();
            shared.gather(taken);
            drop(awaited);
            assert_eq!(*shared.waiting(), 0);
            let gathers = scope.spawn(|| shared.gather(taken));
            shared.stop.store(true, Ordering::Release);
            gathers.join().unwrap();
        });
    }
}
