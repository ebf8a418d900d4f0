use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use event::{Event, Key, Kind, Source, SourcePath, Timestamp};
use journal::Record;
use sanitize::Clean;

use super::*;
use crate::disclosure::{Disclosure, Selection};
use crate::ledger::tests::{files, key, records, seal_at};
use crate::stored::StoredRecord;
use crate::verify::{Fault, Report, verify_memory, verify_memory_archived};
use crate::{
    Algorithm, Checkpoint, Ledger, LogKey, Policy, Pruned, SigningKey, Trust, VerifyError, minimum_index, prune,
    publish_witnessed, published_checkpoint, verify_published,
};

/// A place in memory that can be made to fail.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) files: RefCell<BTreeMap<String, Vec<u8>>>,
    /// Calls that it still answers; `None` for all.
    left: Cell<Option<u64>>,
    calls: Cell<u64>,
    /// What somebody else puts there just before the file of that name is exchanged.
    meanwhile: RefCell<Option<(&'static str, Vec<u8>)>>,
}

impl Memory {
    fn call(&self, name: &str) -> Result<(), PlaceError> {
        self.calls.set(self.calls.get() + 1);
        match self.left.get() {
            Some(0) => Err(PlaceError::Failed { name: name.to_owned(), what: "out of reach".to_owned() }),
            Some(left) => {
                self.left.set(Some(left - 1));
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn names(&self) -> Vec<String> {
        self.files.borrow().keys().cloned().collect()
    }
}

impl PublicFiles for Memory {
    fn get(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, PlaceError> {
        self.call(name)?;
        Ok(self.files.borrow().get(name).map(|bytes| bytes[..bytes.len().min(bytes_max + 1)].to_vec()))
    }
}

impl PublicPlace for Memory {
    fn create(&self, name: &str, bytes: &[u8]) -> Result<(), PlaceError> {
        self.call(name)?;
        let mut files = self.files.borrow_mut();
        let there = files.entry(name.to_owned()).or_insert_with(|| bytes.to_vec());
        if there == bytes { Ok(()) } else { Err(PlaceError::Differs(name.to_owned())) }
    }

    fn exchange(&self, name: &str, before: Option<&[u8]>, bytes: &[u8]) -> Result<(), PlaceError> {
        self.call(name)?;
        let mut files = self.files.borrow_mut();
        if let Some((_, theirs)) = self.meanwhile.borrow_mut().take_if(|(file, _)| *file == name) {
            files.insert(name.to_owned(), theirs);
        }
        let there = files.get(name).map(Vec::as_slice);
        if there != before && there != Some(bytes) {
            return Err(PlaceError::Changed(name.to_owned()));
        }
        files.insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), PlaceError> {
        self.call(name)?;
        self.files.borrow_mut().remove(name);
        Ok(())
    }

    fn list(&self, dir: &str) -> Result<Vec<String>, PlaceError> {
        self.call(dir)?;
        let prefix = format!("{dir}/");
        Ok(self.names().into_iter().filter(|name| name.starts_with(&prefix)).collect())
    }
}

/// The records of a log in which every hundredth is a heartbeat, from the fortieth on.
fn with_heartbeats(count: u64) -> Vec<Record> {
    let mut records = records(count);
    for seq in (40..count).step_by(100) {
        let mut event: Event<Clean, event::ContentRef> = Event::new(
            Kind::Admin,
            Clean::literal("recorder.heartbeat"),
            Source::new(SourcePath::Internal, Key::of("watchkeeper")),
        );
        event.id = event::EventId::derived(Timestamp::from_unix_ns(seq), &[6; 32]);
        (event.time, event.observed) = (Timestamp::from_unix_ns(seq + 1), Timestamp::from_unix_ns(seq + 2));
        let record = &mut records[usize::try_from(seq).unwrap()];
        record.event_json = serde_json::to_vec(&event).unwrap();
        record.contents.clear();
    }
    records
}

fn disclose(records: &[Record], seq: u64) -> Result<Option<Vec<u8>>, String> {
    let record = records[usize::try_from(seq).unwrap()].clone();
    let shown = Disclosure::of(&StoredRecord::whole(record), key().verifier().log_id(), &Selection::all()).unwrap();
    Ok(Some(shown.to_json().unwrap()))
}

fn publish_all(dir: &Path, place: &Memory, reached: &mut Published, records: &[Record]) -> Result<(), PublishError> {
    publish(dir, place, reached, &mut |seq| disclose(records, seq))
}

fn intact(place: &Memory) -> Report {
    let report = verify_published(place, &Trust::default(), None).unwrap();
    assert_eq!(report.fault, None);
    report
}

fn fault(place: &Memory) -> Fault {
    verify_published(place, &Trust::default(), None).unwrap().fault.unwrap_or_else(|| panic!("no fault was found"))
}

fn cosign(dir: &Path, witness: &SigningKey) -> u64 {
    let note = published_checkpoint(dir).unwrap().unwrap();
    let signature = witness.sign(note.text(), 1_700_000_000).unwrap();
    let size = Checkpoint::parse(note.text()).unwrap().size;
    publish_witnessed(dir, &note.with([signature]).unwrap()).unwrap();
    size
}

#[test]
fn each_size_is_published_and_verified_and_nothing_that_never_changes_changes() {
    let records = with_heartbeats(1030);
    let dir = tempfile::tempdir().unwrap();
    let (place, mut reached) = (Memory::default(), Published::default());
    publish_all(dir.path(), &place, &mut reached, &records).unwrap();
    assert!(matches!(verify_published(&place, &Trust::default(), None), Err(VerifyError::NothingPublished)));
    let witness = SigningKey::generate(Algorithm::Ed25519Cosignature, "witness.example").unwrap();
    let policy = Policy::parse(format!("witness w {}\nquorum w\n", witness.verifier()).as_bytes()).unwrap();
    let trust = Trust { keys: vec![key().verifier()], policy: Some(policy), tsa_roots: None };
    let mut ledger = Ledger::open(dir.path(), key()).unwrap();
    let mut checkpoints = Vec::new();
    for size in [1, 2, 41, 255, 256, 257, 600, 768, 1024, 1030] {
        seal_at(&mut ledger, &records, &[size]).unwrap();
        let witnessed = if size % 2 == 0 { cosign(dir.path(), &witness) } else { 0 };
        checkpoints.push(std::fs::read(dir.path().join("ledger/checkpoint")).unwrap());
        let before = place.files.borrow().clone();
        publish_all(dir.path(), &place, &mut reached, &records).unwrap();
        for (name, bytes) in &before {
            let may_change = ["checkpoint", "witnessed", HEARTBEAT_INDEX].contains(&name.as_str());
            let now = place.files.borrow().get(name).cloned();
            // A partial tile goes when the full one is there.
            let is_partial = TileId::parse(name).is_some_and(|tile| !tile.is_full());
            assert!(now.as_ref() == Some(bytes) || may_change || is_partial && now.is_none(), "{name}");
        }
        let report = intact(&place);
        assert_eq!((report.sealed, report.first_leaf), (size as u64, 0));
        assert_eq!(report.heartbeats, (size as u64 + 59) / 100);
        assert_eq!(report.root, ledger.checkpoint().unwrap().root);
        let judged = verify_published(&place, &trust, None).unwrap();
        if witnessed > 0 {
            assert_eq!((judged.fault, judged.witnesses.len(), judged.witnessed), (None, 1, witnessed));
            assert!(judged.unmet.is_empty(), "{:?}", judged.unmet);
        }
        let here = goes_on_from_published(dir.path(), &place).unwrap().unwrap();
        assert_eq!((here.size, here.behind), (size as u64, 0));
        // Nothing new, nothing put.
        let (files, calls) = (place.files.borrow().clone(), place.calls.get());
        publish_all(dir.path(), &place, &mut reached, &records).unwrap();
        assert_eq!(*place.files.borrow(), files);
        assert!(place.calls.get() - calls <= 4, "{}", place.calls.get() - calls);
    }
    let partial: Vec<String> = place.names().into_iter().filter(|name| name.contains(".p/")).collect();
    let expected =
        ["tile/0/004.p/6", "tile/1/000.p/1", "tile/1/000.p/2", "tile/1/000.p/3", "tile/1/000.p/4", "tile/entries/004.p/6"];
    assert_eq!(partial, expected);
    // Whoever kept a checkpoint sees that the log goes on from it.
    let judge = |kept: &[u8]| verify_published(&place, &Trust::default(), Some(kept)).unwrap();
    for kept in checkpoints {
        assert_eq!(judge(&kept).fault, None);
        assert_eq!(judge(crate::history_form(&kept).unwrap().as_bytes()).fault, None);
    }
    let mut other = with_heartbeats(1040);
    other[3].blind[0] ^= 1;
    for size in [600, 1040] {
        let fork = tempfile::tempdir().unwrap();
        seal_at(&mut Ledger::open(fork.path(), key()).unwrap(), &other, &[size]).unwrap();
        let found = judge(&std::fs::read(fork.path().join("ledger/checkpoint")).unwrap()).fault.unwrap();
        assert!(
            found.place.contains("kept") && found.what.contains(if size == 600 { "forked" } else { "rolled back" }),
            "{found}"
        );
    }
    let stranger = Trust { keys: vec![LogKey::generate("x").unwrap().verifier()], ..Trust::default() };
    let judged = verify_published(&place, &stranger, None).unwrap();
    assert!(judged.fault.is_none() && judged.unmet.len() == 1, "{judged:?}");
}

#[test]
fn a_place_that_goes_away_anywhere_is_whole_for_readers_and_the_next_round_goes_on() {
    let records = with_heartbeats(800);
    let witness = SigningKey::generate(Algorithm::Ed25519Cosignature, "witness.example").unwrap();
    let mut whole = None;
    for left in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(dir.path(), key()).unwrap();
        let (place, mut reached) = (Memory::default(), Published::default());
        seal_at(&mut ledger, &records, &[300]).unwrap();
        publish_all(dir.path(), &place, &mut reached, &records).unwrap();
        seal_at(&mut ledger, &records, &[800]).unwrap();
        cosign(dir.path(), &witness);
        place.left.set(Some(left));
        let outcome = publish_all(dir.path(), &place, &mut reached, &records);
        place.left.set(None);
        assert!(outcome.as_ref().err().is_none_or(PublishError::may_pass), "{outcome:?}");
        let sealed = intact(&place).sealed;
        assert!([300, 800].contains(&sealed));
        // The next process may know nothing of what was reached.
        if left % 2 == 0 {
            reached = Published::default();
        }
        publish_all(dir.path(), &place, &mut reached, &records).unwrap();
        assert_eq!((intact(&place).sealed, intact(&place).heartbeats), (800, 8));
        let now = place.files.borrow().clone();
        let mut expected = whole.get_or_insert_with(|| now.clone()).clone();
        let mut now_public = now.clone();
        for files in [&mut expected, &mut now_public] {
            // Keys and cosignatures are new in each turn, and a partial tile that nobody needs any more may be left.
            files.retain(|name, _| !["checkpoint", "witnessed"].contains(&name.as_str()) && !name.contains(".p/"));
        }
        assert_eq!(now_public, expected, "after {left} calls");
        if outcome.is_ok() {
            assert!(left > 20, "{left}");
            break;
        }
    }
}

#[test]
fn every_published_file_that_is_changed_cut_or_removed_is_named() {
    let records = with_heartbeats(600);
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path(), key()).unwrap();
    let (place, mut reached) = (Memory::default(), Published::default());
    let witness = SigningKey::generate(Algorithm::Ed25519Cosignature, "witness.example").unwrap();
    seal_at(&mut ledger, &records, &[599]).unwrap();
    cosign(dir.path(), &witness);
    publish_all(dir.path(), &place, &mut reached, &records).unwrap();
    seal_at(&mut ledger, &records, &[600]).unwrap();
    publish_all(dir.path(), &place, &mut reached, &records).unwrap();
    let of_size_before = |name: &str| name.contains(".p/87");
    for name in place.names().into_iter().filter(|name| !of_size_before(name)) {
        let whole = place.files.borrow()[&name].clone();
        let mut changes: Vec<Vec<u8>> = (0..whole.len().min(40))
            .map(|at| at * whole.len() / whole.len().min(40))
            .map(|at| {
                let mut changed = whole.clone();
                changed[at] ^= 1;
                changed
            })
            .collect();
        changes.extend([Vec::new(), whole[..whole.len() - 1].to_vec(), [whole.as_slice(), b"\n"].concat()]);
        for (number, changed) in changes.into_iter().enumerate() {
            let is_empty_index = changed.is_empty() && name.ends_with("/index");
            let changed_length = changed.len();
            place.files.borrow_mut().insert(name.clone(), changed);
            let judged = verify_published(&place, &Trust::default(), None).unwrap();
            // An index that is shorter tells of less; cosignatures are for whoever has a policy.
            let tells_less = is_empty_index || name == HEARTBEAT_INDEX || name == "witnessed";
            // White space behind JSON says nothing.
            let tells_less = tells_less || name.ends_with(".json") && changed_length > whole.len();
            match judged.fault {
                Some(found) => {
                    let is_named = found.place == name || ["vkey", HEARTBEAT_INDEX].contains(&name.as_str());
                    let of_leaf = name.starts_with("tile/") && found.place.starts_with("tile/");
                    let of_beat = found.place.starts_with("heartbeats/");
                    assert!(is_named || of_leaf || of_beat, "{name}, change {number}: {found}");
                }
                None => assert!(tells_less, "{name}, change {number}"),
            }
        }
        place.files.borrow_mut().remove(&name);
        let judged = verify_published(&place, &Trust::default(), None).unwrap();
        let optional = ["witnessed", HEARTBEAT_INDEX].contains(&name.as_str());
        assert!(judged.fault.is_some_and(|found| found.what.contains("missing")) || optional, "{name} removed");
        place.files.borrow_mut().insert(name, whole);
    }
    intact(&place);
}

#[test]
fn a_roll_back_a_fork_and_another_log_are_named_on_both_sides_and_nothing_is_put_over() {
    let ours = records(700);
    let mut others = records(700);
    others[450].blind[0] ^= 1;
    let log = |records: &[Record], sizes: &[usize]| {
        let dir = tempfile::tempdir().unwrap();
        seal_at(&mut Ledger::open(dir.path(), key()).unwrap(), records, sizes).unwrap();
        dir
    };
    let (place, mut reached) = (Memory::default(), Published::default());
    let published = log(&ours, &[600]);
    publish_all(published.path(), &place, &mut reached, &ours).unwrap();
    let before = place.files.borrow().clone();
    let refused = |dir: &Path, records: &[Record]| {
        let error = publish_all(dir, &place, &mut Published::default(), records).unwrap_err();
        assert!(!error.may_pass(), "{error}");
        assert_eq!(*place.files.borrow(), before, "{error}");
        let judged = goes_on_from_published(dir, &place).unwrap().unwrap_err();
        (error.to_string(), judged.to_string())
    };
    let (error, judged) = refused(log(&ours, &[500]).path(), &ours);
    assert!(error.contains("rolled back") && error.contains("500") && judged.contains("rolled back"), "{error} {judged}");
    for size in [600, 700] {
        let (error, judged) = refused(log(&others, &[size]).path(), &others);
        assert!(error.contains("forked") && judged.contains("forked"), "{error} {judged}");
    }
    let another = tempfile::tempdir().unwrap();
    seal_at(&mut Ledger::open(another.path(), LogKey::generate("PeterNeumann").unwrap()).unwrap(), &ours, &[700]).unwrap();
    let (error, judged) = refused(another.path(), &ours);
    assert!(error.contains("another log") && judged.contains("did not sign"), "{error} {judged}");

    // A public checkpoint that was rolled back is consistent with both histories; the tiles tell them apart.
    let old = log(&ours, &[300]);
    let old_checkpoint = std::fs::read(old.path().join("ledger/checkpoint")).unwrap();
    place.files.borrow_mut().insert("checkpoint".to_owned(), old_checkpoint);
    let error = publish_all(log(&others, &[700]).path(), &place, &mut Published::default(), &others).unwrap_err();
    assert!(matches!(error, PublishError::Place(PlaceError::Differs(_))), "{error}");
    assert!(!error.may_pass() && error.to_string().contains("tile/"), "{error}");
    // The log itself goes on.
    let grown = log(&ours, &[600, 700]);
    publish_all(grown.path(), &place, &mut Published::default(), &ours).unwrap();
    assert_eq!(intact(&place).sealed, 700);
}

#[test]
fn of_two_who_publish_at_once_the_second_stops_and_no_fork_is_published() {
    let ours = records(700);
    let mut others = records(700);
    others[650].blind[0] ^= 1;
    let log = |records: &[Record], sizes: &[usize]| {
        let dir = tempfile::tempdir().unwrap();
        seal_at(&mut Ledger::open(dir.path(), key()).unwrap(), records, sizes).unwrap();
        dir
    };
    let checkpoint = |dir: &Path| std::fs::read(dir.join("ledger/checkpoint")).unwrap();
    for (first, second) in [(690, 690), (690, 695), (695, 690)] {
        let place = Memory::default();
        publish_all(log(&ours, &[600]).path(), &place, &mut Published::default(), &ours).unwrap();
        // A copy of the record goes on as another history. Both have seen the checkpoint of 600 records; the other one's is put first.
        let (here, copy) = (log(&ours, &[600, first]), log(&others, &[600, second]));
        let theirs = checkpoint(copy.path());
        *place.meanwhile.borrow_mut() = Some(("checkpoint", theirs.clone()));
        let error = publish_all(here.path(), &place, &mut Published::default(), &ours).unwrap_err();
        assert!(matches!(&error, PublishError::Place(PlaceError::Changed(name)) if name == "checkpoint"), "{error}");
        assert!(!error.may_pass(), "{error}");
        assert_eq!(place.files.borrow()["checkpoint"], theirs, "nothing is put over what the other one put");
        // And so it stays.
        let error = publish_all(here.path(), &place, &mut Published::default(), &ours).unwrap_err();
        assert!(!error.may_pass(), "{error}");
        assert_eq!(place.files.borrow()["checkpoint"], theirs);
    }
    // The same for what else changes; and an answer that was lost on the way is no other publisher.
    let place = Memory::default();
    let here = log(&ours, &[600]);
    publish_all(here.path(), &place, &mut Published::default(), &ours).unwrap();
    let witness = SigningKey::generate(Algorithm::Ed25519Cosignature, "witness.example").unwrap();
    cosign(here.path(), &witness);
    *place.meanwhile.borrow_mut() = Some(("witnessed", b"another".to_vec()));
    let error = publish_all(here.path(), &place, &mut Published::default(), &ours).unwrap_err();
    assert!(matches!(&error, PublishError::Place(PlaceError::Changed(name)) if name == "witnessed"), "{error}");
    place.files.borrow_mut().remove("witnessed");
    let own = std::fs::read(here.path().join("ledger/witnessed")).unwrap();
    *place.meanwhile.borrow_mut() = Some(("witnessed", own));
    publish_all(here.path(), &place, &mut Published::default(), &ours).unwrap();
    intact(&place);
}

#[test]
fn a_ledger_that_is_not_whole_is_not_published() {
    let records = records(600);
    let (place, mut reached) = (Memory::default(), Published::default());
    let dir = tempfile::tempdir().unwrap();
    seal_at(&mut Ledger::open(dir.path(), key()).unwrap(), &records, &[600]).unwrap();
    let bundle = dir.path().join("ledger/tile/entries/001");
    let mut bytes = std::fs::read(&bundle).unwrap();
    bytes[5000] ^= 1;
    std::fs::write(&bundle, bytes).unwrap();
    let error = publish_all(dir.path(), &place, &mut reached, &records).unwrap_err();
    assert!(matches!(error, PublishError::Damaged { .. }), "{error}");
    assert_eq!(place.names(), ["vkey"]);
}

/// Which records are still there after what a retention has dropped.
fn kept(records: &[Record], kept: &BTreeSet<u64>, minimum: u64) -> Vec<Record> {
    records.iter().filter(|record| record.seq.0 >= minimum || kept.contains(&record.seq.0)).cloned().collect()
}

#[test]
fn a_pruned_log_proves_what_is_left_and_every_checkpoint_from_there_on() {
    let records = with_heartbeats(1300);
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path(), key()).unwrap();
    let (place, mut reached) = (Memory::default(), Published::default());
    seal_at(&mut ledger, &records, &[100, 300, 700, 1000]).unwrap();
    publish_all(dir.path(), &place, &mut reached, &records).unwrap();
    let needed = BTreeSet::from([270]);
    let before = files(dir.path());
    let would = prune(dir.path(), ledger.keys(), None, 900, &needed).unwrap();
    assert_eq!((would, files(dir.path())), (Pruned { minimum: 900, files: 4, bytes: 4 * 256 / 2 * (32 + 104), kept: 2 }, before));
    let pruned = prune(dir.path(), ledger.keys(), Some(&key()), 900, &needed).unwrap();
    assert_eq!((pruned.files, pruned.kept, minimum_index(dir.path(), ledger.keys()).unwrap()), (4, 2, 900));
    assert!(!dir.path().join("ledger/tile/0/000").exists() && dir.path().join("ledger/tile/0/001").exists());
    // A smaller one takes nothing back.
    assert_eq!(prune(dir.path(), ledger.keys(), Some(&key()), 10, &needed).unwrap().minimum, 900);
    assert!(prune(dir.path(), ledger.keys(), Some(&key()), 1001, &needed).is_err());

    let left = kept(&records, &needed, 900);
    let judge = |records: &[Record]| verify_memory_archived(dir.path(), records).unwrap();
    let report = judge(&left);
    assert_eq!((report.fault, report.first_leaf, report.sealed, report.checkpoints), (None, 768, 1000, 1));
    assert!(report.notes.iter().any(|note| note.contains("pruned") && note.contains("768") && note.contains("of 3 smaller")));
    // A record that is kept must be the one that was sealed, and its leaf must be there.
    let mut changed = left.clone();
    changed[0].blind[0] ^= 1;
    assert_eq!(judge(&changed).fault.unwrap().record, Some(270));
    let more = kept(&records, &BTreeSet::from([270, 600]), 900);
    assert!(judge(&more).fault.unwrap().place.contains("tile/entries/002"));

    // It goes on, and the public one follows.
    seal_at(&mut ledger, &records, &[1300]).unwrap();
    drop(ledger);
    assert_eq!(judge(&kept(&records, &needed, 900)).fault, None);
    let mut again = Ledger::open(dir.path(), key()).unwrap();
    assert!(again.seal(Timestamp::from_unix_ns(1)).unwrap().is_none());
    publish_all(dir.path(), &place, &mut reached, &records).unwrap();
    assert!(!place.names().contains(&"tile/0/000".to_owned()) && place.names().contains(&"tile/0/001".to_owned()));
    let report = intact(&place);
    assert_eq!((report.sealed, report.first_leaf), (1300, 768));
    // A proof of what is kept, and of what followed.
    let size = 1300;
    let root = again.checkpoint().unwrap().root;
    for index in [270, 768, 1299] {
        let leaf = crate::Leaf::of(&records[usize::try_from(index).unwrap()], key().verifier().log_id()).unwrap();
        let path = crate::proof::inclusion(&crate::proof::TileReader::new(dir.path(), size), index, size).unwrap();
        crate::proof::verify_inclusion(&crate::leaf_hash(&leaf.encode()), index, size, &path, &root).unwrap();
    }
    // A new place gets what there is.
    let (elsewhere, mut reached) = (Memory::default(), Published::default());
    publish_all(dir.path(), &elsewhere, &mut reached, &records).unwrap();
    assert_eq!((intact(&elsewhere).sealed, intact(&elsewhere).first_leaf), (1300, 768));
    assert!(elsewhere.names().contains(&"tile/entries/001".to_owned()));
    // Whoever takes away more than the note says is found out, here and there.
    for name in ["tile/1/000.p/5", "tile/0/003", "tile/entries/004", "minimum"] {
        let (held, path) = (place.files.borrow_mut().remove(name).unwrap(), dir.path().join("ledger").join(name));
        fault(&place);
        place.files.borrow_mut().insert(name.to_owned(), held.clone());
        std::fs::remove_file(&path).unwrap();
        assert!(judge(&left).fault.is_some(), "{name}");
        std::fs::write(path, held).unwrap();
    }
    for (from, to) in [("\n900\n", "\n1200\n"), ("\n900\n", "\n90\n")] {
        let path = dir.path().join("ledger/minimum");
        let note = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, note.replace(from, to)).unwrap();
        assert_eq!(judge(&left).fault.unwrap().place, "ledger/minimum");
        std::fs::write(&path, note).unwrap();
    }
    // What is left below must still be what was sealed, also where nobody asks for its record.
    let path = dir.path().join("ledger/tile/0/001");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[7] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(judge(&left).fault.unwrap().place.contains("tile/0/001"));
    assert!(verify_memory(dir.path(), &records).unwrap().fault.is_some());
}

