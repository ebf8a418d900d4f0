//! Types of the operator: a pattern, what must stand near it, and a checksum.
//!
//! A pattern is a regular expression that is matched in time linear in the text: it is bounded in what it matches, so that each
//! search ends a bounded distance behind its hit, and the engine does not backtrack.

use std::sync::Arc;

use aho_corasick::AhoCorasick;
use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use crate::checksum;
use crate::find::{self, Hint, Match};
use crate::{Action, SensitiveType, TypeName};

/// Most types of a configuration: each is looked for in every text.
pub(crate) const TYPES_MAX: usize = 64;
/// Longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1_024;
/// Longest value that a pattern may match, in bytes: what the gateway's hold window keeps of a stream is enough for it.
const VALUE_BYTES_MAX: usize = 128;
/// Shortest value: shorter ones are everywhere.
const VALUE_BYTES_MIN: usize = 3;
/// Memory of a compiled pattern, in bytes: some thousand states.
const COMPILED_BYTES_MAX: usize = 512 * 1024;
/// Memory that the lazy automaton of a pattern may take while it runs.
const AUTOMATON_BYTES_MAX: usize = 1024 * 1024;
/// Most keywords or context words of a type.
const WORDS_MAX: usize = 32;
/// Longest of them: a context word must fit into what is looked at before a value.
const WORD_BYTES_MAX: usize = 40;
/// Longest name of a type: what a token has room for.
const NAME_BYTES_MAX: usize = 32;

/// A type of the operator, as the configuration has it (`[[sanitize.types]]`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomSpec {
    /// Its name in tokens and counts: capitals, digits and `_`.
    pub name: String,
    /// A regular expression (syntax of the `regex` crate) of the value alone. Nothing that would make it part of a longer word
    /// may stand beside the value, and no white space in it.
    pub pattern: String,
    /// Words of which one must stand shortly before the value, or in the key that it is the value of. None: anywhere.
    #[serde(default)]
    pub context: Vec<String>,
    /// Words of which one must stand anywhere in the text, or in the key. None: in every text.
    #[serde(default)]
    pub keywords: Vec<String>,
    /// The checksum of the value.
    #[serde(default)]
    pub validator: Validator,
    /// What is done with it.
    #[serde(default = "token")]
    pub action: Action,
    /// Texts in which it must be found: at least one.
    #[serde(default)]
    pub positive: Vec<String>,
    /// Texts in which it must not be found.
    #[serde(default)]
    pub negative: Vec<String>,
}

/// The checksum of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Validator {
    /// None.
    #[default]
    None,
    /// Luhn's (ISO/IEC 7812-1) over the digits.
    Luhn,
    /// MOD 97-10 of ISO/IEC 7064 over digits and letters (A is 10) in their order: the remainder is 1, as in an LEI.
    Mod97,
}

/// What is wrong with a type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CustomError {
    /// The name.
    #[error("name: 2 to {NAME_BYTES_MAX} characters of A-Z, 0-9 and _, a letter first")]
    Name,
    /// The name is taken.
    #[error("name: there is a type of that name already; choose another")]
    Taken,
    /// The pattern.
    #[error("pattern: {0}")]
    Pattern(String),
    /// What it matches is not bounded.
    #[error(
        "pattern: it must match {VALUE_BYTES_MIN} to {VALUE_BYTES_MAX} bytes; give repetitions an upper end ({{1,20}} and not + or *)"
    )]
    Length,
    /// Too many words, or one too long.
    #[error("{0}: at most {WORDS_MAX} words of 2 to {WORD_BYTES_MAX} bytes")]
    Words(&'static str),
    /// The action.
    #[error("action = \"keep\" makes no sense here: leave the type out, or choose token, mask, drop or encrypt")]
    Keep,
    /// There is no example.
    #[error("positive: give at least one text in which it is found")]
    NoExample,
    /// An example.
    #[error("positive: it is not found in example {0}; check pattern, keywords, context and validator")]
    Missed(usize),
    /// A counterexample.
    #[error("negative: it is found in example {0}; make the pattern narrower, or name context words")]
    Found(usize),
}

/// The types of a configuration, compiled.
#[derive(Debug, Default)]
pub(crate) struct CustomTypes {
    types: Vec<CustomType>,
    /// All keywords, and of which type each is.
    keywords: Option<AhoCorasick>,
    owners: Vec<usize>,
}

#[derive(Debug)]
struct CustomType {
    name: Arc<str>,
    pattern: Regex,
    has_keywords: bool,
    context: Vec<String>,
    validator: Validator,
}

fn token() -> Action {
    Action::Token
}

impl CustomTypes {
    /// Compiles the types; an error comes with the index of its type.
    pub(crate) fn new(specs: &[CustomSpec]) -> Result<Self, (usize, CustomError)> {
        let mut all = Self::default();
        let mut words: Vec<&str> = Vec::new();
        for (index, spec) in specs.iter().enumerate() {
            let known = all.names().any(|name| **name == *spec.name);
            let one = CustomType::new(spec, known).map_err(|error| (index, error))?;
            all.types.push(one);
            words.extend(spec.keywords.iter().map(String::as_str));
            all.owners.extend(spec.keywords.iter().map(|_| index));
        }
        if !words.is_empty() {
            let built = AhoCorasick::builder().ascii_case_insensitive(true).build(&words);
            all.keywords = Some(built.map_err(|error| (0, CustomError::Pattern(error.to_string())))?);
        }
        Ok(all)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.types.is_empty()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.types.iter().map(|one| &one.name)
    }

