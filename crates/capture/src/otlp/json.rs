//! OTLP's JSON encoding, read strictly and told apart from what it is not.
//!
//! The standard's mapping: ids as hexadecimal text, 64-bit numbers as text or number, bytes as base64, enums as
//! numbers, unknown fields ignored. Beyond it, what other receivers take as well: field names in snake_case, `null` for
//! an absent field, enum names. `opentelemetry-proto`'s own reader refuses several of these (`null`, `NaN`, unknown
//! fields beside a value) and says no path, which is why this one exists.

use std::fmt;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::json_values::{
    BYTES_LEFT, Base64, Double, Object, TOO_LARGE, Whole, hex, list, number, object, severity, span_kind, status_code, text,
};

/// Most memory that a request may take when it is decoded, where the caller does not say.
pub(super) const DECODED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Why bytes are not an OTLP request in JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid OTLP JSON at {path}: {reason}")]
pub struct JsonError {
    /// Where: `resourceSpans[0].scopeSpans[0].spans[2].traceId`.
    pub path: String,
    /// What is wrong there, with line and column.
    pub reason: String,
    /// Whether it is well formed, and only too large to decode.
    pub too_large: bool,
}

/// Reads an export of traces. Nesting is bounded at 128 levels.
pub fn traces_from_json(bytes: &[u8]) -> Result<ExportTraceServiceRequest, JsonError> {
    traces(bytes, DECODED_BYTES_MAX)
}

/// Reads an export of log records. Nesting is bounded at 128 levels.
pub fn logs_from_json(bytes: &[u8]) -> Result<ExportLogsServiceRequest, JsonError> {
    logs(bytes, DECODED_BYTES_MAX)
}

pub(super) fn traces(bytes: &[u8], bytes_max: usize) -> Result<ExportTraceServiceRequest, JsonError> {
    read::<JsonTraces>(bytes, bytes_max).map(|json| ExportTraceServiceRequest { resource_spans: json.resource_spans })
}

pub(super) fn logs(bytes: &[u8], bytes_max: usize) -> Result<ExportLogsServiceRequest, JsonError> {
    read::<JsonLogs>(bytes, bytes_max).map(|json| ExportLogsServiceRequest { resource_logs: json.resource_logs })
}

pub(super) fn read<T: DeserializeOwned>(bytes: &[u8], bytes_max: usize) -> Result<T, JsonError> {
    BYTES_LEFT.set(bytes_max);
    let error = match serde_json::from_slice::<Object<T>>(bytes) {
        Ok(request) => return Ok(request.0),
        Err(error) => error,
    };
    // Only a request that fails pays for the path.
    BYTES_LEFT.set(bytes_max);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let path = match serde_path_to_error::deserialize::<_, Object<T>>(&mut deserializer) {
        Ok(_) => "the end".to_owned(),
        Err(error) if error.path().iter().len() == 0 => "the request".to_owned(),
        Err(error) => error.path().to_string(),
    };
    let reason = error.to_string();
    let too_large = reason.starts_with(TOO_LARGE);
    // The path and serde's message can quote the request; both are cut.
    Err(JsonError { path: clip(path), reason: clip(reason), too_large })
}

/// Longest path or reason in an error message.
const MESSAGE_BYTES_MAX: usize = 256;

