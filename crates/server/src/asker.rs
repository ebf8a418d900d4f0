//! Who asks for something that is recorded with their name.

use std::net::SocketAddr;

use axum::http::{HeaderMap, header};
use event::{Client, Event, Key, Principal, Proof};

/// Where an event has the name that its asker gave for themselves.
pub(crate) const OPERATOR: &str = "watchkeeper.operator.asserted";

/// Longest name that an asker may give for themselves, in bytes.
pub const OPERATOR_BYTES_MAX: usize = 256;

/// Longest user agent that is taken of an asker, in characters.
const USER_AGENT_CHARS_MAX: usize = 256;

/// Where an event has who vouches for the person that it names: the `iss` of OpenID Connect.
pub(crate) const ISSUER: &str = "watchkeeper.user.issuer";

/// Where an event has the person's address (OpenTelemetry).
pub(crate) const EMAIL: &str = "user.email";

/// Somebody for whom an OpenID provider vouches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Names them at the provider: `sub`.
    pub subject: String,
    /// The provider: `iss`.
    pub issuer: String,
    /// What they are called there.
    pub name: Option<String>,
    /// Their address.
    pub email: Option<String>,
}

/// By what it is known who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// A key of ours: whoever holds it.
    Key {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
    },
    /// The system of this machine.
    User {
        /// The user's number.
        uid: u32,
        /// The name that the system has for the user.
        name: Option<String>,
    },
    /// The token in the data directory, where the system does not say whose process it is.
    Local,
    /// An OpenID provider.
    Person(Person),
}

impl Who {
    /// The key's id; of a user of this machine `uid:` and the number; of a person `oidc:` and the subject.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::Key { id, .. } => id.clone(),
            Self::User { uid, .. } => format!("uid:{uid}"),
            Self::Local => "local".to_owned(),
            Self::Person(person) => format!("oidc:{}", person.subject),
        }
    }

    /// What whoever asks is called.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Key { name, .. } => Some(name),
            Self::User { name, .. } => name.as_deref(),
            Self::Local => None,
            Self::Person(person) => person.name.as_deref(),
        }
    }

    /// How it was proved.
    #[must_use]
    pub fn proof(&self) -> Proof {
        match self {
            Self::Key { .. } => Proof::ApiKey,
            Self::User { .. } | Self::Local => Proof::Local,
            Self::Person(_) => Proof::Oidc,
        }
    }

    /// Whether the text names them: nobody takes their own tracks away. Users of this machine can do as they like there.
    #[must_use]
    pub(crate) fn is(&self, text: &str) -> bool {
        match self {
            Self::Key { id, .. } => id == text,
            Self::User { .. } | Self::Local => false,
            Self::Person(Person { subject, email, .. }) => self.id() == text || subject == text || email.as_deref() == Some(text),
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// By what that is known.
    pub who: Who,
    /// Who they say they are, which nobody has checked: several people can share a key or an account.
    pub operator: Option<String>,
    /// Where the request came from, where it came over the network.
    pub client: Option<Client<String>>,
    /// The sign-in at the console that it belongs to.
    pub session: Option<String>,
}

impl From<Who> for Asker {
    fn from(who: Who) -> Self {
        Self { who, operator: None, client: None, session: None }
    }
}

impl Asker {
    /// A user of this machine, by what the system says of the process that asks.
    #[must_use]
    pub fn of_user(uid: u32) -> Self {
        let name = nix::unistd::User::from_uid(uid.into()).ok().flatten().map(|user| user.name);
        Who::User { uid, name }.into()
    }

    /// The user under whom this process runs (its effective user id).
    #[must_use]
    pub fn of_process() -> Self {
        Self::of_user(nix::unistd::geteuid().as_raw())
    }

    /// What the record calls whoever asks: see [`Who::id`].
    #[must_use]
    pub fn id(&self) -> String {
        self.who.id()
    }

    /// What they are called.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.who.name()
    }

    /// With the name that they give for themselves.
    #[must_use]
    pub fn with_operator(self, operator: Option<String>) -> Self {
        Self { operator: operator.filter(|name| (1..=OPERATOR_BYTES_MAX).contains(&name.len())), ..self }
    }

    /// Who asks from there.
    pub(crate) fn with_client(self, client: Option<Client<String>>) -> Self {
        Self { client, ..self }
    }

    /// As events name who acts.
    pub(crate) fn principal(&self) -> Principal<String> {
        Principal { name: self.name().map(str::to_owned), proof: self.who.proof(), ..Principal::asserted(self.id()) }
    }

    /// Puts them into an event that tells of what they asked for.
    pub(crate) fn sign(&self, event: &mut Event<String>) {
        event.identity.user = Some(self.principal());
        event.identity.client.clone_from(&self.client);
        event.session.clone_from(&self.session);
        if let Who::Person(Person { issuer, email, .. }) = &self.who {
            event.set(Key::of(ISSUER), issuer.as_str());
            if let Some(email) = email {
                event.set(Key::of(EMAIL), email.as_str());
            }
        }
        if let Some(operator) = &self.operator {
            event.set(Key::of(OPERATOR), operator.as_str());
        }
    }
}

