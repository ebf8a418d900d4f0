//! The bytes of segments and frames, as `docs/reference/journal-format.md` lays them down.

use event::{EventId, KeyId};

use crate::Seq;
use crate::fault::Wrong;
use crate::frame_keys::{NONCE_BYTES, Place, TAG_BYTES};

/// Frames start at multiples of this: the page of the file system, so that no page that holds acknowledged bytes is
/// written again, and a torn write cannot reach them.
pub(crate) const BLOCK_BYTES: u64 = 4_096;

/// Largest frame: header, index and records of one group commit. A batch has to fit into one frame, and so holds a
/// few of the largest contents (`event::limits::CONTENT_BYTES_MAX`); a reader never allocates more than this.
pub const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Length of the header of a segment.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 80;
/// Length of the header of a frame.
pub(crate) const FRAME_HEADER_BYTES: usize = 80;
/// What a frame takes besides its index entries and its records: the header, and a tag behind each of the two.
pub(crate) const FRAME_FIXED_BYTES: usize = FRAME_HEADER_BYTES + 2 * TAG_BYTES;
/// Length of one entry of a frame's index.
pub(crate) const INDEX_ENTRY_BYTES: usize = 20;

const MAGIC: &[u8; 8] = b"WKJOURN1";
const FORMAT_VERSION: u32 = 2;
/// Where a header keeps its own checksum: in its last bytes.
const CRC_AT: usize = 76;

/// Random bytes by which a segment knows its frames.
pub(crate) type Marker = [u8; 16];

/// The next block boundary at or after `bytes`.
pub(crate) fn padded(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES)
}

/// The header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) first: Seq,
    pub(crate) allocated_bytes: u64,
    pub(crate) marker: Marker,
    /// The key of its frames.
    pub(crate) key: KeyId,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut out = [0; SEGMENT_HEADER_BYTES];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[16..24].copy_from_slice(&self.first.0.to_le_bytes());
        out[24..32].copy_from_slice(&self.allocated_bytes.to_le_bytes());
        out[32..48].copy_from_slice(&self.marker);
        out[48..64].copy_from_slice(self.key.as_bytes());
        let crc = crc32c::crc32c(&out[..CRC_AT]);
        out[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Result<Self, Wrong> {
        if &bytes[..8] != MAGIC {
            return Err(Wrong::Magic);
        }
        // Another version may keep its checksum elsewhere.
        let version = u32_at(bytes, 8);
        if version != FORMAT_VERSION {
            return Err(Wrong::Version(version));
        }
        if crc32c::crc32c(&bytes[..CRC_AT]) != u32_at(bytes, CRC_AT) {
            return Err(Wrong::SegmentHeaderCrc);
        }
        let key = KeyId::from_bytes(array_at(bytes, 48)).ok_or(Wrong::SegmentHeader)?;
        let (first, allocated_bytes, marker) = (Seq(u64_at(bytes, 16)), u64_at(bytes, 24), array_at(bytes, 32));
        let header = Self { first, allocated_bytes, marker, key };
        let blocks = header.allocated_bytes / BLOCK_BYTES;
        if &header.encode() != bytes || !header.allocated_bytes.is_multiple_of(BLOCK_BYTES) || blocks < 2 {
            return Err(Wrong::SegmentHeader);
        }
        Ok(header)
    }
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) marker: Marker,
    pub(crate) first: Seq,
    pub(crate) records: u32,
    /// Bytes of the records, without the tag behind them.
    pub(crate) body_bytes: u32,
    pub(crate) index_nonce: [u8; NONCE_BYTES],
    pub(crate) body_nonce: [u8; NONCE_BYTES],
    /// Over the sealed index and its tag.
    pub(crate) index_crc: u32,
    /// Over the sealed records and their tag.
    pub(crate) body_crc: u32,
}

