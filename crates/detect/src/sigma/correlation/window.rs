//! The window of one group of a correlation: what happened in it, in the order of its time.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use event::EventId;
use journal::Seq;
use rsigma_parser::{CorrelationType, WindowMode};
use serde::{Deserialize, Serialize, Serializer};

/// Most entries of a window. Beyond it the oldest go, which can only count too few.
pub(super) const ENTRIES_MAX: usize = 10_000;
/// Most events that a correlation names as its evidence: the newest.
const EVENTS_MAX: usize = 32;

/// What a window, an entry, a value of entries, a value that stands for itself and a named event take in memory, as tables and allocators round it up.
const WINDOW_BYTES: usize = 256;
const ENTRY_BYTES: usize = 24;
const VALUE_BYTES: usize = 40;
const LATEST_BYTES: usize = 88;
const EVENT_BYTES: usize = 40;

/// How long a window is, and where it begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) mode: WindowMode,
    pub(super) seconds: i64,
    /// Of a session window: the longest pause.
    pub(super) gap: i64,
}

/// What an event adds to a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Added {
    /// It happened.
    Event,
    /// It has this value, by its hash.
    Value(u64),
    /// It has this number.
    Number(f64),
    /// It is of the rule at this place of the correlation's list.
    Rule(usize),
}

/// By which an event is named later.
pub(crate) type EventName = (Seq, EventId);

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Entry {
    time_s: i64,
    /// A hash, the bits of a number, or a rule's place.
    what: u64,
    /// How many events of this second stand in it.
    events: u32,
}

/// What happened in a window, ordered by time: entries where it matters when and how often, else the values, or rules, that there are.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Window {
    entries: VecDeque<Entry>,
    latest: Latest,
    /// When the oldest happened, since the window last began anew.
    begin_s: Option<i64>,
    named: VecDeque<(i64, EventName)>,
    /// How many entries are of a rule, where rules have an order.
    tally: BTreeMap<u64, u32>,
}

/// Values, or rules, each with the time when it was last seen: which is all that counts for how many different ones there are, so that one
/// more costs a look-up and not a pass over the window.
#[derive(Debug, Default, Deserialize)]
#[serde(from = "BTreeSet<(i64, u64)>")]
struct Latest {
    by_time: BTreeSet<(i64, u64)>,
    at: HashMap<u64, i64>,
}

impl Serialize for Latest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.by_time.serialize(serializer)
    }
}

impl From<BTreeSet<(i64, u64)>> for Latest {
    fn from(by_time: BTreeSet<(i64, u64)>) -> Self {
        let at = by_time.iter().map(|(time_s, value)| (*value, *time_s)).collect();
        Self { by_time, at }
    }
}

impl Latest {
    fn see(&mut self, value: u64, time_s: i64) {
        let known = self.at.entry(value).or_insert(i64::MIN);
        if *known < time_s {
            self.by_time.remove(&(*known, value));
            self.by_time.insert((time_s, value));
            *known = time_s;
        }
    }

    fn newest(&self) -> Option<i64> {
        self.by_time.last().map(|(time_s, _)| *time_s)
    }

    /// Lets go of the one that was not seen for longest; of none when it was seen at `begin` or later.
    fn forget_before(&mut self, begin: i64) -> bool {
        let is_over = self.by_time.first().is_some_and(|(time_s, _)| *time_s < begin);
        if is_over && let Some((_, value)) = self.by_time.pop_first() {
            self.at.remove(&value);
        }
        is_over
    }
}

/// What a group's windows had to leave out.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    /// Entries beyond the most of a window.
    pub(super) entries: u64,
    /// Entries of a window of the past that another one of the past took the place of.
    pub(super) late: u64,
}

/// A group has two windows: the newest, and one for events that come late and are older than that. So a session that is imported
/// after a newer one of the same user is counted by itself, and never together with what happened hours later.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Group {
    newest: Window,
    late: Option<Box<Window>>,
}

