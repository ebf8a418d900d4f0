//! Files of one kind below a directory, in the order of their names.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Deepest directory that is read.
const DEPTH_MAX: usize = 32;

/// Which files of a tree are read, and how much of it.
#[derive(Debug, Clone, Copy)]
pub struct Tree<'t> {
    /// What their names end with, behind the last dot.
    pub endings: &'t [&'t str],
    /// Most bytes of a file.
    pub file_bytes_max: u64,
    /// Most files.
    pub files_max: usize,
}

/// Why a tree is not read.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A file or directory cannot be read.
    #[error("cannot read {path}: {error}; check that it exists and may be read", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// There is more than is taken.
    #[error("{path} has more than {max} {what}", path = path.display())]
    TooMuch {
        /// Where.
        path: PathBuf,
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
    },
}

/// By what a file is known to have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    path: PathBuf,
    bytes: u64,
    changed: Option<SystemTime>,
}

impl Stamp {
    /// Of one file.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(path: &Path) -> io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        Ok(Self { path: path.to_owned(), bytes: metadata.len(), changed: metadata.modified().ok() })
    }
}

impl Tree<'_> {
    /// The files below a directory with their bytes, or the one file that is named, whatever it is called.
    ///
    /// # Errors
    /// What cannot be read, or is more than is taken.
    pub fn read(&self, at: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, TreeError> {
        let read = |path: PathBuf| {
            let failed = |error| TreeError::Read { path: path.clone(), error };
            let bytes_max = usize::try_from(self.file_bytes_max).unwrap_or(usize::MAX);
            match crate::read_named_at_most(&path, self.file_bytes_max) {
                Ok(Some(bytes)) => Ok((path, bytes)),
                Ok(None) => Err(failed(crate::not_there())),
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                    Err(TreeError::TooMuch { path, what: "bytes", max: bytes_max })
                }
                Err(error) => Err(failed(error)),
            }
        };
        self.paths(at)?.into_iter().map(read).collect()
    }

    /// What [`Tree::read`] would read, without reading it: another one where a file came, went or changed.
    ///
    /// # Errors
    /// As there.
    pub fn stamps(&self, at: &Path) -> Result<Vec<Stamp>, TreeError> {
        let stamp = |path: PathBuf| Stamp::of(&path).map_err(|error| TreeError::Read { path, error });
        self.paths(at)?.into_iter().map(stamp).collect()
    }

    fn paths(&self, at: &Path) -> Result<Vec<PathBuf>, TreeError> {
        let mut paths = Vec::new();
        if at.is_dir() {
            self.walk(at, 0, &mut paths)?
        } else {
            paths.push(at.to_owned())
        }
        paths.sort_unstable();
        Ok(paths)
    }

    fn walk(&self, dir: &Path, depth: usize, paths: &mut Vec<PathBuf>) -> Result<(), TreeError> {
        if depth > DEPTH_MAX {
            return Err(TreeError::TooMuch { path: dir.to_owned(), what: "nested directories", max: DEPTH_MAX });
        }
        let failed = |error| TreeError::Read { path: dir.to_owned(), error };
        for entry in std::fs::read_dir(dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            // Links are not followed: a set of files is what lies in its directory, and a loop is impossible.
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                self.walk(&path, depth + 1, paths)?;
            } else if kind.is_file() && path.extension().is_some_and(|of| self.endings.iter().any(|ending| of == *ending)) {
                paths.push(path);
            }
            if paths.len() > self.files_max {
                return Err(TreeError::TooMuch { path: dir.to_owned(), what: "files", max: self.files_max });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: Tree<'_> = Tree { endings: &["yml", "yaml"], file_bytes_max: 8, files_max: 2 };

    #[test]
    fn files_are_read_by_name_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        for (name, text) in [("b.yml", "2"), ("a/c.yaml", "1"), ("d.txt", "3")] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        std::os::unix::fs::symlink("d.txt", dir.path().join("e.yml")).unwrap();
        let read = YAML.read(dir.path()).unwrap();
        assert_eq!(read.iter().map(|(_, bytes)| bytes.as_slice()).collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(YAML.read(&dir.path().join("d.txt")).unwrap().len(), 1, "a file that is named is read");
        let stamps = YAML.stamps(dir.path()).unwrap();
        assert_eq!(stamps, YAML.stamps(dir.path()).unwrap());
        std::fs::write(dir.path().join("b.yml"), "22").unwrap();
        assert_ne!(stamps, YAML.stamps(dir.path()).unwrap());
    }

    #[test]
    fn what_is_too_much_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let told = || YAML.read(dir.path()).unwrap_err().to_string();
        std::fs::write(dir.path().join("a.yml"), "123456789").unwrap();
        assert!(told().contains("more than 8 bytes"), "{}", told());
        for name in ["a.yml", "b.yml", "c.yml"] {
            std::fs::write(dir.path().join(name), "1").unwrap();
        }
        assert!(told().contains("more than 2 files"), "{}", told());
        let told = YAML.read(&dir.path().join("none")).unwrap_err().to_string();
        assert!(told.contains("cannot read") && told.contains("No such file or directory"), "{told}");
    }
}
