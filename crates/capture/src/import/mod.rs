//! Import of recorded agent traces, chat logs, OTLP files and events.
//!
//! Decoding is by line and pure: [`decode_line`] takes bytes and gives events or an error that names the field. Files
//! and progress are the command line's business.
//!
//! Recorded conversations carry no times. Their events get the file's time, in order, a microsecond apart, and
//! `watchkeeper.time.source = file` says so. Ids are derived from content, so that importing a file twice records it once.

mod chat;
mod conversation;

use std::str::FromStr;

use event::Timestamp;

use crate::RawEvent;

/// Longest line that is read, in bytes. A conversation with a few long documents takes a few MiB.
pub const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One recorded agent session a line: `trace_id`, `messages` with `tool_calls: [{function, args}]`, `model`, `source`.
    AgentTraces,
    /// One chat a line: `messages` (OpenAI), `conversations` (ShareGPT), or `prompt` and `response`.
    ChatJsonl,
    /// One OTLP `ExportTraceServiceRequest` or `ExportLogsServiceRequest` in JSON a line, as the Collector's file exporter writes.
    OtlpJson,
    /// One OTLP `ExportTraceServiceRequest` in protobuf, the whole file.
    OtlpProto,
    /// One event of `POST /v1/events` a line.
    Events,
}

/// There is no such format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("format must be one of agent-traces, chat-jsonl, otlp-json, otlp-proto, events")]
pub struct UnknownFormat;

/// Why a line was not imported. The other lines are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field {field}: {message}")]
pub struct LineError {
    /// Path of the field, as in `messages[3].role`; `line` for the line as a whole.
    pub field: String,
    /// What is wrong with it, and what it should be.
    pub message: String,
}

/// Where a line comes from.
#[derive(Debug, Clone, Copy)]
pub struct LineContext {
    /// The time that events without one get: the file's.
    pub time: Timestamp,
    /// Number of the line, from 0.
    pub line: u64,
}

/// Guesses the format from the first line of a file.
#[must_use]
pub fn sniff(first_line: &[u8]) -> Option<Format> {
    let row: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(first_line).ok()?;
    let has = |key: &str| row.contains_key(key);
    if has("resourceSpans") || has("resource_spans") || has("resourceLogs") || has("resource_logs") {
        Some(Format::OtlpJson)
    } else if has("kind") {
        Some(Format::Events)
    } else if has("trace_id") && has("messages") {
        Some(Format::AgentTraces)
    } else if has("messages") || has("conversations") || (has("prompt") && has("response")) {
        Some(Format::ChatJsonl)
    } else {
        None
    }
}

/// Decodes one line of a file of the given format (for [`Format::OtlpProto`]: the whole file).
pub fn decode_line(format: Format, line: &[u8], context: LineContext) -> Result<Vec<RawEvent>, LineError> {
    match format {
        Format::AgentTraces => chat::decode_agent_trace(line, context),
        Format::ChatJsonl => chat::decode_chat(line, context),
        Format::OtlpJson => otlp_json(line),
        Format::OtlpProto => otlp_proto(line),
        Format::Events => crate::api::decode_events(line).map_err(|error| LineError::line(error.to_string())),
    }
}

fn otlp_json(line: &[u8]) -> Result<Vec<RawEvent>, LineError> {
    let wrong = |error: &dyn std::fmt::Display| LineError::line(error.to_string());
    let decoded = if line.windows(13).any(|window| window == b"\"resourceLogs" || window == b"resource_logs") {
        crate::otlp::decode_logs(crate::otlp::logs_from_json(line).map_err(|error| wrong(&error))?, event::SourcePath::Import)
    } else {
        crate::otlp::decode_traces(crate::otlp::traces_from_json(line).map_err(|error| wrong(&error))?, event::SourcePath::Import)
    };
    all_or_error(decoded)
}

fn otlp_proto(file: &[u8]) -> Result<Vec<RawEvent>, LineError> {
    use prost::Message as _;
    let request = opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest::decode(file)
        .map_err(|error| LineError::line(format!("not an ExportTraceServiceRequest: {error}")))?;
    all_or_error(crate::otlp::decode_traces(request, event::SourcePath::Import))
}

fn all_or_error(decoded: crate::otlp::Decoded) -> Result<Vec<RawEvent>, LineError> {
    match decoded.rejected.first() {
        Some(first) => Err(LineError::line(format!("{} items refused, the first: {}", decoded.rejected.len(), first.reason))),
        None => Ok(decoded.events),
    }
}

impl LineError {
    fn line(message: impl Into<String>) -> Self {
        Self { field: "line".to_owned(), message: message.into() }
    }

    fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        match name {
            "agent-traces" => Ok(Self::AgentTraces),
            "chat-jsonl" => Ok(Self::ChatJsonl),
            "otlp-json" => Ok(Self::OtlpJson),
            "otlp-proto" => Ok(Self::OtlpProto),
            "events" => Ok(Self::Events),
            _ => Err(UnknownFormat),
        }
    }
}
