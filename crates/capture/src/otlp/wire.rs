//! A look at protobuf bytes before they are decoded: are they well formed, and how much memory would they take?
//!
//! Two bytes on the wire can be an empty span, which takes hundreds in memory. Walking the bytes first, without
//! allocating, keeps a small request from becoming a large one, and finds where a malformed one breaks.

use std::fmt;
use std::mem::size_of;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics,
    SummaryDataPoint, exponential_histogram_data_point, summary_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};

use crate::RawEvent;

/// Deepest nesting of messages: where `prost` stops, too.
const DEPTH_MAX: usize = 100;

/// A message type of OTLP that holds others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    Traces,
    Logs,
    Metrics,
    ResourceSpans,
    ResourceLogs,
    ResourceMetrics,
    Resource,
    Entity,
    ScopeSpans,
    ScopeLogs,
    ScopeMetrics,
    Scope,
    Span,
    SpanEvent,
    SpanLink,
    SpanStatus,
    LogRecord,
    Metric,
    /// Gauge or sum.
    Numbers,
    Histogram,
    ExponentialHistogram,
    Summary,
    NumberPoint,
    HistogramPoint,
    ExponentialPoint,
    SummaryPoint,
    Buckets,
    Quantile,
    Exemplar,
    Pair,
    Any,
    List,
    Pairs,
}

/// What is wrong with the bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    /// They are not protobuf of this type.
    #[error("malformed protobuf at {path}: {problem}")]
    Malformed { path: Path, problem: &'static str },
    /// They would take too much memory.
    #[error("the request would take more than {bytes_max} bytes decoded")]
    TooLarge { bytes_max: usize },
}

/// Where in the message: field names and positions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Path(Vec<(&'static str, usize)>);

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("the request");
        }
        for (position, (name, index)) in self.0.iter().rev().enumerate() {
            if position > 0 {
                f.write_str(".")?;
            }
            write!(f, "{name}[{index}]")?;
        }
        Ok(())
    }
}

/// Checks the bytes, and that decoded they take at most `bytes_max`.
pub(super) fn check(bytes: &[u8], message: Message, bytes_max: usize) -> Result<(), WireError> {
    let mut budget = Budget { left: bytes_max, bytes_max };
    budget.charge(bytes.len())?;
    walk(bytes, message, 0, &mut budget)
}

struct Budget {
    left: usize,
    bytes_max: usize,
}

impl Budget {
    fn charge(&mut self, bytes: usize) -> Result<(), WireError> {
        self.left = self.left.checked_sub(bytes).ok_or(WireError::TooLarge { bytes_max: self.bytes_max })?;
        Ok(())
    }
}

impl Message {
    /// The message type and name of a field, where it is a message.
    const fn child(self, field: u32) -> Option<(Self, &'static str)> {
        Some(match (self, field) {
            (Self::Traces, 1) => (Self::ResourceSpans, "resource_spans"),
            (Self::Logs, 1) => (Self::ResourceLogs, "resource_logs"),
            (Self::Metrics, 1) => (Self::ResourceMetrics, "resource_metrics"),
            (Self::ResourceSpans | Self::ResourceLogs | Self::ResourceMetrics, 1) => (Self::Resource, "resource"),
            (Self::ResourceSpans, 2) => (Self::ScopeSpans, "scope_spans"),
            (Self::ResourceLogs, 2) => (Self::ScopeLogs, "scope_logs"),
            (Self::ResourceMetrics, 2) => (Self::ScopeMetrics, "scope_metrics"),
            (Self::Resource | Self::ExponentialPoint, 1)
            | (Self::Scope | Self::SpanEvent, 3)
            | (Self::SpanLink, 4)
            | (Self::LogRecord, 6)
            | (Self::NumberPoint | Self::SummaryPoint | Self::Exemplar, 7)
            | (Self::Span | Self::HistogramPoint, 9)
            | (Self::Metric, 12) => (Self::Pair, "attributes"),
            (Self::Resource, 3) => (Self::Entity, "entity_refs"),
            (Self::ScopeSpans | Self::ScopeLogs | Self::ScopeMetrics, 1) => (Self::Scope, "scope"),
            (Self::ScopeSpans, 2) => (Self::Span, "spans"),
            (Self::ScopeLogs, 2) => (Self::LogRecord, "log_records"),
            (Self::Span, 11) => (Self::SpanEvent, "events"),
            (Self::Span, 13) => (Self::SpanLink, "links"),
            (Self::Span, 15) => (Self::SpanStatus, "status"),
            (Self::LogRecord, 5) => (Self::Any, "body"),
            (Self::ScopeMetrics, 2) => (Self::Metric, "metrics"),
            (Self::Metric, 5 | 7) => (Self::Numbers, "data"),
            (Self::Metric, 9) => (Self::Histogram, "histogram"),
            (Self::Metric, 10) => (Self::ExponentialHistogram, "exponential_histogram"),
            (Self::Metric, 11) => (Self::Summary, "summary"),
            (Self::Numbers, 1) => (Self::NumberPoint, "data_points"),
            (Self::Histogram, 1) => (Self::HistogramPoint, "data_points"),
            (Self::ExponentialHistogram, 1) => (Self::ExponentialPoint, "data_points"),
            (Self::Summary, 1) => (Self::SummaryPoint, "data_points"),
            (Self::NumberPoint, 5) | (Self::HistogramPoint, 8) | (Self::ExponentialPoint, 11) => (Self::Exemplar, "exemplars"),
            (Self::ExponentialPoint, 8 | 9) => (Self::Buckets, "buckets"),
            (Self::SummaryPoint, 6) => (Self::Quantile, "quantile_values"),
            (Self::Pair, 2) => (Self::Any, "value"),
            (Self::Any, 5) => (Self::List, "array_value"),
            (Self::Any, 6) => (Self::Pairs, "kvlist_value"),
            (Self::List, 1) => (Self::Any, "values"),
            (Self::Pairs, 1) => (Self::Pair, "values"),
            _ => return None,
        })
    }

