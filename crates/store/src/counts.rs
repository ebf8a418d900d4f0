//! How much the store holds, for `status` and the demo.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use journal::Seq;
use rusqlite::{Connection, ErrorCode, OptionalExtension};
use serde::Serialize;

use crate::aggregates::{CONTENT_BYTES, CONTENTS, KIND_PREFIX};
use crate::attached::Reader;
use crate::error::QueryError;
use crate::sql::STEPS_PER_LOOK;
use crate::views::{VIEWS, View};

/// How long counting the rows of all views may take: `status` is asked by people and by probes, and millions of rows take minutes.
pub const VIEWS_TIME_MAX: Duration = Duration::from_secs(2);

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
    /// Rows of each view that could be counted in [`VIEWS_TIME_MAX`].
    pub by_view: BTreeMap<&'static str, u64>,
    /// The others: `SELECT count(*)` over them takes longer.
    pub views_not_counted: Vec<&'static str>,
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
                let mut tallies = connection.prepare_cached(&format!("SELECT name, value FROM {schema}.tallies"))?;
                let mut rows = tallies.query([])?;
                while let Some(row) = rows.next()? {
                    let (name, value) = (row.get_ref(0)?.as_str().unwrap_or_default(), number(row.get(1)?));
                    match name {
                        CONTENTS => counts.contents += value,
                        CONTENT_BYTES => counts.content_bytes += value,
                        _ => {
                            let kind = name.strip_prefix(KIND_PREFIX).unwrap_or(name);
                            *counts.by_kind.entry(kind.to_owned()).or_default() += value;
                            counts.events += value;
                        }
                    }
                }
                let sql = format!("SELECT value FROM {schema}.meta WHERE key = 'next'");
                let next: Option<i64> = connection.query_row(&sql, [], |row| row.get(0)).optional()?;
                counts.next = counts.next.max(Seq(number(next.unwrap_or(0))));
            }
            let began = Instant::now();
            let connection = &mut attached.connection;
            connection.progress_handler(STEPS_PER_LOOK, Some(move || began.elapsed() > VIEWS_TIME_MAX))?;
            let counted = count_views(connection, &attached.schemas, &mut counts);
            connection.progress_handler(0, None::<fn() -> bool>)?;
            counted?;
            Ok(counts)
        })
    }
}

fn count_views(connection: &Connection, schemas: &[String], counts: &mut Counts) -> Result<(), QueryError> {
    // Those that group rows last: over millions of events they take what time there is.
    let (plain, grouped): (Vec<&View>, Vec<&View>) = VIEWS.iter().copied().partition(|view| view.merge.is_none());
    for view in plain.into_iter().chain(grouped) {
        let rows = connection.prepare_cached(&view.count(schemas))?.query_row([], |row| row.get::<_, i64>(0));
        match rows {
            Ok(rows) => drop(counts.by_view.insert(view.name, rows.unsigned_abs())),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
                counts.views_not_counted.push(view.name);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
