//! What happened, and how the record stands.

use serde::{Deserialize, Serialize};
use store::{Bucket, DetectionRow, EntityRow, Severities, Totals};
use utoipa::{IntoParams, ToSchema};

use crate::Progress;
use crate::standing::{Failure, Reached};

/// Span of time.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpanQuery {
    /// From this time on (RFC 3339); default: 24 hours before `until`.
    pub(crate) since: Option<String>,
    /// Before this time (RFC 3339); default: now.
    pub(crate) until: Option<String>,
    /// Seconds of a bucket; default: what gives about 60 of them. It is rounded up to whole minutes (models and tokens: 5 minutes).
    pub(crate) bucket: Option<u64>,
}

/// What happened, what needs somebody, and whether the record is whole.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Overview {
    /// From this time on (RFC 3339).
    pub(crate) since: String,
    /// Before this time.
    pub(crate) until: String,
    /// Seconds of a bucket.
    pub(crate) bucket_s: u64,
    /// What happened, over time; every bucket is there.
    pub(crate) buckets: Vec<Bucket>,
    /// In all. Detections count by when they were recorded, everything else by when it happened.
    pub(crate) totals: Totals,
    /// Detections that are open and not suppressed, whenever they were.
    pub(crate) open: Severities,
    /// Those that somebody looks at.
    pub(crate) acknowledged: Severities,
    /// What suppressions that are in force keep out of both.
    pub(crate) suppressed: Suppressed,
    /// The newest open ones that are high or critical; at most 10.
    pub(crate) grave: Vec<DetectionRow>,
    /// Entities with the highest risk, as they were a minute ago at the most; at most 10.
    pub(crate) entities: Vec<EntityRow>,
    /// Whether there are older detections, or more entities, than could be looked at in time: then `open`, `acknowledged` and what counts
    /// entities are too low.
    pub(crate) truncated: bool,
    /// The record.
    pub(crate) record: RecordState,
}

/// What suppressions that are in force hide.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Suppressed {
    /// Detections that they cover, and that nobody has closed.
    pub(crate) detections: u64,
    /// How many suppressions are in force.
    pub(crate) suppressions: u64,
    /// Rules that are suppressed whole, whoever their detections are about.
    pub(crate) whole_rules: u64,
}

/// What needs somebody, and whether the record is whole: for whoever asks again and again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Pulse {
    /// Detections that are open and not suppressed, whenever they were.
    pub(crate) open: Severities,
    /// Whether there are older detections than could be looked at in time: then `open` is too low.
    pub(crate) truncated: bool,
    /// The record.
    pub(crate) record: RecordState,
}

/// Whether the record is whole.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecordState {
    /// How far recording, sealing, indexing and detection are.
    pub(crate) progress: Progress,
    /// Why nothing is recorded any more, if that is so.
    pub(crate) stopped: Option<String>,
    /// The newest checkpoint.
    pub(crate) checkpoint: Option<Reached>,
    /// The newest checkpoint that witnesses countersigned.
    pub(crate) witnessed: Option<Reached>,
    /// How many cosignatures that one has.
    pub(crate) cosignatures: usize,
    /// The newest checkpoint that a time-stamping authority stamped.
    pub(crate) time_stamped: Option<Reached>,
    /// Known holes in the record, in the hot store.
    pub(crate) gaps: u64,
    /// The newest of them.
    pub(crate) last_gap: Option<Gap>,
    /// Services of others that do not answer.
    pub(crate) failing: Vec<Failure>,
}

/// A known hole in the record.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Gap {
    /// Its place in the journal.
    pub(crate) seq: u64,
    /// When it was recorded (RFC 3339).
    pub(crate) received: String,
    /// Name of the event.
    pub(crate) name: String,
    /// Why something is missing.
    pub(crate) reason: Option<String>,
}
