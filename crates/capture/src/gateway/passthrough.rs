//! Every other path of the providers' APIs: passed on as it is, and recorded as a call to somewhere outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::request::Parts;
use http::{Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::answer::Failure;
use super::call::Call;
use super::dispatch::{content_length, exchange, failed_answer};
use super::relay::{Relay, relayed};
use super::target::Target;
use super::upstream::forwarded;
use crate::Receipt;

/// Passes a request on.
pub(super) async fn pass(mut call: Call, target: &Target, parts: Parts, body: Body) -> Response<Body> {
    let shared = Arc::clone(&call.shared);
    let limits = shared.config.limits;
    let claimed = content_length(&parts.headers);
    if claimed.is_some_and(|bytes| bytes > limits.passthrough_bytes_max) {
        let message = format!("the body is larger than {} bytes (limit passthrough_bytes_max)", limits.passthrough_bytes_max);
        let failure = Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message);
        return call.refuse(failure, None, claimed).await;
    }
    let sent = Arc::new(AtomicU64::new(0));
    let body = if body.is_end_stream() {
        Body::empty()
    } else {
        counted(body, Arc::clone(&sent), limits.passthrough_bytes_max, limits.client_idle)
    };
    let pending = call.record_request(None, claimed);
    let (answered, receipt, upstream_time) = match exchange(&mut call, target, parts, body, pending).await {
        Ok(exchanged) => exchanged,
        Err(refusal) => return refusal,
    };
    let overhead = call.elapsed().saturating_sub(upstream_time);
    call.outcome.overhead = Some(overhead);
    call.outcome.request_bytes = Some(sent.load(Ordering::Relaxed));
    match answered {
        Ok(response) => answer(call, response, receipt, overhead),
        Err(failure) => failed_answer(call, failure, receipt, overhead).await,
    }
}

/// Passes an answer on unread.
pub(super) fn answer(
    mut call: Call,
    response: Response<Incoming>,
    receipt: Option<Receipt>,
    overhead: Duration,
) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    call.outcome.http_status = Some(head.status.as_u16());
    let length = content_length(&head.headers);
    head.headers = forwarded(&head.headers);
    if let Some(length) = length {
        head.headers.insert(header::CONTENT_LENGTH, length.into());
    }
    call.receipts(receipt, overhead).write(&mut head.headers);
    let has_no_body = body.is_end_stream();
    Response::from_parts(head, relayed(Relay::plain(call, body, Vec::new(), if has_no_body { Some(0) } else { length })))
}

#[derive(Debug, thiserror::Error)]
enum PassError {
    #[error("the body is larger than {0} bytes (limit passthrough_bytes_max)")]
    TooLarge(u64),
    #[error("no more of the body came for {} s", .0.as_secs_f64())]
    Idle(Duration),
    #[error(transparent)]
    Client(#[from] axum::Error),
}

/// The body, counted and bounded as it passes.
pub(crate) fn counted(body: Body, sent: Arc<AtomicU64>, bytes_max: u64, idle: Duration) -> Body {
    Body::from_stream(stream::try_unfold((body, sent), move |(mut body, sent)| async move {
        loop {
            let frame = match tokio::time::timeout(idle, body.frame()).await {
                Ok(Some(frame)) => frame?,
                Ok(None) => return Ok::<Option<(Bytes, _)>, PassError>(None),
                Err(_) => return Err(PassError::Idle(idle)),
            };
            let Ok(data) = frame.into_data() else { continue };
            let before = sent.fetch_add(data.len() as u64, Ordering::Relaxed);
            if before.saturating_add(data.len() as u64) > bytes_max {
                return Err(PassError::TooLarge(bytes_max));
            }
            return Ok(Some((data, (body, sent))));
        }
    }))
}
