//! Closed sets of words, as the contract of the API has them. What is read of the record is text; a word that is none of these is never shown
//! where one of them is promised.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! words {
    ($($(#[$meta:meta])* $name:ident { $($(#[$own:meta])* $variant:ident = $word:tt,)* })*) => {$(
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        $(#[$meta])*
        pub enum $name {
            $($(#[$own])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// The words, in their order.
            pub const WORDS: &[&str] = &[$($word),*];

            /// A word, if it is one of these.
            #[must_use]
            pub fn known(word: &str) -> bool {
                Self::WORDS.contains(&word)
            }
        }
    )*};
}

words! {
    /// How bad a detection is, in Sigma's words (`level`).
    Severity {
        /// Context for an investigation.
        Informational = "informational",
        /// Of note when it keeps coming.
        Low = "low",
        /// Worth a look.
        Medium = "medium",
        /// Somebody should look today.
        High = "high",
        /// Somebody should look now.
        Critical = "critical",
    }

    /// How far an injection got.
    Grade {
        /// The model was given it.
        Seen = "seen",
        /// The agent made a call that follows it.
        ActedOn = "acted_on",
        /// That call came back without an error.
        Reached = "reached",
    }

    /// What an event is.
    #[schema(as = EventKind)]
    KindWord {
        /// A call of a model.
        ModelCall = "model_call",
        /// A decision of a guardrail, moderation or approval.
        Guardrail = "guardrail",
        /// A look-up in a vector store or knowledge base.
        Retrieval = "retrieval",
        /// A call of a tool.
        ToolCall = "tool_call",
        /// A step of an agent.
        AgentStep = "agent_step",
        /// Something was installed.
        Installation = "installation",
        /// Data was read or written.
        DataAccess = "data_access",
        /// A system prompt.
        SystemPrompt = "system_prompt",
        /// A call of a service outside.
        ExternalCall = "external_call",
        /// Administration.
        Admin = "admin",
        /// A session begins or ends.
        Session = "session",
        /// A result of an evaluation.
        Evaluation = "evaluation",
        /// A detection.
        Detection = "detection",
        /// A response to one.
        ResponseAction = "response_action",
        /// A known hole in the record.
        Gap = "gap",
        /// A sum that an instrumentation measured.
        Metric = "metric",
    }

    /// Which part of an operation an event tells of.
    #[schema(as = EventPhase)]
    PhaseWord {
        /// The whole of it.
        Complete = "complete",
        /// What was asked, before the outcome is known.
        Request = "request",
        /// What came of it.
        Response = "response",
    }

    /// How an operation went.
    #[schema(as = EventStatus)]
    StatusWord {
        /// The source does not say.
        Unset = "unset",
        /// It went well.
        Ok = "ok",
        /// It failed.
        Error = "error",
    }

    /// What inspection advises.
    #[schema(as = Advice)]
    VerdictWord {
        /// Nothing of note.
        Allow = "allow",
        /// Worth a look.
        Warn = "warn",
        /// Would be stopped where a policy says so.
        Deny = "deny",
    }

    /// Which way a text went.
    #[schema(as = PieceDirection)]
    DirectionWord {
        /// To the model or the tool.
        Input = "input",
        /// From it.
        Output = "output",
    }

    /// Who says a text.
    #[schema(as = PieceRole)]
    RoleWord {
        /// Whoever instructs the model.
        System = "system",
        /// Whoever asks it.
        User = "user",
        /// The model.
        Assistant = "assistant",
        /// A tool.
        Tool = "tool",
        /// A document that was retrieved.
        Document = "document",
    }

    /// What a text is.
    #[schema(as = PiecePart)]
    PartWord {
        /// Words of a message.
        Text = "text",
        /// What the model thought before it answered.
        Reasoning = "reasoning",
        /// Arguments of a call of a tool.
        ToolCall = "tool_call",
        /// What a tool gave back.
        ToolResult = "tool_result",
        /// A document.
        Document = "document",
        /// A query.
        Query = "query",
        /// What a tool is said to do.
        ToolDefinition = "tool_definition",
        /// An image, a sound, a file.
        Media = "media",
        /// A command.
        Command = "command",
        /// The body of a request or an answer.
        Body = "body",
        /// Something else.
        Other = "other",
    }

    /// What became of a run of an evaluation.
    #[schema(as = EvaluationOutcome)]
    OutcomeWord {
        /// There was no baseline.
        NotCompared = "not_compared",
        /// The model answers as it did.
        NoChange = "no_change",
        /// It does not.
        Changed = "changed",
        /// Too many items have no score to say.
        Incomplete = "incomplete",
        /// It could not be run.
        Failed = "failed",
    }

    /// What a run of an evaluation says of the model.
    #[schema(as = EvaluationVerdict)]
    JudgementWord {
        /// It answers as it did.
        NoChange = "no_change",
        /// It answers otherwise, under the same name.
        Drift = "drift",
        /// It is another model, or somebody changed it.
        TamperingOrSwap = "tampering_or_swap",
    }

    /// What changed between two runs of an evaluation.
    #[schema(as = EvaluationChange)]
    ChangeWord {
        /// The score.
        Score = "score",
        /// What the model calls itself.
        ModelName = "model_name",
        /// What the provider says of its system.
        SystemFingerprint = "system_fingerprint",
        /// Tokens that the same text takes.
        InputTokens = "input_tokens",
        /// The answers.
        Answers = "answers",
    }

    /// What became of a call of a tool.
    #[schema(as = ActionStatus)]
    ActionWord {
        /// Nobody told yet.
        Requested = "requested",
        /// It went well.
        Ok = "ok",
        /// It failed.
        Error = "error",
        /// It was not done.
        Denied = "denied",
    }

    /// What an edge of the causal graph says.
    #[schema(as = EdgeKind)]
    EdgeWord {
        /// The text at its beginning told the agent to make the call at its end.
        Told = "told",
        /// The call wrote down what the text says.
        Kept = "kept",
        /// What was written down came back.
        Recalled = "recalled",
        /// The call holds words of the text.
        Carried = "carried",
        /// Where the call went.
        WentTo = "went_to",
    }

    /// What an id names.
    #[schema(as = TraceIdKind)]
    TraceIdWord {
        /// A trace.
        Trace = "trace",
        /// A session.
        Session = "session",
        /// An event.
        Event = "event",
    }
}

#[cfg(test)]
mod tests {
    use event::Kind;

    use super::*;

    #[test]
    fn the_words_are_those_of_events() {
        assert_eq!(Severity::WORDS, crate::rollups::SEVERITIES);
        assert_eq!(KindWord::WORDS, Kind::ALL.map(Kind::as_str));
        fn check<W: serde::Serialize>(words: &[&str], of: &[W]) {
            let of: Vec<serde_json::Value> = of.iter().map(|one| serde_json::to_value(one).unwrap()).collect();
            assert_eq!(serde_json::json!(words), serde_json::json!(of));
        }
        check(PhaseWord::WORDS, &[event::Phase::Complete, event::Phase::Request, event::Phase::Response]);
        check(StatusWord::WORDS, &[event::Status::Unset, event::Status::Ok, event::Status::Error]);
        check(VerdictWord::WORDS, &[event::Verdict::Allow, event::Verdict::Warn, event::Verdict::Deny]);
        assert_eq!((RoleWord::WORDS, PartWord::WORDS), (&crate::schema::ROLES[..], &crate::schema::PARTS[..]));
        check(DirectionWord::WORDS, &[event::Direction::Input, event::Direction::Output]);
        check(Grade::WORDS, &[Grade::Seen, Grade::ActedOn, Grade::Reached]);
        assert!(Grade::known("acted_on") && !Grade::known("ACTED_ON"));
    }
}
