//! Full text search.
//!
//! Words come from the index: every word of the query must be in the text, each as the beginning of a word, whatever
//! its case and accents. What is inside words or spans punctuation (`exfil` in `zzexfil-7`) is not in such an index; an
//! index of trigrams would have it, and takes four times the time and three times the room to build. So where the index
//! leaves room in the answer, the newest texts are looked through for the query as it stands, for a bounded time.

use std::time::{Duration, Instant};

use journal::Seq;
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use utoipa::ToSchema;

use crate::attached::Reader;
use crate::error::QueryError;
use crate::list::{KindWord, PartWord, RoleWord};
use crate::schema::{PARTS, ROLES};
use crate::text::{iso, unpack};

/// Most words of a query that are looked up; more do not make it narrower in practice.
const WORDS_MAX: usize = 32;

/// Longest query, in bytes; the rest is cut off.
const QUERY_BYTES_MAX: usize = 1_024;

/// Shortest text that the newest contents are looked through for: shorter ones are everywhere.
const SCAN_CHARS_MIN: usize = 3;

/// How long the newest contents are looked through: about 100 MB of text.
const SCAN_TIME_MAX: Duration = Duration::from_millis(150);

/// Characters on either side of the match in a snippet.
const SNIPPET_CHARS: usize = 80;

/// Most hits of one answer.
const HITS_MAX: usize = 1_000;

/// A text in which the query was found, and the event that brought it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Hit {
    /// The event.
    pub event_id: String,
    /// Its place in the journal.
    #[schema(value_type = u64)]
    pub seq: Seq,
    /// When it began (ISO 8601).
    pub time: String,
    /// Its kind.
    #[schema(value_type = KindWord)]
    pub kind: String,
    /// The session.
    pub session_id: Option<String>,
    /// The trace.
    pub trace_id: Option<String>,
    /// Who said it.
    #[schema(value_type = RoleWord)]
    pub role: String,
    /// What it is.
    #[schema(value_type = PartWord)]
    pub part: String,
    /// The text around the first match.
    pub snippet: String,
    /// Id of the text.
    pub content_id: String,
}

impl Reader {
    /// Finds texts, newest first. Any text is a query: there is no syntax that it could break, but that one between
    /// double quotes must be found as it stands.
    pub fn search(&self, text: &str, limit: usize) -> Result<Vec<Hit>, QueryError> {
        let query = Query::parse(text);
        let limit = limit.min(HITS_MAX);
        self.with(|attached| {
            let mut hits: Vec<Hit> = Vec::new();
            for schema in &attached.schemas {
                if hits.len() >= limit {
                    break;
                }
                by_index(&attached.connection, schema, &query, limit, &mut hits)?;
            }
            if hits.len() < limit && query.literal.chars().count() >= SCAN_CHARS_MIN {
                let began = Instant::now();
                for schema in &attached.schemas {
                    by_scan(&attached.connection, schema, &query, limit, began, &mut hits)?;
                }
            }
            hits.sort_by_key(|hit| std::cmp::Reverse(hit.seq));
            hits.truncate(limit);
            Ok(hits)
        })
    }
}

/// What is looked for.
struct Query {
    /// In lower case.
    words: Vec<String>,
    /// The query as it stands, in lower case.
    literal: String,
    /// Whether only the literal will do.
    is_quoted: bool,
}

impl Query {
    fn parse(text: &str) -> Self {
        let text = text.get(..text.floor_char_boundary(QUERY_BYTES_MAX)).unwrap_or_default().trim();
        let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).filter(|text| !text.is_empty());
        let literal = quoted.unwrap_or(text).to_lowercase();
        // What the index takes for words: runs of letters and digits. Nothing else of the query reaches its syntax.
        let words = literal.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        Self { words: words.take(WORDS_MAX).map(str::to_owned).collect(), literal, is_quoted: quoted.is_some() }
    }

    /// In FTS5's language: every word, as a beginning.
    fn expression(&self) -> Option<String> {
        let words: Vec<String> = self.words.iter().map(|word| format!("\"{word}\"*")).collect();
        (!words.is_empty()).then(|| words.join(" AND "))
    }

    /// Where the text matches, as bytes of its lower case, when it does.
    fn find(&self, lower: &str) -> Option<usize> {
        lower.find(&self.literal)
    }
}

