//! What becomes of records: where they lie, how long they are kept, what holds them, how they are forgotten.

pub(crate) mod archiver;
pub mod cold;
pub mod erase;
pub mod export;
pub mod forensic;
pub mod hold;
pub mod place;
pub mod restore;
pub mod retention;
pub(crate) mod search;
pub mod spine;
pub mod target;
pub mod verify;
pub mod withhold;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use archive::Span;
use capture::RecordError;
use event::{Principal, Proof, Timestamp, attr};
use serde::Serialize;

use self::archiver::{Archiver, ArchiverError};
use self::cold::{Cold, lifecycle_event};
use self::erase::{EraseError, Erased, Eraser};
use self::hold::{Hold, HoldError, Holds, Scope};
use self::retention::{Class, Policy};
use self::spine::Spine;
use self::target::Target;
use crate::node::Node;

/// Longest id of a subject, in bytes.
const SUBJECT_BYTES_MAX: usize = 1_024;

/// What a node needs to look after the life of its records.
pub(crate) struct Lifecycle {
    pub(crate) cold: Arc<Cold>,
    /// The forensic archive, where there is one.
    pub(crate) forensic: Option<Arc<Cold>>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) holds: Arc<Holds>,
    pub(crate) archiver: Arc<Mutex<Archiver>>,
}

/// Who asks for something that changes what is kept.
#[derive(Debug, Clone)]
pub struct Asker {
    /// The key's id, or the name of the user of this machine.
    pub id: String,
    /// How that was proved.
    pub proof: Proof,
}

/// A segment of the archive, for people.
#[derive(Debug, Clone, Serialize)]
pub struct SegmentInfo {
    /// `evidence` or `forensic`.
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
#[derive(Debug, Clone, Serialize)]
pub struct Kept {
    /// Every class.
    pub classes: Vec<Class>,
    /// The class of records that no rule names.
    pub default: String,
    /// The holds that stand.
    pub holds: Vec<Hold>,
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
            holds: node.holds(),
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
    /// Erases a person from the record: `subject` is their id as applications send it in `user.id`; aliases are other values that
    /// stand for them, such as mail addresses.
    ///
    /// # Errors
    /// See [`EraseError`]; what was done until then is done, and asking again goes on.
    pub fn erase(&self, asker: &Asker, subject: &str, aliases: &[String]) -> Result<Erased, EraseError> {
        let fits = |text: &str| !text.is_empty() && text.len() <= SUBJECT_BYTES_MAX;
        if !fits(subject) || !aliases.iter().all(|alias| fits(alias)) {
            return Err(EraseError::Subject);
        }
        let target = Target::new(self.pipeline().sanitizer(), subject, aliases);
        let lifecycle = self.lifecycle();
        let request = format!("erasure-{}", event::EventId::random());
        let mut asked = lifecycle_event("erasure.requested", "delete", &request);
        asked.identity.user = Some(asker.principal());
        self.pipeline().record_blocking(vec![asked], &|| true)?;
        let mut archiver = lifecycle.archiver();
        Eraser {
            data: self.data().path(),
            cold: &lifecycle.cold,
            forensic: lifecycle.forensic.as_ref(),
            archiver: &mut archiver,
            policy: &lifecycle.policy,
            holds: &lifecycle.holds,
            pipeline: self.pipeline(),
            consumers: self.consumers(),
        }
        .erase(&target, &request)
    }

    /// Places a legal hold. It stands, and is recorded, when this returns.
    ///
    /// # Errors
    /// See [`HoldFailure`].
    pub fn place_hold(&self, asker: &Asker, name: &str, reason: &str, scope: Scope) -> Result<(), HoldFailure> {
        let placed = Timestamp::now();
        let hold = Hold { name: name.to_owned(), reason: reason.to_owned(), scope: self.as_recorded(scope), placed };
        self.lifecycle().holds.place(hold)?;
        self.note_hold(asker, "hold.place", "create", name)?;
        self.hold_archive()
    }

    /// Releases a legal hold.
    ///
    /// # Errors
    /// See [`HoldFailure`].
    pub fn release_hold(&self, asker: &Asker, name: &str) -> Result<(), HoldFailure> {
        self.lifecycle().holds.release(name)?;
        self.note_hold(asker, "hold.release", "delete", name)?;
        self.hold_archive()
    }

    /// Passes the holds on to the archive, whose place may keep them by itself.
    fn hold_archive(&self) -> Result<(), HoldFailure> {
        let mut archiver = self.lifecycle().archiver();
        archiver.holds_due = true;
        archiver.hold_all(Timestamp::now()).map_err(|error| HoldFailure::Archive(Box::new(error)))
    }

    /// The holds that stand.
    #[must_use]
    pub fn holds(&self) -> Vec<Hold> {
        self.lifecycle().holds.list()
    }

    /// How long what is kept.
    #[must_use]
    pub fn retention(&self) -> &Policy {
        &self.lifecycle().policy
    }

    /// Drops what is over and no hold covers. Gives what was dropped.
    ///
    /// # Errors
    /// When a segment can neither be read nor dropped.
    pub fn sweep(&self) -> Result<Vec<Span>, ArchiverError> {
        let (archiver, now) = (self.lifecycle().archiver(), Timestamp::now());
        archiver.cool(now)?;
        archiver.sweep(self.pipeline(), now)
    }

    /// What the archive holds, oldest first.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let lifecycle = self.lifecycle();
        let info = |archive: &'static str, segment: &archive::Segment| {
            let class = lifecycle.policy.class(segment.class.as_str());
            let until = class.and_then(|class| class.end_of(segment.sealed_at));
            SegmentInfo {
                archive,
                first: segment.first,
                end: segment.end,
                class: segment.class.as_str().to_owned(),
                records: segment.records,
                bytes: segment.events.bytes + segment.contents.bytes,
                sealed_at: crate::watchman::rfc3339(segment.sealed_at),
                until: until.map(crate::watchman::rfc3339),
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
        let clean = |text: String| self.pipeline().sanitizer().text(&text).text.as_str().to_owned();
        Scope {
            user: scope.user.map(clean),
            session: scope.session.map(clean),
            application: scope.application.map(clean),
            ..scope
        }
    }

    fn note_hold(&self, asker: &Asker, name: &str, action: &str, hold: &str) -> Result<(), HoldFailure> {
        let mut event = lifecycle_event(name, action, hold);
        event.identity.user = Some(asker.principal());
        event.set(attr::EVENT_OUTCOME, "success");
        self.pipeline().record_blocking(vec![event], &|| true)?;
        Ok(())
    }
}

impl Asker {
    pub(crate) fn principal(&self) -> Principal<String> {
        let mut principal = Principal::asserted(self.id.clone());
        principal.proof = self.proof;
        principal
    }
}
