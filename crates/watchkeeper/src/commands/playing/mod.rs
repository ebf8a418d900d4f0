//! Plays conversations through the listeners, the way their applications would: what the demonstration and the drill share.

mod http;
mod spans;
mod stand_in;

pub(super) use self::http::post;
pub(super) use self::spans::{Spans, export_grpc, export_http};
pub(super) use self::stand_in::{StandIn, TURN_HEADER};

/// Who speaks, and where.
#[derive(Debug, Clone)]
pub(super) struct Actor {
    /// The session id.
    pub(super) session: String,
    /// The end user.
    pub(super) user: String,
    /// The application that makes the calls.
    pub(super) application: String,
    /// The agent that acts.
    pub(super) agent: String,
    /// The model.
    pub(super) model: String,
}

/// Calls the gateway with the conversation before an answer; the stand-in gives the answer that it has for this turn.
pub(super) async fn call_gateway(
    gateway: std::net::SocketAddr,
    actor: &Actor,
    before: &[serde_json::Value],
    turn: &str,
    streams: bool,
) -> anyhow::Result<()> {
    let mut body = serde_json::json!({ "model": actor.model, "messages": before, "user": actor.user });
    if streams {
        body["stream"] = true.into();
        body["stream_options"] = serde_json::json!({ "include_usage": true });
    }
    let headers = [
        ("content-type", "application/json"),
        ("x-watchkeeper-session", &actor.session),
        ("x-watchkeeper-application", &actor.application),
        ("x-watchkeeper-agent", &actor.agent),
        (TURN_HEADER, turn),
    ];
    post(&format!("http://{gateway}/v1/chat/completions"), &headers, body.to_string()).await.map(drop)
}
