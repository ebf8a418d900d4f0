//! What nobody should send.

use event::limits::{ATTRIBUTES_MAX, CONTENT_BYTES_MAX};
use event::{SourcePath, Timestamp, Value, attr};
use opentelemetry_proto::tonic::trace::v1::span;
use serde_json::json;

use super::support::{ids, lines, log, log_request, logs, span as span_event, span_request, traces};
use crate::otlp::{decode_traces, traces_from_json};

const SCOPE: &str = "opentelemetry.instrumentation.genai.openai";

fn with_span(change: impl FnOnce(&mut serde_json::Value)) -> serde_json::Value {
    let mut request = span_request(SCOPE, "chat", &json!({"gen_ai.operation.name": "chat"}));
    change(&mut request["resourceSpans"][0]["scopeSpans"][0]["spans"][0]);
    request
}

#[test]
fn a_retry_has_the_same_id_and_anything_else_another() {
    let base = with_span(|_| ());
    let id = ids(&traces(&base));
    assert_eq!(ids(&traces(&base)), id);
    let changes: [fn(&mut serde_json::Value); 5] = [
        |span| span["name"] = json!("chat "),
        |span| span["attributes"] = json!([]),
        |span| span["endTimeUnixNano"] = json!("1700000001500000001"),
        |span| span["status"] = json!({"code": 1}),
        |span| span["events"] = json!([{"name": "x"}]),
    ];
    for change in changes {
        assert_ne!(ids(&traces(&with_span(change))), id);
    }
    let mut other = base.clone();
    other["resourceSpans"][0]["resource"]["attributes"] = json!([]);
    assert_ne!(ids(&traces(&other)), id);
    let mut other = base;
    other["resourceSpans"][0]["scopeSpans"][0]["scope"]["version"] = json!("10");
    assert_ne!(ids(&traces(&other)), id);
}

#[test]
fn times_that_cannot_be() {
    for (start, end, time, duration) in [
        ("0", "5", None, None),
        ("7", "3", Some(7), None),
        ("18446744073709551615", "18446744073709551615", Some(u64::MAX), Some(0)),
        ("1", "18446744073709551615", Some(1), Some(u64::MAX - 1)),
    ] {
        let event = traces(&with_span(|span| {
            span["startTimeUnixNano"] = json!(start);
            span["endTimeUnixNano"] = json!(end);
        }))
        .remove(0);
        assert_eq!(event.time, time.map_or(event.observed, Timestamp::from_unix_ns));
        assert_eq!(event.duration_ns, duration, "{start} {end}");
    }
}

#[test]
fn ids_that_are_none_cost_the_trace_and_not_the_span() {
    for (trace_id, span_id) in [("abcd", "b7ad6b7169203331"), ("00000000000000000000000000000000", "b7ad6b7169203331"), ("", "")]
    {
        let event = traces(&with_span(|span| {
            span["traceId"] = json!(trace_id);
            span["spanId"] = json!(span_id);
        }))
        .remove(0);
        assert_eq!(event.trace, None);
        assert!(trace_id != "abcd" || lines(&event).contains(&"? invalid.trace_id = abcd".to_owned()));
        assert!(event.attribute(attr::UNMAPPED_COUNT.as_str()).and_then(Value::as_int).is_some_and(|count| count >= 1));
    }
}

#[test]
fn attributes_repeated_too_many_or_not_of_their_type() {
    let mut request = with_span(|_| ());
    let pair = |key: &str, number: i64| json!({"key": key, "value": {"intValue": number}});
    let attributes = &mut request["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"];
    *attributes = (0..5_000).map(|n| pair(&format!("k{n}"), n)).chain((0..50).map(|n| pair("k1", n))).collect();
    let event = traces(&request).remove(0);
    assert!(event.attributes.len() + event.unmapped.len() <= ATTRIBUTES_MAX + 8);
    let dropped = event.attribute(attr::ITEMS_DROPPED.as_str()).and_then(Value::as_int).unwrap();
    assert_eq!(dropped + i64::try_from(event.unmapped.len()).unwrap(), 5_051);

    let event = span_event(
        SCOPE,
        "chat",
        &json!({"gen_ai.usage.input_tokens": -5, "gen_ai.request.model": {"a": 1}, "gen_ai.request.temperature": "hot",
            "watchkeeper.detection.rule": "mine", "user.id": "u".repeat(2_000)}),
    );
    for key in ["gen_ai.usage.input_tokens", "gen_ai.request.model", "gen_ai.request.temperature", "watchkeeper.detection.rule"] {
        assert!(event.attribute(key).is_none(), "{key}");
        assert!(event.unmapped.contains_key(&key.into()), "{key}");
    }
    assert!(event.identity.user.is_none() && event.unmapped.contains_key(&"user.id".into()));
}

