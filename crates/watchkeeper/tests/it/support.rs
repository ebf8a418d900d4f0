//! Starts the binary, talks to it, and cleans up after it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use serde_json::Value;
use tempfile::TempDir;

use crate::asked;

/// How long anything that should happen soon may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// The binary under test: the one that was built with the tests, or the one that `WATCHKEEPER_BINARY` names.
pub(crate) fn watchkeeper() -> Command {
    let binary = std::env::var_os("WATCHKEEPER_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_watchkeeper").into());
    let mut command = Command::new(binary);
    command.env_remove("WATCHKEEPER_DATA").env("WATCHKEEPER_ROOT_KEY", root_key());
    command
}

/// The root key of this run of the tests, outside of every data directory. The first server makes it.
pub(crate) fn root_key() -> PathBuf {
    static DIR: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());
    DIR.path().join("root.key")
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A server under test.
pub(crate) struct Server {
    child: Child,
    pub(crate) data: PathBuf,
    pub(crate) otlp_grpc: String,
    pub(crate) otlp_http: String,
    pub(crate) gateway: String,
    pub(crate) console: String,
    pub(crate) mcp: String,
    pub(crate) egress: String,
    pub(crate) key: Option<String>,
    pub(crate) log: PathBuf,
}

impl Server {
    /// Starts a server on ports of the system's choice and waits until it is ready.
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_with(data, "")
    }

    /// Starts a server with more configuration, TOML.
    pub(crate) fn start_with(data: &Path, config: &str) -> Self {
        Starting::spawn(data, config, &[]).ready().unwrap_or_else(|why| panic!("{why}"))
    }

    /// Ends it the gentle way, and checks that it ended well.
    pub(crate) fn stop(mut self) {
        signal(self.child.id(), "TERM");
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", std::fs::read_to_string(&self.log).unwrap_or_default());
        asked::tell();
    }

    /// Sends SIGHUP: signatures are read anew.
    pub(crate) fn hang_up(&self) {
        signal(self.child.id(), "HUP");
    }

    /// Ends it the hard way, while others may be talking to it.
    pub(crate) fn signal_kill(&self) {
        signal(self.child.id(), "KILL");
    }

    /// Asks it to end and waits for that for a time; `None` when it had to be killed.
    pub(crate) fn end(mut self, patience: Duration) -> Option<std::process::ExitStatus> {
        signal(self.child.id(), "TERM");
        let until = Instant::now() + patience;
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return Some(status),
                None if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
                None => return None,
            }
        }
    }

    /// Resident memory in MiB.
    pub(crate) fn resident_mib(&self) -> u64 {
        self.resident_kib() / 1024
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Whether it runs, and how it ended if it does not: state and exit code of proc_pid_stat(5).
    pub(crate) fn state(&self) -> String {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        format!("is in state {:?}, exit code {:?}", fields.first(), fields.last())
    }

    /// How many sockets it has open, and how many other files.
    pub(crate) fn open_files(&self) -> (usize, usize) {
        let links = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        // One that was closed meanwhile has no link.
        let names = links.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        let (sockets, files): (Vec<_>, Vec<_>) = names.partition(|name| name.to_string_lossy().starts_with("socket:"));
        (sockets.len(), files.len())
    }

    /// Waits until everything recorded is detected, indexed and sealed, and gives the status.
    pub(crate) fn settle(&self) -> Value {
        self.settle_within(SOON)
    }

    /// As [`Server::settle`], after so much that it takes longer.
    pub(crate) fn settle_within(&self, patience: Duration) -> Value {
        let until = Instant::now() + patience;
        loop {
            let status = json(&["status", "--format", "json"], &self.data);
            let of = |what: &str| {
                let row = status.as_array().unwrap().iter().find(|row| row["what"] == format!("progress.{what}"));
                row.map_or(0, |row| row["value"].as_u64().unwrap())
            };
            if of("recorded") > 0 && ["sealed", "indexed", "detected"].iter().all(|&what| of(what) >= of("recorded")) {
                return status;
            }
            assert!(Instant::now() < until, "the consumers do not catch up: {status}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Rows of a query, by way of the command line.
    pub(crate) fn query(&self, sql: &str) -> Vec<Value> {
        asked::sql(sql);
        rows(sql, &self.data)
    }
}

/// A server that was started and has not said yet that it is ready. It is killed when it is dropped.
pub(crate) struct Starting {
    server: Server,
    lines: mpsc::Receiver<String>,
}

impl Starting {
    /// Starts a server with more configuration, TOML, under another command (`strace`, `eatmydata`) if one is given.
    pub(crate) fn spawn(data: &Path, config: &str, under: &[String]) -> Self {
        let beside = data.parent().unwrap();
        let log = beside.join("server.log");
        let config_path = beside.join("watchkeeper.toml");
        std::fs::write(&config_path, config).unwrap();
        Self::spawn_with(data, &config_path, &log, under)
    }

    /// Starts a server whose configuration and log lie elsewhere than beside the data.
    pub(crate) fn spawn_with(data: &Path, config: &Path, log: &Path, under: &[String]) -> Self {
        let mut command = match under {
            [] => watchkeeper(),
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(watchkeeper().get_program());
                command.env_remove("WATCHKEEPER_DATA").env("WATCHKEEPER_ROOT_KEY", root_key());
                command
            }
        };
        command.args(["serve", "--any-port", "--data"]).arg(data).arg("--config").arg(config);
        let stderr = std::fs::File::options().create(true).append(true).open(log).unwrap();
        if std::env::var_os("WATCHKEEPER_LOG").is_none() {
            command.env("WATCHKEEPER_LOG", "debug");
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let stdout = child.stdout.take().unwrap();
        // What it says is read to the end, so that it never waits for us.
        std::thread::spawn(move || BufReader::new(stdout).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        let server = Server {
            child,
            data: data.to_owned(),
            otlp_grpc: String::new(),
            otlp_http: String::new(),
            gateway: String::new(),
            console: String::new(),
            mcp: String::new(),
            egress: String::new(),
            key: None,
            log: log.to_owned(),
        };
        Self { server, lines }
    }

    /// Ends it the hard way, wherever its start is.
    pub(crate) fn signal_kill(&self) {
        self.server.signal_kill();
    }

    /// Waits until it is ready; the error says what it said when it ended before.
    pub(crate) fn ready(self) -> Result<Server, String> {
        let Self { mut server, lines } = self;
        let mut said = Vec::new();
        loop {
            match lines.recv_timeout(SOON) {
                Err(RecvTimeoutError::Timeout) => return Err(format!("the server does not get ready: {said:?}")),
                Err(RecvTimeoutError::Disconnected) => {
                    let status = server.child.wait().unwrap();
                    let log = std::fs::read_to_string(&server.log).unwrap_or_default();
                    let last = log.lines().last().unwrap_or_default();
                    return Err(format!("the server ended before it was ready, {status}: {said:?} {last}"));
                }
                Ok(line) if line == "ready" => return Ok(server),
                Ok(line) => {
                    if let Some((name, value)) = line.split_once("  ") {
                        let value = value.trim().to_owned();
                        match name.trim() {
                            "OTLP/gRPC" => server.otlp_grpc = value,
                            "OTLP/HTTP" => server.otlp_http = value,
                            "gateway" => server.gateway = value,
                            "console" => server.console = value,
                            "MCP" => server.mcp = value,
                            "egress" => server.egress = value,
                            "admin key" => server.key = Some(value),
                            _ => {}
                        }
                    }
                    said.push(line);
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends a signal; to a process that has ended already, none.
fn signal(pid: u32, name: &str) {
    Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).stderr(Stdio::null()).status().unwrap();
}

/// Runs a command on a data directory and gives its output, whatever its exit code.
pub(crate) fn run(arguments: &[&str], data: &Path) -> Output {
    watchkeeper().args(arguments).arg("--data").arg(data).output().unwrap()
}

/// Runs a command that must succeed and gives its JSON.
pub(crate) fn json(arguments: &[&str], data: &Path) -> Value {
    let output = run(arguments, data);
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{arguments:?}: {} {}", said(&output.stderr), said(&output.stdout));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Rows of a query.
pub(crate) fn rows(sql: &str, data: &Path) -> Vec<Value> {
    json(&["query", sql, "--format", "json"], data).as_array().unwrap().clone()
}

/// Rows of a query that may have more of them than one answer holds. The query must have an order.
pub(crate) fn all_rows(sql: &str, data: &Path) -> Vec<Value> {
    const PAGE: usize = 5_000;
    let mut all = Vec::new();
    loop {
        let page = rows(&format!("{sql} LIMIT {PAGE} OFFSET {}", all.len()), data);
        let last = page.len() < PAGE;
        all.extend(page);
        if last {
            return all;
        }
    }
}

/// The exit code and the output of `verify`.
pub(crate) fn verify(data: &Path) -> (i32, String) {
    let output = watchkeeper().arg("verify").arg(data).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), text)
}

/// The exit code and the output of the second verifier.
pub(crate) fn wkverify(arguments: &[&str]) -> (i32, String) {
    let script = root().join("tests/verifier/wkverify.py");
    let output = Command::new(crate::clients::python("verifier")).arg(script).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), text)
}

/// Feeds a command's standard input.
pub(crate) fn feed(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// What a server answers: status, headers, body.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// One HTTP/1.1 request over a connection of its own, written by hand so that it can be as wrong as wanted. Status 0 when
/// there is no answer.
pub(crate) fn http(base: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let address: SocketAddr = base.trim_start_matches("http://").parse().unwrap();
    let Ok(mut stream) = TcpStream::connect(address) else {
        return Answer { status: 0, head: String::new(), body: Vec::new() };
    };
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut head =
        format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    drop(stream.write_all((head + "\r\n").as_bytes()));
    // A server that has seen enough may answer and close before it has read everything.
    drop(stream.write_all(body));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(answer.len());
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Answer { status, head, body: answer.get(end + 4..).unwrap_or_default().to_vec() }
}

/// A request with chat spans, 2 KB each, whose session is `session` and whose prompts are numbered from `first`.
pub(crate) fn chat_spans(session: &str, first: u64, count: u64) -> ExportTraceServiceRequest {
    let filler = "The quick brown fox jumps over the lazy dog while the harbour master writes the log. ".repeat(18);
    let spans = (first..first + count).map(|number| {
        let input = serde_json::json!([{ "role": "user", "parts": [{ "type": "text", "content": format!("question {number} of {session}: {filler}") }] }]);
        let output = serde_json::json!([{ "role": "assistant", "parts": [{ "type": "text", "content": format!("answer {number}") }], "finish_reason": "stop" }]);
        Span {
            trace_id: (u128::from(number) + 1).to_be_bytes().to_vec(),
            span_id: (number + 1).to_be_bytes().to_vec(),
            name: "chat gpt-4o".to_owned(),
            kind: 3,
            start_time_unix_nano: 1_790_000_000_000_000_000 + number,
            end_time_unix_nano: 1_790_000_000_900_000_000 + number,
            attributes: vec![
                attribute("gen_ai.operation.name", "chat"),
                attribute("gen_ai.provider.name", "openai"),
                attribute("gen_ai.request.model", "gpt-4o"),
                attribute("gen_ai.conversation.id", session),
                attribute("user.id", "user-1"),
                attribute("gen_ai.input.messages", &input.to_string()),
                attribute("gen_ai.output.messages", &output.to_string()),
            ],
            ..Span::default()
        }
    });
    let scope =
        InstrumentationScope { name: "opentelemetry.instrumentation.genai.openai".to_owned(), ..InstrumentationScope::default() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans: spans.collect(), schema_url: String::new() }];
    let resource = Resource { attributes: vec![attribute("service.name", "load")], ..Resource::default() };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource: Some(resource), scope_spans, schema_url: String::new() }],
    }
}

pub(crate) fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) }),
        ..KeyValue::default()
    }
}

/// Exports spans over OTLP/HTTP; `true` when they were acknowledged.
pub(crate) fn export(server: &str, request: &ExportTraceServiceRequest) -> bool {
    http(server, "POST", "/v1/traces", &[("content-type", "application/x-protobuf")], &request.encode_to_vec()).status == 200
}
