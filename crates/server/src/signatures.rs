//! The signatures of the inspector, those that are built in and those of the operator's directories, and its model: read anew when they change.
//!
//! A set that does not load leaves the one in force that is; it is told in the log, in an event and in the status, and tried again when
//! the files change once more.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use event::{Event, Kind, Timestamp, attr};
use files::{Stamp, Tree, TreeError};
use inspect::classifier::{Model, ModelError};
use inspect::{Inspector, LoadError};
use serde::Serialize;

use crate::asker::Asker;
use crate::config::InspectConfig;
use crate::node::internal;
use crate::pipeline::Pipeline;

/// Signature files of a directory: `*.yaml` and `*.yml`. 4 MiB hold some thousands of signatures, and nobody reads more in one file.
const TREE: Tree<'_> = Tree { endings: &["yaml", "yml"], file_bytes_max: 4 * 1024 * 1024, files_max: 5_000 };

/// How often is looked whether a file has changed. A change is taken when the look after it sees the same: nobody copies files at once.
pub(crate) const LOOK: Duration = Duration::from_secs(2);

/// The event that tells of another set, or of one that was refused.
const EVENT: &str = "signatures.reload";

/// Longest reason that is told, in bytes.
const REASON_BYTES_MAX: usize = 4 * 1024;

/// Why signatures cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// A file or directory.
    #[error("inspect.signatures: {0}")]
    Files(#[from] TreeError),
    /// A file is no text.
    #[error("inspect.signatures: {path} is no UTF-8 text", path = .0.display())]
    Text(PathBuf),
    /// What a file says.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The model's file cannot be read.
    #[error("inspect.model: cannot read {path}: {source}", path = .path.display())]
    ModelFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The model's file is no model.
    #[error("inspect.model: {path}: {source}", path = .path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ModelError,
    },
}

/// How the signatures stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SignaturesStanding {
    /// Signatures in force.
    pub in_force: usize,
    /// Signatures of the same files that are not enabled.
    pub disabled: usize,
    /// The classifier's model: the name that `watchkeeper train` gave it, and SHA-256 over it, hexadecimal.
    pub model: Option<String>,
    /// SHA-256 over the rules in force, the model and the code that applies them, hexadecimal.
    pub digest: String,
    /// When they were loaded (RFC 3339).
    pub loaded: String,
    /// Why the set that lies in the directories now is not the one in force, if that is so.
    pub refused: Option<String>,
}

impl InspectConfig {
    /// Names and texts of the signature files: those that are built in, then those of the directories.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn sources(&self) -> Result<Vec<(String, String)>, SignatureError> {
        let builtin = Inspector::builtin_sources().map(|(name, yaml)| (name.to_owned(), yaml.to_owned()));
        let mut sources: Vec<(String, String)> = builtin.filter(|_| self.builtin_signatures).collect();
        for dir in &self.signatures {
            sources.extend(read_signatures(dir)?);
        }
        Ok(sources)
    }

    /// An inspector with them. Every example of the directories' signatures was tried.
    ///
    /// # Errors
    /// What cannot be read or does not load.
    pub fn inspector(&self) -> Result<Inspector, SignatureError> {
        let inspector = if self.signatures.is_empty() && self.builtin_signatures {
            Inspector::builtin()?
        } else {
            Inspector::from_sources(&self.sources()?)?
        };
        let Some(path) = &self.model else { return Ok(inspector) };
        Ok(inspector.with_model(Some(read_model(path)?)))
    }

    fn stamps(&self) -> Result<Vec<Stamp>, SignatureError> {
        let mut stamps = Vec::new();
        for dir in &self.signatures {
            stamps.extend(TREE.stamps(dir)?);
        }
        if let Some(path) = &self.model {
            stamps.push(Stamp::of(path).map_err(|source| SignatureError::ModelFile { path: path.clone(), source })?);
        }
        Ok(stamps)
    }
}

/// Largest file that is read as a model: one of today's has a quarter of it.
const MODEL_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The classifier's model in a file.
///
/// # Errors
/// What cannot be read, or is no model.
pub fn read_model(path: &Path) -> Result<Model, SignatureError> {
    let file = |source| SignatureError::ModelFile { path: path.to_owned(), source };
    let bytes = files::read_named_at_most(path, MODEL_BYTES_MAX).map_err(file)?;
    let bytes = bytes.ok_or_else(|| file(files::not_there()))?;
    Model::from_bytes(&bytes).map_err(|source| SignatureError::Model { path: path.to_owned(), source })
}

