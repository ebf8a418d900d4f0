//! End to end, through the real binary: real listeners, real clients, real files.

#![forbid(unsafe_code)]

mod cli;
mod clients;
mod crash;
mod demo;
mod hostile;
mod planted_secrets;
mod support;
mod tamper;
mod traces;
