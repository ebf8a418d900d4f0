//! What shows a Sigma match: the field, the part of its value that matched, and where it stands.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::Write;
use std::ops::Range;
use std::sync::OnceLock;

use regex::Regex;
use rsigma_eval::FieldMatch;
use rsigma_parser::{Detection, DetectionItem, Modifier, SigmaRule, SigmaValue};
use serde_json::Value as Json;

use super::correlation::Counted;
use crate::detection::Evidence;
use crate::skipped::{count, head};

/// Most pieces of evidence of one match.
const EVIDENCE_MAX: usize = 12;
/// Most characters of text around a match, on each side.
const CONTEXT_CHARS: usize = 60;
/// Most characters of a value of which the matching part is not known.
const VALUE_CHARS_MAX: usize = 240;
/// Most texts of a field that are searched for the place of a match. A field has one text or a few, but for events that are
/// built to be slow.
const MATCH_TEXTS_MAX: usize = 16;
/// Most bytes of a field's texts that are searched for the place of a match: more than a long page, little for a search.
const MATCH_BYTES_MAX: usize = 256 * 1024;
/// Most bytes that all searches of one event go over, a text once for each needle: well under a second at the speed of the
/// slowest patterns, and hundreds of times what an everyday event needs.
pub(crate) const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What the rules look for, by rule id and then by field: so that a match can say where it is.
#[derive(Default)]
pub(crate) struct Needles(HashMap<String, HashMap<String, Vec<Needle>>>);

#[derive(Debug)]
enum Needle {
    /// In lower case.
    Text(String),
    Pattern {
        text: String,
        /// Compiled when a match first asks for it, which most rules never do, and kept: compiling takes far longer than
        /// searching. `None` inside when the pattern is none of ours.
        regex: OnceLock<Option<Regex>>,
    },
}

/// What the searches for the evidence of one event may still do, and what they left out.
#[derive(Debug)]
pub(crate) struct Search {
    bytes_left: usize,
    /// Bytes of texts in which a match was not looked for.
    pub(crate) skipped_bytes: u64,
    /// Pieces of evidence beyond the most of a match.
    pub(crate) skipped_evidence: u64,
}

impl Search {
    /// The searches of one event.
    pub(crate) fn new() -> Self {
        Self { bytes_left: EVENT_BYTES_MAX, skipped_bytes: 0, skipped_evidence: 0 }
    }

    /// Whether one more search of so many bytes may be done; takes them from what is left.
    fn take(&mut self, bytes: usize) -> bool {
        let Some(left) = self.bytes_left.checked_sub(bytes) else { return false };
        self.bytes_left = left;
        #[cfg(test)]
        work::add(0, count(bytes));
        true
    }
}

impl Needles {
    pub(crate) fn add(&mut self, id: &str, rule: &SigmaRule) {
        let fields = self.0.entry(id.to_owned()).or_default();
        for detection in rule.detection.named.values() {
            add_detection(fields, detection);
        }
        // The selections come from a hash map: order the needles, longest first, so that two runs show the same one.
        for needles in fields.values_mut() {
            needles.sort_by(|a, b| a.rank().cmp(&b.rank()));
            needles.dedup_by(|a, b| a.rank() == b.rank());
        }
    }

    /// Where in `texts` what the rule looks for in the field stands: the first text that has any of it.
    fn find<'a>(&self, id: &str, field: &str, texts: &[&'a str], search: &mut Search) -> Option<Found<'a, '_>> {
        let needles = self.0.get(id)?.get(field).filter(|needles| !needles.is_empty())?;
        let mut left = MATCH_BYTES_MAX;
        for (index, whole) in texts.iter().enumerate() {
            let text = if index < MATCH_TEXTS_MAX { head(whole, left) } else { "" };
            left -= text.len();
            search.skipped_bytes += count(whole.len() - text.len());
            let mut lower = None;
            for needle in needles {
                if !search.take(text.len()) {
                    search.skipped_bytes += count(text.len());
                    break;
                }
                let found = needle.find(text, &mut lower);
                // What ends where the text was cut may have ended elsewhere, or not have matched.
                if let Some(range) = found.filter(|range| range.end < text.len() || text.len() == whole.len()) {
                    return Some(Found { text: whole, range, needle: needle.text() });
                }
            }
        }
        None
    }
}

struct Found<'a, 'n> {
    text: &'a str,
    range: Range<usize>,
    needle: &'n str,
}

fn add_detection(fields: &mut HashMap<String, Vec<Needle>>, detection: &Detection) {
    match detection {
        Detection::AllOf(items) => items.iter().for_each(|item| add_item(fields, item)),
        Detection::AnyOf(parts) | Detection::And(parts) => parts.iter().for_each(|part| add_detection(fields, part)),
        _ => {}
    }
}

