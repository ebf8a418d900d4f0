//! Real clients: the SDKs through the gateway, the instrumentations over OTLP. Each is a Python program below
//! `tests/clients` in a virtual environment of its own, which `cargo xtask setup` makes.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::asked;
use crate::support::{Server, root};

/// The Python of a client's environment.
pub(crate) fn python(environment: &str) -> PathBuf {
    let python = root().join("target/clients").join(environment).join("bin/python");
    assert!(python.exists(), "{} is missing: run `cargo xtask setup`", python.display());
    python
}

/// Runs a client and gives what it says that it sent and saw.
pub(crate) fn client(environment: &str, script: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Value {
    client_of(&python(environment), script, arguments, variables)
}

/// As [`client`], with a Python of one's own.
pub(crate) fn client_of(python: &Path, script: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Value {
    let mut command = Command::new(python);
    command.arg(root().join("tests/clients").join(script)).args(arguments);
    command.env("no_proxy", "127.0.0.1,localhost").env_remove("http_proxy").env_remove("HTTP_PROXY");
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{script}: {complaint}");
    // What a framework says before is its own.
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let from = if said.starts_with('{') { 0 } else { said.find("\n{").map_or(0, |at| at + 1) };
    serde_json::from_str(&said[from..]).unwrap_or_else(|error| panic!("{script}: {error}: {complaint}"))
}

/// The stand-in for the commercial models.
pub(crate) struct Upstream {
    child: Child,
    pub(crate) base: String,
}

impl Upstream {
    pub(crate) fn start() -> Self {
        let mut child = Command::new("python3")
            .arg(root().join("tests/clients/upstream.py"))
            .arg("0")
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

impl Drop for Upstream {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn gateway_server() -> (tempfile::TempDir, Upstream, Server) {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let config = format!("[upstream]\nopenai = \"{0}\"\nanthropic = \"{0}\"\n", upstream.base);
    let server = Server::start_with(&dir.path().join("data"), &config);
    (dir, upstream, server)
}

/// The only row of a query.
pub(crate) fn one(server: &Server, sql: &str) -> Value {
    let rows = server.query(sql);
    assert_eq!(rows.len(), 1, "{sql}: {rows:#?}");
    rows.into_iter().next().unwrap()
}

/// That a row has these values; JSON text is compared as JSON.
pub(crate) fn assert_row(found: &Value, expected: &Value) {
    for (column, value) in expected.as_object().unwrap() {
        asked::column(column);
        let same = match (&found[column], value) {
            (Value::String(text), Value::Object(_)) => serde_json::from_str::<Value>(text).ok().as_ref() == Some(value),
            (found, value) => found == value,
        };
        assert!(same, "{column}: {} instead of {value} in {found:#}", found[column]);
    }
}

#[test]
fn openai_sdk_through_the_gateway() {
    let (_dir, _upstream, server) = gateway_server();
    let said = client("gateway", "gateway/openai_chat.py", &[], &[("WATCHKEEPER_GATEWAY", &server.gateway)]);
    server.settle();
    sdk_rows(&server, &said, &["chat", "stream"], &["tool", "tool_stream"]);
    let error = one(&server, "SELECT * FROM responses WHERE session_id = 'openai-error'");
    assert_row(&error, &json!({ "user_id": said["user"], "status": "error" }));
    let passed_through = one(&server, "SELECT * FROM external_calls WHERE session_id = 'openai-models'");
    assert_row(&passed_through, &json!({ "status_code": 200, "auth_method": "bearer" }));
    server.stop();
}

#[test]
fn anthropic_sdk_through_the_gateway() {
    let (_dir, _upstream, server) = gateway_server();
    let said = client("gateway", "gateway/anthropic_messages.py", &[], &[("WATCHKEEPER_GATEWAY", &server.gateway)]);
    server.settle();
    sdk_rows(&server, &said, &["messages", "stream"], &["tool", "tool_stream"]);
    server.stop();
}

/// What every SDK must have left: prompts, responses and tokens of the plain calls, actions of the calls with a tool.
fn sdk_rows(server: &Server, said: &Value, plain: &[&str], tools: &[&str]) {
    for name in plain {
        let call = &said[name];
        let session = call["session"].as_str().unwrap();
        let of = |view: &str| one(server, &format!("SELECT * FROM {view} WHERE session_id = '{session}'"));
        let who = json!({ "user_id": said["user"], "model": said["model"], "agent": said["agent"] });
        assert_row(&of("prompts"), &json!({ "prompt": call["prompt"] }));
        assert_row(&of("prompts"), &who);
        assert_row(&of("responses"), &json!({ "response": call["text"], "user_id": said["user"] }));
        let tokens =
            json!({ "input_tokens": call["usage"]["input"], "output_tokens": call["usage"]["output"], "user_id": said["user"] });
        assert_row(&of("token_usage"), &tokens);
        let receipt = &call["receipt"];
        let position: u64 = receipt["position"].as_str().unwrap().parse().unwrap();
        let recorded =
            one(server, &format!("SELECT seq FROM events WHERE event_id = '{}'", receipt["event_id"].as_str().unwrap()));
        assert_eq!(recorded["seq"], position, "the receipt names the place in the journal");
    }
    for name in tools {
        let call = &said[name];
        let session = call["session"].as_str().unwrap();
        let action = one(server, &format!("SELECT * FROM agent_actions WHERE session_id = '{session}'"));
        let arguments: Value =
            serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap_or_else(|_| call["arguments"].clone());
        let result: Value =
            call["result"].as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| call["result"].clone());
        assert_row(&action, &json!({ "tool": call["tool"], "user_id": said["user"], "parameters": arguments, "result": result }));
        let last = one(server, &format!("SELECT * FROM responses WHERE session_id = '{session}' ORDER BY time DESC LIMIT 1"));
        assert_row(&last, &json!({ "response": call["text"] }));
    }
}

#[test]
fn otel_genai_instrumentation() {
    for protocol in ["grpc", "http/protobuf"] {
        emitter("otel-genai", "otel/emit_otel_genai.py", protocol, &[]);
    }
}

#[test]
fn otel_v2_instrumentation() {
    let latest = [
        ("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai_latest_experimental"),
        ("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_ONLY"),
    ];
    for protocol in ["grpc", "http/protobuf"] {
        emitter("otel-v2", "otel/emit_otel_v2.py", protocol, &latest);
    }
}

#[test]
fn openinference_instrumentation() {
    for protocol in ["grpc", "http/protobuf"] {
        emitter("openinference", "otel/emit_openinference.py", protocol, &[]);
    }
}

#[test]
fn openllmetry_instrumentation() {
    for protocol in ["grpc", "http/protobuf"] {
        emitter("openllmetry", "otel/emit_openllmetry.py", protocol, &[]);
    }
}

/// One conversation with a tool, over one protocol, and the rows that it must leave.
fn emitter(environment: &str, script: &str, protocol: &str, more: &[(&str, &str)]) {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let endpoint = if protocol == "grpc" { server.otlp_grpc.clone() } else { server.otlp_http.clone() };
    let mut variables = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
    ];
    variables.extend_from_slice(more);
    let said = client(environment, script, &[], &variables);
    server.settle();

    let who = json!({ "user_id": said["user"], "session_id": said["session"] });
    let prompt = one(&server, "SELECT * FROM prompts");
    assert_row(&prompt, &who);
    assert_row(&prompt, &json!({ "prompt": said["question"], "application": said["service"] }));
    let responses = server.query("SELECT * FROM responses ORDER BY time");
    assert_eq!(responses.len(), 2, "{responses:#?}");
    assert_row(&responses[1], &who);
    assert_row(&responses[1], &json!({ "response": said["answer"], "model": said["response_model"] }));
    let tokens = server.query("SELECT * FROM token_usage ORDER BY time");
    assert_eq!(tokens.len(), 2, "{tokens:#?}");
    for (row, expected) in tokens.iter().zip(said["tokens"].as_array().unwrap()) {
        assert_row(row, &who);
        assert_row(row, &json!({ "input_tokens": expected["input"], "output_tokens": expected["output"] }));
    }
    let action = one(&server, "SELECT * FROM agent_actions");
    assert_row(&action, &who);
    let parse = |key: &str| serde_json::from_str::<Value>(said[key].as_str().unwrap()).unwrap();
    assert_row(
        &action,
        &json!({ "tool": said["tool"], "call_id": said["call_id"], "parameters": parse("arguments"), "result": parse("result") }),
    );
    let system = one(&server, "SELECT * FROM system_prompts");
    assert_row(&system, &json!({ "application": said["service"] }));
    println!("{environment} over {protocol}: prompts, responses, tokens, actions as sent");
    server.stop();
}
