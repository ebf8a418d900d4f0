//! Reads what an agent tells its hook.

use event::Channel;
use serde_json::{Map, Value};

/// Longest input of a hook, in bytes. A longer one is not read; that it came is recorded.
pub const BODY_BYTES_MAX: usize = 12 * 1024 * 1024;

/// Whose protocol it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    /// Claude Code.
    ClaudeCode,
    /// Codex.
    Codex,
    /// Gemini CLI.
    Gemini,
    /// Cursor.
    Cursor,
    /// Anything that speaks like Claude Code, or plainly: `{"event", "session_id", "tool_name", "tool_input", …}`.
    Generic,
}

/// An agent must be one of those.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("agent must be one of claude-code, codex, gemini, cursor, generic")]
pub struct UnknownAgent;

/// A hook's input cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// It is no JSON object.
    #[error("the hook's input is not a JSON object: {0}; the agent must write one to standard input")]
    Json(String),
    /// It is too long.
    #[error("the hook's input is longer than {BODY_BYTES_MAX} bytes")]
    TooLong,
    /// It does not say what happened.
    #[error("the hook's input names no event; it needs the field hook_event_name (or event)")]
    NoEvent,
}

/// Where in the agent's work a hook is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A session begins.
    SessionStart,
    /// A session ends.
    SessionEnd,
    /// A person's prompt, before the model sees it.
    Prompt,
    /// A tool's call, before it runs.
    BeforeTool,
    /// A tool's call that has run.
    AfterTool,
    /// A tool's call that failed.
    ToolFailed,
    /// The agent asks for permission.
    PermissionRequest,
    /// Permission was refused by the agent itself.
    PermissionDenied,
    /// The agent has answered.
    Stop,
    /// The turn ended with an error.
    StopFailure,
    /// A subagent begins.
    SubagentStart,
    /// A subagent has answered.
    SubagentStop,
    /// A notification.
    Notification,
    /// The conversation is shortened.
    Compact,
    /// A configuration file changed.
    ConfigChange,
    /// A file with instructions was loaded.
    Instructions,
    /// Anything else; it is recorded with all that it says.
    Other,
}

/// A call of a hook.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub(crate) agent: Agent,
    pub(crate) step: Step,
    pub(crate) fields: Map<String, Value>,
    /// The event's name, in the agent's own words.
    pub(crate) name: String,
}

/// A tool as the event names it.
pub(crate) struct ToolUse {
    pub(crate) name: String,
    pub(crate) call_id: Option<String>,
    pub(crate) arguments: Option<String>,
    pub(crate) result: Option<String>,
}

impl Agent {
    /// The name that the command line uses, which is that of the application in the record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude-code",
            Self::Codex => "codex",
            Self::Gemini => "gemini",
            Self::Cursor => "cursor",
            Self::Generic => "generic",
        }
    }
}

impl std::str::FromStr for Agent {
    type Err = UnknownAgent;

    fn from_str(name: &str) -> Result<Self, UnknownAgent> {
        let all = [Self::ClaudeCode, Self::Codex, Self::Gemini, Self::Cursor, Self::Generic];
        all.into_iter().find(|agent| agent.as_str() == name).ok_or(UnknownAgent)
    }
}

impl Call {
    /// Reads the input of a hook.
    ///
    /// # Errors
    /// When it is no JSON object that names an event.
    pub fn read(agent: Agent, bytes: &[u8]) -> Result<Self, HookError> {
        if bytes.len() > BODY_BYTES_MAX {
            return Err(HookError::TooLong);
        }
        // serde_json stops at a depth of 128.
        let fields: Map<String, Value> = serde_json::from_slice(bytes).map_err(|error| HookError::Json(error.to_string()))?;
        let name = ["hook_event_name", "event", "hookEventName"].iter().find_map(|key| fields.get(*key)?.as_str());
        let name = name.filter(|name| !name.is_empty()).ok_or(HookError::NoEvent)?.to_owned();
        Ok(Self { agent, step: step(&name), fields, name })
    }

    /// Where in the agent's work it is.
    #[must_use]
    pub fn step(&self) -> Step {
        self.step
    }

    /// Whose it is.
    #[must_use]
    pub fn agent(&self) -> Agent {
        self.agent
    }

