//! The handler: reads a call, records it beside the upstream call, and answers.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use bytes::{Bytes, BytesMut};
use event::{Direction, Kind, Part, Piece, PieceMeta, Role};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::answer::{Failure, Receipts};
use super::api::{Api, Asked};
use super::bedrock::event_stream;
use super::call::{Call, Shared};
use super::decode::{DecodeError, ModelRequest, ModelResponse};
use super::judging::Form;
use super::keys::Refused;
use super::packing::{Packing, unpacked};
use super::policy::Action;
use super::relay::{Framer, Relay, relayed};
use super::target::{Provider, Target, has_dot_segments};
use super::upstream::{Signature, forwarded, forwarded_signed};
use super::{enforce, json, passthrough, realtime, sse};
use crate::budget::Share;
use crate::outbound::root_cause;
use crate::recording::Pending;
use crate::{Raw, Receipt};

/// Bodies above this are decoded on a thread that may block: decoding takes some 2 ms per MiB, and a neighbour's call
/// must not wait for it.
const DECODE_INLINE_BYTES_MAX: usize = 256 * 1024;

/// How much of a body that cannot be read is kept as evidence, in bytes.
const EVIDENCE_BYTES_MAX: usize = 64 * 1024;

/// How much of a body that is too large is read and thrown away, so that the client gets to read why: a client that
/// is still writing does not see an answer.
const DISCARD_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// How long that may take.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(5);

/// Takes any request below the gateway's paths.
pub(super) async fn dispatch(State(shared): State<Arc<Shared>>, request: axum::extract::Request) -> Response<Body> {
    let started = Instant::now();
    let (mut parts, body) = request.into_parts();
    let has_azure = shared.upstream.base(Provider::Azure).is_some();
    let mut target = Target::of(&parts, has_azure);
    let grant = match shared.keys.admit(&mut parts, target.provider) {
        Ok(Some(grant)) => {
            // The key may have stood in the query.
            target = Target::of(&parts, has_azure);
            Some(grant)
        }
        Ok(None) => None,
        Err(Refused { failure, grant }) => {
            let call = Call::new(shared, &target, &parts, grant, started);
            return call.refuse(failure, None, content_length(&parts.headers)).await;
        }
    };
    let is_configured = shared.upstream.base(target.provider).is_some();
    let mut call = Call::new(shared, &target, &parts, grant, started);
    if !is_configured {
        let field = target.provider.field();
        let message = format!("there is no upstream for this path; set upstream.{field} in the gateway's configuration");
        let failure = Failure::new(StatusCode::NOT_FOUND, "upstream_unconfigured", message);
        return call.refuse(failure, None, content_length(&parts.headers)).await;
    }
    if has_dot_segments(parts.uri.path()) {
        let message = "the path has a segment . or .., which could lead out of the upstream's base; write it without";
        let failure = Failure::new(StatusCode::BAD_REQUEST, "path_refused", message);
        return call.refuse(failure, None, content_length(&parts.headers)).await;
    }
    if matches!(parts.method, Method::TRACE | Method::CONNECT) {
        let message = "TRACE and CONNECT are not passed on: they would show or tunnel what goes upstream";
        let failure = Failure::new(StatusCode::METHOD_NOT_ALLOWED, "method_refused", message);
        return call.refuse(failure, None, content_length(&parts.headers)).await;
    }
    // An upload may be larger than anything that is read.
    let is_upload = target.asked.boundary.is_some();
    let is_too_large = is_upload && is_beyond(&parts.headers, call.shared.config.limits.request_bytes_max);
    let read = target.api.filter(|_| !is_too_large);
    if let Some(grant) = &call.grant
        && let Err(failure) = grant.allows_route(read.map(|api| api.name), target.asked.is_of_object)
    {
        return call.refuse(failure, None, content_length(&parts.headers)).await;
    }
    match read {
        Some(api) if api.is_socket => realtime::connect(call, &target, parts).await,
        Some(api) => model_call(call, api, &target, parts, body).await,
        None => {
            call.choose_policy(&[]);
            unread_call(call, &target, parts, body).await
        }
    }
}

