//! The consumer that moves records from the journal to the archive, and drops them there when their time is over.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use archive::{ArchiveError, Class, Sealing, Span};
use event::{ContentRef, Event, Key, Timestamp, attr};
use journal::{Journal, Record, Seq};
use keys::{DataKeys, Keyring, KeysError, Purpose};
use ledger::{StoredContent, StoredRecord};
use serde::Serialize;

use super::cold::{Cold, ColdError, lifecycle_event};
use super::hold::{Hold, Holds};
use super::kept_policy::{Jumped, KeptPolicy, PolicyError};
use super::noted_days::NotedDaysError;
use super::target::Sessions;
use crate::asker::Asker;
use crate::pipeline::Pipeline;
use crate::triage::Triage;

/// Most records of one span: with the bytes below it bounds the memory of whoever reads the span.
const SPAN_RECORDS_MAX: u64 = 100_000;

/// Most bytes of journal in one span, where it has more than one file: two files of 64 MiB.
const SPAN_FILES_MAX: usize = 2;

/// How often retention is looked at.
const SWEEP: Duration = Duration::from_secs(3_600);

/// The event that tells of the end of a retention, and where it has the records and their class.
pub(crate) const DROP_EVENT: &str = "retention.drop";
pub(crate) const DROPPED_FIRST: &str = "watchkeeper.retention.first";
pub(crate) const DROPPED_END: &str = "watchkeeper.retention.end";
pub(crate) const DROPPED_CLASS: &str = "watchkeeper.retention.class";

const NANOSECONDS: u64 = 1_000_000_000;
const DAY_NS: u64 = 86_400 * NANOSECONDS;

/// Moves records to the archive.
pub(crate) struct Archiver {
    pub(crate) journal: Journal,
    pub(crate) cold: Arc<Cold>,
    /// The forensic archive, where there is one.
    pub(crate) forensic: Option<Arc<Cold>>,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) data: PathBuf,
    pub(crate) store_keys: DataKeys,
    pub(crate) policy: Arc<KeptPolicy>,
    pub(crate) holds: Arc<Holds>,
    pub(crate) triage: Arc<Triage>,
    /// How long records stay in an open file of the journal at the most.
    pub(crate) after: Duration,
    /// When the journal's newest file was begun, as far as this process knows.
    pub(crate) file_since: Instant,
    pub(crate) swept: Option<Instant>,
    /// Whether it is recorded that the clock is not believed.
    pub(crate) told_of_clock: bool,
    /// Whether the holds that stand may not be those of the archive's segments yet: a process can end between the two.
    pub(crate) holds_due: bool,
}

/// Why records cannot be archived.
#[derive(Debug, thiserror::Error)]
pub enum ArchiverError {
    /// The archive.
    #[error(transparent)]
    Cold(#[from] ColdError),
    /// The archive.
    #[error("archive: {0}")]
    Archive(#[from] ArchiveError),
    /// The journal does not read.
    #[error(transparent)]
    Read(#[from] journal::ReadError),
    /// The journal does not begin a new file.
    #[error(transparent)]
    Append(#[from] journal::AppendError),
    /// A file cannot be read or removed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The hot store.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// A key cannot be destroyed.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The policy that stands, or the clock.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Which days of the hot store stay, or are to be built anew.
    #[error(transparent)]
    Days(#[from] NotedDaysError),
    /// The store's writer.
    #[error("{0}")]
    Consumer(String),
    /// What must be recorded first cannot be.
    #[error("it cannot be recorded, so it is not done: {0}")]
    Record(#[from] capture::RecordError),
    /// A retention class has a name that the archive refuses.
    #[error("retention class {0:?} is not a name that the archive takes: lower-case letters, digits and hyphens")]
    Class(String),
}

/// Records that lie in a segment of the archive, or did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stretch {
    /// The first record.
    pub first: u64,
    /// One past the last.
    pub end: u64,
    /// The retention class.
    pub class: String,
}

/// What stays although its time is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Staying {
    /// Which records.
    #[serde(flatten)]
    pub span: Stretch,
    /// What keeps them.
    pub why: String,
}

/// What became of records whose time is over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// They are gone.
    pub dropped: Vec<Stretch>,
    /// They stay for now.
    pub stay: Vec<Staying>,
}

impl From<Span> for Stretch {
    fn from(span: Span) -> Self {
        Self { first: span.first, end: span.end, class: span.class.as_str().to_owned() }
    }
}

impl ArchiverError {
    /// Whether it may pass by itself: a bucket that does not answer, a full disk.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Cold(error) => error.may_pass(),
            Self::Archive(error) => error.may_pass(),
            // A root key in a service that does not answer, or does not for now.
            Self::Io(_) | Self::Keys(KeysError::Root { .. }) | Self::Days(NotedDaysError::Keys(KeysError::Root { .. })) => true,
            error => crate::room::is_lacking(error),
        }
    }
}

impl Archiver {
    /// Archives the closed files of the journal whose records are all below `done`, and retires them. Gives whether it did anything.
    pub(crate) fn archive(&mut self, done: Seq, now: Timestamp) -> Result<bool, ArchiverError> {
        let mut moved = false;
        loop {
            let first = self.cold.end();
            let closed: Vec<_> = self.journal.closed().into_iter().filter(|file| file.end > first && file.end <= done).collect();
            let mut end = first;
            for file in closed.iter().take(SPAN_FILES_MAX) {
                if end == first || file.end.0 - first.0 <= SPAN_RECORDS_MAX {
                    end = file.end;
                }
            }
            if end == first {
                return Ok(moved);
            }
            self.seal(first, end, now)?;
            let keys = self.journal.retire(end)?;
            self.keyring.destroy(Purpose::Journal, &keys)?;
            moved = true;
        }
    }

