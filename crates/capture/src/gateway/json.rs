//! JSON as strangers send it: read one level at a time, so that nesting costs no stack and what is not understood can
//! be kept as the text that it was.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use event::{Value, limits};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::Raw;

/// Above this many keys, duplicates are looked for with a set instead of by comparing each with each.
const KEYS_COMPARED_MAX: usize = 24;

/// A structured value longer than this is kept as JSON text: a tree takes many times the memory of its text.
const TREE_BYTES_MAX: usize = 64 * 1024;

/// One JSON object, its values unread. Two equal keys are an error: which of them counts is a matter of the reader,
/// and two readers who disagree are how a recorder is deceived.
pub(crate) struct Object<'a> {
    entries: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// Reads a whole text as an object.
    pub(crate) fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Reads a value as an object; `None` when it is something else, or ambiguous.
    pub(crate) fn of(raw: &'a RawValue) -> Option<Self> {
        if raw.get().starts_with('{') { Self::parse(raw.get()).ok() } else { None }
    }

    /// The value of a key; `null` counts as absent.
    pub(crate) fn get(&self, key: &str) -> Option<&'a RawValue> {
        let (_, value) = self.entries.iter().find(|(name, _)| name == key)?;
        (value.get() != "null").then_some(*value)
    }

    /// The value of a key as an object.
    pub(crate) fn object(&self, key: &str) -> Option<Object<'a>> {
        self.get(key).and_then(Object::of)
    }

    /// The value of a key as text.
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        self.get(key).and_then(text)
    }

    /// The value of a key as a whole number.
    pub(crate) fn int(&self, key: &str) -> Option<i64> {
        self.get(key).and_then(int)
    }

    /// The items of an array; none when it is absent or no array.
    pub(crate) fn items(&self, key: &str) -> Vec<&'a RawValue> {
        self.get(key).and_then(items).unwrap_or_default()
    }

    /// Every entry.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.entries.iter().map(|(key, value)| (key.as_ref(), *value))
    }
}

/// A string's text. A lone surrogate, which Unicode does not have and JSON can write, reads as U+FFFDs: the rest of the
/// text must not go unread because of it.
pub(crate) fn text(raw: &RawValue) -> Option<String> {
    if !raw.get().starts_with('"') {
        return None;
    }
    serde_json::from_str::<String>(raw.get()).or_else(|_| serde_json::from_str::<Lossy>(raw.get()).map(|lossy| lossy.0)).ok()
}

/// A string's text, or the JSON of anything else.
pub(crate) fn text_or_json(raw: &RawValue) -> String {
    text(raw).unwrap_or_else(|| raw.get().to_owned())
}

/// A whole number that fits.
pub(crate) fn int(raw: &RawValue) -> Option<i64> {
    serde_json::from_str(raw.get()).ok()
}

/// A finite number.
pub(crate) fn number(raw: &RawValue) -> Option<f64> {
    serde_json::from_str::<f64>(raw.get()).ok().filter(|number| number.is_finite())
}

/// A truth value.
pub(crate) fn boolean(raw: &RawValue) -> Option<bool> {
    serde_json::from_str(raw.get()).ok()
}

/// The items of an array.
pub(crate) fn items(raw: &RawValue) -> Option<Vec<&RawValue>> {
    if raw.get().starts_with('[') { serde_json::from_str::<Items<'_>>(raw.get()).ok().map(|items| items.0) } else { None }
}

/// Any value as an attribute's value. What is too deep, too large or beyond the range of numbers stays JSON text.
pub(crate) fn value(raw: &RawValue) -> Value<Raw> {
    if let Some(text) = text(raw) {
        return Value::Text(cut(text).0.into());
    }
    let tree = (raw.get().len() <= TREE_BYTES_MAX)
        .then(|| serde_json::from_str::<serde_json::Value>(raw.get()).ok())
        .flatten()
        .and_then(|tree| convert(tree, 0));
    tree.unwrap_or_else(|| Value::Text(cut(raw.get().to_owned()).0.into()))
}

/// Cuts a text at the limit of one content, at a character boundary; tells how many bytes went.
pub(crate) fn cut(text: String) -> (String, usize) {
    cut_at(text, limits::CONTENT_BYTES_MAX)
}

/// Cuts a text at `bytes_max`, at a character boundary; tells how many bytes went.
pub(crate) fn cut_at(mut text: String, bytes_max: usize) -> (String, usize) {
    let before = text.len();
    if before > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
    }
    let gone = before - text.len();
    (text, gone)
}

