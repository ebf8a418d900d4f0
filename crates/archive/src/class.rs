//! Names of retention classes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name of a class.
const CLASS_BYTES_MAX: usize = 64;

/// A retention class: records of one class lie in segments of their own, so that they can be dropped together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Class(String);

/// Why a text names no class.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("retention class must be 1 to {CLASS_BYTES_MAX} characters of a-z, 0-9 and '-'")]
pub struct ClassError;

impl Class {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Class {
    type Err = ClassError;

    fn from_str(name: &str) -> Result<Self, ClassError> {
        let fits = (1..=CLASS_BYTES_MAX).contains(&name.len())
            && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if fits { Ok(Self(name.to_owned())) } else { Err(ClassError) }
    }
}

impl TryFrom<String> for Class {
    type Error = ClassError;

    fn try_from(name: String) -> Result<Self, ClassError> {
        name.parse()
    }
}

impl From<Class> for String {
    fn from(class: Class) -> Self {
        class.0
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
