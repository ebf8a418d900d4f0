//! Publishes the log for everybody to read, on a thread of its own: sealing waits for no place. A place that does not answer, or
//! does not agree, is in the status and in the record, and is tried again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use archive::{ObjectError, PublicBucket, PublicDir, PublicSite};
use event::{Kind, SourcePath, attr};
use journal::Seq;
use ledger::public::{PublicFiles, PublicPlace, Published, publish};
use ledger::{
    Disclosure, Selection, SignedNote, StoredRecord, minimum_index, published_checkpoint, stamped_sizes, witnessed_checkpoint,
};
use serde::{Deserialize, Serialize};

use crate::config::{Config, ConfigError};
use crate::data_dir::DataDir;
use crate::lifecycle::cold::{Step, lifecycle_event};
use crate::lifecycle::place::{Place, S3Settings};
use crate::lifecycle::spine::Spine;
use crate::log_keys::key_chain;
use crate::node::Node;
use crate::pipeline::Pipeline;
use crate::standing::Others;
use crate::watchman::HEARTBEAT_EVENT;

/// How soon a place is tried again that failed; later where it is looked at less often.
const RETRY: Duration = Duration::from_secs(10);

/// How often a place is looked at where nothing is new: what somebody else did to its checkpoint is seen then.
const LOOK_AGAIN: Duration = Duration::from_secs(600);

/// How long the last round may take when the server stops. What it does not come to, the next start does.
const LAST_TIMEOUT: Duration = Duration::from_secs(5);

/// How far publication is, below `state/`.
const REACHED: &str = "published.json";

/// Longest such file.
const REACHED_BYTES_MAX: u64 = 16 * 1024;

/// How URLs of directories may begin.
const FILE_SCHEME: &str = "file://";

/// The running thread.
pub(crate) struct Publishing {
    stop: Sender<()>,
    ended: Receiver<()>,
}

struct Work {
    data: DataDir,
    url: String,
    place: Box<dyn PublicPlace + Send>,
    every: Duration,
    spine: Spine,
    pipeline: Arc<Pipeline>,
    others: Arc<Others>,
    log_id: [u8; 16],
    reached: Reached,
    /// What was said last of the place, as long as it is so.
    failing: Option<String>,
    /// What was there to be published when all of it last was, and when.
    done: Option<(News, Instant)>,
}

/// What there is to be published: the checkpoint, the witnessed one, the newest time stamp, the minimum index.
type News = (Option<SignedNote>, Option<SignedNote>, Option<u64>, Option<u64>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Reached {
    /// Where: at another place it begins anew.
    url: String,
    published: Published,
}

impl Publishing {
    /// Starts the thread, if the configuration names a place. Nothing is asked of the place yet.
    pub(crate) fn start(node: &Node, config: &Config) -> Result<Option<Self>, ConfigError> {
        let Some(url) = &config.ledger.publish else { return Ok(None) };
        let refuse = |what: String| ConfigError::Publish { url: url.clone(), what };
        let place = place(url, &config.publish_s3()).map_err(|error| refuse(error.to_string()))?;
        let keys = key_chain(node.data()).map_err(|error| refuse(error.to_string()))?;
        let log_id = keys.ok_or_else(|| refuse("there is no ledger to publish".to_owned()))?.first().log_id();
        // The heartbeats of before are in the tree as all records are; disclosed are those from now on.
        let anew = || Reached {
            url: url.clone(),
            published: Published { heartbeats: node.journal().first().0, ..Published::default() },
        };
        let reached = read(node.data()).filter(|reached| reached.url == *url).unwrap_or_else(anew);
        let mut work = Work {
            data: node.data().clone(),
            url: url.clone(),
            place,
            every: Duration::from_secs(u64::from(config.ledger.publish_seconds.max(1))),
            spine: node.spine(),
            pipeline: node.pipeline().clone(),
            others: node.others().clone(),
            log_id,
            reached,
            failing: None,
            done: None,
        };
        let (stop, stopped) = channel();
        let (end, ended) = channel();
        let run = move || {
            work.run(&stopped);
            // Dropped first: whoever waits for the end may open the directory anew.
            drop(work);
            drop(end);
        };
        std::thread::Builder::new().name("publish".to_owned()).spawn(run).map_err(|error| refuse(error.to_string()))?;
        Ok(Some(Self { stop, ended }))
    }

    /// Publishes what is new for the last time, and ends. A place that does not answer in time is left as it is.
    pub(crate) fn stop(self) {
        drop(self.stop);
        if self.ended.recv_timeout(LAST_TIMEOUT) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("not all of the log is published; the next start goes on");
        }
    }
}

impl Work {
    fn run(&mut self, stopped: &Receiver<()>) {
        loop {
            let rest = if self.failing.is_some() { self.every.max(RETRY) } else { self.every };
            let is_last = stopped.recv_timeout(rest) != Err(RecvTimeoutError::Timeout);
            self.round();
            if is_last {
                return;
            }
        }
    }

    /// What there is to be published; what cannot be read is said by whoever publishes it.
    fn news(&self) -> News {
        let dir = self.data.path();
        let minimum = key_chain(&self.data).ok().flatten().and_then(|keys| minimum_index(dir, &keys).ok());
        let stamped = stamped_sizes(dir).ok().and_then(|sizes| sizes.last().copied());
        (published_checkpoint(dir).ok().flatten(), witnessed_checkpoint(dir).ok().flatten(), stamped, minimum)
    }

