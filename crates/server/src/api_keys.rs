//! API keys: shown once, kept as hashes in the keyring, so that nobody without the root key can add one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use keys::{Keyring, KeysError};

use crate::access::Role;
use crate::secrets;

/// The keyring's name of the list.
const NAME: &str = "api keys";

/// Most keys of one installation.
const KEYS_MAX: usize = 10_000;

/// Longest name of a key, in bytes. It stands in every event that its holder brings about.
const NAME_BYTES_MAX: usize = 256;

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

/// The keys of an installation. Whoever has the keyring open for writing is the only one who changes them.
pub struct ApiKeys {
    keyring: Arc<Keyring>,
    keys: Mutex<Vec<KeyInfo>>,
}

/// Why keys cannot be used or changed.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeyError {
    /// The keyring.
    #[error(transparent)]
    Keyring(#[from] KeysError),
    /// The keyring holds something else.
    #[error("API keys in the keyring: {0}; this version does not know their form")]
    Form(#[from] serde_json::Error),
    /// Two keys have one id or one secret.
    #[error("API keys in the keyring: {0} is there twice; bring back keys/ from a copy")]
    Doubled(String),
    /// The system gives no random numbers.
    #[error("random generator: {0}")]
    Random(std::io::Error),
    /// There are too many.
    #[error("there are {KEYS_MAX} keys already; revoke those that are not used")]
    TooMany,
    /// There is no such key.
    #[error("no key has the id {0}; `watchkeeper keys list` shows those that there are")]
    Unknown(String),
    /// Nobody could tell what it is for.
    #[error(
        "name: 1 to {NAME_BYTES_MAX} bytes in one line are needed, such as \"checkout service\"; the record names the key by it"
    )]
    Name,
}

fn rfc3339(unix_s: u64) -> String {
    event::Timestamp::from_unix_ns(unix_s.saturating_mul(1_000_000_000)).rfc3339()
}

impl KeyInfo {
    /// What it is, as JSON, without what it could be used by.
    pub(crate) fn shown(&self) -> String {
        let (created, expires) = (self.created(), self.expires());
        serde_json::json!({ "id": self.id, "name": self.name, "role": self.role, "created": created, "expires": expires })
            .to_string()
    }

    /// When it was made (RFC 3339).
    #[must_use]
    pub fn created(&self) -> String {
        rfc3339(self.created_unix_s)
    }

    /// When it ends, if it does (RFC 3339).
    #[must_use]
    pub fn expires(&self) -> Option<String> {
        self.expires_unix_s.map(rfc3339)
    }

    fn is_live(&self) -> bool {
        self.expires_unix_s.is_none_or(|end| unix_seconds() < end)
    }
}

impl ApiKeys {
    /// The keys that a keyring has.
    pub fn open(keyring: Arc<Keyring>) -> Result<Self, ApiKeyError> {
        let keys: Vec<KeyInfo> = match keyring.named(NAME)? {
            Some(json) => serde_json::from_slice(&json)?,
            None => Vec::new(),
        };
        for (nth, key) in keys.iter().enumerate() {
            if keys[..nth].iter().any(|other| other.id == key.id || other.sha256 == key.sha256) {
                return Err(ApiKeyError::Doubled(key.id.clone()));
            }
        }
        Ok(Self { keyring, keys: Mutex::new(keys) })
    }

