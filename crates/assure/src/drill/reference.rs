//! The reference page of drills, made from the scenarios.

use std::fmt::Write as _;

use super::scenario::{Scenario, Subject, Unseen, Wording};

/// Begins what was measured on the page.
const FIGURES_BEGIN: &str = "<!-- Measured. To measure anew: `cargo xtask drill --figures`. -->\n";

/// Ends it.
const FIGURES_END: &str = "<!-- End of what was measured. -->\n";

/// What was measured, of a page that has it.
#[must_use]
pub fn figures(page: &str) -> Option<&str> {
    let (_, rest) = page.split_once(FIGURES_BEGIN)?;
    Some(rest.split_once(FIGURES_END)?.0)
}

/// `docs/reference/drill.md`, with figures that were measured.
#[must_use]
pub fn reference(scenarios: &[Scenario], figures: &str) -> String {
    let mut page = "# Drills\n\n<!-- Made from `content/drills`; a test keeps it true. To write it: `cargo xtask docs`. -->\n\n\
        What `watchkeeper drill` plays, and what it cannot play. How to run it: [guide](../guides/drill.md).\n\n"
        .to_owned();
    let first: Vec<&Scenario> = scenarios.iter().filter(|scenario| scenario.wording == Wording::First).collect();
    techniques(&mut page, &first);
    behaviour(&mut page, &first);
    observable(&mut page, &first);
    page.push_str("\n## Figures\n\n");
    for part in [FIGURES_BEGIN, figures, FIGURES_END] {
        page.push_str(part);
    }
    not_observable(&mut page, &first);
    classes(&mut page);
    super::form::page(&mut page);
    page
}

fn techniques(page: &mut String, scenarios: &[&Scenario]) {
    page.push_str("## Techniques\n\nThose that mitigation AML.M0024 (AI Telemetry Logging) of MITRE ATLAS names.\n\n");
    page.push_str("| technique | scenario | what happens | way in |\n| --- | --- | --- | --- |\n");
    for scenario in scenarios {
        if let Subject::Technique(technique) = scenario.subject {
            let name = &technique.technique().name;
            let _ = writeln!(page, "| {technique} {name} | `{}` | {} | {} |", scenario.id, scenario.title, scenario.via.as_str());
        }
    }
}

fn behaviour(page: &mut String, scenarios: &[&Scenario]) {
    page.push_str("\n## Behaviour and the record\n\n| scenario | what happens | told as |\n| --- | --- | --- |\n");
    for scenario in scenarios.iter().filter(|scenario| matches!(scenario.subject, Subject::Behaviour)) {
        let _ = writeln!(page, "| `{}` | {} | {} |", scenario.id, scenario.title, expected(scenario));
    }
    for (id, title) in super::RECORD_DRILLS {
        let _ = writeln!(page, "| `{id}` | {title} | `verify` names the file |");
    }
}

fn observable(page: &mut String, scenarios: &[&Scenario]) {
    page.push_str(
        "\n## Case studies that telemetry can see\n\nSteps have the numbers of the case study's procedure in ATLAS, here and in what `watchkeeper drill` prints. *First* is the first step of the procedure that shows, *told as* what must be told of it: its own technique, \
         one below it, or, where the scenario says why, another that is evidence of it. *Other steps* leave nothing that tells them from ordinary use, or happen elsewhere ([classes](#where-the-other-steps-happen)).\n\n\
         | case study | scenario | steps played | first | told as | other steps |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for scenario in scenarios {
        if let (Subject::CaseStudy(study), Some(first)) = (&scenario.subject, scenario.first_observable()) {
            let played: Vec<String> = scenario.attack.iter().flat_map(|step| &step.atlas).map(ToString::to_string).collect();
            let first = scenario.step_number(first);
            let technique = first.checked_sub(1).and_then(|place| study.steps.get(place));
            let _ = writeln!(
                page,
                "| {} {} | `{}` | {} of {} | {} ({}) | {} | {} |",
                study.id,
                study.name,
                scenario.id,
                played.join(", "),
                study.steps.len(),
                first,
                technique.map(String::as_str).unwrap_or_default(),
                expected(scenario),
                unseen(scenario),
            );
        }
    }
}

fn not_observable(page: &mut String, scenarios: &[&Scenario]) {
    page.push_str("\n## Case studies that telemetry cannot see\n\n| case study | why | steps |\n| --- | --- | --- |\n");
    for scenario in scenarios {
        if let (Subject::CaseStudy(study), Some(why)) = (&scenario.subject, &scenario.not_observable) {
            let _ = writeln!(page, "| {} {} | {why} | {} |", study.id, study.name, unseen(scenario));
        }
    }
}

fn classes(page: &mut String) {
    page.push_str("\n## Where the other steps happen\n\n| class | where |\n| --- | --- |\n");
    for class in Unseen::ALL {
        let _ = writeln!(page, "| {} | {} |", class.as_str().replace('_', " "), class.about());
    }
}

/// What must be told of the first step that shows.
fn expected(scenario: &Scenario) -> String {
    let first = scenario.first_observable().map(|at| &scenario.attack[at].expect);
    let ids: Vec<String> = first.into_iter().flatten().map(ToString::to_string).collect();
    ids.join(" or ")
}

fn unseen(scenario: &Scenario) -> String {
    let class = |(class, steps): (&Unseen, &Vec<u8>)| {
        let steps: Vec<String> = steps.iter().map(ToString::to_string).collect();
        format!("{} {}", class.as_str().replace('_', " "), steps.join(", "))
    };
    scenario.unseen.iter().map(class).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_page_is_true() {
        let scenarios = super::super::all().unwrap();
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/drill.md");
        let there = std::fs::read_to_string(&path).unwrap();
        let measured = figures(&there).unwrap_or_default();
        let page = reference(&scenarios, measured);
        if std::env::var_os("WATCHKEEPER_WRITE_DOCS").is_some() {
            std::fs::write(&path, &page).unwrap();
        } else {
            assert!(there == page, "docs/reference/drill.md is stale; run `cargo xtask docs`");
        }
        let is_missing =
            |scenario: &&Scenario| scenario.not_observable.is_none() && !measured.contains(&format!("`{}`", scenario.id));
        let missing: Vec<&str> = scenarios.iter().filter(is_missing).map(|scenario| scenario.id.as_str()).collect();
        assert!(missing.is_empty(), "without figures: {missing:?}; run `cargo xtask drill --figures`");
    }
}
