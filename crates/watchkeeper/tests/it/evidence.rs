//! Evidence that leaves the house: what a bundle rests on, what is kept back in it, and what is recorded of whom.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lifecycle::{ANN, ann_and_bo, call};
use crate::support::{SOON, Server, export, rows, run, watchkeeper};
use crate::timestamps::{authority, stamps};
use crate::witness::Witness;

fn export_session(data: &Path, out: &Path, more: &[&str]) -> (bool, String) {
    let arguments = ["evidence", "export", "--session", "shared", "--reason", "case 17", "--out", out.to_str().unwrap()];
    let output = run(&[&arguments, more].concat(), data);
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn judge(arguments: &[&str]) -> (i32, String) {
    let output = watchkeeper().arg("evidence").args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), text)
}

/// Rows of `evidence show`, by their part.
fn shown(bundle: &Path) -> Vec<Value> {
    let output = watchkeeper().args(["evidence", "show", "--format", "json"]).arg(bundle).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Everything in a bundle, unpacked.
fn unpacked(bundle: &Path, to: &Path) -> String {
    std::fs::create_dir(to).unwrap();
    let status = std::process::Command::new("tar").arg("-xzf").arg(bundle).arg("-C").arg(to).status().unwrap();
    assert!(status.success());
    let mut files = Vec::new();
    crate::lifecycle::walk(to, &mut files);
    files.iter().map(|file| String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned()).collect()
}

#[test]
fn a_bundle_rests_on_what_a_witness_cosigned_and_brings_its_time_stamp() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    // The first start makes the log's key, which the witness must know.
    Server::start(&data).stop();
    let vkey = data.join("ledger/vkey");
    let witness = Witness::start(dir.path(), 1, &vkey);
    let policy = dir.path().join("policy");
    std::fs::write(&policy, format!("witness w1 {} {}\nquorum w1\n", witness.vkey, witness.url)).unwrap();
    let url = authority(dir.path().join("tsa"));
    let roots = dir.path().join("tsa/root.pem");
    let config = format!("[ledger]\npolicy = \"{}\"\n[timestamps]\nurl = \"{url}\"\nevery = 1\n", policy.display());
    let server = Server::start_with(&data, &config);
    assert!(export(&server.otlp_http, &call("shared", ANN, 0, "please ship it", "it ships today")));
    let recorded = server.settle();
    let recorded = recorded.as_array().unwrap().iter().find(|row| row["what"] == "progress.recorded").unwrap();
    let recorded = recorded["value"].as_u64().unwrap();
    let until = Instant::now() + SOON;
    let is_over = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap() >= recorded;
    while !stamps(&data).iter().any(is_over) {
        assert!(Instant::now() < until, "{}", std::fs::read_to_string(&server.log).unwrap());
        std::thread::sleep(Duration::from_millis(100));
    }
    let bundle = dir.path().join("case.tar.gz");
    let (exported, what) = export_session(&data, &bundle, &[]);
    assert!(exported, "{what}");
    server.stop();
    drop(witness);

    let [path, key, policy, roots] = [&bundle, &vkey, &policy, &roots].map(|path| path.to_str().unwrap().to_owned());
    let (code, text) = judge(&["verify", &path, "--key", &key, "--policy", &policy, "--tsa-roots", &roots]);
    assert!(code == 0 && text.contains("witnessed: by witness.test/1\n"), "{text}");
    assert!(text.contains("time stamp: the first ") && !text.contains("not verified"), "{text}");
    // Without what the reader trusts the same is said, and that nobody vouches for it.
    let (code, text) = judge(&["show", &path]);
    assert!(
        code == 3 && text.contains("said to be witnessed: by witness.test/1, by the policy that the bundle brings"),
        "{text}"
    );
    assert!(text.contains("was not verified") && text.contains("not proved: whose record it is"), "{text}");
    let records: Vec<Value> = shown(&bundle).into_iter().filter(|row| row["because"] != "custody").collect();
    assert!(!records.is_empty() && records.iter().all(|row| row["time stamp"].is_string()), "{records:?}");

    // OpenSSL says so of the files in the bundle.
    let all = unpacked(&bundle, &dir.path().join("bag"));
    assert!(all.contains("quorum w1"));
    let stamped = dir.path().join("bag/case/data/timestamps");
    let stamp = std::fs::read_dir(&stamped).unwrap().map(|entry| entry.unwrap().path());
    let stamp = stamp.into_iter().find(|path| path.extension().unwrap() == "tsr").unwrap();
    let verified = std::process::Command::new("openssl")
        .args(["ts", "-verify", "-CAfile", &roots, "-in"])
        .arg(&stamp)
        .arg("-data")
        .arg(stamp.with_extension("checkpoint"))
        .output()
        .unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));

    // Another witness, or another authority, is not the one.
    let stranger = ledger::SigningKey::generate(ledger::Algorithm::MlDsa44, "witness.test/9").unwrap();
    let asks = dir.path().join("asks");
    std::fs::write(&asks, format!("witness w9 {}\nquorum w9\n", stranger.verifier())).unwrap();
    let (code, text) = judge(&["verify", &path, "--key", &key, "--policy", asks.to_str().unwrap()]);
    assert!(code == 3 && text.contains("not proved: that the checkpoint is witnessed") && !text.contains("TAMPERED"), "{text}");
    let other = dir.path().join("other");
    authority(other.clone());
    let (code, text) = judge(&["verify", &path, "--key", &key, "--tsa-roots", other.join("root.pem").to_str().unwrap()]);
    assert!(code == 3 && text.contains("not proved: that data/timestamps/"), "{text}");
    let (code, text) = judge(&["verify", &path, "--key", &stranger.verifier().to_string()]);
    assert!(code != 0 && !text.contains("intact"), "{text}");
    let another = ledger::LogKey::generate("another.example/log").unwrap().verifier().to_string();
    let (code, text) = judge(&["verify", &path, "--key", &another]);
    assert!(code == 3 && text.contains("of another log") && !text.contains("no key"), "{text}");

    // Whoever takes one thing for another is told so.
    for (arguments, told) in [
        (vec!["verify", data.to_str().unwrap()], "watchkeeper verify"),
        (vec!["verify", &path, "--key", "absent.vkey"], "no such file"),
        (vec!["verify", dir.path().to_str().unwrap()], "bagit.txt"),
    ] {
        let (code, text) = judge(&arguments);
        assert!(code == 2 && text.contains(told), "{arguments:?}: {text}");
    }
    for (target, told) in [(path.as_str(), "watchkeeper evidence verify"), ("nowhere", "nowhere")] {
        let output = watchkeeper().args(["verify", target]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && text.contains(told), "{target}: {text}");
    }
}

