//! Evidence: records with their proofs, put together from wherever they lie.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::BufReader;
use std::time::Duration;

use event::{ContentId, Timestamp, attr};
use evidence::{About, Bag, BagError, Chosen, Export, ExportError, Summary};
use journal::Seq;
use keys::KeysError;
use ledger::{ErasedItems, Selection, StoredContent, StoredRecord};
use store::{Cell, QueryError, QueryLimits};

use super::cold::ARCHIVE_DIR;
use super::erase::TOMBSTONES_DIR;
use super::spine::SpineError;
use super::{Asker, lifecycle_event};
use crate::log_keys::{LogKeyError, log_key};
use crate::node::Node;

/// Most records of one bundle: it is held in memory, and somebody is to read it.
const RECORDS_MAX: usize = 10_000;

/// How long the event that tells of the export may take to be sealed.
const SEALED_WITHIN: Duration = Duration::from_secs(60);

/// Longest reason, selection or name, in bytes.
const TEXT_BYTES_MAX: usize = 4_096;

/// What to take out.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Every record of a session.
    Session(String),
    /// A detection and every record that it rests on, by the detection's id.
    Incident(String),
    /// Records that a query names in its column `seq` or `event_id`.
    Query(String),
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// A text is empty or too long.
    #[error("{0} must have 1 to {TEXT_BYTES_MAX} bytes")]
    Text(&'static str),
    /// The choice names nothing.
    #[error("no record is in this selection; look with `watchkeeper trace` or `watchkeeper query` first")]
    Nothing,
    /// The choice names too much.
    #[error("the selection has more than {RECORDS_MAX} records; take it out in parts")]
    TooMany,
    /// A query that does not say which records.
    #[error("the query must give a column `seq` or `event_id`")]
    Column,
    /// The query.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The store.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// The records.
    #[error(transparent)]
    Spine(#[from] SpineError),
    /// The bundle.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The container.
    #[error(transparent)]
    Bag(#[from] BagError),
    /// The keyring.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The log's key.
    #[error(transparent)]
    LogKey(#[from] LogKeyError),
    /// The export cannot be recorded: then there is none.
    #[error("the export cannot be recorded, so it is not made: {0}")]
    Record(#[from] capture::RecordError),
    /// The record of the export is not sealed in time.
    #[error("the export is recorded and not sealed yet; try again when `watchkeeper status` shows that the log has caught up")]
    NotSealed,
    /// A list of what was erased.
    #[error("list of erased items: {0}")]
    Tombstone(#[from] ledger::TombstoneError),
    /// A file.
    #[error("list of erased items: {0}")]
    Io(#[from] std::io::Error),
}

impl Node {
    /// Takes records out as an evidence bundle. That this was done, by whom and why, is recorded and sealed first, and stands in the
    /// bundle.
    ///
    /// # Errors
    /// See [`EvidenceError`].
    pub fn export(&self, asker: &Asker, what: &What, reason: &str) -> Result<(Bag, Summary), EvidenceError> {
        let fits = |text: &str| !text.is_empty() && text.len() <= TEXT_BYTES_MAX;
        if !fits(reason) {
            return Err(EvidenceError::Text("reason"));
        }
        if !fits(what.text()) {
            return Err(EvidenceError::Text("selection"));
        }
        self.flush(SEALED_WITHIN);
        let seqs = self.selected(what)?;
        let mut event = lifecycle_event("evidence.export", "read", &what.to_string());
        event.identity.user = Some(asker.principal());
        event.set(attr::EVENT_OUTCOME, "success");
        event.set(event::Key::of("watchkeeper.evidence.reason"), reason);
        event.set(event::Key::of("watchkeeper.evidence.records"), i64::try_from(seqs.len()).unwrap_or(i64::MAX));
        self.pipeline().record_blocking(vec![event], &|| true)?;
        if !self.flush(SEALED_WITHIN) {
            return Err(EvidenceError::NotSealed);
        }
        let (records, contents) = self.gather(&seqs)?;
        let (custody, _) = self.gather(&self.custody(what)?)?;
        let tombstones = self.tombstones()?;
        let key = log_key(self.keyring())?;
        let show = Selection { field: &|_| true, content: &|_, _| true, token: &|_| true };
        let export = Export {
            data_dir: self.data().path(),
            key: &key,
            records: &records,
            show,
            contents: &|id| contents.get(&id).cloned(),
            custody: &custody,
            tombstones: &tombstones,
            timestamps: &[],
            checkpoint: None,
            policy: None,
            about: About {
                exported_by: asker.id.clone(),
                reason: reason.to_owned(),
                at: Timestamp::now(),
                chosen: what.chosen(),
                records_selected: seqs.len() as u64,
            },
        };
        Ok(export.bag()?)
    }

    fn selected(&self, what: &What) -> Result<BTreeSet<u64>, EvidenceError> {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let sql = match what {
            What::Session(id) => format!("SELECT seq FROM events WHERE session_id = {}", quoted(&self.recorded_text(id))),
            What::Incident(id) => format!(
                "SELECT seq FROM events WHERE event_id = {id} OR event_id IN (SELECT value FROM events e, \
                 json_each(e.attributes ->> '$.\"watchkeeper.detection.events\"') WHERE e.event_id = {id})",
                id = quoted(id)
            ),
            What::Query(sql) => sql.clone(),
        };
        let found = self.seqs(&sql)?;
        if found.is_empty() { Err(EvidenceError::Nothing) } else { Ok(found) }
    }

    /// The export itself, those of the same selection before it, and the holds.
    fn custody(&self, what: &What) -> Result<BTreeSet<u64>, EvidenceError> {
        let object = self.recorded_text(&what.to_string()).replace('\'', "''");
        self.seqs(&format!(
            "SELECT seq FROM events WHERE kind = 'admin' AND (name IN ('hold.place', 'hold.release') OR (name = 'evidence.export' \
             AND attributes ->> '$.\"watchkeeper.admin.object\"' = '{object}')) ORDER BY seq DESC LIMIT 1000"
        ))
    }

    fn recorded_text(&self, text: &str) -> String {
        self.pipeline().sanitizer().text(text).text.as_str().to_owned()
    }

    fn seqs(&self, sql: &str) -> Result<BTreeSet<u64>, EvidenceError> {
        let limits = QueryLimits { rows_max: RECORDS_MAX + 1, ..QueryLimits::default() };
        let reader = self.reader()?;
        let table = reader.sql(sql, &limits)?;
        if table.truncated || table.rows.len() > RECORDS_MAX {
            return Err(EvidenceError::TooMany);
        }
        let column = |name: &str| table.columns.iter().position(|column| column == name);
        if let Some(at) = column("seq") {
            let number = |row: &Vec<Cell>| match row.get(at) {
                Some(Cell::Int(seq)) => u64::try_from(*seq).ok(),
                _ => None,
            };
            return Ok(table.rows.iter().filter_map(number).collect());
        }
        let Some(at) = column("event_id") else { return Err(EvidenceError::Column) };
        let mut found = BTreeSet::new();
        for row in &table.rows {
            if let Some(Cell::Text(id)) = row.get(at) {
                let id = id.replace('\'', "''");
                found.extend(self.seqs(&format!("SELECT seq FROM events WHERE event_id = '{id}'"))?);
            }
        }
        Ok(found)
    }

    /// The records, and the contents that they refer to and do not bring.
    fn gather(&self, seqs: &BTreeSet<u64>) -> Result<(Vec<StoredRecord>, HashMap<ContentId, StoredContent>), EvidenceError> {
        let mut records = Vec::with_capacity(seqs.len());
        let mut wanted = HashSet::new();
        let mut contents = HashMap::new();
        let spine = self.spine();
        let mut rest = seqs.clone();
        while let Some(&first) = rest.first() {
            let (stretch, end) = spine.stretch(Seq(first), rest.last().map_or(Seq(first), |&last| Seq(last)))?;
            for stored in &stretch {
                if rest.contains(&stored.seq.0) {
                    wanted.extend(references(stored));
                    records.push(stored.clone());
                }
            }
            for stored in stretch {
                for content in brought(stored) {
                    if wanted.contains(&content.id()) {
                        contents.entry(content.id()).or_insert(content);
                    }
                }
            }
            rest = rest.split_off(&end.0);
        }
        Ok((records, contents))
    }

    /// Every erasure with its list.
    fn tombstones(&self) -> Result<Vec<(StoredRecord, ErasedItems)>, EvidenceError> {
        let sql = format!(
            "SELECT seq, attributes ->> '$.\"watchkeeper.erasure.request\"' AS request FROM events WHERE kind = 'admin' AND name = '{}'",
            ledger::TOMBSTONE_EVENT
        );
        let table = self.reader()?.sql(&sql, &QueryLimits::default())?;
        let dir = self.data().path().join(ARCHIVE_DIR).join(TOMBSTONES_DIR);
        let mut found = Vec::new();
        for row in &table.rows {
            let (Some(Cell::Int(seq)), Some(Cell::Text(request))) = (row.first(), row.get(1)) else { continue };
            // The request names a file: the ledger's own rule for it is checked when the list is compared.
            if request.contains(['/', '.']) {
                continue;
            }
            let Ok(file) = File::open(dir.join(format!("{request}.jsonl"))) else { continue };
            let list = ErasedItems::read(&mut BufReader::new(file))?;
            let (records, _) = self.gather(&BTreeSet::from([seq.unsigned_abs()]))?;
            found.extend(records.into_iter().map(|record| (record, list.clone())));
        }
        Ok(found)
    }
}

impl What {
    fn text(&self) -> &str {
        match self {
            Self::Session(text) | Self::Incident(text) | Self::Query(text) => text,
        }
    }

    fn chosen(&self) -> Chosen {
        match self.clone() {
            Self::Session(id) => Chosen::Session(id),
            Self::Incident(id) => Chosen::Incident(id),
            Self::Query(sql) => Chosen::Query(sql),
        }
    }
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, text) = match self {
            Self::Session(id) => ("session", id),
            Self::Incident(id) => ("incident", id),
            Self::Query(sql) => ("query", sql),
        };
        write!(f, "{kind} {text}")
    }
}

/// The contents that a record refers to.
fn references(stored: &StoredRecord) -> Vec<ContentId> {
    let event = stored.for_reading().and_then(|record| record.event().ok());
    event.map(|event| event.pieces.iter().map(|piece| piece.content.id).collect()).unwrap_or_default()
}

/// The contents that a record brings.
fn brought(stored: StoredRecord) -> Vec<StoredContent> {
    match stored.body {
        ledger::StoredBody::Whole(record) => record.contents.into_iter().map(StoredContent::Whole).collect(),
        ledger::StoredBody::Redacted(record) => record.contents,
    }
}
