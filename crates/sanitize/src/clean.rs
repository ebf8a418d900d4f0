//! [`Clean`]: text that has been through the sanitiser.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// Text from which sensitive values have been removed (invariant I2).
///
/// Made by a [`Sanitizer`](crate::Sanitizer), or read back from a record, where nothing else can stand. What takes a `Clean`
/// cannot be given text as it came by accident. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Clean(Arc<str>);

impl Clean {
    /// Only for the sanitiser.
    pub(crate) fn attest(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// Text that is part of this program and so holds nothing of anybody.
    #[must_use]
    pub fn literal(text: &'static str) -> Self {
        Self(text.into())
    }

    /// Text read back from a record, where only clean text can stand. For the readers of records (`journal`,
    /// `store`) and for tests, nobody else. Nothing but this sentence holds that yet.
    #[must_use]
    pub fn recorded(text: &str) -> Self {
        Self(text.into())
    }

    /// Ciphertext in base64: nobody can read anything in it.
    #[must_use]
    pub fn ciphertext(bytes: &[u8]) -> Self {
        Self(STANDARD.encode(bytes).into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same text with `#n` after it: what a map key becomes when sanitising has made it equal to another one.
    #[must_use]
    pub fn numbered(&self, n: usize) -> Self {
        Self(format!("{}#{n}", self.0).into())
    }

    /// A part of the text: what is cut out of clean text is clean. `None` when a bound is no character boundary.
    #[must_use]
    pub fn slice(&self, bytes: std::ops::Range<usize>) -> Option<Self> {
        self.0.get(bytes).map(|part| Self(part.into()))
    }
}

impl Deref for Clean {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Clean {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Clean {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Clean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Clean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}
