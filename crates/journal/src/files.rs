//! The files of a journal that are closed: nothing will be written to them any more, and they can be retired.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use event::KeyId;

use crate::Seq;
use crate::disk::Disk;
use crate::segment::file_name;
use crate::watch::Watch;

/// A file whose records are all there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClosedFile {
    pub(crate) first: Seq,
    /// The seq after its last record, with which a later file begins.
    pub(crate) end: Seq,
    pub(crate) key: KeyId,
}

/// The closed files, oldest first. The newest file of the journal is never among them.
#[derive(Debug)]
pub(crate) struct Closed {
    files: Mutex<VecDeque<ClosedFile>>,
    /// Held while files are removed, so that the writer need not wait for that.
    retiring: Mutex<()>,
}

impl Closed {
    pub(crate) fn new(files: Vec<ClosedFile>) -> Self {
        Self { files: Mutex::new(files.into()), retiring: Mutex::new(()) }
    }

    pub(crate) fn push(&self, file: ClosedFile) {
        self.lock().push_back(file);
    }

    pub(crate) fn list(&self) -> Vec<ClosedFile> {
        self.lock().iter().copied().collect()
    }

    /// Removes the files whose records are all below `before`, oldest first, each durably before the next. Returns the
    /// keys of those that are gone.
    pub(crate) fn retire(&self, disk: &Disk, dir: &Path, watch: &Watch, before: Seq) -> io::Result<Vec<KeyId>> {
        let _alone = self.retiring.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gone = Vec::new();
        loop {
            let Some(oldest) = self.lock().front().copied().filter(|file| file.end <= before) else { return Ok(gone) };
            // Before the file goes, so that a reader that does not find it knows why.
            watch.set_first(oldest.end);
            match remove(disk, dir, oldest.first) {
                Ok(()) => gone.push(oldest.key),
                // What is gone is gone, and its keys are to be destroyed; the error will come again.
                Err(_) if !gone.is_empty() => return Ok(gone),
                Err(error) => return Err(error),
            }
            self.lock().pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<ClosedFile>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes a file durably. One that is gone already is no error: an attempt before may have come as far as that.
pub(crate) fn remove(disk: &Disk, dir: &Path, first: Seq) -> io::Result<()> {
    match disk.remove(&dir.join(file_name(first))) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => disk.sync_dir(dir),
    }
}
