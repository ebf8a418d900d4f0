//! Metrics: data points as events, and what is only counted.

use event::{SourcePath, Value};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message as _;
use serde_json::json;

use super::support::{ids, lines, pairs};
use crate::RawEvent;
use crate::otlp::{decode_metrics, metrics_from_json};

fn request(scope: &str, metrics: &serde_json::Value) -> serde_json::Value {
    json!({ "resourceMetrics": [{
        "resource": { "attributes": pairs(&json!({ "service.name": "shop" })) },
        "scopeMetrics": [{ "scope": { "name": scope }, "metrics": metrics }]
    }]})
}

/// The events; the same, whether they come as JSON or as protobuf.
fn events(request: &serde_json::Value) -> Vec<RawEvent> {
    let of_json = metrics_from_json(request.to_string().as_bytes()).unwrap();
    let of_protobuf = ExportMetricsServiceRequest::decode(&*of_json.encode_to_vec()).unwrap();
    let decoded = decode_metrics(of_json, SourcePath::OtlpHttp);
    assert!(decoded.rejected.is_empty() && decoded.places.len() == decoded.events.len());
    assert_eq!(ids(&decoded.events), ids(&decode_metrics(of_protobuf, SourcePath::OtlpHttp).events));
    decoded.events
}

fn counter(name: &str, value: i64, time: &str, attributes: &serde_json::Value) -> serde_json::Value {
    json!({ "name": name, "unit": "tokens", "sum": { "isMonotonic": true, "aggregationTemporality": 2, "dataPoints": [
        { "attributes": pairs(attributes), "startTimeUnixNano": "1700000000000000000", "timeUnixNano": time, "asInt": value.to_string() }
    ]}})
}

#[test]
fn tokens_and_cost_of_a_coding_agent() {
    let attributes = json!({"session.id": "s1", "user.email": "dev@example.test", "model": "claude-x", "type": "cacheRead"});
    let found = events(&request(
        "com.anthropic.claude_code",
        &json!([
            counter("claude_code.token.usage", 512, "1700000060000000000", &attributes),
            { "name": "claude_code.cost.usage", "unit": "USD", "sum": { "isMonotonic": true, "aggregationTemporality":
                "AGGREGATION_TEMPORALITY_DELTA", "dataPoints": [{ "timeUnixNano": "1700000060000000000", "asDouble": 0.25,
                "attributes": pairs(&json!({"model": "claude-x"})) }] } },
        ]),
    ));
    let expected = [
        "metric Complete",
        "session: s1",
        "user: dev@example.test",
        "agent: shop",
        "gen_ai.request.model = claude-x",
        "gen_ai.token.type = cacheRead",
        "type = cacheRead",
        "watchkeeper.metric.start_ns = 1700000000000000000",
        "watchkeeper.metric.temporality = cumulative",
        "watchkeeper.metric.type = counter",
        "watchkeeper.metric.unit = tokens",
        "watchkeeper.metric.value = 512",
    ];
    assert_eq!(lines(&found[0]), expected);
    assert_eq!(found[0].name.expose(), "claude_code.token.usage");
    assert_eq!(found[0].time.unix_ns(), 1_700_000_060_000_000_000);
    assert_eq!(found[1].attribute("watchkeeper.metric.value"), Some(&Value::Double(0.25)));
    assert_eq!(found[1].attribute("watchkeeper.metric.temporality"), Some(&Value::Text("delta".into())));
}

#[test]
fn a_histogram_of_the_convention() {
    let found = events(&request(
        "opentelemetry.instrumentation.openai_v2",
        &json!([{ "name": "gen_ai.client.token.usage", "unit": "{token}", "histogram": { "aggregationTemporality": 2, "dataPoints": [{
            "startTimeUnixNano": "1700000000000000000", "timeUnixNano": "1700000060000000000", "count": "2", "sum": 99, "min": 42, "max": 57,
            "bucketCounts": ["0", "2"], "explicitBounds": [1.0],
            "attributes": pairs(&json!({"gen_ai.operation.name": "chat", "gen_ai.system": "openai", "gen_ai.token.type": "input",
                "gen_ai.request.model": "gpt-4o"})) }] } }]),
    ));
    let expected = [
        "metric Complete",
        "gen_ai.operation.name = chat",
        "gen_ai.provider.name = openai",
        "gen_ai.request.model = gpt-4o",
        "gen_ai.token.type = input",
        "watchkeeper.metric.count = 2",
        "watchkeeper.metric.max = 57",
        "watchkeeper.metric.min = 42",
        "watchkeeper.metric.start_ns = 1700000000000000000",
        "watchkeeper.metric.temporality = cumulative",
        "watchkeeper.metric.type = histogram",
        "watchkeeper.metric.unit = {token}",
        "watchkeeper.metric.value = 99",
    ];
    assert_eq!(lines(&found[0]), expected);
}

