//! `watchkeeper recover`: values that were sealed beside the record, for two officers to open together.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use keys::Officer;
use serde::de::DeserializeOwned;
use serde_json::json;
use server::Recovered;
use server::lifecycle::recovery::{Request, Share};
use store::{Cell, Table};

use super::lifecycle::with;
use crate::cli::Recover;
use crate::output::{printable, say, table};

/// Longest request or share that is read: some kilobytes for each text of a record.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

pub(super) fn recover(command: Recover) -> anyhow::Result<ExitCode> {
    match command {
        Recover::Request { data, operator, record, reason, out } => {
            let body = json!({ "record": record, "reason": reason });
            let request: Request = with(
                &data,
                &operator,
                None,
                |api| api.post_patiently("/api/recovery/requests", &body),
                |node, asker| Ok(node.request_recovery(asker, &record, &reason)?),
            )?;
            write(&out, &request)?;
            say(&format!("{} is recorded; {} is for two officers to approve:", request.request, out.display()))?;
            let mut officers: Vec<&str> =
                request.sealed.iter().flat_map(|sealed| &sealed.to).map(|one| one.officer.as_str()).collect();
            officers.sort_unstable();
            officers.dedup();
            officers.iter().try_for_each(|officer| say(&format!("  {officer}")))?;
        }
        Recover::Approve { request, identity, out } => {
            let request: Request = read(&request)?;
            let share = request.approve(&Officer::read(&identity)?)?;
            write(&out, &share)?;
            let Request { request, record, reason, by, at, .. } = request;
            say(&printable(&format!("approved {request}: the sealed values of {record}, asked for by {by} at {at}: {reason}")))?;
            say(&format!(
                "the share is in {}; with it, a second officer's and the record the values can be read",
                out.display()
            ))?;
        }
        Recover::Open { data, operator, request, share, format } => {
            let [one, two] = share.as_slice() else {
                bail!("--share: give two shares, of two officers; {} given", share.len());
            };
            let (request, shares): (Request, [Share; 2]) = (read(&request)?, [read(one)?, read(two)?]);
            let body = json!({ "request": request, "shares": shares });
            let values: Vec<Recovered> = with(
                &data,
                &operator,
                None,
                |api| api.post_patiently("/api/recovery/open", &body),
                |node, asker| Ok(node.open_recovery(asker, &request, &shares)?),
            )?;
            let rows = values.into_iter().map(|one| vec![Cell::Text(one.token), Cell::Text(one.value)]).collect();
            let columns = ["token", "value"].map(str::to_owned).to_vec();
            table(&Table { columns, rows, truncated: false }, format.format)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let what = || format!("{}: this is no request or share of `watchkeeper recover`", path.display());
    let bytes = files::read_named_at_most(path, FILE_BYTES_MAX).with_context(|| path.display().to_string())?;
    let bytes = bytes.with_context(|| format!("there is no file {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(what)
}

fn write(path: &Path, what: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut json = serde_json::to_vec_pretty(what)?;
    json.push(b'\n');
    files::write_new(path, &json, 0o600)
        .with_context(|| format!("cannot write {}: is there such a file already?", path.display()))
}
