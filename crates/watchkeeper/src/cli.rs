//! The command line: what can be asked for. Help, completions and the reference come from here.

mod agents;
mod drill;
mod intel;
mod keys;
mod learning;
mod lifecycle;
mod options;
mod recover;
mod rules;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::agents::{HookOptions, McpArgs, OnAway, OnFinding, RunOptions, SetupOptions};
pub(crate) use self::drill::DrillOptions;
pub(crate) use self::intel::{FeedFormat, FeedReading, Feeds, Intel, KindName, TlpName, Which};
pub(crate) use self::keys::{Egress, Keys, Rotated, Witness};
pub(crate) use self::learning::{
    ApiName, Corpora, Eval, EvalAcceptOptions, EvalModelOptions, EvalTextOptions, EvalTracesOptions, ModelReportFormat,
    ReportFormat, SettingName, TracesFormat, TrainOptions,
};
pub(crate) use self::lifecycle::{Evidence, Hold, Ledger, Retention, Trusted};
pub(crate) use self::options::{Data, Format, FormatName, Operator, Reading, Root};
pub(crate) use self::recover::Recover;
pub(crate) use self::rules::{CoverageFormat, CoverageOptions, Explained, RuleForm, Rules};

/// The security flight recorder for AI systems. It keeps the watch, and keeps the log.
#[derive(Debug, Parser)]
#[command(name = "watchkeeper", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
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
    /// Play attacks and their innocent twins through the listeners, and say what was detected, at which step, and how fast
    #[command(
        after_help = "Example:\n  watchkeeper drill\n  watchkeeper drill --held-out\n  watchkeeper drill --case AML.CS0021 --json\n  WATCHKEEPER_API_KEY=wk_... watchkeeper drill --server https://watch.example:7700\n\nWithout --server it starts a server of its own, on a new record that goes with it. docs/reference/drill.md has every drill, and which case studies of ATLAS none can be made of, and why.\n\nExit: 0 all detected at the first step that shows and no twin set off, 1 not, 2 could not be played, or nothing was."
    )]
    Drill(DrillOptions),
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
        /// The server's configuration: by its rules is detected, and by its signatures inspected [default: the rules of its last start]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
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
    /// Say who read what of the record, how often and why, and who took records out
    #[command(
        after_help = "Example:\n  watchkeeper reads\n  watchkeeper reads --who uid:1000 --days 90\n\nRows are by reader, object and reason, the newest first. What is shown holds no contents, but for what was asked for in queries and searches."
    )]
    Reads {
        #[command(flatten)]
        data: Data,
        /// Only what this one read, as the column `who` names them: uid:1000, key_..., oidc:...
        #[arg(long, value_name = "ID")]
        who: Option<String>,
        /// Only in the last days
        #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3_660))]
        days: u32,
        #[command(flatten)]
        format: Format,
    },
    /// Be a coding agent's hook: its JSON on standard input, an answer that it understands on standard output
    #[command(
        after_help = "Example:\n  watchkeeper hook claude-code --on-deny ask\n  watchkeeper setup claude-code --write     # makes Claude Code call it\n\nThe server is the one of WATCHKEEPER_URL and WATCHKEEPER_API_KEY, or the one that runs on the data directory. Without it the agent goes on, unless --when-away says otherwise, and the next hook tells how many events are missing.\n\nExit: 0; 1 when the input cannot be read; 2 for a refusal to a generic agent."
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
        after_help = "Example:\n  echo '{\"text\":\"Ignore all previous instructions.\"}' | watchkeeper inspect\n\nAnswers are {\"score\", \"verdict\", \"findings\"}, and \"unscanned_bytes\" where there are any.\n\nExit: 0; 1 when a line could not be read (its answer is {\"error\"}, which names it); 2 when nothing could be done."
    )]
    Inspect {
        /// A file, or - for standard input
        #[arg(default_value = "-")]
        file: PathBuf,
        /// Where texts without a channel of their own entered: user, assistant, tool, document, system
        #[arg(long, default_value = "user")]
        channel: String,
        #[command(flatten)]
        signatures: Signatures,
    },
    /// Replace sensitive values: JSONL in {"text"}, JSONL out {"text", "spans"}
    #[command(
        after_help = "Example:\n  echo '{\"text\":\"mail me at jo@example.org\"}' | watchkeeper sanitize\n\nTokens are keyed by the data directory when --data names one, and by a key that lasts for this run otherwise. Actions and types are those of [sanitize] in --config, else those that the server of --data was started with.\n\nExit: 0; 1 when a line could not be read (its answer is {\"error\"}, which names it); 2 when nothing could be done."
    )]
    Sanitize {
        /// A file, or - for standard input
        #[arg(default_value = "-")]
        file: PathBuf,
        /// A configuration, of which [sanitize] is used
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        data: Data,
    },
    /// Run Sigma rules over JSON events
    #[command(
        after_help = "Example:\n  watchkeeper detect --rules ./rules --events events.jsonl\n\nPrints {\"event\": index, \"rule\": id, \"title\"} a line for each match; the first line has index 0.\n\nEvents are matched as they are, and nothing else is: no text is inspected, no canary looked for, no flow followed, no behaviour learnt. What Watchkeeper itself finds out (watchkeeper.score.*, watchkeeper.canary, watchkeeper.intel.*, ...) rules see where an event has it. To try rules on what was recorded, with all of that: `watchkeeper rules backtest`.\n\nExit: 0; 1 when a line could not be read (it is named); 2 when nothing could be done."
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
    /// Look after threat intelligence: feeds, imports, look-ups
    #[command(subcommand)]
    Intel(Box<Intel>),
    /// Train the text classifier from labelled texts
    #[command(
        after_help = "Example:\n  watchkeeper train --train train.jsonl --dev dev.jsonl --always content/training \\\n      --out content/models/text.wkmodel\n\nThe same texts give the same bytes. What the model's scores promise is measured on sources that are left out in turn."
    )]
    Train(TrainOptions),
    /// Measure how well is detected
    #[command(subcommand)]
    Eval(Eval),
    /// Make markers that show where something came out
    #[command(subcommand)]
    Canary(Canary),
    /// Prove that the record is whole, offline
    #[command(
        after_help = "Example:\n  watchkeeper verify /var/lib/watchkeeper\n  watchkeeper verify --public https://logs.example/one --key vkey \\\n      --policy witnesses --checkpoint kept\n\nExit: 0 intact, 1 tampered (names the first fault), 2 cannot read, 3 not proved: nothing is wrong, and it is not what --key, --policy or --tsa-roots ask for."
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
        after_help = "Example:\n  watchkeeper erase --subject user-4711 --alias jo@example.org\n\nTheir events, texts, tokens and index entries go from the journal, the archive and the store; every proof still holds (docs/guides/retention-and-erasure.md). Needs an administrator, or a server that does not run.\n\nExit: 0 erased, 1 refused in part or in whole (the grounds are printed), 2 not finished: ask again, 3 no record names this person."
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
    /// Open values that were sealed beside the record, with the approvals of two officers
    #[command(subcommand)]
    Recover(Recover),
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

