//! The forensic archive: copies of what serious detections rest on, with the sessions around them, apart from the archive of
//! evidence: with keys, a place, locks and a retention class of their own.
//!
//! A consumer of the spine. A detection of at least the configured severity takes the records that it rests on and its session so
//! far; from then on every record of that session is taken. Copies are taken from sealed records only, so that each has its leaf.

use std::collections::{BTreeSet, HashSet};
use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use archive::{Class, Sealing};
use detect::Severity;
use event::{ContentRef, Kind, RecordedEvent, SourcePath, Timestamp, Value, attr};
use journal::{Cursor, Record, Seq};
use keys::DataKeys;
use ledger::StoredRecord;
use lru::LruCache;
use sanitize::Clean;
use store::{Cell, QueryLimits, Reader, Table};

use super::cold::{Cold, ColdError, Step};
use super::export::{gather, seqs_of};
use super::place::Place;
use super::retention::Policy;
use super::spine::Spine;
use crate::data_dir::DataDir;
use crate::room::Failure;

/// The retention class of its records.
pub(crate) const CLASS: &str = "forensic";

/// Sessions that are followed at once; the one that was met least recently makes room.
const FOLLOWED_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);

/// Records of a session that are taken when its following begins, the newest first.
const SESSION_RECORDS_MAX: usize = 10_000;

/// Records of one segment, which are held in memory with what lies around them.
const SEGMENT_RECORDS_MAX: usize = 1_000;

/// How long records of a followed session are gathered before they are sealed; those of a detection are sealed at once.
const GATHER: Duration = Duration::from_secs(60);

/// Longest that what was taken is remembered, so that detections that rest on the same records do not copy them again.
const TAKEN_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(199_999);

/// What the forensic archive takes, and where its objects lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Detections of at least this severity.
    pub min_severity: Severity,
    /// Where its objects lie.
    pub place: Place,
}

/// Fills the forensic archive.
pub(crate) struct Forensic {
    pub(crate) cold: Arc<Cold>,
    pub(crate) spine: Spine,
    pub(crate) data: DataDir,
    pub(crate) store_keys: DataKeys,
    pub(crate) policy: Arc<Policy>,
    pub(crate) min_severity: Severity,
}

/// A session, by the application that it is of and its id.
type SessionKey = (String, String);

/// What is on its way into the archive.
struct Taking {
    followed: LruCache<SessionKey, ()>,
    taken: LruCache<u64, ()>,
    pending: BTreeSet<u64>,
    /// Since when something is pending.
    since: Instant,
    /// Whether a detection is.
    is_urgent: bool,
}

impl Forensic {
    /// Follows the spine up to what `seen` says that every other consumer has seen, until `stopping`. Errors of the place are
    /// told by `waits`, and it is tried again.
    pub(crate) fn follow(
        &self,
        mut cursor: Cursor,
        seen: &dyn Fn() -> Seq,
        stopping: &dyn Fn() -> bool,
        rest: &dyn Fn(),
        waits: &dyn Fn(Option<String>),
    ) -> Result<(), Failure> {
        let mut taking = Taking {
            followed: LruCache::new(FOLLOWED_MAX),
            taken: LruCache::new(TAKEN_MAX),
            pending: BTreeSet::new(),
            since: Instant::now(),
            is_urgent: false,
        };
        self.recall(cursor.get(), &mut taking)?;
        let mut reader = self.spine.reader(cursor.get());
        let mut next = cursor.get();
        let mut held: Option<Record> = None;
        while !stopping() {
            let until = seen();
            while next < until && !stopping() {
                let step = match held.take() {
                    Some(record) => Step::Record(record),
                    None => match reader.next()? {
                        Some(step) => step,
                        None => break,
                    },
                };
                match step {
                    Step::Skip(to) => next = to,
                    Step::Record(record) if record.seq >= until => {
                        held = Some(record);
                        break;
                    }
                    Step::Record(record) => {
                        self.look(&record, &mut taking)?;
                        next = Seq(record.seq.0 + 1);
                    }
                }
                if taking.pending.len() >= SEGMENT_RECORDS_MAX {
                    break;
                }
            }
            let due = taking.is_urgent || taking.pending.len() >= SEGMENT_RECORDS_MAX || taking.since.elapsed() >= GATHER;
            if due || taking.pending.is_empty() {
                match self.seal(&mut taking) {
                    Err(error) if error.may_pass() => waits(Some(format!("forensic archive: {error}"))),
                    Err(error) => return Err(error.into()),
                    Ok(()) => {
                        waits(None);
                        taking.is_urgent = false;
                        taking.since = Instant::now();
                        // What is pending comes again after a restart, so the place is that of the last that is not.
                        if cursor.get() < next {
                            cursor.set(next)?;
                        }
                    }
                }
            }
            if next >= until || taking.is_urgent {
                rest();
            }
        }
        // What is left comes again from the cursor.
        Ok(())
    }

