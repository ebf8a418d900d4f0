//! OTLP's `AnyValue` as an attribute value, as text, or as JSON.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use event::Value;
use event::limits::{CONTENT_BYTES_MAX, VALUE_DEPTH_MAX};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};

use crate::Raw;

/// Most values under one repeated key; the SDKs never repeat one, so more than a few are an attack on the naming below.
pub(super) const DUPLICATES_MAX: usize = 8;

/// What was lost at a limit, to be told in the event.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Losses {
    /// Bytes of text that were cut.
    pub(super) bytes_cut: u64,
    /// Pieces or attributes that were dropped.
    pub(super) items_dropped: u64,
    /// Contents that were not kept because another attribute carries the same.
    pub(super) duplicates_dropped: u64,
}

impl Losses {
    /// Cuts a text that is too long, at a character boundary.
    pub(super) fn cut(&mut self, mut text: String) -> String {
        if text.len() > CONTENT_BYTES_MAX {
            let keep = text.floor_char_boundary(CONTENT_BYTES_MAX);
            self.bytes_cut = self.bytes_cut.saturating_add((text.len() - keep) as u64);
            text.truncate(keep);
        }
        text
    }
}

/// The value as an attribute has it: bytes as base64, what is nested too deep as JSON text.
pub(super) fn attribute(any: AnyValue, losses: &mut Losses) -> Option<Value<Raw>> {
    any.value.map(|value| nested(value, losses, 0))
}

fn nested(value: any_value::Value, losses: &mut Losses, depth: usize) -> Value<Raw> {
    use any_value::Value as Any;
    match value {
        Any::StringValue(text) => Value::Text(losses.cut(text).into()),
        Any::BoolValue(value) => Value::Bool(value),
        Any::IntValue(number) => Value::Int(number),
        Any::DoubleValue(number) => Value::double(number),
        Any::BytesValue(bytes) => Value::Text(losses.cut(STANDARD.encode(bytes)).into()),
        // An index into a table that only profiles have: the standard says to take it as absent.
        Any::StringValueStrindex(_) => Value::Text(Raw::default()),
        nest @ (Any::ArrayValue(_) | Any::KvlistValue(_)) if depth >= VALUE_DEPTH_MAX => {
            Value::Text(losses.cut(json(&nest)).into())
        }
        Any::ArrayValue(list) => Value::List(
            list.values.into_iter().filter_map(|any| any.value).map(|value| nested(value, losses, depth + 1)).collect(),
        ),
        Any::KvlistValue(list) => Value::Map(map(list.values, losses, depth + 1)),
    }
}

/// Key-value pairs as a map; a repeated key keeps its later values as `key#2`, `key#3` and so on.
pub(super) fn map(pairs: Vec<KeyValue>, losses: &mut Losses, depth: usize) -> BTreeMap<Raw, Value<Raw>> {
    let mut map = BTreeMap::new();
    for pair in pairs {
        let Some(value) = pair.value.and_then(|any| any.value) else { continue };
        let value = nested(value, losses, depth);
        insert_distinct(&mut map, pair.key, value, losses);
    }
    map
}

/// Inserts under the key, or under `key#2` and so on when it is taken.
pub(super) fn insert_distinct(map: &mut BTreeMap<Raw, Value<Raw>>, key: String, value: Value<Raw>, losses: &mut Losses) {
    let key = match map.entry(Raw::from(losses.cut(key))) {
        Entry::Vacant(place) => {
            place.insert(value);
            return;
        }
        Entry::Occupied(place) => place.key().clone(),
    };
    let free = (2..=DUPLICATES_MAX).map(|n| Raw::from(format!("{}#{n}", key.expose()))).find(|key| !map.contains_key(key));
    match free {
        Some(key) => drop(map.insert(key, value)),
        None => losses.items_dropped += 1,
    }
}

/// The value as text: a text as it is, anything else as JSON.
pub(super) fn text(any: AnyValue) -> String {
    match any.value {
        Some(any_value::Value::StringValue(text)) => text,
        Some(value) => json(&value),
        None => String::new(),
    }
}

/// The text inside, where it is one.
pub(super) fn as_str(any: &AnyValue) -> Option<&str> {
    match &any.value {
        Some(any_value::Value::StringValue(text)) => Some(text),
        _ => None,
    }
}

