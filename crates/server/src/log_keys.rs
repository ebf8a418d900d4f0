//! The log's signing keys: where they are kept, and how they are rotated.
//!
//! A rotation goes in steps, so that a process that ends anywhere leaves a directory that starts and verifies:
//! 1. the next pair is kept in the keyring, beside the log's key;
//! 2. `ledger/keys` has the statement that the old pair and the new one sign: from here on the rotation stands;
//! 3. the next pair becomes the log's key in the keyring;
//! 4. the archive's manifest is signed anew, because a retired key is not believed there;
//! 5. an event is recorded, and the keyring remembers that it was.
//!
//! What ended before step 2 is discarded at the next start, what ended behind it is ended then. When the last checkpoint that the
//! old pair must sign is published, its private keys are destroyed.

use std::path::PathBuf;
use std::sync::Arc;

use capture::RecordError;
use event::{Event, Kind, attr};
use keys::{Keyring, KeysError};
use ledger::{KeyChain, Ledger, LedgerError, LogKey, Rotation};
use serde::Serialize;

use crate::asker::Asker;
use crate::data_dir::DataDir;
use crate::lifecycle::cold::{Cold, ColdError, lifecycle_event};
use crate::node::internal;
use crate::pin::LOG_PIN;
use crate::secrets;

/// The keyring's name of the key: one line for each private key.
pub(crate) const LOG_KEY: &str = "log key";

/// The keyring's name of the key as it is to be, while a rotation is made.
const NEXT: &str = "log key, next";

/// The keyring's name of how many rotations have their event, in decimal digits.
const RECORDED: &str = "log key, rotations recorded";

/// Records that the old pair signs along with the new one, unless somebody asks for another number: a day of a middling log, in
/// which whoever trusts the old key can learn the new one.
pub const OVERLAP_RECORDS: u64 = 10_000;

/// Most records of an overlap: until it is over, the keys cannot be rotated again and the old ones are not destroyed.
pub const OVERLAP_RECORDS_MAX: u64 = 1_000_000;

