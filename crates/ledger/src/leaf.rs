//! The leaf: what the tree holds of a record. It binds every byte of the record and tells nothing of anybody.
//!
//! `docs/reference/record-format.md` is the specification of this module.

use std::borrow::Cow;
use std::collections::HashSet;

use aws_lc_rs::hmac;
use event::{ContentRef, Kind, Timestamp};
use journal::Record;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::tree::{CompactRange, Hash, leaf_hash};

/// What a leaf begins with: its format and version.
const MAGIC: [u8; 8] = *b"wkleaf/1";

/// What is hashed before a path to give a field its salt.
const SALT_DOMAIN: &[u8] = b"wkleaf/1 salt";

/// What is hashed before a field to commit to it.
const FIELD_DOMAIN: &[u8] = b"wkleaf/1 field";

/// How long a leaf is.
pub const LEAF_BYTES: usize = 102;

/// The members of an event whose own members are fields: one attribute or piece can be disclosed or erased alone.
const SPLIT_OBJECTS: [&str; 2] = ["attributes", "unmapped"];
const SPLIT_ARRAYS: [&str; 1] = ["pieces"];

/// The path of the field that lists the contents that a record brings. No path in an event begins without `/`.
pub(crate) const CONTENTS_PATH: &str = "contents";

/// One leaf of the tree, of a fixed size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Which log it is of (see [`VerifierKey::log_id`](crate::VerifierKey::log_id)): the same leaf is none of another.
    pub log_id: [u8; 16],
    /// Its place in the log.
    pub seq: u64,
    /// When the event began.
    pub time: Timestamp,
    /// When Watchkeeper received it.
    pub observed: Timestamp,
    /// [`Kind::code`] of the event.
    pub kind: u16,
    /// How many fields it has.
    pub fields: u32,
    /// The root over the commitments to its fields.
    pub field_root: Hash,
    /// Random, so that no leaf can be guessed from its hash.
    pub blind: [u8; 16],
}

/// One field of a record: the least that can be disclosed, withheld or erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field<'a> {
    /// Where it stands: a JSON pointer (RFC 6901) into the event, or `contents`.
    pub path: String,
    /// What its value is.
    pub kind: FieldType,
    /// The value, byte for byte.
    pub value: Cow<'a, [u8]>,
}

/// What the value of a field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    /// JSON text as it stands in the event.
    Json = 1,
    /// Bytes: the ids, subjects and lengths of the contents that the record brings.
    Contents = 2,
}

/// Why a record has no leaf.
#[derive(Debug, thiserror::Error)]
pub enum LeafError {
    /// Not JSON, or not what an event has.
    #[error("event is not a JSON object of the expected form: {0}")]
    Json(#[from] serde_json::Error),
    /// White space between members, a key written in another way, or anything else that no writer puts there.
    #[error("event is not in canonical form from byte {0} on")]
    NotCanonical(usize),
    /// The same member twice.
    #[error("event has the member {0:?} twice")]
    Duplicate(String),
    /// A member that a leaf cannot do without.
    #[error("event has no member {0}")]
    Missing(&'static str),
    /// A field does not fit the lengths of the format.
    #[error("event has a field of more than 4 GiB, or more than 2^32 fields")]
    TooLong,
    /// A content whose id is not that of its text.
    #[error("content {0} of the record does not have the id of its text")]
    ContentId(usize),
    /// A content that the event does not speak of.
    #[error("content {0} of the record is not referred to by a piece of its event with the same id, subject and length")]
    ContentUnreferenced(usize),
    /// A redacted record whose open fields are not those of its leaf.
    #[error("field {0} of the redacted record is not as the leaf needs it")]
    Disagrees(&'static str),
    /// A redacted record with other contents than its field says.
    #[error("contents of the redacted record are not those that its field `contents` lists, in that order")]
    ContentsList,
    /// A content twice in a record.
    #[error("content {0} of the record is there twice")]
    ContentTwice(usize),
}

impl Leaf {
    /// The leaf of a record in the log of that id.
    pub fn of(record: &Record, log_id: [u8; 16]) -> Result<Self, LeafError> {
        let members = Members::of(&record.event_json)?;
        let fields = members.fields(record)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &record.commitment_key);
        let mut root = CompactRange::default();
        for field in &fields {
            root.push(leaf_hash(&field.committed(&field.salt_with(&key)?)?), |_, _| ());
        }
        Ok(Self {
            log_id,
            seq: record.seq.0,
            time: members.parse("time")?,
            observed: members.parse("observed")?,
            kind: members.parse::<Kind>("kind")?.code(),
            fields: u32::try_from(fields.len()).map_err(|_| LeafError::TooLong)?,
            field_root: root.root(),
            blind: record.blind,
        })
    }

    /// The leaf's bytes: what is hashed into the tree.
    #[must_use]
    pub fn encode(&self) -> [u8; LEAF_BYTES] {
        let mut bytes = [0; LEAF_BYTES];
        let mut rest = bytes.as_mut_slice();
        for part in [
            &MAGIC[..],
            &self.log_id,
            &self.seq.to_be_bytes(),
            &self.time.unix_ns().to_be_bytes(),
            &self.observed.unix_ns().to_be_bytes(),
            &self.kind.to_be_bytes(),
            &self.fields.to_be_bytes(),
            &self.field_root,
            &self.blind,
        ] {
            let (head, tail) = rest.split_at_mut(part.len());
            head.copy_from_slice(part);
            rest = tail;
        }
        bytes
    }

    /// Reads a leaf's bytes; `None` when they are not a leaf.
    #[must_use]
    pub fn decode(bytes: &[u8; LEAF_BYTES]) -> Option<Self> {
        fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
            let (head, tail) = rest.split_first_chunk()?;
            *rest = tail;
            Some(*head)
        }
        let rest = &mut bytes.as_slice();
        if take(rest)? != MAGIC {
            return None;
        }
        Some(Self {
            log_id: take(rest)?,
            seq: u64::from_be_bytes(take(rest)?),
            time: Timestamp::from_unix_ns(u64::from_be_bytes(take(rest)?)),
            observed: Timestamp::from_unix_ns(u64::from_be_bytes(take(rest)?)),
            kind: u16::from_be_bytes(take(rest)?),
            fields: u32::from_be_bytes(take(rest)?),
            field_root: take(rest)?,
            blind: take(rest)?,
        })
    }
}

/// The fields of a record, in the order in which the tree has them: those of the event as they stand in it, then the
/// list of contents. Checks that nothing of the record stands outside them.
pub fn fields(record: &Record) -> Result<Vec<Field<'_>>, LeafError> {
    Members::of(&record.event_json)?.fields(record)
}

