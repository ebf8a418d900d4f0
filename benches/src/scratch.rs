//! A directory of our own, removed at the end.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::say;

/// Lies in a directory that this program made and may remove.
const MARK: &str = "made-by-watchkeeper-benches";

/// A directory of our own, removed when it is dropped.
pub(crate) struct Scratch {
    dir: PathBuf,
    keep: bool,
}

impl Scratch {
    /// Makes the directory; one that an earlier run left is removed first.
    pub(crate) fn make(dir: &Path, keep: bool) -> anyhow::Result<Self> {
        if dir.exists() {
            if !dir.join(MARK).exists() {
                bail!("--dir {} is there and was not made by this program; choose another one", dir.display());
            }
            fs::remove_dir_all(dir)?;
        }
        fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        fs::write(dir.join(MARK), "")?;
        Ok(Self { dir: dir.to_owned(), keep })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = fs::remove_dir_all(&self.dir)
        {
            say(&format!("{}: {error}", self.dir.display()));
        }
    }
}
