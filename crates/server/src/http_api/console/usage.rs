//! Models, tokens and cost.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use store::QueryError;

use super::span::Span;
use super::types::{Model, Models, SpanQuery, Tokens, TokensQuery};
use crate::http_api::openapi::Refused;
use crate::http_api::{Api, ApiError, Query};

/// Models that are told.
const MODELS_MAX: usize = 100;

/// Rows of usage where nobody says how many, and the most.
const USAGE_ROWS: usize = 20;
/// See [`USAGE_ROWS`].
const USAGE_ROWS_MAX: usize = 200;

/// Detections of drift that are told of a model.
const DRIFT_MAX: usize = 20;

/// Beginnings of the ids of rules that tell of a model's drift or exchange.
const DRIFT_RULES: [&str; 2] = ["behaviour-model-", "evaluation-"];

/// Seconds that the store counts models and tokens by.
const GRAIN_S: u64 = 300;

/// How models do: calls, errors, latency, refusals, what they answer, evaluations, drift.
#[utoipa::path(
    get,
    path = "/api/models",
    operation_id = "models",
    tag = "models",
    params(SpanQuery),
    responses((status = 200, body = Models), Refused),
    description = "Role: auditor.",
)]
pub(super) async fn models(State(api): State<Arc<Api>>, Query(query): Query<SpanQuery>) -> Result<Response, ApiError> {
    let span = Span::of(query.since.as_deref(), query.until.as_deref(), query.bucket, GRAIN_S)?;
    let triage = api.triage.clone();
    let drift_rules = api.rule_ids(|file| DRIFT_RULES.iter().any(|beginning| file.starts_with(beginning))).await?;
    let models = api.read(move |reader| {
        let (rows, has_all_runs) = reader.models(&span.buckets, MODELS_MAX)?;
        // Once for all models: where hardly any has drifted, each look goes through all detections.
        let (mut drift, has_all_drift) = reader.detections_of_models(&drift_rules, &*triage, DRIFT_MAX)?;
        let with_drift = |row: store::ModelRow| Model {
            drift: drift.remove(&row.model).unwrap_or_default(),
            row: store::Shorten::shortened(row),
        };
        let rows = rows.into_iter().map(with_drift).collect();
        let truncated = !(has_all_runs && has_all_drift);
        Ok::<_, QueryError>(Models { bucket_s: span.buckets.seconds(), since: span.since, until: span.until, rows, truncated })
    });
    Ok(Json(models.await?).into_response())
}

/// Tokens and cost, by who used them.
#[utoipa::path(
    get,
    path = "/api/tokens",
    operation_id = "tokens",
    tag = "models",
    params(TokensQuery),
    responses((status = 200, body = Tokens), Refused),
    description = "Role: auditor.",
)]
pub(super) async fn tokens(State(api): State<Arc<Api>>, Query(query): Query<TokensQuery>) -> Result<Response, ApiError> {
    let span = Span::of(query.since.as_deref(), query.until.as_deref(), query.bucket, GRAIN_S)?;
    let limit = query.limit.unwrap_or(USAGE_ROWS).clamp(1, USAGE_ROWS_MAX);
    let tokens = api.read(move |reader| {
        let store::Usage { rows, others, total } = reader.usage(query.by, &span.buckets, limit)?;
        let bucket_s = span.buckets.seconds();
        let rows = rows.into_iter().map(store::Shorten::shortened).collect();
        Ok::<_, QueryError>(Tokens { by: query.by, since: span.since, until: span.until, bucket_s, rows, others, total })
    });
    Ok(Json(tokens.await?).into_response())
}
