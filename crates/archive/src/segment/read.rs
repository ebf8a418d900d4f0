//! Objects to records.

use std::panic::AssertUnwindSafe;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{UInt32Type, UInt64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use bytes::Bytes;
use event::SubjectId;
use journal::{ContentEntry, Record, Seq};
use ledger::{RedactedRecord, StoredBody, StoredContent, StoredRecord};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::{KeyValue, ParquetMetaData};
use sanitize::Clean;

use super::{
    BLIND, BRINGS, COMMITMENT_KEY, EVENT_JSON, FORMAT, Part, REDACTED, ROW, SALT, SEGMENT_BYTES_MAX, SEGMENT_RECORDS_MAX, SEQ,
    SUBJECT, SegmentError, Span, TEXT, VERBATIM, contents_schema, events_schema, refs,
};

/// Records that are decoded at once: what a reader holds beside the texts.
const BATCH_ROWS: usize = 512;

/// Most contents of a segment that a reader takes: each record can bring many, and all are in memory.
const CONTENTS_MAX: i64 = 1 << 24;

/// Reads the records of a segment in their order.
pub struct SegmentReader {
    span: Span,
    contents: Vec<StoredContent>,
    /// `None` behind the end.
    events: Option<ParquetRecordBatchReader>,
    batch: Option<(RecordBatch, usize)>,
    last: Option<u64>,
}

impl SegmentReader {
    /// Opens the two objects of a segment, decrypted; the contents are read at once.
    pub fn open(span: Span, events: Bytes, contents: Bytes) -> Result<Self, SegmentError> {
        let contents = guarded(Part::Contents, || read_contents(&span, contents))?;
        let columns = [SEQ, BRINGS, COMMITMENT_KEY, BLIND, EVENT_JSON, VERBATIM, REDACTED];
        let events = Some(guarded(Part::Events, || open(Part::Events, &span, events, &columns))?);
        Ok(Self { span, contents, events, batch: None, last: None })
    }

    /// The contents of the segment: all that its events refer to.
    #[must_use]
    pub fn contents(&self) -> &[StoredContent] {
        &self.contents
    }

    /// The contents alone.
    #[must_use]
    pub fn into_contents(self) -> Vec<StoredContent> {
        self.contents
    }

    fn next_record(&mut self) -> Result<Option<StoredRecord>, SegmentError> {
        loop {
            if let Some((batch, row)) = &mut self.batch
                && *row < batch.num_rows()
            {
                let record = record_of(batch, *row, &self.contents)?;
                *row += 1;
                let seq = record.seq.0;
                if !(self.span.first..self.span.end).contains(&seq) || self.last.is_some_and(|last| last >= seq) {
                    return Err(malformed(Part::Events, format!("record {seq} is out of order")));
                }
                self.last = Some(seq);
                return Ok(Some(record));
            }
            let Some(events) = &mut self.events else { return Ok(None) };
            match guarded(Part::Events, || events.next().transpose().map_err(SegmentError::from)) {
                Ok(Some(batch)) => self.batch = Some((batch, 0)),
                other => {
                    // Behind an error nothing can be trusted to be in its place.
                    self.events = None;
                    return other.map(|_| None);
                }
            }
        }
    }
}

impl Iterator for SegmentReader {
    type Item = Result<StoredRecord, SegmentError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_record().transpose()
    }
}

fn record_of(batch: &RecordBatch, row: usize, contents: &[StoredContent]) -> Result<StoredRecord, SegmentError> {
    let wrong = |what: &str| malformed(Part::Events, format!("{what} in row {row} of a batch"));
    let column = |name| column(Part::Events, batch, name);
    let seq = Seq(column(SEQ)?.as_primitive_opt::<UInt64Type>().ok_or_else(|| wrong("no seq"))?.value(row));
    let brings = column(BRINGS)?.as_list_opt::<i32>().ok_or_else(|| wrong("no list"))?.value(row);
    let brings = brings.as_primitive_opt::<UInt32Type>().ok_or_else(|| wrong("no row numbers"))?;
    let contents_of_it = brings
        .iter()
        .map(|at| at.and_then(|at| contents.get(at as usize)).cloned().ok_or_else(|| wrong("a content that is not there")));
    if let Some(redacted) = text(column(REDACTED)?, row) {
        let mut redacted: RedactedRecord =
            serde_json::from_str(redacted).map_err(|error| wrong(&format!("a redacted record that cannot be read: {error};")))?;
        redacted.contents = contents_of_it.collect::<Result<_, _>>()?;
        return Ok(StoredRecord { seq, body: StoredBody::Redacted(redacted) });
    }
    let json = text(column(EVENT_JSON)?, row).ok_or_else(|| wrong("no event"))?;
    let is_verbatim = column(VERBATIM)?.as_boolean_opt().ok_or_else(|| wrong("no mark"))?.value(row);
    let event_json = if is_verbatim {
        json.as_bytes().to_vec()
    } else {
        let id_of = |row: u32| contents.get(row as usize).map(StoredContent::id);
        refs::expand(json, id_of).ok_or_else(|| wrong("a content that is not there"))?.into_bytes()
    };
    let contents = contents_of_it
        .map(|content| match content? {
            StoredContent::Whole(entry) => Ok(entry),
            _ => Err(wrong("a whole record that brings a redacted content")),
        })
        .collect::<Result<_, _>>()?;
    Ok(StoredRecord::whole(Record {
        seq,
        commitment_key: fixed(column(COMMITMENT_KEY)?, row).ok_or_else(|| wrong("no commitment key"))?,
        blind: fixed(column(BLIND)?, row).ok_or_else(|| wrong("no blind"))?,
        event_json,
        contents,
    }))
}

