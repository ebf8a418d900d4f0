//! How much of what is planted in documents the sanitiser finds. `tests/sanitiser` makes the documents and counts, with arithmetic of
//! its own; `cargo xtask sanitiser` is the same with more documents, and with Presidio beside it.

use std::process::Command;

use serde_json::Value;

use crate::support::{root, watchkeeper};

fn python(arguments: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command.args(arguments).current_dir(root().join("tests/sanitiser")).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Figures of so many documents.
fn measure(documents: &str, seed: &str) -> Value {
    let mut command = python(&["measure.py", "--json", "-", "--examples", "3", "--documents", documents, "--seed", seed]);
    let output = command.arg("--binary").arg(watchkeeper().get_program()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn share(figure: &Value) -> f64 {
    figure["share"].as_f64().unwrap()
}

#[test]
fn the_generators_arithmetic_agrees_with_published_numbers() {
    let output = python(&["-m", "unittest", "--quiet"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_same_seed_makes_the_same_documents() {
    let documents = || python(&["generate.py", "--documents", "200", "--seed", "9"]).output().unwrap().stdout;
    let first = documents();
    assert!(first.iter().filter(|byte| **byte == b'\n').count() == 200);
    assert!(first == documents());
}

/// Documents of another seed than the page's: what was mended for those must hold for these.
#[test]
fn planted_values_are_found_and_what_looks_like_them_stays() {
    let figures = measure("2000", "20261122");
    let ours = &figures["watchkeeper"];
    let mut below = Vec::new();
    let mut at_least = |what: &str, is: f64, bound: f64| {
        if is < bound {
            below.push(format!("{what} is {is:.4}, wanted at least {bound}"));
        }
    };
    for (group, recall, precision, kept) in BOUNDS {
        let is = &ours["groups"][group];
        at_least(&format!("recall of {group} values"), share(&is["recall"]), recall);
        at_least(&format!("precision of {group} values"), share(&is["precision"]), precision);
        at_least(&format!("characters of {group} values that do not leak"), 1.0 - share(&is["leaked_characters"]), kept);
    }
    at_least("look-alikes that stay", 1.0 - share(&ours["lookalikes_replaced"]), LOOKALIKES_KEPT);
    assert!(below.is_empty(), "{}\n{:#}\n{:#}", below.join("\n"), figures["faults"], figures["examples"]);
}

/// Recall, precision, and the share of characters that do not leak, by group: what is reached, so that nothing falls behind it.
const BOUNDS: [(&str, f64, f64, f64); 2] = [("structured", 0.97, 0.98, 0.96), ("secret", 0.97, 0.99, 0.98)];

const LOOKALIKES_KEPT: f64 = 0.99;
