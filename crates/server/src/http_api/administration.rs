//! Routes of API keys and of the server's own: made, listed, revoked, rotated; and the proof that it is the server of the record.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Extension, Json};
use event::{Key, Kind, Proof, attr};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::openapi::Refused;
use super::{Api, ApiError, Body, Caller};
use crate::access::Role;
use crate::api_keys::KeyInfo;
use crate::node::internal;

/// Keys of callers, keys at rest, and the proof of which server this is.
pub(super) fn router(api: &Arc<Api>) -> Router {
    Router::new()
        .route("/api/keys", get(list_keys).post(create_key))
        .route("/api/keys/{id}", delete(revoke_key))
        .route("/api/keyring/rotate", post(rotate_keyring))
        .route("/api/proof", get(prove))
        .with_state(api.clone())
}

/// The keys, without their secrets.
#[utoipa::path(
    get,
    path = "/api/keys",
    operation_id = "keys",
    tag = "settings",
    responses((status = 200, body = Vec<KeyRow>), Refused),
    description = "Role: admin.",
)]
pub(crate) async fn list_keys(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    let keys = api.keys.list();
    let row = |key: &KeyInfo| {
        let KeyInfo { id, name, role, .. } = key.clone();
        KeyRow { id, name, role, created: key.created(), expires: key.expires() }
    };
    let rows: Vec<KeyRow> = keys.iter().map(row).collect();
    Ok(Json(rows).into_response())
}

/// A key as a list shows it.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeyRow {
    /// Names the key in logs and lists.
    id: String,
    /// What it is for.
    name: String,
    /// What it lets its holder do.
    role: Role,
    /// When it was made (RFC 3339).
    created: String,
    /// When it ends (RFC 3339).
    expires: Option<String>,
}

/// A key that is to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRequest {
    /// What it is for.
    name: String,
    /// What it lets its holder do.
    role: Role,
    /// After how many seconds it ends.
    lifetime_s: Option<u64>,
}

/// A key that was just made.
#[derive(Serialize, ToSchema)]
pub(crate) struct MadeKey {
    /// Names the key in logs and lists.
    id: String,
    /// What it lets its holder do.
    role: Role,
    /// The key. It is shown once, and kept nowhere.
    key: String,
}

/// Makes a key, which is shown once.
#[utoipa::path(
    post,
    path = "/api/keys",
    operation_id = "keys_create",
    tag = "settings",
    request_body = KeyRequest,
    responses((status = 200, body = MadeKey), Refused),
    description = "Role: admin.",
)]
pub(crate) async fn create_key(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, ApiError> {
    let request: KeyRequest = body.json()?;
    if request.lifetime_s == Some(0) {
        return Err(ApiError::bad_request("lifetime_s: a key needs one second at least; leave it out for one that never ends"));
    }
    let key = api.keys.create(&request.name, request.role, request.lifetime_s)?;
    api.note_key(&caller, "create", &key.info).await;
    Ok(Json(MadeKey { id: key.info.id, role: key.info.role, key: key.secret }).into_response())
}

/// Ends a key at once.
#[utoipa::path(
    delete,
    path = "/api/keys/{id}",
    operation_id = "keys_revoke",
    tag = "settings",
    params(("id" = String, Path, description = "the key's id")),
    responses((status = 204, description = "done"), Refused),
    description = "Role: admin.",
)]
pub(crate) async fn revoke_key(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let key = api.keys.revoke(&id)?;
    api.note_key(&caller, "delete", &key).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProofQuery {
    challenge: String,
}

/// Proves to a local command that this is the server of the record.
async fn prove(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<ProofQuery>,
) -> Result<Response, ApiError> {
    if caller.asker.who.proof() != Proof::Local {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "this is for commands on the server's own machine"));
    }
    let local = *api.local.get().ok_or_else(|| ApiError::stopped("the server is not ready yet"))?;
    let answer = api.proof.answer(local, &query.challenge);
    let answer = answer.ok_or_else(|| ApiError::bad_request("challenge: 64 hexadecimal digits are needed"))?;
    Ok(Json(answer).into_response())
}

async fn rotate_keyring(State(api): State<Arc<Api>>, Extension(caller): Extension<Caller>) -> Result<Response, ApiError> {
    let keyring = api.node.keyring().clone();
    let rotated = tokio::task::spawn_blocking(move || keyring.rotate_tenant()).await;
    let rotated = rotated.map_err(ApiError::stopped)?;
    rotated.map_err(ApiError::stopped)?;
    api.note_admin(&caller, "tenant_key.rotate", "rotate", "the tenant key", None).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

impl Api {
    async fn note_key(&self, caller: &Caller, action: &str, key: &KeyInfo) {
        let object = format!("{} ({}, {})", key.id, key.role.as_str(), key.name);
        let changed = if action == "delete" { attr::ADMIN_BEFORE } else { attr::ADMIN_AFTER };
        self.note_admin(caller, &format!("key.{action}"), action, &object, Some((changed, key.shown()))).await;
    }

    /// Records what a caller has administered; `told` is what the object was before, or is since then.
    pub(super) async fn note_admin(&self, caller: &Caller, name: &str, action: &str, object: &str, told: Option<(Key, String)>) {
        let mut event = internal(Kind::Admin, name);
        caller.asker.sign(&mut event);
        event.set(attr::EVENT_ACTION, action);
        event.set(attr::ADMIN_OBJECT, object);
        event.set(attr::EVENT_OUTCOME, "success");
        if let Some((key, text)) = told {
            event.set(key, text.as_str());
        }
        self.record(vec![event]).await;
    }
}
