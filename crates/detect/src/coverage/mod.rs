//! Which techniques of MITRE ATLAS the rules cover: not by what they say of themselves, but by their examples, which are run, by the
//! fields that a record has, and by what was detected in it.

mod layer;
mod needs;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;

use event::TechniqueId;
use event::taxonomy::{TELEMETRY_LOGGING, atlas};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use layer::navigator_layer;
pub use needs::{field_of_piece, kinds_of, needed_fields};

use crate::rules::{Rule, RuleInfo, RuleKind, RuleSet, examples};

/// The ids of detectors that are no rules, and cover what they have detected.
pub fn built_in() -> impl Iterator<Item = &'static str> {
    crate::flow::detectors().map(|(id, ..)| id)
}

/// What a record shows of what rules need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Names of fields that events had (`docs/reference/rules.md`). Those that detection itself adds need not be in it: they are
    /// there where what they are made of is there.
    pub fields: BTreeSet<String>,
    /// Categories of our log source that had events.
    pub categories: BTreeSet<String>,
    /// Detections by the id of their rule.
    pub detections: BTreeMap<String, u64>,
    /// Drills that were played on it, by the technique that each is of.
    pub drills: BTreeMap<TechniqueId, Drilled>,
    /// What could not be asked of it, in words: what is missing may be there then.
    pub cut: Vec<String>,
}

/// Drills of a technique: attacks that were played on the server, to see whether they are told (`watchkeeper drill --server`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Drilled {
    /// Scenarios that were played; of each the last time counts.
    pub played: u64,
    /// Those of them that were told at the first step at which they can be seen.
    pub caught: u64,
    /// When one was played last (RFC 3339).
    pub last: String,
}

/// How well a technique, or a rule of it, is covered, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = CoverageState)]
pub enum State {
    /// No rule is evidence of it.
    None,
    /// There are rules, and none that speaks has examples that all come out as they should.
    Unproven,
    /// The examples of a rule pass, and events of the record never had the fields that it needs.
    FieldsNotSeen,
    /// The examples of a rule pass; no record was asked.
    ExamplesOnly,
    /// The examples of a rule pass, and the record has the fields that it needs.
    Covered,
}

impl State {
    /// Every state, the worst first.
    pub const ALL: [Self; 5] = [Self::None, Self::Unproven, Self::FieldsNotSeen, Self::ExamplesOnly, Self::Covered];

    /// The name that JSON uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Unproven => "unproven",
            Self::FieldsNotSeen => "fields_not_seen",
            Self::ExamplesOnly => "examples_only",
            Self::Covered => "covered",
        }
    }
}

/// What covers ATLAS.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Coverage {
    /// The release of ATLAS.
    pub atlas: String,
    /// Whether a record was asked.
    pub is_of_record: bool,
    /// Rules, correlations and filters that were looked at.
    pub rules: usize,
    /// What is wrong with rules; most of it leaves one out.
    #[serde(default)]
    pub problems: Vec<String>,
    /// What could not be asked of the record, in words: fields that are missing may be there then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cut: Vec<String>,
    /// Every technique, by its id.
    pub techniques: Vec<TechniqueCoverage>,
}

/// What covers a technique.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TechniqueCoverage {
    /// The technique.
    #[schema(value_type = String)]
    pub technique: TechniqueId,
    /// Its name.
    pub name: String,
    /// Whether mitigation AML.M0024 (AI Telemetry Logging) names it.
    pub is_of_telemetry_logging: bool,
    /// How well it is covered: as well as by the best of its rules.
    pub state: State,
    /// Detections in the record by its rules.
    pub detections: u64,
    /// Drills of it that were played on this server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<Drilled>,
    /// The rules that are evidence of it and speak, by title.
    pub rules: Vec<RuleCoverage>,
}

/// What a rule brings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuleCoverage {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// How it stands.
    pub state: State,
    /// Examples that came out as they should.
    pub examples_passed: usize,
    /// Examples that did not.
    pub examples_failed: usize,
    /// What the record lacks of what it needs: of the example of which least is lacking. Empty where no record was asked.
    pub missing: Vec<String>,
    /// What it detected in the record.
    pub detections: u64,
}

impl Coverage {
    /// Runs the examples of every rule, and holds what the rules need against `seen`, if a record was asked.
    ///
    /// A rule that speaks through a correlation alone covers nothing by itself. Content flow is no rule and has no examples: it covers
    /// what it has detected.
    #[must_use]
    pub fn of(rules: &RuleSet, seen: Option<&Seen>) -> Self {
        // It does not stop before its end.
        Self::of_until(rules, seen, &|| false).unwrap_or_default()
    }

