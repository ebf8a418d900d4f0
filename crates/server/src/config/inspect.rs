//! What texts are inspected with: signatures, a model, a second opinion over HTTP.

use std::path::PathBuf;
use std::time::Duration;

use event::Channel;
use http::Uri;
use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::gateway::read_secret;
use crate::outbound::read_url;

/// How long an answer may be waited for, in milliseconds. After ten seconds nobody waits for a decision on a call.
const TIMEOUT_MS: std::ops::RangeInclusive<u64> = 10..=10_000;

/// What texts are inspected with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InspectConfig {
    /// Directories of signature files, or single ones.
    pub signatures: Vec<PathBuf>,
    /// Whether the signatures that are part of the program are used beside them.
    pub builtin_signatures: bool,
    /// The classifier's model, made by `watchkeeper train`; the one that is part of the program without it.
    pub model: Option<PathBuf>,
    /// Who else is asked about texts; nobody without it.
    pub second_opinion: Option<SecondOpinionConfig>,
}

impl Default for InspectConfig {
    fn default() -> Self {
        Self { signatures: Vec::new(), builtin_signatures: true, model: None, second_opinion: None }
    }
}

/// A model that judges texts, over HTTP. It gets sanitised texts only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecondOpinionConfig {
    /// The whole address that is posted to.
    pub url: String,
    /// What is spoken there.
    pub kind: OpinionKind,
    /// The model that is asked for.
    pub model: String,
    /// The key that is sent (`Authorization: Bearer`): `env:VARIABLE` or `file:/path`; none without it.
    #[serde(default)]
    pub api_key: Option<String>,
    /// How long an answer may take, in milliseconds.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// Whether decisions of the gateway wait for it.
    #[serde(default)]
    pub mode: OpinionMode,
    /// The least score of inspection with which a text is asked about.
    #[serde(default = "min_score")]
    pub min_score: f32,
    /// The highest one: what is certain needs no second opinion.
    #[serde(default = "max_score")]
    pub max_score: f32,
    /// The channels whose texts are asked about.
    #[serde(default = "channels")]
    pub channels: Vec<Channel>,
}

/// What is spoken with the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OpinionKind {
    /// OpenAI's moderation endpoint: `flagged`, categories and their scores.
    OpenaiModeration,
    /// Chat completions with a model of the Llama Guard family: `safe`, or `unsafe` and categories.
    LlamaGuard,
}

/// When the model is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpinionMode {
    /// After the text was recorded.
    #[default]
    Async,
    /// Before the gateway decides on a call that a policy judges; otherwise as `async`.
    Inline,
}

impl SecondOpinionConfig {
    /// Refuses what cannot work, and what would send texts in the clear.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.address()?;
        let wrong = |field, what: String| Err(ConfigError::SecondOpinion { field, what });
        if !TIMEOUT_MS.contains(&self.timeout_ms) {
            let (min, max) = TIMEOUT_MS.into_inner();
            return Err(ConfigError::Number { field: "inspect.second_opinion.timeout_ms", value: self.timeout_ms, min, max });
        }
        if !(0.0..=1.0).contains(&self.min_score) || !(self.min_score..=1.0).contains(&self.max_score) {
            return wrong("min_score", "choose 0 <= min_score <= max_score <= 1".to_owned());
        }
        if self.channels.is_empty() {
            return wrong(
                "channels",
                "names none of user, assistant, tool, document, system: leave it out for all of them".to_owned(),
            );
        }
        if self.model.is_empty() {
            return wrong("model", "is empty: name the model that judges".to_owned());
        }
        Ok(())
    }

    /// Where is asked.
    pub(crate) fn address(&self) -> Result<Uri, ConfigError> {
        let wrong = |what: &str| ConfigError::SecondOpinion { field: "url", what: what.to_owned() };
        let url = read_url(&self.url).map_err(wrong)?;
        if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong("has a user or a password in it, which would not be sent; name the key with api_key"));
        }
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
        let is_loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if url.scheme_str() == Some("http") && !is_loopback {
            return Err(wrong("is http:// beyond this machine: texts would cross the network in the clear; use https://"));
        }
        Ok(url)
    }

    /// The key that is sent.
    pub(crate) fn secret(&self) -> Result<Option<String>, ConfigError> {
        let read = |source| read_secret(source).map_err(|what| ConfigError::SecondOpinion { field: "api_key", what });
        self.api_key.as_deref().map(read).transpose()
    }

    /// How long an answer may take.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

fn timeout_ms() -> u64 {
    2_000
}

fn min_score() -> f32 {
    0.2
}

fn max_score() -> f32 {
    event::Verdict::DENY_SCORE_MIN
}

fn channels() -> Vec<Channel> {
    vec![Channel::User, Channel::Assistant, Channel::Tool, Channel::Document, Channel::System]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_unsafe_or_never_work_is_named() {
        let config = |change: &str| -> Result<(), String> {
            let mut text = "kind = \"llama-guard\"\nmodel = \"guard\"\n".to_owned();
            if !change.contains("url") {
                text += "url = \"http://127.0.0.1:9/v1/chat/completions\"\n";
            }
            let config: SecondOpinionConfig = toml::from_str(&(text + change)).map_err(|error| error.to_string())?;
            config.check().map_err(|error| error.to_string())
        };
        for fine in ["", "url = \"https://guard.example/v1\"", "url = \"http://[::1]:9/\"", "min_score = 0\nmax_score = 1"] {
            assert_eq!(config(fine), Ok(()), "{fine}");
        }
        for (wrong, named) in [
            ("url = \"http://guard.example/v1\"", "second_opinion.url: is http:// beyond this machine"),
            ("url = \"ftp://guard.example/\"", "must begin with https://"),
            ("url = \"https://user:word@guard.example/\"", "second_opinion.url: has a user or a password in it"),
            ("timeout_ms = 60000", "timeout_ms = 60000 is out of bounds"),
            ("min_score = 0.9", "min_score <= max_score"),
            ("channels = []", "second_opinion.channels"),
            ("channels = [\"dream\"]", "channels"),
            ("mode = \"later\"", "mode"),
        ] {
            let problem = config(wrong).unwrap_err();
            assert!(problem.contains(named), "{wrong}: {problem}");
        }
        let literal = SecondOpinionConfig {
            api_key: Some("sk-a-key-in-the-file".to_owned()),
            ..toml::from_str("kind = \"llama-guard\"\nmodel = \"g\"\nurl = \"https://g.example/\"").unwrap()
        };
        assert!(literal.secret().unwrap_err().to_string().contains("does not belong in here"));
    }
}
