//! Events that wait for delivery: bounded in number and in bytes.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::client::{Receipt, RecordError};
use crate::losses::{Loss, Losses};

/// Who waits for an event's receipt.
pub(crate) type Waiter = oneshot::Sender<Result<Option<Receipt>, RecordError>>;

/// An event on its way.
pub(crate) struct Item {
    /// The JSON; `None` for a mark that only says when all before it are done.
    pub(crate) json: Option<String>,
    /// When it is given up.
    pub(crate) until: Instant,
    pub(crate) waiter: Option<Waiter>,
}

/// What a client and its worker share.
pub(crate) struct Queue {
    state: Mutex<State>,
    wake: Notify,
    events_max: usize,
    bytes_max: usize,
}

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    /// Events and bytes that wait or are on their way.
    events: usize,
    bytes: usize,
    losses: Losses,
    is_closed: bool,
}

impl Item {
    pub(crate) fn bytes(&self) -> usize {
        self.json.as_ref().map_or(0, String::len)
    }

    /// Tells who waits. Nobody may.
    pub(crate) fn answer(self, answer: Result<Option<Receipt>, RecordError>) {
        if let Some(waiter) = self.waiter {
            drop(waiter.send(answer));
        }
    }
}

impl Queue {
    pub(crate) fn new(events_max: usize, bytes_max: usize) -> Self {
        Self { state: Mutex::default(), wake: Notify::new(), events_max, bytes_max }
    }

    /// Puts an item behind the others. One for which there is no room is counted.
    pub(crate) fn push(&self, item: Item) -> Result<(), RecordError> {
        let mut state = self.state();
        if state.is_closed {
            return Err(RecordError::Closed);
        }
        if item.json.is_some() {
            if state.events >= self.events_max || state.bytes + item.bytes() > self.bytes_max {
                state.losses.add(Loss::QueueFull, 1);
                return Err(RecordError::QueueFull);
            }
            state.events += 1;
            state.bytes += item.bytes();
        }
        state.items.push_back(item);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Waits for something to deliver and takes it: some events, or marks, up to `bytes_max` and `events_max`. `None` when the
    /// client is gone and nothing is left.
    pub(crate) async fn next(&self, events_max: usize, bytes_max: usize) -> Option<Vec<Item>> {
        loop {
            {
                let mut state = self.state();
                if !state.items.is_empty() {
                    return Some(take(&mut state.items, events_max, bytes_max));
                }
                if state.is_closed {
                    return None;
                }
            }
            self.wake.notified().await;
        }
    }

    /// Makes the room of items that are done.
    pub(crate) fn done(&self, events: usize, bytes: usize) {
        let mut state = self.state();
        state.events = state.events.saturating_sub(events);
        state.bytes = state.bytes.saturating_sub(bytes);
    }

    /// No more is taken; what waits is still delivered.
    pub(crate) fn close(&self) {
        self.state().is_closed = true;
        self.wake.notify_one();
    }

    /// Lets the worker look at losses although nothing waits.
    pub(crate) fn nudge(&self, until: Instant) {
        // A closed queue tells of its losses with what it still delivers.
        drop(self.push(Item { json: None, until, waiter: None }));
    }

    pub(crate) fn lose(&self, loss: Loss, count: u64) {
        self.state().losses.add(loss, count);
    }

    pub(crate) fn join_losses(&self, losses: Losses) {
        self.state().losses.join(losses);
    }

    pub(crate) fn losses(&self) -> Losses {
        self.state().losses.clone()
    }

    /// The server knows of these.
    pub(crate) fn told(&self, losses: &Losses) {
        self.state().losses.told(losses);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first items: at least one, and as many more as fit.
fn take(items: &mut VecDeque<Item>, events_max: usize, bytes_max: usize) -> Vec<Item> {
    let mut taken: Vec<Item> = Vec::new();
    let mut bytes = 0;
    while let Some(item) = items.front() {
        if !taken.is_empty() && (taken.len() >= events_max || bytes + item.bytes() > bytes_max) {
            break;
        }
        bytes += item.bytes();
        taken.extend(items.pop_front());
    }
    taken
}