    /// As [`of`](Self::of); nothing when it is to stop, which `stopping` is asked between rules, examples and their events.
    #[must_use]
    pub fn of_until(rules: &RuleSet, seen: Option<&Seen>, stopping: &dyn Fn() -> bool) -> Option<Self> {
        let mut by_technique = of_rules(rules, seen, |_| true, stopping)?;
        for (id, title, technique) in crate::flow::detectors() {
            let detections = seen.and_then(|seen| seen.detections.get(id)).copied().unwrap_or(0);
            let state = if detections > 0 { State::Covered } else { State::Unproven };
            let (id, title) = (id.to_owned(), title.to_owned());
            let covers =
                RuleCoverage { id, title, state, examples_passed: 0, examples_failed: 0, missing: Vec::new(), detections };
            by_technique.entry(technique).or_default().push(covers);
        }
        Some(Self::with(rules, seen, rules.all().len(), by_technique))
    }

    /// As [`of`](Self::of), of some of the rules alone: of what somebody has beside those of the program. Content flow is none of theirs.
    #[must_use]
    pub fn of_own(rules: &RuleSet, own: &HashSet<String>, seen: Option<&Seen>) -> Self {
        // It does not stop before its end.
        Self::of_own_until(rules, own, seen, &|| false).unwrap_or_default()
    }

    /// As [`of_own`](Self::of_own); nothing when it is to stop, as [`of_until`](Self::of_until).
    #[must_use]
    pub fn of_own_until(
        rules: &RuleSet,
        own: &HashSet<String>,
        seen: Option<&Seen>,
        stopping: &dyn Fn() -> bool,
    ) -> Option<Self> {
        let by_technique = of_rules(rules, seen, |rule| own.contains(&rule.id), stopping)?;
        Some(Self::with(rules, seen, own.len(), by_technique))
    }

    fn with(
        rules: &RuleSet,
        seen: Option<&Seen>,
        count: usize,
        mut by_technique: BTreeMap<TechniqueId, Vec<RuleCoverage>>,
    ) -> Self {
        let techniques = atlas().techniques.iter().filter_map(|one| {
            let technique: TechniqueId = one.id.parse().ok()?;
            let mut rules = by_technique.remove(&technique).unwrap_or_default();
            rules.sort_by(|a, b| (&a.title, &a.id).cmp(&(&b.title, &b.id)));
            Some(TechniqueCoverage {
                technique,
                name: one.name.clone(),
                is_of_telemetry_logging: TELEMETRY_LOGGING.contains(&one.id.as_str()),
                state: rules.iter().map(|rule| rule.state).max().unwrap_or(State::None),
                detections: rules.iter().map(|rule| rule.detections).sum(),
                drill: seen.and_then(|seen| seen.drills.get(&technique)).cloned(),
                rules,
            })
        });
        Self {
            atlas: atlas().version.clone(),
            is_of_record: seen.is_some(),
            rules: count,
            problems: rules.problems().iter().map(ToString::to_string).collect(),
            cut: seen.map(|seen| seen.cut.clone()).unwrap_or_default(),
            techniques: techniques.collect(),
        }
    }

    /// How many techniques are in a state; of all, and of those of AML.M0024.
    #[must_use]
    pub fn count(&self, state: State) -> (usize, usize) {
        let of = |logging: bool| {
            let techniques = self.techniques.iter().filter(|one| one.state == state);
            techniques.filter(|one| !logging || one.is_of_telemetry_logging).count()
        };
        (of(false), of(true))
    }

    /// The page `docs/reference/atlas-coverage.md`: of the rules alone, without a record.
    #[must_use]
    pub fn page(&self) -> String {
        let mut page = String::from(
            "# ATLAS coverage\n\n\
             <!-- Made from the rules of `content/rules`; a test keeps it true. To write it: `cargo xtask docs`. -->\n\n\
             Which techniques of MITRE ATLAS the rules that come with the program are evidence of. A rule counts where all of its \
             examples, positive and negative, come out as they should when they are run. That says what can be seen, not what an \
             installation sees: `watchkeeper rules coverage --data DIR` also asks the record whether it has the fields that the rules \
             need, and `--format navigator` writes a layer for the [ATLAS Navigator](https://mitre-atlas.github.io/atlas-navigator/). Rules \
             through which a correlation counts do not count themselves. *Content flow* has no examples in a rule: it is held by the tests \
             of the program, and counts where it has detected something.\n\n",
        );
        let all = self.techniques.len();
        let of_logging = self.techniques.iter().filter(|one| one.is_of_telemetry_logging).count();
        let proven = |logging: bool| {
            let found = self.techniques.iter().filter(|one| one.state >= State::FieldsNotSeen);
            found.filter(|one| !logging || one.is_of_telemetry_logging).count()
        };
        let _ = write!(
            page,
            "ATLAS {}: {} of {all} techniques and sub-techniques; of the {of_logging} that mitigation AML.M0024 (AI Telemetry Logging) \
             names, {}. Most others are done where no telemetry of a running system is: in research, in training, on the attacker's own \
             machines.\n\n| technique | name | AML.M0024 | rules |\n| --- | --- | --- | --- |\n",
            self.atlas,
            proven(false),
            proven(true),
        );
        for one in self.techniques.iter().filter(|one| one.is_of_telemetry_logging || !one.rules.is_empty()) {
            let titles: Vec<String> = one.rules.iter().map(RuleCoverage::words).collect();
            let titles = if titles.is_empty() { "none".to_owned() } else { titles.join("; ") };
            let mark = if one.is_of_telemetry_logging { "yes" } else { "" };
            let _ = writeln!(page, "| {} | {} | {mark} | {titles} |", one.technique, one.name);
        }
        let without: Vec<&str> =
            self.techniques.iter().filter(|one| one.rules.is_empty()).map(|one| one.technique.as_str()).collect();
        let _ = write!(page, "\nNo rule is evidence of: {}.\n", without.join(", "));
        page
    }
}

