//! The form of signature files, for whoever writes them by program. `docs/reference/signatures.md` is its reference.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A file of signatures.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureFile {
    /// Parts of patterns, for the signatures of every file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fragments: BTreeMap<String, String>,
    /// The signatures.
    #[serde(default)]
    pub signatures: Vec<SignatureRule>,
}

/// A signature as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureRule {
    /// `[a-z0-9_.-]+`, its own.
    pub id: String,
    /// What it finds, in a line.
    pub title: String,
    /// Whether it is used. One that is not is read and held to its form; its examples are not tried.
    #[serde(default = "enabled_default", skip_serializing_if = "is_enabled")]
    pub enabled: bool,
    /// Why it is not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_because: Option<String>,
    /// Where it comes from, and under which licence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// A risk of `event::Risk`.
    pub risk: String,
    /// An ATLAS technique.
    pub technique: String,
    /// The technique instead of that, where the text comes from a tool or a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub technique_indirect: Option<String>,
    /// Signatures of one family are evidence of the same thing; by default the id up to its first dot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// Channel name to score.
    pub channels: BTreeMap<String, f32>,
    /// What is left of the score in text that talks about attacks; 1 for patterns that are no sentences.
    #[serde(default = "mention_default")]
    pub mention: f32,
    /// Which patterns must match together; any of them where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// What it looks for.
    pub patterns: Vec<SignaturePattern>,
    /// Innocent texts that it may match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub false_positives: Vec<String>,
    /// Texts that it must find and must not.
    pub examples: SignatureExamples,
}

/// A pattern as written: a regex or literals.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignaturePattern {
    /// What the condition calls it; `p1`, `p2` and so on where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which text it reads.
    #[serde(default)]
    pub view: PatternView,
    /// Whether capitals count; with the raw view only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cased: bool,
    /// The channels it reads, where these are not all of the signature's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<String>,
    /// Literals of which each group must have one in the text; read off the regex where they are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub atoms: Vec<Vec<String>>,
    /// The regex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// Instead of a regex: texts of which any is a match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub literals: Vec<String>,
    /// A match is none where this stands near it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless: Option<String>,
}

/// Which text of a content a pattern reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PatternView {
    /// As it stands, in any case.
    Raw,
    /// Normalised, and all views made from that.
    #[default]
    Text,
    /// Both, in any case.
    Both,
}

/// Examples of a signature, at least one of each.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureExamples {
    /// It must be found in these.
    pub positive: Vec<SignatureExample>,
    /// It must not be found in these.
    pub negative: Vec<SignatureExample>,
}

/// An example.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureExample {
    /// Where the text enters.
    pub channel: String,
    /// The text.
    pub text: String,
}

impl SignatureFile {
    /// Reads a file. What a signature says is not judged yet.
    ///
    /// # Errors
    /// What the reader of YAML says.
    pub fn parse(yaml: &str) -> Result<Self, String> {
        yaml_serde::from_str(yaml).map_err(|error| error.to_string())
    }

    /// As YAML.
    ///
    /// # Errors
    /// What the writer of YAML says.
    pub fn to_yaml(&self) -> Result<String, String> {
        yaml_serde::to_string(self).map_err(|error| error.to_string())
    }

    /// Whether a text looks like a file of signatures and not like one of Sigma rules: it has `signatures` or `fragments` at its top.
    #[must_use]
    pub fn is_one(yaml: &str) -> bool {
        yaml.trim_start_matches('\u{feff}').lines().any(|line| line.starts_with("signatures:") || line.starts_with("fragments:"))
    }
}

const fn enabled_default() -> bool {
    true
}

const fn is_enabled(enabled: &bool) -> bool {
    *enabled
}

const fn mention_default() -> f32 {
    0.3
}
