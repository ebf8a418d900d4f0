//! What a hook's call is in the record.

use client::{Event, Message, Party, Source, Tool};
use event::{Direction, Kind, Part, Phase, Role, SourcePath, Status, attr};
use serde_json::Value;

use crate::answer::{Answer, Decision, Verdict};
use crate::call::{Call, Step};

/// Fields that have a place of their own in an event, or are no business of the record.
const PLACED: [&str; 36] = [
    "hook_event_name",
    "hookEventName",
    "event",
    "session_id",
    "conversation_id",
    "sessionId",
    "prompt_id",
    "generation_id",
    "turn_id",
    "prompt",
    "tool_name",
    "toolName",
    "tool_input",
    "toolInput",
    "arguments",
    "tool_use_id",
    "tool_call_id",
    "call_id",
    "tool_response",
    "tool_output",
    "result_json",
    "output",
    "result",
    "duration_ms",
    "duration",
    "user_email",
    "agent_id",
    "agent_type",
    "last_assistant_message",
    "prompt_response",
    "content",
    "edits",
    "attachments",
    "text",
    "llm_request",
    "llm_response",
];

/// Most other fields that are kept.
const FIELDS_MAX: usize = 48;

/// Longest other field, in bytes.
const FIELD_BYTES_MAX: usize = 4 * 1024;

/// What the hook knows beside what the agent tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// The user of the operating system.
    pub user: Option<String>,
    /// The host's name.
    pub host: Option<String>,
}

/// A change of the permission mode between two hooks of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModeChange {
    /// Before.
    pub from: String,
    /// Now.
    pub to: String,
}

impl Call {
    /// The events of the call: what happened, the change of the permission mode if there was one, and the decision if there is one.
    #[must_use]
    pub fn events(&self, context: &Context, change: Option<&ModeChange>, decision: &Decision, answer: &Answer) -> Vec<Event> {
        let mut events = Vec::new();
        if let Some(change) = change {
            events.push(
                self.event(context, Kind::Admin)
                    .name("permission_mode.change")
                    .attribute(attr::EVENT_ACTION.as_str(), "change")
                    .attribute(attr::ADMIN_OBJECT.as_str(), format!("permission mode {} to {}", change.from, change.to))
                    .attribute("from_mode", change.from.as_str())
                    .attribute("to_mode", change.to.as_str()),
            );
        }
        let happened = self.happened(context);
        let happened = match answer.verdict {
            Verdict::Deny if self.step == Step::BeforeTool => approval(happened, "denied"),
            _ => happened,
        };
        events.push(happened);
        if decision.verdict != Verdict::Pass {
            events.push(self.decided(context, decision, answer));
        }
        events
    }

    fn happened(&self, context: &Context) -> Event {
        match self.step {
            Step::SessionStart => self.event(context, Kind::Session).attribute(attr::EVENT_ACTION.as_str(), "session_start"),
            Step::SessionEnd => self.event(context, Kind::Session).attribute(attr::EVENT_ACTION.as_str(), "session_end"),
            Step::Prompt => {
                let event = self.model_call(context, Phase::Request);
                self.said(event, Role::User, Direction::Input, &["prompt"])
            }
            Step::Stop => {
                let event = self.model_call(context, Phase::Response).status(Status::Ok);
                self.said(event, Role::Assistant, Direction::Output, &["last_assistant_message", "prompt_response", "text"])
            }
            Step::StopFailure => self
                .model_call(context, Phase::Response)
                .status(Status::Error)
                .attribute_if(attr::ERROR_TYPE.as_str(), self.text(&["error"])),
            Step::BeforeTool => self.tool_call(context, Kind::ToolCall, Phase::Request, Status::Unset),
            Step::AfterTool => self.tool_call(context, Kind::ToolCall, Phase::Response, Status::Ok),
            Step::ToolFailed => self.tool_call(context, Kind::ToolCall, Phase::Response, Status::Error),
            Step::PermissionRequest => {
                let event = self.tool_call(context, Kind::Guardrail, Phase::Request, Status::Unset);
                approval(event, "requested").attribute(attr::GEN_AI_GUARDRAIL_COMPONENT_NAME.as_str(), "permission_request")
            }
            Step::PermissionDenied => {
                let event = self.tool_call(context, Kind::Guardrail, Phase::Complete, Status::Unset);
                approval(event, "denied").attribute(attr::GEN_AI_GUARDRAIL_COMPONENT_NAME.as_str(), "permission_classifier")
            }
            Step::SubagentStart => self.step_event(context, "invoke_agent"),
            Step::SubagentStop => {
                let event = self.step_event(context, "invoke_agent").phase(Phase::Response);
                self.said(event, Role::Assistant, Direction::Output, &["last_assistant_message", "text"])
            }
            Step::Notification => {
                let event = self.step_event(context, "notification");
                self.said(event, Role::System, Direction::Output, &["message"])
            }
            Step::Compact => self.step_event(context, "compact"),
            Step::ConfigChange => self
                .event(context, Kind::Admin)
                .attribute(attr::EVENT_ACTION.as_str(), "change")
                .attribute_if(attr::ADMIN_OBJECT.as_str(), self.text(&["file_path", "source"])),
            Step::Instructions => self.event(context, Kind::SystemPrompt),
            Step::Other => {
                let json = Value::Object(self.fields.clone()).to_string();
                self.step_event(context, "hook").message(Message::new(Role::System, &json).part(Part::Body))
            }
        }
    }