    /// The sessions that were followed when the last run ended: those of the newest detections.
    fn recall(&self, before: Seq, taking: &mut Taking) -> Result<(), Failure> {
        let sql = format!(
            "SELECT session_id, application, attributes ->> '$.\"watchkeeper.detection.severity\"' AS severity FROM events \
             WHERE kind = 'detection' AND seq < {} AND session_id IS NOT NULL ORDER BY seq DESC LIMIT {FOLLOWED_MAX}",
            before.0
        );
        for row in self.ask(&sql)?.rows.iter().rev() {
            if let [Cell::Text(session), application, Cell::Text(severity)] = row.as_slice()
                && is_at_least(severity, self.min_severity)
            {
                let application = if let Cell::Text(application) = application { application.clone() } else { String::new() };
                taking.followed.push((application, session.clone()), ());
            }
        }
        Ok(())
    }

    fn ask(&self, sql: &str) -> Result<Table, Failure> {
        let limits = QueryLimits { rows_max: SESSION_RECORDS_MAX, ..QueryLimits::default() };
        Ok(Reader::open(self.data.path(), &self.store_keys)?.sql(sql, &limits)?)
    }

    fn look(&self, record: &Record, taking: &mut Taking) -> Result<(), Failure> {
        // What does not read stays in the archive of evidence.
        let Ok(event) = record.event() else { return Ok(()) };
        let session = session_of(&event);
        if is_serious(&event, self.min_severity) {
            taking.is_urgent = true;
            taking.take(record.seq.0);
            let ids: Vec<String> = ids_of(&event).map(|id| format!("'{}'", id.replace('\'', "''"))).collect();
            if !ids.is_empty() {
                let table = self.ask(&format!("SELECT seq FROM events WHERE event_id IN ({})", ids.join(", ")))?;
                seqs_of(&table).into_iter().flatten().for_each(|seq| taking.take(seq));
            }
            let Some(session) = session else { return Ok(()) };
            if taking.followed.get(&session).is_none() {
                let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
                // The plus keeps SQLite from going along the index of whole applications.
                let application = if session.0.is_empty() { "IS NULL".to_owned() } else { format!("= {}", quoted(&session.0)) };
                let table = self.ask(&format!(
                    "SELECT seq FROM events WHERE session_id = {} AND +application {application} AND seq < {} ORDER BY seq DESC \
                     LIMIT {SESSION_RECORDS_MAX}",
                    quoted(&session.1),
                    record.seq.0
                ))?;
                seqs_of(&table).into_iter().flatten().for_each(|seq| taking.take(seq));
                taking.followed.push(session, ());
            }
        } else if session.is_some_and(|session| taking.followed.get(&session).is_some()) {
            taking.take(record.seq.0);
        }
        Ok(())
    }

    /// Seals what is pending.
    fn seal(&self, taking: &mut Taking) -> Result<(), ForensicError> {
        while let Some(chunk) = taking.chunk() {
            let (records, contents) = gather(&self.spine, &chunk)?;
            if let (Some(first), Some(last)) = (records.first(), records.last()) {
                let (first, mut end) = (first.seq.0, last.seq.0 + 1);
                let class: Class = CLASS.parse().map_err(|_| ForensicError::Class)?;
                // Copies may overlap; two segments of the very same span may not.
                {
                    let archive = self.cold.lock();
                    let manifest = archive.view().manifest();
                    let dropped = manifest.dropped().map(|gone| (gone.first, gone.end));
                    let known: HashSet<_> =
                        manifest.segments().map(|segment| (segment.first, segment.end)).chain(dropped).collect();
                    while known.contains(&(first, end)) {
                        end += 1;
                    }
                }
                let now = Timestamp::now();
                let found = |wanted: &ContentRef| Ok(contents.get(&wanted.id).cloned());
                let locked_until =
                    |class: &Class| self.policy.class(class.as_str()).filter(|_| self.cold.is_write_once())?.locked_until(now);
                let keeps = |class: &Class| self.policy.class(class.as_str()).map(super::retention::Class::keeps);
                let sealing = Sealing { contents: &found, lock_until: &locked_until, keeps: &keeps, root: None, now };
                let classed = records.into_iter().map(|record: StoredRecord| Ok::<_, Infallible>((class.clone(), record)));
                self.cold.change(|archive| archive.seal(first, end, classed, &sealing).map_err(ColdError::from))?;
            }
            for seq in chunk {
                taking.pending.remove(&seq);
                taking.taken.push(seq, ());
            }
        }
        Ok(())
    }
}

