//! The two listeners, through real requests.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use event::SourcePath;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::json;
use tonic::codec::CompressionEncoding;
use tower::ServiceExt as _;

use super::support::{FakeRecorder, log_request, span_request};
use crate::otlp::export::{RetryInfo, RpcStatus};
use crate::otlp::{Limits, Receiver, logs_from_json, metrics_from_json, traces_from_json};
use crate::{RecordError, Recorder};

fn http_router(recorder: Arc<dyn Recorder>, limits: Limits) -> Router {
    Receiver::new(recorder, limits).http()
}

fn grpc_router(recorder: Arc<dyn Recorder>, limits: Limits) -> Router {
    Receiver::new(recorder, limits).grpc()
}

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

fn span_json() -> serde_json::Value {
    span_request("openlit", "chat", &json!({"gen_ai.operation.name": "chat", "gen_ai.input.messages": "hi"}))
}

fn span_request_message() -> ExportTraceServiceRequest {
    traces_from_json(span_json().to_string().as_bytes()).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn small_limits() -> Limits {
    Limits { body_bytes_max: 4096, decompressed_bytes_max: 64 * 1024, ..Limits::default() }
}

fn post(path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let builder = headers.iter().fold(Request::post(path), |builder, (name, value)| builder.header(*name, *value));
    builder.body(body.into()).unwrap()
}

async fn body(response: Response<Body>) -> Vec<u8> {
    response.into_body().collect().await.unwrap().to_bytes().to_vec()
}

#[tokio::test]
async fn http_takes_both_encodings_plain_and_compressed() {
    let recorder = Arc::new(FakeRecorder::default());
    let router = http_router(Arc::clone(&recorder) as Arc<dyn Recorder>, Limits::default());
    let json = span_json().to_string().into_bytes();
    let protobuf = span_request_message().encode_to_vec();
    for (content_type, encoding, body_bytes, answer) in [
        (PROTOBUF, "identity", protobuf.clone(), b"".to_vec()),
        (PROTOBUF, "gzip", gzip(&protobuf), b"".to_vec()),
        (PROTOBUF, "Deflate", deflate(&protobuf), b"".to_vec()),
        (PROTOBUF, "zstd", zstd::encode_all(&*protobuf, 1).unwrap(), b"".to_vec()),
        ("application/json; charset=utf-8", "", json.clone(), b"{}".to_vec()),
        (JSON, "gzip", gzip(&json), b"{}".to_vec()),
        (PROTOBUF, "", Vec::new(), b"".to_vec()),
        (JSON, "", b"{}".to_vec(), b"{}".to_vec()),
    ] {
        let request = post("/v1/traces", &[("content-type", content_type), ("content-encoding", encoding)], body_bytes);
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(body(response).await, answer);
    }
    let request = post("/v1/logs", &[("content-type", JSON)], log_request("", "x", &json!("y"), &json!({})).to_string());
    assert_eq!(router.oneshot(request).await.unwrap().status(), StatusCode::OK);
    let events = recorder.events.lock().unwrap();
    assert_eq!(events.len(), 7);
    assert!(events[..6].iter().all(|event| event.id == events[0].id && event.source.path == SourcePath::OtlpHttp));
}

#[tokio::test]
async fn http_tells_of_a_partial_success() {
    let mut request = span_json();
    request["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array_mut().unwrap().push(json!({}));
    let protobuf = traces_from_json(request.to_string().as_bytes()).unwrap().encode_to_vec();
    let router = http_router(Arc::new(FakeRecorder::default()), Limits::default());
    let response = router.clone().oneshot(post("/v1/traces", &[("content-type", JSON)], request.to_string())).await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&body(response).await).unwrap();
    assert_eq!(answer["partialSuccess"]["rejectedSpans"], "1");
    let response = router.oneshot(post("/v1/traces", &[("content-type", PROTOBUF)], protobuf)).await.unwrap();
    let answer = ExportTraceServiceResponse::decode(&*body(response).await).unwrap().partial_success.unwrap();
    assert_eq!(answer.rejected_spans, 1);
    assert!(answer.error_message.starts_with("#1: the span is empty"), "{}", answer.error_message);
}

/// A request with a span of each name; an empty name stands for an empty span.
fn spans(names: &[&str]) -> ExportTraceServiceRequest {
    let mut request = span_request_message();
    let spans = &mut request.resource_spans[0].scope_spans[0].spans;
    let good = spans.remove(0);
    spans.extend(names.iter().map(|name| match *name {
        "" => Default::default(),
        name => Span { name: name.to_owned(), ..good.clone() },
    }));
    request
}

async fn partial_success(recorder: &Arc<FakeRecorder>, body_bytes: Vec<u8>) -> (Vec<String>, i64, String) {
    let router = http_router(Arc::clone(recorder) as Arc<dyn Recorder>, Limits::default());
    let response = router.oneshot(post("/v1/traces", &[("content-type", PROTOBUF)], body_bytes)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let answer = ExportTraceServiceResponse::decode(&*body(response).await).unwrap().partial_success.unwrap_or_default();
    let names = recorder.events.lock().unwrap().iter().map(|event| event.name.expose().to_owned()).collect();
    (names, answer.rejected_spans, answer.error_message)
}

#[tokio::test]
async fn what_is_too_large_to_record_does_not_take_its_neighbours_along() {
    let large = "x".repeat(101);
    for (names, recorded, reasons) in [
        (
            vec!["a", "", &large, "b", "c", &large],
            vec!["a", "b", "c"],
            vec!["#1: the span is empty", "#2: it is too large", "#5: it is too large"],
        ),
        (vec![&large, "a"], vec!["a"], vec!["#0: it is too large"]),
        // Too large together, not alone.
        (vec![&large[..60], &large[..61], &large[..62]], vec![&large[..60], &large[..61], &large[..62]], vec![]),
    ] {
        let recorder = Arc::new(FakeRecorder { bytes_max: Some(100), ..FakeRecorder::default() });
        let (names, rejected, message) = partial_success(&recorder, spans(&names).encode_to_vec()).await;
        assert_eq!(names, recorded);
        assert_eq!(rejected, i64::try_from(reasons.len()).unwrap());
        assert!(reasons.iter().all(|reason| message.contains(reason)), "{message}");
    }
}

#[tokio::test]
async fn a_malformed_span_does_not_take_its_neighbours_along() {
    let mut bytes = spans(&["a", "bad!", "", "b", "bad!", ""]).encode_to_vec();
    while let Some(at) = bytes.windows(4).position(|window| window == b"bad!") {
        bytes[at] = 0xff;
    }
    let recorder = Arc::new(FakeRecorder::default());
    let (names, rejected, message) = partial_success(&recorder, bytes).await;
    assert_eq!((names, rejected), (vec!["a".to_owned(), "b".to_owned()], 4));
    for reason in ["#1: it is malformed", "#2: the span is empty", "#4: it is malformed", "#5: the span is empty"] {
        assert!(message.contains(reason), "{message}");
    }
}

#[tokio::test]
async fn grpc_saves_the_neighbours_of_what_is_malformed_too() {
    let mut bytes = spans(&["a", "bad!", "b"]).encode_to_vec();
    let at = bytes.windows(4).position(|window| window == b"bad!").unwrap();
    bytes[at] = 0xff;
    let recorder = Arc::new(FakeRecorder::default());
    let router = grpc_router(Arc::clone(&recorder) as Arc<dyn Recorder>, Limits::default());
    for (encoding, message) in [("identity", bytes.clone()), ("zstd", zstd::encode_all(&*bytes, 1).unwrap())] {
        let flag = u8::from(encoding != "identity");
        let frame = [&[flag][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), &message].concat();
        let headers = [("content-type", "application/grpc"), ("grpc-encoding", encoding)];
        let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
        let response = router.clone().oneshot(post(path, &headers, frame)).await.unwrap();
        assert!(response.headers()["grpc-accept-encoding"].to_str().unwrap().contains("zstd"));
        let answer = ExportTraceServiceResponse::decode(&body(response).await[5..]).unwrap().partial_success.unwrap();
        assert_eq!(answer.rejected_spans, 1);
        assert!(answer.error_message.starts_with("#1: it is malformed"), "{}", answer.error_message);
    }
    let names: Vec<String> = recorder.events.lock().unwrap().iter().map(|event| event.name.expose().to_owned()).collect();
    assert_eq!(names, ["a", "b", "a", "b"]);
}

#[tokio::test]
async fn metrics_tell_of_a_partial_success_over_both_protocols() {
    let point = json!({"timeUnixNano": "1700000000000000000", "asInt": "7"});
    let metrics = json!([{"name": "gen_ai.x", "gauge": {"dataPoints": [point]}}, {"name": "gen_ai.y"}]);
    let request = json!({"resourceMetrics": [{"scopeMetrics": [{"scope": {"name": "x"}, "metrics": metrics}]}]});
    let recorder = Arc::new(FakeRecorder::default());
    let receiver = Receiver::new(Arc::clone(&recorder) as Arc<dyn Recorder>, Limits::default());
    let response = receiver.http().oneshot(post("/v1/metrics", &[("content-type", JSON)], request.to_string())).await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&body(response).await).unwrap();
    assert_eq!(answer["partialSuccess"]["rejectedDataPoints"], "1");
    let request = metrics_from_json(request.to_string().as_bytes()).unwrap();
    let mut client = MetricsServiceClient::new(channel(serve(receiver.grpc()).await).await);
    let answer = client.export(request).await.unwrap().into_inner().partial_success.unwrap();
    assert_eq!((answer.rejected_data_points, &*answer.error_message), (1, "#1: the metric has no data"));
    let events = recorder.events.lock().unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].id, events[1].id);
}

