//! Whether the log here goes on from the one that is published.

use std::io;
use std::path::Path;

use super::{PublicFiles, read_tile};
use crate::checkpoint::{CHECKPOINT_BYTES_MAX, Checkpoint};
use crate::disk::read_at_most;
use crate::key_chain::{KEYS_BYTES_MAX, KeyChain, VKEY_FILE_BYTES_MAX};
use crate::ledger::{CHECKPOINT, KEYS, VKEY};
use crate::note::NOTE_BYTES_MAX;
use crate::tile::TileBuilder;
use crate::verify::{Fault, VerifyError};

/// How far a published log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedLog {
    /// Records that the published checkpoint covers.
    pub size: u64,
    /// Records that are sealed here and not published yet.
    pub behind: u64,
}

/// Compares the ledger of a data directory with what is published of it: the published checkpoint must be signed by the keys of the
/// ledger here, and the tree here must begin with the published one. `Ok(Err(..))` names a ledger that was rolled back, a fork, or
/// another log. The tiles here that lead to the root are compared, no more: [`verify`](crate::verify()) verifies the ledger.
///
/// # Errors
/// When one of the two could not be read.
pub fn goes_on_from_published(data_dir: &Path, place: &dyn PublicFiles) -> Result<Result<PublishedLog, Fault>, VerifyError> {
    let ledger = data_dir.join("ledger");
    let read = |file: &str, bytes_max: usize| {
        let path = ledger.join(file);
        let bytes = read_at_most(&path, bytes_max).map_err(|source| VerifyError::File { path: path.clone(), source })?;
        Ok::<_, VerifyError>(bytes.filter(|bytes| bytes.len() <= bytes_max))
    };
    let Some(published) = place.get(CHECKPOINT, NOTE_BYTES_MAX)? else {
        return Ok(Err(fault(CHECKPOINT, "is missing where the log is published".to_owned())));
    };
    let (Some(note), Some(first)) = (read(CHECKPOINT, CHECKPOINT_BYTES_MAX)?, read(VKEY, VKEY_FILE_BYTES_MAX)?) else {
        return Ok(Err(fault("ledger", "is missing, or has no checkpoint, and a log is published".to_owned())));
    };
    let keys = match KeyChain::parse(&first, read(KEYS, KEYS_BYTES_MAX)?.as_deref()) {
        Ok(keys) => keys,
        Err(error) => return Ok(Err(fault("ledger/keys", error.to_string()))),
    };
    let here = match keys.open_published(&note) {
        Ok(here) => here,
        Err(error) => return Ok(Err(fault("ledger/checkpoint", error.to_string()))),
    };
    let there: Checkpoint = match keys.open(&published) {
        Ok(there) => there,
        Err(error) => {
            let what = format!("did not sign the checkpoint that is published: {error}");
            return Ok(Err(fault("ledger/keys", what)));
        }
    };
    if there.size > here.size {
        let what = format!(
            "covers {} records, and a checkpoint of {} is published, signed by this log: the ledger here was rolled back or cut",
            here.size, there.size
        );
        return Ok(Err(fault("ledger/checkpoint", what)));
    }
    let tree = TileBuilder::resume(there.size, |tile| {
        let path = ledger.join(tile.to_string());
        let bytes = read_tile(&ledger, tile).and_then(|bytes| bytes.ok_or_else(missing));
        bytes.map_err(|source| VerifyError::File { path, source })
    })?;
    if tree.is_none_or(|tree| tree.root() != there.root) {
        let what = format!(
            "the first {} records here do not have the root of the checkpoint that is published, signed by this log: it has forked",
            there.size
        );
        return Ok(Err(fault("ledger/tile", what)));
    }
    Ok(Ok(PublishedLog { size: there.size, behind: here.size - there.size }))
}

fn missing() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "is missing, or has a wrong length; `watchkeeper verify` of this ledger says more")
}

fn fault(place: &str, what: String) -> Fault {
    Fault { place: place.to_owned(), what, record: None }
}
