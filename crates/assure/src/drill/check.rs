//! What a scenario must hold.

use event::TechniqueId;

use super::scenario::{Action, Scenario, Step, Subject, Via};

/// Whether a scenario holds what it promises. The text names the field and what is wrong with it.
pub(super) fn all(scenario: &Scenario) -> Result<(), String> {
    shape(scenario)?;
    every_step_once(scenario)?;
    concerns(scenario)
}

fn shape(scenario: &Scenario) -> Result<(), String> {
    if scenario.not_observable.is_some() {
        let is_empty = scenario.attack.is_empty() && scenario.twin.is_empty();
        let is_study = matches!(scenario.subject, Subject::CaseStudy(_));
        return if is_empty && is_study {
            Ok(())
        } else {
            Err("not_observable: only a case study without steps is that".to_owned())
        };
    }
    if scenario.attack.is_empty() || scenario.attack.len() != scenario.twin.len() {
        return Err("twin: it must have as many steps as the attack, and at least one".to_owned());
    }
    let Some(first) = scenario.first_observable() else { return Err("expect: no step has any".to_owned()) };
    if scenario
        .twin
        .iter()
        .any(|step| !step.expect.is_empty() || !step.rules.is_empty() || !step.atlas.is_empty() || step.because.is_some())
    {
        return Err("twin: nothing is expected of it, and it plays no step of a case study".to_owned());
    }
    if let Subject::Technique(technique) = scenario.subject
        && !scenario.attack[first].expect.contains(&technique)
    {
        return Err(format!("expect: the first step that expects something must expect {technique}"));
    }
    for step in &scenario.attack {
        if step.expect.is_empty() && !step.rules.is_empty() {
            return Err("rules: they are of a step that expects something".to_owned());
        }
        let is_study = matches!(scenario.subject, Subject::CaseStudy(_));
        if is_study && step.atlas.is_empty() != step.expect.is_empty() {
            return Err(
                "atlas, expect: a step that plays steps of the case study expects something, and no other does".to_owned()
            );
        }
        if matches!(step.action, Action::Mcp(_) | Action::McpTools(_)) && scenario.via != Via::Mcp {
            return Err("mcp, mcp_tools: they need via: mcp".to_owned());
        }
        if matches!(step.action, Action::Result { .. }) && scenario.via.is_gateway() && !step.expect.is_empty() {
            return Err("expect: through the gateway a tool's result is seen with the next call".to_owned());
        }
    }
    Ok(())
}

/// Every step of the procedure is either played or said to be unseen, once.
fn every_step_once(scenario: &Scenario) -> Result<(), String> {
    let Subject::CaseStudy(study) = scenario.subject else {
        let has_none = scenario.unseen.is_empty() && scenario.attack.iter().all(|step| step.atlas.is_empty());
        return if has_none { Ok(()) } else { Err("atlas, unseen: only case studies have a procedure".to_owned()) };
    };
    let played = scenario.attack.iter().flat_map(|step| &step.atlas);
    let mut told: Vec<usize> = played.chain(scenario.unseen.values().flatten()).map(|step| usize::from(*step)).collect();
    told.sort_unstable();
    let expected: Vec<usize> = (1..=study.steps.len()).collect();
    if told == expected {
        Ok(())
    } else {
        Err(format!("atlas, unseen: {} has the steps {expected:?}, here are {told:?}", study.id))
    }
}

/// What a step expects is evidence of what it plays, or the scenario says why it is: a detection of something else proves nothing.
fn concerns(scenario: &Scenario) -> Result<(), String> {
    for (at, step) in scenario.attack.iter().enumerate() {
        let played = played(scenario, step);
        let foreign = step.expect.iter().find(|expected| !played.iter().any(|played| is_evidence(**expected, played)));
        match (foreign, &step.because) {
            (Some(foreign), None) => {
                let played = if played.is_empty() { "no technique".to_owned() } else { played.join(", ") };
                return Err(format!(
                    "attack[{at}].expect: {foreign} is not what the step plays ({played}); expect that, or say in `because` why {foreign} is \
                     evidence of it"
                ));
            }
            (None, Some(_)) => {
                return Err(format!("attack[{at}].because: what is expected is what the step plays; nothing is left to say"));
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
    Ok(())
}

/// The techniques that a step plays. None of behaviour, which is no technique by itself.
pub(super) fn played<'a>(scenario: &'a Scenario, step: &Step) -> Vec<&'a str> {
    match &scenario.subject {
        Subject::Technique(technique) => vec![technique.as_str()],
        Subject::CaseStudy(study) => {
            let number = |step: &u8| study.steps.get(usize::from(*step).checked_sub(1)?);
            step.atlas.iter().filter_map(number).map(String::as_str).collect()
        }
        Subject::Behaviour => Vec::new(),
    }
}

/// Whether a technique is one that is played, or one below it. The one above would take its neighbours for evidence.
pub(super) fn is_evidence(expected: TechniqueId, played: &str) -> bool {
    expected.as_str().strip_prefix(played).is_some_and(|below| below.is_empty() || below.starts_with('.'))
}
