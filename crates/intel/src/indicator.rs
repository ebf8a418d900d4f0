//! An indicator, whatever feed it came from.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Most examples that are kept for each reason why something was left out.
const EXAMPLES_MAX: usize = 3;
/// Longest example, in characters.
const EXAMPLE_CHARS_MAX: usize = 120;

/// Longest label that is kept, in characters: each of half a million indicators of one event of MISP has that of the event.
const LABEL_CHARS_MAX: usize = 256;
/// Most reasons that are told apart, and the longest one in characters: feeds write parts of them.
const REASONS_MAX: usize = 64;
/// See [`REASONS_MAX`].
const REASON_CHARS_MAX: usize = 160;
/// What counts those beyond.
const OTHER_REASONS: &str = "other reasons";

/// What an indicator names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A domain: it, and every name below it.
    Domain,
    /// A URL.
    Url,
    /// An IP address or a network.
    Ip,
    /// An e-mail address.
    Email,
    /// The hash of a file or of a package.
    Hash,
    /// A user agent, as a client states it.
    UserAgent,
    /// A command line.
    Command,
    /// A package: `pypi/name`, `npm/@scope/name`, with `@version` where only that one is meant.
    Package,
    /// The name of an MCP server.
    McpServer,
    /// A prompt, by the digest of its normal form.
    Prompt,
    /// A prompt and what is nearly the same, by MinHash.
    NearPrompt,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Domain,
        Self::Url,
        Self::Ip,
        Self::Email,
        Self::Hash,
        Self::UserAgent,
        Self::Command,
        Self::Package,
        Self::McpServer,
        Self::Prompt,
        Self::NearPrompt,
    ];

    /// The name that JSON, rules and the command line use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Domain => "domain",
            Self::Url => "url",
            Self::Ip => "ip",
            Self::Email => "email",
            Self::Hash => "hash",
            Self::UserAgent => "user_agent",
            Self::Command => "command",
            Self::Package => "package",
            Self::McpServer => "mcp_server",
            Self::Prompt => "prompt",
            Self::NearPrompt => "near_prompt",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// With whom it may be shared: the Traffic Light Protocol 2.0 of FIRST, the least strict first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tlp {
    /// With everybody.
    #[default]
    Clear,
    /// Within the community.
    Green,
    /// Within the organisation and with its clients.
    Amber,
    /// Within the organisation.
    AmberStrict,
    /// With nobody else.
    Red,
}

impl Tlp {
    /// The label, as in `TLP:AMBER+STRICT`, without `TLP:`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clear => "CLEAR",
            Self::Green => "GREEN",
            Self::Amber => "AMBER",
            Self::AmberStrict => "AMBER+STRICT",
            Self::Red => "RED",
        }
    }

    /// Reads a label of TLP 1.0 or 2.0, with or without `TLP:` before it.
    #[must_use]
    pub fn of_label(label: &str) -> Option<Self> {
        let lower = label.trim().to_ascii_lowercase();
        Some(match lower.strip_prefix("tlp:").unwrap_or(&lower).trim() {
            "white" | "clear" => Self::Clear,
            "green" => Self::Green,
            "amber" => Self::Amber,
            "amber+strict" | "amber_strict" | "amber-strict" => Self::AmberStrict,
            "red" => Self::Red,
            _ => return None,
        })
    }
}

/// A value that somebody warns of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Indicator {
    /// Its id: that of STIX or MISP, or one that is derived from the source, the kind and the value.
    pub id: Uuid,
    /// What it names.
    pub kind: Kind,
    /// The value in its normal form ([`normalize`](crate::normalize)).
    pub value: String,
    /// Who warns of it.
    pub source: String,
    /// How sure the source is, 0 to 100.
    pub confidence: u8,
    /// With whom it may be shared.
    #[serde(default)]
    pub tlp: Tlp,
    /// From when it holds, in seconds since 1970; from ever where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<i64>,
    /// Until when; for good where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<i64>,
    /// What it is of: a family of malware, a campaign, a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// When the source changed it last, in seconds since 1970.
    #[serde(default)]
    pub modified: i64,
}

