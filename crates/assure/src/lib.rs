//! What proves that the product does what it says: drills, as scenarios in data, and what judges them.
//!
//! No I/O and no clock: who plays a scenario against a server, and reads what it recorded, is elsewhere.

#![forbid(unsafe_code)]

pub mod drill;
