//! OTLP over gRPC and HTTP: spans, log records and metrics of AI systems, in whichever dialect, become canonical events.
//!
//! * [`Receiver`] has the listeners' routes. A request is answered with success only after the [`Recorder`] has its events
//!   on disk.
//! * [`decode_traces`], [`decode_logs`] and [`decode_metrics`] turn a request into events; [`traces_from_json`],
//!   [`logs_from_json`] and [`metrics_from_json`] read OTLP's JSON. The importer uses them, too.
//! * [`Dialects`] are the tables of `content/dialects/` that say how each instrumentation names things.
//!
//! # From bytes to events, and what each step may cost
//!
//! Received bytes are bounded per request and over all requests (`in_flight_bytes_max`), decompressed bytes too; a walk
//! over the protobuf then bounds what it takes decoded ([`wire`]), before anything of it is allocated. Per 2 KB span of
//! a chat: one decode, one re-encode and SHA-256 for its id, one hash look-up per attribute, one pass over the JSON of
//! its messages.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;

mod compression;
mod content;
mod decode;
mod dialect;
mod draft;
mod export;
mod grpc;
mod http;
mod join;
mod json;
mod json_metrics;
mod json_values;
mod messages;
mod metrics;
mod pieces;
mod place;
mod reference;
mod salvage;
mod table;
mod value;
mod wire;

#[cfg(test)]
mod tests;

use crate::Recorder;

pub use decode::{Decoded, Rejected, decode_logs, decode_traces};
pub use dialect::{DialectError, Dialects};
pub use json::{JsonError, logs_from_json, traces_from_json};
pub use json_metrics::metrics_from_json;
pub use metrics::decode_metrics;

/// What both listeners share: limits, memory in flight, and log records that wait for their spans.
pub struct Receiver(Arc<export::Server>);

impl Receiver {
    /// A receiver that hands what it reads to `recorder`.
    #[must_use]
    pub fn new(recorder: Arc<dyn Recorder>, limits: Limits) -> Self {
        Self(export::Server::new(recorder, limits))
    }

    /// The routes of the gRPC listener (4317 by custom); HTTP/2, with or without TLS.
    pub fn grpc(&self) -> Router {
        grpc::router(self.0.clone())
    }

    /// The routes of the HTTP listener (4318 by custom).
    pub fn http(&self) -> Router {
        http::router(self.0.clone())
    }
}

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
    /// How long log records that carry the content of a call wait for its span, unanswered: less than the 10 s after which
    /// exporters give up. Zero: they do not wait.
    pub join_window: Duration,
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
            join_window: Duration::from_secs(3),
            origins_allowed: Vec::new(),
        }
    }
}
