//! `watchkeeper reads`: who read what of the record.

use std::process::ExitCode;

use serde_json::Value;
use store::Table;

use super::read::{Place, cell, encode, open, reader};
use crate::cli::{Data, FormatName};
use crate::output::{complain, say, table};

/// What is shown of each row, by the names of the API.
const COLUMNS: [&str; 11] = ["last", "who", "name", "operator", "action", "object", "reason", "times", "records", "first", "seq"];

/// How many of them a terminal has room for.
const SHOWN: [&str; 8] = ["last", "who", "name", "action", "object", "reason", "times", "records"];

pub(super) fn reads(data: &Data, who: Option<&str>, days: u32, format: FormatName) -> anyhow::Result<ExitCode> {
    let reads: Value = match open(data)? {
        Place::Server(api) => {
            let who = who.map(|who| format!("&who={}", encode(who))).unwrap_or_default();
            api.get(&format!("/api/reads?days={days}{who}"))?
        }
        Place::Files(dir) => {
            let root = data.root()?;
            let keyring = server::read_keyring(&dir, &root)?;
            let sanitizer = server::sanitizer(&keyring)?;
            // Whoever has the root key can read everything.
            let asked = server::Asked { who, days, may_read: true };
            serde_json::to_value(server::reads(&reader(&dir, &root)?, &sanitizer, &asked)?)?
        }
    };
    let rows = reads["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() && format == FormatName::Table {
        say(&format!("nobody has read contents of the record in the last {days} days; --days looks further back"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let names: &[&str] = if format == FormatName::Table { &SHOWN } else { &COLUMNS };
    let cells = rows.iter().map(|row| names.iter().map(|name| cell(&row[name])).collect()).collect();
    table(&Table { columns: names.iter().map(|name| (*name).to_owned()).collect(), rows: cells, truncated: false }, format)?;
    if reads["truncated"] == true {
        complain("there are more; ask for fewer days, or for one reader with --who");
    }
    Ok(ExitCode::SUCCESS)
}
