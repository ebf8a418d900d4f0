//! What lies on disk says nothing without its key, and cannot be moved or mended by somebody who has none.

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use event::KeyId;

use super::examples::*;
use crate::format::{FRAME_HEADER_BYTES, FrameHeader, SegmentHeader};
use crate::{AppendError, DerivedKeys, FrameKey, FrameKeys, Journal, OpenError, ReadError, Seq, Wrong};

/// A keyring whose keys are gone, or whose disk is full, when the test says so.
#[derive(Default)]
struct Fickle {
    gone: AtomicBool,
    full: AtomicBool,
}

impl FrameKeys for Fickle {
    fn create(&self, first: Seq) -> std::io::Result<(KeyId, FrameKey)> {
        if self.full.load(Ordering::SeqCst) {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        keys().create(first)
    }

    fn get(&self, id: KeyId) -> std::io::Result<Option<FrameKey>> {
        if self.gone.load(Ordering::SeqCst) { Ok(None) } else { keys().get(id) }
    }
}

#[test]
fn nothing_of_a_record_is_readable_in_the_files_and_equal_records_look_different() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    for n in 0..3 {
        append(&journal, [example(n)]);
    }
    journal.close().unwrap();
    let file = std::fs::read(segment_files(dir.path()).remove(0)).unwrap();
    let has = |part: &[u8]| file.windows(part.len()).any(|window| window == part);
    for n in 0..3 {
        assert!(!has(&json(n)) && !has(id(n).as_bytes()) && !has(format!("text {n}").as_bytes()));
    }
    assert!(!has(b"system prompt") && !has(content("system prompt").id.as_bytes()) && !has(b"\"id\""));
    assert_eq!(records(dir.path()).len(), 3);
}

#[test]
fn without_its_key_a_file_is_named_and_says_only_its_structure() {
    let dir = tempfile::tempdir().unwrap();
    let keyring = Arc::new(Fickle::default());
    let (journal, _) = Journal::open(dir.path(), small(), keyring.clone()).unwrap();
    append(&journal, [example(0), example(1)]);
    append(&journal, [example(2)]);
    let mut reader = journal.reader(Seq(0)).unwrap();
    keyring.gone.store(true, Ordering::SeqCst);
    let file = segment_files(dir.path()).remove(0);
    let Err(ReadError::Fault(fault)) = reader.next() else { panic!("read without a key") };
    assert!(matches!(fault.wrong, Wrong::NoKey(_)) && fault.file == file && !fault.is_unreadable());
    assert!(fault.to_string().contains("its key was destroyed, or the keyring is another one"), "{fault}");
    journal.close().unwrap();

    assert!(matches!(Journal::open(dir.path(), small(), keyring), Err(OpenError::Damaged(fault)) if fault.file == file));
    let checked = crate::check(dir.path(), None, |_| panic!("nothing can be visited")).unwrap();
    assert_eq!((checked.records(), checked.closed, checked.read), (3, true, false));
    assert!(check(dir.path(), |_| {}).unwrap().read);

    // Another keyring has other keys.
    let other = Arc::new(DerivedKeys::new(&[8; 32]));
    let fault = crate::check(dir.path(), Some(&*other), |_| {}).unwrap_err();
    assert!(matches!(fault.wrong, Wrong::Seal), "{fault}");
    assert!(matches!(Journal::open(dir.path(), small(), other), Err(OpenError::Damaged(_))));
    assert_eq!(open(dir.path()).1.records(), 3, "nothing was cut off by those who could not read it");
}

#[test]
fn the_structure_is_checked_byte_for_byte_without_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    append(&journal, [example(0)]);
    append(&journal, [large(1, 5_000)]);
    journal.close().unwrap();
    let file = segment_files(dir.path()).remove(0);
    let handle = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    for (at, byte) in std::fs::read(&file).unwrap().iter().enumerate() {
        handle.write_all_at(&[byte ^ 1], at as u64).unwrap();
        let fault = crate::check(dir.path(), None, |_| {}).expect_err("a changed byte");
        assert_eq!(fault.file, file);
        handle.write_all_at(&[*byte], at as u64).unwrap();
    }
    assert!(crate::check(dir.path(), None, |_| {}).is_ok());
}

