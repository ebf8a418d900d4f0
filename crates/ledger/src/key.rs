//! The log's private key.

use std::fmt;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::files::{read_at_most, sync_dir};
use crate::note::{ED25519_TYPE, NoteError, NoteSignature, SignedNote, VerifierKey, split_key};

/// How a private key begins in the note format of Go (`golang.org/x/mod/sumdb/note`).
const PRIVATE_PREFIX: &str = "PRIVATE+KEY+";

/// Longest key file: a name of 255 bytes and the key.
const KEY_FILE_BYTES_MAX: usize = 1024;

/// The key with which a log signs its checkpoints.
pub struct LogKey {
    pair: Ed25519KeyPair,
    verifier: VerifierKey,
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
    #[error("log key must be PRIVATE+KEY+name+hex(key id)+base64(0x01 and 32 bytes of Ed25519 seed)")]
    Form,
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
        Self::new(Ed25519KeyPair::generate().map_err(|_| KeyError::Library)?, origin)
    }

    /// Reads a key file.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let file = |source| KeyError::File { path: path.to_owned(), source };
        let bytes = read_at_most(path, KEY_FILE_BYTES_MAX).map_err(file)?.ok_or_else(|| file(io::ErrorKind::NotFound.into()))?;
        if std::fs::metadata(path).map_err(file)?.permissions().mode() & 0o077 != 0 {
            tracing::warn!(path = %path.display(), "other users may read the log's private key; chmod 600 it");
        }
        std::str::from_utf8(&bytes).map_err(|_| KeyError::Form)?.trim_end_matches('\n').parse()
    }

    /// Writes the key to a new file that only its owner can read; whole or not at all. An existing file stays.
    pub fn save(&self, path: &Path) -> Result<(), KeyError> {
        self.write(path).map_err(|source| KeyError::File { path: path.to_owned(), source })
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

    /// The public half.
    #[must_use]
    pub fn verifier(&self) -> VerifierKey {
        self.verifier.clone()
    }

    /// The log's name, the first line of each of its checkpoints.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.verifier.name()
    }

    /// Signs a text that ends with a newline.
    pub fn sign(&self, text: &str) -> Result<SignedNote, NoteError> {
        let signature = NoteSignature {
            name: self.origin().to_owned(),
            key_id: self.verifier.id(),
            signature: self.pair.sign(text.as_bytes()).as_ref().to_vec(),
        };
        SignedNote::new(text.to_owned(), vec![signature])
    }

    fn new(pair: Ed25519KeyPair, origin: &str) -> Result<Self, KeyError> {
        let public = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Library)?;
        Ok(Self { verifier: VerifierKey::new(origin, public)?, pair })
    }

    /// The secret in the note format of Go. Not a `Display`, so that it is not printed by accident.
    fn encode(&self) -> io::Result<String> {
        let seed = self.pair.seed().map_err(|_| io::Error::other("the library does not give the seed"))?;
        let mut key = vec![ED25519_TYPE];
        key.extend_from_slice(
            aws_lc_rs::encoding::AsBigEndian::<aws_lc_rs::encoding::Curve25519SeedBin<'_>>::as_be_bytes(&seed)
                .map_err(|_| io::Error::other("the library does not give the seed"))?
                .as_ref(),
        );
        Ok(format!("{PRIVATE_PREFIX}{}+{:08x}+{}", self.origin(), self.verifier.id(), STANDARD.encode(key)))
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(format!("{}\n", self.encode()?).as_bytes())?;
        file.sync_all()?;
        // A link fails where a file is already, which a rename would replace.
        let linked = std::fs::hard_link(&temporary, path);
        std::fs::remove_file(&temporary)?;
        linked?;
        sync_dir(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))
    }
}

impl std::str::FromStr for LogKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, id, key) = split_key(text.strip_prefix(PRIVATE_PREFIX).ok_or(KeyError::Form)?).map_err(|_| KeyError::Form)?;
        if key[0] != ED25519_TYPE {
            return Err(KeyError::Form);
        }
        let key = Self::new(Ed25519KeyPair::from_seed_unchecked(&key[1..]).map_err(|_| KeyError::Library)?, name)?;
        if key.verifier.id() == id {
            Ok(key)
        } else {
            Err(KeyError::Note(NoteError::KeyId { expected: key.verifier.id(), got: id }))
        }
    }
}

impl fmt::Debug for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogKey({})", self.verifier)
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
        assert_eq!(key.encode().unwrap(), text);
        let note = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
        let signed = "\n\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        assert_eq!(key.sign(note).unwrap().encode(), format!("{note}{signed}"));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for bad in ["", "PRIVATE+KEY+a", "PRIVATE+KEY+a+00000000+AAAA", "a+00000000+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"]
        {
            assert!(bad.parse::<LogKey>().is_err(), "{bad}");
        }
        for bad in ["", "a b", "a+b", "a\nb"] {
            assert!(LogKey::generate(bad).is_err(), "{bad:?}");
        }
    }
}
