//! Routes of people: who has signed in by OpenID Connect, and the end of what they have open.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use super::openapi::Refused;
use super::{Api, ApiError, Caller};
use crate::access::Role;

/// What administrators ask of people.
pub(super) fn router(api: &Arc<Api>) -> Router {
    Router::new()
        .route("/api/people", get(list))
        .route("/api/people/{subject}/sessions", delete(end_sessions))
        .with_state(api.clone())
}

/// People who have signed in.
#[derive(Serialize, ToSchema)]
pub(crate) struct People {
    /// Those who did last stand first.
    rows: Vec<PersonRow>,
}

/// Somebody who has signed in by OpenID Connect.
#[derive(Serialize, ToSchema)]
pub(crate) struct PersonRow {
    /// Names them at the provider (`sub`). In the record they are `oidc:` and this.
    subject: String,
    /// What they are called there.
    name: Option<String>,
    /// Their address there.
    email: Option<String>,
    /// The role that they had when they signed in last.
    role: Role,
    /// The provider (`iss`).
    provider: String,
    /// When they signed in first (RFC 3339).
    first_signed_in: String,
    /// When they signed in last (RFC 3339).
    last_signed_in: String,
    /// How many sign-ins they have open now.
    sessions: usize,
}

/// People who have signed in by OpenID Connect.
#[utoipa::path(
    get,
    path = "/api/people",
    operation_id = "people",
    tag = "settings",
    responses((status = 200, body = People), Refused),
    description = "Role: admin.",
)]
pub(crate) async fn list(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    let triage = api.triage.clone();
    let people = tokio::task::spawn_blocking(move || triage.people()).await.map_err(ApiError::stopped)??;
    let open = api.sessions.count_by_person();
    let row = |known: crate::triage::KnownPerson| PersonRow {
        sessions: open.get(&(known.issuer.clone(), known.subject.clone())).copied().unwrap_or(0),
        subject: known.subject,
        name: known.name,
        email: known.email,
        role: known.role,
        provider: known.issuer,
        first_signed_in: known.first_signed_in,
        last_signed_in: known.last_signed_in,
    };
    Ok(Json(People { rows: people.into_iter().map(row).collect() }).into_response())
}

/// Ends what a person has open. They can sign in again as long as the provider lets them.
#[utoipa::path(
    delete,
    path = "/api/people/{subject}/sessions",
    operation_id = "people_end_sessions",
    tag = "settings",
    params(("subject" = String, Path, description = "the person's subject")),
    responses((status = 204, description = "done"), Refused),
    description = "Role: admin.",
)]
pub(crate) async fn end_sessions(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(subject): Path<String>,
) -> Result<Response, ApiError> {
    let triage = api.triage.clone();
    let people = tokio::task::spawn_blocking(move || triage.people()).await.map_err(ApiError::stopped)??;
    if !people.iter().any(|person| person.subject == subject) {
        let message = format!("no person has the subject {:?}", subject.chars().take(80).collect::<String>());
        return Err(ApiError::new(StatusCode::NOT_FOUND, message));
    }
    // First, so that nobody waits for a record that cannot be written.
    let ended = api.sessions.end_of(&subject);
    let ids = serde_json::to_string(&ended).unwrap_or_default();
    let told = (!ended.is_empty()).then_some((event::attr::ADMIN_BEFORE, ids));
    api.note_admin(&caller, "person.sessions.end", "delete", &format!("sign-ins of oidc:{subject}"), told).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}
