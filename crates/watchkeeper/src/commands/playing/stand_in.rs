//! A stand-in for everything outside: the model provider, which answers each turn with the answer that was given for it, MCP servers,
//! and a place in the world that takes what it is sent.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Tells which answer is asked for.
pub(in crate::commands) const TURN_HEADER: &str = "x-stand-in-turn";

/// Below it are MCP servers, by their names.
const MCP_PATH: &str = "/mcp/";

/// Takes what it is sent.
const WORLD_PATH: &str = "/upload";

pub(in crate::commands) struct StandIn {
    address: SocketAddr,
    recorded: Arc<Mutex<Recorded>>,
}

/// What it answers with.
#[derive(Default)]
struct Recorded {
    /// By turn: the model, and its message in the shape of OpenAI's chat completions.
    turns: HashMap<String, (String, Value)>,
    /// By MCP server.
    tools: HashMap<String, Vec<Value>>,
    /// By MCP server and tool.
    results: HashMap<(String, String), String>,
}

impl StandIn {
    /// Listens on loopback until the program ends.
    pub(in crate::commands) async fn start() -> std::io::Result<Self> {
        let recorded = Arc::new(Mutex::new(Recorded::default()));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let stand_in = Self { address: listener.local_addr()?, recorded: recorded.clone() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let recorded = recorded.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request: http::Request<Incoming>| {
                        let recorded = recorded.clone();
                        async move {
                            let (head, body) = request.into_parts();
                            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                            let recorded = recorded.lock().unwrap_or_else(PoisonError::into_inner);
                            Ok::<_, Infallible>(answer(&recorded, head.uri.path(), &head.headers, &body))
                        }
                    });
                    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    drop(builder.serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        Ok(stand_in)
    }

    /// Its address as a URL.
    pub(in crate::commands) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The endpoint of an MCP server.
    pub(in crate::commands) fn mcp_url(&self, server: &str) -> String {
        format!("http://{}{MCP_PATH}{server}", self.address)
    }

    /// Answers a turn with a message.
    pub(in crate::commands) fn answer(&self, turn: &str, model: &str, message: &Value) {
        self.recorded().turns.insert(turn.to_owned(), (model.to_owned(), message.clone()));
    }

    /// The tools of an MCP server, as in `tools/list`.
    pub(in crate::commands) fn tools(&self, server: &str, tools: &[Value]) {
        self.recorded().tools.insert(server.to_owned(), tools.to_vec());
    }

    /// What a tool of an MCP server returns.
    pub(in crate::commands) fn result(&self, server: &str, tool: &str, result: &str) {
        self.recorded().results.insert((server.to_owned(), tool.to_owned()), result.to_owned());
    }

    fn recorded(&self) -> std::sync::MutexGuard<'_, Recorded> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An MCP server without sessions: streamable HTTP, one JSON answer for a request.
fn mcp(recorded: &Recorded, server: &str, body: &[u8]) -> Response<Full<Bytes>> {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let params = &request["params"];
    let result = match request["method"].as_str().unwrap_or_default() {
        "initialize" => json!({ "protocolVersion": params["protocolVersion"], "capabilities": { "tools": {} },
            "serverInfo": { "name": server, "version": "1.0.0" } }),
        "tools/list" => json!({ "tools": recorded.tools.get(server) }),
        "tools/call" => {
            let tool = params["name"].as_str().unwrap_or_default();
            let text = recorded.results.get(&(server.to_owned(), tool.to_owned()));
            json!({ "content": [{ "type": "text", "text": text }], "isError": text.is_none() })
        }
        _ if request["id"].is_null() => return reply(StatusCode::ACCEPTED, "application/json", String::new()),
        _ => json!({}),
    };
    reply(StatusCode::OK, "application/json", json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }).to_string())
}

fn answer(recorded: &Recorded, path: &str, headers: &HeaderMap, body: &[u8]) -> Response<Full<Bytes>> {
    if let Some(server) = path.strip_prefix(MCP_PATH) {
        return mcp(recorded, server, body);
    }
    if path == WORLD_PATH {
        return reply(StatusCode::OK, "text/plain", "ok".to_owned());
    }
    let turn = headers.get(TURN_HEADER).and_then(|turn| turn.to_str().ok()).unwrap_or_default();
    let Some((model, message)) = recorded.turns.get(turn) else {
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
