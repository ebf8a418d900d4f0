//! A record shown in part to somebody else, who has the leaf proved by the tree and needs nothing more to judge what is
//! shown, what is kept back and what is gone.
//!
//! `docs/reference/record-format.md` defines the JSON.

use std::collections::{HashMap, HashSet};

use event::{ContentId, ContentRef, Kind, SubjectId, Timestamp};
use journal::content::ContentParts;
use sanitize::Clean;
use serde::{Deserialize, Serialize};

use crate::hex;
use crate::leaf::{CONTENTS_PATH, Field, FieldType, LEAF_BYTES, Leaf, LeafError};
use crate::stored::{
    CONTENT_ITEM_BYTES, EVENT_ITEM, RedactedRecord, StoredBody, StoredContent, StoredField, StoredRecord, StoredSpan,
};
use crate::tombstone::Erasures;
use crate::tree::{Hash, leaf_hash, root_of};

/// What a disclosure's JSON begins with: its format and version.
const FORMAT: &str = "wkdisclosure/1";

/// Largest disclosure that is read: a record has at most 64 MiB, and JSON may write some of its bytes as six.
pub const DISCLOSURE_BYTES_MAX: usize = 128 << 20;

/// What is shown of one record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disclosure {
    format: String,
    /// The leaf's bytes.
    #[serde(with = "hex")]
    leaf: [u8; LEAF_BYTES],
    /// The field hashes, all of them, in order.
    #[serde(with = "hex::list")]
    hashes: Vec<Hash>,
    /// The fields that are shown, in order.
    fields: Vec<OpenField>,
    /// The contents that are shown, wholly or in part. Also those that the record only refers to.
    contents: Vec<StoredContent>,
    /// What is there and not shown: `field/<index>`, `content/<id>`, `content/<id>/span/<j>`. This is the word of who
    /// shows; what is neither shown nor here nor covered by a tombstone is unknown.
    withheld: Vec<String>,
}

/// A field that is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenField {
    /// Its place among the fields.
    pub index: u32,
    /// A JSON pointer into the event, or `contents`.
    pub path: String,
    /// 1: the value is JSON text; 2: the value is the list of contents in hex.
    pub r#type: u8,
    /// The value.
    pub value: String,
    /// The field's salt.
    #[serde(with = "hex")]
    pub salt: [u8; 32],
}

/// What is to be shown. Each question is asked with what it is about.
#[derive(Clone, Copy)]
pub struct Selection<'a> {
    /// Whether the field of that path and value is shown.
    pub field: &'a dyn Fn(&str, &[u8]) -> bool,
    /// Whether the content of that id and subject is shown.
    pub content: &'a dyn Fn(ContentId, SubjectId) -> bool,
    /// Whether a token is shown that stands in a content that is shown.
    pub token: &'a dyn Fn(&str) -> bool,
}

/// What verification says of one part of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// It is shown, and is what was recorded.
    Disclosed,
    /// It is there, says who shows the record, and not shown. Its commitment is in the leaf.
    Withheld,
    /// It is gone, and a tombstone in the log covers it.
    Erased {
        /// The index of the tombstone's leaf.
        tombstone: u64,
    },
    /// What is shown is not what was recorded.
    Tampered,
    /// It is not shown, and nobody says why.
    Unknown,
}

/// What verification says of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The leaf. Whoever verifies must still prove that it is in the log.
    pub leaf: Leaf,
    /// Its hash.
    pub leaf_hash: Hash,
    /// One verdict for each field, in order.
    pub fields: Vec<Verdict>,
    /// One for each content that the record brings or that is shown with it.
    pub contents: Vec<VerifiedContent>,
}

/// What verification says of a content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifiedContent {
    /// Which.
    pub id: ContentId,
    /// Of all of it.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Of each of its tokens, where it is shown in part.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<Verdict>,
}

/// Why a disclosure says nothing at all.
#[derive(Debug, thiserror::Error)]
pub enum DisclosureError {
    /// It has another form.
    #[error("not a disclosure: {0}")]
    Json(#[from] serde_json::Error),
    /// It is too large.
    #[error("a disclosure has at most {DISCLOSURE_BYTES_MAX} bytes, got {0}")]
    TooLarge(usize),
    /// Another version.
    #[error("format of the disclosure must be {FORMAT}")]
    Format,
    /// The leaf is none.
    #[error("the 102 bytes of the disclosure's `leaf` are not a leaf")]
    Leaf,
    /// The leaf is of another log.
    #[error("the disclosure's leaf belongs to another log")]
    OtherLog,
}

impl Selection<'_> {
    /// Everything.
    #[must_use]
    pub const fn all() -> Selection<'static> {
        Selection { field: &|_, _| true, content: &|_, _| true, token: &|_| true }
    }
}