/// Passes a call on unread, unless its policy wants what it cannot have.
async fn unread_call(mut call: Call, target: &Target, parts: Parts, body: Body) -> Response<Body> {
    if let Some(policy) = call.policy.clone().filter(|policy| policy.judges_requests() || policy.answers > Action::Flag) {
        let ruling = policy.unjudged("guardrail_unsupported");
        if ruling.action == Action::Block {
            let failure = enforce::refusal(&ruling);
            call.ruling = Some(ruling);
            return call.refuse(failure, None, content_length(&parts.headers)).await;
        }
        call.ruling = Some(ruling);
    }
    passthrough::pass(call, target, parts, body).await
}

fn is_beyond(headers: &HeaderMap, bytes_max: usize) -> bool {
    content_length(headers).is_some_and(|bytes| bytes > bytes_max as u64)
}

async fn model_call(mut call: Call, api: &'static Api, target: &Target, parts: Parts, body: Body) -> Response<Body> {
    let shared = Arc::clone(&call.shared);
    let mut share = shared.budget.share();
    let body = match read_body(&parts.headers, body, &mut share, &shared).await {
        Ok(body) => body,
        Err(failure) => {
            let claimed = content_length(&parts.headers);
            return call.refuse(failure, None, claimed).await;
        }
    };
    let share = Arc::new(share);
    let received = Instant::now();
    let mut request = match decode_request(api, &target.asked, &parts.method, &body).await {
        Ok(request) => request,
        Err(error) => {
            let failure = Failure::new(StatusCode::BAD_REQUEST, "request_malformed", error.to_string());
            let bytes = Some(body.len() as u64);
            return call.refuse(failure, Some(evidence(&body)), bytes).await;
        }
    };
    let received_bytes = Some(body.len() as u64);
    let body = match enforce::request(&mut call, &mut request, target, &parts, body, &share).await {
        Ok(body) => body,
        Err(failure) => return call.refuse(failure, Some(request), received_bytes).await,
    };
    let pending = call.record_request(Some(request), received_bytes);
    let (answered, receipt, upstream_time) = match exchange(&mut call, target, parts, Body::from(body), pending).await {
        Ok(exchanged) => exchanged,
        Err(refusal) => return refusal,
    };
    drop(share);
    let overhead = received.elapsed().saturating_sub(upstream_time);
    call.outcome.overhead = Some(overhead);
    match answered {
        Ok(response) => match (Framer::of(response.headers()), api.stream) {
            (Some(framer), Some(decoder)) => {
                // Without anybody who judges there is no window either.
                if (api.deltas.is_empty() || shared.guard.is_none())
                    && let Some(failure) = enforce::unmaskable(&mut call)
                {
                    return failed_answer(call, failure, receipt, overhead).await;
                }
                let (mut head, body) = response.into_parts();
                call.outcome.http_status = Some(head.status.as_u16());
                call.decoder = Some(decoder());
                head.headers = forwarded(&head.headers);
                call.receipts(receipt, overhead).write(&mut head.headers);
                Response::from_parts(head, relayed(Relay::events(call, body, framer)))
            }
            (Some(_), None) => match enforce::unmaskable(&mut call) {
                None => passthrough::answer(call, response, receipt, overhead),
                Some(failure) => failed_answer(call, failure, receipt, overhead).await,
            },
            (None, _) if is_media(response.headers()) => match enforce::unmaskable(&mut call) {
                None => passthrough::answer(call, response, receipt, overhead),
                Some(failure) => failed_answer(call, failure, receipt, overhead).await,
            },
            (None, _) => whole_answer(call, api, response, receipt, received, upstream_time).await,
        },
        Err(failure) => failed_answer(call, failure, receipt, overhead).await,
    }
}

