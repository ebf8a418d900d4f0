//! What was pulled and imported, below `intel/` of the data directory.
//!
//! Each file is sealed with AES-256-GCM under a key of the keyring, for its own name: whoever has no root key can neither read what is
//! watched for (it may be TLP:RED) nor have something else watched for.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, BufRead as _};
use std::path::PathBuf;

use aws_lc_rs::aead::RandomizedNonceKey;
use intel::taxii::Place;
use intel::{Problems, Reading};
use keys::{Keyring, KeysError};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::indicators::{Indicators, TooMuch};
use crate::config::is_feed_name;
use crate::data_dir::DataDir;
use crate::sealed_file::{self, BoundTo, KeyError, SealedFile, SealedFileError};

/// The keyring's name of the key.
const KEY: &str = "intel key";
/// What stands before the names of imports: no feed of a configuration can be called so.
const IMPORT: &str = "import.";
const ENDING: &str = ".feed";
/// A file: format 1. The largest, and the largest content, has four million indicators of the usual length.
const FILE: SealedFile = SealedFile { magic: b"wkintel1", clear: 0, bytes_max: 512 * 1024 * 1024 };
/// See [`FILE`].
const CONTENT_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Why an event of MISP is not there.
const FAILED: &str = "an event that could not be pulled; it is tried again";
/// Longest reason that is kept of one, in characters.
const REASON_CHARS_MAX: usize = 200;
/// zstd's level: the file is written with each pull that brings something.
const LEVEL: i32 = 1;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// It cannot be read or written.
    #[error("intel/{name}: {source}")]
    Io {
        /// Its name.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// It was not written by this program with this keyring.
    #[error("intel/{0} was not written under this record's keys, or was changed; remove it, and pull or import it again")]
    Seal(String),
    /// What it holds is something else.
    #[error("intel/{name}: {reason}")]
    Form {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// It would be too large.
    #[error(
        "intel/{name}: {bytes} bytes are more than the {bytes_max} that can be kept; choose a smaller collection or a lower tlp_max"
    )]
    TooLarge {
        /// Its name.
        name: String,
        /// How large it would be, or more.
        bytes: u64,
        /// What can be kept.
        bytes_max: u64,
    },
    /// A name that no file can have.
    #[error("{0:?} is no name for an import: use 1 to 64 letters, digits, - and _")]
    Name(String),
    /// The keyring.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

/// The files.
pub(crate) struct KeptFeeds {
    dir: PathBuf,
    key: RandomizedNonceKey,
}

/// What is kept of a feed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    pub(crate) head: Head,
    pub(crate) indicators: Indicators,
}

/// How far it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Head {
    /// When it was pulled last with success, in seconds since 1970.
    pub(crate) pulled: i64,
    /// The address that it was pulled from: of another one nothing is known.
    pub(crate) from: String,
    /// How far TAXII was read.
    pub(crate) place: Place,
    /// The events of MISP that are known, and when each was changed last.
    pub(crate) events: BTreeMap<Uuid, i64>,
    /// The events of MISP that could not be pulled as they are now.
    pub(crate) failed: BTreeMap<Uuid, Failed>,
    /// By which an HTTP server knows what was pulled.
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
    /// What was left out.
    pub(crate) problems: Problems,
}

/// An event of MISP that could not be pulled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failed {
    /// When it was tried last, in seconds since 1970.
    pub(crate) tried_s: u64,
    /// Why not.
    pub(crate) reason: String,
}

impl Failed {
    pub(crate) fn new(tried_s: u64, reason: &str) -> Self {
        Self { tried_s, reason: reason.chars().take(REASON_CHARS_MAX).collect() }
    }
}

impl Head {
    /// What was left out, with the events that could not be pulled.
    pub(crate) fn left_out(&self) -> Problems {
        let mut all = self.problems.clone();
        for (event, failed) in &self.failed {
            all.note(FAILED, &format!("{event}: {}", failed.reason));
        }
        all
    }
}

/// Whether that is the name of what was imported.
#[must_use]
pub fn is_import(name: &str) -> bool {
    name.starts_with(IMPORT)
}

pub(super) fn import_name(name: &str) -> Result<String, KeptError> {
    if is_feed_name(name) { Ok(format!("{IMPORT}{name}")) } else { Err(KeptError::Name(name.to_owned())) }
}

impl Kept {
    /// Takes a reading for all that there is.
    pub(crate) fn replace(&mut self, reading: Reading) -> Result<(), TooMuch> {
        self.indicators = Indicators::default();
        self.head.problems = Problems::default();
        self.add(reading)
    }

    /// Adds a reading: a newer indicator replaces what has its id, and what is revoked goes.
    pub(crate) fn add(&mut self, reading: Reading) -> Result<(), TooMuch> {
        let revoked: HashSet<Uuid> = reading.revoked.into_iter().collect();
        revoked.iter().for_each(|id| self.indicators.remove(*id));
        self.head.problems.add(reading.problems);
        self.indicators.add(reading.indicators.into_iter().filter(|one| !revoked.contains(&one.id)))
    }

