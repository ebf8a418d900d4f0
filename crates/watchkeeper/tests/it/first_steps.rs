//! What somebody meets who types a command for the first time: what is counted, what is missing, and what to type next.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::{Server, chat_spans, export, http, run, verify, watchkeeper};

/// Everything that a command said.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The number before some words.
fn number_before(text: &str, words: &str) -> u64 {
    let before = text.split(words).next().filter(|before| before.len() < text.len()).unwrap_or_else(|| panic!("{words}: {text}"));
    before.rsplit(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty()).unwrap().parse().unwrap()
}

/// A key of a role, with its id.
fn key(role: &str, data: &Path) -> (String, String) {
    let made = said(&run(&["keys", "create", "--role", role, "--days", "30", "first steps"], data));
    let field = |name: &str| made.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert!(field("ends ").starts_with("in 30 days") && field("name ") == "first steps" && field("role ") == role, "{made}");
    (field("id "), field("key "))
}

#[test]
fn what_is_empty_or_wrong_is_said_with_what_to_type_next() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    assert!(export(&server.otlp_http, &chat_spans("first-steps", 0, 3)));
    server.settle();
    for (arguments, code, words) in [
        (&["hold", "list"][..], 0, &["no hold stands", "watchkeeper hold place CASE --reason"][..]),
        (&["retention", "show", "--segments"], 0, &["no segment yet", "archive.after_minutes"]),
        (&["retention", "sweep"], 0, &["0 segments were dropped", "retention show --segments"]),
        (&["reads"], 0, &["nobody has read contents", "--days"]),
        (&["erase", "--subject", "nobody-at-all"], 3, &["no record names this person", "SELECT DISTINCT user_id"]),
        (&["keys", "list"], 0, &["never"]),
        (&["keys", "create", "--role", "king", "x"], 2, &["--role king", "one of admin, analyst, auditor, sensor"]),
        (&["keys", "create", "--role", "sensor", ""], 2, &["name: ", "checkout service"]),
        (&["keys", "create", "--role", "sensor", "--days", "0", "x"], 2, &["--days"]),
        (&["keys", "revoke", "key_0"], 2, &["key_0", "watchkeeper keys list"]),
        (&["hold", "release", "case-1"], 2, &["case-1", "watchkeeper hold list"]),
        (&["evidence", "export", "--reason", "r"], 2, &["--session ID", "SELECT DISTINCT session_id"]),
        (&["evidence", "export", "--session", "nobody", "--reason", "r", "--out", "/nowhere/x.tgz"], 2, &["/nowhere/x.tgz"]),
    ] {
        let output = run(arguments, &data);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        for words in words {
            assert!(said.contains(words), "{arguments:?}: {words}: {said}");
        }
    }
    let shown = watchkeeper().args(["evidence", "show", "/nowhere/x.tgz"]).output().unwrap();
    assert!(said(&shown).contains("name a bundle") && shown.status.code() == Some(2), "{}", said(&shown));
    // The state stands first, and asks for nothing.
    let status = said(&run(&["status"], &data));
    let lines: Vec<&str> = status.lines().take(4).collect();
    assert!(lines[0].starts_with("recorder   running") && lines[1].contains("`watchkeeper verify`"), "{status}");
    assert_eq!((lines[2], lines[3]), ("lost       nothing that is known of", "needs you  nothing"), "{status}");
    server.stop();
    let status = said(&run(&["status"], &data));
    assert!(status.starts_with("recorder   not running") && status.contains("watchkeeper serve --data "), "{status}");
}

#[test]
fn bundles_of_one_session_do_not_take_each_others_place() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    assert!(export(&server.otlp_http, &chat_spans("twice", 0, 2)));
    server.settle();
    let here = dir.path().join("here");
    fs::create_dir(&here).unwrap();
    let export = || {
        let mut command = watchkeeper();
        command.args(["evidence", "export", "--session", "twice", "--reason", "r", "--data"]).arg(&data).current_dir(&here);
        command.output().unwrap()
    };
    let (one, other) = (export(), export());
    assert!(one.status.success() && other.status.success(), "{}{}", said(&one), said(&other));
    let mut names: Vec<String> =
        fs::read_dir(&here).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(
        names.len() == 2 && names.iter().all(|name| name.starts_with("evidence-twice-2") && name.ends_with(".tar.gz")),
        "{names:?}"
    );
    // What the API hands out names itself, too.
    let bearer = format!("Bearer {}", server.key.as_deref().unwrap());
    let body = json!({ "what": { "session": "twice" }, "reason": "r" }).to_string();
    let ask = || http(&server.console, "POST", "/api/evidence", &[("authorization", &bearer)], body.as_bytes());
    let name = |head: &str| head.lines().find(|line| line.to_lowercase().starts_with("content-disposition:")).unwrap().to_owned();
    let (first, second) = (ask(), ask());
    assert_eq!((first.status, second.status), (200, 200));
    assert!(name(&first.head).contains("attachment; filename=\"evidence-") && name(&first.head) != name(&second.head));
    server.stop();
}

