//! Why a rule matches an event, or does not: the condition with every selection and every item under it, what was looked for and what
//! stood there.
//!
//! Verdicts come from the engine's own matchers (`rsigma_eval::explain_rule`, which shares them); this module gives them a form that can
//! be shown, and says what is missing.

use std::collections::{HashMap, HashSet};

use rsigma_eval::{ConditionTrace, DetectionTrace, ItemTrace, JsonEvent, MatchReason, SelectionBranch, explain_rule};
use rsigma_parser::{ConditionOperator, CorrelationCondition, CorrelationRule, CorrelationType, SigmaRule};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use utoipa::ToSchema;

use super::evidence::{beginning, cut};
use super::{Parsed, Sigma, filter};

/// Most characters of a value that is shown.
const VALUE_CHARS_MAX: usize = 160;
/// Most items that a near miss names.
const MISSING_MAX: usize = 4;
/// Most parts that are shown, of a rule and of those that it counts; a rule of the largest repository has some hundreds.
const PARTS_MAX: usize = 4_096;
/// Deepest nesting of parts that is shown: whoever reads the answer bounds the nesting of JSON, too, and each part is two levels of that.
const PARTS_DEPTH_MAX: usize = 32;
/// Most rules that are explained, of a correlation with those that it counts.
const RULES_MAX: usize = 256;

/// A rule and an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The rule's id.
    pub rule: String,
    /// Its title.
    pub title: String,
    /// The file and line where it stands.
    pub place: String,
    /// Whether it matches.
    pub matched: bool,
    /// Why it says nothing although it matches, or was not asked at all.
    pub notes: Vec<String>,
    /// Its conditions; any of them makes it match.
    pub conditions: Vec<ExplainedPart>,
    /// What would have to be otherwise for it to match, where that is little: each item that is in the way.
    pub near_miss: Vec<String>,
    /// Of a correlation: how far its window is.
    pub window: Option<ExplainedWindow>,
    /// Of a correlation: the rules that it counts, and this event.
    #[schema(no_recursion)]
    pub rules: Vec<Explanation>,
}

/// A part of a condition, of a selection, or an item of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedPart {
    /// What it is, in the rule's words.
    pub what: String,
    /// Whether it holds.
    pub matched: bool,
    /// What was looked for and what was there, of an item.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<ExplainedItem>,
    /// What it is made of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(no_recursion)]
    pub parts: Vec<ExplainedPart>,
    /// How its parts are joined.
    #[serde(skip)]
    join: Join,
}

/// One field, or a keyword.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedItem {
    /// The field; none of keywords, which are looked for everywhere.
    pub field: Option<String>,
    /// How values are compared: `exact`, `contains`, `regex` ...
    pub matcher: String,
    /// What was looked for.
    pub wanted: Option<String>,
    /// What stood there, its beginning; nothing where the event has no such field.
    pub seen: Option<String>,
    /// `matched`, `field_absent`, `value_mismatch`, `case_mismatch`, `existence` or `no_keyword_match`.
    pub reason: String,
}

/// How far the window of a correlation is for the event's group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedWindow {
    /// `event_count`, `value_sum` ...
    pub kind: String,
    /// By what is grouped, and the event's values.
    pub group: Vec<(String, String)>,
    /// The number that there is; none where nothing was counted in this group.
    pub value: Option<f64>,
    /// What is asked for.
    pub condition: String,
    /// Length of the window in seconds.
    pub seconds: u64,
    /// Whether the condition holds.
    pub holds: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Join {
    #[default]
    Item,
    All,
    Any,
    Not,
    /// So many of them.
    Count(u64),
}

impl Sigma {
    /// Explains the rule at a place of the set, which has `documents`. Of a correlation the windows are taken as they are: the events
    /// before, and this one, were observed. A rule that several correlations count is explained once.
    pub(crate) fn explain(&self, documents: &[&Parsed], position: usize, event: &Json) -> Option<Explanation> {
        let mut explaining = Explaining { sigma: self, documents, event, told: HashMap::new(), parts_left: PARTS_MAX };
        explaining.rule(position)
    }
}

/// A rule, and what it rests on, explained one after the other.
struct Explaining<'a> {
    sigma: &'a Sigma,
    documents: &'a [&'a Parsed],
    event: &'a Json,
    /// Rules that are explained already, and whether they match.
    told: HashMap<usize, bool>,
    parts_left: usize,
}

