//! `watchkeeper rules explain`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use detect::{ExplainedItem, ExplainedPart, Explanation, RuleSet, RuleSources, Runner};
use files::Lines;
use server::{Asker, ExplainRequest};

use super::replay::{Record, open};
use super::{jsonl, rules};
use crate::cli::{Explained, FormatName};
use crate::output::{printable, say};

pub(super) fn explain(asked: &Explained) -> anyhow::Result<ExitCode> {
    let told = match &asked.event {
        Some(file) => of_file(asked, file)?,
        None => of_record(asked)?,
    };
    if asked.format.format == FormatName::Table {
        for (number, one) in told.iter().enumerate() {
            if number > 0 {
                say("")?;
            }
            show(one, 0)?;
        }
    } else {
        say(&serde_json::to_string_pretty(&told)?)?;
    }
    Ok(ExitCode::from(u8::from(!told.iter().any(|one| one.matched))))
}

/// Of events in a file, by plain Sigma semantics: the last, after the others.
fn of_file(asked: &Explained, file: &Path) -> anyhow::Result<Vec<Explanation>> {
    let called = asked.rule.as_deref().context("name the rule: its id, name or title")?;
    let dirs: Vec<PathBuf> = asked.rules.iter().cloned().collect();
    let set = RuleSet::assemble(&RuleSources { builtin: true, dirs: &dirs, ..RuleSources::default() })?;
    let rule = set.find(called).with_context(|| {
        let wrong: Vec<String> = set.problems().iter().map(ToString::to_string).collect();
        let wrong = if wrong.is_empty() { wrong.join("") } else { format!(". Left out: {}", wrong.join("; ")) };
        format!("no rule is called {called:?}; give its id, name or title, and its directory by --rules{wrong}")
    })?;
    let rule = rule.id.clone();
    let mut runner = Runner::new(set);
    let mut lines = Lines::new(jsonl::open(file)?, jsonl::LINE_BYTES_MAX);
    let mut last = None;
    while let Some((number, line)) = lines.read().with_context(|| format!("cannot read {}", file.display()))? {
        let event = jsonl::value(line).map_err(|problem| anyhow::anyhow!("{}: line {number}: {problem}", file.display()))?;
        runner.next(&event);
        last = Some(event);
    }
    let event = last.with_context(|| format!("{} has no event; write one as a JSON object on one line", file.display()))?;
    Ok(runner.explain(&rule, &event).into_iter().collect())
}

/// Of what is recorded, as detection saw it.
fn of_record(asked: &Explained) -> anyhow::Result<Vec<Explanation>> {
    let event = asked.detection.clone().or_else(|| asked.event_id.clone()).unwrap_or_default();
    anyhow::ensure!(asked.rule.is_some() || asked.detection.is_some(), "name the rule: its id, name or title");
    let files = asked.rules.as_deref().map(rules::rule_files).transpose()?.unwrap_or_default();
    let request = ExplainRequest { rule: asked.rule.clone(), event, files };
    match open(&asked.data, asked.config.as_deref())? {
        Record::Server(api) => api.post_patiently("/api/rules/explain", &serde_json::to_value(&request)?),
        Record::Node(node) => {
            let asker = Asker::of_process();
            let told = node.turn_to_explain(&asker).and_then(|turn| node.explain(&turn, &asker, &request));
            node.close()?;
            Ok(told?)
        }
    }
}

fn show(one: &Explanation, indent: usize) -> anyhow::Result<()> {
    let margin = " ".repeat(indent);
    let verdict = if one.matched { "matches" } else { "does not match" };
    say(&printable(&format!("{margin}{verdict}: {} ({})", one.title, one.rule)))?;
    if !one.place.is_empty() {
        say(&printable(&format!("{margin}  {}", one.place)))?;
    }
    for note in &one.notes {
        say(&printable(&format!("{margin}  note: {note}")))?;
    }
    if let Some(window) = &one.window {
        let value = window.value.map_or_else(|| "nothing".to_owned(), |value| value.to_string());
        let group: Vec<String> = window.group.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let group = if group.is_empty() { String::new() } else { format!(" for {}", group.join(", ")) };
        let line = format!(
            "{margin}  {} {}: {value} in {} s{group}, asked for is {}",
            mark(window.holds),
            window.kind,
            window.seconds,
            window.condition
        );
        say(&printable(&line))?;
    }
    for part in &one.conditions {
        show_part(part, indent + 2)?;
    }
    // What it counts before what is in the way, which may be an item of it.
    if !one.rules.is_empty() {
        say(&format!("{margin}  it rests on:"))?;
        one.rules.iter().try_for_each(|below| show(below, indent + 4))?;
    }
    if !one.near_miss.is_empty() {
        say(&printable(&format!("{margin}  it would match but for:")))?;
        one.near_miss.iter().try_for_each(|miss| say(&printable(&format!("{margin}    {miss}"))))?;
    }
    Ok(())
}

fn show_part(part: &ExplainedPart, indent: usize) -> anyhow::Result<()> {
    let seen = match &part.item {
        Some(ExplainedItem { seen: Some(seen), .. }) => format!(" · {seen:?}"),
        Some(ExplainedItem { field: Some(_), .. }) => " · the event has no such field".to_owned(),
        _ => String::new(),
    };
    let case = if part.item.as_ref().is_some_and(|item| item.reason == "case_mismatch") { " · but for its case" } else { "" };
    say(&printable(&format!("{}{} {}{seen}{case}", " ".repeat(indent), mark(part.matched), part.what)))?;
    part.parts.iter().try_for_each(|below| show_part(below, indent + 2))
}

fn mark(matched: bool) -> char {
    if matched { '+' } else { '-' }
}