/// What each rule that is meant, and speaks, brings to its techniques.
fn of_rules(
    rules: &RuleSet,
    seen: Option<&Seen>,
    is_meant: impl Fn(&RuleInfo) -> bool,
    stopping: &dyn Fn() -> bool,
) -> Option<BTreeMap<TechniqueId, Vec<RuleCoverage>>> {
    let all = rules.all();
    let mut by_technique: BTreeMap<TechniqueId, Vec<RuleCoverage>> = BTreeMap::new();
    let speaking =
        all.iter().enumerate().filter(|(place, rule)| rule.info.kind != RuleKind::Filter && rules.sigma().speaks(*place));
    for (_, rule) in speaking.filter(|(_, rule)| !rule.info.techniques.is_empty() && is_meant(&rule.info)) {
        let covers = RuleCoverage::of(rule, all, seen, stopping)?;
        for technique in &rule.info.techniques {
            by_technique.entry(*technique).or_default().push(covers.clone());
        }
    }
    Some(by_technique)
}

impl RuleCoverage {
    fn of(rule: &Rule, all: &[Rule], seen: Option<&Seen>, stopping: &dyn Fn() -> bool) -> Option<Self> {
        if stopping() {
            return None;
        }
        let results = examples::run_rule_until(rule, all, stopping)?;
        let examples_passed = results.iter().filter(|(result, _)| result.passed()).count();
        let examples_failed = results.len() - examples_passed;
        let is_proven = examples_failed == 0 && results.iter().any(|(result, _)| result.expected);
        let missing = seen.map(|seen| needs::missing(rule, all, seen)).unwrap_or_default();
        let detections = seen.and_then(|seen| seen.detections.get(&rule.info.id)).copied().unwrap_or(0);
        let state = match (is_proven, seen) {
            (false, _) => State::Unproven,
            (true, None) => State::ExamplesOnly,
            // What has fired had what it needs.
            (true, Some(_)) if missing.is_empty() || detections > 0 => State::Covered,
            (true, Some(_)) => State::FieldsNotSeen,
        };
        let (id, title) = (rule.info.id.clone(), rule.info.title.clone());
        Some(Self { id, title, state, examples_passed, examples_failed, missing, detections })
    }

    /// The title, and what is to be known of it.
    fn words(&self) -> String {
        match (self.state, self.examples_passed + self.examples_failed) {
            (State::Unproven, 0) => format!("*{}*", self.title),
            (State::Unproven, _) => format!("{} (an example fails)", self.title),
            _ => self.title.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = "title: T\nid: 3f0c8a52-7d6e-4c1b-9a53-0d5b2f6c7e11\nlogsource: {product: ai, category: tool}\ndetection:\n  s:\n    \
        gen_ai.tool.name: x\n    watchkeeper.score.tool|gte: 0.5\n  condition: s\nwatchkeeper:\n  techniques: [AML.T0053]\n  examples:\n    \
        positive:\n      - event: {gen_ai.tool.name: EXAMPLE, watchkeeper.score.tool: 0.9, user.id: u}\n    negative:\n      - event: {gen_ai.tool.name: y}\n";

    fn rules(text: &str) -> RuleSet {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("r.yml"), text).unwrap();
        RuleSet::load(dir.path(), false).unwrap()
    }

    fn state(coverage: &Coverage, technique: &str) -> State {
        coverage.techniques.iter().find(|one| one.technique.as_str() == technique).unwrap().state
    }

    /// Writes the page anew when `WATCHKEEPER_WRITE_DOCS` is set.
    #[test]
    fn the_published_page_is_of_these_rules() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/atlas-coverage.md");
        let page = Coverage::of(&RuleSet::builtin().unwrap(), None).page();
        if std::env::var_os("WATCHKEEPER_WRITE_DOCS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        assert!(
            std::fs::read_to_string(path).unwrap() == page,
            "docs/reference/atlas-coverage.md is stale; run `cargo xtask docs`"
        );
    }

