//! Readers of the store that stay open between requests: to attach a partition and to compile statements takes longer than most answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use store::{Reader, StoreError};

use crate::node::Node;

/// Readers that are kept. More are opened when more are needed, and closed afterwards.
const READERS_MAX: usize = 4;

/// How long a reader is kept that nobody uses: a partition that was dropped keeps its room on the disk as long as somebody has it open.
const IDLE: Duration = Duration::from_secs(5);

/// The readers that nobody uses now.
#[derive(Default)]
pub(super) struct Readers {
    idle: Mutex<Vec<Reader>>,
    /// Whether some were used since the last look.
    was_used: AtomicBool,
    /// Whether somebody looks after them.
    is_watched: AtomicBool,
}

impl Readers {
    /// Runs `work` with a reader, on a thread that may wait.
    pub(super) fn with<T>(self: &Arc<Self>, node: &Node, work: impl FnOnce(&Reader) -> T) -> Result<T, StoreError> {
        let idle = self.idle().pop();
        let reader = idle.map_or_else(|| node.reader(), Ok)?;
        let result = work(&reader);
        self.was_used.store(true, Ordering::Relaxed);
        let mut idle = self.idle();
        if idle.len() < READERS_MAX {
            idle.push(reader);
        }
        drop(idle);
        Ok(result)
    }

    /// Closes readers that nobody has used for a while; from within an asynchronous task.
    pub(super) fn watch(self: &Arc<Self>) {
        if self.is_watched.swap(true, Ordering::AcqRel) {
            return;
        }
        let readers = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(IDLE).await;
                let Some(readers) = readers.upgrade() else { return };
                if !readers.was_used.swap(false, Ordering::Relaxed) {
                    readers.is_watched.store(false, Ordering::Release);
                    let closed = std::mem::take(&mut *readers.idle());
                    drop(tokio::task::spawn_blocking(move || drop(closed)).await);
                    return;
                }
            }
        });
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Reader>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
