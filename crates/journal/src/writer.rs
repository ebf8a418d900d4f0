//! The writer thread: takes a group, writes it as one frame, makes it durable, answers.
//!
//! For each group: one pass over the ids (known or new), one call for randomness, one pass that encodes into one
//! buffer, two seals, two checksums, one `pwrite`, one `fdatasync`. On the machine of `docs/reference` the last takes 0.15 ms for 64 KB
//! and everything before it less than that, so the disk is the limit.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use aws_lc_rs::rand;
use event::{ContentId, KeyId};

use crate::append::{Answer, AppendError, Appended};
use crate::disk::Disk;
use crate::files::{Closed, ClosedFile};
use crate::format::{BLOCK_BYTES, FRAME_HEADER_BYTES, FrameHeader, INDEX_ENTRY_BYTES, IndexEntry, SegmentHeader, padded};
use crate::frame_keys::{FrameKey, FrameKeys, Part, Sealer, TAG_BYTES};
use crate::options::Options;
use crate::queue::{Group, Queue, Rotation, Work};
use crate::recent::Recent;
use crate::record;
use crate::recovery::{Recovered, id_key, remove_next};
use crate::segment::{NEXT, file_name};
use crate::watch::Watch;
use crate::{ContentEntry, Seq};

/// Random bytes that a record takes: commitment key and blind.
const RECORD_RANDOM_BYTES: usize = 32 + 16;

/// The buffer of a frame is given back when a rare large one has made it grow beyond this.
const BUFFER_BYTES_KEPT: usize = 8 * 1024 * 1024;

/// The next segment is prepared when this part of the present one is used: early enough to be ready at the full rate
/// of the disk, late enough that a journal that is hardly used takes one segment and not two.
const PREPARE_AT_FRACTION: u64 = 2;

/// The next segment is filled with zeros in steps of this size, each made durable by itself, so that the writer's own
/// fdatasync never finds the disk busy with 64 MiB of zeros.
const PREPARE_STEP_BYTES: u64 = 1024 * 1024;

/// The segment that is being written.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
    pub(crate) header: SegmentHeader,
    pub(crate) sealer: Sealer,
    /// Where the next frame begins.
    pub(crate) head: u64,
}

/// What the writer has in common with the journal's other parts.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) disk: Disk,
    pub(crate) dir: PathBuf,
    pub(crate) keys: Arc<dyn FrameKeys>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) closed: Arc<Closed>,
}

#[derive(Debug)]
pub(crate) struct Writer {
    shared: Shared,
    options: Options,
    active: Option<Active>,
    /// The newest file, where there is no active one because that one is full.
    full: Option<ClosedFile>,
    prepared: Option<JoinHandle<io::Result<Prepared>>>,
    /// Tells the thread that prepares to give up.
    closing: Arc<AtomicBool>,
    next: Seq,
    ids: Recent<[u8; 16], Seq>,
    contents: Recent<ContentId, ()>,
    frame: Vec<u8>,
    _lock: File,
}

/// A file of zeros, not yet a segment.
#[derive(Debug)]
struct Prepared {
    file: File,
    bytes: u64,
}

/// Why a group was not written.
enum Failure {
    /// Nothing was touched; the next group may succeed.
    DiskFull(io::Error),
    /// The disk's state is not known.
    Stop(&'static str, io::Error),
}

impl Writer {
    pub(crate) fn new(shared: Shared, options: Options, recovered: Recovered) -> Self {
        let contents = Recent::new(options.contents_remembered);
        let Recovered { recovery, active, full, ids, lock, .. } = recovered;
        let next = recovery.end;
        Self {
            shared,
            options,
            active,
            full,
            prepared: None,
            closing: Arc::default(),
            next,
            ids,
            contents,
            frame: Vec::new(),
            _lock: lock,
        }
    }

    /// Works until the queue is closed or the disk fails.
    pub(crate) fn run(mut self) {
        // Whatever ends this thread, nobody is left waiting.
        let end = End { queue: Arc::clone(&self.shared.queue), watch: Arc::clone(&self.shared.watch) };
        self.prepare_in_time();
        while let Some(work) = self.shared.queue.take() {
            let goes_on = match work {
                Work::Commit(group) => self.commit_and_answer(group),
                Work::Rotate(rotations) => self.rotate_and_answer(&rotations),
            };
            if !goes_on {
                return;
            }
            self.prepare_in_time();
        }
        if let Err(error) = self.close() {
            let reason = format!("closing the last segment failed: {error}");
            tracing::error!(%reason, "the journal stops");
            self.shared.queue.stop(&reason);
        }
        drop(end);
    }

