//! Root keys: what wraps the tenant key, and lives where the data does not.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use age::secrecy::ExposeSecret as _;
use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::error::KeysError;
use crate::secret::Secret;

/// Longest root key file. `age-keygen` writes 189 bytes, the private key and two comments.
const ROOT_FILE_BYTES_MAX: usize = 4096;

/// How the one line of our own root key begins.
const FILE_PREFIX: &str = "WATCHKEEPER-ROOT-KEY-1:";

/// How an age identity begins.
const AGE_PREFIX: &str = "AGE-SECRET-KEY-1";

/// What a wrapped key of [`FileRootKey`] begins with: its form's version.
const FILE_WRAPPED_MAGIC: &[u8] = b"wkwrap/1";

/// Bytes of the nonce behind it (NIST SP 800-38D).
const NONCE_BYTES: usize = 12;

/// Wraps the tenant key. Whoever holds it, and the data directory, can read everything.
pub trait RootKey: Send + Sync {
    /// Names the key in the files that it wraps, and says nothing of it.
    fn id(&self) -> String;

    /// Encrypts a key. `keyring` is the id of the keyring that it opens, which is no secret: the wrapped key is bound to it where the
    /// form has a place for that, and a service that keeps a log of its own names it there.
    ///
    /// # Errors
    /// [`KeysError::Root`] when the library or the service refuses.
    fn wrap(&self, key: &Secret, keyring: &str) -> Result<Vec<u8>, KeysError>;

    /// Decrypts a key that [`RootKey::wrap`] gave for that keyring.
    ///
    /// # Errors
    /// [`KeysError::Root`] when the bytes were changed, or wrapped by another key.
    fn unwrap(&self, wrapped: &[u8], keyring: &str) -> Result<Secret, KeysError>;
}

/// A root key in a file: AES-256-GCM with a random nonce.
pub struct FileRootKey {
    key: RandomizedNonceKey,
    id: String,
}

/// A root key that is an age identity: a wrapped key is an age file (<https://c2sp.org/age>), which the `age` tool opens, too.
pub struct AgeRootKey {
    identity: age::x25519::Identity,
    recipient: age::x25519::Recipient,
}

/// Reads a root key; its kind is told from what the file holds.
///
/// # Errors
/// [`KeysError::NoRoot`], [`KeysError::Permissions`] where others can read it, [`KeysError::RootForm`].
pub fn read_root_key(path: &Path) -> Result<Arc<dyn RootKey>, KeysError> {
    let line = read_key_line(path)?;
    let form = |reason| KeysError::RootForm { path: path.to_owned(), reason };
    if line.starts_with(AGE_PREFIX) {
        return Ok(Arc::new(AgeRootKey::new(age_identity(&line).map_err(form)?)));
    }
    let encoded = line.strip_prefix(FILE_PREFIX).ok_or_else(|| form("it begins with neither"))?;
    let mut key = Zeroizing::new([0; 48]); // as much as the decoder asks for at the most
    let decoded = STANDARD.decode_slice(encoded, &mut key[..]).map_err(|_| form("the line is not base64"))?;
    let key = Secret::from_slice(&key[..decoded]).ok_or_else(|| form("the key has not 32 bytes"))?;
    Ok(Arc::new(FileRootKey::new(&key)?))
}

/// Reads an age identity, which is nobody's root key.
pub(crate) fn read_age_identity(path: &Path) -> Result<age::x25519::Identity, KeysError> {
    age_identity(&read_key_line(path)?).map_err(|reason| KeysError::RootForm { path: path.to_owned(), reason })
}

fn age_identity(line: &str) -> Result<age::x25519::Identity, &'static str> {
    line.parse().map_err(|_| "the age identity is misspelt")
}

