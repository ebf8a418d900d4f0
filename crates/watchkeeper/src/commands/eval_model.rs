//! `watchkeeper eval model`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use evaluate::{Api, Baseline, Options, Outcome, Parameters, Report, Run, Set, judge};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value};
use server::evaluating::{Asking, Target};
use server::{Asker, DataDir, Node, NodeSettings};

use crate::cli::{ApiName, EvalModelOptions, ModelReportFormat};
use crate::local_api::LocalApi;
use crate::output::{complain, printable, say};

/// Largest set, and largest baseline, that are read; what is larger than they may be is refused when it is read.
const SET_BYTES_MAX: u64 = 32 * 1024 * 1024;
const BASELINE_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// How long the event of a run may take to be sealed and indexed.
const CATCH_UP: Duration = Duration::from_secs(60);

pub(super) fn eval(options: &EvalModelOptions) -> anyhow::Result<ExitCode> {
    ensure!((1e-4..=0.2).contains(&options.alpha), "--alpha: a probability of 0.0001 to 0.2 is needed");
    ensure!((0.0..=2.0).contains(&options.temperature), "--temperature: 0 to 2 is needed");
    let set = read_set(&options.set)?;
    // Before anything is asked: what cannot be compared or written costs nothing.
    let baseline = options.baseline.as_deref().map(|path| read_baseline(path)?.with_context(|| no_baseline(path))).transpose()?;
    let recorded = options.record.as_deref().map(read_baseline).transpose()?.flatten();
    let (target, judge) = (target(options)?, judge_target(options)?);
    let run = ask(&set, &target, judge.as_ref(), options)?;
    let name = options.name.as_deref().unwrap_or(&set.name);
    let report = Report::of(name, &run, baseline.as_ref(), &Options { alpha: options.alpha })?;
    match options.format {
        ModelReportFormat::Json => say(&serde_json::to_string_pretty(&report)?)?,
        ModelReportFormat::Text => report.text().lines().try_for_each(|line| say(&printable(line)))?,
    }
    if options.data.dir.is_some() {
        note(options, &report)?;
    }
    if let Some(path) = &options.record {
        ensure!(report.outcome != Outcome::Failed, "{} is not written: the run says too little", path.display());
        keep(path, recorded, run)?;
    }
    Ok(match report.outcome {
        Outcome::NotCompared | Outcome::NoChange => ExitCode::SUCCESS,
        Outcome::Changed => ExitCode::from(1),
        Outcome::Failed => ExitCode::from(2),
    })
}

fn ask(set: &Set, target: &Target, judge: Option<&Target>, options: &EvalModelOptions) -> anyhow::Result<Run> {
    let concurrency = usize::try_from(options.concurrency).unwrap_or(1);
    let asking = Asking { repeat: options.repeat, concurrency, calls_max: options.max_calls };
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} answers {eta}") {
        bar.set_style(style);
    }
    let told = |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    };
    let run = super::serve::runtime()?.block_on(server::evaluating::run(set, target, judge, &asking, &told));
    bar.finish_and_clear();
    run.context("--max-calls, --repeat and --judge say how much is asked, and of whom")
}

fn read_set(path: &Path) -> anyhow::Result<Set> {
    let bytes = files::read_named_at_most(path, SET_BYTES_MAX).with_context(|| format!("cannot read {}", path.display()))?;
    let text = String::from_utf8(bytes.with_context(|| format!("there is no {}", path.display()))?)
        .map_err(|_| anyhow::anyhow!("{} is not UTF-8", path.display()))?;
    let name = path.file_stem().map_or_else(|| "set".to_owned(), |name| name.to_string_lossy().into_owned());
    Set::read(&name, &text).with_context(|| path.display().to_string())
}

fn read_baseline(path: &Path) -> anyhow::Result<Option<Baseline>> {
    let bytes = files::read_named_at_most(path, BASELINE_BYTES_MAX).with_context(|| format!("cannot read {}", path.display()))?;
    bytes.map(|bytes| Baseline::from_json(&bytes)).transpose().with_context(|| path.display().to_string())
}

fn no_baseline(path: &Path) -> String {
    format!("there is no {}; --record {} makes one", path.display(), path.display())
}

fn keep(path: &Path, known: Option<Baseline>, run: Run) -> anyhow::Result<()> {
    let baseline = match known {
        None => Baseline::new(run),
        Some(mut baseline) => {
            baseline.add(run).with_context(|| path.display().to_string())?;
            baseline
        }
    };
    files::write_atomic(path, &baseline.to_json()?, 0o600).with_context(|| format!("cannot write {}", path.display()))?;
    complain(&format!("{}: a baseline of {} run(s)", path.display(), baseline.runs().len()));
    Ok(())
}

fn target(options: &EvalModelOptions) -> anyhow::Result<Target> {
    let mut more = Map::new();
    for parameter in &options.parameters {
        let (name, value) = parameter.split_once('=').context("--parameter: NAME=JSON is needed, as in seed=7")?;
        let value: Value = serde_json::from_str(value).with_context(|| format!("--parameter {name}: the value is not JSON"))?;
        more.insert(name.to_owned(), value);
    }
    more.extend(options.omit.iter().map(|name| (name.clone(), Value::Null)));
    let parameters =
        Parameters { model: options.model.clone(), temperature: Some(options.temperature), max_tokens: options.max_tokens, more };
    let key = key("--api-key", options.api_key.as_deref())?;
    let timeout = Duration::from_secs(options.timeout);
    Target::new(options.api.into(), &options.endpoint, parameters, key.as_deref(), timeout).context("--endpoint")
}

fn judge_target(options: &EvalModelOptions) -> anyhow::Result<Option<Target>> {
    let (Some(url), Some(model)) = (&options.judge, &options.judge_model) else { return Ok(None) };
    let max_tokens = judge::JUDGE_TOKENS_MAX;
    let parameters = Parameters { model: model.clone(), temperature: Some(0.0), max_tokens, more: Map::new() };
    let key = key("--judge-api-key", options.judge_api_key.as_deref())?;
    let timeout = Duration::from_secs(options.timeout);
    Target::new(options.judge_api.into(), url, parameters, key.as_deref(), timeout).map(Some).context("--judge")
}

fn key(option: &str, source: Option<&str>) -> anyhow::Result<Option<String>> {
    source.map(server::evaluating::key).transpose().map_err(|what| anyhow::anyhow!("{option}: {what}"))
}

/// Puts the run into the record: through the server that runs on it, or directly.
fn note(options: &EvalModelOptions, report: &Report) -> anyhow::Result<()> {
    let dir = DataDir::existing(&options.data.path()?)?;
    let operator = options.operator.name()?;
    if let Some(api) = LocalApi::find(&dir, &options.data)? {
        let api = api.with_operator(operator);
        return api.post_patiently::<Value>("/api/evaluations", &serde_json::to_value(report)?).map(drop);
    }
    let node = Node::open(dir.path(), &options.data.root()?, &NodeSettings::default())?;
    let noted = node.record_evaluation(report, &Asker::of_process().with_operator(operator));
    let is_done = node.flush(CATCH_UP);
    node.close()?;
    noted.context("the run is not recorded")?;
    if !is_done {
        bail!("recorded, but not yet detected, indexed and sealed to the end; the next start goes on");
    }
    Ok(())
}

impl From<ApiName> for Api {
    fn from(name: ApiName) -> Self {
        match name {
            ApiName::OpenaiChat => Self::OpenaiChat,
            ApiName::OpenaiResponses => Self::OpenaiResponses,
            ApiName::Anthropic => Self::Anthropic,
        }
    }
}
