//! Whether an archive is what its manifest says: with the keys down to each record's leaf, without them down to each byte.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::time::Duration;

use event::Timestamp;
use ledger::{LEAF_BYTES, TILE_WIDTH, TileId, TileKind};

use crate::archive::{MANIFEST, PENDING};
use crate::manifest::{MANIFEST_BYTES_MAX, Object, Segment, split};
use crate::objects::ObjectName;
use crate::view::View;
use crate::{ArchiveError, ObjectError, Purpose, Span, fs};

/// How often a fault is looked at again while the archive is being changed, and the pause between.
const TRIES_MAX: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);

/// Looks up the leaf of a record in the ledger's entry bundles; `None` when the ledger has none of that number.
pub type LeafOf<'a> = dyn FnMut(u64) -> io::Result<Option<[u8; LEAF_BYTES]>> + 'a;

/// What an archive that is intact holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ArchiveReport {
    /// The manifest's generation.
    pub generation: u64,
    /// Segments.
    pub segments: u64,
    /// Records in them, as the manifest says.
    pub records: u64,
    /// Records that were dropped.
    pub dropped: u64,
    /// Records whose leaves were compared with the ledger's: all of them, or none without keys.
    pub compared: u64,
    /// Bytes of their objects.
    pub bytes: u64,
    /// Objects of segments that were replaced or dropped and that are still there. No key opens them.
    pub left_over: u64,
}

/// The first thing that is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveFault {
    /// A copy of a generation.
    #[error("{name}: the copy of the manifest {what}")]
    Copy {
        /// The object.
        name: String,
        /// What is wrong.
        what: &'static str,
    },
    /// An object that must be there as it was put.
    #[error("{name}: the object of {span} {what}")]
    Object {
        /// The segment.
        span: Span,
        /// The object.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// An object that nobody put there.
    #[error("{0}: no manifest speaks of this object")]
    Foreign(String),
    /// A segment that does not open, or does not hold what it should.
    #[error("segment {span}: {what}")]
    Segment {
        /// The segment.
        span: Span,
        /// What is wrong.
        what: String,
    },
    /// A record that is not the one the ledger has sealed.
    #[error("record {seq} in segment {span}: {what}")]
    Record {
        /// The record.
        seq: u64,
        /// The segment.
        span: Span,
        /// What is wrong.
        what: String,
    },
}

