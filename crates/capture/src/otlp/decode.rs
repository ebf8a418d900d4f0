//! From OTLP spans and log records to events.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{self, SHA256};
use event::limits::ATTRIBUTES_MAX;
use event::{EventId, Key, Principal, SourcePath, SpanId, Status, Timestamp, Trace, TraceId, Value, attr};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::dialect::{Dialect, Dialects};
use super::draft::{Draft, SPAN_EVENTS_MAX, Said};
use super::place::{Slots, place};
use super::value::{self, Losses};
use crate::{Raw, RawEvent};

/// What became of a request.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The events, in the order of the request.
    pub events: Vec<RawEvent>,
    /// The place of each event in the request, from 0: that of its span, log record or metric.
    pub places: Vec<usize>,
    /// Which of the events are log records whose content belongs to the event of a span.
    pub(super) for_spans: Vec<usize>,
    /// What is no event.
    pub rejected: Vec<Rejected>,
}

/// A span, log record or metric that is not recorded. The rest of its request is (OTLP's partial success).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its place in the request, from 0.
    pub place: usize,
    /// Why.
    pub reason: &'static str,
}

/// Reads the spans of a request as events, with the dialects that ship with the product.
#[must_use]
pub fn decode_traces(request: ExportTraceServiceRequest, path: SourcePath) -> Decoded {
    Dialects::shipped().decode_traces(request, path)
}

/// Reads the log records of a request as events, with the dialects that ship with the product.
#[must_use]
pub fn decode_logs(request: ExportLogsServiceRequest, path: SourcePath) -> Decoded {
    Dialects::shipped().decode_logs(request, path)
}

impl Dialects {
    /// Reads the spans of a request as events.
    ///
    /// The id of an event is derived from everything that the span says, so that a retried export is recognised and
    /// nothing else is: a span that only borrows another one's ids has an id of its own.
    #[must_use]
    pub fn decode_traces(&self, request: ExportTraceServiceRequest, path: SourcePath) -> Decoded {
        let mut reader = Reader::new(self, path);
        for resource_spans in request.resource_spans {
            let resource = reader.resource(resource_spans.resource);
            for scope_spans in resource_spans.scope_spans {
                let scope = reader.scope(&resource, scope_spans.scope);
                for span in scope_spans.spans {
                    reader.span(&resource, &scope, span);
                }
            }
        }
        reader.decoded
    }

    /// Reads the log records of a request as events. Ids as with [`decode_traces`](Self::decode_traces).
    #[must_use]
    pub fn decode_logs(&self, request: ExportLogsServiceRequest, path: SourcePath) -> Decoded {
        let mut reader = Reader::new(self, path);
        for resource_logs in request.resource_logs {
            let resource = reader.resource(resource_logs.resource);
            for scope_logs in resource_logs.scope_logs {
                let scope = reader.scope(&resource, scope_logs.scope);
                for record in scope_logs.log_records {
                    reader.log(&resource, &scope, record);
                }
            }
        }
        reader.decoded
    }
}

/// Reads one request.
pub(super) struct Reader<'d> {
    pub(super) dialects: &'d Dialects,
    pub(super) path: SourcePath,
    pub(super) now: Timestamp,
    pub(super) decoded: Decoded,
    index: usize,
    buffer: Vec<u8>,
}

/// What all events of one resource share.
pub(super) struct ResourceFacts {
    pub(super) digest: [u8; 32],
    pub(super) service: String,
    pub(super) application: Option<Principal<Raw>>,
    pub(super) attributes: Vec<(Key, Value<Raw>)>,
    pub(super) unmapped: Vec<(String, Value<Raw>)>,
    pub(super) slots: Slots,
    pub(super) losses: Losses,
}

/// What all events of one scope share.
pub(super) struct ScopeFacts<'d> {
    pub(super) digest: [u8; 32],
    pub(super) name: Option<Raw>,
    pub(super) version: Option<Raw>,
    pub(super) dialect: Option<&'d Dialect>,
}

impl<'d> Reader<'d> {
    pub(super) fn new(dialects: &'d Dialects, path: SourcePath) -> Self {
        Self { dialects, path, now: Timestamp::now(), decoded: Decoded::default(), index: 0, buffer: Vec::with_capacity(4096) }
    }

