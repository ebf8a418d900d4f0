use aws_lc_rs::hmac;
use event::{ContentRef, Direction, Event, EventId, Key, Part, Piece, PieceMeta, Principal, Role, Source, SourcePath, Value};
use proptest::prelude::*;

use super::*;

const LOG: [u8; 16] = [3; 16];
const WORDS: [&str; 4] = ["the quick", "brown fox", "jumps over", "naïve dog"];

/// The token of person `n`; `feature` is what tokens of equal values may differ in.
pub(crate) fn token(n: usize, feature: &str) -> String {
    let id: String = std::iter::repeat_n(char::from(b'a' + u8::try_from(n).unwrap()), 26).collect();
    let check = if feature.is_empty() { "zzzzzz" } else { "yyyyyy" };
    format!("<EMAIL:v26:{id}{check}{feature}>")
}

pub(crate) fn subject(n: usize) -> SubjectId {
    SubjectId::from_bytes([u8::try_from(n + 1).unwrap(); 16]).unwrap()
}

fn content(owner: usize, text: &str) -> ContentEntry {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[u8::try_from(owner).unwrap(); 32]);
    ContentEntry::commit(subject(owner), &key, Clean::recorded(text))
}

/// An event of somebody who is nobody, with a text of each owner, that speaks of each of the persons named.
pub(crate) fn record(owners: &[usize], speaks_of: &[usize]) -> Record {
    let mut event: Event<Clean, ContentRef> =
        Event::new(Kind::ModelCall, Clean::literal("chat"), Source::new(SourcePath::Api, Key::of("watchkeeper")));
    event.id = EventId::derived(Timestamp::from_unix_ns(1), &[5; 32]);
    (event.time, event.observed) = (Timestamp::from_unix_ns(11), Timestamp::from_unix_ns(12));
    event.identity.user = Some(Principal::asserted(Clean::recorded(&token(0, "@example.com"))));
    event.set(event::attr::GEN_AI_REQUEST_MODEL, Value::Text(Clean::literal("m")));
    event.unmapped.insert(Clean::recorded(&format!("a/{}", token(1, ""))), Value::Int(1));
    event.unmapped.insert(Clean::literal("b"), Value::Text(Clean::recorded(&format!("x{}", token(2, "")))));
    let mut contents = Vec::new();
    for &owner in owners {
        let mut text = format!("{owner} {} <EMAIL:erased>", WORDS[owner % WORDS.len()]);
        speaks_of.iter().for_each(|&person| text.push_str(&format!(" and {}", token(person, "@a.example"))));
        let entry = content(owner, &text);
        event.pieces.push(Piece::new(PieceMeta::new(Direction::Input, Role::User, Part::Text), entry.reference()));
        contents.push(entry);
    }
    Record { seq: Seq(9), commitment_key: [6; 32], blind: [8; 16], event_json: serde_json::to_vec(&event).unwrap(), contents }
}

const NO_FIELD: &dyn Fn(&str, &[u8]) -> bool = &|_, _| false;
const NO_CONTENT: &dyn Fn(&ContentId, SubjectId) -> Cut = &|_, _| Cut::Tokens;

fn redacted(stored: &StoredRecord) -> &RedactedRecord {
    match &stored.body {
        StoredBody::Redacted(record) => record,
        StoredBody::Whole(_) => panic!("the record is whole"),
    }
}

fn json(stored: &StoredRecord) -> String {
    let json = serde_json::to_string(redacted(stored)).unwrap();
    assert_eq!(&serde_json::from_str::<RedactedRecord>(&json).unwrap(), redacted(stored));
    json
}

#[test]
fn a_person_goes_from_a_text_of_another_and_the_text_stays() {
    let whole = record(&[3], &[0, 1]);
    let leaf = Leaf::of(&whole, LOG).unwrap();
    let mut stored = StoredRecord::whole(whole.clone());
    assert_eq!(stored.leaf(LOG).unwrap(), leaf);
    let tokens = ErasedTokens::from_iter([token(0, "")]);
    let what = Redaction { event: false, field: NO_FIELD, content: NO_CONTENT, tokens: &tokens };
    let gone = stored.redact(&what).unwrap();
    let id = whole.contents[0].id;
    assert_eq!(gone, [format!("content/{id}/span/0"), "field/7/identity".to_owned()]);
    assert_eq!(stored.leaf(LOG).unwrap(), leaf);
    assert!(!json(&stored).contains(&token(0, "")[..30]));
    assert!(stored.redact(&what).unwrap().is_empty(), "what is gone does not go again");

    let reading = stored.for_reading().unwrap();
    let event = reading.event().unwrap();
    assert_eq!((event.time.unix_ns(), event.identity.user.is_none(), event.unmapped.len()), (11, true, 2));
    assert_eq!(event.attributes, whole.event().unwrap().attributes);
    let expected = whole.contents[0].text.replace(&token(0, "@a.example"), "<EMAIL:erased>");
    assert_eq!(reading.contents[0].text.as_str(), expected);
    assert!(expected.contains(&token(1, "")[..30]), "the other one's token stays");
}

