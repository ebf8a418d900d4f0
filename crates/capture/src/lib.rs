//! Capture: the ways in. Decodes each dialect into the canonical event and hands it to a [`Recorder`].
//!
//! Everything here holds text as it came ([`Raw`]); nothing here writes to disk. A listener acknowledges only after
//! its [`Recorder`] has (invariant I1).

#![forbid(unsafe_code)]

mod bound;
mod broken_off;
mod budget;
mod outbound;
mod pattern;
mod raw;
mod recorder;
mod recording;
mod reserved;

pub mod api;
pub mod command;
pub mod egress;
pub mod gateway;
pub mod import;
pub mod mcp;
pub mod otlp;
pub mod sql;

pub use raw::{Raw, RawEvent};
pub use recorder::{Receipt, RecordError, Recorder};
pub use reserved::{is_reserved_name, mark_reported};
