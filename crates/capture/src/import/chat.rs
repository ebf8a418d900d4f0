//! The JSON of recorded conversations.

use event::{Key, Role};
use serde_json::{Map, Value};

use super::conversation::{Call, Conversation, Message};
use super::{LineContext, LineError};
use crate::RawEvent;

/// Most messages of one conversation.
const MESSAGES_MAX: usize = 10_000;

/// Most calls in one message.
const CALLS_MAX: usize = 1_000;

pub(super) fn decode_agent_trace(line: &[u8], context: LineContext) -> Result<Vec<RawEvent>, LineError> {
    // Only these are what telemetry would have seen; a file's ground truth beside them is never read.
    let row = object(line)?;
    let messages = list(&row, "messages", MESSAGES_MAX)?;
    let conversation = Conversation {
        session: required(&row, "trace_id")?,
        model: optional(&row, "model")?.filter(|model| model != "unknown"),
        application: optional(&row, "source")?,
        user: None,
        dialect: Key::of("agent-traces"),
        messages: messages.iter().enumerate().map(|(at, message)| openai_message(message, at)).collect::<Result<_, _>>()?,
    };
    Ok(conversation.into_events(context.time))
}

pub(super) fn decode_chat(line: &[u8], context: LineContext) -> Result<Vec<RawEvent>, LineError> {
    let row = object(line)?;
    let messages = if row.contains_key("messages") {
        let messages = list(&row, "messages", MESSAGES_MAX)?;
        messages.iter().enumerate().map(|(at, message)| openai_message(message, at)).collect::<Result<_, _>>()?
    } else if row.contains_key("conversations") {
        let messages = list(&row, "conversations", MESSAGES_MAX)?;
        messages.iter().enumerate().map(|(at, message)| sharegpt_message(message, at)).collect::<Result<_, _>>()?
    } else if row.contains_key("prompt") {
        let turn = |role, text| Message { role, text, calls: Vec::new(), tool: None, call_id: None, failed: false };
        let mut messages = Vec::new();
        messages.extend(optional(&row, "system")?.map(|text| turn(Role::System, text)));
        messages.push(turn(Role::User, required(&row, "prompt")?));
        messages.extend(optional(&row, "response")?.map(|text| turn(Role::Assistant, text)));
        messages
    } else {
        return Err(LineError::line("a chat has `messages`, `conversations`, or `prompt` and `response`"));
    };
    let first = |keys: &[&str]| -> Result<Option<String>, LineError> {
        for key in keys {
            if let Some(value) = optional(&row, key)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    };
    let session = first(&["session_id", "session", "conversation_id", "id", "trace_id"])?;
    let conversation = Conversation {
        // Named by what was said: lines of other files that name no session either are other conversations.
        session: session.unwrap_or_else(|| named_by_content(line)),
        model: optional(&row, "model")?,
        application: first(&["application", "source"])?,
        user: first(&["user_id", "user"])?,
        dialect: Key::of("chat-jsonl"),
        messages,
    };
    Ok(conversation.into_events(context.time))
}

fn named_by_content(line: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, line.trim_ascii());
    format!("chat-{}", event::hex::encode(&digest.as_ref()[..8]))
}

fn openai_message(message: &Value, at: usize) -> Result<Message, LineError> {
    let path = |field: &str| format!("messages[{at}].{field}");
    let message = message.as_object().ok_or_else(|| LineError::field(format!("messages[{at}]"), "must be an object"))?;
    let role_name =
        message.get("role").and_then(Value::as_str).ok_or_else(|| LineError::field(path("role"), "is missing or no text"))?;
    let text = match message.get("content") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect::<Vec<_>>().join("\n"),
        Some(other) => other.to_string(),
    };
    let calls = match message.get("tool_calls") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(calls)) if calls.len() <= CALLS_MAX => calls
            .iter()
            .enumerate()
            .map(|(nth, call)| tool_call(call, &path(&format!("tool_calls[{nth}]"))))
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(LineError::field(path("tool_calls"), format!("must be a list of at most {CALLS_MAX} calls"))),
    };
    let text_of = |key: &str| message.get(key).and_then(Value::as_str).map(str::to_owned);
    Ok(Message {
        role: role(role_name).ok_or_else(|| LineError::field(path("role"), "must be system, user, assistant or tool"))?,
        text,
        calls,
        tool: text_of("tool").or_else(|| text_of("name")),
        call_id: text_of("tool_call_id"),
        failed: matches!(message.get("error"), Some(error) if !error.is_null() && error != &Value::Bool(false)),
    })
}

