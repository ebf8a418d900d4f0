//! The pin: a copy of the newest checkpoint, kept with the keys. A ledger that does not go on from it has been replaced, cut or
//! rolled back, and is neither continued nor called intact: a server must not seal anew what somebody has rewritten.

use std::fs;
use std::io;

use crate::data_dir::DataDir;
use crate::secrets;

/// The ledger is not the one that this server sealed.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The pinned checkpoint is not in the ledger's history.
    #[error(
        "ledger/checkpoints does not hold the checkpoint that keys/log.checkpoint says was signed here: the ledger was replaced, cut \
         or rolled back; bring back ledger/ and journal/ from a copy, or keep this directory as evidence and start with a new one"
    )]
    Replaced,
    /// A file cannot be read or written.
    #[error("keys/log.checkpoint: {0}")]
    Io(#[from] io::Error),
}

/// Whether the ledger still holds the checkpoint that was signed last.
pub fn check(data: &DataDir) -> Result<(), PinError> {
    let pinned = match fs::read(data.key("log.checkpoint")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        pinned => pinned?,
    };
    if !holds(data, &pinned)? {
        return Err(PinError::Replaced);
    }
    // The history keeps one signature of several. As long as the pinned checkpoint is the published one, that has them all.
    let text = |note: &[u8]| note.windows(2).position(|pair| pair == b"\n\n").map(|end| note[..end].to_vec());
    match fs::read(data.path().join("ledger/checkpoint")) {
        Ok(published) if text(&published) == text(&pinned) && published != pinned => Err(PinError::Replaced),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Whether the ledger's history holds a checkpoint, which may carry more signatures than the history keeps.
pub fn holds(data: &DataDir, note: &[u8]) -> io::Result<bool> {
    let history = match fs::read(data.path().join("ledger/checkpoints")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        history => history?,
    };
    // A checkpoint begins at the start or behind the empty line that ends the one before.
    let starts =
        std::iter::once(0).chain(history.windows(2).enumerate().filter(|(_, pair)| pair == b"\n\n").map(|(at, _)| at + 2));
    let Some(kept) = ledger::history_form(note) else { return Ok(false) };
    let note = kept.as_bytes();
    Ok(starts.into_iter().any(|start| history[start..].starts_with(note)))
}

/// Pins the checkpoint that has just been published.
pub(crate) fn set(data: &DataDir) -> Result<(), PinError> {
    let note = fs::read(data.path().join("ledger/checkpoint"))?;
    Ok(secrets::write_atomic(&data.key("log.checkpoint"), &note, 0o600)?)
}
