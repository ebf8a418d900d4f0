//! Where the journal begins and where it durably ends, and waiting for the end to move.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Seq;

/// Moved by the writer after each fdatasync; read by everybody.
#[derive(Debug)]
pub(crate) struct Watch {
    first: AtomicU64,
    end: AtomicU64,
    finished: AtomicBool,
    turn: Mutex<()>,
    moved: Condvar,
}

impl Watch {
    pub(crate) fn new(first: Seq, end: Seq) -> Self {
        Self {
            first: AtomicU64::new(first.0),
            end: AtomicU64::new(end.0),
            finished: AtomicBool::new(false),
            turn: Mutex::new(()),
            moved: Condvar::new(),
        }
    }

    /// The oldest record that is not retired.
    pub(crate) fn first(&self) -> Seq {
        Seq(self.first.load(Ordering::Acquire))
    }

    pub(crate) fn set_first(&self, first: Seq) {
        self.first.fetch_max(first.0, Ordering::AcqRel);
    }

    pub(crate) fn end(&self) -> Seq {
        Seq(self.end.load(Ordering::Acquire))
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    pub(crate) fn publish(&self, end: Seq) {
        self.end.store(end.0, Ordering::Release);
        self.wake();
    }

    /// Nothing will come any more.
    pub(crate) fn finish(&self) {
        self.finished.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        // Taken so that nobody is between looking at the end and beginning to wait.
        drop(self.turn.lock().unwrap_or_else(PoisonError::into_inner));
        self.moved.notify_all();
    }

    /// Waits until the end is behind `seq`. Not cut short when the journal finishes: a consumer that waits in a loop
    /// must not begin to spin then.
    pub(crate) fn wait(&self, seq: Seq, timeout: Duration) -> bool {
        let until = Instant::now().checked_add(timeout);
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        while self.end() <= seq {
            let left = until.map_or(timeout, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return false;
            }
            turn = self.moved.wait_timeout(turn, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}
