//! The way of an event: sanitise, inspect, commit, journal. What [`Pipeline::record`] answers is on disk.

use std::collections::{BTreeSet, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use capture::{Raw, RawEvent, Receipt, RecordError, Recorder};
use event::{Channel, Direction, Event, Inspection, Part, PieceMeta, RecordedEvent, Role, SubjectId, Value, Verdict, attr};
use inspect::{Inspector, Sensitive};
use journal::{Append, AppendError, Appended, ContentEntry, Journal};
use keys::{Keyring, KeysError, Subject};
use sanitize::{Clean, Counts, Sanitizer, Sealed, SensitiveType};
use tokio::sync::{RwLock, RwLockReadGuard, Semaphore};

use crate::cache::{Cache, CacheKey, Processed};
use crate::geoip::Places;
use crate::recovery::OfText;
use crate::room;
use crate::second_opinion::{OpinionCounts, SecondOpinion};
use crate::subjects::SubjectNamer;

/// Bytes of raw events that may be under way at once. Beyond it callers are told to come back: memory stays bounded.
const IN_FLIGHT_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Work on more text than this leaves the network's threads: 64 KiB take about a millisecond.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// When a caller that was turned away should come back.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How soon the program tries again to record an event of its own.
const OWN_RETRY: Duration = Duration::from_millis(20);

/// Sanitises, inspects and records events.
pub struct Pipeline {
    sanitizer: Sanitizer,
    /// The rules in force; they are exchanged while texts come in.
    inspector: std::sync::RwLock<Arc<Inspector>>,
    places: Places,
    keyring: Arc<Keyring>,
    subject_namer: SubjectNamer,
    cache: Cache,
    journal: Journal,
    in_flight: Semaphore,
    /// Events pass it from the moment their subjects are looked up until the journal has them; a cut waits for all of these.
    gate: RwLock<()>,
    counters: Counters,
    second_opinion: OnceLock<Arc<SecondOpinion>>,
}

#[derive(Default)]
struct Counters {
    recorded: AtomicU64,
    duplicates: AtomicU64,
    turned_away: AtomicU64,
}

/// What went through since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Throughput {
    /// Events that were recorded.
    pub recorded: u64,
    /// Events that were known already: exports that were retried.
    pub duplicates: u64,
    /// Events whose callers were told to come back, because too much was under way.
    pub turned_away: u64,
    /// What became of questions for second opinions, where somebody is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_opinions: Option<OpinionCounts>,
}

impl Pipeline {
    pub(crate) fn new(
        sanitizer: Sanitizer,
        inspector: Inspector,
        places: Places,
        keyring: Arc<Keyring>,
        journal: Journal,
    ) -> Result<Self, KeysError> {
        Ok(Self {
            sanitizer,
            inspector: std::sync::RwLock::new(Arc::new(inspector)),
            places,
            subject_namer: SubjectNamer::open(&keyring)?,
            keyring,
            cache: Cache::new(),
            journal,
            in_flight: Semaphore::new(IN_FLIGHT_BYTES_MAX),
            gate: RwLock::new(()),
            counters: Counters::default(),
            second_opinion: OnceLock::new(),
        })
    }

    /// What went through since the start.
    #[must_use]
    pub fn throughput(&self) -> Throughput {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Throughput {
            recorded: of(&self.counters.recorded),
            duplicates: of(&self.counters.duplicates),
            turned_away: of(&self.counters.turned_away),
            second_opinions: self.second_opinion().map(SecondOpinion::counts),
        }
    }

    /// Has somebody else asked about texts from now on. Only the first call counts.
    pub(crate) fn ask_for_opinions(&self, opinions: Arc<SecondOpinion>) {
        drop(self.second_opinion.set(opinions));
    }

    /// Who asks somebody else about texts.
    pub(crate) fn second_opinion(&self) -> Option<&SecondOpinion> {
        self.second_opinion.get().map(Arc::as_ref)
    }

    /// The sanitiser.
    pub(crate) fn sanitizer(&self) -> &Sanitizer {
        &self.sanitizer
    }

    /// Forgets every text that is known by heart: a commitment under a key that is gone must not be used again.
    pub(crate) fn forget_texts(&self) {
        self.cache.clear();
    }

