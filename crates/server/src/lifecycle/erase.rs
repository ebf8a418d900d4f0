//! Erasure: a person's data goes from every file, what it was proved by stays, and a tombstone says what went.
//!
//! Order, so that an erasure that is interrupted anywhere can be asked for again and ends:
//! 1. the request is recorded; holds and retention classes are asked;
//! 2. a line is drawn through the record (`erasure.begun`): the person's name and keys go from the keyring, so that whoever comes by that
//!    name behind it is somebody new;
//! 3. the detector sees what was before the line, and waits; everything is archived and retired, so that no record lies in two places;
//! 4. the list of what will go is written beside the archive (`<request>.pending`): what is of the person before the line, and behind
//!    it the detections that rest on that;
//! 5. each segment that holds something of it is written anew under a new key, and its old key is destroyed;
//! 6. the days of the store that hold something of it are built anew from the archive, and the detector begins anew;
//! 7. the tombstone is recorded, and the list gets its name.
//!
//! A list that is still pending when an erasure is asked for is that of one that was interrupted: what it names is gone or goes
//! now, so the new list takes it in.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use archive::{ArchiveError, Kept, Span};
use capture::RecordError;
use event::{ContentId, Event, EventId, Kind, RecordedEvent, Role, SubjectId, Timestamp, Value, attr};
use journal::Seq;
use keys::KeysError;
use ledger::{ErasedItem, ErasedItems, ErasedTokens, Redaction, StoredRecord, TombstoneError};
use sanitize::Clean;
use serde::Serialize;

use super::archiver::{Archiver, ArchiverError};
use super::cold::{ARCHIVE_DIR, Cold, ColdError, lifecycle_event};
use super::hold::Holds;
use super::retention::Policy;
use super::target::{Sessions, Target};
use crate::consumers::{Consumers, DetectorHeld};
use crate::pipeline::Pipeline;

/// Directory of the lists of what was erased, below the archive's.
pub(crate) const TOMBSTONES_DIR: &str = "tombstones";

/// Characters of a content's id in the path of an item.
const CONTENT_ID_CHARS: usize = 64;

/// How often a line is drawn when more keys turn out to be the person's: those of sessions in which nobody else takes part, and which
/// have events without a user. Each time everything is planned anew.
const CUTS_MAX: usize = 3;

pub(crate) const PENDING_SUFFIX: &str = ".pending";
pub(crate) const LIST_SUFFIX: &str = ".jsonl";

/// How long the consumers may take to see everything that was recorded before an erasure begins.
const CATCH_UP: Duration = Duration::from_secs(600);

const NANOSECONDS: u64 = 1_000_000_000;

/// What is needed to erase.
pub(crate) struct Eraser<'n> {
    pub(crate) data: &'n Path,
    pub(crate) cold: &'n Arc<Cold>,
    /// The forensic archive, where there is one: its copies are erased like what they are copies of.
    pub(crate) forensic: Option<&'n Arc<Cold>>,
    pub(crate) archiver: &'n mut Archiver,
    pub(crate) policy: &'n Policy,
    pub(crate) holds: &'n Holds,
    pub(crate) pipeline: &'n Pipeline,
    pub(crate) consumers: &'n Consumers,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Erased {
    /// The request's id, by which its events and its list are found.
    pub request: String,
    /// Records of which something went.
    pub records: u64,
    /// Things that went: events, fields, texts, tokens in texts of others.
    pub items: u64,
    /// Segments of the archive that were written anew.
    pub segments: u64,
    /// Objects that a lock keeps; their keys are destroyed, so nothing opens them.
    pub locked: u64,
    /// Records of the person that must stay for now, by ground.
    pub refused: BTreeMap<Ground, u64>,
}

/// Why a record stays although its erasure was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ground {
    /// A hold covers it (GDPR article 17(3)(e)). Nothing of the request is carried out.
    LegalHold,
    /// A law asks for it until its class's minimum has passed (GDPR article 17(3)(b)). The rest of the request is carried out.
    LegalDuty,
}

/// Why an erasure did not come to its end. Asking for it again goes on.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// The id says nobody.
    #[error("subject: an id of 1 to 1,024 bytes is needed, as the application sends it in user.id")]
    Subject,
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
}

