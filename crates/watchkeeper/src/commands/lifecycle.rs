//! `watchkeeper erase`, `hold`, `retention` and `restore`: through the running server where there is one, else on the files.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use event::Timestamp;
use serde_json::{Value, json};
use server::lifecycle::hold::Scope;
use server::lifecycle::{Erasure, Kept};
use server::{Asker, Config, DataDir, Node, NodeSettings};
use store::{Cell, Table};

use super::read::encode;
use crate::cli::{Data, FormatName, Hold, Ledger, Operator, Retention};
use crate::local_api::LocalApi;
use crate::output::{say, table};

/// The option with the end of a time.
const TO: &str = "--to";

/// How long a date is without a time: 2026-03-01.
const DATE_LENGTH: usize = 10;

/// The exit code of an erasure that found nobody: a mistyped id must not look like a person who was erased.
const NOBODY: u8 = 3;

/// Does something with the running server, or with the files where none runs.
pub(super) fn with<T>(
    data: &Data,
    operator: &Operator,
    config: Option<&Path>,
    server: impl FnOnce(&LocalApi) -> anyhow::Result<T>,
    files: impl FnOnce(&Node, &Asker) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let operator = operator.name()?;
    let dir = DataDir::existing(&data.path()?)?;
    if let Some(api) = LocalApi::find(&dir, data)? {
        return server(&api.with_operator(operator));
    }
    let node = Node::open(dir.path(), &data.root()?, &settings(config)?)?;
    let done = files(&node, &Asker::of_process().with_operator(operator));
    node.close()?;
    done
}

/// How a record is opened for a moment: by the server's configuration, or as its last start said.
pub(super) fn settings(config: Option<&Path>) -> anyhow::Result<NodeSettings> {
    Ok(match config {
        // Whoever only looks at the files leaves the archiving to the server.
        Some(config) => NodeSettings { archive_after: None, ..Config::read(config)?.node() },
        None => NodeSettings::default(),
    })
}

