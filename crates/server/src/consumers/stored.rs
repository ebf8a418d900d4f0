//! What the detector knows that no restart reads anew, on disk: weeks of behaviour, and what is counted over hours (alert budgets, windows
//! of correlations).
//!
//! A state belongs to a place in the journal and is a function of the records before it. So an old state is no wrong one: it is
//! gone on with from its place. One that is lost is built anew, from the records that are there.

use std::io;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::RandomizedNonceKey;
use detect::behaviour::Behaviour;
use detect::{Carried, InForce};
use journal::Seq;
use keys::{Keyring, KeysError};

use crate::data_dir::DataDir;
use crate::sealed_file::{self, BoundTo, KeyError, SealedFile, SealedFileError};

/// Bytes of the name with which a file begins. The place in the journal follows, and the cipher is bound to both.
const MAGIC_BYTES: usize = 16;
/// Longest file that is read: more than the state of a million principals takes.
const BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// A state that is stored.
pub(crate) trait State: Sized {
    /// What it is, in messages.
    const WHAT: &'static str;
    /// The file below `state/`.
    const FILE: &'static str;
    /// The keyring's name of its key. What is known of people is for nobody who only has the disk.
    const KEY: &'static str;
    /// The first bytes of the file.
    const MAGIC: &'static [u8; MAGIC_BYTES];
    /// How often it is stored at the most. What came since is read anew after a restart.
    const EVERY: Duration;

    /// The state, of what was stored; else why not.
    fn from_stored(bytes: &[u8]) -> Result<Self, String>;
}

impl State for Behaviour {
    const WHAT: &'static str = "behaviour";
    const FILE: &'static str = "behaviour.state";
    const KEY: &'static str = "behaviour state key";
    const MAGIC: &'static [u8; MAGIC_BYTES] = b"wk behaviour 01\n";
    const EVERY: Duration = Duration::from_secs(300);

    fn from_stored(bytes: &[u8]) -> Result<Self, String> {
        Self::from_bytes(bytes).map_err(|error| error.to_string())
    }
}

impl State for Carried {
    const WHAT: &'static str = "detection";
    const FILE: &'static str = "detection.state";
    const KEY: &'static str = "detection state key";
    const MAGIC: &'static [u8; MAGIC_BYTES] = b"wk detection 01\n";
    /// More often than behaviour: what came since takes all of detection to read anew.
    const EVERY: Duration = Duration::from_secs(60);

    fn from_stored(bytes: &[u8]) -> Result<Self, String> {
        Self::from_bytes(bytes).map_err(|error| error.to_string())
    }
}

impl State for InForce {
    const WHAT: &'static str = "rules in force";
    const FILE: &'static str = "rules.state";
    const KEY: &'static str = "rules state key";
    const MAGIC: &'static [u8; MAGIC_BYTES] = b"wk rules in 01\n\n";
    /// Whenever there are others.
    const EVERY: Duration = Duration::ZERO;

    fn from_stored(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }
}

/// That what detection left out is told, up to the place of this state.
pub(crate) struct LeftOutTold;

impl State for LeftOutTold {
    const WHAT: &'static str = "what detection left out";
    const FILE: &'static str = "left_out.state";
    const KEY: &'static str = "left out state key";
    const MAGIC: &'static [u8; MAGIC_BYTES] = b"wk left out 01\n\n";
    /// Whenever it is told.
    const EVERY: Duration = Duration::ZERO;

    fn from_stored(_: &[u8]) -> Result<Self, String> {
        Ok(Self)
    }
}

/// The file of a state.
pub(crate) struct Stored<T> {
    path: PathBuf,
    keyring: Arc<Keyring>,
    stored: Option<Instant>,
    state: PhantomData<fn() -> T>,
}

/// Why it cannot be stored or removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoredError {
    #[error("the state of {what} ({}): {error}", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    #[error("the key of the state of {what}: {error}")]
    Keys {
        what: &'static str,
        #[source]
        error: KeysError,
    },
    #[error("the state of {0} cannot be encrypted")]
    Cipher(&'static str),
}

impl<T: State> Stored<T> {
    const FORM: SealedFile = SealedFile { magic: T::MAGIC, clear: size_of::<u64>(), bytes_max: BYTES_MAX };

    pub(crate) fn new(data: &DataDir, keyring: Arc<Keyring>) -> Self {
        Self { path: data.state(T::FILE), keyring, stored: None, state: PhantomData }
    }

    /// Whether it is time to store a state.
    pub(crate) fn is_due(&self) -> bool {
        self.stored.is_none_or(|stored| stored.elapsed() >= T::EVERY)
    }