/// What an erasure will do, as found in the archive.
#[derive(Default)]
struct Plan {
    /// What goes.
    items: Vec<ErasedItem>,
    /// The records that lose something, by span.
    touched: BTreeMap<(u64, u64), HashSet<u64>>,
    /// The persons' own records among them.
    owned: HashSet<u64>,
    /// Whose contents go.
    subjects: HashSet<SubjectId>,
    /// Sessions in which nobody but the person takes part.
    sessions: HashSet<String>,
    refused: BTreeMap<Ground, u64>,
    /// When the earliest touched record was received.
    earliest: Option<Timestamp>,
}

impl Eraser<'_> {
    /// Erases a person from the record.
    pub(crate) fn erase(&mut self, target: &Target, request: &str) -> Result<Erased, EraseError> {
        let mut keys_go = true;
        if self.may_refuse()? {
            // Where it is refused nothing is carried out, so this comes before the line.
            let plan = self.plan(target, Seq(u64::MAX))?;
            if plan.refused.contains_key(&Ground::LegalHold) {
                return self.refuse(&plan, request);
            }
            keys_go = plan.refused.is_empty();
        }
        let Cut { at: line, plan, detector, left } = self.cut(target, keys_go, request)?;
        if plan.refused.contains_key(&Ground::LegalHold) {
            return self.refuse(&plan, request);
        }
        self.tell_refused(&plan, request)?;
        let mut erased =
            Erased { request: request.to_owned(), records: 0, items: 0, segments: 0, locked: 0, refused: plan.refused.clone() };
        let dir = self.data.join(ARCHIVE_DIR).join(TOMBSTONES_DIR);
        fs::create_dir_all(&dir).map_err(at(&dir))?;
        let interrupted = pending(&dir)?;
        let mut items = plan.items.clone();
        for path in &interrupted {
            items.extend(read_list(path)?.items().iter().cloned());
        }
        let list = ErasedItems::new(items);
        erased.records = plan.touched.values().flatten().collect::<HashSet<_>>().len() as u64;
        erased.items = list.items().len() as u64;
        let pending_path = dir.join(format!("{request}{PENDING_SUFFIX}"));
        if !list.items().is_empty() {
            write_list(&pending_path, &list)?;
        }
        for path in interrupted.iter().filter(|path| **path != pending_path) {
            fs::remove_file(path).map_err(at(path))?;
        }
        self.rewrite(target, &plan, line, request, &mut erased)?;
        if plan.earliest.is_some() || !interrupted.is_empty() {
            self.pipeline.forget_texts();
            self.consumers.rebuild_store(plan.earliest.unwrap_or_default(), CATCH_UP).map_err(EraseError::Consumer)?;
        }
        drop(detector);
        if !left.is_empty() {
            self.pipeline.forget_subjects(&left)?;
        }
        if list.items().is_empty() {
            self.record(vec![lifecycle_event("erasure.nothing", "delete", request)])?;
        } else {
            let mut tombstone = crate::node::internal(event::Kind::Admin, ledger::TOMBSTONE_EVENT);
            for (key, value) in list.tombstone(request)?.attributes() {
                tombstone.attributes.insert(key, value.map(&mut |text: Clean| text.as_str().to_owned(), &|key: String, _| key));
            }
            self.record(vec![tombstone])?;
            let path = dir.join(format!("{request}{LIST_SUFFIX}"));
            fs::rename(&pending_path, &path).and_then(|()| File::open(&dir)?.sync_all()).map_err(at(&path))?;
        }
        Ok(erased)
    }

    /// Nothing is carried out.
    fn refuse(&self, plan: &Plan, request: &str) -> Result<Erased, EraseError> {
        self.tell_refused(plan, request)?;
        let refused = plan.refused.clone();
        Ok(Erased { request: request.to_owned(), records: 0, items: 0, segments: 0, locked: 0, refused })
    }

    fn tell_refused(&self, plan: &Plan, request: &str) -> Result<(), EraseError> {
        for (ground, records) in &plan.refused {
            let object = format!("{request}: {records} records stay, {}", ground.as_str());
            self.record(vec![lifecycle_event("erasure.refused", "delete", &object)])?;
        }
        Ok(())
    }

    /// Whether a hold or a class could refuse anything. Everything is archived then, so that it can be planned.
    fn may_refuse(&mut self) -> Result<bool, EraseError> {
        self.archive_everything()?;
        if !self.holds.list().is_empty() {
            return Ok(true);
        }
        let archive = self.cold.lock();
        let asks = |segment: &archive::Segment| {
            self.policy.class(segment.class.as_str()).is_some_and(|class| !class.may_erase(u64::MAX, 0))
        };
        Ok(archive.view().manifest().segments().any(asks))
    }

    /// Draws the line: destroys the person's keys, brings all that was before it to the archive, and plans what goes of it.
    fn cut(&mut self, target: &Target, keys_go: bool, request: &str) -> Result<Cut, EraseError> {
        let mut tags: Vec<[u8; 32]> = if keys_go { vec![self.pipeline.user_tag(target.user())] } else { Vec::new() };
        let mut cuts = 0;
        loop {
            cuts += 1;
            let journal = self.archiver.journal.clone();
            let mark = lifecycle_event("erasure.begun", "delete", request);
            let begin = || journal.rotate().map_err(|error| EraseError::from(ArchiverError::from(error)));
            let at = self.pipeline.cut(&tags, mark, begin)?;
            let detector = self.consumers.hold_detector(at, CATCH_UP).ok_or(EraseError::Behind)?;
            self.archive_to(at)?;
            // What the detector found in it lies behind it.
            let end = journal.rotate().map_err(ArchiverError::from)?;
            self.archive_to(end)?;
            let plan = self.plan(target, at)?;
            let mut left = match plan.refused.is_empty() {
                true => self.pipeline.session_tags(&plan.sessions, &plan.subjects)?,
                false => Vec::new(),
            };
            left.retain(|tag| !tags.contains(tag));
            if left.is_empty() || cuts == CUTS_MAX {
                return Ok(Cut { at, plan, detector, left });
            }
            tags.extend(left);
        }
    }

    /// Moves the records before a place, with which a file of the journal begins, to the archive.
    fn archive_to(&mut self, end: Seq) -> Result<(), EraseError> {
        if !self.consumers.keep_to(end, CATCH_UP) {
            return Err(EraseError::Behind);
        }
        self.archiver.archive(end, Timestamp::now())?;
        if self.cold.end() < end { Err(EraseError::Behind) } else { Ok(()) }
    }

    fn record(&self, events: Vec<Event<String>>) -> Result<(), EraseError> {
        self.pipeline.record_blocking(events, &|| true)?;
        Ok(())
    }

    /// Moves every record to the archive.
    fn archive_everything(&mut self) -> Result<(), EraseError> {
        let end = self.archiver.journal.rotate().map_err(ArchiverError::from)?;
        if !self.consumers.flush_to(end, CATCH_UP) {
            return Err(EraseError::Behind);
        }
        self.archive_to(end)
    }

    /// Every span of the archive of evidence with the records of all its classes, in order, and then every segment of copies.
    fn each_span(&self, mut look: impl FnMut(Seq, Seq, Vec<StoredRecord>) -> Result<(), EraseError>) -> Result<(), EraseError> {
        let end = self.cold.end();
        let mut at = Seq(0);
        while at < end {
            let Some((records, next)) = self.cold.span(at)? else { break };
            look(at, next, records)?;
            at = next;
        }
        // Copies can outlive what they are copies of.
        if let Some(cold) = self.forensic {
            let spans: Vec<Span> = cold.lock().view().manifest().segments().map(archive::Segment::span).collect();
            for span in spans {
                look(Seq(span.first), Seq(span.end), cold.segment(&span)?)?;
            }
        }
        Ok(())
    }

    /// What goes of the records before the line at `cut`, and which detections behind it rest on them.
    fn plan(&self, target: &Target, cut: Seq) -> Result<Plan, EraseError> {
        // Who takes part in which session must be known before an event without a user can be given to anybody.
        let mut sessions = Sessions::default();
        self.each_span(|_, _, records| {
            let before = records.iter().filter(|stored| stored.seq < cut);
            before.filter_map(event_of).for_each(|event| sessions.learn(&event));
            Ok(())
        })?;
        let mut erased_ids: HashSet<EventId> = HashSet::new();
        let mut plan = Plan::default();
        let mut others: HashSet<SubjectId> = HashSet::new();
        // What a hold covers stays as it is, whoever it is of, with the texts to which it refers.
        let (mut held, mut held_texts) = (HashSet::new(), HashSet::new());
        // By record: copies of one count once.
        let mut refused = BTreeSet::new();
        let holds = self.holds.list();
        let now_s = Timestamp::now().unix_ns() / NANOSECONDS;
        let classes = self.classes();
        self.each_span(|_, _, records| {
            for stored in &records {
                let Some(event) = event_of(stored) else { continue };
                let is_held = holds.iter().any(|hold| hold.scope.covers(&event));
                if is_held {
                    held.insert(stored.seq.0);
                    held_texts.extend(event.pieces.iter().map(|piece| format!("content/{}", piece.content.id)));
                }
                let owned = match stored.seq < cut {
                    true => target.owns(&event, &sessions),
                    false => rests_on(&event, &erased_ids),
                };
                let brought =
                    event.pieces.iter().filter(|piece| piece.meta.role != Role::System).map(|piece| piece.content.subject);
                if !owned {
                    others.extend(brought);
                    continue;
                }
                if is_held {
                    refused.insert((Ground::LegalHold, stored.seq.0));
                } else if !classes
                    .get(self.policy.class_of(&event))
                    .is_none_or(|class| class.may_erase(event.observed.unix_ns() / NANOSECONDS, now_s))
                {
                    refused.insert((Ground::LegalDuty, stored.seq.0));
                    others.extend(brought);
                } else {
                    plan.owned.insert(stored.seq.0);
                    erased_ids.insert(event.id);
                    plan.subjects.extend(brought);
                    if sessions.is_of(&event, target) {
                        plan.sessions.extend(event.session.iter().map(|session| session.as_str().to_owned()));
                    }
                }
            }
            Ok(())
        })?;
        // A text that somebody else's record rests on stays with that.
        plan.subjects.retain(|subject| !others.contains(subject));
        if refused.iter().any(|(ground, _)| *ground == Ground::LegalHold) {
            return Ok(plan.refusing(&refused));
        }
        let (tokens, owned, subjects) =
            (erased_tokens(target), std::mem::take(&mut plan.owned), std::mem::take(&mut plan.subjects));
        let refused_duty = refused.iter().any(|(ground, _)| *ground == Ground::LegalDuty);
        let named_too = target.clone().with_sessions(&plan.sessions);
        let named = |_: &str, value: &[u8]| names(&named_too, value);
        let goes = |subject: SubjectId| subjects.contains(&subject);
        self.each_span(|first, end, records| {
            for mut stored in records {
                if stored.seq >= cut && !owned.contains(&stored.seq.0) {
                    continue;
                }
                let is_kept = refused_duty
                    && !owned.contains(&stored.seq.0)
                    && event_of(&stored).is_some_and(|event| target.owns(&event, &sessions));
                if is_kept {
                    continue;
                }
                let what = redaction(owned.contains(&stored.seq.0), &named, &goes, &tokens);
                let gone = stored.redact(&what).map_err(|source| EraseError::Leaf { seq: stored.seq.0, source })?;
                if gone.is_empty() {
                    continue;
                }
                let is_of_held = |path: &String| held_texts.iter().any(|text| path.starts_with(text.as_str()));
                if held.contains(&stored.seq.0) || !held_texts.is_empty() && gone.iter().any(is_of_held) {
                    refused.insert((Ground::LegalHold, stored.seq.0));
                    continue;
                }
                plan.touched.entry((first.0, end.0)).or_default().insert(stored.seq.0);
                let observed = observed_of(&stored);
                plan.earliest = Some(plan.earliest.map_or(observed, |earliest| earliest.min(observed)));
                plan.items.extend(gone.into_iter().map(|path| ErasedItem { leaf: stored.seq.0, path }));
            }
            Ok(())
        })?;
        (plan.owned, plan.subjects) = (owned, subjects);
        Ok(plan.refusing(&refused))
    }

    fn classes(&self) -> BTreeMap<&str, &super::retention::Class> {
        self.policy.classes().map(|class| (class.name.as_str(), class)).collect()
    }

    /// Writes every segment anew that holds something of the plan.
    fn rewrite(&self, target: &Target, plan: &Plan, cut: Seq, request: &str, erased: &mut Erased) -> Result<(), EraseError> {
        let tokens = erased_tokens(target);
        let target = target.clone().with_sessions(&plan.sessions);
        let named = |_: &str, value: &[u8]| names(&target, value);
        let goes = |subject: SubjectId| plan.subjects.contains(&subject);
        let texts =
            plan.items.iter().filter_map(|item| item.path.strip_prefix("content/")?.get(..CONTENT_ID_CHARS)?.parse().ok());
        let listed: HashSet<ContentId> = texts.collect();
        let touched = |span: &Span| plan.touched.keys().any(|(first, end)| *first == span.first && *end == span.end);
        let mut spans: Vec<(&Arc<Cold>, Span)> = Vec::new();
        for cold in std::iter::once(self.cold).chain(self.forensic) {
            let archive = cold.lock();
            let segments = archive.view().manifest().segments().map(archive::Segment::span);
            spans.extend(segments.filter(touched).map(|span| (cold, span)));
        }
        for (cold, span) in spans {
            let touched = plan.touched.get(&(span.first, span.end));
            let rewritten = cold.change(|archive| {
                let change = |kept: Kept<'_>| match kept {
                    // Texts behind the line are somebody new's; only copies of records lie on both sides of it in one segment.
                    Kept::Content(content) if span.end > cut.0 && !listed.contains(&content.id()) => Ok(false),
                    Kept::Content(content) => {
                        let mut gone = Vec::new();
                        content.redact(&redaction(false, &named, &goes, &tokens), &mut gone);
                        Ok(!gone.is_empty())
                    }
                    Kept::Record(stored) if touched.is_some_and(|touched| touched.contains(&stored.seq.0)) => {
                        let owned = plan.owned.contains(&stored.seq.0);
                        Ok(!stored.redact(&redaction(owned, &named, &goes, &tokens))?.is_empty())
                    }
                    Kept::Record(_) => Ok(false),
                };
                archive.rewrite(&span, request, Timestamp::now(), change).map_err(ColdError::from)
            })?;
            if let Some(rewritten) = rewritten {
                erased.segments += 1;
                erased.locked += rewritten.locked.len() as u64;
            }
        }
        Ok(())
    }
}