fn clip(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MESSAGE_BYTES_MAX));
    text
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonTraces {
    #[serde(default, alias = "resource_spans", deserialize_with = "list::<_, JsonResourceSpans, _>")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonLogs {
    #[serde(default, alias = "resource_logs", deserialize_with = "list::<_, JsonResourceLogs, _>")]
    resource_logs: Vec<ResourceLogs>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonResourceSpans {
    #[serde(default, deserialize_with = "object::<_, JsonResource, _>")]
    resource: Option<Resource>,
    #[serde(default, alias = "scope_spans", deserialize_with = "list::<_, JsonScopeSpans, _>")]
    scope_spans: Vec<ScopeSpans>,
    #[serde(default, alias = "schema_url", deserialize_with = "text")]
    schema_url: String,
}

impl From<JsonResourceSpans> for ResourceSpans {
    fn from(json: JsonResourceSpans) -> Self {
        Self { resource: json.resource, scope_spans: json.scope_spans, schema_url: json.schema_url }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonResourceLogs {
    #[serde(default, deserialize_with = "object::<_, JsonResource, _>")]
    resource: Option<Resource>,
    #[serde(default, alias = "scope_logs", deserialize_with = "list::<_, JsonScopeLogs, _>")]
    scope_logs: Vec<ScopeLogs>,
    #[serde(default, alias = "schema_url", deserialize_with = "text")]
    schema_url: String,
}

impl From<JsonResourceLogs> for ResourceLogs {
    fn from(json: JsonResourceLogs) -> Self {
        Self { resource: json.resource, scope_logs: json.scope_logs, schema_url: json.schema_url }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JsonResource {
    #[serde(default, deserialize_with = "list::<_, JsonPair, _>")]
    attributes: Vec<KeyValue>,
    #[serde(default, alias = "dropped_attributes_count", deserialize_with = "number")]
    dropped_attributes_count: u32,
}

impl From<JsonResource> for Resource {
    fn from(json: JsonResource) -> Self {
        Self { attributes: json.attributes, dropped_attributes_count: json.dropped_attributes_count, ..Self::default() }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonScopeSpans {
    #[serde(default, deserialize_with = "object::<_, JsonScope, _>")]
    scope: Option<InstrumentationScope>,
    #[serde(default, deserialize_with = "list::<_, JsonSpan, _>")]
    spans: Vec<Span>,
    #[serde(default, alias = "schema_url", deserialize_with = "text")]
    schema_url: String,
}

impl From<JsonScopeSpans> for ScopeSpans {
    fn from(json: JsonScopeSpans) -> Self {
        Self { scope: json.scope, spans: json.spans, schema_url: json.schema_url }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonScopeLogs {
    #[serde(default, deserialize_with = "object::<_, JsonScope, _>")]
    scope: Option<InstrumentationScope>,
    #[serde(default, alias = "log_records", deserialize_with = "list::<_, JsonLogRecord, _>")]
    log_records: Vec<LogRecord>,
    #[serde(default, alias = "schema_url", deserialize_with = "text")]
    schema_url: String,
}

impl From<JsonScopeLogs> for ScopeLogs {
    fn from(json: JsonScopeLogs) -> Self {
        Self { scope: json.scope, log_records: json.log_records, schema_url: json.schema_url }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JsonScope {
    #[serde(default, deserialize_with = "text")]
    name: String,
    #[serde(default, deserialize_with = "text")]
    version: String,
    #[serde(default, deserialize_with = "list::<_, JsonPair, _>")]
    attributes: Vec<KeyValue>,
    #[serde(default, alias = "dropped_attributes_count", deserialize_with = "number")]
    dropped_attributes_count: u32,
}

impl From<JsonScope> for InstrumentationScope {
    fn from(json: JsonScope) -> Self {
        Self {
            name: json.name,
            version: json.version,
            attributes: json.attributes,
            dropped_attributes_count: json.dropped_attributes_count,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonSpan {
    #[serde(default, alias = "trace_id", deserialize_with = "hex")]
    trace_id: Vec<u8>,
    #[serde(default, alias = "span_id", deserialize_with = "hex")]
    span_id: Vec<u8>,
    #[serde(default, alias = "trace_state", deserialize_with = "text")]
    trace_state: String,
    #[serde(default, alias = "parent_span_id", deserialize_with = "hex")]
    parent_span_id: Vec<u8>,
    #[serde(default, deserialize_with = "number")]
    flags: u32,
    #[serde(default, deserialize_with = "text")]
    name: String,
    #[serde(default, deserialize_with = "span_kind")]
    kind: i32,
    #[serde(default, alias = "start_time_unix_nano", deserialize_with = "number")]
    start_time_unix_nano: u64,
    #[serde(default, alias = "end_time_unix_nano", deserialize_with = "number")]
    end_time_unix_nano: u64,
    #[serde(default, deserialize_with = "list::<_, JsonPair, _>")]
    attributes: Vec<KeyValue>,
    #[serde(default, alias = "dropped_attributes_count", deserialize_with = "number")]
    dropped_attributes_count: u32,
    #[serde(default, deserialize_with = "list::<_, JsonSpanEvent, _>")]
    events: Vec<span::Event>,
    #[serde(default, alias = "dropped_events_count", deserialize_with = "number")]
    dropped_events_count: u32,
    #[serde(default, deserialize_with = "list::<_, JsonLink, _>")]
    links: Vec<span::Link>,
    #[serde(default, alias = "dropped_links_count", deserialize_with = "number")]
    dropped_links_count: u32,
    #[serde(default, deserialize_with = "object::<_, JsonStatus, _>")]
    status: Option<Status>,
}

impl From<JsonSpan> for Span {
    fn from(json: JsonSpan) -> Self {
        Self {
            trace_id: json.trace_id,
            span_id: json.span_id,
            trace_state: json.trace_state,
            parent_span_id: json.parent_span_id,
            flags: json.flags,
            name: json.name,
            kind: json.kind,
            start_time_unix_nano: json.start_time_unix_nano,
            end_time_unix_nano: json.end_time_unix_nano,
            attributes: json.attributes,
            dropped_attributes_count: json.dropped_attributes_count,
            events: json.events,
            dropped_events_count: json.dropped_events_count,
            links: json.links,
            dropped_links_count: json.dropped_links_count,
            status: json.status,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonSpanEvent {
    #[serde(default, alias = "time_unix_nano", deserialize_with = "number")]
    time_unix_nano: u64,
    #[serde(default, deserialize_with = "text")]
    name: String,
    #[serde(default, deserialize_with = "list::<_, JsonPair, _>")]
    attributes: Vec<KeyValue>,
    #[serde(default, alias = "dropped_attributes_count", deserialize_with = "number")]
    dropped_attributes_count: u32,
}

impl From<JsonSpanEvent> for span::Event {
    fn from(json: JsonSpanEvent) -> Self {
        Self {
            time_unix_nano: json.time_unix_nano,
            name: json.name,
            attributes: json.attributes,
            dropped_attributes_count: json.dropped_attributes_count,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonLink {
    #[serde(default, alias = "trace_id", deserialize_with = "hex")]
    trace_id: Vec<u8>,
    #[serde(default, alias = "span_id", deserialize_with = "hex")]
    span_id: Vec<u8>,
    #[serde(default, alias = "trace_state", deserialize_with = "text")]
    trace_state: String,
    #[serde(default, deserialize_with = "list::<_, JsonPair, _>")]
    attributes: Vec<KeyValue>,
    #[serde(default, alias = "dropped_attributes_count", deserialize_with = "number")]
    dropped_attributes_count: u32,
    #[serde(default, deserialize_with = "number")]
    flags: u32,
}

impl From<JsonLink> for span::Link {
    fn from(json: JsonLink) -> Self {
        Self {
            trace_id: json.trace_id,
            span_id: json.span_id,
            trace_state: json.trace_state,
            attributes: json.attributes,
            dropped_attributes_count: json.dropped_attributes_count,
            flags: json.flags,
        }
    }
}

#[derive(Deserialize)]
struct JsonStatus {
    #[serde(default, deserialize_with = "text")]
    message: String,
    #[serde(default, deserialize_with = "status_code")]
    code: i32,
}

impl From<JsonStatus> for Status {
    fn from(json: JsonStatus) -> Self {
        Self { message: json.message, code: json.code }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonLogRecord {
    #[serde(default, alias = "time_unix_nano", deserialize_with = "number")]
    time_unix_nano: u64,
    #[serde(default, alias = "observed_time_unix_nano", deserialize_with = "number")]
    observed_time_unix_nano: u64,
    #[serde(default, alias = "severity_number", deserialize_with = "severity")]
    severity_number: i32,
    #[serde(default, alias = "severity_text", deserialize_with = "text")]
    severity_text: String,
    #[serde(default, deserialize_with = "object::<_, JsonAny, _>")]
    body: Option<AnyValue>,
    #[serde(default, deserialize_with = "list::<_, JsonPair, _>")]
    attributes: Vec<KeyValue>,
    #[serde(default, alias = "dropped_attributes_count", deserialize_with = "number")]
    dropped_attributes_count: u32,
    #[serde(default, deserialize_with = "number")]
    flags: u32,
    #[serde(default, alias = "trace_id", deserialize_with = "hex")]
    trace_id: Vec<u8>,
    #[serde(default, alias = "span_id", deserialize_with = "hex")]
    span_id: Vec<u8>,
    #[serde(default, alias = "event_name", deserialize_with = "text")]
    event_name: String,
}

impl From<JsonLogRecord> for LogRecord {
    fn from(json: JsonLogRecord) -> Self {
        Self {
            time_unix_nano: json.time_unix_nano,
            observed_time_unix_nano: json.observed_time_unix_nano,
            severity_number: json.severity_number,
            severity_text: json.severity_text,
            body: json.body,
            attributes: json.attributes,
            dropped_attributes_count: json.dropped_attributes_count,
            flags: json.flags,
            trace_id: json.trace_id,
            span_id: json.span_id,
            event_name: json.event_name,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct JsonPair {
    #[serde(default, deserialize_with = "text")]
    key: String,
    #[serde(default, deserialize_with = "object::<_, JsonAny, _>")]
    value: Option<AnyValue>,
}

impl From<JsonPair> for KeyValue {
    fn from(json: JsonPair) -> Self {
        Self { key: json.key, value: json.value, key_strindex: 0 }
    }
}

#[derive(Deserialize)]
struct JsonArray {
    #[serde(default, deserialize_with = "list::<_, JsonAny, _>")]
    values: Vec<AnyValue>,
}

#[derive(Deserialize)]
struct JsonPairs {
    #[serde(default, deserialize_with = "list::<_, JsonPair, _>")]
    values: Vec<KeyValue>,
}

/// An `AnyValue`: an object with one of its fields, or none.
struct JsonAny(AnyValue);

impl From<JsonAny> for AnyValue {
    fn from(json: JsonAny) -> Self {
        json.0
    }
}

impl<'de> Deserialize<'de> for JsonAny {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyVisitor;

        #[derive(Deserialize)]
        #[serde(field_identifier, rename_all = "camelCase")]
        enum Field {
            #[serde(alias = "string_value")]
            StringValue,
            #[serde(alias = "bool_value")]
            BoolValue,
            #[serde(alias = "int_value")]
            IntValue,
            #[serde(alias = "double_value")]
            DoubleValue,
            #[serde(alias = "array_value")]
            ArrayValue,
            #[serde(alias = "kvlist_value")]
            KvlistValue,
            #[serde(alias = "bytes_value")]
            BytesValue,
            #[serde(other)]
            Unknown,
        }

        impl<'de> Visitor<'de> for AnyVisitor {
            type Value = JsonAny;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an AnyValue: an object with stringValue, intValue, boolValue, doubleValue, arrayValue, kvlistValue or bytesValue")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonAny, A::Error> {
                use any_value::Value;
                let mut value = None;
                while let Some(field) = map.next_key::<Field>()? {
                    let next = match field {
                        Field::StringValue => map.next_value::<Option<String>>()?.map(Value::StringValue),
                        Field::BoolValue => map.next_value::<Option<bool>>()?.map(Value::BoolValue),
                        Field::IntValue => map.next_value::<Option<Whole<i64>>>()?.map(|number| Value::IntValue(number.0)),
                        Field::DoubleValue => map.next_value::<Option<Double>>()?.map(|number| Value::DoubleValue(number.0)),
                        Field::ArrayValue => map
                            .next_value::<Option<Object<JsonArray>>>()?
                            .map(|list| Value::ArrayValue(ArrayValue { values: list.0.values })),
                        Field::KvlistValue => map
                            .next_value::<Option<Object<JsonPairs>>>()?
                            .map(|list| Value::KvlistValue(KeyValueList { values: list.0.values })),
                        Field::BytesValue => map.next_value::<Option<Base64>>()?.map(|bytes| Value::BytesValue(bytes.0)),
                        Field::Unknown => {
                            map.next_value::<IgnoredAny>()?;
                            None
                        }
                    };
                    match (next, &value) {
                        (Some(_), Some(_)) => return Err(de::Error::custom("an AnyValue has one value, this one has two")),
                        (Some(next), None) => value = Some(next),
                        (None, _) => {}
                    }
                }
                Ok(JsonAny(AnyValue { value }))
            }
        }

        deserializer.deserialize_map(AnyVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(json: &str) -> Result<Span, JsonError> {
        let request = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{json}]}}]}}]}}"#);
        traces_from_json(request.as_bytes())
            .map(|mut request| request.resource_spans.remove(0).scope_spans.remove(0).spans.remove(0))
    }

    #[test]
    fn reads_what_the_standard_says_and_what_others_take_too() {
        let read = span(
            r#"{"traceId":"0AF7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331","parentSpanId":null,"name":"chat",
                "kind":"SPAN_KIND_CLIENT","startTimeUnixNano":"1700000000000000000","endTimeUnixNano":1700000001000000000,
                "status":{"code":2},"links":null,"somethingNew":{"a":[1]},
                "attributes":[{"key":"i","value":{"intValue":"-7"}},{"key":"j","value":{"intValue":8,"more":{"x":1}}},
                    {"key":"d","value":{"doubleValue":"NaN"}},{"key":"b","value":{"bytesValue":"AQI"}},{"key":"n","value":null},
                    {"key":"l","value":{"arrayValue":{"values":[{"stringValue":"x"},{}]}}},
                    {"key":"m","value":{"kvlistValue":{"values":[{"key":"k","value":{"boolValue":true}}]}}}]}"#,
        )
        .unwrap();
        assert_eq!(read.trace_id[..3], [0x0a, 0xf7, 0x65]);
        assert_eq!((read.kind, read.status.unwrap().code), (3, 2));
        assert_eq!((read.start_time_unix_nano, read.end_time_unix_nano), (1_700_000_000_000_000_000, 1_700_000_001_000_000_000));
        let value = |key: &str| read.attributes.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.clone()?.value);
        use any_value::Value;
        assert_eq!(value("i"), Some(Value::IntValue(-7)));
        assert_eq!(value("j"), Some(Value::IntValue(8)));
        assert!(matches!(value("d"), Some(Value::DoubleValue(number)) if number.is_nan()));
        assert_eq!(value("b"), Some(Value::BytesValue(vec![1, 2])));
        assert_eq!(value("n"), None);
        assert!(matches!(value("l"), Some(Value::ArrayValue(list)) if list.values.len() == 2));
        assert!(matches!(value("m"), Some(Value::KvlistValue(list)) if list.values[0].key == "k"));
    }

    #[test]
    fn an_error_names_its_place() {
        for (json, path) in [
            (r#"{"traceId":"xyz"}"#, "resourceSpans[0].scopeSpans[0].spans[0].traceId"),
            (r#"{"startTimeUnixNano":-1}"#, "startTimeUnixNano"),
            (r#"{"startTimeUnixNano":"99999999999999999999999"}"#, "startTimeUnixNano"),
            (r#"{"kind":"NO_SUCH"}"#, "kind"),
            (r#"{"name":7}"#, "name"),
            (r#"{"attributes":[{"key":"a","value":{"intValue":"x"}}]}"#, "attributes[0].value.intValue"),
            (r#"{"attributes":[{"key":"a","value":{"intValue":1,"stringValue":"x"}}]}"#, "attributes[0].value"),
            (r#"{"attributes":{}}"#, "attributes"),
        ] {
            let error = span(json).unwrap_err();
            assert!(error.path.contains(path), "{json}: {error}");
        }
        for whole in ["", "[]", "7", "{", r#"{"resourceSpans":[]} x"#] {
            assert!(traces_from_json(whole.as_bytes()).is_err(), "{whole}");
        }
        assert!(traces_from_json(b"{\"resourceSpans\":[{\"schemaUrl\":\"\xff\"}]}").is_err());
    }

    #[test]
    fn deep_nesting_is_an_error() {
        let deep = |open: &str, close: &str| format!("{}{}", open.repeat(10_000), close.repeat(10_000));
        for value in [
            deep("[", "]"),
            deep(r#"{"arrayValue":{"values":["#, "]}}"),
            format!(r#"{{"unknown":{}}}"#, deep(r#"{"a":"#, "}").replace("{}", "1")),
        ] {
            let error = span(&format!(r#"{{"attributes":[{{"key":"a","value":{value}}}]}}"#));
            assert!(error.is_err());
        }
    }

    #[test]
    fn many_small_things_are_too_large() {
        let request = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}{{}}]}}]}}]}}"#, "{},".repeat(10_000));
        let error = traces(request.as_bytes(), 1 << 20).unwrap_err();
        assert!(error.too_large, "{error}");
        assert!(traces(request.as_bytes(), 64 << 20).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn any_text_gets_an_answer(text in r#"[\{\}\[\]":,a-z0-9 ]{0,64}"#) {
            let _ = traces_from_json(text.as_bytes());
            let _ = logs_from_json(text.as_bytes());
        }
    }
}
