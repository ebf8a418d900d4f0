//! `watchkeeper rules coverage`.

use std::path::Path;
use std::process::ExitCode;

use detect::RuleSet;
use detect::coverage::{Coverage, Seen, State, navigator_layer};
use store::{Cell, Table};

use super::read::{self, Place};
use super::{replay, rules};
use crate::cli::{CoverageFormat, CoverageOptions, FormatName};
use crate::output::{complain, printable, say};

pub(super) fn coverage(options: &CoverageOptions) -> anyhow::Result<ExitCode> {
    let (coverage, whose) = match (&options.data.dir, &options.rules) {
        (None, None) => (Coverage::of(&RuleSet::builtin()?, None), "the program"),
        (None, Some(dir)) => (of_dir(dir, None)?, ""),
        (Some(_), _) => (of_record(options)?, "the rules in force"),
    };
    let whose = options.rules.as_ref().map_or_else(|| whose.to_owned(), |dir| dir.display().to_string());
    match options.format {
        CoverageFormat::Json => say(&serde_json::to_string_pretty(&coverage)?)?,
        CoverageFormat::Navigator => say(&serde_json::to_string_pretty(&navigator_layer(&coverage))?)?,
        CoverageFormat::Table => show(&coverage, &whose, options.all)?,
    }
    coverage.problems.iter().for_each(|problem| complain(&printable(problem)));
    let passes = coverage.techniques.iter().flat_map(|one| &one.rules).all(|rule| rule.examples_failed == 0);
    Ok(if passes && coverage.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Of the rules of a directory, beside those of the program.
fn of_dir(dir: &Path, seen: Option<&Seen>) -> anyhow::Result<Coverage> {
    let (set, own) = rules::beside_builtin(dir)?;
    Ok(Coverage::of_own(&set, &own, seen))
}

/// Of the rules in force, or of a directory, with what the record shows.
fn of_record(options: &CoverageOptions) -> anyhow::Result<Coverage> {
    match read::open(&options.data)? {
        Place::Server(api) => {
            let files = options.rules.as_deref().map(rules::rule_files).transpose()?;
            let request = serde_json::json!({ "days": options.days, "files": files.unwrap_or_default() });
            api.post_patiently("/api/rules/coverage", &request)
        }
        Place::Files(dir) => {
            let what = format!("fields, categories and detections of {} days", options.days);
            let in_force = || anyhow::Ok(replay::rules_in_force(&dir, &options.data, options.config.as_deref())?.rule_set()?);
            let (set, own) = match &options.rules {
                Some(rules) => rules::beside_builtin(rules).map(|(set, own)| (set, Some(own)))?,
                None => (in_force()?, None),
            };
            let reader = read::files(&dir, &options.data, options.reading, "rules coverage", &what)?;
            let seen = server::seen(&reader, options.days, &set, &|| false)?;
            Ok(match own {
                Some(own) => Coverage::of_own(&set, &own, seen.as_ref()),
                None => Coverage::of(&set, seen.as_ref()),
            })
        }
    }
}

fn show(coverage: &Coverage, whose: &str, all: bool) -> anyhow::Result<()> {
    let shown = coverage.techniques.iter().filter(|one| all || one.is_of_telemetry_logging || !one.rules.is_empty());
    let rows = shown.map(|one| {
        let least = one.rules.iter().filter(|rule| rule.state == one.state).min_by_key(|rule| rule.missing.len());
        let lacks = least.filter(|rule| rule.state == State::FieldsNotSeen).map(|rule| rule.missing.join(", "));
        vec![
            Cell::Text(one.technique.to_string()),
            Cell::Text(one.name.clone()),
            Cell::Text(if one.is_of_telemetry_logging { "yes" } else { "" }.to_owned()),
            Cell::Text(words(one.state).to_owned()),
            Cell::Int(i64::try_from(one.rules.len()).unwrap_or(i64::MAX)),
            Cell::Int(i64::try_from(one.detections).unwrap_or(i64::MAX)),
            Cell::Text(lacks.unwrap_or_default()),
        ]
    });
    let names = ["technique", "name", "AML.M0024", "coverage", "rules", "detections", "the record lacks"];
    // What nobody asked for is no zero.
    let columns = if coverage.is_of_record { 7 } else { 5 };
    let rows = rows.map(|row: Vec<Cell>| row.into_iter().take(columns).collect()).collect();
    let columns = names[..columns].iter().map(|name| (*name).to_owned()).collect();
    crate::output::table(&Table { columns, rows, truncated: false }, FormatName::Table)?;
    coverage.cut.iter().for_each(|cut| complain(&format!("not all of the record was asked: {cut}")));
    let sums = State::ALL.into_iter().rev().map(|state| (state, coverage.count(state))).filter(|(_, (all, _))| *all > 0);
    let sums: Vec<String> = sums.map(|(state, (all, of_17))| format!("{all} {} ({of_17} of AML.M0024)", words(state))).collect();
    say(&format!("ATLAS {}, {} rules of {whose}: {}", coverage.atlas, coverage.rules, sums.join(", ")))?;
    Ok(())
}

fn words(state: State) -> &'static str {
    match state {
        State::None => "no rule",
        State::Unproven => "unproven",
        State::FieldsNotSeen => "fields not seen",
        State::ExamplesOnly => "examples only",
        State::Covered => "covered",
    }
}
