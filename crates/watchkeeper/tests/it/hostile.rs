//! Hostile input: a clear error with the right status, the neighbour is served, memory stays bounded.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use prost::Message as _;
use serde_json::{Value, json};

use crate::support::{SOON, Server, Starting, attribute, chat_spans, export, http, verify};
use crate::volume::{has_program, skip};

/// Most memory that the server may hold after everything below, in MiB.
const RESIDENT_MIB_MAX: u64 = 700;

/// Name, base, path, headers, body, the statuses that are right.
type Case<'a> = (&'a str, &'a str, &'a str, &'a [(&'a str, &'a str)], &'a [u8], &'a [u16]);

#[test]
fn hostile_input_is_refused_clearly_and_hurts_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    let bearer = format!("Bearer {}", server.key.clone().unwrap());
    let authorised = [("authorization", &*bearer), ("content-type", "application/json")];
    let json_type = [("content-type", "application/json")];
    let protobuf = [("content-type", "application/x-protobuf")];
    let deep_array = "[".repeat(10_000) + &"]".repeat(10_000);
    let deep_value = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"name":"x","traceId":"{:032x}","spanId":"{:016x}","attributes":[{{"key":"k","value":{}{}}}]}}]}}]}}]}}"#,
        1,
        1,
        r#"{"arrayValue":{"values":["#.repeat(10_000),
        r"]}}".repeat(10_000)
    );
    let hundred_mb = vec![b'x'; 100 * 1024 * 1024];
    let mut truncated = chat_spans("x", 1, 3).encode_to_vec();
    truncated.truncate(truncated.len() / 2);
    // A length-delimited field that claims 2^63 bytes, and a varint that never ends.
    let negative_length: &[u8] = &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let endless_varint: &[u8] = &[0xff; 64];

    let cases: Vec<Case<'_>> = vec![
        ("broken protobuf", &server.otlp_http, "/v1/traces", &protobuf, &truncated, &[400]),
        ("negative length", &server.otlp_http, "/v1/traces", &protobuf, negative_length, &[400]),
        ("endless varint", &server.otlp_http, "/v1/traces", &protobuf, endless_varint, &[400]),
        ("invalid UTF-8 in protobuf", &server.otlp_http, "/v1/traces", &protobuf, &[0x0a, 0x04, 0x1a, 0x02, 0xff, 0xfe], &[400]),
        ("broken JSON", &server.otlp_http, "/v1/traces", &json_type, b"{\"resourceSpans\":[", &[400]),
        ("JSON of another kind", &server.otlp_http, "/v1/traces", &json_type, b"[1,2]", &[400]),
        (
            "invalid UTF-8 in JSON",
            &server.otlp_http,
            "/v1/traces",
            &json_type,
            b"{\"resourceSpans\":[{\"schemaUrl\":\"\xff\xfe\"}]}",
            &[400],
        ),
        ("deep OTLP JSON", &server.otlp_http, "/v1/traces", &json_type, deep_value.as_bytes(), &[400]),
        ("deep array", &server.otlp_http, "/v1/logs", &json_type, deep_array.as_bytes(), &[400]),
        ("unknown type", &server.otlp_http, "/v1/traces", &[("content-type", "text/plain")], b"x", &[415]),
        (
            "not gzip",
            &server.otlp_http,
            "/v1/traces",
            &[("content-type", "application/x-protobuf"), ("content-encoding", "gzip")],
            b"not gzip",
            &[400],
        ),
        ("100 MB of OTLP", &server.otlp_http, "/v1/traces", &protobuf, &hundred_mb, &[413]),
        (
            "a web page",
            &server.otlp_http,
            "/v1/traces",
            &[("content-type", "application/json"), ("origin", "https://evil.example")],
            b"{}",
            &[403],
        ),
        ("broken chat", &server.gateway, "/v1/chat/completions", &json_type, b"{\"model\":", &[400]),
        ("deep chat", &server.gateway, "/v1/chat/completions", &json_type, deep_array.as_bytes(), &[400]),
        ("100 MB of chat", &server.gateway, "/v1/chat/completions", &json_type, &hundred_mb, &[413]),
        ("broken events", &server.console, "/v1/events", &authorised, b"{\"kind\":\"tool_call\"", &[400]),
        ("deep events", &server.console, "/v1/events", &authorised, deep_array.as_bytes(), &[400]),
        ("unknown kind", &server.console, "/v1/events", &authorised, b"{\"kind\":\"wizardry\"}", &[400]),
        ("100 MB of events", &server.console, "/v1/events", &authorised, &hundred_mb, &[413]),
        ("no key", &server.console, "/v1/events", &json_type, b"{}", &[401]),
        ("wrong channel", &server.console, "/v1/inspect", &authorised, b"{\"text\":\"x\",\"channel\":\"dream\"}", &[400]),
        ("SQL that writes", &server.console, "/api/query", &authorised, b"{\"sql\":\"DROP TABLE events\"}", &[400]),
        ("SQL that reads files", &server.console, "/api/query", &authorised, b"{\"sql\":\"ATTACH '/etc/passwd' AS p\"}", &[400]),
    ];
    let mut first = 0;
    for (name, base, path, headers, body, expected) in cases {
        let answer = http(base, "POST", path, headers, body);
        assert!(expected.contains(&answer.status), "{name}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        assert!(!answer.body.is_empty() || answer.status == 413, "{name}: an error must say what is wrong");
        // The neighbour.
        assert!(export(&server.otlp_http, &chat_spans("neighbour", first, 1)), "{name}: the neighbour was not served");
        first += 1;
    }

    // A gzip bomb: 1 GB of zeros in 1 MB.
    let bomb = gzip_of_zeros(1024);
    let answer = http(
        &server.otlp_http,
        "POST",
        "/v1/traces",
        &[("content-type", "application/x-protobuf"), ("content-encoding", "gzip")],
        &bomb,
    );
    assert!(matches!(answer.status, 400 | 413), "bomb: {}", answer.status);

    // Clients that say half a sentence and wait.
    let hanging: Vec<TcpStream> = (0..64)
        .map(|_| {
            let mut stream =
                TcpStream::connect(server.otlp_http.trim_start_matches("http://").parse::<SocketAddr>().unwrap()).unwrap();
            stream.write_all(b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-le").unwrap();
            stream
        })
        .collect();
    assert!(export(&server.otlp_http, &chat_spans("neighbour", 1_000, 1)));
    drop(hanging);

    // Not HTTP at all, on every port.
    for base in [&server.otlp_grpc, &server.otlp_http, &server.gateway, &server.console] {
        let mut stream = TcpStream::connect(base.trim_start_matches("http://").parse::<SocketAddr>().unwrap()).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.write_all(&[0; 1_024]).unwrap();
        drop(stream.shutdown(std::net::Shutdown::Write));
        drop(stream.read_to_end(&mut Vec::new()));
    }

    // Times and values that no clock and no model gives.
    let mut odd = chat_spans("odd", 2_000, 6).resource_spans.remove(0);
    let spans = &mut odd.scope_spans[0].spans;
    (spans[0].start_time_unix_nano, spans[0].end_time_unix_nano) = (0, 0);
    (spans[1].start_time_unix_nano, spans[1].end_time_unix_nano) = (u64::MAX, 1);
    spans[2].start_time_unix_nano = 1;
    spans[3].trace_id = vec![1; 3];
    spans[4].trace_id = vec![0; 16];
    spans[5].attributes.push(KeyValue {
        key: "nan".to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::DoubleValue(f64::NAN)) }),
        ..KeyValue::default()
    });
    spans[5].attributes.extend((0..5_000).map(|n| attribute(&format!("k{n}"), "v")));
    let odd = opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest { resource_spans: vec![odd] };
    assert!(export(&server.otlp_http, &odd));

    server.settle();
    let count = |sql: &str| server.query(sql)[0]["n"].as_u64().unwrap();
    assert_eq!(count("SELECT count(*) AS n FROM events WHERE session_id = 'neighbour'"), first + 1);
    assert_eq!(count("SELECT count(*) AS n FROM events WHERE session_id = 'odd'"), 6);
    let resident = server.resident_mib();
    println!("resident after all of it: {resident} MiB");
    assert!(resident < RESIDENT_MIB_MAX, "{resident} MiB");
    server.stop();
    assert_eq!(verify(&data).0, 0);
}

