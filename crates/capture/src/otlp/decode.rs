//! From OTLP spans and log records to events.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as MapEntry;

use aws_lc_rs::digest::{self, SHA256};
use event::limits::ATTRIBUTES_MAX;
use event::{
    Attributes, EventId, Key, Kind, Part, Phase, Principal, Source, SourcePath, SpanId, Status, Timestamp, Trace, TraceId, Value,
    attr,
};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{Span, span};
use prost::Message;

use super::content::Found;
use super::dialect::{Action, Dialect, Dialects, Entry, Slot, Type, selector_text};
use super::messages::Pieces;
use super::value::{self, Losses};
use crate::{Raw, RawEvent};

/// Most span events of one span that are kept; the SDKs stop at 128.
const SPAN_EVENTS_MAX: usize = 128;

/// Most links of one span that are kept; the SDKs stop at 128.
const SPAN_LINKS_MAX: usize = 128;

/// Longest id of a user, session, turn or agent. What is longer is kept as unmapped: it is no id.
const ID_BYTES_MAX: usize = 1024;

/// Longest text of a canonical attribute. What is longer is kept as unmapped: it is no model name, no status, no URL.
const ATTRIBUTE_BYTES_MAX: usize = 64 * 1024;

/// Longest name of a span, log event or scope that is kept.
const NAME_BYTES_MAX: usize = 4 * 1024;

/// What became of a request.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The events, in the order of the request.
    pub events: Vec<RawEvent>,
    /// What is no event.
    pub rejected: Vec<Rejected>,
}

/// A span or log record that is not recorded. The rest of its request is (OTLP's partial success).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its place in the request, from 0.
    pub span: usize,
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

struct Reader<'d> {
    dialects: &'d Dialects,
    path: SourcePath,
    now: Timestamp,
    decoded: Decoded,
    index: usize,
    buffer: Vec<u8>,
}

/// What all events of one resource share.
struct ResourceFacts {
    digest: [u8; 32],
    service: String,
    application: Option<Principal<Raw>>,
    attributes: Vec<(Key, Value<Raw>)>,
    unmapped: Vec<(String, Value<Raw>)>,
    slots: Slots,
    losses: Losses,
}

/// What all events of one scope share.
struct ScopeFacts<'d> {
    digest: [u8; 32],
    name: Option<Raw>,
    version: Option<Raw>,
    dialect: Option<&'d Dialect>,
}

/// The fields of an event that come from attributes, each with the rank of the key that it came from.
type Slots = [Option<(usize, String)>; Slot::COUNT];

impl<'d> Reader<'d> {
    fn new(dialects: &'d Dialects, path: SourcePath) -> Self {
        Self { dialects, path, now: Timestamp::now(), decoded: Decoded::default(), index: 0, buffer: Vec::with_capacity(4096) }
    }