/// `{function: "name", args: {...}}` (agent traces) or `{id, function: {name, arguments: "..."}}` (OpenAI).
fn tool_call(call: &Value, path: &str) -> Result<Call, LineError> {
    let as_text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let id = call.get("id").and_then(Value::as_str).map(str::to_owned);
    match call.get("function") {
        Some(Value::String(tool)) => {
            let arguments = call.get("args").or_else(|| call.get("arguments")).map_or_else(|| "{}".to_owned(), as_text);
            Ok(Call { id, tool: tool.clone(), arguments })
        }
        Some(Value::Object(function)) => {
            let tool = function.get("name").and_then(Value::as_str);
            let tool = tool.ok_or_else(|| LineError::field(format!("{path}.function.name"), "is missing or no text"))?;
            Ok(Call { id, tool: tool.to_owned(), arguments: function.get("arguments").map_or_else(|| "{}".to_owned(), as_text) })
        }
        _ => {
            Err(LineError::field(format!("{path}.function"), "must be the tool's name or an object with `name` and `arguments`"))
        }
    }
}

fn sharegpt_message(message: &Value, at: usize) -> Result<Message, LineError> {
    let text_of = |key: &str| {
        let text = message.get(key).and_then(Value::as_str);
        text.ok_or_else(|| LineError::field(format!("conversations[{at}].{key}"), "is missing or no text"))
    };
    let role = match text_of("from")? {
        "human" => Role::User,
        "gpt" | "chatgpt" | "bing" | "bard" | "model" | "function_call" => Role::Assistant,
        "observation" | "function_response" => Role::Tool,
        other => role(other)
            .ok_or_else(|| LineError::field(format!("conversations[{at}].from"), "must be human, gpt, system or observation"))?,
    };
    Ok(Message { role, text: text_of("value")?.to_owned(), calls: Vec::new(), tool: None, call_id: None, failed: false })
}

fn role(name: &str) -> Option<Role> {
    match name {
        "system" | "developer" => Some(Role::System),
        "user" => Some(Role::User),
        "assistant" | "model" => Some(Role::Assistant),
        "tool" | "function" => Some(Role::Tool),
        _ => None,
    }
}

fn object(line: &[u8]) -> Result<Map<String, Value>, LineError> {
    serde_json::from_slice(line).map_err(|error| LineError::line(format!("must be one JSON object: {error}")))
}

fn list<'a>(row: &'a Map<String, Value>, key: &str, most: usize) -> Result<&'a [Value], LineError> {
    let list = row.get(key).and_then(Value::as_array);
    let list = list.ok_or_else(|| LineError::field(key, "is missing or no list"))?;
    if list.len() > most {
        return Err(LineError::field(key, format!("has {} entries, at most {most} can be", list.len())));
    }
    Ok(list)
}

fn optional(row: &Map<String, Value>, key: &str) -> Result<Option<String>, LineError> {
    match row.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(_) => Err(LineError::field(key, "must be a text")),
    }
}

fn required(row: &Map<String, Value>, key: &str) -> Result<String, LineError> {
    optional(row, key)?.ok_or_else(|| LineError::field(key, "is missing"))
}

#[cfg(test)]
mod tests {
    use event::{Direction, Kind, Part, Status, Timestamp};

    use super::*;

    const CONTEXT: LineContext = LineContext { time: Timestamp::from_unix_ns(1_700_000_000_000_000_000), line: 0 };

