//! The retention policy that stands, and the clock by which it is applied. Both are kept in the keyring: whoever can write the
//! configuration or set the clock must not be able to have records dropped in silence.
//!
//! - No command goes by another policy than the one that stands. A configuration that says otherwise changes it, which is an event
//!   ([`POLICY_EVENT`]) before it holds; and what was sealed before a change waits for [`GRACE`] before it is dropped.
//! - A clock that is further ahead of the latest time that was believed than [`JUMP`] drops nothing until somebody says that it is
//!   right, which is an event, too ([`CLOCK_EVENT`]).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use event::{Event, Key, Timestamp, Value};
use keys::{Keyring, KeysError};
use serde::{Deserialize, Serialize};

use super::cold::lifecycle_event;
use super::retention::{Policy, RetentionError, Settings};
use crate::asker::Asker;

/// The keyring's name of the policy.
const POLICY: &str = "retention policy";

/// The keyring's name of the latest time that was believed.
const CLOCK: &str = "retention clock";

/// The event that tells of a change of the policy.
pub(crate) const POLICY_EVENT: &str = "retention.policy";

/// Where it has what the policy said, and what it says since then: lists of lines.
pub(crate) const OLD: &str = "watchkeeper.retention.old";
pub(crate) const NEW: &str = "watchkeeper.retention.new";

/// The event that tells that somebody vouched for the clock.
const CLOCK_EVENT: &str = "retention.clock";

/// How long what was sealed before a change of the policy stays at the least: a day in which whoever watches the record can see the
/// change, and place a hold.
pub(crate) const GRACE: Duration = Duration::from_secs(86_400);

/// How far a clock may be ahead of what is known to have passed: a server can be off over a week's holidays. Who sets it by that much
/// with each start needs a start for each week, and each is an event.
pub(crate) const JUMP: Duration = Duration::from_secs(7 * 86_400);

/// How often the latest time that is believed is kept.
const KEEP_CLOCK: Duration = Duration::from_secs(3_600);

/// Why there is no policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The configuration.
    #[error(transparent)]
    Settings(#[from] RetentionError),
    /// The keyring.
    #[error("retention policy: {0}")]
    Keys(#[from] KeysError),
    /// It is not what this program wrote.
    #[error("retention policy in the keyring: {0}; a newer version of this program wrote it: use that one")]
    Parse(#[from] serde_json::Error),
}

/// The policy as the keyring has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    policy: Policy,
    /// When it was changed last; 1970 where it never was.
    changed: Timestamp,
}

/// The policy that stands.
pub(crate) struct KeptPolicy {
    keyring: Arc<Keyring>,
    pub(crate) policy: Arc<Policy>,
    /// When it was changed last.
    pub(crate) changed: Timestamp,
    clock: Mutex<Clock>,
}

/// A change of the policy that was asked for, and does not hold yet.
pub(crate) struct Change {
    kept: Kept,
    event: Event<String>,
}

/// What is known of the time.
#[derive(Debug)]
struct Clock {
    /// The latest time that was believed, and how much of this process had passed then.
    believed: Timestamp,
    at: Instant,
    /// What the keyring has.
    kept: Timestamp,
}

/// A clock that is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Jumped {
    /// About what it should say.
    pub(crate) expected: Timestamp,
    /// What it says.
    pub(crate) now: Timestamp,
}

impl KeptPolicy {
    /// Reads the policy that stands, and compares it with what is wanted; nothing wanted is what stands. A directory for which none
    /// was ever wanted has that of the program. `newest` is when the newest record was received.
    pub(crate) fn open(
        keyring: Arc<Keyring>,
        wanted: Option<&Settings>,
        asker: &Asker,
        newest: Option<Timestamp>,
    ) -> Result<(Self, Option<Change>), PolicyError> {
        let now = Timestamp::now();
        let wanted = wanted.map(Policy::new).transpose()?;
        let stands: Option<Kept> = match keyring.named(POLICY)? {
            Some(bytes) => Some(serde_json::from_slice(&bytes)?),
            None => None,
        };
        let stands = match stands {
            Some(stands) => stands,
            None => {
                let kept = Kept { policy: Policy::new(&Settings::default())?, changed: Timestamp::default() };
                keyring.put_named(POLICY, &serde_json::to_vec(&kept)?)?;
                kept
            }
        };
        let change = wanted
            .filter(|wanted| *wanted != stands.policy)
            .map(|policy| Change { event: changed_event(&stands.policy, &policy, asker), kept: Kept { policy, changed: now } });
        let kept = match keyring.named(CLOCK)? {
            Some(bytes) => Some(serde_json::from_slice(&bytes)?),
            None => None,
        };
        let is_kept = kept.is_some();
        let mut clock = Clock::new(kept.or(newest), now);
        if !is_kept {
            keyring.put_named(CLOCK, &serde_json::to_vec(&clock.believed)?)?;
            clock.kept = clock.believed;
        }
        let clock = Mutex::new(clock);
        Ok((Self { keyring, policy: Arc::new(stands.policy), changed: stands.changed, clock }, change))
    }

