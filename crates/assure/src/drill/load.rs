//! Reads scenarios, and holds them to what they promise.

use std::collections::{BTreeMap, BTreeSet};

use event::TechniqueId;
use serde::Deserialize;
use serde_json::Value;

use super::check;
use super::scenario::{Action, Chat, Hook, McpCall, Planned, Prompts, Request, Scenario, Step, Subject, Unseen, Via, Wording};

macro_rules! drills {
    ($($wording:ident: [$($name:literal),* $(,)?]),* $(,)?) => {
        /// Files of drills: whose wording they have, name and text. Scenarios come before their other wordings.
        const FILES: &[(Wording, &str, &str)] = &[$($((
            Wording::$wording,
            concat!("content/drills/", $name, ".yaml"),
            include_str!(concat!("../../../../content/drills/", $name, ".yaml")),
        ),)*)*];
    };
}

drills! {
    First: [
        "techniques",
        "behaviour",
        "case-studies-assistants",
        "case-studies-agents",
        "case-studies-models",
        "case-studies-unseen",
    ],
    HeldOut: ["held-out/techniques", "held-out/behaviour", "held-out/assistants", "held-out/agents", "held-out/models"],
    Reserve: ["reserve/all"],
}

/// Held-out wordings that each scenario has at least.
const HELD_OUT_MIN: usize = 2;

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

/// Every scenario that comes with the program, in every wording: the first wordings before all others, and of each techniques first, then
/// behaviour, then case studies in the order of their ids.
///
/// # Errors
/// Never, with the files that a test has held to be right.
pub fn all() -> Result<Vec<Scenario>, DrillError> {
    let mut scenarios = Vec::new();
    for (wording, file, text) in FILES {
        read_into(&mut scenarios, *wording, file, text)?;
    }
    accounted(&scenarios)?;
    scenarios.sort_by_key(|scenario| {
        let rank = match &scenario.subject {
            Subject::Technique(_) => (0, String::new()),
            Subject::Behaviour => (1, String::new()),
            Subject::CaseStudy(study) => (2, study.id.clone()),
        };
        (scenario.wording, rank)
    });
    Ok(scenarios)
}

/// Reads the scenarios of a file, and other wordings of them that stand beside.
///
/// # Errors
/// When one of them does not hold what it promises: each has a twin, names what exists, accounts for every step of its case study once,
/// and expects something that concerns the step, unless it says why it cannot.
pub fn parse(file: &str, text: &str) -> Result<Vec<Scenario>, DrillError> {
    let mut scenarios = Vec::new();
    read_into(&mut scenarios, Wording::HeldOut, file, text)?;
    Ok(scenarios)
}

/// Reads a file, whose variants are of scenarios that were read before or stand in it.
fn read_into(scenarios: &mut Vec<Scenario>, wording: Wording, file: &str, text: &str) -> Result<(), DrillError> {
    let wrong = |error: yaml_serde::Error| DrillError::File { file: file.to_owned(), what: error.to_string() };
    let read: FileForm = yaml_serde::from_str(text).map_err(wrong)?;
    for form in read.scenarios {
        scenarios.push(form.read()?);
    }
    for form in read.variants {
        let variant = form.read(wording, scenarios)?;
        scenarios.push(variant);
    }
    Ok(())
}

