//! Watchkeeper beside other gateways, in one run on one machine: all of them in front of the same stand-in, measured in turns, so that
//! what else the machine does hits all alike.

mod gateways;
mod load;
mod process;
mod stamp;
mod stand_in;
mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::ValueEnum as _;

use self::gateways::{Gateway, Kind, Places, direct};
use self::load::{Load, Measured, load};
use self::process::{Process, free_port, listens};
pub(crate) use self::stand_in::{StandIn, stand_in};
use self::table::Table;
use crate::say;
use crate::scratch::Scratch;

/// How often memory is looked at under load: the look itself takes a millisecond or two.
const MEMORY_LOOK: Duration = Duration::from_millis(500);

/// Syncs that are timed for the caption.
const SYNCS: usize = 100;

/// What to compare.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Gateways, by commas [default: all; `before` where --before is given]
    #[arg(long, value_enum, value_delimiter = ',')]
    peers: Vec<Kind>,
    /// Clients that call at once, by commas; those beside the first say what throughput and CPU are
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64])]
    clients: Vec<usize>,
    /// Clients that read streams at once
    #[arg(long, default_value_t = 4)]
    stream_clients: usize,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Rounds, in each of which all are measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Milliseconds before the stand-in answers
    #[arg(long, default_value_t = 20)]
    delay_ms: u64,
    /// Milliseconds between two chunks of its streams
    #[arg(long, default_value_t = 5)]
    chunk_ms: u64,
    /// Where the peers are installed
    #[arg(long, default_value = "target/peers")]
    environments: PathBuf,
    /// Where their requirements and configurations are
    #[arg(long, default_value = "benches/peers")]
    configurations: PathBuf,
    /// Scratch directory; it is made, and removed at the end. Records lie there, so it should be on a disk
    #[arg(long, default_value = "target/peers-run")]
    dir: PathBuf,
    /// Keep the scratch directory, with the logs
    #[arg(long)]
    keep: bool,
    /// The program under test [default: `watchkeeper` beside this one]
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Another build of it, to be measured as well
    #[arg(long)]
    before: Option<PathBuf>,
}

/// What is measured: so many clients, whole answers or streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Case {
    stream: bool,
    clients: usize,
}

/// What one gateway did in one case, over all rounds.
#[derive(Debug, Default)]
struct Figures {
    measured: Measured,
    /// CPU time until the last answer was there.
    answered: Duration,
    /// CPU time until it was at rest again.
    rested: Duration,
    /// The most memory under load, in bytes.
    resident: u64,
    threads: BTreeMap<String, Duration>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let watchkeeper = match &options.binary {
        Some(binary) => binary.clone(),
        None => std::env::current_exe()?.with_file_name("watchkeeper"),
    };
    if !watchkeeper.exists() {
        bail!("{} is not there; build it: cargo build --release --workspace --bins", watchkeeper.display());
    }
    let scratch = Scratch::make(&options.dir, options.keep)?;
    let (upstream, places) = (free_port()?, options.dir.canonicalize()?);
    let sync = sync_time(&places)?;
    let load_before = load_average()?;
    let _stand_in = started_stand_in(options, upstream, &places)?;
    let places = Places {
        watchkeeper,
        before: options.before.clone(),
        environments: options.environments.clone(),
        configurations: options.configurations.clone(),
        scratch: places,
        upstream,
    };
    let is_due = |kind: &Kind| *kind != Kind::Before || options.before.is_some();
    let kinds = if options.peers.is_empty() { Kind::value_variants() } else { &options.peers[..] };
    let mut all = Vec::new();
    for kind in kinds.iter().filter(|kind| is_due(kind)) {
        say(&format!("starting {}", kind.name()));
        all.push((kind.start(&places)?, BTreeMap::<Case, Figures>::new()));
    }
    let bare = direct(upstream)?;
    let mut base = BTreeMap::<Case, Figures>::new();
    let mut cases: Vec<Case> = options.clients.iter().map(|clients| Case { stream: false, clients: *clients }).collect();
    cases.insert(1.min(cases.len()), Case { stream: true, clients: options.stream_clients });
    let runtime = tokio::runtime::Runtime::new()?;
    let began = Instant::now();
    for round in 0..options.rounds {
        for case in &cases {
            let of = Load { clients: case.clients, stream: case.stream, time: Duration::from_secs(options.seconds) };
            let measured = runtime.block_on(load(&bare, of))?;
            base.entry(*case).or_default().measured.add(measured);
            // Each round begins with another one: whatever comes behind a loud neighbour is not always the same.
            for nth in 0..all.len() {
                let at = (nth + round) % all.len();
                let Some((gateway, figures)) = all.get_mut(at) else { continue };
                measure(&runtime, gateway, of, figures.entry(*case).or_default())?;
            }
        }
        say(&format!("round {} of {} after {:.0} s", round + 1, options.rounds, began.elapsed().as_secs_f64()));
    }
    let captions = Caption {
        sync,
        load: (load_before, load_average()?),
        rounds: options.rounds,
        seconds: options.seconds,
        pace: (options.delay_ms, options.chunk_ms),
    };
    let figures = all.iter().map(|(gateway, figures)| (gateway.kind, figures)).collect();
    Table { base: &base, figures, cases: &cases, caption: &captions }.print();
    drop(all);
    drop(scratch);
    Ok(())
}

