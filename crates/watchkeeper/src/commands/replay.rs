//! `watchkeeper rules backtest` and `watchkeeper rules replay`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use server::config::RulesConfig;
use server::{Asker, Config, DataDir, Node, NodeSettings, ReplayReport, ReplayRequest};
use store::{Cell, Table};

use crate::cli::{Data, FormatName};
use crate::local_api::LocalApi;
use crate::output::{complain, printable, progress, say, table};

/// How often is looked how far a replay is that this process does itself.
const LOOK: Duration = Duration::from_millis(100);

/// Where the record is asked: the server that runs on it, or the directory itself.
pub(super) enum Record {
    Server(Box<LocalApi>),
    Node(Box<Node>),
}

/// Opens the record to be read. Where no server runs, nothing new is shown to the rules: that is for whoever writes the record.
pub(super) fn open(data: &Data, config: Option<&Path>) -> anyhow::Result<Record> {
    let dir = DataDir::existing(&data.path()?)?;
    Ok(match LocalApi::find(&dir, data)? {
        Some(api) => Record::Server(Box::new(api)),
        None => {
            let rules = Some(rules_in_force(&dir, data, config)?);
            let canaries = config.map(Config::read).transpose()?.map(|config| config.canary);
            let settings = NodeSettings { rules, canaries, detects: false, ..NodeSettings::default() };
            Record::Node(Box::new(Node::open(dir.path(), &data.root()?, &settings)?))
        }
    })
}

/// The rules of the configuration, or of the server's last start.
pub(super) fn rules_in_force(dir: &DataDir, data: &Data, config: Option<&Path>) -> anyhow::Result<RulesConfig> {
    Ok(match config {
        Some(config) => Config::read(config)?.rules,
        None => {
            let keyring = server::read_keyring(dir, &data.root()?)?;
            server::kept_rules(&keyring)?
        }
    })
}

fn ask(data: &Data, config: Option<&Path>, request: &ReplayRequest) -> anyhow::Result<ReplayReport> {
    let bar = progress("records", 0);
    let told = |read: u64, records: u64| {
        bar.set_length(records);
        bar.set_position(read);
    };
    let report = match open(data, config)? {
        Record::Server(api) => {
            let request = serde_json::to_value(request)?;
            api.post_watching("/api/rules/replay", &request, "/api/rules/replay", &mut |standing| {
                if let (Some(read), Some(records)) = (standing["read"].as_u64(), standing["records"].as_u64()) {
                    told(read, records);
                }
            })?
        }
        Record::Node(node) => {
            let (node_here, asker) = (&node, &Asker::of_process());
            let turn = node.turn_to_replay(asker, request)?;
            let watch = turn.watch();
            let report = std::thread::scope(|scope| {
                let replaying = scope.spawn(move || node_here.replay(turn, asker, request));
                while !replaying.is_finished() {
                    let (read, records) = watch.progress();
                    told(read, records);
                    std::thread::sleep(LOOK);
                }
                replaying.join()
            });
            node.close()?;
            report.map_err(|_| anyhow::anyhow!("the replay panicked; please report this"))??
        }
    };
    bar.finish_and_clear();
    Ok(report)
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
    Ok(ExitCode::from(u8::from(report.live.as_ref().is_some_and(server::Compared::differs))))
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
            "recorded {}, of these {} found again, {} not; {} found and not recorded (up to record {}, where detection is)",
            live.recorded, live.same, live.only_recorded_count, live.only_replayed_count, live.detected
        ))?;
        for (what, list) in [("not found again", &live.only_recorded), ("not recorded", &live.only_replayed)] {
            list.iter().take(10).try_for_each(|one| say(&printable(&format!("  {what}: {one}"))))?;
        }
        let changed = live.of_other_versions + live.of_newer_rules;
        if changed > 0 {
            say(&format!(
                "of rules that came, went or changed since: {} not found again, {} found and not recorded",
                live.of_other_versions, live.of_newer_rules
            ))?;
            let by_rule = live.changed.iter().take(10);
            by_rule
                .map(|one| format!("  {}: {} not found again, {} not recorded", one.rule, one.recorded, one.found))
                .try_for_each(|line| say(&printable(&line)))?;
        }
        if live.of_gone_records > 0 {
            say(&format!("{} detections rest on records that are no more", live.of_gone_records))?;
        }
        if live.uncompared > 0 {
            say(&format!("{} more differences than can be held", live.uncompared))?;
        }
    }
    Ok(())
}
