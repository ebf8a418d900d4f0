//! A segment: one file of the journal, and how its frames are read and judged.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::fault::{Fault, Wrong};
use crate::format::{
    BLOCK_BYTES, FRAME_BYTES_MAX, FRAME_HEADER_BYTES, FrameHeader, IndexEntry, SEGMENT_HEADER_BYTES, SegmentHeader,
    index_entries, padded,
};
use crate::frame_keys::{FrameKeys, Part, Sealer};
use crate::{Record, Seq};

/// The directory of the journal in the data directory.
pub(crate) const DIRECTORY: &str = "journal";
/// The file that the writer locks.
pub(crate) const LOCK: &str = "lock";
/// The segment that comes next, before it has a name.
pub(crate) const NEXT: &str = "next.tmp";
const EXTENSION: &str = ".wkj";
const SEQ_DIGITS: usize = 20;

/// How much of a tail is looked at at once.
const TAIL_BYTES: usize = 256 * 1024;

/// The name of the segment that begins with `first`.
pub(crate) fn file_name(first: Seq) -> String {
    format!("{:020}{EXTENSION}", first.0)
}

/// The first seq that a file's name states, where it is a segment's name.
pub(crate) fn named(file_name: &str) -> Option<Seq> {
    let digits = file_name.strip_suffix(EXTENSION)?;
    (digits.len() == SEQ_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(())?;
    digits.parse().ok().map(Seq)
}

/// The first seqs of the segments of a directory, in order.
pub(crate) fn list(dir: &Path) -> io::Result<Vec<Seq>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        found.extend(entry?.file_name().to_str().and_then(named));
    }
    found.sort_unstable();
    Ok(found)
}

/// What a write that was cut short has left at the end of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The segment.
    pub file: PathBuf,
    /// Where the torn frame starts.
    pub offset: u64,
    /// The seq that its first record would have.
    pub seq: Seq,
    /// From there to the last byte that is not zero.
    pub bytes: u64,
}

/// A segment that is open for reading.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) header: SegmentHeader,
    /// `None` when only what needs no key is read.
    pub(crate) sealer: Option<Sealer>,
}

impl Segment {
    /// Opens a segment, checks its header and gets its key.
    pub(crate) fn open(dir: &Path, first: Seq, keys: &dyn FrameKeys) -> Result<Self, Fault> {
        let mut segment = Self::open_sealed(dir, first)?;
        let fault = |wrong| segment.fault(0, Some(first), wrong);
        let key = keys.get(segment.header.key).map_err(|error| fault(Wrong::Keyring(error)))?;
        let key = key.ok_or_else(|| fault(Wrong::NoKey(segment.header.key)))?;
        segment.sealer = Some(Sealer::new(&key).map_err(|error| fault(Wrong::Keyring(error)))?);
        Ok(segment)
    }

