//! Secrets in files: made from the system's random generator, written whole or not at all, readable by the owner only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Fills an array from the system's random generator.
pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random numbers"))?;
    Ok(bytes)
}

/// Reads a secret of `N` bytes, and makes it first where there is none.
pub(crate) fn load_or_create<const N: usize>(path: &Path) -> io::Result<[u8; N]> {
    match fs::read(path) {
        Ok(bytes) => {
            let length = bytes.len();
            bytes.try_into().map_err(|_| io::Error::other(format!("{} has {length} bytes, not {N}", path.display())))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let secret = random::<N>()?;
            write_atomic(path, &secret, 0o600)?;
            Ok(secret)
        }
        Err(error) => Err(error),
    }
}

/// Writes a file so that after a crash it is either as before or as wanted: temporary file, fsync, rename, fsync of the directory.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        let first: [u8; 32] = load_or_create(&path).unwrap();
        assert_eq!(load_or_create::<32>(&path).unwrap(), first);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(load_or_create::<16>(&path).is_err());
    }
}