impl Group {
    /// Adds an event, and gives the window that it is in.
    pub(super) fn add(
        &mut self,
        time_s: i64,
        added: Added,
        name: Option<EventName>,
        kind: CorrelationType,
        span: &Span,
        lost: &mut Lost,
    ) -> &Window {
        if self.newest.takes(time_s, span) {
            self.newest.add(time_s, added, name, kind, span, lost);
            return &self.newest;
        }
        let late = self.late.get_or_insert_default();
        if !late.takes(time_s, span) {
            lost.late += late.len() as u64;
            **late = Window::default();
        }
        late.add(time_s, added, name, kind, span, lost);
        late
    }

    /// The newest window.
    pub(super) fn newest(&self) -> &Window {
        &self.newest
    }

    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        self.newest.bytes() + self.late.as_ref().map_or(0, |late| late.bytes())
    }

    /// Entries in it.
    pub(super) fn len(&self) -> usize {
        self.newest.len() + self.late.as_ref().map_or(0, |late| late.len())
    }

    /// Whether nothing in it can count at this time, or later.
    pub(super) fn is_over(&self, time_s: i64, span: &Span) -> bool {
        self.newest.newest().is_none_or(|newest| newest.saturating_add(span.seconds) < time_s)
    }
}

impl Window {
    fn newest(&self) -> Option<i64> {
        self.entries.back().map(|entry| entry.time_s).max(self.latest.newest())
    }

    /// Entries, or values.
    fn len(&self) -> usize {
        self.entries.len() + self.latest.at.len()
    }

    /// Whether an event of that time is in this window or in one that follows it.
    fn takes(&self, time_s: i64, span: &Span) -> bool {
        let (Some(oldest), Some(newest)) = (self.begin_s, self.newest()) else { return true };
        match span.mode {
            WindowMode::Sliding => time_s >= newest.saturating_sub(span.seconds),
            WindowMode::Tumbling => bucket(time_s, span.seconds) >= bucket(newest, span.seconds),
            WindowMode::Session => time_s >= oldest.saturating_sub(span.gap) && newest.saturating_sub(time_s) <= span.seconds,
        }
    }

    fn add(&mut self, time_s: i64, added: Added, name: Option<EventName>, kind: CorrelationType, span: &Span, lost: &mut Lost) {
        self.open(time_s, span);
        let what = match added {
            Added::Event => 0,
            Added::Value(hash) => hash,
            Added::Number(number) => number.to_bits(),
            Added::Rule(place) => place as u64,
        };
        if let Some(name) = name {
            let at = self.named.partition_point(|(at, _)| *at <= time_s);
            self.named.insert(at, (time_s, name));
            if self.named.len() > EVENTS_MAX {
                self.named.pop_front();
            }
        }
        self.begin_s = Some(self.begin_s.map_or(time_s, |begin| begin.min(time_s)));
        let at = self.entries.partition_point(|entry| entry.time_s <= time_s);
        // A second is one entry wherever the order within it says nothing, so that a burst takes no memory.
        let mut same = self.entries.range_mut(..at).rev().take_while(|entry| entry.time_s == time_s);
        match kind {
            CorrelationType::EventCount => {
                if let Some(entry) = same.next() {
                    entry.events = entry.events.saturating_add(1);
                    return;
                }
            }
            CorrelationType::ValueSum | CorrelationType::ValueAvg => {
                if let Some(entry) = same.next() {
                    entry.what = (f64::from_bits(entry.what) + f64::from_bits(what)).to_bits();
                    entry.events = entry.events.saturating_add(1);
                    return;
                }
            }
            CorrelationType::ValueCount | CorrelationType::Temporal => {
                self.latest.see(what, time_s);
                if self.latest.at.len() > ENTRIES_MAX && self.latest.forget_before(i64::MAX) {
                    lost.entries += 1;
                }
                return;
            }
            // At most as many in a second as there are rules.
            CorrelationType::TemporalOrdered => {
                if same.any(|entry| entry.what == what) {
                    return;
                }
                *self.tally.entry(what).or_default() += 1;
            }
            CorrelationType::ValuePercentile | CorrelationType::ValueMedian => {}
        }
        self.entries.insert(at, Entry { time_s, what, events: 1 });
        if self.entries.len() > ENTRIES_MAX {
            lost.entries += 1;
            // What there is much of gives first: nobody is to drive the one hit of another rule out by repeating one.
            let spare = match kind {
                CorrelationType::TemporalOrdered => {
                    self.entries.iter().position(|entry| self.tally.get(&entry.what).is_some_and(|count| *count > 1))
                }
                _ => None,
            };
            self.remove(spare.unwrap_or(0));
        }
    }