    /// What the policy made of it (A2).
    fn decided(&self, context: &Context, decision: &Decision, answer: &Answer) -> Event {
        let (verdict, action) = match (decision.verdict, answer.verdict) {
            (Verdict::Ask, Verdict::Deny) => ("escalate", "block"),
            (Verdict::Ask, _) => ("escalate", "escalate"),
            (_, Verdict::Deny) => ("deny", "block"),
            _ => ("deny", "allow"),
        };
        let event = self
            .event(context, Kind::Guardrail)
            .name("hook.decision")
            .attribute(attr::GEN_AI_GUARDRAIL_COMPONENT_NAME.as_str(), "watchkeeper hook")
            .attribute(attr::GEN_AI_GUARDRAIL_VERDICT_TYPE.as_str(), verdict)
            .attribute(attr::GEN_AI_GUARDRAIL_ACTION_TYPE.as_str(), action)
            .attribute("reason", decision.reason.as_str());
        match self.tool() {
            Some(tool) => event
                .attribute(attr::GEN_AI_TOOL_NAME.as_str(), tool.name)
                .attribute_if(attr::GEN_AI_TOOL_CALL_ID.as_str(), tool.call_id),
            None => event,
        }
    }

    fn model_call(&self, context: &Context, phase: Phase) -> Event {
        let event = self.event(context, Kind::ModelCall).phase(phase).attribute(attr::GEN_AI_OPERATION_NAME.as_str(), "chat");
        event.attribute_if(attr::GEN_AI_REQUEST_MODEL.as_str(), self.text(&["model"]))
    }

    fn step_event(&self, context: &Context, operation: &str) -> Event {
        self.event(context, Kind::AgentStep).attribute(attr::GEN_AI_OPERATION_NAME.as_str(), operation)
    }

    fn tool_call(&self, context: &Context, kind: Kind, phase: Phase, status: Status) -> Event {
        let event = self.event(context, kind).phase(phase).status(status);
        let event = match self.duration_ms() {
            Some(milliseconds) => event.duration(std::time::Duration::from_secs_f64(milliseconds / 1e3)),
            None => event,
        };
        let Some(used) = self.tool() else { return event };
        let mut tool = Tool::new(&used.name);
        if let Some(id) = &used.call_id {
            tool = tool.call_id(id);
        }
        if let Some(arguments) = &used.arguments {
            tool = tool.arguments(arguments);
        }
        if let Some(result) = used.result.as_ref().filter(|_| phase == Phase::Response) {
            tool = tool.result(result).failed(status == Status::Error);
        }
        // `mcp__server__tool`
        let server = used.name.strip_prefix("mcp__").and_then(|rest| rest.split("__").next());
        let event = match server {
            Some(server) => {
                event.attribute(attr::MCP_SERVER_NAME.as_str(), server).attribute(attr::GEN_AI_TOOL_TYPE.as_str(), "mcp")
            }
            None => event,
        };
        let event = event.attribute_if(attr::CALL_ID.as_str(), used.call_id).tool(tool);
        self.said(event, Role::Document, Direction::Output, &["content"])
    }

    /// Adds what was said, where it was.
    fn said(&self, event: Event, role: Role, direction: Direction, keys: &[&str]) -> Event {
        match self.text(keys) {
            Some(text) => event.message(Message::new(role, text).direction(direction)),
            None => event,
        }
    }

