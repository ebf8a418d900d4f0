//! Why a configuration cannot be used.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::egress::EgressConfigError;
use super::evidence::SEAL_INTERVAL_MS;
use super::gateway::GatewayConfigError;
use super::intel::IntelConfigError;
use super::sanitize::SanitizeConfigError;

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
    /// The sanitiser.
    #[error(transparent)]
    Sanitize(#[from] SanitizeConfigError),
    /// Threat intelligence.
    #[error(transparent)]
    Intel(#[from] IntelConfigError),
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
    /// Who is asked for a second opinion.
    #[error("inspect.second_opinion.{field}: {what}")]
    SecondOpinion {
        /// Which field.
        field: &'static str,
        /// What is wrong with it, and what to write.
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
