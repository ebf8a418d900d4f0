//! Connections that stay open: OpenAI's realtime API over a WebSocket.
//!
//! # Way of a connection
//!
//! ```text
//! connect ─ judge what can be known ─┬─ record the connection ──┐
//!                                    └─ ask the upstream for it ─┴─ 101 ─ session
//! session ─┬─ client to upstream: read, judge, record each request for a response, pass on
//!          └─ upstream to client: read, put responses together, withhold the end of each until it is recorded
//! ```
//! Frames go on with the fragments that they came in, pings, pongs and closes as they came. Messages are held whole before they go on, within
//! [`frames::MESSAGE_BYTES_MAX`] and the budget of all bodies. Extensions (compression) are not passed on to be agreed on: what they pack could
//! not be read.

mod frames;
mod line;
mod responses;
mod session;

use std::time::Duration;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use percent_encoding::percent_decode_str;

use super::answer::Failure;
use super::call::Call;
use super::decode::ModelRequest;
use super::dispatch::{exchange, failed_answer};
use super::enforce;
use super::passthrough;
use super::policy::Action;
use super::target::Target;
use super::upstream::{forwarded, named_by_connection};
use session::Session;

/// What the accepting side appends to the asking side's key (RFC 6455, section 1.3).
const ACCEPT_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// How long both sides may take to become a WebSocket once the upstream has agreed to it.
const UPGRADE_TIME_MAX: Duration = Duration::from_secs(10);

/// Most parameters of a query that may name a model.
const MODELS_MAX: usize = 8;

/// Whether a request asks for a WebSocket.
pub(super) fn is_upgrade(headers: &HeaderMap) -> bool {
    let names = |value: &HeaderValue| value.to_str().is_ok_and(|value| value.trim().eq_ignore_ascii_case("websocket"));
    headers.get(header::UPGRADE).is_some_and(names) && named_by_connection(headers).contains(&header::UPGRADE)
}

/// Makes the headers of a request ask for a WebSocket without extensions.
pub(super) fn ask_for_upgrade(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.remove(header::SEC_WEBSOCKET_EXTENSIONS);
}

/// Connects a client with the upstream, and has what they say recorded.
pub(super) async fn connect(mut call: Call, target: &Target, mut parts: Parts) -> Response<Body> {
    let (key, client) = match asked(&mut parts) {
        Ok(asked) => asked,
        Err(failure) => return call.refuse(failure, None, None).await,
    };
    let mut request = models(&parts);
    if let Err(failure) = allowed(&mut call, &request) {
        return call.refuse(failure, Some(request), None).await;
    }
    request.stream = true;
    let model = request.model.clone();
    let pending = call.record_request(Some(request), None);
    let (answered, receipt, upstream_time) = match exchange(&mut call, target, parts, Body::empty(), pending).await {
        Ok(exchanged) => exchanged,
        Err(refusal) => return refusal,
    };
    let overhead = call.elapsed().saturating_sub(upstream_time);
    call.outcome.overhead = Some(overhead);
    let mut response = match answered {
        Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => response,
        // The provider says no, in words of its own.
        Ok(response) => return passthrough::answer(call, response, receipt, overhead),
        Err(failure) => return failed_answer(call, failure, receipt, overhead).await,
    };
    call.outcome.http_status = Some(StatusCode::SWITCHING_PROTOCOLS.as_u16());
    if let Err(message) = agreed(&response, &key) {
        let failure = Failure::new(StatusCode::BAD_GATEWAY, "upstream_error", message);
        return failed_answer(call, failure, receipt, overhead).await;
    }
    let upstream = hyper::upgrade::on(&mut response);
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *answer.headers_mut() = forwarded(response.headers());
    call.receipts(receipt, overhead).write(answer.headers_mut());
    ask_for_upgrade(answer.headers_mut());
    tokio::spawn(begin(call, model, client, upstream));
    answer
}

/// Waits for both sides to become a WebSocket, and lets them speak.
async fn begin(call: Call, model: Option<String>, client: OnUpgrade, upstream: OnUpgrade) {
    let stopping = call.shared.stopping.subscribe();
    let both = async { tokio::try_join!(client, upstream) };
    match tokio::time::timeout(UPGRADE_TIME_MAX, both).await {
        Ok(Ok((client, upstream))) => Session::new(call, model).run(client, upstream, stopping).await,
        // The client left before it began: the call says so when it is dropped.
        Ok(Err(_)) | Err(_) => drop(call),
    }
}