impl Field<'_> {
    /// The salt of the field, from the record's commitment key: `HMAC(key, "wkleaf/1 salt" ‖ u32 length ‖ path)`.
    /// Who is given the salt and the value can check this field and guess at no other.
    pub fn salt(&self, commitment_key: &[u8; 32]) -> Result<[u8; 32], LeafError> {
        self.salt_with(&hmac::Key::new(hmac::HMAC_SHA256, commitment_key))
    }

    /// The field's leaf hash in the tree of fields.
    pub fn hash(&self, salt: &[u8; 32]) -> Result<Hash, LeafError> {
        Ok(leaf_hash(&self.committed(salt)?))
    }

    fn salt_with(&self, key: &hmac::Key) -> Result<[u8; 32], LeafError> {
        let mut context = hmac::Context::with_key(key);
        context.update(SALT_DOMAIN);
        context.update(&length(self.path.len())?);
        context.update(self.path.as_bytes());
        Ok(bytes_of(&context.sign()))
    }

    /// `u32 length ‖ path ‖ HMAC(salt, "wkleaf/1 field" ‖ u32 length ‖ path ‖ u8 type ‖ u32 length ‖ value)`.
    fn committed(&self, salt: &[u8; 32]) -> Result<Vec<u8>, LeafError> {
        let path_length = length(self.path.len())?;
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, salt));
        context.update(FIELD_DOMAIN);
        context.update(&path_length);
        context.update(self.path.as_bytes());
        context.update(&[self.kind as u8]);
        context.update(&length(self.value.len())?);
        context.update(&self.value);
        let mut committed = Vec::with_capacity(4 + self.path.len() + 32);
        committed.extend_from_slice(&path_length);
        committed.extend_from_slice(self.path.as_bytes());
        committed.extend_from_slice(context.sign().as_ref());
        Ok(committed)
    }
}

fn length(bytes: usize) -> Result<[u8; 4], LeafError> {
    Ok(u32::try_from(bytes).map_err(|_| LeafError::TooLong)?.to_be_bytes())
}

fn bytes_of(tag: &hmac::Tag) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

