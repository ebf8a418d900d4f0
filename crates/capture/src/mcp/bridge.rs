//! A stdio client in front of a server that speaks streamable HTTP: each line becomes a POST, each message of an answer a line.

use std::io::Write;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::answer;
use super::body::{ANSWER_IDLE, BODIES_BYTES_MAX, collect};
use super::conversation::{Conversation, Onward};
use super::message::{Message, asked, read};
use super::stdio::Lines;
use super::upstream::{Form, HttpError, Upstream};
use crate::budget::Budget;
use crate::gateway::sse;

/// Requests that may be under way at once.
const UNDER_WAY_MAX: usize = 64;

/// How often a stream that broke off is opened again.
const REOPENS_MAX: u32 = 5;

/// How long to wait before a stream is opened again.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);

/// How long answers may take after the client has closed its side.
const CLOSING_TIME_MAX: Duration = Duration::from_secs(5);

const ACCEPT: &str = "application/json, text/event-stream";
const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");

/// A bridge to one server.
pub struct Bridge<W> {
    upstream: Upstream,
    url: Uri,
    /// Sent with each request: the credential, as a rule.
    headers: HeaderMap,
    conversation: Arc<Conversation>,
    session: Mutex<Option<HeaderValue>>,
    budget: Budget,
    out: Lines<W>,
}

