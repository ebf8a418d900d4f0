//! What an answer is worth.
//!
//! Graders are named as promptfoo names its assertions (`equals`, `contains`, `icontains`, `contains-any`, `regex`, `is-json`, `is-refusal`,
//! `llm-rubric`, each with `not-` before it for the opposite), with `value` and `threshold`; the names of the field beside them
//! (`exact`, `json_schema`, `judge`) mean the same.

use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::schema::{Schema, SchemaError};

/// Most values of a grader, and the longest of them in bytes.
const VALUES_MAX: usize = 256;
const VALUE_BYTES_MAX: usize = 64 * 1024;
/// Most memory of a compiled pattern, in bytes.
const REGEX_BYTES_MAX: usize = 4 * 1024 * 1024;
/// From which score on a judged answer passes, where the item does not say.
const JUDGE_THRESHOLD: f64 = 0.5;

/// What an answer is worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grade {
    /// 0 to 1.
    pub score: f64,
    /// Whether it passes.
    pub passed: bool,
}

/// How answers are graded.
#[derive(Debug, Clone)]
pub struct Grader {
    check: Check,
    is_negated: bool,
}

#[derive(Debug, Clone)]
enum Check {
    Exact { values: Vec<String>, normal: Normal },
    Contains { values: Vec<String>, any: bool, normal: Normal },
    Regex(Regex),
    Json(Option<Schema>),
    Refusal,
    Judge { rubric: String, threshold: f64 },
}

/// What is not looked at when texts are compared, after lm-evaluation-harness (`exact_match`).
#[derive(Debug, Clone, Copy, Default)]
struct Normal {
    ignore_case: bool,
    ignore_punctuation: bool,
}

/// Why a grader cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GraderError {
    /// It has not the form of one.
    #[error("{0}")]
    Form(String),
    /// There is no such grader.
    #[error(
        "type {0:?} is none of exact (equals), contains, icontains, contains-any, icontains-any, regex, json_schema (is-json), \
         refusal (is-refusal), judge (llm-rubric), nor one of these with not- before it"
    )]
    Type(String),
    /// `value` is missing, or not what the grader needs.
    #[error("value: {0}")]
    Value(String),
    /// The pattern cannot be compiled.
    #[error("value: {0}; look-around and back-references are not supported")]
    Pattern(#[from] regex::Error),
    /// The schema cannot be used.
    #[error("value: {0}")]
    Schema(#[from] SchemaError),
    /// The threshold is out of bounds.
    #[error("threshold: {0} is not between 0 and 1")]
    Threshold(f64),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, alias = "schema", alias = "pattern", alias = "rubric")]
    value: Option<Json>,
    #[serde(default)]
    ignore_case: bool,
    #[serde(default)]
    ignore_punctuation: bool,
    #[serde(default)]
    threshold: Option<f64>,
}

