//! Reading the journal in order.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::fault::{Fault, Wrong};
use crate::format::{BLOCK_BYTES, padded};
use crate::frame_keys::FrameKeys;
use crate::segment::{DIRECTORY, Frame, Segment, list};
use crate::watch::Watch;
use crate::{Record, Seq};

/// Reads records in order, from a place on.
///
/// A reader of a [`Journal`](crate::Journal) follows its durable end and never sees a record that is not on disk.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    keys: Arc<dyn FrameKeys>,
    /// `None` for an offline reader.
    watch: Option<Arc<Watch>>,
    next: Seq,
    place: Option<Place>,
    ended: bool,
}

/// Why a reader cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The place is behind the end of the journal.
    #[error(
        "record {} is asked for, and the journal ends before record {}; the cursor belongs to another journal, or the journal has lost records: run `watchkeeper verify`",
        from.0, end.0
    )]
    BehindEnd {
        /// What was asked for.
        from: Seq,
        /// The end.
        end: Seq,
    },
    /// The place is before the start of the journal.
    #[error("record {} was retired from the journal, which begins with record {} now; read it from the archive", from.0, first.0)]
    Retired {
        /// What was asked for.
        from: Seq,
        /// Where the journal begins.
        first: Seq,
    },
    /// The files are not what they should be.
    #[error("journal: {0}")]
    Fault(#[from] Fault),
}

/// An open segment, the frame in memory and the place of the next one.
#[derive(Debug)]
struct Place {
    segment: Segment,
    frame: Frame,
    /// The record of the frame that comes next, and where it begins.
    taken: usize,
    body_at: usize,
    /// The frame after this one.
    offset: u64,
    offset_seq: Seq,
}

impl Reader {
    /// A reader of a data directory that no writer needs to have open. It goes as far as there are whole frames, and
    /// then stays at the end. Beside a running writer it may see records that are not acknowledged yet.
    pub fn offline(dir: &Path, keys: Arc<dyn FrameKeys>, from: Seq) -> Result<Self, ReadError> {
        let dir = dir.join(DIRECTORY);
        list(&dir).map_err(|error| unreadable(&dir, error))?;
        Ok(Self { dir, keys, watch: None, next: from, place: None, ended: false })
    }

    pub(crate) fn following(dir: PathBuf, keys: Arc<dyn FrameKeys>, watch: Arc<Watch>, from: Seq) -> Result<Self, ReadError> {
        let end = watch.end();
        if from > end {
            return Err(ReadError::BehindEnd { from, end });
        }
        if from < watch.first() {
            return Err(ReadError::Retired { from, first: watch.first() });
        }
        Ok(Self { dir, keys, watch: Some(watch), next: from, place: None, ended: false })
    }

    /// The next record, or `None` at the durable end.
    #[expect(clippy::should_implement_trait, reason = "a reader goes on after it has said None")]
    pub fn next(&mut self) -> Result<Option<Record>, ReadError> {
        if self.ended || self.watch.as_ref().is_some_and(|watch| self.next >= watch.end()) {
            return Ok(None);
        }
        loop {
            if let Some(place) = &mut self.place
                && let Some(entry) = place.frame.entry(place.taken)
            {
                let record = place.frame.decode(&place.segment, self.next, place.body_at, entry)?;
                place.taken += 1;
                place.body_at += entry.bytes as usize;
                self.next = Seq(self.next.0.saturating_add(1));
                return Ok(Some(record));
            }
            if !self.load().map_err(|error| self.if_retired(error))? {
                self.ended = true;
                return Ok(None);
            }
        }
    }

    /// Waits until there is more to read, or for `timeout`. Returns whether there is. An offline reader does not wait.
    pub fn wait(&mut self, timeout: Duration) -> bool {
        match &self.watch {
            Some(watch) => watch.wait(self.next, timeout),
            None => !self.ended,
        }
    }

    /// The seq of the record that [`next`](Self::next) will return.
    #[must_use]
    pub fn position(&self) -> Seq {
        self.next
    }

