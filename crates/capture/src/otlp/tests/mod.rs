//! Tests of the decoder and the listeners.

mod dialects;
mod frameworks;
mod hostile;
mod join;
mod listeners;
mod metrics;
pub(crate) mod support;
