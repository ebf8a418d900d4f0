//! Verifier keys of C2SP signed-note and what their signatures sign: Ed25519 over a note's text by a strict rule, and the
//! timestamped cosignatures of C2SP tlog-cosignature with Ed25519 and ML-DSA-44.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, ML_DSA_44, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::Checkpoint;
use crate::note::{NoteError, check_name};
use crate::tree::sha256;

/// Bytes of an ML-DSA-44 public key (FIPS 204, table 2).
const ML_DSA_44_KEY_BYTES: usize = 1312;

/// Bytes of the time in front of a cosignature.
const TIME_BYTES: usize = 8;

/// Longest verifier key as text: a name, an id, and an ML-DSA-44 key in base64.
pub(crate) const VKEY_BYTES_MAX: usize = 2304;

/// How a key signs: the signature types of C2SP signed-note that are known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// `0x01`: Ed25519 over the text.
    Ed25519,
    /// `0x04`: a timestamped cosignature of a checkpoint with Ed25519 (`cosignature/v1`).
    Ed25519Cosignature,
    /// `0x06`: a timestamped cosignature of a checkpoint with ML-DSA-44 (`subtree/v1`).
    MlDsa44,
}

/// A public key with its name: what a verifier needs, as text `name+hex(id)+base64(type ‖ key)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: u32,
    algorithm: Algorithm,
    public: Vec<u8>,
}

impl Algorithm {
    /// The byte that stands for it in key ids and verifier keys.
    #[must_use]
    pub fn signature_type(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::Ed25519Cosignature => 0x04,
            Self::MlDsa44 => 0x06,
        }
    }

    pub(crate) fn of_type(byte: u8) -> Option<Self> {
        [Self::Ed25519, Self::Ed25519Cosignature, Self::MlDsa44].into_iter().find(|known| known.signature_type() == byte)
    }

    /// What is signed: the text of the note itself, or a time and a checkpoint. `None` when the text is no checkpoint where
    /// one must be, or the time is over the specification's bound.
    pub(crate) fn message(self, name: &str, time: u64, text: &[u8]) -> Option<Vec<u8>> {
        if self == Self::Ed25519 {
            return Some(text.to_vec());
        }
        let checkpoint = std::str::from_utf8(text).ok().and_then(|text| Checkpoint::parse_extended(text).ok())?;
        if i64::try_from(time).is_err() {
            return None;
        }
        if self == Self::Ed25519Cosignature {
            return Some([format!("cosignature/v1\ntime {time}\n").as_bytes(), text].concat());
        }
        let mut message = b"subtree/v1\n\0".to_vec();
        message.push(u8::try_from(name.len()).ok()?);
        message.extend_from_slice(name.as_bytes());
        message.extend_from_slice(&time.to_be_bytes());
        message.push(u8::try_from(checkpoint.origin.len()).ok()?);
        message.extend_from_slice(checkpoint.origin.as_bytes());
        // The whole tree: from leaf 0 to the size.
        message.extend_from_slice(&0_u64.to_be_bytes());
        message.extend_from_slice(&checkpoint.size.to_be_bytes());
        message.extend_from_slice(&checkpoint.root);
        Some(message)
    }
}

impl VerifierKey {
    /// Names an Ed25519 public key that signs notes.
    pub fn new(name: &str, public: [u8; 32]) -> Result<Self, NoteError> {
        Self::of(Algorithm::Ed25519, name, &public)
    }

    /// Names a public key of any known algorithm.
    pub fn of(algorithm: Algorithm, name: &str, public: &[u8]) -> Result<Self, NoteError> {
        check_name(name)?;
        if algorithm == Algorithm::MlDsa44 {
            if public.len() != ML_DSA_44_KEY_BYTES {
                return Err(NoteError::Key);
            }
        } else if !is_strict_point(public.try_into().map_err(|_| NoteError::Key)?) {
            return Err(NoteError::WeakKey);
        }
        Ok(Self { name: name.to_owned(), id: key_id(algorithm, name, public), algorithm, public: public.to_vec() })
    }

