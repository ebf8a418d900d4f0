//! The retention policy that stands, who asked for what, and what verification tells of it: through the binary.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::clients::python;
use crate::lifecycle::call;
use crate::support::{Server, chat_spans, export, json, root, root_key, rows, run, verify, watchkeeper, wkverify};

/// The user under whom the tests run, as the program names them.
fn this_user() -> String {
    let uid = nix::unistd::geteuid();
    match nix::unistd::User::from_uid(uid) {
        Ok(Some(user)) => format!("{} (uid:{uid})", user.name),
        _ => format!("uid:{uid}"),
    }
}

fn stdout(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_policy_of_the_server_stands_for_commands_without_its_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start_with(&data, "[retention]\ndefault = \"hipaa\"\n");
    assert!(export(&server.otlp_http, &call("s", "jo-4711", 0, "one", "two")));
    server.settle();
    server.stop();

    // No server, no configuration: what a law asks for is not archived under another class, nor erased.
    let refused = run(&["erase", "--subject", "jo-4711"], &data);
    let text = stdout(&refused);
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(text.contains("1 records and 2 texts stay, legal_duty hipaa"), "{text}");
    let segments = json(&["retention", "show", "--segments", "--format", "json"], &data);
    let classes: Vec<&str> = segments.as_array().unwrap().iter().map(|segment| segment["class"].as_str().unwrap()).collect();
    assert!(classes.contains(&"hipaa") && !classes.contains(&"soc2"), "{classes:?}");

    // A server whose configuration says nothing of it leaves it as it is; one that says another thing changes it, for all to see.
    Server::start_with(&data, "").stop();
    Server::start_with(&data, "[retention]\ndefault = \"ops\"\n").stop();
    let (code, text) = verify(&data);
    assert_eq!(code, 0, "{text}");
    let changes: Vec<&str> = text.lines().filter(|line| line.starts_with("policy changed: ")).collect();
    assert_eq!(changes.len(), 2, "{text}");
    assert!(changes.iter().all(|line| line.contains(&format!("by {}, ", this_user()))), "{text}");
    let report = verified(&data, &[]);
    let change = &report["told"]["policies"]["list"][1];
    assert_eq!(
        (&change["old"], &change["new"]),
        (&Value::from(vec!["default hipaa"]), &Value::from(vec!["default ops"])),
        "{report}"
    );
}

fn verified(data: &std::path::Path, more: &[&str]) -> Value {
    let output = watchkeeper().arg("verify").arg(data).arg("--json").args(more).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn who_asked_is_told_by_holds_bundles_and_verification() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    assert!(export(&server.otlp_http, &call("s", "jo-4711", 0, "one", "two")));
    assert!(export(&server.otlp_http, &call("t", "al-4711", 1, "three", "four")));
    server.settle();
    let placed = run(&["hold", "place", "case-1", "--reason", "letter", "--user", "al-4711", "--operator", "Ann"], &data);
    assert!(placed.status.success(), "{}", stdout(&placed));
    let hold = &json(&["hold", "list", "--format", "json"], &data)[0];
    assert_eq!(hold["placed_by"], this_user(), "{hold}");
    assert!(hold["placed"].as_str().unwrap().ends_with('Z') && hold["placed"].as_str().unwrap().contains('T'), "{hold}");

    let bundle = dir.path().join("case.tar.gz");
    let path = bundle.to_str().unwrap();
    let exported =
        run(&["evidence", "export", "--session", "t", "--reason", "case 1", "--operator", "Ann", "--out", path], &data);
    assert!(exported.status.success(), "{}", stdout(&exported));
    let shown = stdout(&watchkeeper().args(["evidence", "show", path]).output().unwrap());
    assert!(shown.contains(&this_user()) && shown.contains("operator (asserted)") && shown.contains("Ann"), "{shown}");

    let refused = stdout(&run(&["erase", "--subject", "al-4711", "--reference", "ticket 8"], &data));
    assert!(refused.contains("legal_hold case-1"), "{refused}");
    let erased = run(&["erase", "--subject", "jo-4711", "--reference", "ticket 7", "--operator", "Ann"], &data);
    assert!(erased.status.success(), "{}", stdout(&erased));
    let swept = stdout(&run(&["retention", "sweep"], &data));
    assert!(swept.contains("0 segments were dropped"), "{swept}");
    server.settle();
    server.stop();

    let (code, text) = verify(&data);
    assert_eq!(code, 0, "{text}");
    let line = |reference: &str| text.lines().find(|line| line.starts_with("erasure ") && line.contains(reference)).unwrap();
    let by = format!("asked for by {}, who says to be Ann, ", this_user());
    assert!(line("ticket 7").contains(&by) && line("ticket 7").contains("items went, tombstone is record "), "{text}");
    assert!(line("ticket 8").contains("nothing went; refused: ") && line("ticket 8").contains("legal_hold case-1"), "{text}");
    // Nothing was missed so far; behind a start there is a time without a recorder.
    assert_eq!(verified(&data, &["--strict"])["unmet"], Value::from(Vec::<Value>::new()));
    Server::start(&data).stop();
    let strict = watchkeeper().arg("verify").arg(&data).arg("--strict").output().unwrap();
    let text = stdout(&strict);
    assert_eq!(strict.status.code(), Some(3), "{text}");
    assert!(text.contains("NOT PROVED: 1 gaps, ") && text.contains("gap: record ") && text.contains("not_running"), "{text}");
    assert_eq!(verify(&data).0, 0);
}

