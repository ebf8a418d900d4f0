//! Threat intelligence: the indicators in force, from the feeds of the configuration and from imports.
//!
//! ```text
//!  pulling ─► sources ─► kept (DIR/intel/NAME, sealed) ─► Set in force ─► look_up, before an event is sanitised
//!  import ───────────────────┘        files of the configuration ──┘
//! ```
//!
//! An event is looked up before it is sanitised, as the place of its client is ([`crate::geoip`]): of a sanitised address nobody could
//! tell. What was found is part of the event, with the digest of the set that said it, so that whatever is built anew from the record
//! says what was known then.

mod fetch;
mod in_force;
mod indicators;
mod kept;
mod look_up;
mod pulling;
mod sources;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use event::{Event, Kind, Timestamp, attr};
use intel::feed::{self, FeedError, Format, Options};
use intel::{Problems, Set, SetBuilder, SetError, WarningError, WarningLists};
use keys::{Keyring, KeysError};
use serde::Serialize;

pub(crate) use self::in_force::keep;
pub use self::in_force::{indicators, kept_config};
pub(crate) use self::kept::{Kept, KeptFeeds};
pub use self::kept::{KeptError, is_import};
pub(crate) use self::look_up::{is_prompt, looked_up, note_hits};
pub(crate) use self::pulling::Pulling;
use crate::asker::Asker;
use crate::config::{FeedConfig, IntelConfig};
use crate::data_dir::DataDir;
use crate::node::internal;
use crate::pipeline::Pipeline;
use crate::standing::Failure;

/// How often is looked whether a file has changed.
pub(crate) const LOOK: Duration = Duration::from_secs(2);

/// Largest file of a feed: URLhaus has 20 MiB of URLs that are online, and everything that it ever had is 250 MiB.
pub(crate) const FEED_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Largest warning list; the one of the million most visited sites has 25 MiB.
const WARNING_LIST_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The event that tells of another set of indicators.
const EVENT: &str = "configuration.intel";

/// The keyring's name of the digest of the set that was recorded last.
const RECORDED: &str = "intel set";

/// Reasons of one feed that are shown.
const REASONS_MAX: usize = 8;

/// Why indicators cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IntelError {
    /// A file cannot be read.
    #[error("{what} {path}: {source}")]
    File {
        /// What it is.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the configuration is no feed.
    #[error("intel.feed {name:?}: {path} {source}")]
    Feed {
        /// The feed.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: FeedError,
    },
    /// A warning list cannot be used.
    #[error("intel.warning_lists: {path}: {source}")]
    Warning {
        /// The file.
        path: PathBuf,
        /// Why.
        source: WarningError,
    },
    /// What was pulled before cannot be used.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// A feed has too much.
    #[error("{name:?}: {reason}")]
    TooMuch {
        /// The feed.
        name: String,
        /// How much there may be.
        reason: String,
    },
    /// There is too much.
    #[error("intel: {0}")]
    Set(#[from] SetError),
    /// The keyring.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The feeds that the keyring knows are not what this program wrote.
    #[error("the feeds of the server's last start, in the keyring: {0}; give its configuration with --config")]
    Form(#[from] serde_json::Error),
}

/// The indicators in force, and where they come from.
pub(crate) struct Intel {
    config: IntelConfig,
    kept: KeptFeeds,
    keyring: Arc<Keyring>,
    pipeline: Arc<Pipeline>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The files that the set in force was made of.
    taken: Vec<(PathBuf, Option<Stamp>)>,
    loaded: Option<Timestamp>,
    refused: Option<String>,
    feeds: Vec<FeedStanding>,
}

type Stamp = (SystemTime, u64);

/// How the indicators stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IntelStanding {
    /// Indicators in force.
    pub in_force: usize,
    /// SHA-256 over them, hexadecimal.
    pub digest: String,
    /// When they were loaded (RFC 3339).
    pub loaded: Option<String>,
    /// Indicators that a warning list has the value of, and near prompts that can be missed because too many others share a band with them.
    pub left_out: u64,
    /// Hits on values of a warning list, since they were loaded.
    pub suppressed: u64,
    /// Why what lies there now is not in force, if that is so.
    pub refused: Option<String>,
    /// The feeds.
    pub feeds: Vec<FeedStanding>,
    /// What went wrong last with each feed, as long as the server runs.
    pub failures: Vec<Failure>,
}

/// How a feed stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FeedStanding {
    /// What it is called.
    pub name: String,
    /// Its indicators.
    pub indicators: usize,
    /// When it was pulled or imported last with success (RFC 3339).
    pub pulled: Option<String>,
    /// What of it was left out, the reason and how often.
    pub left_out: Vec<String>,
}

