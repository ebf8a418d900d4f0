//! The keyring: every key that can be destroyed, in one SQLCipher file.

use std::fs::{self, File};
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event::{KeyId, SubjectId, Timestamp};
use lru::LruCache;
use rusqlite::OptionalExtension as _;
use zeroize::Zeroizing;

use crate::database::open_writer;
use crate::error::KeysError;
use crate::root::RootKey;
use crate::secret::{Secret, random};
use crate::subject::Subject;
use crate::tenant::{TENANT_FILE, Tenant};

mod db;
mod rotate;
#[cfg(test)]
mod tests;

use db::{Db, READER_ATTEMPTS, file, present};

/// Held by the one process that writes.
const LOCK_FILE: &str = "keyring.lock";

/// How many subjects' keys are kept in memory: they take about 20 MB (1.2 KB each, by heaptrack), and one that is not there is a look-up.
const SUBJECTS_CACHED: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// The tables. `key IS NULL` is a destroyed key.
const TABLES: [&str; 3] = [
    "data_keys (id BLOB PRIMARY KEY, purpose TEXT NOT NULL, created_s INTEGER NOT NULL, key BLOB, destroyed_s INTEGER) WITHOUT ROWID",
    "secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    "subjects (tag BLOB PRIMARY KEY, id BLOB NOT NULL, key BLOB NOT NULL, created_s INTEGER NOT NULL) WITHOUT ROWID",
];

/// What a data key opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A file of the journal.
    Journal,
    /// A segment of the archive.
    Segment,
    /// A partition of the store, or all of them.
    Store,
    /// A segment of the forensic archive.
    Forensic,
}

/// What became of a data key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// It can be had.
    Live,
    /// It was destroyed, and nobody has it.
    Destroyed {
        /// When, in seconds since 1970.
        unix_s: u64,
    },
    /// This keyring never made it.
    Unknown,
}

/// The keys of a data directory. Any number of threads may use it.
pub struct Keyring {
    dir: PathBuf,
    db: Mutex<Db>,
    subjects: Mutex<LruCache<[u8; 32], Subject>>,
    /// Subjects that were made, and those of them that are on disk.
    made: AtomicU64,
    synced: AtomicU64,
    syncing: Mutex<()>,
    /// Held while this process may write.
    lock: Option<File>,
}

impl Purpose {
    /// As the keyring has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Segment => "segment",
            Self::Store => "store",
            Self::Forensic => "forensic",
        }
    }
}

impl Keyring {
    /// Opens the keyring of a directory for writing, and makes it where there is none. One process at a time can.
    ///
    /// # Errors
    /// [`KeysError::Locked`], [`KeysError::WrongRoot`], [`KeysError::Missing`], and whatever the files say.
    pub fn open(dir: &Path, root: Arc<dyn RootKey>) -> Result<Self, KeysError> {
        files::make_private_dir(dir).map_err(KeysError::io(dir))?;
        let lock = lock(dir)?;
        let tenant = match Tenant::read(dir)? {
            Some(tenant) if !tenant.is_new => tenant,
            // Never finished: nothing was kept in it.
            Some(_) => rotate::create(dir, root.as_ref())?,
            None => match generations(dir)?.into_iter().find(|(_, path)| path.extension().is_some_and(|kind| kind == "db")) {
                Some(_) => return Err(KeysError::Missing { path: dir.join(TENANT_FILE) }),
                None => rotate::create(dir, root.as_ref())?,
            },
        };
        // What a change that was interrupted left behind.
        for (_, path) in generations(dir)?.into_iter().filter(|(generation, _)| *generation != tenant.generation) {
            files::remove(&path).map_err(KeysError::io(&path))?;
        }
        let path = present(file(dir, tenant.generation))?;
        let key = tenant.unwrap(dir, root.as_ref())?;
        let connection = open_writer(&path, &key).map_err(KeysError::database(&path))?;
        Ok(Self::new(dir, Db::new(root, tenant, path, connection), Some(lock)))
    }

