//! The request of `add-checkpoint` and its answers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::note::{NOTE_BYTES_MAX, NoteError, NoteSignature, SignedNote};
use crate::tlog_proof::canonical;
use crate::tree::Hash;
use crate::vkey::{Algorithm, VerifierKey};

/// Most hashes of a consistency proof, as the specification says.
const PROOF_MAX: usize = 63;

/// Longest request: a size, a proof and a checkpoint.
pub(crate) const REQUEST_BYTES_MAX: usize = NOTE_BYTES_MAX + 64 * (PROOF_MAX + 1);

/// What a log asks a witness: countersign this checkpoint, which goes on from the one of `old` leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size of the checkpoint that the witness countersigned last; 0 when it has none.
    pub old: u64,
    /// The consistency proof from there.
    pub proof: Vec<Hash>,
    /// The checkpoint with the log's signatures.
    pub checkpoint: SignedNote,
}

/// What a witness said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It countersigned. Each of these verifies, by one of the keys that were expected, and states a time.
    Cosigned(Vec<NoteSignature>),
    /// It countersigned a checkpoint of another size last; ask again from there.
    Conflict(u64),
    /// The proof is wrong, or the same size has another root: to the witness the log has forked.
    Inconsistent,
    /// It does not know the log (404), or does not take the signature (403).
    Unknown(u16),
    /// Anything else: the witness is at fault, or does not speak the protocol.
    Failed(String),
}

/// Why a text is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The form.
    #[error("add-checkpoint: {0}")]
    Form(&'static str),
    /// The checkpoint in it.
    #[error("add-checkpoint: {0}")]
    Note(#[from] NoteError),
    /// The checkpoint in it.
    #[error("add-checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
}

impl AddCheckpoint {
    /// Reads the body of a request.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        if bytes.len() > REQUEST_BYTES_MAX {
            return Err(RequestError::Form("the request is too long"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| RequestError::Form("the request is not UTF-8 text"))?;
        let blank = text.find("\n\n").ok_or(RequestError::Form("no empty line in front of the checkpoint"))?;
        let mut lines = text[..blank].split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(canonical);
        let old = old.ok_or(RequestError::Form("the first line must be `old N`, N in decimal without leading zeros"))?;
        let hash = |line: &str| STANDARD.decode(line).ok().and_then(|hash| hash.try_into().ok());
        let proof = lines.map(hash).take(PROOF_MAX + 1).collect::<Option<Vec<Hash>>>();
        let proof = proof.ok_or(RequestError::Form("a line of the proof is not a hash in base64"))?;
        if proof.len() > PROOF_MAX {
            return Err(RequestError::Form("the proof has more than 63 hashes"));
        }
        let checkpoint = SignedNote::parse(&bytes[blank + 2..])?;
        Checkpoint::parse_extended(checkpoint.text())?;
        Ok(Self { old, proof, checkpoint })
    }

    /// The body of the request.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = format!("old {}\n", self.old);
        for hash in &self.proof {
            text += &format!("{}\n", STANDARD.encode(hash));
        }
        text + "\n" + &self.checkpoint.encode()
    }
}

/// Reads what a witness answered to a request for that checkpoint. Signatures of other keys than the witness's are passed over;
/// a wrong one, or one without a time, is the witness's fault.
#[must_use]
pub fn read_answer(status: u16, body: &[u8], checkpoint: &SignedNote, witness: &[VerifierKey]) -> Answer {
    let failed = |what: &str| Answer::Failed(format!("{status}: {what}"));
    match status {
        200 => match cosignatures(body, checkpoint, witness) {
            Ok(signatures) if signatures.is_empty() => failed("no signature by the witness's key; is its vkey right?"),
            Ok(signatures) => Answer::Cosigned(signatures),
            Err(what) => failed(&what),
        },
        409 => {
            let text = std::str::from_utf8(body).ok().and_then(|text| text.strip_suffix('\n'));
            text.and_then(canonical).map_or_else(|| failed("the body is not a size"), Answer::Conflict)
        }
        422 => Answer::Inconsistent,
        403 | 404 => Answer::Unknown(status),
        _ => failed("no answer of the protocol"),
    }
}

