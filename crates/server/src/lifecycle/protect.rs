//! Whether a record may change: what holds it, and which law asks for it. Everything that drops or erases asks here, for
//! everybody's records.

use archive::Segment;
use event::{RecordedEvent, Timestamp};
use sanitize::Clean;
use serde::{Deserialize, Serialize};

use super::hold::Hold;
use super::retention::{Erasure, Policy};
use super::target::Sessions;

/// Why a record stays although its erasure was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ground {
    /// A hold covers it (GDPR article 17(3)(e)). Nothing of the request is carried out.
    LegalHold,
    /// A law asks for it until its class's minimum has passed (GDPR article 17(3)(b)). The rest of the request is carried out.
    LegalDuty,
}

/// What keeps a record as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Keeper {
    /// On which ground.
    pub ground: Ground,
    /// The hold's name, or the retention class.
    pub by: String,
}

/// Says what keeps a record.
pub(crate) struct Protection<'n> {
    pub(crate) holds: Vec<Hold>,
    pub(crate) policy: &'n Policy,
    pub(crate) now: Timestamp,
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

impl Protection<'_> {
    /// What keeps a record of the segment as it is; nothing where it may change.
    pub(crate) fn keeper(&self, segment: &Segment, event: &RecordedEvent<Clean>, sessions: &Sessions) -> Option<Keeper> {
        if let Some(hold) = self.holds.iter().find(|hold| hold.scope.covers_for(event, sessions)) {
            return Some(Keeper { ground: Ground::LegalHold, by: hold.name.clone() });
        }
        (!self.may_erase(segment, event.observed))
            .then(|| Keeper { ground: Ground::LegalDuty, by: segment.class.as_str().to_owned() })
    }

    /// Whether no law asks for a record of the segment, by its class as it was sealed and as it is now: the stricter one stands. A
    /// class that nobody knows any more says no.
    fn may_erase(&self, segment: &Segment, observed: Timestamp) -> bool {
        let passed = |min_days: u32| {
            let least = Timestamp::from_unix_ns(observed.unix_ns().saturating_add(super::retention::days_ns(min_days)));
            self.now >= least
        };
        let now = self.policy.class(segment.class.as_str());
        let as_sealed = segment.keeps.map(|keeps| !keeps.by_law || passed(keeps.min_days));
        let as_now = now.map(|class| class.erasure == Erasure::OnRequest || passed(class.min_days));
        match (as_sealed, as_now) {
            (None, None) => false,
            (sealed, now) => sealed.unwrap_or(true) && now.unwrap_or(true),
        }
    }
}
