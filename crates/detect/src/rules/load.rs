//! From files to a rule set.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use event::TechniqueId;
use files::{Tree, TreeError};

use super::check::{self, Problem};
use super::extension::{CONFIDENCE_DEFAULT, Extension};
use super::{RULE_FILE_BYTES_MAX, RULE_FILES_MAX, Rule, RuleError, RuleInfo, RuleKind, RuleSet, examples};
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
    let mut rules = parse_files(files, &mut problems);
    keep_what_compiles(&mut rules, &mut problems);
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
/// later one's is taken. What cannot be used is left out and named, and so is, of a source that must prove its rules, what does not.
pub(crate) fn assemble(sources: Vec<Source>, without: &[String]) -> Result<RuleSet, RuleError> {
    let mut problems = Vec::new();
    let mut notes = Vec::new();
    let mut rules: Vec<Rule> = Vec::new();
    let mut must_prove: HashSet<String> = HashSet::new();
    for source in sources {
        let own = parse_files(source.files, &mut problems);
        let ids: HashMap<&str, &Rule> = own.iter().map(|rule| (rule.info.id.as_str(), rule)).collect();
        rules.retain(|rule| {
            let by = ids.get(rule.info.id.as_str());
            if let Some(by) = by {
                let (here, there) = (by.info.file.display(), rule.info.file.display());
                notes.push(format!("rule {} of {here} takes the place of that of {there}", rule.info.id));
                must_prove.remove(&rule.info.id);
            }
            by.is_none()
        });
        if source.must_prove {
            must_prove.extend(own.iter().map(|rule| rule.info.id.clone()));
        }
        rules.extend(own);
    }
    for id in without {
        let before = rules.len();
        rules.retain(|rule| rule.info.id != *id);
        notes.push(match rules.len() < before {
            true => format!("rule {id} is disabled by the configuration"),
            false => format!("rule {id} is to be disabled, and no rule has that id"),
        });
    }
    keep_what_compiles(&mut rules, &mut problems);
    // What a rule that is left out here leaves without its rules goes, too, until nothing changes.
    let unproven = |rules: &[Rule]| -> Vec<Problem> {
        let all = rules.iter().filter(|rule| must_prove.contains(&rule.info.id));
        all.flat_map(|rule| check::unproven(rule).into_iter().chain(examples::problems_of(rule, rules))).collect()
    };
    let lacking = unproven(&rules);
    if !lacking.is_empty() {
        let out: HashSet<(PathBuf, Option<usize>, String)> =
            lacking.iter().map(|problem| (problem.file.clone(), problem.line, problem.rule.clone())).collect();
        rules.retain(|rule| !out.contains(&(rule.info.file.clone(), Some(rule.info.line), check::name_of(&rule.info))));
        problems.extend(lacking);
        keep_what_compiles(&mut rules, &mut problems);
    }
    RuleSet::of(rules, problems, notes)
}

/// Rules with those of files, which go before them.
pub(crate) fn beside(rules: Vec<Rule>, mut problems: Vec<Problem>, files: Vec<File>) -> Result<RuleSet, RuleError> {
    let own = parse_files(files, &mut problems);
    let ids: HashSet<String> = own.iter().map(|rule| rule.info.id.clone()).collect();
    let mut rules: Vec<Rule> = rules.into_iter().filter(|rule| !ids.contains(&rule.info.id)).chain(own).collect();
    keep_what_compiles(&mut rules, &mut problems);
    RuleSet::of(rules, problems, Vec::new())
}

/// Rule files of one place.
pub(crate) struct Source {
    pub(crate) files: Vec<File>,
    /// Whether each rule must have examples of both kinds, which come out as they should.
    pub(crate) must_prove: bool,
}

/// Everything that is wrong, without stopping at anything.
pub(crate) fn check(files: Vec<File>) -> Vec<Problem> {
    check_files(files).0
}

/// As [`check`], with the number of rules.
pub(crate) fn check_files(files: Vec<File>) -> (Vec<Problem>, usize) {
    check_files_beside(files, Vec::new(), false)
}