    pub(super) fn push(&mut self, place: usize, event: RawEvent) {
        self.decoded.places.push(place);
        self.decoded.events.push(event);
    }

    pub(super) fn digest_of(&mut self, message: &impl Message, before: &[&[u8]]) -> [u8; 32] {
        self.buffer.clear();
        // Cannot fail: a vector grows.
        let _ = message.encode(&mut self.buffer);
        let mut context = digest::Context::new(&SHA256);
        before.iter().for_each(|bytes| context.update(bytes));
        context.update(&self.buffer);
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        digest
    }

    pub(super) fn resource(&mut self, resource: Option<Resource>) -> ResourceFacts {
        let resource = resource.unwrap_or_default();
        let mut facts = ResourceFacts {
            digest: self.digest_of(&resource, &[]),
            service: String::new(),
            application: None,
            attributes: Vec::new(),
            unmapped: Vec::new(),
            slots: Slots::default(),
            losses: Losses { items_dropped: u64::from(resource.dropped_attributes_count), ..Losses::default() },
        };
        let common = self.dialects.fallback();
        let mut version = None;
        for pair in resource.attributes {
            let Some(any) = pair.value.filter(|any| any.value.is_some()) else { continue };
            match (pair.key.as_str(), value::as_str(&any)) {
                ("service.name", Some(name)) if facts.application.is_none() && !name.is_empty() => {
                    facts.service = name.to_owned();
                    facts.application = Some(Principal::asserted(clip(name.to_owned(), NAME_BYTES_MAX)));
                    continue;
                }
                ("service.version", Some(text)) if version.is_none() => {
                    version = Some(clip(text.to_owned(), NAME_BYTES_MAX));
                    continue;
                }
                _ => {}
            }
            if facts.attributes.len() + facts.unmapped.len() >= ATTRIBUTES_MAX / 2 {
                facts.losses.items_dropped += 1;
                continue;
            }
            let action = common.and_then(|dialect| dialect.entry(&pair.key)).map(|entry| &entry.action);
            let Err((key, any)) =
                place(action, pair.key, any, &mut facts.slots, |key, value| facts.attributes.push((key, value)))
            else {
                continue;
            };
            if let Some(value) = value::attribute(any, &mut facts.losses) {
                facts.unmapped.push((format!("resource.{key}"), value));
            }
        }
        if let Some(application) = &mut facts.application {
            application.version = version.map(Raw::from);
        }
        facts
    }

