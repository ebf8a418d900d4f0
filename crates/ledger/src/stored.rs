//! What is kept of a record: all of it, or what redaction has left. Whatever went, the leaf is the same.
//!
//! A record that is *whole* has its commitment key, from which every field's salt follows. The key goes with the first
//! field that goes; from then on each field that stays has its own salt beside it, and one that went has left its hash in
//! the tree of fields. A content is whole, or a template whose tokens are shown one by one, or an id.

use std::borrow::Cow;
use std::collections::HashSet;

use event::{ContentId, Kind, RecordedEvent, SubjectId, Timestamp};
use journal::content::{ContentParts, Span, content_id, span_commitment, template};
use journal::{ContentEntry, Record, Seq};
use sanitize::Clean;
use serde::{Deserialize, Serialize};

use crate::hex;
use crate::leaf::{CONTENTS_PATH, Field, FieldType, Leaf, LeafError, fields};
use crate::tree::{CompactRange, Hash};

mod json;
mod redaction;

pub use redaction::{Cut, ErasedTokens, Redaction};
use redaction::{goes, touches};

/// One content in the list that the field `contents` holds: `id ‖ subject ‖ u32 length`.
pub(crate) const CONTENT_ITEM_BYTES: usize = 52;

/// What stands for a field that an event cannot be read without and that is gone.
const GONE_TEXT: &str = "\"(erased)\"";
const GONE_SOURCE: &str = r#"{"path":"internal","dialect":"erased"}"#;

/// What is kept of one record.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRecord {
    /// Its place in the journal, and the index of its leaf.
    pub seq: Seq,
    /// What is there of it.
    pub body: StoredBody,
}

/// All of a record, or what redaction left of it.
#[derive(Debug, Clone, PartialEq)]
pub enum StoredBody {
    /// All of it.
    Whole(Record),
    /// A part of it.
    Redacted(RedactedRecord),
}

/// A record of which something is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedactedRecord {
    /// The event's `time`, as the leaf has it.
    pub time: Timestamp,
    /// The event's `observed`, as the leaf has it.
    pub observed: Timestamp,
    /// [`Kind::code`] of the event.
    pub kind: u16,
    /// The random bytes of the leaf.
    #[serde(with = "hex")]
    pub blind: [u8; 16],
    /// The fields, in the order of the leaf, each open or gone.
    pub fields: Vec<StoredField>,
    /// The contents that the record brought, in order. None when the field that lists them is gone.
    pub contents: Vec<StoredContent>,
}

/// A field of a redacted record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "json::FieldJson", into = "json::FieldJson")]
pub enum StoredField {
    /// It is there.
    Open {
        /// A JSON pointer into the event, or `contents`.
        path: String,
        /// What its value is.
        kind: FieldType,
        /// The value, byte for byte.
        value: Vec<u8>,
        /// The field's own salt.
        salt: [u8; 32],
    },
    /// It is gone, and left its hash in the tree of fields.
    Gone {
        /// The field hash.
        hash: Hash,
    },
}

/// A content of a redacted record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "json::ContentJson", into = "json::ContentJson")]
pub enum StoredContent {
    /// All of it is there.
    Whole(ContentEntry),
    /// Tokens of it are gone.
    Redacted {
        /// The content's id.
        id: ContentId,
        /// Whose key gave the salts.
        subject: SubjectId,
        /// Salts the template.
        template_salt: [u8; 16],
        /// The text with a placeholder for each token.
        template: Clean,
        /// Its tokens, in order.
        spans: Vec<StoredSpan>,
    },
    /// Nothing is left but the id.
    Gone {
        /// The content's id.
        id: ContentId,
    },
}

/// A token of a redacted content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum StoredSpan {
    /// It is there.
    Open {
        /// Where its placeholder begins in the template, in bytes.
        offset: u32,
        /// The token.
        token: String,
        /// The salt of its commitment.
        #[serde(with = "hex")]
        salt: [u8; 32],
    },
    /// It is gone, and left its commitment.
    Gone {
        /// The commitment.
        #[serde(with = "hex")]
        commitment: [u8; 32],
    },
}

