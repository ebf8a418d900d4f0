//! From files to a rule set.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use event::TechniqueId;
use files::{Tree, TreeError};

use super::check::{self, Problem};
use super::extension::{CONFIDENCE_DEFAULT, Extension};
use super::overlay::Overlay;
use super::settle::settle;
use super::{RULE_FILE_BYTES_MAX, RULE_FILES_MAX, RULES_MAX, Rule, RuleError, RuleInfo, RuleKind, RuleSet, examples};
use crate::detection::{Severity, sha256_hex};
use crate::sigma::{self, Parsed};

/// A file and its text.
type File = (PathBuf, String);

/// Reads the rule files under `dir` in the order of their names.
pub(crate) fn read(dir: &Path) -> Result<Vec<File>, RuleError> {
    let tree = Tree { endings: &["yml", "yaml"], file_bytes_max: RULE_FILE_BYTES_MAX, files_max: RULE_FILES_MAX };
    let files = tree.read(dir).map_err(|error| match error {
        TreeError::Read { path, error } => RuleError::Read { path, error },
        TreeError::TooMuch { path, what, max } => RuleError::TooMuch { path, what, max },
    })?;
    Ok(files.into_iter().map(|(path, bytes)| (path, String::from_utf8_lossy(&bytes).into_owned())).collect())
}

/// How much is asked of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Demand {
    /// They parse and compile; what does not is left out.
    Usable,
    /// They have everything that ours must have.
    Complete,
    /// And their examples come out as they should.
    Proven,
}

/// Puts a rule set together of files that stand for themselves.
pub(crate) fn load(files: Vec<File>, demand: Demand) -> Result<RuleSet, RuleError> {
    let mut problems = Vec::new();
    let mut rules = parse_files(files, &mut problems, &|| false)?.rules;
    problems.extend(settle(&mut rules, &|| false)?.into_iter().map(|found| found.problem));
    if demand != Demand::Usable {
        problems.extend(rules.iter().flat_map(check::strict));
        if demand == Demand::Proven {
            problems.extend(examples::problems(&rules));
        }
        if !problems.is_empty() {
            return Err(RuleError::Problems(problems));
        }
    }
    RuleSet::of(rules, problems, Vec::new())
}

/// Puts a rule set together of several sources, of which a later one goes before an earlier one: where both have a rule of one id, the
/// later one's is taken, if it can be used. What cannot is left out and named, and so is, of a source that must prove its rules, what does
/// not; the rule whose place it would have taken stays.
pub(crate) fn assemble(sources: Vec<Source>, without: &[String]) -> Result<RuleSet, RuleError> {
    let mut overlay = Overlay::default();
    for source in sources {
        let parsed = parse_files(source.files, &mut overlay.problems, &|| false)?;
        overlay.put(parsed, source.must_prove);
    }
    for id in without {
        overlay.disable(id);
    }
    overlay.settle(&|| false)
}

/// Rules with those of the files of a request, which go before them, unless it is to stop.
pub(crate) fn beside(
    rules: Vec<Rule>,
    problems: Vec<Problem>,
    files: Vec<File>,
    stopping: &dyn Fn() -> bool,
) -> Result<RuleSet, RuleError> {
    let mut overlay = Overlay::of(rules, problems);
    let mut parsed = parse_files(files, &mut overlay.problems, stopping)?;
    parsed.rules.iter_mut().for_each(|rule| rule.is_of_request = true);
    overlay.put(parsed, false);
    overlay.settle(stopping)
}

/// Rule files of one place.
pub(crate) struct Source {
    pub(crate) files: Vec<File>,
    /// Whether each rule must have examples of both kinds, which come out as they should.
    pub(crate) must_prove: bool,
}

/// Everything that is wrong, without stopping at anything.
pub(crate) fn check(files: Vec<File>) -> Vec<Problem> {
    check_files_beside(files, Vec::new(), false).0
}

