//! The form of signature files.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A file of signatures.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// Parts of patterns, for the signatures of every file.
    #[serde(default)]
    pub(super) fragments: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) signatures: Vec<Rule>,
}

/// A signature as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) risk: String,
    pub(super) technique: String,
    /// The technique instead of that, where the text comes from a tool or a document.
    #[serde(default)]
    pub(super) technique_indirect: Option<String>,
    /// Signatures of one family are evidence of the same thing; by default the id up to its first dot.
    #[serde(default)]
    pub(super) family: Option<String>,
    /// Channel name to score.
    pub(super) channels: BTreeMap<String, f32>,
    /// What is left of the score in text that talks about attacks; 1 for patterns that are no sentences.
    #[serde(default = "mention_default")]
    pub(super) mention: f32,
    pub(super) patterns: Vec<RulePattern>,
    /// Innocent texts that it may match.
    #[serde(default)]
    pub(super) false_positives: Vec<String>,
    pub(super) examples: Examples,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RulePattern {
    #[serde(default)]
    pub(super) view: PatternView,
    pub(super) atoms: Vec<Vec<String>>,
    pub(super) regex: String,
    #[serde(default)]
    pub(super) unless: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PatternView {
    Raw,
    #[default]
    Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Examples {
    pub(super) positive: Vec<Example>,
    pub(super) negative: Vec<Example>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Example {
    pub(super) channel: String,
    pub(super) text: String,
}

const fn mention_default() -> f32 {
    0.3
}
