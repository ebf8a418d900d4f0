//! Findings: what inspection saw in a text, with the evidence.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::taxonomy::TechniqueId;

/// The risk categories of findings: those that OpenTelemetry's security convention suggests
/// (`gen_ai.guardrail.security.risk.category`), with obfuscation, credentials and what content policies forbid told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Risk {
    /// An instruction that tries to replace the rightful ones.
    PromptInjection,
    /// An attempt to make the model leave its rules.
    Jailbreak,
    /// An attempt to get hold of the system prompt or hidden instructions.
    SystemPromptLeakage,
    /// Text made so that people or filters do not see what it says.
    Obfuscation,
    /// Data carried outside by markup, links or tools.
    DataExfiltration,
    /// Personal or confidential data where it should not be.
    SensitiveInfoDisclosure,
    /// A credential in a text.
    CredentialExposure,
    /// More power than the task asks for: destructive or privileged actions.
    ExcessiveAgency,
    /// Commands that install or run foreign code.
    SupplyChain,
    /// Output that would run or render as something else.
    ImproperOutputHandling,
    /// What a content policy forbids, whoever says it: violence, hate, illegal acts.
    ContentPolicy,
}

impl Risk {
    /// The name that JSON, SQL and rules use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PromptInjection => "prompt_injection",
            Self::Jailbreak => "jailbreak",
            Self::SystemPromptLeakage => "system_prompt_leakage",
            Self::Obfuscation => "obfuscation",
            Self::DataExfiltration => "data_exfiltration",
            Self::SensitiveInfoDisclosure => "sensitive_info_disclosure",
            Self::CredentialExposure => "credential_exposure",
            Self::ExcessiveAgency => "excessive_agency",
            Self::SupplyChain => "supply_chain",
            Self::ImproperOutputHandling => "improper_output_handling",
            Self::ContentPolicy => "content_policy",
        }
    }
}

/// The id of a signature, rule or structural check: `[a-z0-9_.-]+`, stable over versions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RuleId(std::sync::Arc<str>);

impl RuleId {
    /// Wraps an id; the loaders of rules check its form.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One thing that inspection found, with the span of text that shows it (invariant I6).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// What kind of risk it is.
    pub risk: Risk,
    /// The ATLAS technique that it is evidence of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub technique: Option<TechniqueId>,
    /// What matched.
    pub rule: RuleId,
    /// How sure the rule is, 0 to 1.
    pub score: f32,
    /// First code point of the match in the clean text.
    pub start: u32,
    /// One past the last code point of the match.
    pub end: u32,
    /// The view in which it matched, when that is not the text as it stands: `normalised`, `base64`, `hex` ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<std::borrow::Cow<'static, str>>,
}

/// What inspection says of a whole event: the highest score of its pieces.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Inspection {
    /// 0 (nothing) to 1 (certain).
    pub score: f32,
    /// What a guardrail would advise.
    pub verdict: Verdict,
    /// Bytes of text that were inspected.
    pub scanned_bytes: u64,
    /// Bytes of text that were not (over a limit, not text). Never reported as checked (invariant I4).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unscanned_bytes: u64,
}

/// Advice, in the words of OpenTelemetry's `gen_ai.guardrail.verdict.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing of note.
    Allow,
    /// Worth a look.
    Warn,
    /// Would be stopped where a policy says so.
    Deny,
}

impl Verdict {
    /// Scores from here on are worth a look.
    pub const WARN_SCORE_MIN: f32 = 0.4;
    /// Scores from here on would be stopped.
    pub const DENY_SCORE_MIN: f32 = 0.8;

    /// The verdict for a score.
    #[must_use]
    pub fn of_score(score: f32) -> Self {
        if score >= Self::DENY_SCORE_MIN {
            Self::Deny
        } else if score >= Self::WARN_SCORE_MIN {
            Self::Warn
        } else {
            Self::Allow
        }
    }

    /// The name that JSON, SQL and rules use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Warn => "warn",
            Self::Deny => "deny",
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
