//! Rule sets: loading, checking, testing.

mod check;
pub(crate) mod examples;
mod extension;
mod load;
mod overlay;
mod settle;
mod uncompiled;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use event::TechniqueId;
use inspect::Canaries;
use inspect::format::SignatureFile;

pub(crate) use check::EXTENSION;
pub use check::Problem;
pub use examples::ExampleResult;
pub(crate) use extension::{Example, Extension};
pub use uncompiled::Uncompiled;

use crate::budget::{AlertBudget, Budgets};
use crate::builtin;
use crate::detection::{Labels, Severity, sha256_hex};
use crate::sigma::explain::Explanation;
use crate::sigma::runner::Match;
use crate::sigma::{self, Parsed, Sigma};
use crate::turns::Signs;
use load::{Demand, Source};

/// Longest rule file, in bytes. The largest file of SigmaHQ has 60 KB.
pub(crate) const RULE_FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Most rule files of a directory. SigmaHQ has 4,000.
pub(crate) const RULE_FILES_MAX: usize = 50_000;
/// Most rules of a source.
pub(crate) const RULES_MAX: usize = 20_000;

/// Sigma rules, correlations and filters that work together.
pub struct RuleSet {
    rules: Arc<Vec<Rule>>,
    sigma: Sigma,
    problems: Arc<Vec<Problem>>,
    notes: Arc<Vec<String>>,
    canaries: Canaries,
    signs: Arc<Signs>,
    budget: AlertBudget,
}

/// Where rules come from, and what is asked of them.
#[derive(Debug, Clone, Default)]
pub struct RuleSources<'a> {
    /// Whether those that come with the program are used.
    pub builtin: bool,
    /// Directories, or single files. A later one goes before an earlier one, and each before the program's: where several have a rule of
    /// one id, that of the last is used.
    pub dirs: &'a [PathBuf],
    /// Whether a rule of the directories must have examples of both kinds, which come out as they should.
    pub strict: bool,
    /// Ids of rules that are not used.
    pub disable: &'a [String],
}

/// A rule as loaded.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) info: RuleInfo,
    pub(crate) extension: Extension,
    pub(crate) parsed: Parsed,
    /// About what it takes compiled, in bytes.
    pub(crate) weight: usize,
    /// Whether it came with somebody's request.
    pub(crate) is_of_request: bool,
}

/// What is known of a rule.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct RuleInfo {
    /// Its id: the rule's own, or one derived from its text where it has none.
    pub id: String,
    /// Its title.
    pub title: String,
    /// What it is.
    pub kind: RuleKind,
    /// How bad a detection of it is. Rules that do not say are `medium`.
    pub severity: Severity,
    /// Sigma's `status`.
    pub status: Option<String>,
    /// What it looks for, and why.
    pub description: Option<String>,
    /// The category of its log source.
    pub category: Option<String>,
    /// The ATLAS techniques that it is evidence of.
    pub techniques: Vec<TechniqueId>,
    /// OWASP LLM and agentic entries.
    pub owasp: Vec<String>,
    /// NIST AI RMF and AI 600-1 entries.
    pub nist: Vec<String>,
    /// When it fires and nothing is wrong.
    pub falsepositives: Vec<String>,
    /// What to do: a file of `content/runbooks`, without its ending.
    pub runbook: Option<String>,
    /// How sure it is, 0 to 1.
    pub confidence: f32,
    /// SHA-256 of its text, hexadecimal.
    pub digest: String,
    /// Where it stands.
    pub file: PathBuf,
    /// The line where it begins, from 1.
    pub line: usize,
}

impl RuleInfo {
    /// What its detections are called in the frameworks, and what to do about them.
    pub(crate) fn labels(&self) -> Labels {
        let (techniques, owasp, nist) = (self.techniques.clone(), self.owasp.clone(), self.nist.clone());
        Labels { techniques, owasp, nist, runbook: self.runbook.clone() }
    }
}

/// What a document of a rule file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleKind {
    /// Looks at one event.
    Rule,
    /// Counts or orders what rules see.
    Correlation,
    /// Takes cases out of rules.
    Filter,
}