/// Calls the upstream while the request is being recorded, and waits for both: its answer, or why there is none, with
/// the receipt and the time that the upstream took. `Err` is the refusal of a call that cannot be recorded.
#[allow(clippy::type_complexity)]
pub(super) async fn exchange(
    call: &mut Call,
    target: &Target,
    parts: Parts,
    body: Body,
    mut pending: Pending,
) -> Result<(Result<Response<Incoming>, Failure>, Option<Receipt>, Duration), Response<Body>> {
    let shared = Arc::clone(&call.shared);
    let mut sending = pin!(async {
        let sent_at = Instant::now();
        let answered = send(&shared, target, parts, body).await;
        (answered, sent_at.elapsed())
    });
    let mut judged = None;
    if pending.goes_first {
        match call.judge(pending.durable().await) {
            Ok(receipt) => judged = Some(receipt),
            Err(failure) => return Err(refused(call, failure)),
        }
    }
    let (answered, upstream_time) = tokio::select! {
        biased;
        recorded = pending.durable(), if judged.is_none() => {
            match call.judge(recorded) {
                Ok(receipt) => judged = Some(receipt),
                // The upstream call is dropped: its answer must not be seen.
                Err(failure) => return Err(refused(call, failure)),
            }
            sending.await
        }
        answered = &mut sending => answered,
    };
    let receipt = match judged {
        Some(receipt) => receipt,
        None => match call.judge(pending.durable().await) {
            Ok(receipt) => receipt,
            Err(failure) => return Err(refused(call, failure)),
        },
    };
    Ok((answered, receipt, upstream_time))
}

async fn send(shared: &Shared, target: &Target, parts: Parts, body: Body) -> Result<Response<Incoming>, Failure> {
    let Some(base) = shared.upstream.base(target.provider) else {
        return Err(Failure::new(StatusCode::NOT_FOUND, "upstream_unconfigured", "there is no upstream for this path"));
    };
    let url = base.url(target).map_err(|error| {
        Failure::new(StatusCode::BAD_REQUEST, "url_malformed", format!("the path cannot be passed on: {error}"))
    })?;
    let mut request = Request::new(body);
    *request.method_mut() = parts.method;
    *request.uri_mut() = url;
    // Only Bedrock checks such a signature; elsewhere it would be a caller's list of headers that it wants to have passed.
    let signature = Signature::of(&parts.headers).filter(|_| target.provider == Provider::Bedrock);
    *request.headers_mut() = match signature {
        Some(signature) => forwarded_signed(&parts.headers, &signature, base.host()),
        None => forwarded(&parts.headers),
    };
    if target.api.is_some_and(|api| api.is_socket) {
        realtime::ask_for_upgrade(request.headers_mut());
    }
    // A body that is held says itself how long it is: it may have been redacted.
    if request.body().size_hint().exact().is_none()
        && let Some(length) = parts.headers.get(header::CONTENT_LENGTH)
    {
        request.headers_mut().insert(header::CONTENT_LENGTH, length.clone());
    }
    let idle = shared.config.limits.upstream_idle;
    match tokio::time::timeout(idle, shared.upstream.send(request)).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => {
            let kind = if error.is_connect() { "upstream_unreachable" } else { "upstream_error" };
            let cause = root_cause(&error);
            let message = format!("no answer from {}:{}: {cause}", base.host(), base.port());
            Err(Failure::new(StatusCode::BAD_GATEWAY, kind, message))
        }
        Err(_) => Err(silent_upstream(idle)),
    }
}

