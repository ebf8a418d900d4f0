//! The witness itself: one state for each log, compared and replaced durably before an answer is given.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use zeroize::Zeroizing;

use super::request::AddCheckpoint;
use crate::checkpoint::Checkpoint;
use crate::disk::{Disk, read_at_most};
use crate::key::KeyError;
use crate::note::{NOTE_BYTES_MAX, NoteError, NoteSignature, SignedNote};
use crate::proof::verify_consistency;
use crate::signing::SigningKey;
use crate::tree::{EMPTY_ROOT, sha256};
use crate::vkey::{Algorithm, VerifierKey};

/// The keys, in the state directory.
const KEY_FILE: &str = "witness.key";

/// Longest key file: two keys with names of 255 bytes.
const KEY_FILE_BYTES_MAX: usize = 1024;

/// Most signatures of the log's that are kept with a checkpoint: two pairs in a rotation, and room.
const LOG_KEYS_MAX: usize = 16;

/// The keys of a witness, of one name: Ed25519 for those who know nothing else, and ML-DSA-44.
#[derive(Debug)]
pub struct WitnessKey {
    keys: Vec<SigningKey>,
}

/// A witness with its state.
#[derive(Debug)]
pub struct Witness {
    dir: PathBuf,
    /// Held for as long as the witness runs: two of them on one state could countersign two histories.
    _lock: File,
    key: WitnessKey,
    /// Each log's trusted keys and the checkpoint that was countersigned last. One lock for each log.
    logs: HashMap<String, (Vec<VerifierKey>, Mutex<Option<Kept>>)>,
}

#[derive(Debug, Clone)]
struct Kept {
    checkpoint: Checkpoint,
    note: SignedNote,
}

/// What to answer over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

/// Why a witness cannot run.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The state.
    #[error("witness state {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A checkpoint of the state is not one that this witness countersigned.
    #[error("witness state {path}: {what}; bring it back from a copy: a witness that forgets can be made to sign a fork")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Another process has the state open.
    #[error("witness state {0} is in use by another process")]
    InUse(PathBuf),
    /// The keys.
    #[error("witness key: {0}")]
    Key(#[from] KeyError),
    /// There is no key yet and no name for one.
    #[error("the witness has no key yet; give it a name for one, such as witness.example/1")]
    NoName,
    /// The keys of the logs.
    #[error("log key {0}: must be of signature type 0x01 or 0x06, and a log has at most {LOG_KEYS_MAX} keys")]
    Log(String),
}

impl WitnessKey {
    /// New keys.
    pub fn generate(name: &str) -> Result<Self, KeyError> {
        let algorithms = [Algorithm::Ed25519Cosignature, Algorithm::MlDsa44];
        let keys = algorithms.map(|algorithm| SigningKey::generate(algorithm, name)).into_iter().collect::<Result<_, _>>()?;
        Ok(Self { keys })
    }

    /// The public keys: the first for `0x04`, the second for `0x06`. A policy lists one of them for each witness, or both in a group
    /// of their own, lest one witness count as two.
    pub fn verifiers(&self) -> impl Iterator<Item = &VerifierKey> {
        self.keys.iter().map(SigningKey::verifier)
    }

    fn load_or_generate(path: &Path, name: Option<&str>) -> Result<Self, WitnessError> {
        let at = |source| WitnessError::File { path: path.to_owned(), source };
        if let Some(bytes) = read_at_most(path, KEY_FILE_BYTES_MAX).map_err(at)? {
            let bytes = Zeroizing::new(bytes);
            let text = std::str::from_utf8(&bytes).map_err(|_| KeyError::Form)?;
            let keys = text.lines().map(SigningKey::from_text).collect::<Result<Vec<_>, _>>()?;
            let of_note = |key: &SigningKey| key.verifier().algorithm() == Algorithm::Ed25519;
            return if keys.is_empty() || keys.iter().any(of_note) { Err(KeyError::Form.into()) } else { Ok(Self { keys }) };
        }
        let key = Self::generate(name.ok_or(WitnessError::NoName)?)?;
        let mut text = Zeroizing::new(String::with_capacity(KEY_FILE_BYTES_MAX));
        for one in &key.keys {
            text.push_str(&one.to_text());
            text.push('\n');
        }
        files::write_new(path, text.as_bytes(), 0o600).map_err(at)?;
        Ok(key)
    }
}

