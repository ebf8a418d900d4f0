//! The HTTP API of the log's signing keys.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json};
use ledger::LedgerError;
use serde::Deserialize;

use super::lifecycle::waiting;
use super::{Api, ApiError, Body, Caller};
use crate::log_keys::{LogKeyError, OVERLAP_RECORDS, log_keys};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RotateRequest {
    overlap: Option<u64>,
}

/// The pairs of the log.
pub(super) fn shown(api: &Arc<Api>) -> Router {
    Router::new().route("/api/log-key", get(show)).with_state(api.clone())
}

/// A new pair for it.
pub(super) fn administered(api: &Arc<Api>) -> Router {
    Router::new().route("/api/log-key/rotate", post(rotate)).with_state(api.clone())
}

/// Every pair that the log ever had.
async fn show(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    let keys = waiting(&api, |node| log_keys(node.data(), Some(node.keyring()))).await??;
    Ok(Json(keys).into_response())
}

/// Gives the log a new pair.
async fn rotate(State(api): State<Arc<Api>>, Extension(caller): Extension<Caller>, body: Body) -> Result<Response, ApiError> {
    let request: RotateRequest = body.json()?;
    let overlap = request.overlap.unwrap_or(OVERLAP_RECORDS);
    let asker = caller.asker;
    let rotation = waiting(&api, move |node| node.rotate_log_keys(&asker, overlap)).await??;
    Ok(Json(rotation).into_response())
}

impl From<LogKeyError> for ApiError {
    fn from(error: LogKeyError) -> Self {
        let status = match &error {
            LogKeyError::Overlap => StatusCode::BAD_REQUEST,
            LogKeyError::Ledger(LedgerError::Keys(_)) => StatusCode::CONFLICT,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error)
    }
}
