//! Legal holds: while one covers a record, nothing drops or erases it.
//!
//! Placing and releasing a hold are events of the record. Which stand now is kept in the keyring, because a hold can name a person.

use std::sync::{Arc, Mutex, PoisonError};

use event::{RecordedEvent, Timestamp};
use keys::{Keyring, KeysError};
use sanitize::Clean;
use serde::{Deserialize, Serialize};

use super::target::Sessions;

/// The keyring's name of the list.
const NAME: &str = "legal holds";

/// Longest name, reason or scope of a hold, in bytes.
const TEXT_BYTES_MAX: usize = 1_024;

/// Holds that may stand at once. Each is looked at for each record that is to be dropped or erased.
const HOLDS_MAX: usize = 1_000;

/// A hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Its name: the case that it is for.
    pub name: String,
    /// Why it stands.
    pub reason: String,
    /// What it covers.
    pub scope: Scope,
    /// When it was placed.
    pub placed: Timestamp,
    /// Who placed it; not known of holds from before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placed_by: Option<String>,
}

/// A hold as people and their programs are shown it: its times as RFC 3339 has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = Hold)]
pub struct Shown {
    name: String,
    reason: String,
    scope: ShownScope,
    placed: String,
    placed_by: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = HoldScope)]
struct ShownScope {
    /// Of this end user.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// Of this session.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    /// Of this application.
    #[serde(skip_serializing_if = "Option::is_none")]
    application: Option<String>,
    /// Received at this time or later (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// Received before this time (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
}

/// What a hold covers: records for which everything that is set here holds. Nothing set: every record.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = HoldRequestScope)]
pub struct Scope {
    /// Of this end user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Of this session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Of this application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// Received at this time or later, in nanoseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub from: Option<Timestamp>,
    /// Received before this time, in nanoseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub to: Option<Timestamp>,
}

