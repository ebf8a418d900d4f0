//! `watchkeeper erase`, `hold`, `retention` and `restore`: through the running server where there is one, else on the files.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use event::{Proof, Timestamp};
use serde_json::{Value, json};
use server::lifecycle::hold::Scope;
use server::lifecycle::{Asker, Erasure, Kept};
use server::{Config, DataDir, Node, NodeSettings};
use store::{Cell, Table};

use super::read::encode;
use crate::cli::{Data, FormatName, Hold, Ledger, Retention};
use crate::local_api::LocalApi;
use crate::output::{say, table};

/// The exit code of an erasure that found nobody: a mistyped id must not look like a person who was erased.
const NOBODY: u8 = 3;

/// Who asks on this machine.
pub(super) fn asker() -> Asker {
    let id = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "local".to_owned());
    Asker { id, proof: Proof::Local }
}

/// Does something with the running server, or with the files where none runs.
pub(super) fn with<T>(
    data: &Data,
    config: Option<&Path>,
    server: impl FnOnce(&LocalApi) -> anyhow::Result<T>,
    files: impl FnOnce(&Node) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let dir = DataDir::existing(&data.path()?)?;
    if let Some(api) = LocalApi::find(&dir, data)? {
        return server(&api);
    }
    let settings = match config {
        // Whoever only looks at the files leaves the archiving to the server.
        Some(config) => NodeSettings { archive_after: None, ..Config::read(config)?.node() },
        None => NodeSettings::default(),
    };
    let node = Node::open(dir.path(), &data.root()?, &settings)?;
    let done = files(&node);
    node.close()?;
    done
}

pub(super) fn erase(data: &Data, erasure: &Erasure, config: Option<&Path>, format: FormatName) -> anyhow::Result<ExitCode> {
    let Erasure { subject, aliases, reference, wide } = erasure;
    let body = json!({ "subject": subject, "aliases": aliases, "reference": reference, "wide": wide });
    let erased: Value = with(
        data,
        config,
        |api| api.post_patiently("/api/erase", &body),
        |node| Ok(serde_json::to_value(node.erase(&asker(), erasure)?)?),
    )?;
    let refused = erased["refused"].as_object().is_some_and(|refused| !refused.is_empty());
    let nobody = erased["found"] == 0 && erased["ended"].as_array().is_none_or(Vec::is_empty);
    if format == FormatName::Table {
        for ended in erased["ended"].as_array().into_iter().flatten() {
            let request = ended["request"].as_str().unwrap_or_default();
            say(&format!("{request}, which was interrupted, has come to its end: {} things went", ended["items"]))?;
        }
        for stay in erased["stays"].as_array().into_iter().flatten() {
            let text = |name: &str| stay[name].as_str().unwrap_or_default().to_owned();
            let (records, texts) = (&stay["records"], &stay["texts"]);
            say(&format!("refused: {records} records and {texts} texts stay, {} {}", text("ground"), text("by")))?;
        }
        if nobody {
            say("no record names this person: nothing was erased")?;
        }
        say(&format!(
            "{}: {} things went out of {} records; {} segments of the archive were written anew",
            erased["request"].as_str().unwrap_or_default(),
            erased["items"],
            erased["records"],
            erased["segments"],
        ))?;
        if erased["locked"].as_u64().is_some_and(|locked| locked > 0) {
            say(&format!("{} objects are still locked; their keys are destroyed, so nothing opens them", erased["locked"]))?;
        }
    } else {
        say(&serde_json::to_string_pretty(&erased)?)?;
    }
    Ok(match (refused, nobody) {
        (true, _) => ExitCode::from(1),
        (false, true) => ExitCode::from(NOBODY),
        (false, false) => ExitCode::SUCCESS,
    })
}

