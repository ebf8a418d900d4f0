//! What people change of detections, and what they did.

use serde::{Deserialize, Serialize};
use store::State;
use utoipa::ToSchema;

use super::{NAME_BYTES_MAX, TriageError};

/// Longest note, in bytes.
const NOTE_BYTES_MAX: usize = 8 * 1024;

/// Why a detection is closed. The names are OCSF's (`verdict_id` of a finding).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// It was what the rule says.
    TruePositive,
    /// It was not.
    FalsePositive,
    /// It was, and it is allowed.
    Benign,
    /// Somebody tried it out.
    Test,
    /// Another detection tells of the same.
    Duplicate,
    /// Nothing more can be said.
    InsufficientData,
    /// Something else; the note says what.
    Other,
}

/// What changes of a detection. What is not named stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TriagePatch {
    /// The state.
    #[serde(default)]
    pub(crate) state: Option<State>,
    /// Who looks at it; empty: nobody.
    #[serde(default)]
    pub(crate) assignee: Option<String>,
    /// Why it is closed; needed for that.
    #[serde(default)]
    pub(crate) reason: Option<Verdict>,
    /// What is to be said; sanitised as everything is.
    #[serde(default)]
    pub(crate) note: Option<String>,
}

/// What somebody did with a detection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct TriageChange {
    /// When (RFC 3339).
    pub(crate) time: String,
    /// Who: the key's id.
    pub(crate) by: String,
    /// The key's name.
    pub(crate) by_name: Option<String>,
    /// The state since then, where that was said.
    pub(crate) state: Option<State>,
    /// Who looks at it since then, where that was said; empty: nobody.
    pub(crate) assignee: Option<String>,
    /// Why it was closed.
    pub(crate) reason: Option<Verdict>,
    /// What was said.
    pub(crate) note: Option<String>,
}

impl TriagePatch {
    /// Looks whether it is possible.
    pub(super) fn check(&self) -> Result<(), TriageError> {
        let Self { state, assignee, reason, note } = self;
        let refuse = |message: &str| Err(TriageError::Refused(message.to_owned()));
        if state.is_none() && assignee.is_none() && note.is_none() {
            return refuse("nothing changes: name a state, an assignee or a note");
        }
        if *state == Some(State::Closed) && reason.is_none() {
            return refuse(
                "reason: closing needs one of true_positive, false_positive, benign, test, duplicate, insufficient_data, other",
            );
        }
        if *state != Some(State::Closed) && reason.is_some() {
            return refuse("reason: it goes with the state closed alone");
        }
        if *reason == Some(Verdict::Other) && note.as_ref().is_none_or(|note| note.trim().is_empty()) {
            return refuse("note: the reason `other` needs one");
        }
        at_most("assignee", assignee.as_deref().unwrap_or_default(), NAME_BYTES_MAX)?;
        at_most("note", note.as_deref().unwrap_or_default(), NOTE_BYTES_MAX)
    }
}

/// Refuses a text that is too long.
pub(super) fn at_most(what: &str, text: &str, bytes_max: usize) -> Result<(), TriageError> {
    if text.len() <= bytes_max {
        return Ok(());
    }
    Err(TriageError::Refused(format!("{what}: {} bytes, at most {bytes_max} can be", text.len())))
}

/// Refuses a text that is empty or too long.
pub(super) fn needed(what: &str, text: &str, bytes_max: usize) -> Result<(), TriageError> {
    if text.trim().is_empty() {
        return Err(TriageError::Refused(format!("{what}: it must not be empty")));
    }
    at_most(what, text, bytes_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_possible_is_refused_with_the_field() {
        let patch = |json: &str| serde_json::from_str::<TriagePatch>(json).unwrap();
        for (json, field) in [
            ("{}", "nothing changes"),
            (r#"{"state":"closed"}"#, "reason"),
            (r#"{"state":"open","reason":"benign"}"#, "reason"),
            (r#"{"state":"closed","reason":"other","note":" "}"#, "note"),
        ] {
            let error = patch(json).check().unwrap_err().to_string();
            assert!(error.starts_with(field), "{json}: {error}");
        }
        let long = TriagePatch { note: Some("x".repeat(NOTE_BYTES_MAX + 1)), ..TriagePatch::default() };
        assert!(long.check().unwrap_err().to_string().starts_with("note"));
        for json in [r#"{"state":"open"}"#, r#"{"assignee":""}"#, r#"{"note":"x"}"#, r#"{"state":"closed","reason":"test"}"#] {
            patch(json).check().unwrap();
        }
        assert!(serde_json::from_str::<TriagePatch>(r#"{"stat":"open"}"#).is_err());
    }
}
