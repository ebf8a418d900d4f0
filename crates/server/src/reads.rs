//! Who read what of the record, and took out of it: what its own events say, for whoever watches those who watch.

use event::{Timestamp, attr};
use serde::Serialize;
use store::{Cell, QueryError, QueryLimits, Reader};

use crate::asker::OPERATOR;

/// Where an event of reading has the reason that was given.
pub(crate) const READ_REASON: &str = "watchkeeper.read.reason";

/// Where an event of an export has its reason, and how many records it took out.
const EXPORT_REASON: &str = "watchkeeper.evidence.reason";
/// See [`EXPORT_REASON`].
const EXPORTED: &str = "watchkeeper.evidence.records";

/// Rows of an answer.
const ROWS_MAX: usize = 1_000;

/// A day, in nanoseconds.
const DAY_NS: u64 = 86_400_000_000_000;

/// What somebody read, or took out, for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Read {
    /// Who: `uid:1000`, `key_...`, `oidc:...`.
    pub who: String,
    /// What they are called.
    pub name: Option<String>,
    /// What they call themselves, which nobody has checked.
    pub operator: Option<String>,
    /// How: `query`, `search`, `trace`, `detection` ..., or the name of the event that took records out (`evidence.export`).
    pub action: String,
    /// What: a session, trace, event or detection by its id, or the query, as the record has it.
    pub object: String,
    /// Why, where a reason was given.
    pub reason: Option<String>,
    /// How often.
    pub times: u64,
    /// Records that an export took out, all times together.
    pub records: Option<u64>,
    /// When first, and when last (RFC 3339).
    pub first: String,
    /// See [`first`](Self::first).
    pub last: String,
    /// The record that tells of the last time, and its leaf.
    pub seq: u64,
}

/// Who read what, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reads {
    /// A row for each person, object and reason.
    pub rows: Vec<Read>,
    /// Whether there are more.
    pub truncated: bool,
}

/// Who read what in the last days; of one reader, where one is named as `who` names them.
///
/// # Errors
/// When the store cannot be read.
pub fn reads(reader: &Reader, who: Option<&str>, days: u32) -> Result<Reads, QueryError> {
    let since = Timestamp::now().unix_ns().saturating_sub(u64::from(days).saturating_mul(DAY_NS));
    let since = Timestamp::from_unix_ns(since).rfc3339();
    let of = |key: &str| format!("attributes ->> '$.\"{key}\"'");
    let (action, read_object, acted_object) =
        (of(attr::EVENT_ACTION.as_str()), of(attr::DB_COLLECTION_NAME.as_str()), of(attr::ADMIN_OBJECT.as_str()));
    let (operator, exported) = (of(OPERATOR), of(EXPORTED));
    let reason = format!("coalesce({}, {})", of(READ_REASON), of(EXPORT_REASON));
    let by = who.map(|who| format!(" AND user_id = '{}'", who.replace('\'', "''"))).unwrap_or_default();
    // What others send under these names is none: they are reserved, and the way in says who speaks.
    let sql = format!(
        "SELECT user_id, user_name, {operator} AS operator, CASE kind WHEN 'admin' THEN name ELSE {action} END AS action, \
         coalesce({read_object}, {acted_object}) AS object, {reason} AS reason, count(*), sum({exported}), min(observed), max(observed), \
         max(seq) FROM events WHERE source = 'internal' AND observed >= '{since}' AND (kind = 'data_access' AND name = 'record.read' \
         OR kind = 'admin' AND name IN ('evidence.export', 'evidence.disclose')){by} \
         GROUP BY user_id, operator, action, object, reason ORDER BY max(seq) DESC LIMIT {}",
        ROWS_MAX + 1
    );
    let table = reader.sql(&sql, &QueryLimits::default())?;
    let truncated = table.truncated || table.rows.len() > ROWS_MAX;
    Ok(Reads { rows: table.rows.into_iter().take(ROWS_MAX).map(row).collect(), truncated })
}

fn row(cells: Vec<Cell>) -> Read {
    let mut cells = cells.into_iter();
    let mut text = || match cells.next() {
        Some(Cell::Text(text)) => Some(text),
        Some(Cell::Int(number)) => Some(number.to_string()),
        _ => None,
    };
    let [who, name, operator, action, object, reason, times, records, first, last, seq] = std::array::from_fn(|_| text());
    let number = |text: Option<String>| text.and_then(|text| text.parse().ok());
    Read {
        who: who.unwrap_or_else(|| "unknown".to_owned()),
        name,
        operator,
        action: action.unwrap_or_default(),
        object: object.unwrap_or_default(),
        reason,
        times: number(times).unwrap_or(0),
        records: number(records),
        first: first.unwrap_or_default(),
        last: last.unwrap_or_default(),
        seq: number(seq).unwrap_or(0),
    }
}