    pub(super) fn scope(&mut self, resource: &ResourceFacts, scope: Option<InstrumentationScope>) -> ScopeFacts<'d> {
        let scope = scope.unwrap_or_default();
        let name_or_none = |name: String| (!name.is_empty()).then(|| Raw::from(clip(name, NAME_BYTES_MAX)));
        ScopeFacts {
            digest: self.digest_of(&scope, &[]),
            dialect: self.dialects.by_origin(&scope.name, &resource.service),
            name: name_or_none(scope.name),
            version: name_or_none(scope.version),
        }
    }

    fn span(&mut self, resource: &ResourceFacts, scope: &ScopeFacts<'d>, span: Span) {
        let index = self.index;
        self.index += 1;
        if span.name.is_empty() && span.attributes.is_empty() && span.trace_id.is_empty() && span.span_id.is_empty() {
            self.decoded
                .rejected
                .push(Rejected { place: index, reason: "the span is empty: no name, no trace_id, no attributes" });
            return;
        }
        let digest = self.digest_of(&span, &[b"span", &resource.digest, &scope.digest]);
        let time = if span.start_time_unix_nano == 0 { self.now } else { Timestamp::from_unix_ns(span.start_time_unix_nano) };
        // An id must not depend on when the span arrived, or a retry would be another event.
        let id = EventId::derived(Timestamp::from_unix_ns(span.start_time_unix_nano), &digest);

        let dialect =
            scope.dialect.or_else(|| self.dialects.by_content(&span.attributes, "")).or_else(|| self.dialects.fallback());
        let mut draft = Draft::new(dialect, resource);
        let mut attributes = span.attributes;
        draft.losses.items_dropped += u64::from(span.dropped_attributes_count);
        draft.losses.items_dropped += u64::from(span.dropped_events_count) + u64::from(span.dropped_links_count);
        let mut chunks = 0_u64;
        let mut span_events = Vec::new();
        let mut own = Vec::new();
        let mut listed: BTreeMap<String, u32> = BTreeMap::new();
        for mut event in span.events {
            if dialect.is_some_and(|dialect| dialect.is_own(&event.name)) {
                own.push(LogRecord {
                    time_unix_nano: event.time_unix_nano,
                    event_name: event.name,
                    attributes: event.attributes,
                    dropped_attributes_count: event.dropped_attributes_count,
                    trace_id: span.trace_id.clone(),
                    span_id: span.span_id.clone(),
                    ..LogRecord::default()
                });
            } else if dialect.is_some_and(|dialect| dialect.is_listed(&event.name)) {
                let nth = listed.entry(event.name.clone()).or_default();
                for mut pair in event.attributes {
                    if let Some(field) = pair.key.strip_prefix(&event.name) {
                        pair.key = format!("{}.{nth}{field}", event.name);
                    }
                    attributes.push(pair);
                }
                *nth += 1;
            } else if dialect.is_some_and(|dialect| dialect.is_dropped(&event.name)) {
                chunks += 1;
            } else if dialect.is_some_and(|dialect| dialect.is_inline(&event.name)) {
                attributes.append(&mut event.attributes);
            } else {
                if event.name == "exception" {
                    // Only what says how it failed; message and stack stay with the span event.
                    attributes.extend(event.attributes.iter().find(|pair| pair.key == "exception.type").cloned());
                }
                span_events.push(event);
            }
        }
        let span_kind = match span.kind {
            1 => Some("internal"),
            2 => Some("server"),
            3 => Some("client"),
            4 => Some("producer"),
            5 => Some("consumer"),
            _ => None,
        };
        draft.read(attributes, None, span_kind, &span.name, None);
        draft.span_events(span_events);
        draft.links(span.links);
        if !span.trace_state.is_empty() {
            draft.unmapped("trace_state".to_owned(), Value::Text(span.trace_state.into()), false);
        }
        if chunks > 0 {
            draft.set(attr::CHUNK_EVENTS_DROPPED, Value::Int(i64::try_from(chunks).unwrap_or(i64::MAX)));
        }
        let status = span.status.unwrap_or_default();
        draft.status = match status.code {
            1 => Status::Ok,
            2 => Status::Error,
            _ => Status::Unset,
        };
        if !status.message.is_empty() {
            draft.unmapped("status.message".to_owned(), Value::Text(status.message.into()), false);
        }
        let trace = trace(&span.trace_id, &span.span_id, &span.parent_span_id, &mut draft);

        let mut event = draft.finish(resource, scope, self.path, Said { id, name: span.name, time, observed: self.now, trace });
        event.duration_ns = (span.start_time_unix_nano != 0 && span.end_time_unix_nano >= span.start_time_unix_nano)
            .then(|| span.end_time_unix_nano - span.start_time_unix_nano);
        self.push(index, event);
        for record in own.into_iter().take(SPAN_EVENTS_MAX) {
            self.log_at(index, resource, scope, record);
        }
    }

    fn log(&mut self, resource: &ResourceFacts, scope: &ScopeFacts<'d>, record: LogRecord) {
        let index = self.index;
        self.index += 1;
        self.log_at(index, resource, scope, record);
    }

    fn log_at(&mut self, index: usize, resource: &ResourceFacts, scope: &ScopeFacts<'d>, record: LogRecord) {
        if record.body.as_ref().is_none_or(|body| body.value.is_none())
            && record.attributes.is_empty()
            && record.event_name.is_empty()
        {
            self.decoded
                .rejected
                .push(Rejected { place: index, reason: "the log record is empty: no body, no attributes, no event_name" });
            return;
        }
        let digest = self.digest_of(&record, &[b"log", &resource.digest, &scope.digest]);
        let unix_ns = if record.time_unix_nano == 0 { record.observed_time_unix_nano } else { record.time_unix_nano };
        let time = if unix_ns == 0 { self.now } else { Timestamp::from_unix_ns(unix_ns) };
        let id = EventId::derived(Timestamp::from_unix_ns(unix_ns), &digest);

        let mut attributes = record.attributes;
        let mut name = record.event_name;
        if let Some(position) = attributes.iter().position(|pair| pair.key == "event.name") {
            // The attribute is the event name before the field was there; kept only where the two differ.
            let attribute = attributes[position].value.as_ref().and_then(value::as_str).unwrap_or_default();
            if name.is_empty() && !attribute.is_empty() {
                name = attribute.to_owned();
            }
            if !attribute.is_empty() && name.ends_with(attribute) {
                attributes.swap_remove(position);
            }
        }
        let mut body = record.body.filter(|body| body.value.is_some());
        let body_text = body.as_ref().and_then(value::as_str).unwrap_or_default();
        let dialect = scope
            .dialect
            .or_else(|| self.dialects.by_content(&attributes, if name.is_empty() { body_text } else { &name }))
            .or_else(|| self.dialects.fallback());
        if let Some(dialect) = dialect {
            let bare = dialect.bare_event_name(body_text);
            if name.is_empty() && bare.len() < body_text.len() {
                name = body_text.to_owned();
            }
            if !body_text.is_empty() && bare == dialect.bare_event_name(&name) {
                // The body only repeats the name.
                body = None;
            }
        }

        let mut draft = Draft::new(dialect, resource);
        draft.losses.items_dropped += u64::from(record.dropped_attributes_count);
        let bare = dialect.map_or(name.as_str(), |dialect| dialect.bare_event_name(&name)).to_owned();
        draft.read(attributes, Some(&bare), None, "", body);
        if record.severity_number != 0 {
            draft.set(LOG_SEVERITY, Value::Int(i64::from(record.severity_number)));
        }
        if record.severity_number >= SEVERITY_ERROR {
            draft.status = Status::Error;
        }
        let trace = trace(&record.trace_id, &record.span_id, &[], &mut draft);
        if trace.is_some_and(|trace| trace.span_id.is_some()) {
            draft.leave_to_span();
        }

        let name = if name.is_empty() { "log".to_owned() } else { name };
        let joins_span = draft.joins_span() && trace.is_some_and(|trace| trace.span_id.is_some());
        let event = draft.finish(resource, scope, self.path, Said { id, name, time, observed: self.now, trace });
        if joins_span && !event.pieces.is_empty() {
            self.decoded.for_spans.push(self.decoded.events.len());
        }
        self.push(index, event);
    }
}

