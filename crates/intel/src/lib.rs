//! Threat intelligence: feeds of others as indicators, and traffic looked up in them.
//!
//! # Architecture
//!
//! ```text
//!  bytes of a feed ─► feed (STIX, MISP, abuse.ch, lists) ─► Indicator ─► Set ─► hits
//!                                                              ▲          ▲
//!  STIX pattern ─► atoms, as far as one value decides ─────────┘          └ warning lists
//! ```
//!
//! What can be looked up is looked up once for each value of an event, whatever number of indicators there is: values of each kind
//! in one table, domains from the longest name to the shortest, addresses from the longest prefix to the shortest. What cannot is
//! reported with its reason and never passed over in silence ([`Problems`]).
//!
//! Nothing here does I/O or reads a clock: who pulls a feed, and what time it is, is said by whoever asks.

#![forbid(unsafe_code)]

pub mod feed;
mod find;
mod fingerprint;
mod indicator;
mod normal;
pub mod pattern;
mod set;
pub mod stix;
pub mod taxii;
mod warning;

pub use find::{Address, addresses};
pub use fingerprint::{Fingerprint, PROMPT_BYTES_MAX, PROMPT_WORDS_MIN, normalized as normalized_prompt};
pub use indicator::{Indicator, Kind, Left, Problems, Reading, Tlp};
pub use normal::normalize;
pub use set::{Hit, INDICATORS_MAX, Set, SetBuilder, SetError};
pub use warning::{WarningError, WarningLists};
