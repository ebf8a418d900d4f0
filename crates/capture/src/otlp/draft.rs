//! An event as it is read: attributes and content on their way to their places.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry as MapEntry;

use event::limits::ATTRIBUTES_MAX;
use event::{
    Attributes, EventId, Identity, Key, Kind, Part, Phase, Principal, Source, SourcePath, SpanId, Status, Timestamp, Trace,
    TraceId, Value, attr,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::span;
use serde_json::value::RawValue;

use super::content::Found;
use super::decode::{NAME_BYTES_MAX, ResourceFacts, ScopeFacts, clip};
use super::dialect::{Action, CompiledRule, Dialect, Entry, selector_text, type_of};
use super::pieces::Pieces;
use super::place::{Slots, place, typed};
use super::table::Slot;
use super::value::{self, Losses};
use crate::bound::bound;
use crate::{Raw, RawEvent};

/// Most span events of one span that are kept; the SDKs stop at 128.
pub(super) const SPAN_EVENTS_MAX: usize = 128;

/// Most links of one span that are kept; the SDKs stop at 128.
const SPAN_LINKS_MAX: usize = 128;

/// What a span or log record says of itself outside of its attributes.
pub(super) struct Said {
    pub(super) id: EventId,
    pub(super) name: String,
    pub(super) time: Timestamp,
    pub(super) observed: Timestamp,
    pub(super) trace: Option<Trace>,
}

/// An event as it is read.
pub(super) struct Draft<'d> {
    dialect: Option<&'d Dialect>,
    rule: Option<&'d CompiledRule>,
    kind: Kind,
    phase: Phase,
    attributes: Attributes<Raw>,
    unmapped: BTreeMap<Raw, Value<Raw>>,
    unmapped_count: u64,
    slots: Slots,
    pieces: Pieces,
    pub(super) losses: Losses,
    pub(super) status: Status,
}