impl IntelConfig {
    /// The warning lists.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn warnings(&self) -> Result<WarningLists, IntelError> {
        let mut lists = if self.builtin_warning_list { WarningLists::builtin() } else { WarningLists::default() };
        for path in &self.warning_lists {
            let bytes = read_file("warning list", path, WARNING_LIST_BYTES_MAX)?;
            lists.add_misp(&bytes).map_err(|source| IntelError::Warning { path: path.clone(), source })?;
        }
        Ok(lists)
    }
}

fn read_file(what: &'static str, path: &std::path::Path, bytes_max: u64) -> Result<Vec<u8>, IntelError> {
    let file = |source| IntelError::File { what, path: path.to_owned(), source };
    let bytes = files::read_named_at_most(path, bytes_max).map_err(file)?;
    bytes.ok_or_else(|| file(std::io::Error::new(std::io::ErrorKind::NotFound, "there is no such file")))
}

impl FeedStanding {
    fn of(name: &str, indicators: usize, pulled: Option<i64>, problems: &Problems) -> Self {
        let told = |(reason, left): (&str, &intel::Left)| {
            let example = left.examples.first().map_or("", String::as_str);
            format!("{} × {reason} ({example})", left.count)
        };
        let pulled = pulled.and_then(|at| u64::try_from(at).ok()).map(|at| Timestamp::from_unix_ns(at * 1_000_000_000).rfc3339());
        Self { name: name.to_owned(), indicators, pulled, left_out: problems.iter().take(REASONS_MAX).map(told).collect() }
    }
}

impl Intel {
    /// Reads what is there. A feed that was pulled before and cannot be read is pulled anew; a file of the configuration that cannot be
    /// read, or is no feed, is an error.
    pub(crate) fn open(
        config: IntelConfig,
        data: &DataDir,
        keyring: &Arc<Keyring>,
        pipeline: Arc<Pipeline>,
    ) -> Result<Self, IntelError> {
        let kept = KeptFeeds::open(data, keyring)?;
        let intel = Self { config, kept, keyring: keyring.clone(), pipeline, state: Mutex::default() };
        let (set, feeds) = intel.load()?;
        intel.pipeline.exchange_intel(Arc::new(set));
        let mut state = intel.state();
        state.taken = intel.stamps();
        state.feeds = feeds;
        state.loaded = Some(Timestamp::now());
        drop(state);
        Ok(intel)
    }

    /// Records which indicators a start found in force, where those are others than were recorded last.
    pub(crate) fn note_start(&self) {
        let set = self.pipeline.intel();
        let recorded = match self.keyring.named(RECORDED) {
            Ok(recorded) => recorded,
            Err(error) => return tracing::error!(%error, "which indicators were in force before is not known"),
        };
        let is_known = recorded.as_ref().map_or(set.is_empty(), |recorded| recorded.as_slice() == set.digest());
        if !is_known {
            let before = recorded.map_or_else(|| "none".to_owned(), |digest| format!("digest {}", event::hex::encode(&digest)));
            self.record(reload_event(&Asker::of_process(), "success", &before, &description(&set)), &set);
        }
    }

