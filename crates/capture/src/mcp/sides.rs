//! Who speaks in a conversation, for whom and over what, and what a message comes to.

use event::{Direction, Identity, Trace};

use super::answer;
use super::listing::Listing;
use super::message::Id;
use crate::{Raw, RawEvent};

/// How the two sides are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Standard input and output of a process.
    Pipe,
    /// Streamable HTTP.
    Tcp,
}

/// The server as the proxy knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// Its name in the configuration or on the command line.
    pub name: String,
    /// How it is reached.
    pub transport: Transport,
    /// What pins of tools belong to: its name where an operator gave it one, else its place.
    pub identity: String,
    /// The command line that starts it, or its URL without credentials.
    pub place: String,
    /// Host and port, where there are any.
    pub address: Option<(String, u16)>,
}

/// On whose behalf the client speaks, as far as the proxy is told.
#[derive(Debug, Clone, Default)]
pub struct Who {
    /// User, application, agent, credential, client.
    pub identity: Identity<Raw>,
    /// The conversation that this belongs to.
    pub session: Option<Raw>,
    /// Where it stands in a trace, when the transport tells. What a message says of itself goes first.
    pub trace: Option<Trace>,
}

/// The two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// What a message comes to.
#[derive(Default)]
pub(super) struct Reading {
    /// What is to be recorded of it.
    pub(super) events: Vec<RawEvent>,
    /// Why it must not go on.
    pub(super) refused: Option<String>,
    /// The requests that it makes: they are answered when it does not go on.
    pub(super) asks: Vec<Id>,
    /// Those of them that wait for their answer.
    pub(super) waits: Vec<Id>,
    /// The requests that it answers: who asked is told when it does not go on.
    pub(super) answers: Vec<Id>,
    /// Definitions of tools, which are to be compared with those that are pinned.
    pub(super) listings: Vec<Listing>,
}

impl Side {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }

    pub(super) const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// What comes from it is input or output of the agent's tools.
    pub(super) const fn direction(self) -> Direction {
        match self {
            Self::Client => Direction::Input,
            Self::Server => Direction::Output,
        }
    }
}

impl Reading {
    /// What the sender of a message that does not go on is told. `None` when nothing in it asks for an answer.
    pub(super) fn answer(&self, code: i64, why: &str) -> Option<Vec<u8>> {
        answer::errors(&self.asks, code, why)
    }
}
