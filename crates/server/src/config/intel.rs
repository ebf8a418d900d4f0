//! Threat intelligence: whose indicators are looked up in.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use intel::feed::{Format, Options};
use intel::{Kind, Tlp};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};

use super::gateway::read_secret;
use crate::outbound::read_url;

/// Most feeds.
const FEEDS_MAX: usize = 64;
/// Longest name of a feed: it is the name of a file.
pub(crate) const NAME_CHARS_MAX: usize = 64;
/// abuse.ch asks for at least 5 minutes between two pulls; after a month a feed is no news.
const INTERVAL_MINUTES: std::ops::RangeInclusive<u32> = 1..=43_200;

/// Indicators of others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IntelConfig {
    /// The feeds.
    pub feed: Vec<FeedConfig>,
    /// Warning lists in the format of MISP: files with values that are no sign of anything.
    pub warning_lists: Vec<PathBuf>,
    /// Whether the list that is part of the program is used, too: networks that are nobody's on the Internet, public resolvers, hashes of
    /// nothing.
    pub builtin_warning_list: bool,
}

impl Default for IntelConfig {
    fn default() -> Self {
        Self { feed: Vec::new(), warning_lists: Vec::new(), builtin_warning_list: true }
    }
}

/// What a feed speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeedKind {
    /// A collection of a TAXII 2.1 server.
    Taxii,
    /// A bundle of STIX 2.1.
    Stix,
    /// A feed of MISP: `manifest.json` and its events.
    Misp,
    /// CSV or JSON of abuse.ch.
    AbuseCh,
    /// One value in a line.
    Plain,
}

/// A feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedConfig {
    /// What it is called here: letters, digits, `-` and `_`.
    pub name: String,
    /// What it speaks.
    pub kind: FeedKind,
    /// Where it is: for TAXII the discovery or an API root, for MISP the directory of `manifest.json`.
    #[serde(default)]
    pub url: Option<String>,
    /// Or a file on this machine, which is read when it changes. Not for TAXII and MISP.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// The collection of TAXII, by id, alias or title; the only one where left out.
    #[serde(default)]
    pub collection: Option<String>,
    /// Minutes between two pulls.
    #[serde(default = "an_hour")]
    pub interval_minutes: u32,
    /// The user of HTTP's basic authentication, with `secret` as the password. Without it `secret` is a bearer token.
    #[serde(default)]
    pub user: Option<String>,
    /// `env:VARIABLE` or `file:/path`.
    #[serde(default)]
    pub secret: Option<String>,
    /// The header that `secret` is sent in, as it is: `Auth-Key` for abuse.ch.
    #[serde(default)]
    pub header: Option<String>,
    /// Certificates in PEM of authorities for the server, beside those of the system.
    #[serde(default)]
    pub roots: Option<PathBuf>,
    /// With whom indicators may be shared that do not say.
    #[serde(default)]
    pub tlp: Tlp,
    /// Indicators that are shared more closely than that are left out.
    #[serde(default = "red")]
    pub tlp_max: Tlp,
    /// How sure the feed is where it does not say, 0 to 100.
    #[serde(default = "fifty")]
    pub confidence: u8,
    /// What the values of a plain list are; told by their form where left out.
    #[serde(default)]
    pub values: Option<Kind>,
    /// Days for which an indicator holds that does not say until when, from when it was seen last.
    #[serde(default)]
    pub expires_days: Option<u32>,
}

fn an_hour() -> u32 {
    60
}

fn fifty() -> u8 {
    50
}

fn red() -> Tlp {
    Tlp::Red
}

/// Why feeds cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntelConfigError {
    /// A feed.
    #[error("intel.feed {name:?}: {field} {what}")]
    Feed {
        /// Its name.
        name: String,
        /// The field.
        field: &'static str,
        /// What is wrong with it, and what to write.
        what: String,
    },
    /// There are too many.
    #[error("intel.feed: at most {FEEDS_MAX} feeds")]
    TooMany,
}

/// How a feed is asked who asks it.
pub(crate) enum Credentials {
    None,
    Basic(String, String),
    Bearer(String),
    Header(http::HeaderName, String),
}

impl IntelConfig {
    /// Refuses what cannot work, and what would send a secret in the clear.
    pub(crate) fn check(&self) -> Result<(), IntelConfigError> {
        if self.feed.len() > FEEDS_MAX {
            return Err(IntelConfigError::TooMany);
        }
        let mut names = HashSet::new();
        for feed in &self.feed {
            feed.check()?;
            if !names.insert(&feed.name) {
                return Err(feed.wrong("name", "is that of another feed, too"));
            }
        }
        Ok(())
    }
}

