//! What the project needs done, as one program: `cargo xtask`.

#![forbid(unsafe_code)]

mod clients;
#[cfg(test)]
mod code_map;
mod console;
mod drill;
mod matrix;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};
use clients::Source;

const HELP: &str = "cargo xtask COMMAND

  setup     make what the tests need: a Python environment for each real client, and for the second verifier (needs python3 with venv)
  test      setup, then every test
  console   builds the web console with npm (`npm ci && npm run build` in console/) and puts its files where the next build of the server
            embeds them. `console test`: its own tests, and the stories of its users in Debian's Chromium with the debug build
  matrix    every real client, live: SDKs, frameworks, instrumentations, MCP servers, at the versions that files pin (2 GB are
            installed); prints what each left in the record and writes docs/reference/clients.md
  sanitiser 20,000 documents with planted values through `watchkeeper sanitize`, and Presidio's pattern recognizers beside it (400 MB are
            installed); writes docs/reference/sanitiser-quality.md; `sanitiser DOCUMENTS` for another number
  behaviour two made-up companies of 150 people and 120 days with cases put in: what is told, how fast, what else; writes
            docs/reference/behaviour-quality.md. `behaviour --nab DIR` also on the series of a copy of NAB, beside rrcf (PyPI), and makes
            the golden values of river and scipy anew
  sigma     verdicts of rules, filters and correlations beside pySigma's SQLite backend, on rules and events from 200 seeds; `sigma SEEDS`
            for another number; `sigma --sigmahq DIR`: how much of a copy of SigmaHQ's repository loads, and why the rest does not
  lint      formatting, clippy with warnings as errors, licences and sources of dependencies
  docs      write the reference pages and schemas that are generated from code
  drill     every drill in every wording through the release binary, or the one that `WATCHKEEPER_BINARY` names; keeps what it said as JSON.
            `drill --debug`: through a debug build; `drill --figures`: writes the figures into docs/reference/drill.md
  faults    100 cycles of the suites below in all, as CI runs them (as root: power and full-disk mount file systems on files)
  power     1,000 power cuts under load on ext4 and on XFS, and that the suite fails without fsync; `power CUTS` for another number
  syscalls  every system call of the way to the disk fails or is the last one; `syscalls FAULTS` for a sample
  full-disk a disk that fills and is freed, 20 rounds; `full-disk ROUNDS` for another number
  crash     SIGKILL under load, 300 rounds; `crash ROUNDS` for another number
  streams   500 streams through the gateway at once; `streams COUNT` for another number
  soak      an hour of mixed load and faults on the gateway, with flat memory and no connection left over; `soak MINUTES`
  inspect-rows
            100,000 rows through `watchkeeper inspect` with hostile ones of 50 MB among them: order, memory, microseconds per KB;
            `inspect-rows ROWS` for another number
  simulate  2,000 cycles of the journal on a simulated disk that does its worst; `simulate CYCLES` for another number
  tamper    10,000 changes of records, archives and bundles, and more of them by the binary, each found and named; `tamper CHANGES`
  fuzz      every fuzz target for 10 minutes each (needs a nightly toolchain and cargo-fuzz); `fuzz SECONDS` for another time
  bench     criterion benchmarks of every crate
  peers     Watchkeeper beside other gateways (Portkey, TensorZero, LiteLLM) in one run; installs them first, below target/peers or in
            `--environments DIR`; prints a table. Other options: `cargo run --release -p watchkeeper-benches -- peers --help`
  day       10 million events through the whole pipeline, then verified, asked and rebuilt; prints a table. `day OPTIONS`: see
            `cargo run --release -p watchkeeper-benches -- day --help`";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let count = |default| arguments.get(1).map_or(default, String::as_str);
    let result = match arguments.first().map(String::as_str) {
        Some("setup") => setup(),
        Some("test") => setup().and_then(|()| tests()),
        Some("console") => match arguments.get(1).map(String::as_str) {
            None => console::build(),
            Some("test") => console::test(),
            Some(other) => Err(anyhow::anyhow!("console {other}: there is `console` and `console test`")),
        },
        Some("matrix") => matrix::matrix(),
        Some("sanitiser") => sanitiser(count("20000")),
        Some("behaviour") => behaviour(&arguments[1..]),
        Some("sigma") => sigma(&arguments[1..]),
        Some("lint") => lint(),
        Some("docs") => cargo(&["test", "--workspace", "--lib"], &[("WATCHKEEPER_WRITE_DOCS", "1")]),
        Some("drill") => drill(&arguments[1..]),
        Some("faults") => faults(),
        Some("power") => long_test("power::", ("WATCHKEEPER_POWER_CYCLES", count("1000"))),
        Some("syscalls") => long_test("syscalls::", ("WATCHKEEPER_SYSCALL_FAULTS", count("0"))),
        Some("full-disk") => long_test("full_disk::", ("WATCHKEEPER_FULL_DISK_ROUNDS", count("20"))),
        Some("crash") => long_test("crash::", ("WATCHKEEPER_CRASH_ROUNDS", count("300"))),
        Some("streams") => long_test("streams::", ("WATCHKEEPER_STREAMS", count("500"))),
        Some("soak") => long_test("soak::memory", ("WATCHKEEPER_SOAK_MINUTES", count("60"))),
        Some("inspect-rows") => long_test("inspect_rows::", ("WATCHKEEPER_INSPECT_ROWS", count("100000"))),
        Some("simulate") => {
            let test = ["test", "--package", "watchkeeper-journal", "--lib", "--", "simulated::", "--nocapture"];
            cargo(&test, &[("WATCHKEEPER_SIM_CYCLES", count("2000"))])
        }
        Some("tamper") => long_test("tamper::", ("WATCHKEEPER_TAMPERS", count("10000"))),
        Some("fuzz") => fuzz(count("600")),
        Some("day") => bench("day", &arguments[1..]),
        Some("peers") => peers(&arguments[1..]),
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
    clients::make(clients::SMALL)
}

