//! The consumers of the journal: seal, index, detect. Each is a thread with a durable cursor of its own; none of them
//! stands between a caller and its acknowledgement, and each continues after a restart where it stopped.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use detect::{Engine, RuleSet};
use event::{ContentId, ContentRef, Timestamp};
use journal::{Cursor, Journal, Reader, Record, Seq};
use ledger::{Ledger, LogKey};
use lru::LruCache;
use sanitize::Clean;
use store::Store;

use crate::data_dir::DataDir;
use crate::node::{NodeError, Progress};
use crate::pipeline::Pipeline;

/// How often new records are sealed under a signed checkpoint.
const SEAL_INTERVAL: Duration = Duration::from_secs(1);

/// Records between two seals at the most, so that a seal's work stays bounded in an import.
const SEAL_RECORDS_MAX: u64 = 100_000;

/// Records in one transaction of the store.
const INDEX_BATCH_MAX: usize = 1_024;

/// Bytes of records in one transaction of the store.
const INDEX_BATCH_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Records before the cursor that the detector reads again at a start, to know the sessions that were open.
const DETECT_WARM_UP_RECORDS: u64 = 50_000;

/// Records after which the detector writes its cursor.
const DETECT_BATCH_MAX: usize = 1_024;

/// Contents that the detector keeps at hand.
const DETECT_CONTENTS: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();

/// How long a consumer sleeps when there is nothing to do; a new record wakes it sooner.
const IDLE: Duration = Duration::from_millis(200);

/// How long the detector waits for the store to show a content that it needs.
const CONTENT_PATIENCE: Duration = Duration::from_secs(10);

