//! Reads scenarios, and holds them to what they promise.

use std::collections::{BTreeMap, BTreeSet};

use event::TechniqueId;
use serde::Deserialize;
use serde_json::Value;

use super::scenario::{Action, Chat, Hook, McpCall, Planned, Prompts, Request, Scenario, Step, Subject, Unseen, Via};

macro_rules! drills {
    ($($name:literal),* $(,)?) => {
        /// Files of scenarios: name and text.
        const FILES: &[(&str, &str)] =
            &[$((concat!("content/drills/", $name, ".yaml"), include_str!(concat!("../../../../content/drills/", $name, ".yaml")))),*];
    };
}

drills![
    "techniques",
    "behaviour",
    "case-studies-assistants",
    "case-studies-agents",
    "case-studies-models",
    "case-studies-unseen"
];

/// What is wrong with scenarios.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DrillError {
    /// A file is not what it should be.
    #[error("{file}: {what}")]
    File {
        /// Which file.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// A scenario does not hold what it promises.
    #[error("scenario {id}: {what}")]
    Scenario {
        /// Which one.
        id: String,
        /// What is wrong.
        what: String,
    },
    /// A technique or a case study has no scenario, or more than one.
    #[error("{id} has {count} scenarios; it must have exactly one")]
    Account {
        /// Its id in ATLAS.
        id: String,
        /// How many it has.
        count: usize,
    },
}

/// Every scenario that comes with the program: techniques first, then behaviour, then case studies in the order of their ids.
///
/// # Errors
/// Never, with the files that a test has held to be right.
pub fn all() -> Result<Vec<Scenario>, DrillError> {
    let mut scenarios = Vec::new();
    for (file, text) in FILES {
        scenarios.extend(parse(file, text)?);
    }
    accounted(&scenarios)?;
    scenarios.sort_by_key(|scenario| match &scenario.subject {
        Subject::Technique(_) => (0, String::new()),
        Subject::Behaviour => (1, String::new()),
        Subject::CaseStudy(study) => (2, study.id.clone()),
    });
    Ok(scenarios)
}

/// Reads the scenarios of a file.
///
/// # Errors
/// When one of them does not hold what it promises: each has a twin, names what exists, accounts for every step of its case study once,
/// and expects something, unless it says why it cannot.
pub fn parse(file: &str, text: &str) -> Result<Vec<Scenario>, DrillError> {
    let wrong = |error: yaml_serde::Error| DrillError::File { file: file.to_owned(), what: error.to_string() };
    let read: FileForm = yaml_serde::from_str(text).map_err(wrong)?;
    read.scenarios.into_iter().map(ScenarioForm::read).collect()
}

