use std::convert::Infallible;

use event::ContentRef;

use super::*;
use crate::key::tests::MemoryKeys;
use crate::objects::{DirObjects, ObjectError, Protection, Put};
use crate::segment::tests::{content, conversation, record};
use crate::segment::time_of;
use crate::{Item, KeyStoreError, Manifest, ManifestError, SegmentKey};

pub(crate) const NOW: Timestamp = Timestamp::from_unix_ns(1_800_000_000_000_000_000);

/// An archive in a directory, that can be opened again and again.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) keys: Arc<MemoryKeys>,
    pub(crate) log_key: Arc<LogKey>,
}

impl Place {
    pub(crate) fn new() -> Self {
        // Made once: in a debug build it takes a while.
        static KEY: std::sync::LazyLock<Arc<LogKey>> =
            std::sync::LazyLock::new(|| Arc::new(LogKey::generate("test.example/log").unwrap()));
        Self { dir: tempfile::tempdir().unwrap(), keys: Arc::default(), log_key: KEY.clone() }
    }

    pub(crate) fn objects(&self) -> Arc<DirObjects> {
        Arc::new(DirObjects::open(&self.dir.path().join("objects"), false).unwrap())
    }

    pub(crate) fn try_open(&self, steps: &Steps, pin: Option<&Pin>) -> Result<Archive, ArchiveError> {
        let objects = Arc::new(Failing(self.objects(), steps.clone()));
        let keys = Arc::new(Failing(self.keys.clone(), steps.clone()));
        let dir = self.dir.path().join("archive");
        Archive::open_with(&dir, Purpose::Evidence, objects, keys, self.log_key.clone(), &[], pin, steps.clone())
    }

    pub(crate) fn open(&self) -> Archive {
        self.try_open(&Steps::default(), None).unwrap()
    }
}

/// Ends the run at a step, before or after it was done.
struct Failing<T>(Arc<T>, Steps);

impl<T: std::fmt::Debug> std::fmt::Debug for Failing<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl<T> Failing<T> {
    fn around<R, E>(&self, work: impl FnOnce(&T) -> Result<R, E>, fail: impl Fn(io::Error) -> E) -> Result<R, E> {
        self.1.step().map_err(&fail)?;
        let done = work(&self.0)?;
        self.1.step().map_err(&fail)?;
        Ok(done)
    }
}

fn ended(error: io::Error) -> ObjectError {
    ObjectError::Failed { name: "?".to_owned(), what: error.to_string() }
}

impl Objects for Failing<DirObjects> {
    fn put(&self, name: &ObjectName, bytes: &Bytes, lock_until: Option<Timestamp>) -> Result<Put, ObjectError> {
        self.around(|objects| objects.put(name, bytes, lock_until), ended)
    }
    fn get(&self, name: &ObjectName, version: Option<&str>, bytes_max: u64) -> Result<Option<Bytes>, ObjectError> {
        self.around(|objects| objects.get(name, version, bytes_max), ended)
    }
    fn delete(&self, name: &ObjectName, version: Option<&str>) -> Result<bool, ObjectError> {
        self.around(|objects| objects.delete(name, version), ended)
    }
    fn list(&self, names_max: usize) -> Result<Vec<String>, ObjectError> {
        self.0.list(names_max)
    }
    fn clean(&self) -> Result<(), ObjectError> {
        self.0.clean()
    }
    fn protection(&self, name: &ObjectName, version: Option<&str>) -> Result<Protection, ObjectError> {
        self.0.protection(name, version)
    }
    fn hold(&self, name: &ObjectName, version: Option<&str>, on: bool) -> Result<(), ObjectError> {
        self.0.hold(name, version, on)
    }
}

