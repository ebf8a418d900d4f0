//! What is missing from the record is in the record.

use crate::support::{Server, chat_spans, export, json, run};

#[test]
fn the_time_without_a_recorder_is_a_gap_and_its_end_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    assert!(export(&server.otlp_http, &chat_spans("gap", 0, 1)));
    server.settle();
    assert!(server.query("SELECT reason FROM gaps").is_empty(), "a first start follows on nothing");
    server.stop();
    // A clean stop says so; after a SIGKILL nothing does, and the gap is there all the same.
    let killed = Server::start(&data);
    killed.settle();
    killed.signal_kill();
    drop(killed);
    let server = Server::start(&data);
    server.settle();
    let gaps = server.query(
        "SELECT attributes ->> '$.\"watchkeeper.gap.from\"' AS since, attributes ->> '$.\"watchkeeper.gap.to\"' AS until \
         FROM gaps WHERE reason = 'not_running' ORDER BY time",
    );
    assert_eq!(gaps.len(), 2, "{gaps:?}");
    for gap in &gaps {
        assert!(gap["since"].as_str().unwrap() < gap["until"].as_str().unwrap(), "{gap}");
    }
    assert_eq!(server.query("SELECT time FROM admin_events WHERE name = 'server.stop'").len(), 1);
    // The status says so, to programs by the API's names and to people in words; with a server and without one.
    let told = |what: &str| {
        let status = json(&["status", "--format", "json"], &data);
        status.as_array().unwrap().iter().find(|row| row["what"] == what).map(|row| row["value"].clone())
    };
    let is_told = || {
        assert_eq!(told("watch.gaps"), Some(2.into()));
        assert_eq!(told("watch.last_gap.reason"), Some("not_running".into()));
        assert_eq!(told("watch.checkpoint.records"), Some(ledger_size(&data).into()));
        assert_eq!((told("watch.archive.records"), told("watch.archive.oldest_waiting.seq")), (Some(0.into()), Some(0.into())));
        let table = String::from_utf8(run(&["status"], &data).stdout).unwrap();
        for words in
            ["gaps in the hot store", "last gap, because of", "newest checkpoint, age in seconds", "events of kind model call"]
        {
            assert!(table.contains(words), "{words}: {table}");
        }
        assert!(!table.contains("age_s") && !table.contains("by_kind"), "{table}");
    };
    is_told();
    assert!(told("watch.archive.next_sweep_s").is_some());
    server.stop();
    is_told();
}

fn ledger_size(data: &std::path::Path) -> u64 {
    let note = ledger::published_checkpoint(data).unwrap().unwrap();
    ledger::Checkpoint::parse(note.text()).unwrap().size
}
