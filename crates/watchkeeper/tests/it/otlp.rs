//! OTLP through the real binary: what frameworks really send, and exporters that meet pressure, TLS, restarts.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::clients::{assert_row, one, python};
use crate::support::{self, SOON, Server, http, root};

const PROTOBUF: &[(&str, &str)] = &[("content-type", "application/x-protobuf")];

/// A server that has what an emitter sends, and what the emitter says of it. That is what it sent when it was recorded
/// (`tests/clients/otel/frameworks/record.py`), or with `WATCHKEEPER_EMITTERS` what it sends now: that names the folder with the
/// emitters' environments.
fn received(name: &str) -> (tempfile::TempDir, Server, Value) {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(&dir.path().join("data"), "[capture]\notlp_join_ms = 8000\n");
    let frameworks = root().join("tests/clients/otel/frameworks");
    let fixtures = match std::env::var_os("WATCHKEEPER_EMITTERS") {
        None => frameworks.join("fixtures").join(name),
        Some(environments) => {
            let mut record = Command::new("python3");
            record.arg(frameworks.join("record.py")).arg(environments).arg(name).env("FIXTURES", dir.path());
            assert!(record.status().unwrap().success());
            dir.path().join(name)
        }
    };
    let mut bodies: Vec<PathBuf> = std::fs::read_dir(&fixtures).unwrap().map(|entry| entry.unwrap().path()).collect();
    bodies.retain(|path| path.extension().is_some_and(|extension| extension == "pb"));
    bodies.sort();
    let signal = |path: &Path| path.file_stem().unwrap().to_str().unwrap().split_once('-').unwrap().1.to_owned();
    let (logs, others): (Vec<_>, Vec<_>) = bodies.into_iter().partition(|path| signal(path) == "logs");
    let send = |path: &Path| {
        let body = std::fs::read(path).unwrap();
        let answer = http(&server.otlp_http, "POST", &format!("/v1/{}", signal(path)), PROTOBUF, &body);
        assert_eq!((answer.status, answer.body.as_slice()), (200, b"".as_slice()), "{}", path.display());
    };
    // Log records come first and are answered when their spans have come.
    std::thread::scope(|scope| {
        logs.iter().for_each(|path| drop(scope.spawn(|| send(path))));
        if !logs.is_empty() {
            wait_for_log(&server, "log records wait for their spans");
        }
        others.iter().for_each(|path| send(path));
    });
    server.settle();
    let said = serde_json::from_slice(&std::fs::read(fixtures.join("said.json")).unwrap()).unwrap();
    (dir, server, said)
}

/// What a conversation with a tool must leave: two calls of the model with their tokens, the question, the answer, the action.
fn conversation(server: &Server, said: &Value) {
    calls(server, said);
    let action = one(server, "SELECT * FROM agent_actions");
    assert_row(&action, &action_of(said));
}

/// The action of a conversation. What is no JSON is a text.
fn action_of(said: &Value) -> Value {
    let parse = |key: &str| serde_json::from_str::<Value>(said[key].as_str().unwrap()).unwrap_or_else(|_| said[key].clone());
    json!({ "tool": said["tool"], "parameters": parse("arguments"), "result": parse("result"), "user_id": said["user"] })
}

/// The calls of a conversation.
fn calls(server: &Server, said: &Value) {
    let of_user = match &said["session"] {
        Value::Null => json!({ "user_id": said["user"] }),
        session => json!({ "user_id": said["user"], "session_id": session }),
    };
    let prompts = server.query("SELECT * FROM prompts ORDER BY time");
    assert!(!prompts.is_empty());
    assert_row(&prompts[0], &json!({ "prompt": said["question"], "application": said["service"] }));
    assert!(prompts[0]["model"].as_str().unwrap().starts_with(said["model"].as_str().unwrap()), "{:#}", prompts[0]);
    assert_row(&prompts[0], &of_user);
    let responses = server.query("SELECT * FROM responses ORDER BY time");
    assert_eq!(responses.len(), 2, "{responses:#?}");
    assert_row(&responses[1], &json!({ "response": said["answer"] }));
    assert_row(&responses[1], &of_user);
    let tokens = server.query("SELECT * FROM token_usage ORDER BY time");
    assert_eq!(tokens.len(), 2, "{tokens:#?}");
    for (row, expected) in tokens.iter().zip(said["tokens"].as_array().unwrap()) {
        assert_row(row, &json!({ "input_tokens": expected["input"], "output_tokens": expected["output"] }));
    }
    let system = server.query("SELECT DISTINCT application, system_prompt FROM system_prompts");
    assert_eq!(system.len(), 1, "{system:#?}");
}

