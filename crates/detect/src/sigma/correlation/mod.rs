//! Correlations: what rules see together, in windows of event time.
//!
//! Written here and not taken from `rsigma`, whose correlations are the measure in the tests (`crates/detect/tests/sigma`): memory must be
//! bounded for each rule by itself and what is dropped counted (invariants I4, I5), the same events must drop the same groups (I3), and no
//! event may take more than a pass over one window. There a temporal correlation without a condition fires on any one of its rules, a
//! percentile is not compared with its threshold, and the search for an order takes exponential time.

mod compile;
mod condition;
mod window;

use std::collections::{HashMap, HashSet};

use rsigma_eval::{Event, EventValue};
use rsigma_parser::{CorrelationRule, CorrelationType};
use serde::{Deserialize, Serialize};

pub(crate) use self::compile::error_of;
use self::condition::Test;
pub(crate) use self::window::EventName;
use self::window::{Added, Group, Lost, Span};
use crate::behaviour::Bounded;
use crate::detection::sha256;
use crate::session::hash;

/// Most memory of all windows. Above it the correlation that holds the most gives its stalest group.
const BYTES_MAX: usize = 192 * 1024 * 1024;
/// What a group takes beside its windows: key, place in the table and in the list of the stalest.
const GROUP_BYTES: usize = 160;
/// Most values of one field that one event adds.
const FIELD_VALUES_MAX: usize = 64;
/// Groups that are looked at for being over, for each event that is added.
const SWEPT_FOR_EACH: usize = 2;

/// What the bounds left out (invariant I4).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// Groups that were forgotten before their window was over.
    pub(crate) groups: u64,
    /// Entries of windows: beyond the most of one, or of a time that is over and done with.
    pub(crate) entries: u64,
}

/// What a correlation found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Counted {
    /// The correlation's place in the set.
    pub(crate) rule: usize,
    pub(crate) kind: CorrelationType,
    /// How many, or how much.
    pub(crate) value: f64,
    pub(crate) span_s: u64,
    /// Names and values by which events are grouped.
    pub(crate) group: Vec<(String, String)>,
    /// The newest of the events that were counted.
    pub(crate) events: Vec<EventName>,
}

/// How far a window is.
pub(crate) struct Standing {
    pub(crate) group: Vec<(String, String)>,
    pub(crate) value: Option<f64>,
    pub(crate) holds: bool,
}

/// All correlations of a set, with their windows.
#[derive(Default)]
pub(crate) struct Correlations {
    list: Vec<Correlation>,
    /// By the place of a rule in the set: correlations that speak of it, and its place in their lists.
    by_rule: HashMap<usize, Vec<(usize, usize)>>,
    bytes: usize,
    bytes_max: usize,
    dropped: Dropped,
}

struct Correlation {
    position: usize,
    kind: CorrelationType,
    /// For each field that is grouped by: its name here, and its name in the events of each rule.
    group_by: Vec<(String, Vec<String>)>,
    fields: Vec<String>,
    span: Span,
    test: Test,
    rules: usize,
    percent: f64,
    groups: Groups,
    bytes: usize,
}

/// The groups of a correlation, by the digest of what they are grouped by; the memory of all bounds them, and no number.
type Groups = Bounded<[u8; 16], Group>;

/// The windows of all correlations, each with its place in the set, apart from the rules.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Windows(Vec<(usize, Groups)>);

impl Correlations {
    /// Compiles correlations with their places in the set; `position` finds a rule by its id or name.
    pub(crate) fn compile<'a>(
        rules: impl Iterator<Item = (usize, &'a CorrelationRule)>,
        position: impl Fn(&str) -> Option<usize>,
    ) -> Result<Self, String> {
        let mut all = Self { bytes_max: BYTES_MAX, ..Self::default() };
        for (own, rule) in rules {
            let index = all.list.len();
            let names = compile::places(rule, |name| position(name).map(|position| position.to_string()));
            all.list.push(Correlation::compile(rule, own, &names)?);
            let mut known = HashSet::new();
            for (place, name) in rule.rules.iter().enumerate() {
                if let Some(rule) = position(name).filter(|rule| known.insert(*rule)) {
                    all.by_rule.entry(rule).or_default().push((index, place));
                }
            }
        }
        Ok(all)
    }

