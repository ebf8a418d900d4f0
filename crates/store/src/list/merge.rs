//! Rows of all partitions as one list: each partition gives its own in order, and the newest head of all goes first.

use std::time::{Duration, Instant};

use rusqlite::types::Value;
use rusqlite::{Connection, Row, Rows, params_from_iter};

use super::Page;
use super::cursor::Cursor;
use crate::error::QueryError;

/// How long rows are looked at for one page. Whoever filters for what hardly any row has gets the rows that were found by then, and goes
/// on from there.
const LOOK_MAX: Duration = Duration::from_millis(200);

/// Rows that are looked at between two looks at the clock.
const ROWS_PER_LOOK: u32 = 64;

/// Whether there is time left; asked for every row.
pub(super) struct Clock {
    began: Instant,
    time_max: Duration,
    rows: u32,
}

impl Clock {
    pub(super) fn start(time_max: Duration) -> Self {
        Self { began: Instant::now(), time_max, rows: 0 }
    }

    /// Counts a row, and says whether the time is over.
    pub(super) fn is_over(&mut self) -> bool {
        self.rows = self.rows.wrapping_add(1);
        self.rows.is_multiple_of(ROWS_PER_LOOK) && self.began.elapsed() > self.time_max
    }
}

/// What is asked of one partition: rows in order, newest first. What narrows them belongs into columns, as far as no index goes by it:
/// rows that SQLite passes over by itself are looked at without the clock.
pub(super) struct Arm {
    /// The statement.
    pub(super) sql: String,
    /// What is bound.
    pub(super) values: Vec<Value>,
}

/// What a row is.
pub(super) enum Looked<T> {
    /// One of the page.
    Taken(T),
    /// One that does not pass.
    Passed,
}

/// Says where a row stands, and whether it belongs to the page.
pub(super) type Look<'l, T> = dyn FnMut(&Row<'_>) -> rusqlite::Result<(Cursor, Looked<T>)> + 'l;

/// A page of the rows of all arms, as long as `has_room` says that there is room behind a row.
pub(super) fn merge<T>(
    connection: &Connection,
    arms: impl Iterator<Item = Arm>,
    limit: usize,
    look: &mut Look<'_, T>,
    has_room: &mut dyn FnMut(&mut T) -> bool,
) -> Result<Page<T>, QueryError> {
    let mut found = Vec::new();
    let next = each(connection, arms, LOOK_MAX, look, &mut |mut row| {
        let is_room = has_room(&mut row);
        found.push(row);
        is_room && found.len() < limit
    })?;
    Ok(Page { rows: found, next: next.map(|cursor| cursor.to_string()) })
}

/// Gives every row that passes to `take`, as long as that wants more and there is time. Where it stopped, if it did before the end.
pub(super) fn each<T>(
    connection: &Connection,
    arms: impl Iterator<Item = Arm>,
    time_max: Duration,
    look: &mut Look<'_, T>,
    take: &mut dyn FnMut(T) -> bool,
) -> Result<Option<Cursor>, QueryError> {
    let mut clock = Clock::start(time_max);
    let arms: Vec<Arm> = arms.collect();
    let mut statements = Vec::with_capacity(arms.len());
    for arm in &arms {
        statements.push(connection.prepare_cached(&arm.sql)?);
    }
    let mut streams: Vec<Stream<'_, T>> = Vec::with_capacity(arms.len());
    for (statement, arm) in statements.iter_mut().zip(&arms) {
        let mut stream = Stream { rows: statement.query(params_from_iter(&arm.values))?, head: None };
        stream.step(look)?;
        streams.push(stream);
    }
    loop {
        let newest = streams.iter_mut().filter(|stream| stream.head.is_some()).max_by_key(|stream| stream.place());
        let Some(stream) = newest else { return Ok(None) };
        let Some((place, row)) = stream.head.take() else { return Ok(None) };
        stream.step(look)?;
        let wants_more = if let Looked::Taken(row) = row { take(row) } else { true };
        // What goes on behind a place would leave out another row of it.
        if (!wants_more || clock.is_over()) && !streams.iter().any(|stream| stream.head.is_some() && stream.place() == place) {
            let is_end = streams.iter().all(|stream| stream.head.is_none());
            return Ok((!is_end).then_some(place));
        }
    }
}

/// The rows of an arm, and the first of them that was not given yet.
struct Stream<'s, T> {
    rows: Rows<'s>,
    head: Option<(Cursor, Looked<T>)>,
}

impl<T> Stream<'_, T> {
    fn step(&mut self, look: &mut Look<'_, T>) -> rusqlite::Result<()> {
        self.head = self.rows.next()?.map(look).transpose()?;
        Ok(())
    }

    fn place(&self) -> Cursor {
        self.head.as_ref().map_or(Cursor { time_ns: i64::MIN, seq: i64::MIN }, |(place, _)| *place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_place_are_on_one_page() {
        let connection = Connection::open_in_memory().unwrap();
        let arm = |rows: &str| Arm { sql: format!("SELECT * FROM (VALUES {rows})"), values: Vec::new() };
        let arms = || [arm("(9, 3), (7, 1), (7, 1), (2, 1)"), arm("(7, 1), (6, 1)")].into_iter();
        let look: &mut Look<'_, i64> = &mut |row| {
            let place = Cursor { time_ns: row.get(0)?, seq: row.get(1)? };
            Ok((place, Looked::Taken(place.time_ns)))
        };
        for (limit, found) in [(1, &[9][..]), (2, &[9, 7, 7, 7]), (4, &[9, 7, 7, 7]), (5, &[9, 7, 7, 7, 6])] {
            let page = merge(&connection, arms(), limit, look, &mut |_| true).unwrap();
            assert_eq!(page.rows, found, "{limit}");
            assert!(page.next.is_some());
        }
    }
}
