//! The MCP proxy: stands between a client (an agent) and a Model Context Protocol server, passes every message on as it came, and
//! records what was asked and answered.
//!
//! ```text
//! bytes of a message ─► session (read, describe, rule) ─► events ─► recorder ─► durable? ─► the same bytes go on
//!                                                     └─► definitions of tools ─► pins
//! ```
//!
//! # What is promised
//!
//! - The bytes of a message are not touched: what is not understood passes as it came, and is recorded as that. Only where the
//!   operator asked for it is a message held back, or a `traceparent` added to a request.
//! - **Output commit**: a request goes on when its record is on disk; a result, too, with [`Policy::hold_results`].
//! - Order stays, in each direction; a side that does not read slows the other one down, and nothing piles up here.
//!
//! Versions 2024-11-05 to 2026-07-28 of the protocol are read. `rmcp` is not used: its types would have to be written out again,
//! and a message that they do not know would not be the same any more.

mod answer;
mod body;
pub mod bridge;
mod conversation;
mod describe;
mod events;
pub mod http;
pub mod listing;
mod message;
mod pieces;
mod policy;
pub mod remote;
mod results;
mod rulings;
mod session;
mod sides;
pub mod stdio;
mod trace;
mod upstream;
mod waiting;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub use conversation::{Conversation, Onward, Passage, Proxy};
pub use listing::{Change, ChangeKind, Listing, Tool};
pub use policy::{Mode, OnDrift, Policy};
pub use sides::{ServerInfo, Transport, Who};

use crate::RecordError;

/// Keeps the definitions of tools that were seen first, and tells of every other one.
pub trait Pins: Send + Sync + 'static {
    /// Compares definitions with the pinned ones and records what is new. The answer comes when that is on disk.
    fn compare(
        &self,
        listing: Listing,
        on_drift: OnDrift,
    ) -> Pin<Box<dyn Future<Output = Result<Compared, RecordError>> + Send + '_>>;
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Compared {
    /// Tools whose definition is not a pinned one: it is another, it is new, or there is no room for its pin.
    pub drifted: Vec<String>,
    /// How many more were not even read.
    pub uncompared: usize,
}

/// Bounds on sizes and times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest message that is read, in bytes: files go through tools as base64. A larger one passes unread, or is refused where
    /// there is a policy.
    pub message_bytes_max: usize,
    /// Longest wait for a record to become durable.
    pub record_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_bytes_max: 32 * 1024 * 1024, record_wait: Duration::from_secs(30) }
    }
}

#[cfg(test)]
mod tests;
