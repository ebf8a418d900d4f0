//! Where a bundle is written to. It is made before there is a bundle: an export is recorded, so it should not fail for its file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use event::Timestamp;

use crate::bag::{Bag, BagError, at, new_dir, new_file};

/// Names of archives that are none of a bundle.
const OTHER_ARCHIVES: [&str; 8] = [".zip", ".tar", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"];

/// How much of what a bundle is of stands in its name. The moment, which stands behind it and tells it from others, has to fit into
/// the name of the directory, too.
const OF_CHARS_MAX: usize = 32;

/// Longest name of the directory in an archive.
const DIRECTORY_CHARS_MAX: usize = 64;

/// A plain name for a bundle of something, made at a time: another one for each millisecond.
#[must_use]
pub fn bundle_name(of: &str, at: Timestamp) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let of: String = of.chars().take(OF_CHARS_MAX).map(plain).collect();
    let of = of.trim_matches('-');
    // 2026-11-22T09:15:03.120…Z
    let time = at.rfc3339();
    let (seconds, rest) = time.trim_end_matches('Z').split_once('.').unwrap_or((time.trim_end_matches('Z'), ""));
    let moment: String = seconds.chars().filter(|c| *c != ':').collect();
    let parts = ["evidence", of, &format!("{moment}.{:0<3}Z", rest.chars().take(3).collect::<String>())];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-").replace('.', "-")
}

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
    #[error("{0} exists already, and nothing is written over; name another one: a bundle is a new file or a new directory")]
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
    fn bundles_of_one_session_on_one_day_have_names_of_their_own() {
        let at = |ms: u64| Timestamp::from_unix_ns(1_772_442_903_000_000_000 + ms * 1_000_000);
        assert_eq!(bundle_name("demo-invoice", at(120)), "evidence-demo-invoice-2026-03-02T091503-120Z");
        assert_eq!(bundle_name("", at(0)), "evidence-2026-03-02T091503-000Z");
        assert_ne!(bundle_name("s", at(1)), bundle_name("s", at(2)));
        for of in ["../../etc", "a b;c\u{202e}", &"x".repeat(500)] {
            let name = bundle_name(of, at(1));
            assert!(name.len() <= DIRECTORY_CHARS_MAX && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{name}");
        }
    }

    #[test]
    fn bundles_of_one_session_within_a_minute_unpack_side_by_side() {
        let at = |ms: u64| Timestamp::from_unix_ns(1_772_442_903_000_000_000 + ms * 1_000_000);
        let dir = tempfile::tempdir().unwrap();
        let directory = |of: &str, ms: u64| {
            let name = bundle_name(of, at(ms));
            assert!(name.len() <= DIRECTORY_CHARS_MAX, "{name}");
            let made = Destination::create(&dir.path().join(format!("{name}.tar.gz"))).unwrap();
            let Kind::Archive { directory, .. } = &made.kind else { panic!("an archive") };
            assert_eq!(*directory, name);
            directory.clone()
        };
        for of in ["0190163d-8694-739b-aea5-966c26f8ad90", "session-0190163d-8694-739b-aea5-966c26f8ad90"] {
            assert_ne!(directory(of, 120), directory(of, 121));
        }
    }

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
