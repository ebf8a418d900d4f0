//! Whether the record is whole.

use serde::Serialize;
use utoipa::ToSchema;

use crate::Progress;
use crate::standing::{ArchiveStanding, Failure, Reached};

/// How the record can be verified, and how far it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Integrity {
    /// How far recording, sealing, indexing and detection are.
    pub(crate) progress: Progress,
    /// The newest checkpoint, with its signatures.
    pub(crate) checkpoint: Option<CheckpointInfo>,
    /// The newest checkpoint that witnesses countersigned.
    pub(crate) witnessed: Option<CheckpointInfo>,
    /// Every pair of the log's keys.
    pub(crate) keys: Vec<LogKeyRow>,
    /// What went wrong last with each witness.
    pub(crate) witness_failures: Vec<Failure>,
    /// The newest checkpoint with a time stamp (RFC 3161).
    pub(crate) time_stamped: Option<Reached>,
    /// What went wrong last with each authority.
    pub(crate) time_stamp_failures: Vec<Failure>,
    /// The newest checkpoint that is published.
    pub(crate) published: Option<Reached>,
    /// Records that are sealed and not published yet.
    pub(crate) unpublished: Option<u64>,
    /// What went wrong last with the place where it is published.
    pub(crate) publish_failures: Vec<Failure>,
    /// Entries before this one are gone where retention let them go.
    pub(crate) minimum_index: u64,
    /// How many gaps the hot store has.
    pub(crate) gap_count: u64,
    /// The newest of them, at most 100.
    pub(crate) gaps: Vec<GapRow>,
    /// The newest heartbeat (RFC 3339).
    pub(crate) heartbeat: Option<String>,
    /// The archive.
    pub(crate) archive: ArchiveStanding,
}

/// A checkpoint.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CheckpointInfo {
    /// The signed note (C2SP tlog-checkpoint).
    pub(crate) note: String,
    /// The log's name.
    pub(crate) origin: String,
    /// Records that it covers.
    pub(crate) size: u64,
    /// The root's hash (base64).
    pub(crate) root: String,
    /// Who signed it: names of the keys.
    pub(crate) signers: Vec<String>,
    /// When it was written (RFC 3339), by the file system's clock.
    pub(crate) at: Option<String>,
    /// How long ago that is, in seconds.
    pub(crate) age_s: Option<u64>,
}

/// How a key of the log stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = LogKeyState)]
#[expect(dead_code, reason = "it is read by the macro alone")]
enum LogKeyWord {
    /// It signs.
    Signs,
    /// It signs beside the one that came after it.
    Overlap,
    /// It signs no more.
    Retired,
}

/// A pair of the log's keys.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogKeyRow {
    /// Counted from 0, the pair that names the log.
    pub(crate) generation: u64,
    /// The smallest checkpoint that it signs, in records.
    pub(crate) from: u64,
    /// The largest that it signs; none for the newest.
    pub(crate) last: Option<u64>,
    /// Whether it signs.
    #[schema(value_type = LogKeyWord)]
    pub(crate) state: String,
    /// The verifier keys (C2SP signed-note): Ed25519 and ML-DSA-44.
    pub(crate) vkeys: Vec<String>,
}

/// A gap with what it tells.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GapRow {
    /// Its place in the journal.
    pub(crate) seq: u64,
    /// The event.
    pub(crate) event_id: String,
    /// When, by the source's clock (RFC 3339).
    pub(crate) time: String,
    /// Name of the event.
    pub(crate) name: String,
    /// Why something is missing.
    pub(crate) reason: Option<String>,
    /// How much is missing.
    pub(crate) count: Option<i64>,
}