#[test]
fn the_keys_of_foreign_members_go_too_and_are_not_told() {
    let mut stored = StoredRecord::whole(record(&[], &[]));
    let leaf = stored.leaf(LOG).unwrap();
    let tokens = ErasedTokens::from_iter([token(1, ""), token(2, "@x.example")]);
    let gone = stored.redact(&Redaction { event: false, field: NO_FIELD, content: NO_CONTENT, tokens: &tokens }).unwrap();
    assert_eq!(gone, ["field/10/unmapped", "field/11/unmapped"]);
    assert_eq!(stored.leaf(LOG).unwrap(), leaf);
    assert!(stored.for_reading().unwrap().event().unwrap().unmapped.is_empty());
}

#[test]
fn an_event_of_the_person_leaves_its_leaf_and_the_contents_of_others() {
    let whole = record(&[2, 3], &[0, 2]);
    let leaf = Leaf::of(&whole, LOG).unwrap();
    let mut stored = StoredRecord::whole(whole.clone());
    let tokens = ErasedTokens::from_iter([token(2, "")]);
    let is_two = |candidate| candidate == subject(2);
    let what = Redaction { event: true, field: NO_FIELD, content: &|_, subject| Cut::all_if(is_two(subject)), tokens: &tokens };
    let gone = stored.redact(&what).unwrap();
    let (own, other) = (whole.contents[0].id, whole.contents[1].id);
    assert_eq!(gone, ["event".to_owned(), format!("content/{own}"), format!("content/{other}/span/1")]);
    assert_eq!(stored.leaf(LOG).unwrap(), leaf);
    assert_eq!(stored.for_reading(), None);
    let readable = stored.contents_for_reading();
    assert_eq!(readable.len(), 1);
    assert_eq!(
        readable[0].text.as_str(),
        template(&whole.contents[1].text).replacen("and <EMAIL:erased>", &format!("and {}", token(0, "@a.example")), 1)
    );
    let open: Vec<&StoredField> = redacted(&stored).fields.iter().filter(|f| matches!(f, StoredField::Open { .. })).collect();
    assert_eq!(open.len(), 1, "the list of contents");

    let all = |_| true;
    let gone = stored.redact(&Redaction { content: &|_, subject| Cut::all_if(all(subject)), ..what }).unwrap();
    assert_eq!(gone, ["event".to_owned(), format!("content/{other}")]);
    assert_eq!(stored.leaf(LOG).unwrap(), leaf);
    let left = json(&stored);
    assert!(!left.contains(&other.to_string()) && !left.contains("/kind"), "{left}");
}

#[test]
fn what_nobody_needs_to_touch_stays_whole() {
    let whole = StoredRecord::whole(record(&[1], &[0]));
    let mut stored = whole.clone();
    let tokens = ErasedTokens::from_iter([token(9, "")]);
    let gone = stored.redact(&Redaction { event: false, field: NO_FIELD, content: NO_CONTENT, tokens: &tokens }).unwrap();
    assert_eq!((gone.len(), stored), (0, whole));
}