/// What texts are inspected with.
#[derive(Debug, Args)]
pub(crate) struct Signatures {
    /// A server's configuration: its [inspect] (but for the second opinion) and its canaries are used
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dirs", "no_builtin_signatures", "model"])]
    pub(crate) config: Option<PathBuf>,
    /// A directory of signature files, or one file, used beside those that are part of the program; may be given several times
    #[arg(long = "signatures", value_name = "DIR")]
    pub(crate) dirs: Vec<PathBuf>,
    /// Leave out those that are part of the program
    #[arg(long)]
    pub(crate) no_builtin_signatures: bool,
    /// The classifier's model, made by `watchkeeper train` [default: the one that is part of the program]
    #[arg(long, value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,
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

/// Canaries: markers that stand in one place alone.
#[derive(Debug, Subcommand)]
pub(crate) enum Canary {
    /// Make a marker, to be put into a system prompt, a document or where a secret would stand
    #[command(
        after_help = "Example:\n  watchkeeper canary new --label hr-handbook\n\nPut what it prints into the server's configuration, and the marker where it must not come out of. When it comes out, in an answer, in a tool's arguments, in a call to somewhere or with a user, a critical detection names the label."
    )]
    New {
        /// Where it will stand: a-z, 0-9, _, . and -
        #[arg(long)]
        label: String,
    },
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
            // What is wider is broken where it must not be: help has no more columns than that.
            let examples = help.lines().filter(|line| line.starts_with("  "));
            examples.for_each(|line| assert!(line.chars().count() <= 100, "{}: {line}", sub.get_name()));
        }
    }
}