/// Names and texts of the signature files below a directory, or of the one that is named.
///
/// # Errors
/// What cannot be read.
pub fn read_signatures(at: &Path) -> Result<Vec<(String, String)>, SignatureError> {
    let text = |(path, bytes): (PathBuf, Vec<u8>)| match String::from_utf8(bytes) {
        Ok(text) => Ok((path.display().to_string(), text)),
        Err(_) => Err(SignatureError::Text(path)),
    };
    TREE.read(at)?.into_iter().map(text).collect()
}

/// Looks after the signatures of a pipeline.
pub(crate) struct Signatures {
    config: InspectConfig,
    pipeline: Arc<Pipeline>,
    state: Mutex<State>,
}

struct State {
    /// The files that were looked at when signatures were loaded or refused last.
    taken: Option<Vec<Stamp>>,
    /// Those of the last look.
    seen: Option<Vec<Stamp>>,
    loaded: Timestamp,
    refused: Option<String>,
}

impl Signatures {
    pub(crate) fn new(config: InspectConfig, pipeline: Arc<Pipeline>) -> Self {
        let taken = config.stamps().ok();
        let state = State { seen: taken.clone(), taken, loaded: Timestamp::now(), refused: None };
        Self { config, pipeline, state: Mutex::new(state) }
    }

    /// Whether there is something that can change.
    pub(crate) fn can_change(&self) -> bool {
        !self.config.signatures.is_empty() || self.config.model.is_some()
    }

    pub(crate) fn standing(&self) -> SignaturesStanding {
        let inspector = self.pipeline.inspector();
        let loading = inspector.loading();
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        SignaturesStanding {
            in_force: loading.signatures,
            disabled: loading.disabled,
            model: inspector.model().map(told_of),
            digest: event::hex::encode(&inspector.digest()),
            loaded: state.loaded.rfc3339(),
            refused: state.refused.clone(),
        }
    }

    /// Looks whether the files have changed and have come to rest, and reads them then.
    pub(crate) fn look(&self) {
        let now = self.config.stamps().ok();
        let is_due = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let rests = state.seen == now;
            state.seen.clone_from(&now);
            rests && state.taken != now
        };
        if is_due {
            self.reload(&Asker::of_process());
        }
    }

    /// Reads the files anew. Nothing is done where they say what is in force.
    pub(crate) fn reload(&self, asker: &Asker) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.taken = self.config.stamps().ok();
        let before = self.pipeline.inspector();
        let event = match self.config.inspector().map(|inspector| inspector.with_canaries(before.canaries().clone())) {
            Ok(inspector) if inspector.digest() == before.digest() => {
                state.refused = None;
                return;
            }
            Ok(inspector) => {
                let after = description(&inspector);
                tracing::info!("signatures: {after}, {} before", description(&before));
                self.pipeline.exchange_inspector(inspector);
                (state.loaded, state.refused) = (Timestamp::now(), None);
                reload_event(asker, "success", &description(&before), &after)
            }
            Err(error) => {
                let mut reason = error.to_string();
                reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
                tracing::error!(
                    "the signatures and the model that lie on the disk are not used, those before stay in force: {reason}"
                );
                let is_known = state.refused.as_ref() == Some(&reason);
                state.refused = Some(reason.clone());
                if is_known {
                    return;
                }
                reload_event(asker, "failure", &description(&before), &format!("refused: {reason}"))
            }
        };
        drop(state);
        if self.pipeline.record_blocking(vec![event], &|| true).is_err() {
            tracing::error!("the reload of the signatures was not recorded");
        }
    }
}

/// What is in force, in words.
fn description(inspector: &Inspector) -> String {
    let digest = event::hex::encode(&inspector.digest());
    let model = inspector.model().map_or_else(|| "no model".to_owned(), |model| format!("model {}", told_of(model)));
    format!("{} signatures, {model}, digest {digest}", inspector.signature_count())
}

fn told_of(model: &Model) -> String {
    format!("{} {}", model.head().name, event::hex::encode(&model.digest()))
}

fn reload_event(asker: &Asker, outcome: &str, before: &str, after: &str) -> Event<String> {
    let mut event = internal(Kind::Admin, EVENT);
    asker.sign(&mut event);
    event.set(attr::EVENT_ACTION, "reload");
    event.set(attr::ADMIN_OBJECT, "signatures");
    event.set(attr::EVENT_OUTCOME, outcome);
    event.set(attr::ADMIN_BEFORE, before);
    event.set(attr::ADMIN_AFTER, after);
    event
}
