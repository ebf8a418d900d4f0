//! The log's private key.

use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::disk::read_at_most;
use crate::key_chain::ORIGIN_BYTES_MAX;
use crate::note::{NoteError, SignedNote};
use crate::signing::SigningKey;
use crate::vkey::{Algorithm, VerifierKey};

/// Longest key file: two pairs of keys with names of 255 bytes, and room for a generation to come.
const KEY_FILE_BYTES_MAX: usize = 4096;

/// Most pairs in a key file: the one that retires, the one that signs, and one to come.
const GENERATIONS_MAX: usize = 3;

/// The keys with which a log signs its checkpoints: an Ed25519 key and an ML-DSA-44 key, and during a rotation the next pair,
/// too. As text it is one line for each key, oldest first.
pub struct LogKey {
    /// Oldest first, one at least; in each the Ed25519 key first.
    generations: Vec<Vec<SigningKey>>,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The origin, or the public key.
    #[error("log key: {0}")]
    Note(#[from] NoteError),
    /// The library could not make or take the key.
    #[error("log key: the cryptographic library refused the key")]
    Library,
    /// The form of a key file.
    #[error(
        "a private key must be PRIVATE+KEY+name+hex(key id)+base64(type and 32 bytes of seed), a log's an Ed25519 key (0x01) and an \
         ML-DSA-44 key (0x06), one on each line"
    )]
    Form,
    /// The name.
    #[error("a log's origin has at most {ORIGIN_BYTES_MAX} bytes")]
    Origin,
    /// A file could not be read or written.
    #[error("log key file {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl LogKey {
    /// A new key for the log of that origin: a name that no other log has, such as `example.com/audit`.
    pub fn generate(origin: &str) -> Result<Self, KeyError> {
        if origin.len() > ORIGIN_BYTES_MAX {
            return Err(KeyError::Origin);
        }
        Ok(Self { generations: vec![new_pair(origin)?] })
    }

    /// Reads a key file.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let file = |source| KeyError::File { path: path.to_owned(), source };
        let bytes = read_at_most(path, KEY_FILE_BYTES_MAX).map_err(file)?.ok_or_else(|| file(io::ErrorKind::NotFound.into()))?;
        let bytes = Zeroizing::new(bytes);
        if std::fs::metadata(path).map_err(file)?.permissions().mode() & 0o077 != 0 {
            tracing::warn!(path = %path.display(), "other users may read the log's private key; chmod 600 it");
        }
        std::str::from_utf8(&bytes).map_err(|_| KeyError::Form)?.parse()
    }

    /// Writes the key to a new file that only its owner can read; whole or not at all. An existing file stays.
    pub fn save(&self, path: &Path) -> Result<(), KeyError> {
        files::write_new(path, self.to_text().as_bytes(), 0o600)
            .map_err(|source| KeyError::File { path: path.to_owned(), source })
    }

    /// Reads the key file, or makes a key for `origin` and writes it where there is none.
    pub fn load_or_generate(path: &Path, origin: &str) -> Result<Self, KeyError> {
        match Self::load(path) {
            Err(KeyError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let key = Self::generate(origin)?;
                key.save(path)?;
                Ok(key)
            }
            other => other,
        }
    }

    /// The Ed25519 half of the newest pair.
    #[must_use]
    pub fn verifier(&self) -> VerifierKey {
        self.newest().verifier().clone()
    }

    /// The public keys of the newest pair, Ed25519 first; one alone for a log from before ML-DSA-44.
    #[must_use]
    pub fn verifiers(&self) -> Vec<VerifierKey> {
        self.generations.last().map_or_else(Vec::new, |newest| public(newest))
    }

    /// The public keys of a pair, counted from the oldest that is held.
    #[cfg(test)]
    pub(crate) fn generation(&self, index: usize) -> Vec<VerifierKey> {
        public(&self.generations[index])
    }

    /// The log's name, the first line of each of its checkpoints.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.newest().verifier().name()
    }

    /// Makes the next pair of keys. Keep the text durably before [`Ledger::rotate`](crate::Ledger::rotate) publishes the keys.
    pub fn add_generation(&mut self) -> Result<(), KeyError> {
        let pair = new_pair(self.origin())?;
        self.generations.push(pair);
        Ok(())
    }

    /// Forgets every pair but those with a key for which `is_needed` holds, and the newest. Whoever gets hold of a retired key could
    /// forge a rotation, so it is destroyed when its time is over.
    pub fn forget(&mut self, is_needed: impl Fn(&VerifierKey) -> bool) {
        let newest = self.generations.len() - 1;
        let mut index = 0;
        self.generations.retain(|pair| {
            index += 1;
            index > newest || pair.iter().any(|key| is_needed(key.verifier()))
        });
    }

    /// Signs a text that ends with a newline with the newest Ed25519 key. Checkpoints are signed by [`Ledger`](crate::Ledger).
    pub fn sign(&self, text: &str) -> Result<SignedNote, NoteError> {
        SignedNote::new(text.to_owned(), vec![self.newest().sign(text, 0)?])
    }

    /// Signs a checkpoint with the private halves of these keys, in their order. The time in the ML-DSA-44 cosignature is 0, which
    /// makes no statement: a log's own clock is no evidence.
    pub(crate) fn sign_by<'a>(
        &self,
        text: &str,
        keys: impl IntoIterator<Item = &'a VerifierKey>,
    ) -> Result<SignedNote, NoteError> {
        let held = |key: &VerifierKey| self.generations.iter().flatten().find(|held| held.verifier() == key);
        let sign = |key| held(key).ok_or_else(|| NoteError::CannotSign(key.to_string()))?.sign(text, 0);
        SignedNote::new(text.to_owned(), keys.into_iter().map(sign).collect::<Result<_, _>>()?)
    }

    /// Whether the private half of the key is here.
    #[must_use]
    pub fn holds(&self, key: &VerifierKey) -> bool {
        self.generations.iter().flatten().any(|held| held.verifier() == key)
    }

    /// The secrets as text, one line for each key with its newline, as the key file has it. Not a `Display`, so that it is not
    /// printed by accident.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(KEY_FILE_BYTES_MAX));
        for key in self.generations.iter().flatten() {
            text.push_str(&key.to_text());
            text.push('\n');
        }
        text
    }

    /// Reads the text of a key file.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let mut generations: Vec<Vec<SigningKey>> = Vec::new();
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            let key = SigningKey::from_text(line)?;
            match (key.verifier().algorithm(), generations.last_mut()) {
                (Algorithm::Ed25519, _) => generations.push(vec![key]),
                (Algorithm::MlDsa44, Some(pair)) if pair.len() == 1 => pair.push(key),
                _ => return Err(KeyError::Form),
            }
        }
        let origin = generations.first().and_then(|pair| pair.first()).ok_or(KeyError::Form)?.verifier().name();
        let is_one_log = generations.iter().flatten().all(|key| key.verifier().name() == origin);
        if is_one_log && generations.len() <= GENERATIONS_MAX { Ok(Self { generations }) } else { Err(KeyError::Form) }
    }

    fn newest(&self) -> &SigningKey {
        // There is one pair at least, by construction.
        &self.generations[self.generations.len() - 1][0]
    }
}

