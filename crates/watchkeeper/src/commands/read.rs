//! `watchkeeper query`, `search`, `trace`, `tail` and `status`: through the running server where there is one, else from the
//! files. Either way, reading contents leaves an event.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use keys::{DataKeys, Purpose};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use server::{Asker, DataDir, Node, NodeSettings, RootKeyPlace, Standing};
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

pub(super) fn status(data: &Data, format: FormatName) -> anyhow::Result<ExitCode> {
    let (running, status): (bool, Value) = match open(data)? {
        Place::Server(api) => (true, api.get("/api/status")?),
        Place::Files(dir) => {
            let reader = reader(&dir, &data.root()?)?;
            let watch = Standing::of_files(&dir, &reader)?;
            (false, serde_json::json!({ "watch": watch, "counts": reader.counts()? }))
        }
    };
    let mut rows =
        vec![vec![Cell::Text("server".to_owned()), Cell::Text(if running { "running" } else { "not running" }.to_owned())]];
    flatten("", &status, &mut rows);
    // Programs go by the paths of the API's answer; people read words.
    if format == FormatName::Table {
        for row in &mut rows {
            if let Cell::Text(path) = &row[0] {
                row[0] = Cell::Text(words(path));
            }
        }
    }
    table(&Table { columns: vec!["what".to_owned(), "value".to_owned()], rows, truncated: false }, format)?;
    Ok(if status["stopped"].is_string() { ExitCode::from(1) } else { ExitCode::SUCCESS })
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

fn reader(dir: &DataDir, root: &RootKeyPlace) -> anyhow::Result<Reader> {
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

fn cell(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::Null,
        Value::String(text) => Cell::Text(text.clone()),
        Value::Number(number) => number.as_i64().map_or_else(|| number.as_f64().map_or(Cell::Null, Cell::Real), Cell::Int),
        other => Cell::Text(other.to_string()),
    }
}

fn flatten(path: &str, value: &Value, rows: &mut Vec<Vec<Cell>>) {
    if let Some(object) = value.as_object() {
        for (key, value) in object {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            flatten(&path, value, rows);
        }
    } else if let Some(list) = value.as_array() {
        for (index, value) in list.iter().enumerate() {
            flatten(&format!("{path}.{}", index + 1), value, rows);
        }
    } else if !value.is_null() {
        rows.push(vec![Cell::Text(path.to_owned()), cell(value)]);
    }
}

/// What a path of the status says, in words.
fn words(path: &str) -> String {
    const WORDS: [(&str, &str); 73] = [
        ("progress.recorded", "records on disk"),
        ("progress.sealed", "records sealed"),
        ("progress.indexed", "records indexed"),
        ("progress.detected", "records that rules have seen"),
        ("throughput.recorded", "events recorded since the start"),
        ("throughput.duplicates", "retries recognised since the start"),
        ("throughput.turned_away", "events turned away since the start"),
        ("stopped", "stands still because"),
        ("archive_waits", "archive is out of reach because"),
        ("signatures.in_force", "signatures in force"),
        ("signatures.disabled", "signatures that are not enabled"),
        ("signatures.model", "signatures, the classifier's model"),
        ("signatures.digest", "signatures, digest"),
        ("signatures.loaded", "signatures, loaded at"),
        ("signatures.refused", "newer signatures, or a newer model, are not used because"),
        ("intel.in_force", "indicators in force"),
        ("intel.digest", "indicators, digest"),
        ("intel.loaded", "indicators, loaded at"),
        ("intel.left_out", "indicators with a value of a warning list, and near prompts of which too many are alike"),
        ("intel.suppressed", "hits on values of a warning list"),
        ("intel.refused", "newer indicators are not used because"),
        ("intel.feeds.", "feed "),
        ("intel.failures.", "last failure of a feed, "),
        ("watch.checkpoint.records", "newest checkpoint, records"),
        ("watch.checkpoint.at", "newest checkpoint, written at"),
        ("watch.checkpoint.age_s", "newest checkpoint, age in seconds"),
        ("watch.witnessed.records", "witnessed checkpoint, records"),
        ("watch.witnessed.at", "witnessed checkpoint, written at"),
        ("watch.witnessed.age_s", "witnessed checkpoint, age in seconds"),
        ("rules.rules", "rules in force"),
        ("rules.correlations", "correlations in force"),
        ("rules.filters", "filters in force"),
        ("rules.problems", "problems with rules"),
        ("rules.digest", "rules, digest"),
        ("rules.loaded", "rules, loaded at"),
        ("rules.refused", "newer rules are not used because"),
        ("watch.cosignatures", "witnessed checkpoint, cosignatures"),
        ("watch.time_stamped.records", "time-stamped checkpoint, records"),
        ("watch.time_stamped.at", "time-stamped checkpoint, stamped at"),
        ("watch.time_stamped.age_s", "time-stamped checkpoint, age in seconds"),
        ("watch.published.records", "published checkpoint, records"),
        ("watch.published.at", "published checkpoint, put at"),
        ("watch.published.age_s", "published checkpoint, age in seconds"),
        ("watch.unpublished", "records sealed and not published yet"),
        ("watch.minimum_index", "ledger, pruned before record"),
        ("watch.heartbeat.seq", "last heartbeat, record"),
        ("watch.heartbeat.received", "last heartbeat, at"),
        ("watch.heartbeat.name", "last heartbeat, event"),
        ("watch.gaps", "gaps in the hot store"),
        ("watch.last_gap.seq", "last gap, record"),
        ("watch.last_gap.received", "last gap, at"),
        ("watch.last_gap.name", "last gap, event"),
        ("watch.last_gap.reason", "last gap, because of"),
        ("watch.archive.records", "records archived"),
        ("watch.archive.segments", "segments of the archive"),
        ("watch.archive.last_sealed", "newest segment, sealed at"),
        ("watch.archive.oldest_waiting.seq", "oldest record not archived yet"),
        ("watch.archive.oldest_waiting.received", "oldest record not archived yet, received at"),
        ("watch.archive.oldest_waiting.name", "oldest record not archived yet, event"),
        ("watch.archive.oldest_waiting.reason", "oldest record not archived yet, because of"),
        ("watch.archive.next_sweep_s", "next look at retention, in seconds"),
        ("counts.partitions", "days in the hot store"),
        ("counts.partitions_left_out", "days that queries leave out"),
        ("counts.next", "records indexed up to"),
        ("counts.events", "events in the hot store"),
        ("counts.contents", "texts in the hot store"),
        ("counts.content_bytes", "bytes of these texts"),
        ("counts.by_kind.", "events of kind "),
        ("counts.by_view.", "rows of view "),
        ("watch.witness_failures.", "last failure of a witness, "),
        ("watch.time_stamp_failures.", "last failure of the time-stamping authority, "),
        ("watch.publish_failures.", "last failure of the public log, "),
        ("version", "version"),
    ];
    for (known, words) in WORDS {
        match path.strip_prefix(known) {
            Some("") => return words.to_owned(),
            Some(rest) if known.ends_with('.') => return format!("{words}{}", rest.replace(['.', '_'], " ")),
            _ => {}
        }
    }
    path.replace(['.', '_'], " ")
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
