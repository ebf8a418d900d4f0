//! Configuration: plain values with safe defaults, read from TOML.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use archive::LockMode;
use capture::gateway::Upstreams;
use detect::Severity;
use serde::{Deserialize, Serialize};

use crate::egress_config::{EgressConfig, EgressConfigError};
use crate::forwarded::Network;
use crate::gateway_config::{GatewayConfig, GatewayConfigError};
use crate::geoip::GeoipConfig;
use crate::lifecycle::place::{Place, S3Settings};
use crate::lifecycle::verify::Places;
use crate::lifecycle::{forensic, retention};
use crate::node::NodeSettings;

/// Everything that `watchkeeper serve` can be told. Every field has a default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to listen.
    pub listen: Listen,
    /// The certificate for all listeners; without it they speak plain text, on loopback only.
    pub tls: Option<Tls>,
    /// Where the gateway forwards to.
    pub upstream: Upstream,
    /// What the gateway does beside recording.
    pub gateway: GatewayConfig,
    /// A directory of Sigma rules that are used beside those shipped.
    pub rules: Option<PathBuf>,
    /// MCP servers that are reached through this one.
    pub mcp: Mcp,
    /// The forward proxy for calls to everywhere else.
    pub egress: EgressConfig,
    /// What capture does without a key.
    pub capture: Capture,
    /// Where the addresses of clients are looked up.
    pub geoip: GeoipConfig,
    /// What unlocks the data directory.
    pub keys: Keys,
    /// How long records are kept. Without the table the policy stands that stood before.
    pub retention: Option<retention::Settings>,
    /// Where older records lie.
    pub archive: Archive,
    /// How buckets are reached.
    pub s3: S3Settings,
    /// The log, and who must witness it.
    pub ledger: LedgerConfig,
    /// Witnesses that the checkpoints are shown to, beside those of the policy.
    pub witness: Vec<WitnessConfig>,
    /// Who puts a time on the record.
    pub timestamps: Option<TimestampsConfig>,
    /// How often records are sealed.
    pub seal: Seal,
}

/// Addresses of the listeners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// OTLP over gRPC.
    pub otlp_grpc: SocketAddr,
    /// OTLP over HTTP.
    pub otlp_http: SocketAddr,
    /// The LLM gateway.
    pub gateway: SocketAddr,
    /// The console and the API.
    pub console: SocketAddr,
    /// MCP servers, each at `/NAME`; nothing listens while there are none.
    pub mcp: SocketAddr,
    /// The egress proxy; nothing listens unless `egress.enabled`.
    pub egress: SocketAddr,
    /// Names under which listeners on loopback are called from elsewhere (by a proxy on this machine, say), beside `localhost`.
    pub hosts: Vec<String>,
    /// Proxies in front of the listeners, whose `X-Forwarded-For` is believed. None by default: anybody can write that header.
    pub trusted_proxies: Vec<Network>,
}

/// Certificate and key, PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate chain, leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// Certificates in PEM of those who issue client certificates. With it, callers of OTLP and of the gateway must show one
    /// (mTLS); it stands for an API key there.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
}

/// Base URLs of the model providers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Upstream {
    /// For OpenAI's paths and everything under `/openai`.
    pub openai: String,
    /// For `/v1/messages` and everything under `/anthropic`.
    pub anthropic: String,
    /// For Gemini's paths and everything under `/gemini`.
    pub gemini: String,
    /// A resource of Azure OpenAI, for `/openai/deployments` and everything under `/azure`; without it these are refused.
    pub azure: Option<String>,
    /// The Bedrock runtime of a region, for `/model` and everything under `/bedrock`; without it these are refused.
    pub bedrock: Option<String>,
    /// Whether a call goes on when its record cannot be written. Off: the caller gets a 503.
    pub fail_open: bool,
    /// How long an upstream may say nothing, before its answer and within it, in seconds.
    pub idle_seconds: u64,
}

/// Reasoning models think for minutes, and SDKs wait for 10 of them by default; after an hour nobody does.
const UPSTREAM_IDLE_SECONDS: std::ops::RangeInclusive<u64> = 1..=3_600;

/// MCP servers that are reached through this one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mcp {
    /// The servers by their names, which are their paths.
    pub servers: BTreeMap<String, McpServer>,
}

