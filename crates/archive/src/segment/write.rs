//! Records to objects.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, FixedSizeBinaryBuilder, ListBuilder, StringBuilder, UInt32Builder, UInt64Builder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, SchemaRef};
use event::{ContentId, ContentRef, RecordedEvent, SubjectId, Timestamp};
use ledger::{StoredBody, StoredContent, StoredRecord};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use sanitize::Clean;

use super::{
    BLIND, COMMITMENT_KEY, EVENT_JSON, FORMAT, PIECES, REDACTED, ROW, SALT, SEGMENT_BYTES_MAX, SEGMENT_RECORDS_MAX, SEQ, SUBJECT,
    SegmentError, Span, TEXT, contents_schema, events_schema, refs,
};
use crate::columns::Columns;

/// zstd level: 9 is where its ratio for text flattens and it still keeps up with a busy node on one core.
const ZSTD_LEVEL: i32 = 9;

/// Rows of a row group of events: small enough that statistics of time let a reader skip, large enough to compress.
const ROW_GROUP_ROWS: usize = 65_536;

/// Bytes of a page of text. zstd finds a repetition only within its page, and conversations repeat over many records.
const TEXT_PAGE_BYTES: usize = 8 * 1024 * 1024;

/// Rows and bytes that are gathered before they are given to the encoder.
const BATCH_ROWS: usize = 4096;
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Where a segment's writer finds contents that an event refers to and an earlier record brought.
pub(crate) type ContentSource<'a> = dyn Fn(&ContentRef) -> Result<Option<StoredContent>, SegmentError> + 'a;

/// Gathers the records of a span and class.
pub(crate) struct SegmentWriter {
    span: Span,
    events: Table<Events>,
    contents: Table<Contents>,
    /// Where each content stands that is in already, as far as it is there.
    rows: HashMap<Kept, u32>,
    /// Where events find it: the first of its rows.
    rows_by_id: HashMap<ContentId, u32>,
    summary: Summary,
}

/// What tells contents apart: whole ones their id and subject, others all that is left of them.
#[derive(PartialEq, Eq, Hash)]
enum Kept {
    Whole(ContentId, SubjectId),
    Redacted(String),
}

/// A segment, encoded.
pub(crate) struct SegmentObjects {
    /// The events object, Parquet.
    pub(crate) events: Vec<u8>,
    /// The contents object, Parquet.
    pub(crate) contents: Vec<u8>,
    /// What is in it.
    pub(crate) summary: Summary,
}

/// What a segment holds, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Records.
    pub(crate) records: u64,
    /// Earliest and latest time of an event.
    pub(crate) times: Option<(Timestamp, Timestamp)>,
    /// Seq of the newest record.
    pub(crate) last: Option<u64>,
    /// References of events to contents that nobody has.
    pub(crate) missing_contents: u64,
    /// Bytes of events and texts.
    pub(crate) bytes: u64,
}

impl SegmentWriter {
    /// An empty segment.
    pub(crate) fn new(span: Span) -> Result<Self, SegmentError> {
        Ok(Self {
            events: Table::new(events_schema(), &span, events_properties())?,
            contents: Table::new(contents_schema(), &span, contents_properties())?,
            rows: HashMap::new(),
            rows_by_id: HashMap::new(),
            summary: Summary::default(),
            span,
        })
    }

    /// Adds the next record. Contents that it refers to and nothing brought into the segment so far come from `source`.
    pub(crate) fn push(&mut self, record: &StoredRecord, source: &ContentSource<'_>) -> Result<(), SegmentError> {
        let seq = record.seq.0;
        if !(self.span.first..self.span.end).contains(&seq) || self.summary.last.is_some_and(|last| last >= seq) {
            return Err(SegmentError::Order { seq });
        }
        let readable;
        let (json, contents) = match &record.body {
            StoredBody::Whole(whole) => {
                let json = std::str::from_utf8(&whole.event_json).map_err(|_| SegmentError::NotText { seq })?;
                (Some(json), whole.contents.iter().cloned().map(StoredContent::Whole).collect())
            }
            StoredBody::Redacted(redacted) => {
                readable = record.for_reading();
                let json = readable.as_ref().and_then(|readable| std::str::from_utf8(&readable.event_json).ok());
                (json, redacted.contents.clone())
            }
        };
        let event: Option<RecordedEvent<Clean>> = json.and_then(|json| serde_json::from_str(json).ok());
        let brings = contents.iter().map(|content| self.row_of(content, seq)).collect::<Result<Vec<_>, _>>()?;
        let (mut pieces, mut rows) = (Vec::new(), HashMap::new());
        for piece in event.iter().flat_map(|event| &event.pieces) {
            let row = self.row_of_reference(&piece.content, seq, source)?;
            pieces.push(row);
            rows.extend(row.map(|row| (piece.content.id, row)));
        }
        let row = EventRow { record, event: event.as_ref(), pieces: &pieces, brings: &brings };
        let bytes = self.events.rows.push(&row, json, &rows)?;
        self.count(record, bytes)?;
        self.events.added(bytes)
    }

