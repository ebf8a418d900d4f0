//! What could not be delivered, and how the server is told.

use std::collections::BTreeMap;

use event::{Kind, Timestamp, attr};
use serde::{Deserialize, Serialize};

use crate::event_input::Event;

/// Why an event was not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Too many others were waiting.
    QueueFull,
    /// The server did not take it in time: it was away, busy, or had no room.
    Unreachable,
    /// The server refused it.
    Refused,
    /// It is larger than the server takes.
    TooLarge,
}

/// Events that were lost and that the server has not been told of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losses {
    /// How many, by reason.
    pub counts: BTreeMap<Loss, u64>,
    /// When the first was lost, nanoseconds since 1970.
    pub first: Option<Timestamp>,
    /// When the last was lost.
    pub last: Option<Timestamp>,
}

impl Loss {
    /// The word that the gap event uses (`watchkeeper.gap.reason`).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "sensor_queue_full",
            Self::Unreachable => "sensor_unreachable",
            Self::Refused => "sensor_refused",
            Self::TooLarge => "sensor_too_large",
        }
    }
}

impl Losses {
    /// Whether nothing was lost.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// How many were lost.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.values().fold(0, |total, count| total.saturating_add(*count))
    }

    /// Counts some that are lost now.
    pub fn add(&mut self, loss: Loss, count: u64) {
        if count > 0 {
            let now = Timestamp::now();
            self.join(Self { counts: BTreeMap::from([(loss, count)]), first: Some(now), last: Some(now) });
        }
    }

    /// Counts what another has counted.
    pub fn join(&mut self, other: Self) {
        for (loss, count) in other.counts {
            let sum = self.counts.entry(loss).or_default();
            *sum = sum.saturating_add(count);
        }
        self.first = [self.first, other.first].into_iter().flatten().min();
        self.last = self.last.max(other.last);
    }

    /// Takes off what the server has been told of; later losses stay.
    pub(crate) fn told(&mut self, told: &Self) {
        for (loss, count) in &told.counts {
            if let Some(left) = self.counts.get_mut(loss) {
                *left = left.saturating_sub(*count);
            }
        }
        self.counts.retain(|_, count| *count > 0);
        (self.first, self.last) = if self.is_empty() { (None, None) } else { (told.last, self.last) };
    }

    /// One gap event for each reason.
    pub(crate) fn events(&self) -> Vec<Event> {
        let gap = |(loss, count): (&Loss, &u64)| {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            let mut gap = Event::of(Kind::Gap)
                .attribute(attr::GAP_REASON.as_str(), loss.as_str())
                .attribute(attr::GAP_COUNT.as_str(), count);
            for (key, time) in [("watchkeeper.gap.from_ns", self.first), ("watchkeeper.gap.to_ns", self.last)] {
                if let Some(time) = time {
                    gap = gap.attribute(key, time.unix_ns());
                }
            }
            gap
        };
        self.counts.iter().map(gap).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_add_up_and_are_told_by_reason() {
        let mut losses = Losses::default();
        assert!(losses.is_empty() && losses.events().is_empty());
        losses.add(Loss::QueueFull, 2);
        losses.add(Loss::Refused, 1);
        losses.add(Loss::Refused, 0);
        let mut all =
            Losses { counts: BTreeMap::from([(Loss::Refused, 4)]), first: Some(Timestamp::from_unix_ns(7)), last: None };
        all.join(losses.clone());
        assert_eq!((all.total(), all.first, all.last), (7, Some(Timestamp::from_unix_ns(7)), losses.last));
        let events: Vec<_> = all.events().iter().map(|event| serde_json::to_value(event).unwrap()).collect();
        let told: Vec<_> = events
            .iter()
            .map(|event| {
                (
                    event["attributes"]["watchkeeper.gap.reason"].as_str().unwrap(),
                    event["attributes"]["watchkeeper.gap.count"].as_u64().unwrap(),
                )
            })
            .collect();
        assert_eq!(told, [("sensor_queue_full", 2), ("sensor_refused", 5)]);
        assert_eq!(events[0]["kind"], "gap");
        assert_eq!(serde_json::from_value::<Losses>(serde_json::to_value(&all).unwrap()).unwrap(), all);
        let told = all.clone();
        all.add(Loss::Refused, 3);
        all.told(&told);
        assert_eq!((all.total(), all.first), (3, told.last));
        all.told(&all.clone());
        assert_eq!(all, Losses::default());
    }
}
