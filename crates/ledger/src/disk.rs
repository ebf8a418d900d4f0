//! What the ledger does to a disk. A file is written beside its place, made durable and renamed into it, so that it is
//! there whole or not at all; then the directory is made durable, so that it stays there.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// What stands behind the name of a file that is not yet in its place.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";

/// The operations, each by name, so that tests can end the process at any of them.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// Directories whose names are not yet durable.
    dirty: BTreeSet<PathBuf>,
    #[cfg(test)]
    operations_left: Option<u64>,
}

impl Disk {
    /// A disk on which the process ends after so many operations.
    #[cfg(test)]
    pub(crate) fn ending_after(operations: u64) -> Self {
        Self { operations_left: Some(operations), ..Self::default() }
    }

    /// Puts a file in its place; the directory is durable after [`Disk::sync_dirs`].
    pub(crate) fn replace(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let temporary = temporary_of(path);
        if let Some(parent) = path.parent() {
            self.create_dirs(parent)?;
            self.dirty.insert(parent.to_owned());
        }
        let mut file = File::create(&temporary)?;
        self.write(&mut file, bytes)?;
        self.step()?;
        file.sync_all()?;
        self.step()?;
        std::fs::rename(&temporary, path)
    }

    /// Writes at the end of a file and makes it durable, its name included.
    pub(crate) fn append(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.step()?;
        let is_new = !path.try_exists()?;
        let mut file = File::options().append(true).create(true).open(path)?;
        self.write(&mut file, bytes)?;
        self.step()?;
        file.sync_all()?;
        if is_new && let Some(parent) = path.parent() {
            self.dirty.insert(parent.to_owned());
            self.sync_dirs()?;
        }
        Ok(())
    }

    /// Cuts a file off and makes that durable.
    pub(crate) fn truncate(&mut self, path: &Path, bytes: u64) -> io::Result<()> {
        self.step()?;
        let file = File::options().write(true).open(path)?;
        file.set_len(bytes)?;
        file.sync_all()
    }

    /// Removes a file, and its directory if that is a partial tile's and empty now.
    pub(crate) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.step()?;
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if let Some(parent) = path.parent().filter(|parent| parent.extension().is_some_and(|extension| extension == "p")) {
            self.step()?;
            match std::fs::remove_dir(parent) {
                Err(error) if !matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound) => {
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes the names of all files durable that were put in their places.
    pub(crate) fn sync_dirs(&mut self) -> io::Result<()> {
        for dir in std::mem::take(&mut self.dirty) {
            self.step()?;
            match files::sync_dir(&dir) {
                // Removed since, with what was in it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        Ok(())
    }

    pub(crate) fn create_dirs(&mut self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            self.create_dirs(parent)?;
            self.dirty.insert(parent.to_owned());
        }
        self.step()?;
        match std::fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    #[cfg(test)]
    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        if let Err(end) = self.step() {
            file.write_all(&bytes[..bytes.len() / 2])?;
            return Err(end);
        }
        file.write_all(bytes)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the tests' version has a use for it")]
    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    #[cfg(test)]
    fn step(&mut self) -> io::Result<()> {
        match &mut self.operations_left {
            Some(0) => Err(io::Error::other("the test ends the process here")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the tests' version has a use for both")]
    fn step(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where a file is written before it is renamed.
pub(crate) fn temporary_of(path: &Path) -> PathBuf {
    files::beside(path, TEMPORARY_SUFFIX)
}

/// The bytes of a file, `max + 1` of them at most, so that a longer one is seen to be longer; `None` when it is not there.
pub(crate) fn read_at_most(path: &Path, max: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match files::open_regular(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        other => other?,
    };
    let mut bytes = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// What lies in a directory tree, told depth first in the order of the names; names that are not UTF-8 are told lossily.
pub(crate) fn walk(root: &Path, visit: &mut impl FnMut(&str, bool) -> io::Result<()>) -> io::Result<()> {
    fn descend(dir: &Path, prefix: &str, visit: &mut impl FnMut(&str, bool) -> io::Result<()>) -> io::Result<()> {
        let mut entries = std::fs::read_dir(dir)?
            .map(|entry| {
                let entry = entry?;
                Ok((entry.file_name(), entry.file_type()?.is_dir()))
            })
            .collect::<io::Result<Vec<_>>>()?;
        entries.sort();
        for (name, is_dir) in entries {
            let path = format!("{prefix}{}", name.to_string_lossy());
            visit(&path, is_dir)?;
            if is_dir {
                descend(&dir.join(&name), &format!("{path}/"), visit)?;
            }
        }
        Ok(())
    }
    descend(root, "", visit)
}