    /// Stores a state: what the records before `at` make of one that knows nothing.
    pub(crate) fn store(&mut self, at: Seq, state: Vec<u8>) -> Result<(), StoredError> {
        let content = |file: Vec<u8>| Ok([file, state].concat());
        let written = Self::FORM.write(&self.path, &self.cipher()?, BoundTo::Head, &at.0.to_le_bytes(), content);
        written.map_err(|error| self.not_stored(error))?;
        self.stored = Some(Instant::now());
        Ok(())
    }

    /// The state that was stored, and its place. `None` where there is none, or none that is believed: that is said in the log.
    pub(crate) fn load(&self) -> Result<Option<(Seq, T)>, StoredError> {
        let sealed = match Self::FORM.read(&self.path) {
            Ok(Some(sealed)) => sealed,
            Ok(None) => return Ok(None),
            Err(SealedFileError::Io(error)) if error.kind() != io::ErrorKind::FileTooLarge => return Err(self.io(error)),
            Err(SealedFileError::Io(_)) => return Ok(self.refused("is too large")),
            Err(error) => return Ok(self.refused(&error.to_string())),
        };
        let opened = match sealed.open(&self.cipher()?, BoundTo::Head) {
            Ok(opened) => opened,
            Err(error) => return Ok(self.refused(&error.to_string())),
        };
        let Ok(at) = opened.clear().try_into() else { return Ok(self.refused("is no such file")) };
        match T::from_stored(opened.content()) {
            Ok(state) => Ok(Some((Seq(u64::from_le_bytes(at)), state))),
            Err(error) => Ok(self.refused(&error)),
        }
    }

    /// Forgets it, with every copy of it: somebody was erased from the record, and it may know of them.
    pub(crate) fn forget(&mut self) -> Result<(), StoredError> {
        let mut fresh = [0; 32];
        aws_lc_rs::rand::fill(&mut fresh).map_err(|_| StoredError::Cipher(T::WHAT))?;
        self.keyring.put_named(T::KEY, &fresh).map_err(keys_error::<T>)?;
        match files::remove(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.io(error)),
            _ => Ok(()),
        }
    }

    fn cipher(&self) -> Result<RandomizedNonceKey, StoredError> {
        sealed_file::key(&self.keyring, T::KEY).map_err(|error| match error {
            KeyError::Keys(error) => keys_error::<T>(error),
            KeyError::Cipher => StoredError::Cipher(T::WHAT),
        })
    }

    fn refused<R>(&self, why: &str) -> Option<R> {
        tracing::warn!(path = %self.path.display(), why, "what was known of {} is not used, and built anew from the record", T::WHAT);
        None
    }

    fn not_stored(&self, error: SealedFileError) -> StoredError {
        match error {
            SealedFileError::Io(error) => self.io(error),
            SealedFileError::Cipher => StoredError::Cipher(T::WHAT),
            error => self.io(io::Error::other(error)),
        }
    }

    fn io(&self, error: io::Error) -> StoredError {
        StoredError::Io { what: T::WHAT, path: self.path.clone(), error }
    }
}

fn keys_error<T: State>(error: KeysError) -> StoredError {
    StoredError::Keys { what: T::WHAT, error }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::aead::NONCE_LEN;
    use keys::AgeRootKey;

    use super::*;

    /// Bytes before the cipher's.
    const HEAD_BYTES: usize = MAGIC_BYTES + 8 + NONCE_LEN;

    #[test]
    fn a_state_comes_back_with_its_place_and_no_other_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(&dir.path().join("data")).unwrap();
        let keyring = Arc::new(Keyring::open(&data.keys(), Arc::new(AgeRootKey::generate().0)).unwrap());
        let mut state = Stored::<Behaviour>::new(&data, keyring.clone());
        assert!(state.load().unwrap().is_none() && state.is_due());
        let bytes = Behaviour::new().to_bytes().unwrap();
        state.store(Seq(1 << 17), bytes.clone()).unwrap();
        assert!(!state.is_due());
        let (at, behaviour) = Stored::<Behaviour>::new(&data, keyring.clone()).load().unwrap().unwrap();
        assert_eq!((at, behaviour.to_bytes().unwrap()), (Seq(1 << 17), bytes.clone()));
        assert!(Stored::<Carried>::new(&data, keyring).load().unwrap().is_none(), "another state");
        let path = data.state(Behaviour::FILE);
        let good = std::fs::read(&path).unwrap();
        // The place, the nonce, the cipher's bytes, the tag.
        for at in [17, HEAD_BYTES - 1, HEAD_BYTES + 5, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, bad).unwrap();
            assert!(state.load().unwrap().is_none(), "{at}");
        }
        std::fs::write(&path, &good[..HEAD_BYTES - 1]).unwrap();
        assert!(state.load().unwrap().is_none());
        std::fs::write(&path, &good).unwrap();
        state.forget().unwrap();
        assert!(!path.exists());
        std::fs::write(&path, &good).unwrap();
        assert!(state.load().unwrap().is_none(), "a copy of what was forgotten");
    }
}
