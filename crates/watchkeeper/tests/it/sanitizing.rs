//! The operator's policy of the sanitiser, through the binary: actions, types, and that whoever opens the record keeps to it.

use std::path::Path;

use serde_json::{Value, json};

use crate::lifecycle::everything;
use crate::planted_secrets::echo_upstream;
use crate::support::{Server, feed, http, rows, run, watchkeeper};

const POLICY: &str = r#"
[sanitize.actions]
PHONE = "mask"
IBAN = "drop"
IP_ADDRESS = "keep"

[[sanitize.types]]
name = "EMPLOYEE_ID"
pattern = 'E-\d{6}'
positive = ["badge E-000001"]
negative = ["E-1", "THE-000001"]
"#;

const TEXT: &str = "E-424242 called +44 20 7946 0958 from 203.0.113.9 about DE89370400440532013000";

fn sanitize(arguments: &[&str], lines: &[Value]) -> (bool, Vec<Value>, String) {
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let output = feed(watchkeeper().arg("sanitize").args(arguments), input.as_bytes());
    let answers = String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.success(), answers, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Writes a configuration and gives its path.
fn config(dir: &Path, text: &str) -> String {
    let path = dir.join("policy.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn sanitize_takes_actions_and_types_of_a_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let path = config(dir.path(), POLICY);
    let (good, answers, _) = sanitize(&["--config", &path], &[json!({ "text": TEXT })]);
    assert!(good);
    let spans: Vec<String> =
        answers[0]["spans"].as_array().unwrap().iter().map(|span| format!("{} {}", span["type"], span["action"])).collect();
    assert_eq!(spans, [r#""EMPLOYEE_ID" "token""#, r#""PHONE" "mask""#, r#""IBAN" "drop""#]);
    let text = answers[0]["text"].as_str().unwrap();
    assert!(text.starts_with("<EMPLOYEE_ID:run:") && text.ends_with(" from 203.0.113.9 about <IBAN:dropped>"), "{text}");
    assert!(text.contains("<PHONE:run-m:") && text.contains(":+44-0958>"), "{text}");
    for (wrong, words) in [
        ("[sanitize.actions]\nPASSWORD = \"keep\"", ["sanitize.actions.PASSWORD", "choose token, mask, drop or encrypt"]),
        ("[sanitize.actions]\nEMIAL = \"mask\"", ["sanitize.actions.EMIAL", "docs/reference/sanitiser.md"]),
        ("[sanitize.actions]\nEMAIL = \"blur\"", ["blur", "mask"]),
        ("[[sanitize.types]]\nname = \"B1\"\npattern = 'B\\d+'\npositive = [\"B1\"]", ["\"B1\"", "upper end"]),
    ] {
        let (good, _, said) = sanitize(&["--config", &config(dir.path(), wrong)], &[]);
        assert!(!good && words.iter().all(|word| said.contains(word)), "{said}");
        let serve =
            watchkeeper().args(["serve", "--any-port", "--data"]).arg(dir.path().join("no")).args(["--config", &path]).output();
        let said = String::from_utf8_lossy(&serve.unwrap().stderr).into_owned();
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    }
}

#[test]
fn the_gateway_masks_and_the_record_is_made_by_one_policy_that_stands() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let upstream = echo_upstream();
    let gateway = "[[gateway.policy]]\nid = \"all\"\nsensitive = \"redact\"\nanswers = \"redact\"\n";
    let server = Server::start_with(&data, &format!("[upstream]\nopenai = \"{upstream}\"\n{gateway}{POLICY}"));
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": TEXT }] }).to_string();
    let headers = [("content-type", "application/json"), ("x-watchkeeper-user", "+44 20 7946 0958")];
    let answer = http(&server.gateway, "POST", "/v1/chat/completions", &headers, body.as_bytes());
    let said = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, 200, "{said}");
    // What the model was asked is what it echoes.
    assert!(said.contains("<EMPLOYEE_ID:") && said.contains("<IBAN:dropped>") && said.contains(":+44-0958>"), "{said}");
    assert!(said.contains("203.0.113.9") && !said.contains("E-424242"), "{said}");
    server.settle();
    let event = &rows("SELECT user_id, attributes, sanitized FROM events WHERE kind = 'model_call'", &data)[0];
    // Who it was stays joinable: no two people become one.
    let user = event["user_id"].as_str().unwrap();
    assert!(user.starts_with("<PHONE:v") && !user.contains("-m:"), "{event}");
    let digest = |event: &Value| {
        let attributes: Value = serde_json::from_str(event["attributes"].as_str().unwrap_or("{}")).unwrap();
        attributes["watchkeeper.sanitizer.policy"].as_str().map(str::to_owned)
    };
    let first = digest(event).unwrap();
    assert_eq!(first.len(), 32, "{event}");
    assert!(event["sanitized"].as_str().unwrap().contains("EMPLOYEE_ID"), "{event}");
    let told = rows("SELECT attributes FROM events WHERE name = 'configuration.change'", &data);
    assert!(told.iter().any(|event| event["attributes"].as_str().unwrap().contains("EMPLOYEE_ID")), "{told:?}");
    server.stop();

    // No server and no configuration: what stood stands.
    let chats = dir.path().join("chats.jsonl");
    std::fs::write(&chats, json!({ "session_id": "s", "user": "jo", "prompt": "by E-535353", "response": "ok" }).to_string())
        .unwrap();
    assert!(run(&["import", chats.to_str().unwrap()], &data).status.success());
    let imported = &rows("SELECT attributes FROM events WHERE session_id = 's' AND kind = 'model_call'", &data)[0];
    assert_eq!(digest(imported), Some(first));
    let all = everything(&data);
    assert!(all.contains("EMPLOYEE_ID") && !all.contains("E-424242") && !all.contains("E-535353"));
    let line = json!({ "text": "E-535353" });
    let (_, answers, _) = sanitize(&["--data", data.to_str().unwrap()], &[line]);
    assert_eq!(answers[0]["spans"][0]["type"], "EMPLOYEE_ID");

    // A server that is started without it is back at the default.
    let server = Server::start(&data);
    server.stop();
    assert!(digest(&rows("SELECT attributes FROM events WHERE name = 'server.stop' ORDER BY seq DESC", &data)[0]).is_none());
}