    /// Forgets what has not held for so long that no event that comes in can be of then.
    pub(crate) fn forget_expired(&mut self, before_s: i64) {
        self.indicators.retain(|one| one.valid_until.is_none_or(|until| until > before_s));
    }
}

impl KeptFeeds {
    pub(crate) fn open(data: &DataDir, keyring: &Keyring) -> Result<Self, KeptError> {
        let key = sealed_file::key(keyring, KEY).map_err(|error| match error {
            KeyError::Keys(error) => error.into(),
            KeyError::Cipher => KeptError::Seal(KEY.to_owned()),
        })?;
        Ok(Self { dir: data.path().join("intel"), key })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}{ENDING}"))
    }

    /// Names of what is kept, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(ENDING)?.to_owned()));
        let mut names: Vec<String> = names.filter(|name| is_feed_name(name.strip_prefix(IMPORT).unwrap_or(name))).collect();
        names.sort_unstable();
        names
    }

    /// The files.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.names().iter().map(|name| self.path(name)).collect()
    }

    pub(crate) fn read(&self, name: &str) -> Result<Option<Kept>, KeptError> {
        let io = |source: io::Error| match source.kind() {
            io::ErrorKind::FileTooLarge => {
                let reason = "is larger than what can be kept; remove it, and pull or import less".to_owned();
                KeptError::Form { name: name.to_owned(), reason }
            }
            _ => KeptError::Io { name: name.to_owned(), source },
        };
        let wrong = |error: SealedFileError| match error {
            SealedFileError::Io(source) => io(source),
            _ => KeptError::Seal(name.to_owned()),
        };
        let form = |reason: String| KeptError::Form { name: name.to_owned(), reason };
        let Some(sealed) = FILE.read(&self.path(name)).map_err(wrong)? else { return Ok(None) };
        let opened = sealed.open(&self.key, BoundTo::Name(name)).map_err(wrong)?;
        let mut lines = opened.unpacked(CONTENT_BYTES_MAX).map_err(io)?.split(b'\n');
        let head = lines.next().transpose().map_err(io)?.unwrap_or_default();
        let mut kept = Kept {
            head: serde_json::from_slice(&head).map_err(|error| form(error.to_string()))?,
            indicators: Indicators::default(),
        };
        // All at once: those of one id did not always stand together.
        let mut failed = None;
        let read = |line: io::Result<Vec<u8>>| match line {
            Ok(line) if line.is_empty() => None,
            Ok(line) => Some(serde_json::from_slice(&line).map_err(|error| form(error.to_string()))),
            Err(error) => Some(Err(io(error))),
        };
        let indicators = lines.filter_map(read).map_while(|one| one.map_err(|error| failed = Some(error)).ok());
        kept.indicators.add(indicators).map_err(|error| form(error.to_string()))?;
        if let Some(error) = failed {
            return Err(error);
        }
        Ok(Some(kept))
    }

    pub(crate) fn write(&self, name: &str, head: &Head, indicators: &Indicators) -> Result<(), KeptError> {
        let wrong = |error: SealedFileError| {
            let name = name.to_owned();
            match error {
                SealedFileError::Io(source) => KeptError::Io { name, source },
                SealedFileError::TooLarge { bytes, bytes_max } => KeptError::TooLarge { name, bytes, bytes_max },
                SealedFileError::Form | SealedFileError::Seal | SealedFileError::Cipher => KeptError::Seal(name),
            }
        };
        let content = |file| {
            sealed_file::packed(file, LEVEL, CONTENT_BYTES_MAX, |to| {
                serde_json::to_writer(&mut *to, head)?;
                indicators.iter().try_for_each(|one| {
                    to.write_all(b"\n")?;
                    Ok(serde_json::to_writer(&mut *to, one)?)
                })
            })
        };
        files::make_private_dir(&self.dir).map_err(|source| wrong(source.into()))?;
        FILE.write(&self.path(name), &self.key, BoundTo::Name(name), b"", content).map_err(wrong)
    }

    /// Removes a file. Whether it was there.
    pub(crate) fn remove(&self, name: &str) -> Result<bool, KeptError> {
        let io = |source| KeptError::Io { name: name.to_owned(), source };
        let path = self.path(name);
        let was_there = files::is_regular(&path).map_err(io)?;
        if was_there {
            files::remove(&path).map_err(io)?;
            files::sync_dir(&self.dir).map_err(io)?;
        }
        Ok(was_there)
    }
}

#[cfg(test)]
mod tests {
    use intel::{Indicator, Kind, Tlp};

    use super::*;

    fn indicator(id: u128, value: &str, modified: i64) -> Indicator {
        Indicator {
            id: Uuid::from_u128(id),
            kind: Kind::Domain,
            value: value.to_owned(),
            source: "s".to_owned(),
            confidence: 50,
            tlp: Tlp::Red,
            valid_from: None,
            valid_until: None,
            label: None,
            modified,
        }
    }

    fn reading(indicators: Vec<Indicator>, revoked: Vec<u128>) -> Reading {
        Reading { indicators, revoked: revoked.into_iter().map(Uuid::from_u128).collect(), problems: Problems::default() }
    }

