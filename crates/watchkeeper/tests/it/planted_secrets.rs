//! Secrets and personal values in every field of every way in: none of them is on disk afterwards, nor in the log.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use serde_json::{Value, json};

use crate::lifecycle::everything;
use crate::support::{Server, attribute, chat_spans, feed, http, run, verify, watchkeeper};

/// Values that are made up but have the form and the checksums of real ones. Put together from parts, so that no scanner
/// takes this file for a leak.
fn planted() -> Vec<(&'static str, String)> {
    let p = |parts: &[&str]| parts.concat();
    vec![
        ("e-mail", p(&["maria.gonzalez", "@", "clinica-norte.example"])),
        ("e-mail with plus", p(&["j.doe+bank", "@", "mail.example.org"])),
        ("phone, international", p(&["+49 30 ", "90182", "7431"])),
        ("phone, US", p(&["(415) ", "555", "-0132"])),
        ("Visa", p(&["4539 1488 ", "0343 6467"])),
        ("Mastercard", p(&["5555555555", "554444"])),
        ("Amex", p(&["3782 822463 ", "10005"])),
        ("IBAN DE", p(&["DE89 3704 0044 ", "0532 0130 00"])),
        ("IBAN GB", p(&["GB82WEST1234", "5698765432"])),
        ("SSN", p(&["536-90", "-4399"])),
        ("IPv4", p(&["203.0.", "113.77"])),
        ("IPv6", p(&["2001:db8:85a3", "::8a2e:370:7334"])),
        ("OpenAI key", p(&["sk-proj-", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0u1V2w3X4"])),
        ("OpenAI legacy key", p(&["sk-", "Zx9Yw8Vu7Ts6Rq5Po4Nm3Lk2Ji1Hg0FeDcBa987654321abc"])),
        (
            "Anthropic key",
            p(&["sk-ant-", "api03-Qw3rTy7uI0pAsDfGhJkLzXcVbNm1234567890QwErTyUiOpAsDfGhJkLzXcVbNm1234567890AbCdEfAA"]),
        ),
        ("AWS key id", p(&["AKIA", "5T7Q2M9XWVNB3KLP"])),
        ("AWS secret", p(&["aws_secret_access_key = ", "kH3bN8vXz2QpL5wRt7YcJ1mD9sFgA4eUoI6hTqZx"])),
        ("GitHub token", p(&["ghp_", "Ab3dEf6hIj9lMn2pQr5tUv8xYz1Bc4Ef7Hi0"])),
        (
            "GitHub fine-grained",
            p(&["github_pat_", "11ABCDEFG0aBcDeFgHiJkL_mNoPqRsTuVwXyZ0123456789aBcDeFgHiJkLmNoPqRsTuVwXyZ01234"]),
        ),
        ("GitLab token", p(&["glpat-", "x7Yz9Kq2Wm4Rt6Vb8Np1"])),
        ("Slack token", p(&["xoxb-", "263594206564-2343594206574-FGqddMF8t08v8N7Oq4i57vs1"])),
        ("Stripe key", p(&["sk_live_", "51H8qLkJ2eZvKYlo2C9xT7bNm"])),
        ("Google key", p(&["AIza", "SyD9fGh3kLm5nPq7rSt1uVw2xYz4aBc6dEf"])),
        ("SendGrid key", p(&["SG.", "nGeVGdFrQ1mL9xYzTb2wKA.pKQv7RsTuWxYz0123456789AbCdEfGhIjKlMnOpQrStU"])),
        ("npm token", p(&["npm_", "a8Kd03lMx92nQpZ7vB1cR5tY6uI4oPwEsDfG"])),
        ("PyPI token", p(&["pypi-", "AgEIcHlwaS5vcmcCJDU3ZTk2N2Y4LTk0NzQtNDQ3Zi1hYjE2LTYwYzE4N2Y3ZGQ0ZAACKlszLCJ"])),
        ("Hugging Face token", p(&["hf_", "QwErTyUiOpAsDfGhJkLzXcVbNmQwErTyUi"])),
        (
            "JWT",
            p(&[
                "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.",
                "eyJzdWIiOiI5ODc2NTQzMjEwIiwibmFtZSI6Ik1hcmlhIn0.",
                "Xk3vQ9sT7uW1yB5dF8hJ2lN4pR6tV0xZ3bD5fH7jL9n",
            ]),
        ),
        (
            "private key",
            p(&[
                "-----BEGIN ",
                "PRIVATE KEY-----\nMIIBVAIBADANBgkqhkiG9w0BAQEFAASCAT4wggE6AgEAAkEAq7BFUpkGp3+LQmlQ\nYx2eqzDV+xeG8kx/sQFV18S5JhzGeIJNA72wSeukEPojtqUyX2J0CciPBh7eqclQ\n-----END PRIVATE KEY-----",
            ]),
        ),
        ("URL password", p(&["postgres://app:", "Tr0ub4dor-and-3", "@db.internal:5432/prod"])),
        ("number of the operator's own", p(&["EMP-", "4471-0926"])),
    ]
}

/// What must not be found: the telling part of a value, without the words around it.
fn needle(name: &str, value: &str) -> String {
    match name {
        "AWS secret" => value.rsplit(' ').next().unwrap().to_owned(),
        "URL password" => value.split(['@', ':']).nth(2).unwrap().to_owned(),
        "private key" => value.lines().nth(1).unwrap().to_owned(),
        _ => value.to_owned(),
    }
}

/// A type of the operator's own, and actions.
const POLICY: &str = r#"
[sanitize.actions]
PHONE = "mask"
IBAN = "drop"

[[sanitize.types]]
name = "EMPLOYEE_ID"
pattern = 'EMP-\d{4}-\d{4}'
positive = ["badge EMP-0000-0001"]
"#;

/// The value in a sentence, in the places where it may stand.
fn sentence(value: &str) -> String {
    format!("please use {value} for it, thank you")
}

#[test]
fn nothing_planted_reaches_the_disk_or_the_log() {
    let planted = planted();
    assert_eq!(planted.len(), 31);
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let upstream = echo_upstream();
    let server = Server::start_with(
        &data,
        &format!(
            "[upstream]\nopenai = \"{upstream}\"\nanthropic = \"{upstream}\"\n[mcp.servers.echo]\nurl = \"{upstream}/mcp\"\n\
             [egress]\nenabled = true\n{POLICY}"
        ),
    );
    let key = server.key.clone().unwrap();
    let bearer = format!("Bearer {key}");
    let own = ("our own admin key", key.clone());
    for (nth, (_, value)) in planted.iter().chain([&own]).enumerate() {
        otlp_traces(&server, value, nth as u64);
        otlp_logs(&server, value);
        gateway(&server, value);
        api(&server, &bearer, value);
        mcp(&server, &bearer, value, nth);
        egress(&server, &upstream, value);
        let body = json!({ "text": sentence(value), "channel": "user" }).to_string();
        assert_eq!(http(&server.console, "POST", "/v1/inspect", &[("authorization", &bearer)], body.as_bytes()).status, 200);
        // Reading leaves an event: what is asked for must not leak through it.
        run(&["query", &format!("SELECT '{}' AS x", value.replace('\'', "")), "--format", "json"], &data);
        run(&["search", &value.replace('\n', " ")], &data);
    }
    server.settle();
    // Older records lie in the archive: everything so far goes there.
    assert_eq!(run(&["erase", "--subject", "nobody-at-all"], &data).status.code(), Some(3));
    assert!(fs::read_dir(data.join("archive/objects/segments")).unwrap().count() >= 2);
    let mut planted = planted;
    planted.push(("our own admin key", key));
    // What is there only while a server runs.
    let run_file = data.join("run/api.json");
    let token = serde_json::from_slice::<Value>(&fs::read(&run_file).unwrap()).unwrap()["token"].as_str().unwrap().to_owned();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&run_file), mode(&data.join("run")), mode(&data.join("keys/tenant.key"))), (0o600, 0o700, 0o600));
    let mut running = Vec::new();
    for (name, value) in &planted {
        grep(&data.join("run"), needle(name, value).as_bytes(), &mut running);
    }
    assert!(running.is_empty(), "{running:?}");
    let log = server.log.clone();
    server.stop();
    assert!(!run_file.exists());
    import(dir.path(), &data, &planted);
    assert_eq!(verify(&data).0, 0);
    // The token ends with the server, and is nowhere else.
    planted.push(("token of local commands", token));

    // Encrypted files tell nothing: what they hold is looked at, too.
    let decrypted = everything(&data);
    assert!(decrypted.contains("for it, thank you"), "the sentences around the values must be there");
    let mut found = BTreeMap::new();
    for (name, value) in &planted {
        let needle = needle(name, value);
        let mut places = Vec::new();
        grep(&data, needle.as_bytes(), &mut places);
        if contains(decrypted.as_bytes(), needle.as_bytes()) {
            places.push("what the data directory holds, decrypted".to_owned());
        }
        if contains(&fs::read(&log).unwrap(), needle.as_bytes()) {
            places.push("the log".to_owned());
        }
        if !places.is_empty() {
            found.insert(*name, places);
        }
    }
    if !found.is_empty() && std::env::var_os("KEEP").is_some() {
        std::mem::forget(dir);
    }
    assert!(found.is_empty(), "{found:#?}");
    // The test would prove nothing if nothing had been recorded.
    let count = crate::support::rows("SELECT count(*) AS n FROM events WHERE kind = 'model_call'", &data);
    assert!(count[0]["n"].as_u64().unwrap() > 100, "{count:?}");
}