    /// What stands for a name in a record where the name itself must not: half of its keyed hash, in the form of a UUID, which the
    /// sanitiser does not take for a secret; where it takes it for anything, as that is recorded.
    pub(crate) fn pseudonym(&self, kind: &str, name: &str) -> String {
        let digits = event::hex::encode(&self.subject_namer.tag(kind, name)[..16]);
        let mut text = String::with_capacity(digits.len() + 4);
        for (at, digit) in digits.chars().enumerate() {
            if matches!(at, 8 | 12 | 16 | 20) {
                text.push('-');
            }
            text.push(digit);
        }
        self.sanitizer.name(&text).as_str().to_owned()
    }

    /// The subjects of a user and of sessions, as far as there are any.
    pub(crate) fn subjects_of(&self, user: Option<&str>, sessions: &BTreeSet<String>) -> Result<HashSet<SubjectId>, KeysError> {
        Ok(self.known(user, sessions)?.into_iter().map(|(_, subject)| subject).collect())
    }

    /// What stands in the keyring for a user and sessions whose subject is one of these: not for somebody new.
    pub(crate) fn tags_of(
        &self,
        user: Option<&str>,
        sessions: &BTreeSet<String>,
        of: &HashSet<SubjectId>,
    ) -> Result<Vec<[u8; 32]>, KeysError> {
        let known = self.known(user, sessions)?.into_iter();
        Ok(known.filter(|(_, subject)| of.contains(subject)).map(|(tag, _)| tag).collect())
    }

    /// What the keyring has of a user and of sessions.
    fn known(&self, user: Option<&str>, sessions: &BTreeSet<String>) -> Result<Vec<([u8; 32], SubjectId)>, KeysError> {
        let user = user.map(|user| self.subject_namer.tag("user", user));
        let tags = user.into_iter().chain(sessions.iter().map(|session| self.subject_namer.tag("session", session)));
        let find = |tag: [u8; 32]| Ok(self.keyring.find_subject(&tag)?.map(|subject| (tag, subject)));
        tags.filter_map(|tag| find(tag).transpose()).collect()
    }

    /// Destroys the keys of subjects. Whoever comes by their names is somebody new.
    pub(crate) fn forget_subjects(&self, tags: &[[u8; 32]]) -> Result<(), KeysError> {
        if !tags.is_empty() {
            self.keyring.destroy_subjects(tags)?;
        }
        self.forget_texts();
        Ok(())
    }

    /// Draws a line through the record, at which the keys of the subjects that `doomed` gives are destroyed: all that was committed
    /// to under them is on disk before `mark`, and all that comes behind what `then` does is somebody new's. Nothing is recorded
    /// meanwhile, and no subject is made; callers wait. Neither may record. Not from within an asynchronous task.
    pub(crate) fn cut<T, E>(
        &self,
        doomed: impl FnOnce() -> Result<Vec<[u8; 32]>, E>,
        mark: Event<String>,
        then: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E>
    where
        E: From<KeysError> + From<RecordError>,
    {
        let _alone = self.gate.blocking_write();
        self.forget_subjects(&doomed()?)?;
        let mark = self.prepare(mark)?;
        self.keyring.sync()?;
        loop {
            // The journal takes batches in their order: once this one is on disk, all that were handed to it before are.
            match self.journal.append(vec![mark.clone()]).and_then(journal::Ticket::wait) {
                Ok(_) => return then(),
                Err(AppendError::Busy { .. }) => std::thread::sleep(OWN_RETRY),
                Err(error) => return Err(append_error(error).into()),
            }
        }
    }

    /// Passes the gate, from a thread that may wait.
    fn pass(&self) -> RwLockReadGuard<'_, ()> {
        loop {
            match self.gate.try_read() {
                Ok(passing) => return passing,
                Err(_) => std::thread::sleep(OWN_RETRY),
            }
        }
    }

    /// Scores a text as it stands and says what it is evidence of; nothing is recorded and nothing of the text is kept.
    #[must_use]
    pub fn inspect(&self, text: &str, channel: Channel, context: Option<&str>) -> inspect::Report {
        self.inspector().inspect(text, channel, context)
    }

