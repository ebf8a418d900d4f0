//! Why nothing is decided, and what the start did not find.

use std::path::PathBuf;

use event::{Event, Kind, attr};
use keys::KeysError;

/// Why nothing is decided.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TriageError {
    /// What is asked for is not possible.
    #[error("{0}")]
    Refused(String),
    /// There is nothing of that id.
    #[error("no {what} has the id {id:?}")]
    Unknown {
        /// What it would be.
        what: &'static str,
        /// The id.
        id: String,
    },
    /// There are too many.
    #[error("there are {max} {what} already; {remedy}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
        /// What helps.
        remedy: &'static str,
    },
    /// The database cannot be read or written.
    #[error("state/triage.db: {0}")]
    Database(#[from] rusqlite::Error),
    /// It was written by another version.
    #[error("state/triage.db has schema {found}, this program knows {known}; use the version of the program that wrote it")]
    Schema {
        /// Its version.
        found: i64,
        /// That of this program.
        known: i64,
    },
    /// Its key cannot be had.
    #[error("the key of state/triage.db: {0}")]
    Keys(#[from] KeysError),
    /// What it holds is not what this program wrote.
    #[error("state/triage.db: {0}")]
    Form(#[from] serde_json::Error),
    /// The system gives no random numbers.
    #[error("random generator: {0}")]
    Random(std::io::Error),
    /// The database could not be opened when the server started.
    #[error("nothing that people decide can be kept: {0}; mend that and start the server again")]
    Unusable(String),
    /// A file that was set aside cannot be removed.
    #[error("state/: what was set aside of triage.db cannot be removed: {0}")]
    SetAside(std::io::Error),
}

/// That what people decided is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lost {
    /// Why it cannot be read.
    pub(crate) why: String,
    /// Where it lies now, if it was moved out of the way.
    pub(crate) lies: Option<PathBuf>,
}

impl Lost {
    /// What the record says of it.
    pub(crate) fn event(&self) -> Event<String> {
        let mut event = crate::node::internal(Kind::Admin, "triage.lost");
        event.set(attr::EVENT_ACTION, "start");
        event.set(attr::EVENT_OUTCOME, "failure");
        event.set(attr::ADMIN_OBJECT, self.to_string().as_str());
        event
    }
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { why, lies } = self;
        match lies {
            Some(lies) => {
                let name = lies.file_name().unwrap_or_default().display();
                write!(f, "{LOST} ({why}); the file is state/{name} now, and the server began without any")
            }
            None => write!(f, "{LOST} ({why}), and nothing can be decided before the server is started without this error"),
        }
    }
}

/// What a log line says of a database that is not there.
pub(super) const LOST: &str = "what people decided of detections, their suppressions and searches cannot be read";
