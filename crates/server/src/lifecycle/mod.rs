//! What becomes of records: how long they are kept, what holds them, how they are forgotten.

pub mod hold;
pub mod retention;
pub mod target;
