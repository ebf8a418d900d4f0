use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use ledger::{Leaf, StoredRecord};

use super::*;
use crate::archive::tests::{NOW, Place, classed, plain, span};
use crate::segment::tests::conversation;
use crate::{Archive, Kept, SegmentKeys as _};

struct Specimen {
    place: Place,
    records: Vec<StoredRecord>,
}

/// An archive of three spans and two classes.
fn specimen() -> (Specimen, Archive) {
    let place = Place::new();
    let records = conversation(0, 60);
    let mut archive = place.open();
    for (first, end) in [(0, 20), (20, 40), (40, 60)] {
        archive.seal(first, end, classed(&records[first as usize..end as usize]), &plain()).unwrap();
    }
    (Specimen { place, records }, archive)
}

impl Specimen {
    fn log_id(&self) -> [u8; 16] {
        self.place.log_key.verifier().log_id()
    }

    fn leaf_of(&self) -> impl FnMut(u64) -> io::Result<Option<[u8; LEAF_BYTES]>> {
        let leaves: Vec<_> =
            self.records.iter().map(|record| record.leaf(self.log_id()).map(|leaf: Leaf| leaf.encode()).unwrap()).collect();
        move |seq| Ok(leaves.get(seq as usize).copied())
    }

    fn verify(&self, archive: &Archive) -> Result<ArchiveReport, VerifyArchiveError> {
        archive.view().verify(self.log_id(), Some(&mut self.leaf_of()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.dir.path().join("objects").join(name)
    }

    fn overwrite(&self, name: &str, bytes: &[u8]) {
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(self.path(name), bytes).unwrap();
    }
}

fn names(archive: &Archive) -> Vec<String> {
    let of = |segment: &Segment| {
        [segment.events.digest, segment.contents.digest].map(|digest| ObjectName::Segment(digest).to_string())
    };
    archive.view().manifest().segments().flat_map(of).collect()
}

#[test]
fn an_intact_archive_is_found_intact_with_keys_and_without() {
    let (specimen, mut archive) = specimen();
    let report = specimen.verify(&archive).unwrap();
    assert_eq!((report.segments, report.records, report.compared, report.dropped), (6, 60, 60, 0));
    archive.drop_segment(&span(0, 20, "pci"), "retention", NOW).unwrap();
    let report = specimen.verify(&archive).unwrap();
    assert_eq!((report.segments, report.records, report.compared, report.dropped, report.left_over), (5, 53, 53, 7, 0));
    drop(archive);
    let dir = specimen.place.dir.path().join("archive");
    let verifiers = specimen.place.log_key.verifiers();
    let view = View::open(&dir, Purpose::Evidence, specimen.place.objects(), None, &verifiers, None).unwrap();
    assert_eq!(view.verify(specimen.log_id(), None).unwrap().compared, 0);
}

#[test]
fn every_object_that_is_changed_cut_swapped_or_gone_is_named() {
    let (specimen, archive) = specimen();
    let names = names(&archive);
    for (index, name) in names.iter().enumerate() {
        let whole = std::fs::read(specimen.path(name)).unwrap();
        let other = std::fs::read(specimen.path(&names[(index + 1) % names.len()])).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 0x10;
        let longer = [&whole[..], b"x"].concat();
        for bytes in [&flipped[..], &whole[..whole.len() - 1], &longer, &other, b""] {
            specimen.overwrite(name, bytes);
            let found = archive.view().verify(specimen.log_id(), None).unwrap_err().to_string();
            assert!(found.starts_with(name.as_str()), "{name}: {found}");
        }
        std::fs::remove_file(specimen.path(name)).unwrap();
        let found = archive.view().verify(specimen.log_id(), None).unwrap_err().to_string();
        assert!(found.starts_with(name.as_str()) && found.ends_with("is missing"), "{name}: {found}");
        std::fs::write(specimen.path(name), whole).unwrap();
    }
    specimen.verify(&archive).unwrap();
}

#[test]
fn foreign_objects_and_changed_copies_of_the_manifest_are_named() {
    let (specimen, archive) = specimen();
    let foreign = format!("segments/{}.parquet.age", "ab".repeat(32));
    for name in [foreign.as_str(), "segments/readme.txt", "x"] {
        std::fs::write(specimen.path(name), "x").unwrap();
        let found = specimen.verify(&archive).unwrap_err().to_string();
        assert!(found.starts_with(name), "{found}");
        std::fs::remove_file(specimen.path(name)).unwrap();
    }
    let copy = "manifest/00000000000000000002";
    let note = std::fs::read(specimen.path(copy)).unwrap();
    specimen.overwrite(copy, b"x");
    assert!(specimen.verify(&archive).unwrap_err().to_string().starts_with(copy));
    std::fs::remove_file(specimen.path(copy)).unwrap();
    assert!(specimen.verify(&archive).unwrap_err().to_string().starts_with(copy));
    std::fs::write(specimen.path(copy), &note).unwrap();
    std::fs::write(specimen.path("manifest/00000000000000000004"), &note).unwrap();
    assert!(specimen.verify(&archive).unwrap_err().to_string().contains("rolled back"));
}

/// Whoever has all keys can write another segment; the ledger's leaves tell.
#[test]
fn a_record_that_the_ledger_has_not_sealed_is_named() {
    let (specimen, mut archive) = specimen();
    let change = |kept: Kept<'_>| match kept {
        Kept::Record(record) if record.seq.0 == 25 => {
            let ledger::StoredBody::Whole(whole) = &mut record.body else { panic!() };
            whole.blind[0] ^= 1;
            Ok(true)
        }
        _ => Ok(false),
    };
    archive.rewrite(&span(20, 40, "soc2"), "forgery", NOW, change).unwrap().unwrap();
    let found = specimen.verify(&archive).unwrap_err().to_string();
    assert_eq!(found, "record 25 in segment 20 to 40 of soc2: its leaf is not the one that the ledger has sealed");
    archive.view().verify(specimen.log_id(), None).unwrap();
    let mut short = specimen.leaf_of();
    let mut cut = |seq| if seq < 25 { short(seq) } else { Ok(None) };
    let found = archive.view().verify(specimen.log_id(), Some(&mut cut)).unwrap_err().to_string();
    assert_eq!(found, "record 27 in segment 20 to 40 of pci: the ledger has no leaf of that number");
}

#[test]
fn a_segment_whose_key_was_destroyed_is_named() {
    let (specimen, archive) = specimen();
    let segment = archive.view().manifest().segments().nth(2).unwrap();
    specimen.place.keys.destroy(&[segment.key]).unwrap();
    let found = specimen.verify(&archive).unwrap_err().to_string();
    assert!(found.starts_with("segment 20 to 40 of pci: ") && found.contains("key"), "{found}");
    archive.view().verify(specimen.log_id(), None).unwrap();
}

#[test]
fn leaves_come_out_of_the_bundles_of_a_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let key = ledger::LogKey::generate("test.example/log").unwrap();
    let log_id = key.verifier().log_id();
    let records = conversation(0, 300);
    let mut ledger = ledger::Ledger::open(dir.path(), key).unwrap();
    for record in &records {
        let ledger::StoredBody::Whole(whole) = &record.body else { panic!() };
        ledger.append(whole).unwrap();
    }
    ledger.seal(NOW).unwrap();
    let mut leaf_of = leaves_of(&dir.path().join("ledger"), 300);
    for (seq, record) in records.iter().enumerate() {
        assert_eq!(leaf_of(seq as u64).unwrap(), Some(record.leaf(log_id).unwrap().encode()), "{seq}");
    }
    assert_eq!(leaf_of(300).unwrap(), None);
    assert!(leaves_of(dir.path(), 300)(0).is_err());
}

#[test]
fn a_change_during_the_verification_is_no_fault() {
    let (specimen, archive) = specimen();
    let verifiers = specimen.place.log_key.verifiers();
    let dir = specimen.place.dir.path().join("archive");
    let keys = Some(specimen.place.keys.clone() as std::sync::Arc<dyn crate::SegmentKeys>);
    let older = View::open(&dir, Purpose::Evidence, specimen.place.objects(), keys, &verifiers, None).unwrap();
    drop(archive);
    // As another process: objects come and go that the manifest of `older` does not speak of.
    let mut archive = specimen.place.open();
    archive.drop_segment(&span(20, 40, "pci"), "retention", NOW).unwrap();
    let more = crate::segment::tests::conversation(60, 10);
    archive.seal(60, 70, classed(&more), &plain()).unwrap();
    let report = older.verify(specimen.log_id(), None).unwrap();
    assert_eq!((report.generation, report.records, report.dropped), (5, 63, 7));
}
