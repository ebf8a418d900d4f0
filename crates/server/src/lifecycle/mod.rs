//! What becomes of records: where they lie, how long they are kept, what holds them, how they are forgotten.

pub(crate) mod archiver;
pub mod cold;
pub mod disclose;
pub mod erase;
pub mod export;
pub mod forensic;
pub mod hold;
mod job;
pub(crate) mod kept_policy;
mod noted_days;
pub mod place;
mod plan;
pub mod protect;
pub mod prune;
pub mod recovery;
pub mod restore;
pub mod retention;
pub(crate) mod search;
mod spelt;
pub mod spine;
pub(crate) mod stale;
pub mod target;
pub mod told;
pub mod verify;
pub mod withhold;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use capture::RecordError;
use event::{Key, Timestamp, attr};
use serde::{Deserialize, Serialize};

use self::archiver::{Archiver, ArchiverError, Swept};
use self::cold::Cold;
pub(crate) use self::cold::lifecycle_event;
use self::erase::{EraseError, Erased, Eraser};
use self::hold::{Hold, HoldError, Holds, Scope};
use self::job::JobError;
use self::kept_policy::KeptPolicy;
use self::retention::{Class, Policy};
use self::spine::Spine;
use self::target::Target;
use crate::asker::Asker;
use crate::node::Node;

/// Where the request of an erasure has what it is known by elsewhere.
const REFERENCE: &str = "watchkeeper.erasure.reference";

/// How long days of the hot store may take that are built anew: a day of ten million events is a quarter of an hour's work.
pub(crate) const REBUILT_WITHIN: Duration = Duration::from_secs(3_600);

/// Longest id of a subject, in bytes.
const SUBJECT_BYTES_MAX: usize = 1_024;

/// What a node needs to look after the life of its records.
pub(crate) struct Lifecycle {
    pub(crate) cold: Arc<Cold>,
    /// The forensic archive, where there is one.
    pub(crate) forensic: Option<Arc<Cold>>,
    pub(crate) policy: Arc<KeptPolicy>,
    pub(crate) holds: Arc<Holds>,
    pub(crate) archiver: Arc<Mutex<Archiver>>,
}

/// What is asked for when a person is to be erased.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erasure {
    /// Their id as applications send it in `user.id`.
    pub subject: String,
    /// Other values that stand for them, such as mail addresses.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// What the request is known by elsewhere: a ticket, a letter. It is recorded.
    #[serde(default)]
    pub reference: Option<String>,
    /// Whether names may take fields of more records of others than the person has of their own.
    #[serde(default)]
    pub wide: bool,
}

/// An archive.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ArchiveKind)]
#[expect(dead_code, reason = "it is read by the macro alone")]
enum ArchiveWord {
    /// Of all that is recorded.
    Evidence,
    /// Of what serious detections rest on.
    Forensic,
}

/// A segment of the archive, for people.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct SegmentInfo {
    /// Where it lies.
    #[schema(value_type = ArchiveWord)]
    pub archive: &'static str,
    /// The first record.
    pub first: u64,
    /// One past the last.
    pub end: u64,
    /// The retention class.
    pub class: String,
    /// How many records.
    pub records: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// When it was sealed.
    pub sealed_at: String,
    /// The day on which it is to be dropped; none where the class has no end.
    pub until: Option<String>,
}

/// How long what is kept, and what is there.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[schema(as = Retention)]
pub struct Kept {
    /// Every class.
    pub classes: Vec<Class>,
    /// The class of records that no rule names.
    pub default: String,
    /// When this policy began to hold (RFC 3339); none where no other one ever did.
    pub since: Option<String>,
    /// The holds that stand.
    pub holds: Vec<hold::Shown>,
    /// The segments of the archive.
    pub segments: Vec<SegmentInfo>,
    /// The first record that the journal still holds.
    pub journal_first: u64,
}

impl Kept {
    /// What a node keeps.
    #[must_use]
    pub fn of(node: &Node) -> Self {
        let policy = node.retention();
        Self {
            classes: policy.classes().cloned().collect(),
            default: policy.default_class().to_owned(),
            since: Some(node.lifecycle().policy.changed).filter(|at| at.unix_ns() > 0).map(Timestamp::rfc3339),
            holds: node.holds_shown(),
            segments: node.segments(),
            journal_first: node.journal().first().0,
        }
    }
}

