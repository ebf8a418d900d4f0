//! Drills through the real binary: what it promises of itself.

use std::process::Output;

use serde_json::Value;

use crate::support::{Server, watchkeeper};

/// What a drill says, and how it ended.
fn told(output: &Output) -> Value {
    let complaint = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {complaint}"))
}

#[test]
fn every_technique_and_every_observable_case_study_is_caught_at_its_first_step_and_no_twin_sets_anything_off() {
    let dir = tempfile::tempdir().unwrap();
    let output = watchkeeper().args(["drill", "--all", "--json"]).env("TMPDIR", dir.path()).output().unwrap();
    let told = told(&output);
    let wrong: Vec<&Value> = told["drills"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|drill| {
            !matches!(drill["verdict"].as_str(), Some("caught" | "not_observable")) || drill["twin"] != serde_json::json!([])
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let summary = &told["summary"];
    assert_eq!((&summary["techniques"]["played"], &summary["techniques"]["caught"]), (&17.into(), &17.into()), "{summary}");
    let studies = summary["case_studies"]["caught"].as_u64().unwrap() + summary["not_observable"].as_u64().unwrap();
    assert_eq!(studies, 57, "{summary}");
    assert_eq!(summary["left_out"], 0, "{summary}");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left over");
}

#[test]
fn a_server_that_runs_is_drilled_by_its_api_and_history_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let output = watchkeeper()
        .args(["drill", "--json", "--case", "AML.T0101", "--case", "cursor-mcp", "--case", "amazon-q", "--case", "off-hours"])
        .args(["--server", &server.console])
        .env("WATCHKEEPER_API_KEY", server.key.clone().unwrap())
        .output()
        .unwrap();
    let told = told(&output);
    let verdicts: Vec<(&str, &str)> = told["drills"]
        .as_array()
        .unwrap()
        .iter()
        .map(|drill| (drill["scenario"].as_str().unwrap(), drill["verdict"].as_str().unwrap()))
        .collect();
    let expected =
        [("destruction-by-tool", "caught"), ("cursor-mcp", "caught"), ("amazon-q", "caught"), ("off-hours", "left_out")];
    assert_eq!(verdicts, expected, "{told:#}");
    assert_eq!(output.status.code(), Some(0));
    let real = server.query("SELECT count(*) AS n FROM detections WHERE session_id NOT LIKE 'drill.%'");
    assert_eq!(real[0]["n"], 0, "every detection can be told from real ones");
    server.stop();
}

#[test]
fn what_cannot_be_played_is_no_failure_of_detection() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let wrong = [
        &["--case", "direct-injection", "--server", &url][..],
        &["--case", "nothing"],
        &["--case", "direct-injection", "--server", "http://watch.example:7700"],
        &[],
    ];
    for arguments in wrong {
        let output = watchkeeper().arg("drill").args(arguments).env("WATCHKEEPER_API_KEY", "wk_x").output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}
