//! The server: the way of an event wired together, the consumers of the journal, the listeners, the HTTP API.

#![forbid(unsafe_code)]

mod access;
mod api_keys;
mod asker;
mod cache;
mod canary;
pub mod config;
mod configuration;
mod consumers;
mod coverage;
mod data_dir;
mod descriptors;
mod egress_proxy;
pub mod evaluating;
mod forwarded;
mod frame_keys;
mod geoip;
mod guard;
mod http_api;
pub mod intel;
mod kms;
pub mod lifecycle;
mod listen;
mod log_keys;
mod mcp_proxies;
mod node;
mod outbound;
mod peer;
pub mod pin;
mod pipeline;
mod prompts;
pub mod publishing;
mod recovery;
mod replay;
mod room;
mod root_key;
mod rules;
mod run_file;
mod running;
mod sanitizing;
mod sealer;
mod second_opinion;
mod secrets;
mod signatures;
mod standing;
mod subjects;
mod taking;
mod timestamping;
mod tool_pins;
mod triage;
mod watchman;
pub mod witness;
mod witnessing;

pub use access::{Access, Role};
pub use api_keys::{ApiKeyError, ApiKeys, KeyInfo, NewKey};
pub use asker::{Asker, OPERATOR_BYTES_MAX};
pub use canary::new_marker;
pub use config::{Config, ConfigError, InspectConfig};
pub use configuration::ConfigurationError;
pub use coverage::{COVERAGE_DAYS_MAX, seen};
pub use data_dir::{DataDir, DataDirError};
pub use egress_proxy::{EgressAuthorityError, EgressProxyError, egress_authority, kept_egress_authority};
pub use forwarded::{Network, NetworkError};
pub use frame_keys::frame_keys;
pub use geoip::{GeoipConfig, GeoipError};
pub use http_api::{refuse_browsers, refuse_strange_hosts};
pub use kms::{KmsError, KmsKey};
pub use log_keys::{LogKeyError, LogKeyInfo, OVERLAP_RECORDS, OVERLAP_RECORDS_MAX, key_chain, log_keys};
pub use node::{Node, NodeError, NodeSettings, Progress};
pub use pipeline::{Pipeline, Throughput};
pub use recovery::Recovered;
pub use replay::{
    ChangedRule, Compared, Ended, ExplainRequest, OfEntity, OfRule, ReplayError, ReplayReport, ReplayRequest, ReplayStanding,
    ReplayState, Turn, Watch,
};
pub use root_key::{RootKeyError, RootKeyPlace, open_keyring, read_keyring};
pub use rules::{KeptRulesError, RulesStanding, kept_rules};
pub use run_file::{Listeners, RunFile, ServerProof};
pub use running::{Addresses, Running, StartError};
pub use sanitizing::{EphemeralError, SanitizingError, ephemeral_sanitizer, sanitizer, sanitizer_by};
pub use second_opinion::OpinionCounts;
pub use signatures::{SignatureError, SignaturesStanding, read_model, read_signatures};
pub use standing::{ArchiveStanding, Failure, Reached, Standing};
pub use subjects::SubjectNamer;
