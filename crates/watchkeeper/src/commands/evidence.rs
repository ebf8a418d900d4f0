//! `watchkeeper evidence`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use evidence::{Bag, Overall, Predicate, Report, Trust};
use ledger::Verdict;
use serde_json::json;
use server::lifecycle::export::What;
use store::{Cell, Table};

use super::lifecycle::{asker, with};
use crate::cli::{Evidence, FormatName, Trusted};
use crate::output::{printable, say, table};

pub(super) fn evidence(command: Evidence) -> anyhow::Result<ExitCode> {
    match command {
        Evidence::Export { data, session, incident, query, forensic, reason, withhold, out } => {
            let what = match (session, incident, query, forensic) {
                (Some(id), None, None, None) => What::Session(id),
                (None, Some(id), None, None) => What::Incident(id),
                (None, None, Some(sql), None) => What::Query(sql),
                (None, None, None, Some(range)) => What::Forensic(range),
                _ => bail!("one of --session, --incident, --query and --forensic says what to take out"),
            };
            // Looked at first: an export is recorded, so it should not fail for its file.
            if out.exists() {
                bail!("{} exists already; a bundle is a new file or a new directory", out.display());
            }
            let body = json!({ "what": what, "reason": reason, "withhold": withhold });
            let bag = with(
                &data,
                None,
                |api| Ok(Bag::from_tar_gz(&api.post_for_bytes("/api/evidence", &body)?)?),
                |node| Ok(node.export(&asker(), &what, &withhold, &reason)?.0),
            )?;
            // What comes through the API lies below a directory; a bundle is the files in it.
            let name = out.file_name().context("--out needs a name")?.to_string_lossy().into_owned();
            match name.strip_suffix(".tar.gz") {
                Some(stem) => bag.write_tar_gz(&out, stem)?,
                None => bag.write_dir(&out)?,
            }
            say(&format!(
                "{}: {} files; verify it with `watchkeeper evidence verify {}`",
                out.display(),
                bag.files().count(),
                out.display()
            ))?;
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

fn verified(bundle: &Path, trusted: &Trusted) -> anyhow::Result<Report> {
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
        ("at", statement.exported_at.clone()),
        ("reason", statement.reason.clone()),
        ("selection", format!("{} {}", statement.selection, statement.selected)),
        ("records", format!("{} of {}", statement.records, statement.records_selected)),
        ("withheld", if statement.withheld.is_empty() { "nothing".to_owned() } else { statement.withheld.join(", ") }),
        ("log", format!("{}, {} records", statement.origin, statement.tree_size)),
        ("witnessed", witnessed.to_owned()),
        ("software", statement.software.clone()),
    ];
    let rows = rows.into_iter().map(|(what, value)| vec![Cell::Text(what.to_owned()), Cell::Text(value)]).collect();
    Table { columns: vec!["statement".to_owned(), "what it says".to_owned()], rows, truncated: false }
}

/// A row for each part of each record.
fn verdicts(report: &Report) -> Table {
    let columns = ["record", "time", "kind", "part", "verdict", "because", "time stamp"].map(str::to_owned).to_vec();
    let text = |text: &str| if text.is_empty() { Cell::Null } else { Cell::Text(text.to_owned()) };
    let mut rows = Vec::new();
    for (record, is_custody) in
        report.records.iter().map(|record| (record, false)).chain(report.custody.iter().map(|record| (record, true)))
    {
        for (part, verdict) in &record.parts {
            let because = match verdict {
                Verdict::Erased { tombstone } => format!("tombstone, record {tombstone}"),
                _ if is_custody => "custody".to_owned(),
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
    if !report.key_was_trusted {
        say("note: judged by the key that the bundle brings itself; bring the log's key with --key to know whose record it is")?;
    }
    if !report.witnesses.is_empty() {
        let names: Vec<&str> = report.witnesses.iter().map(|by| by.name.as_str()).collect();
        let whose = if report.policy_was_trusted {
            ""
        } else {
            ", by the policy that the bundle brings itself; bring yours with --policy"
        };
        say(&format!("witnessed: by {}{whose}", printable(&names.join(", "))))?;
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
            _ => "incomplete",
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
    if report.overall == Overall::Intact { ExitCode::SUCCESS } else { ExitCode::from(1) }
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