impl Grader {
    /// Reads a grader as a set has it.
    ///
    /// # Errors
    /// [`GraderError`], which names the field.
    pub fn read(grader: &Json) -> Result<Self, GraderError> {
        let written: Written = serde_json::from_value(grader.clone()).map_err(|error| GraderError::Form(error.to_string()))?;
        let (is_negated, kind) = match written.kind.strip_prefix("not-").or_else(|| written.kind.strip_prefix("not_")) {
            Some(kind) => (true, kind),
            None => (false, written.kind.as_str()),
        };
        let kind = kind.replace('_', "-");
        let (ignores_by_name, kind) = match kind.strip_prefix('i').filter(|rest| rest.starts_with("contains")) {
            Some(rest) => (true, rest.to_owned()),
            None => (false, kind),
        };
        let normal =
            Normal { ignore_case: written.ignore_case || ignores_by_name, ignore_punctuation: written.ignore_punctuation };
        let normalised = |values: Vec<String>| values.iter().map(|value| normal.of(value)).collect::<Vec<_>>();
        let check = match kind.as_str() {
            "exact" | "equals" | "exact-match" => Check::Exact { values: normalised(texts(&written)?), normal },
            "contains" | "contains-all" => Check::Contains { values: normalised(texts(&written)?), any: false, normal },
            "contains-any" => Check::Contains { values: normalised(texts(&written)?), any: true, normal },
            "regex" => Check::Regex(
                RegexBuilder::new(&text(&written)?)
                    .case_insensitive(normal.ignore_case)
                    .size_limit(REGEX_BYTES_MAX)
                    .dfa_size_limit(REGEX_BYTES_MAX)
                    .build()?,
            ),
            "json-schema" | "is-json" => Check::Json(written.value.as_ref().map(Schema::read).transpose()?),
            "refusal" | "is-refusal" => Check::Refusal,
            "judge" | "llm-rubric" => {
                let threshold = written.threshold.unwrap_or(JUDGE_THRESHOLD);
                if !(0.0..=1.0).contains(&threshold) {
                    return Err(GraderError::Threshold(threshold));
                }
                Check::Judge { rubric: text(&written)?, threshold }
            }
            _ => return Err(GraderError::Type(written.kind.chars().take(40).collect())),
        };
        if written.threshold.is_some() && !matches!(check, Check::Judge { .. }) {
            return Err(GraderError::Form("threshold is for judges only".to_owned()));
        }
        Ok(Self { check, is_negated })
    }

    /// What the judge is to look for, where one grades.
    #[must_use]
    pub fn judge(&self) -> Option<&str> {
        match &self.check {
            Check::Judge { rubric, .. } => Some(rubric),
            _ => None,
        }
    }

    /// Grades an answer. `is_refused`: whether the provider says that the model refused. `None` where a judge grades.
    #[must_use]
    pub fn grade(&self, answer: &str, is_refused: bool) -> Option<Grade> {
        let passes = match &self.check {
            Check::Exact { values, normal } => values.contains(&normal.of(answer)),
            Check::Contains { values, any, normal } => {
                let answer = normal.of(answer);
                let is_in = |value: &String| answer.contains(value.as_str());
                if *any { values.iter().any(is_in) } else { values.iter().all(is_in) }
            }
            Check::Regex(pattern) => pattern.is_match(answer),
            Check::Json(schema) => serde_json::from_str::<Json>(answer.trim())
                .is_ok_and(|value| schema.as_ref().is_none_or(|schema| schema.is_valid(&value))),
            Check::Refusal => is_refused || inspect::is_refusal(answer),
            Check::Judge { .. } => return None,
        };
        let passed = passes != self.is_negated;
        Some(Grade { score: if passed { 1.0 } else { 0.0 }, passed })
    }

    /// What the judge's score means. `None` where no judge grades.
    #[must_use]
    pub fn judged(&self, score: f64) -> Option<Grade> {
        let Check::Judge { threshold, .. } = &self.check else { return None };
        let score = score.clamp(0.0, 1.0);
        let score = if self.is_negated { 1.0 - score } else { score };
        Some(Grade { score, passed: score >= *threshold })
    }
}

impl Normal {
    fn of(self, text: &str) -> String {
        let text = text.trim();
        let text = if self.ignore_case { text.to_lowercase() } else { text.to_owned() };
        if self.ignore_punctuation { text.chars().filter(|letter| !letter.is_ascii_punctuation()).collect() } else { text }
    }
}

fn text(written: &Written) -> Result<String, GraderError> {
    let mut texts = texts(written)?;
    match (texts.pop(), texts.is_empty()) {
        (Some(text), true) => Ok(text),
        _ => Err(GraderError::Value("one text is needed".to_owned())),
    }
}