    /// Whether everything has been read and nothing will come any more, because the journal is closed or has stopped.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.ended || self.watch.as_ref().is_some_and(|watch| watch.is_finished() && self.next >= watch.end())
    }

    /// Gets the frame that holds the next record. False at the end of an offline journal.
    fn load(&mut self) -> Result<bool, ReadError> {
        let offline = self.watch.is_none();
        let mut place = match self.place.take() {
            Some(place) => place,
            None => match self.locate()? {
                Some(segment) => Place::start_of(segment),
                None => return Ok(false),
            },
        };
        loop {
            let seq = place.offset_seq;
            match place.segment.frame_header(place.offset, seq) {
                Ok(Some(header)) if header.end() <= self.next => place.skip(padded(header.bytes()), header.end()),
                Ok(Some(header)) => {
                    if let Err(fault) = place.segment.frame(place.offset, &header, &mut place.frame) {
                        return self.at_fault(&place.segment, place.offset, seq, fault);
                    }
                    place.skip(padded(header.bytes()), header.end());
                    (place.taken, place.body_at) = (0, 0);
                    while place.frame.first.0 + (place.taken as u64) < self.next.0
                        && let Some(entry) = place.frame.entry(place.taken)
                    {
                        place.taken += 1;
                        place.body_at += entry.bytes as usize;
                    }
                    self.place = Some(place);
                    return Ok(true);
                }
                Ok(None) => match Segment::open(&self.dir, seq, &*self.keys) {
                    Ok(segment) if segment.header.marker != place.segment.header.marker => place = Place::start_of(segment),
                    Err(fault) if !matches!(fault.wrong, Wrong::Missing) => return Err(fault.into()),
                    // The same segment again (it has no record), or none: this is the last one.
                    _ if offline => {
                        place.segment.tail(place.offset, seq, None)?;
                        return Ok(false);
                    }
                    _ => return Err(place.segment.fault(place.offset, Some(seq), Wrong::Missing).into()),
                },
                Err(fault) => return self.at_fault(&place.segment, place.offset, seq, fault),
            }
        }
    }

    /// A file that cannot be read because it was retired is no fault.
    fn if_retired(&self, error: ReadError) -> ReadError {
        match self.watch.as_ref().map(|watch| watch.first()) {
            Some(first) if self.next < first => ReadError::Retired { from: self.next, first },
            _ => error,
        }
    }

    /// A torn end is an end to an offline reader; everything else is an error.
    fn at_fault(&self, segment: &Segment, offset: u64, seq: Seq, fault: Fault) -> Result<bool, ReadError> {
        let last = || list(&self.dir).is_ok_and(|segments| segments.last() == Some(&segment.header.first));
        if self.watch.is_some() || !last() {
            return Err(fault.into());
        }
        segment.tail(offset, seq, Some(fault))?;
        Ok(false)
    }

    /// Opens the segment that holds the next record.
    fn locate(&self) -> Result<Option<Segment>, ReadError> {
        let segments = list(&self.dir).map_err(|error| unreadable(&self.dir, error))?;
        let at = segments.partition_point(|first| *first <= self.next);
        match (at.checked_sub(1).and_then(|at| segments.get(at)), segments.first()) {
            (Some(first), _) => Ok(Some(Segment::open(&self.dir, *first, &*self.keys)?)),
            (None, Some(first)) => {
                let wrong = Wrong::Gap { expected: self.next.0, found: first.0 };
                Err(Fault { file: self.dir.clone(), offset: 0, seq: Some(self.next), wrong }.into())
            }
            (None, None) if self.watch.is_some() => {
                Err(Fault { file: self.dir.clone(), offset: 0, seq: Some(self.next), wrong: Wrong::Missing }.into())
            }
            (None, None) => Ok(None),
        }
    }
}

impl Place {
    fn start_of(segment: Segment) -> Self {
        let offset_seq = segment.header.first;
        Self { segment, frame: Frame::default(), taken: 0, body_at: 0, offset: BLOCK_BYTES, offset_seq }
    }

    fn skip(&mut self, bytes: u64, seq: Seq) {
        self.offset += bytes;
        self.offset_seq = seq;
    }
}

fn unreadable(dir: &Path, error: std::io::Error) -> Fault {
    Fault { file: dir.to_owned(), offset: 0, seq: None, wrong: error.into() }
}
