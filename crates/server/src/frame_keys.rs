//! The keys of the journal's files: derived from one secret in `keys/journal.key`.

use std::io;
use std::sync::Arc;

use event::KeyId;
use journal::{DerivedKeys, FrameKey, FrameKeys, Seq};

use crate::data_dir::DataDir;
use crate::secrets;

const FILE: &str = "journal.key";

/// The keys for writing; the secret is made when there is none.
pub(crate) fn open(data: &DataDir) -> io::Result<Arc<dyn FrameKeys>> {
    Ok(Arc::new(DerivedKeys::new(&secrets::load_or_create::<32>(&data.key(FILE))?)))
}

/// The keys for reading a data directory. Where the directory has no secret, as a copy of the record alone has none, there
/// is no key for any file of the journal.
///
/// # Errors
/// When the secret cannot be read, or is not one.
pub fn frame_keys(data: &DataDir) -> io::Result<Arc<dyn FrameKeys>> {
    match data.key(FILE).try_exists()? {
        true => open(data),
        false => Ok(Arc::new(NoKeys)),
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
