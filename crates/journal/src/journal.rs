//! The journal as its callers see it.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use event::KeyId;

use crate::Seq;
use crate::append::{Append, AppendError, Ticket};
use crate::disk::Disk;
use crate::files::Closed;
use crate::frame_keys::FrameKeys;
use crate::options::Options;
use crate::queue::Queue;
use crate::reader::{ReadError, Reader};
use crate::recovery::{OpenError, Recovery, recover};
use crate::segment::DIRECTORY;
use crate::watch::Watch;
use crate::writer::{Shared, Writer};

/// A journal that is open for writing. Clones are handles to the same one; the last one that is dropped closes it.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// use watchkeeper_journal::{Append, DerivedKeys, Journal, Options, Seq};
///
/// let keys = std::sync::Arc::new(DerivedKeys::new(&[7; 32])); // a program has a keyring
/// let (journal, recovery) = Journal::open(dir.path(), Options::default(), keys)?;
/// assert_eq!(recovery.records(), 0);
/// let source = event::Source::new(event::SourcePath::Api, event::Key::of("watchkeeper"));
/// let event = event::Event::new(event::Kind::ModelCall, sanitize::Clean::literal("chat"), source);
/// let ticket = journal.append(vec![Append::of(&event, Vec::new())?])?;
/// assert_eq!(ticket.wait()?[0].seq, Seq(0)); // or `.await`: it is on disk now
/// let mut reader = journal.reader(Seq(0))?;
/// assert!(reader.next()?.is_some());
/// journal.close()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Journal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Shared,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Journal {
    /// Opens the journal of a data directory (its files are in `dir/journal`), makes it if there is none, and mends
    /// what a crash has left. Only one process at a time can have it open. Each of its files is encrypted under a key of
    /// its own, which comes from `keys`.
    pub fn open(dir: &Path, options: Options, keys: Arc<dyn FrameKeys>) -> Result<(Self, Recovery), OpenError> {
        Self::open_on(Disk::default(), dir, options, keys)
    }

    pub(crate) fn open_on(
        disk: Disk,
        dir: &Path,
        options: Options,
        keys: Arc<dyn FrameKeys>,
    ) -> Result<(Self, Recovery), OpenError> {
        let data_dir = dir;
        let dir = data_dir.join(DIRECTORY);
        let recovered = recover(&disk, data_dir, &dir, &options, &*keys)?;
        let recovery = recovered.recovery.clone();
        let closed = Arc::new(Closed::new(recovered.closed.clone()));
        let queue = Arc::new(Queue::new(options.queue_bytes_max, options.group_bytes_max));
        let watch = Arc::new(Watch::new(recovery.first, recovery.end));
        let shared = Shared { disk, dir, keys, queue, watch, closed };
        let writer = Writer::new(shared.clone(), options, recovered);
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| OpenError::Io { what: "start the writer thread of", path: shared.dir.clone(), error })?;
        Ok((Self(Arc::new(Inner { shared, thread: Mutex::new(Some(thread)) })), recovery))
    }

    /// Hands a batch to the writer and returns at once. The ticket answers when every event of the batch is on disk,
    /// in the batch's order.
    ///
    /// A batch is durable as a whole: after a crash either all of it is there or nothing. Where no answer came before
    /// the crash, either is possible; sending it again is safe, because ids that are there are answered as duplicates.
    pub fn append(&self, batch: Vec<Append>) -> Result<Ticket, AppendError> {
        self.0.shared.queue.push(batch)
    }

    /// The durable end: the seq of the next record.
    #[must_use]
    pub fn end(&self) -> Seq {
        self.0.shared.watch.end()
    }

    /// The oldest record that is there; what came before it was retired.
    #[must_use]
    pub fn first(&self) -> Seq {
        self.0.shared.watch.first()
    }

    /// A reader that begins with the record `from` and follows the durable end.
    pub fn reader(&self, from: Seq) -> Result<Reader, ReadError> {
        let Shared { dir, keys, watch, .. } = &self.0.shared;
        Reader::following(dir.clone(), Arc::clone(keys), Arc::clone(watch), from)
    }

    /// The first record of the segment that holds the record `at` (or will hold it), or of the journal where `at` is
    /// retired. A segment brings every content that its events refer to, so a reader that begins there has seen the text of
    /// all that it meets.
    pub fn segment_start(&self, at: Seq) -> std::io::Result<Seq> {
        let starts = crate::segment::list(&self.0.shared.dir)?;
        Ok(starts.into_iter().take_while(|start| *start <= at).last().unwrap_or_default().max(self.first()))
    }

    /// The spans of records that lie in closed files, oldest first, without gaps: what can be archived, and then be
    /// [retired](Self::retire). A file holds every content that its events refer to.
    #[must_use]
    pub fn closed(&self) -> Vec<Range<Seq>> {
        self.0.shared.closed.list().iter().map(|file| file.first..file.end).collect()
    }

    /// Begins a new file, so that every record that is acknowledged now lies in a closed one. Returns the seq with which
    /// the new file begins, when it is durable. Waits for the writer. Where the newest file has no record there is nothing
    /// to do.
    ///
    /// # Errors
    /// As of an append. [`AppendError::DiskFull`] can be tried again.
    pub fn rotate(&self) -> Result<Seq, AppendError> {
        let begun = self.0.shared.queue.rotate()?;
        begun.recv().unwrap_or_else(|_| {
            let reason = self.stopped().unwrap_or_else(|| "the writer has ended".to_owned());
            Err(AppendError::Stopped { reason })
        })
    }

    /// Removes the closed files whose records are all below `before`, oldest first, each durably before the next, and
    /// returns their keys: once they are destroyed, no copy of these files can be read. The newest file always stays, so
    /// that the journal itself tells where it goes on.
    ///
    /// Everything below `before` must be durable elsewhere, and [`Options::first`] must name that place from then on: when
    /// a crash interrupts this, the next open removes what is left over. A reader that stands in a file that goes may read
    /// it to its end, and then gets [`ReadError::Retired`].
    ///
    /// # Errors
    /// When the oldest file cannot be removed. Where others were removed before, their keys are returned instead, and the
    /// next call meets the error.
    pub fn retire(&self, before: Seq) -> std::io::Result<Vec<KeyId>> {
        let Shared { disk, dir, watch, closed, .. } = &self.0.shared;
        closed.retire(disk, dir, watch, before)
    }

    /// Writes what waits, gives back the space that was taken in advance, and ends the writer. Appends after that are
    /// refused. Another call has no effect.
    pub fn close(&self) -> Result<(), AppendError> {
        self.0.close();
        match self.stopped() {
            Some(reason) => Err(AppendError::Stopped { reason }),
            None => Ok(()),
        }
    }

    /// Why the writer has stopped, when it has.
    #[must_use]
    pub fn stopped(&self) -> Option<String> {
        self.0.shared.queue.stopped()
    }
}

impl Inner {
    fn close(&self) {
        self.shared.queue.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the journal's writer thread has panicked");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}
