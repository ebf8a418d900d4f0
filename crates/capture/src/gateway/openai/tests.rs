//! What is read of chat completions.

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
            (
                meta.role,
                meta.part,
                meta.message,
                meta.history,
                meta.name.as_ref().map(Raw::expose),
                meta.call_id.as_ref().map(Raw::expose),
                piece.content.expose(),
            )
        })
        .collect()
}

#[test]
fn a_request_with_tools_and_a_result() {
    let request = decode_request(
        r#"{"model":"gpt-x","stream":true,"user":"u1","metadata":{"session_id":"s1"},"temperature":0.5,"max_completion_tokens":9,
            "logprobs":true,"mystery":{"a":1},"response_format":{"type":"json_schema"},
            "tools":[{"type":"function","function":{"name":"get_weather","parameters":{}}}],
            "messages":[
              {"role":"developer","content":"be brief"},
              {"role":"user","content":[{"type":"text","text":"weather?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]},
              {"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"get_weather","arguments":"{\"city\":\"Paris\"}"}}]},
              {"role":"tool","tool_call_id":"c1","content":"sunny"}]}"#
            .as_bytes(),
    )
    .unwrap();
    assert_eq!((request.model.as_deref(), request.stream), (Some("gpt-x"), true));
    assert_eq!((request.user.as_deref(), request.session.as_deref()), (Some("u1"), Some("s1")));
    assert_eq!(request.attributes[&attr::GEN_AI_REQUEST_MAX_TOKENS], Value::Int(9));
    assert_eq!(request.attributes[&OUTPUT_TYPE], Value::from("json"));
    // `mystery` and `metadata`
    assert_eq!(request.attributes[&attr::UNMAPPED_COUNT], Value::Int(2));
    let definition = r#"{"type":"function","function":{"name":"get_weather","parameters":{}}}"#;
    assert_eq!(
        seen(&request.pieces),
        [
            (Role::System, Part::ToolDefinition, 0, true, Some("get_weather"), None, definition),
            (Role::System, Part::Text, 0, true, None, None, "be brief"),
            (Role::User, Part::Text, 1, true, None, None, "weather?"),
            (Role::User, Part::Media, 1, true, None, None, "data:image/png, 4 characters"),
            (Role::Assistant, Part::ToolCall, 2, true, Some("get_weather"), Some("c1"), r#"{"city":"Paris"}"#),
            (Role::Tool, Part::ToolResult, 3, false, Some("get_weather"), Some("c1"), "sunny"),
        ]
    );
}

#[test]
fn unknown_shapes_are_kept_whole_and_counted() {
    // (messages, the text that must be there)
    for (messages, text) in [
        (r#"{"a":"evil"}"#, r#"{"a":"evil"}"#),
        (r#"["evil"]"#, r#""evil""#),
        (r#"[{"role":"user","content":{"x":"evil"}}]"#, r#"{"x":"evil"}"#),
        (r#"[{"role":"user","content":[{"type":"new","x":"evil"}]}]"#, r#"{"type":"new","x":"evil"}"#),
        (r#"[{"role":"user","content":"a","content":"evil"}]"#, r#"{"role":"user","content":"a","content":"evil"}"#),
        (r#"[{"role":"king","content":"evil"}]"#, "evil"),
        (r#"[{"role":"assistant","tool_calls":[{"type":"new","x":"evil"}]}]"#, r#"{"type":"new","x":"evil"}"#),
        (r#"[{"role":"user","content":"\ud800evil"}]"#, "\u{fffd}\u{fffd}\u{fffd}evil"),
    ] {
        let request = decode_request(format!(r#"{{"model":"m","messages":{messages}}}"#).as_bytes()).unwrap();
        assert_eq!(request.pieces.iter().map(|piece| piece.content.expose()).collect::<Vec<_>>(), [text], "{messages}");
    }
}

#[test]
fn what_is_no_object_is_refused_and_says_why() {
    for body in ["", "[]", "{", "{\"messages\":[}", "{\"model\":\"a\",\"model\":\"b\"}", "null"] {
        assert!(decode_request(body.as_bytes()).unwrap_err().to_string().contains("JSON object"), "{body}");
    }
    assert_eq!(decode_request(b"{\"a\":\"\xff\"}"), Err(DecodeError::NotUtf8 { offset: 6 }));
}

#[test]
fn depth_is_kept_as_text() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let request = decode_request(format!(r#"{{"messages":[{{"role":"user","content":{deep}}}]}}"#).as_bytes()).unwrap();
    // An array is read as parts: what it holds is one level less deep.
    assert_eq!(request.pieces[0].content.expose().len(), 19_998);
}

#[test]
fn a_response_with_everything() {
    let response = decode_response(
        br#"{"id":"r1","object":"chat.completion","model":"gpt-x-1","choices":[
             {"index":0,"finish_reason":"tool_calls","logprobs":{"content":[{"token":"a","logprob":-0.5},{"token":"b","logprob":-1.5}]},
              "message":{"role":"assistant","content":"hi","reasoning_content":"hm","refusal":null,
                         "tool_calls":[{"id":"c1","function":{"name":"f","arguments":""}}]}},
             {"index":1,"finish_reason":"stop","message":{"role":"assistant","content":null,"refusal":"no"}}],
            "usage":{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":3}}}"#,
    )
    .unwrap();
    let expected = [
        (attr::GEN_AI_RESPONSE_ID, Value::from("r1")),
        (attr::GEN_AI_RESPONSE_MODEL, Value::from("gpt-x-1")),
        (attr::GEN_AI_RESPONSE_FINISH_REASONS, list(["tool_calls".to_owned(), "stop".to_owned()])),
        (attr::LOGPROB_MEAN, Value::Double(-1.0)),
        (attr::GEN_AI_USAGE_INPUT_TOKENS, Value::Int(10)),
        (attr::GEN_AI_USAGE_OUTPUT_TOKENS, Value::Int(5)),
        (attr::GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS, Value::Int(4)),
        (attr::GEN_AI_USAGE_REASONING_OUTPUT_TOKENS, Value::Int(3)),
        (REFUSED, Value::Bool(true)),
    ];
    assert_eq!(response.attributes, expected.into());
    assert_eq!(
        seen(&response.pieces),
        [
            (Role::Assistant, Part::Reasoning, 0, false, None, None, "hm"),
            (Role::Assistant, Part::Text, 0, false, None, None, "hi"),
            (Role::Assistant, Part::ToolCall, 0, false, Some("f"), Some("c1"), "{}"),
            (Role::Assistant, Part::Text, 1, false, None, None, "no"),
        ]
    );
}

#[test]
fn an_error_is_read() {
    let response = decode_response(br#"{"error":{"message":"slow down","type":"rate_limit_error","code":null}}"#).unwrap();
    assert_eq!(response.error.as_deref(), Some("rate_limit_error"));
    assert_eq!(seen(&response.pieces), [(Role::System, Part::Body, 0, false, None, None, "slow down")]);
}

#[test]
fn a_stream_is_put_together() {
    let mut decoder = StreamDecoder::default();
    for data in [
        r#"{"id":"r1","model":"m1","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#,
        r#"{"id":"r1","model":"m1","choices":[{"index":0,"delta":{"content":"he"}}]}"#,
        r#"{"id":"r1","model":"m1","choices":[{"index":0,"delta":{"content":"llo"}},{"index":1,"delta":{"content":"two"}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"c2","function":{"name":"g","arguments":""}}]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c1","function":{"name":"f","arguments":"{\"a\""}}]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#,
    ] {
        assert_eq!(decoder.event(b"", data.as_bytes()), Progress::More);
    }
    assert!(decoder.has_finished());
    assert_eq!(decoder.event(b"", b"[DONE]"), Progress::Last);
    let response = decoder.take();
    assert_eq!(response.attributes[&attr::GEN_AI_RESPONSE_ID], Value::from("r1"));
    assert_eq!(response.attributes[&attr::GEN_AI_USAGE_OUTPUT_TOKENS], Value::Int(2));
    assert_eq!(
        seen(&response.pieces),
        [
            (Role::Assistant, Part::Text, 0, false, None, None, "hello"),
            (Role::Assistant, Part::ToolCall, 0, false, Some("f"), Some("c1"), r#"{"a":1}"#),
            (Role::Assistant, Part::ToolCall, 0, false, Some("g"), Some("c2"), "{}"),
            (Role::Assistant, Part::Text, 1, false, None, None, "two"),
        ]
    );
}

#[test]
fn a_stream_of_nonsense_is_counted_and_bounded() {
    let mut decoder = StreamDecoder::default();
    decoder.event(b"", b"{not json");
    for index in 0..2_000 {
        decoder.event(b"", format!(r#"{{"choices":[{{"index":{index},"delta":{{"content":"x"}}}}]}}"#).as_bytes());
    }
    let response = decoder.take();
    assert_eq!(response.malformed_events, 1);
    assert_eq!(response.attributes[&attr::ITEMS_DROPPED], Value::Int(2_000 - 128));
    assert_eq!(response.pieces.len(), 129);
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
    fn no_shape_makes_a_decoder_panic(key in "(messages|choices|usage|tools|error|delta|model)",
                                      value in "(\\[|\\{|\"role\":|\"content\":|\"user\"|null|1|,|\\]|\\}){0,14}") {
        let body = format!(r#"{{"{key}":{value}}}"#);
        let _ = decode_request(body.as_bytes());
        let _ = decode_response(body.as_bytes());
        StreamDecoder::default().event(b"", body.as_bytes());
    }
}
