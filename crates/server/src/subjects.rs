//! The keys of subjects: the secrets that give contents their ids. Destroying one makes every id of its subject
//! meaningless; they are kept apart from everything that is immutable.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::hmac;
use event::SubjectId;
use lru::LruCache;
use rusqlite::{Connection, OptionalExtension as _};

/// How many subjects' keys are kept in memory: 100,000 take about 20 MB.
const CACHED: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();

/// Keys of subjects, made when first asked for.
pub(crate) struct Subjects {
    inner: Mutex<Inner>,
}

struct Inner {
    database: Connection,
    cached: LruCache<SubjectId, hmac::Key>,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// The key store failed.
    #[error("key store of the subjects: {0}")]
    Database(#[from] rusqlite::Error),
    /// There are no random numbers.
    #[error("key store of the subjects: {0}")]
    Random(#[from] std::io::Error),
}

impl Subjects {
    pub(crate) fn open(path: &Path) -> Result<Self, SubjectError> {
        let database = Connection::open(path)?;
        // NORMAL may forget the newest keys in a power cut. That costs a text of that subject being stored a second time
        // under a new key, never a record. `secure_delete` overwrites a destroyed key.
        database.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON;
             CREATE TABLE IF NOT EXISTS subject_keys (subject BLOB PRIMARY KEY, key BLOB NOT NULL) WITHOUT ROWID;",
        )?;
        Ok(Self { inner: Mutex::new(Inner { database, cached: LruCache::new(CACHED) }) })
    }

    /// The key of a subject.
    pub(crate) fn key(&self, subject: SubjectId) -> Result<hmac::Key, SubjectError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = inner.cached.get(&subject) {
            return Ok(key.clone());
        }
        let stored: Option<Vec<u8>> = inner
            .database
            .prepare_cached("SELECT key FROM subject_keys WHERE subject = ?1")?
            .query_row([subject.as_bytes()], |row| row.get(0))
            .optional()?;
        let bytes = match stored {
            Some(bytes) => bytes,
            None => {
                let fresh = crate::secrets::random::<32>()?;
                inner
                    .database
                    .prepare_cached("INSERT INTO subject_keys (subject, key) VALUES (?1, ?2)")?
                    .execute((subject.as_bytes(), fresh))?;
                fresh.to_vec()
            }
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        inner.cached.put(subject, key.clone());
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_keeps_its_key_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("subjects.db");
        let (a, b) = (SubjectId::from_bytes([1; 16]).unwrap(), SubjectId::from_bytes([2; 16]).unwrap());
        let sign = |key: &hmac::Key| hmac::sign(key, b"x").as_ref().to_vec();
        let first = sign(&Subjects::open(&path).unwrap().key(a).unwrap());
        let again = Subjects::open(&path).unwrap();
        assert_eq!(sign(&again.key(a).unwrap()), first);
        assert_ne!(sign(&again.key(b).unwrap()), first);
    }
}