/// As [`check_files`], where the files may speak of the rules of others beside them, and each rule must be proven if `prove`.
pub(crate) fn check_files_beside(files: Vec<File>, beside: Vec<File>, prove: bool) -> (Vec<Problem>, usize) {
    let mut problems = Vec::new();
    let mut rules = parse_files(files, &mut problems);
    let own: HashSet<String> = rules.iter().map(|rule| rule.info.id.clone()).collect();
    rules.extend(parse_files(beside, &mut Vec::new()).into_iter().filter(|rule| !own.contains(&rule.info.id)));
    keep_what_compiles(&mut rules, &mut problems);
    let checked: Vec<&Rule> = rules.iter().filter(|rule| own.contains(&rule.info.id)).collect();
    problems.extend(checked.iter().filter(|rule| check::is_ours(rule)).flat_map(|rule| check::strict(rule)));
    if prove {
        let others = checked.iter().filter(|rule| !check::is_ours(rule));
        problems.extend(others.flat_map(|rule| check::unproven(rule)));
    }
    problems.extend(checked.iter().flat_map(|rule| examples::problems_of(rule, &rules)));
    problems.extend(checked.iter().flat_map(|rule| unused_filter(rule, &rules)));
    let count = checked.len();
    (problems, count)
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

fn parse_files(files: Vec<File>, problems: &mut Vec<Problem>) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut ids: HashMap<String, PathBuf> = HashMap::new();
    for (file, text) in files {
        for (line, document) in documents(&text) {
            let (parsed, errors) = sigma::parse(document);
            problems.extend(errors.into_iter().map(|error| Problem {
                file: file.clone(),
                line: Some(line),
                rule: title_of(document),
                field: check::field_of_error(&error),
                message: error,
                remedy: "correct the rule; docs/reference/rules.md describes the form".to_owned(),
            }));
            for (index, parsed) in parsed.into_iter().enumerate() {
                let rule = adopt(parsed, &file, line, document, index, problems);
                match ids.get(&rule.info.id) {
                    Some(other) => problems.push(Problem::on(
                        &rule.info,
                        "id",
                        format!("the id is that of a rule in {}", other.display()),
                        "give the rule a UUID of its own",
                    )),
                    None => {
                        ids.insert(rule.info.id.clone(), file.clone());
                        rules.push(rule);
                    }
                }
            }
        }
    }
    rules
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
    Rule { info, extension, parsed }
}

/// Leaves out rules that do not compile, and correlations and filters that speak of rules that are not there or of each
/// other in a circle.
fn keep_what_compiles(rules: &mut Vec<Rule>, problems: &mut Vec<Problem>) {
    rules.retain(|rule| match sigma::compile_error(&rule.parsed) {
        None => true,
        Some(error) => {
            let field =
                if error.contains("condition") || error.contains("detection") { "detection.condition" } else { "detection" };
            problems.push(Problem::on(&rule.info, field, error, "correct the rule; it is left out until then"));
            false
        }
    });
    let mut names: HashMap<String, String> = HashMap::new();
    let mut kept: HashSet<String> = HashSet::new();
    let name_rule = |rule: &Rule, names: &mut HashMap<String, String>| {
        let header = rule.parsed.header();
        for name in header.name.into_iter().chain([rule.info.id.clone(), rule.info.title.clone()]) {
            names.entry(name).or_insert_with(|| rule.info.id.clone());
        }
    };
    for rule in rules.iter().filter(|rule| rule.info.kind == RuleKind::Rule) {
        name_rule(rule, &mut names);
        kept.insert(rule.info.id.clone());
    }
    // Each round keeps the correlations whose rules are all kept already; what never gets there is dangling or circular.
    loop {
        let before = kept.len();
        for rule in rules.iter().filter(|rule| rule.info.kind == RuleKind::Correlation) {
            let found = rule.parsed.references().is_some_and(|all| all.iter().all(|name| names.contains_key(name)));
            if !kept.contains(&rule.info.id) && found {
                kept.insert(rule.info.id.clone());
                name_rule(rule, &mut names);
            }
        }
        if kept.len() == before {
            break;
        }
    }
    rules.retain(|rule| {
        let references = rule.parsed.references();
        let missing: Vec<&str> =
            references.unwrap_or(&[]).iter().filter(|name| !names.contains_key(*name)).map(String::as_str).collect();
        match rule.info.kind {
            RuleKind::Rule => true,
            RuleKind::Correlation if !kept.contains(&rule.info.id) => {
                let message = format!("refers to rules that are not in the set, or in a circle: {}", missing.join(", "));
                problems.push(Problem::on(&rule.info, "correlation.rules", message, NAME_RULES));
                false
            }
            RuleKind::Correlation => match sigma::correlation_error(&rule.parsed, |name| names.get(name).cloned()) {
                None => true,
                Some(error) => {
                    problems.push(Problem::on(&rule.info, "correlation", error, "correct the rule; it is left out until then"));
                    false
                }
            },
            RuleKind::Filter => {
                // It goes on for those that are there: an exclusion that is lost is a flood of false alarms.
                if !missing.is_empty() {
                    let message = format!("refers to rules that are not in the set: {}", missing.join(", "));
                    problems.push(Problem::on(&rule.info, "filter.rules", message, NAME_RULES));
                }
                references.is_none_or(|all| all.len() > missing.len())
            }
        }
    });
    // What a correlation that was left out just now leaves without its rules.
    let left: HashSet<String> = rules.iter().map(|rule| rule.info.id.clone()).collect();
    let is_whole = |rule: &Rule| {
        rule.info.kind != RuleKind::Correlation
            || rule
                .parsed
                .references()
                .is_none_or(|all| all.iter().all(|name| names.get(name).is_some_and(|id| left.contains(id))))
    };
    if rules.iter().any(|rule| !is_whole(rule)) {
        return keep_what_compiles(rules, problems);
    }
    for rule in rules {
        rule.parsed.resolve(|name| names.get(name).cloned());
    }
}

const NAME_RULES: &str = "refer to rules by the id or name that they have";
