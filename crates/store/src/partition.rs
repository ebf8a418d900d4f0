//! One file of the store.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::RwLock;
use std::time::Duration;

use event::{ContentId, KeyId, Timestamp};
use keys::{DataKeys, Secret};
use lru::LruCache;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use crate::error::StoreError;
use crate::rebuild;
use crate::schema::{self, SCHEMA_VERSION};

/// Contents of which the writer remembers the number, so that the pieces of a conversation that come again with every
/// call cost no look-up. 128 Ki entries take about 12 MB.
const KNOWN_CONTENTS_MAX: NonZeroUsize = NonZeroUsize::new(128 * 1024).unwrap();

/// Statements that are kept compiled; the writer has about 40.
const STATEMENTS_MAX: usize = 64;

/// Page cache of the writer, in KiB (negative by SQLite's convention). With 64 MiB the leaves of a day's indexes fell out of it
/// from 200,000 events on, and every page that comes back is read, checked and decrypted again.
const CACHE_KIB: i64 = -196_608;

/// Pages of the write-ahead log after which SQLite folds it into the file (64 MiB). Its own default of 1,000 makes the
/// writer rewrite the same index pages for every few batches.
const CHECKPOINT_PAGES: i64 = 16_384;

/// Page cache of a partition that is built aside, in KiB as [`CACHE_KIB`]: a day of ten million events has 200 MiB of content keys.
const CACHE_ASIDE_KIB: i64 = -393_216;

/// Longest file that names a key: 32 digits and a line feed, and some to spare for whoever edits it.
const KEY_ID_BYTES_MAX: u64 = 64;

/// Bytes of the write-ahead log from which the writer waits for readers to leave, so that it can begin anew. SQLite folds the log
/// into the file beside readers, but goes on at its end while one of them is in it: a reader that is always there, or slow,
/// makes it grow until the disk is full. Every reader is bounded in time.
pub(crate) const LOG_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// How long the writer waits for readers, and then goes on: it must be able to stop.
const READERS_WAIT: Duration = Duration::from_secs(10);

/// Held for reading while partitions are listed and opened, for writing while one is removed: a file that is half removed is taken
/// for a damaged one, or made again.
pub(crate) static FILES: RwLock<()> = RwLock::new(());

/// How a partition is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Beside readers; what was committed stays over a power cut, or is missing with its cursor.
    Live,
    /// Where nobody reads it, as fast as it goes: it is nothing until [`Partition::finish`] has made it whole, and is thrown away
    /// after a crash.
    Aside,
}

/// A day's partition, open for writing.
#[derive(Debug)]
pub(crate) struct Partition {
    /// The day, as in the file's name.
    pub(crate) day: String,
    /// The file.
    pub(crate) path: PathBuf,
    /// The connection.
    pub(crate) connection: Connection,
    known: LruCache<ContentId, i64>,
    way: Way,
}

/// The day of a time (nanoseconds since 1970), as partitions are named.
#[must_use]
pub fn day_of(observed_ns: u64) -> String {
    let seconds = i64::try_from(observed_ns / 1_000_000_000).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "9999-12-31".to_owned(), |time| time.strftime("%Y-%m-%d").to_string())
}

/// When a day begins, by the name of its partition.
#[must_use]
pub fn start_of(day: &str) -> Option<Timestamp> {
    let date: jiff::civil::Date = day.parse().ok()?;
    let seconds = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second();
    u64::try_from(seconds).ok()?.checked_mul(1_000_000_000).map(Timestamp::from_unix_ns)
}

/// The partitions of a directory, by day. Other files are left alone.
pub(crate) fn list(dir: &Path) -> Result<BTreeMap<String, PathBuf>, StoreError> {
    let mut partitions = BTreeMap::new();
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(partitions),
        Err(error) => return Err(StoreError::directory(dir)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(StoreError::directory(dir))?;
        // SQLite would follow a link, and wait for whoever writes to a pipe.
        if !entry.file_type().map_err(StoreError::directory(dir))?.is_file() {
            continue;
        }
        let path = entry.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(day) = name.strip_suffix(".db").filter(|day| is_day(day)) {
            partitions.insert(day.to_owned(), path.clone());
        }
    }
    Ok(partitions)
}

/// `YYYY-MM-DD`: also what makes the name safe to put into SQL.
fn is_day(text: &str) -> bool {
    text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() })
}

/// The file beside a partition that names its key. Not the partition's own first bytes: opening and closing that file by anything
/// but SQLite would give up SQLite's locks on it, for the whole process.
pub(crate) fn key_id_file(partition: &Path) -> PathBuf {
    partition.with_extension("keyid")
}

