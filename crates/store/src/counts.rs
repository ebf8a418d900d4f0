//! How much the store holds, for `status` and the demo.

use std::collections::BTreeMap;

use journal::Seq;
use rusqlite::OptionalExtension;
use serde::Serialize;

use crate::attached::Reader;
use crate::error::QueryError;
use crate::views::VIEWS;

/// How much the store holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Partitions that are read.
    pub partitions: usize,
    /// Older partitions that are not, because SQLite attaches no more files.
    pub partitions_left_out: usize,
    /// Up to where the journal is indexed.
    pub next: Seq,
    /// All events.
    pub events: u64,
    /// Events of each kind.
    pub by_kind: BTreeMap<String, u64>,
    /// Rows of each view.
    pub by_view: BTreeMap<&'static str, u64>,
    /// Texts that are stored, each once for every day that uses it.
    pub contents: u64,
    /// Their bytes before compression.
    pub content_bytes: u64,
}

impl Reader {
    /// Counts events, rows of views and contents.
    pub fn counts(&self) -> Result<Counts, QueryError> {
        let partitions_left_out = self.partitions_left_out()?;
        self.with(|attached| {
            let mut counts = Counts { partitions: attached.schemas.len(), partitions_left_out, ..Counts::default() };
            let connection = &attached.connection;
            let number = |value: i64| value.unsigned_abs();
            for schema in &attached.schemas {
                let mut kinds =
                    connection.prepare_cached(&format!("SELECT kind, count(*) FROM {schema}.events GROUP BY kind"))?;
                let mut rows = kinds.query([])?;
                while let Some(row) = rows.next()? {
                    let events = number(row.get(1)?);
                    *counts.by_kind.entry(row.get(0)?).or_default() += events;
                    counts.events += events;
                }
                let sql = format!("SELECT count(*), coalesce(sum(bytes), 0) FROM {schema}.contents");
                let (contents, bytes): (i64, i64) = connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
                counts.contents += number(contents);
                counts.content_bytes += number(bytes);
                let sql = format!("SELECT value FROM {schema}.meta WHERE key = 'next'");
                let next: Option<i64> = connection.query_row(&sql, [], |row| row.get(0)).optional()?;
                counts.next = counts.next.max(Seq(number(next.unwrap_or(0))));
            }
            for view in VIEWS {
                let rows: i64 = connection.prepare_cached(&view.count(&attached.schemas))?.query_row([], |row| row.get(0))?;
                counts.by_view.insert(view.name, number(rows));
            }
            Ok(counts)
        })
    }
}
