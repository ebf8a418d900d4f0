//! Who is signed in, and how a request is refused.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Role;

/// An error.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// What went wrong.
    pub(crate) error: ErrorMessage,
}

/// What went wrong.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorMessage {
    /// In words, with the remedy.
    pub(crate) message: String,
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) enum Permission {
    /// Send events, score texts.
    #[serde(rename = "events.send")]
    Send,
    /// Read the record without contents.
    #[serde(rename = "record.read")]
    ReadRecord,
    /// Read contents. Every use is recorded.
    #[serde(rename = "content.read")]
    ReadContent,
    /// Triage detections, suppress, save searches for others.
    #[serde(rename = "triage")]
    Triage,
    /// Administer.
    #[serde(rename = "administer")]
    Administer,
}

/// Who is signed in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionInfo {
    /// What the record calls whoever asks: the key's id; `oidc:` and the subject of a person; `local` or `uid:` and a number for commands on
    /// the server's own machine.
    pub(crate) key_id: String,
    /// The key's name, or the person's.
    pub(crate) key_name: Option<String>,
    /// The person, where one signed in by OpenID Connect and not with a key.
    pub(crate) person: Option<PersonInfo>,
    /// The role.
    pub(crate) role: Role,
    /// What that may do.
    pub(crate) permissions: Vec<Permission>,
    /// Names the sign-in in the record; none where the request came with a key.
    pub(crate) session: Option<String>,
    /// When the sign-in ends at the latest (RFC 3339).
    pub(crate) expires: Option<String>,
    /// After how many seconds without a request it ends. `GET /api/session` and live updates do not count as requests.
    pub(crate) idle_timeout_s: Option<u64>,
    /// When it ends if nothing is asked until then (RFC 3339).
    pub(crate) idle_expires: Option<String>,
    /// When the key ends (RFC 3339).
    pub(crate) key_expires: Option<String>,
    /// Version of the server.
    pub(crate) version: &'static str,
}

/// A person who signed in by OpenID Connect.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PersonInfo {
    /// Names them at the provider (`sub`).
    pub(crate) subject: String,
    /// What they are called there.
    pub(crate) name: Option<String>,
    /// Their address there.
    pub(crate) email: Option<String>,
    /// The provider (`iss`).
    pub(crate) provider: String,
}

/// A sign-in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignIn {
    /// The key: `wk_...`.
    pub(crate) key: String,
}
