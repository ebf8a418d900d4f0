//! The reader: every partition attached read-only to one connection.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use event::ContentId;
use keys::DataKeys;
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};
use sanitize::Clean;

use crate::error::StoreError;
use crate::partition::{FILES, content_key, key_id_file, key_of, list, log_of};
use crate::schema::SCHEMA_VERSION;
use crate::text::{register, unpack};
use crate::views::VIEWS;
use crate::write::STORE_DIR;

/// Most partitions that are attached: SQLite's limit of 125 less a few to spare. A build without
/// `SQLITE_MAX_ATTACHED` has 10.
const PARTITIONS_MAX: usize = 120;

/// How long a reader waits for a lock. The writer holds none that blocks readers but while it makes a file.
const BUSY_WAIT: std::time::Duration = std::time::Duration::from_secs(5);

/// Reads the store, while a writer of another process runs or not. Many may exist; each answers one query at a time.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    keys: DataKeys,
    state: Mutex<Attached>,
}

/// A connection with the partitions of a moment.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) connection: Connection,
    /// Names of the attached schemas, newest day first.
    pub(crate) schemas: Vec<String>,
    days: Vec<(String, Made)>,
    left_out: usize,
}

/// Tells a partition from another one of the same day, which was built in its place: each has a key of its own, so that the file that
/// names it is another one. Nothing that was erased may be read by whoever had the old one open.
type Made = Option<(u64, i64, i64)>;

fn made(partition: &Path) -> Made {
    let named = std::fs::metadata(key_id_file(partition)).ok()?;
    Some((named.ino(), named.mtime(), named.mtime_nsec()))
}

impl Reader {
    /// Opens the store of a data directory. One that does not exist yet is empty until a writer makes it.
    pub fn open(dir: &Path, keys: &DataKeys) -> Result<Self, StoreError> {
        let dir = dir.join(STORE_DIR);
        let state = Mutex::new(Attached::open(&dir, keys)?);
        Ok(Self { dir, keys: keys.clone(), state })
    }

    /// How many older partitions are not read, because SQLite attaches no more files. 0 for up to 120 days.
    pub fn partitions_left_out(&self) -> Result<usize, StoreError> {
        self.with(|attached| Ok(attached.left_out))
    }

    /// The text of a content.
    pub fn content(&self, id: &ContentId) -> Result<Option<Clean>, StoreError> {
        self.with(|attached| {
            for schema in &attached.schemas {
                let sql = format!("SELECT data FROM {schema}.contents WHERE content_key = ?1 AND content_id = ?2");
                let text = attached
                    .connection
                    .prepare_cached(&sql)?
                    .query_row(params![content_key(id), &id.as_bytes()[..]], |row| {
                        Ok(unpack(row.get_ref(0)?)?.map(|text| Clean::recorded(&text)))
                    })
                    .optional()?;
                if let Some(text) = text {
                    return Ok(text);
                }
            }
            Ok(None)
        })
    }

    /// Runs `read` over the partitions as they are now.
    pub(crate) fn with<T, E: From<StoreError>>(&self, read: impl FnOnce(&mut Attached) -> Result<T, E>) -> Result<T, E> {
        // A reader that panicked has left nothing half done: it only reads.
        let mut attached = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let days: Vec<(String, Made)> = list(&self.dir)?.into_iter().map(|(day, path)| (day, made(&path))).collect();
        if days != attached.days {
            *attached = Attached::open(&self.dir, &self.keys)?;
        }
        read(&mut attached)
    }
}

impl Attached {
    fn open(dir: &Path, keys: &DataKeys) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(":memory:", flags | OpenFlags::SQLITE_OPEN_MEMORY)?;
        // Else SQLCipher tells standard error of every file that does not open; errors are ours to tell.
        connection.execute_batch("PRAGMA cipher_log_level = NONE")?;
        connection.busy_timeout(BUSY_WAIT)?;
        connection.set_prepared_statement_cache_capacity(256);
        register(&connection)?;
        let room = usize::try_from(connection.limit(Limit::SQLITE_LIMIT_ATTACHED)?).unwrap_or(0).min(PARTITIONS_MAX);
        let _files = FILES.read().unwrap_or_else(PoisonError::into_inner);
        let partitions = list(dir)?;
        let left_out = partitions.len().saturating_sub(room);
        let mut attached = Self { connection, schemas: Vec::new(), days: Vec::new(), left_out };
        for (day, path) in partitions.iter().rev() {
            let made = made(path);
            let is_ready = match attached.schemas.len() >= room {
                true => true,
                false => match attached.attach(day, path, keys) {
                    // Another process has removed it meanwhile.
                    Err(_) if !path.exists() => {
                        let _ = attached.connection.execute(&format!("DETACH {}", schema_of(day)), []);
                        continue;
                    }
                    ready => ready?,
                },
            };
            // A file that its writer is just making is looked at again next time.
            if is_ready {
                attached.days.insert(0, (day.clone(), made));
            }
        }
        if left_out > 0 {
            tracing::warn!(
                left_out,
                attached = attached.schemas.len(),
                "older partitions of the store are not read: too many files"
            );
        }
        attached.create_views()?;
        attached.connection.pragma_update(None, "query_only", true)?;
        Ok(attached)
    }

    /// Attaches a partition. Whether its tables are there yet.
    fn attach(&mut self, day: &str, path: &Path, keys: &DataKeys) -> Result<bool, StoreError> {
        let Some(key) = key_of(path, keys)? else { return Ok(false) };
        let key = keys::attach_key(&key);
        let schema = schema_of(day);
        let attach = |mode: &str| {
            let sql = format!("ATTACH ?1 AS {schema} KEY ?2");
            self.connection
                .execute(&sql, (uri(path, mode), key.as_str()))
                .and_then(|_| self.connection.query_row(&format!("PRAGMA {schema}.user_version"), [], |row| row.get::<_, i64>(0)))
        };
        let version = match attach("mode=ro") {
            // A copy on a read-only medium: SQLite cannot make its lock file beside it, and nobody can write.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::CannotOpen) && !log_of(path).exists() => {
                let _ = self.connection.execute(&format!("DETACH {schema}"), []);
                attach("mode=ro&immutable=1")
            }
            other => other,
        };
        match version.map_err(StoreError::partition(path))? {
            SCHEMA_VERSION => {
                self.schemas.push(schema);
                Ok(true)
            }
            0 => {
                self.connection.execute(&format!("DETACH {schema}"), []).map_err(StoreError::partition(path))?;
                Ok(false)
            }
            found => Err(StoreError::version(path, found, || 0)),
        }
    }

    fn create_views(&mut self) -> Result<(), StoreError> {
        let mut schemas = self.schemas.clone();
        if schemas.is_empty() {
            // Views over an empty partition: a query of a new store answers no rows instead of an error.
            self.connection.execute_batch(&crate::schema::create())?;
            schemas.push("main".to_owned());
        }
        for view in VIEWS {
            self.connection.execute_batch(&view.create(&schemas))?;
        }
        Ok(())
    }
}

/// The schema of a day. A day has digits and hyphens only.
fn schema_of(day: &str) -> String {
    format!("d{}", day.replace('-', ""))
}

/// An SQLite URI for a file. What is not plain is percent-encoded.
fn uri(path: &Path, parameters: &str) -> String {
    use std::fmt::Write as _;

    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    let _ = write!(uri, "?{parameters}");
    uri
}
