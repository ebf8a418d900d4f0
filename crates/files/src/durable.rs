//! Files that are there whole or not at all, whenever the process or the machine ends.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// What stands behind the name of a file that is not yet in its place.
const TEMPORARY_SUFFIX: &str = ".tmp";

/// Writes a file so that after a crash it is either as before or as wanted: temporary file, fsync, rename, fsync of the directory.
/// `mode` is that of the new file.
///
/// # Errors
/// What the system says. The old file stands unless the last step failed, which makes the rename durable.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = beside(path, TEMPORARY_SUFFIX);
    write_synced(&temporary, bytes, mode)?;
    rename(&temporary, path)
}

/// As [`write_atomic`], with bytes that come piece by piece.
///
/// # Errors
/// What `write` and the system say, which may be told apart by the type of the error.
pub fn write_atomic_with<E: From<io::Error>>(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<(), E>,
) -> Result<(), E> {
    let temporary = beside(path, TEMPORARY_SUFFIX);
    let mut file = BufWriter::new(create(&temporary, mode)?);
    write(&mut file)?;
    file.flush()?;
    file.get_ref().sync_all()?;
    Ok(rename(&temporary, path)?)
}

/// Writes a file that must not be there yet, whole or not at all.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`], and what the system says.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = beside(path, &format!(".{}{TEMPORARY_SUFFIX}", std::process::id()));
    write_synced(&temporary, bytes, mode)?;
    // A link fails where a file is already, which a rename would replace.
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    linked?;
    sync_dir_of(path)
}

/// Writes a file, in the place of one that has the name, and makes its bytes durable; its name is not yet.
///
/// # Errors
/// What the system says.
pub fn write_synced(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = create(path, mode)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn create(path: &Path, mode: u32) -> io::Result<File> {
    // One that a crash left has the mode of whoever made it; a link would lead elsewhere.
    remove(path)?;
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

/// Gives a file of a directory another name there, durably.
///
/// # Errors
/// What the system says.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_dir_of(to)
}

/// Removes a file that may be there.
///
/// # Errors
/// What the system says.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes the names in a directory durable.
///
/// # Errors
/// What the system says.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Makes the names in a file's directory durable.
///
/// # Errors
/// What the system says.
pub fn sync_dir_of(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync_dir(parent.unwrap_or(Path::new(".")))
}

/// Makes a directory that only its owner can enter, and its name durable. One that was there before is closed to others: what
/// goes in is not for them.
///
/// # Errors
/// What the system says.
pub fn make_private_dir(path: &Path) -> io::Result<()> {
    if !path.is_dir() {
        let missing: Vec<&Path> = path.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.is_dir()).collect();
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        for dir in missing {
            sync_dir_of(dir)?;
        }
    }
    fs::set_permissions(path, Permissions::from_mode(0o700))
}

/// The path with something behind its name.
#[must_use]
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_with_its_own_mode_and_nothing_stays_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        write_atomic(&path, b"one", 0o644).unwrap();
        fs::write(dir.path().join("a.json.tmp"), "left by a crash").unwrap();
        write_atomic(&path, b"two", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(write_new(&path, b"three", 0o600).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!((fs::read(&path).unwrap(), fs::read_dir(dir.path()).unwrap().count()), (b"two".to_vec(), 1));
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        write_atomic_with(&path, 0o600, |file| file.write_all(b"one")).unwrap();
        let failed = write_atomic_with(&path, 0o600, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("stopped"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"one");
        write_atomic_with(&path, 0o600, |file| file.write_all(b"two")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
    }

    #[test]
    fn a_link_that_lies_where_the_temporary_file_goes_leads_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let (path, aside) = (dir.path().join("pin"), dir.path().join("aside"));
        fs::write(&aside, "somebody's").unwrap();
        std::os::unix::fs::symlink(&aside, dir.path().join("pin.tmp")).unwrap();
        write_atomic(&path, b"7", 0o600).unwrap();
        assert_eq!((fs::read(&path).unwrap(), fs::read(&aside).unwrap()), (b"7".to_vec(), b"somebody's".to_vec()));
    }
}