/// The one line of a file of a key that is no comment.
fn read_key_line(path: &Path) -> Result<Zeroizing<String>, KeysError> {
    let bytes = files::read_named_at_most(path, ROOT_FILE_BYTES_MAX as u64).map_err(KeysError::io(path))?;
    let bytes = Zeroizing::new(bytes.ok_or_else(|| KeysError::NoRoot(path.to_owned()))?);
    let mode = std::fs::metadata(path).map_err(KeysError::io(path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeysError::Permissions { path: path.to_owned(), mode });
    }
    let form = |reason| KeysError::RootForm { path: path.to_owned(), reason };
    let text = std::str::from_utf8(&bytes).map_err(|_| form("it is no text"))?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (line, rest) = (lines.next().ok_or_else(|| form("it is empty"))?, lines.next());
    if rest.is_some() {
        return Err(form("it has more than one key"));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// Makes a root key of our own kind where there is no file yet, in a directory that is made private when it is made.
///
/// # Errors
/// [`KeysError::Io`], also where a file is already.
pub fn create_root_key(path: &Path) -> Result<(), KeysError> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.is_dir()) {
        files::make_private_dir(parent).map_err(KeysError::io(parent))?;
    }
    let secret = Secret::random()?;
    let mut line = Zeroizing::new(String::with_capacity(128));
    let encoded = Zeroizing::new(STANDARD.encode(secret.expose()));
    // Writing to a string cannot fail.
    let _ = writeln!(line, "{FILE_PREFIX}{}", *encoded);
    files::write_new(path, line.as_bytes(), 0o600).map_err(KeysError::io(path))
}

impl FileRootKey {
    /// The root key with these bytes.
    ///
    /// # Errors
    /// [`KeysError::Root`] when the cryptographic library refuses, which it does not for 32 bytes.
    pub fn new(key: &Secret) -> Result<Self, KeysError> {
        let named = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.expose()), b"watchkeeper root key id");
        let id = format!("file:{}", event::hex::encode(&named.as_ref()[..16]));
        match RandomizedNonceKey::new(&AES_256_GCM, key.expose()) {
            Ok(key) => Ok(Self { key, id }),
            Err(_) => Err(KeysError::Root { id, action: "load", reason: "the library refuses it".to_owned() }),
        }
    }

    fn failed(&self, action: &'static str, reason: &str) -> KeysError {
        KeysError::Root { id: self.id.clone(), action, reason: reason.to_owned() }
    }
}

impl RootKey for FileRootKey {
    fn id(&self) -> String {
        self.id.clone()
    }

    fn wrap(&self, key: &Secret, keyring: &str) -> Result<Vec<u8>, KeysError> {
        let mut sealed = Zeroizing::new(Vec::with_capacity(64));
        sealed.extend_from_slice(key.expose());
        let nonce = self
            .key
            .seal_in_place_append_tag(bound_to(keyring), &mut *sealed)
            .map_err(|_| self.failed("wrap", "the library refuses"))?;
        Ok([FILE_WRAPPED_MAGIC, nonce.as_ref(), &sealed].concat())
    }

    fn unwrap(&self, wrapped: &[u8], keyring: &str) -> Result<Secret, KeysError> {
        let damaged = || self.failed("unwrap", "the wrapped key was changed, or another root key has wrapped it");
        let rest = wrapped.strip_prefix(FILE_WRAPPED_MAGIC).ok_or_else(damaged)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_BYTES).ok_or_else(damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| damaged())?;
        let mut opened = Zeroizing::new(sealed.to_vec());
        let opened = self.key.open_in_place(nonce, bound_to(keyring), &mut opened).map_err(|_| damaged())?;
        Secret::from_slice(opened).ok_or_else(damaged)
    }
}

/// What is authenticated with a key that a file wraps.
fn bound_to(keyring: &str) -> Aad<Vec<u8>> {
    Aad::from([FILE_WRAPPED_MAGIC, keyring.as_bytes()].concat())
}

impl AgeRootKey {
    /// The root key that is this identity.
    #[must_use]
    pub fn new(identity: age::x25519::Identity) -> Self {
        Self { recipient: identity.to_public(), identity }
    }

    /// A new identity, as the line that belongs in its file.
    #[must_use]
    pub fn generate() -> (Self, Zeroizing<String>) {
        let identity = age::x25519::Identity::generate();
        let line = Zeroizing::new(identity.to_string().expose_secret().to_owned());
        (Self::new(identity), line)
    }

    fn failed(&self, action: &'static str, reason: String) -> KeysError {
        KeysError::Root { id: self.id(), action, reason }
    }
}

impl RootKey for AgeRootKey {
    /// The recipient, which is public.
    fn id(&self) -> String {
        self.recipient.to_string()
    }