impl Indicator {
    /// The id of an indicator whose source gives it none: the same for the same value of the same source.
    #[must_use]
    pub fn derived_id(source: &str, kind: Kind, value: &str) -> Uuid {
        let digest = aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA256,
            format!("watchkeeper indicator\0{source}\0{kind}\0{value}").as_bytes(),
        );
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest.as_ref()[..16]);
        Uuid::new_v8(bytes)
    }

    /// A label, cut where it is too long; none of an empty text.
    pub(crate) fn label_of(text: &str) -> Option<String> {
        (!text.is_empty()).then(|| text.chars().take(LABEL_CHARS_MAX).collect())
    }

    /// The id as STIX writes it.
    #[must_use]
    pub fn stix_id(&self) -> String {
        format!("indicator--{}", self.id)
    }
}

/// What a feed held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// The indicators that can be looked up.
    pub indicators: Vec<Indicator>,
    /// Ids of indicators that the source has taken back.
    pub revoked: Vec<Uuid>,
    /// What was left out.
    pub problems: Problems,
}

/// What was left out of a feed, by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problems(BTreeMap<String, Left>);

/// How much was left out for one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// How many.
    pub count: u64,
    /// Some of them.
    pub examples: Vec<String>,
}

impl Problems {
    /// Notes that something was left out.
    pub fn note(&mut self, reason: &str, example: &str) {
        let left = self.of(reason);
        left.count += 1;
        if left.examples.len() < EXAMPLES_MAX {
            left.examples.push(example.chars().filter(|c| !c.is_control()).take(EXAMPLE_CHARS_MAX).collect());
        }
    }

    /// Adds what was left out of another reading.
    pub fn add(&mut self, other: Self) {
        for (reason, left) in other.0 {
            let known = self.of(&reason);
            known.count = known.count.saturating_add(left.count);
            let room = EXAMPLES_MAX.saturating_sub(known.examples.len());
            known.examples.extend(left.examples.into_iter().take(room));
        }
    }

    fn of(&mut self, reason: &str) -> &mut Left {
        let mut reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
        if self.0.len() >= REASONS_MAX && !self.0.contains_key(&reason) {
            OTHER_REASONS.clone_into(&mut reason);
        }
        self.0.entry(reason).or_default()
    }

    /// How much was left out, for whatever reason.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.values().map(|left| left.count).sum()
    }

    /// Each reason, how often, and examples.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Left)> {
        self.0.iter().map(|(reason, left)| (reason.as_str(), left))
    }
}

impl Reading {
    /// Adds a value to the indicators, or says why it is none. `base` is an indicator of the same source with another value.
    pub(crate) fn take(&mut self, base: &Indicator, kind: Kind, raw: &str) {
        match crate::normalize(kind, raw) {
            Some(value) => {
                let id = if base.id.is_nil() { Indicator::derived_id(&base.source, kind, &value) } else { base.id };
                self.indicators.push(Indicator { id, kind, value, ..base.clone() });
            }
            None => self.problems.note(&format!("no {kind}"), raw),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_a_feed_writes_are_bounded_and_none_is_lost() {
        let mut problems = Problems::default();
        for n in 0..1_000 {
            problems.note(&format!("a type that is not matched: {n} {}", "x".repeat(1_000)), "example");
        }
        let mut sum = Problems::default();
        sum.note("another", "a");
        sum.add(problems.clone());
        for one in [&problems, &sum] {
            assert!(one.iter().count() <= REASONS_MAX + 1 && one.iter().all(|(reason, _)| reason.len() <= REASON_CHARS_MAX));
        }
        assert_eq!((problems.count(), sum.count()), (1_000, 1_001));
        assert_eq!(Indicator::label_of(&"ä".repeat(1_000)).map(|label| label.chars().count()), Some(LABEL_CHARS_MAX));
        assert_eq!(Indicator::label_of(""), None);
    }
}
