//! Says what became of drills.

use assure::drill::{Outcome, Scenario, Summary, Told, Verdict, Wording};
use serde_json::json;
use store::{Cell, Table};

use crate::cli::FormatName;
use crate::output::{complain, say, table};

/// What there is.
pub(super) fn list(scenarios: &[Scenario], format: FormatName) -> anyhow::Result<()> {
    let columns = ["drill", "wording", "atlas", "via", "steps", "what"].map(str::to_owned).to_vec();
    let row = |scenario: &Scenario| {
        let what = match &scenario.not_observable {
            Some(why) => format!("{} (not observable: {why})", scenario.title),
            None => scenario.title.clone(),
        };
        let steps = i64::try_from(scenario.attack.len()).unwrap_or(i64::MAX);
        let wording = text(scenario.wording.as_str());
        vec![text(&scenario.id), wording, text(scenario.subject.id()), text(scenario.via.as_str()), Cell::Int(steps), text(&what)]
    };
    let mut rows: Vec<Vec<Cell>> = scenarios.iter().map(row).collect();
    for (id, title) in assure::drill::RECORD_DRILLS {
        rows.push(vec![text(id), text(Wording::First.as_str()), text("record"), text("verify"), Cell::Int(1), text(title)]);
    }
    table(&Table { columns, rows, truncated: false }, format)
}

/// What became of them.
pub(super) fn tell(outcomes: &[Outcome], format: FormatName) -> anyhow::Result<()> {
    let summaries: Vec<(Wording, Summary)> =
        Wording::ALL.into_iter().map(|wording| (wording, Summary::of(outcomes, wording))).collect();
    let is_told = |(wording, _): &&(Wording, Summary)| outcomes.iter().any(|outcome| outcome.wording == *wording);
    if format == FormatName::Json {
        let passed = outcomes.iter().any(Outcome::is_played) && outcomes.iter().all(Outcome::is_right);
        let mut whole = json!({ "passed": passed, "summary": Summary::of(outcomes, Wording::First), "drills": outcomes });
        for (wording, summary) in summaries.iter().filter(is_told) {
            whole["wordings"][wording.as_str()] = serde_json::to_value(summary)?;
        }
        return Ok(say(&serde_json::to_string_pretty(&whole)?)?);
    }
    let columns =
        ["drill", "atlas", "first", "detected", "verdict", "rule", "technique", "ms", "twin"].map(str::to_owned).to_vec();
    let rows = outcomes.iter().map(row).collect();
    table(&Table { columns, rows, truncated: false }, format)?;
    if format != FormatName::Table {
        return Ok(());
    }
    say(
        "first: the first step at which it can be seen; detected: the step at which it was told; ms: from the event's acceptance to the detection's record.",
    )?;
    for outcome in outcomes.iter().filter(|outcome| outcome.why.is_some()) {
        say(&format!("{} ({}): {}", outcome.scenario, outcome.subject, outcome.why.as_deref().unwrap_or_default()))?;
    }
    for outcome in outcomes.iter().filter(|outcome| !outcome.is_right()) {
        complain(&format!("{} ({}): {}", outcome.scenario, outcome.subject, problem(outcome)));
    }
    for (wording, summary) in summaries.iter().filter(is_told) {
        let later = summary.later_steps;
        say(&format!(
            "{} wording: {summary}; {} not observable, {} left out; later steps {later}",
            wording.as_str(),
            summary.not_observable,
            summary.left_out
        ))?;
    }
    Ok(())
}

fn row(outcome: &Outcome) -> Vec<Cell> {
    let step = |at: Option<usize>| at.map_or(Cell::Null, |at| Cell::Int(i64::try_from(at).unwrap_or(i64::MAX)));
    let verdict = match outcome.verdict {
        Verdict::Caught => "caught",
        Verdict::Late => "late",
        Verdict::Missed => "missed",
        Verdict::Early => "early",
        Verdict::NotObservable => "not observable",
        Verdict::LeftOut => "left out",
    };
    let evidence = outcome.evidence.as_ref();
    let techniques = evidence.map(|told| told.techniques.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    vec![
        text(&outcome.scenario),
        text(&outcome.subject),
        step(outcome.first_observable),
        step(outcome.detected_at),
        text(verdict),
        evidence.map_or(Cell::Null, |told| text(&told.title)),
        techniques.map_or(Cell::Null, Cell::Text),
        evidence.and_then(|told| told.latency_ms).map_or(Cell::Null, |ms| Cell::Real((ms * 10.0).round() / 10.0)),
        text(&titles(&outcome.twin)),
    ]
}

fn problem(outcome: &Outcome) -> String {
    if !outcome.twin.is_empty() {
        return format!("the innocent twin set off: {}", titles(&outcome.twin));
    }
    let expected =
        |step: &assure::drill::StepOutcome| step.expect.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
    let first = outcome.first_observable.and_then(|step| outcome.steps.get(step - 1));
    match outcome.verdict {
        Verdict::Early => {
            let early = outcome.steps.iter().take(outcome.first_observable.unwrap_or(1) - 1).flat_map(|step| &step.told);
            format!("told before anything was wrong: {}", titles(&early.cloned().collect::<Vec<_>>()))
        }
        _ => first.map_or_else(
            || "nothing was told".to_owned(),
            |step| format!("step {}: {} was expected, told was: {}", step.step, expected(step), titles(&step.told)),
        ),
    }
}

fn titles(told: &[Told]) -> String {
    told.iter().map(|told| told.title.as_str()).collect::<Vec<_>>().join("; ")
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}
