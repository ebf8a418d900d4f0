//! `watchkeeper evidence`.

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use evidence::{Bag, Destination, Overall, Predicate, Report, Trust};
use ledger::Verdict;
use serde_json::json;
use server::lifecycle::disclose::Disclosed;
use server::lifecycle::export::What;
use store::{Cell, Table};

use super::lifecycle::with;
use super::verify::NOT_PROVED;
use crate::cli::{Data, Evidence, FormatName, Operator, Trusted};
use crate::output::{printable, say, table};

pub(super) fn evidence(command: Evidence) -> anyhow::Result<ExitCode> {
    match command {
        Evidence::Export { data, operator, session, incident, query, forensic, reason, withhold, out } => {
            let what = match (session, incident, query, forensic) {
                (Some(id), None, None, None) => What::Session(id),
                (None, Some(id), None, None) => What::Incident(id),
                (None, None, Some(sql), None) => What::Query(sql),
                (None, None, None, Some(range)) => What::Forensic(range),
                _ => bail!(
                    "one of --session ID, --incident ID, --query SQL and --forensic FIRST-END says what to take out; \
                     `watchkeeper query \"SELECT DISTINCT session_id FROM events\"` lists sessions"
                ),
            };
            let out = out.unwrap_or_else(|| {
                let of = match &what {
                    What::Session(id) | What::Incident(id) => id,
                    What::Query(_) => "query",
                    What::Forensic(_) => "forensic",
                };
                PathBuf::from(format!("{}.tar.gz", evidence::bundle_name(of, event::Timestamp::now())))
            });
            // Made first: an export is recorded, so it should not fail for its file.
            let destination = Destination::create(&out)?;
            let body = json!({ "what": what, "reason": reason, "withhold": withhold });
            let bag = with(
                &data,
                &operator,
                None,
                |api| Ok(Bag::from_tar_gz(&api.post_for_bytes("/api/evidence", &body)?)?),
                |node, asker| Ok(node.export(asker, &what, &withhold, &reason)?.0),
            )?;
            destination.write(&bag)?;
            say(&format!(
                "{}: {} files; verify it with `watchkeeper evidence verify {} --key {}`, where the key is a copy from elsewhere",
                out.display(),
                bag.files().count(),
                out.display(),
                data.path()?.join("ledger/vkey").display(),
            ))?;
            Ok(ExitCode::SUCCESS)
        }
        Evidence::Disclose { data, operator, all: _, reason, out } => {
            let count = disclose(&data, &operator, &reason, &out)?;
            say(&format!("{}: {count} records", out.display()))?;
            Ok(ExitCode::SUCCESS)
        }
        Evidence::Show { bundle, trust, format } => {
            let report = verified(&bundle, &trust)?;
            if format.format != FormatName::Table {
                table(&verdicts(&report), format.format)?;
                return Ok(code(&report));
            }
            if let Some(statement) = &report.statement {
                table(&said(statement), FormatName::Table)?;
            }
            table(&verdicts(&report), FormatName::Table)?;
            conclude(&report)
        }
        Evidence::Verify { bundle, trust, json } => {
            let report = verified(&bundle, &trust)?;
            if json {
                say(&serde_json::to_string_pretty(&report)?)?;
                return Ok(code(&report));
            }
            conclude(&report)
        }
    }
}

