//! What is usual among the entities of one kind and one application.

use serde::{Deserialize, Serialize};

use super::bounded::Bounded;
use super::entity::COUNTED;
use super::words::Words;
use crate::stats::Quantiles;

/// Most items of which it is known how many entities use them.
const ITEMS_MAX: usize = 1_024;
/// Most that one entity moves the trend of all in a day, in ln of the volume: nobody carries the others with them.
const TREND_STEP_MAX: f32 = 1.0;
/// Entities that make a trend.
const TREND_ENTITIES_MIN: u32 = 8;

/// What is known of a group.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Peers {
    pub(crate) rates: [Quantiles; COUNTED.len()],
    pub(crate) words: Words,
    /// Active hours by time of day, on working days and at weekends.
    hours: Vec<u32>,
    /// By item: how many entities use it.
    items: Bounded<u64, u32>,
    /// Of calls and tokens.
    trends: [Trend; 2],
}

/// By how much entities are above their own levels: the last day that is over, and the one that runs.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Trend {
    day: u32,
    sum: f32,
    count: u32,
    last: f32,
}

impl Default for Peers {
    fn default() -> Self {
        Self {
            rates: Default::default(),
            words: Words::default(),
            hours: Vec::new(),
            items: Bounded::new(ITEMS_MAX),
            trends: Default::default(),
        }
    }
}

impl Peers {
    /// One more entity uses an item. Gives how many do.
    pub(crate) fn note_item(&mut self, used: usize, item: u32, is_first: bool) -> u32 {
        let key = (used as u64) << 32 | u64::from(item);
        let count = self.items.entry(key, || 0);
        *count += u32::from(is_first);
        *count
    }

    /// An entity was active in an hour.
    pub(crate) fn note_hour(&mut self, hour: u32) {
        if self.hours.is_empty() {
            self.hours = vec![0; 48];
        }
        let slot = slot(hour);
        self.hours[slot] += 1;
        if self.hours[slot] > 1 << 20 {
            self.hours.iter_mut().for_each(|count| *count /= 2);
        }
    }

    /// How busy the group is at that time of day: 1 as in an average hour.
    pub(crate) fn busy(&self, hour: u32) -> f64 {
        let total: f64 = self.hours.iter().map(|count| f64::from(*count)).sum();
        self.hours.get(slot(hour)).map_or(0.0, |count| f64::from(*count) * 48.0 / total.max(1.0))
    }

    /// An entity is by so much above its level (in ln); gives by how much all of them were on the day before.
    pub(crate) fn trend(&mut self, which: usize, day: u32, above: f32) -> f32 {
        let trend = &mut self.trends[which];
        if trend.day != day {
            trend.last = if trend.count >= TREND_ENTITIES_MIN { trend.sum / trend.count as f32 } else { 0.0 };
            (trend.day, trend.sum, trend.count) = (day, 0.0, 0);
        }
        trend.sum += above.clamp(-TREND_STEP_MAX, TREND_STEP_MAX);
        trend.count += 1;
        trend.last
    }
}

fn slot(hour: u32) -> usize {
    let slot = crate::stats::hour_of_week(hour) as usize;
    slot % 24 + if slot >= 120 { 24 } else { 0 }
}
