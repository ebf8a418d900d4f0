//! Who read what of the record, and took out of it: what its own events say, for whoever watches those who watch.

use event::{Timestamp, attr};
use sanitize::Sanitizer;
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

/// Longest object that is told, in characters: the event itself has all of it.
const OBJECT_CHARS_MAX: usize = 1_000;

/// What is read by an id, and nothing that anybody wrote.
const BY_ID: [&str; 3] = ["trace", "detection", "event"];

/// What took records out: of a session, an incident or a range, or of a query, which is as good as its text.
const TAKEN_OUT: [&str; 2] = ["evidence.export", "evidence.disclose"];

/// How much of a digest tells one question from another, in hexadecimal digits.
const DIGEST_CHARS: usize = 16;

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
    /// What: a session, trace, event or detection by its id. A query or the words of a search for whoever may read contents, as far as 1,000
    /// characters; for others their digest (`query sha256:...`).
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

/// What is asked of the reads.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Of one reader alone, as events or as the reader's own provider name them.
    pub who: Option<&'a str>,
    /// Of the last days.
    pub days: u32,
    /// Whether whoever asks may read contents: what somebody looked for quotes them.
    pub may_read: bool,
}

/// Who read what in the last days. The sanitiser is that of the record: it knows what ids became there.
///
/// # Errors
/// When the store cannot be read.
pub fn reads(reader: &Reader, sanitizer: &Sanitizer, asked: &Asked<'_>) -> Result<Reads, QueryError> {
    let Asked { who, days, may_read } = *asked;
    let since = Timestamp::now().unix_ns().saturating_sub(u64::from(days).saturating_mul(DAY_NS));
    let since = Timestamp::from_unix_ns(since).rfc3339();
    let of = |key: &str| format!("attributes ->> '$.\"{key}\"'");
    let (action, read_object, acted_object) =
        (of(attr::EVENT_ACTION.as_str()), of(attr::DB_COLLECTION_NAME.as_str()), of(attr::ADMIN_OBJECT.as_str()));
    let (operator, exported) = (of(OPERATOR), of(EXPORTED));
    let reason = format!("coalesce({}, {})", of(READ_REASON), of(EXPORT_REASON));
    let by = who.map(|who| named(sanitizer, who)).unwrap_or_default();
    let object = format!("coalesce({read_object}, {acted_object})");
    // One more, which tells that there are more. A digest is of all of it.
    let told = if may_read { format!("substr({object}, 1, {})", OBJECT_CHARS_MAX + 1) } else { object.clone() };
    // What others send under these names is none: they are reserved, and the way in says who speaks.
    let sql = format!(
        "SELECT user_id, user_name, {operator} AS operator, CASE kind WHEN 'admin' THEN name ELSE {action} END AS action, \
         {told} AS object, {reason} AS reason, count(*), sum({exported}), min(observed), max(observed), \
         max(seq) FROM events WHERE source = 'internal' AND observed >= '{since}' AND (kind = 'data_access' AND name = 'record.read' \
         OR kind = 'admin' AND name IN ('evidence.export', 'evidence.disclose')){by} \
         GROUP BY user_id, operator, action, {object}, reason ORDER BY max(seq) DESC LIMIT {}",
        ROWS_MAX + 1
    );
    let table = reader.sql(&sql, &QueryLimits::default())?;
    let truncated = table.truncated || table.rows.len() > ROWS_MAX;
    Ok(Reads { rows: table.rows.into_iter().take(ROWS_MAX).map(|cells| row(cells, may_read)).collect(), truncated })
}

/// The condition that a reader is meant: by the id itself, or by what is left of it in the record, where an address or a number is a token.
fn named(sanitizer: &Sanitizer, who: &str) -> String {
    let quoted = |id: &str| format!("'{}'", id.replace('\'', "''"));
    format!(" AND user_id IN ({}, {})", quoted(who), quoted(sanitizer.name(who).as_str()))
}

/// What was read, for whoever may read contents or may not.
fn told(action: &str, object: String, may_read: bool) -> String {
    let is_named = BY_ID.contains(&action) || TAKEN_OUT.contains(&action) && !object.starts_with("query ");
    if !may_read && !is_named {
        let digest = event::hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, object.as_bytes()).as_ref());
        return format!("{} sha256:{}", if TAKEN_OUT.contains(&action) { "query" } else { action }, &digest[..DIGEST_CHARS]);
    }
    match object.char_indices().nth(OBJECT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &object[..end]),
        None => object,
    }
}

