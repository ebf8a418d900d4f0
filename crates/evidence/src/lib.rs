//! Evidence: bundles that hand records to somebody else, with proofs that hold without us.
//!
//! [`Export`] makes a bundle: a BagIt container (RFC 8493) with the records shown field by field, a proof for each that it
//! is in the log, the checkpoint and keys that the proofs lead to, and a signed statement (DSSE, in-toto) of who took out
//! what and why. [`verify`] judges one offline. `docs/reference/evidence-bundle.md` defines the files.

#![forbid(unsafe_code)]

mod bag;
mod destination;
mod export;
mod page;
mod stamps;
mod statement;
mod tar;
mod verify;

pub use bag::{BUNDLE_BYTES_MAX, BUNDLE_FILES_MAX, Bag, BagError, FILE_BYTES_MAX};
pub use destination::{Destination, DestinationError, bundle_name};
pub use export::{About, Chosen, Export, ExportError, Summary};
pub use stamps::{Stamp, StampError};
pub use statement::{PAYLOAD_TYPE, PREDICATE_TYPE, Predicate, StatementError};
pub use verify::{Cosigned, Fault, Overall, RecordReport, Report, Trust, verify, verify_bag};
