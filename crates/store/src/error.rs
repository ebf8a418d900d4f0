//! What can go wrong, with the remedy.

use std::path::{Path, PathBuf};

use journal::{RecordError, Seq};

use crate::schema::SCHEMA_VERSION;

/// Why the store could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory cannot be made, listed or locked.
    #[error("store directory {}: {source}", path.display())]
    Directory {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another process writes.
    #[error("store {} has a writer already; stop the other `watchkeeper serve` or choose another --data", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// A partition is not readable or writable.
    #[error("store partition {}: {source}; the store is derived: remove its directory and it is built again from the journal", path.display())]
    Partition {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A partition's key was destroyed, or belongs to another keyring.
    #[error("store partition {} names a key that the keyring does not have: the key was destroyed, or this is another keyring; the store is derived: remove its directory and it is built again from the journal", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The list of days.
    #[error("the keyring's list of the store's days: {0}; bring back keys/ from a copy")]
    Days(serde_json::Error),
    /// The keyring fails.
    #[error(transparent)]
    Keys(#[from] keys::KeysError),
    /// A partition was written by an older version of the program.
    #[error("store partition {} has schema {found}, this program writes {expected}: start the server, which builds the day again from the record", path.display())]
    Older {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The version of this program.
        expected: i64,
        /// The record after the last one that it, or an older one, holds.
        next: u64,
    },
    /// A partition was written by a newer version of the program.
    #[error("store partition {} has schema {found}, this program knows {expected}: use the newer program, which wrote it", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The version of this program.
        expected: i64,
    },
    /// A record of the journal is not one.
    #[error("record {} of the journal: {source}", seq.0)]
    Record {
        /// Its place.
        seq: Seq,
        /// What is wrong.
        source: RecordError,
    },
    /// The records do not follow what has been indexed.
    #[error("record {} of the journal comes where record {} is due", got.0, due.0)]
    Order {
        /// What came.
        got: Seq,
        /// What is missing.
        due: Seq,
    },
    /// SQLite, outside of any one partition.
    #[error("store: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

impl StoreError {
    pub(crate) fn partition(path: &Path) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Partition { path: path.to_owned(), source }
    }

    /// For a partition of another version than this program's.
    pub(crate) fn version(path: &Path, found: i64, next: impl FnOnce() -> u64) -> Self {
        let (path, expected) = (path.to_owned(), SCHEMA_VERSION);
        match found < expected {
            true => Self::Older { path, found, expected, next: next() },
            false => Self::Newer { path, found, expected },
        }
    }

    pub(crate) fn directory(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Directory { path: path.to_owned(), source }
    }
}

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The statement is not SQL, or names something that is not there.
    #[error("{message}; the views are: {}", crate::views::names())]
    Sql {
        /// What SQLite says.
        message: String,
    },
    /// The statement does more than read.
    #[error("only SELECT over the views is allowed: {0} is not")]
    NotAllowed(String),
    /// More than one statement, or none.
    #[error("the query must be one SELECT statement, got {0}")]
    Statements(&'static str),
    /// It took too long.
    #[error(
        "the query ran longer than {} ms and was stopped; narrow it by time_ns, session_id or trace_id, or raise the limit",
        time_ms_max
    )]
    Time {
        /// The limit.
        time_ms_max: u128,
    },
    /// It took too much memory.
    #[error(
        "the query took more than {} MiB to sort or group and was stopped; narrow it by time_ns, session_id or trace_id, or select \
         fewer long texts",
        memory_max / 1024 / 1024
    )]
    Memory {
        /// The limit.
        memory_max: u64,
    },
    /// Too many others are running.
    #[error("{queries_max} queries are running, and none ended in time; ask again when one has")]
    Busy {
        /// How many run at once.
        queries_max: usize,
    },
    /// The text is too long to be a query.
    #[error("the query has {bytes} bytes, at most {bytes_max} can be")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Nothing is known under that id.
    #[error("no trace, session or event has the id {0:?}; `watchkeeper tail` shows ids")]
    NotFound(String),
    /// What was given as a cursor is none.
    #[error("cursor: this is not what a page gave as `next`; leave it out to begin anew")]
    Cursor,
    /// There is no such severity.
    #[error("severity: {0:?} is none of informational, low, medium, high, critical")]
    Severity(String),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for QueryError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}
