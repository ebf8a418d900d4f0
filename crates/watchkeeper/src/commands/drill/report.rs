//! Says what became of drills.

use assure::drill::{Outcome, Scenario, Summary, Told, Verdict, Wording};
use serde_json::json;
use store::{Cell, Table};

use crate::cli::FormatName;
use crate::output::{complain, say, table};

/// What there is, with the drills of the record.
pub(super) fn list(scenarios: &[Scenario], of_record: &[(&str, &str)], format: FormatName) -> anyhow::Result<()> {
    let columns = ["drill", "wording", "atlas", "via", "steps", "of the case study", "what"].map(str::to_owned).to_vec();
    let row = |scenario: &Scenario| {
        let what = match &scenario.not_observable {
            Some(why) => format!("{} (not observable: {why})", scenario.title),
            None => scenario.title.clone(),
        };
        let wording = text(scenario.wording.as_str());
        let [via, steps, of_study] = match scenario.not_observable {
            // What is not played has no way in.
            Some(_) => [Cell::Null, Cell::Null, Cell::Null],
            None => [
                text(scenario.via.as_str()),
                Cell::Int(i64::try_from(scenario.attack.len()).unwrap_or(i64::MAX)),
                scenario.steps_played().map_or(Cell::Null, |(played, all)| {
                    let played: Vec<String> = played.iter().map(ToString::to_string).collect();
                    Cell::Text(format!("{} of {all}", played.join(", ")))
                }),
            ],
        };
        vec![text(&scenario.id), wording, text(scenario.subject.id()), via, steps, of_study, text(&what)]
    };
    let mut rows: Vec<Vec<Cell>> = scenarios.iter().map(row).collect();
    for (id, title) in of_record {
        let wording = text(Wording::First.as_str());
        rows.push(vec![text(id), wording, text("record"), text("verify"), Cell::Int(1), Cell::Null, text(title)]);
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
        "first: the first step at which it can be seen; detected: the step at which it was told; both of a case study as ATLAS numbers its procedure. \
         ms: from the event's acceptance to the detection's record.",
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
            "{} wording: {summary}; {} not observable, {} left out; later steps {later}; caught under a technique that the step plays: {}; \
             caught by a detection from medium on: {}",
            wording.as_str(),
            summary.not_observable,
            summary.left_out,
            summary.as_played,
            summary.from_medium
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
    match outcome.verdict {
        Verdict::Early => {
            let early = outcome.steps_before().flat_map(|step| &step.told);
            format!("told before anything was wrong: {}", titles(&early.cloned().collect::<Vec<_>>()))
        }
        _ => match (outcome.telling_steps().next(), outcome.first_observable) {
            (Some(step), Some(number)) if step.told.is_empty() => {
                format!("step {number}: {} was expected, and nothing was told", expected(step))
            }
            (Some(step), Some(number)) => {
                format!("step {number}: {} was expected, told was: {}", expected(step), titles(&step.told))
            }
            _ => "nothing was told".to_owned(),
        },
    }
}

fn titles(told: &[Told]) -> String {
    told.iter().map(|told| told.title.as_str()).collect::<Vec<_>>().join("; ")
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}
