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

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// The key's id; of a user of this machine `uid:` and the number.
    pub id: String,
    /// The key's name, or the name that the system has for the user.
    pub name: Option<String>,
    /// Who they say they are, which nobody has checked: several people can share a key or an account.
    pub operator: Option<String>,
    /// How `id` was proved.
    pub proof: Proof,
    /// Where the request came from, where it came over the network.
    pub client: Option<Client<String>>,
    /// The sign-in at the console that it belongs to.
    pub session: Option<String>,
}

impl Asker {
    /// A user of this machine, by what the system says of the process that asks.
    #[must_use]
    pub fn of_user(uid: u32) -> Self {
        let name = nix::unistd::User::from_uid(uid.into()).ok().flatten().map(|user| user.name);
        Self { id: format!("uid:{uid}"), name, operator: None, proof: Proof::Local, client: None, session: None }
    }

    /// The user under whom this process runs (its effective user id).
    #[must_use]
    pub fn of_process() -> Self {
        Self::of_user(nix::unistd::geteuid().as_raw())
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
        Principal { name: self.name.clone(), proof: self.proof, ..Principal::asserted(self.id.clone()) }
    }

    /// Puts them into an event that tells of what they asked for.
    pub(crate) fn sign(&self, event: &mut Event<String>) {
        event.identity.user = Some(self.principal());
        event.identity.client.clone_from(&self.client);
        event.session.clone_from(&self.session);
        if let Some(operator) = &self.operator {
            event.set(Key::of(OPERATOR), operator.as_str());
        }
    }
}

impl std::fmt::Display for Asker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} ({})", self.id),
            None => f.write_str(&self.id),
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
        assert_eq!((root.id.as_str(), root.name.as_deref()), ("uid:0", Some("root")));
        assert_eq!(root.to_string(), "root (uid:0)");
        let nobody = Asker::of_user(u32::MAX - 7);
        assert_eq!((nobody.name.as_deref(), nobody.to_string()), (None, format!("uid:{}", u32::MAX - 7)));
        assert!(Asker::of_process().id.starts_with("uid:"));
    }

    #[test]
    fn the_name_that_somebody_gives_for_themselves_is_marked_as_such() {
        let mut event = crate::node::internal(event::Kind::Admin, "test");
        Asker::of_user(0).with_operator(Some("Jo".to_owned())).sign(&mut event);
        assert_eq!(event.identity.user.unwrap().name.as_deref(), Some("root"));
        assert!(matches!(event.attributes.get(&Key::of(OPERATOR)), Some(event::Value::Text(name)) if name == "Jo"));
        assert_eq!(Asker::of_user(0).with_operator(Some("x".repeat(OPERATOR_BYTES_MAX + 1))).operator, None);
    }
}
