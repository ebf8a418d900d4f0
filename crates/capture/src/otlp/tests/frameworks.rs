//! What frameworks and coding agents send, and the events that it must become: as their sources write it.

use serde_json::json;

use super::dialects::{check_log, check_span};
use super::support::{lines, span_request, traces};

#[test]
fn vercel_ai_sdk() {
    let call = json!([{"toolCallId": "c1", "toolName": "weather", "input": "{\"city\":\"Oslo\"}"}]);
    let messages = json!([
        {"role": "system", "content": "Be terse."},
        {"role": "user", "content": [{"type": "text", "text": "Weather in Oslo?"}]},
        {"role": "assistant", "content": [{"type": "tool-call", "toolCallId": "c0", "toolName": "weather", "input": {"city": "Bergen"}}]},
        {"role": "tool", "content": [{"type": "tool-result", "toolCallId": "c0", "toolName": "weather", "output": {"type": "json", "value": {"sky": "rain"}}}]}
    ]);
    check_span(
        "ai",
        "ai.generateText.doGenerate",
        &json!({
            "operation.name": "ai.generateText.doGenerate helper", "ai.operationId": "ai.generateText.doGenerate",
            "ai.telemetry.functionId": "helper", "ai.telemetry.metadata.userId": "u1", "ai.telemetry.metadata.sessionId": "s1",
            "ai.model.provider": "openai.chat", "ai.model.id": "gpt-4o", "gen_ai.system": "openai.chat",
            "ai.prompt.messages": messages.to_string(),
            "ai.prompt.tools": ["{\"type\":\"function\",\"name\":\"weather\"}"],
            "ai.response.toolCalls": call.to_string(), "ai.response.finishReason": "tool-calls",
            "ai.usage.inputTokens": 7, "ai.usage.outputTokens": 3, "gen_ai.usage.input_tokens": 7
        }),
        &[
            "model_call Complete",
            "session: s1",
            "user: u1",
            "agent: helper",
            "ai.operation_id = ai.generateText.doGenerate",
            "gen_ai.operation.name = chat",
            "gen_ai.provider.name = openai",
            "gen_ai.request.model = gpt-4o",
            "gen_ai.response.finish_reasons = [tool-calls]",
            "gen_ai.usage.input_tokens = 7",
            "gen_ai.usage.output_tokens = 3",
            "operation.name = ai.generateText.doGenerate helper",
            "#0 Input System ToolDefinition history <weather>: {\"type\":\"function\",\"name\":\"weather\"}",
            "#0 Input System Text history: Be terse.",
            "#1 Input User Text history: Weather in Oslo?",
            "#2 Input Assistant ToolCall history <weather> <c0>: {\"city\":\"Bergen\"}",
            "#3 Input Tool ToolResult <weather> <c0>: {\"sky\":\"rain\"}",
            "#4 Output Assistant ToolCall <weather> <c1>: {\"city\":\"Oslo\"}",
        ],
    );
    check_span(
        "ai",
        "ai.toolCall",
        &json!({"ai.operationId": "ai.toolCall", "ai.toolCall.name": "weather", "ai.toolCall.id": "c1",
            "ai.toolCall.args": "{\"city\":\"Oslo\"}", "ai.toolCall.result": "{\"sky\":\"rain\"}"}),
        &[
            "tool_call Complete",
            "ai.operation_id = ai.toolCall",
            "gen_ai.operation.name = execute_tool",
            "gen_ai.tool.call.id = c1",
            "gen_ai.tool.name = weather",
            "gen_ai.tool.type = function",
            "#0 Input Assistant ToolCall <weather> <c1>: {\"city\":\"Oslo\"}",
            "#1 Output Tool ToolResult <weather> <c1>: {\"sky\":\"rain\"}",
        ],
    );
    // The span around a call repeats its tokens: they count once.
    check_span(
        "ai",
        "ai.generateText",
        &json!({"ai.operationId": "ai.generateText", "ai.usage.inputTokens": 7, "ai.response.text": "It rains."}),
        &[
            "agent_step Complete",
            "ai.operation_id = ai.generateText",
            "gen_ai.operation.name = invoke_workflow",
            "? gen_ai.usage.input_tokens = 7",
            "#0 Output Assistant Body: It rains.",
        ],
    );
}

