//! What the record is worth to others: archives, the log, its witnesses, seals and time stamps.

use std::path::PathBuf;
use std::time::Duration;

use archive::LockMode;
use detect::Severity;
use serde::{Deserialize, Serialize};

/// Where older records lie, and when they go there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Archive {
    /// Minutes after which records go from the journal to the archive; a full file of the journal goes sooner.
    pub after_minutes: u32,
    /// Where their objects lie: `s3://bucket/prefix`, or an absolute path; in the data directory by default.
    pub url: Option<String>,
    /// Lock objects until the least days of their class have passed: with Object Lock in a bucket, with the immutable flag in a
    /// directory.
    pub write_once: bool,
    /// How a bucket locks.
    pub lock_mode: LockMode,
    /// Copies of what serious detections rest on, apart from the rest; none without it.
    pub forensic: Option<ForensicArchive>,
}

/// The forensic archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForensicArchive {
    /// Detections of at least this severity are kept with what they rest on and the session around it.
    pub min_severity: Severity,
    /// As of `[archive]`; by default in the data directory, beside the archive of evidence.
    #[serde(default)]
    pub url: Option<String>,
    /// As of `[archive]`.
    #[serde(default)]
    pub write_once: bool,
    /// As of `[archive]`.
    #[serde(default)]
    pub lock_mode: LockMode,
    /// Credentials of its own, in the place of those in `[s3]`.
    #[serde(default)]
    pub credentials: Option<PathBuf>,
}

impl Default for Archive {
    fn default() -> Self {
        Self { after_minutes: 60, url: None, write_once: false, lock_mode: LockMode::default(), forensic: None }
    }
}

/// The log, and who must witness it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LedgerConfig {
    /// A C2SP tlog-policy file: its quorum decides when a checkpoint counts as witnessed. Its witnesses with a URL are asked.
    pub policy: Option<PathBuf>,
    /// Seconds without an event after which a heartbeat is recorded and sealed.
    pub heartbeat_seconds: u32,
    /// Where the log is published for everybody to read: `s3://bucket/prefix`, or an absolute path (also as `file://`).
    pub publish: Option<String>,
    /// Seconds between two looks whether there is something to publish.
    pub publish_seconds: u32,
    /// Credentials for that place of its own, in the place of those in `[s3]`.
    pub publish_credentials: Option<PathBuf>,
}

impl Default for LedgerConfig {
    fn default() -> Self {
        Self { policy: None, heartbeat_seconds: 600, publish: None, publish_seconds: 10, publish_credentials: None }
    }
}

/// A C2SP tlog-witness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessConfig {
    /// Its submission prefix: `add-checkpoint` is under it.
    pub url: String,
    /// Its verifier key, of signature type `0x04` or `0x06`. A witness with both has two entries with one URL.
    pub vkey: String,
}

/// When new records are sealed under a signed checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Seal {
    /// How long a new record waits for the next checkpoint at the most, in milliseconds. Shorter leaves less that nobody has
    /// signed yet; longer makes fewer checkpoints, each of which is kept for good.
    pub interval_ms: u64,
}

/// Shorter intervals would make a checkpoint for nearly every record, longer ones leave too much that nobody has signed.
pub(super) const SEAL_INTERVAL_MS: std::ops::RangeInclusive<u64> = 10..=60_000;

/// An RFC 3161 time-stamping authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimestampsConfig {
    /// Where it answers `application/timestamp-query`.
    pub url: String,
    /// Seconds between two stamps; nothing is stamped while nothing is recorded.
    #[serde(default = "an_hour")]
    pub every: u64,
    /// Certificates in PEM under which its answers must be, to be kept.
    #[serde(default)]
    pub roots: Option<PathBuf>,
}

fn an_hour() -> u64 {
    3_600
}

impl Seal {
    /// How long a new record waits for the next checkpoint at the most.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }
}

impl Default for Seal {
    fn default() -> Self {
        Self { interval_ms: 1_000 }
    }
}
