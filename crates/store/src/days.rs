//! The list of the days that the store must have. It lies in the keyring: whoever removes a day's file, or puts an older copy in its
//! place, cannot change the list.

use std::collections::BTreeMap;

use keys::DataKeys;
use serde::{Deserialize, Serialize};

use crate::error::StoreError;

/// Each day, and the cursor of its partition when it was left: 0 while it is the first time that it is written to. Of the one that is
/// written to the cursor says too little, which does no harm: what it lacks comes again, because the store goes on from the highest
/// cursor of all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Days(BTreeMap<String, u64>);

impl Days {
    /// The list as it is now.
    pub(crate) fn read(keys: &DataKeys) -> Result<Self, StoreError> {
        keys.noted()?.map_or_else(|| Ok(Self::default()), |bytes| serde_json::from_slice(&bytes).map_err(StoreError::Days))
    }

    /// Changes the list durably; another thread may do so, too.
    pub(crate) fn change(keys: &DataKeys, change: impl FnOnce(&mut Self)) -> Result<(), StoreError> {
        let mut outcome = Ok(());
        keys.change_noted(|old| {
            let mut days = match old.map_or_else(|| Ok(Self::default()), serde_json::from_slice) {
                Ok(days) => days,
                Err(error) => {
                    outcome = Err(StoreError::Days(error));
                    return old.unwrap_or_default().to_vec();
                }
            };
            change(&mut days);
            serde_json::to_vec(&days).unwrap_or_else(|error| {
                outcome = Err(StoreError::Days(error));
                old.unwrap_or_default().to_vec()
            })
        })?;
        outcome
    }

    /// The days, each with its cursor.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(day, next)| (day.as_str(), *next))
    }

    /// The cursor of a day.
    pub(crate) fn get(&self, day: &str) -> Option<u64> {
        self.0.get(day).copied()
    }

    /// Begins to write to a day, which may have been written to before.
    pub(crate) fn enter(&mut self, day: &str) {
        self.0.entry(day.to_owned()).or_default();
    }

    /// Notes how far a day is.
    pub(crate) fn set(&mut self, day: &str, next: u64) {
        self.0.insert(day.to_owned(), next);
    }

    /// Takes a day off the list.
    pub(crate) fn remove(&mut self, day: &str) {
        self.0.remove(day);
    }

    /// Takes days off the list.
    pub(crate) fn remove_where(&mut self, is_gone: impl Fn(&str) -> bool) {
        self.0.retain(|day, _| !is_gone(day));
    }

    /// Takes every day off the list.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
