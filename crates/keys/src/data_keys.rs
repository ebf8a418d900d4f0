//! The data keys of one purpose: what a part of the program gets of the keyring.

use std::fmt;
use std::sync::Arc;

use event::KeyId;
use zeroize::Zeroizing;

use crate::authenticator::Authenticator;
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

    /// As [`Keyring::authenticator`].
    ///
    /// # Errors
    /// As there.
    pub fn authenticator(&self, usage: &str) -> Result<Authenticator, KeysError> {
        self.keyring.authenticator(usage)
    }

    /// What is noted of the files of the purpose, where nobody without the root key can change it.
    ///
    /// # Errors
    /// As [`Keyring::named`].
    pub fn noted(&self) -> Result<Option<Zeroizing<Vec<u8>>>, KeysError> {
        self.keyring.named(&self.note())
    }

    /// Notes something else of them, made of what was noted. It is on disk when this returns.
    ///
    /// # Errors
    /// As [`Keyring::change_named`].
    pub fn change_noted(&self, change: impl FnOnce(Option<&[u8]>) -> Vec<u8>) -> Result<(), KeysError> {
        self.keyring.change_named(&self.note(), change)
    }

    fn note(&self) -> String {
        format!("files of {}", self.purpose.as_str())
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
