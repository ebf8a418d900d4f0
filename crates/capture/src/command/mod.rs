//! What a command installs: packages, images, scripts from the network, MCP servers, skills and plugins, whichever tool runs it.
//!
//! A command line is read by a shell parser of our own ([`shell`]), what stands around commands is taken off ([`walk`]: `sudo`, `env`,
//! `bash -c`, `xargs` ...), and a table ([`table`], `content/installers.toml`) says which commands install what. [`derive`] looks
//! for commands in events and adds an `installation` event for each.

mod derive;
mod shell;
mod spec;
mod table;
mod walk;
mod words;

pub use derive::{Deriving, installations_in};
pub use table::{Table, TableError};
pub use walk::{installations, installations_of};

/// Something that a command installs.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Installation {
    /// What installs it: `pip`, `npm`, `docker`, `script` ...
    pub manager: String,
    /// Its name. `None` where the command names a file that lists packages, or what a project asks for.
    pub package: Option<String>,
    /// The version, or the range of versions, as it was asked for.
    pub version: Option<String>,
    /// Where it comes from, where that is said: a registry, a URL, a file, a directory.
    pub source: Option<String>,
}
