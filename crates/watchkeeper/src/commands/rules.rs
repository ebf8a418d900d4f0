//! `watchkeeper detect` and `watchkeeper rules`.

use std::collections::HashSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use detect::RuleSet;
use files::{LineError, Lines};
use inspect::Inspector;
use inspect::format::SignatureFile;
use serde_json::json;
use server::{InspectConfig, ReplayRequest};

use super::jsonl;
use crate::cli::Rules;
use crate::output::{complain, printable, say, stdout};

/// Most problems that are told beside what was asked for.
const PROBLEMS_TOLD_MAX: usize = 16;

pub(super) fn detect(rules: &Path, events: &Path) -> anyhow::Result<ExitCode> {
    let rules = load(rules)?;
    for problem in rules.problems().iter().take(PROBLEMS_TOLD_MAX) {
        complain(&printable(&problem.to_string()));
    }
    if let Some(more @ 1..) = rules.problems().len().checked_sub(PROBLEMS_TOLD_MAX) {
        complain(&format!("{more} more problems of rules; `watchkeeper rules check` tells all"));
    }
    let mut runner = detect::Runner::new(rules);
    let mut lines = Lines::new(jsonl::open(events)?, jsonl::LINE_BYTES_MAX);
    let mut out = stdout();
    let mut all_read = true;
    loop {
        let problem = match lines.read() {
            Ok(None) => break,
            Ok(Some((number, line))) => match jsonl::value(line) {
                Ok(event) => {
                    for found in runner.next(&event) {
                        let found = json!({ "event": number - 1, "rule": found.rule, "title": found.title });
                        serde_json::to_writer(&mut out, &found)?;
                        writeln!(out)?;
                    }
                    continue;
                }
                Err(problem) => format!("line {number}: {problem}; a line is an event as a JSON object"),
            },
            Err(error @ LineError::TooLong { .. }) => error.to_string(),
            Err(LineError::Io(error)) => return Err(error).with_context(|| format!("cannot read {}", events.display())),
        };
        all_read = false;
        complain(&format!("{}: {problem}", events.display()));
    }
    out.flush()?;
    Ok(if all_read { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn runbook(name: Option<&str>) -> anyhow::Result<ExitCode> {
    let mut out = stdout();
    match name {
        None => detect::runbooks().try_for_each(|name| writeln!(out, "{name}"))?,
        Some(name) => {
            let text = detect::runbook(name);
            let text = text.with_context(|| format!("no runbook {name:?}; `watchkeeper rules runbook` names all"))?;
            out.write_all(text.as_bytes())?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn rules(command: Rules) -> anyhow::Result<ExitCode> {
    match command {
        Rules::Check { dir, strict } => check(dir, strict),
        Rules::Explain(asked) => super::explain::explain(&asked),
        Rules::Backtest { rules, data, since, until, beside, config, format } => {
            let files = rule_files(&rules)?;
            let request = ReplayRequest { files, beside, since, until };
            super::replay::backtest(&data, config.as_deref(), &request, format.format)
        }
        Rules::Runbook { name } => runbook(name.as_deref()),
        Rules::Replay { data, config, format } => super::replay::replay(&data, config.as_deref(), format.format),
        Rules::Test { dir } => test(dir),
        Rules::Coverage(options) => super::coverage::coverage(&options),
        Rules::Import { from, path, to, benign, format } => super::import_rules::import(from, &path, &to, &benign, format.format),
    }
}

fn check(dir: Option<PathBuf>, strict: bool) -> anyhow::Result<ExitCode> {
    let builtin = InspectConfig::default().sources()?;
    let (problems, rules, own) = match &dir {
        Some(dir) => {
            let files = RuleSet::read(dir)?.into_iter();
            let (signatures, sigma): (Vec<_>, Vec<_>) = files.partition(|(_, text)| SignatureFile::is_one(text));
            let own: Vec<_> = signatures.into_iter().map(|(path, text)| (path.display().to_string(), text)).collect();
            let (problems, rules) = RuleSet::check_files(sigma, strict);
            (problems, rules, own)
        }
        None => (RuleSet::check_builtin(), RuleSet::builtin()?.rules().len(), Vec::new()),
    };
    let mut told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    // Signatures of one's own may use the fragments of those that are part of the program, and must not have their ids.
    let asked_for = dir.is_none() || !own.is_empty();
    let sources: Vec<_> = builtin.into_iter().filter(|_| asked_for).chain(own).collect();
    told.extend(Inspector::check(&sources).iter().map(ToString::to_string));
    for problem in &told {
        say(&printable(problem))?;
    }
    if !told.is_empty() {
        return Ok(ExitCode::from(1));
    }
    let loading = Inspector::from_checked_sources(&sources)?.loading();
    let shipped = if dir.is_some() && asked_for { Inspector::builtin()?.signature_count() } else { 0 };
    let signatures = loading.signatures - shipped;
    let named = dir.as_deref().unwrap_or(Path::new("."));
    anyhow::ensure!(
        rules + signatures + loading.disabled > 0,
        "no rules and no signatures in {}: both are *.yml and *.yaml files",
        named.display()
    );
    let disabled = if loading.disabled == 0 { String::new() } else { format!(" and {} that are not enabled", loading.disabled) };
    say(&format!("{rules} rules, {signatures} signatures{disabled}, no problems"))?;
    Ok(ExitCode::SUCCESS)
}

fn test(dir: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let (rules, own) = match dir.as_deref() {
        Some(dir) => beside_builtin(dir).map(|(rules, own)| (rules, Some(own)))?,
        None => (RuleSet::builtin()?, None),
    };
    for problem in rules.problems() {
        say(&printable(&format!("LEFT OUT {problem}")))?;
    }
    let left_out = rules.problems().len();
    let results = rules.test_those(|rule| own.as_ref().is_none_or(|own| own.contains(&rule.id)));
    let failed = results.iter().filter(|result| !result.passed()).count();
    for result in results.iter().filter(|result| !result.passed()) {
        let (should, did) = if result.expected { ("fire", "did not") } else { ("stay silent", "fired") };
        say(&printable(&format!("FAILED {} ({}): {} should {should} and {did}", result.title, result.rule, result.example)))?;
    }
    let left = if left_out == 0 { String::new() } else { format!(", {left_out} problem(s) of rules that are left out") };
    say(&format!("{} passed, {failed} failed{left}", results.len() - failed))?;
    Ok(if failed + left_out == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The Sigma rules of a directory, with the names of their files.
pub(super) fn rule_files(dir: &Path) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let files: Vec<_> = RuleSet::read(dir)?.into_iter().filter(|(_, text)| !SignatureFile::is_one(text)).collect();
    anyhow::ensure!(
        !files.is_empty(),
        "no Sigma rules in {}: they are *.yml and *.yaml files; examples of signatures are tried by `watchkeeper rules check`",
        dir.display()
    );
    Ok(files)
}

/// The rules of a directory beside those that are part of the program, as a server has them, and the ids of the directory's own.
pub(super) fn beside_builtin(dir: &Path) -> anyhow::Result<(RuleSet, HashSet<String>)> {
    let (rules, own) = RuleSet::beside_builtin(rule_files(dir)?, &|| false)?;
    usable(own.len(), &rules, dir)?;
    Ok((rules, own))
}

/// The rules of a directory alone.
fn load(dir: &Path) -> anyhow::Result<RuleSet> {
    let rules = RuleSet::of_files(rule_files(dir)?)?;
    usable(rules.rules().len(), &rules, dir)?;
    Ok(rules)
}

fn usable(count: usize, rules: &RuleSet, dir: &Path) -> anyhow::Result<()> {
    match (count, rules.problems().first()) {
        (0, Some(first)) => anyhow::bail!("no rule of {} can be used; the first problem: {first}", dir.display()),
        (0, None) => anyhow::bail!("no Sigma rules in {}: its files are empty", dir.display()),
        _ => Ok(()),
    }
}