    /// Makes a group durable and tells those who wait for it. False when the journal has stopped.
    fn commit_and_answer(&mut self, group: Group) -> bool {
        match self.commit(&group) {
            Ok(answers) => {
                answer(group, answers.into_iter().map(Ok));
                true
            }
            Err(failure) => {
                let (error, goes_on) = self.failed(failure);
                answer(group, std::iter::repeat_with(|| Err(error.clone())));
                goes_on
            }
        }
    }

    /// The same for a new file.
    fn rotate_and_answer(&mut self, rotations: &[Rotation]) -> bool {
        let (answer, goes_on) = match self.rotate() {
            Ok(begins) => (Ok(begins), true),
            Err(failure) => {
                let (error, goes_on) = self.failed(failure);
                (Err(error), goes_on)
            }
        };
        for rotation in rotations {
            // Whoever does not wait any more does not want to know.
            let _ = rotation.send(answer.clone());
        }
        goes_on
    }

    /// What those are told who wait, and whether the journal goes on. If it does not, it takes no more from here on.
    fn failed(&self, failure: Failure) -> (AppendError, bool) {
        match failure {
            Failure::DiskFull(error) => {
                tracing::error!(%error, "no room for the journal's next segment");
                (AppendError::DiskFull { reason: error.to_string() }, true)
            }
            Failure::Stop(what, error) => {
                let reason = format!("{what} failed: {error}");
                tracing::error!(%reason, "the journal stops");
                self.shared.queue.stop(&reason);
                (AppendError::Stopped { reason }, false)
            }
        }
    }

    /// Begins a new segment when the newest one has records.
    fn rotate(&mut self) -> Result<Seq, Failure> {
        let full_has = self.full.is_some_and(|full| full.first < full.end);
        let has_records = self.active.as_ref().map_or(full_has, |active| active.head > BLOCK_BYTES);
        if has_records {
            self.begin_segment(0)?;
        }
        Ok(self.next)
    }

    /// Makes a group durable, and returns the answers to its batches.
    fn commit(&mut self, group: &Group) -> Result<Vec<Vec<Appended>>, Failure> {
        self.make_room(padded(group.frame_bytes_max as u64))?;
        let first = self.next;
        let (answers, fresh) = self.assign(group);
        if fresh.is_empty() {
            return Ok(answers);
        }
        self.encode(group, first, &fresh)?;
        let Some(active) = &mut self.active else { return Err(no_segment()) };
        self.shared.disk.write_at(&active.file, &self.frame, active.head).map_err(|error| Failure::Stop("write", error))?;
        self.shared.disk.sync_data(&active.file).map_err(|error| Failure::Stop("fdatasync", error))?;
        active.head += self.frame.len() as u64;
        if self.frame.capacity() > BUFFER_BYTES_KEPT {
            self.frame = Vec::new();
        }
        self.shared.watch.publish(self.next);
        Ok(answers)
    }

    /// Gives each event its place. Returns the answers, and which events are new.
    fn assign(&mut self, group: &Group) -> (Vec<Vec<Appended>>, Vec<(usize, usize)>) {
        let mut fresh = Vec::new();
        let mut answers = Vec::with_capacity(group.requests.len());
        for (r, request) in group.requests.iter().enumerate() {
            let mut batch = Vec::with_capacity(request.batch.len());
            for (a, append) in request.batch.iter().enumerate() {
                let key = id_key(&append.id);
                if let Some(seq) = self.ids.get(&key) {
                    batch.push(Appended { seq, duplicate: true });
                    continue;
                }
                let seq = self.next;
                self.ids.insert(key, seq);
                self.next = Seq(seq.0 + 1);
                fresh.push((r, a));
                batch.push(Appended { seq, duplicate: false });
            }
            answers.push(batch);
        }
        (answers, fresh)
    }