fn texts(written: &Written) -> Result<Vec<String>, GraderError> {
    let one = |value: &Json| match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let texts = match &written.value {
        Some(Json::Array(values)) => values.iter().map(one).collect(),
        Some(value) => one(value).map(|text| vec![text]),
        None => None,
    };
    let texts = texts.ok_or_else(|| GraderError::Value("a text, or a list of texts, is needed".to_owned()))?;
    let fits = (1..=VALUES_MAX).contains(&texts.len()) && texts.iter().all(|text| text.len() <= VALUE_BYTES_MAX);
    if !fits {
        return Err(GraderError::Value(format!("1 to {VALUES_MAX} texts of at most {VALUE_BYTES_MAX} bytes are needed")));
    }
    if texts.iter().any(|text| text.trim().is_empty()) {
        return Err(GraderError::Value("an empty text is in every answer".to_owned()));
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_graded() {
        for (grader, answer, passes) in [
            (json!({"type": "exact", "value": "4"}), " 4\n", true),
            (json!({"type": "exact", "value": 4}), "4", true),
            (json!({"type": "exact", "value": "4"}), "It is 4", false),
            (json!({"type": "equals", "value": ["yes", "y"], "ignore_case": true, "ignore_punctuation": true}), "Yes.", true),
            (json!({"type": "contains", "value": ["a", "b"]}), "xxaxxb", true),
            (json!({"type": "contains", "value": ["a", "b"]}), "xxaxx", false),
            (json!({"type": "contains-any", "value": ["a", "b"]}), "xxaxx", true),
            (json!({"type": "icontains", "value": "PARIS"}), "It is Paris.", true),
            (json!({"type": "not-contains", "value": "Paris"}), "It is Rome.", true),
            (json!({"type": "regex", "pattern": "^\\d{4}$"}), "2024", true),
            (json!({"type": "regex", "value": "^\\d{4}$"}), "in 2024", false),
            (json!({"type": "json_schema"}), "{\"a\": 1}", true),
            (json!({"type": "is-json"}), "```json\n{}\n```", false),
            (json!({"type": "json_schema", "schema": {"type": "object", "required": ["a"]}}), "{\"b\": 1}", false),
            (json!({"type": "is-refusal"}), "I'm sorry, but I can't help with that.", true),
            (json!({"type": "not-is-refusal"}), "Sure: first, boil the water.", true),
        ] {
            let graded = Grader::read(&grader).unwrap().grade(answer, false).unwrap();
            assert_eq!(graded.passed, passes, "{grader} {answer}");
            assert_eq!(graded.score, if passes { 1.0 } else { 0.0 });
        }
    }

    #[test]
    fn a_judge_grades_by_its_threshold() {
        let grader = Grader::read(&json!({"type": "judge", "rubric": "is polite", "threshold": 0.7})).unwrap();
        assert_eq!((grader.judge(), grader.grade("x", false)), (Some("is polite"), None));
        assert_eq!(grader.judged(0.6), Some(Grade { score: 0.6, passed: false }));
        assert_eq!(grader.judged(7.0), Some(Grade { score: 1.0, passed: true }));
        let negated = Grader::read(&json!({"type": "not-llm-rubric", "value": "is rude"})).unwrap();
        assert_eq!(negated.judged(0.25), Some(Grade { score: 0.75, passed: true }));
    }

    #[test]
    fn what_is_no_grader_is_named() {
        for (grader, named) in [
            (json!({"type": "rhyme"}), "rhyme"),
            (json!({"type": "exact"}), "value"),
            (json!({"type": "exact", "value": []}), "value"),
            (json!({"type": "contains", "value": " "}), "every answer"),
            (json!({"type": "regex", "value": "("}), "value"),
            (json!({"type": "regex", "value": ["a", "b"]}), "one text"),
            (json!({"type": "json_schema", "value": {"$ref": "https://example.org/x"}}), "$ref"),
            (json!({"type": "judge", "value": "x", "threshold": 2}), "threshold"),
            (json!({"type": "exact", "value": "x", "threshold": 0.5}), "threshold"),
            (json!({"type": "exact", "vlaue": "x"}), "vlaue"),
            (json!("exact"), ""),
        ] {
            let error = Grader::read(&grader).unwrap_err().to_string();
            assert!(error.contains(named), "{grader}: {error}");
        }
    }
}
