//! What happened, what needs somebody, and whether the record is whole.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use store::{DetectionFilter, DetectionRow, EntityPage, QueryError, Reader, Severities, Totals};

use super::span::{Span, now_ns};
use super::types::{Gap, Overview, Pulse, RecordState, SpanQuery, Suppressed};
use crate::http_api::kept::Kept;
use crate::http_api::openapi::Refused;
use crate::http_api::{Api, ApiError, Query};
use crate::standing::Standing;
use crate::triage::Triage;

/// How old a pulse can be.
const PULSE_AGE_MAX: Duration = Duration::from_secs(1);

/// How old the entities of an overview can be: they are those of the whole store.
const ENTITIES_AGE_MAX: Duration = Duration::from_secs(5);

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
    let at_risk = api.at_risk().await?;
    let (triage, node) = (api.triage.clone(), api.node.clone());
    let overview = api.read(move |reader| {
        let buckets = reader.over_time(&span.buckets)?;
        let needs = Needs::read(reader, &triage, &[store::State::Open, store::State::Acknowledged])?;
        let record = RecordState::of(&node, node.standing_by(reader)?);
        Ok::<_, QueryError>(Overview {
            totals: Totals::of(&buckets),
            since: span.since,
            until: span.until,
            bucket_s: span.buckets.seconds(),
            buckets,
            open: needs.open,
            acknowledged: needs.acknowledged,
            suppressed: needs.suppressed,
            grave: needs.grave,
            entities: at_risk.rows.clone(),
            truncated: at_risk.truncated || !needs.is_whole,
            record,
        })
    });
    Ok(Json(overview.await?).into_response())
}

/// What needs somebody, and whether the record is whole: made once a second at the most, for pages that ask again and again.
#[utoipa::path(
    get,
    path = "/api/pulse",
    operation_id = "pulse",
    tag = "overview",
    responses((status = 200, body = Pulse), Refused),
    description = "Role: auditor.",
)]
pub(in crate::http_api) async fn pulse(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    let (triage, node) = (api.triage.clone(), api.node.clone());
    let made = api.read_for_all(move |reader| {
        let needs = Needs::read(reader, &triage, &[store::State::Open])?;
        let record = RecordState::of(&node, node.standing_by(reader)?);
        Ok::<_, QueryError>(Pulse { open: needs.open, truncated: !needs.is_whole, record })
    });
    Ok(Json(&*api.kept.pulse.get(PULSE_AGE_MAX, made).await?).into_response())
}

/// What is made once for everybody who asks.
#[derive(Default)]
pub(in crate::http_api) struct KeptAnswers {
    pulse: Kept<Pulse>,
    at_risk: Kept<EntityPage>,
}

impl KeptAnswers {
    /// Forgets all of it: somebody was erased, whom it may name.
    pub(in crate::http_api) fn forget(&self) {
        let Self { pulse, at_risk } = self;
        pulse.forget();
        at_risk.forget();
    }
}

/// Detections that need somebody.
#[derive(Default)]
struct Needs {
    open: Severities,
    acknowledged: Severities,
    suppressed: Suppressed,
    /// The newest open ones that are critical, and then high.
    grave: Vec<DetectionRow>,
    is_whole: bool,
}

impl Needs {
    fn read(reader: &Reader, triage: &Triage, states: &[store::State]) -> Result<Self, QueryError> {
        let mut needs = Self::default();
        let (mut critical, mut high) = (Vec::new(), Vec::new());
        let in_force: Vec<_> = triage.suppressions().into_iter().filter(|suppression| !suppression.is_over()).collect();
        needs.suppressed.suppressions = in_force.len() as u64;
        let whole: BTreeSet<&str> = in_force.iter().filter(|one| one.entity.is_none()).map(|one| one.rule.as_str()).collect();
        needs.suppressed.whole_rules = whole.len() as u64;
        let in_force: HashSet<&str> = in_force.iter().map(|suppression| &*suppression.id).collect();
        let filter = DetectionFilter { states: states.to_vec(), with_suppressed: true, ..DetectionFilter::default() };
        needs.is_whole = reader.each_detection(&filter, triage, &mut |row: DetectionRow| {
            if let Some(by) = &row.suppressed_by {
                needs.suppressed.detections += u64::from(in_force.contains(&**by));
                return true;
            }
            let severity = row.detection.severity.as_str();
            if row.state == store::State::Open {
                needs.open.add(severity);
                // Each of the two may fill the list: the critical ones come first.
                match severity {
                    "critical" if critical.len() < TOLD_MAX => critical.push(row),
                    "high" if high.len() < TOLD_MAX => high.push(row),
                    _ => {}
                }
            } else {
                needs.acknowledged.add(severity);
            }
            true
        })?;
        needs.grave = critical.into_iter().chain(high).take(TOLD_MAX).collect();
        Ok(needs)
    }
}

impl Api {
    /// The entities with the highest risk.
    pub(in crate::http_api) async fn at_risk(&self) -> Result<Arc<EntityPage>, ApiError> {
        let made = self.read_for_all(|reader| {
            let mut page = reader.entities(now_ns())?.page(None, None, TOLD_MAX, None)?;
            page.rows.retain(|entity| entity.risk > 0.0);
            Ok::<_, QueryError>(page)
        });
        self.kept.at_risk.get(ENTITIES_AGE_MAX, made).await
    }
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
