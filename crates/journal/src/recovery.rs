//! Opening a journal: the lock, and what a crash has left.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use event::{EventId, KeyId};

use crate::Seq;
use crate::disk::Disk;
use crate::fault::{Fault, Wrong};
use crate::files::{ClosedFile, remove};
use crate::format::{BLOCK_BYTES, index_entries, padded};
use crate::frame_keys::FrameKeys;
use crate::options::Options;
use crate::recent::Recent;
use crate::segment::{Frame, LOCK, NEXT, Segment, Torn, file_name, list};
use crate::writer::{Active, is_disk_full};

/// How much of a segment that is gone on with is filled with zeros while the journal is being opened: a few hundredths
/// of a second. The rest of it is only taken (see [`Disk::preallocate`]), and the next segment is filled beforehand.
const ZEROED_AT_OPEN_BYTES: u64 = 16 * 1024 * 1024;

/// With less room than this, in fractions of a segment, a new segment is begun at open.
const ROOM_MIN_FRACTION: u64 = 8;

/// What opening the journal has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The oldest record that is there.
    pub first: Seq,
    /// The seq after the newest.
    pub end: Seq,
    /// How many segment files.
    pub segments: usize,
    /// The keys of files before [`Options::first`] that were left over and have been removed: they are to be destroyed.
    pub retired: Vec<KeyId>,
    /// The keys of the files that are there. Until the first append, every other key of a journal file is of no more
    /// use: it belongs to a file that was removed, or was never begun.
    pub keys: Vec<KeyId>,
    /// Bytes that were cut off: a group that had been under way when the power went, and was never acknowledged.
    pub torn_bytes: u64,
    /// Where they stood.
    pub torn_at: Option<Torn>,
    /// Whether the journal had been closed, as opposed to a crash.
    pub was_closed: bool,
}

impl Recovery {
    /// How many records there are.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.end.0 - self.first.0
    }
}

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system refuses.
    #[error("cannot {what} {}: {error}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Somebody else writes it.
    #[error(
        "another process has the journal open ({} is locked); stop it first, or use another data directory",
        path.display()
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The journal ends before the place where it must begin.
    #[error(
        "the journal in {} ends before record {}, and must begin with record {} at the latest: records {} to {last} are kept elsewhere, and their numbers would be given again; restore the journal's directory, or move it aside to go on with record {first}",
        path.display(), end.0, first.0, end.0, last = first.0 - 1, first = first.0
    )]
    EndsBefore {
        /// The journal's directory.
        path: PathBuf,
        /// The seq after its last record.
        end: Seq,
        /// [`Options::first`].
        first: Seq,
    },
    /// Acknowledged records are damaged.
    #[error(
        "the journal is damaged: {0}. Nothing was changed. Run `watchkeeper verify` for the extent, then restore the file from a copy, or move the journal's directory aside to begin a new one"
    )]
    Damaged(#[from] Fault),
}

/// What the writer goes on with.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) recovery: Recovery,
    pub(crate) active: Option<Active>,
    /// The closed files, oldest first.
    pub(crate) closed: Vec<ClosedFile>,
    /// The newest file, where it is closed as well because nothing fits into it any more.
    pub(crate) full: Option<ClosedFile>,
    pub(crate) ids: Recent<[u8; 16], Seq>,
    /// Held for as long as the writer lives.
    pub(crate) lock: File,
}

pub(crate) fn recover(
    disk: &Disk,
    data_dir: &Path,
    dir: &Path,
    options: &Options,
    keys: &dyn FrameKeys,
) -> Result<Recovered, OpenError> {
    let lock = take_directory(disk, data_dir, dir)?;
    let segments = list(dir).map_err(|error| OpenError::Io { what: "list", path: dir.to_owned(), error })?;
    remove_next(disk, dir)?;
    let mut ids = Recent::new(options.ids_remembered);
    let mut recovery = Recovery {
        first: options.first,
        end: options.first,
        segments: 0,
        retired: Vec::new(),
        keys: Vec::new(),
        torn_bytes: 0,
        torn_at: None,
        was_closed: segments.is_empty(),
    };
    let Some(last) = segments.last().copied() else {
        return Ok(Recovered { recovery, active: None, closed: Vec::new(), full: None, ids, lock });
    };
    // A file lies wholly before `first` when the one after it begins there or before.
    let left_over = segments.windows(2).take_while(|pair| pair[1] <= options.first).count();
    let (left_over, segments) = segments.split_at(left_over);
    let begins = segments.first().copied().unwrap_or(last);
    if begins > options.first {
        let wrong = Wrong::Gap { expected: options.first.0, found: begins.0 };
        return Err(Fault { file: dir.join(file_name(begins)), offset: 0, seq: Some(options.first), wrong }.into());
    }

    let walked = Walk::last(dir, last, keys)?;
    if walked.end < options.first {
        return Err(OpenError::EndsBefore { path: dir.to_owned(), end: walked.end, first: options.first });
    }
    // The ids of the newest records, which may lie in the segments before.
    let oldest = walked.end.0.saturating_sub(options.ids_remembered as u64);
    let mut files = Vec::new();
    for pair in segments.windows(2) {
        let (first, end) = (pair[0], pair[1]);
        let segment = if end.0 > oldest { Segment::open(dir, first, keys)? } else { Segment::open_sealed(dir, first)? };
        files.push(ClosedFile { first, end, key: segment.header.key });
        if end.0 > oldest {
            Walk::indexes(&segment, end, &mut ids)?;
        }
    }
    for (seq, id) in walked.ids {
        ids.insert(id, seq);
    }
    for first in left_over {
        recovery.retired.push(Segment::open_sealed(dir, *first)?.header.key);
        remove(disk, dir, *first).map_err(|error| OpenError::Io { what: "remove", path: dir.join(file_name(*first)), error })?;
    }
    recovery.first = begins;
    recovery.end = walked.end;
    recovery.segments = segments.len();
    recovery.was_closed = walked.closed;
    recovery.keys = files.iter().map(|file| file.key).chain([walked.segment.header.key]).collect();
    if let Some(torn) = &walked.torn {
        tracing::warn!(file = %torn.file.display(), offset = torn.offset, bytes = torn.bytes, "cut off a torn write at the journal's end");
        recovery.torn_bytes = torn.bytes;
        recovery.torn_at = Some(torn.clone());
    }
    let newest = ClosedFile { first: last, end: walked.end, key: walked.segment.header.key };
    let active = go_on(disk, walked.segment, walked.head, walked.torn.is_some())?;
    let full = active.is_none().then_some(newest);
    Ok(Recovered { recovery, active, closed: files, full, ids, lock })
}

