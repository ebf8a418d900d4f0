//! Routes that read: the state of the record, live rows, detections, SQL, search, traces; and the score of a text.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json};
use event::{Channel, Key};
use serde::{Deserialize, Serialize};
use store::{QueryError, QueryLimits};
use utoipa::{IntoParams, ToSchema};

use super::console::types::ReadQuery;
use super::openapi::Refused;
use super::readers::{Full, Room};
use super::{Api, ApiError, Body, Caller, Query};
use crate::access::Access;
use crate::node::read_event;
use crate::reads;

/// Rows of a page of live events or of a search at the most.
const ROWS_MAX: usize = 1_000;

/// Longest reason for reading contents, in bytes.
const REASON_BYTES_MAX: usize = 1_024;

/// Why somebody read contents, in the event that says that they did.
const READ_REASON: Key = Key::of(reads::READ_REASON);

/// How long a live request waits for something new before it answers with nothing.
const LIVE_WAIT: Duration = Duration::from_secs(15);

/// When to ask again where too many read the store.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// How often a live request looks for something new.
const LIVE_POLL: Duration = Duration::from_millis(100);

/// The score of a text.
pub(super) fn scored(api: &Arc<Api>) -> Router {
    Router::new().route("/v1/inspect", post(inspect)).with_state(api.clone())
}

/// What is known of the record without its contents.
pub(super) fn shown(api: &Arc<Api>) -> Router {
    Router::new()
        .route("/api/status", get(status))
        .route("/api/tail", get(tail))
        .route("/api/reads", get(read_by_whom))
        .route("/api/trace/{*id}", get(trace))
        .with_state(api.clone())
}

/// What was said.
pub(super) fn contents(api: &Arc<Api>) -> Router {
    Router::new().route("/api/query", post(query)).route("/api/search", get(search)).with_state(api.clone())
}

impl Api {
    /// Records that somebody reads contents, before they get to see any.
    pub(super) async fn note_read(&self, caller: &Caller, action: &str, object: &str) -> Result<(), ApiError> {
        if self.record(vec![read_event(&caller.asker, action, object)]).await {
            Ok(())
        } else {
            Err(ApiError::stopped("reading contents is recorded, and the record cannot be written"))
        }
    }

    /// The same of a caller who asks for contents where they need not be shown, with the reason that they give: somebody who has signed in
    /// must.
    pub(super) async fn note_reveal(
        &self,
        caller: &Caller,
        action: &str,
        object: &str,
        reason: Option<&str>,
    ) -> Result<(), ApiError> {
        if !caller.role.allows(Access::ReadContent) {
            let message = format!("a key with the role {} may not read contents; ask without `texts`", caller.role.as_str());
            return Err(ApiError::new(StatusCode::FORBIDDEN, message));
        }
        let mut event = read_event(&caller.asker, action, object);
        let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
        // Whoever holds a key wrote a program, which says in its own way what it is for.
        if reason.is_none() && caller.asker.session.is_some() {
            let message = "reason: whoever has signed in says why they read texts; say it, or ask with texts=false";
            return Err(ApiError::bad_request(message));
        }
        if let Some(reason) = reason {
            if reason.len() > REASON_BYTES_MAX {
                return Err(ApiError::bad_request(format!("reason: {} bytes, at most {REASON_BYTES_MAX} can be", reason.len())));
            }
            event.set(READ_REASON, reason);
        }
        if self.record(vec![event]).await {
            return Ok(());
        }
        Err(ApiError::stopped("reading contents is recorded, and the record cannot be written"))
    }

    /// Room for one who reads the store, for as long as it is held: also for whoever opens a reader of their own.
    pub(super) async fn room_to_read(&self) -> Result<Room, ApiError> {
        self.readers.room().await.map_err(no_room)
    }

