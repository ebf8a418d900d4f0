//! STIX 2.1: bundles of indicators, read and written.

mod marking;
mod read;
mod write;

pub(crate) use self::read::read;
pub use self::write::bundle;

use crate::indicator::Kind;

/// Paths of patterns, and what their values are. The first of each kind is the one that is written.
///
/// The standard has no object for prompts, packages and MCP servers; ours begin with `x-`, as it asks for.
const PATHS: &[(&str, Kind)] = &[
    ("url:value", Kind::Url),
    ("domain-name:value", Kind::Domain),
    ("ipv4-addr:value", Kind::Ip),
    ("ipv6-addr:value", Kind::Ip),
    ("network-traffic:dst_ref.value", Kind::Ip),
    ("network-traffic:src_ref.value", Kind::Ip),
    ("email-addr:value", Kind::Email),
    ("email-message:from_ref.value", Kind::Email),
    ("email-message:sender_ref.value", Kind::Email),
    ("file:hashes.SHA-256", Kind::Hash),
    ("file:hashes.SHA-1", Kind::Hash),
    ("file:hashes.MD5", Kind::Hash),
    ("file:hashes.SHA-512", Kind::Hash),
    ("artifact:hashes.SHA-256", Kind::Hash),
    ("network-traffic:extensions.http-request-ext.request_header.User-Agent", Kind::UserAgent),
    ("process:command_line", Kind::Command),
    ("x-watchkeeper-package:name", Kind::Package),
    ("x-watchkeeper-mcp-server:name", Kind::McpServer),
    ("x-watchkeeper-prompt:sha256", Kind::Prompt),
    ("x-watchkeeper-prompt:minhash64", Kind::NearPrompt),
    // The prompt itself, as in the extension of dogesec: it gives both fingerprints.
    ("ai-prompt:value", Kind::Prompt),
];

/// What the value at a path is.
fn kind_of(path: &str) -> Option<Kind> {
    let same = |known: &str| known == path || known.replace("SHA-", "SHA") == path.replace("SHA-", "SHA");
    PATHS.iter().find(|(known, _)| same(known)).map(|(_, kind)| *kind)
}
