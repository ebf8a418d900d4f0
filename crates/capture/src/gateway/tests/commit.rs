//! Output commit: what the client may see before which record is on disk.

use event::{Kind, Phase, Status, attr};
use tokio::io::AsyncWriteExt as _;

use super::support::*;
use crate::gateway::{Limits, OnRecordFailure, header};

#[tokio::test]
async fn no_byte_before_the_request_is_recorded_and_no_body_before_the_response_is() {
    let mut stage = Stage::new(0, 0).await;
    let mut client = stage.chat(ASK).await;
    // The upstream is called beside the record, not after it.
    let (_, mut upstream) = stage.call().await;
    let request = stage.event().await;
    answer(&mut upstream, "200 OK", WHOLE).await;
    assert!(client.is_silent().await, "a byte came before the request was recorded");
    stage.recorder.requests.add_permits(1);
    let response = stage.event().await;
    assert!(client.is_silent().await, "a byte came before the response was recorded");
    stage.recorder.outcomes.add_permits(1);
    let seen = client.all().await;
    assert!(seen.starts_with("HTTP/1.1 200") && seen.ends_with(WHOLE), "{seen}");

    assert_eq!((request.kind, request.phase, texts(&request)), (Kind::ModelCall, Phase::Request, vec!["hello"]));
    assert_eq!((response.kind, response.phase, texts(&response)), (Kind::ModelCall, Phase::Response, vec!["hi there"]));
    assert_eq!((response.status, &response.session), (Status::Ok, &request.session));
    assert_eq!(response.identity, request.identity);
    let call_id = attribute(&request, attr::CALL_ID.as_str());
    assert_eq!(attribute(&response, attr::CALL_ID.as_str()), call_id);
    for line in [
        format!("{}: {}", header::EVENT_ID, request.id),
        format!("{}: 0", header::POSITION),
        format!("{}: {call_id}", header::CALL_ID),
        format!("{}: durable", header::RECORD),
        format!("{}: ", header::OVERHEAD_US),
    ] {
        assert!(seen.contains(&line), "{line} in {seen}");
    }
}

#[tokio::test]
async fn the_end_of_a_stream_waits_for_its_record_and_nothing_else_does() {
    let mut stage = Stage::new(0, 0).await;
    let mut client = stage.chat(ASK_STREAM).await;
    let (_, mut upstream) = stage.call().await;
    begin_stream(&mut upstream).await;
    chunk(&mut upstream, delta("one")).await;
    assert!(client.is_silent().await, "a byte came before the request was recorded");
    stage.recorder.requests.add_permits(1);
    client.until("one").await;
    // Each event passes before the next one exists: nothing holds an event back until another comes.
    for word in ["two", "three"] {
        chunk(&mut upstream, delta(word)).await;
        client.until(word).await;
    }
    chunk(&mut upstream, STOP).await;
    client.until("finish_reason").await;
    chunk(&mut upstream, "data: [DO").await;
    chunk(&mut upstream, "NE]\n\n").await;
    chunk(&mut upstream, "").await;
    assert_eq!(stage.event().await.phase, Phase::Request);
    let response = stage.event().await;
    assert!(client.is_silent().await, "the end came before the response was recorded");
    stage.recorder.outcomes.add_permits(1);
    let seen = client.all().await;
    assert!(seen.contains(DONE) && seen.ends_with("0\r\n\r\n"), "{seen}");
    assert_eq!(texts(&response), ["onetwothree"]);
    assert_eq!(attribute(&response, attr::STREAM_END.as_str()), "complete");
    assert!(response.attribute(attr::GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK.as_str()).is_some());
}

#[tokio::test]
async fn what_follows_the_end_never_reaches_the_client() {
    let mut stage = Stage::new(OPEN, OPEN).await;
    let client = stage.chat(ASK_STREAM).await;
    let (_, mut upstream) = stage.call().await;
    begin_stream(&mut upstream).await;
    chunk(&mut upstream, format!("{}{STOP}{DONE}{}", delta("seen"), delta("smuggled"))).await;
    // The upstream keeps its connection open: the client's stream ends all the same.
    let seen = client.all().await;
    assert!(seen.contains("seen") && seen.contains(DONE) && !seen.contains("smuggled"), "{seen}");
}

