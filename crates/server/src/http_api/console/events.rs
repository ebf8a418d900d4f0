//! Events and sessions.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use store::{EventFilter, SessionFilter};

use super::span::time_ns;
use super::types::{EventsQuery, SessionsQuery};
use crate::http_api::openapi::Refused;
use crate::http_api::{Api, ApiError, Query};

/// Rows of a page where nobody says how many.
pub(super) const PAGE_ROWS: usize = 100;

/// Events, newest first, without contents.
#[utoipa::path(
    get,
    path = "/api/events",
    operation_id = "events",
    tag = "events",
    params(EventsQuery),
    responses((status = 200, body = store::Page<store::EventRow>), Refused),
    description = "Role: auditor.",
)]
pub(super) async fn events(State(api): State<Arc<Api>>, Query(query): Query<EventsQuery>) -> Result<Response, ApiError> {
    let filter = EventFilter {
        since_ns: time_ns("since", query.since.as_deref())?,
        until_ns: time_ns("until", query.until.as_deref())?,
        kind: query.kind,
        user: query.user,
        agent: query.agent,
        application: query.application,
        model: query.model,
        tool: query.tool,
        session: query.session,
        trace: query.trace,
        status: query.status,
        risk: query.risk,
        score: query.score,
        without_own: query.own == Some(false),
    };
    let limit = query.limit.unwrap_or(PAGE_ROWS);
    Ok(Json(api.read(move |reader| reader.events(&filter, limit, query.cursor.as_deref())).await?).into_response())
}

/// An event with everything that is known of it but its contents.
#[utoipa::path(
    get,
    path = "/api/events/{id}",
    operation_id = "event",
    tag = "events",
    params(("id" = String, Path, description = "the event")),
    responses((status = 200, body = store::EventDetail), Refused),
    description = "Role: auditor.",
)]
pub(super) async fn event(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<Response, ApiError> {
    Ok(Json(api.read(move |reader| reader.event(&id)).await?).into_response())
}

/// Sessions, those that were heard of last first.
#[utoipa::path(
    get,
    path = "/api/sessions",
    operation_id = "sessions",
    tag = "events",
    params(SessionsQuery),
    responses((status = 200, body = store::Page<store::SessionRow>), Refused),
    description = "Role: auditor.",
)]
pub(super) async fn sessions(State(api): State<Arc<Api>>, Query(query): Query<SessionsQuery>) -> Result<Response, ApiError> {
    let filter = SessionFilter {
        since_ns: time_ns("since", query.since.as_deref())?,
        until_ns: time_ns("until", query.until.as_deref())?,
        user: query.user,
        application: query.application,
        agent: query.agent,
        severity: query.severity,
        q: query.q,
        without_own: query.own == Some(false),
    };
    let limit = query.limit.unwrap_or(PAGE_ROWS);
    Ok(Json(api.read(move |reader| reader.sessions(&filter, limit, query.cursor.as_deref())).await?).into_response())
}
