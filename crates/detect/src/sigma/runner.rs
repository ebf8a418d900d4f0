//! Rules over arbitrary JSON events: what `watchkeeper detect --rules DIR --events FILE` does.

use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use serde_json::Value as Json;

use super::Sigma;
use super::explain::Explanation;
use crate::rules::RuleSet;

/// A rule that fired on an event.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Match {
    /// The rule's id.
    pub rule: String,
    /// Its title.
    pub title: String,
}

/// The rules that match one event, in the order of the set, by plain Sigma semantics: log sources are not looked at,
/// correlations need a stream and a [`Runner`].
#[must_use]
pub fn match_json(rules: &RuleSet, event: &Json) -> Vec<Match> {
    let sigma = rules.sigma();
    let matches = sigma.matches(event, None);
    let positions = sigma.positions(&matches);
    positions.into_iter().filter(|position| sigma.speaks(*position)).filter_map(|position| rules.match_at(position)).collect()
}

/// Applies rules and correlations to a stream of JSON events.
pub struct Runner {
    rules: RuleSet,
    sigma: Sigma,
    seen: i64,
}

/// Fields that tell when an event happened, in the order in which they are tried.
const TIME_FIELDS: [&str; 8] =
    ["@timestamp", "timestamp", "time", "EventTime", "TimeCreated", "eventTime", "UtcTime", "event.created"];

impl Runner {
    /// A runner with empty windows.
    #[must_use]
    pub fn new(mut rules: RuleSet) -> Self {
        let sigma = rules.take_sigma();
        Self { rules, sigma, seen: 0 }
    }

    /// The rules that fire on the next event: those that match it and the correlations that it completes.
    ///
    /// An event without a time that can be read (RFC 3339 text, or seconds, milliseconds or nanoseconds since 1970) is taken
    /// to happen when the one before it did.
    pub fn next(&mut self, event: &Json) -> Vec<Match> {
        let time_s = time_s(event).unwrap_or(self.seen);
        self.seen = time_s;
        let matches = self.sigma.matches(event, None);
        let hits = self.sigma.correlate(event, None, matches, time_s);
        hits.into_iter().filter_map(|hit| self.rules.match_at(hit.rule)).collect()
    }

    /// Why a rule matches an event, or does not; of a correlation as its windows are after the events so far, of which this is the last.
    /// `None` when no rule has that id.
    #[must_use]
    pub fn explain(&self, rule: &str, event: &Json) -> Option<Explanation> {
        self.rules.explain(&self.sigma, self.rules.position(rule)?, event)
    }
}

fn time_s(event: &Json) -> Option<i64> {
    TIME_FIELDS.iter().find_map(|field| {
        let value = event.get(field).or_else(|| {
            let mut value = event;
            for part in field.split('.') {
                value = value.get(part)?;
            }
            Some(value)
        })?;
        match value {
            Json::Number(number) => number.as_f64().map(seconds),
            Json::String(text) => text.parse::<f64>().ok().map(seconds).or_else(|| rfc3339_s(text)),
            _ => None,
        }
    })
}

/// Seconds, milliseconds, microseconds or nanoseconds, told apart by size as everybody does.
#[expect(clippy::cast_possible_truncation, reason = "what is beyond the range becomes its end, which no window reaches")]
fn seconds(number: f64) -> i64 {
    let magnitude = number.abs();
    let unit = match magnitude {
        _ if magnitude < 1e11 => 1.0,
        _ if magnitude < 1e14 => 1e3,
        _ if magnitude < 1e17 => 1e6,
        _ => 1e9,
    };
    (number / unit) as i64
}

/// Seconds since 1970 of an RFC 3339 time; with a space for the `T`, too, and without a zone it is UTC.
fn rfc3339_s(text: &str) -> Option<i64> {
    let text = text.trim();
    let without_zone = || TimeZone::UTC.to_timestamp(text.parse::<civil::DateTime>().ok()?).ok();
    text.parse::<Timestamp>().ok().or_else(without_zone).map(|time| time.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_every_form_are_read() {
        for (value, seconds) in [
            (serde_json::json!("1970-01-01T00:00:10Z"), Some(10)),
            (serde_json::json!("2024-02-29 12:00:00.123"), Some(1_709_208_000)),
            (serde_json::json!("2024-02-29T13:00:00+01:00"), Some(1_709_208_000)),
            (serde_json::json!("2024-02-29T09:30:00.5-02:30"), Some(1_709_208_000)),
            (serde_json::json!("2023-02-29T12:00:00Z"), None),
            (serde_json::json!("2024-02-29T12:00:00+99:00"), None),
            (serde_json::json!(1_709_208_000), Some(1_709_208_000)),
            (serde_json::json!(1_709_208_000_123_i64), Some(1_709_208_000)),
            (serde_json::json!("1709208000123000000"), Some(1_709_208_000)),
            (serde_json::json!("ühñ4-é2-2"), None),
            (serde_json::json!(""), None),
        ] {
            assert_eq!(time_s(&serde_json::json!({ "@timestamp": value })), seconds, "{value}");
        }
    }
}
