//! The streamable HTTP transport, as a reverse proxy: `/NAME` leads to the server of that name (MCP, transports, versions 2025-03-26
//! to 2026-07-28).
//!
//! A message is a POST; its answer is JSON or a stream of events, each of which is a message, too. Where the server gives sessions
//! (`Mcp-Session-Id`), a session is one conversation, with its GET stream and its end by DELETE; where it does not, each POST is one.
//! Headers and bodies pass as they came, `Last-Event-ID` and event ids among them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::routing::any;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;

use super::answer;
use super::conversation::{Conversation, Onward, Proxy};
use super::session::Who;
use super::upstream::{Upstream, is_event_stream, is_json};
use crate::gateway::caller::Caller;
use crate::gateway::header as own_header;
use crate::gateway::sse;
use crate::gateway::upstream::forwarded;

pub use super::upstream::{HttpError, upstream};

/// The session's header.
const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// The protocol's version.
const PROTOCOL: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// Sessions of one server that are remembered. A session that comes back after it was forgotten begins anew in the record.
const SESSIONS_MAX: usize = 4_096;

/// Longest id of a session, in bytes.
const SESSION_BYTES_MAX: usize = 1_024;

/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A server behind its path.
pub struct Route {
    /// Its path, without the slash.
    pub name: String,
    /// Its proxy.
    pub proxy: Proxy,
    /// Its endpoint.
    pub url: Uri,
}

/// A reverse proxy in front of MCP servers. Cheap to clone.
#[derive(Clone)]
pub struct HttpProxy {
    shared: Arc<Shared>,
}

struct Shared {
    routes: BTreeMap<String, Served>,
    upstream: Upstream,
}

struct Served {
    proxy: Proxy,
    url: Uri,
    sessions: Mutex<Sessions>,
}

#[derive(Default)]
struct Sessions {
    by_id: HashMap<String, Arc<Conversation>>,
    order: VecDeque<String>,
}

impl HttpProxy {
    /// A proxy for these servers. Opens no connection yet.
    ///
    /// # Errors
    /// [`HttpError::Roots`].
    pub fn new(routes: Vec<Route>) -> Result<Self, HttpError> {
        let upstream = Upstream::new(routes.iter().any(|route| route.url.scheme_str() == Some("https")))?;
        let routes = routes
            .into_iter()
            .map(|route| (route.name, Served { proxy: route.proxy, url: route.url, sessions: Mutex::default() }));
        Ok(Self { shared: Arc::new(Shared { routes: routes.collect(), upstream }) })
    }

    /// Its routes.
    pub fn router(&self) -> Router {
        Router::new().route("/{name}", any(serve)).with_state(self.shared.clone())
    }

    /// Records the end of every session, and waits until all that is under way is recorded: call it after the listener has stopped.
    pub async fn end(&self) {
        for served in self.shared.routes.values() {
            let sessions: Vec<_> = served.sessions().by_id.drain().map(|(_, conversation)| conversation).collect();
            for conversation in sessions {
                conversation.end("the proxy has stopped").await;
            }
            served.proxy.drained().await;
        }
    }
}

impl Served {
    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The conversation of a request: that of its session, or one of its own as long as the server has not said that there is such a
    /// session.
    fn conversation(&self, parts: &Parts) -> Arc<Conversation> {
        let known = session_id(&parts.headers).and_then(|id| self.sessions().by_id.get(&id).cloned());
        let conversation = known.unwrap_or_else(|| self.proxy.exchange(who(parts)));
        if let Some(version) = parts.headers.get(&PROTOCOL).and_then(|value| value.to_str().ok()) {
            conversation.session().set_protocol(version);
        }
        conversation
    }

    /// The conversation of an answer: a session begins with the answer to `initialize`, or where the server knows one that is not known
    /// here any more.
    fn settle(&self, parts: &Parts, response: &Response<Incoming>, conversation: Arc<Conversation>) -> Arc<Conversation> {
        let id = session_id(response.headers())
            .or_else(|| session_id(&parts.headers).filter(|_| response.status().is_success() && parts.method != Method::DELETE));
        match id {
            Some(id) if conversation.is_one_exchange() => {
                let whole = self.proxy.conversation(Who::default());
                whole.take_over(&conversation);
                self.keep(id, whole.clone());
                whole
            }
            _ => conversation,
        }
    }

    fn keep(&self, id: String, conversation: Arc<Conversation>) {
        conversation.session().set_transport_session(&id);
        let mut sessions = self.sessions();
        if sessions.by_id.insert(id.clone(), conversation).is_none() {
            sessions.order.push_back(id);
        }
        while sessions.by_id.len() > SESSIONS_MAX {
            let Some(oldest) = sessions.order.pop_front() else { break };
            if let Some(conversation) = sessions.by_id.remove(&oldest) {
                tokio::spawn(async move { conversation.end("too many sessions").await });
            }
        }
    }

