//! Import of recorded agent traces, checked against counts that are made from the file itself.

use std::path::PathBuf;

use serde_json::Value;

use crate::support::{root, rows, run, verify};

fn import(file: &std::path::Path, data: &std::path::Path) -> String {
    let output = run(&["import", file.to_str().unwrap()], data);
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn a_small_file_is_imported_once_however_often_it_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let (file, data) = (dir.path().join("traces.jsonl"), dir.path().join("data"));
    let line = serde_json::json!({
        "trace_id": "lab/1", "source": "lab", "model": "m-1", "attack": "ground truth, never read", "security": true,
        "messages": [
            {"role": "user", "content": "What is the time in Lisbon?"},
            {"role": "assistant", "content": "", "tool_calls": [{"function": "clock", "args": {"city": "Lisbon"}}]},
            {"role": "tool", "content": "12:00", "tool": "clock"},
            {"role": "assistant", "content": "It is noon."},
        ],
    });
    std::fs::write(&file, format!("{line}\n{{\"trace_id\": 7}}\n")).unwrap();
    let output = run(&["import", file.to_str().unwrap()], &data);
    assert_eq!(output.status.code(), Some(1), "one line is refused");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(complaint.contains("line 2") && complaint.contains("messages"), "{complaint}");
    std::fs::write(&file, format!("{line}\n")).unwrap();
    import(&file, &data);

    let actions = rows("SELECT session_id, tool, parameters, result FROM agent_actions", &data);
    let expected =
        serde_json::json!([{ "session_id": "lab/1", "tool": "clock", "parameters": "{\"city\":\"Lisbon\"}", "result": "12:00" }]);
    assert_eq!(Value::from(actions), expected);
    let prompts = rows("SELECT prompt, model FROM prompts", &data);
    assert_eq!(Value::from(prompts), serde_json::json!([{ "prompt": "What is the time in Lisbon?", "model": "m-1" }]));
    let everything = rows(
        "SELECT count(*) AS n FROM events WHERE kind <> 'data_access' AND (attributes LIKE '%ground truth%' OR unmapped LIKE '%ground truth%')",
        &data,
    );
    assert_eq!(everything[0]["n"], 0);
    assert_eq!(verify(&data).0, 0);
}

/// All of `agent_traces_train.jsonl`, where it lies beside the project (or where `WATCHKEEPER_SHARED` says).
#[test]
fn the_recorded_traces_are_all_there() {
    let shared = std::env::var_os("WATCHKEEPER_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    let file = shared.join("traces/agent_traces_train.jsonl");
    let Ok(text) = std::fs::read_to_string(&file) else {
        println!("{} is not here: the import of the large file is not tested in this run", file.display());
        return;
    };
    let mut expected = Counts::default();
    for line in text.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        expected.sessions += 1;
        for message in row["messages"].as_array().unwrap() {
            expected.calls += message["tool_calls"].as_array().map_or(0, |calls| calls.len() as u64);
            expected.answers += u64::from(message["role"] == "assistant");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    println!("{}", import(&file, &data));
    let count = |sql: &str| rows(sql, &data)[0]["n"].as_u64().unwrap();
    let found = Counts {
        sessions: count("SELECT count(DISTINCT session_id) AS n FROM events WHERE kind = 'model_call'"),
        calls: count("SELECT count(*) AS n FROM agent_actions"),
        answers: count("SELECT count(*) AS n FROM responses"),
    };
    assert_eq!(found, expected);
    let (code, text) = verify(&data);
    assert_eq!(code, 0, "{text}");
    println!("{text}");
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    sessions: u64,
    calls: u64,
    answers: u64,
}