    /// The session that it names.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        self.text(&["session_id", "conversation_id", "sessionId"])
    }

    /// The permission mode that the agent is in.
    #[must_use]
    pub fn permission_mode(&self) -> Option<&str> {
        self.text(&["permission_mode", "approval_mode"])
    }

    /// The text that a policy looks at before the agent goes on, and where it entered. `None` where nothing can be decided.
    #[must_use]
    pub fn subject(&self) -> Option<(String, Channel)> {
        match self.step {
            Step::Prompt => Some((self.text(&["prompt"])?.to_owned(), Channel::User)),
            Step::BeforeTool | Step::PermissionRequest => {
                // What is about to be read by the model came from outside.
                if let Some(content) = self.text(&["content"]).filter(|_| is(&self.name, "beforereadfile")) {
                    return Some((content.to_owned(), Channel::Document));
                }
                Some((self.tool()?.arguments?, Channel::Assistant))
            }
            Step::AfterTool => Some((self.tool()?.result?, Channel::Tool)),
            _ => None,
        }
    }

    /// Whether the agent heeds an answer at this step.
    #[must_use]
    pub fn is_decidable(&self) -> bool {
        match (self.agent, self.step) {
            // Cursor tells these when they are over.
            (Agent::Cursor, Step::AfterTool) => false,
            (_, Step::Prompt | Step::BeforeTool | Step::PermissionRequest | Step::AfterTool) => true,
            _ => false,
        }
    }

    /// The first of these fields that is a text with something in it.
    pub(crate) fn text(&self, keys: &[&str]) -> Option<&str> {
        keys.iter().find_map(|key| self.fields.get(*key)?.as_str()).filter(|text| !text.is_empty())
    }

    /// The first of these fields, as text or as the JSON that it is.
    pub(crate) fn text_or_json(&self, keys: &[&str]) -> Option<String> {
        let value = keys.iter().find_map(|key| self.fields.get(*key)).filter(|value| !value.is_null())?;
        Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }

    /// How long the tool took, in milliseconds.
    pub(crate) fn duration_ms(&self) -> Option<f64> {
        let number = ["duration_ms", "duration"].iter().find_map(|key| self.fields.get(*key)?.as_f64());
        number.filter(|number| number.is_finite() && (0.0..1e12).contains(number))
    }

    /// The tool of the call, also where the event has one of its own (Cursor).
    pub(crate) fn tool(&self) -> Option<ToolUse> {
        let shell = ["beforeshellexecution", "aftershellexecution"].iter().any(|name| is(&self.name, name));
        let read = ["beforereadfile", "beforetabfileread"].iter().any(|name| is(&self.name, name));
        let edit = ["afterfileedit", "aftertabfileedit"].iter().any(|name| is(&self.name, name));
        let own = |keys: &[&str]| {
            let kept: Map<String, Value> =
                keys.iter().filter_map(|key| Some(((*key).to_owned(), self.fields.get(*key)?.clone()))).collect();
            Some(Value::Object(kept).to_string())
        };
        let (name, arguments) = if shell {
            ("shell".to_owned(), own(&["command", "cwd", "sandbox"]))
        } else if read {
            ("read_file".to_owned(), own(&["file_path", "attachments"]))
        } else if edit {
            ("edit_file".to_owned(), own(&["file_path", "edits"]))
        } else {
            let name = self.text(&["tool_name", "toolName"])?.to_owned();
            (name, self.text_or_json(&["tool_input", "toolInput", "arguments"]))
        };
        Some(ToolUse {
            name,
            call_id: self.text(&["tool_use_id", "tool_call_id", "call_id"]).map(str::to_owned),
            arguments,
            result: self.text_or_json(&[
                "tool_response",
                "tool_output",
                "result_json",
                "output",
                "result",
                "error",
                "error_message",
            ]),
        })
    }
}

pub(crate) fn is(name: &str, wanted: &str) -> bool {
    name.eq_ignore_ascii_case(wanted)
}

/// The names of all agents: Claude Code's and Codex's, Gemini CLI's, Cursor's.
fn step(name: &str) -> Step {
    match name.to_ascii_lowercase().as_str() {
        "sessionstart" | "session_start" => Step::SessionStart,
        "sessionend" | "session_end" => Step::SessionEnd,
        "userpromptsubmit" | "user_prompt_submit" | "beforeagent" | "beforesubmitprompt" => Step::Prompt,
        "pretooluse"
        | "pre_tool_use"
        | "beforetool"
        | "beforeshellexecution"
        | "beforemcpexecution"
        | "beforereadfile"
        | "beforetabfileread" => Step::BeforeTool,
        "posttooluse"
        | "post_tool_use"
        | "aftertool"
        | "aftershellexecution"
        | "aftermcpexecution"
        | "afterfileedit"
        | "aftertabfileedit" => Step::AfterTool,
        "posttoolusefailure" => Step::ToolFailed,
        "permissionrequest" => Step::PermissionRequest,
        "permissiondenied" => Step::PermissionDenied,
        "stop" | "afteragent" | "afteragentresponse" => Step::Stop,
        "stopfailure" => Step::StopFailure,
        "subagentstart" => Step::SubagentStart,
        "subagentstop" => Step::SubagentStop,
        "notification" => Step::Notification,
        "precompact" | "postcompact" | "precompress" => Step::Compact,
        "configchange" => Step::ConfigChange,
        "instructionsloaded" => Step::Instructions,
        _ => Step::Other,
    }
}
