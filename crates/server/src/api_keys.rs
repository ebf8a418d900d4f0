//! API keys: shown once, kept as hashes.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use keys::hex;

use crate::access::Role;
use crate::secrets;

/// Most keys of one installation.
const KEYS_MAX: usize = 10_000;

/// What is known of a key. The key itself is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// Names the key in logs and lists.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What it lets its holder do.
    pub role: Role,
    /// When it was made, seconds since 1970.
    pub created_unix_s: u64,
    /// When it ends, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_unix_s: Option<u64>,
    /// SHA-256 of the key in hex. A key has 256 random bits, so that a plain digest cannot be searched.
    sha256: String,
}

/// A key that has just been made, with its only copy.
#[derive(Debug)]
pub struct NewKey {
    /// What is known of it.
    pub info: KeyInfo,
    /// The key. Show it once, keep it nowhere.
    pub secret: String,
}

/// The keys of an installation, in a file that several processes may change.
pub struct ApiKeys {
    path: PathBuf,
    loaded: Mutex<Loaded>,
}

#[derive(Default)]
struct Loaded {
    keys: Vec<KeyInfo>,
    modified: Option<SystemTime>,
}

/// Why keys cannot be used or changed.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeyError {
    /// The file fails.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a list of keys.
    #[error("{path} is not a list of keys: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// There are too many.
    #[error("there are {KEYS_MAX} keys already; revoke those that are not used")]
    TooMany,
    /// There is no such key.
    #[error("no key has the id {0}")]
    Unknown(String),
}

impl KeyInfo {
    fn is_live(&self) -> bool {
        self.expires_unix_s.is_none_or(|end| unix_seconds() < end)
    }
}

impl ApiKeys {
    /// Opens the file; one that does not exist holds no keys.
    pub fn open(path: &Path) -> Result<Self, ApiKeyError> {
        let keys = Self { path: path.to_owned(), loaded: Mutex::default() };
        keys.reload(&mut keys.loaded.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(keys)
    }

    /// Makes a key.
    pub fn create(&self, name: &str, role: Role, lifetime_s: Option<u64>) -> Result<NewKey, ApiKeyError> {
        let mut loaded = self.fresh()?;
        if loaded.keys.len() >= KEYS_MAX {
            return Err(ApiKeyError::TooMany);
        }
        let io = |source| ApiKeyError::Io { path: self.path.clone(), source };
        let secret = format!("wk_{}", URL_SAFE_NO_PAD.encode(secrets::random::<32>().map_err(io)?));
        let now = unix_seconds();
        let info = KeyInfo {
            id: format!("key_{}", hex(&secrets::random::<6>().map_err(io)?)),
            name: name.to_owned(),
            role,
            created_unix_s: now,
            expires_unix_s: lifetime_s.map(|lifetime| now.saturating_add(lifetime)),
            sha256: digest(&secret),
        };
        loaded.keys.push(info.clone());
        self.store(&mut loaded)?;
        Ok(NewKey { info, secret })
    }

    /// Ends a key at once.
    pub fn revoke(&self, id: &str) -> Result<KeyInfo, ApiKeyError> {
        let mut loaded = self.fresh()?;
        let place = loaded.keys.iter().position(|key| key.id == id).ok_or_else(|| ApiKeyError::Unknown(id.to_owned()))?;
        let key = loaded.keys.remove(place);
        self.store(&mut loaded)?;
        Ok(key)
    }

    /// The keys, without their secrets.
    pub fn list(&self) -> Result<Vec<KeyInfo>, ApiKeyError> {
        Ok(self.fresh()?.keys.clone())
    }

    /// The key that a caller presents, if it is one and has not ended.
    pub fn check(&self, secret: &str) -> Option<KeyInfo> {
        let presented = digest(secret);
        let loaded = self.fresh().ok()?;
        // Digests are compared, not secrets: how long the comparison takes tells nothing of a key.
        let key = loaded.keys.iter().find(|key| key.sha256 == presented)?;
        key.is_live().then(|| key.clone())
    }

    /// The key with that id, if it has not ended.
    pub(crate) fn by_id(&self, id: &str) -> Option<KeyInfo> {
        let loaded = self.fresh().ok()?;
        loaded.keys.iter().find(|key| key.id == id && key.is_live()).cloned()
    }

    fn fresh(&self) -> Result<std::sync::MutexGuard<'_, Loaded>, ApiKeyError> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let modified = std::fs::metadata(&self.path).and_then(|metadata| metadata.modified()).ok();
        if modified != loaded.modified {
            self.reload(&mut loaded)?;
        }
        Ok(loaded)
    }

    fn reload(&self, loaded: &mut Loaded) -> Result<(), ApiKeyError> {
        let modified = std::fs::metadata(&self.path).and_then(|metadata| metadata.modified()).ok();
        let keys = match std::fs::read(&self.path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|source| ApiKeyError::Parse { path: self.path.clone(), source })?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(ApiKeyError::Io { path: self.path.clone(), source }),
        };
        *loaded = Loaded { keys, modified };
        Ok(())
    }

    fn store(&self, loaded: &mut Loaded) -> Result<(), ApiKeyError> {
        let json =
            serde_json::to_vec_pretty(&loaded.keys).map_err(|source| ApiKeyError::Parse { path: self.path.clone(), source })?;
        secrets::write_atomic(&self.path, &json, 0o600).map_err(|source| ApiKeyError::Io { path: self.path.clone(), source })?;
        loaded.modified = std::fs::metadata(&self.path).and_then(|metadata| metadata.modified()).ok();
        Ok(())
    }
}

fn digest(secret: &str) -> String {
    hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret.as_bytes()).as_ref())
}

fn unix_seconds() -> u64 {
    event::Timestamp::now().unix_ns() / 1_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_until_it_is_revoked_and_never_stored() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api-keys.json");
        let keys = ApiKeys::open(&path).unwrap();
        let new = keys.create("laptop", Role::Sensor, None).unwrap();
        assert!(!std::fs::read_to_string(&path).unwrap().contains(&new.secret[3..]));
        let elsewhere = ApiKeys::open(&path).unwrap();
        assert_eq!(elsewhere.check(&new.secret).unwrap().role, Role::Sensor);
        assert!(elsewhere.check("wk_wrong").is_none());
        keys.revoke(&new.info.id).unwrap();
        assert!(keys.check(&new.secret).is_none());
        assert!(matches!(keys.revoke("key_x"), Err(ApiKeyError::Unknown(_))));
    }

    #[test]
    fn a_key_ends() {
        let dir = tempfile::tempdir().unwrap();
        let keys = ApiKeys::open(&dir.path().join("k.json")).unwrap();
        let new = keys.create("brief", Role::Admin, Some(0)).unwrap();
        assert!(keys.check(&new.secret).is_none());
    }
}