#[test]
fn errors_name_the_field_and_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let bearer = format!("Bearer {}", server.key.clone().unwrap());
    let body = json!([{ "kind": "tool_call" }, { "kind": "tool_call", "time": "yesterday" }]).to_string();
    let answer = http(
        &server.console,
        "POST",
        "/v1/events",
        &[("authorization", &bearer), ("content-type", "application/json")],
        body.as_bytes(),
    );
    assert_eq!(answer.status, 400);
    let error: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(error["error"]["index"], 1, "{error}");
    assert_eq!(error["error"]["field"], "time", "{error}");
    assert!(error["error"]["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{error}");
    let events = server.query("SELECT count(*) AS n FROM events WHERE kind = 'tool_call'");
    assert_eq!(events[0]["n"], 0, "a call is recorded whole or not at all");
    let policy = http(&server.console, "GET", "/", &[], b"").head.to_ascii_lowercase();
    assert!(policy.contains("content-security-policy: default-src 'none'"), "{policy}");
}

fn gzip_of_zeros(mib: usize) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let block = vec![0; 1024 * 1024];
    for _ in 0..mib {
        encoder.write_all(&block).unwrap();
    }
    encoder.finish().unwrap()
}

/// Connections that are opened without a word, many more than there are file descriptors.
const SILENT_CONNECTIONS: usize = 300;