    fn forget(&self, id: &str) -> Option<Arc<Conversation>> {
        let mut sessions = self.sessions();
        sessions.order.retain(|known| known != id);
        sessions.by_id.remove(id)
    }
}

async fn serve(State(shared): State<Arc<Shared>>, Path(name): Path<String>, request: Request) -> Response<Body> {
    let Some(served) = shared.routes.get(&name) else {
        return plain(StatusCode::NOT_FOUND, answer::unasked(answer::INVALID_REQUEST, "there is no MCP server of this name"));
    };
    let (parts, body) = request.into_parts();
    let conversation = served.conversation(&parts);
    if parts.method == Method::POST {
        return post(&shared, served, &conversation, parts, body).await;
    }
    // GET opens the stream of the session, DELETE ends it. Neither has a body.
    let is_delete = parts.method == Method::DELETE;
    let sent = send(&shared, served, &parts, Body::empty()).await;
    match sent {
        Ok(response) => {
            if is_delete
                && response.status().is_success()
                && let Some(ended) = session_id(&parts.headers).and_then(|id| served.forget(&id))
            {
                ended.end("closed by the client").await;
            }
            let conversation = served.settle(&parts, &response, conversation);
            answered(conversation, response, Bytes::new()).await
        }
        Err(error) => plain(StatusCode::BAD_GATEWAY, answer::unasked(answer::REFUSED, &error.to_string())),
    }
}

async fn post(shared: &Shared, served: &Served, conversation: &Arc<Conversation>, parts: Parts, body: Body) -> Response<Body> {
    let bytes_max = conversation.limits().message_bytes_max;
    if parts.headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        let why = "a body with a content-encoding cannot be read; send it without";
        return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, answer::unasked(answer::INVALID_REQUEST, why));
    }
    let message = match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let _ = conversation.client_begins_too_large(&[]).await;
            let why = format!("the message is larger than {bytes_max} bytes");
            return plain(StatusCode::PAYLOAD_TOO_LARGE, answer::unasked(answer::INVALID_REQUEST, &why));
        }
        Ok(Err(error)) => {
            let why = format!("the body broke off: {error}");
            return plain(StatusCode::BAD_REQUEST, answer::unasked(answer::INVALID_REQUEST, &why));
        }
        Err(_) => {
            let why = format!("the body took longer than {} s", BODY_TIMEOUT.as_secs());
            return plain(StatusCode::REQUEST_TIMEOUT, answer::unasked(answer::INVALID_REQUEST, &why));
        }
    };
    let passage = conversation.client_message_of(who(&parts), message).await;
    let Onward::Message(message) = passage.onward else {
        // A refused request is answered as the server would answer it; what asks for nothing is refused as HTTP does.
        let is_request = passage.back.as_ref().is_some_and(|back| !answer::is_unasked(back));
        let status = if is_request { StatusCode::OK } else { StatusCode::FORBIDDEN };
        return plain(status, passage.back.map(|back| back.to_vec()).unwrap_or_default());
    };
    match send(shared, served, &parts, Body::from(message.clone())).await {
        Err(error) => {
            conversation.failed(&message, "upstream_unreachable").await;
            plain(StatusCode::BAD_GATEWAY, answer::unasked(answer::REFUSED, &error.to_string()))
        }
        Ok(response) => {
            let conversation = served.settle(&parts, &response, conversation.clone());
            answered(conversation, response, message).await
        }
    }
}

async fn send(shared: &Shared, served: &Served, parts: &Parts, body: Body) -> Result<Response<Incoming>, HttpError> {
    let mut request = http::Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = served.url.clone();
    *request.headers_mut() = forwarded(&parts.headers);
    shared.upstream.send(request).await
}

/// Hands on an answer. `message` is the client's, which it answers.
async fn answered(conversation: Arc<Conversation>, response: Response<Incoming>, message: Bytes) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    let is_packed = head.headers.contains_key(header::CONTENT_ENCODING);
    head.headers = forwarded(&head.headers);
    if is_event_stream(&head.headers) && !is_packed {
        return Response::from_parts(head, Relay::new(conversation, body).into_body());
    }
    let bytes_max = conversation.limits().message_bytes_max;
    let whole = match Limited::new(body, bytes_max).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            let why = if error.is::<LengthLimitError>() { "response_too_large" } else { "upstream_error" };
            conversation.failed(&message, why).await;
            end(&conversation).await;
            return plain(
                StatusCode::BAD_GATEWAY,
                answer::unasked(answer::REFUSED, &format!("the answer cannot be handed on: {error}")),
            );
        }
    };
    let mut onward = whole.clone();
    if is_json(&head.headers) && !is_packed && !whole.is_empty() {
        match conversation.server_message(whole).await.onward {
            Onward::Message(same) => onward = same,
            Onward::Instead(error) => onward = error,
            Onward::Nothing => onward = Bytes::new(),
        }
    }
    if !head.status.is_success() || is_packed {
        // A refusal of HTTP, which may or may not have been a message, too: then nothing waits any more.
        conversation.failed(&message, &head.status.as_u16().to_string()).await;
    }
    end(&conversation).await;
    Response::from_parts(head, Body::from(onward))
}

