//! Saved searches, and what SQL can be asked of.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};

use event::{Kind, attr};

use super::types::{ColumnInfo, QuerySchema, SavedSearches, SearchRow, ViewInfo};
use crate::access::Access;
use crate::http_api::openapi::Refused;
use crate::http_api::{Api, ApiError, Body, Caller};
use crate::node::internal;
use crate::triage::{NewSearch, SavedSearch};

/// The caller's own saved searches, and those of others that are shared.
#[utoipa::path(
    get,
    path = "/api/searches",
    operation_id = "searches_list",
    tag = "search",
    responses((status = 200, body = SavedSearches), Refused),
    description = "Role: auditor.",
)]
pub(super) async fn list(State(api): State<Arc<Api>>, Extension(caller): Extension<Caller>) -> Result<Response, ApiError> {
    let (triage, owner) = (api.triage.clone(), caller.asker.id());
    let searches = tokio::task::spawn_blocking(move || triage.searches(&owner)).await.map_err(ApiError::stopped)??;
    let rows = searches.into_iter().map(|search| SearchRow::of(search, &caller)).collect();
    Ok(Json(SavedSearches { rows }).into_response())
}

/// Keeps a search.
#[utoipa::path(
    post,
    path = "/api/searches",
    operation_id = "searches_create",
    tag = "search",
    request_body = NewSearch,
    responses((status = 200, body = SearchRow), Refused),
    description = "Role: analyst.",
)]
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, ApiError> {
    let request: NewSearch = body.json()?;
    let search = request.check(&caller.asker.id(), caller.asker.name(), api.node.pipeline().sanitizer())?;
    let triage = api.triage.clone();
    tokio::task::spawn_blocking(move || triage.has_room_for_search()).await.map_err(ApiError::stopped)??;
    record(&api, &caller, "create", &search).await?;
    let (triage, kept) = (api.triage.clone(), search.clone());
    tokio::task::spawn_blocking(move || triage.add_search(&kept)).await.map_err(ApiError::stopped)??;
    Ok(Json(SearchRow::of(search, &caller)).into_response())
}

/// Removes a search of one's own; an administrator removes any.
#[utoipa::path(
    delete,
    path = "/api/searches/{id}",
    operation_id = "searches_remove",
    tag = "search",
    params(("id" = String, Path, description = "the search")),
    responses((status = 204, description = "done"), Refused),
    description = "Role: analyst.",
)]
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let triage = api.triage.clone();
    let search = tokio::task::spawn_blocking(move || triage.search_by_id(&id)).await.map_err(ApiError::stopped)??;
    if !is_own(&search, &caller) {
        let message = "this search is somebody else's; an administrator can remove it";
        return Err(ApiError::new(StatusCode::FORBIDDEN, message));
    }
    record(&api, &caller, "delete", &search).await?;
    let triage = api.triage.clone();
    tokio::task::spawn_blocking(move || triage.remove_search(&search.id)).await.map_err(ApiError::stopped)??;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The views that SQL can be asked of, with their columns.
#[utoipa::path(
    get,
    path = "/api/query/schema",
    operation_id = "schema",
    tag = "search",
    responses((status = 200, body = QuerySchema), Refused),
    description = "Role: auditor.",
)]
pub(super) async fn schema() -> Response {
    let view = |view: &&'static store::View| ViewInfo {
        name: view.name,
        requirement: Some(view.requirement).filter(|requirement| !requirement.is_empty()),
        about: view.about,
        columns: view.columns().map(|column| ColumnInfo { name: column.name, meaning: column.meaning }).collect(),
    };
    Json(QuerySchema { views: store::VIEWS.iter().map(view).collect() }).into_response()
}

/// Records a change of the searches, before it holds.
async fn record(api: &Api, caller: &Caller, action: &str, search: &SavedSearch) -> Result<(), ApiError> {
    let mut event = internal(Kind::Admin, &format!("search.{action}"));
    caller.asker.sign(&mut event);
    event.set(attr::EVENT_ACTION, action);
    event.set(attr::ADMIN_OBJECT, format!("search {}", search.id).as_str());
    event.set(attr::EVENT_OUTCOME, "success");
    let side = if action == "delete" { attr::ADMIN_BEFORE } else { attr::ADMIN_AFTER };
    event.set(side, serde_json::to_string(search).unwrap_or_default().as_str());
    if api.record(vec![event]).await {
        return Ok(());
    }
    Err(ApiError::stopped("what changes is recorded first, and the record cannot be written"))
}

fn is_own(search: &SavedSearch, caller: &Caller) -> bool {
    search.owner == caller.asker.id() || caller.role.allows(Access::Administer)
}

impl SearchRow {
    fn of(search: SavedSearch, caller: &Caller) -> Self {
        let is_own = is_own(&search, caller);
        let SavedSearch { id, name, view, query, shared, owner, owner_name, created } = search;
        Self { id, name, view, query, shared, owner, owner_name, created, is_own }
    }
}