    /// Goes by another policy from now on. The event of the change must be recorded.
    pub(crate) fn change(self, change: Change) -> Result<Self, PolicyError> {
        let Change { kept, .. } = change;
        self.keyring.put_named(POLICY, &serde_json::to_vec(&kept)?)?;
        Ok(Self { policy: Arc::new(kept.policy), changed: kept.changed, ..self })
    }

    /// Until when a segment stays because the policy was changed after it was sealed.
    pub(crate) fn grace(&self, sealed_at: Timestamp) -> Option<Timestamp> {
        (sealed_at <= self.changed).then(|| later(self.changed, GRACE))
    }

    /// Whether the clock can be believed so far that something is dropped by it.
    pub(crate) fn believes(&self, now: Timestamp) -> Result<Result<(), Jumped>, PolicyError> {
        let mut clock = self.clock();
        if let Err(jumped) = clock.check(now, Instant::now()) {
            return Ok(Err(jumped));
        }
        if now >= later(clock.kept, KEEP_CLOCK) {
            self.keep(&mut clock, now)?;
        }
        Ok(Ok(()))
    }

    /// That somebody vouches for the clock. The event must be recorded before [`Self::vouch`].
    pub(crate) fn vouched_event(&self, asker: &Asker, now: Timestamp) -> Option<Event<String>> {
        let jumped = self.clock().check(now, Instant::now()).err()?;
        let mut event = lifecycle_event(CLOCK_EVENT, "update", "the clock is right");
        asker.sign(&mut event);
        event.set(Key::of("watchkeeper.retention.clock"), jumped.now.rfc3339().as_str());
        event.set(Key::of("watchkeeper.retention.clock.expected"), jumped.expected.rfc3339().as_str());
        Some(event)
    }

    /// Believes the clock.
    pub(crate) fn vouch(&self, now: Timestamp) -> Result<(), PolicyError> {
        let mut clock = self.clock();
        (clock.believed, clock.at) = (now, Instant::now());
        self.keep(&mut clock, now)
    }

    /// The time that is sealed with records: a clock that was behind for a while must not make them look older than they are.
    pub(crate) fn sealing_time(&self, now: Timestamp) -> Timestamp {
        now.max(self.clock().believed)
    }

    fn keep(&self, clock: &mut Clock, now: Timestamp) -> Result<(), PolicyError> {
        self.keyring.put_named(CLOCK, &serde_json::to_vec(&now)?)?;
        clock.kept = now;
        Ok(())
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Change {
    /// The event that must be recorded before the change holds.
    pub(crate) fn event(&self) -> Event<String> {
        self.event.clone()
    }
}

impl Clock {
    fn new(kept: Option<Timestamp>, now: Timestamp) -> Self {
        let kept = kept.unwrap_or(now);
        let believed = if now > later(kept, JUMP) { kept } else { now.max(kept) };
        Self { believed, at: Instant::now(), kept }
    }

    /// Within a process only what has passed counts, so that many small steps are found as one large one is.
    fn check(&self, now: Timestamp, at: Instant) -> Result<(), Jumped> {
        let expected = later(self.believed, at.saturating_duration_since(self.at));
        if now > later(expected, JUMP) { Err(Jumped { expected, now }) } else { Ok(()) }
    }
}

impl std::fmt::Display for Jumped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the clock says {}, and {} was expected", self.now.rfc3339(), self.expected.rfc3339())
    }
}

/// What the policy said and says, as far as the two differ.
fn changed_event(old: &Policy, new: &Policy, asker: &Asker) -> Event<String> {
    let mut event = lifecycle_event(POLICY_EVENT, "update", "retention policy");
    asker.sign(&mut event);
    let (old, new) = (old.lines(), new.lines());
    let list = |lines: &mut dyn Iterator<Item = &String>| Value::List(lines.cloned().map(Value::Text).collect());
    event.set(Key::of(OLD), list(&mut old.difference(&new)));
    event.set(Key::of(NEW), list(&mut new.difference(&old)));
    event
}

pub(crate) fn later(time: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_unix_ns(time.unix_ns().saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
#[path = "kept_policy_tests.rs"]
mod tests;
