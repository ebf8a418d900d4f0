//! MCP servers that are reached through this one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// MCP servers that are reached through this one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mcp {
    /// The servers by their names, which are their paths.
    pub servers: BTreeMap<String, McpServer>,
}

/// One MCP server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct McpServer {
    /// Its endpoint (streamable HTTP).
    pub url: String,
    /// Tools that may be called, `NAME` or `BEGINNING*`; all by default.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Tools that may not be called, whatever `allow` says.
    #[serde(default)]
    pub deny: Vec<String>,
    /// What happens to a call that is not allowed.
    #[serde(default)]
    pub mode: McpMode,
    /// What happens when the server changes the definition of a tool.
    #[serde(default)]
    pub on_drift: McpOnDrift,
    /// Whether a result waits until it is recorded.
    #[serde(default)]
    pub hold_results: bool,
    /// Whether a message goes on when it cannot be recorded.
    #[serde(default)]
    pub fail_open: bool,
    /// Whether requests without a trace context get one.
    #[serde(default)]
    pub add_trace: bool,
    /// Headers that every request to it has, by name, each with the variable of the environment that holds its value.
    #[serde(default)]
    pub header_env: BTreeMap<String, String>,
}

/// What happens to a call that is not allowed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum McpMode {
    /// It passes, and the record says that it would not have.
    #[default]
    Observe,
    /// It is answered with an error.
    Block,
}

/// What happens when a server changes the definition of a tool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum McpOnDrift {
    /// It is recorded.
    #[default]
    Record,
    /// The list is kept from the client, and the tool from being called, until an operator approves it.
    Block,
}

impl McpServer {
    /// What its clients may ask it for.
    #[must_use]
    pub fn policy(&self) -> capture::mcp::Policy {
        capture::mcp::Policy {
            allow: self.allow.clone(),
            deny: self.deny.clone(),
            mode: match self.mode {
                McpMode::Observe => capture::mcp::Mode::Observe,
                McpMode::Block => capture::mcp::Mode::Block,
            },
            on_drift: match self.on_drift {
                McpOnDrift::Record => capture::mcp::OnDrift::Record,
                McpOnDrift::Block => capture::mcp::OnDrift::Block,
            },
            hold_results: self.hold_results,
            on_record_failure: if self.fail_open {
                capture::gateway::OnRecordFailure::FailOpen
            } else {
                capture::gateway::OnRecordFailure::FailClosed
            },
            adds_trace: self.add_trace,
        }
    }
}
