//! The public face: [`Sanitizer`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::find::{self, Hint, Match};
use crate::policy::Policy;
use crate::seal::{Gathered, Sealer};
use crate::token::{Form, TokenKey, Value};
use crate::view::View;
use crate::{Action, Clean, SensitiveType, TypeName, layer};

/// How many values of each type were replaced, by the type's name.
pub type Counts = BTreeMap<Cow<'static, str>, u32>;

/// Replaces sensitive values by keyed tokens, or by what its policy says. Cheap to share: it holds a key, a policy and nothing
/// that changes.
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
    pub(crate) policy: Policy,
    pub(crate) sealer: Option<Arc<dyn Sealer>>,
}

/// Where a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In what somebody said, or in an attribute.
    Text,
    /// In a field that says who, where or in which conversation: what is not joinable there would make one person of many.
    Name,
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
    pub kind: TypeName,
}

/// One replacement. Offsets are Unicode code points of the text that was given, not of the clean one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replacement {
    /// First code point that was replaced.
    pub start: u32,
    /// One past the last.
    pub end: u32,
    /// What it was.
    #[serde(rename = "type")]
    pub kind: TypeName,
    /// What was done.
    pub action: Action,
}

impl Sanitizer {
    /// A sanitiser whose tokens are made with this key.
    #[must_use]
    pub fn new(key: TokenKey) -> Self {
        Self { key, policy: Policy::default(), sealer: None }
    }

    /// With a policy of its own.
    #[must_use]
    pub fn with_policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// With somebody who seals the values that the policy wants to be recoverable.
    #[must_use]
    pub fn with_sealer(self, sealer: Arc<dyn Sealer>) -> Self {
        Self { sealer: Some(sealer), ..self }
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// A name as it stands in the fields of events that say who, where and in which conversation. There a value is a token also
    /// where the policy masks or drops it in texts: two people whom nothing tells apart would be one.
    #[must_use]
    pub fn name(&self, raw: &str) -> Clean {
        self.text_with(raw, Hint::default(), Place::Name, None).text
    }

    /// Sanitises what may be anything, as the content of an event is: JSON where it looks like JSON, free text otherwise.
    #[must_use]
    pub fn any(&self, raw: &str) -> Cleaned {
        self.as_it_looks(raw, None, Place::Text, None)
    }

    /// Sanitises free text.
    #[must_use]
    pub fn text(&self, raw: &str) -> Cleaned {
        self.text_with(raw, Hint::default(), Place::Text, None)
    }

    /// Sanitises JSON text: the keys, strings and numbers in it, each with its key as context. It stays valid JSON and
    /// keeps its layout; a number that is replaced becomes a string. What is no JSON goes through [`Self::text`].
    #[must_use]
    pub fn json(&self, raw: &str) -> Cleaned {
        self.json_at(raw, Place::Text, None)
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
        let value = Value { kind: SensitiveType::Credential.into(), normal: secret.trim().to_owned(), feature: String::new() };
        let mut token = String::new();
        self.key.mint(&value, Form::Token, &mut token);
        Clean::attest(token)
    }

    /// What would have to be replaced in free text, in order and without overlap.
    #[must_use]
    pub fn text_edits(&self, raw: &str) -> Vec<Edit> {
        self.edits(&layer::find_all(self, raw, Hint::default()))
    }

    /// What would have to be replaced in JSON text, in order and without overlap; `None` when it is no JSON. `is_left` says of a
    /// value, by its key and its text as it is written, that it stays as it is: bytes of a picture, a signature.
    #[must_use]
    pub fn json_edits(&self, raw: &str, is_left: &dyn Fn(Option<&str>, &str) -> bool) -> Option<Vec<Edit>> {
        crate::json::find_all(self, raw, is_left).map(|matches| self.edits(&matches))
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
        let edit = |one: &Match| Edit {
            start: one.start,
            end: one.end,
            text: self.written(one, Place::Text),
            kind: one.value.kind.clone(),
        };
        matches.iter().map(edit).collect()
    }

    /// What is written in the place of a match.
    fn written(&self, one: &Match, place: Place) -> String {
        let mut text = String::new();
        if one.quoted {
            text.push('"');
        }
        for (index, value) in std::iter::once(&one.value).chain(&one.more).enumerate() {
            if index > 0 {
                text.push(' ');
            }
            let form = match self.action(&value.kind, place) {
                Action::Drop => Form::Dropped,
                Action::Mask => Form::Mask,
                Action::Token | Action::Encrypt | Action::Keep => Form::Token,
            };
            self.key.mint(value, form, &mut text);
        }
        if one.quoted {
            text.push('"');
        }
        text
    }

    /// Gathers what is to be sealed of a match. Of a stretch with several values each is taken as it was decoded: beside it there
    /// may be one that must not be kept.
    fn gather(&self, one: &Match, replaced: &str, gathered: &mut Gathered) {
        for value in std::iter::once(&one.value).chain(&one.more) {
            if self.policy.action(&value.kind) == Action::Encrypt {
                let mut token = String::new();
                self.key.mint(value, Form::Token, &mut token);
                gathered.add(&token, if one.more.is_empty() { replaced } else { &value.normal });
            }
        }
    }

    fn action(&self, kind: &TypeName, place: Place) -> Action {
        match self.policy.action(kind) {
            Action::Drop | Action::Mask if place == Place::Name && *kind != SensitiveType::Cvv => Action::Token,
            action => action,
        }
    }

    /// The length of what stands for a value at the beginning of `text`, if it was put there by this sanitiser.
    pub(crate) fn token_len(&self, text: &[u8]) -> Option<usize> {
        self.key.token_len(text).or_else(|| self.policy.dropped_len(text))
    }

    pub(crate) fn json_at(&self, raw: &str, place: Place, gathered: Option<&mut Gathered>) -> Cleaned {
        match crate::json::find_all(self, raw, &|_, _| false) {
            Some(matches) => self.replace(raw, &matches, place, gathered),
            None => self.text_with(raw, Hint::default(), place, gathered),
        }
    }

    pub(crate) fn text_with(&self, raw: &str, hint: Hint<'_>, place: Place, gathered: Option<&mut Gathered>) -> Cleaned {
        self.replace(raw, &layer::find_all(self, raw, hint), place, gathered)
    }

    /// Puts the tokens in place.
    fn replace(&self, raw: &str, matches: &[Match], place: Place, mut gathered: Option<&mut Gathered>) -> Cleaned {
        if matches.is_empty() {
            return Cleaned { text: Clean::attest(raw), replacements: Vec::new() };
        }
        let mut text = String::with_capacity(raw.len() + 32 * matches.len());
        let mut replacements = Vec::with_capacity(matches.len());
        let (mut from, mut points) = (0, 0_usize);
        for one in matches {
            let (Some(kept), Some(replaced)) = (raw.get(from..one.start), raw.get(one.start..one.end)) else { continue };
            text.push_str(kept);
            text.push_str(&self.written(one, place));
            if let Some(gathered) = &mut gathered {
                self.gather(one, replaced, gathered);
            }
            let start = points + code_points(kept);
            points = start + code_points(replaced);
            let (kind, action) = (one.value.kind.clone(), self.action(&one.value.kind, place));
            replacements.push(Replacement { start: offset(start), end: offset(points), kind, action });
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
            let name = match &replacement.kind {
                TypeName::Builtin(kind) => Cow::Borrowed(kind.as_str()),
                TypeName::Custom(name) => Cow::Owned(name.to_string()),
            };
            *counts.entry(name).or_insert(0) += 1;
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