    fn values(kept: &Kept) -> Vec<&str> {
        kept.indicators.iter().map(|one| one.value.as_str()).collect()
    }

    #[test]
    fn a_newer_version_replaces_and_a_revoked_one_goes() {
        let mut kept = Kept::default();
        kept.add(reading(vec![indicator(1, "a.example", 5), indicator(1, "b.example", 5), indicator(2, "c.example", 5)], vec![]))
            .unwrap();
        kept.add(reading(vec![indicator(1, "new.example", 6), indicator(2, "old.example", 4)], vec![])).unwrap();
        assert_eq!(values(&kept), ["new.example", "c.example"]);
        kept.add(reading(vec![], vec![2])).unwrap();
        assert_eq!(values(&kept), ["new.example"]);
        kept.replace(reading(vec![indicator(3, "x.example", 1)], vec![])).unwrap();
        assert_eq!(values(&kept), ["x.example"]);
    }

    #[test]
    fn a_file_is_read_as_it_was_written_and_by_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(&dir.path().join("data")).unwrap();
        let keyring = |name: &str| {
            let root = std::sync::Arc::new(keys::AgeRootKey::generate().0);
            Keyring::open(&dir.path().join(name), root).unwrap()
        };
        let (own, other) = (keyring("k1"), keyring("k2"));
        let feeds = KeptFeeds::open(&data, &own).unwrap();
        let mut kept = Kept::default();
        kept.add(reading(vec![indicator(1, "evil.example", 5)], vec![])).unwrap();
        kept.head.pulled = 7;
        feeds.write("a", &kept.head, &kept.indicators).unwrap();
        let read = feeds.read("a").unwrap().unwrap();
        assert_eq!((read.head.pulled, values(&read)), (7, vec!["evil.example"]));
        let path = data.path().join("intel/a.feed");
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(4).any(|four| four == b"evil"));
        // Under another name, under another keyring, changed and cut.
        std::fs::write(data.path().join("intel/b.feed"), &bytes).unwrap();
        assert!(matches!(feeds.read("b"), Err(KeptError::Seal(_))));
        assert!(matches!(KeptFeeds::open(&data, &other).unwrap().read("a"), Err(KeptError::Seal(_))));
        for (at, cut) in [(3, 0), (12, 0), (40, 0), (0, 1), (0, bytes.len() - 5)] {
            let mut changed = bytes.clone();
            changed[at] ^= u8::from(cut == 0);
            changed.truncate(bytes.len() - cut);
            std::fs::write(&path, &changed).unwrap();
            assert!(matches!(feeds.read("a"), Err(KeptError::Seal(_))), "{at} {cut}");
        }
        assert_eq!(feeds.names(), ["a", "b"]);
        assert!(feeds.remove("a").unwrap() && !feeds.remove("a").unwrap());
        assert!(feeds.read("a").unwrap().is_none());
    }

    /// A file as it was before `sealed_file`, made by another implementation (Python's `cryptography` and `zstandard`), with a key of sevens.
    const OLD: &str = "776b696e74656c31000102030405060708090a0b3034c68d7d46d81c71b2b752cb471c5d343d986495c7525827da9231b2e59d53e37e97ab3478fe5b\
        101a1d365f1b80712c0129731bfa5f7d2a8c53dd70b3a9b7defd5b4e66e886839f85508046dcc302211cc78189760405594ce8742fc8bc2547ccb6c0\
        fa6076cb7054d97ce4b6d71b0fba2b823fada9c03ad6c060b9ccf49ca08bf43a593992490b1f065dda370abc2876d95b4689a655d892bd0416b0363c\
        31cbb3eea976ad7d1c15918102056e2da0aebcde55e0053658c41670a19e7993d97b80a805c4b49e08817116ba13c230f2067e37297fba9ae63f802b\
        778aed3b84fdeeb5";

    #[test]
    fn a_file_of_before_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(&dir.path().join("data")).unwrap();
        let keyring = Keyring::open(&dir.path().join("k"), std::sync::Arc::new(keys::AgeRootKey::generate().0)).unwrap();
        keyring.put_named(KEY, &[7; 32]).unwrap();
        let feeds = KeptFeeds::open(&data, &keyring).unwrap();
        std::fs::create_dir_all(data.path().join("intel")).unwrap();
        std::fs::write(data.path().join("intel/isac.feed"), event::hex::decode(OLD).unwrap()).unwrap();
        let mut kept = feeds.read("isac").unwrap().unwrap();
        assert_eq!((kept.head.pulled, kept.head.events.get(&Uuid::from_u128(9))), (7, Some(&11)));
        assert_eq!(values(&kept), ["more.example", "evil.example", "also.example"]);
        // What is written now says which events failed, and so does what is left out of the feed.
        kept.head.failed.insert(Uuid::from_u128(9), Failed::new(8, &"x".repeat(1_000)));
        feeds.write("isac", &kept.head, &kept.indicators).unwrap();
        let again = feeds.read("isac").unwrap().unwrap();
        assert_eq!((&again.head, &again.indicators), (&kept.head, &kept.indicators));
        assert_eq!((again.head.left_out().count(), again.head.problems.count()), (1, 0));
    }
}
