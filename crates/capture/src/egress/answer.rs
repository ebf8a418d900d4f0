//! What the proxy itself answers. The names of errors are those of RFC 9209 (`Proxy-Status`).

use std::io;
use std::time::Duration;

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};

use crate::RecordError;

/// How the proxy is called in headers.
pub(super) const NAME: &str = "watchkeeper";

/// A call that does not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    /// `error.type` of the record and `error` of `Proxy-Status`.
    pub(super) kind: &'static str,
    /// What happened and what to do.
    pub(super) message: String,
    retry_after: Option<Duration>,
}

impl Failure {
    pub(super) fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), retry_after: None }
    }

    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "http_request_error", message)
    }

    pub(super) fn denied(kind: &'static str, reason: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, kind, format!("the policy of this proxy refuses it: {reason}"))
    }

    pub(super) fn silent(wait: Duration) -> Self {
        let message = format!("the destination was silent for {} s", wait.as_secs_f64());
        Self::new(StatusCode::GATEWAY_TIMEOUT, "http_response_timeout", message)
    }

    /// A connection that cannot be had.
    pub(super) fn unreachable(error: &io::Error, place: &str) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::ConnectionRefused => "connection_refused",
            io::ErrorKind::TimedOut => "connection_timeout",
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => "destination_ip_unroutable",
            _ => "destination_unavailable",
        };
        Self::new(StatusCode::BAD_GATEWAY, kind, format!("no connection to {place}: {error}"))
    }

    /// A call that is refused because it cannot be recorded.
    pub(super) fn unrecorded(error: &RecordError) -> Self {
        let retry_after = match error {
            RecordError::Busy { retry_after } => Some(*retry_after),
            _ => None,
        };
        let message = format!("the call cannot be recorded: {error}");
        Self { retry_after, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "proxy_internal_error", message) }
    }

    pub(super) fn busy(message: impl Into<String>) -> Self {
        let retry_after = Some(Duration::from_secs(1));
        Self { retry_after, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "connection_limit_reached", message) }
    }

    pub(super) fn key_needed(message: &str) -> Self {
        Self::new(StatusCode::PROXY_AUTHENTICATION_REQUIRED, "http_request_denied", message)
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(format!("watchkeeper egress proxy: {}\n", self.message)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if let Ok(status) = HeaderValue::from_str(&format!("{NAME}; error={}", self.kind)) {
            headers.insert("proxy-status", status);
        }
        if self.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            headers
                .insert(header::PROXY_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"watchkeeper\", charset=\"UTF-8\""));
        }
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        response
    }
}
