//! From files to a rule set.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use event::TechniqueId;
use files::{Tree, TreeError};
use inspect::Canaries;

use super::check::{self, Problem};
use super::extension::{CONFIDENCE_DEFAULT, Extension};
use super::{RULE_FILE_BYTES_MAX, RULE_FILES_MAX, Rule, RuleError, RuleInfo, RuleKind, RuleSet, examples};
use crate::detection::{Severity, sha256_hex};
use crate::sigma::{self, Parsed, Sigma};
use crate::turns::Signs;

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

/// Puts a rule set together.
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
    let sigma = Sigma::compile(rules.iter().map(|rule| &rule.parsed)).map_err(RuleError::Compile)?;
    Ok(RuleSet { rules, sigma, problems, canaries: Canaries::default(), signs: Arc::new(Signs::builtin()?) })
}

/// Everything that is wrong, without stopping at anything.
pub(crate) fn check(files: Vec<File>) -> Vec<Problem> {
    check_files(files).0
}

/// As [`check`], with the number of rules.
pub(crate) fn check_files(files: Vec<File>) -> (Vec<Problem>, usize) {
    let mut problems = Vec::new();
    let mut rules = parse_files(files, &mut problems);
    keep_what_compiles(&mut rules, &mut problems);
    problems.extend(rules.iter().filter(|rule| check::is_ours(rule)).flat_map(check::strict));
    problems.extend(examples::problems(&rules));
    (problems, rules.len())
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
        for rule in rules.iter().filter(|rule| rule.info.kind != RuleKind::Rule) {
            let found = rule.parsed.references().is_none_or(|all| all.iter().all(|name| names.contains_key(name)));
            if !kept.contains(&rule.info.id) && found {
                kept.insert(rule.info.id.clone());
                if rule.info.kind == RuleKind::Correlation {
                    name_rule(rule, &mut names);
                }
            }
        }
        if kept.len() == before {
            break;
        }
    }
    rules.retain(|rule| {
        let keep = kept.contains(&rule.info.id);
        if !keep {
            let missing: Vec<&str> = rule.parsed.references().unwrap_or(&[]).iter().map(String::as_str).collect();
            let field = if rule.info.kind == RuleKind::Filter { "filter.rules" } else { "correlation.rules" };
            let message = format!("refers to rules that are not in the set, or in a circle: {}", missing.join(", "));
            problems.push(Problem::on(&rule.info, field, message, "refer to rules by the id or name that they have"));
        }
        keep
    });
    for rule in rules {
        rule.parsed.resolve(|name| names.get(name).cloned());
    }
}