    /// Writes the frame of the new events into the buffer, padded to whole blocks.
    fn encode(&mut self, group: &Group, first: Seq, fresh: &[(usize, usize)]) -> Result<(), Failure> {
        let Some(active) = &self.active else { return Err(no_segment()) };
        let mut random = vec![0; fresh.len() * RECORD_RANDOM_BYTES];
        rand::fill(&mut random).map_err(|_| Failure::Stop("the system's random generator", io::Error::other("no bytes")))?;
        let (random, _) = random.as_chunks::<RECORD_RANDOM_BYTES>();

        let index_end = FRAME_HEADER_BYTES + fresh.len() * INDEX_ENTRY_BYTES;
        let body_at = index_end + TAG_BYTES;
        self.frame.clear();
        self.frame.reserve(usize::try_from(padded(group.frame_bytes_max as u64)).unwrap_or_default());
        self.frame.resize(body_at, 0);
        for (n, ((request, append), random)) in fresh.iter().zip(random).enumerate() {
            let append = &group.requests[*request].batch[*append];
            let (mut key, mut blind) = ([0; 32], [0; 16]);
            key.copy_from_slice(&random[..32]);
            blind.copy_from_slice(&random[32..]);
            let new: Vec<&ContentEntry> = append.contents.iter().filter(|content| self.contents.insert(content.id, ())).collect();
            let begins = self.frame.len();
            record::encode(&key, &blind, &append.event_json, new, &mut self.frame);
            let entry = IndexEntry::new(append.id, below_4_gib(self.frame.len() - begins)).encode();
            let entry_at = FRAME_HEADER_BYTES + n * INDEX_ENTRY_BYTES;
            self.frame[entry_at..entry_at + INDEX_ENTRY_BYTES].copy_from_slice(&entry);
        }
        let mut header = FrameHeader {
            marker: active.header.marker,
            first,
            records: below_4_gib(fresh.len()),
            body_bytes: below_4_gib(self.frame.len() - body_at),
            index_nonce: Default::default(),
            body_nonce: Default::default(),
            index_crc: 0,
            body_crc: 0,
        };
        let place = header.place();
        let seal = |part, bytes: &mut [u8]| {
            active.sealer.seal(part, &place, bytes).map_err(|error| Failure::Stop("encryption of a frame", error))
        };
        let (nonce, tag) = seal(Part::Records, &mut self.frame[body_at..])?;
        self.frame.extend_from_slice(&tag);
        header.body_nonce = nonce;
        let (nonce, tag) = seal(Part::Index, &mut self.frame[FRAME_HEADER_BYTES..index_end])?;
        self.frame[index_end..body_at].copy_from_slice(&tag);
        header.index_nonce = nonce;
        header.index_crc = crc32c::crc32c(&self.frame[FRAME_HEADER_BYTES..body_at]);
        header.body_crc = crc32c::crc32c(&self.frame[body_at..]);
        self.frame[..FRAME_HEADER_BYTES].copy_from_slice(&header.encode());
        let whole_blocks = usize::try_from(padded(self.frame.len() as u64)).unwrap_or(self.frame.len());
        self.frame.resize(whole_blocks, 0);
        Ok(())
    }

    /// Sees to it that a frame of so many bytes fits into the open segment, in a new one if need be.
    fn make_room(&mut self, frame_bytes: u64) -> Result<(), Failure> {
        // The last block stays free, so that a closed segment is always shorter than it was allocated.
        if self.active.as_ref().is_some_and(|active| active.head + frame_bytes + BLOCK_BYTES <= active.header.allocated_bytes) {
            return Ok(());
        }
        self.begin_segment(frame_bytes)
    }

    /// Begins the segment of the next record, with room for a frame of so many bytes.
    fn begin_segment(&mut self, frame_bytes: u64) -> Result<(), Failure> {
        let bytes = self.options.allocate_for(frame_bytes);
        let prepared = match self.prepared.take().map(JoinHandle::join) {
            Some(Ok(Ok(prepared))) if prepared.bytes >= bytes => prepared,
            _ => prepare(&self.shared.disk, &self.shared.dir, bytes, &self.closing)
                .map_err(|error| self.no_new_segment("preallocating a segment", error))?,
        };
        let key = self.shared.keys.create(self.next);
        let key = key.map_err(|error| self.no_new_segment("making the key of a segment", error))?;
        let active = self.begin(prepared, key).map_err(|error| Failure::Stop("beginning a segment", error))?;
        let previous = self.active.replace(active);
        // Every segment holds every content that its events refer to: it can be read, kept, moved and dropped by itself.
        self.contents.clear();
        if let Some(previous) = previous {
            // Its records are durable; this only gives unused space back, and zeros in its place would do.
            if let Err(error) = self.shared.disk.truncate(&previous.file, previous.head) {
                tracing::warn!(%error, file = %previous.path.display(), "unused space of a full segment stays taken");
            }
            let SegmentHeader { first, key, .. } = previous.header;
            self.close_file(ClosedFile { first, end: self.next, key });
        }
        if let Some(full) = self.full.take() {
            self.close_file(full);
        }
        Ok(())
    }

    /// Counts a file among the closed ones. One without a record is none of them: a frame was too large for it, and the
    /// file that was begun instead has taken its name.
    fn close_file(&self, file: ClosedFile) {
        if file.first < file.end {
            self.shared.closed.push(file);
        }
    }

