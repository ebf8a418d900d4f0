//! The HTTP API of what is kept: holds, retention, erasure, evidence. Auditors see what is held and kept; the rest
//! is for administrators.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use event::Timestamp;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::openapi::Refused;
use super::{Api, ApiError, Body, Caller};
use crate::lifecycle::Erasure;
use crate::lifecycle::erase::EraseError;
use crate::lifecycle::export::{EvidenceError, What};
use crate::lifecycle::hold::{self, HoldError, Scope};
use crate::lifecycle::prune::PruneError;
use crate::lifecycle::recovery::{self, RecoverError};
use crate::lifecycle::{HoldFailure, Kept};
use crate::node::Node;

/// The routes that show what is held and kept. Whoever mounts them guards them.
pub(crate) fn shown(api: Arc<Api>) -> Router {
    Router::new().route("/api/holds", get(list_holds)).route("/api/retention", get(retention)).with_state(api)
}

/// The routes that change it, and those that hand it out. Whoever mounts them guards them.
pub(crate) fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/api/holds", post(place_hold))
        .route("/api/holds/{name}", axum::routing::delete(release_hold))
        .route("/api/retention/sweep", post(sweep))
        .route("/api/ledger/prune", post(prune))
        .route("/api/erase", post(erase))
        .route("/api/restore", post(restore))
        .route("/api/evidence", post(evidence))
        .route("/api/recovery/requests", post(request_recovery))
        .route("/api/recovery/open", post(open_recovery))
        .route("/api/evidence/disclosures", post(disclosures))
        .with_state(api)
}

/// A hold that is to be placed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HoldRequest {
    /// Its name: the case that it is for.
    name: String,
    /// Why it stands.
    reason: String,
    /// What it covers; times in nanoseconds since 1970.
    #[serde(default)]
    scope: Scope,
}

/// The legal holds that stand.
#[utoipa::path(
    get,
    path = "/api/holds",
    operation_id = "holds",
    tag = "settings",
    responses((status = 200, body = Vec<hold::Shown>), Refused),
    description = "Role: auditor.",
)]
pub(crate) async fn list_holds(State(api): State<Arc<Api>>) -> Response {
    Json(api.node().holds_shown()).into_response()
}