    #[test]
    fn a_rule_covers_what_its_examples_prove_and_the_record_can_show() {
        let good = rules(&RULE.replace("EXAMPLE", "x"));
        assert_eq!(state(&Coverage::of(&good, None), "AML.T0053"), State::ExamplesOnly);
        assert_eq!(state(&Coverage::of(&good, None), "AML.T0000"), State::None);
        let failing = rules(&RULE.replace("EXAMPLE", "z"));
        assert_eq!(state(&Coverage::of(&failing, None), "AML.T0053"), State::Unproven);
        let without = rules(RULE.split("  examples").next().unwrap());
        assert_eq!(state(&Coverage::of(&without, None), "AML.T0053"), State::Unproven);
        let of = |fields: &[&str], categories: &[&str], detected: u64| {
            let texts = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
            let detections =
                [("3f0c8a52-7d6e-4c1b-9a53-0d5b2f6c7e11".to_owned(), detected)].into_iter().filter(|one| one.1 > 0).collect();
            let seen = Seen { fields: texts(fields), categories: texts(categories), detections, ..Seen::default() };
            let coverage = Coverage::of(&good, Some(&seen));
            let one = coverage.techniques.iter().find(|one| one.technique.as_str() == "AML.T0053").unwrap();
            (one.state, one.rules[0].missing.join(","))
        };
        // `user.id` is in the example and not in the rule: nobody needs it.
        assert_eq!(of(&["gen_ai.tool.name", "watchkeeper.text.tool"], &["tool"], 0), (State::Covered, String::new()));
        assert_eq!(of(&["gen_ai.tool.name", "watchkeeper.text.user"], &["tool"], 0).1, "watchkeeper.text.tool");
        assert_eq!(
            of(&["watchkeeper.text.tool"], &[], 0),
            (State::FieldsNotSeen, "logsource.category: tool,gen_ai.tool.name".to_owned())
        );
        assert_eq!(of(&[], &[], 3).0, State::Covered);
    }

    #[test]
    fn of_somebodys_own_rules_those_of_the_program_are_no_part_and_what_cannot_be_used_is_told() {
        let text = RULE.replace("EXAMPLE", "x") + "---\ntitle: B\nlogsource: {product: ai}\n";
        let (set, own) = RuleSet::beside_builtin(vec![("r.yml".into(), text)], &|| false).unwrap();
        let coverage = Coverage::of_own(&set, &own, None);
        let with_rules: Vec<&str> =
            coverage.techniques.iter().filter(|one| !one.rules.is_empty()).map(|one| one.technique.as_str()).collect();
        assert_eq!((with_rules, coverage.rules, coverage.problems.len()), (vec!["AML.T0053"], 1, 1));
        assert_eq!(coverage.count(State::Unproven), (0, 0));
        assert!(coverage.problems[0].contains("r.yml"), "{:?}", coverage.problems);
    }

    #[test]
    fn what_speaks_through_a_correlation_alone_covers_nothing() {
        let text = format!(
            "{}---\ntitle: Many\nid: 3f0c8a52-7d6e-4c1b-9a53-0d5b2f6c7e12\ncorrelation:\n  type: event_count\n  rules: [3f0c8a52-7d6e-4c1b-9a53-0d5b2f6c7e11]\n  \
             group-by: [user.id]\n  timespan: 1m\n  condition: {{gte: 2}}\nwatchkeeper:\n  techniques: [AML.T0040]\n  examples:\n    positive:\n      - repeat: 2\n        \
             event: {{gen_ai.tool.name: x, watchkeeper.score.tool: 0.9, user.id: u}}\n",
            RULE.replace("EXAMPLE", "x")
        );
        let set = rules(&text);
        assert_eq!(set.problems(), []);
        let coverage = Coverage::of(&set, Some(&Seen::default()));
        assert_eq!((state(&coverage, "AML.T0053"), state(&coverage, "AML.T0040")), (State::None, State::FieldsNotSeen));
        let missing =
            coverage.techniques.iter().find(|one| one.technique.as_str() == "AML.T0040").unwrap().rules[0].missing.clone();
        assert_eq!(missing, ["logsource.category: tool", "gen_ai.tool.name", "user.id", "watchkeeper.text.tool"]);
    }

    #[test]
    fn content_flow_counts_where_it_has_detected() {
        let set = rules(&RULE.replace("EXAMPLE", "x"));
        assert_eq!(state(&Coverage::of(&set, None), "AML.T0051.001"), State::Unproven);
        let detections = [("flow-indirect-injection".to_owned(), 1)].into_iter().collect();
        let seen = Seen { detections, ..Seen::default() };
        assert_eq!(state(&Coverage::of(&set, Some(&seen)), "AML.T0051.001"), State::Covered);
    }
}
