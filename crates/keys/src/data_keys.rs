//! The data keys of one purpose: what a part of the program gets of the keyring.

use std::fmt;
use std::sync::Arc;

use event::KeyId;

use crate::error::KeysError;
use crate::keyring::{Keyring, Purpose};
use crate::secret::Secret;

/// A keyring, and for what its keys are used here.
#[derive(Clone)]
pub struct DataKeys {
    keyring: Arc<Keyring>,
    purpose: Purpose,
}

impl DataKeys {
    /// The keys of a purpose; those of another are neither given nor destroyed.
    #[must_use]
    pub fn new(keyring: Arc<Keyring>, purpose: Purpose) -> Self {
        Self { keyring, purpose }
    }

    /// As [`Keyring::create`].
    ///
    /// # Errors
    /// As there.
    pub fn create(&self) -> Result<(KeyId, Secret), KeysError> {
        self.keyring.create(self.purpose)
    }

    /// As [`Keyring::get`].
    ///
    /// # Errors
    /// As there.
    pub fn get(&self, id: KeyId) -> Result<Option<Secret>, KeysError> {
        self.keyring.get(self.purpose, id)
    }

    /// As [`Keyring::destroy`].
    ///
    /// # Errors
    /// As there.
    pub fn destroy(&self, ids: &[KeyId]) -> Result<(), KeysError> {
        self.keyring.destroy(self.purpose, ids)
    }

    /// Destroys every key of the purpose that is not among these: those of files that are gone, or never came to be.
    ///
    /// # Errors
    /// As [`Keyring::destroy`].
    pub fn keep_only(&self, used: &[KeyId]) -> Result<(), KeysError> {
        let live = self.keyring.live(self.purpose)?.into_iter().map(|(id, _)| id);
        self.destroy(&live.filter(|id| !used.contains(id)).collect::<Vec<_>>())
    }
}

impl fmt::Debug for DataKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataKeys({})", self.purpose.as_str())
    }
}