    /// The name; a log's is its origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first four bytes of `SHA-256(name ‖ LF ‖ type ‖ key)`.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// How it signs.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key as RFC 8032 or FIPS 204 encodes it.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.public
    }

    /// Whether signatures of the two could be taken for one another, or they are one key.
    pub(crate) fn is_confused_with(&self, other: &Self) -> bool {
        self.public == other.public || self.id == other.id && self.name == other.name
    }

    /// What ties a leaf to this log: the first 16 bytes of `SHA-256(key as text)`.
    #[must_use]
    pub fn log_id(&self) -> [u8; 16] {
        let mut id = [0; 16];
        id.copy_from_slice(&sha256(self.to_string().as_bytes())[..16]);
        id
    }

    /// Whether the key signed the text. For Ed25519 by the strict rule: `S` below the group's order (RFC 8032, section
    /// 5.1.7), key and `R` in canonical form and not of small order, and the equation without cofactor. So each signature
    /// that passes here passes every Ed25519 verifier.
    #[must_use]
    pub fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        let (time, signature) = match self.algorithm {
            Algorithm::Ed25519 => (0, signature),
            Algorithm::Ed25519Cosignature | Algorithm::MlDsa44 => match split_time(signature) {
                Some(parts) => parts,
                None => return false,
            },
        };
        let Some(message) = self.algorithm.message(&self.name, time, text) else { return false };
        if self.algorithm == Algorithm::MlDsa44 {
            return UnparsedPublicKey::new(&ML_DSA_44, &self.public).verify(&message, signature).is_ok();
        }
        let Some((r, s)) = signature.split_first_chunk::<32>() else { return false };
        let Ok(s) = <&[u8; 32]>::try_from(s) else { return false };
        is_strict_point(r) && is_reduced(s) && UnparsedPublicKey::new(&ED25519, &self.public).verify(&message, signature).is_ok()
    }

    /// The time that stands in a signature by this key, in seconds since 1970; `None` for a plain signature, which has none.
    /// It says something only when the signature verifies.
    #[must_use]
    pub fn time_of(&self, signature: &[u8]) -> Option<u64> {
        if self.algorithm == Algorithm::Ed25519 { None } else { Some(split_time(signature)?.0) }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.algorithm.signature_type()];
        key.extend_from_slice(&self.public);
        write!(f, "{}+{:08x}+{}", self.name, self.id, STANDARD.encode(key))
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        if text.len() > VKEY_BYTES_MAX {
            return Err(NoteError::Key);
        }
        let (name, id, algorithm, public) = split_key(text)?;
        let verifier = Self::of(algorithm, name, &public)?;
        if verifier.id == id { Ok(verifier) } else { Err(NoteError::KeyId { expected: verifier.id, got: id }) }
    }
}

/// Takes `name+hex(id)+base64(type ‖ key)` apart.
pub(crate) fn split_key(text: &str) -> Result<(&str, u32, Algorithm, Vec<u8>), NoteError> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else { return Err(NoteError::Key) };
    if id.len() != 8 || !id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(NoteError::Key);
    }
    let id = u32::from_str_radix(id, 16).map_err(|_| NoteError::Key)?;
    let key = STANDARD.decode(key).map_err(|_| NoteError::Key)?;
    let (algorithm, key) = key.split_first().ok_or(NoteError::Key)?;
    Ok((name, id, Algorithm::of_type(*algorithm).ok_or(NoteError::Key)?, key.to_vec()))
}

fn split_time(signature: &[u8]) -> Option<(u64, &[u8])> {
    let (time, signature) = signature.split_first_chunk::<TIME_BYTES>()?;
    Some((u64::from_be_bytes(*time), signature))
}

