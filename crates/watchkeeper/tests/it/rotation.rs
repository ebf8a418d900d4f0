//! The log gets other signing keys, under a running server and behind a stopped one, and everybody who verifies follows.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{SOON, Server, chat_spans, export, json, rows, run, verify, watchkeeper, wkverify};
use crate::witness::Witness;

fn pairs(data: &Path) -> Vec<Value> {
    json(&["keys", "show", "--format", "json"], data)["log_keys"].as_array().unwrap().clone()
}

fn states(data: &Path) -> Vec<(String, bool)> {
    let of = |pair: &Value| (pair["state"].as_str().unwrap().to_owned(), pair["held"].as_bool().unwrap());
    pairs(data).iter().map(of).collect()
}

fn rotate(data: &Path, overlap: u64) -> (Option<i32>, String) {
    let output = run(&["keys", "rotate", "--what", "log", "--overlap", &overlap.to_string()], data);
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

/// Waits until something holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// How many records a witness has countersigned, at the most.
fn witnessed(data: &Path) -> u64 {
    let note = ledger::witnessed_checkpoint(data).unwrap();
    note.map_or(0, |note| ledger::Checkpoint::parse(note.text()).unwrap().size)
}

fn sealed(data: &Path) -> u64 {
    let note = ledger::published_checkpoint(data).unwrap().unwrap();
    ledger::Checkpoint::parse(note.text()).unwrap().size
}

fn note_spans(server: &Server, from: u64, count: u64) {
    assert!(export(&server.otlp_http, &chat_spans("rotated", from, count)));
    server.settle();
}

#[test]
fn the_logs_keys_are_rotated_and_whoever_verifies_follows() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    note_spans(&server, 0, 3);
    server.stop();
    let vkey = data.join("ledger/vkey");
    let kept = dir.path().join("first.vkey");
    std::fs::copy(&vkey, &kept).unwrap();
    let witness = Witness::start(dir.path(), 1, &kept);
    let config = format!("[[witness]]\nurl = \"{}\"\nvkey = \"{}\"\n", witness.url, witness.vkey);
    let server = Server::start_with(&data, &config);
    assert_eq!(states(&data), [("signs".to_owned(), true)]);

    // While both pairs sign, a witness that knows only the old one goes on.
    let (code, text) = rotate(&data, 12);
    assert!(code == Some(0) && text.contains("rotation 1"), "{text}");
    note_spans(&server, 3, 2);
    assert_eq!(states(&data), [("overlap".to_owned(), true), ("signs".to_owned(), true)]);
    until("not witnessed in the overlap", || witnessed(&data) == sealed(&data));
    let (code, text) = rotate(&data, 0);
    assert!(code == Some(2) && text.contains("ledger/keys"), "{text}");

    // Then the old private keys are gone, and the witness must learn the new public ones.
    note_spans(&server, 5, 20);
    until("the old keys are not destroyed", || states(&data) == [("retired".to_owned(), false), ("signs".to_owned(), true)]);
    let log = data.parent().unwrap().join("server.log");
    until("the witness signs what it does not know", || {
        std::fs::read_to_string(&log).unwrap().contains("does not take this log's signatures")
    });
    let behind = witnessed(&data);
    assert!(behind < sealed(&data));
    let listen = witness.url.trim_start_matches("http://").to_owned();
    drop(witness);
    let vkeys: String = pairs(&data)
        .iter()
        .flat_map(|pair| pair["vkeys"].as_array().unwrap())
        .map(|key| format!("{}\n", key.as_str().unwrap()))
        .collect();
    std::fs::write(&kept, vkeys).unwrap();
    let _witness = Witness::listen(dir.path(), 1, &kept, &listen);
    until("not witnessed behind the overlap", || witnessed(&data) == sealed(&data));
    let sql = "SELECT name, user_id FROM admin_events WHERE name LIKE 'log_key.%' ORDER BY time";
    server.settle();
    let events = rows(sql, &data);
    assert_eq!(events.iter().map(|row| row["name"].as_str().unwrap()).collect::<Vec<_>>(), ["log_key.rotate", "log_key.retire"]);
    assert_eq!(events[0]["user_id"], format!("uid:{}", nix::unistd::geteuid()));
    server.stop();

    let (code, text) = rotate(&data, 0);
    assert!(code == Some(0) && text.contains("rotation 2"), "{text}");
    let server = Server::start(&data);
    note_spans(&server, 30, 3);
    let retired = ("retired".to_owned(), false);
    assert_eq!(states(&data), [retired.clone(), retired, ("signs".to_owned(), true)]);
    let bundle = dir.path().join("case.tar.gz");
    let arguments = ["evidence", "export", "--session", "rotated", "--reason", "case 1", "--out", bundle.to_str().unwrap()];
    assert!(run(&arguments, &data).status.success());
    server.stop();
    let (code, text) = verify(&data);
    assert!(code == 0 && text.contains("rotated 2 times"), "{text}");
    // From the pair that somebody kept at the beginning.
    let pair = dir.path().join("pair.vkey");
    std::fs::copy(&vkey, &pair).unwrap();
    let mut command = watchkeeper();
    let output = command.arg("verify").arg(&data).arg("--key").arg(&pair).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let mut command = watchkeeper();
    let output = command.args(["evidence", "verify"]).arg(&bundle).arg("--key").arg(&pair).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    // And the second verifier says the same.
    let key = std::fs::read_to_string(&pair).unwrap().lines().next().unwrap().to_owned();
    for arguments in [vec!["ledger", data.to_str().unwrap()], vec!["bundle", bundle.to_str().unwrap(), &key]] {
        let (code, text) = wkverify(&arguments);
        assert_eq!(code, 0, "{arguments:?}: {text}");
    }

    // The archive's manifest and the pin went along: the keys that are gone sign nothing more.
    assert!(run(&["keys", "rotate", "--what", "root"], &data).status.code() == Some(2));
    assert!(run(&["keys", "rotate", "--overlap", "5"], &data).status.code() == Some(2));
    assert!(run(&["keys", "rotate"], &data).status.success());
    assert_eq!(verify(&data).0, 0);
}
