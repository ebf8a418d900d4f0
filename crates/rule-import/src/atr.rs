//! Agent Threat Rules (`agent-threat-rules` on npm, `pyatr` on PyPI): YAML, a rule a file.
//!
//! Taken are conditions that look at one text: `regex`, `contains`, `exact` and `starts_with` over fields that are texts here. Matching
//! follows ATR's engine: in any case, over the text as it stands and over the normalised text (`view: both`).

use event::{Channel, TechniqueId};
use inspect::format::{PatternView, SignatureExamples, SignaturePattern, SignatureRule};
use yaml_serde::Value;

use crate::foreign_regex::{Flavour, translate};
use crate::{Case, CaseText, Draft, id_of, scores};

/// Longest title that is taken, in characters.
const TITLE_CHARS_MAX: usize = 200;
/// Innocent texts that a rule names, as far as they are taken.
const FALSE_POSITIVES_MAX: usize = 5;
/// Examples of one kind that are taken of a rule.
const CASES_MAX: usize = 200;

const USER: Channel = Channel::User;
const MODEL: Channel = Channel::Assistant;
const TOOL: Channel = Channel::Tool;
const DOCUMENT: Channel = Channel::Document;
const SYSTEM: Channel = Channel::System;

/// Where the texts of a field enter. ATR's engine shows a tool's result to conditions over `user_input` and `agent_output`, too.
fn channels_of(field: &str) -> Option<&'static [Channel]> {
    Some(match field {
        "content" => &[USER, MODEL, TOOL, DOCUMENT, SYSTEM],
        "user_input" => &[USER, TOOL, DOCUMENT],
        "agent_output" => &[MODEL, TOOL, DOCUMENT],
        "agent_message" => &[USER, MODEL],
        "tool_response" => &[TOOL, DOCUMENT],
        // Arguments are written by the model, descriptions of tools stand beside the system prompt.
        "tool_args" | "tool_input" | "tool_call" => &[MODEL],
        "tool_description" => &[SYSTEM],
        _ => return None,
    })
}

/// What becomes of a file. One that is no rule of ATR is told as dropped.
pub(crate) fn draft(file: &str, text: &str) -> Draft {
    let rule: Value = match yaml_serde::from_str(text) {
        Ok(rule) => rule,
        Err(error) => return Draft::new(file, file).drop_because(format!("it is no YAML: {error}")),
    };
    let Some(id) = str_at(&rule, &["id"]) else { return Draft::new(file, file).drop_because("it has no id") };
    let draft = Draft::new(id, file);
    if str_at(&rule, &["status"]) == Some("deprecated") {
        return draft.drop_because("its authors have withdrawn it (status: deprecated)");
    }
    let Some(detection) = rule.get("detection") else { return draft.drop_because("it has no detection") };
    let Some(conditions) = detection.get("conditions").and_then(Value::as_sequence) else {
        return draft.drop_because("its conditions are no list: named conditions are not taken");
    };
    match signature(draft, &rule, detection, conditions) {
        Ok(draft) | Err(draft) => *draft,
    }
}

