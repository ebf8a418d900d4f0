//! What can be wrong with the files of a journal, and where.

use std::io;
use std::path::PathBuf;

use crate::{RecordError, Seq};

/// The place where a journal is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("{} at byte {offset}{}: {wrong}", file.display(), seq.map(|seq| format!(" (record {})", seq.0)).unwrap_or_default())]
pub struct Fault {
    /// The file.
    pub file: PathBuf,
    /// Offset in the file, in bytes: where the frame (or the header, or the padding) starts that is wrong.
    pub offset: u64,
    /// The first record that it concerns, where one is known.
    pub seq: Option<Seq>,
    /// What is wrong.
    pub wrong: Wrong,
}

impl Fault {
    /// Whether the file, or its key, could not be read, so that nothing can be said of its records. A key that is not there is another
    /// matter: a keyring has the key of every file that its journal wrote and still has.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        matches!(self.wrong, Wrong::Unreadable(_) | Wrong::Keyring(_))
    }
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Wrong {
    /// The system could not read it.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// The keyring could not say whether there is a key.
    #[error("its key cannot be read: {0}")]
    Keyring(#[source] io::Error),
    /// There is no key for the file.
    #[error("there is no key {0} for this file: its key was destroyed, or the keyring is another one")]
    NoKey(event::KeyId),
    /// A file that no journal has.
    #[error("this file does not belong to a journal")]
    UnknownFile,
    /// The lock file holds something.
    #[error("the lock file is not empty")]
    LockNotEmpty,
    /// It does not start as a segment does.
    #[error("not a segment: its first bytes are wrong")]
    Magic,
    /// The segment's header has been changed.
    #[error("checksum of the segment's header does not match")]
    SegmentHeaderCrc,
    /// The header of a segment states what cannot be.
    #[error("the segment's header states what cannot be")]
    SegmentHeader,
    /// Another format.
    #[error("format version {0} is not known; this program reads version 2")]
    Version(u32),
    /// Name and header name different records.
    #[error("the segment's header says that it begins at record {0}, its name says something else")]
    Name(u64),
    /// The file is longer than it can be.
    #[error("the file is longer than the {0} bytes that its header states")]
    TooLong(u64),
    /// Records are missing between two segments, or before the first.
    #[error("records are missing: the journal should go on here with record {expected}, and the segment begins at {found}")]
    Gap {
        /// The seq that should come.
        expected: u64,
        /// The one that the segment begins with.
        found: u64,
    },
    /// The file with the next record is not there.
    #[error("the segment that holds the record is missing")]
    Missing,
    /// Where a frame should be, something else is.
    #[error("bytes that are no frame, where a frame or zeros should be")]
    Marker,
    /// The frame's header has been changed.
    #[error("checksum of the frame's header does not match")]
    FrameHeaderCrc,
    /// The header of a frame states what cannot be.
    #[error("the frame's header states what cannot be")]
    FrameHeader,
    /// The frame goes on behind the end of the file.
    #[error("the frame goes on behind the end of the file")]
    Cut,
    /// The frame has another place in the order.
    #[error("the frame holds records from {found} on, and {expected} should come")]
    Order {
        /// The seq that should come.
        expected: u64,
        /// The one that is there.
        found: u64,
    },
    /// The frame's index has been changed.
    #[error("checksum of the frame's index does not match")]
    IndexCrc,
    /// The records have been changed.
    #[error("checksum of the frame's records does not match")]
    BodyCrc,
    /// The checksums are right, and the seal does not open.
    #[error("the frame does not open with the key of its file: somebody has changed it, or moved it here from another place")]
    Seal,
    /// The lengths of the records do not add up.
    #[error("the lengths in the frame's index do not add up")]
    IndexLengths,
    /// A frame was there.
    #[error("only zeros where a frame was: the file was closed behind this place")]
    Lost,
    /// Something stands where zeros should.
    #[error("bytes other than zero where only zeros should be")]
    NotZero,
    /// A record cannot be decoded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A record's event has an id that the index does not name.
    #[error("the event's id is not the one in the frame's index")]
    EventId,
    /// A content's text is not the one that its id commits to.
    #[error("content {0} of the record is not the text that its id commits to")]
    Content(usize),
}

impl Wrong {
    /// Whether a write that the power cut short can leave this behind. What has a right checksum and is wrong all
    /// the same was written so.
    pub(crate) fn can_be_torn(&self) -> bool {
        matches!(self, Self::Marker | Self::FrameHeaderCrc | Self::IndexCrc | Self::BodyCrc | Self::NotZero)
    }
}
