//! The leaf of a record, computed in the plain way: what Watchkeeper did before it was made fast, by another library's hashes.
//! For tests that compare, and for the benchmark.

#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::borrow::Cow;

use aws_lc_rs::{digest, hmac};
use journal::Record;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

type Hash = [u8; 32];

struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    members.push((key, map.next_value()?));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(MembersVisitor).map(Members)
    }
}

fn digest_of(parts: &[&[u8]]) -> Hash {
    digest::digest(&digest::SHA256, &parts.concat()).as_ref().try_into().unwrap()
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Hash {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &parts.concat()).as_ref().try_into().unwrap()
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap().to_be_bytes()
}

fn root(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => digest_of(&[]),
        [leaf] => *leaf,
        _ => {
            let (left, right) = hashes.split_at(hashes.len().next_power_of_two() / 2);
            digest_of(&[&[1], &root(left), &root(right)])
        }
    }
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The fields of an event that is known to be in canonical form: path and value.
fn fields(json: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut fields = Vec::new();
    for (key, value) in serde_json::from_slice::<Members<'_>>(json).unwrap().0 {
        let text = value.get();
        let path = format!("/{}", escaped(&key));
        let mut parts: Vec<(String, Vec<u8>)> = Vec::new();
        if matches!(&*key, "attributes" | "unmapped") && text.starts_with('{') {
            let members = serde_json::from_str::<Members<'_>>(text).unwrap().0;
            parts = members.iter().map(|(key, value)| (format!("{path}/{}", escaped(key)), value.get().into())).collect();
        } else if key == "pieces" && text.starts_with('[') {
            let items = serde_json::from_str::<Vec<&RawValue>>(text).unwrap();
            parts = items.iter().enumerate().map(|(index, value)| (format!("{path}/{index}"), value.get().into())).collect();
        }
        if parts.is_empty() {
            parts.push((path, text.into()));
        }
        fields.append(&mut parts);
    }
    fields
}

/// The bytes of the leaf of a record that is known to have one.
pub fn leaf(record: &Record, log_id: [u8; 16]) -> Vec<u8> {
    #[derive(Deserialize)]
    struct Said {
        kind: event::Kind,
        time: u64,
        observed: u64,
    }
    let mut contents = Vec::new();
    for content in &record.contents {
        let reference = content.reference();
        contents.extend_from_slice(reference.id.as_bytes());
        contents.extend_from_slice(reference.subject.as_bytes());
        contents.extend_from_slice(&reference.bytes.to_be_bytes());
    }
    let mut all: Vec<(String, u8, Vec<u8>)> =
        fields(&record.event_json).into_iter().map(|(path, value)| (path, 1, value)).collect();
    all.push(("contents".to_owned(), 2, contents));
    let hashes: Vec<Hash> = all
        .iter()
        .map(|(path, kind, value)| {
            let path = path.as_bytes();
            let salt = mac(&record.commitment_key, &[b"wkleaf/1 salt", &length(path), path]);
            let commitment = mac(&salt, &[b"wkleaf/1 field", &length(path), path, &[*kind], &length(value), value]);
            digest_of(&[&[0], &length(path), path, &commitment])
        })
        .collect();
    let said: Said = serde_json::from_slice(&record.event_json).unwrap();
    [
        &b"wkleaf/1"[..],
        &log_id,
        &record.seq.0.to_be_bytes(),
        &said.time.to_be_bytes(),
        &said.observed.to_be_bytes(),
        &said.kind.code().to_be_bytes(),
        &u32::try_from(hashes.len()).unwrap().to_be_bytes(),
        &root(&hashes),
        &record.blind,
    ]
    .concat()
}
