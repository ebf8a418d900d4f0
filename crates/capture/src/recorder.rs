//! What capture asks of the rest of the program.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use event::EventId;

use crate::RawEvent;

/// Takes events, sanitises, inspects and records them, and answers when they are on disk.
pub trait Recorder: Send + Sync + 'static {
    /// Records the events, all or none of a call. The receipts come in the order of the events, and only when every
    /// one of them is durable.
    fn record(&self, events: Vec<RawEvent>) -> Pin<Box<dyn Future<Output = Result<Vec<Receipt>, RecordError>> + Send + '_>>;
}

/// That an event is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The event.
    pub event_id: EventId,
    /// Its place in the journal, which is the index of its leaf in the ledger.
    pub position: u64,
    /// Whether it had been recorded before (a retried export) and was not recorded again.
    pub duplicate: bool,
}

/// Why events were not recorded. None of them is on disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Too much is under way; the same request will go through later.
    #[error("too many events are waiting to be recorded; try again in {} s", retry_after.as_secs().max(1))]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The request can never be recorded.
    #[error("the request is too large to record: {bytes} bytes, at most {bytes_max}")]
    TooLarge {
        /// What it takes.
        bytes: usize,
        /// What can be taken.
        bytes_max: usize,
    },
    /// The journal does not write any more (disk full, I/O error); somebody has to look.
    #[error("the journal has stopped: {reason}")]
    Stopped {
        /// What happened.
        reason: String,
    },
    /// What takes events, or what it needs for that, cannot be used now: a server that is away, a key that cannot be read.
    #[error("nothing can be recorded at the moment: {reason}")]
    Unavailable {
        /// What happened.
        reason: String,
    },
}
