//! Behaviour: what users, agents, applications, tools, models and keys usually do, and what is unlike it.
//!
//! It detects nothing by itself. It makes [`Insight`]s: statements that are true of an event, with what was observed, what was
//! expected, and on how much that rests. They become fields of the event's document (`watchkeeper.insight.*`), so that thresholds,
//! techniques and examples stand in rules as everywhere.
//!
//! It knows what the journal says and nothing else: time is that of the events, which the clock of the recorder bounds, and the
//! same events in the same order give the same state. An event that comes much later than others counts nowhere and is counted
//! ([`Behaviour::late`]). Memory is bounded whatever is recorded, and [`Behaviour::to_bytes`] stores it all.

mod bounded;
mod entity;
mod facts;
mod hours;
pub mod insight;
mod known;
mod mix;
mod peers;
mod principals;
mod profile;
mod rate;
mod silence;
mod streams;
mod volume;
mod words;

use event::{ContentRef, Kind, RecordedEvent};
use sanitize::Clean;
use serde::{Deserialize, Serialize};

pub(crate) use bounded::Bounded;
use entity::EntityKind;
use facts::{Entity, Facts};
pub use insight::{Insight, Name};
use peers::Peers;
use principals::Principals;
pub(crate) use profile::LEARN_DAYS;
use profile::{Moment, Profile};
pub(crate) use rate::{Period, Rate};
use silence::Heard;

use crate::extraction::{Extraction, Prompt};

/// The first bytes of a stored state: what can read it. Changed whenever the meaning of the state changes.
const FORMAT: &[u8] = b"watchkeeper behaviour 5\n";
/// Most users, keys, tools and models that are remembered before they are established (some kilobytes each at the most; less than
/// one, as long as they are new).
const YOUNG_MAX: usize = 65_536;
/// Most of them that are established.
const ESTABLISHED_MAX: usize = 131_072;
/// Most agents and applications, likewise. They are looked through once an hour.
const MACHINES_YOUNG_MAX: usize = 4_096;
/// See [`MACHINES_YOUNG_MAX`].
const MACHINES_MAX: usize = 16_384;
/// Most groups of peers: one for each kind of entity and application.
const GROUPS_MAX: usize = 4_096;
/// Most applications whose hour is known.
const CLOCKS_MAX: usize = 65_536;
/// Hours by which an event may come later than others of its application and still count; it counts in the hour that runs.
const LATE_HOURS: u32 = 2;
/// Hours without any event at all after which the recorder was off: silence says nothing then. It records a heartbeat more often.
const OFF_HOURS: u32 = 3;

/// How many times a person's prompts a key may send before they are told of, where nothing is known of it.
const KEY_TIMES: f64 = 4.0;

/// What is usual, and for whom.
#[derive(Debug, Serialize, Deserialize)]
pub struct Behaviour {
    /// The latest hour (since 1970) of any event.
    hour: u32,
    /// That of each application: what it did earlier may be told of later, as long as it is told in its order.
    clocks: Bounded<u64, Clock>,
    people: Principals,
    machines: Principals,
    groups: Bounded<(u64, EntityKind), Peers>,
    extraction: Extraction,
    late: u64,
    implausible: u64,
}

/// The hour that it is for an application.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Clock {
    hour: u32,
    /// Whether its events are of now, and not history that is told of later.
    is_live: bool,
}

/// Why a stored state cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another version of the program wrote it, or it is something else.
    #[error("this is not the state of behaviour as this version of Watchkeeper stores it")]
    Format,
    /// It is damaged.
    #[error("the state of behaviour cannot be read: {0}")]
    Damaged(#[from] postcard::Error),
}

impl Default for Behaviour {
    fn default() -> Self {
        Self::new()
    }
}