impl SegmentKeys for Failing<MemoryKeys> {
    fn create(&self) -> Result<(KeyId, SegmentKey), KeyStoreError> {
        self.around(SegmentKeys::create, |error| KeyStoreError(error.into()))
    }
    fn get(&self, id: KeyId) -> Result<Option<SegmentKey>, KeyStoreError> {
        self.0.get(id)
    }
    fn destroy(&self, ids: &[KeyId]) -> Result<(), KeyStoreError> {
        self.around(|keys| keys.destroy(ids), |error| KeyStoreError(error.into()))
    }
    fn tag(&self, bytes: &[u8]) -> Result<[u8; 32], KeyStoreError> {
        self.0.tag(bytes)
    }
}

fn nothing(_: &ContentRef) -> Result<Option<StoredContent>, SegmentError> {
    Ok(None)
}

fn no_lock(_: &Class) -> Option<Timestamp> {
    None
}

pub(crate) fn plain() -> Sealing<'static> {
    Sealing { contents: &nothing, lock_until: &no_lock, keeps: &|_| None, root: None, now: NOW }
}

fn class(name: &str) -> Class {
    name.parse().unwrap()
}

pub(crate) fn span(first: u64, end: u64, name: &str) -> Span {
    Span { first, end, class: class(name) }
}

/// Every third record is of another class.
pub(crate) fn classed(records: &[StoredRecord]) -> impl Iterator<Item = Result<(Class, StoredRecord), Infallible>> {
    records.iter().map(|record| Ok((class(if record.seq.0 % 3 == 0 { "pci" } else { "soc2" }), record.clone())))
}

pub(crate) fn records_of(archive: &View, from: u64) -> Vec<StoredRecord> {
    let items = archive.reader(from).map(|item| match item.unwrap() {
        Item::Record(record) => *record,
        Item::Dropped(dropped) => panic!("{dropped:?}"),
    });
    items.collect()
}

#[test]
fn what_was_sealed_is_read_in_order_over_spans_and_classes() {
    let place = Place::new();
    let records = conversation(0, 250);
    let mut archive = place.open();
    for (first, end) in [(0, 100), (100, 101), (101, 250)] {
        let segments = archive.seal(first, end, classed(&records[first as usize..end as usize]), &plain()).unwrap();
        assert_eq!(segments.iter().map(|segment| segment.records).sum::<u64>(), end - first);
    }
    assert_eq!(archive.view().manifest().end(), 250);
    assert_eq!(archive.view().manifest().segments().count(), 5);
    drop(archive);
    let archive = place.open();
    assert_eq!(records_of(archive.view(), 0), records);
    assert_eq!(records_of(archive.view(), 99), records[99..]);
    let (from, to) = (time_of(&records[40]).unwrap(), time_of(&records[120]).unwrap());
    let within: Vec<_> = archive.view().range(from, to).map(Result::unwrap).collect();
    assert!(matches!((&within[0], within.len()), (Item::Record(record), 81) if record.seq.0 == 40));
}

#[test]
fn an_archive_of_evidence_takes_no_gap_and_nothing_twice() {
    let place = Place::new();
    let records = conversation(0, 30);
    let mut archive = place.open();
    archive.seal(0, 10, classed(&records[..10]), &plain()).unwrap();
    for (first, end, given) in [(0, 10, 0..10), (11, 20, 11..20), (10, 20, 10..19), (5, 15, 5..15), (10, 10, 10..10)] {
        let refused = archive.seal(first, end, classed(&records[given]), &plain());
        assert!(matches!(refused, Err(ArchiveError::Refused { .. })), "{first} to {end}: {refused:?}");
    }
    archive.seal(10, 30, classed(&records[10..]), &plain()).unwrap();
    assert_eq!(records_of(archive.view(), 0), records);
}

#[test]
fn a_second_writer_is_turned_away() {
    let place = Place::new();
    let _archive = place.open();
    assert!(matches!(place.try_open(&Steps::default(), None), Err(ArchiveError::Locked(_))));
}

