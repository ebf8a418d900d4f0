//! Why a configuration cannot be used.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::egress::EgressConfigError;
use super::evidence::SEAL_INTERVAL_MS;
use super::gateway::GatewayConfigError;
use super::intel::IntelConfigError;
use super::oidc::OidcConfigError;
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
    #[error("configuration {path}, {place}: {what}; docs/reference/configuration.md has all fields")]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line, and the table and field that stand there.
        place: String,
        /// What is wrong there.
        what: String,
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
    /// Signing in by OpenID Connect.
    #[error(transparent)]
    Oidc(#[from] OidcConfigError),
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
    /// An evaluation of a model.
    #[error("evaluate {name:?}: {field} {what}")]
    Evaluate {
        /// Its name.
        name: String,
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

impl ConfigError {
    /// What TOML says of `text`, with the place and without the line itself: somebody may have written a secret there.
    pub(super) fn parse(path: PathBuf, text: &str, error: &toml::de::Error) -> Self {
        let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or_default();
        let number = before.matches('\n').count() + 1;
        let mut lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()).take(number);
        let is_name = |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
        let field = lines.clone().nth(number - 1).and_then(|line| line.split_once('=')).map(|(name, _)| name.trim());
        let table = |line: &'_ str| line.starts_with('[').then(|| line.trim_matches(['[', ']']).to_owned());
        let table = lines.by_ref().filter_map(table).filter(|name| is_name(&name.as_str())).last();
        let names: Vec<String> = table.into_iter().chain(field.filter(is_name).map(str::to_owned)).collect();
        let place = if names.is_empty() { format!("line {number}") } else { format!("line {number}, {}", names.join(".")) };
        Self::Parse { path, place, what: error.message().trim().replace('\n', " ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn what_toml_says_is_told_in_a_line_with_its_place() {
        let told = |text: &str| {
            let error = toml::from_str::<Config>(text).unwrap_err();
            ConfigError::parse(PathBuf::from("wk.toml"), text, &error).to_string()
        };
        for (text, words) in [
            ("[inspect]\nsignatures = \"x\"", ["wk.toml, line 2, inspect.signatures: ", "expected a sequence"]),
            ("\n[inspekt] # all of it\n", ["line 2, inspekt: ", "unknown field `inspekt`"]),
            (
                "[inspect.second_opinion]\nurl = \"https://g.example/\"",
                ["line 1, inspect.second_opinion: ", "missing field `kind`"],
            ),
            ("[[canary]]\nlabel = \"a\"\nname = \"b\"", ["line 3, canary.name: ", "unknown field `name`"]),
            ("[listen]\nhosts = [\n[\"a\"][0]]", ["line 3", ""]),
            ("[listen]\nhosts = [\n\"a\"]\n[seal]\ninterval_ms = true", ["line 5, seal.interval_ms: ", "boolean"]),
            ("{\"inspect\": 1}", ["line 1: ", ""]),
        ] {
            let told = told(text);
            assert!(words.iter().all(|word| told.contains(word)) && !told.contains('\n'), "{text}: {told}");
        }
        assert!(!told("[inspect.second_opinion]\napi_key = 'sk-in-the-file").contains("in-the-file"));
    }
}
