//! The hot store: what the journal holds, as SQLite tables that a person can query.
//!
//! It is derived: [`Store::index`] reads records of the journal from a cursor that is kept in the same transaction as
//! the rows, so every record is indexed exactly once, and an empty directory is filled again from the journal.
//!
//! ```text
//! DIR/store/2026-11-20.db     one partition a day (UTC), by the time at which Watchkeeper received the event; SQLCipher
//! DIR/store/2026-11-20.keyid  which key of the keyring opens it
//! DIR/store/writer.lock       held by the one writer
//! ```
//! The time that an event claims for itself is a column and never chooses the file: a hostile clock cannot make
//! partitions. Every partition is whole in itself: it holds each content that its events refer to, so that dropping an
//! old file takes nothing from a newer one.
//!
//! # Invariants
//! - Records are committed in the order of the journal, and at most one partition has commits that are not yet on
//!   disk. So after a crash the highest cursor of all partitions is the place to go on from, and nothing before it is
//!   missing.
//! - Readers never write. They attach the partitions read-only and put the views of `docs/reference/views.md` over
//!   them; SQL that comes from people runs under an authorizer, a clock and caps.

#![forbid(unsafe_code)]

mod actions;
mod aggregates;
mod arguments;
mod attached;
mod counts;
mod cut;
mod days;
mod erased;
mod error;
mod latest;
mod linear;
mod list;
mod partition;
mod rebuild;
mod rollups;
mod row;
mod schema;
mod search;
mod sql;
mod tail;
mod text;
mod trace;
mod views;
mod write;

pub use attached::Reader;
pub use counts::{Counts, VIEWS_TIME_MAX};
pub use erased::Erased;
pub use error::{QueryError, StoreError};
pub use latest::{GapRow, Latest};
pub use list::{
    ActionWord, Bucket, Buckets, ChangeWord, DetectionEvidence, DetectionFilter, DetectionRecord, DetectionRow, DirectionWord,
    EdgeWord, Entities, EntityDetail, EntityInsight, EntityKind, EntityPage, EntityRisk, EntityRow, EventDetail, EventFilter,
    EventFinding, EventPiece, EventRow, Grade, JudgementWord, KindWord, Marked, Marks, ModelEvaluation, ModelPoint, ModelRow,
    NameUse, OutcomeWord, PAGE_BYTES_MAX, PAGE_ROWS_MAX, Page, PartWord, PhaseWord, RoleWord, SessionFilter, SessionRow,
    Severities, Severity, Shorten, Shown, State, StatusWord, Totals, TraceIdWord, Usage, UsageBy, UsagePoint, UsageRow,
    VerdictWord, without_values,
};
pub use partition::{day_of, start_of};
pub use rebuild::{Rebuild, days, drop_before};
pub use search::Hit;
pub use sql::{Cell, QueryLimits, Table};
pub use tail::TailRow;
pub use text::iso_time;
pub use trace::{TraceAction, TraceDetection, TraceEdge, TraceEvent, TraceFinding, TracePiece, TraceView};
pub use views::{Column, VIEWS, View, categories, reference};
pub use write::Store;