    /// The inspector in force.
    pub(crate) fn inspector(&self) -> Arc<Inspector> {
        self.inspector.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts an inspector with other signatures in force; canaries stay. What is under way ends with the one before; its reports are known by
    /// that one's digest alone.
    pub(crate) fn exchange_inspector(&self, inspector: Inspector) {
        let inspector = inspector.with_canaries(self.inspector().canaries().clone());
        *self.inspector.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(inspector);
        self.forget_texts();
    }

    /// Records events of this program itself, from a thread that may wait. A full queue and a full disk are waited out, until
    /// `stopping` says that there is no more time: the program's own events are few and must not be lost because callers
    /// are many.
    pub(crate) fn record_blocking(
        &self,
        events: Vec<Event<String>>,
        stopping: &dyn Fn() -> bool,
    ) -> Result<Vec<Receipt>, RecordError> {
        loop {
            let passing = self.pass();
            let appends = events.iter().cloned().map(|event| self.prepare(event)).collect::<Result<Vec<_>, _>>()?;
            let ids: Vec<_> = appends.iter().map(Append::id).collect();
            self.keyring.sync().map_err(key_error)?;
            let ticket = self.journal.append(appends);
            drop(passing);
            match ticket.and_then(journal::Ticket::wait) {
                Ok(appended) => return Ok(self.receipts(&ids, &appended)),
                Err(AppendError::Busy { .. } | AppendError::DiskFull { .. }) if !stopping() => std::thread::sleep(OWN_RETRY),
                Err(error) => return Err(append_error(error)),
            }
        }
    }

    /// Looks up where its client is, sanitises and inspects an event and commits to its contents. The order matters: of a sanitised
    /// address no place is known.
    fn prepare<R: AsRef<str> + From<String>>(&self, mut event: Event<R>) -> Result<Append, RecordError> {
        self.places.tell(&mut event);
        let mut processed: Vec<Arc<Processed>> = Vec::with_capacity(event.pieces.len());
        let (clean, sealed) = self.sanitizer.event_sealed(event, &mut |meta, raw| {
            let one = self.process(meta, raw.as_ref());
            let result = (one.text.clone(), one.counts.clone());
            processed.push(one);
            result
        });
        if let Some(opinions) = self.second_opinion() {
            opinions.consider(&clean, &processed);
        }
        let clean = classified(clean, &processed);
        let (recorded, contents) = self.commit(clean, &processed, &sealed).map_err(key_error)?;
        Append::of(&recorded, contents)
            .map_err(|error| RecordError::Unavailable { reason: format!("event does not serialise: {error}") })
    }

    /// Sanitises and inspects a text, unless it is known by heart.
    pub(crate) fn process(&self, meta: &PieceMeta<Clean>, raw: &str) -> Arc<Processed> {
        let inspector = self.inspector();
        let key = CacheKey::of(&inspector.digest(), meta.channel(), meta.part, raw);
        if let Some(known) = self.cache.get(&key) {
            return known;
        }
        let (cleaned, sealed) = self.sanitizer.content_sealed(meta, raw);
        let counts: Counts = cleaned.counts();
        let report = inspector.inspect(&cleaned.text, meta.channel(), None);
        let output = match (meta.channel(), meta.part) {
            (Channel::Assistant, Part::Text) => inspect::classify(&cleaned.text, sensitive(&counts), &report.findings),
            _ => inspect::Output::default(),
        };
        let processed = Arc::new(Processed::new(cleaned.text, counts, report, sealed, output));
        self.cache.put(key, processed.clone());
        processed
    }

    /// Attaches findings, and takes the contents out of the event.
    fn commit(
        &self,
        mut event: Event<Clean>,
        processed: &[Arc<Processed>],
        sealed: &Sealed,
    ) -> Result<(RecordedEvent<Clean>, Vec<ContentEntry>), KeysError> {
        event.inspection = overall(processed);
        let user = event.identity.user.as_ref().map(|user| &user.id);
        let application = event.identity.application.as_ref().map(|application| &application.id);
        let owner = self.subject("application", application.map_or("", Clean::as_str))?;
        // What the user brings is the user's; without one it belongs to the conversation.
        let person = match (user, &event.session) {
            (Some(user), _) => self.subject("user", user)?,
            (None, Some(session)) => self.subject("session", session)?,
            (None, None) => owner.clone(),
        };
        let mut contents = Vec::with_capacity(processed.len());
        for ((piece, known), nth) in event.pieces.iter_mut().zip(processed).zip(0_usize..) {
            debug_assert_eq!(contents.len(), nth);
            piece.findings.clone_from(&known.report.findings);
            let subject = if piece.meta.role == Role::System { &owner } else { &person };
            contents.push(known.commit(subject.id, &subject.key));
        }
        let of_pieces = event.pieces.iter().zip(processed).zip(&contents).map(|((piece, known), content)| {
            let subject = if piece.meta.role == Role::System { &owner } else { &person };
            OfText { subject, content: Some(content.id), sealed: &known.sealed }
        });
        let of_fields = OfText { subject: &person, content: None, sealed };
        let sealed = crate::recovery::attached(event.id, of_pieces.chain([of_fields]));
        event.attributes.extend(sealed);
        let mut references = contents.iter().map(ContentEntry::reference).collect::<Vec<_>>().into_iter();
        let nothing = || ContentEntry::commit(owner.id, &owner.key, Clean::literal("")).reference();
        let recorded =
            event.map(&mut |text| text, &mut |_, _: Clean| references.next().unwrap_or_else(nothing), &|key: Clean, n| {
                key.numbered(n)
            });
        Ok((recorded, contents))
    }

    /// The subjects under whose keys an event's texts are, as far as these have a key still.
    pub(crate) fn subjects_of_event(&self, event: &RecordedEvent<Clean>) -> Result<Vec<Subject>, KeysError> {
        let user = event.identity.user.as_ref().map(|user| ("user", user.id.as_str()));
        let session = event.session.as_ref().map(|session| ("session", session.as_str()));
        let application = event.identity.application.as_ref().map_or("", |application| application.id.as_str());
        let mut subjects = Vec::new();
        for (kind, name) in user.into_iter().chain(session).chain([("application", application)]) {
            // Looking must make nobody new.
            if self.keyring.find_subject(&self.subject_namer.tag(kind, name))?.is_some() {
                subjects.push(self.subject(kind, name)?);
            }
        }
        Ok(subjects)
    }

    fn subject(&self, kind: &str, name: &str) -> Result<Subject, KeysError> {
        self.keyring.subject(&self.subject_namer.tag(kind, name))
    }

    fn receipts(&self, ids: &[event::EventId], appended: &[Appended]) -> Vec<Receipt> {
        let receipts: Vec<_> = ids
            .iter()
            .zip(appended)
            .map(|(&event_id, appended)| Receipt { event_id, position: appended.seq.0, duplicate: appended.duplicate })
            .collect();
        let duplicates = receipts.iter().filter(|receipt| receipt.duplicate).count() as u64;
        self.counters.duplicates.fetch_add(duplicates, Ordering::Relaxed);
        self.counters.recorded.fetch_add(receipts.len() as u64 - duplicates, Ordering::Relaxed);
        receipts
    }

    fn prepare_all(&self, events: Vec<RawEvent>) -> Result<Vec<Append>, RecordError> {
        events.into_iter().map(|event| self.prepare(event)).collect()
    }
}

/// The recorder that listeners hold.
#[derive(Clone)]
pub(crate) struct PipelineRecorder(pub(crate) Arc<Pipeline>);

impl Recorder for PipelineRecorder {
    fn record(&self, mut events: Vec<RawEvent>) -> Pin<Box<dyn Future<Output = Result<Vec<Receipt>, RecordError>> + Send + '_>> {
        Box::pin(async move {
            let pipeline = &self.0;
            // Every way in comes through here, and none may speak for the program itself.
            events.iter_mut().for_each(capture::mark_reported);
            let bytes = events.iter().map(weight).sum::<usize>();
            if bytes > IN_FLIGHT_BYTES_MAX {
                return Err(RecordError::TooLarge { bytes, bytes_max: IN_FLIGHT_BYTES_MAX });
            }
            let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
            let Ok(_permit) = pipeline.in_flight.try_acquire_many(permits) else {
                pipeline.counters.turned_away.fetch_add(events.len() as u64, Ordering::Relaxed);
                return Err(RecordError::Busy { retry_after: RETRY_AFTER });
            };
            let passing = pipeline.gate.read().await;
            let appends = if bytes <= INLINE_BYTES_MAX {
                pipeline.prepare_all(events)?
            } else {
                let pipeline = pipeline.clone();
                tokio::task::spawn_blocking(move || pipeline.prepare_all(events))
                    .await
                    .map_err(|error| RecordError::Unavailable { reason: error.to_string() })??
            };
            // A record whose subject a power cut took could not be found when the subject is to be erased.
            if pipeline.keyring.is_unsynced() {
                let keyring = pipeline.keyring.clone();
                let synced = tokio::task::spawn_blocking(move || keyring.sync()).await;
                synced.map_err(|error| RecordError::Unavailable { reason: error.to_string() })?.map_err(key_error)?;
            }
            let ids: Vec<_> = appends.iter().map(Append::id).collect();
            let turned_away = |error| {
                pipeline.counters.turned_away.fetch_add(ids.len() as u64, Ordering::Relaxed);
                append_error(error)
            };
            // A full queue says so at once, a full disk when the group's turn comes.
            let ticket = pipeline.journal.append(appends).map_err(turned_away)?;
            drop(passing);
            Ok(pipeline.receipts(&ids, &ticket.await.map_err(turned_away)?))
        })
    }
}