    /// Why no segment can be begun.
    fn no_new_segment(&self, what: &'static str, error: io::Error) -> Failure {
        if !is_disk_full(&error) {
            return Failure::Stop(what, error);
        }
        // What was taken of the disk's last space goes back to others.
        let _ = self.shared.disk.remove(&self.shared.dir.join(NEXT));
        Failure::DiskFull(error)
    }

    /// Makes a prepared file the segment that begins with the next seq.
    fn begin(&self, prepared: Prepared, (key, frame_key): (KeyId, FrameKey)) -> io::Result<Active> {
        let sealer = Sealer::new(&frame_key)?;
        let mut marker = [0; 16];
        rand::fill(&mut marker).map_err(|_| io::Error::other("the system's random generator gives no bytes"))?;
        let header = SegmentHeader { first: self.next, allocated_bytes: prepared.bytes, marker, key };
        let path = self.shared.dir.join(file_name(self.next));
        self.shared.disk.write_at(&prepared.file, &header.encode(), 0)?;
        self.shared.disk.sync_data(&prepared.file)?;
        self.shared.disk.rename(&self.shared.dir.join(NEXT), &path)?;
        self.shared.disk.sync_dir(&self.shared.dir)?;
        Ok(Active { file: prepared.file, path, header, sealer, head: BLOCK_BYTES })
    }

    /// Has the next segment prepared in the background when the present one is half full.
    fn prepare_in_time(&mut self) {
        let half_full =
            self.active.as_ref().is_none_or(|active| active.head > active.header.allocated_bytes / PREPARE_AT_FRACTION);
        if !half_full || self.prepared.is_some() || !self.shared.disk.prepares_ahead() {
            return;
        }
        let (disk, dir, bytes) = (self.shared.disk.clone(), self.shared.dir.clone(), self.options.allocate_for(0));
        let closing = Arc::clone(&self.closing);
        let thread =
            std::thread::Builder::new().name("journal-prepare".to_owned()).spawn(move || prepare(&disk, &dir, bytes, &closing));
        match thread {
            Ok(thread) => self.prepared = Some(thread),
            // The writer prepares it itself when it is needed.
            Err(error) => tracing::warn!(%error, "cannot start the thread that prepares the journal's segments"),
        }
    }

    /// Ends the last segment where its records end.
    fn close(&mut self) -> io::Result<()> {
        if let Some(active) = self.active.take() {
            self.shared.disk.truncate(&active.file, active.head)?;
            self.shared.disk.sync_all(&active.file)?;
        }
        Ok(())
    }
}

impl Drop for Writer {
    /// The thread that prepares has ended, and its file is gone, before the lock is given back.
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        if let Some(thread) = self.prepared.take() {
            let _ = thread.join();
        }
        if let Err(error) = remove_next(&self.shared.disk, &self.shared.dir) {
            tracing::warn!(%error, "the journal's prepared segment stays");
        }
    }
}

/// Tells everybody that the writer is gone.
struct End {
    queue: Arc<Queue>,
    watch: Arc<Watch>,
}

impl Drop for End {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.queue.stop("the writer thread has panicked");
        }
        self.watch.finish();
    }
}

/// The callers make room first.
fn no_segment() -> Failure {
    Failure::Stop("finding the segment", io::Error::other("none is open"))
}

/// Whether an error says that there is no room, on the disk or for another open file, rather than that the disk is broken.
pub(crate) fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
        || files::is_out_of_descriptors(error)
}

/// Makes a file of zeros that will be the next segment.
fn prepare(disk: &Disk, dir: &Path, bytes: u64, closing: &AtomicBool) -> io::Result<Prepared> {
    let file = disk.create(&dir.join(NEXT))?;
    match fill_with_zeros(disk, &file, bytes, closing) {
        Ok(()) => Ok(Prepared { file, bytes }),
        Err(error) => {
            // What it has got of the last space goes back to others.
            drop(file.set_len(0));
            Err(error)
        }
    }
}

fn fill_with_zeros(disk: &Disk, file: &File, bytes: u64, closing: &AtomicBool) -> io::Result<()> {
    disk.preallocate(file, 0, 0, bytes)?;
    let mut at = 0;
    while at < bytes {
        if closing.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let to = (at + PREPARE_STEP_BYTES).min(bytes);
        disk.zero(file, at, to)?;
        disk.sync_data(file)?;
        at = to;
    }
    disk.sync_all(file)
}

fn answer(group: Group, answers: impl Iterator<Item = Answer>) {
    for (request, answer) in group.requests.into_iter().zip(answers) {
        // Whoever has dropped the ticket does not want to know.
        let _ = request.answer.send(answer);
    }
}

/// Lengths inside a frame are bounded by `FRAME_BYTES_MAX`.
fn below_4_gib(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
