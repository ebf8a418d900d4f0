//! The archive: sealed spans of the journal as encrypted Parquet segments, on disk or in an object store, for years.
//!
//! [`Archive::seal`] writes a span of records as one segment for each retention class: two Parquet objects, encrypted as
//! a whole under a key of the segment's own, named by their digests. A signed manifest says what there is. [`View`] reads
//! and checks it. `docs/reference/archive-format.md` says enough to read an archive without this code.

#![forbid(unsafe_code)]

mod archive;
mod class;
mod columns;
mod error;
mod fs;
mod key;
mod manifest;
mod objects;
mod pending;
mod segment;
mod verify;
mod view;

pub use archive::{Archive, Kept, Rewritten, Sealing, restore_manifest};
pub use class::{Class, ClassError};
pub use error::ArchiveError;
pub use key::{KeyStoreError, SealError, SegmentKey, SegmentKeys, parse_identity};
pub use manifest::{Change, Dropped, Keeps, Manifest, ManifestError, Object, Pin, Purpose, Segment};
pub use objects::{
    Digest, DigestError, DirObjects, LockMode, ObjectError, ObjectName, Objects, Protection, PublicBucket, PublicDir, PublicSite,
    Put, S3Config, S3Objects,
};
pub use segment::{Part, SEGMENT_BYTES_MAX, SEGMENT_RECORDS_MAX, SegmentError, SegmentReader, Span, encode_segment};
pub use verify::{ArchiveFault, ArchiveReport, LeafOf, VerifyArchiveError, leaves_of};
pub use view::{Item, Reader, View};
