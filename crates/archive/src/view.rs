//! An archive for reading.

use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use event::Timestamp;
use ledger::{StoredContent, StoredRecord, VerifierKey};

use crate::archive::{MANIFEST, at};
use crate::fs;
use crate::manifest::{Dropped, MANIFEST_BYTES_MAX, Manifest, Object, Pin, Purpose, Segment};
use crate::objects::{Digest, ObjectName, Objects};
use crate::segment::{OBJECT_BYTES_MAX, SegmentReader, time_of};
use crate::{ArchiveError, KeyStoreError, SegmentKeys, Span};

/// Most objects that an object store may hold: a manifest of the largest size names fewer.
const OBJECTS_MAX: usize = 4_000_000;

/// An archive for reading, with the keys to its segments or without.
pub struct View {
    pub(crate) dir: PathBuf,
    pub(crate) objects: Arc<dyn Objects>,
    pub(crate) manifest: Manifest,
    keys: Option<Arc<dyn SegmentKeys>>,
    pub(crate) log_keys: Vec<VerifierKey>,
}

/// What a reader comes to.
#[derive(Debug)]
pub enum Item {
    /// A record.
    Record(Box<StoredRecord>),
    /// Records that are not there any more: those of a class within a span.
    Dropped(Dropped),
}

/// Reads records in order over all segments. Memory: one segment of each class of a span.
pub struct Reader<'v> {
    view: &'v View,
    from: u64,
    times: Option<(Timestamp, Timestamp)>,
    /// Spans that are not read yet, newest first.
    spans: Vec<(u64, u64)>,
    dropped: Vec<Dropped>,
    parts: Vec<Peekable<SegmentReader>>,
    failed: bool,
}

impl View {
    /// Opens the archive whose manifest lies in `dir`. Without `keys` it can be checked, not read. `log_keys` are the keys of
    /// the log that may have signed its newest generation, oldest first.
    pub fn open(
        dir: &Path,
        purpose: Purpose,
        objects: Arc<dyn Objects>,
        keys: Option<Arc<dyn SegmentKeys>>,
        log_keys: &[VerifierKey],
        pin: Option<&Pin>,
    ) -> Result<Self, ArchiveError> {
        let path = dir.join(MANIFEST);
        let manifest = match fs::read(&path, MANIFEST_BYTES_MAX).map_err(at(&path))? {
            Some(bytes) => Manifest::open(&bytes, purpose, log_keys)?,
            None => match pin {
                Some(pin) if pin.generation > 0 => return Err(ArchiveError::NoManifest(path, pin.generation)),
                _ => Manifest::empty(purpose),
            },
        };
        if let Some(pin) = pin {
            manifest.check(pin)?;
        }
        Ok(Self { dir: dir.to_owned(), objects, manifest, keys, log_keys: log_keys.to_vec() })
    }

    /// The archive as it is now, when another process has changed it since; `None` when it has not.
    pub(crate) fn newer(&self) -> Result<Option<Self>, ArchiveError> {
        let (objects, keys, purpose) = (self.objects.clone(), self.keys.clone(), self.manifest.purpose());
        let now = Self::open(&self.dir, purpose, objects, keys, &self.log_keys, Some(&self.pin()))?;
        Ok((now.pin() != self.pin()).then_some(now))
    }

    /// What the archive holds.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The state to keep elsewhere, and to give to the next who opens the archive.
    #[must_use]
    pub fn pin(&self) -> Pin {
        self.manifest.pin()
    }

    /// Whether the object store holds the newest generation's copy, and an object of the name of each that the manifest lists.
    pub fn is_complete(&self) -> Result<bool, ArchiveError> {
        if self.pin().generation == 0 {
            return Ok(true);
        }
        let there = self.list()?;
        let is_there = |name: ObjectName| there.binary_search(&name.to_string()).is_ok();
        let mut objects = self.manifest.segments().flat_map(|segment| [&segment.events, &segment.contents]);
        Ok(is_there(ObjectName::Manifest(self.pin().generation))
            && objects.all(|object| is_there(ObjectName::Segment(object.digest))))
    }

