use aws_lc_rs::hmac;
use event::{Direction, Event, Key, Part, Piece, PieceMeta, Role, Source, SourcePath, SubjectId, Value};
use journal::{ContentEntry, Seq};
use sanitize::Clean;

use super::*;
use crate::tree::leaf_hash;
use crate::tree::tests::mth;

#[path = "../tests/common/plain.rs"]
mod plain;

const LOG: [u8; 16] = [3; 16];

/// A record like any that the recorder writes, the same for the same `seq`.
pub(crate) fn record(seq: u64) -> Record {
    let subject = SubjectId::from_bytes([1; 16]).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    let text = format!("What is {seq} plus {seq}?");
    let content = ContentEntry::commit(subject, &key, Clean::recorded(&text));
    let mut event: Event<Clean, ContentRef> =
        Event::new(Kind::ModelCall, Clean::literal("chat \"m\""), Source::new(SourcePath::Api, Key::of("watchkeeper")));
    event.id = event::EventId::derived(Timestamp::from_unix_ns(seq), &[5; 32]);
    event.time = Timestamp::from_unix_ns(1_700_000_000_000_000_000 + seq);
    event.observed = Timestamp::from_unix_ns(1_700_000_001_000_000_000 + seq);
    event.set(event::attr::GEN_AI_USAGE_INPUT_TOKENS, i64::try_from(seq).unwrap());
    event.set(event::attr::GEN_AI_RESPONSE_FINISH_REASONS, Value::List(vec![Value::Text(Clean::literal("stop"))]));
    event.unmapped.insert(Clean::literal("vendor/a~b \"q\" \u{7} é"), Value::Double(0.1));
    event.pieces.push(Piece::new(PieceMeta::new(Direction::Input, Role::User, Part::Text), content.reference()));
    Record {
        seq: Seq(seq),
        commitment_key: [u8::try_from(seq % 251).unwrap(); 32],
        blind: [u8::try_from(seq % 241).unwrap(); 16],
        event_json: serde_json::to_vec(&event).unwrap(),
        contents: if seq.is_multiple_of(3) { vec![content] } else { Vec::new() },
    }
}

fn with_json(json: &str) -> Record {
    Record { event_json: json.as_bytes().to_vec(), contents: Vec::new(), ..record(0) }
}

fn leaf_of(json: &str) -> Result<Leaf, LeafError> {
    Leaf::of(&with_json(json), LOG)
}

const LEAST: &str = r#"{"kind":"gap","time":1,"observed":2}"#;

/// Good records among bad ones, and batches of every size around the ones that are hashed together.
#[test]
fn many_leaves_are_those_of_each_record_by_itself() {
    let mut records: Vec<Record> = (0..70).map(record).collect();
    records[5] = with_json("{}");
    records[33].contents.push(record(3).contents[0].clone());
    records[40].event_json.insert(1, b' ');
    records[64] = with_json(LEAST);
    let mut leaves = Leaves::default();
    for range in [0..0, 0..1, 0..2, 30..63, 0..70] {
        let asked: Vec<_> = records[range.clone()].iter().map(|record| (record, None)).collect();
        let found = leaves.of(&asked, LOG);
        assert_eq!(found.len(), asked.len());
        for (record, found) in records[range].iter().zip(found) {
            let (found, alone) = (found.map_err(|error| error.to_string()), Leaf::of(record, LOG));
            assert_eq!(found, alone.map_err(|error| error.to_string()));
        }
    }
}

#[test]
fn an_event_must_have_the_id_that_the_index_names() {
    let record = record(1);
    let event: event::RecordedEvent<Clean> = record.event().unwrap();
    let mut id = *event.id.as_bytes();
    assert!(Leaves::default().of(&[(&record, Some(id))], LOG)[0].is_ok());
    id[15] ^= 1;
    assert!(matches!(Leaves::default().of(&[(&record, Some(id))], LOG)[0], Err(LeafError::EventId)));
}

#[test]
fn fields_are_members_attributes_and_pieces() {
    let record = record(3);
    let paths: Vec<String> = fields(&record).unwrap().into_iter().map(|field| field.path).collect();
    let expected = [
        "/id",
        "/kind",
        "/phase",
        "/name",
        "/time",
        "/observed",
        "/status",
        "/identity",
        "/source",
        "/attributes/gen_ai.response.finish_reasons",
        "/attributes/gen_ai.usage.input_tokens",
        "/unmapped/vendor~1a~0b \"q\" \u{7} é",
        "/pieces/0",
        "contents",
    ];
    assert_eq!(paths, expected);
    let tokens = &fields(&record).unwrap()[10];
    assert_eq!((tokens.kind, tokens.value.as_ref()), (FieldType::Json, &b"3"[..]));
}

