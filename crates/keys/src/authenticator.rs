//! Tags for small files that lie outside the keyring: whoever has no root key cannot write one that is believed.

use aws_lc_rs::hmac;

use crate::error::KeysError;
use crate::keyring::Keyring;

/// The keyring's name of the key behind all tags.
const NAME: &str = "file key";

/// Bytes of a tag.
pub const TAG_BYTES: usize = 32;

/// Tags (HMAC-SHA-256, RFC 2104) of one use. A tag of another use is not valid here.
#[derive(Clone)]
pub struct Authenticator(hmac::Key);

impl Authenticator {
    /// The tag of bytes.
    #[must_use]
    pub fn tag(&self, bytes: &[u8]) -> [u8; TAG_BYTES] {
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(hmac::sign(&self.0, bytes).as_ref());
        tag
    }

    /// Whether that is the tag of those bytes. Takes the same time whatever is wrong with it.
    #[must_use]
    pub fn is_tag(&self, bytes: &[u8], tag: &[u8]) -> bool {
        hmac::verify(&self.0, bytes, tag).is_ok()
    }
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authenticator(..)")
    }
}

impl Keyring {
    /// The tags of a use, which is named. The key behind them is made when there is none.
    ///
    /// # Errors
    /// As [`Keyring::named_or_create`].
    pub fn authenticator(&self, usage: &str) -> Result<Authenticator, KeysError> {
        let key = self.named_or_create::<32>(NAME)?;
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key[..]), usage.as_bytes());
        Ok(Authenticator(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::root::AgeRootKey;

    #[test]
    fn a_tag_is_of_its_bytes_its_use_and_its_keyring() {
        let dir = tempfile::tempdir().unwrap();
        let root = Arc::new(AgeRootKey::generate().0);
        let keyring = Keyring::open(&dir.path().join("one"), root.clone()).unwrap();
        let cursor = keyring.authenticator("cursor").unwrap();
        let tag = cursor.tag(b"7");
        assert!(cursor.is_tag(b"7", &tag));
        assert!(!cursor.is_tag(b"8", &tag) && !cursor.is_tag(b"7", &tag[..31]) && !cursor.is_tag(b"7", b""));
        assert!(!keyring.authenticator("pending").unwrap().is_tag(b"7", &tag));
        keyring.rotate_tenant().unwrap();
        drop(keyring);
        let again = Keyring::open_existing(&dir.path().join("one"), root.clone()).unwrap();
        assert!(again.authenticator("cursor").unwrap().is_tag(b"7", &tag));
        let other = Keyring::open(&dir.path().join("two"), root).unwrap();
        assert!(!other.authenticator("cursor").unwrap().is_tag(b"7", &tag));
    }
}