    /// The windows, and none are left.
    pub(crate) fn take_windows(&mut self) -> Windows {
        self.bytes = 0;
        let taken = self.list.iter_mut().map(|one| {
            one.bytes = 0;
            (one.position, std::mem::replace(&mut one.groups, Bounded::new(usize::MAX)))
        });
        Windows(taken.collect())
    }

    /// Goes on with windows that were taken; `place` gives the place of a correlation by the one that it had, where it is the same.
    /// Correlations that have none among them keep their own.
    pub(crate) fn go_on(&mut self, windows: Windows, place: impl Fn(usize) -> Option<usize>) {
        for (before, groups) in windows.0 {
            let Some(position) = place(before) else { continue };
            let Some(one) = self.list.iter_mut().find(|one| one.position == position) else { continue };
            one.groups = groups;
            one.bytes = one.groups.iter_mut().map(|(_, group)| GROUP_BYTES + group.bytes()).sum();
        }
        self.bytes = self.list.iter().map(|one| one.bytes).sum();
        self.bound();
    }

    /// Whether any counts what the rule at that place sees.
    pub(crate) fn count(&self, rule: usize) -> bool {
        self.by_rule.contains_key(&rule)
    }

    pub(crate) fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// About how much memory the windows take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Groups of all correlations.
    pub(crate) fn groups(&self) -> usize {
        self.list.iter().map(|one| one.groups.len()).sum()
    }

    /// Tells of an event that the rules at these places matched, and gives the correlations that hold then, those of correlations, too.
    pub(crate) fn observe(
        &mut self,
        event: &impl Event,
        name: Option<EventName>,
        matched: &[usize],
        time_s: i64,
    ) -> Vec<Counted> {
        // A clock that is far off must not make arithmetic of it.
        let time_s = time_s.clamp(0, i64::MAX / 4);
        let mut found: Vec<Counted> = Vec::new();
        for rule in matched {
            for (correlation, place) in self.by_rule.get(rule).cloned().unwrap_or_default() {
                if let Some(one) = self.add(correlation, place, &Source::Event(event), name, time_s) {
                    note(&mut found, 0, one);
                }
            }
        }
        // Rules refer to each other in no circle, so this ends.
        let mut next = 0;
        while let Some(below) = found.get(next).cloned() {
            next += 1;
            for (correlation, place) in self.by_rule.get(&below.rule).cloned().unwrap_or_default() {
                let source = Source::Correlation { event, group: &below.group };
                if let Some(one) = self.add(correlation, place, &source, name, time_s) {
                    note(&mut found, next, one);
                }
            }
        }
        found
    }