/// The whole format once more, written plainly: what somebody else's verifier would do.
#[test]
fn the_leaf_is_what_the_specification_says() {
    let record = with_json(LEAST);
    let mac =
        |key: &[u8], parts: &[&[u8]]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &parts.concat()).as_ref().to_vec();
    let hashes: Vec<Hash> = [("/kind", 1_u8, "\"gap\""), ("/time", 1, "1"), ("/observed", 1, "2"), ("contents", 2, "")]
        .map(|(path, kind, value)| {
            let path_length = u32::try_from(path.len()).unwrap().to_be_bytes();
            let value_length = u32::try_from(value.len()).unwrap().to_be_bytes();
            let salt = mac(&record.commitment_key, &[b"wkleaf/1 salt", &path_length, path.as_bytes()]);
            let field = [b"wkleaf/1 field".as_slice(), &path_length, path.as_bytes(), &[kind], &value_length, value.as_bytes()];
            leaf_hash(&[&path_length, path.as_bytes(), &mac(&salt, &field)].concat())
        })
        .to_vec();
    let mut expected = b"wkleaf/1".to_vec();
    expected.extend_from_slice(&LOG);
    for number in [0_u64, 1, 2] {
        expected.extend_from_slice(&number.to_be_bytes());
    }
    expected.extend_from_slice(&[0, 15, 0, 0, 0, 4]);
    expected.extend_from_slice(&mth(&hashes));
    expected.extend_from_slice(&record.blind);
    let leaf = Leaf::of(&record, LOG).unwrap();
    assert_eq!(leaf.encode().to_vec(), expected);
    assert_eq!(Leaf::decode(&leaf.encode()), Some(leaf.clone()));
    let mut other = leaf.encode();
    other[7] = b'2';
    assert_eq!(Leaf::decode(&other), None);
}

/// A golden leaf: a change of the format must be a change of its version.
#[test]
fn the_format_stands_still() {
    let hash = leaf_hash(&Leaf::of(&with_json(LEAST), LOG).unwrap().encode());
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "886cb28fc967d2d770ecc856ccddd1cd24262b524f7f2a2445939982bab61185");
}

#[test]
fn a_field_is_proved_alone_by_its_salt() {
    let record = record(3);
    let leaf = Leaf::of(&record, LOG).unwrap();
    let fields = fields(&record).unwrap();
    let hashes: Vec<Hash> =
        fields.iter().map(|field| field.hash(&field.salt(&record.commitment_key).unwrap()).unwrap()).collect();
    let size = u64::from(leaf.fields);
    for (index, hash) in hashes.iter().enumerate() {
        let proof = crate::proof::inclusion(&hashes.as_slice(), index as u64, size).unwrap();
        crate::proof::verify_inclusion(hash, index as u64, size, &proof, &leaf.field_root).unwrap();
    }
    let salts: HashSet<[u8; 32]> = fields.iter().map(|field| field.salt(&record.commitment_key).unwrap()).collect();
    assert_eq!(salts.len(), fields.len(), "no two fields share a salt");
}

#[test]
fn every_byte_of_a_record_is_bound() {
    for record in [record(3), record(4)] {
        assert_eq!(Leaf::of(&record, LOG).unwrap().encode().to_vec(), plain::leaf(&record, LOG));
        let leaf = Leaf::of(&record, LOG).unwrap();
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        for index in 0..bytes.len() {
            for bit in [0x01, 0x04, 0x20, 0x80] {
                bytes[index] ^= bit;
                if let Ok(changed) = Record::decode(record.seq, &bytes) {
                    assert!(Leaf::of(&changed, LOG).ok().as_ref() != Some(&leaf), "byte {index} bit {bit:02x}");
                }
                bytes[index] ^= bit;
            }
        }
        assert_ne!(Leaf::of(&Record { seq: Seq(9), ..record.clone() }, LOG).unwrap(), leaf);
        assert_ne!(Leaf::of(&record, [4; 16]).unwrap(), leaf);
    }
}

