//! Signed notes and verifier keys: C2SP signed-note, with Ed25519 by a strict rule.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::tree::sha256;

/// Longest note: text of a few lines and a hundred post-quantum cosignatures.
pub(crate) const NOTE_BYTES_MAX: usize = 512 * 1024;

/// Most signatures of one note. The specification asks for 16 at least.
pub(crate) const SIGNATURES_MAX: usize = 128;

/// Longest name of a key; it is the first line of each checkpoint, too.
pub(crate) const NAME_BYTES_MAX: usize = 255;

/// The signature type of Ed25519 in key ids and verifier keys.
pub(crate) const ED25519_TYPE: u8 = 0x01;

const SIGNATURE_PREFIX: &str = "\u{2014} ";

/// A public key with its name: what a verifier needs, as text `name+hex(id)+base64(0x01 ‖ key)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: u32,
    public: [u8; 32],
}

/// A text and who signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// One signature of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// The key's name.
    pub name: String,
    /// The key's id.
    pub key_id: u32,
    /// The signature itself.
    pub signature: Vec<u8>,
}

/// Why a text is no note or no key, or a note does not verify.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Over a limit.
    #[error("note has {0} bytes, at most {NOTE_BYTES_MAX} can be")]
    TooLong(usize),
    /// Not text.
    #[error("note is not UTF-8 text without control characters")]
    NotText,
    /// It has no blank line, or nothing in front of it.
    #[error("note has no text followed by a blank line")]
    NoText,
    /// It has no signature, or too many.
    #[error("note has {0} signatures, it must have 1 to {SIGNATURES_MAX}")]
    Signatures(usize),
    /// A line is not a signature.
    #[error("signature line {0} of the note is malformed")]
    SignatureLine(usize),
    /// A key's name.
    #[error("key name must be 1 to {NAME_BYTES_MAX} bytes without spaces, control characters and '+'")]
    Name,
    /// The form of a key.
    #[error("verifier key must be name+hex(key id)+base64(0x01 and 32 bytes of Ed25519 key)")]
    Key,
    /// The id in a key is not the one that its name and bytes give.
    #[error("key id is {got:08x}, name and key give {expected:08x}")]
    KeyId {
        /// As computed.
        expected: u32,
        /// As written.
        got: u32,
    },
    /// A point of small order, or not in its one encoding.
    #[error("Ed25519 key is a point of small order or not in canonical form")]
    WeakKey,
    /// Signed by the key, and the signature is wrong.
    #[error("signature by {0} does not verify")]
    BadSignature(String),
    /// Not signed by the key at all.
    #[error("note is not signed by {0}")]
    Unsigned(String),
}

impl VerifierKey {
    /// Names an Ed25519 public key.
    pub fn new(name: &str, public: [u8; 32]) -> Result<Self, NoteError> {
        check_name(name)?;
        if !is_strict_point(&public) {
            return Err(NoteError::WeakKey);
        }
        Ok(Self { name: name.to_owned(), id: key_id(name, &public), public })
    }

    /// The name, which is the log's origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first four bytes of `SHA-256(name ‖ LF ‖ 0x01 ‖ key)`.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The key as RFC 8032 encodes it.
    #[must_use]
    pub fn public_key(&self) -> &[u8; 32] {
        &self.public
    }

    /// What ties a leaf to this log: the first 16 bytes of `SHA-256(key as text)`.
    #[must_use]
    pub fn log_id(&self) -> [u8; 16] {
        let mut id = [0; 16];
        id.copy_from_slice(&sha256(self.to_string().as_bytes())[..16]);
        id
    }

    /// Whether the key signed the text, by the strict rule: `S` below the group's order (RFC 8032, section 5.1.7), key
    /// and `R` in canonical form and not of small order, and the equation without cofactor. So each signature that
    /// passes here passes every Ed25519 verifier.
    #[must_use]
    pub fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        let Some((r, s)) = signature.split_first_chunk::<32>() else { return false };
        let Ok(s) = <&[u8; 32]>::try_from(s) else { return false };
        is_strict_point(r) && is_reduced(s) && UnparsedPublicKey::new(&ED25519, &self.public).verify(text, signature).is_ok()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = [ED25519_TYPE; 33];
        key[1..].copy_from_slice(&self.public);
        write!(f, "{}+{:08x}+{}", self.name, self.id, STANDARD.encode(key))
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let (name, id, key) = split_key(text)?;
        let public = key[1..].try_into().map_err(|_| NoteError::Key)?;
        if key[0] != ED25519_TYPE {
            return Err(NoteError::Key);
        }
        let verifier = Self::new(name, public)?;
        if verifier.id == id { Ok(verifier) } else { Err(NoteError::KeyId { expected: verifier.id, got: id }) }
    }
}

