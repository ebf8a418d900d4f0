//! Saved searches, and what SQL can be asked of.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};

use super::types::{ColumnInfo, QuerySchema, SavedSearches, SearchRow, ViewInfo};
use crate::access::Access;
use crate::http_api::openapi::Refused;
use crate::http_api::{Api, ApiError, Body, Caller};
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
    let sanitizer = api.node.pipeline().sanitizer();
    let name = sanitizer.text(&request.name).text.to_string();
    // What is searched for may be what must not be kept.
    let query = sanitizer.text(&request.query.to_string()).text.to_string();
    let query = serde_json::from_str(&query).map_err(|_| {
        ApiError::bad_request("query: it has a secret or personal data in it, which is not kept; leave that out of the search")
    })?;
    let search = NewSearch { name, query, ..request }.check(&caller.asker.id(), caller.asker.name())?;
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
    let removed = tokio::task::spawn_blocking(move || {
        let search = triage.search_by_id(&id)?;
        if !is_own(&search, &caller) {
            let message = "this search is somebody else's; an administrator can remove it";
            return Err(ApiError::new(StatusCode::FORBIDDEN, message));
        }
        Ok(triage.remove_search(&id)?)
    });
    removed.await.map_err(ApiError::stopped)??;
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