/// The members of a JSON object as they stand in it: order kept, values untouched.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// The members of an event that is in canonical form.
    fn of(event_json: &'a [u8]) -> Result<Self, LeafError> {
        let members: Self = serde_json::from_slice(event_json)?;
        members.check_distinct()?;
        let canonical = members.canonical()?;
        if canonical == event_json {
            return Ok(members);
        }
        let same = canonical.iter().zip(event_json).take_while(|(ours, theirs)| ours == theirs).count();
        Err(LeafError::NotCanonical(same))
    }

    fn fields(&self, record: &Record) -> Result<Vec<Field<'a>>, LeafError> {
        let mut fields = Vec::with_capacity(self.0.len() + 16);
        let mut push = |path, value: &'a RawValue| {
            fields.push(Field { path, kind: FieldType::Json, value: Cow::Borrowed(value.get().as_bytes()) });
        };
        for (key, value) in &self.0 {
            let path = format!("/{}", escape(key));
            match Split::of(key, value)? {
                Split::Whole => push(path, value),
                Split::Object(members) => {
                    members.0.iter().for_each(|(key, value)| push(format!("{path}/{}", escape(key)), value))
                }
                Split::Array(items) => items.iter().enumerate().for_each(|(index, value)| push(format!("{path}/{index}"), value)),
            }
        }
        let contents = self.contents(record)?;
        fields.push(Field { path: CONTENTS_PATH.to_owned(), kind: FieldType::Contents, value: Cow::Owned(contents) });
        Ok(fields)
    }

    /// The value of the field `contents`: `id ‖ subject ‖ u32 length` of each.
    fn contents(&self, record: &Record) -> Result<Vec<u8>, LeafError> {
        if record.contents.is_empty() {
            return Ok(Vec::new());
        }
        let referred: HashSet<ContentRef> =
            self.parse_or_default::<Vec<ReferringPiece>>("pieces")?.into_iter().map(|piece| piece.content).collect();
        let mut seen = HashSet::new();
        let mut value = Vec::with_capacity(record.contents.len() * 52);
        for (index, content) in record.contents.iter().enumerate() {
            let reference = content.reference();
            if !content.is_intact() {
                return Err(LeafError::ContentId(index));
            }
            if !referred.contains(&reference) {
                return Err(LeafError::ContentUnreferenced(index));
            }
            if !seen.insert(reference) {
                return Err(LeafError::ContentTwice(index));
            }
            value.extend_from_slice(reference.id.as_bytes());
            value.extend_from_slice(reference.subject.as_bytes());
            value.extend_from_slice(&reference.bytes.to_be_bytes());
        }
        Ok(value)
    }

    /// The object written anew from its fields: compact, in the same order, keys as `serde_json` writes them.
    fn canonical(&self) -> Result<Vec<u8>, LeafError> {
        let mut out = Vec::with_capacity(self.0.iter().map(|(key, value)| key.len() + value.get().len() + 4).sum());
        write_object(&self.0, &mut out, |key, value, out| {
            match Split::of(key, value)? {
                Split::Whole => out.extend_from_slice(value.get().as_bytes()),
                Split::Object(members) => write_object(&members.0, out, |_, value, out| {
                    out.extend_from_slice(value.get().as_bytes());
                    Ok(())
                })?,
                Split::Array(items) => {
                    out.push(b'[');
                    for (index, value) in items.iter().enumerate() {
                        if index > 0 {
                            out.push(b',');
                        }
                        out.extend_from_slice(value.get().as_bytes());
                    }
                    out.push(b']');
                }
            }
            Ok(())
        })?;
        Ok(out)
    }

    fn check_distinct(&self) -> Result<(), LeafError> {
        let mut seen = HashSet::with_capacity(self.0.len());
        match self.0.iter().find(|(key, _)| !seen.insert(key.as_ref())) {
            Some((key, _)) => Err(LeafError::Duplicate(key.chars().take(80).collect())),
            None => Ok(()),
        }
    }

    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    fn parse<T: Deserialize<'a>>(&self, name: &'static str) -> Result<T, LeafError> {
        Ok(serde_json::from_str(self.get(name).ok_or(LeafError::Missing(name))?.get())?)
    }

    fn parse_or_default<T: Deserialize<'a> + Default>(&self, name: &'static str) -> Result<T, LeafError> {
        if self.get(name).is_some() { self.parse(name) } else { Ok(T::default()) }
    }
}

/// How a member of the event becomes fields.
enum Split<'a> {
    Whole,
    Object(Members<'a>),
    Array(Vec<&'a RawValue>),
}

impl<'a> Split<'a> {
    /// An empty list or object has no members that could stand for it, so it is a field itself, as is anything else.
    fn of(key: &str, value: &'a RawValue) -> Result<Self, LeafError> {
        let text = value.get();
        if SPLIT_OBJECTS.contains(&key) && text.starts_with('{') {
            let members: Members<'a> = serde_json::from_str(text)?;
            members.check_distinct()?;
            Ok(if members.0.is_empty() { Self::Whole } else { Self::Object(members) })
        } else if SPLIT_ARRAYS.contains(&key) && text.starts_with('[') {
            let items: Vec<&RawValue> = serde_json::from_str(text)?;
            Ok(if items.is_empty() { Self::Whole } else { Self::Array(items) })
        } else {
            Ok(Self::Whole)
        }
    }
}

#[derive(Deserialize)]
struct ReferringPiece {
    content: ContentRef,
}

fn write_object<'a>(
    members: &[(Cow<'a, str>, &'a RawValue)],
    out: &mut Vec<u8>,
    mut value_of: impl FnMut(&str, &'a RawValue, &mut Vec<u8>) -> Result<(), LeafError>,
) -> Result<(), LeafError> {
    out.push(b'{');
    for (index, (key, value)) in members.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        serde_json::to_writer(&mut *out, key)?;
        out.push(b':');
        value_of(key, value, out)?;
    }
    out.push(b'}');
    Ok(())
}

/// A reference token of a JSON pointer.
fn escape(key: &str) -> Cow<'_, str> {
    if key.contains(['~', '/']) { Cow::Owned(key.replace('~', "~0").replace('/', "~1")) } else { Cow::Borrowed(key) }
}

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
                while let Some(Text(key)) = map.next_key()? {
                    members.push((key, map.next_value()?));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(MembersVisitor).map(Members)
    }
}

/// A text that is borrowed where it can be; `Cow` by itself never is.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

#[cfg(test)]
#[path = "leaf_tests.rs"]
pub(crate) mod tests;
