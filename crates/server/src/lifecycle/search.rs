//! Finding records of the whole log: in the store where it has them, else along the archive.
//!
//! The store has the newest days, and days that were restored. Of each archived span, and of the journal, it either has every record
//! that is there, or the span is read. So a search looks at each record that the log still has.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use event::{Key, Kind, RecordedEvent, SourcePath, Timestamp, attr};
use journal::Seq;
use sanitize::Clean;
use store::{Cell, QueryLimits, Reader};

use super::cold::Step;
use super::export::EvidenceError;
use super::hold::Scope;
use crate::node::Node;

/// Events of custody that one query gives; more are asked for with another.
const PAGE: usize = 5_000;

/// What of the log only the archive has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unindexed {
    spans: Vec<(u64, u64)>,
    /// How many records are in them.
    pub(crate) records: u64,
    /// How many records were dropped at the end of their retention: nobody can look at them any more.
    pub(crate) dropped: u64,
}

/// An event in which the program says who read, exported, held or erased what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trace {
    pub(crate) seq: u64,
    pub(crate) name: String,
    /// What was asked for, or acted on.
    pub(crate) object: String,
    /// Of a hold, its scope; user and session in it are pseudonyms ([`crate::Pipeline::pseudonym`]).
    pub(crate) scope: Option<Scope>,
    /// Of an erasure, its request.
    pub(crate) request: Option<String>,
}

/// Names of the events of custody, of kind `admin`; and, of kind `data_access`, the reads.
const ADMIN: [&str; 5] = [super::disclose::EVENT, "evidence.export", "hold.place", "hold.release", ledger::TOMBSTONE_EVENT];
const READ: &str = "record.read";

/// Where an event of a hold has its scope: user, session, application, and the times from and to which it goes (RFC 3339).
/// What is called `session` is a secret to the sanitiser.
pub(crate) const HOLD_SCOPE: [&str; 5] = [
    "watchkeeper.hold.user.hash",
    "watchkeeper.hold.session.hash",
    "watchkeeper.hold.application",
    "watchkeeper.hold.from",
    "watchkeeper.hold.to",
];

/// What the name of every event of a hold begins with.
const HOLD: &str = "hold.";

/// Where an event of an erasure has its request.
pub(crate) const REQUEST: &str = "watchkeeper.erasure.request";

impl Node {
    /// What the store does not have of what is there.
    pub(crate) fn unindexed(&self) -> Result<Unindexed, EvidenceError> {
        let mut there: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        let mut dropped = 0;
        {
            let archive = self.lifecycle().cold.lock();
            for segment in archive.view().manifest().segments() {
                *there.entry((segment.first, segment.end)).or_default() += segment.records;
            }
            dropped += archive.view().manifest().dropped().map(|dropped| dropped.records).sum::<u64>();
        }
        let archived = there.keys().map(|(_, end)| *end).max().unwrap_or_default();
        let (first, end) = (self.journal().first().0.max(archived), self.journal().end().0);
        if first < end {
            there.insert((first, end), end - first);
        }
        let reader = self.reader()?;
        let mut unindexed = Unindexed { spans: Vec::new(), records: 0, dropped };
        for ((first, end), records) in there {
            let count = |view: &str| format!("(SELECT count(*) FROM {view} WHERE seq >= {first} AND seq < {end})");
            let sql = format!("SELECT {} + {}", count("events"), count("erased_records"));
            let table = reader.sql(&sql, &QueryLimits::default())?;
            let indexed = match table.rows.first().map(Vec::as_slice) {
                Some([Cell::Int(count)]) => count.unsigned_abs(),
                _ => 0,
            };
            if indexed != records {
                unindexed.spans.push((first, end));
                unindexed.records += records;
            }
        }
        Ok(unindexed)
    }

    /// Reads what only the archive has.
    pub(crate) fn read_unindexed(
        &self,
        unindexed: &Unindexed,
        mut look: impl FnMut(u64, RecordedEvent<Clean>),
    ) -> Result<(), EvidenceError> {
        for &(first, end) in &unindexed.spans {
            let mut reader = self.spine().reader(Seq(first));
            while let Some(step) = reader.next()? {
                match step {
                    Step::Record(record) if record.seq.0 >= end => break,
                    Step::Record(record) => {
                        if let Ok(event) = record.event() {
                            look(record.seq.0, event);
                        }
                    }
                    Step::Skip(to) if to.0 >= end => break,
                    Step::Skip(_) => {}
                }
            }
        }
        Ok(())
    }

