//! `watchkeeper verify`.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::Data;
use crate::output::{printable, say};

pub(super) fn verify(target: Option<PathBuf>, data: &Data, json: bool) -> anyhow::Result<ExitCode> {
    let target = target.map_or_else(|| data.path(), Ok)?;
    let report = ledger::verify(&target)?;
    if json {
        let fault = report.fault.as_ref().map(|fault| serde_json::json!({ "place": fault.place, "what": fault.what }));
        let report = serde_json::json!({
            "intact": report.fault.is_none(), "records": report.records, "sealed": report.sealed,
            "checkpoints": report.checkpoints, "log": report.key, "notes": report.notes, "fault": fault,
        });
        say(&serde_json::to_string_pretty(&report)?)?;
    } else {
        for note in &report.notes {
            say(&format!("note: {}", printable(note)))?;
        }
        match &report.fault {
            None => say(&format!(
                "intact: {} records, {} of them sealed by {} signed checkpoints; log {}",
                report.records, report.sealed, report.checkpoints, report.key
            ))?,
            Some(fault) => say(&format!("TAMPERED: {}: {}", printable(&fault.place), printable(&fault.what)))?,
        }
    }
    Ok(if report.fault.is_none() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
