//! Whether something that is always there has fallen silent.

use serde::{Deserialize, Serialize};

use super::entity::EntityKind;
use super::hours::Hours;

/// Weeks that an entity is known for before its silence means something.
const WEEKS_MIN: u32 = 2;
/// Silent hours at least, however regular it is.
const HOURS_MIN: u32 = 2;
/// ln of the probability of such a silence below which it is told. People are free at the same time, so their applications are
/// silent much more often than hours apart would have it.
const UNLIKELY: f32 = -8.0;
/// See [`UNLIKELY`].
const UNLIKELY_OF_PEOPLE: f32 = -18.0;
/// The probability of activity in an hour from which an entity counts among those that should be there.
const REGULAR: f64 = 0.5;

/// A silence that lasts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Silence {
    hours: u32,
    /// Hours of these in which it is usually active.
    expected: f32,
    log_probability: f32,
    told: bool,
}

/// What an hour without a word from an entity means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It is not one that is expected at this hour, or too little is known of it.
    NotExpected,
    /// It was heard of, or is silent only for a short while.
    Regular,
    /// It is silent.
    Silent,
    /// It is silent, and that has not been told.
    Told,
}

impl Silence {
    /// An hour is over, in which the entity was heard of or not.
    pub(crate) fn pass(&mut self, kind: EntityKind, habit: &Hours, hour: u32, was_heard: bool) -> Heard {
        let probability = habit.probability(hour);
        if was_heard {
            return if probability >= REGULAR { Heard::Regular } else { Heard::NotExpected };
        }
        self.hours += 1;
        self.expected += probability as f32;
        self.log_probability += (1.0 - probability).ln() as f32;
        if habit.weeks() < WEEKS_MIN {
            return Heard::NotExpected;
        }
        let unlikely = if kind == EntityKind::Application { UNLIKELY_OF_PEOPLE } else { UNLIKELY };
        if self.hours < HOURS_MIN || self.log_probability > unlikely {
            return if probability >= REGULAR { Heard::Regular } else { Heard::NotExpected };
        }
        if std::mem::replace(&mut self.told, true) { Heard::Silent } else { Heard::Told }
    }

    /// Hours of silence, and those of them in which it is usually active.
    pub(crate) fn length(&self) -> (f64, f64) {
        (f64::from(self.hours), f64::from(self.expected))
    }
}
