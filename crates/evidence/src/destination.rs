//! Where a bundle is written to. It is made before there is a bundle: an export is recorded, so it should not fail for its file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::bag::{Bag, BagError, at, new_dir, new_file};

/// Names of archives that are none of a bundle.
const OTHER_ARCHIVES: [&str; 8] = [".zip", ".tar", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"];

/// Longest name of the directory in an archive.
const DIRECTORY_CHARS_MAX: usize = 64;

/// A new file or directory for a bundle. What was not written is removed again.
#[derive(Debug)]
pub struct Destination {
    path: PathBuf,
    kind: Kind,
    is_written: bool,
}

#[derive(Debug)]
enum Kind {
    Archive { file: File, directory: String },
    Directory,
}

/// Why there can be no bundle of that name.
#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    /// Nothing is written over.
    #[error("{0} exists already; a bundle is a new file or a new directory")]
    Exists(PathBuf),
    /// The name.
    #[error(
        "{0} needs a name in UTF-8 that ends with `.tar.gz` or `.tgz`, or has no ending: a bundle is one archive or a directory"
    )]
    Name(PathBuf),
    /// It cannot be made.
    #[error(transparent)]
    Bag(#[from] BagError),
}

impl Destination {
    /// Makes the file, where the name ends with `.tar.gz` or `.tgz`, or else the directory.
    pub fn create(path: &Path) -> Result<Self, DestinationError> {
        if path.symlink_metadata().is_ok() {
            return Err(DestinationError::Exists(path.to_owned()));
        }
        let unnamed = || DestinationError::Name(path.to_owned());
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(unnamed)?;
        let kind = match name.strip_suffix(".tar.gz").or_else(|| name.strip_suffix(".tgz")) {
            // The directory in the archive has a plain name, whatever the file is called.
            Some(stem) => {
                let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' };
                let directory: String = stem.chars().take(DIRECTORY_CHARS_MAX).map(plain).collect();
                if directory.is_empty() {
                    return Err(unnamed());
                }
                Kind::Archive { file: new_file(path)?, directory }
            }
            None if OTHER_ARCHIVES.iter().any(|other| name.to_ascii_lowercase().ends_with(other)) => return Err(unnamed()),
            None => {
                new_dir(path)?;
                Kind::Directory
            }
        };
        Ok(Self { path: path.to_owned(), kind, is_written: false })
    }

    /// Writes the bundle, durably.
    pub fn write(mut self, bag: &Bag) -> Result<(), BagError> {
        match &self.kind {
            Kind::Archive { file, directory } => {
                let file = file.try_clone().map_err(at(&self.path))?;
                bag.fill_tar_gz(file, &self.path, directory)?;
            }
            Kind::Directory => bag.fill_dir(&self.path)?,
        }
        self.is_written = true;
        Ok(())
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        if !self.is_written {
            // What was made here, and nothing else; where even that fails an empty name stays.
            let _ = match self.kind {
                Kind::Archive { .. } => fs::remove_file(&self.path),
                Kind::Directory => fs::remove_dir_all(&self.path),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_was_not_written_is_not_there_and_what_was_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut bag = Bag::default();
        bag.put("data/x", b"content".to_vec()).unwrap();
        for name in ["case.tar.gz", "case.tgz", "case 17.tar.gz", "case-17"] {
            let path = dir.path().join(name);
            drop(Destination::create(&path).unwrap());
            assert!(!path.exists(), "{name}");
            Destination::create(&path).unwrap().write(&bag).unwrap();
            assert!(matches!(Destination::create(&path), Err(DestinationError::Exists(_))), "{name}");
            assert_eq!(Bag::read(&path).unwrap(), bag, "{name}");
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o077, 0, "{name}");
        }
        let inside = dir.path().join("case-17/data/x").metadata().unwrap();
        assert_eq!(inside.permissions().mode() & 0o777, 0o600);
        for name in ["all.zip", "all.tar", ".tar.gz", ".."] {
            let path = dir.path().join(name);
            assert!(Destination::create(&path).is_err() && (name == ".." || !path.exists()), "{name}");
        }
        assert!(Destination::create(&dir.path().join("no/where.tar.gz")).is_err());
    }
}