    fn round(&mut self) {
        let news = self.news();
        if self.done.as_ref().is_some_and(|(done, at)| *done == news && at.elapsed() < LOOK_AGAIN) {
            return;
        }
        let before = self.reached.clone();
        let mut published = before.published.clone();
        let (spine, log_id) = (&self.spine, self.log_id);
        let outcome = publish(self.data.path(), &*self.place, &mut published, &mut |seq| heartbeat(spine, log_id, seq));
        if before.published.size > published.size && outcome.is_ok() {
            tracing::warn!(published = before.published.size, found = published.size, "a published checkpoint was rolled back");
        }
        self.reached.published = published;
        if self.reached != before || !reached_file(&self.data).exists() {
            self.keep();
        }
        self.done = outcome.is_ok().then(|| (news, Instant::now()));
        let what = outcome.as_ref().err().map(ToString::to_string);
        self.others.places.note(&self.url, what.as_deref());
        let is_news = what.is_some() && what != self.failing;
        if let (Err(error), true) = (&outcome, is_news) {
            if error.may_pass() {
                tracing::warn!(place = self.url, %error, "the log is not published for the time being");
            } else {
                tracing::error!(place = self.url, %error, "the log is not published");
            }
            let name = if error.may_pass() { "publication.unavailable" } else { "publication.refused" };
            // An outage is recorded once, however it shows.
            if self.failing.is_none() || !error.may_pass() {
                let mut event = lifecycle_event(name, "publish", &error.to_string());
                event.set(attr::EVENT_OUTCOME, "failure");
                // It is in the log of the program and in its status, too.
                drop(self.pipeline.record_blocking(vec![event], &|| true));
            }
        }
        self.failing = what;
    }

    fn keep(&self) {
        let bytes = serde_json::to_vec(&self.reached).map_err(std::io::Error::other);
        let kept = bytes.and_then(|bytes| files::write_atomic(&reached_file(&self.data), &bytes, 0o600));
        if let Err(error) = kept {
            tracing::warn!(%error, "how far publication is could not be written down; the place tells it again");
        }
    }
}

/// The record as a disclosure, if it is a heartbeat.
fn heartbeat(spine: &Spine, log_id: [u8; 16], seq: u64) -> Result<Option<Vec<u8>>, String> {
    let step = spine.reader(Seq(seq)).next().map_err(|error| error.to_string())?;
    let Some(Step::Record(record)) = step.filter(|step| matches!(step, Step::Record(record) if record.seq.0 == seq)) else {
        return Ok(None);
    };
    let event = record.event().map_err(|error| error.to_string())?;
    let is_own = event.source.path == SourcePath::Internal && event.kind == Kind::Admin;
    if !is_own || event.name.as_str() != HEARTBEAT_EVENT {
        return Ok(None);
    }
    let shown = Disclosure::of(&StoredRecord::whole(record), log_id, &Selection::all()).map_err(|error| error.to_string())?;
    shown.to_json().map(Some).map_err(|error| error.to_string())
}

/// How far the log of a data directory is published, as was written down; `None` where it never was.
pub(crate) fn reached(data: &DataDir) -> Option<Published> {
    read(data).map(|reached| reached.published)
}

/// The file that says so.
pub(crate) fn reached_file(data: &DataDir) -> PathBuf {
    data.state(REACHED)
}

fn read(data: &DataDir) -> Option<Reached> {
    let path = reached_file(data);
    // One that cannot be read is one that is not there: the place tells what it has.
    let is_short = std::fs::metadata(&path).ok()?.len() <= REACHED_BYTES_MAX;
    serde_json::from_slice(&std::fs::read(path).ok().filter(|_| is_short)?).ok()
}

/// A place that a log is published at.
fn place(url: &str, s3: &S3Settings) -> Result<Box<dyn PublicPlace + Send>, ObjectError> {
    let place = Place { url: Some(directory(url).to_owned()), s3: s3.clone(), ..Place::default() };
    Ok(match place.bucket()? {
        Some(bucket) => Box::new(PublicBucket::open(bucket)?),
        None => Box::new(PublicDir::new(&place.directory(Path::new(""))?)),
    })
}

/// A place that a log is read from: as `[ledger] publish` names it, or a directory, or `https://` and `http://`.
///
/// # Errors
/// When it is none of these, or the bucket's configuration cannot be used.
pub fn public_files(url: &str, s3: &S3Settings) -> Result<Box<dyn PublicFiles>, ObjectError> {
    if url.starts_with("https://") || url.starts_with("http://") {
        return Ok(Box::new(PublicSite::open(url)?));
    }
    let place = Place { url: Some(url.to_owned()), s3: s3.clone(), ..Place::default() };
    Ok(match place.bucket()? {
        Some(bucket) => Box::new(PublicBucket::open(bucket)?),
        None => Box::new(PublicDir::new(Path::new(directory(url)))),
    })
}

fn directory(url: &str) -> &str {
    url.strip_prefix(FILE_SCHEME).unwrap_or(url)
}
