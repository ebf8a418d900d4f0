//! The public face: [`Sanitizer`].

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::find::{self, Hint, Match};
use crate::token::{TokenKey, Value};
use crate::view::View;
use crate::{Action, Clean, SensitiveType, layer};

/// How many values of each type were replaced, by the type's name.
pub type Counts = BTreeMap<Cow<'static, str>, u32>;

/// Replaces sensitive values by keyed tokens. Cheap to share: it holds a key and nothing that changes.
///
/// ```
/// use watchkeeper_sanitize::{Sanitizer, TokenKey};
///
/// let sanitizer = Sanitizer::new(TokenKey::new([7; 32], "v26"));
/// let cleaned = sanitizer.text("write to Ann@Example.com");
/// assert!(cleaned.text.starts_with("write to <EMAIL:v26:"));
/// assert!(cleaned.text.ends_with("@example.com>"));
/// assert_eq!(sanitizer.text(&cleaned.text).text, cleaned.text);
/// ```
#[derive(Debug)]
pub struct Sanitizer {
    pub(crate) key: TokenKey,
}

/// Clean text, and what was replaced to make it so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleaned {
    /// The text, clean.
    pub text: Clean,
    /// In the order of the text, without overlap.
    pub replacements: Vec<Replacement>,
}

/// What has to be written in the place of what, for a text that is to go on with everything else as it was. Offsets are bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// First byte that is replaced.
    pub start: usize,
    /// One past the last.
    pub end: usize,
    /// What comes in its place.
    pub text: String,
    /// What it was.
    pub kind: SensitiveType,
}

/// One replacement. Offsets are Unicode code points of the text that was given, not of the clean one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replacement {
    /// First code point that was replaced.
    pub start: u32,
    /// One past the last.
    pub end: u32,
    /// What it was.
    #[serde(rename = "type")]
    pub kind: SensitiveType,
    /// What was done.
    pub action: Action,
}

impl Sanitizer {
    /// A sanitiser whose tokens are made with this key.
    #[must_use]
    pub fn new(key: TokenKey) -> Self {
        Self { key }
    }

    /// Sanitises free text.
    #[must_use]
    pub fn text(&self, raw: &str) -> Cleaned {
        self.text_with(raw, Hint::default())
    }

    /// Sanitises JSON text: the keys, strings and numbers in it, each with its key as context. It stays valid JSON and
    /// keeps its layout; a number that is replaced becomes a string. What is no JSON goes through [`Self::text`].
    #[must_use]
    pub fn json(&self, raw: &str) -> Cleaned {
        match crate::json::find_all(&self.key, raw, &|_, _| false) {
            Some(matches) => self.replace(raw, &matches),
            None => self.text(raw),
        }
    }

    /// Replaces a credential, which the schema says it is, by one token, whatever it looks like. The scheme of an
    /// `Authorization` header is not part of it. What is such a token already stays as it is.
    #[must_use]
    pub fn credential(&self, raw: &str) -> Clean {
        let trimmed = raw.trim();
        if trimmed.starts_with("<CREDENTIAL:") && self.key.token_len(trimmed.as_bytes()) == Some(trimmed.len()) {
            return Clean::attest(trimmed);
        }
        let secret =
            ["Bearer ", "bearer ", "Basic ", "basic "].iter().find_map(|scheme| trimmed.strip_prefix(scheme)).unwrap_or(trimmed);
        let value = Value { kind: SensitiveType::Credential, normal: secret.trim().to_owned(), feature: String::new() };
        let mut token = String::new();
        self.key.mint(&value, &mut token);
        Clean::attest(token)
    }

    /// What would have to be replaced in free text, in order and without overlap.
    #[must_use]
    pub fn text_edits(&self, raw: &str) -> Vec<Edit> {
        self.edits(&layer::find_all(&self.key, raw, Hint::default()))
    }

    /// What would have to be replaced in JSON text, in order and without overlap; `None` when it is no JSON. `is_left` says of a
    /// value, by its key and its text as it is written, that it stays as it is: bytes of a picture, a signature.
    #[must_use]
    pub fn json_edits(&self, raw: &str, is_left: &dyn Fn(Option<&str>, &str) -> bool) -> Option<Vec<Edit>> {
        crate::json::find_all(&self.key, raw, is_left).map(|matches| self.edits(&matches))
    }

    /// Where in a text words end behind which a value of several words may stand, in bytes and in order: a name, a date, an address, a number in
    /// groups. Whoever has only the beginning of a text keeps what stands behind them until more has come.
    #[must_use]
    pub fn announcements(raw: &str) -> Vec<usize> {
        let mut all = find::announcements(raw);
        if let Some(view) = View::of(raw) {
            let ends = find::announcements(&view.text)
                .into_iter()
                .filter_map(|end| Some(view.raw_range(&(end.checked_sub(1)?..end)).end));
            all.extend(ends);
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    fn edits(&self, matches: &[Match]) -> Vec<Edit> {
        let edit = |one: &Match| Edit { start: one.start, end: one.end, text: self.written(one), kind: one.value.kind };
        matches.iter().map(edit).collect()
    }

    /// What is written in the place of a match.
    fn written(&self, one: &Match) -> String {
        let mut text = String::new();
        if one.quoted {
            text.push('"');
        }
        self.key.mint(&one.value, &mut text);
        for value in &one.more {
            text.push(' ');
            self.key.mint(value, &mut text);
        }
        if one.quoted {
            text.push('"');
        }
        text
    }

    pub(crate) fn text_with(&self, raw: &str, hint: Hint<'_>) -> Cleaned {
        self.replace(raw, &layer::find_all(&self.key, raw, hint))
    }

    /// Puts the tokens in place.
    fn replace(&self, raw: &str, matches: &[Match]) -> Cleaned {
        if matches.is_empty() {
            return Cleaned { text: Clean::attest(raw), replacements: Vec::new() };
        }
        let mut text = String::with_capacity(raw.len() + 32 * matches.len());
        let mut replacements = Vec::with_capacity(matches.len());
        let (mut from, mut points) = (0, 0_usize);
        for one in matches {
            let (Some(kept), Some(replaced)) = (raw.get(from..one.start), raw.get(one.start..one.end)) else { continue };
            text.push_str(kept);
            text.push_str(&self.written(one));
            let start = points + code_points(kept);
            points = start + code_points(replaced);
            let kind = one.value.kind;
            replacements.push(Replacement { start: offset(start), end: offset(points), kind, action: kind.action() });
            from = one.end;
        }
        text.push_str(raw.get(from..).unwrap_or_default());
        Cleaned { text: Clean::attest(text), replacements }
    }
}

impl Cleaned {
    /// How many values of each type were replaced.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::new();
        for replacement in &self.replacements {
            *counts.entry(Cow::Borrowed(replacement.kind.as_str())).or_insert(0) += 1;
        }
        counts
    }
}

fn code_points(text: &str) -> usize {
    text.bytes().filter(|b| *b & 0xC0 != 0x80).count()
}

fn offset(points: usize) -> u32 {
    u32::try_from(points).unwrap_or(u32::MAX)
}
