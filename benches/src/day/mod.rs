//! A day of events: written through the real pipeline, archived, verified, asked, rebuilt, and weighed on the disk.

mod reads;
mod restore;
mod sessions;
mod words;
mod write;

use std::fs;
use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use capture::import::{Format, LineContext, decode_line};
use event::{Event, Timestamp};
use server::{Node, NodeSettings, RootKeyPlace};

use self::reads::{Asked, Reads};
use self::sessions::Day;
use self::write::Written;
use crate::scratch::Scratch;
use crate::{quantile_ms, say};

/// Bytes of the data directory for each event, with room to spare: measured on a million.
const BYTES_PER_EVENT: u64 = 4_000;

/// Parts of the data directory that are smaller are not listed.
const WORTH_NAMING: u64 = 1_000_000;

/// How long a rebuild or archiving may take.
const REBUILD: Duration = Duration::from_secs(6 * 3_600);

/// What to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Events of the day
    #[arg(long, default_value_t = 10_000_000)]
    events: u64,
    /// Another seed gives another day
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Scratch directory; it is made, and removed at the end
    #[arg(long, default_value = "target/day")]
    dir: PathBuf,
    /// Keep the data directory of the day
    #[arg(long)]
    keep: bool,
    /// Send no more events after so many minutes, and go on with what is there
    #[arg(long)]
    minutes: Option<u64>,
    /// Part of the day that is brought back from the archive: the 24th is an hour of it
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(2..))]
    part: u32,
    /// Do not build the deleted store anew
    #[arg(long)]
    no_rebuild: bool,
    /// Recorded agent sessions (`agent-traces`) to be weighed, too
    #[arg(long)]
    traces: Option<PathBuf>,
    /// The program under test [default: `watchkeeper` beside this one]
    #[arg(long)]
    binary: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None => std::env::current_exe()?.with_file_name("watchkeeper"),
    };
    if !binary.exists() {
        bail!("{} is not there; build it: cargo build --release -p watchkeeper -p watchkeeper-benches", binary.display());
    }
    let scratch = Scratch::make(&options.dir, options.keep)?;
    // Beside the data and not in it, as the product wants it.
    let root_path = options.dir.join("root.key");
    let root = RootKeyPlace::new(Some(&root_path))?;
    let program = Program { binary, root: root_path };
    let (needed, free) = (options.events.saturating_mul(BYTES_PER_EVENT), free_bytes(&options.dir)?);
    if needed > free {
        say(&format!(
            "{} events may need {:.0} GB and {:.0} GB are free: fewer will be written if the disk fills up",
            options.events,
            needed as f64 / 1e9,
            free as f64 / 1e9
        ));
    }
    let mut lines = Lines::new();
    if let Some(traces) = &options.traces {
        let data = options.dir.join("traces");
        let written = write::write(&data, &root, recorded(traces)?, None)?;
        lines.push(format!("| **recorded agent sessions, {} events** | | |", thousands(written.events)));
        rates(&mut lines, &written);
        archive(&mut lines, &data, &root)?;
        disk(&mut lines, &data, &written)?;
        fs::remove_dir_all(&data)?;
    }
    let data = options.dir.join("day");
    let begin = day_begin();
    let day = Day::new(options.seed, options.events, begin);
    let began = Timestamp::now();
    let written = write::write(&data, &root, Box::new(day), options.minutes.map(|minutes| Duration::from_secs(minutes * 60)))?;
    lines.push(format!("| **a day of {} events, seed {}** | | |", thousands(written.events), options.seed));
    if let Some(cut) = &written.cut {
        lines.push(format!("| cut short of {}: {cut} | | |", thousands(options.events)));
    }
    rates(&mut lines, &written);
    archive(&mut lines, &data, &root)?;
    disk(&mut lines, &data, &written)?;
    verify(&mut lines, &program, &data, &written, &[])?;
    verify(&mut lines, &program, &data, &written, &["--digests"])?;
    asked(&mut lines, &reads::read(&program, &data, &written)?);
    if !options.no_rebuild {
        rebuild(&mut lines, &data, &root)?;
    }
    restored(&mut lines, &program, &data, (began, &written), options.part)?;
    drop(scratch);
    Ok(())
}

