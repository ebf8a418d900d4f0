//! Requests that wait for their answers.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use event::{EventId, Phase, Timestamp};

use super::message::Id;
use crate::RawEvent;

/// Most requests of one side that wait for their answer. What is beyond them passes, and its answer is recorded as one to nothing.
const WAITING_MAX: usize = 10_000;

/// A request that waits for its answer.
pub(super) struct Waiting {
    pub(super) method: String,
    /// What request and answer have in common.
    template: RawEvent,
    since: Instant,
    pub(super) is_cancelled: bool,
    /// It asks for the first page of a list.
    pub(super) begins_list: bool,
}

/// The requests of one side that wait.
#[derive(Default)]
pub(super) struct Waitings {
    by_id: HashMap<Id, VecDeque<Waiting>>,
    count: usize,
}

impl Waiting {
    pub(super) fn new(method: &str, template: RawEvent) -> Self {
        Self { method: method.to_owned(), template, since: Instant::now(), is_cancelled: false, begins_list: false }
    }

    /// The event of the answer.
    pub(super) fn outcome(self) -> RawEvent {
        let mut event = self.template;
        event.id = EventId::random();
        event.phase = Phase::Response;
        event.observed = Timestamp::now();
        event.duration_ns = Some(u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX));
        event
    }
}

impl Waitings {
    /// Everything that waits.
    pub(super) fn into_all(self) -> impl Iterator<Item = Waiting> {
        self.by_id.into_values().flatten()
    }

    pub(super) fn holds(&self, id: &Id) -> bool {
        self.by_id.contains_key(id)
    }

    /// False: there is no room.
    pub(super) fn put(&mut self, id: Id, waiting: Waiting) -> bool {
        if self.count >= WAITING_MAX {
            return false;
        }
        self.count += 1;
        self.by_id.entry(id).or_default().push_back(waiting);
        true
    }

    /// The oldest of an id: when two have one, the first answer is the first one's.
    pub(super) fn take(&mut self, id: &Id) -> Option<Waiting> {
        self.take_with(id, VecDeque::pop_front)
    }

    pub(super) fn take_newest(&mut self, id: &Id) -> Option<Waiting> {
        self.take_with(id, VecDeque::pop_back)
    }

    fn take_with(&mut self, id: &Id, pop: impl FnOnce(&mut VecDeque<Waiting>) -> Option<Waiting>) -> Option<Waiting> {
        let queue = self.by_id.get_mut(id)?;
        let waiting = pop(queue);
        if queue.is_empty() {
            self.by_id.remove(id);
        }
        self.count -= usize::from(waiting.is_some());
        waiting
    }

    pub(super) fn cancel(&mut self, id: &Id) {
        if let Some(waiting) = self.by_id.get_mut(id).and_then(VecDeque::front_mut) {
            waiting.is_cancelled = true;
        }
    }
}