    /// Begins a new file of the journal when the newest one holds records for longer than they should stay there.
    pub(crate) fn rotate_if_due(&mut self) -> Result<(), ArchiverError> {
        let closed_end = self.journal.closed().last().map_or(self.journal.first(), |file| file.end);
        if closed_end == self.journal.end() {
            self.file_since = Instant::now();
        } else if self.file_since.elapsed() >= self.after {
            self.journal.rotate()?;
            self.file_since = Instant::now();
        }
        Ok(())
    }

    fn seal(&self, first: Seq, end: Seq, now: Timestamp) -> Result<(), ArchiverError> {
        let now = self.policy.sealing_time(now);
        let policy = &self.policy.policy;
        let mut reader = self.journal.reader(first)?;
        let records = std::iter::from_fn(|| {
            let record = match reader.next() {
                Ok(record) => record.filter(|record| record.seq < end)?,
                Err(error) => return Some(Err(error.to_string())),
            };
            Some(self.class(&record).map(|class| (class, StoredRecord::whole(record))).map_err(|error| error.to_string()))
        });
        // A file of the journal brings every content to which its events refer.
        let nobody = |_: &ContentRef| -> Result<Option<StoredContent>, archive::SegmentError> { Ok(None) };
        let lock_until = |class: &Class| self.locked_until(class, now);
        let keeps = |class: &Class| policy.class(class.as_str()).map(super::retention::Class::keeps);
        let sealing = Sealing { contents: &nobody, lock_until: &lock_until, keeps: &keeps, root: None, now };
        let sealed = self.cold.change(|archive| archive.seal(first.0, end.0, records, &sealing).map_err(ColdError::from))?;
        for segment in sealed {
            self.hold(&self.cold, &segment.span(), now)?;
        }
        Ok(())
    }

    /// Until when objects of a class are locked that are written now.
    fn locked_until(&self, class: &Class, now: Timestamp) -> Option<Timestamp> {
        let class = self.policy.policy.class(class.as_str()).filter(|_| self.cold.is_write_once())?;
        class.locked_until(now)
    }

    /// Brings the legal holds of the archive's segments, and of their objects, in line with the holds that stand.
    pub(crate) fn hold_all(&mut self, now: Timestamp) -> Result<(), ArchiverError> {
        for cold in self.archives() {
            let spans: Vec<Span> = cold.lock().view().manifest().segments().map(archive::Segment::span).collect();
            for span in spans {
                self.hold(cold, &span, now)?;
            }
        }
        self.holds_due = false;
        Ok(())
    }

    fn archives(&self) -> impl Iterator<Item = &Arc<Cold>> {
        std::iter::once(&self.cold).chain(&self.forensic)
    }

    /// Ends what an error interrupted in an archive, and signs it anew where other keys than the log's newest did.
    pub(crate) fn settle(&self) -> Result<(), ColdError> {
        self.archives().try_for_each(|cold| cold.settle())
    }