fn accounted(scenarios: &[Scenario]) -> Result<(), DrillError> {
    let mut ids = BTreeSet::new();
    if let Some(twice) = scenarios.iter().find(|scenario| !ids.insert(&scenario.id)) {
        return Err(DrillError::Scenario { id: twice.id.clone(), what: "there are two of this name".to_owned() });
    }
    let atlas = event::taxonomy::atlas();
    for id in atlas.telemetry_logging.iter().chain(atlas.case_studies.iter().map(|study| &study.id)) {
        let count = scenarios.iter().filter(|scenario| scenario.subject.id() == id).count();
        if count != 1 {
            return Err(DrillError::Account { id: id.clone(), count });
        }
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    scenarios: Vec<ScenarioForm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenarioForm {
    id: String,
    technique: Option<TechniqueId>,
    case_study: Option<String>,
    title: Option<String>,
    #[serde(default)]
    via: Via,
    not_observable: Option<String>,
    #[serde(default)]
    unseen: BTreeMap<Unseen, Vec<u8>>,
    #[serde(default)]
    attack: Vec<StepForm>,
    #[serde(default)]
    twin: Vec<StepForm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepForm {
    #[serde(default)]
    atlas: Vec<u8>,
    #[serde(default)]
    expect: Vec<TechniqueId>,
    session: Option<String>,
    chat: Option<Chat>,
    result: Option<ResultForm>,
    retrieve: Option<RetrieveForm>,
    mcp: Option<McpCall>,
    mcp_tools: Option<Vec<Value>>,
    hook: Option<Hook>,
    egress: Option<Request>,
    prompts: Option<Prompts>,
    events: Option<Vec<Planned>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResultForm {
    tool: String,
    content: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetrieveForm {
    query: String,
    documents: Vec<String>,
}

impl ScenarioForm {
    fn read(self) -> Result<Scenario, DrillError> {
        let id = self.id.clone();
        self.checked().map_err(|what| DrillError::Scenario { id, what })
    }

    fn checked(self) -> Result<Scenario, String> {
        if self.id.is_empty() || !self.id.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')) {
            return Err("id: it is made of a-z, 0-9 and -".to_owned());
        }
        let subject = match (self.technique, self.case_study) {
            (Some(technique), None) => Subject::Technique(technique),
            (None, Some(id)) => {
                let study = event::taxonomy::atlas().case_studies.iter().find(|study| study.id == id);
                Subject::CaseStudy(study.ok_or_else(|| format!("case_study: ATLAS has no {id}"))?)
            }
            (None, None) => Subject::Behaviour,
            (Some(_), Some(_)) => return Err("technique, case_study: name one of them".to_owned()),
        };
        let title = match (self.title, &subject) {
            (Some(title), _) => title,
            (None, Subject::CaseStudy(study)) => study.name.clone(),
            (None, _) => return Err("title: missing".to_owned()),
        };
        let steps = |forms: Vec<StepForm>, of: &str| {
            let read = forms.into_iter().enumerate();
            read.map(|(at, form)| form.read().map_err(|what| format!("{of}[{at}]: {what}"))).collect::<Result<Vec<_>, _>>()
        };
        let scenario = Scenario {
            id: self.id,
            subject,
            title,
            via: self.via,
            not_observable: self.not_observable,
            unseen: self.unseen,
            attack: steps(self.attack, "attack")?,
            twin: steps(self.twin, "twin")?,
        };
        shape(&scenario)?;
        every_step_once(&scenario)?;
        Ok(scenario)
    }
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
    if scenario.twin.iter().any(|step| !step.expect.is_empty() || !step.atlas.is_empty()) {
        return Err("twin: nothing is expected of it, and it plays no step of a case study".to_owned());
    }
    if let Subject::Technique(technique) = scenario.subject
        && !scenario.attack[first].expect.contains(&technique)
    {
        return Err(format!("expect: the first step that expects something must expect {technique}"));
    }
    for step in &scenario.attack {
        let is_study = matches!(scenario.subject, Subject::CaseStudy(_));
        if is_study && step.atlas.is_empty() != step.expect.is_empty() {
            return Err(
                "atlas, expect: a step that plays steps of the case study expects something, and no other does".to_owned()
            );
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

impl StepForm {
    fn read(self) -> Result<Step, String> {
        let actions = [
            self.chat.map(Action::Chat),
            self.result.map(|result| Action::Result { tool: result.tool, content: result.content }),
            self.retrieve.map(|retrieve| Action::Retrieve { query: retrieve.query, documents: retrieve.documents }),
            self.mcp.map(Action::Mcp),
            self.mcp_tools.map(Action::McpTools),
            self.hook.map(Action::Hook),
            self.egress.map(Action::Egress),
            self.prompts.map(Action::Prompts),
            self.events.map(Action::Events),
        ];
        let mut actions = actions.into_iter().flatten();
        match (actions.next(), actions.next()) {
            (Some(action), None) => Ok(Step { atlas: self.atlas, expect: self.expect, session: self.session, action }),
            _ => Err("name one of chat, result, retrieve, mcp, mcp_tools, hook, egress, prompts, events".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_technique_and_every_case_study_is_accounted_for_and_each_attack_has_a_twin() {
        let scenarios = all().unwrap_or_else(|error| panic!("{error}"));
        let count = |is: fn(&Scenario) -> bool| scenarios.iter().filter(|scenario| is(scenario)).count();
        assert_eq!(count(|scenario| matches!(scenario.subject, Subject::Technique(_))), 17);
        assert_eq!(count(|scenario| matches!(scenario.subject, Subject::CaseStudy(_))), 57);
        assert!(count(|scenario| matches!(scenario.subject, Subject::Behaviour)) >= 5);
    }

    #[test]
    fn every_file_of_scenarios_is_used() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../content/drills");
        let mut files: Vec<String> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| format!("content/drills/{}", entry.unwrap().file_name().to_string_lossy()))
            .collect();
        files.sort();
        let mut used: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
        used.sort_unstable();
        assert_eq!(files, used);
    }

    #[test]
    fn what_a_scenario_does_not_hold_is_said() {
        let twin = "twin: [{chat: {user: hello}}]";
        for (text, says) in [
            ("{id: A, title: t}", "id:"),
            ("{id: a, title: t}", "twin:"),
            ("{id: a, title: t, attack: [{chat: {user: x}}], TWIN}", "expect:"),
            ("{id: a, title: t, attack: [{chat: {user: x}, hook: {}, expect: [AML.T0051]}], TWIN}", "attack[0]: name one of"),
            (
                "{id: a, title: t, technique: AML.T0053, attack: [{chat: {user: x}, expect: [AML.T0051]}], TWIN}",
                "must expect AML.T0053",
            ),
            ("{id: a, case_study: AML.CS9999, title: t}", "ATLAS has no"),
            (
                "{id: a, case_study: AML.CS0042, attack: [{chat: {user: x}, atlas: [2], expect: [AML.T0051]}], TWIN}",
                "here are [2]",
            ),
            ("{id: a, title: t, not_observable: why}", "not_observable:"),
        ] {
            let text = format!("scenarios: [{}]", text.replace("TWIN", twin));
            let error = parse("f", &text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        assert!(parse("f", "scenarios: [{id: a, expects: 1}]").unwrap_err().to_string().contains("expects"));
    }
}