#[test]
fn an_erasure_and_a_verification_say_what_each_of_them_counts() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    assert!(export(&server.otlp_http, &chat_spans("gone", 0, 4)));
    server.settle();
    let erased = run(&["erase", "--subject", "user-1"], &data);
    let text = said(&erased);
    assert!(erased.status.success(), "{text}");
    server.stop();
    let items = number_before(&text, " items (");
    let parts: u64 = ["whole events", "fields of other events", "texts", "tokens in texts of others"]
        .iter()
        .filter(|words| text.contains(&format!(" {words}")))
        .map(|words| number_before(&text, &format!(" {words}")))
        .sum();
    assert_eq!(items, parts, "{text}");
    let (code, told) = verify(&data);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains(&format!("{items} items went, tombstone is record ")), "{told}");
    let fields = number_before(&told, " fields and texts are gone");
    assert!(fields > items && told.contains("each of its fields is counted here"), "{told}");
}

#[test]
fn who_read_what_is_told_to_auditors_with_how_often_and_why() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    assert!(export(&server.otlp_http, &chat_spans("read-me", 0, 2)));
    server.settle();
    let (analyst_id, analyst) = key("analyst", &data);
    let (_, auditor) = key("auditor", &data);
    let (_, sensor) = key("sensor", &data);
    let ask = |key: &str, method: &str, path: &str, body: &str| {
        let answer = http(&server.console, method, path, &[("x-watchkeeper-key", key)], body.as_bytes());
        (answer.status, serde_json::from_slice::<Value>(&answer.body).unwrap_or_default())
    };
    for _ in 0..2 {
        assert_eq!(ask(&analyst, "GET", "/api/trace/read-me?texts=true&reason=case%207", "").0, 200);
    }
    assert_eq!(ask(&analyst, "POST", "/api/query", r#"{"sql":"SELECT prompt FROM prompts"}"#).0, 200);
    // Who says so of themselves reads nothing by it.
    let forged =
        json!({ "kind": "data_access", "name": "record.read", "user.id": analyst_id, "application": "mine" }).to_string();
    assert_eq!(ask(server.key.as_deref().unwrap(), "POST", "/v1/events", &forged).0, 400);
    assert!(
        run(
            &[
                "evidence",
                "export",
                "--session",
                "read-me",
                "--reason",
                "case 8",
                "--out",
                dir.path().join("x.tgz").to_str().unwrap()
            ],
            &data
        )
        .status
        .success()
    );
    server.settle();
    let (status, reads) = ask(&auditor, "GET", "/api/reads", "");
    let rows = reads["rows"].as_array().unwrap();
    assert_eq!((status, rows.len(), &reads["truncated"]), (200, 3, &false.into()), "{reads:#}");
    let of = |action: &str| rows.iter().find(|row| row["action"] == action).unwrap_or_else(|| panic!("{action}: {reads:#}"));
    let trace = of("trace");
    assert_eq!((trace["who"].as_str(), &trace["object"]), (Some(analyst_id.as_str()), &"read-me".into()), "{trace:#}");
    assert_eq!((&trace["times"], &trace["reason"], &trace["name"]), (&2.into(), &"case 7".into(), &"first steps".into()));
    // What somebody looked for quotes contents, which an auditor may not read.
    assert_eq!(of("query")["times"], 1);
    assert!(of("query")["object"].as_str().unwrap().starts_with("query sha256:"), "{reads:#}");
    let (_, whole) = ask(&analyst, "GET", "/api/reads", "");
    assert!(whole["rows"].as_array().unwrap().iter().any(|row| row["object"] == "SELECT prompt FROM prompts"), "{whole:#}");
    assert_eq!(of("evidence.export")["reason"], "case 8");
    assert!(of("evidence.export")["records"].as_u64().unwrap() >= 2, "{reads:#}");
    // One's own, and nobody's.
    assert_eq!(ask(&analyst, "GET", "/api/reads?who=me&days=1", "").1["rows"].as_array().unwrap().len(), 2);
    assert_eq!(ask(&auditor, "GET", "/api/reads?who=me", "").1["rows"], json!([]));
    assert_eq!(ask(&auditor, "GET", "/api/reads?who=x'%20OR%20'1'='1", "").1["rows"], json!([]));
    assert_eq!((ask(&sensor, "GET", "/api/reads", "").0, ask(&auditor, "GET", "/api/reads?days=0", "").0), (403, 400));
    let told = said(&run(&["reads", "--who", &analyst_id], &data));
    assert!(told.contains("read-me") && told.contains("case 7") && !told.contains("case 8"), "{told}");
    server.stop();
    assert_eq!(said(&run(&["reads", "--who", &analyst_id], &data)), told, "the files say the same without a server");
}
