use std::path::Path;

use event::Event;
use ledger::Trust;

use super::super::erase::TOMBSTONES_DIR;
use super::super::verify::{Depth, Verified, verify};
use super::*;
use crate::asker::Asker;
use crate::lifecycle::Erasure;
use crate::node::{Node, NodeSettings, internal};
use crate::root_key::{RootKeyPlace, read_keyring};

fn root(dir: &Path) -> RootKeyPlace {
    RootKeyPlace::new(Some(&dir.join("root.key"))).unwrap()
}

fn open(dir: &Path, retention: Option<&str>) -> Node {
    let retention = retention.map(|retention| toml::from_str(retention).unwrap());
    Node::open(&dir.join("data"), &root(dir), &NodeSettings { retention, ..NodeSettings::default() }).unwrap()
}

fn verified(dir: &Path, depth: Depth) -> Verified {
    let data = dir.join("data");
    let keyring = read_keyring(&crate::DataDir::unchecked(&data), &root(dir)).unwrap();
    let verified = verify(&data, &Trust::default(), Some(&keyring), depth, None).unwrap();
    assert_eq!(verified.report.fault, None);
    verified
}

fn say(node: &Node, user: &str) -> u64 {
    let mut event = Event::new(Kind::ModelCall, "x".to_owned(), event::Source::new(SourcePath::Api, Key::of("api")));
    event.identity.user = Some(event::Principal::asserted(user.to_owned()));
    let seq = node.journal().end().0;
    node.pipeline().record_blocking(vec![event], &|| true).unwrap();
    seq
}

fn ann() -> Asker {
    Asker::of_process().with_operator(Some("Ann".to_owned()))
}

#[test]
fn erasures_ends_of_retention_gaps_and_changes_of_the_policy_are_told_with_who_asked() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(dir.path(), Some("default = \"short\"\n[[class]]\nname = \"short\"\nmax_days = 0\nhot_days = 0"));
    say(&node, "jo-4711");
    let asked = Erasure { subject: "jo-4711".to_owned(), reference: Some("ticket 7".to_owned()), ..Erasure::default() };
    let erased = node.erase(&ann(), &asked).unwrap();
    assert!(erased.items > 0, "{erased:?}");
    let mut event = internal(Kind::Gap, "recorder.turned_away");
    event.set(attr::GAP_REASON, "turned_away");
    event.set(attr::GAP_COUNT, 7);
    node.pipeline().record_blocking(vec![event], &|| true).unwrap();
    let swept = node.sweep(&ann(), false).unwrap();
    assert!(!swept.dropped.is_empty(), "{swept:?}");
    node.close().unwrap();

    let verified = verified(dir.path(), Depth::Records);
    let told = &verified.told;
    let by = Some(Asker::of_process().to_string());
    let [erasure] = told.erasures.list.as_slice() else { panic!("{told:?}") };
    let who = erasure.asked.as_ref().unwrap();
    assert_eq!((&who.by, who.operator.as_deref(), erasure.reference.as_deref()), (&by, Some("Ann"), Some("ticket 7")));
    assert_eq!((erasure.request.as_str(), erasure.items, erasure.refused.len()), (erased.request.as_str(), erased.items, 0));
    assert!(erasure.tombstone.as_ref().unwrap().record > erasure.begun.unwrap());
    assert_eq!(told.drops.count(), swept.dropped.len() as u64);
    for drop in &told.drops.list {
        assert_eq!((drop.span.class.as_str(), &drop.told.as_ref().unwrap().by), ("short", &by));
    }
    let [gap] = told.gaps.list.as_slice() else { panic!("{told:?}") };
    assert_eq!((gap.reason.as_str(), gap.known["count"].as_str()), ("turned_away", "7"));
    let [policy] = told.policies.list.as_slice() else { panic!("{told:?}") };
    assert_eq!((policy.asked.by.clone(), policy.old.len(), policy.new.len()), (by, 1, 2));
    assert_eq!(told.readable.count(), 0);
    assert_eq!(verified.report.unmet, Vec::<String>::new());
    let doubts = verified.doubts(Some(Depth::Records));
    assert!(doubts.len() == 1 && doubts[0].starts_with("1 gaps, "), "{doubts:?}");
}

#[test]
fn what_a_sensor_says_of_itself_is_not_what_the_program_tells() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(dir.path(), None);
    let source = event::Source::new(SourcePath::Api, Key::of("watchkeeper"));
    let mut forged = Event::new(Kind::Admin, "retention.policy".to_owned(), source.clone());
    forged.set(attr::ADMIN_OBJECT, "retention policy");
    let gap = Event::new(Kind::Gap, "recorder.turned_away".to_owned(), source);
    node.pipeline().record_blocking(vec![forged, gap], &|| true).unwrap();
    node.close().unwrap();
    let verified = verified(dir.path(), Depth::Records);
    assert_eq!(verified.told, Told::default());
    assert_eq!(verified.doubts(Some(Depth::Records)), Vec::<String>::new());
    assert!(!verified.doubts(Some(Depth::Digests)).is_empty() && !verified.doubts(None).is_empty());
}

#[test]
fn what_a_tombstone_calls_erased_and_can_be_read_is_named_and_not_proved() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(dir.path(), None);
    let seq = say(&node, "jo-4711");
    let other = say(&node, "al-4711");
    // A tombstone that lies: it commits to a list of what is still there.
    let list = ErasedItems::new(vec![ErasedItem { leaf: seq, path: "event".to_owned() }]);
    let tombstone = list.tombstone("erasure-9").unwrap();
    let lists = dir.path().join("data/archive").join(TOMBSTONES_DIR);
    std::fs::create_dir_all(&lists).unwrap();
    let write = |name: &str, list: &ErasedItems| {
        let mut bytes = Vec::new();
        list.write(&mut bytes).unwrap();
        std::fs::write(lists.join(name), bytes).unwrap();
    };
    write("erasure-9.jsonl", &list);
    let mut event = internal(Kind::Admin, ledger::TOMBSTONE_EVENT);
    for (key, value) in tombstone.attributes() {
        event.attributes.insert(key, value.map(&mut |text: Clean| text.as_str().to_owned(), &|key: String, _| key));
    }
    node.pipeline().record_blocking(vec![event], &|| true).unwrap();
    node.close().unwrap();
    // What nobody vouches for accuses nobody.
    write("erasure-x.pending", &ErasedItems::new(vec![ErasedItem { leaf: other, path: "event".to_owned() }]));
    let verified = verified(dir.path(), Depth::Records);
    let found = &verified.told.readable.list;
    assert_eq!(*found, [Readable { request: "erasure-9".to_owned(), record: seq, path: "event".to_owned() }]);
    assert!(verified.report.unmet[0].contains("a tombstone calls erased"), "{:?}", verified.report.unmet);
}

#[test]
fn a_list_is_bounded_and_what_is_beyond_is_counted() {
    let mut listed = Listed::default();
    (0..LISTED_MAX as u64 + 3).for_each(|number| listed.push(number));
    assert_eq!((listed.list.len(), listed.more, listed.count()), (LISTED_MAX, 3, LISTED_MAX as u64 + 3));
}
