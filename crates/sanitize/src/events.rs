//! Sanitising a whole event.

use std::borrow::Cow;
use std::collections::BTreeMap;

use event::{Attributes, Event, Part, PieceMeta, Principal, Value, attr};

use crate::find::Hint;
use crate::sanitizer::{Cleaned, Counts, Place, Sanitizer};
use crate::seal::{Gathered, Sealed};
use crate::{Clean, SensitiveType};

/// Shortest number, in digits, that is looked at as one: a social security number has nine.
const NUMBER_MIN: i64 = 100_000_000;

/// Gives the clean text of a piece's content, remembered or fresh, and what was replaced in it.
pub type ContentCache<'a, R> = dyn FnMut(&PieceMeta<Clean>, &R) -> (Clean, Counts) + 'a;

impl Sanitizer {
    /// Sanitises everything in the event; what was replaced is added to `event.sanitized`.
    #[must_use]
    pub fn event<R: AsRef<str>>(&self, event: Event<R>) -> Event<Clean> {
        self.event_with(event, &mut |meta, content| {
            let cleaned = self.content(meta, content.as_ref());
            let counts = cleaned.counts();
            (cleaned.text, counts)
        })
    }

    /// Like [`Self::event`], with the contents of the pieces through the caller's cache: `content` is given each piece
    /// and answers with what [`Self::content`] makes of it, remembered or fresh.
    #[must_use]
    pub fn event_with<R: AsRef<str>>(&self, event: Event<R>, content: &mut ContentCache<'_, R>) -> Event<Clean> {
        self.event_sealed(event, content).0
    }

    /// Like [`Self::event_with`], with what was sealed of everything in the event but its contents.
    #[must_use]
    pub fn event_sealed<R: AsRef<str>>(&self, mut event: Event<R>, content: &mut ContentCache<'_, R>) -> (Event<Clean>, Sealed) {
        let gathered = self.sealer.as_ref().map(|_| Gathered::default());
        let mut tally = Tally { counts: std::mem::take(&mut event.sanitized), gathered };
        let credential = event.identity.credential.take().map(|principal| Principal {
            id: {
                *tally.counts.entry(Cow::Borrowed(SensitiveType::Credential.as_str())).or_insert(0) += 1;
                self.credential(principal.id.as_ref())
            },
            name: principal.name.map(|name| self.value_text(name.as_ref(), None, Place::Name, &mut tally)),
            version: principal.version.map(|version| self.value_text(version.as_ref(), None, Place::Name, &mut tally)),
            proof: principal.proof,
        });
        let attributes: Attributes<Clean> = std::mem::take(&mut event.attributes)
            .into_iter()
            .map(|(key, value)| {
                let value = self.value(value, Some(key.as_str()), &mut tally);
                (key, value)
            })
            .collect();
        let unmapped = self.entries(std::mem::take(&mut event.unmapped), &mut tally);
        let mut piece_counts = Counts::new();
        let mut clean: Event<Clean> = event.map(
            &mut |text: R| self.value_text(text.as_ref(), None, Place::Name, &mut tally),
            &mut |meta, raw: R| {
                let (text, counts) = content(meta, &raw);
                add(&mut piece_counts, counts);
                text
            },
            &|key: Clean, n| key.numbered(n),
        );
        clean.identity.credential = credential;
        let Tally { mut counts, gathered } = tally;
        add(&mut counts, piece_counts);
        clean.attributes = attributes;
        clean.unmapped = unmapped;
        clean.sanitized = counts;
        if let Some(digest) = self.policy.digest() {
            clean.attributes.insert(attr::SANITIZER_POLICY, Value::Text(Clean::attest(digest)));
        }
        let sealed = gathered.map(|gathered| gathered.seal(self.sealer.as_deref())).unwrap_or_default();
        (clean, sealed)
    }

