//! The keys of segments, and the age format that they seal.
//!
//! An object is an ordinary age file for one X25519 recipient, so that the `age` tool opens it with an exported key.

use std::io::Write as _;
use std::iter;

use age::secrecy::ExposeSecret as _;
use event::KeyId;
use zeroize::{Zeroize as _, Zeroizing};

/// The human-readable part of an age identity's Bech32 form (C2SP `age`, section "X25519").
const IDENTITY_PREFIX: &str = "age-secret-key-";

/// What age puts around the plaintext, roughly: its header, and 16 bytes for each 64 KiB.
const AGE_OVERHEAD_BYTES: usize = 512;

/// A segment's secret: the private scalar of an X25519 key pair. Wiped when dropped; nothing prints it.
pub struct SegmentKey(Zeroizing<[u8; 32]>);

/// Who keeps the segments' secrets: the keyring.
pub trait SegmentKeys: Send + Sync {
    /// Makes a new random secret. It is durable when this returns.
    fn create(&self) -> Result<(KeyId, SegmentKey), KeyStoreError>;

    /// The secret of that id; `None` when it was destroyed or never was.
    fn get(&self, id: KeyId) -> Result<Option<SegmentKey>, KeyStoreError>;

    /// Destroys secrets for good. Ids that are destroyed already, or not known, are no error. Durable on return.
    fn destroy(&self, ids: &[KeyId]) -> Result<(), KeyStoreError>;

    /// A tag of bytes that only who has the keys can make: what the archive does because a file says so, the file must prove.
    fn tag(&self, bytes: &[u8]) -> Result<[u8; 32], KeyStoreError>;
}

/// Why the keeper of the keys did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("keyring: {0}")]
pub struct KeyStoreError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Why an age file did not open or could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The age library.
    #[error("object could not be encrypted: {0}")]
    Encrypt(String),
    /// Another key, changed bytes, or no age file at all.
    #[error("object does not open with its key: {0}")]
    Decrypt(String),
    /// It would take more memory than a segment may.
    #[error("object has more than {0} bytes in plaintext, more than any segment has")]
    TooLarge(usize),
}

impl SegmentKey {
    /// Takes a secret: 32 random bytes.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self(Zeroizing::new(secret))
    }

    /// The secret.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The secret as an age identity (`AGE-SECRET-KEY-1...`): a file of this line is what `age --decrypt --identity` takes.
    /// Empty only if the library fails to write Bech32 of 32 bytes, which it does not.
    #[must_use]
    pub fn to_identity(&self) -> Zeroizing<String> {
        let mut text = bech32::Hrp::parse(IDENTITY_PREFIX)
            .ok()
            .and_then(|prefix| bech32::encode_lower::<bech32::Bech32>(prefix, self.0.as_slice()).ok())
            .unwrap_or_default();
        let upper = Zeroizing::new(text.to_uppercase());
        text.zeroize();
        upper
    }

    fn identity(&self) -> Result<age::x25519::Identity, &'static str> {
        self.to_identity().parse()
    }

    /// Encrypts `plaintext` as an age file that only this secret opens.
    pub fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let fail = |error: &dyn std::fmt::Display| SealError::Encrypt(error.to_string());
        let recipient = self.identity().map_err(|error| fail(&error))?.to_public();
        let encryptor =
            age::Encryptor::with_recipients(iter::once(&recipient as &dyn age::Recipient)).map_err(|error| fail(&error))?;
        let overhead = AGE_OVERHEAD_BYTES + plaintext.len() / (64 * 1024) * 16;
        let mut sealed = Vec::with_capacity(plaintext.len() + overhead);
        let mut writer = encryptor.wrap_output(&mut sealed).map_err(|error| fail(&error))?;
        writer.write_all(plaintext).map_err(|error| fail(&error))?;
        writer.finish().map_err(|error| fail(&error))?;
        Ok(sealed)
    }

    /// Decrypts an age file of at most `bytes_max` bytes of plaintext. Every byte is authenticated.
    pub fn open(&self, sealed: &[u8], bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let fail = |error: &dyn std::fmt::Display| SealError::Decrypt(error.to_string());
        // The plaintext is shorter than the file, so the file's length bounds what is taken.
        if sealed.len() > bytes_max.saturating_add(AGE_OVERHEAD_BYTES).saturating_add(bytes_max / (64 * 1024) * 16 + 16) {
            return Err(SealError::TooLarge(bytes_max));
        }
        let identity = self.identity().map_err(|error| fail(&error))?;
        let decryptor = age::Decryptor::new_buffered(sealed).map_err(|error| fail(&error))?;
        let mut reader = decryptor.decrypt(iter::once(&identity as &dyn age::Identity)).map_err(|error| fail(&error))?;
        let mut plaintext = Zeroizing::new(Vec::with_capacity(sealed.len()));
        std::io::copy(&mut reader, &mut *plaintext).map_err(|error| fail(&error))?;
        Ok(plaintext)
    }
}

