//! The store through its public face: records in, answers out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

// The name that every other crate of the workspace gives it.
extern crate watchkeeper_store as store;

mod actions;
mod fixture;
mod hostile;
mod lists;
mod read;
mod shown;
mod views;
mod write;
