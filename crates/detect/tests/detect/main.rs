//! Detection over streams of recorded events.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod carried;
mod engine;
mod flow;
mod stream;
mod variations;