/// Writes every record as a disclosure into a file that nobody else can read. Gives how many.
fn disclose(data: &Data, operator: &Operator, reason: &str, out: &Path) -> anyhow::Result<u64> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(out);
    let file = RefCell::new(BufWriter::new(file.with_context(|| out.display().to_string())?));
    let all = |mut page: Box<dyn FnMut(u64, Option<u64>) -> anyhow::Result<Disclosed> + '_>| {
        let mut take = |next: u64, end: Option<u64>| {
            let disclosed = page(next, end)?;
            if disclosed.next <= next && disclosed.next < disclosed.end {
                bail!("the records from {next} on were not given");
            }
            for record in &disclosed.records {
                writeln!(file.borrow_mut(), "{record}")?;
            }
            Ok((disclosed.next, disclosed.end))
        };
        let (mut next, end) = take(0, None)?;
        if next < end {
            while next < end {
                (next, _) = take(next, Some(end))?;
            }
            // Each page is recorded: the last one tells of that, and with it of every record that is sealed then.
            (next, _) = take(next, None)?;
        }
        Ok(next)
    };
    let count = with(
        data,
        operator,
        None,
        |api| {
            all(Box::new(|first, end| {
                api.post_patiently("/api/evidence/disclosures", &json!({ "first": first, "end": end, "reason": reason }))
            }))
        },
        |node, asker| all(Box::new(|first, end| Ok(node.disclose(asker, first, end, reason)?))),
    )?;
    let mut file = file.into_inner();
    file.flush()?;
    file.get_ref().sync_all()?;
    Ok(count)
}

fn verified(bundle: &Path, trusted: &Trusted) -> anyhow::Result<Report> {
    if let Err(error) = bundle.metadata() {
        bail!("{}: {error}; name a bundle, a .tar.gz or a directory that `watchkeeper evidence export` wrote", bundle.display());
    }
    if bundle.is_dir() && !bundle.join("bagit.txt").exists() {
        let what = if bundle.join("ledger").is_dir() {
            "a data directory: `watchkeeper verify` verifies it"
        } else {
            "no bundle: it has no bagit.txt"
        };
        bail!("{} is {what}", bundle.display());
    }
    let ledger::Trust { mut keys, policy, tsa_roots } =
        super::verify::trust(trusted.key.as_deref(), trusted.policy.as_deref(), trusted.tsa_roots.as_deref())?;
    if trusted.key.is_some() && keys.is_empty() {
        bail!("--key: there is no key in it");
    }
    // A file of the log's keys begins with the one that names the log.
    let key = (!keys.is_empty()).then(|| keys.swap_remove(0));
    Ok(evidence::verify(bundle, &Trust { key, policy, tsa_roots })?)
}

/// What the statement says, for people.
fn said(statement: &Predicate) -> Table {
    let witnessed = match statement.witnessed {
        None => "the log has no witnesses",
        Some(true) => "yes",
        Some(false) => "no: the log has witnesses, and they did not cosign in time",
    };
    let rows = [
        ("exported by", statement.exported_by.clone()),
        ("operator (asserted)", statement.operator_asserted.clone().unwrap_or_else(|| "not said".to_owned())),
        ("at", statement.exported_at.clone()),
        ("reason", statement.reason.clone()),
        ("selection", format!("{} {}", statement.selection, statement.selected)),
        ("records", format!("{} of {}", statement.records, statement.records_selected)),
        (
            "searched",
            match (statement.not_searched, statement.dropped) {
                (0, 0) => "every record of the log".to_owned(),
                (0, dropped) => {
                    format!("every record that the log still had; {dropped} were dropped at the end of their retention")
                }
                (older, _) => format!("the newest records; {older} older ones were not looked at, so there may be more"),
            },
        ),
        ("withheld", if statement.withheld.is_empty() { "nothing".to_owned() } else { statement.withheld.join(", ") }),
        ("log", format!("{}, {} records", statement.origin, statement.tree_size)),
        ("witnessed", witnessed.to_owned()),
        ("software", statement.software.clone()),
    ];
    let rows = rows.into_iter().map(|(what, value)| vec![Cell::Text(what.to_owned()), Cell::Text(value)]).collect();
    Table { columns: vec!["statement".to_owned(), "what it says".to_owned()], rows, truncated: false }
}

/// Why a part is not shown, by the statement of whoever exported it.
fn withheld_by(statement: Option<&Predicate>) -> String {
    match statement.map(|statement| statement.withheld.join(", ")) {
        Some(names) if !names.is_empty() => format!("left out of the export, which withholds {names}"),
        _ => "left out of the export".to_owned(),
    }
}