#[test]
fn connections_do_not_take_the_files_of_the_record() {
    if !has_program("prlimit") {
        return skip("hostile::connections_do_not_take_the_files_of_the_record", "prlimit is not there");
    }
    let dir = tempfile::tempdir().unwrap();
    let (data, config, log) = (dir.path().join("data"), dir.path().join("watchkeeper.toml"), dir.path().join("log"));
    std::fs::write(&config, "").unwrap();
    let few = ["prlimit", "--nofile=160:160"].map(str::to_owned);
    let server = Starting::spawn_with(&data, &config, &log, &few).ready().unwrap();
    let connect = |base: &str| {
        let address: SocketAddr = base.trim_start_matches("http://").parse().unwrap();
        TcpStream::connect_timeout(&address, SOON)
    };
    let bases = [&server.otlp_http, &server.otlp_grpc, &server.gateway];
    let silent: Vec<_> = (0..SILENT_CONNECTIONS).filter_map(|n| connect(bases[n % bases.len()]).ok()).collect();
    assert!(silent.len() > 160, "{} connections", silent.len());
    // The API has places of its own.
    let health = || http(&server.console, "GET", "/healthz", &[], b"").status;
    assert_eq!(health(), 200);
    drop(silent);
    let body = chat_spans("few", 1, 5).encode_to_vec();
    let send = || http(&server.otlp_http, "POST", "/v1/traces", &[("content-type", "application/x-protobuf")], &body).status;
    // The server notices one after the other that they are gone.
    let began = std::time::Instant::now();
    while send() != 200 {
        assert!(began.elapsed() < SOON, "{}", std::fs::read_to_string(&log).unwrap());
    }
    server.settle();
    assert_eq!(health(), 200, "{}", std::fs::read_to_string(&log).unwrap());
    server.stop();
    assert_eq!(verify(&data).0, 0);
}