fn rates(lines: &mut Lines, written: &Written) {
    for (what, time, goal) in [
        ("acknowledged: sanitised, inspected, on disk", written.acknowledged, ""),
        ("sealed", written.sealed, ""),
        ("detected", written.detected, ""),
        ("indexed", written.indexed, ""),
        ("all of it, and closed", written.closed, "15,000 events/s per core"),
    ] {
        lines.push(format!("| {what} | {} events/s ({}) | {goal} |", thousands(per_second(written.events, time)), human(time)));
    }
    let all: Duration = written.cpu.iter().filter(|(name, _)| name.as_str() != "generate").map(|(_, time)| *time).sum();
    lines.push(format!(
        "| CPU of all stages, {} records | {} events/s per core | |",
        thousands(written.records),
        thousands(per_second(written.events, all))
    ));
    let mut parts: Vec<_> = written.cpu.iter().collect();
    parts.sort_by(|a, b| b.1.cmp(a.1));
    for (name, time) in parts {
        let micros = time.as_secs_f64() * 1e6 / written.events.max(1) as f64;
        lines.push(format!(
            "| CPU of thread `{name}` | {micros:.1} µs/event, {} events/s per core | |",
            thousands(per_second(written.events, *time))
        ));
    }
}

/// Moves what the journal still holds to the archive: until then its newest file is no place of rest.
fn archive(lines: &mut Lines, data: &Path, root: &RootKeyPlace) -> anyhow::Result<()> {
    let settings = NodeSettings { archive_after: Some(Duration::ZERO), ..NodeSettings::default() };
    let began = Instant::now();
    let node = Node::open(data, root, &settings)?;
    // A file of the journal is named by its first record: one that begins behind the last record holds none.
    let rest = || -> anyhow::Result<bool> {
        let empty = format!("{:020}.wkj", node.progress().recorded);
        let files = fs::read_dir(data.join("journal"))?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let files = files.collect::<std::io::Result<Vec<_>>>()?;
        Ok(files.iter().filter(|name| name.ends_with(".wkj")).all(|name| *name == empty))
    };
    while !rest()? {
        if let Some(reason) = node.stopped() {
            bail!("a consumer stopped: {reason}");
        }
        if began.elapsed() > REBUILD {
            bail!("the journal was not archived within {REBUILD:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    node.close()?;
    lines.push(format!("| the newest files of the journal archived, after the end | {} | |", human(began.elapsed())));
    Ok(())
}

fn disk(lines: &mut Lines, data: &Path, written: &Written) -> anyhow::Result<()> {
    let raw = written.raw_bytes;
    lines.push(format!(
        "| raw JSON, every text in every event | {} MB, {} bytes/event | |",
        thousands(raw / 1_000_000),
        raw / written.events.max(1)
    ));
    let mut parts = Vec::new();
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            parts.push((entry.file_name().to_string_lossy().into_owned(), bytes_below(&entry.path())?));
        }
    }
    parts.sort();
    for (name, bytes) in parts.iter().filter(|(_, bytes)| *bytes >= WORTH_NAMING) {
        let goal = match name.as_str() {
            "store" => "1/3",
            "archive" => "1/8",
            _ => "",
        };
        lines.push(format!(
            "| disk, `{name}/` | {} MB, {} bytes/event, 1/{:.1} of raw | {goal} |",
            thousands(bytes / 1_000_000),
            bytes / written.events.max(1),
            raw as f64 / *bytes as f64
        ));
    }
    Ok(())
}

fn verify(lines: &mut Lines, program: &Program, data: &Path, written: &Written, options: &[&str]) -> anyhow::Result<()> {
    let began = Instant::now();
    let output = program.command().arg("verify").arg(data).arg("--json").args(options).stderr(Stdio::inherit()).output()?;
    let time = began.elapsed();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).context("verify --json")?;
    if !output.status.success() || report["intact"] != serde_json::Value::Bool(true) {
        bail!("verify: {}: {report}", output.status);
    }
    let goal = 30.0 * written.records as f64 / 1e7;
    lines.push(format!(
        "| `watchkeeper verify{}`, {} records | {} ({} records/s) | {goal:.1} s |",
        options.iter().map(|option| format!(" {option}")).collect::<String>(),
        thousands(written.records),
        human(time),
        thousands(per_second(written.records, time)),
    ));
    Ok(())
}

fn asked(lines: &mut Lines, reads: &Reads) {
    lines.push(format!("| `serve`: start to ready | {} | |", human(reads.start)));
    for Asked { what, times, found } in &reads.asked {
        let goal = if what.starts_with("trace") { "p95 10 ms" } else { "p95 200 ms" };
        lines.push(format!(
            "| {what}, {found} of {} found something | p50 {:.1}, p95 {:.1}, worst {:.1} ms | {goal} |",
            times.len(),
            quantile_ms(times, 0.5),
            quantile_ms(times, 0.95),
            quantile_ms(times, 1.0)
        ));
    }
}