impl<'d> Draft<'d> {
    pub(super) fn new(dialect: Option<&'d Dialect>, resource: &ResourceFacts) -> Self {
        let mut draft = Self {
            dialect,
            rule: None,
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
    pub(super) fn read(
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
        let mut attributes = attributes;
        if dialect.table.texts_are_json {
            attributes.iter_mut().for_each(unquote);
        }
        let entries: Vec<Option<&'d Entry>> = attributes.iter().map(|pair| dialect.entry(&pair.key)).collect();
        let mut selected = vec![None; dialect.selectors];
        for (pair, entry) in attributes.iter().zip(&entries) {
            if let Some(selector) = entry.and_then(|entry| entry.selector)
                && pair.value.is_some()
            {
                selected[selector].get_or_insert(selector_text(pair));
            }
        }
        let rule = dialect.kind(&selected, event_name, span_name, span_kind);
        let kind = rule.map_or(dialect.kind_default(), |compiled| compiled.rule.kind);
        self.kind = kind;
        self.phase = rule.map_or(Phase::Complete, |compiled| compiled.rule.phase);
        self.rule = rule;
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
        self.json_fields(dialect);
        for (key, value) in rule.map_or(&[][..], |compiled| &compiled.set) {
            if !self.attributes.contains_key(key) {
                self.attributes.insert(key.clone(), Value::Text(value.as_str().into()));
            }
        }
        for (from, to) in rule.map_or(&[][..], |compiled| &compiled.copy) {
            if let (Some(value), None) = (self.attributes.get(from), self.attributes.get(to)) {
                self.attributes.insert(to.clone(), value.clone());
            }
        }
        for key in rule.map_or(&[][..], |compiled| &compiled.rule.aside) {
            if let Some(value) = self.attributes.remove(key.as_str()) {
                self.unmapped(key.clone(), value, false);
            }
        }
        if !found.is_empty() {
            for (key, any) in found.write(&mut self.pieces) {
                self.keep_unmapped(key, Some(any));
            }
        }
    }

    /// Sets what the source only tells inside of a JSON attribute.
    fn json_fields(&mut self, dialect: &Dialect) {
        for (from, fields) in dialect.json_fields() {
            let Some(text) = self.attributes.get(from).and_then(Value::as_text) else { continue };
            let Ok(object) = serde_json::from_str::<BTreeMap<Cow<'_, str>, &RawValue>>(text.expose()) else { continue };
            let found: Vec<(Key, Value<Raw>)> = fields
                .iter()
                .filter(|(_, key)| !self.attributes.contains_key(key))
                .filter_map(|(field, key)| {
                    let any = match serde_json::from_str(object.get(field.as_str())?.get()).ok()? {
                        serde_json::Value::String(text) => any_value::Value::StringValue(text),
                        serde_json::Value::Bool(value) => any_value::Value::BoolValue(value),
                        serde_json::Value::Number(number) => match number.as_i64() {
                            Some(whole) => any_value::Value::IntValue(whole),
                            None => any_value::Value::DoubleValue(number.as_f64()?),
                        },
                        _ => return None,
                    };
                    Some((key.clone(), typed(AnyValue { value: Some(any) }, type_of(key.as_str()), None).ok()?))
                })
                .collect();
            self.attributes.extend(found);
        }
    }

    /// Keeps aside what the span of a log record tells as well.
    pub(super) fn leave_to_span(&mut self) {
        for key in self.rule.map_or(&[][..], |compiled| &compiled.rule.left_to_span) {
            if let Some(value) = self.attributes.remove(key.as_str()) {
                self.unmapped(key.clone(), value, false);
            }
        }
    }

    /// Whether its content belongs to the event of its span.
    pub(super) fn joins_span(&self) -> bool {
        self.rule.is_some_and(|compiled| compiled.rule.joins_span)
    }

    fn keep_unmapped(&mut self, key: String, any: Option<AnyValue>) {
        if let Some(value) = any.and_then(|any| value::attribute(any, &mut self.losses)) {
            self.unmapped(key, value, true);
        }
    }

    /// Keeps what no dialect knows; `counted` tells it from what is merely kept aside.
    pub(super) fn unmapped(&mut self, key: String, value: Value<Raw>, counted: bool) {
        self.unmapped_count += u64::from(counted);
        if self.attributes.len() + self.unmapped.len() >= ATTRIBUTES_MAX {
            self.losses.items_dropped += 1;
            return;
        }
        value::insert_distinct(&mut self.unmapped, key, value, &mut self.losses);
    }

    /// Counts what is kept in another form.
    pub(super) fn count_unmapped(&mut self, more: u64) {
        self.unmapped_count = self.unmapped_count.saturating_add(more);
    }

    /// Makes it the measurement of a metric, whatever its attributes look like.
    pub(super) fn measured(&mut self) {
        self.kind = Kind::Metric;
        self.phase = Phase::Complete;
    }

    pub(super) fn set(&mut self, key: Key, value: Value<Raw>) {
        self.attributes.insert(key, value);
    }

    pub(super) fn span_events(&mut self, events: Vec<span::Event>) {
        self.losses.items_dropped += events.len().saturating_sub(SPAN_EVENTS_MAX) as u64;
        for event in events.into_iter().take(SPAN_EVENTS_MAX) {
            self.losses.items_dropped += u64::from(event.dropped_attributes_count);
            let mut fields = value::map(event.attributes, &mut self.losses, 1);
            fields.insert("@time".into(), Value::Int(i64::try_from(event.time_unix_nano).unwrap_or(i64::MAX)));
            self.unmapped(format!("span_event.{}", clip(event.name, NAME_BYTES_MAX)), Value::Map(fields), true);
        }
    }

    pub(super) fn links(&mut self, links: Vec<span::Link>) {
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
        own.or_else(|| resource.slots[slot as usize].clone()).map(|filled| filled.text.into())
    }

    /// The event. What its resource says is added where the span or log record does not say otherwise.
    pub(super) fn finish(mut self, resource: &ResourceFacts, scope: &ScopeFacts<'_>, path: SourcePath, said: Said) -> RawEvent {
        let dialect = self.dialect.map_or(NO_DIALECT, |dialect| dialect.name.clone());
        let mut source = Source::new(path, dialect);
        (source.scope, source.scope_version) = (scope.name.clone(), scope.version.clone());
        // Not `Event::new`, which draws a random id and reads the clock: two system calls for each span.
        let mut event = RawEvent {
            id: said.id,
            kind: self.kind,
            phase: self.phase,
            name: Raw::from(clip(said.name, NAME_BYTES_MAX)),
            time: said.time,
            duration_ns: None,
            observed: said.observed,
            trace: said.trace,
            session: None,
            turn: None,
            status: Status::Unset,
            identity: Identity::default(),
            source,
            attributes: BTreeMap::new(),
            unmapped: BTreeMap::new(),
            pieces: Vec::new(),
            inspection: None,
            sanitized: BTreeMap::new(),
        };

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
        event.identity.delegation = self.slot(Slot::Delegator, resource).map(Principal::asserted).into_iter().collect();
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
            learn_call_id(&mut pieces, &mut self.attributes);
            name_tool_pieces(&mut pieces, &self.attributes, if self.kind == Kind::ToolCall { failed } else { None });
        }
        if self.kind == Kind::DataAccess {
            crate::sql::tell(&pieces.pieces, &mut self.attributes);
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
        bound(&mut event);
        event
    }
}

/// The dialect of events that were read without any table.
const NO_DIALECT: Key = Key::of("none");

/// A tool span that tells its call's id only in the result: what went in belongs to the call, too. Where that is not the
/// arguments as the model wrote them (LangChain writes the one value of a tool with one parameter), it must not stand for them.
fn learn_call_id(pieces: &mut Pieces, attributes: &mut Attributes<Raw>) {
    let result = pieces.pieces.iter().find(|piece| piece.meta.part == Part::ToolResult);
    let Some(call_id) = result.and_then(|piece| piece.meta.call_id.clone()) else { return };
    if attributes.contains_key(attr::GEN_AI_TOOL_CALL_ID.as_str()) {
        return;
    }
    for piece in pieces.pieces.iter_mut().filter(|piece| piece.meta.part == Part::ToolCall) {
        if !piece.content.expose().trim_start().starts_with('{') {
            piece.meta.part = Part::Text;
        }
    }
    attributes.insert(attr::GEN_AI_TOOL_CALL_ID, Value::Text(call_id));
}

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

/// A text that is a JSON string becomes what it says.
fn unquote(pair: &mut KeyValue) {
    if let Some(AnyValue { value: Some(any_value::Value::StringValue(text)) }) = &mut pair.value
        && text.starts_with('"')
        && let Ok(plain) = serde_json::from_str(text)
    {
        *text = plain;
    }
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