    /// Opens a segment and checks its header, without its key: its frames can be found and their checksums verified.
    pub(crate) fn open_sealed(dir: &Path, first: Seq) -> Result<Self, Fault> {
        let path = dir.join(file_name(first));
        let fault = |wrong| Fault { file: path.clone(), offset: 0, seq: Some(first), wrong };
        let file = files::open_regular(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => fault(Wrong::Missing),
            _ => fault(error.into()),
        })?;
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        read_zero_extended(&file, &mut bytes, 0).map_err(|error| fault(error.into()))?;
        let header = SegmentHeader::decode(&bytes).map_err(fault)?;
        if header.first != first {
            return Err(fault(Wrong::Name(header.first.0)));
        }
        Ok(Self { path, file, header, sealer: None })
    }

    /// The file's length, which is that of whole blocks and not above what the header states.
    pub(crate) fn bytes(&self) -> Result<u64, Fault> {
        let bytes = self.file.metadata().map_err(|error| self.fault(0, None, error.into()))?.len();
        if bytes > self.header.allocated_bytes {
            return Err(self.fault(self.header.allocated_bytes, None, Wrong::TooLong(self.header.allocated_bytes)));
        }
        if !bytes.is_multiple_of(BLOCK_BYTES) || bytes < BLOCK_BYTES {
            return Err(self.fault(bytes, None, Wrong::Cut));
        }
        Ok(bytes)
    }

    /// The header of the frame at `offset`, which must begin with `expected`. `None` where no frame begins.
    pub(crate) fn frame_header(&self, offset: u64, expected: Seq) -> Result<Option<FrameHeader>, Fault> {
        let fault = |wrong| self.fault(offset, Some(expected), wrong);
        let mut bytes = [0; FRAME_HEADER_BYTES];
        read_zero_extended(&self.file, &mut bytes, offset).map_err(|error| fault(error.into()))?;
        if bytes == [0; FRAME_HEADER_BYTES] {
            return Ok(None);
        }
        let header = FrameHeader::decode(&bytes, &self.header.marker).map_err(fault)?;
        if header.first != expected {
            return Err(fault(Wrong::Order { expected: expected.0, found: header.first.0 }));
        }
        if offset + padded(header.bytes()) > self.header.allocated_bytes - BLOCK_BYTES {
            return Err(fault(Wrong::FrameHeader));
        }
        if offset + padded(header.bytes()) > self.file.metadata().map_err(|error| fault(error.into()))?.len() {
            return Err(fault(Wrong::Cut));
        }
        Ok(Some(header))
    }

    /// Reads only the index of a frame.
    pub(crate) fn index(&self, offset: u64, header: &FrameHeader) -> Result<Vec<u8>, Fault> {
        let mut index = Vec::new();
        self.sealed_index(offset, header, &mut index)?;
        self.unseal_index(offset, header, &mut index)?;
        Ok(index)
    }

    /// Reads a frame into `frame` and checks it.
    pub(crate) fn frame(&self, offset: u64, header: &FrameHeader, frame: &mut Frame) -> Result<(), Fault> {
        self.sealed(offset, header, frame)?;
        // Checksums of both first: what the power cut short fails there, and what fails behind them was changed.
        self.unseal_index(offset, header, &mut frame.index)?;
        self.unseal(offset, header, Part::Records, &mut frame.body)
    }

    /// Reads a frame as it lies there and verifies its checksums, which takes no key.
    pub(crate) fn sealed(&self, offset: u64, header: &FrameHeader, frame: &mut Frame) -> Result<(), Fault> {
        frame.first = header.first;
        frame.offset = offset;
        self.sealed_index(offset, header, &mut frame.index)?;
        let at = offset + FRAME_HEADER_BYTES as u64 + header.sealed_index_bytes();
        self.read(offset, header, at, header.sealed_body_bytes(), &mut frame.body)?;
        if crc32c::crc32c(&frame.body) != header.body_crc {
            return Err(self.fault(offset, Some(header.first), Wrong::BodyCrc));
        }
        Ok(())
    }

    fn sealed_index(&self, offset: u64, header: &FrameHeader, into: &mut Vec<u8>) -> Result<(), Fault> {
        self.read(offset, header, offset + FRAME_HEADER_BYTES as u64, header.sealed_index_bytes(), into)?;
        if crc32c::crc32c(into) != header.index_crc {
            return Err(self.fault(offset, Some(header.first), Wrong::IndexCrc));
        }
        Ok(())
    }

    fn read(&self, offset: u64, header: &FrameHeader, at: u64, bytes: u64, into: &mut Vec<u8>) -> Result<(), Fault> {
        into.clear();
        into.resize(length(bytes), 0);
        self.file.read_exact_at(into, at).map_err(|error| self.fault(offset, Some(header.first), error.into()))
    }

    fn unseal_index(&self, offset: u64, header: &FrameHeader, index: &mut Vec<u8>) -> Result<(), Fault> {
        self.unseal(offset, header, Part::Index, index)?;
        if index_entries(index).map(|entry| u64::from(entry.bytes)).sum::<u64>() != u64::from(header.body_bytes) {
            return Err(self.fault(offset, Some(header.first), Wrong::IndexLengths));
        }
        Ok(())
    }

    fn unseal(&self, offset: u64, header: &FrameHeader, part: Part, bytes: &mut Vec<u8>) -> Result<(), Fault> {
        let fault = |wrong| self.fault(offset, Some(header.first), wrong);
        let sealer = self.sealer.as_ref().ok_or_else(|| fault(Wrong::NoKey(self.header.key)))?;
        let nonce = match part {
            Part::Index => header.index_nonce,
            Part::Records => header.body_nonce,
        };
        sealer.open(part, &header.place(), nonce, bytes).map_err(|_| fault(Wrong::Seal))
    }

    /// Judges what stands from `offset` to the end of the last segment, where no whole frame begins: nothing, or a
    /// torn frame. Anything else is a fault. `found` is what the attempt to read a frame there has said.
    pub(crate) fn tail(&self, offset: u64, seq: Seq, found: Option<Fault>) -> Result<Option<Torn>, Fault> {
        let found = match found {
            Some(fault) if !fault.wrong.can_be_torn() => return Err(fault),
            found => found,
        };
        let bytes = self.bytes()?;
        let extent = match self.frame_header(offset, seq) {
            Ok(Some(header)) => padded(header.bytes()),
            _ => padded(FRAME_BYTES_MAX as u64),
        };
        let (mut first_set, mut end_of_set) = (None, offset);
        let mut buffer = vec![0; TAIL_BYTES];
        let mut at = offset;
        let mut frame_behind = false;
        while at < bytes {
            let piece = &mut buffer[..length((bytes - at).min(TAIL_BYTES as u64))];
            self.file.read_exact_at(piece, at).map_err(|error| self.fault(at, Some(seq), error.into()))?;
            let (blocks, _) = piece.as_chunks::<{ BLOCK_BYTES as usize }>();
            for (index, block) in blocks.iter().enumerate() {
                let Some(last) = block.iter().rposition(|byte| *byte != 0) else { continue };
                let block_at = at + index as u64 * BLOCK_BYTES;
                first_set.get_or_insert(block_at);
                end_of_set = block_at + last as u64 + 1;
                let header = block.first_chunk().is_some_and(|header| FrameHeader::decode(header, &self.header.marker).is_ok());
                frame_behind |= header && block_at > offset;
            }
            at += piece.len() as u64;
        }
        let Some(first_set) = first_set else {
            // A file that was closed ends with its last frame.
            let lost = offset < bytes && bytes < self.header.allocated_bytes;
            return if lost { Err(self.fault(offset, Some(seq), Wrong::Lost)) } else { Ok(None) };
        };
        if frame_behind || bytes < self.header.allocated_bytes || end_of_set > offset + extent {
            return Err(found.unwrap_or_else(|| self.fault(first_set, Some(seq), Wrong::NotZero)));
        }
        Ok(Some(Torn { file: self.path.clone(), offset, seq, bytes: end_of_set - offset }))
    }

    pub(crate) fn fault(&self, offset: u64, seq: Option<Seq>, wrong: Wrong) -> Fault {
        Fault { file: self.path.clone(), offset, seq, wrong }
    }
}

