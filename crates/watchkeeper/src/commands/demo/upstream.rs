//! A stand-in for the model provider: answers each call of a recorded session with the recorded answer.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::sessions::Session;

/// Tells which answer of which session is asked for: `session/place`.
pub(super) const TURN_HEADER: &str = "x-demo-turn";

pub(super) struct Upstream {
    address: SocketAddr,
}

impl Upstream {
    pub(super) async fn start(sessions: &[Session]) -> std::io::Result<Self> {
        let mut answers = HashMap::new();
        for session in sessions {
            for at in session.answers() {
                answers.insert(format!("{}/{at}", session.id), (session.model.clone(), session.messages[at].clone()));
            }
        }
        let answers = Arc::new(answers);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answers = answers.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request: http::Request<Incoming>| {
                        let answers = answers.clone();
                        async move {
                            let (head, body) = request.into_parts();
                            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                            Ok::<_, Infallible>(answer(&answers, &head.headers, &body))
                        }
                    });
                    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    drop(builder.serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        Ok(Self { address })
    }

    pub(super) fn base(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn answer(answers: &HashMap<String, (String, Value)>, headers: &HeaderMap, body: &[u8]) -> Response<Full<Bytes>> {
    let turn = headers.get(TURN_HEADER).and_then(|turn| turn.to_str().ok()).unwrap_or_default();
    let Some((model, message)) = answers.get(turn) else {
        let error = json!({ "error": { "message": "no such turn was recorded", "type": "invalid_request_error" } });
        return reply(StatusCode::NOT_FOUND, "application/json", error.to_string());
    };
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let finish = if message["tool_calls"].is_array() { "tool_calls" } else { "stop" };
    let tokens = |text: &str| text.len() / 4 + 1;
    let usage = json!({ "prompt_tokens": tokens(&request["messages"].to_string()), "completion_tokens": tokens(&message.to_string()), "total_tokens": tokens(&request["messages"].to_string()) + tokens(&message.to_string()) });
    let id = format!("chatcmpl-{}", turn.replace('/', "-"));
    if request["stream"] == true {
        return reply(StatusCode::OK, "text/event-stream", stream(&id, model, message, finish, &usage));
    }
    let whole = json!({ "id": id, "object": "chat.completion", "created": 1_700_000_000, "model": model,
        "choices": [{ "index": 0, "message": message, "finish_reason": finish }], "usage": usage });
    reply(StatusCode::OK, "application/json", whole.to_string())
}

/// The answer as server-sent events, a few words each.
fn stream(id: &str, model: &str, message: &Value, finish: &str, usage: &Value) -> String {
    let chunk = |choices: Value, usage: Value| {
        let chunk = json!({ "id": id, "object": "chat.completion.chunk", "created": 1_700_000_000, "model": model, "choices": choices, "usage": usage });
        format!("data: {chunk}\n\n")
    };
    let delta =
        |delta: Value, finish: Value| chunk(json!([{ "index": 0, "delta": delta, "finish_reason": finish }]), Value::Null);
    let mut events = delta(json!({ "role": "assistant", "content": "" }), Value::Null);
    for piece in message["content"].as_str().unwrap_or_default().split_inclusive(' ') {
        events += &delta(json!({ "content": piece }), Value::Null);
    }
    for (index, call) in message["tool_calls"].as_array().into_iter().flatten().enumerate() {
        let mut call = call.clone();
        call["index"] = json!(index);
        events += &delta(json!({ "tool_calls": [call] }), Value::Null);
    }
    events += &delta(json!({}), json!(finish));
    events += &chunk(json!([]), usage.clone());
    events + "data: [DONE]\n\n"
}

fn reply(status: StatusCode, kind: &str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    if let Ok(kind) = kind.parse() {
        response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    }
    response
}