/// Somebody with the code and without keys mends every checksum.
#[test]
fn a_frame_that_was_moved_numbered_anew_or_changed_does_not_open_although_its_checksums_are_right() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (dir, text) in [(&dir, 0), (&other, 10)] {
        let (journal, _) = open(dir.path());
        append(&journal, [example(text)]);
        append(&journal, [example(text + 1)]);
        journal.close().unwrap();
    }
    let file = segment_files(dir.path()).remove(0);
    let good = std::fs::read(&file).unwrap();
    let foreign = std::fs::read(segment_files(other.path()).remove(0)).unwrap();
    let segment = SegmentHeader::decode(good.first_chunk().unwrap()).unwrap();
    let header = |bytes: &[u8], at: usize, marker| FrameHeader::decode(bytes[at..].first_chunk().unwrap(), marker).unwrap();
    let (first, second) = (header(&good, 4_096, &segment.marker), header(&good, 8_192, &segment.marker));

    let sealed_wrong = |bytes: &[u8], what: &str| {
        std::fs::write(&file, bytes).unwrap();
        assert!(crate::check(dir.path(), None, |_| {}).is_ok(), "{what}: the checksums are right");
        let fault = check(dir.path(), |_| {}).expect_err(what);
        assert!(matches!(fault.wrong, Wrong::Seal) && !fault.is_unreadable(), "{what}: {fault}");
        assert!(matches!(open_with(dir.path(), small()), Err(OpenError::Damaged(_))), "{what}");
        let read = std::iter::from_fn({
            let mut reader = offline(dir.path(), Seq(0));
            move || reader.next().ok().flatten()
        });
        assert!(read.map(|record| record.event_json).all(|event| event == json(0)), "{what}: served something wrong");
    };

    // The two frames of the file, each in the other's place, with the numbers of their new places.
    let mut swapped = good.clone();
    swapped[4_096..8_192].copy_from_slice(&good[8_192..12_288]);
    swapped[8_192..12_288].copy_from_slice(&good[4_096..8_192]);
    let renumbered = [(4_096, FrameHeader { first: Seq(0), ..second }), (8_192, FrameHeader { first: Seq(1), ..first })];
    for (at, header) in renumbered {
        swapped[at..at + FRAME_HEADER_BYTES].copy_from_slice(&header.encode());
    }
    sealed_wrong(&swapped, "swapped");

    // A frame of another journal under this one's marker.
    let mut planted = good.clone();
    planted[4_096..8_192].copy_from_slice(&foreign[4_096..8_192]);
    let theirs = header(&foreign, 4_096, &SegmentHeader::decode(foreign.first_chunk().unwrap()).unwrap().marker);
    planted[4_096..4_096 + FRAME_HEADER_BYTES].copy_from_slice(&FrameHeader { marker: segment.marker, ..theirs }.encode());
    sealed_wrong(&planted, "planted");

    // A bit of a record, and its checksum.
    let mut changed = good.clone();
    let at = 8_192 + FRAME_HEADER_BYTES + usize::try_from(second.sealed_index_bytes()).unwrap();
    changed[at] ^= 1;
    let body_crc = crc32c::crc32c(&changed[at..at + usize::try_from(second.sealed_body_bytes()).unwrap()]);
    changed[8_192..8_192 + FRAME_HEADER_BYTES].copy_from_slice(&FrameHeader { body_crc, ..second }.encode());
    sealed_wrong(&changed, "changed");

    // The file under another key.
    let mut rekeyed = good.clone();
    let key = KeyId::from_bytes([9; 16]).unwrap();
    rekeyed[..80].copy_from_slice(&SegmentHeader { key, ..segment }.encode());
    sealed_wrong(&rekeyed, "another key");

    std::fs::write(&file, &good).unwrap();
    assert_eq!(records(dir.path()).len(), 2);
}

#[test]
fn a_keyring_without_room_refuses_and_the_journal_goes_on_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let keyring = Arc::new(Fickle::default());
    keyring.full.store(true, Ordering::SeqCst);
    let (journal, _) = Journal::open(dir.path(), small(), keyring.clone()).unwrap();
    for _ in 0..2 {
        assert!(matches!(journal.append(vec![example(0)]).unwrap().wait(), Err(AppendError::DiskFull { .. })));
    }
    keyring.full.store(false, Ordering::SeqCst);
    assert_eq!(append(&journal, [example(0)])[0].seq, Seq(0));
    keyring.full.store(true, Ordering::SeqCst);
    let taken = (1..20).take_while(|n| journal.append(vec![large(*n, 9_000)]).unwrap().wait().is_ok()).count() as u64;
    assert!(taken > 0 && taken < 19 && journal.stopped().is_none());
    assert_eq!(append(&journal, [example(50)])[0].seq, Seq(taken + 1), "what fits into the open file is still taken");
    keyring.full.store(false, Ordering::SeqCst);
    assert_eq!(append(&journal, [large(99, 9_000)])[0].seq, Seq(taken + 2));
    journal.close().unwrap();
    assert_eq!(check(dir.path(), |_| {}).unwrap().records(), taken + 3);
}
