//! A disk that fails at a chosen operation, and whose power can be cut: what was not synced is then partly lost,
//! sector by sector and in any order. For tests.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::segment::read_zero_extended;

const SECTOR_BYTES: usize = 512;

/// Shared by all operations of one journal.
#[derive(Debug)]
pub(crate) struct Faults {
    done: AtomicU64,
    /// The operation that fails; all after it fail, too.
    fail_at: AtomicU64,
    /// Whether space can be taken no more.
    pub(crate) full: AtomicBool,
    /// What the sectors that are not synced held before, oldest first.
    unsynced: Mutex<Vec<Sector>>,
}

#[derive(Debug)]
struct Sector {
    file: File,
    inode: u64,
    offset: u64,
    before: Vec<u8>,
}

impl Faults {
    pub(crate) fn new(fail_at: u64) -> Self {
        Self {
            done: AtomicU64::new(0),
            fail_at: AtomicU64::new(fail_at),
            full: AtomicBool::new(false),
            unsynced: Mutex::new(Vec::new()),
        }
    }

    /// From now on so many operations succeed.
    pub(crate) fn fail_after(&self, operations: u64) {
        self.fail_at.store(self.operations() + operations, Ordering::SeqCst);
    }

    /// How many operations there were.
    pub(crate) fn operations(&self) -> u64 {
        self.done.load(Ordering::SeqCst)
    }

    pub(crate) fn operation(&self, name: &'static str) -> io::Result<()> {
        if name == "fallocate" && self.full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if self.done.fetch_add(1, Ordering::SeqCst) >= self.fail_at.load(Ordering::SeqCst) {
            return Err(io::Error::other(format!("simulated failure of {name}")));
        }
        Ok(())
    }

    pub(crate) fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let allowed = self.operation("pwrite");
        if allowed.is_err() && self.operations() > self.fail_at.load(Ordering::SeqCst).saturating_add(1) {
            return allowed;
        }
        let inode = file.metadata()?.ino();
        let mut unsynced = self.unsynced.lock().unwrap();
        for (n, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
            let offset = offset + (n * SECTOR_BYTES) as u64;
            let mut before = vec![0; sector.len()];
            read_zero_extended(file, &mut before, offset)?;
            unsynced.push(Sector { file: file.try_clone()?, inode, offset, before });
        }
        file.write_all_at(bytes, offset)?;
        allowed
    }

    pub(crate) fn synced(&self, file: &File) {
        let inode = file.metadata().unwrap().ino();
        self.unsynced.lock().unwrap().retain(|sector| sector.inode != inode);
    }

    /// Cuts the power: of the sectors that were not synced, those stay for which `stays` says so.
    pub(crate) fn cut_power(&self, mut stays: impl FnMut() -> bool) {
        for sector in self.unsynced.lock().unwrap().drain(..).rev() {
            if !stays() {
                sector.file.write_all_at(&sector.before, sector.offset).unwrap();
            }
        }
    }
}
