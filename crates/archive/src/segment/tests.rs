use std::collections::HashMap;

use aws_lc_rs::hmac;
use bytes::Bytes;
use event::{
    ContentRef, Direction, Event, Key, Kind, Part as PiecePart, Piece, PieceMeta, Principal, RecordedEvent, Role, Source,
    SourcePath, SubjectId, attr,
};
use journal::{ContentEntry, Record, Seq};
use ledger::{ErasedTokens, Redaction, StoredContent, StoredRecord};
use proptest::prelude::*;
use sanitize::Clean;

use super::*;

pub(crate) fn span(first: u64, end: u64) -> Span {
    Span { first, end, class: "soc2".parse().unwrap() }
}

pub(crate) fn content(subject: u8, text: &str) -> ContentEntry {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[subject; 32]);
    ContentEntry::commit(SubjectId::from_bytes([subject.max(1); 16]).unwrap(), &key, Clean::recorded(text))
}

/// A call of a conversation: brings what is new, refers to all of it.
pub(crate) fn record(seq: u64, says: &[ContentEntry], brings: &[ContentEntry]) -> StoredRecord {
    StoredRecord::whole(whole(seq, says, brings))
}

fn whole(seq: u64, says: &[ContentEntry], brings: &[ContentEntry]) -> Record {
    let mut event: RecordedEvent<Clean> =
        Event::new(Kind::ModelCall, Clean::recorded("chat gpt-4o"), Source::new(SourcePath::OtlpHttp, Key::of("otel")));
    event.time = event::Timestamp::from_unix_ns(1_790_000_000_000_000_000 + seq * 1_000_000);
    event.session = Some(Clean::recorded(&format!("session-{}", seq / 10)));
    event.identity.user = Some(Principal::asserted(Clean::recorded("user-1")));
    event.set(attr::GEN_AI_REQUEST_MODEL, event::Value::Text(Clean::recorded("gpt-4o")));
    event.set(attr::GEN_AI_USAGE_INPUT_TOKENS, 12);
    event.pieces = says
        .iter()
        .map(|content| Piece {
            meta: PieceMeta::new(Direction::Input, Role::User, PiecePart::Text),
            content: content.reference(),
            findings: vec![],
        })
        .collect();
    let event_json = serde_json::to_vec(&event).unwrap();
    let (commitment_key, blind) = (crate::key::tests::random(), crate::key::tests::random());
    Record { seq: Seq(seq), commitment_key, blind, event_json, contents: brings.to_vec() }
}

pub(crate) fn conversation(first: u64, count: u64) -> Vec<StoredRecord> {
    let mut said: Vec<ContentEntry> = Vec::new();
    (first..first + count)
        .map(|seq| {
            if seq % 10 == 0 {
                said.clear();
            }
            let new = content(1, &format!("what was said as number {seq}"));
            said.push(new.clone());
            record(seq, &said, &[new])
        })
        .collect()
}

fn nowhere(_: &ContentRef) -> Result<Option<StoredContent>, SegmentError> {
    Ok(None)
}

fn encode(span: &Span, records: &[StoredRecord]) -> SegmentObjects {
    let mut writer = SegmentWriter::new(span.clone()).unwrap();
    records.iter().for_each(|record| writer.push(record, &nowhere).unwrap());
    writer.finish().unwrap()
}

fn decode(span: &Span, objects: &SegmentObjects) -> Result<Vec<StoredRecord>, SegmentError> {
    SegmentReader::open(span.clone(), Bytes::from(objects.events.clone()), Bytes::from(objects.contents.clone()))?.collect()
}

#[test]
fn records_of_a_conversation_come_back_as_they_went_in_and_their_texts_are_there_once() {
    let records = conversation(100, 5_000);
    let objects = encode(&span(100, 5_100), &records);
    assert_eq!(decode(&span(100, 5_100), &objects).unwrap(), records);
    let reader = SegmentReader::open(span(100, 5_100), objects.events.into(), objects.contents.into()).unwrap();
    assert_eq!(reader.contents().len(), 5_000);
    let times = objects.summary.times.unwrap();
    assert_eq!((objects.summary.records, times.1.since(times.0)), (5_000, 4_999 * 1_000_000));
}

#[test]
fn a_segment_holds_what_its_events_refer_to_even_where_another_record_brought_it() {
    let (earlier, lost) = (content(1, "said before"), content(1, "lost"));
    let known: HashMap<_, _> = [(earlier.id, StoredContent::Whole(earlier.clone()))].into();
    let record = record(7, &[earlier.clone(), lost], &[]);
    let mut writer = SegmentWriter::new(span(0, 10)).unwrap();
    writer.push(&record, &|wanted: &ContentRef| Ok(known.get(&wanted.id).cloned())).unwrap();
    let objects = writer.finish().unwrap();
    assert_eq!(objects.summary.missing_contents, 1);
    assert_eq!(decode(&span(0, 10), &objects).unwrap(), [record]);
    let reader = SegmentReader::open(span(0, 10), objects.events.into(), objects.contents.into()).unwrap();
    assert_eq!(reader.contents(), [StoredContent::Whole(earlier)]);
}

#[test]
fn what_is_out_of_order_not_text_or_not_intact_is_refused() {
    let mut writer = SegmentWriter::new(span(5, 10)).unwrap();
    let good = content(1, "x");
    writer.push(&record(6, &[], &[]), &nowhere).unwrap();
    for seq in [4, 5, 6, 10] {
        assert!(matches!(writer.push(&record(seq, &[], &[]), &nowhere), Err(SegmentError::Order { .. })), "{seq}");
    }
    let changed = ContentEntry { text: Clean::recorded("y"), ..good };
    assert!(matches!(writer.push(&record(7, &[], &[changed]), &nowhere), Err(SegmentError::ContentId { .. })));
    let binary = StoredRecord::whole(Record { event_json: vec![0xff], ..whole(8, &[], &[]) });
    assert!(matches!(writer.push(&binary, &nowhere), Err(SegmentError::NotText { seq: 8 })));
}