fn accounted(scenarios: &[Scenario]) -> Result<(), DrillError> {
    let wrong = |scenario: &Scenario, what: &str| DrillError::Scenario { id: scenario.id.clone(), what: what.to_owned() };
    let mut ids = BTreeSet::new();
    if let Some(twice) = scenarios.iter().find(|scenario| !ids.insert(&scenario.id)) {
        return Err(wrong(twice, "there are two of this name"));
    }
    let first = || scenarios.iter().filter(|scenario| scenario.wording == Wording::First);
    for scenario in first().filter(|scenario| scenario.not_observable.is_none()) {
        let count = |wording| scenarios.iter().filter(|other| other.wording == wording && other.of == scenario.id).count();
        if count(Wording::HeldOut) < HELD_OUT_MIN || count(Wording::Reserve) == 0 {
            return Err(wrong(scenario, "it must have two held-out wordings and one in reserve"));
        }
    }
    let atlas = event::taxonomy::atlas();
    for id in atlas.telemetry_logging.iter().chain(atlas.case_studies.iter().map(|study| &study.id)) {
        let count = first().filter(|scenario| scenario.subject.id() == id).count();
        if count != 1 {
            return Err(DrillError::Account { id: id.clone(), count });
        }
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    #[serde(default)]
    scenarios: Vec<ScenarioForm>,
    #[serde(default)]
    variants: Vec<VariantForm>,
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

/// Another wording of a scenario. What its steps play, and what must be told of them, is that of the scenario's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VariantForm {
    of: String,
    name: String,
    via: Option<Via>,
    attack: Vec<StepForm>,
    twin: Vec<StepForm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepForm {
    #[serde(default)]
    atlas: Vec<u8>,
    #[serde(default)]
    expect: Vec<TechniqueId>,
    #[serde(default)]
    rules: Vec<String>,
    because: Option<String>,
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
        if !is_name(&self.id) {
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
        let scenario = Scenario {
            of: self.id.clone(),
            id: self.id,
            wording: Wording::First,
            subject,
            title,
            via: self.via,
            not_observable: self.not_observable,
            unseen: self.unseen,
            attack: steps(self.attack, "attack")?,
            twin: steps(self.twin, "twin")?,
        };
        check::all(&scenario)?;
        Ok(scenario)
    }
}

impl VariantForm {
    fn read(self, wording: Wording, scenarios: &[Scenario]) -> Result<Scenario, DrillError> {
        let id = format!("{}.{}", self.of, self.name);
        self.checked(&id, wording, scenarios).map_err(|what| DrillError::Scenario { id, what })
    }

    fn checked(self, id: &str, wording: Wording, scenarios: &[Scenario]) -> Result<Scenario, String> {
        // Words of the attack's and the twin's own names in the record.
        if !is_name(&self.name) || matches!(self.name.as_str(), "attack" | "twin") {
            return Err("name: it is made of a-z, 0-9 and -, and is neither attack nor twin".to_owned());
        }
        let is_of = |scenario: &&Scenario| scenario.wording == Wording::First && scenario.id == self.of;
        let first = scenarios.iter().find(is_of).ok_or_else(|| format!("of: there is no scenario {} before it", self.of))?;
        if self
            .attack
            .iter()
            .chain(&self.twin)
            .any(|form| !form.expect.is_empty() || !form.rules.is_empty() || !form.atlas.is_empty() || form.because.is_some())
        {
            return Err("atlas, expect, rules, because: those of the scenario hold".to_owned());
        }
        if self.attack.len() != first.attack.len() {
            return Err(format!("attack: the scenario has {} steps, here are {}", first.attack.len(), self.attack.len()));
        }
        let mut scenario = Scenario {
            of: self.of,
            id: id.to_owned(),
            wording,
            via: self.via.unwrap_or(first.via),
            attack: steps(self.attack, "attack")?,
            twin: steps(self.twin, "twin")?,
            ..first.clone()
        };
        let sides = [(&mut scenario.attack, &first.attack), (&mut scenario.twin, &first.twin)];
        for (step, like) in sides.into_iter().flat_map(|(steps, like)| steps.iter_mut().zip(like)) {
            step.atlas.clone_from(&like.atlas);
            step.expect.clone_from(&like.expect);
            step.rules.clone_from(&like.rules);
            step.because.clone_from(&like.because);
            if step.session.is_none() {
                step.session.clone_from(&like.session);
            }
        }
        check::all(&scenario)?;
        Ok(scenario)
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn steps(forms: Vec<StepForm>, of: &str) -> Result<Vec<Step>, String> {
    let read = forms.into_iter().enumerate();
    read.map(|(at, form)| form.read().map_err(|what| format!("{of}[{at}]: {what}"))).collect()
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
            (Some(action), None) => Ok(Step {
                atlas: self.atlas,
                expect: self.expect,
                rules: self.rules,
                because: self.because,
                session: self.session,
                action,
            }),
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
        let first = || scenarios.iter().filter(|scenario| scenario.wording == Wording::First);
        let count = |is: fn(&Scenario) -> bool| first().filter(|scenario| is(scenario)).count();
        assert_eq!(count(|scenario| matches!(scenario.subject, Subject::Technique(_))), 17);
        assert_eq!(count(|scenario| matches!(scenario.subject, Subject::CaseStudy(_))), 57);
        assert!(count(|scenario| matches!(scenario.subject, Subject::Behaviour)) >= 5);
    }

    #[test]
    fn every_file_of_scenarios_is_used() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut files = Vec::new();
        for dir in ["content/drills", "content/drills/held-out", "content/drills/reserve"] {
            let entries = std::fs::read_dir(root.join(dir)).unwrap().map(Result::unwrap);
            let entries = entries.filter(|entry| entry.file_type().unwrap().is_file());
            files.extend(entries.map(|entry| format!("{dir}/{}", entry.file_name().to_string_lossy())));
        }
        files.sort();
        let mut used: Vec<&str> = FILES.iter().map(|(_, name, _)| *name).collect();
        used.sort_unstable();
        assert_eq!(files, used);
    }

    /// The keys that the loader takes for a mapping: what it names when it meets another one.
    fn keys_of<T: serde::de::DeserializeOwned>() -> BTreeSet<String> {
        let error = yaml_serde::from_str::<T>("{'?': 1}").err().map(|error| error.to_string()).unwrap_or_default();
        let (_, expected) = error.split_once("expected ").unwrap_or_else(|| panic!("{error}"));
        expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_form_of_the_reference_page_is_what_is_read() {
        use super::super::form::{self, Form};
        use super::super::scenario::ToolUse;
        let check = |form: &Form, keys: BTreeSet<String>| {
            let told: BTreeSet<String> = form.keys.iter().map(|(key, _)| key.trim_end_matches('*').to_owned()).collect();
            assert_eq!(told, keys, "{}", form.what);
        };
        check(&form::FILE, keys_of::<FileForm>());
        check(&form::SCENARIO, keys_of::<ScenarioForm>());
        check(&form::VARIANT, keys_of::<VariantForm>());
        check(&form::STEP, keys_of::<StepForm>());
        check(&form::CHAT, keys_of::<Chat>());
        check(&form::TOOL_USE, keys_of::<ToolUse>());
        check(&form::RESULT, keys_of::<ResultForm>());
        check(&form::RETRIEVE, keys_of::<RetrieveForm>());
        check(&form::MCP, keys_of::<McpCall>());
        check(&form::EGRESS, keys_of::<Request>());
        check(&form::PROMPTS, keys_of::<Prompts>());
        check(&form::EVENTS, keys_of::<Planned>());
    }

    #[test]
    fn what_a_scenario_does_not_hold_is_said() {
        let twin = "twin: [{chat: {user: hello}}]";
        let played = "{id: a, title: t, technique: AML.T0051, attack: [{chat: {user: x}, expect: [AML.T0051]}], TWIN}";
        for (text, says) in [
            ("{id: A, title: t}", "id:"),
            ("{id: a, title: t, attack: [{mcp_tools: [], expect: [AML.T0051], because: w}], TWIN}", "they need via: mcp"),
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
            // What is expected concerns what is played, or it is said why it does.
            ("{id: a, title: t, attack: [{chat: {user: x}, expect: [AML.T0051]}], TWIN}", "because"),
            (
                "{id: a, title: t, technique: AML.T0051, attack: [{chat: {user: x}, expect: [AML.T0051, AML.T0040]}], TWIN}",
                "AML.T0040 is not what the step plays (AML.T0051)",
            ),
            (
                "{id: a, title: t, technique: AML.T0051.000, attack: [{chat: {user: x}, expect: [AML.T0051.000, AML.T0051]}], TWIN}",
                "AML.T0051 is not what the step plays",
            ),
            (
                "{id: a, title: t, technique: AML.T0051, attack: [{chat: {user: x}, expect: [AML.T0051.000, AML.T0051], because: y}], TWIN}",
                "nothing is left to say",
            ),
            ("PLAYED], variants: [{of: b, name: x, attack: [{chat: {}}], TWIN}", "there is no scenario b"),
            ("PLAYED], variants: [{of: a, name: twin, attack: [{chat: {}}], TWIN}", "name:"),
            ("PLAYED], variants: [{of: a, name: x, attack: [{chat: {}, expect: [AML.T0040]}], TWIN}", "those of the scenario"),
            ("PLAYED], variants: [{of: a, name: x, attack: [{chat: {}}, {chat: {}}], TWIN}", "has 1 steps, here are 2"),
        ] {
            let text = format!("{{scenarios: [{}]}}", text.replace("PLAYED", played).replace("TWIN", twin));
            let error = parse("f", &text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        assert!(parse("f", "scenarios: [{id: a, expects: 1}]").unwrap_err().to_string().contains("expects"));
    }

    #[test]
    fn another_wording_must_be_told_as_the_first() {
        let text = "scenarios: [{id: a, title: t, technique: AML.T0051, via: gateway, attack: [{chat: {user: x}, session: s, expect: [AML.T0051]}], \
                    twin: [{chat: {}}]}]\nvariants: [{of: a, name: b, via: events, attack: [{chat: {user: y}}], twin: [{chat: {}}]}]";
        let read = parse("f", text).unwrap();
        let [first, other] = read.as_slice() else { panic!("{} scenarios", read.len()) };
        assert_eq!((first.wording, first.of.as_str(), first.via), (Wording::First, "a", Via::Gateway));
        assert_eq!((other.wording, other.id.as_str(), other.of.as_str(), other.via), (Wording::HeldOut, "a.b", "a", Via::Events));
        assert_eq!((&other.attack[0].expect, &other.attack[0].session), (&first.attack[0].expect, &first.attack[0].session));
        assert_eq!(other.title, first.title);
    }
}
