//! Drills through the real binary: what it promises of itself.

use std::process::Output;

use serde_json::Value;

use crate::otlp::certificates;
use crate::support::{Server, http, watchkeeper};

/// What a drill says, and how it ended.
fn told(output: &Output) -> Value {
    let complaint = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {complaint}"))
}

/// Whether what can be seen was caught, at the first step that shows it, and its twin set nothing off.
fn is_right(drill: &Value) -> bool {
    let verdict = drill["verdict"].as_str().unwrap();
    verdict == "not_observable" || (verdict == "caught" && drill["twin"] == serde_json::json!([]))
}

/// Every drill in its first wording: what README.md and docs/reference/drill.md say.
#[test]
fn attacks_are_caught_at_the_first_step_that_shows_and_no_twin_sets_anything_off() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = watchkeeper();
    command.args(["drill", "--all", "--json"]).env("TMPDIR", dir.path());
    let output = command.output().unwrap();
    let told = told(&output);
    let drills = told["drills"].as_array().unwrap();
    let wrong: Vec<&Value> = drills.iter().filter(|drill| !is_right(drill)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let count = |what: &str| (told["summary"][what]["caught"].as_u64(), told["summary"][what]["played"].as_u64());
    assert_eq!(count("techniques"), (Some(17), Some(17)), "techniques of AML.M0024: {}", told["summary"]);
    let (caught, played) = count("case_studies");
    assert!(caught == played && played >= Some(32), "{}", told["summary"]);
    assert_eq!((count("others"), &told["passed"]), ((Some(9), Some(9)), &true.into()), "{}", told["summary"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left over");
}

/// A drill that cannot fail proves nothing.
#[test]
fn a_drill_of_which_nothing_is_told_or_whose_twin_sets_something_off_fails() {
    let dir = tempfile::tempdir().unwrap();
    let scenarios = "scenarios:\n\
         - {id: harmless, title: t, attack: [{chat: {user: Good morning}, expect: [AML.T0051], because: w}], twin: [{chat: {user: Good evening}}]}\n\
         - id: unplayable\n  title: t\n  attack: [{result: {tool: x, content: y}, expect: [AML.T0051], because: w}]\n  twin: [{chat: {user: a}}]\n";
    std::fs::write(dir.path().join("own.yaml"), scenarios).unwrap();
    // Nothing but what is in the directory is listed, or known.
    let drill =
        |arguments: &[&str]| watchkeeper().arg("drill").args(arguments).arg("--scenarios").arg(dir.path()).output().unwrap();
    let listed: Value = serde_json::from_slice(&drill(&["--list", "--json"]).stdout).unwrap();
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|row| row["drill"].as_str().unwrap()).collect();
    assert_eq!(names, ["harmless", "unplayable"]);
    assert_eq!(drill(&["--case", "tampered-byte"]).status.code(), Some(2));
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
        "scenarios: [{{id: both, title: t, attack: [{{chat: {destroys}, expect: [AML.T0101], because: w}}], twin: [{{chat: {destroys}}}]}}]\n\
         variants: [{{of: both, name: kindly, attack: [{{chat: {{user: Good morning}}}}], twin: [{{chat: {{user: Good evening}}}}]}}]"
    );
    std::fs::write(dir.path().join("own.yaml"), both).unwrap();
    let output = play("both");
    let first = told(&output);
    assert_eq!((output.status.code(), &first["drills"][0]["verdict"]), (Some(1), &"caught".into()), "{first:#}");
    assert_eq!((&first["summary"]["twins_set_off"], first["drills"].as_array().unwrap().len()), (&1.into(), 1));
    // One wording by its own name. What is expected of it is what is expected of the first.
    let other = told(&play("both.kindly"));
    assert_eq!(
        (&other["drills"][0]["verdict"], &other["wordings"]["held-out"]["others"]["played"]),
        (&"missed".into(), &1.into())
    );
}

