//! The entities that are remembered. Those of one day cannot drive out those of weeks.

use serde::{Deserialize, Serialize};

use super::bounded::Bounded;
use super::profile::{LEARN_DAYS, Profile};

/// Profiles by key, in two parts: an entity moves to the second when it has been active on more than a week's working days. So
/// whoever makes up names by the million fills the first part alone.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Principals {
    young: Bounded<u64, Profile>,
    established: Bounded<u64, Profile>,
}

impl Principals {
    pub(crate) fn new(young_max: usize, established_max: usize) -> Self {
        Self { young: Bounded::new(young_max), established: Bounded::new(established_max) }
    }

    /// The profile of `key`, made when there is none.
    pub(crate) fn profile(&mut self, key: u64, make: impl FnOnce() -> Profile) -> &mut Profile {
        if self.young.get(&key).is_some_and(|profile| profile.active_days() > LEARN_DAYS)
            && let Some(profile) = self.young.remove(&key)
        {
            self.established.put(key, profile);
        }
        // Looked up twice: a reference that is returned early would be held to the end.
        if self.established.get(&key).is_some() { self.established.entry(key, make) } else { self.young.entry(key, make) }
    }

    /// All of them.
    pub(crate) fn all(&mut self) -> impl Iterator<Item = &mut Profile> {
        self.established.iter_mut().chain(self.young.iter_mut()).map(|(_, profile)| profile)
    }

    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.established.len()
    }
}
