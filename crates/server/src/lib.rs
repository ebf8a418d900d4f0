//! The server: the way of an event wired together, the consumers of the journal, the listeners, the HTTP API.

#![forbid(unsafe_code)]

mod access;
mod api_keys;
mod asker;
mod cache;
pub mod config;
mod consumers;
mod data_dir;
mod frame_keys;
mod http_api;
mod kms;
pub mod lifecycle;
mod lifecycle_api;
mod listen;
mod log_key_api;
mod log_keys;
mod mcp_api;
mod mcp_proxies;
mod node;
mod outbound;
mod page;
mod peer;
pub mod pin;
mod pipeline;
pub mod publishing;
mod room;
mod root_key;
mod run_file;
mod running;
mod sealer;
mod secrets;
mod standing;
mod subjects;
mod timestamping;
mod tool_pins;
mod watchman;
pub mod witness;
mod witnessing;

pub use access::{Access, Role};
pub use api_keys::{ApiKeyError, ApiKeys, KeyInfo, NewKey};
pub use asker::{Asker, OPERATOR_BYTES_MAX};
pub use config::{Config, ConfigError};
pub use data_dir::{DataDir, DataDirError, ephemeral_sanitizer, sanitizer};
pub use frame_keys::frame_keys;
pub use http_api::refuse_browsers;
pub use kms::{KmsError, KmsKey};
pub use log_keys::{LogKeyError, LogKeyInfo, OVERLAP_RECORDS, OVERLAP_RECORDS_MAX, key_chain, log_keys};
pub use node::{Node, NodeError, NodeSettings, Progress};
pub use pipeline::{Pipeline, Throughput};
pub use root_key::{RootKeyError, RootKeyPlace, open_keyring, read_keyring};
pub use run_file::{Listeners, RunFile, ServerProof};
pub use running::{Addresses, Running, StartError};
pub use standing::{ArchiveStanding, Failure, Reached, Standing};
pub use subjects::SubjectNamer;
