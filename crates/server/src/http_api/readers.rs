//! Readers of the store that stay open between requests: to attach a partition and to compile statements takes longer than most answers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use store::{Reader, StoreError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::node::Node;

/// Readers that are kept. More are opened when more are needed, and closed afterwards.
const KEPT_MAX: usize = 4;

/// Readers at once. Each opens a file for every day of the store, up to 120, and holds pages of it.
const READERS_MAX: usize = 16;

/// How long a request waits for one of them.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// How long a reader is kept that nobody uses: a partition that was dropped keeps its room on the disk as long as somebody has it open.
const IDLE: Duration = Duration::from_secs(5);

/// The readers of the store.
pub(super) struct Readers {
    kept: Mutex<Kept>,
    room: Arc<Semaphore>,
}

/// The readers that nobody uses now. One lock for all of it: else one that is given back while those before it are closed stays open.
#[derive(Default)]
struct Kept {
    idle: Vec<Reader>,
    /// Whether some were used since the last look.
    was_used: bool,
    /// Whether somebody looks after them.
    is_watched: bool,
}

/// Room for a reader, for as long as it is held.
pub(super) type Room = OwnedSemaphorePermit;

impl Default for Readers {
    fn default() -> Self {
        Self { kept: Mutex::default(), room: Arc::new(Semaphore::new(READERS_MAX)) }
    }
}

impl Readers {
    /// Room for a reader, as soon as there is some; none when there was none for a while.
    pub(super) async fn room(&self) -> Option<Room> {
        self.room_within(WAIT_MAX).await
    }

    async fn room_within(&self, wait_max: Duration) -> Option<Room> {
        let permit = tokio::time::timeout(wait_max, self.room.clone().acquire_owned()).await;
        // It is never closed.
        permit.ok()?.ok()
    }

    /// Runs `work` with a reader, on a thread that may wait.
    pub(super) fn with<T>(self: &Arc<Self>, node: &Node, _room: Room, work: impl FnOnce(&Reader) -> T) -> Result<T, StoreError> {
        let idle = self.kept().idle.pop();
        let reader = idle.map_or_else(|| node.reader(), Ok)?;
        let result = work(&reader);
        let mut kept = self.kept();
        // Without somebody who looks after it nobody would close it: see `watch`.
        if kept.is_watched && kept.idle.len() < KEPT_MAX {
            kept.was_used = true;
            kept.idle.push(reader);
        } else {
            drop(kept);
            drop(reader);
        }
        Ok(result)
    }

    /// Closes readers that nobody has used for a while; from within an asynchronous task.
    pub(super) fn watch(self: &Arc<Self>) {
        let mut kept = self.kept();
        kept.was_used = true;
        if std::mem::replace(&mut kept.is_watched, true) {
            return;
        }
        drop(kept);
        let readers = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(IDLE).await;
                let Some(readers) = readers.upgrade() else { return };
                if let Some(closed) = readers.closed() {
                    drop(tokio::task::spawn_blocking(move || drop(closed)).await);
                    return;
                }
            }
        });
    }

    /// The readers that are to be closed, where none was used since the last look. Then nobody looks after them any more.
    fn closed(&self) -> Option<Vec<Reader>> {
        let mut kept = self.kept();
        if std::mem::take(&mut kept.was_used) {
            return None;
        }
        kept.is_watched = false;
        Some(std::mem::take(&mut kept.idle))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn there_is_room_for_so_many_readers_and_whoever_waits_too_long_is_told() {
        let readers = Readers::default();
        let mut rooms = Vec::new();
        for _ in 0..READERS_MAX {
            rooms.push(readers.room().await.unwrap());
        }
        assert!(readers.room_within(Duration::from_millis(10)).await.is_none());
        let (room, ()) = tokio::join!(readers.room(), async { drop(rooms.pop()) });
        assert!(room.is_some());
    }

    #[tokio::test]
    async fn readers_are_looked_after_as_long_as_they_are_used() {
        let readers = Arc::new(Readers::default());
        readers.watch();
        assert!(readers.closed().is_none() && readers.kept().is_watched);
        readers.watch();
        assert!(readers.closed().is_none(), "somebody has come again");
        assert!(readers.closed().is_some() && !readers.kept().is_watched);
        readers.watch();
        assert!(readers.kept().is_watched);
    }
}
