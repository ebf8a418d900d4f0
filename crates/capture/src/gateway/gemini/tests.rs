//! What is read of Gemini.

use proptest::prelude::*;

use super::*;

fn texts(pieces: &[event::Piece<Raw>]) -> Vec<(Role, Part, &str)> {
    pieces.iter().map(|piece| (piece.meta.role, piece.meta.part, piece.content.expose())).collect()
}

#[test]
fn a_request_in_either_case() {
    let camel = br#"{"systemInstruction":{"parts":[{"text":"be brief"}]},"generationConfig":{"temperature":0.5,"maxOutputTokens":9,"responseMimeType":"application/json"},
        "tools":[{"functionDeclarations":[{"name":"get_weather"}]},{"googleSearch":{}}],
        "contents":[{"role":"user","parts":[{"text":"weather?"},{"inlineData":{"mimeType":"image/png","data":"AAAA"}},{"fileData":{"fileUri":"gs://b/x"}}]},
          {"role":"model","parts":[{"text":"hm","thought":true},{"functionCall":{"id":"c1","name":"get_weather","args":{"city":"Paris"}}}]},
          {"role":"user","parts":[{"functionResponse":{"id":"c1","name":"get_weather","response":{"sky":"blue"}}},{"novel":1}]}]}"#;
    let text = String::from_utf8_lossy(camel);
    let snake = [
        "systemInstruction",
        "generationConfig",
        "maxOutputTokens",
        "responseMimeType",
        "functionDeclarations",
        "inlineData",
        "mimeType",
        "fileData",
        "fileUri",
        "functionCall",
        "functionResponse",
    ]
    .iter()
    .fold(text.to_string(), |text, name| {
        let snake: String =
            name.chars().flat_map(|c| if c.is_ascii_uppercase() { vec!['_', c.to_ascii_lowercase()] } else { vec![c] }).collect();
        text.replace(name, &snake)
    });
    for body in [text.to_string(), snake] {
        let request = decode_request(body.as_bytes()).unwrap();
        assert_eq!(
            texts(&request.pieces),
            [
                (Role::System, Part::ToolDefinition, r#"{"name":"get_weather"}"#),
                (Role::System, Part::ToolDefinition, r#"{"googleSearch":{}}"#),
                (Role::System, Part::Text, "be brief"),
                (Role::User, Part::Text, "weather?"),
                (Role::User, Part::Media, "data:image/png, 4 characters"),
                (Role::User, Part::Media, "gs://b/x"),
                (Role::Assistant, Part::Reasoning, "hm"),
                (Role::Assistant, Part::ToolCall, r#"{"city":"Paris"}"#),
                (Role::Tool, Part::ToolResult, r#"{"sky":"blue"}"#),
                (Role::User, Part::Body, r#"{"novel":1}"#),
            ],
            "{body}"
        );
        assert_eq!(request.attributes[&attr::GEN_AI_REQUEST_MAX_TOKENS], Value::Int(9));
        assert_eq!(request.attributes[&OUTPUT_TYPE], Value::from("json"));
    }
    let counted =
        decode_count(br#"{"generateContentRequest":{"model":"models/g","contents":[{"parts":[{"text":"x"}]}]}}"#).unwrap();
    assert_eq!((counted.model.as_deref(), texts(&counted.pieces)), (Some("g"), vec![(Role::User, Part::Text, "x")]));
}

const CHUNKS: [&str; 3] = [
    r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"thinking","thought":true}]},"index":0}],"modelVersion":"g-1","responseId":"r1"}"#,
    r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"hel"}]},"index":0}]}"#,
    r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"lo"},{"functionCall":{"name":"f","args":{}}}]},"finishReason":"STOP","index":0}],
        "usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":4,"thoughtsTokenCount":5,"cachedContentTokenCount":1}}"#,
];

#[test]
fn a_stream_is_put_together_as_events_and_as_a_list() {
    let mut stream = StreamDecoder::default();
    for chunk in CHUNKS {
        assert!(!stream.has_finished());
        assert_eq!(stream.event(b"", chunk.as_bytes()), Progress::More);
    }
    assert!(stream.has_finished());
    let response = stream.take();
    assert_eq!(
        texts(&response.pieces),
        [
            (Role::Assistant, Part::Reasoning, "thinking"),
            (Role::Assistant, Part::Text, "hello"),
            (Role::Assistant, Part::ToolCall, "{}"),
        ]
    );
    for (key, value) in [
        (attr::GEN_AI_RESPONSE_MODEL, Value::from("g-1")),
        (attr::GEN_AI_RESPONSE_ID, Value::from("r1")),
        (attr::GEN_AI_USAGE_INPUT_TOKENS, Value::Int(3)),
        (attr::GEN_AI_USAGE_OUTPUT_TOKENS, Value::Int(9)),
        (attr::GEN_AI_USAGE_REASONING_OUTPUT_TOKENS, Value::Int(5)),
        (attr::GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS, Value::Int(1)),
    ] {
        assert_eq!(response.attributes[&key], value, "{key:?}");
    }
    assert_eq!(decode_response(format!("[{}]", CHUNKS.join(",")).as_bytes()).unwrap(), response);
}

#[test]
fn errors_and_refusals_are_told() {
    let error = decode_response(br#"{"error":{"code":429,"message":"slow down","status":"RESOURCE_EXHAUSTED"}}"#).unwrap();
    assert_eq!(
        (error.error.as_deref(), texts(&error.pieces)),
        (Some("RESOURCE_EXHAUSTED"), vec![(Role::System, Part::Body, "slow down")])
    );
    let blocked = decode_response(br#"{"promptFeedback":{"blockReason":"SAFETY"}}"#).unwrap();
    assert!(blocked.refused);
}

proptest! {
    #[test]
    fn no_shape_makes_a_reader_panic(key in "(contents|candidates|usageMetadata|tools|error|content)",
                                     value in "(\\[|\\{|\"parts\":|\"text\":|\"functionCall\"|null|1|,|\\]|\\}){0,14}", noise in any::<Vec<u8>>()) {
        let body = format!(r#"{{"{key}":{value}}}"#);
        for body in [body.as_bytes(), &noise] {
            let _ = decode_request(body);
            let _ = decode_response(body);
            let mut decoder = StreamDecoder::default();
            decoder.event(b"", body);
            decoder.take();
        }
    }
}

#[test]
fn what_is_no_list_is_its_only_item_and_both_spellings_are_read() {
    let request = decode_request(
        br#"{"contents":{"parts":{"text":"one"}},"systemInstruction":{"parts":{"text":"two"}},"system_instruction":{"parts":[{"text":"three"}]},
            "tools":{"functionDeclarations":{"name":"f"},"function_declarations":[{"name":"g"}]}}"#,
    )
    .unwrap();
    let texts: Vec<_> = request.pieces.iter().map(|piece| piece.content.expose()).collect();
    assert_eq!(texts, [r#"{"name":"f"}"#, r#"{"name":"g"}"#, "two", "three", "one"]);
}
