//! Opening a journal: the lock, and what a crash has left.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use event::EventId;

use crate::Seq;
use crate::disk::Disk;
use crate::fault::{Fault, Wrong};
use crate::format::{BLOCK_BYTES, index_entries, padded};
use crate::frame_keys::FrameKeys;
use crate::options::Options;
use crate::recent::Recent;
use crate::segment::{Frame, LOCK, NEXT, Segment, Torn, list};
use crate::writer::{Active, is_disk_full};

/// How much of a segment that is gone on with is filled with zeros while the journal is being opened: a few hundredths
/// of a second. The rest of it is only taken (see [`Disk::preallocate`]), and the next segment is filled beforehand.
const ZEROED_AT_OPEN_BYTES: u64 = 16 * 1024 * 1024;

/// With less room than this, in fractions of a segment, a new segment is begun at open.
const ROOM_MIN_FRACTION: u64 = 8;

/// What opening the journal has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// How many records there are.
    pub records: u64,
    /// How many segment files.
    pub segments: usize,
    /// Bytes that were cut off: a group that had been under way when the power went, and was never acknowledged.
    pub torn_bytes: u64,
    /// Where they stood.
    pub torn_at: Option<Torn>,
    /// Whether the journal had been closed, as opposed to a crash.
    pub was_closed: bool,
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
    remove_next(dir)?;
    let mut ids = Recent::new(options.ids_remembered);
    let mut recovery =
        Recovery { records: 0, segments: segments.len(), torn_bytes: 0, torn_at: None, was_closed: segments.is_empty() };
    let Some((last, before)) = segments.split_last() else {
        return Ok(Recovered { recovery, active: None, ids, lock });
    };

    let walked = Walk::last(dir, *last, keys)?;
    recovery.records = walked.end.0;
    // The ids of the newest records, which may lie in the segments before.
    let oldest = walked.end.0.saturating_sub(options.ids_remembered as u64);
    let from = before.partition_point(|first| first.0 <= oldest).saturating_sub(1);
    for (at, first) in before.iter().enumerate().skip(from) {
        let following = before.get(at + 1).copied().unwrap_or(*last);
        Walk::indexes(dir, *first, following, keys, &mut ids)?;
    }
    for (seq, id) in walked.ids {
        ids.insert(id, seq);
    }
    recovery.was_closed = walked.closed;
    if let Some(torn) = &walked.torn {
        tracing::warn!(file = %torn.file.display(), offset = torn.offset, bytes = torn.bytes, "cut off a torn write at the journal's end");
        recovery.torn_bytes = torn.bytes;
        recovery.torn_at = Some(torn.clone());
    }
    let active = go_on(disk, walked.segment, walked.head, walked.torn.is_some())?;
    Ok(Recovered { recovery, active, ids, lock })
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
pub(crate) fn remove_next(dir: &Path) -> Result<(), OpenError> {
    let path = dir.join(NEXT);
    match std::fs::remove_file(&path) {
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
    fn indexes(
        dir: &Path,
        first: Seq,
        following: Seq,
        keys: &dyn FrameKeys,
        ids: &mut Recent<[u8; 16], Seq>,
    ) -> Result<(), Fault> {
        let segment = Segment::open(dir, first, keys)?;
        let (mut end, mut at) = (first, BLOCK_BYTES);
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