/// What a client is told when the upstream says nothing.
pub(super) fn silent_upstream(idle: Duration) -> Failure {
    let message = format!("the upstream was silent for {} s", idle.as_secs_f64());
    Failure::new(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", message)
}

fn refused(call: &mut Call, failure: Failure) -> Response<Body> {
    call.abandon();
    failure.into_response(call.provider, &call.receipts(None, call.elapsed()))
}

/// Answers that there is no answer, once that is recorded.
pub(super) async fn failed_answer(
    mut call: Call,
    failure: Failure,
    receipt: Option<Receipt>,
    overhead: Duration,
) -> Response<Body> {
    let receipts = call.receipts(receipt, overhead);
    call.outcome.http_status = Some(failure.status.as_u16());
    call.outcome.error = Some(failure.kind.into());
    let provider = call.provider;
    match call.commit().await {
        Ok(_) => failure.into_response(provider, &receipts),
        Err(unrecorded) => unrecorded.into_response(provider, &receipts),
    }
}

/// Collects an answer, records it and hands it on. What is larger than is recorded passes on as a stream.
async fn whole_answer(
    mut call: Call,
    api: &'static Api,
    response: Response<Incoming>,
    receipt: Option<Receipt>,
    received: Instant,
    mut upstream_time: Duration,
) -> Response<Body> {
    let shared = Arc::clone(&call.shared);
    let limits = &shared.config.limits;
    let (mut head, mut body) = response.into_parts();
    call.outcome.http_status = Some(head.status.as_u16());
    let packing = Packing::of(&head.headers);
    let length = content_length(&head.headers);
    head.headers = forwarded(&head.headers);
    let mut share = shared.budget.share();
    let mut frames: Vec<Bytes> = Vec::new();
    let mut bytes = 0;
    let reading = Instant::now();
    loop {
        let frame = match tokio::time::timeout(limits.upstream_idle, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                let message = format!("the upstream broke off its answer: {}", root_cause(&error));
                keep_partial(&mut call, &frames);
                let failure = Failure::new(StatusCode::BAD_GATEWAY, "upstream_error", message);
                return failed_answer(call, failure, receipt, received.elapsed().saturating_sub(upstream_time)).await;
            }
            Err(_) => {
                keep_partial(&mut call, &frames);
                let failure = silent_upstream(limits.upstream_idle);
                return failed_answer(call, failure, receipt, received.elapsed().saturating_sub(upstream_time)).await;
            }
        };
        let Ok(data) = frame.into_data() else { continue };
        bytes += data.len();
        call.outcome.response_bytes += data.len() as u64;
        frames.push(data);
        if bytes > limits.response_recorded_bytes_max || share.cover(bytes).is_err() {
            if let Some(failure) = enforce::unmaskable(&mut call) {
                keep_partial(&mut call, &frames);
                return failed_answer(call, failure, receipt, received.elapsed().saturating_sub(upstream_time)).await;
            }
            // Too large to hold: it passes on, and only its end is withheld.
            call.outcome.response = Some(unread_answer(&frames));
            call.receipts(receipt, received.elapsed().saturating_sub(upstream_time)).write(&mut head.headers);
            if let Some(length) = length {
                head.headers.insert(header::CONTENT_LENGTH, length.into());
            }
            return Response::from_parts(head, relayed(Relay::plain(call, body, frames, length)));
        }
    }
    upstream_time += reading.elapsed();
    let body = joined(frames);
    let form = if is_plain_text(&head.headers) { Form::Text } else { Form::Json };
    let plain = unpacked(packing, &body, limits.response_recorded_bytes_max).await;
    let is_readable = plain.is_some();
    let plain = plain.unwrap_or_else(|| body.clone());
    let mut decoded = decode_response(api, &plain, form == Form::Text).await;
    let enforced = if !enforce::changes_answers(&call) {
        // What is judged alone goes on as it came.
        enforce::answer(&mut call, &mut decoded, plain, form, &Arc::new(share)).await.map(|_| body)
    } else if is_readable {
        head.headers.remove(header::CONTENT_ENCODING);
        enforce::answer(&mut call, &mut decoded, plain, form, &Arc::new(share)).await
    } else {
        enforce::unmaskable(&mut call).map_or(Ok(body), Err)
    };
    call.outcome.response = Some(decoded);
    let body = match enforced {
        Ok(body) => body,
        Err(failure) => {
            return failed_answer(call, failure, receipt, received.elapsed().saturating_sub(upstream_time)).await;
        }
    };
    let overhead = received.elapsed().saturating_sub(upstream_time);
    call.outcome.overhead = Some(overhead);
    let provider = call.provider;
    let committed = call.commit().await;
    let receipts = call.receipts(receipt, received.elapsed().saturating_sub(upstream_time));
    match committed {
        Ok(outcome) => {
            let receipts = Receipts { request: receipt.and(outcome).and(receipt), ..receipts };
            receipts.write(&mut head.headers);
            Response::from_parts(head, Body::from(body))
        }
        Err(unrecorded) => unrecorded.into_response(provider, &receipts),
    }
}

