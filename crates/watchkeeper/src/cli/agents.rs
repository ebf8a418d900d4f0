//! Options of the commands that stand beside agents: hooks, runs, setups, the MCP proxy.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Data, Format};

/// A coding agent's hook.
#[derive(Debug, Args)]
pub(crate) struct HookOptions {
    /// Whose: claude-code, codex, gemini, cursor, generic
    pub(crate) agent: String,
    /// The data directory of the server on this machine, unless WATCHKEEPER_URL names another
    #[arg(long = "data", value_name = "DIR", env = "WATCHKEEPER_DATA")]
    pub(crate) dir: Option<PathBuf>,
    /// What becomes of a text with the verdict `warn`
    #[arg(long, value_enum, default_value_t = OnFinding::Observe)]
    pub(crate) on_warn: OnFinding,
    /// What becomes of a text with the verdict `deny`
    #[arg(long, value_enum, default_value_t = OnFinding::Observe)]
    pub(crate) on_deny: OnFinding,
    /// What becomes of a call that cannot be recorded or judged
    #[arg(long, value_enum, default_value_t = OnAway::Allow)]
    pub(crate) when_away: OnAway,
    /// How long the server may take for an answer, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(10..=600_000))]
    pub(crate) patience_ms: u64,
}

/// What a hook does about a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnFinding {
    /// Record it
    Observe,
    /// Have the agent ask; refuse where it cannot
    Ask,
    /// Refuse
    Deny,
}

/// What a hook does without a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnAway {
    /// Let the agent go on
    Allow,
    /// Refuse
    Deny,
}

/// A program and its environment.
#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// The data directory of the server on this machine
    #[arg(long = "data", value_name = "DIR", env = "WATCHKEEPER_DATA")]
    pub(crate) dir: Option<PathBuf>,
    /// Where OTLP over HTTP goes [default: the running server's, or http://127.0.0.1:4318]
    #[arg(long, value_name = "URL")]
    pub(crate) otlp: Option<String>,
    /// Where the LLM gateway is [default: the running server's, or http://127.0.0.1:4000]
    #[arg(long, value_name = "URL")]
    pub(crate) gateway: Option<String>,
    /// Ask instrumentations to leave texts out
    #[arg(long)]
    pub(crate) no_content: bool,
    /// Print the variables as a shell reads them, and run nothing
    #[arg(long)]
    pub(crate) print: bool,
    /// The program with its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<std::ffi::OsString>,
}

/// A client's settings.
#[derive(Debug, Args)]
pub(crate) struct SetupOptions {
    /// Which client; without one they are listed
    pub(crate) client: Option<String>,
    /// The data directory of the server on this machine
    #[arg(long = "data", value_name = "DIR", env = "WATCHKEEPER_DATA")]
    pub(crate) dir: Option<PathBuf>,
    /// Put it into the settings
    #[arg(long)]
    pub(crate) write: bool,
    /// The settings file [default: the client's own in the home directory]
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

/// What the MCP proxy is told.
#[derive(Debug, Args)]
pub(crate) struct McpArgs {
    #[command(flatten)]
    pub(crate) data: Data,
    /// The server's URL (streamable HTTP); the client speaks over standard input and output
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// With --url: speak HTTP to the client, on this loopback address, at /NAME
    #[arg(long, value_name = "ADDR", requires = "url")]
    pub(crate) listen: Option<std::net::SocketAddr>,
    /// The server's name in the record; its pinned tools belong to it [default: made from the command or URL]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// With --url: a header whose value is in a variable, such as Authorization=TOKEN; may be given several times
    #[arg(long, value_name = "NAME=VARIABLE")]
    pub(crate) header_env: Vec<String>,
    /// The end user on whose behalf
    #[arg(long, env = "WATCHKEEPER_USER")]
    pub(crate) user: Option<String>,
    /// The conversation [default: one for each start]
    #[arg(long, env = "WATCHKEEPER_SESSION")]
    pub(crate) session: Option<String>,
    /// The application [default: what the client calls itself]
    #[arg(long, env = "WATCHKEEPER_APPLICATION")]
    pub(crate) application: Option<String>,
    /// The agent
    #[arg(long, env = "WATCHKEEPER_AGENT")]
    pub(crate) agent: Option<String>,
    /// A tool that may be called, NAME or BEGINNING*; all without it; may be given several times
    #[arg(long, value_name = "TOOL")]
    pub(crate) allow: Vec<String>,
    /// A tool that may not be called, whatever --allow says; may be given several times
    #[arg(long, value_name = "TOOL")]
    pub(crate) deny: Vec<String>,
    /// Let pass what --allow and --deny would stop, and record that
    #[arg(long)]
    pub(crate) observe: bool,
    /// Keep a changed definition of a tool from the client, and the tool from being called, until it is approved
    #[arg(long)]
    pub(crate) block_drift: bool,
    /// Hand out a result only when it is recorded; requests always wait
    #[arg(long)]
    pub(crate) hold_results: bool,
    /// Let messages pass that cannot be recorded
    #[arg(long)]
    pub(crate) fail_open: bool,
    /// Add a trace context to requests that have none
    #[arg(long)]
    pub(crate) add_trace: bool,
    /// Show the tools whose definitions are pinned
    #[arg(long, conflicts_with_all = ["url", "command", "approve"])]
    pub(crate) pins: bool,
    /// Take definitions that wait for the pinned ones: of the server with this id, or with this name where one alone has it
    #[arg(long, value_name = "SERVER", requires = "hash", conflicts_with_all = ["url", "command"])]
    pub(crate) approve: Option<String>,
    /// With --approve: the hash of a definition that waits, as --pins shows it; may be given several times
    #[arg(long, value_name = "HASH", requires = "approve")]
    pub(crate) hash: Vec<String>,
    #[command(flatten)]
    pub(crate) format: Format,
    /// The command that starts the server
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}
