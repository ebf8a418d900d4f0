//! What is read of messages.

use event::{Part, Role};
use proptest::prelude::*;

use super::super::api::StreamDecode as _;
use super::super::decode::Progress;
use super::*;

/// (role, part, message, history, name, call id, text) of each piece.
type Seen<'a> = (Role, Part, u32, bool, Option<&'a str>, Option<&'a str>, &'a str);

fn seen(pieces: &[event::Piece<Raw>]) -> Vec<Seen<'_>> {
    pieces
        .iter()
        .map(|piece| {
            let meta = &piece.meta;
            let name = meta.name.as_ref().map(Raw::expose);
            (
                meta.role,
                meta.part,
                meta.message,
                meta.history,
                name,
                meta.call_id.as_ref().map(Raw::expose),
                piece.content.expose(),
            )
        })
        .collect()
}

#[test]
fn a_request_with_blocks_of_every_kind() {
    let request = decode_request(
        br#"{"model":"claude-x","max_tokens":9,"metadata":{"user_id":"u1"},"system":[{"type":"text","text":"be brief"}],
            "tools":[{"name":"get_weather","input_schema":{}}],
            "messages":[
              {"role":"user","content":[{"type":"text","text":"weather?"},
                {"type":"document","title":"d","source":{"type":"text","media_type":"text/plain","data":"a page"}},
                {"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}]},
              {"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"x"},
                {"type":"tool_use","id":"t1","name":"get_weather","input":{"city":"Paris"}}]},
              {"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","is_error":true,
                "content":[{"type":"text","text":"sun"},{"type":"text","text":"ny"}]},{"type":"text","text":"go on"}]}]}"#,
    )
    .unwrap();
    assert_eq!((request.model.as_deref(), request.user.as_deref(), request.session), (Some("claude-x"), Some("u1"), None));
    assert_eq!(
        seen(&request.pieces),
        [
            (
                Role::System,
                Part::ToolDefinition,
                0,
                true,
                Some("get_weather"),
                None,
                r#"{"name":"get_weather","input_schema":{}}"#
            ),
            (Role::System, Part::Text, 0, true, None, None, "be brief"),
            (Role::User, Part::Text, 1, true, None, None, "weather?"),
            (Role::Document, Part::Document, 1, true, Some("d"), None, "a page"),
            (Role::User, Part::Media, 1, true, None, None, "data:image/png, 4 characters"),
            (Role::Assistant, Part::Reasoning, 2, true, None, None, "hm"),
            (Role::Assistant, Part::ToolCall, 2, true, Some("get_weather"), Some("t1"), r#"{"city":"Paris"}"#),
            (Role::Tool, Part::ToolResult, 3, false, Some("get_weather"), Some("t1"), "sun\nny"),
            (Role::User, Part::Text, 3, false, None, None, "go on"),
        ]
    );
    assert_eq!(request.pieces[7].meta.failed, Some(true));
}

