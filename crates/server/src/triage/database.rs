//! The file: SQLCipher, under a key of the keyring.

use std::fs;
use std::path::{Path, PathBuf};

use event::Timestamp;
use keys::{Keyring, Secret};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{TriageError, people};
use crate::data_dir::DataDir;

/// The file below `state/`.
const FILE: &str = "triage.db";

/// What a file that could not be read has behind its name; the time of that follows.
const UNREADABLE: &str = ".unreadable-";

/// What SQLite keeps beside the file.
const BESIDE: [&str; 3] = ["", "-wal", "-shm"];

/// The keyring's name of its key.
const KEY: &str = "triage database key";

/// Version of the tables.
const SCHEMA_VERSION: i64 = 2;

/// How long a write waits for whoever copies the file.
const BUSY_WAIT: std::time::Duration = std::time::Duration::from_secs(5);

const TABLES: &str = "
CREATE TABLE marks (
  detection_id TEXT PRIMARY KEY,
  state TEXT NOT NULL,
  assignee TEXT,
  changed TEXT NOT NULL
) WITHOUT ROWID;

-- what people did with a detection, as JSON, in order
CREATE TABLE changes (id INTEGER PRIMARY KEY, detection_id TEXT NOT NULL, change TEXT NOT NULL);
CREATE INDEX changes_detection ON changes(detection_id, id);

-- as JSON
CREATE TABLE suppressions (id TEXT PRIMARY KEY, suppression TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE searches (id TEXT PRIMARY KEY, search TEXT NOT NULL) WITHOUT ROWID;
";

pub(super) fn open(data: &DataDir, keyring: &Keyring) -> Result<Connection, TriageError> {
    let key = Secret::new(*keyring.named_or_create::<32>(KEY)?);
    let connection = connect(&data.state(FILE), &key)?;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match found {
        SCHEMA_VERSION => {}
        0 => create(&connection)?,
        // Before there were people.
        1 => connection.execute_batch(&format!("BEGIN;{};PRAGMA user_version = {SCHEMA_VERSION};COMMIT;", people::TABLE))?,
        found => return Err(TriageError::Schema { found, known: SCHEMA_VERSION }),
    }
    Ok(connection)
}

/// One that is empty and lies nowhere.
pub(super) fn in_memory() -> Result<Connection, TriageError> {
    let connection = Connection::open_in_memory()?;
    create(&connection)?;
    Ok(connection)
}

/// Whether what lies there cannot be read by this program, and will not be tomorrow either. Where the system only refuses it now (a disk
/// that is full, a file that somebody else holds) the file is left where it is; and so is one of a later version, which reads it: whoever goes
/// back to that finds everything.
pub(super) fn is_unreadable(error: &TriageError) -> bool {
    match error {
        TriageError::Schema { found, known } => found < known,
        TriageError::Form(_) => true,
        TriageError::Database(error) => {
            // A table or a column that is not there, a value of another type: somebody else's file.
            let is_another = matches!(
                error,
                rusqlite::Error::FromSqlConversionFailure(..)
                    | rusqlite::Error::InvalidColumnType(..)
                    | rusqlite::Error::SqlInputError { .. }
            );
            let codes = [ErrorCode::NotADatabase, ErrorCode::DatabaseCorrupt, ErrorCode::Unknown];
            is_another || error.sqlite_error_code().is_some_and(|code| codes.contains(&code))
        }
        _ => false,
    }
}

/// Moves what cannot be read out of the way, and gives where it lies then.
pub(super) fn set_aside(data: &DataDir) -> std::io::Result<PathBuf> {
    let path = data.state(FILE);
    let to = files::beside(&path, &format!("{UNREADABLE}{}", Timestamp::now().rfc3339().replace(':', "-")));
    for suffix in BESIDE {
        match fs::rename(files::beside(&path, suffix), files::beside(&to, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    files::sync_dir(&data.path().join("state"))?;
    Ok(to)
}

/// Removes what was moved out of the way. Gives how many files that were.
pub(super) fn remove_set_aside(state: &Path) -> std::io::Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(state)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&format!("{FILE}{UNREADABLE}")) {
            files::remove(&entry.path())?;
            removed += 1;
        }
    }
    if removed > 0 {
        files::sync_dir(state)?;
    }
    Ok(removed)
}

/// As another version would have left it.
#[cfg(test)]
pub(super) fn set_version(data: &DataDir, keyring: &Keyring, version: i64) {
    let key = Secret::new(*keyring.named_or_create::<32>(KEY).unwrap());
    connect(&data.state(FILE), &key).unwrap().pragma_update(None, "user_version", version).unwrap();
}

fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!("BEGIN;{TABLES}{};PRAGMA user_version = {SCHEMA_VERSION};COMMIT;", people::TABLE))
}

fn connect(path: &Path, key: &Secret) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    keys::unlock(&connection, key)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // What people decided is on disk when they are told so.
    connection.pragma_update(None, "synchronous", "full")?;
    // What is removed is overwritten: an erasure removes names.
    connection.pragma_update(None, "secure_delete", "on")?;
    connection.busy_timeout(BUSY_WAIT)?;
    Ok(connection)
}
