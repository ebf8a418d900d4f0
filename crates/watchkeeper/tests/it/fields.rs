//! Fields of the log categories that only some calls fill, from real clients.

use client::{Client, Config, Describe, Event, Message, Party, RecordLayer, Scope};
use event::{Direction, Kind, Part, Role, attr};
use serde_json::{Value, json};
use tower::{Service as _, ServiceBuilder, ServiceExt as _, service_fn};

use crate::clients::{Upstream, assert_row, client as run, one};
use crate::gateway::server_with;
use crate::support::{SOON, Server, http};

#[test]
fn an_sdk_fills_what_only_some_calls_bring() {
    let (_dir, _upstream, server) = server_with("[[gateway.policy]]\nid = \"strict\"\nattacks = \"block\"\nbudget_ms = 10000\n");
    let said = run("gateway", "gateway/fields.py", &[], &[("WATCHKEEPER_GATEWAY", &server.gateway)]);
    assert_eq!((&said["refused"], &said["failed"]), (&json!([400, "guardrail_blocked"]), &json!(500)), "{said:#}");
    server.settle();
    let of = |view: &str, session: &str| one(&server, &format!("SELECT * FROM {view} WHERE session_id = '{session}'"));
    let (user, attack) = (&said["user"], &said["attack"]);

    // A prompt that is judged, and one that is refused before the model has it.
    let prompt = of("prompts", "attack");
    assert_row(&prompt, &json!({ "prompt": attack, "user_id": user, "safety_filter_outcome": "block" }));
    assert_row(&prompt, &json!({ "classification": "prompt_injection" }));
    assert!(prompt["risk_score"].as_f64().unwrap() > 0.5, "{prompt:#}");
    assert_row(&of("prompts", "calm"), &json!({ "classification": "none", "safety_filter_outcome": "allow" }));
    let decision = one(&server, "SELECT * FROM guardrail_decisions WHERE session_id = 'attack' AND source = 'guardrail'");
    assert_row(
        &decision,
        &json!({ "policy_violated": "strict", "blocked": 1, "reached_model": 0, "prompt": attack, "user_id": user }),
    );
    assert_row(&decision, &json!({ "moderation_decision": "deny" }));
    assert!(decision["confidence"].as_f64().unwrap() > 0.5, "{decision:#}");
    assert!(decision["risk_categories"].as_str().unwrap().contains("prompt_injection"), "{decision:#}");

    // Tokens from a cache, and their totals.
    let cached = said["cached"].as_array().unwrap();
    let usage = server.query("SELECT * FROM token_usage WHERE session_id = 'cached' ORDER BY time_ns");
    assert_eq!(usage.len(), cached.len(), "{usage:#?}");
    for (row, expected) in usage.iter().zip(cached) {
        assert!(expected["cached"].as_u64().unwrap() > 0, "{expected}");
        let tokens = json!({
            "input_tokens": expected["input"], "output_tokens": expected["output"], "cached_tokens": expected["cached"],
        });
        assert_row(row, &tokens);
    }
    let sum = |key: &str| cached.iter().map(|usage| usage[key].as_u64().unwrap()).sum::<u64>();
    let totals = json!({
        "user_id": user, "calls": 2, "input_tokens": sum("input"), "output_tokens": sum("output"), "cached_tokens": sum("cached"),
        "total_tokens": sum("input") + sum("output"),
    });
    assert_row(&of("token_usage_by_session", "cached"), &totals);

    // How sure the model was, what its answers held, and what kind of answers they were.
    let mean = |logprobs: &[Value]| logprobs.iter().filter_map(Value::as_f64).sum::<f64>() / logprobs.len() as f64;
    let sure = of("responses", "sure");
    let expected = mean(said["logprobs"].as_array().unwrap()).exp();
    assert!((sure["confidence"].as_f64().unwrap() - expected).abs() < 1e-9, "{expected} {sure:#}");
    let command = json!({ "response": said["command"], "safety_classification": "excessive_agency" });
    assert_row(&of("responses", "command"), &command);
    for (session, category) in [("calm", "text"), ("tool", "tool_call"), ("error", "error")] {
        assert_row(&of("responses", session), &json!({ "response_category": category }));
    }
    assert_row(&of("responses", "calm"), &json!({ "safety_classification": "none", "confidence": null }));

    // What the agent was told, and for whom it acts.
    let (kind, rude) = (&said["kind"], &said["rude"]);
    let changes = server.query("SELECT * FROM system_prompt_changes WHERE agent = 'clerk' ORDER BY seq");
    let expected = [("first", &Value::Null, kind, "s1"), ("new", kind, rude, "s2"), ("back", rude, kind, "s3")];
    assert_eq!(changes.len(), expected.len(), "{changes:#?}");
    for (row, (change, before, after, session)) in changes.iter().zip(expected) {
        let expected = json!({ "change": change, "system_prompt_before": before, "system_prompt": after, "session_id": session });
        assert_row(row, &expected);
        assert_row(row, &json!({ "user_id": user }));
    }
    let versions =
        server.query("SELECT version, system_prompt, uses, user_id FROM system_prompts WHERE agent = 'clerk' ORDER BY version");
    assert_eq!(
        versions,
        [
            json!({ "version": 1, "system_prompt": kind, "uses": 3, "user_id": user }),
            json!({ "version": 2, "system_prompt": rude, "uses": 1, "user_id": user }),
        ]
    );
    let agent = one(&server, "SELECT DISTINCT agent, on_behalf_of, proof FROM agents WHERE on_behalf_of IS NOT NULL");
    assert_row(&agent, &json!({ "agent": "clerk", "on_behalf_of": user, "proof": "asserted" }));
    let call = one(&server, "SELECT * FROM user_sessions WHERE session_id = 'calm'");
    assert_row(&call, &json!({ "ip_address": "127.0.0.1", "user_id": user }));
    assert!(call["user_agent"].as_str().unwrap().starts_with("OpenAI/Python"), "{call:#}");
    server.stop();
}

