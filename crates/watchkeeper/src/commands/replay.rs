//! `watchkeeper rules backtest` and `watchkeeper rules replay`.

use std::path::Path;
use std::process::ExitCode;

use server::{Asker, Config, DataDir, Node, NodeSettings, ReplayReport, ReplayRequest};
use store::{Cell, Table};

use crate::cli::{Data, FormatName};
use crate::local_api::LocalApi;
use crate::output::{complain, printable, say, table};

/// Where the record is asked: the server that runs on it, or the directory itself.
pub(super) enum Record {
    Server(Box<LocalApi>),
    Node(Box<Node>),
}

pub(super) fn open(data: &Data, config: Option<&Path>) -> anyhow::Result<Record> {
    let dir = DataDir::existing(&data.path()?)?;
    Ok(match LocalApi::find(&dir, data)? {
        Some(api) => Record::Server(Box::new(api)),
        None => {
            let rules = config.map(Config::read).transpose()?.unwrap_or_default().rules;
            Record::Node(Box::new(Node::open(dir.path(), &data.root()?, &NodeSettings { rules, ..NodeSettings::default() })?))
        }
    })
}

fn ask(data: &Data, config: Option<&Path>, request: &ReplayRequest) -> anyhow::Result<ReplayReport> {
    match open(data, config)? {
        Record::Server(api) => api.post_patiently("/api/rules/replay", &serde_json::to_value(request)?),
        Record::Node(node) => {
            let report = node.replay(&Asker::of_process(), request);
            node.close()?;
            Ok(report?)
        }
    }
}

pub(super) fn backtest(
    data: &Data,
    config: Option<&Path>,
    request: &ReplayRequest,
    format: FormatName,
) -> anyhow::Result<ExitCode> {
    let report = ask(data, config, request)?;
    if report.rules == 0 {
        report.problems.iter().for_each(|problem| complain(problem));
        anyhow::bail!("none of these rules can be tried; `watchkeeper rules check` says why");
    }
    show(&report, format)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn replay(data: &Data, config: Option<&Path>, format: FormatName) -> anyhow::Result<ExitCode> {
    let report = ask(data, config, &ReplayRequest::default())?;
    show(&report, format)?;
    let differs = report.live.as_ref().is_some_and(|live| live.only_recorded_count + live.only_replayed_count > 0);
    Ok(ExitCode::from(u8::from(differs)))
}

fn show(report: &ReplayReport, format: FormatName) -> anyhow::Result<()> {
    if format == FormatName::Json {
        return Ok(say(&serde_json::to_string_pretty(report)?)?);
    }
    report.problems.iter().for_each(|problem| complain(problem));
    let text = |text: &str| Cell::Text(text.to_owned());
    let number = |number: u64| Cell::Int(i64::try_from(number).unwrap_or(i64::MAX));
    let columns = ["severity", "title", "rule", "detections", "suppressed", "entities"].map(str::to_owned).to_vec();
    let is_loud = |rule: &&server::OfRule| rule.detections + rule.suppressed > 0;
    let rows = report.by_rule.iter().filter(is_loud).map(|rule| {
        let entities = u64::try_from(rule.entities).unwrap_or(u64::MAX);
        vec![
            text(&rule.severity),
            text(&rule.title),
            text(&rule.rule),
            number(rule.detections),
            number(rule.suppressed),
            number(entities),
        ]
    });
    table(&Table { columns, rows: rows.collect(), truncated: false }, format)?;
    if format == FormatName::Csv {
        return Ok(());
    }
    let silent = report.by_rule.iter().filter(|rule| !is_loud(rule)).count();
    let received = report.received.as_ref().map_or_else(String::new, |(from, to)| format!(", received {from} to {to}"));
    say(&format!("{} records{received}; {} rules, {silent} of them silent", report.records, report.rules))?;
    say(&format!("{} detections, {} beyond alert budgets", report.detections, report.suppressed))?;
    for (day, count) in &report.by_day {
        say(&format!("  {day}  {count}"))?;
    }
    for entity in report.by_entity.iter().take(10) {
        say(&printable(&format!("  {}: {} by {} rules", entity.entity, entity.detections, entity.rules)))?;
    }
    if let Some(live) = &report.live {
        say(&format!(
            "recorded {}, of these {} found again, {} of rules of other versions, {} not found again; {} found and not recorded",
            live.recorded, live.same, live.of_other_versions, live.only_recorded_count, live.only_replayed_count
        ))?;
        for (what, list) in [("not found again", &live.only_recorded), ("not recorded", &live.only_replayed)] {
            list.iter().take(10).try_for_each(|one| say(&printable(&format!("  {what}: {one}"))))?;
        }
    }
    Ok(())
}
