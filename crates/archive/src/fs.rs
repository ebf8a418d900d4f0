//! Small files of the archive's own directory: there whole or not at all.

use std::io;
use std::path::Path;

/// Puts a file in its place, durably.
pub(crate) fn replace(path: &Path, bytes: &[u8], steps: &Steps) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    steps.step()?;
    files::write_synced(&temporary, bytes, 0o600)?;
    steps.step()?;
    std::fs::rename(&temporary, path)?;
    steps.step()?;
    files::sync_dir_of(path)
}

/// Removes a file, durably. One that is not there is removed already.
pub(crate) fn remove(path: &Path, steps: &Steps) -> io::Result<()> {
    steps.step()?;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    }
    files::sync_dir_of(path)
}

/// The bytes of a file of at most `bytes_max`; `None` when it is not there.
pub(crate) fn read(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    files::read_at_most(path, bytes_max)
}

/// Where tests end a run. In the program it does nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Steps {
    #[cfg(test)]
    left: Option<std::sync::Arc<std::sync::atomic::AtomicI64>>,
}

impl Steps {
    #[cfg(test)]
    pub(crate) fn ending_after(steps: i64) -> Self {
        Self { left: Some(std::sync::Arc::new(steps.into())) }
    }

    #[cfg(test)]
    pub(crate) fn step(&self) -> io::Result<()> {
        match &self.left {
            Some(left) if left.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) <= 0 => {
                Err(io::Error::other("the test ends the run here"))
            }
            _ => Ok(()),
        }
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the tests' version has a use for both")]
    pub(crate) fn step(&self) -> io::Result<()> {
        Ok(())
    }
}
