//! Detection: Sigma rules and content flow over the recorded events; the same journal gives the same detections.
//!
//! # Shape
//!
//! [`RuleSet`] loads and checks rules, [`Engine`] reads recorded events in the order of the journal and returns
//! [`Detection`]s, [`Runner`] applies a rule set to arbitrary JSON events. Nothing here does I/O, but for reading rule
//! files, and nothing reads a clock: time comes from the events (invariant I3).
//!
//! What Watchkeeper itself recorded of kind `detection` or `response_action` is never looked at, so detection cannot feed
//! itself. An event of these kinds that comes from anywhere else is looked at like any other.
//!
//! Memory and time are bounded whatever an event holds (invariant I5). What the bounds leave out is counted,
//! [`Engine::skipped`] (invariant I4).

#![forbid(unsafe_code)]

pub mod behaviour;
mod budget;
mod builtin;
mod carried;
pub mod coverage;
mod detection;
mod engine;
mod extraction;
pub mod fields;
mod flow;
mod in_force;
mod intel;
mod novelty;
mod risk;
mod rules;
mod session;
mod sigma;
mod skipped;
mod spoken;
pub mod stats;
mod token;
mod turns;

pub use budget::{AlertBudget, entity_of};
pub use builtin::{builtin_rule_text, runbook, runbooks};
pub use carried::{Carried, CarriedError};
pub use detection::{Detection, Evidence, Grade, KnownIndicator, Labels, Severity, Suppression};
pub use engine::Engine;
pub use in_force::InForce;
pub use rules::{ExampleResult, Problem, RuleError, RuleInfo, RuleKind, RuleSet, RuleSources, Uncompiled};
pub use sigma::explain::{ExplainedItem, ExplainedPart, ExplainedWindow, Explanation};
pub use sigma::runner::{Match, Runner, match_json};
pub use skipped::Skipped;