#[test]
fn a_segment_written_anew_has_another_key_and_the_old_bytes_open_with_nothing() {
    let place = Place::new();
    let records = conversation(0, 20);
    let mut archive = place.open();
    let sealed = archive.seal(0, 20, classed(&records), &plain()).unwrap();
    let old = sealed.iter().find(|segment| segment.class == class("soc2")).unwrap();
    let copy = place.objects().get(&ObjectName::Segment(old.events.digest), None, 1 << 20).unwrap().unwrap();
    let mut changed = records.clone();
    changed[4] = record(4, &[content(1, "said instead")], &[content(1, "said instead")]);
    let put = changed[4].clone();
    assert_eq!(archive.rewrite(&old.span(), "test", NOW, |_| Ok(false)).unwrap(), None);
    let done = archive
        .rewrite(&old.span(), "erasure", NOW, |kept| match kept {
            Kept::Record(record) if record.seq.0 == 4 => {
                *record = put.clone();
                Ok(true)
            }
            _ => Ok(false),
        })
        .unwrap()
        .unwrap();
    assert_eq!((done.records_changed, done.destroyed, done.locked), (1, old.key, vec![]));
    assert!(place.keys.get(old.key).unwrap().is_none());
    assert!(!copy.is_empty() && place.objects().get(&ObjectName::Segment(old.events.digest), None, 1 << 20).unwrap().is_none());
    assert_eq!(records_of(archive.view(), 0), changed);
    drop(archive);
    assert_eq!(records_of(place.open().view(), 0), changed);
}

#[test]
fn a_hold_passes_to_what_is_written_anew() {
    let place = Place::new();
    let records = conversation(0, 20);
    let mut archive = place.open();
    archive.seal(0, 20, classed(&records), &plain()).unwrap();
    let held = span(0, 20, "pci");
    archive.hold(&held, true, "case 7", NOW).unwrap();
    archive.rewrite(&held, "erasure of somebody else", NOW, |_| Ok(true)).unwrap().unwrap();
    assert!(archive.view().manifest().is_held(&held));
    assert!(matches!(archive.drop_segment(&held, "retention", NOW), Err(ArchiveError::Held(_))));
    drop(archive);
    let archive = place.open();
    assert!(archive.view().manifest().is_held(&held));
    assert_eq!(records_of(archive.view(), 0), records);
}

#[test]
fn what_is_dropped_is_told_and_its_key_is_gone() {
    let place = Place::new();
    let records = conversation(0, 20);
    let mut archive = place.open();
    let sealed = archive.seal(0, 20, classed(&records), &plain()).unwrap();
    archive.hold(&span(0, 20, "pci"), true, "case 7", NOW).unwrap();
    assert!(matches!(archive.drop_segment(&span(0, 20, "pci"), "retention", NOW), Err(ArchiveError::Held(_))));
    drop(archive);
    let mut archive = place.open();
    assert!(archive.view().manifest().is_held(&span(0, 20, "pci")));
    archive.hold(&span(0, 20, "pci"), false, "case closed", NOW).unwrap();
    assert_eq!(archive.drop_segment(&span(0, 20, "pci"), "retention", NOW).unwrap(), []);
    assert!(matches!(archive.drop_segment(&span(0, 20, "pci"), "retention", NOW), Err(ArchiveError::NoSegment(_))));
    let items: Vec<_> = archive.view().reader(0).map(Result::unwrap).collect();
    assert!(matches!(&items[0], Item::Dropped(dropped) if dropped.records == 7 && dropped.why == "retention"));
    assert_eq!(items.len(), 1 + 13);
    let pci = sealed.iter().find(|segment| segment.class == class("pci")).unwrap();
    assert!(place.keys.get(pci.key).unwrap().is_none());
    // What its records brought and others refer to is still there, beside those.
    let kept = archive.view().contents(&span(0, 20, "soc2")).unwrap();
    assert!(kept.iter().any(|kept| kept.text().is_some_and(|text| &*text == "what was said as number 3")));
    // The span is still covered: nothing else can take its place.
    assert!(archive.seal(0, 20, classed(&records), &plain()).is_err());
}