/// Every test. Most of them wait for servers, clients and disks, so that two for each core keep the cores busy.
fn tests() -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = std::env::var("RUST_TEST_THREADS").unwrap_or_else(|_| (2 * cores).to_string());
    cargo(&["test", "--workspace", "--no-fail-fast"], &[("RUST_TEST_THREADS", &threads)])
}

/// Measures on documents with known spans, beside Presidio: the release binary, or the one that `WATCHKEEPER_BINARY` names.
fn sanitiser(documents: &str) -> anyhow::Result<()> {
    clients::make(&[clients::SANITISER])?;
    let binary = release_binary()?;
    let root = root()?;
    let mut measure = Command::new(clients::SANITISER.python()?);
    measure.arg(root.join("tests/sanitiser/measure.py")).arg("--binary").arg(binary);
    measure.args(["--documents", documents, "--presidio"]).arg("--page").arg(root.join("docs/reference/sanitiser-quality.md"));
    run(measure.env("PYTHONDONTWRITEBYTECODE", "1"))
}

/// Sigma as others read it: the release binary, or the one that `WATCHKEEPER_BINARY` names.
fn sigma(arguments: &[String]) -> anyhow::Result<()> {
    clients::make(&[clients::SIGMA])?;
    let mut compare = Command::new(clients::SIGMA.python()?);
    compare.arg(root()?.join("tests/clients/sigma/compare.py")).arg("--binary").arg(release_binary()?);
    match arguments {
        [] => compare.args(["--seeds", "200"]),
        [flag, dir] if flag == "--sigmahq" => compare.arg("--sigmahq").arg(dir),
        [seeds] => compare.arg("--seeds").arg(seeds),
        _ => bail!("sigma takes a number of seeds, or --sigmahq DIR"),
    };
    run(compare.env("PYTHONDONTWRITEBYTECODE", "1"))
}