impl std::fmt::Debug for SegmentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SegmentKey(..)")
    }
}

/// Reads an age identity back into a secret; `None` when it is none. For imports of exported keys.
#[must_use]
pub fn parse_identity(text: &str) -> Option<SegmentKey> {
    let identity: age::x25519::Identity = text.trim().parse().ok()?;
    // The library gives its own text back, which is canonical.
    let canonical = identity.to_string();
    let (_, mut bytes) = bech32::decode(canonical.expose_secret()).ok()?;
    let secret = bytes.as_slice().try_into().ok().map(SegmentKey::new);
    bytes.zeroize();
    secret
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use super::*;

    /// Keys in memory, random ids and secrets.
    #[derive(Default)]
    pub(crate) struct MemoryKeys {
        pub(crate) live: Mutex<BTreeMap<KeyId, [u8; 32]>>,
        pub(crate) destroyed: Mutex<Vec<KeyId>>,
    }

    pub(crate) fn random<const N: usize>() -> [u8; N] {
        let mut bytes = [0; N];
        aws_lc_rs::rand::fill(&mut bytes).unwrap();
        bytes
    }

    impl SegmentKeys for MemoryKeys {
        fn create(&self) -> Result<(KeyId, SegmentKey), KeyStoreError> {
            let (id, secret) = (KeyId::from_bytes(random()).unwrap(), random());
            self.live.lock().unwrap().insert(id, secret);
            Ok((id, SegmentKey::new(secret)))
        }

        fn get(&self, id: KeyId) -> Result<Option<SegmentKey>, KeyStoreError> {
            Ok(self.live.lock().unwrap().get(&id).copied().map(SegmentKey::new))
        }

        fn destroy(&self, ids: &[KeyId]) -> Result<(), KeyStoreError> {
            for id in ids {
                self.live.lock().unwrap().remove(id);
                self.destroyed.lock().unwrap().push(*id);
            }
            Ok(())
        }

        fn tag(&self, bytes: &[u8]) -> Result<[u8; 32], KeyStoreError> {
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"of the test");
            Ok(aws_lc_rs::hmac::sign(&key, bytes).as_ref().try_into().unwrap())
        }
    }

    #[test]
    fn sealed_bytes_open_with_their_key_alone() {
        let key = SegmentKey::new(random());
        for length in [0, 1, 65_535, 65_536, 65_537, 200_000] {
            let plaintext = vec![7; length];
            let sealed = key.seal(&plaintext).unwrap();
            assert_eq!(key.open(&sealed, length).unwrap().as_slice(), plaintext);
            assert!(SegmentKey::new(random()).open(&sealed, length).is_err());
            let mut changed = sealed.clone();
            *changed.last_mut().unwrap() ^= 1;
            assert!(key.open(&changed, length).is_err());
            assert!(key.open(&sealed[..sealed.len() - 1], length).is_err());
        }
        assert!(matches!(key.open(&vec![0; 10_000], 100), Err(SealError::TooLarge(100))));
    }

    #[test]
    fn the_identity_is_one_that_age_reads() {
        let key = SegmentKey::new(random());
        let text = key.to_identity();
        assert!(text.starts_with("AGE-SECRET-KEY-1") && text.len() == 74, "{}", text.len());
        assert_eq!(parse_identity(&text).unwrap().expose(), key.expose());
        assert!(parse_identity("AGE-SECRET-KEY-1QQ").is_none());
        assert!(!format!("{key:?}").contains(&text[20..]));
    }

    #[test]
    fn the_age_of_debian_opens_an_object() {
        let Ok(version) = std::process::Command::new("age").arg("--version").output() else {
            assert!(std::env::var_os("CI").is_none(), "CI must have age: apt-get install age");
            eprintln!("SKIPPED: no `age` on this machine (Debian: apt-get install age)");
            return;
        };
        assert!(version.status.success());
        let dir = tempfile::tempdir().unwrap();
        let key = SegmentKey::new(random());
        let (identity, object) = (dir.path().join("key.txt"), dir.path().join("object.age"));
        std::fs::write(&identity, key.to_identity().as_bytes()).unwrap();
        std::fs::write(&object, key.seal(b"what was recorded").unwrap()).unwrap();
        let opened =
            std::process::Command::new("age").args(["--decrypt", "--identity"]).args([&identity, &object]).output().unwrap();
        assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
        assert_eq!(opened.stdout, b"what was recorded");
    }
}