    fn digest_of(&mut self, message: &impl Message, before: &[&[u8]]) -> [u8; 32] {
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

    fn resource(&mut self, resource: Option<Resource>) -> ResourceFacts {
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

    fn scope(&mut self, resource: &ResourceFacts, scope: Option<InstrumentationScope>) -> ScopeFacts<'d> {
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
                .push(Rejected { span: index, reason: "the span is empty: no name, no trace_id, no attributes" });
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
        for mut event in span.events {
            if dialect.is_some_and(|dialect| dialect.is_dropped(&event.name)) {
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

        let mut event = draft.finish(resource, scope, self.path, span.name);
        event.id = id;
        event.time = time;
        event.observed = self.now;
        event.trace = trace;
        event.duration_ns = (span.start_time_unix_nano != 0 && span.end_time_unix_nano >= span.start_time_unix_nano)
            .then(|| span.end_time_unix_nano - span.start_time_unix_nano);
        self.decoded.events.push(event);
    }

    fn log(&mut self, resource: &ResourceFacts, scope: &ScopeFacts<'d>, record: LogRecord) {
        let index = self.index;
        self.index += 1;
        if record.body.as_ref().is_none_or(|body| body.value.is_none())
            && record.attributes.is_empty()
            && record.event_name.is_empty()
        {
            self.decoded
                .rejected
                .push(Rejected { span: index, reason: "the log record is empty: no body, no attributes, no event_name" });
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

        let name = if name.is_empty() { "log".to_owned() } else { name };
        let mut event = draft.finish(resource, scope, self.path, name);
        event.id = id;
        event.time = time;
        event.observed = self.now;
        event.trace = trace;
        self.decoded.events.push(event);
    }
}

/// `SeverityNumber` of a log record (1 to 24), as OTel's data model numbers it.
const LOG_SEVERITY: Key = Key::of("log.severity_number");

/// `SEVERITY_NUMBER_ERROR`.
const SEVERITY_ERROR: i32 = 17;

/// An event as it is read.
struct Draft<'d> {
    dialect: Option<&'d Dialect>,
    kind: Kind,
    phase: Phase,
    attributes: Attributes<Raw>,
    unmapped: BTreeMap<Raw, Value<Raw>>,
    unmapped_count: u64,
    slots: Slots,
    pieces: Pieces,
    losses: Losses,
    status: Status,
}

impl<'d> Draft<'d> {
    fn new(dialect: Option<&'d Dialect>, resource: &ResourceFacts) -> Self {
        let mut draft = Self {
            dialect,
            kind: Kind::AgentStep,
            phase: Phase::Complete,
            attributes: Attributes::new(),
            unmapped: BTreeMap::new(),
            unmapped_count: 0,
            slots: Slots::default(),
            pieces: Pieces::default(),
            losses: resource.losses,
            status: Status::Unset,
        };
        for (key, value) in &resource.unmapped {
            draft.unmapped(key.clone(), value.clone(), true);
        }
        draft
    }

    /// Reads the attributes and the body: first the kind, then where each goes.
    fn read(
        &mut self,
        attributes: Vec<KeyValue>,
        event_name: Option<&str>,
        span_kind: Option<&str>,
        span_name: &str,
        body: Option<AnyValue>,
    ) {
        let Some(dialect) = self.dialect else {
            for pair in attributes {
                self.keep_unmapped(pair.key, pair.value);
            }
            self.keep_unmapped("body".to_owned(), body);
            return;
        };
        let entries: Vec<Option<&'d Entry>> = attributes.iter().map(|pair| dialect.entry(&pair.key)).collect();
        let mut selected = vec![None; dialect.selectors];
        for (pair, entry) in attributes.iter().zip(&entries) {
            if let Some(selector) = entry.and_then(|entry| entry.selector)
                && pair.value.is_some()
            {
                selected[selector].get_or_insert(selector_text(pair));
            }
        }
        let (kind, phase, set) = dialect.kind(&selected, event_name, span_name, span_kind);
        (self.kind, self.phase) = (kind, phase);
        drop(selected);

        let mut found = Found::default();
        let with_body =
            body.map(|body| (KeyValue { key: "body".to_owned(), value: Some(body), key_strindex: 0 }, dialect.body.as_ref()));
        for (pair, entry) in attributes.into_iter().zip(entries).chain(with_body) {
            let Some(any) = pair.value.filter(|any| any.value.is_some()) else { continue };
            let action = entry.map(|entry| &entry.action);
            if let Some(Action::Content(rules)) = action
                && let Some((order, rule)) = dialect.content_rule(rules, kind, event_name)
            {
                if let Err((key, any)) = found.add(order, rule, pair.key, any) {
                    self.keep_unmapped(key, Some(any));
                }
                continue;
            }
            let attributes = &mut self.attributes;
            let mut beside = None;
            let placed = place(action, pair.key, any, &mut self.slots, |key, value| match attributes.entry(key) {
                MapEntry::Vacant(place) => drop(place.insert(value)),
                // Two keys of the source mean the same: where they differ, both are kept.
                MapEntry::Occupied(place) if *place.get() != value => beside = Some((place.key().to_string(), value)),
                MapEntry::Occupied(_) => {}
            });
            if let Err((key, any)) = placed {
                self.keep_unmapped(key, Some(any));
            }
            if let Some((key, value)) = beside {
                self.unmapped(key, value, true);
            }
        }
        for (key, value) in set {
            if !self.attributes.contains_key(key) {
                self.attributes.insert(key.clone(), Value::Text(value.as_str().into()));
            }
        }
        if !found.is_empty() {
            for (key, any) in found.write(&mut self.pieces) {
                self.keep_unmapped(key, Some(any));
            }
        }
    }

    fn keep_unmapped(&mut self, key: String, any: Option<AnyValue>) {
        if let Some(value) = any.and_then(|any| value::attribute(any, &mut self.losses)) {
            self.unmapped(key, value, true);
        }
    }

    /// Keeps what no dialect knows; `counted` tells it from what is merely kept aside.
    fn unmapped(&mut self, key: String, value: Value<Raw>, counted: bool) {
        self.unmapped_count += u64::from(counted);
        if self.attributes.len() + self.unmapped.len() >= ATTRIBUTES_MAX {
            self.losses.items_dropped += 1;
            return;
        }
        value::insert_distinct(&mut self.unmapped, key, value, &mut self.losses);
    }

    fn set(&mut self, key: Key, value: Value<Raw>) {
        self.attributes.insert(key, value);
    }

    fn span_events(&mut self, events: Vec<span::Event>) {
        self.losses.items_dropped += events.len().saturating_sub(SPAN_EVENTS_MAX) as u64;
        for event in events.into_iter().take(SPAN_EVENTS_MAX) {
            self.losses.items_dropped += u64::from(event.dropped_attributes_count);
            let mut fields = value::map(event.attributes, &mut self.losses, 1);
            fields.insert("@time".into(), Value::Int(i64::try_from(event.time_unix_nano).unwrap_or(i64::MAX)));
            self.unmapped(format!("span_event.{}", clip(event.name, NAME_BYTES_MAX)), Value::Map(fields), true);
        }
    }

    fn links(&mut self, links: Vec<span::Link>) {
        if links.is_empty() {
            return;
        }
        self.losses.items_dropped += links.len().saturating_sub(SPAN_LINKS_MAX) as u64;
        let list = links
            .into_iter()
            .take(SPAN_LINKS_MAX)
            .filter_map(|link| {
                let (trace, span) = (TraceId::from_slice(&link.trace_id)?, SpanId::from_slice(&link.span_id)?);
                let mut fields = value::map(link.attributes, &mut self.losses, 1);
                fields.insert("@span".into(), Value::Text(format!("{trace}:{span}").into()));
                Some(Value::Map(fields))
            })
            .collect();
        self.unmapped("span.links".to_owned(), Value::List(list), true);
    }

    fn slot(&mut self, slot: Slot, resource: &ResourceFacts) -> Option<Raw> {
        let own = self.slots[slot as usize].take();
        own.or_else(|| resource.slots[slot as usize].clone()).map(|(_, text)| text.into())
    }

    fn finish(mut self, resource: &ResourceFacts, scope: &ScopeFacts<'_>, path: SourcePath, name: String) -> RawEvent {
        let dialect = self.dialect.map_or(NO_DIALECT, |dialect| dialect.name.clone());
        let mut source = Source::new(path, dialect);
        (source.scope, source.scope_version) = (scope.name.clone(), scope.version.clone());
        let mut event = RawEvent::new(self.kind, Raw::from(clip(name, NAME_BYTES_MAX)), source);
        event.phase = self.phase;

        event.session = self.slot(Slot::Session, resource);
        event.turn = self.slot(Slot::Turn, resource);
        event.identity.application.clone_from(&resource.application);
        event.identity.user = self.slot(Slot::User, resource).map(Principal::asserted);
        let user_name = self.slot(Slot::UserName, resource);
        match (&mut event.identity.user, user_name) {
            (Some(user), name) => user.name = name,
            (None, Some(name)) => event.identity.user = Some(Principal::asserted(name)),
            (None, None) => {}
        }
        let (agent, agent_name) = (self.slot(Slot::Agent, resource), self.slot(Slot::AgentName, resource));
        let agent_version = self.slot(Slot::AgentVersion, resource);
        event.identity.agent = match (agent, agent_name) {
            (Some(id), name) => Some(Principal { name, version: agent_version, ..Principal::asserted(id) }),
            (None, Some(name)) => Some(Principal { version: agent_version, ..Principal::asserted(name) }),
            (None, None) if self.dialect.is_some_and(Dialect::agent_is_service) => resource.application.clone(),
            (None, None) => None,
        };
        let (address, user_agent) = (self.slot(Slot::ClientAddress, resource), self.slot(Slot::UserAgent, resource));
        if address.is_some() || user_agent.is_some() {
            event.identity.client = Some(event::Client { address, user_agent });
        }
        event.duration_ns = self
            .slot(Slot::DurationMs, resource)
            .and_then(|text| text.expose().parse::<f64>().ok())
            .filter(|ms| ms.is_finite() && *ms >= 0.0)
            // Saturates: a duration is at most u64::MAX nanoseconds, 584 years.
            .map(|ms| (ms * 1e6) as u64);

        if let Some(Value::Text(url)) = self.attributes.get_mut(attr::URL_FULL.as_str()) {
            *url = without_userinfo(url.expose()).into();
        }
        let outcome = self.attributes.get(attr::EVENT_OUTCOME.as_str()).and_then(Value::as_text).map(Raw::expose);
        let failed = match (self.status, outcome) {
            (Status::Error, _) | (_, Some("failure")) => Some(true),
            (Status::Ok, _) | (_, Some("success")) => Some(false),
            _ => None,
        };
        event.status = match failed {
            Some(true) => Status::Error,
            Some(false) => Status::Ok,
            None if self.attributes.contains_key(attr::ERROR_TYPE.as_str()) => Status::Error,
            None => Status::Unset,
        };

        let mut pieces = self.pieces.finish();
        if matches!(self.kind, Kind::ToolCall | Kind::Guardrail) {
            name_tool_pieces(&mut pieces, &self.attributes, if self.kind == Kind::ToolCall { failed } else { None });
        }
        if !pieces.finish_reasons.is_empty() && !self.attributes.contains_key(attr::GEN_AI_RESPONSE_FINISH_REASONS.as_str()) {
            let reasons = pieces.finish_reasons.drain(..).map(|reason| Value::Text(reason.into())).collect();
            self.attributes.insert(attr::GEN_AI_RESPONSE_FINISH_REASONS, Value::List(reasons));
        }
        let lost = |mine: u64, theirs: u64| i64::try_from(mine.saturating_add(theirs)).unwrap_or(i64::MAX);
        for (key, count) in [
            (attr::CONTENT_BYTES_CUT, lost(self.losses.bytes_cut, pieces.losses.bytes_cut)),
            (attr::ITEMS_DROPPED, lost(self.losses.items_dropped, pieces.losses.items_dropped)),
            (attr::DUPLICATES_DROPPED, lost(self.losses.duplicates_dropped, pieces.losses.duplicates_dropped)),
            (attr::UNMAPPED_COUNT, lost(self.unmapped_count, 0)),
        ] {
            if count > 0 {
                self.attributes.insert(key, Value::Int(count));
            }
        }
        for (key, value) in &resource.attributes {
            if !self.attributes.contains_key(key) {
                self.attributes.insert(key.clone(), value.clone());
            }
        }
        event.attributes = self.attributes;
        event.unmapped = self.unmapped;
        event.pieces = pieces.pieces;
        event
    }
}

/// The dialect of events that were read without any table.
const NO_DIALECT: Key = Key::of("none");

/// A tool span tells the tool's name and the call's id once, for all of its pieces.
fn name_tool_pieces(pieces: &mut Pieces, attributes: &Attributes<Raw>, failed: Option<bool>) {
    let text = |key: Key| attributes.get(&key).and_then(Value::as_text).cloned();
    let (tool, call) = (text(attr::GEN_AI_TOOL_NAME), text(attr::GEN_AI_TOOL_CALL_ID));
    for piece in pieces.pieces.iter_mut().filter(|piece| matches!(piece.meta.part, Part::ToolCall | Part::ToolResult)) {
        piece.meta.name = piece.meta.name.take().or_else(|| tool.clone());
        piece.meta.call_id = piece.meta.call_id.take().or_else(|| call.clone());
        if piece.meta.part == Part::ToolResult {
            piece.meta.failed = piece.meta.failed.or(failed);
        }
    }
}

/// Puts an attribute where its entry says, or gives it back: nothing is known of it, its value is not of its type, or
/// its place is taken.
fn place(
    action: Option<&Action>,
    key: String,
    any: AnyValue,
    slots: &mut Slots,
    mut set: impl FnMut(Key, Value<Raw>),
) -> Result<(), (String, AnyValue)> {
    let is_long = value::as_str(&any).is_some_and(|text| text.len() > ATTRIBUTE_BYTES_MAX);
    match action {
        Some(Action::Attribute { .. }) if is_long => Err((key, any)),
        Some(Action::Attribute { key: canonical, ty, values }) => match typed(any, *ty, values.as_ref()) {
            Ok(value) => {
                set(canonical.clone(), value);
                Ok(())
            }
            Err(any) => Err((key, any)),
        },
        Some(Action::Slot(slot, rank)) => {
            let text = match scalar_text(&any) {
                Some(text) if !text.is_empty() && text.len() <= ID_BYTES_MAX => text,
                _ => return Err((key, any)),
            };
            match &mut slots[*slot as usize] {
                Some((taken, _)) if *taken <= *rank => Err((key, any)),
                place => {
                    *place = Some((*rank, text));
                    Ok(())
                }
            }
        }
        _ => Err((key, any)),
    }
}

/// The value as its canonical key has it; `Err` gives it back.
fn typed(any: AnyValue, ty: Type, values: Option<&std::collections::HashMap<String, String>>) -> Result<Value<Raw>, AnyValue> {
    use any_value::Value as Any;
    if let Some(values) = values
        && let Some(translated) = scalar_text(&any).and_then(|text| values.get(&text))
    {
        return Ok(Value::Text(translated.as_str().into()));
    }
    let AnyValue { value: Some(value) } = any else { return Err(any) };
    let result = match (ty, value) {
        (Type::Any, value) => {
            return value::attribute(AnyValue { value: Some(value) }, &mut Losses::default()).ok_or_else(AnyValue::default);
        }
        (Type::Text, Any::StringValue(text)) => Ok(Value::Text(text.into())),
        (Type::Text, value @ (Any::IntValue(_) | Any::BoolValue(_) | Any::DoubleValue(_))) => {
            Ok(Value::Text(value::json(&value).into()))
        }
        (Type::Count, Any::IntValue(number)) if number >= 0 => Ok(Value::Int(number)),
        (Type::Count, Any::DoubleValue(number)) if number >= 0.0 && number.fract() == 0.0 && number < COUNT_EXACT_MAX => {
            Ok(Value::Int(number as i64))
        }
        (Type::Count, Any::StringValue(text)) => match text.parse() {
            Ok(number) if number >= 0_i64 => Ok(Value::Int(number)),
            _ => Err(Any::StringValue(text)),
        },
        (Type::Number, Any::IntValue(number)) => Ok(Value::Int(number)),
        (Type::Number, Any::DoubleValue(number)) if number.is_finite() => Ok(Value::Double(number)),
        (Type::Number, Any::StringValue(text)) => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::Double(number)),
            _ => Err(Any::StringValue(text)),
        },
        (Type::Bool, Any::BoolValue(value)) => Ok(Value::Bool(value)),
        (Type::Bool, Any::StringValue(text)) => match text.as_str() {
            "true" | "True" => Ok(Value::Bool(true)),
            "false" | "False" => Ok(Value::Bool(false)),
            _ => Err(Any::StringValue(text)),
        },
        (Type::Texts, Any::StringValue(text)) => Ok(Value::List(vec![Value::Text(text.into())])),
        (Type::Texts, Any::ArrayValue(list)) => {
            if list.values.iter().all(|any| value::as_str(any).is_some()) {
                Ok(Value::List(list.values.into_iter().map(|any| Value::Text(value::text(any).into())).collect()))
            } else {
                Err(Any::ArrayValue(list))
            }
        }
        (_, value) => Err(value),
    };
    result.map_err(|value| AnyValue { value: Some(value) })
}

/// From here on a double does not hold every whole number.
const COUNT_EXACT_MAX: f64 = 9_007_199_254_740_992.0;

fn scalar_text(any: &AnyValue) -> Option<String> {
    match any.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text.clone()),
        value @ (any_value::Value::IntValue(_) | any_value::Value::BoolValue(_) | any_value::Value::DoubleValue(_)) => {
            Some(value::json(value))
        }
        _ => None,
    }
}

/// The place in a trace. Ids that are none are kept aside and counted.
fn trace(trace_id: &[u8], span_id: &[u8], parent_span_id: &[u8], draft: &mut Draft<'_>) -> Option<Trace> {
    let mut keep = |name: &str, bytes: &[u8]| {
        let hex: String = bytes.iter().take(64).map(|byte| format!("{byte:02x}")).collect();
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

fn clip(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}

/// The URL without `user:password@`.
fn without_userinfo(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..authority_end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}