/// Why copies do not get into the forensic archive.
#[derive(Debug, thiserror::Error)]
enum ForensicError {
    /// The archive.
    #[error(transparent)]
    Cold(#[from] ColdError),
    /// The records.
    #[error(transparent)]
    Spine(#[from] super::spine::SpineError),
    /// The class.
    #[error("the retention class {CLASS:?} has a name that the archive refuses")]
    Class,
}

impl ForensicError {
    fn may_pass(&self) -> bool {
        match self {
            Self::Cold(error) => error.may_pass(),
            Self::Spine(super::spine::SpineError::Cold(error)) => error.may_pass(),
            _ => false,
        }
    }
}

impl Taking {
    fn take(&mut self, seq: u64) {
        if self.taken.get(&seq).is_none() {
            if self.pending.is_empty() {
                self.since = Instant::now();
            }
            self.pending.insert(seq);
        }
    }

    /// The next that are sealed together.
    fn chunk(&self) -> Option<BTreeSet<u64>> {
        let chunk: BTreeSet<u64> = self.pending.iter().take(SEGMENT_RECORDS_MAX).copied().collect();
        (!chunk.is_empty()).then_some(chunk)
    }
}

/// Whether an event is a detection of our own of that severity. A sender's word for one is not.
fn is_serious(event: &RecordedEvent<Clean>, least: Severity) -> bool {
    let severity = match event.attributes.get(&attr::DETECTION_SEVERITY) {
        Some(Value::Text(severity)) => severity.as_str(),
        _ => return false,
    };
    event.kind == Kind::Detection && event.source.path == SourcePath::Internal && is_at_least(severity, least)
}

fn is_at_least(severity: &str, least: Severity) -> bool {
    let all = [Severity::Informational, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];
    all.into_iter().find(|known| known.as_str() == severity).is_some_and(|severity| severity >= least)
}

/// The ids of the events that a detection rests on.
fn ids_of(event: &RecordedEvent<Clean>) -> impl Iterator<Item = &str> {
    let list = match event.attributes.get(&attr::DETECTION_EVENTS) {
        Some(Value::List(ids)) => ids.as_slice(),
        _ => &[],
    };
    list.iter().filter_map(|id| if let Value::Text(id) = id { Some(id.as_str()) } else { None })
}

fn session_of(event: &RecordedEvent<Clean>) -> Option<SessionKey> {
    // As the column `application` has it.
    let application = event.identity.application.as_ref();
    let application = application.map(|application| application.name.as_ref().unwrap_or(&application.id).as_str().to_owned());
    Some((application.unwrap_or_default(), event.session.as_ref()?.as_str().to_owned()))
}

#[cfg(test)]
mod tests {
    use event::{Event, Key, Source};

    use super::*;

    fn detection(path: SourcePath, severity: &str) -> RecordedEvent<Clean> {
        let mut event = Event::new(Kind::Detection, Clean::recorded("x"), Source::new(path, Key::of("watchkeeper")));
        event.attributes.insert(attr::DETECTION_SEVERITY, Value::Text(Clean::recorded(severity)));
        event
    }

    #[test]
    fn only_our_own_detections_of_the_severity_are_serious() {
        for (path, severity, serious) in [
            (SourcePath::Internal, "critical", true),
            (SourcePath::Internal, "high", true),
            (SourcePath::Internal, "medium", false),
            (SourcePath::Internal, "unheard of", false),
            (SourcePath::Api, "critical", false),
        ] {
            assert_eq!(is_serious(&detection(path, severity), Severity::High), serious, "{path:?} {severity}");
        }
    }
}
