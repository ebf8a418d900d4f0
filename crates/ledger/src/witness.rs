//! Witnessing: C2SP tlog-witness. A witness countersigns a log's checkpoint only when the tree has grown from the one that it
//! countersigned before, so that a log cannot show two histories without a witness's help. The HTTP is elsewhere.

mod request;
mod state;

pub use request::{AddCheckpoint, Answer, RequestError, read_answer};
pub use state::{Reply, Witness, WitnessError, WitnessKey};