fn signature(mut draft: Draft, rule: &Value, detection: &Value, conditions: &[Value]) -> Result<Box<Draft>, Box<Draft>> {
    let needs_all = match detection.get("condition").and_then(Value::as_str).unwrap_or("any") {
        "any" | "or" => false,
        "all" | "and" => true,
        other => {
            let reason = format!("its condition {other:?} is none that is known");
            return Err(Box::new(draft.drop_because(reason)));
        }
    };
    let mut taken: Vec<(SignaturePattern, &[Channel])> = Vec::new();
    for (number, condition) in (1..).zip(conditions) {
        match pattern(condition) {
            Ok(_) if taken.len() == inspect::PATTERNS_MAX => {
                draft.outcome.dropped.push(format!("condition {number}: there are over {}", inspect::PATTERNS_MAX));
            }
            Ok(one) => taken.push(one),
            Err(reason) => draft.outcome.dropped.push(format!("condition {number}: {reason}")),
        }
    }
    if taken.is_empty() {
        return Err(Box::new(draft.drop_because("none of its conditions can be taken")));
    }
    if needs_all && !draft.outcome.dropped.is_empty() {
        return Err(Box::new(draft.drop_because("it needs all of its conditions, and one cannot be taken")));
    }
    let mut channels: Vec<Channel> = taken.iter().flat_map(|(_, channels)| channels.iter().copied()).collect();
    channels.sort_unstable_by_key(|channel| channel.as_str());
    channels.dedup();
    if needs_all {
        channels.retain(|channel| taken.iter().all(|(_, of)| of.contains(channel)));
        if channels.is_empty() {
            return Err(Box::new(draft.drop_because("it joins fields that are different texts")));
        }
    }
    let patterns: Vec<SignaturePattern> = taken
        .into_iter()
        .map(|(pattern, of)| {
            let reads_all = channels.iter().all(|channel| of.contains(channel));
            let of = if reads_all { Vec::new() } else { of.iter().map(|channel| channel.as_str().to_owned()).collect() };
            SignaturePattern { channels: of, ..pattern }
        })
        .collect();
    let category = str_at(rule, &["tags", "category"]).unwrap_or("other");
    let (risk, fallback) = meaning(category, str_at(rule, &["tags", "subcategory"]).unwrap_or_default());
    let technique = technique(rule).unwrap_or(fallback);
    let technique_indirect = technique.starts_with("AML.T0051").then(|| "AML.T0051.001".to_owned());
    let id = draft.outcome.rule.clone();
    let number = id.to_ascii_lowercase();
    let number = number.strip_prefix("atr-").unwrap_or(&number);
    draft.outcome.patterns = patterns.len();
    draft.group = format!("atr-{}", id_of(category));
    if str_at(rule, &["status"]) == Some("draft") {
        draft.held_back = Some("its authors call it a draft".to_owned());
    } else if rule.get("tags").and_then(|tags| tags.get("suppress_in_code_blocks")).and_then(Value::as_bool) == Some(true) {
        draft.outcome.dropped.push("suppress_in_code_blocks: matches in fenced code count here".to_owned());
    }
    draft.signature = Some(SignatureRule {
        id: format!("atr.{}", id_of(number)),
        title: title(str_at(rule, &["title"]).unwrap_or(&id)),
        enabled: true,
        disabled_because: None,
        source: Some(format!("{id}, Agent Threat Rules (MIT)")),
        risk: risk.to_owned(),
        technique,
        technique_indirect,
        family: Some(format!("atr-{}", id_of(category))),
        channels: scores(&channels, score(rule)),
        mention: 0.3,
        condition: needs_all.then(|| "all".to_owned()),
        patterns,
        false_positives: texts(detection.get("false_positives")).take(FALSE_POSITIVES_MAX).collect(),
        examples: SignatureExamples::default(),
    });
    let cases = rule.get("test_cases");
    let of = |name: &str| cases.and_then(|cases| cases.get(name)).and_then(Value::as_sequence);
    draft.positives = of("true_positives").into_iter().flatten().filter_map(case).take(CASES_MAX).collect();
    draft.negatives = of("true_negatives").into_iter().flatten().filter_map(case).take(CASES_MAX).collect();
    let evasions = of("evasion_tests").into_iter().chain(rule.get("evasion_tests").and_then(Value::as_sequence));
    draft.evasions = evasions.flatten().filter_map(case).take(CASES_MAX).collect();
    Ok(Box::new(draft))
}

/// A condition as a pattern, and the channels of its field.
fn pattern(condition: &Value) -> Result<(SignaturePattern, &'static [Channel]), String> {
    if condition.get("steps").is_some() || condition.get("metric").is_some() {
        return Err("it looks at several events, not at a text".to_owned());
    }
    let field = str_at(condition, &["field"]).ok_or("it names no field")?;
    let channels = match channels_of(field) {
        Some(channels) => channels,
        None if field.starts_with("trace.") || field.starts_with("behavioral.") => {
            return Err(format!("{field} looks at several events, not at a text"));
        }
        None => return Err(format!("{field} is no text that is inspected")),
    };
    let value = str_at(condition, &["value"]).ok_or("its value is no text")?;
    let regex = match str_at(condition, &["operator"]).unwrap_or_default() {
        "regex" => translate(value, Flavour::JavaScript)?,
        "contains" => regex_syntax::escape(value),
        "exact" | "equals" => format!("\\A{}\\z", regex_syntax::escape(value)),
        "starts_with" => format!("\\A{}", regex_syntax::escape(value)),
        other => return Err(format!("the operator {other:?}")),
    };
    let pattern = SignaturePattern { view: PatternView::Both, regex: Some(regex), ..SignaturePattern::default() };
    inspect::check_pattern(&pattern).map(|_| (pattern, channels))
}

