//! A disk that does what real ones do at their worst. For tests.
//!
//! The journal works on real files, which stand for what the kernel has in memory; beside them a model keeps what is
//! durable and what waits to be. A power cut leaves, of every write that no fsync has confirmed, any of its sectors; of
//! changes of names and sizes as many as came to the disk. Everything is drawn from a seed, so a failure can be repeated.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::format::BLOCK_BYTES;
use crate::segment::{DIRECTORY, LOCK};

/// What a disk writes wholly or not at all.
const SECTOR_BYTES: usize = 512;

/// What goes wrong. Operations are counted from 0.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trouble {
    /// The operation at which the power goes: it is done in part, and everything after it fails.
    pub(crate) power_cut_at: Option<u64>,
    /// This operation alone fails. A failed fsync loses some of what it should have made durable, for good.
    pub(crate) error_at: Option<u64>,
    /// From this write of whole blocks on, the next one goes to another place of the same file.
    pub(crate) misdirected_from: Option<u64>,
    /// Writes come to their end in several steps, some of them interrupted.
    pub(crate) short_writes: bool,
    /// Some operations take their time.
    pub(crate) slow: bool,
    /// The disk says that it has made files durable and has not (as `eatmydata` does).
    pub(crate) ignores_sync: bool,
    /// The same for names.
    pub(crate) ignores_dir_sync: bool,
    /// The next segment is prepared by the journal's own thread, as it always is outside of the simulation; the order of
    /// operations is then that of the scheduler.
    pub(crate) threads: bool,
}

/// The disk under one open journal.
#[derive(Debug)]
pub(crate) struct SimDisk {
    dir: PathBuf,
    trouble: Trouble,
    done: AtomicU64,
    power_cut_at: AtomicU64,
    /// Whether space can be taken no more.
    pub(crate) full: AtomicBool,
    /// Whether a write went to another place.
    pub(crate) misdirected: AtomicBool,
    model: Mutex<Model>,
}

#[derive(Debug)]
struct Model {
    rng: Rng,
    files: Vec<SimFile>,
    by_inode: HashMap<u64, usize>,
    names: BTreeMap<OsString, usize>,
    pending_names: Vec<NameChange>,
}

#[derive(Debug, Default)]
struct SimFile {
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    Length(u64),
}

#[derive(Debug)]
enum NameChange {
    Given(OsString, usize),
    Renamed(OsString, OsString),
    Taken(OsString),
}

/// How an operation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done,
    /// It fails and nothing else does.
    Error,
    /// The power goes while it is done.
    LastOne,
    /// There is no power.
    Off,
}

impl SimDisk {
    /// A disk that holds what lies in the data directory now.
    pub(crate) fn new(data_dir: &Path, seed: u64, trouble: Trouble) -> Self {
        let dir = data_dir.join(DIRECTORY);
        let mut model = Model {
            rng: Rng::new(seed),
            files: Vec::new(),
            by_inode: HashMap::new(),
            names: BTreeMap::new(),
            pending_names: Vec::new(),
        };
        for entry in std::fs::read_dir(&dir).into_iter().flatten() {
            let entry = entry.unwrap();
            if entry.file_name() != LOCK {
                model.names.insert(entry.file_name(), model.files.len());
                model.by_inode.insert(entry.metadata().unwrap().ino(), model.files.len());
                model.files.push(SimFile { durable: std::fs::read(entry.path()).unwrap(), pending: Vec::new() });
            }
        }
        Self {
            dir,
            done: AtomicU64::new(0),
            power_cut_at: AtomicU64::new(trouble.power_cut_at.unwrap_or(u64::MAX)),
            full: AtomicBool::new(false),
            misdirected: AtomicBool::new(false),
            trouble,
            model: Mutex::new(model),
        }
    }

    pub(crate) fn threads(&self) -> bool {
        self.trouble.threads
    }

    /// How many operations there were.
    pub(crate) fn operations(&self) -> u64 {
        self.done.load(Ordering::SeqCst)
    }

    /// The power goes after so many further operations.
    pub(crate) fn cut_after(&self, operations: u64) {
        self.power_cut_at.store(self.operations() + operations, Ordering::SeqCst);
    }

