//! Correlations: what rules see together, in windows of event time.
//!
//! Written here and not taken from `rsigma`, whose correlations are the measure in the tests (`crates/detect/tests/sigma`): memory must be
//! bounded for each rule by itself and what is dropped counted (invariants I4, I5), the same events must drop the same groups (I3), and no
//! event may take more than a pass over one window. There a temporal correlation without a condition fires on any one of its rules, a
//! percentile is not compared with its threshold, and the search for an order takes exponential time.

mod window;

use std::collections::{HashMap, HashSet};

use lru::LruCache;
use rsigma_eval::{Event, EventValue};
use rsigma_parser::{ConditionExpr, ConditionOperator, CorrelationCondition, CorrelationRule, CorrelationType, WindowMode};

pub(crate) use self::window::EventName;
use self::window::{Added, ENTRIES_MAX, Group, Lost, Span, Window};
use crate::detection::sha256;
use crate::session::hash;

/// Most memory of all windows. Above it the correlation that holds the most gives its stalest group.
const BYTES_MAX: usize = 192 * 1024 * 1024;
/// What a group takes beside its windows: key, place in the table and in the list of the stalest.
const GROUP_BYTES: usize = 160;
/// Longest list of rules of a correlation.
const RULES_MAX: usize = 256;
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
    groups: LruCache<[u8; 16], Group>,
    bytes: usize,
}

enum Test {
    /// Every predicate holds.
    Threshold(Vec<(ConditionOperator, f64)>),
    /// Every rule fired.
    All,
    /// This holds of the rules that fired.
    Expression(Expression),
}

enum Expression {
    Rule(usize),
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Not(Box<Expression>),
}

/// Why a correlation cannot be used. `resolve` gives the id of a rule by its id or name.
pub(crate) fn error_of(rule: &CorrelationRule, resolve: impl Fn(&str) -> Option<String>) -> Option<String> {
    Correlation::compile(rule, 0, &places(rule, resolve)).err()
}

/// The places in the list of a correlation's rules, by every name that the correlation calls them by: a condition may call a rule by its
/// name where the list has its id.
fn places(rule: &CorrelationRule, resolve: impl Fn(&str) -> Option<String>) -> HashMap<&str, usize> {
    let ids: Vec<Option<String>> = rule.rules.iter().map(|name| resolve(name)).collect();
    let mut places: HashMap<&str, usize> = rule.rules.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
    for name in names_of(rule) {
        if !places.contains_key(name)
            && let Some(id) = resolve(name)
            && let Some(place) = ids.iter().position(|known| known.as_ref() == Some(&id))
        {
            places.insert(name, place);
        }
    }
    places
}

