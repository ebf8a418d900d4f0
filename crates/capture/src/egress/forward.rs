//! A request on its way out and its answer on its way back. Neither is read: bytes are counted, and the end of the answer waits
//! for the record of the call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::Shared;
use super::answer::{Failure, NAME};
use super::call::{Call, Mode, end};
use crate::broken_off::BrokenOff;
use crate::gateway::dispatch::content_length;
use crate::gateway::header as own_header;
use crate::gateway::passthrough::counted;
use crate::gateway::upstream::{named_by_connection, of_connection};

/// Headers of an answer at the most: more than servers use.
const HEADERS_MAX: usize = 200;

/// Bytes of the head of a request or an answer at the most: more than browsers and servers use.
pub(super) const HEAD_BYTES_MAX: usize = 64 * 1024;

/// A connection on which requests can be sent, one after the other.
pub(super) type Sender = SendRequest<Body>;

/// Begins HTTP/1.1 on a connection. It ends when the sender is dropped.
pub(super) async fn handshake(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Sender, Failure> {
    let mut builder = Builder::new();
    builder.max_headers(HEADERS_MAX).max_buf_size(HEAD_BYTES_MAX);
    let (sender, connection) = builder.handshake(TokioIo::new(io)).await.map_err(|error| broken(&error))?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection of the egress proxy ended");
        }
    });
    Ok(sender)
}

/// Sends a request and hands on its answer.
pub(super) async fn forward(
    shared: &Arc<Shared>,
    mut call: Call,
    sender: &mut Sender,
    parts: Parts,
    body: Body,
) -> Response<Body> {
    let mut parts = parts;
    let upgrade = upgrade_of(&parts.headers);
    let claims_upgrade = upgrade.is_some().then(|| {
        // Taken from the request, so that the connection becomes the caller's when the other side agrees.
        let mut request = Request::from_parts(parts.clone(), ());
        let claim = hyper::upgrade::on(&mut request);
        parts.extensions.clear();
        claim
    });
    let request = match outgoing(&call, &parts, body, upgrade.as_ref(), shared.config.limits.client_idle) {
        Ok(request) => request,
        Err(failure) => return call.fail(failure).await,
    };
    // Bodies are not read: what has left is gone, and nobody can say later what it was. So its record comes first.
    if let Err(failure) = call.commit_request().await {
        return failure.into_response();
    }
    call.head_bytes = head_bytes(&request);
    let sent = call.bytes.sent.clone();
    let answered = patiently(sender.send_request(request), shared.config.limits.answer, &sent).await;
    let response = match answered {
        Some(Ok(response)) => response,
        Some(Err(error)) => return call.fail(broken(&error)).await,
        None => return call.fail(Failure::silent(shared.config.limits.answer)).await,
    };
    call.status = Some(response.status().as_u16());
    match claims_upgrade {
        Some(claim) if response.status() == StatusCode::SWITCHING_PROTOCOLS => switched(shared, call, claim, response),
        _ => answer(call, response, shared.config.limits.answer).await,
    }
}

/// The request as it goes on.
fn outgoing(
    call: &Call,
    parts: &Parts,
    body: Body,
    upgrade: Option<&HeaderValue>,
    idle: Duration,
) -> Result<Request<Body>, Failure> {
    let has_body = !body.is_end_stream();
    let body = if has_body { counted(body, call.bytes.sent.clone(), u64::MAX, idle) } else { Body::empty() };
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let uri: Uri = path.parse().map_err(|error| Failure::malformed(format!("the path cannot be passed on: {error}")))?;
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = end_to_end(&parts.headers);
    let headers = request.headers_mut();
    headers.remove(header::EXPECT);
    if call.mode == Mode::Http {
        // What the URL says goes before what `Host` says (RFC 9112, section 3.2.2).
        let authority = parts.uri.authority().map(|authority| authority.as_str().rsplit('@').next().unwrap_or_default());
        let host = authority.and_then(|host| HeaderValue::from_str(host).ok());
        headers.insert(header::HOST, host.ok_or_else(|| Failure::malformed("the host of the request is none"))?);
        headers.append(header::VIA, via(parts.version));
    }
    if let Some(upgrade) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, upgrade.clone());
    }
    Ok(request)
}