    /// Lets go of what is no longer in the window that an event of that time is in.
    fn open(&mut self, time_s: i64, span: &Span) {
        let (Some(oldest), Some(newest)) = (self.begin_s, self.newest()) else { return };
        let begins_anew = match span.mode {
            WindowMode::Sliding => {
                let begin = time_s.max(newest).saturating_sub(span.seconds);
                while self.entries.front().is_some_and(|entry| entry.time_s < begin) {
                    self.remove(0);
                }
                while self.latest.forget_before(begin) {}
                while self.named.front().is_some_and(|(at, _)| *at < begin) {
                    self.named.pop_front();
                }
                return;
            }
            WindowMode::Tumbling => bucket(time_s, span.seconds) > bucket(newest, span.seconds),
            WindowMode::Session => time_s.saturating_sub(newest) > span.gap || time_s.saturating_sub(oldest) > span.seconds,
        };
        if begins_anew {
            *self = Self::default();
        }
    }

    fn remove(&mut self, at: usize) {
        let Some(entry) = self.entries.remove(at) else { return };
        if let Some(count) = self.tally.get_mut(&entry.what) {
            *count -= 1;
            if *count == 0 {
                self.tally.remove(&entry.what);
            }
        }
    }

    fn bytes(&self) -> usize {
        let values = VALUE_BYTES * self.tally.len() + LATEST_BYTES * self.latest.at.len();
        WINDOW_BYTES + ENTRY_BYTES * self.entries.len() + values + EVENT_BYTES * self.named.len()
    }

    /// The events that it names, the newest [`EVENTS_MAX`].
    pub(super) fn named(&self) -> Vec<EventName> {
        self.named.iter().map(|(_, name)| *name).collect()
    }

    /// How many events there are.
    pub(super) fn events(&self) -> u64 {
        self.entries.iter().map(|entry| u64::from(entry.events)).sum()
    }

    /// How many different values, or rules.
    pub(super) fn different(&self) -> usize {
        self.latest.at.len()
    }

    /// Whether the rule at that place of the list fired.
    pub(super) fn has(&self, rule: usize) -> bool {
        self.latest.at.contains_key(&(rule as u64)) || self.tally.contains_key(&(rule as u64))
    }

    /// Whether `rules` rules fired in the order of the list; what happened in one second counts for either order.
    pub(super) fn is_in_order(&self, rules: usize) -> bool {
        let mut after = i64::MIN;
        (0..rules as u64).all(|rule| {
            let begin = self.entries.partition_point(|entry| entry.time_s < after);
            let found = self.entries.range(begin..).find(|entry| entry.what == rule);
            found.is_some_and(|entry| {
                after = entry.time_s;
                true
            })
        })
    }

    /// The sum of the numbers.
    pub(super) fn sum(&self) -> f64 {
        self.entries.iter().map(|entry| f64::from_bits(entry.what)).sum()
    }

    /// The value below which that share of the numbers lies (0 to 100), between two of them by straight line; `None` without any.
    pub(super) fn percentile(&self, percent: f64) -> Option<f64> {
        let mut values: Vec<f64> = self.entries.iter().map(|entry| f64::from_bits(entry.what)).collect();
        let last = values.len().checked_sub(1)?;
        let rank = percent.clamp(0.0, 100.0) / 100.0 * last as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the number of values")]
        let below = (rank.floor() as usize).min(last);
        let (_, low, above) = values.select_nth_unstable_by(below, f64::total_cmp);
        let low = *low;
        let high = above.iter().copied().min_by(f64::total_cmp).unwrap_or(low);
        Some(low + (rank - below as f64) * (high - low))
    }
}

