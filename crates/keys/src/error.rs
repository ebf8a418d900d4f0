//! What can go wrong with keys, with the remedy.

use std::io;
use std::path::{Path, PathBuf};

/// Why a key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A file fails.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The system's random generator fails.
    #[error("the system gives no random numbers")]
    Random,
    /// Others can read the root key.
    #[error("the root key {path} can be read by others (mode {mode:03o}); make it your own with: chmod 600 {path}")]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// There is no root key where one should be.
    #[error(
        "there is no root key at {0}; bring it back from its backup, or name another file with --root-key or WATCHKEEPER_ROOT_KEY"
    )]
    NoRoot(PathBuf),
    /// The file holds no root key.
    #[error(
        "{path} holds no root key: {reason}; it must hold one line WATCHKEEPER-ROOT-KEY-1:... or one age identity \
         (AGE-SECRET-KEY-1..., as age-keygen writes it)"
    )]
    RootForm {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The tenant key is wrapped by another root key.
    #[error("{path} is wrapped by the root key {wrapped_by}, and this one is {got}; name the right one with --root-key")]
    WrongRoot {
        /// The file of the tenant key.
        path: PathBuf,
        /// The root key that opens it.
        wrapped_by: String,
        /// The root key that was given.
        got: String,
    },
    /// The root key could not be used.
    #[error("the root key {id} does not {action}: {reason}")]
    Root {
        /// The root key.
        id: String,
        /// What was asked of it.
        action: &'static str,
        /// Why it did not.
        reason: String,
    },
    /// The tenant key's file is not what was written.
    #[error("{path} is damaged: {reason}; bring back the directory `keys` from its backup")]
    Tenant {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A part of the keyring is gone.
    #[error("{path} is missing, and without it nothing can be read; bring back the directory `keys` from its backup")]
    Missing {
        /// What is missing.
        path: PathBuf,
    },
    /// There is no keyring.
    #[error("{0} holds no keyring; `watchkeeper serve` makes it at its first start")]
    NoKeyring(PathBuf),
    /// The keyring's file does not open, read or write.
    #[error("keyring {path}: {source}")]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A value of the keyring has a form that this version does not write.
    #[error("keyring {path}: {what} has a form that this version does not know")]
    Value {
        /// The file.
        path: PathBuf,
        /// Which value.
        what: String,
    },
    /// A key was to be destroyed as one of a purpose that it does not have.
    #[error(
        "the key {id} is none of a {purpose}, and was not destroyed: the file that names it was not written by this program; keep it \
         as evidence, and bring it back from a copy"
    )]
    Purpose {
        /// The key.
        id: event::KeyId,
        /// What it was taken for.
        purpose: &'static str,
    },
    /// Another process writes.
    #[error("the keyring in {0} has a writer already; stop the other `watchkeeper serve` first, or ask that one")]
    Locked(PathBuf),
    /// The keyring was opened to be read.
    #[error("the keyring in {0} is open for reading only")]
    ReadOnly(PathBuf),
    /// An earlier change failed half way.
    #[error("the keyring stands still since a change of its tenant key failed ({0}); start the server again")]
    Failed(String),
}

impl KeysError {
    /// Whether the disk is full, so that the same may work later.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == io::ErrorKind::StorageFull,
            Self::Database { source, .. } => source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            _ => false,
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn database(path: &Path) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Database { path: path.to_owned(), source }
    }
}
