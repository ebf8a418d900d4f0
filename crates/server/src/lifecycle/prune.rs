//! Pruning of the ledger: entries go whose records retention has dropped. What a proof of anything that is still there needs stays.

use std::collections::{BTreeMap, BTreeSet};

use archive::Segment;
use capture::RecordError;
use event::{Timestamp, attr};
use ledger::{Checkpoint, LedgerError, Pruned, TILE_WIDTH};
use serde::Serialize;

use super::archiver::ArchiverError;
use super::cold::{Cold, ColdError, lifecycle_event};
use crate::asker::Asker;
use crate::log_keys::{LogKeyError, key_chain, log_key};
use crate::node::Node;
use crate::publishing;

/// Why the ledger is not pruned.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// Something is still needed.
    #[error("entries before {limit} at the most can be pruned, and {asked} was asked for: {why}")]
    Needed {
        /// The index that was asked for.
        asked: u64,
        /// The largest that can be.
        limit: u64,
        /// What stands behind it.
        why: String,
    },
    /// The archive.
    #[error(transparent)]
    Cold(#[from] ColdError),
    /// The archive does not come to rest.
    #[error(transparent)]
    Archiver(#[from] ArchiverError),
    /// The log's keys.
    #[error(transparent)]
    Keys(#[from] LogKeyError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// It cannot be recorded.
    #[error("the ledger is pruned, and that cannot be recorded: {0}")]
    Record(#[from] RecordError),
}

/// What pruning took, or would take, and what keeps the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pruning {
    /// What went.
    #[serde(flatten)]
    pub pruned: Pruned,
    /// The largest index that could be asked for.
    pub limit: u64,
    /// What stands behind it.
    pub why: String,
    /// Records before the minimum index that are still kept, by class. The tiles and entry bundles that hold their leaves stay.
    pub keeping: Vec<Keeping>,
}

/// Records of a class that are still kept, of those whose neighbours' leaves may go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Keeping {
    /// The retention class.
    pub class: String,
    /// The first of them.
    pub first: u64,
    /// How many.
    pub records: u64,
}

/// How far can be pruned.
struct Limit {
    index: u64,
    why: String,
}

/// What of the records before an index is still kept.
struct Kept {
    /// The first record of each bundle that holds the leaf of one.
    leaves: BTreeSet<u64>,
    keeping: Vec<Keeping>,
}

impl Limit {
    fn lower(&mut self, index: u64, why: impl FnOnce() -> String) {
        if index < self.index {
            *self = Self { index, why: why() };
        }
    }
}

impl Node {
    /// Prunes the ledger (C2SP tlog-tiles): entry bundles and tiles of leaf hashes before `before`, or before the first record whose
    /// retention has an end that is still to come, are removed. Those that hold the leaf of a record that is still kept stay: of what
    /// tells of erasures, holds and retention, and of classes without an end. Where nothing can go, the minimum index stays as it is.
    /// With `dry_run` nothing is done, and what it would be is told.
    ///
    /// # Errors
    /// [`PruneError::Needed`] when a record, a witness or the public log still needs what was asked for.
    pub fn prune(&self, asker: &Asker, before: Option<u64>, dry_run: bool) -> Result<Pruning, PruneError> {
        // As long as this is held, nobody changes the archive.
        let archiver = self.lifecycle().archiver();
        let Limit { index: limit, why } = self.prunable()?;
        let index = before.unwrap_or(limit);
        if index > limit {
            return Err(PruneError::Needed { asked: index, limit, why });
        }
        let dir = self.data().path();
        let keys = key_chain(self.data())?.ok_or(LogKeyError::Stopped("there is no ledger".to_owned()))?;
        let known = ledger::minimum_index(dir, &keys)?;
        let Kept { leaves, keeping } = self.kept(index.max(known))?;
        let mut pruned = ledger::prune(dir, &keys, None, index, &leaves)?;
        if pruned.files == 0 {
            // Readers who were away would lose by a larger one, and nobody would gain.
            pruned.minimum = known;
        } else if !dry_run {
            pruned = ledger::prune(dir, &keys, Some(&log_key(self.keyring())?), index, &leaves)?;
        }
        drop(archiver);
        if !dry_run && pruned.files > 0 {
            let object = format!("entries before {}: {} tiles and bundles", pruned.minimum, pruned.files);
            let mut event = lifecycle_event("retention.prune", "delete", &object);
            asker.sign(&mut event);
            event.set(attr::EVENT_OUTCOME, "success");
            self.pipeline().record_blocking(vec![event], &|| true)?;
        }
        Ok(Pruning { pruned, limit, why, keeping })
    }

    fn archives(&self) -> impl Iterator<Item = &Cold> {
        let lifecycle = self.lifecycle();
        std::iter::once(&lifecycle.cold).chain(&lifecycle.forensic).map(|cold| &**cold)
    }

    fn prunable(&self) -> Result<Limit, PruneError> {
        let (lifecycle, now) = (self.lifecycle(), Timestamp::now());
        let first = self.journal().first().0;
        let mut limit = Limit { index: first, why: format!("the journal has the records from {first} on") };
        for segment in self.archives().flat_map(Cold::segments) {
            // What is kept for good would stand in the way for good.
            if let Some(end) = lifecycle.policy.policy.end_of(&segment) {
                limit.lower(segment.first, || kept_until(&segment, end, now));
            }
        }
        let end = lifecycle.cold.end().0;
        limit.lower(end, || format!("records from {end} on are not archived yet"));
        let covers = |note: std::io::Result<Option<ledger::SignedNote>>| {
            Checkpoint::parse(note.ok().flatten()?.text()).ok().map(|checkpoint| checkpoint.size)
        };
        let sealed = covers(ledger::published_checkpoint(self.data().path())).unwrap_or(0);
        limit.lower(sealed, || format!("{sealed} records are sealed"));
        // A witness or a reader who is further behind could not be shown any more that the log goes on from what they know.
        if let Some(witnessed) = covers(ledger::witnessed_checkpoint(self.data().path())) {
            limit.lower(witnessed, || format!("witnesses have countersigned {witnessed} records"));
        }
        if let Some(published) = publishing::reached(self.data()) {
            limit.lower(published.size, || format!("{} records are published", published.size));
        }
        Ok(limit)
    }

    fn kept(&self, index: u64) -> Result<Kept, ColdError> {
        let width = u64::from(TILE_WIDTH);
        let mut leaves = BTreeSet::new();
        let mut classes: BTreeMap<String, Keeping> = BTreeMap::new();
        for cold in self.archives() {
            for segment in cold.segments().into_iter().filter(|segment| segment.first < index) {
                let mut records = 0;
                let mut first = u64::MAX;
                let mut keep = |seq: u64| {
                    leaves.insert(seq - seq % width);
                    records += 1;
                    first = first.min(seq);
                };
                if segment.records == segment.end - segment.first {
                    // All of its span: nothing needs to be read.
                    (segment.first..segment.end.min(index)).for_each(&mut keep);
                } else {
                    let there = cold.segment(&segment.span())?;
                    there.iter().map(|stored| stored.seq.0).filter(|seq| *seq < index).for_each(&mut keep);
                }
                if records > 0 {
                    let class = segment.class.as_str();
                    let kept = Keeping { class: class.to_owned(), first, records: 0 };
                    let kept = classes.entry(class.to_owned()).or_insert(kept);
                    (kept.first, kept.records) = (kept.first.min(first), kept.records + records);
                }
            }
        }
        Ok(Kept { leaves, keeping: classes.into_values().collect() })
    }
}

/// Why a segment is still there whose retention has an end.
fn kept_until(segment: &Segment, end: Timestamp, now: Timestamp) -> String {
    let Segment { first, end: behind, class, .. } = segment;
    let records = format!("records {first} to {} of class {}", behind.saturating_sub(1), class.as_str());
    if end > now {
        format!("{records} are kept until {}", end.rfc3339())
    } else {
        format!(
            "{records} are kept although their time is over; `watchkeeper retention sweep` drops them, or says what holds them"
        )
    }
}