impl Plan {
    /// With the records that stay, counted by ground.
    fn refusing(mut self, refused: &BTreeSet<(Ground, u64)>) -> Self {
        for (ground, _) in refused {
            *self.refused.entry(*ground).or_default() += 1;
        }
        self
    }
}

/// A line through the record, and what goes of what is before it.
struct Cut {
    /// The first record behind it.
    at: Seq,
    plan: Plan,
    detector: DetectorHeld,
    /// Keys that are still to be destroyed.
    left: Vec<[u8; 32]>,
}

/// Whether it is a detection on one of these events.
fn rests_on(event: &RecordedEvent<Clean>, ids: &HashSet<EventId>) -> bool {
    if event.kind != Kind::Detection || event.source.path != event::SourcePath::Internal {
        return false;
    }
    let Some(Value::List(events)) = event.attributes.get(&attr::DETECTION_EVENTS) else { return false };
    events.iter().any(|id| matches!(id, Value::Text(id) if id.as_str().parse().is_ok_and(|id| ids.contains(&id))))
}

impl Ground {
    /// As in events and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LegalHold => "legal_hold",
            Self::LegalDuty => "legal_duty",
        }
    }
}

/// What goes out of a record.
fn redaction<'a>(
    owned: bool,
    named: &'a dyn Fn(&str, &[u8]) -> bool,
    goes: &'a dyn Fn(SubjectId) -> bool,
    tokens: &'a ErasedTokens,
) -> Redaction<'a> {
    Redaction { event: owned, field: named, subject: goes, tokens }
}

