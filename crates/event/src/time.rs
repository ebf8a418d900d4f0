//! Points in time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Nanoseconds since 1970-01-01T00:00:00Z, never negative: OTLP's own unit (`fixed64`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn from_unix_ns(ns: u64) -> Self {
        Self(ns)
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn unix_ns(self) -> u64 {
        self.0
    }

    /// The system's clock. A clock that stands before 1970 reads as 1970: time is recorded, never trusted for order.
    #[must_use]
    pub fn now() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// The time as people and SQL read it (RFC 3339, UTC), with as many digits of the second as there are.
    #[must_use]
    pub fn rfc3339(self) -> String {
        // The calendar ends behind the last time that there is: in the year 2554.
        jiff::Timestamp::from_nanosecond(i128::from(self.0)).map(|time| time.to_string()).unwrap_or_default()
    }

    /// Nanoseconds from `earlier` to `self`, zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (ns, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_700_000_000_000_000_000, "2023-11-14T22:13:20Z"),
            (1_700_000_000_120_000_000, "2023-11-14T22:13:20.12Z"),
            (u64::MAX, "2554-07-21T23:34:33.709551615Z"),
        ] {
            assert_eq!(Timestamp::from_unix_ns(ns).rfc3339(), text);
        }
    }
}