fn cosignatures(body: &[u8], checkpoint: &SignedNote, witness: &[VerifierKey]) -> Result<Vec<NoteSignature>, String> {
    // Read as a note, so that the lines pass the same bounds and rules.
    let note = [checkpoint.text().as_bytes(), b"\n", body].concat();
    let note = SignedNote::parse(&note).map_err(|error| error.to_string())?;
    note.signers(witness).map_err(|error| error.to_string())?;
    let mut good = Vec::new();
    for signature in note.signatures() {
        let Some(key) = witness.iter().find(|key| signature.is_by(key)) else { continue };
        if key.algorithm() != Algorithm::Ed25519 && key.time_of(&signature.signature).unwrap_or(0) == 0 {
            return Err("a cosignature states no time".to_owned());
        }
        good.push(signature.clone());
    }
    Ok(good)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::signing::SigningKey;

    const TEXT: &str = "log\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    fn key(algorithm: Algorithm, seed: u8) -> SigningKey {
        SigningKey::from_seed(algorithm, "w", zeroize::Zeroizing::new([seed; 32])).unwrap()
    }

    fn note() -> SignedNote {
        SignedNote::new(TEXT.to_owned(), vec![key(Algorithm::Ed25519, 1).sign(TEXT, 0).unwrap()]).unwrap()
    }

    #[test]
    fn answers_are_read_by_their_status() {
        let (ed25519, ml_dsa) = (key(Algorithm::Ed25519Cosignature, 2), key(Algorithm::MlDsa44, 3));
        let known = [ed25519.verifier().clone(), ml_dsa.verifier().clone()];
        let read = |status, body: &str| read_answer(status, body.as_bytes(), &note(), &known);
        let (one, two) = (ed25519.sign(TEXT, 9).unwrap(), ml_dsa.sign(TEXT, 9).unwrap());
        let stranger = key(Algorithm::Ed25519Cosignature, 8).sign(TEXT, 9).unwrap().line();
        assert_eq!(read(200, &(one.line() + &stranger + &two.line())), Answer::Cosigned(vec![one.clone(), two]));
        assert!(matches!(read(200, &stranger), Answer::Failed(_)));
        assert!(matches!(read(200, ""), Answer::Failed(_)));
        assert!(matches!(read(200, &ed25519.sign(TEXT, 0).unwrap().line()), Answer::Failed(_)), "no time");
        let other = TEXT.replace('7', "8");
        assert!(matches!(read(200, &ed25519.sign(&other, 9).unwrap().line()), Answer::Failed(_)), "of another checkpoint");
        assert!(matches!(read(200, &format!("\n\n{}", one.line())), Answer::Failed(_)), "a text smuggled in");
        assert_eq!(read(409, "12\n"), Answer::Conflict(12));
        for bad in ["", "12", "012\n", "-1\n", "1\n2\n", "18446744073709551616\n"] {
            assert!(matches!(read(409, bad), Answer::Failed(_)), "{bad:?}");
        }
        assert_eq!(
            (read(422, ""), read(403, ""), read(404, "")),
            (Answer::Inconsistent, Answer::Unknown(403), Answer::Unknown(404))
        );
        assert!(matches!(read(500, "x"), Answer::Failed(_)));
    }

    #[test]
    fn malformed_requests_are_refused() {
        let good = AddCheckpoint { old: 3, proof: vec![[1; 32], [2; 32]], checkpoint: note() }.encode();
        assert!(AddCheckpoint::parse(good.as_bytes()).is_ok());
        let hash = STANDARD.encode([0; 32]);
        for bad in [
            String::new(),
            good.replace("old 3", "old 03"),
            good.replace("old 3", "new 3"),
            good.replace("old 3", "old  3"),
            good.replacen("\n\n", "\n", 1),
            good.replacen('\n', "\r\n", 1),
            good.replacen("\n\n", "\nAAAA\n\n", 1),
            good.replacen("\n\n", &format!("\n{}\n", format!("{hash}\n").repeat(62)), 1),
            good.replace("\n7\n", "\n07\n"),
            good.trim_end().to_owned(),
        ] {
            assert!(AddCheckpoint::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn requests_round_trip_and_no_bytes_make_the_parsers_panic(
            old in any::<u64>(), proof in proptest::collection::vec(any::<Hash>(), 0..5), flip in any::<(usize, u8)>(),
            bytes in any::<Vec<u8>>(), status in prop_oneof![Just(200_u16), Just(409), any::<u16>()],
        ) {
            let request = AddCheckpoint { old, proof, checkpoint: note() };
            let mut text = request.encode().into_bytes();
            prop_assert_eq!(AddCheckpoint::parse(&text).unwrap(), request);
            let place = flip.0 % text.len();
            text[place] = flip.1;
            if let Ok(read) = AddCheckpoint::parse(&text) {
                prop_assert_eq!(read.encode().into_bytes(), text);
            }
            let _ = AddCheckpoint::parse(&bytes);
            let _ = read_answer(status, &bytes, &note(), &[key(Algorithm::Ed25519Cosignature, 2).verifier().clone()]);
        }
    }
}