/// Places a legal hold.
#[utoipa::path(
    post,
    path = "/api/holds",
    operation_id = "holds_place",
    tag = "settings",
    request_body = HoldRequest,
    responses((status = 204, description = "done"), Refused),
    description = "Role: admin.",
)]
pub(crate) async fn place_hold(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, ApiError> {
    let request: HoldRequest = body.json()?;
    let asker = caller.asker;
    waiting(&api, move |node| node.place_hold(&asker, &request.name, &request.reason, request.scope)).await??;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Why a hold is released; it is recorded.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Release {
    /// The reason.
    #[serde(default)]
    reason: String,
}

/// Releases a legal hold.
#[utoipa::path(
    delete,
    path = "/api/holds/{name}",
    operation_id = "holds_release",
    tag = "settings",
    params(("name" = String, Path, description = "its name"), Release),
    responses((status = 204, description = "done"), Refused),
    description = "Role: admin.",
)]
pub(crate) async fn release_hold(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Query(release): Query<Release>,
) -> Result<Response, ApiError> {
    let asker = caller.asker;
    waiting(&api, move |node| node.release_hold(&asker, &name, &release.reason)).await??;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// How long what is kept, and what is there.
#[utoipa::path(
    get,
    path = "/api/retention",
    operation_id = "retention",
    tag = "settings",
    responses((status = 200, body = Kept), Refused),
    description = "Role: auditor.",
)]
pub(crate) async fn retention(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    let kept = waiting(&api, Kept::of).await?;
    Ok(Json(kept).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SweepRequest {
    /// The asker's word for a clock that is not believed.
    #[serde(default)]
    clock_is_right: bool,
}

async fn sweep(State(api): State<Arc<Api>>, Extension(caller): Extension<Caller>, body: Body) -> Result<Response, ApiError> {
    let request: SweepRequest = body.json()?;
    let swept = waiting(&api, move |node| node.sweep(&caller.asker, request.clock_is_right)).await?;
    Ok(Json(swept.map_err(ApiError::stopped)?).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PruneRequest {
    #[serde(default)]
    before: Option<u64>,
    #[serde(default)]
    dry_run: bool,
}

async fn prune(State(api): State<Arc<Api>>, Extension(caller): Extension<Caller>, body: Body) -> Result<Response, ApiError> {
    let request: PruneRequest = body.json()?;
    let asker = caller.asker;
    let pruned = waiting(&api, move |node| node.prune(&asker, request.before, request.dry_run)).await?;
    Ok(Json(pruned?).into_response())
}

async fn erase(State(api): State<Arc<Api>>, Extension(caller): Extension<Caller>, body: Body) -> Result<Response, ApiError> {
    let request: Erasure = body.json()?;
    let asker = caller.asker;
    let kept = api.clone();
    let erased = waiting(&api, move |node| {
        let erased = node.erase(&asker, &request);
        // However it ended, and whether or not anybody waits for it still.
        kept.kept.forget();
        erased
    });
    let erased = erased.await?;
    Ok(Json(erased?).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RestoreRequest {
    from: event::Timestamp,
    to: event::Timestamp,
}

async fn restore(State(api): State<Arc<Api>>, Extension(caller): Extension<Caller>, body: Body) -> Result<Response, ApiError> {
    let request: RestoreRequest = body.json()?;
    let asker = caller.asker;
    let restored = waiting(&api, move |node| node.restore(&asker, request.from, request.to)).await?;
    Ok(Json(restored.map_err(ApiError::stopped)?).into_response())
}

/// A bundle that is to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EvidenceRequest {
    /// Of what: one of `session`, `incident`, `query`, `forensic`, with its id or text.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    what: What,
    /// Why; it is recorded.
    reason: String,
    /// Names of what is withheld.
    #[serde(default)]
    withhold: Vec<String>,
}

/// The bundle as `.tar.gz`.
#[utoipa::path(
    post,
    path = "/api/evidence",
    operation_id = "evidence",
    tag = "evidence",
    request_body = EvidenceRequest,
    responses((status = 200, body = Vec<u8>, content_type = "application/gzip", description = "the bundle as .tar.gz"), Refused),
    description = "Role: admin.",
)]
pub(crate) async fn evidence(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, ApiError> {
    let request: EvidenceRequest = body.json()?;
    let asker = caller.asker;
    let packed = reading(&api, move |node| {
        let (bag, _) = node.export(&asker, &request.what, &request.withhold, &request.reason)?;
        // Each bundle unpacks beside the ones before, and bears a name of its own.
        let name = evidence::bundle_name("", Timestamp::now());
        Ok::<_, EvidenceError>((bag.to_tar_gz(&name)?, name))
    });
    let (packed, name) = packed.await??;
    let headers = [
        (header::CONTENT_TYPE, "application/gzip".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.tar.gz\"")),
    ];
    Ok((headers, packed).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DisclosureRequest {
    first: u64,
    #[serde(default)]
    end: Option<u64>,
    reason: String,
}

/// Records as disclosures, as many as fit into an answer.
async fn disclosures(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, ApiError> {
    let DisclosureRequest { first, end, reason } = body.json()?;
    let disclosed = waiting(&api, move |node| node.disclose(&caller.asker, first, end, &reason)).await?;
    Ok(Json(disclosed?).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecoveryRequest {
    record: String,
    reason: String,
}

pub(crate) async fn request_recovery(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, ApiError> {
    let RecoveryRequest { record, reason } = body.json()?;
    let request = reading(&api, move |node| node.request_recovery(&caller.asker, &record, &reason)).await?;
    Ok(Json(request?).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecoveryOpening {
    request: recovery::Request,
    shares: [recovery::Share; 2],
}

async fn open_recovery(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, ApiError> {
    let RecoveryOpening { request, shares } = body.json()?;
    let values = reading(&api, move |node| node.open_recovery(&caller.asker, &request, &shares)).await?;
    Ok(Json(values?).into_response())
}

/// Runs what may take long on a thread that may wait.
pub(crate) async fn waiting<T: Send + 'static>(
    api: &Arc<Api>,
    work: impl FnOnce(&Node) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let node = api.node().clone();
    tokio::task::spawn_blocking(move || work(&node)).await.map_err(ApiError::stopped)
}

/// The same of what opens readers of the store, one at a time: they count among those of everybody.
async fn reading<T: Send + 'static>(api: &Arc<Api>, work: impl FnOnce(&Node) -> T + Send + 'static) -> Result<T, ApiError> {
    let room = api.room_to_read().await?;
    waiting(api, move |node| {
        let _room = room;
        work(node)
    })
    .await
}

impl From<HoldFailure> for ApiError {
    fn from(error: HoldFailure) -> Self {
        match &error {
            HoldFailure::Hold(HoldError::Unknown(_)) => Self::new(StatusCode::NOT_FOUND, error),
            HoldFailure::Hold(HoldError::Exists(_) | HoldError::TooMany) => Self::new(StatusCode::CONFLICT, error),
            HoldFailure::Hold(HoldError::Text(_) | HoldError::Times) => Self::new(StatusCode::BAD_REQUEST, error),
            HoldFailure::Hold(HoldError::Keys(_) | HoldError::Parse(_)) | HoldFailure::Record(_) | HoldFailure::Archive(_) => {
                Self::stopped(error)
            }
        }
    }
}

impl From<RecoverError> for ApiError {
    fn from(error: RecoverError) -> Self {
        match error {
            RecoverError::NoRecord(_) | RecoverError::NothingSealed(_) => Self::new(StatusCode::NOT_FOUND, error),
            RecoverError::Erased(_) => Self::new(StatusCode::GONE, error),
            RecoverError::Text(_) | RecoverError::Format(..) | RecoverError::OtherRequest { .. } | RecoverError::Request => {
                Self::new(StatusCode::BAD_REQUEST, error)
            }
            RecoverError::Recovery(_) => Self::new(StatusCode::FORBIDDEN, error),
            RecoverError::Read(error) => error.into(),
            _ => Self::stopped(error),
        }
    }
}

impl From<PruneError> for ApiError {
    fn from(error: PruneError) -> Self {
        match error {
            PruneError::Needed { .. } => Self::new(StatusCode::CONFLICT, error),
            _ => Self::stopped(error),
        }
    }
}

impl From<EraseError> for ApiError {
    fn from(error: EraseError) -> Self {
        match &error {
            EraseError::Subject | EraseError::Reference | EraseError::Own(_) => Self::new(StatusCode::BAD_REQUEST, error),
            EraseError::Wide { .. } => Self::new(StatusCode::CONFLICT, error),
            _ => Self::stopped(error),
        }
    }
}

impl From<EvidenceError> for ApiError {
    fn from(error: EvidenceError) -> Self {
        match error {
            EvidenceError::Nothing | EvidenceError::NoForensic | EvidenceError::NoIncident(_) => {
                Self::new(StatusCode::NOT_FOUND, error)
            }
            EvidenceError::Text(_) | EvidenceError::Column | EvidenceError::Range | EvidenceError::Withhold(_) => {
                Self::new(StatusCode::BAD_REQUEST, error)
            }
            EvidenceError::TooMany | EvidenceError::TooMuchCustody => Self::new(StatusCode::PAYLOAD_TOO_LARGE, error),
            EvidenceError::Query(error) => error.into(),
            _ => Self::stopped(error),
        }
    }
}
