//! Sends events through the real pipeline and waits until the last one is sealed, indexed and detected.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use capture::{Raw, RawEvent, RecordError, Recorder};
use event::{Event, Timestamp};
use server::{Node, NodeSettings, RootKeyPlace};

use super::free_bytes;
use crate::{say, usage};

/// Events in one batch.
const BATCH_EVENTS: usize = 512;

/// Bytes of one batch: what is under way at once fits into the journal's queue.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Batches under way at once: one is written while the next are prepared.
const BATCHES_UNDER_WAY: usize = 4;

/// Batches that are made ahead.
const BATCHES_AHEAD: usize = 4;

/// Room on the disk at which no more is written: the machine is not ours alone.
const FREE_BYTES_MIN: u64 = 4 * 1024 * 1024 * 1024;

/// When a file of the journal is archived that is not full.
const ARCHIVE_AFTER: Duration = Duration::from_secs(3_600);

/// How often progress is told and the disk looked at.
const LOOK: Duration = Duration::from_secs(10);

/// How long the consumers may take after the last event.
const CATCH_UP: Duration = Duration::from_secs(6 * 3_600);

/// Traces and sessions of which one is kept, so that they can be asked for afterwards.
const SAMPLE_EVERY: u64 = 997;

/// What was written and how long it took.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) events: u64,
    /// Bytes of the events as JSON with every text in every event.
    pub(super) raw_bytes: u64,
    pub(super) acknowledged: Duration,
    pub(super) sealed: Duration,
    pub(super) indexed: Duration,
    pub(super) detected: Duration,
    /// Until the data directory was closed.
    pub(super) closed: Duration,
    /// CPU time by the name of the thread.
    pub(super) cpu: BTreeMap<String, Duration>,
    pub(super) records: u64,
    pub(super) traces: Vec<String>,
    pub(super) sessions: Vec<String>,
    /// Why it ended before its time.
    pub(super) cut: Option<String>,
}

struct Batch {
    events: Vec<RawEvent>,
    raw_bytes: u64,
    traces: Vec<String>,
    sessions: Vec<String>,
}

/// Writes events into a new data directory. Past `deadline` no more events are sent.
pub(super) fn write(
    data: &Path,
    root: &RootKeyPlace,
    events: Box<dyn Iterator<Item = Event<String>> + Send>,
    deadline: Option<Duration>,
) -> anyhow::Result<Written> {
    // Full files of the journal are archived at once, as in a server.
    let settings = NodeSettings { archive_after: Some(ARCHIVE_AFTER), ..NodeSettings::default() };
    let node = Node::open(data, root, &settings)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().thread_name("pipeline").thread_keep_alive(CATCH_UP).enable_all().build()?;
    let (sender, batches) = sync_channel(BATCHES_AHEAD);
    // It ends with its receiver; CPU time is read while it is there, so it is joined by nobody.
    let generator = std::thread::Builder::new().name("generate".to_owned());
    let (done, hold) = sync_channel::<()>(0);
    let generator = generator.spawn(move || {
        let mut events = events;
        while let Some(batch) = next_batch(&mut events) {
            if sender.send(batch).is_err() {
                break;
            }
        }
        drop(sender);
        hold.recv().unwrap_or_default();
    })?;
    let before = usage::cpu_by_thread("self")?;
    let began = Instant::now();
    let mut written = Written::default();
    runtime.block_on(send_all(&node, data, batches, deadline, began, &mut written))?;
    written.acknowledged = began.elapsed();
    let recorded = node.progress().recorded;
    let mut told = Instant::now();
    loop {
        let progress = node.progress();
        let at = began.elapsed();
        for (done, time) in [
            (progress.sealed, &mut written.sealed),
            (progress.indexed, &mut written.indexed),
            (progress.detected, &mut written.detected),
        ] {
            if done >= recorded && time.is_zero() {
                *time = at;
            }
        }
        if node.flush(Duration::from_millis(20)) {
            break;
        }
        if let Some(reason) = node.stopped() {
            bail!("a consumer stopped: {reason}");
        }
        if at > CATCH_UP {
            bail!("the consumers did not catch up within {CATCH_UP:?}: {progress:?}");
        }
        if told.elapsed() > LOOK {
            told = Instant::now();
            tell(&node, at, data)?;
        }
    }
    let at = began.elapsed();
    for time in [&mut written.sealed, &mut written.indexed, &mut written.detected] {
        if time.is_zero() {
            *time = at;
        }
    }
    written.cpu = usage::spent(&before, usage::cpu_by_thread("self")?);
    written.records = node.progress().recorded;
    drop(done);
    drop(generator.join());
    node.close()?;
    written.closed = began.elapsed();
    Ok(written)
}