impl Behaviour {
    /// One that knows nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            hour: 0,
            clocks: Bounded::new(CLOCKS_MAX),
            people: Principals::new(YOUNG_MAX, ESTABLISHED_MAX),
            machines: Principals::new(MACHINES_YOUNG_MAX, MACHINES_MAX),
            groups: Bounded::new(GROUPS_MAX),
            extraction: Extraction::new(),
            late: 0,
            implausible: 0,
        }
    }

    /// What the next event of the journal shows; it is learnt from. `contents` gives the text of a content, and is asked for the
    /// user's newest words alone.
    pub fn observe(
        &mut self,
        event: &RecordedEvent<Clean>,
        contents: &mut dyn FnMut(&ContentRef) -> Option<Clean>,
    ) -> Vec<Insight> {
        let time_s = i64::try_from(event.time.min(event.observed).unix_ns() / 1_000_000_000).unwrap_or(i64::MAX);
        let Ok(hour) = u32::try_from(time_s / 3_600) else { return Vec::new() };
        let mut out = Vec::new();
        if hour > self.hour {
            let from = std::mem::replace(&mut self.hour, hour);
            self.pass(from, hour, None, &mut out);
        }
        // What the recorder says of its own work is nobody's behaviour. Nor may it be late: that is told in a gap, which would be late again.
        if matches!(event.kind, Kind::Gap | Kind::Detection) {
            return out;
        }
        let facts = Facts::of(event, time_s);
        if facts.is_empty() {
            return out;
        }
        let Some(now) = self.clock(facts.scope, hour, &mut out) else { return out };
        self.implausible += u64::from(facts.implausible);
        let prompt = facts.prompt.and_then(|content| contents(&content)).map(|text| Prompt::read(&text));
        let words = prompt.as_ref().map_or(&[][..], |prompt| &prompt.subject);
        for (kind, entity) in facts.entities() {
            let group = if kind == EntityKind::Key { 0 } else { facts.scope };
            let application = if kind == EntityKind::Agent { facts.application.as_ref() } else { None };
            let application = application.map_or("", |application| &application.id);
            let principals = if kind.is_machine() { &mut self.machines } else { &mut self.people };
            let profile = principals.profile(entity.key, || Profile::new(kind, &entity.id, application, facts.scope, now));
            let peers = self.groups.entry((group, kind), Peers::default);
            profile.observe(&facts, words, Moment { hour: now, peers }, &mut out);
        }
        if let Some(account) = facts.account() {
            // A key may be a program's, and what programs do in their first days is for nobody to say.
            let programs = match (&facts.user, &facts.agent, &facts.key) {
                (Some(_), ..) => Some(1.0),
                (None, None, Some(_)) => Some(KEY_TIMES),
                _ => None,
            };
            let seen = crate::extraction::Seen {
                account,
                scope: facts.scope,
                programs,
                time_s,
                day: now / 24,
                prompt: prompt.as_ref(),
                scored: facts.scored,
                answers: facts.answers,
            };
            self.extraction.observe(&seen, &mut out);
        }
        out
    }

    /// Events that came too late to count.
    #[must_use]
    pub fn late(&self) -> u64 {
        self.late
    }

    /// Measures of events (tokens, times, costs) that no call has, and that are left out for it.
    #[must_use]
    pub fn implausible(&self) -> u64 {
        self.implausible
    }

    /// Entities that are remembered.
    #[must_use]
    pub fn entities(&self) -> usize {
        self.people.len() + self.machines.len()
    }

    /// The state as bytes. What is read back goes on as this does.
    ///
    /// # Errors
    /// Never, with the types that it is made of.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StateError> {
        Ok(postcard::to_extend(self, FORMAT.to_vec())?)
    }

    /// The state that [`Self::to_bytes`] stored. Whoever calls this has seen to it that nobody else wrote the bytes.
    ///
    /// # Errors
    /// When the bytes are another version's, or damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let state = bytes.strip_prefix(FORMAT).ok_or(StateError::Format)?;
        Ok(postcard::from_bytes(state)?)
    }

    /// The hour that it is for an application, whose event is of `hour`. `None`: the event is too late to count.
    fn clock(&mut self, scope: u64, hour: u32, out: &mut Vec<Insight>) -> Option<u32> {
        let is_live = hour + LATE_HOURS >= self.hour;
        let clock = self.clocks.entry(scope, || Clock { hour, is_live });
        if hour + LATE_HOURS < clock.hour {
            self.late += 1;
            return None;
        }
        let was = *clock;
        *clock = Clock { hour: hour.max(was.hour), is_live };
        let now = clock.hour;
        // What is live passes with everybody's hours; history has hours of its own, and what it ends with is not now.
        if (!is_live || !was.is_live) && now > was.hour {
            self.pass(was.hour, now, Some(scope), out);
        }
        Some(now)
    }

    /// Lets hours end, of one application or of all that are live: volumes are closed, and whoever should have been heard of is looked for.
    fn pass(&mut self, from: u32, to: u32, scope: Option<u64>, out: &mut Vec<Insight>) {
        let was_off = from == 0 || to - from > OFF_HOURS;
        for ended in from..if was_off { from + 1 } else { to } {
            self.end_hour(ended, was_off, scope, out);
        }
    }

    fn end_hour(&mut self, hour: u32, was_off: bool, scope: Option<u64>, out: &mut Vec<Insight>) {
        // By kind: entities that should be there, and are not.
        let (mut regular, mut silent) = ([0_u32; 2], [0_u32; 2]);
        let first = out.len();
        let clocks = &self.clocks;
        let is_live = |of: u64| clocks.peek(&of).is_none_or(|clock| clock.is_live);
        for profile in
            self.machines.all().filter(|profile| scope.map_or_else(|| is_live(profile.scope), |scope| profile.scope == scope))
        {
            if let Some(volume) = &mut profile.volume {
                let from = out.len();
                // Of the hour in which the recorder went off only a part was seen.
                if was_off {
                    volume.discard()
                } else {
                    volume.close(hour, out)
                }
                for insight in &mut out[from..] {
                    insight.entity = profile.id.to_string();
                    insight.application = profile.id.to_string();
                }
            }
            if was_off {
                profile.silence = silence::Silence::default();
                continue;
            }
            let (Some(name), Some((heard, weeks))) = (profile.kind.silence(), profile.pass(hour)) else { continue };
            let kind = usize::from(profile.kind == EntityKind::Application);
            regular[kind] += u32::from(heard != Heard::NotExpected);
            silent[kind] += u32::from(matches!(heard, Heard::Silent | Heard::Told));
            if heard == Heard::Told {
                let (hours, expected) = profile.silence.length();
                let mut insight = Insight::new(name, hours, expected, weeks, 0.0);
                insight.entity = profile.id.to_string();
                let application = if profile.kind == EntityKind::Application { &profile.id } else { &profile.application };
                insight.application = application.to_string();
                out.push(insight);
            }
        }
        for insight in &mut out[first..] {
            let kind = match insight.name {
                Name::AgentSilent => 0,
                Name::ApplicationSilent => 1,
                _ => continue,
            };
            insight.peers = f64::from(silent[kind] - 1) / f64::from((regular[kind] - 1).max(1));
        }
    }
}

impl Facts {
    fn entities(&self) -> impl Iterator<Item = (EntityKind, &Entity)> {
        [
            (EntityKind::User, &self.user),
            (EntityKind::Agent, &self.agent),
            (EntityKind::Application, &self.application),
            (EntityKind::Key, &self.key),
            (EntityKind::Tool, &self.tool),
            (EntityKind::Model, &self.model),
            (EntityKind::Route, &self.route),
        ]
        .into_iter()
        .filter_map(|(kind, entity)| Some((kind, entity.as_ref()?)))
    }

    fn is_empty(&self) -> bool {
        self.entities().next().is_none()
    }

    /// Whose prompts these are.
    fn account(&self) -> Option<u64> {
        let entity = [&self.user, &self.key, &self.agent, &self.application].into_iter().flatten().next();
        entity.filter(|_| self.asks || self.answers).map(|entity| entity.key)
    }
}
