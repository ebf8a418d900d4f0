//! The command line: what can be asked for. Help, completions and the reference come from here.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use server::{OPERATOR_BYTES_MAX, RootKeyPlace};

/// The security flight recorder for AI systems. It keeps the watch, and keeps the log.
#[derive(Debug, Parser)]
#[command(name = "watchkeeper", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

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

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything on one machine: listeners, record, detection, console
    #[command(
        after_help = "Example:\n  watchkeeper serve --data /var/lib/watchkeeper\n\nExit: 0 after a clean stop, 2 when it cannot start or stopped on an error."
    )]
    Serve {
        #[command(flatten)]
        data: Data,
        /// A TOML file; every field has a default (docs/reference/configuration.md)
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Listen on ports that the system picks, all on loopback
        #[arg(long)]
        any_port: bool,
    },
    /// Run everything, replay recorded sessions with attacks through the real listeners, and say what was seen
    #[command(after_help = "Example:\n  watchkeeper demo\n  watchkeeper demo --exit      # print the report and end")]
    Demo {
        /// Keep the record here [default: a new directory below the system's temporary one]
        #[arg(long = "data", value_name = "DIR")]
        dir: Option<PathBuf>,
        #[command(flatten)]
        root: Root,
        /// End after the report instead of serving until Ctrl-C
        #[arg(long)]
        exit: bool,
    },
    /// Stand between an MCP client and a server: pass everything on, record it, and compare the server's tools with those seen first
    #[command(
        after_help = "Example:\n  watchkeeper mcp -- npx -y @modelcontextprotocol/server-filesystem /srv/docs\n  watchkeeper mcp --url https://mcp.example/mcp --header-env Authorization=MCP_AUTHORIZATION\n  watchkeeper mcp --pins\n\nThe server to report to is that of WATCHKEEPER_URL and WATCHKEEPER_API_KEY, or the one that runs on --data.\nExit: the command's own code; 2 when it cannot start."
    )]
    Mcp(Box<McpArgs>),
    /// Import recorded agent traces, chats, OTLP files or events
    #[command(
        after_help = "Example:\n  watchkeeper import traces.jsonl --data ./record\n\nExit: 0 all lines imported, 1 some lines refused (each is named), 2 nothing could be done."
    )]
    Import {
        #[command(flatten)]
        data: Data,
        /// Files to import
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// What the files hold [default: told from the first line]
        #[arg(long, value_enum)]
        format: Option<ImportFormat>,
    },
    /// Ask the record in SQL, over the views of docs/reference/views.md
    #[command(
        after_help = "Example:\n  watchkeeper query \"SELECT time, user_id, tool, parameters FROM agent_actions LIMIT 20\""
    )]
    Query {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        reading: Reading,
        /// One SELECT
        sql: String,
        #[command(flatten)]
        format: Format,
    },
    /// Find a text in everything that was said
    #[command(after_help = "Example:\n  watchkeeper search \"ignore previous\"")]
    Search {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        reading: Reading,
        /// What to look for
        text: String,
        /// How many hits at the most
        #[arg(long, default_value_t = 20)]
        limit: usize,
        #[command(flatten)]
        format: Format,
    },
    /// Show one trace or session, in order, with what was found
    #[command(after_help = "Example:\n  watchkeeper trace 0af7651916cd43dd8448eb211c80319c")]
    Trace {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        reading: Reading,
        /// A trace id, session id or event id
        id: String,
        /// Show long texts whole
        #[arg(long)]
        full: bool,
        #[command(flatten)]
        format: Format,
    },
    /// Show the newest events
    #[command(after_help = "Example:\n  watchkeeper tail --follow")]
    Tail {
        #[command(flatten)]
        data: Data,
        /// Go on as events come in (needs a running server)
        #[arg(long, short)]
        follow: bool,
        /// How many at first
        #[arg(long, short = 'n', default_value_t = 20)]
        lines: usize,
        #[command(flatten)]
        format: Format,
    },
    /// Be a coding agent's hook: its JSON on standard input, an answer that it understands on standard output
    #[command(
        after_help = "Example:\n  watchkeeper hook claude-code --on-deny ask\n  watchkeeper setup claude-code --write     # makes Claude Code call it\n\nThe server is the one of WATCHKEEPER_URL and WATCHKEEPER_API_KEY, or the one that runs on the data directory. Without it the\nagent goes on, unless --when-away says otherwise, and the next hook tells how many events are missing.\n\nExit: 0; 1 when the input cannot be read; 2 for a refusal to a generic agent."
    )]
    Hook(HookOptions),
    /// Run a program so that its AI calls are seen: with the variables that its SDKs and agents read
    #[command(
        after_help = "Example:\n  watchkeeper run -- python app.py\n  eval \"$(watchkeeper run --print)\"     # for this shell\n\nVariables that are set already stay as they are. Exit: as the program."
    )]
    Run(RunOptions),
    /// Print what a client needs to report here, or put it into the client's own settings
    #[command(
        after_help = "Example:\n  watchkeeper setup                       # which clients there are\n  watchkeeper setup claude-code           # shows the change\n  watchkeeper setup claude-code --write   # makes it, and keeps a copy of what was"
    )]
    Setup(SetupOptions),
    /// Score texts: JSONL in {"text", "channel"?, "context"?}, JSONL out in the same order
    #[command(
        after_help = "Example:\n  echo '{\"text\":\"Ignore all previous instructions.\"}' | watchkeeper inspect\n\nExit: 0, or 1 when a line could not be read (its answer is {\"error\"})."
    )]
    Inspect {
        /// A file, or - for standard input
        #[arg(default_value = "-")]
        file: PathBuf,
        /// Where texts without a channel of their own entered: user, assistant, tool, document, system
        #[arg(long, default_value = "user")]
        channel: String,
    },
    /// Replace sensitive values: JSONL in {"text"}, JSONL out {"text", "spans"}
    #[command(
        after_help = "Example:\n  echo '{\"text\":\"mail me at jo@example.org\"}' | watchkeeper sanitize\n\nTokens are keyed by the data directory when --data names one, and by a key that lasts for this run otherwise."
    )]
    Sanitize {
        /// A file, or - for standard input
        #[arg(default_value = "-")]
        file: PathBuf,
        #[command(flatten)]
        data: Data,
    },
    /// Run Sigma rules over JSON events
    #[command(
        after_help = "Example:\n  watchkeeper detect --rules ./rules --events events.jsonl\n\nPrints {\"event\": index, \"rule\": id, \"title\"} a line for each match."
    )]
    Detect {
        /// A directory of Sigma rules
        #[arg(long, value_name = "DIR")]
        rules: PathBuf,
        /// JSON events, one a line; - for standard input
        #[arg(long, value_name = "FILE")]
        events: PathBuf,
    },
    /// Look after rules
    #[command(subcommand)]
    Rules(Rules),
    /// Prove that the record is whole, offline
    #[command(
        after_help = "Example:\n  watchkeeper verify /var/lib/watchkeeper\n  watchkeeper verify --public https://logs.example/one --key vkey --policy witnesses --checkpoint kept\n\nExit: 0 intact, 1 tampered (names the first fault), 2 cannot read, 3 not proved: nothing is wrong, and it is not what --key,\n--policy or --tsa-roots ask for."
    )]
    Verify {
        /// The data directory
        target: Option<PathBuf>,
        #[command(flatten)]
        data: Data,
        /// The log's public key, as you know it from elsewhere (`ledger/vkey`), or a file with it [default: the directory's own]
        #[arg(long, value_name = "VKEY")]
        key: Option<String>,
        /// A file with a checkpoint of this log that you kept: the log must go on from it
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// A C2SP tlog-policy file: the witnesses that must have countersigned the record
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// Verify the archive by the digests of its objects, and not each record in it: faster, and enough against anybody who has not
        /// the log's own key
        #[arg(long)]
        digests: bool,
        /// Verify what can be verified without the root key: tree, checkpoints, signatures, digests and checksums, not texts. With
        /// an address (https://, http://, s3://BUCKET/PREFIX) or a directory: the log that is published there, and, where a data
        /// directory is named, too, that it goes on from that
        #[arg(long, value_name = "URL|DIR", num_args = 0..=1)]
        public: Option<Option<String>>,
        /// Take for not proved (exit 3) what may be lawful and yet leaves something to trust: gaps, erasures that have not ended, ends of
        /// retention that no event tells of, and records that were not read
        #[arg(long)]
        strict: bool,
        /// Certificates in PEM of the authorities whose RFC 3161 time stamps count; there must be one then
        #[arg(long, value_name = "FILE")]
        tsa_roots: Option<PathBuf>,
        /// The server's configuration, where it says that the archive lies elsewhere (`[archive]`, `[s3]`): its locks are verified, too
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print a JSON report
        #[arg(long)]
        json: bool,
    },
    /// Erase a person from the record, and leave a tombstone that says so
    #[command(
        after_help = "Example:\n  watchkeeper erase --subject user-4711 --alias jo@example.org\n\nTheir events, texts, tokens and index entries go from the journal, the archive and the store; every proof still holds\n(docs/guides/retention-and-erasure.md). Needs an administrator, or a server that does not run.\n\nExit: 0 erased, 1 refused in part or in whole (the grounds are printed), 2 not finished: ask again,\n3 no record names this person."
    )]
    Erase {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        operator: Operator,
        /// Their id, as the applications send it in `user.id`
        #[arg(long, value_name = "ID")]
        subject: String,
        /// Another value that stands for them: a mail address, a phone number; may be given several times
        #[arg(long, value_name = "VALUE")]
        alias: Vec<String>,
        /// What the request is known by elsewhere, such as the number of a ticket; it is recorded
        #[arg(long, value_name = "TEXT")]
        reference: Option<String>,
        /// Let names take fields of more records of others than the person has of their own
        #[arg(long)]
        wide: bool,
        /// The server's configuration, where the server does not run: it says which retention classes hold
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        format: Format,
    },
    /// Keep records that a case needs from being dropped or erased
    #[command(subcommand)]
    Hold(Hold),
    /// Say how long what is kept, and drop what is over
    #[command(subcommand)]
    Retention(Retention),
    /// Bring days back from the archive, so that queries see them
    #[command(
        after_help = "Example:\n  watchkeeper restore --from 2026-03-01T09:00:00Z --to 2026-03-01T10:00:00Z\n  watchkeeper restore --from 2026-03-01 --to 2026-03-02     # both days, in UTC"
    )]
    Restore {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        operator: Operator,
        /// Received at this time or later (RFC 3339, or a date)
        #[arg(long, value_name = "TIME")]
        from: String,
        /// Received before this time (RFC 3339), or up to the end of this date
        #[arg(long, value_name = "TIME")]
        to: String,
        #[command(flatten)]
        format: Format,
    },
    /// Hand records to somebody else, with proofs that hold without us
    #[command(subcommand)]
    Evidence(Evidence),
    /// Say how the server and the record are
    #[command(after_help = "Example:\n  watchkeeper status --format json")]
    Status {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        format: Format,
    },
    /// Look after the ledger
    #[command(subcommand)]
    Ledger(Ledger),
    /// Countersign the records of others, so that none of them can show two histories
    #[command(subcommand)]
    Witness(Witness),
    /// The egress proxy: the certificate that its clients are to trust
    #[command(subcommand)]
    Egress(Egress),
    /// Make, list and revoke API keys; change the key that encrypts the record's keys
    #[command(subcommand)]
    Keys(Keys),
    /// Print completions for a shell
    #[command(after_help = "Example:\n  watchkeeper completions bash > /etc/bash_completion.d/watchkeeper")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
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