impl StoredRecord {
    /// A record that is whole.
    #[must_use]
    pub fn whole(record: Record) -> Self {
        Self { seq: record.seq, body: StoredBody::Whole(record) }
    }

    /// The record, if all of it is there.
    #[must_use]
    pub fn as_whole(&self) -> Option<&Record> {
        match &self.body {
            StoredBody::Whole(record) => Some(record),
            StoredBody::Redacted(_) => None,
        }
    }

    /// Its leaf in the log of that id: the same however much is gone. Checks that what is there is what the leaf holds.
    pub fn leaf(&self, log_id: [u8; 16]) -> Result<Leaf, LeafError> {
        match &self.body {
            StoredBody::Whole(record) => Leaf::of(record, log_id),
            StoredBody::Redacted(record) => record.leaf(self.seq, log_id),
        }
    }

    /// Takes out what is to go, and tells what went that was there before, in the words of a tombstone: `event` (the whole
    /// of it), `field/<index><path>`, `content/<id>`, `content/<id>/span/<j>`. The words hold no key of `unmapped` and no
    /// token.
    ///
    /// # Errors
    ///
    /// A record that has no leaf cannot be redacted: nobody could tell what it was.
    pub fn redact(&mut self, what: &Redaction<'_>) -> Result<Vec<String>, LeafError> {
        let mut redacted = match &self.body {
            StoredBody::Whole(record) if !touches(record, what)? => return Ok(Vec::new()),
            StoredBody::Whole(record) => RedactedRecord::of(record)?,
            StoredBody::Redacted(record) => record.clone(),
        };
        let gone = redacted.redact(what)?;
        if !gone.is_empty() {
            self.body = StoredBody::Redacted(redacted);
        }
        Ok(gone)
    }

    /// The record as it may be read and indexed: the event made anew of what is there, and each content's text with
    /// placeholders where tokens are gone. Its ids are those of before; it has no leaf of its own. `None` when the
    /// event's id is gone (then [`StoredRecord::contents_for_reading`] still has the contents of others), or what is left
    /// is no event.
    #[must_use]
    pub fn for_reading(&self) -> Option<Record> {
        match &self.body {
            StoredBody::Whole(record) => Some(record.clone()),
            StoredBody::Redacted(record) => Some(Record {
                seq: self.seq,
                commitment_key: [0; 32],
                blind: record.blind,
                event_json: record.event_json()?,
                contents: self.contents_for_reading(),
            }),
        }
    }

    /// The contents that it brings and that can be read, as in [`StoredRecord::for_reading`].
    #[must_use]
    pub fn contents_for_reading(&self) -> Vec<ContentEntry> {
        match &self.body {
            StoredBody::Whole(record) => record.contents.clone(),
            StoredBody::Redacted(record) => record.contents.iter().filter_map(StoredContent::for_reading).collect(),
        }
    }
}

impl StoredRecord {
    /// The ids of the contents that it brings, as far as they are there.
    pub fn brought(&self) -> impl Iterator<Item = ContentId> {
        let (whole, redacted): (&[ContentEntry], &[StoredContent]) = match &self.body {
            StoredBody::Whole(record) => (&record.contents, &[]),
            StoredBody::Redacted(record) => (&[], &record.contents),
        };
        let left = redacted.iter().filter(|content| !matches!(content, StoredContent::Gone { .. }));
        whole.iter().map(|content| content.id).chain(left.map(StoredContent::id))
    }
}

impl RedactedRecord {
    /// The record with every field beside its salt, and nothing gone yet but the commitment key.
    pub fn of(record: &Record) -> Result<Self, LeafError> {
        let leaf = Leaf::of(record, [0; 16])?;
        let fields = fields(record)?
            .into_iter()
            .map(|field| {
                let salt = field.salt(&record.commitment_key)?;
                let Field { path, kind, value } = field;
                Ok(StoredField::Open { path, kind, value: value.into_owned(), salt })
            })
            .collect::<Result<_, LeafError>>()?;
        let contents = record.contents.iter().cloned().map(StoredContent::Whole).collect();
        Ok(Self { time: leaf.time, observed: leaf.observed, kind: leaf.kind, blind: leaf.blind, fields, contents })
    }

