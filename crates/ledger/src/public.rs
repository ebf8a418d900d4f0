//! The log where anybody can read it: C2SP tlog-tiles in an object store or on a web server, and what stands beside the tiles.
//!
//! ```text
//! checkpoint              the newest one, signed by the log
//! vkey, keys              its public keys, as in `ledger/`
//! tile/…                  hashes and leaves, as in `ledger/`
//! witnessed               the newest checkpoint with cosignatures
//! minimum                 from which index on entries are there, where the log was pruned
//! timestamps/<N>.tsr      time stamps; `<N>.checkpoint` is what each is of; `index` lists the newest
//! heartbeats/<N>.json     records that tell that nothing happened, as disclosures; `index` lists the newest
//! ```
//!
//! Nothing of it tells of a person: leaves are commitments under random keys, and a heartbeat is the recorder's own record.

mod compare;
mod publish;

use std::io;
use std::path::Path;

pub use compare::{PublishedLog, goes_on_from_published};
pub use publish::{Heartbeat, PublishError, Published, publish};

use crate::disk::read_at_most;
use crate::tile::{TILE_WIDTH, TileId};
use crate::tlog_proof::canonical;

pub(crate) const TIMESTAMP_INDEX: &str = "timestamps/index";
pub(crate) const HEARTBEAT_INDEX: &str = "heartbeats/index";

/// Most numbers in an index: time stamps of six weeks at one an hour, heartbeats of a week at one each ten minutes. Older ones are
/// there under their names.
const INDEX_NUMBERS_MAX: usize = 1_000;

/// Longest index: each number has at most twenty digits and a newline.
pub(crate) const INDEX_BYTES_MAX: usize = INDEX_NUMBERS_MAX * 21;

/// Longest heartbeat as a disclosure: the recorder writes a few hundred bytes in some twenty fields.
pub(crate) const HEARTBEAT_BYTES_MAX: usize = 64 * 1024;

/// Files of a public log, read by anybody. Whoever serves them is not trusted.
pub trait PublicFiles {
    /// The bytes of a file; `None` when it is not there. Of one that has more than `bytes_max`, one byte more than those, so that it
    /// is seen to be longer.
    ///
    /// # Errors
    /// [`PlaceError::Failed`] when the place does not answer, which says nothing about the file.
    fn get(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, PlaceError>;

    /// Several files, each with the bytes that it may have; in their order. A place over a network asks for them at once.
    ///
    /// # Errors
    /// As [`PublicFiles::get`].
    fn get_all(&self, wanted: &[(String, usize)]) -> Result<Vec<Option<Vec<u8>>>, PlaceError> {
        wanted.iter().map(|(name, bytes_max)| self.get(name, *bytes_max)).collect()
    }
}

/// A place that a log is published at. Calls block; what they report done is there for every reader.
pub trait PublicPlace: PublicFiles {
    /// Puts a file that never changes. One with the same bytes that is there already is taken as put.
    ///
    /// # Errors
    /// [`PlaceError::Differs`] when another one is there, which stays; [`PlaceError::Failed`] when the place does not answer.
    fn create(&self, name: &str, bytes: &[u8]) -> Result<(), PlaceError>;

    /// Puts several such files, in any order.
    ///
    /// # Errors
    /// As [`PublicPlace::create`].
    fn create_all(&self, files: &[(String, Vec<u8>)]) -> Result<(), PlaceError> {
        files.iter().try_for_each(|(name, bytes)| self.create(name, bytes))
    }

    /// Puts a file in the place of the one that has the bytes `before`, or where there is none: the place compares and puts in one step,
    /// so that of two who publish at once only one does. Readers see the one file or the other. One with the same bytes that is there
    /// already is taken as put.
    ///
    /// # Errors
    /// [`PlaceError::Changed`] when there is another one than `before`, which stays; [`PlaceError::Taken`] where somebody else publishes
    /// for good; [`PlaceError::Failed`] when the place does not answer.
    fn exchange(&self, name: &str, before: Option<&[u8]>, bytes: &[u8]) -> Result<(), PlaceError>;

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// [`PlaceError::Failed`] when the place does not answer.
    fn remove(&self, name: &str) -> Result<(), PlaceError>;

    /// The names of the files directly below a directory, which are few.
    ///
    /// # Errors
    /// [`PlaceError::Failed`] when the place does not answer.
    fn list(&self, dir: &str) -> Result<Vec<String>, PlaceError>;
}

/// Why a place did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// The system, the network or the server.
    #[error("{name}: {what}")]
    Failed {
        /// The file.
        name: String,
        /// What happened.
        what: String,
    },
    /// Somebody else put a file while this was published.
    #[error(
        "{0} was changed at the place while it was published: another server publishes there (a copy of this record?), and nothing is \
         put over what it put; stop one of the two, and keep both records"
    )]
    Changed(String),
    /// Somebody else publishes at the place, as long as they run.
    #[error(
        "another process publishes there and holds the lock {0}: stop one of the two, and give each record a place of its own"
    )]
    Taken(String),
    /// What never changes is there with other bytes.
    #[error(
        "{0} is published with other bytes; published tiles are never replaced: find out who wrote it (a copy of this record, another \
         server with the same place?), and keep both"
    )]
    Differs(String),
}

/// The name of the time stamp of the checkpoint of so many records, without what stands behind the dot.
pub(crate) fn timestamp_name(size: u64) -> String {
    format!("timestamps/{size}")
}

pub(crate) fn heartbeat_name(seq: u64) -> String {
    format!("heartbeats/{seq}.json")
}

/// An index: numbers in decimal, a line each, the largest first. Only the first of them are kept.
pub(crate) fn encode_index(numbers: impl IntoIterator<Item = u64>) -> String {
    numbers.into_iter().take(INDEX_NUMBERS_MAX).map(|number| format!("{number}\n")).collect()
}

/// Reads an index; `None` when it has another form.
#[must_use]
pub fn parse_index(bytes: &[u8]) -> Option<Vec<u64>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    if bytes.len() > INDEX_BYTES_MAX {
        return None;
    }
    let text = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
    let numbers: Vec<u64> = text.split('\n').map(canonical).collect::<Option<_>>()?;
    (numbers.len() <= INDEX_NUMBERS_MAX && numbers.is_sorted_by(|one, next| one > next)).then_some(numbers)
}

/// A tile on disk, or the beginning of the wider one that has taken its place since the log has grown. `None` when there is
/// none, or one of a wrong length.
pub(crate) fn read_tile(ledger: &Path, tile: TileId) -> io::Result<Option<Vec<u8>>> {
    for width in tile.width..=TILE_WIDTH {
        let there = TileId { width, ..tile };
        let Some(mut bytes) = read_at_most(&ledger.join(there.to_string()), there.bytes())? else { continue };
        let is_whole = bytes.len() == there.bytes();
        bytes.truncate(tile.bytes());
        return Ok(is_whole.then_some(bytes));
    }
    Ok(None)
}

/// A tile of the log of a data directory, as [`TileId`] names it. `None` when there is none; what is there is not verified.
///
/// # Errors
/// A file that cannot be read.
pub fn tile(data_dir: &Path, tile: TileId) -> io::Result<Option<Vec<u8>>> {
    read_tile(&data_dir.join("ledger"), tile)
}

#[cfg(test)]
#[path = "public_tests.rs"]
pub(crate) mod tests;