    /// Records that a set is in force.
    fn record(&self, event: Event<String>, set: &Set) {
        match self.pipeline.record_blocking(vec![event], &|| true) {
            Ok(_) => {
                if let Err(error) = self.keyring.put_named(RECORDED, set.digest()) {
                    tracing::error!(%error, "that other indicators are in force will be recorded once more");
                }
            }
            Err(error) => tracing::error!(%error, "that other indicators are in force was not recorded"),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn standing(&self) -> IntelStanding {
        let set = self.pipeline.intel();
        let state = self.state();
        IntelStanding {
            in_force: set.len(),
            digest: event::hex::encode(set.digest()),
            loaded: state.loaded.map(Timestamp::rfc3339),
            left_out: set.left_out(),
            suppressed: set.suppressed(),
            refused: state.refused.clone(),
            feeds: state.feeds.clone(),
            failures: Vec::new(),
        }
    }

    /// Every file that the set is made of: those that are kept, those of the configuration, and the warning lists.
    fn stamps(&self) -> Vec<(PathBuf, Option<Stamp>)> {
        let own = self.config.feed.iter().filter_map(|feed| feed.path.clone()).chain(self.config.warning_lists.iter().cloned());
        let stamp = |path: PathBuf| {
            let found = std::fs::metadata(&path).ok().and_then(|found| Some((found.modified().ok()?, found.len())));
            (path, found)
        };
        self.kept.files().into_iter().chain(own).map(stamp).collect()
    }

    /// Looks whether a file has changed, and reads all of them then.
    pub(crate) fn look(&self) {
        let now = self.stamps();
        if self.state().taken == now {
            return;
        }
        // Nobody copies files at once: a change counts when it rests.
        std::thread::sleep(LOOK / 4);
        if self.stamps() == now {
            self.reload(&Asker::of_process());
        }
    }

    /// Reads the files anew, and records that other indicators are in force. What cannot be read leaves those before in force.
    pub(crate) fn reload(&self, asker: &Asker) {
        let stamps = self.stamps();
        let before = self.pipeline.intel();
        let event = match self.load() {
            Ok((set, feeds)) => {
                let mut state = self.state();
                (state.taken, state.feeds, state.refused, state.loaded) = (stamps, feeds, None, Some(Timestamp::now()));
                drop(state);
                if set.digest() == before.digest() && set.len() == before.len() {
                    return;
                }
                let after = description(&set);
                tracing::info!("indicators: {after}, {} before", description(&before));
                self.pipeline.exchange_intel(Arc::new(set));
                reload_event(asker, "success", &description(&before), &after)
            }
            Err(error) => {
                let reason = error.to_string();
                tracing::error!("the indicators are not used, those before stay in force: {reason}");
                let mut state = self.state();
                state.taken = stamps;
                if state.refused.replace(reason.clone()).as_ref() == Some(&reason) {
                    return;
                }
                drop(state);
                reload_event(asker, "failure", &description(&before), &format!("refused: {reason}"))
            }
        };
        self.record(event, &self.pipeline.intel());
    }

    fn load(&self) -> Result<(Set, Vec<FeedStanding>), IntelError> {
        let mut builder = SetBuilder::new(self.config.warnings()?);
        let mut feeds = Vec::new();
        for (standing, indicators) in in_force::of(&self.config, &self.kept)? {
            feeds.push(standing);
            builder.add(indicators)?;
        }
        Ok((builder.build(), feeds))
    }
}

/// Imports a feed into a data directory: it is in force from the next start on, or within seconds where a server runs. What was imported
/// under that name before is no more. Gives how many indicators there are, and what was left out.
///
/// # Errors
/// What the feed, the keyring and the files say.
pub fn import(
    data: &DataDir,
    keyring: &Keyring,
    name: &str,
    bytes: &[u8],
    format: Option<Format>,
    options: &Options,
) -> Result<(usize, Problems), IntelError> {
    let format = format.or_else(|| Format::of(bytes));
    let wrong = |source| IntelError::Feed { name: name.to_owned(), path: PathBuf::from(name), source };
    let reading = feed::read(format.ok_or_else(|| wrong(FeedError::Unknown))?, bytes, options).map_err(wrong)?;
    let kept = KeptFeeds::open(data, keyring)?;
    let count = reading.indicators.len();
    let problems = reading.problems.clone();
    let mut made = Kept::default();
    made.replace(reading).map_err(|error| IntelError::TooMuch { name: name.to_owned(), reason: error.to_string() })?;
    kept.write(&kept::import_name(name)?, &made.head, &made.indicators)?;
    Ok((count, problems))
}

/// Removes what was imported under a name. Whether there was anything.
///
/// # Errors
/// What the files say.
pub fn remove_import(data: &DataDir, keyring: &Keyring, name: &str) -> Result<bool, IntelError> {
    Ok(KeptFeeds::open(data, keyring)?.remove(&kept::import_name(name)?)?)
}

/// What is in force, in words.
fn description(set: &Set) -> String {
    format!("{} indicators, digest {}", set.len(), event::hex::encode(set.digest()))
}

fn reload_event(asker: &Asker, outcome: &str, before: &str, after: &str) -> Event<String> {
    let mut event = internal(Kind::Admin, EVENT);
    asker.sign(&mut event);
    event.set(attr::EVENT_ACTION, "reload");
    event.set(attr::ADMIN_OBJECT, "indicators");
    event.set(attr::EVENT_OUTCOME, outcome);
    event.set(attr::ADMIN_BEFORE, before);
    event.set(attr::ADMIN_AFTER, after);
    event
}

/// The feeds that are pulled.
fn pulled(config: &IntelConfig) -> impl Iterator<Item = &FeedConfig> {
    config.feed.iter().filter(|feed| feed.url.is_some())
}
