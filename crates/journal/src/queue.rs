//! What waits for the writer: batches, bounded by bytes, and requests for a new file.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use futures_channel::oneshot;

use crate::Seq;
use crate::append::{Answer, Append, AppendError, Ticket};
use crate::format::{FRAME_BYTES_MAX, FRAME_FIXED_BYTES};

/// What a waiting batch takes in memory besides its bytes, so that a flood of tiny batches is bounded, too.
const REQUEST_OVERHEAD_BYTES: usize = 256;
/// The same for each event of a batch.
const APPEND_OVERHEAD_BYTES: usize = size_of::<Append>();

/// A batch that waits.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) batch: Vec<Append>,
    pub(crate) answer: oneshot::Sender<Answer>,
    frame_bytes: usize,
}

/// The batches of one group commit.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) requests: Vec<Request>,
    /// The most that its frame can take.
    pub(crate) frame_bytes_max: usize,
}

/// Somebody who waits for a new file; see [`Journal::rotate`](crate::Journal::rotate).
pub(crate) type Rotation = SyncSender<Result<Seq, AppendError>>;

/// What the writer does next.
#[derive(Debug)]
pub(crate) enum Work {
    /// Makes a group durable.
    Commit(Group),
    /// Begins a new file.
    Rotate(Vec<Rotation>),
}

#[derive(Debug)]
pub(crate) struct Queue {
    inside: Mutex<Inside>,
    came: Condvar,
    bytes_max: usize,
    group_bytes_max: usize,
}

#[derive(Debug)]
struct Inside {
    waiting: VecDeque<Request>,
    rotations: Vec<Rotation>,
    bytes: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Open,
    Closed,
    Stopped(String),
}

impl Queue {
    pub(crate) fn new(bytes_max: usize, group_bytes_max: usize) -> Self {
        let inside = Inside { waiting: VecDeque::new(), rotations: Vec::new(), bytes: 0, state: State::Open };
        Self { inside: Mutex::new(inside), came: Condvar::new(), bytes_max, group_bytes_max }
    }

    pub(crate) fn push(&self, batch: Vec<Append>) -> Result<Ticket, AppendError> {
        batch.iter().try_for_each(Append::check)?;
        let frame_bytes = batch.iter().map(Append::frame_bytes).fold(FRAME_FIXED_BYTES, usize::saturating_add);
        if frame_bytes > FRAME_BYTES_MAX {
            return Err(AppendError::too_large(frame_bytes));
        }
        let (answer, ticket) = Ticket::new();
        let request = Request { batch, answer, frame_bytes };
        let mut inside = self.lock();
        inside.state.is_open()?;
        if request.batch.is_empty() {
            // Nothing to wait for; the receiver is there, so this cannot fail.
            let _ = request.answer.send(Ok(Vec::new()));
            return Ok(ticket);
        }
        let bytes = inside.bytes.saturating_add(request.memory_bytes());
        if bytes > self.bytes_max && !inside.waiting.is_empty() {
            return Err(AppendError::Busy { waiting_bytes: inside.bytes, bytes_max: self.bytes_max });
        }
        inside.bytes = bytes;
        inside.waiting.push_back(request);
        drop(inside);
        self.came.notify_one();
        Ok(ticket)
    }

    /// Asks for a new file. The receiver is told the seq that it begins with.
    pub(crate) fn rotate(&self) -> Result<Receiver<Result<Seq, AppendError>>, AppendError> {
        let (rotation, begun) = sync_channel(1);
        let mut inside = self.lock();
        inside.state.is_open()?;
        inside.rotations.push(rotation);
        drop(inside);
        self.came.notify_one();
        Ok(begun)
    }

    /// Waits for work. `None` when the queue is closed and empty.
    pub(crate) fn take(&self) -> Option<Work> {
        let mut inside = self.lock();
        while inside.waiting.is_empty() {
            if !inside.rotations.is_empty() {
                break;
            }
            match inside.state {
                State::Open => inside = self.came.wait(inside).unwrap_or_else(PoisonError::into_inner),
                State::Closed | State::Stopped(_) => return None,
            }
        }
        // First, because under load there is always a batch that waits. Who asks wants what is acknowledged in closed
        // files, and that it is.
        if !inside.rotations.is_empty() {
            return Some(Work::Rotate(std::mem::take(&mut inside.rotations)));
        }
        let mut group = Group { requests: Vec::new(), frame_bytes_max: 0 };
        while let Some(next) = inside.waiting.front() {
            // A sum of what fits one by one; the header and the tags are counted more than once, which does no harm.
            let together = group.frame_bytes_max + next.frame_bytes;
            if !group.requests.is_empty() && together > self.group_bytes_max.min(FRAME_BYTES_MAX) {
                break;
            }
            group.frame_bytes_max = together;
            inside.bytes = inside.bytes.saturating_sub(next.memory_bytes());
            group.requests.extend(inside.waiting.pop_front());
        }
        Some(Work::Commit(group))
    }

    /// Takes no more; what waits will still be written.
    pub(crate) fn close(&self) {
        let mut inside = self.lock();
        if matches!(inside.state, State::Open) {
            inside.state = State::Closed;
        }
        drop(inside);
        self.came.notify_all();
    }

    /// Takes no more, and tells so everybody who waits.
    pub(crate) fn stop(&self, reason: &str) {
        let mut inside = self.lock();
        inside.state = State::Stopped(reason.to_owned());
        inside.bytes = 0;
        let waiting = std::mem::take(&mut inside.waiting);
        // Whose sender is dropped is told that the journal has stopped.
        inside.rotations.clear();
        drop(inside);
        for request in waiting {
            // Whoever does not wait any more does not want to know.
            let _ = request.answer.send(Err(AppendError::Stopped { reason: reason.to_owned() }));
        }
    }

    pub(crate) fn stopped(&self) -> Option<String> {
        match &self.lock().state {
            State::Stopped(reason) => Some(reason.clone()),
            State::Open | State::Closed => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        // Nothing panics while it holds the lock in the middle of a change.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_open(&self) -> Result<(), AppendError> {
        match self {
            Self::Open => Ok(()),
            Self::Closed => Err(AppendError::Closed),
            Self::Stopped(reason) => Err(AppendError::Stopped { reason: reason.clone() }),
        }
    }
}

impl Request {
    fn memory_bytes(&self) -> usize {
        let events = self.batch.len().saturating_mul(APPEND_OVERHEAD_BYTES);
        self.frame_bytes.saturating_add(events).saturating_add(REQUEST_OVERHEAD_BYTES)
    }
}
