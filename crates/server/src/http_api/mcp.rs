//! MCP: the proxies of the configuration, and what proxies beside their servers (`watchkeeper mcp`) ask.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use capture::RecordError;
use capture::mcp::{Pins as _, remote};
use serde::Deserialize;

use super::{Api, ApiError, Body, Caller};
use crate::tool_pins::{Comparer, PinsError, ToolPins};

/// What the routes hold.
#[derive(Clone)]
struct Held {
    pins: Arc<ToolPins>,
}

/// For sensors. Whoever mounts it guards it.
pub(crate) fn sensors(api: &Arc<Api>) -> Router {
    Router::new().route("/v1/mcp/tools", post(compare)).with_state(Held { pins: api.node().tool_pins().clone() })
}

/// For those who may see what is recorded.
pub(crate) fn shown(api: &Arc<Api>) -> Router {
    Router::new().route("/api/mcp/tools", get(list)).with_state(Held { pins: api.node().tool_pins().clone() })
}

/// For administrators.
pub(crate) fn administered(api: &Arc<Api>) -> Router {
    Router::new().route("/api/mcp/approve", post(approve)).with_state(Held { pins: api.node().tool_pins().clone() })
}

async fn compare(State(held): State<Held>, body: Body) -> Result<Response, ApiError> {
    let (listing, on_drift) = remote::decode(body.bytes()).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let compared = Comparer(held.pins).compare(listing, on_drift).await.map_err(|error| match error {
        RecordError::TooLarge { .. } => ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, error),
        _ => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error),
    })?;
    Ok(Json(remote::answer(&compared)).into_response())
}

async fn list(State(held): State<Held>) -> Result<Response, ApiError> {
    Ok(Json(held.pins.list().await?).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApproveRequest {
    server: String,
    hashes: BTreeSet<String>,
}

async fn approve(State(held): State<Held>, Extension(caller): Extension<Caller>, body: Body) -> Result<Response, ApiError> {
    let request: ApproveRequest = body.json()?;
    let approved = held.pins.approve(caller.asker, request.server, request.hashes).await?;
    Ok(Json(serde_json::json!({ "approved": approved })).into_response())
}

impl From<PinsError> for ApiError {
    fn from(error: PinsError) -> Self {
        let status = match &error {
            PinsError::Unknown { .. } | PinsError::NoServer { .. } => StatusCode::NOT_FOUND,
            PinsError::Ambiguous { .. } => StatusCode::CONFLICT,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error)
    }
}