/// As [`check`], with the number of rules, where the files may speak of the rules of others beside them, and each rule must be proven if
/// `prove`.
pub(crate) fn check_files_beside(files: Vec<File>, beside: Vec<File>, prove: bool) -> (Vec<Problem>, usize) {
    let mut problems = Vec::new();
    let parsed = parse_files(files, &mut problems, &|| false).and_then(|own| {
        let others = parse_files(beside, &mut Vec::new(), &|| false)?.rules;
        let mut rules = own.rules;
        let own: HashSet<String> = rules.iter().map(|rule| rule.info.id.clone()).collect();
        rules.extend(others.into_iter().filter(|rule| !own.contains(&rule.info.id)));
        let found = settle(&mut rules, &|| false)?;
        Ok((rules, own, found))
    });
    let (rules, own, found) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            problems.push(Problem::of_set(&error));
            return (problems, 0);
        }
    };
    problems.extend(found.into_iter().map(|found| found.problem));
    let checked: Vec<&Rule> = rules.iter().filter(|rule| own.contains(&rule.info.id)).collect();
    problems.extend(checked.iter().filter(|rule| check::is_ours(rule)).flat_map(|rule| check::strict(rule)));
    if prove {
        let others = checked.iter().filter(|rule| !check::is_ours(rule));
        problems.extend(others.flat_map(|rule| check::unproven(rule)));
    }
    let mut lacking: HashSet<&str> = HashSet::new();
    for rule in &checked {
        let of_examples = examples::problems_of(rule, &rules);
        if !of_examples.is_empty() || !check::unproven(rule).is_empty() {
            lacking.insert(&rule.info.id);
        }
        problems.extend(of_examples);
    }
    if prove {
        let with_others = left_out_with(&rules, &lacking, &problems);
        problems.extend(with_others);
    }
    problems.extend(checked.iter().flat_map(|rule| unused_filter(rule, &rules)));
    let count = checked.len();
    (problems, count)
}

/// What is left out, of rules that must prove themselves, because of those that do not. What is told already is not told again.
fn left_out_with(rules: &[Rule], lacking: &HashSet<&str>, told: &[Problem]) -> Vec<Problem> {
    if lacking.is_empty() {
        return Vec::new();
    }
    let mut left: Vec<Rule> = rules.iter().filter(|rule| !lacking.contains(rule.info.id.as_str())).cloned().collect();
    // It is not stopped, and what does not compile at all is told elsewhere.
    let found = settle(&mut left, &|| false).unwrap_or_default();
    let found = found.into_iter().map(|found| found.problem).filter(|problem| !told.contains(problem));
    found
        .map(|problem| Problem {
            message: format!("{}; `strict` leaves them out, and this with them", problem.message),
            ..problem
        })
        .collect()
}

/// A filter whose log source none of its rules has.
fn unused_filter(filter: &Rule, rules: &[Rule]) -> Option<Problem> {
    let is_unused =
        filter.info.kind == RuleKind::Filter && !rules.iter().any(|rule| sigma::filters(&filter.parsed, &rule.parsed));
    is_unused.then(|| {
        let remedy = "write the log source of the rules that it is for, or leave it out";
        Problem::on(&filter.info, "logsource", "is that of none of the rules that the filter is for", remedy)
    })
}

/// The rules of files.
pub(super) struct ParsedFiles {
    /// Those that compile.
    pub(super) rules: Vec<Rule>,
    /// The ids of those that do not, and the place of the problem that says why.
    pub(super) refused: Vec<(String, usize)>,
}

fn parse_files(files: Vec<File>, problems: &mut Vec<Problem>, stopping: &dyn Fn() -> bool) -> Result<ParsedFiles, RuleError> {
    let mut all = ParsedFiles { rules: Vec::new(), refused: Vec::new() };
    let mut ids: HashMap<String, PathBuf> = HashMap::new();
    let mut count: usize = 0;
    for (file, text) in files {
        for (line, document) in documents(&text) {
            if stopping() {
                return Err(RuleError::Stopped);
            }
            let (parsed, errors) = sigma::parse(document);
            count += parsed.len().max(1);
            if count > RULES_MAX {
                return Err(RuleError::TooMuch { path: file, what: "rules before it and in it", max: RULES_MAX });
            }
            problems.extend(errors.into_iter().map(|error| Problem {
                file: file.clone(),
                line: Some(line),
                rule: title_of(document),
                field: check::field_of_error(&error),
                message: error,
                remedy: "correct the rule; docs/reference/rules.md describes the form".to_owned(),
            }));
            for (index, parsed) in parsed.into_iter().enumerate() {
                let mut rule = adopt(parsed, &file, line, document, index, problems);
                let weighed = sigma::weight(&rule.parsed);
                let weighed = weighed.and_then(|weight| sigma::compile_error(&rule.parsed).map_or(Ok(weight), Err));
                match weighed {
                    Ok(weight) => rule.weight = weight,
                    Err(error) => {
                        let is_of_condition = error.contains("condition") || error.contains("detection");
                        let field = if is_of_condition { "detection.condition" } else { "detection" };
                        all.refused.push((rule.info.id.clone(), problems.len()));
                        problems.push(Problem::on(&rule.info, field, error, LEFT_OUT));
                        continue;
                    }
                }
                match ids.get(&rule.info.id) {
                    Some(other) => problems.push(Problem::on(
                        &rule.info,
                        "id",
                        format!("the id is that of a rule in {}", other.display()),
                        "give the rule a UUID of its own",
                    )),
                    None => {
                        ids.insert(rule.info.id.clone(), file.clone());
                        all.rules.push(rule);
                    }
                }
            }
        }
    }
    Ok(all)
}

