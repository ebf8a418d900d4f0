//! `watchkeeper detect` and `watchkeeper rules`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use detect::RuleSet;

use crate::cli::Rules;
use crate::output::{complain, printable, say, stdout};

pub(super) fn detect(rules: &Path, events: &Path) -> anyhow::Result<ExitCode> {
    let mut runner = detect::Runner::new(load(Some(rules))?);
    let input: Box<dyn BufRead> = match events.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(BufReader::new(File::open(events).with_context(|| format!("cannot read {}", events.display()))?)),
    };
    let mut out = stdout();
    let mut all_read = true;
    for (index, line) in input.split(b'\n').enumerate() {
        let line = line?;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match serde_json::from_slice(&line) {
            Ok(event) => {
                for found in runner.next(&event) {
                    serde_json::to_writer(
                        &mut out,
                        &serde_json::json!({ "event": index, "rule": found.rule, "title": found.title }),
                    )?;
                    writeln!(out)?;
                }
            }
            Err(error) => {
                all_read = false;
                complain(&format!("{}: line {}: {error}", events.display(), index + 1));
            }
        }
    }
    out.flush()?;
    Ok(if all_read { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

pub(super) fn rules(command: Rules) -> anyhow::Result<ExitCode> {
    match command {
        Rules::Check { dir } => check(dir),
        Rules::Test { dir } => test(dir),
    }
}

fn check(dir: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let problems = match &dir {
        Some(dir) => RuleSet::check(dir)?,
        None => RuleSet::check_builtin(),
    };
    for problem in &problems {
        say(&printable(&problem.to_string()))?;
    }
    if problems.is_empty() {
        let rules = load(dir.as_deref())?;
        say(&format!("{} rules, no problems", rules.rules().len()))?;
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn test(dir: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let results = load(dir.as_deref())?.test();
    let failed = results.iter().filter(|result| !result.passed()).count();
    for result in results.iter().filter(|result| !result.passed()) {
        let (should, did) = if result.expected { ("fire", "did not") } else { ("stay silent", "fired") };
        say(&printable(&format!("FAILED {} ({}): {} should {should} and {did}", result.title, result.rule, result.example)))?;
    }
    say(&format!("{} passed, {failed} failed", results.len() - failed))?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn load(dir: Option<&Path>) -> anyhow::Result<RuleSet> {
    let rules = dir.map_or_else(RuleSet::builtin, |dir| RuleSet::load(dir, false))?;
    anyhow::ensure!(
        rules.rules().len() > 0,
        "no rules in {}: rules are *.yml and *.yaml files",
        dir.unwrap_or(Path::new(".")).display()
    );
    Ok(rules)
}