pub(super) fn hold(command: Hold) -> anyhow::Result<ExitCode> {
    match command {
        Hold::Place { data, name, reason, user, session, application, from, to } => {
            let scope = Scope { user, session, application, from: time("--from", from)?, to: time("--to", to)? };
            let body = json!({ "name": name, "reason": reason, "scope": scope });
            with(
                &data,
                None,
                |api| api.post("/api/holds", &body),
                |node| Ok(node.place_hold(&asker(), &name, &reason, scope.clone())?),
            )?;
            say(&format!("hold {name} stands"))?;
        }
        Hold::Release { data, name, reason } => {
            with(
                &data,
                None,
                |api| api.delete(&format!("/api/holds/{}?reason={}", encode(&name), encode(&reason))),
                |node| Ok(node.release_hold(&asker(), &name, &reason)?),
            )?;
            say(&format!("hold {name} is released"))?;
        }
        Hold::List { data, format } => {
            let holds: Value = with(&data, None, |api| api.get("/api/holds"), |node| Ok(serde_json::to_value(node.holds())?))?;
            let rows = holds.as_array().into_iter().flatten().map(|hold| {
                let text = |value: &Value| Cell::Text(value.as_str().map_or_else(|| value.to_string(), str::to_owned));
                vec![text(&hold["name"]), text(&hold["reason"]), text(&hold["scope"]), text(&hold["placed"])]
            });
            let columns = ["name", "reason", "scope", "placed"].map(str::to_owned).to_vec();
            table(&Table { columns, rows: rows.collect(), truncated: false }, format.format)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn retention(command: Retention) -> anyhow::Result<ExitCode> {
    match command {
        Retention::Show { data, segments, config, format } => {
            let kept: Value = with(
                &data,
                config.as_deref(),
                |api| api.get("/api/retention"),
                |node| Ok(serde_json::to_value(Kept::of(node))?),
            )?;
            let (list, columns): (_, &[&str]) = if segments {
                (&kept["segments"], &["archive", "first", "end", "class", "records", "bytes", "sealed_at", "until"])
            } else {
                (&kept["classes"], &["name", "title", "min_days", "max_days", "hot_days", "erasure", "basis"])
            };
            let cell = |value: &Value| match value {
                Value::Null => Cell::Null,
                Value::Number(number) => number.as_i64().map_or(Cell::Null, Cell::Int),
                Value::String(text) => Cell::Text(text.clone()),
                other => Cell::Text(other.to_string()),
            };
            let rows = list.as_array().into_iter().flatten().map(|row| columns.iter().map(|name| cell(&row[name])).collect());
            let columns = columns.iter().map(|name| (*name).to_owned()).collect();
            table(&Table { columns, rows: rows.collect(), truncated: false }, format.format)?;
            if format.format == FormatName::Table {
                say(&format!("records that no rule names are of class {}", kept["default"].as_str().unwrap_or_default()))?;
            }
        }
        Retention::Sweep { data, config } => {
            let dropped: Value = with(
                &data,
                config.as_deref(),
                |api| api.post_patiently("/api/retention/sweep", &json!({})),
                |node| {
                    let spans = node.sweep()?;
                    Ok(spans
                        .iter()
                        .map(|span| json!({ "first": span.first, "end": span.end, "class": span.class.as_str() }))
                        .collect())
                },
            )?;
            say(&format!("{} segments were dropped", dropped.as_array().map_or(0, Vec::len)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn ledger(command: Ledger) -> anyhow::Result<ExitCode> {
    let Ledger::Prune { data, before, dry_run, config, format } = command;
    let pruned: Value = with(
        &data,
        config.as_deref(),
        |api| api.post_patiently("/api/ledger/prune", &json!({ "before": before, "dry_run": dry_run })),
        |node| Ok(serde_json::to_value(node.prune(&asker(), before, dry_run)?)?),
    )?;
    if format.format == FormatName::Table {
        let (files, bytes, minimum, kept) = (&pruned["files"], &pruned["bytes"], &pruned["minimum"], &pruned["kept"]);
        let went = if dry_run { "would go" } else { "went" };
        say(&format!(
            "{files} tiles and entry bundles {went}, {bytes} bytes; the minimum index is {minimum}, {kept} below it stay"
        ))?;
    } else {
        say(&serde_json::to_string_pretty(&pruned)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn restore(data: &Data, from: &str, to: &str, format: FormatName) -> anyhow::Result<ExitCode> {
    let from = time("--from", Some(from.to_owned()))?.context("--from")?;
    let to = time("--to", Some(to.to_owned()))?.context("--to")?;
    let body = json!({ "from": from, "to": to });
    let restored: Value = with(
        data,
        None,
        |api| api.post_patiently("/api/restore", &body),
        |node| Ok(serde_json::to_value(node.restore(&asker(), from, to)?)?),
    )?;
    if format == FormatName::Table {
        let days: Vec<&str> = restored["days"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if days.is_empty() {
            say("nothing to bring back: the days are in the hot store, or the archive has none of them")?;
        } else {
            say(&format!("{} records of that time are back; queries see {} for a week", restored["records"], days.join(", ")))?;
        }
    } else {
        say(&serde_json::to_string_pretty(&restored)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn time(option: &'static str, text: Option<String>) -> anyhow::Result<Option<Timestamp>> {
    let Some(text) = text else { return Ok(None) };
    let time: jiff::Timestamp =
        text.parse().with_context(|| format!("{option} {text}: a time like 2026-03-01T09:00:00Z is needed"))?;
    let ns = u64::try_from(time.as_nanosecond()).with_context(|| format!("{option}: a time since 1970 is needed"))?;
    Ok(Some(Timestamp::from_unix_ns(ns)))
}