/// The value as JSON text. Numbers that JSON cannot hold come as strings.
pub(super) fn json(value: &any_value::Value) -> String {
    let mut out = Vec::new();
    write_json(value, &mut out);
    // Everything below writes UTF-8.
    String::from_utf8(out).unwrap_or_default()
}

fn write_json(value: &any_value::Value, out: &mut Vec<u8>) {
    use any_value::Value as Any;
    match value {
        Any::StringValue(text) => write_str(text, out),
        Any::BoolValue(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Any::IntValue(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Any::DoubleValue(number) if number.is_finite() => {
            // Cannot fail: a finite number into a vector.
            let _ = serde_json::to_writer(&mut *out, number);
        }
        Any::DoubleValue(number) => write_str(&number.to_string(), out),
        Any::BytesValue(bytes) => write_str(&STANDARD.encode(bytes), out),
        Any::StringValueStrindex(_) => out.extend_from_slice(b"null"),
        Any::ArrayValue(list) => {
            out.push(b'[');
            for (index, any) in list.values.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_any(any, out);
            }
            out.push(b']');
        }
        Any::KvlistValue(list) => {
            out.push(b'{');
            for (index, pair) in list.values.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_str(&pair.key, out);
                out.push(b':');
                match &pair.value {
                    Some(any) => write_any(any, out),
                    None => out.extend_from_slice(b"null"),
                }
            }
            out.push(b'}');
        }
    }
}

fn write_any(any: &AnyValue, out: &mut Vec<u8>) {
    match &any.value {
        Some(value) => write_json(value, out),
        None => out.extend_from_slice(b"null"),
    }
}

fn write_str(text: &str, out: &mut Vec<u8>) {
    // Cannot fail: a string into a vector.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValueList};

    use super::*;

    fn any(value: any_value::Value) -> AnyValue {
        AnyValue { value: Some(value) }
    }

    fn list(values: Vec<AnyValue>) -> AnyValue {
        any(any_value::Value::ArrayValue(ArrayValue { values }))
    }

    #[test]
    fn what_is_nested_too_deep_becomes_json_text() {
        let mut deep = any(any_value::Value::IntValue(7));
        for _ in 0..VALUE_DEPTH_MAX + 3 {
            deep = list(vec![deep]);
        }
        let mut value = attribute(deep, &mut Losses::default()).unwrap();
        for _ in 0..VALUE_DEPTH_MAX {
            let Value::List(mut values) = value else { panic!("not a list") };
            value = values.remove(0);
        }
        assert_eq!(value, Value::Text("[[[7]]]".into()));
    }

    #[test]
    fn a_repeated_key_keeps_its_values_up_to_a_limit() {
        let pairs = (0..20)
            .map(|n| KeyValue { key: "k".to_owned(), value: Some(any(any_value::Value::IntValue(n))), ..Default::default() })
            .collect();
        let mut losses = Losses::default();
        let map = map(pairs, &mut losses, 0);
        assert_eq!(map.len(), DUPLICATES_MAX);
        assert_eq!(map.get(&Raw::from("k#2")), Some(&Value::Int(1)));
        assert_eq!(losses.items_dropped, 12);
    }

    #[test]
    fn json_is_json() {
        let value = any_value::Value::KvlistValue(KeyValueList {
            values: vec![
                KeyValue {
                    key: "a\"b".to_owned(),
                    value: Some(any(any_value::Value::DoubleValue(f64::NAN))),
                    ..Default::default()
                },
                KeyValue { key: "n".to_owned(), value: None, ..Default::default() },
                KeyValue {
                    key: "b".to_owned(),
                    value: Some(any(any_value::Value::BytesValue(vec![1, 2]))),
                    ..Default::default()
                },
            ],
        });
        assert_eq!(json(&value), r#"{"a\"b":"NaN","n":null,"b":"AQI="}"#);
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        let mut losses = Losses::default();
        let text = losses.cut(format!("a{}", "é".repeat(CONTENT_BYTES_MAX / 2)));
        assert_eq!(text.len(), CONTENT_BYTES_MAX - 1);
        assert_eq!(losses.bytes_cut, 2);
    }
}
