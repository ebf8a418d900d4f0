//! Routes that read: the state of the record, live rows, detections, SQL, search, traces; and the score of a text.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json};
use event::Channel;
use serde::{Deserialize, Serialize};
use store::{QueryError, QueryLimits};

use super::{Api, ApiError, Body, Caller};
use crate::node::read_event;

/// Rows of a page of live events or of a search at the most.
const ROWS_MAX: usize = 1_000;

/// How long a live request waits for something new before it answers with nothing.
const LIVE_WAIT: Duration = Duration::from_secs(15);

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
        .route("/api/detections", get(detections))
        .with_state(api.clone())
}

/// What was said.
pub(super) fn contents(api: &Arc<Api>) -> Router {
    Router::new()
        .route("/api/query", post(query))
        .route("/api/search", get(search))
        .route("/api/trace/{*id}", get(trace))
        .with_state(api.clone())
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

    /// Runs a query on a thread that may wait.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&store::Reader) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let node = self.node.clone();
        let result = tokio::task::spawn_blocking(move || work(&node.reader().map_err(QueryError::from)?)).await;
        result.map_err(ApiError::stopped)?.map_err(ApiError::from)
    }
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

async fn status(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    let counts = api.read(|reader| reader.counts()).await?;
    let node = api.node.clone();
    let watch = tokio::task::spawn_blocking(move || node.standing()).await;
    let watch = watch.map_err(ApiError::stopped)??;
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

async fn detections(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    let sql = "SELECT time, detection_id, rule, title, technique, severity, confidence, grade, session_id, trace_id, user_id, agent \
               FROM detections ORDER BY time DESC LIMIT 500";
    Ok(Json(api.read(move |reader| reader.sql(sql, &QueryLimits::default())).await?).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SqlRequest {
    sql: String,
}

async fn query(State(api): State<Arc<Api>>, Extension(caller): Extension<Caller>, body: Body) -> Result<Response, ApiError> {
    let request: SqlRequest = body.json()?;
    api.note_read(&caller, "query", &request.sql).await?;
    Ok(Json(api.read(move |reader| reader.sql(&request.sql, &QueryLimits::default())).await?).into_response())
}

#[derive(Deserialize)]
struct SearchQuery {
    q: String,
    limit: Option<usize>,
}

async fn search(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<SearchQuery>,
) -> Result<Response, ApiError> {
    api.note_read(&caller, "search", &query.q).await?;
    let limit = query.limit.unwrap_or(50).min(ROWS_MAX);
    Ok(Json(api.read(move |reader| reader.search(&query.q, limit)).await?).into_response())
}

async fn trace(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    api.note_read(&caller, "trace", &id).await?;
    Ok(Json(api.read(move |reader| reader.trace(&id)).await?).into_response())
}