    /// Does that for one segment.
    fn hold(&self, cold: &Cold, span: &Span, now: Timestamp) -> Result<(), ArchiverError> {
        let is_held = cold.lock().view().manifest().is_held(span);
        let covering = self.covering(cold, span, None)?;
        let why = match &covering {
            Some(hold) if !is_held => hold.name.as_str(),
            None if is_held => "released",
            _ => return Ok(()),
        };
        cold.change(|archive| archive.hold(span, covering.is_some(), why, now).map_err(ColdError::from))?;
        Ok(())
    }

    fn class(&self, record: &Record) -> Result<Class, ArchiverError> {
        let name = match record.event() {
            Ok(event) => self.policy.policy.class_of(&event).to_owned(),
            // It is kept as the others are; the store makes a gap of it.
            Err(_) => self.policy.policy.default_class().to_owned(),
        };
        name.parse().map_err(|_| ArchiverError::Class(name))
    }

    /// How long it is until retention is looked at again; none before the first time.
    pub(crate) fn next_sweep(&self) -> Option<Duration> {
        Some(SWEEP.saturating_sub(self.swept?.elapsed()))
    }

    /// Drops segments whose time is over and that nothing keeps. What was dropped is recorded.
    pub(crate) fn sweep_if_due(&mut self, pipeline: &Pipeline, now: Timestamp) -> Result<(), ArchiverError> {
        if self.swept.is_some_and(|swept| swept.elapsed() < SWEEP) {
            return Ok(());
        }
        self.swept = Some(Instant::now());
        self.sweep(pipeline, now, None).map(drop)
    }

    /// Takes days out of the hot store that no class wants there any longer. The archive has them.
    pub(crate) fn cool(&self, now: Timestamp) -> Result<(), ArchiverError> {
        let hot_ns = u64::from(self.policy.policy.hot_days()).saturating_mul(DAY_NS);
        let before = Timestamp::from_unix_ns(now.unix_ns().saturating_sub(hot_ns));
        let day = store::day_of(before.unix_ns());
        let restored = super::restore::restored(&self.keyring, now)?;
        let cooled = store::drop_before(&self.data, &day, self.cold.end(), &restored, &self.store_keys)?;
        if !cooled.is_empty() {
            tracing::info!(days = cooled.len(), "days left the hot store; `watchkeeper restore` brings them back");
        }
        // Also what a crash has left of days before.
        if let Some(from) = store::start_of(&day)
            && let Err(error) = self.triage.forget_before(from)
        {
            tracing::warn!(%error, "what was decided of detections that left the hot store is still kept");
        }
        Ok(())
    }

    /// Takes days out of the hot store, and drops segments, whose time is over at `now`: because somebody asks for it, or because it is
    /// time.
    pub(crate) fn sweep(&mut self, pipeline: &Pipeline, now: Timestamp, asker: Option<&Asker>) -> Result<Swept, ArchiverError> {
        let jumped = self.policy.believes(now)?.err();
        match &jumped {
            None => self.cool(now)?,
            Some(jumped) => self.tell_of_clock(pipeline, jumped),
        }
        let mut swept = Swept::default();
        for cold in self.archives() {
            self.sweep_one(cold, pipeline, now, asker, jumped, &mut swept)?;
        }
        Ok(swept)
    }

    /// Records, once, that nothing is dropped because the clock is not believed.
    fn tell_of_clock(&mut self, pipeline: &Pipeline, jumped: &Jumped) {
        tracing::warn!(%jumped, "no retention ends until `watchkeeper retention sweep --clock-is-right` says that the clock is right");
        if !std::mem::replace(&mut self.told_of_clock, true) {
            let mut event = lifecycle_event("retention.waits", "delete", &jumped.to_string());
            event.set(attr::EVENT_OUTCOME, "failure");
            // It is in the log of the program, too.
            drop(pipeline.record_blocking(vec![event], &|| true));
        }
    }