/// Why a hold cannot be placed, released or read.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// There is one of this name.
    #[error("there is a hold {0:?} already; release it first, or choose another name")]
    Exists(String),
    /// There is none of this name.
    #[error("there is no hold {0:?}; `watchkeeper hold list` shows those that stand")]
    Unknown(String),
    /// A text is empty or too long.
    #[error("{0} must have 1 to {TEXT_BYTES_MAX} bytes")]
    Text(&'static str),
    /// The times exclude each other.
    #[error("from must be before to")]
    Times,
    /// There are too many.
    #[error("{HOLDS_MAX} holds stand already; release one that is over")]
    TooMany,
    /// The list cannot be read or written.
    #[error("legal holds: {0}")]
    Keys(#[from] KeysError),
    /// The list is not what this program wrote.
    #[error("legal holds in the keyring: {0}; the events hold.place and hold.release of the record say which holds stand")]
    Parse(#[from] serde_json::Error),
}

/// The holds that stand.
pub struct Holds {
    keyring: Arc<Keyring>,
    standing: Mutex<Vec<Hold>>,
}

impl Holds {
    /// Reads the holds from the keyring. There are none at first.
    pub fn open(keyring: Arc<Keyring>) -> Result<Self, HoldError> {
        let standing = match keyring.named(NAME)? {
            Some(bytes) => serde_json::from_slice(&bytes)?,
            None => Vec::new(),
        };
        Ok(Self { keyring, standing: Mutex::new(standing) })
    }

    /// Those that stand.
    #[must_use]
    pub fn list(&self) -> Vec<Hold> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The hold of that name.
    pub fn standing(&self, name: &str) -> Result<Hold, HoldError> {
        self.list().into_iter().find(|hold| hold.name == name).ok_or_else(|| HoldError::Unknown(name.to_owned()))
    }

    /// Whether a hold can be placed.
    pub fn check(&self, hold: &Hold) -> Result<(), HoldError> {
        hold.check()?;
        let standing = self.list();
        if standing.iter().any(|other| other.name == hold.name) {
            return Err(HoldError::Exists(hold.name.clone()));
        }
        if standing.len() >= HOLDS_MAX { Err(HoldError::TooMany) } else { Ok(()) }
    }

    /// Places a hold. It is durable when this returns.
    pub fn place(&self, hold: Hold) -> Result<(), HoldError> {
        self.check(&hold)?;
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wanted = standing.clone();
        wanted.push(hold);
        self.write(&wanted)?;
        *standing = wanted;
        Ok(())
    }

    /// Releases a hold and gives it back.
    pub fn release(&self, name: &str) -> Result<Hold, HoldError> {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = standing.iter().position(|hold| hold.name == name) else {
            return Err(HoldError::Unknown(name.to_owned()));
        };
        let mut wanted = standing.clone();
        let released = wanted.remove(place);
        self.write(&wanted)?;
        *standing = wanted;
        Ok(released)
    }

    fn write(&self, holds: &[Hold]) -> Result<(), HoldError> {
        Ok(self.keyring.put_named(NAME, &serde_json::to_vec(holds)?)?)
    }
}

impl From<Hold> for Shown {
    fn from(hold: Hold) -> Self {
        let Hold { name, reason, scope, placed, placed_by } = hold;
        let (from, to) = (scope.from.map(Timestamp::rfc3339), scope.to.map(Timestamp::rfc3339));
        let Scope { user, session, application, .. } = scope;
        let scope = ShownScope { user, session, application, from, to };
        Self { name, reason, scope, placed: placed.rfc3339(), placed_by }
    }
}

impl Hold {
    fn check(&self) -> Result<(), HoldError> {
        let fits = |text: &str| !text.is_empty() && text.len() <= TEXT_BYTES_MAX;
        let scope = [("user", &self.scope.user), ("session", &self.scope.session), ("application", &self.scope.application)];
        let texts = [("name", Some(&self.name)), ("reason", Some(&self.reason))];
        for (field, text) in texts.into_iter().chain(scope.map(|(field, text)| (field, text.as_ref()))) {
            if text.is_some_and(|text| !fits(text)) {
                return Err(HoldError::Text(field));
            }
        }
        match (self.scope.from, self.scope.to) {
            (Some(from), Some(to)) if from >= to => Err(HoldError::Times),
            _ => Ok(()),
        }
    }
}

impl Scope {
    /// Whether the hold covers an event.
    pub fn covers<T: AsRef<str>>(&self, event: &RecordedEvent<T>) -> bool {
        fn same<T: AsRef<str>>(wanted: Option<&String>, is: Option<&T>) -> bool {
            wanted.is_none_or(|wanted| is.is_some_and(|is| is.as_ref() == wanted))
        }
        same(self.user.as_ref(), event.identity.user.as_ref().map(|user| &user.id))
            && same(self.session.as_ref(), event.session.as_ref())
            && same(self.application.as_ref(), event.identity.application.as_ref().map(|application| &application.id))
            && self.covers_time(event.observed, event.observed)
    }

    /// Whether the hold covers an event, which belongs to the user whom its session names alone where it names none: what an erasure
    /// calls a person's, a hold on that person covers.
    #[must_use]
    pub(crate) fn covers_for(&self, event: &RecordedEvent<Clean>, sessions: &Sessions) -> bool {
        if event.identity.user.is_some() || self.user.is_none() {
            return self.covers(event);
        }
        self.user.as_deref() == sessions.only_user(event) && Self { user: None, ..self.clone() }.covers(event)
    }

    /// Whether the hold can cover something that was received between `first` and `last`, both included.
    #[must_use]
    pub fn covers_time(&self, first: Timestamp, last: Timestamp) -> bool {
        self.from.is_none_or(|from| last >= from) && self.to.is_none_or(|to| first < to)
    }

    /// Whether it covers whatever lies in its time.
    #[must_use]
    pub fn is_of_everything(&self) -> bool {
        self.user.is_none() && self.session.is_none() && self.application.is_none()
    }
}

#[cfg(test)]
mod tests {
    use event::{Event, Key, Kind, Principal, Source, SourcePath};

    use super::*;

    fn keyring(dir: &std::path::Path) -> Arc<Keyring> {
        let path = dir.join("root.key");
        if !path.exists() {
            keys::create_root_key(&path).unwrap();
        }
        Arc::new(Keyring::open(&dir.join("keys"), keys::read_root_key(&path).unwrap()).unwrap())
    }

    fn hold(name: &str, scope: Scope) -> Hold {
        Hold { name: name.to_owned(), reason: "case 7".to_owned(), scope, placed: Timestamp::from_unix_ns(1), placed_by: None }
    }

    fn event(user: &str, session: &str, observed: u64) -> RecordedEvent<String> {
        let mut event = Event::new(Kind::ModelCall, "x", Source::new(SourcePath::Api, Key::of("api")));
        event.identity.user = Some(Principal::asserted(user.to_owned()));
        event.session = Some(session.to_owned());
        event.observed = Timestamp::from_unix_ns(observed);
        event
    }

    #[test]
    fn a_hold_stands_over_a_restart_until_it_is_released() {
        let dir = tempfile::tempdir().unwrap();
        let holds = Holds::open(keyring(dir.path())).unwrap();
        holds.place(hold("a", Scope::default())).unwrap();
        assert!(matches!(holds.place(hold("a", Scope::default())), Err(HoldError::Exists(_))));
        let before = holds.list();
        drop(holds);
        let again = Holds::open(keyring(dir.path())).unwrap();
        assert_eq!(again.list(), before);
        again.release("a").unwrap();
        assert!(matches!(again.release("a"), Err(HoldError::Unknown(_))));
        drop(again);
        assert!(Holds::open(keyring(dir.path())).unwrap().list().is_empty());
    }

    #[test]
    fn times_are_shown_as_people_read_them() {
        let scope = Scope { user: Some("jo".into()), from: Some(Timestamp::from_unix_ns(0)), ..Scope::default() };
        let shown = Shown::from(Hold { placed_by: Some("ann (uid:7)".into()), ..hold("a", scope) });
        let expected = serde_json::json!({
            "name": "a", "reason": "case 7", "scope": { "user": "jo", "from": "1970-01-01T00:00:00Z" },
            "placed": "1970-01-01T00:00:00.000000001Z", "placed_by": "ann (uid:7)",
        });
        assert_eq!(serde_json::to_value(shown).unwrap(), expected);
    }

    #[test]
    fn a_scope_covers_what_everything_in_it_says() {
        let at = Timestamp::from_unix_ns;
        let scope = Scope { user: Some("jo".into()), from: Some(at(10)), to: Some(at(20)), ..Scope::default() };
        for (user, observed, covered) in
            [("jo", 10, true), ("jo", 19, true), ("jo", 20, false), ("jo", 9, false), ("al", 15, false)]
        {
            assert_eq!(scope.covers(&event(user, "s", observed)), covered, "{user} {observed}");
        }
        assert!(Scope::default().covers(&event("al", "s", 1)) && Scope::default().is_of_everything());
        assert!(Scope { session: Some("s".into()), ..Scope::default() }.covers(&event("al", "s", 1)));
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let holds = Holds::open(keyring(dir.path())).unwrap();
        let at = Timestamp::from_unix_ns;
        assert!(matches!(holds.place(hold("", Scope::default())), Err(HoldError::Text("name"))));
        let backwards = Scope { from: Some(at(2)), to: Some(at(2)), ..Scope::default() };
        assert!(matches!(holds.place(hold("b", backwards)), Err(HoldError::Times)));
    }
}