impl Explaining<'_> {
    fn rule(&mut self, position: usize) -> Option<Explanation> {
        let document = *self.documents.get(position)?;
        if let Some(matched) = self.told.get(&position).copied() {
            let mut again = Explanation::of(document.id(), document.title());
            again.matched = matched;
            again.notes.push("it is explained above".to_owned());
            return Some(again);
        }
        if self.told.len() >= RULES_MAX {
            return None;
        }
        // Rules refer to each other in no circle (`rules::load`); one that did would end here.
        self.told.insert(position, false);
        let told = match document {
            Parsed::Rule(rule) => self.of_rule(rule)?,
            Parsed::Correlation(rule) => self.of_correlation(position, rule),
            Parsed::Filter(filter) => {
                let mut told = Explanation::of(filter.id.as_deref(), &filter.title);
                told.notes.push("a filter matches nothing by itself; ask for one of the rules that it is for".to_owned());
                told
            }
        };
        self.told.insert(position, told.matched);
        Some(told)
    }

    fn of_rule(&mut self, rule: &SigmaRule) -> Option<Explanation> {
        let compiled = self.sigma.engine.rules().iter().find(|compiled| compiled.id == rule.id)?;
        let trace = explain_rule(compiled, &JsonEvent::borrow(self.event));
        let left = &mut self.parts_left;
        let conditions: Vec<ExplainedPart> =
            trace.conditions.iter().map(|one| condition(one, Room { left: &mut *left, depth: 0 })).collect();
        let near_miss = if trace.matched { Vec::new() } else { near_miss(&conditions) };
        let of = Explanation::of(rule.id.as_deref(), &rule.title);
        Some(Explanation { matched: trace.matched, conditions, near_miss, ..of })
    }

    fn of_correlation(&mut self, position: usize, rule: &CorrelationRule) -> Explanation {
        let mut places: Vec<usize> = rule.rules.iter().filter_map(|name| self.sigma.names.position(name)).collect();
        let mut known = HashSet::new();
        places.retain(|place| known.insert(*place));
        let rules: Vec<Explanation> = places.iter().filter_map(|place| self.rule(*place)).collect();
        let standing = self.sigma.correlations.standing(position, &JsonEvent::borrow(self.event));
        let window = standing.map(|standing| ExplainedWindow {
            kind: rule.correlation_type.as_str().to_owned(),
            group: standing.group,
            value: standing.value,
            condition: wanted(rule),
            seconds: rule.timespan.seconds,
            holds: standing.holds,
        });
        let counted = rules.iter().any(|one| one.matched);
        let mut told = Explanation::of(rule.id.as_deref(), &rule.title);
        told.matched = counted && window.as_ref().is_some_and(|window| window.holds);
        if rules.len() < places.len() {
            told.notes.push(format!("{} of its rules are not explained: there are too many", places.len() - rules.len()));
        }
        match &window {
            None => told
                .notes
                .push("the event has none of the fields that the correlation groups by, or nothing was counted".to_owned()),
            Some(window) if !window.holds && counted => {
                let value = window.value.map_or("nothing".to_owned(), |value| value.to_string());
                let (kind, seconds, condition) = (&window.kind, window.seconds, &window.condition);
                told.near_miss.push(format!("{kind} is {value} in {seconds} s, asked for is {condition}"));
            }
            Some(_) if !counted => {
                told.near_miss = rules.iter().flat_map(|one| one.near_miss.clone()).take(MISSING_MAX).collect();
            }
            Some(_) => {}
        }
        Explanation { window, rules, ..told }
    }
}

impl Explanation {
    fn of(id: Option<&str>, title: &str) -> Self {
        Self {
            rule: id.unwrap_or_default().to_owned(),
            title: title.to_owned(),
            place: String::new(),
            matched: false,
            notes: Vec::new(),
            conditions: Vec::new(),
            near_miss: Vec::new(),
            window: None,
            rules: Vec::new(),
        }
    }
}

