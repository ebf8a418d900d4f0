//! The public keys of a log over its life. The first ones name the log; each later pair is vouched for by the pair before it.
//!
//! `ledger/keys` holds one statement for each rotation. The statements are the leaves of a tree of their own, and each is
//! followed by a checkpoint of that tree, under the origin `NAME/keys`, signed by the old keys and the new: so the statements
//! are signed by both algorithms in the formats that the specifications give.

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::key::LogKey;
use crate::note::{NoteError, SignedNote};
use crate::tlog_proof::canonical;
use crate::tree::{Hash, leaf_hash, root_of};
use crate::vkey::{Algorithm, VKEY_BYTES_MAX, VerifierKey};

/// First line of a statement.
const HEADER: &str = "watchkeeper/keys/1";

/// Behind the log's name: the origin of the tree of its statements.
const ORIGIN_SUFFIX: &str = "/keys";

/// Most rotations: one a month for twenty years.
const ROTATIONS_MAX: usize = 256;

/// Longest file of rotations: for each of them two keys and four signatures.
pub(crate) const KEYS_BYTES_MAX: usize = ROTATIONS_MAX * 16 * 1024;

/// Longest file of the first keys.
pub(crate) const VKEY_FILE_BYTES_MAX: usize = 2 * (VKEY_BYTES_MAX + 1);

/// Longest name of a log: with the suffix it must still fit into a byte's count, in what ML-DSA-44 signs.
pub(crate) const ORIGIN_BYTES_MAX: usize = 255 - ORIGIN_SUFFIX.len();

/// The public keys of a log, and for which sizes of its tree each of them signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChain {
    generations: Vec<Generation>,
    statements: Vec<Hash>,
}

/// The keys that began to sign at one time: Ed25519, and beside it ML-DSA-44 unless the log is older than that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Ed25519 first.
    pub keys: Vec<VerifierKey>,
    /// The smallest size of a checkpoint that they must sign.
    pub from: u64,
    /// The largest size of a checkpoint that they may sign; `None` as long as nothing follows them.
    pub last: Option<u64>,
}