fn add_item(fields: &mut HashMap<String, Vec<Needle>>, item: &DetectionItem) {
    let Some(field) = &item.field.name else { return };
    let is_regex = item.field.has_modifier(Modifier::Re);
    let needles = item.values.iter().filter_map(|value| match value {
        SigmaValue::String(text) if is_regex => {
            let flags = if item.field.has_modifier(Modifier::IgnoreCase) { "(?i)" } else { "" };
            Some(Needle::Pattern { text: format!("{flags}{}", text.original), regex: OnceLock::new() })
        }
        SigmaValue::String(text) => text.as_plain().filter(|text| !text.is_empty()).map(|text| Needle::Text(text.to_lowercase())),
        _ => None,
    });
    fields.entry(field.clone()).or_default().extend(needles);
}

impl Needle {
    fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Pattern { text, .. } => text,
        }
    }

    /// Longest first, then by kind and text.
    fn rank(&self) -> (Reverse<usize>, bool, &str) {
        (Reverse(self.text().len()), matches!(self, Self::Pattern { .. }), self.text())
    }

    /// `lower` keeps the text in lower case from one needle to the next.
    fn find(&self, text: &str, lower: &mut Option<String>) -> Option<Range<usize>> {
        match self {
            Self::Text(needle) => find_ignoring_case(text, lower.get_or_insert_with(|| text.to_lowercase()), needle),
            Self::Pattern { text: pattern, regex } => {
                regex.get_or_init(|| compile(pattern)).as_ref()?.find(text).map(|found| found.range())
            }
        }
    }
}

fn compile(pattern: &str) -> Option<Regex> {
    #[cfg(test)]
    work::add(1, 0);
    Regex::new(pattern).ok()
}

/// The evidence of a detection rule.
pub(crate) fn of_matches(id: &str, fields: &[FieldMatch], needles: &Needles, search: &mut Search) -> Vec<Evidence> {
    let mut fields: Vec<&FieldMatch> = fields.iter().filter(|field| !field.negated).collect();
    // The selections of a rule come from a hash map: order them, before a bound cuts any off.
    fields.sort_by(|a, b| (&a.field, &a.pattern).cmp(&(&b.field, &b.pattern)));
    let mut evidence: Vec<Evidence> = Vec::new();
    for same in fields.chunk_by(|a, b| a.field == b.field && a.value == b.value) {
        // Where it stands depends on the field alone: one search does for all its selections.
        match placed(id, same[0], needles, search) {
            Some(one) => evidence.push(one),
            None => evidence.extend(same.iter().map(|field| unplaced(field))),
        }
    }
    evidence.sort_by(|a, b| (&a.field, &a.value, &a.pattern).cmp(&(&b.field, &b.value, &b.pattern)));
    evidence.dedup();
    search.skipped_evidence += count(evidence.len().saturating_sub(EVIDENCE_MAX));
    evidence.truncate(EVIDENCE_MAX);
    evidence
}

/// The evidence of a correlation.
pub(crate) fn of_correlation(counted: &Counted) -> Vec<Evidence> {
    let count = Evidence {
        what: "count".to_owned(),
        field: Some(counted.kind.as_str().to_owned()),
        value: Some(format!("{} in {} s", counted.value, counted.span_s)),
        ..Evidence::default()
    };
    let group = counted.group.iter().map(|(field, value)| Evidence {
        what: "group".to_owned(),
        field: Some(field.clone()),
        value: Some(cut(value, VALUE_CHARS_MAX)),
        ..Evidence::default()
    });
    std::iter::once(count).chain(group).collect()
}

/// The evidence of a match whose place is found.
fn placed(id: &str, field: &FieldMatch, needles: &Needles, search: &mut Search) -> Option<Evidence> {
    let mut texts: Vec<&str> = Vec::new();
    collect_texts(&field.value, &mut texts);
    let Found { text, range, needle } = needles.find(id, &field.field, &texts, search)?;
    let (start, end) = (chars(text, range.start), chars(text, range.end));
    Some(Evidence {
        what: "match".to_owned(),
        field: Some(field.field.clone()),
        value: Some(excerpt(text, range)),
        pattern: Some(cut(needle, VALUE_CHARS_MAX)),
        start: Some(start),
        end: Some(end),
        ..Evidence::default()
    })
}

/// The evidence of a match that may be anywhere in the value.
fn unplaced(field: &FieldMatch) -> Evidence {
    Evidence {
        what: "match".to_owned(),
        field: Some(field.field.clone()),
        value: match &field.value {
            Json::Null => None,
            Json::String(text) => Some(cut(text, VALUE_CHARS_MAX)),
            other => Some(beginning(other)),
        },
        pattern: field.pattern.as_ref().map(|pattern| cut(pattern, VALUE_CHARS_MAX)),
        ..Evidence::default()
    }
}

/// The beginning of a value's JSON. A value may hold megabytes; no more of it is written than is shown.
pub(crate) fn beginning(value: &Json) -> String {
    struct Beginning(String);
    impl Write for Beginning {
        fn write_str(&mut self, part: &str) -> std::fmt::Result {
            self.0.push_str(head(part, 4 * VALUE_CHARS_MAX + 4));
            // More bytes than the characters shown can have: the rest is not asked for.
            if self.0.len() > 4 * VALUE_CHARS_MAX { Err(std::fmt::Error) } else { Ok(()) }
        }
    }
    let mut json = Beginning(String::new());
    // An error only says that the beginning is complete.
    let _complete = write!(json, "{value}");
    cut(&json.0, VALUE_CHARS_MAX)
}

