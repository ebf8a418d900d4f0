//! The streamable HTTP transport, as a reverse proxy: `/NAME` leads to the server of that name (MCP, transports, versions 2025-03-26
//! to 2026-07-28).
//!
//! A message is a POST; its answer is JSON or a stream of events, each of which is a message, too. Where the server gives sessions
//! (`Mcp-Session-Id`), a session is one conversation, with its GET stream and its end by DELETE; where it does not, each POST is one.
//! Headers and bodies pass as they came, `Last-Event-ID` and event ids among them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::routing::any;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header};
use hyper::body::Incoming;

use super::answer;
use super::body::{ANSWER_IDLE, BODIES_BYTES_MAX, BodyError, Held, collect};
use super::conversation::{Conversation, Onward, Proxy};
use super::events::Relay;
use super::message::asked;
use super::pieces::EVIDENCE_BYTES_MAX;
use super::sides::Who;
use super::upstream::{Form, Upstream};
use crate::budget::Budget;
use crate::gateway::caller::Caller;
use crate::gateway::header as own_header;
use crate::gateway::upstream::forwarded;

pub use super::upstream::{HeaderError, HttpError, headers_of, upstream};

/// The session's header.
const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// The protocol's version.
const PROTOCOL: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// Sessions of one server that are remembered. A session that comes back after it was forgotten begins anew in the record.
const SESSIONS_MAX: usize = 4_096;

/// Longest id of a session, in bytes.
const SESSION_BYTES_MAX: usize = 1_024;

/// How long a body of a client may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A server behind its path.
pub struct Route {
    /// Its path, without the slash.
    pub name: String,
    /// Its proxy.
    pub proxy: Proxy,
    /// Its endpoint.
    pub url: Uri,
    /// Headers that every request to it has, whatever the client sends: the credential, as a rule.
    pub headers: HeaderMap,
    /// On whose behalf clients speak that do not say it.
    pub who: Who,
}

/// A reverse proxy in front of MCP servers. Cheap to clone.
#[derive(Clone)]
pub struct HttpProxy {
    shared: Arc<Shared>,
}

struct Shared {
    routes: BTreeMap<String, Served>,
    upstream: Upstream,
    /// For the bodies of all of them.
    budget: Budget,
}

struct Served {
    proxy: Proxy,
    url: Uri,
    headers: HeaderMap,
    who: Who,
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
        let served = |route: Route| {
            let Route { name, proxy, url, headers, who } = route;
            (name, Served { proxy, url, headers, who, sessions: Mutex::default() })
        };
        let routes = routes.into_iter().map(served).collect();
        Ok(Self { shared: Arc::new(Shared { routes, upstream, budget: Budget::new(BODIES_BYTES_MAX) }) })
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

    /// On whose behalf a request comes: what it says, and else what the operator said.
    fn who(&self, parts: &Parts) -> Who {
        let (mut who, said) = (who(parts), self.who.clone());
        who.session = who.session.or(said.session);
        let identity = &mut who.identity;
        identity.user = identity.user.take().or(said.identity.user);
        identity.application = identity.application.take().or(said.identity.application);
        identity.agent = identity.agent.take().or(said.identity.agent);
        who
    }

    /// The conversation of a request: that of its session, or one of its own. An id that the server has not issued here makes none that
    /// is kept: anybody can send one.
    fn conversation(&self, parts: &Parts) -> Arc<Conversation> {
        let id = session_id(&parts.headers);
        let known = id.as_ref().and_then(|id| self.sessions().by_id.get(id).cloned());
        let conversation = known.unwrap_or_else(|| {
            let exchange = self.proxy.exchange(self.who(parts));
            if let Some(id) = &id {
                exchange.session().set_transport_session(id);
            }
            exchange
        });
        if let Some(version) = parts.headers.get(&PROTOCOL).and_then(|value| value.to_str().ok()) {
            conversation.session().set_protocol(version);
        }
        conversation
    }

