//! Every drill in every wording, and what came of them as the figures of `docs/reference/drill.md`.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// Around what was measured, as `crates/assure` has it.
const FIGURES: (&str, &str) =
    ("<!-- Measured. To measure anew: `cargo xtask drill --figures`. -->\n", "<!-- End of what was measured. -->\n");

/// Wordings, by the names that output uses.
const WORDINGS: [&str; 3] = ["first", "held-out", "reserve"];

/// Plays all of them, keeps the JSON at a place, prints the figures, and writes them into a page when there is one.
pub(crate) fn whole(binary: &Path, json: &Path, page: Option<&Path>) -> anyhow::Result<()> {
    let mut drill = Command::new(binary);
    drill.args(["drill", "--held-out", "--reserve", "--json"]).stderr(Stdio::inherit());
    let output = drill.output().with_context(|| format!("{} does not start", binary.display()))?;
    // 1: something was not detected, which is what is measured.
    ensure!(matches!(output.status.code(), Some(0 | 1)), "the drill could not be played: {}", output.status);
    std::fs::write(json, &output.stdout)?;
    let told: Value = serde_json::from_slice(&output.stdout)?;
    let figures = figures(&told)?;
    super::say(&figures);
    super::say(&format!("All of it as JSON: {}", json.display()));
    let Some(page) = page else { return Ok(()) };
    let there = std::fs::read_to_string(page)?;
    let (before, rest) = there.split_once(FIGURES.0).with_context(|| format!("{} has no place for figures", page.display()))?;
    let (_, after) = rest.split_once(FIGURES.1).with_context(|| format!("{} has no end of figures", page.display()))?;
    Ok(std::fs::write(page, format!("{before}{}{figures}{}{after}", FIGURES.0, FIGURES.1))?)
}

fn figures(told: &Value) -> anyhow::Result<String> {
    let mut out =
        "| wording | techniques | case studies | behaviour and record | twins that set something off | later steps told |\n\
                   | --- | --- | --- | --- | --- | --- |\n"
            .to_owned();
    for name in WORDINGS {
        let summary = &told["wordings"][name];
        let count = |of: &str| format!("{} of {}", summary[of]["caught"], summary[of]["played"]);
        let _ = writeln!(
            out,
            "| {name} | {} | {} | {} | {} | {} |",
            count("techniques"),
            count("case_studies"),
            count("others"),
            summary["twins_set_off"],
            count("later_steps")
        );
    }
    out.push_str("\n| of | first wording | held-out | reserve |\n| --- | --- | --- | --- |\n");
    let drills = told["drills"].as_array().context("the drill told of no drills")?;
    let text = |drill: &Value, field: &str| drill[field].as_str().unwrap_or_default().to_owned();
    for first in drills.iter().filter(|drill| drill["wording"] == "first" && drill["verdict"] != "not_observable") {
        let scenario = text(first, "scenario");
        let of = |wording: &str| {
            let is = |drill: &&Value| {
                drill["wording"] == wording
                    && drill["scenario"].as_str().and_then(|name| name.split('.').next()) == Some(&scenario)
            };
            drills.iter().filter(is).map(verdict).collect::<Vec<_>>().join(", ")
        };
        let cells = WORDINGS.map(of);
        let _ = writeln!(out, "| {} | {} |", text(first, "subject"), cells.join(" | "));
    }
    ensure!(!out.contains("left_out"), "not everything was played");
    Ok(out)
}

fn verdict(drill: &Value) -> String {
    let twin = if drill["twin"].as_array().is_some_and(|told| !told.is_empty()) { ", its twin set something off" } else { "" };
    let (scenario, verdict) = (drill["scenario"].as_str().unwrap_or_default(), drill["verdict"].as_str().unwrap_or_default());
    // What is as it should be needs no emphasis.
    let verdict = if verdict == "caught" { verdict.to_owned() } else { format!("**{verdict}**") };
    format!("`{scenario}` {verdict}{twin}")
}
