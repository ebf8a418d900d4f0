//! What goes in and what goes wrong: bodies within their limits, and errors as callers see them.

use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use store::QueryError;

use super::sign_in;
use crate::api_keys::ApiKeyError;
use crate::replay::{Ended, ReplayError};
use crate::triage::TriageError;

/// Largest body of an API call that is not a batch of events.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Largest body of a sign-in, for which nobody has to have shown a key yet.
const SIGN_IN_BYTES_MAX: usize = 4 * 1024;

/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A body within the limit, read before the handler runs.
pub(crate) struct Body(bytes::Bytes);

impl Body {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, ApiError> {
        serde_json::from_slice(&self.0).map_err(|error| ApiError::bad_request(format!("body: {error}")))
    }
}

impl<S: Send + Sync> axum::extract::FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let bytes_max = if request.uri().path() == sign_in::SIGN_IN_PATH { SIGN_IN_BYTES_MAX } else { BODY_BYTES_MAX };
        let body = axum::body::to_bytes(request.into_body(), bytes_max);
        match tokio::time::timeout(BODY_TIMEOUT, body).await {
            Ok(Ok(bytes)) => Ok(Self(bytes)),
            Ok(Err(_)) => {
                let message = format!("body: at most {bytes_max} bytes are taken");
                Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message))
            }
            Err(_) => Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "body: it did not come within the time")),
        }
    }
}

/// The parameters of a request, whose errors are told as all others are.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: serde::de::DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let parsed = axum::extract::Query::try_from_uri(&parts.uri);
        parsed.map(|axum::extract::Query(query)| Self(query)).map_err(|error| ApiError::bad_request(error.body_text()))
    }
}

/// An error that the caller gets to see.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    message: String,
    /// When it may be otherwise.
    retry_after: Option<Duration>,
}

impl ApiError {
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message.into())
    }

    pub(crate) fn too_many(message: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, message.into())
    }

    /// With when it may be otherwise.
    pub(crate) fn with_retry_after(self, after: Duration) -> Self {
        Self { retry_after: Some(after), ..self }
    }

    /// Whether it may be otherwise in a moment, by itself.
    pub(crate) fn is_busy(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS
    }

    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message.into())
    }

    pub(crate) fn new(status: StatusCode, error: impl std::fmt::Display) -> Self {
        Self { status, message: error.to_string(), retry_after: None }
    }

    /// Something of ours does not work now.
    pub(crate) fn stopped(error: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error)
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        let status = match &error {
            QueryError::NotFound { .. } => StatusCode::NOT_FOUND,
            QueryError::Store(_) | QueryError::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error)
    }
}

impl From<ReplayError> for ApiError {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Query(error) => error.into(),
            ReplayError::NoEvent(_) | ReplayError::NoRule(_) => Self::new(StatusCode::NOT_FOUND, error),
            ReplayError::Busy { retry_after, .. } => {
                Self { retry_after: Some(retry_after), ..Self::new(StatusCode::TOO_MANY_REQUESTS, error) }
            }
            ReplayError::Ended { why: Ended::Cancelled { .. }, .. } => Self::new(StatusCode::CONFLICT, error),
            // It will not be done in time the next time either.
            ReplayError::Ended { why: Ended::Expired { .. }, .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, error),
            ReplayError::Time { .. }
            | ReplayError::Span
            | ReplayError::NotDetection(_)
            | ReplayError::NotSigma(_)
            | ReplayError::Rules(_) => Self::bad_request(error.to_string()),
            _ => Self::stopped(error),
        }
    }
}

impl From<TriageError> for ApiError {
    fn from(error: TriageError) -> Self {
        let status = match &error {
            TriageError::Refused(_) => StatusCode::BAD_REQUEST,
            TriageError::Unknown { .. } => StatusCode::NOT_FOUND,
            TriageError::TooMany { .. } => StatusCode::CONFLICT,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error)
    }
}

impl From<ApiKeyError> for ApiError {
    fn from(error: ApiKeyError) -> Self {
        let status = match &error {
            ApiKeyError::Unknown(_) => StatusCode::NOT_FOUND,
            ApiKeyError::TooMany => StatusCode::CONFLICT,
            ApiKeyError::Name => StatusCode::BAD_REQUEST,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Json(serde_json::json!({ "error": { "message": self.message } }));
        match self.retry_after {
            None => (self.status, body).into_response(),
            Some(after) => (self.status, [(header::RETRY_AFTER, after.as_secs().max(1).to_string())], body).into_response(),
        }
    }
}
