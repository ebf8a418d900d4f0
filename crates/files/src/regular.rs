//! Reading what somebody else may have put there: no link is followed, no pipe waited for, no more read than was asked for.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// What lies at a name is a link, a pipe, a device or a directory, and a file was wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no regular file: a link, a pipe, a device or a directory, which this program never puts there")]
pub struct NotRegular;

impl NotRegular {
    /// Whether that is what an error says.
    #[must_use]
    pub fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

/// Opens a regular file for reading.
///
/// # Errors
/// [`NotRegular`], and what the system says.
pub fn open_regular(path: &Path) -> io::Result<File> {
    // NONBLOCK: opening a pipe that nobody writes would wait for ever. A regular file does not know it.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed();
    let not_regular = || io::Error::new(io::ErrorKind::InvalidData, NotRegular);
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => return Err(not_regular()),
        // A socket.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => return Err(not_regular()),
        other => other?,
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_regular()) }
}

/// The bytes of a regular file of at most `bytes_max`; `None` when it is not there.
///
/// # Errors
/// [`NotRegular`], [`io::ErrorKind::FileTooLarge`], and what the system says.
pub fn read_at_most(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match open_regular(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        other => other?,
    };
    take(file, bytes_max).map(Some)
}

/// What the system says of a file that is not there, for those who got `None` and wanted one.
#[must_use]
pub fn not_there() -> io::Error {
    rustix::io::Errno::NOENT.into()
}

/// As [`read_at_most`], of a file that a person named, wherever links lead and whatever is there: a secret that is mounted is a link,
/// one that is passed on may be a pipe.
///
/// # Errors
/// As there, but for [`NotRegular`].
pub fn read_named_at_most(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    match File::open(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        opened => take(opened?, bytes_max).map(Some),
    }
}

fn take(file: File, bytes_max: u64) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len().min(bytes_max);
    // As long as it becomes: a vector that grows leaves copies of a secret behind.
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default().saturating_add(1));
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("has more than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// Whether a regular file has the name, for files that another library opens.
///
/// # Errors
/// What the system says, but for "not found".
pub fn is_regular(path: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        metadata => Ok(metadata?.is_file()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_is_read_and_no_more_of_it_than_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), "four").unwrap();
        assert_eq!(read_at_most(&at("file"), 4).unwrap().unwrap(), b"four");
        assert_eq!(read_at_most(&at("file"), 3).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read_at_most(&at("none"), 3).unwrap(), None);
        assert!(is_regular(&at("file")).unwrap() && !is_regular(&at("none")).unwrap());
        assert_eq!(read_at_most(&at("file/below"), 3).unwrap(), None);
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("zero")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RUSR).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for name in ["link", "zero", "pipe", "socket", "."] {
            let error = read_at_most(&at(name), 4).unwrap_err();
            assert!(NotRegular::is(&error) && !is_regular(&at(name)).unwrap(), "{name}: {error}");
        }
        assert_eq!(read_named_at_most(&at("link"), 4).unwrap().unwrap(), b"four");
        assert_eq!(read_named_at_most(&at("zero"), 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read_named_at_most(&at("none"), 4).unwrap(), None);
    }
}
