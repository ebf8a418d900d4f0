//! The files of an evaluation: its set, and the baseline that runs are compared with. Commands and the schedule read them here.

use std::io;
use std::path::{Path, PathBuf};

use evaluate::{Baseline, BaselineError, Set, SetError};

/// Largest set that is read, in bytes. What a set may have less than that is for [`Set::read`] to say.
const SET_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Largest baseline, likewise.
pub(super) const BASELINE_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no such set.
    #[error("there is no {}", .0.display())]
    NoSet(PathBuf),
    /// A set is text.
    #[error("{} is not UTF-8", .0.display())]
    Encoding(PathBuf),
    /// A set that is none.
    #[error("{}: {source}", path.display())]
    Set {
        /// Which.
        path: PathBuf,
        /// Why.
        source: SetError,
    },
    /// A baseline that is none.
    #[error("{}: {source}", path.display())]
    Baseline {
        /// Which.
        path: PathBuf,
        /// Why.
        source: BaselineError,
    },
}

/// Reads a set, which is called as its file is, without the ending.
///
/// # Errors
/// [`InputError`], which names the file.
pub fn read_set(path: &Path) -> Result<Set, InputError> {
    let bytes = read(path, SET_BYTES_MAX)?.ok_or_else(|| InputError::NoSet(path.to_owned()))?;
    let text = String::from_utf8(bytes).map_err(|_| InputError::Encoding(path.to_owned()))?;
    let name = path.file_stem().map_or_else(|| "set".to_owned(), |name| name.to_string_lossy().into_owned());
    Set::read(&name, &text).map_err(|source| InputError::Set { path: path.to_owned(), source })
}

/// Reads a baseline. `None`: there is no such file.
///
/// # Errors
/// [`InputError`], which names the file.
pub fn read_baseline(path: &Path) -> Result<Option<Baseline>, InputError> {
    let baseline = read(path, BASELINE_BYTES_MAX)?.map(|json| Baseline::from_json(&json)).transpose();
    baseline.map_err(|source| InputError::Baseline { path: path.to_owned(), source })
}

fn read(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, InputError> {
    files::read_named_at_most(path, bytes_max).map_err(|source| InputError::Read { path: path.to_owned(), source })
}