/// `SeverityNumber` of a log record (1 to 24), as OTel's data model numbers it.
pub(super) const LOG_SEVERITY: Key = Key::of("log.severity_number");

/// `SEVERITY_NUMBER_ERROR`.
const SEVERITY_ERROR: i32 = 17;

/// The place in a trace. Ids that are none are kept aside and counted.
fn trace(trace_id: &[u8], span_id: &[u8], parent_span_id: &[u8], draft: &mut Draft<'_>) -> Option<Trace> {
    let mut keep = |name: &str, bytes: &[u8]| {
        let hex = event::hex::encode(&bytes[..bytes.len().min(64)]);
        draft.unmapped(name.to_owned(), Value::Text(hex.into()), true);
    };
    let trace = TraceId::from_slice(trace_id);
    let span = SpanId::from_slice(span_id);
    let parent = SpanId::from_slice(parent_span_id);
    let is_given = |bytes: &[u8]| bytes.iter().any(|byte| *byte != 0);
    if trace.is_none() && is_given(trace_id) {
        keep("invalid.trace_id", trace_id);
    }
    if (span.is_none() || trace.is_none()) && is_given(span_id) {
        keep("invalid.span_id", span_id);
    }
    if (parent.is_none() || trace.is_none()) && is_given(parent_span_id) {
        keep("invalid.parent_span_id", parent_span_id);
    }
    Some(Trace { trace_id: trace?, span_id: span, parent_span_id: parent })
}

/// Longest name of a span, log event or scope that is kept.
pub(super) const NAME_BYTES_MAX: usize = 4 * 1024;

/// The text, cut at a character boundary.
pub(super) fn clip(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}
