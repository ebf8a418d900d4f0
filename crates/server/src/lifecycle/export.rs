//! Evidence: records with their proofs, put together from wherever they lie.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::BufReader;
use std::time::{Duration, Instant};

use event::{ContentId, Principal, RecordedEvent, Timestamp, attr};
use evidence::{About, Bag, BagError, Chosen, Export, ExportError, Summary};
use journal::Seq;
use keys::KeysError;
use ledger::{Checkpoint, ErasedItems, Policy, Selection, StoredContent, StoredRecord};
use sanitize::Clean;
use store::{Cell, QueryError, QueryLimits, Table};

use super::cold::{ARCHIVE_DIR, ColdError};
use super::erase::TOMBSTONES_DIR;
use super::hold::{Hold, Scope};
use super::lifecycle_event;
use super::search::{Trace, Unindexed, quoted};
use super::spine::{Spine, SpineError};
use super::target::Sessions;
use super::withhold::{Withhold, WithholdError};
use crate::asker::Asker;
use crate::log_keys::{LogKeyError, log_key};
use crate::node::Node;
use crate::pipeline::Pipeline;

/// Most records of one bundle: it is held in memory, and somebody is to read it.
const RECORDS_MAX: usize = 10_000;

/// How long the event that tells of the export may take to be sealed.
pub(super) const SEALED_WITHIN: Duration = Duration::from_secs(60);

/// How long witnesses may take to cosign a checkpoint that covers the export: they are asked every two seconds, and one that failed
/// is left alone for fifteen.
const WITNESSED_WITHIN: Duration = Duration::from_secs(20);

/// How often it is looked whether they have.
const WITNESSED_LOOK: Duration = Duration::from_millis(100);

/// Most records of custody of one bundle. With more it would not tell all, so there is none.
const CUSTODY_MAX: usize = 10_000;

/// Longest reason, selection or name, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 4_096;

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
    /// The copies in the forensic archive of records from the first of two numbers (`17-42`) to before the second.
    Forensic(String),
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// A text is empty or too long.
    #[error("{0} must have 1 to {TEXT_BYTES_MAX} bytes: it stands in the record and in the bundle")]
    Text(&'static str),
    /// What is to be withheld.
    #[error(transparent)]
    Withhold(#[from] WithholdError),
    /// The choice names nothing.
    #[error(
        "no record is in this selection: look at the id of --session, or at the SELECT of --query, with \
         `watchkeeper query \"SELECT DISTINCT session_id FROM events\"`"
    )]
    Nothing,
    /// The choice names too much.
    #[error("the selection has more than {RECORDS_MAX} records; take it out in parts")]
    TooMany,
    /// A range that is none.
    #[error(
        "a range of records is needed, such as 17-42; `watchkeeper retention show --segments` lists those of the forensic archive"
    )]
    Range,
    /// There is no forensic archive.
    #[error("there is no forensic archive; [archive.forensic] in the configuration makes one")]
    NoForensic,
    /// No detection has that id.
    #[error(
        "{0:?} is the id of no detection; `watchkeeper query \"SELECT event_id, name FROM events WHERE kind = 'detection'\"` shows those \
         that there are, and --query takes out any other event"
    )]
    NoIncident(String),
    /// Too many records of custody.
    #[error("more than {CUSTODY_MAX} reads, exports and holds name these records; take them out in parts, by --query")]
    TooMuchCustody,
    /// A query that does not say which records.
    #[error("query must give a column `seq` or `event_id`, such as SELECT seq FROM events WHERE session_id = 's-17'")]
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
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] ledger::LedgerError),
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
    /// A record has no leaf: `verify` names it as well.
    #[error("record {seq} cannot be disclosed: {source}")]
    Leaf {
        /// Its place.
        seq: u64,
        /// Why.
        source: ledger::LeafError,
    },
    /// A disclosure cannot be written.
    #[error("disclosure: {0}")]
    Json(#[from] serde_json::Error),
    /// The witnessed checkpoint.
    #[error("ledger/witnessed: {0}")]
    Witnessed(std::io::Error),
}