/// The end of an answer is the end of a conversation that had only this.
async fn end(conversation: &Arc<Conversation>) {
    if conversation.is_one_exchange() {
        conversation.end("answered").await;
    }
}

/// A stream of events on its way: each is a message, which is recorded before it goes on where that is asked for.
struct Relay {
    conversation: Arc<Conversation>,
    upstream: Incoming,
    parser: sse::Parser,
    /// The beginning of an event.
    pending: BytesMut,
    ready: VecDeque<Bytes>,
    chunk: Bytes,
    /// An event was too long: what follows is not read any more.
    is_unread: bool,
    is_over: bool,
}

impl Relay {
    fn new(conversation: Arc<Conversation>, upstream: Incoming) -> Self {
        Self {
            conversation,
            upstream,
            parser: sse::Parser::new(),
            pending: BytesMut::new(),
            ready: VecDeque::new(),
            chunk: Bytes::new(),
            is_unread: false,
            is_over: false,
        }
    }

    fn into_body(self) -> Body {
        Body::from_stream(stream::unfold(self, |mut relay| async move { relay.next().await.map(|piece| (piece, relay)) }))
    }

    async fn next(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Some(Ok(piece));
            }
            if self.is_over {
                return None;
            }
            if self.chunk.is_empty() {
                match self.upstream.frame().await {
                    Some(Ok(frame)) => self.chunk = frame.into_data().unwrap_or_default(),
                    Some(Err(error)) => {
                        self.is_over = true;
                        return Some(Err(error));
                    }
                    None => {
                        self.is_over = true;
                        // An event without its end says nothing; its bytes pass as they came.
                        let rest = self.pending.split().freeze();
                        return (!rest.is_empty()).then_some(Ok(rest));
                    }
                }
                continue;
            }
            self.absorb().await;
        }
    }

    /// Takes the next event of the chunk.
    async fn absorb(&mut self) {
        if self.is_unread {
            self.ready.push_back(std::mem::take(&mut self.chunk));
            return;
        }
        let mut message = None;
        let pushed = self.parser.push(&self.chunk, |event| {
            message = Some(Bytes::copy_from_slice(event.data));
            ControlFlow::Break(())
        });
        let Ok(pushed) = pushed else {
            let begun = self.pending.split().freeze();
            let may_pass = self.conversation.server_begins_too_large(&begun).await.is_ok();
            self.is_unread = true;
            self.is_over = !may_pass;
            if may_pass {
                self.ready.push_back(begun);
                self.ready.push_back(std::mem::take(&mut self.chunk));
            }
            return;
        };
        let Some(end) = pushed.last else {
            // Comments and blank lines, and the beginning of the next event.
            self.pending.extend_from_slice(&std::mem::take(&mut self.chunk));
            if pushed.complete > 0 && !self.parser.is_inside_event() {
                self.ready.push_back(self.pending.split().freeze());
            }
            return;
        };
        self.pending.extend_from_slice(&self.chunk[..end]);
        self.chunk = self.chunk.slice(end..);
        let event = self.pending.split().freeze();
        let message = message.unwrap_or_default();
        // An event without data names an id to resume from (2025-11-25).
        if message.is_empty() {
            self.ready.push_back(event);
            return;
        }
        match self.conversation.server_message(message).await.onward {
            Onward::Message(_) => self.ready.push_back(event),
            Onward::Instead(error) => {
                let told = [&b"event: message\ndata: "[..], &error, b"\n\n"].concat();
                self.ready.push_back(told.into());
            }
            Onward::Nothing => {}
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if self.conversation.is_one_exchange()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let conversation = self.conversation.clone();
            runtime.spawn(async move { conversation.end("closed").await });
        }
    }
}

fn who(parts: &Parts) -> Who {
    let mut caller = Caller::of(parts);
    // The library that sends is not the client; that says who it is in the protocol.
    if !parts.headers.contains_key(own_header::APPLICATION) {
        caller.identity.application = None;
    }
    Who { identity: caller.identity, session: caller.session, trace: caller.trace }
}

fn session_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(&SESSION)?.to_str().ok()?;
    (!id.is_empty() && id.len() <= SESSION_BYTES_MAX).then(|| id.to_owned())
}

fn plain(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