    fn trace_line() -> String {
        serde_json::json!({
            "trace_id": "t/1", "source": "lab", "model": "m-1", "attack": "never read",
            "messages": [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "What is the weather?"},
                {"role": "assistant", "content": "", "tool_calls": [
                    {"function": "weather", "args": {"city": "Paris"}}, {"function": "clock", "args": {}}]},
                {"role": "tool", "content": "12:00", "tool": "clock"},
                {"role": "tool", "content": "no such city", "tool": "weather", "error": "ValueError"},
                {"role": "assistant", "content": "Sorry."},
            ],
        })
        .to_string()
    }

    #[test]
    fn an_agent_trace_becomes_its_model_calls_and_tool_calls() {
        let events = decode_agent_trace(trace_line().as_bytes(), CONTEXT).unwrap();
        let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
        assert_eq!(kinds, [Kind::ModelCall, Kind::ToolCall, Kind::ToolCall, Kind::ModelCall]);
        let weather = &events[1];
        assert_eq!(weather.status, Status::Error);
        assert_eq!(weather.pieces[0].content.expose(), r#"{"city":"Paris"}"#);
        assert_eq!(weather.pieces[1].content.expose(), "no such city");
        assert_eq!(events[2].pieces[1].content.expose(), "12:00");
        assert_eq!(weather.trace.unwrap().parent_span_id, events[0].trace.unwrap().span_id);
        let last = &events[3];
        let fresh = last.pieces.iter().filter(|piece| piece.meta.direction == Direction::Input && !piece.meta.history);
        assert!(fresh.clone().all(|piece| piece.meta.part == Part::ToolResult));
        assert_eq!(fresh.count(), 2);
        assert!(events.iter().all(|event| event.session.as_ref().unwrap().expose() == "t/1"));
    }

    #[test]
    fn the_same_line_gives_the_same_ids_and_another_one_others() {
        let ids =
            |line: &str| decode_agent_trace(line.as_bytes(), CONTEXT).unwrap().iter().map(|event| event.id).collect::<Vec<_>>();
        assert_eq!(ids(&trace_line()), ids(&trace_line()));
        assert_ne!(ids(&trace_line())[0], ids(&trace_line().replace("weather?", "time?"))[0]);
    }

    #[test]
    fn chats_of_three_shapes_give_the_same_conversation() {
        for line in [
            r#"{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"ho"}]}"#,
            r#"{"conversations":[{"from":"human","value":"hi"},{"from":"gpt","value":"ho"}]}"#,
            r#"{"prompt":"hi","response":"ho"}"#,
        ] {
            let events = decode_chat(line.as_bytes(), CONTEXT).unwrap();
            let texts: Vec<_> = events[0].pieces.iter().map(|piece| piece.content.expose()).collect();
            assert_eq!((events.len(), texts), (1, vec!["hi", "ho"]), "{line}");
        }
    }

    #[test]
    fn a_prompt_without_an_answer_is_a_call_all_the_same() {
        let events = decode_chat(br#"{"messages":[{"role":"user","content":"hi"}]}"#, CONTEXT).unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].pieces[0].content.expose(), "hi");
    }

    #[test]
    fn errors_name_the_field() {
        for (line, field) in [
            ("[]", "line"),
            ("{", "line"),
            (r#"{"messages":[]}"#, "trace_id"),
            (r#"{"trace_id":"x"}"#, "messages"),
            (r#"{"trace_id":"x","messages":[{"content":"a"}]}"#, "messages[0].role"),
            (r#"{"trace_id":"x","messages":[{"role":"wizard"}]}"#, "messages[0].role"),
            (r#"{"trace_id":["x"],"messages":[]}"#, "trace_id"),
            (r#"{"trace_id":"x","messages":[{"role":"assistant","tool_calls":[{}]}]}"#, "messages[0].tool_calls[0].function"),
        ] {
            assert_eq!(decode_agent_trace(line.as_bytes(), CONTEXT).unwrap_err().field, field, "{line}");
        }
        assert!(decode_agent_trace("[".repeat(20_000).as_bytes(), CONTEXT).is_err());
    }
}
