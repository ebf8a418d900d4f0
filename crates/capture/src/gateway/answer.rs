//! What the gateway itself answers: receipts on every answer, and errors in the shape that each provider's SDK expects.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::bedrock::event_stream;
use super::header;
use super::target::Provider;
use crate::{Receipt, RecordError, recording};

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
            RecordError::TooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, recording::TOO_LARGE, message),
            RecordError::Busy { retry_after } => {
                Self { retry_after: Some(*retry_after), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, recording::BUSY, message) }
            }
            RecordError::Stopped { .. } => Self::new(StatusCode::SERVICE_UNAVAILABLE, "recorder_stopped", message),
            RecordError::Unavailable { .. } => Self::new(StatusCode::SERVICE_UNAVAILABLE, "recorder_unavailable", message),
        }
    }

    /// What the provider calls an error of this status.
    fn provider_kind(&self, provider: Provider) -> &'static str {
        match (provider, self.status.as_u16()) {
            (Provider::Anthropic, 413) => "request_too_large",
            (Provider::Anthropic, 401) => "authentication_error",
            (Provider::Anthropic, 403) => "permission_error",
            (Provider::Anthropic, 429) => "rate_limit_error",
            (Provider::Anthropic, 503) => "overloaded_error",
            (Provider::Anthropic, 500..) => "api_error",
            (Provider::OpenAi | Provider::Azure, 429) => "rate_limit_error",
            (Provider::OpenAi | Provider::Azure, 500..) => "server_error",
            (Provider::Gemini, 401) => "UNAUTHENTICATED",
            (Provider::Gemini, 403) => "PERMISSION_DENIED",
            (Provider::Gemini, 404) => "NOT_FOUND",
            (Provider::Gemini, 429) => "RESOURCE_EXHAUSTED",
            (Provider::Gemini, 503) => "UNAVAILABLE",
            (Provider::Gemini, 504) => "DEADLINE_EXCEEDED",
            (Provider::Gemini, 500..) => "INTERNAL",
            (Provider::Gemini, _) => "INVALID_ARGUMENT",
            (Provider::Bedrock, 401 | 403) => "AccessDeniedException",
            (Provider::Bedrock, 404) => "ResourceNotFoundException",
            (Provider::Bedrock, 408 | 504) => "ModelTimeoutException",
            (Provider::Bedrock, 429) => "ThrottlingException",
            (Provider::Bedrock, 503) => "ServiceUnavailableException",
            (Provider::Bedrock, 500..) => "InternalServerException",
            (Provider::Bedrock, _) => "ValidationException",
            _ => "invalid_request_error",
        }
    }

    /// The error as the provider would write it.
    pub(super) fn body(&self, provider: Provider) -> serde_json::Value {
        let kind = self.provider_kind(provider);
        let message = format!("watchkeeper gateway: {}", self.message);
        match provider {
            Provider::Gemini => serde_json::json!({"error": {
                "code": self.status.as_u16(), "message": message, "status": kind,
                "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": self.kind, "domain": "watchkeeper"}],
            }}),
            Provider::Bedrock => serde_json::json!({"message": message, "code": self.kind}),
            Provider::OpenAi | Provider::Azure => {
                serde_json::json!({"error": {"message": message, "type": kind, "param": null, "code": self.kind}})
            }
            Provider::Anthropic => {
                serde_json::json!({"type": "error", "error": {"type": kind, "message": message, "code": self.kind}})
            }
        }
    }

    /// The error as an event of a stream.
    pub(super) fn event(&self, provider: Provider) -> Bytes {
        if provider == Provider::Bedrock {
            let kind = self.provider_kind(provider);
            let name = format!("{}{}", kind[..1].to_ascii_lowercase(), &kind[1..]);
            return event_stream::write("exception", &name, self.body(provider).to_string().as_bytes()).into();
        }
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
        if provider == Provider::Bedrock {
            headers.insert("x-amzn-errortype", HeaderValue::from_static(self.provider_kind(provider)));
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
        let gemini = failure.body(Provider::Gemini);
        assert_eq!((&gemini["error"]["status"], &gemini["error"]["code"]), (&"INTERNAL".into(), &502.into()));
        assert!(failure.body(Provider::Bedrock)["message"].as_str().unwrap().contains("no route"));
    }
}
