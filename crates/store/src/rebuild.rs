//! Building partitions anew beside those that are read, and putting them in their place.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use journal::{Record, Seq};
use keys::DataKeys;

use crate::days::Days;
use crate::error::StoreError;
use crate::partition::{FILES, Partition, key_id, key_id_file, list};
use crate::write::{STORE_DIR, Store};

/// Where partitions are built.
const SIDE_DIR: &str = "store.rebuild";

/// Lies in the store while partitions change places. A store with it is half old and half new, and is built from the start.
const SWAP_MARK: &str = "swapping";

/// Partitions of a day and all later ones, under construction. The store stays as it is until [`Rebuild::finish`].
#[derive(Debug)]
pub struct Rebuild {
    side: Store,
    side_dir: SideDir,
    from_day: String,
    keys: DataKeys,
}

/// The directory in which it is built, removed when this goes, whatever came of it: on a full disk a part of a store would stand in
/// the way of what is to be recorded.
#[derive(Debug)]
struct SideDir(PathBuf);

impl Drop for SideDir {
    fn drop(&mut self) {
        if let Err(error) = remove_dir(&self.0) {
            tracing::warn!(%error, "what was built aside could not be removed; the next start tries again");
        }
    }
}

impl Rebuild {
    /// Begins to build the partitions from a day on (`2026-11-20`). What an earlier attempt has left is removed.
    pub fn begin(data: &Path, from_day: &str, keys: &DataKeys) -> Result<Self, StoreError> {
        abandon(data)?;
        let side_dir = SideDir(data.join(SIDE_DIR));
        let side = Store::open_in(side_dir.0.clone(), keys, false)?;
        Ok(Self { side, side_dir, from_day: from_day.to_owned(), keys: keys.clone() })
    }

    /// Indexes records that follow each other. The first call begins with a record of an earlier day than the first one that is
    /// built, or with the first record of all: a day is built whole or not at all.
    pub fn index(&mut self, records: &[Record]) -> Result<(), StoreError> {
        self.side.index(records)
    }

    /// Puts the days where the live store has none: for days that have left it. Those that it has stay as they are. Gives the
    /// days that were put.
    pub fn install(self, data: &Path) -> Result<Vec<String>, StoreError> {
        let store = data.join(STORE_DIR);
        self.side.close()?;
        let there = list(&store)?;
        let mut days = Vec::new();
        for (day, path) in list(&self.side_dir.0)?.range(self.from_day.clone()..) {
            if there.contains_key(day) {
                continue;
            }
            move_partition(path, &store, day)?;
            days.push(day.clone());
        }
        files::sync_dir(&store).map_err(StoreError::directory(&store))?;
        list_days(&store, days.iter().map(String::as_str), &self.keys)?;
        Ok(days)
    }

    /// Puts the one day, which is missing ([`Store::missing`]), where it belongs, as far as there is anything of it. The live store
    /// must be opened anew ([`Store::reopen`]).
    pub fn mend(self, data: &Path) -> Result<(), StoreError> {
        let store = data.join(STORE_DIR);
        self.side.close()?;
        match list(&self.side_dir.0)?.get(&self.from_day) {
            Some(path) => {
                move_partition(path, &store, &self.from_day)?;
                files::sync_dir(&store).map_err(StoreError::directory(&store))?;
                list_days(&store, [self.from_day.as_str()], &self.keys)?;
            }
            None => Days::change(&self.keys, |days| days.remove(&self.from_day))?,
        }
        Ok(())
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
        self.swap(live, |_| true)
    }

    /// As [`Rebuild::finish`], for some days alone; one of which there are no records any more goes. The others stay as they are.
    pub fn replace(self, live: Store, days: &BTreeSet<String>) -> Result<Store, StoreError> {
        self.swap(live, |day| days.contains(day))
    }

    fn swap(self, live: Store, is_wanted: impl Fn(&str) -> bool) -> Result<Store, StoreError> {
        let store = live.dir().to_owned();
        self.side.close()?;
        live.close()?;
        let error = StoreError::directory(&store);
        let mark = store.join(SWAP_MARK);
        fs::File::create(&mark).and_then(|file| file.sync_all()).and_then(|()| files::sync_dir(&store)).map_err(error)?;
        let mut unused = Vec::new();
        for (_, path) in list(&store)?.range(self.from_day.clone()..).filter(|(day, _)| is_wanted(day)) {
            unused.extend(key_id(path)?);
            remove_partition(path)?;
        }
        for (day, path) in list(&self.side_dir.0)?.range(self.from_day.clone()..) {
            if is_wanted(day) {
                move_partition(path, &store, day)?;
            } else {
                unused.extend(key_id(path)?);
            }
        }
        files::sync_dir(&store).map_err(StoreError::directory(&store))?;
        Days::change(&self.keys, |days| days.remove_where(|day| *day >= *self.from_day && is_wanted(day)))?;
        let there = list(&store)?;
        let built = there.range(self.from_day.clone()..).map(|(day, _)| day.as_str()).filter(|day| is_wanted(day));
        list_days(&store, built, &self.keys)?;
        fs::remove_file(&mark).and_then(|()| files::sync_dir(&store)).map_err(StoreError::directory(&store))?;
        // Copies of the old partitions in backups open no more.
        self.keys.destroy(&unused)?;
        Store::open_in(store, &self.keys, true)
    }
}

