//! Keys: what unlocks everything that this program writes, and what is destroyed when something must be forgotten.
//!
//! ```text
//! root key (elsewhere) ── wraps ──> tenant key (keys/tenant.key) ── encrypts ──> keyring (keys/keyring-N.db, SQLCipher)
//!                                                                                  │ data keys of journal files, segments, stores
//!                                                                                  │ named secrets: token key, log key ...
//!                                                                                  └ subjects: keyed hash of a name -> id, key
//! ```
//! Beside it, for values that two people open together and none alone: [`Officers`] seal, an [`Officer`] gives shares.
//!
//! # Invariants
//! - What [`Keyring::create`], [`Keyring::put_named`] and [`Keyring::destroy`] answer is on disk.
//! - Destruction writes the keyring anew, without the key and under a new tenant key, and then forgets the old tenant key. One
//!   rename decides; before it everything is as it was, behind it the old file opens with nothing that is left in the directory.
//! - One process writes; others read at the same time.

#![forbid(unsafe_code)]

mod authenticator;
mod data_keys;
mod database;
mod error;
mod keyring;
mod recovery;
mod root;
mod secret;
mod subject;
mod tenant;

pub use authenticator::{Authenticator, TAG_BYTES};
pub use data_keys::DataKeys;
pub use database::{attach_key, unlock};
pub use error::KeysError;
pub use keyring::{KeyState, Keyring, Purpose};
pub use recovery::{Envelope, ForOfficer, Officer, Officers, RecoveryError, Shares, decrypt, encrypt};
pub use root::{AgeRootKey, FileRootKey, RootKey, create_root_key, read_root_key};
pub use secret::{Secret, random};
pub use subject::Subject;
