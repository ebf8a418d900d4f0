//! Load: sends the same spans or calls to Watchkeeper and to a peer, and stands in for the model behind a gateway
//! (`compare.py` beside this crate starts the servers and puts the figures side by side; `peers` does so for gateways); and writes a
//! whole day of events.

#![forbid(unsafe_code)]

mod calls;
mod day;
mod peers;
mod scratch;
mod spans;
mod upstream;
mod usage;

use std::time::Duration;

use clap::{Parser, Subcommand};

/// The same as in the program under test.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure Watchkeeper and other gateways in turns in front of one stand-in; prints a table
    Peers(peers::Options),
    /// The stand-in of `peers`
    StandIn(peers::StandIn),
    /// Export spans over OTLP/HTTP protobuf; prints JSON
    Spans {
        /// Base URL
        url: String,
        /// Spans in all
        #[arg(long, default_value_t = 10_000)]
        count: u64,
        /// Spans in one request
        #[arg(long, default_value_t = 25)]
        batch: u64,
        /// Requests under way at once
        #[arg(long, default_value_t = 4)]
        connections: usize,
        /// `fresh`: every text is new; `agent`: each call repeats its conversation, as agents do
        #[arg(long, default_value = "fresh")]
        texts: String,
        /// Spans a second; without it as fast as they are taken
        #[arg(long)]
        rate: Option<u64>,
        /// Each so-many-th span is an attack that a rule tells of, by a user of its own
        #[arg(long)]
        attack_every: Option<u64>,
        /// Give up after this many seconds
        #[arg(long, default_value_t = 120)]
        seconds: u64,
    },
    /// Call chat completions through a gateway; prints JSON
    Calls(calls::Options),
    /// Write a day of events through the pipeline, then verify, ask and rebuild it, and weigh it on the disk; prints a table
    Day(day::Options),
    /// Stand in for a model: answers chat completions after a delay
    Upstream {
        /// Port on loopback
        port: u16,
        /// Milliseconds before the answer
        #[arg(long, default_value_t = 20)]
        delay_ms: u64,
        /// Milliseconds between the events of a stream; without it they come at once
        #[arg(long)]
        event_ms: Option<u64>,
    },
}

fn main() -> anyhow::Result<()> {
    let command = Cli::parse().command;
    match &command {
        // They have runtimes of their own: of one the threads' time is taken.
        Command::Day(options) => day::run(options),
        Command::Peers(options) => peers::run(options),
        _ => tokio::runtime::Runtime::new()?.block_on(load(command)),
    }
}

async fn load(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Day(_) | Command::Peers(_) => Ok(()),
        Command::StandIn(options) => peers::stand_in(&options).await,
        Command::Spans { url, count, batch, connections, texts, rate, attack_every, seconds } => {
            let kind = spans::Texts { agent: texts == "agent", attack_every };
            spans::run(&url, spans::Amount { count, batch, rate }, connections, kind, Duration::from_secs(seconds)).await
        }
        Command::Calls(options) => calls::run(&options).await,
        Command::Upstream { port, delay_ms, event_ms } => {
            upstream::run(port, Duration::from_millis(delay_ms), event_ms.map(Duration::from_millis)).await
        }
    }
}

/// The value at a quantile of times, in milliseconds.
fn quantile_ms(sorted: &[Duration], of: f64) -> f64 {
    quantile(sorted, of).as_secs_f64() * 1e3
}

/// The value at a quantile of times.
fn quantile(sorted: &[Duration], quantile: f64) -> Duration {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let at = ((sorted.len().saturating_sub(1)) as f64 * quantile).round() as usize;
    sorted.get(at).copied().unwrap_or_default()
}

#[allow(clippy::print_stdout)]
fn print(value: &serde_json::Value) {
    println!("{value}");
}

#[allow(clippy::print_stderr)]
fn say(line: &str) {
    eprintln!("{line}");
}
