//! The egress proxy in the configuration (`[egress]`).

use std::path::PathBuf;

use capture::egress::{Mode, Pattern, PatternError, Policy};
use capture::gateway::OnRecordFailure;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};

/// A forward proxy for what agents and applications ask of the world.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EgressConfig {
    /// Whether it listens at all.
    pub enabled: bool,
    /// What happens to a call that the lists do not allow.
    pub mode: EgressMode,
    /// Hosts that may be reached: `NAME`, `*.NAME`, an address or a network; all of them while it is empty.
    pub allow: Vec<String>,
    /// Hosts that may not be reached, whatever `allow` says.
    pub deny: Vec<String>,
    /// Metadata services, link-local addresses and listeners of this server that may be reached all the same.
    pub allow_protected: Vec<String>,
    /// Hosts whose TLS ends here, so that their requests are recorded one by one. Its clients must trust the certificate that
    /// `watchkeeper egress ca` prints.
    pub intercept: Vec<String>,
    /// Authorities in PEM, beside the system's, under which intercepted hosts may have their certificates.
    pub roots: Option<PathBuf>,
    /// Whether a call goes on when its record cannot be written. Off: the caller gets a 503.
    pub fail_open: bool,
}

/// What happens to a call that the lists do not allow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EgressMode {
    /// It passes, and the record says that it would not have.
    #[default]
    Observe,
    /// It is refused.
    Block,
}

/// Why `[egress]` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EgressConfigError {
    /// An entry of a list.
    #[error("egress.{field}: {source}")]
    Pattern {
        /// Which list.
        field: &'static str,
        /// What is wrong.
        source: PatternError,
    },
    /// The file of authorities.
    #[error("egress.roots {path}: {what}; it must hold certificates in PEM")]
    Roots {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl EgressConfig {
    /// Which destinations may be reached.
    ///
    /// # Errors
    /// [`EgressConfigError::Pattern`].
    pub fn policy(&self) -> Result<Policy, EgressConfigError> {
        Ok(Policy {
            mode: match self.mode {
                EgressMode::Observe => Mode::Observe,
                EgressMode::Block => Mode::Block,
            },
            allow: patterns("allow", &self.allow)?,
            deny: patterns("deny", &self.deny)?,
            allow_protected: patterns("allow_protected", &self.allow_protected)?,
        })
    }

    /// Hosts whose TLS ends here.
    ///
    /// # Errors
    /// [`EgressConfigError::Pattern`].
    pub fn intercepted(&self) -> Result<Vec<Pattern>, EgressConfigError> {
        patterns("intercept", &self.intercept)
    }

    /// Authorities beside the system's.
    ///
    /// # Errors
    /// [`EgressConfigError::Roots`].
    pub fn roots(&self) -> Result<Vec<CertificateDer<'static>>, EgressConfigError> {
        let Some(path) = &self.roots else { return Ok(Vec::new()) };
        let error = |what: String| EgressConfigError::Roots { path: path.clone(), what };
        let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let roots = read.map_err(|source| error(source.to_string()))?;
        if roots.is_empty() { Err(error("there is no certificate".to_owned())) } else { Ok(roots) }
    }

    /// What happens to a call that cannot be recorded.
    #[must_use]
    pub fn on_record_failure(&self) -> OnRecordFailure {
        if self.fail_open { OnRecordFailure::FailOpen } else { OnRecordFailure::FailClosed }
    }
}

fn patterns(field: &'static str, entries: &[String]) -> Result<Vec<Pattern>, EgressConfigError> {
    let read = entries.iter().map(|entry| entry.parse().map_err(|source| EgressConfigError::Pattern { field, source }));
    read.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_names_no_host_is_named_with_its_list() {
        let config = |text: &str| toml::from_str::<EgressConfig>(text).unwrap();
        config("allow = [\"*.example.com\", \"10.0.0.0/8\"]\nmode = \"block\"").policy().unwrap();
        let error = config("deny = [\"https://example.com\"]").policy().unwrap_err().to_string();
        assert!(error.contains("egress.deny") && error.contains("https://example.com"), "{error}");
        let error = config("intercept = [\"*\"]").intercepted().unwrap_err().to_string();
        assert!(error.contains("egress.intercept"), "{error}");
        assert!(toml::from_str::<EgressConfig>("mode = \"warn\"").is_err());
    }

    #[test]
    fn a_file_without_certificates_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let config = EgressConfig { roots: Some(file.path().to_owned()), ..EgressConfig::default() };
        assert!(config.roots().unwrap_err().to_string().contains("egress.roots"));
    }
}
