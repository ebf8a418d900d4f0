//! What the tests share: a recorder in memory, and requests written as JSON values.

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;

use event::{EventId, SourcePath, Timestamp, Value};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use serde_json::json;

use crate::otlp::{decode_logs, decode_traces, logs_from_json, traces_from_json};
use crate::{Raw, RawEvent, Receipt, RecordError, Recorder};

/// A recorder that keeps events in memory, or fails as it is told.
#[derive(Default)]
pub(crate) struct FakeRecorder {
    /// What was recorded.
    pub(crate) events: Mutex<Vec<RawEvent>>,
    /// How to fail.
    pub(crate) failure: Option<RecordError>,
    /// Most bytes of names that it takes in one call.
    pub(crate) bytes_max: Option<usize>,
}

impl Recorder for FakeRecorder {
    fn record(&self, events: Vec<RawEvent>) -> Pin<Box<dyn Future<Output = Result<Vec<Receipt>, RecordError>> + Send + '_>> {
        Box::pin(async move {
            if let Some(failure) = &self.failure {
                return Err(failure.clone());
            }
            let bytes = events.iter().map(|event| event.name.expose().len()).sum();
            if let Some(bytes_max) = self.bytes_max.filter(|bytes_max| bytes > *bytes_max) {
                return Err(RecordError::TooLarge { bytes, bytes_max });
            }
            let mut recorded = self.events.lock().unwrap();
            let first = recorded.len() as u64;
            let receipt = |(position, event): (u64, &RawEvent)| Receipt { event_id: event.id, position, duplicate: false };
            let receipts = (first..).zip(&events).map(receipt).collect();
            recorded.extend(events);
            Ok(receipts)
        })
    }
}

/// A JSON value as OTLP's `AnyValue`.
pub(crate) fn any(value: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value as Json;
    match value {
        Json::String(text) => json!({ "stringValue": text }),
        Json::Bool(value) => json!({ "boolValue": value }),
        Json::Number(number) if number.is_f64() => json!({ "doubleValue": number }),
        Json::Number(number) => json!({ "intValue": number.to_string() }),
        Json::Array(list) => json!({ "arrayValue": { "values": list.iter().map(any).collect::<Vec<_>>() } }),
        Json::Object(_) => json!({ "kvlistValue": { "values": pairs(value) } }),
        Json::Null => json!({}),
    }
}

/// A JSON object as OTLP's list of `KeyValue`.
pub(crate) fn pairs(object: &serde_json::Value) -> serde_json::Value {
    let pairs = object.as_object().unwrap().iter().map(|(key, value)| json!({ "key": key, "value": any(value) }));
    pairs.collect::<Vec<_>>().into()
}

/// A request with one span.
pub(crate) fn span_request(scope: &str, name: &str, attributes: &serde_json::Value) -> serde_json::Value {
    json!({ "resourceSpans": [{
        "resource": { "attributes": pairs(&json!({ "service.name": "shop", "service.version": "1.2", "cloud.region": "eu" })) },
        "scopeSpans": [{ "scope": { "name": scope, "version": "9" }, "spans": [{
            "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "parentSpanId": "00f067aa0ba902b7",
            "name": name, "kind": 3, "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000001500000000",
            "attributes": pairs(attributes), "status": {}
        }]}]
    }]})
}

/// A request with one log record.
pub(crate) fn log_request(
    scope: &str,
    event_name: &str,
    body: &serde_json::Value,
    attributes: &serde_json::Value,
) -> serde_json::Value {
    json!({ "resourceLogs": [{
        "resource": { "attributes": pairs(&json!({ "service.name": "shop" })) },
        "scopeLogs": [{ "scope": { "name": scope }, "logRecords": [{
            "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331",
            "timeUnixNano": "1700000000000000000", "eventName": event_name, "body": any(body), "attributes": pairs(attributes)
        }]}]
    }]})
}

