//! Leaves computed on every core. Records do not depend on each other; the order of their leaves matters for the tree alone, so
//! batches go out to the threads in turn and come back in the same turn.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, available_parallelism};

use super::Given;
use crate::leaf::{self, Leaf, LeafError};
use crate::stored::{StoredBody, StoredRecord};

/// Records that go to a thread at once: enough that handing them over costs nothing beside hashing them.
const BATCH_RECORDS: usize = 256;

/// Bytes of records after which a batch is full, so that a few large ones do not pile up.
const BATCH_BYTES: usize = 1 << 20;

/// Batches on their way for each thread: one being computed and one waiting. With it memory is bounded: two batches and one
/// record of the largest size for each thread.
const BATCHES_PER_THREAD: usize = 2;

/// Most threads. Reading and decrypting the records is work for one thread, which cannot feed more.
const THREADS_MAX: usize = 16;

/// The leaves of one batch, each with the seq of its record.
pub(super) type Computed = Vec<(u64, Result<Leaf, LeafError>)>;

/// Threads that compute leaves.
pub(super) struct Leaves {
    lanes: Vec<(SyncSender<Vec<Given>>, Receiver<Computed>)>,
    /// The lanes from which batches are to come back, in order.
    out: VecDeque<usize>,
    next: usize,
    batch: Vec<Given>,
    bytes: usize,
}

impl Leaves {
    pub(super) fn start<'scope>(scope: &'scope Scope<'scope, '_>, log_id: [u8; 16]) -> Self {
        let threads = available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        let lane = |_| {
            let (give, batches) = sync_channel::<Vec<Given>>(BATCHES_PER_THREAD);
            let (back, computed) = sync_channel::<Computed>(BATCHES_PER_THREAD);
            scope.spawn(move || {
                let mut leaves = leaf::Leaves::default();
                for batch in batches {
                    if back.send(leaves_of(&batch, log_id, &mut leaves)).is_err() {
                        return;
                    }
                }
            });
            (give, computed)
        };
        Self { lanes: (0..threads).map(lane).collect(), out: VecDeque::new(), next: 0, batch: Vec::new(), bytes: 0 }
    }

    /// Takes the next record, and gives back leaves of earlier ones when they are due.
    pub(super) fn take(&mut self, given: Given) -> Option<Computed> {
        self.bytes += weight(&given.stored);
        self.batch.push(given);
        if self.batch.len() < BATCH_RECORDS && self.bytes < BATCH_BYTES {
            return None;
        }
        // The lane that is next is free once its oldest batch has come back.
        let due = if self.out.len() >= self.lanes.len() * BATCHES_PER_THREAD { self.receive() } else { None };
        self.send();
        due
    }

    /// Gives back the leaves of the records that were taken, batch by batch, after the last record; `None` at the end.
    pub(super) fn finish(&mut self) -> Option<Computed> {
        if !self.batch.is_empty() {
            self.send();
        }
        self.receive()
    }

    fn send(&mut self) {
        self.bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        // A thread ends only when the other end of its lane is gone, so that nothing is lost here.
        if let Some((give, _)) = self.lanes.get(self.next)
            && give.send(batch).is_ok()
        {
            self.out.push_back(self.next);
        }
        self.next = (self.next + 1) % self.lanes.len();
    }

    fn receive(&mut self) -> Option<Computed> {
        let lane = self.out.pop_front()?;
        self.lanes.get(lane)?.1.recv().ok()
    }
}

/// The leaves of a batch, in its order. Those of whole records are computed together.
fn leaves_of(batch: &[Given], log_id: [u8; 16], leaves: &mut leaf::Leaves) -> Computed {
    let whole: Vec<_> = batch.iter().filter_map(|given| given.stored.as_whole().map(|record| (record, given.id))).collect();
    let mut of_whole = leaves.of(&whole, log_id).into_iter();
    let leaf = |given: &Given| {
        let together = given.stored.as_whole().and_then(|_| of_whole.next());
        (given.stored.seq.0, together.unwrap_or_else(|| given.stored.leaf(log_id)))
    };
    batch.iter().map(leaf).collect()
}

fn weight(record: &StoredRecord) -> usize {
    match &record.body {
        StoredBody::Whole(record) => {
            record.event_json.len() + record.contents.iter().map(|content| content.text.len()).sum::<usize>()
        }
        // What is left of a record is not more than the record was, but for a salt beside each field.
        StoredBody::Redacted(record) => record.fields.len() * 64 + record.contents.len() * 4096,
    }
}
