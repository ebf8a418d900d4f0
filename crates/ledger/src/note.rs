//! Signed notes: C2SP signed-note.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::vkey::VerifierKey;

/// Longest note: text of a few lines and a hundred post-quantum cosignatures.
pub(crate) const NOTE_BYTES_MAX: usize = 512 * 1024;

/// Most signatures of one note. The specification asks for 16 at least.
pub(crate) const SIGNATURES_MAX: usize = 128;

/// Longest name of a key; it is the first line of each checkpoint, too.
pub(crate) const NAME_BYTES_MAX: usize = 255;

pub(crate) const SIGNATURE_PREFIX: &str = "\u{2014} ";

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
    #[error("key name must be 1 to {NAME_BYTES_MAX} bytes without spaces, control characters below U+0020 and '+'")]
    Name,
    /// The form of a key.
    #[error(
        "verifier key must be name+hex(key id)+base64(type and key), the type 0x01 or 0x04 with 32 bytes of Ed25519 key, or 0x06 \
         with 1312 bytes of ML-DSA-44 key"
    )]
    Key,
    /// The library could not sign, or the key does not sign such a text.
    #[error("{0} cannot sign this text; cosignatures and ML-DSA-44 are for checkpoints alone")]
    CannotSign(String),
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
        for signature in self.signatures.iter().filter(|by| by.is_by(key)) {
            if !key.verifies(self.text.as_bytes(), &signature.signature) {
                return Err(NoteError::BadSignature(key.name().to_owned()));
            }
            signed = true;
        }
        if signed { Ok(()) } else { Err(NoteError::Unsigned(key.name().to_owned())) }
    }

    /// Which of the keys signed it, by their places. One wrong signature by any of them rejects the note.
    pub fn signers(&self, keys: &[VerifierKey]) -> Result<Vec<usize>, NoteError> {
        let mut signers = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            match self.verify(key) {
                Ok(()) => signers.push(index),
                Err(NoteError::Unsigned(_)) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(signers)
    }

    /// The same text with more signatures behind those it has.
    pub fn with(mut self, signatures: impl IntoIterator<Item = NoteSignature>) -> Result<Self, NoteError> {
        self.signatures.extend(signatures);
        Self::new(self.text, self.signatures)
    }
}

impl NoteSignature {
    /// Whether it says to be by that key.
    #[must_use]
    pub fn is_by(&self, key: &VerifierKey) -> bool {
        self.name == key.name() && self.key_id == key.id()
    }

    /// Reads a signature line, without its newline.
    pub(crate) fn parse(line: &str) -> Option<Self> {
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

    /// The signature as a line, with its newline.
    #[must_use]
    pub fn line(&self) -> String {
        let mut bytes = self.key_id.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.signature);
        format!("{SIGNATURE_PREFIX}{} {}\n", self.name, STANDARD.encode(bytes))
    }
}

pub(crate) fn check_name(name: &str) -> Result<(), NoteError> {
    let bad = |character: char| character.is_whitespace() || character < ' ' || character == '+';
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(bad) { Ok(()) } else { Err(NoteError::Name) }
}

#[cfg(test)]
mod tests {
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