impl SignedNote {
    /// A note. The text must end with a newline.
    pub fn new(text: String, signatures: Vec<NoteSignature>) -> Result<Self, NoteError> {
        let note = Self { text, signatures };
        // What is written must be read back as the same note.
        if Self::parse(note.encode().as_bytes())? == note { Ok(note) } else { Err(NoteError::NoText) }
    }

    /// Reads a note.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong(bytes.len()));
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::NotText)?;
        if note.bytes().any(|byte| byte < b' ' && byte != b'\n') {
            return Err(NoteError::NotText);
        }
        let blank = note.rfind("\n\n").ok_or(NoteError::NoText)?;
        let (text, signatures) = (&note[..=blank], &note[blank + 2..]);
        let lines = signatures.strip_suffix('\n').ok_or(NoteError::Signatures(0))?;
        let count = lines.split('\n').count();
        if count > SIGNATURES_MAX {
            return Err(NoteError::Signatures(count));
        }
        let signatures = lines
            .split('\n')
            .enumerate()
            .map(|(index, line)| NoteSignature::parse(line).ok_or(NoteError::SignatureLine(index + 1)))
            .collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// The note as text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut note = format!("{}\n", self.text);
        for signature in &self.signatures {
            note.push_str(&signature.line());
        }
        note
    }

    /// What was signed, with its last newline.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, none of them verified.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Verifies that the key signed it. Signatures of other keys are passed over, as the specification asks; a wrong
    /// signature by this key rejects the note.
    pub fn verify(&self, key: &VerifierKey) -> Result<(), NoteError> {
        let mut signed = false;
        for signature in self.signatures.iter().filter(|by| by.name == key.name && by.key_id == key.id) {
            if !key.verifies(self.text.as_bytes(), &signature.signature) {
                return Err(NoteError::BadSignature(key.name.clone()));
            }
            signed = true;
        }
        if signed { Ok(()) } else { Err(NoteError::Unsigned(key.name.clone())) }
    }
}

impl NoteSignature {
    fn parse(line: &str) -> Option<Self> {
        let (name, signature) = line.strip_prefix(SIGNATURE_PREFIX)?.split_once(' ')?;
        check_name(name).ok()?;
        let signature = STANDARD.decode(signature).ok()?;
        let (id, signature) = signature.split_first_chunk::<4>()?;
        (!signature.is_empty()).then(|| Self {
            name: name.to_owned(),
            key_id: u32::from_be_bytes(*id),
            signature: signature.to_vec(),
        })
    }

    fn line(&self) -> String {
        let mut bytes = self.key_id.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.signature);
        format!("{SIGNATURE_PREFIX}{} {}\n", self.name, STANDARD.encode(bytes))
    }
}

/// Takes `name+hex(id)+base64(key)` apart; the key has at least one byte.
pub(crate) fn split_key(text: &str) -> Result<(&str, u32, Vec<u8>), NoteError> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else { return Err(NoteError::Key) };
    if id.len() != 8 || !id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(NoteError::Key);
    }
    let id = u32::from_str_radix(id, 16).map_err(|_| NoteError::Key)?;
    let key = STANDARD.decode(key).map_err(|_| NoteError::Key)?;
    if key.len() == 33 { Ok((name, id, key)) } else { Err(NoteError::Key) }
}

fn check_name(name: &str) -> Result<(), NoteError> {
    let bad = |character: char| character.is_whitespace() || character.is_control() || character == '+';
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(bad) { Ok(()) } else { Err(NoteError::Name) }
}