    /// Sanitises the content of a piece as what it is: JSON where it is JSON, free text otherwise.
    #[must_use]
    pub fn content(&self, meta: &PieceMeta<Clean>, raw: &str) -> Cleaned {
        self.content_at(meta, raw, None)
    }

    /// Like [`Self::content`], with what was sealed of it.
    #[must_use]
    pub fn content_sealed(&self, meta: &PieceMeta<Clean>, raw: &str) -> (Cleaned, Sealed) {
        let Some(sealer) = &self.sealer else { return (self.content(meta, raw), Sealed::default()) };
        let mut gathered = Gathered::default();
        let cleaned = self.content_at(meta, raw, Some(&mut gathered));
        (cleaned, gathered.seal(Some(&**sealer)))
    }

    fn content_at(&self, meta: &PieceMeta<Clean>, raw: &str, gathered: Option<&mut Gathered>) -> Cleaned {
        if matches!(meta.part, Part::ToolCall | Part::ToolDefinition) {
            self.json_at(raw, Place::Text, gathered)
        } else {
            self.as_it_looks(raw, None, Place::Text, gathered)
        }
    }

    /// JSON where it looks like JSON, free text otherwise.
    pub(crate) fn as_it_looks(&self, raw: &str, key: Option<&str>, place: Place, gathered: Option<&mut Gathered>) -> Cleaned {
        if looks_like_json(raw) { self.json_at(raw, place, gathered) } else { self.text_with(raw, Hint { key }, place, gathered) }
    }

    fn value_text(&self, raw: &str, key: Option<&str>, place: Place, tally: &mut Tally) -> Clean {
        let cleaned = self.as_it_looks(raw, key, place, tally.gathered.as_mut());
        add(&mut tally.counts, cleaned.counts());
        cleaned.text
    }

    /// Like [`Value::map`], with the key as context, and with numbers that are sensitive turned into text.
    fn value<R: AsRef<str>>(&self, value: Value<R>, key: Option<&str>, tally: &mut Tally) -> Value<Clean> {
        match value {
            Value::Bool(value) => Value::Bool(value),
            Value::Int(number) => {
                if number < NUMBER_MIN && key.is_none() {
                    return Value::Int(number);
                }
                let cleaned = self.text_with(&number.to_string(), Hint { key }, Place::Text, tally.gathered.as_mut());
                if cleaned.replacements.is_empty() {
                    return Value::Int(number);
                }
                add(&mut tally.counts, cleaned.counts());
                Value::Text(cleaned.text)
            }
            Value::Double(value) => Value::Double(value),
            Value::Text(text) => Value::Text(self.value_text(text.as_ref(), key, Place::Text, tally)),
            Value::List(values) => Value::List(values.into_iter().map(|value| self.value(value, key, tally)).collect()),
            Value::Map(entries) => Value::Map(self.entries(entries, tally)),
        }
    }

    fn entries<R: AsRef<str>>(&self, entries: BTreeMap<R, Value<R>>, tally: &mut Tally) -> BTreeMap<Clean, Value<Clean>> {
        let mut clean: BTreeMap<Clean, Value<Clean>> = BTreeMap::new();
        for (key, value) in entries {
            let name = self.value_text(key.as_ref(), None, Place::Text, tally);
            let context = crate::layer::context(self, &name, &[]);
            let value = self.value(value, Some(&context), tally);
            let free = if clean.contains_key(&name) {
                (2..).map(|n| name.numbered(n)).find(|candidate| !clean.contains_key(candidate)).unwrap_or(name)
            } else {
                name
            };
            clean.insert(free, value);
        }
        clean
    }
}

/// What is gathered over an event.
struct Tally {
    counts: Counts,
    /// Where values are sealed.
    gathered: Option<Gathered>,
}

fn add(counts: &mut Counts, more: Counts) {
    for (kind, count) in more {
        let sum = counts.entry(kind).or_insert(0);
        *sum = sum.saturating_add(count);
    }
}

fn looks_like_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}