impl Node {
    /// Takes records out as an evidence bundle. That this was done, by whom and why, is recorded and sealed first, and stands in the
    /// bundle. `withhold` names what is not shown: fields by their path, `content`, `content:NAME` with a role or a part, `tokens`,
    /// `tokens:TYPE`; their commitments stay.
    ///
    /// # Errors
    /// See [`EvidenceError`].
    pub fn export(&self, asker: &Asker, what: &What, withhold: &[String], reason: &str) -> Result<(Bag, Summary), EvidenceError> {
        let fits = |text: &str| !text.is_empty() && text.len() <= TEXT_BYTES_MAX;
        if !fits(reason) {
            return Err(EvidenceError::Text("reason"));
        }
        if !fits(what.text()) {
            return Err(EvidenceError::Text("selection"));
        }
        let withhold = Withhold::read(withhold)?;
        self.flush(SEALED_WITHIN);
        let unindexed = self.unindexed()?;
        let (records, contents, selected) = match what {
            What::Forensic(range) => {
                let (records, contents) = self.copies(range)?;
                let selected = records.len();
                (records, contents, selected)
            }
            _ => {
                let seqs = self.selected(what, &unindexed)?;
                let (records, contents) = gather(&self.spine(), &seqs)?;
                (records, contents, seqs.len())
            }
        };
        let content = |id| contents.get(&id).cloned();
        let shown = withhold.of(&records, &content)?;
        let mut event = lifecycle_event("evidence.export", "read", &what.to_string());
        asker.sign(&mut event);
        event.set(attr::EVENT_OUTCOME, "success");
        event.set(event::Key::of("watchkeeper.evidence.reason"), reason);
        event.set(event::Key::of("watchkeeper.evidence.records"), i64::try_from(records.len()).unwrap_or(i64::MAX));
        let names = withhold.names();
        if !names.is_empty() {
            event.set(event::Key::of("watchkeeper.evidence.withheld"), names.join(",").as_str());
        }
        self.pipeline().record_blocking(vec![event], &|| true)?;
        if !self.flush(SEALED_WITHIN) {
            return Err(EvidenceError::NotSealed);
        }
        let (custody, erasures) = self.custody(what, &records, &self.unindexed()?)?;
        let (custody, _) = gather(&self.spine(), &custody)?;
        let tombstones = self.tombstones(erasures)?;
        let all = records.iter().chain(&custody).chain(tombstones.iter().map(|(record, _)| record));
        let size = all.map(|record| record.seq.0 + 1).max().unwrap_or_default();
        let policy = self.witness_policy();
        let witnessed = policy.map(|policy| self.witnessed(policy, size)).transpose()?.flatten();
        let key = log_key(self.keyring())?;
        let about = About {
            exported_by: asker.to_string(),
            operator: asker.operator.clone(),
            reason: reason.to_owned(),
            withheld: names,
            witnessed: policy.map(|_| witnessed.is_some()),
            at: Timestamp::now(),
            chosen: what.chosen(),
            records_selected: selected as u64,
            // A query is one of the store; sessions and incidents are looked for in the archive, too.
            not_searched: if matches!(what, What::Query(_)) { unindexed.records } else { 0 },
            dropped: unindexed.dropped,
        };
        let beside = withhold.beside();
        let make = |show: Selection<'_>, show_custody: Selection<'_>| {
            let export = Export {
                data_dir: self.data().path(),
                key: &key,
                records: &records,
                show,
                show_custody,
                contents: &content,
                custody: &custody,
                tombstones: &tombstones,
                checkpoint: witnessed.as_deref().map(str::as_bytes),
                policy: policy.filter(|_| witnessed.is_some()).map(str::as_bytes),
                about,
            };
            export.bag()
        };
        Ok(shown.select(|show| beside.select(|show_custody| make(show, show_custody)))?)
    }