#[test]
fn each_part_of_what_is_left_is_bound() {
    let mut stored = StoredRecord::whole(record(&[0, 1, 2], &[1, 3]));
    let leaf = stored.leaf(LOG).unwrap();
    let tokens = ErasedTokens::from_iter([token(1, "")]);
    let is_two = |candidate| candidate == subject(2);
    stored
        .redact(&Redaction {
            event: false,
            field: NO_FIELD,
            content: &|_, subject| Cut::all_if(is_two(subject)),
            tokens: &tokens,
        })
        .unwrap();
    let good = redacted(&stored).clone();
    let differs = |change: &dyn Fn(&mut RedactedRecord)| {
        let mut changed = good.clone();
        change(&mut changed);
        assert_ne!(changed, good);
        changed.leaf(Seq(9), LOG).ok().as_ref() != Some(&leaf)
    };
    for index in 0..good.fields.len() {
        assert!(differs(&|record| {
            record.fields.remove(index);
        }));
        assert!(differs(&|record| match &mut record.fields[index] {
            StoredField::Open { value, .. } => value.push(b' '),
            StoredField::Gone { hash } => hash[31] ^= 1,
        }));
        assert!(differs(&|record| match &mut record.fields[index] {
            StoredField::Open { path, .. } => path.push('a'),
            StoredField::Gone { hash } => hash[0] ^= 1,
        }));
    }
    for index in 0..good.contents.len() {
        assert!(differs(&|record| {
            record.contents.remove(index);
        }));
        assert!(differs(&|record| match &mut record.contents[index] {
            StoredContent::Whole(entry) => entry.salt[0] ^= 1,
            StoredContent::Redacted { template_salt, .. } => template_salt[0] ^= 1,
            StoredContent::Gone { id } => *id = ContentId::from_bytes([1; 32]).unwrap(),
        }));
        if let StoredContent::Redacted { spans, .. } = &good.contents[index] {
            for span in 0..spans.len() {
                assert!(differs(&|record| {
                    let StoredContent::Redacted { spans, subject: of, .. } = &mut record.contents[index] else { return };
                    *of = subject(7);
                    match &mut spans[span] {
                        StoredSpan::Open { offset, .. } => *offset += 1,
                        StoredSpan::Gone { commitment } => commitment[0] ^= 1,
                    }
                }));
            }
        }
    }
    assert!(differs(&|record| record.contents.swap(0, 1)));
    assert!(differs(&|record| record.time = Timestamp::from_unix_ns(12)));
    assert!(differs(&|record| record.kind = 2));
    assert!(differs(&|record| record.blind[0] ^= 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_sequence_of_redactions_changes_the_leaf_and_nothing_redacted_remains(
        owners in proptest::collection::hash_set(0..4_usize, 0..4),
        speaks_of in proptest::collection::vec(0..6_usize, 0..6),
        steps in proptest::collection::vec((any::<bool>(), 0..6_usize, 0..6_usize, 0..16_usize), 0..5),
    ) {
        let owners: Vec<usize> = owners.into_iter().collect();
        let whole = record(&owners, &speaks_of);
        let leaf = Leaf::of(&whole, LOG).unwrap();
        let mut stored = StoredRecord::whole(whole.clone());
        for (event, person, owner, field) in steps {
            let tokens = ErasedTokens::from_iter([token(person, "@b")]);
            let is_owner = |candidate| candidate == subject(owner);
            let paths: Vec<String> = fields(&whole).unwrap().into_iter().map(|field| field.path).collect();
            let is_field = |path: &str, _: &[u8]| path != "/id" && paths.get(field).is_some_and(|this| this == path);
            let before = stored.clone();
            let gone = stored.redact(&Redaction { event: event && field < 4, field: &is_field, content: &|_, subject| Cut::all_if(is_owner(subject)), tokens: &tokens }).unwrap();
            prop_assert_eq!(gone.is_empty(), stored == before);
            prop_assert_eq!(&stored.leaf(LOG).unwrap(), &leaf);
            let event_went = event && field < 4;
            if let StoredBody::Redacted(record) = &stored.body {
                let left = serde_json::to_string(record).unwrap();
                prop_assert_eq!(&serde_json::from_str::<RedactedRecord>(&left).unwrap(), record);
                prop_assert!(!left.contains(&token(person, "")[..30]));
                prop_assert!(!left.contains(&hex::encode(&whole.commitment_key)));
                if owners.contains(&owner) {
                    prop_assert!(!left.contains(WORDS[owner % WORDS.len()]));
                    let went = whole.contents.iter().find(|content| content.subject == subject(owner)).unwrap();
                    prop_assert!(!left.contains(&hex::encode(&went.salt)));
                }
                for content in &whole.contents {
                    let kept = record.contents.iter().any(|kept| matches!(kept, StoredContent::Whole(kept) if kept.id == content.id));
                    prop_assert_eq!(left.contains(&hex::encode(&content.salt)), kept, "a salt tells the whole text");
                }
                prop_assert!(!event_went || !left.contains("\"/"), "{}", left);
                let reading = stored.for_reading();
                prop_assert_eq!(reading.is_some(), left.contains("\"/id\""));
                if let Some(reading) = reading {
                    reading.event().unwrap();
                }
            }
        }
    }

    #[test]
    fn no_json_makes_it_panic(left in "[{}\\[\\]\",:a0~/ ]{0,60}", offset in any::<u32>(), text in "[<>A-Z:é]{0,40}") {
        let _ = serde_json::from_str::<RedactedRecord>(&left);
        let span = StoredSpan::Open { offset, token: token(1, ""), salt: [0; 32] };
        let _ = filled(&text, &[span.clone(), span]);
    }
}