    /// How many records it has.
    pub(crate) fn records(&self) -> u64 {
        self.summary.records
    }

    /// The encoded objects.
    pub(crate) fn finish(self) -> Result<SegmentObjects, SegmentError> {
        Ok(SegmentObjects { events: self.events.finish()?, contents: self.contents.finish()?, summary: self.summary })
    }

    fn row_of(&mut self, content: &StoredContent, seq: u64) -> Result<u32, SegmentError> {
        let id = content.id();
        if !content.is_intact() {
            return Err(SegmentError::ContentId { seq, id: id.to_string() });
        }
        let kept = match content {
            StoredContent::Whole(entry) => Kept::Whole(entry.id, entry.subject),
            other => Kept::Redacted(serde_json::to_string(other).map_err(|source| SegmentError::Json { seq, source })?),
        };
        if let Some(row) = self.rows.get(&kept) {
            return Ok(*row);
        }
        let row = u32::try_from(self.rows.len()).map_err(|_| self.too_large())?;
        let bytes = self.contents.rows.push(row, content, &kept)?;
        self.rows.insert(kept, row);
        self.rows_by_id.entry(id).or_insert(row);
        self.summary.bytes += bytes as u64;
        self.contents.added(bytes)?;
        Ok(row)
    }

    fn row_of_reference(
        &mut self,
        reference: &ContentRef,
        seq: u64,
        source: &ContentSource<'_>,
    ) -> Result<Option<u32>, SegmentError> {
        if let Some(row) = self.rows_by_id.get(&reference.id) {
            return Ok(Some(*row));
        }
        match source(reference)? {
            Some(content) if content.id() == reference.id => self.row_of(&content, seq).map(Some),
            Some(content) => Err(SegmentError::ContentId { seq, id: content.id().to_string() }),
            None => {
                self.summary.missing_contents += 1;
                Ok(None)
            }
        }
    }

    fn count(&mut self, record: &StoredRecord, bytes: usize) -> Result<(), SegmentError> {
        let summary = &mut self.summary;
        summary.records += 1;
        summary.last = Some(record.seq.0);
        summary.bytes += bytes as u64;
        if let Some(time) = time_of(record) {
            let (from, to) = summary.times.unwrap_or((time, time));
            summary.times = Some((from.min(time), to.max(time)));
        }
        if summary.records > SEGMENT_RECORDS_MAX || summary.bytes > SEGMENT_BYTES_MAX { Err(self.too_large()) } else { Ok(()) }
    }

    fn too_large(&self) -> SegmentError {
        SegmentError::TooLarge { first: self.span.first, end: self.span.end }
    }
}

/// When the event of a record began; `None` when it tells no time.
pub(crate) fn time_of(record: &StoredRecord) -> Option<Timestamp> {
    #[derive(serde::Deserialize)]
    struct Timed {
        time: Timestamp,
    }
    match &record.body {
        StoredBody::Whole(whole) => serde_json::from_slice::<Timed>(&whole.event_json).ok().map(|event| event.time),
        StoredBody::Redacted(redacted) => Some(redacted.time),
    }
}

/// Rows that are gathered, and the encoder behind them.
struct Table<R> {
    rows: R,
    gathered_rows: usize,
    gathered_bytes: usize,
    schema: SchemaRef,
    writer: ArrowWriter<Vec<u8>>,
}

/// Rows that become a batch.
trait Rows: Default {
    /// Its columns, in the order of the schema; the rows are empty then.
    fn take(&mut self) -> Vec<ArrayRef>;
}

