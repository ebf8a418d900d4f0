//! The first thing that a newcomer runs.

use crate::support::{rows, verify, watchkeeper};

/// A key is shown once: a start that fails must not use it up.
#[test]
fn a_start_that_fails_leaves_the_first_key_for_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = dir.path().join("taken.toml");
    let console = taken.local_addr().unwrap();
    std::fs::write(&config, format!("[listen]\notlp_grpc = \"127.0.0.1:0\"\notlp_http = \"127.0.0.1:0\"\ngateway = \"127.0.0.1:0\"\nconsole = \"{console}\"\n")).unwrap();
    let data = dir.path().join("data");
    let output = watchkeeper().args(["serve", "--data"]).arg(&data).arg("--config").arg(&config).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("listen.console"));
    let server = crate::support::Server::start(&data);
    assert!(server.key.is_some());
    server.stop();
}

#[test]
fn the_demo_records_and_detects_what_it_promises() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("demo");
    let output = watchkeeper().args(["demo", "--exit", "--data"]).arg(&data).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    println!("{text}");
    let detected = rows("SELECT session_id, technique, grade FROM detections", &data);
    let has = |session: &str, technique: &str| {
        detected
            .iter()
            .any(|row| row["session_id"] == session && row["technique"].as_str().is_some_and(|id| id.starts_with(technique)))
    };
    assert!(has("demo-direct", "AML.T0051.000"), "{detected:#?}");
    assert!(has("demo-invoice", "AML.T0051.001"), "{detected:#?}");
    assert!(detected.iter().any(|row| row["session_id"] == "demo-invoice" && row["grade"] == "reached"), "{detected:#?}");
    assert!(has("demo-leak", "AML.T0057") || has("demo-leak", "AML.T0055"), "{detected:#?}");
    assert!(has("demo-cleanup", "AML.T0101"), "{detected:#?}");
    let benign =
        detected.iter().filter(|row| matches!(row["session_id"].as_str(), Some("demo-weather" | "demo-security"))).count();
    assert_eq!(benign, 0, "{detected:#?}");
    // Both ways in give the same rows.
    let ways = rows("SELECT DISTINCT source FROM events WHERE session_id LIKE 'demo-%' ORDER BY 1", &data);
    for way in ["gateway", "otlp_grpc", "otlp_http"] {
        assert!(ways.iter().any(|row| row["source"] == way), "{ways:?}");
    }
    let actions =
        rows("SELECT tool, parameters, result FROM agent_actions WHERE session_id = 'demo-weather' ORDER BY tool", &data);
    assert_eq!(actions.len(), 2, "{actions:#?}");
    assert_eq!(actions[1]["tool"], "get_weather");
    assert!(actions[1]["result"].as_str().unwrap().contains("temperature_c"), "{actions:#?}");
    assert_eq!(verify(&data).0, 0);
}
