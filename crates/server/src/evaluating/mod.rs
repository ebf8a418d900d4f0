//! Evaluation of models: benchmark sets are asked of their endpoints, on schedule or when somebody asks for it, and what comes of it is
//! recorded. What it is worth, and whether something has changed, says [`evaluate`].

mod ask;
mod baselines;
mod foreign;
mod inputs;
mod record;
mod schedule;

pub use self::ask::{AskError, Asking, Target, TargetError, run};
pub(crate) use self::baselines::Baselines;
pub use self::baselines::BaselinesError;
pub use self::inputs::{InputError, read_baseline, read_set};
pub(crate) use self::record::{events, record};
pub(crate) use self::schedule::Evaluating;

/// The key that `source` names, as configurations name one: `env:VARIABLE` or `file:/path`.
///
/// # Errors
/// What is wrong with it, without the key.
pub fn key(source: &str) -> Result<String, String> {
    crate::config::read_secret(source).map(|key| key.trim().to_owned())
}
