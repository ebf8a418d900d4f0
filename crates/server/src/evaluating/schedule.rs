//! Evaluations on schedule, on a thread of their own: nothing waits for a model, and no evaluation for another.

use std::sync::Arc;
use std::time::Duration;

use evaluate::{Baseline, Options, Outcome, Report, Run, Set};
use futures_util::future::join_all;
use tokio::sync::watch;

use super::ask::{Asking, Target, run};
use super::baselines::{BaselineState, Baselines, BaselinesError};
use super::inputs::read_set;
use super::record::{events, failed_event, record};
use crate::config::{Config, ConfigError, EvaluateConfig};
use crate::due::{Due, now_s};
use crate::node::Node;
use crate::pipeline::Pipeline;

/// How soon is tried again what could not be run, at least; each failure in a row doubles it, up to the interval.
const RETRY: Duration = Duration::from_secs(60);

/// The running thread.
pub(crate) struct Evaluating {
    stop: watch::Sender<bool>,
    thread: std::thread::JoinHandle<()>,
}

/// One evaluation.
struct Planned {
    config: Arc<EvaluateConfig>,
    baselines: Baselines,
    pipeline: Arc<Pipeline>,
    /// When it is run next.
    due: Due,
}

/// What a run needs.
struct Prepared {
    set: Set,
    baseline: Option<Baseline>,
    target: Target,
    judge: Option<Target>,
    asking: Asking,
}

/// What came of a run, and how its baseline was found, where that is known.
struct Evaluated {
    report: Result<Report, String>,
    baseline: Option<BaselineState>,
}

impl Evaluating {
    /// Starts the thread, if the configuration has evaluations. Each is run soon after the start, and then at its interval: what was changed
    /// while the server was off is seen.
    pub(crate) fn start(node: &Node, config: &Config) -> Result<Option<Self>, ConfigError> {
        if config.evaluate.is_empty() {
            return Ok(None);
        }
        let planned: Vec<Planned> = config.evaluate.iter().map(|one| Planned::new(one, node)).collect();
        let io = |error: std::io::Error| ConfigError::Evaluate { name: String::new(), field: "thread", what: error.to_string() };
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(io)?;
        let thread = move || {
            runtime.block_on(join_all(planned.into_iter().map(|one| one.watch(stopped.clone()))));
        };
        let thread = std::thread::Builder::new().name("evaluating".to_owned()).spawn(thread).map_err(io)?;
        Ok(Some(Self { stop, thread }))
    }

    /// Ends it, in the midst of a run if need be: half a run says nothing, and is not recorded.
    pub(crate) fn stop(self) {
        self.stop.send_replace(true);
        drop(self.thread.join());
    }
}

impl Planned {
    fn new(config: &EvaluateConfig, node: &Node) -> Self {
        let (baselines, pipeline) = (Baselines::of(node), node.pipeline().clone());
        let due = Due::new(config.interval().unwrap_or(RETRY), RETRY);
        Self { config: Arc::new(config.clone()), baselines, pipeline, due }
    }

    async fn watch(mut self, mut stop: watch::Receiver<bool>) {
        let stopping = stop.clone();
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(self.due.wait(now_s())) => {}
            }
            if !self.due.is_due(now_s()) {
                continue;
            }
            tokio::select! {
                () = self.evaluate(&stopping) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    async fn evaluate(&mut self, stop: &watch::Receiver<bool>) {
        let began = now_s();
        let Evaluated { report, baseline } = self.evaluated().await;
        // What failed is tried again soon. A run whose time was over has had its time.
        let has_failed = report.as_ref().map_or(true, |report| report.outcome == Outcome::Failed);
        self.due.done(began, now_s(), has_failed);
        let (name, model) = (self.config.name.as_str(), self.config.model.as_str());
        if let Some(state @ (BaselineState::Missing | BaselineState::Changed | BaselineState::Lost)) = baseline {
            tracing::warn!(evaluation = name, state = state.as_str(), "the file of an accepted baseline is not what it was");
        }
        let events = match &report {
            Ok(report) => {
                match report.outcome {
                    Outcome::Changed => tracing::warn!(evaluation = name, model, "a model answers otherwise than it did"),
                    Outcome::Incomplete => tracing::warn!(evaluation = name, model, "an evaluation did not end in its time"),
                    _ => {}
                }
                events(report, baseline, None)
            }
            Err(what) => {
                tracing::warn!(evaluation = name, what, "a model was not evaluated");
                vec![failed_event(name, model, what, baseline)]
            }
        };
        let (pipeline, stop) = (self.pipeline.clone(), stop.clone());
        let recorded = tokio::task::spawn_blocking(move || record(&pipeline, events, &|| *stop.borrow())).await;
        if !matches!(recorded, Ok(Ok(()))) {
            tracing::warn!(evaluation = name, "an evaluation was not recorded in full");
        }
    }

    /// Runs it once. The first run that says something becomes the baseline, where none was ever accepted.
    async fn evaluated(&self) -> Evaluated {
        let (config, baselines) = (self.config.clone(), self.baselines.clone());
        let (prepared, baseline) =
            off_thread(move || prepare(&config, &baselines)).await.unwrap_or_else(|what| (Err(what), None));
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(what) => return Evaluated { report: Err(what), baseline },
        };
        let Prepared { set, baseline: known, target, judge, asking } = prepared;
        let asked = run(&set, &target, judge.as_ref(), &asking, self.pipeline.sanitizer(), &|_, _| {}).await;
        let report = match asked {
            Err(error) => Err(error.to_string()),
            Ok(asked) => {
                let (config, baselines) = (self.config.clone(), self.baselines.clone());
                // A comparison takes seconds of computing, in which nobody else's answers may wait.
                off_thread(move || conclude(&config, &baselines, asked, known.as_ref())).await.flatten()
            }
        };
        Evaluated { report, baseline }
    }
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())
}

fn prepare(config: &EvaluateConfig, baselines: &Baselines) -> (Result<Prepared, String>, Option<BaselineState>) {
    let (baseline, state) = match baselines.find(&config.name, &config.baseline) {
        Ok((baseline, state)) => (baseline, state),
        Err(error) => {
            let state = matches!(error, BaselinesError::Lost { .. }).then_some(BaselineState::Lost);
            return (Err(error.to_string()), state);
        }
    };
    let prepared = || -> Result<Prepared, String> {
        let text = |error: ConfigError| error.to_string();
        Ok(Prepared {
            set: read_set(&config.set).map_err(|error| error.to_string())?,
            baseline,
            target: config.target().map_err(text)?,
            judge: config.judge_target().map_err(text)?,
            asking: config.asking().map_err(text)?,
        })
    };
    (prepared(), Some(state))
}

fn conclude(config: &EvaluateConfig, baselines: &Baselines, asked: Run, known: Option<&Baseline>) -> Result<Report, String> {
    let report = Report::of(&config.name, &asked, known, &Options { alpha: config.alpha }).map_err(|error| error.to_string())?;
    if report.outcome == Outcome::NotCompared {
        let first = Baseline::new(asked).map_err(|error| error.to_string())?;
        baselines.begin(&config.name, &config.baseline, &first).map_err(|error| format!("the baseline: {error}"))?;
        tracing::info!(evaluation = config.name, baseline = %config.baseline.display(), "the first run is the baseline from now on");
    }
    Ok(report)
}
