//! What can go wrong with an archive.

use std::io;
use std::path::PathBuf;

use crate::{KeyStoreError, ManifestError, ObjectError, SealError, SegmentError, Span};

/// Why an archive did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A file of the archive's own directory.
    #[error("archive: {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("archive: {0} is locked: another process writes to this archive")]
    Locked(PathBuf),
    /// The manifest.
    #[error("archive: {0}")]
    Manifest(#[from] ManifestError),
    /// The manifest is gone.
    #[error("archive: {0} is missing, and generation {1} of it was seen; restore it from its copies in the object store")]
    NoManifest(PathBuf, u64),
    /// Where objects lie.
    #[error("archive: {0}")]
    Objects(#[from] ObjectError),
    /// Records to objects, or back.
    #[error("archive: {0}")]
    Segment(#[from] SegmentError),
    /// Encryption.
    #[error("archive: {0}")]
    Seal(#[from] SealError),
    /// Keys.
    #[error("archive: {0}")]
    Keys(#[from] KeyStoreError),
    /// The key of a segment.
    #[error("archive: the key of segment {span} is not there: it was destroyed, or the keyring is another one")]
    NoKey {
        /// The segment.
        span: Span,
    },
    /// An object that must be there.
    #[error("archive: object {name} of {span} {what}")]
    Object {
        /// The segment.
        span: Span,
        /// The object.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// What was written is not what is read back.
    #[error("archive: object {0} is not read back as it was written; the object store is not to be trusted")]
    ReadBack(String),
    /// What an interrupted change left was not left by one.
    #[error(
        "archive: {0} was not written with the keys of this archive, and nothing was done that it says; keep it as evidence, and \
         remove it to go on"
    )]
    Pending(PathBuf),
    /// What was asked for cannot be done to the span.
    #[error("archive: {first} to {end} stays as it is: {what}")]
    Refused {
        /// The span's first record.
        first: u64,
        /// One past its last.
        end: u64,
        /// Why not.
        what: String,
    },
    /// A record that cannot be redacted.
    #[error("archive: a record of {span} cannot be redacted: {source}")]
    Leaf {
        /// The segment.
        span: Span,
        /// Why.
        source: ledger::LeafError,
    },
    /// A segment that is not there.
    #[error("archive: there is no segment {0}")]
    NoSegment(Span),
    /// A legal hold.
    #[error("archive: {0} is under a legal hold; lift it first")]
    Held(Span),
    /// Whoever gives the records.
    #[error("archive: records could not be read: {0}")]
    Source(String),
    /// After an error in the middle of a change, what is on disk must be read back.
    #[error("archive: stopped by an earlier error; open it anew")]
    Stopped,
}

impl ArchiveError {
    /// Whether it may pass by itself: the network, the server of a bucket, a full disk.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Objects(ObjectError::Failed { .. }) | Self::File { .. } | Self::Stopped)
    }
}