    /// Runs a query on a thread that may wait.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&store::Reader) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let room = self.room_to_read().await?;
        self.read_in(room, work).await
    }

    /// The same for an answer that is made once for everybody: who has used up their share of readers keeps nobody waiting for it.
    pub(super) async fn read_for_all<T: Send + 'static>(
        &self,
        work: impl FnOnce(&store::Reader) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let room = self.readers.room_for_all().await.map_err(no_room)?;
        self.read_in(room, work).await
    }

    async fn read_in<T: Send + 'static>(
        &self,
        room: Room,
        work: impl FnOnce(&store::Reader) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let (node, readers) = (self.node.clone(), self.readers.clone());
        readers.watch();
        let result = tokio::task::spawn_blocking(move || readers.with(&node, room, work).map_err(QueryError::from)?).await;
        result.map_err(ApiError::stopped)?.map_err(ApiError::from)
    }
}

/// What whoever asks is told where there is no room.
fn no_room(full: Full) -> ApiError {
    ApiError::too_many(full.message()).with_retry_after(RETRY_AFTER)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InspectRequest {
    text: String,
    channel: Option<String>,
    context: Option<String>,
}

/// Not a `Value`: it has no numbers of four bytes, and would say 0.8999999761581421 for 0.9.
#[derive(Serialize)]
struct InspectAnswer {
    score: f32,
    verdict: event::Verdict,
    findings: Vec<event::Finding>,
    scanned_bytes: u64,
    unscanned_bytes: u64,
}

async fn inspect(State(api): State<Arc<Api>>, body: Body) -> Result<Response, ApiError> {
    let request: InspectRequest = body.json()?;
    let channel: Channel = match request.channel.as_deref() {
        None => Channel::User,
        Some(name) => name.parse().map_err(|error: event::UnknownChannel| ApiError::bad_request(error.to_string()))?,
    };
    let scored = tokio::task::spawn_blocking(move || {
        let report = api.node.pipeline().inspect(&request.text, channel, request.context.as_deref());
        let inspect::Report { score, verdict, findings, scanned_bytes, unscanned_bytes } = report;
        InspectAnswer { score, verdict, findings, scanned_bytes, unscanned_bytes }
    });
    Ok(Json(scored.await.map_err(ApiError::stopped)?).into_response())
}

#[derive(Serialize)]
struct Status {
    version: &'static str,
    progress: crate::Progress,
    throughput: crate::Throughput,
    stopped: Option<String>,
    archive_waits: Option<String>,
    signatures: crate::SignaturesStanding,
    rules: crate::RulesStanding,
    intel: crate::intel::IntelStanding,
    watch: crate::Standing,
    counts: store::Counts,
}

/// How far recording, sealing, indexing and detection are, and how the watch stands.
#[utoipa::path(
    get,
    path = "/api/status",
    operation_id = "status",
    tag = "status",
    responses((status = 200, body = Object), Refused),
    description = "Role: auditor.",
)]
pub(crate) async fn status(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    let node = api.node.clone();
    let (counts, watch) = api.read(move |reader| Ok((reader.counts()?, node.standing_by(reader)?))).await?;
    let status = Status {
        version: env!("CARGO_PKG_VERSION"),
        progress: api.node.progress(),
        throughput: api.node.pipeline().throughput(),
        stopped: api.node.stopped(),
        archive_waits: api.node.archive_waits(),
        signatures: api.node.signatures(),
        rules: api.node.rules(),
        intel: api.node.intel(),
        watch,
        counts,
    };
    Ok(Json(status).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TailQuery {
    after: Option<u64>,
    limit: Option<usize>,
    #[serde(default)]
    wait: bool,
}

/// Rows that follow the place `after` in the journal, or the newest ones; `next` is the `after` of the next request. With `wait`,
/// answers when there is one, or after some seconds without.
async fn tail(State(api): State<Arc<Api>>, Query(query): Query<TailQuery>) -> Result<Response, ApiError> {
    let limit = query.limit.unwrap_or(100).min(ROWS_MAX);
    let until = tokio::time::Instant::now() + LIVE_WAIT;
    // The first record that the caller has not seen.
    let unseen = query.after.map_or(0, |after| after.saturating_add(1));
    while query.wait && api.node.progress().indexed <= unseen && tokio::time::Instant::now() < until {
        tokio::time::sleep(LIVE_POLL).await;
    }
    let after = query.after.map(journal::Seq);
    let mut rows = api.read(move |reader| reader.tail(after, limit)).await?;
    // A row of the live view holds no contents: reading those is a permission of its own, and leaves an event.
    rows.iter_mut().for_each(|row| row.summary.clear());
    let next = rows.last().map(|row| row.seq.0).or(query.after);
    Ok(Json(serde_json::json!({ "rows": rows, "next": next })).into_response())
}

/// A query.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SqlRequest {
    /// One SELECT, in SQLite's dialect.
    sql: String,
}

/// Answers one SELECT over the views; it is recorded.
#[utoipa::path(
    post,
    path = "/api/query",
    operation_id = "query",
    tag = "search",
    request_body = SqlRequest,
    responses((status = 200, body = store::Table), Refused),
    description = "Role: analyst.",
)]
pub(crate) async fn query(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, ApiError> {
    let request: SqlRequest = body.json()?;
    api.note_read(&caller, "query", &request.sql).await?;
    Ok(Json(api.read(move |reader| reader.sql(&request.sql, &QueryLimits::default())).await?).into_response())
}

/// What is looked for.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SearchQuery {
    /// The words; as it stands, between double quotes.
    q: String,
    /// Most hits; default 50, at most 1,000.
    limit: Option<usize>,
}

