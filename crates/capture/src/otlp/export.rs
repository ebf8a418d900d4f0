//! What the two listeners have in common: take a body, decode it, record it, say what became of it.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use event::SourcePath;
use http_body_util::BodyExt as _;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Decoded, Dialects, Limits, json, wire};
use crate::{RecordError, Recorder};

/// Bodies from here on are decoded on a thread of their own, so that they do not make a neighbour's request wait.
const BLOCKING_BYTES_MIN: usize = 64 * 1024;

/// When to come back, when too many bytes are in flight.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// When to come back, when the journal has stopped: somebody has to act first.
const RETRY_AFTER_STOPPED: Duration = Duration::from_secs(30);

/// A permit of the in-flight semaphore stands for this many bytes.
const PERMIT_BYTES: usize = 1024;

/// The state that all requests share.
pub(super) struct Server {
    recorder: Arc<dyn Recorder>,
    pub(super) limits: Limits,
    in_flight: Arc<Semaphore>,
}

/// What is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Logs,
}

/// How it is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Protobuf,
    Json,
}

/// What was refused of an export that is otherwise recorded.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Partial {
    pub(super) rejected: i64,
    pub(super) message: String,
}

/// Why an export is refused as a whole. Nothing of it is recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{0}")]
    Malformed(String),
    #[error("{0}")]
    TooLarge(String),
    #[error("{0}")]
    UnsupportedEncoding(String),
    #[error("the body took longer than {} s to arrive", .0.as_secs())]
    Slow(Duration),
    #[error("the connection broke while the body arrived")]
    Broken,
    #[error("{reason}")]
    Unavailable { reason: String, retry_after: Duration },
}

/// Memory that a request holds of what all may hold; given back on drop.
pub(super) struct Held(OwnedSemaphorePermit);

impl Server {
    pub(super) fn new(recorder: Arc<dyn Recorder>, limits: Limits) -> Arc<Self> {
        let permits = (limits.in_flight_bytes_max / PERMIT_BYTES).min(Semaphore::MAX_PERMITS);
        Arc::new(Self { recorder, limits, in_flight: Arc::new(Semaphore::new(permits)) })
    }

    /// Reads a body, bounded in size, memory and time. `overhead` is what the protocol's framing adds.
    pub(super) async fn read(&self, body: Body, overhead: usize) -> Result<(Bytes, Held), Refusal> {
        let bytes_max = self.limits.body_bytes_max.saturating_add(overhead);
        let mut held = self.hold(0)?;
        let reading = async {
            let mut body = body;
            let mut bytes = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame.map_err(|_| Refusal::Broken)?.into_data() else { continue };
                if data.len() > bytes_max - bytes.len() {
                    return Err(too_large("body", bytes_max));
                }
                held.0.merge(self.hold(data.len())?.0);
                bytes.extend_from_slice(&data);
            }
            Ok((bytes.freeze(), held))
        };
        match tokio::time::timeout(self.limits.body_time_max, reading).await {
            Ok(result) => result,
            Err(_) => Err(Refusal::Slow(self.limits.body_time_max)),
        }
    }

    /// Decodes an export and records it.
    pub(super) async fn export(
        self: &Arc<Self>,
        signal: Signal,
        encoding: Encoding,
        path: SourcePath,
        is_gzip: bool,
        (bytes, held): (Bytes, Held),
    ) -> Result<Partial, Refusal> {
        let server = Arc::clone(self);
        let is_long = is_gzip || bytes.len() >= BLOCKING_BYTES_MIN;
        let decode = move || server.decode(signal, encoding, path, is_gzip, bytes, held);
        let (decoded, _held) = if is_long {
            tokio::task::spawn_blocking(decode)
                .await
                .map_err(|_| Refusal::Malformed("the request could not be decoded".to_owned()))??
        } else {
            decode()?
        };
        let partial = partial(&decoded);
        if !decoded.events.is_empty() {
            self.recorder.record(decoded.events).await?;
        }
        Ok(partial)
    }

    fn decode(
        &self,
        signal: Signal,
        encoding: Encoding,
        path: SourcePath,
        is_gzip: bool,
        bytes: Bytes,
        mut held: Held,
    ) -> Result<(Decoded, Held), Refusal> {
        let bytes = if is_gzip { self.decompress(&bytes, &mut held)? } else { bytes };
        let bytes_max = self.limits.decoded_bytes_max;
        let dialects = Dialects::shipped();
        let decoded = match (signal, encoding) {
            (Signal::Traces, Encoding::Protobuf) => {
                wire::check(&bytes, wire::Message::Traces, bytes_max)?;
                dialects.decode_traces(ExportTraceServiceRequest::decode(bytes).map_err(malformed)?, path)
            }
            (Signal::Logs, Encoding::Protobuf) => {
                wire::check(&bytes, wire::Message::Logs, bytes_max)?;
                dialects.decode_logs(ExportLogsServiceRequest::decode(bytes).map_err(malformed)?, path)
            }
            (Signal::Traces, Encoding::Json) => dialects.decode_traces(json::traces(&bytes, bytes_max)?, path),
            (Signal::Logs, Encoding::Json) => dialects.decode_logs(json::logs(&bytes, bytes_max)?, path),
        };
        Ok((decoded, held))
    }

    fn decompress(&self, bytes: &[u8], held: &mut Held) -> Result<Bytes, Refusal> {
        let bytes_max = self.limits.decompressed_bytes_max;
        let mut decoder = flate2::read::MultiGzDecoder::new(bytes).take(bytes_max as u64 + 1);
        let mut out = Vec::new();
        let mut chunk = [0; 32 * 1024];
        loop {
            let count = decoder
                .read(&mut chunk)
                .map_err(|error| Refusal::Malformed(format!("the body is not gzip, as content-encoding says: {error}")))?;
            if count == 0 {
                return Ok(out.into());
            }
            if out.len() + count > bytes_max {
                return Err(too_large("decompressed body", bytes_max));
            }
            held.0.merge(self.hold(count)?.0);
            out.extend_from_slice(&chunk[..count]);
        }
    }

    fn hold(&self, bytes: usize) -> Result<Held, Refusal> {
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
        Arc::clone(&self.in_flight).try_acquire_many_owned(permits).map(Held).map_err(|_| Refusal::Unavailable {
            reason: "too many requests are under way; try again later".to_owned(),
            retry_after: RETRY_AFTER,
        })
    }
}

