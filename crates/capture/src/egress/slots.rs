//! Places of which no caller may have all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many callers are remembered before those are forgotten who have nothing any more.
const CALLERS_FORGOTTEN_FROM: usize = 1_024;

/// Places for all callers together and, of these, for each one.
pub(super) struct Slots {
    all: Arc<Semaphore>,
    each_max: usize,
    of_caller: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// A place, until it is dropped.
pub(super) struct Slot {
    _all: OwnedSemaphorePermit,
    _own: Option<OwnedSemaphorePermit>,
}

/// There is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// For nobody.
    All,
    /// For this caller.
    Caller,
}

impl Slots {
    pub(super) fn new(all_max: usize, each_max: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all_max)), each_max, of_caller: Mutex::default() }
    }

    /// A place, if there is one now. Callers who cannot be told apart have no share of their own.
    pub(super) fn try_take(&self, caller: Option<&str>) -> Result<Slot, Full> {
        let own = match caller {
            Some(caller) => Some(self.share_of(caller).try_acquire_owned().map_err(|_| Full::Caller)?),
            None => None,
        };
        Ok(Slot { _all: self.all.clone().try_acquire_owned().map_err(|_| Full::All)?, _own: own })
    }

    /// A place as soon as there is one; `None` when there will be none any more.
    pub(super) async fn take(&self, caller: Option<&str>) -> Option<Slot> {
        let own = match caller {
            Some(caller) => Some(self.share_of(caller).acquire_owned().await.ok()?),
            None => None,
        };
        Some(Slot { _all: self.all.clone().acquire_owned().await.ok()?, _own: own })
    }

    fn share_of(&self, caller: &str) -> Arc<Semaphore> {
        let mut shares = self.of_caller.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(caller).and_then(Weak::upgrade) {
            return share;
        }
        if shares.len() >= CALLERS_FORGOTTEN_FROM {
            shares.retain(|_, share| share.strong_count() > 0);
        }
        let share = Arc::new(Semaphore::new(self.each_max));
        shares.insert(caller.to_owned(), Arc::downgrade(&share));
        share
    }

    /// From now on nobody gets a place.
    #[cfg(test)]
    pub(super) fn close(&self) {
        self.all.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_has_all_places_and_what_is_given_back_can_be_had_again() {
        let slots = Slots::new(3, 2);
        let mut held = vec![slots.try_take(Some("a")).unwrap(), slots.take(Some("a")).await.unwrap()];
        assert_eq!(slots.try_take(Some("a")).err(), Some(Full::Caller));
        held.push(slots.try_take(Some("b")).unwrap());
        assert_eq!(slots.try_take(Some("b")).err(), Some(Full::All));
        assert_eq!(slots.try_take(None).err(), Some(Full::All));
        held.clear();
        held.extend((0..3).map(|_| slots.try_take(None).unwrap()));
        assert_eq!(slots.try_take(Some("a")).err(), Some(Full::All));
        held.clear();
        // A share that was not used up in vain.
        held.extend((0..2).map(|_| slots.try_take(Some("a")).unwrap()));
        slots.close();
        assert!(slots.take(None).await.is_none());
    }

    #[test]
    fn callers_that_come_and_go_do_not_pile_up() {
        let slots = Slots::new(3, 2);
        let held = slots.try_take(Some("stays")).unwrap();
        for number in 0..CALLERS_FORGOTTEN_FROM * 2 {
            drop(slots.try_take(Some(&number.to_string())).unwrap());
        }
        assert!(slots.of_caller.lock().unwrap().len() <= CALLERS_FORGOTTEN_FROM);
        let again = slots.try_take(Some("stays")).unwrap();
        assert_eq!(slots.try_take(Some("stays")).err(), Some(Full::Caller));
        drop((held, again));
    }
}
