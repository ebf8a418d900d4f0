//! What the console asks: the session, what happened, what needs somebody, and whether the record is whole.

pub(super) mod detections;
pub(super) mod entities;
pub(super) mod events;
pub(super) mod integrity;
pub(super) mod live;
pub(super) mod overview;
pub(super) mod rules;
pub(super) mod searches;
pub(super) mod session;
pub(super) mod span;
pub(super) mod suppressions;
pub(crate) mod types;
pub(super) mod usage;

use std::sync::Arc;

use axum::Router;
use axum::routing::{delete, get, post};

use super::Api;

/// What everybody with a key may ask.
pub(super) fn anybody(api: &Arc<Api>) -> Router {
    Router::new().route("/api/session", get(session::session)).with_state(api.clone())
}

/// What is known of the record without its contents.
pub(super) fn shown(api: &Arc<Api>) -> Router {
    Router::new()
        .route("/api/overview", get(overview::overview))
        .route("/api/pulse", get(overview::pulse))
        .route("/api/live", get(live::live))
        .route("/api/events", get(events::events))
        .route("/api/events/{id}", get(events::event))
        .route("/api/sessions", get(events::sessions))
        .route("/api/detections", get(detections::detections))
        .route("/api/detections/groups", get(detections::groups))
        .route("/api/detections/{id}", get(detections::detection))
        .route("/api/detections/{id}/similar", get(detections::similar))
        .route("/api/suppressions", get(suppressions::list))
        .route("/api/entities", get(entities::entities))
        .route("/api/entities/{kind}/{*name}", get(entities::entity))
        .route("/api/models", get(usage::models))
        .route("/api/tokens", get(usage::tokens))
        .route("/api/integrity", get(integrity::integrity))
        .route("/api/log/{*path}", get(integrity::log_file))
        .route("/api/rules", get(rules::rules))
        .route("/api/rules/in-force/{*id}", get(rules::rule))
        .route("/api/searches", get(searches::list))
        .route("/api/query/schema", get(searches::schema))
        .with_state(api.clone())
}

/// What people decide about detections.
pub(super) fn triaged(api: &Arc<Api>) -> Router {
    Router::new()
        .route("/api/detections/{id}", axum::routing::patch(detections::triage_one))
        .route("/api/detections/triage", post(detections::triage))
        .route("/api/suppressions", post(suppressions::create))
        .route("/api/suppressions/{id}", delete(suppressions::end))
        .route("/api/searches", post(searches::create))
        .route("/api/searches/{id}", delete(searches::remove))
        .with_state(api.clone())
}
