//! What passes, and what is recorded of it.

use event::{Kind, Phase, Proof, Status, attr};

use super::support::*;
use crate::gateway::{Limits, OnRecordFailure};

#[tokio::test]
async fn the_caller_is_recorded_and_its_headers_are_not_passed_on() {
    let mut stage = Stage::new(OPEN, OPEN).await;
    let head = "POST /anthropic/v1/messages?beta=true HTTP/1.1\r\nx-api-key: not-a-key\r\nuser-agent: Anthropic/Python 2.11.0\r\n\
                x-watchkeeper-session: s1\r\nx-watchkeeper-user: boss\r\nx-watchkeeper-agent: planner\r\naccept-encoding: gzip\r\n\
                anthropic-version: 2023-06-01\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let body = r#"{"model":"c","max_tokens":5,"metadata":{"user_id":"u1"},"messages":[{"role":"user","content":"hello"}]}"#;
    let client = stage.send(head, body).await;
    let (request, mut upstream) = stage.call().await;
    answer(
        &mut upstream,
        "200 OK",
        r#"{"id":"m1","model":"c1","stop_reason":"end_turn","content":[{"type":"text","text":"hi"}]}"#,
    )
    .await;
    assert!(client.all().await.starts_with("HTTP/1.1 200"));

    assert!(request.starts_with("POST /v1/messages?beta=true HTTP/1.1\r\n") && request.ends_with(body), "{request}");
    assert!(
        request.contains("x-api-key: not-a-key") && request.contains("traceparent: ") && request.contains("anthropic-version: ")
    );
    assert!(!request.contains("x-watchkeeper") && !request.contains("accept-encoding") && !request.contains("connection: close"));

    let event = stage.event().await;
    let credential = event.identity.credential.clone().unwrap();
    assert_eq!((credential.id.expose(), credential.proof), ("not-a-key", Proof::Upstream));
    assert_eq!(event.identity.user.as_ref().unwrap().id.expose(), "boss");
    assert_eq!(event.identity.agent.as_ref().unwrap().id.expose(), "planner");
    assert_eq!(event.identity.application.as_ref().unwrap().id.expose(), "Anthropic/Python");
    assert_eq!(event.identity.client.as_ref().unwrap().address.as_ref().unwrap().expose(), "127.0.0.1");
    assert_eq!(event.session.as_ref().unwrap().expose(), "s1");
    assert!(event.trace.is_some());
    assert_eq!(attribute(&event, attr::AUTH_METHOD.as_str()), "api_key");
    assert_eq!(attribute(&event, attr::GEN_AI_PROVIDER_NAME.as_str()), "anthropic");
    assert!(!format!("{:?}", event.attributes).contains("not-a-key"));
    let response = stage.event().await;
    assert_eq!(attribute(&response, attr::GEN_AI_RESPONSE_MODEL.as_str()), "c1");
    assert_eq!(attribute(&response, attr::GEN_AI_REQUEST_MODEL.as_str()), "c");
    assert!(response.duration_ns.unwrap() > 0);
}

#[tokio::test]
async fn an_error_of_the_upstream_passes_with_its_status_and_is_recorded() {
    let mut stage = Stage::new(OPEN, OPEN).await;
    let client = stage.chat(ASK_STREAM).await;
    let (_, mut upstream) = stage.call().await;
    let body = r#"{"error":{"message":"slow down","type":"rate_limit_error"}}"#;
    answer(&mut upstream, "429 Too Many Requests", body).await;
    let seen = client.all().await;
    assert!(seen.starts_with("HTTP/1.1 429") && seen.ends_with(body), "{seen}");
    stage.event().await;
    let response = stage.event().await;
    assert_eq!((response.status, attribute(&response, attr::ERROR_TYPE.as_str()).as_str()), (Status::Error, "rate_limit_error"));
    assert_eq!(response.attribute(attr::HTTP_RESPONSE_STATUS_CODE.as_str()).unwrap().as_int(), Some(429));
    assert_eq!(texts(&response), ["slow down"]);
}

