//! The log's private key.

use std::fmt;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::files::{read_at_most, sync_dir};
use crate::note::{NoteError, SignedNote};
use crate::signing::SigningKey;
use crate::vkey::{Algorithm, VerifierKey};

/// Longest key file: a name of 255 bytes and the key.
const KEY_FILE_BYTES_MAX: usize = 1024;

/// The key with which a log signs its checkpoints.
pub struct LogKey {
    ed25519: SigningKey,
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
    #[error("log key must be PRIVATE+KEY+name+hex(key id)+base64(type and 32 bytes of seed)")]
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
        Ok(Self { ed25519: SigningKey::generate(Algorithm::Ed25519, origin)? })
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
        self.ed25519.verifier().clone()
    }

    /// The log's name, the first line of each of its checkpoints.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.ed25519.verifier().name()
    }

    /// Signs a text that ends with a newline.
    pub fn sign(&self, text: &str) -> Result<SignedNote, NoteError> {
        SignedNote::new(text.to_owned(), vec![self.ed25519.sign(text, 0)?])
    }

    /// The secret as text, one line with its newline, as the key file has it. Not a `Display`, so that it is not printed by
    /// accident.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{}\n", self.ed25519.to_text().as_str()))
    }

    /// Reads the text of a key file.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let ed25519 = SigningKey::from_text(text.strip_suffix('\n').unwrap_or(text))?;
        if ed25519.verifier().algorithm() == Algorithm::Ed25519 { Ok(Self { ed25519 }) } else { Err(KeyError::Form) }
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(self.to_text().as_bytes())?;
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
        Self::from_text(text)
    }
}

impl fmt::Debug for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogKey({})", self.ed25519.verifier())
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