/// The risk and the technique of a category.
fn meaning(category: &str, subcategory: &str) -> (&'static str, String) {
    let (risk, technique) = match category {
        _ if subcategory.contains("jailbreak") => ("jailbreak", "AML.T0054"),
        _ if subcategory.contains("system-prompt") => ("system_prompt_leakage", "AML.T0056"),
        "context-exfiltration" => ("data_exfiltration", "AML.T0057"),
        "privilege-escalation" | "excessive-autonomy" => ("excessive_agency", "AML.T0053"),
        "skill-compromise" => ("supply_chain", "AML.T0010"),
        "model-abuse" => ("jailbreak", "AML.T0054"),
        "model-security" => ("sensitive_info_disclosure", "AML.T0024"),
        "data-poisoning" => ("prompt_injection", "AML.T0051.001"),
        _ => ("prompt_injection", "AML.T0051.000"),
    };
    (risk, technique.to_owned())
}

/// The first technique of ATLAS that a rule names and that there is.
fn technique(rule: &Value) -> Option<String> {
    let named = texts(rule.get("references").and_then(|references| references.get("mitre_atlas")));
    let mut ids = named.filter_map(|text| text.split([' ', ':']).next().map(str::to_owned));
    ids.find(|id| id.parse::<TechniqueId>().is_ok())
}

/// How bad it is, weighed with how sure its authors are.
fn score(rule: &Value) -> f32 {
    let severity = match str_at(rule, &["severity"]) {
        Some("critical") => 0.9,
        Some("high") => 0.75,
        Some("medium") => 0.5,
        _ => 0.3,
    };
    let confidence = match str_at(rule, &["tags", "confidence"]) {
        Some("high") => 1.0,
        Some("medium-high") => 0.9,
        Some("low") => 0.5,
        _ => 0.8,
    };
    (severity * confidence * 100.0_f32).round() / 100.0
}

/// An example: its input, and what it says of fields.
fn case(case: &Value) -> Option<Case> {
    let mut found = Vec::new();
    collect(case, &mut found);
    (!found.is_empty()).then_some(Case(found))
}

fn collect(of: &Value, into: &mut Vec<CaseText>) {
    let Some(fields) = of.as_mapping() else { return };
    for (name, value) in fields {
        let Some(name) = name.as_str() else { continue };
        let channels = channels_of(name);
        match (name, value, channels) {
            ("input", Value::Mapping(_), _) => collect(value, into),
            ("input", Value::String(text), _) => into.push(CaseText { channels: Vec::new(), text: text.clone() }),
            (_, Value::String(text), Some(channels)) => {
                into.push(CaseText { channels: channels.to_vec(), text: text.clone() });
            }
            (_, Value::Mapping(_) | Value::Sequence(_), Some(channels)) => {
                // Arguments as a structure: as the JSON that the model writes is close to this, and what is looked for stands in it.
                if let Ok(text) = yaml_serde::to_string(value) {
                    into.push(CaseText { channels: channels.to_vec(), text });
                }
            }
            _ => {}
        }
    }
}

fn title(title: &str) -> String {
    title.chars().take(TITLE_CHARS_MAX).collect()
}

fn str_at<'v>(value: &'v Value, path: &[&str]) -> Option<&'v str> {
    path.iter().try_fold(value, |value, name| value.get(*name))?.as_str()
}

fn texts(list: Option<&Value>) -> impl Iterator<Item = String> {
    let texts = list.and_then(Value::as_sequence).into_iter().flatten();
    texts.filter_map(Value::as_str).filter(|text| !text.trim().is_empty()).map(str::to_owned)
}