/// Why a rule set could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// A file or directory cannot be read.
    #[error("cannot read {path}: {error}; check that it exists and may be read", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// There is more than is taken.
    #[error("{path} has more than {max} {what}; split the rules over several sets", path = path.display())]
    TooMuch {
        /// Where.
        path: PathBuf,
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// Rules have problems (strict loading).
    #[error("{} problem(s) in the rules, the first: {}", .0.len(), .0.first().map(ToString::to_string).unwrap_or_default())]
    Problems(Vec<Problem>),
    /// The rules cannot be compiled together.
    #[error("the rules cannot be compiled together: {0}")]
    Compile(String),
    /// Whoever asked for the rules does not wait for them any more, or the program stops.
    #[error("nobody waits for the rules any more")]
    Stopped,
    /// The signs that come with the program cannot be read.
    #[error("the signs of content/signs: {0}")]
    Signs(#[from] inspect::LoadError),
}

impl RuleSet {
    /// The rules that come with the program (`content/rules`), each complete. Their examples are run by the tests of this
    /// crate and by [`test`](Self::test), not at each start.
    pub fn builtin() -> Result<Self, RuleError> {
        load::load(builtin_files(), Demand::Complete)
    }

    /// Every `*.yml` and `*.yaml` file under `dir`, or the one file `dir`.
    ///
    /// A document that is not a valid rule is left out, and [`problems`](Self::problems) names it; with `strict`, a rule
    /// with any problem, among them a missing example, technique or runbook, fails the whole.
    pub fn load(dir: &Path, strict: bool) -> Result<Self, RuleError> {
        load::load(load::read(dir)?, if strict { Demand::Proven } else { Demand::Usable })
    }

    /// The rules of several places. What cannot be used is left out, [`problems`](Self::problems) names it, and
    /// [`notes`](Self::notes) tell which rules took the place of others; no rule takes its neighbours with it.
    ///
    /// # Errors
    /// Directories that cannot be read.
    pub fn assemble(sources: &RuleSources<'_>) -> Result<Self, RuleError> {
        let mut all = Vec::new();
        if sources.builtin {
            all.push(Source { files: builtin_files(), must_prove: false });
        }
        for dir in sources.dirs {
            // Signature files may lie beside them.
            let files = load::read(dir)?.into_iter().filter(|(_, text)| !SignatureFile::is_one(text)).collect();
            all.push(Source { files, must_prove: sources.strict });
        }
        load::assemble(all, sources.disable)
    }

    /// The rules of files that were read.
    ///
    /// # Errors
    /// [`RuleError::TooMuch`] where one is longer than a rule file may be, or they are too many. What else is wrong with a rule leaves that
    /// one out, and names it.
    pub fn of_files(files: Vec<(PathBuf, String)>) -> Result<Self, RuleError> {
        bound(&files)?;
        load::assemble(vec![Source { files, must_prove: false }], &[])
    }

    /// The rules of files beside those that come with the program, as a server has them that is told of their directory; and the ids of
    /// those of the files that can be used. `stopping` is asked between rules.
    ///
    /// # Errors
    /// As [`of_files`](Self::of_files), and [`RuleError::Stopped`].
    pub fn beside_builtin(
        files: Vec<(PathBuf, String)>,
        stopping: &dyn Fn() -> bool,
    ) -> Result<(Self, HashSet<String>), RuleError> {
        let places: HashSet<PathBuf> = files.iter().map(|(path, _)| path.clone()).collect();
        let set = Self::builtin()?.into_uncompiled().with_request(files, stopping)?;
        let own = set.rules().filter(|rule| places.contains(&rule.file)).map(|rule| rule.id.clone()).collect();
        Ok((set, own))
    }

    /// The rules of the files of somebody's request: as [`of_files`](Self::of_files), within a bound of their own. `stopping` is asked
    /// between rules.
    ///
    /// # Errors
    /// As [`of_files`](Self::of_files), and [`RuleError::Stopped`].
    pub fn of_request(files: Vec<(PathBuf, String)>, stopping: &dyn Fn() -> bool) -> Result<Self, RuleError> {
        bound(&files)?;
        load::beside(Vec::new(), Vec::new(), files, stopping)
    }

    /// These rules with those of files, which go before them: as [`Uncompiled::with_request`].
    ///
    /// # Errors
    /// As [`of_files`](Self::of_files).
    pub fn with_files(self, files: Vec<(PathBuf, String)>) -> Result<Self, RuleError> {
        self.into_uncompiled().with_request(files, &|| false)
    }

    fn of(rules: Vec<Rule>, problems: Vec<Problem>, notes: Vec<String>) -> Result<Self, RuleError> {
        let sigma = Sigma::compile(rules.iter().map(|rule| &rule.parsed)).map_err(RuleError::Compile)?;
        let signs = Arc::new(Signs::builtin()?);
        let (rules, problems, notes) = (Arc::new(rules), Arc::new(problems), Arc::new(notes));
        Ok(Self { rules, sigma, problems, notes, canaries: Canaries::default(), signs, budget: AlertBudget::default() })
    }

    /// The same rules compiled anew: for an [`Engine`](crate::Engine) that begins with empty state.
    pub fn again(&self) -> Result<Self, RuleError> {
        self.uncompiled().compile()
    }

    /// The alert budget of rules that do not say their own.
    #[must_use]
    pub fn budget(&self) -> AlertBudget {
        self.budget
    }

    /// The same rules with another alert budget for those that do not say their own.
    #[must_use]
    pub fn with_budget(self, budget: AlertBudget) -> Self {
        Self { budget, ..self }
    }

    pub(crate) fn budgets(&self) -> Budgets {
        let own = self.rules.iter().filter_map(|rule| Some((rule.info.id.clone(), rule.extension.budget?))).collect();
        Budgets::new(self.budget, own)
    }

    /// SHA-256 over the rules, in their order, and the budget, hexadecimal: two sets that have the same detect the same.
    #[must_use]
    pub fn digest(&self) -> String {
        let budget = format!("{:?}", self.budget);
        let digests = self.rules.iter().map(|rule| rule.info.digest.as_bytes());
        sha256_hex(&digests.chain([budget.as_bytes()]).collect::<Vec<_>>())
    }

    /// The same rules with markers that must not come out: `watchkeeper.canary` names those that do.
    #[must_use]
    pub fn with_canaries(self, canaries: Canaries) -> Self {
        Self { canaries, ..self }
    }

    pub(crate) fn signs(&self) -> Arc<Signs> {
        self.signs.clone()
    }

    pub(crate) fn canaries(&self) -> &Canaries {
        &self.canaries
    }

    /// What is known of each rule, in the order of files and of documents in them.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = &RuleInfo> {
        self.rules.iter().map(|rule| &rule.info)
    }

    /// Those that stand for themselves: no correlation, and no filter takes anything out of them.
    pub fn alone(&self) -> impl Iterator<Item = &RuleInfo> {
        let filters = || self.rules.iter().filter(|rule| rule.info.kind == RuleKind::Filter);
        let is_alone = move |rule: &&Rule| {
            rule.info.kind == RuleKind::Rule && !filters().any(|filter| sigma::filters(&filter.parsed, &rule.parsed))
        };
        self.rules.iter().filter(is_alone).map(|rule| &rule.info)
    }

    /// What was left out on loading, and why.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The id of the rule that is called so: by its id, its name or its title.
    #[must_use]
    pub fn find(&self, called: &str) -> Option<&RuleInfo> {
        let is_called = |rule: &&Rule| rule.info.id == called || rule.parsed.name() == Some(called);
        let by_title = || self.rules.iter().find(|rule| rule.info.title.eq_ignore_ascii_case(called));
        self.rules.iter().find(is_called).or_else(by_title).map(|rule| &rule.info)
    }

    pub(crate) fn position(&self, id: &str) -> Option<usize> {
        self.rules.iter().position(|rule| rule.info.id == id)
    }

    /// Explains a rule with the windows of `sigma`.
    pub(crate) fn explain(&self, sigma: &Sigma, position: usize, event: &serde_json::Value) -> Option<Explanation> {
        let documents: Vec<&Parsed> = self.rules.iter().map(|rule| &rule.parsed).collect();
        let mut told = sigma.explain(&documents, position, event)?;
        self.place(&mut told);
        if !sigma.speaks(position) {
            told.notes.push("the rule speaks through a correlation only, for that has no `generate: true`".to_owned());
        }
        Some(told)
    }

    fn place(&self, told: &mut Explanation) {
        if let Some(rule) = self.rules.iter().find(|rule| rule.info.id == told.rule) {
            told.place = format!("{}:{}", rule.info.file.display(), rule.info.line);
        }
        told.rules.iter_mut().for_each(|below| self.place(below));
    }

    /// Which rules took the place of others, and which are disabled.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Lint: everything that strict loading would object to, all files of `dir`.
    ///
    /// Rules of other log sources than ours are only held to parse and compile.
    pub fn check(dir: &Path) -> Result<Vec<Problem>, RuleError> {
        Ok(load::check(load::read(dir)?))
    }

    /// The files that [`check`](Self::check) would look at, with their texts: for whoever has other files beside them.
    pub fn read(dir: &Path) -> Result<Vec<(PathBuf, String)>, RuleError> {
        load::read(dir)
    }

    /// As [`check`](Self::check), of files that were read; tells how many rules they have, too. Filters and correlations in them may
    /// speak of the rules that come with the program. With `prove` a rule for any log source must have examples of both kinds.
    #[must_use]
    pub fn check_files(files: Vec<(PathBuf, String)>, prove: bool) -> (Vec<Problem>, usize) {
        load::check_files_beside(files, builtin_files(), prove)
    }

    /// Lint of the rules that come with the program.
    #[must_use]
    pub fn check_builtin() -> Vec<Problem> {
        load::check(builtin_files())
    }

    /// Runs every rule's examples.
    #[must_use]
    pub fn test(&self) -> Vec<ExampleResult> {
        self.test_those(|_| true)
    }

    /// Runs the examples of some of the rules.
    #[must_use]
    pub fn test_those(&self, which: impl Fn(&RuleInfo) -> bool) -> Vec<ExampleResult> {
        let rules = self.rules.iter().filter(|rule| which(&rule.info));
        rules.flat_map(|rule| examples::run_rule(rule, &self.rules)).map(|(result, _)| result).collect()
    }

    /// How many examples some of the rules have, and how many events these come to: what running them takes.
    #[must_use]
    pub fn examples(&self, of: impl Fn(&RuleInfo) -> bool) -> (usize, usize) {
        let all = || {
            let rules = self.rules.iter().filter(|rule| of(&rule.info));
            rules.flat_map(|rule| [&rule.extension.examples.positive, &rule.extension.examples.negative]).flatten()
        };
        (all().count(), all().map(|example| example.timeline().count()).sum())
    }

    pub(crate) fn all(&self) -> &[Rule] {
        &self.rules
    }

    pub(crate) fn rule(&self, position: usize) -> Option<&Rule> {
        self.rules.get(position)
    }

    pub(crate) fn sigma(&self) -> &Sigma {
        &self.sigma
    }

    /// The compiled rules, for somebody who keeps their state; the set stays behind with an empty one.
    pub(crate) fn take_sigma(&mut self) -> Sigma {
        std::mem::replace(&mut self.sigma, Sigma::empty())
    }

    pub(crate) fn match_at(&self, position: usize) -> Option<Match> {
        self.rule(position).map(|rule| Match { rule: rule.info.id.clone(), title: rule.info.title.clone() })
    }
}