    fn fate(&self) -> Fate {
        let number = self.done.fetch_add(1, Ordering::SeqCst);
        if self.trouble.slow && self.model().rng.one_in(16) {
            std::thread::sleep(Duration::from_micros(300));
        }
        match self.power_cut_at.load(Ordering::SeqCst) {
            cut if number > cut => Fate::Off,
            cut if number == cut => Fate::LastOne,
            _ if self.trouble.error_at == Some(number) => Fate::Error,
            _ => Fate::Done,
        }
    }

    pub(crate) fn pwrite(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let fate = self.fate();
        if fate == Fate::Off {
            return Err(failure("pwrite"));
        }
        let mut model = self.model();
        if fate == Fate::Done && self.trouble.short_writes && model.rng.one_in(8) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let cut_short = fate == Fate::Error || self.trouble.short_writes && model.rng.one_in(3);
        let length = if cut_short { model.rng.below(bytes.len() as u64) as usize + 1 } else { bytes.len() };
        file.write_all_at(&bytes[..length], offset)?;
        let mut lands_at = offset;
        let misdirected = self.trouble.misdirected_from.is_some_and(|from| self.operations() > from)
            && bytes.len() as u64 >= BLOCK_BYTES
            && bytes.iter().any(|byte| *byte != 0)
            && !self.misdirected.swap(true, Ordering::SeqCst);
        let file = model.of(file);
        if misdirected {
            let blocks = file_length(&model.files[file]) / BLOCK_BYTES;
            while lands_at == offset {
                lands_at = model.rng.below(blocks) * BLOCK_BYTES;
            }
        }
        model.files[file].pending.push(Change::Write { offset: lands_at, bytes: bytes[..length].to_vec() });
        if fate == Fate::Done { Ok(length) } else { Err(failure("pwrite")) }
    }

    pub(crate) fn set_len(&self, file: &File, bytes: u64, what: &'static str) -> io::Result<()> {
        if what == "fallocate" && self.full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.unless_failed(what, || {
            file.set_len(bytes)?;
            let mut model = self.model();
            let file = model.of(file);
            model.files[file].pending.push(Change::Length(bytes));
            Ok(())
        })
    }

    pub(crate) fn sync(&self, file: &File, what: &'static str) -> io::Result<()> {
        let fate = self.fate();
        let mut model = self.model();
        let file = model.of(file);
        match fate {
            Fate::Done if self.trouble.ignores_sync => Ok(()),
            Fate::Done => {
                let SimFile { durable, pending } = &mut model.files[file];
                pending.drain(..).for_each(|change| change.apply(durable));
                Ok(())
            }
            Fate::Error => {
                // The kernel has given up on these pages, and the next fsync will not say so.
                let mut pending = std::mem::take(&mut model.files[file].pending);
                pending.retain(|_| model.rng.one_in(2));
                model.files[file].pending = pending;
                Err(failure(what))
            }
            Fate::LastOne | Fate::Off => Err(failure(what)),
        }
    }