/// A frame in memory: index and records.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    pub(crate) first: Seq,
    pub(crate) offset: u64,
    index: Vec<u8>,
    body: Vec<u8>,
}

impl Frame {
    /// The entry of the `n`-th record.
    pub(crate) fn entry(&self, n: usize) -> Option<IndexEntry> {
        let (entries, _) = self.index.as_chunks::<{ crate::format::INDEX_ENTRY_BYTES }>();
        index_entries(entries.get(n)?).next()
    }

    /// The bytes of a record that begins at `at` of the records.
    pub(crate) fn record(&self, at: usize, entry: IndexEntry) -> &[u8] {
        // The lengths add up to the body's: checked when the frame was read.
        &self.body[at..at + entry.bytes as usize]
    }

    /// Decodes the record that begins at `at`.
    pub(crate) fn decode(&self, segment: &Segment, seq: Seq, at: usize, entry: IndexEntry) -> Result<Record, Fault> {
        Record::decode(seq, self.record(at, entry)).map_err(|error| segment.fault(self.offset, Some(seq), error.into()))
    }
}

/// Reads what there is; what lies behind the end of the file counts as zeros.
pub(crate) fn read_zero_extended(file: &File, into: &mut [u8], offset: u64) -> io::Result<()> {
    let mut filled = 0;
    while filled < into.len() {
        match file.read_at(&mut into[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    into[filled..].fill(0);
    Ok(())
}

/// Lengths in memory are bounded by [`FRAME_BYTES_MAX`].
fn length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