fn next_batch(events: &mut dyn Iterator<Item = Event<String>>) -> Option<Batch> {
    let mut batch = Batch { events: Vec::with_capacity(BATCH_EVENTS), raw_bytes: 0, traces: Vec::new(), sessions: Vec::new() };
    let mut bytes = 0;
    for mut event in events {
        // As a listener does: restoring goes by when records were received.
        event.observed = Timestamp::now();
        let mut count = Count(0);
        // A counter takes everything.
        drop(serde_json::to_writer(&mut count, &event));
        batch.raw_bytes += count.0;
        bytes += event.pieces.iter().map(|piece| piece.content.len()).sum::<usize>();
        if u64::from(event.id.as_bytes()[15]).wrapping_add(event.observed.unix_ns()).is_multiple_of(SAMPLE_EVERY) {
            batch.traces.extend(event.trace.map(|trace| trace.trace_id.to_string()));
            batch.sessions.extend(event.session.clone());
        }
        batch.events.push(
            event.map(&mut Raw::from, &mut |_, text| Raw::from(text), &|key: Raw, n| Raw::from(format!("{}#{n}", key.expose()))),
        );
        if batch.events.len() == BATCH_EVENTS || bytes >= BATCH_BYTES_MAX {
            break;
        }
    }
    (!batch.events.is_empty()).then_some(batch)
}

async fn send_all(
    node: &Node,
    data: &Path,
    batches: Receiver<Batch>,
    deadline: Option<Duration>,
    began: Instant,
    written: &mut Written,
) -> anyhow::Result<()> {
    let recorder = node.recorder();
    let mut under_way: tokio::task::JoinSet<anyhow::Result<()>> = tokio::task::JoinSet::new();
    let mut told = Instant::now();
    for batch in batches {
        while under_way.len() >= BATCHES_UNDER_WAY {
            under_way.join_next().await.context("a batch is under way")???;
        }
        written.events += batch.events.len() as u64;
        written.raw_bytes += batch.raw_bytes;
        written.traces.extend(batch.traces);
        written.sessions.extend(batch.sessions);
        under_way.spawn(send(recorder.clone(), batch.events));
        if told.elapsed() > LOOK {
            told = Instant::now();
            if tell(node, began.elapsed(), data)? < FREE_BYTES_MIN {
                written.cut = Some(format!("less than {} GB are free on the disk", FREE_BYTES_MIN / 1_000_000_000));
            }
            if deadline.is_some_and(|deadline| began.elapsed() > deadline) {
                written.cut = Some("the time given for writing was over".to_owned());
            }
            if let Some(cut) = &written.cut {
                say(&format!("no more events are sent: {cut}"));
                break;
            }
        }
    }
    while let Some(done) = under_way.join_next().await {
        done??;
    }
    Ok(())
}

async fn send(recorder: Arc<dyn Recorder>, events: Vec<RawEvent>) -> anyhow::Result<()> {
    loop {
        match recorder.record(events.clone()).await {
            Ok(_) => return Ok(()),
            Err(RecordError::Busy { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Says how far it is; gives the free bytes.
fn tell(node: &Node, at: Duration, data: &Path) -> anyhow::Result<u64> {
    let (progress, free) = (node.progress(), free_bytes(data)?);
    say(&format!(
        "{:>6.0} s: {} recorded, {} sealed, {} indexed, {} detected; {:.1} GB free",
        at.as_secs_f64(),
        progress.recorded,
        progress.sealed,
        progress.indexed,
        progress.detected,
        free as f64 / 1e9
    ));
    Ok(free)
}

/// Counts what is written to it.
struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