#[test]
fn the_minimum_index_is_signed_anew_when_the_keys_are_rotated() {
    let records = records(700);
    let dir = tempfile::tempdir().unwrap();
    let old = LogKey::generate("test.example/log").unwrap();
    let mut both = LogKey::from_text(&old.to_text()).unwrap();
    both.add_generation().unwrap();
    let copy = LogKey::from_text(&both.to_text()).unwrap();
    let mut ledger = Ledger::open(dir.path(), LogKey::from_text(&old.to_text()).unwrap()).unwrap();
    seal_at(&mut ledger, &records, &[600]).unwrap();
    prune(dir.path(), ledger.keys(), Some(&old), 512, &BTreeSet::new()).unwrap();
    let note = dir.path().join("ledger/minimum");
    let by_old = std::fs::read(&note).unwrap();
    ledger.rotate(both, 0).unwrap();
    assert_ne!(std::fs::read(&note).unwrap(), by_old);
    // A rotation that ended before it was signed anew: the next start does it.
    std::fs::write(&note, &by_old).unwrap();
    drop(ledger);
    let mut ledger = Ledger::open(dir.path(), copy).unwrap();
    assert_ne!(std::fs::read(&note).unwrap(), by_old);
    seal_at(&mut ledger, &records, &[700]).unwrap();
    let report = verify_memory_archived(dir.path(), &records[512..]).unwrap();
    assert_eq!((report.fault, report.first_leaf), (None, 512));
    let place = Memory::default();
    publish_all(dir.path(), &place, &mut Published::default(), &records).unwrap();
    assert_eq!(intact(&place).first_leaf, 512);
    // A retired key says nothing any more.
    std::fs::write(&note, &by_old).unwrap();
    assert_eq!(verify_memory_archived(dir.path(), &records[512..]).unwrap().fault.unwrap().place, "ledger/minimum");
}

#[test]
fn an_index_has_one_form() {
    assert_eq!(parse_index(b""), Some(Vec::new()));
    assert_eq!(parse_index(b"9\n7\n0\n"), Some(vec![9, 7, 0]));
    assert_eq!(encode_index([9, 7, 0]), "9\n7\n0\n");
    assert_eq!(parse_index(encode_index((0..5000).rev()).as_bytes()).unwrap().len(), INDEX_NUMBERS_MAX);
    for bad in ["9", "9\n9\n", "7\n9\n", "09\n", "\n", "9\n\n", "-1\n", "x\n", "18446744073709551616\n"] {
        assert_eq!(parse_index(bad.as_bytes()), None, "{bad:?}");
    }
}
