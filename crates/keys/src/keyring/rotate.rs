//! Changing the tenant key: the keyring is written anew beside the old file, one rename decides, the old file goes.
//!
//! A key that is to be destroyed is not copied, so that no byte of the new file ever held it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rusqlite::Connection;

use super::{Db, TABLES, file, generations, now_s};
use crate::database::{attach_key, open_writer, unlock};
use crate::error::KeysError;
use crate::root::RootKey;
use crate::secret::Secret;
use crate::tenant::Tenant;

/// The first generation.
const FIRST: u64 = 1;

/// Rows that are to be destroyed: the table, and their primary keys.
pub(super) type Doomed<'a> = [(&'static str, &'a [&'a [u8]])];

/// Named secrets that come into the new file.
pub(super) type Fresh<'a> = [(&'a str, &'a [u8])];

/// Makes the first, empty keyring. The tenant's file says that it is new until it is whole, so that a start that was interrupted
/// is told from a file that was lost.
pub(super) fn create(dir: &Path, root: &dyn RootKey) -> Result<Tenant, KeysError> {
    let key = Secret::random()?;
    let new = Tenant::wrap(&key, FIRST, true, root)?;
    new.write(dir)?;
    for (_, left) in generations(dir)? {
        files::remove(&left).map_err(KeysError::io(&left))?;
    }
    let path = file(dir, FIRST);
    make_empty(&path)?;
    let error = KeysError::database(&path);
    let make = || {
        let connection = Connection::open(&path)?;
        unlock(&connection, &key)?;
        connection.execute_batch(&schema("main"))
    };
    make().map_err(error)?;
    sync(&path)?;
    let tenant = new.with_key(&key, FIRST, false, root)?;
    tenant.write(dir)?;
    Ok(tenant)
}

impl Db {
    /// Destroys rows, and rotates when there was one. Whether there was.
    pub(super) fn forget(&mut self, dir: &Path, doomed: &Doomed<'_>) -> Result<bool, KeysError> {
        let mut any = false;
        for (table, keys) in doomed {
            let (column, live) = if *table == "data_keys" { ("id", " AND key IS NOT NULL") } else { (key_of(table), "") };
            for key in *keys {
                any |= self.ask(|connection| {
                    // Names are texts, and SQLite tells texts from bytes.
                    connection
                        .prepare_cached(&format!("SELECT 1 FROM {table} WHERE {column} = ?1{live}"))?
                        .exists([value(table, key)])
                })?;
            }
        }
        if any {
            self.rotate(dir, doomed, &[])?;
        }
        Ok(any)
    }

    /// Writes the keyring anew under a new tenant key, without what is doomed and with what is fresh. Wholly or not at all; when even that cannot be
    /// told, nothing is changed any more.
    pub(super) fn rotate(&mut self, dir: &Path, doomed: &Doomed<'_>, fresh: &Fresh<'_>) -> Result<(), KeysError> {
        let generation = self.tenant.generation + 1;
        let path = file(dir, generation);
        let key = Secret::random()?;
        let tenant = self.tenant.with_key(&key, generation, false, self.root.as_ref())?;
        if let Err(error) = self.copy(&path, &key, doomed, fresh) {
            drop(files::remove(&path));
            return Err(error);
        }
        // From here on: which of the two files counts is what `tenant.key` says, and only a new start reads that.
        let changed = tenant.write(dir).and_then(|()| {
            self.step("the new tenant key is in its place")?;
            open_writer(&path, &key).map_err(KeysError::database(&path))
        });
        let connection = changed.inspect_err(|error| self.failed = Some(error.to_string()))?;
        self.connection = connection;
        self.tenant = tenant;
        let old = std::mem::replace(&mut self.path, path);
        // Nothing that is left opens these; the next start removes what stays.
        for suffix in ["", "-wal", "-shm"] {
            if let Err(error) = self.step("the old file goes").and_then(|()| {
                let old = files::beside(&old, suffix);
                files::remove(&old).map_err(KeysError::io(&old))
            }) {
                tracing::warn!(%error, "an old file of the keyring could not be removed");
            }
        }
        Ok(())
    }

