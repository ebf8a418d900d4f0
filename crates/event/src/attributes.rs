//! Attributes: flat, dotted keys with typed values, as OpenTelemetry has them.

use std::borrow::{Borrow, Cow};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::{self, IntoDeserializer as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::KEY_BYTES_MAX;

/// Attributes under canonical keys (see [`attr`](crate::attr)).
pub type Attributes<T> = BTreeMap<Key, Value<T>>;

/// A canonical attribute key: a name that we or a standard gave, never text from a stranger.
///
/// Lower-case letters, digits, `_`, `.` and `-` only; what does not fit goes to
/// [`Event::unmapped`](crate::Event::unmapped), whose keys are sanitised like any text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Cow<'static, str>);

/// Why a text is not a canonical key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an attribute key has 1 to {KEY_BYTES_MAX} characters of a-z, 0-9, '_', '.' and '-'")]
pub struct KeyError;

impl Key {
    /// A key that is known when the program is built.
    #[must_use]
    pub const fn of(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// Parses a key that comes from data (a dialect table, an API call).
    pub fn parse(name: &str) -> Result<Self, KeyError> {
        let fits = (1..=KEY_BYTES_MAX).contains(&name.len())
            && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-'));
        if fits { Ok(Self(Cow::Owned(name.to_owned()))) } else { Err(KeyError) }
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&Cow::<'_, str>::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Key {
    fn schema_name() -> Cow<'static, str> {
        "Key".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[a-z0-9_.-]{1,128}$" })
    }
}

/// The value of an attribute. Bytes come as base64 text; numbers that JSON cannot hold come as text.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged, bound(serialize = "T: Serialize + Ord"))]
pub enum Value<T> {
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other finite number. Construct through [`Value::double`].
    Double(f64),
    /// A text.
    Text(T),
    /// A list.
    List(Vec<Value<T>>),
    /// A map. Its keys are text as hostile as any other.
    Map(BTreeMap<T, Value<T>>),
}

/// Read by what comes, without a trial of each variant: every consumer reads each attribute of each record.
impl<'de, T: Deserialize<'de> + Ord> Deserialize<'de> for Value<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor(PhantomData))
    }
}

struct ValueVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Ord> Visitor<'de> for ValueVisitor<T> {
    type Value = Value<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a truth value, a number, a text, a list or a map")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value<T>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value<T>, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value<T>, E> {
        Ok(i64::try_from(value).map_or(Value::Double(value as f64), Value::Int))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value<T>, E> {
        Ok(Value::Double(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value<T>, E> {
        T::deserialize(value.into_deserializer()).map(Value::Text)
    }

    fn visit_borrowed_str<E: de::Error>(self, value: &'de str) -> Result<Value<T>, E> {
        T::deserialize(de::value::BorrowedStrDeserializer::new(value)).map(Value::Text)
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value<T>, E> {
        T::deserialize(value.into_deserializer()).map(Value::Text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = access.next_element()? {
            list.push(value);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value<T>, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, value)) = access.next_entry()? {
            map.insert(key, value);
        }
        Ok(Value::Map(map))
    }
}

impl<T> Value<T> {
    /// A number, as `Double` when it is finite and as text (`NaN`, `inf`) when it is not.
    pub fn double(number: f64) -> Self
    where
        T: From<String>,
    {
        if number.is_finite() { Self::Double(number) } else { Self::Text(number.to_string().into()) }
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&T> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The number, whole or not.
    #[allow(clippy::cast_precision_loss)]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            Self::Double(number) => Some(*number),
            _ => None,
        }
    }

    /// The same value with another type of text.
    ///
    /// Two keys of one map that become the same text keep both values: the later one gets `#2`, `#3` and so on
    /// through `distinct`.
    pub fn map<U: Ord + Clone>(self, text: &mut impl FnMut(T) -> U, distinct: &impl Fn(U, usize) -> U) -> Value<U> {
        match self {
            Self::Bool(value) => Value::Bool(value),
            Self::Int(value) => Value::Int(value),
            Self::Double(value) => Value::Double(value),
            Self::Text(value) => Value::Text(text(value)),
            Self::List(values) => Value::List(values.into_iter().map(|value| value.map(text, distinct)).collect()),
            Self::Map(entries) => Value::Map(map_entries(entries, text, distinct)),
        }
    }
}

/// Maps the keys and values of a map whose keys are text.
pub(crate) fn map_entries<T, U: Ord + Clone>(
    entries: BTreeMap<T, Value<T>>,
    text: &mut impl FnMut(T) -> U,
    distinct: &impl Fn(U, usize) -> U,
) -> BTreeMap<U, Value<U>> {
    let mut mapped = BTreeMap::new();
    for (key, value) in entries {
        let key = text(key);
        let value = value.map(text, distinct);
        let free = if mapped.contains_key(&key) {
            (2..).map(|n| distinct(key.clone(), n)).find(|candidate| !mapped.contains_key(candidate)).unwrap_or(key)
        } else {
            key
        };
        mapped.insert(free, value);
    }
    mapped
}

impl<T: From<String>> From<&str> for Value<T> {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned().into())
    }
}

impl<T> From<i64> for Value<T> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl<T> From<bool> for Value<T> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_become_equal_keep_both_values() {
        let map = Value::Map(BTreeMap::from([("a@x".to_owned(), Value::Int(1)), ("b@x".to_owned(), Value::Int(2))]));
        let mapped = map.map(&mut |_| "mail".to_owned(), &|key, n| format!("{key}#{n}"));
        let expected = BTreeMap::from([("mail".to_owned(), Value::Int(1)), ("mail#2".to_owned(), Value::Int(2))]);
        // the value texts are untouched: only keys and texts go through the function
        assert_eq!(mapped, Value::Map(expected));
    }

    #[test]
    fn keys_are_canonical_or_refused() {
        assert!(Key::parse("gen_ai.request.model").is_ok());
        for bad in ["", "User", "a b", "é", &"a".repeat(129)] {
            assert_eq!(Key::parse(bad), Err(KeyError), "{bad}");
        }
    }

    #[test]
    fn values_are_read_by_what_comes() {
        let text = r#"{"a":[true,-1,9223372036854775807,9223372036854775808,1.5,"x\ny",[],{"k":"v"}]}"#;
        let read: Value<String> = serde_json::from_str(text).unwrap();
        let Value::Map(map) = &read else { panic!("{read:?}") };
        let expected = [
            Value::Bool(true),
            Value::Int(-1),
            Value::Int(i64::MAX),
            Value::Double(9_223_372_036_854_775_808.0),
            Value::Double(1.5),
            Value::Text("x\ny".to_owned()),
            Value::List(Vec::new()),
            Value::Map(BTreeMap::from([("k".to_owned(), Value::Text("v".to_owned()))])),
        ];
        assert_eq!(map["a"], Value::List(expected.to_vec()));
        // From a tree, as parts that are flattened are read, it is the same.
        assert_eq!(serde_json::from_value::<Value<String>>(serde_json::from_str(text).unwrap()).unwrap(), read);
        assert!(serde_json::from_str::<Value<String>>("null").unwrap_err().to_string().contains("a truth value, a number"));
    }

    #[test]
    fn numbers_that_json_cannot_hold_become_text() {
        assert_eq!(Value::<String>::double(f64::NAN), Value::Text("NaN".to_owned()));
        assert_eq!(serde_json::to_string(&Value::<String>::double(0.1)).unwrap(), "0.1");
    }
}
