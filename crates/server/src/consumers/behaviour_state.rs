//! What the detector knows of behaviour, on disk: weeks of it, which no restart reads anew.
//!
//! The state belongs to a place in the journal and is a function of the records before it. So an old state is no wrong one: it is
//! gone on with from its place. One that is lost is built anew, from the records that are there.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use detect::behaviour::Behaviour;
use journal::Seq;
use keys::{Keyring, KeysError};

use crate::data_dir::DataDir;

/// The file below `state/`.
const FILE: &str = "behaviour.state";
/// The keyring's name of its key. What is known of people is for nobody who only has the disk.
const KEY: &str = "behaviour state key";
/// The first bytes of the file, to which the cipher is bound, and then the place in the journal.
const MAGIC: &[u8; 16] = b"wk behaviour 01\n";
/// Bytes before the cipher's.
const HEAD_BYTES: usize = MAGIC.len() + 8 + NONCE_LEN;
/// Longest file that is read: more than the state of a million principals takes.
const BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// How often the state is stored. What came since is read anew after a restart: some minutes of records.
const STORE_EVERY: Duration = Duration::from_secs(300);

/// The file.
#[derive(Clone)]
pub(crate) struct BehaviourState {
    path: PathBuf,
    keyring: Arc<Keyring>,
    stored: Option<Instant>,
}

/// Why it cannot be stored or removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BehaviourStateError {
    #[error("the state of behaviour ({}): {error}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    #[error("the key of the state of behaviour: {0}")]
    Keys(#[from] KeysError),
    #[error("the state of behaviour cannot be encrypted")]
    Cipher,
}

impl BehaviourState {
    pub(crate) fn new(data: &DataDir, keyring: Arc<Keyring>) -> Self {
        Self { path: data.state(FILE), keyring, stored: None }
    }

    /// Whether it is time to store a state.
    pub(crate) fn is_due(&self) -> bool {
        self.stored.is_none_or(|stored| stored.elapsed() >= STORE_EVERY)
    }

    /// Stores a state: what the records before `at` make of one that knows nothing.
    pub(crate) fn store(&mut self, at: Seq, state: &[u8]) -> Result<(), BehaviourStateError> {
        let mut head = [0; MAGIC.len() + 8];
        head[..MAGIC.len()].copy_from_slice(MAGIC);
        head[MAGIC.len()..].copy_from_slice(&at.0.to_le_bytes());
        let mut sealed = state.to_vec();
        let nonce = self.cipher()?.seal_in_place_append_tag(Aad::from(head), &mut sealed);
        let nonce = nonce.map_err(|_| BehaviourStateError::Cipher)?;
        let file = [&head[..], nonce.as_ref(), &sealed].concat();
        files::write_atomic(&self.path, &file, 0o600).map_err(|error| self.io(error))?;
        self.stored = Some(Instant::now());
        Ok(())
    }

    /// The state that was stored, and its place. `None` where there is none, or none that is believed: that is said in the log.
    pub(crate) fn load(&self) -> Result<Option<(Seq, Behaviour)>, BehaviourStateError> {
        let file = match files::read_at_most(&self.path, BYTES_MAX) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => return Ok(self.refused("is too large")),
            Err(error) => return Err(self.io(error)),
        };
        let Some((head, nonce, sealed)) = parts(&file) else { return Ok(self.refused("is no such file")) };
        let mut sealed = sealed.to_vec();
        let Ok(state) = self.cipher()?.open_in_place(Nonce::from(nonce), Aad::from(head), &mut sealed) else {
            return Ok(self.refused("was written under another key, or changed"));
        };
        let mut at = [0; 8];
        at.copy_from_slice(&head[MAGIC.len()..]);
        match Behaviour::from_bytes(state) {
            Ok(behaviour) => Ok(Some((Seq(u64::from_le_bytes(at)), behaviour))),
            Err(error) => Ok(self.refused(&error.to_string())),
        }
    }

    /// Forgets it, with every copy of it: somebody was erased from the record, and it may know of them.
    pub(crate) fn forget(&mut self) -> Result<(), BehaviourStateError> {
        let mut fresh = [0; 32];
        aws_lc_rs::rand::fill(&mut fresh).map_err(|_| BehaviourStateError::Cipher)?;
        self.keyring.put_named(KEY, &fresh)?;
        match files::remove(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.io(error)),
            _ => Ok(()),
        }
    }

    fn cipher(&self) -> Result<RandomizedNonceKey, BehaviourStateError> {
        let key = self.keyring.named_or_create::<32>(KEY)?;
        RandomizedNonceKey::new(&AES_256_GCM, &key[..]).map_err(|_| BehaviourStateError::Cipher)
    }

    fn refused<T>(&self, why: &str) -> Option<T> {
        tracing::warn!(path = %self.path.display(), why, "what was known of behaviour is not used, and built anew from the record");
        None
    }

    fn io(&self, error: io::Error) -> BehaviourStateError {
        BehaviourStateError::Io { path: self.path.clone(), error }
    }
}

/// Head, nonce and cipher's bytes.
fn parts(file: &[u8]) -> Option<([u8; MAGIC.len() + 8], &[u8; NONCE_LEN], &[u8])> {
    let (head, sealed) = file.split_at_checked(HEAD_BYTES)?;
    let (head, nonce) = head.split_at(MAGIC.len() + 8);
    let head: [u8; MAGIC.len() + 8] = head.try_into().ok()?;
    head.starts_with(MAGIC).then_some((head, nonce.try_into().ok()?, sealed))
}

#[cfg(test)]
mod tests {
    use keys::AgeRootKey;

    use super::*;

    #[test]
    fn a_state_comes_back_with_its_place_and_no_other_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(&dir.path().join("data")).unwrap();
        let keyring = Arc::new(Keyring::open(&data.keys(), Arc::new(AgeRootKey::generate().0)).unwrap());
        let mut state = BehaviourState::new(&data, keyring.clone());
        assert!(state.load().unwrap().is_none() && state.is_due());
        let bytes = Behaviour::new().to_bytes().unwrap();
        state.store(Seq(1 << 17), &bytes).unwrap();
        assert!(!state.is_due());
        let (at, behaviour) = BehaviourState::new(&data, keyring).load().unwrap().unwrap();
        assert_eq!((at, behaviour.to_bytes().unwrap()), (Seq(1 << 17), bytes.clone()));
        let path = data.state(FILE);
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
