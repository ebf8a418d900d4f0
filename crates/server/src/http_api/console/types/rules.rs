//! Rules in force, and the frameworks that they stand in.

use serde::Serialize;
use store::Severity;
use utoipa::ToSchema;

/// An entry of a framework.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FrameworkEntry {
    /// Its id.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
}

/// What frameworks call it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Frameworks {
    /// Techniques of MITRE ATLAS.
    pub(crate) atlas: Vec<FrameworkEntry>,
    /// Tactics of those techniques.
    pub(crate) tactics: Vec<FrameworkEntry>,
    /// OWASP Top 10 for LLM Applications 2025.
    pub(crate) owasp_llm: Vec<FrameworkEntry>,
    /// OWASP Top 10 for Agentic Applications 2026.
    pub(crate) owasp_agentic: Vec<FrameworkEntry>,
    /// NIST AI RMF and AI 600-1.
    pub(crate) nist: Vec<FrameworkEntry>,
}

/// A rule in force.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct RuleRow {
    /// Its id.
    pub(crate) id: String,
    /// Its title.
    pub(crate) title: String,
    /// What it is.
    pub(crate) kind: detect::RuleKind,
    /// The file.
    pub(crate) file: String,
    /// The line where it begins, from 1.
    pub(crate) line: usize,
    /// Whether it came with the program.
    pub(crate) is_builtin: bool,
    /// Sigma's `level`.
    #[schema(value_type = Severity)]
    pub(crate) level: String,
    /// Sigma's `status`.
    pub(crate) status: Option<String>,
    /// What it looks for, and why.
    pub(crate) description: Option<String>,
    /// The category of its log source.
    pub(crate) category: Option<String>,
    /// ATLAS techniques.
    pub(crate) techniques: Vec<String>,
    /// When it fires and nothing is wrong.
    pub(crate) falsepositives: Vec<String>,
    /// Name of its runbook.
    pub(crate) runbook: Option<String>,
    /// How sure it is, 0 to 1.
    pub(crate) confidence: f32,
    /// SHA-256 of its text, hexadecimal.
    pub(crate) digest: String,
    /// Detections of the last 30 days.
    pub(crate) hits_30d: u64,
}

/// The rules in force.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Rules {
    /// The rules.
    pub(crate) rows: Vec<RuleRow>,
    /// What a rule has room for that has no budget of its own.
    pub(crate) budget: RuleBudget,
    /// Digest of all of them.
    pub(crate) digest: String,
    /// Problems, most of which leave a rule out.
    pub(crate) problems: Vec<String>,
    /// Which rules took the place of others, and which are disabled.
    pub(crate) notes: Vec<String>,
    /// Whether not all detections could be counted in time: then `hits_30d` is too low.
    pub(crate) truncated: bool,
}

/// What budgets of alerts have room for, in an hour.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct RuleBudget {
    /// Of one rule, without the first of each entity.
    pub(crate) per_hour: u32,
    /// Of one rule about one entity.
    pub(crate) per_entity_hour: u32,
    /// The first of one rule about one entity, which are told of whatever its rule has spent.
    pub(crate) per_entity_first: u32,
}

/// A rule with its text.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct RuleDetail {
    /// The row.
    #[serde(flatten)]
    pub(crate) row: RuleRow,
    /// Its file's text (YAML).
    pub(crate) text: Option<String>,
    /// Its runbook (Markdown).
    pub(crate) runbook_text: Option<String>,
    /// What frameworks call its first technique.
    pub(crate) frameworks: Frameworks,
    /// Whether not all detections could be counted in time: then `hits_30d` is too low.
    pub(crate) truncated: bool,
}
