//! What is read of Converse.

use proptest::prelude::*;

use super::*;

fn texts(pieces: &[event::Piece<Raw>]) -> Vec<(Role, Part, Option<&str>, &str)> {
    pieces
        .iter()
        .map(|piece| (piece.meta.role, piece.meta.part, piece.meta.name.as_ref().map(Raw::expose), piece.content.expose()))
        .collect()
}

#[test]
fn a_request_with_blocks_of_every_kind() {
    let request = decode_request(
        br#"{"system":[{"text":"be brief"},{"cachePoint":{"type":"default"}}],"inferenceConfig":{"maxTokens":9,"temperature":0.5},
            "toolConfig":{"tools":[{"toolSpec":{"name":"get_weather","inputSchema":{"json":{}}}}]},"requestMetadata":{"session_id":"s1"},
            "messages":[{"role":"user","content":[{"text":"weather?"},{"image":{"format":"png","source":{"bytes":"AAAA"}}},
                {"document":{"name":"d","format":"txt","source":{"text":"a page"}}}]},
              {"role":"assistant","content":[{"reasoningContent":{"reasoningText":{"text":"hm"}}},{"toolUse":{"toolUseId":"t1","name":"get_weather","input":{"city":"Paris"}}}]},
              {"role":"user","content":[{"toolResult":{"toolUseId":"t1","status":"error","content":[{"text":"sun"},{"json":{"a":1}}]}},{"novel":1}]}]}"#,
    )
    .unwrap();
    assert_eq!(request.session.as_deref(), Some("s1"));
    assert_eq!(
        texts(&request.pieces),
        [
            (
                Role::System,
                Part::ToolDefinition,
                Some("get_weather"),
                r#"{"toolSpec":{"name":"get_weather","inputSchema":{"json":{}}}}"#
            ),
            (Role::System, Part::Text, None, "be brief"),
            (Role::User, Part::Text, None, "weather?"),
            (Role::User, Part::Media, None, "image png, 4 characters"),
            (Role::Document, Part::Document, Some("d"), "a page"),
            (Role::Assistant, Part::Reasoning, None, "hm"),
            (Role::Assistant, Part::ToolCall, Some("get_weather"), r#"{"city":"Paris"}"#),
            (Role::Tool, Part::ToolResult, Some("get_weather"), "sun\n{\"a\":1}"),
            (Role::User, Part::Body, None, r#"{"novel":1}"#),
        ]
    );
    assert_eq!(request.pieces[7].meta.failed, Some(true));
}

#[test]
fn a_response_and_its_stream_are_read_alike() {
    let whole = decode_response(
        br#"{"output":{"message":{"role":"assistant","content":[{"text":"hello"},{"toolUse":{"toolUseId":"t1","name":"f","input":{"a":1}}}]}},
            "stopReason":"tool_use","usage":{"inputTokens":3,"outputTokens":5,"totalTokens":8,"cacheReadInputTokens":2},"metrics":{"latencyMs":1}}"#,
    )
    .unwrap();
    let mut stream = StreamDecoder::default();
    for (name, data) in [
        ("messageStart", r#"{"role":"assistant"}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"hel"}}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"lo"}}"#),
        ("contentBlockStart", r#"{"contentBlockIndex":1,"start":{"toolUse":{"toolUseId":"t1","name":"f"}}}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":1,"delta":{"toolUse":{"input":"{\"a\":"}}}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":1,"delta":{"toolUse":{"input":"1}"}}}"#),
        ("messageStop", r#"{"stopReason":"tool_use"}"#),
    ] {
        assert_eq!(stream.event(name.as_bytes(), data.as_bytes()), Progress::More);
    }
    assert!(stream.has_finished());
    let last =
        br#"{"usage":{"inputTokens":3,"outputTokens":5,"totalTokens":8,"cacheReadInputTokens":2},"metrics":{"latencyMs":1}}"#;
    assert_eq!(stream.event(b"metadata", last), Progress::Last);
    assert_eq!(stream.take(), whole);
    assert_eq!(
        texts(&whole.pieces),
        [(Role::Assistant, Part::Text, None, "hello"), (Role::Assistant, Part::ToolCall, Some("f"), r#"{"a":1}"#)]
    );
    assert_eq!(whole.attributes[&attr::GEN_AI_USAGE_INPUT_TOKENS], Value::Int(3));
}

#[test]
fn errors_have_the_name_that_aws_gives_them() {
    let error = decode_response(br#"{"__type":"com.amazon#ThrottlingException","message":"slow down"}"#).unwrap();
    assert_eq!(error.error.as_deref(), Some("ThrottlingException"));
    let mut stream = StreamDecoder::default();
    stream.event(b"modelStreamErrorException", br#"{"message":"broken"}"#);
    assert_eq!(stream.take().error.as_deref(), Some("modelStreamErrorException"));
}

proptest! {
    #[test]
    fn no_shape_makes_a_reader_panic(key in "(messages|output|usage|system|delta|start|message)",
                                     value in "(\\[|\\{|\"content\":|\"text\":|\"toolResult\":|null|1|,|\\]|\\}){0,14}", noise in any::<Vec<u8>>()) {
        let body = format!(r#"{{"{key}":{value}}}"#);
        for body in [body.as_bytes(), &noise] {
            let _ = decode_request(body);
            let _ = decode_response(body);
            let mut decoder = StreamDecoder::default();
            decoder.event(b"contentBlockDelta", body);
            decoder.take();
        }
    }
}