fn key_id(name: &str, public: &[u8; 32]) -> u32 {
    let mut input = format!("{name}\n").into_bytes();
    input.push(ED25519_TYPE);
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

    /// The example of the specification.
    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo \
                        Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

    #[test]
    fn the_example_of_the_specification_verifies_and_round_trips() {
        let key: VerifierKey = VKEY.parse().unwrap();
        assert_eq!((key.to_string().as_str(), key.name(), key.id()), (VKEY, "example.com/foo", 0x530d_903a));
        let note = SignedNote::parse(NOTE.as_bytes()).unwrap();
        assert_eq!(note.text(), "This is an example message.\n");
        assert_eq!(note.encode(), NOTE);
        assert_eq!(note.verify(&key), Ok(()));
    }

    #[test]
    fn a_change_of_text_or_signature_is_refused_and_other_keys_are_passed_over() {
        let key: VerifierKey = VKEY.parse().unwrap();
        let changed = SignedNote::parse(NOTE.replace("message", "massage").as_bytes()).unwrap();
        assert_eq!(changed.verify(&key), Err(NoteError::BadSignature("example.com/foo".to_owned())));
        let line = "\u{2014} witness.example AAAAAAAB\n";
        let more = SignedNote::parse(format!("{NOTE}{line}").as_bytes()).unwrap();
        assert_eq!((more.verify(&key), more.signatures().len()), (Ok(()), 2));
        let other = SignedNote::parse(format!("text\n\n{line}").as_bytes()).unwrap();
        assert_eq!(other.verify(&key), Err(NoteError::Unsigned("example.com/foo".to_owned())));
    }

    #[test]
    fn malformed_notes_are_refused() {
        let line = "\u{2014} a AAAAAAAB\n";
        let cases: &[(String, NoteError)] = &[
            (String::new(), NoteError::NoText),
            ("text\n".to_owned(), NoteError::NoText),
            (format!("text\n{line}"), NoteError::NoText),
            ("text\n\n".to_owned(), NoteError::Signatures(0)),
            (format!("te\txt\n\n{line}"), NoteError::NotText),
            (format!("text\r\n\n{line}"), NoteError::NotText),
            (format!("text\n\n{}", line.trim_end()), NoteError::Signatures(0)),
            (format!("text\n\n{line}x\n"), NoteError::SignatureLine(2)),
            ("text\n\n\u{2014} a AAAAAA==\n".to_owned(), NoteError::SignatureLine(1)),
            ("text\n\n\u{2014} a AAAAAAB=\n".to_owned(), NoteError::SignatureLine(1)),
            ("text\n\n\u{2014} a+b AAAAAAAB\n".to_owned(), NoteError::SignatureLine(1)),
            ("text\n\n- a AAAAAAAB\n".to_owned(), NoteError::SignatureLine(1)),
            (format!("text\n\n{}", line.repeat(129)), NoteError::Signatures(129)),
        ];
        for (note, error) in cases {
            assert_eq!(SignedNote::parse(note.as_bytes()).as_ref(), Err(error), "{note:?}");
        }
        assert_eq!(SignedNote::parse(b"\xff\n\n"), Err(NoteError::NotText));
    }

    #[test]
    fn malformed_keys_are_refused() {
        let cases = [
            ("", NoteError::Key),
            ("example.com/foo", NoteError::Key),
            ("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2", NoteError::Key),
            ("example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", NoteError::Key),
            ("example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", NoteError::Key),
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

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(bytes in any::<Vec<u8>>(), text in ".{0,200}") {
            let _ = SignedNote::parse(&bytes);
            let _ = SignedNote::parse(text.as_bytes());
            let _ = text.parse::<VerifierKey>();
        }

        #[test]
        fn what_parses_is_written_back_byte_for_byte(
            text in "([a-z+ ]{0,8}\n){1,4}", names in proptest::collection::vec("[a-z.]{1,8}", 1..4),
            signature in proptest::collection::vec(any::<u8>(), 1..80), flip in any::<(usize, u8)>(),
        ) {
            let signatures: Vec<_> = names.into_iter()
                .map(|name| NoteSignature { name, key_id: 7, signature: signature.clone() }).collect();
            let note = SignedNote::new(text, signatures).unwrap();
            let mut bytes = note.encode().into_bytes();
            prop_assert_eq!(SignedNote::parse(&bytes).unwrap(), note);
            let index = flip.0 % bytes.len();
            bytes[index] = flip.1;
            if let Ok(note) = SignedNote::parse(&bytes) {
                prop_assert_eq!(note.encode().into_bytes(), bytes);
            }
        }
    }
}
