//! Objects in a directory: each a file that is there whole or not at all, readable by its owner alone and writable by nobody.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use event::Timestamp;
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

use super::{ObjectError, ObjectName, Objects, Protection, Put};

/// How the name of a file begins that is not yet in its place.
const TEMPORARY_PREFIX: &str = ".new-";

/// Where the two kinds of objects lie.
const BELOW: [&str; 2] = ["segments", "manifest"];

/// A directory for objects.
#[derive(Debug)]
pub struct DirObjects {
    dir: PathBuf,
    immutable: bool,
}

impl DirObjects {
    /// The objects of a directory that is only read, while a server writes it or not. With `immutable`, its locked objects must
    /// have the flag: a copy of the directory has it not.
    #[must_use]
    pub fn for_reading(dir: &Path, immutable: bool) -> Self {
        Self { dir: dir.to_owned(), immutable }
    }

    /// A place for objects below `dir`, made where there is none.
    ///
    /// With `immutable`, locked and held objects get the file system's immutable flag (`chattr +i`), which needs root and
    /// a file system that has it; then not even root deletes one without lifting the flag first.
    pub fn open(dir: &Path, immutable: bool) -> Result<Self, ObjectError> {
        let objects = Self { dir: dir.to_owned(), immutable };
        for below in BELOW {
            let path = dir.join(below);
            let fail = |error| failed(below, &error);
            DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(fail)?;
        }
        files::sync_dir(dir).map_err(|error| failed("segments", &error))?;
        Ok(objects)
    }

    fn path(&self, name: &ObjectName) -> PathBuf {
        self.dir.join(name.to_string())
    }