/// Which of the windows that follow each other without a gap.
fn bucket(time_s: i64, seconds: i64) -> i64 {
    time_s.div_euclid(seconds.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLIDING: Span = Span { mode: WindowMode::Sliding, seconds: 60, gap: 0 };

    fn count(times: &[i64], span: &Span) -> Vec<u64> {
        let (mut group, mut lost) = (Group::default(), Lost::default());
        times
            .iter()
            .map(|time_s| group.add(*time_s, Added::Event, None, CorrelationType::EventCount, span, &mut lost).events())
            .collect()
    }

    #[test]
    fn windows_slide_tumble_and_last_as_long_as_a_session() {
        let tumbling = Span { mode: WindowMode::Tumbling, ..SLIDING };
        let session = Span { mode: WindowMode::Session, seconds: 60, gap: 10 };
        for (name, span, times, counts) in [
            ("in order", SLIDING, vec![0, 30, 60, 61, 200], vec![1, 2, 3, 3, 1]),
            ("a little late", SLIDING, vec![0, 50, 20, 70], vec![1, 2, 3, 3]),
            // What is older than the window is counted with what is as old, and the newest window goes on.
            ("a session of before", SLIDING, vec![1000, 1001, 100, 101, 1002], vec![1, 2, 1, 2, 3]),
            ("and one of before that", SLIDING, vec![1000, 500, 100, 101, 501], vec![1, 1, 1, 2, 1]),
            ("by the minute", tumbling, vec![0, 59, 60, 61, 30, 120], vec![1, 2, 1, 2, 1, 1]),
            ("with pauses", session, vec![0, 10, 21, 25, 30, 90], vec![1, 2, 1, 2, 3, 1]),
            ("longest session", session, vec![0, 10, 20, 30, 40, 50, 60, 61], vec![1, 2, 3, 4, 5, 6, 7, 1]),
        ] {
            assert_eq!(count(&times, &span), counts, "{name}");
        }
    }

    #[test]
    fn a_burst_takes_one_entry_and_a_window_no_more_than_its_most() {
        let (mut group, mut lost) = (Group::default(), Lost::default());
        for _ in 0..100_000 {
            group.add(7, Added::Event, None, CorrelationType::EventCount, &SLIDING, &mut lost);
        }
        assert_eq!((group.len(), lost), (1, Lost::default()));
        let long = Span { seconds: 1_000_000, ..SLIDING };
        let most = ENTRIES_MAX as i64;
        let mut group = Group::default();
        for time_s in 0..most + 5 {
            group.add(time_s, Added::Rule(1), None, CorrelationType::TemporalOrdered, &long, &mut lost);
        }
        group.add(most + 5, Added::Rule(0), None, CorrelationType::TemporalOrdered, &long, &mut lost);
        assert_eq!((group.len(), lost.entries), (ENTRIES_MAX, 6));
        // One rule again and again does not drive out another.
        for time_s in 0..most {
            group.add(most + 6 + time_s, Added::Rule(1), None, CorrelationType::TemporalOrdered, &long, &mut lost);
        }
        assert!(group.newest.has(0) && group.newest.has(1));
    }

    #[test]
    fn a_value_is_held_once_with_the_time_when_it_was_seen_last() {
        let (mut group, mut lost) = (Group::default(), Lost::default());
        let kind = CorrelationType::ValueCount;
        let most = ENTRIES_MAX as i64;
        let long = Span { seconds: 10 * most, ..SLIDING };
        for time_s in 0..most + 5 {
            assert_eq!(group.add(time_s, Added::Value(7), None, kind, &long, &mut lost).different(), 1);
        }
        assert_eq!((group.len(), lost), (1, Lost::default()));
        // The one that was not seen for longest gives, and a late sight of another makes it no older.
        group.add(most + 6, Added::Value(8), None, kind, &long, &mut lost);
        group.add(3, Added::Value(7), None, kind, &long, &mut lost);
        for value in 0..most as u64 {
            group.add(most + 7, Added::Value(100 + value), None, kind, &long, &mut lost);
        }
        assert_eq!((group.len(), lost.entries), (ENTRIES_MAX, 2));
        assert!(!group.newest.has(7) && !group.newest.has(8) && group.newest.has(100));
        let held = (group.newest.latest.by_time.len(), group.newest.latest.at.len());
        assert_eq!(held, (ENTRIES_MAX, ENTRIES_MAX));
        // It leaves a window that slides when its last sight does.
        let mut group = Group::default();
        for (time_s, value, different) in [(0, 1, 1), (10, 2, 2), (50, 1, 2), (30, 1, 2), (71, 3, 2), (110, 3, 2), (111, 3, 1)] {
            let window = group.add(time_s, Added::Value(value), None, kind, &SLIDING, &mut lost);
            assert_eq!(window.different(), different, "{time_s}");
        }
    }

    #[test]
    fn a_stored_group_goes_on_alike() {
        let session = Span { mode: WindowMode::Session, seconds: 600, gap: 100 };
        for kind in [
            CorrelationType::EventCount,
            CorrelationType::ValueCount,
            CorrelationType::Temporal,
            CorrelationType::TemporalOrdered,
            CorrelationType::ValueSum,
            CorrelationType::ValueMedian,
        ] {
            for span in [SLIDING, Span { mode: WindowMode::Tumbling, ..SLIDING }, session] {
                let see = |group: &mut Group, from: u64| -> Vec<_> {
                    let mut lost = Lost::default();
                    let mut amounts = Vec::new();
                    for n in from..from + 400 {
                        let time_s = (n * 7 % 90 + n * 3) as i64;
                        let added = match kind {
                            CorrelationType::EventCount => Added::Event,
                            CorrelationType::ValueCount => Added::Value(n * 31 % 17),
                            CorrelationType::Temporal | CorrelationType::TemporalOrdered => Added::Rule((n * 5 % 4) as usize),
                            _ => Added::Number((n % 13) as f64),
                        };
                        let name = Some((Seq(n), EventId::derived(event::Timestamp::from_unix_ns(n), &[1; 32])));
                        let window = group.add(time_s, added, name, kind, &span, &mut lost);
                        let order = kind == CorrelationType::TemporalOrdered && window.is_in_order(4);
                        amounts.push((window.amount(kind, 4, 50.0), order, window.named()));
                    }
                    (0..amounts.len()).map(|at| (amounts[at].clone(), group.bytes(), lost)).collect()
                };
                let (mut one, mut other) = (Group::default(), Group::default());
                assert_eq!(see(&mut one, 0), see(&mut other, 0));
                let stored = postcard::to_extend(&one, Vec::new()).unwrap();
                let mut one: Group = postcard::from_bytes(&stored).unwrap();
                assert_eq!(see(&mut one, 400), see(&mut other, 400), "{kind:?} {:?}", span.mode);
            }
        }
    }

    #[test]
    fn rules_are_in_order_when_one_way_through_them_is() {
        let long = Span { seconds: 1_000, ..SLIDING };
        for (hits, ordered) in [
            (vec![(0, 1), (1, 2), (2, 3)], true),
            (vec![(1, 1), (0, 2), (2, 3)], false),
            (vec![(1, 1), (0, 2), (1, 3), (2, 3)], true),
            (vec![(2, 5), (1, 5), (0, 5)], true),
            (vec![(0, 1), (2, 2), (1, 3)], false),
        ] {
            let (mut group, mut lost) = (Group::default(), Lost::default());
            for (rule, time_s) in &hits {
                group.add(*time_s, Added::Rule(*rule), None, CorrelationType::TemporalOrdered, &long, &mut lost);
            }
            assert_eq!(group.newest.is_in_order(3), ordered, "{hits:?}");
        }
    }

    #[test]
    fn percentiles_lie_between_values() {
        let (mut group, mut lost) = (Group::default(), Lost::default());
        for (time_s, value) in [4.0, 1.0, 3.0, 2.0].into_iter().enumerate() {
            group.add(time_s as i64, Added::Number(value), None, CorrelationType::ValueMedian, &SLIDING, &mut lost);
        }
        for (percent, value) in [(0.0, 1.0), (50.0, 2.5), (100.0, 4.0), (75.0, 3.25)] {
            assert_eq!(group.newest.percentile(percent), Some(value), "{percent}");
        }
        assert_eq!(Window::default().percentile(50.0), None);
    }
}