#[test]
fn openai_agents_with_a_tool() {
    let (_dir, server, said) = received("openai_agents");
    conversation(&server, &said);
    let steps = server.query("SELECT DISTINCT agent FROM agent_steps WHERE agent IS NOT NULL");
    assert!(steps.iter().any(|row| row["agent"] == said["agent"]), "{steps:#?}");
    server.stop();
}

#[test]
fn openai_agents_that_hand_over_and_install() {
    let (_dir, server, said) = received("openai_agents_handoff");
    let (first, second) = (&said["agents"][0], &said["agents"][1]);
    let who = json!({ "user_id": said["user"], "session_id": said["session"] });
    // Who handed over to whom, as a step and as the chain behind the second agent.
    let step = one(&server, "SELECT * FROM agent_steps WHERE step = 'handoff'");
    assert_row(&step, &json!({ "name": "handoff to builder", "input": first, "output": second }));
    assert_row(&step, &who);
    let worked = one(&server, "SELECT * FROM agent_steps WHERE step = 'invoke_agent' AND agent = 'builder'");
    assert_row(&worked, &json!({ "delegation": "[\"triage\"]" }));
    let agents =
        server.query("SELECT agent, delegation_chain, on_behalf_of, proof FROM agents WHERE agent IS NOT NULL ORDER BY agent");
    let agent = |name: &Value, chain: Value| json!({ "agent": name, "delegation_chain": chain, "on_behalf_of": said["user"], "proof": "asserted" });
    assert_eq!(agents.iter().filter(|row| **row == agent(second, json!("triage"))).count(), 1, "{agents:#?}");
    assert_eq!(agents.iter().filter(|row| **row == agent(first, Value::Null)).count(), 1, "{agents:#?}");
    // The hand-off is a tool to the model, and no tool that ran.
    let actions = server.query("SELECT * FROM agent_actions ORDER BY time_ns");
    let tools: Vec<&Value> = actions.iter().map(|row| &row["tool"]).collect();
    assert_eq!(tools, [&json!("transfer_to_builder"), &said["tool"]], "{actions:#?}");
    assert_row(&actions[1], &action_of(&said));
    assert_row(&actions[1], &who);
    // The model asked for the command, and a tool ran it.
    let installed = server.query("SELECT * FROM installations");
    assert!(!installed.is_empty());
    for row in &installed {
        let package = json!({
            "package_manager": "pip", "package": "requests", "version": "2.31.0", "package_source": "https://pypi.example/simple",
            "tool": said["tool"],
        });
        assert_row(row, &package);
        assert_row(row, &who);
        let command = row["command"].as_str().unwrap();
        assert!(said["arguments"].as_str().unwrap().contains(command), "{command}");
    }
    server.stop();
}

#[test]
fn langgraph_agent_with_a_tool() {
    let (_dir, server, said) = received("langgraph_agent");
    conversation(&server, &said);
    server.stop();
}

