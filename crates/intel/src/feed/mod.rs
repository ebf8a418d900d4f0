//! Feeds: bytes in a format that somebody publishes, to indicators.

mod abuse_ch;
mod columns;
mod misp;
mod plain;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::indicator::{Indicator, Kind, Reading, Tlp};

pub(crate) use self::misp::kinds_of as kinds_of_misp;
pub use self::misp::{Manifest, ManifestEntry};

/// A format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A bundle of STIX 2.1, or what TAXII gives of one.
    Stix,
    /// An event of MISP.
    Misp,
    /// CSV or JSON of abuse.ch: URLhaus, ThreatFox, Feodo Tracker, MalwareBazaar.
    AbuseCh,
    /// One value in a line, or a file of hosts.
    Plain,
}

/// What is known of a feed beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Who warns.
    pub source: String,
    /// How sure it is where it does not say, 0 to 100.
    pub confidence: u8,
    /// With whom it may be shared where it does not say.
    pub tlp: Tlp,
    /// What may not be shared with more than that is left out.
    pub tlp_max: Tlp,
    /// What values of a plain list are; told by their form where left out.
    pub kind: Option<Kind>,
    /// Seconds for which an indicator holds that does not say until when, from when it was seen last.
    pub expires_after_s: Option<i64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            source: "import".to_owned(),
            confidence: 50,
            tlp: Tlp::Clear,
            tlp_max: Tlp::Red,
            kind: None,
            expires_after_s: None,
        }
    }
}

/// Why bytes are no feed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// They are no UTF-8.
    #[error("is no UTF-8 text")]
    Text,
    /// They are no JSON of that form.
    #[error("is no {format}: {reason}")]
    Json {
        /// Of which format.
        format: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A table lacks what it takes.
    #[error("is no table of abuse.ch: no column of values is known among {0:?}; url, ioc_value, dst_ip and sha256_hash are")]
    Columns(Vec<String>),
    /// Nothing says what it is.
    #[error("is of no format that is known; name it: stix, misp, abuse_ch or plain")]
    Unknown,
}

impl Format {
    /// The format of a file, by its first bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?.trim_start_matches('\u{feff}').trim_start();
        if text.starts_with(['{', '[']) {
            let value: serde_json::Value = serde_json::from_str(text).ok()?;
            let has = |name: &str| value.get(name).is_some();
            return match () {
                () if has("Event") => Some(Self::Misp),
                () if has("objects") || value.get("type").is_some_and(|kind| kind == "bundle" || kind == "indicator") => {
                    Some(Self::Stix)
                }
                () => abuse_ch::is_json(&value).then_some(Self::AbuseCh),
            };
        }
        if columns::header(text).is_some_and(|header| abuse_ch::has_values(&header)) {
            return Some(Self::AbuseCh);
        }
        (!text.is_empty()).then_some(Self::Plain)
    }
}

/// Reads a feed.
///
/// # Errors
/// [`FeedError`] where the bytes as a whole are no feed of that format. A single indicator that cannot be used is told in
/// [`Reading::problems`].
pub fn read(format: Format, bytes: &[u8], options: &Options) -> Result<Reading, FeedError> {
    let text = std::str::from_utf8(bytes).map_err(|_| FeedError::Text)?.trim_start_matches('\u{feff}');
    let reading = match format {
        Format::Stix => crate::stix::read(text, options)?,
        Format::Misp => misp::read_event(text, options)?,
        Format::AbuseCh => abuse_ch::read(text, options)?,
        Format::Plain => plain::read(text, options),
    };
    Ok(bounded(reading, options))
}

/// Leaves out what may not be shared so far, and says until when the rest holds.
fn bounded(mut reading: Reading, options: &Options) -> Reading {
    let problems = &mut reading.problems;
    reading.indicators.retain(|one| {
        let may = one.tlp <= options.tlp_max;
        if !may {
            problems.note(&format!("TLP:{} is above what the feed may hold", one.tlp.as_str()), &one.stix_id());
        }
        may
    });
    if let Some(seconds) = options.expires_after_s {
        for one in &mut reading.indicators {
            let from = one.modified.max(one.valid_from.unwrap_or(i64::MIN));
            if one.valid_until.is_none() && from > 0 {
                one.valid_until = Some(from.saturating_add(seconds));
            }
        }
    }
    reading
}

/// An indicator of a feed without a value yet.
pub(crate) fn base(options: &Options) -> Indicator {
    Indicator {
        id: Uuid::nil(),
        kind: Kind::Domain,
        value: String::new(),
        source: options.source.clone(),
        confidence: options.confidence.min(100),
        tlp: options.tlp,
        valid_from: None,
        valid_until: None,
        label: None,
        modified: 0,
    }
}

/// A time as feeds write it, in seconds since 1970: RFC 3339, or `2026-01-31 12:00:00` with or without `UTC`.
pub(crate) fn time_s(text: &str) -> Option<i64> {
    let text = text.trim().trim_end_matches("UTC").trim_end();
    if text.is_empty() {
        return None;
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(time.as_second());
    }
    let date = if text.contains(':') { text.to_owned() } else { format!("{text} 00:00:00") };
    let time: jiff::civil::DateTime = date.replacen(' ', "T", 1).parse().ok()?;
    time.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|time| time.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_feeds_write_them() {
        for (text, expected) in [
            ("2026-01-31 12:00:00", Some(1_769_860_800)),
            ("2026-01-31 12:00:00 UTC", Some(1_769_860_800)),
            ("2026-01-31T12:00:00.5Z", Some(1_769_860_800)),
            ("2026-01-31", Some(1_769_817_600)),
            ("", None),
            ("soon", None),
        ] {
            assert_eq!(time_s(text), expected, "{text}");
        }
    }

    #[test]
    fn a_format_is_told_by_the_bytes() {
        for (text, expected) in [
            (r#"{"type":"bundle","objects":[]}"#, Some(Format::Stix)),
            (r#"{"more":false,"objects":[]}"#, Some(Format::Stix)),
            (r#"{"Event":{}}"#, Some(Format::Misp)),
            (r#"[{"ip_address":"45.9.148.7"}]"#, Some(Format::AbuseCh)),
            ("# x\n# id,dateadded,url\n\"1\",\"2026-01-31\",\"http://a.example/\"", Some(Format::AbuseCh)),
            ("evil.example", Some(Format::Plain)),
            ("{}", None),
            ("", None),
        ] {
            assert_eq!(Format::of(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_above_the_ceiling_is_left_out_and_what_says_nothing_expires() {
        let options = Options { tlp: Tlp::Red, tlp_max: Tlp::Amber, ..Options::default() };
        let reading = read(Format::Plain, b"evil.example", &options).unwrap();
        assert_eq!((reading.indicators.len(), reading.problems.count()), (0, 1));
        let options = Options { expires_after_s: Some(10), ..Options::default() };
        let text = "first_seen_utc,dst_ip,dst_port\n2026-01-31 12:00:00,45.9.148.7,443";
        let reading = read(Format::AbuseCh, text.as_bytes(), &options).unwrap();
        assert_eq!(reading.indicators[0].valid_until, Some(1_769_860_810));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_break_a_reader(text in r#"(\{|\}|\[|\]|"objects":|"Event":|"Attribute":|"type":"indicator"|"type":|"value":|"url"|,|:|"|url,ioc_value|\PC|\n|#){0,40}"#) {
            for format in [Format::Stix, Format::Misp, Format::AbuseCh, Format::Plain] {
                drop(read(format, text.as_bytes(), &Options::default()));
            }
            let _format = Format::of(text.as_bytes());
        }
    }
}
