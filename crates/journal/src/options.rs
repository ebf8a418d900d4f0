//! What can be set about a journal.

use crate::Seq;
use crate::format::{BLOCK_BYTES, FRAME_BYTES_MAX, padded};

/// Long enough that a new file is rare (one in 30,000 events of 2 KB), short enough that a preallocated one that is
/// hardly used does not hurt, and that the last one is read through in a tenth of a second when the journal is opened.
const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// The header's block, two for frames, and the last one, which no frame reaches.
const SEGMENT_BYTES_MIN: u64 = 4 * BLOCK_BYTES;

/// As much as one batch may be. It is written in a tenth of a second; what waits longer is better told to come back.
const QUEUE_BYTES_MAX: usize = FRAME_BYTES_MAX;

/// 7/8 of 2^19: what a hash table of 2^19 places holds, about 25 MB in all. At 1,000 events a second it recognises
/// what is sent again within 7 minutes, at 50,000 within 9 seconds; OTLP exporters send again after 1 to 10.
const IDS_REMEMBERED: usize = (1 << 19) / 8 * 7;

/// 7/8 of 2^18, about 16 MB. A content that has been forgotten is written again, which costs space and nothing else.
const CONTENTS_REMEMBERED: usize = (1 << 18) / 8 * 7;

/// One group commit stops taking more batches at this size. At 1 MiB the disk is at its full rate already (2.4 GB/s
/// against 0.4 GB/s at 64 KB), and a larger group would only make everybody in it wait longer.
const GROUP_BYTES_MAX: usize = 1024 * 1024;

/// What can be set about a journal. The defaults are good.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the journal must begin: everything before is kept elsewhere. Records from here on that are missing are an
    /// error; files that lie wholly before are left over from a retirement that was interrupted, and are removed when the
    /// journal is opened. A new journal begins here.
    pub first: Seq,
    /// Size of a segment file, in bytes; rounded up to whole blocks of 4 KiB, at least 16 KiB.
    pub segment_bytes: u64,
    /// Bytes of batches that may wait for the writer; an append above that is [`Busy`](crate::AppendError::Busy).
    /// A batch alone in the queue is always taken.
    pub queue_bytes_max: usize,
    /// How many event ids are remembered, to recognise what is sent twice.
    pub ids_remembered: usize,
    /// How many content ids are remembered, to write each content once.
    pub contents_remembered: usize,
    /// Size at which a group commit takes no more batches, in bytes.
    pub group_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            first: Seq(0),
            segment_bytes: SEGMENT_BYTES,
            queue_bytes_max: QUEUE_BYTES_MAX,
            ids_remembered: IDS_REMEMBERED,
            contents_remembered: CONTENTS_REMEMBERED,
            group_bytes_max: GROUP_BYTES_MAX,
        }
    }
}

impl Options {
    /// The file size of a segment that has to hold a frame of `frame_bytes`.
    pub(crate) fn allocate_for(&self, frame_bytes: u64) -> u64 {
        // The header's block in front, and one block behind that no frame reaches.
        padded(self.segment_bytes.max(SEGMENT_BYTES_MIN)).max(padded(frame_bytes) + 2 * BLOCK_BYTES)
    }
}
