//! Log records that wait for their spans.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use event::{Phase, attr};
use http::{Request, StatusCode};
use serde_json::json;
use tower::ServiceExt as _;

use super::support::{FakeRecorder, lines, log_request, span_request};
use crate::otlp::{Limits, Receiver};
use crate::{RawEvent, Receipt, RecordError, Recorder};

/// Long enough for any machine: these tests end when something happens, not when time has passed.
const LONG: Duration = Duration::from_secs(600);

/// A recorder that fails as often as it is told to.
#[derive(Default)]
struct Failing {
    recorder: FakeRecorder,
    failures: Mutex<Vec<RecordError>>,
}

impl Recorder for Failing {
    fn record(&self, events: Vec<RawEvent>) -> Pin<Box<dyn Future<Output = Result<Vec<Receipt>, RecordError>> + Send + '_>> {
        match self.failures.lock().unwrap().pop() {
            Some(failure) => Box::pin(async move { Err(failure) }),
            None => self.recorder.record(events),
        }
    }
}

fn receiver(recorder: &Arc<Failing>, join_window: Duration) -> Receiver {
    Receiver::new(Arc::clone(recorder) as Arc<dyn Recorder>, Limits { join_window, ..Limits::default() })
}

async fn post(router: Router, path: &str, request: &serde_json::Value) -> StatusCode {
    let request = Request::post(path).header("content-type", "application/json").body(Body::from(request.to_string())).unwrap();
    router.oneshot(request).await.unwrap().status()
}

const SCOPE: &str = "opentelemetry.instrumentation.openai_v2";