/// The events of a request of traces; the same, whether it comes as JSON or as protobuf.
pub(crate) fn traces(request: &serde_json::Value) -> Vec<RawEvent> {
    let of_json = traces_from_json(request.to_string().as_bytes()).unwrap();
    let of_protobuf = ExportTraceServiceRequest::decode(&*of_json.encode_to_vec()).unwrap();
    let decoded = decode_traces(of_json, SourcePath::OtlpHttp);
    assert!(decoded.rejected.is_empty());
    let again = decode_traces(of_protobuf, SourcePath::OtlpHttp).events;
    assert_eq!(at_no_time(decoded.events.clone()), at_no_time(again));
    decoded.events
}

/// The events of a request of log records; the same, whether it comes as JSON or as protobuf.
pub(crate) fn logs(request: &serde_json::Value) -> Vec<RawEvent> {
    let of_json = logs_from_json(request.to_string().as_bytes()).unwrap();
    let of_protobuf = ExportLogsServiceRequest::decode(&*of_json.encode_to_vec()).unwrap();
    let decoded = decode_logs(of_json, SourcePath::OtlpHttp);
    let again = decode_logs(of_protobuf, SourcePath::OtlpHttp).events;
    assert_eq!(at_no_time(decoded.events.clone()), at_no_time(again));
    decoded.events
}

/// The one event of a span.
pub(crate) fn span(scope: &str, name: &str, attributes: &serde_json::Value) -> RawEvent {
    traces(&span_request(scope, name, attributes)).remove(0)
}

/// The one event of a log record.
pub(crate) fn log(scope: &str, event_name: &str, body: &serde_json::Value, attributes: &serde_json::Value) -> RawEvent {
    logs(&log_request(scope, event_name, body, attributes)).remove(0)
}

/// An event as lines of text, to be compared in a test: kind and phase, identity, attributes, unmapped, pieces.
pub(crate) fn lines(event: &RawEvent) -> Vec<String> {
    let text = |raw: &Raw| raw.expose().to_owned();
    let mut lines = vec![format!("{} {:?}", event.kind.as_str(), event.phase)];
    let fields = [
        ("session", event.session.as_ref().map(text)),
        ("turn", event.turn.as_ref().map(text)),
        ("user", event.identity.user.as_ref().map(|user| text(&user.id))),
        ("agent", event.identity.agent.as_ref().map(|agent| text(&agent.id))),
    ];
    lines.extend(fields.into_iter().filter_map(|(name, value)| Some(format!("{name}: {}", value?))));
    lines.extend(event.attributes.iter().map(|(key, value)| format!("{key} = {}", show(value))));
    lines.extend(
        event
            .unmapped
            .iter()
            .filter(|(key, _)| key.expose() != "resource.cloud.region")
            .map(|(key, value)| format!("? {} = {}", key.expose(), show(value))),
    );
    for piece in &event.pieces {
        let meta = &piece.meta;
        let mut line = format!("#{} {:?} {:?} {:?}", meta.message, meta.direction, meta.role, meta.part);
        if meta.history {
            line += " history";
        }
        for value in [&meta.name, &meta.call_id].into_iter().flatten() {
            line += &format!(" <{}>", value.expose());
        }
        if let Some(score) = meta.score {
            line += &format!(" score {score}");
        }
        if let Some(failed) = meta.failed {
            line += if failed { " failed" } else { " succeeded" };
        }
        lines.push(format!("{line}: {}", piece.content.expose()));
    }
    lines
}

fn show(value: &Value<Raw>) -> String {
    match value {
        Value::Text(text) => text.expose().to_owned(),
        Value::List(list) => format!("[{}]", list.iter().map(show).collect::<Vec<_>>().join(", ")),
        Value::Map(map) => {
            let entries = map.iter().map(|(key, value)| format!("{}: {}", key.expose(), show(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        Value::Bool(value) => value.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
    }
}

/// The events without what depends on the moment.
fn at_no_time(mut events: Vec<RawEvent>) -> Vec<RawEvent> {
    for event in &mut events {
        if event.time == event.observed {
            event.time = Timestamp::default();
        }
        event.observed = Timestamp::default();
    }
    events
}

/// The ids of events.
pub(crate) fn ids(events: &[RawEvent]) -> Vec<EventId> {
    events.iter().map(|event| event.id).collect()
}
