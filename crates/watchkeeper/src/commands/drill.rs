//! `watchkeeper drill`: plays attacks and their innocent twins, and says what was told of them, at which step, and how fast.

mod events;
mod played;
mod record;
mod report;
mod target;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use assure::drill::{Outcome, RECORD_DRILLS, Scenario, Verdict, Via};
use indicatif::{ProgressBar, ProgressStyle};
use server::config::{Listen, McpServer};
use server::{Config, RootKeyPlace, Running};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::target::{Listeners, Target};
use super::playing::StandIn;
use crate::cli::DrillOptions;
use crate::output::complain;

/// Scenarios that are played at once.
const AT_ONCE: usize = 4;

pub(super) fn drill(options: &DrillOptions) -> anyhow::Result<ExitCode> {
    let every = match &options.scenarios {
        Some(dir) => read(dir)?,
        None => assure::drill::all()?,
    };
    if options.list {
        let listed: Vec<Scenario> = every.into_iter().filter(|scenario| options.plays(scenario.wording)).collect();
        let of_record = if options.scenarios.is_some() { &[][..] } else { &RECORD_DRILLS };
        report::list(&listed, of_record, options.format())?;
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = chosen(every, options)?;
    if !chosen.iter().any(|scenario| scenario.not_observable.is_none()) && !asks_for_record(options) {
        let outcomes: Vec<Outcome> = chosen.iter().map(not_observable).collect();
        return told(&outcomes, options);
    }
    let runtime = super::serve::runtime()?;
    let outcomes = match &options.server {
        Some(url) => {
            let key = std::env::var("WATCHKEEPER_API_KEY").ok().filter(|key| !key.is_empty());
            let key = key.context("WATCHKEEPER_API_KEY: give the key of an administrator of the server that is drilled")?;
            let ca = std::env::var_os("WATCHKEEPER_CA").filter(|ca| !ca.is_empty()).map(PathBuf::from);
            let mut outcomes = runtime.block_on(played_elsewhere(url, key, ca.as_deref(), chosen))?;
            outcomes.extend(record::left_out(|id| is_asked(options, id)));
            outcomes
        }
        None => played_here(&runtime, chosen, options)?,
    };
    told(&outcomes, options)
}

/// Says what became of drills, and gives the exit code.
fn told(outcomes: &[Outcome], options: &DrillOptions) -> anyhow::Result<ExitCode> {
    report::tell(outcomes, options.format())?;
    if !outcomes.iter().any(Outcome::is_played) {
        complain("nothing was played, so nothing is known of what would be detected");
        return Ok(ExitCode::from(2));
    }
    Ok(if outcomes.iter().all(Outcome::is_right) { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Scenarios of somebody's own.
fn read(dir: &Path) -> anyhow::Result<Vec<Scenario>> {
    let entries = std::fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml"));
    files.sort();
    let mut scenarios = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        scenarios.extend(assure::drill::parse(&file.display().to_string(), &text)?);
    }
    anyhow::ensure!(!scenarios.is_empty(), "{} has no scenarios; they stand in files that end with .yaml", dir.display());
    Ok(scenarios)
}

/// The scenarios that are asked for, by their names or their ids in ATLAS. One wording of a scenario has a name of its own.
fn chosen(every: Vec<Scenario>, options: &DrillOptions) -> anyhow::Result<Vec<Scenario>> {
    let names = |scenario: &Scenario, case: &String| scenario.of == *case || scenario.subject.id().eq_ignore_ascii_case(case);
    let is_record = |case: &String| options.scenarios.is_none() && record::is_drill(case);
    let is_known = |case: &String| is_record(case) || every.iter().any(|scenario| scenario.id == *case || names(scenario, case));
    if let Some(unknown) = options.case.iter().find(|case| !is_known(case)) {
        bail!("--case {unknown}: there is no such drill; `watchkeeper drill --list` has all of them");
    }
    let is_chosen = |scenario: &Scenario| {
        options.case.contains(&scenario.id)
            || options.plays(scenario.wording)
                && (options.case.is_empty() || options.case.iter().any(|case| names(scenario, case)))
    };
    Ok(every.into_iter().filter(is_chosen).collect())
}

/// Whether a drill of the record is asked for. Somebody's own scenarios are played alone.
fn is_asked(options: &DrillOptions, id: &str) -> bool {
    options.scenarios.is_none() && (options.case.is_empty() || options.case.iter().any(|case| case == id))
}

fn asks_for_record(options: &DrillOptions) -> bool {
    record::drills_of(|id| is_asked(options, id)).next().is_some()
}

fn not_observable(scenario: &Scenario) -> Outcome {
    Outcome::unplayed(scenario, Verdict::NotObservable, scenario.not_observable.clone())
}

/// Drills a server that runs.
async fn played_elsewhere(url: &str, key: String, ca: Option<&Path>, scenarios: Vec<Scenario>) -> anyhow::Result<Vec<Outcome>> {
    let target = Arc::new(Target::new(url, key, ca, None)?);
    let (left_out, scenarios): (Vec<_>, Vec<_>) = scenarios.into_iter().partition(Scenario::needs_history);
    let why = "it tells of past weeks first, which would become habits of the server that is drilled; drill without --server";
    let left_out = left_out.into_iter().map(|scenario| Outcome::unplayed(&scenario, Verdict::LeftOut, Some(why.to_owned())));
    let mut outcomes = play_all(&target, scenarios).await?;
    if let Err(error) = target.tell(&outcomes).await {
        complain(&format!("the server does not tell these drills in its coverage: {error:#}"));
    }
    outcomes.extend(left_out);
    Ok(outcomes)
}

/// Starts a server of its own, drills it, and then its record.
fn played_here(
    runtime: &tokio::runtime::Runtime,
    scenarios: Vec<Scenario>,
    options: &DrillOptions,
) -> anyhow::Result<Vec<Outcome>> {
    let dir = Workplace::new()?;
    let data = dir.0.join("data");
    let root = RootKeyPlace::new(Some(&dir.0.join("root.key")))?;
    let asked = |id: &str| is_asked(options, id);
    let mut outcomes = runtime.block_on(async {
        let stand_in = StandIn::start().await.context("stand-in upstream")?;
        let running = Running::start(&data, &root, &configuration(&stand_in, &scenarios)).await?;
        let key = running.first_key().context("the record is not a new one")?.secret.to_string();
        let addresses = running.addresses();
        let listeners = Listeners { addresses, stand_in };
        let target = Arc::new(Target::new(&format!("http://{}", addresses.console), key, None, Some(listeners))?);
        let mut outcomes = play_all(&target, scenarios).await;
        if outcomes.is_ok() && asks_for_record(options) {
            outcomes = record::fill(&target).await.and(outcomes);
        }
        drop(target);
        running.stop().await?;
        outcomes
    })?;
    outcomes.extend(record::drills(&dir.0, &data, &root, asked)?);
    Ok(outcomes)
}

/// The configuration that ships, with the stand-in for everything outside.
fn configuration(stand_in: &StandIn, scenarios: &[Scenario]) -> Config {
    let mut config = Config { listen: Listen::any_port(), ..Config::default() };
    config.upstream.openai = stand_in.base();
    config.egress.enabled = true;
    let mut servers = BTreeMap::new();
    for scenario in scenarios.iter().filter(|scenario| scenario.via == Via::Mcp) {
        for server in played::mcp_servers(scenario) {
            let one = McpServer {
                url: stand_in.mcp_url(&server),
                allow: Vec::new(),
                deny: Vec::new(),
                mode: server::config::McpMode::default(),
                on_drift: server::config::McpOnDrift::default(),
                hold_results: false,
                fail_open: false,
                add_trace: false,
                header_env: BTreeMap::new(),
            };
            servers.insert(server, one);
        }
    }
    config.mcp.servers = servers;
    config
}

/// Plays scenarios, some at once, and gives what became of them in their order.
async fn play_all(target: &Arc<Target>, scenarios: Vec<Scenario>) -> anyhow::Result<Vec<Outcome>> {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut playing = JoinSet::new();
    let bar = progress(scenarios.len());
    for (at, scenario) in scenarios.into_iter().enumerate() {
        let (target, places) = (target.clone(), places.clone());
        playing.spawn(async move {
            let _place = places.acquire().await?;
            let outcome = match &scenario.not_observable {
                Some(_) => not_observable(&scenario),
                None => played::play(&target, &scenario).await.with_context(|| format!("drill {}", scenario.id))?,
            };
            anyhow::Ok((at, outcome))
        });
    }
    let (mut outcomes, mut wrong): (Vec<(usize, Outcome)>, usize) = (Vec::new(), 0);
    while let Some(outcome) = playing.join_next().await {
        let (at, outcome) = outcome??;
        wrong += usize::from(!outcome.is_right());
        bar.set_message(format!("{wrong} not as they should be"));
        bar.inc(1);
        outcomes.push((at, outcome));
    }
    bar.finish_and_clear();
    outcomes.sort_by_key(|(at, _)| *at);
    Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
}

/// How many are played, on a terminal.
fn progress(scenarios: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("drills {bar:30} {pos}/{len} {elapsed}  {msg}");
    ProgressBar::new(scenarios as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A directory of the drill's own below the system's temporary one. It goes when the drill ends.
struct Workplace(PathBuf);

impl Workplace {
    fn new() -> anyhow::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let dir = std::env::temp_dir().join(format!("watchkeeper-drill-{}", std::process::id()));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&dir);
        made.with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(dir: &Path) {
    if let Err(error) = std::fs::remove_dir_all(dir) {
        complain(&format!("{} is left over: {error}", dir.display()));
    }
}