/// One MCP server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct McpServer {
    /// Its endpoint (streamable HTTP).
    pub url: String,
    /// Tools that may be called, `NAME` or `BEGINNING*`; all by default.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Tools that may not be called, whatever `allow` says.
    #[serde(default)]
    pub deny: Vec<String>,
    /// What happens to a call that is not allowed.
    #[serde(default)]
    pub mode: McpMode,
    /// What happens when the server changes the definition of a tool.
    #[serde(default)]
    pub on_drift: McpOnDrift,
    /// Whether a result waits until it is recorded.
    #[serde(default)]
    pub hold_results: bool,
    /// Whether a message goes on when it cannot be recorded.
    #[serde(default)]
    pub fail_open: bool,
    /// Whether requests without a trace context get one.
    #[serde(default)]
    pub add_trace: bool,
    /// Headers that every request to it has, by name, each with the variable of the environment that holds its value.
    #[serde(default)]
    pub header_env: BTreeMap<String, String>,
}

/// What happens to a call that is not allowed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum McpMode {
    /// It passes, and the record says that it would not have.
    #[default]
    Observe,
    /// It is answered with an error.
    Block,
}

/// What happens when a server changes the definition of a tool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum McpOnDrift {
    /// It is recorded.
    #[default]
    Record,
    /// The list is kept from the client, and the tool from being called, until an operator approves it.
    Block,
}

impl McpServer {
    /// What its clients may ask it for.
    #[must_use]
    pub fn policy(&self) -> capture::mcp::Policy {
        capture::mcp::Policy {
            allow: self.allow.clone(),
            deny: self.deny.clone(),
            mode: match self.mode {
                McpMode::Observe => capture::mcp::Mode::Observe,
                McpMode::Block => capture::mcp::Mode::Block,
            },
            on_drift: match self.on_drift {
                McpOnDrift::Record => capture::mcp::OnDrift::Record,
                McpOnDrift::Block => capture::mcp::OnDrift::Block,
            },
            hold_results: self.hold_results,
            on_record_failure: if self.fail_open {
                capture::gateway::OnRecordFailure::FailOpen
            } else {
                capture::gateway::OnRecordFailure::FailClosed
            },
            adds_trace: self.add_trace,
        }
    }
}

/// Who may send events, and how much at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Capture {
    /// Whether OTLP and gateway callers must present a key with the role `sensor` even on loopback. Elsewhere they always must,
    /// unless they have shown a client certificate (`tls.client_ca`).
    pub require_key: bool,
    /// MiB of OTLP requests that may be under way at once. What comes beyond is told to come back.
    pub otlp_in_flight_mib: u32,
    /// Milliseconds that OTLP log records with the content of a call wait for its span; 0: not at all.
    pub otlp_join_ms: u64,
}

/// Exporters give up after 10 s; the record has to be written within them, too.
const JOIN_MS_MAX: u64 = 8_000;

/// The largest body of OTLP must fit, and the window of a zstd decoder.
const IN_FLIGHT_MIB: std::ops::RangeInclusive<u32> = 16..=65_536;

impl Default for Capture {
    fn default() -> Self {
        Self { require_key: false, otlp_in_flight_mib: 256, otlp_join_ms: 3_000 }
    }
}

impl Capture {
    /// What OTLP may take.
    #[must_use]
    pub fn otlp_limits(&self) -> capture::otlp::Limits {
        capture::otlp::Limits {
            in_flight_bytes_max: usize::try_from(self.otlp_in_flight_mib).unwrap_or(usize::MAX).saturating_mul(1024 * 1024),
            join_window: Duration::from_millis(self.otlp_join_ms),
            ..capture::otlp::Limits::default()
        }
    }
}

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

/// Where keys are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keys {
    /// The file of the root key, outside of the data directory, or `aws-kms://ARN` of a key in AWS KMS. `--root-key` and `WATCHKEEPER_ROOT_KEY` go before it.
    pub root: Option<PathBuf>,
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
const SEAL_INTERVAL_MS: std::ops::RangeInclusive<u64> = 10..=60_000;

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

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a configuration.
    #[error("configuration {path}: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Names the field.
        source: Box<toml::de::Error>,
    },
    /// The gateway.
    #[error(transparent)]
    Gateway(#[from] GatewayConfigError),
    /// The egress proxy.
    #[error(transparent)]
    Egress(#[from] EgressConfigError),
    /// A witness.
    #[error("witness {url}: {what}")]
    Witness {
        /// Which.
        url: String,
        /// What is wrong with its entry.
        what: String,
    },
    /// The time-stamping authority.
    #[error("timestamps {url}: {what}")]
    Timestamps {
        /// Which.
        url: String,
        /// What is wrong with its entry.
        what: String,
    },
    /// Where the log is published.
    #[error("ledger.publish {url}: {what}")]
    Publish {
        /// The place.
        url: String,
        /// What is wrong with it.
        what: String,
    },
    /// The policy.
    #[error("ledger.policy {path}: {what}")]
    Policy {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        what: String,
    },
    /// A listener would speak plain text to the network.
    #[error(
        "listen.{listener} = {address} is not loopback and there is no [tls]: prompts and keys would cross the network in the \
         clear; set tls.certificate and tls.key, or listen on 127.0.0.1"
    )]
    PlainTextOnNetwork {
        /// Which listener.
        listener: &'static str,
        /// Where.
        address: SocketAddr,
    },
    /// A number.
    #[error("{field} = {value} is out of bounds: choose {min} to {max}")]
    Number {
        /// Which.
        field: &'static str,
        /// What it is.
        value: u64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// An interval that makes no sense.
    #[error(
        "seal.interval_ms = {0} is out of bounds: choose {min} to {max} milliseconds",
        min = SEAL_INTERVAL_MS.start(),
        max = SEAL_INTERVAL_MS.end()
    )]
    SealInterval(u64),
}

