//! What each command does.

mod demo;
mod import;
mod keys;
mod read;
mod rules;
mod serve;
mod text;
mod verify;
mod witness;

use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::cli::{Cli, Command};

/// Runs the command. Errors that it returns end in exit code 2.
pub(crate) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Serve { data, config, any_port } => serve::serve(&data, config.as_deref(), any_port),
        Command::Demo { dir, root, exit } => demo::demo(dir, &root, exit),
        Command::Import { data, files, format } => import::import(&data, &files, format),
        Command::Query { data, reading, sql, format } => read::query(&data, reading, &sql, format.format),
        Command::Search { data, reading, text, limit, format } => read::search(&data, reading, &text, limit, format.format),
        Command::Trace { data, reading, id, format } => read::trace(&data, reading, &id, format.format),
        Command::Tail { data, follow, lines, format } => read::tail(&data, follow, lines, format.format),
        Command::Status { data, format } => read::status(&data, format.format),
        Command::Inspect { file, channel } => text::inspect(&file, &channel),
        Command::Sanitize { file, data } => text::sanitize(&file, &data),
        Command::Detect { rules, events } => rules::detect(&rules, &events),
        Command::Rules(command) => rules::rules(command),
        Command::Verify { target, data, key, checkpoint, policy, tsa_roots, json } => {
            verify::verify(target, &data, key.as_deref(), checkpoint.as_deref(), policy.as_deref(), tsa_roots.as_deref(), json)
        }
        Command::Witness(command) => witness::witness(command),
        Command::Keys(command) => keys::keys(command),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "watchkeeper", &mut crate::output::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}
