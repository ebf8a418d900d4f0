//! Drills that were played on this server: what came of them is recorded, and coverage tells it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use event::{Event, Kind, TechniqueId, attr};
use serde::Deserialize;

use super::{Api, ApiError, Body, Caller};
use crate::drilled::{DRILL_EVENT, DrillVerdict, PlayedDrill};
use crate::node::internal;

/// Drills that are told at once, and characters of a name.
const DRILLS_MAX: usize = 1_000;
/// See [`DRILLS_MAX`].
const NAME_CHARS_MAX: usize = 200;

/// What came of drills.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Played {
    /// Each of them.
    drills: Vec<Drill>,
}

/// What came of one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Drill {
    /// Names what was played.
    scenario: String,
    /// The technique that it plays.
    technique: TechniqueId,
    /// Whether it was told.
    verdict: DrillVerdict,
}

/// For administrators: a drill has sent attacks, and what is recorded bears a name that only Watchkeeper itself records.
pub(super) fn router(api: &Arc<Api>) -> Router {
    Router::new().route("/api/drills", post(record)).with_state(api.clone())
}

async fn record(State(api): State<Arc<Api>>, Extension(caller): Extension<Caller>, body: Body) -> Result<Response, ApiError> {
    let Played { drills } = body.json()?;
    if drills.len() > DRILLS_MAX {
        return Err(ApiError::bad_request(format!("drills: at most {DRILLS_MAX} are taken at once")));
    }
    let is_named =
        |drill: &Drill| !drill.scenario.is_empty() && drill.scenario.chars().take(NAME_CHARS_MAX + 1).count() <= NAME_CHARS_MAX;
    if !drills.iter().all(is_named) {
        return Err(ApiError::bad_request(format!("drills: scenario: a name of 1 to {NAME_CHARS_MAX} characters is needed")));
    }
    let event = |drill: Drill| -> Result<Event<String>, ApiError> {
        let mut event = internal(Kind::Admin, DRILL_EVENT);
        caller.asker.sign(&mut event);
        event.set(attr::EVENT_ACTION, "play");
        event.set(attr::ADMIN_OBJECT, drill.scenario.as_str());
        let told = PlayedDrill { technique: drill.technique, verdict: drill.verdict };
        event.set(attr::ADMIN_AFTER, serde_json::to_string(&told).map_err(ApiError::stopped)?.as_str());
        Ok(event)
    };
    let events = drills.into_iter().map(event).collect::<Result<Vec<_>, _>>()?;
    if !events.is_empty() && !api.record(events).await {
        return Err(ApiError::stopped("drills: they were not recorded"));
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}
