//! Tests of the events API: the decoder as a function, the route over a router.

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;

use event::{Kind, Part, Phase, Role, Status, Value, attr};
use proptest::prelude::*;
use tower::ServiceExt as _;

use super::*;
use crate::{RawEvent, Receipt};

struct Memory {
    events: Mutex<Vec<RawEvent>>,
    error: Option<RecordError>,
}

impl Recorder for Memory {
    fn record(&self, events: Vec<RawEvent>) -> Pin<Box<dyn Future<Output = Result<Vec<Receipt>, RecordError>> + Send + '_>> {
        Box::pin(async move {
            if let Some(error) = &self.error {
                return Err(error.clone());
            }
            let mut stored = self.events.lock().unwrap();
            let receipts = events
                .iter()
                .zip(stored.len() as u64..)
                .map(|(event, position)| Receipt { event_id: event.id, position, duplicate: false })
                .collect();
            stored.extend(events);
            Ok(receipts)
        })
    }
}

async fn post(error: Option<RecordError>, body: impl Into<Body>) -> (StatusCode, serde_json::Value, usize) {
    let memory = Arc::new(Memory { events: Mutex::default(), error });
    let limits = Limits { body_bytes_max: 64 * 1024, ..Limits::default() };
    let recorder: Arc<dyn Recorder> = memory.clone();
    let request = http::Request::post("/v1/events").body(body.into()).unwrap();
    let response = router(recorder, limits).oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let count = memory.events.lock().unwrap().len();
    (status, serde_json::from_slice(&body).unwrap(), count)
}