    /// See [`StoredRecord::leaf`].
    pub fn leaf(&self, seq: Seq, log_id: [u8; 16]) -> Result<Leaf, LeafError> {
        let mut root = CompactRange::default();
        let mut paths = HashSet::new();
        for field in &self.fields {
            root.push(field.hash()?, |_, _| ());
            if let StoredField::Open { path, kind, value, .. } = field {
                if !paths.insert(path.as_str()) {
                    return Err(LeafError::Duplicate(path.chars().take(80).collect()));
                }
                if (*kind == FieldType::Contents) != (path == CONTENTS_PATH) {
                    return Err(LeafError::Disagrees("contents"));
                }
                self.check_against_leaf(path, value)?;
            }
        }
        self.check_contents()?;
        Ok(Leaf {
            log_id,
            seq: seq.0,
            time: self.time,
            observed: self.observed,
            kind: self.kind,
            fields: u32::try_from(self.fields.len()).map_err(|_| LeafError::TooLong)?,
            field_root: root.root(),
            blind: self.blind,
        })
    }

    fn check_against_leaf(&self, path: &str, value: &[u8]) -> Result<(), LeafError> {
        let agrees = match path {
            "/time" => serde_json::from_slice::<Timestamp>(value)? == self.time,
            "/observed" => serde_json::from_slice::<Timestamp>(value)? == self.observed,
            "/kind" => serde_json::from_slice::<Kind>(value)?.code() == self.kind,
            _ => true,
        };
        if agrees { Ok(()) } else { Err(LeafError::Disagrees("time, observed or kind")) }
    }

    /// The contents must be those that the last field lists, and have the ids that they should.
    fn check_contents(&self) -> Result<(), LeafError> {
        let list = match self.fields.last() {
            Some(StoredField::Open { path, value, .. }) if path == CONTENTS_PATH => {
                let (items, []) = value.as_chunks::<CONTENT_ITEM_BYTES>() else { return Err(LeafError::ContentsList) };
                items
            }
            _ => &[],
        };
        if list.len() != self.contents.len() {
            return Err(LeafError::ContentsList);
        }
        for (index, (item, content)) in list.iter().zip(&self.contents).enumerate() {
            let (id, rest) = item.split_at(32);
            let (subject, length) = rest.split_at(16);
            let subject_agrees = content.subject().is_none_or(|known| known.as_bytes() == subject);
            let length_agrees =
                content.whole_length().is_none_or(|known| u32::try_from(known).unwrap_or(u32::MAX).to_be_bytes() == length);
            if content.id().as_bytes() != id || !subject_agrees || !length_agrees {
                return Err(LeafError::ContentsList);
            }
            if !content.is_intact() {
                return Err(LeafError::ContentId(index));
            }
        }
        Ok(())
    }

    /// See [`StoredRecord::redact`].
    pub fn redact(&mut self, what: &Redaction<'_>) -> Result<Vec<String>, LeafError> {
        let mut gone = Vec::new();
        self.contents.iter_mut().for_each(|content| content.redact(what, &mut gone));
        let bring_nothing = self.contents.iter().all(|content| matches!(content, StoredContent::Gone { .. }));
        let mut left = false;
        for (index, field) in self.fields.iter_mut().enumerate() {
            let StoredField::Open { path, kind, value, .. } = field else { continue };
            let closes = match kind {
                FieldType::Contents => what.event && bring_nothing,
                FieldType::Json => what.event || goes(what, path, *kind, value),
            };
            if !closes {
                left = true;
                continue;
            }
            if !what.event {
                gone.push(format!("field/{index}{}", shown_path(path)));
            }
            if *kind == FieldType::Contents {
                self.contents.clear();
            }
            *field = StoredField::Gone { hash: field.hash()? };
            if what.event && gone.first().is_none_or(|first| first != EVENT_ITEM) {
                gone.insert(0, EVENT_ITEM.to_owned());
            }
        }
        debug_assert!(left || self.contents.is_empty(), "contents without the list of them have no leaf");
        Ok(gone)
    }

