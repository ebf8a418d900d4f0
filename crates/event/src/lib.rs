//! The canonical event: one shape for one thing that happened in an AI system, whatever reported it.
//!
//! Every other crate of the workspace speaks in terms of this one, and it depends on none of them.
//!
//! # Stages of an event
//!
//! [`Event<T, C>`] is generic over the type of its texts and of its contents, so that the compiler
//! keeps apart what must never be mixed up:
//!
//! | stage    | type                        | where it exists                                        |
//! |----------|-----------------------------|--------------------------------------------------------|
//! | raw      | `Event<Raw, Raw>`           | in memory, between capture and sanitise (invariant I2)  |
//! | clean    | `Event<Clean, Clean>`       | after `sanitize`; what `inspect` reads                  |
//! | recorded | `Event<Clean, ContentRef>`  | in the journal and in everything that consumes it       |
//!
//! `Raw` is a type of the crate `capture`, `Clean` one of the crate `sanitize`: this crate knows
//! neither, so no code here can turn one into the other.

#![forbid(unsafe_code)]

pub mod attr;
mod attributes;
mod causes;
mod event;
mod finding;
pub mod hex;
mod id;
mod identity;
mod kind;
pub mod limits;
mod piece;
pub mod risk;
mod schema;
pub mod taxonomy;
mod time;

pub use attributes::{Attributes, Key, KeyError, Value};
pub use causes::with_causes;
pub use event::{Event, RecordedEvent, Source, SourcePath, Status, Trace};
pub use finding::{Finding, Inspection, Risk, RuleId, Verdict};
pub use id::{ContentId, EventId, IdError, KeyId, SpanId, SubjectId, TraceId};
pub use identity::{Client, Identity, Principal, Proof};
pub use kind::{Kind, Phase};
pub use piece::{Channel, ContentRef, Direction, Part, Piece, PieceMeta, Role, UnknownChannel};
pub use schema::recorded_event_schema;
pub use taxonomy::TechniqueId;
pub use time::Timestamp;