fn convert(tree: serde_json::Value, depth: usize) -> Option<Value<Raw>> {
    if depth >= limits::VALUE_DEPTH_MAX {
        return None;
    }
    Some(match tree {
        serde_json::Value::Null => Value::Text(Raw::from("null")),
        serde_json::Value::Bool(value) => Value::Bool(value),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Value::Int(number),
            (None, Some(double)) if !number.is_u64() => Value::double(double),
            _ => Value::Text(number.to_string().into()),
        },
        serde_json::Value::String(text) => Value::Text(text.into()),
        serde_json::Value::Array(items) => {
            Value::List(items.into_iter().map(|item| convert(item, depth + 1)).collect::<Option<_>>()?)
        }
        serde_json::Value::Object(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, item)| convert(item, depth + 1).map(|item| (Raw::from(key), item)))
                .collect::<Option<_>>()?,
        ),
    })
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut entries: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
                let mut seen: HashSet<Cow<'de, str>> = HashSet::new();
                while let Some(Name(key)) = map.next_key()? {
                    let twice = if entries.len() < KEYS_COMPARED_MAX {
                        entries.iter().any(|(name, _)| *name == key)
                    } else {
                        if seen.is_empty() {
                            seen.extend(entries.iter().map(|(name, _)| name.clone()));
                        }
                        !seen.insert(key.clone())
                    };
                    if twice {
                        let key = cut_at(key.into_owned(), 40).0;
                        return Err(A::Error::custom(format_args!("the key {key:?} stands twice in one object")));
                    }
                    entries.push((key, map.next_value()?));
                }
                Ok(Object { entries })
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

/// A key, borrowed where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(key.to_owned())))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

struct Items<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Items<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Items<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Items<'de>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Items(items))
            }
        }

        deserializer.deserialize_seq(List)
    }
}

/// A string that may hold lone surrogates.
struct Lossy(String);

impl<'de> Deserialize<'de> for Lossy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Lossy;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Lossy, E> {
                Ok(Lossy(String::from_utf8_lossy(bytes).into_owned()))
            }
        }

        deserializer.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn an_object_gives_its_values_unread() {
        let object = Object::parse(r#"{"a":"x","b":[1,2],"c":null,"d":{"e":3},"f\u0067":true}"#).unwrap();
        assert_eq!(object.text("a").as_deref(), Some("x"));
        assert_eq!(object.items("b").len(), 2);
        assert!(object.get("c").is_none());
        assert_eq!(object.object("d").unwrap().int("e"), Some(3));
        assert!(object.get("fg").is_some());
        assert!(object.items("a").is_empty());
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_in_small_and_in_large_objects() {
        assert!(Object::parse(r#"{"a":1,"\u0061":2}"#).is_err());
        let many: Vec<_> = (0..100).map(|n| format!("\"k{n}\":{n}")).collect();
        assert!(Object::parse(&format!("{{{}}}", many.join(","))).is_ok());
        assert!(Object::parse(&format!("{{{},\"k50\":0}}", many.join(","))).is_err());
        assert!(Object::parse(&format!("{{{},\"k0\":0}}", many.join(","))).is_err());
    }

    #[test]
    fn lone_surrogates_do_not_hide_a_text() {
        let text = text(&raw(r#""\ud800 \u0069gnore""#)).unwrap();
        assert!(text.ends_with(" ignore") && text.starts_with('\u{fffd}'), "{text}");
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let object = Object::parse(&deep).unwrap();
        assert_eq!(object.get("a").unwrap().get().len(), 200_000);
        assert!(matches!(value(object.get("a").unwrap()), Value::Text(_)));
    }

    #[test]
    fn values_keep_their_type_where_they_fit() {
        assert_eq!(value(&raw("3")), Value::Int(3));
        assert_eq!(value(&raw("18446744073709551615")), Value::Text(Raw::from("18446744073709551615")));
        assert_eq!(value(&raw("1e999")), Value::Text(Raw::from("1e999")));
        assert_eq!(value(&raw("[true]")), Value::List(vec![Value::Bool(true)]));
        let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
        assert_eq!(value(&raw(&deep)), Value::Text(Raw::from(deep)));
    }

    #[test]
    fn cutting_respects_characters() {
        assert_eq!(cut_at("aé".to_owned(), 2), ("a".to_owned(), 2));
        assert_eq!(cut_at("ab".to_owned(), 2), ("ab".to_owned(), 0));
    }
}
