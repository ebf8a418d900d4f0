//! End to end, through the real binary: real listeners, real clients, real files.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "what a test relies on and does not find ends the test"
)]

mod agents;
mod asked;
mod attacks;
mod behaviour;
mod cli;
mod clients;
mod cold;
mod console_api;
mod conversations;
mod crash;
mod demo;
mod drill;
mod egress;
mod evaluate;
mod evidence;
mod faults;
mod fields;
mod first_steps;
mod flow;
mod full_disk;
mod gaps;
mod gateway;
mod gateway_faults;
mod gateway_full;
mod hostile;
mod inspect_rows;
mod intel;
mod keys;
mod kms;
mod lifecycle;
mod matrix;
mod mcp;
mod mistakes;
#[path = "../../../archive/src/objects/moto.rs"]
mod moto;
mod oidc;
mod otlp;
mod pins;
mod planted_secrets;
mod policy;
mod power;
mod public;
mod realtime;
mod recovery;
mod rotation;
mod sanitiser;
mod sanitizing;
mod second_opinion;
mod sessions;
mod sigma;
mod signatures;
mod soak;
mod streams;
mod support;
mod syscalls;
mod tamper;
mod timestamps;
mod traces;
mod volume;
mod wire;
mod witness;
