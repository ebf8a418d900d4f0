//! What the gateway itself answers: receipts on every answer, and errors in the shape that each provider's SDK expects.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::header;
use super::target::Provider;
use crate::{Receipt, RecordError};

/// A refusal or failure that the gateway tells the client of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    /// `error.type` of the record and `code` of the answer.
    pub(super) kind: &'static str,
    /// What happened and what to do.
    pub(super) message: String,
    pub(super) retry_after: Option<Duration>,
}

/// What proves that a call was recorded.
#[derive(Debug, Clone, Default)]
pub(super) struct Receipts {
    pub(super) call_id: String,
    /// The event of the request; `None` when it was not recorded.
    pub(super) request: Option<Receipt>,
    pub(super) overhead: Duration,
}

impl Failure {
    pub(super) fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), retry_after: None }
    }

    /// A call that is refused because it cannot be recorded.
    pub(super) fn unrecorded(error: &RecordError) -> Self {
        let message = format!("the call was not made known to you because it cannot be recorded: {error}");
        match error {
            RecordError::TooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "record_too_large", message),
            RecordError::Busy { retry_after } => {
                Self { retry_after: Some(*retry_after), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "recorder_busy", message) }
            }
            RecordError::Stopped { .. } => Self::new(StatusCode::SERVICE_UNAVAILABLE, "recorder_stopped", message),
        }
    }

    /// The error as the provider would write it.
    pub(super) fn body(&self, provider: Provider) -> serde_json::Value {
        let kind = match (self.status.as_u16(), provider) {
            (413, Provider::Anthropic) => "request_too_large",
            (400..500, _) => "invalid_request_error",
            (503, Provider::Anthropic) => "overloaded_error",
            (_, Provider::Anthropic) => "api_error",
            (_, Provider::OpenAi) => "server_error",
        };
        let message = format!("watchkeeper gateway: {}", self.message);
        match provider {
            Provider::OpenAi => {
                serde_json::json!({"error": {"message": message, "type": kind, "param": null, "code": self.kind}})
            }
            Provider::Anthropic => {
                serde_json::json!({"type": "error", "error": {"type": kind, "message": message, "code": self.kind}})
            }
        }
    }

    /// The error as an event of a stream.
    pub(super) fn event(&self, provider: Provider) -> Bytes {
        let name = if provider == Provider::Anthropic { "event: error\n" } else { "" };
        Bytes::from(format!("{name}data: {}\n\n", self.body(provider)))
    }

    pub(super) fn into_response(self, provider: Provider, receipts: &Receipts) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body(provider).to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(wait) = self.retry_after {
            headers.insert(http::header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        receipts.write(headers);
        response
    }
}

impl Receipts {
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let mut set = |name: &'static str, value: Option<HeaderValue>| {
            if let Some(value) = value {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        set(header::CALL_ID, HeaderValue::from_str(&self.call_id).ok());
        set(header::OVERHEAD_US, Some(HeaderValue::from(u64::try_from(self.overhead.as_micros()).unwrap_or(u64::MAX))));
        match self.request {
            Some(receipt) => {
                set(header::EVENT_ID, HeaderValue::from_str(&receipt.event_id.to_string()).ok());
                set(header::POSITION, Some(HeaderValue::from(receipt.position)));
                set(header::RECORD, Some(HeaderValue::from_static("durable")));
            }
            None => set(header::RECORD, Some(HeaderValue::from_static("failed"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sdk_gets_the_shape_that_it_reads() {
        let failure = Failure::new(StatusCode::BAD_GATEWAY, "upstream_unreachable", "no route");
        let openai = failure.body(Provider::OpenAi);
        assert_eq!(openai["error"]["code"], "upstream_unreachable");
        assert!(openai["error"]["message"].as_str().unwrap().contains("no route"));
        let anthropic = failure.body(Provider::Anthropic);
        assert_eq!((&anthropic["type"], &anthropic["error"]["type"]), (&"error".into(), &"api_error".into()));
        assert!(failure.event(Provider::Anthropic).starts_with(b"event: error\ndata: {"));
    }
}
