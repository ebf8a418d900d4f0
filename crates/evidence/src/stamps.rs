//! Time stamps in a bundle: each with the checkpoint that it is of, and the proof that the log went on from that one to the
//! bundle's. The first one over a record says most: it was there at that time.

use std::collections::BTreeSet;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ledger::proof::{TileReader, consistency, verify_consistency};
use ledger::{Checkpoint, Hash, KeyChain, TsaRoots, claimed_time, verify_timestamp};
use serde::Serialize;

use crate::bag::{Bag, BagError};
use crate::page::rfc3339_of_seconds;

pub(crate) const TIMESTAMPS: &str = "data/timestamps/";

/// The authority's answer.
pub(crate) const ANSWER: &str = "tsr";
/// What it is of: the log's checkpoint with its Ed25519 signatures alone.
pub(crate) const NOTE: &str = "checkpoint";
/// The hashes that prove that the log went on from there.
pub(crate) const PROOF: &str = "consistency";

/// Most hashes of a proof: two for each level of a tree of 2^64 leaves.
const PROOF_HASHES_MAX: usize = 128;

/// A time stamp that fits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stamp {
    /// How many records it covers: those from 0 to below this number were there at that time.
    pub size: u64,
    /// The time, RFC 3339.
    pub time: String,
    /// Whether it was verified that an authority which the reader trusts gave it.
    pub verified: bool,
}

/// Why there is no time stamp in a bundle that should have one.
#[derive(Debug, thiserror::Error)]
pub enum StampError {
    /// Reading.
    #[error("ledger/timestamps: {0}")]
    Io(#[from] std::io::Error),
    /// The container.
    #[error(transparent)]
    Bag(#[from] BagError),
    /// It does not fit.
    #[error("ledger/timestamps/{size}.tsr: {what}; see what `watchkeeper verify` says of the record")]
    Unfit {
        /// Of the checkpoint of how many records.
        size: u64,
        /// What is wrong.
        what: String,
    },
}

/// Puts the first time stamp over each record into the bag, where there is one of a checkpoint not larger than this.
pub(crate) fn put(
    bag: &mut Bag,
    data_dir: &Path,
    chain: &KeyChain,
    checkpoint: &Checkpoint,
    tiles: &TileReader,
    records: impl Iterator<Item = u64>,
) -> Result<(), StampError> {
    let sizes = ledger::stamped_sizes(data_dir)?;
    let over = |seq: u64| sizes.range(seq.saturating_add(1)..).next().copied().filter(|size| *size <= checkpoint.size);
    let wanted: BTreeSet<u64> = records.filter_map(over).collect();
    for stamped in ledger::stamped_checkpoints(data_dir, &wanted)? {
        let size = stamped.size;
        let unfit = |error: &dyn std::fmt::Display| StampError::Unfit { size, what: error.to_string() };
        let path = consistency(tiles, size, checkpoint.size).map_err(|error| unfit(&error))?;
        let lines: String = path.iter().map(|hash| STANDARD.encode(hash) + "\n").collect();
        bag.put(&name(size, ANSWER), stamped.answer)?;
        bag.put(&name(size, NOTE), stamped.note)?;
        bag.put(&name(size, PROOF), lines.into())?;
        judge(bag, size, chain, checkpoint, None).map_err(|(_, what)| unfit(&what))?;
    }
    Ok(())
}

/// Judges one time stamp. The fault is the name of a file and what is wrong with it.
pub(crate) fn judge(
    bag: &Bag,
    size: u64,
    chain: &KeyChain,
    checkpoint: &Checkpoint,
    roots: Option<&TsaRoots>,
) -> Result<Stamp, (String, String)> {
    let fault = |suffix: &'static str| move |what: &dyn std::fmt::Display| (name(size, suffix), what.to_string());
    let need = |suffix| bag.get(&name(size, suffix)).ok_or_else(|| fault(suffix)(&"is missing"));
    let note = need(NOTE)?;
    let stamped = chain.open_history(note).map_err(|error| fault(NOTE)(&error))?;
    if stamped.size != size || size == 0 {
        return Err(fault(NOTE)(&"is the checkpoint of another number of records than its name says"));
    }
    let path = hashes(need(PROOF)?).ok_or_else(|| fault(PROOF)(&"is not a line of base64 for each hash of a proof"))?;
    verify_consistency(size, &stamped.root, checkpoint.size, &checkpoint.root, &path).map_err(|error| fault(PROOF)(&error))?;
    let answer = need(ANSWER)?;
    let claimed = claimed_time(answer, note).map_err(|error| fault(ANSWER)(&error))?;
    let verified = match roots.map(|roots| verify_timestamp(answer, note, roots)) {
        Some(Ok(_)) => true,
        // One that is whole and of a stranger is nothing that anybody changed.
        Some(Err(error)) if !error.is_unmet() => return Err(fault(ANSWER)(&error)),
        Some(Err(_)) | None => false,
    };
    Ok(Stamp { size, time: rfc3339_of_seconds(claimed), verified })
}

fn name(size: u64, suffix: &str) -> String {
    format!("{TIMESTAMPS}{size}.{suffix}")
}

fn hashes(lines: &[u8]) -> Option<Vec<Hash>> {
    let text = std::str::from_utf8(lines).ok()?;
    if !text.is_empty() && !text.ends_with('\n') {
        return None;
    }
    let hashes = text.lines().take(PROOF_HASHES_MAX + 1).map(|line| STANDARD.decode(line).ok()?.try_into().ok());
    hashes.collect::<Option<Vec<Hash>>>().filter(|hashes| hashes.len() <= PROOF_HASHES_MAX)
}
