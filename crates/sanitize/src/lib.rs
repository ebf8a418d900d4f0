//! Raw text in, clean text and a list of replacements out.

#![forbid(unsafe_code)]

mod clean;

pub use clean::Clean;