/// The id of a partition's key. `None` while it has none.
pub(crate) fn key_id(partition: &Path) -> Result<Option<KeyId>, StoreError> {
    let path = key_id_file(partition);
    let no_key = || StoreError::NoKey { path: partition.to_owned() };
    match files::read_at_most(&path, KEY_ID_BYTES_MAX) {
        Ok(Some(bytes)) => {
            let id = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim_end().parse().ok());
            id.map(Some).ok_or_else(no_key)
        }
        Ok(None) => Ok(None),
        Err(error) if files::NotRegular::is(&error) || error.kind() == std::io::ErrorKind::FileTooLarge => Err(no_key()),
        Err(error) => Err(StoreError::directory(&path)(error)),
    }
}

/// The key of a partition. `None` while it has none.
pub(crate) fn key_of(partition: &Path, keys: &DataKeys) -> Result<Option<Secret>, StoreError> {
    let Some(id) = key_id(partition)? else { return Ok(None) };
    keys.get(id)?.map_or_else(|| Err(StoreError::NoKey { path: partition.to_owned() }), |key| Ok(Some(key)))
}

/// The record after the last one whose rows a partition, or an older one, holds.
fn cursor(connection: &Connection) -> rusqlite::Result<i64> {
    let next = connection.query_row("SELECT value FROM meta WHERE key = 'next'", [], |row| row.get(0));
    next.optional().map(Option::unwrap_or_default)
}

impl Partition {
    /// Opens the partition of `day`, making it where there is none.
    pub(crate) fn open(dir: &Path, day: &str, keys: &DataKeys) -> Result<Self, StoreError> {
        Self::open_for(dir, day, keys, Way::Live)
    }

    /// As [`Partition::open`]. One that is opened [`Way::Aside`] must be finished.
    pub(crate) fn open_for(dir: &Path, day: &str, keys: &DataKeys, way: Way) -> Result<Self, StoreError> {
        let path = dir.join(format!("{day}.db"));
        let known = if files::is_regular(&path).map_err(StoreError::directory(&path))? {
            key_of(&path, keys)?
        } else {
            // SQLite would follow a link that lies there, and wait for whoever writes to a pipe.
            rebuild::remove_partition(&path)?;
            None
        };
        let key = match known {
            Some(key) => key,
            // Each has a key of its own, so that it can be forgotten apart from the others.
            None => {
                let (id, key) = keys.create()?;
                let named = key_id_file(&path);
                files::write_atomic(&named, format!("{id}\n").as_bytes(), 0o600).map_err(StoreError::directory(&named))?;
                key
            }
        };
        let error = StoreError::partition(&path);
        let connection = Self::connect(&path, &key, way).map_err(error)?;
        let found: i64 =
            connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(StoreError::partition(&path))?;
        match found {
            SCHEMA_VERSION => {}
            0 => {
                let create = if way == Way::Aside { schema::create_aside() } else { schema::create() };
                connection.execute_batch(&format!("BEGIN;{create}COMMIT;")).map_err(StoreError::partition(&path))?;
            }
            found => return Err(StoreError::version(&path, found, || cursor(&connection).unwrap_or_default().unsigned_abs())),
        }
        Ok(Self { day: day.to_owned(), path, connection, known: LruCache::new(KNOWN_CONTENTS_MAX), way })
    }

    /// Opens the partition of a day that must be there and hold the records before `next`. `None` when it is not, or is not what was
    /// written: then it can be built again.
    pub(crate) fn open_listed(dir: &Path, day: &str, next: u64, keys: &DataKeys) -> Result<Option<Self>, StoreError> {
        let path = dir.join(format!("{day}.db"));
        if !files::is_regular(&path).map_err(StoreError::directory(&path))? {
            return Ok(None);
        }
        match key_id(&path) {
            Ok(None) | Err(StoreError::NoKey { .. }) => return Ok(None),
            other => drop(other?),
        }
        let opened = Self::open(dir, day, keys).and_then(|partition| Ok((partition.next()?.unsigned_abs() >= next, partition)));
        match opened {
            Ok((is_whole, partition)) => Ok(is_whole.then_some(partition)),
            Err(StoreError::NoKey { .. }) => Ok(None),
            Err(StoreError::Partition { source: rusqlite::Error::SqliteFailure(failure, _), .. })
                if matches!(failure.code, ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn connect(path: &Path, key: &Secret, way: Way) -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        keys::unlock(&connection, key)?;
        match way {
            Way::Live => {
                connection.pragma_update(None, "journal_mode", "wal")?;
                // The journal is what is durable. NORMAL keeps the file consistent over a power cut, and may lose the newest
                // commits, rows and cursor together.
                connection.pragma_update(None, "synchronous", "normal")?;
                connection.pragma_update(None, "cache_size", CACHE_KIB)?;
                connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
            }
            Way::Aside => {
                connection.pragma_update(None, "journal_mode", "off")?;
                connection.pragma_update(None, "synchronous", "off")?;
                connection.pragma_update(None, "cache_size", CACHE_ASIDE_KIB)?;
            }
        }
        // Without it SQLite compiles a statement again for every value that is bound where a value might choose the plan.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        connection.busy_timeout(READERS_WAIT)?;
        Ok(connection)
    }

    /// The record after the last one whose rows this partition, or an older one, holds.
    pub(crate) fn next(&self) -> Result<i64, StoreError> {
        cursor(&self.connection).map_err(StoreError::partition(&self.path))
    }

    /// Moves the cursor, inside the transaction.
    pub(crate) fn set_next(&self, next: i64) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "INSERT INTO meta(key, value) VALUES ('next', ?1) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
            )?
            .execute([next])
            .map(drop)
    }