/// Finds texts, newest first; it is recorded.
#[utoipa::path(
    get,
    path = "/api/search",
    operation_id = "search",
    tag = "search",
    params(SearchQuery),
    responses((status = 200, body = Vec<store::Hit>), Refused),
    description = "Role: analyst.",
)]
pub(crate) async fn search(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<SearchQuery>,
) -> Result<Response, ApiError> {
    api.note_read(&caller, "search", &query.q).await?;
    let limit = query.limit.unwrap_or(50).min(ROWS_MAX);
    Ok(Json(api.read(move |reader| reader.search(&query.q, limit)).await?).into_response())
}

/// Days that are looked at where none are asked for, and most that are.
const READS_DAYS: u32 = 30;
/// See [`READS_DAYS`].
const READS_DAYS_MAX: u32 = 3_660;

/// Whoever asks for their own reads.
const ME: &str = "me";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadsQuery {
    /// Only those of this reader; `me` for the caller's own.
    who: Option<String>,
    /// Only those of the last days.
    days: Option<u32>,
}

/// Who read what of the record, by person, object and reason; whoever may read any of it sees who did. What they looked for is contents.
async fn read_by_whom(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<ReadsQuery>,
) -> Result<Response, ApiError> {
    let days = query.days.unwrap_or(READS_DAYS);
    if !(1..=READS_DAYS_MAX).contains(&days) {
        return Err(ApiError::bad_request(format!("days: 1 to {READS_DAYS_MAX} are needed")));
    }
    let who = query.who.map(|who| if who == ME { caller.asker.id() } else { who });
    let (node, may_read) = (api.node.clone(), caller.role.allows(Access::ReadContent));
    let found = api.read(move |reader| {
        reads::reads(reader, node.pipeline().sanitizer(), &reads::Asked { who: who.as_deref(), days, may_read })
    });
    Ok(Json(found.await?).into_response())
}

/// One trace, session, or that of an event, with who caused what.
#[utoipa::path(
    get,
    path = "/api/trace/{id}",
    operation_id = "trace",
    tag = "events",
    params(("id" = String, Path, description = "a trace, a session or an event"), ReadQuery),
    responses((status = 200, body = store::TraceView), Refused),
    description = "Role: auditor; texts: analyst.",
)]
pub(crate) async fn trace(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Query(query): Query<ReadQuery>,
) -> Result<Response, ApiError> {
    let may_read = caller.role.allows(Access::ReadContent);
    let texts = query.texts.unwrap_or(may_read);
    if texts {
        api.note_reveal(&caller, "trace", &id, query.reason.as_deref()).await?;
    }
    let mut view = api.read(move |reader| reader.trace(&id)).await?;
    if !texts {
        view.withhold();
    }
    Ok(Json(view).into_response())
}
