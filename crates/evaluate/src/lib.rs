//! Evaluation of models: a benchmark set, what a model's answers to it are worth, and whether it answers as it did.
//!
//! # Shape
//!
//! A [`Set`] is read from JSONL; each [`Item`] has a [`Grader`]. [`Api`] makes requests of items and reads answers, and
//! [`judge`] does the same for graders that ask another model. Who sends them is somebody else's business. A [`Run`] is what came
//! of a set: scores, and sketches of the answers, never their texts. [`compare`] holds a run against those of a [`Baseline`].
//!
//! Nothing here does I/O, reads a clock or rolls a die: the tests by permutation go by a seed, so that a comparison can be repeated.
//! Answers come from strangers: what is read of them is bounded.

#![forbid(unsafe_code)]

mod api;
mod compare;
mod error_class;
mod grade;
pub mod judge;
mod permute;
mod report;
mod run;
mod schema;
mod set;
mod sketch;

pub use api::{Answer, AnswerError, Api, Parameters};
pub use compare::{CategoryChange, Change, Compared, Comparison, NotComparable, Options, ScoreChange, Verdict, compare};
pub use error_class::ErrorClass;
pub use grade::{Grade, Grader, GraderError};
pub use report::{ItemReport, Outcome, Report};
pub use run::{Baseline, BaselineError, ItemRun, Run, Summary, Trial};
pub use schema::{Schema, SchemaError};
pub use set::{Item, Message, Set, SetError};
pub use sketch::Sketch;

/// SHA-256 of parts, each preceded by its length, hexadecimal.
pub(crate) fn sha256_hex(parts: &[&[u8]]) -> String {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for part in parts {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        context.update(part);
    }
    event::hex::encode(context.finish().as_ref())
}