#[tokio::test]
async fn an_unrecorded_request_is_refused_and_its_answer_is_not_seen() {
    for (path, shape) in
        [("/v1/chat/completions", "\"code\":\"recorder_stopped\""), ("/v1/messages", "\"type\":\"overloaded_error\"")]
    {
        let mut stage = Stage::new(0, OPEN).await;
        stage.break_recorder();
        let client = stage.send(&format!("POST {path} HTTP/1.1"), ASK).await;
        let (_, mut upstream) = stage.call().await;
        answer(&mut upstream, "200 OK", WHOLE).await;
        stage.recorder.requests.add_permits(1);
        let seen = client.all().await;
        assert!(seen.starts_with("HTTP/1.1 503") && seen.contains(shape) && seen.contains("disk full"), "{seen}");
        assert!(seen.contains("x-watchkeeper-record: failed") && !seen.contains("hi there"), "{seen}");
    }
}

#[tokio::test]
async fn an_unrecorded_response_is_refused() {
    let mut stage = Stage::new(1, 0).await;
    let client = stage.chat(ASK).await;
    let (_, mut upstream) = stage.call().await;
    stage.event().await;
    answer(&mut upstream, "200 OK", WHOLE).await;
    stage.event().await;
    stage.break_recorder();
    stage.recorder.outcomes.add_permits(1);
    let seen = client.all().await;
    assert!(seen.starts_with("HTTP/1.1 503") && !seen.contains("hi there"), "{seen}");
}

#[tokio::test]
async fn a_stream_whose_response_is_unrecorded_ends_with_an_error() {
    let mut stage = Stage::new(1, 0).await;
    let mut client = stage.chat(ASK_STREAM).await;
    let (_, mut upstream) = stage.call().await;
    begin_stream(&mut upstream).await;
    chunk(&mut upstream, delta("one")).await;
    client.until("one").await;
    stage.break_recorder();
    stage.recorder.outcomes.add_permits(1);
    chunk(&mut upstream, format!("{STOP}{DONE}")).await;
    let seen = client.all().await;
    assert!(seen.contains("recorder_stopped") && !seen.contains("[DONE]"), "{seen}");
}

#[tokio::test]
async fn failing_open_passes_and_says_so() {
    let mut stage = Stage::with(OPEN, OPEN, Limits::default(), OnRecordFailure::FailOpen).await;
    stage.break_recorder();
    let client = stage.chat(ASK).await;
    let (_, mut upstream) = stage.call().await;
    answer(&mut upstream, "200 OK", WHOLE).await;
    let seen = client.all().await;
    assert!(seen.starts_with("HTTP/1.1 200") && seen.contains("x-watchkeeper-record: failed") && seen.ends_with(WHOLE), "{seen}");

    let client = stage.chat(ASK_STREAM).await;
    let (_, mut upstream) = stage.call().await;
    begin_stream(&mut upstream).await;
    chunk(&mut upstream, format!("{}{STOP}{DONE}", delta("one"))).await;
    let seen = client.all().await;
    assert!(seen.contains(": watchkeeper: this answer was not recorded") && seen.contains("[DONE]"), "{seen}");
}

#[tokio::test]
async fn a_client_that_leaves_is_recorded_with_what_it_saw() {
    let mut stage = Stage::new(OPEN, OPEN).await;
    let mut client = stage.chat(ASK_STREAM).await;
    let (_, mut upstream) = stage.call().await;
    begin_stream(&mut upstream).await;
    chunk(&mut upstream, delta("seen before leaving")).await;
    client.until("leaving").await;
    stage.event().await;
    drop(client);
    let response = stage.event().await;
    assert_eq!(attribute(&response, attr::STREAM_END.as_str()), "client_disconnect");
    assert_eq!((texts(&response), response.status), (vec!["seen before leaving"], Status::Error));
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_is_recorded() {
    let mut stage = Stage::new(OPEN, OPEN).await;
    let client = stage.chat(ASK).await;
    let _held = stage.call().await;
    assert_eq!(stage.event().await.phase, Phase::Request);
    drop(client);
    let response = stage.event().await;
    assert_eq!(
        (response.phase, attribute(&response, attr::ERROR_TYPE.as_str()).as_str()),
        (Phase::Response, "client_disconnect")
    );
}

#[tokio::test]
async fn events_are_flushed_one_by_one() {
    // With Nagle's algorithm on either side each round would wait 40 ms for a delayed acknowledgement.
    const ROUNDS: u32 = 50;
    let mut stage = Stage::new(OPEN, OPEN).await;
    let mut client = stage.chat(ASK_STREAM).await;
    let (_, mut upstream) = stage.call().await;
    begin_stream(&mut upstream).await;
    let begun = std::time::Instant::now();
    for round in 0..ROUNDS {
        let word = format!("w{round}.");
        chunk(&mut upstream, delta(&word)).await;
        client.until(&word).await;
    }
    assert!(begun.elapsed() < std::time::Duration::from_millis(40) * ROUNDS, "{:?}", begun.elapsed());
    upstream.shutdown().await.unwrap();
}