pub(super) fn erase(
    data: &Data,
    operator: &Operator,
    erasure: &Erasure,
    config: Option<&Path>,
    format: FormatName,
) -> anyhow::Result<ExitCode> {
    let Erasure { subject, aliases, reference, wide } = erasure;
    let body = json!({ "subject": subject, "aliases": aliases, "reference": reference, "wide": wide });
    let erased: Value = with(
        data,
        operator,
        config,
        |api| api.post_patiently("/api/erase", &body),
        |node, asker| Ok(serde_json::to_value(node.erase(asker, erasure)?)?),
    )?;
    let refused = erased["refused"].as_object().is_some_and(|refused| !refused.is_empty());
    let nobody = erased["found"] == 0 && erased["ended"].as_array().is_none_or(Vec::is_empty);
    if format == FormatName::Table {
        for ended in erased["ended"].as_array().into_iter().flatten() {
            let request = ended["request"].as_str().unwrap_or_default();
            say(&format!("{request}, which was interrupted, has come to its end: {} went", items(ended)))?;
        }
        for stay in erased["stays"].as_array().into_iter().flatten() {
            let text = |name: &str| stay[name].as_str().unwrap_or_default().to_owned();
            let (records, texts) = (&stay["records"], &stay["texts"]);
            let remedy = match text("ground").as_str() {
                "legal_hold" => "; `watchkeeper hold list` says why, `watchkeeper hold release` ends it",
                "legal_duty" => "; `watchkeeper retention show` says for how long",
                _ => "",
            };
            say(&format!("refused: {records} records and {texts} texts stay, {} {}{remedy}", text("ground"), text("by")))?;
        }
        if nobody {
            say(
                "no record names this person: nothing was erased; look at the id again, it is the `user.id` that applications send:\n  \
                 watchkeeper query \"SELECT DISTINCT user_id FROM prompts ORDER BY user_id\"",
            )?;
        }
        if !nobody {
            say(&format!(
                "{}: {} went out of {} records; {} segments of the archive were written anew",
                erased["request"].as_str().unwrap_or_default(),
                items(&erased),
                erased["records"],
                erased["segments"],
            ))?;
        }
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

/// What went, in the words of the tombstone's list. `verify` counts each field of a whole event, and says so.
fn items(erased: &Value) -> String {
    let names = [
        ("events", "whole events"),
        ("fields", "fields of other events"),
        ("texts", "texts"),
        ("tokens", "tokens in texts of others"),
    ];
    let kinds: Vec<String> = names
        .iter()
        .filter(|(kind, _)| erased["kinds"][kind].as_u64().is_some_and(|count| count > 0))
        .map(|(kind, words)| format!("{} {words}", erased["kinds"][kind]))
        .collect();
    let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
    format!("{} items{kinds}", erased["items"])
}

pub(super) fn hold(command: Hold) -> anyhow::Result<ExitCode> {
    match command {
        Hold::Place { data, operator, name, reason, user, session, application, from, to } => {
            let scope = Scope { user, session, application, from: time("--from", from)?, to: time(TO, to)? };
            let body = json!({ "name": name, "reason": reason, "scope": scope });
            with(
                &data,
                &operator,
                None,
                |api| api.post("/api/holds", &body),
                |node, asker| Ok(node.place_hold(asker, &name, &reason, scope.clone())?),
            )?;
            say(&format!("hold {name} stands"))?;
        }
        Hold::Release { data, operator, name, reason } => {
            with(
                &data,
                &operator,
                None,
                |api| api.delete(&format!("/api/holds/{}?reason={}", encode(&name), encode(&reason))),
                |node, asker| Ok(node.release_hold(asker, &name, &reason)?),
            )?;
            say(&format!("hold {name} is released"))?;
        }
        Hold::List { data, format } => {
            let holds: Value = with(
                &data,
                &Operator::default(),
                None,
                |api| api.get("/api/holds"),
                |node, _| Ok(serde_json::to_value(node.holds_shown())?),
            )?;
            let rows = holds.as_array().into_iter().flatten().map(|hold| {
                let text = |value: &Value| Cell::Text(value.as_str().map_or_else(|| value.to_string(), str::to_owned));
                let who = |value: &Value| if value.is_null() { Cell::Null } else { text(value) };
                vec![
                    text(&hold["name"]),
                    text(&hold["reason"]),
                    text(&hold["scope"]),
                    text(&hold["placed"]),
                    who(&hold["placed_by"]),
                ]
            });
            let columns = ["name", "reason", "scope", "placed", "placed_by"].map(str::to_owned).to_vec();
            let rows: Vec<Vec<Cell>> = rows.collect();
            if rows.is_empty() && format.format == FormatName::Table {
                say("no hold stands: nothing is kept from erasure and from the end of its retention by one; place one with\n  \
                     watchkeeper hold place CASE --reason \"why\" --user ID")?;
            } else {
                table(&Table { columns, rows, truncated: false }, format.format)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn retention(command: Retention) -> anyhow::Result<ExitCode> {
    match command {
        Retention::Show { data, segments, config, format } => {
            let kept: Value = with(
                &data,
                &Operator::default(),
                config.as_deref(),
                |api| api.get("/api/retention"),
                |node, _| Ok(serde_json::to_value(Kept::of(node))?),
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
            let rows: Vec<Vec<Cell>> = rows.collect();
            if rows.is_empty() && segments && format.format == FormatName::Table {
                say(
                    "the archive has no segment yet: records come there when a file of the journal is full, or after `archive.after_minutes`",
                )?;
                return Ok(ExitCode::SUCCESS);
            }
            table(&Table { columns, rows, truncated: false }, format.format)?;
            if format.format == FormatName::Table {
                say(&format!("records that no rule names are of class {}", kept["default"].as_str().unwrap_or_default()))?;
                if let Some(since) = kept["since"].as_str() {
                    say(&format!("this policy stands since {since}; the events retention.policy say what was before"))?;
                }
            }
        }
        Retention::Sweep { data, operator, clock_is_right, config, format } => {
            let swept: Value = with(
                &data,
                &operator,
                config.as_deref(),
                |api| api.post_patiently("/api/retention/sweep", &json!({ "clock_is_right": clock_is_right })),
                |node, asker| Ok(serde_json::to_value(node.sweep(asker, clock_is_right)?)?),
            )?;
            if format.format == FormatName::Table {
                say_swept(&swept)?;
            } else {
                say(&serde_json::to_string_pretty(&swept)?)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn ledger(command: Ledger) -> anyhow::Result<ExitCode> {
    let Ledger::Prune { data, operator, before, dry_run, config, format } = command;
    let pruned: Value = with(
        &data,
        &operator,
        config.as_deref(),
        |api| api.post_patiently("/api/ledger/prune", &json!({ "before": before, "dry_run": dry_run })),
        |node, asker| Ok(serde_json::to_value(node.prune(asker, before, dry_run)?)?),
    )?;
    if format.format == FormatName::Table {
        let (files, bytes, minimum, kept) = (&pruned["files"], &pruned["bytes"], &pruned["minimum"], &pruned["kept"]);
        let went = if dry_run { "would go" } else { "went" };
        say(&format!(
            "{files} tiles and entry bundles {went}, {bytes} bytes; the minimum index is {minimum}, {kept} below it stay"
        ))?;
        for keeping in pruned["keeping"].as_array().into_iter().flatten() {
            let (class, records, first) =
                (&keeping["class"].as_str().unwrap_or_default(), &keeping["records"], &keeping["first"]);
            say(&format!(
                "kept below it, with the leaves beside them: {records} records of class {class}, the first is {first}"
            ))?;
        }
        say(&format!("none from {} on: {}", pruned["limit"], pruned["why"].as_str().unwrap_or_default()))?;
    } else {
        say(&serde_json::to_string_pretty(&pruned)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What a sweep did, for people.
fn say_swept(swept: &Value) -> anyhow::Result<()> {
    for stays in swept["stay"].as_array().into_iter().flatten() {
        let (class, why) = (stays["class"].as_str().unwrap_or_default(), stays["why"].as_str().unwrap_or_default());
        say(&format!("records {} to {} of class {class} stay although their time is over: {why}", stays["first"], stays["end"]))?;
    }
    let dropped = swept["dropped"].as_array().map_or(0, Vec::len);
    let until = if dropped == 0 { "; `watchkeeper retention show --segments` says until when each is kept" } else { "" };
    say(&format!("{dropped} segments were dropped{until}"))?;
    Ok(())
}

pub(super) fn restore(data: &Data, operator: &Operator, from: &str, to: &str, format: FormatName) -> anyhow::Result<ExitCode> {
    let from = time("--from", Some(from.to_owned()))?.context("--from")?;
    let to = time(TO, Some(to.to_owned()))?.context("--to")?;
    let body = json!({ "from": from, "to": to });
    let restored: Value = with(
        data,
        operator,
        None,
        |api| api.post_patiently("/api/restore", &body),
        |node, asker| Ok(serde_json::to_value(node.restore(asker, from, to)?)?),
    )?;
    if format == FormatName::Table {
        say_restored(&restored)?;
    } else {
        say(&serde_json::to_string_pretty(&restored)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What came back, and why the rest did not, for people.
fn say_restored(restored: &Value) -> anyhow::Result<()> {
    let list = |name: &str| -> Vec<String> {
        restored[name].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let (days, there) = (list("days"), list("there"));
    if days.is_empty() {
        say("nothing was brought back")?;
    } else {
        say(&format!("{} records of that time are back; queries see {} for a week", restored["records"], days.join(", ")))?;
    }
    if !there.is_empty() {
        say(&format!("in the hot store already: {}", shortened(&there)))?;
    }
    if restored["without"].as_u64().is_some_and(|without| without > 0) {
        let without = &restored["without"];
        say(&format!(
            "{without} days have no record: nothing was received on them, or it was dropped at the end of its retention"
        ))?;
    }
    Ok(())
}

/// The first of a list, and how many there are more.
fn shortened(list: &[String]) -> String {
    const NAMED: usize = 10;
    let named = list.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if list.len() > NAMED { format!("{named}, and {} more", list.len() - NAMED) } else { named }
}

/// A time, or a date, which stands for its beginning; as the end of a time for its own end. In UTC.
fn time(option: &'static str, text: Option<String>) -> anyhow::Result<Option<Timestamp>> {
    let Some(text) = text else { return Ok(None) };
    let wrong = || format!("{option} {text}: a time like 2026-03-01T09:00:00Z or a date like 2026-03-01 is needed");
    let time: jiff::Timestamp = match text.parse::<jiff::civil::Date>() {
        Ok(date) if text.len() == DATE_LENGTH => {
            let date = if option == TO { date.tomorrow().with_context(wrong)? } else { date };
            format!("{date}T00:00:00Z").parse().with_context(wrong)?
        }
        _ => text.parse().with_context(wrong)?,
    };
    let ns = u64::try_from(time.as_nanosecond()).with_context(|| format!("{option}: a time since 1970 is needed"))?;
    Ok(Some(Timestamp::from_unix_ns(ns)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_stands_for_its_beginning_or_as_an_end_for_its_end() {
        let at = |option, text: &str| time(option, Some(text.to_owned())).unwrap().unwrap().unix_ns() / 1_000_000_000;
        assert_eq!(at("--from", "1970-01-02"), 86_400);
        assert_eq!(at(TO, "1970-01-02"), 2 * 86_400);
        assert_eq!(at(TO, "1970-01-02T00:00:01Z"), 86_401);
        for wrong in ["1970", "1970-02-30", "tomorrow", "1970-01-02T", "1969-01-01"] {
            let error = format!("{:#}", time("--from", Some(wrong.to_owned())).unwrap_err());
            assert!(error.contains("--from"), "{error}");
        }
    }

    #[test]
    fn a_long_list_is_shortened() {
        let days: Vec<String> = (0..12).map(|day| day.to_string()).collect();
        assert_eq!(shortened(&days[..2]), "0, 1");
        assert!(shortened(&days).ends_with("9, and 2 more"));
    }
}
