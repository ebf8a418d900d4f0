//! Records to objects.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, FixedSizeBinaryBuilder, ListBuilder, StringBuilder, UInt32Builder, UInt64Builder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, SchemaRef};
use event::{ContentId, ContentRef, RecordedEvent, SubjectId, Timestamp};
use journal::{ContentEntry, Record};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use sanitize::Clean;

use super::{
    BLIND, COMMITMENT_KEY, EVENT_JSON, FORMAT, PIECES, ROW, SALT, SEGMENT_BYTES_MAX, SEGMENT_RECORDS_MAX, SEQ, SUBJECT,
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
pub(crate) type ContentSource<'a> = dyn Fn(&ContentRef) -> Result<Option<ContentEntry>, SegmentError> + 'a;

/// Gathers the records of a span and class.
pub(crate) struct SegmentWriter {
    span: Span,
    events: Table<Events>,
    contents: Table<Contents>,
    /// Where each content stands that is in already.
    rows: HashMap<(ContentId, SubjectId), u32>,
    summary: Summary,
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
            summary: Summary::default(),
            span,
        })
    }

    /// Adds the next record. Contents that it refers to and nothing brought into the segment so far come from `source`.
    pub(crate) fn push(&mut self, record: &Record, source: &ContentSource<'_>) -> Result<(), SegmentError> {
        let seq = record.seq.0;
        if !(self.span.first..self.span.end).contains(&seq) || self.summary.last.is_some_and(|last| last >= seq) {
            return Err(SegmentError::Order { seq });
        }
        let json = std::str::from_utf8(&record.event_json).map_err(|_| SegmentError::NotText { seq })?;
        let event: Option<RecordedEvent<Clean>> = serde_json::from_str(json).ok();
        let mut brings = Vec::with_capacity(record.contents.len());
        for content in &record.contents {
            if !content.is_intact() {
                return Err(SegmentError::ContentId { seq, id: content.id.to_string() });
            }
            brings.push(self.row_of(content)?);
        }
        let (mut pieces, mut rows) = (Vec::new(), HashMap::new());
        for piece in event.iter().flat_map(|event| &event.pieces) {
            let row = self.row_of_reference(&piece.content, seq, source)?;
            pieces.push(row);
            rows.extend(row.map(|row| (piece.content.id, row)));
        }
        self.count(record, event.as_ref())?;
        let short = refs::shorten(json, &rows);
        self.events.rows.push(record, short.as_deref().ok_or(json), event.as_ref(), &pieces, &brings)?;
        self.events.added(short.as_ref().map_or(json.len(), String::len))
    }

    /// How many records it has.
    pub(crate) fn records(&self) -> u64 {
        self.summary.records
    }

    /// The encoded objects.
    pub(crate) fn finish(self) -> Result<SegmentObjects, SegmentError> {
        Ok(SegmentObjects { events: self.events.finish()?, contents: self.contents.finish()?, summary: self.summary })
    }

    fn row_of(&mut self, content: &ContentEntry) -> Result<u32, SegmentError> {
        let next = u32::try_from(self.rows.len()).map_err(|_| self.too_large())?;
        let row = *self.rows.entry((content.id, content.subject)).or_insert(next);
        if row == next {
            self.summary.bytes += content.text.len() as u64;
            self.contents.rows.push(row, content)?;
            self.contents.added(content.text.len())?;
        }
        Ok(row)
    }

    fn row_of_reference(
        &mut self,
        reference: &ContentRef,
        seq: u64,
        source: &ContentSource<'_>,
    ) -> Result<Option<u32>, SegmentError> {
        if let Some(row) = self.rows.get(&(reference.id, reference.subject)) {
            return Ok(Some(*row));
        }
        match source(reference)? {
            Some(content) if content.reference() == *reference && content.is_intact() => self.row_of(&content).map(Some),
            Some(content) => Err(SegmentError::ContentId { seq, id: content.id.to_string() }),
            None => {
                self.summary.missing_contents += 1;
                Ok(None)
            }
        }
    }

    fn count(&mut self, record: &Record, event: Option<&RecordedEvent<Clean>>) -> Result<(), SegmentError> {
        let summary = &mut self.summary;
        summary.records += 1;
        summary.last = Some(record.seq.0);
        summary.bytes += record.event_json.len() as u64;
        if let Some(time) = event.map(|event| event.time) {
            let (from, to) = summary.times.unwrap_or((time, time));
            summary.times = Some((from.min(time), to.max(time)));
        }
        if summary.records > SEGMENT_RECORDS_MAX || summary.bytes > SEGMENT_BYTES_MAX { Err(self.too_large()) } else { Ok(()) }
    }

    fn too_large(&self) -> SegmentError {
        SegmentError::TooLarge { first: self.span.first, end: self.span.end }
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
        }
    }
}

impl Events {
    /// `json` is `Err` where it stands as the event has it.
    fn push(
        &mut self,
        record: &Record,
        json: Result<&str, &str>,
        event: Option<&RecordedEvent<Clean>>,
        pieces: &[Option<u32>],
        brings: &[u32],
    ) -> Result<(), SegmentError> {
        self.seq.append_value(record.seq.0);
        self.columns.push(event);
        self.pieces.append_value(pieces.iter().copied());
        self.brings.append_value(brings.iter().map(|row| Some(*row)));
        self.commitment_key.append_value(record.commitment_key)?;
        self.blind.append_value(record.blind)?;
        self.event_json.append_value(json.unwrap_or_else(|verbatim| verbatim));
        self.verbatim.append_value(json.is_err());
        Ok(())
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
        arrays
    }
}

struct Contents {
    row: UInt32Builder,
    subject: FixedSizeBinaryBuilder,
    salt: FixedSizeBinaryBuilder,
    text: StringBuilder,
}

impl Default for Contents {
    fn default() -> Self {
        Self {
            row: UInt32Builder::new(),
            subject: FixedSizeBinaryBuilder::new(16),
            salt: FixedSizeBinaryBuilder::new(16),
            text: StringBuilder::new(),
        }
    }
}

impl Contents {
    fn push(&mut self, row: u32, content: &ContentEntry) -> Result<(), SegmentError> {
        self.row.append_value(row);
        self.subject.append_value(content.subject.as_bytes())?;
        self.salt.append_value(content.salt)?;
        self.text.append_value(&*content.text);
        Ok(())
    }
}

impl Rows for Contents {
    fn take(&mut self) -> Vec<ArrayRef> {
        vec![
            Arc::new(self.row.finish()),
            Arc::new(self.subject.finish()),
            Arc::new(self.salt.finish()),
            Arc::new(self.text.finish()),
        ]
    }
}

fn events_properties() -> WriterPropertiesBuilder {
    let properties = random_bytes(random_bytes(base(), COMMITMENT_KEY), BLIND);
    let properties = text(ascending(properties, SEQ), EVENT_JSON);
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
    text(random_bytes(ascending(base(), ROW), SALT), TEXT).set_column_statistics_enabled(subject, EnabledStatistics::None)
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