impl<R: Rows> Table<R> {
    fn new(schema: SchemaRef, span: &Span, properties: WriterPropertiesBuilder) -> Result<Self, SegmentError> {
        let about = [
            ("watchkeeper.format", FORMAT.to_owned()),
            ("watchkeeper.first", span.first.to_string()),
            ("watchkeeper.end", span.end.to_string()),
            ("watchkeeper.class", span.class.to_string()),
        ];
        let about = about.into_iter().map(|(key, value)| KeyValue::new(key.to_owned(), value)).collect();
        let options = ArrowWriterOptions::new()
            .with_properties(properties.set_key_value_metadata(Some(about)).build())
            .with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), schema.clone(), options)?;
        Ok(Self { rows: R::default(), gathered_rows: 0, gathered_bytes: 0, schema, writer })
    }

    fn added(&mut self, bytes: usize) -> Result<(), SegmentError> {
        self.gathered_rows += 1;
        self.gathered_bytes += bytes;
        if self.gathered_rows >= BATCH_ROWS || self.gathered_bytes >= BATCH_BYTES { self.encode() } else { Ok(()) }
    }

    fn encode(&mut self) -> Result<(), SegmentError> {
        let batch = RecordBatch::try_new(self.schema.clone(), self.rows.take())?;
        (self.gathered_rows, self.gathered_bytes) = (0, 0);
        Ok(self.writer.write(&batch)?)
    }

    fn finish(mut self) -> Result<Vec<u8>, SegmentError> {
        self.encode()?;
        Ok(self.writer.into_inner()?)
    }
}

struct Events {
    seq: UInt64Builder,
    columns: Columns,
    pieces: ListBuilder<UInt32Builder>,
    brings: ListBuilder<UInt32Builder>,
    commitment_key: FixedSizeBinaryBuilder,
    blind: FixedSizeBinaryBuilder,
    event_json: StringBuilder,
    verbatim: BooleanBuilder,
    redacted: StringBuilder,
}

/// What a row of the events object is made from.
struct EventRow<'r> {
    record: &'r StoredRecord,
    event: Option<&'r RecordedEvent<Clean>>,
    pieces: &'r [Option<u32>],
    brings: &'r [u32],
}

impl Default for Events {
    fn default() -> Self {
        let list = |nullable| ListBuilder::new(UInt32Builder::new()).with_field(Field::new("item", DataType::UInt32, nullable));
        Self {
            seq: UInt64Builder::new(),
            columns: Columns::default(),
            pieces: list(true),
            brings: list(false),
            commitment_key: FixedSizeBinaryBuilder::new(32),
            blind: FixedSizeBinaryBuilder::new(16),
            event_json: StringBuilder::new(),
            verbatim: BooleanBuilder::new(),
            redacted: StringBuilder::new(),
        }
    }
}

impl Events {
    /// Returns how many bytes of text it took. `json` is the event as far as it can be read.
    fn push(&mut self, row: &EventRow<'_>, json: Option<&str>, rows: &HashMap<ContentId, u32>) -> Result<usize, SegmentError> {
        let seq = row.record.seq.0;
        self.seq.append_value(seq);
        self.columns.push(row.event);
        self.pieces.append_value(row.pieces.iter().copied());
        self.brings.append_value(row.brings.iter().map(|row| Some(*row)));
        let short = json.and_then(|json| refs::shorten(json, rows));
        self.verbatim.append_value(short.is_none());
        let json = short.as_deref().or(json);
        self.event_json.append_option(json);
        let redacted = match &row.record.body {
            StoredBody::Whole(whole) => {
                self.commitment_key.append_value(whole.commitment_key)?;
                self.blind.append_value(whole.blind)?;
                None
            }
            StoredBody::Redacted(redacted) => {
                self.commitment_key.append_null();
                self.blind.append_null();
                // Its contents stand in rows of their own, as those of any record.
                let left = ledger::RedactedRecord { contents: Vec::new(), ..redacted.clone() };
                Some(serde_json::to_string(&left).map_err(|source| SegmentError::Json { seq, source })?)
            }
        };
        self.redacted.append_option(redacted.as_deref());
        Ok(json.map_or(0, str::len) + redacted.map_or(0, |redacted| redacted.len()))
    }
}

impl Rows for Events {
    fn take(&mut self) -> Vec<ArrayRef> {
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(self.seq.finish())];
        arrays.extend(self.columns.finish());
        arrays.push(Arc::new(self.pieces.finish()));
        arrays.push(Arc::new(self.brings.finish()));
        arrays.push(Arc::new(self.commitment_key.finish()));
        arrays.push(Arc::new(self.blind.finish()));
        arrays.push(Arc::new(self.event_json.finish()));
        arrays.push(Arc::new(self.verbatim.finish()));
        arrays.push(Arc::new(self.redacted.finish()));
        arrays
    }
}