/// Records what came of an answer that broke off.
fn keep_partial(call: &mut Call, frames: &[Bytes]) {
    call.outcome.response = Some(unread_answer(frames));
}

/// An answer that is not read as one: its beginning, as text.
fn unread_answer(frames: &[Bytes]) -> ModelResponse {
    let mut text = Vec::new();
    for frame in frames {
        let room = EVIDENCE_BYTES_MAX.saturating_sub(text.len());
        text.extend_from_slice(&frame[..frame.len().min(room)]);
    }
    let bytes: usize = frames.iter().map(Bytes::len).sum();
    let mut response = ModelResponse { pieces: body_piece(&text, Direction::Output), ..ModelResponse::default() };
    super::decode::add(&mut response.attributes, event::attr::CONTENT_BYTES_CUT, bytes - text.len());
    response
}

async fn decode_request(api: &'static Api, asked: &Asked, method: &Method, body: &Bytes) -> Result<ModelRequest, DecodeError> {
    // A request may have no body: what is asked for stands in the path.
    if body.is_empty() && method == Method::GET || body.is_empty() && api.kind == Kind::ExternalCall {
        return Ok(ModelRequest { model: asked.model.clone(), stream: asked.streams, ..ModelRequest::default() });
    }
    if body.len() <= DECODE_INLINE_BYTES_MAX {
        return api.read_request(asked, body);
    }
    let (body, asked) = (body.clone(), asked.clone());
    let gone = || Err(DecodeError::NotJson { reason: "decoding failed unexpectedly".to_owned() });
    tokio::task::spawn_blocking(move || api.read_request(&asked, &body)).await.unwrap_or_else(|_| gone())
}

async fn decode_response(api: &'static Api, body: &Bytes, is_text: bool) -> ModelResponse {
    let decode = move |body: &Bytes| {
        if is_text {
            let (text, cut) = json::cut(String::from_utf8_lossy(body).into_owned());
            let meta = PieceMeta::new(Direction::Output, Role::Assistant, Part::Text);
            let mut response = ModelResponse { pieces: vec![Piece::new(meta, Raw::from(text))], ..ModelResponse::default() };
            super::decode::add(&mut response.attributes, event::attr::CONTENT_BYTES_CUT, cut);
            return response;
        }
        api.read_answer(body).unwrap_or_else(|_| ModelResponse {
            error: Some("response_malformed".to_owned()),
            ..unread_answer(std::slice::from_ref(body))
        })
    };
    if body.len() <= DECODE_INLINE_BYTES_MAX {
        return decode(body);
    }
    let body = body.clone();
    tokio::task::spawn_blocking(move || decode(&body)).await.unwrap_or_default()
}

