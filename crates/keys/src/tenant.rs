//! `keys/tenant.key`: the tenant key, wrapped by the root key, and which keyring file it opens.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::error::KeysError;
use crate::root::RootKey;
use crate::secret::{Secret, random};

/// Name of the file.
pub(crate) const TENANT_FILE: &str = "tenant.key";

/// Longest file: a wrapped key of a KMS has some hundred bytes.
const TENANT_BYTES_MAX: usize = 16 * 1024;

/// Version of the file.
const VERSION: u32 = 1;

/// The file as it stands. Replacing it is the one step that decides over a change of the tenant key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tenant {
    version: u32,
    /// The root key that opens it.
    root: String,
    /// The file `keyring-<generation>.db` is the one that the key opens.
    pub(crate) generation: u64,
    /// The keyring file is just being made for the first time: nothing was kept in it yet, and it may be made again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_new: bool,
    /// The keyring, in 32 hexadecimal digits: random, and for good. Keyrings from before it have none until they are rotated.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    keyring: String,
    /// Base64 of the wrapped key.
    wrapped: String,
}

impl Tenant {
    /// Wraps the first key of a keyring, which is `is_new` until it is whole.
    pub(crate) fn wrap(key: &Secret, generation: u64, is_new: bool, root: &dyn RootKey) -> Result<Self, KeysError> {
        let none = Self { version: VERSION, root: root.id(), generation, is_new, keyring: String::new(), wrapped: String::new() };
        none.with_key(key, generation, is_new, root)
    }

    /// Wraps another key of the same keyring.
    pub(crate) fn with_key(&self, key: &Secret, generation: u64, is_new: bool, root: &dyn RootKey) -> Result<Self, KeysError> {
        let keyring = if self.keyring.is_empty() { event::hex::encode(&*random::<16>()?) } else { self.keyring.clone() };
        let wrapped = STANDARD.encode(root.wrap(key, &keyring)?);
        Ok(Self { version: VERSION, root: root.id(), generation, is_new, keyring, wrapped })
    }

    /// Reads the file of a directory; `None` when it is not there.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>, KeysError> {
        let path = path(dir);
        let damaged = |reason: String| KeysError::Tenant { path: path.clone(), reason };
        let mut before = None;
        let tenant: Self = loop {
            let Some(bytes) = files::read_at_most(&path, TENANT_BYTES_MAX as u64).map_err(KeysError::io(&path))? else {
                return Ok(None);
            };
            match serde_json::from_slice(&bytes) {
                Ok(tenant) => break tenant,
                // A file that was replaced between opening and reading is overwritten where it lies; the next look finds the new one.
                Err(_) if before.as_ref() != Some(&bytes) => before = Some(bytes),
                Err(error) => return Err(damaged(error.to_string())),
            }
        };
        if tenant.version != VERSION {
            return Err(damaged(format!("it has version {}, this program knows {VERSION}", tenant.version)));
        }
        Ok(Some(tenant))
    }

    /// Puts the file in its place. The one that was there is overwritten where it lies, so that a look at the bare disk does not
    /// find the old key; on a disk that writes elsewhere (flash, copy on write) that is all that can be done.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), KeysError> {
        let path = path(dir);
        let io = KeysError::io(&path);
        let json =
            serde_json::to_vec(self).map_err(|error| KeysError::Tenant { path: path.clone(), reason: error.to_string() })?;
        let old = File::options().write(true).open(&path).ok();
        files::write_atomic(&path, &json, 0o600).map_err(io)?;
        if let Some(mut old) = old {
            let overwritten = old
                .metadata()
                .and_then(|metadata| old.write_all(&vec![0; usize::try_from(metadata.len()).unwrap_or(0).min(TENANT_BYTES_MAX)]))
                .and_then(|()| old.sync_data());
            if let Err(error) = overwritten {
                tracing::warn!(%error, "the blocks of the old tenant.key could not be overwritten");
            }
        }
        Ok(())
    }

    /// The key.
    pub(crate) fn unwrap(&self, dir: &Path, root: &dyn RootKey) -> Result<Secret, KeysError> {
        let path = path(dir);
        if self.root != root.id() {
            return Err(KeysError::WrongRoot { path, wrapped_by: self.root.clone(), got: root.id() });
        }
        let wrapped = STANDARD
            .decode(&self.wrapped)
            .map_err(|error| KeysError::Tenant { path, reason: format!("field `wrapped`: {error}") })?;
        root.unwrap(&wrapped, &self.keyring)
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join(TENANT_FILE)
}