fn key_error(error: KeysError) -> RecordError {
    match room::is_lacking(&error) {
        true => RecordError::Busy { retry_after: RETRY_AFTER },
        false => RecordError::Unavailable { reason: error.to_string() },
    }
}

fn append_error(error: AppendError) -> RecordError {
    match error {
        // A full disk is a state that ends: the journal refuses, answers queries, and goes on when there is room.
        AppendError::Busy { .. } | AppendError::DiskFull { .. } => RecordError::Busy { retry_after: RETRY_AFTER },
        AppendError::TooLarge { bytes, bytes_max } => RecordError::TooLarge { bytes, bytes_max },
        AppendError::TooManyContents { contents } => {
            RecordError::TooLarge { bytes: contents, bytes_max: journal::RECORD_CONTENTS_MAX }
        }
        AppendError::Stopped { reason } => RecordError::Stopped { reason },
        AppendError::Closed => RecordError::Stopped { reason: "the server is stopping".to_owned() },
    }
}

/// What an event weighs while it is under way: its texts, and a flat part for everything else.
fn weight(event: &RawEvent) -> usize {
    const EVENT_BYTES: usize = 1_024;
    const ITEM_BYTES: usize = 64;
    let pieces = event.pieces.iter().map(|piece| ITEM_BYTES + piece.content.expose().len());
    let attributes = event.attributes.values().map(|value| ITEM_BYTES + value_weight(value));
    let unmapped = event.unmapped.iter().map(|(key, value)| ITEM_BYTES + key.expose().len() + value_weight(value));
    EVENT_BYTES + event.name.expose().len() + pieces.chain(attributes).chain(unmapped).sum::<usize>()
}

