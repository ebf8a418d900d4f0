//! Who may do what.

use serde::{Deserialize, Serialize};

/// What a key lets its holder do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything, keys included.
    Admin,
    /// Reads the record, contents included.
    Analyst,
    /// Reads the record without contents, and verifies.
    Auditor,
    /// Sends events and asks for scores; reads nothing.
    Sensor,
}

/// A permission that a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// What every key may: ask who one is.
    Any,
    /// Send events, score text.
    Send,
    /// Read what holds no contents: status, live rows, detections.
    ReadRecord,
    /// Read contents: traces, search, SQL. Every use is recorded.
    ReadContent,
    /// Say what becomes of detections: state, assignee, notes, suppressions.
    Triage,
    /// Administer.
    Administer,
}

impl Role {
    /// Whether the role includes the permission.
    #[must_use]
    pub fn allows(self, access: Access) -> bool {
        match access {
            Access::Send => matches!(self, Self::Admin | Self::Sensor),
            Access::ReadRecord => matches!(self, Self::Admin | Self::Analyst | Self::Auditor),
            Access::Any => true,
            Access::ReadContent | Access::Triage => matches!(self, Self::Admin | Self::Analyst),
            Access::Administer => matches!(self, Self::Admin),
        }
    }

    /// The name that JSON and the command line use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Analyst => "analyst",
            Self::Auditor => "auditor",
            Self::Sensor => "sensor",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Self, UnknownRole> {
        [Self::Admin, Self::Analyst, Self::Auditor, Self::Sensor]
            .into_iter()
            .find(|role| role.as_str() == name)
            .ok_or(UnknownRole)
    }
}

/// There is no such role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("role must be one of admin, analyst, auditor, sensor")]
pub struct UnknownRole;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_admins_administer_and_sensors_read_nothing() {
        for role in [Role::Analyst, Role::Auditor, Role::Sensor] {
            assert!(!role.allows(Access::Administer), "{role:?}");
        }
        assert!(!Role::Sensor.allows(Access::ReadRecord));
        assert!(!Role::Auditor.allows(Access::ReadContent));
    }
}
