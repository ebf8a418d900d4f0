//! The leaf: what the tree holds of a record. It binds every byte of the record and tells nothing of anybody.
//!
//! `docs/reference/record-format.md` is the specification of this module.

use std::borrow::Cow;
use std::collections::HashSet;

use event::{ContentRef, Kind, Timestamp};
use journal::Record;
use journal::hash::{Mac, Sha256};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::tree::{CompactRange, Hash};

mod many;

pub(crate) use many::Leaves;

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

/// Paths that fit into the buffer that they are built in without growing it.
const PATH_BYTES_USUAL: usize = 128;

/// Objects of up to so many members are searched for duplicates by comparing each with each, which needs no memory.
const MEMBERS_COMPARED: usize = 24;

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
    /// An event that is not the one that the journal's index names.
    #[error("the id in the frame's index is not that of the event")]
    EventId,
}

impl Leaf {
    /// The leaf of a record in the log of that id.
    pub fn of(record: &Record, log_id: [u8; 16]) -> Result<Self, LeafError> {
        let event = Members::of(&record.event_json)?;
        let contents = event.contents(record)?;
        let key = Mac::new(&record.commitment_key);
        let mut root = CompactRange::default();
        let mut push = |path: &[u8], kind: FieldType, value: &[u8]| {
            let salt = salt_of(path, &key)?;
            root.push(field_hash(path, kind, value, &salt)?, |_, _| ());
            Ok(())
        };
        event.visit(|path, value| push(path, FieldType::Json, value.get().as_bytes()))?;
        push(CONTENTS_PATH.as_bytes(), FieldType::Contents, &contents)?;
        event.leaf(record, log_id, usize::try_from(root.size()).unwrap_or(usize::MAX), root.root())
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
    let event = Members::of(&record.event_json)?;
    let contents = event.contents(record)?;
    let mut fields = Vec::new();
    event.visit(|path, value| {
        let path = String::from_utf8_lossy(path).into_owned();
        fields.push(Field { path, kind: FieldType::Json, value: Cow::Borrowed(value.get().as_bytes()) });
        Ok(())
    })?;
    fields.push(Field { path: CONTENTS_PATH.to_owned(), kind: FieldType::Contents, value: Cow::Owned(contents) });
    Ok(fields)
}

impl Field<'_> {
    /// The salt of the field, from the record's commitment key: `HMAC(key, "wkleaf/1 salt" ‖ u32 length ‖ path)`.
    /// Who is given the salt and the value can check this field and guess at no other.
    pub fn salt(&self, commitment_key: &[u8; 32]) -> Result<[u8; 32], LeafError> {
        salt_of(self.path.as_bytes(), &Mac::new(commitment_key))
    }

    /// The field's leaf hash in the tree of fields.
    pub fn hash(&self, salt: &[u8; 32]) -> Result<Hash, LeafError> {
        field_hash(self.path.as_bytes(), self.kind, &self.value, salt)
    }
}

fn salt_of(path: &[u8], key: &Mac) -> Result<[u8; 32], LeafError> {
    Ok(key.tag(&[SALT_DOMAIN, &length(path.len())?, path]))
}

/// `SHA-256(0x00 ‖ u32 length ‖ path ‖ HMAC(salt, "wkleaf/1 field" ‖ u32 length ‖ path ‖ u8 type ‖ u32 length ‖ value))`.
fn field_hash(path: &[u8], kind: FieldType, value: &[u8], salt: &[u8; 32]) -> Result<Hash, LeafError> {
    let path_length = length(path.len())?;
    let commitment = Mac::new(salt).tag(&[FIELD_DOMAIN, &path_length, path, &[kind as u8], &length(value.len())?, value]);
    Ok(Sha256::of(&[&[0], &path_length, path, &commitment]))
}

fn length(bytes: usize) -> Result<[u8; 4], LeafError> {
    Ok(u32::try_from(bytes).map_err(|_| LeafError::TooLong)?.to_be_bytes())
}

/// The members of an event that is in canonical form, each with what it splits into: order kept, values untouched.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue, Split<'a>)>);

impl<'a> Members<'a> {
    fn of(event_json: &'a [u8]) -> Result<Self, LeafError> {
        let object: Object<'a> = serde_json::from_slice(event_json)?;
        object.check_distinct()?;
        let split = |(key, value): (Cow<'a, str>, &'a RawValue)| {
            let split = Split::of(&key, value)?;
            Ok((key, value, split))
        };
        let members = Self(object.0.into_iter().map(split).collect::<Result<_, LeafError>>()?);
        members.check_canonical(event_json)?;
        Ok(members)
    }

    /// The leaf of the event's record, whose fields have that root.
    fn leaf(&self, record: &Record, log_id: [u8; 16], fields: usize, field_root: Hash) -> Result<Leaf, LeafError> {
        Ok(Leaf {
            log_id,
            seq: record.seq.0,
            time: self.parse("time")?,
            observed: self.parse("observed")?,
            kind: self.parse::<Kind>("kind")?.code(),
            fields: u32::try_from(fields).map_err(|_| LeafError::TooLong)?,
            field_root,
            blind: record.blind,
        })
    }

