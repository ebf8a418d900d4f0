//! What is decided of messages: which of them two readers may understand differently, and what a decision leaves in the record.

use event::{EventId, Kind, Phase, Status, Value, attr};
use serde_json::value::RawValue;

use super::message::{Params, is_ambiguous};
use crate::gateway::json::{self, Object};
use crate::{Raw, RawEvent};

/// The members of a list of tools that are read. Any other spelling of them is ambiguous.
const LIST: [&str; 2] = ["tools", "nextCursor"];
/// Those of a tool.
const TOOL: [&str; 3] = ["name", "description", "inputSchema"];

/// What is said of a request whose answer could not be told from one that nobody asked for.
pub(super) const TOO_MANY: &str = "too many requests wait for their answers already";

/// What is said of parameters that two readers may understand differently.
pub(super) const AMBIGUOUS: &str = "the parameters can be understood in two ways";

/// Why a request does not go on, or would not.
pub(super) struct Ruling {
    pub(super) policy: &'static str,
    pub(super) reason: String,
    pub(super) is_blocked: bool,
}

/// What a decision leaves in the record.
pub(super) fn guardrail(template: &RawEvent, ruling: &Ruling) -> RawEvent {
    let mut event = template.clone();
    event.id = EventId::random();
    event.kind = Kind::Guardrail;
    event.name = Raw::from("mcp.policy");
    event.attributes.remove(attr::GEN_AI_OPERATION_NAME.as_str());
    event.set(attr::GEN_AI_GUARDRAIL_COMPONENT_NAME, "watchkeeper.mcp");
    event.set(attr::GEN_AI_GUARDRAIL_SECURITY_POLICY_ID, ruling.policy);
    event.set(attr::GEN_AI_GUARDRAIL_VERDICT_TYPE, "deny");
    event.set(attr::GEN_AI_GUARDRAIL_ACTION_TYPE, if ruling.is_blocked { "block" } else { "allow" });
    event.unmapped.insert(Raw::from("reason"), Value::Text(Raw::from(ruling.reason.as_str())));
    event
}

/// Whether two readers may understand parameters differently.
pub(super) fn is_unclear(params: Params<'_>) -> bool {
    params.is_unreadable() || params.object().is_some_and(|object| is_ambiguous(&object, &["name", "arguments", "uri"]))
}

/// Whether two readers may understand a result differently. Of a list of tools each definition must have one name.
pub(super) fn is_result_unclear(method: &str, result: &RawValue) -> bool {
    if !result.get().starts_with('{') {
        return false;
    }
    let Some(members) = Object::of(result) else { return true };
    if method != "tools/list" {
        return false;
    }
    let is_tool_unclear =
        |raw: &&RawValue| Object::of(raw).is_none_or(|tool| is_ambiguous(&tool, &TOOL) || tool.text("name").is_none());
    let is_list_unclear = |raw: &RawValue| json::items(raw).is_none_or(|tools| tools.iter().any(is_tool_unclear));
    is_ambiguous(&members, &LIST) || members.get("tools").is_some_and(is_list_unclear)
}

/// That an event was stopped.
pub(super) fn denied(event: &mut RawEvent) {
    event.phase = Phase::Complete;
    event.set(attr::APPROVAL_STATUS, "denied");
    event.set(attr::APPROVAL_SOURCE, "config");
    fail(event, "blocked_by_policy");
}

/// That an event came to nothing.
pub(super) fn fail(event: &mut RawEvent, why: &str) {
    event.status = Status::Error;
    event.set(attr::ERROR_TYPE, why);
}