impl Correlations {
    /// Compiles correlations with their places in the set; `position` finds a rule by its id or name.
    pub(crate) fn compile<'a>(
        rules: impl Iterator<Item = (usize, &'a CorrelationRule)>,
        position: impl Fn(&str) -> Option<usize>,
    ) -> Result<Self, String> {
        let mut all = Self { bytes_max: BYTES_MAX, ..Self::default() };
        for (own, rule) in rules {
            let index = all.list.len();
            let names = places(rule, |name| position(name).map(|position| position.to_string()));
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
        if correlation.groups.get(&key).is_none() {
            correlation.groups.put(key, Group::default());
            correlation.bytes += GROUP_BYTES + Group::default().bytes();
        }
        let mut lost = Lost::default();
        let stands = correlation.groups.get_mut(&key)?;
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
            let Some((_, group)) = most.groups.pop_lru() else { return };
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

/// The rules that a condition names.
fn names_of(rule: &CorrelationRule) -> Vec<&str> {
    fn walk<'a>(expression: &'a ConditionExpr, names: &mut Vec<&'a str>) {
        match expression {
            ConditionExpr::Identifier(name) => names.push(name),
            ConditionExpr::And(parts) | ConditionExpr::Or(parts) => parts.iter().for_each(|part| walk(part, names)),
            ConditionExpr::Not(part) => walk(part, names),
            ConditionExpr::Selector { .. } => {}
        }
    }
    let mut names = Vec::new();
    if let CorrelationCondition::Extended(expression) = &rule.condition {
        walk(expression, &mut names);
    }
    names.extend(rule.aliases.iter().flat_map(|alias| alias.mapping.keys().map(String::as_str)));
    names
}

impl Correlation {
    fn compile(rule: &CorrelationRule, position: usize, places: &HashMap<&str, usize>) -> Result<Self, String> {
        let kind = rule.correlation_type;
        if rule.rules.is_empty() || rule.rules.len() > RULES_MAX {
            return Err(format!("correlation.rules has {} rules; name 1 to {RULES_MAX}", rule.rules.len()));
        }
        if rule.timespan.seconds == 0 {
            return Err("correlation.timespan is 0; write how long the window is, as in 10m".to_owned());
        }
        let temporal = matches!(kind, CorrelationType::Temporal | CorrelationType::TemporalOrdered);
        let (test, fields, percent) = match &rule.condition {
            CorrelationCondition::Extended(expression) if temporal => {
                (Test::Expression(Expression::compile(expression, places)?), Vec::new(), 0.0)
            }
            CorrelationCondition::Extended(_) => {
                return Err("correlation.condition: only temporal correlations have conditions over rules".to_owned());
            }
            // What the parser makes of no condition at all, which the standard says means all of them.
            CorrelationCondition::Threshold { predicates, .. } if temporal && predicates[..] == [(ConditionOperator::Gte, 1)] => {
                (Test::All, Vec::new(), 0.0)
            }
            CorrelationCondition::Threshold { predicates, field, percentile } => {
                let predicates: Vec<(ConditionOperator, f64)> =
                    predicates.iter().map(|(operator, value)| (*operator, *value as f64)).collect();
                (Test::Threshold(predicates), field.clone().unwrap_or_default(), percentile.unwrap_or(50) as f64)
            }
        };
        let fields_needed = match kind {
            CorrelationType::EventCount | CorrelationType::Temporal | CorrelationType::TemporalOrdered => 0..=usize::MAX,
            CorrelationType::ValueCount => 1..=16,
            _ => 1..=1,
        };
        if !fields_needed.contains(&fields.len()) {
            let kind = kind.as_str();
            return Err(format!(
                "correlation.condition.field: {kind} takes a field (value_count several), and has {}",
                fields.len()
            ));
        }
        if !(0.0..=100.0).contains(&percent) {
            return Err(format!("correlation.condition.percentile is {percent}; it is from 0 to 100"));
        }
        if kind == CorrelationType::ValueCount
            && let Test::Threshold(predicates) = &test
            && let Some((_, most)) = predicates.iter().find(|(operator, most)| {
                matches!(operator, ConditionOperator::Gt | ConditionOperator::Gte | ConditionOperator::Eq)
                    && *most >= ENTRIES_MAX as f64
            })
        {
            return Err(format!("correlation.condition asks for {most} values; a window holds {ENTRIES_MAX}"));
        }
        for alias in &rule.aliases {
            if let Some(unknown) = alias.mapping.keys().find(|name| !places.contains_key(name.as_str())) {
                return Err(format!("correlation.aliases.{}: {unknown} is none of correlation.rules", alias.alias));
            }
        }
        let group_by = rule
            .group_by
            .iter()
            .map(|own| {
                let mut theirs = vec![own.clone(); rule.rules.len()];
                for (name, field) in rule.aliases.iter().filter(|alias| alias.alias == *own).flat_map(|alias| &alias.mapping) {
                    if let Some(slot) = places.get(name.as_str()).and_then(|place| theirs.get_mut(*place)) {
                        slot.clone_from(field);
                    }
                }
                (own.clone(), theirs)
            })
            .collect();
        let seconds = i64::try_from(rule.timespan.seconds).unwrap_or(i64::MAX).min(i64::MAX / 4);
        let gap = rule.gap.as_ref().map_or(seconds, |gap| i64::try_from(gap.seconds).unwrap_or(i64::MAX / 4));
        let mode = if rule.window == WindowMode::Session && rule.gap.is_none() { WindowMode::Sliding } else { rule.window };
        Ok(Self {
            position,
            kind,
            group_by,
            fields,
            span: Span { mode, seconds, gap },
            test,
            rules: rule.rules.len(),
            percent,
            groups: LruCache::unbounded(),
            bytes: 0,
        })
    }

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
            match self.groups.peek_lru() {
                Some((key, group)) if key != now && group.is_over(time_s, &self.span) => {
                    self.bytes -= GROUP_BYTES + group.bytes();
                    self.groups.pop_lru();
                }
                _ => return,
            }
        }
    }
}

