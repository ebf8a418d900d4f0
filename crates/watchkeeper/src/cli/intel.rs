//! `intel`: threat intelligence.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{Data, Format};

/// Indicators of others: feeds, imports, look-ups.
#[derive(Debug, Subcommand)]
pub(crate) enum Intel {
    /// Say what of a feed can be looked up, and what cannot and why
    #[command(
        after_help = "Example:\n  watchkeeper intel check bundle.json\n  watchkeeper intel check drop.txt --feed-format plain --values ip\n\nLooked up: what holds now, or will. Expired: what only events of before then are looked up in.\n\nExit: 0 everything can be looked up, 1 something cannot, or all of it has expired, 2 the file is no feed."
    )]
    Check {
        /// A bundle of STIX 2.1, an event of MISP, CSV or JSON of abuse.ch, or a list with one value a line
        file: PathBuf,
        #[command(flatten)]
        reading: FeedReading,
        #[command(flatten)]
        format: Format,
    },
    /// Import a feed into a record: a server that runs on it looks it up within seconds
    #[command(
        after_help = "Example:\n  watchkeeper intel import bundle.json --name isac\n  watchkeeper intel import prompts.txt --name known-prompts --values prompt --confidence 90\n\nWhat was imported under that name before is replaced.\n\nExit: 0 imported, 1 imported in part, 2 not imported."
    )]
    Import {
        #[command(flatten)]
        data: Data,
        /// As of `intel check`
        file: PathBuf,
        /// What the import is called: letters, digits, - and _
        #[arg(long)]
        name: String,
        #[command(flatten)]
        reading: FeedReading,
    },
    /// Remove what was imported under a name
    #[command(after_help = "Example:\n  watchkeeper intel remove isac\n\nExit: 0 removed, 1 there was nothing.")]
    Remove {
        #[command(flatten)]
        data: Data,
        /// The name of the import
        name: String,
    },
    /// List the indicators of a record: of the feeds of its server's configuration, and of imports
    #[command(
        after_help = "Example:\n  watchkeeper intel list --kind prompt --format json\n  watchkeeper intel list --source own --config /etc/watchkeeper.toml\n\nExit: 0; 2 when a feed cannot be read."
    )]
    List {
        #[command(flatten)]
        record: Feeds,
        #[command(flatten)]
        which: Which,
        /// At most so many
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
        #[command(flatten)]
        format: Format,
    },
    /// Look texts up: one a line, or JSONL of {"text"}; JSONL out, one line for each hit
    #[command(
        after_help = "Example:\n  echo 'see http://evil.example/x' | watchkeeper intel match - --feed list.txt\n  watchkeeper intel match prompts.jsonl --data ./record\n\nOut: {\"line\", \"kind\", \"value\", \"seen\", \"id\", \"source\", \"confidence\", \"tlp\", \"label\"}\n\nExit: 0 nothing was found, 1 something was, 2 nothing could be done, or there is no indicator to look up in."
    )]
    Match {
        #[command(flatten)]
        record: Feeds,
        /// The texts; - for standard input
        file: PathBuf,
        /// Look up in this feed, and not in the record's; may be given several times
        #[arg(long = "feed", value_name = "FILE")]
        feeds: Vec<PathBuf>,
        #[command(flatten)]
        reading: FeedReading,
        /// More warning lists in the format of MISP
        #[arg(long = "warning-list", value_name = "FILE")]
        warning_lists: Vec<PathBuf>,
    },
    /// Write the indicators of a record as a bundle of STIX 2.1
    #[command(
        after_help = "Example:\n  watchkeeper intel export --kind near-prompt --kind prompt --tlp-max green > prompts.json"
    )]
    Export {
        #[command(flatten)]
        record: Feeds,
        #[command(flatten)]
        which: Which,
        /// Leave out what may not be shared with so many
        #[arg(long, value_enum, default_value_t = TlpName::Green)]
        tlp_max: TlpName,
    },
}

/// A record, and the feeds that are in force in it.
#[derive(Debug, Clone, Args)]
pub(crate) struct Feeds {
    #[command(flatten)]
    pub(crate) data: Data,
    /// The server's configuration, whose feeds and warning lists are those in force [default: those of its last start]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// How a feed is read.
#[derive(Debug, Clone, Args)]
pub(crate) struct FeedReading {
    /// What the file is [default: told from its first bytes]
    #[arg(long, value_enum)]
    pub(crate) feed_format: Option<FeedFormat>,
    /// What the values of a plain list are [default: told by their form]
    #[arg(long, value_enum)]
    pub(crate) values: Option<KindName>,
    /// How sure the feed is where it does not say, 0 to 100
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) confidence: u8,
    /// With whom it may be shared where it does not say
    #[arg(long, value_enum, default_value_t = TlpName::Clear)]
    pub(crate) tlp: TlpName,
    /// Days for which an indicator holds that does not say until when
    #[arg(long)]
    pub(crate) expires_days: Option<u32>,
}

/// Which indicators.
#[derive(Debug, Clone, Args)]
pub(crate) struct Which {
    /// Of this kind alone; may be given several times
    #[arg(long = "kind", value_enum)]
    pub(crate) kinds: Vec<KindName>,
    /// Of this source alone
    #[arg(long)]
    pub(crate) source: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FeedFormat {
    /// STIX 2.1
    Stix,
    /// An event of MISP
    Misp,
    /// abuse.ch: URLhaus, ThreatFox, Feodo Tracker, MalwareBazaar
    AbuseCh,
    /// One value in a line
    Plain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KindName {
    Domain,
    Url,
    Ip,
    Email,
    Hash,
    UserAgent,
    Command,
    Package,
    McpServer,
    /// The same words
    Prompt,
    /// Nearly the same words
    NearPrompt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TlpName {
    Clear,
    Green,
    Amber,
    AmberStrict,
    Red,
}