#[test]
fn a_sum_that_did_not_grow_is_the_same_fact() {
    let at = |value, time, user: &str| {
        ids(&events(&request("x", &json!([counter("gen_ai.client.inference.tokens", value, time, &json!({"user.id": user}))]))))
    };
    let first = at(5, "1700000060000000000", "u");
    assert_eq!(at(5, "1700000120000000000", "u"), first);
    assert_ne!(at(6, "1700000120000000000", "u"), first);
    assert_ne!(at(5, "1700000060000000000", "v"), first);
    // A gauge is another measurement each time.
    let gauge = |time: &str| {
        let point = json!({"timeUnixNano": time, "startTimeUnixNano": "5", "asInt": 1});
        ids(&events(&request("x", &json!([{"name": "gen_ai.x", "gauge": {"dataPoints": [point]}}]))))
    };
    assert_ne!(gauge("1"), gauge("2"));
    assert_eq!(gauge("1"), gauge("1"));
}

#[test]
fn what_no_dialect_names_is_counted_by_name() {
    let known = counter("gen_ai.client.inference.tokens", 1, "1700000060000000000", &json!({}));
    let mut metrics = vec![known, counter("http.server.requests", 1, "1700000060000000000", &json!({}))];
    metrics.extend((0..100).map(|n| counter(&format!("m{n:03}"), 1, "1700000060000000000", &json!({}))));
    let found = events(&request("my.app", &json!(metrics)));
    assert_eq!(found.len(), 2);
    assert_eq!(found[1].name.expose(), "metrics.unmapped");
    assert_eq!(found[1].attribute("watchkeeper.unmapped.count"), Some(&Value::Int(101)));
    let Some(Value::Map(names)) = found[1].unmapped.get(&"metrics".into()) else { panic!("no names") };
    assert_eq!(names.len(), 64);
    assert_eq!(names.get(&"http.server.requests".into()), Some(&Value::Int(1)));
    // The same export again is the same event.
    assert_eq!(ids(&events(&request("my.app", &json!(metrics)))), ids(&found));
}

#[test]
fn what_is_no_metric_is_rejected_and_its_neighbours_are_not() {
    let good = counter("gen_ai.x", 1, "1700000060000000000", &json!({}));
    let none = json!({"name": "gen_ai.y", "gauge": {"dataPoints": [{"flags": 1, "asInt": 3}, {}]}});
    let request = request("x", &json!([{"name": "gen_ai.z"}, good, {"name": "", "gauge": {}}, none, good]));
    let decoded = decode_metrics(metrics_from_json(request.to_string().as_bytes()).unwrap(), SourcePath::Import);
    assert_eq!(decoded.places, [1, 4]);
    assert_eq!(decoded.rejected.iter().map(|rejected| rejected.place).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(ids(&decoded.events)[0], ids(&decoded.events)[1]);
}

#[test]
fn a_stranger_cannot_set_what_only_we_say() {
    let found = events(&request(
        "x",
        &json!([counter("gen_ai.x", 1, "5", &json!({"watchkeeper.metric.value": 9, "watchkeeper.joined.to": "x"}))]),
    ));
    assert_eq!(found[0].attribute("watchkeeper.metric.value"), Some(&Value::Int(1)));
    assert!(found[0].attribute("watchkeeper.joined.to").is_none());
}

proptest::proptest! {
    #[test]
    fn any_text_gets_an_answer(text in r#"[\{\}\[\]":,a-z0-9 ]{0,64}"#) {
        let _ = metrics_from_json(text.as_bytes());
    }
}