#[test]
fn white_space_second_spellings_and_duplicates_cannot_be_smuggled_in() {
    assert!(leaf_of(LEAST).is_ok());
    let not_canonical = [
        r#" {"kind":"gap","time":1,"observed":2}"#,
        r#"{"kind":"gap","time":1,"observed":2} "#,
        r#"{"kind": "gap","time":1,"observed":2}"#,
        r#"{"\u006bind":"gap","time":1,"observed":2}"#,
        r#"{"kind":"gap","time":1,"observed":2,"attributes":{"a": 1}}"#,
        r#"{"kind":"gap","time":1,"observed":2,"attributes":{"\u0061":1}}"#,
        r#"{"kind":"gap","time":1,"observed":2,"pieces":[1, 2]}"#,
    ];
    for json in not_canonical {
        assert!(matches!(leaf_of(json), Err(LeafError::NotCanonical(_))), "{json}");
    }
    let duplicates = [
        r#"{"kind":"gap","kind":"gap","time":1,"observed":2}"#,
        r#"{"kind":"gap","time":1,"observed":2,"attributes":{"a":1,"a":1}}"#,
        r#"{"kind":"gap","time":1,"observed":2,"attributes":{},"attributes":{"a":1}}"#,
    ];
    for json in duplicates {
        assert!(matches!(leaf_of(json), Err(LeafError::Duplicate(_))), "{json}");
    }
    for json in
        ["", "[]", "null", r#"{"kind":"gap","time":1}"#, r#"{"kind":"no","time":1,"observed":2}"#, r#"{"time":-1}"#, "{}x"]
    {
        assert!(leaf_of(json).is_err(), "{json}");
    }
}

#[test]
fn different_events_have_different_leaves() {
    let same_but = |rest: &str| format!(r#"{{"kind":"gap","time":1,"observed":2{rest}}}"#);
    let events = [
        LEAST.to_owned(),
        r#"{"time":1,"kind":"gap","observed":2}"#.to_owned(),
        same_but(r#","attributes":{}"#),
        same_but(r#","attributes":[]"#),
        same_but(r#","attributes":{"a":1}"#),
        same_but(r#","attributes/a":1"#),
        same_but(r#","unmapped":{"a":1}"#),
        same_but(r#","attributes":{"a":{"b":1}}"#),
        same_but(r#","attributes":{"a/b":1}"#),
        same_but(r#","attributes":{"a~1b":1}"#),
        same_but(r#","pieces":[]"#),
        same_but(r#","pieces":[1,2]"#),
        same_but(r#","pieces":{"0":1,"1":2}"#),
        same_but(r#","pieces":[2,1]"#),
        same_but(r#","contents":1"#),
        same_but(r#","a":{"b": 1}"#),
        same_but(r#","a":{"b":1}"#),
    ];
    let leaves: HashSet<Vec<u8>> = events.iter().map(|json| leaf_of(json).unwrap().encode().to_vec()).collect();
    assert_eq!(leaves.len(), events.len());
}

#[test]
fn contents_must_be_those_of_the_event() {
    let good = record(3);
    let with = |change: &dyn Fn(&mut Vec<ContentEntry>)| {
        let mut record = good.clone();
        change(&mut record.contents);
        Leaf::of(&record, LOG)
    };
    let leaf = Leaf::of(&good, LOG).unwrap();
    assert!(matches!(with(&|contents| contents[0].text = Clean::literal("other")), Err(LeafError::ContentId(0))));
    assert!(matches!(with(&|contents| contents[0].salt = [0; 16]), Err(LeafError::ContentId(0))));
    let other = SubjectId::from_bytes([2; 16]).unwrap();
    assert!(matches!(with(&|contents| contents[0].subject = other), Err(LeafError::ContentUnreferenced(0))));
    let foreign = record(6).contents[0].clone();
    assert!(matches!(with(&|contents| contents.push(foreign.clone())), Err(LeafError::ContentUnreferenced(1))));
    assert!(matches!(with(&|contents| contents.push(contents[0].clone())), Err(LeafError::ContentTwice(1))));
    assert_ne!(with(&Vec::clear).unwrap(), leaf, "a content cannot be taken away");
}

/// JSON of every form, whose text is one of many that say the same.
fn json() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    let text = "[a-z~/ é\u{1}\"\\\\]{0,12}".prop_map(|text| serde_json::to_string(&text).unwrap());
    let leaf =
        prop_oneof![Just("null".to_owned()), Just("{}".to_owned()), any::<i32>().prop_map(|n| n.to_string()), text.clone()];
    leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            proptest::collection::btree_map(text.clone(), inner, 0..6).prop_map(|members| {
                format!("{{{}}}", members.iter().map(|(key, value)| format!("{key}:{value}")).collect::<Vec<_>>().join(","))
            }),
        ]
    })
}

proptest::proptest! {
    #[test]
    fn the_fast_way_is_the_plain_way(
        attributes in json(), unmapped in json(), pieces in json(), other in json(),
        key in proptest::prelude::any::<[u8; 32]>(), blind in proptest::prelude::any::<[u8; 16]>(), seq in 0..u64::MAX,
    ) {
        let json = format!(
            r#"{{"kind":"admin","attributes":{attributes},"time":1,"a~/b":{other},"unmapped":{unmapped},"observed":2,"pieces":{pieces}}}"#
        );
        let record = Record { seq: Seq(seq), commitment_key: key, blind, event_json: json.into_bytes(), contents: Vec::new() };
        proptest::prop_assert_eq!(Leaf::of(&record, LOG).unwrap().encode().to_vec(), plain::leaf(&record, LOG));
        let fields = fields(&record).unwrap();
        let hashes: Vec<Hash> = fields.iter().map(|field| field.hash(&field.salt(&key).unwrap()).unwrap()).collect();
        proptest::prop_assert_eq!(mth(&hashes), Leaf::of(&record, LOG).unwrap().field_root);
    }

    #[test]
    fn no_record_makes_it_panic(json in "[{}\\[\\]\",:a0~/ ]{0,60}", key in "(kind|attributes|unmapped|pieces)") {
        let _ = leaf_of(&json);
        let _ = leaf_of(&format!(r#"{{"kind":"gap","time":1,"observed":2,"{key}":{json}}}"#));
    }
}
