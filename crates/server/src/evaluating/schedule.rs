//! Evaluations on schedule, on a thread of their own: nothing waits for a model.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use evaluate::{Baseline, Options, Outcome, Report, Set};
use tokio::sync::watch;

use super::ask::run;
use super::record::{events, failed_event, record};
use crate::config::{Config, ConfigError, EvaluateConfig};
use crate::pipeline::Pipeline;

/// How soon is tried again what could not be run, at least; each failure in a row doubles it, up to the interval.
const RETRY: Duration = Duration::from_secs(60);
/// How long the thread sleeps at most: a clock that is set must not make it sleep for a month.
const NAP: Duration = Duration::from_secs(60);
/// Largest set that is read, in bytes; what is larger is refused when it is read.
const SET_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Largest baseline, likewise.
const BASELINE_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// The running thread.
pub(crate) struct Evaluating {
    stop: watch::Sender<bool>,
    thread: std::thread::JoinHandle<()>,
}

struct Planned {
    config: EvaluateConfig,
    /// When it is run next, in seconds since 1970.
    due: u64,
    failures: u32,
}

struct Work {
    planned: Vec<Planned>,
    pipeline: Arc<Pipeline>,
}

impl Evaluating {
    /// Starts the thread, if the configuration has evaluations. Each is run soon after the start, and then at its interval: what was changed
    /// while the server was off is seen.
    pub(crate) fn start(pipeline: &Arc<Pipeline>, config: &Config) -> Result<Option<Self>, ConfigError> {
        if config.evaluate.is_empty() {
            return Ok(None);
        }
        let planned = config.evaluate.iter().map(|one| Planned { config: one.clone(), due: 0, failures: 0 }).collect();
        let work = Work { planned, pipeline: pipeline.clone() };
        let io = |error: std::io::Error| ConfigError::Evaluate { name: String::new(), field: "thread", what: error.to_string() };
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(io)?;
        let thread = move || runtime.block_on(work.run(stopped));
        let thread = std::thread::Builder::new().name("evaluating".to_owned()).spawn(thread).map_err(io)?;
        Ok(Some(Self { stop, thread }))
    }

    /// Ends it, in the midst of a run if need be: half a run says nothing, and is not recorded.
    pub(crate) fn stop(self) {
        self.stop.send_replace(true);
        drop(self.thread.join());
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Work {
    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let next = self.planned.iter().map(|one| one.due).min().unwrap_or(u64::MAX);
            let wait = Duration::from_secs(next.saturating_sub(now_s())).min(NAP);
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(wait) => {}
            }
            for index in 0..self.planned.len() {
                if self.planned.get(index).is_none_or(|one| one.due > now_s()) {
                    continue;
                }
                let stopping = stop.clone();
                tokio::select! {
                    () = self.evaluate(index, &stopping) => {}
                    _ = stop.wait_for(|stop| *stop) => return,
                }
            }
        }
    }

    async fn evaluate(&mut self, index: usize, stop: &watch::Receiver<bool>) {
        let Some(one) = self.planned.get_mut(index) else { return };
        let began = now_s();
        let name = one.config.name.clone();
        let every = one.config.interval().map_or(RETRY, |every| every.max(RETRY)).as_secs();
        let outcome = evaluated(&one.config).await;
        let failure = match &outcome {
            Ok(report) => report.problem.clone(),
            Err(what) => Some(what.clone()),
        };
        if failure.is_some() {
            let wait = RETRY.as_secs().saturating_mul(1 << one.failures.min(12));
            one.due = began.saturating_add(wait.min(every));
            one.failures += 1;
        } else {
            (one.due, one.failures) = (began.saturating_add(every), 0);
        }
        let events = match &outcome {
            Ok(report) => {
                if report.outcome == Outcome::Changed {
                    tracing::warn!(evaluation = name, model = report.model, "a model answers otherwise than it did");
                }
                events(report, None)
            }
            Err(what) => {
                tracing::warn!(evaluation = name, what, "a model was not evaluated");
                vec![failed_event(&name, &one.config.model, what)]
            }
        };
        let (pipeline, stop) = (self.pipeline.clone(), stop.clone());
        let recorded = tokio::task::spawn_blocking(move || record(&pipeline, events, &|| *stop.borrow())).await;
        if !matches!(recorded, Ok(Ok(()))) {
            tracing::warn!(evaluation = name, "an evaluation was not recorded in full");
        }
    }
}

/// Runs an evaluation once. The first run that says something becomes the baseline, where there is none.
async fn evaluated(config: &EvaluateConfig) -> Result<Report, String> {
    let read = |path: &std::path::Path, bytes_max| {
        files::read_named_at_most(path, bytes_max).map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    let text = read(&config.set, SET_BYTES_MAX)?.ok_or_else(|| format!("there is no {}", config.set.display()))?;
    let text = String::from_utf8(text).map_err(|_| format!("{} is not UTF-8", config.set.display()))?;
    let name = config.set.file_stem().map_or_else(|| config.name.clone(), |name| name.to_string_lossy().into_owned());
    let set = Set::read(&name, &text).map_err(|error| format!("{}: {error}", config.set.display()))?;
    let baseline = read(&config.baseline, BASELINE_BYTES_MAX)?.map(|json| Baseline::from_json(&json)).transpose();
    let baseline = baseline.map_err(|error| format!("{}: {error}", config.baseline.display()))?;
    let target = config.target().map_err(|error| error.to_string())?;
    let judge = config.judge_target().map_err(|error| error.to_string())?;
    let asked = run(&set, &target, judge.as_ref(), &config.asking(), &|_, _| {}).await.map_err(|error| error.to_string())?;
    let report = Report::of(&config.name, &asked, baseline.as_ref(), &Options { alpha: config.alpha });
    let report = report.map_err(|error| error.to_string())?;
    if report.outcome == Outcome::NotCompared {
        let json = Baseline::new(asked).to_json().map_err(|error| error.to_string())?;
        files::write_atomic(&config.baseline, &json, 0o600)
            .map_err(|error| format!("the baseline cannot be written to {}: {error}", config.baseline.display()))?;
        tracing::info!(evaluation = config.name, baseline = %config.baseline.display(), "the first run is the baseline from now on");
    }
    Ok(report)
}