    /// Writes a file beside its place, makes it durable, and gives it its name if nothing has that.
    fn write_new(&self, name: &ObjectName, bytes: &[u8]) -> io::Result<bool> {
        let path = self.path(name);
        let (Some(parent), Some(file_name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let temporary = parent.join(format!("{TEMPORARY_PREFIX}{}", file_name.to_string_lossy()));
        files::remove(&temporary)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.set_permissions(Permissions::from_mode(0o400))?;
        file.sync_all()?;
        // A link, unlike a rename, never takes the place of another file.
        let linked = std::fs::hard_link(&temporary, &path);
        std::fs::remove_file(&temporary)?;
        files::sync_dir(parent)?;
        match linked {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn set_immutable(&self, name: &ObjectName, on: bool) -> io::Result<()> {
        set_flag(&self.path(name), on)
    }

    fn lock(&self, name: &ObjectName) -> Result<(), ObjectError> {
        self.set_immutable(name, true).map_err(|error| no_flag(name, &error))
    }
}

impl Objects for DirObjects {
    fn put(&self, name: &ObjectName, bytes: &Bytes, lock_until: Option<Timestamp>) -> Result<Put, ObjectError> {
        if !self.write_new(name, bytes).map_err(|error| failed(name, &error))? {
            let found = self.get(name, None, bytes.len() as u64)?;
            if found.as_ref() != Some(bytes) {
                return Err(ObjectError::Exists(name.to_string()));
            }
        }
        if self.immutable && lock_until.is_some() {
            self.lock(name)?;
        }
        Ok(Put { version: None })
    }

    fn get(&self, name: &ObjectName, _: Option<&str>, bytes_max: u64) -> Result<Option<Bytes>, ObjectError> {
        let read = || {
            let file = files::open_regular(&self.path(name))?;
            let mut bytes = Vec::with_capacity(usize::try_from(file.metadata()?.len().min(bytes_max)).unwrap_or(0) + 1);
            file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        match read() {
            Ok(bytes) if bytes.len() as u64 > bytes_max => Err(ObjectError::TooLarge { name: name.to_string(), bytes_max }),
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if io::Error::kind(&error) == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(name, &error)),
        }
    }

    fn delete(&self, name: &ObjectName, _: Option<&str>) -> Result<bool, ObjectError> {
        let path = self.path(name);
        let fail = |error| failed(name, &error);
        if self.immutable && path.try_exists().map_err(fail)? {
            // Whoever calls has looked whether the time of the lock is over: the flag itself knows none.
            self.set_immutable(name, false).map_err(fail)?;
        }
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
            other => {
                other.map_err(fail)?;
                files::sync_dir_of(&path).map_err(fail)?;
                Ok(true)
            }
        }
    }

    fn list(&self, names_max: usize) -> Result<Vec<String>, ObjectError> {
        let mut names = Vec::new();
        let mut dirs = vec![(self.dir.clone(), String::new())];
        while let Some((dir, prefix)) = dirs.pop() {
            let fail = |error| failed(&prefix, &error);
            let entries = match std::fs::read_dir(&dir) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries.map_err(fail)?,
            };
            for entry in entries {
                let entry = entry.map_err(fail)?;
                let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
                if entry.file_type().map_err(fail)?.is_dir() {
                    dirs.push((entry.path(), format!("{name}/")));
                } else {
                    names.push(name);
                }
                if names.len() + dirs.len() > names_max {
                    return Err(ObjectError::Failed { name: prefix, what: format!("there are more than {names_max} objects") });
                }
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn is_write_once(&self) -> bool {
        self.immutable
    }

    fn check(&self) -> Result<(), ObjectError> {
        if !self.immutable {
            return Ok(());
        }
        let [segments, _] = BELOW;
        let probe = self.dir.join(segments).join(format!("{TEMPORARY_PREFIX}probe"));
        let name = probe.display().to_string();
        File::create(&probe).map_err(|error| failed(&name, &error))?;
        let flagged = set_flag(&probe, true).and_then(|()| set_flag(&probe, false));
        std::fs::remove_file(&probe).map_err(|error| failed(&name, &error))?;
        flagged.map_err(|error| no_flag(self.dir.display(), &error))
    }

    fn clean(&self) -> Result<(), ObjectError> {
        for below in BELOW {
            let fail = |error| failed(below, &error);
            for entry in std::fs::read_dir(self.dir.join(below)).map_err(fail)? {
                let entry = entry.map_err(fail)?;
                if entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
                    if self.immutable {
                        set_flag(&entry.path(), false).map_err(fail)?;
                    }
                    std::fs::remove_file(entry.path()).map_err(fail)?;
                }
            }
        }
        Ok(())
    }

    fn protection(&self, name: &ObjectName, _: Option<&str>) -> Result<Protection, ObjectError> {
        if !self.immutable {
            return Ok(Protection::default());
        }
        let flags =
            File::open(self.path(name)).and_then(|file| Ok(ioctl_getflags(&file)?)).map_err(|error| failed(name, &error))?;
        // The flag has no end.
        let locked_until = flags.contains(IFlags::IMMUTABLE).then_some(Timestamp::from_unix_ns(u64::MAX));
        Ok(Protection { locked_until, held: flags.contains(IFlags::IMMUTABLE) })
    }

    fn hold(&self, name: &ObjectName, _: Option<&str>, on: bool) -> Result<(), ObjectError> {
        // Lifting a hold leaves the flag to the lock; `delete` takes it off when both are over.
        if self.immutable && on { self.lock(name) } else { Ok(()) }
    }
}

fn set_flag(path: &Path, on: bool) -> io::Result<()> {
    let file = File::open(path)?;
    let flags = ioctl_getflags(&file)?;
    let wanted = if on { flags | IFlags::IMMUTABLE } else { flags - IFlags::IMMUTABLE };
    if flags != wanted {
        ioctl_setflags(&file, wanted)?;
    }
    Ok(())
}

fn no_flag(name: impl ToString, error: &io::Error) -> ObjectError {
    let what = format!(
        "{error}; the immutable flag (chattr +i) needs the capability CAP_LINUX_IMMUTABLE, which root has, and a file system such as ext4 \
         or XFS: grant it, name a bucket with Object Lock in url, or set write_once = false"
    );
    ObjectError::NoLock { name: name.to_string(), what }
}

fn failed(name: impl ToString, error: &io::Error) -> ObjectError {
    ObjectError::Failed { name: name.to_string(), what: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::Digest;

    fn name(bytes: &[u8]) -> ObjectName {
        ObjectName::Segment(Digest::of(bytes))
    }

    #[test]
    fn an_object_is_put_once_and_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let objects = DirObjects::open(dir.path(), false).unwrap();
        let (bytes, other) = (Bytes::from_static(b"one"), Bytes::from_static(b"two"));
        let name = name(&bytes);
        assert_eq!(objects.get(&name, None, 10).unwrap(), None);
        objects.put(&name, &bytes, None).unwrap();
        objects.put(&name, &bytes, None).unwrap();
        assert!(matches!(objects.put(&name, &other, None), Err(ObjectError::Exists(_))));
        assert_eq!(objects.get(&name, None, 3).unwrap(), Some(bytes));
        assert!(matches!(objects.get(&name, None, 2), Err(ObjectError::TooLarge { .. })));
        assert_eq!(std::fs::metadata(dir.path().join(name.to_string())).unwrap().permissions().mode() & 0o777, 0o400);
        assert_eq!(objects.list(10).unwrap(), [name.to_string()]);
        assert!(objects.list(0).is_err());
        assert!(objects.delete(&name, None).unwrap() && objects.delete(&name, None).unwrap());
        assert_eq!(objects.list(10).unwrap(), [""; 0]);
    }

    #[test]
    fn an_interrupted_put_leaves_nothing_that_counts() {
        let dir = tempfile::tempdir().unwrap();
        let objects = DirObjects::open(dir.path(), false).unwrap();
        std::fs::write(dir.path().join("segments/.new-abc"), "half").unwrap();
        objects.clean().unwrap();
        assert_eq!(objects.list(10).unwrap(), [""; 0]);
    }

    #[test]
    fn the_immutable_flag_holds_where_the_file_system_has_it() {
        let dir = tempfile::tempdir_in(std::env::var_os("CARGO_TARGET_TMPDIR").unwrap_or_else(|| "/var/tmp".into())).unwrap();
        let objects = DirObjects::open(dir.path(), true).unwrap();
        let bytes = Bytes::from_static(b"locked");
        let name = name(&bytes);
        match objects.put(&name, &bytes, Some(Timestamp::from_unix_ns(u64::MAX))) {
            Err(ObjectError::NoLock { what, .. }) => eprintln!("SKIPPED: no immutable flag here: {what}"),
            other => {
                other.unwrap();
                let path = dir.path().join(name.to_string());
                assert!(std::fs::remove_file(&path).is_err());
                assert!(std::fs::write(&path, "x").is_err());
                assert!(objects.protection(&name, None).unwrap().held);
                assert!(objects.delete(&name, None).unwrap());
                assert!(!path.exists());
            }
        }
    }

    #[test]
    fn names_have_one_form() {
        let names = [name(b"x"), ObjectName::Manifest(0), ObjectName::Manifest(u64::MAX)];
        for name in names {
            assert_eq!(ObjectName::parse(&name.to_string()), Some(name));
        }
        for wrong in ["segments/x", "manifest/1", "manifest/+0000000000000000001", "x", "segments/../x.parquet.age", ""] {
            assert_eq!(ObjectName::parse(wrong), None, "{wrong}");
        }
    }
}
