//! [`Raw`]: text as it came.

use std::fmt;

/// Text as it came: it may hold anything, secrets and attacks included. It cannot be printed or serialised; the only
/// way on is the sanitiser.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Raw(String);

/// An event as captured.
pub type RawEvent = event::Event<Raw>;

impl Raw {
    /// The text, for the decoder and the sanitiser.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Raw {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<String> for Raw {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Raw {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Raw({} bytes)", self.0.len())
    }
}
