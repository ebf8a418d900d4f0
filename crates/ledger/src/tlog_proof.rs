//! Proofs that stand alone: C2SP tlog-proof, one text that shows that an entry is in a log, and who witnessed that.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::note::{NOTE_BYTES_MAX, NoteError, SignedNote};
use crate::policy::{Policy, PolicyError, Witnessed};
use crate::proof::{ProofError, verify_inclusion};
use crate::tree::Hash;

/// The first line of the format.
const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// Most hashes of a path: a tree of fewer than 2^64 leaves is no higher.
const PATH_MAX: usize = 64;

/// Most bytes of extra data. What an application adds is a name or a record, not a file.
const EXTRA_BYTES_MAX: usize = 64 * 1024;

/// Longest proof: header, extra data in base64, index and path, and the note.
pub(crate) const PROOF_BYTES_MAX: usize = NOTE_BYTES_MAX + 2 * EXTRA_BYTES_MAX + 64 * PATH_MAX;

/// An inclusion proof with the checkpoint that it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    extra: Option<Vec<u8>>,
    index: u64,
    path: Vec<Hash>,
    checkpoint: SignedNote,
}

/// Why a text is no proof, or does not prove what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofError {
    /// The form of the text.
    #[error("tlog-proof: {0}")]
    Form(&'static str),
    /// The checkpoint in it.
    #[error("tlog-proof: {0}")]
    Note(#[from] NoteError),
    /// The checkpoint in it.
    #[error("tlog-proof: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The policy does not accept the checkpoint.
    #[error("tlog-proof: {0}")]
    Policy(#[from] PolicyError),
    /// The path does not lead from the leaf to the root.
    #[error("tlog-proof: {0}")]
    Path(#[from] ProofError),
}

impl TlogProof {
    /// Puts a proof together. `extra` is data of the application's own, which nothing vouches for; `checkpoint` is a note with
    /// the log's signatures and its witnesses'. The path is not verified here.
    pub fn new(extra: Option<Vec<u8>>, index: u64, path: Vec<Hash>, checkpoint: SignedNote) -> Result<Self, TlogProofError> {
        if extra.as_ref().is_some_and(|extra| extra.is_empty() || extra.len() > EXTRA_BYTES_MAX) {
            return Err(TlogProofError::Form("extra data must have 1 to 65,536 bytes; leave it out when there is none"));
        }
        if path.len() > PATH_MAX {
            return Err(TlogProofError::Form("the path has more than 64 hashes"));
        }
        Checkpoint::parse_extended(checkpoint.text())?;
        Ok(Self { extra, index, path, checkpoint })
    }

    /// Reads the text of a proof. Nothing in it is verified yet.
    pub fn parse(bytes: &[u8]) -> Result<Self, TlogProofError> {
        if bytes.len() > PROOF_BYTES_MAX {
            return Err(TlogProofError::Form("is too long"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| TlogProofError::Form("is not UTF-8 text"))?;
        let blank = text.find("\n\n").ok_or(TlogProofError::Form("has no blank line in front of a checkpoint"))?;
        let mut lines = text[..blank].split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(TlogProofError::Form("does not begin with the line c2sp.org/tlog-proof@v1"));
        }
        let extra = match lines.peek().and_then(|line| line.strip_prefix("extra ")) {
            Some(extra) => {
                lines.next();
                Some(STANDARD.decode(extra).map_err(|_| TlogProofError::Form("has extra data that is not base64"))?)
            }
            None => None,
        };
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).and_then(canonical);
        let index = index.ok_or(TlogProofError::Form("has no line `index N`, N in decimal without leading zeros"))?;
        let path = lines
            .map(|line| STANDARD.decode(line).ok().and_then(|hash| hash.try_into().ok()))
            .take(PATH_MAX + 1)
            .collect::<Option<Vec<Hash>>>()
            .ok_or(TlogProofError::Form("has a line of its path that is not a hash in base64"))?;
        Self::new(extra, index, path, SignedNote::parse(&bytes[blank + 2..])?)
    }

    /// The proof as text. Files are named `*.tlog-proof`.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = format!("{HEADER}\n");
        if let Some(extra) = &self.extra {
            text += &format!("extra {}\n", STANDARD.encode(extra));
        }
        text += &format!("index {}\n", self.index);
        for hash in &self.path {
            text += &format!("{}\n", STANDARD.encode(hash));
        }
        text + "\n" + &self.checkpoint.encode()
    }

    /// Verifies, offline, that the leaf of that hash is in the log at [`TlogProof::index`], under a checkpoint that the policy
    /// accepts. [`TlogProof::extra`] is not covered by anything.
    pub fn verify(&self, leaf: &Hash, policy: &Policy) -> Result<Witnessed, TlogProofError> {
        let witnessed = policy.check(&self.checkpoint)?;
        let Checkpoint { size, root, .. } = &witnessed.checkpoint;
        verify_inclusion(leaf, self.index, *size, &self.path, root)?;
        Ok(witnessed)
    }

    /// The place of the entry in the log, from 0.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The application's own data. Nothing vouches for it.
    #[must_use]
    pub fn extra(&self) -> Option<&[u8]> {
        self.extra.as_deref()
    }

    /// The checkpoint, as it was signed and cosigned.
    #[must_use]
    pub fn checkpoint(&self) -> &SignedNote {
        &self.checkpoint
    }

    /// The inclusion path, from the leaf's sibling to the root's child.
    #[must_use]
    pub fn path(&self) -> &[Hash] {
        &self.path
    }
}

/// A number in its one decimal form.
pub(crate) fn canonical(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proof::inclusion;
    use crate::signing::SigningKey;
    use crate::tree::{leaf_hash, root_of};
    use crate::vkey::Algorithm;

    fn log() -> SigningKey {
        SigningKey::from_seed(Algorithm::Ed25519, "example.com/log", zeroize::Zeroizing::new([7; 32])).unwrap()
    }

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|index| leaf_hash(&index.to_be_bytes())).collect()
    }

    fn proof(index: u64, size: u64, extra: Option<Vec<u8>>) -> TlogProof {
        let leaves = leaves(size);
        let text = Checkpoint { origin: "example.com/log".to_owned(), size, root: root_of(leaves.iter().copied()) }.text();
        let note = SignedNote::new(text.clone(), vec![log().sign(&text, 0).unwrap()]).unwrap();
        TlogProof::new(extra, index, inclusion(&leaves.as_slice(), index, size).unwrap(), note).unwrap()
    }

    fn policy() -> Policy {
        Policy::of_log([log().verifier().clone()])
    }

    #[test]
    fn the_text_is_that_of_the_specification() {
        let proof = proof(1, 2, Some(b"hello".to_vec()));
        let sibling = STANDARD.encode(leaves(1)[0]);
        let note = proof.checkpoint().encode();
        assert_eq!(proof.encode(), format!("c2sp.org/tlog-proof@v1\nextra aGVsbG8=\nindex 1\n{sibling}\n\n{note}"));
        let alone = super::tests::proof(0, 1, None);
        assert_eq!(alone.encode(), format!("c2sp.org/tlog-proof@v1\nindex 0\n\n{}", alone.checkpoint().encode()));
    }

    #[test]
    fn each_leaf_of_each_small_tree_is_proved_and_no_other() {
        for size in 1..=33 {
            for index in 0..size {
                let text = proof(index, size, None).encode();
                let read = TlogProof::parse(text.as_bytes()).unwrap();
                let leaf = leaf_hash(&index.to_be_bytes());
                assert_eq!(read.verify(&leaf, &policy()).unwrap().checkpoint.size, size);
                assert!(matches!(read.verify(&leaf_hash(b"other"), &policy()), Err(TlogProofError::Path(_))));
                let moved = TlogProof { index: (index + 1) % size.max(2), ..read };
                assert!(moved.verify(&leaf, &policy()).is_err(), "{index} of {size}");
            }
        }
    }

    #[test]
    fn a_proof_under_a_log_that_the_policy_does_not_know_is_refused() {
        let leaf = leaf_hash(&0_u64.to_be_bytes());
        let other = SigningKey::generate(Algorithm::Ed25519, "example.com/log").unwrap();
        let policy = Policy::of_log([other.verifier().clone()]);
        assert!(matches!(proof(0, 3, None).verify(&leaf, &policy), Err(TlogProofError::Policy(PolicyError::UnknownLog(_)))));
    }

    #[test]
    fn malformed_proofs_are_refused() {
        let good = proof(1, 2, Some(b"hello".to_vec())).encode();
        assert!(TlogProof::parse(good.as_bytes()).is_ok());
        let hash = STANDARD.encode([0; 32]);
        for (what, bad) in [
            ("empty", String::new()),
            ("version", good.replace("@v1", "@v2")),
            ("no index", good.replace("index 1\n", "")),
            ("leading zero", good.replace("index 1", "index 01")),
            ("sign", good.replace("index 1", "index +1")),
            ("too large", good.replace("index 1", "index 18446744073709551616")),
            ("extra twice", good.replace("extra aGVsbG8=\n", "extra aGVsbG8=\nextra aGVsbG8=\n")),
            ("extra empty", good.replace("extra aGVsbG8=", "extra ")),
            ("extra without padding", good.replace("aGVsbG8=", "aGVsbG8")),
            ("short hash", good.replacen("\n\n", "\nAAAA\n\n", 1)),
            ("carriage return", good.replace('\n', "\r\n")),
            ("path too long", good.replacen("\n\n", &format!("\n{}\n", format!("{hash}\n").repeat(64)), 1)),
            ("no note", good.split_inclusive("\n\n").next().unwrap().to_owned()),
            ("no checkpoint", good.replace("\n2\n", "\n02\n")),
            ("something behind it", format!("{good}x")),
        ] {
            assert!(TlogProof::parse(bad.as_bytes()).is_err(), "{what}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_is_written_back_byte_for_byte(
            index in 0_u64..9, extra in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..40)), flip in any::<(usize, u8)>(),
        ) {
            let proof = proof(index, 9, extra);
            let mut bytes = proof.encode().into_bytes();
            prop_assert_eq!(TlogProof::parse(&bytes).unwrap(), proof.clone());
            let place = flip.0 % bytes.len();
            let changed = bytes[place] != flip.1;
            bytes[place] = flip.1;
            if let Ok(read) = TlogProof::parse(&bytes) {
                prop_assert_eq!(read.encode().into_bytes(), bytes);
                // One changed byte proves the same leaf only where nothing is covered: in the extra data, or in the name and
                // signature of a key that is then unknown, of which this note has no other.
                let proves = read.verify(&leaf_hash(&index.to_be_bytes()), &policy()).is_ok();
                prop_assert!(!changed || !proves || read.extra() != proof.extra());
            }
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in any::<Vec<u8>>(), text in "(c2sp.org/tlog-proof@v1\n)?.{0,200}") {
            let _ = TlogProof::parse(&bytes);
            let _ = TlogProof::parse(text.as_bytes());
        }
    }
}