/// A day's tokens against those of the day before: the same emitter with a clock of yesterday, and twice with today's.
#[test]
fn an_instrumentation_brings_the_trend_of_a_user() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let mut user = Value::Null;
    for behind in ["86400", "0", "0"] {
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", server.otlp_http.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("EMITTER_CLOCK_BEHIND_S", behind),
        ];
        user = run("otel-genai", "otel/emit_otel_genai.py", &[], &variables)["user"].clone();
    }
    server.settle();
    let days = server.query("SELECT user_id, calls, total_tokens, change_tokens FROM token_usage_by_user_day ORDER BY day");
    let day = |calls: u8, total: u16, change: Value| json!({ "user_id": user, "calls": calls, "total_tokens": total, "change_tokens": change });
    assert_eq!(days, [day(2, 119, Value::Null), day(4, 238, json!(119))]);
    server.stop();
}

/// What is asked of the stand-in, for the layer.
#[derive(Clone)]
struct Chat(Scope);

impl Describe<String, String, String> for Chat {
    fn request(&self, request: &String) -> Option<Event> {
        Some(self.0.model_call("chat", "stand-in-gpt", [Message::new(Role::User, request)]))
    }

    fn response(&self, event: Event, result: Result<&String, &String>) -> Event {
        match result {
            Ok(answer) => event.answer(answer),
            Err(error) => event.attribute(attr::ERROR_TYPE.as_str(), error.as_str()),
        }
    }
}