#[test]
fn langgraph_agent_with_retrieval_tool_and_database() {
    let (_dir, server, said) = received("langgraph_database");
    conversation(&server, &said);
    let (session, user) = (said["session"].as_str().unwrap(), &said["user"]);
    let documents = server.query("SELECT document, user_id FROM retrievals ORDER BY rank");
    let expected: Vec<Value> =
        said["documents"].as_array().unwrap().iter().map(|text| json!({ "document": text, "user_id": user })).collect();
    assert_eq!(documents, expected);
    let found = one(&server, "SELECT DISTINCT query, retrieval_source, access_decision FROM retrievals");
    assert_row(
        &found,
        &json!({ "query": said["question"], "retrieval_source": "VectorStoreRetriever", "access_decision": "allowed" }),
    );
    let action = one(&server, "SELECT time FROM agent_actions");
    assert!(action["time"].is_string(), "{action:#}");
    // Each node of the graph is a step; what it decided or answered is its output.
    let steps = server.query("SELECT step, name, output, session_id FROM agent_steps ORDER BY time_ns");
    let of = |name: &str| steps.iter().filter(|row| row["name"] == name).collect::<Vec<_>>();
    for (name, count) in [("look_up", 1), ("answer", 2), ("tools", 1), ("weather agent", 1)] {
        assert_eq!(of(name).len(), count, "{name}: {steps:#?}");
    }
    let output = |row: &Value| row["output"].as_str().unwrap().to_owned();
    assert!(output(of("answer")[0]).contains(said["tool"].as_str().unwrap()), "it decided to call the tool: {steps:#?}");
    assert!(output(of("answer")[1]).contains(said["answer"].as_str().unwrap()), "{steps:#?}");
    // The instrumentation of SQLite tells the statement, and neither user nor session.
    let accesses = server.query("SELECT * FROM data_access WHERE application = 'emitter-langgraph-database' ORDER BY time_ns");
    assert_eq!(accesses.len(), 2, "{accesses:#?}");
    for (row, (object, operation, access)) in
        accesses.iter().zip([("weather, asked", "SELECT", "read"), ("asked", "INSERT", "write")])
    {
        let expected = json!({
            "store_system": "sqlite", "store": "sqlite", "object": object, "operation": operation, "access": access,
            "user_id": user, "session_id": session, "user_told_by": "trace",
            "derived": "[\"db.operation.name\",\"db.collection.name\"]",
        });
        assert_row(row, &expected);
        assert!(row["query"].as_str().unwrap().starts_with(operation), "{row:#}");
    }

    // One picture, by the trace as by the session: prompt, look-up, model, tool, database, answer.
    let tree = [
        "0 agent_step POST /ask",
        "1 agent_step weather agent",
        "2 agent_step look_up",
        "3 retrieval VectorStoreRetriever",
        "2 agent_step answer",
        "3 model_call ChatOpenAI",
        "3 agent_step tools_condition",
        "2 agent_step tools",
        "3 tool_call get_weather",
        "4 data_access SELECT",
        "2 agent_step answer",
        "3 model_call ChatOpenAI",
        "3 agent_step tools_condition",
        "1 data_access INSERT",
    ];
    let trace_id = accesses[0]["trace_id"].as_str().unwrap();
    for id in [trace_id, session] {
        let view = support::json(&["trace", id, "--format", "json"], &server.data);
        let text = |event: &Value, key: &str| event[key].as_str().unwrap().to_owned();
        let events = view["events"].as_array().unwrap();
        let found: Vec<String> =
            events.iter().map(|event| format!("{} {} {}", event["depth"], text(event, "kind"), text(event, "name"))).collect();
        assert_eq!(found, tree, "{id}");
    }
    let shown = support::run(&["trace", session], &server.data);
    let shown = String::from_utf8(shown.stdout).unwrap();
    for line in [
        "      retrieval  VectorStoreRetriever",
        "      tool_call  get_weather  [get_weather]",
        "        data_access  SELECT  [sqlite SELECT weather, asked]",
        said["question"].as_str().unwrap(),
        said["answer"].as_str().unwrap(),
        "SELECT w.report FROM weather w",
    ] {
        assert!(shown.contains(line), "{line:?} is not in {shown}");
    }
    server.stop();
}

#[test]
fn vercel_ai_sdk_with_a_tool() {
    let (_dir, server, said) = received("vercel_ai");
    conversation(&server, &said);
    let agents = server.query("SELECT agent FROM agents");
    assert!(agents.iter().any(|row| row["agent"] == said["agent"]), "{agents:#?}");
    server.stop();
}

#[test]
fn litellm_with_its_own_callback() {
    let (_dir, server, said) = received("litellm_otel");
    calls(&server, &said);
    // It tells of a call without its id where the model asks for it, and with it where the result comes back: two rows.
    let actions = server.query("SELECT * FROM agent_actions ORDER BY time");
    let with = |column: &str| actions.iter().filter(|row| !row[column].is_null() && row["tool"] == said["tool"]).count();
    assert_eq!((with("parameters"), with("result")), (1, 1), "{actions:#?}");
    server.stop();
}

#[test]
fn openlit_spans_logs_and_metrics() {
    let (_dir, server, said) = received("openlit_openai");
    conversation(&server, &said);
    let tokens =
        server.query("SELECT token_type, value FROM metrics WHERE name = 'gen_ai.client.token.usage' ORDER BY token_type, value");
    assert!(!tokens.is_empty());
    server.stop();
}

#[test]
fn llamaindex_retrieval() {
    let (_dir, server, said) = received("llamaindex_retrieval");
    documents(&server, &said);
    let queries = server.query("SELECT DISTINCT query FROM retrievals WHERE query IS NOT NULL");
    assert!(queries.iter().any(|row| row["query"] == said["question"]), "{queries:#?}");
    server.stop();
}