    /// The event made anew of the fields that are there.
    fn event_json(&self) -> Option<Vec<u8>> {
        let mut members: Vec<(Cow<'_, str>, String)> = Vec::new();
        let mut id = false;
        for field in &self.fields {
            let StoredField::Open { path, kind: FieldType::Json, value, .. } = field else { continue };
            let value = std::str::from_utf8(value).ok()?;
            let pointer = path.strip_prefix('/')?;
            id |= pointer == "id";
            let (key, within) = pointer.split_once('/').map_or((pointer, None), |(key, within)| (key, Some(within)));
            match (within, members.last_mut()) {
                (None, _) => members.push((unescape(key), value.to_owned())),
                (Some(within), Some((last, group))) if *last == key => {
                    group.push(',');
                    group.push_str(&member(key, within, value)?);
                }
                (Some(within), _) => members.push((Cow::Borrowed(key), member(key, within, value)?)),
            }
        }
        if !id {
            return None;
        }
        let kind = Kind::ALL.into_iter().find(|kind| kind.code() == self.kind)?;
        let needed = [
            ("kind", format!("\"{}\"", kind.as_str())),
            ("time", self.time.unix_ns().to_string()),
            ("observed", self.observed.unix_ns().to_string()),
            ("name", GONE_TEXT.to_owned()),
            ("source", GONE_SOURCE.to_owned()),
        ];
        for (key, value) in needed {
            if !members.iter().any(|(known, _)| known == key) {
                members.push((Cow::Borrowed(key), value));
            }
        }
        let mut json = Vec::new();
        for (index, (key, value)) in members.iter().enumerate() {
            json.push(if index == 0 { b'{' } else { b',' });
            serde_json::to_writer(&mut json, key).ok()?;
            json.push(b':');
            // A group was gathered as members only; any other value stands as it is.
            let (open, close) = match &**key {
                "attributes" | "unmapped" if value.starts_with('"') => ("{", "}"),
                "pieces" if !value.starts_with('[') => ("[", "]"),
                _ => ("", ""),
            };
            [open, value, close].into_iter().for_each(|part| json.extend_from_slice(part.as_bytes()));
        }
        json.push(b'}');
        serde_json::from_slice::<RecordedEvent<Clean>>(&json).ok().map(|_| json)
    }
}

/// What a tombstone says when every field of an event went.
pub(crate) const EVENT_ITEM: &str = "event";

/// A member of `attributes` or `unmapped`, or an item of `pieces`, as it is written inside them.
fn member(group: &str, within: &str, value: &str) -> Option<String> {
    if group == "pieces" {
        return Some(value.to_owned());
    }
    Some(format!("{}:{value}", serde_json::to_string(&unescape(within)).ok()?))
}

/// A reference token of a JSON pointer, read.
fn unescape(key: &str) -> Cow<'_, str> {
    if key.contains('~') { Cow::Owned(key.replace("~1", "/").replace("~0", "~")) } else { Cow::Borrowed(key) }
}

/// A path as a tombstone may show it. Keys of `unmapped` are anybody's words; those of `attributes` are the program's.
fn shown_path(path: &str) -> String {
    if path.starts_with("/unmapped/") { "/unmapped".to_owned() } else { template(path) }
}

impl StoredField {
    /// Its hash in the tree of fields.
    pub fn hash(&self) -> Result<Hash, LeafError> {
        match self {
            Self::Open { path, kind, value, salt } => {
                Field { path: path.clone(), kind: *kind, value: Cow::Borrowed(value) }.hash(salt)
            }
            Self::Gone { hash } => Ok(*hash),
        }
    }
}

impl StoredContent {
    /// The content's id.
    #[must_use]
    pub fn id(&self) -> ContentId {
        match self {
            Self::Whole(ContentEntry { id, .. }) | Self::Redacted { id, .. } | Self::Gone { id } => *id,
        }
    }

    /// Whose it is, where that is known.
    #[must_use]
    pub fn subject(&self) -> Option<SubjectId> {
        match self {
            Self::Whole(ContentEntry { subject, .. }) | Self::Redacted { subject, .. } => Some(*subject),
            Self::Gone { .. } => None,
        }
    }