#[test]
fn a_segment_of_another_span_is_refused() {
    let objects = encode(&span(0, 10), &conversation(0, 10));
    for other in [span(0, 11), span(1, 10), Span { class: "gdpr".parse().unwrap(), ..span(0, 10) }] {
        assert!(matches!(decode(&other, &objects), Err(SegmentError::Malformed { .. })));
    }
    let swapped = SegmentObjects { events: objects.contents, contents: objects.events, summary: objects.summary };
    assert!(decode(&span(0, 10), &swapped).is_err());
}

#[test]
fn an_empty_segment_is_one() {
    let objects = encode(&span(3, 4), &[]);
    assert_eq!(decode(&span(3, 4), &objects).unwrap(), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever stands in a record, as long as it is text: event JSON that is no event, contents twice, empty texts.
    #[test]
    fn every_record_comes_back_byte_for_byte(
        shapes in proptest::collection::vec(
            (any::<[u8; 32]>(), any::<[u8; 16]>(), ".{0,60}", proptest::collection::vec((1u8..4, ".{0,30}"), 0..4), any::<bool>(), 1u64..4),
            0..20,
        ),
    ) {
        let mut seq = 0;
        let records: Vec<StoredRecord> = shapes.into_iter().map(|(commitment_key, blind, json, texts, is_event, step)| {
            seq += step;
            let contents: Vec<_> = texts.iter().map(|(subject, text)| content(*subject, text)).collect();
            let made = whole(seq, &contents, &contents);
            let event_json = if is_event { made.event_json } else { json.into_bytes() };
            StoredRecord::whole(Record { seq: Seq(seq), commitment_key, blind, event_json, contents })
        }).collect();
        let objects = encode(&span(0, 100), &records);
        prop_assert_eq!(decode(&span(0, 100), &objects).unwrap(), records);
    }
}

#[test]
fn redacted_records_and_contents_come_back_and_hold_nothing_of_what_went() {
    let token = "<EMAIL:v26:aaaaaaaaaaaaaaaaaaaaaaaaaabbbbbb>";
    let (of_one, of_other) = (content(1, "a secret of one"), content(2, &format!("write to {token} and wait")));
    let both = [of_one.clone(), of_other.clone()];
    let tokens: ErasedTokens = [token].into_iter().collect();
    let one = of_one.subject;
    let what = Redaction {
        event: false,
        field: &|path, _| path == "/session.id",
        content: &|_, subject| ledger::Cut::all_if(subject == one),
        tokens: &tokens,
    };
    let whole_event = Redaction { event: true, ..what };
    let mut records = vec![record(0, &both, &both), record(1, &both, &[]), record(2, &both, &both)];
    let leaves: Vec<_> = records.iter().map(|record| record.leaf([1; 16]).unwrap()).collect();
    records[0].redact(&what).unwrap();
    records[2].redact(&whole_event).unwrap();
    // A copy of what others brought is redacted where it lies.
    let copies: HashMap<_, _> = both.into_iter().map(|entry| (entry.id, StoredContent::Whole(entry))).collect();
    let mut writer = SegmentWriter::new(span(0, 3)).unwrap();
    let source = |wanted: &ContentRef| {
        let mut copy = copies[&wanted.id].clone();
        copy.redact(&what, &mut Vec::new());
        Ok(Some(copy))
    };
    records.iter().for_each(|record| writer.push(record, &source).unwrap());
    let objects = writer.finish().unwrap();
    let back = decode(&span(0, 3), &objects).unwrap();
    assert_eq!(back, records);
    assert_eq!(back.iter().map(|record| record.leaf([1; 16]).unwrap()).collect::<Vec<_>>(), leaves);
    let reader = SegmentReader::open(span(0, 3), objects.events.into(), objects.contents.into()).unwrap();
    let said = format!("{:?}", (reader.contents(), &back));
    assert!(!said.contains("a secret of one") && !said.contains(token));
    assert!(said.contains("write to <EMAIL:erased> and wait"), "{said}");
}

/// Changed objects are refused or read as something else, and never end the program. `WATCHKEEPER_SEGMENT_CASES` for more.
#[test]
fn no_change_of_an_object_makes_the_reader_panic() {
    let cases = std::env::var("WATCHKEEPER_SEGMENT_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(400);
    let objects = encode(&span(0, 20), &conversation(0, 20));
    let mut state = std::env::var("WATCHKEEPER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7_u64);
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (mut refused, mut read) = (0, 0);
    for case in 0..cases {
        let (mut events, mut contents) = (objects.events.clone(), objects.contents.clone());
        let object = if case % 2 == 0 { &mut events } else { &mut contents };
        // The footer, where the structure stands, is changed as often as all the rest.
        let from = if case % 4 < 2 { object.len() - object.len().min(3000) } else { 0 };
        for _ in 0..=next(4) {
            let at = from + next(object.len() - from);
            object[at] = if case % 3 == 0 { object[at] ^ (1 << next(8)) } else { next(256) as u8 };
        }
        if case % 7 == 0 {
            let end = next(object.len());
            object.truncate(end);
        }
        let taken = std::panic::catch_unwind(|| {
            SegmentReader::open(span(0, 20), events.into(), contents.into()).and_then(Iterator::collect::<Result<Vec<_>, _>>)
        });
        match taken {
            Ok(Ok(_)) => read += 1,
            Ok(Err(_)) => refused += 1,
            Err(_) => panic!("case {case} makes the reader panic"),
        }
    }
    assert!(refused > read, "{refused} refused, {read} read");
}