#[test]
fn a_rolled_back_manifest_is_found() {
    let place = Place::new();
    let records = conversation(0, 30);
    let mut archive = place.open();
    archive.seal(0, 10, classed(&records[..10]), &plain()).unwrap();
    let path = place.dir.path().join("archive/manifest");
    let older = std::fs::read(&path).unwrap();
    let before = archive.view().pin();
    archive.seal(10, 20, classed(&records[10..20]), &plain()).unwrap();
    let pin = archive.view().pin();
    drop(archive);
    assert!(place.try_open(&Steps::default(), Some(&before)).is_ok());
    std::fs::write(&path, &older).unwrap();
    let rolled_back = |found| matches!(found, Err(ArchiveError::Manifest(ManifestError::RolledBack { found: 1, pinned: 2 })));
    assert!(rolled_back(place.try_open(&Steps::default(), Some(&pin)).map(drop)));
    // Its copies beside the objects tell of it, too.
    assert!(rolled_back(place.try_open(&Steps::default(), None).map(drop)));
    // Another history of the same length, signed with the same key.
    std::fs::remove_file(place.dir.path().join("objects/manifest/00000000000000000002")).unwrap();
    place.open().seal(10, 21, classed(&records[10..21]), &plain()).unwrap();
    let forked = place.try_open(&Steps::default(), Some(&pin));
    assert!(matches!(forked, Err(ArchiveError::Manifest(ManifestError::Forked(2)))));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(place.try_open(&Steps::default(), Some(&pin)), Err(ArchiveError::NoManifest(_, 2))));
}

#[test]
fn a_changed_manifest_is_refused() {
    let place = Place::new();
    let records = conversation(0, 20);
    let mut archive = place.open();
    archive.seal(0, 10, classed(&records[..10]), &plain()).unwrap();
    archive.seal(10, 20, classed(&records[10..]), &plain()).unwrap();
    drop(archive);
    let path = place.dir.path().join("archive/manifest");
    let whole = std::fs::read(&path).unwrap();
    let key = place.log_key.verifiers();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        assert!(Manifest::open(&bytes, Purpose::Evidence, &key).is_err(), "byte {at}");
        // Cut between two notes, it is an older manifest: what pins and copies are for.
        if let Ok(cut) = Manifest::open(&whole[..at], Purpose::Evidence, &key) {
            assert!(cut.pin().generation < 2, "cut at {at}");
        }
    }
    assert!(Manifest::open(&whole, Purpose::Forensic, &key).is_err());
    let other = LogKey::generate("test.example/log").unwrap().verifiers();
    assert!(Manifest::open(&whole, Purpose::Evidence, &other).is_err());
}

