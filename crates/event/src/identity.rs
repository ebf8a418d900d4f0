//! Who did it, for whom, and how that was proved.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The identity chain of an event: the end user, the application, the agent, the agents that it acts for,
/// and the credential that was used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
pub struct Identity<T> {
    /// The end user on whose behalf it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Principal<T>>,
    /// The application or service that reported or made the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<Principal<T>>,
    /// The agent that acted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Principal<T>>,
    /// The agents that it acts for, nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delegation: Vec<Principal<T>>,
    /// The credential that was presented. Its id is a keyed hash, never the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Principal<T>>,
    /// Where the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Client<T>>,
}

/// One party of the chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
pub struct Principal<T> {
    /// Its identifier, as the source gives it.
    pub id: T,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<T>,
    /// Its version, for agents and applications.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<T>,
    /// How the identity was proved.
    #[serde(default)]
    pub proof: Proof,
}

/// The network side of a request (`client.*` of OTel).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
pub struct Client<T> {
    /// `client.address`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<T>,
    /// `user_agent.original`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<T>,
}

/// How an identity was proved. What telemetry says of itself is asserted, however likely it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// Said by the source, checked by nobody.
    #[default]
    Asserted,
    /// By an API key that Watchkeeper checked.
    ApiKey,
    /// By a client certificate that Watchkeeper checked.
    Mtls,
    /// By an OpenID Connect token that Watchkeeper checked.
    Oidc,
    /// By a credential that the upstream checked, and Watchkeeper did not.
    Upstream,
    /// By the operating system of this machine (a local command, a file import).
    Local,
}

impl<T> Principal<T> {
    /// A principal that the source merely asserts.
    pub fn asserted(id: impl Into<T>) -> Self {
        Self { id: id.into(), name: None, version: None, proof: Proof::Asserted }
    }

    /// The same principal with another type of text.
    pub fn map<U>(self, text: &mut impl FnMut(T) -> U) -> Principal<U> {
        Principal { id: text(self.id), name: self.name.map(&mut *text), version: self.version.map(text), proof: self.proof }
    }
}

impl<T> Identity<T> {
    /// The same identity with another type of text.
    pub fn map<U>(self, text: &mut impl FnMut(T) -> U) -> Identity<U> {
        Identity {
            user: self.user.map(|principal| principal.map(text)),
            application: self.application.map(|principal| principal.map(text)),
            agent: self.agent.map(|principal| principal.map(text)),
            delegation: self.delegation.into_iter().map(|principal| principal.map(text)).collect(),
            credential: self.credential.map(|principal| principal.map(text)),
            client: self
                .client
                .map(|client| Client { address: client.address.map(&mut *text), user_agent: client.user_agent.map(text) }),
        }
    }
}

impl<T> Default for Identity<T> {
    fn default() -> Self {
        Self { user: None, application: None, agent: None, delegation: Vec::new(), credential: None, client: None }
    }
}
