//! Spans of time that are asked for.

use event::Timestamp;
use store::Buckets;

use crate::http_api::ApiError;
use crate::times::time_of;

/// How long a span is where nobody says it, in nanoseconds: a day.
const SPAN_NS: i64 = 86_400 * 1_000_000_000;

/// A span of time, cut into buckets.
#[derive(Debug)]
pub(super) struct Span {
    /// From this time on (RFC 3339).
    pub(super) since: String,
    /// Before this time.
    pub(super) until: String,
    pub(super) buckets: Buckets,
}

impl Span {
    /// The span of a request; by default the last day. `grain_s` are the seconds that the store counts by.
    pub(super) fn of(since: Option<&str>, until: Option<&str>, bucket_s: Option<u64>, grain_s: u64) -> Result<Self, ApiError> {
        let until_ns = time_ns("until", until)?.unwrap_or_else(now_ns);
        let since_ns = time_ns("since", since)?.unwrap_or_else(|| until_ns.saturating_sub(SPAN_NS).max(0));
        if since_ns >= until_ns {
            return Err(ApiError::bad_request("since: it must be before until"));
        }
        let shown = |ns: i64| store::iso_time(Timestamp::from_unix_ns(ns.unsigned_abs()));
        let buckets = Buckets::cover(since_ns, until_ns, bucket_s, grain_s);
        Ok(Self { since: shown(since_ns), until: shown(until_ns), buckets })
    }
}

/// A time of a request, in nanoseconds since 1970.
pub(super) fn time_ns(field: &str, text: Option<&str>) -> Result<Option<i64>, ApiError> {
    let read = |text: &str| {
        let time = time_of(text).ok_or_else(|| {
            ApiError::bad_request(format!("{field}: {text:.40?} is no time; RFC 3339 is needed, such as 2026-01-31T08:00:00Z"))
        })?;
        Ok(i64::try_from(time.unix_ns()).unwrap_or(i64::MAX))
    };
    text.map(read).transpose()
}

/// Now, in nanoseconds since 1970.
pub(super) fn now_ns() -> i64 {
    i64::try_from(Timestamp::now().unix_ns()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_the_last_day_where_nobody_says_it_and_is_never_empty() {
        let span = Span::of(None, Some("2026-01-02T00:00:00Z"), None, 60).unwrap();
        assert_eq!((span.since.as_str(), span.buckets.seconds()), ("2026-01-01T00:00:00.000000Z", 1_800));
        for (since, until) in [
            ("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"),
            ("x", "2026-01-01T00:00:00Z"),
            ("2026-01-01", "2026-01-02T00:00:00Z"),
        ] {
            assert!(Span::of(Some(since), Some(until), None, 60).is_err(), "{since} {until}");
        }
        assert_eq!(time_ns("since", Some("1969-12-31T23:59:59Z")).ok(), None);
    }
}