    /// The checkpoint that the witnesses of the policy cosigned, once there is one of so many records; `None` when they take too
    /// long.
    fn witnessed(&self, policy: &str, size: u64) -> Result<Option<String>, EvidenceError> {
        let Ok(policy) = policy.parse::<Policy>() else { return Ok(None) };
        let until = Instant::now() + WITNESSED_WITHIN;
        loop {
            if let Some(note) = ledger::witnessed_checkpoint(self.data().path()).map_err(EvidenceError::Witnessed)? {
                let covers = Checkpoint::parse(note.text()).is_ok_and(|checkpoint| checkpoint.size >= size);
                if covers && policy.check_witnesses(&note).is_ok() {
                    return Ok(Some(note.encode()));
                }
            }
            if Instant::now() >= until {
                return Ok(None);
            }
            std::thread::sleep(WITNESSED_LOOK);
        }
    }

    fn selected(&self, what: &What, unindexed: &Unindexed) -> Result<BTreeSet<u64>, EvidenceError> {
        let found = match what {
            What::Session(id) => self.of_session(unindexed, &self.recorded_text(id))?,
            What::Incident(id) => self.of_incident(unindexed, id)?,
            What::Query(sql) => self.seqs(sql)?,
            What::Forensic(_) => return Err(EvidenceError::Nothing),
        };
        match found.len() {
            0 => Err(EvidenceError::Nothing),
            many if many > RECORDS_MAX => Err(EvidenceError::TooMany),
            _ => Ok(found),
        }
    }

    /// The export itself, those of the same selection before it, the reads that named what was selected, the holds that cover some
    /// of it; and every erasure, whose lists say what is gone.
    fn custody(
        &self,
        what: &What,
        records: &[StoredRecord],
        unindexed: &Unindexed,
    ) -> Result<(BTreeSet<u64>, Vec<Trace>), EvidenceError> {
        let object = self.recorded_text(&what.to_string());
        let named = Named::of(records);
        let covering = Covering::of(self.holds(), records, self.pipeline());
        let is_of_selection = |trace: &Trace| match trace.name.as_str() {
            super::disclose::EVENT => true,
            "evidence.export" => trace.object == object,
            "hold.place" | "hold.release" => covering.has(trace),
            ledger::TOMBSTONE_EVENT => trace.request.is_some(),
            _ => named.is_in(&trace.object),
        };
        let (erasures, custody): (Vec<Trace>, Vec<Trace>) =
            self.traces(unindexed, &is_of_selection)?.into_iter().partition(|trace| trace.name == ledger::TOMBSTONE_EVENT);
        if custody.len() > CUSTODY_MAX {
            return Err(EvidenceError::TooMuchCustody);
        }
        Ok((custody.into_iter().map(|trace| trace.seq).collect(), erasures))
    }

    /// What the forensic archive has of the records of a range, and the contents that lie with them.
    fn copies(&self, range: &str) -> Result<(Vec<StoredRecord>, HashMap<ContentId, StoredContent>), EvidenceError> {
        let numbers = range.split_once('-').and_then(|(first, end)| Some((first.trim().parse().ok()?, end.trim().parse().ok()?)));
        let (first, end): (u64, u64) = numbers.ok_or(EvidenceError::Range)?;
        let cold = self.lifecycle().forensic.as_ref().ok_or(EvidenceError::NoForensic)?;
        let archive = cold.lock();
        let view = archive.view();
        let (mut records, mut contents) = (BTreeMap::new(), HashMap::new());
        for segment in view.manifest().segments().filter(|segment| segment.first < end && segment.end > first) {
            let (span, wanted) = (segment.span(), first..end);
            let copies = view.segment(&span).map_err(ColdError::from).map_err(SpineError::from)?;
            records.extend(copies.into_iter().filter(|copy| wanted.contains(&copy.seq.0)).map(|copy| (copy.seq.0, copy)));
            if records.len() > RECORDS_MAX {
                return Err(EvidenceError::TooMany);
            }
            for content in view.contents(&span).map_err(ColdError::from).map_err(SpineError::from)? {
                contents.entry(content.id()).or_insert(content);
            }
        }
        if records.is_empty() { Err(EvidenceError::Nothing) } else { Ok((records.into_values().collect(), contents)) }
    }