impl<W: Write + Send + 'static> Bridge<W> {
    /// A bridge; lines of the server and of the proxy go to `out`.
    ///
    /// # Errors
    /// [`HttpError::Roots`].
    pub fn new(url: Uri, headers: HeaderMap, conversation: Arc<Conversation>, out: Lines<W>) -> Result<Self, HttpError> {
        let upstream = Upstream::new(url.scheme_str() == Some("https"))?;
        Ok(Self { upstream, url, headers, conversation, session: Mutex::new(None), budget: Budget::new(BODIES_BYTES_MAX), out })
    }

    /// Passes on the client's lines until there are no more, and ends the session.
    pub async fn run(self, mut lines: mpsc::Receiver<Bytes>) {
        let this = Arc::new(self);
        let permits = Arc::new(Semaphore::new(UNDER_WAY_MAX));
        let mut under_way = JoinSet::new();
        let mut stream = None;
        while let Some(line) = lines.recv().await {
            while under_way.try_join_next().is_some() {}
            let passage = this.conversation.client_message(line).await;
            if let Some(back) = &passage.back {
                this.say(back);
            }
            let Onward::Message(message) = passage.onward else { continue };
            let Heads { method, is_request, headers } = this.heads(&message);
            // The session is known with the first answer; what asks for nothing keeps its place among the others.
            if !is_request || method.as_deref() == Some("initialize") {
                this.exchange(message, headers).await;
                if stream.is_none() && method.as_deref() == Some("notifications/initialized") && this.session().is_some() {
                    stream = Some(tokio::spawn(Arc::clone(&this).listen()));
                }
                continue;
            }
            let Ok(permit) = permits.clone().acquire_owned().await else { break };
            let this = Arc::clone(&this);
            under_way.spawn(async move {
                this.exchange(message, headers).await;
                drop(permit);
            });
        }
        let answers = async { while under_way.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(CLOSING_TIME_MAX, answers).await;
        if let Some(stream) = stream {
            stream.abort();
        }
        if this.session().is_some()
            && let Ok(request) = this.request(Method::DELETE, HeaderMap::new(), Bytes::new())
        {
            let _ = tokio::time::timeout(CLOSING_TIME_MAX, this.upstream.send(request)).await;
        }
    }

    /// Posts a message and says what is answered.
    async fn exchange(&self, message: Bytes, headers: HeaderMap) {
        let answered = match self.request(Method::POST, headers, message.clone()) {
            Ok(request) => self.upstream.send(request).await,
            Err(error) => Err(HttpError::Unreachable(error.to_string())),
        };
        let response = match answered {
            Ok(response) => response,
            Err(error) => return self.fail(&message, "upstream_unreachable", &error.to_string()).await,
        };
        if let Some(id) = response.headers().get(&SESSION) {
            *self.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(id.clone());
            if let Ok(id) = id.to_str() {
                self.conversation.session().set_transport_session(id);
            }
        }
        let status = response.status();
        let form = Form::of(response.headers());
        if form == Form::Events {
            // A stream that breaks off before the answer is gone on with where it has ids to go on from (2025-03-26 to 2025-11-25).
            if let Some(last) = self.events(response).await {
                self.resume(last).await;
            }
        } else {
            let bytes_max = self.conversation.limits().message_bytes_max;
            let body = match collect(response.into_body(), bytes_max, ANSWER_IDLE, &mut self.budget.share()).await {
                Ok(body) => body,
                Err(error) => return self.fail(&message, error.error_type(), &error.to_string()).await,
            };
            if !body.trim_ascii().is_empty() {
                let is_told = match form {
                    Form::Json => self.tell(body).await,
                    // A line that is no message is nothing to a client.
                    _ => {
                        let _ = self.conversation.server_sends_unread(&body).await;
                        false
                    }
                };
                if !is_told && status.is_success() {
                    return self.fail(&message, "unread", "the answer of the MCP server cannot be read, and is withheld").await;
                }
            }
        }
        if !status.is_success() {
            self.fail(&message, &status.as_u16().to_string(), &format!("the MCP server answered with HTTP {status}")).await;
        }
    }

    /// Says what comes in a stream. Where to go on when it broke off.
    async fn events(&self, response: Response<Incoming>) -> Option<HeaderValue> {
        let mut body = response.into_body();
        let mut parser = sse::Parser::new();
        let mut ids = Ids::default();
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return ids.last };
            let Ok(mut chunk) = frame.into_data() else { continue };
            ids.read(&chunk);
            while !chunk.is_empty() {
                let mut message = None;
                let pushed = parser.push(&chunk, |event| {
                    message = Some(Bytes::copy_from_slice(event.data));
                    ControlFlow::Break(())
                });
                let Ok(pushed) = pushed else {
                    tracing::error!("an event of the MCP server is too long; its stream is closed");
                    let _ = self.conversation.server_begins_too_large(&chunk).await;
                    return None;
                };
                if let Some(message) = message.filter(|message| !message.is_empty()) {
                    self.tell(message).await;
                }
                chunk = pushed.last.map_or_else(Bytes::new, |end| chunk.slice(end..));
            }
        }
        None
    }

    /// Opens the session's own stream, for what the server says unasked.
    async fn listen(self: Arc<Self>) {
        self.follow(None).await;
    }

    async fn resume(&self, last: HeaderValue) {
        self.follow(Some(last)).await;
    }

    async fn follow(&self, mut last: Option<HeaderValue>) {
        for _ in 0..REOPENS_MAX {
            let mut headers = HeaderMap::new();
            if let Some(last) = &last {
                headers.insert(LAST_EVENT, last.clone());
            }
            let Ok(request) = self.request(Method::GET, headers, Bytes::new()) else { return };
            match self.upstream.send(request).await {
                Ok(response) if response.status() == StatusCode::OK && Form::of(response.headers()) == Form::Events => {
                    match self.events(response).await {
                        Some(broken_at) => last = Some(broken_at),
                        None => return,
                    }
                }
                // Servers need not have such a stream (405).
                Ok(_) => return,
                Err(_) => {}
            }
            tokio::time::sleep(REOPEN_PAUSE).await;
        }
    }

    /// Hands a message of the server to the client. False: there is nothing to hand on.
    async fn tell(&self, message: Bytes) -> bool {
        let passage = self.conversation.server_message(message).await;
        let is_told = passage.onward != Onward::Nothing;
        match passage.onward {
            Onward::Message(message) | Onward::Instead(message) => self.say(&message),
            Onward::Nothing => {}
        }
        if let Some(back) = passage.back
            && let Ok(request) = self.request(Method::POST, HeaderMap::new(), back)
        {
            drop(self.upstream.send(request).await);
        }
        is_told
    }

    /// Tells the client that its requests get no answer.
    async fn fail(&self, message: &Bytes, error: &str, why: &str) {
        let unanswered = self.conversation.failed(message, error).await;
        if unanswered > 0
            && let Some(told) = answer::errors(&asked(message), answer::REFUSED, why)
        {
            self.say(&told);
        }
    }

    /// Writes a line. Line ends within a message are white space: JSON has none in its texts.
    fn say(&self, message: &[u8]) {
        let mut line: Vec<u8> = message.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect();
        line.push(b'\n');
        if let Err(error) = self.out.write(&line) {
            tracing::debug!(%error, "the client has gone");
        }
    }

    fn session(&self) -> Option<HeaderValue> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn request(&self, method: Method, headers: HeaderMap, body: Bytes) -> Result<Request<Body>, http::Error> {
        let has_body = method == Method::POST;
        let mut request = Request::builder().method(method).uri(self.url.clone()).body(Body::from(body))?;
        let all = request.headers_mut();
        all.extend(self.headers.clone());
        all.extend(headers);
        all.insert(header::ACCEPT, HeaderValue::from_static(ACCEPT));
        if has_body {
            all.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(session) = self.session() {
            all.insert(SESSION, session);
        }
        if let Some(version) = self.conversation.session().protocol().and_then(|version| HeaderValue::from_str(version).ok()) {
            all.insert(PROTOCOL, version);
        }
        Ok(request)
    }

    /// What the headers of a message have to say of it (2026-07-28).
    fn heads(&self, message: &[u8]) -> Heads {
        let mut heads = Heads { method: None, is_request: false, headers: HeaderMap::new() };
        let frame = read(message);
        let first = frame.messages.first();
        if let Some(Ok(Message::Request { method, params, .. } | Message::Notification { method, params, .. })) = first {
            heads.is_request = matches!(first, Some(Ok(Message::Request { .. })));
            heads.method = Some(method.clone());
            if let Some(value) = header_value(method) {
                heads.headers.insert(METHOD, value);
            }
            let name = match method.as_str() {
                "tools/call" | "prompts/get" => params.text("name"),
                "resources/read" => params.text("uri"),
                _ => None,
            };
            if let Some(value) = name.as_deref().and_then(header_value) {
                heads.headers.insert(NAME, value);
            }
        }
        // A batch waits for its answers beside the others.
        heads.is_request |= frame.is_batch;
        heads
    }
}

