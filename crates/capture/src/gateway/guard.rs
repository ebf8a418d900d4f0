//! What the gateway asks of whoever judges texts, so that it can decide before a text goes on.

use std::collections::BTreeSet;
use std::sync::Arc;

use event::{Finding, Piece, Verdict};

use crate::Raw;

/// Judges texts: work that is bounded and linear in its input, and short for short texts unless it says that it may wait.
pub trait Guard: Send + Sync + 'static {
    /// Says what the texts are evidence of, and what in them is sensitive.
    fn judge(&self, pieces: &[Piece<Raw>]) -> Judgement;

    /// One who judges the same, and beside it whether answers give away these instructions of the operator. `None` where there is
    /// nothing in them to give away.
    fn instructed(&self, instructions: &[&str]) -> Option<Arc<dyn Guard>> {
        let _ = instructions;
        None
    }

    /// Whether judging may wait for somebody else, and so must leave the network's threads however short the text is.
    fn may_wait(&self) -> bool {
        false
    }

    /// What has to be replaced in a free text.
    fn text_edits(&self, text: &str) -> Vec<Edit>;

    /// Where words end, in bytes, behind which a sensitive value of several words may stand as soon as more of the text has come.
    fn announcements(&self, text: &str) -> Vec<usize>;

    /// What has to be replaced in a JSON text, except in the values of which `is_left` says so by key and text; `None` when it is no
    /// JSON.
    fn json_edits(&self, json: &str, is_left: &dyn Fn(Option<&str>, &str) -> bool) -> Option<Vec<Edit>>;
}

/// What was seen in texts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Judgement {
    /// The highest score of an attack, 0 to 1.
    pub score: f32,
    /// The highest findings.
    pub findings: Vec<Finding>,
    /// Types of sensitive values that stand in the texts.
    pub sensitive: BTreeSet<String>,
    /// How many sensitive values stand in the texts.
    pub sensitive_values: u32,
    /// Bytes of text that were scanned.
    pub scanned_bytes: u64,
    /// Bytes of text that were not, because they are beyond a limit.
    pub unscanned_bytes: u64,
}

/// What has to be written in the place of what. Offsets are bytes of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// First byte that is replaced.
    pub start: usize,
    /// One past the last.
    pub end: usize,
    /// What comes in its place.
    pub text: String,
}

impl Judgement {
    /// Adds what was seen in other texts.
    pub(super) fn add(&mut self, other: Self) {
        self.score = self.score.max(other.score);
        self.findings.extend(other.findings);
        self.findings.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.sensitive.extend(other.sensitive);
        self.sensitive_values = self.sensitive_values.saturating_add(other.sensitive_values);
        self.scanned_bytes += other.scanned_bytes;
        self.unscanned_bytes += other.unscanned_bytes;
    }

    /// Notes the sensitive values that the edits of a whole body replace: those of its texts, and all others.
    pub(super) fn note_edits(&mut self, edits: &[Edit]) {
        self.sensitive_values = self.sensitive_values.max(u32::try_from(edits.len()).unwrap_or(u32::MAX));
        self.sensitive.extend(edits.iter().map(|edit| edit.kind().to_owned()));
    }

    /// What is advised for its score.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        Verdict::of_score(self.score)
    }
}

impl Edit {
    /// The type of what is replaced: a token (`<EMAIL:...>`) says what it stands for.
    pub(super) fn kind(&self) -> &str {
        self.text.trim_start_matches(['"', '<']).split([':', '>']).next().unwrap_or_default()
    }
}

/// Fields whose value may be opaque: bytes in base64, and what the provider signed or encrypted. Changed, they would be damaged, and
/// there is nothing in them to read.
const OPAQUE: [&str; 16] = [
    "data",
    "bytes",
    "b64_json",
    "file_data",
    "url",
    "image_url",
    "fileUri",
    "file_uri",
    "result",
    "partial_image_b64",
    "audio",
    "delta",
    "signature",
    "thoughtSignature",
    "thought_signature",
    "encrypted_content",
];

/// Shortest opaque value, in characters.
const OPAQUE_CHARS_MIN: usize = 256;

/// Numbers of an API that are none of a person.
const NUMBERS: [&str; 9] = [
    "created",
    "created_at",
    "completed_at",
    "expires_at",
    "seed",
    "max_tokens",
    "maxOutputTokens",
    "max_output_tokens",
    "budget_tokens",
];

/// Whether a value of an API's body stays as it is when the body is redacted.
pub(super) fn is_opaque(key: Option<&str>, value: &str) -> bool {
    let Some(key) = key else { return false };
    if NUMBERS.contains(&key) {
        return value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    }
    if !OPAQUE.contains(&key) {
        return false;
    }
    let body = match value.strip_prefix("data:") {
        Some(rest) => rest.split_once("base64,").map(|(_, body)| body),
        None => (value.len() >= OPAQUE_CHARS_MIN).then_some(value),
    };
    body.is_some_and(|body| {
        body.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'='))
    })
}

/// A text with its edits made. They are in order and do not overlap.
pub(super) fn edited(text: &str, edits: &[Edit]) -> String {
    let mut out = String::with_capacity(text.len() + 16 * edits.len());
    let mut from = 0;
    for edit in edits {
        out.push_str(text.get(from..edit.start).unwrap_or_default());
        out.push_str(&edit.text);
        from = edit.end;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bytes_are_opaque() {
        let long = "A".repeat(OPAQUE_CHARS_MIN);
        for (key, value, expected) in [
            ("data", long.as_str(), true),
            ("data", "short", false),
            ("content", long.as_str(), false),
            ("url", "data:image/png;base64,AAAA", true),
            ("url", "data:text/plain,ann@example.com", false),
            ("created", "1700000000", true),
            ("created", "ann@example.com", false),
        ] {
            assert_eq!(is_opaque(Some(key), value), expected, "{key} {value}");
        }
    }

    #[test]
    fn everything_but_the_edits_stays() {
        let edits = [Edit { start: 1, end: 3, text: "<X>".to_owned() }, Edit { start: 4, end: 4, text: "+".to_owned() }];
        assert_eq!(edited("abcdé", &edits), "a<X>d+é");
    }
}
