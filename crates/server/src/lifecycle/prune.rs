//! Pruning of the ledger: entries go whose records retention has dropped. What a proof of anything that is still there needs stays.

use std::collections::BTreeSet;

use capture::RecordError;
use event::attr;
use ledger::{Checkpoint, LedgerError, Pruned};

use super::archiver::ArchiverError;
use super::cold::{Cold, ColdError, lifecycle_event};
use super::retention::OWN_CLASS;
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

/// How far can be pruned.
struct Limit {
    index: u64,
    why: String,
}

impl Limit {
    fn lower(&mut self, index: u64, why: impl FnOnce() -> String) {
        if index < self.index {
            *self = Self { index, why: why() };
        }
    }
}

impl Node {
    /// Prunes the ledger (C2SP tlog-tiles): entry bundles and tiles of leaf hashes before `before`, or before the first record that
    /// is still kept, are removed. Records that are kept for good, which tell of erasures, holds and retention, keep theirs. With
    /// `dry_run` nothing is done, and what it would be is told.
    ///
    /// # Errors
    /// [`PruneError::Needed`] when a record, a witness or the public log still needs what was asked for.
    pub fn prune(&self, asker: &Asker, before: Option<u64>, dry_run: bool) -> Result<Pruned, PruneError> {
        // As long as this is held, nobody changes the archive.
        let archiver = self.lifecycle().archiver();
        let limit = self.prunable()?;
        let index = before.unwrap_or(limit.index);
        if index > limit.index {
            return Err(PruneError::Needed { asked: index, limit: limit.index, why: limit.why });
        }
        let kept = own_records(&self.lifecycle().cold, index)?;
        let keys = key_chain(self.data())?.ok_or(LogKeyError::Stopped("there is no ledger".to_owned()))?;
        let key = if dry_run { None } else { Some(log_key(self.keyring())?) };
        let pruned = ledger::prune(self.data().path(), &keys, key.as_ref(), index, &kept)?;
        drop(archiver);
        if key.is_some() && pruned.files > 0 {
            let object = format!("entries before {}: {} tiles and bundles", pruned.minimum, pruned.files);
            let mut event = lifecycle_event("retention.prune", "delete", &object);
            asker.sign(&mut event);
            event.set(attr::EVENT_OUTCOME, "success");
            self.pipeline().record_blocking(vec![event], &|| true)?;
        }
        Ok(pruned)
    }

    fn prunable(&self) -> Result<Limit, PruneError> {
        let lifecycle = self.lifecycle();
        let first = self.journal().first().0;
        let mut limit = Limit { index: first, why: format!("the journal has the records from {first} on") };
        let archives = std::iter::once(&lifecycle.cold).chain(&lifecycle.forensic);
        for (cold, is_evidence) in archives.zip([true, false]) {
            for segment in cold.segments() {
                if !is_evidence || segment.class.as_str() != OWN_CLASS {
                    limit.lower(segment.first, || {
                        format!("records {} to {} of class {} are kept", segment.first, segment.end - 1, segment.class.as_str())
                    });
                }
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
}

/// The records before an index that are kept for good.
fn own_records(cold: &Cold, index: u64) -> Result<BTreeSet<u64>, ColdError> {
    let mut kept = BTreeSet::new();
    for segment in cold.segments().into_iter().filter(|segment| segment.class.as_str() == OWN_CLASS && segment.first < index) {
        kept.extend(cold.segment(&segment.span())?.iter().map(|stored| stored.seq.0).filter(|seq| *seq < index));
    }
    Ok(kept)
}
