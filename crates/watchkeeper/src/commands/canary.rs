//! `watchkeeper canary`: markers that show where something came out.

use inspect::{Canaries, Canary};

use crate::output::say;

/// Prints a new marker as the server's configuration has it.
pub(super) fn new(label: String) -> anyhow::Result<std::process::ExitCode> {
    let canary = Canary { label, marker: server::new_marker()? };
    Canaries::new(std::slice::from_ref(&canary), &|_| Vec::new())?;
    say(&format!("[[canary]]\nlabel  = \"{}\"\nmarker = \"{}\"", canary.label, canary.marker))?;
    Ok(std::process::ExitCode::SUCCESS)
}
