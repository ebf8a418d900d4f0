//! SQL that comes from people: read-only, bounded in time, rows and bytes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, ErrorCode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::attached::Reader;
use crate::error::{QueryError, StoreError};

/// Longest query. A person writes a few hundred bytes, a dashboard a few thousand.
const SQL_BYTES_MAX: usize = 64 * 1024;

/// Largest value and largest row that a query can make, in bytes: a row of a view, with a few contents of 1 MiB, two
/// maps of 1 MiB and its other columns, can still be sorted.
const VALUE_BYTES_MAX: i32 = 8 * 1024 * 1024;

/// Most columns of an answer, a sort or a grouping: no view has half as many.
const COLUMNS_MAX: i32 = 256;

/// Longest pattern of LIKE and GLOB: SQLite multiplies its length with that of the text, and looks at no clock.
const PATTERN_BYTES_MAX: i32 = 256;

/// Steps of SQLite's machine between two looks at the clock: some microseconds, and with values of the largest size
/// still a fraction of a second.
pub(crate) const STEPS_PER_LOOK: i32 = 100;

/// Between two looks at the memory of the process: the kernel takes some 20 µs to tell, and a query fills 30 MB in that time at most.
const MEMORY_LOOK: Duration = Duration::from_millis(5);

/// What a cell costs at least of the bytes of an answer: numbers take memory, too.
const CELL_BYTES_MIN: usize = 8;

/// Queries that run at once in the process, whatever the number of readers: each may take a core and, for its answer,
/// 64 MiB.
const QUERIES_MAX: usize = 4;

/// Functions that read files, load code or tell about the machine; some exist only in other builds of SQLite.
const FUNCTIONS_DENIED: [&str; 10] = [
    "load_extension",
    "readfile",
    "writefile",
    "edit",
    "fts3_tokenizer",
    "fts5",
    "sqlite_compileoption_get",
    "sqlite_compileoption_used",
    "sqlite_log",
    "sqlcipher_export",
];

/// How much a query may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryLimits {
    /// Most rows of the answer.
    pub rows_max: usize,
    /// Most bytes of the answer: texts, and 8 for every cell.
    pub bytes_max: usize,
    /// Longest time.
    pub time_max: Duration,
    /// Most bytes by which the process may grow while the query runs. Sorting and grouping are done in memory: temporary files
    /// would not be encrypted.
    pub memory_max: u64,
}

impl Default for QueryLimits {
    /// 10,000 rows, 64 MiB, 30 s, and 1 GiB to work with: an analyst's answer, not an export.
    fn default() -> Self {
        Self { rows_max: 10_000, bytes_max: 64 * 1024 * 1024, time_max: Duration::from_secs(30), memory_max: 1024 * 1024 * 1024 }
    }
}