#[test]
fn what_is_withheld_is_nowhere_in_the_bundle_and_its_commitments_are() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = ann_and_bo(&data);
    let token = rows("SELECT DISTINCT user_id FROM events WHERE session_id = 'ann-alone'", &data)[0]["user_id"].clone();
    let token = token.as_str().unwrap();
    let exports = || rows("SELECT name FROM admin_events WHERE name = 'evidence.export'", &data).len();

    // A slip of the pen shows nothing.
    for (wrong, named) in [
        ("/identiy", "/identity"),
        ("content:asistant", "content:assistant"),
        ("tokens:MAIL", "tokens:EMAIL"),
        ("texts", "content:NAME"),
    ] {
        let out = dir.path().join("wrong.tar.gz");
        let (exported, what) = export_session(&data, &out, &["--withhold", wrong]);
        assert!(!exported && what.contains(named) && !out.exists(), "{wrong}: {what}");
    }
    server.settle();
    assert_eq!(exports(), 0);

    let whole = dir.path().join("whole.tar.gz");
    let (exported, what) = export_session(&data, &whole, &[]);
    assert!(exported, "{what}");
    let all = unpacked(&whole, &dir.path().join("whole"));
    assert!(all.contains(token) && all.contains("heron-azure-7742 ships today") && all.contains("gen_ai.request.model"));

    let bundle = dir.path().join("part.tar.gz");
    let (exported, what) = export_session(&data, &bundle, &["--withhold", "tokens:EMAIL,content:assistant,/attributes"]);
    assert!(exported, "{what}");
    let part = unpacked(&bundle, &dir.path().join("part"));
    assert!(!part.contains(token) && !part.contains("ships today") && !part.contains("gen_ai.request.model"));
    assert!(part.contains("please ship heron-azure-7742 today") && part.contains("and copy <EMAIL:erased> on crane-amber-1001"));
    let vkey = data.join("ledger/vkey");
    let (code, text) = judge(&["verify", bundle.to_str().unwrap(), "--key", vkey.to_str().unwrap()]);
    assert!(code == 0 && text.contains("intact: 2 records") && !text.contains(" 0 withheld"), "{text}");
    assert!(text.contains(" 0 unknown"), "{text}");
    let verdicts: Vec<String> = shown(&bundle).iter().map(|row| row["verdict"].as_str().unwrap().to_owned()).collect();
    assert!(verdicts.iter().any(|verdict| verdict == "withheld") && verdicts.iter().any(|verdict| verdict == "disclosed"));
    let (_, table) = judge(&["show", bundle.to_str().unwrap()]);
    assert!(table.contains("tokens:EMAIL, content:assistant, /attributes") && table.contains("│ withheld"), "{table}");
    let why: Vec<Value> =
        shown(&bundle).into_iter().filter(|row| row["verdict"] == "withheld" && row["because"] != "custody").collect();
    let is_said =
        |row: &Value| row["because"].as_str().is_some_and(|why| why.contains("withholds tokens:EMAIL, content:assistant"));
    assert!(!why.is_empty() && why.iter().all(is_said), "{why:#?}");

    // That it was withheld stands in the record of the export.
    server.settle();
    let withheld = "SELECT attributes ->> '$.\"watchkeeper.evidence.withheld\"' AS withheld FROM events WHERE name = 'evidence.export' ORDER BY seq";
    let withheld = rows(withheld, &data);
    assert_eq!(withheld[1]["withheld"], "tokens:EMAIL,content:assistant,/attributes");

    // After an erasure all verdicts come together.
    assert!(run(&["erase", "--subject", ANN], &data).status.success());
    let after = dir.path().join("after.tar.gz");
    let (exported, what) = export_session(&data, &after, &["--withhold", "/inspection"]);
    assert!(exported, "{what}");
    let erased: Vec<Value> = shown(&after).into_iter().filter(|row| row["verdict"] == "erased").collect();
    assert!(!erased.is_empty() && erased.iter().all(|row| row["because"].as_str().unwrap().starts_with("tombstone, record ")));
    server.stop();
}

