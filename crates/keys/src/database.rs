//! SQLCipher files: opened with a raw key, so that no password is stretched for every connection.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// How long a connection waits for a lock of another process: a reader that opens the file while the writer makes its log.
const BUSY_WAIT: Duration = Duration::from_secs(10);

/// Statements that stay compiled; the keyring has about 12.
const STATEMENTS_MAX: usize = 32;

/// Gives a connection the key of its main file, before anything else is asked of it. SQLCipher 4's defaults hold: AES-256-CBC and
/// HMAC-SHA-512 for each page of 4,096 bytes.
///
/// # Errors
/// What SQLite says. A wrong key is found with the first read.
pub fn unlock(connection: &Connection, key: &Secret) -> rusqlite::Result<()> {
    // It would print every page that does not open, with the file's name, to standard error: callers tell their own errors.
    connection.execute_batch("PRAGMA cipher_log_level = NONE")?;
    let statement = Zeroizing::new(format!("PRAGMA key = \"{}\"", *attach_key(key)));
    connection.execute_batch(&statement)
}

/// A key as SQLCipher takes it raw, without stretching it: for `ATTACH … KEY ?`.
#[must_use]
pub fn attach_key(key: &Secret) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(67));
    text.push_str("x'");
    event::hex::push(key.expose(), &mut text);
    text.push('\'');
    text
}

/// Opens the file for writing.
pub(crate) fn open_writer(path: &Path, key: &Secret) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    unlock(&connection, key)?;
    // A log, so that others read while this one writes; it is encrypted page by page as the file is. FULL: a commit is durable.
    connection.execute_batch("PRAGMA secure_delete = ON; PRAGMA synchronous = FULL;")?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    settle(&connection)?;
    Ok(connection)
}

/// Opens the file for reading, while another process writes it or on a medium that nobody can write.
pub(crate) fn open_reader(path: &Path, key: &Secret) -> rusqlite::Result<Connection> {
    let open = |immutable: bool| {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::open_with_flags(uri(path, immutable), flags)?;
        unlock(&connection, key)?;
        settle(&connection)?;
        Ok(connection)
    };
    match open(false) {
        // SQLite cannot make its lock file beside it, and where there is no log nobody is writing.
        Err(rusqlite::Error::SqliteFailure(failure, _))
            if failure.code == ErrorCode::CannotOpen && path.exists() && !files::beside(path, "-wal").exists() =>
        {
            open(true)
        }
        other => other,
    }
}

fn settle(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_WAIT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // The first read tells whether the key is right.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
}

fn uri(path: &Path, immutable: bool) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri.push_str(if immutable { "?mode=ro&immutable=1" } else { "?mode=ro" });
    uri
}