#[tokio::test]
async fn http_refuses_with_a_reason() {
    let recorder = Arc::new(FakeRecorder::default());
    let router = http_router(Arc::clone(&recorder) as Arc<dyn Recorder>, small_limits());
    let good = span_json().to_string();
    let bomb = gzip(&vec![b' '; 200_000]);
    let zstd_bomb = zstd::encode_all(&*vec![b' '; 1 << 20], 1).unwrap();
    let deep = format!(r#"{{"resourceSpans":{}{}}}"#, "[".repeat(1_500), "]".repeat(1_500));
    for (path, headers, body_bytes, status, reason) in [
        ("/v1/traces", vec![("content-type", "text/plain")], good.clone().into_bytes(), 415, "content-type"),
        ("/v1/traces", vec![], good.clone().into_bytes(), 415, "content-type"),
        (
            "/v1/traces",
            vec![("content-type", JSON), ("content-encoding", "br")],
            good.clone().into_bytes(),
            415,
            "content-encoding",
        ),
        ("/v1/traces", vec![("content-type", JSON), ("content-encoding", "gzip")], good.clone().into_bytes(), 400, "gzip"),
        ("/v1/traces", vec![("content-type", JSON), ("origin", "https://evil.test")], good.clone().into_bytes(), 403, "origin"),
        ("/v1/traces", vec![("content-type", JSON)], b"{\"resourceSpans\":7}".to_vec(), 400, "resourceSpans"),
        ("/v1/traces", vec![("content-type", JSON)], deep.into_bytes(), 400, "resourceSpans"),
        (
            "/v1/logs",
            vec![("content-type", JSON)],
            b"{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"timeUnixNano\":-1}]}]}]}".to_vec(),
            400,
            "resourceLogs[0].scopeLogs[0].logRecords[0].timeUnixNano",
        ),
        (
            "/v1/traces",
            vec![("content-type", PROTOBUF)],
            vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            400,
            "longer than",
        ),
        ("/v1/traces", vec![("content-type", PROTOBUF)], b"\x0a\x02\x12\x09".to_vec(), 400, "resource_spans[0]"),
        ("/v1/traces", vec![("content-type", JSON)], vec![b' '; 5000], 413, "4096"),
        ("/v1/traces", vec![("content-type", JSON), ("content-encoding", "gzip")], bomb, 413, "65536"),
        ("/v1/logs", vec![("content-type", JSON), ("content-encoding", "zstd")], zstd_bomb, 413, "65536"),
        ("/v1/logs", vec![("content-type", JSON), ("content-encoding", "zstd")], gzip(b"{}"), 400, "zstd"),
        ("/v1/metrics", vec![("content-type", JSON)], b"{\"resourceMetrics\":7}".to_vec(), 400, "resourceMetrics"),
    ] {
        let is_protobuf = headers.contains(&("content-type", PROTOBUF));
        let response = router.clone().oneshot(post(path, &headers, body_bytes)).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{headers:?}");
        let body = body(response).await;
        let message = if is_protobuf {
            RpcStatus::decode(&*body).unwrap().message
        } else {
            serde_json::from_slice::<serde_json::Value>(&body).unwrap()["message"].as_str().unwrap().to_owned()
        };
        assert!(message.contains(reason), "{message} does not say {reason}");
    }
    assert!(recorder.events.lock().unwrap().is_empty());
    // The neighbour is served.
    let response = router.oneshot(post("/v1/traces", &[("content-type", JSON)], good)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_allowed_origin_may_send() {
    let limits = Limits { origins_allowed: vec!["https://console.test".to_owned()], ..Limits::default() };
    let router = http_router(Arc::new(FakeRecorder::default()), limits);
    let request = post("/v1/traces", &[("content-type", JSON), ("origin", "https://console.test")], "{}");
    assert_eq!(router.oneshot(request).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn http_says_when_to_come_back() {
    for (failure, status, retry_after) in [
        (RecordError::Busy { retry_after: Duration::from_millis(2500) }, 503, Some("3")),
        (RecordError::Stopped { reason: "/secret/path: disk full".to_owned() }, 503, Some("30")),
        (RecordError::TooLarge { bytes: 9, bytes_max: 1 }, 413, None),
    ] {
        let router = http_router(Arc::new(FakeRecorder { failure: Some(failure), ..FakeRecorder::default() }), Limits::default());
        let response = router.oneshot(post("/v1/traces", &[("content-type", JSON)], span_json().to_string())).await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.headers().get("retry-after").map(|value| value.to_str().unwrap()), retry_after);
        assert!(!String::from_utf8(body(response).await).unwrap().contains("secret"));
    }
}

#[tokio::test]
async fn what_is_in_flight_is_bounded_and_given_back() {
    let limits = Limits { in_flight_bytes_max: 2048, ..Limits::default() };
    let router = http_router(Arc::new(FakeRecorder::default()), limits);
    for _ in 0..3 {
        let long = post("/v1/traces", &[("content-type", JSON)], vec![b' '; 4000]);
        assert_eq!(router.clone().oneshot(long).await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
        let short = post("/v1/traces", &[("content-type", JSON)], "{}");
        assert_eq!(router.clone().oneshot(short).await.unwrap().status(), StatusCode::OK);
    }
}

async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

async fn channel(address: String) -> tonic::transport::Channel {
    tonic::transport::Endpoint::from_shared(address).unwrap().connect().await.unwrap()
}

#[tokio::test]
async fn grpc_speaks_with_a_real_client() {
    let recorder = Arc::new(FakeRecorder::default());
    let channel = channel(serve(grpc_router(Arc::clone(&recorder) as Arc<dyn Recorder>, Limits::default())).await).await;
    let mut plain = TraceServiceClient::new(channel.clone());
    assert_eq!(plain.export(span_request_message()).await.unwrap().into_inner().partial_success, None);
    let mut compressed = TraceServiceClient::new(channel.clone()).send_compressed(CompressionEncoding::Gzip);
    compressed.export(span_request_message()).await.unwrap();
    plain.export(ExportTraceServiceRequest::default()).await.unwrap();
    let request = log_request("", "x", &json!("y"), &json!({})).to_string();
    let mut logs = LogsServiceClient::new(channel);
    logs.export(logs_from_json(request.as_bytes()).unwrap()).await.unwrap();
    logs.export(ExportLogsServiceRequest::default()).await.unwrap();
    let events = recorder.events.lock().unwrap();
    assert_eq!(events.len(), 3);
    assert_eq!(events[0].source.path, SourcePath::OtlpGrpc);
}

#[tokio::test]
async fn grpc_refuses_with_a_code() {
    for (failure, code, retry) in [
        (RecordError::Busy { retry_after: Duration::from_millis(2500) }, tonic::Code::Unavailable, Some((2, 500_000_000))),
        (RecordError::Stopped { reason: String::new() }, tonic::Code::Unavailable, Some((30, 0))),
        (RecordError::TooLarge { bytes: 9, bytes_max: 1 }, tonic::Code::InvalidArgument, None),
    ] {
        let recorder = FakeRecorder { failure: Some(failure), ..FakeRecorder::default() };
        let channel = channel(serve(grpc_router(Arc::new(recorder), Limits::default())).await).await;
        let status = TraceServiceClient::new(channel).export(span_request_message()).await.unwrap_err();
        assert_eq!(status.code(), code);
        let details = RpcStatus::decode(status.details()).unwrap().details;
        let delay = details.first().map(|any| RetryInfo::decode(&*any.value).unwrap().retry_delay.unwrap());
        assert_eq!(delay.map(|delay| (delay.seconds, delay.nanos)), retry);
    }
    let router = grpc_router(Arc::new(FakeRecorder::default()), small_limits());
    let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let frame = |flag: u8, length: u32, message: &[u8]| [&[flag][..], &length.to_be_bytes(), message].concat();
    let bomb = gzip(&vec![0; 200_000]);
    let bomb = frame(1, u32::try_from(bomb.len()).unwrap(), &bomb);
    for (path, headers, body, code) in [
        (path, vec![], frame(0, 9, b"short"), "3"),
        (path, vec![], frame(0, 1, b"long"), "3"),
        (path, vec![], frame(7, 0, b""), "3"),
        (path, vec![], b"abc".to_vec(), "3"),
        (path, vec![], frame(0, 2, &[0x0a, 0x09]), "3"),
        (path, vec![("grpc-encoding", "br")], frame(1, 1, b"x"), "12"),
        (path, vec![("grpc-encoding", "gzip")], bomb, "3"),
        (path, vec![], vec![0; 5000], "3"),
        ("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", vec![], frame(0, 0, b""), "0"),
        ("/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export", vec![], frame(0, 0, b""), "12"),
    ] {
        let mut headers = headers;
        headers.push(("content-type", "application/grpc+proto"));
        let response = router.clone().oneshot(post(path, &headers, body)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let status = response.headers().get("grpc-status").map_or("0", |status| status.to_str().unwrap());
        assert_eq!(status, code, "{headers:?}");
    }
    let response = router.oneshot(post(path, &[("content-type", JSON)], "{}")).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
}
