//! Every record as a disclosure, for a verifier of somebody else's: with all that is left of it; of one that was dropped its leaf; and
//! where the log was pruned, which records have none any more.

use journal::Seq;
use ledger::{Disclosure, Selection, TILE_WIDTH};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::export::{EvidenceError, SEALED_WITHIN, TEXT_BYTES_MAX};
use super::lifecycle_event;
use super::spine::SpineError;
use crate::asker::Asker;
use crate::log_keys::key_chain;
use crate::node::Node;

/// About how many bytes one answer has: what a caller can take, and the server can hold for several of them.
const PAGE_BYTES: usize = 16 << 20;

/// The event that tells of it. What is disclosed is every record, so it belongs to the custody of each.
pub(crate) const EVENT: &str = "evidence.disclose";

/// What the line of a record begins with that was dropped at the end of its retention.
const LEAF_FORMAT: &str = "wkleaf/1";

/// What the line of records begins with whose leaves were pruned, too.
const PRUNED_FORMAT: &str = "wkpruned/1";

/// Records that follow each other.
#[derive(Debug, Serialize, Deserialize)]
pub struct Disclosed {
    /// A value for each of them, in order: a disclosure (`wkdisclosure/1`), or the leaf alone (`wkleaf/1`). One value for several whose
    /// leaves were pruned (`wkpruned/1`).
    pub records: Vec<Box<RawValue>>,
    /// The record with which the next answer begins.
    pub next: u64,
    /// One past the last record that was asked for.
    pub end: u64,
}

#[derive(Serialize)]
struct LeafLine {
    format: &'static str,
    leaf: String,
}

#[derive(Serialize)]
struct PrunedLine {
    format: &'static str,
    first: u64,
    end: u64,
}

impl Node {
    /// Discloses what is left of records from `first` on, as many as fit into an answer, up to `end`; without it up to the newest that
    /// is sealed. That this was asked for is recorded first.
    ///
    /// # Errors
    /// See [`EvidenceError`].
    pub fn disclose(&self, asker: &Asker, first: u64, end: Option<u64>, reason: &str) -> Result<Disclosed, EvidenceError> {
        if reason.is_empty() || reason.len() > TEXT_BYTES_MAX {
            return Err(EvidenceError::Text("reason"));
        }
        let until = end.map_or_else(|| "the newest".to_owned(), |end| end.to_string());
        let mut event = lifecycle_event(EVENT, "read", &format!("records {first} to {until}"));
        asker.sign(&mut event);
        event.set(event::Key::of("watchkeeper.evidence.reason"), reason);
        self.pipeline().record_blocking(vec![event], &|| true)?;
        // What tells of it is disclosed, too: a verifier wants every record that a checkpoint signs.
        if end.is_none() && !self.flush(SEALED_WITHIN) {
            return Err(EvidenceError::NotSealed);
        }
        let sealed = self.progress().sealed;
        let end = end.unwrap_or(sealed).min(sealed);
        let chain = key_chain(self.data())?.ok_or(EvidenceError::NotSealed)?;
        let log_id = chain.first().log_id();
        let mut leaves = archive::leaves_of(&self.data().path().join("ledger"), sealed);
        let minimum = ledger::minimum_index(self.data().path(), &chain)?;
        let width = u64::from(TILE_WIDTH);
        // What is said of records that were dropped, and the record behind them.
        let mut dropped = |seq: u64| {
            let bundle_end = seq - seq % width + width;
            let (line, next) = match leaves(seq) {
                Ok(leaf) => {
                    let leaf = event::hex::encode(&leaf.ok_or(SpineError::Lost(seq))?);
                    (serde_json::to_string(&LeafLine { format: LEAF_FORMAT, leaf })?, seq + 1)
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && bundle_end <= minimum => {
                    let line = PrunedLine { format: PRUNED_FORMAT, first: seq, end: bundle_end.min(end) };
                    (serde_json::to_string(&line)?, line.end)
                }
                Err(error) => return Err(SpineError::Io(error).into()),
            };
            Ok::<_, EvidenceError>((line, next))
        };
        let mut disclosed = Disclosed { records: Vec::new(), next: first, end };
        let mut bytes = 0;
        while disclosed.next < end && bytes < PAGE_BYTES {
            let (stretch, _, behind) = self.spine().stretch(Seq(disclosed.next), Seq(end - 1))?;
            let mut stretch = stretch.into_iter().filter(|stored| stored.seq.0 >= first).peekable();
            while disclosed.next < end.min(behind.0) && bytes < PAGE_BYTES {
                let seq = disclosed.next;
                while stretch.next_if(|stored| stored.seq.0 < seq).is_some() {}
                let (line, next) = match stretch.next_if(|stored| stored.seq.0 == seq) {
                    Some(stored) => {
                        let shown = Disclosure::of(&stored, log_id, &Selection::all());
                        let shown = shown.map_err(|source| EvidenceError::Leaf { seq, source })?;
                        (serde_json::to_string(&shown)?, seq + 1)
                    }
                    None => dropped(seq)?,
                };
                bytes += line.len();
                disclosed.records.push(RawValue::from_string(line)?);
                disclosed.next = next;
            }
        }
        Ok(disclosed)
    }
}
