//! Answers: what each method's result leaves in its event.

use event::{Direction, EventId, Kind, Part, Phase, PieceMeta, Role, Status, Value, attr};
use serde_json::value::RawValue;

use super::describe::messages;
use super::session::{text, with_pieces};
use super::sides::Side;
use crate::gateway::json::{self, Object};
use crate::{Raw, RawEvent};

/// Members of a result that only asks (2026-07-28).
const ASKING: [&str; 4] = ["resultType", "inputRequests", "requestState", "_meta"];

/// Puts a result into the event.
pub(super) fn result(event: &mut RawEvent, sender: Side, method: &str, raw: &RawValue) {
    let Some(members) = Object::of(raw) else { return body(event, sender, raw) };
    if members.text("resultType").as_deref() == Some("input_required") {
        // The questions have events of their own.
        event.status = Status::Unset;
        event.unmapped.insert(Raw::from("resultType"), Value::Text(Raw::from("input_required")));
        // What else is in it is read by clients that do not know of such results.
        if members.entries().all(|(key, _)| ASKING.contains(&key)) {
            return;
        }
    }
    match (sender, method) {
        (Side::Server, "tools/call") => tool_result(event, &members),
        (Side::Server, "resources/read") => with_pieces(event, |pieces| {
            let meta = PieceMeta::new(Direction::Output, Role::Document, Part::Document);
            for resource in members.items("contents").into_iter().filter_map(Object::of) {
                pieces.resource(&meta, &resource);
            }
        }),
        (Side::Server, "prompts/get") => with_pieces(event, |pieces| {
            messages(pieces, &members.items("messages"), Direction::Output);
        }),
        (Side::Server, "tools/list") => with_pieces(event, |pieces| {
            for raw in members.items("tools") {
                let name = Object::of(raw).and_then(|tool| tool.text("name")).map(Raw::from);
                let meta = PieceMeta { name, ..PieceMeta::new(Direction::Output, Role::System, Part::ToolDefinition) };
                pieces.value(meta, raw);
            }
        }),
        (Side::Client, "sampling/createMessage") => sampled(event, &members, raw),
        (Side::Client, "elicitation/create") => {
            if let Some(action) = members.text("action") {
                event.set(attr::EVENT_ACTION, action.as_str());
            }
            with_pieces(event, |pieces| {
                if let Some(content) = members.get("content") {
                    pieces.value(PieceMeta::new(Direction::Input, Role::User, Part::Body), content);
                }
            });
        }
        _ => {
            if members.entries().next().is_some() {
                body(event, sender, raw);
            }
        }
    }
}

/// Puts an error into the event.
pub(super) fn error(event: &mut RawEvent, sender: Side, code: Option<i64>, message: &str, data: Option<&RawValue>) {
    let code = code.map_or_else(|| "unknown".to_owned(), |code| code.to_string());
    event.status = Status::Error;
    event.set(attr::ERROR_TYPE, code.as_str());
    event.set(attr::RPC_RESPONSE_STATUS_CODE, code.as_str());
    let (role, part) = match (sender, event.kind) {
        (Side::Client, _) => (Role::Assistant, Part::Body),
        (Side::Server, Kind::ToolCall) => (Role::Tool, Part::ToolResult),
        (Side::Server, _) => (Role::Tool, Part::Body),
    };
    let meta = PieceMeta { failed: Some(true), ..PieceMeta::new(sender.direction(), role, part) };
    with_pieces(event, |pieces| {
        pieces.push(meta, message.to_owned());
        if let Some(data) = data {
            pieces.value(PieceMeta::new(sender.direction(), role, Part::Body), data);
        }
    });
}

/// Puts a result that is not read into the event.
pub(super) fn body(event: &mut RawEvent, sender: Side, raw: &RawValue) {
    let role = if sender == Side::Server { Role::Tool } else { Role::Assistant };
    with_pieces(event, |pieces| pieces.value(PieceMeta::new(sender.direction(), role, Part::Body), raw));
}

/// What a server wants to have in the model's system prompt.
pub(super) fn instructions(answer: &RawEvent, instructions: String) -> RawEvent {
    let mut event = answer.clone();
    event.id = EventId::random();
    event.kind = Kind::SystemPrompt;
    event.phase = Phase::Complete;
    event.name = Raw::from("mcp.instructions");
    event.duration_ns = None;
    event.pieces.clear();
    event.unmapped.clear();
    event.set(attr::EVENT_ACTION, "read");
    with_pieces(&mut event, |pieces| {
        pieces.push(PieceMeta::new(Direction::Output, Role::System, Part::Text), instructions);
    });
    event
}

fn tool_result(event: &mut RawEvent, members: &Object<'_>) {
    let failed = members.get("isError").and_then(json::boolean).unwrap_or(false);
    if failed {
        event.status = Status::Error;
        event.set(attr::ERROR_TYPE, "tool_error");
    }
    let name = event.attributes.get(attr::GEN_AI_TOOL_NAME.as_str()).and_then(Value::as_text).cloned();
    let meta = PieceMeta { name, failed: Some(failed), ..PieceMeta::new(Direction::Output, Role::Tool, Part::ToolResult) };
    let blocks = members.items("content");
    with_pieces(event, |pieces| {
        pieces.blocks(&meta, &blocks);
        if let Some(structured) = members.get("structuredContent") {
            let structured = text(structured);
            // Servers give the same once more as text, for older clients.
            let is_told = blocks.iter().filter_map(|raw| Object::of(raw)?.text("text")).any(|told| is_same(&told, &structured));
            if !is_told {
                pieces.push(meta, structured);
            }
        }
    });
}

/// What the client's model answered.
fn sampled(event: &mut RawEvent, members: &Object<'_>, raw: &RawValue) {
    if let Some(model) = members.text("model") {
        event.set(attr::GEN_AI_RESPONSE_MODEL, model.as_str());
    }
    if let Some(reason) = members.text("stopReason") {
        event.attributes.insert(attr::GEN_AI_RESPONSE_FINISH_REASONS, Value::List(vec![Value::Text(Raw::from(reason))]));
    }
    with_pieces(event, |pieces| messages(pieces, &[raw], Direction::Output));
}

/// Whether two texts are one JSON value.
fn is_same(told: &str, structured: &str) -> bool {
    told == structured
        || matches!(
            (serde_json::from_str::<serde_json::Value>(told), serde_json::from_str::<serde_json::Value>(structured)),
            (Ok(told), Ok(structured)) if told == structured
        )
}
