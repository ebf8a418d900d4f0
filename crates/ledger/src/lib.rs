//! The ledger: a Merkle tree over the journal's records, in public formats, so that an outsider can verify the record
//! offline and no byte of it can change unseen.
//!
//! A consumer of the journal: [`Ledger::append`] takes each record in order, [`Ledger::seal`] writes the tiles of the
//! tree (C2SP tlog-tiles over RFC 6962) and publishes a signed checkpoint (C2SP tlog-checkpoint). [`verify`] recomputes
//! all of it from a copy of the files and names the first thing that is wrong. `docs/reference/record-format.md` says
//! enough to write a verifier without this code.
//!
//! ```text
//! ledger/vkey            the log's first public keys, as verifier keys of C2SP signed-note
//! ledger/keys            the public keys that followed them, each pair vouched for by the one before
//! ledger/checkpoint      the newest checkpoint, signed with Ed25519 and ML-DSA-44
//! ledger/checkpoints     every checkpoint by its Ed25519 signature, oldest first, an empty line behind each
//! ledger/witnessed       the newest checkpoint that witnesses countersigned, with their cosignatures
//! ledger/minimum         from which index on entries are there, once the log was pruned
//! ledger/timestamps/<N>   time stamps of checkpoints by others (`<size>.tsr`, RFC 3161)
//! ledger/tile/<L>/<N>    hashes; ledger/tile/entries/<N> the leaves; `.p/<W>` behind the name of a partial one
//! ```

#![forbid(unsafe_code)]

mod checkpoint;
pub mod disclosure;
mod disk;
mod hex;
mod key;
mod key_chain;
mod leaf;
mod ledger;
mod minimum;
mod note;
mod policy;
pub mod proof;
pub mod public;
mod signing;
mod stored;
mod tile;
mod timestamp;
mod tlog_proof;
pub mod tombstone;
mod tree;
mod verify;
mod vkey;
pub mod witness;
mod witnessed;

pub use checkpoint::{Checkpoint, CheckpointError, history_holds};
pub use disclosure::{Disclosure, DisclosureError, Selection, Verdict, Verified};
pub use key::{KeyError, LogKey};
pub use key_chain::{Generation, KeyChain, KeyChainError, history_form};
pub use leaf::{Field, FieldType, LEAF_BYTES, Leaf, LeafError, fields};
pub use ledger::{Ledger, LedgerError, Rotation};
pub use minimum::{Minimum, MinimumError, Pruned, minimum_index, prune};
pub use note::{NoteError, NoteSignature, SignedNote};
pub use policy::{Policy, PolicyError, Witnessed};
pub use signing::SigningKey;
pub use stored::{
    Cut, ErasedTokens, RedactedRecord, Redaction, StoredBody, StoredContent, StoredField, StoredRecord, StoredSpan,
};
pub use tile::{TILE_WIDTH, TileId, TileKind};
pub use timestamp::{
    TIMESTAMP_BYTES_MAX, TimestampError, TimestampRequest, Timestamped, TsaRoots, claimed_time, verify_timestamp,
};
pub use tlog_proof::{TlogProof, TlogProofError};
pub use tombstone::{ErasedItem, ErasedItems, Erasures, Membership, TOMBSTONE_EVENT, Tombstone, TombstoneError};
pub use tree::{CompactRange, EMPTY_ROOT, Hash, leaf_hash, node_hash, root_of};
pub use verify::{
    Fault, Report, SupplyError, Trust, VerifyError, Visit, verify, verify_against, verify_archived, verify_public,
    verify_published,
};
pub use vkey::{Algorithm, VerifierKey};
pub use witnessed::{
    StampedCheckpoint, publish_timestamp, publish_witnessed, published_checkpoint, stamped_checkpoints, stamped_sizes,
    witnessed_checkpoint,
};
