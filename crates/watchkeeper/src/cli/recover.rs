//! Commands of what two officers open together.

use std::path::PathBuf;

use clap::Subcommand;

use super::{Data, Format, Operator};

#[derive(Debug, Subcommand)]
pub(crate) enum Recover {
    /// Ask for the sealed values of a record; the officers approve the file that this writes
    #[command(
        after_help = "Example:\n  watchkeeper recover request --record 0192f3a4-… --reason \"case 17\" --out request.json\n\nNeeds an administrator, or a server that does not run. It is recorded."
    )]
    Request {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        operator: Operator,
        /// The event's id
        #[arg(long, value_name = "ID")]
        record: String,
        /// Why; it is recorded
        #[arg(long)]
        reason: String,
        /// Where the request is written; there must be no such file
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Approve a request as an officer, on a machine of her own: no data directory is needed
    #[command(after_help = "Example:\n  watchkeeper recover approve request.json --identity ~/officer.key --out ann.share")]
    Approve {
        /// The request
        request: PathBuf,
        /// The officer's age identity
        #[arg(long, value_name = "FILE")]
        identity: PathBuf,
        /// Where the share is written; there must be no such file
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Print the values, with the shares of two officers
    #[command(
        after_help = "Example:\n  watchkeeper recover open request.json --share ann.share --share bo.share\n\nThe approvals and the opening are recorded before anything is printed."
    )]
    Open {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        operator: Operator,
        /// The request
        request: PathBuf,
        /// A share; give two, of two officers
        #[arg(long, value_name = "FILE", required = true)]
        share: Vec<PathBuf>,
        #[command(flatten)]
        format: Format,
    },
}
