//! Which baselines are accepted, and what has become of their files.
//!
//! The file of a baseline lies where the operator wants it. Whoever can write there could put another one in its place, or take it away, so
//! that the next run would be the first one and whatever answers by then the model that was meant. So the keyring has the digest of what was
//! accepted, and `DIR/state` a copy that is sealed under a key of the keyring: what is lost is brought back from the copy, what was changed is
//! not believed, and both are told.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::aead::RandomizedNonceKey;
use capture::RecordError;
use evaluate::{Baseline, BaselineError};
use event::{Kind, Timestamp, attr};
use keys::{Keyring, KeysError};
use serde::{Deserialize, Serialize};

use super::inputs::{BASELINE_BYTES_MAX, InputError, read_baseline};
use crate::asker::Asker;
use crate::config::is_feed_name;
use crate::configuration::{self, ConfigurationError};
use crate::data_dir::DataDir;
use crate::node::{Node, internal};
use crate::pipeline::Pipeline;
use crate::sealed_file::{self, BoundTo, KeyError, SealedFile, SealedFileError};

/// What the keyring's names of accepted baselines begin with; the name of the evaluation follows.
const ACCEPTED: &str = "evaluation baseline ";
/// The keyring's name of the key of the copies.
const KEY: &str = "evaluation baselines key";
/// A copy: format 1.
const COPY: SealedFile = SealedFile { magic: b"wkevalb1", clear: 0, bytes_max: BASELINE_BYTES_MAX };
/// zstd's level: a baseline is JSON with long rows of digits, and written once.
const LEVEL: i32 = 3;

/// What is known of an accepted baseline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Accepted {
    /// [`Baseline::digest`].
    digest: String,
    /// When it was accepted, in nanoseconds since 1970.
    at_ns: u64,
}

/// How the file of a baseline was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BaselineState {
    /// Nothing was accepted before: what is there now is accepted, or else this run will be.
    First,
    /// It is the one that was accepted.
    Accepted,
    /// It was gone. The copy is used, and the file written again from it.
    Missing,
    /// It is another one, or cannot be read. The copy is used.
    Changed,
    /// It is gone or another one, and there is no copy. Nothing is compared.
    Lost,
}

impl BaselineState {
    /// The name that events and rules use.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Accepted => "accepted",
            Self::Missing => "missing",
            Self::Changed => "changed",
            Self::Lost => "lost",
        }
    }
}