    /// Every event of custody that the program itself recorded, oldest first, of those that `wanted` asks for.
    pub(crate) fn traces(&self, unindexed: &Unindexed, wanted: &dyn Fn(&Trace) -> bool) -> Result<Vec<Trace>, EvidenceError> {
        let mut found = Vec::new();
        let mut known = HashSet::new();
        let mut keep = |trace: Trace| {
            if wanted(&trace) && known.insert(trace.seq) {
                found.push(trace);
            }
        };
        let reader = self.reader()?;
        let mut before = i64::MAX;
        loop {
            let page = traces_before(&reader, before)?;
            let Some(last) = page.last() else { break };
            before = i64::try_from(last.seq).unwrap_or_default();
            page.into_iter().for_each(&mut keep);
        }
        drop(reader);
        self.read_unindexed(unindexed, |seq, event| {
            if let Some(trace) = Trace::of(seq, &event) {
                keep(trace);
            }
        })?;
        found.sort_unstable_by_key(|trace| trace.seq);
        Ok(found)
    }

    /// Every record of a session.
    pub(crate) fn of_session(&self, unindexed: &Unindexed, session: &str) -> Result<BTreeSet<u64>, EvidenceError> {
        let mut found = self.seqs(&format!("SELECT seq FROM events WHERE session_id = {}", quoted(session)))?;
        self.read_unindexed(unindexed, |seq, event| {
            if event.session.as_ref().is_some_and(|of| of.as_str() == session) {
                found.insert(seq);
            }
        })?;
        Ok(found)
    }

    /// A detection, and the records that it rests on.
    pub(crate) fn of_incident(&self, unindexed: &Unindexed, id: &str) -> Result<BTreeSet<u64>, EvidenceError> {
        let is_detection = format!("kind = '{}' AND event_id = {}", Kind::Detection.as_str(), quoted(id));
        let mut ids: HashSet<String> = HashSet::from([id.to_owned()]);
        let mut detections = self.seqs(&format!("SELECT seq FROM events WHERE {is_detection}"))?;
        if detections.is_empty() {
            self.read_unindexed(unindexed, |seq, event| {
                if event.kind == Kind::Detection && event.id.to_string() == id {
                    detections.insert(seq);
                    if let Some(event::Value::List(events)) = event.attributes.get(&attr::DETECTION_EVENTS) {
                        ids.extend(events.iter().filter_map(|value| match value {
                            event::Value::Text(id) => Some(id.as_str().to_owned()),
                            _ => None,
                        }));
                    }
                }
            })?;
        } else {
            let sql = format!(
                "SELECT value FROM events e, json_each(e.attributes ->> '$.\"{}\"') WHERE {is_detection}",
                attr::DETECTION_EVENTS
            );
            let table = self.reader()?.sql(&sql, &QueryLimits::default())?;
            ids.extend(table.rows.into_iter().flatten().filter_map(|cell| match cell {
                Cell::Text(id) => Some(id),
                _ => None,
            }));
        }
        if detections.is_empty() {
            return Err(EvidenceError::NoIncident(id.to_owned()));
        }
        let list: Vec<String> = ids.iter().map(|id| quoted(id)).collect();
        let mut found = self.seqs(&format!("SELECT seq FROM events WHERE event_id IN ({})", list.join(", ")))?;
        found.extend(detections);
        if found.len() < ids.len() {
            self.read_unindexed(unindexed, |seq, event| {
                if ids.contains(&event.id.to_string()) {
                    found.insert(seq);
                }
            })?;
        }
        Ok(found)
    }
}

/// The newest events of custody before a place that the store has, newest first.
fn traces_before(reader: &Reader, before: i64) -> Result<Vec<Trace>, EvidenceError> {
    let names: Vec<String> = ADMIN.iter().map(|name| quoted(name)).collect();
    let scope: Vec<String> = HOLD_SCOPE.iter().map(|key| format!("attributes ->> '$.\"{key}\"'")).collect();
    let sql = format!(
        "SELECT seq, name, coalesce(attributes ->> '$.\"{object}\"', attributes ->> '$.\"{read}\"', ''), \
         attributes ->> '$.\"{REQUEST}\"', {scope} FROM events WHERE seq < {before} AND source = 'internal' AND \
         ((kind = 'admin' AND name IN ({names})) OR (kind = 'data_access' AND name = '{READ}')) ORDER BY seq DESC LIMIT {PAGE}",
        object = attr::ADMIN_OBJECT,
        read = attr::DB_COLLECTION_NAME,
        names = names.join(", "),
        scope = scope.join(", "),
    );
    let table = reader.sql(&sql, &QueryLimits { rows_max: PAGE, bytes_max: PAGE_BYTES_MAX, ..QueryLimits::default() })?;
    if table.truncated {
        return Err(EvidenceError::TooMuchCustody);
    }
    let text = |cell: &Cell| match cell {
        Cell::Text(text) => Some(text.clone()),
        _ => None,
    };
    let trace = |row: Vec<Cell>| match row.as_slice() {
        [Cell::Int(seq), Cell::Text(name), object, request, scope @ ..] => Some(Trace {
            seq: seq.unsigned_abs(),
            name: name.clone(),
            object: text(object).unwrap_or_default(),
            scope: scope_of(name, scope.iter().map(text)),
            request: text(request),
        }),
        _ => None,
    };
    Ok(table.rows.into_iter().filter_map(trace).collect())
}