    fn recorded_text(&self, text: &str) -> String {
        self.pipeline().sanitizer().name(text).as_str().to_owned()
    }

    /// The records that a query names.
    pub(crate) fn seqs(&self, sql: &str) -> Result<BTreeSet<u64>, EvidenceError> {
        let limits = QueryLimits { rows_max: RECORDS_MAX + 1, ..QueryLimits::default() };
        // It is closed before others are opened.
        let table = self.reader()?.sql(sql, &limits)?;
        if table.truncated || table.rows.len() > RECORDS_MAX {
            return Err(EvidenceError::TooMany);
        }
        if let Some(seqs) = seqs_of(&table) {
            return Ok(seqs.collect());
        }
        let Some(at) = column_of(&table, "event_id") else { return Err(EvidenceError::Column) };
        let mut found = BTreeSet::new();
        for row in &table.rows {
            if let Some(Cell::Text(id)) = row.get(at) {
                found.extend(self.seqs(&format!("SELECT seq FROM events WHERE event_id = {}", quoted(id)))?);
            }
        }
        Ok(found)
    }

    /// The erasures, each with its list.
    fn tombstones(&self, erasures: Vec<Trace>) -> Result<Vec<(StoredRecord, ErasedItems)>, EvidenceError> {
        let dir = self.data().path().join(ARCHIVE_DIR).join(TOMBSTONES_DIR);
        let mut found = Vec::new();
        for Trace { seq, request, .. } in erasures {
            // The request names a file: the ledger's own rule for it is checked when the list is compared.
            let Some(request) = request.filter(|request| !request.contains(['/', '.'])) else { continue };
            let Ok(file) = files::open_regular(&dir.join(format!("{request}.jsonl"))) else { continue };
            let list = ErasedItems::read(&mut BufReader::new(file))?;
            let (records, _) = gather(&self.spine(), &BTreeSet::from([seq]))?;
            found.extend(records.into_iter().map(|record| (record, list.clone())));
        }
        Ok(found)
    }
}

/// The holds that cover some of the selected records. Others are of other cases, which the receiver is not to know.
struct Covering {
    /// The selected events, whose users and sessions are pseudonyms, as they are in the events of holds.
    events: Vec<RecordedEvent<String>>,
    standing: HashSet<String>,
}

impl Covering {
    fn of(holds: Vec<Hold>, records: &[StoredRecord], pipeline: &Pipeline) -> Self {
        let events: Vec<_> = records.iter().filter_map(event_of).collect();
        let mut sessions = Sessions::default();
        events.iter().for_each(|event| sessions.learn(event));
        let covers = |scope: &Scope| events.iter().any(|event| scope.covers_for(event, &sessions));
        let standing = holds.into_iter().filter(|hold| covers(&hold.scope)).map(|hold| hold.name).collect();
        let hidden = |event: RecordedEvent<Clean>| {
            let user = event.identity.user.as_ref().map(|user| user.id.as_str()).or_else(|| sessions.only_user(&event));
            let user = user.map(|user| Principal::asserted(pipeline.pseudonym("user", user)));
            let mut event =
                event.map(&mut |text: Clean| text.as_str().to_owned(), &mut |_, content| content, &|key: String, _| key);
            event.identity.user = user;
            event.session = event.session.map(|session| pipeline.pseudonym("session", &session));
            event
        };
        Self { events: events.into_iter().map(hidden).collect(), standing }
    }

    /// By the scope that the event itself has, and by that of the hold of its name which stands.
    fn has(&self, trace: &Trace) -> bool {
        trace.scope.as_ref().is_some_and(|scope| self.events.iter().any(|event| scope.covers(event)))
            || self.standing.contains(&trace.object)
    }
}

