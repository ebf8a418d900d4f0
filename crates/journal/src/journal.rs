//! The journal as its callers see it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::Seq;
use crate::append::{Append, AppendError, Ticket};
use crate::disk::Disk;
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
/// assert_eq!(recovery.records, 0);
/// let id = event::EventId::random();
/// let event_json = format!(r#"{{"id":"{id}"}}"#).into_bytes();
/// let ticket = journal.append(vec![Append { id, event_json, contents: Vec::new() }])?;
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
    dir: PathBuf,
    keys: Arc<dyn FrameKeys>,
    queue: Arc<Queue>,
    watch: Arc<Watch>,
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
        let queue = Arc::new(Queue::new(options.queue_bytes_max, options.group_bytes_max));
        let watch = Arc::new(Watch::new(Seq(recovery.records)));
        let place =
            Shared { disk, dir: dir.clone(), keys: Arc::clone(&keys), queue: Arc::clone(&queue), watch: Arc::clone(&watch) };
        let writer = Writer::new(place, options, recovered);
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| OpenError::Io { what: "start the writer thread of", path: dir.clone(), error })?;
        Ok((Self(Arc::new(Inner { dir, keys, queue, watch, thread: Mutex::new(Some(thread)) })), recovery))
    }

    /// Hands a batch to the writer and returns at once. The ticket answers when every event of the batch is on disk,
    /// in the batch's order.
    ///
    /// A batch is durable as a whole: after a crash either all of it is there or nothing. Where no answer came before
    /// the crash, either is possible; sending it again is safe, because ids that are there are answered as duplicates.
    pub fn append(&self, batch: Vec<Append>) -> Result<Ticket, AppendError> {
        self.0.queue.push(batch)
    }

    /// The durable end: the number of records on disk, which is the seq of the next one.
    #[must_use]
    pub fn end(&self) -> Seq {
        self.0.watch.end()
    }

    /// A reader that begins with the record `from` and follows the durable end.
    pub fn reader(&self, from: Seq) -> Result<Reader, ReadError> {
        Reader::following(self.0.dir.clone(), Arc::clone(&self.0.keys), Arc::clone(&self.0.watch), from)
    }

    /// The first record of the segment that holds the record `at` (or will hold it). A segment brings every content that its
    /// events refer to, so a reader that begins there has seen the text of all that it meets.
    pub fn segment_start(&self, at: Seq) -> std::io::Result<Seq> {
        let starts = crate::segment::list(&self.0.dir)?;
        Ok(starts.into_iter().take_while(|start| *start <= at).last().unwrap_or_default())
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
        self.0.queue.stopped()
    }
}

impl Inner {
    fn close(&self) {
        self.queue.close();
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
