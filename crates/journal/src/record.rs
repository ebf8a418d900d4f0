//! The record: what one frame of the journal holds.
//!
//! ```text
//! record = version u8 (2)
//!        | commitment key [32]   random; gives every field of the event a salt of its own (see `ledger`)
//!        | blind [16]            random; so that no leaf can be guessed
//!        | event length u32 | event (JSON, as `serde_json` writes `RecordedEvent<Clean>`)
//!        | contents u32 | { id [32] | salt [16] | subject [16] | length u32 | text }*
//! ```
//! Numbers are little-endian. A content stands in the record of the event that brought it first in its segment of the
//! journal; later events only refer to it.

use event::{ContentId, RecordedEvent, SubjectId};
use sanitize::Clean;

use crate::ContentEntry;

/// The place of a record in the journal, from 0 without gaps. It is the index of the record's leaf in the ledger, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

/// Version of the record format that this code writes. Version 1 had content ids of another form.
pub const RECORD_VERSION: u8 = 2;

/// Most contents in one record. More pieces than that are refused where events are decoded.
pub const RECORD_CONTENTS_MAX: usize = event::limits::PIECES_MAX;

/// One record of the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Where it stands.
    pub seq: Seq,
    /// Gives every field of the event a salt of its own.
    pub commitment_key: [u8; 32],
    /// Random bytes of the leaf.
    pub blind: [u8; 16],
    /// The event as it is stored, byte for byte: what the ledger commits to.
    pub event_json: Vec<u8>,
    /// The contents that this record brings.
    pub contents: Vec<ContentEntry>,
}

/// Why bytes are not a record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Written by a later version of Watchkeeper, or not a record.
    #[error("record version {0} is not known; this program reads version {RECORD_VERSION}")]
    Version(u8),
    /// It ends in the middle of a field.
    #[error("record ends inside its field {0}")]
    Truncated(&'static str),
    /// Something stands behind its end.
    #[error("record has {0} bytes behind its end")]
    Trailing(usize),
    /// A content is not UTF-8.
    #[error("content {0} of the record is not UTF-8")]
    NotUtf8(usize),
    /// A content's id is all zeros.
    #[error("content {0} of the record has an id of zeros")]
    ZeroId(usize),
    /// It claims more contents than a record can have.
    #[error("record claims {0} contents, at most {RECORD_CONTENTS_MAX} can be")]
    TooManyContents(u32),
    /// The event is not an event.
    #[error("event of the record: {0}")]
    Event(#[from] serde_json::Error),
}

impl Record {
    /// The event.
    pub fn event(&self) -> Result<RecordedEvent<Clean>, RecordError> {
        Ok(serde_json::from_slice(&self.event_json)?)
    }

    /// Writes the record's bytes at the end of `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode(&self.commitment_key, &self.blind, &self.event_json, &self.contents, out);
    }

    /// Reads a record's bytes.
    pub fn decode(seq: Seq, bytes: &[u8]) -> Result<Self, RecordError> {
        let mut rest = Fields(bytes);
        let version = rest.array::<1>("version")?[0];
        if version != RECORD_VERSION {
            return Err(RecordError::Version(version));
        }
        let commitment_key = rest.array("commitment key")?;
        let blind = rest.array("blind")?;
        let event_json = rest.prefixed("event")?.to_vec();
        let count = u32::from_le_bytes(rest.array("contents")?);
        if usize::try_from(count).is_ok_and(|count| count > RECORD_CONTENTS_MAX) {
            return Err(RecordError::TooManyContents(count));
        }
        let mut contents = Vec::new();
        for index in 0..count as usize {
            let id = ContentId::from_bytes(rest.array("content id")?).ok_or(RecordError::ZeroId(index))?;
            let salt = rest.array("content salt")?;
            let subject = SubjectId::from_bytes(rest.array("content subject")?).ok_or(RecordError::ZeroId(index))?;
            let text = std::str::from_utf8(rest.prefixed("content text")?).map_err(|_| RecordError::NotUtf8(index))?;
            contents.push(ContentEntry { id, salt, subject, text: Clean::recorded(text) });
        }
        if !rest.0.is_empty() {
            return Err(RecordError::Trailing(rest.0.len()));
        }
        Ok(Self { seq, commitment_key, blind, event_json, contents })
    }
}