/// Why the public keys of a log cannot be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyChainError {
    /// The file of the first keys.
    #[error("must have one line with an Ed25519 key of the log, and at most one more with its ML-DSA-44 key: {0}")]
    First(String),
    /// A statement in the file of rotations.
    #[error("rotation {number}: {what}")]
    Rotation {
        /// Counted from 1.
        number: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A checkpoint that the keys did not sign as they must.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl KeyChain {
    /// The chain that begins with these keys.
    pub(crate) fn begin(keys: Vec<VerifierKey>) -> Result<Self, KeyChainError> {
        check_pair(&keys).map_err(KeyChainError::First)?;
        Ok(Self { generations: vec![Generation { keys, from: 0, last: None }], statements: Vec::new() })
    }

    /// Reads `ledger/vkey`, and `ledger/keys` where there is one, and verifies that each pair of keys vouches for the next.
    pub fn parse(first: &[u8], rotations: Option<&[u8]>) -> Result<Self, KeyChainError> {
        let malformed = |what: &str| KeyChainError::First(what.to_owned());
        if first.len() > VKEY_FILE_BYTES_MAX {
            return Err(malformed("it is too long"));
        }
        let text = std::str::from_utf8(first).ok().and_then(|text| text.strip_suffix('\n'));
        let text = text.ok_or_else(|| malformed("it is not lines of text"))?;
        let keys = text.split('\n').map(read_vkey).collect::<Result<_, _>>().map_err(KeyChainError::First)?;
        let mut chain = Self::begin(keys)?;
        chain.read_rotations(rotations.unwrap_or_default())?;
        Ok(chain)
    }

    /// The log's name.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.first().name()
    }

    /// The log's first Ed25519 key, which names it in every leaf.
    #[must_use]
    pub fn first(&self) -> &VerifierKey {
        &self.generations[0].keys[0]
    }

    /// All generations, oldest first; there is one at least.
    #[must_use]
    pub fn generations(&self) -> &[Generation] {
        &self.generations
    }

    /// The keys that sign the newest checkpoints.
    #[must_use]
    pub fn newest(&self) -> &[VerifierKey] {
        self.generations.last().map_or(&[], |newest| &newest.keys)
    }

    /// The keys that must sign a checkpoint of that size, and the only ones that may; oldest first.
    pub fn at(&self, size: u64) -> impl Iterator<Item = &VerifierKey> {
        let signs = move |generation: &&Generation| generation.from <= size && generation.last.is_none_or(|last| size <= last);
        self.generations.iter().filter(signs).flat_map(|generation| &generation.keys)
    }

    /// The keys that sign checkpoints of that size or larger ones: what else the log signs beside a checkpoint of that size, one of
    /// them has signed.
    pub fn since(&self, size: u64) -> impl Iterator<Item = &VerifierKey> {
        self.generations.iter().filter(move |keys| keys.last.is_none_or(|last| size <= last)).flat_map(|keys| &keys.keys)
    }

    /// Whether it is a key of the log, of whatever time.
    #[must_use]
    pub fn contains(&self, key: &VerifierKey) -> bool {
        self.generations.iter().any(|generation| generation.keys.contains(key))
    }

    /// Reads a checkpoint of the log that may carry signatures of others, too: each key that must sign its size has signed it,
    /// and no other key of the log.
    pub fn open(&self, note: &[u8]) -> Result<Checkpoint, KeyChainError> {
        Ok(self.verify(&SignedNote::parse(note).map_err(CheckpointError::from)?, |_| true)?)
    }

    /// Reads the checkpoint that the log publishes: signed by the keys that must, in their order, and nothing else.
    pub(crate) fn open_published(&self, note: &[u8]) -> Result<Checkpoint, CheckpointError> {
        self.open_exact(note, |_| true)
    }

    /// Reads a checkpoint of the log's history, which keeps the Ed25519 signatures alone: this is what time stamps are of.
    pub fn open_history(&self, note: &[u8]) -> Result<Checkpoint, CheckpointError> {
        self.open_exact(note, in_history)
    }

    fn open_exact(&self, note: &[u8], kept: fn(&VerifierKey) -> bool) -> Result<Checkpoint, CheckpointError> {
        let parsed = SignedNote::parse(note)?;
        let checkpoint = self.verify(&parsed, kept)?;
        let keys: Vec<&VerifierKey> = self.at(checkpoint.size).filter(|key| kept(key)).collect();
        let signatures = parsed.signatures();
        let in_order = keys.len() == signatures.len() && keys.iter().zip(signatures).all(|(key, by)| by.is_by(key));
        if in_order && checkpoint.text() == parsed.text() && parsed.encode().as_bytes() == note {
            Ok(checkpoint)
        } else {
            Err(CheckpointError::NotExact)
        }
    }

    fn verify(&self, note: &SignedNote, kept: fn(&VerifierKey) -> bool) -> Result<Checkpoint, CheckpointError> {
        let checkpoint = Checkpoint::parse_extended(note.text())?;
        if checkpoint.origin != self.origin() {
            return Err(CheckpointError::Origin { expected: self.origin().to_owned(), got: checkpoint.origin });
        }
        let due: Vec<&VerifierKey> = self.at(checkpoint.size).filter(|key| kept(key)).collect();
        // First, because whoever signs with a retired key lacks the one that is due, and this says more than that it is missing.
        let others = self.generations.iter().flat_map(|generation| &generation.keys);
        for key in others.filter(|key| kept(key) && !due.contains(key)) {
            if note.signatures().iter().any(|by| by.is_by(key)) {
                return Err(CheckpointError::Retired { key: format!("{:08x}", key.id()), size: checkpoint.size });
            }
        }
        for key in due {
            note.verify(key)?;
        }
        Ok(checkpoint)
    }

    /// Adds the next generation and gives what stands in the file of rotations for it. `key` holds the old keys and the new.
    pub(crate) fn rotate(&mut self, key: &LogKey, from: u64, last: u64) -> Result<String, KeyChainError> {
        let number = self.generations.len();
        let refuse = |what: String| KeyChainError::Rotation { number, what };
        let keys = key.verifiers();
        let mut statement = format!("{HEADER}\n{number}\nfrom {from}\nlast {last}\n");
        for key in &keys {
            statement += &format!("{key}\n");
        }
        let mut next = self.clone();
        let signers: Vec<VerifierKey> = self.newest().iter().chain(&keys).cloned().collect();
        next.push(keys, from, last).map_err(refuse)?;
        next.statements.push(leaf_hash(statement.as_bytes()));
        let text = next.statements_checkpoint().text();
        let note = key.sign_by(&text, signers.iter()).map_err(|error| refuse(error.to_string()))?;
        *self = next;
        Ok(format!("{statement}\n{}\n", note.encode()))
    }

    fn read_rotations(&mut self, bytes: &[u8]) -> Result<(), KeyChainError> {
        let number = self.generations.len();
        let refuse = |number: usize, what: &str| KeyChainError::Rotation { number, what: what.to_owned() };
        if bytes.len() > KEYS_BYTES_MAX {
            return Err(refuse(number, "the file is too long"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| refuse(number, "the file is not text"))?;
        let mut paragraphs = text.split_inclusive("\n\n");
        while let Some(statement) = paragraphs.next() {
            let number = self.generations.len();
            let (Some(body), Some(signatures)) = (paragraphs.next(), paragraphs.next()) else {
                return Err(refuse(
                    number,
                    "is not whole: a statement, a checkpoint and signatures, each with an empty line behind",
                ));
            };
            let note = format!("{body}{signatures}");
            let (Some(statement), Some(note)) = (statement.strip_suffix('\n'), note.strip_suffix("\n\n")) else {
                return Err(refuse(number, "does not end with an empty line"));
            };
            self.read_rotation(statement, &format!("{note}\n")).map_err(|what| KeyChainError::Rotation { number, what })?;
        }
        Ok(())
    }

    fn read_rotation(&mut self, statement: &str, note: &str) -> Result<(), String> {
        let number = self.generations.len();
        let form = || format!("must be `{HEADER}`, its number, `from N`, `last N` and one or two keys, each on a line");
        let mut lines = statement.lines();
        let (Some(HEADER), Some(count)) = (lines.next(), lines.next()) else { return Err(form()) };
        let mut size = |name: &str| lines.next().and_then(|line| line.strip_prefix(name)).and_then(canonical);
        let (Some(from), Some(last)) = (size("from "), size("last ")) else { return Err(form()) };
        if canonical(count) != Some(number as u64) {
            return Err(format!("has the number {count:?}"));
        }
        let keys = lines.map(read_vkey).collect::<Result<Vec<_>, _>>()?;
        let signers: Vec<VerifierKey> = self.newest().iter().chain(&keys).cloned().collect();
        self.push(keys, from, last)?;
        self.statements.push(leaf_hash(statement.as_bytes()));
        let parsed = SignedNote::parse(note.as_bytes()).map_err(|error| error.to_string())?;
        if parsed.text() != self.statements_checkpoint().text() {
            return Err("is not followed by the checkpoint of the statements so far".to_owned());
        }
        for key in &signers {
            parsed.verify(key).map_err(|error| format!("{error} (key {:08x})", key.id()))?;
        }
        let in_order = parsed.signatures().len() == signers.len()
            && parsed.signatures().iter().zip(&signers).all(|(by, key)| by.is_by(key))
            && parsed.encode() == note;
        if in_order { Ok(()) } else { Err("has signatures beside those of the old keys and the new".to_owned()) }
    }

    fn push(&mut self, keys: Vec<VerifierKey>, from: u64, last: u64) -> Result<(), String> {
        check_pair(&keys)?;
        if self.generations.len() > ROTATIONS_MAX {
            return Err(format!("there are at most {ROTATIONS_MAX} rotations"));
        }
        if keys.iter().any(|key| key.name() != self.origin()) {
            return Err("has a key of another name".to_owned());
        }
        if keys.iter().any(|key| self.generations.iter().flat_map(|known| &known.keys).any(|known| known.is_confused_with(key))) {
            return Err("has a key that the log had before".to_owned());
        }
        // At most two generations sign one checkpoint: the overlap before must be over.
        let earliest = match self.generations.as_slice() {
            [.., before, newest] => before.last.unwrap_or(0).max(newest.from),
            _ => 0,
        };
        if from <= earliest || last.checked_add(1).is_none_or(|after| after < from) {
            return Err(format!("`from` must be over {earliest}, and `last` not below `from` - 1"));
        }
        if let Some(newest) = self.generations.last_mut() {
            newest.last = Some(last);
        }
        self.generations.push(Generation { keys, from, last: None });
        Ok(())
    }

    fn statements_checkpoint(&self) -> Checkpoint {
        Checkpoint {
            origin: format!("{}{ORIGIN_SUFFIX}", self.origin()),
            size: self.statements.len() as u64,
            root: root_of(self.statements.iter().copied()),
        }
    }
}

/// The published form of a checkpoint of the log as its history keeps it: the Ed25519 signatures of the log alone. `None` when it
/// is no checkpoint with one.
#[must_use]
pub fn history_form(note: &[u8]) -> Option<String> {
    /// A plain Ed25519 signature; all cosignatures are longer.
    const ED25519_SIGNATURE_BYTES: usize = 64;
    let note = SignedNote::parse(note).ok()?;
    let origin = Checkpoint::parse(note.text()).ok()?.origin;
    let kept = note.signatures().iter().filter(|by| by.name == origin && by.signature.len() == ED25519_SIGNATURE_BYTES);
    Some(SignedNote::new(note.text().to_owned(), kept.cloned().collect()).ok()?.encode())
}

pub(crate) fn in_history(key: &VerifierKey) -> bool {
    key.algorithm() == Algorithm::Ed25519
}

fn read_vkey(line: &str) -> Result<VerifierKey, String> {
    let key: VerifierKey = line.parse().map_err(|error: NoteError| error.to_string())?;
    if key.to_string() == line { Ok(key) } else { Err("a key is not in its canonical form".to_owned()) }
}

fn check_pair(keys: &[VerifierKey]) -> Result<(), String> {
    let algorithms: Vec<Algorithm> = keys.iter().map(VerifierKey::algorithm).collect();
    if !matches!(algorithms.as_slice(), [Algorithm::Ed25519] | [Algorithm::Ed25519, Algorithm::MlDsa44]) {
        return Err("the keys must be of the types 0x01 and 0x06, in this order".to_owned());
    }
    if keys.iter().any(|key| key.name() != keys[0].name()) {
        return Err("the keys must have one name, which is the log's origin".to_owned());
    }
    Ok(())
}

#[cfg(test)]
#[path = "key_chain_tests.rs"]
mod tests;