impl Config {
    /// Reads a TOML file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })
    }

    /// What a node is told.
    #[must_use]
    pub fn node(&self) -> NodeSettings {
        NodeSettings {
            rules: self.rules.clone(),
            seal: self.seal.clone(),
            geoip: self.geoip.clone(),
            retention: self.retention.clone(),
            place: Some(self.places().evidence),
            forensic: self
                .archive
                .forensic
                .as_ref()
                .zip(self.places().forensic)
                .map(|(forensic, place)| forensic::Settings { min_severity: forensic.min_severity, place }),
            archive_after: Some(Duration::from_secs(u64::from(self.archive.after_minutes) * 60)),
            heartbeat: Duration::from_secs(u64::from(self.ledger.heartbeat_seconds.max(1))),
        }
    }

    /// Where the archives' objects lie.
    #[must_use]
    pub fn places(&self) -> Places {
        let Archive { url, write_once, lock_mode, forensic, .. } = self.archive.clone();
        let forensic = forensic.map(|forensic| {
            let ForensicArchive { url, write_once, lock_mode, credentials, .. } = forensic;
            let s3 = S3Settings { credentials: credentials.or_else(|| self.s3.credentials.clone()), ..self.s3.clone() };
            Place { url, s3, write_once, lock_mode }
        });
        Places { evidence: Place { url, s3: self.s3.clone(), write_once, lock_mode }, forensic }
    }

    /// How the bucket is reached that the log is published in.
    #[must_use]
    pub fn publish_s3(&self) -> S3Settings {
        let credentials = self.ledger.publish_credentials.clone().or_else(|| self.s3.credentials.clone());
        S3Settings { credentials, ..self.s3.clone() }
    }

    /// Refuses what would be unsafe.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !SEAL_INTERVAL_MS.contains(&self.seal.interval_ms) {
            return Err(ConfigError::SealInterval(self.seal.interval_ms));
        }
        let in_flight = (u64::from(*IN_FLIGHT_MIB.start()), u64::from(*IN_FLIGHT_MIB.end()));
        for (field, value, (min, max)) in [
            ("capture.otlp_in_flight_mib", u64::from(self.capture.otlp_in_flight_mib), in_flight),
            ("capture.otlp_join_ms", self.capture.otlp_join_ms, (0, JOIN_MS_MAX)),
            ("upstream.idle_seconds", self.upstream.idle_seconds, UPSTREAM_IDLE_SECONDS.into_inner()),
        ] {
            if !(min..=max).contains(&value) {
                return Err(ConfigError::Number { field, value, min, max });
            }
        }
        if self.tls.is_some() {
            return Ok(());
        }
        for (listener, address) in self.listen.all() {
            if !address.ip().is_loopback() {
                return Err(ConfigError::PlainTextOnNetwork { listener, address });
            }
        }
        Ok(())
    }
}

impl Config {
    /// Names of hosts under which listeners on loopback may be called: those that are set, and those of the upstreams, for Bedrock's
    /// clients sign the name of Bedrock's own host.
    #[must_use]
    pub fn known_hosts(&self) -> HashSet<String> {
        let upstream = &self.upstream;
        let urls = [
            Some(&upstream.openai),
            Some(&upstream.anthropic),
            Some(&upstream.gemini),
            upstream.azure.as_ref(),
            upstream.bedrock.as_ref(),
        ];
        let of_urls =
            urls.into_iter().flatten().filter_map(|url| Some(url.parse::<axum::http::Uri>().ok()?.host()?.to_ascii_lowercase()));
        of_urls.chain(self.listen.hosts.iter().map(|host| host.to_ascii_lowercase())).collect()
    }
}

