//! Raw text in, clean text and a list of replacements out.
//!
//! # Architecture
//!
//! ```text
//!  text ─► split at our own tokens ─► one byte pass per segment: literals (find::secret ...), digits, @, :, =
//!                                      │                                └► validators, then context words
//!                                      ├► view (NFKC to ASCII, invisible characters, %XX, \u, &#) ─► the same pass
//!                                      └► base64 and hex runs, decoded ─► the same pass; a hit takes the whole run
//!       ─► overlaps resolved ─► tokens in place ─► what is left is scanned again until nothing is found, long pieces
//!          at their edges alone
//! ```
//!
//! Nothing here knows I/O, a clock or a random source: equal text under an equal key gives equal output. Every step
//! is linear in its input; the pass has no backtracking and every look-behind and look-ahead has a named bound.
//!
//! # Invariants
//!
//! - Sanitising clean text changes nothing. What counts as a token is proved by its own keyed check, so that text that
//!   only looks like a token is text like any other (see [`TokenKey`]).
//! - [`Clean`] is made here and nowhere else.

#![forbid(unsafe_code)]

mod checksum;
mod clean;
mod custom;
mod encoded;
mod events;
mod find;
mod json;
mod kind;
mod layer;
mod name;
mod policy;
mod sanitizer;
mod seal;
mod token;
mod view;

pub use clean::Clean;
pub use custom::{CustomError, CustomSpec, Validator};
pub use events::ContentCache;
pub use kind::{Action, Category, SensitiveType};
pub use name::TypeName;
pub use policy::{Policy, PolicyError, PolicySpec};
pub use sanitizer::{Cleaned, Counts, Edit, Replacement, Sanitizer};
pub use seal::{Recoverable, Sealed, Sealer};
pub use token::TokenKey;
