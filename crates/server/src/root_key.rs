//! Where the root key is: never where the data is, so that whoever takes the one has not taken the other.

use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use keys::{Keyring, KeysError, RootKey};

use crate::data_dir::DataDir;
use crate::kms::{KmsError, KmsKey, KmsRootKey};

/// Path of the usual root key below the user's configuration directory.
const USUAL: &str = "watchkeeper/root.key";

/// Where a root key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootKeyPlace {
    /// In a file.
    File(PathBuf),
    /// In AWS KMS, which does not give it away.
    AwsKms(KmsKey),
}

/// Why there is no root key.
#[derive(Debug, thiserror::Error)]
pub enum RootKeyError {
    /// Nobody says where it is.
    #[error("there is no place for the root key: name a file with --root-key FILE or WATCHKEEPER_ROOT_KEY, or set HOME")]
    NoPlace,
    /// It lies with what it protects.
    #[error(
        "the root key {path} lies in the data directory {data}: whoever takes a copy of the data would have it, too; move it \
         elsewhere and name that place with --root-key FILE"
    )]
    Inside {
        /// The file.
        path: PathBuf,
        /// The data directory.
        data: PathBuf,
    },
    /// A path cannot be looked at.
    #[error("{path}: {source}")]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The key of a service.
    #[error(transparent)]
    Kms(#[from] KmsError),
    /// It cannot be read, or does not open the keyring.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

impl RootKeyPlace {
    /// The file or the URI (`aws-kms://ARN`) that was named, or `$XDG_CONFIG_HOME/watchkeeper/root.key`, or
    /// `~/.config/watchkeeper/root.key`.
    ///
    /// # Errors
    /// [`RootKeyError::NoPlace`], and [`RootKeyError::Kms`] where the URI names no key.
    pub fn new(named: Option<&Path>) -> Result<Self, RootKeyError> {
        if let Some(path) = named {
            return Ok(match path.to_str().and_then(KmsKey::parse) {
                Some(key) => Self::AwsKms(key?),
                None => Self::File(path.to_owned()),
            });
        }
        let directory = |variable| std::env::var_os(variable).filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let config = directory("XDG_CONFIG_HOME").or_else(|| Some(directory("HOME")?.join(".config")));
        Ok(Self::File(config.ok_or(RootKeyError::NoPlace)?.join(USUAL)))
    }

    /// Reads the key that belongs to a data directory. A service is asked when something is to be wrapped or unwrapped.
    ///
    /// # Errors
    /// [`RootKeyError::Inside`], and what reading says.
    pub fn read(&self, data: &DataDir) -> Result<Arc<dyn RootKey>, RootKeyError> {
        match self {
            Self::AwsKms(key) => Ok(Arc::new(KmsRootKey::new(key.clone())?)),
            Self::File(path) => {
                check(path, data)?;
                Ok(keys::read_root_key(path)?)
            }
        }
    }

    /// As [`RootKeyPlace::read`], and makes a key where there is no file. Whether it was made. A service's keys are made by whoever
    /// administers it.
    ///
    /// # Errors
    /// As there.
    pub fn read_or_create(&self, data: &DataDir) -> Result<(Arc<dyn RootKey>, bool), RootKeyError> {
        match self.read(data) {
            Err(RootKeyError::Keys(KeysError::NoRoot(path))) => {
                let is_new = match keys::create_root_key(&path) {
                    // Another process was faster.
                    Err(KeysError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => false,
                    made => made.map(|()| true)?,
                };
                Ok((keys::read_root_key(&path)?, is_new))
            }
            read => Ok((read?, false)),
        }
    }
}

impl fmt::Display for RootKeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::AwsKms(key) => key.fmt(f),
        }
    }
}

fn check(path: &Path, data: &DataDir) -> Result<(), RootKeyError> {
    let resolve = |path: &Path| resolved(path).map_err(|source| RootKeyError::Io { path: path.to_owned(), source });
    if resolve(path)?.starts_with(resolve(data.path())?) {
        return Err(RootKeyError::Inside { path: path.to_owned(), data: data.path().to_owned() });
    }
    Ok(())
}

/// The keyring of a data directory that is only read, while a server writes it or not.
///
/// # Errors
/// What the root key or the keyring says.
pub fn read_keyring(data: &DataDir, root: &RootKeyPlace) -> Result<Arc<Keyring>, RootKeyError> {
    Ok(Arc::new(Keyring::open_existing(&data.keys(), root.read(data)?)?))
}

/// The keyring of a data directory for writing. The root key is made when neither it nor the keyring is there yet: where there
/// is a keyring, only the key that it was made with will do. Whether it was made.
///
/// # Errors
/// What the root key or the keyring says.
pub fn open_keyring(data: &DataDir, root: &RootKeyPlace) -> Result<(Arc<Keyring>, bool), RootKeyError> {
    let (key, is_new) = if Keyring::is_in(&data.keys()) { (root.read(data)?, false) } else { root.read_or_create(data)? };
    Ok((Arc::new(Keyring::open(&data.keys(), key)?), is_new))
}

/// Where a path leads, with every link followed; what does not exist yet is taken as it is written.
fn resolved(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    for ancestor in path.ancestors() {
        let Ok(mut found) = ancestor.canonicalize() else { continue };
        for component in path.strip_prefix(ancestor).unwrap_or(Path::new("")).components() {
            match component {
                Component::ParentDir => drop(found.pop()),
                other => found.push(other),
            }
        }
        return Ok(found);
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_key_inside_the_data_directory_is_refused_however_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(&dir.path().join("data")).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(data.path(), &link).unwrap();
        for inside in ["data/root.key", "data/keys/root.key", "data/new/dir/root.key", "other/../data/root.key", "link/root.key"]
        {
            let error = RootKeyPlace::new(Some(&dir.path().join(inside))).unwrap().read_or_create(&data).err().unwrap();
            assert!(matches!(error, RootKeyError::Inside { .. }), "{inside}: {error}");
            assert!(error.to_string().contains("--root-key"), "{error}");
        }
        // A link outside to a key inside.
        keys::create_root_key(&data.path().join("keys/hidden")).unwrap();
        std::os::unix::fs::symlink(data.path().join("keys/hidden"), dir.path().join("alias")).unwrap();
        let alias = RootKeyPlace::new(Some(&dir.path().join("alias"))).unwrap();
        assert!(matches!(alias.read(&data), Err(RootKeyError::Inside { .. })));
        let beside = RootKeyPlace::new(Some(&dir.path().join("data.root.key"))).unwrap();
        assert!(beside.read_or_create(&data).unwrap().1);
        assert!(!beside.read_or_create(&data).unwrap().1);
    }

    #[test]
    fn a_lost_root_key_is_not_replaced_by_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(&dir.path().join("data")).unwrap();
        let root = RootKeyPlace::new(Some(&dir.path().join("root.key"))).unwrap();
        let (keyring, is_new) = open_keyring(&data, &root).unwrap();
        assert!(is_new && keyring.named("x").unwrap().is_none());
        drop(keyring);
        let file = dir.path().join("root.key");
        std::fs::rename(&file, dir.path().join("aside")).unwrap();
        for error in [open_keyring(&data, &root).err().unwrap(), read_keyring(&data, &root).err().unwrap()] {
            assert!(error.to_string().contains("backup"), "{error}");
        }
        assert!(!file.exists());
        std::fs::rename(dir.path().join("aside"), &file).unwrap();
        assert!(!open_keyring(&data, &root).unwrap().1);
    }
}
