//! Lists of days of the hot store, each with a time. They lie in the keyring: whoever can write the data directory must not be able to
//! say which days stay, and which are built anew.

use std::collections::BTreeMap;

use event::Timestamp;
use keys::{Keyring, KeysError};

/// One list, by its name in the keyring.
pub(super) struct NotedDays(pub(super) &'static str);

/// Days, and the time that is noted for each.
pub(super) type Days = BTreeMap<String, Timestamp>;

/// Why a list cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum NotedDaysError {
    /// The keyring.
    #[error("days of the hot store: {0}")]
    Keys(#[from] KeysError),
    /// It is not what this program wrote.
    #[error("days of the hot store in the keyring: {0}; a newer version of this program wrote them: use that one")]
    Parse(#[from] serde_json::Error),
}

impl NotedDays {
    pub(super) fn read(&self, keyring: &Keyring) -> Result<Days, NotedDaysError> {
        parse(keyring.named(self.0)?.as_ref().map(|bytes| &bytes[..]))
    }

    /// Changes the list. Nobody else does meanwhile, and it is on disk when this returns.
    pub(super) fn change(&self, keyring: &Keyring, change: impl FnOnce(&mut Days)) -> Result<(), NotedDaysError> {
        let mut outcome = Ok(());
        keyring.change_named(self.0, |old| {
            let changed = parse(old).and_then(|mut days| {
                change(&mut days);
                Ok(serde_json::to_vec(&days)?)
            });
            changed.unwrap_or_else(|error| {
                outcome = Err(error);
                old.unwrap_or_default().to_vec()
            })
        })?;
        outcome
    }
}

fn parse(bytes: Option<&[u8]>) -> Result<Days, NotedDaysError> {
    Ok(bytes.map(serde_json::from_slice).transpose()?.unwrap_or_default())
}
