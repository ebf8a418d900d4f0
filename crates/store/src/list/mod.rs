//! Lists for people who look: events, sessions, detections, entities, and what is counted over time. Without contents.
//!
//! A list goes from page to page with a cursor, which is opaque to whoever holds it. What is counted comes from rollups, so that it
//! costs what is shown and not what was recorded.

mod cursor;
mod detections;
mod entities;
mod event_filter;
mod events;
mod insights;
mod measures;
mod merge;
mod models;
mod overview;
mod risk;
mod sessions;
mod shorten;
mod shown;
mod usage;
mod words;

use serde::Serialize;
use utoipa::ToSchema;

pub use detections::{
    DetectionEvidence, DetectionFilter, DetectionRecord, DetectionRow, Marked, Marks, Severities, Shown, State,
};
pub use entities::{Entities, EntityDetail, EntityInsight, EntityKind, EntityPage, EntityRisk, EntityRow};
pub use event_filter::EventFilter;
pub use events::{EventDetail, EventFinding, EventPiece, EventRow};
pub use measures::without_values;
pub use models::{ModelEvaluation, ModelPoint, ModelRow};
pub use overview::{Bucket, Buckets, Totals};
pub use sessions::{SessionFilter, SessionRow};
pub use shorten::{NameUse, PAGE_BYTES_MAX, Shorten};
pub(crate) use shown::shown;
pub use usage::{Usage, UsageBy, UsagePoint, UsageRow};
pub use words::{
    ActionWord, ChangeWord, DirectionWord, EdgeWord, Grade, JudgementWord, KindWord, OutcomeWord, PartWord, PhaseWord, RoleWord,
    Severity, StatusWord, TraceIdWord, VerdictWord,
};

/// Most rows of a page.
pub const PAGE_ROWS_MAX: usize = 500;

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// The `cursor` of the next page; none behind the last one.
    pub next: Option<String>,
}