/// Why a hold was not placed or released.
#[derive(Debug, thiserror::Error)]
pub enum HoldFailure {
    /// The hold itself.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// It cannot be recorded.
    #[error("the hold cannot be recorded: {0}")]
    Record(#[from] RecordError),
    /// The archive.
    #[error("it is recorded and holds, but its objects in the archive could not be changed yet; the server tries again: {0}")]
    Archive(#[source] Box<ArchiverError>),
}

impl Lifecycle {
    fn archiver(&self) -> MutexGuard<'_, Archiver> {
        // It holds no state that a panic could leave half changed: the archive's is on disk.
        self.archiver.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seconds until retention is looked at again; none while the archiver is at work, or where nobody archives.
    pub(crate) fn next_sweep_s(&self) -> Option<u64> {
        Some(self.archiver.try_lock().ok()?.next_sweep()?.as_secs())
    }
}

impl Node {
    /// Erases a person from the record.
    ///
    /// # Errors
    /// See [`EraseError`]; what was done until then is done, and asking again goes on.
    pub fn erase(&self, asker: &Asker, asked: &Erasure) -> Result<Erased, EraseError> {
        let Erasure { subject, aliases, .. } = asked;
        let fits = |text: &str| !text.is_empty() && text.len() <= SUBJECT_BYTES_MAX;
        if !fits(subject) || !aliases.iter().all(|alias| fits(alias)) {
            return Err(EraseError::Subject);
        }
        if asked.reference.as_deref().is_some_and(|reference| !fits(reference)) {
            return Err(EraseError::Reference);
        }
        if let Some(own) = std::iter::once(subject).chain(aliases).find(|name| asker.who.is(name)) {
            return Err(EraseError::Own(own.clone()));
        }
        let target = Target::new(self.pipeline().sanitizer(), subject, aliases);
        let request = format!("erasure-{}", event::EventId::random());
        let mut event = lifecycle_event("erasure.requested", "delete", &request);
        asker.sign(&mut event);
        if let Some(reference) = &asked.reference {
            event.set(event::Key::of(REFERENCE), reference.as_str());
        }
        self.pipeline().record_blocking(vec![event], &|| true)?;
        self.erasing(|eraser| eraser.erase(target, asked.wide, &request))
    }

    /// Whether an erasure was interrupted and has not come to its end.
    pub(crate) fn has_interrupted_erasures(&self) -> Result<bool, JobError> {
        Ok(!job::list(self.keyring())?.is_empty())
    }

    /// Ends the erasures that were interrupted.
    pub(crate) fn resume_erasures(&self) -> Result<Vec<Erased>, EraseError> {
        self.erasing(|eraser| eraser.resume())
    }

    fn erasing<T>(&self, erase: impl FnOnce(&mut Eraser<'_>) -> T) -> T {
        let lifecycle = self.lifecycle();
        let mut archiver = lifecycle.archiver();
        erase(&mut Eraser {
            data: self.data().path(),
            cold: &lifecycle.cold,
            forensic: lifecycle.forensic.as_ref(),
            archiver: &mut archiver,
            policy: &lifecycle.policy.policy,
            holds: &lifecycle.holds,
            keyring: self.keyring(),
            pipeline: self.pipeline(),
            consumers: self.consumers(),
            triage: self.triage(),
            #[cfg(test)]
            stop_behind: None,
        })
    }

    /// Places a legal hold. It stands, and is recorded, when this returns.
    ///
    /// # Errors
    /// See [`HoldFailure`].
    pub fn place_hold(&self, asker: &Asker, name: &str, reason: &str, scope: Scope) -> Result<(), HoldFailure> {
        let placed = Timestamp::now();
        let hold = Hold {
            name: name.to_owned(),
            reason: reason.to_owned(),
            scope: self.as_recorded(scope),
            placed,
            placed_by: Some(asker.to_string()),
        };
        // Nothing is dropped or erased between the record of the hold and its standing.
        let mut archiver = self.lifecycle().archiver();
        self.lifecycle().holds.check(&hold)?;
        self.note_hold(asker, "hold.place", "create", &hold, reason)?;
        self.lifecycle().holds.place(hold)?;
        hold_archive(&mut archiver)
    }

    /// Releases a legal hold.
    ///
    /// # Errors
    /// See [`HoldFailure`].
    pub fn release_hold(&self, asker: &Asker, name: &str, reason: &str) -> Result<(), HoldFailure> {
        let mut archiver = self.lifecycle().archiver();
        let hold = self.lifecycle().holds.standing(name)?;
        self.note_hold(asker, "hold.release", "delete", &hold, reason)?;
        self.lifecycle().holds.release(name)?;
        hold_archive(&mut archiver)
    }

    /// The holds that stand.
    #[must_use]
    pub fn holds(&self) -> Vec<Hold> {
        self.lifecycle().holds.list()
    }

    /// The holds that stand, for people.
    #[must_use]
    pub fn holds_shown(&self) -> Vec<hold::Shown> {
        self.holds().into_iter().map(hold::Shown::from).collect()
    }

    /// How long what is kept.
    #[must_use]
    pub fn retention(&self) -> &Policy {
        &self.lifecycle().policy.policy
    }

    /// Drops what is over and nothing keeps. `clock_is_right` is the asker's word for a clock that is not believed, which is recorded.
    ///
    /// # Errors
    /// When a segment can neither be read nor dropped.
    pub fn sweep(&self, asker: &Asker, clock_is_right: bool) -> Result<Swept, ArchiverError> {
        let (mut archiver, now) = (self.lifecycle().archiver(), Timestamp::now());
        if clock_is_right {
            self.vouch(asker, now)?;
        }
        let swept = archiver.sweep(self.pipeline(), now, Some(asker))?;
        let days = stale::due(self.keyring(), now, true)?;
        if !days.is_empty() {
            self.consumers().rebuild_days(days.clone(), REBUILT_WITHIN).map_err(ArchiverError::Consumer)?;
            stale::done(self.keyring(), &days)?;
        }
        Ok(swept)
    }

    /// Believes the clock, on somebody's word.
    fn vouch(&self, asker: &Asker, now: Timestamp) -> Result<(), ArchiverError> {
        let policy = &self.lifecycle().policy;
        let Some(event) = policy.vouched_event(asker, now) else { return Ok(()) };
        self.pipeline().record_blocking(vec![event], &|| true)?;
        Ok(policy.vouch(now)?)
    }

    /// What the archive holds, oldest first.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let lifecycle = self.lifecycle();
        let info = |archive: &'static str, segment: &archive::Segment| {
            let until = lifecycle.policy.policy.end_of(segment);
            SegmentInfo {
                archive,
                first: segment.first,
                end: segment.end,
                class: segment.class.as_str().to_owned(),
                records: segment.records,
                bytes: segment.events.bytes + segment.contents.bytes,
                sealed_at: segment.sealed_at.rfc3339(),
                until: until.map(Timestamp::rfc3339),
            }
        };
        let of = |archive: &'static str, cold: &Cold| -> Vec<SegmentInfo> {
            cold.lock().view().manifest().segments().map(|segment| info(archive, segment)).collect()
        };
        let forensic = lifecycle.forensic.iter().flat_map(|cold| of("forensic", cold));
        of("evidence", &lifecycle.cold).into_iter().chain(forensic).collect()
    }

