//! What the proxy records, on its way to the server.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use capture::mcp::{Compared, Listing, OnDrift, Pins, remote};
use capture::{Raw, RawEvent, Receipt, RecordError, Recorder};
use client::{Client, Message, Party, Source};
use event::{Principal, Value};
use serde_json::{Map, Number};

/// How long the server may take to compare definitions.
const COMPARE_TIME_MAX: Duration = Duration::from_secs(10);

/// For how long nobody waits for a server that was away, where messages may pass unrecorded. What is sent meanwhile is kept by the
/// client, which delivers it as soon as the server is back.
const AWAY_TIME: Duration = Duration::from_secs(5);

/// Reports to a server.
pub(super) struct Report {
    client: Client,
    fails_open: bool,
    away_until: Mutex<Option<Instant>>,
}

impl Report {
    pub(super) fn new(client: Client, fails_open: bool) -> Self {
        Self { client, fails_open, away_until: Mutex::new(None) }
    }

    fn is_away(&self) -> bool {
        let until = self.away_until.lock().unwrap_or_else(PoisonError::into_inner);
        self.fails_open && until.is_some_and(|until| Instant::now() < until)
    }

    fn note(&self, error: &client::RecordError) {
        if matches!(error, client::RecordError::Unreachable(_) | client::RecordError::Deadline) {
            *self.away_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + AWAY_TIME);
        }
    }

    async fn send(&self, events: Vec<RawEvent>) -> Result<Vec<Receipt>, RecordError> {
        let away = self.is_away();
        let mut receipts = Vec::with_capacity(events.len());
        for event in &events {
            if away {
                drop(self.client.submit(outgoing(event)));
                continue;
            }
            match self.client.record(outgoing(event)).await {
                Ok(client::Receipt { event_id, position, duplicate }) => receipts.push(Receipt { event_id, position, duplicate }),
                Err(error) => {
                    self.note(&error);
                    return Err(stopped(&error));
                }
            }
        }
        if away { Err(RecordError::Unavailable { reason: "the server is away".to_owned() }) } else { Ok(receipts) }
    }
}

impl Recorder for Report {
    fn record(&self, events: Vec<RawEvent>) -> Pin<Box<dyn Future<Output = Result<Vec<Receipt>, RecordError>> + Send + '_>> {
        Box::pin(self.send(events))
    }
}

impl Pins for Report {
    fn compare(
        &self,
        listing: Listing,
        on_drift: OnDrift,
    ) -> Pin<Box<dyn Future<Output = Result<Compared, RecordError>> + Send + '_>> {
        Box::pin(async move {
            if self.is_away() {
                return Err(RecordError::Unavailable { reason: "the server is away".to_owned() });
            }
            let template = serde_json::to_string(&outgoing(&listing.template)).map_err(|error| failed(&error))?;
            let body = remote::encode(&listing, on_drift, &template).map_err(|error| failed(&error))?;
            let answer = self.client.ask("/v1/mcp/tools", body, COMPARE_TIME_MAX).await.map_err(|error| {
                self.note(&error);
                stopped(&error)
            })?;
            remote::read_answer(&answer).map_err(|error| failed(&error))
        })
    }
}

fn stopped(error: &client::RecordError) -> RecordError {
    match error {
        client::RecordError::TooLarge => RecordError::TooLarge { bytes: 0, bytes_max: 0 },
        other => failed(other),
    }
}

fn failed(error: &dyn std::fmt::Display) -> RecordError {
    RecordError::Unavailable { reason: error.to_string() }
}

/// An event as the API takes it.
fn outgoing(event: &RawEvent) -> client::Event {
    let mut out = client::Event::of(event.kind)
        .at(event.time)
        .phase(event.phase)
        .name(event.name.expose())
        .source(Source::new(event.source.path, event.source.dialect.as_str()))
        .status(event.status);
    if let Some(session) = &event.session {
        out = out.session(session.expose());
    }
    if let Some(user) = &event.identity.user {
        out = out.user(party(user));
    }
    if let Some(application) = &event.identity.application {
        out = out.application(party(application));
    }
    if let Some(agent) = &event.identity.agent {
        out = out.agent(party(agent));
    }
    if let Some(trace) = event.trace {
        out = out.trace(trace.trace_id, trace.span_id, trace.parent_span_id);
    }
    if let Some(nanoseconds) = event.duration_ns {
        out = out.duration(Duration::from_nanos(nanoseconds));
    }
    for (key, value) in &event.attributes {
        out = out.attribute(key.as_str(), json(value));
    }
    for (key, value) in &event.unmapped {
        out = out.attribute(key.expose(), json(value));
    }
    for piece in &event.pieces {
        let meta = &piece.meta;
        let mut message =
            Message::new(meta.role, piece.content.expose()).direction(meta.direction).part(meta.part).place(meta.message);
        if meta.history {
            message = message.history();
        }
        if let Some(name) = &meta.name {
            message = message.name(name.expose());
        }
        if let Some(id) = &meta.call_id {
            message = message.call_id(id.expose());
        }
        if let Some(failed) = meta.failed {
            message = message.failed(failed);
        }
        out = out.message(message);
    }
    out
}

fn party(principal: &Principal<Raw>) -> Party {
    let mut party = Party::from(principal.id.expose());
    if let Some(version) = &principal.version {
        party = party.version(version.expose());
    }
    party
}

fn json(value: &Value<Raw>) -> serde_json::Value {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::Double(value) => Number::from_f64(*value).map_or(serde_json::Value::Null, serde_json::Value::Number),
        Value::Text(text) => text.expose().into(),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| (key.expose().to_owned(), json(value)));
            serde_json::Value::Object(entries.collect::<Map<_, _>>())
        }
    }
}
