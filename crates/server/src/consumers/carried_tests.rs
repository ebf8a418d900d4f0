//! What detection counts over hours, over restarts, epochs and losses of its state. Epochs are short in tests.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use detect::{AlertBudget, Carried};
use event::{Event, EventId, Key, Kind, Principal, Source, SourcePath, Timestamp, attr};
use journal::Seq;

use super::stored::Stored;
use crate::asker::Asker;
use crate::config::RulesConfig;
use crate::data_dir::DataDir;
use crate::lifecycle::Erasure;
use crate::lifecycle::cold::Step;
use crate::node::{Node, NodeSettings};
use crate::replay::ReplayRequest;
use crate::root_key::RootKeyPlace;

/// When it begins: 2026-01-05, in the middle of an hour that all of it lies in.
const BEGIN_S: u64 = 20_458 * 86_400 + 1_000;
/// Uses of tools: some epochs of them.
const USES: u64 = 600;

/// A rule on one tool, one on another that speaks through a correlation, and the correlation.
const RULES: &str = "title: Alpha\nid: 4d1f0c8a-7d6e-4c1b-9a53-0d5b2f6c7e01\nlogsource: {product: ai, category: tool}\ndetection:\n  \
                     s: {gen_ai.tool.name: alpha}\n  condition: s\nlevel: high\n---\n\
                     title: Beta\nname: beta\nid: 4d1f0c8a-7d6e-4c1b-9a53-0d5b2f6c7e02\nlogsource: {product: ai, category: tool}\n\
                     detection:\n  s: {gen_ai.tool.name: beta}\n  condition: s\nlevel: low\n---\n\
                     title: Often beta\nid: 4d1f0c8a-7d6e-4c1b-9a53-0d5b2f6c7e03\ncorrelation:\n  type: event_count\n  rules: [beta]\n  \
                     group-by: [user.id]\n  timespan: 30d\n  condition: {gte: 3}\nlevel: medium\n";

fn open(dir: &Path) -> Node {
    let root = RootKeyPlace::new(Some(&dir.join("root.key"))).unwrap();
    std::fs::create_dir_all(dir.join("rules")).unwrap();
    std::fs::write(dir.join("rules/own.yml"), RULES).unwrap();
    let rules = RulesConfig {
        dirs: vec![dir.join("rules")],
        builtin: false,
        alert_budget: AlertBudget { per_hour: 50, per_entity_hour: 7, per_entity_first: 2 },
        ..RulesConfig::default()
    };
    Node::open(&dir.join("data"), &root, &NodeSettings { rules: Some(rules), ..NodeSettings::default() }).unwrap()
}

/// The use of a tool; the same each time the test runs. Of all of them, three are of `beta`, far apart.
fn used(index: u64) -> Event<String> {
    let mut event: Event<String> = Event::new(Kind::ToolCall, "execute_tool", Source::new(SourcePath::Api, Key::of("api")));
    event.time = Timestamp::from_unix_ns((BEGIN_S + index) * 1_000_000_000);
    event.observed = event.time;
    let mut bytes = [3; 32];
    bytes[..8].copy_from_slice(&index.to_le_bytes());
    event.id = EventId::derived(event.time, &bytes);
    event.identity.application = Some(Principal::asserted("shop".to_owned()));
    let is_beta = index % 250 == 40;
    event.identity.user = Some(Principal::asserted(if is_beta { "zed".to_owned() } else { format!("u{}", index % 3) }));
    event.set(attr::GEN_AI_TOOL_NAME, if is_beta { "beta" } else { "alpha" });
    event
}

fn record(node: &Node, uses: impl Iterator<Item = Event<String>>) {
    let uses: Vec<_> = uses.collect();
    for some in uses.chunks(20) {
        node.pipeline().record_blocking(some.to_vec(), &|| true).unwrap();
    }
    assert!(node.flush(Duration::from_secs(60)));
}

/// Detections, by their titles.
fn detections(node: &Node) -> BTreeSet<(String, EventId)> {
    assert!(node.flush(Duration::from_secs(60)));
    let mut found = BTreeSet::new();
    let mut reader = node.spine().reader(Seq(0));
    while let Some(step) = reader.next().unwrap() {
        if let Step::Record(record) = step
            && let Ok(event) = record.event()
            && event.kind == Kind::Detection
        {
            assert!(found.insert((event.name.to_string(), event.id)), "recorded twice");
        }
    }
    found
}

