//! The inspector that options of the command line ask for.

use anyhow::ensure;
use inspect::{Canaries, Inspector};
use server::{Config, InspectConfig};

use crate::cli::Signatures;

pub(super) fn of(options: &Signatures) -> anyhow::Result<Inspector> {
    if let Some(file) = &options.config {
        let Config { inspect, canary, .. } = Config::read(file)?;
        // Texts come as they are here: no token of the sanitiser stands for a marker.
        return Ok(inspect.inspector()?.with_canaries(Canaries::new(&canary, &|_| Vec::new())?));
    }
    // A server may wait for files that come later. Here nothing would ever come.
    for dir in &options.dirs {
        let files = server::read_signatures(dir)?;
        ensure!(!files.is_empty(), "--signatures: there are no signatures in {}: they are *.yaml and *.yml files", dir.display());
    }
    let config = InspectConfig {
        signatures: options.dirs.clone(),
        builtin_signatures: !options.no_builtin_signatures,
        model: options.model.clone(),
        second_opinion: None,
    };
    Ok(config.inspector()?)
}
