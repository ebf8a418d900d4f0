//! The signed statement of a bundle: a DSSE envelope around an in-toto Statement whose subjects are the bundle's files.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ledger::{Algorithm, KeyChain, LogKey, VerifierKey};
use serde::{Deserialize, Serialize};

use crate::bag::{Bag, digest};

/// The type of the envelope's payload.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// The type of the statement's predicate.
pub const PREDICATE_TYPE: &str = "urn:watchkeeper:evidence:1";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// Largest envelope that is read: a line for each of the files.
const ENVELOPE_BYTES_MAX: usize = 64 << 20;

/// Most of a file's name that an error tells: longer than any in a bundle.
const NAME_CHARS_MAX: usize = 200;

/// Why a statement cannot be believed.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// Its form.
    #[error("is not a DSSE envelope with an in-toto Statement v1: {0}")]
    Form(String),
    /// Its signature.
    #[error("is not signed by the log's Ed25519 key of the checkpoint or a later one")]
    Signature,
    /// Its subjects.
    #[error("does not speak of the file {0} as it is here")]
    Subject(String),
    /// A subject that is not there.
    #[error("speaks of the file {0}, which is missing")]
    Missing(String),
    /// Signing.
    #[error("could not be signed: {0}")]
    Sign(String),
}

/// Who took what out of the log, and why. All of it is the word of who signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Predicate {
    /// The program that wrote the bundle.
    pub software: String,
    /// Who took it out, as the server knows them: a user of its machine, or the holder of a key.
    pub exported_by: String,
    /// Who they say they are, which nobody has checked; none where they said nothing.
    pub operator_asserted: Option<String>,
    /// When, by the exporter's clock, RFC 3339.
    pub exported_at: String,
    /// Why.
    pub reason: String,
    /// How the records were chosen: `session`, `incident`, `query` or `records`.
    pub selection: String,
    /// By which session, incident or query.
    pub selected: String,
    /// What was asked to be withheld: fields and classes of contents. Of the records the verdicts say what is.
    pub withheld: Vec<String>,
    /// Whether witnesses cosigned the checkpoint as `data/policy` asks; none when the log has no witnesses.
    pub witnessed: Option<bool>,
    /// The log's origin.
    pub origin: String,
    /// The log id that stands in every leaf, in hex.
    pub log_id: String,
    /// The size of the tree that the proofs are for.
    pub tree_size: u64,
    /// How many records the selection has in the log at that size.
    pub records_selected: u64,
    /// How many records of the log the selection did not look at, because it looks only at the newest ones.
    pub not_searched: u64,
    /// How many records of the log were dropped at the end of their retention before.
    pub dropped: u64,
    /// How many of them are here.
    pub records: u64,
    /// The first of them.
    pub first: Option<u64>,
    /// The last of them.
    pub last: Option<u64>,
    /// How many records of custody are here: who read and exported what.
    pub custody: u64,
    /// How many tombstones are here.
    pub tombstones: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    #[serde(rename = "_type")]
    r#type: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    name: String,
    digest: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Digest {
    sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    keyid: String,
    sig: String,
}

/// Signs for the files that are in the bag now.
pub(crate) fn sign(bag: &Bag, predicate: Predicate, key: &LogKey) -> Result<Vec<u8>, StatementError> {
    let subject =
        bag.files().map(|(name, bytes)| Subject { name: name.to_owned(), digest: Digest { sha256: digest(bytes) } }).collect();
    let statement =
        Statement { r#type: STATEMENT_TYPE.to_owned(), subject, predicate_type: PREDICATE_TYPE.to_owned(), predicate };
    let failed = |error: &dyn std::fmt::Display| StatementError::Sign(error.to_string());
    let mut payload = serde_json_canonicalizer::to_string(&statement).map_err(|error| failed(&error))?;
    // A signed text of the log ends with a newline.
    payload.push('\n');
    let note = key.sign(&encoding(&payload)).map_err(|error| failed(&error))?;
    let [signature] = note.signatures() else { return Err(StatementError::Sign("the log has no Ed25519 key".to_owned())) };
    let envelope = Envelope {
        payload: STANDARD.encode(payload),
        payload_type: PAYLOAD_TYPE.to_owned(),
        signatures: vec![Signature { keyid: key_id(&key.verifier()), sig: STANDARD.encode(&signature.signature) }],
    };
    serde_json_canonicalizer::to_vec(&envelope).map_err(|error| failed(&error))
}

/// Verifies an envelope against the log's keys and the bag's files; `about` says which files it must speak of.
pub(crate) fn open(
    envelope: &[u8],
    keys: &KeyChain,
    size: u64,
    bag: &Bag,
    about: impl Fn(&str) -> bool,
) -> Result<Predicate, StatementError> {
    let form = |error: &dyn std::fmt::Display| StatementError::Form(error.to_string());
    if envelope.len() > ENVELOPE_BYTES_MAX {
        return Err(form(&"it is too long"));
    }
    let bytes = envelope;
    let envelope: Envelope = serde_json::from_slice(bytes).map_err(|error| form(&error))?;
    // There is one right spelling, so that nobody can make a second bundle that says the same and is another file.
    if serde_json_canonicalizer::to_vec(&envelope).ok().as_deref() != Some(bytes) {
        return Err(form(&"it is not in canonical form"));
    }
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(form(&"its payload is of another type"));
    }
    let payload = STANDARD.decode(&envelope.payload).map_err(|error| form(&error))?;
    let payload = String::from_utf8(payload).map_err(|error| form(&error))?;
    let [signature] = envelope.signatures.as_slice() else { return Err(StatementError::Signature) };
    let bytes = STANDARD.decode(&signature.sig).map_err(|error| form(&error))?;
    let message = encoding(&payload);
    let is_by = |key: &VerifierKey| {
        key.algorithm() == Algorithm::Ed25519 && key_id(key) == signature.keyid && key.verifies(message.as_bytes(), &bytes)
    };
    if !keys.since(size).any(is_by) {
        return Err(StatementError::Signature);
    }
    let statement: Statement = serde_json::from_str(&payload).map_err(|error| form(&error))?;
    if statement.r#type != STATEMENT_TYPE || statement.predicate_type != PREDICATE_TYPE {
        return Err(form(&"the statement or its predicate is of another type"));
    }
    let missing = |subject: &Subject| StatementError::Missing(subject.name.chars().take(NAME_CHARS_MAX).collect());
    let mut subjects = statement.subject.iter();
    for (name, bytes) in bag.files().filter(|(name, _)| about(name)) {
        match subjects.next() {
            Some(subject) if subject.name == name && subject.digest.sha256 == digest(bytes) => {}
            // Both are sorted by name.
            Some(subject) if *subject.name < *name => return Err(missing(subject)),
            _ => return Err(StatementError::Subject(name.to_owned())),
        }
    }
    match subjects.next() {
        Some(subject) => Err(missing(subject)),
        None => Ok(statement.predicate),
    }
}

/// The log's key as the statement names it.
fn key_id(key: &VerifierKey) -> String {
    format!("{}+{:08x}", key.name(), key.id())
}

/// DSSE's pre-authentication encoding.
fn encoding(payload: &str) -> String {
    format!("DSSEv1 {} {PAYLOAD_TYPE} {} {payload}", PAYLOAD_TYPE.len(), payload.len())
}
