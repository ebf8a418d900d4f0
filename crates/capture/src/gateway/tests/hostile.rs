//! Clients and upstreams that are broken or mean it.

use std::time::Duration;

use event::{Phase, Status, attr};
use tokio::io::AsyncWriteExt as _;

use super::support::*;
use crate::gateway::{Limits, OnRecordFailure};

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_a_reason_and_recorded() {
    let mut stage = Stage::new(OPEN, OPEN).await;
    let cases: &[(&str, &[u8], u16, &str)] = &[
        ("/v1/chat/completions", b"{\"messages\": [", 400, "invalid_request_error"),
        ("/v1/messages", b"{\"messages\": [", 400, "\"type\":\"error\"}"),
        ("/v1/chat/completions", b"{\"model\":\"\xff\"}", 400, "offset 10"),
        ("/v1/chat/completions", b"{\"messages\":[],\"messages\":[1]}", 400, "stands twice"),
    ];
    for (path, body, status, reason) in cases {
        let seen = stage.send(&format!("POST {path} HTTP/1.1"), body).await.all().await.replace("\\\"", "\"");
        assert!(seen.starts_with(&format!("HTTP/1.1 {status}")) && seen.contains(reason), "{seen}");
        let event = stage.event().await;
        assert_eq!((event.phase, event.status), (Phase::Complete, Status::Error));
        assert_eq!(attribute(&event, attr::ERROR_TYPE.as_str()), "request_malformed");
        assert_eq!(texts(&event), [String::from_utf8_lossy(body)]);
    }
}

#[tokio::test]
async fn a_path_cannot_leave_the_base_of_its_upstream() {
    let mut stage = Stage::new(OPEN, OPEN).await;
    for (method, path) in
        [("GET", "/v1/../../admin"), ("GET", "/v1/%2e%2E/%2e%2e/x"), ("POST", "/v1/x/../chat/completions"), ("GET", "/v1/..%5cx")]
    {
        let seen = stage.send(&format!("{method} {path} HTTP/1.1"), b"").await.all().await;
        assert!(seen.starts_with("HTTP/1.1 400") && seen.contains("upstream's base"), "{seen}");
        let event = stage.event().await;
        assert_eq!((event.phase, event.status), (Phase::Complete, Status::Error));
        assert_eq!(attribute(&event, attr::ERROR_TYPE.as_str()), "path_refused");
    }
}

#[tokio::test]
async fn depth_passes_and_is_recorded() {
    let mut stage = Stage::new(OPEN, OPEN).await;
    let deep = format!("{}{}", "{\"a\":".repeat(10_000), "1".to_owned() + &"}".repeat(10_000));
    let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hello"}}],"tools":[{deep}],"x":{deep}}}"#);
    let client = stage.chat(&body).await;
    let (request, mut upstream) = stage.call().await;
    assert!(request.ends_with(&body), "the body went on unchanged");
    answer(&mut upstream, "200 OK", WHOLE).await;
    assert!(client.all().await.starts_with("HTTP/1.1 200"));
    assert_eq!(texts(&stage.event().await), [deep.as_str(), "hello"]);
}

#[tokio::test]
async fn a_body_of_100_mb_is_refused_while_the_neighbour_is_served() {
    let mut stage = Stage::new(OPEN, OPEN).await;
    let large = stage.send("POST /v1/chat/completions HTTP/1.1", vec![b' '; 100_000_000]);
    let (large, neighbour) = tokio::join!(large, stage.chat(ASK));
    let (_, mut upstream) = stage.call().await;
    answer(&mut upstream, "200 OK", WHOLE).await;
    assert!(neighbour.all().await.starts_with("HTTP/1.1 200"));
    let seen = large.all().await;
    assert!(seen.starts_with("HTTP/1.1 413") && seen.contains("request_bytes_max"), "{seen}");
}

#[tokio::test]
async fn a_body_without_length_is_bounded_too() {
    let limits = Limits { request_bytes_max: 1_000, ..Limits::default() };
    let stage = Stage::with(OPEN, OPEN, limits, OnRecordFailure::FailClosed).await;
    let mut connection = tokio::net::TcpStream::connect(stage.gateway).await.unwrap();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    connection.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..20 {
        chunk(&mut connection, [b' '; 100]).await;
    }
    chunk(&mut connection, "").await;
    let mut seen = String::new();
    patiently(tokio::io::AsyncReadExt::read_to_string(&mut connection, &mut seen)).await.unwrap();
    assert!(seen.starts_with("HTTP/1.1 413"), "{seen}");
}