fn too_large(what: &str, bytes_max: usize) -> Refusal {
    Refusal::TooLarge(format!("the {what} is longer than {bytes_max} bytes; send fewer spans or log records at once"))
}

fn malformed(error: prost::DecodeError) -> Refusal {
    Refusal::Malformed(error.to_string())
}

/// Most reasons that a partial success tells.
const REASONS_MAX: usize = 5;

fn partial(decoded: &Decoded) -> Partial {
    if decoded.rejected.is_empty() {
        return Partial::default();
    }
    let reasons: Vec<String> =
        decoded.rejected.iter().take(REASONS_MAX).map(|rejected| format!("#{}: {}", rejected.span, rejected.reason)).collect();
    Partial { rejected: i64::try_from(decoded.rejected.len()).unwrap_or(i64::MAX), message: reasons.join("; ") }
}

impl From<wire::WireError> for Refusal {
    fn from(error: wire::WireError) -> Self {
        match error {
            wire::WireError::Malformed { .. } => Self::Malformed(error.to_string()),
            wire::WireError::TooLarge { .. } => Self::TooLarge(format!("{error}; send fewer spans or log records at once")),
        }
    }
}

impl From<json::JsonError> for Refusal {
    fn from(error: json::JsonError) -> Self {
        if error.too_large { Self::TooLarge(error.to_string()) } else { Self::Malformed(error.to_string()) }
    }
}

impl From<RecordError> for Refusal {
    fn from(error: RecordError) -> Self {
        let reason = error.to_string();
        match error {
            RecordError::Busy { retry_after } => Self::Unavailable { reason, retry_after },
            RecordError::TooLarge { .. } => Self::TooLarge(reason),
            // The reason is the operator's to know, and in the log; a client learns that it has to come back.
            RecordError::Stopped { .. } => Self::Unavailable {
                reason: "the journal has stopped; the operator has to look".to_owned(),
                retry_after: RETRY_AFTER_STOPPED,
            },
        }
    }
}

/// `google.rpc.Status`, the body of every error.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<RpcAny>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RpcAny {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub(super) retry_delay: Option<RpcDuration>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RpcDuration {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

impl Refusal {
    /// The gRPC code.
    pub(super) const fn code(&self) -> tonic::Code {
        match self {
            // Of these, OTLP clients retry only `Unavailable`.
            Self::Malformed(_) | Self::TooLarge(_) => tonic::Code::InvalidArgument,
            Self::UnsupportedEncoding(_) => tonic::Code::Unimplemented,
            Self::Slow(_) => tonic::Code::DeadlineExceeded,
            Self::Broken => tonic::Code::Cancelled,
            Self::Unavailable { .. } => tonic::Code::Unavailable,
        }
    }

    /// The `google.rpc.Status` that says it.
    pub(super) fn status(&self) -> RpcStatus {
        let details = match self {
            Self::Unavailable { retry_after, .. } => {
                let retry_delay = RpcDuration {
                    seconds: i64::try_from(retry_after.as_secs()).unwrap_or(i64::MAX),
                    nanos: i32::try_from(retry_after.subsec_nanos()).unwrap_or(0),
                };
                vec![RpcAny {
                    type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
                    value: RetryInfo { retry_delay: Some(retry_delay) }.encode_to_vec(),
                }]
            }
            _ => Vec::new(),
        };
        RpcStatus { code: self.code() as i32, message: self.to_string(), details }
    }
}