/// Bytes of a request's head on the wire (RFC 9112, section 2.1), without what the connection adds.
fn head_bytes(request: &Request<Body>) -> u64 {
    let line = request.method().as_str().len() + request.uri().path_and_query().map_or(1, |path| path.as_str().len());
    let headers: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum();
    (line + "  HTTP/1.1\r\n".len() + headers + "\r\n".len()) as u64
}

fn via(version: Version) -> HeaderValue {
    let number = if version == Version::HTTP_2 {
        "2"
    } else if version == Version::HTTP_10 {
        "1.0"
    } else {
        "1.1"
    };
    HeaderValue::from_str(&format!("{number} {NAME}")).unwrap_or_else(|_| HeaderValue::from_static("1.1 proxy"))
}

/// The headers that are meant for the other end.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let named = named_by_connection(headers);
    let stays = |name: &HeaderName| {
        of_connection(name)
            || name.as_str().starts_with(own_header::PREFIX)
            // `Connection: host` would leave a request without what it needs.
            || (named.contains(name) && *name != header::HOST && *name != header::CONTENT_LENGTH)
    };
    headers.iter().filter(|(name, _)| !stays(name)).map(|(name, value)| (name.clone(), value.clone())).fold(
        HeaderMap::new(),
        |mut kept, (name, value)| {
            kept.append(name, value);
            kept
        },
    )
}

/// The protocol that a request asks to change to (WebSocket). Not HTTP/2, in which further requests would go on unseen; servers do
/// not have to be asked for it like that any more (RFC 9113, section 3.1).
fn upgrade_of(headers: &HeaderMap) -> Option<HeaderValue> {
    let asks = named_by_connection(headers).contains(&header::UPGRADE);
    let is_http2 = |value: &HeaderValue| value.to_str().map_or(true, |value| value.to_ascii_lowercase().contains("h2c"));
    headers.get(header::UPGRADE).filter(|value| asks && !is_http2(value)).cloned()
}

/// Waits for as long as the answer's head comes within `idle`, or bytes of the request still pass.
async fn patiently<T>(answer: impl Future<Output = T>, idle: Duration, sent: &AtomicU64) -> Option<T> {
    let mut answer = std::pin::pin!(answer);
    loop {
        let before = sent.load(Ordering::Relaxed);
        match timeout(idle, &mut answer).await {
            Ok(answered) => return Some(answered),
            Err(_) if sent.load(Ordering::Relaxed) == before => return None,
            Err(_) => {}
        }
    }
}

/// Both sides have changed the protocol: from here on bytes pass as in a tunnel.
fn switched(
    shared: &Arc<Shared>,
    mut call: Call,
    claim: hyper::upgrade::OnUpgrade,
    mut response: Response<Incoming>,
) -> Response<Body> {
    let upstream = hyper::upgrade::on(&mut response);
    let mut headers = end_to_end(response.headers());
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = response.headers().get(header::UPGRADE) {
        headers.insert(header::UPGRADE, protocol.clone());
    }
    let limits = shared.config.limits;
    let stop = shared.stop.subscribe();
    let open = shared.tunnels.subscribe();
    tokio::spawn(async move {
        match timeout(limits.handshake, async { tokio::try_join!(claim, upstream) }).await {
            Ok(Ok((client, upstream))) => {
                let (client, upstream) = (TokioIo::new(client), TokioIo::new(upstream));
                let bytes = call.bytes.clone();
                let ended = super::tunnel::relay(client, upstream, &bytes, limits.tunnel_idle, &mut |_| true, stop).await;
                call.end = Some(ended.end);
                call.error = ended.is_error.then(|| ended.end.into());
            }
            _ => call.error = Some(end::CLIENT_DISCONNECT.into()),
        }
        drop(call.commit().await);
        drop(open);
    });
    let mut switched = Response::new(Body::empty());
    *switched.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *switched.headers_mut() = headers;
    switched
}

