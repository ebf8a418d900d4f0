//! What becomes of sensitive values.

use std::collections::BTreeMap;

use keys::Officers;
use sanitize::{Action, CustomSpec, Policy, PolicyError, PolicySpec};
use serde::{Deserialize, Serialize};

/// What is done with what the sanitiser finds, and what it looks for beside the types that are built in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SanitizeConfig {
    /// Actions by the name of a type or of a category.
    pub actions: BTreeMap<String, Action>,
    /// Types of the operator.
    pub types: Vec<CustomSpec>,
    /// For whom values are sealed whose action is `encrypt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery: Option<RecoveryConfig>,
}

/// Who opens what is sealed: two of these together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecoveryConfig {
    /// Their age recipients (`age1...`), each of another person: 2 to 8.
    pub recipients: Vec<String>,
}

impl SanitizeConfig {
    /// As the sanitiser takes it.
    ///
    /// # Errors
    /// What is wrong with it, by its field.
    pub fn policy(&self) -> Result<Policy, SanitizeConfigError> {
        let spec = PolicySpec { actions: self.actions.clone(), types: self.types.clone() };
        if spec.encrypts() && self.recovery.is_none() {
            return Err(SanitizeConfigError::Encrypt);
        }
        self.officers()?;
        Ok(Policy::new(&spec)?)
    }

    /// For whom values are sealed.
    ///
    /// # Errors
    /// [`SanitizeConfigError::Recovery`].
    pub fn officers(&self) -> Result<Option<Officers>, SanitizeConfigError> {
        let officers = self.recovery.as_ref().map(|recovery| Officers::parse(&recovery.recipients));
        officers.transpose().map_err(|error| SanitizeConfigError::Recovery(error.to_string()))
    }
}

/// Why a policy cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SanitizeConfigError {
    /// The policy itself.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Nobody could open what is sealed.
    #[error(
        "sanitize: the action \"encrypt\" needs those who open what is sealed: [sanitize.recovery] recipients = [\"age1...\", \"age1...\"]"
    )]
    Encrypt,
    /// Those who open it.
    #[error("sanitize.recovery.{0}")]
    Recovery(String),
}
