//! The newest event of a kind, for `status`.

use journal::Seq;
use rusqlite::OptionalExtension as _;
use serde::Serialize;
use utoipa::ToSchema;

use crate::attached::Reader;
use crate::error::QueryError;
use crate::text::iso;

/// An event in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Latest {
    /// Its place in the journal.
    #[schema(value_type = u64)]
    pub seq: Seq,
    /// When Watchkeeper received it (ISO 8601).
    pub received: String,
    /// Its name.
    pub name: String,
    /// Why something is missing, where it is a gap.
    pub reason: Option<String>,
}

/// A known hole in the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GapRow {
    /// Its place in the journal.
    pub seq: u64,
    /// The event.
    pub event_id: String,
    /// When, by the source's clock (ISO 8601).
    pub time: String,
    /// Name of the event.
    pub name: String,
    /// Why something is missing.
    pub reason: Option<String>,
    /// How much is missing.
    pub count: Option<i64>,
}

impl Reader {
    /// The newest gaps in the order of the journal, the newest first.
    ///
    /// # Errors
    /// What the store says.
    pub fn gaps(&self, limit: usize) -> Result<Vec<GapRow>, QueryError> {
        self.with(|attached| {
            let mut gaps = Vec::new();
            for schema in &attached.schemas {
                let sql = format!(
                    "SELECT e.seq, e.id, e.time_ns, e.name, e.attributes ->> '$.\"watchkeeper.gap.reason\"',
                       e.attributes ->> '$.\"watchkeeper.gap.count\"'
                     FROM {schema}.events e WHERE e.kind = 'gap' ORDER BY e.seq DESC LIMIT ?1"
                );
                let mut statement = attached.connection.prepare_cached(&sql)?;
                let rows = statement.query_map([crate::row::integer((limit - gaps.len()) as u64)], |row| {
                    Ok(GapRow {
                        seq: row.get::<_, i64>(0)?.unsigned_abs(),
                        event_id: row.get(1)?,
                        time: iso(row.get(2)?),
                        name: row.get(3)?,
                        reason: row.get(4)?,
                        count: row.get(5)?,
                    })
                })?;
                gaps.extend(rows.collect::<rusqlite::Result<Vec<_>>>()?);
                if gaps.len() >= limit {
                    break;
                }
            }
            Ok(gaps)
        })
    }

    /// The newest event of a kind, and of a name if one is given, among those in the hot store.
    ///
    /// # Errors
    /// What the store says.
    pub fn latest(&self, kind: &str, name: Option<&str>) -> Result<Option<Latest>, QueryError> {
        self.first_of(
            "WHERE e.kind = ?1 AND (?2 IS NULL OR e.name = ?2) ORDER BY e.seq DESC LIMIT 1",
            (kind.to_owned(), name.map(str::to_owned)),
        )
    }

    /// The event of a record, if it is in the hot store.
    ///
    /// # Errors
    /// What the store says.
    pub fn event_at(&self, seq: Seq) -> Result<Option<Latest>, QueryError> {
        self.first_of("WHERE e.seq = ?1", (crate::row::integer(seq.0),))
    }

    /// How many events of a kind the hot store has.
    ///
    /// # Errors
    /// What the store says.
    pub fn count_of(&self, kind: &str) -> Result<u64, QueryError> {
        self.with(|attached| {
            let mut count = 0;
            for schema in &attached.schemas {
                let sql = format!("SELECT count(*) FROM {schema}.events WHERE kind = ?1");
                let rows: i64 = attached.connection.prepare_cached(&sql)?.query_row([kind], |row| row.get(0))?;
                count += rows.unsigned_abs();
            }
            Ok(count)
        })
    }

    /// Looks into the newest partition first.
    fn first_of(&self, which: &str, bound: impl rusqlite::Params + Clone) -> Result<Option<Latest>, QueryError> {
        self.with(|attached| {
            for schema in &attached.schemas {
                let sql = format!(
                    "SELECT e.seq, e.observed_ns, e.name, e.attributes ->> '$.\"watchkeeper.gap.reason\"' FROM {schema}.events e {which}"
                );
                let found = attached.connection.prepare_cached(&sql)?.query_row(bound.clone(), |row| {
                    Ok(Latest {
                        seq: Seq(row.get::<_, i64>(0)?.unsigned_abs()),
                        received: iso(row.get(1)?),
                        name: row.get(2)?,
                        reason: row.get(3)?,
                    })
                });
                if let Some(found) = found.optional()? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        })
    }
}
