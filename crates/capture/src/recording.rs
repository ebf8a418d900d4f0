//! Records under way: an event goes to the recorder on a task of its own, so that it is written whatever becomes of the caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use event::{Phase, Piece, Status, attr};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::bound::bound;
use crate::{Raw, RawEvent, Receipt, RecordError, Recorder};

/// How soon an outcome that could not be recorded, because too much was under way, is tried again.
const OUTCOME_RETRY: Duration = Duration::from_millis(50);

/// Why a call cannot be recorded, as `error.type` says it.
pub(crate) const TOO_LARGE: &str = "record_too_large";
/// See [`TOO_LARGE`].
pub(crate) const BUSY: &str = "recorder_busy";

/// Text in a request from which on it goes on only after it is recorded, in bytes: what is too large for a record is larger than that.
const RECORDED_FIRST_BYTES_MIN: u64 = 1024 * 1024;

/// Records without contents that wait for room at the most: some KiB each.
const BARE_RECORDS_MAX: usize = 4_096;

/// Starts records, and knows when the last one has been written. Clones share that.
#[derive(Clone)]
pub(crate) struct Recording {
    recorder: Arc<dyn Recorder>,
    wait_max: Duration,
    /// Whether the recorder had no room the last time.
    is_full: Arc<AtomicBool>,
    /// Places for records without contents that wait for room.
    bare_records: Arc<Semaphore>,
    /// Every record under way holds a receiver of it, so that a shutdown can wait for the last one.
    under_way: watch::Sender<()>,
}

/// A record under way. Dropping it does not stop it.
pub(crate) struct Pending {
    task: JoinHandle<Result<Receipt, RecordError>>,
    wait_max: Duration,
    /// Whether it may find no place in the record, because it is large or the recorder was full: nothing goes on before that is known.
    pub(crate) goes_first: bool,
}

impl Recording {
    /// `wait_max`: the longest wait for a record to become durable.
    pub(crate) fn new(recorder: Arc<dyn Recorder>, wait_max: Duration) -> Self {
        Self {
            recorder,
            wait_max,
            is_full: Arc::new(AtomicBool::new(false)),
            bare_records: Arc::new(Semaphore::new(BARE_RECORDS_MAX)),
            under_way: watch::Sender::new(()),
        }
    }

    /// Starts recording an event, and others with it.
    pub(crate) fn record(&self, mut events: Vec<RawEvent>) -> Pending {
        events.iter_mut().for_each(bound);
        let is_large = events.iter().map(|event| text_bytes(&event.pieces)).sum::<u64>() > RECORDED_FIRST_BYTES_MIN;
        let goes_first = is_large || self.is_full.load(Ordering::Relaxed);
        let recording = self.clone();
        let under_way = self.under_way.subscribe();
        let task = tokio::spawn(async move {
            let receipts = recording.record_patiently(events).await;
            drop(under_way);
            receipts?
                .first()
                .copied()
                .ok_or_else(|| RecordError::Unavailable { reason: "the recorder gave no receipt".to_owned() })
        });
        Pending { task, wait_max: self.wait_max, goes_first }
    }

    /// Waits until nothing is under way any more.
    pub(crate) async fn drained(&self) {
        self.under_way.closed().await;
    }

    /// A request can be refused when too much is under way. The outcome of one that went upstream cannot be asked for again, so
    /// it waits for its turn, as long as its client does.
    async fn record_patiently(&self, mut events: Vec<RawEvent>) -> Result<Vec<Receipt>, RecordError> {
        let bare: Vec<RawEvent> = events.iter_mut().map(without_contents).collect();
        let recorded = if events.first().is_some_and(|event| event.phase == Phase::Request) {
            self.recorder.record(events).await
        } else {
            self.record_in_turn(events).await
        };
        self.is_full.store(matches!(recorded, Err(RecordError::Busy { .. })), Ordering::Relaxed);
        match &recorded {
            Err(RecordError::TooLarge { .. }) => self.record_bare(bare, TOO_LARGE),
            Err(RecordError::Busy { .. }) => self.record_bare(bare, BUSY),
            Ok(_) | Err(RecordError::Stopped { .. } | RecordError::Unavailable { .. }) => {}
        }
        recorded
    }

    async fn record_in_turn(&self, events: Vec<RawEvent>) -> Result<Vec<Receipt>, RecordError> {
        let until = tokio::time::Instant::now() + self.wait_max;
        loop {
            match self.recorder.record(events.clone()).await {
                Err(RecordError::Busy { .. }) if tokio::time::Instant::now() < until => {
                    tokio::time::sleep(OUTCOME_RETRY).await;
                }
                recorded => return recorded,
            }
        }
    }

    /// The call may have gone on already: that it did is recorded, without what it said, as soon as there is room. Nobody waits for it.
    fn record_bare(&self, mut events: Vec<RawEvent>, why: &'static str) {
        let Ok(place) = Arc::clone(&self.bare_records).try_acquire_owned() else {
            tracing::error!(why, "of a call nothing at all is recorded: too many others wait for that");
            return;
        };
        for event in &mut events {
            event.set(attr::ERROR_TYPE, why);
            event.status = Status::Error;
        }
        let (recording, under_way) = (self.clone(), self.under_way.subscribe());
        tokio::spawn(async move {
            if let Err(error) = recording.record_in_turn(events).await {
                tracing::error!(%error, "of a call nothing at all is recorded");
            }
            drop((under_way, place));
        });
    }
}

/// Bytes of text in pieces.
pub(crate) fn text_bytes(pieces: &[Piece<Raw>]) -> u64 {
    pieces.iter().map(|piece| piece.content.expose().len() as u64).sum()
}

/// The same event without what was said in it.
fn without_contents(event: &mut RawEvent) -> RawEvent {
    let (pieces, unmapped) = (std::mem::take(&mut event.pieces), std::mem::take(&mut event.unmapped));
    let mut bare = event.clone();
    crate::bound::add(&mut bare.attributes, attr::CONTENT_BYTES_CUT, usize::try_from(text_bytes(&pieces)).unwrap_or(usize::MAX));
    (event.pieces, event.unmapped) = (pieces, unmapped);
    bare
}

impl Pending {
    /// Waits until the event is on disk.
    pub(crate) async fn durable(&mut self) -> Result<Receipt, RecordError> {
        match tokio::time::timeout(self.wait_max, &mut self.task).await {
            Ok(Ok(recorded)) => recorded,
            Ok(Err(_)) => Err(RecordError::Unavailable { reason: "the recorder failed unexpectedly".to_owned() }),
            Err(_) => Err(RecordError::Busy { retry_after: Duration::from_secs(1) }),
        }
    }
}