    /// The conversation of an answer: a session begins where the server issues its id, with the answer to `initialize`.
    fn settle(&self, response: &Response<Incoming>, conversation: Arc<Conversation>) -> Arc<Conversation> {
        let issued = session_id(response.headers()).filter(|id| !self.sessions().by_id.contains_key(id));
        match issued {
            Some(id) if conversation.is_one_exchange() && response.status().is_success() => {
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
        let mut ended: Vec<_> = sessions.by_id.insert(id.clone(), conversation).into_iter().collect();
        if ended.is_empty() {
            sessions.order.push_back(id);
        }
        while sessions.by_id.len() > SESSIONS_MAX {
            let Some(oldest) = sessions.order.pop_front() else { break };
            ended.extend(sessions.by_id.remove(&oldest));
        }
        for conversation in ended {
            tokio::spawn(async move { conversation.end("too many sessions").await });
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
    let method = method(&parts.method);
    let is_known = matches!(method, "GET" | "DELETE");
    if let Err(back) = conversation.transport_request(served.who(&parts), method, is_known).await {
        end(&conversation).await;
        let status = if is_known { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::METHOD_NOT_ALLOWED };
        return plain(status, back.map(|back| back.to_vec()).unwrap_or_default());
    }
    match send(&shared, served, &parts, Body::empty()).await {
        Ok(response) => {
            if method == "DELETE"
                && response.status().is_success()
                && let Some(ended) = session_id(&parts.headers).and_then(|id| served.forget(&id))
            {
                ended.end("closed by the client").await;
            }
            let conversation = served.settle(&response, conversation);
            answered(&shared, conversation, response, Bytes::new()).await
        }
        Err(error) => {
            end(&conversation).await;
            plain(StatusCode::BAD_GATEWAY, answer::unasked(answer::REFUSED, &error.to_string()))
        }
    }
}

async fn post(shared: &Shared, served: &Served, conversation: &Arc<Conversation>, parts: Parts, body: Body) -> Response<Body> {
    let bytes_max = conversation.limits().message_bytes_max;
    if parts.headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        let why = "a body with a content-encoding cannot be read; send it without";
        return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, answer::unasked(answer::INVALID_REQUEST, why));
    }
    // Held until the request is answered: it is in memory as long.
    let mut share = shared.budget.share();
    let body = match tokio::time::timeout(BODY_TIMEOUT, collect(body, bytes_max, BODY_TIMEOUT, &mut share)).await {
        Ok(body) => body,
        Err(_) => Err(BodyError::Slow { idle: BODY_TIMEOUT }),
    };
    let message = match body {
        Ok(message) => message,
        Err(error) => {
            let status = match &error {
                BodyError::TooLarge { .. } => {
                    let _ = conversation.client_begins_too_large(&[]).await;
                    StatusCode::PAYLOAD_TOO_LARGE
                }
                BodyError::Broken(_) => StatusCode::BAD_REQUEST,
                BodyError::Slow { .. } => StatusCode::REQUEST_TIMEOUT,
                BodyError::Full => StatusCode::SERVICE_UNAVAILABLE,
            };
            end(conversation).await;
            return plain(status, answer::unasked(answer::INVALID_REQUEST, &format!("the message cannot be taken: {error}")));
        }
    };
    let passage = conversation.client_message_of(served.who(&parts), message).await;
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
            let conversation = served.settle(&response, conversation.clone());
            answered(shared, conversation, response, message).await
        }
    }
}

async fn send(shared: &Shared, served: &Served, parts: &Parts, body: Body) -> Result<Response<Incoming>, HttpError> {
    let mut request = http::Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = served.url.clone();
    *request.headers_mut() = forwarded(&parts.headers);
    for (name, value) in &served.headers {
        request.headers_mut().insert(name.clone(), value.clone());
    }
    shared.upstream.send(request).await
}

/// Hands on an answer. `message` is the client's, which it answers.
async fn answered(
    shared: &Shared,
    conversation: Arc<Conversation>,
    response: Response<Incoming>,
    message: Bytes,
) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    let form = Form::of(&head.headers);
    head.headers = forwarded(&head.headers);
    let mut share = shared.budget.share();
    // What is packed may have no end.
    let is_unread = form == Form::PackedEvents;
    if is_unread && conversation.server_sends_unread(&[]).await.is_err() {
        return withheld(&conversation, head, &message).await;
    }
    if matches!(form, Form::Events | Form::PackedEvents) {
        return Response::from_parts(head, Relay::new(conversation, body, share, is_unread).into_body());
    }
    let bytes_max = conversation.limits().message_bytes_max;
    let whole = match collect(body, bytes_max, ANSWER_IDLE, &mut share).await {
        Ok(body) => body,
        Err(error) => {
            conversation.failed(&message, error.error_type()).await;
            end(&conversation).await;
            let why = format!("the answer cannot be handed on: {error}");
            return plain(StatusCode::BAD_GATEWAY, answer::unasked(answer::REFUSED, &why));
        }
    };
    let onward = if whole.trim_ascii().is_empty() {
        Onward::Message(whole)
    } else if form == Form::Json {
        conversation.server_message(whole).await.onward
    } else {
        let begun = whole.slice(..whole.len().min(EVIDENCE_BYTES_MAX));
        let ruled = conversation.server_sends_unread(&begun).await;
        if ruled.is_ok() { Onward::Message(whole) } else { Onward::Nothing }
    };
    let (Onward::Message(onward) | Onward::Instead(onward)) = onward else {
        return withheld(&conversation, head, &message).await;
    };
    if !head.status.is_success() || form == Form::Unread {
        // A refusal of HTTP, which may or may not have been a message, too: then nothing waits any more.
        conversation.failed(&message, &head.status.as_u16().to_string()).await;
    }
    end(&conversation).await;
    Response::from_parts(head, Body::new(Held::new(onward, share)))
}

/// The answer in the place of one that must not be seen. What HTTP itself says of it stays: a client that is not let in learns where to
/// ask for a token.
async fn withheld(conversation: &Arc<Conversation>, mut head: http::response::Parts, message: &Bytes) -> Response<Body> {
    conversation.failed(message, "withheld").await;
    end(conversation).await;
    let why = "the answer of the MCP server cannot be read, or cannot be recorded, and is withheld";
    match answer::errors(&asked(message), answer::REFUSED, why) {
        Some(errors) if head.status.is_success() => plain(StatusCode::BAD_GATEWAY, errors),
        _ => {
            for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING] {
                head.headers.remove(name);
            }
            Response::from_parts(head, Body::empty())
        }
    }
}

/// The end of an answer is the end of a conversation that had only this.
async fn end(conversation: &Arc<Conversation>) {
    if conversation.is_one_exchange() {
        conversation.end("answered").await;
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

/// A method as the record has it (OpenTelemetry): whoever sends can make up others.
fn method(method: &Method) -> &'static str {
    let known = ["GET", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH", "TRACE", "CONNECT"];
    known.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
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

#[cfg(test)]
mod tests;
