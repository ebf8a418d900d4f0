//! Routes of rules: tried on the record, explained, replayed, and what they cover.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Extension, Json, Router};
use detect::coverage::{Coverage, navigator_layer};
use detect::{Explanation, RuleError, RuleSet};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::openapi::Refused;
use super::{Api, ApiError, Body, Caller};
use crate::coverage::{ANSWERS_MAX, COVERAGE_DAYS_MAX, seen};
use crate::replay::{ExplainRequest, ReplayError, ReplayRequest, Work};

/// Days of the record that are asked where nobody says how many.
const COVERAGE_DAYS: u16 = 30;

/// Days of the record that can be asked for the rules in force: each is an answer that is kept. Were any number one, whoever asks for another one
/// each time would have the whole record gone through each time.
const COVERAGE_DAYS_KEPT: [u16; ANSWERS_MAX] = [1, 7, 30, 90, 365, COVERAGE_DAYS_MAX];

/// What is known without contents: how a replay stands, and what the rules in force cover.
pub(super) fn shown(api: &Arc<Api>) -> Router {
    Router::new().route("/api/rules/replay", get(standing)).route("/api/rules/coverage", get(coverage)).with_state(api.clone())
}

/// What is read of the record for it.
pub(super) fn contents(api: &Arc<Api>) -> Router {
    Router::new()
        .route("/api/rules/replay", post(replay))
        .route("/api/rules/replay/{id}", delete(cancel))
        .route("/api/rules/explain", post(explain))
        .route("/api/rules/coverage", post(coverage_of_files))
        .with_state(api.clone())
}

async fn replay(State(api): State<Arc<Api>>, Extension(caller): Extension<Caller>, body: Body) -> Result<Response, ApiError> {
    let request: ReplayRequest = body.json()?;
    let turn = api.node.turn_to_replay(&caller.asker, &request)?;
    // Goes with the request: a replay that nobody waits for ends.
    let _waiter = turn.waiter();
    let replayed = tokio::task::spawn_blocking(move || api.node.replay(turn, &caller.asker, &request)).await;
    Ok(Json(replayed.map_err(ApiError::stopped)??).into_response())
}

async fn standing(State(api): State<Arc<Api>>) -> Response {
    Json(api.node.replay_standing()).into_response()
}

async fn cancel(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    if api.node.cancel_replay(&id, &caller.asker) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let message = "no replay of that id is under way; `GET /api/rules/replay` tells which one is";
    Err(ApiError::new(StatusCode::NOT_FOUND, message))
}

/// Why a rule matches a recorded event, or does not.
#[utoipa::path(
    post,
    path = "/api/rules/explain",
    operation_id = "explain",
    tag = "rules",
    request_body = ExplainRequest,
    responses((status = 200, body = Vec<Explanation>), Refused),
    description = "Role: analyst.",
)]
pub(crate) async fn explain(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, ApiError> {
    let request: ExplainRequest = body.json()?;
    let turn = api.node.turn_to_explain(&caller.asker)?;
    let _waiter = turn.waiter();
    let room = api.room_to_read().await?;
    let explained = tokio::task::spawn_blocking(move || {
        let _room = room;
        api.node.explain(&turn, &caller.asker, &request)
    });
    let explained = explained.await;
    Ok(Json(explained.map_err(ApiError::stopped)??).into_response())
}

/// What is asked of coverage.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct CoverageQuery {
    /// Days of the record that are asked: 1, 7, 30, 90, 365 or 3660; default 30.
    days: Option<u16>,
    /// `navigator`: a layer of the ATLAS Navigator.
    #[param(inline)]
    format: Option<CoverageFormat>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum CoverageFormat {
    Json,
    Navigator,
}

/// Which ATLAS techniques the rules in force cover.
#[utoipa::path(
    get,
    path = "/api/rules/coverage",
    operation_id = "coverage",
    tag = "rules",
    params(CoverageQuery),
    responses((status = 200, body = Coverage), Refused),
    description = "Role: auditor.",
)]
pub(crate) async fn coverage(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<CoverageQuery>,
) -> Result<Response, ApiError> {
    let covered = in_force(&api, &caller, query.days).await?;
    Ok(match query.format.unwrap_or(CoverageFormat::Json) {
        CoverageFormat::Json => Json(&*covered).into_response(),
        CoverageFormat::Navigator => Json(navigator_layer(&covered)).into_response(),
    })
}

/// Most examples that are run for a request, and most events of all of them.
const EXAMPLES_MAX: usize = 4_096;
/// See [`EXAMPLES_MAX`].
const EXAMPLE_EVENTS_MAX: usize = 200_000;