    /// Finds what the text holds of them as it stands.
    pub(crate) fn find(&self, text: &str, hint: Hint<'_>, found: &mut Vec<Match>) {
        if self.types.is_empty() {
            return;
        }
        let mut is_announced = [false; TYPES_MAX];
        if let Some(keywords) = &self.keywords {
            for text in std::iter::once(text).chain(hint.key) {
                for hit in keywords.find_overlapping_iter(text) {
                    if let Some(slot) = self.owners.get(hit.pattern().as_usize()).and_then(|owner| is_announced.get_mut(*owner)) {
                        *slot = true;
                    }
                }
            }
        }
        for (one, is_announced) in self.types.iter().zip(is_announced) {
            if is_announced || !one.has_keywords {
                one.find(text, hint, found);
            }
        }
    }
}

impl CustomType {
    fn new(spec: &CustomSpec, is_taken: bool) -> Result<Self, CustomError> {
        let name = spec.name.as_bytes();
        let is_name = (2..=NAME_BYTES_MAX).contains(&name.len())
            && name[0].is_ascii_uppercase()
            && name.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_');
        if !is_name {
            return Err(CustomError::Name);
        }
        if is_taken || SensitiveType::from_name(&spec.name).is_some() {
            return Err(CustomError::Taken);
        }
        for (field, words) in [("context", &spec.context), ("keywords", &spec.keywords)] {
            if words.len() > WORDS_MAX || words.iter().any(|word| !(2..=WORD_BYTES_MAX).contains(&word.len())) {
                return Err(CustomError::Words(field));
            }
        }
        if spec.action == Action::Keep {
            return Err(CustomError::Keep);
        }
        if spec.pattern.len() > PATTERN_BYTES_MAX {
            return Err(CustomError::Pattern(format!("at most {PATTERN_BYTES_MAX} bytes")));
        }
        let parsed = regex_syntax::parse(&spec.pattern).map_err(|error| {
            // Without the picture of the pattern, which takes several lines.
            let told = error.to_string();
            CustomError::Pattern(told.rsplit("error: ").next().unwrap_or(&told).trim().to_owned())
        })?;
        let lengths = (parsed.properties().minimum_len(), parsed.properties().maximum_len());
        if !matches!(lengths, (Some(VALUE_BYTES_MIN..), Some(..=VALUE_BYTES_MAX))) {
            return Err(CustomError::Length);
        }
        let pattern = RegexBuilder::new(&spec.pattern).size_limit(COMPILED_BYTES_MAX).dfa_size_limit(AUTOMATON_BYTES_MAX).build();
        let pattern = pattern.map_err(|error| CustomError::Pattern(error.to_string()))?;
        Ok(Self {
            name: spec.name.as_str().into(),
            pattern,
            has_keywords: !spec.keywords.is_empty(),
            context: spec.context.iter().map(|word| word.to_ascii_lowercase()).collect(),
            validator: spec.validator,
        })
    }

    fn find(&self, text: &str, hint: Hint<'_>, found: &mut Vec<Match>) {
        let context: Vec<&str> = self.context.iter().map(String::as_str).collect();
        let mut from = 0;
        while let Some(hit) = self.pattern.find_at(text, from) {
            let bytes = text.as_bytes();
            let value = hit.as_str();
            let is_one = find::begins(bytes, hit.start())
                && find::ends(bytes, hit.end())
                && !value.contains(char::is_whitespace)
                && self.validator.takes(value)
                && (context.is_empty() || find::stands_before(bytes, hit.start(), hint, &context));
            if is_one {
                found.push(Match::new(hit.start(), hit.end(), TypeName::Custom(self.name.clone()), normal(value)));
                from = hit.end();
            } else {
                from = hit.start() + value.chars().next().map_or(1, char::len_utf8);
            }
        }
    }
}

/// Case and separators make no other value; what has neither letters nor digits is its own.
fn normal(value: &str) -> String {
    let normal: String = value.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_uppercase).collect();
    if normal.is_empty() { value.to_owned() } else { normal }
}

impl Validator {
    fn takes(self, value: &str) -> bool {
        match self {
            Self::None => true,
            Self::Luhn => {
                let digits: Vec<u8> = value.bytes().filter(u8::is_ascii_digit).collect();
                checksum::luhn(&digits)
            }
            Self::Mod97 => {
                let characters = value.chars().filter(char::is_ascii_alphanumeric);
                let rest = characters.fold(0, |rest, c| match c.to_digit(36) {
                    Some(digit @ 0..=9) => (rest * 10 + digit) % 97,
                    digit => (rest * 100 + digit.unwrap_or(0)) % 97,
                });
                rest == 1
            }
        }
    }
}
