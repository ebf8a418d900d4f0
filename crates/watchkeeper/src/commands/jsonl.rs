//! JSON lines of files that people name: where they come from, and what is wrong with one.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

/// Longest line that is read, in bytes.
pub(super) const LINE_BYTES_MAX: usize = 128 * 1024 * 1024;

/// A file, or standard input for `-`.
pub(super) fn open(path: &Path) -> anyhow::Result<Box<dyn BufRead>> {
    if path.to_str() == Some("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let cannot_read = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(cannot_read)?;
    let is_dir = file.metadata().with_context(cannot_read)?.is_dir();
    ensure!(!is_dir, "cannot read {}: it is a directory; name a file in it", path.display());
    Ok(Box::new(BufReader::new(file)))
}

/// What a line says, or what is wrong with it. Which line of the file it is, JSON cannot know: to it every line is the first one.
pub(super) fn value<'l, T: Deserialize<'l>>(line: &'l [u8]) -> Result<T, String> {
    serde_json::from_slice(line).map_err(|error| error.to_string().replace(" at line 1 column ", ", column "))
}