#[test]
fn two_keys_for_one_thing_keep_both_where_they_differ() {
    let event =
        span_event(SCOPE, "chat", &json!({"gen_ai.system": "a", "gen_ai.provider.name": "b", "user.id": "u", "enduser.id": "v"}));
    let lines = lines(&event);
    assert!(lines.contains(&"user: u".to_owned()) && lines.contains(&"? enduser.id = v".to_owned()), "{lines:?}");
    let provider = |text: &str| lines.iter().any(|line| line.ends_with(&format!("gen_ai.provider.name = {text}")));
    assert!(provider("a") && provider("b"), "{lines:?}");
}

#[test]
fn content_that_is_too_long_is_cut_and_counted() {
    let event = span_event(SCOPE, "chat", &json!({"gen_ai.input.messages": "é".repeat(CONTENT_BYTES_MAX / 2 + 5)}));
    assert_eq!(event.pieces[0].content.expose().len(), CONTENT_BYTES_MAX);
    assert_eq!(event.attribute(attr::CONTENT_BYTES_CUT.as_str()), Some(&Value::Int(10)));
}

#[test]
fn an_attribute_of_control_characters_does_not_swell_the_record() {
    let event = span_event(SCOPE, "chat", &json!({"gen_ai.request.model": "m", "note": "\u{1}".repeat(8 << 20)}));
    let note = event.unmapped.get(&"note".into()).and_then(Value::as_text).map_or(0, |text| text.expose().len());
    assert!(note > 0 && note * 6 <= 1 << 20, "{note}");
    let cut = event.attribute(attr::CONTENT_BYTES_CUT.as_str()).and_then(Value::as_int).unwrap();
    assert_eq!(cut + i64::try_from(note).unwrap(), 8 << 20);
    assert_eq!(event.attribute("gen_ai.request.model").and_then(Value::as_text).map(|text| text.expose()), Some("m"));
}

