//! `POST /v1/events`: events in plain JSON, for everything that has no telemetry and no proxy before it.
//!
//! One object, an array of objects, or one object a line (NDJSON). The answer comes when all of them are on disk:
//! `{"receipts": [{"event_id", "position", "duplicate"}]}`; or none is recorded, and the answer says which event and
//! field is wrong and what to do. See [`decode_events`] for the fields.

mod input;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::json;

use crate::{RecordError, Recorder};

pub use input::{EVENTS_MAX, InputError, decode_events};

/// Bodies above this are decoded on a thread that may block, so that no neighbour waits for it.
const DECODE_INLINE_BYTES_MAX: usize = 256 * 1024;

/// Bounds of the events API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest body, in bytes.
    pub body_bytes_max: usize,
    /// Longest time that a body may take to arrive.
    pub body_time_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes_max: 16 * 1024 * 1024, body_time_max: Duration::from_secs(30) }
    }
}

/// The route `POST /v1/events`.
pub fn router(recorder: Arc<dyn Recorder>, limits: Limits) -> Router {
    Router::new().route("/v1/events", post(events)).with_state(Api { recorder, limits })
}

#[derive(Clone)]
struct Api {
    recorder: Arc<dyn Recorder>,
    limits: Limits,
}

async fn events(State(api): State<Api>, request: Request) -> Response<Body> {
    let body = match read_body(request.into_body(), &api.limits).await {
        Ok(body) => body,
        Err((status, error)) => return refusal(status, &error),
    };
    let decoded = if body.len() <= DECODE_INLINE_BYTES_MAX {
        decode_events(&body)
    } else {
        tokio::task::spawn_blocking(move || decode_events(&body))
            .await
            .unwrap_or_else(|_| Err(InputError::body("decoding failed unexpectedly", "report it with the body that was sent")))
    };
    let events = match decoded {
        Ok(events) => events,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, &error),
    };
    // A task of its own: a client that leaves must not stop a record half way.
    let recorder = Arc::clone(&api.recorder);
    let recorded = tokio::spawn(async move { recorder.record(events).await }).await;
    match recorded {
        Ok(Ok(receipts)) => {
            let receipts: Vec<_> = receipts
                .iter()
                .map(
                    |receipt| json!({"event_id": receipt.event_id, "position": receipt.position, "duplicate": receipt.duplicate}),
                )
                .collect();
            answer(StatusCode::OK, &json!({ "receipts": receipts }))
        }
        Ok(Err(error)) => unrecorded(&error),
        Err(_) => unrecorded(&RecordError::Unavailable { reason: "the recorder failed unexpectedly".to_owned() }),
    }
}

async fn read_body(body: Body, limits: &Limits) -> Result<Bytes, (StatusCode, InputError)> {
    let reading = Limited::new(body, limits.body_bytes_max).collect();
    match tokio::time::timeout(limits.body_time_max, reading).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = format!("the body is larger than {} bytes", limits.body_bytes_max);
            Err((StatusCode::PAYLOAD_TOO_LARGE, InputError::body(message, "send the events in several requests")))
        }
        Ok(Err(error)) => Err((
            StatusCode::BAD_REQUEST,
            InputError::body(format!("the body broke off: {error}"), "send the whole body, or the right content-length"),
        )),
        Err(_) => {
            let message = format!("the body took longer than {} s", limits.body_time_max.as_secs_f64());
            Err((StatusCode::REQUEST_TIMEOUT, InputError::body(message, "send it faster, or in several requests")))
        }
    }
}

fn refusal(status: StatusCode, error: &InputError) -> Response<Body> {
    answer(
        status,
        &json!({"error": {"index": error.index, "field": error.field, "message": error.message, "remedy": error.remedy}}),
    )
}

fn unrecorded(error: &RecordError) -> Response<Body> {
    let (status, remedy, wait) = match error {
        RecordError::Busy { retry_after } => {
            (StatusCode::SERVICE_UNAVAILABLE, "send the same request again later", Some(retry_after.as_secs().max(1)))
        }
        RecordError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "send the events in several requests", None),
        RecordError::Stopped { .. } | RecordError::Unavailable { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, "an operator has to look at the server", None)
        }
    };
    let mut response = answer(
        status,
        &json!({"error": {"index": null, "field": null, "message": format!("nothing was recorded: {error}"), "remedy": remedy}}),
    );
    if let Some(seconds) = wait {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn answer(status: StatusCode, body: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests;