/// The binary that is measured: the one that `WATCHKEEPER_BINARY` names, or the release build.
fn release_binary() -> anyhow::Result<PathBuf> {
    if let Some(binary) = std::env::var_os("WATCHKEEPER_BINARY") {
        return Ok(PathBuf::from(binary));
    }
    cargo(&["build", "--release", "--workspace", "--bins"], &[])?;
    Ok(target_dir()?.join("release/watchkeeper"))
}

/// Every drill in every wording.
fn drill(arguments: &[String]) -> anyhow::Result<()> {
    if let Some(unknown) = arguments.iter().find(|argument| !matches!(argument.as_str(), "--debug" | "--figures")) {
        bail!("drill takes --debug and --figures, not {unknown}; single drills: `watchkeeper drill --help`");
    }
    let is_given = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let binary = if is_given("--debug") && std::env::var_os("WATCHKEEPER_BINARY").is_none() {
        cargo(&["build", "--workspace", "--bins"], &[])?;
        target_dir()?.join("debug/watchkeeper")
    } else {
        release_binary()?
    };
    let page = root()?.join("docs/reference/drill.md");
    drill::whole(&binary, &target_dir()?.join("drill.json"), is_given("--figures").then_some(page.as_path()))
}

/// The tests of behaviour, large and optimised.
fn behaviour(arguments: &[String]) -> anyhow::Result<()> {
    let root = root()?;
    let nab = match arguments {
        [] => None,
        [flag, dir] if flag == "--nab" => Some(dir.as_str()),
        _ => bail!("behaviour takes no other arguments than --nab DIR"),
    };
    let page = root.join("docs/reference/behaviour-quality.md").display().to_string();
    let sizes = [
        // Thresholds were made with seeds from 1 on in sight. The page is of companies that nobody had seen.
        ("WATCHKEEPER_BEHAVIOUR_SEED", "3001"),
        ("WATCHKEEPER_BEHAVIOUR_COMPANIES", "2"),
        ("WATCHKEEPER_BEHAVIOUR_PEOPLE", "150"),
        ("WATCHKEEPER_BEHAVIOUR_DAYS", "120"),
        ("WATCHKEEPER_BEHAVIOUR_ROUNDS", "3"),
        ("WATCHKEEPER_BEHAVIOUR_PAGE", page.as_str()),
    ];
    let test = |name| ["test", "--release", "--package", "watchkeeper-detect", "--test", name, "--", "--nocapture"];
    cargo(&test("behaviour"), &sizes)?;
    let Some(nab) = nab else { return Ok(()) };
    clients::make(&[clients::BEHAVIOUR])?;
    let scripts = root.join("tests/clients/behaviour");
    let python = || -> anyhow::Result<Command> { Ok(Command::new(clients::BEHAVIOUR.python()?)) };
    run(python()?.arg(scripts.join("golden.py")).arg(root.join("crates/detect/tests/golden/stats.json")))?;
    cargo(&test("peers"), &[])?;
    let alarms = target_dir()?.join("nab-alarms.json").display().to_string();
    cargo(&test("nab"), &[("WATCHKEEPER_NAB", nab), ("WATCHKEEPER_NAB_ALARMS", &alarms)])?;
    run(python()?.arg(scripts.join("nab_rrcf.py")).args([nab, &alarms]))
}

/// What the fuzz targets are built with.
const FUZZ_TARGETS: &str = "watchkeeper-fuzz/targets";

fn lint() -> anyhow::Result<()> {
    cargo(&["fmt", "--all", "--check"], &[])?;
    // With the fuzz targets, which nothing else builds: one that does not compile finds nothing.
    let clippy = ["clippy", "--locked", "--workspace", "--all-targets", "--features", FUZZ_TARGETS];
    cargo(&[clippy.as_slice(), &["--", "-D", "warnings"]].concat(), &[])?;
    // Advisories need the network's database; CI has none and checks the rest.
    // A build fetches what this machine compiles; licences are asked of every platform's crates.
    cargo(&["fetch", "--locked"], &[])?;
    cargo(&["deny", "--offline", "check", "licenses", "bans", "sources"], &[])
        .context("cargo-deny is needed: cargo install cargo-deny --locked")
}

