//! `watchkeeper evidence`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use evidence::{Bag, Overall, Report, Trust};
use ledger::{Policy, Verdict};
use serde_json::json;
use server::lifecycle::export::What;

use super::lifecycle::{asker, with};
use crate::cli::Evidence;
use crate::output::{printable, say};

pub(super) fn evidence(command: Evidence) -> anyhow::Result<ExitCode> {
    match command {
        Evidence::Export { data, session, incident, query, reason, out } => {
            let what = match (session, incident, query) {
                (Some(id), None, None) => What::Session(id),
                (None, Some(id), None) => What::Incident(id),
                (None, None, Some(sql)) => What::Query(sql),
                _ => bail!("one of --session, --incident and --query says what to take out"),
            };
            // Looked at first: an export is recorded, so it should not fail for its file.
            if out.exists() {
                bail!("{} exists already; a bundle is a new file or a new directory", out.display());
            }
            let body = json!({ "what": what, "reason": reason });
            let bag = with(
                &data,
                None,
                |api| Ok(Bag::from_tar_gz(&api.post_for_bytes("/api/evidence", &body)?)?),
                |node| Ok(node.export(&asker(), &what, &reason)?.0),
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
        Evidence::Show { bundle, key } => {
            let report = verified(&bundle, key.as_deref(), None)?;
            if let Some(statement) = &report.statement {
                say(&printable(&serde_json::to_string_pretty(statement)?))?;
            }
            for record in report.records.iter().chain(&report.custody) {
                say(&format!("record {} {} {}", record.seq, record.time, printable(&record.kind)))?;
                for (part, verdict) in &record.parts {
                    say(&format!("  {}  {}", word(verdict), printable(part)))?;
                }
            }
            conclude(&report)
        }
        Evidence::Verify { bundle, key, policy, json } => {
            let report = verified(&bundle, key.as_deref(), policy.as_deref())?;
            if json {
                say(&serde_json::to_string_pretty(&report)?)?;
                return Ok(code(&report));
            }
            conclude(&report)
        }
    }
}

fn verified(bundle: &Path, key: Option<&str>, policy: Option<&Path>) -> anyhow::Result<Report> {
    let key = key
        .map(|key| {
            let text = std::fs::read_to_string(key).unwrap_or_else(|_| key.to_owned());
            let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned();
            line.parse().context("--key")
        })
        .transpose()?;
    let policy = policy
        .map(|path| {
            let text = std::fs::read(path).with_context(|| path.display().to_string())?;
            Policy::parse(&text).with_context(|| path.display().to_string())
        })
        .transpose()?;
    Ok(evidence::verify(bundle, &Trust { key, policy })?)
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
    say(&format!(
        "{}: {} records, {} of custody; {} parts shown, {} withheld, {} erased with a tombstone, {} missing without a reason",
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
        count(|verdict| matches!(verdict, Verdict::Unknown)),
    ))?;
    Ok(code(report))
}

fn code(report: &Report) -> ExitCode {
    if report.overall == Overall::Intact { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Disclosed => "shown   ",
        Verdict::Withheld => "withheld",
        Verdict::Erased { .. } => "erased  ",
        Verdict::Tampered => "TAMPERED",
        Verdict::Unknown => "UNKNOWN ",
    }
}
