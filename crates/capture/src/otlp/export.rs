//! What the two listeners have in common: take a body, decode it, record it, say what became of it.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use event::SourcePath;
use http_body_util::BodyExt as _;
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::compression::Compression;
use super::join::Joiner;
use super::salvage::salvage;
use super::{Decoded, Dialects, Limits, Rejected, json, json_metrics, wire};
use crate::{RawEvent, RecordError, Recorder};

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
    joiner: Arc<Joiner>,
}

/// What is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Logs,
    Metrics,
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
        let permits = permits(&limits);
        Arc::new(Self { recorder, limits, in_flight: Arc::new(Semaphore::new(permits)), joiner: Arc::default() })
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
        compression: Compression,
        (bytes, mut held): (Bytes, Held),
    ) -> Result<Partial, Refusal> {
        let form = Form { signal, encoding, path };
        let bytes = if compression == Compression::Identity {
            bytes
        } else {
            let server = Arc::clone(self);
            let work = move || server.decompress(compression, &bytes, &mut held).map(|plain| (plain, held));
            let (plain, still_held) = blocking(work).await??;
            held = still_held;
            plain
        };
        let held = Arc::new(held);
        let mut decoded = self.decoded(form, bytes.clone(), Arc::clone(&held)).await?;
        let recorded = match signal {
            Signal::Logs => self.record_logs(&mut decoded).await,
            Signal::Traces => self.record_spans(&mut decoded).await,
            Signal::Metrics => self.record(std::mem::take(&mut decoded.events)).await,
        };
        match recorded {
            Ok(()) => {}
            // The events are gone; that they are read again is rarer, and costs less, than keeping a copy of all.
            Err(RecordError::TooLarge { .. }) if decoded.places.len() > 1 => {
                decoded = self.decoded(form, bytes, Arc::clone(&held)).await?;
                self.record_in_parts(&mut decoded).await?;
            }
            Err(error) => return Err(error.into()),
        }
        drop(held);
        Ok(partial(&decoded))
    }

    async fn record(&self, events: Vec<RawEvent>) -> Result<(), RecordError> {
        if events.is_empty() { Ok(()) } else { self.recorder.record(events).await.map(drop) }
    }

    /// Records spans, and with them the log records that wait for them.
    async fn record_spans(&self, decoded: &mut Decoded) -> Result<(), RecordError> {
        let mut events = std::mem::take(&mut decoded.events);
        let joining = self.joiner.join(&mut events);
        self.record(events).await?;
        joining.recorded();
        Ok(())
    }

    /// Records log records. Those whose content belongs to a span wait for it, and so does the answer.
    async fn record_logs(&self, decoded: &mut Decoded) -> Result<(), RecordError> {
        let events = std::mem::take(&mut decoded.events);
        if decoded.for_spans.is_empty() || self.limits.join_window.is_zero() {
            return self.record(events).await;
        }
        let (mut for_spans, mut alone) = (Vec::new(), Vec::new());
        let mut indexes = decoded.for_spans.iter().peekable();
        for (index, event) in events.into_iter().enumerate() {
            if indexes.next_if(|for_span| **for_span == index).is_some() { for_spans.push(event) } else { alone.push(event) }
        }
        // Whoever waits holds memory: there is none to wait in when half of it is taken.
        let has_room = self.in_flight.available_permits() > permits(&self.limits) / 2;
        let count = for_spans.len();
        let waiting = self.joiner.hold(for_spans, has_room, &mut alone);
        tracing::debug!(count, "log records wait for their spans");
        self.record(alone).await?;
        self.record(waiting.end(self.limits.join_window).await).await
    }

    /// Records what does not fit into one record of the journal: by halves, down to single events. What does not fit
    /// alone is rejected. After any other error the client sends all again, and what is recorded already is
    /// recognised by its ids.
    async fn record_in_parts(&self, decoded: &mut Decoded) -> Result<(), RecordError> {
        let places = std::mem::take(&mut decoded.places);
        let events: Vec<(usize, RawEvent)> = places.into_iter().zip(decoded.events.drain(..)).collect();
        let middle = events.len().div_ceil(2);
        let mut parts = split(events, middle);
        while let Some(part) = parts.pop() {
            let copy = part.iter().map(|(_, event)| event.clone()).collect();
            match self.recorder.record(copy).await {
                Ok(_) => {}
                Err(RecordError::TooLarge { .. }) => match part.as_slice() {
                    [(place, _)] => decoded.rejected.push(Rejected { place: *place, reason: "it is too large to record" }),
                    _ => {
                        let middle = part.len().div_ceil(2);
                        parts.extend(split(part, middle));
                    }
                },
                Err(error) => return Err(error),
            }
        }
        decoded.rejected.sort_by_key(|rejected| rejected.place);
        Ok(())
    }

    /// Decodes; the memory stays held until that is over, though the client may be gone before.
    async fn decoded(self: &Arc<Self>, form: Form, bytes: Bytes, held: Arc<Held>) -> Result<Decoded, Refusal> {
        if bytes.len() < BLOCKING_BYTES_MIN {
            return self.decode(form, bytes);
        }
        let server = Arc::clone(self);
        blocking(move || {
            let decoded = server.decode(form, bytes);
            drop(held);
            decoded
        })
        .await?
    }

    fn decode(&self, Form { signal, encoding, path }: Form, bytes: Bytes) -> Result<Decoded, Refusal> {
        let bytes_max = self.limits.decoded_bytes_max;
        let dialects = Dialects::shipped();
        Ok(match (signal, encoding) {
            (Signal::Traces, Encoding::Protobuf) => {
                let (request, left_out) = protobuf(bytes, wire::Message::Traces, bytes_max)?;
                with_left_out(dialects.decode_traces(request, path), &left_out)
            }
            (Signal::Logs, Encoding::Protobuf) => {
                let (request, left_out) = protobuf(bytes, wire::Message::Logs, bytes_max)?;
                with_left_out(dialects.decode_logs(request, path), &left_out)
            }
            (Signal::Metrics, Encoding::Protobuf) => {
                let (request, left_out) = protobuf(bytes, wire::Message::Metrics, bytes_max)?;
                with_left_out(dialects.decode_metrics(request, path), &left_out)
            }
            (Signal::Metrics, Encoding::Json) => dialects.decode_metrics(json_metrics::metrics(&bytes, bytes_max)?, path),
            (Signal::Traces, Encoding::Json) => dialects.decode_traces(json::traces(&bytes, bytes_max)?, path),
            (Signal::Logs, Encoding::Json) => dialects.decode_logs(json::logs(&bytes, bytes_max)?, path),
        })
    }

    fn decompress(&self, compression: Compression, bytes: &[u8], held: &mut Held) -> Result<Bytes, Refusal> {
        let bytes_max = self.limits.decompressed_bytes_max;
        let name = compression.as_str();
        let broken = |error| Refusal::Malformed(format!("the body is not {name}, as its encoding says: {error}"));
        // Given back at the end of this, unlike what the body itself takes.
        let _working = self.hold(compression.working_bytes())?;
        let mut decoder = compression.reader(bytes).map_err(broken)?.take(bytes_max as u64 + 1);
        let mut out = Vec::new();
        let mut chunk = [0; 32 * 1024];
        loop {
            let count = decoder.read(&mut chunk).map_err(broken)?;
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

/// How many permits stand for all bytes that may be in flight.
fn permits(limits: &Limits) -> usize {
    (limits.in_flight_bytes_max / PERMIT_BYTES).min(Semaphore::MAX_PERMITS)
}

/// What is exported, and how.
#[derive(Debug, Clone, Copy)]
struct Form {
    signal: Signal,
    encoding: Encoding,
    path: SourcePath,
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    let failed = |_| Refusal::Malformed("the request could not be decoded".to_owned());
    tokio::task::spawn_blocking(work).await.map_err(failed)
}

/// Two parts, the second first: they are taken from the end.
fn split<T>(mut events: Vec<T>, middle: usize) -> Vec<Vec<T>> {
    let second = events.split_off(middle);
    vec![second, events]
}

/// Decodes a request; where it cannot be, what can be of it, and the places of what was left out.
fn protobuf<M: prost::Message + Default>(
    bytes: Bytes,
    message: wire::Message,
    bytes_max: usize,
) -> Result<(M, Vec<usize>), Refusal> {
    let whole = |bytes: Bytes| -> Result<M, Refusal> {
        wire::check(&bytes, message, bytes_max)?;
        M::decode(bytes).map_err(malformed)
    };
    match whole(bytes.clone()) {
        Err(Refusal::Malformed(reason)) => {
            let salvaged = salvage(&bytes, message, bytes_max).ok_or(Refusal::Malformed(reason))?;
            Ok((whole(salvaged.bytes.into())?, salvaged.left_out))
        }
        decoded => Ok((decoded?, Vec::new())),
    }
}

/// Adds what was left out before; the places of the others are those of the request as it came.
fn with_left_out(mut decoded: Decoded, left_out: &[usize]) -> Decoded {
    if left_out.is_empty() {
        return decoded;
    }
    let rejected = decoded.rejected.iter_mut().map(|rejected| &mut rejected.place);
    let mut places: Vec<&mut usize> = decoded.places.iter_mut().chain(rejected).collect();
    places.sort();
    let mut before = left_out.iter().peekable();
    let mut shift = 0;
    for place in places {
        while before.next_if(|left_out| **left_out <= *place + shift).is_some() {
            shift += 1;
        }
        *place += shift;
    }
    let reason = "it is malformed: not the protobuf of its type, or a text that is not UTF-8";
    decoded.rejected.extend(left_out.iter().map(|place| Rejected { place: *place, reason }));
    decoded.rejected.sort_by_key(|rejected| rejected.place);
    decoded
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
        decoded.rejected.iter().take(REASONS_MAX).map(|rejected| format!("#{}: {}", rejected.place, rejected.reason)).collect();
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
            RecordError::Unavailable { .. } => Self::Unavailable {
                reason: "nothing can be recorded at the moment; the operator has to look".to_owned(),
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
    /// Tells the operator, who otherwise hears of it from the clients alone.
    pub(super) fn log(&self) {
        match self {
            Self::Unavailable { reason, .. } => tracing::debug!(reason, "an export was told to come back"),
            refused => tracing::debug!(reason = %refused, "an export was refused"),
        }
    }

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