/// A Rust program's own call of a model.
async fn model(base: String, prompt: String) -> Result<String, String> {
    let name = if prompt.is_empty() { "error-gpt" } else { "stand-in-gpt" };
    let body = json!({ "model": name, "messages": [{ "role": "user", "content": prompt }] }).to_string();
    let asked = tokio::task::spawn_blocking(move || {
        http(&base, "POST", "/v1/chat/completions", &[("content-type", "application/json")], body.as_bytes())
    });
    let answer = asked.await.map_err(|error| error.to_string())?;
    if answer.status != 200 {
        return Err(answer.status.to_string());
    }
    let told: Value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
    Ok(told["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned())
}

/// The client crate in a program: its layer around a model, its wrappers around a tool and a look-up, and what it tells of a company's
/// own administration.
#[tokio::test(flavor = "multi_thread")]
async fn the_client_crate_tells_what_a_program_does() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let server = Server::start(&dir.path().join("data"));
    let mut config = Config::new(&server.console, server.key.as_ref().unwrap()).unwrap();
    (config.deadline, config.attempt_timeout) = (SOON, SOON);
    let client = Client::new(config).unwrap();
    let agent = Party::from("clerk").version("2.1");
    let scope = Scope::default().session("s-rust").user("user-7").application("shop").agent(agent.clone());

    let base = upstream.base.clone();
    let inner = service_fn(move |prompt: String| model(base.clone(), prompt));
    let mut chat = ServiceBuilder::new().layer(RecordLayer::new(client.clone(), Chat(scope.clone())).committing()).service(inner);
    assert_eq!(chat.ready().await.unwrap().call("hello".to_owned()).await.unwrap(), "You said: hello");
    assert!(chat.ready().await.unwrap().call(String::new()).await.is_err());

    let tool = scope.tool_call("refund", &json!({ "order": 7 })).on_behalf_of("front desk").on_behalf_of("supervisor");
    let refused = client
        .observed(tool, async { Err::<(), _>("no such order".to_owned()) }, |event, result| match result {
            Ok(()) => event,
            Err(error) => event.attribute(attr::ERROR_TYPE.as_str(), error.as_str()),
        })
        .await;
    assert_eq!(refused, Err("no such order".to_owned()));
    let found = client
        .committed(scope.retrieval("handbook", "refunds"), async { Ok::<_, String>("Within 14 days.") }, |event, result| {
            event.document("d-7", result.copied().unwrap_or_default(), Some(0.75))
        })
        .await
        .unwrap();
    assert_eq!(found, Ok("Within 14 days."));
    let plan = scope.event(Kind::AgentStep).name("plan").attribute(attr::GEN_AI_OPERATION_NAME.as_str(), "plan");
    client
        .submit(plan.message(Message::new(Role::Assistant, "First look it up, then refund.").direction(Direction::Output)))
        .unwrap();
    let read = scope
        .event(Kind::DataAccess)
        .name("SELECT orders")
        .attribute(attr::DB_SYSTEM_NAME.as_str(), "postgresql")
        .attribute(attr::DB_RESPONSE_RETURNED_ROWS.as_str(), 12)
        .message(Message::new(Role::Assistant, "SELECT * FROM orders").direction(Direction::Input).part(Part::Query));
    client.submit(read).unwrap();
    let root = Scope::default().user("root-7").application("platform");
    let changed = |kind: Kind, name: &str, action: &str, object: &str, after: &str| {
        root.event(kind)
            .name(name)
            .attribute(attr::EVENT_ACTION.as_str(), action)
            .attribute(attr::EVENT_OUTCOME.as_str(), "success")
            .attribute(attr::ADMIN_OBJECT.as_str(), object)
            .attribute(attr::ADMIN_AFTER.as_str(), after)
    };
    client.submit(changed(Kind::Admin, "user.create", "create", "user bob", "role: clerk")).unwrap();
    client.submit(changed(Kind::Admin, "model.deploy", "update", "model clerk-llm", "v2")).unwrap();
    client.submit(changed(Kind::Admin, "permission.change", "update", "user bob", "role: admin")).unwrap();
    client.submit(changed(Kind::SystemPrompt, "prompt.update", "update", "clerk", "You are kind.")).unwrap();
    client.submit(root.event(Kind::SystemPrompt).name("prompt.read").attribute(attr::EVENT_ACTION.as_str(), "read")).unwrap();
    client.flush(SOON).await.unwrap();
    assert!(client.losses().is_empty(), "{:?}", client.losses());

    tokio::task::spawn_blocking(move || told_by_the_client_crate(server)).await.unwrap();
}

/// What the program above must have left.
fn told_by_the_client_crate(server: Server) {
    server.settle();
    let who = json!({ "session_id": "s-rust", "user_id": "user-7", "application": "shop", "agent": "clerk" });
    let answers = server.query("SELECT * FROM responses ORDER BY time_ns");
    assert_eq!(answers.len(), 2, "{answers:#?}");
    assert_row(&answers[0], &json!({ "response": "You said: hello", "status": "ok", "model": "stand-in-gpt" }));
    assert_row(&answers[0], &who);
    assert_row(&answers[1], &json!({ "response_category": "error", "error": "500" }));
    let action = one(&server, "SELECT * FROM agent_actions");
    assert_row(&action, &json!({ "tool": "refund", "parameters": { "order": 7 }, "status": "error", "error": "no such order" }));
    assert_row(&action, &who);
    let found = json!({ "retrieval_source": "handbook", "query": "refunds", "document_id": "d-7", "similarity_score": 0.75 });
    assert_row(&one(&server, "SELECT * FROM retrievals"), &found);
    let plan = one(&server, "SELECT * FROM agent_steps");
    assert_row(&plan, &json!({ "step": "plan", "output": "First look it up, then refund.", "agent_version": "2.1" }));
    let read = one(&server, "SELECT * FROM data_access WHERE store_system = 'postgresql'");
    assert_row(&read, &json!({ "object": "orders", "access": "read", "rows": 12, "user_id": "user-7" }));
    let chain = one(&server, "SELECT * FROM agents WHERE delegation_chain IS NOT NULL");
    assert_row(&chain, &json!({ "agent": "clerk", "agent_version": "2.1", "delegation_chain": "front desk > supervisor" }));
    for (name, action, object, after) in [
        ("user.create", "create", "user bob", "role: clerk"),
        ("model.deploy", "update", "model clerk-llm", "v2"),
        ("permission.change", "update", "user bob", "role: admin"),
    ] {
        let row = one(&server, &format!("SELECT * FROM admin_events WHERE name = '{name}'"));
        assert_row(
            &row,
            &json!({ "action": action, "object": object, "after": after, "user_id": "root-7", "outcome": "success" }),
        );
    }
    let told = server.query("SELECT action, object, after, user_id FROM system_prompt_events ORDER BY seq");
    assert_eq!(
        told,
        [
            json!({ "action": "update", "object": "clerk", "after": "You are kind.", "user_id": "root-7" }),
            json!({ "action": "read", "object": null, "after": null, "user_id": "root-7" }),
        ]
    );
    server.stop();
}