/// What the table has to say of how it came about.
struct Caption {
    /// Median and 99th percentile of a sync of 4 KiB.
    sync: (Duration, Duration),
    load: (String, String),
    rounds: usize,
    seconds: u64,
    pace: (u64, u64),
}

fn measure(runtime: &tokio::runtime::Runtime, gateway: &Gateway, of: Load, into: &mut Figures) -> anyhow::Result<()> {
    let process = &gateway.process;
    let threads = process.cpu_by_thread()?;
    let before = process.cpu();
    let (is_over, most) = (AtomicBool::new(false), AtomicU64::new(0));
    let measured = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                most.fetch_max(process.resident(), Ordering::Relaxed);
                std::thread::sleep(MEMORY_LOOK);
            }
        });
        let measured = runtime.block_on(load(&gateway.target, of));
        is_over.store(true, Ordering::Relaxed);
        measured
    })?;
    into.answered += process.cpu().saturating_sub(before);
    process.settle();
    into.rested += process.cpu().saturating_sub(before);
    into.resident = into.resident.max(most.into_inner());
    for (name, cpu) in crate::usage::spent(&threads, process.cpu_by_thread()?) {
        *into.threads.entry(name).or_default() += cpu;
    }
    into.measured.add(measured);
    Ok(())
}

/// The stand-in, in a process of its own.
fn started_stand_in(options: &Options, port: u16, places: &std::path::Path) -> anyhow::Result<Process> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("stand-in").arg(port.to_string());
    command.args(["--delay-ms", &options.delay_ms.to_string(), "--chunk-ms", &options.chunk_ms.to_string()]);
    let log = places.join("upstream.log");
    let mut process = Process::start(command, &log)?;
    process.wait_for(&log, || listens(port).then_some(()))?;
    Ok(process)
}

/// What this disk takes for a sync of 4 KiB behind what was synced before: no durable answer comes sooner.
fn sync_time(dir: &std::path::Path) -> anyhow::Result<(Duration, Duration)> {
    use std::io::{Seek as _, Write as _};
    let path = dir.join("sync");
    let mut file = std::fs::File::create(&path)?;
    let block = [0x5a_u8; 4096];
    // Into bytes that are there already, as a journal does.
    for _ in 0..SYNCS {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    file.rewind()?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let began = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    std::fs::remove_file(path)?;
    times.sort_unstable();
    let at = |quantile| crate::quantile(&times, quantile);
    Ok((at(0.5), at(0.99)))
}

fn load_average() -> anyhow::Result<String> {
    let line = std::fs::read_to_string("/proc/loadavg").context("the load is read from Linux's /proc")?;
    Ok(line.split_whitespace().next().unwrap_or_default().to_owned())
}
