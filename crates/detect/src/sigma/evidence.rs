//! What shows a Sigma match: the field, the part of its value that matched, and where it stands.

use std::collections::HashMap;

use regex::Regex;
use rsigma_eval::{CorrelationBody, FieldMatch};
use rsigma_parser::{Detection, DetectionItem, Modifier, SigmaRule, SigmaValue};
use serde_json::Value as Json;

use crate::detection::Evidence;

/// Most pieces of evidence of one match.
const EVIDENCE_MAX: usize = 12;
/// Most characters of text around a match, on each side.
const CONTEXT_CHARS: usize = 60;
/// Most characters of a value of which the matching part is not known.
const VALUE_CHARS_MAX: usize = 240;
/// Texts longer than this are not searched again for the place of the match.
const SEARCHED_BYTES_MAX: usize = 1024 * 1024;

/// What the rules look for, by rule id and then by field: so that a match can say where it is.
#[derive(Default)]
pub(crate) struct Needles(HashMap<String, HashMap<String, Vec<Needle>>>);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Needle {
    Text(String),
    /// Compiled when a match asks for it, which is rare.
    Pattern(String),
}

impl Needles {
    pub(crate) fn add(&mut self, id: &str, rule: &SigmaRule) {
        let fields = self.0.entry(id.to_owned()).or_default();
        for detection in rule.detection.named.values() {
            add_detection(fields, detection);
        }
        // The selections come from a hash map: order the needles, longest first, so that two runs show the same one.
        for needles in fields.values_mut() {
            needles.sort_by(|a, b| b.text().len().cmp(&a.text().len()).then_with(|| a.cmp(b)));
        }
    }

    fn find(&self, id: &str, field: &str, text: &str) -> Option<(std::ops::Range<usize>, &str)> {
        if text.len() > SEARCHED_BYTES_MAX {
            return None;
        }
        let needles = self.0.get(id)?.get(field)?;
        needles.iter().find_map(|needle| needle.find(text).map(|range| (range, needle.text())))
    }
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
            Some(Needle::Pattern(format!("{flags}{}", text.original)))
        }
        SigmaValue::String(text) => text.as_plain().filter(|text| !text.is_empty()).map(|text| Needle::Text(text.to_lowercase())),
        _ => None,
    });
    fields.entry(field.clone()).or_default().extend(needles);
}

impl Needle {
    fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Pattern(text) => text,
        }
    }

    fn find(&self, text: &str) -> Option<std::ops::Range<usize>> {
        match self {
            Self::Text(needle) => find_ignoring_case(text, needle),
            Self::Pattern(pattern) => Regex::new(pattern).ok()?.find(text).map(|found| found.range()),
        }
    }
}

/// The evidence of a detection rule.
pub(crate) fn of_matches(id: &str, fields: &[FieldMatch], needles: &Needles) -> Vec<Evidence> {
    let mut evidence: Vec<Evidence> =
        fields.iter().filter(|field| !field.negated).map(|field| of_match(id, field, needles)).collect();
    // The selections of a rule come from a hash map: order them.
    evidence.sort_by(|a, b| (&a.field, &a.value, &a.pattern).cmp(&(&b.field, &b.value, &b.pattern)));
    evidence.dedup();
    evidence.truncate(EVIDENCE_MAX);
    evidence
}

/// The evidence of a correlation.
pub(crate) fn of_correlation(body: &CorrelationBody) -> Vec<Evidence> {
    let count = Evidence {
        what: "count".to_owned(),
        field: Some(body.correlation_type.as_str().to_owned()),
        value: Some(format!("{} in {} s", body.aggregated_value, body.timespan_secs)),
        ..Evidence::default()
    };
    let group = body.group_key.iter().map(|(field, value)| Evidence {
        what: "group".to_owned(),
        field: Some(field.clone()),
        value: Some(cut(value, VALUE_CHARS_MAX)),
        ..Evidence::default()
    });
    std::iter::once(count).chain(group).collect()
}

fn of_match(id: &str, field: &FieldMatch, needles: &Needles) -> Evidence {
    let mut evidence = Evidence { what: "match".to_owned(), field: Some(field.field.clone()), ..Evidence::default() };
    let mut texts: Vec<&str> = Vec::new();
    collect_texts(&field.value, &mut texts);
    let found = texts.iter().find_map(|text| needles.find(id, &field.field, text).map(|found| (*text, found)));
    if let Some((text, (range, pattern))) = found {
        let (start, end) = (chars(text, range.start), chars(text, range.end));
        evidence.value = Some(excerpt(text, range));
        evidence.pattern = Some(cut(pattern, VALUE_CHARS_MAX));
        (evidence.start, evidence.end) = (Some(start), Some(end));
    } else {
        evidence.value = match &field.value {
            Json::Null => None,
            Json::String(text) => Some(cut(text, VALUE_CHARS_MAX)),
            other => Some(cut(&other.to_string(), VALUE_CHARS_MAX)),
        };
        evidence.pattern = field.pattern.as_ref().map(|pattern| cut(pattern, VALUE_CHARS_MAX));
    }
    evidence
}

fn collect_texts<'a>(value: &'a Json, texts: &mut Vec<&'a str>) {
    match value {
        Json::String(text) => texts.push(text),
        Json::Array(values) => values.iter().for_each(|value| collect_texts(value, texts)),
        _ => {}
    }
}

/// The range of `needle` (lower case) in `text`, whatever its case. Only where lower-casing keeps the lengths, which is
/// nearly always; else nothing is found and the evidence has no span.
fn find_ignoring_case(text: &str, needle: &str) -> Option<std::ops::Range<usize>> {
    let lower = text.to_lowercase();
    let start = lower.find(needle)?;
    let range = start..start + needle.len();
    (lower.len() == text.len() && text.get(range.clone()).is_some()).then_some(range)
}

/// The match with some text around it.
pub(crate) fn excerpt(text: &str, range: std::ops::Range<usize>) -> String {
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