/// The first Python program of a page.
fn program(page: &str) -> String {
    let text = std::fs::read_to_string(root().join(page)).unwrap();
    let (_, behind) = text.split_once("```python\n").unwrap();
    behind.split_once("```").unwrap().0.to_owned()
}

#[test]
fn what_was_dropped_is_told_and_the_second_verifier_reads_every_record() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let config = "[[retention.rule]]\nkind = \"model_call\"\nclass = \"short\"\n\
                  [[retention.class]]\nname = \"short\"\nmax_days = 0\nhot_days = 0\n";
    let server = Server::start_with(&data, config);
    assert!(export(&server.otlp_http, &call("s", "jo-4711", 0, "one", "two")));
    server.settle();
    // An erasure of nobody archives everything.
    assert_eq!(run(&["erase", "--subject", "nobody-at-all"], &data).status.code(), Some(3));
    let swept = run(&["retention", "sweep", "--operator", "Ann", "--format", "json"], &data);
    assert!(swept.status.success(), "{}", stdout(&swept));
    let disclosed = |name: &str| {
        let path = dir.path().join(name);
        let output = run(&["evidence", "disclose", "--all", "--reason", "audit", "--out", path.to_str().unwrap()], &data);
        assert!(output.status.success(), "{}", stdout(&output));
        path
    };
    server.settle();
    let through_server = std::fs::read_to_string(disclosed("through-server.jsonl")).unwrap();
    assert!(rows("SELECT seq FROM events WHERE kind = 'model_call'", &data).is_empty(), "it is still in the hot store");
    server.stop();
    let path = disclosed("records.jsonl");
    let records = std::fs::read_to_string(&path).unwrap();
    assert!(records.starts_with(&through_server) && !through_server.is_empty(), "a record is disclosed in one way");
    assert_eq!(records.matches("{\"format\":\"wkleaf/1\"").count(), 1, "one record was dropped");
    assert!(records.contains("evidence.disclose"));

    let second = |records: &Path| wkverify(&["ledger", data.to_str().unwrap(), records.to_str().unwrap()]);
    assert_eq!(second(&path), (0, "intact\n".to_owned()));
    let changed = dir.path().join("changed.jsonl");
    std::fs::write(&changed, records.replacen("evidence.disclose", "evidence.disclosE", 1)).unwrap();
    assert_eq!(second(&changed).0, 1);

    let (code, text) = verify(&data);
    assert_eq!(code, 0, "{text}");
    let told = text.lines().find(|line| line.starts_with("dropped: 1 records of class short in ")).unwrap();
    assert!(told.contains(&format!("asked for by {}", this_user())), "{told}");
    assert_eq!(verified(&data, &["--strict"])["unmet"].as_array().map(Vec::len), Some(0));
}