/// Whether a feed can be called that.
#[must_use]
pub(crate) fn is_feed_name(name: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

impl FeedConfig {
    pub(crate) fn wrong(&self, field: &'static str, what: impl Into<String>) -> IntelConfigError {
        IntelConfigError::Feed { name: self.name.clone(), field, what: what.into() }
    }

    fn check(&self) -> Result<(), IntelConfigError> {
        if !is_feed_name(&self.name) {
            return Err(self.wrong("name", "must be 1 to 64 letters, digits, - and _"));
        }
        if !INTERVAL_MINUTES.contains(&self.interval_minutes) {
            return Err(self.wrong("interval_minutes", "is out of bounds: choose 1 to 43200"));
        }
        if self.confidence > 100 {
            return Err(self.wrong("confidence", "is out of bounds: choose 0 to 100"));
        }
        match (&self.url, &self.path) {
            (Some(_), None) => {
                self.address()?;
            }
            (None, Some(_)) if matches!(self.kind, FeedKind::Taxii | FeedKind::Misp) => {
                return Err(
                    self.wrong("path", "is not for taxii and misp: give a url, or kind = \"stix\" for a bundle in a file")
                );
            }
            (None, Some(_)) => {}
            _ => return Err(self.wrong("url", "or path is needed, and not both")),
        }
        if self.secret.is_none() && (self.user.is_some() || self.header.is_some()) {
            return Err(self.wrong("secret", "is missing: env:VARIABLE or file:/path"));
        }
        if self.collection.is_some() && self.kind != FeedKind::Taxii {
            return Err(self.wrong("collection", "is for taxii alone"));
        }
        if self.values.is_some() && self.kind != FeedKind::Plain {
            return Err(self.wrong("values", "is for plain lists alone"));
        }
        Ok(())
    }

    /// Where it is pulled from.
    pub(crate) fn address(&self) -> Result<Uri, IntelConfigError> {
        let url = self.url.as_deref().unwrap_or_default();
        let uri = read_url(url).map_err(|what| self.wrong("url", what))?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let is_loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if uri.scheme_str() == Some("http") && !is_loopback {
            return Err(self
                .wrong("url", "is http:// beyond this machine: whoever is between could say what is watched for; use https://"));
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(self.wrong("url", "holds a password: use user and secret"));
        }
        Ok(uri)
    }

    /// Names the place that it is pulled from: what is kept of another one is not its own.
    pub(crate) fn from(&self) -> String {
        let url = self.url.as_deref().unwrap_or_default();
        format!("{:?} {url} {}", self.kind, self.collection.as_deref().unwrap_or_default())
    }

    /// What it is shown.
    pub(crate) fn credentials(&self) -> Result<Credentials, IntelConfigError> {
        let Some(source) = &self.secret else { return Ok(Credentials::None) };
        let secret = read_secret(source).map_err(|what| self.wrong("secret", what))?;
        let secret = secret.trim().to_owned();
        Ok(match (&self.user, &self.header) {
            (Some(user), _) => Credentials::Basic(user.clone(), secret),
            (None, Some(header)) => {
                let name = header.parse().map_err(|_| self.wrong("header", "is no name of a header"))?;
                Credentials::Header(name, secret)
            }
            (None, None) => Credentials::Bearer(secret),
        })
    }

    /// The authorities that are believed beside those of the system.
    pub(crate) fn roots(&self) -> Result<Vec<CertificateDer<'static>>, IntelConfigError> {
        let Some(path) = &self.roots else { return Ok(Vec::new()) };
        let wrong = |what: String| self.wrong("roots", format!("{}: {what}; it must hold certificates in PEM", path.display()));
        let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let found = found.map_err(|error| wrong(error.to_string()))?;
        if found.is_empty() { Err(wrong("there is no certificate".to_owned())) } else { Ok(found) }
    }

    /// How often it is pulled.
    pub(crate) fn interval(&self) -> Duration {
        Duration::from_secs(u64::from(self.interval_minutes) * 60)
    }

    /// The format of what it gives.
    pub(crate) fn format(&self) -> Format {
        match self.kind {
            FeedKind::Taxii | FeedKind::Stix => Format::Stix,
            FeedKind::Misp => Format::Misp,
            FeedKind::AbuseCh => Format::AbuseCh,
            FeedKind::Plain => Format::Plain,
        }
    }

    /// How it is read.
    pub(crate) fn options(&self) -> Options {
        Options {
            source: self.name.clone(),
            confidence: self.confidence,
            tlp: self.tlp,
            tlp_max: self.tlp_max,
            kind: self.values,
            expires_after_s: self.expires_days.map(|days| i64::from(days) * 86_400),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_named() {
        for (more, field) in [
            ("url = \"https://a.example/\"", None),
            ("url = \"http://127.0.0.1:5000/taxii2/\"", None),
            ("path = \"/srv/list.txt\"", None),
            ("url = \"http://a.example/\"", Some("url")),
            ("url = \"https://u:p@a.example/\"", Some("url")),
            ("url = \"ftp://a.example/\"", Some("url")),
            ("", Some("url")),
            ("url = \"https://a.example/\"\npath = \"x\"", Some("url")),
            ("url = \"https://a.example/\"\nuser = \"x\"", Some("secret")),
            ("url = \"https://a.example/\"\nconfidence = 101", Some("confidence")),
            ("url = \"https://a.example/\"\ninterval_minutes = 0", Some("interval_minutes")),
            ("url = \"https://a.example/\"\ncollection = \"x\"", Some("collection")),
        ] {
            let text = format!("[[feed]]\nname = \"a\"\nkind = \"plain\"\n{more}");
            let config: IntelConfig = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
            match (config.check(), field) {
                (Ok(()), None) => {}
                (Err(IntelConfigError::Feed { field: found, .. }), Some(field)) => assert_eq!(found, field, "{more}"),
                (outcome, _) => panic!("{more}: {outcome:?}"),
            }
        }
        for name in ["", "../x", "a b", &"x".repeat(65)] {
            assert!(!is_feed_name(name), "{name}");
        }
    }
}
