//! Entities and their risk.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use store::{DetectionFilter, EntityKind, QueryError, SessionFilter};

use super::events::PAGE_ROWS;
use super::span::now_ns;
use super::types::{EntitiesQuery, Entity};
use crate::http_api::openapi::Refused;
use crate::http_api::{Api, ApiError, Query};

/// Detections and sessions that are told of one entity.
const TOLD_MAX: usize = 50;

/// Users, agents, applications, tools and models, those with the highest risk first.
#[utoipa::path(
    get,
    path = "/api/entities",
    operation_id = "entities",
    tag = "entities",
    params(EntitiesQuery),
    responses((status = 200, body = store::EntityPage), Refused),
    description = "Role: auditor.",
)]
pub(super) async fn entities(State(api): State<Arc<Api>>, Query(query): Query<EntitiesQuery>) -> Result<Response, ApiError> {
    let limit = query.limit.unwrap_or(PAGE_ROWS);
    let page =
        api.read(move |reader| reader.entities(now_ns())?.page(query.kind, query.q.as_deref(), limit, query.cursor.as_deref()));
    Ok(Json(page.await?).into_response())
}

/// An entity: its risk over time, what behaviour said of it, its detections and sessions.
#[utoipa::path(
    get,
    path = "/api/entities/{kind}/{name}",
    operation_id = "entity",
    tag = "entities",
    params(("kind" = store::EntityKind, Path, description = "what it is"), ("name" = String, Path, description = "which")),
    responses((status = 200, body = Entity), Refused),
    description = "Role: auditor.",
)]
pub(super) async fn entity(
    State(api): State<Arc<Api>>,
    Path((kind, name)): Path<(EntityKind, String)>,
) -> Result<Response, ApiError> {
    let triage = api.triage.clone();
    let entity = api.read(move |reader| {
        let mut detail = reader.entity(kind, &name, now_ns())?;
        let named = |wanted: EntityKind| (kind == wanted).then(|| name.clone());
        let filter = DetectionFilter {
            user: named(EntityKind::User),
            agent: named(EntityKind::Agent),
            application: named(EntityKind::Application),
            tool: named(EntityKind::Tool),
            model: named(EntityKind::Model),
            with_suppressed: true,
            ..DetectionFilter::default()
        };
        let mut detection_rows = Vec::new();
        let is_whole = reader.each_detection(&filter, &*triage, &mut |row| {
            detection_rows.push(row);
            detection_rows.len() < TOLD_MAX
        })?;
        detail.truncated |= !is_whole && detection_rows.len() < TOLD_MAX;
        let filter = SessionFilter {
            user: named(EntityKind::User),
            agent: named(EntityKind::Agent),
            application: named(EntityKind::Application),
            ..SessionFilter::default()
        };
        // Nothing tells which sessions used a tool or a model without looking at all their events.
        let has_sessions = matches!(kind, EntityKind::User | EntityKind::Agent | EntityKind::Application);
        let session_rows = if has_sessions { reader.sessions(&filter, TOLD_MAX, None)?.rows } else { Vec::new() };
        Ok::<_, QueryError>(Entity { detail, detection_rows, session_rows })
    });
    Ok(Json(entity.await?).into_response())
}