    fn add<E: Event>(
        &mut self,
        index: usize,
        place: usize,
        source: &Source<'_, E>,
        name: Option<EventName>,
        time_s: i64,
    ) -> Option<Counted> {
        let correlation = self.list.get_mut(index)?;
        let group = correlation.group_of(place, source);
        // Events that say nothing of what is grouped by have nothing in common: strangers are not one user.
        if !group.is_empty() && group.iter().all(Option::is_none) {
            return None;
        }
        let added = correlation.added(place, source);
        if added.is_empty() {
            return None;
        }
        let key = key_of(&group);
        let before = correlation.bytes;
        correlation.sweep(time_s, &key);
        let (kind, span) = (correlation.kind, correlation.span);
        if correlation.groups.peek(&key).is_none() {
            correlation.bytes += GROUP_BYTES + Group::default().bytes();
        }
        let mut lost = Lost::default();
        let stands = correlation.groups.entry(key, Group::default);
        let held = stands.bytes();
        let mut value = None;
        let mut events = Vec::new();
        for (number, one) in added.iter().enumerate() {
            let window = stands.add(time_s, *one, name.filter(|_| number == 0), kind, &span, &mut lost);
            if number + 1 == added.len() {
                let amount = window.amount(kind, correlation.rules, correlation.percent);
                value = amount.filter(|amount| window.holds(kind, &correlation.test, correlation.rules, *amount));
                if value.is_some() {
                    events = window.named();
                }
            }
        }
        correlation.bytes = correlation.bytes + stands.bytes() - held;
        self.bytes = self.bytes + correlation.bytes - before;
        self.dropped.entries += lost.entries + lost.late;
        let told = value.map(|value| Counted {
            rule: correlation.position,
            kind,
            value,
            span_s: u64::try_from(span.seconds).unwrap_or(0),
            group: correlation.named(group),
            events,
        });
        self.bound();
        told
    }

    /// How far the correlation at a place of the set is for the group of an event.
    pub(crate) fn standing(&self, position: usize, event: &impl Event) -> Option<Standing> {
        let correlation = self.list.iter().find(|one| one.position == position)?;
        // With aliases the event's fields are those of one of the rules: the first whose group there is.
        (0..correlation.rules).find_map(|place| {
            let group = correlation.group_of(place, &Source::Event(event));
            let stands = correlation.groups.peek(&key_of(&group))?;
            let window = stands.newest();
            let value = window.amount(correlation.kind, correlation.rules, correlation.percent);
            let holds = value.is_some_and(|value| window.holds(correlation.kind, &correlation.test, correlation.rules, value));
            Some(Standing { group: correlation.named(group), value, holds })
        })
    }

    /// Keeps the windows within their memory.
    fn bound(&mut self) {
        while self.bytes > self.bytes_max {
            // The one that holds the most gives: a flood of one rule forgets its own, and no other rule's.
            let Some(most) = self.list.iter_mut().max_by_key(|one| one.bytes) else { return };
            let Some((_, group)) = most.groups.pop_oldest() else { return };
            let bytes = GROUP_BYTES + group.bytes();
            most.bytes -= bytes;
            self.bytes -= bytes;
            self.dropped.groups += 1;
            self.dropped.entries += group.len() as u64;
        }
    }

    #[cfg(test)]
    pub(crate) fn with_bytes_max(self, bytes_max: usize) -> Self {
        Self { bytes_max, ..self }
    }
}

/// Notes what holds. An event completes a correlation once for a group, however many of its rules it matches.
fn note(found: &mut Vec<Counted>, from: usize, one: Counted) {
    match found.iter_mut().skip(from).find(|known| known.rule == one.rule && known.group == one.group) {
        Some(known) => *known = one,
        None => found.push(one),
    }
}

/// Where the fields of what is counted are: in an event, or in the group of a correlation below.
enum Source<'a, E> {
    Event(&'a E),
    Correlation { event: &'a E, group: &'a [(String, String)] },
}

impl<E: Event> Source<'_, E> {
    /// The value by which is grouped. A list is no group.
    fn text(&self, own: &str, theirs: &str) -> Option<String> {
        match self {
            Self::Event(event) => event.get_field(theirs).as_ref().and_then(text_of),
            Self::Correlation { group, .. } => group.iter().find(|(name, _)| name == own).map(|(_, value)| value.clone()),
        }
    }

    /// The values of a field; of a list each.
    fn values<T>(&self, name: &str, take: impl Fn(&EventValue<'_>) -> Option<T>) -> Vec<T> {
        if let Self::Correlation { group, .. } = self
            && let Some((_, value)) = group.iter().find(|(known, _)| known == name)
        {
            return take(&EventValue::Str(value.as_str().into())).into_iter().collect();
        }
        let (Self::Event(event) | Self::Correlation { event, .. }) = self;
        match event.get_field(name) {
            Some(EventValue::Array(values)) => values.iter().filter_map(take).take(FIELD_VALUES_MAX).collect(),
            Some(value) => take(&value).into_iter().collect(),
            None => Vec::new(),
        }
    }
}