#[test]
fn nobody_speaks_for_watchkeeper_itself() {
    let refused = |event: &str| decode_events(event.as_bytes()).unwrap_err().field;
    assert_eq!(refused(r#"{"kind":"admin","name":"hold.release"}"#).as_deref(), Some("name"));
    assert_eq!(refused(r#"{"kind":"data_access","name":"Record.Read"}"#).as_deref(), Some("name"));
    assert_eq!(refused(r#"{"kind":"tool_call","application":"watchkeeper"}"#).as_deref(), Some("application"));
    for name in ["search.create", "search.delete", "suppression.create", "person.sessions.end", "triage.lost", "drill.play"] {
        let error = decode_events(format!(r#"{{"kind":"admin","name":"{name}"}}"#).as_bytes()).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("name"), "{name}");
        assert!(error.message.contains("Watchkeeper itself") && error.remedy.contains("your application"), "{error}");
        assert!(decode_events(format!(r#"{{"kind":"admin","name":"mine.{name}"}}"#).as_bytes()).is_ok(), "{name}");
    }
    assert!(decode_events(br#"{"kind":"tool_call","name":"holds","application":"mine"}"#).is_ok());
    assert!(decode_events(br#"{"kind":"tool_call","name":"search.documents"}"#).is_ok());
}

#[test]
fn a_retry_is_the_same_event_and_nothing_else_can_take_its_place() {
    let id = |name: &str, id: &str| {
        let line = format!(r#"{{"kind":"tool_call","name":"{name}","id":"{id}"}}"#);
        decode_events(line.as_bytes()).unwrap()[0].id
    };
    let (one, other) = ("0190163d-8694-739b-aea5-966c26f8ad90", "0190163d-8694-739b-aea5-966c26f8ad91");
    assert_eq!(id("a", one), id("a", one));
    assert_ne!(id("a", one), id("b", one), "another event with the same id is another event");
    assert_ne!(id("a", one), id("a", other));
    assert_ne!(id("a", one).to_string(), one, "ids that Watchkeeper gives cannot be chosen");
}

#[test]
fn what_only_watchkeeper_says_is_refused() {
    for kind in ["detection", "response_action"] {
        let error = decode_events(format!(r#"{{"kind":"{kind}"}}"#).as_bytes()).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("kind"), "{kind}");
    }
}

#[test]
fn a_sensor_tells_of_its_own_losses_only() {
    let gap = |rest: &str| decode_events(format!(r#"{{"kind":"gap"{rest}}}"#).as_bytes()).map_err(|error| error.field.unwrap());
    let told = gap(r#","attributes":{"watchkeeper.gap.reason":"sensor_unreachable","watchkeeper.gap.count":3}"#).unwrap();
    assert_eq!((told[0].name.expose(), told[0].source.path), ("sensor.lost", event::SourcePath::Api));
    let (reason, count) = ("attributes.watchkeeper.gap.reason", "attributes.watchkeeper.gap.count");
    for (rest, field) in [
        ("", reason),
        (r#","name":"recorder.not_running""#, "name"),
        (r#","attributes":{"watchkeeper.gap.reason":"not_running","watchkeeper.gap.count":3}"#, reason),
        (r#","attributes":{"watchkeeper.gap.reason":"sensor_x"}"#, count),
        (r#","attributes":{"watchkeeper.gap.reason":"sensor_x","watchkeeper.gap.count":0}"#, count),
    ] {
        assert_eq!(gap(rest).unwrap_err(), field, "{rest}");
    }
}

#[test]
fn a_sensor_says_who_and_where_it_has_it_from() {
    let events = decode_events(
        br#"{"kind":"tool_call","phase":"request","source":{"path":"mcp","dialect":"mcp","scope":"proxy","scope_version":"1"},
            "user.id":{"id":"u","name":"Ada"},"agent":{"id":"a","version":"2"},"delegation":["b",{"id":"c"}],
            "client":{"address":"192.0.2.1"},
            "messages":[{"role":"document","content":"d","direction":"output","message":7,"score":0.5,"history":true,"failed":false}]}"#,
    )
    .unwrap();
    let [event] = &events[..] else { panic!("{events:?}") };
    assert_eq!((event.phase, event.source.path, event.source.dialect.as_str()), (Phase::Request, event::SourcePath::Mcp, "mcp"));
    assert_eq!(event.source.scope, Some(Raw::from("proxy")));
    assert_eq!(event.identity.user.as_ref().unwrap().name, Some(Raw::from("Ada")));
    assert_eq!(event.identity.agent.as_ref().unwrap().version, Some(Raw::from("2")));
    let chain: Vec<_> = event.identity.delegation.iter().map(|agent| agent.id.expose()).collect();
    assert_eq!(chain, ["b", "c"]);
    assert_eq!(event.identity.client.as_ref().unwrap().address, Some(Raw::from("192.0.2.1")));
    let meta = &event.pieces[0].meta;
    assert_eq!((meta.message, meta.score, meta.history, meta.failed), (7, Some(0.5), true, Some(false)));
    let refused = |event: &str| decode_events(event.as_bytes()).unwrap_err().field.unwrap();
    for (event, field) in [
        (r#"{"kind":"session","source":{"path":"internal"}}"#, "source.path"),
        (r#"{"kind":"session","source":{"path":"gateway"}}"#, "source.path"),
        (r#"{"kind":"session","source":{"dialect":"A b"}}"#, "source.dialect"),
        (r#"{"kind":"session","source":1}"#, "source"),
        (r#"{"kind":"session","phase":"half"}"#, "phase"),
        (r#"{"kind":"session","agent":{"name":"x"}}"#, "agent.id"),
        (r#"{"kind":"session","delegation":[1]}"#, "delegation[0]"),
        (r#"{"kind":"session","client":[]}"#, "client"),
        (r#"{"kind":"session","messages":[{"role":"user","content":"a","message":-1}]}"#, "messages[0].message"),
        (r#"{"kind":"session","messages":[{"role":"user","content":"a","score":"x"}]}"#, "messages[0].score"),
        (r#"{"kind":"session","messages":[{"role":"user","content":"a","failed":0}]}"#, "messages[0].failed"),
    ] {
        assert_eq!(refused(event), field, "{event}");
    }
}

#[test]
fn an_event_with_everything() {
    let events = decode_events(
        br#"{"id":"0190163d-8694-739b-aea5-966c26f8ad90","kind":"tool_call","time":"2026-01-31T12:00:00.5Z","name":"weather",
            "session.id":"s","turn":"2","user.id":"u","application":"app","agent":"planner","status":"error","duration_ms":1.5,
            "trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331",
            "attributes":{"gen_ai.request.model":"m","mine":[1,{"a":true}]},"extra":"kept",
            "tool":{"name":"get_weather","arguments":{"city":"Paris"},"result":"sunny","call_id":"c1","failed":false},
            "messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"hello"},{"role":"document","content":{"a":1},"name":"d"}]}"#,
    )
    .unwrap();
    let [event] = &events[..] else { panic!("{events:?}") };
    assert_eq!(event.unmapped[&Raw::from("id")], Value::Text(Raw::from("0190163d-8694-739b-aea5-966c26f8ad90")));
    assert_eq!((event.kind, event.status, event.duration_ns), (Kind::ToolCall, Status::Error, Some(1_500_000)));
    assert_eq!(event.time.unix_ns(), 1_769_860_800_500_000_000);
    assert_eq!(event.attributes[&attr::GEN_AI_TOOL_NAME], Value::from("get_weather"));
    assert_eq!(event.attributes[&attr::UNMAPPED_COUNT], Value::Int(2));
    assert!(event.unmapped.contains_key(&Raw::from("mine")) && event.unmapped.contains_key(&Raw::from("extra")));
    let pieces: Vec<_> = event
        .pieces
        .iter()
        .map(|piece| (piece.meta.role, piece.meta.part, piece.meta.direction, piece.content.expose()))
        .collect();
    use event::Direction::{Input, Output};
    assert_eq!(
        pieces,
        [
            (Role::Assistant, Part::ToolCall, Input, r#"{"city":"Paris"}"#),
            (Role::Tool, Part::ToolResult, Output, "sunny"),
            (Role::User, Part::Text, Input, "hi"),
            (Role::Assistant, Part::Text, Output, "hello"),
            (Role::Document, Part::Document, Input, r#"{"a":1}"#),
        ]
    );
}

use crate::Raw;

#[test]
fn one_many_or_one_a_line() {
    for (body, count) in [
        (r#"{"kind":"session"}"#, 1),
        (r#"[{"kind":"session"},{"kind":"admin"}]"#, 2),
        ("{\"kind\":\"session\"}\n{\"kind\":\"admin\"}\n\n", 2),
    ] {
        assert_eq!(decode_events(body.as_bytes()).unwrap().len(), count, "{body}");
    }
}

#[test]
fn errors_name_the_event_and_the_field_and_the_remedy() {
    let deep = format!(r#"{{"kind":"session","attributes":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let long = format!(r#"{{"kind":"session","user.id":"{}"}}"#, "u".repeat(2_000));
    let many: String = "{\"kind\":\"session\"}\n".repeat(EVENTS_MAX + 1);
    let cases: &[(&str, Option<usize>, Option<&str>)] = &[
        ("", None, None),
        ("nonsense", None, None),
        ("{\"kind\":", None, None),
        (&many, None, None),
        ("3", Some(0), None),
        (r#"{"kind":"session","kind":"admin"}"#, Some(0), None),
        (r#"[{"kind":"session"},{}]"#, Some(1), Some("kind")),
        (r#"{"kind":"nothing"}"#, Some(0), Some("kind")),
        (r#"{"kind":"session","id":"x"}"#, Some(0), Some("id")),
        (r#"{"kind":"session","time":"1969-12-31T23:59:59Z"}"#, Some(0), Some("time")),
        (r#"{"kind":"session","time":-1}"#, Some(0), Some("time")),
        (r#"{"kind":"session","time":true}"#, Some(0), Some("time")),
        (r#"{"kind":"session","user.id":7}"#, Some(0), Some("user.id")),
        (r#"{"kind":"session","user.id":""}"#, Some(0), Some("user.id")),
        (&long, Some(0), Some("user.id")),
        (r#"{"kind":"session","trace_id":"0"}"#, Some(0), Some("trace_id")),
        (r#"{"kind":"session","span_id":"b7ad6b7169203331"}"#, Some(0), Some("trace_id")),
        (r#"{"kind":"session","status":"fine"}"#, Some(0), Some("status")),
        (r#"{"kind":"session","duration_ms":-1}"#, Some(0), Some("duration_ms")),
        (&deep, Some(0), Some("attributes")),
        (r#"{"kind":"session","tool":{}}"#, Some(0), Some("tool.name")),
        (r#"{"kind":"session","messages":{}}"#, Some(0), Some("messages")),
        (
            r#"{"kind":"session","messages":[{"role":"user","content":"a"},{"role":"king","content":"a"}]}"#,
            Some(0),
            Some("messages[1].role"),
        ),
        (r#"{"kind":"session","messages":[{"role":"user"}]}"#, Some(0), Some("messages[0].content")),
        (r#"{"kind":"session","messages":[{"role":"user","content":"a","part":"x"}]}"#, Some(0), Some("messages[0].part")),
    ];
    for (body, index, field) in cases {
        let error = decode_events(body.as_bytes()).unwrap_err();
        let shown = &body[..body.len().min(90)];
        assert_eq!((error.index, error.field.as_deref()), (*index, *field), "{shown}: {error}");
        assert!(!error.message.is_empty() && !error.remedy.is_empty(), "{shown}");
    }
    assert!(decode_events(b"\xff").unwrap_err().message.contains("UTF-8"));
}

#[test]
fn depth_in_a_value_is_kept_as_text() {
    let deep = format!(r#"{{"kind":"session","attributes":{{"a":{}{}}}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let events = decode_events(deep.as_bytes()).unwrap();
    assert!(matches!(&events[0].unmapped[&Raw::from("a")], Value::Text(text) if text.expose().len() == 20_000));
}

#[tokio::test]
async fn receipts_come_back_in_order() {
    let (status, body, count) = post(None, r#"[{"kind":"session"},{"kind":"admin"}]"#).await;
    assert_eq!((status, count), (StatusCode::OK, 2));
    assert_eq!(body["receipts"][1]["position"], 1);
    assert_eq!(body["receipts"][0]["duplicate"], false);
    assert!(body["receipts"][0]["event_id"].is_string());
}

#[tokio::test]
async fn what_cannot_be_recorded_is_said() {
    let (status, body, count) = post(None, r#"[{"kind":"session"},{"kind":"x"}]"#).await;
    assert_eq!(
        (status, count, &body["error"]["index"], &body["error"]["field"]),
        (StatusCode::BAD_REQUEST, 0, &1.into(), &"kind".into())
    );
    let (status, ..) = post(None, vec![b' '; 100 * 1024]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let busy = RecordError::Busy { retry_after: Duration::from_secs(2) };
    let (status, body, _) = post(Some(busy), r#"{"kind":"session"}"#).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body["error"]["remedy"].as_str().unwrap().contains("again"));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
        let _ = decode_events(&bytes);
    }

    #[test]
    fn no_json_makes_it_panic(kind in "[a-z_]{0,12}", key in "[a-z._]{0,12}", value in "(\\[|\\{|\"a\":|1|,|\\]|\\}){0,12}") {
        let _ = decode_events(format!(r#"{{"kind":"{kind}","{key}":{value}}}"#).as_bytes());
    }
}
