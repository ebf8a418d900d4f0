//! Trains and measures the text classifier: labelled texts in, a model and figures out.
//!
//! ```text
//! corpus (JSONL) ─► samples (features, each text once) ─► leave one family of sources out, train on the rest ─► sums of texts whose
//!   source was never seen ─► calibration, figures            then train on all families ─► model with that calibration
//! ```
//!
//! Everything is deterministic: the same rows in the same order give the same bytes.

#![forbid(unsafe_code)]

mod calibrate;
mod corpus;
mod enough;
mod evaluate;
mod figures;
mod report;
mod sample;
mod train;

pub use corpus::{CorpusError, Row, Split, read};
pub use enough::{NotEnough, caveats, check};
pub use evaluate::{Evaluation, LeftOut, Rate, Setting, Share, Signatures, evaluate, measure, train};
pub use figures::wilson;
pub use report::{Report, Summary};
