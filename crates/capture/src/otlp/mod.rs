//! OTLP over gRPC and HTTP: spans and log records of AI systems, in whichever dialect, become canonical events.
//!
//! * [`http_router`] and [`grpc_router`] are the listeners' routes. A request is answered with success only after the
//!   [`Recorder`] has its events on disk.
//! * [`decode_traces`] and [`decode_logs`] turn a request into events; [`traces_from_json`] and [`logs_from_json`]
//!   read OTLP's JSON. The importer uses them, too.
//! * [`Dialects`] are the tables of `content/dialects/` that say how each instrumentation names things.
//!
//! # From bytes to events, and what each step may cost
//!
//! Received bytes are bounded per request and over all requests (`in_flight_bytes_max`), decompressed bytes too; a walk
//! over the protobuf then bounds what it takes decoded ([`wire`]), before anything of it is allocated. Per 2 KB span of
//! a chat: one decode, one re-encode and SHA-256 for its id, one hash look-up per attribute, one pass over the JSON of
//! its messages.

use std::time::Duration;

mod content;
mod decode;
mod dialect;
mod draft;
mod export;
mod grpc;
mod http;
mod json;
mod json_values;
mod messages;
mod pieces;
mod place;
mod reference;
mod salvage;
mod table;
mod value;
mod wire;

#[cfg(test)]
mod tests;

#[cfg(doc)]
use crate::Recorder;

pub use decode::{Decoded, Rejected, decode_logs, decode_traces};
pub use dialect::{DialectError, Dialects};
pub use grpc::grpc_router;
pub use http::http_router;
pub use json::{JsonError, logs_from_json, traces_from_json};

/// What one request, and all requests together, may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Longest body as received, compressed or not.
    pub body_bytes_max: usize,
    /// Longest body after decompression.
    pub decompressed_bytes_max: usize,
    /// Most memory that a request may take decoded, its events included.
    pub decoded_bytes_max: usize,
    /// Most bytes of bodies (received and decompressed) of all requests that are under way. What comes beyond is told
    /// to come back.
    pub in_flight_bytes_max: usize,
    /// How long a client may take to send its body.
    pub body_time_max: Duration,
    /// Origins (`https://host`) of web pages that may send over HTTP. None by default: a page that somebody visits must
    /// not be able to write to the record through the browser.
    pub origins_allowed: Vec<String>,
}

impl Default for Limits {
    /// SDKs send batches of 512 spans and collectors of 8,192; with 2 KB a span that is 1 and 16 MiB.
    fn default() -> Self {
        Self {
            body_bytes_max: 16 * 1024 * 1024,
            decompressed_bytes_max: 64 * 1024 * 1024,
            decoded_bytes_max: 256 * 1024 * 1024,
            in_flight_bytes_max: 256 * 1024 * 1024,
            body_time_max: Duration::from_secs(30),
            origins_allowed: Vec::new(),
        }
    }
}
