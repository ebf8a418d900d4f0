//! What is to go of records: fields, texts, tokens out of texts.

use std::collections::HashSet;

use event::{ContentId, SubjectId};
use journal::Record;
use journal::content::tokens;

use crate::leaf::{FieldType, LeafError, fields};

/// What is to go.
#[derive(Clone, Copy)]
pub struct Redaction<'a> {
    /// The event belongs to the person: every field goes, and of its contents what `content` says. The contents of others
    /// that it happens to bring stay, because events of others refer to them.
    pub event: bool,
    /// Whether the field of this path with this value goes. It is not asked about the field `contents`.
    pub field: &'a dyn Fn(&str, &[u8]) -> bool,
    /// What goes of the content of this id, whose salts the subject's key gave.
    pub content: &'a dyn Fn(&ContentId, SubjectId) -> Cut,
    /// Which tokens go: out of texts alone, and with the whole field where one stands in a field.
    pub tokens: &'a ErasedTokens,
}

/// What goes of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Nothing, be there tokens or not: somebody must keep it as it is.
    Nothing,
    /// The tokens that are to go.
    Tokens,
    /// All of it.
    All,
}

impl Cut {
    /// [`Cut::All`] or, where it does not go as a whole, [`Cut::Tokens`].
    #[must_use]
    pub const fn all_if(goes: bool) -> Self {
        if goes { Self::All } else { Self::Tokens }
    }
}

/// Tokens that are to go. Those that differ only in their check characters and features stand for the same value.
#[derive(Debug, Clone, Default)]
pub struct ErasedTokens(HashSet<String>);

impl ErasedTokens {
    /// Nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Every token in `text`, which may be a token by itself.
    pub fn add(&mut self, text: &str) {
        self.0.extend(tokens(text).map(|token| token.stem().to_owned()));
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them stands in the text.
    #[must_use]
    pub fn any_in(&self, text: &str) -> bool {
        !self.0.is_empty() && tokens(text).any(|token| self.0.contains(token.stem()))
    }
}

impl<S: AsRef<str>> FromIterator<S> for ErasedTokens {
    fn from_iter<I: IntoIterator<Item = S>>(tokens: I) -> Self {
        let mut erased = Self::default();
        tokens.into_iter().for_each(|token| erased.add(token.as_ref()));
        erased
    }
}

/// Whether the redaction would change the record. Most records of an archive tell of somebody else.
pub(super) fn touches(record: &Record, what: &Redaction<'_>) -> Result<bool, LeafError> {
    let contents = || {
        record.contents.iter().any(|content| match (what.content)(&content.id, content.subject) {
            Cut::Nothing => false,
            Cut::Tokens => what.tokens.any_in(&content.text),
            Cut::All => true,
        })
    };
    if what.event || contents() {
        return Ok(true);
    }
    Ok(fields(record)?.iter().any(|field| goes(what, &field.path, field.kind, &field.value)))
}

/// Whether a field goes by its own path and value.
pub(super) fn goes(what: &Redaction<'_>, path: &str, kind: FieldType, value: &[u8]) -> bool {
    kind == FieldType::Json
        && (what.tokens.any_in(path)
            || std::str::from_utf8(value).is_ok_and(|value| what.tokens.any_in(value))
            || (what.field)(path, value))
}