impl Window {
    /// How many or how much there is.
    fn amount(&self, kind: CorrelationType, rules: usize, percent: f64) -> Option<f64> {
        match kind {
            CorrelationType::EventCount => Some(self.events() as f64),
            CorrelationType::ValueCount => Some(self.different() as f64),
            CorrelationType::Temporal | CorrelationType::TemporalOrdered => Some(self.fired(rules) as f64),
            CorrelationType::ValueSum => Some(self.sum()),
            CorrelationType::ValueAvg => Some(self.sum() / self.events() as f64),
            CorrelationType::ValueMedian => self.percentile(50.0),
            CorrelationType::ValuePercentile => self.percentile(percent),
        }
    }

    /// Whether that is what the correlation asks for.
    fn holds(&self, kind: CorrelationType, test: &Test, rules: usize, amount: f64) -> bool {
        let holds = match test {
            Test::Threshold(predicates) => predicates.iter().all(|(operator, wanted)| compare(*operator, amount, *wanted)),
            Test::All => self.fired(rules) == rules,
            Test::Expression(expression) => expression.holds(self),
        };
        holds && (kind != CorrelationType::TemporalOrdered || self.is_in_order(rules))
    }

    /// How many of the rules fired.
    fn fired(&self, rules: usize) -> usize {
        (0..rules).filter(|rule| self.has(*rule)).count()
    }
}

fn compare(operator: ConditionOperator, value: f64, wanted: f64) -> bool {
    match operator {
        ConditionOperator::Lt => value < wanted,
        ConditionOperator::Lte => value <= wanted,
        ConditionOperator::Gt => value > wanted,
        ConditionOperator::Gte => value >= wanted,
        ConditionOperator::Eq => (value - wanted).abs() < f64::EPSILON,
        ConditionOperator::Neq => (value - wanted).abs() >= f64::EPSILON,
    }
}

impl Expression {
    fn compile(expression: &ConditionExpr, places: &HashMap<&str, usize>) -> Result<Self, String> {
        let all = |parts: &[ConditionExpr]| parts.iter().map(|part| Self::compile(part, places)).collect::<Result<Vec<_>, _>>();
        Ok(match expression {
            ConditionExpr::Identifier(name) => match places.get(name.as_str()) {
                Some(place) => Self::Rule(*place),
                None => return Err(format!("correlation.condition: {name} is none of correlation.rules")),
            },
            ConditionExpr::And(parts) => Self::All(all(parts)?),
            ConditionExpr::Or(parts) => Self::Any(all(parts)?),
            ConditionExpr::Not(part) => Self::Not(Box::new(Self::compile(part, places)?)),
            ConditionExpr::Selector { .. } => {
                return Err("correlation.condition: name the rules; `1 of` is for selections".to_owned());
            }
        })
    }

    fn holds(&self, window: &Window) -> bool {
        match self {
            Self::Rule(place) => window.has(*place),
            Self::All(parts) => parts.iter().all(|part| part.holds(window)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(window)),
            Self::Not(part) => !part.holds(window),
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
    fn groups_whose_windows_are_over_go_by_themselves() {
        let mut all = correlations(BYTES_MAX);
        for second in 0..20_000 {
            see(&mut all, 0, &format!("u{second}"), second);
        }
        assert!(all.groups() <= 3_602, "{}", all.groups());
        assert_eq!(all.dropped(), Dropped::default());
    }
}
