//! Entities, models and tokens.

use serde::{Deserialize, Serialize};
use store::{DetectionRow, EntityDetail, EntityKind, ModelRow, SessionRow, UsageBy, UsageRow};
use utoipa::{IntoParams, ToSchema};

/// Span of time, and by what.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokensQuery {
    /// By what usage is told apart.
    #[param(inline)]
    pub(crate) by: UsageBy,
    /// From this time on (RFC 3339); default: 24 hours before `until`.
    pub(crate) since: Option<String>,
    /// Before this time (RFC 3339); default: now.
    pub(crate) until: Option<String>,
    /// Seconds of a bucket; default: what gives about 60 of them.
    pub(crate) bucket: Option<u64>,
    /// Most rows, those with the most tokens; default 20, at most 200. What the others used is in `others`.
    pub(crate) limit: Option<usize>,
}

/// Which entities.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct EntitiesQuery {
    /// What they are; default: all.
    #[serde(rename = "type")]
    #[param(rename = "type", inline)]
    pub(crate) kind: Option<EntityKind>,
    /// With this in the name.
    pub(crate) q: Option<String>,
    /// Most rows; default 100, at most 500.
    pub(crate) limit: Option<usize>,
    /// `next` of the page before.
    pub(crate) cursor: Option<String>,
}

/// An entity with its detections and sessions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Entity {
    /// What is known of it.
    #[serde(flatten)]
    pub(crate) detail: EntityDetail,
    /// Its newest detections, at most 50.
    pub(crate) detection_rows: Vec<DetectionRow>,
    /// Its newest sessions, at most 50; of users, agents and applications: those that are found in time.
    pub(crate) session_rows: Vec<SessionRow>,
}

/// A model with what was detected of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Model {
    /// How it does.
    #[serde(flatten)]
    pub(crate) row: ModelRow,
    /// Detections that it has drifted or was exchanged, newest first.
    pub(crate) drift: Vec<DetectionRow>,
}

/// Models.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Models {
    /// From this time on (RFC 3339).
    pub(crate) since: String,
    /// Before this time.
    pub(crate) until: String,
    /// Seconds of a bucket.
    pub(crate) bucket_s: u64,
    /// The models, those with the most calls first; at most 100.
    pub(crate) rows: Vec<Model>,
    /// Whether there are older evaluations or detections of drift than could be looked at in time: then some are missing.
    pub(crate) truncated: bool,
}

/// Tokens and cost.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tokens {
    /// By what it is told apart.
    pub(crate) by: UsageBy,
    /// From this time on (RFC 3339).
    pub(crate) since: String,
    /// Before this time.
    pub(crate) until: String,
    /// Seconds of a bucket.
    pub(crate) bucket_s: u64,
    /// Who used how much, the most first.
    pub(crate) rows: Vec<UsageRow>,
    /// What all others used together, where there are others.
    pub(crate) others: Option<UsageRow>,
    /// In all.
    pub(crate) total: UsageRow,
}