/// Writes the bytes of a record whose parts are borrowed.
pub(crate) fn encode<'a>(
    commitment_key: &[u8; 32],
    blind: &[u8; 16],
    event_json: &[u8],
    contents: impl IntoIterator<Item = &'a ContentEntry, IntoIter: ExactSizeIterator>,
    out: &mut Vec<u8>,
) {
    let contents = contents.into_iter();
    out.push(RECORD_VERSION);
    out.extend_from_slice(commitment_key);
    out.extend_from_slice(blind);
    put_prefixed(event_json, out);
    out.extend_from_slice(&length(contents.len()).to_le_bytes());
    for content in contents {
        out.extend_from_slice(content.id.as_bytes());
        out.extend_from_slice(&content.salt);
        out.extend_from_slice(content.subject.as_bytes());
        put_prefixed(content.text.as_bytes(), out);
    }
}

fn put_prefixed(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&length(bytes.len()).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Lengths are bounded by `event::limits` and by the frame's own limit, far below 4 GiB.
pub(crate) fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, n: usize, field: &'static str) -> Result<&'a [u8], RecordError> {
        let (head, tail) = self.0.split_at_checked(n).ok_or(RecordError::Truncated(field))?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], RecordError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, field)?);
        Ok(array)
    }

    fn prefixed(&mut self, field: &'static str) -> Result<&'a [u8], RecordError> {
        let length = u32::from_le_bytes(self.array(field)?);
        self.take(length as usize, field)
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac;
    use proptest::prelude::*;

    use super::*;

    fn content(text: &str) -> ContentEntry {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
        ContentEntry::commit(SubjectId::from_bytes([1; 16]).unwrap(), &key, Clean::recorded(text))
    }

    proptest! {
        #[test]
        fn records_round_trip(key in any::<[u8; 32]>(), blind in any::<[u8; 16]>(), json in any::<Vec<u8>>(),
                              texts in proptest::collection::vec(".{0,40}", 0..4)) {
            let record = Record {
                seq: Seq(7), commitment_key: key, blind, event_json: json,
                contents: texts.iter().map(|text| content(text)).collect(),
            };
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            prop_assert_eq!(&Record::decode(Seq(7), &bytes).unwrap(), &record);
            bytes.push(0);
            prop_assert!(Record::decode(Seq(7), &bytes).is_err());
            bytes.truncate(bytes.len() - 2);
            prop_assert!(Record::decode(Seq(7), &bytes).is_err());
        }

        /// Verification rests on it: bytes that can be read are the one form of their record.
        #[test]
        fn what_can_be_read_is_what_would_be_written(texts in proptest::collection::vec("[a-c]{0,3}", 0..3), at in any::<proptest::sample::Index>(),
                                                     to in any::<u8>(), cut in 0..40_usize) {
            let record = Record {
                seq: Seq(7), commitment_key: [1; 32], blind: [2; 16], event_json: b"{}".to_vec(),
                contents: texts.iter().map(|text| content(text)).collect(),
            };
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            let changed = at.index(bytes.len());
            bytes[changed] = to;
            for bytes in [&bytes[..], &bytes[..bytes.len().saturating_sub(cut)]] {
                if let Ok(record) = Record::decode(Seq(7), bytes) {
                    let mut again = Vec::new();
                    record.encode(&mut again);
                    prop_assert_eq!(&again[..], bytes);
                }
            }
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in any::<Vec<u8>>()) {
            let _ = Record::decode(Seq(0), &bytes);
        }
    }
}
