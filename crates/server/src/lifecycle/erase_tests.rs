use std::path::PathBuf;

use event::{EventId, Kind, Principal};
use tempfile::TempDir;

use super::super::{Asker, Erasure};
use super::*;
use crate::lifecycle::spine::SpineError;
use crate::node::{Node, NodeSettings};
use crate::root_key::RootKeyPlace;

const SECRET: &str = "heron-azure-7741";

struct World {
    dir: TempDir,
    /// The person's call.
    call: EventId,
}

impl World {
    /// A person with one call, and, in a later span, a record of their session that names no user.
    fn new() -> Self {
        let mut world = Self { dir: tempfile::tempdir().unwrap(), call: EventId::random() };
        let node = world.open();
        world.call = say(&node, Kind::ModelCall, Some("jo-4711"));
        node.erase(&asker(), &Erasure { subject: "nobody-at-all".to_owned(), ..Erasure::default() }).unwrap();
        say(&node, Kind::ToolCall, None);
        node.close().unwrap();
        world
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn open(&self) -> Node {
        let root = RootKeyPlace::new(Some(&self.dir.path().join("root.key"))).unwrap();
        Node::open(&self.data(), &root, &NodeSettings::default()).unwrap()
    }

    /// Erases, and ends behind a phase as a crash would.
    fn erase(&self, subject: &str, stop_behind: Phase) {
        let node = self.open();
        let target = Target::new(node.pipeline().sanitizer(), subject, &[]);
        let stopped = node.erasing(|eraser| {
            eraser.stop_behind = Some(stop_behind);
            eraser.erase(target, false, "erasure-1")
        });
        assert!(matches!(stopped, Err(EraseError::Stopped)), "{stopped:?}");
        node.close().unwrap();
    }

    fn verify(&self, node: Node) {
        node.close().unwrap();
        let dir = crate::DataDir::existing(&self.data()).unwrap();
        let root = RootKeyPlace::new(Some(&self.dir.path().join("root.key"))).unwrap();
        let keyring = crate::read_keyring(&dir, &root).unwrap();
        let trust = ledger::Trust::default();
        let depth = super::super::verify::Depth::Records;
        let verified = super::super::verify::verify(&self.data(), &trust, Some(&keyring), depth, None).unwrap();
        assert_eq!(verified.report.fault, None);
    }
}

fn asker() -> Asker {
    Asker::of_process()
}

fn say(node: &Node, kind: Kind, user: Option<&str>) -> EventId {
    let source = event::Source::new(event::SourcePath::Api, event::Key::of("api"));
    let mut event: Event<String> = Event::new(kind, "x", source);
    event.identity.application = Some(Principal::asserted("shop".to_owned()));
    event.identity.user = user.map(|user| Principal::asserted(user.to_owned()));
    event.session = Some("s1".to_owned());
    event.set(event::Key::of("note"), SECRET);
    let id = event.id;
    node.pipeline().record_blocking(vec![event], &|| true).unwrap();
    id
}

/// A detection on an event, found whenever.
fn detect(node: &Node, on: EventId) -> EventId {
    let mut event = crate::node::internal(Kind::Detection, "found");
    event.set(event::attr::DETECTION_EVENTS, event::Value::List(vec![event::Value::Text(on.to_string())]));
    let id = event.id;
    node.pipeline().record_blocking(vec![event], &|| true).unwrap();
    id
}

/// Every event that can be read.
fn events(node: &Node) -> Result<String, SpineError> {
    let mut all = String::new();
    let mut reader = node.spine().reader(journal::Seq(0));
    while let Some(step) = reader.next()? {
        if let crate::lifecycle::cold::Step::Record(record) = step {
            all.push_str(&String::from_utf8_lossy(&record.event_json));
        }
    }
    Ok(all)
}

#[test]
fn an_erasure_that_is_interrupted_anywhere_goes_on_from_its_plan() {
    use Phase::{Begun, Forgotten, Planned, Rebuilt, Requested, Rewritten, Tombstoned};
    // Most of the time goes by until the log is sealed.
    std::thread::scope(|threads| {
        for phase in [Requested, Begun, Planned, Rewritten, Rebuilt, Forgotten, Tombstoned] {
            threads.spawn(move || goes_on_behind(phase));
        }
    });
}

fn goes_on_behind(phase: Phase) {
    let world = World::new();
    world.erase("jo-4711", phase);
    let node = world.open();
    assert!(node.has_interrupted_erasures().unwrap());
    // Somebody else's erasure comes first: each ends by its own plan and has its own tombstone.
    let other = Erasure { subject: "al-4711".to_owned(), ..Erasure::default() };
    let erased = node.erase(&asker(), &other).unwrap();
    assert_eq!((erased.found, erased.ended.len()), (0, 1), "{phase:?}: {erased:?}");
    assert_eq!(erased.ended[0].request, "erasure-1");
    assert!(!node.has_interrupted_erasures().unwrap());
    let said = events(&node).unwrap();
    assert!(!said.contains(SECRET) && !said.contains("jo-4711"), "{phase:?}");
    assert_eq!(said.matches(ledger::TOMBSTONE_EVENT).count(), 1, "{phase:?}");
    world.verify(node);
}

#[test]
fn behind_the_line_only_detections_on_what_went_go_even_when_they_come_after_a_crash() {
    let world = World::new();
    let other = EventId::random();
    world.erase("jo-4711", Phase::Planned);
    let node = world.open();
    let (late, of_others) = (detect(&node, world.call), detect(&node, other));
    let anew = say(&node, Kind::ModelCall, Some("jo-4711"));
    assert_eq!(node.resume_erasures().unwrap().len(), 1);
    let said = events(&node).unwrap();
    for gone in [world.call, late] {
        assert!(!said.contains(&gone.to_string()), "{gone} is named somewhere");
    }
    for there in [of_others, anew] {
        assert!(said.contains(&there.to_string()), "{there} is lost");
    }
    world.verify(node);
}

#[test]
fn while_an_erasure_is_under_way_nothing_is_called_tampered_and_a_foreign_list_is_never_believed() {
    let world = World::new();
    world.erase("jo-4711", Phase::Rewritten);
    let lists = world.data().join(ARCHIVE_DIR).join(TOMBSTONES_DIR);
    fs::create_dir_all(&lists).unwrap();
    fs::write(lists.join("x.pending"), "{\"leaf\":0,\"path\":\"event\"}\n").unwrap();
    let node = world.open();
    world.verify(node);
    let node = world.open();
    assert_eq!(node.resume_erasures().unwrap().len(), 1);
    let list = fs::read_to_string(lists.join("erasure-1.jsonl")).unwrap();
    assert_eq!(list.lines().count(), 2, "{list}");
    world.verify(node);
}

#[test]
fn a_hold_and_the_programs_own_records_stand_against_names_in_the_records_of_others() {
    let world = World::new();
    let node = world.open();
    let scope = super::super::hold::Scope { user: Some("jo-4711".to_owned()), ..Default::default() };
    node.place_hold(&asker(), "case-1", "letter", scope).unwrap();
    let names = ["s1", "jo-4711", SECRET, "admin", "erasure.requested", "delete"].map(str::to_owned).to_vec();
    let asked = Erasure { subject: "nobody-x".to_owned(), aliases: names.clone(), wide: true, ..Erasure::default() };
    let erased = node.erase(&asker(), &asked).unwrap();
    assert_eq!((erased.items, erased.refused.get(&Ground::LegalHold)), (0, Some(&2)), "{erased:?}");
    assert_eq!(erased.stays[0].keeper.by, "case-1");
    node.release_hold(&asker(), "case-1", "over").unwrap();
    let before = events(&node).unwrap();
    let erased = node.erase(&asker(), &asked).unwrap();
    assert_eq!(erased.records, 2, "{erased:?}");
    let after = events(&node).unwrap();
    for kept in ["erasure.requested", "erasure.refused", "hold.place", "\"delete\""] {
        assert!(after.matches(kept).count() >= before.matches(kept).count(), "{kept}");
    }
    world.verify(node);
}