    /// What one takes in memory, the event that comes of it included.
    const fn cost(self) -> usize {
        match self {
            Self::Traces => size_of::<ExportTraceServiceRequest>(),
            Self::Logs => size_of::<ExportLogsServiceRequest>(),
            Self::Metrics => size_of::<ExportMetricsServiceRequest>(),
            Self::ResourceMetrics => size_of::<ResourceMetrics>(),
            Self::ScopeMetrics => size_of::<ScopeMetrics>(),
            Self::Metric => size_of::<Metric>(),
            // Part of their metric.
            Self::Numbers | Self::Histogram | Self::ExponentialHistogram | Self::Summary => 0,
            Self::NumberPoint => size_of::<NumberDataPoint>() + size_of::<RawEvent>(),
            Self::HistogramPoint => size_of::<HistogramDataPoint>() + size_of::<RawEvent>(),
            Self::ExponentialPoint => size_of::<ExponentialHistogramDataPoint>() + size_of::<RawEvent>(),
            Self::SummaryPoint => size_of::<SummaryDataPoint>() + size_of::<RawEvent>(),
            Self::Buckets => size_of::<exponential_histogram_data_point::Buckets>(),
            Self::Quantile => size_of::<summary_data_point::ValueAtQuantile>(),
            Self::Exemplar => size_of::<Exemplar>(),
            Self::ResourceSpans => size_of::<ResourceSpans>(),
            Self::ResourceLogs => size_of::<ResourceLogs>(),
            Self::Resource => size_of::<Resource>(),
            Self::Entity => size_of::<EntityRef>(),
            Self::ScopeSpans => size_of::<ScopeSpans>(),
            Self::ScopeLogs => size_of::<ScopeLogs>(),
            Self::Scope => size_of::<InstrumentationScope>(),
            Self::Span => size_of::<Span>() + size_of::<RawEvent>(),
            Self::SpanEvent => size_of::<span::Event>(),
            Self::SpanLink => size_of::<span::Link>(),
            Self::SpanStatus => size_of::<Status>(),
            Self::LogRecord => size_of::<LogRecord>() + size_of::<RawEvent>(),
            Self::Pair => size_of::<KeyValue>(),
            Self::Any => size_of::<AnyValue>(),
            Self::List => size_of::<ArrayValue>(),
            Self::Pairs => size_of::<KeyValueList>(),
        }
    }
}

/// A field as it stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field<'b> {
    pub(super) number: u32,
    is_delimited: bool,
    /// What it holds, without tag and length; empty for a variable-length number.
    pub(super) content: &'b [u8],
    /// All of it.
    pub(super) whole: &'b [u8],
}

impl Field<'_> {
    /// The message type that it holds as a field of `parent`.
    pub(super) fn message_of(&self, parent: Message) -> Option<Message> {
        self.child_of(parent).map(|(message, _)| message)
    }

    fn child_of(&self, parent: Message) -> Option<(Message, &'static str)> {
        if self.is_delimited { parent.child(self.number) } else { None }
    }
}

