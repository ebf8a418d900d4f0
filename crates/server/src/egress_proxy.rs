//! The egress proxy of the configuration, and the authority that it vouches with.

use std::sync::Arc;

use capture::egress::{Authority, AuthorityError, Config, Egress, EgressError, Intercept, Kept};
use capture::gateway::keys::KeyChecker;
use keys::{Keyring, KeysError};

use crate::config::{Config as ServerConfig, ConfigError};
use crate::node::Node;

/// Under which names the keyring has the authority.
const KEY: &str = "egress authority key";
/// See [`KEY`].
const CERTIFICATE: &str = "egress authority certificate";

/// Why there is no egress proxy.
#[derive(Debug, thiserror::Error)]
pub enum EgressProxyError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The authority.
    #[error(transparent)]
    Authority(#[from] EgressAuthorityError),
    /// The proxy.
    #[error(transparent)]
    Proxy(#[from] EgressError),
}

/// Why there is no authority for intercepted hosts.
#[derive(Debug, thiserror::Error)]
pub enum EgressAuthorityError {
    /// The keyring.
    #[error(transparent)]
    Keyring(#[from] KeysError),
    /// The authority.
    #[error("the authority of the egress proxy: {0}")]
    Authority(#[from] AuthorityError),
}

/// The authority of a keyring, if it has one.
///
/// # Errors
/// What the keyring says.
pub fn kept_egress_authority(keyring: &Keyring) -> Result<Option<Kept>, KeysError> {
    let (key, certificate) = (keyring.named(KEY)?, keyring.named(CERTIFICATE)?);
    Ok(key.zip(certificate).map(|(key, certificate)| Kept { key, certificate: certificate.to_vec() }))
}

/// The authority of a keyring that is open for writing; made when there is none.
///
/// # Errors
/// What the keyring says, and [`AuthorityError`].
pub fn egress_authority(keyring: &Keyring) -> Result<Kept, EgressAuthorityError> {
    if let Some(kept) = kept_egress_authority(keyring)? {
        return Ok(kept);
    }
    let kept = Kept::generate()?;
    // The certificate last: a key without one is no authority, and is made again.
    keyring.put_named(KEY, &kept.key)?;
    keyring.put_named(CERTIFICATE, &kept.certificate)?;
    Ok(kept)
}

/// The proxy, when the configuration asks for it.
pub(crate) fn proxy(
    node: &Arc<Node>,
    config: &ServerConfig,
    checker: Arc<dyn KeyChecker>,
) -> Result<Option<Egress>, EgressProxyError> {
    let egress = &config.egress;
    if !egress.enabled {
        return Ok(None);
    }
    let hosts = egress.intercepted().map_err(ConfigError::from)?;
    let intercept = if hosts.is_empty() {
        None
    } else {
        let authority = Authority::open(&egress_authority(node.keyring())?).map_err(EgressAuthorityError::from)?;
        Some(Intercept { hosts, authority, roots: egress.roots().map_err(ConfigError::from)? })
    };
    let is_local = config.listen.egress.ip().is_loopback();
    let settings = Config {
        policy: egress.policy().map_err(ConfigError::from)?,
        require_key: config.capture.require_key || !is_local,
        is_local,
        on_record_failure: egress.on_record_failure(),
        ..Config::default()
    };
    Ok(Some(Egress::new(node.recorder(), settings, Some(checker), intercept)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_is_made_once_and_half_of_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root.key");
        keys::create_root_key(&root).unwrap();
        let keyring = Keyring::open(&dir.path().join("keys"), keys::read_root_key(&root).unwrap()).unwrap();
        assert!(kept_egress_authority(&keyring).unwrap().is_none());
        keyring.put_named(KEY, b"of a start that broke off").unwrap();
        assert!(kept_egress_authority(&keyring).unwrap().is_none());
        let made = egress_authority(&keyring).unwrap();
        assert_eq!(egress_authority(&keyring).unwrap().certificate, made.certificate);
        Authority::open(&made).unwrap();
    }
}