#[tokio::test]
async fn every_other_path_passes_and_is_recorded_as_a_call_outside() {
    let mut stage = Stage::new(OPEN, 0).await;
    let mut client =
        stage.send("POST /v1/assistants?api_key=k1&x=1 HTTP/1.1\r\nauthorization: Bearer not-a-key", "[1,2,3]").await;
    let (request, mut upstream) = stage.call().await;
    assert!(request.starts_with("POST /v1/assistants?api_key=k1&x=1 ") && request.ends_with("[1,2,3]"), "{request}");
    answer(&mut upstream, "200 OK", "{\"data\":[]}").await;
    client.until("\r\n\r\n").await;
    let (event, response) = (stage.event().await, stage.event().await);
    let seen = client.until("\r\n\r\n").await;
    assert!(seen.contains("x-watchkeeper-event-id") && !seen.contains("data"), "the end came before its record: {seen}");
    stage.recorder.outcomes.add_permits(1);
    assert!(client.all().await.ends_with("{\"data\":[]}"));
    assert_eq!((event.kind, event.phase, response.phase), (Kind::ExternalCall, Phase::Request, Phase::Response));
    let url = attribute(&response, attr::URL_FULL.as_str());
    assert!(url.ends_with("/v1/assistants?api_key=REDACTED&x=1"), "{url}");
    assert_eq!(attribute(&response, attr::AUTH_METHOD.as_str()), "bearer");
    assert_eq!(response.attribute(attr::HTTP_REQUEST_BODY_SIZE.as_str()).unwrap().as_int(), Some(7));
    assert_eq!(response.attribute(attr::HTTP_RESPONSE_BODY_SIZE.as_str()).unwrap().as_int(), Some(11));
    assert_eq!(response.attribute(attr::CONTENT_BYTES_CUT.as_str()).unwrap().as_int(), Some(11));
}

#[tokio::test]
async fn a_get_without_body_passes() {
    let mut stage = Stage::new(OPEN, OPEN).await;
    let client = stage.send("GET /openai/v1/models HTTP/1.1", "").await;
    let (request, mut upstream) = stage.call().await;
    assert!(request.starts_with("GET /v1/models HTTP/1.1\r\n") && !request.contains("chunked"), "{request}");
    answer(&mut upstream, "200 OK", "{}").await;
    assert!(client.all().await.ends_with("{}"));
}

#[tokio::test]
async fn an_answer_larger_than_is_recorded_passes_whole_and_is_counted() {
    let limits = Limits { response_recorded_bytes_max: 10_000, ..Limits::default() };
    let mut stage = Stage::with(OPEN, 0, limits, OnRecordFailure::FailClosed).await;
    let client = stage.chat(ASK).await;
    let (_, mut upstream) = stage.call().await;
    let body = "y".repeat(3_000_000);
    let feed = tokio::spawn(async move {
        answer(&mut upstream, "200 OK", &body).await;
        upstream
    });
    stage.event().await;
    let reading = tokio::spawn(client.all());
    let response = stage.event().await;
    assert!(!reading.is_finished(), "the end came before its record");
    stage.recorder.outcomes.add_permits(1);
    let seen = reading.await.unwrap();
    feed.await.unwrap();
    assert_eq!(seen.split_once("\r\n\r\n").unwrap().1.len(), 3_000_000);
    assert_eq!(response.attribute(attr::HTTP_RESPONSE_BODY_SIZE.as_str()).unwrap().as_int(), Some(3_000_000));
    let kept = texts(&response)[0].len() as i64;
    assert_eq!(response.attribute(attr::CONTENT_BYTES_CUT.as_str()).unwrap().as_int(), Some(3_000_000 - kept));
}

#[tokio::test]
async fn a_stream_longer_than_is_recorded_passes_whole_and_is_counted() {
    let limits = Limits { response_recorded_bytes_max: 2_000, ..Limits::default() };
    let mut stage = Stage::with(OPEN, OPEN, limits, OnRecordFailure::FailClosed).await;
    let mut client = stage.chat(ASK_STREAM).await;
    let (_, mut upstream) = stage.call().await;
    begin_stream(&mut upstream).await;
    for round in 0..50 {
        let word = format!("w{round}.");
        chunk(&mut upstream, delta(&word)).await;
        client.until(&word).await;
    }
    chunk(&mut upstream, format!("{STOP}{DONE}")).await;
    let seen = client.all().await;
    assert!(seen.contains("w49.") && seen.contains(DONE), "{seen}");
    stage.event().await;
    let response = stage.event().await;
    assert!(texts(&response)[0].starts_with("w0.w1.") && !texts(&response)[0].contains("w49."));
    assert!(response.attribute(attr::CONTENT_BYTES_CUT.as_str()).unwrap().as_int().unwrap() > 1_000);
    assert_eq!(attribute(&response, attr::STREAM_END.as_str()), "complete");
}

#[tokio::test]
async fn connections_are_used_again() {
    let mut stage = Stage::new(OPEN, OPEN).await;
    let client = stage.chat(ASK_STREAM).await;
    let (_, mut upstream) = stage.call().await;
    begin_stream(&mut upstream).await;
    chunk(&mut upstream, format!("{}{STOP}{DONE}", delta("one"))).await;
    chunk(&mut upstream, "").await;
    client.all().await;
    // A second call comes over the same connection.
    let second = stage.chat(ASK).await;
    let mut bytes = [0; 4];
    patiently(tokio::io::AsyncReadExt::read_exact(&mut upstream, &mut bytes)).await.unwrap();
    assert_eq!(&bytes, b"POST");
    drop(second);
}
