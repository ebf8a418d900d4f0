//! The sanitiser of a record: the key of its tokens, and the policy that stands.
//!
//! The keyring keeps the policy, so that whoever opens the record for a moment, without the server's configuration, sanitises as
//! the server does.

use std::sync::Arc;

use keys::{Keyring, KeysError};
use sanitize::{Sanitizer, TokenKey};

use crate::config::{SanitizeConfig, SanitizeConfigError};
use crate::data_dir::token_key;
use crate::recovery::OfficersSealer;

/// The keyring's name of the policy.
const NAME: &str = "sanitizer policy";

/// Why there is no sanitiser.
#[derive(Debug, thiserror::Error)]
pub enum SanitizingError {
    /// The policy.
    #[error(transparent)]
    Policy(#[from] SanitizeConfigError),
    /// The keyring.
    #[error("the sanitiser's policy: {0}")]
    Keys(#[from] KeysError),
    /// What is kept is not what this program wrote.
    #[error("the sanitiser's policy in the keyring: {0}; start the server with its configuration, which writes it anew")]
    Form(#[from] serde_json::Error),
}

/// The sanitiser of a record, by the policy that stands.
///
/// # Errors
/// Whatever the keyring says.
pub fn sanitizer(keyring: &Keyring) -> Result<Sanitizer, SanitizingError> {
    with_policy(keyring, &kept(keyring)?)
}

/// The sanitiser of a record, by another policy than the one that stands, which stays.
///
/// # Errors
/// As [`sanitizer`], and what is wrong with the policy.
pub fn sanitizer_by(keyring: &Keyring, config: &SanitizeConfig) -> Result<Sanitizer, SanitizingError> {
    with_policy(keyring, config)
}

/// A sanitiser whose tokens mean nothing after this run.
///
/// # Errors
/// What is wrong with the policy, and where the system has no randomness.
pub fn ephemeral_sanitizer(config: &SanitizeConfig) -> Result<Sanitizer, EphemeralError> {
    let policy = config.policy()?;
    Ok(Sanitizer::new(TokenKey::new(crate::secrets::random::<32>()?, "run")).with_policy(policy))
}

/// Why there is no sanitiser for a run.
#[derive(Debug, thiserror::Error)]
pub enum EphemeralError {
    /// The policy.
    #[error(transparent)]
    Policy(#[from] SanitizeConfigError),
    /// There is no randomness.
    #[error("randomness: {0}")]
    Random(#[from] std::io::Error),
}

/// The policy that is wanted stands from now on; without one, the one that stood.
pub(crate) fn settle(keyring: &Keyring, wanted: Option<&SanitizeConfig>) -> Result<Sanitizer, SanitizingError> {
    let kept = kept(keyring);
    let Some(wanted) = wanted else { return with_policy(keyring, &kept?) };
    let sanitizer = with_policy(keyring, wanted)?;
    if kept.ok().as_ref() != Some(wanted) {
        keyring.put_named(NAME, &serde_json::to_vec(wanted)?)?;
    }
    Ok(sanitizer)
}

fn kept(keyring: &Keyring) -> Result<SanitizeConfig, SanitizingError> {
    let json = keyring.named(NAME)?;
    Ok(json.map(|json| serde_json::from_slice(&json)).transpose()?.unwrap_or_default())
}

fn with_policy(keyring: &Keyring, config: &SanitizeConfig) -> Result<Sanitizer, SanitizingError> {
    let sanitizer = Sanitizer::new(token_key(keyring)?).with_policy(config.policy()?);
    Ok(match config.officers()? {
        Some(officers) => sanitizer.with_sealer(Arc::new(OfficersSealer(officers))),
        None => sanitizer,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_stands_until_another_is_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root.key");
        keys::create_root_key(&root).unwrap();
        let keyring = Keyring::open(&dir.path().join("keys"), keys::read_root_key(&root).unwrap()).unwrap();
        let wanted = |toml: &str| toml::from_str::<SanitizeConfig>(toml).unwrap();
        let masks = |sanitizer: &Sanitizer| sanitizer.text("to ann@example.com").text.contains("-m:");
        assert!(!masks(&settle(&keyring, None).unwrap()));
        assert!(masks(&settle(&keyring, Some(&wanted("[actions]\nEMAIL = \"mask\""))).unwrap()));
        assert!(masks(&settle(&keyring, None).unwrap()) && masks(&sanitizer(&keyring).unwrap()));
        settle(&keyring, Some(&wanted("[actions]\nCVV = \"mask\""))).unwrap_err();
        assert!(masks(&sanitizer(&keyring).unwrap()), "what cannot be used does not stand");
        assert!(!masks(&settle(&keyring, Some(&SanitizeConfig::default())).unwrap()));
        assert!(!masks(&sanitizer(&keyring).unwrap()));
    }
}