/// The key of a request for a WebSocket, and what becomes one.
fn asked(parts: &mut Parts) -> Result<(HeaderValue, OnUpgrade), Failure> {
    let malformed = |message| Failure::new(StatusCode::BAD_REQUEST, "upgrade_malformed", message);
    let version = parts.headers.get(header::SEC_WEBSOCKET_VERSION);
    if parts.method != Method::GET || version.is_none_or(|version| version.as_bytes() != b"13") {
        return Err(malformed("a WebSocket is asked for with GET and Sec-WebSocket-Version: 13 (RFC 6455)"));
    }
    let key = parts.headers.get(header::SEC_WEBSOCKET_KEY).cloned();
    let key = key.filter(|key| BASE64.decode(key.as_bytes()).is_ok_and(|bytes| bytes.len() == 16));
    let key = key.ok_or_else(|| malformed("Sec-WebSocket-Key has to be 16 bytes in base64 (RFC 6455)"))?;
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let upgrade = upgrade.ok_or_else(|| malformed("this connection cannot become a WebSocket; use HTTP/1.1"))?;
    Ok((key, upgrade))
}

/// Whether the upstream agreed to what it was asked for, and no more.
fn agreed(response: &Response<Incoming>, key: &HeaderValue) -> Result<(), &'static str> {
    let headers = response.headers();
    let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(key.as_bytes());
    digest.update(ACCEPT_GUID.as_bytes());
    let accept = BASE64.encode(digest.finish());
    if headers.get(header::SEC_WEBSOCKET_ACCEPT).is_none_or(|value| value.as_bytes() != accept.as_bytes()) {
        return Err("the upstream agreed to a WebSocket with a wrong Sec-WebSocket-Accept");
    }
    if headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS) {
        return Err("the upstream agreed to an extension that it was not asked for");
    }
    Ok(())
}

/// The models that the query names, each once.
fn models(parts: &Parts) -> ModelRequest {
    let query = parts.uri.query().unwrap_or_default();
    let named = query.split('&').filter_map(|parameter| parameter.split_once('='));
    let plain = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let mut models: Vec<String> = Vec::new();
    for (_, value) in named.filter(|(name, _)| matches!(plain(name).to_ascii_lowercase().as_str(), "model" | "deployment")) {
        let model = plain(value);
        if !models.contains(&model) && models.len() < MODELS_MAX {
            models.push(model);
        }
    }
    let model = models.first().cloned().filter(|model| !model.is_empty());
    let batched = if models.len() > 1 { models } else { Vec::new() };
    ModelRequest { model, batched, ..ModelRequest::default() }
}

/// Whether the key and the policy let the connection be made at all.
fn allowed(call: &mut Call, request: &ModelRequest) -> Result<(), Failure> {
    let models = request.models();
    if let Some(grant) = &call.grant {
        for model in &models {
            grant.allows(model)?;
        }
        if models.is_empty() {
            grant.allows("")?;
        }
    }
    call.choose_policy(&models);
    // Sound cannot be masked, and a voice says what a text would have to hide.
    if let Some(failure) = enforce::unmaskable(call) {
        let id = call.policy.as_ref().map_or("", |policy| policy.id.as_str());
        let message = format!(
            "the policy {id:?} masks or blocks answers, which cannot be done on a connection that answers with sound; set answers to \
             observe or flag for the route openai.realtime"
        );
        return Err(Failure { message, ..failure });
    }
    let Some(policy) = call.policy.clone().filter(|policy| policy.judges_requests()) else { return Ok(()) };
    if call.shared.guard.is_some() {
        return Ok(());
    }
    let ruling = policy.unjudged("guardrail_missing");
    let failure = (ruling.action == Action::Block).then(|| enforce::refusal(&ruling));
    call.ruling = Some(ruling);
    failure.map_or(Ok(()), Err)
}

/// The event that tells a client of a failure, in the words of the API.
fn error_event(failure: &Failure, event_id: Option<&str>) -> String {
    let mut body = failure.body(super::Provider::OpenAi);
    body["type"] = "error".into();
    body["event_id"] = format!("event_{}", uuid::Uuid::now_v7().simple()).into();
    body["error"]["event_id"] = event_id.map_or(serde_json::Value::Null, Into::into);
    body.to_string()
}
