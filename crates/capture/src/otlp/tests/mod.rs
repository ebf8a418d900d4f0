//! Tests of the decoder and the listeners.

mod dialects;
mod hostile;
mod listeners;
pub(crate) mod support;
