//! The offline check: every byte of every file of the journal is accounted for.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::fault::{Fault, Wrong};
use crate::format::{BLOCK_BYTES, FrameHeader, IndexEntry, SEGMENT_HEADER_BYTES, SegmentHeader, padded};
use crate::frame_keys::FrameKeys;
use crate::segment::{DIRECTORY, Frame, LOCK, NEXT, Segment, Torn, named};
use crate::{Record, Seq};

/// How much of what should be zeros is read at once.
const ZEROS_BYTES: usize = 256 * 1024;

/// What [`check`] has found in a journal that is as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Segment files.
    pub segments: usize,
    /// The oldest record that is there: 0, or a later one where those before were retired. Whether it is the right one
    /// only those can tell who know what was retired.
    pub first: Seq,
    /// The seq after the newest record.
    pub end: Seq,
    /// Bytes of all files.
    pub bytes: u64,
    /// A write that was cut short by a crash, and was never acknowledged. The next open cuts it off.
    ///
    /// Of a journal that was not closed, the files alone cannot tell such a write from an acknowledged last group that
    /// somebody has changed: whoever has a signed checkpoint compares `end` with it.
    pub torn: Option<Torn>,
    /// Whether the journal was closed: then nothing can be torn.
    pub closed: bool,
    /// Whether the records were decrypted and read. Without keys only the structure was checked: which files and frames
    /// there are, their order, their checksums, and that there is nothing else.
    pub read: bool,
}

impl Checked {
    /// How many records there are.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.end.0 - self.first.0
    }
}

/// Reads the whole journal of a data directory and accounts for every byte of every file: headers, checksums, seqs
/// without a gap, records in their one right form, contents that are what their ids commit to, zeros everywhere else,
/// no other files. `visit` gets every record in order. The first thing that is wrong ends it.
///
/// Without `keys` nothing is decrypted and nothing visited; see [`Checked::read`].
///
/// It needs one frame of memory. What it cannot see is that whole frames have been cut from the end at a place where
/// a group ended: `end` is to be compared with a signed checkpoint.
pub fn check(dir: &Path, keys: Option<&dyn FrameKeys>, mut visit: impl FnMut(&Record)) -> Result<Checked, Fault> {
    walk(dir, keys, &mut |segment, frame, entry, record| {
        let fault = |wrong| segment.fault(frame.offset, Some(record.seq), wrong);
        let event: IdOfEvent =
            serde_json::from_slice(&record.event_json).map_err(|error| fault(crate::RecordError::Event(error).into()))?;
        if *event.id.as_bytes() != entry.id {
            return Err(fault(Wrong::EventId));
        }
        if let Some(content) = record.contents.iter().position(|content| !content.is_intact()) {
            return Err(fault(Wrong::Content(content)));
        }
        visit(&record);
        Ok(())
    })
}

/// Accounts for every byte as [`check`] does, but does not look into the events and contents: `visit` gets every record with the
/// id that its event must have, and judges. For those who compute leaves, which hold all of that.
pub fn check_form(dir: &Path, keys: Option<&dyn FrameKeys>, mut visit: impl FnMut(Record, [u8; 16])) -> Result<Checked, Fault> {
    walk(dir, keys, &mut |_, _, entry, record| {
        visit(record, entry.id);
        Ok(())
    })
}

/// Takes a record that is in its right form.
type Take<'t> = &'t mut dyn FnMut(&Segment, &Frame, IndexEntry, Record) -> Result<(), Fault>;

fn walk(dir: &Path, keys: Option<&dyn FrameKeys>, take: Take<'_>) -> Result<Checked, Fault> {
    let dir = dir.join(DIRECTORY);
    let (segments, mut bytes) = files(&dir)?;
    let first = segments.first().copied().unwrap_or_default();
    let mut checked = Checked {
        segments: segments.len(),
        first,
        end: first,
        bytes: 0,
        torn: None,
        closed: segments.is_empty(),
        read: keys.is_some(),
    };
    for (at, first) in segments.iter().enumerate() {
        let segment = match keys {
            Some(keys) => Segment::open(&dir, *first, keys)?,
            None => Segment::open_sealed(&dir, *first)?,
        };
        if *first != checked.end {
            return Err(segment.fault(0, Some(*first), Wrong::Gap { expected: checked.end.0, found: first.0 }));
        }
        let is_last = at + 1 == segments.len();
        let length = segment.bytes()?;
        bytes += length;
        let (end, head, torn) = check_segment(&segment, is_last, take)?;
        checked.end = end;
        checked.torn = torn;
        checked.closed = length == head && length < segment.header.allocated_bytes;
    }
    checked.bytes = bytes;
    Ok(checked)
}

