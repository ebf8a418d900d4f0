//! The `watchkeeper` command: a thin face over the libraries of the workspace.

#![forbid(unsafe_code)]

mod cli;
mod commands;
mod local_api;
mod output;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;

/// Texts are made on the threads of the network and let go by those of the consumers. With mimalloc 3.3 what such threads leave in half-used
/// pages grew without end: 1,121 MiB after 23 minutes of the soak and growing, where jemalloc levels off (BENCHMARKS.md, "Soak").
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let filter =
        tracing_subscriber::EnvFilter::try_from_env("WATCHKEEPER_LOG").unwrap_or_else(|_| "warn,watchkeeper=info".into());
    let is_terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(is_terminal).with_writer(std::io::stderr).init();
    match commands::run(cli) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&chain(&error));
            ExitCode::from(2)
        }
    }
}

/// The error with its causes, each said once: some messages already quote theirs.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string).filter(|cause| !cause.is_empty()) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// `watchkeeper query … | head` ends when `head` does, and that is no error.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe))
}