    fn copy(&mut self, path: &Path, key: &Secret, doomed: &Doomed<'_>, fresh: &Fresh<'_>) -> Result<(), KeysError> {
        self.step("nothing is done yet")?;
        make_empty(path)?;
        self.step("the new file is empty")?;
        self.ask(|connection| attach(connection, path, key))?;
        let copied = self.ask(|connection| copy_rows(connection, doomed, fresh));
        // Also behind an error: the next attempt attaches again. An open transaction would hold it.
        let detached = self.ask(|connection| {
            if !connection.is_autocommit() {
                connection.execute_batch("ROLLBACK")?;
            }
            connection.execute_batch("DROP TABLE IF EXISTS temp.doomed; DETACH fresh")
        });
        copied.and(detached)?;
        self.step("the new file is written")?;
        sync(path)?;
        self.step("the new file is durable")
    }
}

fn attach(connection: &Connection, path: &Path, key: &Secret) -> rusqlite::Result<()> {
    let path = path.to_str().ok_or_else(|| rusqlite::Error::InvalidPath(path.to_owned()))?;
    connection.execute("ATTACH ?1 AS fresh KEY ?2", (path, attach_key(key).as_str()))?;
    // It counts only when it is whole and synced: until then it needs no journal of its own.
    connection.pragma_update_and_check(Some("fresh"), "journal_mode", "off", |_| Ok(()))?;
    connection.pragma_update(Some("fresh"), "synchronous", "off")
}

fn copy_rows(connection: &Connection, doomed: &Doomed<'_>, fresh: &Fresh<'_>) -> rusqlite::Result<()> {
    // In memory: this SQLite keeps all temporary tables there.
    connection.execute_batch("CREATE TEMP TABLE doomed (tab TEXT, key BLOB, PRIMARY KEY (tab, key)) WITHOUT ROWID; BEGIN")?;
    for (table, keys) in doomed {
        let mut insert = connection.prepare("INSERT OR IGNORE INTO temp.doomed VALUES (?1, ?2)")?;
        for key in *keys {
            insert.execute((table, value(table, key)))?;
        }
    }
    connection.execute_batch(&schema("fresh"))?;
    connection.execute(
        "INSERT INTO fresh.data_keys (id, purpose, created_s, key, destroyed_s)
         SELECT id, purpose, created_s, CASE WHEN gone THEN NULL ELSE key END,
                CASE WHEN gone AND key IS NOT NULL THEN ?1 ELSE destroyed_s END
         FROM (SELECT *, id IN (SELECT key FROM temp.doomed WHERE tab = 'data_keys') AS gone FROM main.data_keys) ORDER BY id",
        [now_s()],
    )?;
    for table in ["secrets", "subjects"] {
        let column = key_of(table);
        connection.execute(
            &format!(
                "INSERT INTO fresh.{table} SELECT * FROM main.{table}
                 WHERE {column} NOT IN (SELECT key FROM temp.doomed WHERE tab = '{table}') ORDER BY {column}"
            ),
            [],
        )?;
    }
    for row in fresh {
        connection.execute("INSERT INTO fresh.secrets (name, value) VALUES (?1, ?2)", *row)?;
    }
    connection.execute_batch("COMMIT")
}

/// The primary key of a table.
fn key_of(table: &str) -> &'static str {
    match table {
        "secrets" => "name",
        "subjects" => "tag",
        _ => "id",
    }
}

/// A primary key as the table has it: names are texts, the others bytes.
fn value(table: &str, key: &[u8]) -> rusqlite::types::Value {
    match (table, std::str::from_utf8(key)) {
        ("secrets", Ok(name)) => rusqlite::types::Value::Text(name.to_owned()),
        _ => rusqlite::types::Value::Blob(key.to_vec()),
    }
}

fn schema(name: &str) -> String {
    TABLES.iter().map(|table| format!("CREATE TABLE {name}.{table};")).collect()
}

/// An empty file that only its owner can read; SQLite takes it for a new database.
fn make_empty(path: &Path) -> Result<(), KeysError> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let path = files::beside(path, suffix);
        files::remove(&path).map_err(KeysError::io(&path))?;
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(drop).map_err(KeysError::io(path))
}

fn sync(path: &Path) -> Result<(), KeysError> {
    File::open(path).and_then(|file| file.sync_all()).and_then(|()| files::sync_dir_of(path)).map_err(KeysError::io(path))
}
