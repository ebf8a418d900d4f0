//! What `watchkeeper drill` can be told.

use std::path::PathBuf;

use assure::drill::Wording;
use clap::Args;

use super::FormatName;

/// Which drills, and where.
#[derive(Debug, Args)]
pub(crate) struct DrillOptions {
    /// Play every drill: what is done without --case, too
    #[arg(long, conflicts_with = "case")]
    pub(crate) all: bool,
    /// Play one drill, by its name or its id in ATLAS (AML.CS0021, AML.T0051.001); may be given several times
    #[arg(long, value_name = "ID")]
    pub(crate) case: Vec<String>,
    /// Play the held-out wordings of each as well, which were written without a look at the rules
    #[arg(long)]
    pub(crate) held_out: bool,
    /// Play the wording in reserve of each as well, which was frozen with the held-out ones and not used when rules were mended
    #[arg(long)]
    pub(crate) reserve: bool,
    /// Say which drills there are, and play none
    #[arg(long, conflicts_with_all = ["all", "case"])]
    pub(crate) list: bool,
    /// Take the scenarios of the files DIR/*.yaml instead of those that are part of the program, and no others; what a file holds: docs/guides/drill.md
    #[arg(long, value_name = "DIR")]
    pub(crate) scenarios: Option<PathBuf>,
    /// Drill the server that runs there, with the key of WATCHKEEPER_API_KEY (role admin), instead of one of its own. WATCHKEEPER_CA
    /// names a file with the authorities that may vouch for it, in PEM, in the place of the system's
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t = FormatName::Table)]
    pub(crate) format: FormatName,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
}

impl DrillOptions {
    /// Whether a wording is asked for.
    pub(crate) fn plays(&self, wording: Wording) -> bool {
        match wording {
            Wording::First => true,
            Wording::HeldOut => self.held_out,
            Wording::Reserve => self.reserve,
        }
    }

    /// How to print.
    pub(crate) fn format(&self) -> FormatName {
        if self.json { FormatName::Json } else { self.format }
    }
}