#[test]
fn who_views_holds_or_exports_a_record_stands_in_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = ann_and_bo(&data);
    let reads = |action: &str, object: &str| {
        let sql = format!(
            "SELECT seq FROM events WHERE name = 'record.read' AND attributes ->> '$.\"event.action\"' = '{action}' AND \
             attributes ->> '$.\"db.collection.name\"' = '{object}'"
        );
        rows(&sql, &data).len()
    };
    let look = |nth: usize| {
        assert!(run(&["trace", "shared", "--format", "json"], &data).status.success());
        assert!(run(&["search", "crane", "--format", "json"], &data).status.success());
        assert!(run(&["query", "SELECT 7 AS seven"], &data).status.success());
        for (action, object) in [("trace", "shared"), ("search", "crane"), ("query", "SELECT 7 AS seven")] {
            assert_eq!(reads(action, object), nth, "{action}");
        }
    };
    look(1);
    let export = |nth: usize| {
        let bundle = dir.path().join(format!("case-{nth}.tar.gz"));
        let (exported, what) = export_session(&data, &bundle, &[]);
        assert!(exported, "{what}");
        bundle
    };
    assert!(
        run(&["hold", "place", "case-17", "--reason", "a letter", "--session", "shared", "--user", ANN], &data).status.success()
    );
    assert!(run(&["hold", "place", "project-nightjar", "--reason", "secret", "--session", "bo-alone"], &data).status.success());
    let bundle = export(1);
    assert!(run(&["hold", "release", "case-17"], &data).status.success());
    let admin = |name: &str| rows(&format!("SELECT user_id FROM admin_events WHERE name = '{name}'"), &data);
    for (name, times) in [("hold.place", 2), ("evidence.export", 1), ("hold.release", 1)] {
        let found = admin(name);
        assert!(found.len() == times && found[0]["user_id"].is_string(), "{name}: {found:?}");
    }
    // In the bundle: the export, the hold, and what named the session: the trace, and the query above that asked for it. The other
    // reads did not.
    let output = watchkeeper().args(["evidence", "verify", "--json"]).arg(&bundle).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let custody = report["custody"].as_array().unwrap();
    let kinds = |kind: &str| custody.iter().filter(|record| record["kind"] == kind).count();
    assert_eq!((kinds("admin"), kinds("data_access"), custody.len()), (2, 2, 4), "{report}");
    // A hold of another case is nothing for the receiver of this one.
    let all = unpacked(&bundle, &dir.path().join("bag"));
    assert!(all.contains("case-17") && !all.contains("nightjar"));
    server.stop();

    // Without a server the same commands leave the same events.
    look(2);
    // A hold that is over is found by the scope in its events, in which nobody is named.
    let all = unpacked(&export(2), &dir.path().join("second"));
    assert!(all.contains("hold.release") && all.contains("case-17") && !all.contains("nightjar"));
    assert!(run(&["hold", "place", "case-18", "--reason", "a letter"], &data).status.success());
    assert_eq!((admin("evidence.export").len(), admin("hold.place").len()), (2, 3));

    // An export that cannot be written is none; an incident is a detection, and nothing else.
    let nowhere = dir.path().join("no/where.tar.gz");
    assert!(!export_session(&data, &nowhere, &[]).0);
    let call = rows("SELECT event_id FROM events WHERE session_id = 'shared' LIMIT 1", &data)[0]["event_id"].clone();
    let out = dir.path().join("call.tar.gz");
    let arguments = ["evidence", "export", "--incident", call.as_str().unwrap(), "--reason", "r", "--out", out.to_str().unwrap()];
    let output = run(&arguments, &data);
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("no detection") && !out.exists());
    assert_eq!(admin("evidence.export").len(), 2);
}
