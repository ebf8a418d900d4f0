//! Tests of the whole: what was acknowledged is there, once, whole, and nothing else passes for it.

mod durability;
mod examples;
mod recovery;
mod retiring;
mod sealing;
mod simulated;
mod tampering;