    /// Makes a key.
    pub fn create(&self, name: &str, role: Role, lifetime_s: Option<u64>) -> Result<NewKey, ApiKeyError> {
        if name.trim().is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            return Err(ApiKeyError::Name);
        }
        let mut keys = self.lock();
        if keys.len() >= KEYS_MAX {
            return Err(ApiKeyError::TooMany);
        }
        let secret = format!("wk_{}", URL_SAFE_NO_PAD.encode(secrets::random::<32>().map_err(ApiKeyError::Random)?));
        let now = unix_seconds();
        let info = KeyInfo {
            id: format!("key_{}", event::hex::encode(&secrets::random::<6>().map_err(ApiKeyError::Random)?)),
            name: name.to_owned(),
            role,
            created_unix_s: now,
            expires_unix_s: lifetime_s.map(|lifetime| now.saturating_add(lifetime)),
            sha256: digest(&secret),
        };
        let mut next = keys.clone();
        next.push(info.clone());
        self.store(&mut keys, next)?;
        Ok(NewKey { info, secret })
    }

    /// Ends a key at once.
    pub fn revoke(&self, id: &str) -> Result<KeyInfo, ApiKeyError> {
        let mut keys = self.lock();
        let mut next = keys.clone();
        let place = next.iter().position(|key| key.id == id).ok_or_else(|| ApiKeyError::Unknown(id.to_owned()))?;
        let key = next.remove(place);
        self.store(&mut keys, next)?;
        Ok(key)
    }

    /// The keys, without their secrets.
    #[must_use]
    pub fn list(&self) -> Vec<KeyInfo> {
        self.lock().clone()
    }

    /// The key that a caller presents, if it is one and has not ended.
    #[must_use]
    pub fn check(&self, secret: &str) -> Option<KeyInfo> {
        let presented = digest(secret);
        // Digests are compared, not secrets: how long the comparison takes tells nothing of a key.
        self.lock().iter().find(|key| key.sha256 == presented && key.is_live()).cloned()
    }

    /// The key with that id, if it has not ended.
    pub(crate) fn by_id(&self, id: &str) -> Option<KeyInfo> {
        self.lock().iter().find(|key| key.id == id && key.is_live()).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<KeyInfo>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Durable first: a key that was revoked is not back after a power cut.
    fn store(&self, keys: &mut Vec<KeyInfo>, next: Vec<KeyInfo>) -> Result<(), ApiKeyError> {
        self.keyring.put_named(NAME, &serde_json::to_vec(&next)?)?;
        *keys = next;
        Ok(())
    }
}

fn digest(secret: &str) -> String {
    event::hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret.as_bytes()).as_ref())
}

fn unix_seconds() -> u64 {
    event::Timestamp::now().unix_ns() / 1_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(dir: &std::path::Path) -> Arc<Keyring> {
        let root = dir.join("root.key");
        if !root.exists() {
            keys::create_root_key(&root).unwrap();
        }
        Arc::new(Keyring::open(&dir.join("keys"), keys::read_root_key(&root).unwrap()).unwrap())
    }

    #[test]
    fn a_key_has_a_name_that_says_in_a_line_what_it_is_for() {
        let dir = tempfile::tempdir().unwrap();
        let keys = ApiKeys::open(keyring(dir.path())).unwrap();
        for name in ["", " ", "two\nlines", &"x".repeat(NAME_BYTES_MAX + 1)] {
            let error = keys.create(name, Role::Sensor, None).unwrap_err();
            assert!(matches!(error, ApiKeyError::Name) && error.to_string().starts_with("name: "), "{error}");
        }
        assert!(keys.list().is_empty());
        assert!(keys.create("checkout service", Role::Sensor, None).is_ok());
        let error = keys.revoke("key_0").unwrap_err().to_string();
        assert!(error.contains("key_0") && error.contains("`watchkeeper keys list`"), "{error}");
    }

    #[test]
    fn a_key_is_known_until_it_is_revoked_and_never_stored() {
        let dir = tempfile::tempdir().unwrap();
        let keys = ApiKeys::open(keyring(dir.path())).unwrap();
        let new = keys.create("laptop", Role::Sensor, None).unwrap();
        let kept = keys.keyring.named(NAME).unwrap().unwrap();
        assert!(!String::from_utf8_lossy(&kept).contains(&new.secret[3..]));
        drop(keys);
        let keys = ApiKeys::open(keyring(dir.path())).unwrap();
        assert_eq!(keys.check(&new.secret).unwrap().role, Role::Sensor);
        assert!(keys.check("wk_wrong").is_none());
        keys.revoke(&new.info.id).unwrap();
        assert!(keys.check(&new.secret).is_none() && keys.by_id(&new.info.id).is_none());
        assert!(matches!(keys.revoke("key_x"), Err(ApiKeyError::Unknown(_))));
        drop(keys);
        assert!(ApiKeys::open(keyring(dir.path())).unwrap().list().is_empty());
    }

    #[test]
    fn a_key_ends() {
        let dir = tempfile::tempdir().unwrap();
        let keys = ApiKeys::open(keyring(dir.path())).unwrap();
        let new = keys.create("brief", Role::Admin, Some(0)).unwrap();
        assert!(keys.check(&new.secret).is_none());
    }

    #[test]
    fn two_keys_of_one_id_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let keyring = keyring(dir.path());
        let keys = ApiKeys::open(keyring.clone()).unwrap();
        keys.create("one", Role::Sensor, None).unwrap();
        let one = keys.list().remove(0);
        let two = KeyInfo { role: Role::Admin, sha256: digest("wk_other"), ..one.clone() };
        keyring.put_named(NAME, &serde_json::to_vec(&[one, two]).unwrap()).unwrap();
        assert!(matches!(ApiKeys::open(keyring), Err(ApiKeyError::Doubled(_))));
    }
}