fn read_contents(span: &Span, object: Bytes) -> Result<Vec<StoredContent>, SegmentError> {
    let mut contents = Vec::new();
    for batch in open(Part::Contents, span, object, &[ROW, SUBJECT, SALT, TEXT, REDACTED])? {
        let batch = batch?;
        let column = |name| column(Part::Contents, &batch, name);
        let (rows, subjects, salts, texts) = (column(ROW)?, column(SUBJECT)?, column(SALT)?, column(TEXT)?);
        let redacted = column(REDACTED)?;
        for row in 0..batch.num_rows() {
            let wrong = |what: &str| malformed(Part::Contents, format!("row {} {what}", contents.len()));
            let number = rows.as_primitive_opt::<UInt32Type>().map(|rows| rows.value(row));
            if number.map(|number| number as usize) != Some(contents.len()) {
                return Err(wrong("has another number"));
            }
            if let Some(json) = text(redacted, row) {
                let left = serde_json::from_str(json).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
                contents.push(left);
                continue;
            }
            let subject = fixed(subjects, row).and_then(SubjectId::from_bytes).ok_or_else(|| wrong("has no subject"))?;
            let salt = fixed(salts, row).ok_or_else(|| wrong("has no salt"))?;
            let text = text(texts, row).ok_or_else(|| wrong("has no text"))?;
            contents.push(StoredContent::Whole(ContentEntry::with_salt(subject, salt, Clean::recorded(text))));
        }
    }
    Ok(contents)
}

/// Runs the Parquet library, which panics on some bytes that it did not write, and makes that an error. Only who has the
/// segment's key can give it such bytes.
fn guarded<T>(part: Part, read: impl FnOnce() -> Result<T, SegmentError>) -> Result<T, SegmentError> {
    std::panic::catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(malformed(part, "makes the Parquet library fail".to_owned())))
}

/// Opens an object and holds it to its limits before anything of it is decoded.
fn open(part: Part, span: &Span, object: Bytes, columns: &[&str]) -> Result<ParquetRecordBatchReader, SegmentError> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(object, options)?;
    check(part, span, builder.metadata())?;
    let expected = match part {
        Part::Events => events_schema(),
        Part::Contents => contents_schema(),
    };
    for name in columns {
        let found = builder.schema().field_with_name(name).map(|field| field.data_type().clone());
        let wanted = expected.field_with_name(name).map(|field| field.data_type().clone());
        if !matches!((&found, &wanted), (Ok(found), Ok(wanted)) if same_type(found, wanted)) {
            return Err(malformed(part, format!("column {name} is missing or of another type")));
        }
    }
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    Ok(builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()?)
}

fn check(part: Part, span: &Span, metadata: &ParquetMetaData) -> Result<(), SegmentError> {
    let rows_max = if part == Part::Events { SEGMENT_RECORDS_MAX.cast_signed() } else { CONTENTS_MAX };
    let rows: i64 = metadata.row_groups().iter().map(|group| group.num_rows().max(0)).fold(0, i64::saturating_add);
    let bytes: i64 = metadata.row_groups().iter().map(|group| group.total_byte_size().max(0)).fold(0, i64::saturating_add);
    // The columns beside the text add to what the text's limit allows.
    if rows > rows_max || bytes.unsigned_abs() > SEGMENT_BYTES_MAX.saturating_mul(2) {
        return Err(malformed(part, "claims to hold more than a segment may".to_owned()));
    }
    let about = metadata.file_metadata().key_value_metadata();
    let value = |key: &str| {
        let found = about.into_iter().flatten().find(|KeyValue { key: name, .. }| name == key);
        found.and_then(|found| found.value.as_deref()).unwrap_or_default().to_owned()
    };
    let expected = [
        ("watchkeeper.format", FORMAT.to_owned()),
        ("watchkeeper.first", span.first.to_string()),
        ("watchkeeper.end", span.end.to_string()),
        ("watchkeeper.class", span.class.to_string()),
    ];
    match expected.into_iter().find(|(key, expected)| value(key) != *expected) {
        Some((key, expected)) => Err(malformed(part, format!("{key} is {:?}, it should be {expected:?}", value(key)))),
        None => Ok(()),
    }
}

fn same_type(found: &DataType, wanted: &DataType) -> bool {
    match (found, wanted) {
        (DataType::List(found), DataType::List(wanted)) => found.data_type() == wanted.data_type(),
        _ => found == wanted,
    }
}

fn column<'b>(part: Part, batch: &'b RecordBatch, name: &str) -> Result<&'b dyn Array, SegmentError> {
    let column = batch.column_by_name(name).ok_or_else(|| malformed(part, format!("column {name} is missing")))?;
    Ok(column.as_ref())
}

fn fixed<const N: usize>(column: &dyn Array, row: usize) -> Option<[u8; N]> {
    let column = column.as_fixed_size_binary_opt()?;
    if column.is_null(row) { None } else { column.value(row).try_into().ok() }
}

fn text(column: &dyn Array, row: usize) -> Option<&str> {
    let column = column.as_string_opt::<i32>()?;
    (!column.is_null(row)).then(|| column.value(row))
}

fn malformed(part: Part, what: String) -> SegmentError {
    SegmentError::Malformed { part, what }
}