    /// What every event of the call has.
    fn event(&self, context: &Context, kind: Kind) -> Event {
        let dialect = format!("{}.hook", self.agent.as_str());
        let application = Party::from(self.agent.as_str());
        let application = match self.text(&["cursor_version", "version"]) {
            Some(version) => application.version(version),
            None => application,
        };
        let agent = self.text(&["agent_type", "subagent_type"]).unwrap_or(self.agent.as_str());
        let user = self.text(&["user_email"]).or(context.user.as_deref()).unwrap_or_default();
        let mut event = Event::of(kind)
            .name(&self.name)
            .source(Source::new(SourcePath::Hook, &dialect))
            .session(self.session().unwrap_or_default())
            .turn(self.text(&["prompt_id", "generation_id", "turn_id"]).unwrap_or_default())
            .application(application)
            .agent(agent)
            .user(user)
            .attribute_if("host.name", context.host.as_deref());
        if agent != self.agent.as_str() {
            event = event.on_behalf_of(self.agent.as_str());
        }
        let others = self.fields.iter().filter(|(key, _)| !PLACED.contains(&key.as_str()));
        for (key, value) in others.take(FIELDS_MAX) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let kept = text.floor_char_boundary(FIELD_BYTES_MAX);
            event = event.cut((text.len() - kept) as u64, 0);
            event = match value {
                Value::Null => event,
                Value::Bool(_) | Value::Number(_) => event.attribute(key, value.clone()),
                _ => event.attribute(key, &text[..kept]),
            };
        }
        event.cut(0, self.fields.len().saturating_sub(PLACED.len() + FIELDS_MAX) as u64)
    }
}

