//! Whose data is to be erased, and how it is recognised in what was recorded.

use std::collections::{BTreeSet, HashMap};

use event::{RecordedEvent, SourcePath, Timestamp};
use sanitize::{Clean, Sanitizer};
use serde::{Deserialize, Serialize};

use super::spelt;

/// Shortest name that is looked for inside other people's fields: shorter ones stand in too many words.
const NEEDLE_CHARS_MIN: usize = 3;

/// A person, as the record knows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// `identity.user.id` of the person's events, as recorded.
    user: String,
    /// Their id and other values as the sanitiser leaves them.
    clean: BTreeSet<String>,
    /// The beginnings of the tokens in `clean`: up to and with what tells the value.
    tokens: BTreeSet<String>,
    /// Texts that name them in a field of somebody else's event.
    needles: BTreeSet<String>,
}

/// How long after a session's first record its user may be named for the first time: children of a span, which name nobody, are
/// sent before it. Whoever names a user later cannot take over what others said there before.
const NAMED_WITHIN_NS: u64 = 15 * 60 * 1_000_000_000;

/// Which users a session names. An event without a user belongs to the one that its session names alone, from its beginning.
#[derive(Debug, Default)]
pub struct Sessions(HashMap<SessionKey, Users>);

/// Names of sessions mean something within their application only, and its way in.
type SessionKey = (String, SourcePath, String);

#[derive(Debug)]
struct Users {
    first: Timestamp,
    /// Who, and since when; more than one are nobody.
    named: Named,
}

#[derive(Debug)]
enum Named {
    Nobody,
    One(String, Timestamp),
    Several,
}

impl Target {
    /// The person with this id (as the applications send it), and other values that stand for them: mail addresses, phone
    /// numbers, account names.
    #[must_use]
    pub fn new(sanitizer: &Sanitizer, id: &str, aliases: &[String]) -> Self {
        let user = sanitizer.name(id).as_str().to_owned();
        let mut target = Self { user, clean: BTreeSet::new(), tokens: BTreeSet::new(), needles: BTreeSet::new() };
        for name in std::iter::once(id).chain(aliases.iter().map(String::as_str)) {
            let clean = sanitizer.name(name);
            target.tokens.extend(journal::content::tokens(&clean).map(|token| token.stem().to_owned()));
            target.clean.insert(clean.as_str().to_owned());
            for needle in [name, clean.as_str()] {
                if needle.chars().count() >= NEEDLE_CHARS_MIN {
                    target.needles.insert(needle.to_owned());
                }
            }
        }
        target
    }

    /// The person, named by these sessions, too: nobody else takes part in them.
    #[must_use]
    pub fn with_sessions<'s>(mut self, sessions: impl IntoIterator<Item = &'s String>) -> Self {
        let long = sessions.into_iter().filter(|session| session.chars().count() >= NEEDLE_CHARS_MIN);
        self.needles.extend(long.cloned());
        self
    }

    /// `identity.user.id` of the person's events, as recorded.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Texts that hold the tokens that stand for the person.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.clean.iter().map(String::as_str)
    }

    /// Whether the event is the person's own.
    #[must_use]
    pub fn owns(&self, event: &RecordedEvent<Clean>, sessions: &Sessions) -> bool {
        match &event.identity.user {
            Some(user) => user.id.as_str() == self.user,
            None => sessions.only_user(event) == Some(self.user.as_str()),
        }
    }

    /// Whether a text names the person: holds one of their tokens, or a name of theirs as a word of its own, as it is or as an address (`%40`) or
    /// JSON (`\u00f6`) inside it would have it.
    #[must_use]
    pub fn is_named_in(&self, text: &str) -> bool {
        self.is_named_as_it_stands(text) || spelt::any_decoded(text, |text| self.is_named_as_it_stands(text))
    }

    fn is_named_as_it_stands(&self, text: &str) -> bool {
        self.tokens.iter().any(|token| text.contains(token.as_str()))
            || self.needles.iter().any(|needle| {
                text.match_indices(needle.as_str()).any(|(at, found)| {
                    !text[..at].chars().next_back().is_some_and(is_word)
                        && !text[at + found.len()..].chars().next().is_some_and(is_word)
                })
            })
    }
}

impl Sessions {
    /// The sessions in which nobody but the person takes part.
    #[must_use]
    pub fn of(&self, target: &Target) -> BTreeSet<String> {
        let alone = self.0.iter().filter(|(_, users)| users.only() == Some(target.user.as_str()));
        alone.map(|((_, _, session), _)| session.clone()).collect()
    }

    /// Learns from an event who takes part in its session.
    pub fn learn(&mut self, event: &RecordedEvent<Clean>) {
        let Some(key) = key(event) else { return };
        let at = event.observed;
        let users = self.0.entry(key).or_insert(Users { first: at, named: Named::Nobody });
        users.first = users.first.min(at);
        let Some(user) = &event.identity.user else { return };
        match &mut users.named {
            Named::Nobody => users.named = Named::One(user.id.as_str().to_owned(), at),
            Named::One(known, since) if known == user.id.as_str() => *since = at.min(*since),
            named => *named = Named::Several,
        }
    }

