//! Behaviour through the real binary: history that is told of by the events API is learnt, and what is unlike it is a detection; after
//! a restart nothing else is said.

use serde_json::{Value, json};

use crate::support::{Server, http};

/// Monday, 2026-01-05.
const BEGIN_S: u64 = 20_458 * 86_400;

fn time(day: u64, second: u64) -> u64 {
    (BEGIN_S + day * 86_400 + second) * 1_000_000_000
}

/// A call of a model by a person in office hours, and a tool of the person's agent.
fn working_day(day: u64) -> Vec<Value> {
    let steps = (0..40).flat_map(|index| {
        let second = 9 * 3_600 + index * 700;
        let call = json!({ "kind": "model_call", "time": time(day, second), "application": "desk", "user.id": "ann",
            "attributes": { "gen_ai.request.model": "m", "geo.country.iso_code": "DE", "gen_ai.usage.input_tokens": 700 } });
        let tool = json!({ "kind": "tool_call", "time": time(day, second + 5), "application": "desk", "agent": "robin",
            "tool": { "name": "search", "arguments": { "query": format!("report {day} {index}") } } });
        [call, tool]
    });
    steps.collect()
}

fn send(server: &Server, key: &str, events: &[Value]) {
    let authorization = format!("Bearer {key}");
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let answer = http(&server.console, "POST", "/v1/events", &headers, Value::from(events.to_vec()).to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
}

/// Titles of the detections that rest on behaviour.
fn titles(server: &Server) -> Vec<String> {
    server.settle();
    let rows = server.query("SELECT title FROM detections WHERE evidence LIKE '%insight%' ORDER BY title");
    rows.iter().map(|row| row["title"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_is_unlike_three_weeks_of_history_is_told_and_a_restart_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    let key = server.key.clone().unwrap();
    for day in (0..19).filter(|day| day % 7 < 5) {
        send(&server, &key, &working_day(day));
    }
    assert_eq!(titles(&server), Vec::<String>::new(), "ordinary weeks");
    server.stop();
    let server = Server::start(&data);
    let at_night = json!({ "kind": "model_call", "time": time(22, 2 * 3_600), "application": "desk", "user.id": "ann",
        "attributes": { "gen_ai.request.model": "m", "geo.country.iso_code": "AQ" } });
    let new_tool = json!({ "kind": "tool_call", "time": time(22, 2 * 3_600 + 60), "application": "desk", "agent": "robin",
        "tool": { "name": "delete_account", "arguments": { "user": "bob" } } });
    send(&server, &key, &[at_night, new_tool]);
    let expected = [
        "Account used from a country that is new for it and for others",
        "Agent uses tools unlike it does",
        "User active at an unusual hour",
    ];
    assert_eq!(titles(&server), expected);
    let evidence = &server.query("SELECT evidence FROM detections WHERE title LIKE 'Agent uses%'")[0]["evidence"];
    assert!(evidence.to_string().contains("delete_account"), "{evidence}");
    server.stop();
    let server = Server::start(&data);
    assert_eq!(titles(&server), expected, "told once");
    server.stop();
}