    /// Begins to write. One that is built aside goes on in the transaction that it is in.
    pub(crate) fn begin(&self) -> Result<(), StoreError> {
        if !self.connection.is_autocommit() {
            return Ok(());
        }
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(StoreError::partition(&self.path))
    }

    /// Ends what was written, and keeps the log small. One that is built aside writes its pages once, when they fall out of the
    /// cache or at the end.
    pub(crate) fn commit(&self) -> Result<(), StoreError> {
        if self.way == Way::Aside {
            return Ok(());
        }
        self.connection.execute_batch("COMMIT").map_err(StoreError::partition(&self.path))?;
        self.bound_log(LOG_BYTES_MAX)
    }

    /// Takes back what was written since [`Partition::begin`]. One that is built aside cannot: it is done for. Whether it can be used.
    pub(crate) fn roll_back(&mut self) -> bool {
        self.forget();
        if self.connection.is_autocommit() {
            return true;
        }
        if self.way == Way::Aside {
            return false;
        }
        let rolled_back = self.connection.execute_batch("ROLLBACK");
        if let Err(error) = &rolled_back {
            tracing::error!(%error, "the store could not roll back; it is opened again");
        }
        rolled_back.is_ok()
    }

    /// Forgets what was remembered of a transaction that is rolled back.
    pub(crate) fn forget(&mut self) {
        self.known.clear();
    }

    /// Makes one that was built aside what one that was written live is. Then it is on disk.
    fn finish(&self) -> rusqlite::Result<()> {
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("COMMIT")?;
        }
        self.connection.execute_batch(&format!("BEGIN;{}COMMIT;", schema::FINISH))?;
        self.connection.pragma_update(None, "synchronous", "full")?;
        self.connection.pragma_update(None, "journal_mode", "wal")
    }

    /// Puts every commit on disk.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.connection.query_row("PRAGMA wal_checkpoint(FULL)", [], |_| Ok(())).map_err(StoreError::partition(&self.path))
    }

    /// Keeps the write-ahead log from growing without end: where it is larger than `bytes_max`, waits for the readers that are in
    /// it, at most [`READERS_WAIT`], and empties it. The journal holds what is not indexed meanwhile.
    pub(crate) fn bound_log(&self, bytes_max: u64) -> Result<(), StoreError> {
        let log = log_of(&self.path);
        if !std::fs::metadata(&log).is_ok_and(|log| log.len() > bytes_max) {
            return Ok(());
        }
        let is_busy: bool = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
            .map_err(StoreError::partition(&self.path))?;
        if is_busy {
            tracing::warn!(path = %log.display(), "the store waited for a reader that did not end: its write-ahead log grows");
        }
        Ok(())
    }

    /// Lets go of it with every commit on disk, for another day's.
    pub(crate) fn leave(self) -> Result<(), StoreError> {
        match self.way {
            Way::Live => self.sync(),
            Way::Aside => self.close(),
        }
    }

    /// Folds the write-ahead log into the file, where no reader stands in the way, and closes it.
    pub(crate) fn close(self) -> Result<(), StoreError> {
        if self.way == Way::Aside {
            self.finish().map_err(StoreError::partition(&self.path))?;
        }
        let Self { connection, path, way, .. } = self;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(StoreError::partition(&path))?;
        connection.close().map_err(|(_, error)| StoreError::partition(&path)(error))?;
        if way == Way::Aside {
            // Its pages were written without waiting for the disk.
            std::fs::File::open(&path).and_then(|file| file.sync_all()).map_err(StoreError::directory(&path))?;
        }
        Ok(())
    }

    /// The number of a content that stands here.
    pub(crate) fn content(&mut self, id: &ContentId) -> rusqlite::Result<Option<i64>> {
        if let Some(number) = self.known.get(id) {
            return Ok(Some(*number));
        }
        let number = self
            .connection
            .prepare_cached("SELECT id FROM contents WHERE content_key = ?1 AND content_id = ?2")?
            .query_row(params![content_key(id), &id.as_bytes()[..]], |row| row.get(0))
            .optional()?;
        if let Some(number) = number {
            self.known.put(*id, number);
        }
        Ok(number)
    }

    /// Stores a content that does not stand here yet, and its words.
    pub(crate) fn add_content(&mut self, id: &ContentId, subject: &[u8], seq: i64, text: &str) -> rusqlite::Result<i64> {
        self.connection
            .prepare_cached(
                "INSERT INTO contents(content_id, content_key, subject, seq, bytes, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                &id.as_bytes()[..],
                content_key(id),
                subject,
                seq,
                crate::row::integer(text.len() as u64),
                crate::text::pack(text)
            ])?;
        let number = self.connection.last_insert_rowid();
        self.connection
            .prepare_cached("INSERT INTO contents_fts(rowid, text) VALUES (?1, ?2)")?
            .execute(params![number, text])?;
        self.known.put(*id, number);
        Ok(number)
    }

    /// The text of a content that stands here.
    pub(crate) fn text(&self, number: i64) -> rusqlite::Result<Option<String>> {
        self.connection
            .prepare_cached("SELECT data FROM contents WHERE id = ?1")?
            .query_row([number], |row| Ok(crate::text::unpack(row.get_ref(0)?)?.map(std::borrow::Cow::into_owned)))
            .optional()
            .map(Option::flatten)
    }
}