    fn sweep_one(
        &self,
        cold: &Cold,
        pipeline: &Pipeline,
        now: Timestamp,
        asker: Option<&Asker>,
        jumped: Option<Jumped>,
        swept: &mut Swept,
    ) -> Result<(), ArchiverError> {
        let over: Vec<archive::Segment> = {
            let archive = cold.lock();
            let is_over = |segment: &&archive::Segment| self.policy.policy.end_of(segment).is_some_and(|end| now >= end);
            archive.view().manifest().segments().filter(is_over).cloned().collect()
        };
        let sessions = if over.is_empty() { None } else { Some(self.sessions()?) };
        for segment in over {
            let span = segment.span();
            if let Some(why) = self.stays(cold, &segment, now, jumped, sessions.as_ref())? {
                tracing::info!(why, first = span.first, end = span.end, "records stay whose time is over");
                swept.stay.push(Staying { span: span.into(), why });
                continue;
            }
            // Copies are not in the store.
            if std::ptr::eq(cold, &*self.cold) {
                super::stale::note(&self.keyring, &self.data, cold, &segment, now)?;
            }
            let why = format!("retention class {}", span.class.as_str());
            cold.change(|archive| archive.drop_segment(&span, &why, now).map_err(ColdError::from))?;
            // The manifest tells of it, too: a record that cannot be written now stops nothing.
            if let Err(error) = pipeline.record_blocking(vec![dropped_event(&segment, asker)], &|| true) {
                tracing::error!(%error, "the end of a retention was not recorded");
            }
            swept.dropped.push(span.into());
        }
        if jumped.is_none() {
            // Objects whose keys were destroyed while a lock held them.
            let deleted = cold.change(|archive| archive.sweep(now).map_err(ColdError::from))?;
            if deleted > 0 {
                tracing::info!(objects = deleted, "locks have ended: objects were deleted that nothing opens");
            }
        }
        Ok(())
    }

    /// What keeps a segment whose time is over.
    fn stays(
        &self,
        cold: &Cold,
        segment: &archive::Segment,
        now: Timestamp,
        jumped: Option<Jumped>,
        sessions: Option<&Sessions>,
    ) -> Result<Option<String>, ArchiverError> {
        if let Some(jumped) = jumped {
            return Ok(Some(jumped.to_string()));
        }
        if let Some(until) = self.policy.grace(segment.sealed_at).filter(|until| now < *until) {
            return Ok(Some(format!("the policy was changed behind it, and is applied to it from {} on", until.rfc3339())));
        }
        Ok(self.covering(cold, &segment.span(), sessions)?.map(|hold| format!("hold {}", hold.name)))
    }

    /// Who takes part in which session, in the whole archive.
    fn sessions(&self) -> Result<Sessions, ArchiverError> {
        let mut sessions = Sessions::default();
        if self.holds.list().iter().all(|hold| hold.scope.user.is_none()) {
            return Ok(sessions);
        }
        for segment in self.cold.segments() {
            for record in self.cold.segment(&segment.span())?.iter().filter_map(StoredRecord::for_reading) {
                record.event().iter().for_each(|event| sessions.learn(event));
            }
        }
        Ok(sessions)
    }

    /// A hold that covers a record of the segment. Whose a record is that names no user, `sessions` tell; without them the segment's
    /// own records do.
    fn covering(&self, cold: &Cold, span: &Span, sessions: Option<&Sessions>) -> Result<Option<Hold>, ArchiverError> {
        let mut holds = self.holds.list();
        let Some(sealed) = cold.lock().view().manifest().segment(span).map(|segment| segment.sealed_at) else {
            return Ok(None);
        };
        // A segment was written after the last of its records had been received.
        holds.retain(|hold| hold.scope.from.is_none_or(|from| from <= sealed));
        if holds.is_empty() {
            return Ok(None);
        }
        let records = cold.segment(span)?;
        let events = || records.iter().filter_map(StoredRecord::for_reading).filter_map(|record| record.event().ok());
        let mut own = Sessions::default();
        if sessions.is_none() {
            events().for_each(|event| own.learn(&event));
        }
        let sessions = sessions.unwrap_or(&own);
        let covers = |event| holds.iter().find(|hold| hold.scope.covers_for(&event, sessions)).cloned();
        Ok(events().find_map(covers))
    }
}

/// That the retention of a segment has ended, and who asked for that; nobody did where it was time.
fn dropped_event(segment: &archive::Segment, asker: Option<&Asker>) -> Event<String> {
    let archive::Segment { first, end, class, records, .. } = segment;
    let mut event = lifecycle_event(DROP_EVENT, "delete", &format!("records {first} to {end} of class {}", class.as_str()));
    if let Some(asker) = asker {
        asker.sign(&mut event);
    }
    event.set(Key::of("watchkeeper.retention.asked"), if asker.is_some() { "request" } else { "schedule" });
    event.set(Key::of(DROPPED_CLASS), class.as_str());
    let numbers =
        [(Key::of(DROPPED_FIRST), first), (Key::of(DROPPED_END), end), (Key::of("watchkeeper.retention.records"), records)];
    for (key, number) in numbers {
        event.set(key, i64::try_from(*number).unwrap_or(i64::MAX));
    }
    event
}
