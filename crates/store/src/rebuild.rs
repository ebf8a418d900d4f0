//! Building partitions anew beside those that are read, and putting them in their place.

use std::fs;
use std::path::{Path, PathBuf};

use journal::{Record, Seq};

use crate::error::StoreError;
use crate::partition::list;
use crate::write::{STORE_DIR, Store};

/// Where partitions are built.
const SIDE_DIR: &str = "store.rebuild";

/// Lies in the store while partitions change places. A store with it is half old and half new, and is built from the start.
const SWAP_MARK: &str = "swapping";

/// Partitions of a day and all later ones, under construction. The store stays as it is until [`Rebuild::finish`].
#[derive(Debug)]
pub struct Rebuild {
    side: Store,
    side_dir: PathBuf,
    from_day: String,
}

impl Rebuild {
    /// Begins to build the partitions from a day on (`2026-11-20`). What an earlier attempt has left is removed.
    pub fn begin(data: &Path, from_day: &str) -> Result<Self, StoreError> {
        let side_dir = data.join(SIDE_DIR);
        remove_dir(&side_dir)?;
        Ok(Self { side: Store::open_in(side_dir.clone())?, side_dir, from_day: from_day.to_owned() })
    }

    /// Indexes records that follow each other. The first call begins with a record of an earlier day than the first one that is
    /// built, or with the first record of all: a day is built whole or not at all.
    pub fn index(&mut self, records: &[Record]) -> Result<(), StoreError> {
        self.side.index(records)
    }

    /// Passes over records that are not there any more.
    pub fn skip(&mut self, to: Seq) {
        self.side.skip(to);
    }

    /// The record that is due.
    #[must_use]
    pub fn next(&self) -> Seq {
        self.side.next()
    }

    /// Takes the place of the live partitions of those days. A crash on the way leaves a store that is built from the start when
    /// it is opened.
    pub fn finish(self, live: Store) -> Result<Store, StoreError> {
        let store = live.dir().to_owned();
        self.side.close()?;
        live.close()?;
        let error = StoreError::directory(&store);
        let mark = store.join(SWAP_MARK);
        fs::File::create(&mark).and_then(|file| file.sync_all()).and_then(|()| sync_dir(&store)).map_err(error)?;
        for (_, path) in list(&store)?.range(self.from_day.clone()..) {
            remove_partition(path)?;
        }
        for (day, path) in list(&self.side_dir)?.range(self.from_day.clone()..) {
            fs::rename(path, store.join(format!("{day}.db"))).map_err(StoreError::directory(&store))?;
        }
        sync_dir(&store).and_then(|()| fs::remove_file(&mark)).map_err(StoreError::directory(&store))?;
        sync_dir(&store).map_err(StoreError::directory(&store))?;
        remove_dir(&self.side_dir)?;
        Store::open_in(store)
    }
}

/// Removes what an interrupted swap has left: every partition, when it had begun.
pub(crate) fn settle(store: &Path) -> Result<(), StoreError> {
    let mark = store.join(SWAP_MARK);
    if !mark.exists() {
        return Ok(());
    }
    tracing::warn!("the store was being rebuilt when the last run ended; it is filled from the start");
    remove_all(store)?;
    if let Some(data) = store.parent() {
        remove_dir(&data.join(SIDE_DIR))?;
    }
    fs::remove_file(&mark).and_then(|()| sync_dir(store)).map_err(StoreError::directory(store))
}

/// Removes every partition of a store's directory.
pub(crate) fn remove_all(store: &Path) -> Result<(), StoreError> {
    list(store)?.into_values().try_for_each(|path| remove_partition(&path))
}

/// Removes the partitions of days before `day`: the archive has them still. Gives the days.
pub fn drop_before(data: &Path, day: &str) -> Result<Vec<String>, StoreError> {
    let store = data.join(STORE_DIR);
    let mut dropped = Vec::new();
    for (old, path) in list(&store)?.range(..day.to_owned()) {
        remove_partition(path)?;
        dropped.push(old.clone());
    }
    Ok(dropped)
}

fn remove_partition(path: &Path) -> Result<(), StoreError> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.to_owned().into_os_string();
        name.push(suffix);
        match fs::remove_file(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::directory(Path::new(&name))(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn remove_dir(dir: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StoreError::directory(dir)(error)),
        _ => Ok(()),
    }
}

fn sync_dir(dir: &Path) -> std::io::Result<()> {
    fs::File::open(dir)?.sync_all()
}