    /// Tells path and value of each field but `contents`, in order.
    fn visit(&self, mut field: impl FnMut(&[u8], &'a RawValue) -> Result<(), LeafError>) -> Result<(), LeafError> {
        let mut path = Vec::with_capacity(PATH_BYTES_USUAL);
        for (key, value, split) in &self.0 {
            path.clear();
            push_escaped(key, &mut path);
            let group = path.len();
            match split {
                Split::Whole => field(&path, value)?,
                Split::Object(members) => {
                    for (key, value) in &members.0 {
                        path.truncate(group);
                        push_escaped(key, &mut path);
                        field(&path, value)?;
                    }
                }
                Split::Array(items) => {
                    for (index, value) in items.iter().enumerate() {
                        path.truncate(group);
                        path.push(b'/');
                        push_decimal(index, &mut path);
                        field(&path, value)?;
                    }
                }
            }
        }
        Ok(())
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

    /// Whether the object, written anew from its fields, is the same: compact, keys as `serde_json` writes them.
    fn check_canonical(&self, event_json: &[u8]) -> Result<(), LeafError> {
        let mut rest = Expected { all: event_json, at: 0 };
        rest.object(self.0.iter().map(|(key, value, split)| (key, (value, split))), |rest, (value, split)| match split {
            Split::Whole => rest.take(value.get().as_bytes()),
            Split::Object(members) => {
                rest.object(members.0.iter().map(|(key, value)| (key, value)), |rest, value| rest.take(value.get().as_bytes()))
            }
            Split::Array(items) => {
                rest.take(b"[")?;
                for (index, value) in items.iter().enumerate() {
                    rest.take(if index > 0 { b"," } else { b"" })?;
                    rest.take(value.get().as_bytes())?;
                }
                rest.take(b"]")
            }
        })?;
        if rest.at == event_json.len() { Ok(()) } else { Err(LeafError::NotCanonical(rest.at)) }
    }

    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(key, ..)| key == name).map(|(_, value, _)| *value)
    }

    fn parse<T: Deserialize<'a>>(&self, name: &'static str) -> Result<T, LeafError> {
        Ok(serde_json::from_str(self.get(name).ok_or(LeafError::Missing(name))?.get())?)
    }

    fn parse_or_default<T: Deserialize<'a> + Default>(&self, name: &'static str) -> Result<T, LeafError> {
        if self.get(name).is_some() { self.parse(name) } else { Ok(T::default()) }
    }
}

/// Bytes that must be those that a writer would write next.
struct Expected<'a> {
    all: &'a [u8],
    at: usize,
}

impl Expected<'_> {
    fn take(&mut self, bytes: &[u8]) -> Result<(), LeafError> {
        let there = self.all.get(self.at..).unwrap_or_default();
        if there.starts_with(bytes) {
            self.at += bytes.len();
            return Ok(());
        }
        let same = there.iter().zip(bytes).take_while(|(ours, theirs)| ours == theirs).count();
        Err(LeafError::NotCanonical(self.at + same))
    }

    fn object<'k, V>(
        &mut self,
        members: impl Iterator<Item = (&'k Cow<'k, str>, V)>,
        mut value_of: impl FnMut(&mut Self, V) -> Result<(), LeafError>,
    ) -> Result<(), LeafError> {
        self.take(b"{")?;
        for (index, (key, value)) in members.enumerate() {
            self.take(if index > 0 { b"," } else { b"" })?;
            if key.bytes().any(|byte| byte < 0x20 || matches!(byte, b'"' | b'\\')) {
                self.take(&serde_json::to_vec(key)?)?;
            } else {
                self.take(b"\"")?;
                self.take(key.as_bytes())?;
                self.take(b"\"")?;
            }
            self.take(b":")?;
            value_of(self, value)?;
        }
        self.take(b"}")
    }
}

/// The members of a JSON object as they stand in it.
struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl Object<'_> {
    fn check_distinct(&self) -> Result<(), LeafError> {
        let duplicate = |key: &str| Err(LeafError::Duplicate(key.chars().take(80).collect()));
        if self.0.len() <= MEMBERS_COMPARED {
            for (index, (key, _)) in self.0.iter().enumerate() {
                if self.0[..index].iter().any(|(before, _)| before == key) {
                    return duplicate(key);
                }
            }
            return Ok(());
        }
        let mut seen = HashSet::with_capacity(self.0.len());
        match self.0.iter().find(|(key, _)| !seen.insert(key.as_ref())) {
            Some((key, _)) => duplicate(key),
            None => Ok(()),
        }
    }
}

/// How a member of the event becomes fields.
enum Split<'a> {
    Whole,
    Object(Object<'a>),
    Array(Vec<&'a RawValue>),
}

impl<'a> Split<'a> {
    /// An empty list or object has no members that could stand for it, so it is a field itself, as is anything else.
    fn of(key: &str, value: &'a RawValue) -> Result<Self, LeafError> {
        let text = value.get();
        if SPLIT_OBJECTS.contains(&key) && text.starts_with('{') {
            let members: Object<'a> = serde_json::from_str(text)?;
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

/// Appends `/` and the key as a reference token of a JSON pointer.
fn push_escaped(key: &str, path: &mut Vec<u8>) {
    path.push(b'/');
    for byte in key.bytes() {
        match byte {
            b'~' => path.extend_from_slice(b"~0"),
            b'/' => path.extend_from_slice(b"~1"),
            byte => path.push(byte),
        }
    }
}

fn push_decimal(number: usize, path: &mut Vec<u8>) {
    if number >= 10 {
        push_decimal(number / 10, path);
    }
    // Below ten.
    path.push(b'0' + (number % 10) as u8);
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
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
        deserializer.deserialize_map(MembersVisitor).map(Object)
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