fn span() -> serde_json::Value {
    span_request(SCOPE, "chat gpt-4", &json!({"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 5}))
}

/// A request with the log records of one call, in the order in which they are given.
fn logs(records: &[(&str, serde_json::Value)]) -> serde_json::Value {
    let mut request = log_request(SCOPE, "", &json!(null), &json!({}));
    let all = &mut request["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
    *all = json!([]);
    for (name, body) in records {
        let one = log_request(SCOPE, name, body, &json!({"gen_ai.system": "openai"}));
        all.as_array_mut().unwrap().push(one["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0].clone());
    }
    request
}

fn call() -> serde_json::Value {
    logs(&[
        ("gen_ai.system.message", json!({"content": "Be terse."})),
        ("gen_ai.user.message", json!({"content": "Weather?"})),
        ("gen_ai.choice", json!({"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Rain."}})),
    ])
}

/// Sees a request as far as it comes without anything else happening.
async fn is_waiting(request: &mut (impl Future<Output = StatusCode> + Unpin)) -> bool {
    tokio::select! {
        biased;
        _ = request => false,
        () = std::future::ready(()) => true,
    }
}

#[tokio::test]
async fn content_is_joined_to_its_span_and_both_are_answered_when_it_is_recorded() {
    let recorder = Arc::new(Failing::default());
    let receiver = receiver(&recorder, LONG);
    let call = call();
    let mut logs = Box::pin(post(receiver.http(), "/v1/logs", &call));
    assert!(is_waiting(&mut logs).await);
    assert!(recorder.recorder.events.lock().unwrap().is_empty());
    assert_eq!(post(receiver.http(), "/v1/traces", &span()).await, StatusCode::OK);
    assert_eq!(logs.await, StatusCode::OK);

    let events = recorder.recorder.events.lock().unwrap();
    let expected = [
        "model_call Complete",
        "gen_ai.operation.name = chat",
        "gen_ai.provider.name = openai",
        "gen_ai.response.finish_reasons = [stop]",
        "gen_ai.usage.input_tokens = 5",
        "watchkeeper.joined.records = 3",
        "watchkeeper.unmapped.count = 1",
        "#0 Input System Text: Be terse.",
        "#1 Input User Text: Weather?",
        "#2 Output Assistant Text: Rain.",
    ];
    assert_eq!(lines(&events[0]), expected);
    let span_id = events[0].id.to_string();
    for stub in &events[1..] {
        assert!(stub.pieces.is_empty());
        assert_eq!(stub.attribute(attr::JOINED_TO.as_str()).and_then(|to| to.as_text()).map(|to| to.expose()), Some(&*span_id));
    }
    // What is left of a log record has the log record's id: its export is recognised when it is sent again.
    let again = super::support::logs(&call);
    assert_eq!(events.len(), 4);
    assert_eq!(events[1..].iter().map(|event| event.id).collect::<Vec<_>>(), super::support::ids(&again));
}

#[tokio::test]
async fn what_no_span_comes_for_stands_on_its_own_and_says_so() {
    let recorder = Arc::new(Failing::default());
    let receiver = receiver(&recorder, Duration::from_millis(1));
    assert_eq!(post(receiver.http(), "/v1/logs", &call()).await, StatusCode::OK);
    // The span comes too late for those, and before others.
    assert_eq!(post(receiver.http(), "/v1/traces", &span()).await, StatusCode::OK);
    let late = logs(&[("gen_ai.user.message", json!({"content": "And tomorrow?"}))]);
    assert_eq!(post(receiver.http(), "/v1/logs", &late).await, StatusCode::OK);
    let events = recorder.recorder.events.lock().unwrap();
    let missed = |event: &RawEvent| {
        event.attribute("watchkeeper.join.missed").and_then(|why| why.as_text()).map(|why| why.expose().to_owned())
    };
    let why: Vec<_> = events.iter().map(missed).collect();
    let (not_seen, before) = (Some("span_not_seen".to_owned()), Some("span_recorded_before".to_owned()));
    assert_eq!(why, [not_seen.clone(), not_seen.clone(), not_seen, None, before]);
    assert_eq!(events[2].phase, Phase::Response);
    // The last came after its span, and says which event that is; its content is its own.
    let (late, before) = events.split_last().unwrap();
    assert!(before.iter().all(|event| event.attribute(attr::JOINED_TO.as_str()).is_none()));
    let joined_to = late.attribute(attr::JOINED_TO.as_str()).and_then(|to| to.as_text()).map(|to| to.expose().to_owned());
    assert_eq!((joined_to, late.pieces.len()), (Some(events[3].id.to_string()), 1));
}

#[tokio::test]
async fn a_span_that_is_not_recorded_gives_back_what_waited_for_it() {
    let busy = RecordError::Busy { retry_after: Duration::from_secs(1) };
    let recorder = Arc::new(Failing { failures: Mutex::new(vec![busy]), ..Failing::default() });
    let receiver = receiver(&recorder, LONG);
    let call = call();
    let mut logs = Box::pin(post(receiver.http(), "/v1/logs", &call));
    assert!(is_waiting(&mut logs).await);
    assert_eq!(post(receiver.http(), "/v1/traces", &span()).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(logs.await, StatusCode::OK);
    let events = recorder.recorder.events.lock().unwrap();
    assert_eq!(events.len(), 3);
    assert!(events.iter().all(|event| !event.pieces.is_empty() && event.attribute(attr::JOIN_MISSED.as_str()).is_some()));
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing_behind() {
    let recorder = Arc::new(Failing::default());
    let receiver = receiver(&recorder, LONG);
    let call = call();
    let mut logs = Box::pin(post(receiver.http(), "/v1/logs", &call));
    assert!(is_waiting(&mut logs).await);
    drop(logs);
    assert_eq!(post(receiver.http(), "/v1/traces", &span()).await, StatusCode::OK);
    let events = recorder.recorder.events.lock().unwrap();
    assert_eq!(events.len(), 1);
    assert!(events[0].pieces.is_empty());
}

#[tokio::test]
async fn content_that_the_span_has_itself_is_not_kept_twice() {
    let recorder = Arc::new(Failing::default());
    let receiver = receiver(&recorder, LONG);
    let messages = json!([{"role": "user", "parts": [{"type": "text", "content": "Weather?"}]},
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "look", "arguments": {"at": 1}}]}]);
    let details = log_request(
        "opentelemetry.util.genai.handler",
        "gen_ai.client.inference.operation.details",
        &json!(null),
        &json!({"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 5, "gen_ai.input.messages": messages,
            "gen_ai.output.messages": [{"role": "assistant", "parts": [{"type": "text", "content": "Rain."}]}]}),
    );
    let mut logs = Box::pin(post(receiver.http(), "/v1/logs", &details));
    assert!(is_waiting(&mut logs).await);
    let span = span_request(
        "opentelemetry.util.genai.handler",
        "chat gpt-4",
        &json!({"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 5, "gen_ai.input.messages": messages.to_string().replace(":", ": ")}),
    );
    assert_eq!(post(receiver.http(), "/v1/traces", &span).await, StatusCode::OK);
    assert_eq!(logs.await, StatusCode::OK);
    let events = recorder.recorder.events.lock().unwrap();
    let expected = [
        "model_call Complete",
        "gen_ai.operation.name = chat",
        "gen_ai.usage.input_tokens = 5",
        "watchkeeper.duplicates.dropped = 2",
        "watchkeeper.joined.records = 1",
        "watchkeeper.unmapped.count = 1",
        "#0 Input User Text: Weather?",
        "#1 Input Assistant ToolCall <look> <c1>: {\"at\": 1}",
        "#2 Output Assistant Text: Rain.",
    ];
    assert_eq!(lines(&events[0]), expected);
}

#[tokio::test]
async fn an_exporter_in_a_hurry_does_not_wait() {
    let recorder = Arc::new(Failing::default());
    let receiver = receiver(&recorder, LONG);
    let many: Vec<_> = (0..257).map(|n| ("gen_ai.user.message", json!({"content": format!("question {n}")}))).collect();
    assert_eq!(post(receiver.http(), "/v1/logs", &logs(&many)).await, StatusCode::OK);
    let events = recorder.recorder.events.lock().unwrap();
    assert_eq!(events.len(), 257);
    assert!(events.iter().all(|event| event.attribute(attr::JOIN_MISSED.as_str()).is_some()));
}
