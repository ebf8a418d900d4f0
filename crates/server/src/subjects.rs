//! Whose is whose: names become keyed hashes, and only these reach the keyring.

use aws_lc_rs::hmac;
use keys::{Keyring, KeysError};

/// The keyring's name of the secret that names subjects.
const NAMER: &str = "subject namer";

/// Names subjects: HMAC-SHA-256(namer key, kind ‖ 0 ‖ name).
#[derive(Clone)]
pub struct SubjectNamer(hmac::Key);

impl SubjectNamer {
    /// The namer of a keyring; its key is made when there is none.
    ///
    /// # Errors
    /// Whatever the keyring says.
    pub fn open(keyring: &Keyring) -> Result<Self, KeysError> {
        let key = keyring.named_or_create::<32>(NAMER)?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &key[..])))
    }

    /// What stands for a name in the keyring. `kind` is `user`, `session` or `application`.
    #[must_use]
    pub fn tag(&self, kind: &str, name: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(kind.as_bytes());
        context.update(&[0]);
        context.update(name.as_bytes());
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }
}
