//! The data directory: what lies where.
//!
//! ```text
//! DIR/
//!   format            version of this layout
//!   journal/          the record itself (crate `journal`)
//!   ledger/           Merkle tiles and checkpoints (crate `ledger`)
//!   archive/          older records; forensic/ copies of some (crate `archive`)
//!   store/            hot partitions, derived, may be deleted (crate `store`)
//!   state/            cursors of the consumers; what the detector knows of behaviour; copies of accepted baselines;
//!                     what people decided of detections (`triage.db`)
//!   keys/             mode 0700: the keyring (crate `keys`), which has the pins and the API keys, too; copies of the pins
//!   intel/            threat intelligence that was pulled and imported, sealed; may be deleted but for imports
//!   run/              address and token of the running server for local commands
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use keys::{Keyring, KeysError};
use sanitize::TokenKey;

/// Version of the layout.
const FORMAT: &str = "watchkeeper data 2\n";

/// Longest `format` that is read.
const FORMAT_BYTES_MAX: u64 = 4 * 1024;

/// The keyring's names of the key of tokens and of its label.
const TOKEN_KEY: &str = "token key";
/// See [`TOKEN_KEY`].
const TOKEN_LABEL: &str = "token label";

/// A data directory that exists and has the layout of this version.
#[derive(Debug, Clone)]
pub struct DataDir(PathBuf);

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It cannot be made or read.
    #[error("data directory {path}: {source}")]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else, or data of another version.
    #[error(
        "{0} is not a data directory of this version of Watchkeeper, which writes \"watchkeeper data 2\": its file `format` says {1:?}; \
         choose another with --data (a directory of version 1 is not encrypted, and is read by the version that wrote it)"
    )]
    Format(PathBuf, String),
    /// It does not exist or holds no record.
    #[error("{0} holds no record; name the data directory with --data DIR or WATCHKEEPER_DATA")]
    Missing(PathBuf),
}

impl DataDir {
    /// Opens the directory and makes what is missing, readable by its owner only.
    pub fn create(path: &Path) -> Result<Self, DataDirError> {
        let wrap = |path: &Path| {
            let path = path.to_owned();
            move |source| DataDirError::Io { path, source }
        };
        let format = path.join("format");
        if path.is_dir() && !format.exists() {
            for entry in fs::read_dir(path).map_err(wrap(path))? {
                // What a first start leaves that ended before the format stood.
                if entry.map_err(wrap(path))?.file_name() != "format.tmp" {
                    return Err(DataDirError::Format(path.to_owned(), String::new()));
                }
            }
        }
        files::make_private_dir(path).map_err(wrap(path))?;
        let dir = Self(path.to_owned());
        if !format.exists() {
            files::write_atomic(&format, FORMAT.as_bytes(), 0o644).map_err(wrap(&format))?;
        }
        dir.check_format()?;
        for sub in ["journal", "ledger", "store", "state", "keys", "run"] {
            let sub = path.join(sub);
            files::make_private_dir(&sub).map_err(wrap(&sub))?;
        }
        Ok(dir)
    }

    /// Opens a directory that must hold a record already.
    pub fn existing(path: &Path) -> Result<Self, DataDirError> {
        if !path.join("format").exists() {
            return Err(DataDirError::Missing(path.to_owned()));
        }
        let dir = Self(path.to_owned());
        dir.check_format()?;
        Ok(dir)
    }

    /// A directory that is only read, and may be a copy of a part.
    #[must_use]
    pub fn unchecked(path: &Path) -> Self {
        Self(path.to_owned())
    }

    fn check_format(&self) -> Result<(), DataDirError> {
        let path = self.0.join("format");
        let format = files::read_at_most(&path, FORMAT_BYTES_MAX).and_then(|found| found.ok_or(io::ErrorKind::NotFound.into()));
        let format = format.map_err(|source| DataDirError::Io { path, source })?;
        if format == FORMAT.as_bytes() {
            Ok(())
        } else {
            Err(DataDirError::Format(self.0.clone(), String::from_utf8_lossy(&format).chars().take(40).collect()))
        }
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where the keyring is.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// A file below `keys/`.
    #[must_use]
    pub fn key(&self, name: &str) -> PathBuf {
        self.0.join("keys").join(name)
    }

    /// A file below `state/`.
    #[must_use]
    pub fn state(&self, name: &str) -> PathBuf {
        self.0.join("state").join(name)
    }

    /// A file below `run/`.
    #[must_use]
    pub fn run(&self, name: &str) -> PathBuf {
        self.0.join("run").join(name)
    }
}

/// The key of a record's tokens; it is made when there is none.
///
/// # Errors
/// Whatever the keyring says.
pub(crate) fn token_key(keyring: &Keyring) -> Result<TokenKey, KeysError> {
    // The year in which the key was made: `v26`. Tokens of one key carry one label for as long as it lives.
    let label = match keyring.named(TOKEN_LABEL)? {
        Some(label) => String::from_utf8_lossy(&label).into_owned(),
        None => {
            let label = format!("v{:02}", jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).year() % 100);
            keyring.put_named(TOKEN_LABEL, label.as_bytes())?;
            label
        }
    };
    Ok(TokenKey::new(*keyring.named_or_create::<32>(TOKEN_KEY)?, &label))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_foreign_directory_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.txt"), "x").unwrap();
        assert!(matches!(DataDir::create(dir.path()), Err(DataDirError::Format(..))));
        assert!(!dir.path().join("journal").exists());
        assert!(matches!(DataDir::existing(dir.path()), Err(DataDirError::Missing(_))));
    }

    #[test]
    fn a_first_start_that_ended_before_the_format_stood_is_no_foreign_directory() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("format.tmp"), "").unwrap();
        DataDir::create(dir.path()).unwrap();
        assert_eq!(fs::read(dir.path().join("format")).unwrap(), FORMAT.as_bytes());
        assert!(!dir.path().join("format.tmp").exists());
    }

    #[test]
    fn what_is_made_is_private_and_opens_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        DataDir::create(&path).unwrap();
        assert_eq!(fs::metadata(path.join("keys")).unwrap().permissions().mode() & 0o777, 0o700);
        DataDir::create(&path).unwrap();
        DataDir::existing(&path).unwrap();
    }
}