/// The segments of the directory, in order; and the bytes of the other files, which are checked here.
fn files(dir: &Path) -> Result<(Vec<Seq>, u64), Fault> {
    let unreadable = |file: &Path| {
        let file = file.to_owned();
        move |error: io::Error| Fault { file, offset: 0, seq: None, wrong: error.into() }
    };
    let (mut segments, mut others, mut bytes) = (Vec::new(), Vec::new(), 0);
    // A link leads to files that nobody has verified the place of.
    if std::fs::symlink_metadata(dir).map_err(unreadable(dir))?.is_symlink() {
        return Err(Fault { file: dir.to_owned(), offset: 0, seq: None, wrong: Wrong::UnknownFile });
    }
    for entry in std::fs::read_dir(dir).map_err(unreadable(dir))? {
        let entry = entry.map_err(unreadable(dir))?;
        let is_file = entry.file_type().map_err(unreadable(dir))?.is_file();
        match entry.file_name().to_str().filter(|_| is_file) {
            Some(LOCK) => {
                let length = entry.metadata().map_err(unreadable(&entry.path()))?.len();
                if length != 0 {
                    return Err(Fault { file: entry.path(), offset: 0, seq: None, wrong: Wrong::LockNotEmpty });
                }
            }
            Some(NEXT) => bytes += check_next(&entry.path())?,
            Some(name) if named(name).is_some() => segments.extend(named(name)),
            _ => others.push(entry.path()),
        }
    }
    if let Some(file) = others.into_iter().min() {
        return Err(Fault { file, offset: 0, seq: None, wrong: Wrong::UnknownFile });
    }
    segments.sort_unstable();
    Ok((segments, bytes))
}

/// The prepared segment: zeros, perhaps behind a header or the beginning of one. It holds no record, and the next open removes it.
fn check_next(path: &Path) -> Result<u64, Fault> {
    let fault = |offset, wrong| Fault { file: path.to_owned(), offset, seq: None, wrong };
    let file = files::open_regular(path).map_err(|error| fault(0, error.into()))?;
    let length = file.metadata().map_err(|error| fault(0, error.into()))?.len();
    let mut header = [0; SEGMENT_HEADER_BYTES];
    crate::segment::read_zero_extended(&file, &mut header, 0).map_err(|error| fault(0, error.into()))?;
    // A crash can leave the beginning of a header; its checksum comes last.
    if header[SEGMENT_HEADER_BYTES - 1] != 0 {
        SegmentHeader::decode(&header).map_err(|wrong| fault(0, wrong))?;
    }
    zeros(&file, length.min(SEGMENT_HEADER_BYTES as u64), length).map_err(|(offset, wrong)| fault(offset, wrong))?;
    Ok(length)
}

/// Checks a segment. Returns the seq after its last record, where its records end, and what is torn there.
fn check_segment(segment: &Segment, is_last: bool, take: Take<'_>) -> Result<(Seq, u64, Option<Torn>), Fault> {
    let must_be_zeros =
        |from, to, seq| zeros(&segment.file, from, to).map_err(|(offset, wrong)| segment.fault(offset, Some(seq), wrong));
    let (mut seq, mut at) = (segment.header.first, BLOCK_BYTES);
    must_be_zeros(SEGMENT_HEADER_BYTES as u64, BLOCK_BYTES, seq)?;
    let mut frame = Frame::default();
    let found = loop {
        let header = match segment.frame_header(at, seq) {
            Ok(Some(header)) => header,
            Ok(None) => break None,
            Err(fault) => break Some(fault),
        };
        let read = match segment.sealer {
            Some(_) => segment.frame(at, &header, &mut frame),
            None => segment.sealed(at, &header, &mut frame),
        };
        if let Err(fault) = read {
            break Some(fault);
        }
        if segment.sealer.is_some() {
            check_records(segment, &header, &frame, take)?;
        }
        must_be_zeros(at + header.bytes(), at + padded(header.bytes()), header.first)?;
        at += padded(header.bytes());
        seq = header.end();
    };
    if is_last {
        return Ok((seq, at, segment.tail(at, seq, found)?));
    }
    match found {
        Some(fault) => Err(fault),
        None => {
            let length = segment.bytes()?;
            must_be_zeros(at, length, seq)?;
            if at < length && length < segment.header.allocated_bytes {
                return Err(segment.fault(at, Some(seq), Wrong::Lost));
            }
            Ok((seq, at, None))
        }
    }
}

/// A record has one form only: what can be read is what would be written (a property test of the format).
fn check_records(segment: &Segment, header: &FrameHeader, frame: &Frame, take: Take<'_>) -> Result<(), Fault> {
    let (mut n, mut body_at, mut seq) = (0, 0, header.first);
    while let Some(entry) = frame.entry(n) {
        let record = frame.decode(segment, seq, body_at, entry)?;
        take(segment, frame, entry, record)?;
        n += 1;
        body_at += entry.bytes as usize;
        seq = Seq(seq.0 + 1);
    }
    Ok(())
}

/// All that is read of an event here; the rest has to be JSON.
#[derive(serde::Deserialize)]
struct IdOfEvent {
    id: event::EventId,
}

/// Whether a part of a file is zeros; else where it is not.
fn zeros(file: &File, from: u64, to: u64) -> Result<(), (u64, Wrong)> {
    let mut buffer = [0; BLOCK_BYTES as usize];
    let mut large = Vec::new();
    let buffer = if to - from <= BLOCK_BYTES {
        &mut buffer[..]
    } else {
        large.resize(ZEROS_BYTES, 0);
        &mut large[..]
    };
    let mut at = from;
    while at < to {
        let length = usize::try_from(to - at).unwrap_or(usize::MAX).min(buffer.len());
        let piece = &mut buffer[..length];
        file.read_exact_at(piece, at).map_err(|error| (at, error.into()))?;
        if let Some(set) = piece.iter().position(|byte| *byte != 0) {
            return Err((at + set as u64, Wrong::NotZero));
        }
        at += length as u64;
    }
    Ok(())
}