/// The write-ahead log of a partition.
pub(crate) fn log_of(partition: &Path) -> PathBuf {
    files::beside(partition, "-wal")
}

/// The column `content_key` of a content: its id begins with a hash, so eight bytes of it tell nearly all contents apart.
pub(crate) fn content_key(id: &ContentId) -> i64 {
    let mut key = [0; 8];
    key.copy_from_slice(&id.as_bytes()[..8]);
    i64::from_be_bytes(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_day_of_utc() {
        for (seconds, day) in [(0, "1970-01-01"), (1_763_683_199, "2025-11-20"), (1_763_683_200, "2025-11-21")] {
            assert_eq!(day_of(seconds * 1_000_000_000), day);
        }
        assert!(is_day(&day_of(u64::MAX)));
        for day in ["1970-01-01", "2025-11-20", "2554-07-21"] {
            assert_eq!(day_of(start_of(day).unwrap().unix_ns()), day);
        }
        assert_eq!((start_of("9999-12-31"), start_of("2025-13-01"), start_of("x")), (None, None, None));
    }

    #[test]
    fn only_days_are_partitions() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["2025-11-20.db", "2025-11-20.db-wal", "x'; DROP.db", "2025-1-20.db", "writer.lock", "2025-11-2é.db"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(list(dir.path()).unwrap().into_keys().collect::<Vec<_>>(), ["2025-11-20"]);
        assert!(list(&dir.path().join("none")).unwrap().is_empty());
    }

    #[test]
    fn a_log_that_grows_under_a_reader_is_emptied_when_it_has_left() {
        let dir = tempfile::tempdir().unwrap();
        let root = keys::FileRootKey::new(&Secret::random().unwrap()).unwrap();
        let keyring = keys::Keyring::open(&dir.path().join("keys"), std::sync::Arc::new(root)).unwrap();
        let keys = DataKeys::new(std::sync::Arc::new(keyring), keys::Purpose::Store);
        let partition = Partition::open(dir.path(), "2025-11-20", &keys).unwrap();
        partition.connection.busy_timeout(Duration::from_millis(10)).unwrap();
        let reader = Partition::open(dir.path(), "2025-11-20", &keys).unwrap();
        partition.set_next(1).unwrap();
        reader.connection.execute_batch("BEGIN; SELECT * FROM meta").unwrap();
        partition.set_next(2).unwrap();
        let bytes = || std::fs::metadata(log_of(&partition.path)).unwrap().len();
        partition.bound_log(u64::MAX).unwrap();
        assert!(bytes() > 0);
        partition.bound_log(0).unwrap();
        assert!(bytes() > 0, "the reader is still in it");
        reader.connection.execute_batch("COMMIT").unwrap();
        partition.bound_log(0).unwrap();
        assert_eq!(bytes(), 0);
        assert_eq!(partition.next().unwrap(), 2);
    }
}
