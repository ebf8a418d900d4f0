//! What happened, what needs somebody, and whether the record is whole.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use store::{DetectionFilter, DetectionRow, QueryError, Severities, Totals};

use super::span::{Span, now_ns};
use super::types::{Gap, Overview, RecordState, SpanQuery};
use crate::http_api::openapi::Refused;
use crate::http_api::{Api, ApiError, Query};
use crate::standing::Standing;

/// Open detections that are critical or high, and entities with the highest risk, that are told.
const TOLD_MAX: usize = 10;

/// What happened, what needs somebody, and whether the record is whole.
#[utoipa::path(
    get,
    path = "/api/overview",
    operation_id = "overview",
    tag = "overview",
    params(SpanQuery),
    responses((status = 200, body = Overview), Refused),
    description = "Role: auditor.",
)]
pub(super) async fn overview(State(api): State<Arc<Api>>, Query(query): Query<SpanQuery>) -> Result<Response, ApiError> {
    let span = Span::of(query.since.as_deref(), query.until.as_deref(), query.bucket, 60)?;
    let (triage, node) = (api.triage.clone(), api.node.clone());
    let overview = api.read(move |reader| {
        let buckets = reader.over_time(&span.buckets)?;
        let (mut open, mut acknowledged) = (Severities::default(), Severities::default());
        let (mut critical, mut high) = (Vec::new(), Vec::new());
        let filter =
            DetectionFilter { states: vec![store::State::Open, store::State::Acknowledged], ..DetectionFilter::default() };
        reader.each_detection(&filter, &*triage, &mut |row: DetectionRow| {
            let severity = row.detection.severity.as_str();
            if row.state == store::State::Open {
                open.add(severity);
                // Each of the two may fill the list: the critical ones come first.
                match severity {
                    "critical" if critical.len() < TOLD_MAX => critical.push(row),
                    "high" if high.len() < TOLD_MAX => high.push(row),
                    _ => {}
                }
            } else {
                acknowledged.add(severity);
            }
            true
        })?;
        let grave = critical.into_iter().chain(high).take(TOLD_MAX).collect();
        let mut entities = reader.entities(now_ns())?.page(None, None, TOLD_MAX, None)?.rows;
        entities.retain(|entity| entity.risk > 0.0);
        let record = RecordState::of(&node, node.standing_by(reader)?);
        Ok::<_, QueryError>(Overview {
            totals: Totals::of(&buckets),
            since: span.since,
            until: span.until,
            bucket_s: span.buckets.seconds(),
            buckets,
            open,
            acknowledged,
            grave,
            entities,
            record,
        })
    });
    Ok(Json(overview.await?).into_response())
}

impl RecordState {
    fn of(node: &crate::Node, standing: Standing) -> Self {
        let failures = standing.witness_failures.into_iter().chain(standing.time_stamp_failures).chain(standing.publish_failures);
        let gap = |gap: store::Latest| Gap { seq: gap.seq.0, received: gap.received, name: gap.name, reason: gap.reason };
        Self {
            progress: node.progress(),
            stopped: node.stopped(),
            checkpoint: standing.checkpoint,
            witnessed: standing.witnessed,
            cosignatures: standing.cosignatures,
            time_stamped: standing.time_stamped,
            gaps: standing.gaps,
            last_gap: standing.last_gap.map(gap),
            failing: failures.filter(|failure| !failure.is_over).collect(),
        }
    }
}