/// What a read may have named to see these records: their sessions, traces and ids.
#[derive(Default)]
struct Named {
    sessions: HashSet<String>,
    ids: HashSet<String>,
}

impl Named {
    fn of(records: &[StoredRecord]) -> Self {
        let mut named = Self::default();
        for event in records.iter().filter_map(event_of) {
            named.sessions.extend(event.session.iter().map(|session| session.as_str().to_owned()));
            named.ids.extend(event.trace.iter().map(|trace| trace.trace_id.to_string()));
            named.ids.insert(event.id.to_string());
        }
        named
    }

    /// Whether what was asked for names one: ids by themselves, sessions, which may be any text, anywhere.
    fn is_in(&self, asked: &str) -> bool {
        let mut words = asked.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        words.any(|word| self.ids.contains(word)) || self.sessions.iter().any(|session| asked.contains(session.as_str()))
    }
}

impl What {
    fn text(&self) -> &str {
        match self {
            Self::Session(text) | Self::Incident(text) | Self::Query(text) | Self::Forensic(text) => text,
        }
    }

    fn chosen(&self) -> Chosen {
        match self.clone() {
            Self::Session(id) => Chosen::Session(id),
            Self::Incident(id) => Chosen::Incident(id),
            Self::Query(sql) => Chosen::Query(sql),
            Self::Forensic(_) => Chosen::Records,
        }
    }
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, text) = match self {
            Self::Session(id) => ("session", id),
            Self::Incident(id) => ("incident", id),
            Self::Query(sql) => ("query", sql),
            Self::Forensic(range) => ("forensic", range),
        };
        write!(f, "{kind} {text}")
    }
}

/// The records, and the contents that they refer to and do not bring.
pub(crate) fn gather(
    spine: &Spine,
    seqs: &BTreeSet<u64>,
) -> Result<(Vec<StoredRecord>, HashMap<ContentId, StoredContent>), SpineError> {
    let mut records = Vec::with_capacity(seqs.len());
    let mut wanted = HashSet::new();
    let mut contents = HashMap::new();
    let mut rest = seqs.clone();
    while let Some(&first) = rest.first() {
        let (stretch, orphans, end) = spine.stretch(Seq(first), rest.last().map_or(Seq(first), |&last| Seq(last)))?;
        for stored in &stretch {
            if rest.contains(&stored.seq.0) {
                wanted.extend(references(stored));
                records.push(stored.clone());
            }
        }
        for content in stretch.into_iter().flat_map(brought).chain(orphans) {
            if wanted.contains(&content.id()) {
                contents.entry(content.id()).or_insert(content);
            }
        }
        // A record that is in no stretch was dropped meanwhile: the bundle is not complete then, and says so.
        rest = rest.split_off(&end.0.max(first + 1));
    }
    Ok((records, contents))
}

/// The numbers in a table's column `seq`, if it has one.
pub(crate) fn seqs_of(table: &Table) -> Option<impl Iterator<Item = u64>> {
    let at = column_of(table, "seq")?;
    Some(table.rows.iter().filter_map(move |row| match row.get(at) {
        Some(Cell::Int(seq)) => u64::try_from(*seq).ok(),
        _ => None,
    }))
}

fn column_of(table: &Table, name: &str) -> Option<usize> {
    table.columns.iter().position(|column| column == name)
}

fn event_of(stored: &StoredRecord) -> Option<RecordedEvent<Clean>> {
    stored.for_reading().and_then(|record| record.event().ok())
}

/// The contents that a record refers to.
fn references(stored: &StoredRecord) -> Vec<ContentId> {
    event_of(stored).map(|event| event.pieces.iter().map(|piece| piece.content.id).collect()).unwrap_or_default()
}

/// The contents that a record brings.
fn brought(stored: StoredRecord) -> Vec<StoredContent> {
    match stored.body {
        ledger::StoredBody::Whole(record) => record.contents.into_iter().map(StoredContent::Whole).collect(),
        ledger::StoredBody::Redacted(record) => record.contents,
    }
}
