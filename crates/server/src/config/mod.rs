//! Configuration: plain values with safe defaults, read from TOML.

mod egress;
mod error;
mod evaluate;
mod evidence;
mod gateway;
mod inspect;
mod intel;
mod mcp;
mod oidc;
mod rules;
mod sanitize;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use capture::gateway::Upstreams;
use serde::{Deserialize, Serialize};

pub use self::egress::{EgressConfig, EgressConfigError, EgressMode};
pub use self::error::ConfigError;
pub use self::evaluate::{EvaluateConfig, JudgeConfig};
use self::evidence::SEAL_INTERVAL_MS;
pub use self::evidence::{Archive, ForensicArchive, LedgerConfig, Seal, TimestampsConfig, WitnessConfig};
pub(crate) use self::gateway::read_secret;
pub use self::gateway::{ActionConfig, GatewayConfig, GatewayConfigError, OnFailure, PolicyConfig, VirtualKeyConfig};
pub use self::inspect::{InspectConfig, OpinionKind, OpinionMode, SecondOpinionConfig};
pub(crate) use self::intel::{Credentials, is_feed_name};
pub use self::intel::{FeedConfig, FeedKind, IntelConfig, IntelConfigError};
pub use self::mcp::{Mcp, McpMode, McpOnDrift, McpServer};
pub(crate) use self::oidc::{CALLBACK_PATH, read_guarded, read_safe};
pub use self::oidc::{OidcConfig, OidcConfigError, OidcRoles};
pub use self::rules::RulesConfig;
pub use self::sanitize::{RecoveryConfig, SanitizeConfig, SanitizeConfigError};
use crate::forwarded::Network;
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
    /// By whose word people sign in at the console, beside keys.
    pub oidc: Option<OidcConfig>,
    /// Where the gateway forwards to.
    pub upstream: Upstream,
    /// What the gateway does beside recording.
    pub gateway: GatewayConfig,
    /// Which Sigma rules there are.
    pub rules: RulesConfig,
    /// What texts are inspected with.
    pub inspect: InspectConfig,
    /// Whose indicators events are looked up in.
    pub intel: IntelConfig,
    /// Models whose answers are graded on schedule.
    pub evaluate: Vec<EvaluateConfig>,
    /// Markers that stand in one place alone: where one comes out, what stood beside it did.
    pub canary: Vec<::inspect::Canary>,
    /// MCP servers that are reached through this one.
    pub mcp: Mcp,
    /// The forward proxy for calls to everywhere else.
    pub egress: EgressConfig,
    /// What capture does without a key.
    pub capture: Capture,
    /// Where the addresses of clients are looked up.
    pub geoip: GeoipConfig,
    /// What becomes of sensitive values.
    pub sanitize: SanitizeConfig,
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

/// Where keys are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keys {
    /// The file of the root key, outside of the data directory, or `aws-kms://ARN` of a key in AWS KMS. `--root-key` and `WATCHKEEPER_ROOT_KEY` go before it.
    pub root: Option<PathBuf>,
}

impl Config {
    /// Reads a TOML file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|error| ConfigError::parse(path.to_owned(), &text, &error))
    }

    /// What a node is told.
    #[must_use]
    pub fn node(&self) -> NodeSettings {
        NodeSettings {
            rules: Some(self.rules.clone()),
            detects: true,
            inspect: self.inspect.clone(),
            intel: Some(self.intel.clone()),
            canaries: Some(self.canary.clone()),
            seal: self.seal.clone(),
            geoip: self.geoip.clone(),
            sanitize: Some(self.sanitize.clone()),
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
        self.sanitize.policy()?;
        self.rules.check()?;
        self.intel.check()?;
        evaluate::check(&self.evaluate)?;
        if let Some(oidc) = &self.oidc {
            oidc.check()?;
        }
        if let Some(opinion) = &self.inspect.second_opinion {
            opinion.check()?;
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
    /// Names of hosts under which listeners on loopback may be called: those that are set, that of the console's public address where
    /// people sign in there, and those of the upstreams, for Bedrock's clients sign the name of Bedrock's own host.
    #[must_use]
    pub fn known_hosts(&self) -> HashSet<String> {
        let upstream = &self.upstream;
        let urls = [
            Some(&upstream.openai),
            Some(&upstream.anthropic),
            Some(&upstream.gemini),
            upstream.azure.as_ref(),
            upstream.bedrock.as_ref(),
            self.oidc.as_ref().map(|oidc| &oidc.redirect_url),
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
