//! Suppressions: detections that are only marked.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use event::{Event, Kind, attr};
use store::{DetectionFilter, QueryError};

use super::types::{SuppressionRow, Suppressions};
use crate::access::Access;
use crate::http_api::openapi::Refused;
use crate::http_api::{Api, ApiError, Body, Caller};
use crate::node::internal;
use crate::triage::{NewSuppression, Suppression};

/// Suppressions, the newest first, those that are over included.
#[utoipa::path(
    get,
    path = "/api/suppressions",
    operation_id = "suppressions_list",
    tag = "detections",
    responses((status = 200, body = Suppressions), Refused),
    description = "Role: auditor.",
)]
pub(super) async fn list(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    let all = api.triage.suppressions();
    let triage = api.triage.clone();
    let covered = api.read(move |reader| {
        let filter = DetectionFilter { with_suppressed: true, ..DetectionFilter::default() };
        let mut covered: HashMap<Arc<str>, u64> = HashMap::new();
        let is_whole = reader.each_detection(&filter, &*triage, &mut |row| {
            if let Some(id) = row.suppressed_by {
                *covered.entry(id).or_default() += 1;
            }
            true
        })?;
        Ok::<_, QueryError>((covered, is_whole))
    });
    let (covered, is_whole) = covered.await?;
    let row = |suppression: Arc<Suppression>| SuppressionRow {
        is_over: suppression.is_over(),
        detections: covered.get(&suppression.id).copied().unwrap_or(0),
        suppression,
    };
    Ok(Json(Suppressions { rows: all.into_iter().map(row).collect(), truncated: !is_whole }).into_response())
}

/// From now on detections of this rule, about this entity, are recorded and counted, and only marked.
#[utoipa::path(
    post,
    path = "/api/suppressions",
    operation_id = "suppressions_create",
    tag = "detections",
    request_body = NewSuppression,
    responses((status = 200, body = Suppression), Refused),
    description = "Role: analyst; without `entity`, which is the whole rule: admin.",
)]
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, ApiError> {
    let request: NewSuppression = body.json()?;
    // It is as if the rule were switched off, for whoever it is about and as long as it lasts: who says what rules there are says that, too.
    if request.entity.is_none() && !caller.role.allows(Access::Administer) {
        let message = "entity: it must be named; to suppress a whole rule, whoever it is about, needs the role admin";
        return Err(ApiError::new(StatusCode::FORBIDDEN, message));
    }
    let suppression = request.check(&caller.asker.id(), api.node.pipeline().sanitizer())?;
    api.triage.has_room_for_suppression()?;
    if !is_known(&api, &suppression.rule).await? {
        return Err(ApiError::bad_request("rule: none in force has this id, and no detection is of it"));
    }
    put(&api, suppression_event(&caller, "create", None, &suppression), suppression.clone()).await?;
    Ok(Json(suppression).into_response())
}

/// Ends a suppression now. What it covered stays marked.
#[utoipa::path(
    delete,
    path = "/api/suppressions/{id}",
    operation_id = "suppressions_end",
    tag = "detections",
    params(("id" = String, Path, description = "the suppression")),
    responses((status = 204, description = "done"), Refused),
    description = "Role: analyst.",
)]
pub(super) async fn end(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let before = api.triage.suppression_by_id(&id);
    let ended = api.triage.ended(&id)?;
    put(&api, suppression_event(&caller, "delete", before.as_deref(), &ended), ended).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Whether a rule is in force, or was and has detected something.
async fn is_known(api: &Api, rule: &str) -> Result<bool, ApiError> {
    if api.rule_shown(rule).await?.is_some() {
        return Ok(true);
    }
    let filter = DetectionFilter { rule: Some(rule.to_owned()), with_suppressed: true, ..DetectionFilter::default() };
    let triage = api.triage.clone();
    api.read(move |reader| {
        let mut is_known = false;
        reader.each_detection(&filter, &*triage, &mut |_| {
            is_known = true;
            false
        })?;
        Ok::<_, QueryError>(is_known)
    })
    .await
}

/// Records a change of a suppression, and then lets it hold.
async fn put(api: &Arc<Api>, event: Event<String>, suppression: Suppression) -> Result<(), ApiError> {
    if !api.record(vec![event]).await {
        return Err(ApiError::stopped("what changes is recorded first, and the record cannot be written"));
    }
    let triage = api.triage.clone();
    tokio::task::spawn_blocking(move || triage.put_suppression(suppression)).await.map_err(ApiError::stopped)??;
    Ok(())
}

fn suppression_event(caller: &Caller, action: &str, before: Option<&Suppression>, after: &Suppression) -> Event<String> {
    let mut event = internal(Kind::Admin, &format!("suppression.{action}"));
    caller.asker.sign(&mut event);
    event.set(attr::EVENT_ACTION, action);
    event.set(attr::ADMIN_OBJECT, format!("suppression {} of {}", after.id, after.rule).as_str());
    event.set(attr::EVENT_OUTCOME, "success");
    if let Some(before) = before {
        event.set(attr::ADMIN_BEFORE, serde_json::to_string(before).unwrap_or_default().as_str());
    }
    event.set(attr::ADMIN_AFTER, serde_json::to_string(after).unwrap_or_default().as_str());
    event
}
