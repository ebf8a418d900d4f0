//! The keys of the journal's files: data keys of the keyring.

use std::io;
use std::sync::Arc;

use event::KeyId;
use journal::{FrameKey, FrameKeys, Seq};
use keys::{DataKeys, Keyring, KeysError, Purpose, Secret};

struct JournalKeys(DataKeys);

/// The keys of the journal whose keyring this is.
#[must_use]
pub fn frame_keys(keyring: Arc<Keyring>) -> Arc<dyn FrameKeys> {
    Arc::new(JournalKeys(DataKeys::new(keyring, Purpose::Journal)))
}

impl FrameKeys for JournalKeys {
    fn create(&self, _: Seq) -> io::Result<(KeyId, FrameKey)> {
        let (id, key) = self.0.create().map_err(io_error)?;
        Ok((id, frame_key(&key)))
    }

    fn get(&self, id: KeyId) -> io::Result<Option<FrameKey>> {
        Ok(self.0.get(id).map_err(io_error)?.map(|key| frame_key(&key)))
    }
}

fn frame_key(key: &Secret) -> FrameKey {
    FrameKey::new(*key.expose())
}

/// The journal waits out a full disk, and stops on everything else.
fn io_error(error: KeysError) -> io::Error {
    if error.is_disk_full() { io::Error::new(io::ErrorKind::StorageFull, error) } else { io::Error::other(error) }
}
