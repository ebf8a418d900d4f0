//! Drills: attacks that are played through the listeners of a server, each with an innocent twin, and what must be told of them.
//!
//! ```text
//! content/drills/**/*.yaml ─► Scenario (checked against ATLAS) ─► played step by step ─► Outcome ─► Summary
//! ```
//!
//! Every technique of mitigation AML.M0024 and every case study of ATLAS has exactly one scenario; a case study that telemetry cannot
//! see has one that says why. A scenario that is played has other wordings beside its first, so that what is detected can be told from
//! what was known when rules were written.

mod calendar;
mod check;
mod content;
mod form;
mod judge;
mod load;
mod reference;
mod scenario;

pub use calendar::{Calendar, DAY_S, Days};
pub use content::Filler;
pub use judge::{Count, Outcome, Side, StepOutcome, Summary, Told, Verdict};
pub use load::{DrillError, all, parse};
pub use reference::{figures, reference};
pub use scenario::{
    Action, Chat, Hook, McpCall, Planned, Prompts, Request, Scenario, Step, Subject, ToolUse, Unseen, Via, Wording,
};

/// Drills of the record itself, which are no scenarios: what somebody does to a copy of it, and `verify` must name.
pub const RECORD_DRILLS: [(&str, &str); 3] = [
    ("tampered-byte", "One byte of a copy of the record is changed"),
    ("tampered-cut", "A part of a copy of the record is cut out"),
    ("tampered-swap", "Two parts of a copy of the record change places"),
];