/// The head of a POST.
struct Heads {
    method: Option<String>,
    is_request: bool,
    headers: HeaderMap,
}

/// The ids of the events of a stream: the last one is where it can be gone on with.
#[derive(Default)]
struct Ids {
    line: Vec<u8>,
    last: Option<HeaderValue>,
}

impl Ids {
    /// Longest id that is remembered, with its field's name.
    const BYTES_MAX: usize = 1_024;

    fn read(&mut self, chunk: &[u8]) {
        for &byte in chunk {
            if !matches!(byte, b'\n' | b'\r') {
                if self.line.len() < Self::BYTES_MAX {
                    self.line.push(byte);
                }
                continue;
            }
            if let Some(id) = self.line.strip_prefix(b"id:") {
                self.last = HeaderValue::from_bytes(id.trim_ascii()).ok().filter(|id| !id.is_empty());
            }
            self.line.clear();
        }
    }
}

/// A text as the value of a header: as it is, or in base64 where a header cannot hold it.
fn header_value(text: &str) -> Option<HeaderValue> {
    let is_plain = !text.is_empty()
        && text.bytes().all(|byte| matches!(byte, 0x20..=0x7e | b'\t'))
        && text.trim() == text
        && !(text.starts_with("=?base64?") && text.ends_with("?="));
    let value =
        if is_plain { text.to_owned() } else { format!("=?base64?{}?=", base64::engine::general_purpose::STANDARD.encode(text)) };
    HeaderValue::from_str(&value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_header_can_hold_are_encoded() {
        for (text, expected) in [
            ("get_weather", "get_weather"),
            ("file:///a b.txt", "file:///a b.txt"),
            ("é", "=?base64?w6k=?="),
            (" x", "=?base64?IHg=?="),
            ("=?base64?eA==?=", "=?base64?PT9iYXNlNjQ/ZUE9PT89?="),
            ("a\nb", "=?base64?YQpi?="),
        ] {
            assert_eq!(header_value(text).unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn the_last_id_is_known_wherever_the_chunks_end() {
        let stream = b"id: 1\ndata: {}\n\nid:two\r\ndata: {}\n\nid: 3";
        for size in 1..stream.len() {
            let mut ids = Ids::default();
            stream.chunks(size).for_each(|chunk| ids.read(chunk));
            assert_eq!(ids.last.unwrap(), "two");
        }
    }
}