impl Listen {
    /// Every listener with the name of its field.
    #[must_use]
    pub fn all(&self) -> [(&'static str, SocketAddr); 6] {
        [
            ("otlp_grpc", self.otlp_grpc),
            ("otlp_http", self.otlp_http),
            ("gateway", self.gateway),
            ("console", self.console),
            ("mcp", self.mcp),
            ("egress", self.egress),
        ]
    }

    /// Every listener on loopback, on a port that the system picks.
    #[must_use]
    pub fn any_port() -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            otlp_grpc: any,
            otlp_http: any,
            gateway: any,
            console: any,
            mcp: any,
            egress: any,
            hosts: Vec::new(),
            trusted_proxies: Vec::new(),
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            otlp_grpc: loopback(4317),
            otlp_http: loopback(4318),
            gateway: loopback(4000),
            console: loopback(7700),
            mcp: loopback(4010),
            egress: loopback(4020),
            hosts: Vec::new(),
            trusted_proxies: Vec::new(),
        }
    }
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

impl Default for Upstream {
    fn default() -> Self {
        Self {
            openai: "https://api.openai.com".to_owned(),
            anthropic: "https://api.anthropic.com".to_owned(),
            gemini: "https://generativelanguage.googleapis.com".to_owned(),
            azure: None,
            bedrock: None,
            fail_open: false,
            idle_seconds: capture::gateway::Limits::default().upstream_idle.as_secs(),
        }
    }
}

impl Upstream {
    /// What the gateway's calls may take.
    #[must_use]
    pub fn limits(&self) -> capture::gateway::Limits {
        capture::gateway::Limits { upstream_idle: Duration::from_secs(self.idle_seconds), ..capture::gateway::Limits::default() }
    }

    /// As the gateway takes it.
    #[must_use]
    pub fn upstreams(&self) -> Upstreams {
        Upstreams {
            openai: Some(self.openai.clone()),
            azure: self.azure.clone(),
            anthropic: Some(self.anthropic.clone()),
            gemini: Some(self.gemini.clone()),
            bedrock: self.bedrock.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_default_and_a_typo_is_named() {
        assert_eq!(toml::from_str::<Config>("").unwrap(), Config::default());
        let error = toml::from_str::<Config>("[listen]\ngatewey = \"127.0.0.1:1\"").unwrap_err().to_string();
        assert!(error.contains("gatewey"), "{error}");
    }

    #[test]
    fn a_proxy_that_is_no_network_is_named() {
        let listen = |proxies: &str| toml::from_str::<Config>(&format!("[listen]\ntrusted_proxies = {proxies}"));
        assert_eq!(listen("[\"10.0.0.0/8\", \"::1\"]").unwrap().listen.trusted_proxies.len(), 2);
        let error = listen("[\"proxy.example\"]").unwrap_err().to_string();
        assert!(error.contains("proxy.example") && error.contains("10.0.0.0/8"), "{error}");
    }

    #[test]
    fn an_interval_out_of_bounds_is_named() {
        for (interval_ms, good) in [(9, false), (10, true), (60_000, true), (60_001, false)] {
            let config = Config { seal: Seal { interval_ms }, ..Config::default() };
            let error = config.check().err().map(|error| error.to_string());
            assert_eq!(error.is_none(), good, "{error:?}");
            assert!(error.is_none_or(|error| error.contains("seal.interval_ms")));
        }
    }

    #[test]
    fn numbers_of_capture_out_of_bounds_are_named() {
        let capture = |text: &str| toml::from_str::<Config>(&format!("[capture]\n{text}")).unwrap().check();
        capture("otlp_join_ms = 0\notlp_in_flight_mib = 16").unwrap();
        for bad in ["otlp_join_ms = 8001", "otlp_in_flight_mib = 15"] {
            let error = capture(bad).unwrap_err().to_string();
            assert!(error.contains(bad), "{error}");
        }
    }

    #[test]
    fn the_silence_of_an_upstream_is_bounded() {
        let upstream = |seconds| toml::from_str::<Config>(&format!("[upstream]\nidle_seconds = {seconds}")).unwrap();
        assert_eq!(upstream(2).upstream.limits().upstream_idle, Duration::from_secs(2));
        assert_eq!(Config::default().upstream.limits(), capture::gateway::Limits::default());
        for (seconds, good) in [(0, false), (1, true), (3_600, true), (3_601, false)] {
            let error = upstream(seconds).check().err().map(|error| error.to_string());
            assert_eq!(error.is_none(), good, "{error:?}");
            assert!(error.is_none_or(|error| error.contains("upstream.idle_seconds")));
        }
    }

    #[test]
    fn plain_text_stays_on_loopback() {
        let mut config = Config::default();
        config.check().unwrap();
        config.listen.gateway = "0.0.0.0:4000".parse().unwrap();
        let error = config.check().unwrap_err().to_string();
        assert!(error.contains("listen.gateway"), "{error}");
        config.tls = Some(Tls { certificate: "c.pem".into(), key: "k.pem".into(), client_ca: None });
        config.check().unwrap();
    }
}