/// Makes the directory and takes the lock.
fn take_directory(disk: &Disk, data_dir: &Path, dir: &Path) -> Result<File, OpenError> {
    let io = |what, path: &Path| {
        let path = path.to_owned();
        move |error| OpenError::Io { what, path, error }
    };
    std::fs::create_dir_all(dir).map_err(io("make the directory", dir))?;
    disk.sync_dir(data_dir).map_err(io("fsync", data_dir))?;
    let path = dir.join(LOCK);
    let lock = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(io("open", &path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path }),
        Err(TryLockError::Error(error)) => Err(io("lock", &path)(error)),
    }
}

/// A segment that was being prepared when the journal ended. It holds no record.
pub(crate) fn remove_next(disk: &Disk, dir: &Path) -> Result<(), OpenError> {
    let path = dir.join(NEXT);
    match disk.remove(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(OpenError::Io { what: "remove", path, error }),
        _ => Ok(()),
    }
}

/// What a walk through the last segment finds.
struct Walk {
    segment: Segment,
    end: Seq,
    head: u64,
    torn: Option<Torn>,
    closed: bool,
    ids: Vec<(Seq, [u8; 16])>,
}

impl Walk {
    /// Reads all of the last segment.
    fn last(dir: &Path, first: Seq, keys: &dyn FrameKeys) -> Result<Self, Fault> {
        let segment = Segment::open(dir, first, keys)?;
        let bytes = segment.bytes()?;
        let (mut end, mut head, mut ids) = (first, BLOCK_BYTES, Vec::new());
        let mut frame = Frame::default();
        let found = loop {
            match segment.frame_header(head, end) {
                Ok(Some(header)) => {
                    if let Err(fault) = segment.frame(head, &header, &mut frame) {
                        break Some(fault);
                    }
                    ids.extend(
                        (end.0..)
                            .map_while(|seq| frame.entry(usize::try_from(seq - end.0).ok()?).map(|entry| (Seq(seq), entry.id))),
                    );
                    head += padded(header.bytes());
                    end = header.end();
                }
                Ok(None) => break None,
                Err(fault) => break Some(fault),
            }
        };
        let torn = segment.tail(head, end, found)?;
        let closed = bytes == head && bytes < segment.header.allocated_bytes;
        Ok(Self { segment, end, head, torn, closed, ids })
    }

    /// Reads only the indexes of an earlier segment.
    fn indexes(segment: &Segment, following: Seq, ids: &mut Recent<[u8; 16], Seq>) -> Result<(), Fault> {
        let (mut end, mut at) = (segment.header.first, BLOCK_BYTES);
        while let Some(header) = segment.frame_header(at, end)? {
            let index = segment.index(at, &header)?;
            for (seq, entry) in (end.0..).zip(index_entries(&index)) {
                ids.insert(entry.id, Seq(seq));
            }
            at += padded(header.bytes());
            end = header.end();
        }
        if end != following {
            return Err(segment.fault(at, Some(end), Wrong::Gap { expected: end.0, found: following.0 }));
        }
        Ok(())
    }
}

/// Makes the last segment ready for more. `None` when it has no room, or the disk has none: then the first append
/// begins a new one.
fn go_on(disk: &Disk, segment: Segment, head: u64, torn: bool) -> Result<Option<Active>, OpenError> {
    let Segment { path, header, sealer, .. } = segment;
    let Some(sealer) = sealer else { return Ok(None) };
    let io = |what| {
        let path = path.clone();
        move |error| OpenError::Io { what, path, error }
    };
    let file = OpenOptions::new().read(true).write(true).open(&path).map_err(io("open for writing"))?;
    // Whatever stands behind the head goes, and comes back as zeros.
    disk.truncate(&file, head).map_err(io("truncate"))?;
    if torn {
        disk.sync_all(&file).map_err(io("fsync"))?;
    }
    let room = header.allocated_bytes - head;
    if room < (header.allocated_bytes / ROOM_MIN_FRACTION).max(4 * BLOCK_BYTES) {
        disk.sync_all(&file).map_err(io("fsync"))?;
        return Ok(None);
    }
    let zeroed_to = head + ZEROED_AT_OPEN_BYTES;
    match disk.preallocate(&file, head, zeroed_to, header.allocated_bytes).and_then(|()| disk.sync_all(&file)) {
        Ok(()) => Ok(Some(Active { file, path, header, sealer, head })),
        Err(error) if is_disk_full(&error) => {
            tracing::warn!(%error, "no room to go on with the journal's last segment");
            disk.truncate(&file, head).and_then(|()| disk.sync_all(&file)).map_err(io("truncate"))?;
            Ok(None)
        }
        Err(error) => Err(io("preallocate")(error)),
    }
}

/// The key by which an event is remembered.
pub(crate) fn id_key(id: &EventId) -> [u8; 16] {
    *id.as_bytes()
}