impl Disclosure {
    /// What `selection` chooses of a record in the log of that id.
    pub fn of(stored: &StoredRecord, log_id: [u8; 16], selection: &Selection<'_>) -> Result<Self, LeafError> {
        let leaf = stored.leaf(log_id)?;
        let record = match &stored.body {
            StoredBody::Whole(record) => &RedactedRecord::of(record)?,
            StoredBody::Redacted(record) => record,
        };
        let (mut hashes, mut fields, mut withheld) = (Vec::new(), Vec::new(), Vec::new());
        for (index, field) in (0_u32..).zip(&record.fields) {
            hashes.push(field.hash()?);
            let StoredField::Open { path, kind, value, salt } = field else { continue };
            if !(selection.field)(path, value) {
                withheld.push(format!("field/{index}"));
                continue;
            }
            let value = match kind {
                FieldType::Json => String::from_utf8_lossy(value).into_owned(),
                FieldType::Contents => hex::encode(value),
            };
            fields.push(OpenField { index, path: path.clone(), r#type: *kind as u8, value, salt: *salt });
        }
        let mut shown = Self { format: FORMAT.to_owned(), leaf: leaf.encode(), hashes, fields, contents: Vec::new(), withheld };
        let brought: HashSet<ContentId> = record.contents.iter().map(StoredContent::id).collect();
        let elsewhere: HashSet<ContentId> =
            shown.pieces().map(|(_, reference)| reference.id).filter(|id| !brought.contains(id)).collect();
        let mut elsewhere: Vec<String> = elsewhere.into_iter().map(|id| format!("content/{id}")).collect();
        elsewhere.sort_unstable();
        shown.withheld.append(&mut elsewhere);
        record.contents.iter().for_each(|content| shown.add_content(content, selection));
        Ok(shown)
    }

    /// Shows a content that the record refers to and another record brought; until then it counts as withheld.
    pub fn add_content(&mut self, content: &StoredContent, selection: &Selection<'_>) {
        let id = content.id();
        let name = format!("content/{id}");
        self.withheld.retain(|withheld| *withheld != name);
        let Some(subject) = content.subject() else { return };
        if self.contents.iter().any(|known| known.id() == id) {
            return;
        }
        if !(selection.content)(id, subject) {
            self.withheld.push(name);
            return;
        }
        let (template_salt, template, spans) = match content {
            StoredContent::Whole(entry) => {
                let ContentParts { template_salt, template, spans } = entry.parts();
                if spans.iter().all(|span| (selection.token)(&span.token)) {
                    self.contents.push(content.clone());
                    return;
                }
                (template_salt, Clean::recorded(&template), spans.into_iter().map(StoredSpan::from).collect())
            }
            StoredContent::Redacted { template_salt, template, spans, .. } => (*template_salt, template.clone(), spans.clone()),
            StoredContent::Gone { .. } => return,
        };
        let mut keep = |(index, span): (usize, StoredSpan)| match &span {
            StoredSpan::Open { token, .. } if !(selection.token)(token) => {
                self.withheld.push(format!("content/{id}/span/{index}"));
                StoredSpan::Gone { commitment: span.commitment() }
            }
            _ => span,
        };
        let spans = spans.into_iter().enumerate().map(&mut keep).collect();
        self.contents.push(StoredContent::Redacted { id, subject, template_salt, template, spans });
    }

    /// Reads a disclosure.
    pub fn parse(json: &[u8]) -> Result<Self, DisclosureError> {
        if json.len() > DISCLOSURE_BYTES_MAX {
            return Err(DisclosureError::TooLarge(json.len()));
        }
        let shown: Self = serde_json::from_slice(json)?;
        if shown.format == FORMAT { Ok(shown) } else { Err(DisclosureError::Format) }
    }

    /// Its JSON, in one line.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// The leaf's bytes.
    #[must_use]
    pub fn leaf_bytes(&self) -> &[u8; LEAF_BYTES] {
        &self.leaf
    }

    /// The place that the leaf states.
    #[must_use]
    pub fn seq(&self) -> Option<u64> {
        Leaf::decode(&self.leaf).map(|leaf| leaf.seq)
    }

    /// The contents that shown pieces refer to, that are not shown themselves, and that the record does not bring: those that
    /// [`Disclosure::add_content`] may be given.
    #[must_use]
    pub fn elsewhere(&self) -> Vec<ContentId> {
        let mut known: HashSet<ContentId> = self.contents.iter().map(StoredContent::id).collect();
        known.extend(self.list().into_iter().map(|reference| reference.id));
        self.pieces().map(|(_, reference)| reference.id).filter(|id| known.insert(*id)).collect()
    }

    /// The fields that are shown.
    #[must_use]
    pub fn fields(&self) -> &[OpenField] {
        &self.fields
    }

    /// The contents that are shown.
    #[must_use]
    pub fn contents(&self) -> &[StoredContent] {
        &self.contents
    }

    /// The field of that path, if it is shown.
    #[must_use]
    pub fn open(&self, path: &str) -> Option<&OpenField> {
        self.fields.iter().find(|field| field.path == path)
    }

    /// What is neither shown nor said to be withheld.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let withheld: HashSet<&str> = self.withheld.iter().map(String::as_str).collect();
        self.not_shown().into_iter().filter(|what| !withheld.contains(what.as_str())).collect()
    }

    /// What is not shown: `field/<index>`, `content/<id>`, `content/<id>/span/<j>`.
    #[must_use]
    pub fn not_shown(&self) -> Vec<String> {
        let open: HashSet<u32> = self.fields.iter().map(|field| field.index).collect();
        let mut missing: Vec<String> = (0_u32..)
            .zip(&self.hashes)
            .filter(|(index, _)| !open.contains(index))
            .map(|(index, _)| format!("field/{index}"))
            .collect();
        let shown: HashSet<ContentId> =
            self.contents.iter().filter(|content| content.subject().is_some()).map(StoredContent::id).collect();
        missing.extend(self.named().into_iter().filter(|id| !shown.contains(id)).map(|id| format!("content/{id}")));
        for content in &self.contents {
            if let StoredContent::Redacted { id, spans, .. } = content {
                let gone = spans.iter().enumerate().filter(|(_, span)| matches!(span, StoredSpan::Gone { .. }));
                missing.extend(gone.map(|(index, _)| format!("content/{id}/span/{index}")));
            }
        }
        missing
    }

    /// Judges what is shown against the leaf. That the leaf is in the log is for the caller to prove.
    pub fn verify(&self, log_id: [u8; 16], erasures: &Erasures) -> Result<Verified, DisclosureError> {
        let leaf = Leaf::decode(&self.leaf).ok_or(DisclosureError::Leaf)?;
        if leaf.log_id != log_id {
            return Err(DisclosureError::OtherLog);
        }
        let seq = leaf.seq;
        let withheld: HashSet<&str> = self.withheld.iter().map(String::as_str).collect();
        let absent = |what: &str, event: bool| {
            let of_event = if event { erasures.covers(seq, EVENT_ITEM) } else { None };
            match erasures.covers(seq, what).or(of_event) {
                Some(tombstone) => Verdict::Erased { tombstone },
                None if withheld.contains(what) => Verdict::Withheld,
                None => Verdict::Unknown,
            }
        };
        let bound = u64::try_from(self.hashes.len()) == Ok(u64::from(leaf.fields))
            && root_of(self.hashes.iter().copied()) == leaf.field_root;
        let fields = if bound {
            let mut fields: Vec<Verdict> = (0..self.hashes.len()).map(|index| absent(&format!("field/{index}"), true)).collect();
            self.judge_open(&leaf, &mut fields);
            fields
        } else {
            vec![Verdict::Tampered; self.hashes.len().max(1)]
        };
        let contents = self.judge_contents(&fields, &absent);
        Ok(Verified { leaf_hash: leaf_hash(&self.leaf), leaf, fields, contents })
    }

    fn judge_open(&self, leaf: &Leaf, fields: &mut [Verdict]) {
        let mut seen = HashSet::new();
        let mut paths = HashSet::new();
        for field in &self.fields {
            let distinct = seen.insert(field.index) && paths.insert(field.path.as_str());
            let Some(verdict) = fields.get_mut(field.index as usize) else {
                // It is shown as a field that the record does not have.
                fields.iter_mut().for_each(|verdict| *verdict = Verdict::Tampered);
                return;
            };
            let is_last = field.index as usize + 1 == self.hashes.len();
            let holds = distinct && field.agrees(leaf, is_last) && field.hash() == self.hashes.get(field.index as usize).copied();
            *verdict = if holds { Verdict::Disclosed } else { Verdict::Tampered };
        }
    }

    fn judge_contents(&self, fields: &[Verdict], absent: &dyn Fn(&str, bool) -> Verdict) -> Vec<VerifiedContent> {
        let referred = self.referred(fields);
        let mut verdicts: Vec<VerifiedContent> = Vec::new();
        let mut seen = HashSet::new();
        for content in &self.contents {
            let id = content.id();
            let is_bound = seen.insert(id) && referred.get(&id).is_some_and(|reference| fits(content, reference));
            let (verdict, spans) = match content {
                StoredContent::Gone { .. } => (absent(&format!("content/{id}"), false), Vec::new()),
                _ if !is_bound || !content.is_intact() => (Verdict::Tampered, Vec::new()),
                StoredContent::Whole(_) => (Verdict::Disclosed, Vec::new()),
                StoredContent::Redacted { spans, .. } => {
                    let judge = |(index, span): (usize, &StoredSpan)| match span {
                        StoredSpan::Open { .. } => Verdict::Disclosed,
                        StoredSpan::Gone { .. } => absent(&format!("content/{id}/span/{index}"), false),
                    };
                    (Verdict::Disclosed, spans.iter().enumerate().map(judge).collect())
                }
            };
            verdicts.push(VerifiedContent { id, verdict, spans });
        }
        for id in self.named() {
            if seen.insert(id) {
                verdicts.push(VerifiedContent { id, verdict: absent(&format!("content/{id}"), false), spans: Vec::new() });
            }
        }
        verdicts
    }

    /// The contents that the record brings or refers to, by what is shown of it.
    fn named(&self) -> Vec<ContentId> {
        let mut seen = HashSet::new();
        let brought = self.list().into_iter().map(|reference| reference.id);
        brought.chain(self.pieces().map(|(_, reference)| reference.id)).filter(|id| seen.insert(*id)).collect()
    }

    fn list(&self) -> Vec<ContentRef> {
        let bytes = self.open(CONTENTS_PATH).and_then(|field| hex::decode(&field.value)).unwrap_or_default();
        let read = |item: &[u8; CONTENT_ITEM_BYTES]| {
            let (id, rest) = item.split_at(32);
            let (subject, length) = rest.split_at(16);
            Some(ContentRef {
                id: ContentId::from_slice(id)?,
                subject: SubjectId::from_slice(subject)?,
                bytes: u32::from_be_bytes(length.try_into().ok()?),
            })
        };
        bytes.as_chunks().0.iter().filter_map(read).collect()
    }

    /// The contents that the pieces which are shown refer to, each with the index of the field.
    fn pieces(&self) -> impl Iterator<Item = (u32, ContentRef)> {
        #[derive(Deserialize)]
        struct ReferringPiece {
            content: ContentRef,
        }
        let read = |field: &OpenField| Some((field.index, serde_json::from_str::<ReferringPiece>(&field.value).ok()?.content));
        self.fields.iter().filter(|field| field.path.starts_with("/pieces/")).filter_map(read)
    }

    /// The contents that fields speak of which are shown and hold.
    fn referred(&self, fields: &[Verdict]) -> HashMap<ContentId, ContentRef> {
        let holds = |index: u32| fields.get(index as usize) == Some(&Verdict::Disclosed);
        let mut referred: HashMap<ContentId, ContentRef> =
            self.pieces().filter(|(index, _)| holds(*index)).map(|(_, reference)| (reference.id, reference)).collect();
        if self.open(CONTENTS_PATH).is_some_and(|field| holds(field.index)) {
            referred.extend(self.list().into_iter().map(|reference| (reference.id, reference)));
        }
        referred
    }
}

/// Whether the content is the one that is referred to, beyond its id.
fn fits(content: &StoredContent, reference: &ContentRef) -> bool {
    content.subject() == Some(reference.subject)
        && content.whole_length().is_none_or(|length| u32::try_from(length) == Ok(reference.bytes))
}

impl OpenField {
    fn hash(&self) -> Option<Hash> {
        let (kind, value) = match self.r#type {
            1 => (FieldType::Json, self.value.as_bytes().to_vec()),
            2 => (FieldType::Contents, hex::decode(&self.value)?),
            _ => return None,
        };
        Field { path: self.path.clone(), kind, value: value.into() }.hash(&self.salt).ok()
    }

