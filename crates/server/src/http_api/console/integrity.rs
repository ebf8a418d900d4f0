//! How the record can be verified, and the log itself.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ledger::{Checkpoint, SignedNote, TileId};
use store::QueryError;

use super::types::{CheckpointInfo, GapRow, Integrity, LogKeyRow};
use crate::http_api::lifecycle::waiting;
use crate::http_api::openapi::Refused;
use crate::http_api::{Api, ApiError};
use crate::log_keys::log_keys;
use crate::standing::Reached;

/// Gaps that are told.
const GAPS_MAX: usize = 100;

/// How far the record is sealed, witnessed and time-stamped, and its gaps.
#[utoipa::path(
    get,
    path = "/api/integrity",
    operation_id = "integrity",
    tag = "integrity",
    responses((status = 200, body = Integrity), Refused),
    description = "Role: auditor.",
)]
pub(super) async fn integrity(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    let keys = waiting(&api, |node| log_keys(node.data(), Some(node.keyring()))).await??;
    let keys = keys.into_iter().map(|key| LogKeyRow {
        generation: key.generation,
        from: key.from,
        last: key.last,
        state: key.state.to_owned(),
        vkeys: key.vkeys,
    });
    let node = api.node.clone();
    let (standing, gaps) =
        api.read(move |reader| Ok::<_, QueryError>((node.standing_by(reader)?, reader.gaps(GAPS_MAX)?))).await?;
    let (published, witnessed) = waiting(&api, |node| {
        let data = node.data().path();
        (ledger::published_checkpoint(data), ledger::witnessed_checkpoint(data))
    })
    .await?;
    let gap = |gap: store::GapRow| GapRow {
        seq: gap.seq,
        event_id: gap.event_id,
        time: gap.time,
        name: gap.name,
        reason: gap.reason,
        count: gap.count,
    };
    let integrity = Integrity {
        progress: api.node.progress(),
        checkpoint: checkpoint(published, standing.checkpoint.as_ref()),
        witnessed: checkpoint(witnessed, standing.witnessed.as_ref()),
        keys: keys.collect(),
        witness_failures: standing.witness_failures,
        time_stamped: standing.time_stamped,
        time_stamp_failures: standing.time_stamp_failures,
        published: standing.published,
        unpublished: standing.unpublished,
        publish_failures: standing.publish_failures,
        minimum_index: standing.minimum_index.unwrap_or(0),
        gap_count: standing.gaps,
        gaps: gaps.into_iter().map(gap).collect(),
        heartbeat: standing.heartbeat.map(|heartbeat| heartbeat.received),
        archive: standing.archive,
    };
    Ok(Json(integrity).into_response())
}

/// The log as C2SP tlog-tiles has it: `checkpoint`, `tile/L/N`, `tile/entries/N`.
#[utoipa::path(
    get,
    path = "/api/log/{path}",
    operation_id = "log_file",
    tag = "integrity",
    params(("path" = String, Path, description = "`checkpoint`, `tile/0/x001/234`, `tile/0/000.p/17`, `tile/entries/000` ...")),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream", description = "the file"), Refused),
    description = "Role: auditor.",
)]
pub(super) async fn log_file(State(api): State<Arc<Api>>, Path(path): Path<String>) -> Result<Response, ApiError> {
    let missing = || ApiError::new(StatusCode::NOT_FOUND, "the log has no such file");
    if path == "checkpoint" {
        let note = waiting(&api, |node| ledger::published_checkpoint(node.data().path())).await?;
        let note = note.map_err(ApiError::stopped)?.ok_or_else(missing)?;
        return Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], note.encode()).into_response());
    }
    let tile = TileId::parse(&path).ok_or_else(missing)?;
    let bytes = waiting(&api, move |node| ledger::public::tile(node.data().path(), tile)).await?;
    let bytes = bytes.map_err(ApiError::stopped)?.ok_or_else(missing)?;
    let mut response = ([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response();
    // A full tile never changes. It is for whoever may read the record, and for no cache between.
    let kept = if tile.is_full() { "private, max-age=31536000, immutable" } else { "no-store" };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    Ok(response)
}

/// A checkpoint as it stands on the disk. One that cannot be read counts as one that is not there: `verify` says more.
fn checkpoint(note: std::io::Result<Option<SignedNote>>, reached: Option<&Reached>) -> Option<CheckpointInfo> {
    let note = note.ok().flatten()?;
    let checkpoint = Checkpoint::parse(note.text()).ok()?;
    // The file may be a newer one than the one whose age was told.
    let reached = reached.filter(|reached| reached.records == checkpoint.size);
    Some(CheckpointInfo {
        signers: note.signatures().iter().map(|signature| signature.name.clone()).collect(),
        root: STANDARD.encode(checkpoint.root),
        origin: checkpoint.origin,
        size: checkpoint.size,
        at: reached.map(|reached| reached.at.clone()),
        age_s: reached.map(|reached| reached.age_s),
        note: note.encode(),
    })
}