    pub(crate) fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.unless_failed("fsync of the directory", || {
            if dir == self.dir && !self.trouble.ignores_dir_sync {
                let mut model = self.model();
                let pending = std::mem::take(&mut model.pending_names);
                pending.into_iter().for_each(|change| change.apply(&mut model.names));
            }
            Ok(())
        })
    }

    pub(crate) fn create(&self, path: &Path) -> io::Result<File> {
        let mut made = None;
        self.unless_failed("create", || {
            let there = path.try_exists()?;
            let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
            let mut model = self.model();
            if there {
                let file = model.of(&file);
                model.files[file].pending.push(Change::Length(0));
            } else {
                let id = model.files.len();
                model.files.push(SimFile::default());
                model.by_inode.insert(file.metadata()?.ino(), id);
                model.pending_names.push(NameChange::Given(name(path), id));
            }
            made = Some(file);
            Ok(())
        })?;
        made.ok_or_else(|| failure("create"))
    }

    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        self.unless_failed("unlink", || {
            std::fs::remove_file(path)?;
            self.model().pending_names.push(NameChange::Taken(name(path)));
            Ok(())
        })
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.unless_failed("rename", || {
            std::fs::rename(from, to)?;
            self.model().pending_names.push(NameChange::Renamed(name(from), name(to)));
            Ok(())
        })
    }

    /// Does an operation that is done as a whole. The one that the power cut meets is done and not confirmed.
    fn unless_failed(&self, what: &'static str, operation: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        match self.fate() {
            Fate::Done => operation(),
            Fate::LastOne => operation().and_then(|()| Err(failure(what))),
            Fate::Error | Fate::Off => Err(failure(what)),
        }
    }

    /// Cuts the power, and leaves in the directory what is on the disk. The journal must have been dropped.
    pub(crate) fn cut_power(&self) {
        let mut model = self.model();
        let Model { rng, files, names, pending_names, .. } = &mut *model;
        let mut names = names.clone();
        // Most file systems keep the order of these, and not all do.
        let in_order = !rng.one_in(4);
        let arrived = rng.below(pending_names.len() as u64 + 1) as usize;
        for (n, change) in std::mem::take(pending_names).into_iter().enumerate() {
            if if in_order { n < arrived } else { rng.one_in(2) } {
                change.apply(&mut names);
            }
        }
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten() {
            let entry = entry.unwrap();
            if entry.file_name() != LOCK {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
        for (name, file) in names {
            std::fs::write(self.dir.join(name), files[file].after_a_cut(rng)).unwrap();
        }
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }
}

impl Model {
    fn of(&self, file: &File) -> usize {
        self.by_inode[&file.metadata().unwrap().ino()]
    }
}

impl SimFile {
    fn after_a_cut(&self, rng: &mut Rng) -> Vec<u8> {
        let mut data = self.durable.clone();
        let lengths = self.pending.iter().filter(|change| matches!(change, Change::Length(_))).count() as u64;
        let mut arrived = rng.below(lengths + 1);
        let mut length = data.len() as u64;
        // All sectors, none, or any.
        let stays = rng.below(4);
        for change in &self.pending {
            match change {
                Change::Length(bytes) if arrived > 0 => {
                    arrived -= 1;
                    length = *bytes;
                    change.apply(&mut data);
                }
                Change::Length(_) => {}
                Change::Write { offset, bytes } => {
                    for (n, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                        let keep = match stays {
                            0 => true,
                            1 => false,
                            _ => rng.one_in(2),
                        };
                        if keep {
                            let offset = offset + (n * SECTOR_BYTES) as u64;
                            Change::Write { offset, bytes: sector.to_vec() }.apply(&mut data);
                        }
                    }
                }
            }
        }
        // Sizes are changed in order; what lies behind the size that arrived is not seen.
        data.resize(length as usize, 0);
        data
    }
}

impl Change {
    fn apply(&self, data: &mut Vec<u8>) {
        match self {
            Self::Length(bytes) => data.resize(*bytes as usize, 0),
            Self::Write { offset, bytes } => {
                let (from, to) = (*offset as usize, *offset as usize + bytes.len());
                if data.len() < to {
                    data.resize(to, 0);
                }
                data[from..to].copy_from_slice(bytes);
            }
        }
    }
}

impl NameChange {
    /// What cannot be any more, because a change before it has not arrived, is passed over.
    fn apply(self, names: &mut BTreeMap<OsString, usize>) {
        match self {
            Self::Given(name, file) => drop(names.insert(name, file)),
            Self::Taken(name) => drop(names.remove(&name)),
            Self::Renamed(from, to) => {
                if let Some(file) = names.remove(&from) {
                    names.insert(to, file);
                }
            }
        }
    }
}

fn file_length(file: &SimFile) -> u64 {
    let last = file.pending.iter().rev().find_map(|change| match change {
        Change::Length(bytes) => Some(*bytes),
        Change::Write { .. } => None,
    });
    last.unwrap_or(file.durable.len() as u64)
}

fn name(path: &Path) -> OsString {
    path.file_name().unwrap().to_owned()
}

fn failure(what: &str) -> io::Error {
    io::Error::other(format!("simulated failure of {what}"))
}

/// Numbers from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to one less than `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
