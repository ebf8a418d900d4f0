//! What is appended and what comes back.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use event::EventId;
use futures_channel::oneshot;

use crate::format::{FRAME_BYTES_MAX, INDEX_ENTRY_BYTES};
use crate::{ContentEntry, RECORD_CONTENTS_MAX, Seq};

/// Bytes of a record besides its event and its contents.
const RECORD_FIXED_BYTES: usize = 1 + 32 + 16 + 4 + 4;
/// Bytes of a content besides its text.
const CONTENT_FIXED_BYTES: usize = 32 + 16 + 16 + 4;

/// An event to be recorded.
#[derive(Debug, Clone)]
pub struct Append {
    pub(crate) id: EventId,
    /// As `serde_json` writes `RecordedEvent<Clean>`. Its `id` is the one above.
    pub(crate) event_json: Vec<u8>,
    pub(crate) contents: Vec<ContentEntry>,
}

impl Append {
    /// The append of a recorded event with every content that it refers to; the journal writes those that it has not
    /// written yet. There is no other way to make one: its JSON and its id cannot disagree, and its text is clean.
    ///
    /// # Errors
    /// When the event does not serialise.
    pub fn of(event: &event::RecordedEvent<sanitize::Clean>, contents: Vec<ContentEntry>) -> Result<Self, serde_json::Error> {
        Ok(Self { id: event.id, event_json: serde_json::to_vec(event)?, contents })
    }

    /// The event's id. An event whose id was recorded before is not recorded again.
    #[must_use]
    pub fn id(&self) -> EventId {
        self.id
    }

    /// The event as it will be recorded.
    #[must_use]
    pub fn event_json(&self) -> &[u8] {
        &self.event_json
    }

    /// The contents that it brings.
    #[must_use]
    pub fn contents(&self) -> &[ContentEntry] {
        &self.contents
    }

    /// What it takes in a frame if every content has to be written.
    pub(crate) fn frame_bytes(&self) -> usize {
        let contents = self.contents.iter().map(|content| CONTENT_FIXED_BYTES.saturating_add(content.text.len()));
        contents.fold(INDEX_ENTRY_BYTES + RECORD_FIXED_BYTES + self.event_json.len(), usize::saturating_add)
    }

    /// Whether a record can hold it.
    pub(crate) fn check(&self) -> Result<(), AppendError> {
        if self.contents.len() > RECORD_CONTENTS_MAX {
            return Err(AppendError::TooManyContents { contents: self.contents.len() });
        }
        Ok(())
    }
}

/// Where an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its place.
    pub seq: Seq,
    /// Whether it had been recorded before; then `seq` is its place from that time.
    pub duplicate: bool,
}

/// Why a batch was not recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Too much waits for the disk. Nothing of the batch was written; it can be sent again later.
    #[error("the journal is busy: {waiting_bytes} bytes wait to be written, at most {bytes_max} may; try again later")]
    Busy {
        /// What waits.
        waiting_bytes: usize,
        /// [`Options::queue_bytes_max`](crate::Options::queue_bytes_max).
        bytes_max: usize,
    },
    /// The batch can never be written as one. Nothing of it was.
    #[error("the batch takes {bytes} bytes, at most {bytes_max} fit into one commit; send it in parts")]
    TooLarge {
        /// What it takes.
        bytes: usize,
        /// What fits.
        bytes_max: usize,
    },
    /// An event brings more contents than a record can hold. Nothing of the batch was written.
    #[error("an event brings {contents} contents, at most {RECORD_CONTENTS_MAX} can be")]
    TooManyContents {
        /// How many it brings.
        contents: usize,
    },
    /// There is no room for another segment. Nothing of the batch was written; it can be sent again when there is.
    #[error("the disk is full: {reason}; free space, the journal goes on by itself")]
    DiskFull {
        /// What the system says.
        reason: String,
    },
    /// The writer has stopped after an error of the disk, for good. Whether the batch is on disk is not known.
    #[error("the journal has stopped: {reason}; check the disk, then start again")]
    Stopped {
        /// What happened.
        reason: String,
    },
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
}

impl AppendError {
    pub(crate) fn too_large(bytes: usize) -> Self {
        Self::TooLarge { bytes, bytes_max: FRAME_BYTES_MAX }
    }
}

/// The answer to an append, when it comes: a future, or [`wait`](Ticket::wait) for it.
///
/// Dropping the ticket does not take the batch back.
#[derive(Debug)]
#[must_use = "an append is durable only when its ticket says so"]
pub struct Ticket(oneshot::Receiver<Answer>);

pub(crate) type Answer = Result<Vec<Appended>, AppendError>;

impl Ticket {
    pub(crate) fn new() -> (oneshot::Sender<Answer>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(receiver))
    }

    /// Blocks until the batch is durable, or is not going to be.
    pub fn wait(self) -> Result<Vec<Appended>, AppendError> {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut ticket = pin!(self);
        loop {
            match ticket.as_mut().poll(&mut context) {
                Poll::Ready(answer) => return answer,
                Poll::Pending => std::thread::park(),
            }
        }
    }
}

impl Future for Ticket {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        Pin::new(&mut self.0).poll(context).map(|answer| {
            answer.unwrap_or_else(|_| Err(AppendError::Stopped { reason: "the writer has ended without an answer".to_owned() }))
        })
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