/// The store is derived: it is deleted and built again.
fn rebuild(lines: &mut Lines, data: &Path, root: &RootKeyPlace) -> anyhow::Result<()> {
    let store = data.join("store");
    fs::remove_dir_all(&store).with_context(|| store.display().to_string())?;
    let began = Instant::now();
    let node = Node::open(data, root, &NodeSettings::default())?;
    if !node.flush(REBUILD) {
        bail!("the store was not built again: {}", node.stopped().unwrap_or_default());
    }
    let (time, records) = (began.elapsed(), node.progress().recorded);
    node.close()?;
    lines.push(format!(
        "| rebuild of a deleted store | {} ({} records/s) | |",
        human(time),
        thousands(per_second(records, time))
    ));
    Ok(())
}

/// A part of what was received, from the middle: an hour of the day is a 24th.
fn restored(
    lines: &mut Lines,
    program: &Program,
    data: &Path,
    (began, written): (Timestamp, &Written),
    part: u32,
) -> anyhow::Result<()> {
    let hour = written.acknowledged / part;
    let from = Timestamp::from_unix_ns(began.unix_ns() + u64::try_from(hour.as_nanos() * u128::from(part.div_ceil(2) - 1))?);
    // Short runs have little in a moment.
    let to = Timestamp::from_unix_ns(from.unix_ns() + u64::try_from(hour.max(Duration::from_secs(1)).as_nanos())?);
    if let Some(restored) = restore::restore(program, data, from, to)? {
        lines.push(format!(
            "| restore of 1/{part} of what was received, {} records, from the archive alone | {} ({} records/s) | |",
            thousands(restored.records),
            human(restored.time),
            thousands(per_second(restored.records, restored.time))
        ));
    }
    Ok(())
}

/// The events of recorded agent sessions, as `watchkeeper import` makes them.
fn recorded(path: &Path) -> anyhow::Result<Box<dyn Iterator<Item = Event<String>> + Send>> {
    let file = fs::File::open(path).with_context(|| path.display().to_string())?;
    let time = Timestamp::now();
    let lines = std::io::BufReader::new(file).lines().zip(0..);
    Ok(Box::new(lines.flat_map(move |(line, number)| {
        // Lines that cannot be read are not counted on either side.
        let decoded =
            line.ok().and_then(|line| decode_line(Format::AgentTraces, line.as_bytes(), LineContext { time, line: number }).ok());
        let text = |event: capture::RawEvent| {
            event.map(
                &mut |raw: capture::Raw| raw.expose().to_owned(),
                &mut |_, raw: capture::Raw| raw.expose().to_owned(),
                &|key: String, n| format!("{key}#{n}"),
            )
        };
        decoded.unwrap_or_default().into_iter().map(text).collect::<Vec<_>>()
    })))
}

/// The begin of today (UTC): what the recorder itself records falls into the same partition of the store.
fn day_begin() -> Timestamp {
    const DAY_NS: u64 = 86_400_000_000_000;
    let now = Timestamp::now().unix_ns();
    Timestamp::from_unix_ns(now - now % DAY_NS)
}

/// Bytes that the files below a directory take on the disk.
fn bytes_below(dir: &Path) -> anyhow::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    /// What `st_blocks` counts (POSIX).
    const BLOCK: u64 = 512;
    let mut bytes = 0;
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { bytes_below(&entry.path())? } else { metadata.blocks() * BLOCK };
    }
    Ok(bytes)
}

fn free_bytes(path: &Path) -> anyhow::Result<u64> {
    let found = rustix::fs::statvfs(path).with_context(|| path.display().to_string())?;
    Ok(found.f_bavail * found.f_frsize)
}

/// The program under test, and the root key of what it reads.
struct Program {
    binary: PathBuf,
    root: PathBuf,
}

impl Program {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.env("WATCHKEEPER_ROOT_KEY", &self.root);
        command
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn per_second(events: u64, time: Duration) -> u64 {
    (events as f64 / time.as_secs_f64().max(1e-9)) as u64
}

fn human(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 1.0 {
        format!("{:.0} ms", seconds * 1e3)
    } else if seconds < 120.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{:.1} min", seconds / 60.0)
    }
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The table, line by line as it comes: hours lie between the first line and the last.
struct Lines;

impl Lines {
    fn new() -> Self {
        let mut lines = Self;
        lines.push("| what | measured | goal |".to_owned());
        lines.push("|---|--:|--:|".to_owned());
        lines
    }

    #[allow(clippy::print_stdout, clippy::unused_self, clippy::needless_pass_by_value)]
    fn push(&mut self, line: String) {
        println!("{line}");
    }
}
