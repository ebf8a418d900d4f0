//! Pulls feeds, each in its own time, on a thread of its own: nothing waits for a feed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keys::Keyring;
use tokio::sync::watch;

use super::indicators::Indicators;
use super::kept::{Head, Kept, KeptError, KeptFeeds};
use super::{IntelError, pulled, sources};
use crate::config::{Config, FeedConfig};
use crate::data_dir::DataDir;
use crate::due::{Due, now_s};
use crate::standing::Others;

/// How soon a feed is asked again that failed, at least; and each failure in a row doubles it, up to its interval.
const RETRY: Duration = Duration::from_secs(30);

/// Indicators that have not held for so long are forgotten: events may come in late, but not by a month.
const EXPIRED_KEPT_S: i64 = 30 * 86_400;

/// The running thread.
pub(crate) struct Pulling {
    stop: watch::Sender<bool>,
    thread: std::thread::JoinHandle<()>,
}

struct Feed {
    config: FeedConfig,
    /// When it is pulled next.
    due: Due,
}

struct Work {
    feeds: Vec<Feed>,
    kept: KeptFeeds,
    others: Arc<Others>,
}

impl Pulling {
    /// Starts the thread, if the configuration has feeds that are pulled.
    pub(crate) fn start(
        data: &DataDir,
        keyring: &Keyring,
        config: &Config,
        others: &Arc<Others>,
    ) -> Result<Option<Self>, IntelError> {
        if pulled(&config.intel).next().is_none() {
            return Ok(None);
        }
        let kept = KeptFeeds::open(data, keyring)?;
        let now = now_s();
        let feeds = pulled(&config.intel).map(|config| {
            // A start does not ask again what was pulled a minute ago.
            let kept = kept.read(&config.name).ok().flatten().filter(|kept| kept.head.from == config.from());
            let last = kept.and_then(|kept| u64::try_from(kept.head.pulled).ok()).unwrap_or(0);
            Feed { config: config.clone(), due: Due::new(config.interval(), RETRY).after(last.min(now)) }
        });
        let work = Work { feeds: feeds.collect(), kept, others: others.clone() };
        let (stop, stopped) = watch::channel(false);
        let io = |source| IntelError::File { what: "thread", path: Path::new("intel").to_owned(), source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(io)?;
        let run = move || runtime.block_on(work.run(stopped));
        let thread = std::thread::Builder::new().name("intel".to_owned()).spawn(run).map_err(io)?;
        Ok(Some(Self { stop, thread }))
    }

    /// Ends it, in the midst of a pull if need be: what was not pulled is pulled at the next start.
    pub(crate) fn stop(self) {
        self.stop.send_replace(true);
        drop(self.thread.join());
    }
}

impl Work {
    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let now = now_s();
            let wait = self.feeds.iter().map(|feed| feed.due.wait(now)).min().unwrap_or(RETRY);
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = self.others.pull.notified() => self.feeds.iter_mut().for_each(|feed| feed.due.now()),
                () = tokio::time::sleep(wait) => {}
            }
            for index in 0..self.feeds.len() {
                if !self.feeds[index].due.is_due(now_s()) {
                    continue;
                }
                tokio::select! {
                    () = self.pull(index) => {}
                    _ = stop.wait_for(|stop| *stop) => return,
                }
            }
        }
    }

    async fn pull(&mut self, index: usize) {
        let Some(feed) = self.feeds.get_mut(index) else { return };
        let name = feed.config.name.clone();
        let began = now_s();
        let outcome = pull(&feed.config, &self.kept).await;
        feed.due.done(began, now_s(), outcome.is_err());
        match &outcome {
            Ok(count) => tracing::info!(feed = name, indicators = count, "pulled"),
            Err(what) => tracing::warn!(feed = name, what, "a feed was not pulled"),
        }
        self.others.feeds.note(&name, outcome.as_ref().err().map(String::as_str));
    }
}

/// Pulls a feed once. Gives how many indicators it has.
async fn pull(config: &FeedConfig, feeds: &KeptFeeds) -> Result<usize, String> {
    let mut kept = match feeds.read(&config.name) {
        Ok(kept) => kept.unwrap_or_default(),
        Err(KeptError::Seal(_) | KeptError::Form { .. }) => Kept::default(),
        Err(error) => return Err(error.to_string()),
    };
    let mut save = |head: &Head, indicators: &Indicators| {
        if let Err(error) = feeds.write(&config.name, head, indicators) {
            tracing::warn!(feed = config.name, %error, "what was pulled so far is not kept");
        }
    };
    sources::pull(config, &mut kept, &mut save).await?;
    kept.head.pulled = i64::try_from(now_s()).unwrap_or(i64::MAX);
    kept.forget_expired(kept.head.pulled.saturating_sub(EXPIRED_KEPT_S));
    feeds.write(&config.name, &kept.head, &kept.indicators).map_err(|error| error.to_string())?;
    Ok(kept.indicators.len())
}
