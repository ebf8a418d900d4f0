//! Identifiers, each a type of its own, parsed where they enter.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not the identifier that it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} must be {hex_chars} hexadecimal characters and not all zeros, got {got_chars} characters")]
pub struct IdError {
    kind: &'static str,
    hex_chars: usize,
    got_chars: usize,
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Wraps bytes; `None` when all are zero, which W3C Trace Context reserves for "absent".
            #[must_use]
            pub fn from_bytes(bytes: [u8; $bytes]) -> Option<Self> {
                (bytes != [0; $bytes]).then_some(Self(bytes))
            }

            /// Wraps a slice; `None` when its length is wrong or all bytes are zero.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                Self::from_bytes(bytes.try_into().ok()?)
            }

            /// The bytes of the identifier.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&crate::hex::encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let error = || IdError { kind: $kind, hex_chars: $bytes * 2, got_chars: text.chars().count() };
                let mut bytes = [0; $bytes];
                decode_hex(text.as_bytes(), &mut bytes).ok_or_else(error)?;
                Self::from_bytes(bytes).ok_or_else(error)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "pattern": format!("^[0-9a-f]{{{}}}$", $bytes * 2),
                })
            }
        }
    };
}

hex_id! {
    /// W3C trace id.
    TraceId, 16, "trace id"
}
hex_id! {
    /// W3C span (parent) id.
    SpanId, 8, "span id"
}
hex_id! {
    /// A salted commitment to one text, with a salt that only the subject's key gives (see `journal::content`).
    /// Equal text of one subject has one id; nothing about the text can be guessed from it.
    ContentId, 32, "content id"
}
hex_id! {
    /// Whose key protects a content: a keyed hash of the end user or of the application.
    SubjectId, 16, "subject id"
}

hex_id! {
    /// A key of the keyring: of a journal file, or of an archive segment. Random; it says nothing of what it opens.
    KeyId, 16, "key id"
}

fn decode_hex(text: &[u8], into: &mut [u8]) -> Option<()> {
    if text.len() != into.len() * 2 {
        return None;
    }
    for (byte, pair) in into.iter_mut().zip(text.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(())
}

/// Identifies one event. A UUID whose first 48 bits are the time in milliseconds, so that ids sort by time.
///
/// Events that a source may send twice (an OTLP export retried after a lost answer) carry an id derived from
/// their content (UUID version 8), so that the second one is recognised; others a random one (version 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(uuid::Uuid);

impl EventId {
    /// A fresh id for something that happens now and is reported once.
    #[must_use]
    pub fn random() -> Self {
        Self(uuid::Uuid::now_v7())
    }

    /// An id that any report of the same thing gets again: `time` and the first 80 bits of a digest of the content.
    #[must_use]
    pub fn derived(time: crate::Timestamp, digest: &[u8; 32]) -> Self {
        let mut bytes = [0; 16];
        let millis = time.unix_ns() / 1_000_000;
        bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&digest[..10]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// The 16 bytes of the UUID.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for EventId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        uuid::Uuid::try_parse(text).map(Self).map_err(|_| IdError {
            kind: "event id",
            hex_chars: 32,
            got_chars: text.chars().count(),
        })
    }
}

impl JsonSchema for EventId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EventId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "uuid" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    #[test]
    fn hex_ids_round_trip_and_refuse_what_is_not_an_id() {
        let id: TraceId = "0af7651916cd43dd8448eb211c80319c".parse().unwrap();
        assert_eq!(id.to_string(), "0af7651916cd43dd8448eb211c80319c");
        for bad in ["", "0af7", "00000000000000000000000000000000", "zaf7651916cd43dd8448eb211c80319c", "ääääääääääääääää"]
        {
            assert!(bad.parse::<TraceId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_derived_id_is_stable_and_sorts_by_time() {
        let early = EventId::derived(Timestamp::from_unix_ns(1_700_000_000_000_000_000), &[9; 32]);
        let late = EventId::derived(Timestamp::from_unix_ns(1_700_000_001_000_000_000), &[1; 32]);
        assert_eq!(early, EventId::derived(Timestamp::from_unix_ns(1_700_000_000_000_000_000), &[9; 32]));
        assert!(early < late);
        assert_eq!(early.to_string().parse::<EventId>().unwrap(), early);
    }
}