#[test]
fn sanitize_leaves_no_secret_in_its_output() {
    let planted = planted();
    let input: String = planted.iter().map(|(_, value)| json!({ "text": sentence(value) }).to_string() + "\n").collect();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("watchkeeper.toml");
    fs::write(&config, POLICY).unwrap();
    let output = feed(watchkeeper().arg("sanitize").arg("--config").arg(&config), input.as_bytes());
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    for ((name, value), line) in planted.iter().zip(text.lines()) {
        let answer: Value = serde_json::from_str(line).unwrap();
        assert!(!answer["text"].as_str().unwrap().contains(&needle(name, value)), "{name}: {line}");
        assert!(!answer["spans"].as_array().unwrap().is_empty(), "{name}: {line}");
    }
}

fn otlp_traces(server: &Server, value: &str, nth: u64) {
    let mut request = chat_spans(&sentence(value), 1_000 + nth, 1);
    let resource = &mut request.resource_spans[0];
    resource.resource.as_mut().unwrap().attributes.extend([
        attribute("service.version", value),
        attribute(value, "key"),
        attribute("host.name", &sentence(value)),
    ]);
    resource.schema_url = sentence(value);
    let scope = &mut resource.scope_spans[0];
    scope.scope = Some(InstrumentationScope {
        name: sentence(value),
        version: sentence(value),
        attributes: vec![attribute("a", value)],
        ..InstrumentationScope::default()
    });
    let span = &mut scope.spans[0];
    span.name = sentence(value);
    span.trace_state = sentence(value);
    let messages = json!([{ "role": "user", "name": value, "parts": [
        { "type": "text", "content": sentence(value) },
        { "type": "tool_call", "id": value, "name": value, "arguments": { "to": value, value: 1, "deep": [{ "er": sentence(value) }] } },
        { "type": "tool_call_response", "id": value, "response": { "value": value } },
        { "type": "uri", "uri": value }, { "type": value, "content": value }] }]);
    span.attributes = vec![
        attribute("gen_ai.operation.name", "chat"),
        attribute("gen_ai.input.messages", &messages.to_string()),
        attribute("gen_ai.output.messages", &messages.to_string()),
        attribute("gen_ai.system_instructions", &json!([{ "type": "text", "content": sentence(value) }]).to_string()),
        attribute("gen_ai.tool.definitions", &json!([{ "name": value, "description": sentence(value) }]).to_string()),
        attribute("gen_ai.conversation.id", value),
        attribute("gen_ai.agent.name", value),
        attribute("gen_ai.request.model", value),
        attribute("user.id", value),
        attribute("user.email", value),
        attribute("server.address", value),
        attribute("url.full", &format!("https://x.example/?q={value}")),
        attribute("unheard.of", &sentence(value)),
        attribute(&sentence(value), "key"),
        KeyValue {
            key: "map".to_owned(),
            value: Some(AnyValue {
                value: Some(any_value::Value::KvlistValue(opentelemetry_proto::tonic::common::v1::KeyValueList {
                    values: vec![attribute(value, value)],
                })),
            }),
            ..KeyValue::default()
        },
        KeyValue {
            key: "bytes".to_owned(),
            value: Some(AnyValue { value: Some(any_value::Value::BytesValue(value.as_bytes().to_vec())) }),
            ..KeyValue::default()
        },
    ];
    span.status = Some(opentelemetry_proto::tonic::trace::v1::Status { message: sentence(value), code: 2 });
    span.events = vec![opentelemetry_proto::tonic::trace::v1::span::Event {
        name: sentence(value),
        attributes: vec![attribute("exception.message", &sentence(value))],
        ..Default::default()
    }];
    span.links = vec![opentelemetry_proto::tonic::trace::v1::span::Link {
        trace_state: sentence(value),
        attributes: vec![attribute("x", value)],
        ..Default::default()
    }];
    let answer =
        http(&server.otlp_http, "POST", "/v1/traces", &[("content-type", "application/x-protobuf")], &request.encode_to_vec());
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
}