/// The answer of a query.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Table {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The rows.
    #[schema(value_type = Vec<Vec<serde_json::Value>>)]
    pub rows: Vec<Vec<Cell>>,
    /// Whether there is more than the limits allow.
    pub truncated: bool,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Cell {
    /// Nothing.
    Null,
    /// A whole number.
    Int(i64),
    /// Another number.
    Real(f64),
    /// A text; bytes are written in hexadecimal.
    Text(String),
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Int(number) => number.fmt(f),
            Self::Real(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl Reader {
    /// Answers one SELECT over the views.
    ///
    /// # Errors
    /// When it is not one, does anything but read, or takes longer than `limits` allow. An answer with more rows or
    /// bytes than that is cut, and says so.
    pub fn sql(&self, query: &str, limits: &QueryLimits) -> Result<Table, QueryError> {
        if query.len() > SQL_BYTES_MAX {
            return Err(QueryError::TooLong { bytes: query.len(), bytes_max: SQL_BYTES_MAX });
        }
        self.with(|attached| {
            let _slot = SLOTS.take(limits.time_max)?;
            let connection = &mut attached.connection;
            let denied = Arc::new(Mutex::new(None));
            let too_large = TooLarge::default();
            let old = guard(connection, limits, &denied, &too_large)?;
            let answer = answer(connection, query, limits);
            release(connection, &old)?;
            answer.map_err(|error| explain(error, limits, &denied, &too_large))
        })
    }
}

static SLOTS: Slots = Slots::new(QUERIES_MAX);

/// Places for queries.
struct Slots {
    free: Mutex<usize>,
    given_back: Condvar,
    all: usize,
}

/// A place, while it is held.
struct Slot<'s>(&'s Slots);

impl Slots {
    const fn new(all: usize) -> Self {
        Self { free: Mutex::new(all), given_back: Condvar::new(), all }
    }

    /// A place, waited for at most so long.
    fn take(&self, time_max: Duration) -> Result<Slot<'_>, QueryError> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.given_back.wait_timeout_while(free, time_max, |free| *free == 0);
        let (mut free, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if *free == 0 {
            return Err(QueryError::Busy { queries_max: self.all });
        }
        *free -= 1;
        Ok(Slot(self))
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.given_back.notify_one();
    }
}

/// The limits of SQLite that are lower while a person's statement runs.
const LIMITS: [(Limit, i32); 3] = [
    (Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX),
    (Limit::SQLITE_LIMIT_COLUMN, COLUMNS_MAX),
    (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, PATTERN_BYTES_MAX),
];

type Denied = Arc<Mutex<Option<String>>>;

/// Set when a query was stopped for what it took, and not for its time.
type TooLarge = Arc<AtomicBool>;

fn guard(
    connection: &mut Connection,
    limits: &QueryLimits,
    denied: &Denied,
    too_large: &TooLarge,
) -> Result<Vec<i32>, StoreError> {
    let mut old = Vec::with_capacity(LIMITS.len());
    for (limit, value) in LIMITS {
        old.push(connection.limit(limit)?);
        connection.set_limit(limit, value)?;
    }
    let noted = Arc::clone(denied);
    connection.authorizer(Some(move |context: AuthContext<'_>| match refused(&context) {
        None => Authorization::Allow,
        Some(what) => {
            noted.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(what);
            Authorization::Deny
        }
    }))?;
    let began = Instant::now();
    let QueryLimits { time_max, memory_max, .. } = *limits;
    let at_first = resident_bytes();
    let too_large = Arc::clone(too_large);
    let mut looked = began;
    connection.progress_handler(
        STEPS_PER_LOOK,
        Some(move || {
            let now = Instant::now();
            if now - looked >= MEMORY_LOOK {
                looked = now;
                if resident_bytes().saturating_sub(at_first) > memory_max {
                    too_large.store(true, Ordering::Relaxed);
                    return true;
                }
            }
            now - began > time_max
        }),
    )?;
    Ok(old)
}

/// Memory of the process that is no file's. 0 where the system does not tell, which limits nothing.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().map_or(0, |kib| kib * 1024)
}

fn release(connection: &mut Connection, old: &[i32]) -> Result<(), StoreError> {
    connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>)?;
    connection.progress_handler(0, None::<fn() -> bool>)?;
    for ((limit, _), value) in LIMITS.into_iter().zip(old) {
        connection.set_limit(limit, *value)?;
    }
    Ok(())
}

/// What a person's statement may not do, in words. Nothing for what it may.
fn refused(context: &AuthContext<'_>) -> Option<String> {
    match context.action {
        AuthAction::Select | AuthAction::Recursive | AuthAction::Read { .. } => None,
        AuthAction::Function { function_name } => FUNCTIONS_DENIED
            .iter()
            .any(|denied| denied.eq_ignore_ascii_case(function_name))
            .then(|| format!("the function {function_name}")),
        // Full text search asks for it itself.
        AuthAction::Pragma { pragma_name: "data_version", pragma_value: None } => None,
        AuthAction::Pragma { pragma_name, .. } => Some(format!("PRAGMA {pragma_name}")),
        AuthAction::Attach { .. } => Some("ATTACH".to_owned()),
        AuthAction::Detach { .. } => Some("DETACH".to_owned()),
        AuthAction::Insert { .. } => Some("INSERT".to_owned()),
        AuthAction::Update { .. } => Some("UPDATE".to_owned()),
        AuthAction::Delete { .. } => Some("DELETE".to_owned()),
        AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => Some("a transaction".to_owned()),
        _ => Some("a statement that changes something".to_owned()),
    }
}

