//! One payload after another, as emitters send them, and the event that each must become.

use serde_json::{Value as Json, json};

use super::support::{lines, log, span};

/// Checks that the event of a span has exactly these lines (without the one of the resource's unmapped attribute).
pub(super) fn check_span(scope: &str, name: &str, attributes: &Json, expected: &[&str]) {
    let event = span(scope, name, attributes);
    // `cloud.region` of the resource is unmapped in every one of them.
    let lines: Vec<String> = lines(&event).into_iter().filter(|line| line != "watchkeeper.unmapped.count = 1").collect();
    assert_eq!(lines, expected, "{scope} {name}");
    assert_eq!(event.identity.application.as_ref().map(|application| application.id.expose()), Some("shop"));
    assert_eq!(event.duration_ns, Some(1_500_000_000));
    assert!(event.trace.is_some_and(|trace| trace.parent_span_id.is_some()));
}

pub(super) fn check_log(scope: &str, event_name: &str, body: &Json, attributes: &Json, expected: &[&str]) {
    assert_eq!(lines(&log(scope, event_name, body, attributes)), expected, "{scope} {event_name}");
}

const GENAI: &str = "opentelemetry.instrumentation.genai.openai";

#[test]
fn otel_genai_messages_as_text_and_as_values() {
    let input = json!([
        {"role": "user", "parts": [{"type": "text", "content": "Weather in Oslo?"}], "name": null},
        {"role": "assistant", "parts": [{"type": "reasoning", "content": "hm"},
            {"type": "tool_call", "id": "c1", "name": "weather", "arguments": {"city": "Oslo"}}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "rain"}]}
    ]);
    let output = json!([{"role": "assistant", "parts": [{"type": "text", "content": "It rains."}], "finish_reason": "stop"}]);
    let system = json!([{"type": "text", "content": "Be terse."}]);
    let tools = json!([{"type": "function", "name": "weather"}]);
    let rest = [
        "#0 Input System ToolDefinition history <weather>: {\"name\":\"weather\",\"type\":\"function\"}",
        "#0 Input System Text history: Be terse.",
        "#1 Input User Text history: Weather in Oslo?",
        "#2 Input Assistant Reasoning history: hm",
        "#2 Input Assistant ToolCall history <weather> <c1>: {\"city\":\"Oslo\"}",
        "#3 Input Tool ToolResult <weather> <c1>: rain",
        "#4 Output Assistant Text: It rains.",
    ];
    let mut expected = vec![
        "model_call Complete",
        "session: s1",
        "user: u1",
        "agent: a1",
        "gen_ai.operation.name = chat",
        "gen_ai.provider.name = openai",
        "gen_ai.request.model = gpt-4o",
        "gen_ai.request.top_p = 0.5",
        "gen_ai.response.finish_reasons = [stop]",
        "gen_ai.usage.cache_creation.input_tokens = 3",
        "gen_ai.usage.input_tokens = 7",
    ];
    expected.extend(rest);
    let attributes = |as_text: bool| {
        let shape = |value: &Json| if as_text { Json::String(value.to_string()) } else { value.clone() };
        json!({
            "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o",
            "gen_ai.request.top_p": 0.5, "gen_ai.usage.input_tokens": 7, "gen_ai.usage.cache_write.input_tokens": 3,
            "gen_ai.input.messages": shape(&input), "gen_ai.output.messages": shape(&output),
            "gen_ai.system_instructions": shape(&system), "gen_ai.tool.definitions": shape(&tools),
            "gen_ai.conversation.id": "s1", "user.id": "u1", "gen_ai.agent.id": "a1"
        })
    };
    check_span(GENAI, "chat gpt-4o", &attributes(true), &expected);
    check_span(GENAI, "chat gpt-4o", &attributes(false), &expected);
    // An unknown scope is read by its keys.
    check_span("my.own.wrapper", "chat gpt-4o", &attributes(true), &expected);
}

