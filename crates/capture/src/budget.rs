//! A bound on the memory that the bodies of all calls take together.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits are handed out per this many bytes, so that a budget of terabytes still fits a semaphore.
const UNIT_BYTES: usize = 1_024;

/// Memory that bodies may take.
pub(crate) struct Budget {
    units: Arc<Semaphore>,
}

/// No memory is left for another body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exhausted;

/// Memory that one body takes; given back when dropped.
pub(crate) struct Share {
    units: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
    covered_bytes: usize,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { units: Arc::new(Semaphore::new((bytes / UNIT_BYTES).min(Semaphore::MAX_PERMITS))) }
    }

    /// A share of nothing yet.
    pub(crate) fn share(&self) -> Share {
        Share { units: Arc::clone(&self.units), permit: None, covered_bytes: 0 }
    }
}

impl Share {
    /// Makes the share cover `bytes` in all. Never waits: waiting bodies would hold what others wait for.
    pub(crate) fn cover(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let more = bytes.saturating_sub(self.covered_bytes).div_ceil(UNIT_BYTES);
        if more == 0 {
            return Ok(());
        }
        let count = u32::try_from(more).map_err(|_| Exhausted)?;
        let permit = Arc::clone(&self.units).try_acquire_many_owned(count).map_err(|_| Exhausted)?;
        match &mut self.permit {
            Some(held) => held.merge(permit),
            None => self.permit = Some(permit),
        }
        self.covered_bytes += more * UNIT_BYTES;
        Ok(())
    }

    /// Gives everything back.
    pub(crate) fn clear(&mut self) {
        self.permit = None;
        self.covered_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_end_where_the_budget_does_and_come_back() {
        let budget = Budget::new(10 * UNIT_BYTES);
        let mut first = budget.share();
        first.cover(1).unwrap();
        first.cover(9 * UNIT_BYTES).unwrap();
        let mut second = budget.share();
        assert_eq!(second.cover(2 * UNIT_BYTES), Err(Exhausted));
        second.cover(UNIT_BYTES).unwrap();
        drop(first);
        second.cover(10 * UNIT_BYTES).unwrap();
        second.clear();
        budget.share().cover(10 * UNIT_BYTES).unwrap();
    }
}