fn otlp_logs(server: &Server, value: &str) {
    let text = |text: String| Some(AnyValue { value: Some(any_value::Value::StringValue(text)) });
    let record = |event: &str| LogRecord {
        event_name: event.to_owned(),
        severity_text: value.to_owned(),
        body: text(sentence(value)),
        attributes: vec![
            attribute("event.name", event),
            attribute("session.id", value),
            attribute("user.email", value),
            attribute("prompt", &sentence(value)),
            attribute("tool_name", value),
            attribute("tool_parameters", &json!({ "full_command": format!("curl -H 'x: {value}' example.org") }).to_string()),
            attribute("error", &sentence(value)),
        ],
        ..LogRecord::default()
    };
    let scope = |name: &str, records| ScopeLogs {
        scope: Some(InstrumentationScope { name: name.to_owned(), ..InstrumentationScope::default() }),
        log_records: records,
        schema_url: String::new(),
    };
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(Resource { attributes: vec![attribute("service.name", "claude-code")], ..Resource::default() }),
            scope_logs: vec![
                scope(
                    "com.anthropic.claude_code.events",
                    vec![record("user_prompt"), record("tool_result"), record("api_error")],
                ),
                scope(&sentence(value), vec![record(&sentence(value))]),
            ],
            schema_url: String::new(),
        }],
    };
    let answer =
        http(&server.otlp_http, "POST", "/v1/logs", &[("content-type", "application/x-protobuf")], &request.encode_to_vec());
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
}

