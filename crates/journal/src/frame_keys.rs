//! The keys under which frames are written: one for each file of the journal, so that a file can be made unreadable,
//! with every copy of it, by destroying one key.

use std::fmt;
use std::io;

use aws_lc_rs::aead::{AES_256_GCM, Aad, MAX_TAG_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{hmac, rand};
use event::KeyId;
use zeroize::Zeroizing;

use crate::Seq;

/// Length of the tag of AES-256-GCM, in bytes.
pub(crate) const TAG_BYTES: usize = MAX_TAG_LEN;
/// Length of a nonce of AES-256-GCM, in bytes.
pub(crate) const NONCE_BYTES: usize = aws_lc_rs::aead::NONCE_LEN;

/// What [`DerivedKeys`] mixes into its keys, so that the secret gives other keys elsewhere.
const DERIVED_LABEL: &[u8] = b"watchkeeper journal frame key 1";

/// Where the journal gets the keys of its files.
pub trait FrameKeys: Send + Sync {
    /// Makes a key for the file that begins with the record `first`. The key is durable when this returns: records are
    /// acknowledged under it right after.
    ///
    /// # Errors
    /// When the key cannot be kept. [`io::ErrorKind::StorageFull`] makes the journal refuse what needs a new file until
    /// there is room; anything else stops it.
    fn create(&self, first: Seq) -> io::Result<(KeyId, FrameKey)>;

    /// The key of a file; `None` when there is none: it was destroyed, or is in another keyring.
    ///
    /// # Errors
    /// When the keyring cannot be read, so that nothing is known.
    fn get(&self, id: KeyId) -> io::Result<Option<FrameKey>>;
}

impl fmt::Debug for dyn FrameKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FrameKeys")
    }
}

/// The key of one file of the journal (AES-256). Overwritten when it is dropped.
pub struct FrameKey(Zeroizing<[u8; 32]>);

impl FrameKey {
    /// Wraps the bytes of a key, which must be random.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for FrameKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FrameKey")
    }
}

/// Keys that one secret gives: for tests, benchmarks and tools that have no keyring. No single key of them can be
/// destroyed.
pub struct DerivedKeys(hmac::Key);

impl DerivedKeys {
    /// The keys of a secret. Nothing is kept but the secret, so keys of an earlier run come back with it.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    fn key(&self, id: KeyId) -> FrameKey {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(DERIVED_LABEL);
        context.update(id.as_bytes());
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(context.sign().as_ref());
        FrameKey(key)
    }
}

impl FrameKeys for DerivedKeys {
    fn create(&self, _: Seq) -> io::Result<(KeyId, FrameKey)> {
        let mut id = [0; 16];
        rand::fill(&mut id).map_err(|_| io::Error::other("the system's random generator gives no bytes"))?;
        let id = KeyId::from_bytes(id).ok_or_else(|| io::Error::other("the system's random generator gives zeros"))?;
        Ok((id, self.key(id)))
    }

    fn get(&self, id: KeyId) -> io::Result<Option<FrameKey>> {
        Ok(Some(self.key(id)))
    }
}

/// Which part of a frame is sealed; part of what is authenticated, so that one cannot stand for the other.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    Index,
    Records,
}

/// Seals and opens the frames of one file.
#[derive(Debug)]
pub(crate) struct Sealer(RandomizedNonceKey);

/// What is authenticated beside the bytes: the part of the frame's header that says where it belongs.
pub(crate) type Place = [u8; 32];

/// A seal that does not open: the key is another one, or the bytes or their place are.
#[derive(Debug)]
pub(crate) struct NotOurs;

impl Sealer {
    pub(crate) fn new(key: &FrameKey) -> io::Result<Self> {
        RandomizedNonceKey::new(&AES_256_GCM, &*key.0).map(Self).map_err(|_| io::Error::other("AES-256-GCM refuses the key"))
    }

    /// Encrypts in place under a nonce that is drawn for it.
    pub(crate) fn seal(&self, part: Part, place: &Place, bytes: &mut [u8]) -> io::Result<([u8; NONCE_BYTES], [u8; TAG_BYTES])> {
        let sealed = self.0.seal_in_place_separate_tag(Aad::from(associated(part, place)), bytes);
        let (nonce, tag) = sealed.map_err(|_| io::Error::other("AES-256-GCM does not seal the frame"))?;
        let mut tag_bytes = [0; TAG_BYTES];
        tag_bytes.copy_from_slice(tag.as_ref());
        Ok((*nonce.as_ref(), tag_bytes))
    }

    /// Decrypts bytes that end with their tag; the tag is cut off.
    pub(crate) fn open(&self, part: Part, place: &Place, nonce: [u8; NONCE_BYTES], bytes: &mut Vec<u8>) -> Result<(), NotOurs> {
        let opened = self.0.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(associated(part, place)), bytes);
        let length = opened.map_err(|_| NotOurs)?.len();
        bytes.truncate(length);
        Ok(())
    }
}

fn associated(part: Part, place: &Place) -> [u8; 33] {
    let mut associated = [0; 33];
    associated[..32].copy_from_slice(place);
    associated[32] = match part {
        Part::Index => 0,
        Part::Records => 1,
    };
    associated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_opens_with_its_key_at_its_place_as_its_part_alone() {
        let keys = DerivedKeys::new(&[5; 32]);
        let (id, key) = keys.create(Seq(0)).unwrap();
        let (sealer, place) = (Sealer::new(&key).unwrap(), [7; 32]);
        let mut sealed = b"what was said".to_vec();
        let (nonce, tag) = sealer.seal(Part::Records, &place, &mut sealed).unwrap();
        assert_ne!(sealed, b"what was said");
        sealed.extend_from_slice(&tag);
        let opens = |sealer: &Sealer, part, place: &Place, nonce, sealed: &[u8]| {
            let mut bytes = sealed.to_vec();
            sealer.open(part, place, nonce, &mut bytes).is_ok().then_some(bytes)
        };
        assert_eq!(opens(&sealer, Part::Records, &place, nonce, &sealed).unwrap(), b"what was said");
        let again = Sealer::new(&keys.get(id).unwrap().unwrap()).unwrap();
        assert!(opens(&again, Part::Records, &place, nonce, &sealed).is_some());

        let other = Sealer::new(&keys.create(Seq(0)).unwrap().1).unwrap();
        assert!(opens(&other, Part::Records, &place, nonce, &sealed).is_none());
        assert!(opens(&sealer, Part::Index, &place, nonce, &sealed).is_none());
        assert!(opens(&sealer, Part::Records, &[8; 32], nonce, &sealed).is_none());
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(opens(&sealer, Part::Records, &place, nonce, &changed).is_none());
        }
        assert!(opens(&sealer, Part::Records, &place, nonce, &sealed[..3]).is_none(), "shorter than a tag");
    }

    #[test]
    fn nonces_do_not_come_again_and_keys_show_nothing() {
        let (_, key) = DerivedKeys::new(&[5; 32]).create(Seq(0)).unwrap();
        let sealer = Sealer::new(&key).unwrap();
        let nonces: std::collections::BTreeSet<_> =
            (0..1_000).map(|_| sealer.seal(Part::Index, &[0; 32], &mut []).unwrap().0).collect();
        assert_eq!(nonces.len(), 1_000);
        assert_eq!(format!("{key:?}"), "FrameKey");
    }
}