#[test]
fn mlflow_writes_json_in_quotes() {
    check_span(
        "mlflow",
        "ChatOpenAI",
        &json!({
            "mlflow.spanType": "\"CHAT_MODEL\"", "mlflow.llm.model": "\"gpt-4o\"", "session.id": "s1",
            "mlflow.chat.tokenUsage": "{\"input_tokens\": 7, \"output_tokens\": 3}",
            "mlflow.spanInputs": "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}], \"temperature\": 0}",
            "mlflow.spanOutputs": "{\"choices\": [{\"message\": {\"role\": \"assistant\", \"content\": \"hello\"}, \"finish_reason\": \"stop\"}]}"
        }),
        &[
            "model_call Complete",
            "session: s1",
            "gen_ai.operation.name = chat",
            "gen_ai.request.model = gpt-4o",
            "gen_ai.response.finish_reasons = [stop]",
            "gen_ai.usage.input_tokens = 7",
            "gen_ai.usage.output_tokens = 3",
            "mlflow.chat.token_usage = {\"input_tokens\": 7, \"output_tokens\": 3}",
            "mlflow.span_type = CHAT_MODEL",
            "#0 Input User Text: hi",
            "#1 Output Assistant Text: hello",
        ],
    );
    check_span(
        "mlflow",
        "search",
        &json!({"mlflow.spanType": "RETRIEVER", "mlflow.spanInputs": "\"cats\"",
            "mlflow.spanOutputs": "[{\"page_content\": \"on cats\", \"id\": \"d1\"}]"}),
        &[
            "retrieval Complete",
            "gen_ai.operation.name = retrieval",
            "mlflow.span_type = RETRIEVER",
            "#0 Input User Query: cats",
            "#0 Output Document Document <d1>: on cats",
        ],
    );
}

#[test]
fn langfuse_observations() {
    check_span(
        "langfuse-sdk",
        "answer",
        &json!({
            "langfuse.observation.type": "generation", "langfuse.observation.model.name": "gpt-4o", "user.id": "u1",
            "langfuse.observation.usage_details": "{\"input\": 7, \"output\": 3, \"total\": 10}",
            "langfuse.observation.input": "[{\"role\": \"user\", \"content\": \"hi\"}]",
            "langfuse.observation.output": "{\"role\": \"assistant\", \"content\": \"hello\"}",
            "langfuse.trace.input": "hi again"
        }),
        &[
            "model_call Complete",
            "user: u1",
            "gen_ai.operation.name = chat",
            "gen_ai.request.model = gpt-4o",
            "gen_ai.usage.input_tokens = 7",
            "gen_ai.usage.output_tokens = 3",
            "gen_ai.usage.total_tokens = 10",
            "langfuse.observation.type = generation",
            "langfuse.observation.usage_details = {\"input\": 7, \"output\": 3, \"total\": 10}",
            "watchkeeper.duplicates.dropped = 1",
            "#0 Input User Text: hi",
            "#1 Output Assistant Text: hello",
        ],
    );
    check_span(
        "langfuse-sdk",
        "look",
        &json!({"langfuse.observation.type": "tool", "langfuse.observation.input": "{\"at\": 1}", "langfuse.observation.output": "a cat"}),
        &[
            "tool_call Complete",
            "gen_ai.operation.name = execute_tool",
            "langfuse.observation.type = tool",
            "#0 Input Assistant ToolCall: {\"at\": 1}",
            "#1 Output Tool ToolResult: a cat",
        ],
    );
}

