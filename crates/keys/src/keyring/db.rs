//! The keyring's file, open: what is asked of it, and how a reader finds the one that is there now.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use event::SubjectId;
use rusqlite::{Connection, OptionalExtension as _};
use zeroize::Zeroizing;

use super::now_s;
use crate::database::open_reader;
use crate::error::KeysError;
use crate::root::RootKey;
use crate::secret::random;
use crate::subject::Subject;
use crate::tenant::Tenant;

/// How often a reader looks again when the tenant key changes under its hands.
pub(super) const READER_ATTEMPTS: u32 = 20;

/// Between two of these looks.
const READER_PAUSE: Duration = Duration::from_millis(10);

/// What a test does at each step of a change.
#[cfg(test)]
pub(super) type OnStep = Box<dyn FnMut(&str) -> Result<(), KeysError> + Send>;

/// The file, open, and what opened it.
pub(super) struct Db {
    pub(super) root: Arc<dyn RootKey>,
    pub(super) tenant: Tenant,
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
    /// Why nothing may be changed any more.
    pub(super) failed: Option<String>,
    #[cfg(test)]
    pub(super) on_step: Option<OnStep>,
}

impl Db {
    pub(super) fn new(root: Arc<dyn RootKey>, tenant: Tenant, path: PathBuf, connection: Connection) -> Self {
        Self {
            root,
            tenant,
            path,
            connection,
            failed: None,
            #[cfg(test)]
            on_step: None,
        }
    }

    /// Opens what the tenant's file names, and looks again when that changes meanwhile.
    pub(super) fn read(dir: &Path, root: Arc<dyn RootKey>) -> Result<Self, KeysError> {
        let mut attempt = 0;
        loop {
            let tenant =
                Tenant::read(dir)?.filter(|tenant| !tenant.is_new).ok_or_else(|| KeysError::NoKeyring(dir.to_owned()))?;
            let path = file(dir, tenant.generation);
            let key = tenant.unwrap(dir, root.as_ref())?;
            match present(path.clone()).and_then(|path| open_reader(&path, &key).map_err(KeysError::database(&path))) {
                Ok(connection) => return Ok(Self::new(root, tenant, path, connection)),
                Err(_) if attempt < READER_ATTEMPTS && Tenant::read(dir)?.is_none_or(|now| now != tenant) => {
                    attempt += 1;
                    std::thread::sleep(READER_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the directory has another tenant key by now. A directory without one is no answer to that.
    pub(super) fn is_replaced(&self, dir: &Path) -> Result<bool, KeysError> {
        Ok(Tenant::read(dir)?.is_some_and(|tenant| tenant != self.tenant))
    }

    pub(super) fn usable(&self) -> Result<&Self, KeysError> {
        self.failed.as_ref().map_or(Ok(self), |reason| Err(KeysError::Failed(reason.clone())))
    }

    pub(super) fn ask<T>(&self, ask: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, KeysError> {
        ask(&self.connection).map_err(KeysError::database(&self.path))
    }

    pub(super) fn foreign(&self, what: String) -> KeysError {
        KeysError::Value { path: self.path.clone(), what }
    }

    pub(super) fn named(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeysError> {
        let value = self.ask(|connection| {
            connection
                .prepare_cached("SELECT value FROM secrets WHERE name = ?1")?
                .query_row([name], |row| row.get::<_, Vec<u8>>(0))
                .optional()
        })?;
        Ok(value.map(Zeroizing::new))
    }

    pub(super) fn put_named(&self, name: &str, value: &[u8]) -> Result<(), KeysError> {
        self.ask(|connection| {
            connection
                .prepare_cached(
                    "INSERT INTO secrets (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                )?
                .execute((name, value))
        })
        .map(drop)
    }

    pub(super) fn subject(&self, tag: &[u8; 32]) -> Result<Option<Subject>, KeysError> {
        let row = self.ask(|connection| {
            connection
                .prepare_cached("SELECT id, key FROM subjects WHERE tag = ?1")?
                .query_row([&tag[..]], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?)))
                .optional()
        })?;
        let Some((id, key)) = row else { return Ok(None) };
        let id = SubjectId::from_slice(&id).ok_or_else(|| self.foreign("the id of a subject".to_owned()))?;
        Ok(Some(Subject { id, key: hmac::Key::new(hmac::HMAC_SHA256, &Zeroizing::new(key)) }))
    }

    pub(super) fn make_subject(&self, tag: &[u8; 32]) -> Result<Subject, KeysError> {
        let id = loop {
            // All zeros is no id.
            if let Some(id) = SubjectId::from_bytes(*random::<16>()?) {
                break id;
            }
        };
        let key = random::<32>()?;
        self.ask(|connection| {
            // One fsync for many subjects comes with `Keyring::sync`.
            connection.execute_batch("PRAGMA synchronous = NORMAL")?;
            let made = connection
                .prepare_cached("INSERT INTO subjects (tag, id, key, created_s) VALUES (?1, ?2, ?3, ?4)")
                .and_then(|mut insert| insert.execute((&tag[..], &id.as_bytes()[..], &key[..], now_s())));
            connection.execute_batch("PRAGMA synchronous = FULL")?;
            made
        })?;
        Ok(Subject { id, key: hmac::Key::new(hmac::HMAC_SHA256, &key[..]) })
    }

    #[cfg(test)]
    pub(super) fn step(&mut self, name: &str) -> Result<(), KeysError> {
        self.on_step.as_mut().map_or(Ok(()), |on_step| on_step(name))
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the tests' version has a use for both")]
    pub(super) fn step(&mut self, _: &str) -> Result<(), KeysError> {
        Ok(())
    }
}

/// The keyring's file of a generation.
pub(super) fn file(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("keyring-{generation}.db"))
}

pub(super) fn present(path: PathBuf) -> Result<PathBuf, KeysError> {
    // SQLite would say no more than that it cannot open the file, and would wait for whoever writes to a pipe.
    match files::is_regular(&path).map_err(KeysError::io(&path))? {
        true => Ok(path),
        false if path.symlink_metadata().is_ok() => Err(KeysError::io(&path)(io::Error::other(files::NotRegular))),
        false => Err(KeysError::Missing { path }),
    }
}