#[derive(Debug, Subcommand)]
pub(crate) enum Hold {
    /// Place a hold; without a scope it covers everything
    #[command(after_help = "Example:\n  watchkeeper hold place case-17 --reason \"letter of 3 March\" --user user-4711")]
    Place {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        operator: Operator,
        /// Its name: the case
        name: String,
        /// Why
        #[arg(long)]
        reason: String,
        /// Only records of this end user
        #[arg(long, value_name = "ID")]
        user: Option<String>,
        /// Only records of this session
        #[arg(long, value_name = "ID")]
        session: Option<String>,
        /// Only records of this application
        #[arg(long, value_name = "NAME")]
        application: Option<String>,
        /// Only records received at this time or later (RFC 3339, or a date)
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// Only records received before this time (RFC 3339), or up to the end of this date
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
    },
    /// Release a hold
    #[command(after_help = "Example:\n  watchkeeper hold release case-17 --reason \"the case is closed\"")]
    Release {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        operator: Operator,
        /// Its name
        name: String,
        /// Why; it is recorded
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// List the holds that stand
    #[command(after_help = "Example:\n  watchkeeper hold list")]
    List {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        format: Format,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Retention {
    /// Show the classes and what the archive holds
    #[command(after_help = "Example:\n  watchkeeper retention show\n  watchkeeper retention show --segments")]
    Show {
        #[command(flatten)]
        data: Data,
        /// Show the segments of the archive instead of the classes
        #[arg(long)]
        segments: bool,
        /// The server's configuration, where the server does not run
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        format: Format,
    },
    /// Drop now what is over and nothing keeps; a running server does it every hour
    #[command(after_help = "Example:\n  watchkeeper retention sweep")]
    Sweep {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        operator: Operator,
        /// Vouch for the clock where it is further ahead of the newest record than a week, so that nothing is dropped by it; it is recorded
        #[arg(long)]
        clock_is_right: bool,
        /// The server's configuration, where the server does not run
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        format: Format,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Ledger {
    /// Remove the leaves of records that retention has dropped; every proof of what is left still holds
    #[command(
        after_help = "Example:\n  watchkeeper ledger prune --dry-run\n  watchkeeper ledger prune\n\nExit: 0 done, or nothing to do; 2 what was asked for is still needed, or cannot be done (docs/guides/auditors.md)."
    )]
    Prune {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        operator: Operator,
        /// Keep entries from this index on [default: all that can go, goes]
        #[arg(long, value_name = "INDEX")]
        before: Option<u64>,
        /// Say what would go, and do nothing
        #[arg(long)]
        dry_run: bool,
        /// The server's configuration, where the server does not run
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        format: Format,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Evidence {
    /// Take records out as a bundle; that you did is recorded
    #[command(
        after_help = "Example:\n  watchkeeper evidence export --session s-17 --reason \"case 17\" --out case-17.tar.gz\n  watchkeeper evidence export --query \"SELECT seq FROM events WHERE user_id = 'u'\" --reason audit --out bundle/\n  watchkeeper evidence export --session s-17 --reason \"case 17\" --withhold tokens,content:system,/unmapped --out case-17.tar.gz"
    )]
    Export {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        operator: Operator,
        /// Every record of this session
        #[arg(long, value_name = "ID", group = "what")]
        session: Option<String>,
        /// A detection, by its id, and what it rests on
        #[arg(long, value_name = "ID", group = "what")]
        incident: Option<String>,
        /// Records that a SELECT names in a column `seq` or `event_id`
        #[arg(long, value_name = "SQL", group = "what")]
        query: Option<String>,
        /// Copies in the forensic archive, from the first of two numbers of records to before the second: 17-42
        #[arg(long, value_name = "FIRST-END", group = "what")]
        forensic: Option<String>,
        /// Why: it stands in the record and in the bundle
        #[arg(long)]
        reason: String,
        /// What is not shown, while its commitments stay: paths of fields (`/identity`, `/attributes/KEY`), `content` or
        /// `content:NAME` (a role or a part: user, assistant, system, tool, document, reasoning, ...), `tokens` or `tokens:TYPE`
        #[arg(long, value_name = "FIELD[,FIELD]", value_delimiter = ',')]
        withhold: Vec<String>,
        /// A new `.tar.gz` or `.tgz`, or a new directory
        #[arg(long, value_name = "PATH")]
        out: PathBuf,
    },
    /// Write every record as a disclosure, one a line, for a verifier of your own; that you did is recorded
    #[command(
        after_help = "Example:\n  watchkeeper evidence disclose --all --reason audit --out records.jsonl\n  python3 tests/verifier/wkverify.py ledger /var/lib/watchkeeper records.jsonl"
    )]
    Disclose {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        operator: Operator,
        /// Every record that is sealed
        #[arg(long, required = true)]
        all: bool,
        /// Why: it stands in the record
        #[arg(long)]
        reason: String,
        /// A new file
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Show what a bundle holds, with a verdict for each field, text and token: disclosed, withheld, erased, tampered or unknown
    #[command(after_help = "Example:\n  watchkeeper evidence show case-17.tar.gz\n\nExit: as `evidence verify`.")]
    Show {
        /// The bundle
        bundle: PathBuf,
        #[command(flatten)]
        trust: Trusted,
        #[command(flatten)]
        format: Format,
    },
    /// Verify a bundle, offline
    #[command(
        after_help = "Example:\n  watchkeeper evidence verify case-17.tar.gz --key \"$(cat vkey)\" --policy witnesses --tsa-roots tsa.pem\n\nExit: 0 intact, 1 tampered (says what), 2 cannot read, 3 not proved: nothing is wrong, and what was asked for is missing (a key\nof the log that you know from elsewhere, witnesses, time stamps), or something is missing and nothing says why."
    )]
    Verify {
        /// The bundle
        bundle: PathBuf,
        #[command(flatten)]
        trust: Trusted,
        /// Print a JSON report
        #[arg(long)]
        json: bool,
    },
}

