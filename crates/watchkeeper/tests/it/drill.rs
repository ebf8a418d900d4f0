//! Drills through the real binary: what it promises of itself.

use std::process::Output;

use serde_json::Value;

use crate::support::{Server, watchkeeper};

/// What a drill says, and how it ended.
fn told(output: &Output) -> Value {
    let complaint = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {complaint}"))
}

/// Drills that take little time, of every way in. `cargo xtask drill` plays all of them.
const QUICK: [&str; 20] = [
    "AML.T0024",
    "AML.T0024.000",
    "AML.T0024.001",
    "AML.T0040",
    "AML.T0047",
    "AML.T0051",
    "AML.T0051.000",
    "AML.T0051.001",
    "AML.T0051.002",
    "AML.T0053",
    "AML.T0085",
    "AML.T0085.001",
    "AML.T0086",
    "AML.T0101",
    "AML.CS0021",
    "AML.CS0044",
    "AML.CS0047",
    "AML.CS0054",
    "off-hours",
    "tampered-cut",
];

#[test]
fn attacks_are_caught_at_the_first_step_that_shows_and_no_twin_sets_anything_off() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = watchkeeper();
    command.args(["drill", "--json"]).env("TMPDIR", dir.path());
    command.args(QUICK.iter().flat_map(|case| ["--case", case]));
    let output = command.output().unwrap();
    let told = told(&output);
    let drills = told["drills"].as_array().unwrap();
    let wrong: Vec<&Value> =
        drills.iter().filter(|drill| drill["verdict"] != "caught" || drill["twin"] != serde_json::json!([])).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(drills.len(), QUICK.len());
    assert_eq!((&told["summary"]["techniques"]["caught"], &told["passed"]), (&14.into(), &true.into()), "{}", told["summary"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left over");
}

/// A drill that cannot fail proves nothing.
#[test]
fn a_drill_of_which_nothing_is_told_or_whose_twin_sets_something_off_fails() {
    let dir = tempfile::tempdir().unwrap();
    let scenarios = "scenarios:\n\
         - {id: harmless, title: t, attack: [{chat: {user: Good morning}, expect: [AML.T0051]}], twin: [{chat: {user: Good evening}}]}\n\
         - id: unplayable\n  title: t\n  attack: [{result: {tool: x, content: y}, expect: [AML.T0051]}]\n  twin: [{chat: {user: a}}]\n";
    std::fs::write(dir.path().join("own.yaml"), scenarios).unwrap();
    let play = |case: &str| {
        let mut command = watchkeeper();
        command.args(["drill", "--json", "--case", case, "--scenarios"]).arg(dir.path()).output().unwrap()
    };
    let output = play("harmless");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(told(&output)["drills"][0]["verdict"], "missed");
    // A result of a tool that nobody has called cannot be played.
    assert_eq!(play("unplayable").status.code(), Some(2));
    let destroys = "{calls: [{tool: sql, arguments: {query: DROP TABLE orders}}]}";
    let both = format!(
        "scenarios: [{{id: both, title: t, attack: [{{chat: {destroys}, expect: [AML.T0101]}}], twin: [{{chat: {destroys}}}]}}]"
    );
    std::fs::write(dir.path().join("own.yaml"), both).unwrap();
    let output = play("both");
    let told = told(&output);
    assert_eq!((output.status.code(), &told["drills"][0]["verdict"]), (Some(1), &"caught".into()), "{told:#}");
    assert_eq!(told["summary"]["twins_set_off"], 1);
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