/// A row for each part of each record.
fn verdicts(report: &Report) -> Table {
    let columns = ["record", "time", "kind", "part", "verdict", "because", "time stamp", "value"].map(str::to_owned).to_vec();
    let text = |text: &str| if text.is_empty() { Cell::Null } else { Cell::Text(text.to_owned()) };
    let mut rows = Vec::new();
    for (record, is_custody) in
        report.records.iter().map(|record| (record, false)).chain(report.custody.iter().map(|record| (record, true)))
    {
        for (part, verdict) in &record.parts {
            let because = match verdict {
                Verdict::Erased { tombstone } => format!("tombstone, record {tombstone}"),
                _ if is_custody => "custody".to_owned(),
                // The reader should not take for lost what somebody chose not to show.
                Verdict::Withheld => withheld_by(report.statement.as_ref()),
                _ => String::new(),
            };
            rows.push(vec![
                Cell::Int(i64::try_from(record.seq).unwrap_or(i64::MAX)),
                text(&record.time),
                text(&record.kind),
                text(part),
                text(word(verdict)),
                text(&because),
                text(record.stamped.as_deref().unwrap_or_default()),
                text(record.values.get(part).map_or("", String::as_str)),
            ]);
        }
    }
    Table { columns, rows, truncated: false }
}

fn conclude(report: &Report) -> anyhow::Result<ExitCode> {
    let count = |wanted: fn(&Verdict) -> bool| {
        report.records.iter().flat_map(|record| &record.parts).filter(|(_, verdict)| wanted(verdict)).count()
    };
    if let Some(fault) = &report.fault {
        say(&format!("TAMPERED: {}: {}", printable(&fault.file), printable(&fault.what)))?;
    }
    for demand in &report.unmet {
        say(&format!("not proved: {}", printable(demand)))?;
    }
    if report.unmet.iter().any(|_| !report.key_was_trusted) {
        say(
            "note: whole, by whoever holds the key that the bundle brings itself; bring the log's key, as you know it from elsewhere, with --key",
        )?;
    }
    let whose = [
        (&report.witnesses, ""),
        (&report.witnesses_claimed, ", by the policy that the bundle brings itself; bring yours with --policy"),
    ];
    if let Some((witnesses, whose)) = whose.into_iter().find(|(witnesses, _)| !witnesses.is_empty()) {
        let names: Vec<&str> = witnesses.iter().map(|by| by.name.as_str()).collect();
        let said = if whose.is_empty() { "witnessed" } else { "said to be witnessed" };
        say(&format!("{said}: by {}{whose}", printable(&names.join(", "))))?;
    }
    for stamp in &report.timestamps {
        let whose =
            if stamp.verified { "" } else { ", says an authority that was not verified; bring its roots with --tsa-roots" };
        say(&format!("time stamp: the first {} records were there at {}{whose}", stamp.size, stamp.time))?;
    }
    say(&format!(
        "{}: {} records, {} of custody; {} parts disclosed, {} withheld, {} erased with a tombstone, {} tampered, {} unknown: missing \
         without a reason",
        match report.overall {
            Overall::Intact => "intact",
            Overall::Tampered => "tampered",
            Overall::Incomplete => "incomplete",
            Overall::NotProved => "not proved",
        },
        report.records.len(),
        report.custody.len(),
        count(|verdict| matches!(verdict, Verdict::Disclosed)),
        count(|verdict| matches!(verdict, Verdict::Withheld)),
        count(|verdict| matches!(verdict, Verdict::Erased { .. })),
        count(|verdict| matches!(verdict, Verdict::Tampered)),
        count(|verdict| matches!(verdict, Verdict::Unknown)),
    ))?;
    Ok(code(report))
}

fn code(report: &Report) -> ExitCode {
    match report.overall {
        Overall::Intact => ExitCode::SUCCESS,
        Overall::Tampered => ExitCode::from(1),
        Overall::Incomplete | Overall::NotProved => ExitCode::from(NOT_PROVED),
    }
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Disclosed => "disclosed",
        Verdict::Withheld => "withheld",
        Verdict::Erased { .. } => "erased",
        Verdict::Tampered => "tampered",
        Verdict::Unknown => "unknown",
    }
}