/// Decoders bound the depth of values (`limits::VALUE_DEPTH_MAX`), and so the recursion.
fn value_weight(value: &Value<Raw>) -> usize {
    match value {
        Value::Text(text) => text.expose().len(),
        Value::List(values) => values.iter().map(|value| 32 + value_weight(value)).sum(),
        Value::Map(entries) => entries.iter().map(|(key, value)| 32 + key.expose().len() + value_weight(value)).sum(),
        Value::Bool(_) | Value::Int(_) | Value::Double(_) => 8,
    }
}

/// Says what the output is, beside what inspection found in it.
fn classified(mut event: Event<Clean>, processed: &[Arc<Processed>]) -> Event<Clean> {
    let is_answer = |meta: &PieceMeta<Clean>| {
        meta.direction == Direction::Output && meta.channel() == Channel::Assistant && meta.part == Part::Text
    };
    let answers =
        || event.pieces.iter().zip(processed).filter(|(piece, _)| is_answer(&piece.meta)).map(|(_, known)| &known.output);
    let categories: BTreeSet<inspect::Category> = answers().flat_map(|output| output.categories.iter().copied()).collect();
    let rows: i64 = answers().map(|output| i64::from(output.financial_rows)).sum();
    if !categories.is_empty() {
        let names = categories.into_iter().map(|one| Value::Text(Clean::literal(one.as_str()))).collect();
        event.attributes.insert(attr::RESPONSE_CATEGORY, Value::List(names));
    }
    if rows > 0 {
        event.attributes.insert(attr::RESPONSE_FINANCIAL_ROWS, Value::Int(rows));
    }
    event
}

/// What was replaced in a text, by what it says of the text.
fn sensitive(counts: &Counts) -> Sensitive {
    let mut sensitive = Sensitive::default();
    for (kind, count) in counts {
        let of = match SensitiveType::from_name(kind) {
            Some(kind) if kind.is_secret() => &mut sensitive.secrets,
            Some(SensitiveType::Iban | SensitiveType::CreditCard) => &mut sensitive.financial,
            _ => &mut sensitive.personal,
        };
        *of = of.saturating_add(*count);
    }
    sensitive
}

fn overall(processed: &[Arc<Processed>]) -> Option<Inspection> {
    if processed.is_empty() {
        return None;
    }
    let score = processed.iter().map(|one| one.report.score).fold(0.0, f32::max);
    Some(Inspection {
        score,
        verdict: Verdict::of_score(score),
        scanned_bytes: processed.iter().map(|one| one.report.scanned_bytes).sum(),
        unscanned_bytes: processed.iter().map(|one| one.report.unscanned_bytes).sum(),
    })
}