#[test]
fn codex_logs() {
    let scope = "codex_otel.log_only";
    let common = |more: serde_json::Value| {
        let mut all =
            json!({"conversation.id": "s1", "user.email": "dev@example.test", "app.version": "0.169.0", "model": "gpt-5-codex"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let who = ["session: s1", "user: dev@example.test", "agent: shop"];
    for (name, attributes, kind, rest) in [
        (
            "codex.user_prompt",
            json!({"prompt": "fix it", "prompt_length": "6"}),
            "model_call Request",
            vec![
                "gen_ai.operation.name = chat",
                "gen_ai.provider.name = openai",
                "gen_ai.request.model = gpt-5-codex",
                "prompt_length = 6",
                "#0 Input User Text: fix it",
            ],
        ),
        (
            "codex.sse_event",
            json!({"event.kind": "response.completed", "input_token_count": "12", "output_token_count": "34", "cached_token_count": 5}),
            "model_call Response",
            vec![
                "event.kind = response.completed",
                "gen_ai.operation.name = chat",
                "gen_ai.provider.name = openai",
                "gen_ai.request.model = gpt-5-codex",
                "gen_ai.usage.cache_read.input_tokens = 5",
                "gen_ai.usage.input_tokens = 12",
                "gen_ai.usage.output_tokens = 34",
            ],
        ),
        (
            "codex.sse_event",
            json!({"event.kind": "response.output_text.delta"}),
            "agent_step Complete",
            vec!["event.kind = response.output_text.delta", "gen_ai.request.model = gpt-5-codex"],
        ),
        (
            "codex.tool_decision",
            json!({"tool_name": "shell", "call_id": "c1", "decision": "approved_for_session", "source": "User"}),
            "guardrail Complete",
            vec![
                "gen_ai.request.model = gpt-5-codex",
                "gen_ai.tool.call.id = c1",
                "gen_ai.tool.name = shell",
                "watchkeeper.approval.source = User",
                "watchkeeper.approval.status = approved",
            ],
        ),
        (
            "codex.tool_result",
            json!({"tool_name": "shell", "call_id": "c1", "arguments": "{\"command\":[\"ls\"]}", "output": "a.txt", "success": "true",
                "duration_ms": "12", "mcp_server": "", "mcp_server_origin": ""}),
            "tool_call Complete",
            vec![
                "event.outcome = success",
                "gen_ai.operation.name = execute_tool",
                "gen_ai.request.model = gpt-5-codex",
                "gen_ai.tool.call.id = c1",
                "gen_ai.tool.name = shell",
                "mcp.server.name = ",
                "mcp_server_origin = ",
                "#0 Input Assistant ToolCall <shell> <c1>: {\"command\":[\"ls\"]}",
                "#1 Output Tool ToolResult <shell> <c1> succeeded: a.txt",
            ],
        ),
        (
            "codex.conversation_starts",
            json!({"provider_name": "OpenAI", "approval_policy": "on-request", "sandbox_policy": "workspace-write", "mcp_servers": "docs, git"}),
            "session Complete",
            vec![
                "approval_policy = on-request",
                "event.action = start",
                "gen_ai.provider.name = OpenAI",
                "gen_ai.request.model = gpt-5-codex",
                "mcp_servers = docs, git",
                "sandbox_policy = workspace-write",
            ],
        ),
    ] {
        let mut expected = vec![kind];
        expected.extend(who);
        expected.extend(rest);
        // Codex sends the name as an attribute, through `tracing`.
        let mut attributes = common(attributes);
        attributes["event.name"] = json!(name);
        attributes.as_object_mut().unwrap().remove("app.version");
        check_log(scope, "", &json!(null), &attributes, &expected);
    }
}

#[test]
fn gemini_cli_logs() {
    let scope = "gemini-cli";
    let who = ["session: s1", "turn: p1", "agent: shop"];
    for (name, attributes, kind, rest) in [
        (
            "gemini_cli.user_prompt",
            json!({"prompt": "fix it", "prompt_length": 6}),
            "model_call Request",
            vec![
                "gen_ai.operation.name = chat",
                "gen_ai.provider.name = gcp.gemini",
                "prompt_length = 6",
                "#0 Input User Text: fix it",
            ],
        ),
        (
            "gemini_cli.api_response",
            json!({"model": "gemini-3", "status_code": "200", "input_token_count": 12, "output_token_count": 34, "thoughts_token_count": 5,
                "response_text": "done", "duration_ms": 7}),
            "model_call Response",
            vec![
                "gen_ai.operation.name = chat",
                "gen_ai.provider.name = gcp.gemini",
                "gen_ai.request.model = gemini-3",
                "gen_ai.usage.input_tokens = 12",
                "gen_ai.usage.output_tokens = 34",
                "gen_ai.usage.reasoning.output_tokens = 5",
                "http.response.status_code = 200",
                "#0 Output Assistant Text: done",
            ],
        ),
        (
            "gemini_cli.tool_call",
            json!({"function_name": "run_shell_command", "function_args": "{\"command\":\"ls\"}", "success": false, "decision": "auto_accept",
                "tool_type": "native", "error_type": "timeout"}),
            "tool_call Complete",
            vec![
                "error.type = timeout",
                "event.outcome = failure",
                "gen_ai.operation.name = execute_tool",
                "gen_ai.tool.name = run_shell_command",
                "gen_ai.tool.type = native",
                "watchkeeper.approval.status = auto",
                "#0 Input Assistant ToolCall <run_shell_command>: {\"command\":\"ls\"}",
            ],
        ),
        (
            "gemini_cli.conseca.verdict",
            json!({"user_prompt": "fix it", "tool_call": "{\"name\":\"rm\"}", "verdict": "deny", "verdict_rationale": "not asked for"}),
            "guardrail Complete",
            vec![
                "gen_ai.guardrail.component.name = conseca",
                "gen_ai.guardrail.verdict.type = deny",
                "verdict_rationale = not asked for",
                "#1 Input Assistant ToolCall: {\"name\":\"rm\"}",
                "#0 Input User Text: fix it",
            ],
        ),
        (
            "gemini_cli.extension_install",
            json!({"extension_name": "fmt", "extension_version": "1", "extension_source": "https://example.test/fmt", "status": "success"}),
            "installation Complete",
            vec![
                "event.outcome = success",
                "package.name = fmt",
                "package.reference = https://example.test/fmt",
                "package.type = extension",
                "package.version = 1",
            ],
        ),
    ] {
        let mut expected = vec![kind.to_owned()];
        expected.extend(who.map(str::to_owned));
        expected.extend(rest.into_iter().map(str::to_owned));
        let mut attributes = attributes;
        attributes["session.id"] = json!("s1");
        attributes["prompt_id"] = json!("p1");
        let mut found = lines(&super::support::log(scope, name, &json!(null), &attributes));
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn a_query_of_a_vector_store_brings_its_documents() {
    let mut request = span_request(
        "opentelemetry.instrumentation.chromadb",
        "chroma.query",
        &json!({"db.system": "chroma", "db.operation": "query", "db.chroma.query.n_results": 2}),
    );
    let pair = |key: &str, value: serde_json::Value| json!({"key": format!("db.query.result.{key}"), "value": value});
    request["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["events"] = json!([
        {"name": "db.query.embeddings", "attributes": []},
        {"name": "db.query.result", "attributes": [pair("id", json!({"stringValue": "d1"})), pair("distance", json!({"doubleValue": 0.25})),
            pair("document", json!({"stringValue": "on cats"}))]},
        {"name": "db.query.result", "attributes": [pair("id", json!({"stringValue": "d2"})), pair("document", json!({"stringValue": "on dogs"})),
            pair("strange", json!({"stringValue": "kept"}))]},
    ]);
    let events = traces(&request);
    let expected = [
        "retrieval Complete",
        "db.operation.name = query",
        "db.system.name = chroma",
        "gen_ai.data_source.id = chroma",
        "gen_ai.operation.name = retrieval",
        "watchkeeper.chunk_events.dropped = 1",
        "watchkeeper.unmapped.count = 3",
        "? db.chroma.query.n_results = 2",
        "? db.query.result.1.strange = kept",
        "#0 Output Document Document <d1> score 0.25: on cats",
        "#1 Output Document Document <d2>: on dogs",
    ];
    assert_eq!(lines(&events[0]), expected);
    check_span(
        "opentelemetry.instrumentation.chromadb",
        "chroma.add",
        &json!({"db.system": "chroma", "db.operation": "add"}),
        &["data_access Complete", "db.operation.name = add", "db.system.name = chroma"],
    );
}

#[test]
fn a_finding_in_a_span_is_an_event_of_its_own() {
    let mut request = span_request("openlit.instrumentation.openai", "chat gpt-4o", &json!({"gen_ai.operation.name": "chat"}));
    let pair = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    request["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["events"] = json!([
        {"name": "gen_ai.agent.threat_detected", "timeUnixNano": "1700000000500000000", "attributes": [
            pair("gen_ai.agent.threat.rule_id", "r7"), pair("gen_ai.agent.threat.severity", "high"),
            pair("gen_ai.agent.threat.threat_class", "prompt_injection")]},
        {"name": "gen_ai.evaluation.result", "timeUnixNano": "1700000000600000000", "attributes": [
            pair("gen_ai.evaluation.name", "relevance"), pair("gen_ai.evaluation.score.label", "good")]},
    ]);
    let events = traces(&request);
    assert_eq!(events.len(), 3);
    assert!(events.iter().all(|event| event.trace.map(|trace| trace.span_id) == events[0].trace.map(|trace| trace.span_id)));
    let finding = [
        "guardrail Complete",
        "gen_ai.agent.threat.severity = high",
        "gen_ai.guardrail.component.name = openlit",
        "gen_ai.guardrail.security.policy.id = r7",
        "gen_ai.guardrail.security.risk.category = prompt_injection",
        "gen_ai.guardrail.verdict.type = audit",
        "watchkeeper.unmapped.count = 1",
    ];
    assert_eq!(lines(&events[1]), finding);
    assert_eq!(events[1].time.unix_ns(), 1_700_000_000_500_000_000);
    assert_eq!(lines(&events[2])[..2], ["evaluation Complete", "gen_ai.evaluation.name = relevance"]);
}
