//! Evaluations that a command ran: what came of them is recorded here, where a server runs on the record; and which baselines are accepted.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use evaluate::{Baseline, Report};
use serde::Deserialize;

use super::{Api, ApiError, Body, Caller};
use crate::evaluating::BaselinesError;

/// Which baseline is accepted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Accept {
    /// The evaluation.
    name: String,
    /// The baseline, as its file has it.
    baseline: serde_json::Value,
}

/// For administrators: what is recorded bears a name that only Watchkeeper itself records.
pub(super) fn router(api: &Arc<Api>) -> Router {
    Router::new()
        .route("/api/evaluations", post(record))
        .route("/api/evaluations/baselines", post(accept))
        .with_state(api.clone())
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

async fn accept(State(api): State<Arc<Api>>, Extension(caller): Extension<Caller>, body: Body) -> Result<Response, ApiError> {
    let Accept { name, baseline } = body.json()?;
    let node = api.node().clone();
    let refused = |error| ApiError::new(StatusCode::BAD_REQUEST, error);
    let baseline = Baseline::from_json(baseline.to_string().as_bytes()).map_err(refused)?;
    let digest = baseline.digest().map_err(refused)?;
    let told = serde_json::json!({ "name": name, "digest": digest });
    let accepted = tokio::task::spawn_blocking(move || node.accept_baseline(&name, &baseline, &caller.asker)).await;
    match accepted {
        Ok(Ok(())) => Ok(Json(told).into_response()),
        Ok(Err(error @ (BaselinesError::Name(_) | BaselinesError::Unknown { .. }))) => {
            Err(ApiError::new(StatusCode::BAD_REQUEST, error))
        }
        Ok(Err(error)) => Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error)),
        Err(error) => Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error)),
    }
}