    pub(crate) fn spine(&self) -> Spine {
        Spine { journal: self.journal().clone(), cold: self.lifecycle().cold.clone() }
    }

    /// A scope as events are recorded: a user whose id is a mail address stands in the record as a token.
    fn as_recorded(&self, scope: Scope) -> Scope {
        let clean = |text: String| self.pipeline().sanitizer().name(&text).as_str().to_owned();
        Scope {
            user: scope.user.map(clean),
            session: scope.session.map(clean),
            application: scope.application.map(clean),
            ..scope
        }
    }

    fn note_hold(&self, asker: &Asker, name: &str, action: &str, hold: &Hold, reason: &str) -> Result<(), HoldFailure> {
        let Scope { user, session, application, from, to } = &hold.scope;
        let mut event = lifecycle_event(name, action, &hold.name);
        asker.sign(&mut event);
        event.set(attr::EVENT_OUTCOME, "success");
        // The record of a hold outlives the persons in it: they stand in it under a keyed hash.
        let hidden = |kind, name: &Option<String>| name.as_ref().map(|name| self.pipeline().pseudonym(kind, name));
        let time = |time: &Option<Timestamp>| time.map(Timestamp::rfc3339);
        let scope = [hidden("user", user), hidden("session", session), application.clone(), time(from), time(to)];
        let mut stands = Vec::new();
        for (key, value) in search::HOLD_SCOPE.into_iter().zip(scope) {
            if let Some(value) = value {
                event.set(Key::of(key), value.as_str());
                stands.push(format!("{} {value}", key.trim_start_matches("watchkeeper.hold.").trim_end_matches(".hash")));
            }
        }
        let stands =
            if stands.is_empty() { "stands for everything".to_owned() } else { format!("stands for {}", stands.join(", ")) };
        // One that is placed was not there before, and one that is released is not there any more.
        event.set(if action == "delete" { attr::ADMIN_BEFORE } else { attr::ADMIN_AFTER }, stands.as_str());
        if !reason.is_empty() {
            event.set(Key::of("watchkeeper.hold.reason"), reason);
        }
        self.pipeline().record_blocking(vec![event], &|| true)?;
        Ok(())
    }
}

/// Passes the holds on to the archive, whose place may keep them by itself.
fn hold_archive(archiver: &mut Archiver) -> Result<(), HoldFailure> {
    archiver.holds_due = true;
    archiver.hold_all(Timestamp::now()).map_err(|error| HoldFailure::Archive(Box::new(error)))
}