fn row(cells: Vec<Cell>, may_read: bool) -> Read {
    let mut cells = cells.into_iter();
    let mut text = || match cells.next() {
        Some(Cell::Text(text)) => Some(text),
        Some(Cell::Int(number)) => Some(number.to_string()),
        _ => None,
    };
    let [who, name, operator, action, object, reason, times, records, first, last, seq] = std::array::from_fn(|_| text());
    let action = action.unwrap_or_default();
    let object = told(&action, object.unwrap_or_default(), may_read);
    let number = |text: Option<String>| text.and_then(|text| text.parse().ok());
    Read {
        who: who.unwrap_or_else(|| "unknown".to_owned()),
        name,
        operator,
        action,
        object,
        reason,
        times: number(times).unwrap_or(0),
        records: number(records),
        first: first.unwrap_or_default(),
        last: last.unwrap_or_default(),
        seq: number(seq).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asker::{Asker, Person, Who};
    use crate::node::{Node, NodeSettings};
    use crate::root_key::RootKeyPlace;

    #[test]
    fn whoever_may_not_read_contents_sees_digests_and_everybody_finds_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let root = RootKeyPlace::new(Some(&dir.path().join("root.key"))).unwrap();
        let node = Node::open(&dir.path().join("data"), &root, &NodeSettings::default()).unwrap();
        let person = |subject: &str| -> Asker {
            let (subject, issuer) = (subject.to_owned(), "https://id.example".to_owned());
            Who::Person(Person { subject, issuer, name: None, email: None }).into()
        };
        let (ann, bob) = (person("ann@example.com"), person("7f3a"));
        let long = format!("SELECT prompt FROM prompts WHERE prompt LIKE '%merger{}%'", "x".repeat(2_000));
        for (asker, action, object) in
            [(&ann, "query", &*long), (&ann, "search", "merger"), (&ann, "trace", "s-17"), (&bob, "event", "0190-1")]
        {
            node.note_read(asker, action, object).unwrap();
        }
        assert!(node.flush(std::time::Duration::from_secs(60)));
        let reader = node.reader().unwrap();
        let asked = |who: Option<&str>, may_read: bool| {
            reads(&reader, node.pipeline().sanitizer(), &Asked { who, days: 1, may_read }).unwrap().rows
        };
        let object =
            |rows: &[Read], action: &str| rows.iter().find(|row| row.action == action).map(|row| row.object.clone()).unwrap();
        let (whole, withheld) = (asked(None, true), asked(None, false));
        assert_eq!((whole.len(), withheld.len()), (4, 4));
        let query = object(&whole, "query");
        assert!(long.starts_with(query.trim_end_matches('…')) && query.chars().count() == OBJECT_CHARS_MAX + 1, "{query}");
        assert_eq!(object(&whole, "search"), "merger");
        // printf merger | sha256sum
        assert_eq!(object(&withheld, "search"), "search sha256:3e167607d1438b89");
        assert!(
            !format!("{withheld:?}").contains("merger") && object(&withheld, "query").starts_with("query sha256:"),
            "{withheld:?}"
        );
        for rows in [&whole, &withheld] {
            assert_eq!((object(rows, "trace"), object(rows, "event")), ("s-17".to_owned(), "0190-1".to_owned()));
        }
        // The record has a token in the place of an address, and its reader is found by both.
        assert_eq!(asked(Some(&ann.id()), true).len(), 3);
        let of_ann = &who_searched(&whole);
        assert!(!of_ann.contains("ann@example.com"), "the test would prove nothing: {of_ann}");
        assert_eq!((asked(Some(of_ann), true).len(), asked(Some(&bob.id()), true).len()), (3, 1));
        assert!(asked(Some("x' OR '1'='1"), true).is_empty());
    }

    fn who_searched(rows: &[Read]) -> String {
        rows.iter().find(|row| row.action == "search").map(|row| row.who.clone()).unwrap()
    }

    #[test]
    fn an_export_of_a_query_is_as_good_as_its_text() {
        let told = |action: &str, object: &str| told(action, object.to_owned(), false);
        assert_eq!(told("evidence.export", "session s-17"), "session s-17");
        let query = told("evidence.export", "query SELECT event_id FROM events");
        assert!(query.starts_with("query sha256:") && !query.contains("SELECT"), "{query}");
        assert!(told("what comes later", "words").starts_with("what comes later sha256:"));
    }
}
