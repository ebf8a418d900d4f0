//! Options that many commands have: where the record is, what unlocks it, who asks, how a table is printed.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use server::{OPERATOR_BYTES_MAX, RootKeyPlace};

/// Where the record is.
#[derive(Debug, Clone, Args)]
pub(crate) struct Data {
    /// The data directory [default: $XDG_DATA_HOME/watchkeeper or ~/.local/share/watchkeeper]
    #[arg(long = "data", value_name = "DIR", env = "WATCHKEEPER_DATA")]
    pub(crate) dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) root: Root,
}

/// What unlocks it.
#[derive(Debug, Clone, Args)]
pub(crate) struct Root {
    /// The root key, an age identity, or aws-kms://ARN of a key in AWS KMS [default: $XDG_CONFIG_HOME/watchkeeper/root.key or ~/.config/watchkeeper/root.key]
    #[arg(long = "root-key", value_name = "FILE|URI", env = "WATCHKEEPER_ROOT_KEY")]
    pub(crate) root_key: Option<PathBuf>,
}

/// Who asks.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Operator {
    /// Your name, where several people share this account; it is recorded as what you say, beside what the system knows
    #[arg(long, value_name = "NAME", env = "WATCHKEEPER_OPERATOR")]
    operator: Option<String>,
}

/// Reading contents.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Reading {
    /// Read although this read cannot be recorded: for a copy of a data directory that cannot be written
    #[arg(long)]
    pub(crate) unrecorded: bool,
}

/// How to print a table.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Format {
    /// How to print
    #[arg(long, value_enum, default_value_t = FormatName::Table)]
    pub(crate) format: FormatName,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatName {
    /// For people
    Table,
    /// A list of objects
    Json,
    /// RFC 4180
    Csv,
}

impl Operator {
    /// The name, where one is given.
    pub(crate) fn name(&self) -> anyhow::Result<Option<String>> {
        let fits = |name: &String| (1..=OPERATOR_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control);
        match &self.operator {
            Some(name) if !fits(name) => {
                anyhow::bail!("--operator: a name of 1 to {OPERATOR_BYTES_MAX} bytes in one line is needed")
            }
            name => Ok(name.clone()),
        }
    }
}

impl Root {
    /// The file that was asked for, or the one that the configuration names, or the usual one.
    pub(crate) fn or(&self, configured: Option<&Path>) -> anyhow::Result<RootKeyPlace> {
        Ok(RootKeyPlace::new(self.root_key.as_deref().or(configured))?)
    }
}

impl Data {
    /// The root key of the directory.
    pub(crate) fn root(&self) -> anyhow::Result<RootKeyPlace> {
        self.root.or(None)
    }

    /// The directory that was asked for, or the usual one.
    pub(crate) fn path(&self) -> anyhow::Result<PathBuf> {
        if let Some(dir) = &self.dir {
            return Ok(dir.clone());
        }
        client::default_data_dir()
            .ok_or_else(|| anyhow::anyhow!("no data directory: name one with --data DIR or WATCHKEEPER_DATA"))
    }
}