/// Ends the run at every step of a change, opens the archive again, and expects all of the change or nothing of it.
#[test]
fn a_change_that_ends_anywhere_is_whole_or_was_not() {
    type Act = fn(&mut Archive, &[StoredRecord]) -> Result<(), ArchiveError>;
    let seal: Act = |archive, records| archive.seal(10, 20, classed(&records[10..20]), &plain()).map(drop);
    let rewrite: Act = |archive, _| {
        let change = |kept: Kept<'_>| match kept {
            Kept::Record(StoredRecord { body: StoredBody::Whole(record), .. }) if record.seq.0 == 3 => {
                record.blind = [9; 16];
                Ok(true)
            }
            _ => Ok(false),
        };
        archive.rewrite(&span(0, 10, "pci"), "test", NOW, change).map(drop)
    };
    let drop_it: Act = |archive, _| archive.drop_segment(&span(0, 10, "pci"), "test", NOW).map(drop);
    let state = |archive: &Archive| {
        let items: Vec<_> = archive.view().reader(0).map(|item| format!("{:?}", item.unwrap())).collect();
        (items, archive.view().manifest().end())
    };
    for (name, act) in [("seal", seal), ("rewrite", rewrite), ("drop", drop_it)] {
        let mut finished = false;
        for step in 0.. {
            let place = Place::new();
            let records = conversation(0, 20);
            let mut archive = place.open();
            archive.seal(0, 10, classed(&records[..10]), &plain()).unwrap();
            let before = state(&archive);
            drop(archive);
            let steps = Steps::ending_after(step);
            let run = place.try_open(&steps, None).and_then(|mut archive| {
                let done = act(&mut archive, &records);
                assert!(done.is_ok() || archive.stopped || archive.view().pin().generation == 1);
                done
            });
            finished = run.is_ok();
            let mut archive = place.open();
            let after = state(&archive);
            if after == before {
                assert!(!finished, "{name}: nothing was done");
                act(&mut archive, &records).unwrap_or_else(|error| panic!("{name}, ended at step {step}: {error}"));
            }
            assert_ne!(state(&archive), before, "{name}, ended at step {step}");
            // Nothing is left over: each object and each live key is one that the manifest speaks of. A key that was made
            // just before the end opens nothing.
            let named: Vec<_> = archive.view().manifest().segments().flat_map(|s| [s.events.digest, s.contents.digest]).collect();
            let there = archive.view().list().unwrap().into_iter().filter(|name| name.starts_with("segments/"));
            let foreign: Vec<_> =
                there.filter(|name| !named.iter().any(|digest| *name == ObjectName::Segment(*digest).to_string())).collect();
            assert_eq!(foreign, [""; 0], "{name}, ended at step {step}");
            let gone: Vec<_> = archive.view().manifest().gone.iter().map(|segment| segment.key).collect();
            assert!(gone.iter().all(|key| place.keys.get(*key).unwrap().is_none()), "{name}, ended at step {step}");
            assert!(!place.dir.path().join("archive/pending").exists());
            if finished {
                break;
            }
        }
        assert!(finished);
    }
}

#[test]
fn a_pending_change_that_somebody_else_wrote_is_refused_and_does_nothing() {
    let place = Place::new();
    let records = conversation(0, 20);
    // What a change leaves that ends before the manifest says it.
    let path = place.dir.path().join("archive/pending");
    let mut own = Vec::new();
    for step in 0.. {
        let run = place.try_open(&Steps::ending_after(step), None);
        drop(run.map(|mut archive| archive.seal(0, 10, classed(&records[..10]), &plain())));
        if let Ok(bytes) = std::fs::read(&path) {
            own = bytes;
            break;
        }
    }
    place.open().seal(0, 10, classed(&records[..10]), &plain()).unwrap();
    let (body, _) = std::str::from_utf8(&own).unwrap().split_once('\n').unwrap();
    // A live segment's objects under a key that is none: they would be deleted.
    let segment = place.open().view().manifest().segments().next().unwrap().clone();
    let forged = format!(
        r#"{{"come":[{{"key":"{}","objects":[{{"digest":"{}"}}],"held":true}}],"go":[]}}"#,
        KeyId::from_bytes([7; 16]).unwrap(),
        segment.events.digest
    );
    let mac = std::str::from_utf8(&own).unwrap().split_once('\n').unwrap().1;
    let others =
        [forged.clone(), format!("{forged}\n{mac}"), body.to_owned(), format!("{body}\n{}\n", "0".repeat(64)), String::new()];
    for other in others {
        std::fs::write(&path, &other).unwrap();
        let refused = place.try_open(&Steps::ending_after(1_000), None).unwrap_err();
        assert!(matches!(&refused, ArchiveError::Pending(at) if *at == path), "{refused}");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(place.open().view().reader(0).map(Result::unwrap).count(), 10);
    }
    assert!(place.keys.destroyed.lock().unwrap().is_empty() || place.keys.get(segment.key).unwrap().is_some());
    // Its own is believed, also later: nothing that lives is touched.
    std::fs::write(&path, &own).unwrap();
    assert_eq!(place.open().view().reader(0).map(Result::unwrap).count(), 10);
    assert!(!path.exists());
}

