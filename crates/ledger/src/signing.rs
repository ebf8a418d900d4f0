//! Private keys of the signature types of C2SP signed-note: a name, an algorithm and a seed.

use std::fmt;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, ML_DSA_44_SIGNING, PqdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::key::KeyError;
use crate::note::{NoteError, NoteSignature};
use crate::vkey::{Algorithm, VerifierKey, split_key};

/// How a private key begins in the note format of Go (`golang.org/x/mod/sumdb/note`).
const PRIVATE_PREFIX: &str = "PRIVATE+KEY+";

/// Bytes of the seed of both kinds of key.
const SEED_BYTES: usize = 32;

/// A private key with its name: as text `PRIVATE+KEY+name+hex(id)+base64(type ‖ seed)`.
pub struct SigningKey {
    verifier: VerifierKey,
    seed: Zeroizing<[u8; SEED_BYTES]>,
    pair: Pair,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    MlDsa44(PqdsaKeyPair),
}

impl SigningKey {
    /// A new key.
    pub fn generate(algorithm: Algorithm, name: &str) -> Result<Self, KeyError> {
        let mut seed = Zeroizing::new([0; SEED_BYTES]);
        aws_lc_rs::rand::fill(seed.as_mut_slice()).map_err(|_| KeyError::Library)?;
        Self::from_seed(algorithm, name, seed)
    }

    pub(crate) fn from_seed(algorithm: Algorithm, name: &str, seed: Zeroizing<[u8; SEED_BYTES]>) -> Result<Self, KeyError> {
        let (pair, verifier) = if algorithm == Algorithm::MlDsa44 {
            let pair = PqdsaKeyPair::from_seed(&ML_DSA_44_SIGNING, seed.as_slice()).map_err(|_| KeyError::Library)?;
            let verifier = VerifierKey::of(algorithm, name, pair.public_key().as_ref())?;
            (Pair::MlDsa44(pair), verifier)
        } else {
            let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).map_err(|_| KeyError::Library)?;
            let verifier = VerifierKey::of(algorithm, name, pair.public_key().as_ref())?;
            (Pair::Ed25519(pair), verifier)
        };
        Ok(Self { verifier, seed, pair })
    }

    /// The public half.
    #[must_use]
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Signs the text of a note, which ends with a newline. Cosignatures (all but [`Algorithm::Ed25519`]) carry the time, in
    /// seconds since 1970, and sign checkpoints alone; the time 0 makes no statement about time.
    pub fn sign(&self, text: &str, time: u64) -> Result<NoteSignature, NoteError> {
        let (algorithm, name) = (self.verifier.algorithm(), self.verifier.name());
        let cannot = || NoteError::CannotSign(name.to_owned());
        let message = algorithm.message(name, time, text.as_bytes()).ok_or_else(cannot)?;
        let mut signature = if algorithm == Algorithm::Ed25519 { Vec::new() } else { time.to_be_bytes().to_vec() };
        match &self.pair {
            Pair::Ed25519(pair) => signature.extend_from_slice(pair.sign(&message).as_ref()),
            Pair::MlDsa44(pair) => {
                let mut bytes = vec![0; ML_DSA_44_SIGNING.signature_len()];
                pair.sign(&message, &mut bytes).map_err(|_| cannot())?;
                signature.append(&mut bytes);
            }
        }
        Ok(NoteSignature { name: name.to_owned(), key_id: self.verifier.id(), signature })
    }

    /// The secret, as text without newline. Not a `Display`, so that it is not printed by accident.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut key = Zeroizing::new([self.verifier.algorithm().signature_type(); 1 + SEED_BYTES]);
        key[1..].copy_from_slice(self.seed.as_slice());
        let key = Zeroizing::new(STANDARD.encode(key.as_slice()));
        Zeroizing::new(format!("{PRIVATE_PREFIX}{}+{:08x}+{}", self.verifier.name(), self.verifier.id(), key.as_str()))
    }

    /// Reads the text of a private key.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let (name, id, algorithm, seed) =
            split_key(text.strip_prefix(PRIVATE_PREFIX).ok_or(KeyError::Form)?).map_err(|_| KeyError::Form)?;
        let seed = Zeroizing::new(seed);
        let seed = Zeroizing::new(seed.as_slice().try_into().map_err(|_| KeyError::Form)?);
        let key = Self::from_seed(algorithm, name, seed)?;
        if key.verifier.id() == id {
            Ok(key)
        } else {
            Err(KeyError::Note(NoteError::KeyId { expected: key.verifier.id(), got: id }))
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?} {} {:08x})", self.verifier.algorithm(), self.verifier.name(), self.verifier.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_key_is_read_back_from_its_text_and_not_shown() {
        for algorithm in [Algorithm::Ed25519, Algorithm::Ed25519Cosignature, Algorithm::MlDsa44] {
            let key = SigningKey::generate(algorithm, "example.com/key").unwrap();
            let again = SigningKey::from_text(&key.to_text()).unwrap();
            assert_eq!((again.verifier(), again.to_text()), (key.verifier(), key.to_text()));
            assert!(!format!("{key:?}").contains(&STANDARD.encode(key.seed.as_slice())[4..40]));
            let other = key.to_text().replace("example", "elsewhere");
            assert!(matches!(SigningKey::from_text(&other), Err(KeyError::Note(NoteError::KeyId { .. }))));
        }
    }

    #[test]
    fn cosigners_sign_checkpoints_alone() {
        for algorithm in [Algorithm::Ed25519Cosignature, Algorithm::MlDsa44] {
            let key = SigningKey::generate(algorithm, "w").unwrap();
            assert_eq!(key.sign("any text\n", 1), Err(NoteError::CannotSign("w".to_owned())));
        }
    }
}
