//! What outlives an engine: detection begins anew so often, and what is counted over hours must not.
//!
//! An engine hands on what was spent of the alert budgets, the windows of correlations, of which calls and groups rules have spoken, the
//! risk of everybody, and what it knows of conversations: where untrusted text stood in them, what agents kept and where they send to, how
//! their turns went. Else an attack in two halves, one on each side of a boundary, would be two harmless things. It is a function of all
//! records before a place, as behaviour is, so it is stored with its place and gone on with from there.

use serde::{Deserialize, Serialize};

use crate::budget::Spent;
use crate::novelty::Novelty;
use crate::rules::{Rule, RuleSet};
use crate::session::{Sessions, hash};
use crate::sigma::Windows;
use crate::spoken::Spoken;
use crate::{flow, risk, turns};

/// The first bytes of a stored state: what can read it. Changed whenever the meaning of the state changes.
const FORMAT: &[u8] = b"watchkeeper detection 2\n";

/// What an engine hands on to the one that takes its place.
#[derive(Debug, Serialize, Deserialize)]
pub struct Carried {
    /// The rules, in their order: what is said of a place in the set is said of the rule that was there.
    pub(crate) rules: Vec<u64>,
    pub(crate) spent: Spent,
    pub(crate) windows: Windows,
    pub(crate) spoken: Spoken,
    pub(crate) sessions: Sessions,
    pub(crate) novelty: Novelty,
    pub(crate) flow: flow::Handed,
    pub(crate) turns: turns::Handed,
    pub(crate) risk: risk::Handed,
}

/// Why a stored state cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum CarriedError {
    /// Another version of the program wrote it, or it is something else.
    #[error("this is not the state of detection as this version of Watchkeeper stores it")]
    Format,
    /// It is damaged.
    #[error("the state of detection cannot be read: {0}")]
    Damaged(#[from] postcard::Error),
}

impl Carried {
    /// The state as bytes. What is read back goes on as this does.
    ///
    /// # Errors
    /// Never, with the types that it is made of.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CarriedError> {
        Ok(postcard::to_extend(self, FORMAT.to_vec())?)
    }

    /// The state that [`Self::to_bytes`] stored. Whoever calls this has seen to it that nobody else wrote the bytes.
    ///
    /// # Errors
    /// When the bytes are another version's, or damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CarriedError> {
        let state = bytes.strip_prefix(FORMAT).ok_or(CarriedError::Format)?;
        Ok(postcard::from_bytes(state)?)
    }
}

/// By which rules are known: two that have the same say the same.
pub(crate) fn keys_of(rules: &RuleSet) -> Vec<u64> {
    let key = |rule: &Rule| hash(&[rule.info.id.as_bytes(), rule.info.digest.as_bytes()]);
    rules.all().iter().map(key).collect()
}
