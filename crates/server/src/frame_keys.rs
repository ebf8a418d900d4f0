//! The keys of the journal's files, in the keyring.

use std::io;
use std::sync::Arc;

use event::KeyId;
use journal::{FrameKey, FrameKeys, Seq};
use keys::{Keyring, Purpose};

/// Frame keys that the keyring holds.
pub(crate) struct KeyringFrameKeys(pub(crate) Arc<Keyring>);

impl FrameKeys for KeyringFrameKeys {
    fn create(&self, _: Seq) -> io::Result<(KeyId, FrameKey)> {
        let (id, secret) = self.0.create(Purpose::Journal).map_err(io::Error::other)?;
        Ok((id, FrameKey::new(*secret.expose())))
    }

    fn get(&self, id: KeyId) -> io::Result<Option<FrameKey>> {
        Ok(self.0.get(id).map_err(io::Error::other)?.map(|secret| FrameKey::new(*secret.expose())))
    }
}

/// The keys for reading a journal; without a keyring there is a key for none of its files.
#[must_use]
pub fn frame_keys(keyring: Option<Arc<Keyring>>) -> Arc<dyn FrameKeys> {
    match keyring {
        Some(keyring) => Arc::new(KeyringFrameKeys(keyring)),
        None => Arc::new(NoKeys),
    }
}

struct NoKeys;

impl FrameKeys for NoKeys {
    fn create(&self, _: Seq) -> io::Result<(KeyId, FrameKey)> {
        Err(io::Error::other("this directory is only read"))
    }

    fn get(&self, _: KeyId) -> io::Result<Option<FrameKey>> {
        Ok(None)
    }
}