#[test]
fn chroma_query() {
    let (_dir, server, said) = received("chroma_query");
    documents(&server, &said);
    let written = one(&server, "SELECT * FROM data_access WHERE application = 'emitter-chroma'");
    assert_row(&written, &json!({ "store_system": "chroma", "operation": "add", "access": "write", "user_id": said["user"] }));
    server.stop();
}

#[test]
fn chroma_under_openlit() {
    let (_dir, server, said) = received("openlit_chroma");
    // It tells that there was a search and how many documents it brought, not which.
    let search = one(&server, "SELECT * FROM retrievals");
    assert_row(&search, &json!({ "retrieval_source": "cities", "application": said["service"], "access_decision": null }));
    let rows = one(&server, "SELECT attributes ->> '$.\"db.response.returned_rows\"' AS n FROM events WHERE kind = 'retrieval'");
    assert_eq!(rows["n"].to_string(), said["documents"].as_array().unwrap().len().to_string());
    let accesses = server.query(
        "SELECT store_system, object, operation, access FROM data_access WHERE application = 'emitter-openlit-chroma' ORDER BY time_ns",
    );
    let access = |operation: &str, access: &str| json!({ "store_system": "chroma", "object": "cities", "operation": operation, "access": access });
    assert_eq!(accesses, [access("INSERT", "write"), access("PEEK", "read")]);
    server.stop();
}

/// What a retrieval must leave: a row for each document.
fn documents(server: &Server, said: &Value) {
    let rows = server.query("SELECT * FROM retrievals WHERE document IS NOT NULL ORDER BY time, rank");
    for (at, document) in said["documents"].as_array().unwrap().iter().enumerate() {
        let row = rows.iter().find(|row| row["document"] == *document);
        let row = row.unwrap_or_else(|| panic!("{document} is not in {rows:#?}"));
        assert_row(row, &json!({ "user_id": said["user"], "session_id": said["session"], "access_decision": "allowed" }));
        assert!(row["similarity_score"].is_number(), "{row:#}");
        assert_row(row, &json!({ "document_id": said["document_ids"][at] }));
    }
}

/// An emitter that runs beside the test.
struct Emitter(Child);

impl Emitter {
    fn start(environment: &str, script: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(python(environment));
        command.arg(root().join("tests/clients/otel").join(script)).args(arguments);
        command.env("no_proxy", "127.0.0.1,localhost").env_remove("http_proxy").env_remove("HTTP_PROXY");
        // They would be trusted in the place of what the exporter is told to trust.
        command.env_remove("REQUESTS_CA_BUNDLE").env_remove("CURL_CA_BUNDLE");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.envs(variables.iter().copied()).spawn().unwrap())
    }

    /// Waits until it says so on its standard error.
    fn wait_for(&mut self, what: &str) {
        let mut said = BufReader::new(self.0.stderr.take().unwrap()).lines();
        assert!(said.by_ref().map_while(Result::ok).any(|line| line.contains(what)), "it ended before");
        // What it says later is not read: a pipe that is full would stop it.
        std::thread::spawn(move || said.for_each(drop));
    }

    /// Sends a line on its standard input.
    fn tell(&mut self) {
        self.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    /// What it says at its end, and whether it ended well.
    fn end(self) -> (bool, Value, String) {
        let output = self.0.wait_with_output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), serde_json::from_slice(&output.stdout).unwrap_or_default(), complaint)
    }
}

/// Waits until the server's log has a line with this.
fn wait_for_log(server: &Server, what: &str) {
    let until = Instant::now() + SOON;
    loop {
        let log = BufReader::new(std::fs::File::open(&server.log).unwrap());
        if log.lines().map_while(Result::ok).any(|line| line.contains(what)) {
            return;
        }
        assert!(Instant::now() < until, "the log does not say {what:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_real_exporter_comes_back_when_it_is_told_to() {
    for protocol in ["http/protobuf", "grpc"] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start_with(&dir.path().join("data"), "[capture]\notlp_in_flight_mib = 16\n");
        let endpoint = if protocol == "grpc" { &server.otlp_grpc } else { &server.otlp_http };
        let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)];
        // Uploads that do not end take all the memory there is; those that end take none for long.
        let mut stalled = Vec::new();
        fill(&server, &mut stalled);
        let mut emitter = Emitter::start("otel-genai", "emit_otel_genai.py", &["--spans-when-told"], &variables);
        emitter.wait_for("about to export");
        // They are given up after a time, so they are made sure of now.
        fill(&server, &mut stalled);
        let told = turned_away(&server);
        emitter.tell();
        let until = Instant::now() + SOON;
        while turned_away(&server) <= told {
            assert!(Instant::now() < until, "{protocol}: nobody was told to come back");
            std::thread::sleep(Duration::from_millis(20));
        }
        stalled.clear();
        let (ended_well, said, complaint) = emitter.end();
        assert!(ended_well, "{protocol}: {complaint}");
        server.settle();
        let responses = server.query("SELECT response FROM responses ORDER BY time");
        assert_eq!(responses.len(), 2, "{protocol}: {responses:#?} {complaint}");
        assert_eq!(responses[1]["response"], said["answer"]);
        server.stop();
    }
}

