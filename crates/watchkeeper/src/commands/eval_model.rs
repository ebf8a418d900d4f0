//! `watchkeeper eval model`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use evaluate::{Api, Baseline, Options, Outcome, Parameters, Report, Run, Set, judge};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value};
use server::evaluating::{Asking, Target, read_baseline, read_set};
use server::{Asker, DataDir, Node, NodeSettings};

use crate::cli::{ApiName, Data, EvalAcceptOptions, EvalModelOptions, ModelReportFormat, Operator};
use crate::local_api::LocalApi;
use crate::output::{complain, printable, say};

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
        note(&options.data, &options.operator, &report)?;
    }
    if let Some(path) = &options.record {
        let says_enough = !matches!(report.outcome, Outcome::Failed | Outcome::Incomplete);
        ensure!(says_enough, "{} is not written: the run says too little", path.display());
        keep(path, recorded, run)?;
    }
    Ok(match report.outcome {
        Outcome::NotCompared | Outcome::NoChange => ExitCode::SUCCESS,
        Outcome::Changed => ExitCode::from(1),
        Outcome::Failed | Outcome::Incomplete => ExitCode::from(2),
    })
}

fn ask(set: &Set, target: &Target, judge: Option<&Target>, options: &EvalModelOptions) -> anyhow::Result<Run> {
    let concurrency = usize::try_from(options.concurrency).unwrap_or(1);
    let deadline = Duration::from_secs(options.deadline);
    let asking = Asking { repeat: options.repeat, concurrency, calls_max: options.max_calls, deadline };
    let sanitizer = server::ephemeral_sanitizer(&server::config::SanitizeConfig::default())?;
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} answers {eta}") {
        bar.set_style(style);
    }
    let told = |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    };
    let run = super::serve::runtime()?.block_on(server::evaluating::run(set, target, judge, &asking, &sanitizer, &told));
    bar.finish_and_clear();
    run.context("--max-calls, --repeat and --judge say how much is asked, and of whom")
}

fn no_baseline(path: &Path) -> String {
    format!("there is no {}; --record {} makes one", path.display(), path.display())
}

fn keep(path: &Path, known: Option<Baseline>, run: Run) -> anyhow::Result<()> {
    let baseline = match known {
        None => Baseline::new(run)?,
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

/// `watchkeeper eval accept`.
pub(super) fn accept(options: &EvalAcceptOptions) -> anyhow::Result<ExitCode> {
    let baseline = read_baseline(&options.baseline)?.with_context(|| no_baseline(&options.baseline))?;
    let digest = baseline.digest()?;
    let told = serde_json::json!({ "name": options.name, "baseline": baseline });
    in_record(&options.data, &options.operator, ("/api/evaluations/baselines", &told), |node, asker| {
        node.accept_baseline(&options.name, &baseline, asker).context("the baseline is not accepted")
    })?;
    say(&format!(
        "{}: the baseline of {} run(s), SHA-256 {digest}, is accepted from now on; put {} where `baseline` of [[evaluate]] \
         points to, or the next run calls what is there changed",
        options.name,
        baseline.runs().len(),
        options.baseline.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Puts the run into the record.
fn note(data: &Data, operator: &Operator, report: &Report) -> anyhow::Result<()> {
    in_record(data, operator, ("/api/evaluations", &serde_json::to_value(report)?), |node, asker| {
        node.record_evaluation(report, asker).context("the run is not recorded")
    })
}

/// Does something with the record: through the server that runs on it, or directly.
fn in_record(
    data: &Data,
    operator: &Operator,
    (path, body): (&str, &Value),
    directly: impl FnOnce(&Node, &Asker) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let dir = DataDir::existing(&data.path()?)?;
    let operator = operator.name()?;
    if let Some(api) = LocalApi::find(&dir, data)? {
        return api.with_operator(operator).post_patiently::<Value>(path, body).map(drop);
    }
    let node = Node::open(dir.path(), &data.root()?, &NodeSettings::default())?;
    let done = directly(&node, &Asker::of_process().with_operator(operator));
    let is_done = node.flush(CATCH_UP);
    node.close()?;
    done?;
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
