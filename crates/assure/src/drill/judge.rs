//! Whether what was told of a scenario is what must be told of it.

use event::TechniqueId;
use serde::Serialize;

use super::check;
use super::scenario::{Scenario, Step, Wording};

/// A detection that a step set off.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Told {
    /// Its id.
    pub detection: String,
    /// The rule.
    pub rule: String,
    /// The rule's title.
    pub title: String,
    /// Every technique that the rule is evidence of.
    pub techniques: Vec<TechniqueId>,
    /// How bad it is, in Sigma's words.
    pub severity: String,
    /// How far an injection got.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grade: Option<String>,
    /// Milliseconds from when the last event that it rests on was accepted to when it was recorded, by the record's own times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
}

/// The attack or its twin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The attack.
    Attack,
    /// Its innocent twin.
    Twin,
}

impl Side {
    /// The name that what is sent has in it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attack => "attack",
            Self::Twin => "twin",
        }
    }
}

/// A step that was played, and what it set off.
#[derive(Debug, Clone, Serialize)]
pub struct StepOutcome {
    /// Its place among those that are played, from 1.
    pub step: usize,
    /// The steps of the case study's procedure that it plays, as ATLAS numbers them.
    pub atlas: Vec<u8>,
    /// What must be told of it.
    pub expect: Vec<TechniqueId>,
    /// Ids of the rules that must tell it, where there are any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// Whether it was.
    pub is_seen: bool,
    /// What was told.
    pub told: Vec<Told>,
}

impl StepOutcome {
    /// What a step set off.
    #[must_use]
    pub fn of(at: usize, step: &Step, told: Vec<Told>) -> Self {
        let (atlas, expect, rules) = (step.atlas.clone(), step.expect.clone(), step.rules.clone());
        let mut outcome = Self { step: at + 1, atlas, expect, rules, is_seen: false, told };
        outcome.is_seen = outcome.evidence().is_some();
        outcome
    }

    /// The first detection that is evidence of what was expected.
    #[must_use]
    pub fn evidence(&self) -> Option<&Told> {
        let counts = |told: &&Told| self.rules.is_empty() || self.rules.contains(&told.rule);
        let is_of = |told: &&Told| self.expect.iter().any(|expected| shows(told, *expected));
        self.told.iter().filter(counts).find(is_of)
    }
}

/// What became of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was told at the first step at which it can be seen, and nothing before.
    Caught,
    /// It was told at a later step only.
    Late,
    /// It was never told.
    Missed,
    /// Something was told of a step before anything was wrong.
    Early,
    /// It cannot be seen, and the scenario says why.
    NotObservable,
    /// It was not played here.
    LeftOut,
}

/// A scenario that was played.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The scenario, or another wording of it.
    pub scenario: String,
    /// Which wording of it.
    pub wording: Wording,
    /// Its id in ATLAS; `behaviour` or `record` where it has none.
    pub subject: String,
    /// What happens in it.
    pub title: String,
    /// The way into the record.
    pub via: String,
    /// What became of it.
    pub verdict: Verdict,
    /// Why it was not played, or cannot be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The first step at which it can be seen: of a case study in the numbering of its procedure, else its place, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_observable: Option<usize>,
    /// The first step at which what was expected was told, in the same numbering.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detected_at: Option<usize>,
    /// What was told first of what was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Told>,
    /// Whether that names a technique which the step plays, and not only another one that is evidence of it. Not known of behaviour, which
    /// is no technique by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_as_played: Option<bool>,
    /// The attack's steps.
    pub steps: Vec<StepOutcome>,
    /// What the twin set off. It must be empty.
    pub twin: Vec<Told>,
}

impl Outcome {
    /// Judges what was told of the attack and of its twin.
    #[must_use]
    pub fn of(scenario: &Scenario, steps: Vec<StepOutcome>, twin: Vec<Told>) -> Self {
        let first = scenario.first_observable();
        let seen = steps.iter().position(|step| step.is_seen);
        let is_early = steps.iter().take(first.unwrap_or_default()).any(|step| !step.told.is_empty());
        let verdict = match (first, seen) {
            _ if is_early => Verdict::Early,
            (Some(first), Some(seen)) if seen == first => Verdict::Caught,
            (_, Some(_)) => Verdict::Late,
            (_, None) => Verdict::Missed,
        };
        let evidence = seen.and_then(|seen| steps[seen].evidence().cloned());
        let is_as_played = seen.zip(evidence.as_ref()).and_then(|(seen, told)| {
            let played = check::played(scenario, &scenario.attack[seen]);
            let is = |played: &&str| told.techniques.iter().any(|technique| check::is_evidence(*technique, played));
            (!played.is_empty()).then(|| played.iter().any(is))
        });
        Self {
            verdict,
            is_as_played,
            detected_at: seen.map(|at| scenario.step_number(at)),
            evidence,
            steps,
            twin,
            ..Self::unplayed(scenario, Verdict::Missed, None)
        }
    }

