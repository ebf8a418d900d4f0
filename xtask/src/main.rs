//! What the project needs done, as one program: `cargo xtask`.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};

const HELP: &str = "cargo xtask COMMAND

  setup     make what the tests need: a Python environment for each real client (needs python3 with venv)
  test      setup, then every test
  lint      formatting, clippy with warnings as errors, licences and sources of dependencies
  docs      write the reference pages and schemas that are generated from code
  crash     SIGKILL under load, 20 rounds
  tamper    2,000 changed bytes, each found and named
  fuzz      every fuzz target for 10 minutes each (needs a nightly toolchain and cargo-fuzz); `fuzz SECONDS` for another time
  bench     criterion benchmarks of every crate";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.first().map(String::as_str) {
        Some("setup") => setup(),
        Some("test") => setup().and_then(|()| cargo(&["test", "--workspace"], &[])),
        Some("lint") => lint(),
        Some("docs") => cargo(&["test", "--workspace", "--lib"], &[("WATCHKEEPER_WRITE_DOCS", "1")]),
        Some("crash") => long_test("crash::", ("WATCHKEEPER_CRASH_ROUNDS", "20")),
        Some("tamper") => long_test("tamper::", ("WATCHKEEPER_TAMPERS", "2000")),
        Some("fuzz") => fuzz(arguments.get(1).map_or("600", String::as_str)),
        Some("bench") => cargo(&["bench", "--workspace"], &[]),
        _ => {
            say(HELP);
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// One environment for each file of requirements: the versions that they need exclude each other.
fn setup() -> anyhow::Result<()> {
    let root = root()?;
    let clients = root.join("tests/clients");
    let environments = [
        ("archive", "archive/requirements.txt"),
        ("gateway", "gateway/requirements.txt"),
        ("otel-genai", "otel/requirements-otel-genai.txt"),
        ("otel-v2", "otel/requirements-otel-v2.txt"),
        ("openinference", "otel/requirements-openinference.txt"),
        ("openllmetry", "otel/requirements-openllmetry.txt"),
    ];
    for (name, requirements) in environments {
        let wanted = std::fs::read_to_string(clients.join(requirements)).with_context(|| requirements.to_owned())?;
        let environment = root.join("target/clients").join(name);
        let marker = environment.join("installed.txt");
        if std::fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
            continue;
        }
        say(&format!("setup: {name}"));
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))
            .context("python3 with venv is needed (Debian: apt-get install python3-venv)")?;
        let pip = environment.join("bin/pip");
        run(Command::new(pip).args(["install", "--quiet", "--disable-pip-version-check", "-r"]).arg(clients.join(requirements)))?;
        std::fs::write(marker, wanted)?;
    }
    Ok(())
}

fn lint() -> anyhow::Result<()> {
    cargo(&["fmt", "--all", "--check"], &[])?;
    cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[])?;
    // Advisories need the network's database; CI has none and checks the rest.
    cargo(&["deny", "--offline", "check", "licenses", "bans", "sources"], &[])
        .context("cargo-deny is needed: cargo install cargo-deny --locked")
}

fn long_test(filter: &str, variable: (&str, &str)) -> anyhow::Result<()> {
    cargo(&["test", "--release", "--package", "watchkeeper", "--test", "it", filter, "--", "--nocapture"], &[variable])
}

fn fuzz(seconds: &str) -> anyhow::Result<()> {
    let listed = Command::new("cargo").args(["+nightly", "fuzz", "list"]).current_dir(root()?).output()?;
    if !listed.status.success() {
        bail!("a nightly toolchain and cargo-fuzz are needed: cargo install cargo-fuzz --locked");
    }
    for target in String::from_utf8(listed.stdout)?.lines() {
        let time = format!("-max_total_time={seconds}");
        cargo(&["+nightly", "fuzz", "run", target, "--", &time, "-rss_limit_mb=4096", "-timeout=20", "-max_len=65536"], &[])?;
    }
    Ok(())
}

fn cargo(arguments: &[&str], variables: &[(&str, &str)]) -> anyhow::Result<()> {
    run(Command::new("cargo").args(arguments).envs(variables.iter().copied()).current_dir(root()?))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("{:?} does not start", command.get_program()))?;
    if !status.success() {
        bail!("{:?} {:?}: {status}", command.get_program(), command.get_args().collect::<Vec<_>>());
    }
    Ok(())
}

fn root() -> anyhow::Result<PathBuf> {
    let below = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the repository")?;
    Ok(below.to_owned())
}

#[allow(clippy::print_stdout)]
fn say(line: &str) {
    println!("{line}");
}