#[test]
fn an_error_in_the_middle_stops_the_archive_until_it_is_opened_anew() {
    let place = Place::new();
    let records = conversation(0, 20);
    // Opening takes four steps (two looks at the copies of the manifest); the key two.
    let mut archive = place.try_open(&Steps::ending_after(12), None).unwrap();
    assert!(archive.seal(0, 10, classed(&records[..10]), &plain()).is_err());
    assert!(matches!(archive.seal(0, 10, classed(&records[..10]), &plain()), Err(ArchiveError::Stopped | ArchiveError::Keys(_))));
    drop(archive);
    place.open().seal(0, 10, classed(&records[..10]), &plain()).unwrap();
}

#[test]
fn a_forensic_archive_takes_chosen_records_of_any_span() {
    let place = Place::new();
    let records = conversation(0, 50);
    let dir = place.dir.path().join("forensic");
    let open =
        || Archive::open(&dir, Purpose::Forensic, place.objects(), place.keys.clone(), place.log_key.clone(), &[], None).unwrap();
    let mut archive = open();
    let case = |records: Vec<&StoredRecord>| {
        records.into_iter().map(|record| Ok::<_, Infallible>((class("case-7"), record.clone()))).collect::<Vec<_>>()
    };
    archive.seal(10, 20, case(vec![&records[12], &records[17]]), &plain()).unwrap();
    archive.seal(0, 15, case(vec![&records[3]]), &plain()).unwrap();
    drop(archive);
    let archive = open();
    let seqs: Vec<u64> = records_of(archive.view(), 0).iter().map(|record| record.seq.0).collect();
    assert_eq!(seqs, [3, 12, 17]);
}

/// With an exported key, tools of others read a segment: `age` from Debian opens it, DuckDB joins its two objects.
#[test]
fn a_segment_is_read_with_age_and_duckdb() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = root.join("target/clients/archive/bin/python");
    assert!(python.exists(), "{} is missing: run `cargo xtask setup`", python.display());
    if std::process::Command::new("age").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "CI must have age: apt-get install age");
        eprintln!("SKIPPED: no `age` on this machine (Debian: apt-get install age)");
        return;
    }
    let place = Place::new();
    let records = conversation(0, 25);
    let mut archive = place.open();
    let all = records.iter().map(|record| Ok::<_, Infallible>((class("soc2"), record.clone())));
    let segment = archive.seal(0, 25, all, &plain()).unwrap().remove(0);
    let identity = place.dir.path().join("key.txt");
    std::fs::write(&identity, place.keys.get(segment.key).unwrap().unwrap().to_identity().as_bytes()).unwrap();
    let opened = [("events", &segment.events), ("contents", &segment.contents)].map(|(name, object)| {
        let sealed = place.dir.path().join("objects").join(ObjectName::Segment(object.digest).to_string());
        let open = place.dir.path().join(format!("{name}.parquet"));
        let age = std::process::Command::new("age")
            .args(["--decrypt", "--identity"])
            .arg(&identity)
            .arg("--output")
            .args([&open, &sealed])
            .output();
        assert!(age.unwrap().status.success());
        open
    });
    let script = root.join("tests/clients/archive/parquet.py");
    let done = std::process::Command::new(python).arg(script).args(opened).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let read: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    let mut expected = Vec::new();
    for record in &records {
        let seq = record.seq.0;
        for said in seq / 10 * 10..=seq {
            let time = time_of(record).unwrap().unix_ns();
            let text = format!("what was said as number {said}");
            expected.push(serde_json::json!([
                seq,
                "model_call",
                format!("session-{}", seq / 10),
                "user-1",
                "gpt-4o",
                12,
                time,
                text
            ]));
        }
    }
    assert_eq!(read["said"], serde_json::Value::from(expected));
    assert_eq!(read["rows"], serde_json::json!(["#0"]));
}