#[test]
fn budgets_and_windows_last_over_epochs_and_restarts_and_a_replay_says_the_same() {
    let mut all = Vec::new();
    for (restarts, is_lost) in [(0, false), (4, false), (4, true)] {
        let dir = tempfile::tempdir().unwrap();
        let part = USES.div_ceil(restarts + 1);
        for begin in (0..USES).step_by(usize::try_from(part).unwrap()) {
            let node = open(dir.path());
            record(&node, (begin..(begin + part).min(USES)).map(used));
            node.close().unwrap();
            let state = dir.path().join("data/state/detection.state");
            assert!(begin > 0 || restarts > 3 || state.exists());
            if is_lost && state.exists() {
                std::fs::remove_file(state).unwrap();
                std::fs::remove_file(dir.path().join("data/state/behaviour.state")).unwrap();
            }
        }
        let node = open(dir.path());
        let found = detections(&node);
        let of = |title: &str| found.iter().filter(|(name, _)| name.starts_with(title)).count();
        assert_eq!((of("Alpha"), of("Often beta")), (3 * 7, 1), "{restarts} {is_lost}: {found:?}");
        // Of each of three users: at the first that was suppressed, and at every doubling of about 190.
        assert_eq!(of("Alert budget spent: Alpha"), 3 * 8, "{restarts} {is_lost}");
        if !is_lost {
            let (asker, request) = (Asker::of_process(), ReplayRequest::default());
            let report = node.replay(node.turn_to_replay(&asker, &request).unwrap(), &asker, &request).unwrap();
            let live = report.live.unwrap();
            assert_eq!((live.same, live.only_recorded_count, live.only_replayed_count), (found.len() as u64, 0, 0), "{live:?}");
        }
        all.push(found);
        node.close().unwrap();
    }
    assert!(all.iter().all(|found| *found == all[0]), "{all:?}");
}

#[test]
fn an_erasure_forgets_what_was_counted() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(dir.path());
    record(&node, (0..USES).map(used));
    let state = dir.path().join("data/state/detection.state");
    let old = std::fs::read(&state).unwrap();
    let erasure = Erasure { subject: "u1".to_owned(), ..Erasure::default() };
    node.erase(&Asker::of_process(), &erasure).unwrap();
    // What others left is counted from the record.
    let before = detections(&node).len();
    record(&node, [used(USES + 2)].into_iter());
    assert_eq!((used(USES + 2).identity.user.map(|user| user.id), detections(&node).len()), (Some("u2".to_owned()), before));
    node.close().unwrap();
    std::fs::write(&state, &old).unwrap();
    let root = RootKeyPlace::new(Some(&dir.path().join("root.key"))).unwrap();
    let data = DataDir::existing(&dir.path().join("data")).unwrap();
    let keyring = crate::read_keyring(&data, &root).unwrap();
    assert!(Stored::<Carried>::new(&data, keyring).load().unwrap().is_none(), "a copy of what was forgotten");
}

/// A rule that comes later, on what `Alpha` is on; and what tells of what finds no room.
const LATER: &str = "title: Later\nid: 4d1f0c8a-7d6e-4c1b-9a53-0d5b2f6c7e04\nlogsource: {product: ai, category: tool}\ndetection:\n  \
                     s: {gen_ai.tool.name: alpha}\n  condition: s\nlevel: high\n";

#[test]
fn a_rule_that_comes_later_has_spent_nothing_and_a_restart_knows_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(dir.path());
    // Within the hour and the epoch all of whose records are read anew.
    record(&node, (0..60).map(used));
    let of = |node: &Node, title: &str| detections(node).iter().filter(|(name, _)| name == title).count();
    assert_eq!(of(&node, "Later"), 0);
    std::fs::write(dir.path().join("rules/later.yml"), LATER).unwrap();
    node.reload_rules(&Asker::of_process());
    // The detector looks for other rules before it reads on: with this one it has.
    record(&node, [used(290)].into_iter());
    record(&node, (60..75).map(used));
    // Five uses of each of three users.
    assert_eq!(of(&node, "Later"), 15);
    node.close().unwrap();
    let node = open(dir.path());
    record(&node, (75..96).map(used));
    assert_eq!((of(&node, "Later"), of(&node, "Alpha")), (3 * 7, 3 * 7), "two more of each");
    node.close().unwrap();
}

#[test]
fn what_was_left_out_and_not_told_before_a_crash_is_counted_by_the_next_run() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(dir.path());
    let calls = |index: u64, count: u64| {
        let mut event = used(index);
        event.pieces = (0..count)
            .map(|number| event::Piece {
                meta: event::PieceMeta::new(event::Direction::Output, event::Role::Assistant, event::Part::ToolCall),
                content: format!("{{\"number\":{index}{number:04}}}"),
                findings: Vec::new(),
            })
            .collect();
        event
    };
    let told = |node: &Node| {
        let mut told = Vec::new();
        let mut reader = node.spine().reader(Seq(0));
        while let Some(step) = reader.next().unwrap() {
            let Step::Record(record) = step else { continue };
            let Ok(event) = record.event() else { continue };
            if event.name.as_str() == "detection.bounds" {
                told.push(event.attribute("watchkeeper.gap.calls").and_then(event::Value::as_int).unwrap_or(0));
            }
        }
        told
    };
    // The first is told at once, the next ten seconds later.
    record(&node, [calls(0, 300)].into_iter());
    record(&node, [calls(1, 310), used(2)].into_iter());
    let first = told(&node);
    assert_eq!(first, [300 - 256]);
    // As a crash leaves it: nothing is told on the way out.
    let copy = tempfile::tempdir().unwrap();
    copy_dir(dir.path(), copy.path());
    node.close().unwrap();
    for dir in [&dir, &copy] {
        let node = open(dir.path());
        record(&node, [used(3)].into_iter());
        node.close().unwrap();
        let node = open(dir.path());
        assert_eq!(told(&node), [300 - 256, 310 - 256]);
        node.close().unwrap();
    }
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
