//! Erasure: a person's data goes from every file, what it was proved by stays, and a tombstone says what went.
//!
//! Each step is noted in the keyring ([`super::job`]) when it is done, and can be done again, so that an erasure that was
//! interrupted anywhere goes on from its own plan at the next start, or when the next erasure is asked for:
//! 1. the request is recorded (`Requested`);
//! 2. everything that the journal holds is archived and retired, so that no record lies in two places; what goes is sought, and
//!    holds and retention classes are asked. Where it is refused, nothing has changed;
//! 3. a line is drawn through the record (`erasure.begun`): the person's name and keys go from the keyring, so that whoever comes by
//!    that name behind it is somebody new (`Begun`);
//! 4. the detector sees what was before the line, and waits; everything is archived, and what goes is sought again: what is of the
//!    person before the line, and the detections that rest on that, wherever they are (`Planned`);
//! 5. each segment that holds something of it is written anew under a new key, and its old key is destroyed (`Rewritten`);
//! 6. the days of the store that hold something of it are built anew from the archive, and the detector begins anew; what people decided
//!    names the person no more (`Rebuilt`);
//! 7. keys of the person that were found behind the line go, too (`Forgotten`);
//! 8. the list of what is gone, as the archive shows it then, gets its name, and the tombstone is recorded (`Tombstoned`);
//! 9. the plan is destroyed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use archive::{ArchiveError, Kept};
use capture::RecordError;
use event::{Event, Timestamp};
use journal::Seq;
use keys::{Keyring, KeysError};
use ledger::{Cut, ErasedItem, ErasedItems, TombstoneError};
use sanitize::Clean;
use serde::{Deserialize, Serialize};

use super::archiver::{Archiver, ArchiverError};
use super::cold::{ARCHIVE_DIR, Cold, ColdError, lifecycle_event};
use super::hold::Holds;
use super::job::{self, Begun, Entry, Job, JobError, Phase, Plan};
use super::plan::{Knife, Planner};
use super::protect::{Ground, Keeper, Protection};
use super::retention::Policy;
use super::target::Target;
use crate::consumers::{Consumers, DetectorHeld};
use crate::pipeline::Pipeline;
use crate::triage::{Triage, TriageError};

/// Directory of the lists of what was erased, below the archive's.
pub(crate) const TOMBSTONES_DIR: &str = "tombstones";

/// A list whose tombstone may not be recorded yet has this behind its request's id. Nobody believes it.
pub(crate) const PENDING_SUFFIX: &str = ".pending";
pub(crate) const LIST_SUFFIX: &str = ".jsonl";

/// How long the consumers may take to see everything that was recorded before an erasure begins.
const CATCH_UP: Duration = Duration::from_secs(600);

/// Records of others that a name may be found in, whatever the person has of their own, before somebody must have looked.
const NAMED_MAX: u64 = 10;

/// How often a line is drawn when more keys turn out to be the person's: those of sessions in which nobody else takes part, and which
/// have events without a user. Each time everything is planned anew.
const CUTS_MAX: usize = 3;

/// What is needed to erase.
pub(crate) struct Eraser<'n> {
    pub(crate) data: &'n Path,
    pub(crate) cold: &'n Arc<Cold>,
    /// The forensic archive, where there is one: its copies are erased like what they are copies of.
    pub(crate) forensic: Option<&'n Arc<Cold>>,
    pub(crate) archiver: &'n mut Archiver,
    pub(crate) policy: &'n Policy,
    pub(crate) holds: &'n Holds,
    pub(crate) keyring: &'n Keyring,
    pub(crate) pipeline: &'n Pipeline,
    pub(crate) consumers: &'n Consumers,
    pub(crate) triage: &'n Triage,
    /// A phase behind which the erasure ends as a crash would end it.
    #[cfg(test)]
    pub(crate) stop_behind: Option<Phase>,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Erased {
    /// The request's id, by which its events and its list are found.
    pub request: String,
    /// Records of the person, or that name them, as they were found.
    pub found: u64,
    /// Records of which something went.
    pub records: u64,
    /// Items of the tombstone's list: whole events, fields, texts, tokens in texts of others.
    pub items: u64,
    /// The same, by what they are.
    pub kinds: ItemKinds,
    /// Segments of the archive that were written anew; of an erasure that was interrupted, since then.
    pub segments: u64,
    /// Objects that a lock keeps; their keys are destroyed, so nothing opens them.
    pub locked: u64,
    /// Records that must stay for now, by ground.
    pub refused: BTreeMap<Ground, u64>,
    /// The same, with what keeps them.
    pub stays: Vec<Stay>,
    /// Erasures that had been interrupted, and came to their end before this one began.
    pub ended: Vec<Erased>,
}

