//! The spine: every record from the first to the newest, wherever it lies now.
//!
//! Older records lie in the archive, newer ones in the journal. Consumers read through here, so that they can begin anywhere
//! however much of the journal has been retired (invariant I3).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use event::Timestamp;
use journal::{Journal, ReadError, Seq};
use ledger::{StoredContent, StoredRecord};

use super::cold::{ArchivedSpan, Cold, ColdError, Step, steps};

/// The journal with the archive before it.
#[derive(Clone)]
pub(crate) struct Spine {
    pub(crate) journal: Journal,
    pub(crate) cold: Arc<Cold>,
}

/// Reads along the spine. From the archive it holds one span at a time.
pub(crate) struct SpineReader {
    spine: Spine,
    next: Seq,
    held: VecDeque<Step>,
    live: Option<journal::Reader>,
}

/// Why the spine cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SpineError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] ReadError),
    /// The archive.
    #[error(transparent)]
    Cold(#[from] ColdError),
    /// A record that lies nowhere.
    #[error("record {0} is neither in the archive nor in the journal; `watchkeeper verify` says what is wrong")]
    Lost(u64),
    /// The place in the journal.
    #[error("journal: {0}")]
    Io(#[from] std::io::Error),
}

impl Spine {
    /// A reader that begins with the record `from`.
    pub(crate) fn reader(&self, from: Seq) -> SpineReader {
        SpineReader { spine: self.clone(), next: from, held: VecDeque::new(), live: None }
    }

    /// A reader that begins early enough to have met every content to which the record `at` refers.
    pub(crate) fn reader_with_contents(&self, at: Seq) -> Result<SpineReader, SpineError> {
        let first = self.journal.first();
        let start = if at < first { self.span_start(at) } else { self.journal.segment_start(at)? };
        Ok(self.reader(start))
    }

    /// The records, as they are stored, of the archived span or the journal's file that holds `at`, with all that `at` can refer
    /// to; from the journal not beyond `last`. With texts whose bringing record was dropped. And the record with which what comes behind begins.
    pub(crate) fn stretch(&self, at: Seq, last: Seq) -> Result<(Vec<StoredRecord>, Vec<StoredContent>, Seq), SpineError> {
        if at < self.journal.first()
            && let Some(ArchivedSpan { records, contents, end }) = self.cold.span(self.span_start(at))?
        {
            if end <= at {
                return Err(SpineError::Lost(at.0));
            }
            return Ok((records, contents.into_values().collect(), end));
        }
        let end = self.journal.closed().iter().find(|file| file.contains(&at)).map_or(self.journal.end(), |file| file.end);
        let mut reader = self.journal.reader(self.journal.segment_start(at)?)?;
        let mut records = Vec::new();
        while let Some(record) = reader.next()?.filter(|record| record.seq < end && record.seq <= last) {
            records.push(StoredRecord::whole(record));
        }
        Ok((records, Vec::new(), end.max(Seq(at.0 + 1))))
    }

    /// A record from which on every record of the day of `time`, and of the days after it, comes; and, but for the first of
    /// all, one that was received on an earlier day.
    pub(crate) fn start_of_day(&self, time: Timestamp) -> Result<Seq, SpineError> {
        let day = store::day_of(time.unix_ns());
        let mut starts: Vec<Seq> = {
            let archive = self.cold.lock();
            let mut starts: Vec<Seq> = archive.view().manifest().segments().map(|segment| Seq(segment.first)).collect();
            starts.sort_unstable();
            starts.dedup();
            starts
        };
        let mut at = self.journal.first();
        loop {
            if self.received(at)?.is_some_and(|received| store::day_of(received.unix_ns()) < day) {
                return Ok(at);
            }
            match starts.pop() {
                Some(start) => at = start,
                None => return Ok(Seq(0)),
            }
        }
    }

    /// A record from which on everything comes that was received at `from` or later: the begin of an archived span.
    pub(crate) fn received_from(&self, from: Timestamp) -> Seq {
        let archive = self.cold.lock();
        // A segment is written after the last of its records was received.
        let segments = archive.view().manifest().segments().filter(|segment| segment.sealed_at >= from);
        segments.map(|segment| Seq(segment.first)).min().unwrap_or_else(|| self.journal.first())
    }

    /// When the archive was written to last.
    pub(crate) fn sealed(&self) -> Option<Timestamp> {
        self.cold.lock().view().manifest().segments().map(|segment| segment.sealed_at).max()
    }

    /// When the first record at or behind a place was received.
    fn received(&self, at: Seq) -> Result<Option<Timestamp>, SpineError> {
        let mut reader = self.reader(at);
        while let Some(step) = reader.next()? {
            if let Step::Record(record) = step {
                return Ok(record.event().ok().map(|event| event.observed));
            }
        }
        Ok(None)
    }

    /// The first record of the archived span that holds `at`: a span has every content that its events refer to.
    fn span_start(&self, at: Seq) -> Seq {
        let archive = self.cold.lock();
        let manifest = archive.view().manifest();
        let live = manifest.segments().map(|segment| segment.first);
        let start = live.chain(manifest.dropped().map(|dropped| dropped.first)).filter(|first| *first <= at.0).max();
        Seq(start.unwrap_or(0))
    }
}

impl SpineReader {
    /// The next step; `None` at the durable end of the journal.
    pub(crate) fn next(&mut self) -> Result<Option<Step>, SpineError> {
        loop {
            if let Some(step) = self.held.pop_front() {
                self.next = match &step {
                    Step::Record(record) => Seq(record.seq.0 + 1),
                    Step::Skip(to) => *to,
                };
                return Ok(Some(step));
            }
            if let Some(live) = &mut self.live {
                match live.next() {
                    Ok(record) => {
                        if let Some(record) = &record {
                            self.next = Seq(record.seq.0 + 1);
                        }
                        return Ok(record.map(Step::Record));
                    }
                    // Its file was archived meanwhile: go on there.
                    Err(ReadError::Retired { .. }) => self.live = None,
                    Err(error) => return Err(error.into()),
                }
            }
            match self.spine.cold.span(self.next)? {
                Some(span) if self.next < self.spine.journal.first() => self.held.extend(steps(self.next, span)),
                _ => self.live = Some(self.spine.journal.reader(self.next)?),
            }
        }
    }

    /// Waits for a new record.
    pub(crate) fn wait(&mut self, patience: Duration) {
        if let Some(live) = &mut self.live {
            live.wait(patience);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use event::Kind;

    use super::*;
    use crate::node::{Node, NodeSettings, internal};
    use crate::root_key::RootKeyPlace;

    #[test]
    fn a_directory_whose_every_record_is_archived_opens_again() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let root = RootKeyPlace::new(Some(&dir.path().join("root.key"))).unwrap();
        let node = Node::open(&data, &root, &NodeSettings::default()).unwrap();
        node.pipeline().record_blocking(vec![internal(Kind::Admin, "server.start")], &|| true).unwrap();
        node.close().unwrap();
        let settings = NodeSettings { archive_after: Some(Duration::ZERO), ..NodeSettings::default() };
        let node = Node::open(&data, &root, &settings).unwrap();
        let began = Instant::now();
        while node.journal().first() < node.journal().end() {
            assert!(began.elapsed() < Duration::from_secs(60), "{:?}", node.stopped());
            std::thread::sleep(Duration::from_millis(10));
        }
        node.close().unwrap();
        let node = Node::open(&data, &root, &NodeSettings::default()).unwrap();
        assert!(node.newest_at_open().is_some());
        node.close().unwrap();
    }
}
