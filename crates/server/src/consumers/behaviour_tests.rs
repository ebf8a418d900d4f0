//! What the detector knows of behaviour, over restarts, losses of its state, and an erasure. Epochs are short in tests.

use std::path::Path;
use std::time::Duration;

use detect::behaviour::Behaviour;
use event::{Event, EventId, Key, Kind, Principal, Source, SourcePath, Timestamp, attr};
use journal::Seq;

use super::stored::Stored;
use super::watching::DETECT_EPOCH_RECORDS;
use crate::asker::Asker;
use crate::data_dir::DataDir;
use crate::lifecycle::Erasure;
use crate::lifecycle::cold::Step;
use crate::node::{Node, NodeSettings};
use crate::root_key::RootKeyPlace;

/// Days of history, and calls a day.
const DAYS: u64 = 9;
const CALLS: u64 = 50;
/// When it begins: 2026-01-05, long before any live event.
const BEGIN_S: u64 = 20_458 * 86_400;

fn open(dir: &Path) -> Node {
    let root = RootKeyPlace::new(Some(&dir.join("root.key"))).unwrap();
    Node::open(&dir.join("data"), &root, &NodeSettings::default()).unwrap()
}

/// A call of a tool by an agent; the same each time the test runs.
fn call(index: u64, tool: &str) -> Event<String> {
    let mut event: Event<String> = Event::new(Kind::ToolCall, "execute_tool", Source::new(SourcePath::Api, Key::of("api")));
    event.time = Timestamp::from_unix_ns((BEGIN_S + index / CALLS * 86_400 + 36_000 + index % CALLS * 60) * 1_000_000_000);
    let mut bytes = [3; 32];
    bytes[..8].copy_from_slice(&index.to_le_bytes());
    event.id = EventId::derived(event.time, &bytes);
    event.identity.application = Some(Principal::asserted("shop".to_owned()));
    event.identity.agent = Some(Principal::asserted("robin".to_owned()));
    event.identity.user = index.is_multiple_of(7).then(|| Principal::asserted("jo-4711".to_owned()));
    event.set(attr::GEN_AI_TOOL_NAME, tool);
    event
}

fn record(node: &Node, calls: impl Iterator<Item = Event<String>>) {
    for call in calls {
        node.pipeline().record_blocking(vec![call], &|| true).unwrap();
    }
    assert!(node.flush(Duration::from_secs(60)));
}

/// Ids of the detections of tools that are new.
fn detections(node: &Node) -> Vec<EventId> {
    assert!(node.flush(Duration::from_secs(60)));
    let mut found = Vec::new();
    let mut reader = node.spine().reader(Seq(0));
    while let Some(step) = reader.next().unwrap() {
        if let Step::Record(record) = step
            && let Ok(event) = record.event()
            && event.kind == Kind::Detection
            && event.name.as_str() == "Agent uses tools unlike it does"
        {
            found.push(event.id);
        }
    }
    found
}

fn state(dir: &Path) -> Stored<Behaviour> {
    let root = RootKeyPlace::new(Some(&dir.join("root.key"))).unwrap();
    let data = DataDir::existing(&dir.join("data")).unwrap();
    let keyring = crate::read_keyring(&data, &root).unwrap();
    Stored::new(&data, keyring)
}

#[test]
fn a_restart_a_lost_state_and_a_spoilt_one_change_nothing_of_what_is_told() {
    let all = DAYS * CALLS;
    let mut told = Vec::new();
    for (restarts, spoil) in [(0, false), (3, false), (3, true)] {
        let dir = tempfile::tempdir().unwrap();
        let part = all.div_ceil(restarts + 1);
        for begin in (0..all).step_by(usize::try_from(part).unwrap()) {
            let node = open(dir.path());
            record(&node, (begin..(begin + part).min(all)).map(|index| call(index, "search")));
            node.close().unwrap();
            let path = dir.path().join("data/state/behaviour.state");
            if spoil && path.exists() {
                match begin / part % 2 {
                    0 => std::fs::remove_file(&path).unwrap(),
                    _ => std::fs::write(&path, b"wk behaviour 01\nnot what was written").unwrap(),
                }
            }
        }
        if !spoil {
            let (at, _) = state(dir.path()).load().unwrap().unwrap();
            assert!(at.0 > 0 && at.0.is_multiple_of(DETECT_EPOCH_RECORDS), "{at:?}");
        }
        let node = open(dir.path());
        record(&node, [call(all, "search"), call(all + 1, "delete_account")].into_iter());
        told.push(detections(&node));
        node.close().unwrap();
    }
    assert_eq!(told[0].len(), 1);
    assert!(told.iter().all(|ids| *ids == told[0]), "{told:?}");
}

#[test]
fn an_erasure_forgets_and_what_is_left_is_learnt_anew() {
    let dir = tempfile::tempdir().unwrap();
    let all = DAYS * CALLS;
    let node = open(dir.path());
    record(&node, (0..all).map(|index| call(index, "search")));
    node.close().unwrap();
    assert!(state(dir.path()).load().unwrap().is_some());
    let node = open(dir.path());
    let erasure = Erasure { subject: "jo-4711".to_owned(), ..Erasure::default() };
    node.erase(&Asker::of_process(), &erasure).unwrap();
    record(&node, [call(all, "search"), call(all + 1, "delete_account")].into_iter());
    assert_eq!(detections(&node).len(), 1, "what others left is known");
    node.close().unwrap();
}