    /// Whether it says what the leaf says beside the fields.
    fn agrees(&self, leaf: &Leaf, is_last: bool) -> bool {
        let time = || serde_json::from_str::<Timestamp>(&self.value).ok();
        let is_list = self.r#type == FieldType::Contents as u8;
        match self.path.as_str() {
            "/time" => time() == Some(leaf.time),
            "/observed" => time() == Some(leaf.observed),
            "/kind" => serde_json::from_str::<Kind>(&self.value).is_ok_and(|kind| kind.code() == leaf.kind),
            CONTENTS_PATH => is_last && is_list && self.value.len().is_multiple_of(2 * CONTENT_ITEM_BYTES),
            path => path.starts_with('/') && !is_list && !is_last,
        }
    }
}

impl Verified {
    /// Every verdict, of fields, contents and tokens.
    pub fn verdicts(&self) -> impl Iterator<Item = Verdict> {
        let contents =
            self.contents.iter().flat_map(|content| std::iter::once(content.verdict).chain(content.spans.iter().copied()));
        self.fields.iter().copied().chain(contents)
    }

    /// Whether nothing that is shown is other than what was recorded.
    #[must_use]
    pub fn is_untampered(&self) -> bool {
        self.verdicts().all(|verdict| verdict != Verdict::Tampered)
    }
}

#[cfg(test)]
#[path = "disclosure_tests.rs"]
mod tests;