/// Longest file of public keys: thousands of rotations.
const KEY_CHAIN_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Why the log's keys cannot be had or changed.
#[derive(Debug, thiserror::Error)]
pub enum LogKeyError {
    /// The keyring.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// What the keyring holds.
    #[error("the log's key in the keyring: {0}")]
    Key(#[from] ledger::KeyError),
    /// The system's random generator.
    #[error("random generator: {0}")]
    Random(std::io::Error),
    /// A file of public keys.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The public keys.
    #[error("ledger/keys: {0}")]
    Chain(#[from] ledger::KeyChainError),
    /// The ledger did not take them.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The archive could not be signed anew, so nothing was rotated.
    #[error("the log's keys are not rotated while the archive cannot be signed anew: {0}")]
    Archive(#[from] ColdError),
    /// An overlap that nobody should want.
    #[error("an overlap has at most {OVERLAP_RECORDS_MAX} records: the keys cannot be rotated again before it is over")]
    Overlap,
    /// Rotations are gone.
    #[error(
        "ledger/keys has {found} rotations of the log's keys, and {recorded} were made here: the file was cut or replaced; bring back \
         ledger/ from a copy"
    )]
    Lost {
        /// As the file has it.
        found: u64,
        /// As the keyring has it.
        recorded: u64,
    },
    /// Nothing is sealed any more.
    #[error("nothing is sealed any more, so the keys were not rotated: {0}")]
    Stopped(String),
    /// The event cannot be written.
    #[error("the keys were rotated, and that cannot be recorded now: {0}; it will be at the next start")]
    Record(#[from] RecordError),
}

/// A pair of the log's keys, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogKeyInfo {
    /// Counted from 0, the pair that names the log.
    pub generation: u64,
    /// The smallest checkpoint that it signs, in records.
    pub from: u64,
    /// The largest that it signs; none for the newest.
    pub last: Option<u64>,
    /// `signs`, `overlap` (it signs along with its successor), or `retired`.
    pub state: &'static str,
    /// Whether the keyring holds the private keys; none where the keyring was not opened.
    pub held: Option<bool>,
    /// The verifier keys.
    pub vkeys: Vec<String>,
}

/// The log's key, made when there is none.
///
/// # Errors
/// What the keyring says.
pub(crate) fn log_key(keyring: &Keyring) -> Result<LogKey, LogKeyError> {
    if let Some(key) = named(keyring, LOG_KEY)? {
        return Ok(key);
    }
    // The origin names the log. It is random and says nothing of the operator; an operator may choose another one.
    let id = secrets::random::<8>().map_err(LogKeyError::Random)?;
    let key = LogKey::generate(&format!("watchkeeper.invalid/{}", event::hex::encode(&id)))?;
    // First: a key without a pin says that somebody has taken it away.
    keyring.put_named(LOG_PIN, b"")?;
    keyring.put_named(LOG_KEY, key.to_text().as_bytes())?;
    Ok(key)
}

/// The log's key at a start, after ending or discarding the rotation in which the last process ended.
pub(crate) fn settle(data: &DataDir, keyring: &Keyring) -> Result<LogKey, LogKeyError> {
    let chain = key_chain(data)?;
    if let Some(next) = named(keyring, NEXT)? {
        if chain.as_ref().is_some_and(|chain| chain.newest() == next.verifiers()) {
            take_over(keyring, &next)?;
        } else {
            tracing::warn!("a rotation of the log's keys was interrupted before it stood; the keys are as they were");
            keyring.destroy_named(NEXT)?;
        }
    }
    let (found, recorded) = (chain.as_ref().map_or(0, rotations), recorded(keyring)?);
    if found < recorded {
        return Err(LogKeyError::Lost { found, recorded });
    }
    log_key(keyring)
}

/// Makes the next pair and lets it sign: steps 1 to 4. `step` is told which one is done.
pub(crate) fn rotate(
    keyring: &Keyring,
    ledger: &mut Ledger,
    archives: &[Arc<Cold>],
    overlap: u64,
    step: &mut dyn FnMut(&str),
) -> Result<Rotation, LogKeyError> {
    if overlap > OVERLAP_RECORDS_MAX {
        return Err(LogKeyError::Overlap);
    }
    // Retired keys are not believed: nothing is rotated while the archive cannot be signed anew.
    archives.iter().try_for_each(|cold| cold.settle())?;
    let mut next = log_key(keyring)?;
    next.add_generation()?;
    let copy = LogKey::from_text(&next.to_text())?;
    // Asks the root key, too, as step 3 does: where a KMS does not answer, it is better known before the rotation stands.
    keyring.replace_named(&[(NEXT, next.to_text().as_bytes())], &[])?;
    step("the next pair is in the keyring");
    let rotation = match ledger.rotate(copy, overlap) {
        Err(error @ LedgerError::Keys(_)) => {
            // Nothing was written: the overlap before is not over.
            keyring.destroy_named(NEXT)?;
            return Err(error.into());
        }
        other => other?,
    };
    step("the statement is in the ledger");
    next.forget(|key| ledger.needs(key));
    ledger.forget_retired();
    take_over(keyring, &next)?;
    step("the next pair is the log's key");
    // It stands already. What keeps the archive from being signed now, the archiver tries again.
    for error in archives.iter().filter_map(|cold| cold.sign_with(&next).err()) {
        tracing::warn!(%error, "the archive's manifest is not signed by the log's new keys yet");
    }
    step("the archive is signed anew");
    Ok(rotation)
}

/// Destroys the private keys whose time is over. Whether there were any.
pub(crate) fn retire(keyring: &Keyring, ledger: &mut Ledger) -> Result<bool, LogKeyError> {
    if !ledger.holds_retired() {
        return Ok(false);
    }
    let mut key = log_key(keyring)?;
    key.forget(|key| ledger.needs(key));
    keyring.replace_named(&[(LOG_KEY, key.to_text().as_bytes())], &[])?;
    ledger.forget_retired();
    tracing::info!("the private keys of the log that sign nothing any more were destroyed");
    Ok(true)
}

/// The public keys of the log, as far as the ledger is there.
///
/// # Errors
/// [`LogKeyError::File`], [`LogKeyError::Chain`].
pub fn key_chain(data: &DataDir) -> Result<Option<KeyChain>, LogKeyError> {
    let read = |name: &str| {
        let path = data.path().join("ledger").join(name);
        files::read_at_most(&path, KEY_CHAIN_BYTES_MAX).map_err(|source| LogKeyError::File { path, source })
    };
    let Some(first) = read("vkey")? else { return Ok(None) };
    Ok(Some(KeyChain::parse(&first, read("keys")?.as_deref())?))
}

/// Every pair that the log ever had, oldest first; none where there is no ledger yet. `keyring` tells whose private keys are held.
///
/// # Errors
/// What the ledger's keys or the keyring say.
pub fn log_keys(data: &DataDir, keyring: Option<&Keyring>) -> Result<Vec<LogKeyInfo>, LogKeyError> {
    let Some(chain) = key_chain(data)? else { return Ok(Vec::new()) };
    let next = sealed_size(data) + 1;
    let held = keyring.map(|keyring| named(keyring, LOG_KEY)).transpose()?;
    let info = |(number, keys): (usize, &ledger::Generation)| LogKeyInfo {
        generation: number as u64,
        from: keys.from,
        last: keys.last,
        state: match keys.last {
            None => "signs",
            Some(last) if next <= last => "overlap",
            Some(_) => "retired",
        },
        held: held.as_ref().map(|key| key.as_ref().is_some_and(|key| keys.keys.iter().all(|public| key.holds(public)))),
        vkeys: keys.keys.iter().map(ToString::to_string).collect(),
    };
    Ok(chain.generations().iter().enumerate().map(info).collect())
}

/// The size of the published checkpoint; 0 where there is none, or none that can be read: whoever opens the ledger says that.
pub(crate) fn sealed_size(data: &DataDir) -> u64 {
    let published = ledger::published_checkpoint(data.path()).ok().flatten();
    published.and_then(|note| ledger::Checkpoint::parse(note.text()).ok()).map_or(0, |checkpoint| checkpoint.size)
}

/// The events of rotations that have none yet, because the process ended before; and how many rotations there are then.
pub(crate) fn unrecorded(data: &DataDir, keyring: &Keyring) -> Result<(Vec<Event<String>>, u64), LogKeyError> {
    let Some(chain) = key_chain(data)? else { return Ok((Vec::new(), 0)) };
    let (recorded, count) = (recorded(keyring)?, rotations(&chain));
    let missing = chain.generations().windows(2).enumerate().skip(usize::try_from(recorded).unwrap_or(usize::MAX));
    let event = |(index, pair): (usize, &[ledger::Generation])| {
        let rotation = Rotation {
            number: index as u64 + 1,
            from: pair[1].from,
            last: pair[0].last.unwrap_or_default(),
            keys: pair[1].keys.iter().map(ToString::to_string).collect(),
        };
        rotation_event(&rotation, None)
    };
    Ok((missing.map(event).collect(), count))
}

/// Remembers that every rotation up to this one has its event.
pub(crate) fn note_recorded(keyring: &Keyring, count: u64) -> Result<(), LogKeyError> {
    Ok(keyring.put_named(RECORDED, count.to_string().as_bytes())?)
}

/// What is recorded of a rotation.
pub(crate) fn rotation_event(rotation: &Rotation, asker: Option<&Asker>) -> Event<String> {
    let Rotation { number, from, last, keys } = rotation;
    let object =
        format!("rotation {number}: the new keys sign from {from} records on, the old ones up to {last}: {}", keys.join(" "));
    let mut event = lifecycle_event("log_key.rotate", "rotate", &object);
    if let Some(asker) = asker {
        asker.sign(&mut event);
    }
    event.set(attr::EVENT_OUTCOME, "success");
    event
}

/// What is recorded when private keys were destroyed.
pub(crate) fn retirement_event() -> Event<String> {
    let mut event = internal(Kind::Admin, "log_key.retire");
    event.set(attr::EVENT_ACTION, "delete");
    event.set(attr::ADMIN_OBJECT, "the private keys of the log whose overlap is over");
    event
}

fn take_over(keyring: &Keyring, next: &LogKey) -> Result<(), LogKeyError> {
    Ok(keyring.replace_named(&[(LOG_KEY, next.to_text().as_bytes())], &[NEXT])?)
}

fn named(keyring: &Keyring, name: &str) -> Result<Option<LogKey>, LogKeyError> {
    let Some(text) = keyring.named(name)? else { return Ok(None) };
    let text = std::str::from_utf8(&text).map_err(|_| ledger::KeyError::Form)?;
    Ok(Some(LogKey::from_text(text)?))
}

fn recorded(keyring: &Keyring) -> Result<u64, LogKeyError> {
    let count = keyring.named(RECORDED)?;
    Ok(count.and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok()).unwrap_or(0))
}

fn rotations(chain: &KeyChain) -> u64 {
    chain.generations().len() as u64 - 1
}

#[cfg(test)]
#[path = "log_keys_tests.rs"]
mod tests;
