//! The HTTP API of the log's signing keys.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use ledger::LedgerError;
use serde::Deserialize;

use crate::http_api::{Api, ApiError, Body, Caller};
use crate::lifecycle_api::waiting;
use crate::log_keys::{LogKeyError, OVERLAP_RECORDS, log_keys};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RotateRequest {
    overlap: Option<u64>,
}

/// Every pair that the log ever had.
pub(crate) async fn show(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    let keys = waiting(&api, |node| log_keys(node.data(), Some(node.keyring()))).await??;
    Ok(Json(keys).into_response())
}

/// Gives the log a new pair.
pub(crate) async fn rotate(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, ApiError> {
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
