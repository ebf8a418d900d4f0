//! `watchkeeper query`, `search`, `trace` and `tail`: through the running server where there is one, else from the
//! files. Either way, reading contents leaves an event.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use keys::{DataKeys, Purpose};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use server::{Asker, DataDir, Node, NodeSettings, RootKeyPlace};
use store::{Cell, QueryLimits, Reader, Table};

use super::picture;
use crate::cli::{Data, FormatName, Reading};
use crate::local_api::LocalApi;
use crate::output::{complain, printable, say, table};

/// How long the event that records a read may take to be sealed and indexed.
const NOTE_PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn query(data: &Data, reading: Reading, sql: &str, format: FormatName) -> anyhow::Result<ExitCode> {
    let result = match open(data)? {
        Place::Server(api) => table_of(&api.post("/api/query", &serde_json::json!({ "sql": sql }))?),
        Place::Files(dir) => files(&dir, data, reading, "query", sql)?.sql(sql, &QueryLimits::default())?,
    };
    table(&result, format)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn search(data: &Data, reading: Reading, text: &str, limit: usize, format: FormatName) -> anyhow::Result<ExitCode> {
    let hits: Value = match open(data)? {
        Place::Server(api) => api.get(&format!("/api/search?q={}&limit={limit}", encode(text)))?,
        Place::Files(dir) => serde_json::to_value(files(&dir, data, reading, "search", text)?.search(text, limit)?)?,
    };
    // A terminal has room for what tells hits apart; programs get everything.
    let columns: &[&str] =
        if format == FormatName::Table { &["time", "session_id", "kind", "role", "part", "snippet"] } else { &[] };
    let found = rows_of(&hits, columns);
    if found.rows.is_empty() && format == FormatName::Table {
        say("nothing found; names of tools and sessions are in the views, search looks into what was said")?;
    } else {
        table(&found, format)?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn trace(data: &Data, reading: Reading, id: &str, full: bool, format: FormatName) -> anyhow::Result<ExitCode> {
    let view: Value = match open(data)? {
        Place::Server(api) => api.get(&format!("/api/trace/{}", encode(id)))?,
        Place::Files(dir) => serde_json::to_value(files(&dir, data, reading, "trace", id)?.trace(id)?)?,
    };
    if format == FormatName::Table {
        picture::lines(&view, full).iter().try_for_each(|line| say(line))?;
    } else {
        say(&serde_json::to_string_pretty(&view)?)?;
    }
    Ok(if view["events"].as_array().is_none_or(Vec::is_empty) { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

pub(super) fn tail(data: &Data, follow: bool, lines: usize, format: FormatName) -> anyhow::Result<ExitCode> {
    match open(data)? {
        Place::Server(api) => {
            let mut after: Option<u64> = None;
            loop {
                let place = after.map(|after| format!("&after={after}&wait=true")).unwrap_or_default();
                let answer: Value = api.get(&format!("/api/tail?limit={lines}{place}"))?;
                show_rows(&answer["rows"], format)?;
                if !follow {
                    break;
                }
                after = answer["next"].as_u64();
            }
        }
        Place::Files(_) if follow => {
            anyhow::bail!("--follow needs a running server on this data directory; start one with `watchkeeper serve`")
        }
        Place::Files(dir) => {
            let mut rows = reader(&dir, &data.root()?)?.tail(None, lines)?;
            // As in the API: a row of the live view holds no contents.
            rows.iter_mut().for_each(|row| row.summary.clear());
            show_rows(&serde_json::to_value(rows)?, format)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) enum Place {
    Server(Box<LocalApi>),
    Files(DataDir),
}

pub(super) fn open(data: &Data) -> anyhow::Result<Place> {
    let dir = DataDir::existing(&data.path()?)?;
    Ok(LocalApi::find(&dir, data)?.map_or_else(|| Place::Files(dir), |api| Place::Server(Box::new(api))))
}

/// The store, after recording that its contents are read.
pub(super) fn files(dir: &DataDir, data: &Data, reading: Reading, action: &str, object: &str) -> anyhow::Result<Reader> {
    let root = data.root()?;
    match note_read(dir, &root, action, object) {
        Err(error) if reading.unrecorded => complain(&format!("this read is not recorded: {error:#}")),
        noted => {
            noted.context("reading contents is recorded, and this read cannot be; --unrecorded reads a copy all the same")?
        }
    }
    reader(dir, &root)
}

pub(super) fn reader(dir: &DataDir, root: &RootKeyPlace) -> anyhow::Result<Reader> {
    let keyring = server::read_keyring(dir, root)?;
    Ok(Reader::open(dir.path(), &DataKeys::new(keyring, Purpose::Store))?)
}

fn note_read(dir: &DataDir, root: &RootKeyPlace, action: &str, object: &str) -> anyhow::Result<()> {
    // Detection goes on when a server does, with its rules.
    let node = Node::open(dir.path(), root, &NodeSettings { detects: false, ..NodeSettings::default() })?;
    let noted = node.note_read(&Asker::of_process(), action, object).context("the record cannot be written");
    node.flush(NOTE_PATIENCE);
    node.close()?;
    noted
}

pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// The table that the API answers with.
fn table_of(answer: &Value) -> Table {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    Table {
        columns: list(&answer["columns"]).iter().map(cell_text).collect(),
        rows: list(&answer["rows"]).iter().map(|row| list(row).iter().map(cell).collect()).collect(),
        truncated: answer["truncated"] == true,
    }
}

/// A list of flat objects as a table of the named columns, or of all.
fn rows_of(items: &Value, named: &[&str]) -> Table {
    let objects = items.as_array().cloned().unwrap_or_default();
    let mut columns: Vec<String> = named.iter().map(|&name| name.to_owned()).collect();
    for key in objects.iter().filter_map(Value::as_object).flat_map(|object| object.keys()) {
        if named.is_empty() && !columns.contains(key) {
            columns.push(key.clone());
        }
    }
    let rows = objects.iter().map(|object| columns.iter().map(|key| cell(&object[key])).collect()).collect();
    Table { columns, rows, truncated: false }
}

pub(super) fn cell(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::Null,
        Value::String(text) => Cell::Text(text.clone()),
        Value::Number(number) => number.as_i64().map_or_else(|| number.as_f64().map_or(Cell::Null, Cell::Real), Cell::Int),
        other => Cell::Text(other.to_string()),
    }
}

fn show_rows(rows: &Value, format: FormatName) -> anyhow::Result<()> {
    let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
    if format == FormatName::Json {
        for row in rows {
            say(&serde_json::to_string(row)?)?;
        }
        return Ok(());
    }
    for row in rows {
        let text = |key: &str| printable(&cell_text(&row[key]));
        let score =
            row["score"].as_f64().filter(|&score| score > 0.0).map(|score| format!("  score {score:.2}")).unwrap_or_default();
        say(&format!("{}  {:<14} {}  {}{score}", text("time"), text("kind"), text("name"), text("session_id")))?;
    }
    Ok(())
}

fn cell_text(value: &Value) -> String {
    value.as_str().map_or_else(|| if value.is_null() { String::new() } else { value.to_string() }, str::to_owned)
}
