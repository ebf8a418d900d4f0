//! What is read of responses.

use proptest::prelude::*;

use super::*;

/// (role, part, name, call id, text) of each piece.
type Seen<'a> = (Role, Part, Option<&'a str>, Option<&'a str>, &'a str);

fn seen(pieces: &[event::Piece<Raw>]) -> Vec<Seen<'_>> {
    let text = |raw: &'_ Option<Raw>| raw.as_ref().map(|raw| raw.expose().to_owned()).map(|text| &*text.leak());
    pieces
        .iter()
        .map(|piece| {
            let meta = &piece.meta;
            (meta.role, meta.part, text(&meta.name), text(&meta.call_id), piece.content.expose())
        })
        .collect()
}

const OUTPUT: &str = r#"[{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"hm"}]},
    {"type":"web_search_call","id":"ws_1","status":"completed","action":{"type":"search","query":"q"}},
    {"type":"function_call","id":"fc_1","call_id":"c1","name":"get_weather","arguments":"{\"city\":\"Paris\"}"},
    {"type":"mcp_call","id":"mcp_1","name":"roll","server_label":"dice","arguments":"{}","output":"4"},
    {"type":"message","id":"m1","role":"assistant","content":[{"type":"output_text","text":"hello","annotations":[]},{"type":"refusal","refusal":"no"}]}]"#;

