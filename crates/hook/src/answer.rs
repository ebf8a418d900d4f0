//! What an agent is told, in its own words.

use serde_json::{Value, json};

use crate::call::{Agent, Call, Step, is};

/// What is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing: the agent's own rules hold. A hook never grants what they do not.
    Pass,
    /// A person is asked.
    Ask,
    /// No.
    Deny,
}

/// What is decided, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What.
    pub verdict: Verdict,
    /// Why, for the person and for the model.
    pub reason: String,
}

/// What the hook leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// For standard output; nothing when it is empty.
    pub stdout: String,
    /// For standard error.
    pub stderr: String,
    /// The exit code.
    pub code: u8,
    /// What the agent takes it for, which is `Deny` where it cannot be told to ask, and `Pass` where it heeds no answer.
    pub verdict: Verdict,
}

impl Decision {
    /// Nothing to say.
    #[must_use]
    pub fn pass() -> Self {
        Self { verdict: Verdict::Pass, reason: String::new() }
    }
}

impl Call {
    /// What the agent is told.
    #[must_use]
    pub fn answer(&self, decision: &Decision) -> Answer {
        if decision.verdict == Verdict::Pass || !self.is_decidable() {
            return self.silence();
        }
        match self.agent {
            Agent::ClaudeCode | Agent::Codex => self.claude(decision),
            Agent::Gemini => said(&json!({"decision": "deny", "reason": decision.reason}), Verdict::Deny),
            Agent::Cursor => self.cursor(decision),
            Agent::Generic => self.generic(decision),
        }
    }

    /// No decision.
    fn silence(&self) -> Answer {
        let stdout = match self.agent {
            // They read standard output as JSON.
            Agent::Gemini | Agent::Cursor => "{}".to_owned(),
            Agent::ClaudeCode | Agent::Codex | Agent::Generic => String::new(),
        };
        Answer { stdout, stderr: String::new(), code: 0, verdict: Verdict::Pass }
    }

    fn claude(&self, decision: &Decision) -> Answer {
        let reason = &decision.reason;
        match self.step {
            Step::BeforeTool => {
                // Codex takes `ask` for a mistake of the hook, and goes on.
                let ask = decision.verdict == Verdict::Ask && self.agent == Agent::ClaudeCode;
                let (word, verdict) = if ask { ("ask", Verdict::Ask) } else { ("deny", Verdict::Deny) };
                let output = json!({"hookEventName": self.name, "permissionDecision": word, "permissionDecisionReason": reason});
                said(&json!({ "hookSpecificOutput": output }), verdict)
            }
            // A person is being asked already.
            Step::PermissionRequest if decision.verdict == Verdict::Ask => {
                Answer { verdict: Verdict::Ask, ..said(&json!({ "systemMessage": reason }), Verdict::Ask) }
            }
            Step::PermissionRequest => {
                let output = json!({"hookEventName": self.name, "decision": {"behavior": "deny", "message": reason}});
                said(&json!({ "hookSpecificOutput": output }), Verdict::Deny)
            }
            _ => said(&json!({"decision": "block", "reason": reason}), Verdict::Deny),
        }
    }

    fn cursor(&self, decision: &Decision) -> Answer {
        let reason = &decision.reason;
        if self.step == Step::Prompt {
            return said(&json!({"continue": false, "user_message": reason}), Verdict::Deny);
        }
        let asks = decision.verdict == Verdict::Ask && !is(&self.name, "beforereadfile") && !is(&self.name, "beforetabfileread");
        let (word, verdict) = if asks { ("ask", Verdict::Ask) } else { ("deny", Verdict::Deny) };
        said(&json!({"permission": word, "user_message": reason, "agent_message": reason}), verdict)
    }

    fn generic(&self, decision: &Decision) -> Answer {
        let (word, code) = if decision.verdict == Verdict::Ask { ("ask", 0) } else { ("deny", 2) };
        let answer = said(&json!({"decision": word, "reason": decision.reason}), decision.verdict);
        Answer { stderr: if code == 2 { decision.reason.clone() } else { String::new() }, code, ..answer }
    }
}

fn said(value: &Value, verdict: Verdict) -> Answer {
    Answer { stdout: value.to_string(), stderr: String::new(), code: 0, verdict }
}