    /// The one user of the event's session; none where several take part, or nobody says.
    pub(crate) fn only_user(&self, event: &RecordedEvent<Clean>) -> Option<&str> {
        self.0.get(&key(event)?)?.only()
    }
}

impl Users {
    fn only(&self) -> Option<&str> {
        match &self.named {
            Named::One(user, since) if since.unix_ns() <= self.first.unix_ns().saturating_add(NAMED_WITHIN_NS) => Some(user),
            _ => None,
        }
    }
}

/// Our own events (detections) tell of an application's session without being its: they are found by the user that they name.
fn key(event: &RecordedEvent<Clean>) -> Option<SessionKey> {
    let application = event.identity.application.as_ref().map(|application| application.id.as_str().to_owned());
    Some((application.unwrap_or_default(), event.source.path, event.session.as_ref()?.as_str().to_owned()))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-')
}

#[cfg(test)]
mod tests {
    use event::{Event, Key, Kind, Principal, Source, SourcePath};
    use sanitize::TokenKey;

    use super::*;

    fn sanitizer() -> Sanitizer {
        Sanitizer::new(TokenKey::new([7; 32], "v26"))
    }

    fn event(user: Option<&str>, session: &str) -> RecordedEvent<Clean> {
        let mut event = Event::new(Kind::ModelCall, Clean::literal("x"), Source::new(SourcePath::Api, Key::of("api")));
        event.identity.user = user.map(|user| Principal::asserted(Clean::recorded(user)));
        event.session = Some(Clean::recorded(session));
        event
    }

    #[test]
    fn a_person_is_known_by_the_recorded_form_of_the_id_and_by_tokens() {
        let sanitizer = sanitizer();
        let target = Target::new(&sanitizer, "jo@example.org", &["+44 20 7946 0958".to_owned()]);
        assert!(target.user().starts_with("<EMAIL:v26:"));
        assert_eq!(target.tokens.len(), 2, "{target:?}");
        let said = sanitizer.text("Write to JO@EXAMPLE.ORG about it");
        assert!(target.is_named_in(&said.text), "{}", said.text.as_str());
        assert!(!target.is_named_in(&sanitizer.text("Write to al@example.org about it").text));
    }

    #[test]
    fn a_name_is_found_as_a_word_and_a_short_one_not_at_all() {
        let target = Target::new(&sanitizer(), "user-1", &["x1".to_owned()]);
        assert!(target.is_named_in("WHERE user_id = 'user-1'"));
        assert!(!target.is_named_in("user-12, a-user-1, x1"));
    }

    #[test]
    fn a_name_is_found_in_an_address_and_in_json_inside_of_a_text() {
        let target = Target::new(&sanitizer(), "user/4711", &["J\u{f6}rg Doe".to_owned(), "jo_doe".to_owned()]);
        for text in [
            "https://crm.example/find?who=user%2F4711&page=2",
            "https://crm.example/u%2Fjo_doe%2Fmail",
            "/find?name=J%C3%B6rg+Doe",
            "/find?name=J%C3%B6rg%20Doe",
            r#"{"body":"{\"name\":\"J\u00f6rg Doe\"}"}"#,
            r#"{"path":"user\/4711"}"#,
            r#"{"url":"\/u%252Fjo_doe"}"#,
        ] {
            assert!(target.is_named_in(text), "{text}");
        }
        for text in ["/find?who=user%2F47110", "/u/2Fjo_doe2", r#"{"name":"J\u00f6rgen Doe"}"#, "100 %"] {
            assert!(!target.is_named_in(text), "{text}");
        }
    }

    #[test]
    fn an_event_without_a_user_belongs_to_the_one_user_of_its_session() {
        let target = Target::new(&sanitizer(), "jo", &[]);
        let mut sessions = Sessions::default();
        for (user, session) in [("jo", "alone"), ("jo", "shared"), ("al", "shared"), ("jo", "alone")] {
            sessions.learn(&event(Some(user), session));
        }
        assert!(target.owns(&event(Some("jo"), "shared"), &sessions));
        assert!(target.owns(&event(None, "alone"), &sessions));
        assert!(!target.owns(&event(None, "shared"), &sessions));
        assert!(!target.owns(&event(Some("al"), "shared"), &sessions));
        assert!(!target.owns(&event(None, "other"), &sessions));
    }

    #[test]
    fn whoever_names_a_user_late_takes_no_session_over() {
        let target = Target::new(&sanitizer(), "jo", &[]);
        let at = |mut event: RecordedEvent<Clean>, ns| {
            event.observed = Timestamp::from_unix_ns(ns);
            event
        };
        let mut sessions = Sessions::default();
        let anonymous = at(event(None, "s"), 1);
        sessions.learn(&anonymous);
        sessions.learn(&at(event(Some("jo"), "s"), 2 + NAMED_WITHIN_NS));
        assert!(!target.owns(&anonymous, &sessions));
        sessions.learn(&at(event(Some("jo"), "s"), 2));
        assert!(target.owns(&anonymous, &sessions));
        let mut elsewhere = anonymous.clone();
        elsewhere.source.path = SourcePath::Gateway;
        assert!(!target.owns(&elsewhere, &sessions));
    }
}