/// The running consumers.
pub(crate) struct Consumers {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    sealed: AtomicU64,
    indexed: AtomicU64,
    detected: AtomicU64,
    failure: Mutex<Option<String>>,
    changed: Condvar,
    gate: Mutex<()>,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Consumers {
    pub(crate) fn start(
        data: &DataDir,
        journal: &Journal,
        pipeline: Arc<Pipeline>,
        log_key: LogKey,
        rules: RuleSet,
    ) -> Result<Self, NodeError> {
        let shared = Arc::new(Shared::default());
        let ledger = Ledger::open(data.path(), log_key)?;
        let store = Store::open(data.path())?;
        let cursor = Cursor::open(data.state("detect.cursor"))?;
        shared.sealed.store(ledger.size(), Ordering::Release);
        shared.indexed.store(store.next().0, Ordering::Release);
        shared.detected.store(cursor.get().0, Ordering::Release);
        let consumers = Self { shared: shared.clone(), threads: Mutex::new(Vec::new()) };
        consumers.spawn("seal", {
            let (shared, journal) = (shared.clone(), journal.clone());
            move || seal(&shared, &journal, ledger)
        })?;
        consumers.spawn("index", {
            let (shared, journal) = (shared.clone(), journal.clone());
            move || index(&shared, &journal, store)
        })?;
        consumers.spawn("detect", {
            let (shared, journal, data) = (shared, journal.clone(), data.clone());
            move || Detector::new(&data, rules)?.run(&shared, &journal, &pipeline, cursor)
        })?;
        Ok(consumers)
    }

    fn spawn(&self, name: &'static str, work: impl FnOnce() -> Result<(), Failure> + Send + 'static) -> Result<(), NodeError> {
        let shared = self.shared.clone();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            // A consumer that fails stops alone. What is recorded stays recorded; the failure is shown and the consumer
            // continues from its cursor at the next start.
            if let Err(error) = work() {
                tracing::error!(consumer = name, %error, "consumer stopped");
                let mut failure = shared.failure.lock().unwrap_or_else(PoisonError::into_inner);
                failure.get_or_insert_with(|| format!("consumer {name}: {error}"));
            }
            shared.changed.notify_all();
        });
        let thread = thread.map_err(|source| NodeError::Io { what: format!("thread {name}"), source })?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    pub(crate) fn progress(&self, recorded: u64) -> Progress {
        Progress {
            recorded,
            sealed: self.shared.sealed.load(Ordering::Acquire),
            indexed: self.shared.indexed.load(Ordering::Acquire),
            detected: self.shared.detected.load(Ordering::Acquire),
        }
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until a consumer has moved, at most for `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) {
        let gate = self.shared.gate.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.shared.changed.wait_timeout(gate, timeout));
    }

    /// Asks the consumers to stop, waits for them, and says what failed.
    pub(crate) fn stop(&self) -> Option<String> {
        self.shared.stop.store(true, Ordering::Release);
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                let mut failure = self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner);
                failure.get_or_insert_with(|| "a consumer panicked; please report this".to_owned());
            }
        }
        self.failure()
    }
}

impl Drop for Consumers {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn moved(&self, what: &AtomicU64, to: u64) {
        what.store(to, Ordering::Release);
        self.changed.notify_all();
    }
}

fn seal(shared: &Shared, journal: &Journal, mut ledger: Ledger) -> Result<(), Failure> {
    let mut reader = journal.reader(Seq(ledger.size()))?;
    let mut sealed = ledger.size();
    let mut due = Instant::now() + SEAL_INTERVAL;
    loop {
        let record = reader.next()?;
        if let Some(record) = &record {
            ledger.append(record)?;
        }
        let stopping = shared.stopping();
        let pending = ledger.size() - sealed;
        let idle = record.is_none();
        // At the end of the journal a seal need not wait: callers that want the record sealed are served sooner, and an
        // idle log is always whole.
        if pending > 0 && (Instant::now() >= due || pending >= SEAL_RECORDS_MAX || (idle && stopping)) {
            ledger.seal(Timestamp::now())?;
            sealed = ledger.size();
            due = Instant::now() + SEAL_INTERVAL;
            shared.moved(&shared.sealed, sealed);
        }
        if idle {
            if stopping {
                return Ok(());
            }
            let patience = if pending > 0 { due.saturating_duration_since(Instant::now()).min(IDLE) } else { IDLE };
            reader.wait(patience);
        }
    }
}

fn index(shared: &Shared, journal: &Journal, mut store: Store) -> Result<(), Failure> {
    let mut reader = journal.reader(store.next())?;
    loop {
        let batch = read_batch(&mut reader, INDEX_BATCH_MAX)?;
        if batch.is_empty() {
            if shared.stopping() {
                return Ok(());
            }
            reader.wait(IDLE);
            continue;
        }
        store.index(&batch)?;
        shared.moved(&shared.indexed, store.next().0);
    }
}

fn read_batch(reader: &mut Reader, most: usize) -> Result<Vec<Record>, Failure> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    while batch.len() < most && bytes < INDEX_BATCH_BYTES_MAX {
        let Some(record) = reader.next()? else { break };
        bytes += record.event_json.len() + record.contents.iter().map(|content| content.text.len()).sum::<usize>();
        batch.push(record);
    }
    Ok(batch)
}

struct Detector {
    engine: Engine,
    contents: LruCache<ContentId, Clean>,
    data: DataDir,
    store: Option<store::Reader>,
}

impl Detector {
    fn new(data: &DataDir, rules: RuleSet) -> Result<Self, Failure> {
        Ok(Self { engine: Engine::new(rules), contents: LruCache::new(DETECT_CONTENTS), data: data.clone(), store: None })
    }

    fn run(mut self, shared: &Shared, journal: &Journal, pipeline: &Pipeline, mut cursor: Cursor) -> Result<(), Failure> {
        let done = cursor.get();
        let mut reader = journal.reader(Seq(done.0.saturating_sub(DETECT_WARM_UP_RECORDS)))?;
        loop {
            let batch = read_batch(&mut reader, DETECT_BATCH_MAX)?;
            let Some(last) = batch.last().map(|record| record.seq) else {
                if shared.stopping() {
                    return Ok(());
                }
                reader.wait(IDLE);
                continue;
            };
            let mut detections = Vec::new();
            for record in &batch {
                let found = self.observe(record)?;
                // What stands before the cursor was detected in an earlier run; it is read for the state alone.
                if record.seq >= done {
                    detections.extend(found.into_iter().map(detect::Detection::into_event));
                }
            }
            if !detections.is_empty() {
                // A detection that an earlier run recorded just before it ended has the same id and is not recorded again.
                pipeline.record_blocking(detections)?;
            }
            if last >= done {
                let next = Seq(last.0 + 1);
                cursor.set(next)?;
                shared.moved(&shared.detected, next.0);
            }
        }
    }

    fn observe(&mut self, record: &Record) -> Result<Vec<detect::Detection>, Failure> {
        for content in &record.contents {
            self.contents.put(content.id, content.text.clone());
        }
        let event = record.event()?;
        let Self { engine, contents, data, store } = self;
        Ok(engine.observe(record.seq, &event, &mut |reference| look_up(contents, data, store, reference)))
    }
}

/// The text of a content: from memory, or from the store for what came before this program started.
fn look_up(
    contents: &mut LruCache<ContentId, Clean>,
    data: &DataDir,
    store: &mut Option<store::Reader>,
    reference: &ContentRef,
) -> Option<Clean> {
    if let Some(text) = contents.get(&reference.id) {
        return Some(text.clone());
    }
    let until = Instant::now() + CONTENT_PATIENCE;
    loop {
        if store.is_none() {
            *store = store::Reader::open(data.path()).ok();
        }
        if let Some(Ok(Some(text))) = store.as_ref().map(|store| store.content(&reference.id)) {
            contents.put(reference.id, text.clone());
            return Some(text);
        }
        if Instant::now() >= until {
            tracing::warn!(content = %reference.id, "a content is not in the store; rules do not see it");
            return None;
        }
        // The store may lag behind, or a new day's partition may not be attached yet.
        *store = None;
        std::thread::sleep(Duration::from_millis(100));
    }
}