/// What the suites that need root say then: not to pass over what the machine cannot do.
const FAULTS_REQUIRED: (&str, &str) = ("WATCHKEEPER_FAULTS_REQUIRED", "1");

fn long_test(filter: &str, variable: (&str, &str)) -> anyhow::Result<()> {
    // The whole workspace, so that what is there already has the features that are asked for.
    let arguments = ["test", "--release", "--workspace", "--test", "it", filter, "--", "--nocapture"];
    cargo(&arguments, &[variable, FAULTS_REQUIRED])
}

/// 100 faults in all: power cuts on two file systems, system calls, kills.
fn faults() -> anyhow::Result<()> {
    let counts = [("WATCHKEEPER_POWER_CYCLES", "30"), ("WATCHKEEPER_SYSCALL_FAULTS", "25"), ("WATCHKEEPER_CRASH_ROUNDS", "15")];
    let suites = ["power::", "syscalls::", "full_disk::", "crash::"];
    let arguments = [["test", "--workspace", "--test", "it", "--", "--nocapture"].as_slice(), &suites].concat();
    cargo(&arguments, &counts)
}

/// Installs the gateways that are asked for, and measures them.
fn peers(options: &[String]) -> anyhow::Result<()> {
    let root = root()?;
    let value = |name: &str| options.iter().skip_while(|option| *option != name).nth(1);
    let environments = value("--environments").map_or_else(|| root.join("target/peers"), PathBuf::from);
    let is_wanted = |name: &str| value("--peers").is_none_or(|peers| peers.split(',').any(|peer| peer.starts_with(name)));
    let from = root.join("benches/peers");
    for name in ["litellm", "tensorzero"] {
        if is_wanted(name) {
            Source::Python(from.join(name).join("requirements.txt")).install(name, &environments.join(name))?;
        }
    }
    if is_wanted("portkey") {
        Source::Npm(from.join("portkey")).install("portkey", &environments.join("portkey"))?;
    }
    bench("peers", options)
}

/// A long measurement by the crate `benches`, of release binaries.
fn bench(what: &str, options: &[String]) -> anyhow::Result<()> {
    // The whole workspace, so that what is measured has the features that everything else is built with.
    cargo(&["build", "--release", "--workspace", "--bins"], &[])?;
    let mut measure = Command::new(target_dir()?.join("release/watchkeeper-benches"));
    run(measure.arg(what).args(options).current_dir(root()?))
}

fn fuzz(seconds: &str) -> anyhow::Result<()> {
    let listed = Command::new("cargo").args(["+nightly", "fuzz", "list"]).current_dir(root()?).output()?;
    if !listed.status.success() {
        bail!("a nightly toolchain and cargo-fuzz are needed: cargo install cargo-fuzz --locked");
    }
    for target in String::from_utf8(listed.stdout)?.lines() {
        let time = format!("-max_total_time={seconds}");
        let corpus = root()?.join("fuzz/corpus").join(target);
        std::fs::create_dir_all(&corpus)?;
        let seeds = match target {
            "signatures" => root()?.join("content/signatures"),
            "sigma_rules" => root()?.join("content/rules"),
            target => root()?.join("fuzz/seeds").join(target),
        };
        let (corpus, seeds) = (corpus.to_string_lossy(), seeds.to_string_lossy());
        let places: &[&str] = if Path::new(&*seeds).is_dir() { &[&corpus, &seeds] } else { &[&corpus] };
        let limits = ["--", &time, "-rss_limit_mb=4096", "-timeout=20", "-max_len=65536"];
        cargo(&[["+nightly", "fuzz", "run", "--features", "targets", target].as_slice(), places, &limits].concat(), &[])?;
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

/// Where cargo builds: this program lies there, below the profile's name.
fn target_dir() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own.ancestors().nth(2).context("this program lies where cargo built it")?.to_owned())
}

fn root() -> anyhow::Result<PathBuf> {
    let below = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the repository")?;
    Ok(below.to_owned())
}

#[allow(clippy::print_stdout)]
fn say(line: &str) {
    println!("{line}");
}
