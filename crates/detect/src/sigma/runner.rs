//! Rules over arbitrary JSON events: what `watchkeeper detect --rules DIR --events FILE` does.

use serde_json::Value as Json;

use super::Sigma;
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
        let hits = self.sigma.correlate(event, "", matches, time_s);
        hits.into_iter().filter_map(|hit| self.rules.match_at(hit.rule)).collect()
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
#[allow(clippy::cast_possible_truncation)]
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

/// Seconds since 1970 of `YYYY-MM-DD[T ]hh:mm:ss[.fff][Z|±hh:mm]`; without a zone it is UTC.
fn rfc3339_s(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let bytes = text.as_bytes();
    let separated = bytes[4] == b'-' && bytes[7] == b'-' && bytes[13] == b':' && bytes[16] == b':';
    if !separated || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let zone = text.get(19..)?.trim_start_matches(|c: char| c == '.' || c == ',' || c.is_ascii_digit()).trim();
    let offset = match zone.as_bytes() {
        [] | [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), ..] => {
            let digits: String = zone.chars().filter(char::is_ascii_digit).collect();
            let minutes = digits.get(0..2)?.parse::<i64>().ok()? * 60 + digits.get(2..4).unwrap_or("0").parse::<i64>().ok()?;
            if *sign == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    // Days since 1970 by the civil calendar (H. Hinnant, "chrono-compatible low-level date algorithms").
    let year_of_march = if month <= 2 { year - 1 } else { year };
    let era = year_of_march.div_euclid(400);
    let year_of_era = year_of_march - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second - offset * 60)
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