#[test]
fn otel_legacy_names() {
    check_span(
        "opentelemetry.instrumentation.openai_v2",
        "chat gpt-4",
        &json!({"gen_ai.system": "openai", "gen_ai.operation.name": "chat", "gen_ai.usage.prompt_tokens": 5,
            "gen_ai.usage.completion_tokens": 6, "gen_ai.prompt": "[{\"role\":\"user\",\"content\":\"hi\"}]"}),
        &[
            "model_call Complete",
            "gen_ai.operation.name = chat",
            "gen_ai.provider.name = openai",
            "gen_ai.usage.input_tokens = 5",
            "gen_ai.usage.output_tokens = 6",
            "#0 Input User Text: hi",
        ],
    );
    let scope = "opentelemetry.instrumentation.openai_v2";
    let call = json!([{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Oslo\"}"}}]);
    let severity = json!({"gen_ai.system": "openai"});
    for (name, body, expected) in [
        ("gen_ai.system.message", json!({"content": "Be terse."}), vec!["model_call Request", "#0 Input System Text: Be terse."]),
        ("gen_ai.user.message", json!({"content": "hi"}), vec!["model_call Request", "#0 Input User Text: hi"]),
        (
            "gen_ai.assistant.message",
            json!({"tool_calls": call.clone()}),
            vec!["model_call Request", "#0 Input Assistant ToolCall <weather> <c1>: {\"city\":\"Oslo\"}"],
        ),
        (
            "gen_ai.tool.message",
            json!({"content": "rain", "id": "c1"}),
            vec!["model_call Request", "#0 Input Tool ToolResult <c1>: rain"],
        ),
        (
            "gen_ai.choice",
            json!({"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "It rains."}}),
            vec!["model_call Response", "gen_ai.response.finish_reasons = [stop]", "#0 Output Assistant Text: It rains."],
        ),
    ] {
        let mut expected = expected;
        expected.insert(1, "gen_ai.provider.name = openai");
        check_log(scope, name, &body, &severity, &expected);
    }
}

#[test]
fn otel_tools_mcp_retrieval_guardrail_evaluation() {
    check_span(
        GENAI,
        "execute_tool weather",
        &json!({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "weather", "gen_ai.tool.call.id": "c1",
            "gen_ai.tool.call.arguments": {"city": "Oslo"}, "gen_ai.tool.call.result": "rain", "error.type": "tool_error"}),
        &[
            "tool_call Complete",
            "error.type = tool_error",
            "gen_ai.operation.name = execute_tool",
            "gen_ai.tool.call.id = c1",
            "gen_ai.tool.name = weather",
            "#0 Input Assistant ToolCall <weather> <c1>: {\"city\":\"Oslo\"}",
            "#1 Output Tool ToolResult <weather> <c1>: rain",
        ],
    );
    check_span(
        "some.mcp.library",
        "tools/call weather",
        &json!({"mcp.method.name": "tools/call", "gen_ai.tool.name": "weather", "mcp.session.id": "m1", "network.transport": "pipe"}),
        &[
            "tool_call Complete",
            "gen_ai.operation.name = execute_tool",
            "gen_ai.tool.name = weather",
            "gen_ai.tool.type = mcp",
            "mcp.method.name = tools/call",
            "mcp.session.id = m1",
            "network.transport = pipe",
        ],
    );
    check_span(
        GENAI,
        "retrieval docs",
        &json!({"gen_ai.operation.name": "retrieval", "gen_ai.data_source.id": "docs", "gen_ai.retrieval.query.text": "rain",
            "gen_ai.retrieval.documents": "[{\"id\":\"d1\",\"score\":0.5,\"content\":\"wet\"},{\"id\":\"d2\",\"content\":\"dry\"}]"}),
        &[
            "retrieval Complete",
            "gen_ai.data_source.id = docs",
            "gen_ai.operation.name = retrieval",
            "#0 Input User Query: rain",
            "#0 Output Document Document <d1> score 0.5: wet",
            "#1 Output Document Document <d2>: dry",
        ],
    );
    check_log(
        "some.guard",
        "gen_ai.guardrail.security.finding",
        &json!(null),
        &json!({"gen_ai.guardrail.verdict.type": "deny", "gen_ai.guardrail.security.risk.category": "prompt_injection",
            "gen_ai.guardrail.security.risk.score": 0.9}),
        &[
            "guardrail Complete",
            "gen_ai.guardrail.security.risk.category = prompt_injection",
            "gen_ai.guardrail.security.risk.score = 0.9",
            "gen_ai.guardrail.verdict.type = deny",
        ],
    );
    check_log(
        GENAI,
        "gen_ai.client.inference.operation.details",
        &json!(null),
        &json!({"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 7,
            "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]}),
        &["model_call Complete", "gen_ai.operation.name = chat", "? gen_ai.usage.input_tokens = 7", "#0 Input User Text: hi"],
    );
}

#[test]
fn openinference_spans() {
    let scope = "openinference.instrumentation.openai";
    check_span(
        scope,
        "ChatCompletion",
        &json!({
            "openinference.span.kind": "LLM", "llm.system": "openai", "llm.model_name": "gpt-4o",
            "llm.invocation_parameters": "{\"model\":\"gpt-4\",\"temperature\":0.5}",
            "llm.token_count.prompt": 7, "llm.token_count.prompt_details.cache_read": 2, "session.id": "s1", "user.id": "u1",
            "llm.input_messages.0.message.role": "system", "llm.input_messages.0.message.content": "Be terse.",
            "llm.input_messages.1.message.role": "user",
            "llm.input_messages.1.message.contents.0.message_content.type": "text",
            "llm.input_messages.1.message.contents.0.message_content.text": "What is this?",
            "llm.input_messages.1.message.contents.1.message_content.type": "image",
            "llm.input_messages.1.message.contents.1.message_content.image.image.url": "data:image/png;base64,AAAA",
            "llm.input_messages.1.message.strange": "kept",
            "llm.output_messages.0.message.role": "assistant",
            "llm.output_messages.0.message.tool_calls.0.tool_call.id": "c1",
            "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "look",
            "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": "{}",
            "llm.tools.0.tool.json_schema": "{\"type\":\"function\",\"function\":{\"name\":\"look\"}}",
            "input.value": "{\"messages\":[]}", "output.value": "{}"
        }),
        &[
            "model_call Complete",
            "session: s1",
            "user: u1",
            "gen_ai.operation.name = chat",
            "gen_ai.provider.name = openai",
            "gen_ai.request.model = gpt-4",
            "gen_ai.request.temperature = 0.5",
            "gen_ai.response.model = gpt-4o",
            "gen_ai.usage.cache_read.input_tokens = 2",
            "gen_ai.usage.input_tokens = 7",
            "llm.invocation_parameters = {\"model\":\"gpt-4\",\"temperature\":0.5}",
            "openinference.span.kind = LLM",
            "watchkeeper.duplicates.dropped = 2",
            "watchkeeper.unmapped.count = 2",
            "? llm.input_messages.1.message.strange = kept",
            "#0 Input System ToolDefinition <look>: {\"type\":\"function\",\"function\":{\"name\":\"look\"}}",
            "#0 Input System Text: Be terse.",
            "#1 Input User Text: What is this?",
            "#1 Input User Media: blob:image/png;4 bytes encoded;sha256=63c1dd951ffedf6f7fd968ad4efa39b8",
            "#2 Output Assistant ToolCall <look> <c1>: {}",
        ],
    );
    check_span(
        scope,
        "look",
        &json!({"openinference.span.kind": "TOOL", "tool.name": "look", "input.value": "{\"at\":1}", "output.value": "a cat"}),
        &[
            "tool_call Complete",
            "gen_ai.operation.name = execute_tool",
            "gen_ai.tool.name = look",
            "openinference.span.kind = TOOL",
            "#0 Input Assistant ToolCall <look>: {\"at\":1}",
            "#1 Output Tool ToolResult <look>: a cat",
        ],
    );
    // LangChain's tool spans: the one value that went in, and the message that came out.
    check_span(
        "openinference.instrumentation.langchain",
        "look",
        &json!({"openinference.span.kind": "TOOL", "tool.name": "look", "input.value": "Oslo",
            "output.value": "{\"type\":\"tool\",\"data\":{\"content\":\"a cat\",\"tool_call_id\":\"c1\",\"status\":\"success\"}}"}),
        &[
            "tool_call Complete",
            "gen_ai.operation.name = execute_tool",
            "gen_ai.tool.call.id = c1",
            "gen_ai.tool.name = look",
            "openinference.span.kind = TOOL",
            "#0 Input Assistant Text: Oslo",
            "#1 Output Tool ToolResult <look> <c1> succeeded: a cat",
        ],
    );
    check_span(
        "my.app",
        "search",
        &json!({"openinference.span.kind": "RETRIEVER", "input.value": "cats",
            "retrieval.documents.0.document.id": "d1", "retrieval.documents.0.document.content": "on cats",
            "retrieval.documents.0.document.score": 0.25}),
        &[
            "retrieval Complete",
            "gen_ai.operation.name = retrieval",
            "openinference.span.kind = RETRIEVER",
            "#0 Output Document Document <d1> score 0.25: on cats",
            "#0 Input User Query: cats",
        ],
    );
}

#[test]
fn openllmetry_spans() {
    let scope = "opentelemetry.instrumentation.openai.v1";
    check_span(
        scope,
        "openai.chat",
        &json!({
            "llm.request.type": "chat", "gen_ai.system": "OpenAI", "gen_ai.request.model": "gpt-4o",
            "llm.usage.total_tokens": 13, "gen_ai.usage.prompt_tokens": 7, "gen_ai.is_streaming": true,
            "traceloop.association.properties.user_id": "u1", "traceloop.association.properties.session_id": "s1",
            "gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "hi [not json]",
            "gen_ai.prompt.1.role": "assistant", "gen_ai.prompt.1.tool_calls.0.id": "c1",
            "gen_ai.prompt.1.tool_calls.0.name": "weather", "gen_ai.prompt.1.tool_calls.0.arguments": "{\"city\":\"Oslo\"}",
            "gen_ai.prompt.2.role": "tool", "gen_ai.prompt.2.content": "rain", "gen_ai.prompt.2.tool_call_id": "c1",
            "gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": "It rains.",
            "gen_ai.completion.0.finish_reason": "stop",
            "llm.request.functions.0.name": "weather", "llm.request.functions.0.parameters": "{\"type\":\"object\"}"
        }),
        &[
            "model_call Complete",
            "session: s1",
            "user: u1",
            "gen_ai.operation.name = chat",
            "gen_ai.provider.name = openai",
            "gen_ai.request.model = gpt-4o",
            "gen_ai.request.stream = true",
            "gen_ai.response.finish_reasons = [stop]",
            "gen_ai.usage.input_tokens = 7",
            "gen_ai.usage.total_tokens = 13",
            "#0 Input System ToolDefinition history <weather>: \
             {\"description\":null,\"name\":\"weather\",\"parameters\":{\"type\":\"object\"}}",
            "#0 Input User Text history: hi [not json]",
            "#1 Input Assistant ToolCall history <weather> <c1>: {\"city\":\"Oslo\"}",
            "#2 Input Tool ToolResult <weather> <c1>: rain",
            "#3 Output Assistant Text: It rains.",
        ],
    );
    check_span(
        "opentelemetry.instrumentation.mcp",
        "weather.tool",
        &json!({"traceloop.span.kind": "tool", "traceloop.entity.name": "weather", "traceloop.entity.input": "{\"city\":\"Oslo\"}",
            "traceloop.entity.output": "rain"}),
        &[
            "tool_call Complete",
            "gen_ai.operation.name = execute_tool",
            "gen_ai.tool.name = weather",
            "traceloop.entity.name = weather",
            "traceloop.span.kind = tool",
            "#0 Input Assistant ToolCall <weather>: {\"city\":\"Oslo\"}",
            "#1 Output Tool ToolResult <weather>: rain",
        ],
    );
}

#[test]
fn claude_code_logs_and_spans() {
    let scope = "com.anthropic.claude_code.events";
    let common = |more: Json| {
        let mut all = json!({"session.id": "s1", "user.email": "dev@example.test", "user.id": "device-1", "prompt.id": "p1"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let who = ["session: s1", "turn: p1", "user: dev@example.test", "agent: shop"];
    let unmapped = ["watchkeeper.unmapped.count = 1", "? user.id = device-1"];
    for (name, attributes, kind, middle, pieces) in [
        (
            "user_prompt",
            json!({"prompt": "fix the bug", "prompt_length": "11"}),
            "model_call Request",
            vec!["gen_ai.operation.name = chat", "gen_ai.provider.name = anthropic", "prompt_length = 11"],
            vec!["#0 Input User Text: fix the bug"],
        ),
        (
            "api_request",
            json!({"model": "claude-x", "input_tokens": "12", "output_tokens": "34", "cache_read_tokens": "5", "cost_usd": "0.01",
                "duration_ms": "1500"}),
            "model_call Response",
            vec![
                "gen_ai.operation.name = chat",
                "gen_ai.provider.name = anthropic",
                "gen_ai.request.model = claude-x",
                "gen_ai.usage.cache_read.input_tokens = 5",
                "gen_ai.usage.cost = 0.01",
                "gen_ai.usage.input_tokens = 12",
                "gen_ai.usage.output_tokens = 34",
            ],
            vec![],
        ),
        (
            "tool_result",
            json!({"tool_name": "Bash", "tool_use_id": "t1", "success": "false", "decision_type": "accept", "decision_source": "config",
                "tool_input": "{\"command\":\"ls\"}"}),
            "tool_call Complete",
            vec![
                "event.outcome = failure",
                "gen_ai.operation.name = execute_tool",
                "gen_ai.tool.call.id = t1",
                "gen_ai.tool.name = Bash",
                "watchkeeper.approval.source = config",
                "watchkeeper.approval.status = approved",
            ],
            vec!["#0 Input Assistant ToolCall <Bash> <t1>: {\"command\":\"ls\"}"],
        ),
        (
            "tool_decision",
            json!({"tool_name": "Bash", "decision": "reject", "source": "user_temporary"}),
            "guardrail Complete",
            vec![
                "gen_ai.tool.name = Bash",
                "watchkeeper.approval.source = user_temporary",
                "watchkeeper.approval.status = denied",
            ],
            vec![],
        ),
        (
            "permission_mode_changed",
            json!({"from_mode": "default", "to_mode": "bypassPermissions"}),
            "admin Complete",
            vec![
                "event.action = update",
                "from_mode = default",
                "to_mode = bypassPermissions",
                "watchkeeper.admin.object = permission mode",
            ],
            vec![],
        ),
        (
            "mcp_server_connection",
            json!({"status": "connected", "transport_type": "stdio", "server_scope": "project", "server_name": "docs"}),
            "installation Complete",
            vec![
                "event.outcome = success",
                "mcp.server.name = docs",
                "package.name = docs",
                "package.reference = stdio",
                "package.type = mcp",
                "server_scope = project",
                "transport_type = stdio",
            ],
            vec![],
        ),
        (
            "skill_activated",
            json!({"skill.name": "review", "skill.source": "user"}),
            "installation Complete",
            vec!["package.name = review", "package.reference = user", "package.type = skill", "skill.source = user"],
            vec![],
        ),
        (
            "plugin_installed",
            json!({"plugin.name": "fmt", "plugin.version": "1"}),
            "installation Complete",
            vec!["package.name = fmt", "package.type = plugin", "package.version = 1"],
            vec![],
        ),
        ("auth", json!({"success": "true"}), "session Complete", vec!["event.outcome = success"], vec![]),
        ("compaction", json!({}), "agent_step Complete", vec![], vec![]),
    ] {
        let mut expected = vec![kind];
        expected.extend(who);
        expected.extend(middle);
        expected.extend(unmapped);
        expected.extend(pieces);
        let body = json!(format!("claude_code.{name}"));
        check_log(scope, name, &body, &common(attributes.clone()), &expected);
        // Before records had a name of their own, it was an attribute.
        let mut attributes = common(attributes);
        attributes["event.name"] = json!(name);
        check_log(scope, "", &body, &attributes, &expected);
    }
    check_span(
        "com.anthropic.claude_code.tracing",
        "claude_code.llm_request",
        &json!({"model": "claude-x", "input_tokens": 12}),
        &[
            "model_call Complete",
            "agent: shop",
            "gen_ai.operation.name = chat",
            "gen_ai.provider.name = anthropic",
            "gen_ai.request.model = claude-x",
            "gen_ai.usage.input_tokens = 12",
        ],
    );
}

#[test]
fn what_is_not_ai() {
    check_span(
        "opentelemetry.instrumentation.httpx",
        "GET",
        &json!({"http.request.method": "GET", "url.full": "https://me:secret@example.test/a?b=c@d", "http.response.status_code": 200}),
        &[
            "external_call Complete",
            "http.request.method = GET",
            "http.response.status_code = 200",
            "url.full = https://example.test/a?b=c@d",
        ],
    );
    check_span(
        "my.database",
        "SELECT",
        &json!({"db.system": "postgresql", "db.statement": "select 1", "db.name": "shop"}),
        &[
            "data_access Complete",
            "db.namespace = shop",
            "db.operation.name = SELECT",
            "db.system.name = postgresql",
            "watchkeeper.db.derived = [db.operation.name]",
            "#0 Input Assistant Query: select 1",
        ],
    );
    check_log(
        "my.app",
        "",
        &json!("something happened"),
        &json!({}),
        &["agent_step Complete", "#0 Output Tool Body: something happened"],
    );
}
