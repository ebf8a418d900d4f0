//! What was pulled and imported, below `intel/` of the data directory.
//!
//! Each file is sealed with AES-256-GCM under a key of the keyring, for its own name: whoever has no root key can neither read what is
//! watched for (it may be TLP:RED) nor have something else watched for.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Read as _};
use std::path::PathBuf;

use aws_lc_rs::aead::{AES_256_GCM, Aad, RandomizedNonceKey};
use intel::taxii::Place;
use intel::{Indicator, Problems, Reading};
use keys::{Keyring, KeysError};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::is_feed_name;
use crate::data_dir::DataDir;

/// The keyring's name of the key.
const KEY: &str = "intel key";
/// First bytes of a file: format 1.
const MAGIC: &[u8; 8] = b"wkintel1";
/// What stands before the names of imports: no feed of a configuration can be called so.
const IMPORT: &str = "import.";
const ENDING: &str = ".feed";
/// Largest file, and largest content: four million indicators of the usual length.
const FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;
const CONTENT_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
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
    pub(crate) indicators: Vec<Indicator>,
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
    /// What is known of the events of MISP: when each was changed last, and the ids of its indicators.
    pub(crate) events: BTreeMap<Uuid, i64>,
    /// By which an HTTP server knows what was pulled.
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
    /// What was left out.
    pub(crate) problems: Problems,
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
    pub(crate) fn replace(&mut self, reading: Reading) {
        let revoked: HashSet<Uuid> = reading.revoked.into_iter().collect();
        self.indicators = reading.indicators;
        self.indicators.retain(|one| !revoked.contains(&one.id));
        self.head.problems = reading.problems;
        self.newest();
    }

    /// Adds a reading: a newer indicator replaces what has its id, and what is revoked goes.
    pub(crate) fn add(&mut self, reading: Reading) {
        let mut newest: HashMap<Uuid, i64> = HashMap::new();
        for one in &reading.indicators {
            let known = newest.entry(one.id).or_insert(one.modified);
            *known = (*known).max(one.modified);
        }
        let revoked: HashSet<Uuid> = reading.revoked.into_iter().collect();
        self.indicators
            .retain(|one| !revoked.contains(&one.id) && newest.get(&one.id).is_none_or(|modified| one.modified > *modified));
        self.indicators.extend(reading.indicators.into_iter().filter(|one| !revoked.contains(&one.id)));
        self.head.problems.add(reading.problems);
        self.newest();
    }

    /// Of versions of one indicator the newest stays.
    fn newest(&mut self) {
        let mut newest: HashMap<Uuid, i64> = HashMap::new();
        for one in &self.indicators {
            let known = newest.entry(one.id).or_insert(one.modified);
            *known = (*known).max(one.modified);
        }
        self.indicators.retain(|one| newest.get(&one.id) == Some(&one.modified));
    }

    /// Forgets what has not held for so long that no event that comes in can be of then.
    pub(crate) fn forget_expired(&mut self, before_s: i64) {
        self.indicators.retain(|one| one.valid_until.is_none_or(|until| until > before_s));
    }
}

impl KeptFeeds {
    pub(crate) fn open(data: &DataDir, keyring: &Keyring) -> Result<Self, KeptError> {
        let key = keyring.named_or_create::<32>(KEY)?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &key[..]).map_err(|_| KeptError::Seal(KEY.to_owned()))?;
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
        let io = |source| KeptError::Io { name: name.to_owned(), source };
        let Some(mut bytes) = files::read_at_most(&self.path(name), FILE_BYTES_MAX).map_err(io)? else { return Ok(None) };
        let seal = || KeptError::Seal(name.to_owned());
        let form = |reason: String| KeptError::Form { name: name.to_owned(), reason };
        let (head, sealed) = bytes.split_at_mut_checked(MAGIC.len() + 12).ok_or_else(seal)?;
        let nonce = head.strip_prefix(MAGIC).and_then(|nonce| nonce.try_into().ok()).ok_or_else(seal)?;
        let opened =
            self.key.open_in_place(aws_lc_rs::aead::Nonce::assume_unique_for_key(nonce), Aad::from(name.as_bytes()), sealed);
        let opened = opened.map_err(|_| seal())?;
        let mut plain = Vec::new();
        let decoder = zstd::stream::read::Decoder::with_buffer(&*opened).map_err(io)?;
        decoder.take(CONTENT_BYTES_MAX).read_to_end(&mut plain).map_err(io)?;
        let mut lines = plain.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let head = serde_json::from_slice(lines.next().unwrap_or_default()).map_err(|error| form(error.to_string()))?;
        let indicators = lines.map(serde_json::from_slice).collect::<Result<_, _>>().map_err(|error| form(error.to_string()))?;
        Ok(Some(Kept { head, indicators }))
    }

    pub(crate) fn write(&self, name: &str, kept: &Kept) -> Result<(), KeptError> {
        let io = |source| KeptError::Io { name: name.to_owned(), source };
        let form = |error: serde_json::Error| KeptError::Form { name: name.to_owned(), reason: error.to_string() };
        let mut plain = serde_json::to_vec(&kept.head).map_err(form)?;
        for indicator in &kept.indicators {
            plain.push(b'\n');
            serde_json::to_writer(&mut plain, indicator).map_err(form)?;
        }
        let mut sealed = zstd::bulk::compress(&plain, LEVEL).map_err(io)?;
        let nonce = self.key.seal_in_place_append_tag(Aad::from(name.as_bytes()), &mut sealed);
        let nonce = nonce.map_err(|_| KeptError::Seal(name.to_owned()))?;
        let bytes = [MAGIC.as_slice(), nonce.as_ref(), &sealed].concat();
        files::make_private_dir(&self.dir).map_err(io)?;
        files::write_atomic(&self.path(name), &bytes, 0o600).map_err(io)
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
    use intel::{Kind, Tlp};

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
        kept.add(reading(vec![indicator(1, "a.example", 5), indicator(1, "b.example", 5), indicator(2, "c.example", 5)], vec![]));
        kept.add(reading(vec![indicator(1, "new.example", 6), indicator(2, "old.example", 4)], vec![]));
        assert_eq!(values(&kept), ["c.example", "new.example"]);
        kept.add(reading(vec![], vec![2]));
        assert_eq!(values(&kept), ["new.example"]);
        kept.replace(reading(vec![indicator(3, "x.example", 1)], vec![]));
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
        let mut kept = Kept { indicators: vec![indicator(1, "evil.example", 5)], ..Kept::default() };
        kept.head.pulled = 7;
        feeds.write("a", &kept).unwrap();
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
}