    /// A scenario that was not played, and why.
    #[must_use]
    pub fn unplayed(scenario: &Scenario, verdict: Verdict, why: Option<String>) -> Self {
        Self {
            scenario: scenario.id.clone(),
            wording: scenario.wording,
            subject: scenario.subject.id().to_owned(),
            title: scenario.title.clone(),
            via: scenario.via.as_str().to_owned(),
            verdict,
            why,
            first_observable: scenario.first_observable().map(|at| scenario.step_number(at)),
            detected_at: None,
            evidence: None,
            is_as_played: None,
            steps: Vec::new(),
            twin: Vec::new(),
        }
    }

    /// The steps of which something must be told, in their order: the first is the first that shows.
    pub fn telling_steps(&self) -> impl Iterator<Item = &StepOutcome> {
        self.steps.iter().filter(|step| !step.expect.is_empty())
    }

    /// The steps before the first of which something must be told.
    pub fn steps_before(&self) -> impl Iterator<Item = &StepOutcome> {
        self.steps.iter().take_while(|step| step.expect.is_empty())
    }

    /// Whether it is as it should be.
    #[must_use]
    pub fn is_right(&self) -> bool {
        matches!(self.verdict, Verdict::Caught | Verdict::NotObservable | Verdict::LeftOut) && self.twin.is_empty()
    }

    /// The technique that it is a drill of: its own, or the first that must be told of it.
    #[must_use]
    pub fn technique(&self) -> Option<TechniqueId> {
        self.subject.parse().ok().or_else(|| self.steps.iter().find_map(|step| step.expect.first()).copied())
    }

    /// Whether it was played, and not only told of.
    #[must_use]
    pub fn is_played(&self) -> bool {
        !matches!(self.verdict, Verdict::NotObservable | Verdict::LeftOut)
    }
}

/// What became of all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Techniques.
    pub techniques: Count,
    /// Case studies.
    pub case_studies: Count,
    /// Everything else: behaviour, and changes of the record.
    pub others: Count,
    /// Case studies that cannot be seen.
    pub not_observable: usize,
    /// Scenarios that were not played here.
    pub left_out: usize,
    /// Twins that set something off.
    pub twins_set_off: usize,
    /// Steps after the first one that shows, of which something must be told, too.
    pub later_steps: Count,
    /// Of the techniques and case studies that were caught: those that were told under a technique which the step plays.
    pub as_played: Count,
    /// Of all that were caught: those of which a detection of severity `medium` or higher told.
    pub from_medium: Count,
}

/// How many were played, and how many of these were told of as they must be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// How many were played.
    pub played: usize,
    /// How many were caught.
    pub caught: usize,
}

impl Count {
    fn add(&mut self, is_caught: bool) {
        self.played += 1;
        self.caught += usize::from(is_caught);
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.caught, self.played)
    }
}

impl Summary {
    /// Counts the outcomes of a wording.
    #[must_use]
    pub fn of(outcomes: &[Outcome], wording: Wording) -> Self {
        let mut summary = Self::default();
        for outcome in outcomes.iter().filter(|outcome| outcome.wording == wording) {
            summary.not_observable += usize::from(outcome.verdict == Verdict::NotObservable);
            summary.left_out += usize::from(outcome.verdict == Verdict::LeftOut);
            summary.twins_set_off += usize::from(!outcome.twin.is_empty());
            if !outcome.is_played() {
                continue;
            }
            let count = match outcome.subject.as_str() {
                id if id.starts_with("AML.T") => &mut summary.techniques,
                id if id.starts_with("AML.CS") => &mut summary.case_studies,
                _ => &mut summary.others,
            };
            count.add(outcome.verdict == Verdict::Caught);
            if let (Verdict::Caught, Some(told)) = (outcome.verdict, &outcome.evidence) {
                summary.from_medium.add(matches!(told.severity.as_str(), "medium" | "high" | "critical"));
                if let Some(is) = outcome.is_as_played {
                    summary.as_played.add(is);
                }
            }
            for step in outcome.telling_steps().skip(1) {
                summary.later_steps.add(step.is_seen);
            }
        }
        summary
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} techniques, {} observable case studies, {} others, {} twins set off",
            self.techniques, self.case_studies, self.others, self.twins_set_off
        )
    }
}

/// Whether a detection is evidence of a technique, or of one below it.
fn shows(told: &Told, expected: TechniqueId) -> bool {
    let below = format!("{expected}.");
    told.techniques.iter().any(|technique| *technique == expected || technique.as_str().starts_with(&below))
}