    /// Whether a directory holds a keyring, or what is left of one.
    #[must_use]
    pub fn is_in(dir: &Path) -> bool {
        match Tenant::read(dir) {
            // A first start that was interrupted has kept nothing.
            Ok(Some(tenant)) => !tenant.is_new,
            Ok(None) => generations(dir).is_ok_and(|files| !files.is_empty()),
            Err(_) => true,
        }
    }

    /// Opens the keyring of a directory for reading, beside a process that writes or alone.
    ///
    /// # Errors
    /// [`KeysError::NoKeyring`], [`KeysError::WrongRoot`], [`KeysError::Missing`], and whatever the files say.
    pub fn open_existing(dir: &Path, root: Arc<dyn RootKey>) -> Result<Self, KeysError> {
        Ok(Self::new(dir, Db::read(dir, root)?, None))
    }

    fn new(dir: &Path, db: Db, lock: Option<File>) -> Self {
        Self {
            dir: dir.to_owned(),
            db: Mutex::new(db),
            subjects: Mutex::new(LruCache::new(SUBJECTS_CACHED)),
            made: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            syncing: Mutex::new(()),
            lock,
        }
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The id of the root key that opens this keyring.
    ///
    /// # Errors
    /// As [`Keyring::get`].
    pub fn root_id(&self) -> Result<String, KeysError> {
        Ok(self.reading()?.root.id())
    }

    /// Makes a data key. It is on disk when this returns.
    ///
    /// # Errors
    /// [`KeysError::Database`], [`KeysError::ReadOnly`].
    pub fn create(&self, purpose: Purpose) -> Result<(KeyId, Secret), KeysError> {
        let id = loop {
            // All zeros is no id.
            if let Some(id) = KeyId::from_bytes(*random::<16>()?) {
                break id;
            }
        };
        let key = Secret::random()?;
        let db = self.writing()?;
        db.ask(|connection| {
            connection.prepare_cached("INSERT INTO data_keys (id, purpose, created_s, key) VALUES (?1, ?2, ?3, ?4)")?.execute((
                &id.as_bytes()[..],
                purpose.as_str(),
                now_s(),
                &key.expose()[..],
            ))
        })?;
        Ok((id, key))
    }

    /// A data key of a purpose: files that anybody can write name keys, and must not get one that opens something else. `None`
    /// when it was destroyed or never made, or for another purpose; [`Keyring::state`] tells which.
    ///
    /// # Errors
    /// [`KeysError::Database`].
    pub fn get(&self, purpose: Purpose, id: KeyId) -> Result<Option<Secret>, KeysError> {
        self.read(|db| {
            let row = db.ask(|connection| {
                connection
                    .prepare_cached("SELECT key FROM data_keys WHERE id = ?1 AND purpose = ?2")?
                    .query_row((&id.as_bytes()[..], purpose.as_str()), |row| row.get::<_, Option<Vec<u8>>>(0))
                    .optional()
            })?;
            let Some(Some(key)) = row else { return Ok(None) };
            Secret::from_slice(&Zeroizing::new(key)).map(Some).ok_or_else(|| db.foreign(format!("key {id}")))
        })
    }

    /// What became of a data key.
    ///
    /// # Errors
    /// [`KeysError::Database`].
    pub fn state(&self, id: KeyId) -> Result<KeyState, KeysError> {
        let row = self.read(|db| {
            db.ask(|connection| {
                connection
                    .prepare_cached("SELECT key IS NULL, destroyed_s FROM data_keys WHERE id = ?1")?
                    .query_row([&id.as_bytes()[..]], |row| Ok((row.get::<_, bool>(0)?, row.get::<_, Option<i64>>(1)?)))
                    .optional()
            })
        })?;
        Ok(match row {
            None => KeyState::Unknown,
            Some((false, _)) => KeyState::Live,
            Some((true, at)) => KeyState::Destroyed { unix_s: at.map_or(0, i64::unsigned_abs) },
        })
    }

    /// The live keys of a purpose, and when they were made (seconds since 1970), oldest first: among them those of files that
    /// never came to be, because the process ended before they were named anywhere.
    ///
    /// # Errors
    /// [`KeysError::Database`].
    pub fn live(&self, purpose: Purpose) -> Result<Vec<(KeyId, u64)>, KeysError> {
        self.read(|db| {
            let rows = db.ask(|connection| {
                connection
                    .prepare_cached(
                        "SELECT id, created_s FROM data_keys WHERE purpose = ?1 AND key IS NOT NULL ORDER BY created_s, id",
                    )?
                    .query_map([purpose.as_str()], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?)))?
                    .collect::<rusqlite::Result<Vec<_>>>()
            })?;
            let foreign = || db.foreign("the id of a key".to_owned());
            rows.into_iter()
                .map(|(id, at)| KeyId::from_slice(&id).map(|id| (id, at.unsigned_abs())).ok_or_else(foreign))
                .collect()
        })
    }

    /// Destroys data keys of a purpose, and rotates the tenant key. When this returns, no file of the directory opens what they
    /// opened, nor does an older copy of the keyring with what is left here. Keys that are destroyed already, or unknown, are
    /// passed over.
    ///
    /// # Errors
    /// [`KeysError::Purpose`], [`KeysError::Root`], [`KeysError::Database`], [`KeysError::Io`]. It has happened wholly or not at all.
    pub fn destroy(&self, purpose: Purpose, ids: &[KeyId]) -> Result<(), KeysError> {
        let mut db = self.writing()?;
        for id in ids {
            let is_foreign = db.ask(|connection| {
                connection
                    .prepare_cached("SELECT 1 FROM data_keys WHERE id = ?1 AND purpose <> ?2")?
                    .exists((&id.as_bytes()[..], purpose.as_str()))
            })?;
            if is_foreign {
                return Err(KeysError::Purpose { id: *id, purpose: purpose.as_str() });
            }
        }
        let ids: Vec<&[u8]> = ids.iter().map(|id| &id.as_bytes()[..]).collect();
        db.forget(&self.dir, &[("data_keys", &ids)]).map(drop)
    }

    /// A secret by its name.
    ///
    /// # Errors
    /// [`KeysError::Database`].
    pub fn named(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeysError> {
        self.read(|db| db.named(name))
    }

    /// A secret of `N` random bytes by its name, made when there is none.
    ///
    /// # Errors
    /// [`KeysError::Value`] when what is there has another length.
    pub fn named_or_create<const N: usize>(&self, name: &str) -> Result<Zeroizing<[u8; N]>, KeysError> {
        let bytes = match self.named(name)? {
            Some(bytes) => bytes,
            None => {
                let db = self.writing()?;
                // Another thread may have been here.
                match db.named(name)? {
                    Some(bytes) => bytes,
                    None => {
                        let fresh = random::<N>()?;
                        db.put_named(name, &fresh[..])?;
                        return Ok(fresh);
                    }
                }
            }
        };
        let array = <[u8; N]>::try_from(&bytes[..]).map(Zeroizing::new);
        array.map_err(|_| KeysError::Value { path: self.dir.clone(), what: format!("the secret {name:?}") })
    }

    /// Keeps a secret under a name, instead of the one that was there. It is on disk when this returns. The one that was there
    /// may lie in the file until the next destruction or rotation.
    ///
    /// # Errors
    /// [`KeysError::Database`], [`KeysError::ReadOnly`].
    pub fn put_named(&self, name: &str, value: &[u8]) -> Result<(), KeysError> {
        self.writing()?.put_named(name, value)
    }

    /// As [`Keyring::put_named`], with a value that is made of the one that was there. Nobody changes it meanwhile.
    ///
    /// # Errors
    /// As there.
    pub fn change_named(&self, name: &str, change: impl FnOnce(Option<&[u8]>) -> Vec<u8>) -> Result<(), KeysError> {
        let db = self.writing()?;
        let value = change(db.named(name)?.as_ref().map(|value| &value[..]));
        db.put_named(name, &value)
    }

    /// Destroys a named secret as [`Keyring::destroy`] does a key. Whether there was one.
    ///
    /// # Errors
    /// As [`Keyring::destroy`].
    pub fn destroy_named(&self, name: &str) -> Result<bool, KeysError> {
        self.writing()?.forget(&self.dir, &[("secrets", &[name.as_bytes()])])
    }

    /// Keeps secrets under their names, and destroys those that were there, and those of the names in `gone`, as
    /// [`Keyring::destroy`] does a key: all of it or nothing.
    ///
    /// # Errors
    /// As [`Keyring::destroy`].
    pub fn replace_named(&self, fresh: &[(&str, &[u8])], gone: &[&str]) -> Result<(), KeysError> {
        let doomed: Vec<&[u8]> = fresh.iter().map(|(name, _)| *name).chain(gone.iter().copied()).map(str::as_bytes).collect();
        self.writing()?.rotate(&self.dir, &[("secrets", &doomed)], fresh)
    }

    /// The subject of a name, made when there is none. `tag` is the keyed hash of the name: names are not kept.
    ///
    /// A subject that was just made may be lost in a power cut until [`Keyring::sync`]; records of a subject must not be durable
    /// before it, or an erasure would not find them.
    ///
    /// # Errors
    /// [`KeysError::Database`], [`KeysError::ReadOnly`] where it would have to be made.
    pub fn subject(&self, tag: &[u8; 32]) -> Result<Subject, KeysError> {
        if let Some(known) = self.cached().get(tag) {
            return Ok(known.clone());
        }
        self.read(|db| {
            let (subject, is_new) = match db.subject(tag)? {
                Some(subject) => (subject, false),
                None if self.lock.is_none() => return Err(KeysError::ReadOnly(self.dir.clone())),
                None => (db.usable()?.make_subject(tag)?, true),
            };
            // Under the database's lock, so that a destruction cannot come between the row and its copy.
            self.cached().put(*tag, subject.clone());
            if is_new {
                self.made.fetch_add(1, Ordering::Release);
            }
            Ok(subject)
        })
    }

    /// The id of a name's subject, if there is one.
    ///
    /// # Errors
    /// [`KeysError::Database`].
    pub fn find_subject(&self, tag: &[u8; 32]) -> Result<Option<SubjectId>, KeysError> {
        Ok(self.read(|db| db.subject(tag))?.map(|subject| subject.id))
    }

    /// Destroys a subject as [`Keyring::destroy`] does a key: its key, its id and the keyed hash of its name. Gives the id that it
    /// had. The same name is a new subject afterwards.
    ///
    /// # Errors
    /// As [`Keyring::destroy`].
    pub fn destroy_subject(&self, tag: &[u8; 32]) -> Result<Option<SubjectId>, KeysError> {
        Ok(self.destroy_subjects(&[*tag])?.pop())
    }

    /// Destroys several subjects with one rotation. Gives the ids of those that there were.
    ///
    /// # Errors
    /// As [`Keyring::destroy`].
    pub fn destroy_subjects(&self, tags: &[[u8; 32]]) -> Result<Vec<SubjectId>, KeysError> {
        let mut db = self.writing()?;
        let mut gone = Vec::new();
        for tag in tags {
            gone.extend(db.subject(tag)?.map(|subject| subject.id));
        }
        let doomed: Vec<&[u8]> = tags.iter().map(|tag| &tag[..]).collect();
        db.forget(&self.dir, &[("subjects", &doomed)])?;
        let mut cached = self.cached();
        for tag in tags {
            cached.pop(tag);
        }
        Ok(gone)
    }

    /// Whether a subject was made that a power cut could take.
    #[must_use]
    pub fn is_unsynced(&self) -> bool {
        self.synced.load(Ordering::Acquire) < self.made.load(Ordering::Acquire)
    }

    /// Puts every subject on disk that was made before the call. Callers that come together share one fsync.
    ///
    /// # Errors
    /// [`KeysError::Io`].
    pub fn sync(&self) -> Result<(), KeysError> {
        let wanted = self.made.load(Ordering::Acquire);
        if self.synced.load(Ordering::Acquire) >= wanted {
            return Ok(());
        }
        let _one_at_a_time = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.synced.load(Ordering::Acquire) >= wanted {
            return Ok(());
        }
        let made = self.made.load(Ordering::Acquire);
        let wal = {
            let db = self.reading()?;
            files::beside(&db.path, "-wal")
        };
        // Not the database's own lock: others go on making subjects meanwhile. SQLite holds its locks on other files.
        match File::open(&wal).and_then(|wal| wal.sync_data()) {
            // Rotated since: the new file was on disk before it got its name.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(KeysError::io(&wal))?,
        }
        self.synced.store(made, Ordering::Release);
        Ok(())
    }

    /// Gives the keyring a new tenant key: older copies of its file open with nothing that is left in the directory.
    ///
    /// # Errors
    /// As [`Keyring::destroy`].
    pub fn rotate_tenant(&self) -> Result<(), KeysError> {
        self.writing()?.rotate(&self.dir, &[], &[])
    }

    /// Gives the keyring a new tenant key under another root key. Whoever destroys the old root key afterwards makes every older
    /// copy of the directory unreadable.
    ///
    /// # Errors
    /// As [`Keyring::destroy`].
    pub fn replace_root(&self, root: Arc<dyn RootKey>) -> Result<(), KeysError> {
        let mut db = self.writing()?;
        let old = std::mem::replace(&mut db.root, root);
        let rotated = db.rotate(&self.dir, &[], &[]);
        if rotated.is_err() && db.failed.is_none() {
            db.root = old;
        }
        rotated
    }

    fn cached(&self) -> MutexGuard<'_, LruCache<[u8; 32], Subject>> {
        self.subjects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The database as it is now: a reader follows a writer that has changed the tenant key.
    fn reading(&self) -> Result<MutexGuard<'_, Db>, KeysError> {
        let mut db = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        if self.lock.is_none() && db.is_replaced(&self.dir)? {
            *db = Db::read(&self.dir, db.root.clone())?;
            self.cached().clear();
        }
        Ok(db)
    }

    /// Asks the database. What a reader could not read because the writer took the file away meanwhile is asked of the one that
    /// replaced it: there are file systems on which nothing more can be had of a file that was removed while it is open.
    fn read<T>(&self, ask: impl Fn(&Db) -> Result<T, KeysError>) -> Result<T, KeysError> {
        let mut attempt = 0;
        loop {
            let db = self.reading()?;
            match ask(&db) {
                Err(_) if self.lock.is_none() && attempt < READER_ATTEMPTS && db.is_replaced(&self.dir)? => attempt += 1,
                other => return other,
            }
        }
    }

    fn writing(&self) -> Result<MutexGuard<'_, Db>, KeysError> {
        if self.lock.is_none() {
            return Err(KeysError::ReadOnly(self.dir.clone()));
        }
        let db = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        db.usable()?;
        Ok(db)
    }
}

fn lock(dir: &Path) -> Result<File, KeysError> {
    let path = dir.join(LOCK_FILE);
    let lock = File::options().create(true).truncate(false).write(true).open(&path).map_err(KeysError::io(&path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(KeysError::Locked(dir.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(KeysError::io(&path)(error)),
    }
}

/// The files of keyrings in a directory, with those that SQLite keeps beside them, and their generations.
fn generations(dir: &Path) -> Result<Vec<(u64, PathBuf)>, KeysError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(KeysError::io(dir))? {
        let path = entry.map_err(KeysError::io(dir))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let generation = name.strip_prefix("keyring-").and_then(|rest| rest.split_once(".db")).map(|(number, _)| number.parse());
        if let Some(Ok(generation)) = generation {
            files.push((generation, path));
        }
    }
    Ok(files)
}

fn now_s() -> i64 {
    i64::try_from(Timestamp::now().unix_ns() / 1_000_000_000).unwrap_or(i64::MAX)
}
