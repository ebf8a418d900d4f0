//! The pin: the newest checkpoint, kept in the keyring. A ledger that does not go on from it has been replaced, cut or rolled back,
//! and is neither continued nor called intact: a server must not seal anew what somebody has rewritten.
//!
//! A copy lies in `keys/log.checkpoint`, for those who verify without the root key. Whoever can write the directory can write that.

use std::io;

use keys::{Keyring, KeysError};

use crate::data_dir::DataDir;

/// The keyring's name of the pin: a checkpoint, or nothing while none was published.
pub(crate) const LOG_PIN: &str = "log pin";

/// The copy's name.
const COPY: &str = "log.checkpoint";

/// Longest checkpoint that is read. One with hundreds of cosignatures of ML-DSA has less.
const CHECKPOINT_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The ledger is not the one that this server sealed.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The pinned checkpoint is not in the ledger's history.
    #[error(
        "ledger/checkpoints does not hold the checkpoint that {0} says was signed here: the ledger was replaced, cut \
         or rolled back; bring back ledger/ and journal/ from a copy, or keep this directory as evidence and start with a new one"
    )]
    Replaced(&'static str),
    /// There is a log's key and no pin, which are made together.
    #[error(
        "the keyring has the log's key and not the checkpoint that was signed last: an earlier build made it, or it was changed; bring \
         back keys/ from a copy, or keep this directory as evidence and start with a new one"
    )]
    Missing,
    /// The keyring does not say.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A file cannot be read or written.
    #[error("keys/log.checkpoint or ledger/checkpoints: {0}")]
    Io(#[from] io::Error),
}

/// Whether the ledger still holds the checkpoint that was signed last, as its copy has it.
pub fn check(data: &DataDir) -> Result<(), PinError> {
    match files::read_at_most(&data.key(COPY), CHECKPOINT_BYTES_MAX)? {
        Some(pinned) => compare(data, &pinned, "keys/log.checkpoint"),
        None => Ok(()),
    }
}

/// As [`check`], and as the keyring has it.
pub fn check_with(data: &DataDir, keyring: &Keyring) -> Result<(), PinError> {
    match keyring.named(LOG_PIN)? {
        Some(pinned) if pinned.is_empty() => {}
        Some(pinned) => compare(data, &pinned, "the keyring (the copy is keys/log.checkpoint)")?,
        None if keyring.named(crate::log_keys::LOG_KEY)?.is_some() => return Err(PinError::Missing),
        None => {}
    }
    check(data)
}

fn compare(data: &DataDir, pinned: &[u8], from: &'static str) -> Result<(), PinError> {
    if !holds(data, pinned)? {
        return Err(PinError::Replaced(from));
    }
    // The history keeps one signature of several. As long as the pinned checkpoint is the published one, that has them all.
    let text = |note: &[u8]| note.windows(2).position(|pair| pair == b"\n\n").map(|end| note[..end].to_vec());
    match files::read_at_most(&data.path().join("ledger/checkpoint"), CHECKPOINT_BYTES_MAX)? {
        Some(published) if text(&published) == text(pinned) && published != pinned => Err(PinError::Replaced(from)),
        _ => Ok(()),
    }
}

/// Whether the ledger's history holds a checkpoint, which may carry more signatures than the history keeps.
pub fn holds(data: &DataDir, note: &[u8]) -> io::Result<bool> {
    ledger::history_holds(data.path(), note)
}

/// Pins the checkpoint that has just been published.
pub(crate) fn set(data: &DataDir, keyring: &Keyring) -> Result<(), PinError> {
    let note = files::read_at_most(&data.path().join("ledger/checkpoint"), CHECKPOINT_BYTES_MAX)?;
    let note = note.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    keyring.put_named(LOG_PIN, &note)?;
    Ok(files::write_atomic(&data.key(COPY), &note, 0o600)?)
}