/// Removes what a build that did not end has left. Only while nobody builds.
pub(crate) fn abandon(data: &Path) -> Result<(), StoreError> {
    remove_dir(&data.join(SIDE_DIR))
}

/// Removes what an interrupted swap has left: every partition, when it had begun.
pub(crate) fn settle(store: &Path, keys: &DataKeys) -> Result<(), StoreError> {
    let mark = store.join(SWAP_MARK);
    if !mark.exists() {
        return Ok(());
    }
    tracing::warn!("the store was being rebuilt when the last run ended; it is filled from the start");
    remove_all(store, keys)?;
    if let Some(data) = store.parent() {
        abandon(data)?;
    }
    fs::remove_file(&mark).and_then(|()| files::sync_dir(store)).map_err(StoreError::directory(store))
}

/// Removes every partition of a store's directory.
pub(crate) fn remove_all(store: &Path, keys: &DataKeys) -> Result<(), StoreError> {
    Days::change(keys, Days::clear)?;
    list(store)?.into_values().try_for_each(|path| remove_partition(&path))
}

/// The days that the store has.
pub fn days(data: &Path) -> Result<BTreeSet<String>, StoreError> {
    Ok(list(&data.join(STORE_DIR))?.into_keys().collect())
}

/// Removes the partitions of days before `day` whose records are all below `archived`, but for those in `keep`, and destroys their
/// keys: the archive has them still. Gives the days. A clock that jumped can make a new record's day an old one: so the day
/// alone does not say what is archived.
pub fn drop_before(
    data: &Path,
    day: &str,
    archived: Seq,
    keep: &BTreeSet<String>,
    keys: &DataKeys,
) -> Result<Vec<String>, StoreError> {
    let store = data.join(STORE_DIR);
    let (mut dropped, mut unused) = (Vec::new(), Vec::new());
    for (old, path) in list(&store)?.range(..day.to_owned()).filter(|(old, _)| !keep.contains(*old)) {
        let _files = FILES.write().unwrap_or_else(PoisonError::into_inner);
        if Partition::open(&store, old, keys)?.next()?.unsigned_abs() > archived.0 {
            continue;
        }
        unused.extend(key_id(path)?);
        // Off the list first: it is not missed then, wherever this ends.
        Days::change(keys, |days| days.remove(old))?;
        remove_partition(path)?;
        dropped.push(old.clone());
    }
    keys.destroy(&unused)?;
    Ok(dropped)
}

/// Puts days that have just been built on the list.
fn list_days<'d>(store: &Path, built: impl IntoIterator<Item = &'d str>, keys: &DataKeys) -> Result<(), StoreError> {
    let mut cursors = Vec::new();
    for day in built {
        cursors.push((day, Partition::open(store, day, keys)?.next()?.unsigned_abs()));
    }
    Days::change(keys, |days| cursors.iter().for_each(|(day, next)| days.set(day, *next)))
}

fn move_partition(from: &Path, store: &Path, day: &str) -> Result<(), StoreError> {
    let to = store.join(format!("{day}.db"));
    let renamed = fs::rename(key_id_file(from), key_id_file(&to)).and_then(|()| fs::rename(from, to));
    renamed.map_err(StoreError::directory(store))
}

/// Destroys the keys of partitions that are gone: somebody removed their files, or a crash came between. Only while nobody else
/// makes partitions: a key is older than its file.
pub(crate) fn destroy_unused(store: &Path, keys: &DataKeys) -> Result<(), StoreError> {
    let mut used = Vec::new();
    let side = store.parent().map(|data| data.join(SIDE_DIR));
    for dir in std::iter::once(store).chain(side.as_deref()) {
        for path in list(dir)?.values() {
            used.extend(key_id(path)?);
        }
    }
    Ok(keys.keep_only(&used)?)
}

pub(crate) fn remove_partition(path: &Path) -> Result<(), StoreError> {
    let with = |suffix: &str| files::beside(path, suffix);
    // The name of the key last: a partition without it would be taken for a new one.
    for path in [with(""), with("-wal"), with("-shm"), key_id_file(path)] {
        files::remove(&path).map_err(StoreError::directory(&path))?;
    }
    Ok(())
}

fn remove_dir(dir: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StoreError::directory(dir)(error)),
        _ => Ok(()),
    }
}
