//! The journal: an append-only, durable, ordered record of events, and the spine of everything after it.
//!
//! One writer thread takes what callers [append](Journal::append), many callers' batches at a time, and makes it
//! durable with one write and one fdatasync (group commit); only then are the callers answered (invariant I1). Consumers
//! follow with a [`Reader`] each and keep their place in a [`Cursor`] (invariant I3). [`check`] accounts for every byte
//! of the files, offline. Their format is in `docs/reference/journal-format.md`.

#![forbid(unsafe_code)]

mod append;
mod check;
pub mod content;
mod cursor;
mod disk;
mod fault;
mod files;
mod format;
mod frame_keys;
pub mod hash;
mod journal;
mod options;
mod queue;
mod reader;
mod recent;
mod record;
mod recovery;
mod segment;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod watch;
mod writer;

pub use append::{Append, AppendError, Appended, Ticket};
pub use check::{Checked, check, check_form};
pub use content::ContentEntry;
pub use cursor::{Cursor, CursorError, CursorTag};
pub use fault::{Fault, Wrong};
pub use format::FRAME_BYTES_MAX;
pub use frame_keys::{DerivedKeys, FrameKey, FrameKeys};
pub use journal::Journal;
pub use options::Options;
pub use reader::{ReadError, Reader};
pub use record::{RECORD_CONTENTS_MAX, RECORD_VERSION, Record, RecordError, Seq};
pub use recovery::{OpenError, Recovery};
pub use segment::Torn;
