//! What a value was found as: a type that is built in, or one of the operator's.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::SensitiveType;

/// The type of a value that was found.
///
/// The order is that of precedence, as in [`SensitiveType`]; types of the operator stand behind the secrets, which they cannot
/// hide, and before what is personal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TypeName {
    /// A type that is built in.
    Builtin(SensitiveType),
    /// A type of the configuration ([`CustomSpec`](crate::CustomSpec)), by its name.
    Custom(Arc<str>),
}

impl TypeName {
    /// The name that JSON, the command line and tokens use.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Builtin(kind) => kind.as_str(),
            Self::Custom(name) => name,
        }
    }

    /// Whether it is something that opens a door. Types of the operator are not: they are values that tell of somebody or
    /// something.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        matches!(self, Self::Builtin(kind) if kind.is_secret())
    }

    pub(crate) fn is_custom(&self) -> bool {
        matches!(self, Self::Custom(_))
    }

    fn rank(&self) -> (u8, Option<SensitiveType>, &str) {
        match self {
            Self::Builtin(kind) if kind.is_secret() => (0, Some(*kind), ""),
            Self::Custom(name) => (1, None, name),
            Self::Builtin(kind) => (2, Some(*kind), ""),
        }
    }
}

impl From<SensitiveType> for TypeName {
    fn from(kind: SensitiveType) -> Self {
        Self::Builtin(kind)
    }
}

impl PartialEq<SensitiveType> for TypeName {
    fn eq(&self, other: &SensitiveType) -> bool {
        matches!(self, Self::Builtin(kind) if kind == other)
    }
}

impl PartialOrd for TypeName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TypeName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl fmt::Display for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for TypeName {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for TypeName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        Ok(SensitiveType::from_name(&name).map_or_else(|| Self::Custom(name.into()), Self::Builtin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_of_the_operator_stands_between_secrets_and_personal_data() {
        let custom = TypeName::Custom("EMPLOYEE_ID".into());
        for kind in SensitiveType::ALL {
            let builtin = TypeName::from(*kind);
            assert_eq!(builtin < custom, kind.is_secret(), "{kind}");
            assert_eq!(serde_json::from_value::<TypeName>(serde_json::to_value(&builtin).unwrap()).unwrap(), builtin);
        }
        let builtin: Vec<TypeName> = SensitiveType::ALL.iter().map(|kind| TypeName::from(*kind)).collect();
        assert!(builtin.is_sorted());
        assert_eq!(serde_json::from_value::<TypeName>(serde_json::to_value(&custom).unwrap()).unwrap(), custom);
    }
}
