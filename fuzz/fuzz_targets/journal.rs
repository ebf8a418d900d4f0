//! A file of the journal: whatever stands in it, `check`, a reader and recovery end without a panic and agree.
//!
//! The first byte says whether the rest is the file as it is, or what its frames say: those are sealed here as
//! `docs/reference/journal-format.md` lays it down (by other code than the journal's own), so that the fuzzer comes behind
//! checksums and seals.
#![no_main]

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use event::KeyId;
use journal::{FrameKey, FrameKeys, Journal, Options, Reader, Record, Seq};
use libfuzzer_sys::fuzz_target;

const KEY: [u8; 32] = [7; 32];
const KEY_ID: [u8; 16] = [9; 16];
const MARKER: [u8; 16] = [5; 16];
const BLOCK: usize = 4_096;
const BLOCKS_MAX: usize = 32;

struct Keys;

impl FrameKeys for Keys {
    fn create(&self, _: Seq) -> std::io::Result<(KeyId, FrameKey)> {
        Ok((KeyId::from_bytes(KEY_ID).expect("not zero"), FrameKey::new(KEY)))
    }

    fn get(&self, id: KeyId) -> std::io::Result<Option<FrameKey>> {
        Ok((id.as_bytes() == &KEY_ID).then(|| FrameKey::new(KEY)))
    }
}

fn take<'a>(input: &mut &'a [u8], bytes: usize) -> &'a [u8] {
    let (head, rest) = input.split_at(bytes.min(input.len()));
    *input = rest;
    head
}

fn number(input: &mut &[u8]) -> usize {
    take(input, 2).iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

fn seal(key: &LessSafeKey, part: u8, place: &[u8], nonce: [u8; 12], text: &[u8]) -> Vec<u8> {
    let mut sealed = text.to_vec();
    let associated = [place, &[part]].concat();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(associated), &mut sealed).expect("seals");
    sealed
}

fn crc_last(bytes: &mut [u8]) {
    let crc = crc32c::crc32c(&bytes[..76]);
    bytes[76..80].copy_from_slice(&crc.to_le_bytes());
}

/// A file whose header and seals are right, and whose frames say what the input wants.
fn sealed_file(mut input: &[u8]) -> Vec<u8> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &KEY).expect("a key"));
    let shape = number(&mut input);
    let allocated = 2 + shape % (BLOCKS_MAX - 2);
    let mut file = vec![0; BLOCK];
    file[..8].copy_from_slice(b"WKJOURN1");
    file[8] = 2;
    file[24..32].copy_from_slice(&((allocated * BLOCK) as u64).to_le_bytes());
    file[32..48].copy_from_slice(&MARKER);
    file[48..64].copy_from_slice(&KEY_ID);
    crc_last(&mut file);
    let mut seq = 0u64;
    while !input.is_empty() && file.len() < BLOCKS_MAX * BLOCK {
        let flags = take(&mut input, 1)[0];
        let records = 1 + usize::from(flags & 7);
        let (mut index, mut body) = (Vec::new(), Vec::new());
        for _ in 0..records {
            let mut id = [1; 16];
            let given = take(&mut input, 16);
            id[..given.len()].copy_from_slice(given);
            let bytes = number(&mut input) % 5_000;
            let text = take(&mut input, bytes);
            let begins = body.len();
            if flags & 8 == 0 {
                body.extend_from_slice(text);
            } else {
                // A whole record, so that what comes behind it is reached.
                let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
                let event_json = format!(r#"{{"id":"{hex}","n":{bytes}}}"#).into_bytes();
                let record = Record { seq: Seq(0), commitment_key: [1; 32], blind: [2; 16], event_json, contents: Vec::new() };
                record.encode(&mut body);
            }
            index.extend_from_slice(&id);
            index.extend_from_slice(&((body.len() - begins) as u32).to_le_bytes());
        }
        let mut header = vec![0; 80];
        header[..16].copy_from_slice(&MARKER);
        header[16..24].copy_from_slice(&(seq + u64::from(flags >> 6 == 3)).to_le_bytes());
        header[24..28].copy_from_slice(&(records as u32).to_le_bytes());
        header[28..32].copy_from_slice(&(body.len() as u32).to_le_bytes());
        header[32] = seq as u8;
        header[44] = !(seq as u8);
        let nonce = |at: usize| -> [u8; 12] { header[at..at + 12].try_into().expect("12 bytes") };
        let index = seal(&key, 0, &header[..32], nonce(32), &index);
        let body = seal(&key, 1, &header[..32], nonce(44), &body);
        header[56..60].copy_from_slice(&crc32c::crc32c(&index).to_le_bytes());
        header[60..64].copy_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        crc_last(&mut header);
        for part in [header, index, body] {
            file.extend_from_slice(&part);
        }
        file.resize(file.len().next_multiple_of(BLOCK), 0);
        seq += records as u64;
    }
    // Closed, or still as long as it was allocated.
    if shape & 0x8000 != 0 {
        file.resize(file.len().max(allocated * BLOCK), 0);
    }
    file
}

fn directory() -> &'static PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a directory").keep();
        std::fs::create_dir(dir.join("journal")).expect("a directory");
        dir
    })
}

fuzz_target!(|input: &[u8]| {
    let Some((mode, rest)) = input.split_first() else { return };
    let file = if mode & 1 == 0 { rest.to_vec() } else { sealed_file(rest) };
    let dir = directory();
    for entry in std::fs::read_dir(dir.join("journal")).expect("lists") {
        std::fs::remove_file(entry.expect("an entry").path()).expect("removes");
    }
    std::fs::write(dir.join("journal/00000000000000000000.wkj"), &file).expect("writes");

    let structure = journal::check(dir, None, |_| panic!("visited without keys"));
    let mut visited = Vec::new();
    let checked = journal::check(dir, Some(&Keys), |record| visited.push(record.clone()));
    let mut reader = Reader::offline(dir, Arc::new(Keys), Seq(0)).expect("the directory is there");
    let mut read = Vec::new();
    let end = loop {
        match reader.next() {
            Ok(Some(record)) => read.push(record),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    // A reader does not look at everything that `check` looks at, so it may come further.
    assert!(read.starts_with(&visited) || checked.is_err());
    if let Ok(checked) = checked {
        assert!(end.is_ok() && read.len() as u64 == checked.records());
        assert_eq!(structure.expect("less is checked").end, checked.end);
        let options = Options { segment_bytes: 0, ..Options::default() };
        let (journal, recovery) = Journal::open(dir, options, Arc::new(Keys)).expect("what is whole opens");
        assert_eq!(recovery.end, checked.end);
        journal.close().expect("closes");
        drop(journal);
        let again = journal::check(dir, Some(&Keys), |_| {}).expect("what was opened is whole");
        assert!(again.end == checked.end && again.torn.is_none());
    }
});