/// How many exports the server has told to come back.
fn turned_away(server: &Server) -> usize {
    let log = std::fs::read_to_string(&server.log).unwrap();
    log.lines().filter(|line| line.contains("an export was told to come back")).count()
}

/// Starts uploads that do not end, until the server tells the smallest one to come back.
fn fill(server: &Server, stalled: &mut Vec<TcpStream>) {
    let until = Instant::now() + SOON;
    loop {
        let answer = http(&server.otlp_http, "POST", "/v1/traces", PROTOBUF, &[0; 1024]);
        if answer.status == 503 {
            assert!(answer.head.to_ascii_lowercase().contains("retry-after: 1"), "{}", answer.head);
            return;
        }
        assert!(Instant::now() < until, "the server takes everything: {}", answer.head);
        for bytes in [4 << 20, 512 << 10, 64 << 10, 8 << 10, 2 << 10, 1 << 10] {
            stalled.push(stalled_upload(&server.otlp_http, bytes));
        }
    }
}

/// Sends all of a body but its end. One that is refused is closed by the server, which is no error here.
fn stalled_upload(base: &str, bytes: usize) -> TcpStream {
    let address: SocketAddr = base.trim_start_matches("http://").parse().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
        bytes + 1
    );
    drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&vec![0; bytes])));
    stream
}

