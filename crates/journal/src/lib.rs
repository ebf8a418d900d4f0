//! The journal: an append-only, durable, ordered record of events, and the spine of everything after it.

#![forbid(unsafe_code)]

mod record;

pub use record::{ContentEntry, RECORD_VERSION, Record, RecordError, Seq};