fn gateway(server: &Server, value: &str) {
    let header = value.replace('\n', " ");
    let headers = [
        ("content-type", "application/json"),
        ("authorization", &*format!("Bearer {header}")),
        ("x-watchkeeper-user", &*header),
        ("x-watchkeeper-session", &*header),
        ("x-watchkeeper-application", &*header),
        ("x-watchkeeper-agent", &*header),
        ("user-agent", &*header),
    ];
    let call =
        json!({ "id": value, "type": "function", "function": { "name": value, "arguments": json!({ "x": value }).to_string() } });
    let openai = json!({ "model": value, "user": value, "metadata": { value: value }, "stop": [value], "messages": [
        { "role": "system", "content": sentence(value) },
        { "role": "user", "name": value, "content": [{ "type": "text", "text": sentence(value) }, { "type": "image_url", "image_url": { "url": format!("https://x.example/{value}") } }] },
        { "role": "assistant", "content": null, "tool_calls": [call] },
        { "role": "tool", "tool_call_id": value, "content": json!({ "k": value }).to_string() }],
        "tools": [{ "type": "function", "function": { "name": value, "description": sentence(value), "parameters": {} } }] });
    http(&server.gateway, "POST", "/v1/chat/completions", &headers, openai.to_string().as_bytes());
    let mut streamed = openai;
    streamed["stream"] = json!(true);
    http(&server.gateway, "POST", "/v1/chat/completions", &headers, streamed.to_string().as_bytes());
    let anthropic = json!({ "model": value, "max_tokens": 10, "metadata": { "user_id": value }, "system": sentence(value), "messages": [
        { "role": "user", "content": sentence(value) },
        { "role": "assistant", "content": [{ "type": "tool_use", "id": value, "name": value, "input": { "x": value } }] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": value, "content": sentence(value) }] }] });
    http(&server.gateway, "POST", "/v1/messages", &headers, anthropic.to_string().as_bytes());
    let path = format!("/v1/files/{}?token={}", encode(value), encode(value));
    http(&server.gateway, "GET", &path, &headers, b"");
    // Not JSON at all: refused, and still not leaked.
    http(&server.gateway, "POST", "/v1/chat/completions", &headers, value.as_bytes());
}

fn api(server: &Server, bearer: &str, value: &str) {
    let event = json!({ "kind": "tool_call", "name": sentence(value), "session.id": value, "user.id": value, "application": value, "agent": value,
        "attributes": { "gen_ai.tool.name": value, "note": sentence(value), value: value },
        "messages": [{ "role": "user", "content": sentence(value) }], "tool": { "name": value, "arguments": { value: value }, "result": { "r": value } },
        "unknown_field": { value: value } });
    http(
        &server.console,
        "POST",
        "/v1/events",
        &[("authorization", bearer), ("content-type", "application/json")],
        event.to_string().as_bytes(),
    );
    // Wrong on purpose: the error must not carry the value into the log.
    let wrong = json!({ "kind": value, "time": value });
    http(
        &server.console,
        "POST",
        "/v1/events",
        &[("authorization", bearer), ("content-type", "application/json")],
        wrong.to_string().as_bytes(),
    );
    http(&server.console, "GET", "/api/status", &[("authorization", &format!("Bearer {}", value.replace('\n', " ")))], b"");
}

/// Calls through the egress proxy: in each header, in the URL, as user and as password of the proxy.
fn egress(server: &Server, upstream: &str, value: &str) {
    let flat = value.replace('\n', " ");
    let basic = |text: String| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text));
    let presented = [basic(format!("{}:", flat.replace(':', "-"))), basic(format!("key:{flat}")), format!("Bearer {flat}")];
    for proxy_authorization in &presented {
        let mut headers = vec![
            ("proxy-authorization", proxy_authorization.as_str()),
            ("authorization", flat.as_str()),
            ("cookie", flat.as_str()),
            ("x-api-key", flat.as_str()),
            ("user-agent", flat.as_str()),
        ];
        let own = ["x-watchkeeper-user", "x-watchkeeper-session", "x-watchkeeper-application", "x-watchkeeper-agent"];
        headers.extend(own.map(|name| (name, flat.as_str())));
        let url = format!("{upstream}/files/{0}?token={0}&about={0}&{0}={0}", encode(value));
        http(&server.egress, "POST", &url, &headers, sentence(value).as_bytes());
        http(&server.egress, "POST", &url, &headers[1..], sentence(value).as_bytes());
        // Nobody listens there: the answer is an error.
        http(&server.egress, "CONNECT", "127.0.0.1:9", &headers[1..], b"");
    }
}

/// Messages of the MCP proxy, and definitions of tools, which are kept beside the record.
fn mcp(server: &Server, bearer: &str, value: &str, nth: usize) {
    let flat = value.replace('\n', " ");
    let headers =
        [("content-type", "application/json"), ("mcp-session-id", flat.as_str()), ("x-watchkeeper-user", flat.as_str())];
    for message in [
        json!({ "id": sentence(value), "method": "tools/call", "params": { "name": value, "arguments": { value: sentence(value) }, "_meta": { value: value } } }),
        json!({ "id": 1, "method": "resources/read", "params": { "uri": format!("memo://notes?about={}", sentence(value)), value: 1 } }),
        json!({ "id": 2, "result": { "content": [{ "type": "text", "text": sentence(value) }] } }),
        json!({ "method": sentence(value), "params": { "a": sentence(value) } }),
    ] {
        http(&server.mcp, "POST", "/echo", &headers, message.to_string().as_bytes());
    }
    http(&server.mcp, "POST", "/echo", &headers, sentence(value).as_bytes());
    for description in ["first", "second"] {
        let definition = json!({ "name": value, "description": format!("{description}: {}", sentence(value)) }).to_string();
        let listing = json!({
            "event": { "kind": "installation", "source": { "path": "mcp" }, "session.id": flat },
            "name": flat, "identity": format!("{nth} {flat}"), "place": sentence(value), "server_name": flat, "server_version": "1.0",
            "block": false, "tools": [{ "name": value, "definition": definition }], "all": [value],
        });
        let answer = http(&server.console, "POST", "/v1/mcp/tools", &[("authorization", bearer)], listing.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    }
}

fn import(dir: &Path, data: &Path, planted: &[(&'static str, String)]) {
    let (traces, chats) = (dir.join("traces.jsonl"), dir.join("chats.jsonl"));
    let mut lines = [String::new(), String::new()];
    for (_, value) in planted {
        lines[0] += &(json!({ "trace_id": value, "source": value, "model": value, "messages": [
            { "role": "user", "content": sentence(value) },
            { "role": "assistant", "content": sentence(value), "tool_calls": [{ "function": value, "args": { value: value } }] },
            { "role": "tool", "tool": value, "content": sentence(value), "error": value }] })
        .to_string()
            + "\n");
        lines[1] += &(json!({ "id": value, "user": value, "messages": [{ "role": "user", "content": sentence(value) }, { "role": value, "content": "x" }] }).to_string() + "\n");
        lines[1] += &(json!({ "session_id": value, "user": value, "prompt": sentence(value), "response": sentence(value) })
            .to_string()
            + "\n");
    }
    fs::write(&traces, &lines[0]).unwrap();
    fs::write(&chats, &lines[1]).unwrap();
    assert!(run(&["import", traces.to_str().unwrap()], data).status.success());
    run(&["import", chats.to_str().unwrap()], data);
}

/// An upstream that answers with what it was asked: what a careless model would do.
pub(crate) fn echo_upstream() -> String {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut stream = stream;
                let mut request = Vec::new();
                let mut buffer = [0; 65_536];
                loop {
                    let Ok(read) = stream.read(&mut buffer) else { return };
                    request.extend_from_slice(&buffer[..read]);
                    let text = String::from_utf8_lossy(&request).into_owned();
                    let Some(head_end) = text.find("\r\n\r\n") else { if read == 0 { return } else { continue } };
                    let head = text[..head_end].to_ascii_lowercase();
                    let length: usize = head
                        .lines()
                        .find_map(|line| line.strip_prefix("content-length:"))
                        .map_or(0, |length| length.trim().parse().unwrap());
                    if request.len() < head_end + 4 + length && read > 0 {
                        continue;
                    }
                    let body: Value = serde_json::from_slice(&request[head_end + 4..]).unwrap_or_default();
                    let said = body["messages"].to_string() + &body["model"].to_string();
                    let (kind, answer) = if head.contains("/v1/messages") {
                        ("application/json", json!({ "id": "m", "type": "message", "role": "assistant", "model": body["model"], "content": [{ "type": "text", "text": said }], "stop_reason": "end_turn", "usage": { "input_tokens": 1, "output_tokens": 1 } }).to_string())
                    } else if body["stream"] == true {
                        let chunk = json!({ "id": "c", "object": "chat.completion.chunk", "model": body["model"], "choices": [{ "index": 0, "delta": { "content": said }, "finish_reason": null }] });
                        ("text/event-stream", format!("data: {chunk}\n\ndata: [DONE]\n\n"))
                    } else {
                        ("application/json", json!({ "id": "c", "object": "chat.completion", "model": body["model"], "choices": [{ "index": 0, "message": { "role": "assistant", "content": said }, "finish_reason": "stop" }] }).to_string())
                    };
                    drop(write!(
                        stream,
                        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{answer}",
                        answer.len()
                    ));
                    return;
                }
            });
        }
    });
    format!("http://{address}")
}

fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn grep(dir: &Path, needle: &[u8], places: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            grep(&path, needle, places);
        } else if contains(&fs::read(&path).unwrap(), needle) {
            places.push(path.display().to_string());
        }
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(haystack, needle).is_some()
}