#[test]
fn the_session_stands_where_clients_put_it() {
    for (user_id, user, session) in [
        ("u1", "u1", None),
        ("user_ab_account_cd_session_ef", "user_ab_account_cd", Some("ef")),
        (r#"{\"device_id\":\"d\",\"account_uuid\":\"a\",\"session_id\":\"s\"}"#, "a", Some("s")),
        (r#"{\"device_id\":\"d\",\"account_uuid\":\"\",\"session_id\":\"s\"}"#, "d", Some("s")),
    ] {
        let body = format!(r#"{{"metadata":{{"user_id":"{user_id}"}},"messages":[]}}"#);
        let request = decode_request(body.as_bytes()).unwrap();
        assert_eq!((request.user.as_deref(), request.session.as_deref()), (Some(user), session), "{user_id}");
    }
}

#[test]
fn a_response_with_everything() {
    let response = decode_response(
        br#"{"id":"m1","type":"message","role":"assistant","model":"claude-x-1","stop_reason":"tool_use","stop_sequence":null,
            "content":[{"type":"text","text":"hi"},{"type":"tool_use","id":"t1","name":"f","input":{}},{"type":"novel","x":1}],
            "usage":{"input_tokens":3,"output_tokens":5,"cache_read_input_tokens":7,"cache_creation_input_tokens":11}}"#,
    )
    .unwrap();
    let expected = [
        (attr::GEN_AI_RESPONSE_ID, Value::from("m1")),
        (attr::GEN_AI_RESPONSE_MODEL, Value::from("claude-x-1")),
        (attr::GEN_AI_RESPONSE_FINISH_REASONS, list(["tool_use".to_owned()])),
        (attr::GEN_AI_USAGE_INPUT_TOKENS, Value::Int(21)),
        (attr::GEN_AI_USAGE_OUTPUT_TOKENS, Value::Int(5)),
        (attr::GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS, Value::Int(7)),
        (attr::GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS, Value::Int(11)),
        (attr::UNMAPPED_COUNT, Value::Int(1)),
    ];
    assert_eq!(response.attributes, expected.into());
    assert_eq!(
        seen(&response.pieces),
        [
            (Role::Assistant, Part::Text, 0, false, None, None, "hi"),
            (Role::Assistant, Part::ToolCall, 0, false, Some("f"), Some("t1"), "{}"),
            (Role::Assistant, Part::Body, 0, false, None, None, r#"{"type":"novel","x":1}"#),
        ]
    );
}

#[test]
fn a_stream_is_put_together() {
    let mut decoder = StreamDecoder::default();
    for data in [
        r#"{"type":"message_start","message":{"id":"m1","model":"c1","usage":{"input_tokens":3,"output_tokens":1}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"text","text":"h"}}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"ello"}}"#,
        r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"t1","name":"f","input":{}}}"#,
        r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}"#,
        r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"1}"}}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":8}}"#,
    ] {
        assert_eq!(decoder.event(b"", data.as_bytes()), Progress::More);
    }
    assert!(decoder.has_finished());
    assert_eq!(decoder.event(b"", br#"{"type":"message_stop"}"#), Progress::Last);
    let response = decoder.take();
    assert_eq!(response.attributes[&attr::GEN_AI_USAGE_INPUT_TOKENS], Value::Int(3));
    assert_eq!(response.attributes[&attr::GEN_AI_USAGE_OUTPUT_TOKENS], Value::Int(8));
    assert_eq!(
        seen(&response.pieces),
        [
            (Role::Assistant, Part::Reasoning, 0, false, None, None, "hm"),
            (Role::Assistant, Part::Text, 0, false, None, None, "hello"),
            (Role::Assistant, Part::ToolCall, 0, false, Some("f"), Some("t1"), r#"{"a":1}"#),
        ]
    );
}

#[test]
fn a_block_that_starts_twice_is_kept_twice_and_an_error_is_an_error() {
    let mut decoder = StreamDecoder::default();
    for text in ["first", "second"] {
        decoder.event(
            b"",
            format!(r#"{{"type":"content_block_start","index":0,"content_block":{{"type":"text","text":"{text}"}}}}"#).as_bytes(),
        );
    }
    decoder.event(b"", br#"{"type":"error","error":{"type":"overloaded_error","message":"later"}}"#);
    let response = decoder.take();
    assert_eq!(response.error.as_deref(), Some("overloaded_error"));
    let texts: Vec<_> = response.pieces.iter().map(|piece| piece.content.expose()).collect();
    assert_eq!(texts, ["first", "later", "second"]);
}

proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in any::<Vec<u8>>()) {
        let _ = decode_request(&bytes);
        let _ = decode_response(&bytes);
        let mut decoder = StreamDecoder::default();
        decoder.event(b"", &bytes);
        decoder.take();
    }

    #[test]
    fn no_shape_makes_a_decoder_panic(key in "(messages|system|content|usage|tools|error|delta)",
                                      value in "(\\[|\\{|\"type\":|\"content\":|\"tool_result\"|\"text\"|null|1|,|\\]|\\}){0,14}") {
        let body = format!(r#"{{"type":"content_block_start","index":0,"{key}":{value}}}"#);
        let _ = decode_request(body.as_bytes());
        let _ = decode_response(body.as_bytes());
        let mut decoder = StreamDecoder::default();
        decoder.event(b"", body.as_bytes());
        decoder.take();
    }
}