fn by_index(connection: &Connection, schema: &str, query: &Query, limit: usize, hits: &mut Vec<Hit>) -> Result<(), QueryError> {
    let Some(expression) = query.expression() else { return Ok(()) };
    let sql = format!("SELECT f.rowid FROM {schema}.contents_fts f WHERE f.contents_fts MATCH ?1 ORDER BY f.rowid DESC LIMIT ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    // What must stand as it is has to be looked at, so more of them are.
    let candidates = crate::row::integer((limit * if query.is_quoted { 50 } else { 1 }) as u64);
    let mut rows = statement.query(params![expression, candidates])?;
    loop {
        // A letter that Unicode's newer tables know and the index's do not makes it a phrase, which the index cannot
        // answer: no hit here, the scan may find it.
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) | Err(rusqlite::Error::SqliteFailure(..)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if add(connection, schema, row.get(0)?, query, query.is_quoted, hits)? && hits.len() >= limit {
            return Ok(());
        }
    }
}

fn by_scan(
    connection: &Connection,
    schema: &str,
    query: &Query,
    limit: usize,
    began: Instant,
    hits: &mut Vec<Hit>,
) -> Result<(), QueryError> {
    let mut statement = connection.prepare_cached(&format!("SELECT id, data FROM {schema}.contents ORDER BY id DESC"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if hits.len() >= limit || began.elapsed() > SCAN_TIME_MAX {
            return Ok(());
        }
        let text = unpack(row.get_ref(1)?)?.unwrap_or_default();
        if query.find(&text.to_lowercase()).is_some() {
            add(connection, schema, row.get(0)?, query, true, hits)?;
        }
    }
    Ok(())
}

/// Adds the hit of a content. Whether it was one, and a new one.
fn add(
    connection: &Connection,
    schema: &str,
    number: i64,
    query: &Query,
    literal: bool,
    hits: &mut Vec<Hit>,
) -> Result<bool, QueryError> {
    let sql = format!(
        "SELECT c.data, lower(hex(c.content_id)), e.id, e.seq, e.time_ns, e.kind, e.session_id, e.trace_id, p.role, p.part
         FROM {schema}.contents c JOIN {schema}.events e ON e.seq = c.seq
         LEFT JOIN {schema}.pieces p ON p.seq = c.seq AND p.content = c.id WHERE c.id = ?1 ORDER BY p.ord LIMIT 1"
    );
    let hit = connection
        .prepare_cached(&sql)?
        .query_row([number], |row| {
            let text = unpack(row.get_ref(0)?)?.unwrap_or_default();
            let lower = text.to_lowercase();
            let at = query.find(&lower);
            if literal && at.is_none() {
                return Ok(None);
            }
            let at = at.or_else(|| query.words.iter().find_map(|word| lower.find(word))).unwrap_or(0);
            let name = |names: &[&str], code: Option<i64>| {
                code.and_then(|code| names.get(usize::try_from(code).ok()?)).map_or("", |name| name).to_owned()
            };
            Ok(Some(Hit {
                snippet: snippet(&text, &lower, at),
                content_id: row.get(1)?,
                event_id: row.get(2)?,
                seq: Seq(row.get::<_, i64>(3)?.unsigned_abs()),
                time: iso(row.get(4)?),
                kind: row.get(5)?,
                session_id: row.get(6)?,
                trace_id: row.get(7)?,
                role: name(&ROLES, row.get(8)?),
                part: name(&PARTS, row.get(9)?),
            }))
        })
        .optional()?
        .flatten();
    let Some(hit) = hit else { return Ok(false) };
    // A text that was brought over midnight stands in two partitions; the older one knows who brought it.
    if let Some(known) = hits.iter_mut().find(|known| known.content_id == hit.content_id) {
        if hit.seq < known.seq {
            *known = hit;
        }
        return Ok(false);
    }
    hits.push(hit);
    Ok(true)
}

/// The text around a match, on one line. `at` is a byte of the lower case, whose characters are nearly always those
/// of the text, one for one.
fn snippet(text: &str, lower: &str, at: usize) -> String {
    let at = lower.get(..at).map_or(0, |before| before.chars().count());
    let start = at.saturating_sub(SNIPPET_CHARS);
    let shown: String = text.chars().skip(start).take(at - start + 2 * SNIPPET_CHARS).collect();
    let line = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_cut = text.chars().nth(at + 2 * SNIPPET_CHARS).is_some();
    format!("{}{line}{}", if start > 0 { "…" } else { "" }, if is_cut { "…" } else { "" })
}