/// What is asked of rules that are not in force.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CoverageRequest {
    days: Option<u16>,
    #[serde(default)]
    files: Vec<(PathBuf, String)>,
}

async fn coverage_of_files(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, ApiError> {
    let CoverageRequest { days, files } = body.json()?;
    if files.is_empty() {
        return Ok(Json(&*in_force(&api, &caller, days).await?).into_response());
    }
    let days = days_of(days)?;
    let rules = move |stopping: &dyn Fn() -> bool| Ok(bounded(RuleSet::beside_builtin(files, stopping)?));
    Ok(Json(covered(&api, &caller, Work::CoverageOfFiles, days, rules).await?).into_response())
}

/// Rules of a request, beside those of the program, and their ids, whose examples are run within minutes.
fn bounded((rules, own): (RuleSet, HashSet<String>)) -> Result<(RuleSet, Option<HashSet<String>>), ApiError> {
    let (examples, events) = rules.examples(|rule| own.contains(&rule.id));
    if examples > EXAMPLES_MAX || events > EXAMPLE_EVENTS_MAX {
        return Err(ApiError::bad_request(format!(
            "files: {examples} examples of {events} events; at most {EXAMPLES_MAX} of {EXAMPLE_EVENTS_MAX} are run for a request: \
             send fewer rules, or run `watchkeeper rules coverage DIR` without a record"
        )));
    }
    Ok((rules, Some(own)))
}

fn days_of(days: Option<u16>) -> Result<u16, ApiError> {
    let days = days.unwrap_or(COVERAGE_DAYS);
    if (1..=COVERAGE_DAYS_MAX).contains(&days) {
        return Ok(days);
    }
    Err(ApiError::bad_request(format!("days: 1 to {COVERAGE_DAYS_MAX} are needed")))
}

/// Days for which what the rules in force cover is kept.
fn kept_days_of(days: Option<u16>) -> Result<u16, ApiError> {
    let days = days.unwrap_or(COVERAGE_DAYS);
    if COVERAGE_DAYS_KEPT.contains(&days) {
        return Ok(days);
    }
    let kept = COVERAGE_DAYS_KEPT.map(|days| days.to_string()).join(", ");
    Err(ApiError::bad_request(format!("days: for the rules in force one of {kept} is needed")))
}

/// What the rules in force cover: what was answered lately, else as it is now.
async fn in_force(api: &Arc<Api>, caller: &Caller, days: Option<u16>) -> Result<Arc<Coverage>, ApiError> {
    let days = kept_days_of(days)?;
    let rules = api.node.consumers().rules().map_err(ReplayError::from)?;
    let digest = rules.digest();
    if let Some(coverage) = api.covered.get(days, &digest) {
        note(api, caller, days).await?;
        return Ok(coverage);
    }
    let compile = move |_: &dyn Fn() -> bool| Ok(Ok((rules.compile()?, None)));
    let began = Instant::now();
    let coverage = Arc::new(covered(api, caller, Work::Coverage, days, compile).await?);
    api.covered.put(days, digest, coverage.clone(), began.elapsed());
    Ok(coverage)
}

async fn note(api: &Arc<Api>, caller: &Caller, days: u16) -> Result<(), ApiError> {
    api.note_read(caller, "rules coverage", &format!("fields, categories and detections of {days} days")).await
}

/// What rules cover, in a turn of its own: it ends with the request, with the server, and in time.
async fn covered(
    api: &Arc<Api>,
    caller: &Caller,
    work: Work,
    days: u16,
    rules: impl FnOnce(&dyn Fn() -> bool) -> Result<Result<(RuleSet, Option<HashSet<String>>), ApiError>, RuleError> + Send + 'static,
) -> Result<Coverage, ApiError> {
    let turn = api.node.replays().work(&caller.asker, work)?;
    let _waiter = turn.waiter();
    let room = api.room_to_read().await?;
    note(api, caller, days).await?;
    let node = api.node.clone();
    let covered = tokio::task::spawn_blocking(move || -> Result<Coverage, ApiError> {
        let stopping = || turn.is_to_end();
        let (rules, own) = rules(&stopping).map_err(|error| turn.given_up(error))??;
        let seen = seen(&node.reader().map_err(store::QueryError::from)?, days, &rules, &stopping)?;
        // The examples of the rules need no reader.
        drop(room);
        let covered = seen.and_then(|seen| match &own {
            Some(own) => Coverage::of_own_until(&rules, own, Some(&seen), &stopping),
            None => Coverage::of_until(&rules, Some(&seen), &stopping),
        });
        if let Some(coverage) = covered {
            return Ok(coverage);
        }
        turn.go_on(0)?;
        Err(ApiError::stopped("what the rules cover was not found out"))
    });
    covered.await.map_err(ApiError::stopped)?
}