/// How many items of a tombstone's list are what. An event that went as a whole is one item, whatever it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ItemKinds {
    /// Whole events.
    pub events: u64,
    /// Fields of other events.
    pub fields: u64,
    /// Texts.
    pub texts: u64,
    /// Tokens in texts of others.
    pub tokens: u64,
}

impl ItemKinds {
    fn of(items: &[ErasedItem]) -> Self {
        let mut kinds = Self::default();
        for item in items {
            let count = match item.path.split_once('/') {
                Some(("content", rest)) if rest.contains('/') => &mut kinds.tokens,
                Some(("content", _)) => &mut kinds.texts,
                Some(_) => &mut kinds.fields,
                None => &mut kinds.events,
            };
            *count += 1;
        }
        kinds
    }
}

/// What stays although its erasure was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stay {
    /// What keeps it.
    #[serde(flatten)]
    pub keeper: Keeper,
    /// How many records.
    pub records: u64,
    /// How many texts, in whatever records.
    pub texts: u64,
}

/// Why an erasure did not come to its end. Asking for it again goes on.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// The id says nobody.
    #[error("subject: an id of 1 to 1,024 bytes is needed, as the application sends it in user.id")]
    Subject,
    /// The reference.
    #[error("reference: 1 to 1,024 bytes are needed, such as the number of the request")]
    Reference,
    /// Nobody takes their own tracks away.
    #[error("subject: {0} names the key or the person that asks; what they did stays in the record")]
    Own(String),
    /// A name that stands nearly everywhere.
    #[error(
        "{others} records of others hold one of these names, and {own} are the person's own: nothing was done. Leave out the \
         alias that is a common word, or ask again with --wide when you have looked (watchkeeper search)"
    )]
    Wide {
        /// Records of others.
        others: u64,
        /// Records of the person.
        own: u64,
    },
    /// The consumers are behind.
    #[error("the consumers have not caught up with the record; try again when `watchkeeper status` shows that they have")]
    Behind,
    /// A consumer stopped.
    #[error("{0}")]
    Consumer(String),
    /// The record takes no event.
    #[error("the erasure cannot be recorded: {0}")]
    Record(#[from] RecordError),
    /// The archive.
    #[error(transparent)]
    Cold(#[from] ColdError),
    /// The archive.
    #[error("archive: {0}")]
    Archive(#[from] ArchiveError),
    /// What the journal holds cannot be archived.
    #[error(transparent)]
    Archiver(#[from] ArchiverError),
    /// The keyring.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The erasures in the keyring.
    #[error(transparent)]
    Job(#[from] JobError),
    /// What people decided cannot be read.
    #[error("what people decided: {0}; the erasure goes on at the next start, or when the next one is asked for")]
    Triage(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A record has no leaf: `verify` names it as well.
    #[error("record {seq} cannot be redacted: {source}")]
    Leaf {
        /// Its place.
        seq: u64,
        /// Why.
        source: ledger::LeafError,
    },
    /// The list of what went.
    #[error(transparent)]
    Tombstone(#[from] TombstoneError),
    /// A file.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A test.
    #[cfg(test)]
    #[error("stopped by a test")]
    Stopped,
}

impl Eraser<'_> {
    /// Ends what was interrupted, then erases a person from the record. The request is recorded.
    pub(crate) fn erase(&mut self, target: Target, wide: bool, request: &str) -> Result<Erased, EraseError> {
        let mut ended = Vec::new();
        for entry in job::list(self.keyring)? {
            let is_same = job::read(self.keyring, &entry.request)?.is_none_or(|job| job.target == target);
            match self.go_on(&entry) {
                Ok(erased) => ended.push(erased),
                Err(error) if is_same => return Err(error),
                // It stays in the list, and stands in nobody's way.
                Err(error) => tracing::error!(request = entry.request, %error, "an interrupted erasure still does not end"),
            }
        }
        job::write(self.keyring, request, &Job { target, wide, begun: None, plan: None })?;
        let entry = Entry { request: request.to_owned(), phase: Phase::Requested };
        self.reached(&entry.request, entry.phase)?;
        let erased = self.go_on(&entry)?;
        Ok(Erased { ended, ..erased })
    }

    /// Ends every erasure that was interrupted.
    pub(crate) fn resume(&mut self) -> Result<Vec<Erased>, EraseError> {
        job::list(self.keyring)?.iter().map(|entry| self.go_on(entry)).collect()
    }

    /// Goes on with an erasure from where it is.
    fn go_on(&mut self, entry: &Entry) -> Result<Erased, EraseError> {
        let (request, mut phase) = (entry.request.as_str(), entry.phase);
        let mut erased = Erased { request: request.to_owned(), ..Erased::default() };
        let Some(mut job) = job::read(self.keyring, request)? else {
            // All but the last step was done.
            job::end(self.keyring, request)?;
            return Ok(erased);
        };
        let mut detector = None;
        if phase <= Phase::Begun {
            let plan = match self.begin(request, &mut job)? {
                Begins::Refused(plan) => {
                    job::end(self.keyring, request)?;
                    describe(&plan, &mut erased);
                    (erased.records, erased.items, erased.kinds) = (0, 0, ItemKinds::default());
                    return Ok(erased);
                }
                Begins::Planned(plan, held) => {
                    detector = Some(held);
                    *plan
                }
            };
            job.plan = Some(plan);
            job::write(self.keyring, request, &job)?;
            phase = Phase::Planned;
            self.reached(request, phase)?;
        }
        let mut plan = job.plan.take().unwrap_or_default();
        if phase <= Phase::Rewritten && detector.is_none() {
            detector = Some(self.hold_detector(Seq(plan.line))?);
            // What it found since then, before it was made to wait again.
            if phase == Phase::Planned && self.add_late(&job, &mut plan)? {
                job.plan = Some(plan);
                job::write(self.keyring, request, &job)?;
                plan = job.plan.take().unwrap_or_default();
            }
        }
        describe(&plan, &mut erased);
        if phase == Phase::Planned {
            self.rewrite(&job.target, &plan, request, &mut erased)?;
            phase = Phase::Rewritten;
            self.reached(request, phase)?;
        }
        if phase == Phase::Rewritten {
            self.pipeline.forget_texts();
            if let Some(earliest) = plan.earliest {
                self.consumers.rebuild_store(earliest, CATCH_UP).map_err(EraseError::Consumer)?;
            }
            self.forget_decisions(&job.target, &plan)?;
            phase = Phase::Rebuilt;
            self.reached(request, phase)?;
        }
        drop(detector);
        if phase == Phase::Rebuilt {
            // Records that stay are still the person's.
            if plan.stays.is_empty() {
                let left = self.pipeline.tags_of(Some(job.target.user()), &plan.sessions, &plan.subjects)?;
                self.pipeline.forget_subjects(&left)?;
            }
            phase = Phase::Forgotten;
            self.reached(request, phase)?;
        }
        if phase == Phase::Forgotten {
            let gone = self.gone(&plan)?;
            erased.items = gone.items().len() as u64;
            erased.kinds = ItemKinds::of(gone.items());
            self.bury(request, &gone)?;
            self.reached(request, Phase::Tombstoned)?;
        }
        job::end(self.keyring, request)?;
        Ok(erased)
    }

    /// The archive of evidence, and that of copies.
    fn archives(&self) -> Vec<&Arc<Cold>> {
        std::iter::once(self.cold).chain(self.forensic).collect()
    }

    fn reached(&self, request: &str, phase: Phase) -> Result<(), EraseError> {
        job::reached(self.keyring, request, phase)?;
        #[cfg(test)]
        if self.stop_behind == Some(phase) {
            return Err(EraseError::Stopped);
        }
        Ok(())
    }

    fn record(&self, events: Vec<Event<String>>) -> Result<(), EraseError> {
        self.pipeline.record_blocking(events, &|| true)?;
        Ok(())
    }

    fn refuse(&self, request: &str, why: &str) -> Result<(), EraseError> {
        self.record(vec![lifecycle_event("erasure.refused", "delete", &format!("{request}: {why}"))])
    }

    /// Asks whether anything stands against it, draws the line, and plans what goes.
    fn begin(&mut self, request: &str, job: &mut Job) -> Result<Begins, EraseError> {
        self.archive_everything()?;
        let (first, named) = self.plan(job, Seq(u64::MAX), false)?;
        let own = first.owned.len() as u64;
        // Where a line is drawn already somebody had looked.
        if !job.wide && job.begun.is_none() && named > own.max(NAMED_MAX) {
            self.refuse(request, "it would take more of others than of the person")?;
            job::end(self.keyring, request)?;
            return Err(EraseError::Wide { others: named, own });
        }
        if is_held(&first) {
            self.tell(&first, request)?;
            return Ok(Begins::Refused(Box::new(first)));
        }
        // Records that stay are still the person's.
        let keys_go = first.stays.is_empty();
        let mut sessions = first.sessions;
        let mut cuts = 0;
        loop {
            cuts += 1;
            let line = self.cut(request, job, sessions, keys_go)?;
            self.reached(request, Phase::Begun)?;
            let detector = self.hold_detector(line)?;
            self.archive_to(line)?;
            // What the detector found in it lies behind it.
            self.archive_all()?;
            let (plan, _) = self.plan(job, line, true)?;
            let left = match keys_go {
                true => self.pipeline.tags_of(None, &plan.sessions, &plan.subjects)?,
                false => Vec::new(),
            };
            if left.is_empty() || cuts == CUTS_MAX {
                self.tell(&plan, request)?;
                let plan = Box::new(plan);
                return Ok(if is_held(&plan) { Begins::Refused(plan) } else { Begins::Planned(plan, detector) });
            }
            sessions = plan.sessions;
        }
    }

    /// Draws the line: destroys the person's keys, once it is noted whose they are. Gives the first record behind it.
    fn cut(&self, request: &str, job: &mut Job, sessions: BTreeSet<String>, keys_go: bool) -> Result<Seq, EraseError> {
        let user = job.target.user().to_owned();
        let doomed = || {
            let mut begun = job.begun.take().unwrap_or_default();
            begun.subjects.extend(self.pipeline.subjects_of(Some(&user), &sessions)?);
            begun.sessions.extend(sessions);
            let Begun { subjects, sessions } = job.begun.insert(begun);
            let tags = match keys_go {
                true => self.pipeline.tags_of(Some(&user), sessions, subjects)?,
                false => Vec::new(),
            };
            job::write(self.keyring, request, job)?;
            Ok::<_, EraseError>(tags)
        };
        let mark = lifecycle_event("erasure.begun", "delete", request);
        self.pipeline.cut(doomed, mark, || Ok(self.archiver.journal.rotate().map_err(ArchiverError::from)?))
    }

    /// Has the detector see what is before a place, and wait.
    fn hold_detector(&self, at: Seq) -> Result<DetectorHeld, EraseError> {
        self.consumers.hold_detector(at, CATCH_UP).ok_or(EraseError::Behind)
    }

    /// Moves the records before a place, with which a file of the journal begins, to the archive.
    fn archive_to(&mut self, end: Seq) -> Result<(), EraseError> {
        if !self.consumers.keep_to(end, CATCH_UP) {
            return Err(EraseError::Behind);
        }
        self.archiver.archive(end, Timestamp::now())?;
        if self.cold.end() < end { Err(EraseError::Behind) } else { Ok(()) }
    }

    /// Moves every record to the archive, whether the detector waits or not.
    fn archive_all(&mut self) -> Result<(), EraseError> {
        let end = self.archiver.journal.rotate().map_err(ArchiverError::from)?;
        self.archive_to(end)
    }

    /// Moves every record to the archive, once the detector has seen it.
    fn archive_everything(&mut self) -> Result<(), EraseError> {
        let end = self.archiver.journal.rotate().map_err(ArchiverError::from)?;
        if !self.consumers.flush_to(end, CATCH_UP) {
            return Err(EraseError::Behind);
        }
        self.archive_to(end)
    }

    /// What goes of the records before a line, and of how many records of others a name takes a field.
    fn plan(&self, job: &Job, line: Seq, is_drawn: bool) -> Result<(Plan, u64), EraseError> {
        self.with_planner(job, line, is_drawn, |planner| planner.plan())
    }

    /// Adds to a plan what was recorded since it was made. Whether there was any.
    fn add_late(&mut self, job: &Job, plan: &mut Plan) -> Result<bool, EraseError> {
        self.archive_all()?;
        self.with_planner(job, Seq(plan.line), true, |planner| planner.add_late(plan))
    }

    fn with_planner<T>(&self, job: &Job, line: Seq, is_drawn: bool, then: impl FnOnce(&Planner<'_>) -> T) -> T {
        let protection = Protection { holds: self.holds.list(), policy: self.policy, now: Timestamp::now() };
        then(&Planner {
            archives: self.archives(),
            protection: &protection,
            pipeline: self.pipeline,
            target: &job.target,
            line: line.0,
            begun: job.begun.as_ref(),
            is_drawn,
        })
    }

    /// Says what stays.
    fn tell(&self, plan: &Plan, request: &str) -> Result<(), EraseError> {
        for Stay { keeper, records, texts } in &plan.stays {
            let why = format!("{records} records and {texts} texts stay, {} {}", keeper.ground.as_str(), keeper.by);
            self.refuse(request, &why)?;
        }
        Ok(())
    }

    /// Writes every segment anew that holds something of the plan. What a hold covers by now stays as it is.
    fn rewrite(&self, target: &Target, plan: &Plan, request: &str, erased: &mut Erased) -> Result<(), EraseError> {
        let target = target.clone().with_sessions(&plan.sessions);
        let content = |id: &_, _| {
            if plan.kept.contains(id) { Cut::Nothing } else { Cut::all_if(plan.texts.contains(id)) }
        };
        let knife = Knife::new(&target, &content);
        let listed = plan.listed();
        let touched =
            |segment: &archive::Segment| plan.segments.contains(&(segment.first, segment.end, segment.class.as_str().to_owned()));
        let segments =
            self.archives().into_iter().flat_map(|cold| cold.segments().into_iter().map(move |segment| (cold, segment)));
        for (cold, segment) in segments.filter(|(_, segment)| touched(segment)) {
            let rewritten = cold.change(|archive| {
                let change = |kept: Kept<'_>| match kept {
                    // Texts behind the line are somebody new's; only copies of records lie on both sides of it in one segment.
                    Kept::Content(content) if segment.end > plan.line && !listed.contains(&content.id()) => Ok(false),
                    Kept::Content(content) => Ok(knife.cut_content(content)),
                    Kept::Record(stored) if plan.touched.contains(&stored.seq.0) => {
                        Ok(!knife.cut(stored, plan.owned.contains(&stored.seq.0))?.is_empty())
                    }
                    Kept::Record(_) => Ok(false),
                };
                archive.rewrite(&segment.span(), request, Timestamp::now(), change).map_err(ColdError::from)
            })?;
            if let Some(rewritten) = rewritten {
                erased.segments += 1;
                erased.locked += rewritten.locked.len() as u64;
            }
        }
        Ok(())
    }

    /// Takes the person out of what people decided.
    fn forget_decisions(&self, target: &Target, plan: &Plan) -> Result<(), EraseError> {
        let target = target.clone().with_sessions(&plan.sessions);
        let sanitizer = self.pipeline.sanitizer();
        let failed = |error: TriageError| EraseError::Triage(error.into());
        // People who sign in, and holders of keys, stand there by the names that they have elsewhere.
        let names = |target: &Target, text: &str| {
            target.is_named_in(text)
                || sanitizer.name(text).as_str() == target.user()
                || target.is_named_in(sanitizer.text(text).text.as_str())
        };
        let is_named = |text: &str| names(&target, text);
        let also: Vec<String> = self.triage.called(&is_named).map_err(failed)?.into_iter().collect();
        let also = also.split_first().map(|(first, rest)| Target::new(sanitizer, first, rest));
        let is_named = |text: &str| is_named(text) || also.as_ref().is_some_and(|target| names(target, text));
        let went = self.triage.erase(&is_named, &plan.ids).map_err(failed)?;
        if went > 0 {
            tracing::info!(went, "what people decided is erased");
        }
        Ok(())
    }

    /// What of the plan is gone, as the archive shows it now.
    fn gone(&self, plan: &Plan) -> Result<ErasedItems, EraseError> {
        let mut wanted: BTreeMap<u64, Vec<&ErasedItem>> = BTreeMap::new();
        for item in &plan.items {
            wanted.entry(item.leaf).or_default().push(item);
        }
        let mut gone = Vec::new();
        for cold in self.archives() {
            for segment in cold.segments() {
                if wanted.range(segment.first..segment.end).next().is_none() {
                    continue;
                }
                for stored in cold.segment(&segment.span())? {
                    let items = wanted.remove(&stored.seq.0).unwrap_or_default();
                    gone.extend(items.into_iter().filter(|item| item.is_gone_from(&stored)).cloned());
                }
            }
        }
        // The rest was dropped meanwhile: that is told by the manifest. Texts may lie elsewhere, too.
        let texts = wanted.into_values().flatten().filter(|item| item.path.starts_with("content/"));
        gone.extend(texts.cloned());
        Ok(ErasedItems::new(gone))
    }

    /// Writes the list and records its tombstone.
    fn bury(&self, request: &str, gone: &ErasedItems) -> Result<(), EraseError> {
        if gone.items().is_empty() {
            return self.record(vec![lifecycle_event("erasure.nothing", "delete", request)]);
        }
        let tombstone = gone.tombstone(request)?;
        let dir = self.data.join(ARCHIVE_DIR).join(TOMBSTONES_DIR);
        fs::create_dir_all(&dir).map_err(at(&dir))?;
        let pending = dir.join(format!("{request}{PENDING_SUFFIX}"));
        files::write_atomic_with(&pending, 0o600, |file| gone.write(file)).map_err(at(&pending))?;
        let mut event = crate::node::internal(event::Kind::Admin, ledger::TOMBSTONE_EVENT);
        for (key, value) in tombstone.attributes() {
            event.attributes.insert(key, value.map(&mut |text: Clean| text.as_str().to_owned(), &|key: String, _| key));
        }
        self.record(vec![event])?;
        let path = dir.join(format!("{request}{LIST_SUFFIX}"));
        files::rename(&pending, &path).map_err(at(&path))
    }
}

/// Whether an erasure is carried out.
enum Begins {
    /// Nothing is.
    Refused(Box<Plan>),
    /// This goes, while the detector waits.
    Planned(Box<Plan>, DetectorHeld),
}

/// Whether a hold stands against it: nothing is carried out then.
fn is_held(plan: &Plan) -> bool {
    plan.stays.iter().any(|stay| stay.keeper.ground == Ground::LegalHold)
}

/// What the plan says of what becomes of the request.
fn describe(plan: &Plan, erased: &mut Erased) {
    erased.found = plan.found;
    erased.records = plan.touched.len() as u64;
    erased.items = plan.items.len() as u64;
    erased.kinds = ItemKinds::of(&plan.items);
    erased.stays.clone_from(&plan.stays);
    for stay in &plan.stays {
        *erased.refused.entry(stay.keeper.ground).or_default() += stay.records;
    }
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> EraseError + '_ {
    move |source| EraseError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
#[path = "erase_tests.rs"]
mod tests;