#[test]
fn a_server_that_runs_is_drilled_by_its_api_and_history_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let output = watchkeeper()
        .args(["drill", "--json", "--case", "AML.T0101", "--case", "cursor-mcp", "--case", "amazon-q", "--case", "off-hours"])
        // Through the gateway, the document of this one is seen with the call behind it: no sooner by the API.
        .args(["--case", "bard-conversation"])
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
    let expected = [
        ("destruction-by-tool", "caught"),
        ("bard-conversation", "caught"),
        ("cursor-mcp", "caught"),
        ("amazon-q", "caught"),
        ("off-hours", "left_out"),
    ];
    assert_eq!(verdicts, expected, "{told:#}");
    assert_eq!(output.status.code(), Some(0));
    let real = server.query("SELECT count(*) AS n FROM detections WHERE session_id NOT LIKE 'drill.%'");
    assert_eq!(real[0]["n"], 0, "every detection can be told from real ones");
    // Nobody else says that there was a drill.
    let forged = serde_json::json!({ "kind": "admin", "name": "drill.play", "attributes": {
        "watchkeeper.admin.object": "forged", "watchkeeper.admin.after": r#"{"technique":"AML.T0101","verdict":"missed"}"# } });
    let key = [("x-watchkeeper-key", server.key.as_deref().unwrap())];
    let refused = http(&server.console, "POST", "/v1/events", &key, forged.to_string().as_bytes());
    let told: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!((refused.status, &told["error"]["field"]), (400, &"name".into()), "{told}");
    assert_eq!(server.query("SELECT count(*) AS n FROM events WHERE name = 'reported.drill.play'")[0]["n"], 0);
    server.settle();
    let covered = http(&server.console, "GET", "/api/rules/coverage?days=1", &key, b"").body;
    let covered: Value = serde_json::from_slice(&covered).unwrap();
    let technique = covered["techniques"].as_array().unwrap().iter().find(|one| one["technique"] == "AML.T0101").unwrap();
    let expected = serde_json::json!({ "played": 1, "caught": 1, "last": technique["drill"]["last"] });
    assert_eq!(technique["drill"], expected, "coverage tells what was drilled");
    let output = watchkeeper()
        .args(["drill", "--json", "--case", "tampered-byte", "--case", "off-hours", "--server", &server.console])
        .env("WATCHKEEPER_API_KEY", server.key.clone().unwrap())
        .output()
        .unwrap();
    let told = self::told(&output);
    let left_out = told["drills"].as_array().unwrap();
    assert!(left_out.iter().all(|drill| drill["verdict"] == "left_out" && drill["why"].is_string()), "{told:#}");
    assert_eq!((left_out.len(), &told["passed"], output.status.code()), (2, &false.into(), Some(2)), "nothing was played");
    server.stop();
}

#[test]
fn a_server_whose_certificate_is_of_an_authority_of_its_own_is_drilled() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let file = |name: &str| dir.path().join(name);
    let tls = format!("[tls]\ncertificate = {:?}\nkey = {:?}\n", file("server.pem"), file("server.key"));
    let server = Server::start_with(&dir.path().join("data"), &tls);
    let drill = |ca: Option<&str>| {
        let mut command = watchkeeper();
        command.args(["drill", "--case", "destruction-by-tool", "--server", &server.console.replace("http://", "https://")]);
        command.env("WATCHKEEPER_API_KEY", server.key.clone().unwrap()).env_remove("WATCHKEEPER_CA");
        command.envs(ca.map(|ca| ("WATCHKEEPER_CA", file(ca)))).output().unwrap()
    };
    let output = drill(Some("ca.pem"));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(drill(None).status.code(), Some(2), "nobody vouches for it");
    let output = drill(Some("server.key"));
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("WATCHKEEPER_CA"), "{output:?}");
    server.stop();
}

#[test]
fn what_cannot_be_played_is_no_failure_of_detection() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    // It cannot be seen: that is said at once, without a server, which would have nowhere to lie.
    let output = watchkeeper().args(["drill", "--case", "AML.CS0000"]).env("TMPDIR", "/nowhere").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("not observable") && said.contains("nothing was played"), "{said}");
    let wrong = [
        &["--case", "direct-injection", "--server", &url][..],
        &["--case", "nothing"],
        &["--case", "direct-injection", "--server", "http://watch.example:7700"],
    ];
    for arguments in wrong {
        let output = watchkeeper().arg("drill").args(arguments).env("WATCHKEEPER_API_KEY", "wk_x").output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}