    fn wrap(&self, key: &Secret, _: &str) -> Result<Vec<u8>, KeysError> {
        age::encrypt(&self.recipient, key.expose()).map_err(|error| self.failed("wrap", error.to_string()))
    }

    fn unwrap(&self, wrapped: &[u8], _: &str) -> Result<Secret, KeysError> {
        let opened = age::decrypt(&self.identity, wrapped).map_err(|error| self.failed("unwrap", error.to_string()))?;
        let opened = Zeroizing::new(opened);
        Secret::from_slice(&opened).ok_or_else(|| self.failed("unwrap", "the wrapped key has not 32 bytes".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use proptest::prelude::*;

    use super::*;

    fn write(dir: &Path, text: &str) -> std::path::PathBuf {
        let path = dir.join("root.key");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }

    #[test]
    fn a_root_key_is_made_once_and_private_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/root.key");
        assert!(matches!(read_root_key(&path), Err(KeysError::NoRoot(_))));
        create_root_key(&path).unwrap();
        assert!(create_root_key(&path).is_err(), "an existing key stays");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        let secret = Secret::random().unwrap();
        let wrapped = read_root_key(&path).unwrap().wrap(&secret, "").unwrap();
        let again = read_root_key(&path).unwrap();
        assert_eq!(again.unwrap(&wrapped, "").unwrap().expose(), secret.expose());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_root_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.key");
        create_root_key(&path).unwrap();
        for mode in [0o640, 0o604, 0o660, 0o777] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = read_root_key(&path).err().unwrap().to_string();
            assert!(error.contains("chmod 600"), "{error}");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        read_root_key(&path).unwrap();
    }

    #[test]
    fn the_kind_of_a_key_is_told_from_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let (age, line) = AgeRootKey::generate();
        let file = format!("# created: today\n# public key: {}\n{}\n", age.id(), *line);
        assert_eq!(read_root_key(&write(dir.path(), &file)).unwrap().id(), age.id());
        for bad in [
            "",
            "# nothing\n",
            "WATCHKEEPER-ROOT-KEY-1:",
            "WATCHKEEPER-ROOT-KEY-1:AAAA",
            "WATCHKEEPER-ROOT-KEY-1:!",
            "AGE-SECRET-KEY-1AAAA",
            "hello",
            &format!("{}\n{}", *line, *line),
            &"x".repeat(ROOT_FILE_BYTES_MAX + 1),
        ] {
            assert!(read_root_key(&write(dir.path(), bad)).is_err(), "{bad}");
        }
        // No error may quote what it could not read: it may be a key with a typing error.
        let almost = line.replace("AGE-SECRET-KEY-1", "AGE-SECRET-KEX-1");
        let error = read_root_key(&write(dir.path(), &almost)).err().unwrap().to_string();
        assert!(!error.contains(&almost[20..40]), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_wrapped_opens_with_its_key_only_and_unchanged_only(bytes: [u8; 32], place: prop::sample::Index, bit in 0..8_u8) {
            let secret = Secret::new(bytes);
            let keys: [Box<dyn RootKey>; 2] =
                [Box::new(FileRootKey::new(&Secret::random().unwrap()).unwrap()), Box::new(AgeRootKey::generate().0)];
            let others: [Box<dyn RootKey>; 2] =
                [Box::new(FileRootKey::new(&Secret::random().unwrap()).unwrap()), Box::new(AgeRootKey::generate().0)];
            for (key, other) in keys.iter().zip(&others) {
                let mut wrapped = key.wrap(&secret, "").unwrap();
                let opened = *key.unwrap(&wrapped, "").unwrap().expose();
                prop_assert_eq!(opened, bytes);
                prop_assert!(other.unwrap(&wrapped, "").is_err());
                // An age file has no place for the keyring.
                prop_assert_eq!(key.unwrap(&wrapped, "another").is_err(), key.id().starts_with("file:"));
                prop_assert!(!wrapped.windows(32).any(|window| window == bytes));
                let at = place.index(wrapped.len());
                wrapped[at] ^= 1 << bit;
                prop_assert!(key.unwrap(&wrapped, "").is_err());
                wrapped.truncate(at);
                prop_assert!(key.unwrap(&wrapped, "").is_err());
            }
        }
    }
}