#[tokio::test]
async fn memory_for_bodies_is_bounded_over_all_calls() {
    let limits = Limits { buffered_bytes_max: 64 * 1024, ..Limits::default() };
    let mut stage = Stage::with(OPEN, OPEN, limits, OnRecordFailure::FailClosed).await;
    let body = format!(r#"{{"model":"m","messages":[],"x":"{}"}}"#, "x".repeat(40_000));
    let _first = stage.chat(&body).await;
    let _held = stage.call().await;
    let seen = stage.chat(&body).await.all().await;
    assert!(seen.starts_with("HTTP/1.1 503") && seen.contains("retry-after: 1") && seen.contains("gateway_busy"), "{seen}");
}

#[tokio::test]
async fn an_upstream_that_hangs_is_given_up_and_its_neighbour_is_served() {
    let limits = Limits { upstream_idle: Duration::from_millis(300), ..Limits::default() };
    let mut stage = Stage::with(OPEN, OPEN, limits, OnRecordFailure::FailClosed).await;
    let hanging = stage.chat(ASK).await;
    let _held = stage.call().await;
    let neighbour = stage.chat(ASK).await;
    let (_, mut upstream) = stage.call().await;
    answer(&mut upstream, "200 OK", WHOLE).await;
    assert!(neighbour.all().await.starts_with("HTTP/1.1 200"));
    let seen = hanging.all().await;
    assert!(seen.starts_with("HTTP/1.1 504") && seen.contains("upstream_timeout"), "{seen}");
    for _ in 0..3 {
        stage.event().await;
    }
    assert_eq!(attribute(&stage.event().await, attr::ERROR_TYPE.as_str()), "upstream_timeout");
}

#[tokio::test]
async fn a_stream_that_falls_silent_ends_with_an_error() {
    let limits = Limits { upstream_idle: Duration::from_millis(200), ..Limits::default() };
    let mut stage = Stage::with(OPEN, OPEN, limits, OnRecordFailure::FailClosed).await;
    let client = stage.chat(ASK_STREAM).await;
    let (_, mut upstream) = stage.call().await;
    begin_stream(&mut upstream).await;
    chunk(&mut upstream, delta("one")).await;
    let seen = client.all().await;
    assert!(seen.contains("upstream_timeout") && seen.ends_with("0\r\n\r\n"), "{seen}");
    stage.event().await;
    let response = stage.event().await;
    assert_eq!(attribute(&response, attr::STREAM_END.as_str()), "upstream_error");
    assert_eq!(attribute(&response, attr::ERROR_TYPE.as_str()), "upstream_timeout");
    assert_eq!(texts(&response), ["one"]);
}

#[tokio::test]
async fn a_stream_that_breaks_off_breaks_off_for_the_client_too() {
    let mut stage = Stage::new(OPEN, OPEN).await;
    let client = stage.chat(ASK_STREAM).await;
    let (_, mut upstream) = stage.call().await;
    begin_stream(&mut upstream).await;
    chunk(&mut upstream, delta("one")).await;
    drop(upstream);
    let seen = client.all().await;
    assert!(seen.contains("one") && !seen.ends_with("0\r\n\r\n"), "a broken answer looks whole: {seen}");
    stage.event().await;
    let response = stage.event().await;
    assert_eq!(attribute(&response, attr::STREAM_END.as_str()), "upstream_error");
    assert_eq!((texts(&response), response.status), (vec!["one"], Status::Error));
}

#[tokio::test]
async fn what_came_before_a_stream_broke_off_reaches_the_client() {
    for end in ["", "data: {\"half an event"] {
        let mut stage = Stage::new(OPEN, OPEN).await;
        let client = stage.chat(ASK_STREAM).await;
        let (_, mut upstream) = stage.call().await;
        begin_stream(&mut upstream).await;
        // In one write, so that its end is known as soon as its text.
        let text = delta("one") + &delta("two") + end;
        upstream.write_all(format!("{:x}\r\n{text}\r\nno length\r\n", text.len()).as_bytes()).await.unwrap();
        let seen = client.all().await;
        assert!(seen.contains(&delta("two")) && seen.contains(end), "{text:?} was seen as {seen}");
        assert!(!seen.ends_with("0\r\n\r\n"), "a broken answer looks whole: {seen}");
    }
}

#[tokio::test]
async fn a_stream_that_ends_early_is_told_from_one_that_is_whole() {
    for (events, end) in [(delta("one"), "upstream_error"), (delta("one") + STOP, "complete")] {
        let mut stage = Stage::new(OPEN, OPEN).await;
        let client = stage.chat(ASK_STREAM).await;
        let (_, mut upstream) = stage.call().await;
        begin_stream(&mut upstream).await;
        chunk(&mut upstream, &events).await;
        chunk(&mut upstream, "").await;
        assert!(client.all().await.ends_with("0\r\n\r\n"));
        stage.event().await;
        assert_eq!(attribute(&stage.event().await, attr::STREAM_END.as_str()), end);
    }
}

#[tokio::test]
async fn a_malformed_stream_passes_and_is_recorded_as_such() {
    let mut stage = Stage::new(OPEN, OPEN).await;
    let client = stage.chat(ASK_STREAM).await;
    let (_, mut upstream) = stage.call().await;
    begin_stream(&mut upstream).await;
    chunk(&mut upstream, format!("{}data: {{not json\n\n{STOP}{DONE}", delta("one"))).await;
    chunk(&mut upstream, "").await;
    let seen = client.all().await;
    assert!(seen.contains("{not json") && seen.contains(DONE), "{seen}");
    stage.event().await;
    let response = stage.event().await;
    assert_eq!(attribute(&response, attr::STREAM_END.as_str()), "malformed");
    assert_eq!(texts(&response), ["{not json", "one"]);
}

#[tokio::test]
async fn an_event_without_end_passes_unread_and_is_counted() {
    let mut stage = Stage::new(OPEN, OPEN).await;
    let client = stage.chat(ASK_STREAM).await;
    let (_, mut upstream) = stage.call().await;
    begin_stream(&mut upstream).await;
    chunk(&mut upstream, delta("one")).await;
    let feed = tokio::spawn(async move {
        for _ in 0..10 {
            chunk(&mut upstream, vec![b'x'; 1024 * 1024]).await;
        }
        chunk(&mut upstream, "").await;
    });
    let seen = client.all().await;
    feed.await.unwrap();
    assert!(seen.matches('x').count() >= 10 * 1024 * 1024 && seen.ends_with("0\r\n\r\n"));
    stage.event().await;
    let response = stage.event().await;
    assert_eq!(attribute(&response, attr::STREAM_END.as_str()), "malformed");
    assert_eq!(response.attribute(attr::CONTENT_BYTES_CUT.as_str()).unwrap().as_int(), Some(10 * 1024 * 1024));
    assert_eq!(texts(&response), ["one"]);
}

#[tokio::test]
async fn characters_split_between_chunks_are_whole_in_the_record() {
    let mut stage = Stage::new(OPEN, OPEN).await;
    let client = stage.chat(ASK_STREAM).await;
    let (_, mut upstream) = stage.call().await;
    begin_stream(&mut upstream).await;
    for byte in format!("{}{STOP}{DONE}", delta("é👋ü")).as_bytes() {
        chunk(&mut upstream, [*byte]).await;
    }
    chunk(&mut upstream, "").await;
    assert!(client.all().await.contains("é👋ü"));
    stage.event().await;
    assert_eq!(texts(&stage.event().await), ["é👋ü"]);
}

#[tokio::test]
async fn an_unreachable_upstream_is_said_and_recorded() {
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut stage = Stage::to(&format!("http://{unused}")).await;
    let seen = stage.chat(ASK).await.all().await;
    assert!(seen.starts_with("HTTP/1.1 502") && seen.contains("upstream_unreachable") && seen.contains("refused"), "{seen}");
    stage.event().await;
    let response = stage.event().await;
    assert_eq!(attribute(&response, attr::ERROR_TYPE.as_str()), "upstream_unreachable");
}

#[tokio::test]
async fn an_answer_that_is_no_json_passes_and_is_recorded_as_such() {
    let mut stage = Stage::new(OPEN, OPEN).await;
    let client = stage.chat(ASK).await;
    let (_, mut upstream) = stage.call().await;
    answer(&mut upstream, "200 OK", "<html>").await;
    assert!(client.all().await.ends_with("<html>"));
    stage.event().await;
    let response = stage.event().await;
    assert_eq!(
        (attribute(&response, attr::ERROR_TYPE.as_str()).as_str(), texts(&response)),
        ("response_malformed", vec!["<html>"])
    );
}
