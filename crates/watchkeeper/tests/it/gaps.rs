//! What is missing from the record is in the record.

use crate::support::{Server, chat_spans, export};

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
    server.stop();
}