fn new_pair(origin: &str) -> Result<Vec<SigningKey>, KeyError> {
    [Algorithm::Ed25519, Algorithm::MlDsa44].map(|algorithm| SigningKey::generate(algorithm, origin)).into_iter().collect()
}

fn public(pair: &[SigningKey]) -> Vec<VerifierKey> {
    pair.iter().map(|key| key.verifier().clone()).collect()
}

impl std::str::FromStr for LogKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::from_text(text)
    }
}

impl fmt::Debug for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogKey({})", self.newest().verifier())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_key_is_read_back_and_signs_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.key");
        let key = LogKey::load_or_generate(&path, "example.com/log").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = LogKey::load_or_generate(&path, "other.example/log").unwrap();
        assert_eq!((key.verifier(), key.sign("a\n").unwrap()), (again.verifier(), again.sign("a\n").unwrap()));
        again.sign("a\n").unwrap().verify(&key.verifier()).unwrap();
        assert!(matches!(LogKey::generate("new").unwrap().save(&path), Err(KeyError::File { .. })), "an existing key stays");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
        assert!(!format!("{key:?}").contains("PRIVATE"));
    }

    /// The key pair of the tests of `golang.org/x/mod/sumdb/note`.
    #[test]
    fn a_key_in_the_note_format_of_go_is_read() {
        let text = ["PRIVATE", "KEY", "PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"].join("+");
        let key: LogKey = text.parse().unwrap();
        assert_eq!(key.verifier().to_string(), "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
        assert_eq!(*key.to_text(), format!("{text}\n"));
        let note = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
        let signed = "\n\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        assert_eq!(key.sign(note).unwrap().encode(), format!("{note}{signed}"));
    }

    #[test]
    fn pairs_are_added_forgotten_and_read_back() {
        let mut key = LogKey::generate("example.com/log").unwrap();
        let first = key.verifiers();
        assert_eq!(first.iter().map(VerifierKey::algorithm).collect::<Vec<_>>(), [Algorithm::Ed25519, Algorithm::MlDsa44]);
        key.add_generation().unwrap();
        assert_eq!(key.to_text().lines().count(), 4);
        let mut again = LogKey::from_text(&key.to_text()).unwrap();
        assert_eq!((again.to_text(), again.generation(0)), (key.to_text(), first.clone()));
        assert!(again.holds(&first[1]) && again.verifiers() != first);
        again.forget(|needed| *needed == first[0]);
        assert!(again.holds(&first[0]));
        again.forget(|_| false);
        assert!(!again.holds(&first[0]) && !again.holds(&first[1]) && again.verifiers() == key.verifiers());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let pair = LogKey::generate("a").unwrap().to_text();
        let (ed25519, ml_dsa) = pair.trim_end().split_once('\n').unwrap();
        let other = LogKey::generate("b").unwrap().to_text();
        assert!(LogKey::from_text(ed25519).is_ok());
        for bad in [
            format!("{ml_dsa}\n"),
            format!("{ml_dsa}\n{ed25519}\n"),
            format!("{ed25519}\n{ml_dsa}\n{ml_dsa}\n"),
            format!("{ed25519}\n{}", other.as_str()),
            format!("{ed25519}\n\n"),
            pair.repeat(4),
        ] {
            assert!(matches!(LogKey::from_text(&bad), Err(KeyError::Form)));
        }
        assert!(matches!(LogKey::generate(&"a".repeat(251)), Err(KeyError::Origin)));
        for bad in ["", "PRIVATE+KEY+a", "PRIVATE+KEY+a+00000000+AAAA", "a+00000000+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"]
        {
            assert!(bad.parse::<LogKey>().is_err(), "{bad}");
        }
        for bad in ["", "a b", "a+b", "a\nb"] {
            assert!(LogKey::generate(bad).is_err(), "{bad:?}");
        }
    }
}