#[test]
fn a_client_certificate_stands_for_a_key() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let at = |name: &str| dir.path().join(name).display().to_string();
    let config = format!(
        "[capture]\nrequire_key = true\n[tls]\ncertificate = {:?}\nkey = {:?}\nclient_ca = {:?}\n",
        at("server.pem"),
        at("server.key"),
        at("ca.pem")
    );
    let server = Server::start_with(&dir.path().join("data"), &config);
    for protocol in ["http/protobuf", "grpc"] {
        let address = if protocol == "grpc" { &server.otlp_grpc } else { &server.otlp_http };
        let endpoint = address.replace("http:", "https:").replace("127.0.0.1", "localhost");
        let (ca, certificate, key, stranger) = (at("ca.pem"), at("client.pem"), at("client.key"), at("stranger.pem"));
        let of_server = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", ca.as_str()),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", key.as_str()),
            // The one that is refused gives up soon.
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "5"),
        ];
        let known = [&of_server[..], &[("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate.as_str())]].concat();
        let (ended_well, said, complaint) = Emitter::start("otel-genai", "emit_otel_genai.py", &[], &known).end();
        assert!(ended_well, "{protocol}: {complaint}");
        server.settle();
        let count = server.query("SELECT count(*) AS n FROM responses")[0]["n"].as_u64().unwrap();
        assert!(count >= 2, "{protocol}: {count} {complaint}");
        assert_eq!(server.query("SELECT DISTINCT user_id FROM prompts")[0]["user_id"], said["user"]);
        let unknown = [&of_server[..], &[("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", stranger.as_str())]].concat();
        let (_, _, complaint) = Emitter::start("otel-genai", "emit_otel_genai.py", &[], &unknown).end();
        assert!(!complaint.is_empty(), "a stranger's export must fail");
        server.settle();
        assert_eq!(server.query("SELECT count(*) AS n FROM responses")[0]["n"], count, "{protocol}");
    }
    server.stop();
}

/// An authority, and a server and a client with certificates of it; a stranger's certificate, of the same key, is of nobody.
pub(crate) fn certificates(dir: &Path) {
    let openssl = |arguments: &str| {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().unwrap();
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    for name in ["ca", "server", "client"] {
        openssl(&format!("genpkey -out {name}.key -algorithm EC -pkeyopt ec_paramgen_curve:P-256"));
    }
    let root = "-x509 -days 2 -config /dev/null -addext basicConstraints=critical,CA:TRUE";
    openssl(&format!("req {root} -new -key ca.key -subj /CN=authority -out ca.pem"));
    openssl("req -x509 -days 2 -config /dev/null -new -key client.key -subj /CN=client -out stranger.pem");
    for (name, extension) in [("server", "subjectAltName=DNS:localhost,IP:127.0.0.1"), ("client", "extendedKeyUsage=clientAuth")]
    {
        std::fs::write(dir.join(format!("{name}.ext")), extension).unwrap();
        openssl(&format!("req -new -key {name}.key -subj /CN={name} -out {name}.csr -config /dev/null"));
        openssl(&format!("x509 -req -days 2 -in {name}.csr -CA ca.pem -CAkey ca.key -extfile {name}.ext -out {name}.pem"));
    }
}

#[test]
fn content_of_log_records_is_joined_to_the_calls_and_recorded_once() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start_with(&data, "[capture]\notlp_join_ms = 8000\n");
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", server.otlp_http.as_str()), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")];
    let mut emitter = Emitter::start("otel-v2", "emit_otel_v2.py", &["--spans-when-told"], &variables);
    wait_for_log(&server, "log records wait for their spans");
    emitter.tell();
    let (ended_well, said, complaint) = emitter.end();
    assert!(ended_well, "{complaint}");
    server.settle();
    // As with an instrumentation that puts content on its spans: a row for each call, and nothing twice.
    let prompt = one(&server, "SELECT * FROM prompts");
    assert_row(&prompt, &json!({ "prompt": said["question"], "user_id": said["user"], "session_id": said["session"] }));
    let responses = server.query("SELECT * FROM responses ORDER BY time");
    assert_eq!(responses.len(), 2, "{responses:#?}");
    assert_row(&responses[1], &json!({ "response": said["answer"], "model": said["response_model"], "input_tokens": 57 }));
    let action = one(&server, "SELECT * FROM agent_actions");
    assert_row(&action, &json!({ "tool": said["tool"], "call_id": said["call_id"], "user_id": said["user"] }));
    let joined = one(&server, "SELECT sum(attributes ->> '$.\"watchkeeper.joined.records\"') AS n FROM events");
    let stubs = one(&server, "SELECT count(*) AS n FROM events WHERE attributes ->> '$.\"watchkeeper.joined.to\"' IS NOT NULL");
    assert!(joined["n"].as_u64().unwrap() >= 6, "{joined}");
    assert_eq!(joined["n"], stubs["n"]);
    // Metrics tell of the same tokens, beside the calls.
    let metrics = server.query("SELECT value FROM metrics WHERE name = 'gen_ai.client.token.usage' AND token_type = 'input'");
    assert_eq!(metrics.iter().map(|row| row["value"].as_f64().unwrap()).sum::<f64>(), 99.0, "{metrics:#?}");
    server.stop();
}

#[test]
fn what_is_sent_again_is_recorded_once_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let fixtures = root().join("tests/clients/otel/frameworks/fixtures/openlit_openai");
    let body = |signal: &str| {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(&fixtures).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        std::fs::read(paths.into_iter().find(|path| path.display().to_string().ends_with(&format!("{signal}.pb"))).unwrap())
            .unwrap()
    };
    let mut counts = Vec::new();
    for _ in 0..2 {
        let server = Server::start_with(&data, "[capture]\notlp_join_ms = 8000\n");
        for _ in 0..2 {
            std::thread::scope(|scope| {
                let server = &server;
                let logs = scope.spawn(|| http(&server.otlp_http, "POST", "/v1/logs", PROTOBUF, &body("logs")).status);
                wait_for_log(server, "log records wait for their spans");
                for signal in ["traces", "metrics"] {
                    assert_eq!(http(&server.otlp_http, "POST", &format!("/v1/{signal}"), PROTOBUF, &body(signal)).status, 200);
                }
                assert_eq!(logs.join().unwrap(), 200);
            });
            server.settle();
            counts.push(server.query("SELECT count(*) AS n FROM events WHERE source <> 'internal'")[0]["n"].clone());
        }
        server.stop();
    }
    assert!(counts.iter().all(|count| *count == counts[0] && count.as_u64().unwrap() > 0), "{counts:?}");
}