/// Takes the next field off the bytes, which are not empty. The error says what is wrong with it.
pub(super) fn next_field<'b>(bytes: &mut &'b [u8]) -> Result<Field<'b>, &'static str> {
    let begin = *bytes;
    let tag = varint(bytes).ok_or("a field's tag is cut short or too long")?;
    let number = u32::try_from(tag >> 3).unwrap_or(0);
    if number == 0 {
        return Err("a field has the number 0 or one out of range");
    }
    let length = match tag & 7 {
        0 => {
            varint(bytes).ok_or("a number is cut short or too long")?;
            0
        }
        1 => 8,
        2 => usize::try_from(varint(bytes).ok_or("a length is cut short or too long")?).unwrap_or(usize::MAX),
        5 => 4,
        _ => return Err("a field has an unknown wire type"),
    };
    let content = bytes.get(..length).ok_or("a field is longer than its message")?;
    *bytes = &bytes[length..];
    Ok(Field { number, is_delimited: tag & 7 == 2, content, whole: &begin[..begin.len() - bytes.len()] })
}

fn walk(mut bytes: &[u8], message: Message, depth: usize, budget: &mut Budget) -> Result<(), WireError> {
    let malformed = |problem| WireError::Malformed { path: Path::default(), problem };
    budget.charge(message.cost())?;
    if message == Message::Buckets {
        // A count of one byte on the wire is a number of eight.
        budget.charge(bytes.len().saturating_mul(size_of::<u64>()))?;
    }
    let mut index = 0;
    while !bytes.is_empty() {
        let field = next_field(&mut bytes).map_err(malformed)?;
        if let Some((child, name)) = field.child_of(message) {
            if depth >= DEPTH_MAX {
                return Err(malformed("messages are nested too deep (at most 100)"));
            }
            walk(field.content, child, depth + 1, budget).map_err(|mut error| {
                if let WireError::Malformed { path, .. } = &mut error {
                    path.0.push((name, index));
                }
                error
            })?;
            index += 1;
        }
    }
    Ok(())
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for (position, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            *bytes = &bytes[position + 1..];
            // The tenth byte holds one bit.
            return (position < 9 || *byte <= 1).then_some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn what_prost_decodes_passes_and_what_breaks_names_its_place() {
        let span = Span { name: "chat".to_owned(), end_time_unix_nano: 7, ..Span::default() };
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                scope_spans: vec![ScopeSpans { spans: vec![span; 3], ..ScopeSpans::default() }],
                ..ResourceSpans::default()
            }],
        };
        let bytes = request.encode_to_vec();
        check(&bytes, Message::Traces, 1 << 20).unwrap();
        assert_eq!(check(&bytes, Message::Traces, 1000), Err(WireError::TooLarge { bytes_max: 1000 }));

        let mut broken = bytes.clone();
        // The last span's end time becomes a text that is longer than the span.
        let last = broken.len() - 9;
        (broken[last], broken[last + 1]) = (0x3a, 0x7f);
        let error = check(&broken, Message::Traces, 1 << 20).unwrap_err().to_string();
        assert!(error.contains("resource_spans[0].scope_spans[0].spans[2]"), "{error}");
    }

    #[test]
    fn a_small_body_of_empty_spans_is_too_large() {
        // 1 MiB of `spans: {}` is half a million spans.
        let spans = [0x12, 0x00].repeat(1 << 19);
        let mut scope = vec![0x12];
        prost::encode_length_delimiter(spans.len(), &mut scope).unwrap();
        scope.extend(spans);
        let mut resource = vec![0x0a];
        prost::encode_length_delimiter(scope.len(), &mut resource).unwrap();
        resource.extend(scope);
        assert!(matches!(check(&resource, Message::Traces, 256 << 20), Err(WireError::TooLarge { .. })));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_get_an_answer_and_it_agrees_with_prost(bytes: Vec<u8>) {
            let checked = check(&bytes, Message::Traces, 1 << 20);
            if ExportTraceServiceRequest::decode(&*bytes).is_ok() {
                // Groups, which nobody sends, are all that prost skips and this does not.
                let has_groups = bytes.iter().any(|byte| matches!(byte & 7, 3 | 4));
                proptest::prop_assert!(checked.is_ok() || has_groups, "{checked:?}");
            }
        }
    }
}