fn collect_texts<'a>(value: &'a Json, texts: &mut Vec<&'a str>) {
    match value {
        Json::String(text) => texts.push(text),
        Json::Array(values) => values.iter().for_each(|value| collect_texts(value, texts)),
        _ => {}
    }
}

/// The range of `needle` (lower case) in `text`, whatever its case, where `lower` is `text` in lower case. Only where
/// lower-casing keeps the lengths, which is nearly always; else nothing is found and the evidence has no span.
fn find_ignoring_case(text: &str, lower: &str, needle: &str) -> Option<Range<usize>> {
    let start = lower.find(needle)?;
    let range = start..start + needle.len();
    (lower.len() == text.len() && text.get(range.clone()).is_some()).then_some(range)
}

/// The match with some text around it.
pub(crate) fn excerpt(text: &str, range: Range<usize>) -> String {
    let before: Vec<char> = text[..range.start].chars().rev().take(CONTEXT_CHARS).collect();
    let matched = cut(&text[range.clone()], VALUE_CHARS_MAX);
    before.into_iter().rev().chain(matched.chars()).chain(text[range.end..].chars().take(CONTEXT_CHARS)).collect()
}

/// The first `chars_max` characters.
pub(crate) fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Code points before a byte offset.
pub(crate) fn chars(text: &str, offset: usize) -> u32 {
    u32::try_from(text[..offset].chars().count()).unwrap_or(u32::MAX)
}

/// Counts the work of this thread, so that tests can bound it without a clock.
#[cfg(test)]
pub(crate) mod work {
    use std::cell::Cell;

    thread_local! {
        static DONE: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
    }

    pub(super) fn add(compilations: u64, bytes: u64) {
        DONE.with(|done| done.set((done.get().0 + compilations, done.get().1 + bytes)));
    }

    /// Patterns compiled and bytes searched since the last call.
    pub(crate) fn take() -> (u64, u64) {
        DONE.with(|done| done.replace((0, 0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needles(field: &str, needles: Vec<Needle>) -> Needles {
        Needles(HashMap::from([("r".to_owned(), HashMap::from([(field.to_owned(), needles)]))]))
    }

    fn pattern(text: &str) -> Needle {
        Needle::Pattern { text: text.to_owned(), regex: OnceLock::new() }
    }

    #[test]
    fn a_match_is_searched_within_bounds_and_the_rest_is_counted() {
        let filler = "x".repeat(MATCH_BYTES_MAX);
        let many = |count: usize, last: &str| {
            let mut texts = vec![Json::from("y"); count];
            texts.push(Json::from(last));
            Json::Array(texts)
        };
        for (value, start, skipped) in [
            (Json::from("a Needle"), Some(2), 0),
            (many(MATCH_TEXTS_MAX - 1, "needle"), Some(0), 0),
            (many(MATCH_TEXTS_MAX, "needle"), None, 6),
            (Json::from(format!("{filler}needle")), None, 6),
            (Json::from(format!("needle{filler}")), Some(0), 6),
            // Cut within what it looks for, and right behind it.
            (Json::from(format!("{}needle", &filler[3..])), None, 3),
            (Json::from(format!("{}needle tail", &filler[6..])), None, 5),
        ] {
            for needle in [Needle::Text("needle".to_owned()), pattern("(?i)needle")] {
                let mut search = Search::new();
                let field = FieldMatch::new("f", value.clone());
                let found = of_matches("r", &[field], &needles("f", vec![needle]), &mut search);
                assert_eq!((found.len(), found[0].start, search.skipped_bytes), (1, start, skipped), "{:?}", found[0]);
            }
        }
    }

    #[test]
    fn an_event_is_searched_within_bounds() {
        work::take();
        let mut search = Search::new();
        let needles = needles("f", vec![pattern("needle one"), pattern("needle")]);
        let field = FieldMatch::new("f", Json::from("x".repeat(MATCH_BYTES_MAX)));
        let rounds = 100;
        for _ in 0..rounds {
            assert_eq!(of_matches("r", std::slice::from_ref(&field), &needles, &mut search).len(), 1);
        }
        assert_eq!(work::take(), (2, count(EVENT_BYTES_MAX)));
        let searched = EVENT_BYTES_MAX / MATCH_BYTES_MAX / 2;
        assert_eq!(search.skipped_bytes, count((rounds - searched) * MATCH_BYTES_MAX));
    }

    #[test]
    fn the_beginning_of_a_value_is_that_of_its_json() {
        for value in [
            serde_json::json!(["a", 1, null, { "é": true }]),
            serde_json::json!(["é".repeat(5_000), "b"]),
            serde_json::json!(vec!["\u{1F98A}\n"; 5_000]),
            serde_json::json!(vec![7; 100_000]),
        ] {
            assert_eq!(beginning(&value), cut(&value.to_string(), VALUE_CHARS_MAX));
        }
    }
}