    /// All records from `from` on, in order; what was dropped is told where it would come.
    #[must_use]
    pub fn reader(&self, from: u64) -> Reader<'_> {
        self.reader_of(from, None)
    }

    /// Records whose events began within `[from, to]`, by their source's clock.
    #[must_use]
    pub fn range(&self, from: Timestamp, to: Timestamp) -> Reader<'_> {
        self.reader_of(0, Some((from, to)))
    }

    /// The records of a segment.
    pub fn segment(&self, span: &Span) -> Result<Vec<StoredRecord>, ArchiveError> {
        let segment = self.manifest.segment(span).ok_or_else(|| ArchiveError::NoSegment(span.clone()))?;
        Ok(self.read(segment)?.collect::<Result<_, _>>()?)
    }

    /// All contents that lie in a segment: what its events refer to, whoever brought it. A reader gives out those that records
    /// bring; where the record that brought one was dropped with its class, the text is only here.
    pub fn contents(&self, span: &Span) -> Result<Vec<StoredContent>, ArchiveError> {
        let segment = self.manifest.segment(span).ok_or_else(|| ArchiveError::NoSegment(span.clone()))?;
        Ok(self.read(segment)?.into_contents())
    }

    /// The segment that holds a record; `None` where none does.
    pub fn segment_of(&self, seq: u64) -> Result<Option<&Segment>, ArchiveError> {
        for segment in self.manifest.segments().filter(|segment| segment.first <= seq && seq < segment.end) {
            for record in self.read(segment)? {
                if record?.seq.0 == seq {
                    return Ok(Some(segment));
                }
            }
        }
        Ok(None)
    }

    /// The records of a segment and all contents that lie in it, read once.
    pub fn whole(&self, span: &Span) -> Result<(Vec<StoredRecord>, Vec<StoredContent>), ArchiveError> {
        let segment = self.manifest.segment(span).ok_or_else(|| ArchiveError::NoSegment(span.clone()))?;
        let mut reader = self.read(segment)?;
        let records = reader.by_ref().collect::<Result<_, _>>()?;
        Ok((records, reader.into_contents()))
    }

    fn reader_of(&self, from: u64, times: Option<(Timestamp, Timestamp)>) -> Reader<'_> {
        let live = self.manifest.live.keys().map(|span| (span.first, span.end));
        let mut spans: Vec<_> =
            live.chain(self.manifest.dropped.keys().map(|span| (span.first, span.end))).filter(|(_, end)| *end > from).collect();
        spans.sort_unstable_by(|a, b| b.cmp(a));
        spans.dedup();
        Reader { view: self, from, times, spans, dropped: Vec::new(), parts: Vec::new(), failed: false }
    }

    pub(crate) fn keys(&self) -> Result<&dyn SegmentKeys, ArchiveError> {
        let missing = || KeyStoreError("the archive was opened without the keys of its segments".into());
        Ok(self.keys.as_deref().ok_or_else(missing)?)
    }

    pub(crate) fn list(&self) -> Result<Vec<String>, ArchiveError> {
        Ok(self.objects.list(OBJECTS_MAX)?)
    }

    /// Decrypts and opens a segment.
    pub(crate) fn read(&self, segment: &Segment) -> Result<SegmentReader, ArchiveError> {
        let span = segment.span();
        let secret = self.keys()?.get(segment.key)?.ok_or_else(|| ArchiveError::NoKey { span: span.clone() })?;
        let open = |object: &Object| -> Result<Bytes, ArchiveError> {
            let plaintext = secret.open(&self.fetch(segment, object)?, OBJECT_BYTES_MAX)?;
            Ok(Bytes::from_owner(plaintext))
        };
        Ok(SegmentReader::open(span, open(&segment.events)?, open(&segment.contents)?)?)
    }

    /// The bytes of an object, which are those that the manifest names.
    pub(crate) fn fetch(&self, segment: &Segment, object: &Object) -> Result<Bytes, ArchiveError> {
        let name = ObjectName::Segment(object.digest);
        let wrong = |what| ArchiveError::Object { span: segment.span(), name: name.to_string(), what };
        let bytes = self.objects.get(&name, object.version.as_deref(), object.bytes)?.ok_or_else(|| wrong("is missing"))?;
        if bytes.len() as u64 != object.bytes || Digest::of(&bytes) != object.digest {
            return Err(wrong("does not have the digest that is its name"));
        }
        Ok(bytes)
    }
}

impl Reader<'_> {
    fn next_item(&mut self) -> Result<Option<Item>, ArchiveError> {
        loop {
            if let Some(dropped) = self.dropped.pop() {
                return Ok(Some(Item::Dropped(dropped)));
            }
            if let Some(record) = self.next_of_span()? {
                if record.seq.0 < self.from || !self.is_in_time(&record) {
                    continue;
                }
                return Ok(Some(Item::Record(Box::new(record))));
            }
            let Some(span) = self.spans.pop() else { return Ok(None) };
            self.open_span(span)?;
        }
    }

    fn open_span(&mut self, (first, end): (u64, u64)) -> Result<(), ArchiveError> {
        let view = self.view;
        let of_span = |span: &Span| (span.first, span.end) == (first, end);
        let dropped = view.manifest.dropped.iter().filter(|(span, _)| of_span(span)).map(|(_, dropped)| dropped.clone());
        self.dropped = dropped.collect();
        self.parts.clear();
        for (_, live) in view.manifest.live.iter().filter(|(span, _)| of_span(span)) {
            let (from, to) = (live.segment.from, live.segment.to);
            let outside =
                |(wanted_from, wanted_to)| from.is_some_and(|from| from > wanted_to) || to.is_some_and(|to| to < wanted_from);
            if !self.times.is_some_and(outside) {
                self.parts.push(view.read(&live.segment)?.peekable());
            }
        }
        Ok(())
    }

    /// The next record of the span: the one of all classes with the smallest seq.
    fn next_of_span(&mut self) -> Result<Option<StoredRecord>, ArchiveError> {
        let mut smallest: Option<(u64, usize)> = None;
        for (index, part) in self.parts.iter_mut().enumerate() {
            let seq = match part.peek() {
                None => continue,
                // An error comes first.
                Some(Err(_)) => 0,
                Some(Ok(record)) => record.seq.0,
            };
            if smallest.is_none_or(|(least, _)| seq < least) {
                smallest = Some((seq, index));
            }
        }
        let Some((_, index)) = smallest else { return Ok(None) };
        Ok(self.parts[index].next().transpose()?)
    }

    fn is_in_time(&self, record: &StoredRecord) -> bool {
        let Some((from, to)) = self.times else { return true };
        // What tells no time is not left out in silence.
        time_of(record).is_none_or(|time| (from..=to).contains(&time))
    }
}

impl Iterator for Reader<'_> {
    type Item = Result<Item, ArchiveError>;

    /// After an error there is nothing more: records behind it would come out of order.
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.next_item().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("dir", &self.dir).field("objects", &self.objects).finish_non_exhaustive()
    }
}
