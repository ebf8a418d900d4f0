//! OpenAI's realtime API through the real binary: the real SDK on one side, a real WebSocket server that stands in for the provider on the
//! other.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::clients::{assert_row, client, one, python};
use crate::support::{Server, root, watchkeeper};

/// The stand-in for the provider.
struct Provider {
    child: Child,
    base: String,
}

impl Provider {
    fn start() -> Self {
        let mut child = Command::new(python("gateway"))
            .arg(root().join("tests/clients/gateway/realtime_upstream.py"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let base = line.trim().rsplit(' ').next().unwrap().to_owned();
        assert!(base.starts_with("http://"), "{line}");
        Self { child, base }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn run(server: &Server, steps: &str, more: &[(&str, &str)]) -> Value {
    let variables: Vec<(&str, &str)> =
        [("WATCHKEEPER_GATEWAY", server.gateway.as_str()), ("STEPS", steps)].iter().chain(more).copied().collect();
    client("gateway", "gateway/realtime.py", &[], &variables)
}

/// The events of a session, in their order.
fn events(server: &Server, session: &str, more: &str) -> Vec<Value> {
    server.query(&format!("SELECT * FROM events WHERE session_id = '{session}' {more} ORDER BY seq"))
}

/// An attribute of an event.
fn attribute(event: &Value, key: &str) -> Value {
    let attributes = match &event["attributes"] {
        Value::String(text) => serde_json::from_str(text).unwrap(),
        other => other.clone(),
    };
    attributes[key].clone()
}

#[test]
fn the_sdk_talks_speaks_and_calls_tools_and_each_response_is_a_call() {
    let dir = tempfile::tempdir().unwrap();
    let provider = Provider::start();
    let server = Server::start_with(&dir.path().join("data"), &format!("[upstream]\nopenai = \"{}\"\n", provider.base));
    let said = run(&server, "talk,speak,fail,drop,browser", &[]);
    assert_eq!(said["talk"]["text"], "You said: Is it raining?");
    assert_eq!((&said["talk"]["tool"], &said["talk"]["after"]), (&json!("get_weather"), &json!("The tool said: sunny")));
    assert_eq!(said["speak"]["text"], "You said: spoken words");
    assert_eq!(said["fail"], json!({ "code": "invalid_value", "event_id": "mine" }));
    assert_eq!(said["browser"]["subprotocol"], "realtime");
    server.settle();

    // Prompts, answers, tokens, the tool's call with its result, and the system prompt: as of any other call.
    let of = |view: &str, session: &str| server.query(&format!("SELECT * FROM {view} WHERE session_id = '{session}'"));
    let prompts = of("prompts", "talk");
    assert!(prompts.len() >= 2, "{prompts:#?}");
    assert_row(
        &prompts[0],
        &json!({ "prompt": "Is it raining?", "user_id": "user-7", "model": "stand-in-realtime", "application": "OpenAI/Python" }),
    );
    let answers = of("responses", "talk");
    assert_eq!(answers.len(), 3, "{answers:#?}");
    assert_row(&answers[0], &json!({ "response": said["talk"]["text"], "status": "ok", "user_id": "user-7" }));
    assert_row(&answers[2], &json!({ "response": said["talk"]["after"] }));
    for row in of("token_usage", "talk") {
        assert_row(&row, &json!({ "input_tokens": 7, "output_tokens": 5 }));
    }
    let action = one(&server, "SELECT * FROM agent_actions WHERE session_id = 'talk'");
    assert_row(&action, &json!({ "tool": "get_weather", "parameters": said["talk"]["arguments"], "result": "sunny" }));
    let prompt = &server.query("SELECT * FROM system_prompts WHERE system_prompt = 'Speak of the weather.'");
    assert!(!prompt.is_empty(), "{:#?}", server.query("SELECT * FROM system_prompts"));

    // Each response has its request before it; all have the trace of the connection, whose end is recorded as what it was.
    let calls = events(&server, "talk", "AND kind = 'model_call'");
    let phases: Vec<_> = calls.iter().map(|call| call["phase"].as_str().unwrap()).collect();
    assert_eq!(phases, ["request", "response"].repeat(3), "{calls:#?}");
    assert!(calls.iter().all(|call| call["trace_id"] == "0af7651916cd43dd8448eb211c80319c"), "{calls:#?}");
    let end = |session: &str| events(&server, session, "AND kind = 'external_call' AND phase = 'response'").pop().unwrap();
    let ends = |session: &str| {
        let end = end(session);
        ["watchkeeper.stream.end", "watchkeeper.websocket.closed_by", "watchkeeper.websocket.close_code"]
            .map(|key| attribute(&end, key))
    };
    assert_eq!(ends("talk"), [json!("complete"), json!("client"), json!(1000)]);
    assert_eq!(ends("drop"), [json!("upstream_error"), json!("upstream"), Value::Null]);
    let broken = events(&server, "drop", "AND kind = 'model_call' AND phase = 'response'");
    assert_eq!(attribute(&broken[0], "watchkeeper.stream.end"), "upstream_error", "{broken:#?}");
    let partial = of("responses", "drop");
    assert_row(&partial[0], &json!({ "response": "You sa", "status": "error" }));
    assert_eq!(attribute(&events(&server, "fail", "AND kind = 'model_call'")[0], "error.type"), "invalid_request_error");

    // Sound is counted, and what was said in it is text; the bytes are nowhere.
    let spoken = of("prompts", "speak");
    assert_row(&spoken[0], &json!({ "prompt": "spoken words" }));
    assert_row(&of("responses", "speak")[0], &json!({ "response": "You said: spoken words" }));
    let media = server.query("SELECT text FROM pieces WHERE session_id = 'speak' AND part = 'media'");
    let texts: Vec<_> = media.iter().map(|row| row["text"].as_str().unwrap().to_owned()).collect();
    for characters in [&said["speak"]["sent"], &said["speak"]["sound"]] {
        assert!(texts.iter().any(|text| text.ends_with(&format!(", {characters} characters"))), "{characters}: {texts:?}");
    }
    // The key came in a subprotocol, and went on as it came; the record does not have it.
    let headers = &said["browser"]["headers"];
    assert!(headers["sec-websocket-protocol"].as_str().unwrap().contains("openai-insecure-api-key.a-key-of-the-provider"));
    assert!(headers.get("x-watchkeeper-session").is_none(), "{headers}");
    server.stop();
    for entry in std::fs::read_dir(dir.path().join("data")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = if path.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        assert!(memmem(&bytes, b"a-key-of-the-provider").is_none(), "{}", path.display());
    }
}

fn memmem(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

#[test]
fn policies_decide_on_events_before_they_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let provider = Provider::start();
    let config = format!(
        "[upstream]\nopenai = \"{}\"\n[[gateway.policy]]\nid = \"strict\"\nmodels = [\"guarded-*\"]\nattacks = \"block\"\n\
         sensitive = \"redact\"\nbudget_ms = 10000\n[[gateway.policy]]\nid = \"masking\"\nmodels = [\"masked-*\"]\nanswers = \"redact\"\n",
        provider.base
    );
    let server = Server::start_with(&dir.path().join("data"), &config);
    let said = run(&server, "guarded,masked", &[]);
    let guarded = &said["guarded"];
    let redacted = guarded["redacted"].as_str().unwrap();
    assert!(redacted.contains("<EMAIL:") && !redacted.contains("ann.lee"), "the stand-in repeats what it was sent: {redacted}");
    assert_eq!((&guarded["code"], &guarded["event_id"]), (&json!("guardrail_blocked"), &json!("attack")));
    assert_eq!(guarded["after"], "You said: a clean question", "the attack never reached it, and the connection went on");
    assert_eq!(said["masked"]["status"], 503);
    let body = said["masked"]["body"].as_str().unwrap();
    assert!(body.contains("guardrail_unsupported") && body.contains("masking"), "{body}");
    server.settle();
    let decisions = server.query("SELECT * FROM guardrail_decisions WHERE session_id = 'guarded' AND source = 'guardrail'");
    let actions: Vec<_> = decisions.iter().map(|row| row["action"].as_str().unwrap()).collect();
    assert!(actions.contains(&"block") && actions.contains(&"modify"), "{decisions:#?}");
    server.stop();
}

#[test]
fn a_virtual_key_in_a_subprotocol_becomes_the_providers() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let provider = Provider::start();
    Server::start(&data).stop();
    let output = watchkeeper().args(["keys", "create", "--role", "sensor", "support", "--data"]).arg(&data).output().unwrap();
    let made = String::from_utf8(output.stdout).unwrap();
    let field = |name: &str| made.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    let (id, key) = (field("id "), field("key "));
    let provider_key = dir.path().join("openai.key");
    std::fs::write(&provider_key, "not-a-key-of-openai\n").unwrap();
    let config = format!(
        "[capture]\nrequire_key = true\n[upstream]\nopenai = \"{}\"\n[[gateway.key]]\napi_key = \"{id}\"\nprincipal = \"support\"\n\
         provider_keys = {{ openai = \"file:{}\" }}\nmodels = [\"stand-in-*\"]\n",
        provider.base,
        provider_key.display()
    );
    let server = Server::start_with(&data, &config);
    let said = run(&server, "browser,talk", &[("OPENAI_API_KEY", &key)]);
    let headers = &said["browser"]["headers"];
    assert_eq!(headers["authorization"], concat!("Bearer ", "not-a-key-of-openai"));
    assert_eq!(headers["sec-websocket-protocol"], "realtime");
    assert!(!headers.to_string().contains("wk_"), "{headers}");
    assert_eq!(said["talk"]["after"], "The tool said: sunny");
    server.settle();
    let row = one(&server, "SELECT DISTINCT application FROM prompts WHERE session_id = 'talk'");
    assert_row(&row, &json!({ "application": "support" }));
    server.stop();
}
