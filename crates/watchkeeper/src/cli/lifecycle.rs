//! Commands of what is kept, for how long, and what is shown of it: holds, retention, the ledger, evidence.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Data, Format, Operator};

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
        after_help = "Example:\n  watchkeeper evidence export --session s-17 --reason \"case 17\"\n  watchkeeper evidence export --session s-17 --reason \"case 17\" --out case-17.tar.gz\n  watchkeeper evidence export --query \"SELECT seq FROM events WHERE user_id = 'u'\" \\\n      --reason audit --out bundle/\n  watchkeeper evidence export --session s-17 --reason \"case 17\" \\\n      --withhold tokens,content:system,/unmapped --out case-17.tar.gz"
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
        /// A new `.tar.gz` or `.tgz`, or a new directory; nothing is written over [default: evidence-WHAT-TIME.tar.gz here]
        #[arg(long, value_name = "PATH")]
        out: Option<PathBuf>,
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
        after_help = "Example:\n  watchkeeper evidence verify case-17.tar.gz --key \"$(cat vkey)\" \\\n      --policy witnesses --tsa-roots tsa.pem\n\nExit: 0 intact, 1 tampered (says what), 2 cannot read, 3 not proved: nothing is wrong, and what was asked for is missing (a key of the log that you know from elsewhere, witnesses, time stamps), or something is missing and nothing says why."
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