#[test]
fn a_manifest_outlives_the_rotation_of_the_logs_keys() {
    let mut place = Place::new();
    let records = conversation(0, 20);
    place.open().seal(0, 10, classed(&records[..10]), &plain()).unwrap();
    let earlier = place.log_key.verifiers();
    place.log_key = Arc::new(LogKey::generate("test.example/log").unwrap());
    assert!(matches!(place.try_open(&Steps::default(), None), Err(ArchiveError::Manifest(ManifestError::Note { .. }))));
    let dir = place.dir.path().join("archive");
    let open = |earlier: &[VerifierKey]| {
        let (objects, keys) = (place.objects(), place.keys.clone());
        Archive::open(&dir, Purpose::Evidence, objects, keys, place.log_key.clone(), earlier, None)
    };
    // It is signed anew at once: nobody has to believe the retired key for longer.
    drop(open(&earlier).unwrap());
    assert_eq!(open(&[]).unwrap().view().manifest().signer(), Some(&place.log_key.verifier()));
    assert_eq!(open(&[]).unwrap().view().pin().generation, 2, "once is enough");
    let mut archive = open(&[]).unwrap();
    archive.seal(10, 20, classed(&records[10..]), &plain()).unwrap();
    assert_eq!(records_of(archive.view(), 0), records);
    // While it is open, too; the copies beside the objects go with it.
    let third = LogKey::generate("test.example/log").unwrap();
    let again = Arc::new(LogKey::from_text(&third.to_text()).unwrap());
    archive.use_key(again);
    assert!(!archive.is_settled());
    archive.resume().unwrap();
    assert!(archive.is_settled());
    let pin = archive.view().pin();
    drop(archive);
    assert!(matches!(open(&[]), Err(ArchiveError::Manifest(ManifestError::Note { .. }))), "a retired key is not believed");
    place.log_key = Arc::new(third);
    let archive = place.try_open(&Steps::default(), Some(&pin)).unwrap();
    assert_eq!((archive.view().pin(), records_of(archive.view(), 0)), (pin, records));
}

#[test]
fn a_lost_manifest_comes_back_from_its_copies() {
    let place = Place::new();
    let records = conversation(0, 30);
    let mut archive = place.open();
    archive.seal(0, 10, classed(&records[..10]), &plain()).unwrap();
    archive.seal(10, 30, classed(&records[10..]), &plain()).unwrap();
    let pin = archive.view().pin();
    drop(archive);
    let (dir, keys) = (place.dir.path().join("archive"), place.log_key.verifiers());
    let restore = || crate::restore_manifest(&dir, Purpose::Evidence, &*place.objects(), &keys);
    assert!(restore().is_err(), "there is one");
    std::fs::remove_file(dir.join(MANIFEST)).unwrap();
    assert!(matches!(place.try_open(&Steps::default(), Some(&pin)), Err(ArchiveError::NoManifest(_, 2))));
    assert_eq!(restore().unwrap(), pin);
    assert_eq!(records_of(place.try_open(&Steps::default(), Some(&pin)).unwrap().view(), 0), records);
}

#[test]
fn a_key_that_was_retired_signs_no_generation_after_one_of_a_later_key() {
    let mut place = Place::new();
    let records = conversation(0, 30);
    place.open().seal(0, 10, classed(&records[..10]), &plain()).unwrap();
    let old = place.log_key.clone();
    let mut new = LogKey::from_text(&old.to_text()).unwrap();
    new.add_generation().unwrap();
    let log_keys = [old.verifiers(), new.verifiers()].concat();
    let open = |place: &Place, key: &Arc<LogKey>| {
        let (dir, objects, keys) = (place.dir.path().join("archive"), place.objects(), place.keys.clone());
        Archive::open(&dir, Purpose::Evidence, objects, keys, key.clone(), &log_keys, None)
    };
    place.log_key = Arc::new(new);
    open(&place, &place.log_key).unwrap().seal(10, 20, classed(&records[10..20]), &plain()).unwrap();
    // Who has got hold of the old key goes on from the newest generation, which a pin does not tell from the log's own.
    let mut theirs = open(&place, &old).unwrap();
    theirs.drop_segment(&span(0, 10, "pci"), "retention", NOW).unwrap();
    let generation = theirs.view().pin().generation;
    drop(theirs);
    let error = open(&place, &place.log_key).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains(&format!("generation {generation} is signed by a key that was retired")), "{error}");
}