impl Witness {
    /// Opens the state in `dir`, which is made where it is not, for the logs of these keys (several of one name are one log's). Keys
    /// of its own are made under `name` where there are none.
    pub fn open(dir: &Path, name: Option<&str>, log_keys: Vec<VerifierKey>) -> Result<Self, WitnessError> {
        let at = |source| WitnessError::File { path: dir.to_owned(), source };
        let mut disk = Disk::default();
        disk.create_dirs(dir).and_then(|()| disk.sync_dirs()).map_err(at)?;
        let lock = File::open(dir).map_err(at)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(WitnessError::InUse(dir.to_owned())),
            Err(std::fs::TryLockError::Error(error)) => return Err(at(error)),
        }
        let key = WitnessKey::load_or_generate(&dir.join(KEY_FILE), name)?;
        let mut logs: HashMap<String, Vec<VerifierKey>> = HashMap::new();
        for key in log_keys {
            let known = logs.entry(key.name().to_owned()).or_default();
            if key.algorithm() == Algorithm::Ed25519Cosignature || known.len() == LOG_KEYS_MAX {
                return Err(WitnessError::Log(key.to_string()));
            }
            known.push(key);
        }
        let mut witness = Self { dir: dir.to_owned(), _lock: lock, key, logs: HashMap::new() };
        for (origin, keys) in logs {
            let kept = witness.load(&origin)?;
            witness.logs.insert(origin, (keys, Mutex::new(kept)));
        }
        Ok(witness)
    }

    /// The public keys.
    pub fn verifiers(&self) -> impl Iterator<Item = &VerifierKey> {
        self.key.verifiers()
    }

    /// Answers `POST /add-checkpoint`. `now` is in seconds since 1970. What is answered with 200 is durable.
    pub fn add_checkpoint(&self, body: &[u8], now: u64) -> Reply {
        let request = match AddCheckpoint::parse(body) {
            Ok(request) => request,
            Err(error) => return Reply::text(400, &error.to_string()),
        };
        let Ok(checkpoint) = Checkpoint::parse_extended(request.checkpoint.text()) else {
            return Reply::text(400, "not a checkpoint");
        };
        let Some((keys, state)) = self.logs.get(&checkpoint.origin) else {
            return Reply::text(404, "unknown log");
        };
        match request.checkpoint.signers(keys) {
            Ok(signers) if !signers.is_empty() => {}
            Ok(_) => return Reply::text(403, "not signed by a trusted key of the log"),
            Err(error) => return Reply::text(403, &error.to_string()),
        }
        if request.old > checkpoint.size {
            return Reply::text(400, "the old size is larger than the checkpoint's");
        }
        // Held from the comparison until the new state is durable.
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let (size, root) = state.as_ref().map_or((0, EMPTY_ROOT), |kept| (kept.checkpoint.size, kept.checkpoint.root));
        if request.old != size {
            return Reply { status: 409, content_type: "text/x.tlog.size", body: format!("{size}\n") };
        }
        if let Err(error) = verify_consistency(size, &root, checkpoint.size, &checkpoint.root, &request.proof) {
            tracing::error!(origin = checkpoint.origin, size = checkpoint.size, %error, "a log asked to countersign a fork");
            return Reply::text(422, &error.to_string());
        }
        match self.cosign(&request.checkpoint, keys, now) {
            Ok((note, lines)) => match self.store(&checkpoint.origin, &note) {
                Ok(()) => {
                    *state = Some(Kept { checkpoint, note });
                    Reply { status: 200, content_type: "text/plain; charset=utf-8", body: lines }
                }
                Err(error) => {
                    tracing::error!(%error, "the witness cannot write its state");
                    Reply::text(500, "the state cannot be written")
                }
            },
            Err(error) => Reply::text(500, &error.to_string()),
        }
    }

    /// Answers `GET /<hex of SHA-256(origin)>/checkpoint`: the checkpoint that was countersigned last.
    #[must_use]
    pub fn checkpoint(&self, origin_hash: &str) -> Reply {
        let found = self.logs.iter().find(|(origin, _)| hash_of(origin) == origin_hash).and_then(|(_, (_, state))| {
            state.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|kept| kept.note.encode())
        });
        found.map_or_else(
            || Reply::text(404, "nothing countersigned for that log"),
            |body| Reply { status: 200, content_type: "text/plain; charset=utf-8", body },
        )
    }

    /// The note with the verified signatures of the log and ours, and ours as lines. Signatures of others, which nobody here can
    /// verify, are left out.
    fn cosign(&self, note: &SignedNote, keys: &[VerifierKey], now: u64) -> Result<(SignedNote, String), NoteError> {
        let mut signatures: Vec<NoteSignature> = Vec::new();
        for key in keys {
            signatures.extend(note.signatures().iter().find(|by| by.is_by(key)).cloned());
        }
        // The specification forbids a time of 0, which a machine without a clock would give.
        let ours = self.key.keys.iter().map(|key| key.sign(note.text(), now.max(1))).collect::<Result<Vec<_>, _>>()?;
        let lines = ours.iter().map(NoteSignature::line).collect();
        signatures.extend(ours);
        Ok((SignedNote::new(note.text().to_owned(), signatures)?, lines))
    }

    fn store(&self, origin: &str, note: &SignedNote) -> io::Result<()> {
        let mut disk = Disk::default();
        disk.replace(&self.dir.join(hash_of(origin)), note.encode().as_bytes())?;
        disk.sync_dirs()
    }

    fn load(&self, origin: &str) -> Result<Option<Kept>, WitnessError> {
        let path = self.dir.join(hash_of(origin));
        let bytes = read_at_most(&path, NOTE_BYTES_MAX);
        let Some(bytes) = bytes.map_err(|source| WitnessError::File { path: path.clone(), source })? else { return Ok(None) };
        let damaged = |what: String| WitnessError::Damaged { path: path.clone(), what };
        let note = SignedNote::parse(&bytes).map_err(|error| damaged(error.to_string()))?;
        let checkpoint = Checkpoint::parse_extended(note.text()).map_err(|error| damaged(error.to_string()))?;
        for key in self.key.verifiers() {
            note.verify(key).map_err(|error| damaged(error.to_string()))?;
        }
        if checkpoint.origin == origin {
            Ok(Some(Kept { checkpoint, note }))
        } else {
            Err(damaged(format!("is of the log {}", checkpoint.origin)))
        }
    }
}

impl Reply {
    fn text(status: u16, what: &str) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: format!("{what}\n") }
    }
}

/// The name of a log in URLs and files.
fn hash_of(origin: &str) -> String {
    event::hex::encode(&sha256(origin.as_bytes()))
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