/// Files that come from elsewhere than a directory are held to the same.
fn bound(files: &[(PathBuf, String)]) -> Result<(), RuleError> {
    let bytes_max = usize::try_from(RULE_FILE_BYTES_MAX).unwrap_or(usize::MAX);
    if let Some((path, _)) = files.iter().find(|(_, text)| text.len() > bytes_max) {
        return Err(RuleError::TooMuch { path: path.clone(), what: "bytes", max: bytes_max });
    }
    match files.get(RULE_FILES_MAX) {
        Some((path, _)) => Err(RuleError::TooMuch { path: path.clone(), what: "rule files before it", max: RULE_FILES_MAX }),
        None => Ok(()),
    }
}

fn builtin_files() -> Vec<(PathBuf, String)> {
    builtin::RULES.iter().map(|(name, text)| (PathBuf::from(name), (*text).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_the_program_load_and_their_examples_pass() {
        if let Err(error) = RuleSet::builtin() {
            let RuleError::Problems(problems) = &error else { panic!("{error}") };
            panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
        }
        assert_eq!(RuleSet::check_builtin(), []);
        let rules = RuleSet::builtin().unwrap();
        assert!(rules.rules().len() >= 30, "{}", rules.rules().len());
        let results = rules.test();
        assert!(results.iter().all(ExampleResult::passed));
        for rule in rules.rules() {
            for expected in [true, false] {
                assert!(results.iter().any(|result| result.rule == rule.id && result.expected == expected), "{}", rule.title);
            }
        }
    }

    const GOOD: &str = "title: T\nid: 3f0c8a52-7d6e-4c1b-9a53-0d5b2f6c7e11\nlogsource:\n  product: ai\n  category: tool\ndetection:\n  s:\n    gen_ai.tool.name: x\n  condition: s\n";

    fn load(text: &str, strict: bool) -> Result<RuleSet, RuleError> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("r.yml"), text).unwrap();
        RuleSet::load(dir.path(), strict)
    }

    #[test]
    fn hostile_and_broken_rules_are_named_and_do_not_hide_the_good_one() {
        for (bad, field) in [
            ("title: B\nlogsource: {product: ai}\ndetection:\n  s:\n    a|re: '('\n  condition: s\n", "detection"),
            ("title: B\nlogsource: {product: ai}\ndetection:\n  s:\n    a: 1\n  condition: s and nothing\n", "detection"),
            ("title: B\nlogsource: {product: ai}\n", "detection"),
            ("title: B\nlogsource: {product: ai}\ndetection:\n  s:\n    a|not: 1\n  condition: s\n", ""),
            ("title: B\nlogsource: {product: ai}\ndetection:\n  s:\n    a: 1\n  condition: s and (\n", "condition"),
            (
                "title: B\ncorrelation:\n  type: event_count\n  rules: [nobody]\n  timespan: 1m\n  condition: {gte: 2}\n",
                "correlation.rules",
            ),
            (
                "title: B\nid: 3f0c8a52-7d6e-4c1b-9a53-0d5b2f6c7e11\nlogsource: {product: ai}\ndetection:\n  s:\n    a: 1\n  condition: s\n",
                "id",
            ),
            (
                "title: B\nlogsource: {product: ai}\ndetection:\n  s:\n    a: 1\n  condition: s\nwatchkeeper:\n  techniques: [AML.T9999]\n",
                "watchkeeper.techniques",
            ),
            (
                "title: B\nlogsource: {product: ai}\ndetection:\n  s:\n    a: 1\n  condition: s\nwatchkeeper:\n  exmples: {}\n",
                "watchkeeper",
            ),
            ("title: B\n\t- [: nonsense\n", ""),
            ("just text\n", ""),
        ] {
            let set = load(&format!("{GOOD}---\n{bad}"), false).unwrap();
            assert!(set.rules().any(|rule| rule.title == "T"), "{bad}");
            let problem = set.problems().first().unwrap_or_else(|| panic!("no problem with {bad}"));
            assert!(problem.field.contains(field), "{problem}");
            assert!(problem.file.ends_with("r.yml") && problem.line == Some(11), "{problem}");
            assert!(!problem.remedy.is_empty() && !problem.message.is_empty());
            assert!(load(&format!("{GOOD}---\n{bad}"), true).is_err());
        }
    }

    #[test]
    fn rules_beside_those_of_the_program_may_speak_of_them_and_are_known_from_them() {
        let builtin = RuleSet::builtin().unwrap();
        let of_program = builtin.rules().find(|rule| rule.kind == RuleKind::Rule).unwrap().id.clone();
        let many = |of: &str, id: &str| {
            format!(
                "title: Many\nid: {id}\ncorrelation:\n  type: event_count\n  rules: [{of}]\n  group-by: [u]\n  timespan: 1m\n  condition: {{gte: 3}}\n"
            )
        };
        let ids = ["3f0c8a52-7d6e-4c1b-9a53-0d5b2f6c7e12", "3f0c8a52-7d6e-4c1b-9a53-0d5b2f6c7e13"];
        let files = [many(&of_program, ids[0]), many("nobody", ids[1])].into_iter().enumerate();
        let files = files.map(|(number, text)| (PathBuf::from(format!("{number}.yml")), text)).collect();
        let (set, own) = RuleSet::beside_builtin(files, &|| false).unwrap();
        assert_eq!(own, HashSet::from([ids[0].to_owned()]));
        assert_eq!((set.problems().len(), set.rules().len()), (1, builtin.rules().len() + 1));
    }

    #[test]
    fn everything_that_is_wrong_with_a_document_that_is_no_rule_is_told() {
        let text = "title: B\nlevel: dire\ndetection:\n  s:\n    a: 1\nwatchkeeper:\n  exmples: {}\n";
        let (problems, _) = RuleSet::check_files(vec![("r.yml".into(), text.to_owned())], false);
        let told: Vec<String> = problems.iter().map(|problem| format!("{}: {}", problem.field, problem.message)).collect();
        for field in ["logsource", "condition", "level", "watchkeeper"] {
            assert!(told.iter().any(|one| one.starts_with(field)), "{field}: {told:#?}");
        }
        assert!(told.iter().collect::<HashSet<_>>().len() == told.len(), "{told:#?}");
        // Of a text that is no YAML there is one thing to say.
        assert_eq!(RuleSet::check_files(vec![("r.yml".into(), "title: B\n\t- [: x\n".to_owned())], false).0.len(), 1);
    }

    #[test]
    fn an_example_without_a_name_is_told_by_its_number() {
        let examples =
            "watchkeeper:\n  examples:\n    positive: [{event: {gen_ai.tool.name: x}}, {event: {gen_ai.tool.name: y}}]\n";
        let (problems, _) = RuleSet::check_files(vec![("r.yml".into(), format!("{GOOD}{examples}"))], false);
        let told: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
        assert!(told.contains(&"example \"#2\": the rule does not fire"), "{told:#?}");
    }

    #[test]
    fn check_tells_what_strict_leaves_out_with_a_rule_that_is_not_proven() {
        let base = GOOD.replace("title: T\n", "title: T\nname: base\n");
        let many = "title: Many\nid: 3f0c8a52-7d6e-4c1b-9a53-0d5b2f6c7e12\ncorrelation:\n  type: event_count\n  rules: [base]\n  group-by: [u]\n  \
                    timespan: 1m\n  condition: {gte: 2}\nwatchkeeper:\n  examples:\n    positive: [{repeat: 2, event: {gen_ai.tool.name: x, u: a}}]\n    \
                    negative: [{event: {gen_ai.tool.name: x, u: a}}]\n";
        let files = vec![("r.yml".into(), format!("{base}---\n{many}"))];
        let falls = |prove: bool| {
            let (problems, _) = RuleSet::check_files(files.clone(), prove);
            problems.iter().any(|problem| problem.rule == "Many" && problem.field == "correlation.rules")
        };
        assert_eq!((falls(false), falls(true)), (false, true));
        // As the server does.
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("r.yml"), &files[0].1).unwrap();
        let dirs = [dir.path().to_owned()];
        let set = RuleSet::assemble(&RuleSources { dirs: &dirs, strict: true, ..RuleSources::default() }).unwrap();
        assert!(set.find("Many").is_none(), "{:?}", set.problems());
    }

    #[test]
    fn correlations_in_a_circle_are_left_out() {
        let circle = "title: A\nname: a\ncorrelation:\n  type: event_count\n  rules: [b]\n  timespan: 1m\n  condition: {gte: 2}\n---\ntitle: B\nname: b\ncorrelation:\n  type: event_count\n  rules: [a]\n  timespan: 1m\n  condition: {gte: 2}\n";
        let set = load(&format!("{GOOD}---\n{circle}"), false).unwrap();
        assert_eq!((set.rules().len(), set.problems().len()), (1, 2));
    }

    #[test]
    fn a_rule_of_ours_that_lacks_something_is_told_what() {
        let fields: Vec<String> = match load(GOOD, true) {
            Err(RuleError::Problems(problems)) => problems.into_iter().map(|problem| problem.field).collect(),
            _ => Vec::new(),
        };
        for field in [
            "status",
            "level",
            "falsepositives",
            "watchkeeper.techniques",
            "watchkeeper.runbook",
            "watchkeeper.examples.positive",
        ] {
            assert!(fields.iter().any(|name| name == field), "{field} not in {fields:?}");
        }
        assert!(load(GOOD, false).unwrap().problems().is_empty());
    }

    #[test]
    fn arrays_nulls_keywords_and_dotted_names_follow_sigma() {
        let rule =
            |selection: &str| format!("title: T\nlogsource: {{product: ai}}\ndetection:\n  s:\n{selection}\n  condition: s\n");
        for (selection, event, fires) in [
            ("    a.b: x", r#"{"a":{"b":"X"}}"#, true),
            ("    a.b: x", r#"{"a.b":["y","x"]}"#, true),
            ("    a.b: x", r#"{"a":[{"b":"y"},{"b":"x"}]}"#, true),
            ("    a: null", r#"{"b":1}"#, true),
            ("    a: null", r#"{"a":1}"#, false),
            ("    - needle", r#"{"a":"find the NEEDLE here"}"#, true),
            ("    a|gte: 5", r#"{"a":[1,7]}"#, true),
            ("    a|contains|all: [x, y]", r#"{"a":"axby"}"#, true),
        ] {
            let set = load(&rule(selection), false).unwrap();
            assert_eq!(set.problems(), [], "{selection}");
            let event = serde_json::from_str(event).unwrap();
            assert_eq!(!crate::match_json(&set, &event).is_empty(), fires, "{selection} {event}");
        }
    }

    #[test]
    fn a_correlation_over_a_stream_fires_and_its_base_rule_is_silent() {
        let text = "title: Base\nname: base\nlogsource: {product: ai}\ndetection:\n  s:\n    k: v\n  condition: s\n---\ntitle: Many\nid: 3f0c8a52-7d6e-4c1b-9a53-0d5b2f6c7e12\ncorrelation:\n  type: event_count\n  rules: [base]\n  group-by: [u]\n  timespan: 1m\n  condition: {gte: 3}\n";
        let mut runner = crate::Runner::new(load(text, false).unwrap());
        let mut fired = Vec::new();
        for (index, (user, second)) in [("a", 0), ("b", 1), ("a", 2), ("a", 3), ("b", 90), ("b", 91)].into_iter().enumerate() {
            let event = serde_json::json!({"k": "v", "u": user, "@timestamp": second});
            fired.extend(runner.next(&event).into_iter().map(|hit| (index, hit.title)));
        }
        assert_eq!(fired, [(3, "Many".to_owned())]);
        // Events without a user are not those of one user.
        for second in 100..110 {
            assert!(runner.next(&serde_json::json!({"k": "v", "@timestamp": second})).is_empty());
        }
    }

    #[test]
    fn a_filter_takes_cases_out_by_the_name_of_the_rule() {
        let text = "title: Base\nname: base\nlogsource: {product: ai}\ndetection:\n  s:\n    k: v\n  condition: s\n---\ntitle: F\nlogsource: {product: ai}\nfilter:\n  rules: [base]\n  f:\n    u: admin\n  condition: not f\n";
        let set = load(text, false).unwrap();
        assert_eq!(set.problems(), []);
        for (user, fires) in [("admin", false), ("eve", true)] {
            let event = serde_json::json!({"k": "v", "u": user});
            assert_eq!(!crate::match_json(&set, &event).is_empty(), fires, "{user}");
        }
    }
}
