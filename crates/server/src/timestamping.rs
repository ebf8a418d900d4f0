//! Has checkpoints time-stamped by an RFC 3161 authority, on a thread of its own: sealing does not wait for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Uri;
use ledger::{Checkpoint, TimestampRequest, TsaRoots, history_form, verify_timestamp};
use tokio::sync::watch;

use crate::config::{Config, ConfigError};
use crate::outbound::{Outbound, read_url};
use crate::standing::Others;

/// How long an authority that failed is left alone; shorter where stamps are wanted more often.
const RETRY: Duration = Duration::from_secs(60);

/// How often it is looked whether there is something to do.
const LOOK: Duration = Duration::from_millis(500);

/// The running thread.
pub(crate) struct Timestamping {
    stop: watch::Sender<bool>,
    thread: std::thread::JoinHandle<()>,
}

struct Work {
    data_dir: PathBuf,
    url: Uri,
    every: Duration,
    roots: Option<TsaRoots>,
    outbound: Outbound,
    others: Arc<Others>,
    /// The size of the checkpoint that was stamped last.
    stamped: u64,
}

impl Timestamping {
    /// Starts the thread, if the configuration names an authority.
    pub(crate) fn start(data_dir: &Path, config: &Config, others: &Arc<Others>) -> Result<Option<Self>, ConfigError> {
        let Some(settings) = &config.timestamps else { return Ok(None) };
        let refuse = |what: String| ConfigError::Timestamps { url: settings.url.clone(), what };
        let url = read_url(&settings.url).map_err(|what| refuse(what.to_owned()))?;
        if settings.every == 0 {
            return Err(refuse("`every` must be a second at least".to_owned()));
        }
        let roots = match &settings.roots {
            None => None,
            Some(path) => {
                let pem = std::fs::read(path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
                Some(TsaRoots::from_pem(&pem).map_err(|error| refuse(error.to_string()))?)
            }
        };
        let outbound = Outbound::new(std::iter::once(&url)).map_err(refuse)?;
        let every = Duration::from_secs(settings.every);
        let work = Work { data_dir: data_dir.to_owned(), url, every, roots, outbound, others: others.clone(), stamped: 0 };
        let (stop, stopped) = watch::channel(false);
        let io = |error: std::io::Error| refuse(error.to_string());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(io)?;
        let run = move || runtime.block_on(work.run(stopped));
        let thread = std::thread::Builder::new().name("timestamp".to_owned()).spawn(run).map_err(io)?;
        Ok(Some(Self { stop, thread }))
    }

    /// Ends after the request that is under way.
    pub(crate) fn stop(self) {
        self.stop.send_replace(true);
        // A panic has been printed by the thread itself.
        drop(self.thread.join());
    }
}

impl Work {
    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut due = Instant::now();
        while tokio::time::timeout(LOOK, stop.wait_for(|stop| *stop)).await.is_err() {
            if Instant::now() < due {
                continue;
            }
            let outcome = self.stamp().await;
            if !matches!(outcome, Ok(false)) {
                self.others.authorities.note(&self.url.to_string(), outcome.as_ref().err().map(String::as_str));
            }
            match outcome {
                // Nothing new since the last stamp: the next checkpoint gets one at once.
                Ok(false) => {}
                Ok(true) => due = Instant::now() + self.every,
                Err(what) => {
                    tracing::warn!(authority = %self.url, what, "no time stamp");
                    due = Instant::now() + RETRY.min(self.every);
                }
            }
        }
    }

    /// Stamps the published checkpoint, if it is not stamped yet.
    async fn stamp(&mut self) -> Result<bool, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let Some(note) = ledger::published_checkpoint(&self.data_dir).map_err(|error| text(&error))? else { return Ok(false) };
        let size = Checkpoint::parse(note.text()).map_err(|error| text(&error))?.size;
        if size == self.stamped {
            return Ok(false);
        }
        let kept = history_form(note.encode().as_bytes()).ok_or("the published checkpoint has no signature of the log")?;
        let request = TimestampRequest::new(kept.as_bytes()).map_err(|error| text(&error))?;
        let (status, answer) = self.outbound.post(&self.url, "application/timestamp-query", request.encode()).await?;
        if status != 200 {
            return Err(format!("the authority answered with status {status}"));
        }
        request.check(&answer).map_err(|error| text(&error))?;
        if let Some(roots) = &self.roots {
            verify_timestamp(&answer, kept.as_bytes(), roots).map_err(|error| text(&error))?;
        }
        ledger::publish_timestamp(&self.data_dir, size, &answer).map_err(|error| text(&error))?;
        self.stamped = size;
        Ok(true)
    }
}
