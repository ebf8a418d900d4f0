//! Evaluations that a command ran: what came of them is recorded here, where a server runs on the record.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use evaluate::Report;

use super::{Api, ApiError, Body, Caller};

/// For administrators: what is recorded bears a name that only Watchkeeper itself records.
pub(super) fn router(api: &Arc<Api>) -> Router {
    Router::new().route("/api/evaluations", post(record)).with_state(api.clone())
}

async fn record(State(api): State<Arc<Api>>, Extension(caller): Extension<Caller>, body: Body) -> Result<Response, ApiError> {
    let report: Report = body.json()?;
    let node = api.node().clone();
    let items = report.items.len();
    let recorded = tokio::task::spawn_blocking(move || node.record_evaluation(&report, &caller.asker)).await;
    match recorded {
        Ok(Ok(())) => Ok(Json(serde_json::json!({ "items": items })).into_response()),
        Ok(Err(error)) => Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error)),
        Err(error) => Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error)),
    }
}