#[test]
fn content_that_is_not_what_it_should_be_is_kept_as_text() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for (messages, expected) in [
        (r#"[{"role":"user","parts":[{"type":"text","content":"cut in the mid"#, None),
        (r#"[{"role":"user","role":"user","content":"twice"}]"#, Some(r#"{"role":"user","role":"user","content":"twice"}"#)),
        (r#"[{"role":7,"parts":{"type":"strange","x":1}}]"#, Some(r#"{"type":"strange","x":1}"#)),
        (
            r#"[{"role":"user","what":"an unknown field that holds it all"}]"#,
            Some(r#"{"role":"user","what":"an unknown field that holds it all"}"#),
        ),
        ("plain", None),
        // A list of one element, which is no message.
        (&deep, Some(&deep[1..deep.len() - 1])),
    ] {
        let event = span_event(SCOPE, "chat", &json!({"gen_ai.input.messages": messages}));
        let texts: Vec<&str> = event.pieces.iter().map(|piece| piece.content.expose()).collect();
        assert!(texts == [expected.unwrap_or(messages)], "{}", messages.get(..80).unwrap_or(messages));
    }
}

#[test]
fn the_history_ends_at_the_last_answer() {
    for (roles, history) in [
        ("u", vec![false]),
        ("s u", vec![false, false]),
        ("s u a u", vec![true, true, true, false]),
        ("u a u a", vec![true, true, false, false]),
        ("u a", vec![false, false]),
        ("u a a u", vec![true, true, true, false]),
        ("u a t t", vec![true, true, false, false]),
    ] {
        let messages: Vec<_> = roles
            .split(' ')
            .map(|role| {
                let name = match role {
                    "s" => "system",
                    "a" => "assistant",
                    "t" => "tool",
                    _ => "user",
                };
                json!({"role": name, "content": "x"})
            })
            .collect();
        let event = span_event(SCOPE, "chat", &json!({"gen_ai.input.messages": json!(messages).to_string()}));
        let marked: Vec<bool> = event.pieces.iter().map(|piece| piece.meta.history).collect();
        assert_eq!(marked, history, "{roles}");
    }
}

#[test]
fn span_events_and_links_are_bounded_and_chunks_counted() {
    let mut request = with_span(|_| ());
    let span = &mut request["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    let mut events: Vec<_> = (0..40).map(|_| json!({"name": "gen_ai.content.completion.chunk"})).collect();
    events.push(json!({"name": "exception", "attributes": [{"key": "exception.type", "value": {"stringValue": "Timeout"}}]}));
    events
        .push(json!({"name": "gen_ai.content.prompt", "attributes": [{"key": "gen_ai.prompt", "value": {"stringValue": "hi"}}]}));
    events.extend((0..300).map(|n| json!({"name": format!("e{n}")})));
    span["events"] = json!(events);
    span["links"] = json!([{"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331"}, {}]);
    let event = traces(&request).remove(0);
    assert_eq!(event.attribute(attr::CHUNK_EVENTS_DROPPED.as_str()), Some(&Value::Int(40)));
    assert_eq!(event.attribute(attr::ERROR_TYPE.as_str()), Some(&Value::Text("Timeout".into())));
    assert_eq!(event.status, event::Status::Error);
    assert_eq!(event.attribute(attr::ITEMS_DROPPED.as_str()), Some(&Value::Int(301 - 128)));
    assert_eq!(event.pieces[0].content.expose(), "hi");
    assert!(event.unmapped.contains_key(&"span.links".into()));
}

#[test]
fn an_empty_span_is_rejected_and_its_neighbours_are_not() {
    let mut request = with_span(|_| ());
    let spans = &mut request["resourceSpans"][0]["scopeSpans"][0]["spans"];
    let good = spans[0].clone();
    *spans = json!([good, {}, good]);
    let decoded = decode_traces(traces_from_json(request.to_string().as_bytes()).unwrap(), SourcePath::Import);
    assert_eq!(decoded.events.len(), 2);
    assert_eq!(decoded.rejected.iter().map(|rejected| rejected.place).collect::<Vec<_>>(), [1]);
}

#[test]
fn log_records_without_much() {
    let event = log("", "", &json!({"a": [1, 2.5, null]}), &json!({}));
    assert_eq!(lines(&event), ["agent_step Complete", "#0 Output Tool Body: {\"a\":[1,2.5,null]}"]);
    let mut request = log_request("", "x", &json!("y"), &json!({}));
    request["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["severityNumber"] = json!(-3);
    assert_eq!(logs(&request).len(), 1);
}

proptest::proptest! {
    /// Whatever the messages are: no panic, and no text of a message is lost.
    #[test]
    fn any_messages_become_pieces(text in r#"[\[\]{}":,a-z0-9 ]{1,80}"#, wrapped in "[a-z]{1,20}") {
        let message = json!([{"role": "user", "content": wrapped.clone()}]).to_string();
        for messages in [text, message.clone()] {
            let event = span_event(SCOPE, "chat", &json!({"gen_ai.input.messages": messages.clone()}));
            if messages == message {
                proptest::prop_assert_eq!(event.pieces[0].content.expose(), wrapped.as_str());
            }
        }
    }

    /// Spans made of any bytes decode without a panic.
    #[test]
    fn any_span_becomes_an_event(name: String, kind: i32, trace_id: Vec<u8>, start: u64, end: u64, event_name: String) {
        use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
        use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
        let events = vec![span::Event { name: event_name, ..Default::default() }];
        let span = Span { name: format!("n{name}"), kind, trace_id, start_time_unix_nano: start, end_time_unix_nano: end, events, ..Default::default() };
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..Default::default() }];
        let request = ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..Default::default() }] };
        proptest::prop_assert_eq!(decode_traces(request, SourcePath::Import).events.len(), 1);
    }
}