fn wanted(rule: &CorrelationRule) -> String {
    let kind = rule.correlation_type;
    let is_temporal = matches!(kind, CorrelationType::Temporal | CorrelationType::TemporalOrdered);
    match &rule.condition {
        CorrelationCondition::Extended(expression) => expression.to_string(),
        // What the parser makes of no condition at all.
        CorrelationCondition::Threshold { predicates, .. } if is_temporal && predicates[..] == [(ConditionOperator::Gte, 1)] => {
            let order = if kind == CorrelationType::TemporalOrdered { ", in their order" } else { "" };
            format!("each of its {} rules{order}", rule.rules.len())
        }
        CorrelationCondition::Threshold { predicates, field, percentile } => {
            let mut all: Vec<String> = predicates
                .iter()
                .map(|(operator, value)| format!("{} {value}", format!("{operator:?}").to_lowercase()))
                .collect();
            all.extend(field.iter().flatten().map(|field| format!("of {field}")));
            all.extend(percentile.iter().map(|percent| format!("at the percentile {percent}")));
            all.join(" ")
        }
    }
}

fn condition(trace: &ConditionTrace, room: Room<'_>) -> ExplainedPart {
    let part = |what: &str, matched, join, parts| ExplainedPart { what: what.to_owned(), matched, item: None, parts, join };
    match trace {
        ConditionTrace::Selection { name, matched, detection: found } => {
            part(&name_of(name), *matched, Join::All, room.parts(|room| vec![detection(found, room.again())]))
        }
        ConditionTrace::And { matched, children } => part(
            "all of these",
            *matched,
            Join::All,
            room.parts(|room| children.iter().map(|child| condition(child, room.again())).collect()),
        ),
        ConditionTrace::Or { matched, children } => part(
            "one of these",
            *matched,
            Join::Any,
            room.parts(|room| children.iter().map(|child| condition(child, room.again())).collect()),
        ),
        ConditionTrace::Not { matched, child } => {
            part("not", *matched, Join::Not, room.parts(|room| vec![condition(child, room.again())]))
        }
        ConditionTrace::Quantified { quantifier, matched, need, got, branches } => {
            let what = format!("{quantifier} of these selections ({got} hold, {need} needed)");
            let of = |branch: &SelectionBranch, room: Room<'_>| ExplainedPart {
                what: name_of(&branch.name),
                matched: branch.matched,
                item: None,
                parts: room.parts(|room| vec![detection(&branch.detection, room.again())]),
                join: Join::All,
            };
            let parts = room.parts(|room| branches.iter().map(|one| of(one, room.again())).collect());
            part(&what, *matched, Join::Count(*need), parts)
        }
    }
}

/// The name of a selection; that of a filter tells which.
fn name_of(name: &str) -> String {
    match name.strip_prefix(filter::SELECTION).and_then(|rest| rest.split_once('\u{1f}')) {
        Some((_, title)) => format!("filter {title:?}"),
        None => format!("selection {name:?}"),
    }
}

fn detection(trace: &DetectionTrace, room: Room<'_>) -> ExplainedPart {
    let part = |what: &str, matched, join, parts| ExplainedPart { what: what.to_owned(), matched, item: None, parts, join };
    match trace {
        DetectionTrace::AllOf { matched, items } => {
            part("all items", *matched, Join::All, room.parts(|_| items.iter().map(item).collect()))
        }
        DetectionTrace::AnyOf { matched, branches } => part(
            "one of the list",
            *matched,
            Join::Any,
            room.parts(|room| branches.iter().map(|one| detection(one, room.again())).collect()),
        ),
        DetectionTrace::And { matched, branches } => part(
            "all of these",
            *matched,
            Join::All,
            room.parts(|room| branches.iter().map(|one| detection(one, room.again())).collect()),
        ),
        DetectionTrace::Keywords { item: found, .. } => item(found),
        DetectionTrace::Conditional { condition: found, .. } => condition(found, room),
        DetectionTrace::ArrayMatch { field, quantifier, matched, member_count, matched_count, members, .. } => {
            let what = format!("{field}[{quantifier}]: {matched_count} of {member_count} members hold");
            let mut whole = part(&what, *matched, Join::Item, Vec::new());
            whole.parts = room.parts(|room| members.iter().map(|member| detection(&member.detection, room.again())).collect());
            whole
        }
        DetectionTrace::Other { kind, matched } => part(kind, *matched, Join::Item, Vec::new()),
    }
}

