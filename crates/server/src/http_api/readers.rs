//! Readers of the store that stay open between requests: to attach a partition and to compile statements takes longer than most answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use store::{Reader, StoreError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::node::Node;

/// Readers that are kept. More are opened when more are needed, and closed afterwards.
const KEPT_MAX: usize = 4;

/// Readers at once. Each opens a file for every day of the store, up to 120, and holds pages of it.
const READERS_MAX: usize = 16;

/// Readers at once of one key or one person: whoever asks for much at once leaves others something.
const READERS_OF_ONE_MAX: usize = 5;

/// How long a request waits for one of them.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// How long a reader is kept that nobody uses: a partition that was dropped keeps its room on the disk as long as somebody has it open.
const IDLE: Duration = Duration::from_secs(5);

/// The readers of the store.
pub(super) struct Readers {
    kept: Mutex<Kept>,
    room: Arc<Semaphore>,
    /// Of everybody who reads or waits for it, by the id of whoever asked.
    shares: Mutex<HashMap<String, Weak<Semaphore>>>,
}

tokio::task_local! {
    /// Who asked for what this task does: the id of a key or a person.
    static ASKER: String;
}

/// Runs what somebody asked for. What it reads counts as theirs.
pub(super) async fn asked_by<T>(asker: String, work: impl Future<Output = T>) -> T {
    ASKER.scope(asker, work).await
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
#[derive(Debug)]
pub(super) struct Room {
    _room: OwnedSemaphorePermit,
    /// None of what the server reads by itself.
    _share: Option<OwnedSemaphorePermit>,
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// Others read.
    All,
    /// Whoever asks reads as much as one can at once.
    Share,
}

impl Full {
    /// What whoever asked is told.
    pub(super) fn message(self) -> String {
        match self {
            Self::All => "the store is being read by as many as it can be; ask again".to_owned(),
            Self::Share => format!(
                "{READERS_OF_ONE_MAX} requests of yours read the store already, of {READERS_MAX} of all together; ask again when \
                 one of them is done, ask for less at once, or use another key"
            ),
        }
    }
}

impl Default for Readers {
    fn default() -> Self {
        Self { kept: Mutex::default(), room: Arc::new(Semaphore::new(READERS_MAX)), shares: Mutex::default() }
    }
}

impl Readers {
    /// Room for a reader, as soon as there is some; or why there was none for a while.
    pub(super) async fn room(&self) -> Result<Room, Full> {
        self.room_within(WAIT_MAX).await
    }

    /// The same for what is made once for everybody: it is nobody's share, or whoever has used up theirs would keep it from all others.
    pub(super) async fn room_for_all(&self) -> Result<Room, Full> {
        self.room_of(None, WAIT_MAX).await
    }

    async fn room_within(&self, wait_max: Duration) -> Result<Room, Full> {
        self.room_of(ASKER.try_with(String::clone).ok(), wait_max).await
    }

    async fn room_of(&self, asker: Option<String>, wait_max: Duration) -> Result<Room, Full> {
        let until = tokio::time::Instant::now() + wait_max;
        let share = match asker.map(|asker| self.share(asker)) {
            Some(share) => Some(permit(share, until).await.ok_or(Full::Share)?),
            None => None,
        };
        let room = permit(self.room.clone(), until).await.ok_or(Full::All)?;
        Ok(Room { _room: room, _share: share })
    }

    /// The share of whoever asks.
    fn share(&self, asker: String) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(&asker).and_then(Weak::upgrade) {
            return share;
        }
        // Those of whom nobody reads any more. Whoever is left waits or reads, so that they are few.
        shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(READERS_OF_ONE_MAX));
        shares.insert(asker, Arc::downgrade(&share));
        share
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

/// A permit, as soon as there is one before a time.
async fn permit(of: Arc<Semaphore>, until: tokio::time::Instant) -> Option<OwnedSemaphorePermit> {
    // It is never closed.
    tokio::time::timeout_at(until, of.acquire_owned()).await.ok()?.ok()
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
        let short = Duration::from_millis(10);
        assert_eq!(readers.room_within(short).await.unwrap_err(), Full::All);
        let (room, ()) = tokio::join!(readers.room(), async { drop(rooms.pop()) });
        assert!(room.is_ok());
    }

    #[tokio::test]
    async fn nobody_takes_all_readers() {
        let readers = Readers::default();
        let short = Duration::from_millis(10);
        let take = |asker: &str| asked_by(asker.to_owned(), readers.room_within(short));
        let mut of_one = Vec::new();
        for _ in 0..READERS_OF_ONE_MAX {
            of_one.push(take("key_1").await.unwrap());
        }
        let refused = take("key_1").await.unwrap_err();
        assert!(refused == Full::Share && refused.message().contains("another key"), "{}", refused.message());
        let others = [take("key_2").await.unwrap(), readers.room_within(short).await.unwrap()];
        drop(of_one.pop());
        assert!(take("key_1").await.is_ok());
        drop((of_one, others));
        drop(take("key_3").await);
        assert_eq!(readers.shares.lock().unwrap().len(), 1, "who reads no more is forgotten");
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
