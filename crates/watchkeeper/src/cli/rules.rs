//! The command line of rules.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::options::{Data, Format, Reading};

/// What is to be explained.
#[derive(Debug, Args)]
pub(crate) struct Explained {
    /// The rule: its id, name or title; of a detection its own where left out
    pub(crate) rule: Option<String>,
    /// JSON events with the fields that rules see, one a line; - for standard input
    #[arg(long, value_name = "FILE", group = "what")]
    pub(crate) event: Option<PathBuf>,
    /// A recorded detection
    #[arg(long, value_name = "ID", group = "what")]
    pub(crate) detection: Option<String>,
    /// A recorded event
    #[arg(long, value_name = "ID", group = "what", required_unless_present_any = ["event", "detection"])]
    pub(crate) event_id: Option<String>,
    /// A directory of rules beside those of the program, or, for what is recorded, beside those in force
    #[arg(long, value_name = "DIR")]
    pub(crate) rules: Option<PathBuf>,
    /// Where no server runs: the server's configuration, whose rules are those in force [default: the rules of its last start]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) data: Data,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Rules {
    /// Lint Sigma rules and signature files
    #[command(
        after_help = "Example:\n  watchkeeper rules check ./rules\n  watchkeeper rules check ./rules --strict\n\nExit: 0 clean, 1 problems."
    )]
    Check {
        /// A directory [default: the rules that are part of the program]
        dir: Option<PathBuf>,
        /// A rule for whatever log source must have an event on which it fires and one on which it does not, as `rules.strict` asks for
        #[arg(long)]
        strict: bool,
    },
    /// Say why a rule matches an event, or does not: every selection and item, what was looked for and what was there
    #[command(
        after_help = "Example:\n  watchkeeper rules explain \"Shell or interpreter run by a tool\" --event event.json\n  watchkeeper rules explain --detection 01JD...\n  watchkeeper rules explain my-rule --rules ./rules --event-id 01JD...\n\nOf --event with several lines the last is explained, after the others. What is recorded is explained as detection saw it, with everything before.\n\nExit: 0 it matches, 1 it does not, 2 nothing could be explained."
    )]
    Explain(Explained),
    /// Show a runbook: what to do about a detection
    #[command(
        after_help = "Example:\n  watchkeeper rules runbook exfiltration\n\nDetections name theirs: `watchkeeper query \"SELECT title, runbook FROM detections\"`.\n\nExit: 0; 2 when there is no such runbook."
    )]
    Runbook {
        /// Its name [default: the names of all]
        name: Option<String>,
    },
    /// Try rules on what is recorded: what they would have detected, of whom, on which days
    #[command(
        after_help = "Example:\n  watchkeeper rules backtest ./rules --since 2026-03-01\n\nNothing but the read itself is recorded. The engine is that of live detection.\n\nExit: 0; 2 when nothing could be tried."
    )]
    Backtest {
        /// A directory of Sigma rules, or one file
        rules: PathBuf,
        #[command(flatten)]
        data: Data,
        /// Only what was received at this time or later (RFC 3339, or a date)
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Only what was received before
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// With the rules in force beside them, of which filters and correlations may speak
        #[arg(long)]
        beside: bool,
        /// Where no server runs: the server's configuration, whose rules are those in force [default: the rules of its last start]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        format: Format,
    },
    /// Run all of detection over the record once more, and compare with what it said
    #[command(
        after_help = "Example:\n  watchkeeper rules replay\n\nWhat detection has not come to yet is not compared. Differences of rules that came, went or changed since are told, and count as none.\n\nExit: 0 it says the same, 1 it does not, 2 it could not be replayed."
    )]
    Replay {
        #[command(flatten)]
        data: Data,
        /// Where no server runs: the server's configuration, whose rules are those in force [default: the rules of its last start]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        format: Format,
    },
    /// Make signatures of the rules of others, try them, and say what was dropped
    #[command(
        after_help = "Example:\n  npm pack agent-threat-rules && tar xf agent-threat-rules-*.tgz\n  watchkeeper rules import --from atr package/rules --to ./signatures/atr --benign innocent.jsonl\n\nA rule that fails its own examples, or is found in innocent texts (the innocent examples of all other rules, and the lines of --benign: {\"text\", \"channel\"?, \"kind\"?}), is written with `enabled: false` and the reason. The table shows the rules that are not used, or not as a whole; import.json, --format json and csv have all.\n\nExit: 0 imported, 2 nothing could be imported."
    )]
    Import {
        /// The form of the rules
        #[arg(long, value_enum)]
        from: RuleForm,
        /// A directory of rules, or one file
        path: PathBuf,
        /// Where signature files are written, with import.json, which says what became of each rule: a new or an empty directory
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        /// Innocent texts, one a line; what is found in one of them is not enabled
        #[arg(long, value_name = "FILE")]
        benign: Vec<PathBuf>,
        #[command(flatten)]
        format: Format,
    },
    /// Run the examples of every rule
    #[command(after_help = "Example:\n  watchkeeper rules test\n\nExit: 0 all as they should be, 1 not.")]
    Test {
        /// A directory [default: the rules that are part of the program]
        dir: Option<PathBuf>,
    },
    /// Which techniques of MITRE ATLAS the rules cover
    #[command(
        after_help = "Example:\n  watchkeeper rules coverage\n  watchkeeper rules coverage --data /var/lib/watchkeeper --days 7\n  watchkeeper rules coverage --format navigator > layer.json     # open it in the ATLAS Navigator\n\nCovered: the examples of a rule pass, and the record of the last days has the fields that it needs. Where neither --data nor WATCHKEEPER_DATA names a record none is asked, not even the usual one: examples only.\n\nRules of DIR are judged beside those of the program, as a server does, and counted alone. Those that cannot be used are named.\n\nExit: 0, 1 when an example comes out otherwise or a rule cannot be used, 2 when it cannot be told."
    )]
    Coverage(CoverageOptions),
}

/// `watchkeeper rules coverage`.
#[derive(Debug, Args)]
pub(crate) struct CoverageOptions {
    /// A directory of rules [default: where a record is asked those in force, else those that are part of the program]
    #[arg(value_name = "DIR")]
    pub(crate) rules: Option<PathBuf>,
    /// Where no server runs: the server's configuration, whose rules are those in force [default: the rules of its last start]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) data: Data,
    #[command(flatten)]
    pub(crate) reading: Reading,
    /// Days of the record that are asked; of a running server for the rules in force: 1, 7, 30, 90, 365 or 3660
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=3660))]
    pub(crate) days: u16,
    /// Also show techniques without a rule (the other formats always have them)
    #[arg(long)]
    pub(crate) all: bool,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: CoverageFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CoverageFormat {
    /// For people
    Table,
    /// Everything
    Json,
    /// A layer of the ATLAS Navigator
    Navigator,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RuleForm {
    /// Agent Threat Rules (npm agent-threat-rules, PyPI pyatr): *.yaml
    Atr,
    /// NOVA rules (Nova-Hunting): *.nov
    Nova,
}