/// How many parts may still be shown, and how deep one stands.
struct Room<'a> {
    left: &'a mut usize,
    depth: usize,
}

impl Room<'_> {
    /// The same room, for one of several parts.
    fn again(&mut self) -> Room<'_> {
        Room { left: &mut *self.left, depth: self.depth }
    }

    /// The parts a level deeper, as long as there is room for some.
    fn parts(mut self, parts: impl FnOnce(&mut Room<'_>) -> Vec<ExplainedPart>) -> Vec<ExplainedPart> {
        self.depth += 1;
        if *self.left == 0 || self.depth > PARTS_DEPTH_MAX {
            return Vec::new();
        }
        let mut parts = parts(&mut self);
        parts.truncate(*self.left);
        *self.left -= parts.len();
        parts
    }
}

fn item(trace: &ItemTrace) -> ExplainedPart {
    let seen = trace.actual.as_ref().map(|value| match value {
        Json::String(text) => cut(text, VALUE_CHARS_MAX),
        other => cut(&beginning(other), VALUE_CHARS_MAX),
    });
    let matcher = word(&trace.matcher);
    let wanted = trace.pattern.as_ref().map(|pattern| cut(pattern, VALUE_CHARS_MAX));
    let named = trace.field.as_deref().unwrap_or("any text");
    let what = format!("{named} {matcher} {}", wanted.as_deref().unwrap_or_default());
    let reason = match trace.reason {
        MatchReason::Matched => "matched",
        MatchReason::FieldAbsent => "field_absent",
        MatchReason::ValueMismatch => "value_mismatch",
        MatchReason::CaseMismatch => "case_mismatch",
        MatchReason::Existence => "existence",
        MatchReason::NoKeywordMatch => "no_keyword_match",
    };
    let item = ExplainedItem { field: trace.field.clone(), matcher, wanted, seen, reason: reason.to_owned() };
    ExplainedPart {
        what: what.trim_end().to_owned(),
        matched: trace.matched,
        item: Some(item),
        parts: Vec::new(),
        join: Join::Item,
    }
}

/// A word of the engine, as it writes it.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Json::String(word)) => word,
        _ => String::new(),
    }
}

/// The items that are in the way, where they are few: the condition that needs the least.
fn near_miss(conditions: &[ExplainedPart]) -> Vec<String> {
    let least = conditions.iter().map(|part| missing(part, true)).min_by_key(Vec::len).unwrap_or_default();
    if least.len() > MISSING_MAX { Vec::new() } else { least }
}

/// The fewest items that would have to come out otherwise for the part to be `wanted`.
fn missing(part: &ExplainedPart, wanted: bool) -> Vec<String> {
    if part.matched == wanted {
        return Vec::new();
    }
    let of_parts = |wanted: bool| -> Vec<Vec<String>> {
        let mut all: Vec<Vec<String>> =
            part.parts.iter().filter(|one| one.matched != wanted).map(|one| missing(one, wanted)).collect();
        all.sort_by_key(Vec::len);
        all
    };
    let first = |all: Vec<Vec<String>>, count: usize| all.into_iter().take(count).flatten().collect();
    match (part.join, wanted) {
        (Join::Item, _) => vec![told(part, wanted)],
        (Join::All, true) | (Join::Any, false) => of_parts(wanted).into_iter().flatten().collect(),
        (Join::All, false) | (Join::Any, true) => first(of_parts(wanted), 1),
        (Join::Not, _) => of_parts(!wanted).into_iter().flatten().collect(),
        (Join::Count(need), wanted) => {
            let hold = part.parts.iter().filter(|one| one.matched).count();
            let need = usize::try_from(need).unwrap_or(usize::MAX);
            let change = if wanted { need.saturating_sub(hold) } else { (hold + 1).saturating_sub(need) };
            first(of_parts(wanted), change)
        }
    }
}

fn told(part: &ExplainedPart, wanted: bool) -> String {
    let seen = match &part.item {
        Some(ExplainedItem { seen: Some(seen), .. }) => format!("it is {seen:?}"),
        Some(ExplainedItem { field: Some(_), .. }) => "the event has no such field".to_owned(),
        _ => "it is not there".to_owned(),
    };
    if wanted { format!("{}: {seen}", part.what) } else { format!("not ({}): {seen}", part.what) }
}