fn expected() -> Vec<Seen<'static>> {
    vec![
        (Role::Assistant, Part::Reasoning, None, None, "hm"),
        (Role::Assistant, Part::ToolCall, Some("web_search"), Some("ws_1"), r#"{"type":"search","query":"q"}"#),
        (Role::Assistant, Part::ToolCall, Some("get_weather"), Some("c1"), r#"{"city":"Paris"}"#),
        (Role::Assistant, Part::ToolCall, Some("roll"), Some("mcp_1"), "{}"),
        (Role::Tool, Part::ToolResult, Some("roll"), Some("mcp_1"), "4"),
        (Role::Assistant, Part::Text, None, None, "hello"),
        (Role::Assistant, Part::Text, None, None, "no"),
    ]
}

#[test]
fn a_request_with_items_of_many_kinds() {
    let request = decode_request(
        br#"{"model":"gpt-x","stream":true,"instructions":"be brief","conversation":{"id":"conv_1"},"max_output_tokens":9,
            "tools":[{"type":"function","name":"get_weather","parameters":{}}],"novel":1,
            "input":[{"role":"user","content":[{"type":"input_text","text":"weather?"},{"type":"input_image","image_url":"data:image/png;base64,AAAA"},
                        {"type":"input_file","filename":"a.pdf","file_data":"data:application/pdf;base64,AA"}]},
                     {"type":"function_call","call_id":"c1","name":"get_weather","arguments":"{}"},
                     {"type":"function_call_output","call_id":"c1","output":[{"type":"input_text","text":"sunny"}]},
                     {"type":"local_shell_call","call_id":"c2","action":{"type":"exec","command":["ls"]}},
                     {"type":"unheard_of","x":1},{"type":"item_reference","id":"i"}]}"#,
    )
    .unwrap();
    assert_eq!((request.model.as_deref(), request.stream, request.session.as_deref()), (Some("gpt-x"), true, Some("conv_1")));
    assert_eq!(request.attributes[&attr::GEN_AI_REQUEST_MAX_TOKENS], Value::Int(9));
    assert_eq!(
        seen(&request.pieces),
        [
            (
                Role::System,
                Part::ToolDefinition,
                Some("get_weather"),
                None,
                r#"{"type":"function","name":"get_weather","parameters":{}}"#
            ),
            (Role::System, Part::Text, None, None, "be brief"),
            (Role::User, Part::Text, None, None, "weather?"),
            (Role::User, Part::Media, None, None, "data:image/png, 4 characters"),
            (Role::User, Part::Media, None, None, "file a.pdf, 30 characters"),
            (Role::Assistant, Part::ToolCall, Some("get_weather"), Some("c1"), "{}"),
            (Role::Tool, Part::ToolResult, Some("get_weather"), Some("c1"), "sunny"),
            (Role::Assistant, Part::ToolCall, Some("local_shell"), Some("c2"), r#"{"type":"exec","command":["ls"]}"#),
            (Role::Assistant, Part::Body, None, None, r#"{"type":"unheard_of","x":1}"#),
        ]
    );
    assert_eq!(request.attributes[&attr::UNMAPPED_COUNT], Value::Int(2));
    let plain = decode_request(br#"{"model":"m","input":"hello"}"#).unwrap();
    assert_eq!(seen(&plain.pieces), [(Role::User, Part::Text, None, None, "hello")]);
}

#[test]
fn a_response_and_its_stream_are_read_alike() {
    let body = format!(
        r#"{{"id":"r1","object":"response","model":"gpt-x-1","status":"completed","output":{OUTPUT},
            "usage":{{"input_tokens":3,"input_tokens_details":{{"cached_tokens":1}},"output_tokens":5,"output_tokens_details":{{"reasoning_tokens":2}}}}}}"#
    );
    let whole = decode_response(body.as_bytes()).unwrap();
    assert_eq!(seen(&whole.pieces), expected());
    assert!(whole.refused);
    for (key, value) in [
        (attr::GEN_AI_RESPONSE_ID, Value::from("r1")),
        (attr::GEN_AI_USAGE_INPUT_TOKENS, Value::Int(3)),
        (attr::GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS, Value::Int(1)),
        (attr::GEN_AI_USAGE_OUTPUT_TOKENS, Value::Int(5)),
        (attr::GEN_AI_USAGE_REASONING_OUTPUT_TOKENS, Value::Int(2)),
        (attr::GEN_AI_RESPONSE_FINISH_REASONS, list(["completed".to_owned()])),
    ] {
        assert_eq!(whole.attributes[&key], value, "{key:?}");
    }
    let mut stream = StreamDecoder::default();
    stream.event(
        b"",
        br#"{"type":"response.created","response":{"id":"r1","model":"gpt-x-1","status":"in_progress","output":[]}}"#,
    );
    assert!(!stream.has_finished());
    let data = format!(r#"{{"type":"response.completed","response":{body}}}"#);
    assert_eq!(stream.event(b"response.completed", data.as_bytes()), Progress::Last);
    assert!(stream.has_finished());
    assert_eq!(stream.take(), whole);
}

#[test]
fn a_stream_that_breaks_off_keeps_what_came() {
    let mut stream = StreamDecoder::default();
    for data in [
        r#"{"type":"response.created","response":{"id":"r1","model":"m1","status":"in_progress","output":[]}}"#,
        r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"message","role":"assistant","content":[]}}"#,
        r#"{"type":"response.output_text.delta","output_index":0,"delta":"hel"}"#,
        r#"{"type":"response.output_text.delta","output_index":0,"delta":"lo"}"#,
        r#"{"type":"response.output_item.added","output_index":1,"item":{"type":"function_call","call_id":"c1","name":"f","arguments":""}}"#,
        r#"{"type":"response.function_call_arguments.delta","output_index":1,"delta":"{\"a\":"}"#,
        "not json",
    ] {
        assert_eq!(stream.event(b"", data.as_bytes()), Progress::More);
    }
    let response = stream.take();
    assert_eq!(
        seen(&response.pieces),
        [
            (Role::Assistant, Part::Text, None, None, "hello"),
            (Role::Assistant, Part::ToolCall, Some("f"), Some("c1"), "{\"a\":"),
            (Role::Assistant, Part::Body, None, None, "not json"),
        ]
    );
    assert_eq!((response.malformed_events, response.attributes.contains_key(&attr::GEN_AI_RESPONSE_FINISH_REASONS)), (1, false));
    assert_eq!(stream.event(b"", br#"{"type":"error","code":"rate_limit_exceeded","message":"slow down"}"#), Progress::Last);
    let failed = stream.take();
    assert_eq!((failed.error.as_deref(), failed.pieces[0].content.expose()), (Some("rate_limit_exceeded"), "slow down"));
}

proptest! {
    #[test]
    fn no_shape_makes_a_reader_panic(key in "(input|output|usage|tools|error|item|response|delta)",
                                     value in "(\\[|\\{|\"type\":|\"message\"|\"mcp_call\"|\"text\"|null|1|,|\\]|\\}){0,14}", noise in any::<Vec<u8>>()) {
        let body = format!(r#"{{"type":"response.output_item.done","output_index":0,"{key}":{value}}}"#);
        for body in [body.as_bytes(), &noise] {
            let _ = decode_request(body);
            let _ = decode_response(body);
            let mut decoder = StreamDecoder::default();
            decoder.event(b"", body);
            decoder.take();
        }
    }
}
