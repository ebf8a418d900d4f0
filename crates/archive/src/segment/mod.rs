//! One segment: the records of a span and class as two Parquet objects, and back.

mod read;
mod refs;
mod write;

use std::sync::Arc;

use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use event::ContentRef;
use ledger::StoredRecord;
use parquet::errors::ParquetError;

use crate::{Class, columns};

pub use read::SegmentReader;
pub(crate) use write::{SegmentObjects, SegmentWriter, time_of};

/// Version of the objects' layout that this code writes and reads; it stands in each object's key-value metadata.
pub(crate) const FORMAT: &str = "1";

/// Most records of a segment: half an hour at 500 a second. More make a segment slow to write anew.
pub const SEGMENT_RECORDS_MAX: u64 = 1 << 20;

/// Most bytes of events and texts in a segment, uncompressed. A reader holds the texts in memory: so this is its bound.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// Most bytes of a Parquet object: what a segment can have when nothing of it compresses, and its columns beside.
pub(crate) const OBJECT_BYTES_MAX: usize = (SEGMENT_BYTES_MAX + SEGMENT_BYTES_MAX / 4) as usize;

/// Which object of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// One row for each record.
    Events,
    /// One row for each text.
    Contents,
}

/// What a segment holds: the records of a class within `[first, end)`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The span's first record.
    pub first: u64,
    /// One past its last.
    pub end: u64,
    /// The class.
    pub class: Class,
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {} of {}", self.first, self.end, self.class)
    }
}

/// Why records do not become a segment, or a segment not records.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// Encoding.
    #[error("segment could not be encoded: {0}")]
    Parquet(#[from] ParquetError),
    /// The order of records.
    #[error("record {seq} is not behind the one before it, or not within its span")]
    Order {
        /// The record.
        seq: u64,
    },
    /// An event that is not text.
    #[error("event of record {seq} is not UTF-8")]
    NotText {
        /// The record.
        seq: u64,
    },
    /// A content whose id is not the one of its text.
    #[error("content {id} of record {seq} does not have the id of its text")]
    ContentId {
        /// The record.
        seq: u64,
        /// The content.
        id: String,
    },
    /// Over a limit.
    #[error("segment of {first} to {end} has more than {records_max} records or {bytes_max} bytes; seal shorter spans", records_max = SEGMENT_RECORDS_MAX, bytes_max = SEGMENT_BYTES_MAX)]
    TooLarge {
        /// The span's first record.
        first: u64,
        /// One past its last.
        end: u64,
    },
    /// What was read is not what any version of this program writes.
    #[error("segment's {part:?} object: {what}")]
    Malformed {
        /// Which object.
        part: Part,
        /// What is wrong.
        what: String,
    },
    /// What is left of a redacted record or content cannot be written as JSON.
    #[error("what is left of record {seq} could not be written: {source}")]
    Json {
        /// The record.
        seq: u64,
        /// Why.
        source: serde_json::Error,
    },
    /// The source of contents failed.
    #[error("content of an earlier record could not be read: {0}")]
    Source(String),
}

impl From<ArrowError> for SegmentError {
    fn from(error: ArrowError) -> Self {
        Self::Parquet(error.into())
    }
}

pub(crate) const SEQ: &str = "seq";
pub(crate) const COMMITMENT_KEY: &str = "commitment_key";
pub(crate) const BLIND: &str = "blind";
pub(crate) const EVENT_JSON: &str = "event_json";
pub(crate) const VERBATIM: &str = "event_json_verbatim";
pub(crate) const REDACTED: &str = "redacted_json";
pub(crate) const BRINGS: &str = "brings";
pub(crate) const PIECES: &str = "pieces";
pub(crate) const ROW: &str = "row";
pub(crate) const SALT: &str = "salt";
pub(crate) const SUBJECT: &str = "subject";
pub(crate) const TEXT: &str = "text";

/// A list of rows of the contents object.
fn rows(name: &str, items_nullable: bool) -> Field {
    Field::new(name, DataType::List(Arc::new(Field::new("item", DataType::UInt32, items_nullable))), false)
}

/// The schema of the events object.
pub(crate) fn events_schema() -> SchemaRef {
    let fields = [Field::new(SEQ, DataType::UInt64, false)]
        .into_iter()
        .chain(columns::fields())
        .chain([
            rows(PIECES, true),
            rows(BRINGS, false),
            Field::new(COMMITMENT_KEY, DataType::FixedSizeBinary(32), true),
            Field::new(BLIND, DataType::FixedSizeBinary(16), true),
            Field::new(EVENT_JSON, DataType::Utf8, true),
            Field::new(VERBATIM, DataType::Boolean, false),
            Field::new(REDACTED, DataType::Utf8, true),
        ])
        .collect::<Vec<_>>();
    Arc::new(Schema::new(fields))
}

/// The schema of the contents object.
pub(crate) fn contents_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(ROW, DataType::UInt32, false),
        Field::new(SUBJECT, DataType::FixedSizeBinary(16), true),
        Field::new(SALT, DataType::FixedSizeBinary(16), true),
        Field::new(TEXT, DataType::Utf8, true),
        Field::new(REDACTED, DataType::Utf8, true),
    ]))
}

/// Encodes records as the two objects of a segment, not encrypted: what a segment holds for tools of others. Every content
/// that events refer to must be brought by a record.
pub fn encode_segment<'r>(
    span: &Span,
    records: impl IntoIterator<Item = &'r StoredRecord>,
) -> Result<(Vec<u8>, Vec<u8>), SegmentError> {
    let mut writer = SegmentWriter::new(span.clone())?;
    for record in records {
        writer.push(record, &|_: &ContentRef| Ok(None))?;
    }
    let SegmentObjects { events, contents, .. } = writer.finish()?;
    Ok((events, contents))
}

#[cfg(test)]
#[path = "tests.rs"]
pub(crate) mod tests;