struct Contents {
    row: UInt32Builder,
    subject: FixedSizeBinaryBuilder,
    salt: FixedSizeBinaryBuilder,
    text: StringBuilder,
    redacted: StringBuilder,
}

impl Default for Contents {
    fn default() -> Self {
        Self {
            row: UInt32Builder::new(),
            subject: FixedSizeBinaryBuilder::new(16),
            salt: FixedSizeBinaryBuilder::new(16),
            text: StringBuilder::new(),
            redacted: StringBuilder::new(),
        }
    }
}

impl Contents {
    /// Returns how many bytes of text it took.
    fn push(&mut self, row: u32, content: &StoredContent, kept: &Kept) -> Result<usize, SegmentError> {
        self.row.append_value(row);
        match content.subject() {
            Some(subject) => self.subject.append_value(subject.as_bytes())?,
            None => self.subject.append_null(),
        }
        match content {
            StoredContent::Whole(entry) => self.salt.append_value(entry.salt)?,
            _ => self.salt.append_null(),
        }
        let text = content.text();
        self.text.append_option(text.as_deref());
        let redacted = match kept {
            Kept::Whole(..) => None,
            Kept::Redacted(json) => Some(json),
        };
        self.redacted.append_option(redacted);
        Ok(text.map_or(0, |text| text.len()) + redacted.map_or(0, String::len))
    }
}

impl Rows for Contents {
    fn take(&mut self) -> Vec<ArrayRef> {
        vec![
            Arc::new(self.row.finish()),
            Arc::new(self.subject.finish()),
            Arc::new(self.salt.finish()),
            Arc::new(self.text.finish()),
            Arc::new(self.redacted.finish()),
        ]
    }
}

fn events_properties() -> WriterPropertiesBuilder {
    let properties = random_bytes(random_bytes(base(), COMMITMENT_KEY), BLIND);
    let properties = text(text(ascending(properties, SEQ), EVENT_JSON), REDACTED);
    [PIECES, super::BRINGS].into_iter().fold(properties, |properties, name| {
        let path = ColumnPath::new([name, "list", "item"].map(str::to_owned).to_vec());
        properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path.clone(), Encoding::DELTA_BINARY_PACKED)
            .set_column_statistics_enabled(path, EnabledStatistics::None)
    })
}

fn contents_properties() -> WriterPropertiesBuilder {
    let subject = ColumnPath::from(SUBJECT);
    text(text(random_bytes(ascending(base(), ROW), SALT), TEXT), REDACTED)
        .set_column_statistics_enabled(subject, EnabledStatistics::None)
}

fn base() -> WriterPropertiesBuilder {
    let level = ZstdLevel::try_new(ZSTD_LEVEL).unwrap_or_default();
    WriterProperties::builder()
        .set_created_by("watchkeeper".to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_data_page_row_count_limit(ROW_GROUP_ROWS)
}

/// Numbers that grow by one.
fn ascending(properties: WriterPropertiesBuilder, name: &str) -> WriterPropertiesBuilder {
    let path = ColumnPath::from(name);
    properties.set_column_dictionary_enabled(path.clone(), false).set_column_encoding(path, Encoding::DELTA_BINARY_PACKED)
}

/// Random bytes: nothing makes them smaller.
fn random_bytes(properties: WriterPropertiesBuilder, name: &str) -> WriterPropertiesBuilder {
    let path = ColumnPath::from(name);
    properties
        .set_column_dictionary_enabled(path.clone(), false)
        .set_column_statistics_enabled(path.clone(), EnabledStatistics::None)
        .set_column_compression(path, Compression::UNCOMPRESSED)
}

/// Long text: in pages in which zstd finds what repeats. No statistics: they would hold the beginnings of texts.
fn text(properties: WriterPropertiesBuilder, name: &str) -> WriterPropertiesBuilder {
    let path = ColumnPath::from(name);
    properties
        .set_column_dictionary_enabled(path.clone(), false)
        .set_column_statistics_enabled(path.clone(), EnabledStatistics::None)
        .set_column_data_page_size_limit(path, TEXT_PAGE_BYTES)
}