/// Most bytes of a page of these: what was asked for has at most a few KiB.
const PAGE_BYTES_MAX: usize = 256 << 20;

impl Trace {
    fn of(seq: u64, event: &RecordedEvent<Clean>) -> Option<Self> {
        let name = event.name.as_str();
        let is_one = match event.kind {
            Kind::Admin => ADMIN.contains(&name),
            Kind::DataAccess => name == READ,
            _ => false,
        };
        if !is_one || event.source.path != SourcePath::Internal {
            return None;
        }
        let text = |key: Key| match event.attributes.get(&key) {
            Some(event::Value::Text(text)) => Some(text.as_str().to_owned()),
            _ => None,
        };
        let object = text(attr::ADMIN_OBJECT).or_else(|| text(attr::DB_COLLECTION_NAME)).unwrap_or_default();
        let scope = scope_of(name, HOLD_SCOPE.map(|key| text(Key::of(key))));
        Some(Self { seq, name: name.to_owned(), object, scope, request: text(Key::of(REQUEST)) })
    }
}

/// The scope of an event of a hold, from the attributes that it has of [`HOLD_SCOPE`].
fn scope_of(name: &str, attributes: impl IntoIterator<Item = Option<String>>) -> Option<Scope> {
    if !name.starts_with(HOLD) {
        return None;
    }
    let mut attributes = attributes.into_iter();
    let mut next = || attributes.next().flatten();
    let (user, session, application) = (next(), next(), next());
    let mut time = || Some(Timestamp::from_unix_ns(next()?.parse::<jiff::Timestamp>().ok()?.as_nanosecond().try_into().ok()?));
    let (from, to) = (time(), time());
    Some(Scope { user, session, application, from, to })
}

/// A text in SQL.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use event::{Event, Source};

    use super::*;
    use crate::asker::Asker;
    use crate::node::NodeSettings;
    use crate::root_key::RootKeyPlace;

    #[test]
    fn custody_is_what_the_program_itself_recorded_in_the_store_or_the_archive() {
        let dir = tempfile::tempdir().unwrap();
        let root = RootKeyPlace::new(Some(&dir.path().join("root.key"))).unwrap();
        let node = Node::open(&dir.path().join("data"), &root, &NodeSettings::default()).unwrap();
        // What a sensor sends may be called anything.
        let mut forged = Event::new(Kind::Admin, "hold.place".to_owned(), Source::new(SourcePath::Api, Key::of("watchkeeper")));
        forged.set(attr::ADMIN_OBJECT, "case-of-another");
        let forged: Vec<_> = std::iter::repeat_n(forged, 20).collect();
        node.pipeline().record_blocking(forged.clone(), &|| true).unwrap();
        let asker = Asker::of_process();
        let at = |ns| Some(Timestamp::from_unix_ns(ns));
        let scope = Scope {
            user: Some("jo@example.org".to_owned()),
            session: Some("s-17".to_owned()),
            application: Some("shop".to_owned()),
            from: at(1_790_000_000_123_456_789),
            to: at(1_790_000_001_000_000_000),
        };
        node.place_hold(&asker, "case-17", "letter", scope.clone()).unwrap();
        node.note_read(&asker, "trace", "s-17").unwrap();
        node.pipeline().record_blocking(forged, &|| true).unwrap();
        assert!(node.flush(Duration::from_secs(60)));
        let unindexed = node.unindexed().unwrap();
        assert_eq!((unindexed.records, unindexed.spans.len()), (0, 0), "the store has it all");
        let found = node.traces(&unindexed, &|_| true).unwrap();
        let told: Vec<_> = found.iter().map(|trace| (trace.name.as_str(), trace.object.as_str())).collect();
        assert_eq!(told, [("hold.place", "case-17"), ("record.read", "s-17")]);
        // The scope is there, with nobody's name in it.
        let told = found[0].scope.clone().unwrap();
        let (user, session) = (&node.holds()[0].scope.user.clone().unwrap(), "s-17");
        assert_eq!(told.user, Some(node.pipeline().pseudonym("user", user)));
        assert_eq!(told.session, Some(node.pipeline().pseudonym("session", session)));
        assert_eq!(Scope { user: scope.user.clone(), session: scope.session.clone(), ..told }, scope);
        // Along the records the same is found as in the store.
        let all = Unindexed { spans: vec![(0, node.journal().end().0)], records: 1, dropped: 0 };
        let mut read = Vec::new();
        node.read_unindexed(&all, |seq, event| read.extend(Trace::of(seq, &event))).unwrap();
        assert_eq!(read, found);
        assert_eq!(node.traces(&all, &|trace| trace.name == READ).unwrap(), found[1..]);
        node.close().unwrap();
    }
}
