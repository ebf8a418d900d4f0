//! What an interrupted change leaves is ended or undone: what it was about to do is written down before, and the manifest has copies.

use std::io;
use std::path::Path;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use bytes::Bytes;
use ledger::VerifierKey;

use super::{Archive, MANIFEST, PENDING, Sealed, at};
use crate::fs::{self, Steps};
use crate::manifest::{MANIFEST_BYTES_MAX, Manifest, Pin, Purpose, Segment};
use crate::objects::{Digest, ObjectName, Objects};
use crate::pending::{Pending, PendingObject, PendingSegment};
use crate::segment::OBJECT_BYTES_MAX;
use crate::{ArchiveError, ManifestError};

/// Longest `pending`.
const PENDING_BYTES_MAX: u64 = 1024 * 1024;

impl Archive {
    pub(super) fn announce(&self, come: &[Sealed], go: Option<(&Segment, bool)>) -> Result<(), ArchiveError> {
        let held = go.is_some_and(|(_, held)| held);
        let come = come.iter().map(|sealed| PendingSegment {
            key: sealed.key,
            objects: [&sealed.events, &sealed.contents]
                .map(|bytes| PendingObject { digest: Digest::of(bytes), version: None })
                .to_vec(),
            held,
        });
        let go = go.iter().map(|(segment, held)| PendingSegment::of(segment, *held)).collect();
        let pending = Pending { come: come.collect(), go };
        let path = self.view.dir.join(PENDING);
        let body = serde_json::to_string(&pending).map_err(|error| at(&path)(error.into()))?;
        let tag = self.pending_tag(&body)?;
        fs::replace(&path, format!("{body}\n{tag}\n").as_bytes(), &self.steps).map_err(at(&path))
    }

    /// What `pending` says is done: keys are destroyed, holds lifted, objects deleted. So only who has the keys may say it, and in
    /// this archive.
    fn pending_tag(&self, body: &str) -> Result<Digest, ArchiveError> {
        let purpose = crate::manifest::purpose_name(self.view.manifest.purpose());
        Ok(Digest(self.view.keys()?.tag(format!("watchkeeper archive pending\n{purpose}\n{body}").as_bytes())?))
    }

    /// What `pending` says, if it is this archive's own.
    fn pending(&self, path: &Path, bytes: &[u8]) -> Result<Pending, ArchiveError> {
        let foreign = || ArchiveError::Pending(path.to_owned());
        let text = std::str::from_utf8(bytes).map_err(|_| foreign())?;
        let (body, tag) = text.split_once('\n').ok_or_else(foreign)?;
        let known = format!("{}\n", self.pending_tag(body)?);
        verify_slices_are_equal(tag.as_bytes(), known.as_bytes()).map_err(|_| foreign())?;
        serde_json::from_str(body).map_err(|error| at(path)(error.into()))
    }

    pub(super) fn forget_pending(&self) -> Result<(), ArchiveError> {
        let path = self.view.dir.join(PENDING);
        fs::remove(&path, &self.steps).map_err(at(&path))
    }

    /// Ends or undoes what the last process was at, and puts the copies of the manifest that are missing.
    pub(super) fn recover(&mut self) -> Result<(), ArchiveError> {
        self.view.objects.clean()?;
        self.copy_manifest()?;
        let path = self.view.dir.join(PENDING);
        let Some(bytes) = fs::read(&path, PENDING_BYTES_MAX).map_err(at(&path))? else { return Ok(()) };
        let pending = self.pending(&path, &bytes)?;
        let manifest = &self.view.manifest;
        let is_live = |segment: &PendingSegment| manifest.segments().any(|live| live.key == segment.key);
        // All that was to come is there or nothing is: one generation made the change.
        let of_them = pending.come.iter().chain(&pending.go).filter(|segment| !is_live(segment));
        for segment in of_them {
            tracing::info!(key = %segment.key, "ending what an interrupted change of the archive left");
            self.view.keys()?.destroy(&[segment.key])?;
            for object in &segment.objects {
                let name = ObjectName::Segment(object.digest);
                let version = object.version.as_deref();
                if segment.held && self.view.objects.get(&name, version, OBJECT_BYTES_MAX as u64)?.is_some() {
                    self.view.objects.hold(&name, version, false)?;
                }
                if !self.view.objects.delete(&name, version)? {
                    tracing::warn!(object = %name, "a lock holds an object that nothing opens; `sweep` deletes it later");
                }
            }
        }
        self.forget_pending()
    }

    /// A crash between a change and its copy leaves the copy missing: from the newest back to one that is there.
    fn copy_manifest(&mut self) -> Result<(), ArchiveError> {
        let path = self.view.dir.join(MANIFEST);
        let bytes = fs::read(&path, MANIFEST_BYTES_MAX).map_err(at(&path))?.unwrap_or_default();
        let notes: Vec<&[u8]> = crate::manifest::split(&bytes).flatten().collect();
        let generation = notes.len() as u64;
        let beyond = ObjectName::Manifest(generation + 1);
        if self.view.objects.get(&beyond, None, MANIFEST_BYTES_MAX)?.is_some() {
            return Err(ManifestError::RolledBack { found: generation, pinned: generation + 1 }.into());
        }
        for (note, generation) in notes.iter().rev().zip((1..=generation).rev()) {
            let name = ObjectName::Manifest(generation);
            match self.view.objects.get(&name, None, MANIFEST_BYTES_MAX)? {
                Some(copy) if copy == note => break,
                Some(_) => return Err(ManifestError::Forked(generation).into()),
                None => self.view.objects.put(&name, &Bytes::copy_from_slice(note), None)?,
            };
        }
        Ok(())
    }
}

/// Puts a manifest that was lost in its place again, from its copies beside the objects, and returns its state. Compare that
/// with the one that was seen last: whoever can delete objects can withhold the newest copies.
///
/// # Errors
///
/// When there is a manifest, or no copy, or the copies do not verify.
pub fn restore_manifest(
    dir: &Path,
    purpose: Purpose,
    objects: &dyn Objects,
    log_keys: &[VerifierKey],
) -> Result<Pin, ArchiveError> {
    let path = dir.join(MANIFEST);
    if path.try_exists().map_err(at(&path))? {
        return Err(at(&path)(io::ErrorKind::AlreadyExists.into()));
    }
    let mut bytes = Vec::new();
    for generation in 1.. {
        let room = MANIFEST_BYTES_MAX.saturating_sub(bytes.len() as u64 + 1);
        let Some(note) = objects.get(&ObjectName::Manifest(generation), None, room)? else { break };
        bytes.extend_from_slice(&note);
        bytes.push(b'\n');
    }
    let manifest = Manifest::open(&bytes, purpose, log_keys)?;
    if manifest.pin().generation == 0 {
        return Err(at(&path)(io::ErrorKind::NotFound.into()));
    }
    std::fs::create_dir_all(dir).map_err(at(dir))?;
    fs::replace(&path, &bytes, &Steps::default()).map_err(at(&path))?;
    Ok(manifest.pin())
}
