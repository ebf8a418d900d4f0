//! The file: SQLCipher, under a key of the keyring.

use std::path::Path;

use keys::{Keyring, Secret};
use rusqlite::{Connection, OpenFlags};

use super::{TriageError, people};
use crate::data_dir::DataDir;

/// The file below `state/`.
const FILE: &str = "triage.db";

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
        0 => connection
            .execute_batch(&format!("BEGIN;{TABLES}{};PRAGMA user_version = {SCHEMA_VERSION};COMMIT;", people::TABLE))?,
        // Before there were people.
        1 => connection.execute_batch(&format!("BEGIN;{};PRAGMA user_version = {SCHEMA_VERSION};COMMIT;", people::TABLE))?,
        found => return Err(TriageError::Schema { found, known: SCHEMA_VERSION }),
    }
    Ok(connection)
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
    connection.busy_timeout(BUSY_WAIT)?;
    Ok(connection)
}