impl std::fmt::Display for Asker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({})", self.id()),
            None => f.write_str(&self.id()),
        }
    }
}

/// Where a request came from.
pub(crate) fn client_of(peer: SocketAddr, headers: &HeaderMap) -> Client<String> {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    Client {
        address: Some(peer.ip().to_canonical().to_string()),
        user_agent: agent.map(|agent| agent.chars().take(USER_AGENT_CHARS_MAX).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_of_this_machine_is_named_as_the_system_names_them() {
        let root = Asker::of_user(0);
        assert_eq!((root.id().as_str(), root.name()), ("uid:0", Some("root")));
        assert_eq!(root.to_string(), "root (uid:0)");
        let nobody = Asker::of_user(u32::MAX - 7);
        assert_eq!((nobody.name(), nobody.to_string()), (None, format!("uid:{}", u32::MAX - 7)));
        assert!(Asker::of_process().id().starts_with("uid:"));
    }

    #[test]
    fn the_name_that_somebody_gives_for_themselves_is_marked_as_such() {
        let mut event = crate::node::internal(event::Kind::Admin, "server.start");
        Asker::of_user(0).with_operator(Some("Jo".to_owned())).sign(&mut event);
        assert_eq!(event.identity.user.unwrap().name.as_deref(), Some("root"));
        assert!(matches!(event.attributes.get(&Key::of(OPERATOR)), Some(event::Value::Text(name)) if name == "Jo"));
        assert_eq!(Asker::of_user(0).with_operator(Some("x".repeat(OPERATOR_BYTES_MAX + 1))).operator, None);
    }

    #[test]
    fn a_person_stands_in_events_with_who_vouches_for_them() {
        let person = Person {
            subject: "4711".to_owned(),
            issuer: "https://login.example".to_owned(),
            name: Some("Ann Lee".to_owned()),
            email: Some("ann@example.com".to_owned()),
        };
        let who = Who::Person(person);
        for (text, is_own) in [("4711", true), ("oidc:4711", true), ("ann@example.com", true), ("Ann Lee", false), ("bob", false)]
        {
            assert_eq!(who.is(text), is_own, "{text}");
        }
        let mut event = crate::node::internal(event::Kind::Admin, "server.start");
        Asker::from(who).sign(&mut event);
        let user = event.identity.user.unwrap();
        assert_eq!((user.id.as_str(), user.name.as_deref(), user.proof), ("oidc:4711", Some("Ann Lee"), Proof::Oidc));
        let text = |key: &'static str| event.attributes.get(&Key::of(key)).cloned();
        assert_eq!(text(ISSUER), Some("https://login.example".into()));
        assert_eq!(text(EMAIL), Some("ann@example.com".into()));
    }
}