fn names(target: &Target, value: &[u8]) -> bool {
    std::str::from_utf8(value).is_ok_and(|value| target.is_named_in(value))
}

fn erased_tokens(target: &Target) -> ErasedTokens {
    target.tokens().collect()
}

fn event_of(stored: &StoredRecord) -> Option<event::RecordedEvent<Clean>> {
    stored.for_reading().and_then(|record| record.event().ok())
}

fn observed_of(stored: &StoredRecord) -> Timestamp {
    match &stored.body {
        ledger::StoredBody::Redacted(record) => record.observed,
        ledger::StoredBody::Whole(record) => record.event().map(|event| event.observed).unwrap_or_default(),
    }
}

/// Lists of erasures that were interrupted.
fn pending(dir: &Path) -> Result<Vec<PathBuf>, EraseError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(at(dir))? {
        let path = entry.map_err(at(dir))?.path();
        if path.to_string_lossy().ends_with(PENDING_SUFFIX) {
            found.push(path);
        }
    }
    Ok(found)
}

fn read_list(path: &Path) -> Result<ErasedItems, EraseError> {
    Ok(ErasedItems::read(&mut BufReader::new(File::open(path).map_err(at(path))?))?)
}

fn write_list(path: &Path, list: &ErasedItems) -> Result<(), EraseError> {
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut file = BufWriter::new(File::create(&temporary)?);
        list.write(&mut file)?;
        file.flush()?;
        file.get_ref().sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> EraseError + '_ {
    move |source| EraseError::Io { path: path.to_owned(), source }
}