fn text_of(value: &EventValue<'_>) -> Option<String> {
    match value {
        EventValue::Str(text) => Some(text.to_string()),
        EventValue::Int(number) => Some(number.to_string()),
        EventValue::Float(number) => Some(number.to_string()),
        EventValue::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// Groups are told apart by 128 bits of SHA-256: nobody can choose a name that falls into another's group.
fn key_of(group: &[Option<String>]) -> [u8; 16] {
    let parts: Vec<&[u8]> = group
        .iter()
        .flat_map(|value| match value {
            None => [&b"absent"[..], &b""[..]],
            Some(value) => [&b"value"[..], value.as_bytes()],
        })
        .collect();
    let digest = sha256(&parts);
    let mut key = [0; 16];
    key.copy_from_slice(&digest[..16]);
    key
}

impl Correlation {
    fn group_of<E: Event>(&self, place: usize, source: &Source<'_, E>) -> Vec<Option<String>> {
        self.group_by.iter().map(|(own, theirs)| source.text(own, theirs.get(place).unwrap_or(own))).collect()
    }

    /// A group with the names of what is grouped by.
    fn named(&self, group: Vec<Option<String>>) -> Vec<(String, String)> {
        let names = self.group_by.iter().map(|(own, _)| own.clone());
        names.zip(group).filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// What an event adds: nothing where it has not what is counted.
    fn added<E: Event>(&self, place: usize, source: &Source<'_, E>) -> Vec<Added> {
        match self.kind {
            CorrelationType::EventCount => vec![Added::Event],
            CorrelationType::Temporal | CorrelationType::TemporalOrdered => vec![Added::Rule(place)],
            CorrelationType::ValueCount => match &self.fields[..] {
                [field] => {
                    let hashes = source.values(field, |value| text_of(value).map(|text| hash(&[text.as_bytes()])));
                    hashes.into_iter().map(Added::Value).collect()
                }
                // Of several fields the combinations are counted.
                fields => {
                    let texts: Option<Vec<String>> =
                        fields.iter().map(|field| source.values(field, text_of).into_iter().next()).collect();
                    let parts = texts.as_ref().map(|texts| texts.iter().map(String::as_bytes).collect::<Vec<_>>());
                    parts.map(|parts| Added::Value(hash(&parts))).into_iter().collect()
                }
            },
            _ => {
                let numbers = self.fields.iter().flat_map(|field| source.values(field, |value| value.as_f64()));
                numbers.filter(|number| number.is_finite()).map(Added::Number).collect()
            }
        }
    }

    /// Lets go of groups whose windows are over, but for the one that is asked for now.
    fn sweep(&mut self, time_s: i64, now: &[u8; 16]) {
        for _ in 0..SWEPT_FOR_EACH {
            match self.groups.peek_oldest() {
                Some((key, group)) if key != now && group.is_over(time_s, &self.span) => {
                    self.bytes -= GROUP_BYTES + group.bytes();
                    self.groups.pop_oldest();
                }
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rsigma_eval::JsonEvent;
    use rsigma_parser::parse_sigma_yaml;
    use serde_json::json;

    use super::*;

    fn correlations(bytes_max: usize) -> Correlations {
        let of = |name: &str, rule: &str| {
            format!(
                "title: {name}\nname: {name}\ncorrelation:\n  type: event_count\n  rules: [{rule}]\n  group-by: [user]\n  timespan: 1h\n  \
                 condition: {{gte: 3}}\n"
            )
        };
        let yaml = format!("{}---\n{}", of("of_a", "a"), of("of_b", "b"));
        let parsed = parse_sigma_yaml(&yaml).unwrap().correlations;
        let place = |name: &str| ["a", "b"].iter().position(|known| *known == name);
        let numbered = parsed.iter().enumerate().map(|(number, rule)| (number + 2, rule));
        Correlations::compile(numbered, place).unwrap().with_bytes_max(bytes_max)
    }

    fn see(correlations: &mut Correlations, rule: usize, user: &str, time_s: i64) -> usize {
        correlations.observe(&JsonEvent::borrow(&json!({ "user": user })), None, &[rule], time_s).len()
    }

    #[test]
    fn a_flood_of_one_correlation_forgets_its_own_groups_and_counts_them() {
        const MOST: usize = 64 * 1024;
        let mut all = correlations(MOST);
        assert_eq!(see(&mut all, 1, "ann", 1) + see(&mut all, 1, "ann", 2), 0);
        for user in 0..10_000 {
            assert_eq!(see(&mut all, 0, &format!("u{user}"), 3), 0);
            assert!(all.bytes() <= MOST, "{}", all.bytes());
        }
        // What the other one knows is still known.
        assert_eq!(see(&mut all, 1, "ann", 4), 1);
        let dropped = all.dropped();
        assert!(dropped.groups > 9_000 && dropped.groups == dropped.entries, "{dropped:?}");
        assert_eq!(u64::try_from(all.groups()).unwrap() + dropped.groups, 10_001);
        // The same events forget the same, and what they hold is what is counted.
        let mut again = correlations(MOST);
        (1..3).for_each(|time_s| assert_eq!(see(&mut again, 1, "ann", time_s), 0));
        (0..10_000).for_each(|user| assert_eq!(see(&mut again, 0, &format!("u{user}"), 3), 0));
        assert_eq!((see(&mut again, 1, "ann", 4), again.dropped(), again.bytes()), (1, dropped, all.bytes()));
    }

    #[test]
    fn windows_that_are_taken_and_stored_go_on_where_their_correlation_is_the_same() {
        let mut all = correlations(BYTES_MAX);
        for (rule, user, time_s) in [(0, "ann", 1), (0, "ann", 2), (1, "bob", 2), (1, "bob", 3), (1, "eve", 3)] {
            assert_eq!(see(&mut all, rule, user, time_s), 0);
        }
        let (bytes, groups) = (all.bytes(), all.groups());
        let stored = postcard::to_extend(&all.take_windows(), Vec::new()).unwrap();
        assert_eq!((all.bytes(), all.groups()), (0, 0));
        let windows = || postcard::from_bytes::<Windows>(&stored).unwrap();
        let mut again = correlations(BYTES_MAX);
        again.go_on(windows(), Some);
        assert_eq!((again.bytes(), again.groups()), (bytes, groups));
        assert_eq!((see(&mut again, 0, "ann", 4), see(&mut again, 1, "bob", 4), see(&mut again, 1, "eve", 4)), (1, 1, 0));
        // One that is another today begins with what it has itself.
        let mut other = correlations(BYTES_MAX);
        assert_eq!(see(&mut other, 1, "eve", 3), 0);
        other.go_on(windows(), |position| Some(position).filter(|position| *position == 2));
        assert_eq!((see(&mut other, 0, "ann", 4), see(&mut other, 1, "bob", 4), other.groups()), (1, 0, 3));
        // And what is more than there is room for is let go of, and counted.
        let mut small = correlations(bytes / 2);
        small.go_on(windows(), Some);
        assert!(small.bytes() <= bytes / 2 && small.dropped().groups > 0, "{:?}", small.dropped());
    }

    #[test]
    fn groups_whose_windows_are_over_go_by_themselves() {
        let mut all = correlations(BYTES_MAX);
        for second in 0..20_000 {
            see(&mut all, 0, &format!("u{second}"), second);
        }
        assert!(all.groups() <= 3_602, "{}", all.groups());
        assert_eq!(all.dropped(), Dropped::default());
    }
}