#[cfg(test)]
mod tests {
    use super::super::load::parse;
    use super::*;

    fn scenario() -> Scenario {
        let text = "scenarios: [{id: a, title: t, attack: [{chat: {user: x}}, {chat: {user: y}, expect: [AML.T0051], because: w}, \
                    {chat: {user: z}, expect: [AML.T0053], because: w}], twin: [{chat: {}}, {chat: {}}, {chat: {}}]}]";
        parse("f", text).unwrap().remove(0)
    }

    fn told(technique: &str) -> Told {
        Told {
            detection: "d".to_owned(),
            rule: "r".to_owned(),
            title: "t".to_owned(),
            techniques: vec![technique.parse().unwrap()],
            severity: "high".to_owned(),
            grade: None,
            latency_ms: Some(3.0),
        }
    }

    #[test]
    fn a_scenario_is_caught_at_its_first_step_that_shows_and_not_elsewhere() {
        let scenario = scenario();
        for (at, verdict, detected) in [
            ([vec![], vec!["AML.T0051.001"], vec![]], Verdict::Caught, Some(2)),
            ([vec![], vec!["AML.T0054"], vec![]], Verdict::Missed, None),
            ([vec![], vec![], vec!["AML.T0053"]], Verdict::Late, Some(3)),
            ([vec!["AML.T0040"], vec!["AML.T0051"], vec![]], Verdict::Early, Some(2)),
        ] {
            let steps = at.iter().zip(&scenario.attack).enumerate();
            let steps = steps.map(|(index, (ids, step))| StepOutcome::of(index, step, ids.iter().map(|id| told(id)).collect()));
            let outcome = Outcome::of(&scenario, steps.collect(), Vec::new());
            assert_eq!((outcome.verdict, outcome.detected_at), (verdict, detected), "{at:?}");
            assert_eq!(outcome.is_right(), verdict == Verdict::Caught);
        }
    }

    #[test]
    fn steps_of_a_case_study_are_numbered_as_in_atlas() {
        let scenarios = super::super::load::all().unwrap();
        let study = scenarios.iter().find(|scenario| scenario.id == "chatgpt-conversation").unwrap();
        // The first thing that is played is no step of the procedure; the second one is its step 3.
        assert_eq!((study.attack[0].atlas.as_slice(), study.attack[1].atlas.as_slice()), (&[][..], &[3][..]));
        assert_eq!(study.steps_played(), Some((vec![3, 4, 5, 6], 7)));
        let outcome = |told_at: usize| {
            let told = |at: usize| if at == told_at { vec![told("AML.T0051.001")] } else { Vec::new() };
            let steps = study.attack.iter().enumerate().map(|(at, step)| StepOutcome::of(at, step, told(at)));
            Outcome::of(study, steps.collect(), Vec::new())
        };
        let (caught, late) = (outcome(1), outcome(2));
        assert_eq!((caught.verdict, caught.first_observable, caught.detected_at), (Verdict::Caught, Some(3), Some(3)));
        assert_eq!((late.verdict, late.first_observable, late.detected_at), (Verdict::Late, Some(3), Some(4)));
        assert_eq!(Summary::of(&[caught, late], Wording::First).later_steps, Count { played: 4, caught: 1 });
    }

    #[test]
    fn where_rules_are_named_no_other_rule_counts() {
        for (rules, verdict) in [("[r, s]", Verdict::Caught), ("[s]", Verdict::Missed)] {
            let text = format!(
                "scenarios: [{{id: a, title: t, attack: [{{chat: {{}}, expect: [AML.T0051], rules: {rules}, because: w}}], twin: [{{chat: {{}}}}]}}]"
            );
            let scenario = parse("f", &text).unwrap().remove(0);
            let step = StepOutcome::of(0, &scenario.attack[0], vec![told("AML.T0051")]);
            let outcome = Outcome::of(&scenario, vec![step], Vec::new());
            assert_eq!((outcome.verdict, outcome.is_as_played), (verdict, None), "{rules}");
            assert_eq!(Summary::of(&[outcome], Wording::First).from_medium.caught, usize::from(verdict == Verdict::Caught));
        }
    }

    #[test]
    fn a_twin_that_sets_something_off_is_counted() {
        let scenario = scenario();
        let outcome = Outcome::of(&scenario, Vec::new(), vec![told("AML.T0051")]);
        assert!(!outcome.is_right());
        let summary = Summary::of(&[outcome], Wording::First);
        assert_eq!((summary.others, summary.twins_set_off), (Count { played: 1, caught: 0 }, 1));
        assert_eq!(summary.to_string(), "0 of 0 techniques, 0 of 0 observable case studies, 0 of 1 others, 1 twins set off");
    }
}
