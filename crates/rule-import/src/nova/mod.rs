//! NOVA rules (Nova-Hunting): text in the manner of YARA, several rules a file.
//!
//! Keywords are taken. `semantics` and `llm` ask a model, which no signature does: they count as never true, so that what a rule still
//! says is said by keywords alone; a rule that cannot fire without them, or that they keep from firing, is dropped.

mod condition;
mod parse;

use std::collections::BTreeMap;

use event::Channel;
use inspect::format::{PatternView, SignatureExamples, SignaturePattern, SignatureRule};

use self::parse::{Keyword, Rule};
use crate::foreign_regex::{Flavour, translate};
use crate::{Case, CaseText, Draft, id_of, sample, scores};

/// Prompts are what NOVA reads, whoever brings them.
const CHANNELS: [Channel; 3] = [Channel::User, Channel::Tool, Channel::Document];
/// Longest title that is taken, in characters.
const TITLE_CHARS_MAX: usize = 200;
/// An innocent text, for rules bring none.
const INNOCENT: &str = "The library opens at nine on weekdays.";

/// What becomes of the rules of a file.
pub(crate) fn drafts(file: &str, text: &str) -> Vec<Draft> {
    let rules = parse::rules(text);
    rules.into_iter().map(|(name, rule)| draft(file, &name, rule)).collect()
}

fn draft(file: &str, name: &str, rule: Result<Rule, String>) -> Draft {
    let mut draft = Draft::new(name, file);
    let rule = match rule {
        Ok(rule) => rule,
        Err(problem) => return draft.drop_because(problem),
    };
    for (section, names) in [("semantics", &rule.semantics), ("llm", &rule.llm)] {
        if !names.is_empty() {
            draft.outcome.dropped.push(format!("{section}: {} patterns ask a model", names.len()));
        }
    }
    let mut patterns = BTreeMap::new();
    let mut lost = Vec::new();
    for (variable, keyword) in &rule.keywords {
        match pattern(variable, keyword) {
            Ok(pattern) => drop(patterns.insert(variable.clone(), pattern)),
            Err(reason) => {
                draft.outcome.dropped.push(format!("keyword ${variable}: {reason}"));
                lost.push(variable.clone());
            }
        }
    }
    let condition = match condition::translate(&rule, &lost, &patterns) {
        Ok(condition) => condition,
        Err(reason) => return draft.drop_because(reason),
    };
    if patterns.len() > inspect::PATTERNS_MAX {
        return draft.drop_because(format!("it has over {} keywords", inspect::PATTERNS_MAX));
    }
    let meta = |name: &str| rule.meta.get(name).map(String::as_str).filter(|text| !text.trim().is_empty());
    let (risk, technique) = meaning(meta("category").unwrap_or_default());
    let author = meta("author").map(|author| format!(" by {author}")).unwrap_or_default();
    draft.outcome.patterns = patterns.len();
    draft.group = format!("nova-{}", id_of(file.rsplit('/').next().unwrap_or(file).trim_end_matches(".nov")));
    let together: Vec<String> = patterns.values().filter_map(sample_of).collect();
    let mut samples: Vec<String> = vec![together.join("\n")];
    samples.extend(together);
    draft.positives = vec![Case(samples.into_iter().filter(|text| !text.is_empty()).map(case_text).collect())];
    draft.negatives = vec![Case(vec![case_text(INNOCENT.to_owned())])];
    draft.signature = Some(SignatureRule {
        id: format!("nova.{}", id_of(name)),
        title: meta("description").unwrap_or(name).chars().take(TITLE_CHARS_MAX).collect(),
        enabled: true,
        disabled_because: None,
        source: Some(format!("{name}, NOVA{author}")),
        risk: risk.to_owned(),
        technique: technique.to_owned(),
        technique_indirect: technique.starts_with("AML.T0051").then(|| "AML.T0051.001".to_owned()),
        family: Some("nova".to_owned()),
        channels: scores(&CHANNELS, score(meta("severity").unwrap_or_default())),
        mention: 0.3,
        condition,
        patterns: patterns.into_values().collect(),
        false_positives: Vec::new(),
        examples: SignatureExamples::default(),
    });
    draft
}

fn case_text(text: String) -> CaseText {
    CaseText { channels: CHANNELS.to_vec(), text }
}

/// A keyword as a pattern: in any case over both views, or as it stands where capitals count.
fn pattern(variable: &str, keyword: &Keyword) -> Result<SignaturePattern, String> {
    let view = if keyword.cased { PatternView::Raw } else { PatternView::Both };
    let name = Some(condition::name_of(variable));
    let base = SignaturePattern { name, view, cased: keyword.cased, ..SignaturePattern::default() };
    let pattern = if keyword.is_regex {
        SignaturePattern { regex: Some(translate(&keyword.text, Flavour::Python)?), ..base }
    } else if keyword.cased {
        SignaturePattern { literals: vec![keyword.text.clone()], ..base }
    } else {
        let folded = SignaturePattern { literals: vec![keyword.text.to_lowercase()], ..base.clone() };
        // Normalised text has no accents, and no white space in a row: a literal with these is looked for in the text as it stands.
        match inspect::check_pattern(&folded) {
            Ok(_) => return Ok(folded),
            Err(_) => SignaturePattern { view: PatternView::Raw, literals: vec![keyword.text.clone()], ..base },
        }
    };
    inspect::check_pattern(&pattern).map(|_| pattern)
}

fn sample_of(pattern: &SignaturePattern) -> Option<String> {
    match (&pattern.regex, pattern.literals.first()) {
        (Some(regex), _) => sample::of(regex),
        (None, literal) => literal.cloned(),
    }
}

/// The risk and the technique of a category of NOVA's taxonomy (`CATEGORIES.md` of nova-rules).
fn meaning(category: &str) -> (&'static str, &'static str) {
    let (group, name) = category.split_once('/').unwrap_or((category, ""));
    match group.trim() {
        _ if name.contains("jailbreak") => ("jailbreak", "AML.T0054"),
        _ if name.contains("leak") => ("system_prompt_leakage", "AML.T0056"),
        _ if name.contains("exfil") => ("data_exfiltration", "AML.T0057"),
        "abusing_functions" => ("jailbreak", "AML.T0054"),
        "suspicious_patterns" => ("obfuscation", "AML.T0051.000"),
        "abnormal_outputs" | "abnormal outputs" => ("improper_output_handling", "AML.T0051.000"),
        _ => ("prompt_injection", "AML.T0051.000"),
    }
}

fn score(severity: &str) -> f32 {
    match severity.to_ascii_lowercase().as_str() {
        "critical" => 0.9,
        "high" => 0.75,
        "low" => 0.3,
        _ => 0.5,
    }
}