enum Failure {
    Sqlite(Error),
    Query(QueryError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Sqlite(error)
    }
}

fn answer(connection: &Connection, query: &str, limits: &QueryLimits) -> Result<Table, Failure> {
    let mut statement = connection.prepare(query)?;
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    if !statement.readonly() {
        return Err(Failure::Query(QueryError::NotAllowed("a statement that changes something".to_owned())));
    }
    if columns.is_empty() {
        return Err(Failure::Query(QueryError::Statements("none")));
    }
    let mut table = Table { columns, rows: Vec::new(), truncated: false };
    let mut bytes_left = limits.bytes_max;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let row_bytes = table.columns.len().saturating_mul(CELL_BYTES_MIN);
        if table.rows.len() == limits.rows_max || bytes_left < row_bytes {
            table.truncated = true;
            break;
        }
        bytes_left -= row_bytes;
        let mut cells = Vec::with_capacity(table.columns.len());
        for index in 0..table.columns.len() {
            let (cell, is_cut) = cell(row.get_ref(index)?, &mut bytes_left);
            table.truncated |= is_cut;
            cells.push(cell);
        }
        table.rows.push(cells);
        if table.truncated {
            break;
        }
    }
    Ok(table)
}

/// A value, and whether it had to be cut.
fn cell(value: ValueRef<'_>, bytes_left: &mut usize) -> (Cell, bool) {
    let mut take = |text: String| {
        if text.len() <= *bytes_left {
            *bytes_left -= text.len();
            return (Cell::Text(text), false);
        }
        let mut text = text;
        text.truncate(text.floor_char_boundary(*bytes_left));
        *bytes_left = 0;
        (Cell::Text(text), true)
    };
    match value {
        ValueRef::Null => (Cell::Null, false),
        ValueRef::Integer(number) => (Cell::Int(number), false),
        ValueRef::Real(number) => (Cell::Real(number), false),
        ValueRef::Text(bytes) => take(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Blob(bytes) => take(event::hex::encode(bytes)),
    }
}

fn explain(failure: Failure, limits: &QueryLimits, denied: &Denied, too_large: &TooLarge) -> QueryError {
    let error = match failure {
        Failure::Query(error) => return error,
        Failure::Sqlite(error) => error,
    };
    if let Some(what) = denied.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return QueryError::NotAllowed(what);
    }
    match error {
        Error::MultipleStatement => QueryError::Statements("more than one"),
        Error::SqliteFailure(failure, _)
            if failure.code == ErrorCode::OperationInterrupted && too_large.load(Ordering::Relaxed) =>
        {
            QueryError::Memory { memory_max: limits.memory_max }
        }
        Error::SqliteFailure(failure, _) if failure.code == ErrorCode::OperationInterrupted => {
            QueryError::Time { time_ms_max: limits.time_max.as_millis() }
        }
        Error::SqliteFailure(_, Some(message)) | Error::SqlInputError { msg: message, .. } => QueryError::Sql { message },
        other => QueryError::Sql { message: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_queries_run_at_once() {
        static SLOTS: Slots = Slots::new(2);
        let (first, _second) = (SLOTS.take(Duration::ZERO).unwrap(), SLOTS.take(Duration::ZERO).unwrap());
        assert!(matches!(SLOTS.take(Duration::from_millis(10)), Err(QueryError::Busy { queries_max: 2 })));
        let waiting = std::thread::spawn(|| SLOTS.take(Duration::from_secs(60)).is_ok());
        drop(first);
        assert!(waiting.join().unwrap());
        assert!(SLOTS.take(Duration::ZERO).is_ok());
    }
}