fn approval(event: Event, status: &str) -> Event {
    event.attribute(attr::APPROVAL_STATUS.as_str(), status).attribute(attr::APPROVAL_SOURCE.as_str(), "hook")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::Agent;

    const AGENTS: [Agent; 5] = [Agent::ClaudeCode, Agent::Codex, Agent::Gemini, Agent::Cursor, Agent::Generic];

    fn call(agent: Agent, fields: &Value) -> Call {
        Call::read(agent, fields.to_string().as_bytes()).unwrap()
    }

    fn events(call: &Call, decision: &Decision) -> Vec<Value> {
        let context = Context { user: Some("ada".to_owned()), host: None };
        let events = call.events(&context, None, decision, &call.answer(decision));
        events.iter().map(|event| serde_json::to_value(event).unwrap()).collect()
    }

    fn only(agent: Agent, fields: &Value) -> Value {
        let events = events(&call(agent, fields), &Decision::pass());
        assert_eq!(events.len(), 1);
        events.into_iter().next().unwrap()
    }

    #[test]
    fn claude_code_tells_of_tools_prompts_and_sessions() {
        let before = only(
            Agent::ClaudeCode,
            &json!({"session_id": "s", "prompt_id": "p", "cwd": "/w", "permission_mode": "plan", "hook_event_name": "PreToolUse",
                "tool_name": "mcp__db__query", "tool_input": {"sql": "SELECT 1"}, "tool_use_id": "t1", "effort": {"level": "high"}}),
        );
        assert_eq!(
            (&before["kind"], &before["phase"], &before["session.id"], &before["turn"]),
            (&json!("tool_call"), &json!("request"), &json!("s"), &json!("p"))
        );
        assert_eq!(before["tool"], json!({"name": "mcp__db__query", "call_id": "t1", "arguments": "{\"sql\":\"SELECT 1\"}"}));
        assert_eq!(
            (&before["user.id"]["id"], &before["source"]["path"], &before["source"]["dialect"]),
            (&json!("ada"), &json!("hook"), &json!("claude-code.hook"))
        );
        let attributes = &before["attributes"];
        assert_eq!(
            (&attributes["mcp.server.name"], &attributes["cwd"], &attributes["permission_mode"]),
            (&json!("db"), &json!("/w"), &json!("plan"))
        );
        let after = only(
            Agent::ClaudeCode,
            &json!({"session_id": "s", "hook_event_name": "PostToolUse", "tool_name": "Bash", "tool_input": {"command": "ls"},
                "tool_response": {"stdout": "a"}, "tool_use_id": "t2", "duration_ms": 12}),
        );
        assert_eq!((&after["phase"], &after["status"], &after["duration_ms"]), (&json!("response"), &json!("ok"), &json!(12.0)));
        assert_eq!(after["tool"]["result"], json!("{\"stdout\":\"a\"}"));
        let failed = only(
            Agent::ClaudeCode,
            &json!({"session_id": "s", "hook_event_name": "PostToolUseFailure", "tool_name": "Bash", "error": "Exit code 1"}),
        );
        assert_eq!(
            (&failed["status"], &failed["tool"]["failed"], &failed["tool"]["result"]),
            (&json!("error"), &json!(true), &json!("Exit code 1"))
        );
        let prompt = only(Agent::ClaudeCode, &json!({"session_id": "s", "hook_event_name": "UserPromptSubmit", "prompt": "hi"}));
        assert_eq!(
            (&prompt["kind"], &prompt["messages"][0]["role"], &prompt["messages"][0]["content"]),
            (&json!("model_call"), &json!("user"), &json!("hi"))
        );
        let stop = only(
            Agent::ClaudeCode,
            &json!({"session_id": "s", "hook_event_name": "Stop", "last_assistant_message": "done", "stop_hook_active": false}),
        );
        assert_eq!((&stop["phase"], &stop["messages"][0]["content"]), (&json!("response"), &json!("done")));
        for (name, kind) in [
            ("SessionStart", "session"),
            ("SessionEnd", "session"),
            ("SubagentStart", "agent_step"),
            ("SubagentStop", "agent_step"),
            ("Notification", "agent_step"),
            ("PreCompact", "agent_step"),
            ("PostCompact", "agent_step"),
            ("ConfigChange", "admin"),
            ("InstructionsLoaded", "system_prompt"),
            ("PermissionRequest", "guardrail"),
            ("PermissionDenied", "guardrail"),
            ("StopFailure", "model_call"),
            ("TaskCreated", "agent_step"),
            ("Elicitation", "agent_step"),
            ("SomethingNew", "agent_step"),
        ] {
            let event = only(Agent::ClaudeCode, &json!({"session_id": "s", "hook_event_name": name, "tool_name": "Bash"}));
            assert_eq!((&event["kind"], &event["name"]), (&json!(kind), &json!(name)));
        }
    }

    #[test]
    fn the_others_say_the_same_in_other_words() {
        let shell = only(
            Agent::Cursor,
            &json!({"hook_event_name": "beforeShellExecution", "conversation_id": "c", "generation_id": "g", "command": "npm i x", "cwd": "/w", "user_email": "u@example.org", "cursor_version": "2.0"}),
        );
        assert_eq!(
            (&shell["session.id"], &shell["turn"], &shell["tool"]["name"], &shell["user.id"]["id"]),
            (&json!("c"), &json!("g"), &json!("shell"), &json!("u@example.org"))
        );
        assert_eq!(shell["tool"]["arguments"], json!("{\"command\":\"npm i x\",\"cwd\":\"/w\"}"));
        let gemini = only(
            Agent::Gemini,
            &json!({"hook_event_name": "AfterTool", "session_id": "s", "tool_name": "run_shell_command", "tool_input": {"command": "ls"}, "tool_response": {"llmContent": "a"}}),
        );
        assert_eq!((&gemini["phase"], &gemini["tool"]["result"]), (&json!("response"), &json!("{\"llmContent\":\"a\"}")));
        let codex = only(
            Agent::Codex,
            &json!({"hook_event_name": "PreToolUse", "session_id": "s", "tool_name": "Bash", "tool_input": {"command": "ls"}, "tool_use_id": "c1", "model": "gpt-5", "transcript_path": null}),
        );
        assert_eq!((&codex["application"]["id"], &codex["tool"]["call_id"]), (&json!("codex"), &json!("c1")));
        let plain =
            only(Agent::Generic, &json!({"event": "pre_tool_use", "session_id": "s", "tool_name": "t", "arguments": "x"}));
        assert_eq!(plain["tool"]["arguments"], json!("x"));
    }

    #[test]
    fn each_agent_is_told_in_its_own_words_and_none_is_granted_anything() {
        let deny = Decision { verdict: Verdict::Deny, reason: "no".to_owned() };
        let ask = Decision { verdict: Verdict::Ask, reason: "sure?".to_owned() };
        let tool = |name: &str| json!({"hook_event_name": name, "session_id": "s", "tool_name": "Bash", "tool_input": {"command": "x"}, "command": "x"});
        let said = |agent, fields: &Value, decision: &Decision| {
            let answer = call(agent, fields).answer(decision);
            (serde_json::from_str::<Value>(&answer.stdout).unwrap_or(Value::Null), answer.code, answer.verdict)
        };
        let pre = |word: &str, why: &str| json!({"hookSpecificOutput": {"hookEventName": "PreToolUse", "permissionDecision": word, "permissionDecisionReason": why}});
        assert_eq!(said(Agent::ClaudeCode, &tool("PreToolUse"), &deny), (pre("deny", "no"), 0, Verdict::Deny));
        assert_eq!(said(Agent::ClaudeCode, &tool("PreToolUse"), &ask), (pre("ask", "sure?"), 0, Verdict::Ask));
        assert_eq!(said(Agent::Codex, &tool("PreToolUse"), &ask), (pre("deny", "sure?"), 0, Verdict::Deny), "Codex cannot ask");
        let permission = json!({"hookSpecificOutput": {"hookEventName": "PermissionRequest", "decision": {"behavior": "deny", "message": "no"}}});
        assert_eq!(said(Agent::ClaudeCode, &tool("PermissionRequest"), &deny).0, permission);
        let block = json!({"decision": "block", "reason": "no"});
        let prompt = |name: &str| json!({"hook_event_name": name, "prompt": "x"});
        assert_eq!(said(Agent::ClaudeCode, &prompt("UserPromptSubmit"), &deny).0, block);
        assert_eq!(said(Agent::ClaudeCode, &tool("PostToolUse"), &deny).0, block);
        assert_eq!(said(Agent::Gemini, &tool("BeforeTool"), &deny).0, json!({"decision": "deny", "reason": "no"}));
        assert_eq!(said(Agent::Cursor, &tool("beforeShellExecution"), &ask).0["permission"], "ask");
        assert_eq!(said(Agent::Cursor, &tool("beforeReadFile"), &ask).0["permission"], "deny");
        assert_eq!(said(Agent::Cursor, &prompt("beforeSubmitPrompt"), &deny).0["continue"], false);
        assert_eq!(said(Agent::Generic, &tool("pre_tool_use"), &deny).1, 2);
        for agent in AGENTS {
            for name in ["PreToolUse", "UserPromptSubmit", "SessionStart", "SessionEnd", "Stop", "Other"] {
                let answer = call(agent, &tool(name)).answer(&Decision::pass());
                assert!(["", "{}"].contains(&answer.stdout.as_str()) && answer.code == 0, "{agent:?} {name}");
            }
            assert_eq!(call(agent, &tool("SessionEnd")).answer(&deny).verdict, Verdict::Pass, "nothing can be decided there");
        }
    }

    #[test]
    fn a_decision_is_recorded_with_what_came_of_it() {
        let call = call(
            Agent::Codex,
            &json!({"hook_event_name": "PreToolUse", "session_id": "s", "tool_name": "Bash", "tool_input": {"command": "x"}, "tool_use_id": "c"}),
        );
        let told = events(&call, &Decision { verdict: Verdict::Ask, reason: "sure?".to_owned() });
        assert_eq!(told.len(), 2);
        assert_eq!(told[0]["attributes"]["watchkeeper.approval.status"], "denied");
        assert_eq!(
            (
                &told[1]["kind"],
                &told[1]["attributes"]["gen_ai.guardrail.verdict.type"],
                &told[1]["attributes"]["gen_ai.guardrail.action.type"]
            ),
            (&json!("guardrail"), &json!("escalate"), &json!("block"))
        );
        let change = ModeChange { from: "default".to_owned(), to: "bypassPermissions".to_owned() };
        let events = call.events(&Context::default(), Some(&change), &Decision::pass(), &call.answer(&Decision::pass()));
        assert_eq!(serde_json::to_value(&events[0]).unwrap()["attributes"]["to_mode"], "bypassPermissions");
    }

    #[test]
    fn what_is_no_hook_is_refused() {
        for wrong in ["", "[]", "1", "{", "\u{0}"] {
            assert!(matches!(Call::read(Agent::ClaudeCode, wrong.as_bytes()), Err(crate::HookError::Json(_))), "{wrong:?}");
        }
        assert!(matches!(Call::read(Agent::ClaudeCode, b"{}"), Err(crate::HookError::NoEvent)));
        assert!(matches!(Call::read(Agent::ClaudeCode, &vec![b' '; crate::BODY_BYTES_MAX + 1]), Err(crate::HookError::TooLong)));
        assert!(
            Call::read(Agent::ClaudeCode, format!("{{\"event\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000)).as_bytes())
                .is_err()
        );
    }

    proptest! {
        #[test]
        fn no_input_makes_it_panic(name in "[A-Za-z]{0,24}", key in "[a-z_]{1,20}", value in "(\\[|\\{|\"a\":|1|,|\\]|\\}|\"x\"){0,8}", agent in 0_usize..5) {
            let bytes = format!(r#"{{"hook_event_name":"{name}","{key}":{value}}}"#);
            if let Ok(call) = Call::read(AGENTS[agent], bytes.as_bytes()) {
                let decision = Decision { verdict: Verdict::Deny, reason: "r".to_owned() };
                let _ = call.subject();
                let _ = call.events(&Context::default(), None, &decision, &call.answer(&decision));
            }
        }
    }
}