/// Why no verdict is given, or a bad one.
#[derive(Debug, thiserror::Error)]
pub enum VerifyArchiveError {
    /// It is not intact.
    #[error(transparent)]
    Fault(#[from] Box<ArchiveFault>),
    /// It could not be read.
    #[error(transparent)]
    Unreadable(#[from] ArchiveError),
    /// The ledger could not be read.
    #[error("ledger: {0}")]
    Ledger(io::Error),
}

impl View {
    /// Verifies the archive: that each object is there with its digest and its lock, that there is no other, that the copies
    /// of the manifest are those of its generations. The manifest itself was verified when it was opened.
    ///
    /// With `leaf_of`, and the keys, each record's leaf in the log of `log_id` is compared with the ledger's.
    ///
    /// Another process may change the archive meanwhile: what looks like a fault is looked at again then.
    ///
    /// # Errors
    ///
    /// The first fault, in the order of the manifest; or that something could not be read.
    pub fn verify(&self, log_id: [u8; 16], mut leaf_of: Option<&mut LeafOf<'_>>) -> Result<ArchiveReport, VerifyArchiveError> {
        let mut newer: Option<View> = None;
        let mut tries = 0;
        loop {
            let view = newer.as_ref().unwrap_or(self);
            let result = view.verify_once(log_id, leaf_of.as_deref_mut());
            let Err(VerifyArchiveError::Fault(_) | VerifyArchiveError::Unreadable(_)) = &result else { return result };
            tries += 1;
            if tries == TRIES_MAX {
                return result;
            }
            match view.newer()? {
                Some(view) => newer = Some(view),
                // A change is under way: between the manifest and its copy, or before the manifest.
                None if self.dir.join(PENDING).exists() => std::thread::sleep(PAUSE),
                None => return result,
            }
        }
    }

    fn verify_once(&self, log_id: [u8; 16], leaf_of: Option<&mut LeafOf<'_>>) -> Result<ArchiveReport, VerifyArchiveError> {
        let mut report = ArchiveReport {
            generation: self.pin().generation,
            segments: self.manifest().segments().count() as u64,
            records: self.manifest().segments().map(|segment| segment.records).sum(),
            dropped: self.manifest().dropped().map(|dropped| dropped.records).sum(),
            ..ArchiveReport::default()
        };
        self.verify_copies()?;
        report.left_over = self.verify_names()?;
        for segment in self.manifest().segments() {
            for object in [&segment.events, &segment.contents] {
                self.verify_object(segment, object)?;
                report.bytes += object.bytes;
            }
        }
        if let Some(leaf_of) = leaf_of {
            report.compared = self.verify_records(log_id, leaf_of)?;
        }
        Ok(report)
    }

    fn verify_copies(&self) -> Result<(), VerifyArchiveError> {
        let path = self.dir.join(MANIFEST);
        let bytes = fs::read(&path, MANIFEST_BYTES_MAX).map_err(crate::archive::at(&path))?.unwrap_or_default();
        for (note, generation) in split(&bytes).flatten().zip(1..) {
            let name = ObjectName::Manifest(generation);
            let what = match self.objects.get(&name, None, note.len() as u64) {
                Ok(Some(copy)) if copy == note => continue,
                Ok(Some(_)) | Err(ObjectError::TooLarge { .. }) => "is not that of the archive's own manifest",
                Ok(None) => "is missing",
                Err(error) => return Err(ArchiveError::from(error).into()),
            };
            return Err(fault(ArchiveFault::Copy { name: name.to_string(), what }));
        }
        Ok(())
    }

    /// Every object that there is must be one that the manifest knows. Returns how many are left over.
    fn verify_names(&self) -> Result<u64, VerifyArchiveError> {
        let mut known = HashMap::new();
        for (segments, is_live) in
            [(self.manifest.gone.iter().collect::<Vec<_>>(), false), (self.manifest.segments().collect(), true)]
        {
            for object in segments.into_iter().flat_map(|segment| [&segment.events, &segment.contents]) {
                known.insert(object.digest, is_live);
            }
        }
        let newest = self.pin().generation;
        let mut left_over = 0;
        for name in self.list()? {
            match ObjectName::parse(&name) {
                Some(ObjectName::Segment(digest)) => match known.get(&digest) {
                    Some(true) => {}
                    Some(false) => left_over += 1,
                    None => return Err(fault(ArchiveFault::Foreign(name))),
                },
                Some(ObjectName::Manifest(generation)) if (1..=newest).contains(&generation) => {}
                Some(ObjectName::Manifest(_)) => {
                    let what = "is of a generation that the archive's own manifest does not have: that one was rolled back";
                    return Err(fault(ArchiveFault::Copy { name, what }));
                }
                None => return Err(fault(ArchiveFault::Foreign(name))),
            }
        }
        Ok(left_over)
    }

    fn verify_object(&self, segment: &Segment, object: &Object) -> Result<(), VerifyArchiveError> {
        let name = ObjectName::Segment(object.digest);
        let wrong = |what: String| fault(ArchiveFault::Object { span: segment.span(), name: name.to_string(), what });
        match self.fetch(segment, object) {
            Ok(_) => {}
            Err(ArchiveError::Object { what, .. }) => return Err(wrong(what.to_owned())),
            Err(ArchiveError::Objects(ObjectError::TooLarge { .. })) => {
                return Err(wrong(format!("has more than its {} bytes", object.bytes)));
            }
            Err(error) => return Err(error.into()),
        }
        // A copy elsewhere has no locks of its own.
        let Some(until) = object.locked_until.filter(|_| self.objects.is_write_once()) else { return Ok(()) };
        let found = self.objects.protection(&name, object.version.as_deref()).map_err(ArchiveError::from)?;
        let is_over = until <= Timestamp::now();
        // A bucket keeps whole seconds.
        let seconds = |time: Timestamp| time.unix_ns() / 1_000_000_000;
        if is_over || found.locked_until.is_some_and(|found| seconds(found) >= seconds(until)) {
            Ok(())
        } else {
            Err(wrong(format!("is locked until {:?} and must be until {until:?}", found.locked_until)))
        }
    }

    /// Within a span no record may come twice, over all its classes. With the manifest's counts, none is left out either.
    fn verify_records(&self, log_id: [u8; 16], leaf_of: &mut LeafOf<'_>) -> Result<u64, VerifyArchiveError> {
        let mut compared = 0;
        let (mut span_of_seen, mut seen) = ((0, 0), HashSet::new());
        for segment in self.manifest().segments() {
            let span = segment.span();
            let in_segment = |what: String| fault(ArchiveFault::Segment { span: span.clone(), what });
            let reader = match self.read(segment) {
                Ok(reader) => reader,
                Err(error @ (ArchiveError::NoKey { .. } | ArchiveError::Seal(_) | ArchiveError::Segment(_))) => {
                    return Err(in_segment(error.to_string()));
                }
                Err(error) => return Err(error.into()),
            };
            if span_of_seen != (span.first, span.end) || self.manifest().purpose() == Purpose::Forensic {
                span_of_seen = (span.first, span.end);
                seen.clear();
            }
            let mut records = 0;
            for record in reader {
                let record = record.map_err(|error| in_segment(error.to_string()))?;
                let seq = record.seq.0;
                let wrong = |what: String| fault(ArchiveFault::Record { seq, span: span.clone(), what });
                if !seen.insert(seq) {
                    return Err(wrong("it stands in another segment of the span, too".to_owned()));
                }
                let leaf = record.leaf(log_id).map_err(|error| wrong(format!("it has no leaf: {error}")))?;
                match leaf_of(seq).map_err(VerifyArchiveError::Ledger)? {
                    Some(sealed) if sealed == leaf.encode() => {}
                    Some(_) => return Err(wrong("its leaf is not the one that the ledger has sealed".to_owned())),
                    None => return Err(wrong("the ledger has no leaf of that number".to_owned())),
                }
                records += 1;
            }
            if records != segment.records {
                return Err(in_segment(format!("it has {records} records, and the manifest says {}", segment.records)));
            }
            compared += records;
        }
        Ok(compared)
    }
}

/// The leaves of a ledger of `size` leaves, out of the entry bundles below `dir` (`DATA/ledger`). Whether those are the
/// leaves that the checkpoints sign is for [`ledger::verify`] to say.
pub fn leaves_of(dir: &Path, size: u64) -> impl FnMut(u64) -> io::Result<Option<[u8; LEAF_BYTES]>> + use<> {
    /// A leaf behind its length.
    const ENTRY_BYTES: usize = 2 + LEAF_BYTES;
    let dir = dir.to_owned();
    let mut bundle: Option<(u64, Vec<u8>)> = None;
    move |seq| {
        if seq >= size {
            return Ok(None);
        }
        let width = u64::from(TILE_WIDTH);
        let index = seq / width;
        if bundle.as_ref().is_none_or(|(held, _)| *held != index) {
            let items = u16::try_from((size - index * width).min(width)).unwrap_or(TILE_WIDTH);
            let tile = TileId { kind: TileKind::Entries, index, width: items };
            let bytes = fs::read(&dir.join(tile.to_string()), tile.bytes() as u64)?;
            bundle = Some((index, bytes.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, tile.to_string()))?));
        }
        let at = usize::try_from(seq % width).unwrap_or(0) * ENTRY_BYTES;
        let entry = bundle.as_ref().and_then(|(_, bytes)| bytes.get(at + 2..at + ENTRY_BYTES));
        Ok(entry.and_then(|entry| entry.try_into().ok()))
    }
}

fn fault(fault: ArchiveFault) -> VerifyArchiveError {
    VerifyArchiveError::Fault(Box::new(fault))
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