/// The documents of a YAML text with the line at which each begins. A text that uses Sigma's collection actions
/// (`action: global`) cannot be taken apart.
fn documents(text: &str) -> Vec<(usize, &str)> {
    if text.lines().any(|line| line.starts_with("action:")) {
        return vec![(1, text)];
    }
    let mut documents = Vec::new();
    let (mut begin, mut begin_line, mut offset) = (0, 1, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if line.starts_with("---") && line.trim_end().trim_end_matches('-').is_empty() {
            documents.push((begin_line, &text[begin..offset]));
            (begin, begin_line) = (offset + line.len(), number + 2);
        }
        offset += line.len();
    }
    documents.push((begin_line, &text[begin..]));
    documents.retain(|(_, document)| document.lines().any(|line| !line.trim().is_empty() && !line.starts_with('#')));
    documents
}

fn title_of(document: &str) -> String {
    let title = document.lines().find_map(|line| line.strip_prefix("title:")).unwrap_or_default();
    title.trim().chars().take(120).collect()
}

fn adopt(mut parsed: Parsed, file: &Path, line: usize, document: &str, index: usize, problems: &mut Vec<Problem>) -> Rule {
    let header = parsed.header();
    let digest = sha256_hex(&[document.as_bytes(), &index.to_le_bytes()]);
    let id = header.id.clone().filter(|id| !id.is_empty()).unwrap_or_else(|| format!("unnamed-{}", &digest[..16]));
    let extension = Extension::parse(header.extension.as_ref());
    parsed.adopt(&id);
    let mut info = RuleInfo {
        id,
        title: header.title,
        kind: parsed.kind(),
        severity: header.level.unwrap_or(Severity::Medium),
        status: header.status,
        description: header.description,
        category: header.category,
        techniques: Vec::new(),
        owasp: Vec::new(),
        nist: Vec::new(),
        falsepositives: header.falsepositives,
        runbook: None,
        confidence: CONFIDENCE_DEFAULT,
        digest,
        file: file.to_owned(),
        line,
    };
    let extension = extension.unwrap_or_else(|error| {
        problems.push(Problem::on(&info, "watchkeeper", error, "correct the block; docs/reference/rules.md lists its keys"));
        Extension::default()
    });
    for id in &extension.techniques {
        match id.parse::<TechniqueId>() {
            Ok(technique) => info.techniques.push(technique),
            Err(error) => problems.push(Problem::on(
                &info,
                "watchkeeper.techniques",
                error.to_string(),
                "name a technique of the release that content/taxonomy/atlas.json holds",
            )),
        }
    }
    info.owasp.clone_from(&extension.owasp);
    info.nist.clone_from(&extension.nist);
    for crosswalk in info.techniques.iter().map(|technique| technique.crosswalk()) {
        let derive = |into: &mut Vec<String>, own: &[String], derived: Vec<String>| {
            if own.is_empty() {
                into.extend(derived);
                into.sort_unstable();
                into.dedup();
            }
        };
        derive(&mut info.owasp, &extension.owasp, [crosswalk.owasp_llm, crosswalk.owasp_agentic].concat());
        derive(&mut info.nist, &extension.nist, crosswalk.nist);
    }
    info.runbook.clone_from(&extension.runbook);
    info.confidence = extension.confidence.unwrap_or(CONFIDENCE_DEFAULT).clamp(0.0, 1.0);
    if let Some(budget) = extension.budget
        && (budget.per_hour == 0 || budget.per_entity_hour == 0)
    {
        problems.push(Problem::on(&info, "watchkeeper.budget", "is 0", "write how many detections an hour may have, 1 or more"));
    }
    Rule { info, extension, parsed, weight: 0, is_of_request: false }
}

const LEFT_OUT: &str = "correct the rule; it is left out until then";
