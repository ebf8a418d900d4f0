//! Small files on a disk that can lose its power and to which others can write: there whole or not at all, read within bounds, and
//! only where they are files. And lines of larger ones, one at a time.

#![forbid(unsafe_code)]

mod descriptors;
mod durable;
mod lines;
mod regular;
mod tree;

pub use descriptors::is_out_of_descriptors;
pub use durable::{
    beside, make_private_dir, remove, rename, sync_dir, sync_dir_of, write_atomic, write_atomic_with, write_new, write_synced,
};
pub use lines::{LineError, Lines};
pub use regular::{NotRegular, is_regular, not_there, open_regular, read_at_most, read_named_at_most};
pub use tree::{Stamp, Tree, TreeError};