/// Hands on an answer.
async fn answer(mut call: Call, response: Response<Incoming>, idle: Duration) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    let length = content_length(&head.headers);
    head.headers = end_to_end(&head.headers);
    head.extensions.clear();
    if call.mode == Mode::Http {
        head.headers.append(header::VIA, via(head.version));
    }
    head.version = Version::default();
    if body.is_end_stream() {
        return match call.commit().await {
            Ok(()) => Response::from_parts(head, Body::empty()),
            Err(unrecorded) => unrecorded.into_response(),
        };
    }
    let passing = Passing { call, upstream: Some(body), left: length, idle };
    let body =
        Body::from_stream(stream::unfold(
            passing,
            |mut passing| async move { passing.next().await.map(|piece| (piece, passing)) },
        ));
    Response::from_parts(head, body)
}

/// An answer on its way. Dropped before its end, it records that the client left.
struct Passing {
    call: Call,
    upstream: Option<Incoming>,
    /// Bytes that are to come, where that is known: behind the last of them the client sees no end that could be withheld.
    left: Option<u64>,
    idle: Duration,
}

impl Passing {
    async fn next(&mut self) -> Option<Result<Bytes, BrokenOff>> {
        loop {
            let frame = match timeout(self.idle, self.upstream.as_mut()?.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(None) => return self.finish().await.err().map(Err),
                Ok(Some(Err(_))) => return self.cut("http_response_incomplete").await,
                Err(_) => return self.cut("connection_read_timeout").await,
            };
            let Ok(data) = frame.into_data() else { continue };
            self.call.bytes.received.fetch_add(data.len() as u64, Ordering::Relaxed);
            self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
            if self.left == Some(0)
                && let Err(cut) = self.finish().await
            {
                return Some(Err(cut));
            }
            return Some(Ok(data));
        }
    }

    /// Records the outcome before the end of the answer is handed out.
    async fn finish(&mut self) -> Result<(), BrokenOff> {
        self.upstream = None;
        match self.call.commit().await {
            Ok(()) => Ok(()),
            Err(_) => Err(BrokenOff::after_what_came().await),
        }
    }

    async fn cut(&mut self, error: &'static str) -> Option<Result<Bytes, BrokenOff>> {
        self.upstream = None;
        self.call.error = Some(error.into());
        self.call.end = Some(end::UPSTREAM_ERROR);
        drop(self.call.commit().await);
        Some(Err(BrokenOff::after_what_came().await))
    }
}

fn broken(error: &hyper::Error) -> Failure {
    let cause = crate::outbound::root_cause(error);
    let kind = if error.is_parse() { "http_protocol_error" } else { "connection_terminated" };
    Failure::new(StatusCode::BAD_GATEWAY, kind, format!("the destination did not answer: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_the_connection_stays_here() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Hop, host, content-length"),
            ("x-hop", "1"),
            ("host", "h"),
            ("content-length", "3"),
            ("proxy-authorization", "Basic x"),
            ("proxy-connection", "keep-alive"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("x-watchkeeper-user", "u"),
            ("accept-encoding", "gzip"),
            ("authorization", "Bearer t"),
            ("cookie", "a=1"),
        ] {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        headers.append("set-cookie", "a=1".parse().unwrap());
        headers.append("set-cookie", "b=2".parse().unwrap());
        let kept = end_to_end(&headers);
        let mut names: Vec<_> = kept.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept-encoding", "authorization", "content-length", "cookie", "host", "set-cookie", "set-cookie"]);
    }

    #[test]
    fn an_upgrade_is_one_where_connection_says_so() {
        let mut headers = HeaderMap::new();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        assert_eq!(upgrade_of(&headers), None);
        headers.insert(header::CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        assert_eq!(upgrade_of(&headers).unwrap(), "websocket");
        headers.insert(header::UPGRADE, HeaderValue::from_static("H2C"));
        assert_eq!(upgrade_of(&headers), None);
    }
}