/// What the reader of a bundle knows from elsewhere.
#[derive(Debug, Args)]
pub(crate) struct Trusted {
    /// The log's public key, as you know it from elsewhere, or a file with it
    #[arg(long, value_name = "VKEY")]
    pub(crate) key: Option<String>,
    /// Who must have cosigned the checkpoint (and signed it, where it lists logs): a C2SP tlog-policy file
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// The authorities whose time stamps count, in PEM; there must be one then
    #[arg(long, value_name = "FILE")]
    pub(crate) tsa_roots: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Rules {
    /// Lint rules
    #[command(after_help = "Example:\n  watchkeeper rules check ./rules\n\nExit: 0 clean, 1 problems.")]
    Check {
        /// A directory [default: the rules that are part of the program]
        dir: Option<PathBuf>,
    },
    /// Run the examples of every rule
    #[command(after_help = "Example:\n  watchkeeper rules test\n\nExit: 0 all as they should be, 1 not.")]
    Test {
        /// A directory [default: the rules that are part of the program]
        dir: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Witness {
    /// Run a witness (C2SP tlog-witness)
    #[command(
        after_help = "Example:\n  watchkeeper witness serve --listen 127.0.0.1:7720 --state /var/lib/witness --name witness.example/1 --log ./vkey"
    )]
    Serve {
        /// Where to listen; without a certificate on loopback only
        #[arg(long, value_name = "ADDR")]
        listen: std::net::SocketAddr,
        /// The directory of its keys and of the checkpoints that it countersigned last; keep it whole
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
        /// The name of its keys, when they are made
        #[arg(long)]
        name: Option<String>,
        /// A key of a log, or a file with keys (`ledger/vkey`); several of one name are one log's
        #[arg(long, value_name = "VKEY", required = true)]
        log: Vec<String>,
        /// The certificate chain, PEM
        #[arg(long, value_name = "FILE", requires = "key")]
        certificate: Option<PathBuf>,
        /// The certificate's private key, PEM
        #[arg(long, value_name = "FILE", requires = "certificate")]
        key: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Egress {
    /// Print the certificate of the authority that vouches for intercepted hosts, in PEM; it is made when there is none
    #[command(
        after_help = "Example:\n  watchkeeper egress ca > egress-ca.pem\n  curl --cacert egress-ca.pem --proxy http://127.0.0.1:4020 https://api.example.com/\n\nIts clients trust it beside the authorities that they have: docs/guides/egress.md."
    )]
    Ca {
        #[command(flatten)]
        data: Data,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make a key and print it, once
    #[command(after_help = "Example:\n  watchkeeper keys create --role sensor \"checkout service\"")]
    Create {
        #[command(flatten)]
        data: Data,
        /// What it may do: admin, analyst, auditor, sensor
        #[arg(long)]
        role: String,
        /// Days until it ends
        #[arg(long, value_name = "DAYS")]
        days: Option<u64>,
        /// What it is for
        name: String,
    },
    /// List keys
    #[command(after_help = "Example:\n  watchkeeper keys list")]
    List {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        format: Format,
    },
    /// End a key at once
    #[command(after_help = "Example:\n  watchkeeper keys revoke key_0a1b2c3d4e5f")]
    Revoke {
        #[command(flatten)]
        data: Data,
        /// Its id
        id: String,
    },
    /// Show the root key's id and every pair of keys that the log signed with
    #[command(after_help = "Example:\n  watchkeeper keys show")]
    Show {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        format: Format,
    },
    /// Encrypt the keyring anew under a fresh tenant key, or give the log a new pair of signing keys
    #[command(
        after_help = "Example:\n  watchkeeper keys rotate\n  watchkeeper keys rotate --what log\n  watchkeeper keys rotate --new-root-key /secure/root-2027.key    # and destroy the old one\n\nOlder copies of the keyring open with nothing that is left in the data directory. With another root key, and the old one\ndestroyed, copies of the whole directory open no more either. Checkpoints are signed by the old and the new keys of the log until\nthe overlap is over; then the old private keys are destroyed (docs/guides/keys.md)."
    )]
    Rotate {
        #[command(flatten)]
        data: Data,
        /// What to rotate
        #[arg(
            long,
            value_enum,
            default_value_if("new_root_key", clap::builder::ArgPredicate::IsPresent, "root"),
            default_value = "tenant"
        )]
        what: Rotated,
        /// Records that the log's old keys sign along with the new ones [default: 10000]
        #[arg(long, value_name = "RECORDS")]
        overlap: Option<u64>,
        /// Wrap the tenant key by this root key (a file, or aws-kms://ARN) from now on; a file is made when it is not there. The server must not run
        #[arg(long, value_name = "FILE|URI")]
        new_root_key: Option<PathBuf>,
    },
}

/// What is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rotated {
    /// The key that the keyring is encrypted under
    Tenant,
    /// The keys that sign checkpoints, manifests and evidence
    Log,
    /// The key that wraps the tenant key; needs --new-root-key
    Root,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImportFormat {
    /// Recorded agent sessions, one a line
    AgentTraces,
    /// Chats, one a line
    ChatJsonl,
    /// OTLP requests in JSON, one a line
    OtlpJson,
    /// One OTLP trace request in protobuf
    OtlpProto,
    /// Events of POST /v1/events, one a line
    Events,
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent_and_every_command_shows_an_example() {
        let command = super::Cli::command();
        command.clone().debug_assert();
        for sub in command.get_subcommands().flat_map(|sub| {
            let below: Vec<_> = sub.get_subcommands().collect();
            if below.is_empty() { vec![sub] } else { below }
        }) {
            let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example:"), "{} has no example", sub.get_name());
        }
    }
}