    /// Whether what is there has the id.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        match self {
            Self::Whole(entry) => entry.is_intact(),
            Self::Redacted { id, template_salt, template, spans, .. } => {
                let commitments: Vec<[u8; 32]> = spans.iter().map(StoredSpan::commitment).collect();
                content_id(template_salt, &commitments, template) == *id
            }
            Self::Gone { .. } => true,
        }
    }

    /// The text, with placeholders where tokens are gone. `None` when all of it is.
    #[must_use]
    pub fn text(&self) -> Option<Clean> {
        match self {
            Self::Whole(entry) => Some(entry.text.clone()),
            Self::Redacted { template, spans, .. } => Some(Clean::recorded(&filled(template, spans))),
            Self::Gone { .. } => None,
        }
    }

    /// The content as it may be read; `None` when nothing is left of it.
    #[must_use]
    pub fn for_reading(&self) -> Option<ContentEntry> {
        match self {
            Self::Whole(entry) => Some(entry.clone()),
            Self::Redacted { id, subject, .. } => {
                Some(ContentEntry { id: *id, salt: [0; 16], subject: *subject, text: self.text()? })
            }
            Self::Gone { .. } => None,
        }
    }

    /// The length of the text as it was, where it can still be told.
    pub(crate) fn whole_length(&self) -> Option<usize> {
        match self {
            Self::Whole(entry) => Some(entry.text.len()),
            Self::Redacted { spans, .. } if spans.iter().all(|span| matches!(span, StoredSpan::Open { .. })) => {
                self.text().map(|text| text.len())
            }
            Self::Redacted { .. } | Self::Gone { .. } => None,
        }
    }

    /// Takes out of it what is to go, as [`StoredRecord::redact`] does for a record that brings it, and adds what went to
    /// `gone`. For copies of a content that lie beside records of others.
    pub fn redact(&mut self, what: &Redaction<'_>, gone: &mut Vec<String>) {
        let id = self.id();
        match self.subject().map(|subject| (what.content)(&id, subject)) {
            Some(Cut::All) => {
                gone.push(format!("content/{id}"));
                *self = Self::Gone { id };
                return;
            }
            Some(Cut::Nothing) | None => return,
            Some(Cut::Tokens) => {}
        }
        match self {
            Self::Whole(entry) if what.tokens.any_in(&entry.text) => {
                let ContentParts { template_salt, template, spans } = entry.parts();
                let spans = spans.into_iter().map(StoredSpan::from).collect();
                let template = Clean::recorded(&template);
                *self = Self::Redacted { id, subject: entry.subject, template_salt, template, spans };
            }
            Self::Redacted { .. } => {}
            Self::Whole(_) | Self::Gone { .. } => return,
        }
        let Self::Redacted { spans, .. } = self else { return };
        for (index, span) in spans.iter_mut().enumerate() {
            if let StoredSpan::Open { token, .. } = span
                && what.tokens.any_in(token)
            {
                gone.push(format!("content/{id}/span/{index}"));
                *span = StoredSpan::Gone { commitment: span.commitment() };
            }
        }
    }
}

/// The template with the tokens that are there in their places. A span that says a place where no placeholder of its token
/// stands is left out: only hostile input has one.
fn filled(template_text: &str, spans: &[StoredSpan]) -> String {
    let mut text = String::with_capacity(template_text.len());
    let mut copied = 0;
    for span in spans {
        let StoredSpan::Open { offset, token, .. } = span else { continue };
        let Some(between) = template_text.get(copied..*offset as usize) else { continue };
        let placeholder = template(token);
        if !template_text[*offset as usize..].starts_with(&placeholder) {
            continue;
        }
        text.push_str(between);
        text.push_str(token);
        copied = *offset as usize + placeholder.len();
    }
    text.push_str(&template_text[copied..]);
    text
}

impl StoredSpan {
    /// What the content's id holds of it.
    #[must_use]
    pub fn commitment(&self) -> [u8; 32] {
        match self {
            Self::Open { offset, token, salt } => span_commitment(salt, *offset, token),
            Self::Gone { commitment } => *commitment,
        }
    }
}

impl From<Span> for StoredSpan {
    fn from(Span { offset, token, salt }: Span) -> Self {
        Self::Open { offset, token, salt }
    }
}

#[cfg(test)]
#[path = "stored_tests.rs"]
pub(crate) mod tests;
