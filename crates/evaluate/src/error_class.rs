//! Why an answer has no score, in words of ours: what an endpoint says of its failure is a stranger's text.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// What stands before the class of a judge's failure.
const OF_JUDGE: &str = "judge_";

/// A kind of failure, named as OpenTelemetry's `error.type` has it: few values, none of them of anybody else's choosing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ErrorClass {
    failure: Failure,
    is_of_judge: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    NotAsked,
    Unreachable,
    Timeout,
    Status(u16),
    Unreadable,
    NoScore,
}

impl ErrorClass {
    /// It was not asked.
    pub const NOT_ASKED: Self = Self::of(Failure::NotAsked);
    /// Nobody answered at the address.
    pub const UNREACHABLE: Self = Self::of(Failure::Unreachable);
    /// The answer did not come in time.
    pub const TIMEOUT: Self = Self::of(Failure::Timeout);
    /// What came is no answer of the interface.
    pub const UNREADABLE: Self = Self::of(Failure::Unreadable);
    /// A judge answered without a score.
    pub const NO_SCORE: Self = Self { failure: Failure::NoScore, is_of_judge: true };

    const fn of(failure: Failure) -> Self {
        Self { failure, is_of_judge: false }
    }

    /// It was answered with this status of HTTP.
    #[must_use]
    pub const fn status(status: u16) -> Self {
        Self::of(Failure::Status(status))
    }

    /// The same of the model that judges.
    #[must_use]
    pub const fn of_judge(self) -> Self {
        Self { is_of_judge: true, ..self }
    }

    /// The value of `error.type`.
    #[must_use]
    pub fn name(self) -> String {
        let name = match self.failure {
            Failure::NotAsked => "not_asked".to_owned(),
            Failure::Unreachable => "unreachable".to_owned(),
            Failure::Timeout => "timeout".to_owned(),
            Failure::Status(status) => status.to_string(),
            Failure::Unreadable => "unreadable_answer".to_owned(),
            Failure::NoScore => "no_score".to_owned(),
        };
        if self.is_of_judge { format!("{OF_JUDGE}{name}") } else { name }
    }

    fn read(name: &str) -> Option<Self> {
        let (name, is_of_judge) = name.strip_prefix(OF_JUDGE).map_or((name, false), |rest| (rest, true));
        let failure = match name {
            "not_asked" => Failure::NotAsked,
            "unreachable" => Failure::Unreachable,
            "timeout" => Failure::Timeout,
            "unreadable_answer" => Failure::Unreadable,
            "no_score" => Failure::NoScore,
            // Three digits, as a status has them, whatever the first says, and written in one way.
            status => Failure::Status(status.parse().ok().filter(|status| (100..=999).contains(status) && name.len() == 3)?),
        };
        Some(Self { failure, is_of_judge })
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_of_judge {
            f.write_str("the judge: ")?;
        }
        match self.failure {
            Failure::NotAsked => f.write_str("it was not asked"),
            Failure::Unreachable => f.write_str("nobody answers at the address"),
            Failure::Timeout => f.write_str("no answer in time"),
            Failure::Status(status @ (401 | 403)) => write!(f, "the key is refused (HTTP {status})"),
            Failure::Status(status @ 404) => write!(f, "there is no such path or model (HTTP {status})"),
            Failure::Status(status @ 429) => write!(f, "too many requests (HTTP {status})"),
            Failure::Status(status @ 300..=399) => write!(f, "a redirect, which is not followed (HTTP {status})"),
            Failure::Status(status @ 500..=599) => write!(f, "the endpoint failed (HTTP {status})"),
            Failure::Status(status) => write!(f, "the request is refused (HTTP {status})"),
            Failure::Unreadable => f.write_str("the answer is not that of the interface"),
            Failure::NoScore => f.write_str("no score between 0 and 1"),
        }
    }
}

impl From<ErrorClass> for String {
    fn from(class: ErrorClass) -> Self {
        class.name()
    }
}

impl TryFrom<String> for ErrorClass {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::read(&name).ok_or("no class of errors")
    }
}

/// Why an answer has no score, also where nothing is known of it.
pub(crate) fn why(class: Option<ErrorClass>) -> String {
    class.map_or_else(|| "no score".to_owned(), |class| class.to_string())
}

/// A class as it stands in a file or a report. One that is not known here is none: what another version wrote stays readable.
pub(crate) fn known<'de, D: Deserializer<'de>>(from: D) -> Result<Option<ErrorClass>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.as_deref().and_then(ErrorClass::read))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_read_as_it_is_written_and_nobody_elses_words_are_one() {
        let all = [
            ErrorClass::NOT_ASKED,
            ErrorClass::UNREACHABLE,
            ErrorClass::TIMEOUT,
            ErrorClass::UNREADABLE,
            ErrorClass::NO_SCORE,
            ErrorClass::status(401),
            ErrorClass::status(503).of_judge(),
            ErrorClass::status(999),
        ];
        for class in all {
            assert_eq!(ErrorClass::read(&class.name()), Some(class));
            assert!(!class.to_string().is_empty());
        }
        assert_eq!(ErrorClass::status(503).of_judge().name(), "judge_503");
        for words in ["", "+40", "0401", "099", "1000", "ask ann@example.com", "judge_", "Timeout", "judge_judge_401"] {
            assert!(serde_json::from_value::<ErrorClass>(words.into()).is_err(), "{words}");
        }
    }
}