/// Why there is no baseline, or none can be accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaselinesError {
    /// The accepted one is gone.
    #[error(
        "the baseline that was accepted at {at} (SHA-256 {digest}) is neither in {} nor in its copy; bring the file back, or accept another \
         one with `watchkeeper eval accept`", path.display()
    )]
    Lost {
        /// Where it should be.
        path: PathBuf,
        /// What it should be.
        digest: String,
        /// Since when.
        at: String,
    },
    /// Its file.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The baseline.
    #[error(transparent)]
    Baseline(#[from] BaselineError),
    /// A name that no evaluation can have.
    #[error("{0:?} is no name of an evaluation: 1 to 64 letters, digits, - and _ are needed")]
    Name(String),
    /// A name that no evaluation of the configuration has.
    #[error(
        "no [[evaluate]] of the configuration that the server started with is called {name:?} ({known}); correct the name, or add it to the \
         configuration and start the server with that first"
    )]
    Unknown {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// What the server started with.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// The folder in which the file is to be.
    #[error("{} is no folder; make it, so that the first run of the evaluation can be kept there", .0.display())]
    Folder(PathBuf),
    /// The keyring.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// What the keyring has was not written by this program.
    #[error("the accepted baseline in the keyring: {0}")]
    Form(#[from] serde_json::Error),
    /// The copy, or the file, cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The copy cannot be encrypted.
    #[error("the copy of the baseline cannot be encrypted")]
    Cipher,
    /// It could not be recorded.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// The accepted baselines of a record.
#[derive(Clone)]
pub(crate) struct Baselines {
    keyring: Arc<Keyring>,
    pipeline: Arc<Pipeline>,
    data: DataDir,
}

impl Baselines {
    pub(crate) fn of(node: &Node) -> Self {
        Self { keyring: node.keyring().clone(), pipeline: node.pipeline().clone(), data: node.data().clone() }
    }

    /// What runs of an evaluation are compared with, and how it was found. `None` where the first run is to be it.
    ///
    /// # Errors
    /// [`BaselinesError::Lost`], and what disk and keyring say.
    pub(crate) fn find(&self, name: &str, path: &Path) -> Result<(Option<Baseline>, BaselineState), BaselinesError> {
        let accepted = self.accepted(name)?;
        let file = read_baseline(path);
        let Some(accepted) = accepted else {
            let first = file?;
            match &first {
                Some(baseline) => self.accept(name, baseline, &Asker::of_process())?,
                None => folder_of(path)?,
            }
            return Ok((first, BaselineState::First));
        };
        if let Ok(Some(baseline)) = &file
            && baseline.digest()? == accepted.digest
        {
            if self.copy(name, &accepted.digest).is_none() {
                self.keep(name, baseline)?;
            }
            return Ok((file?, BaselineState::Accepted));
        }
        let Some(copy) = self.copy(name, &accepted.digest) else {
            let at = Timestamp::from_unix_ns(accepted.at_ns).rfc3339();
            return Err(BaselinesError::Lost { path: path.to_owned(), digest: accepted.digest, at });
        };
        // What is another may be somebody's new one, which is not written over. What is gone comes back.
        if matches!(file, Ok(None)) {
            if let Err(error) = write(path, &copy.to_json()?) {
                tracing::warn!(evaluation = name, %error, "the baseline was gone, and could not be written again");
            }
            return Ok((Some(copy), BaselineState::Missing));
        }
        Ok((Some(copy), BaselineState::Changed))
    }

    /// Takes a first run for what later ones are compared with.
    ///
    /// # Errors
    /// What disk, keyring and record say.
    pub(crate) fn begin(&self, name: &str, path: &Path, baseline: &Baseline) -> Result<(), BaselinesError> {
        // The file first: what is accepted and nowhere is missed at the next run.
        write(path, &baseline.to_json()?)?;
        self.accept(name, baseline, &Asker::of_process())
    }

    /// As [`accept`](Self::accept), for people: only of an evaluation that is configured. A baseline under a name that nobody runs would be
    /// accepted for nothing.
    ///
    /// # Errors
    /// [`BaselinesError::Unknown`], and as of [`accept`](Self::accept).
    pub(crate) fn accept_configured(&self, name: &str, baseline: &Baseline, asker: &Asker) -> Result<(), BaselinesError> {
        let known = configuration::evaluations(&self.keyring)?;
        if is_feed_name(name) && !known.iter().any(|known| known == name) {
            let known = if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
            return Err(BaselinesError::Unknown { name: name.to_owned(), known });
        }
        self.accept(name, baseline, asker)
    }

    /// From now on runs of an evaluation are compared with this baseline, and with no other. A copy of it is kept, and it is recorded with
    /// who says so.
    ///
    /// # Errors
    /// When the name is none, and what disk, keyring and record say.
    pub(crate) fn accept(&self, name: &str, baseline: &Baseline, asker: &Asker) -> Result<(), BaselinesError> {
        if !is_feed_name(name) {
            return Err(BaselinesError::Name(name.chars().take(100).collect()));
        }
        let digest = baseline.digest()?;
        let mut event = internal(Kind::Admin, "evaluation.baseline");
        asker.sign(&mut event);
        event.set(attr::EVENT_ACTION, "accept");
        event.set(attr::EVENT_OUTCOME, "success");
        event.set(attr::ADMIN_OBJECT, format!("baseline of the evaluation {name}").as_str());
        // A form that nobody can read any more is replaced by one that can.
        if let Ok(Some(before)) = self.accepted(name) {
            event.set(attr::ADMIN_BEFORE, format!("sha256:{}", before.digest).as_str());
        }
        event.set(attr::ADMIN_AFTER, format!("sha256:{digest}").as_str());
        self.pipeline.record_blocking(vec![event], &|| true)?;
        let accepted = Accepted { digest, at_ns: Timestamp::now().unix_ns() };
        self.keyring.put_named(&format!("{ACCEPTED}{name}"), &serde_json::to_vec(&accepted)?)?;
        self.keep(name, baseline)
    }

    fn accepted(&self, name: &str) -> Result<Option<Accepted>, BaselinesError> {
        let kept = self.keyring.named(&format!("{ACCEPTED}{name}"))?;
        Ok(kept.map(|json| serde_json::from_slice(&json)).transpose()?)
    }

    /// Keeps a copy.
    fn keep(&self, name: &str, baseline: &Baseline) -> Result<(), BaselinesError> {
        let (path, json) = (self.path(name), baseline.to_json()?);
        let content = |file| sealed_file::packed(file, LEVEL, BASELINE_BYTES_MAX, |to| to.write_all(&json));
        let kept = COPY.write(&path, &self.cipher()?, BoundTo::Name(name), b"", content);
        kept.map_err(|error| match error {
            SealedFileError::Cipher => BaselinesError::Cipher,
            SealedFileError::Io(source) => BaselinesError::Write { path, source },
            error => BaselinesError::Write { path, source: io::Error::other(error) },
        })
    }

    /// The copy, if it is there and is what was accepted.
    fn copy(&self, name: &str, digest: &str) -> Option<Baseline> {
        let opened = COPY.read(&self.path(name)).ok()??.open(&self.cipher().ok()?, BoundTo::Name(name)).ok()?;
        let mut json = Vec::new();
        opened.unpacked(BASELINE_BYTES_MAX).ok()?.read_to_end(&mut json).ok()?;
        Baseline::from_json(&json).ok().filter(|baseline| baseline.digest().is_ok_and(|of_copy| of_copy == digest))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.data.state(&format!("evaluation.{name}.baseline"))
    }

    fn cipher(&self) -> Result<RandomizedNonceKey, BaselinesError> {
        sealed_file::key(&self.keyring, KEY).map_err(|error| match error {
            KeyError::Keys(error) => error.into(),
            KeyError::Cipher => BaselinesError::Cipher,
        })
    }
}

/// That the first run can be kept, before it is asked for.
fn folder_of(path: &Path) -> Result<(), BaselinesError> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => Err(BaselinesError::Folder(folder.to_owned())),
        _ => Ok(()),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), BaselinesError> {
    files::write_atomic(path, bytes, 0o600).map_err(|source| BaselinesError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use evaluate::{Answer, Api, Parameters, Run, Set, Trial};

    use super::*;
    use crate::{NodeSettings, RootKeyPlace};

    fn baseline(model: &str) -> Baseline {
        let set = Set::read("s", r#"{"id":"a","prompt":"2+2?","grader":{"type":"exact","value":"4"}}"#).unwrap();
        let parameters = Parameters { model: "m".to_owned(), temperature: None, max_tokens: 9, more: Default::default() };
        let mut run = Run::of(&set, Api::OpenaiChat, "h", &parameters, 1);
        let answer = Answer { text: "4".to_owned(), model: Some(model.to_owned()), ..Answer::default() };
        run.items[0].trials = vec![Trial::of(&answer, set.items[0].grader.grade("4", false), None, 5)];
        Baseline::new(run).unwrap()
    }

    #[test]
    fn only_the_accepted_baseline_is_believed_and_it_comes_back_when_it_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let node =
            Node::open(&dir.path().join("data"), &RootKeyPlace::File(dir.path().join("root.key")), &NodeSettings::default());
        let node = node.unwrap();
        let baselines = Baselines::of(&node);
        let path = dir.path().join("one.json");
        let find = || baselines.find("one", &path);
        assert!(matches!(find(), Ok((None, BaselineState::First))));
        let (good, swapped) = (baseline("m-1"), baseline("m-2"));
        baselines.begin("one", &path, &good).unwrap();
        assert_eq!(find().unwrap(), (Some(good.clone()), BaselineState::Accepted));
        // Gone: that is no first run, and the file is there again.
        std::fs::remove_file(&path).unwrap();
        assert_eq!(find().unwrap(), (Some(good.clone()), BaselineState::Missing));
        assert_eq!(find().unwrap(), (Some(good.clone()), BaselineState::Accepted));
        // Another one is not believed, and not written over.
        for other in [swapped.to_json().unwrap(), b"nonsense".to_vec()] {
            std::fs::write(&path, &other).unwrap();
            assert_eq!(find().unwrap(), (Some(good.clone()), BaselineState::Changed));
            assert_eq!(std::fs::read(&path).unwrap(), other);
        }
        // Nor is a copy that somebody changed, or put in the place of another's.
        let copy = node.data().state("evaluation.one.baseline");
        let kept = std::fs::read(&copy).unwrap();
        for place in [0, 8, 20, kept.len() - 1] {
            let mut changed = kept.clone();
            changed[place] ^= 1;
            std::fs::write(&copy, changed).unwrap();
            assert!(matches!(find(), Err(BaselinesError::Lost { .. })), "{place}");
        }
        baselines.keep("two", &swapped).unwrap();
        std::fs::copy(node.data().state("evaluation.two.baseline"), &copy).unwrap();
        assert!(matches!(find(), Err(BaselinesError::Lost { .. })));
        std::fs::remove_file(&path).unwrap();
        std::fs::remove_file(&copy).unwrap();
        let error = find().unwrap_err().to_string();
        assert!(error.contains(&good.digest().unwrap()) && error.contains("eval accept"), "{error}");
        // What comes back is believed, and so is what somebody accepts.
        std::fs::write(&path, good.to_json().unwrap()).unwrap();
        assert_eq!(find().unwrap(), (Some(good), BaselineState::Accepted));
        assert!(copy.exists());
        std::fs::write(&path, swapped.to_json().unwrap()).unwrap();
        std::fs::remove_file(&copy).unwrap();
        baselines.accept("one", &swapped, &Asker::of_process()).unwrap();
        assert_eq!(find().unwrap(), (Some(swapped.clone()), BaselineState::Accepted));
        // What is accepted is there although nobody put its file in place.
        std::fs::remove_file(&path).unwrap();
        assert_eq!(find().unwrap(), (Some(swapped.clone()), BaselineState::Missing));
        let unknown = node.accept_baseline("won", &swapped, &Asker::of_process()).unwrap_err().to_string();
        assert!(unknown.contains("\"won\" (it has none)") && unknown.contains("start the server"), "{unknown}");
        assert!(baselines.accepted("won").unwrap().is_none());
        assert!(matches!(baselines.accept("../one", &swapped, &Asker::of_process()), Err(BaselinesError::Name(_))));
        let nowhere = baselines.find("three", &path.join("no/folder.json")).unwrap_err().to_string();
        assert!(nowhere.contains("make it"), "{nowhere}");
        node.close().unwrap();
    }
}