fn key_id(algorithm: Algorithm, name: &str, public: &[u8]) -> u32 {
    let mut input = format!("{name}\n").into_bytes();
    input.push(algorithm.signature_type());
    input.extend_from_slice(public);
    let hash = sha256(&input);
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

/// `y` of the points of order 1, 2, 4 and 8, little-endian: 1, -1, 0 and the two of order 8.
const SMALL_ORDER_Y: [[u8; 32]; 5] = [
    little(1, 0, 0),
    little(0xec, 0xff, 0x7f),
    [0; 32],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05,
        0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa,
        0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

/// 2^255 - 19, little-endian.
const FIELD_PRIME: [u8; 32] = little(0xed, 0xff, 0x7f);

/// The order of the base point, 2^252 + 27742317777372353535851937790883648493, little-endian.
const GROUP_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0x10,
];

const fn little(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut number = [middle; 32];
    number[0] = first;
    number[31] = last;
    number
}

/// Whether an encoded point is in canonical form (`y` below the field's prime) and not of small order.
fn is_strict_point(point: &[u8; 32]) -> bool {
    let mut y = *point;
    y[31] &= 0x7f;
    is_below(&y, &FIELD_PRIME) && !SMALL_ORDER_Y.contains(&y)
}

/// Whether `S` is below the group's order.
fn is_reduced(s: &[u8; 32]) -> bool {
    is_below(s, &GROUP_ORDER)
}

fn is_below(number: &[u8; 32], bound: &[u8; 32]) -> bool {
    number.iter().rev().lt(bound.iter().rev())
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use proptest::prelude::*;

    use super::*;
    use crate::note::SignedNote;
    use crate::signing::SigningKey;

    #[test]
    fn malformed_keys_are_refused() {
        let cases = [
            ("", NoteError::Key),
            ("example.com/foo", NoteError::Key),
            ("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2", NoteError::Key),
            ("example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", NoteError::Key),
            ("example.com/foo+530d903a+A+kyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", NoteError::Key),
            ("example com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", NoteError::Name),
            (
                "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
                NoteError::KeyId { expected: 0x530d_903a, got: 0x530d_903b },
            ),
        ];
        for (key, error) in cases {
            assert_eq!(key.parse::<VerifierKey>(), Err(error), "{key}");
        }
    }

    #[test]
    fn points_of_small_order_and_second_encodings_are_no_keys() {
        for mut point in SMALL_ORDER_Y.into_iter().chain([FIELD_PRIME, little(0xee, 0xff, 0x7f), [0xff; 32]]) {
            assert_eq!(VerifierKey::new("log", point), Err(NoteError::WeakKey));
            point[31] |= 0x80;
            assert_eq!(VerifierKey::new("log", point), Err(NoteError::WeakKey));
        }
    }

    #[test]
    fn a_signature_with_the_order_added_to_s_is_refused() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
        let key = VerifierKey::new("log", pair.public_key().as_ref().try_into().unwrap()).unwrap();
        let mut signature: [u8; 64] = pair.sign(b"text").as_ref().try_into().unwrap();
        assert!(key.verifies(b"text", &signature));
        assert!(!key.verifies(b"text", &signature[..63]));
        let mut carry = 0;
        for (byte, add) in signature[32..].iter_mut().zip(GROUP_ORDER) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
        assert!(!is_reduced(signature[32..].try_into().unwrap()));
        assert!(!key.verifies(b"text", &signature));
    }

    /// The example of tlog-cosignature: a checkpoint, and what `cosignature/v1` signs of it.
    #[test]
    fn the_messages_are_those_of_the_specification() {
        let text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        let ed25519 = Algorithm::Ed25519Cosignature.message("w", 1_679_315_147, text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(ed25519).unwrap(), format!("cosignature/v1\ntime 1679315147\n{text}"));
        let ml_dsa = Algorithm::MlDsa44.message("w1", 0x0102, text.as_bytes()).unwrap();
        let origin = b"example.com/behind-the-sofa";
        let size = 20_852_163_u64.to_be_bytes();
        let root = STANDARD.decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=").unwrap();
        let expected: [&[u8]; 7] = [b"subtree/v1\n\0\x02w1\0\0\0\0\0\0\x01\x02", &[27], origin, &[0; 8], &size, &root, &[]];
        assert_eq!(ml_dsa, expected.concat());
        // Extension lines are under the one and not under the other.
        let extended = format!("{text}more\n");
        assert_eq!(Algorithm::MlDsa44.message("w1", 0x0102, extended.as_bytes()), Some(ml_dsa));
        assert!(Algorithm::Ed25519Cosignature.message("w", 1, extended.as_bytes()).unwrap().ends_with(b"more\n"));
        for algorithm in [Algorithm::Ed25519Cosignature, Algorithm::MlDsa44] {
            assert_eq!(algorithm.message("w", 1, b"no checkpoint\n"), None);
            assert_eq!(algorithm.message("w", 1 << 63, text.as_bytes()), None);
        }
    }

    #[test]
    fn a_signature_is_good_for_its_key_algorithm_time_and_text_alone() {
        let text = "log\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        let other = text.replace('7', "8");
        for algorithm in [Algorithm::Ed25519, Algorithm::Ed25519Cosignature, Algorithm::MlDsa44] {
            let key = SigningKey::generate(algorithm, "name").unwrap();
            let signature = key.sign(text, 77).unwrap();
            let verifier = key.verifier();
            let read: VerifierKey = verifier.to_string().parse().unwrap();
            assert_eq!(&read, verifier);
            assert!(read.verifies(text.as_bytes(), &signature.signature));
            assert!(!read.verifies(other.as_bytes(), &signature.signature));
            let again = SigningKey::generate(algorithm, "name").unwrap();
            assert!(!again.verifier().verifies(text.as_bytes(), &signature.signature));
            assert_eq!(read.time_of(&signature.signature), (algorithm != Algorithm::Ed25519).then_some(77));
            for index in [0, 7, 8, 40, signature.signature.len() - 1] {
                let mut changed = signature.signature.clone();
                changed[index] ^= 1;
                assert!(!read.verifies(text.as_bytes(), &changed), "{algorithm:?} {index}");
            }
            for length in [0, 7, 8, 63, signature.signature.len() - 1] {
                assert!(!read.verifies(text.as_bytes(), &signature.signature[..length]));
            }
            let note = SignedNote::new(text.to_owned(), vec![signature]).unwrap();
            assert_eq!(SignedNote::parse(note.encode().as_bytes()).unwrap().verify(&read), Ok(()));
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,200}", key in proptest::collection::vec(any::<u8>(), 0..1400)) {
            let _ = text.parse::<VerifierKey>();
            let _ = format!("a+00000000+{}", STANDARD.encode(key)).parse::<VerifierKey>();
        }
    }
}
