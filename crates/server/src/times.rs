//! Times as people and programs write them.

use event::Timestamp;

/// A time as RFC 3339 has it, from 1970 on.
pub(crate) fn time_of(text: &str) -> Option<Timestamp> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp::from_unix_ns(time.as_nanosecond().try_into().ok()?))
}