#[test]
fn what_is_disclosed_while_the_server_goes_on_recording_is_whole_up_to_a_record() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start_with(&data, "[archive]\nafter_minutes = 0\n");
    assert!(export(&server.otlp_http, &chat_spans("before", 0, 100)));
    let (stop, otlp) = (Arc::new(AtomicBool::new(false)), server.otlp_http.clone());
    let is_over = stop.clone();
    let recording = std::thread::spawn(move || {
        for number in (1_000..).step_by(5) {
            if is_over.load(Ordering::SeqCst) {
                return;
            }
            assert!(export(&otlp, &chat_spans("meanwhile", number, 5)));
            // Each is verified in Python afterwards, several times.
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let disclosed = |name: &str| {
        let path = dir.path().join(name);
        let output = run(&["evidence", "disclose", "--all", "--reason", "audit", "--out", path.to_str().unwrap()], &data);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        path
    };
    // The files of the journal move to the archive meanwhile.
    let parts: Vec<_> = (0..2).map(|number| disclosed(&format!("{number}.jsonl"))).collect();
    stop.store(true, Ordering::SeqCst);
    recording.join().unwrap();
    server.stop();
    let whole = disclosed("whole.jsonl");
    let records = std::fs::read_to_string(&whole).unwrap();
    let second = |records: &Path| wkverify(&["ledger", data.to_str().unwrap(), records.to_str().unwrap()]);
    assert_eq!(second(&whole), (0, "intact\n".to_owned()));
    let mut lines = 100;
    for part in &parts {
        let text = std::fs::read_to_string(part).unwrap();
        assert!(records.starts_with(&text) && text.lines().count() > lines, "{}", part.display());
        lines = text.lines().count();
        // The verifier says that there is more, and that nothing of this was changed.
        let (code, said) = second(part);
        assert!(code == 3 && said.contains(&format!("from {lines} on")), "{code} {said}");
    }
    let cut = dir.path().join("cut.jsonl");
    std::fs::write(
        &cut,
        records.lines().take(7).chain(records.lines().skip(8)).map(|line| format!("{line}\n")).collect::<String>(),
    )
    .unwrap();
    let (code, said) = second(&cut);
    assert!(code == 1 && said.contains("record 7"), "{code} {said}");
    let (code, text) = verify(&data);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn the_program_in_the_page_on_the_archive_opens_a_segment() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    assert!(export(&server.otlp_http, &call("s", "jo-4711", 0, "one", "two")));
    server.settle();
    assert_eq!(run(&["erase", "--subject", "nobody-at-all"], &data).status.code(), Some(3));
    server.stop();
    let manifest = std::fs::read_to_string(data.join("archive/manifest")).unwrap();
    let segments = manifest.lines().filter(|line| line.starts_with("{\"kind\":\"segment\""));
    let segments: Vec<Value> = segments.map(|line| serde_json::from_str(line).unwrap()).collect();
    let segment = segments.iter().find(|segment| segment["class"] == "soc2").unwrap();
    let keyring =
        server::read_keyring(&server::DataDir::existing(&data).unwrap(), &server::RootKeyPlace::new(Some(&root_key())).unwrap());
    let id = segment["key"].as_str().unwrap().parse().unwrap();
    let key = keyring.unwrap().get(keys::Purpose::Segment, id).unwrap().unwrap();
    let script = dir.path().join("open.py");
    std::fs::write(&script, program("docs/reference/archive-format.md")).unwrap();
    for object in ["events", "contents"] {
        let digest = segment[object]["digest"].as_str().unwrap();
        let path = data.join("archive/objects/segments").join(format!("{digest}.parquet.age"));
        let output =
            Command::new(python("verifier")).arg(&script).arg(event::hex::encode(key.expose())).arg(&path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout.starts_with(b"PAR1") && output.stdout.ends_with(b"PAR1"), "{} bytes", output.stdout.len());
    }
}