/// Reads a request's body within the limits.
async fn read_body(headers: &HeaderMap, body: Body, share: &mut Share, shared: &Shared) -> Result<Bytes, Failure> {
    let limits = &shared.config.limits;
    let bytes_max = limits.request_bytes_max;
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
        && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        let message = "a body with a content-encoding cannot be read; send it without";
        return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "encoding_unsupported", message));
    }
    let too_large = || {
        let message = format!("the body is larger than {bytes_max} bytes (limit request_bytes_max)");
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message)
    };
    let exhausted = || Failure {
        retry_after: Some(Duration::from_secs(1)),
        ..Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "gateway_busy",
            "too many large bodies are under way (limit buffered_bytes_max); try again in 1 s",
        )
    };
    let mut body = body;
    let claimed = body.size_hint().lower();
    if claimed > bytes_max as u64 {
        if !headers.contains_key(header::EXPECT) {
            discard(body).await;
        }
        return Err(too_large());
    }
    let mut first: Option<Bytes> = None;
    let mut joined = BytesMut::new();
    let mut bytes = 0;
    loop {
        let frame = match tokio::time::timeout(limits.client_idle, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                let message = format!("the body broke off after {bytes} bytes: {}", root_cause(&error));
                return Err(Failure::new(StatusCode::BAD_REQUEST, "request_truncated", message));
            }
            Err(_) => {
                let message = format!("no more of the body came for {} s", limits.client_idle.as_secs_f64());
                return Err(Failure::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", message));
            }
        };
        let Ok(data) = frame.into_data() else { continue };
        bytes += data.len();
        if bytes > bytes_max {
            discard(body).await;
            return Err(too_large());
        }
        share.cover(bytes).map_err(|_| exhausted())?;
        // A body that comes in one piece is not copied.
        match first.take() {
            None if joined.is_empty() => first = Some(data),
            None => joined.extend_from_slice(&data),
            Some(begun) => {
                joined.reserve(usize::try_from(claimed).unwrap_or(0).min(bytes_max).max(bytes));
                joined.extend_from_slice(&begun);
                joined.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| joined.freeze()))
}

async fn discard(mut body: Body) {
    let reading = async {
        let mut left = DISCARD_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
            if left == 0 {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(DISCARD_TIME_MAX, reading).await;
}

/// What is recorded of a body that cannot be read: its beginning, as text.
fn evidence(body: &[u8]) -> ModelRequest {
    let kept = &body[..body.len().min(EVIDENCE_BYTES_MAX)];
    let mut request = ModelRequest { pieces: body_piece(kept, Direction::Input), ..ModelRequest::default() };
    super::decode::add(&mut request.attributes, event::attr::CONTENT_BYTES_CUT, body.len() - kept.len());
    request
}

fn body_piece(bytes: &[u8], direction: Direction) -> Vec<Piece<Raw>> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let role = if direction == Direction::Input { Role::User } else { Role::Assistant };
    let (text, _) = json::cut(String::from_utf8_lossy(bytes).into_owned());
    vec![Piece::new(PieceMeta::new(direction, role, Part::Body), Raw::from(text))]
}

fn joined(mut frames: Vec<Bytes>) -> Bytes {
    if frames.len() == 1 {
        return frames.pop().unwrap_or_default();
    }
    frames.concat().into()
}

pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn content_type(headers: &HeaderMap) -> String {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.trim_start().to_ascii_lowercase()
}

impl Framer {
    /// How a stream is framed; `None` for an answer in one piece.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let kind = content_type(headers);
        if Packing::of(headers) != Packing::Plain {
            None
        } else if kind.starts_with("text/event-stream") {
            Some(Self::ServerSent(sse::Parser::new()))
        } else if kind.starts_with("application/vnd.amazon.eventstream") {
            Some(Self::Amazon(event_stream::Parser::default()))
        } else {
            None
        }
    }
}

/// Whether an answer is sound or a picture: counted, and not read.
fn is_media(headers: &HeaderMap) -> bool {
    let kind = content_type(headers);
    ["audio/", "video/", "image/"].iter().any(|media| kind.starts_with(media))
}

/// Whether an answer is text without a form of its own: a transcript.
fn is_plain_text(headers: &HeaderMap) -> bool {
    ["text/plain", "text/vtt", "application/x-subrip"].iter().any(|text| content_type(headers).starts_with(text))
}
