//! What stands in the place of a record whose event was erased: that there was one, when, and of what kind, as its leaf says.

use event::{EventId, Key, Kind, RecordedEvent, Source, SourcePath, Timestamp, Value};
use journal::{ContentEntry, Record, Seq};
use rusqlite::{Connection, params};
use sanitize::Clean;

/// The event's name; nothing from outside bears one that begins with `record.`.
const NAME: &str = "record.erased";

/// Where it has the kind that the erased event had.
const KIND: Key = Key::of("watchkeeper.erased.kind");

/// A record of which nothing is left to index but its leaf. It has no id any more, so it is no event: the view `erased_records` shows
/// it, and no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erased {
    /// Its place in the journal, and of its leaf.
    pub seq: Seq,
    /// When it began, by the source's clock.
    pub time: Timestamp,
    /// When it was received.
    pub observed: Timestamp,
    /// What it told of; none where this program does not know the leaf's number.
    pub kind: Option<Kind>,
}

impl Erased {
    /// The record that stands for it along the spine, with the contents of others that it brought.
    #[must_use]
    pub fn as_record(&self, contents: Vec<ContentEntry>) -> Record {
        let source = Source::new(SourcePath::Internal, Key::of("watchkeeper"));
        let mut event = RecordedEvent::new(Kind::Gap, Clean::literal(NAME), source);
        (event.time, event.observed) = (self.time, self.observed);
        // An event has an id. Nobody gets to see this one.
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&self.seq.0.to_be_bytes());
        event.id = EventId::derived(Timestamp::default(), &digest);
        if let Some(kind) = self.kind {
            event.attributes.insert(KIND, Value::Text(Clean::literal(kind.as_str())));
        }
        Record {
            seq: self.seq,
            commitment_key: [0; 32],
            blind: [0; 16],
            event_json: serde_json::to_vec(&event).unwrap_or_default(),
            contents,
        }
    }

    /// What an event of the spine stands for, if it is no event of its own.
    pub(crate) fn of(seq: Seq, event: &RecordedEvent<Clean>) -> Option<Self> {
        if event.source.path != SourcePath::Internal || event.name.as_str() != NAME {
            return None;
        }
        let kind = match event.attributes.get(&KIND) {
            Some(Value::Text(kind)) => Kind::from_name(kind.as_str()),
            _ => None,
        };
        Some(Self { seq, time: event.time, observed: event.observed, kind })
    }

    pub(crate) fn insert(&self, connection: &Connection) -> rusqlite::Result<()> {
        let number = |time: Timestamp| crate::row::integer(time.unix_ns());
        let sql = "INSERT OR IGNORE INTO erased(seq, time, time_ns, observed_ns, kind) VALUES (?1, ?2, ?3, ?4, ?5)";
        connection.prepare_cached(sql)?.execute(params![
            crate::row::integer(self.seq.0),
            crate::text::iso(number(self.time)),
            number(self.time),
            number(self.observed),
            self.kind.map(Kind::as_str),
        ])?;
        Ok(())
    }
}
