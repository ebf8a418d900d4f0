//! The typed columns of the events object: what analysts filter and group by. None of them is the record: they are read
//! out of the event's JSON when a segment is written, and nothing of ours reads them back.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{Float64Builder, Int64Builder, StringBuilder, TimestampNanosecondBuilder};
use arrow_schema::{DataType, Field, TimeUnit};
use event::{Finding, Key, Principal, RecordedEvent, Timestamp, Value, attr};
use sanitize::Clean;
use serde::Serialize;

/// Longest text in a typed column, in bytes; the event's JSON has all of it.
const TEXT_BYTES_MAX: usize = 1024;

/// The columns' builders, in the order of [`fields`].
#[derive(Default)]
pub(crate) struct Columns {
    time: Time,
    observed: Time,
    numbers: [Int64Builder; NUMBERS.len()],
    risk_score: Float64Builder,
    texts: [StringBuilder; TEXTS.len()],
}

#[derive(Default)]
struct Time(TimestampNanosecondBuilder);

/// Whole numbers. Times of day that do not fit 64 bits with a sign are absent.
const NUMBERS: [&str; 4] = ["duration_ns", "input_tokens", "output_tokens", "cached_tokens"];

/// Texts, in the words of `docs/reference/views.md`.
const TEXTS: [&str; 18] = [
    "kind",
    "phase",
    "name",
    "status",
    "error",
    "session_id",
    "turn",
    "user_id",
    "application",
    "agent",
    "credential",
    "client_address",
    "provider",
    "model",
    "request_model",
    "tool_name",
    "risk",
    "source",
];

/// The typed columns as fields of the schema.
pub(crate) fn fields() -> Vec<Field> {
    let time = || DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    [Field::new("time", time(), true), Field::new("observed", time(), true)]
        .into_iter()
        .chain(NUMBERS.map(|name| Field::new(name, DataType::Int64, true)))
        .chain([Field::new("risk_score", DataType::Float64, true)])
        .chain(TEXTS.map(|name| Field::new(name, DataType::Utf8, true)))
        .collect()
}

impl Columns {
    /// Adds a row: of the event, or of nothing where there is none that can be read.
    pub(crate) fn push(&mut self, event: Option<&RecordedEvent<Clean>>) {
        self.time.push(event.map(|event| event.time));
        self.observed.push(event.map(|event| event.observed));
        let numbers = event.map(numbers_of).unwrap_or_default();
        for (builder, number) in self.numbers.iter_mut().zip(numbers) {
            builder.append_option(number);
        }
        let worst = event.and_then(worst);
        self.risk_score.append_option(worst.map(|finding| f64::from(finding.score)));
        let texts = event.map(|event| texts_of(event, worst)).unwrap_or_default();
        for (builder, text) in self.texts.iter_mut().zip(texts) {
            builder.append_option(text.as_deref().map(cut));
        }
    }

    /// The rows so far as arrays; the builders are empty then.
    pub(crate) fn finish(&mut self) -> Vec<ArrayRef> {
        let mut arrays: Vec<ArrayRef> = vec![self.time.finish(), self.observed.finish()];
        arrays.extend(self.numbers.iter_mut().map(|builder| Arc::new(builder.finish()) as ArrayRef));
        arrays.push(Arc::new(self.risk_score.finish()));
        arrays.extend(self.texts.iter_mut().map(|builder| Arc::new(builder.finish()) as ArrayRef));
        arrays
    }
}

impl Time {
    fn push(&mut self, time: Option<Timestamp>) {
        self.0.append_option(time.and_then(|time| i64::try_from(time.unix_ns()).ok()));
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.0.finish().with_timezone("UTC"))
    }
}

fn numbers_of(event: &RecordedEvent<Clean>) -> [Option<i64>; NUMBERS.len()] {
    let int = |key: &Key| event.attribute(key.as_str()).and_then(Value::as_int);
    [
        event.duration_ns.and_then(|ns| i64::try_from(ns).ok()),
        int(&attr::GEN_AI_USAGE_INPUT_TOKENS),
        int(&attr::GEN_AI_USAGE_OUTPUT_TOKENS),
        int(&attr::GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS),
    ]
}

fn texts_of(event: &RecordedEvent<Clean>, worst: Option<&Finding>) -> [Option<String>; TEXTS.len()] {
    let identity = &event.identity;
    let text = |key: &Key| event.attribute(key.as_str()).and_then(Value::as_text).map(|text| text.to_string());
    let shown = |principal: &Principal<Clean>| principal.name.as_ref().unwrap_or(&principal.id).to_string();
    let request_model = text(&attr::GEN_AI_REQUEST_MODEL);
    [
        word(&event.kind),
        word(&event.phase),
        Some(event.name.to_string()),
        word(&event.status),
        text(&attr::ERROR_TYPE),
        event.session.as_ref().map(|session| session.to_string()),
        event.turn.as_ref().map(|turn| turn.to_string()),
        identity.user.as_ref().map(|user| user.id.to_string()),
        identity.application.as_ref().map(shown),
        identity.agent.as_ref().map(shown),
        identity.credential.as_ref().map(|credential| credential.id.to_string()),
        identity.client.as_ref().and_then(|client| client.address.as_ref()).map(|address| address.to_string()),
        text(&attr::GEN_AI_PROVIDER_NAME),
        text(&attr::GEN_AI_RESPONSE_MODEL).or_else(|| request_model.clone()),
        request_model,
        text(&attr::GEN_AI_TOOL_NAME),
        worst.and_then(|finding| word(&finding.risk)),
        word(&event.source.path),
    ]
}

/// The finding with the highest score.
fn worst(event: &RecordedEvent<Clean>) -> Option<&Finding> {
    event.pieces.iter().flat_map(|piece| &piece.findings).max_by(|a, b| a.score.total_cmp(&b.score))
}

/// The name that JSON has for a value of one word.
fn word(value: &impl Serialize) -> Option<String> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Some(word),
        _ => None,
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}
