use proptest::prelude::*;
use serde_json::json;

use super::*;

fn say(conversation: &mut Conversation, event: &serde_json::Value) -> Option<ModelRequest> {
    conversation.say(read_client(event.to_string().as_bytes()).unwrap())
}

fn hear(conversation: &mut Conversation, event: &serde_json::Value) -> Heard {
    conversation.hear(event.to_string().as_bytes())
}

fn texts(request: &ModelRequest) -> Vec<&str> {
    request.pieces.iter().map(|piece| piece.content.expose()).collect()
}

fn user(text: &str) -> serde_json::Value {
    json!({"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}})
}

#[test]
fn a_response_is_asked_with_the_session_and_what_was_said_since_the_last() {
    let mut talk = Conversation::new(Some("m".to_owned()));
    let tool = json!({"type": "function", "name": "weather"});
    let session = json!({"instructions": "Be brief.", "tools": [tool], "max_output_tokens": 50, "temperature": 0.6});
    say(&mut talk, &json!({"type": "session.update", "session": session}));
    // What the server had before the change comes late, and does not count.
    hear(&mut talk, &json!({"type": "session.created", "session": {"id": "s", "model": "m2", "instructions": "The default."}}));
    say(&mut talk, &user("first"));
    let asked = say(&mut talk, &json!({"type": "response.create"})).unwrap();
    assert_eq!(texts(&asked), [tool.to_string().as_str(), "Be brief.", "first"]);
    assert_eq!(asked.model.as_deref(), Some("m2"));
    assert_eq!(asked.attributes[&attr::GEN_AI_REQUEST_MAX_TOKENS], event::Value::Int(50));
    // The next is asked with what is new. The result of a call has the name of its tool.
    hear(
        &mut talk,
        &json!({"type": "response.done", "response": {"id": "r1", "output": [
            {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"}]}}),
    );
    say(
        &mut talk,
        &json!({"type": "conversation.item.create", "item": {"type": "function_call_output", "call_id": "c1", "output": "sunny"}}),
    );
    let asked = say(&mut talk, &json!({"type": "response.create", "response": {"instructions": "Sing."}})).unwrap();
    assert_eq!(texts(&asked)[1..], ["Sing.", "sunny"]);
    let result = asked.pieces.last().unwrap();
    assert_eq!((result.meta.part, result.meta.name.as_ref().map(Raw::expose)), (Part::ToolResult, Some("weather")));
    // One beside the conversation brings what it is about, and takes nothing from it.
    say(&mut talk, &user("waits"));
    let apart = json!({"type": "response.create", "response": {"conversation": "none", "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "apart"}]}]}});
    assert_eq!(texts(&say(&mut talk, &apart).unwrap()).last(), Some(&"apart"));
    assert_eq!(texts(&talk.rest().unwrap()), ["waits"]);
    assert!(talk.rest().is_none());
}

#[test]
fn sound_is_counted_and_its_transcript_is_what_was_said() {
    let mut talk = Conversation::default();
    for _ in 0..2 {
        let said =
            read_client(json!({"type": "input_audio_buffer.append", "audio": "A".repeat(100)}).to_string().as_bytes()).unwrap();
        assert!(said.pieces.is_empty() && matches!(said.step, Step::Sound { characters: 100, alone: true }));
        talk.say(said);
    }
    hear(&mut talk, &json!({"type": "input_audio_buffer.committed", "item_id": "i"}));
    let transcript =
        json!({"type": "conversation.item.input_audio_transcription.completed", "item_id": "i", "transcript": "spoken"});
    assert!(matches!(hear(&mut talk, &transcript), Heard::Other));
    assert_eq!(texts(&talk.ask_by_itself()), ["audio, 200 characters", "spoken"]);
    // What pretends to be sound is judged.
    for odd in [json!("not base64 at all"), json!("AA=="), json!(7)] {
        let event = json!({"type": "input_audio_buffer.append", "audio": odd, "note": "words"});
        assert!(matches!(read_client(event.to_string().as_bytes()).unwrap().step, Step::Sound { alone: false, .. }));
    }
    // Where nobody answers, a transcript is a result by itself.
    let session = json!({"type": "transcription", "audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000}}}});
    hear(&mut talk, &json!({"type": "session.updated", "session": session}));
    say(&mut talk, &json!({"type": "input_audio_buffer.append", "audio": "AAAA"}));
    let mut transcript = transcript;
    transcript["usage"] = json!({"type": "tokens", "input_tokens": 3, "output_tokens": 1});
    let Heard::Transcribed(result) = hear(&mut talk, &transcript) else { panic!("no result") };
    let said: Vec<_> = result.pieces.iter().map(|piece| piece.content.expose()).collect();
    assert_eq!(said, ["audio/pcm, 4 characters", "spoken"]);
    assert_eq!(result.attributes[&attr::GEN_AI_USAGE_INPUT_TOKENS], event::Value::Int(3));
}

#[test]
fn events_belong_to_their_response_under_both_names() {
    let mut talk = Conversation::default();
    for (event, expected) in [
        (json!({"type": "response.created", "response": {"id": "r"}}), "Began(Some(\"r\"))"),
        (json!({"type": "response.output_text.delta", "response_id": "r", "delta": "x"}), "Part(Some(\"r\"))"),
        (json!({"type": "response.audio_transcript.delta", "response_id": "r", "delta": "x"}), "Part(Some(\"r\"))"),
        (json!({"type": "response.output_audio.delta", "response_id": "r", "delta": "AAAA"}), "Sound(Some(\"r\"), 4)"),
        (json!({"type": "response.audio.delta", "response_id": "r", "delta": "AAAA"}), "Sound(Some(\"r\"), 4)"),
        (json!({"type": "response.done", "response": {"id": "r"}}), "Ended(Some(\"r\"))"),
        (json!({"type": "error", "error": {"type": "t", "event_id": "e"}}), "Failed(Some(\"e\"))"),
        (json!({"type": "rate_limits.updated"}), "Other"),
        (json!({"no": "type"}), "Malformed"),
    ] {
        assert_eq!(format!("{:?}", hear(&mut talk, &event)), expected);
    }
    assert_eq!(format!("{:?}", talk.hear(b"\xff")), "Malformed");
}

#[test]
fn what_is_unknown_is_kept_and_what_is_ambiguous_is_no_event() {
    let mut talk = Conversation::default();
    say(&mut talk, &json!({"type": "a.new.event", "words": "kept"}));
    let rest = talk.rest().unwrap();
    assert!(texts(&rest)[0].contains("kept") && rest.attributes[&attr::UNMAPPED_COUNT] == event::Value::Int(1));
    assert!(read_client(br#"{"type":"response.cancel","type":"response.create"}"#).is_err());
    assert!(read_client(b"[]").is_err());
}

#[test]
fn what_waits_is_bounded() {
    let mut talk = Conversation::default();
    for _ in 0..WAITING_PIECES_MAX {
        assert!(!talk.is_full());
        say(&mut talk, &user("x"));
    }
    assert!(talk.is_full());
    talk.rest();
    say(&mut talk, &user(&"x".repeat(usize::try_from(WAITING_BYTES_MAX).unwrap())));
    assert!(talk.is_full());
    let huge = "x".repeat(2 * usize::try_from(SESSION_BYTES_MAX).unwrap());
    say(&mut talk, &json!({"type": "session.update", "session": {"instructions": huge, "tools": [{"name": huge}]}}));
    let asked = talk.ask_by_itself();
    assert!(text_bytes(&asked.pieces) <= SESSION_BYTES_MAX + WAITING_BYTES_MAX);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>(), text in "[{}\\[\\]\":,a-z._0-9]{0,60}") {
        let mut talk = Conversation::default();
        for bytes in [bytes.as_slice(), text.as_bytes()] {
            if let Ok(said) = read_client(bytes) {
                talk.say(said);
            }
            talk.hear(bytes);
        }
        talk.rest();
    }
}
