//! Segments of the archive: no bytes make the reader panic. An input is taken as an object as it stands, or as changes to a
//! good one, so that the fuzzer gets behind the Parquet footer.
#![no_main]

use std::sync::LazyLock;

use archive::{SegmentReader, Span, encode_segment};
use bytes::Bytes;
use event::{Direction, Event, Key, Kind, Part, Piece, PieceMeta, RecordedEvent, Role, Source, SourcePath, SubjectId};
use journal::{ContentEntry, Record, Seq};
use ledger::StoredRecord;
use libfuzzer_sys::fuzz_target;
use sanitize::Clean;

static GOOD: LazyLock<(Span, Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
    let span = Span { first: 0, end: 8, class: "soc2".parse().unwrap() };
    let records: Vec<_> = (0..8).map(record).collect();
    let (events, contents) = encode_segment(&span, &records).unwrap();
    (span, events, contents)
});

fn record(seq: u64) -> StoredRecord {
    let subject = SubjectId::from_bytes([1; 16]).unwrap();
    let content = ContentEntry::with_salt(subject, [seq as u8; 16], Clean::recorded(&format!("what was said {seq}")));
    let source = Source::new(SourcePath::OtlpHttp, Key::of("otel"));
    let mut event: RecordedEvent<Clean> = Event::new(Kind::ModelCall, Clean::recorded("chat"), source);
    let meta = PieceMeta::new(Direction::Input, Role::User, Part::Text);
    event.pieces.push(Piece { meta, content: content.reference(), findings: vec![] });
    let event_json = serde_json::to_vec(&event).unwrap();
    StoredRecord::whole(Record { seq: Seq(seq), commitment_key: [2; 32], blind: [3; 16], event_json, contents: vec![content] })
}

fuzz_target!(init: {
    // Panics of the Parquet library are caught where it is called; one that is not still ends the run.
    std::panic::set_hook(Box::new(|_| ()));
}, |input: &[u8]| {
    let Some((mode, rest)) = input.split_first() else { return };
    let (span, events, contents) = &*GOOD;
    let (mut events, mut contents) = (events.clone(), contents.clone());
    let object = if mode & 1 == 0 { &mut events } else { &mut contents };
    if mode & 2 == 0 {
        rest.clone_into(object);
    } else {
        for change in rest.chunks_exact(3) {
            let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % object.len();
            object[at] = change[2];
        }
    }
    if let Ok(reader) = SegmentReader::open(span.clone(), Bytes::from(events), Bytes::from(contents)) {
        let mut last = None;
        for record in reader.take_while(Result::is_ok).flatten() {
            assert!(last < Some(record.seq.0) && record.seq.0 < span.end);
            last = Some(record.seq.0);
        }
    }
});
