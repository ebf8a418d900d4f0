//! What kind of thing happened.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an event is about. Each kind fills one or more of the log categories A1 to A14.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// A call of a model: prompt, response, tokens (A1, A10, A12).
    ModelCall,
    /// A decision of a guardrail, moderation or approval (A2).
    Guardrail,
    /// A look-up in a vector store or knowledge base (A3).
    Retrieval,
    /// A tool invoked by an agent (A4).
    ToolCall,
    /// A plan, a delegation, a hand-off, a step of a workflow (A5).
    AgentStep,
    /// Software, a plugin, a skill or an MCP server installed (A6).
    Installation,
    /// A read or write of a data store (A8).
    DataAccess,
    /// A system prompt seen, changed or asked for (A9).
    SystemPrompt,
    /// A call to somewhere outside (A11).
    ExternalCall,
    /// Administration: users, permissions, keys, deployments, configuration (A13).
    Admin,
    /// A user's session: sign-in, sign-out, where from (A14).
    Session,
    /// A result of an evaluation of a model.
    Evaluation,
    /// Something that Watchkeeper detected.
    Detection,
    /// Something that Watchkeeper did in response.
    ResponseAction,
    /// Something that should have been recorded and was not: drops, torn tails, silence, unscanned bytes.
    Gap,
    /// A sum that an instrumentation measured: tokens, cost, calls, durations (A10). Beside the events that it sums, never
    /// in their place.
    Metric,
}

impl Kind {
    /// Every kind, in the order of its code.
    pub const ALL: [Self; 16] = [
        Self::ModelCall,
        Self::Guardrail,
        Self::Retrieval,
        Self::ToolCall,
        Self::AgentStep,
        Self::Installation,
        Self::DataAccess,
        Self::SystemPrompt,
        Self::ExternalCall,
        Self::Admin,
        Self::Session,
        Self::Evaluation,
        Self::Detection,
        Self::ResponseAction,
        Self::Gap,
        Self::Metric,
    ];

    /// The name that JSON, SQL and rules use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ModelCall => "model_call",
            Self::Guardrail => "guardrail",
            Self::Retrieval => "retrieval",
            Self::ToolCall => "tool_call",
            Self::AgentStep => "agent_step",
            Self::Installation => "installation",
            Self::DataAccess => "data_access",
            Self::SystemPrompt => "system_prompt",
            Self::ExternalCall => "external_call",
            Self::Admin => "admin",
            Self::Session => "session",
            Self::Evaluation => "evaluation",
            Self::Detection => "detection",
            Self::ResponseAction => "response_action",
            Self::Gap => "gap",
            Self::Metric => "metric",
        }
    }

    /// A number for the kind that binary formats use. Never reused, never renumbered; zero is not a kind.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::ModelCall => 1,
            Self::Guardrail => 2,
            Self::Retrieval => 3,
            Self::ToolCall => 4,
            Self::AgentStep => 5,
            Self::Installation => 6,
            Self::DataAccess => 7,
            Self::SystemPrompt => 8,
            Self::ExternalCall => 9,
            Self::Admin => 10,
            Self::Session => 11,
            Self::Evaluation => 12,
            Self::Detection => 13,
            Self::ResponseAction => 14,
            Self::Gap => 15,
            Self::Metric => 16,
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Which part of the thing an event tells of.
///
/// A span tells of a call when it is over. The gateway records the request before the upstream has answered,
/// so that nothing that a client saw can be missing from the record; one call then has two events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The whole of it.
    #[default]
    Complete,
    /// What was asked, before the outcome is known.
    Request,
    /// What came of a request recorded before (joined by `watchkeeper.call.id`).
    Response,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_codes_are_one_to_one() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(kind.code()), index + 1);
            assert_eq!(Kind::from_name(kind.as_str()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