impl FrameHeader {
    pub(crate) fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        let mut out = [0; FRAME_HEADER_BYTES];
        out[..32].copy_from_slice(&self.place());
        out[32..44].copy_from_slice(&self.index_nonce);
        out[44..56].copy_from_slice(&self.body_nonce);
        out[56..60].copy_from_slice(&self.index_crc.to_le_bytes());
        out[60..64].copy_from_slice(&self.body_crc.to_le_bytes());
        let crc = crc32c::crc32c(&out[..CRC_AT]);
        out[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The part of the header that says where the frame belongs and how much it holds. Both seals authenticate it, so that
    /// no frame can be moved, shortened or numbered anew.
    pub(crate) fn place(&self) -> Place {
        let mut out = [0; 32];
        out[..16].copy_from_slice(&self.marker);
        out[16..24].copy_from_slice(&self.first.0.to_le_bytes());
        out[24..28].copy_from_slice(&self.records.to_le_bytes());
        out[28..].copy_from_slice(&self.body_bytes.to_le_bytes());
        out
    }

    /// Reads a header and checks everything that can be checked without the frame's content. What it returns is
    /// bounded by [`FRAME_BYTES_MAX`].
    pub(crate) fn decode(bytes: &[u8; FRAME_HEADER_BYTES], marker: &Marker) -> Result<Self, Wrong> {
        if &bytes[..16] != marker {
            return Err(Wrong::Marker);
        }
        if crc32c::crc32c(&bytes[..CRC_AT]) != u32_at(bytes, CRC_AT) {
            return Err(Wrong::FrameHeaderCrc);
        }
        let header = Self {
            marker: *marker,
            first: Seq(u64_at(bytes, 16)),
            records: u32_at(bytes, 24),
            body_bytes: u32_at(bytes, 28),
            index_nonce: array_at(bytes, 32),
            body_nonce: array_at(bytes, 44),
            index_crc: u32_at(bytes, 56),
            body_crc: u32_at(bytes, 60),
        };
        let ends = header.first.0.checked_add(u64::from(header.records));
        if header.records == 0 || header.bytes() > FRAME_BYTES_MAX as u64 || ends.is_none() || &header.encode() != bytes {
            return Err(Wrong::FrameHeader);
        }
        Ok(header)
    }

    /// Bytes of the sealed index with its tag.
    pub(crate) fn sealed_index_bytes(&self) -> u64 {
        u64::from(self.records) * INDEX_ENTRY_BYTES as u64 + TAG_BYTES as u64
    }

    /// Bytes of the sealed records with their tag.
    pub(crate) fn sealed_body_bytes(&self) -> u64 {
        u64::from(self.body_bytes) + TAG_BYTES as u64
    }

    /// Bytes of the whole frame, without the padding behind it.
    pub(crate) fn bytes(&self) -> u64 {
        FRAME_HEADER_BYTES as u64 + self.sealed_index_bytes() + self.sealed_body_bytes()
    }

    /// The seq after its last record.
    pub(crate) fn end(&self) -> Seq {
        Seq(self.first.0.saturating_add(u64::from(self.records)))
    }
}

/// One entry of a frame's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    pub(crate) id: [u8; 16],
    pub(crate) bytes: u32,
}

impl IndexEntry {
    pub(crate) fn new(id: EventId, bytes: u32) -> Self {
        Self { id: *id.as_bytes(), bytes }
    }

    pub(crate) fn encode(&self) -> [u8; INDEX_ENTRY_BYTES] {
        let mut out = [0; INDEX_ENTRY_BYTES];
        out[..16].copy_from_slice(&self.id);
        out[16..].copy_from_slice(&self.bytes.to_le_bytes());
        out
    }
}

/// The entries of an index that holds whole ones.
pub(crate) fn index_entries(index: &[u8]) -> impl Iterator<Item = IndexEntry> {
    let (entries, _) = index.as_chunks::<INDEX_ENTRY_BYTES>();
    entries.iter().map(|entry| IndexEntry { id: array_at(entry, 0), bytes: u32_at(entry, 16) })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

/// `N` bytes at `at`; the callers' arrays are longer than every offset that they name.
fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn headers_round_trip_and_notice_every_flip(marker: Marker, first in 0..u64::MAX / 2, records in 1u32..1000, body in 0u32..1_000_000,
                                                    key in proptest::array::uniform16(1u8..), nonce: [u8; 12], bit in 0usize..80 * 8) {
            let allocated_bytes = (u64::from(records) + 1) * BLOCK_BYTES;
            let segment = SegmentHeader { first: Seq(first), allocated_bytes, marker, key: KeyId::from_bytes(key).unwrap() };
            let mut bytes = segment.encode();
            prop_assert_eq!(SegmentHeader::decode(&bytes).ok(), Some(segment));
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(SegmentHeader::decode(&bytes).is_err());

            let frame = FrameHeader {
                marker, first: Seq(first), records, body_bytes: body, index_nonce: nonce, body_nonce: [!nonce[0]; 12],
                index_crc: body ^ 1, body_crc: records,
            };
            let mut bytes = frame.encode();
            prop_assert_eq!(FrameHeader::decode(&bytes, &marker).ok(), Some(frame));
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(FrameHeader::decode(&bytes, &marker).is_err());
        }
    }

    #[test]
    fn a_header_with_a_right_crc_is_still_held_to_its_bounds() {
        let good = FrameHeader {
            marker: [3; 16],
            first: Seq(0),
            records: 1,
            body_bytes: 9,
            index_nonce: [0; 12],
            body_nonce: [0; 12],
            index_crc: 0,
            body_crc: 0,
        };
        for bad in [
            FrameHeader { records: 0, ..good },
            FrameHeader { records: u32::MAX, ..good },
            FrameHeader { body_bytes: u32::MAX, ..good },
            FrameHeader { first: Seq(u64::MAX), ..good },
        ] {
            assert!(matches!(FrameHeader::decode(&bad.encode(), &[3; 16]), Err(Wrong::FrameHeader)), "{bad:?}");
        }
    }
}
